/* Runs once an end of buckets, not once a series. */
#include "pipeline/calendar.h"

#include "base/memory.h"
#include "base/time_zone.h"
#include "base/timestamp.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define SECOND_US 1000000LL

enum { DAY_S = 86400, PIECE_S = 900, NAME_BYTES_MIN = 3 };

struct range {
    int from, to; /* both in it; of times seconds of the day, `to` not in it */
};

struct ranges {
    struct range *items;
    size_t count; /* 0: any value */
};

struct calendar {
    struct time_zone *zone; /* NULL: fixed offset */
    int32_t offset;
    int64_t from_us, to_us;
    struct ranges times, weekdays, days_of_month, months, years;
};

struct range_kind {
    const char *key, *form;
    const char *const *names; /* of the values from `least` on; NULL: numbers only */
    int least, most;
};

static const char *const weekday_names[] = {"sunday",   "monday", "tuesday",  "wednesday",
                                            "thursday", "friday", "saturday", NULL};
static const char *const month_names[] = {"january",  "february", "march",  "april",     "may",
                                          "june",     "july",     "august", "september", "october",
                                          "november", "december", NULL};

static const struct range_kind weekday_kind = {"weekdays", "a day or two, like saturday or monday:friday",
                                               weekday_names, 0, 6},
                               day_kind = {"days_of_month",
                                           "a day or two, 1 to 31, or -31 to -1 from the end", NULL, -31, 31},
                               month_kind = {"months", "a month or two, like 12 or january:march",
                                             month_names, 1, 12},
                               year_kind = {"years", "a year or two, 1970 to 9998", NULL, 1970, 9998};

static bool read_value(struct span text, const struct range_kind *kind, int *ret_value)
{
    char copy[16] = "", *rest;
    long number;

    if (text.size == 0 || text.size >= sizeof copy)
        return false;
    memcpy(copy, text.data, text.size);
    for (int i = 0; kind->names && kind->names[i]; i++)
        if (text.size >= NAME_BYTES_MIN && strncasecmp(kind->names[i], copy, text.size) == 0) {
            *ret_value = kind->least + i;
            return true;
        }
    number = strtol(copy, &rest, 10);
    if (*rest || kind->names == weekday_names || number < kind->least || number > kind->most)
        return false;
    *ret_value = (int)number;
    return number != 0;
}

/* "monday:friday" or "monday". */
static bool read_range(struct span text, const struct range_kind *kind, struct range *ret_range)
{
    const char *colon = text.size ? memchr(text.data, ':', text.size) : NULL;
    size_t first = colon ? (size_t)(colon - text.data) : text.size;

    if (!read_value(span_make(text.data, first), kind, &ret_range->from))
        return false;
    ret_range->to = ret_range->from;
    return !colon || read_value(span_make(colon + 1, text.size - first - 1), kind, &ret_range->to);
}

/* "22:00-24:00" */
static bool read_times(struct span text, struct range *ret_range)
{
    char copy[12] = "";
    int hours[2], minutes[2], used = 0;

    if (text.size != sizeof "22:00-24:00" - 1)
        return false;
    memcpy(copy, text.data, text.size);
    for (size_t i = 0; i < text.size; i++)
        if (i == 2 || i == 8 ? copy[i] != ':' : i == 5 ? copy[i] != '-' : copy[i] < '0' || copy[i] > '9')
            return false;
    if (sscanf(copy, "%2d:%2d-%2d:%2d%n", &hours[0], &minutes[0], &hours[1], &minutes[1], &used) != 4)
        return false;
    *ret_range = (struct range){hours[0] * 3600 + minutes[0] * 60, hours[1] * 3600 + minutes[1] * 60};
    return minutes[0] < 60 && minutes[1] < 60 && ret_range->to <= DAY_S;
}

