/* The whole engine in replay: what it tells must be the same bytes for any number of workers and any size of
 * batches; every message is accounted for; real recordings give the counts that are known of them. */
#include "base/memory.h"
#include "tests/base/random.h"
#include "tests/pipeline/replays.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { MINUTE_MS = 60 * 1000, TEXT_LIMIT_BYTES = 64 << 20 };

static const char *text_after(const char *line, const char *key)
{
    const char *at = strstr(line, key), *end = strchr(line, '\n');

    return at && at < end ? at + strlen(key) : line;
}

struct last_line {
    char id[ID_HEX_SIZE];
    const char *line;
    size_t number;
};

static int compare_last(const void *left, const void *right)
{
    const struct last_line *a = left, *b = right;
    int id = memcmp(a->id, b->id, ID_HEX_SIZE);

    return id ? id : (a->number > b->number) - (a->number < b->number);
}

/* Runs of a level by the state of their last line. */
static void count_states(const char *runs, const char *level, size_t ret_counts[STATE_COUNT])
{
    size_t count = lines_of(runs);
    struct last_line *last = memory_new((count + 1) * sizeof *last);
    const char *line = runs;

    memset(ret_counts, 0, STATE_COUNT * sizeof *ret_counts);
    for (size_t i = 0; i < count; i++, line = strchr(line, '\n') + 1) {
        last[i].line = line;
        last[i].number = i;
        memcpy(last[i].id, text_after(line, "\"id\":\""), ID_HEX_SIZE);
    }
    qsort(last, count, sizeof *last, compare_last);
    for (size_t i = 0; i < count; i++) {
        const char *state = text_after(last[i].line, "\"state\":\"");

        if ((i + 1 < count && memcmp(last[i].id, last[i + 1].id, ID_HEX_SIZE) == 0) ||
            strncmp(text_after(last[i].line, "\"level\":\""), level, strlen(level)) != 0)
            continue;
        ret_counts[run_state_find(span_make(state, strcspn(state, "\"")))]++;
    }
    free(last);
}

static const char rules_yaml[] =
    "time: {lateness: 5s}\n"
    "watch: true\n"
    "measures:\n"
    "- {name: rows, by: [workflow], every: 10s, window: 30s, where: 'task != \"c\"'}\n"
    "- {name: latency, of: value, statistics: [count, mean, p95, max], by: [workflow], every: 10s}\n"
    "- {name: ends, on: run, of: duration_ms, statistics: [count, mean, ratio], ratio: 'state == "
    "\"failed\"',\n"
    "   by: [workflow], every: 20s, where: 'state in [\"success\", \"failed\"]'}\n"
    "- {name: tasks, of: task, statistics: [distinct], every: 1m}\n"
    "detectors:\n"
    "- {name: odd, type: zscore, measure: latency, statistic: mean, half_life: 2m, warm_up: 1m, one_in: "
    "100}\n"
    "rules:\n"
    "- {name: failed, when: 'state == \"failed\"', by: [workflow, task], keep_firing_for: 30s,\n"
    "   annotations: {summary: '{{workflow}} {{task}} {{run}}'}}\n"
    "- {name: many, on: bucket, measure: rows, when: 'count > 30.0', for: 20s, keep_firing_for: 10s}\n"
    "- {name: slow, on: bucket, measure: latency, when: 'p95 > 95.0 && workflow.matches(\"^[ab]$\")'}\n"
    "- {name: run_failed, on: run, when: 'state == \"failed\"', by: [workflow]}\n";

