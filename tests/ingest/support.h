/* A format with a batch to decode into, and the input that no format may stumble over. */
#pragma once
#include "ingest/format.h"
#include "ingest/source.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct rig {
    const struct format_type *type;
    struct config *config; /* NULL: no options */
    void *settings;
    struct option_table table;
    struct label_names labels;
    struct format *format;
    struct event_batch batch;
    char *payload; /* the last message, allocated to its exact size */
    const char *reason;
    struct error error;
};

/* `yaml` is the map of the format's options, or NULL; false: rig->error tells, and nothing needs closing. */
bool rig_try_open(struct rig *rig, const char *format, const char *yaml, uint32_t rows);
void rig_open(struct rig *rig, const char *format, const char *yaml);
void rig_close(struct rig *rig);

/* Decodes into a batch just reset. */
enum status rig_decode(struct rig *rig, const char *payload, size_t size);
enum status rig_decode_text(struct rig *rig, const char *payload);

void rig_assert_skipped(struct rig *rig, const char *payload, const char *reason);
void rig_assert_malformed(struct rig *rig, const char *payload, const char *reason); /* one row */
void assert_span(struct span text, const char *expected);
int64_t time_of(const char *text);
enum field field_of(const char *name);
struct span text_of(const struct rig *rig, uint32_t row, const char *field);

/* Broken, deep, huge and odd input: rows or a reason, and the format works as before afterwards. */
void check_bad_input(struct rig *rig);

/* Changes some bytes of the text, takes some out, or cuts it; returns its size then, at least 1. */
size_t text_mutate(char *text, size_t size, uint64_t *random);

/* Changes bytes of the lines for about `seconds` of processor time. */
void check_mutations(struct rig *rig, char *const *lines, size_t count, double seconds);

/* A file under the shared data, zstd or plain, by the file source; free with lines_free. False: it is
 * not there. */
bool lines_load(const char *path, char ***ret_lines, size_t *ret_count);
void lines_free(char **lines, size_t count);

/* The whole of a small file under the shared data, or NULL; free(). */
char *file_load(const char *path);

struct source_context quiet_context(void); /* asserts that nobody warns */
