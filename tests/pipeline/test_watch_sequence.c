/* watch_sequence: which runs are told of, what a run's steps are, and that a restart changes nothing. */
#include "base/memory.h"
#include "pipeline/judge.h"
#include "pipeline/watch_table.h"
#include "tests/base/random.h"
#include "tests/pipeline/stored.h"
#include "tests/pipeline/support.h"

#include <math.h>
#include <stdio.h>

enum { SECOND = 1000000, RUNS = 600 };

static const int64_t begin_us = 1795252620000000;
static const char plan_text[] = "name: test\nwatch: true\nsources: [{name: s, type: file, path: x}]\n"
                                "limits: {runs: 10240}\n";

struct rig {
    struct plan *plan;
    struct exchange *exchange;
    struct exchange_port *port;
    struct watch *watch;
    struct buffer told; /* of watch_sequence */
    int64_t now_us;
    unsigned runs;
};

static struct rig *rig_open(void)
{
    struct rig *rig = memory_new(sizeof *rig);

    rig->plan = plan_of(plan_text);
    rig->exchange = exchange_new(1);
    rig->port = exchange_port(rig->exchange, 0);
    rig->watch = watch_new(rig->plan, rig->port, 1);
    rig->now_us = begin_us;
    buffer_init(&rig->told, 64 << 20);
    return rig;
}

static void tell(struct rig *rig, const struct condition *condition)
{
    const struct alert *alert = &condition->evidence;

    if (!span_is(rig->plan->policies[condition->policy].name, "watch_sequence"))
        return;
    buffer_print(&rig->told, "%s ", condition->outcome == CONDITION_TRUE ? "firing" : "over");
    alert_target(alert, &rig->told);
    buffer_print(&rig->told, " %.*s '%.*s'\n", (int)alert->run.size, alert->run.data,
                 (int)alert->summary.size, alert->summary.size ? alert->summary.data : "");
}

static void pump(struct rig *rig)
{
    struct block *block;

    exchange_flush(rig->port);
    for (; (block = exchange_receive(rig->port)); block_release(block))
        for (uint32_t at = 0; at < block->used;) {
            struct record *record = (struct record *)(block->bytes + at);

            if (record->type == RECORD_WATCH)
                watch_take(rig->watch, (const struct watch_word *)record, block);
            else
                tell(rig, &((const struct condition_record *)record)->condition);
            at += record->size;
        }
}

static void rig_close(struct rig *rig)
{
    pump(rig);
    watch_free(rig->watch);
    exchange_free(rig->exchange);
    buffer_free(&rig->told);
    plan_free(rig->plan);
    free(rig);
}

/* A second later: of a run of "w", or of its task. */
static void say(struct rig *rig, const char *run, const char *task, uint16_t attempt, enum run_state state)
{
    struct run_record record = {.source = SPAN_LITERAL("s"),
                                .workflow = SPAN_LITERAL("w"),
                                .is_task = task[0] != '\0',
                                .task = span_of(task),
                                .run = span_of(run),
                                .state = state,
                                .attempt = attempt,
                                .at_us = rig->now_us += SECOND,
                                .version = state,
                                .started_us = TIME_NONE,
                                .duration_ms = NAN,
                                .map_index = INT32_MIN};

    record.id = run_id(rig->plan->name, &record);
    watch_run(rig->watch, &record);
    pump(rig);
}

/* A whole run whose tasks are parted by blanks. */
static void say_run(struct rig *rig, const char *tasks, enum run_state end)
{
    char run[16], task[32];

    snprintf(run, sizeof run, "r%u", rig->runs++);
    say(rig, run, "", 0, STATE_RUNNING);
    while (*tasks) {
        size_t size = strcspn(tasks, " ");

        snprintf(task, sizeof task, "%.*s", (int)size, tasks);
        say(rig, run, task, 1, STATE_RUNNING);
        say(rig, run, task, 1, STATE_SUCCESS);
        tasks += size + (tasks[size] == ' ');
    }
    say(rig, run, "", 0, end);
}

static void advance(struct rig *rig)
{
    watch_advance(rig->watch, rig->now_us += 20 * SECOND, INT64_MAX, false);
    pump(rig);
}

static void assert_told(struct rig *rig, const char *expected)
{
    buffer_put_char(&rig->told, '\0');
    assert_string_equal(rig->told.data, expected);
    buffer_clear(&rig->told);
}

static void say_usual_runs(struct rig *rig, unsigned count)
{
    while (count-- > 0)
        say_run(rig, "pick small publish", STATE_SUCCESS);
    advance(rig);
    assert_told(rig, "");
}

static void test_an_odd_branch(void **state)
{
    struct rig *rig = rig_open();

    say_usual_runs(rig, 15);
    say_run(rig, "pick huge publish", STATE_SUCCESS);
    advance(rig);
    assert_told(rig,
                "firing w r15 'w took an odd course: huge is in none of 15 runs before; small is missing, "
                "as in 0 of 15 before'\n");
    say_run(rig, "pick small publish", STATE_SUCCESS);
    advance(rig);
    assert_told(rig, "over w r16 ''\n");
    rig_close(rig);
}

static void test_the_first_runs_are_learned(void **state)
{
    struct rig *rig = rig_open();

    say_usual_runs(rig, 9);
    say_run(rig, "a b c d", STATE_SUCCESS);
    advance(rig);
    assert_told(rig, "");
    rig_close(rig);
}

