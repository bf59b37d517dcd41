/* Time is cut into slices of one width, fewer where there are few runs, and each plot has one mark a slice: a
 * report of a million runs is as large as one of a hundred. */
#include "tuning/report_plot.h"

#include "base/memory.h"
#include "tuning/html.h"
#include "tuning/report_table.h"

#include <math.h>
#include <stdlib.h>

enum {
    SLICES_MIN = 8,
    SLICES_MAX = 48,
    RUNS_A_SLICE = 4,
    WIDTH = 600,
    HEIGHT = 180,
    LEFT = 56,
    RIGHT = 8,
    TOP = 10,
    BOTTOM = 22
};
enum { PLOT_WIDTH = WIDTH - LEFT - RIGHT, PLOT_HEIGHT = HEIGHT - TOP - BOTTOM, GRID_LINES = 2 };

enum stack { STACK_SUCCESS, STACK_FAILED, STACK_OTHER, STACKS };
static const char *const stack_classes[STACKS] = {"ok", "bad", "other"};

static unsigned slices_of(const struct report_group *group)
{
    uint64_t wanted = group->figures.ended / RUNS_A_SLICE;

    return wanted < SLICES_MIN ? SLICES_MIN : wanted > SLICES_MAX ? SLICES_MAX : (unsigned)wanted;
}

static unsigned slice_of(const struct report *report, unsigned slices, int64_t time_us)
{
    double share = (double)(time_us - report->from_us) / ((double)(report->to_us - report->from_us) + 1);

    return (unsigned)(share * slices);
}

static double x_of(double share)
{
    return LEFT + share * PLOT_WIDTH;
}

static double y_of(double value, double top)
{
    return TOP + PLOT_HEIGHT * (1 - value / top);
}

/* In the unit that it is told in. */
static double duration_axis_end(double ms)
{
    double unit = ms < 1e3 ? 1 : ms < 6e4 ? 1e3 : ms < 3.6e6 ? 6e4 : 3.6e6;

    return ms > 0 ? unit * html_axis_end(ms / unit) : 1;
}

static void begin_plot(const char *label, struct buffer *out)
{
    buffer_print(out, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">", WIDTH, HEIGHT, label);
}

static void put_y_axis(double top, bool is_duration, struct buffer *out)
{
    for (int i = 0; i <= GRID_LINES; i++) {
        double value = top * i / GRID_LINES, y = y_of(value, top);

        buffer_print(out, "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>", LEFT,
                     WIDTH - RIGHT, y, y);
        if (!is_duration && value != floor(value))
            continue;
        buffer_print(out, "<text class=\"end\" x=\"%d\" y=\"%.1f\">", LEFT - 6, y + 4);
        if (!is_duration)
            buffer_print(out, "%g", value);
        else if (i == 0)
            buffer_put_char(out, '0');
        else
            report_put_duration(value, out);
        buffer_put_text(out, "</text>");
    }
}

/* Times of day, or days when there are several. */
static void put_x_axis(const struct report *report, struct buffer *out)
{
    static const char *const anchors[] = {"", "middle", "end"};
    bool days = report->to_us - report->from_us > 2 * INT64_C(86400000000);

    for (int i = 0; i < 3; i++) {
        char text[TIME_TEXT_SIZE];

        time_format(report->from_us + (report->to_us - report->from_us) / 2 * i, text);
        buffer_print(out, "<text class=\"%s\" x=\"%.1f\" y=\"%d\">%.5s</text>", anchors[i], x_of(i / 2.0),
                     HEIGHT - 6, text + (days ? 5 : 11));
    }
    buffer_put_text(out, "</svg>");
}

/* One value of each run, by slice. */
struct sliced {
    double *values;
    unsigned slices;
    size_t counts[SLICES_MAX], starts[SLICES_MAX];
};

typedef double report_value(const struct report_run *run);

static double duration_of(const struct report_run *run)
{
    return run->state == STATE_SUCCESS ? run->duration_ms : NAN;
}

static double wait_of(const struct report_run *run)
{
    return run->queued_us != TIME_NONE && run->started_us >= run->queued_us
               ? (double)(run->started_us - run->queued_us) / 1000.0
               : NAN;
}