/* Rows of runs with a few thousand values: jitter beyond the lateness, failures, and bad lines among them. */
static void write_rows(struct buffer *out, unsigned rows, uint64_t seed, size_t *ret_bad)
{
    static const char *const bad[] = {"{\"time\":", "[1,2", "nonsense", "{\"workflow\":\"a\"}",
                                      "{\"time\":\"yesterday\"}"};
    static const char *const states[] = {"running", "success", "failed", "queued"};
    uint64_t random = seed;

    *ret_bad = 0;
    for (unsigned i = 0; i < rows; i++) {
        int64_t back = (int64_t)random_below(&random, random_below(&random, 20) ? 4000 : 20000);
        int64_t time_ms = 1795252618196 + (int64_t)i * 100 - back;

        if (random_below(&random, 100) == 0) {
            buffer_print(out, "%s\n", bad[random_below(&random, 5)]);
            ++*ret_bad;
        }
        buffer_print(out, "{\"time\":%lld,\"workflow\":\"%c\",\"run\":\"r%u\",", (long long)time_ms,
                     (char)('a' + random_below(&random, 3)), (unsigned)(i / 8 + random_below(&random, 4)));
        if (random_below(&random, 2))
            buffer_print(out, "\"task\":\"%c\",\"attempt\":1,", (char)('a' + random_below(&random, 3)));
        buffer_print(out, "\"state\":\"%s\",\"value\":%u}\n", states[random_below(&random, 4)],
                     (unsigned)random_below(&random, i % 1000 > 950 ? 1000 : 100));
    }
}

static void put_rows(const struct folder *folder, const char *name, unsigned rows, uint64_t seed,
                     size_t *ret_bad)
{
    struct buffer out;

    buffer_init(&out, TEXT_LIMIT_BYTES);
    write_rows(&out, rows, seed, ret_bad);
    assert_false(out.full);
    folder_put(folder, name, out.data, out.size);
    buffer_free(&out);
}

static void test_same_bytes(void **state)
{
    struct outputs outputs;
    struct folder folder;
    char yaml[4096];
    size_t bad[2];

    folder_open(&folder);
    put_rows(&folder, "one.jsonl", 2500, 1, &bad[0]);
    put_rows(&folder, "two.jsonl", 1500, 2, &bad[1]);
    snprintf(yaml, sizeof yaml,
             "name: test\nsources:\n- {name: one, type: file, path: one.jsonl}\n"
             "- {name: two, type: file, path: two.jsonl}\n%s",
             rules_yaml);
    replay_all_ways(&folder, yaml, &outputs);
    for (int kind = 0; kind < DOC_KINDS; kind++)
        if (output_names[kind] && lines_of(outputs.texts[kind]) < (kind == DOC_SIGNAL ? 1 : 20))
            fail_msg("only %zu lines of %s", lines_of(outputs.texts[kind]), output_names[kind]);
    assert_int_equal(metric(&outputs, "messages_total"), 4000 + bad[0] + bad[1]);
    assert_int_equal(metric(&outputs, "source_messages_total{source=\"one\"}"), 2500 + bad[0]);
    assert_int_equal(metric(&outputs, "source_messages_total{source=\"two\"}"), 1500 + bad[1]);
    assert_true(metric(&outputs, "workers") >= 1);
    assert_int_equal(metric(&outputs, "rows_total"), 4000 + bad[0] + bad[1]);
    assert_int_equal(metric(&outputs, "rows_dropped_total{reason=\"malformed\"}"), bad[0] + bad[1]);
    assert_true(metric(&outputs, "rows_not_folded_total{reason=\"late\"}") > 0);
    assert_int_equal(metric(&outputs, "expression_errors_total"), 0);
    assert_true(occurrences(outputs.texts[DOC_ALERT], "\"rule\":\"failed\"") > 0);
    assert_true(occurrences(outputs.texts[DOC_ALERT], "\"rule\":\"run_failed\"") > 0);
    assert_true(occurrences(outputs.texts[DOC_ALERT], "\"rule\":\"many\"") > 0);
    assert_true(occurrences(outputs.texts[DOC_ALERT], "\"rule\":\"odd\"") > 0);
    assert_true(occurrences(outputs.texts[DOC_ALERT], "\"rule\":\"watch_failure\"") > 0);
    assert_true(occurrences(outputs.texts[DOC_ALERT], "\"rule\":\"watch_overdue\"") > 0);
    assert_true(metric(&outputs, "watch_kept") > 0);
    outputs_free(&outputs);
    folder_close(&folder);
}

