/* Runs once over some thousand alerts: sorting is all it takes. */
#include "tuning/alert_diff.h"

#include "base/hash.h"
#include "base/memory.h"
#include "base/slots.h"
#include "base/timestamp.h"

#include <stdlib.h>
#include <yajl/yajl_tree.h>

struct one {
    struct id128 identity; /* of rule, target and labels */
    char *rule, *target, *summary;
    int64_t starts_us, ends_us; /* ends: INT64_MAX while open */
    bool fired, matched;
    const struct one *moved_to;
};

struct alert_list {
    struct slots slots; /* by episode */
    struct one *items;
    size_t count, capacity;
};

struct alert_list *alert_list_new(void)
{
    struct alert_list *list = memory_new(sizeof *list);

    slots_init(&list->slots, SLOT_NONE);
    return list;
}

void alert_list_free(struct alert_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i].rule);
        free(list->items[i].target);
        free(list->items[i].summary);
    }
    free(list->items);
    slots_free(&list->slots);
    free(list);
}

static struct span text_at(yajl_val line, const char *object, const char *name)
{
    const char *path[] = {object ? object : name, object ? name : NULL, NULL};
    yajl_val value = yajl_tree_get(line, path, yajl_t_string);

    return value ? span_of(YAJL_GET_STRING(value)) : SPAN_LITERAL("");
}

static int64_t time_at(yajl_val line, const char *name, int64_t otherwise)
{
    int64_t time_us = otherwise;

    time_parse(text_at(line, NULL, name), TIME_UNIT_AUTO, TIME_NONE, &time_us);
    return time_us;
}

static struct id128 identity_of(yajl_val line)
{
    const char *labels_path[] = {"labels", NULL};
    yajl_val labels = yajl_tree_get(line, labels_path, yajl_t_object);
    struct id_builder builder;

    id_begin(&builder);
    id_add_text(&builder, text_at(line, NULL, "rule"));
    id_add_text(&builder, text_at(line, NULL, "target"));
    for (size_t i = 0; YAJL_IS_OBJECT(labels) && i < labels->u.object.len; i++) {
        const char *name = labels->u.object.keys[i];

        id_add_text(&builder, span_of(name));
        id_add_text(&builder, text_at(line, "labels", name));
    }
    return id_end(&builder);
}

static struct id128 episode_of(yajl_val line)
{
    struct id_builder builder;

    id_begin(&builder);
    id_add_text(&builder, text_at(line, NULL, "episode"));
    return id_end(&builder);
}

static char *copy_of(struct span text)
{
    return memory_text(text.data, text.size);
}

static void add_line(struct alert_list *list, yajl_val line)
{
    bool is_new;
    uint32_t slot = slots_add(&list->slots, episode_of(line), &is_new);

    if (is_new) {
        list->items = memory_reserve(list->items, &list->capacity, slot + 1u, sizeof *list->items);
        list->items[slot] = (struct one){.identity = identity_of(line),
                                         .rule = copy_of(text_at(line, NULL, "rule")),
                                         .target = copy_of(text_at(line, NULL, "target")),
                                         .summary = copy_of(text_at(line, "annotations", "summary")),
                                         .starts_us = time_at(line, "starts_at", 0)};
        list->count = slot + 1u;
    }
    struct one *one = &list->items[slot];

    one->fired |= span_is(text_at(line, NULL, "state"), "firing");
    one->ends_us = time_at(line, "ends_at", INT64_MAX);
}

void alert_list_add(struct alert_list *list, struct span line)
{
    char *text = memory_text(line.data, line.size), reason[128];
    yajl_val tree = yajl_tree_parse(text, reason, sizeof reason);

    if (YAJL_IS_OBJECT(tree))
        add_line(list, tree);
    yajl_tree_free(tree);
    free(text);
}

static int compare_times(const struct one *a, const struct one *b)
{
    int identity = id_compare(a->identity, b->identity);

    if (a->starts_us != b->starts_us)
        return a->starts_us < b->starts_us ? -1 : 1;
    return identity;
}

/* By identity, then in time. */
static int compare_identities(const void *left, const void *right)
{
    const struct one *const *a = left, *const *b = right;
    int identity = id_compare((*a)->identity, (*b)->identity);

    return identity ? identity : compare_times(*a, *b);
}

