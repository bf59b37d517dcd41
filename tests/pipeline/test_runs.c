/* The run table: what each order of events of an engine makes of a run, eviction and reruns. Rows go the real
 * way: batch, rows_send, exchange, order, runs_apply. */
#include "base/memory.h"
#include "pipeline/order.h"
#include "pipeline/runs.h"
#include "tests/base/random.h"
#include "tests/pipeline/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { SECOND = 1000000, STEPS = 12, RUNS_MAX = 5000 };

struct step {
    int64_t at_s;
    enum run_state state; /* STATE_NONE ends the list */
    const char *workflow, *run, *task;
    uint16_t attempt;
    double duration_ms; /* 0: absent */
};

struct rig {
    struct plan *plan;
    struct runs *runs;
    struct exchange *exchange;
    struct exchange_port *port;
    struct event_batch batch, transitions;
    struct order order;
    struct buffer told;
    struct id128 last_id;
    uint64_t last_version;
    struct run_record last;                              /* its texts hold until the next row */
    struct span result, error, error_type, host, parent; /* of the next rows */
    uint32_t shard;                                      /* of the last row */
};

/* "workflow/task#attempt=state(duration ms){task counts}" */
static void tell(void *owner, const struct run_record *run)
{
    struct rig *rig = owner;
    struct buffer *out = &rig->told;

    if (run->tells_child) { /* no transition */
        buffer_print(out, " child of %.*s: %.*s", (int)run->workflow.size, run->workflow.data,
                     (int)run->task.size, run->task.data);
        return;
    }
    buffer_print(out, "%s%.*s", out->size ? " " : "", (int)run->workflow.size, run->workflow.data);
    assert_true(run->is_task == (run->task.size > 0));
    if (run->is_task)
        buffer_print(out, "/%.*s", (int)run->task.size, run->task.data);
    if (run->attempt)
        buffer_print(out, "#%u", run->attempt);
    buffer_print(out, "=%s", run_state_names[run->state]);
    if (run->error.size)
        buffer_print(out, "!%.*s", (int)run->error.size, run->error.data);
    if (run->error_type.size)
        buffer_print(out, "!%.*s", (int)run->error_type.size, run->error_type.data);
    if (!isnan(run->duration_ms))
        buffer_print(out, "(%g)", run->duration_ms);
    for (int state = 0; state < STATE_COUNT; state++)
        if (run->tasks[state])
            buffer_print(out, "{%s:%u}", run_state_names[state], run->tasks[state]);
    assert_true(run->ended_us == TIME_NONE || run_state_is_terminal(run->state));
    if (id_equal(run->id, rig->last_id))
        assert_true(run->version == rig->last_version + 1);
    rig->last_id = run->id;
    rig->last_version = run->version;
    rig->last = *run;
}

static void rig_open(struct rig *rig, const char *more)
{
    char yaml[512];

    *rig = (struct rig){0};
    snprintf(yaml, sizeof yaml, "name: test\nsources: [{name: s, type: file, path: x}]\n%s", more);
    rig->plan = plan_of(yaml);
    rig->runs = runs_new(rig->plan, tell, rig);
    rig->exchange = exchange_new(1);
    rig->port = exchange_port(rig->exchange, 0);
    event_batch_init(&rig->batch, 16, NULL);
    event_batch_init(&rig->transitions, 16, NULL);
    buffer_init(&rig->told, 1 << 20);
}

static void rig_close(struct rig *rig)
{
    order_free(&rig->order);
    runs_free(rig->runs);
    exchange_free(rig->exchange);
    event_batch_free(&rig->batch);
    event_batch_free(&rig->transitions);
    buffer_free(&rig->told);
    plan_free(rig->plan);
}

