/* Written once at the end of a tuning. */
#include "tuning/tune_text.h"

#include "base/json_writer.h"

#include <math.h>
#include <stdio.h>

enum { NAME_WIDTH = 24, CELL_WIDTH = 17 };

const char *const tune_column_names[TUNE_COLUMNS] = {"before, training", "before, held out",
                                                     "after, training", "cross-validated", "after, held out"};

static const struct tally *tally_of(const struct tune *tune, enum tune_column column)
{
    switch (column) {
    case TUNE_BEFORE:
        return &tune->before.training;
    case TUNE_BEFORE_HELD:
        return &tune->before.assessment.parts[PART_HELD];
    case TUNE_AFTER:
        return &tune->after.training;
    case TUNE_CROSSED:
        return &tune->crossed;
    default:
        return &tune->after.assessment.parts[PART_HELD];
    }
}

static double days_of(const struct tune *tune, enum tune_column column)
{
    const double *days = tune->truth->part_days;

    return column == TUNE_BEFORE_HELD || column == TUNE_AFTER_HELD ? days[PART_HELD]
                                                                   : days[0] + days[1] + days[2];
}

enum figure_kind { FIGURE_COUNT, FIGURE_SHARE, FIGURE_RATE, FIGURE_TIME };

static double incidents_of(const struct tally *tally, double days)
{
    return tally->incidents;
}

static double found_of(const struct tally *tally, double days)
{
    return tally->found;
}

static double false_of(const struct tally *tally, double days)
{
    return tally->false_alerts;
}

static double recall_of(const struct tally *tally, double days)
{
    return tally_recall(tally);
}

static double precision_of(const struct tally *tally, double days)
{
    return tally_precision(tally);
}

static double f1_of(const struct tally *tally, double days)
{
    return tally_f1(tally);
}

static double delay_of(const struct tally *tally, double days)
{
    return tally->found ? tally->delay_s / tally->found : NAN;
}

static double alerts_of(const struct tally *tally, double days)
{
    return tally->alerts;
}

static double rate_of(const struct tally *tally, double days)
{
    return days > 0 ? tally->alerts / days : NAN;
}

static double flips_of(const struct tally *tally, double days)
{
    return tally->compared ? (double)tally->flips / tally->compared : NAN;
}

static const struct {
    const char *name;
    enum figure_kind kind;
    bool labelled, unlabelled;
    double (*figure)(const struct tally *tally, double days);
} figures[] = {
    {"incidents", FIGURE_COUNT, true, false, incidents_of},
    {"found", FIGURE_COUNT, true, false, found_of},
    {"recall", FIGURE_SHARE, true, false, recall_of},
    {"precision", FIGURE_SHARE, true, false, precision_of},
    {"F1", FIGURE_SHARE, true, false, f1_of},
    {"delay, mean", FIGURE_TIME, true, false, delay_of},
    {"alerts", FIGURE_COUNT, true, true, alerts_of},
    {"false alerts", FIGURE_COUNT, true, false, false_of},
    {"alerts a day", FIGURE_RATE, true, true, rate_of},
    {"alerts that flip", FIGURE_SHARE, false, true, flips_of},
};
const size_t tune_figure_count = sizeof figures / sizeof *figures;

bool tune_figure_shown(const struct tune *tune, size_t figure)
{
    return tune->truth->labels ? figures[figure].labelled : figures[figure].unlabelled;
}

const char *tune_figure_name(size_t figure)
{
    return figures[figure].name;
}

void tune_figure_put(const struct tune *tune, size_t figure, enum tune_column column, struct buffer *out)
{
    double number = figures[figure].figure(tally_of(tune, column), days_of(tune, column));

    if (isnan(number) || (!tune->truth->held && (column == TUNE_BEFORE_HELD || column == TUNE_AFTER_HELD)))
        buffer_put_char(out, '-');
    else if (figures[figure].kind == FIGURE_COUNT)
        buffer_print(out, "%.0f", number);
    else if (figures[figure].kind == FIGURE_SHARE)
        buffer_print(out, "%.3f", number);
    else if (figures[figure].kind == FIGURE_TIME)
        buffer_print(out, "%.0f s", number);
    else
        buffer_print(out, "%.2f", number);
}

