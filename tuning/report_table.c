/* The report as text for a terminal and as CSV: both are one list of columns. */
#include "tuning/report_table.h"

#include "base/memory.h"
#include "base/timestamp.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { NAME_COLUMNS_MAX = 48, GAP_COLUMNS = 2 };

// clang-format off
#define FIGURE(member) offsetof(struct report_figures, member)
#define STATE(state) offsetof(struct report_figures, states) + (state) * sizeof(uint64_t)

const struct report_column report_columns[] = {
    {"ended", "ended", REPORT_COUNT, FIGURE(ended), false},
    {"success", "success", REPORT_COUNT, STATE(STATE_SUCCESS), false},
    {"failed", "failed", REPORT_COUNT, STATE(STATE_FAILED), false},
    {"timed_out", "timed out", REPORT_COUNT, STATE(STATE_TIMED_OUT), true},
    {"upstream_failed", "upstream failed", REPORT_COUNT, STATE(STATE_UPSTREAM_FAILED), true},
    {"skipped", "skipped", REPORT_COUNT, STATE(STATE_SKIPPED), true},
    {"cancelled", "cancelled", REPORT_COUNT, STATE(STATE_CANCELLED), true},
    {"open", "open", REPORT_COUNT, FIGURE(open), true},
    {"success_rate", "success rate", REPORT_SHARE, FIGURE(success_rate), false},
    {"retries", "retries", REPORT_COUNT, FIGURE(retries), false},
    {"queue_wait_ms_mean", "wait mean", REPORT_TIME, FIGURE(wait_ms.mean), false},
    {"queue_wait_ms_p50", "wait p50", REPORT_TIME, FIGURE(wait_ms.p50), false},
    {"queue_wait_ms_p95", "wait p95", REPORT_TIME, FIGURE(wait_ms.p95), false},
    {"duration_ms_p50", "took p50", REPORT_TIME, FIGURE(duration_ms.p50), false},
    {"duration_ms_p95", "took p95", REPORT_TIME, FIGURE(duration_ms.p95), false},
    {"duration_ms_mean", "took mean", REPORT_TIME, FIGURE(duration_ms.mean), false},
    {"duration_ms_max", "took max", REPORT_TIME, FIGURE(duration_ms.max), false},
    {"arrivals_per_hour", "arrivals/h", REPORT_RATE, FIGURE(arrivals_per_hour), false},
    {"completions_per_hour", "ended/h", REPORT_RATE, FIGURE(completions_per_hour), false},
    {"concurrency", "at once", REPORT_COUNT, FIGURE(concurrency), false},
    {"busy_ms", "busy", REPORT_TIME, FIGURE(busy_ms), false},
    {"utilisation", "utilisation", REPORT_SHARE, FIGURE(utilisation), false},
    {"availability", "availability", REPORT_SHARE, FIGURE(availability), false},
    {"outages", "outages", REPORT_COUNT, FIGURE(outages), false},
    {"down_ms", "down", REPORT_TIME, FIGURE(down_ms), false},
    {"mtbf_ms", "MTBF", REPORT_TIME, FIGURE(mtbf_ms), false},
    {"mttr_ms", "MTTR", REPORT_TIME, FIGURE(mttr_ms), false},
};
// clang-format on
const size_t report_column_count = sizeof report_columns / sizeof *report_columns;

static uint64_t count_of(const struct report_group *group, const struct report_column *column)
{
    return *(const uint64_t *)((const char *)&group->figures + column->offset);
}

static double number_of(const struct report_group *group, const struct report_column *column)
{
    return *(const double *)((const char *)&group->figures + column->offset);
}

static bool is_unknown(const struct report *report, const struct report_column *column)
{
    return report->options.ended_only && column->offset == FIGURE(open);
}

bool report_column_shown(const struct report *report, const struct report_column *column)
{
    if (!column->rare)
        return true;
    for (size_t i = 0; i < report->group_count; i++)
        if (count_of(&report->groups[i], column))
            return true;
    return false;
}

/* "2.73s", "4m12s", "1h30m". */
void report_put_duration(double ms, struct buffer *out)
{
    double seconds = ms / 1000.0, minutes = floor(seconds / 60), hours = floor(minutes / 60);

    if (ms == 0)
        buffer_put_char(out, '0');
    else if (ms < 1000)
        buffer_print(out, ms < 10 ? "%.1fms" : "%.0fms", ms);
    else if (seconds < 60)
        buffer_print(out, seconds < 10 ? "%.2fs" : "%.1fs", seconds);
    else if (hours < 1)
        buffer_print(out, "%.0fm%02.0fs", minutes, floor(seconds - minutes * 60));
    else if (hours < 48)
        buffer_print(out, "%.0fh%02.0fm", hours, minutes - hours * 60);
    else
        buffer_print(out, "%.0fd%02.0fh", floor(hours / 24), hours - floor(hours / 24) * 24);
}

