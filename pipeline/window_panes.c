/* The panes of a series: a list by time, and sums over parts of it, so that a bucket of a hopping window
 * costs two sums and not all panes of its window. Time is cut into spans as long as the window; the cut
 * within a window is its turn. What is before the turn is the sum from the window's oldest pane to the turn,
 * made for all panes of a span when the turn has passed it; what is behind is the sum from the turn to the
 * newest pane, carried on from pane to pane (van Herk, "A fast algorithm for local minimum and maximum
 * filters on rectangular and octagonal kernels", 1992). Late panes stand apart and are in no sum. A sum is
 * there to save time: it is not stored, and may be dropped at any moment. */
#include "pipeline/window_table.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>

static int64_t first_end(const struct plan_group *group, int64_t start_us)
{
    return (floor_div(start_us, group->every_us) + 1) * group->every_us;
}

struct pane_node *pane_new(const struct plan_group *group, int64_t start_us, int64_t first_end_us)
{
    struct pane_node *node = memory_new(sizeof *node + group->accumulators_size);

    node->start_us = start_us;
    node->first_end_us = first_end_us;
    node->is_late = first_end_us != first_end(group, start_us);
    return node;
}

static void drop_sums(const struct plan_group *group, struct pane_node *node)
{
    if (!node->sums)
        return;
    accumulators_free(group, node->sums->accumulators);
    free(node->sums);
    node->sums = NULL;
}

void pane_free(const struct plan_group *group, struct pane_node *node)
{
    drop_sums(group, node);
    accumulators_free(group, node->accumulators);
    free(node);
}

/* Whether `a` stands before `b`: late panes first, of the others the newest. */
static bool stands_before(const struct pane_node *a, const struct pane_node *b)
{
    return a->is_late != b->is_late ? a->is_late : a->start_us > b->start_us;
}

void panes_insert(struct series *series, struct pane_node *node)
{
    struct pane_node *behind = series->panes, *last = behind ? behind->before : NULL;

    while (behind && stands_before(behind, node))
        behind = behind->next;
    node->next = behind;
    node->before = !last ? node : behind ? behind->before : last;
    if (behind == series->panes)
        series->panes = node;
    else
        node->before->next = node;
    if (behind)
        behind->before = node;
    else
        series->panes->before = node;
}

void panes_remove(struct series *series, struct pane_node *node)
{
    struct pane_node *behind = node->next;

    if (node == series->panes)
        series->panes = behind;
    else
        node->before->next = behind;
    if (behind)
        behind->before = node->before;
    else if (series->panes)
        series->panes->before = node->before;
}

struct pane_node *panes_find(const struct plan_group *group, const struct series *series, int64_t start_us,
                             int64_t first_end_us)
{
    const struct pane_node wanted = {.start_us = start_us,
                                     .is_late = first_end_us != first_end(group, start_us)};
    struct pane_node *node = series->panes;

    while (node && (stands_before(node, &wanted) ||
                    (node->start_us == start_us && node->first_end_us != first_end_us)))
        node = node->next;
    return node && node->start_us == start_us && node->first_end_us == first_end_us ? node : NULL;
}

struct pane_node *panes_newer(const struct series *series, const struct pane_node *node)
{
    return node == series->panes || node->before->is_late ? NULL : node->before;
}

struct pane_node *panes_oldest(const struct series *series)
{
    return series->panes && !series->panes->before->is_late ? series->panes->before : NULL;
}

void panes_forget_sums(const struct plan_group *group, struct series *series)
{
    for (struct pane_node *node = series->panes; node; node = node->next)
        drop_sums(group, node);
}

static bool has_sum(const struct pane_node *node, int64_t turn_us)
{
    return node->sums && node->sums->turn_us == turn_us;
}

/* What the node stands for: its sum, or itself where it is the only one in it. */
static char *sum_at(struct pane_node *node, int64_t turn_us)
{
    return has_sum(node, turn_us) ? node->sums->accumulators : node->accumulators;
}

static void begin_sum(const struct plan_group *group, struct pane_node *node, int64_t turn_us)
{
    drop_sums(group, node);
    node->sums = memory_new(sizeof *node->sums + group->accumulators_size);
    node->sums->turn_us = turn_us;
}

char *panes_sum_from_turn(const struct plan_group *group, const struct series *series,
                          struct pane_node *newest, int64_t turn_us)
{
    struct pane_node *from = newest, *older;

    assert(newest->start_us >= turn_us);
    while (!has_sum(from, turn_us) && (older = from->next) && older->start_us >= turn_us)
        from = older;
    if (from == newest)
        return sum_at(newest, turn_us);
    if (has_sum(from, turn_us)) {
        drop_sums(group, newest);
        newest->sums = from->sums;
        from->sums = NULL;
    } else {
        begin_sum(group, newest, turn_us);
        accumulators_include(group, newest->sums->accumulators, from->accumulators);
    }
    while (from != newest) {
        from = panes_newer(series, from);
        accumulators_include(group, newest->sums->accumulators, from->accumulators);
    }
    return newest->sums->accumulators;
}

char *panes_sum_to_turn(const struct plan_group *group, const struct series *series, struct pane_node *oldest,
                        int64_t turn_us)
{
    struct pane_node *last = oldest, *newer;

    assert(oldest->start_us < turn_us);
    if (has_sum(oldest, turn_us))
        return oldest->sums->accumulators;
    while ((newer = panes_newer(series, last)) && newer->start_us < turn_us)
        last = newer;
    drop_sums(group, last); /* to where the span had come */
    for (struct pane_node *node = last; node != oldest; node = node->next) {
        begin_sum(group, node->next, turn_us);
        accumulators_include(group, node->next->sums->accumulators, sum_at(node, turn_us));
        accumulators_include(group, node->next->sums->accumulators, node->next->accumulators);
    }
    return sum_at(oldest, turn_us);
}
