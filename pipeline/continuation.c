#include "pipeline/continuation.h"

#include "base/json_writer.h"
#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>

enum { LAYOUT = 1, TEXT_BYTES_MAX = 1 << 20 };

struct kept_measure {
    uint64_t identity;
    int64_t since_us, until_us, window_us;
    struct span text;
};

static void put_texts(struct json_writer *json, const char *key, const struct option_texts *texts)
{
    json_open_list(json, key);
    for (size_t i = 0; i < texts->count; i++)
        json_text(json, NULL, span_of(texts->items[i]));
    json_close_list(json);
}

static void put_duration(struct json_writer *json, const char *key, int64_t duration_us)
{
    char text[40];
    int size = snprintf(text, sizeof text, "%lld.%03lldms", (long long)(duration_us / 1000),
                        (long long)(duration_us % 1000));

    json_text(json, key, span_make(text, (size_t)size));
}

/* The measure as a configuration, which is JSON and so YAML too. */
static void put_measure(const struct plan_measure *measure, struct buffer *out)
{
    struct json_writer json;

    json_begin(&json, out);
    json_open(&json, NULL);
    json_text(&json, "name", span_of(measure->name));
    json_text(&json, "on", span_of(measure->shape.on_run ? "run" : "event"));
    json_text(&json, "of", span_of(measure->of));
    json_text_if(&json, "where", span_of(measure->where_text));
    json_text_if(&json, "ratio", span_of(measure->ratio_text));
    json_text_if(&json, "unit", span_of(measure->unit));
    put_texts(&json, "by", &measure->by);
    put_texts(&json, "statistics", &measure->statistics);
    put_duration(&json, "every", measure->every);
    put_duration(&json, "window", measure->shape.window_us);
    json_close(&json);
}

void continuation_pack(const struct plan *plan, int64_t greatest_us, struct buffer *out)
{
    struct buffer text;

    buffer_init(&text, TEXT_BYTES_MAX);
    pack_u8(out, LAYOUT);
    pack_i64(out, greatest_us);
    pack_u32(out, plan->measure_count);
    for (unsigned i = 0; i < plan->measure_count; i++) {
        const struct plan_measure *measure = &plan->measures[i];

        pack_u64(out, measure->identity);
        pack_i64(out, measure->since_us);
        pack_i64(out, measure->until_us);
        pack_i64(out, measure->shape.window_us);
        buffer_clear(&text);
        put_measure(measure, &text);
        pack_text(out, buffer_span(&text));
    }
    buffer_free(&text);
}

static struct plan_measure *find_measure(const struct plan *plan, uint64_t identity)
{
    for (unsigned i = 0; i < plan->measure_count; i++)
        if (plan->measures[i].identity == identity)
            return &plan->measures[i];
    return NULL;
}

static bool was_kept(const struct kept_measure *kept, size_t count, uint64_t identity)
{
    for (size_t i = 0; i < count; i++)
        if (kept[i].identity == identity)
            return true;
    return false;
}

/* Some buckets that had begun may still be open, or corrected. */
static bool still_drains(const struct plan *plan, const struct kept_measure *kept, int64_t greatest_us)
{
    return kept->until_us == INT64_MAX ||
           greatest_us < kept->until_us + kept->window_us + plan->time.lateness + plan->time.correct_for;
}

static bool differs(const struct plan *plan, const struct kept_measure *kept, size_t count)
{
    for (unsigned i = 0; i < plan->measure_count; i++)
        if (!was_kept(kept, count, plan->measures[i].identity))
            return true;
    for (size_t i = 0; i < count; i++)
        if (kept[i].since_us != INT64_MIN || !find_measure(plan, kept[i].identity))
            return true;
    return false;
}

/* The file's measures, and those kept ones that it no longer has. */
static enum status make_plan(const struct plan *plan, const struct kept_measure *kept, size_t count,
                             int64_t greatest_us, struct plan **ret_plan, struct error *error)
{
    struct span *texts = memory_new((count + 1) * sizeof *texts);
    size_t text_count = 0;
    enum status status;

    for (size_t i = 0; i < count; i++)
        if (!find_measure(plan, kept[i].identity) && still_drains(plan, &kept[i], greatest_us))
            texts[text_count++] = kept[i].text;
    status = plan_load_again(plan, texts, text_count, ret_plan, error);
    free(texts);
    return status;
}

/* What began before the moment of the cut belongs to the old measures, the rest to the new ones. */
static void set_bounds(const struct plan *file, struct plan *plan, const struct kept_measure *kept,
                       size_t count, int64_t greatest_us)
{
    for (unsigned i = 0; i < plan->measure_count; i++)
        if (greatest_us != INT64_MIN && !was_kept(kept, count, plan->measures[i].identity))
            plan->measures[i].since_us = greatest_us + 1;
    for (size_t i = 0; i < count; i++) {
        struct plan_measure *measure = find_measure(plan, kept[i].identity);

        if (!measure)
            continue;
        measure->since_us = kept[i].since_us;
        if (!find_measure(file, kept[i].identity))
            measure->until_us = kept[i].until_us != INT64_MAX ? kept[i].until_us : greatest_us + 1;
    }
}

enum status continuation_plan(const struct plan *plan, struct span value, struct plan **ret_plan,
                              struct error *ret_error)
{
    struct unpack in = unpack_begin(value);
    struct kept_measure *kept;
    int64_t greatest_us;
    uint32_t count;
    enum status status = STATUS_OK;

    if (unpack_u8(&in) != LAYOUT)
        return fail(ret_error, "the list of measures has a layout that this version does not read");
    greatest_us = unpack_i64(&in);
    count = unpack_u32(&in);
    if (in.broken || count > value.size)
        return fail(ret_error, "the list of measures is damaged");
    kept = memory_new((count + 1u) * sizeof *kept);
    for (uint32_t i = 0; i < count; i++) {
        kept[i].identity = unpack_u64(&in);
        kept[i].since_us = unpack_i64(&in);
        kept[i].until_us = unpack_i64(&in);
        kept[i].window_us = unpack_i64(&in);
        kept[i].text = unpack_text(&in);
    }
    *ret_plan = NULL;
    if (!unpack_ended(&in)) {
        status = fail(ret_error, "the list of measures is damaged");
    } else if (differs(plan, kept, count)) {
        status = make_plan(plan, kept, count, greatest_us, ret_plan, ret_error);
        if (status == STATUS_OK)
            set_bounds(plan, *ret_plan, kept, count, greatest_us);
    }
    free(kept);
    return status;
}
