/* What the subcommands that take a configuration file share: its name, repeated --set, and options with a
 * value. */
#pragma once
#include "pipeline/settings.h"

enum { ASSIGNMENTS_MAX = 256 };

struct argument {       /* an option of one command */
    const char *name;   /* "--input" */
    const char **value; /* set to the text after it, or NULL for a flag */
    bool *flag;
};

struct file_arguments {
    const char *path;
    const char *assignments[ASSIGNMENTS_MAX];
    size_t assignment_count;
};

/* Reads FILE, --set and the command's own options (ended by a NULL name); prints what is wrong and returns
 * false. */
bool arguments_read(int argc, char **argv, const struct argument *own, struct file_arguments *ret_arguments);

/* Loads the plan and prints the error on stderr; NULL on failure. */
struct plan *arguments_plan(const struct file_arguments *arguments);

/* One section of a file, for a command that needs no other, so no secrets either. Into zeroed settings, which
 * options_free empties. */
enum status arguments_section(const char *file, const char *name, const struct option_rows *rows,
                              void *settings, struct error *ret_error);

/* The store that a command works on, malloc'ed: `store.path` of the configuration file, or without a file the
 * path given; without either weir.db here, as `weir run` has it. */
enum status arguments_store_path(const char *file, const char *store, char **ret_path,
                                 struct error *ret_error);
