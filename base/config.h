/* A configuration file as a tree of nodes that remember where they stood, so that every complaint can name
 * file, line and column. YAML by libyaml; anchors and aliases are refused, tags ignored. Depth at most 32,
 * file at most 4 MiB. */
#pragma once
#include "base/span.h"
#include "base/status.h"

enum node_type { NODE_SCALAR, NODE_LIST, NODE_MAP };

struct node {
    enum node_type type;
    char *text;          /* scalar: its text, with a null byte */
    bool quoted;         /* scalar: written in quotes or as a block, so never null, bool or number */
    struct node **items; /* list: elements; map: values */
    char **keys;         /* map only, in order of the file; a key twice is an error at load */
    size_t count;
    const char *file;          /* owned by the root's config */
    int line, column;          /* from 1 */
    int key_line, key_column;  /* of the key that leads here; 0 in a list and for the root */
    const struct node *parent; /* NULL: the root */
};

struct config; /* owns all nodes and file names */

/* Reads a file and what its `include:` list names (glob patterns, relative to the including file; lists
 * append, maps merge, a scalar may be set once). STATUS_FATAL with "FILE:LINE:COLUMN: reason". */
enum status config_load(const char *path, struct config **ret_config, struct error *ret_error);
enum status config_parse(const char *text, const char *name, struct config **ret_config,
                         struct error *ret_error);
void config_free(struct config *config);
const struct node *config_root(const struct config *config); /* always a map */

/* Sets "time.lateness=0s" or "detectors.slow.threshold=4": a list element is named by its `name` key or
 * its index from 0. Missing maps on the way are made; the value is parsed as YAML. */
enum status config_set(struct config *config, const char *assignment, struct error *ret_error);

/* A scalar that says nothing: empty, ~ or null, without quotes. Options take it as absent. */
bool node_is_null(const struct node *node);

const struct node *node_find(const struct node *map, const char *key); /* NULL when absent */

/* "FILE:LINE:COLUMN: " and then the text; returns STATUS_FATAL. */
enum status node_fail(const struct node *node, struct error *ret_error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The path of `relative` seen from the folder of the file the node stands in; malloc'ed. Absolute paths
 * stay. */
char *node_path(const struct node *node, const char *relative);
