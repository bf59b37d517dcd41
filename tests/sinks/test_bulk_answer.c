/* Answers in the forms that servers give them: any order of keys, whole-request errors, damaged and
 * hostile bodies. */
#include "sinks/bulk_answer.h"
#include "tests/base/random.h"

#include <stdio.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct bulk_answer answer;

static bool read_text(const char *text)
{
    return bulk_answer_read(&answer, span_of(text));
}

static void assert_described(const struct answer_item *item, const char *expected)
{
    struct buffer out;

    buffer_init(&out, 4096);
    bulk_answer_describe(&answer, item, &out);
    buffer_put_char(&out, '\0');
    assert_string_equal(out.data, expected);
    buffer_free(&out);
}

static void test_items(void **state)
{
    assert_true(read_text(
        "{\"items\":[{\"create\":{\"error\":{\"reason\":\"why\",\"caused_by\":{\"type\":\"inner\",\"reason\":"
        "\"deep\"},\"type\":\"outer\"},\"status\":400}},{\"index\":{\"status\":201}}],\"errors\":true}"));
    assert_true(answer.has_items);
    assert_int_equal(answer.count, 2);
    assert_int_equal(answer.items[0].status, 400);
    assert_described(&answer.items[0], "outer: why");
    assert_int_equal(answer.items[1].status, 201);
    assert_described(&answer.items[1], "");
}

static void test_whole_request(void **state)
{
    assert_true(
        read_text("{\"error\":{\"root_cause\":[{\"type\":\"inner\",\"reason\":\"deep\"}],\"type\":\"outer\","
                  "\"reason\":\"why\"},\"status\":429}"));
    assert_false(answer.has_items);
    assert_described(&answer.whole, "outer: why");
    assert_true(
        read_text("{\"error\":\"Content-Type header [text/plain] is not supported\",\"status\":406}"));
    assert_described(&answer.whole, "Content-Type header [text/plain] is not supported");
}

static void test_not_an_answer(void **state)
{
    char deep[400];

    assert_false(read_text(""));
    assert_false(read_text("Unauthorized"));
    assert_false(read_text("[]"));
    assert_false(read_text("{\"items\":[{\"create\":{\"status\":201}}"));
    assert_true(read_text("{\"status\":200}"));
    assert_false(answer.has_items);
    memset(deep, '[', sizeof deep - 1);
    memcpy(deep, "{\"items\":", 9);
    deep[sizeof deep - 1] = '\0';
    assert_false(read_text(deep));
}

/* A blank in front makes the answer one for yajl: both readers say the same of answers that are plain, nearly
 * plain, cut and broken. */
static void test_both_readers_agree(void **state)
{
    static const char *const items[] = {
        "{\"create\":{\"status\":201}}",
        "{\"index\":{\"status\":200}}",
        "{\"create\":{\"status\":409,\"error\":{\"type\":\"conflict\",\"reason\":\"there\"}}}",
        "{\"update\":{\"status\":200}}",
    };
    static const char letters[] = "0123456789{}[]\",: xa";
    struct bulk_answer other;
    struct buffer body;
    uint64_t random = 5;

    bulk_answer_init(&other);
    buffer_init(&body, 65536);
    for (int round = 0; round < 20000; round++) {
        uint64_t kinds = random_below(&random, 3) ? 2 : 4, count = random_below(&random, 6);

        buffer_clear(&body);
        buffer_put_text(&body, " {\"errors\":false,\"items\":[");
        for (uint64_t i = 0; i < count; i++) {
            buffer_put_text(&body, i ? "," : "");
            buffer_put_text(&body, items[random_below(&random, kinds)]);
        }
        buffer_put_text(&body, "]}");
        for (uint64_t change = random_below(&random, 3); change > 0; change--)
            body.data[1 + random_below(&random, body.size - 1)] =
                letters[random_below(&random, sizeof letters - 1)];
        size_t size = random_below(&random, 4) ? body.size : 1 + random_below(&random, body.size);

        bool read = bulk_answer_read(&answer, span_make(body.data + 1, size - 1));
        assert_int_equal(read, bulk_answer_read(&other, span_make(body.data, size)));
        if (!read)
            continue;
        assert_int_equal(answer.has_items, other.has_items);
        assert_int_equal(answer.count, other.count);
        for (size_t i = 0; i < answer.count; i++)
            assert_int_equal(answer.items[i].status, other.items[i].status);
    }
    bulk_answer_free(&other);
    buffer_free(&body);
}

static void test_text_of_documents_is_left_out(void **state)
{
    static const struct {
        const char *reason, *kept;
    } cases[] = {
        {"failed to parse field [n] of type [long] in document with id 'a'. Preview of field's value: "
         "'secret'",
         "failed to parse field [n] of type [long] in document with id 'a'"},
        {"[1:9] Unexpected character ('}' (code 125))\n at [Source: (byte[])\"{\"n\": 1,}\"; line: 1, "
         "column: 9]",
         "[1:9] Unexpected character ('}' (code 125))  at"},
        {"Document contains at least one immense term in field=\"k\" (longer). The prefix of the first "
         "immense term is: "
         "'[120, 120]...'",
         "Document contains at least one immense term in field=\"k\" (longer)"},
        {"For input string: \"secret\"", ""},
        {"closed", "closed"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buffer out;

        buffer_init(&out, 4096);
        reason_put(&out, span_of(cases[i].reason));
        buffer_put_char(&out, '\0');
        assert_string_equal(out.data, cases[i].kept);
        buffer_free(&out);
    }
}

static void test_long_reason_is_cut_between_characters(void **state)
{
    struct buffer out;
    char reason[601];

    for (size_t i = 0; i < 600; i += 2)
        memcpy(reason + i, "\xC3\xA9", 2);
    reason[0] = 'x';
    reason[1] = 'x';
    reason[2] = 'x'; /* the limit now falls into a character */
    memmove(reason + 3, reason + 4, 596);
    reason[599] = '\0';
    buffer_init(&out, 4096);
    reason_put(&out, span_of(reason));
    assert_true(out.size <= 400 && out.size >= 398);
    assert_int_equal((out.size - 3) % 2, 0);
    buffer_free(&out);
}

static int set_up(void **state)
{
    bulk_answer_init(&answer);
    return 0;
}

static int tear_down(void **state)
{
    bulk_answer_free(&answer);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_items),
        cmocka_unit_test(test_whole_request),
        cmocka_unit_test(test_not_an_answer),
        cmocka_unit_test(test_both_readers_agree),
        cmocka_unit_test(test_text_of_documents_is_left_out),
        cmocka_unit_test(test_long_reason_is_cut_between_characters),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
