#include "base/time_zone.h"

#include "base/memory.h"
#include "base/timestamp.h"

#include <stdio.h>
#include <stdlib.h>

enum { ZONE_FILE_MAX = 256 * 1024 };

/* When summer time begins or ends in a year: Mm.w.d, Jn or n, and seconds of the day. */
struct rule_day {
    char form; /* 'M', 'J', or 'N' for a day from 0 */
    int month, week, day;
    int32_t second;
};

struct time_zone {
    uint32_t count;
    int64_t *moments; /* [count] transitions in seconds, ascending */
    int32_t *offsets; /* [count + 1]; offsets[0] holds before the first */
    bool has_rule, has_summer;
    int32_t standard, summer; /* seconds east, of the rule */
    struct rule_day begin, end;
};

/* POSIX TZ rules, as the footer of a zone file has them: "CET-1CEST,M3.5.0,M10.5.0/3" */

static bool skip_abbreviation(const char **at)
{
    const char *start = *at;

    if (*start == '<') {
        const char *close = strchr(start, '>');

        if (close)
            *at = close + 1;
        return close != NULL;
    }
    while ((**at >= 'a' && **at <= 'z') || (**at >= 'A' && **at <= 'Z'))
        (*at)++;
    return *at - start >= 3;
}

static bool take_number(const char **at, int max, int *ret_number)
{
    int number = 0;
    const char *start = *at;

    for (; **at >= '0' && **at <= '9' && number <= max; (*at)++)
        number = number * 10 + (**at - '0');
    *ret_number = number;
    return *at > start && number <= max;
}

/* [+-]h[h[h]][:mm[:ss]] in seconds */
static bool take_clock(const char **at, int32_t *ret_seconds)
{
    int sign = **at == '-' ? -1 : 1, parts[3] = {0};

    if (**at == '-' || **at == '+')
        (*at)++;
    if (!take_number(at, 167, &parts[0]))
        return false;
    for (int i = 1; i < 3 && **at == ':'; i++) {
        (*at)++;
        if (!take_number(at, 59, &parts[i]))
            return false;
    }
    *ret_seconds = sign * (parts[0] * 3600 + parts[1] * 60 + parts[2]);
    return true;
}

static bool take_char(const char **at, char wanted)
{
    if (**at != wanted)
        return false;
    (*at)++;
    return true;
}

static bool take_rule_day(const char **at, struct rule_day *ret_day)
{
    *ret_day = (struct rule_day){.form = 'N', .second = 7200};
    if (!take_char(at, ','))
        return false;
    if (take_char(at, 'M')) {
        ret_day->form = 'M';
        if (!take_number(at, 12, &ret_day->month) || !take_char(at, '.') ||
            !take_number(at, 5, &ret_day->week) || !take_char(at, '.') ||
            !take_number(at, 6, &ret_day->day) || ret_day->month < 1 || ret_day->week < 1)
            return false;
    } else {
        if (take_char(at, 'J'))
            ret_day->form = 'J';
        if (!take_number(at, 365, &ret_day->day))
            return false;
    }
    return !take_char(at, '/') || take_clock(at, &ret_day->second);
}

static bool parse_rule(struct time_zone *zone, const char *text)
{
    int32_t west;

    if (!skip_abbreviation(&text) || !take_clock(&text, &west))
        return false;
    zone->standard = -west;
    zone->summer = zone->standard + 3600;
    if (*text != '\0') {
        if (!skip_abbreviation(&text))
            return false;
        if (*text != ',') {
            if (!take_clock(&text, &west))
                return false;
            zone->summer = -west;
        }
        if (!take_rule_day(&text, &zone->begin) || !take_rule_day(&text, &zone->end) || *text != '\0')
            return false;
        zone->has_summer = true;
    }
    zone->has_rule = true;
    return true;
}

/* Local seconds since 1970 at which the rule's day of that year strikes. */
static int64_t rule_moment(const struct rule_day *day, int64_t year)
{
    int64_t january = days_from_civil(year, 1, 1), days;
    bool leap = days_from_civil(year + 1, 1, 1) - january == 366;

    if (day->form == 'M') {
        int64_t first = days_from_civil(year, day->month, 1);
        int64_t next =
            day->month == 12 ? days_from_civil(year + 1, 1, 1) : days_from_civil(year, day->month + 1, 1);
        int64_t weekday = first + 4 - floor_div(first + 4, 7) * 7;

        days = first + (day->day - weekday + 7) % 7 + 7 * (day->week - 1);
        if (days >= next)
            days -= 7;
    } else if (day->form == 'J') { /* 1 to 365, 29 February is never counted */
        days = january + day->day - 1 + (leap && day->day >= 60);
    } else {
        days = january + day->day;
    }
    return days * 86400 + day->second;
}

static int32_t rule_offset(const struct time_zone *zone, int64_t seconds)
{
    int64_t local = seconds + zone->standard, days = floor_div(local, 86400), year, begin, end;

    if (!zone->has_summer)
        return zone->standard;
    year = 1970 + floor_div(days * 400, 146097);
    if (days_from_civil(year + 1, 1, 1) <= days)
        year++;
    if (days_from_civil(year, 1, 1) > days)
        year--;
    begin = rule_moment(&zone->begin, year) - zone->standard;
    end = rule_moment(&zone->end, year) - zone->summer;
    bool summer = begin < end ? seconds >= begin && seconds < end : seconds >= begin || seconds < end;
    return summer ? zone->summer : zone->standard;
}

/* TZif files (RFC 8536): version 1 block, then the same with 64-bit times, then the footer */

