/* Documents of the benchmark read back, to be compared and drawn. */
#pragma once
#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

struct document_figure {
    char *case_name, *parameters; /* "events=1000 series=10", of all that changes what is measured */
    char *name, *unit;
    double *values; /* one a run, at least one */
    size_t count;
};

struct document {
    char *path, *commit, *version, *processor;
    int64_t time_us;
    struct document_figure *figures;
    size_t figure_count, figure_capacity;
};

/* Cases that failed have no figures. STATUS_FATAL: it is no such document, or cannot be read. */
enum status document_read(const char *path, struct document *ret_document, struct error *ret_error);
void document_free(struct document *document);

/* NULL: it has no figure of that name in that case. */
const struct document_figure *document_find(const struct document *document, const char *case_name,
                                            const char *name);
