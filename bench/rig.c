/* Runs once a batch, outside what is measured. */
#include "bench/rig.h"

#include "bench/workload.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { EVENT_BYTES_MAX = 4096, PATH_BYTES = 256, PLAN_BYTES_MAX = 16 * 1024 * 1024 };

static const char source[] = "sources:\n"
                             "  - {name: tasks, type: file, path: events.jsonl, format: task_json}\n";

static bool write_plan(int file, const char *text)
{
    FILE *stream = fdopen(file, "w");
    bool written = stream && fputs(text, stream) >= 0;

    if (stream)
        written = fclose(stream) == 0 && written;
    return written;
}

/* Plans come from files, which errors name. */
enum status rig_plan(const char *text, struct plan **ret_plan, struct error *ret_error)
{
    const char *parent = getenv("TMPDIR");
    char path[PATH_BYTES];
    enum status status;
    int file;

    (void)snprintf(path, sizeof path, "%s/weir-bench-XXXXXX", parent && parent[0] ? parent : "/tmp");
    file = mkstemp(path);
    if (file < 0)
        return fail(ret_error, "%s: %s", path, strerror(errno));
    status = write_plan(file, text) ? plan_load(path, NULL, 0, ret_plan, ret_error)
                                    : fail(ret_error, "%s: cannot be written", path);
    (void)unlink(path);
    return status;
}

enum status rig_open(const struct generator_options *options, const char *sections, struct rig *ret_rig,
                     struct error *ret_error)
{
    struct rig *rig = ret_rig;
    const struct plan_format *format;
    struct buffer text;
    enum status status;

    *rig = (struct rig){.greatest_us = INT64_MIN};
    buffer_init(&text, PLAN_BYTES_MAX);
    workload_plan_head(true, &text);
    buffer_print(&text, "%s%s", source, sections);
    buffer_put_char(&text, '\0');
    status = rig_plan(text.data, &rig->plan, ret_error);
    buffer_free(&text);
    if (status != STATUS_OK)
        return status;
    format = &rig->plan->formats[rig->plan->sources[0].format];
    rig->format_type = format->type;
    if (format->type->open(format->settings, &(struct format_context){.labels = &rig->plan->labels},
                           &rig->format, ret_error) != STATUS_OK) {
        plan_free(rig->plan);
        return STATUS_FATAL;
    }
    generator_init(&rig->generator, options);
    event_batch_init(&rig->batch, RIG_ROWS, &rig->plan->labels);
    buffer_init(&rig->texts, (size_t)RIG_ROWS * EVENT_BYTES_MAX);
    return STATUS_OK;
}

void rig_close(struct rig *rig)
{
    rig->format_type->close(rig->format);
    event_batch_free(&rig->batch);
    buffer_free(&rig->texts);
    generator_free(&rig->generator);
    plan_free(rig->plan);
}

static void decode(struct rig *rig, size_t start, size_t end)
{
    const struct message message = {.payload = span_make(rig->texts.data + start, end - start),
                                    .offset = rig->offset++,
                                    .arrival_us = TIME_NONE};
    int64_t lateness = rig->plan->time.lateness;
    uint32_t row = rig->batch.rows;
    const char *reason;
    enum status status = rig->format_type->decode(rig->format, &message, &rig->batch, &reason);

    assert(status == STATUS_OK && rig->batch.rows == row + 1);
    rig->batch.partition[row] = 0;
    rig->batch.offset[row] = message.offset;
    rig->batch.arrival_us[row] = TIME_NONE;
    rig->batch.payload[row] = message.payload;
    rig->batch.watermark_us[row] = rig->greatest_us == INT64_MIN ? INT64_MIN : rig->greatest_us - lateness;
    if (rig->batch.time_us[row] > rig->greatest_us)
        rig->greatest_us = rig->batch.time_us[row];
}

bool rig_next(struct rig *rig)
{
    size_t ends[RIG_ROWS], count = 0;

    event_batch_reset(&rig->batch);
    buffer_clear(&rig->texts);
    for (; count < RIG_ROWS && generator_next(&rig->generator, &rig->texts); count++)
        ends[count] = rig->texts.size;
    for (size_t i = 0; i < count; i++)
        decode(rig, i ? ends[i - 1] : 0, ends[i]);
    return count > 0;
}
