/* The signals that learn: what each finds, and what it leaves alone. */
#include "tests/pipeline/watch_rig.h"

#include <math.h>
#include <stdio.h>

static unsigned told_of(struct rig *rig, const char *text)
{
    unsigned count = 0;
    const char *at;

    buffer_put_char(&rig->told, '\0');
    for (at = rig->told.data; (at = strstr(at, text)); at++)
        count++;
    buffer_clear(&rig->told);
    return count;
}

static void end_run(struct rig *rig, const char *workflow, const char *task, unsigned number, int64_t at_us,
                    int64_t took_us, enum run_state state, bool will_retry)
{
    char name[16];
    struct run_record run = run_of(workflow, task, "");

    snprintf(name, sizeof name, "%u", number);
    run.run = span_of(name);
    run.attempt = 1;
    say_run(rig, &run, at_us, STATE_RUNNING);
    run.will_retry = will_retry;
    say_run(rig, &run, at_us + took_us, state);
    advance(rig, at_us + took_us, false);
}

/* A task that runs each ten seconds and fails now and then: a burst is told once, one failure is not. */
static void test_failure_rate(void **state)
{
    struct rig *rig = rig_open(big_plan);
    int64_t at_us = begin_us;

    (void)state;
    for (unsigned i = 0; i < 300; i++, at_us += 10 * SECOND)
        end_run(rig, "w", "t", i, at_us, SECOND, i % 80 == 79 ? STATE_FAILED : STATE_SUCCESS, false);
    assert_int_equal(told_of(rig, "firing"), 0);
    for (unsigned i = 300; i < 310; i++, at_us += 10 * SECOND)
        end_run(rig, "w", "t", i, at_us, SECOND, STATE_FAILED, false);
    assert_in_range(told_of(rig, "watch_failure_rate firing w/t"), 5,
                    8); /* the first ones were no burst yet */
    for (unsigned i = 310; i < 350; i++, at_us += 10 * SECOND)
        end_run(rig, "w", "t", i, at_us, SECOND, STATE_SUCCESS, false);
    assert_int_equal(told_of(rig, "watch_failure_rate over w/t"), 1);
    rig_close(rig);
}

/* Each failure of what runs once an hour is news. */
static void test_rare_failure(void **state)
{
    struct rig *rig = rig_open(big_plan);

    (void)state;
    for (unsigned i = 0; i < 60; i++)
        end_run(rig, "w", "t", i, begin_us + i * (int64_t)3600 * SECOND, SECOND,
                i % 20 == 19 ? STATE_FAILED : STATE_SUCCESS, false);
    advance(rig, begin_us + 60 * (int64_t)3600 * SECOND, false);
    assert_int_equal(told_of(rig, "watch_failure firing w/t"), 3);
    rig_close(rig);
}

static void test_retry(void **state)
{
    struct rig *rig = rig_open(big_plan);
    int64_t at_us = begin_us;

    (void)state;
    for (unsigned i = 0; i < 100; i++, at_us += 10 * SECOND)
        end_run(rig, "w", "t", i, at_us, SECOND, i % 40 == 39 ? STATE_FAILED : STATE_SUCCESS, i % 40 == 39);
    assert_int_equal(told_of(rig, "firing"), 0);
    for (unsigned i = 100; i < 106; i++, at_us += 10 * SECOND)
        end_run(rig, "w", "t", i, at_us, SECOND, STATE_FAILED, true);
    assert_in_range(told_of(rig, "watch_retry firing w/t"), 1, 4);
    rig_close(rig);
}

/* Runs each minute, then none; the pause is no new interval. Runs by chance are not missed. */
static void test_missing(void **state)
{
    struct rig *rig = rig_open(big_plan);
    int64_t at_us = begin_us;

    (void)state;
    for (unsigned i = 0; i < 20; i++, at_us += 60 * SECOND + (i % 3) * SECOND)
        end_run(rig, "w", "", i, at_us, SECOND, STATE_SUCCESS, false);
    advance(rig, at_us + 20 * SECOND, false);
    assert_int_equal(told_of(rig, "firing"), 0);
    advance(rig, at_us + 400 * SECOND, false);
    assert_int_equal(told_of(rig, "watch_missing firing w 'no run of w for"), 1);
    end_run(rig, "w", "", 20, at_us + 400 * SECOND, SECOND, STATE_SUCCESS, false);
    assert_int_equal(told_of(rig, "watch_missing over w"), 1);
    for (unsigned i = 0; i < 40; i++, at_us += (int64_t)(1 + i * 7 % 11 * (i % 5)) * 10 * SECOND)
        end_run(rig, "x", "", i, at_us, SECOND, STATE_SUCCESS, false);
    advance(rig, at_us + 1000 * (int64_t)SECOND, true);
    assert_int_equal(told_of(rig, "watch_missing firing x"), 0);
    rig_close(rig);
}

