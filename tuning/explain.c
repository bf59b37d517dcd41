/* Once a command. */
#include "tuning/explain.h"

#include "base/json_writer.h"
#include "base/memory.h"
#include "base/timestamp.h"

#include <gsl/gsl_sort.h>
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <yajl/yajl_tree.h>

enum { BEFORE_MAX = 60, SHOWN = 8 };

struct explain {
    yajl_val lines, rules;
    yajl_val alert, first, rule; /* its newest line, its first one, and its row of the rules or NULL */
    yajl_val *points;            /* the newest buckets of its series before it */
    size_t point_count;
};

static yajl_val parse(struct span text)
{
    char *copy = memory_text(text.data, text.size), reason[128];
    yajl_val tree = text.size ? yajl_tree_parse(copy, reason, sizeof reason) : NULL;

    free(copy);
    return tree;
}

static yajl_val member(yajl_val object, const char *name)
{
    const char *path[] = {name, NULL};

    return object ? yajl_tree_get(object, path, yajl_t_any) : NULL;
}

static struct span text_at(yajl_val object, const char *name)
{
    yajl_val value = member(object, name);

    return YAJL_IS_STRING(value) ? span_of(YAJL_GET_STRING(value)) : SPAN_LITERAL("");
}

static double number_of(yajl_val value)
{
    return YAJL_IS_NUMBER(value) ? YAJL_GET_DOUBLE(value) : NAN;
}

static double number_at(yajl_val object, const char *name)
{
    return number_of(member(object, name));
}

static int64_t time_at(yajl_val object, const char *name)
{
    int64_t time_us = TIME_NONE;

    time_parse(text_at(object, name), TIME_UNIT_AUTO, TIME_NONE, &time_us);
    return time_us;
}

static size_t length_of(yajl_val array)
{
    return YAJL_IS_ARRAY(array) ? YAJL_GET_ARRAY(array)->len : 0;
}

static yajl_val item(yajl_val array, size_t i)
{
    return YAJL_GET_ARRAY(array)->values[i];
}

static yajl_val find_rule(yajl_val rules, yajl_val alert)
{
    for (size_t i = 0; i < length_of(rules); i++)
        if (span_equal(text_at(item(rules, i), "name"), text_at(alert, "rule")))
            return item(rules, i);
    return NULL;
}

enum status explain_new(struct span lines, struct span rules, struct explain **ret_explain,
                        struct error *ret_error)
{
    struct explain *explain = memory_new(sizeof *explain);
    size_t count;

    explain->lines = parse(lines);
    explain->rules = parse(rules);
    explain->points = memory_new(BEFORE_MAX * sizeof(yajl_val));
    count = length_of(explain->lines);
    if (count == 0 || !YAJL_IS_OBJECT(item(explain->lines, 0))) {
        explain_free(explain);
        return fail(ret_error, "there are no lines of such an alert");
    }
    explain->first = item(explain->lines, 0);
    explain->alert = item(explain->lines, count - 1);
    explain->rule = find_rule(explain->rules, explain->alert);
    *ret_explain = explain;
    return STATUS_OK;
}

void explain_free(struct explain *explain)
{
    for (size_t i = 0; i < explain->point_count; i++)
        yajl_tree_free(explain->points[i]);
    free(explain->points);
    yajl_tree_free(explain->lines);
    yajl_tree_free(explain->rules);
    free(explain);
}

static void put_heading(const char *name, struct buffer *out)
{
    buffer_print(out, "%-18s", name);
}

static void put_time(int64_t time_us, struct buffer *out)
{
    char text[TIME_TEXT_SIZE];

    if (time_us == TIME_NONE) {
        buffer_put_text(out, "?");
        return;
    }
    time_format(time_us, text);
    buffer_print(out, "%.19sZ", text);
}

static void put_number(double number, struct buffer *out)
{
    buffer_print(out, "%.4g", number);
}

/* What the alert is, and since when. */
static void put_what(const struct explain *explain, struct buffer *out)
{
    static const char *const members[] = {"severity", "kind", "state"};
    yajl_val alert = explain->alert;
    int64_t starts_us = time_at(alert, "starts_at"), ends_us = time_at(alert, "ends_at");
    char lasted[24];

    buffer_put_plain(out, text_at(member(alert, "annotations"), "summary"));
    buffer_put_text(out, "\n\n");
    put_heading("alert", out);
    buffer_put_plain(out, text_at(alert, "rule"));
    buffer_put_text(out, " on ");
    buffer_put_plain(out, text_at(alert, "target"));
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        buffer_put_text(out, i ? ", " : ": ");
        buffer_put_plain(out, text_at(alert, members[i]));
    }
    buffer_put_char(out, '\n');
    put_heading("when", out);
    put_time(starts_us, out);
    if (ends_us != TIME_NONE && starts_us != TIME_NONE) {
        duration_format((ends_us - starts_us) / 1000000 * 1000000, lasted);
        buffer_put_text(out, " to ");
        put_time(ends_us, out);
        buffer_print(out, " (%s)", lasted);
    } else {
        buffer_put_text(out, ", still open");
    }
    buffer_print(out, "; %zu lines were told\n", length_of(explain->lines));
}

