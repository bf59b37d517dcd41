/* Many programs over the same rows: which of them may be true of which rows. What is left out is false and no
 * error; what is not left out is for the program to decide. An index is immutable and may be used by many
 * threads at once, each with a look of its own. */
#pragma once
#include "rules/cel.h"

/* Columns of texts that may leave rows out: bits by field or variable, and by label. */
struct cel_columns {
    uint64_t fields, labels;
};

struct cel_indexed {
    const struct cel_program *program; /* borrowed for the time of the index */
    const struct cel_columns *columns; /* NULL: any part of an event's program may leave rows out */
};

struct cel_index *cel_index_new(const struct cel_indexed *programs, uint32_t count);
void cel_index_free(struct cel_index *index); /* NULL is fine */

struct cel_look *cel_look_new(const struct cel_index *index);
void cel_look_free(struct cel_look *look); /* NULL is fine */

/* Looks at the rows with mark ok; all programs are of events. */
void cel_look_batch(struct cel_look *look, const struct event_batch *batch);

/* Looks at one row, whose variables 0, 1 ... `count` - 1 have these texts. */
void cel_look_texts(struct cel_look *look, const struct span *texts, unsigned count);

/* The next program that may be true, in the order of the index; false: no more. After cel_look_batch the rows
 * are in order, and valid until the next look. */
bool cel_look_next(struct cel_look *look, uint32_t *ret_program);
const uint16_t *cel_look_rows(const struct cel_look *look, uint32_t program, uint32_t *ret_count);
