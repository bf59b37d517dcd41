/* The reader against a naive model: random documents are kept as trees, and each path is looked up by
 * trying all ways to join its keys. Beside it: reasons and their positions, what stays where in memory,
 * and the conversions. */
#include "ingest/json.h"
#include "tests/base/random.h"
#include "tests/ingest/support.h"

#include "base/memory.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { TARGETS_MAX = 12, ITEMS_MAX = 64 };

/* What the rows of one message were told. */
struct told {
    unsigned count, targets;
    struct json_value values[ITEMS_MAX][TARGETS_MAX];
    enum json_verdict verdict;
};

static enum json_verdict tell(void *owner, const struct json_item *item, const char **ret_reason)
{
    struct told *told = owner;

    assert_true(told->count < ITEMS_MAX);
    memcpy(told->values[told->count++], item->values, told->targets * sizeof *item->values);
    item->batch->time_us[item->row] = 0;
    *ret_reason = told->verdict == JSON_ROW_BAD ? "as told" : NULL;
    return told->verdict;
}

struct bench {
    struct json_reader *reader;
    struct event_batch batch;
    struct told told;
    const char *reason;
};

static void bench_open(struct bench *bench, const char *each, const char *const *paths, unsigned count)
{
    const char *problem = NULL;

    *bench = (struct bench){.told.targets = count};
    bench->reader = json_reader_new(each, &problem);
    assert_null(problem);
    for (unsigned i = 0; i < count; i++)
        assert_null(json_reader_add(bench->reader, paths[i], i));
    event_batch_init(&bench->batch, ITEMS_MAX, NULL);
}

static void bench_close(struct bench *bench)
{
    json_reader_free(bench->reader);
    event_batch_free(&bench->batch);
}

static enum status bench_decode(struct bench *bench, struct span payload)
{
    struct message message = {.payload = payload, .arrival_us = TIME_NONE};

    event_batch_reset(&bench->batch);
    bench->told.count = 0;
    bench->reason = NULL;
    return json_reader_decode(bench->reader, &message, &bench->batch, tell, &bench->told, &bench->reason);
}

/* A document of the model: children in order, keys may come twice. */
struct tree {
    enum json_type type;
    const char *key, *text;
    struct tree *children;
    unsigned count;
};

static const char *const model_keys[] = {"a", "b", "a.b", "b.a", "a.b.a", "b.b", "c"};
static const char *const model_texts[] = {"", "x", "caf\xc3\xa9", "12", "a\nb"};

static struct tree tree_grow(uint64_t *random, int depth)
{
    struct tree tree = {.key = model_keys[random_below(random, 7)], .text = ""};
    uint64_t pick = random_below(random, depth > 0 ? 10 : 6);

    if (pick < 6) {
        static const enum json_type types[] = {JSON_NULL, JSON_BOOL, JSON_NUMBER,
                                               JSON_TEXT, JSON_TEXT, JSON_TEXT};

        tree.type = types[pick];
        if (tree.type == JSON_TEXT)
            tree.text = model_texts[random_below(random, 5)];
        else if (tree.type != JSON_NULL)
            tree.text = tree.type == JSON_BOOL ? "true" : "-1.50e3";
        return tree;
    }
    tree.type = pick < 9 ? JSON_OBJECT : JSON_ARRAY;
    tree.count = (unsigned)random_below(random, 5);
    tree.children = memory_new(tree.count * sizeof tree);
    for (unsigned i = 0; i < tree.count; i++)
        tree.children[i] = tree_grow(random, depth - 1);
    return tree;
}

static void tree_free(struct tree *tree)
{
    for (unsigned i = 0; i < tree->count; i++)
        tree_free(&tree->children[i]);
    free(tree->children);
}

static void put_text(struct buffer *out, const char *text, uint64_t *random)
{
    buffer_put_char(out, '"');
    for (; *text; text++)
        if (*text == '\n')
            buffer_put_text(out, "\\n");
        else if ((unsigned char)*text < 0x80 && random_below(random, 4) == 0)
            buffer_print(out, "\\u%04x", (unsigned)*text);
        else
            buffer_put_char(out, *text);
    buffer_put_char(out, '"');
}

