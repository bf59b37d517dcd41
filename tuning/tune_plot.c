/* A plot has as many marks as it is wide, however long the series: a slice of time shows its least and
 * greatest value. */
#include "tuning/tune_plot.h"

#include "base/memory.h"
#include "tuning/html.h"

#include <math.h>
#include <stdlib.h>

enum {
    WIDTH = 1000,
    HEIGHT = 220,
    LEFT = 64,
    RIGHT = 12,
    TOP = 26,
    BOTTOM = 24,
    SLICES = 460,
    SQUARE = 340, /* of the plot of trials */
    DOTS_MAX = 4000,
    BEFORE_Y = 14, /* where the alerts of before stand */
};

struct slice {
    double low, high, band_low, band_high; /* NaN: none */
};

struct frame { /* of one series */
    const struct tune *tune;
    const struct history_series *series;
    int64_t from_us, to_us;
    double low, high;
    struct slice slices[SLICES];
};

static double x_of(const struct frame *frame, int64_t time_us)
{
    double share = (double)(time_us - frame->from_us) / ((double)(frame->to_us - frame->from_us) + 1);

    return LEFT + fmin(fmax(share, 0), 1) * (WIDTH - LEFT - RIGHT);
}

static double y_of(const struct frame *frame, double value)
{
    double share = (value - frame->low) / (frame->high - frame->low);

    return TOP + (1 - fmin(fmax(share, 0), 1)) * (HEIGHT - TOP - BOTTOM);
}

static void widen(double value, double *low, double *high)
{
    if (isnan(value))
        return;
    *low = isnan(*low) ? value : fmin(*low, value);
    *high = isnan(*high) ? value : fmax(*high, value);
}

static void take_bucket(void *owner, uint32_t number, size_t row, const struct signal *signal)
{
    struct frame *frame = owner;
    double share =
        (double)(frame->series->end_us[row] - frame->from_us) / ((double)(frame->to_us - frame->from_us) + 1);
    struct slice *slice = &frame->slices[(unsigned)(fmin(fmax(share, 0), 1) * (SLICES - 1))];

    widen(frame->series->value[row], &slice->low, &slice->high);
    widen(frame->series->value[row], &frame->low, &frame->high);
    if (signal->opinion && isfinite(signal->expected_low) && isfinite(signal->expected_high)) {
        widen(signal->expected_low, &slice->band_low, &slice->band_high);
        widen(signal->expected_high, &slice->band_low, &slice->band_high);
    }
}

static void begin(const char *label, int width, int height, struct buffer *out)
{
    buffer_print(out, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">", width, height, label);
}

static double slice_x(unsigned slice)
{
    return LEFT + (slice + 0.5) / SLICES * (WIDTH - LEFT - RIGHT);
}

/* Up along one edge of each piece that has no hole, and back along the other. */
static void put_band(const struct frame *frame, struct buffer *out)
{
    for (unsigned from = 0; from < SLICES; from++) {
        unsigned to = from;

        if (isnan(frame->slices[from].band_low))
            continue;
        buffer_put_text(out, "<path class=\"band\" d=\"");
        for (unsigned last = from; to < SLICES && to - last < SLICES / 20; to++) {
            if (isnan(frame->slices[to].band_low))
                continue;
            buffer_print(out, "%c%.1f %.1f", to == from ? 'M' : 'L', slice_x(to),
                         y_of(frame, frame->slices[to].band_high));
            last = to;
        }
        for (unsigned back = to; back-- > from;)
            if (!isnan(frame->slices[back].band_low))
                buffer_print(out, "L%.1f %.1f", slice_x(back), y_of(frame, frame->slices[back].band_low));
        buffer_put_text(out, "Z\"/>");
        from = to;
    }
}

static void put_values(const struct frame *frame, struct buffer *out)
{
    bool first = true;

    buffer_put_text(out, "<path class=\"value\" d=\"");
    for (unsigned i = 0; i < SLICES; i++) {
        const struct slice *slice = &frame->slices[i];

        if (isnan(slice->low))
            continue;
        buffer_print(out, "%c%.1f %.1f", first ? 'M' : 'L', slice_x(i), y_of(frame, slice->low));
        if (slice->high > slice->low)
            buffer_print(out, "L%.1f %.1f", slice_x(i), y_of(frame, slice->high));
        first = false;
    }
    buffer_put_text(out, "\"/>");
}

static void put_axes(const struct frame *frame, struct buffer *out)
{
    static const char *const anchors[] = {"", "middle", "end"};
    bool days = frame->to_us - frame->from_us > 2 * INT64_C(86400000000);

    for (int i = 0; i < 3; i++) {
        double value = frame->low + (frame->high - frame->low) * i / 2, y = y_of(frame, value);
        int64_t time_us = frame->from_us + (frame->to_us - frame->from_us) / 2 * i;
        char text[TIME_TEXT_SIZE];

        time_format(time_us, text);
        buffer_print(out, "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>", LEFT,
                     WIDTH - RIGHT, y, y);
        buffer_print(out, "<text class=\"end\" x=\"%d\" y=\"%.1f\">%.3g</text>", LEFT - 6, y + 4, value);
        buffer_print(out, "<text class=\"%s\" x=\"%.1f\" y=\"%d\">%.11s</text>", anchors[i],
                     x_of(frame, time_us), HEIGHT - 6, text + (days ? 5 : 11));
    }
}

