/* Columns of a batch against a naive model: whatever was written, taken back or reset before, a row that
 * add hands out is absent in every column. */
#include "schemas/event.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { ROWS = 37 };

static char first_label[] = "team", second_label[] = "zone";
static const struct label_names label_names = {.names = {first_label, second_label}, .count = 2};

static void assert_absent(const struct event_batch *batch, uint32_t row)
{
    for (int i = 0; i < FIELD_COUNT; i++) {
        const void *column = event_column(batch, (enum field)i);

        switch (field_rows[i].type) {
        case FIELD_TIME:
            assert_true(((const int64_t *)column)[row] == TIME_NONE);
            break;
        case FIELD_TEXT:
            assert_int_equal(((const struct span *)column)[row].size, 0);
            break;
        case FIELD_NUMBER:
            assert_true(isnan(((const double *)column)[row]));
            break;
        case FIELD_INTEGER:
            assert_int_equal(((const int32_t *)column)[row], INT32_MIN);
            break;
        case FIELD_SMALL:
            assert_int_equal(((const uint16_t *)column)[row], 0);
            break;
        case FIELD_STATE:
        case FIELD_KIND:
            assert_int_equal(((const uint8_t *)column)[row], 0);
            break;
        }
    }
    assert_int_equal(batch->mark[row], MARK_OK);
    assert_int_equal(batch->notes[row], 0);
    assert_int_equal(batch->item[row], 0);
    assert_true(batch->arrival_us[row] == TIME_NONE && batch->watermark_us[row] == INT64_MIN);
    assert_int_equal(batch->payload[row].size, 0);
    assert_null(batch->reason[row]);
    for (unsigned i = 0; i < batch->label_columns; i++)
        assert_int_equal(batch->labels[i][row].size, 0);
}

static void write_row(struct event_batch *batch, uint32_t row)
{
    const struct span text = SPAN_LITERAL("dirty");

    for (int i = 0; i < FIELD_COUNT; i++) {
        void *column = event_column(batch, (enum field)i);

        switch (field_rows[i].type) {
        case FIELD_TIME:
            ((int64_t *)column)[row] = 1;
            break;
        case FIELD_TEXT:
            ((struct span *)column)[row] = text;
            break;
        case FIELD_NUMBER:
            ((double *)column)[row] = 1.5;
            break;
        case FIELD_INTEGER:
            ((int32_t *)column)[row] = 1;
            break;
        case FIELD_SMALL:
            ((uint16_t *)column)[row] = 1;
            break;
        case FIELD_STATE:
        case FIELD_KIND:
            ((uint8_t *)column)[row] = 1;
            break;
        }
    }
    batch->mark[row] = MARK_MALFORMED;
    batch->notes[row] = NOTE_LATE;
    batch->partition[row] = 9;
    batch->offset[row] = 9;
    batch->item[row] = 9;
    batch->arrival_us[row] = batch->watermark_us[row] = 9;
    batch->payload[row] = text;
    batch->reason[row] = "because";
    for (unsigned i = 0; i < batch->label_columns; i++)
        batch->labels[i][row] = text;
}

static void a_new_batch_is_empty_and_ends_at_its_limit(void **state)
{
    struct event_batch batch;

    event_batch_init(&batch, ROWS, &label_names);
    assert_int_equal(batch.rows, 0);
    for (uint32_t row = 0; row < ROWS; row++) {
        assert_int_equal(event_batch_add(&batch), row);
        assert_absent(&batch, row);
        write_row(&batch, row);
    }
    assert_int_equal(event_batch_add(&batch), UINT32_MAX);
    assert_int_equal(batch.rows, ROWS);
    event_batch_free(&batch);
}

static void rows_are_absent_after_any_history(void **state)
{
    struct event_batch batch;
    uint32_t seed = 20261121;

    event_batch_init(&batch, ROWS, &label_names);
    for (int step = 0; step < 4000; step++) {
        seed = seed * 1664525u + 1013904223u;
        uint32_t choice = seed >> 24;
        if (choice < 4) {
            event_batch_reset(&batch);
            assert_int_equal(batch.rows, 0);
        } else if (choice < 24) {
            batch.rows -= batch.rows ? (seed >> 8) % batch.rows : 0; /* a format takes rows back */
        } else if (batch.rows < ROWS) {
            uint32_t row = event_batch_add(&batch);

            assert_int_equal(row, batch.rows - 1);
            assert_absent(&batch, row);
            write_row(&batch, row);
        }
    }
    event_batch_free(&batch);
}

static void add_leaves_the_rows_before_alone(void **state)
{
    struct event_batch batch;

    event_batch_init(&batch, ROWS, NULL);
    assert_int_equal(batch.label_columns, 0);
    for (int i = 0; i < 10; i++)
        write_row(&batch, event_batch_add(&batch));
    batch.rows = 5;
    event_batch_add(&batch);
    for (uint32_t row = 0; row < 5; row++) {
        assert_true(span_is(batch.message[row], "dirty"));
        assert_int_equal(batch.partition[row], 9);
    }
    event_batch_free(&batch);
}

static void reset_releases_the_texts(void **state)
{
    struct event_batch batch;
    struct span copy;

    event_batch_init(&batch, ROWS, NULL);
    assert_true(arena_copy(&batch.text, SPAN_LITERAL("outlives its message"), &copy));
    assert_true(batch.text.used > 0);
    event_batch_reset(&batch);
    assert_int_equal(batch.text.used, 0);
    event_batch_free(&batch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_batch_is_empty_and_ends_at_its_limit),
        cmocka_unit_test(rows_are_absent_after_any_history),
        cmocka_unit_test(add_leaves_the_rows_before_alone),
        cmocka_unit_test(reset_releases_the_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
