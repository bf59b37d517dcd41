/* Written once at the end of a tuning; some hundred kilobytes. */
#include "tuning/tune_html.h"

#include "base/memory.h"
#include "tuning/html.h"
#include "tuning/tune_plot.h"

#include <math.h>
#include <stdlib.h>

enum { PLOTTED_MAX = 40, LISTED_MAX = 200 };

static void put_figures(const struct tune *tune, struct buffer *out)
{
    buffer_put_text(out, "<div class=\"panel wide\"><table><thead><tr><td></td>");
    for (int c = 0; c < TUNE_COLUMNS; c++)
        buffer_print(out, "<th scope=\"col\">%s</th>", tune_column_names[c]);
    buffer_put_text(out, "</tr></thead><tbody>\n");
    for (size_t i = 0; i < tune_figure_count; i++) {
        if (!tune_figure_shown(tune, i))
            continue;
        buffer_print(out, "<tr><th scope=\"row\">%s</th>", tune_figure_name(i));
        for (int c = 0; c < TUNE_COLUMNS; c++) {
            buffer_put_text(out, "<td>");
            tune_figure_put(tune, i, (enum tune_column)c, out);
            buffer_put_text(out, "</td>");
        }
        buffer_put_text(out, "</tr>\n");
    }
    buffer_put_text(out, "</tbody></table></div>\n");
}

static void put_parameters(const struct tune *tune, struct buffer *out)
{
    buffer_put_text(out, "<div class=\"panel\"><h2>Parameters</h2><table><thead><tr><td></td><th "
                         "scope=\"col\">before</th><th scope=\"col\">after</th></tr></thead><tbody>\n");
    for (unsigned i = 0; i < tune->space.count; i++) {
        const struct parameter *parameter = &tune->space.parameters[i];

        buffer_print(out, "<tr><th scope=\"row\">%s</th><td>", parameter->row->name);
        parameter_put(parameter, tune->before.values[i], out);
        buffer_put_text(out, tune->after.values[i] != tune->before.values[i] ? "</td><td><b>" : "</td><td>");
        parameter_put(parameter, tune->after.values[i], out);
        buffer_put_text(out, tune->after.values[i] != tune->before.values[i] ? "</b></td></tr>\n"
                                                                             : "</td></tr>\n");
    }
    buffer_put_text(out, "</tbody></table></div>\n");
}

static void put_trials(const struct tune *tune, struct buffer *out)
{
    buffer_put_text(out, "<div class=\"panel\"><h2>Trials</h2><figure><figcaption>");
    buffer_put_text(out,
                    tune->truth->labels
                        ? "Precision against recall in training, of each trial; the line is the best. "
                        : "Alerts a day in training, and the share of them that flips when a series begins "
                          "later, of each trial. ");
    buffer_put_text(out, "<b class=\"p95\">before</b>, <b class=\"ok\">after</b></figcaption>");
    tune_plot_trials(tune, out);
    buffer_put_text(out, "</figure></div>\n");
}

static void put_remarks(const struct tune *tune, struct buffer *out)
{
    struct buffer remarks;

    buffer_init(&remarks, SIZE_MAX);
    tune_put_remarks(tune, &remarks);
    struct span rest = buffer_span(&remarks), line;

    while (span_take_line(&rest, &line)) {
        buffer_put_text(out, "<p class=\"remark\">");
        html_put_text(line, out);
        buffer_put_text(out, "</p>\n");
    }
    buffer_free(&remarks);
}

static void put_found(const struct tune_outcome *outcome, const struct incident *incident, size_t label,
                      unsigned part, struct buffer *out)
{
    int64_t found_us = outcome->assessment.found_us[label * PARTS + part];

    if (found_us == TIME_NONE)
        buffer_put_text(out, "<td class=\"bad\">missed</td>");
    else
        buffer_print(out, "<td>after %.0f s</td>", fmax((double)(found_us - incident->start_us) * 1e-6, 0));
}

static void put_incident(const struct tune *tune, size_t label, unsigned part, struct buffer *out)
{
    const struct incident *incident = &tune->truth->labels->items[label];
    char time[TIME_TEXT_SIZE];

    time_format(incident->start_us, time);
    buffer_print(out, "<tr><th scope=\"row\">%.10s %.8s</th><td>%.0f s</td><td>", time, time + 11,
                 (double)(incident->end_us - incident->start_us) * 1e-6);
    html_put_text(span_of(incident->kind), out);
    buffer_put_text(out, "</td><td>");
    for (size_t i = 0; i < incident->target_count && i < 3; i++) {
        buffer_put_text(out, i ? ", " : "");
        html_put_text(span_of(incident->targets[i]), out);
    }
    buffer_print(out, "%s</td><td>%s</td>", incident->target_count > 3 ? " ..." : "",
                 part == PART_HELD ? "held out" : "training");
    put_found(&tune->before, incident, label, part, out);
    put_found(&tune->after, incident, label, part, out);
    buffer_put_text(out, "</tr>\n");
}