void report_put_cell(const struct report *report, const struct report_group *group,
                     const struct report_column *column, struct buffer *out)
{
    double number = column->type == REPORT_COUNT ? 0 : number_of(group, column);

    if (isnan(number) || is_unknown(report, column))
        buffer_put_text(out, "-");
    else if (column->type == REPORT_COUNT)
        buffer_print(out, "%llu", (unsigned long long)count_of(group, column));
    else if (column->type == REPORT_SHARE)
        buffer_print(out, "%.1f%%", number * 100);
    else if (column->type == REPORT_RATE)
        buffer_print(out, "%.1f", number);
    else
        report_put_duration(number, out);
}

static bool has_other_place(const struct report *report)
{
    for (size_t i = 1; i < report->group_count; i++)
        if (!span_equal(report->groups[i].source, report->groups[0].source) ||
            !span_equal(report->groups[i].namespace_, report->groups[0].namespace_))
            return true;
    return false;
}

void report_put_name(const struct report *report, const struct report_group *group, struct buffer *out)
{
    if (has_other_place(report)) {
        buffer_put_span(out, group->source);
        buffer_put_text(out, ":");
        buffer_put_span(out, group->namespace_);
        buffer_put_text(out, group->namespace_.size ? ":" : "");
    }
    buffer_put_span(out, group->workflow);
    if (group->is_task) {
        buffer_put_text(out, "/");
        buffer_put_span(out, group->task);
    }
}

void report_put_period(const struct report *report, struct buffer *out)
{
    char from[TIME_TEXT_SIZE], to[TIME_TEXT_SIZE];

    time_format(report->from_us, from);
    time_format(report->to_us, to);
    buffer_print(out, "%.*s to %.*s (", TIME_TEXT_SIZE, from, TIME_TEXT_SIZE, to);
    report_put_duration((double)(report->to_us - report->from_us) / 1000.0, out);
    buffer_put_text(out, ")");
}

/* Columns that a text takes on a terminal, one a code point. */
static unsigned columns_of(struct span text)
{
    unsigned columns = 0;

    for (uint32_t i = 0; i < text.size; i++)
        columns += ((unsigned char)text.data[i] & 0xC0) != 0x80;
    return columns;
}

/* A name for people: no control characters, not longer than the limit. */
static void put_plain_name(const struct report *report, const struct report_group *group, struct buffer *out)
{
    struct buffer name;

    buffer_init(&name, out->limit);
    report_put_name(report, group, &name);
    struct span left = buffer_span(&name);
    for (unsigned columns = 1; left.size; columns++) {
        struct span character = span_take_plain(&left);

        if (columns == NAME_COLUMNS_MAX && left.size) {
            buffer_put_text(out, "~");
            break;
        }
        buffer_put_span(out, character);
    }
    buffer_free(&name);
}

struct cells { /* texts of a table, rows after the header, one after the other */
    struct buffer text;
    size_t *ends;
    unsigned *widths;       /* by column */
    const unsigned *places; /* of report_columns, by column */
    unsigned columns;
    size_t rows;
};

static struct span cell_at(const struct cells *cells, size_t row, unsigned column)
{
    size_t at = row * cells->columns + column, start = at ? cells->ends[at - 1] : 0;

    return span_make(cells->text.data + start, cells->ends[at] - start);
}

static void fill_cells(const struct report *report, struct cells *cells)
{
    for (size_t row = 0; row < cells->rows; row++)
        for (unsigned c = 0; c < cells->columns; c++) {
            const struct report_column *column = c ? &report_columns[cells->places[c - 1]] : NULL;

            if (row == 0)
                buffer_put_text(&cells->text, c ? column->title : "");
            else if (c == 0)
                put_plain_name(report, &report->groups[row - 1], &cells->text);
            else
                report_put_cell(report, &report->groups[row - 1], column, &cells->text);
            cells->ends[row * cells->columns + c] = cells->text.size;
            unsigned width = columns_of(cell_at(cells, row, c));
            cells->widths[c] = width > cells->widths[c] ? width : cells->widths[c];
        }
}