static uint64_t big_endian(const char *bytes, unsigned size)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < size; i++)
        value = value << 8 | (unsigned char)bytes[i];
    return value;
}

struct zone_header {
    uint32_t utc_count, standard_count, leap_count, time_count, type_count, name_count;
};

enum { HEADER_BYTES = 44, TYPE_BYTES = 6 };

/* Reads the header at *at and checks that the block behind it lies within the file. */
static bool read_header(struct span file, size_t at, unsigned time_size, struct zone_header *ret_header,
                        size_t *ret_block_size)
{
    const char *bytes = file.data + at;

    if (at + HEADER_BYTES > file.size || memcmp(bytes, "TZif", 4) != 0)
        return false;
    *ret_header = (struct zone_header){
        .utc_count = (uint32_t)big_endian(bytes + 20, 4),
        .standard_count = (uint32_t)big_endian(bytes + 24, 4),
        .leap_count = (uint32_t)big_endian(bytes + 28, 4),
        .time_count = (uint32_t)big_endian(bytes + 32, 4),
        .type_count = (uint32_t)big_endian(bytes + 36, 4),
        .name_count = (uint32_t)big_endian(bytes + 40, 4),
    };
    *ret_block_size = (size_t)ret_header->time_count * (time_size + 1) +
                      (size_t)ret_header->type_count * TYPE_BYTES + ret_header->name_count +
                      (size_t)ret_header->leap_count * (time_size + 4) + ret_header->standard_count +
                      ret_header->utc_count;
    return ret_header->type_count > 0 && *ret_block_size <= file.size - at - HEADER_BYTES;
}

static bool read_transitions(struct time_zone *zone, const char *block, const struct zone_header *header)
{
    const char *types = block + (size_t)header->time_count * 8, *rows = types + header->time_count;

    zone->count = header->time_count;
    zone->moments = memory_new(zone->count * sizeof *zone->moments);
    zone->offsets = memory_new((zone->count + 1) * sizeof *zone->offsets);
    zone->offsets[0] = (int32_t)big_endian(rows, 4);
    for (uint32_t i = 0; i < zone->count; i++) {
        unsigned type = (unsigned char)types[i];

        if (type >= header->type_count)
            return false;
        zone->moments[i] = (int64_t)big_endian(block + (size_t)i * 8, 8);
        zone->offsets[i + 1] = (int32_t)big_endian(rows + (size_t)type * TYPE_BYTES, 4);
        if (i > 0 && zone->moments[i] <= zone->moments[i - 1])
            return false;
    }
    return true;
}

static bool parse_zone_file(struct time_zone *zone, struct span file)
{
    struct zone_header header;
    size_t block, second = HEADER_BYTES;
    char footer[128] = "";

    if (!read_header(file, 0, 4, &header, &block) || file.data[4] < '2')
        return false;
    second += block;
    if (!read_header(file, second, 8, &header, &block))
        return false;
    if (!read_transitions(zone, file.data + second + HEADER_BYTES, &header))
        return false;
    size_t at = second + HEADER_BYTES + block + 1; /* behind the footer's first newline */
    for (size_t i = 0; at + i < file.size && i + 1 < sizeof footer && file.data[at + i] != '\n'; i++)
        footer[i] = file.data[at + i];
    return footer[0] == '\0' || parse_rule(zone, footer);
}

/* Names are joined to a folder: only what zone names are made of, and no way up. */
bool time_zone_is_name(struct span name)
{
    if (name.size == 0 || name.size > TIME_ZONE_NAME_MAX || name.data[0] == '/')
        return false;
    for (uint32_t i = 0; i < name.size; i++) {
        char c = name.data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              (c && strchr("_+-/", c))))
            return false;
    }
    return true;
}

/* "+02:00", "-09:30", "02:00" */
bool time_zone_fixed(struct span name, int32_t *ret_offset)
{
    char copy[8] = "";
    const char *at = copy;
    size_t sign = name.size > 0 && (name.data[0] == '+' || name.data[0] == '-');

    if (name.size != sign + 5 || name.data[sign + 2] != ':')
        return false;
    memcpy(copy, name.data, name.size);
    return take_clock(&at, ret_offset) && *at == '\0' && abs(*ret_offset) < 86400;
}

struct time_zone *time_zone_load(struct span name)
{
    char path[sizeof "/usr/share/zoneinfo/" + TIME_ZONE_NAME_MAX];
    struct time_zone *zone;
    bool known;
    char *bytes;
    FILE *file;
    size_t size;

    if (!time_zone_is_name(name))
        return NULL;
    snprintf(path, sizeof path, "/usr/share/zoneinfo/%.*s", (int)name.size, name.data);
    file = fopen(path, "rb");
    if (!file)
        return NULL;
    zone = memory_new(sizeof *zone);
    bytes = memory_new(ZONE_FILE_MAX);
    size = fread(bytes, 1, ZONE_FILE_MAX, file);
    known = size < ZONE_FILE_MAX && parse_zone_file(zone, span_make(bytes, size));
    free(bytes);
    fclose(file);
    if (known)
        return zone;
    time_zone_free(zone);
    return NULL;
}

void time_zone_free(struct time_zone *zone)
{
    if (!zone)
        return;
    free(zone->moments);
    free(zone->offsets);
    free(zone);
}

int32_t time_zone_offset(const struct time_zone *zone, int64_t seconds)
{
    uint32_t low = 0, high = zone->count; /* number of transitions at or before the moment */

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (zone->moments[middle] <= seconds)
            low = middle + 1;
        else
            high = middle;
    }
    return low == zone->count && zone->has_rule ? rule_offset(zone, seconds) : zone->offsets[low];
}
