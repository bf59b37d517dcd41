/* An option row is where a configuration key lives, once: parsing, the error for a wrong value, the
 * reference page, the sample file and the tuner's search space all come from it. */
#pragma once
#include "base/buffer.h"
#include "base/config.h"

enum option_type {
    OPTION_BOOL,     /* bool */
    OPTION_INTEGER,  /* int64_t */
    OPTION_NUMBER,   /* double */
    OPTION_DURATION, /* int64_t microseconds; min and max in seconds */
    OPTION_SIZE,     /* int64_t bytes: 512, 64KiB, 10MiB, 1GiB */
    OPTION_TEXT,     /* char *, owned by the settings; NULL when absent */
    OPTION_SECRET,   /* char *: a text, {env: NAME} or {file: PATH} (final newline dropped); never printed */
    OPTION_PATH,     /* char *: a path, made relative to the file that names it */
    OPTION_CHOICE,   /* int: index into `choices` */
    OPTION_TEXTS,    /* struct option_texts: a list of texts, or one text */
    OPTION_PAIRS,    /* struct option_pairs: a map of texts; values may be {env:} or {file:} */
    OPTION_NODE,     /* const struct node *: read by the owner; NULL when absent */
};

enum option_scale { SCALE_LINEAR, SCALE_LOG };

struct option {
    const char *name;
    enum option_type type;
    size_t offset;            /* of the member in the settings struct */
    const char *default_text; /* parsed like a value from a file; NULL: absent (0, NaN, NULL, empty) */
    const char *unit;         /* for the reference page; NULL when the type says it */
    double min, max;          /* both 0: no range; an infinite one is open */
    enum option_scale scale;
    bool tunable, required;
    const char *const *choices; /* OPTION_CHOICE: ends with NULL */
    const char *help;           /* one sentence */
};

struct option_texts {
    char **items;
    size_t count;
};

struct option_pair {
    char *key, *value;
};

struct option_pairs {
    struct option_pair *items;
    size_t count;
};

/* One set of rows and the zeroed struct that they fill; several tables may read one map (common rows and a
 * type's own). */
struct option_table {
    const struct option *rows;
    size_t count;
    void *settings;
};

/* Fills all tables from the map (NULL: defaults only). An unknown key is an error naming the nearest known
 * one; a value out of range names file, line, key, value and range. On failure the settings are freed and
 * zeroed. */
enum status options_read(const struct node *map, const struct option_table *tables, size_t table_count,
                         struct error *ret_error);
void options_free(const struct option_table *tables, size_t table_count);

/* One value into one row of the settings, as a tuner or `--set key=value` does. */
enum status option_assign(const struct option *rows, size_t count, void *settings, const char *key,
                          const char *value, struct error *ret_error);

/* The value as it may be typed, of those that fit on a line (option_text.c). False: it is absent, or is a
 * secret, a map or a structure, of which nothing is told. */
bool option_put(const struct option *row, const void *settings, struct buffer *out);

/* Adds every value to an id, by key, so that equal settings have equal ids in every process. A node is left
 * out: its reader knows what of it matters. */
struct id_builder;
void options_identify(const struct option *rows, size_t count, const void *settings, struct id_builder *id);

/* The nearest of the names by edit distance, or NULL when none is near; for "did you mean". */
const char *nearest_name(const char *name, const char *const *names, size_t count);

/* Markdown rows of the reference page: | key | type | default | range | meaning |. */
void options_describe(const struct option *rows, size_t count, struct buffer *out);