static void put_expected(double actual, double low, double high, struct buffer *out)
{
    double beyond = actual > high ? actual - high : actual < low ? low - actual : 0, width = high - low;

    put_heading("expected", out);
    put_number(low, out);
    buffer_put_text(out, " to ");
    put_number(high, out);
    if (beyond > 0) {
        buffer_put_text(out, "; it is ");
        put_number(beyond, out);
        buffer_print(out, actual > high ? " above" : " below");
        if (width > 0)
            buffer_print(out, ", %.2g times the width of the band", beyond / width);
    } else {
        buffer_put_text(out, "; it is within");
    }
    buffer_put_char(out, '\n');
}

static void put_seen(const struct explain *explain, struct buffer *out)
{
    yajl_val alert = explain->alert, expected = member(alert, "expected");
    double actual = number_at(alert, "actual"), probability = number_at(alert, "probability");
    struct span channel = text_at(alert, "channel"), unit = text_at(alert, "unit");

    if (!isnan(actual)) {
        put_heading("seen", out);
        put_number(actual, out);
        buffer_put_text(out, unit.size ? " " : "");
        buffer_put_plain(out, unit);
        buffer_put_char(out, '\n');
    }
    if (length_of(expected) == 2 && !isnan(actual))
        put_expected(actual, number_of(item(expected, 0)), number_of(item(expected, 1)), out);
    if (probability > 0 && probability < 1) {
        put_heading("how rare", out);
        buffer_print(out, "expected once in %.3g buckets; score %.3g\n", 1 / probability,
                     number_at(alert, "score"));
    }
    if (channel.size) {
        put_heading("who spoke", out);
        buffer_put_plain(out, channel);
        buffer_put_char(out, '\n');
    }
}

static void put_contributors(const struct explain *explain, struct buffer *out)
{
    yajl_val why = member(explain->alert, "why");

    for (size_t i = 0; i < length_of(why); i++) {
        double share = number_at(item(why, i), "share");

        put_heading(i ? "" : "contributed", out);
        buffer_put_plain(out, text_at(item(why, i), "field"));
        buffer_put_text(out, " = ");
        buffer_put_plain(out, text_at(item(why, i), "value"));
        if (!isnan(share))
            buffer_print(out, " (%.0f %%)", share * 100);
        buffer_put_char(out, '\n');
    }
}

/* The statistic that is told of: that of the detector, of the bucket's score, or the first there is. */
static const char *statistic_of(const struct explain *explain)
{
    static const char *const names[] = {"ratio", "mean", "sum", "count", "max", "p95", "p50", "min"};
    yajl_val point = explain->point_count ? explain->points[explain->point_count - 1] : NULL;
    struct span named = text_at(explain->rule, "statistic");

    if (!named.size)
        named = text_at(point, "statistic");
    if (named.size)
        return named.data;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!isnan(number_at(point, names[i])))
            return names[i];
    return "count";
}

static void put_before(const struct explain *explain, struct buffer *out)
{
    const char *statistic = statistic_of(explain);
    double values[BEFORE_MAX], sorted[BEFORE_MAX];
    size_t count = 0, anomalies = 0;

    for (size_t i = 0; i < explain->point_count; i++) {
        values[count] = number_at(explain->points[i], statistic);
        anomalies += YAJL_IS_TRUE(member(explain->points[i], "anomaly"));
        if (!isnan(values[count]))
            count++;
    }
    if (count == 0)
        return;
    memcpy(sorted, values, count * sizeof *sorted);
    gsl_sort(sorted, 1, count);
    put_heading("before", out);
    buffer_print(out, "%zu buckets since ", count);
    put_time(time_at(explain->points[0], "start"), out);
    buffer_print(out, ": %.40s ", statistic);
    put_number(sorted[0], out);
    buffer_put_text(out, " to ");
    put_number(sorted[count - 1], out);
    buffer_put_text(out, ", median ");
    put_number(gsl_stats_median_from_sorted_data(sorted, 1, count), out);
    buffer_print(out, "; %zu of them anomalous\n", anomalies);
    put_heading("", out);
    buffer_put_text(out, "the last ones: ");
    for (size_t i = count > SHOWN ? count - (size_t)SHOWN : 0; i < count; i++) {
        put_number(values[i], out);
        buffer_put_text(out, i + 1 < count ? ", " : "\n");
    }
}

