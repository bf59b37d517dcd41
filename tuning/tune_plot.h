/* Plots of a tuning as inline SVG: coloured by the classes of the page that holds them. */
#pragma once
#include "tuning/tune.h"

/* With labels precision against recall of all trials, in training, with the best of each recall as a line;
 * else alerts a day against those that flip. */
void tune_plot_trials(const struct tune *tune, struct buffer *out);

/* The value in its band under the new settings, incidents, and the alerts of before and after. */
void tune_plot_series(const struct tune *tune, uint32_t series, struct buffer *out);
