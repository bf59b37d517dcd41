/* The built-in watch: what each rule finds and what ends it; that the rhythm of advances and restarts from
 * what random cuts stored change nothing; that damaged values never do harm. */
#include "tests/base/random.h"
#include "tests/pipeline/stored.h"
#include "tests/pipeline/watch_rig.h"

#include <math.h>
#include <stdio.h>

enum { STEPS = 5000, SEEDS = 4 };

static void test_failure(void **state)
{
    struct rig *rig = rig_open(big_plan);
    struct run_record task = run_of("w", "t", "r1"), run = run_of("w", "", "r1");

    (void)state;
    task.error = SPAN_LITERAL("disk full");
    task.will_retry = true;
    say_run(rig, &task, begin_us, STATE_FAILED);
    advance(rig, begin_us + SECOND, false);
    assert_told(rig, "");
    task.will_retry = false;
    say_run(rig, &task, begin_us + SECOND, STATE_FAILED);
    run.task_failed = true;
    say_run(rig, &run, begin_us + 2 * SECOND, STATE_FAILED); /* says nothing that its task has not said */
    run.task_failed = false;
    run.run = SPAN_LITERAL("r2");
    say_run(rig, &run, begin_us + 3 * SECOND, STATE_TIMED_OUT);
    task.run = SPAN_LITERAL("r2");
    say_run(rig, &task, begin_us + 4 * SECOND, STATE_SUCCESS);
    task.run = SPAN_LITERAL("r3");
    say_run(rig, &task, begin_us + 5 * SECOND, STATE_SUCCESS);
    advance(rig, begin_us + 5 * SECOND, true);
    assert_told(rig, "1.000 watch_failure firing w/t 'w/t failed: disk full' nan nan\n"
                     "3.000 watch_failure firing w 'w failed' nan nan\n"
                     "4.000 watch_failure over w/t '' nan nan\n");
    rig_close(rig);
}

/* A row that waits for its turn says what its transition will say, under the same key and after it. */
static void test_expected_failure(void **state)
{
    struct rig *rig = rig_open(big_plan);
    struct run_record run = run_of("w", "t", "r");
    struct span texts[RUN_TEXTS] = {[RUN_SOURCE] = SPAN_LITERAL("s"),
                                    [RUN_WORKFLOW] = run.workflow,
                                    [RUN_TASK] = run.task,
                                    [RUN_RUN] = run.run,
                                    [RUN_ERROR] = SPAN_LITERAL("disk full")};
    struct run_row row = {.order_us = begin_us, .state = STATE_RUNNING, .texts = texts};
    struct runs *runs = runs_new(rig->plan, NULL, NULL);

    (void)state;
    watch_expect(rig->watch, runs, &row);
    row.state = STATE_FAILED;
    watch_expect(rig->watch, runs, &row);
    row.will_retry = true;
    watch_expect(rig->watch, runs, &row);
    row.will_retry = false;
    texts[RUN_TASK] = (struct span){0};
    watch_expect(rig->watch, runs, &row);
    pump(rig);
    assert_told(rig, "0.000 watch_failure expected w/t 'w/t failed: disk full' nan nan\n");
    struct id128 expected = rig->dedup;
    run.error = texts[RUN_ERROR];
    say_run(rig, &run, begin_us, STATE_FAILED);
    advance(rig, begin_us, true);
    assert_told(rig, "0.000 watch_failure firing w/t 'w/t failed: disk full' nan nan\n");
    assert_true(id_equal(expected, rig->dedup));
    runs_free(runs);
    rig_close(rig);
}

static void test_failure_with_a_long_error(void **state)
{
    static char error[10000];
    struct rig *rig = rig_open(big_plan);
    struct run_record task = run_of("w", "t", "r");

    (void)state;
    memset(error, 'x', sizeof error);
    task.error = span_make(error, sizeof error);
    say_run(rig, &task, begin_us, STATE_FAILED);
    advance(rig, begin_us, true);
    assert_non_null(memmem(rig->told.data, rig->told.size, "'w/t failed: xxx", 16));
    rig_close(rig);
}