/* Applies what has been sent, in order; transitions as rows must say what the records say. */
static void apply(struct rig *rig)
{
    const struct order_entry *first;
    struct block *block;

    exchange_flush(rig->port);
    for (; (block = exchange_receive(rig->port)); block_release(block))
        for (uint32_t at = 0; at < block->used;) {
            const struct row_record *record = (const struct row_record *)(block->bytes + at);

            assert_int_equal(record->head.type, RECORD_ROW);
            rig->shard = run_shard(record->alias);
            row_record_wait(record, block, &rig->order);
            at += record->head.size;
        }
    while ((first = order_first(&rig->order))) {
        struct span texts[RUN_TEXTS + LABELS_MAX];
        struct runs_figures before, after;
        struct run_row row;

        run_row_open((const struct row_record *)first->record, RUN_TEXTS, texts, &row);
        runs_meet(rig->runs, &row, 1);
        bool takes = runs_would_take(rig->runs, &row);

        event_batch_reset(&rig->transitions);
        runs_figures(rig->runs, &before);
        runs_apply(rig->runs, &row, &rig->transitions);
        runs_figures(rig->runs, &after);
        assert_true(row.is_child || after.evicted > before.evicted ||
                    takes == (after.ignored == before.ignored));
        if (rig->transitions.rows) {
            assert_int_equal(rig->transitions.rows, 1);
            assert_int_equal(rig->transitions.state[0], rig->last.state);
            assert_int_equal(rig->transitions.attempt[0], rig->last.attempt);
            assert_int_equal(rig->transitions.task[0].size > 0, rig->last.is_task);
        }
        order_pop(&rig->order);
    }
}

static void send(struct rig *rig, const struct step *step, int64_t watermark_us, int64_t offset)
{
    event_batch_reset(&rig->batch);
    event_batch_add(&rig->batch);
    rig->batch.time_us[0] = step->at_s * SECOND;
    rig->batch.watermark_us[0] = watermark_us;
    rig->batch.offset[0] = offset;
    rig->batch.state[0] = (uint8_t)step->state;
    rig->batch.source[0] = SPAN_LITERAL("s");
    rig->batch.workflow[0] = span_of(step->workflow);
    rig->batch.run[0] = span_of(step->run);
    rig->batch.task[0] = span_of(step->task);
    rig->batch.attempt[0] = step->attempt;
    rig->batch.result[0] = rig->result;
    rig->batch.error[0] = rig->error;
    rig->batch.host[0] = rig->host;
    rig->batch.parent_run[0] = rig->parent;
    rig->batch.error_type[0] = rig->error_type;
    rig->batch.duration_ms[0] = step->duration_ms > 0 ? step->duration_ms : NAN;
    rows_send(rig->plan, &rig->batch, rig->port, 1);
}

static void step_now(struct rig *rig, const struct step *step)
{
    send(rig, step, INT64_MIN, 0);
    apply(rig);
}

