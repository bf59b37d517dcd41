/* Timestamps and durations of CEL: text forms, arithmetic with its limits, and the accessors (getHours ...).
 * Runs once a row where a rule asks for the hour or the weekday; else at load. base/timestamp.h keeps
 * microseconds; CEL wants nanoseconds and stricter text (RFC 3339 only), hence own code here. Durations are
 * limited to int64 nanoseconds as in cel-go, whose conformance cases expect errors beyond. */
#include "base/timestamp.h"
#include "rules/cel_internal.h"

#include <assert.h>
#include <stdio.h>

enum { NANOS = 1000000000 };

static const int64_t first_second = TIME_MIN_US / 1000000, last_second = TIME_MAX_US / 1000000;

bool cel_timestamp_make(int64_t seconds, int32_t nanos, struct cel_value *ret_value)
{
    assert(nanos >= 0 && nanos < NANOS);
    if (seconds < first_second || seconds > last_second)
        return false;
    *ret_value = (struct cel_value){.type = CEL_TIMESTAMP, .time = {seconds, nanos}};
    return true;
}

struct cel_value cel_timestamp_from_us(int64_t time_us)
{
    int64_t known_us = time_us == TIME_NONE ? TIME_MIN_US : time_us, seconds = floor_div(known_us, 1000000);

    return (struct cel_value){.type = CEL_TIMESTAMP,
                              .time = {seconds, (int32_t)(known_us - seconds * 1000000) * 1000}};
}

static struct cel_value duration_make(int64_t nanos)
{
    int64_t seconds = floor_div(nanos, NANOS);

    return (struct cel_value){.type = CEL_DURATION, .time = {seconds, (int32_t)(nanos - seconds * NANOS)}};
}

static int64_t duration_nanos(const struct cel_value *value)
{
    bool negative = value->time.seconds < 0; /* the least duration lies between two whole seconds */

    assert(value->type == CEL_DURATION);
    return (value->time.seconds + negative) * NANOS + (value->time.nanos - (negative ? NANOS : 0));
}

/* Text */

struct cursor {
    const char *at, *end;
};

static bool take_char(struct cursor *cursor, char wanted)
{
    if (cursor->at == cursor->end || *cursor->at != wanted)
        return false;
    cursor->at++;
    return true;
}

/* Exactly two or four digits. */
static bool take_digits(struct cursor *cursor, int digits, int *ret_value)
{
    int value = 0;

    if (cursor->end - cursor->at < digits)
        return false;
    for (int i = 0; i < digits; i++, cursor->at++) {
        if (*cursor->at < '0' || *cursor->at > '9')
            return false;
        value = value * 10 + (*cursor->at - '0');
    }
    *ret_value = value;
    return true;
}

/* ".5" -> 500000000; digits beyond the ninth are dropped. */
static bool take_fraction(struct cursor *cursor, int32_t *ret_nanos)
{
    int32_t unit = NANOS / 10, nanos = 0;
    const char *start = cursor->at;

    for (; cursor->at < cursor->end && *cursor->at >= '0' && *cursor->at <= '9'; cursor->at++, unit /= 10)
        nanos += unit * (*cursor->at - '0');
    *ret_nanos = nanos;
    return cursor->at > start;
}

static bool take_zone(struct cursor *cursor, int64_t *ret_seconds)
{
    int hours, minutes;
    bool west;

    *ret_seconds = 0;
    if (take_char(cursor, 'Z'))
        return true;
    west = take_char(cursor, '-');
    if ((!west && !take_char(cursor, '+')) || !take_digits(cursor, 2, &hours) || !take_char(cursor, ':') ||
        !take_digits(cursor, 2, &minutes) || hours > 23 || minutes > 59)
        return false;
    *ret_seconds = (hours * 3600 + minutes * 60) * (west ? -1 : 1);
    return true;
}

static int days_in_month(int year, int month)
{
    static const int8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return days[month - 1] + (month == 2 && leap);
}