static void test_slow_and_overdue(void **state)
{
    struct rig *rig = rig_open(big_plan);
    int64_t now_us = learn(rig, 4, begin_us);
    struct run_record run = run_of("w", "t", "unknown"), slow = run_of("w", "t", "slow"),
                      normal = run_of("w", "t", "normal"), stream = run_of("w", "t", "stream");

    (void)state;
    say_run(rig, &run, now_us, STATE_RUNNING);
    say_run(rig, &run, now_us + 9 * SECOND, STATE_SUCCESS); /* the fifth: nothing is known before */
    now_us += 10 * SECOND;
    stream.is_endless = true;
    say_run(rig, &stream, now_us, STATE_RUNNING);
    say_run(rig, &slow, now_us, STATE_RUNNING);
    advance(rig, now_us + 20 * SECOND, false);
    assert_told(rig, "");
    say_run(rig, &slow, now_us + 80 * SECOND, STATE_SUCCESS);
    say_run(rig, &normal, now_us + 81 * SECOND, STATE_RUNNING);
    say_run(rig, &normal, now_us + 85 * SECOND, STATE_SUCCESS);
    advance(rig, now_us + 3600 * (int64_t)SECOND, false);
    assert_told(
        rig,
        "93.282 watch_overdue firing w/t 'w/t still runs after 43.3 s; usually 4.6 s, by 5 before' 43.282 "
        "4.6211\n"
        "130.000 watch_overdue over w/t '' nan nan\n"
        "130.000 watch_duration firing w/t 'w/t took 80.0 s; usually 4.6 s, by 5 before' 80 4.6211\n"
        "135.000 watch_duration over w/t '' 4 5.68466\n"); /* the slow one counts as 27 s */
    rig_close(rig);
}

/* A success that began in 1970 makes nobody wait for years. */
static void test_wrong_start(void **state)
{
    struct rig *rig = rig_open(big_plan);
    int64_t now_us = learn(rig, 5, begin_us);
    struct run_record wrong = run_of("w", "t", "wrong"), stuck = run_of("w", "t", "stuck");

    (void)state;
    wrong.started_us = 0;
    say_run(rig, &wrong, now_us, STATE_SUCCESS);
    advance(rig, now_us + SECOND, false);
    assert_true(rig->told.size > 0); /* that it was slow */
    buffer_clear(&rig->told);
    say_run(rig, &stuck, now_us + SECOND, STATE_RUNNING);
    advance(rig, now_us + 1000 * (int64_t)SECOND, false);
    assert_told(
        rig,
        "100.567 watch_overdue firing w/t 'w/t still runs after 49.6 s; usually 4.5 s, by 6 before' 49.5669 "
        "4.46114\n");
    rig_close(rig);
}

/* The timers of what has ended are not kept until they fall due. */
static void test_timers_are_bounded(void **state)
{
    struct rig *rig = rig_open(big_plan);
    int64_t now_us = begin_us;

    (void)state;
    for (unsigned i = 0; i < 20000; i++, now_us += SECOND) {
        char name[16];
        struct run_record run = run_of("w", "t", "");

        snprintf(name, sizeof name, "r%u", i);
        run.run = span_of(name);
        say_run(rig, &run, now_us, STATE_RUNNING);
        if (i < 5)
            run.started_us = 0; /* before anything is known: all that follows is waited for longer */
        say_run(rig, &run, now_us + SECOND, STATE_SUCCESS);
        run.is_task = false;
        run.task = (struct span){0};
        say_run(rig, &run, now_us + SECOND, STATE_SUCCESS);
        advance(rig, now_us, false);
        assert_true(rig->watch->timer_count < 2000);
    }
    rig_close(rig);
}