// clang-format off
static const struct run_case {
    const char *name;
    struct step steps[STEPS];
    const char *expected;
} cases[] = {
    {"Airflow", {{0, STATE_RUNNING, "d", "r", NULL, 0, 0}, {1, STATE_RUNNING, "d", "r", "t", 1, 0},
                 {6, STATE_SUCCESS, "d", "r", "t", 1, 0}, {7, STATE_RUNNING, "d", "r", "u", 1, 0},
                 {9, STATE_FAILED, "d", "r", "u", 1, 0}, {10, STATE_RUNNING, "d", "r", "u", 2, 0},
                 {13, STATE_SUCCESS, "d", "r", "u", 2, 0}, {20, STATE_SUCCESS, "d", "r", NULL, 0, 0}},
     "d=running d/t#1=running d/t#1=success(5000) d/u#1=running d/u#1=failed(2000) d/u#2=running "
     "d/u#2=success(3000) d=success(20000){success:2}{failed:1}"},
    {"Celery, received again before retried",
     {{0, STATE_QUEUED, "w", "r", NULL, 1, 0}, {1, STATE_RUNNING, NULL, "r", NULL, 0, 0},
      {2, STATE_QUEUED, "w", "r", NULL, 2, 0}, {3, STATE_RETRYING, NULL, "r", NULL, 0, 0},
      {5, STATE_RUNNING, NULL, "r", NULL, 0, 0}, {9, STATE_SUCCESS, NULL, "r", NULL, 0, 0}},
     "w#1=queued w#1=running w#2=queued w#2=retrying w#2=running w#2=success(4000)"},
    {"Celery, runtime told", {{0, STATE_QUEUED, "w", "r", NULL, 1, 0}, {1, STATE_RUNNING, NULL, "r", NULL, 0, 0},
                              {3, STATE_SUCCESS, NULL, "r", NULL, 0, 1500}},
     "w#1=queued w#1=running w#1=success(1500)"},
    {"revoked before it began", {{0, STATE_QUEUED, "w", "r", NULL, 1, 0}, {4, STATE_CANCELLED, NULL, "r", NULL, 0, 0}},
     "w#1=queued w#1=cancelled"},
    {"no START", {{5, STATE_FAILED, "d", "r", "t", 1, 0}, {6, STATE_FAILED, "d", "r", NULL, 0, 0}},
     "d/t#1=failed d=failed{failed:1}"},
    {"COMPLETE only", {{5, STATE_SUCCESS, "d", "r", NULL, 0, 0}}, "d=success"},
    {"COMPLETE only, with its duration", {{5, STATE_SUCCESS, "d", "r", NULL, 0, 2000}}, "d=success(2000)"},
    {"START after COMPLETE", {{5, STATE_SUCCESS, "d", "r", NULL, 0, 0}, {6, STATE_RUNNING, "d", "r", NULL, 0, 0}},
     "d=success"},
    {"both at one time", {{5, STATE_SUCCESS, "d", "r", NULL, 0, 0}, {5, STATE_RUNNING, "d", "r", NULL, 0, 0}},
     "d=running d=success(0)"},
    {"rows out of order", {{9, STATE_SUCCESS, "d", "r", NULL, 0, 0}, {5, STATE_RUNNING, "d", "r", NULL, 0, 0},
                           {3, STATE_QUEUED, "d", "r", NULL, 0, 0}},
     "d=queued d=running d=success(4000)"},
    {"told twice", {{1, STATE_RUNNING, "d", "r", NULL, 0, 0}, {2, STATE_RUNNING, "d", "r", NULL, 0, 0},
                    {3, STATE_QUEUED, "d", "r", NULL, 0, 0}, {4, STATE_SUCCESS, "d", "r", NULL, 0, 0},
                    {5, STATE_FAILED, "d", "r", NULL, 0, 0}},
     "d=running d=success(3000)"},
    {"one run id, several workflows", {{1, STATE_RUNNING, "a", "r", NULL, 0, 0}, {2, STATE_RUNNING, "b", "r", NULL, 0, 0},
                                       {4, STATE_SUCCESS, "a", "r", NULL, 0, 0}, {7, STATE_FAILED, "b", "r", NULL, 0, 0}},
     "a=running b=running a=success(3000) b=failed(5000)"},
    {"no name: the one last told", {{1, STATE_RUNNING, "a", "r", NULL, 0, 0}, {2, STATE_RUNNING, "b", "r", NULL, 0, 0},
                                    {5, STATE_SUCCESS, NULL, "r", NULL, 0, 0}},
     "a=running b=running b=success(3000)"},
    {"named later", {{1, STATE_QUEUED, NULL, "r", NULL, 0, 0}, {3, STATE_RUNNING, "a", "r", NULL, 0, 0},
                     {5, STATE_SUCCESS, NULL, "r", NULL, 0, 0}},
     "a=running a=success(2000)"},
    {"never named", {{1, STATE_QUEUED, NULL, "r", NULL, 0, 0}, {5, STATE_SUCCESS, NULL, "r", NULL, 0, 0}}, "=success"},
    {"named later, then another, then the first again",
     {{1, STATE_QUEUED, NULL, "r", NULL, 0, 0}, {2, STATE_RUNNING, "a", "r", NULL, 0, 0},
      {3, STATE_RUNNING, "b", "r", NULL, 0, 0}, {7, STATE_SUCCESS, "a", "r", NULL, 0, 0}},
     "a=running b=running a=success(5000)"},
    {"a late word of an earlier try",
     {{1, STATE_RUNNING, "w", "r", NULL, 1, 0}, {3, STATE_RUNNING, NULL, "r", NULL, 2, 0},
      {4, STATE_FAILED, "w", "r", NULL, 1, 0}, {5, STATE_SUCCESS, NULL, "r", NULL, 2, 0}},
     "w#1=running w#2=running w#2=success(2000)"},
    {"a numbered attempt ends when it is to be retried",
     {{0, STATE_RUNNING, "d", "r", NULL, 0, 0}, {1, STATE_RUNNING, "d", "r", "t", 1, 0},
      {3, STATE_RETRYING, "d", "r", "t", 1, 0}, {4, STATE_RUNNING, "d", "r", "t", 2, 0},
      {9, STATE_SUCCESS, "d", "r", "t", 2, 0}, {10, STATE_SUCCESS, "d", "r", NULL, 0, 0}},
     "d=running d/t#1=running d/t#1=failed(2000) d/t#2=running d/t#2=success(5000) d=success(10000){success:1}{failed:1}"},
    {"all tries have one number",
     {{1, STATE_RUNNING, "d", "r", "t", 3, 0}, {3, STATE_RETRYING, "d", "r", "t", 3, 0},
      {3, STATE_RUNNING, "d", "r", "t", 3, 0}, {4, STATE_RUNNING, "d", "r", "t", 3, 0},
      {9, STATE_SUCCESS, "d", "r", "t", 3, 0}, {10, STATE_FAILED, "d", "r", "t", 3, 0}},
     "d/t#3=running d/t#3=failed(2000) d/t#3=running d/t#3=success(5000)"},
    {"the tries have no number",
     {{1, STATE_RUNNING, "d", "r", "t", 0, 0}, {3, STATE_RETRYING, "d", "r", "t", 0, 0},
      {4, STATE_RUNNING, "d", "r", "t", 0, 0}, {9, STATE_SUCCESS, "d", "r", "t", 0, 0}},
     "d/t=running d/t=retrying d/t=running d/t=success(5000)"},
    {"a task alone does not tell of its run", {{1, STATE_RUNNING, "d", "r", "t", 0, 0}, {2, STATE_SUCCESS, "d", "r", "t", 0, 0}},
     "d/t=running d/t=success(1000)"},
};
// clang-format on