bool cel_timestamp_parse(struct span text, struct cel_value *ret_value)
{
    struct cursor cursor = {text.data, text.data + text.size};
    int year, month, day, hour, minute, second;
    int32_t nanos = 0;
    int64_t offset;

    if (!take_digits(&cursor, 4, &year) || !take_char(&cursor, '-') || !take_digits(&cursor, 2, &month) ||
        !take_char(&cursor, '-') || !take_digits(&cursor, 2, &day) || !take_char(&cursor, 'T') ||
        !take_digits(&cursor, 2, &hour) || !take_char(&cursor, ':') || !take_digits(&cursor, 2, &minute) ||
        !take_char(&cursor, ':') || !take_digits(&cursor, 2, &second))
        return false;
    if ((take_char(&cursor, '.') && !take_fraction(&cursor, &nanos)) || !take_zone(&cursor, &offset) ||
        cursor.at != cursor.end)
        return false;
    if (month < 1 || month > 12 || day < 1 || day > days_in_month(year, month) || hour > 23 || minute > 59 ||
        second > 59)
        return false;
    return cel_timestamp_make(days_from_civil(year, month, day) * 86400 + hour * 3600 + minute * 60 + second -
                                  offset,
                              nanos, ret_value);
}

/* The units of Go's time.ParseDuration, which CEL took over; longer names first. */
static const struct {
    const char *name;
    int64_t nanos;
} units[] = {
    {"ns", 1},       {"us", 1000}, {"\u00b5s", 1000},   {"\u03bcs", 1000},
    {"ms", 1000000}, {"s", NANOS}, {"m", 60LL * NANOS}, {"h", 3600LL * NANOS},
};

static bool take_unit(struct cursor *cursor, int64_t *ret_nanos)
{
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        size_t size = strlen(units[i].name);

        if ((size_t)(cursor->end - cursor->at) >= size && memcmp(cursor->at, units[i].name, size) == 0) {
            cursor->at += size;
            *ret_nanos = units[i].nanos;
            return true;
        }
    }
    return false;
}

/* One "1.5h" of a duration. */
static bool take_part(struct cursor *cursor, __int128 *total)
{
    const char *start = cursor->at;
    int64_t whole = 0, unit;
    int32_t fraction = 0;
    bool digits;

    while (cursor->at < cursor->end && *cursor->at >= '0' && *cursor->at <= '9') {
        if (__builtin_mul_overflow(whole, 10, &whole) ||
            __builtin_add_overflow(whole, *cursor->at - '0', &whole))
            return false;
        cursor->at++;
    }
    digits = cursor->at > start;
    if (take_char(cursor, '.') && take_fraction(cursor, &fraction))
        digits = true;
    if (!digits || !take_unit(cursor, &unit))
        return false;
    *total += (__int128)whole * unit + (__int128)fraction * unit / NANOS;
    return *total <= INT64_MAX;
}

bool cel_duration_parse(struct span text, struct cel_value *ret_value)
{
    struct cursor cursor = {text.data, text.data + text.size};
    bool negative = take_char(&cursor, '-');
    __int128 total = 0;

    if (!negative)
        take_char(&cursor, '+');
    if (cursor.end - cursor.at == 1 && *cursor.at == '0')
        cursor.at++;
    else if (cursor.at == cursor.end)
        return false;
    while (cursor.at < cursor.end) {
        if (!take_part(&cursor, &total))
            return false;
    }
    *ret_value = duration_make((int64_t)(negative ? -total : total));
    return true;
}

/* ".25", or nothing when there is no fraction. */
static size_t format_fraction(uint32_t nanos, char *ret_text)
{
    size_t size;

    if (nanos == 0)
        return 0;
    size = (size_t)snprintf(ret_text, CEL_TIME_SIZE / 2, ".%09u", nanos);
    while (ret_text[size - 1] == '0')
        size--;
    return size;
}

/* Year, month and day of a day number (H. Hinnant, "chrono-compatible low-level date algorithms"). */
static void civil_from_days(int64_t days, int *ret_year, int *ret_month, int *ret_day)
{
    int64_t shifted = days + 719468, era = floor_div(shifted, 146097);
    int day_of_era = (int)(shifted - era * 146097);
    int year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int month_from_march = (5 * day_of_year + 2) / 153;

    *ret_day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    *ret_month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
    *ret_year = (int)(year_of_era + era * 400) + (*ret_month <= 2);
}