/* A declared schedule needs no history: each day at two, ten minutes of grace. */
static void test_schedule(void **state)
{
    struct rig *rig = rig_open("name: test\nwatch: true\nsources: [{name: s, type: file, path: x}]\n"
                               "schedules: [{workflow: w, cron: \"0 2 * * *\", grace: 10m}]\n");
    int64_t day_us = (int64_t)86400 * SECOND,
            two_us = 1795224000LL / 86400 * day_us + 7200LL * SECOND + day_us;

    (void)state;
    end_run(rig, "w", "", 0, two_us - SECOND, SECOND, STATE_SUCCESS, false); /* a little early */
    end_run(rig, "w", "", 1, two_us + day_us + 60 * SECOND, SECOND, STATE_SUCCESS, false);
    advance(rig, two_us + 2 * day_us + 599 * (int64_t)SECOND, false);
    assert_int_equal(told_of(rig, "firing"), 0);
    advance(rig, two_us + 2 * day_us + 601 * (int64_t)SECOND, false);
    assert_int_equal(
        told_of(rig, "watch_missing firing w 'no run of w at the time of its schedule, 0 2 * * *'"), 1);
    end_run(rig, "w", "", 2, two_us + 2 * day_us + 700 * (int64_t)SECOND, SECOND, STATE_SUCCESS, false);
    assert_int_equal(told_of(rig, "watch_missing over w"), 1);
    rig_close(rig);
}

/* Four instances in each run, then two. */
static void test_mapped(void **state)
{
    struct rig *rig = rig_open(big_plan);

    (void)state;
    for (unsigned i = 0; i < 16; i++) {
        int64_t at_us = begin_us + i * (int64_t)60 * SECOND;
        char name[16];
        struct run_record run = run_of("w", "", "");

        snprintf(name, sizeof name, "%u", i);
        run.run = span_of(name);
        say_run(rig, &run, at_us, STATE_RUNNING);
        for (int m = 0; m < (i < 13 ? 4 : 2); m++) {
            struct run_record task = run_of("w", "t", name);

            task.map_index = m;
            say_run(rig, &task, at_us + SECOND, STATE_RUNNING);
            say_run(rig, &task, at_us + 2 * SECOND, STATE_SUCCESS);
        }
        say_run(rig, &run, at_us + 3 * SECOND, STATE_SUCCESS);
        advance(rig, at_us + 4 * SECOND, false);
    }
    assert_in_range(told_of(rig, "watch_mapped firing w/t 'a run mapped w/t to 2 instances; usually 3.9"), 1,
                    3);
    rig_close(rig);
}

/* Five arrivals each ten seconds, then one: told; children of other runs do not count. */
static void test_volume(void **state)
{
    struct rig *rig = rig_open(big_plan);
    int64_t at_us = begin_us;

    (void)state;
    for (unsigned i = 0; i < 600; i++, at_us += (i < 500 ? 2 : 10) * SECOND) {
        char name[16];
        struct run_record run = run_of("w", "", ""), child = run_of("c", "", "");

        snprintf(name, sizeof name, "%u", i);
        run.run = child.run = span_of(name);
        run.version = child.version = 1;
        child.parent_run = SPAN_LITERAL("p");
        say_run(rig, &run, at_us, STATE_QUEUED);
        say_run(rig, &child, at_us, STATE_QUEUED);
        advance(rig, at_us, false);
    }
    assert_int_equal(told_of(rig, "watch_volume firing w "), 1);
    rig_close(rig);
}

