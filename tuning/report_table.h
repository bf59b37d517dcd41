/* What the report's forms share: its columns, and how a cell reads for people. */
#pragma once
#include "tuning/report.h"

enum report_column_type { REPORT_COUNT, REPORT_SHARE, REPORT_RATE, REPORT_TIME };

struct report_column {
    const char *name, *title; /* of CSV; for people */
    enum report_column_type type;
    size_t offset; /* in struct report_figures: of an uint64_t for a count, else of a double */
    bool rare;     /* for people only if there is one */
};

extern const struct report_column report_columns[];
extern const size_t report_column_count;

bool report_column_shown(const struct report *report, const struct report_column *column);
void report_put_cell(const struct report *report, const struct report_group *group,
                     const struct report_column *column, struct buffer *out);
void report_put_name(const struct report *report, const struct report_group *group, struct buffer *out);
void report_put_duration(double ms, struct buffer *out);
void report_put_period(const struct report *report, struct buffer *out);
