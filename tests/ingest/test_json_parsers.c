/* Comparison with messages before and the walk over simdjson's index, against yajl: the same rows, values and
 * reasons for every line of every recording, for changed lines, and for hand-picked ones. */
#include "ingest/json_events.h"
#include "tests/base/random.h"
#include "tests/ingest/support.h"

#include "base/buffer.h"
#include "base/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <yajl/yajl_tree.h>

enum { TARGETS_MAX = 300, LINES_LOOKED_AT = 400, PATH_BYTES = 400, SAID_BYTES_MAX = 64 * 1024 * 1024 };

struct side {
    struct json_reader *reader;
    bool is_yajl;
    struct event_batch batch;
    struct buffer said; /* all rows' values */
    const char *reason;
};

struct pair {
    struct side walk, yajl;
    unsigned targets;
};

static enum json_verdict say(void *owner, const struct json_item *item, const char **ret_reason)
{
    struct side *side = owner;

    if (item->row == 0) /* also where yajl begins anew what the walk gave up */
        buffer_clear(&side->said);
    for (unsigned t = 0; t < side->reader->paths.target_count; t++) {
        buffer_put_char(&side->said, (char)item->values[t].type);
        buffer_put_span(&side->said, item->values[t].text);
        buffer_put_char(&side->said, '\xff');
    }
    return JSON_ROW_KEPT;
}

static void side_open(struct side *side, const char *each, bool is_yajl)
{
    const char *problem = NULL;

    side->reader = json_reader_new(each, &problem);
    assert_null(problem);
    side->is_yajl = is_yajl;
    event_batch_init(&side->batch, 64, NULL);
    buffer_init(&side->said, SAID_BYTES_MAX);
}

static void side_close(struct side *side)
{
    json_reader_free(side->reader);
    event_batch_free(&side->batch);
    buffer_free(&side->said);
}

static void pair_open(struct pair *pair, const char *each)
{
    *pair = (struct pair){0};
    side_open(&pair->walk, each, false);
    side_open(&pair->yajl, each, true);
}

static void pair_close(struct pair *pair)
{
    side_close(&pair->walk);
    side_close(&pair->yajl);
}

static void pair_add(struct pair *pair, const char *path)
{
    assert_null(json_reader_add(pair->walk.reader, path, pair->targets));
    assert_null(json_reader_add(pair->yajl.reader, path, pair->targets++));
}

static enum status side_read(struct side *side, struct span payload)
{
    struct message message = {.payload = payload, .arrival_us = TIME_NONE};

    event_batch_reset(&side->batch);
    buffer_clear(&side->said);
    side->reason = NULL;
    json_yajl_alone = side->is_yajl;
    return json_reader_decode(side->reader, &message, &side->batch, say, side, &side->reason);
}

/* The text stands at the end of its memory, so that a byte read too far is found by the sanitizer. */
static void pair_check(struct pair *pair, const char *text, size_t size)
{
    char *exact = memory_grow(NULL, size + (size == 0));

    memcpy(exact, text, size);
    enum status walk = side_read(&pair->walk, span_make(exact, size));
    enum status yajl = side_read(&pair->yajl, span_make(exact, size));

    if (walk != yajl || pair->walk.batch.rows != pair->yajl.batch.rows ||
        (pair->walk.batch.rows > 0 &&
         !span_equal(buffer_span(&pair->walk.said), buffer_span(&pair->yajl.said))) ||
        (pair->walk.reason && strcmp(pair->walk.reason, pair->yajl.reason) != 0))
        fail_msg("the parsers differ: %s against %s for %.*s", pair->walk.reason, pair->yajl.reason,
                 (int)(size < 3000 ? size : 3000), exact);
    for (uint32_t row = 0; row < pair->walk.batch.rows; row++)
        assert_int_equal(pair->walk.batch.mark[row], pair->yajl.batch.mark[row]);
    free(exact);
}

static bool is_added(const struct pair *pair, char added[][PATH_BYTES], const char *path)
{
    for (unsigned i = 0; i < pair->targets; i++)
        if (strcmp(added[i], path) == 0)
            return true;
    return false;
}