/* Runs come by their end, so that those of a slice stand side by side. */
static struct sliced slice_values(const struct report *report, const struct report_group *group,
                                  report_value *value_of)
{
    struct sliced sliced = {.values = memory_new((group->run_count + 1) * sizeof *sliced.values),
                            .slices = slices_of(group)};
    size_t used = 0;

    for (size_t i = 0; i < group->run_count; i++) {
        const struct report_run *run = &group->runs[i];
        double value = value_of(run);

        if (!report_covers(report, run) || isnan(value))
            continue;
        unsigned slice = slice_of(report, sliced.slices, run->ended_us);
        if (sliced.counts[slice]++ == 0)
            sliced.starts[slice] = used;
        sliced.values[used++] = value;
    }
    return sliced;
}

static void put_line(const double *values, unsigned slices, double top, const char *class, struct buffer *out)
{
    bool open = false;

    buffer_print(out, "<path class=\"%s\" d=\"", class);
    for (unsigned i = 0; i < slices; i++) {
        if (!isnan(values[i]))
            buffer_print(out, "%c%.1f %.1f", open ? 'L' : 'M', x_of((i + 0.5) / slices),
                         y_of(values[i], top));
        open = !isnan(values[i]);
    }
    buffer_put_text(out, "\"/>");
    for (unsigned i = 0; i < slices; i++)
        if (!isnan(values[i]))
            buffer_print(out, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"2\"/>", class,
                         x_of((i + 0.5) / slices), y_of(values[i], top));
}

static void plot_spread(const struct report *report, const struct report_group *group, report_value *value_of,
                        const char *label, struct buffer *out)
{
    struct sliced sliced = slice_values(report, group, value_of);
    double p50[SLICES_MAX], p95[SLICES_MAX], top = 0;

    for (unsigned i = 0; i < sliced.slices; i++) {
        struct report_spread spread = report_spread_of(sliced.values + sliced.starts[i], sliced.counts[i]);

        p50[i] = spread.p50;
        p95[i] = spread.p95;
        top = spread.p95 > top ? spread.p95 : top;
    }
    top = duration_axis_end(top);
    begin_plot(label, out);
    put_y_axis(top, true, out);
    put_line(p95, sliced.slices, top, "p95", out);
    put_line(p50, sliced.slices, top, "p50", out);
    put_x_axis(report, out);
    free(sliced.values);
}

void report_plot_durations(const struct report *report, const struct report_group *group, struct buffer *out)
{
    plot_spread(report, group, duration_of, "durations of successful runs over time", out);
}

void report_plot_waits(const struct report *report, const struct report_group *group, struct buffer *out)
{
    plot_spread(report, group, wait_of, "queue wait over time", out);
}

static enum stack stack_of(enum run_state state)
{
    return state == STATE_SUCCESS ? STACK_SUCCESS : report_is_failure(state) ? STACK_FAILED : STACK_OTHER;
}

void report_plot_states(const struct report *report, const struct report_group *group, struct buffer *out)
{
    unsigned slices = slices_of(group);
    uint64_t counts[SLICES_MAX][STACKS] = {{0}};
    double top = 2;

    for (size_t i = 0; i < group->run_count; i++)
        if (report_covers(report, &group->runs[i]))
            counts[slice_of(report, slices, group->runs[i].ended_us)][stack_of(group->runs[i].state)]++;
    for (unsigned i = 0; i < slices; i++) {
        double sum = (double)(counts[i][STACK_SUCCESS] + counts[i][STACK_FAILED] + counts[i][STACK_OTHER]);

        top = sum > top ? sum : top;
    }
    top = html_axis_end(top);
    begin_plot("ended runs by state over time", out);
    put_y_axis(top, false, out);
    for (unsigned i = 0; i < slices; i++) {
        double below = 0;

        for (int stack = 0; stack < STACKS; stack++) {
            double count = (double)counts[i][stack], y = y_of(below + count, top);

            if (count > 0)
                buffer_print(out, "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>",
                             stack_classes[stack], x_of((double)i / slices) + 0.5, y,
                             (double)PLOT_WIDTH / slices - 1, y_of(below, top) - y);
            below += count;
        }
    }
    put_x_axis(report, out);
}
