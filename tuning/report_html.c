/* The report as one page. */
#include "tuning/html.h"
#include "tuning/report_plot.h"
#include "tuning/report_table.h"

#include <math.h>

enum { PLOTTED_MAX = 60 }; /* groups with plots: a page stays some megabytes */

static void put_name(const struct report *report, const struct report_group *group, struct buffer *out)
{
    struct buffer name;

    buffer_init(&name, SIZE_MAX);
    report_put_name(report, group, &name);
    html_put_text(buffer_span(&name), out);
    buffer_free(&name);
}

static void put_row(const struct report *report, const struct report_group *group, struct buffer *out)
{
    buffer_print(out, "<tr><th scope=\"row\"%s>", group->is_task ? " class=\"task\"" : "");
    put_name(report, group, out);
    buffer_put_text(out, "</th>");
    for (size_t c = 0; c < report_column_count; c++) {
        const struct report_column *column = &report_columns[c];
        bool is_bad = strcmp(column->name, "failed") == 0 && group->figures.states[STATE_FAILED] > 0;

        if (!report_column_shown(report, column))
            continue;
        buffer_put_text(out, is_bad ? "<td class=\"bad\">" : "<td>");
        report_put_cell(report, group, column, out);
        buffer_put_text(out, "</td>");
    }
    buffer_put_text(out, "</tr>\n");
}

static void put_table(const struct report *report, struct buffer *out)
{
    buffer_put_text(out, "<div class=\"panel wide\"><table><thead><tr><td></td>");
    for (size_t c = 0; c < report_column_count; c++)
        if (report_column_shown(report, &report_columns[c]))
            buffer_print(out, "<th scope=\"col\">%s</th>", report_columns[c].title);
    buffer_put_text(out, "</tr></thead><tbody>\n");
    for (size_t i = 0; i < report->group_count; i++)
        put_row(report, &report->groups[i], out);
    buffer_put_text(out, "</tbody></table></div>\n");
}

static void put_plots(const struct report *report, const struct report_group *group, struct buffer *out)
{
    static const char spread[] = "<b class=\"p50\">p50</b> and <b class=\"p95\">p95</b></figcaption>";

    buffer_put_text(out, "<section class=\"panel\"><h2>");
    put_name(report, group, out);
    buffer_print(out, "</h2><div class=\"plots\"><figure><figcaption>Duration, %s", spread);
    report_plot_durations(report, group, out);
    buffer_put_text(out, "</figure><figure><figcaption>Ended: <b class=\"ok\">success</b>, <b class=\"bad\">"
                         "failed</b>, other</figcaption>");
    report_plot_states(report, group, out);
    if (!isnan(group->figures.wait_ms.mean)) {
        buffer_print(out, "</figure><figure><figcaption>Queue wait, %s", spread);
        report_plot_waits(report, group, out);
    }
    buffer_put_text(out, "</figure></div></section>\n");
}

/* The groups with the most ended runs have plots: those with at least this many. */
static uint64_t plotted_from(const struct report *report)
{
    uint64_t least = 1;

    for (;;) {
        uint64_t next = UINT64_MAX;
        size_t count = 0;

        for (size_t i = 0; i < report->group_count; i++) {
            uint64_t ended = report->groups[i].figures.ended;

            count += ended >= least;
            next = ended >= least && ended < next ? ended : next;
        }
        if (count <= PLOTTED_MAX)
            return least;
        least = next + 1;
    }
}

void report_write_html(const struct report *report, struct span title, struct buffer *out)
{
    uint64_t least = plotted_from(report);

    html_begin(title, "report", out);
    buffer_put_text(out, "<p>");
    if (report->group_count)
        report_put_period(report, out);
    else
        buffer_put_text(out, "no runs");
    buffer_put_text(out, "</p>\n");
    if (report->group_count)
        put_table(report, out);
    for (size_t i = 0; i < report->group_count; i++)
        if (report->groups[i].figures.ended >= least)
            put_plots(report, &report->groups[i], out);
    html_end(out);
}
