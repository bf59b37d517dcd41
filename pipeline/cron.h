/* Times of a cron line of five fields (crontab(5)): minute, hour, day of the month, month, day of the week,
 * with lists, ranges, steps, names of months and days, and @hourly, @daily, @weekly, @monthly, @yearly. When
 * both days are restricted, either is enough. */
#pragma once
#include "base/status.h"
#include "base/time_zone.h"

struct cron {
    uint64_t minutes;
    uint32_t hours, days, months, weekdays; /* bits */
    bool any_day, any_weekday;              /* the field begins with * */
};

/* What is wrong is told with the field and the range allowed. */
enum status cron_parse(struct span text, struct cron *ret_cron, struct error *ret_error);

/* The first time after it; INT64_MAX: none in eight years. What a clock set forward leaves out does not come
 * that day. `zone` NULL: UTC. */
int64_t cron_next(const struct cron *cron, const struct time_zone *zone, int64_t after_us);