/* Attempts that began before their task was known are found too; the end of the last one ends it. */
static void test_overdue_before_known(void **state)
{
    struct rig *rig = rig_open(big_plan);
    struct run_record one = run_of("w", "t", "one"), two = run_of("w", "t", "two");
    int64_t now_us;

    (void)state;
    say_run(rig, &one, begin_us, STATE_RUNNING);
    say_run(rig, &two, begin_us + SECOND, STATE_RUNNING);
    now_us = learn(rig, 5, begin_us);
    advance(rig, now_us + 100 * SECOND, false);
    assert_told(rig, "64.000 watch_overdue firing w/t 'w/t still runs after 64.0 s; usually 4.0 s, by 5 "
                     "before' 64 4\n"
                     "65.000 watch_overdue firing w/t 'w/t still runs after 64.0 s; usually 4.0 s, by 5 "
                     "before' 64 4\n");
    say_run(rig, &one, now_us + 100 * SECOND, STATE_FAILED);
    advance(rig, now_us + 101 * SECOND, false);
    assert_told(rig, ""); /* one failure of what runs each ten seconds is no news */
    say_run(rig, &two, now_us + 101 * SECOND, STATE_CANCELLED);
    advance(rig, now_us + 102 * SECOND, false);
    assert_told(rig, "151.000 watch_overdue over w/t '' nan nan\n");
    rig_close(rig);
}

/* A second of events each of `count` seconds; returns the time after them. */
static int64_t hear(struct rig *rig, unsigned count, int64_t at_us)
{
    for (unsigned i = 0; i < count; i++, at_us += SECOND) {
        say_event(rig, at_us + 100, "", "");
        say_event(rig, at_us + 200, "", "");
    }
    return at_us;
}

static void test_silence(void **state)
{
    struct rig *rig = rig_open(big_plan);

    (void)state;
    hear(rig, 9, begin_us);
    say_event(rig, begin_us + 98 * SECOND, "", "");
    say_event(rig, begin_us + 600 * SECOND, "", ""); /* the time away is no pause */
    advance(rig, begin_us + 600 * SECOND, false);
    assert_told(rig, "549.000 watch_silence firing source:s 'no events from s for 450.0 s; the longest pause "
                     "before was 90.0 s' 450 90\n");
    advance(rig, begin_us + 1000 * (int64_t)SECOND, false);
    assert_told(rig, "601.000 watch_silence over source:s '' nan nan\n");
    watch_advance(rig->watch, begin_us + 4000 * (int64_t)SECOND, begin_us, false); /* by the idle clock */
    pump(rig);
    assert_told(rig, "1051.000 watch_silence firing source:s 'no events from s for 450.0 s; the longest "
                     "pause before was 90.0 s' 450 90 provisional\n");
    rig_close(rig);
}

/* A name that came by now and then is no source to wait for. */
static void test_silence_of_the_unknown(void **state)
{
    struct rig *rig = rig_open(big_plan);

    (void)state;
    hear(rig, 9, begin_us);
    advance(rig, begin_us + 5000 * (int64_t)SECOND, false);
    assert_told(rig, "");
    hear(rig, 1, begin_us + 5000 * (int64_t)SECOND);
    advance(rig, begin_us + 50000 * (int64_t)SECOND, false);
    assert_told(rig, "29961.000 watch_silence firing source:s 'no events from s for 24960.0 s; the longest "
                     "pause before was 4992.0 s' 24960 4992\n");
    rig_close(rig);
}

static struct rig *restart(const struct rig *rig, const struct stored *stored, const char *yaml,
                           int64_t passed_us);

