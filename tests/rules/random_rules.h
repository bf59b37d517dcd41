/* Random rows of events, and random expressions over them: some that columns can run, some that they cannot,
 * some that fail. */
#pragma once
#include "rules/cel.h"

/* Room for `rows` rows, and one label, "team". */
void batch_with_label(struct event_batch *batch, uint32_t rows, struct label_names *labels,
                      struct cel_environment *environment);
void free_labels(struct label_names *labels);

void random_rows(struct event_batch *batch, uint64_t *random); /* fills the batch */
void random_number_expression(uint64_t *random, struct buffer *out, unsigned depth);
void random_truth(uint64_t *random, struct buffer *out, unsigned depth);

struct cel_program *compile_rule(const char *text, size_t size, const struct cel_environment *environment,
                                 enum cel_type want); /* must be right */