static void say_line(struct rig *rig, int64_t time_us, unsigned lines)
{
    for (unsigned i = 0; i < lines; i++) {
        event_batch_reset(&rig->batch);
        event_batch_add(&rig->batch);
        rig->batch.time_us[0] = time_us;
        rig->batch.watermark_us[0] = INT64_MIN;
        rig->batch.source[0] = SPAN_LITERAL("s");
        rig->batch.workflow[0] = SPAN_LITERAL("w");
        rig->batch.task[0] = SPAN_LITERAL("t");
        rig->batch.message[0] = SPAN_LITERAL("hello");
        watch_events(rig->watch, &rig->batch);
        pump(rig);
    }
}

static void test_log_volume(void **state)
{
    struct rig *rig = rig_open(big_plan);
    int64_t at_us = begin_us;

    (void)state;
    for (unsigned i = 0; i < 30; i++, at_us += 60 * SECOND)
        say_line(rig, at_us, 8 + i % 4);
    say_line(rig, at_us, 400);
    advance(rig, at_us + 60 * SECOND, false);
    assert_int_equal(told_of(rig, "watch_log_volume firing w/t 'w/t logged 400 lines in half a minute"), 1);
    rig_close(rig);
}

/* Starts come two seconds after the queue; one does not come, and is told after two minutes. */
static void test_stuck(void **state)
{
    struct rig *rig = rig_open(big_plan);
    int64_t at_us = begin_us;
    struct run_record stuck = run_of("w", "t", "stuck"), approval = run_of("w", "t", "approval");

    (void)state;
    for (unsigned i = 0; i < 20; i++, at_us += 60 * SECOND) {
        char name[16];
        struct run_record run = run_of("w", "t", "");

        snprintf(name, sizeof name, "%u", i);
        run.run = span_of(name);
        say_run(rig, &run, at_us, STATE_QUEUED);
        say_run(rig, &run, at_us + 2 * SECOND, STATE_RUNNING);
        say_run(rig, &run, at_us + 3 * SECOND, STATE_SUCCESS);
    }
    say_run(rig, &stuck, at_us, STATE_QUEUED);
    say_run(rig, &approval, at_us, STATE_WAITING); /* no wait for consent is known */
    advance(rig, at_us + 300 * SECOND, false);
    say_run(rig, &stuck, at_us + 300 * SECOND, STATE_RUNNING);
    say_run(rig, &stuck, at_us + 301 * SECOND, STATE_SUCCESS);
    advance(rig, at_us + 302 * SECOND, false);
    assert_told(rig,
                "1320.000 watch_stuck firing w/t 'w/t waits to be started since 120.0 s; usually 2.0 s, by "
                "20 before' 120 2\n"
                "1500.000 watch_stuck over w/t '' nan nan\n");
    rig_close(rig);
}

static void test_check(void **state)
{
    struct rig *rig = rig_open(big_plan);

    (void)state;
    event_batch_reset(&rig->batch);
    for (unsigned i = 0; i < 2; i++) {
        event_batch_reset(&rig->batch);
        event_batch_add(&rig->batch);
        rig->batch.time_us[0] = begin_us + i * SECOND;
        rig->batch.watermark_us[0] = INT64_MIN;
        rig->batch.source[0] = SPAN_LITERAL("s");
        rig->batch.workflow[0] = SPAN_LITERAL("w");
        rig->batch.task[0] = SPAN_LITERAL("t");
        rig->batch.result[0] = i ? SPAN_LITERAL("passed") : SPAN_LITERAL("failed");
        rig->batch.error[0] = SPAN_LITERAL("3 rows are empty");
        watch_events(rig->watch, &rig->batch);
        pump(rig);
    }
    advance(rig, begin_us + 2 * SECOND, true);
    assert_told(rig, "0.000 watch_check firing w/t 'w/t failed: 3 rows are empty' nan nan\n"
                     "1.000 watch_check over w/t '' nan nan\n");
    rig_close(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failure_rate), cmocka_unit_test(test_rare_failure),
        cmocka_unit_test(test_retry),        cmocka_unit_test(test_missing),
        cmocka_unit_test(test_mapped),       cmocka_unit_test(test_volume),
        cmocka_unit_test(test_log_volume),   cmocka_unit_test(test_check),
        cmocka_unit_test(test_stuck),        cmocka_unit_test(test_schedule),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