static int compare_places(const void *left, const void *right)
{
    const struct one *const *a = left, *const *b = right;
    int order = compare_times(*a, *b);

    return order ? order : (*a > *b) - (*a < *b);
}

/* Those that fired. */
static struct one **sorted(struct alert_list *list, size_t *ret_count)
{
    struct one **ones = memory_new((list->count + 1) * sizeof *ones);

    *ret_count = 0;
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].fired)
            ones[(*ret_count)++] = &list->items[i];
    qsort(ones, *ret_count, sizeof *ones, compare_identities);
    return ones;
}

static bool is_moved(const struct one *before, const struct one *after, int64_t within_us)
{
    int64_t apart_us = before->starts_us < after->starts_us ? after->starts_us - before->starts_us
                                                            : before->starts_us - after->starts_us;

    return apart_us <= within_us ||
           (before->starts_us <= after->ends_us && after->starts_us <= before->ends_us);
}

/* Equal starts find each other first, so that an alert in between does not shift all that follow. */
static void match(struct one **before, size_t before_count, struct one **after, size_t after_count,
                  bool exact, int64_t within_us)
{
    for (size_t a = 0, b = 0; a < before_count && b < after_count;) {
        int order = id_compare(before[a]->identity, after[b]->identity);

        if (before[a]->matched) {
            a++;
        } else if (after[b]->matched) {
            b++;
        } else if (order == 0 && (exact ? before[a]->starts_us == after[b]->starts_us
                                        : is_moved(before[a], after[b], within_us))) {
            before[a]->matched = after[b]->matched = true;
            before[a]->moved_to = exact ? NULL : after[b];
        } else if (order < 0 || (order == 0 && before[a]->starts_us < after[b]->starts_us)) {
            a++;
        } else {
            b++;
        }
    }
}

static void put_time(int64_t time_us, struct buffer *out)
{
    char text[TIME_TEXT_SIZE];

    time_format(time_us, text);
    buffer_print(out, "%.19sZ", text);
}

static void put_one(const char *word, const struct one *one, struct buffer *out)
{
    buffer_print(out, "%-7s ", word);
    put_time(one->starts_us, out);
    if (one->moved_to) {
        int64_t moved_us = one->moved_to->starts_us - one->starts_us;
        char text[24];

        duration_format(moved_us < 0 ? -moved_us : moved_us, text);
        buffer_print(out, " (%s %s)", text, moved_us < 0 ? "earlier" : "later");
    }
    buffer_put_char(out, ' ');
    buffer_put_plain(out, span_of(one->rule));
    buffer_put_char(out, ' ');
    buffer_put_plain(out, span_of(one->target));
    buffer_put_text(out, one->summary[0] ? ": " : "");
    buffer_put_plain(out, span_of(one->summary));
    buffer_put_char(out, '\n');
}

static void put_differences(struct one **before, size_t before_count, struct one **after, size_t after_count,
                            struct buffer *out, struct alert_diff *diff)
{
    qsort(before, before_count, sizeof *before, compare_places);
    qsort(after, after_count, sizeof *after, compare_places);
    for (size_t a = 0, b = 0; a < before_count || b < after_count;) {
        bool first = b == after_count || (a < before_count && compare_times(before[a], after[b]) <= 0);
        const struct one *one = first ? before[a++] : after[b++];

        if (!one->matched) {
            diff->lost += first;
            diff->gained += !first;
            put_one(first ? "lost" : "gained", one, out);
        } else if (first) {
            diff->moved += one->moved_to != NULL;
            diff->same += one->moved_to == NULL;
            if (one->moved_to)
                put_one("moved", one, out);
        }
    }
}

void alert_list_compare(struct alert_list *before, struct alert_list *after, int64_t within_us,
                        struct buffer *out, struct alert_diff *ret_diff)
{
    struct alert_diff diff = {0};
    struct one **left = sorted(before, &diff.before), **right = sorted(after, &diff.after);

    match(left, diff.before, right, diff.after, true, within_us);
    match(left, diff.before, right, diff.after, false, within_us);
    put_differences(left, diff.before, right, diff.after, out, &diff);
    free(left);
    free(right);
    *ret_diff = diff;
}