/* After idle time the rows of it come in several turns: what they say may be followed by more. */
static void test_backlog(void **state)
{
    for (unsigned restarts = 0; restarts < 2; restarts++) {
        struct rig *rig = rig_open(big_plan);
        int64_t idle_us = begin_us + 1000 * (int64_t)SECOND, now_us = hear(rig, 10, learn(rig, 5, begin_us));
        struct run_record run = run_of("w", "t", "late");

        (void)state;
        say_event(rig, now_us, "h", "worker-heartbeat");
        say_event(rig, now_us + 5 * SECOND, "h", "worker-heartbeat");
        watch_advance(rig->watch, idle_us, now_us, false);
        pump(rig);
        assert_told(rig, "116.000 watch_heartbeat firing host:h 'no heartbeat of h for 50.0 s; usually every "
                         "5.0 s' 50 5 provisional\n"
                         "366.000 watch_silence firing source:s 'no events from s for 300.0 s; the longest "
                         "pause before was 5.0 s' 300 5 provisional\n");
        if (restarts) {
            struct stored stored;

            stored_open(&stored);
            watch_freeze(rig->watch, &stored.saver, 0, 1, 0);
            while (!watch_save(rig->watch, 1 << 20))
                continue;
            stored_flip(&stored);
            struct rig *next = restart(rig, &stored, big_plan, idle_us);
            rig_close(rig);
            rig = next;
            stored_close(&stored);
        }
        say_run(rig, &run, begin_us + 100 * SECOND, STATE_RUNNING);
        for (unsigned i = 0; i < 5; i++) { /* each in a turn of its own */
            say_event(rig, begin_us + (100 + i * 10) * (int64_t)SECOND, "h", "worker-heartbeat");
            watch_advance(rig->watch, idle_us, now_us, false);
            pump(rig);
        }
        assert_told(rig, "366.000 watch_silence over source:s '' nan nan\n"
                         "121.000 watch_heartbeat over host:h '' nan nan\n");
        say_run(rig, &run, begin_us + 104 * SECOND, STATE_SUCCESS);
        watch_advance(rig->watch, idle_us + 1000 * (int64_t)SECOND, now_us, false);
        pump(rig);
        assert_told(rig,
                    "1083.333 watch_heartbeat firing host:h 'no heartbeat of h for 942.3 s; usually every "
                    "8.3 s' 942.333 8.33333 provisional\n"
                    "1300.000 watch_silence firing source:s 'no events from s for 1159.0 s; the longest "
                    "pause before was 10.0 s' 1159 10 provisional\n");
        rig_close(rig);
    }
}

static void test_heartbeats(void **state)
{
    struct rig *rig = rig_open(big_plan);
    int64_t at_us = begin_us;

    (void)state;
    for (unsigned i = 0; i < 20; i++, at_us += 5 * SECOND)
        say_event(rig, at_us, "h", "worker-heartbeat");
    say_event(rig, begin_us + 200 * SECOND, "h", "worker-online");
    advance(rig, begin_us + 210 * SECOND, false);
    assert_told(rig, "146.000 watch_heartbeat firing host:h 'no heartbeat of h for 50.0 s; usually every 5.0 "
                     "s' 50 5\n"
                     "201.000 watch_heartbeat over host:h '' nan nan\n");
    say_event(rig, begin_us + 210 * SECOND + 100, "h", "worker-heartbeat");
    say_event(rig, begin_us + 210 * SECOND + 200, "h", "worker-offline"); /* the beat was before */
    say_event(rig, begin_us + 220 * SECOND, "h", "worker-heartbeat");     /* soon back: no news */
    advance(rig, begin_us + 250 * SECOND, false);
    assert_told(rig, "");
    say_event(rig, begin_us + 250 * SECOND, "h", "worker-offline");
    say_event(rig, begin_us + 290 * SECOND, "h", "worker-heartbeat");
    advance(rig, begin_us + 300 * SECOND, false);
    assert_told(rig, "280.000 watch_heartbeat firing host:h 'h went offline' nan nan\n"
                     "291.000 watch_heartbeat over host:h '' nan nan\n");
    rig_close(rig);
}