static void put_time(int64_t time_us, struct buffer *out)
{
    char text[TIME_TEXT_SIZE];

    time_format(time_us, text);
    buffer_print(out, "%.10s %.8s", text, text + 11);
}

static void put_incidents(const struct frame *frame, uint32_t number, struct buffer *out)
{
    const struct truth *truth = frame->tune->truth;

    for (size_t i = truth->incident_first[number]; i < truth->incident_first[number + 1]; i++) {
        const struct incident *incident = &truth->labels->items[truth->incidents[i]];
        unsigned part = truth_part(truth, number, incident->start_us);
        bool found =
            frame->tune->after.assessment.found_us[truth->incidents[i] * (size_t)PARTS + part] != TIME_NONE;
        double x = x_of(frame, incident->start_us);

        buffer_print(out,
                     "<rect class=\"incident %s\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\"><title>",
                     incident->ignore ? "other"
                     : found          ? "ok"
                                      : "bad",
                     x, TOP, fmax(x_of(frame, incident->end_us) - x, 2), HEIGHT - TOP - BOTTOM);
        buffer_put_text(out, incident->ignore ? "does not count" : found ? "found" : "missed");
        html_put_text(span_of(incident->kind[0] ? ": " : ""), out);
        html_put_text(span_of(incident->kind), out);
        buffer_put_text(out, ", ");
        put_time(incident->start_us, out);
        buffer_put_text(out, " to ");
        put_time(incident->end_us, out);
        buffer_put_text(out, "</title></rect>");
    }
}

static void put_alerts(const struct frame *frame, uint32_t number, const struct tune_outcome *outcome,
                       bool after, struct buffer *out)
{
    static const char *const words[] = {"false", "right", "again", "does not count"};
    static const char *const classes[] = {"bad", "ok", "other", "other"};

    for (size_t i = 0; i < outcome->alerts.count; i++) {
        const struct trial_alert *alert = &outcome->alerts.items[i];
        unsigned verdict = frame->tune->truth->labels ? outcome->assessment.alerts[i] : ALERT_REPEAT;
        double x = x_of(frame, alert->at_us);

        if (alert->series != number)
            continue;
        if (after)
            buffer_print(out,
                         "<line class=\"alert %s\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>"
                         "<circle class=\"%s\" cx=\"%.1f\" cy=\"%d\" r=\"5\"><title>",
                         classes[verdict], x, x, TOP, HEIGHT - BOTTOM, classes[verdict], x, TOP);
        else
            buffer_print(out, "<path class=\"before %s\" d=\"M%.1f %dl4 -8h-8Z\"><title>", classes[verdict],
                         x, BEFORE_Y);
        buffer_print(out, "%s%s: ", after ? "after" : "before", frame->tune->truth->labels ? "" : "");
        if (frame->tune->truth->labels)
            buffer_print(out, "%s, ", words[verdict]);
        put_time(alert->at_us, out);
        buffer_print(out, ", 1 in %.3g</title></%s>", 1 / alert->probability, after ? "circle" : "path");
    }
}

static void put_cut(const struct frame *frame, struct buffer *out)
{
    const struct truth *truth = frame->tune->truth;
    int64_t cut_us = truth->by_series ? INT64_MIN : truth->part_end_us[PART_HELD - 1];

    if (!truth->held || cut_us <= frame->from_us || cut_us >= frame->to_us)
        return;
    buffer_print(
        out,
        "<line class=\"cut\" x1=\"%.1f\" x2=\"%.1f\" y1=\"2\" y2=\"%d\"/><text x=\"%.1f\" y=\"%d\">held "
        "out</text>",
        x_of(frame, cut_us), x_of(frame, cut_us), HEIGHT - BOTTOM, x_of(frame, cut_us) + 4,
        HEIGHT - BOTTOM - 4);
}

void tune_plot_series(const struct tune *tune, uint32_t number, struct buffer *out)
{
    const struct trial_range all = {INT64_MIN, INT64_MAX};
    const struct history_series *series = &tune->history->series[number];
    struct frame *frame = memory_new(sizeof *frame);
    struct trial_alerts ignored = {0};
    struct tune_copy copy;

    *frame = (struct frame){.tune = tune,
                            .series = series,
                            .from_us = tune->history->first_us,
                            .to_us = tune->history->last_us,
                            .low = NAN,
                            .high = NAN};
    for (unsigned i = 0; i < SLICES; i++)
        frame->slices[i] = (struct slice){NAN, NAN, NAN, NAN};
    tune_copy_make(tune, tune->after.values, &copy);
    trial_run_series(tune->history, &copy.trial, number, &all, take_bucket, frame, &ignored);
    tune_copy_free(&copy);
    free(ignored.items);
    if (isnan(frame->low))
        frame->low = 0;
    if (!(frame->high > frame->low))
        frame->high = frame->low + 1;
    begin("the series with its band, incidents and alerts", WIDTH, HEIGHT, out);
    put_axes(frame, out);
    if (tune->truth->labels)
        put_incidents(frame, number, out);
    put_band(frame, out);
    put_values(frame, out);
    put_cut(frame, out);
    put_alerts(frame, number, &tune->before, false, out);
    put_alerts(frame, number, &tune->after, true, out);
    buffer_put_text(out, "</svg>");
    free(frame);
}