/* `kind` NULL: of times. */
static enum status read_ranges(const struct option_texts *texts, const struct range_kind *kind,
                               const struct node *map, struct ranges *ret_ranges, struct error *ret_error)
{
    const char *key = kind ? kind->key : "times";

    ret_ranges->items = memory_new((texts->count + 1) * sizeof *ret_ranges->items);
    for (size_t i = 0; i < texts->count; i++) {
        struct range *range = &ret_ranges->items[ret_ranges->count++];
        struct span text = span_of(texts->items[i]);
        bool good = kind ? read_range(text, kind, range) : read_times(text, range);

        if (!good)
            return node_fail(node_find(map, key), ret_error, "%s: '%s' is not %s", key, texts->items[i],
                             kind ? kind->form : "a time of day, 00:00-06:00 to 18:00-24:00");
        if ((range->from < 0) == (range->to < 0) &&
            (kind ? range->from > range->to : range->from >= range->to))
            return node_fail(node_find(map, key), ret_error,
                             "%s: '%s' begins after its end; write two, like [22:00-24:00, 00:00-06:00]", key,
                             texts->items[i]);
    }
    return STATUS_OK;
}

static enum status read_location(struct calendar *calendar, const char *location, const struct node *map,
                                 struct error *ret_error)
{
    if (strcmp(location, "UTC") == 0 || time_zone_fixed(span_of(location), &calendar->offset))
        return STATUS_OK;
    calendar->zone = time_zone_load(span_of(location));
    if (calendar->zone)
        return STATUS_OK;
    return node_fail(node_find(map, "location"), ret_error,
                     "location: unknown time zone '%s' (names of the system's time zones, UTC, or +02:00)",
                     location);
}

static int64_t offset_at(const struct calendar *calendar, int64_t seconds)
{
    return calendar->zone ? time_zone_offset(calendar->zone, seconds) : calendar->offset;
}

/* A text without a zone is of the location: its offset there is that of the moment it would be in UTC, put
 * right once. */
static enum status read_moment(const struct calendar *calendar, const char *text, const char *key,
                               const struct node *map, int64_t *ret_us, struct error *ret_error)
{
    struct time_form form = {.unit = TIME_UNIT_AUTO};
    bool good = time_read(span_of(text), &form, TIME_NONE, ret_us);

    for (unsigned i = 0; i < 2 && good; i++) {
        int64_t moment_us = *ret_us;

        form.zone_us = SECOND_US * offset_at(calendar, floor_div(moment_us, SECOND_US));
        good = time_read(span_of(text), &form, TIME_NONE, ret_us);
    }
    return good ? STATUS_OK
                : node_fail(node_find(map, key), ret_error,
                            "%s: '%s' is no time, like 2026-12-24T18:00:00+01:00", key, text);
}