static void tree_write(const struct tree *tree, struct buffer *out, uint64_t *random)
{
    bool is_object = tree->type == JSON_OBJECT;

    if (random_below(random, 4) == 0)
        buffer_put_text(out, " \t\n");
    if (tree->type == JSON_NULL)
        buffer_put_text(out, "null");
    else if (tree->type == JSON_TEXT)
        put_text(out, tree->text, random);
    else
        buffer_put_text(out, tree->text);
    if (!is_object && tree->type != JSON_ARRAY)
        return;
    buffer_put_char(out, is_object ? '{' : '[');
    for (unsigned i = 0; i < tree->count; i++) {
        if (i)
            buffer_put_char(out, ',');
        if (is_object) {
            put_text(out, tree->children[i].key, random);
            buffer_put_char(out, ':');
        }
        tree_write(&tree->children[i], out, random);
    }
    buffer_put_char(out, is_object ? '}' : ']');
}

/* One step of a path: a key, or an index when key is NULL. */
struct model_step {
    const char *key;
    unsigned index;
};

static void model_find(const struct tree *tree, const struct model_step *steps, unsigned count,
                       struct json_value *found)
{
    if (count == 0) {
        if (tree->type != JSON_NULL)
            *found = (struct json_value){.type = tree->type, .text = span_of(tree->text)};
        return;
    }
    if (!steps[0].key) {
        if (tree->type == JSON_ARRAY && steps[0].index < tree->count)
            model_find(&tree->children[steps[0].index], steps + 1, count - 1, found);
        return;
    }
    for (unsigned i = 0; tree->type == JSON_OBJECT && i < tree->count; i++) {
        char joined[64] = "";

        for (unsigned n = 0; n < count && steps[n].key; n++) {
            snprintf(joined + strlen(joined), sizeof joined - strlen(joined), "%s%s", n ? "." : "",
                     steps[n].key);
            if (strcmp(joined, tree->children[i].key) == 0)
                model_find(&tree->children[i], steps + n + 1, count - n - 1, found);
        }
    }
}

static void test_against_model(void **state)
{
    static const char *const paths[] = {"a",        "b",       "a.b",   "b.a.b", "a[1]",
                                        "a.b[0].a", "c[0][1]", "a.b.a", "c.c.b", "b.b"};
    static const struct model_step steps[][4] = {
        {{"a", 0}},
        {{"b", 0}},
        {{"a", 0}, {"b", 0}},
        {{"b", 0}, {"a", 0}, {"b", 0}},
        {{"a", 0}, {NULL, 1}},
        {{"a", 0}, {"b", 0}, {NULL, 0}, {"a", 0}},
        {{"c", 0}, {NULL, 0}, {NULL, 1}},
        {{"a", 0}, {"b", 0}, {"a", 0}},
        {{"c", 0}, {"c", 0}, {"b", 0}},
        {{"b", 0}, {"b", 0}},
    };
    static const unsigned counts[] = {1, 1, 2, 3, 2, 4, 3, 3, 3, 2};
    const unsigned path_count = sizeof counts / sizeof *counts;
    uint64_t random = 1;
    unsigned found_count = 0;
    struct bench bench;
    struct buffer text;

    bench_open(&bench, NULL, paths, path_count);
    buffer_init(&text, 1 << 20);
    for (unsigned round = 0; round < 20000; round++) {
        struct tree tree = tree_grow(&random, 5);

        buffer_clear(&text);
        tree_write(&tree, &text, &random);
        if (tree.type == JSON_OBJECT) {
            assert_int_equal(bench_decode(&bench, buffer_span(&text)), STATUS_OK);
            assert_int_equal(bench.told.count, 1);
        }
        for (unsigned i = 0; i < path_count && tree.type == JSON_OBJECT; i++) {
            struct json_value expected = {0}, *value = &bench.told.values[0][i];

            model_find(&tree, steps[i], counts[i], &expected);
            if (value->type != expected.type || !span_equal(value->text, expected.text))
                fail_msg("%s of %.*s", paths[i], (int)text.size, text.data);
            found_count += value->type != JSON_ABSENT;
        }
        tree_free(&tree);
    }
    assert_true(found_count > 5000);
    buffer_free(&text);
    bench_close(&bench);
}

