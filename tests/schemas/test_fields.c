/* The table of fields against its own rules, and values of each type as text and as number. */
#include "base/buffer.h"
#include "schemas/event.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void rows_have_unique_names_paths_and_columns(void **state)
{
    for (int i = 0; i < FIELD_COUNT; i++) {
        const struct field_row *row = &field_rows[i];

        assert_non_null(row->name);
        assert_true(row->help[0] != '\0');
        assert_int_equal(field_find(span_of(row->name)), i);
        for (int j = 0; j < i; j++) {
            assert_string_not_equal(row->name, field_rows[j].name);
            assert_string_not_equal(row->path, field_rows[j].path);
            assert_true(row->column != field_rows[j].column);
        }
    }
    assert_int_equal(field_find(SPAN_LITERAL("workflo")), -1);
    assert_int_equal(field_find(SPAN_LITERAL("workflow2")), -1);
    assert_int_equal(field_find((struct span){0}), -1);
}

/* Each object of a document is written from one range of rows. */
static void rows_of_one_object_stand_together(void **state)
{
    for (int i = 1; i < FIELD_COUNT; i++) {
        size_t size = strcspn(field_rows[i].path, ".") + 1;

        if (strncmp(field_rows[i].path, field_rows[i - 1].path, size) == 0)
            continue;
        for (int j = 0; j < i; j++)
            assert_true(strncmp(field_rows[i].path, field_rows[j].path, size) != 0);
    }
}

static void column_types_fit_their_mapping(void **state)
{
    static const char *const mapping[] = {
        [FIELD_TIME] = "date",   [FIELD_NUMBER] = "double", [FIELD_INTEGER] = "integer",
        [FIELD_SMALL] = "short", [FIELD_STATE] = "keyword", [FIELD_KIND] = "keyword",
    };

    for (int i = 0; i < FIELD_COUNT; i++) {
        if (field_rows[i].type == FIELD_TEXT)
            assert_true(strcmp(field_rows[i].es_type, "keyword") == 0 ||
                        strcmp(field_rows[i].es_type, "text") == 0);
        else if (i != F_DURATION_MS)
            assert_string_equal(field_rows[i].es_type, mapping[field_rows[i].type]);
    }
    assert_string_equal(field_rows[F_DURATION_MS].es_type, "long");
}

static void states_are_the_closed_list(void **state)
{
    static const char *const terminal[] = {"success",         "failed",    "skipped",
                                           "upstream_failed", "cancelled", "timed_out"};
    unsigned terminals = 0;

    for (int i = STATE_QUEUED; i < STATE_COUNT; i++) {
        assert_int_equal(run_state_find(span_of(run_state_names[i])), i);
        terminals += run_state_is_terminal((enum run_state)i);
    }
    assert_int_equal(terminals, 6);
    for (int i = 0; i < 6; i++)
        assert_true(run_state_is_terminal(run_state_find(span_of(terminal[i]))));
    assert_int_equal(run_state_find(SPAN_LITERAL("")), STATE_COUNT);
    assert_int_equal(run_state_find(SPAN_LITERAL("Success")), STATE_COUNT);
    assert_string_equal(run_state_names[STATE_NONE], "");
}

static bool parse(const char *name, struct label_names *labels, struct field_ref *ret_ref)
{
    return field_ref_parse(span_of(name), labels, ret_ref);
}

static void free_names(struct label_names *labels)
{
    for (unsigned i = 0; i < labels->count; i++)
        free(labels->names[i]);
}

static void references_name_fields_and_labels(void **state)
{
    struct label_names labels = {0};
    struct field_ref ref = {0};

    assert_true(parse("workflow", &labels, &ref));
    assert_int_equal(ref.field, F_WORKFLOW);
    assert_string_equal(field_ref_name(ref, &labels), "workflow");
    assert_true(parse("labels.team", &labels, &ref));
    assert_int_equal(ref.field, FIELD_COUNT);
    assert_int_equal(ref.label, 0);
    assert_true(parse("labels.k8s.io/zone", &labels, &ref));
    assert_int_equal(ref.label, 1);
    assert_string_equal(field_ref_name(ref, &labels), "k8s.io/zone");
    assert_true(parse("labels.team", &labels, &ref));
    assert_int_equal(ref.label, 0);
    assert_int_equal(labels.count, 2);

    ref.label = 77;
    assert_false(parse("nothing", &labels, &ref));
    assert_false(parse("labels.", &labels, &ref));
    assert_false(parse("labels", &labels, &ref));
    assert_false(parse("labels.a b", &labels, &ref));
    assert_false(parse("labels.a\n", &labels, &ref));
    assert_false(parse("labels.k8s_io/zone", &labels, &ref)); /* one key with k8s.io/zone in documents */
    assert_int_equal(ref.label, 77);
    assert_int_equal(labels.count, 2);
    free_names(&labels);
}

static void labels_end_at_their_maximum(void **state)
{
    struct label_names labels = {0};
    struct field_ref ref;
    struct buffer name;

    buffer_init(&name, 64);
    for (int i = 0; i <= LABELS_MAX; i++) {
        buffer_clear(&name);
        buffer_print(&name, "labels.l%d", i);
        assert_int_equal(field_ref_parse(buffer_span(&name), &labels, &ref), i < LABELS_MAX);
    }
    assert_int_equal(labels.count, LABELS_MAX);
    assert_true(parse("labels.l63", &labels, &ref));
    assert_int_equal(ref.label, 63);
    buffer_free(&name);
    free_names(&labels);
}

