/* What a tuning found, as text for a terminal and as a piece of a configuration file. */
#pragma once
#include "tuning/tune.h"

struct tune_subject { /* what was tuned */
    const char *name, *statistic;
    const struct node *node; /* the detector in its file; NULL: it is in none yet */
};

void tune_write_text(const struct tune *tune, const struct tune_subject *subject, struct buffer *out);
void tune_write_yaml(const struct tune *tune, const struct tune_subject *subject, struct buffer *out);

/* The table of figures, which text and page share: a row is asked for by its number. */
enum tune_column { TUNE_BEFORE, TUNE_BEFORE_HELD, TUNE_AFTER, TUNE_CROSSED, TUNE_AFTER_HELD, TUNE_COLUMNS };
extern const char *const tune_column_names[TUNE_COLUMNS];
extern const size_t tune_figure_count;
bool tune_figure_shown(const struct tune *tune, size_t figure); /* some are about labels, some are not */
const char *tune_figure_name(size_t figure);
void tune_figure_put(const struct tune *tune, size_t figure, enum tune_column column, struct buffer *out);

void tune_put_remarks(const struct tune *tune, struct buffer *out); /* what to beware of, a line each */