size_t cel_time_format(const struct cel_value *value, char ret_text[CEL_TIME_SIZE])
{
    int64_t days = floor_div(value->time.seconds, 86400), rest = value->time.seconds - days * 86400;
    int year, month, day;
    size_t size;

    if (value->type == CEL_DURATION) {
        int64_t nanos = duration_nanos(value);
        uint64_t magnitude = nanos < 0 ? 0 - (uint64_t)nanos : (uint64_t)nanos;

        size = (size_t)snprintf(ret_text, CEL_TIME_SIZE / 2, "%s%llu", nanos < 0 ? "-" : "",
                                (unsigned long long)(magnitude / NANOS));
        size += format_fraction((uint32_t)(magnitude % NANOS), ret_text + size);
        ret_text[size++] = 's';
    } else {
        assert(value->type == CEL_TIMESTAMP);
        civil_from_days(days, &year, &month, &day);
        size = (size_t)snprintf(ret_text, CEL_TIME_SIZE, "%04d-%02d-%02dT%02d:%02d:%02d", year, month, day,
                                (int)(rest / 3600), (int)(rest / 60 % 60), (int)(rest % 60));
        size += format_fraction((uint32_t)value->time.nanos, ret_text + size);
        ret_text[size++] = 'Z';
    }
    ret_text[size] = '\0';
    return size;
}

/* Arithmetic */

static struct cel_value out_of_range(const struct cel_call *call)
{
    return cel_error(call->arena, "the time or duration is out of range");
}

/* timestamp + duration, in either order */
struct cel_value timestamp_add(const struct cel_call *call)
{
    bool time_first = call->arguments[0].type == CEL_TIMESTAMP;
    const struct cel_value *time = &call->arguments[time_first ? 0 : 1];
    const struct cel_value *duration = &call->arguments[time_first ? 1 : 0];
    int32_t nanos = time->time.nanos + duration->time.nanos;
    struct cel_value sum;

    if (!cel_timestamp_make(time->time.seconds + duration->time.seconds + nanos / NANOS, nanos % NANOS, &sum))
        return out_of_range(call);
    return sum;
}

/* timestamp - duration */
struct cel_value timestamp_subtract(const struct cel_call *call)
{
    const struct cel_value *time = &call->arguments[0], *duration = &call->arguments[1];
    int32_t nanos = time->time.nanos - duration->time.nanos;
    struct cel_value difference;

    if (!cel_timestamp_make(time->time.seconds - duration->time.seconds - (nanos < 0),
                            nanos + (nanos < 0 ? NANOS : 0), &difference))
        return out_of_range(call);
    return difference;
}

/* timestamp - timestamp */
struct cel_value timestamp_difference(const struct cel_call *call)
{
    const struct cel_value *a = &call->arguments[0], *b = &call->arguments[1];
    int64_t nanos;

    if (__builtin_mul_overflow(a->time.seconds - b->time.seconds, (int64_t)NANOS, &nanos) ||
        __builtin_add_overflow(nanos, a->time.nanos - b->time.nanos, &nanos))
        return out_of_range(call);
    return duration_make(nanos);
}

struct cel_value duration_add(const struct cel_call *call)
{
    int64_t nanos;

    if (__builtin_add_overflow(duration_nanos(&call->arguments[0]), duration_nanos(&call->arguments[1]),
                               &nanos))
        return out_of_range(call);
    return duration_make(nanos);
}

struct cel_value duration_subtract(const struct cel_call *call)
{
    int64_t nanos;

    if (__builtin_sub_overflow(duration_nanos(&call->arguments[0]), duration_nanos(&call->arguments[1]),
                               &nanos))
        return out_of_range(call);
    return duration_make(nanos);
}

struct cel_value duration_negate(const struct cel_call *call)
{
    int64_t nanos = duration_nanos(&call->arguments[0]);

    return nanos == INT64_MIN ? out_of_range(call) : duration_make(-nanos);
}

/* Accessors. A duration's are its whole length in that unit, but milliseconds are those within the second, as
 * the conformance suite has it. */

