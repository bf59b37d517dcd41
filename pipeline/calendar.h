/* Times that are not normal: holidays, nights, maintenance. A calendar holds at a moment when every key that
 * it has holds there, by the wall clock of its location; keys are those of Prometheus' time_intervals, and
 * `from` and `to` bound a single window. An hour that daylight saving repeats belongs twice, one that it
 * leaves out never. Read-only once open. */
#pragma once
#include "base/options.h"

enum { CALENDARS_MAX = 64 }; /* a set of them is a uint64_t */

struct calendar_settings {
    char *name, *location, *from, *to;
    struct option_texts times, weekdays, days_of_month, months, years;
};

struct calendar;

/* `map` is the entry in the file, for messages. */
enum status calendar_open(const struct calendar_settings *settings, const struct node *map,
                          struct calendar **ret_calendar, struct error *ret_error);
void calendar_free(struct calendar *calendar);

/* Whether it holds at any moment of [start, end), which is at most 31 days long: looked at by quarters of an
 * hour, as no zone of today changes its offset within one. */
bool calendar_overlaps(const struct calendar *calendar, int64_t start_us, int64_t end_us);