void tune_put_remarks(const struct tune *tune, struct buffer *out)
{
    const struct truth *truth = tune->truth;

    if (!tune->improved)
        buffer_put_text(out, "No settings were found that are better than those of the file.\n");
    if (tune->parts)
        buffer_put_text(out, "Warning: what was gained in training is gone, or half gone, where it was held "
                             "out. The settings fit what they were fitted to: do not trust them.\n");
    if (!truth->held)
        buffer_put_text(out, "Warning: too little data to hold a part out.\n");
    if (truth->labels && truth->held && tune->before.assessment.parts[PART_HELD].incidents < 3)
        buffer_print(out, "Warning: only %u incidents are held out; a figure of so few says little.\n",
                     tune->before.assessment.parts[PART_HELD].incidents);
    if (truth->labels && tune->before.training.incidents == 0)
        buffer_put_text(out, "Warning: no incident is in the training part, so nothing can be learned.\n");
    if (truth->outside)
        buffer_print(out, "%zu labels are of another time than the data and do not count.\n", truth->outside);
    if (truth->without_series)
        buffer_print(out, "%zu labels have a target that no series has; they do not count.\n",
                     truth->without_series);
    if (tune->space.left_out)
        buffer_print(out, "%u parameters have too wide a range to be searched and stay as they are.\n",
                     tune->space.left_out);
    if (tune->cut_short)
        buffer_print(out,
                     "The time was over after %llu trials: another run may find other settings. With "
                     "--trials and no --time the seed alone decides.\n",
                     (unsigned long long)tune->tried);
}

static void put_padded(const char *text, size_t size, size_t width, bool right, struct buffer *out)
{
    for (size_t i = size; right && i < width; i++)
        buffer_put_char(out, ' ');
    buffer_put(out, text, size);
    for (size_t i = size; !right && i < width; i++)
        buffer_put_char(out, ' ');
}

static void put_parameters(const struct tune *tune, struct buffer *out)
{
    for (unsigned i = 0; i < tune->space.count; i++) {
        const struct parameter *parameter = &tune->space.parameters[i];
        double before = tune->before.values[i], after = tune->after.values[i];

        put_padded(parameter->row->name, strlen(parameter->row->name), NAME_WIDTH, false, out);
        parameter_put(parameter, before, out);
        if (!(before == after) && !(isnan(before) && isnan(after))) {
            buffer_put_text(out, " -> ");
            parameter_put(parameter, after, out);
        }
        buffer_put_char(out, '\n');
    }
}

void tune_write_text(const struct tune *tune, const struct tune_subject *subject, struct buffer *out)
{
    const struct history *history = tune->history;
    char from[TIME_TEXT_SIZE], to[TIME_TEXT_SIZE];

    time_format(history->first_us, from);
    time_format(history->last_us, to);
    buffer_print(out, "%s: %s of %s, %s; %zu series, %zu buckets, %.*s to %.*s; %llu trials\n\n",
                 subject->name, tune->base.type->name, history->measure->name, subject->statistic,
                 history->count, history->rows, TIME_TEXT_SIZE, from, TIME_TEXT_SIZE, to,
                 (unsigned long long)tune->tried);
    put_padded("", 0, NAME_WIDTH, false, out);
    for (int c = 0; c < TUNE_COLUMNS; c++)
        put_padded(tune_column_names[c], strlen(tune_column_names[c]), CELL_WIDTH, true, out);
    buffer_put_char(out, '\n');
    for (size_t i = 0; i < tune_figure_count; i++) {
        if (!tune_figure_shown(tune, i))
            continue;
        put_padded(figures[i].name, strlen(figures[i].name), NAME_WIDTH, false, out);
        for (int c = 0; c < TUNE_COLUMNS; c++) {
            struct buffer cell;

            buffer_init(&cell, 64);
            tune_figure_put(tune, i, (enum tune_column)c, &cell);
            put_padded(cell.data, cell.size, CELL_WIDTH, true, out);
            buffer_free(&cell);
        }
        buffer_put_char(out, '\n');
    }
    buffer_put_char(out, '\n');
    put_parameters(tune, out);
    buffer_put_char(out, '\n');
    tune_put_remarks(tune, out);
}