static void test_cases(void **state)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct runs_figures figures;
        size_t sent = 0;
        struct rig rig;

        rig_open(&rig, "");
        for (; sent < STEPS && cases[i].steps[sent].state != STATE_NONE; sent++)
            send(&rig, &cases[i].steps[sent], INT64_MIN, (int64_t)sent);
        apply(&rig);
        if (!span_is(buffer_span(&rig.told), cases[i].expected))
            fail_msg("%s: %.*s, expected %s", cases[i].name, (int)rig.told.size, rig.told.data,
                     cases[i].expected);
        runs_figures(rig.runs, &figures);
        assert_true(figures.transitions + figures.ignored <= sent);
        rig_close(&rig);
    }
}

/* Whether a failure is final, and whether a run's failure is that of its task. */
static void test_final_failures(void **state)
{
    const struct step task = {1, STATE_FAILED, "d", "r", "t", 1, 0},
                      run = {3, STATE_FAILED, "d", "r", NULL, 0, 0};
    struct rig rig;

    (void)state;
    rig_open(&rig, "");
    rig.result = SPAN_LITERAL("up_for_retry");
    step_now(&rig, &task);
    assert_true(rig.last.will_retry);
    rig.result = (struct span){0};
    step_now(&rig, &run);
    assert_false(rig.last.task_failed || rig.last.will_retry);
    rig_close(&rig);
    rig_open(&rig, "");
    step_now(&rig, &task);
    assert_false(rig.last.will_retry);
    step_now(&rig, &run);
    assert_true(rig.last.task_failed);
    rig.result = SPAN_LITERAL("streaming");
    step_now(&rig, &(struct step){4, STATE_RUNNING, "s", "r", NULL, 0, 0});
    assert_true(rig.last.is_endless && !rig.last.task_failed);
    rig_close(&rig);
}