static void test_items(void **state)
{
    static const struct {
        const char *each, *text;
        unsigned rows, told;
    } cases[] = {
        {NULL, "{\"a\":1}", 1, 1},
        {NULL, "[{\"a\":1},{},{\"a\":[{}]}]", 3, 3},
        {NULL, "[]", 0, 0},
        {NULL, "[[{\"a\":1}],2,null,\"x\"]", 4, 0},
        {"e[*]", "{\"e\":[{},{}],\"f\":[{}]}", 2, 2},
        {"e", "{\"e\":[{},{}]}", 2, 2},
        {"e", "{\"e\":{}}", 1, 1},
        {"e", "{\"e\":7}", 1, 0},
        {"e[*]", "[{\"e\":[{},{}]},{\"e\":[{}]},{}]", 3, 3},
        {"e[*].d", "{\"e\":[{\"d\":{}},{\"x\":{}},{\"d\":[{},{}]}]}", 3, 3},
        {"e[*].f[*]", "{\"e\":[{\"f\":[{},{}]},{\"f\":[]},{\"f\":[{}]}]}", 3, 3},
        {"[*].f", "[{\"f\":{}},{\"g\":{}}]", 1, 1},
        {"e[1]", "{\"e\":[{},{},{}]}", 1, 1},
        {"a.e[*]", "{\"a.e\":[{}],\"a\":{\"e\":[{},{}]}}", 3, 3},
    };
    static const char *const paths[] = {"a"};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bench bench;

        bench_open(&bench, cases[i].each, paths, 1);
        if (bench_decode(&bench, span_of(cases[i].text)) != STATUS_OK)
            fail_msg("%s: %s", cases[i].text, bench.reason);
        assert_int_equal(bench.batch.rows, cases[i].rows);
        assert_int_equal(bench.told.count, cases[i].told);
        for (uint32_t row = 0; row < bench.batch.rows; row++)
            assert_int_equal(bench.batch.item[row], row);
        bench_close(&bench);
    }
}

static void test_values_are_of_their_item(void **state)
{
    static const char *const paths[] = {"a", "b"};
    struct bench bench;

    bench_open(&bench, NULL, paths, 2);
    bench_decode(&bench, SPAN_LITERAL("[{\"a\":1,\"b\":2},{\"b\":3},{\"a\":null}]"));
    assert_span(bench.told.values[0][0].text, "1");
    assert_int_equal(bench.told.values[1][0].type, JSON_ABSENT);
    assert_span(bench.told.values[1][1].text, "3");
    assert_int_equal(bench.told.values[2][0].type, JSON_ABSENT);
    bench_close(&bench);
}

static void test_reasons(void **state)
{
    static const struct {
        const char *text, *reason;
    } cases[] = {
        {"{\"a\": nope}", "invalid JSON at byte 7: invalid string in json text"},
        {"{\"a\":1,}", "invalid JSON at byte 8: invalid object key (must be a string)"},
        {"{\"a\":1", "invalid JSON at byte 6: premature EOF"},
        {"{\"a\":\"secret", "invalid JSON at byte 12: premature EOF"},
        {"{\"a\":1}\n {\"b\":1}", "more after the JSON value, at byte 9"},
        {"{\"a\":1} \"unfinished", "more after the JSON value, at byte 8"},
        {"[1,2]]", "more after the JSON value, at byte 5"},
        {"{\"a\":\"\xff\"}", "invalid UTF-8 at byte 6"},
        {"{\"abcdefgh\xc3\":1}", "invalid UTF-8 at byte 10"},
        {"   ", "not a JSON object"},
        {"12", "not a JSON object"},
        {"\"text\"", "not a JSON object"},
    };
    static const char *const paths[] = {"a"};
    struct bench bench;

    bench_open(&bench, NULL, paths, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(bench_decode(&bench, span_of(cases[i].text)), STATUS_SKIP);
        assert_string_equal(bench.reason, cases[i].reason);
        assert_int_equal(bench.batch.rows, 0);
        assert_int_equal(bench_decode(&bench, SPAN_LITERAL(" {\"a\":\"good\"} \r\n")), STATUS_OK);
        assert_span(bench.told.values[0][0].text, "good");
    }
    bench_close(&bench);
}