/* Late rows corrected instead of dropped: as independent of workers and batches. */
static void test_corrections(void **state)
{
    struct outputs outputs;
    struct folder folder;
    char yaml[4096];
    size_t bad;

    folder_open(&folder);
    put_rows(&folder, "one.jsonl", 1500, 3, &bad);
    snprintf(yaml, sizeof yaml,
             "name: test\nsources: [{name: 'o\"n\\e', type: file, path: one.jsonl}]\n"
             "time: {lateness: 2s, late: correct, correct_for: 1m}\n%s",
             strstr(rules_yaml, "measures:"));
    replay_all_ways(&folder, yaml, &outputs);
    assert_true(metric(&outputs, "bucket_corrections_total") > 0);
    assert_int_equal(metric(&outputs, "source_messages_total{source=\"o\\\"n\\\\e\"}"), 1500 + bad);
    outputs_free(&outputs);
    folder_close(&folder);
}

/* A shuffle that stays within the lateness changes no bucket, no run, and nothing that the watch says. */
static void test_shuffle(void **state)
{
    static const char yaml[] =
        "name: test\nsources: [{name: one, type: file, path: rows.jsonl}]\n"
        "time: {lateness: 10s}\n"
        "watch: true\n"
        "measures: [{name: rows, of: value, by: [workflow], every: 7s, window: 21s}]\n";
    struct outputs sorted, shuffled;
    struct folder folder;
    struct buffer out;
    uint64_t random = 4;
    unsigned order[1000];

    folder_open(&folder);
    buffer_init(&out, TEXT_LIMIT_BYTES);
    for (unsigned pass = 0; pass < 2; pass++) {
        buffer_clear(&out);
        for (unsigned i = 0; i < 1000; i++)
            order[i] = i;
        for (unsigned i = 0; pass == 1 && i < 1000; i += 40)
            for (unsigned k = i + 39; k > i; k--) {
                unsigned j = i + (unsigned)random_below(&random, k - i + 1), swap = order[k];

                order[k] = order[j];
                order[j] = swap;
            }
        for (unsigned i = 0; i < 1000; i++)
            buffer_print(
                &out, "{\"time\":%llu,\"workflow\":\"w%u\",\"run\":\"r%u\",\"state\":\"%s\",\"value\":%u}\n",
                1795252618196ull + order[i] * 200ull, order[i] % 3, order[i] / 6,
                order[i] % 6 < 3 ? "running"
                : order[i] < 700 ? "success"
                                 : "failed", /* a burst, which the watch tells */
                order[i] % 17);
        folder_put(&folder, "rows.jsonl", out.data, out.size);
        replay(&folder, yaml, 2, 64, pass ? &shuffled : &sorted);
    }
    assert_true(lines_of(sorted.texts[DOC_BUCKET]) > 50 && lines_of(sorted.texts[DOC_RUN]) > 300);
    assert_string_equal(sorted.texts[DOC_BUCKET], shuffled.texts[DOC_BUCKET]);
    assert_string_equal(sorted.texts[DOC_RUN], shuffled.texts[DOC_RUN]);
    assert_true(lines_of(sorted.texts[DOC_ALERT]) >= 3);
    assert_string_equal(sorted.texts[DOC_ALERT], shuffled.texts[DOC_ALERT]);
    outputs_free(&sorted);
    outputs_free(&shuffled);
    buffer_free(&out);
    folder_close(&folder);
}