/* The error of a try stays with it: neither a success has it, nor the next try. */
static void test_errors(void **state)
{
    const struct step steps[] = {
        {1, STATE_RUNNING, "w", "r", NULL, 1, 0},  {2, STATE_RETRYING, NULL, "r", NULL, 0, 0},
        {3, STATE_RUNNING, NULL, "r", NULL, 2, 0}, {4, STATE_RETRYING, NULL, "r", NULL, 0, 0},
        {5, STATE_RUNNING, NULL, "r", NULL, 0, 0}, {6, STATE_SUCCESS, NULL, "r", NULL, 0, 0}};
    struct rig rig;

    (void)state;
    rig_open(&rig, "");
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        bool failed = steps[i].state == STATE_RETRYING;

        rig.error = failed ? SPAN_LITERAL("no disk") : (struct span){0};
        rig.error_type = failed ? SPAN_LITERAL("OSError") : (struct span){0};
        step_now(&rig, &steps[i]);
    }
    assert_true(span_is(buffer_span(&rig.told),
                        "w#1=running w#1=retrying!no disk!OSError w#2=running w#2=retrying!no disk!OSError "
                        "w#2=running!no disk!OSError w#2=success(1000)"));
    rig_close(&rig);
}

static void test_times(void **state)
{
    struct rig rig;

    rig_open(&rig, "");
    step_now(&rig, &(struct step){10, STATE_QUEUED, "w", "r", NULL, 1, 0});
    step_now(&rig, &(struct step){13, STATE_RUNNING, NULL, "r", NULL, 0, 0});
    assert_true(rig.last.queue_wait_ms == 3000);
    step_now(&rig, &(struct step){20, STATE_SUCCESS, NULL, "r", NULL, 0, 0});
    assert_true(rig.last.first_us == 10 * SECOND && rig.last.queued_us == 10 * SECOND);
    assert_true(rig.last.started_us == 13 * SECOND && rig.last.ended_us == 20 * SECOND);
    assert_int_equal(rig.last.version, 4);
    assert_true(rig.last.at_us == 20 * SECOND);
    step_now(&rig, &(struct step){30, STATE_SUCCESS, "w", "q", NULL, 0, 4000});
    assert_true(rig.last.started_us == 26 * SECOND); /* from the end and the duration */
    rig_close(&rig);
}

/* Three runs of one shard, which has room for two. */
static void find_neighbours(struct rig *rig, char names[3][16])
{
    uint32_t wanted = UINT32_MAX;
    unsigned found = 0;

    for (unsigned i = 0; found < 3; i++) {
        char name[16];
        struct block *block;

        snprintf(name, sizeof name, "r%u", i);
        send(rig, &(struct step){1, STATE_RUNNING, "w", name, NULL, 0, 0}, INT64_MIN, 0);
        exchange_flush(rig->port);
        block = exchange_receive(rig->port);
        uint32_t shard = run_shard(((const struct row_record *)block->bytes)->alias);
        block_release(block);
        wanted = wanted == UINT32_MAX ? shard : wanted;
        if (shard == wanted)
            memcpy(names[found++], name, sizeof name);
    }
}

static void test_eviction(void **state)
{
    struct runs_figures figures;
    char names[3][16];
    struct rig rig;

    rig_open(&rig, "limits: {runs: 512}\n");
    find_neighbours(&rig, names);
    step_now(&rig, &(struct step){1, STATE_RUNNING, "w", names[0], NULL, 0, 0});
    step_now(&rig, &(struct step){2, STATE_SUCCESS, "w", names[1], NULL, 0, 0});
    step_now(&rig, &(struct step){3, STATE_RUNNING, "w", names[2], NULL, 0, 0}); /* the ended one goes */
    runs_figures(rig.runs, &figures);
    assert_int_equal(figures.evicted, 1);
    assert_int_equal(figures.entries, 2);
    step_now(&rig, &(struct step){5, STATE_SUCCESS, NULL, names[0], NULL, 0, 0});
    assert_true(rig.last.duration_ms == 4000);
    step_now(&rig, &(struct step){6, STATE_RUNNING, "w", names[1], NULL, 0, 0});
    step_now(&rig,
             &(struct step){7, STATE_RUNNING, "w", names[0], NULL, 0, 0}); /* the oldest open one goes */
    runs_figures(rig.runs, &figures);
    assert_int_equal(figures.evicted, 3);
    step_now(&rig, &(struct step){9, STATE_SUCCESS, NULL, names[1], NULL, 0, 0});
    assert_true(rig.last.duration_ms == 3000);
    step_now(&rig, &(struct step){9, STATE_SUCCESS, NULL, names[2], NULL, 0, 0});
    assert_true(isnan(rig.last.duration_ms));
    rig_close(&rig);
}

