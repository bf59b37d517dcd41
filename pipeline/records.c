/* Runs once a message of a format that joins. All payloads are copied, some 10 ns each beside a pattern's
 * hundreds: the source may then release its messages at once, and a record is one piece of memory whether it
 * came in one poll or in several. */
#include "pipeline/records.h"

#include "base/memory.h"

#include <stdlib.h>

void records_free(struct records *records)
{
    buffer_free(&records->text);
    free(records->messages);
}

void held_record_free(struct held_record *held)
{
    buffer_free(&held->text);
    free(held->ends);
}

void held_record_end(struct held_record *held, int64_t offset)
{
    held->ends = memory_reserve(held->ends, &held->end_capacity, held->end_count + 1, sizeof *held->ends);
    held->ends[held->end_count++] = offset;
}

void held_record_forget(struct held_record *held, int64_t low_offset)
{
    size_t kept = 0;

    for (size_t i = 0; i < held->end_count; i++)
        if (held->ends[i] > low_offset)
            held->ends[kept++] = held->ends[i];
    held->end_count = kept;
}

/* The record being put together is the end of `text`, from `start` on. */
struct joining {
    struct records *records;
    struct held_record *held; /* its numbers are those of the record at hand */
    size_t start;
};

static bool is_open(const struct joining *joining)
{
    return joining->held->lines > 0;
}

/* The record is complete: spans become pointers when the buffer has stopped growing. */
static void finish(struct joining *joining)
{
    struct records *records = joining->records;
    struct held_record *held = joining->held;

    records->messages =
        memory_reserve(records->messages, &records->capacity, records->count + 1, sizeof *records->messages);
    records->messages[records->count++] = (struct message){
        .payload = span_make((const char *)(uintptr_t)joining->start, records->text.size - joining->start),
        .offset = held->offset,
        .arrival_us = held->arrival_us};
    records->next_offset = held->last_offset + 1;
    joining->start = records->text.size;
    held->lines = 0;
}

static bool ends_before(const struct held_record *held, int64_t offset)
{
    for (size_t i = 0; i < held->end_count; i++)
        if (held->ends[i] > held->last_offset && held->ends[i] <= offset)
            return true;
    return false;
}

static bool belongs(const struct joining *joining, struct format *format, const struct format_type *type,
                    const struct message *message)
{
    const struct records *records = joining->records;
    const struct held_record *held = joining->held;
    struct span before = span_make(records->text.data + joining->start, records->text.size - joining->start);

    return held->lines < RECORD_LINES_MAX && before.size + 1 + message->payload.size <= RECORD_BYTES_MAX &&
           before.size > 0 && message->payload.size > 0 && !ends_before(held, message->offset) &&
           type->continues(format, before, message->payload);
}

static void begin(struct joining *joining, const struct message *message)
{
    joining->held->offset = message->offset;
    joining->held->arrival_us = message->arrival_us;
    joining->start = joining->records->text.size;
}

void records_take(struct records *records, struct held_record *held, struct format *format,
                  const struct format_type *type, const struct message *polled, size_t count, bool all)
{
    struct joining joining = {.records = records, .held = held};

    records->text.limit = SIZE_MAX; /* bounded by what the source gives in one poll */
    buffer_clear(&records->text);
    records->count = 0;
    buffer_put_span(&records->text, buffer_span(&held->text));
    for (size_t i = 0; i < count; i++) {
        const struct message *message = &polled[i];

        if (is_open(&joining) && !belongs(&joining, format, type, message))
            finish(&joining);
        if (is_open(&joining))
            buffer_put_char(&records->text, '\n');
        else
            begin(&joining, message);
        buffer_put_span(&records->text, message->payload);
        held->last_offset = message->offset;
        held->lines++;
    }
    if (all && is_open(&joining))
        finish(&joining);
    held->text.limit = SIZE_MAX;
    if (held->text.capacity > 2 * RECORD_BYTES_MAX) /* after a huge message */
        buffer_free(&held->text);
    buffer_clear(&held->text);
    buffer_put(&held->text, records->text.data + joining.start, records->text.size - joining.start);
    for (size_t i = 0; i < records->count; i++)
        records->messages[i].payload.data = records->text.data + (uintptr_t)records->messages[i].payload.data;
}