static enum status read_window(struct calendar *calendar, const struct calendar_settings *settings,
                               const struct node *map, struct error *ret_error)
{
    calendar->from_us = INT64_MIN;
    calendar->to_us = INT64_MAX;
    if (settings->from &&
        read_moment(calendar, settings->from, "from", map, &calendar->from_us, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    if (settings->to &&
        read_moment(calendar, settings->to, "to", map, &calendar->to_us, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    if (calendar->from_us >= calendar->to_us)
        return node_fail(node_find(map, "to"), ret_error, "to: '%s' is not after from", settings->to);
    return STATUS_OK;
}

static enum status read_all(struct calendar *calendar, const struct calendar_settings *settings,
                            const struct node *map, struct error *ret_error)
{
    if (read_location(calendar, settings->location, map, ret_error) != STATUS_OK ||
        read_ranges(&settings->times, NULL, map, &calendar->times, ret_error) != STATUS_OK ||
        read_ranges(&settings->weekdays, &weekday_kind, map, &calendar->weekdays, ret_error) != STATUS_OK ||
        read_ranges(&settings->days_of_month, &day_kind, map, &calendar->days_of_month, ret_error) !=
            STATUS_OK ||
        read_ranges(&settings->months, &month_kind, map, &calendar->months, ret_error) != STATUS_OK ||
        read_ranges(&settings->years, &year_kind, map, &calendar->years, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    if (!settings->from && !settings->to &&
        calendar->times.count + calendar->weekdays.count + calendar->days_of_month.count +
                calendar->months.count + calendar->years.count ==
            0)
        return node_fail(
            map, ret_error,
            "calendar '%s' would always hold: give times, weekdays, days_of_month, months, years, "
            "from or to",
            settings->name);
    return read_window(calendar, settings, map, ret_error);
}

enum status calendar_open(const struct calendar_settings *settings, const struct node *map,
                          struct calendar **ret_calendar, struct error *ret_error)
{
    struct calendar *calendar = memory_new(sizeof *calendar);

    if (read_all(calendar, settings, map, ret_error) == STATUS_OK) {
        *ret_calendar = calendar;
        return STATUS_OK;
    }
    calendar_free(calendar);
    return STATUS_FATAL;
}

void calendar_free(struct calendar *calendar)
{
    if (!calendar)
        return;
    time_zone_free(calendar->zone);
    free(calendar->times.items);
    free(calendar->weekdays.items);
    free(calendar->days_of_month.items);
    free(calendar->months.items);
    free(calendar->years.items);
    free(calendar);
}

/* Negative bounds count from `length` down: -1 is the last. */
static bool contains(const struct ranges *ranges, int value, int length)
{
    for (size_t i = 0; i < ranges->count; i++) {
        const struct range *range = &ranges->items[i];
        int from = range->from < 0 ? range->from + length + 1 : range->from,
            to = range->to < 0 ? range->to + length + 1 : range->to;

        if (value >= from && value <= to)
            return true;
    }
    return ranges->count == 0;
}

static bool holds_on(const struct calendar *calendar, int64_t day)
{
    int year, month, day_of_month, weekday = (int)(day + 4 - floor_div(day + 4, 7) * 7);
    int64_t first, next;

    days_to_civil(day, &year, &month, &day_of_month);
    first = days_from_civil(year, month, 1);
    next = days_from_civil(year + (month == 12), month == 12 ? 1 : month + 1, 1);
    return contains(&calendar->weekdays, weekday, 0) && contains(&calendar->months, month, 0) &&
           contains(&calendar->years, year, 0) &&
           contains(&calendar->days_of_month, day_of_month, (int)(next - first));
}

/* Of one day and one offset; the second after the last may be the next day's first. */
static bool piece_overlaps(const struct calendar *calendar, int64_t start_us, int64_t end_us)
{
    int64_t offset_us = SECOND_US * offset_at(calendar, floor_div(start_us, SECOND_US));
    int64_t local_us = start_us + offset_us, day_us = DAY_S * SECOND_US, day = floor_div(local_us, day_us);
    int64_t from_us = local_us - day * day_us, to_us = from_us + (end_us - start_us);

    if (!holds_on(calendar, day))
        return false;
    for (size_t i = 0; i < calendar->times.count; i++)
        if (from_us < calendar->times.items[i].to * SECOND_US &&
            to_us > calendar->times.items[i].from * SECOND_US)
            return true;
    return calendar->times.count == 0;
}

bool calendar_overlaps(const struct calendar *calendar, int64_t start_us, int64_t end_us)
{
    int64_t piece_us = PIECE_S * SECOND_US, day_us = DAY_S * SECOND_US;

    if (start_us < calendar->from_us)
        start_us = calendar->from_us;
    if (end_us > calendar->to_us)
        end_us = calendar->to_us;
    if (start_us < TIME_MIN_US + day_us || end_us > TIME_MAX_US - day_us)
        return false;
    while (start_us < end_us) {
        int64_t next_us = (floor_div(start_us, piece_us) + 1) * piece_us;

        if (piece_overlaps(calendar, start_us, next_us < end_us ? next_us : end_us))
            return true;
        start_us = next_us;
    }
    return false;
}
