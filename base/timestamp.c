/* Reading and writing event times. Parsing runs once or more for each row, formatting for each document,
 * so both work on digits at known places; strptime and timegm took three times as long for the whole
 * seconds alone (170 ns), and read the locale. Text is never read through a double: at today's epoch
 * seconds a double steps by 0.24 us. Whatever is finer than a microsecond is cut towards the past, in
 * every form, so that one instant told as text, as a number or in nanoseconds gives one time. */
#include "base/timestamp.h"

#include "base/digits.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>

#define SECOND_US 1000000LL
#define DAY_S     86400LL
#define DAY_US    (DAY_S * SECOND_US)

/* 1000 years: durations stay addable to any time without overflow. */
#define DURATION_MAX_US (1000LL * 366 * DAY_US)

enum { MANTISSA_DIGITS = 18, EXPONENT_MAX = 400, FRACTION_DIGITS = 9 };

// clang-format off
static const int64_t powers_of_ten[] = {
    1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000, 10000000000, 100000000000,
    1000000000000, 10000000000000, 100000000000000, 1000000000000000, 10000000000000000, 100000000000000000,
    1000000000000000000,
};
// clang-format on

/* What is left to read. */
struct cursor {
    const char *at, *end;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static size_t left(const struct cursor *cursor)
{
    return (size_t)(cursor->end - cursor->at);
}

static bool take_char(struct cursor *cursor, char wanted)
{
    if (cursor->at == cursor->end || *cursor->at != wanted)
        return false;
    cursor->at++;
    return true;
}

static bool take_two_digits(struct cursor *cursor, int *ret_number)
{
    if (left(cursor) < 2 || !is_digit(cursor->at[0]) || !is_digit(cursor->at[1]))
        return false;
    *ret_number = (cursor->at[0] - '0') * 10 + (cursor->at[1] - '0');
    cursor->at += 2;
    return true;
}

static bool in_range(int64_t time_us)
{
    return time_us >= TIME_MIN_US && time_us <= TIME_MAX_US;
}

static bool is_leap(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int days_in_month(int64_t year, int month)
{
    static const signed char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    return days[month - 1] + (month == 2 && is_leap(year));
}

/* Counted from 1 March, so that the leap day is the last one of its year, in eras of 400 years. */
int64_t days_from_civil(int64_t year, int month, int day)
{
    assert(month >= 1 && month <= 12);
    if (month <= 2)
        year--;
    int64_t era = floor_div(year, 400);
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

    return era * 146097 + day_of_era - 719468;
}

/* In 32-bit multiplications and shifts instead of divisions by the length of an era, a century and a year
 * (C. Neri, L. Schneider, "Euclidean affine functions and their application to calendar algorithms", 2023;
 * their names). The days are within TIME_MIN_US to TIME_MAX_US. */
void days_to_civil(int64_t days, int *ret_year, int *ret_month, int *ret_day)
{
    assert(days >= TIME_MIN_US / DAY_US && days <= TIME_MAX_US / DAY_US);
    uint32_t n_1 = 4 * (uint32_t)(days + 719468) + 3, century = n_1 / 146097;
    uint32_t n_2 = n_1 % 146097 | 3;
    uint64_t p_2 = (uint64_t)2939745 * n_2;
    uint32_t year_of_century = (uint32_t)(p_2 >> 32), day_of_year = (uint32_t)p_2 / 2939745 / 4;
    uint32_t n_3 = 2141 * day_of_year + 197913;
    bool in_next_year = day_of_year >= 306;

    *ret_day = (int)((n_3 & 0xFFFF) / 2141 + 1);
    *ret_month = (int)(n_3 >> 16) - (in_next_year ? 12 : 0);
    *ret_year = (int)(100 * century + year_of_century + in_next_year);
}

static bool take_fraction(struct cursor *cursor, int *ret_us)
{
    int digits = 0, microseconds = 0;

    for (; cursor->at < cursor->end && is_digit(*cursor->at); cursor->at++, digits++)
        if (digits < 6)
            microseconds = microseconds * 10 + (*cursor->at - '0');
    if (digits == 0 || digits > FRACTION_DIGITS)
        return false;
    for (; digits < 6; digits++)
        microseconds *= 10;
    *ret_us = microseconds;
    return true;
}

/* "hh:mm:ss" and a fraction. A leap second has no number of its own here: it reads as the last microsecond
 * before. */
static bool take_time_of_day(struct cursor *cursor, int64_t *ret_us)
{
    int hour, minute, second, fraction_us = 0;

    if (!take_two_digits(cursor, &hour) || !take_char(cursor, ':') || !take_two_digits(cursor, &minute) ||
        !take_char(cursor, ':') || !take_two_digits(cursor, &second))
        return false;
    if (hour > 23 || minute > 59 || second > 60)
        return false;
    if ((take_char(cursor, '.') || take_char(cursor, ',')) && !take_fraction(cursor, &fraction_us))
        return false;
    if (second == 60) {
        second = 59;
        fraction_us = SECOND_US - 1;
    }
    *ret_us = (hour * 3600 + minute * 60 + second) * SECOND_US + fraction_us;
    return true;
}

/* The rest of the text as zone: Z, +hh:mm, +hhmm, +hh or nothing, which leaves *ret_offset_us. */
static bool take_zone(struct cursor *cursor, int64_t *ret_offset_us)
{
    int hours, minutes = 0;
    bool west;

    if (left(cursor) == 0)
        return true;
    if (take_char(cursor, 'Z') || take_char(cursor, 'z')) {
        *ret_offset_us = 0;
        return left(cursor) == 0;
    }
    west = take_char(cursor, '-');
    if (!west && !take_char(cursor, '+'))
        return false;
    if (!take_two_digits(cursor, &hours))
        return false;
    if (left(cursor) > 0) {
        take_char(cursor, ':');
        if (!take_two_digits(cursor, &minutes))
            return false;
    }
    if (hours > 23 || minutes > 59 || left(cursor) > 0)
        return false;
    *ret_offset_us = (hours * 60 + minutes) * 60 * SECOND_US * (west ? -1 : 1);
    return true;
}

static bool parse_calendar(struct cursor cursor, int64_t offset_us, int64_t *ret_us)
{
    int century, year_of_century, month, day;
    int64_t time_of_day_us = 0;

    if (!take_two_digits(&cursor, &century) || !take_two_digits(&cursor, &year_of_century) ||
        !take_char(&cursor, '-') || !take_two_digits(&cursor, &month) || !take_char(&cursor, '-') ||
        !take_two_digits(&cursor, &day))
        return false;
    int year = century * 100 + year_of_century;
    if (year < 1 || month < 1 || month > 12 || day < 1 || day > days_in_month(year, month))
        return false;
    if (left(&cursor) > 0) {
        if (!take_char(&cursor, 'T') && !take_char(&cursor, ' ') && !take_char(&cursor, 't'))
            return false;
        if (!take_time_of_day(&cursor, &time_of_day_us) || !take_zone(&cursor, &offset_us))
            return false;
    }
    int64_t time_us = days_from_civil(year, month, day) * DAY_US + time_of_day_us - offset_us;
    if (!in_range(time_us))
        return false;
    *ret_us = time_us;
    return true;
}

static bool take_month_name(struct cursor *cursor, int *ret_month)
{
    static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

    if (left(cursor) < 3)
        return false;
    for (int month = 1; month <= 12; month++) {
        if (memcmp(cursor->at, names + 3 * (month - 1), 3) == 0) {
            cursor->at += 3;
            *ret_month = month;
            return true;
        }
    }
    return false;
}

/* The day's time in the year that puts it nearest to the reference, so that a line of 31 December read on
 * 1 January lies in the past, not a year ahead. */
static bool in_nearest_year(int month, int day, int64_t time_of_day_us, int64_t reference_us, int64_t *ret_us)
{
    int reference_year, reference_month, reference_day;
    int64_t nearest_us = TIME_NONE, nearest_distance = INT64_MAX;

    if (reference_us == TIME_NONE || !in_range(reference_us))
        return false;
    days_to_civil(floor_div(reference_us, DAY_US), &reference_year, &reference_month, &reference_day);
    for (int year = reference_year - 1; year <= reference_year + 1; year++) {
        if (day < 1 || day > days_in_month(year, month))
            continue;
        int64_t time_us = days_from_civil(year, month, day) * DAY_US + time_of_day_us;
        int64_t distance = time_us > reference_us ? time_us - reference_us : reference_us - time_us;
        if (in_range(time_us) && distance < nearest_distance) {
            nearest_us = time_us;
            nearest_distance = distance;
        }
    }
    if (nearest_us == TIME_NONE)
        return false;
    *ret_us = nearest_us;
    return true;
}

static const char rfc3164[] = "%b %d %H:%M:%S";

/* What a layout has read so far. */
struct moment {
    int year, month, day; /* 0: not told */
    int hour, minute;
    int64_t second_us, offset_us;
};

static bool take_number(struct cursor *cursor, int min, int max, int *ret_number)
{
    return take_two_digits(cursor, ret_number) && *ret_number >= min && *ret_number <= max;
}

static bool take_day(struct cursor *cursor, int *ret_day)
{
    bool padded = take_char(cursor, ' ');

    if (left(cursor) >= 1 && is_digit(cursor->at[0]) && (left(cursor) == 1 || !is_digit(cursor->at[1]))) {
        *ret_day = *cursor->at++ - '0';
        return *ret_day > 0;
    }
    return !padded && take_number(cursor, 1, 31, ret_day);
}

static bool take_second(struct cursor *cursor, int64_t *ret_us)
{
    int second, fraction_us = 0;

    if (!take_number(cursor, 0, 60, &second))
        return false;
    if (left(cursor) > 1 && (cursor->at[0] == '.' || cursor->at[0] == ',') && is_digit(cursor->at[1])) {
        cursor->at++;
        if (!take_fraction(cursor, &fraction_us))
            return false;
    }
    *ret_us = second == 60 ? 60 * SECOND_US - 1 : second * SECOND_US + fraction_us;
    return true;
}

static bool take_directive(struct cursor *cursor, char directive, struct moment *moment)
{
    int number;

    switch (directive) {
    case 'Y':
        if (!take_two_digits(cursor, &number) || !take_two_digits(cursor, &moment->year))
            return false;
        moment->year += number * 100;
        return moment->year > 0;
    case 'y':
        if (!take_two_digits(cursor, &number))
            return false;
        moment->year = number + (number < 69 ? 2000 : 1900);
        return true;
    case 'm':
        return take_number(cursor, 1, 12, &moment->month);
    case 'b':
        return take_month_name(cursor, &moment->month);
    case 'd':
        return take_day(cursor, &moment->day);
    case 'H':
        return take_number(cursor, 0, 23, &moment->hour);
    case 'M':
        return take_number(cursor, 0, 59, &moment->minute);
    case 'S':
        return take_second(cursor, &moment->second_us);
    case 'a':
        if (left(cursor) < 3)
            return false;
        cursor->at += 3;
        return true;
    case 'z':
        return take_zone(cursor, &moment->offset_us);
    default:
        return take_char(cursor, directive);
    }
}

static bool parse_layout(struct cursor cursor, const struct time_form *form, int64_t reference_us,
                         int64_t *ret_us)
{
    struct moment moment = {.offset_us = form->zone_us};
    int64_t time_us;

    for (const char *at = form->layout; *at; at++) {
        if (*at == ' ' && at[1] == '%' && at[2] == 'z' && left(&cursor) == 0)
            break;
        if (*at == '%' ? !take_directive(&cursor, *++at, &moment) : !take_char(&cursor, *at))
            return false;
    }
    if (left(&cursor) > 0)
        return false;
    int64_t of_day_us =
        (moment.hour * 60 + moment.minute) * 60 * SECOND_US + moment.second_us - moment.offset_us;
    if (moment.year == 0)
        return in_nearest_year(moment.month, moment.day, of_day_us, reference_us, ret_us);
    if (moment.day > days_in_month(moment.year, moment.month))
        return false;
    time_us = days_from_civil(moment.year, moment.month, moment.day) * DAY_US + of_day_us;
    if (!in_range(time_us))
        return false;
    *ret_us = time_us;
    return true;
}

const char *time_layout_check(const char *layout)
{
    static const char needed[] = "dHMS";
    bool has[128] = {false};

    for (const char *at = layout; *at; at++) {
        if (*at != '%')
            continue;
        at++;
        if (!*at || !strchr("YymbdHMSaz%", *at))
            return "has an unknown directive: there are %Y %y %m %b %d %H %M %S %a %z %%";
        if (*at != '%' && has[(unsigned char)*at])
            return "has a directive twice";
        has[(unsigned char)*at] = true;
        if (*at == 'z' && at[1])
            return "has %z before its end";
    }
    for (const char *at = needed; *at; at++)
        if (!has[(unsigned char)*at])
            return "needs %d, %H, %M and %S";
    return has['m'] || has['b'] ? NULL : "needs %m or %b";
}

bool time_zone_parse(struct span text, int64_t *ret_offset_us)
{
    struct cursor cursor = {.at = text.data, .end = text.data + text.size};

    return text.size > 0 && take_zone(&cursor, ret_offset_us);
}

/* A decimal number as digits: (-1)^negative * mantissa * 10^exponent, and something more in magnitude if
 * `cut`. */
struct decimal {
    uint64_t mantissa;
    int exponent;
    bool negative, cut;
};

static void decimal_add_digit(struct decimal *number, char digit, bool after_point)
{
    if (number->mantissa < (uint64_t)powers_of_ten[MANTISSA_DIGITS - 1]) {
        number->mantissa = number->mantissa * 10 + (uint64_t)(digit - '0');
        number->exponent -= after_point;
    } else {
        number->cut = number->cut || digit != '0';
        number->exponent += !after_point;
    }
}

/* JSON's number, also with a '+' before it, zeros in front, or a point without digits on one side. */
static bool parse_decimal(struct cursor cursor, struct decimal *ret_number)
{
    struct decimal number = {0};
    bool any = false, after_point = false;

    number.negative = take_char(&cursor, '-');
    if (!number.negative)
        take_char(&cursor, '+');
    for (; cursor.at < cursor.end; cursor.at++) {
        if (is_digit(*cursor.at)) {
            decimal_add_digit(&number, *cursor.at, after_point);
            any = true;
        } else if (*cursor.at == '.' && !after_point) {
            after_point = true;
        } else {
            break;
        }
    }
    if (!any)
        return false;
    if (take_char(&cursor, 'e') || take_char(&cursor, 'E')) {
        bool minus = take_char(&cursor, '-');
        int exponent = 0;

        if (!minus)
            take_char(&cursor, '+');
        if (left(&cursor) == 0)
            return false;
        for (; cursor.at < cursor.end && is_digit(*cursor.at); cursor.at++)
            if (exponent < EXPONENT_MAX)
                exponent = exponent * 10 + (*cursor.at - '0');
        number.exponent += minus ? -exponent : exponent;
    }
    if (left(&cursor) > 0)
        return false;
    *ret_number = number;
    return true;
}

/* floor(number * 10^shift); false when it does not fit. */
static bool decimal_scale(struct decimal number, int shift, int64_t *ret_value)
{
    int power = number.exponent + shift;
    int64_t value = (int64_t)number.mantissa;
    bool rest = number.cut;

    if (value == 0 && !rest) {
        *ret_value = 0;
        return true;
    }
    if (power > MANTISSA_DIGITS)
        return false;
    if (power >= 0) {
        if (__builtin_mul_overflow(value, powers_of_ten[power], &value))
            return false;
    } else if (power < -MANTISSA_DIGITS) {
        rest = true;
        value = 0;
    } else {
        rest = rest || value % powers_of_ten[-power] != 0;
        value /= powers_of_ten[-power];
    }
    *ret_value = number.negative ? -value - rest : value;
    return true;
}

/* By the place of the leading digit: 1e11 has 12 digits before the point. */
static enum time_unit decimal_unit(struct decimal number)
{
    int digits = number.exponent;

    for (uint64_t rest = number.mantissa; rest > 0; rest /= 10)
        digits++;
    if (digits <= 11)
        return TIME_UNIT_S;
    if (digits <= 14)
        return TIME_UNIT_MS;
    return digits <= 17 ? TIME_UNIT_US : TIME_UNIT_NS;
}

/* The power of ten from a unit to microseconds. */
static int unit_shift(enum time_unit unit)
{
    switch (unit) {
    case TIME_UNIT_S:
        return 6;
    case TIME_UNIT_MS:
        return 3;
    case TIME_UNIT_US:
        return 0;
    case TIME_UNIT_NS:
        return -3;
    case TIME_UNIT_AUTO:
        break;
    }
    assert(!"a unit that auto has been resolved to");
    return 0;
}

static bool time_from_decimal(struct decimal number, enum time_unit unit, int64_t *ret_us)
{
    int64_t time_us;

    if (unit == TIME_UNIT_AUTO)
        unit = decimal_unit(number);
    if (!decimal_scale(number, unit_shift(unit), &time_us) || !in_range(time_us))
        return false;
    *ret_us = time_us;
    return true;
}

bool time_read(struct span text, const struct time_form *form, int64_t reference_us, int64_t *ret_us)
{
    struct cursor cursor = {.at = text.data, .end = text.data + text.size};
    struct decimal number;

    if (text.size == 0)
        return false;
    if (form->layout)
        return parse_layout(cursor, form, reference_us, ret_us);
    if (text.size >= 10 && text.data[4] == '-')
        return parse_calendar(cursor, form->zone_us, ret_us);
    if (text.data[0] >= 'A' && text.data[0] <= 'Z')
        return parse_layout(cursor, &(struct time_form){.layout = rfc3164, .zone_us = form->zone_us},
                            reference_us, ret_us);
    return parse_decimal(cursor, &number) && time_from_decimal(number, form->unit, ret_us);
}

bool time_parse(struct span text, enum time_unit unit, int64_t reference_us, int64_t *ret_us)
{
    return time_read(text, &(struct time_form){.unit = unit}, reference_us, ret_us);
}

bool time_from_integer(int64_t number, enum time_unit unit, int64_t *ret_us)
{
    uint64_t magnitude = number < 0 ? -(uint64_t)number : (uint64_t)number;
    int64_t time_us;

    if (unit == TIME_UNIT_AUTO)
        unit = decimal_unit((struct decimal){.mantissa = magnitude});
    int shift = unit_shift(unit);
    if (shift < 0)
        time_us = floor_div(number, powers_of_ten[-shift]);
    else if (__builtin_mul_overflow(number, powers_of_ten[shift], &time_us))
        return false;
    if (!in_range(time_us))
        return false;
    *ret_us = time_us;
    return true;
}

/* A decimal with at most microseconds must come out as written although its double lies beside it: the
 * nearest microsecond is taken if dividing it gives the same double again. Everything else is cut, in two
 * exact parts. */
static bool time_from_double(double number, int shift, int64_t *ret_us)
{
    double scale = (double)powers_of_ten[shift];
    double nearest = nearbyint(number * scale);

    if (fabs(nearest) <= 0x1p53 && nearest / scale == number) {
        *ret_us = (int64_t)nearest;
        return true;
    }
    double whole = floor(number);
    if (fabs(whole) > 1e18 / scale)
        return false;
    *ret_us = (int64_t)whole * powers_of_ten[shift] + (int64_t)floor((number - whole) * scale);
    return true;
}

bool time_from_number(double number, enum time_unit unit, int64_t *ret_us)
{
    double magnitude = fabs(number);
    int64_t time_us;

    if (unit == TIME_UNIT_AUTO)
        unit = magnitude < 1e11   ? TIME_UNIT_S
               : magnitude < 1e14 ? TIME_UNIT_MS
               : magnitude < 1e17 ? TIME_UNIT_US
                                  : TIME_UNIT_NS;
    if (!(magnitude < 0x1p63))
        return false;
    if (unit == TIME_UNIT_NS)
        time_us = floor_div((int64_t)floor(number), 1000);
    else if (!time_from_double(number, unit_shift(unit), &time_us))
        return false;
    if (!in_range(time_us))
        return false;
    *ret_us = time_us;
    return true;
}

/* The end of a bucket that holds the last instants can lie outside the range: it is told as the range's
 * end. */
static int64_t into_range(int64_t time_us)
{
    assert(time_us != TIME_NONE);
    if (time_us < TIME_MIN_US)
        return TIME_MIN_US;
    return time_us > TIME_MAX_US ? TIME_MAX_US : time_us;
}

static void put_year(char *text, int year)
{
    digits_put_two(text, (unsigned)year / 100);
    digits_put_two(text + 2, (unsigned)year % 100);
}

size_t time_format(int64_t time_us, char ret_text[TIME_TEXT_SIZE])
{
    int year, month, day;
    int64_t kept_us = into_range(time_us), days = floor_div(kept_us, DAY_US);
    unsigned of_day_ms = (unsigned)((kept_us - days * DAY_US) / 1000), of_day_s = of_day_ms / 1000;

    days_to_civil(days, &year, &month, &day);
    memcpy(ret_text, "0000-00-00T00:00:00.000Z", TIME_TEXT_SIZE);
    put_year(ret_text, year);
    digits_put_two(ret_text + 5, (unsigned)month);
    digits_put_two(ret_text + 8, (unsigned)day);
    digits_put_two(ret_text + 11, of_day_s / 3600);
    digits_put_two(ret_text + 14, of_day_s / 60 % 60);
    digits_put_two(ret_text + 17, of_day_s % 60);
    digits_put_two(ret_text + 20, of_day_ms % 1000 / 10);
    ret_text[22] = (char)('0' + of_day_ms % 10);
    return TIME_TEXT_SIZE;
}

void time_month(int64_t time_us, char ret_text[8])
{
    int year, month, day;

    days_to_civil(floor_div(into_range(time_us), DAY_US), &year, &month, &day);
    memcpy(ret_text, "0000.00", 8);
    put_year(ret_text, year);
    digits_put_two(ret_text + 5, (unsigned)month);
}

static const struct duration_unit {
    const char *name;
    int64_t us;
} duration_units[] = {
    {"w", 7 * DAY_US},     {"d", DAY_US},    {"h", 3600 * SECOND_US},
    {"m", 60 * SECOND_US}, {"s", SECOND_US}, {"ms", 1000},
};
enum { DURATION_UNITS = sizeof duration_units / sizeof duration_units[0] };

bool duration_parse(struct span text, int64_t *ret_us)
{
    uint32_t digits = 0;
    struct decimal number;
    __int128 scaled;

    while (digits < text.size && (is_digit(text.data[digits]) || text.data[digits] == '.'))
        digits++;
    struct span unit = span_make(text.data + digits, text.size - digits);
    if (!parse_decimal((struct cursor){text.data, text.data + digits}, &number) || number.exponent > 0 ||
        number.exponent < -MANTISSA_DIGITS)
        return false;
    if (span_is(text, "0")) {
        *ret_us = 0;
        return true;
    }
    for (int i = 0; i < DURATION_UNITS; i++) {
        if (!span_is(unit, duration_units[i].name))
            continue;
        scaled = (__int128)number.mantissa * duration_units[i].us / powers_of_ten[-number.exponent];
        if (scaled > DURATION_MAX_US)
            return false;
        *ret_us = (int64_t)scaled;
        return true;
    }
    return false;
}

void duration_format(int64_t duration_us, char ret_text[24])
{
    uint64_t magnitude = duration_us < 0 ? -(uint64_t)duration_us : (uint64_t)duration_us;
    const char *sign = duration_us < 0 ? "-" : "";

    if (magnitude == 0) {
        memcpy(ret_text, "0s", 3);
        return;
    }
    for (int i = 0; i < DURATION_UNITS; i++) {
        uint64_t unit_us = (uint64_t)duration_units[i].us;
        if (magnitude % unit_us == 0) {
            snprintf(ret_text, 24, "%s%llu%s", sign, (unsigned long long)(magnitude / unit_us),
                     duration_units[i].name);
            return;
        }
    }
    int length = snprintf(ret_text, 24, "%s%llu.%03u", sign, (unsigned long long)(magnitude / 1000),
                          (unsigned)(magnitude % 1000));
    while (ret_text[length - 1] == '0')
        length--;
    memcpy(ret_text + length, "ms", 3);
}