static void test_utf8(void **state)
{
    static const char *const good[] = {"\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf",
                                       "ascii",
                                       "12345678\xc3\xa9"
                                       "12345678"};
    static const char *const bad[] = {"\x80",
                                      "\xc0\xaf",
                                      "\xc1\xbf",
                                      "\xc2",
                                      "\xc2\x41",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xe2\x82",
                                      "\xe2\x82\x41",
                                      "\xf0\x9f\x9a",
                                      "1234567\xff"};
    static const char *const paths[] = {"a"};
    char text[64];
    struct bench bench;

    bench_open(&bench, NULL, paths, 1);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        snprintf(text, sizeof text, "{\"a\":\"%s\"}", good[i]);
        assert_int_equal(bench_decode(&bench, span_of(text)), STATUS_OK);
        assert_span(bench.told.values[0][0].text, good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(text, sizeof text, "{\"a\":\"%s\"}", bad[i]);
        assert_int_equal(bench_decode(&bench, span_of(text)), STATUS_SKIP);
        assert_non_null(strstr(bench.reason, "invalid UTF-8"));
    }
    bench_close(&bench);
}

static void test_where_texts_stand(void **state)
{
    static const char *const paths[] = {"plain", "escaped", "number", "zero"};
    const struct span payload =
        SPAN_LITERAL("{\"plain\":\"abc\",\"escaped\":\"a\\tb\",\"number\":18446744073709551615,"
                     "\"zero\":\"x\\u0000y\"}");
    struct bench bench;

    bench_open(&bench, NULL, paths, 4);
    assert_int_equal(bench_decode(&bench, payload), STATUS_OK);
    const struct json_value *values = bench.told.values[0];
    assert_true(values[0].text.data == payload.data + 10);
    assert_span(values[1].text, "a\tb");
    assert_true(values[1].text.data < payload.data || values[1].text.data >= payload.data + payload.size);
    assert_span(values[2].text, "18446744073709551615");
    assert_true(values[2].text.data > payload.data && values[2].text.data < payload.data + payload.size);
    assert_true(span_equal(values[3].text, span_make("x\0y", 3)));
    bench_close(&bench);
}

static void test_verdicts(void **state)
{
    static const char *const paths[] = {"a"};
    const struct span payload = SPAN_LITERAL("[{\"a\":1},{}]");
    struct bench bench;

    bench_open(&bench, NULL, paths, 1);
    bench.told.verdict = JSON_ROW_BAD;
    assert_int_equal(bench_decode(&bench, payload), STATUS_OK);
    assert_int_equal(bench.batch.rows, 2);
    assert_int_equal(bench.batch.mark[1], MARK_MALFORMED);
    assert_string_equal(bench.batch.reason[1], "as told");
    bench.told.verdict = JSON_ROW_DROPPED;
    assert_int_equal(bench_decode(&bench, payload), STATUS_OK);
    assert_int_equal(bench.batch.rows, 0);
    bench.told.verdict = JSON_ROW_FULL;
    assert_int_equal(bench_decode(&bench, payload), STATUS_SKIP);
    assert_string_equal(bench.reason, "does not fit into an empty batch");
    event_batch_add(&bench.batch);
    struct message message = {.payload = payload};
    assert_int_equal(
        json_reader_decode(bench.reader, &message, &bench.batch, tell, &bench.told, &bench.reason),
        STATUS_RETRY);
    assert_int_equal(bench.batch.rows, 1);
    bench_close(&bench);
}