/* Whatever comes, the table stays within its limit and is sound: run under the address sanitizer. */
static void test_many_runs(void **state)
{
    static const char *const workflows[] = {NULL, "a", "b"}, *const tasks[] = {NULL, NULL, "t", "u"};
    struct runs_figures figures;
    uint64_t random = 9;
    struct rig rig;

    for (unsigned limit = 256; limit <= 1024; limit *= 2) {
        char more[64];

        snprintf(more, sizeof more, "limits: {runs: %u}\n", limit);
        rig_open(&rig, more);
        for (unsigned i = 0; i < RUNS_MAX; i++) {
            char name[16];

            snprintf(name, sizeof name, "r%u", (unsigned)random_below(&random, 1500));
            rig.last_id = (struct id128){0};
            step_now(&rig,
                     &(struct step){i, (enum run_state)(1 + random_below(&random, STATE_COUNT - 1)),
                                    workflows[random_below(&random, 3)], name,
                                    tasks[random_below(&random, 4)], (uint16_t)random_below(&random, 3), 0});
        }
        runs_figures(rig.runs, &figures);
        assert_true(figures.entries <= limit && figures.evicted > 0);
        rig_close(&rig);
    }
}

static void assert_entries(const struct rig *rig, size_t entries, uint64_t evicted)
{
    struct runs_figures figures;

    runs_figures(rig->runs, &figures);
    assert_int_equal(figures.entries, entries);
    assert_int_equal(figures.evicted, evicted);
}

/* A run that is over for longer than it is kept begins anew, exactly then, under the same id: its version and
 * its first time go on. */
static void test_rerun(void **state)
{
    struct rig rig;

    rig_open(&rig, "runs: {keep: 10s}\n");
    step_now(&rig, &(struct step){1, STATE_RUNNING, "w", "r", NULL, 0, 0});
    step_now(&rig, &(struct step){2, STATE_FAILED, "w", "r", NULL, 0, 0});
    struct run_record first = rig.last;
    step_now(&rig, &(struct step){12, STATE_RUNNING, "w", "r", NULL, 0, 0});
    assert_int_equal(rig.last.state, STATE_FAILED);
    step_now(&rig, &(struct step){13, STATE_RUNNING, "w", "r", NULL, 0, 0});
    step_now(&rig, &(struct step){17, STATE_SUCCESS, NULL, "r", NULL, 0, 0});
    assert_true(id_equal(rig.last.id, first.id) && rig.last.version == first.version + 2);
    assert_true(rig.last.first_us == first.first_us && rig.last.duration_ms == 4000);
    step_now(&rig, &(struct step){40, STATE_RUNNING, NULL, "r", NULL, 0, 0});
    assert_true(id_equal(rig.last.id, first.id) &&
                rig.last.version == first.version + 2); /* it has no name */
    step_now(&rig, &(struct step){41, STATE_FAILED, "w", "r", NULL, 0, 0});
    assert_true(id_equal(rig.last.id, first.id) && rig.last.version == first.version + 3);
    assert_entries(&rig, 1, 0);
    rig_close(&rig);
}

/* So does what was pushed out. */
static void test_rerun_of_evicted(void **state)
{
    char names[3][16];
    struct rig rig;

    rig_open(&rig, "limits: {runs: 512}\n");
    find_neighbours(&rig, names);
    for (int i = 0; i < 3; i++)
        step_now(&rig, &(struct step){1 + i, STATE_RUNNING, "w", names[i], NULL, 0, 0});
    step_now(&rig, &(struct step){5, STATE_SUCCESS, "w", names[0], NULL, 0, 0});
    assert_true(rig.last.version == 3 && rig.last.first_us == 1 * SECOND);
    step_now(&rig, &(struct step){6, STATE_SUCCESS, "w", names[1], NULL, 0, 0});
    assert_true(rig.last.version == 3 && rig.last.first_us == 2 * SECOND);
    step_now(&rig, &(struct step){7, STATE_FAILED, "w", names[0], NULL, 0, 0});
    assert_true(rig.last.version == 4 && rig.last.first_us == 1 * SECOND);
    assert_entries(&rig, 2, 4);
    rig_close(&rig);
}