static void test_edges(void **state)
{
    static const char yaml[] = "name: test\nsources: [{name: one, type: file, path: rows.jsonl}]\n"
                               "time: {max_skew: 36500d}\n"
                               "measures: [{name: rows, every: 1d, window: 2d}]\n"
                               "rules: [{name: every, when: 'true', by: [run]}]\n";
    static const char first[] =
        "{\"time\":\"0001-01-01T00:00:00Z\",\"workflow\":\"w\",\"run\":\"a\",\"state\":\"running\"}\n"
        "{\"time\":\"0001-01-03T12:00:00Z\",\"workflow\":\"w\",\"run\":\"a\",\"state\":\"success\"}\n";
    static const char last[] =
        "{\"time\":\"9999-12-30T00:00:00Z\",\"workflow\":\"w\",\"run\":\"a\",\"state\":\"running\"}\n"
        "{\"time\":\"9999-12-31T23:59:59.999999Z\",\"workflow\":\"w\",\"run\":\"a\",\"state\":\"success\"}\n";
    static const char both[] =
        "{\"time\":\"0001-01-01T00:00:00Z\",\"workflow\":\"w\",\"run\":\"a\",\"state\":\"running\"}\n"
        "{\"time\":\"9999-12-31T23:59:59.999999Z\",\"workflow\":\"w\",\"run\":\"a\",\"state\":\"success\"}\n";
    static const char gap[] =
        "\n{\"time\":5,\"workflow\":\"w\",\"run\":\"a\",\"state\":\"success\"}"; /* no newline at the end */
    const struct {
        const char *text;
        size_t messages, runs, buckets;
    } cases[] = {{"", 0, 0, 0}, {first, 2, 2, 2}, {last, 2, 2, 1}, {both, 2, 2, 0}, {gap, 1, 1, 0}};
    struct outputs outputs;
    struct folder folder;

    folder_open(&folder);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        folder_put(&folder, "rows.jsonl", cases[i].text, strlen(cases[i].text));
        replay_all_ways(&folder, yaml, &outputs);
        assert_int_equal(lines_of(outputs.texts[DOC_RUN]), cases[i].runs);
        assert_int_equal(lines_of(outputs.texts[DOC_BUCKET]), cases[i].buckets);
        assert_int_equal(metric(&outputs, "messages_total"), cases[i].messages);
        outputs_free(&outputs);
    }
    folder_close(&folder);
}