/* A worker that only says that it is there beats in no time that could be missed. */
static void test_no_heartbeats(void **state)
{
    struct rig *rig = rig_open(big_plan);

    (void)state;
    say_event(rig, begin_us, "h", "worker-online");
    advance(rig, begin_us + 5000 * (int64_t)SECOND, false);
    assert_told(rig, "");
    say_event(rig, begin_us + 5000 * (int64_t)SECOND, "h", "worker-offline");
    advance(rig, begin_us + 5031 * (int64_t)SECOND, false);
    assert_told(rig, "5030.000 watch_heartbeat firing host:h 'h went offline' nan nan\n");
    rig_close(rig);
}

/* At the end of input nothing fires beyond it. */
static void test_end(void **state)
{
    struct rig *rig = rig_open(big_plan);

    (void)state;
    say_event(rig, begin_us, "h", "worker-heartbeat");
    say_event(rig, begin_us + SECOND, "h", "worker-heartbeat");
    advance(rig, begin_us + 31 * SECOND, true);
    assert_told(rig, "");
    advance(rig, begin_us + 32 * SECOND, true);
    assert_told(rig, "32.000 watch_heartbeat firing host:h 'no heartbeat of h for 30.0 s; usually every 1.0 "
                     "s' 30 1\n");
    rig_close(rig);
}

/* Step i of a seed: always the same, up to five seconds ahead of what is known. */
static void step(struct rig *rig, uint64_t seed, unsigned i)
{
    static const enum run_state states[] = {STATE_RUNNING, STATE_RUNNING,  STATE_RUNNING, STATE_RUNNING,
                                            STATE_RUNNING, STATE_RUNNING,  STATE_QUEUED,  STATE_WAITING,
                                            STATE_SUCCESS, STATE_SUCCESS,  STATE_SUCCESS, STATE_SUCCESS,
                                            STATE_FAILED,  STATE_CANCELLED};
    uint64_t random = seed * 1000003 + i;
    int64_t at_us = begin_us + i * (int64_t)SECOND / 4 + (int64_t)random_below(&random, 5 * SECOND);
    char workflow[16], name[16], host[16];
    struct run_record run;

    snprintf(workflow, sizeof workflow, "w%u", (unsigned)random_below(&random, 4));
    snprintf(name, sizeof name, "r%u", i / 8 - (unsigned)random_below(&random, i / 8 < 5 ? i / 8 + 1 : 5));
    snprintf(host, sizeof host, "h%u", (unsigned)random_below(&random, 3));
    if (random_below(&random, 2)) {
        if (i / 300 % 3) /* sometimes all are silent for a while */
            say_event(rig, at_us, host, random_below(&random, 20) ? "worker-heartbeat" : "worker-offline");
        return;
    }
    run = run_of(workflow, random_below(&random, 2) ? "t" : "", name);
    run.version = i;
    run.started_us = at_us - (int64_t)random_below(&random, 20 * SECOND);
    run.map_index = random_below(&random, 2) ? INT32_MIN : (int32_t)random_below(&random, 5);
    run.will_retry = random_below(&random, 4) == 0;
    say_run(rig, &run, at_us, states[random_below(&random, sizeof states / sizeof *states)]);
}

static int64_t known_us(unsigned i)
{
    return begin_us + (i + 1) * (int64_t)SECOND / 4;
}

static struct rig *restart(const struct rig *rig, const struct stored *stored, const char *yaml,
                           int64_t passed_us)
{
    struct rig *next = rig_open(yaml);
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
    return next;
}

/* Goes through all steps, with a cut now and then, and after some of them a restart. */
static struct rig *go(const char *yaml, uint64_t seed, unsigned every, bool restarts, unsigned *ret_restarts)
{
    struct rig *rig = rig_open(yaml);
    struct stored stored;
    uint64_t random = seed + every;
    unsigned cut = 0;
    bool saving = false;

