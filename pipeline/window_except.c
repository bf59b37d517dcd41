/* Gaps of a series that reach into calendars in which its detector learns nothing. Once a gap, and only of
 * detectors with calendars to which an empty bucket says something. */
#include "pipeline/window_table.h"

#include <math.h>

enum { LOOKED_AT_MAX = 8192 }; /* buckets of a gap; older ones count as empty */

uint32_t windows_pass_gap(struct windows *windows, struct series_table *table, unsigned number, uint32_t slot,
                          uint32_t gap, int64_t end_us)
{
    const struct plan_group *group = table->group;
    const struct plan_detector *detector = &windows->plan->detectors[group->detectors[number]];
    uint32_t looked_at = gap < LOOKED_AT_MAX ? gap : LOOKED_AT_MAX, left = gap - looked_at;
    const double unknown = NAN;
    struct opinion opinion;

    if (isnan(detector->empty))
        return gap;
    for (uint32_t back = looked_at; back > 0; back--) {
        int64_t end = end_us - back * group->every_us;
        struct bucket_batch batch = {
            .rows = 1, .value = &unknown, .gap = &left, .slot = &slot, .bucket_us = group->every_us};

        if (!(plan_calendars(windows->plan, end - group->window_us, end) & detector->calendars)) {
            left++;
            continue;
        }
        detector->type->score(detector->settings, table->states[number], &batch, detector->empty, &opinion);
        left = 0;
    }
    return left;
}
