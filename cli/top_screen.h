/* What `weir top` shows, as lines of text: a function of two samples and the size. */
#pragma once
#include "base/buffer.h"

struct top_sample {                  /* all NULL and 0: none yet */
    char *metrics, *alerts, *health; /* the answers' texts, malloc'ed */
    int64_t wall_us, at_us;          /* when; by the wall clock, by one that never goes back */
};

void top_sample_free(struct top_sample *sample);

/* At most `rows` lines, each at most `columns` wide and ended by a newline. Rates are of the time between the
 * samples. `trouble`: why there is nothing newer; empty when there is. */
void top_screen(const struct top_sample *before, const struct top_sample *now, const char *url,
                const char *trouble, unsigned columns, unsigned rows, struct buffer *out);