/* Retries are no steps, a run that fails is not judged, one that runs again is one. */
static void test_failures_are_not_odd(void **state)
{
    struct rig *rig = rig_open();

    say_usual_runs(rig, 20);
    say_run(rig, "pick", STATE_FAILED);
    say(rig, "again", "", 0, STATE_RUNNING);
    say(rig, "again", "pick", 1, STATE_RUNNING);
    say(rig, "again", "pick", 1, STATE_FAILED);
    for (uint16_t attempt = 2; attempt < 5; attempt++)
        say(rig, "again", "pick", attempt, STATE_RUNNING);
    say(rig, "again", "pick", 4, STATE_SUCCESS);
    say(rig, "again", "small", 1, STATE_SUCCESS); /* its start was not told */
    say(rig, "again", "publish", 1, STATE_RUNNING);
    say(rig, "again", "", 0, STATE_SUCCESS);
    advance(rig);
    assert_told(rig, "");
    rig_close(rig);
}

static void say_child(struct rig *rig, const char *run, const char *child, const char *workflow)
{
    struct run_record record = {.source = SPAN_LITERAL("s"),
                                .workflow = SPAN_LITERAL("w"),
                                .is_task = true,
                                .tells_child = true,
                                .task = span_of(workflow),
                                .run = span_of(run),
                                .at_us = rig->now_us += SECOND,
                                .started_us = TIME_NONE,
                                .duration_ms = NAN,
                                .map_index = INT32_MIN};

    record.id = run_key(record.source, record.namespace_, span_of(child));
    watch_run(rig->watch, &record);
    pump(rig);
}

/* What a run begins is a step of it, told once or twice, also just after its end. */
static void test_children(void **state)
{
    struct rig *rig = rig_open();
    char run[16], child[16];

    for (unsigned i = 0; i < 32; i++) {
        snprintf(run, sizeof run, "p%u", i);
        snprintf(child, sizeof child, "c%u", i);
        say(rig, run, "", 1, STATE_RUNNING);
        if (i % 2)
            say_child(rig, run, child, i == 31 ? "review" : "charge");
        say(rig, run, "", 1, STATE_SUCCESS);
        say_child(rig, run, child, i == 31 ? "review" : "charge");
    }
    advance(rig);
    assert_told(rig, "firing w p31 'w took an odd course: review is in none of 31 runs before; charge is "
                     "missing, as in 0 of 31 before'\n");
    rig_close(rig);
}

/* Runs that never end, and workflows without end, take no more than their share. */
static void test_memory_is_bounded(void **state)
{
    struct rig *rig = rig_open();
    char run[16], task[32];

    for (unsigned i = 0; i < 3000; i++) {
        snprintf(run, sizeof run, "r%u", i);
        for (unsigned t = 0; t < 300 && (t < 20 || i % 100 == 0); t++) {
            snprintf(task, sizeof task, "task %u", t);
            say(rig, run, task, 1, STATE_RUNNING);
        }
        advance(rig);
    }
    for (unsigned s = 0; s < SHARDS; s++)
        assert_true(rig->watch->shards[s].more_bytes <= 512 * 1024);
    rig_close(rig);
}

static void step(struct rig *rig, unsigned i)
{
    static const char *const courses[] = {"a b c", "a b c d", "a b c c", "a b", "a d c"};
    uint64_t random = i * 7919;

    say_run(rig, courses[random_below(&random, 40) ? random_below(&random, 2) : random_below(&random, 5)],
            random_below(&random, 9) ? STATE_SUCCESS : STATE_FAILED);
}

static struct rig *restart(struct rig *rig)
{
    struct rig *next = rig_open();
    struct stored stored;
    struct error error;

    stored_open(&stored);
    watch_freeze(rig->watch, &stored.saver, 0, 1, 0);
    while (!watch_save(rig->watch, 1 << 16))
        continue;
    stored_flip(&stored);
    for (size_t i = 0; i < stored.complete.count; i++) {
        const struct stored_value *value = &stored.complete.items[i];

        if ((value->key.kind == STATE_WATCH
                 ? watch_restore(next->watch, &value->key, value->bytes, &error)
                 : watch_words_restore(value->bytes, next->port, 1, &error)) != STATUS_OK)
            fail_msg("%s", error.text);
    }
    pump(next);
    watch_restored(next->watch, rig->watch->passed_us);
    buffer_put(&next->told, rig->told.data, rig->told.size);
    next->now_us = rig->now_us;
    next->runs = rig->runs;
    stored_close(&stored);
    rig_close(rig);
    return next;
}

static void test_restarts_change_nothing(void **state)
{
    struct rig *one = rig_open(), *other = rig_open();

    for (unsigned i = 0; i < RUNS; i++) {
        step(one, i);
        step(other, i);
        one->now_us += SECOND;
        other->now_us += SECOND;
        watch_advance(one->watch, one->now_us - 3 * SECOND, INT64_MAX, false); /* words wait at the cut */
        if (i % 3 == 0)
            watch_advance(other->watch, other->now_us - 3 * SECOND, INT64_MAX, false);
        pump(one);
        pump(other);
        if (i % 20 == 7)
            other = restart(other);
    }
    advance(one);
    advance(other);
    assert_true(one->told.size > 200);
    assert_true(span_equal(buffer_span(&one->told), buffer_span(&other->told)));
    rig_close(one);
    rig_close(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_odd_branch),        cmocka_unit_test(test_the_first_runs_are_learned),
        cmocka_unit_test(test_failures_are_not_odd), cmocka_unit_test(test_children),
        cmocka_unit_test(test_memory_is_bounded),    cmocka_unit_test(test_restarts_change_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