/* A run that only its tasks tell of is forgotten when they are silent; one that has told itself is not. */
static void test_untold(void **state)
{
    struct rig rig;

    rig_open(&rig, "runs: {keep: 10s}\n");
    step_now(&rig, &(struct step){1, STATE_SUCCESS, "w", "r", "t", 0, 0});
    step_now(&rig, &(struct step){9, STATE_SUCCESS, "w", "r", "u", 0, 0});
    step_now(&rig, &(struct step){19, STATE_RUNNING, "w", "r", NULL, 0, 0});
    assert_int_equal(rig.last.tasks[STATE_SUCCESS], 2);
    assert_entries(&rig, 2, 0); /* the run and one of its tasks */
    step_now(&rig, &(struct step){40, STATE_SUCCESS, "w", "r", "v", 0, 0});
    step_now(&rig, &(struct step){41, STATE_SUCCESS, "w", "r", NULL, 0, 0});
    assert_int_equal(rig.last.tasks[STATE_SUCCESS], 3);
    step_now(&rig, &(struct step){60, STATE_SUCCESS, "w", "r", "t", 0, 0});
    assert_entries(&rig, 2, 0);
    step_now(&rig, &(struct step){80, STATE_RUNNING, "w", "r", NULL, 0, 0});
    assert_entries(&rig, 1, 0);
    assert_int_equal(rig.last.tasks[STATE_SUCCESS], 0);
    rig_close(&rig);
}

/* The last text told stays, whether it fits where the one before it was or not; an error goes with its
 * try. */
static void test_texts_of_all_sizes(void **state)
{
    char host[300] = "", error[300];
    uint64_t random = 11;
    uint32_t size = 0;
    struct rig rig;

    (void)state;
    rig_open(&rig, "");
    for (unsigned i = 1; i < 500; i++) {
        size_t most = i % 10 ? 40 : sizeof error;

        memset(error, (int)('a' + i % 26), sizeof error);
        rig.error = span_make(error, random_below(&random, most));
        rig.host = (struct span){0};
        if (random_below(&random, 3)) {
            size = 1 + (uint32_t)random_below(&random, most);
            memset(host, (int)('A' + i % 26), size);
            rig.host = (struct span){host, size};
        }
        step_now(&rig, &(struct step){i, STATE_RUNNING, "w", "r", NULL, (uint16_t)i, 0});
        assert_int_equal(rig.last.attempt, i);
        assert_true(span_equal(rig.last.host, (struct span){host, size}));
        assert_true(span_equal(rig.last.error, rig.error));
        assert_true(span_is(rig.last.workflow, "w") && span_is(rig.last.run, "r"));
    }
    rig_close(&rig);
}

/* A queued run that names the one that began it is told to the owner of that one as its child; this one is
 * known by then, or nothing is told. */
static void test_children(void **state)
{
    struct rig rig;

    rig_open(&rig, "watch: true\n");
    step_now(&rig, &(struct step){1, STATE_QUEUED, "pay", "p", NULL, 1, 0});
    rig.parent = SPAN_LITERAL("p");
    step_now(&rig, &(struct step){2, STATE_QUEUED, "mail", "c", NULL, 1, 0});
    step_now(&rig, &(struct step){3, STATE_RUNNING, "mail", "c", NULL, 1, 0}); /* is no news of it */
    rig.parent = SPAN_LITERAL("unknown");
    step_now(&rig, &(struct step){4, STATE_QUEUED, "mail", "d", NULL, 1, 0});
    rig.parent = (struct span){0};
    buffer_put_char(&rig.told, '\0');
    assert_non_null(strstr(rig.told.data, "pay#1=queued"));
    assert_non_null(strstr(rig.told.data, "child of pay: mail"));
    assert_null(strstr(strstr(rig.told.data, "child of") + 1, "child of"));
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),    cmocka_unit_test(test_final_failures),
        cmocka_unit_test(test_times),    cmocka_unit_test(test_errors),
        cmocka_unit_test(test_eviction), cmocka_unit_test(test_many_runs),
        cmocka_unit_test(test_rerun),    cmocka_unit_test(test_rerun_of_evicted),
        cmocka_unit_test(test_untold),   cmocka_unit_test(test_texts_of_all_sizes),
        cmocka_unit_test(test_children),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