static void put_scalar(const struct node *node, struct buffer *out)
{
    bool plain = !node->quoted && node->text[0];

    for (const char *c = node->text; *c && plain; c++)
        plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
                strchr("_.-+%", *c);
    if (plain || node_is_null(node))
        buffer_put_text(out, node->text);
    else
        json_put_text(out, span_of(node->text));
}

static void put_node(const struct node *node, struct buffer *out) /* in flow style */
{
    if (node->type == NODE_SCALAR) {
        put_scalar(node, out);
        return;
    }
    buffer_put_char(out, node->type == NODE_MAP ? '{' : '[');
    for (size_t i = 0; i < node->count; i++) {
        buffer_print(out, "%s%s%s", i ? ", " : "", node->type == NODE_MAP ? node->keys[i] : "",
                     node->type == NODE_MAP ? ": " : "");
        put_node(node->items[i], out);
    }
    buffer_put_char(out, node->type == NODE_MAP ? '}' : ']');
}

/* The parameter of that key, if its value is another than before. */
static const struct parameter *changed_parameter(const struct tune *tune, const char *key, double *ret_value)
{
    for (unsigned i = 0; i < tune->space.count; i++)
        if (strcmp(tune->space.parameters[i].row->name, key) == 0 &&
            tune->after.values[i] != tune->before.values[i]) {
            *ret_value = tune->after.values[i];
            return &tune->space.parameters[i];
        }
    return NULL;
}

/* The detector as it stands in its file, with the values that are new. */
static void put_given(const struct tune *tune, const struct tune_subject *subject, struct buffer *out)
{
    const struct node *node = subject->node;
    double value;

    for (size_t i = 0; node && i < node->count; i++) {
        const struct parameter *parameter = changed_parameter(tune, node->keys[i], &value);

        buffer_print(out, "%s%s: ", i ? ", " : "", node->keys[i]);
        if (parameter)
            parameter_put(parameter, value, out);
        else
            put_node(node->items[i], out);
    }
    if (!node)
        buffer_print(out, "name: %s, type: %s, measure: %s, statistic: %s", subject->name,
                     tune->base.type->name, tune->history->measure->name, subject->statistic);
}

void tune_write_yaml(const struct tune *tune, const struct tune_subject *subject, struct buffer *out)
{
    double value;

    buffer_put_text(out, "# By weir tune:");
    for (size_t i = 0; i < tune_figure_count; i++) {
        if (!tune_figure_shown(tune, i))
            continue;
        buffer_print(out, " %s ", figures[i].name);
        tune_figure_put(tune, i, tune->truth->held ? TUNE_BEFORE_HELD : TUNE_BEFORE, out);
        buffer_put_text(out, " -> ");
        tune_figure_put(tune, i, tune->truth->held ? TUNE_AFTER_HELD : TUNE_AFTER, out);
        buffer_put_char(out, ',');
    }
    buffer_print(out, " %s.\ndetectors:\n  - {", tune->truth->held ? "held out" : "nothing held out");
    put_given(tune, subject, out);
    for (unsigned i = 0; i < tune->space.count; i++) {
        const char *key = tune->space.parameters[i].row->name;
        const struct parameter *parameter = changed_parameter(tune, key, &value);

        if (!parameter || (subject->node && node_find(subject->node, key)))
            continue;
        buffer_print(out, ", %s: ", key);
        parameter_put(parameter, value, out);
    }
    buffer_put_text(out, "}\n");
}