static void put_incidents(const struct tune *tune, struct buffer *out)
{
    size_t listed = 0;

    buffer_put_text(out,
                    "<div class=\"panel wide\"><table><thead><tr><th "
                    "scope=\"col\">Incident</th><th scope=\"col\">lasted</th><th scope=\"col\">kind</th><th "
                    "scope=\"col\">target</th><th scope=\"col\">part</th><th scope=\"col\">before</th><th "
                    "scope=\"col\">after</th></tr></thead><tbody>\n");
    for (size_t i = 0; i < tune->truth->labels->count && listed < LISTED_MAX; i++)
        for (unsigned part = 0; part < PARTS && !tune->truth->labels->items[i].ignore; part++)
            if (truth_counts(tune->truth, i, part)) {
                put_incident(tune, i, part, out);
                listed++;
            }
    buffer_put_text(out, "</tbody></table></div>\n");
    if (listed == LISTED_MAX)
        buffer_print(out, "<p>The first %d incidents are listed.</p>\n", LISTED_MAX);
}

struct weighed {
    uint64_t weight;
    uint32_t series;
};

static int compare_weighed(const void *left, const void *right)
{
    const struct weighed *a = left, *b = right;

    if (a->weight != b->weight)
        return a->weight > b->weight ? -1 : 1;
    return (a->series > b->series) - (a->series < b->series);
}

/* The series with the most alerts and incidents come first; those with none are not shown. */
static struct weighed *weigh_series(const struct tune *tune)
{
    struct weighed *weighed = memory_new((tune->history->count + 1) * sizeof *weighed);
    const struct tune_outcome *outcomes[] = {&tune->before, &tune->after};

    for (uint32_t s = 0; s < tune->history->count; s++) {
        weighed[s].series = s;
        if (tune->truth->labels)
            weighed[s].weight = tune->truth->incident_first[s + 1] - tune->truth->incident_first[s];
    }
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; i < outcomes[k]->alerts.count; i++)
            weighed[outcomes[k]->alerts.items[i].series].weight++;
    qsort(weighed, tune->history->count, sizeof *weighed, compare_weighed);
    return weighed;
}

static void put_series(const struct tune *tune, struct buffer *out)
{
    struct weighed *weighed = weigh_series(tune);
    size_t shown = 0;

    for (size_t i = 0; i < tune->history->count && i < PLOTTED_MAX && weighed[i].weight > 0; i++, shown++) {
        const char *name = tune->history->series[weighed[i].series].name;

        buffer_put_text(out, "<section class=\"panel\"><h2>");
        html_put_text(span_of(name[0] ? name : tune->history->measure->name), out);
        if (tune->truth->by_series && tune->truth->series_part[weighed[i].series] == PART_HELD)
            buffer_put_text(out, " (held out)");
        buffer_put_text(out, "</h2><figure>");
        tune_plot_series(tune, weighed[i].series, out);
        buffer_put_text(out, "</figure></section>\n");
    }
    buffer_print(out, "<p>%zu of %zu series are shown: those with alerts or incidents, at most %d.</p>\n",
                 shown, tune->history->count, PLOTTED_MAX);
    free(weighed);
}

void tune_write_html(const struct tune *tune, const struct tune_subject *subject, struct buffer *out)
{
    const struct history *history = tune->history;
    char from[TIME_TEXT_SIZE], to[TIME_TEXT_SIZE];

    time_format(history->first_us, from);
    time_format(history->last_us, to);
    html_begin(span_of(subject->name), "tuning", out);
    buffer_print(out, "<p>%s on ", tune->base.type->name);
    html_put_text(span_of(history->measure->name), out);
    buffer_print(out, ", %s. %zu series, %zu buckets, %.*s to %.*s. %llu trials, seed %llu.</p>\n",
                 subject->statistic, history->count, history->rows, TIME_TEXT_SIZE, from, TIME_TEXT_SIZE, to,
                 (unsigned long long)tune->tried, (unsigned long long)tune->options->seed);
    put_remarks(tune, out);
    put_figures(tune, out);
    buffer_put_text(out, "<div class=\"pair\">");
    put_parameters(tune, out);
    put_trials(tune, out);
    buffer_put_text(out, "</div>\n");
    if (tune->truth->labels)
        put_incidents(tune, out);
    buffer_put_text(out,
                    "<p>Each plot: the value in its <b class=\"band\">band</b> under the new settings; spans "
                    "are incidents, <b class=\"ok\">found</b> or <b class=\"bad\">missed</b>; dots are the "
                    "alerts of after, triangles above them those of before: <b class=\"ok\">right</b>, <b "
                    "class=\"bad\">false</b>, again or without a label.</p>\n");
    put_series(tune, out);
    html_end(out);
}