/* Asks for all that stands in the tree, as far as there is room. */
static void add_tree(struct pair *pair, char added[][PATH_BYTES], yajl_val tree, const char *path)
{
    char longer[PATH_BYTES];

    if (pair->targets == TARGETS_MAX || strlen(path) > PATH_BYTES / 2)
        return;
    if (path[0] && !is_added(pair, added, path)) {
        memcpy(added[pair->targets], path, strlen(path) + 1);
        pair_add(pair, path);
    }
    for (size_t i = 0; YAJL_IS_OBJECT(tree) && i < tree->u.object.len; i++) {
        const char *key = tree->u.object.keys[i];

        if (strlen(key) > PATH_BYTES / 4 || strpbrk(key, "'\""))
            continue;
        snprintf(longer, sizeof longer, "%s%s'%s'", path, path[0] ? "." : "", key);
        add_tree(pair, added, tree->u.object.values[i], longer);
    }
    for (size_t i = 0; path[0] && YAJL_IS_ARRAY(tree) && i < tree->u.array.len && i < 2; i++) {
        snprintf(longer, sizeof longer, "%s[%zu]", path, i);
        add_tree(pair, added, tree->u.array.values[i], longer);
    }
}

static void add_lines(struct pair *pair, char *const *lines, size_t count)
{
    char(*added)[PATH_BYTES] = memory_grow(NULL, TARGETS_MAX * sizeof *added);

    for (size_t i = 0; i < count && i < LINES_LOOKED_AT; i++) {
        char problem[64];
        yajl_val tree = yajl_tree_parse(lines[i], problem, sizeof problem);

        if (tree)
            add_tree(pair, added, tree, "");
        yajl_tree_free(tree);
    }
    free(added);
}

static void check_changed(struct pair *pair, char *const *lines, size_t count, double seconds)
{
    clock_t end = clock() + (clock_t)(seconds * CLOCKS_PER_SEC);
    uint64_t random = 88172645463325252u;

    while (clock() < end) {
        const char *line = lines[random_below(&random, count)];
        size_t size = strlen(line);
        char *copy = memory_text(line, size);

        for (unsigned i = 0; i < 3; i++) /* learned, so that what is changed follows it up to there */
            pair_check(pair, copy, size);
        size = text_mutate(copy, size, &random);
        pair_check(pair, copy, size);
        free(copy);
    }
}

static void test_recordings(void **state)
{
    static const char *const paths[] = {
        "data/events/airflow/dev/openlineage.jsonl.zst",
        "data/events/celery/dev/events.jsonl.zst",
        "data/events/airflow3/task_log.jsonl.zst",
        "data/events/dagster/events.jsonl.zst",
        "data/events/dbt/log.jsonl.zst",
        "data/events/zeebe/records.jsonl.zst",
    };
    unsigned found = 0;

    for (size_t p = 0; p < sizeof paths / sizeof *paths; p++) {
        struct pair pair;
        char **lines;
        size_t count;

        if (!lines_load(paths[p], &lines, &count))
            continue;
        found++;
        pair_open(&pair, NULL);
        add_lines(&pair, lines, count);
        assert_true(pair.targets > 5);
        for (size_t i = 0; i < count; i++)
            pair_check(&pair, lines[i], strlen(lines[i]));
        uint64_t followed = json_shapes_followed(pair.walk.reader);
        assert_true(followed > count / 2);
        check_changed(&pair, lines, count, 1.0);
        printf("%s: %zu lines, %" PRIu64 " as ones before, %u paths\n", paths[p], count, followed,
               pair.targets);
        pair_close(&pair);
        lines_free(lines, count);
    }
    if (!found)
        skip();
    assert_true(found >= 4);
}

