#include "tests/pipeline/watch_rig.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

const int64_t begin_us = 1795252620000000;
const char big_plan[] = "name: test\nwatch: true\nsources: [{name: s, type: file, path: x}]\n";
const char small_plan[] = "name: test\nwatch: true\nsources: [{name: s, type: file, path: x}]\n"
                          "limits: {runs: 1024}\n"; /* 4 a shard */

struct rig *rig_open(const char *yaml)
{
    struct rig *rig = memory_new(sizeof *rig);

    rig->plan = plan_of(yaml);
    rig->exchange = exchange_new(1);
    rig->port = exchange_port(rig->exchange, 0);
    rig->watch = watch_new(rig->plan, rig->port, 1);
    event_batch_init(&rig->batch, 1, &rig->plan->labels);
    buffer_init(&rig->told, 64 << 20);
    return rig;
}

static void tell(struct rig *rig, const struct condition *condition)
{
    const struct alert *alert = &condition->evidence;

    buffer_print(&rig->told, "%.3f %.*s %s ", (double)(condition->at_us - begin_us) / SECOND,
                 (int)rig->plan->policies[condition->policy].name.size,
                 rig->plan->policies[condition->policy].name.data,
                 condition->outcome == CONDITION_TRUE    ? "firing"
                 : condition->outcome == CONDITION_FALSE ? "over"
                                                         : "expected");
    alert_target(alert, &rig->told);
    rig->dedup = alert->dedup;
    assert_true(isnan(alert->actual) ? isnan(alert->expected_low) : alert->expected_low == 0); /* as a pair */
    buffer_print(&rig->told, " '%.*s' %g %g%s\n", (int)alert->summary.size,
                 alert->summary.size ? alert->summary.data : "", alert->actual, alert->expected_high,
                 alert->provisional ? " provisional" : "");
}

void pump(struct rig *rig)
{
    struct block *block;

    exchange_flush(rig->port);
    for (; (block = exchange_receive(rig->port)); block_release(block), exchange_flush(rig->port))
        for (uint32_t at = 0; at < block->used;) {
            struct record *record = (struct record *)(block->bytes + at);

            if (record->type == RECORD_WATCH)
                watch_take(rig->watch, (const struct watch_word *)record, block);
            else
                tell(rig, &((const struct condition_record *)record)->condition);
            at += record->size;
        }
}

void rig_close(struct rig *rig)
{
    pump(rig);
    watch_free(rig->watch);
    exchange_free(rig->exchange);
    event_batch_free(&rig->batch);
    buffer_free(&rig->told);
    plan_free(rig->plan);
    free(rig);
}

void advance(struct rig *rig, int64_t time_us, bool final)
{
    watch_advance(rig->watch, time_us, INT64_MAX, final);
    pump(rig);
}

void say_event(struct rig *rig, int64_t time_us, const char *host, const char *action)
{
    event_batch_reset(&rig->batch);
    event_batch_add(&rig->batch);
    rig->batch.time_us[0] = time_us;
    rig->batch.watermark_us[0] = INT64_MIN;
    rig->batch.source[0] = SPAN_LITERAL("s");
    rig->batch.host[0] = span_of(host);
    rig->batch.action[0] = span_of(action);
    rig->batch.workflow[0] = SPAN_LITERAL("w");
    rig->batch.message[0] = SPAN_LITERAL("a line");
    watch_events(rig->watch, &rig->batch);
    pump(rig);
}

void say_run(struct rig *rig, struct run_record *run, int64_t time_us, enum run_state state)
{
    run->state = state;
    run->at_us = time_us;
    run->version++;
    run->source = SPAN_LITERAL("s");
    run->id = run_id(rig->plan->name, run);
    if (state == STATE_RUNNING)
        run->started_us = time_us;
    run->duration_ms = NAN;
    if (run_state_is_terminal(state) && run->started_us != TIME_NONE)
        run->duration_ms = (double)(time_us - run->started_us) / 1000;
    watch_run(rig->watch, run);
    pump(rig);
}

struct run_record run_of(const char *workflow, const char *task, const char *run)
{
    return (struct run_record){.workflow = span_of(workflow),
                               .is_task = task[0] != '\0',
                               .task = span_of(task),
                               .run = span_of(run),
                               .started_us = TIME_NONE,
                               .map_index = INT32_MIN};
}

void assert_told(struct rig *rig, const char *expected)
{
    buffer_put_char(&rig->told, '\0');
    assert_string_equal(rig->told.data, expected);
    buffer_clear(&rig->told);
}

int64_t learn(struct rig *rig, unsigned count, int64_t at_us)
{
    char name[16];

    for (unsigned i = 0; i < count; i++, at_us += 10 * SECOND) {
        struct run_record run = run_of("w", "t", "");

        snprintf(name, sizeof name, "learn%u", i);
        run.run = span_of(name);
        say_run(rig, &run, at_us, STATE_RUNNING);
        say_run(rig, &run, at_us + 4 * SECOND, STATE_SUCCESS);
    }
    return at_us;
}
