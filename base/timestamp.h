/* Event time: signed microseconds since 1970-01-01T00:00:00Z. The range kept is year 1 to 9999; TIME_NONE
 * is absent. Accepted forms (the union of what workflow engines and loggers write):
 *   RFC 3339 with 0 to 9 digits of fraction after '.' or ',', 'T' or blank between date and time, zone Z,
 *   +hh:mm, +hhmm,
 *   +hh or none (= UTC); a date alone; RFC 3164 "Nov  1 12:00:00" (no year: the caller's reference
 *   decides);
 *   epoch seconds, milliseconds, microseconds or nanoseconds as integer or decimal, as number or as text.
 * A leap second (:60) reads as :59.999999; what is finer than a microsecond is cut towards the past. */
#pragma once
#include "base/span.h"

#define TIME_NONE   INT64_MIN
#define TIME_MIN_US (-62135596800000000LL) /* 0001-01-01T00:00:00Z */
#define TIME_MAX_US (253402300799999999LL) /* 9999-12-31T23:59:59.999999Z */

enum time_unit { TIME_UNIT_AUTO, TIME_UNIT_S, TIME_UNIT_MS, TIME_UNIT_US, TIME_UNIT_NS };

/* Auto takes a bare number by its size: below 1e11 seconds, 1e14 milliseconds, 1e17 microseconds, else
 * nanoseconds. `unit` is for bare numbers only. `reference_us` decides the year where the form has none:
 * the one that puts the time nearest to it (the arrival); TIME_NONE refuses such forms. False on anything
 * else, then *ret_us is untouched. */
bool time_parse(struct span text, enum time_unit unit, int64_t reference_us, int64_t *ret_us);
bool time_from_number(double number, enum time_unit unit, int64_t *ret_us);
bool time_from_integer(int64_t number, enum time_unit unit, int64_t *ret_us);

/* How a log writes its times. */
struct time_form {
    const char *layout;  /* as time_layout_check takes it; NULL: as time_parse */
    enum time_unit unit; /* of bare numbers, without a layout */
    int64_t zone_us;     /* east of UTC, where the text names no zone */
};

/* As time_parse; a layout without a year takes it from the reference. */
bool time_read(struct span text, const struct time_form *form, int64_t reference_us, int64_t *ret_us);

/* A layout is a text with these directives, after strptime: %Y year, %y its last two digits (69 is 1969),
 * %m %d %H %M two digits, %d also a blank and one digit, %S seconds with or without a fraction after '.' or
 * ',', %b Jan, %a Mon, %z zone, which may be missing at the end, %% itself. Month, day, hour, minute and
 * second must be there. Returns NULL, or what is wrong as static text. */
const char *time_layout_check(const char *layout);

/* "Z", "+02:00", "-0730": what stands east of UTC. */
bool time_zone_parse(struct span text, int64_t *ret_offset_us);

enum { TIME_TEXT_SIZE = 24 }; /* 2026-11-21T09:40:20.097Z */

/* RFC 3339 UTC with milliseconds (truncated towards the past); returns the length, always TIME_TEXT_SIZE.
 * A time outside the range, as the end of the last bucket can be, is told as the range's end; TIME_NONE
 * asserts. */
size_t time_format(int64_t time_us, char ret_text[TIME_TEXT_SIZE]);
void time_month(int64_t time_us, char ret_text[8]); /* "2026.11" with a null byte */

/* "500ms", "30s", "5m", "1h", "1d", "2w", "1.5h"; a bare 0 too. False on anything else or beyond 1000
 * years. */
bool duration_parse(struct span text, int64_t *ret_us);

/* In the largest unit that needs no fraction ("90m", "500ms", "1w"), below a millisecond "0.25ms"; reads
 * back equal. At most 24 bytes with the null byte; a negative one gets a '-' and does not read back. */
void duration_format(int64_t duration_us, char ret_text[24]);

/* Days since 1970-01-01 of a civil date (H. Hinnant, "chrono-compatible low-level date algorithms"). */
int64_t days_from_civil(int64_t year, int month, int day);
void days_to_civil(int64_t days, int *ret_year, int *ret_month, int *ret_day); /* within the range kept */

/* floor(a / b) for b > 0. */
static inline int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}