static void put_decided(const struct explain *explain, struct buffer *out)
{
    yajl_val settings = member(explain->rule, "settings");
    struct span type = text_at(explain->rule, "type"), when = text_at(explain->rule, "when");

    if (!explain->rule)
        return;
    put_heading("decided by", out);
    buffer_put_plain(out, type.size ? type : when);
    if (text_at(explain->rule, "measure").size) {
        buffer_put_text(out, " on ");
        buffer_put_plain(out, text_at(explain->rule, "measure"));
        buffer_put_char(out, ' ');
        buffer_put_plain(out, text_at(explain->rule, "statistic"));
    }
    buffer_put_char(out, '\n');
    for (size_t i = 0; YAJL_IS_OBJECT(settings) && i < YAJL_GET_OBJECT(settings)->len; i++) {
        put_heading("", out);
        buffer_put_plain(out, span_of(YAJL_GET_OBJECT(settings)->keys[i]));
        buffer_put_text(out, ": ");
        buffer_put_plain(out, text_at(settings, YAJL_GET_OBJECT(settings)->keys[i]));
        buffer_put_char(out, '\n');
    }
}

static void put_lines(const struct explain *explain, struct buffer *out)
{
    for (size_t i = 0; i < length_of(explain->lines); i++) {
        yajl_val line = item(explain->lines, i);

        put_heading(i ? "" : "told", out);
        put_time(time_at(line, "at"), out);
        buffer_put_char(out, ' ');
        buffer_put_plain(out, text_at(line, "state"));
        if (!span_is(text_at(line, "reason"), "condition")) {
            buffer_put_text(out, ", ");
            buffer_put_plain(out, text_at(line, "reason"));
        }
        if (YAJL_IS_TRUE(member(line, "provisional")))
            buffer_put_text(out, ", provisional: made while a source was silent");
        buffer_put_char(out, '\n');
    }
}

void explain_write(const struct explain *explain, struct buffer *out)
{
    put_what(explain, out);
    put_seen(explain, out);
    put_contributors(explain, out);
    put_before(explain, out);
    put_decided(explain, out);
    put_lines(explain, out);
}

/* Labels without a value are left out of a line's key. */
static bool same_key(yajl_val labels, yajl_val key)
{
    size_t count = YAJL_IS_OBJECT(key) ? YAJL_GET_OBJECT(key)->len : 0, found = 0;

    for (size_t i = 0; YAJL_IS_OBJECT(labels) && i < YAJL_GET_OBJECT(labels)->len; i++) {
        const char *name = YAJL_GET_OBJECT(labels)->keys[i];

        if (!span_equal(text_at(labels, name), text_at(key, name)))
            return false;
        found += text_at(labels, name).size > 0;
    }
    return found == count;
}

static bool is_series(const struct explain *explain, yajl_val line)
{
    struct span measure = text_at(explain->rule, "measure");

    return measure.size && span_equal(measure, text_at(line, "measure")) &&
           same_key(member(explain->alert, "labels"), member(line, "key"));
}

static void copy_id(struct span id, char ret_id[EXPLAIN_ID_BYTES])
{
    snprintf(ret_id, EXPLAIN_ID_BYTES, "%.*s", (int)id.size, id.data);
}

bool explain_find_series(const struct explain *explain, struct span series, char ret_id[EXPLAIN_ID_BYTES])
{
    yajl_val list = parse(series);
    bool found = false;

    for (size_t i = 0; i < length_of(list) && !found; i++)
        if ((found = is_series(explain, item(list, i))))
            copy_id(text_at(item(list, i), "series"), ret_id);
    yajl_tree_free(list);
    return found;
}

/* Takes the bucket over, and drops the oldest one when there are enough. */
static void keep_point(struct explain *explain, yajl_val point)
{
    if (explain->point_count == BEFORE_MAX) {
        yajl_tree_free(explain->points[0]);
        memmove(explain->points, explain->points + 1, (BEFORE_MAX - 1) * sizeof(yajl_val));
        explain->point_count--;
    }
    explain->points[explain->point_count++] = point;
}

static void take_point(struct explain *explain, yajl_val point)
{
    if (is_series(explain, point) && time_at(point, "end") < time_at(explain->first, "starts_at"))
        keep_point(explain, point);
    else
        yajl_tree_free(point);
}

void explain_take(struct explain *explain, struct span buckets)
{
    yajl_val tree = parse(buckets);

    if (!YAJL_IS_ARRAY(tree)) {
        take_point(explain, tree);
        return;
    }
    for (size_t i = 0; i < length_of(tree); i++)
        take_point(explain, item(tree, i));
    YAJL_GET_ARRAY(tree)->len = 0; /* each has a new owner, or none */
    yajl_tree_free(tree);
}

bool explain_is_alert(struct span line, const char *id, char ret_episode[EXPLAIN_ID_BYTES])
{
    yajl_val alert = parse(line);
    bool same = span_is(text_at(alert, "id"), id) || span_is(text_at(alert, "episode"), id);

    copy_id(text_at(alert, "episode"), ret_episode);
    yajl_tree_free(alert);
    return same;
}