/* The most bytes of rows that wait for their order, when so many of ten rows are in one of two files. */
static long order_peak(unsigned of_ten)
{
    static const char yaml[] = "name: test\ntime: {lateness: 1s}\nsources:\n"
                               "- {name: one, type: file, path: one.jsonl}\n"
                               "- {name: two, type: file, path: two.jsonl}\n";
    enum { ROWS = 2000, STEP_US = 1000000 };
    struct engine_options options = {.mode = ENGINE_REPLAY, .quiet = true, .stepped = true};
    const char *paths[DOC_KINDS] = {0};
    struct buffer files[2], metrics;
    struct engine *engine;
    struct folder folder;
    struct error error;
    long peak = 0;

    folder_open(&folder);
    for (unsigned i = 0; i < 2; i++)
        buffer_init(&files[i], TEXT_LIMIT_BYTES);
    for (unsigned i = 0; i < ROWS; i++)
        buffer_print(&files[i % 10 >= of_ten],
                     "{\"time\":%u,\"workflow\":\"w\",\"run\":\"r%u\",\"state\":\"success\"}\n",
                     1700000000 + i / 10, i);
    folder_put(&folder, "one.jsonl", files[0].data, files[0].size);
    folder_put(&folder, "two.jsonl", files[1].data, files[1].size);
    struct plan *plan = plan_load_in(&folder, yaml, 1, 10);
    assert_int_equal(collect_open(paths, &options.collect, &error), STATUS_OK);
    if (engine_start(plan, &options, &engine, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    buffer_init(&metrics, 1 << 20);
    for (int64_t now_us = 0; engine_wait(engine, 0, &error) == STATUS_RETRY; now_us += STEP_US) {
        engine_step(engine, 0, now_us);
        buffer_clear(&metrics);
        engine_metrics(engine, &metrics);
        buffer_put_char(&metrics, '\0');
        long bytes = metric(&(struct outputs){.metrics = metrics.data}, "queue_bytes{queue=\"order\"}");

        peak = bytes > peak ? bytes : peak;
    }
    engine_stop(engine);
    engine_free(engine);
    assert_int_equal(collect_close(options.collect, &error), STATUS_OK);
    plan_free(plan);
    buffer_free(&metrics);
    buffer_free(&files[0]);
    buffer_free(&files[1]);
    folder_close(&folder);
    return peak;
}

/* A partition with more events in the same time is read more often: the others' rows would wait for it. */
static void test_uneven_partitions(void **state)
{
    long even = order_peak(5), uneven = order_peak(8);

    (void)state;
    assert_true(even > 0);
    if (uneven > 2 * even)
        fail_msg("%ld bytes wait, %ld with evenly filled partitions", uneven, even);
}

/* A row of more text than an owner of ids can take in is put aside, and the rows around it count. */
static void test_unique_without_room(void **state)
{
    static const char yaml[] =
        "name: test\nsources: [{name: one, type: file, path: rows.jsonl, format: f}]\n"
        "formats: [{name: f, type: fields, map: {time: t, id: i, message: m, error: m}}]\n"
        "clean: [{dedupe: id, scope: all}]\nmeasures: [{name: rows, every: 4s}]\n";
    enum { LONG_BYTES = 35 << 20 }; /* twice is more than a batch holds */
    char *text = memory_grow(NULL, LONG_BYTES);
    struct outputs outputs;
    struct folder folder;
    struct buffer out;

    (void)state;
    memset(text, 'x', LONG_BYTES);
    buffer_init(&out, TEXT_LIMIT_BYTES);
    buffer_print(&out, "{\"t\":1,\"i\":\"a\"}\n{\"t\":2,\"i\":\"b\",\"m\":\"");
    buffer_put(&out, text, LONG_BYTES);
    buffer_print(&out, "\"}\n{\"t\":3,\"i\":\"c\"}\n{\"t\":4,\"i\":\"d\"}\n");
    assert_false(out.full);
    folder_open(&folder);
    folder_put(&folder, "rows.jsonl", out.data, out.size);
    replay(&folder, yaml, 2, 1024, &outputs);
    assert_int_equal(metric(&outputs, "rows_dropped_total{reason=\"malformed\"}"), 1);
    assert_non_null(strstr(outputs.texts[DOC_BUCKET], "\"count\":2"));
    outputs_free(&outputs);
    buffer_free(&out);
    free(text);
    folder_close(&folder);
}

/* The watch hears every source: also one whose rows are all copies, or dropped. */
static void test_unique_is_heard(void **state)
{
    static const char yaml[] = "name: test\nwatch: true\nsources:\n"
                               "- {name: one, type: file, path: one.jsonl}\n"
                               "- {name: copy, type: file, path: copy.jsonl}\n"
                               "- {name: dropped, type: file, path: dropped.jsonl}\n"
                               "- {name: later, type: file, path: later.jsonl}\n"
                               "clean: [{drop: 'source == \"dropped\"'}, {dedupe: message, scope: all}]\n";
    static const char *const names[] = {"one.jsonl", "copy.jsonl", "dropped.jsonl", "later.jsonl"};
    struct outputs outputs;
    struct folder folder;

    (void)state;
    folder_open(&folder);
    for (size_t n = 0; n < 4; n++) {
        struct buffer out;

        buffer_init(&out, TEXT_LIMIT_BYTES);
        for (unsigned i = 0; i < 20; i++)
            buffer_print(&out, "{\"time\":%u,\"message\":\"%s%u\"}\n", n == 3 ? 200 + i * 50 : i + 1,
                         n == 3 ? "later" : "", i);
        folder_put(&folder, names[n], out.data, out.size);
        buffer_free(&out);
    }
    replay_all_ways(&folder, yaml, &outputs);
    assert_int_equal(lines_of(outputs.texts[DOC_ALERT]), 3);
    assert_int_equal(occurrences(outputs.texts[DOC_ALERT], "\"target\":\"source:one\""), 1);
    assert_int_equal(occurrences(outputs.texts[DOC_ALERT], "\"target\":\"source:copy\""), 1);
    assert_int_equal(occurrences(outputs.texts[DOC_ALERT], "\"target\":\"source:dropped\""), 1);
    outputs_free(&outputs);
    folder_close(&folder);
}

/* Copies that come by two sources are rows of one run when they are given one name. */
static void test_copies_of_one_run(void **state)
{
    static const char yaml[] = "name: test\nsources:\n- {name: a, type: file, path: a.jsonl}\n- {name: b, "
                               "type: file, path: b.jsonl}\n"
                               "clean: [{set: source, to: '\"both\"'}, {dedupe: message, scope: all}]\n";
    static const char start[] =
        "{\"time\":1,\"message\":\"1\",\"workflow\":\"w\",\"run\":\"r\",\"state\":\"running\"}\n";
    static const char end[] =
        "{\"time\":2,\"message\":\"2\",\"workflow\":\"w\",\"run\":\"r\",\"state\":\"success\"}\n";
    struct outputs outputs;
    struct folder folder;

    (void)state;
    folder_open(&folder);
    folder_put(&folder, "a.jsonl", start, strlen(start));
    folder_put(&folder, "b.jsonl", end, strlen(end));
    replay_all_ways(&folder, yaml, &outputs);
    assert_int_equal(lines_of(outputs.texts[DOC_RUN]), 2);
    assert_non_null(strstr(outputs.texts[DOC_RUN], "\"source\":\"both\""));
    assert_non_null(strstr(outputs.texts[DOC_RUN], "\"duration_ms\":1000"));
    outputs_free(&outputs);
    folder_close(&folder);
}

/* An error of more than an evidence holds is cut, not left out. */
static void test_long_error(void **state)
{
    static const char yaml[] = "name: test\nsources: [{name: one, type: file, path: rows.jsonl}]\n"
                               "rules: [{name: all, when: 'true', by: [workflow]}]\n";
    enum { LONG_BYTES = 300 * 1024 };
    char *text = memory_grow(NULL, LONG_BYTES);
    struct outputs outputs;
    struct folder folder;
    struct buffer out;

    (void)state;
    memset(text, 'x', LONG_BYTES);
    buffer_init(&out, TEXT_LIMIT_BYTES);
    buffer_print(&out, "{\"time\":1,\"workflow\":\"w\",\"error\":\"");
    buffer_put(&out, text, LONG_BYTES);
    buffer_print(&out, "\"}\n");
    folder_open(&folder);
    folder_put(&folder, "rows.jsonl", out.data, out.size);
    replay(&folder, yaml, 1, 1024, &outputs);
    assert_non_null(strstr(outputs.texts[DOC_ALERT], "w: xxxx"));
    outputs_free(&outputs);
    buffer_free(&out);
    free(text);
    folder_close(&folder);
}

static bool shared_path(const char *name, char ret_path[512])
{
    const char *shared = getenv("WEIR_SHARED");

    snprintf(ret_path, 512, "%s/data/events/%s", shared ? shared : "../shared", name);
    if (ret_path[0] != '/') {
        char relative[512];
        char root[256];

        memcpy(relative, ret_path, sizeof relative);
        assert_non_null(getcwd(root, sizeof root));
        snprintf(ret_path, 512, "%s/%.250s", root, relative);
    }
    return access(ret_path, R_OK) == 0;
}

static void check_recording(const char *recording, const char *format, struct outputs *ret_outputs)
{
    struct folder folder;
    char path[512], yaml[4096];

    if (!shared_path(recording, path))
        skip();
    snprintf(yaml, sizeof yaml, "name: test\nsources: [{name: one, type: file, path: '%s', format: %s}]\n%s",
             path, format, rules_yaml);
    folder_open(&folder);
    replay_all_ways(&folder, yaml, ret_outputs);
    folder_close(&folder);
}

static void test_airflow(void **state)
{
    size_t runs[STATE_COUNT], tasks[STATE_COUNT];
    struct outputs outputs;

    check_recording("airflow/dev/openlineage.jsonl.zst", "openlineage", &outputs);
    count_states(outputs.texts[DOC_RUN], "run", runs);
    count_states(outputs.texts[DOC_RUN], "task", tasks);
    assert_int_equal(runs[STATE_SUCCESS], 155);
    assert_int_equal(runs[STATE_FAILED], 2);
    assert_int_equal(runs[STATE_RUNNING], 1);
    assert_int_equal(tasks[STATE_SUCCESS], 633);
    assert_int_equal(tasks[STATE_FAILED], 29);
    for (int s = 0; s < STATE_COUNT; s++)
        if (s != STATE_SUCCESS && s != STATE_FAILED)
            assert_int_equal((s == STATE_RUNNING ? 0 : runs[s]) + tasks[s], 0);
    assert_int_equal(metric(&outputs, "messages_total"), 1639);
    assert_int_equal(metric(&outputs, "rows_dropped_total{reason=\"malformed\"}"), 0);
    outputs_free(&outputs);
}

static void test_celery(void **state)
{
    size_t runs[STATE_COUNT];
    struct outputs outputs;

    check_recording("celery/dev/events.jsonl.zst", "celery", &outputs);
    count_states(outputs.texts[DOC_RUN], "run", runs);
    assert_int_equal(runs[STATE_SUCCESS], 5206);
    assert_int_equal(runs[STATE_FAILED], 73);
    assert_int_equal(runs[STATE_CANCELLED], 17);
    assert_int_equal(metric(&outputs, "messages_total"), 23553);
    assert_int_equal(metric(&outputs, "rows_dropped_total{reason=\"malformed\"}"), 0);
    outputs_free(&outputs);
}

/* A stop in the middle gives everything back, also what is under way between workers (the leak checker
 * looks). */
static void test_stop(void **state)
{
    struct engine_options options = {.mode = ENGINE_REPLAY, .quiet = true};
    const char *paths[DOC_KINDS] = {0};
    struct folder folder;
    char yaml[4096];
    size_t bad;

    folder_open(&folder);
    put_rows(&folder, "one.jsonl", 20000, 5, &bad);
    put_rows(&folder, "two.jsonl", 20000, 6, &bad);
    snprintf(yaml, sizeof yaml,
             "name: test\nsources:\n- {name: one, type: file, path: one.jsonl}\n"
             "- {name: two, type: file, path: two.jsonl}\n%s",
             rules_yaml);
    for (unsigned wait_us = 0; wait_us < 100000; wait_us += 20000) {
        struct plan *plan = plan_load_in(&folder, yaml, 3, 16);
        struct engine *engine;
        struct error error;

        assert_int_equal(collect_open(paths, &options.collect, &error), STATUS_OK);
        assert_int_equal(engine_start(plan, &options, &engine, &error), STATUS_OK);
        usleep(wait_us);
        engine_stop(engine);
        engine_free(engine);
        assert_int_equal(collect_close(options.collect, &error), STATUS_OK);
        plan_free(plan);
    }
    folder_close(&folder);
}

/* A source that cannot be opened: an error that names it, nothing left behind. */
static void test_failed_start(void **state)
{
    struct engine_options options = {.mode = ENGINE_REPLAY, .quiet = true};
    const char *paths[DOC_KINDS] = {0};
    struct engine *engine = NULL;
    struct folder folder;
    struct plan *plan;
    struct error error;

    folder_open(&folder);
    plan = plan_load_in(&folder, "name: test\nsources: [{name: one, type: file, path: none.jsonl}]\n", 3, 16);
    assert_int_equal(collect_open(paths, &options.collect, &error), STATUS_OK);
    assert_int_equal(engine_start(plan, &options, &engine, &error), STATUS_FATAL);
    assert_non_null(strstr(error.text, "none.jsonl"));
    assert_null(engine);
    assert_int_equal(collect_close(options.collect, &error), STATUS_OK);
    plan_free(plan);
    folder_close(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bytes),
        cmocka_unit_test(test_corrections),
        cmocka_unit_test(test_shuffle),
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_uneven_partitions),
        cmocka_unit_test(test_unique_without_room),
        cmocka_unit_test(test_unique_is_heard),
        cmocka_unit_test(test_copies_of_one_run),
        cmocka_unit_test(test_long_error),
        cmocka_unit_test(test_airflow),
        cmocka_unit_test(test_celery),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_failed_start),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
