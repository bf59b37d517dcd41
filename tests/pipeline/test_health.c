/* What is wrong, in words, from reports made by hand; and what a real run tells of itself. */
#include "base/memory.h"
#include "pipeline/dead_letters.h"
#include "pipeline/health.h"
#include "pipeline/process.h"
#include "tests/pipeline/support.h"

#include <stdio.h>
#include <stdlib.h>

static const char yaml[] =
    "name: shop\nstore: {path: weir.db}\nhttp: {listen: \"\"}\nworkers: 2\n"
    "sources: [{name: orders, type: file, path: in.jsonl, format: rows}]\n"
    "formats: [{name: rows, type: fields, map: {time: {path: t, unit: ms}, workflow: w, value: v}}]\n"
    "measures: [{name: load, of: value, statistics: [count, mean], by: [workflow], every: 1m}]\n"
    "detectors: [{name: odd, type: zscore, measure: load, statistic: mean, one_in: 700}]\n"
    "rules: [{name: many, on: bucket, measure: load, when: 'count > 3'}, {name: one, on: event, when: "
    "'true'}]\n"
    "sinks: [{name: lines, type: file, path: out.jsonl, send: [alerts]}, {name: out, type: stdout, send: "
    "[alerts]}]\n";

enum { NOW_S = 1000000 };
#define NOW_US ((int64_t)NOW_S * 1000000)

struct world { /* one engine of two workers that are not there */
    struct folder folder;
    struct plan *plan;
    struct shared shared;
    counter *values[2];
    struct worker_report *reports[2];
    struct metrics_engine engine;
    struct letter_totals letters;
    struct health_source source;
    struct buffer out;
};

