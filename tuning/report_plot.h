/* Plots of one group as inline SVG: coloured by the classes of the page that holds them. */
#pragma once
#include "tuning/report.h"

void report_plot_durations(const struct report *report, const struct report_group *group, struct buffer *out);
void report_plot_states(const struct report *report, const struct report_group *group, struct buffer *out);
void report_plot_waits(const struct report *report, const struct report_group *group, struct buffer *out);
