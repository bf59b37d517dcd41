/* Gaps of a series that reach into calendars in which its detector learns nothing. Once a gap, and only of
 * detectors with calendars to which an empty bucket says something. */
#include "pipeline/window_table.h"

#include <math.h>

enum { LOOKED_AT_MAX = 8192 }; /* buckets of a gap; older ones count as empty */

void windows_pass_gap(struct windows *windows, unsigned number, uint32_t row)
{
    struct closing *closing = &windows->closing;
    const struct plan_group *group = closing->table->group;
    const struct plan_detector *detector = &windows->plan->detectors[group->detectors[number]];
    uint32_t gap = closing->gaps[row];
    uint32_t looked_at = gap < LOOKED_AT_MAX ? gap : LOOKED_AT_MAX, left = gap - looked_at;
    const double unknown = NAN;
    struct opinion opinion;
    struct bucket_batch batch = {.rows = 1,
                                 .value = &unknown,
                                 .gap = &left,
                                 .slot = &closing->slots[row],
                                 .bucket_us = group->every_us,
                                 .hot = detector->hot_size ? &closing->hot[row] : NULL};

    if (isnan(detector->empty))
        return;
    for (uint32_t back = looked_at; back > 0; back--) {
        int64_t end = closing->end_us - back * group->every_us;

        if (!(plan_calendars(windows->plan, end - group->window_us, end) & detector->calendars)) {
            left++;
            continue;
        }
        detector->type->score(detector->settings, closing->table->states[number], &batch, detector->empty,
                              &opinion);
        left = 0;
    }
    closing->gaps[row] = left;
}