static enum json_verdict drop(void *owner, const struct json_item *item, const char **ret_reason)
{
    return JSON_ROW_DROPPED;
}

static void test_too_many_items(void **state)
{
    static const char *const paths[] = {"a"};
    struct message message = {.arrival_us = TIME_NONE};
    struct bench bench;
    struct buffer text;

    bench_open(&bench, NULL, paths, 1);
    buffer_init(&text, 1 << 20);
    buffer_put_text(&text, "[{}");
    for (unsigned i = 1; i < BATCH_ROWS_MAX; i++)
        buffer_put_text(&text, ",{}");
    buffer_put_text(&text, "]");
    message.payload = buffer_span(&text);
    assert_int_equal(json_reader_decode(bench.reader, &message, &bench.batch, drop, NULL, &bench.reason),
                     STATUS_OK);
    buffer_truncate(&text, text.size - 1);
    buffer_put_text(&text, ",{}]");
    message.payload = buffer_span(&text);
    assert_int_equal(json_reader_decode(bench.reader, &message, &bench.batch, drop, NULL, &bench.reason),
                     STATUS_SKIP);
    assert_string_equal(bench.reason, "more than 8192 items in one message");
    buffer_free(&text);
    bench_close(&bench);
}

static void assert_number(enum json_type type, const char *text, double expected, const char *problem)
{
    const struct json_value value = {.type = type, .text = span_of(text)};
    double number = -7;
    const char *told = json_value_number(&value, &number);

    if (problem)
        assert_string_equal(told, problem);
    else
        assert_null(told);
    assert_true(number == (problem ? -7 : expected));
}

static void test_conversions(void **state)
{
    char long_digits[601];
    int64_t integer = 5, time_us = 5;

    memset(long_digits, '1', sizeof long_digits - 1);
    long_digits[600] = '\0';
    assert_number(JSON_NUMBER, "-0.5e1", -5, NULL);
    assert_number(JSON_TEXT, "12", 12, NULL);
    assert_number(JSON_TEXT, "0x10", 0, "is not a number");
    assert_number(JSON_TEXT, "nan", 0, "is not a number");
    assert_number(JSON_TEXT, "", 0, "is not a number");
    assert_number(JSON_TEXT, "1 ", 0, "is not a number");
    assert_number(JSON_TEXT, "-", 0, "is not a number");
    assert_number(JSON_BOOL, "true", 0, "is not a number");
    assert_number(JSON_NUMBER, "1e999", 0, "is out of range");
    assert_number(JSON_NUMBER, "1e-999", 0, NULL);
    assert_number(JSON_NUMBER, long_digits, 0, "has too many digits");
    assert_number(JSON_ABSENT, "", 0, "is not a number");

    const struct json_value half = {.type = JSON_NUMBER, .text = SPAN_LITERAL("1.5")};
    const struct json_value whole = {.type = JSON_NUMBER, .text = SPAN_LITERAL("3.0e1")};
    assert_string_equal(json_value_integer(&half, 0, 9, &integer), "is not an integer");
    assert_string_equal(json_value_integer(&whole, 0, 29, &integer), "is out of range");
    assert_true(integer == 5);
    assert_null(json_value_integer(&whole, 0, 30, &integer));
    assert_true(integer == 30);
    assert_string_equal(json_value_time(&(struct json_value){.type = JSON_BOOL, .text = SPAN_LITERAL("1")},
                                        TIME_UNIT_S, TIME_NONE, &time_us),
                        "is not a time");
    assert_null(json_value_time(&whole, TIME_UNIT_MS, TIME_NONE, &time_us));
    assert_true(time_us == 30000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_model),
        cmocka_unit_test(test_items),
        cmocka_unit_test(test_values_are_of_their_item),
        cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_where_texts_stand),
        cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_too_many_items),
        cmocka_unit_test(test_conversions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
