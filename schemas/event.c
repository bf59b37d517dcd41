/* Birth, clearing and growth of a batch's columns. add runs once an event, reset once a batch.
 * Rows not yet handed out are kept absent in every column, so that add touches no column; reset restores
 * that with one pass a column. Considered and left: clearing the row in add, which scatters over 48 cache
 * lines an event; one block for all columns, which hides overruns from the address sanitizer. */
#include "schemas/event.h"

#include "base/memory.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

enum absent { ABSENT_ZERO, ABSENT_TIME, ABSENT_NAN, ABSENT_INTEGER };

struct column_shape {
    size_t size; /* bytes a row */
    enum absent absent;
};

static const struct column_shape field_shapes[] = {
    [FIELD_TIME] = {sizeof(int64_t), ABSENT_TIME},   [FIELD_TEXT] = {sizeof(struct span), ABSENT_ZERO},
    [FIELD_NUMBER] = {sizeof(double), ABSENT_NAN},   [FIELD_INTEGER] = {sizeof(int32_t), ABSENT_INTEGER},
    [FIELD_SMALL] = {sizeof(uint16_t), ABSENT_ZERO}, [FIELD_STATE] = {sizeof(uint8_t), ABSENT_ZERO},
    [FIELD_KIND] = {sizeof(uint8_t), ABSENT_ZERO},
};

/* The columns that are no fields. A watermark before the first row is INT64_MIN, as an absent time is. */
static const struct worker_column {
    size_t column;
    struct column_shape shape;
} worker_columns[] = {
    {offsetof(struct event_batch, mark), {sizeof(uint8_t), ABSENT_ZERO}},
    {offsetof(struct event_batch, notes), {sizeof(uint8_t), ABSENT_ZERO}},
    {offsetof(struct event_batch, partition), {sizeof(uint32_t), ABSENT_ZERO}},
    {offsetof(struct event_batch, offset), {sizeof(int64_t), ABSENT_ZERO}},
    {offsetof(struct event_batch, item), {sizeof(uint16_t), ABSENT_ZERO}},
    {offsetof(struct event_batch, arrival_us), {sizeof(int64_t), ABSENT_TIME}},
    {offsetof(struct event_batch, watermark_us), {sizeof(int64_t), ABSENT_TIME}},
    {offsetof(struct event_batch, payload), {sizeof(struct span), ABSENT_ZERO}},
    {offsetof(struct event_batch, reason), {sizeof(char *), ABSENT_ZERO}},
};

enum { WORKER_COLUMNS = sizeof worker_columns / sizeof *worker_columns };

static void clear_column(void *column, struct column_shape shape, uint32_t first, uint32_t end)
{
    switch (shape.absent) {
    case ABSENT_ZERO:
        memset((char *)column + first * shape.size, 0, (end - first) * shape.size);
        break;
    case ABSENT_TIME:
        for (uint32_t i = first; i < end; i++)
            ((int64_t *)column)[i] = TIME_NONE;
        break;
    case ABSENT_NAN:
        for (uint32_t i = first; i < end; i++)
            ((double *)column)[i] = NAN;
        break;
    case ABSENT_INTEGER:
        for (uint32_t i = first; i < end; i++)
            ((int32_t *)column)[i] = INT32_MIN;
        break;
    }
}

typedef void column_visit(struct event_batch *batch, void **column, struct column_shape shape, uint32_t first,
                          uint32_t end);

static void visit_columns(struct event_batch *batch, column_visit *visit, uint32_t first, uint32_t end)
{
    for (unsigned i = 0; i < FIELD_COUNT; i++)
        visit(batch, (void **)((char *)batch + field_rows[i].column), field_shapes[field_rows[i].type], first,
              end);
    for (unsigned i = 0; i < WORKER_COLUMNS; i++)
        visit(batch, (void **)((char *)batch + worker_columns[i].column), worker_columns[i].shape, first,
              end);
    for (unsigned i = 0; i < batch->label_columns; i++)
        visit(batch, (void **)&batch->labels[i], field_shapes[FIELD_TEXT], first, end);
}

static void visit_new(struct event_batch *batch, void **column, struct column_shape shape, uint32_t first,
                      uint32_t end)
{
    *column = memory_new(batch->row_limit * shape.size);
    clear_column(*column, shape, first, end);
}

static void visit_clear(struct event_batch *batch, void **column, struct column_shape shape, uint32_t first,
                        uint32_t end)
{
    clear_column(*column, shape, first, end);
}

static void visit_free(struct event_batch *batch, void **column, struct column_shape shape, uint32_t first,
                       uint32_t end)
{
    free(*column);
    *column = NULL;
}

void event_batch_init(struct event_batch *batch, uint32_t row_limit, const struct label_names *label_names)
{
    assert(row_limit > 0 && row_limit <= BATCH_ROWS_MAX);
    *batch = (struct event_batch){
        .row_limit = row_limit,
        .label_names = label_names,
        .label_columns = label_names ? label_names->count : 0,
    };
    arena_init(&batch->text, EVENT_TEXT_MAX);
    visit_columns(batch, visit_new, 0, row_limit);
}

void event_batch_free(struct event_batch *batch)
{
    visit_columns(batch, visit_free, 0, 0);
    arena_free(&batch->text);
    batch->rows = batch->touched = batch->row_limit = 0;
}

static void copy_value(void *const *to, void *const *from, struct column_shape shape, uint32_t row)
{
    memcpy(*to, (const char *)*from + row * shape.size, shape.size);
}

void event_batch_copy_row(const struct event_batch *from, uint32_t row, struct event_batch *to)
{
    assert(row < from->rows && to->label_columns == from->label_columns);
    event_batch_reset(to);
    event_batch_add(to);
    for (unsigned i = 0; i < FIELD_COUNT; i++)
        copy_value((void **)((char *)to + field_rows[i].column),
                   (void **)((char *)from + field_rows[i].column), field_shapes[field_rows[i].type], row);
    for (unsigned i = 0; i < WORKER_COLUMNS; i++)
        copy_value((void **)((char *)to + worker_columns[i].column),
                   (void **)((char *)from + worker_columns[i].column), worker_columns[i].shape, row);
    for (unsigned i = 0; i < from->label_columns; i++)
        copy_value((void **)&to->labels[i], (void **)&from->labels[i], field_shapes[FIELD_TEXT], row);
}

void event_batch_reset(struct event_batch *batch)
{
    visit_columns(batch, visit_clear, 0, batch->touched);
    batch->rows = batch->touched = 0;
    arena_reset(&batch->text);
}

uint32_t event_batch_add(struct event_batch *batch)
{
    uint32_t row = batch->rows;

    assert(row <= batch->touched);
    if (row == batch->row_limit)
        return UINT32_MAX;
    /* A format that gives up half-way takes its rows back by lowering `rows`: these are not absent any
     * more. */
    if (row < batch->touched) {
        visit_columns(batch, visit_clear, row, batch->touched);
        batch->touched = row;
    }
    batch->rows = batch->touched = row + 1;
    return row;
}