static const char *const odd[] = {
    "{\"a\":1}",
    " \r\n\t{ \"a\" : 1 , \"b\" : [ ] } \n",
    "{}",
    "[]",
    "[{},{\"a\":{}},[],3,null,\"x\"]",
    "{\"a\":{\"b\":[{\"c\":1},2,[3]]},\"b\":[{\"c\":\"\"}]}",
    "{\"a\":-0,\"b\":1e5}",
    "{\"a\":01}",
    "{\"a\":-}",
    "{\"a\":1.}",
    "{\"a\":.5}",
    "{\"a\":1e}",
    "{\"a\":1E+07}",
    "{\"a\":+1}",
    "{\"a\":123456789012345678901234567890.5e-300}",
    "{\"a\":nul}",
    "{\"a\":nulll}",
    "{\"a\":true false}",
    "{\"a\":tru e}",
    "{\"a\":True}",
    "{\"a\":\"x\\ny\\\"z\\/\\\\\\b\\f\\r\\t\"}",
    "{\"a\":\"\\u00e9\\u20AC\\u0000\\ud83d\\ude00\"}",
    "{\"a\":\"\\ud83d\"}",
    "{\"a\":\"\\ud83dx\"}",
    "{\"a\":\"\\ud83d\\u0041\"}",
    "{\"a\":\"\\ude00\"}",
    "{\"a\":\"\\ud83d\\ude0\"}",
    "{\"a\":\"\\x41\"}",
    "{\"a\":\"\\u12g4\"}",
    "{\"\\u0061\":1,\"a\\n\":2}",
    "{\"a\":1,\"a\":2}",
    "{\"a\":1,}",
    "{,\"a\":1}",
    "{\"a\" 1}",
    "{\"a\":1 \"b\":2}",
    "{\"a\":[1,]}",
    "{\"a\":[1 2]}",
    "{\"a\":[1}",
    "{\"a\":{]}",
    "{\"a\"}",
    "{1:2}",
    "{\"a\":1}}",
    "{\"a\":1}{\"a\":2}",
    "{\"a\":1} x",
    "{\"a\":1",
    "{\"a\":\"x",
    "{\"a\":\"x\ty\"}",
    "{\"a\":\"caf\xc3\xa9\"}",
    "{\"a\":\"\xc0\xaf\"}",
    "{\"a\":\"\xed\xa0\x80\"}",
    "{\"a\":\"\xf4\x90\x80\x80\"}",
    "3",
    "\"x\"",
    "null",
    "x",
    "{",
    "[",
    "\"",
    " ",
    "{\"a\":/* no */1}",
    "\xef\xbb\xbf{\"a\":1}",
    "Obj\x01{\"a\":1}",
};

static void test_odd(void **state)
{
    static const char *const eaches[] = {NULL, "a", "a.b", "a[*]", "b[*]"};

    for (size_t e = 0; e < sizeof eaches / sizeof *eaches; e++) {
        struct pair pair;
        char deep[512];

        pair_open(&pair, eaches[e]);
        pair_add(&pair, "a");
        pair_add(&pair, "b[0].c");
        pair_add(&pair, "a.b[1]");
        pair_add(&pair, "c");
        for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
            for (size_t size = 1; size <= strlen(odd[i]); size++)
                pair_check(&pair, odd[i], size);
        for (unsigned depth = 60; depth < 70; depth++) {
            memset(deep, '[', depth);
            memset(deep + depth, ']', depth);
            pair_check(&pair, deep, 2 * (size_t)depth);
            for (unsigned i = 0; i < depth; i++)
                memcpy(deep + 5 * (size_t)i, "{\"a\":", 5);
            pair_check(&pair, deep, 5 * (size_t)depth);
        }
        pair_check(&pair, "{\"a\":1}", 7);
        pair_check(&pair, "{\"a\":1}\0", 8); /* the same, and a null byte */
        check_changed(&pair, (char *const *)odd, sizeof odd / sizeof *odd, 0.3);
        pair_close(&pair);
    }
}

/* Keys that never come again are forgotten, and while that goes on nothing is learned. */
static void test_many_shapes(void **state)
{
    struct pair pair;
    char text[64];

    pair_open(&pair, NULL);
    pair_add(&pair, "a");
    for (unsigned i = 0; i < 50000; i++) {
        int size = snprintf(text, sizeof text, "{\"k%u\":%u,\"a\":\"x\"}", i, i);

        pair_check(&pair, text, (size_t)size);
    }
    assert_int_equal(json_shapes_followed(pair.walk.reader), 0);
    for (unsigned i = 0; i < 50000; i++)
        pair_check(&pair, "{\"a\":1}", strlen("{\"a\":1}"));
    assert_in_range(json_shapes_followed(pair.walk.reader), 1000, 50000);
    pair_close(&pair);
}

/* Beyond the walk's limits yajl reads on. */
static void test_large(void **state)
{
    size_t size = 18 * 1024 * 1024;
    char *text = memory_grow(NULL, size);
    struct pair pair;

    pair_open(&pair, NULL);
    pair_add(&pair, "a");
    memset(text, 'x', size);
    memcpy(text, "{\"a\":\"", 6);
    memcpy(text + size - 2, "\"}", 2);
    pair_check(&pair, text, size);
    assert_int_equal(pair.walk.batch.rows, 1);
    free(text);
    pair_close(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recordings),
        cmocka_unit_test(test_odd),
        cmocka_unit_test(test_many_shapes),
        cmocka_unit_test(test_large),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