    stored_open(&stored);
    for (unsigned i = 0; i < STEPS; i++) {
        step(rig, seed, i);
        if (i % every == 0)
            advance(rig, known_us(i), false);
        if (restarts && !saving && random_below(&random, 200) == 0) {
            watch_freeze(rig->watch, &stored.saver, 0, cut + 1, cut);
            cut++;
            saving = true;
            size_t told = rig->told.size;

            for (unsigned more = i + 1; more < STEPS && more < i + 40; more++) { /* lost with the crash */
                step(rig, seed, more);
                advance(rig, known_us(more), false);
                saving = saving && !watch_save(rig->watch, 64);
            }
            while (saving)
                saving = !watch_save(rig->watch, 1 << 20);
            stored_flip(&stored);
            buffer_truncate(&rig->told, told);
            struct rig *next = restart(rig, &stored, yaml, known_us(i - i % every));
            rig_close(rig);
            rig = next;
            ++*ret_restarts;
        }
    }
    advance(rig, known_us(STEPS), true);
    stored_close(&stored);
    return rig;
}

static void test_restarts(void **state)
{
    static const char *const plans[] = {big_plan, small_plan};
    unsigned restarts = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        for (unsigned p = 0; p < 2; p++) {
            struct rig *one = go(plans[p], seed, 1, false, NULL),
                       *other = go(plans[p], seed, 37, false, NULL),
                       *again = go(plans[p], seed, 11, true, &restarts);
            struct watch_figures figures;

            watch_figures(one->watch, &figures);
            assert_true((figures.evicted > 0) == (p == 1));
            assert_true(one->told.size > 10000);
            assert_true(span_equal(buffer_span(&one->told), buffer_span(&other->told)));
            assert_true(span_equal(buffer_span(&one->told), buffer_span(&again->told)));
            rig_close(one);
            rig_close(other);
            rig_close(again);
        }
    assert_true(restarts > 50);
}

static void test_damaged_values(void **state)
{
    struct rig *rig = rig_open(big_plan);
    struct stored stored;
    uint64_t random = 3;
    unsigned refused = 0;

    (void)state;
    stored_open(&stored);
    for (unsigned i = 0; i < 400; i++)
        step(rig, 1, i);
    advance(rig, known_us(400), false);
    watch_freeze(rig->watch, &stored.saver, 0, 1, 0);
    assert_true(watch_save(rig->watch, SIZE_MAX));
    stored_flip(&stored);
    for (unsigned i = 0; i < 300; i++) {
        struct rig *next = rig_open(small_plan);
        struct error error;

        for (size_t v = 0; v < stored.complete.count; v++) {
            const struct stored_value *value = &stored.complete.items[v];
            char *bytes = memory_text(value->bytes.data, value->bytes.size);

            bytes[random_below(&random, value->bytes.size)] ^= (char)(1 + random_below(&random, 255));
            struct span damaged = span_make(bytes, value->bytes.size - random_below(&random, 2));
            refused += (value->key.kind == STATE_WATCH
                            ? watch_restore(next->watch, &value->key, damaged, &error)
                            : watch_words_restore(damaged, next->port, 1, &error)) != STATUS_OK;
            free(bytes);
        }
        pump(next);
        watch_restored(next->watch, INT64_MIN);
        advance(next, known_us(800), false);
        rig_close(next);
    }
    assert_true(refused > 100);
    stored_close(&stored);
    rig_close(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failure),
        cmocka_unit_test(test_expected_failure),
        cmocka_unit_test(test_failure_with_a_long_error),
        cmocka_unit_test(test_slow_and_overdue),
        cmocka_unit_test(test_wrong_start),
        cmocka_unit_test(test_timers_are_bounded),
        cmocka_unit_test(test_overdue_before_known),
        cmocka_unit_test(test_silence),
        cmocka_unit_test(test_silence_of_the_unknown),
        cmocka_unit_test(test_backlog),
        cmocka_unit_test(test_heartbeats),
        cmocka_unit_test(test_no_heartbeats),
        cmocka_unit_test(test_end),
        cmocka_unit_test(test_restarts),
        cmocka_unit_test(test_damaged_values),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