/* Where a trial stands in its plot, 0..1. */
static void trial_place(const struct tune *tune, const struct tally *tally, double days, double most,
                        double *ret_x, double *ret_y)
{
    if (tune->truth->labels) {
        *ret_x = tally_recall(tally);
        *ret_y = tally_precision(tally);
        return;
    }
    *ret_x = most > 0 ? tally->alerts / most : 0;
    *ret_y = tally->compared ? (double)tally->flips / tally->compared : 0;
}

static void put_dot(double x, double y, const char *class, double radius, const char *title,
                    struct buffer *out)
{
    buffer_print(out, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%g\"><title>%s</title></circle>",
                 class, LEFT + x * (SQUARE - LEFT - RIGHT), TOP + (1 - y) * (SQUARE - TOP - BOTTOM), radius,
                 title);
}

static struct tally fold_sum(const struct tune_trial *trial)
{
    struct tally sum = {0};

    for (unsigned fold = 0; fold < FOLDS; fold++)
        tally_add(&sum, &trial->folds[fold]);
    return sum;
}

static void put_square_axes(const struct tune *tune, double most, double days, struct buffer *out)
{
    bool labelled = tune->truth->labels != NULL;

    for (int i = 0; i <= 4; i++) {
        double x = LEFT + i / 4.0 * (SQUARE - LEFT - RIGHT),
               y = TOP + (1 - i / 4.0) * (SQUARE - TOP - BOTTOM);

        buffer_print(out, "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>", LEFT,
                     SQUARE - RIGHT, y, y);
        buffer_print(out, "<text class=\"end\" x=\"%d\" y=\"%.1f\">%.2f</text>", LEFT - 6, y + 4, i / 4.0);
        buffer_print(out, "<text class=\"%s\" x=\"%.1f\" y=\"%d\">%.3g</text>", i == 4 ? "end" : "middle", x,
                     SQUARE - 6,
                     labelled   ? i / 4.0
                     : days > 0 ? most / days * i / 4
                                : 0);
    }
    buffer_print(out, "<text x=\"4\" y=\"14\">%s</text><text class=\"end\" x=\"%d\" y=\"%d\">%s</text>",
                 labelled ? "precision" : "share that flips", SQUARE - RIGHT, SQUARE - BOTTOM - 6,
                 labelled ? "recall" : "alerts a day");
}

/* The best precision that any trial has with at least this recall, from the right. */
static void put_front(const struct tune *tune, size_t count, struct buffer *out)
{
    double best = 0;
    bool first = true;

    buffer_put_text(out, "<path class=\"p50\" d=\"");
    for (int step = 100; step >= 0; step--) {
        double recall = step / 100.0, before = best;

        for (size_t i = 0; i < count; i++) {
            struct tally sum = fold_sum(&tune->trials[i]);

            if (tally_recall(&sum) >= recall - 1e-9 && tally_precision(&sum) > best)
                best = tally_precision(&sum);
        }
        if (best <= 0)
            continue;
        double x = LEFT + recall * (SQUARE - LEFT - RIGHT), y = TOP + (1 - best) * (SQUARE - TOP - BOTTOM);

        if (first)
            buffer_print(out, "M%.1f %.1f", x, y);
        else if (best > before || step == 0)
            buffer_print(out, "H%.1fV%.1f", x, y);
        first = false;
    }
    buffer_put_text(out, "\"/>");
}

void tune_plot_trials(const struct tune *tune, struct buffer *out)
{
    size_t count = (size_t)tune->options->walks * tune->options->steps, every = count / DOTS_MAX + 1;
    double days = 0, most = tune->before.training.alerts, x, y;

    for (unsigned fold = 0; fold < FOLDS; fold++)
        days += tune->truth->part_days[fold];
    most = fmax(most, 2 * tune->options->alerts_per_day * days); /* far more is at the wall */
    begin("what each trial would have done", SQUARE, SQUARE, out);
    put_square_axes(tune, most, days, out);
    for (size_t i = 0; i < count; i += every) {
        struct tally sum = fold_sum(&tune->trials[i]);

        if (i % tune->options->steps >= tune->taken[i / tune->options->steps] || tune->trials[i].cost >= 1e6)
            continue;
        trial_place(tune, &sum, days, most, &x, &y);
        put_dot(fmin(x, 1), y, "other", 2, "a trial", out);
    }
    if (tune->truth->labels)
        put_front(tune, count, out);
    trial_place(tune, &tune->before.training, days, most, &x, &y);
    put_dot(fmin(x, 1), y, "p95", 6, "before", out);
    trial_place(tune, &tune->after.training, days, most, &x, &y);
    put_dot(fmin(x, 1), y, "ok", 6, "after", out);
    buffer_put_text(out, "</svg>");
}