struct cel_value duration_hours(const struct cel_call *call)
{
    return cel_int(duration_nanos(&call->arguments[0]) / (3600LL * NANOS));
}

struct cel_value duration_minutes(const struct cel_call *call)
{
    return cel_int(duration_nanos(&call->arguments[0]) / (60LL * NANOS));
}

struct cel_value duration_seconds(const struct cel_call *call)
{
    return cel_int(duration_nanos(&call->arguments[0]) / NANOS);
}

struct cel_value duration_milliseconds(const struct cel_call *call)
{
    return cel_int(duration_nanos(&call->arguments[0]) / 1000000 % 1000);
}

struct civil {
    int year, month, day; /* month and day from 1 */
    int64_t days, second_of_day;
};

/* The civil time of argument 0 in the zone of argument 1, if there is one. */
static bool civil_of(const struct cel_call *call, struct civil *ret_civil)
{
    int64_t seconds = call->arguments[0].time.seconds;
    int32_t offset = 0;

    if (call->count == 2 &&
        !zone_offset(call->program, call->prepared, call->arguments[1].text, seconds, &offset))
        return false;
    seconds += offset;
    ret_civil->days = floor_div(seconds, 86400);
    ret_civil->second_of_day = seconds - ret_civil->days * 86400;
    civil_from_days(ret_civil->days, &ret_civil->year, &ret_civil->month, &ret_civil->day);
    return true;
}

enum part {
    PART_YEAR,
    PART_MONTH,
    PART_DATE,
    PART_DAY_OF_MONTH,
    PART_DAY_OF_WEEK,
    PART_DAY_OF_YEAR,
    PART_HOURS,
    PART_MINUTES,
    PART_SECONDS
};

static struct cel_value part_of(const struct cel_call *call, enum part part)
{
    struct civil civil;

    if (!civil_of(call, &civil))
        return cel_error(call->arena, "unknown time zone");
    switch (part) {
    case PART_YEAR:
        return cel_int(civil.year);
    case PART_MONTH:
        return cel_int(civil.month - 1);
    case PART_DATE:
        return cel_int(civil.day);
    case PART_DAY_OF_MONTH:
        return cel_int(civil.day - 1);
    case PART_DAY_OF_WEEK: /* 1970-01-01 was a Thursday; Sunday is 0 */
        return cel_int(civil.days + 4 - floor_div(civil.days + 4, 7) * 7);
    case PART_DAY_OF_YEAR:
        return cel_int(civil.days - days_from_civil(civil.year, 1, 1));
    case PART_HOURS:
        return cel_int(civil.second_of_day / 3600);
    case PART_MINUTES:
        return cel_int(civil.second_of_day / 60 % 60);
    default:
        return cel_int(civil.second_of_day % 60);
    }
}

struct cel_value timestamp_full_year(const struct cel_call *call)
{
    return part_of(call, PART_YEAR);
}

struct cel_value timestamp_month(const struct cel_call *call)
{
    return part_of(call, PART_MONTH);
}

struct cel_value timestamp_date(const struct cel_call *call)
{
    return part_of(call, PART_DATE);
}

struct cel_value timestamp_day_of_month(const struct cel_call *call)
{
    return part_of(call, PART_DAY_OF_MONTH);
}

struct cel_value timestamp_day_of_week(const struct cel_call *call)
{
    return part_of(call, PART_DAY_OF_WEEK);
}

struct cel_value timestamp_day_of_year(const struct cel_call *call)
{
    return part_of(call, PART_DAY_OF_YEAR);
}

struct cel_value timestamp_hours(const struct cel_call *call)
{
    return part_of(call, PART_HOURS);
}

struct cel_value timestamp_minutes(const struct cel_call *call)
{
    return part_of(call, PART_MINUTES);
}

struct cel_value timestamp_seconds(const struct cel_call *call)
{
    return part_of(call, PART_SECONDS);
}

/* Zones move time by whole seconds. */
struct cel_value timestamp_milliseconds(const struct cel_call *call)
{
    struct civil civil;

    if (!civil_of(call, &civil))
        return cel_error(call->arena, "unknown time zone");
    return cel_int(call->arguments[0].time.nanos / 1000000);
}