static void put_blanks(struct buffer *out, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        buffer_put_char(out, ' ');
}

/* The names, and the columns from `first` to before `end`. */
static void put_block(const struct cells *cells, unsigned first, unsigned end, struct buffer *out)
{
    for (size_t row = 0; row < cells->rows; row++) {
        struct span name = cell_at(cells, row, 0);

        buffer_put_span(out, name);
        put_blanks(out, cells->widths[0] - columns_of(name));
        for (unsigned c = first; c < end; c++) {
            struct span text = cell_at(cells, row, c);

            put_blanks(out, GAP_COLUMNS + cells->widths[c] - columns_of(text));
            buffer_put_span(out, text);
        }
        buffer_put_char(out, '\n');
    }
}

static void put_blocks(const struct cells *cells, unsigned width, struct buffer *out)
{
    unsigned first = 1;

    while (first < cells->columns) {
        unsigned used = cells->widths[0], end = first;

        do
            used += GAP_COLUMNS + cells->widths[end++];
        while (end < cells->columns && (width == 0 || used + GAP_COLUMNS + cells->widths[end] <= width));
        buffer_put_char(out, '\n');
        put_block(cells, first, end, out);
        first = end;
    }
}

void report_write_text(const struct report *report, unsigned width, struct buffer *out)
{
    unsigned *places = memory_new(report_column_count * sizeof *places);
    struct cells cells = {.places = places, .columns = 1, .rows = report->group_count + 1};

    if (report->group_count == 0) {
        buffer_put_text(out, "no runs\n");
        free(places);
        return;
    }
    for (unsigned i = 0; i < report_column_count; i++)
        if (report_column_shown(report, &report_columns[i]))
            places[cells.columns++ - 1] = i;
    buffer_init(&cells.text, SIZE_MAX);
    cells.ends = memory_new(cells.rows * cells.columns * sizeof *cells.ends);
    cells.widths = memory_new(cells.columns * sizeof *cells.widths);
    fill_cells(report, &cells);
    report_put_period(report, out);
    buffer_put_char(out, '\n');
    put_blocks(&cells, width, out);
    buffer_free(&cells.text);
    free(cells.ends);
    free(cells.widths);
    free(places);
}

static void put_quoted(struct span text, struct buffer *out)
{
    bool quoted = false;

    for (uint32_t i = 0; i < text.size; i++)
        quoted |= strchr(",\"\r\n", text.data[i]) != NULL;
    if (!quoted) {
        buffer_put_span(out, text);
        return;
    }
    buffer_put_char(out, '"');
    for (uint32_t i = 0; i < text.size; i++) {
        if (text.data[i] == '"')
            buffer_put_char(out, '"');
        buffer_put_char(out, text.data[i]);
    }
    buffer_put_char(out, '"');
}

/* Whole numbers, milliseconds and rates with three digits after the point, shares with six. */
static void put_csv_cell(const struct report *report, const struct report_group *group,
                         const struct report_column *column, struct buffer *out)
{
    if (is_unknown(report, column))
        return;
    if (column->type == REPORT_COUNT)
        buffer_print(out, "%llu", (unsigned long long)count_of(group, column));
    else if (!isnan(number_of(group, column)))
        buffer_print(out, column->type == REPORT_SHARE ? "%.6f" : "%.3f", number_of(group, column));
}

void report_write_csv(const struct report *report, struct buffer *out)
{
    char from[TIME_TEXT_SIZE], to[TIME_TEXT_SIZE];

    buffer_put_text(out, "source,namespace,workflow,task,from,to");
    for (size_t c = 0; c < report_column_count; c++)
        buffer_print(out, ",%s", report_columns[c].name);
    buffer_put_text(out, "\r\n");
    for (size_t i = 0; i < report->group_count; i++) {
        const struct report_group *group = &report->groups[i];
        const struct span texts[] = {group->source, group->namespace_, group->workflow, group->task};

        for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) {
            put_quoted(texts[k], out);
            buffer_put_char(out, ',');
        }
        time_format(report->from_us, from);
        time_format(report->to_us, to);
        buffer_print(out, "%.*s,%.*s", TIME_TEXT_SIZE, from, TIME_TEXT_SIZE, to);
        for (size_t c = 0; c < report_column_count; c++) {
            buffer_put_char(out, ',');
            put_csv_cell(report, group, &report_columns[c], out);
        }
        buffer_put_text(out, "\r\n");
    }
}