static int set_up(void **state)
{
    struct world *world = memory_new(sizeof *world);
    struct error error;

    folder_open(&world->folder);
    if (plan_try(&world->folder, yaml, NULL, &world->plan, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    world->shared = (struct shared){.plan = world->plan, .workers = 2, .here = 2};
    world->shared.passed_us[0] = NOW_US - 3 * 1000000;
    world->shared.passed_us[1] = NOW_US - 5 * 1000000;
    for (int i = 0; i < 2; i++) {
        world->values[i] = memory_new(metrics_count(world->plan) * sizeof(counter));
        world->reports[i] = worker_report_new(world->plan);
        world->reports[i]->ready[0] = true;
        world->reports[i]->partition_count = 1;
        world->reports[i]->partitions = memory_new(sizeof(struct partition_report));
        world->reports[i]->partitions[0] = (struct partition_report){.topic = "in",
                                                                     .number = i,
                                                                     .next_offset = 7,
                                                                     .high_offset = 9,
                                                                     .watermark_us = NOW_US - 5 * 1000000};
    }
    world->engine =
        (struct metrics_engine){.shared = &world->shared, .values = world->values, .reports = world->reports};
    world->source =
        (struct health_source){.metrics = {.plan = world->plan, .engines = &world->engine, .count = 1},
                               .letters = &world->letters,
                               .now_us = NOW_US,
                               .ready = true};
    buffer_init(&world->out, 1 << 20);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    for (int i = 0; i < 2; i++) {
        free(world->values[i]);
        worker_report_free(world->reports[i]);
    }
    buffer_free(&world->out);
    plan_free(world->plan);
    folder_close(&world->folder);
    free(world);
    return 0;
}

static void assert_said(struct buffer *out, const char *text)
{
    buffer_put(out, "", 1);
    if (!strstr(out->data, text))
        fail_msg("no %s in %s", text, out->data);
    out->size--;
}

static void assert_tells(struct world *world, const char *text)
{
    buffer_clear(&world->out);
    health_write(&world->source, &world->out);
    assert_said(&world->out, text);
}

static void nothing_is_wrong(void **state)
{
    struct world *world = *state;

    assert_tells(world, "{\"schema\":1,\"at\":\"1970-01-12T13:46:40.000Z\",\"pipeline\":\"shop\"");
    assert_tells(
        world,
        "\"ready\":true,\"workers\":2,\"rows\":0,\"lag\":0,\"watermark\":\"1970-01-12T13:46:35.000Z\"");
    assert_tells(world, "{\"topic\":\"in\",\"partition\":1,\"state\":\"reading\",\"next_offset\":7,\"lag\":2,"
                        "\"watermark\":\"1970-01-12T13:46:35.000Z\"}]}]");
    assert_tells(world,
                 "{\"name\":\"lines\",\"type\":\"file\",\"documents\":0,\"retries\":0,\"dead_letters\":0,"
                 "\"queue_bytes\":0,\"paused\":false}");
    assert_tells(world, "\"dead_letters\":{\"letters\":0,\"bytes\":0,");
    assert_tells(world, "\"problems\":[]}");
    assert_null(strstr(world->out.data, "cluster"));
}

static void what_is_wrong_is_said(void **state)
{
    struct world *world = *state;
    struct partition_report *partition = &world->reports[1]->partitions[0];

    partition->state = POLL_UNREACHABLE;
    assert_tells(
        world,
        "{\"severity\":\"error\",\"text\":\"source orders: 1 of 2 partitions cannot be read at present\"}");
    partition->state = POLL_END;
    partition->idle = true;
    partition->next_offset = OFFSET_NONE;
    partition->watermark_us = INT64_MIN;
    assert_tells(world, "{\"topic\":\"in\",\"partition\":1,\"state\":\"idle\"}");
    assert_tells(world, "\"problems\":[]}");
    world->reports[0]->ready[0] = false;
    assert_tells(
        world,
        "\"text\":\"source orders: its partitions are not known, because it has not been reached yet\"");
    world->reports[0]->ready[0] = true;
    world->reports[1]->pauses[0] = (struct pause){.paused = true, .reason = "disk \"full\""};
    assert_tells(world, "\"paused\":true,\"reason\":\"disk \\\"full\\\"\"}");
    assert_tells(world, "[{\"severity\":\"error\",\"text\":\"sink lines is paused: disk \\\"full\\\"\"}]");
    world->reports[1]->pauses[0].paused = false;
    world->letters = (struct letter_totals){.letters = 1, .bytes = 10};
    assert_tells(world, "[{\"severity\":\"warning\",\"text\":\"1 message could not be processed or "
                        "delivered: see the dead letters\"}]");
    world->letters = (struct letter_totals){.status = STATUS_RETRY, .error = {"busy"}};
    assert_tells(world, "\"text\":\"the dead letters cannot be counted: busy\"");
    world->source.letters = NULL;
    assert_tells(world, "\"problems\":[]}");
    assert_null(strstr(world->out.data, "\"dead_letters\":{"));
}

/* Which counter is which is metrics.c's; all of them at once are lag and a full outbox. */
static void being_behind_is_said_only_with_messages_waiting(void **state)
{
    struct world *world = *state;

    world->shared.passed_us[0] = NOW_US - INT64_C(25) * 60 * 1000000;
    assert_tells(world, "\"problems\":[]}");
    for (size_t i = 0; i < metrics_count(world->plan); i++)
        world->values[0][i] = UINT64_C(1) << 50;
    assert_tells(world, "messages wait, and what is read now is 25 minutes old");
    assert_tells(world, "documents that sinks have not taken fill the outbox");
    world->plan->store.outbox_bytes = INT64_C(1) << 50;
    assert_tells(world, "1125899906842624 documents wait in the store, because sinks do not take them");
    world->shared.passed_us[0] = NOW_US;
    assert_tells(world, "\"lag\":1125899906842624");
    assert_null(strstr(world->out.data, "minutes old"));
}

static enum status refuse(struct keeper_job *job, const struct keeper_stores *stores, struct error *ret_error)
{
    (void)job, (void)stores;
    snprintf(ret_error->text, sizeof ret_error->text, "the disk is full");
    return STATUS_RETRY;
}

static void ignore(void *owner, const char *text)
{
    (void)owner, (void)text;
}

static void a_store_that_takes_nothing_says_why(void **state)
{
    struct world *world = *state;
    struct keeper_job job = {.run = refuse};

    world->shared.checkpoint.stored = 4;
    world->shared.checkpoint.keeper = keeper_new(&(struct keeper_stores){0}, ignore, NULL);
    assert_tells(world, "\"checkpoints\":[{\"generation\":4,\"holding\":false}]");
    keeper_submit(world->shared.checkpoint.keeper, &job);
    keeper_step(world->shared.checkpoint.keeper, 1);
    assert_tells(world, "\"holding\":true}]");
    assert_tells(world, "the input is held, because the store takes nothing: the disk is full");
    keeper_free(world->shared.checkpoint.keeper);
}

static void rules_tell_what_decides(void **state)
{
    struct world *world = *state;

    health_write_rules(world->plan, &world->out);
    assert_said(&world->out,
                "[{\"name\":\"odd\",\"measure\":\"load\",\"statistic\":\"mean\",\"type\":\"zscore\","
                "\"settings\":{");
    assert_said(&world->out, "\"direction\":\"both\"");
    assert_said(&world->out, "\"one_in\":\"700\"");
    assert_said(&world->out, "{\"name\":\"many\",\"measure\":\"load\",\"when\":\"count > 3\"},"
                             "{\"name\":\"one\",\"when\":\"true\"}]");
}

static void a_run_tells_of_its_partitions_and_dead_letters(void **state)
{
    static const char rows[] = "{\"t\":60000,\"w\":\"a\",\"v\":1}\nbad\n{\"t\":120000,\"w\":\"a\",\"v\":2}\n";
    struct world *world = *state;
    struct engine_options options = {.mode = ENGINE_ONCE, .quiet = true};
    struct process *process;
    struct error error;

    folder_put(&world->folder, "in.jsonl", rows, sizeof rows - 1);
    if (process_start(world->plan, &options, &process, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    while (process_wait(process, 1000, &error) == STATUS_RETRY)
        continue;
    process_stop(process);
    process_health(process, NOW_US, &world->out);
    assert_said(&world->out, "in.jsonl\",\"partition\":0,\"state\":\"done\",\"next_offset\":3,");
    assert_said(&world->out, "\"watermark\":\"1970-01-01T00:01:50.000Z\"}]}]");
    assert_said(&world->out, "\"dead_letters\":{\"letters\":1,");
    assert_said(&world->out, "\"checkpoints\":[{\"generation\":");
    assert_said(&world->out, "\"stored_at\":");
    assert_said(&world->out, "1 message could not be processed or delivered");
    process_free(process);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_wrong, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_wrong_is_said, set_up, tear_down),
        cmocka_unit_test_setup_teardown(being_behind_is_said_only_with_messages_waiting, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_store_that_takes_nothing_says_why, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rules_tell_what_decides, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_run_tells_of_its_partitions_and_dead_letters, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
