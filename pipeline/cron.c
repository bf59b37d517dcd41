#include "pipeline/cron.h"

#include <string.h>
#include <strings.h>
#include <time.h>

enum { DAY_S = 86400, DAYS_AHEAD = 8 * 366 };

static const char *const month_names[] = {"jan", "feb", "mar", "apr", "may", "jun", "jul",
                                          "aug", "sep", "oct", "nov", "dec", NULL};
static const char *const weekday_names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL};

static const struct cron_field {
    const char *name;
    int least, most;
    const char *const *names;
} fields[] = {
    {"minute", 0, 59, NULL},
    {"hour", 0, 23, NULL},
    {"day of the month", 1, 31, NULL},
    {"month", 1, 12, month_names},
    {"day of the week", 0, 7, weekday_names},
};
enum { FIELDS = sizeof fields / sizeof *fields };

static const struct {
    const char *name, *line;
} nicknames[] = {
    {"@hourly", "0 * * * *"},  {"@daily", "0 0 * * *"},  {"@midnight", "0 0 * * *"}, {"@weekly", "0 0 * * 0"},
    {"@monthly", "0 0 1 * *"}, {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"},
};

/* A number or name; -1: neither. Moves `at` behind it. */
static int take_value(const struct cron_field *field, const char **at, const char *end)
{
    int value = 0;

    for (int i = 0; field->names && field->names[i]; i++)
        if (end - *at >= 3 && strncasecmp(*at, field->names[i], 3) == 0) {
            *at += 3;
            return i + field->least;
        }
    if (*at == end || **at < '0' || **at > '9')
        return -1;
    for (; *at < end && **at >= '0' && **at <= '9' && value < 1000; ++*at)
        value = value * 10 + (**at - '0');
    return value;
}

/* One part of a list: * or a value or a range, and perhaps a step. */
static bool take_part(const struct cron_field *field, const char **at, const char *end, uint64_t *bits)
{
    int from = field->least, to = field->most, step = 1;
    bool is_one = false;

    if (*at < end && **at == '*') {
        ++*at;
    } else {
        from = to = take_value(field, at, end);
        is_one = true;
        if (*at < end && **at == '-') {
            ++*at;
            to = take_value(field, at, end);
            is_one = false;
        }
    }
    if (*at < end && **at == '/') {
        static const struct cron_field number = {NULL, 1, 999, NULL};

        ++*at;
        step = take_value(&number, at, end);
        to = is_one ? field->most : to;
    }
    if (from < 0 || from < field->least || to > field->most || from > to || step < 1)
        return false;
    for (int value = from; value <= to; value += step)
        *bits |= 1ull << value;
    return true;
}

static bool take_field(const struct cron_field *field, const char **at, const char *end, uint64_t *ret_bits)
{
    *ret_bits = 0;
    while (*at < end && (**at == ' ' || **at == '\t'))
        ++*at;
    for (;;) {
        if (!take_part(field, at, end, ret_bits))
            return false;
        if (*at == end || **at != ',')
            return *at == end || **at == ' ' || **at == '\t';
        ++*at;
    }
}

static bool is_star(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    return at < end && *at == '*';
}

enum status cron_parse(struct span text, struct cron *ret_cron, struct error *ret_error)
{
    const char *at = text.data, *end = text.data + text.size;
    uint64_t bits[FIELDS];
    bool stars[FIELDS];

    for (size_t i = 0; i < sizeof nicknames / sizeof *nicknames; i++)
        if (span_is(text, nicknames[i].name)) {
            at = nicknames[i].line;
            end = at + strlen(at);
        }
    for (int i = 0; i < FIELDS; i++) {
        stars[i] = is_star(at, end);
        if (!take_field(&fields[i], &at, end, &bits[i]))
            return fail(ret_error,
                        "'%.*s' is no cron line: its %s must be *, or values from %d to %d with , - /",
                        (int)text.size, text.data, fields[i].name, fields[i].least, fields[i].most);
    }
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    if (at < end)
        return fail(ret_error, "'%.*s' is no cron line: more than five fields", (int)text.size, text.data);
    *ret_cron = (struct cron){.minutes = bits[0],
                              .hours = (uint32_t)bits[1],
                              .days = (uint32_t)bits[2],
                              .months = (uint32_t)bits[3],
                              .weekdays = (uint32_t)((bits[4] | bits[4] >> 7) & 0x7f), /* 7 is Sunday too */
                              .any_day = stars[2],
                              .any_weekday = stars[4]};
    if (cron_next(ret_cron, NULL, 0) == INT64_MAX)
        return fail(ret_error, "'%.*s' is no cron line: there is no such day", (int)text.size, text.data);
    return STATUS_OK;
}

static bool matches_day(const struct cron *cron, int64_t day)
{
    time_t seconds = (time_t)(day * DAY_S);
    struct tm date;

    gmtime_r(&seconds, &date);
    bool by_month = cron->days >> date.tm_mday & 1, by_week = cron->weekdays >> date.tm_wday & 1;
    if (!(cron->months >> (date.tm_mon + 1) & 1))
        return false;
    return cron->any_day || cron->any_weekday ? by_month && by_week : by_month || by_week;
}

static int64_t offset_at(const struct time_zone *zone, int64_t seconds)
{
    return zone ? time_zone_offset(zone, seconds) : 0;
}

/* The moment of a local time; INT64_MIN: the clock leaves it out. */
static int64_t moment_of(const struct time_zone *zone, int64_t local_s)
{
    for (int hours = -24; hours <= 24; hours += 48) { /* the offset before it, then the one after it */
        int64_t seconds = local_s - offset_at(zone, local_s + hours * 3600);

        if (seconds + offset_at(zone, seconds) == local_s)
            return seconds;
    }
    return INT64_MIN;
}

int64_t cron_next(const struct cron *cron, const struct time_zone *zone, int64_t after_us)
{
    int64_t after_s = after_us / 1000000, first_day = (after_s + offset_at(zone, after_s)) / DAY_S;

    for (int64_t day = first_day; day <= first_day + DAYS_AHEAD; day++)
        for (int minute = 0; minute < 1440 && (minute || matches_day(cron, day)); minute++) {
            int64_t seconds;

            if (!(cron->hours >> (minute / 60) & 1) || !(cron->minutes >> (minute % 60) & 1))
                continue;
            seconds = moment_of(zone, day * DAY_S + minute * 60);
            if (seconds != INT64_MIN && seconds * 1000000 > after_us)
                return seconds * 1000000;
        }
    return INT64_MAX;
}
