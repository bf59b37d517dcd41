/* Lines of logs in the watch: new templates and floods; that batches and cuts change nothing. */
#include "tests/base/random.h"
#include "tests/pipeline/stored.h"
#include "tests/pipeline/watch_rig.h"

#include <stdio.h>

enum { ROWS = 64, STEPS = 6000 };

struct line {
    int64_t time_us;
    const char *workflow, *task, *level;
    char message[120];
};

static struct rig *lines_open(void)
{
    struct rig *rig = rig_open(big_plan);

    event_batch_free(&rig->batch);
    event_batch_init(&rig->batch, ROWS, &rig->plan->labels);
    return rig;
}

/* The lines as one batch. */
static int64_t offset; /* of the next line */

static void say_lines(struct rig *rig, const struct line *lines, uint32_t count)
{
    struct event_batch *batch = &rig->batch;

    assert_true(count <= ROWS);
    event_batch_reset(batch);
    for (uint32_t row = 0; row < count; row++) {
        event_batch_add(batch);
        batch->time_us[row] = lines[row].time_us;
        batch->watermark_us[row] = INT64_MIN;
        batch->offset[row] = offset++;
        batch->partition[row] = 0;
        batch->source[row] = SPAN_LITERAL("s");
        batch->workflow[row] = span_of(lines[row].workflow);
        batch->task[row] = span_of(lines[row].task);
        batch->level[row] = span_of(lines[row].level);
        batch->message[row] = span_of(lines[row].message);
    }
    watch_events(rig->watch, batch);
    pump(rig);
}

static void say(struct rig *rig, double second, const char *task, const char *level, const char *message)
{
    struct line line = {
        .time_us = begin_us + (int64_t)(second * SECOND), .workflow = "w", .task = task, .level = level};

    (void)snprintf(line.message, sizeof line.message, "%s", message);
    say_lines(rig, &line, 1);
    advance(rig, line.time_us, false);
}

/* Two lines a second. */
static void say_usual(struct rig *rig, const char *task, unsigned from, unsigned to)
{
    char message[80];

    for (unsigned second = from; second < to; second++) {
        (void)snprintf(message, sizeof message, "started %s of w with %u rows", task, second);
        say(rig, second, task, "INFO", message);
        (void)snprintf(message, sizeof message, "batch %u of %u done", second, to);
        say(rig, second + 0.5, task, "INFO", message);
    }
}

static void test_new_template(void **state)
{
    struct rig *rig = lines_open();

    (void)state;
    say_usual(rig, "load", 0, 30);
    say(rig, 30, "load", "INFO", "reading index 7"); /* 30 quiet seconds are few for what is no warning */
    say_usual(rig, "load", 31, 60);
    say(rig, 60.2, "load", "WARNING", "index 7 of w.load is gone");
    say(rig, 60.4, "load", "INFO", "trying another one");
    say(rig, 61.0, "load", "WARNING", "index 8 of w.load is gone");
    advance(rig, begin_us + 62 * SECOND, false);
    assert_told(rig,
                "61.000 watch_template firing w/load 'w/load logs what it never did: index <*> of <*> is "
                "gone; a line: index 7 of w.load is gone' nan nan\n");
    advance(rig, begin_us + 361 * (int64_t)SECOND + 1, false);
    assert_told(rig, "361.000 watch_template over w/load '' nan nan\n");
    rig_close(rig);
}

/* What another task of the source logs, up to the tasks' names, is not new. */
static void test_known_elsewhere(void **state)
{
    struct rig *rig = lines_open();

    (void)state;
    say(rig, 0, "clean", "ERROR", "retry of clean in 5 s");
    say_usual(rig, "load", 1, 100);
    say(rig, 100, "load", "ERROR", "retry of load in 7 s");
    say(rig, 101, "other", "ERROR", "a task that was not known"); /* has no usual */
    advance(rig, begin_us + 110 * SECOND, true);
    assert_told(rig, "");
    rig_close(rig);
}

/* Step i, always the same: mostly usual lines of three tasks, now and then something new, and floods. */
static uint32_t step(unsigned i, struct line lines[8])
{
    static const char *const tasks[] = {"a", "b", "c"};
    uint64_t random = 77 + i;
    uint32_t count = 1 + (uint32_t)random_below(&random, i % 1000 > 960 ? 8 : 2);

    for (uint32_t row = 0; row < count; row++) {
        struct line *line = &lines[row];
        unsigned kind = (unsigned)random_below(&random, 400);
        *line = (struct line){.time_us =
                                  begin_us + i * (int64_t)SECOND / 8 + (int64_t)random_below(&random, SECOND),
                              .workflow = "w",
                              .task = tasks[i % 1000 > 960 ? 0 : random_below(&random, 3)],
                              .level = kind == 0 ? "ERROR" : "INFO"};
        if (kind < 2)
            (void)snprintf(line->message, sizeof line->message, "%c%c surprise", 'a' + (int)(i % 26),
                           'a' + (int)(i / 26 % 26));
        else
            (void)snprintf(line->message, sizeof line->message, "usual line of kind %c after %u ms",
                           'a' + (int)(kind % 5), kind);
    }
    return count;
}