static void assert_text(struct event_batch *batch, enum field field, const char *expected)
{
    struct span text = SPAN_LITERAL("untouched");

    assert_true(event_text(batch, 0, (struct field_ref){.field = field}, &text));
    assert_int_equal(text.size, strlen(expected));
    assert_memory_equal(text.data ? text.data : "", expected, text.size);
}

static double number_of(const struct event_batch *batch, enum field field)
{
    return event_number(batch, 0, (struct field_ref){.field = field});
}

static void absent_values_are_empty_and_nan(void **state)
{
    struct event_batch batch;

    event_batch_init(&batch, 4, NULL);
    event_batch_add(&batch);
    for (int i = 0; i < FIELD_COUNT; i++) {
        assert_text(&batch, (enum field)i, i == F_KIND ? "event" : "");
        assert_true(isnan(number_of(&batch, (enum field)i)));
    }
    assert_int_equal(batch.text.used, 0);
    event_batch_free(&batch);
}

static void values_of_each_type_as_text_and_number(void **state)
{
    struct event_batch batch;

    event_batch_init(&batch, 4, NULL);
    event_batch_add(&batch);
    batch.time_us[0] = 1795254020097000;
    batch.kind[0] = KIND_METRIC;
    batch.state[0] = STATE_UPSTREAM_FAILED;
    batch.attempt[0] = 65535;
    batch.map_index[0] = -1;
    batch.duration_ms[0] = 0.1;
    batch.progress[0] = INFINITY;
    batch.value[0] = -1e300;
    batch.workflow[0] = SPAN_LITERAL("etl");
    batch.result[0] = SPAN_LITERAL("12.5e1");
    assert_text(&batch, F_TIME, "2026-11-21T09:40:20.097Z");
    assert_text(&batch, F_KIND, "metric");
    assert_text(&batch, F_STATE, "upstream_failed");
    assert_text(&batch, F_ATTEMPT, "65535");
    assert_text(&batch, F_MAP_INDEX, "-1");
    assert_text(&batch, F_DURATION_MS, "0.1");
    assert_text(&batch, F_PROGRESS, "");
    assert_text(&batch, F_VALUE, "-1e+300");
    assert_text(&batch, F_WORKFLOW, "etl");
    assert_true(number_of(&batch, F_TIME) == 1795254020.097);
    assert_true(number_of(&batch, F_ATTEMPT) == 65535);
    assert_true(number_of(&batch, F_MAP_INDEX) == -1);
    assert_true(number_of(&batch, F_DURATION_MS) == 0.1);
    assert_true(number_of(&batch, F_RESULT) == 125);
    assert_true(isnan(number_of(&batch, F_STATE)));
    event_batch_free(&batch);
}

static void only_whole_decimal_texts_are_numbers(void **state)
{
    static const struct {
        const char *text;
        double number;
    } cases[] = {
        {"0", 0},       {"-3.25", -3.25}, {"+7", 7},     {".5", 0.5},  {"1e3", 1000}, {"", NAN},
        {" 1", NAN},    {"1 ", NAN},      {"0x10", NAN}, {"inf", NAN}, {"nan", NAN},  {"1e999", NAN},
        {"12abc", NAN}, {"1.2.3", NAN},   {"--1", NAN},  {"e", NAN},
    };
    struct label_names labels = {0};
    struct event_batch batch;
    struct field_ref ref;

    assert_true(parse("labels.size", &labels, &ref));
    event_batch_init(&batch, 1, &labels);
    event_batch_add(&batch);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        batch.labels[0][0] = span_of(cases[i].text);
        double number = event_number(&batch, 0, ref);
        assert_true(isnan(cases[i].number) ? isnan(number) : number == cases[i].number);
    }
    batch.labels[0][0] = (struct span){"1\0002", 3};
    assert_true(isnan(event_number(&batch, 0, ref)));
    event_batch_free(&batch);
    free_names(&labels);
}

static void a_full_arena_is_told(void **state)
{
    struct event_batch batch;
    struct span text = SPAN_LITERAL("untouched");

    event_batch_init(&batch, 1, NULL);
    event_batch_add(&batch);
    batch.attempt[0] = 12345;
    batch.text.limit = 4;
    assert_false(event_text(&batch, 0, (struct field_ref){.field = F_ATTEMPT}, &text));
    assert_true(span_is(text, "untouched"));
    event_batch_free(&batch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_have_unique_names_paths_and_columns),
        cmocka_unit_test(rows_of_one_object_stand_together),
        cmocka_unit_test(column_types_fit_their_mapping),
        cmocka_unit_test(states_are_the_closed_list),
        cmocka_unit_test(references_name_fields_and_labels),
        cmocka_unit_test(labels_end_at_their_maximum),
        cmocka_unit_test(absent_values_are_empty_and_nan),
        cmocka_unit_test(values_of_each_type_as_text_and_number),
        cmocka_unit_test(only_whole_decimal_texts_are_numbers),
        cmocka_unit_test(a_full_arena_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