static struct rig *restart(struct rig *rig, const struct stored *stored, int64_t passed_us)
{
    struct rig *next = lines_open();
    struct error error;

    for (size_t i = 0; i < stored->complete.count; i++) {
        const struct stored_value *value = &stored->complete.items[i];
        enum status status = value->key.kind == STATE_WATCH
                                 ? watch_restore(next->watch, &value->key, value->bytes, &error)
                                 : watch_words_restore(value->bytes, next->port, 1, &error);
        if (status != STATUS_OK)
            fail_msg("%s", error.text);
    }
    pump(next);
    watch_restored(next->watch, passed_us);
    buffer_put(&next->told, rig->told.data, rig->told.size);
    rig_close(rig);
    return next;
}

/* The lines of all steps, `together` in a batch, with a restart from a cut after each `every` steps. */
static struct rig *go(unsigned together, unsigned every)
{
    struct rig *rig = lines_open();
    struct line lines[ROWS];
    uint32_t held = 0;
    offset = 0;
    unsigned cut = 0;

    for (unsigned i = 0; i < STEPS; i++) {
        held += step(i, lines + held);
        if (i % together && i + 1 < STEPS)
            continue;
        for (uint32_t at = 0; at < held; at += together == 1 ? 1 : held)
            say_lines(rig, lines + at, together == 1 ? 1 : held);
        held = 0;
        int64_t known_us = begin_us + (i + 1) * (int64_t)SECOND / 8;
        advance(rig, known_us, false);
        if (every && i % every == 0) {
            struct stored stored;
            stored_open(&stored);
            watch_freeze(rig->watch, &stored.saver, 0, cut + 1, cut);
            cut++;
            while (!watch_save(rig->watch, 1 << 20))
                ;
            stored_flip(&stored);
            rig = restart(rig, &stored, known_us);
            stored_close(&stored);
        }
    }
    advance(rig, begin_us + STEPS * (int64_t)SECOND / 8, true);
    return rig;
}

static void test_batches_and_restarts(void **state)
{
    struct rig *one = go(1, 0), *many = go(6, 0), *again = go(2, 500);

    (void)state;
    buffer_put_char(&one->told, 0);
    buffer_put_char(&many->told, 0);
    buffer_put_char(&again->told, 0);
    assert_non_null(strstr(one->told.data, "watch_template firing"));
    assert_string_equal(one->told.data, many->told.data);
    assert_string_equal(one->told.data, again->told.data);
    rig_close(one);
    rig_close(many);
    rig_close(again);
}

static void test_names_are_values(void **state)
{
    static const struct {
        const char *line, *pattern;
    } cases[] = {
        {"etl.load of etl by load: 5 MB", "<*> of <*> by <*>: <*>"},
        {"loads of etls, download", "loads of etls, download"},
        {"on eth0 true user= (x)", "on <*> user=<*> (x)"},
        {"", ""},
    };
    const struct span names[WATCH_TEXTS] = {
        [WATCH_WORKFLOW] = SPAN_LITERAL("etl"), [WATCH_TASK] = SPAN_LITERAL("load")};
    char text[WATCH_LINE_BYTES];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct span got = watch_line_template(span_of(cases[i].line), names, text);
        assert_true(span_is(got, cases[i].pattern));
    }
}

static void test_any_bytes(void **state)
{
    struct span names[WATCH_TEXTS] = {[WATCH_WORKFLOW] = SPAN_LITERAL("a")};
    static const char pieces[] = "a=a ()[]{}'\"0,.;:/@";
    char line[900], text[WATCH_LINE_BYTES];
    uint64_t seed = 3;

    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        size_t size = random_below(&seed, sizeof line);
        for (size_t i = 0; i < size; i++)
            line[i] =
                round % 2 ? pieces[random_below(&seed, sizeof pieces - 1)] : (char)random_below(&seed, 256);
        assert_in_range(watch_line_template(span_make(line, size), names, text).size, 0, WATCH_LINE_BYTES);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_template),
        cmocka_unit_test(test_known_elsewhere),
        cmocka_unit_test(test_batches_and_restarts),
        cmocka_unit_test(test_names_are_values),
        cmocka_unit_test(test_any_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
