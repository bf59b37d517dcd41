#include "pipeline/worker.h"

#include "base/memory.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { COMMIT_EVERY_US = 1000 * 1000 };

static void tell_bucket(void *owner, const struct bucket *bucket, int64_t at_us)
{
    struct worker *worker = owner;

    deliver_bucket(worker->deliver, bucket, at_us);
}

static void tell_signal(void *owner, const struct signal_record *record)
{
    struct worker *worker = owner;

    deliver_signal(worker->deliver, record);
}

static void tell_run(void *owner, const struct run_record *run)
{
    struct worker *worker = owner;

    if (run->at_us >= atomic_load(&worker->shared->had_us))
        deliver_run(worker->deliver, run);
}

static enum status open_inputs(struct worker *worker, bool once, const struct deliver_context *deliver,
                               struct error *error)
{
    const struct plan *plan = worker->plan;

    worker->inputs = memory_new(plan->source_count * sizeof *worker->inputs);
    for (unsigned i = 0; i < plan->source_count; i++) {
        struct input *input = &worker->inputs[i];
        const struct plan_source *source = &plan->sources[i];
        const struct plan_format *format = &plan->formats[source->format];
        struct source_context context = {.name = source->name,
                                         .worker = worker->number,
                                         .workers = worker->shared->workers,
                                         .node = source->node,
                                         .once = once,
                                         .warn = deliver->warn,
                                         .owner = deliver->owner};
        struct format_context format_context = {.labels = (struct label_names *)&plan->labels};

        input->plan = source;
        worker->input_count = i + 1;
        if (format->type->open(format->settings, &format_context, &input->format, error) != STATUS_OK ||
            source->type->open(source->settings, &context, &input->source, error) != STATUS_OK)
            return STATUS_FATAL;
    }
    return STATUS_OK;
}

static void open_parts(struct worker *worker)
{
    const struct plan *plan = worker->plan;
    struct windows_output output = {tell_bucket, tell_signal, worker};
    unsigned workers = worker->shared->workers;

    worker->judge = judge_new(plan, worker->port);
    worker->fold = fold_new(plan, false, worker->port, workers);
    worker->run_fold = fold_new(plan, true, worker->port, workers);
    worker->windows = windows_new(plan, worker->number, workers, worker->judge, &output);
    worker->runs = runs_new(plan, tell_run, worker);
    worker->lifecycle = lifecycle_new(plan->policies, plan->policy_count);
    worker->messages = memory_new(BATCH_ROWS_MAX * sizeof *worker->messages);
    event_batch_init(&worker->batch, BATCH_ROWS_MAX, &plan->labels);
    event_batch_init(&worker->transitions, BATCH_ROWS_MAX, &plan->labels);
    epochs_init(&worker->epochs);
    for (unsigned stage = 0; stage < WATERMARK_STAGES; stage++) {
        worker->heard[stage] = memory_new(workers * sizeof **worker->heard);
        for (unsigned i = 0; i < workers; i++)
            worker->heard[stage][i].time_us = worker->heard[stage][i].firm_us = INT64_MIN;
        worker->sent[stage].time_us = worker->sent[stage].firm_us = INT64_MIN;
    }
}

enum status worker_open(struct worker *worker, struct shared *shared, unsigned number,
                        const struct deliver_context *deliver, bool once, struct error *ret_error)
{
    *worker = (struct worker){.shared = shared, .plan = shared->plan, .number = number};
    worker->port = exchange_port(shared->exchange, number);
    worker->rows_us = worker->firm_us = worker->runs_us = INT64_MIN;
    worker->applied_us = worker->closed_us = worker->notified_us = INT64_MIN;
    atomic_store(&shared->slowest_us[number], INT64_MIN);
    atomic_store(&shared->acknowledged_us[number], INT64_MIN);
    atomic_store(&shared->needed_us[number], INT64_MAX);
    atomic_store(&shared->passed_us[number], INT64_MIN);
    open_parts(worker);
    if (cleaner_open(worker->plan->general.clean, (struct label_names *)&worker->plan->labels,
                     &worker->cleaner, ret_error) != STATUS_OK ||
        deliver_open(deliver, &worker->deliver, ret_error) != STATUS_OK ||
        open_inputs(worker, once, deliver, ret_error) != STATUS_OK) {
        worker_close(worker);
        return STATUS_FATAL;
    }
    return STATUS_OK;
}

void worker_close(struct worker *worker)
{
    if (worker->at && worker->inputs[worker->at->source].source)
        worker->inputs[worker->at->source].plan->type->release(worker->inputs[worker->at->source].source,
                                                               worker->at->index, worker->messages,
                                                               worker->message_count);
    for (unsigned i = 0; i < worker->input_count; i++) {
        struct input *input = &worker->inputs[i];

        if (input->source)
            input->plan->type->close(input->source);
        if (input->format)
            worker->plan->formats[input->plan->format].type->close(input->format);
    }
    if (worker->deliver)
        deliver_close(worker->deliver);
    for (size_t i = 0; i < worker->partition_count; i++)
        ledger_free(&worker->partitions[i].ledger);
    for (unsigned stage = 0; stage < WATERMARK_STAGES; stage++)
        free(worker->heard[stage]);
    cleaner_close(worker->cleaner);
    order_free(&worker->order);
    epochs_free(&worker->epochs);
    windows_free(worker->windows);
    runs_free(worker->runs);
    lifecycle_free(worker->lifecycle);
    fold_free(worker->fold);
    fold_free(worker->run_fold);
    judge_free(worker->judge);
    event_batch_free(&worker->batch);
    event_batch_free(&worker->transitions);
    free(worker->partitions);
    free(worker->messages);
    free(worker->inputs);
}

void worker_tell(struct worker *worker, const struct watermark_record *mark)
{
    struct watermark_record *last = &worker->sent[mark->stage];

    if (last->time_us != mark->time_us || last->firm_us != mark->firm_us || last->ended != mark->ended) {
        unsigned targets = mark->stage == WATERMARK_SCORE ? ALERT_OWNER + 1 : worker->shared->workers;

        *last = *mark;
        for (unsigned target = 0; target < targets; target++) {
            struct watermark_record *record =
                exchange_record(worker->port, target, RECORD_WATERMARK, sizeof *record);
            struct record head = record->head;

            *record = *mark;
            record->head = head;
        }
    }
    exchange_flush(worker->port);
}

bool stage_deliver(struct worker *worker, int64_t now_us)
{
    bool stopping = atomic_load(&worker->shared->stopping);
    bool flush = stopping || worker->notified_final;

    deliver_advance(worker->deliver, now_us, flush);
    if (stopping && !worker->at && deliver_pending(worker->deliver) == 0)
        worker->stopped = true;
    return false;
}

static int64_t least_of(const struct worker *worker, const _Atomic int64_t *values)
{
    int64_t least = INT64_MAX;

    for (unsigned i = 0; i < worker->shared->workers; i++) {
        int64_t value = atomic_load_explicit(&values[i], memory_order_relaxed);

        least = value < least ? value : least;
    }
    return least;
}

/* Event time from which on rows are still needed: by buckets that are not delivered yet, and by runs that are
 * not over or whose end may feed such a bucket. */
static int64_t needed_from(struct worker *worker, int64_t acknowledged_us)
{
    const struct plan *plan = worker->plan;
    int64_t buckets = acknowledged_us - plan->longest_window_us, runs;

    if (plan->time.late == LATE_CORRECT)
        buckets -= plan->time.correct_for;
    if (plan->wants_runs)
        atomic_store_explicit(
            &worker->shared->needed_us[worker->number],
            runs_needed_from(
                worker->runs,
                worker->applied_us == INT64_MIN ? INT64_MIN : worker->applied_us - plan->runs.hold, buckets),
            memory_order_relaxed);
    runs = least_of(worker, worker->shared->needed_us);
    return runs < buckets ? runs : buckets;
}

/* Commits what is below every need. The metadata carries the watermark at the offset and the event time up to
 * which all buckets are delivered, so that a restart decides as if it had never stopped. */
static void commit(struct worker *worker)
{
    int64_t acknowledged = least_of(worker, worker->shared->acknowledged_us), needed;
    char metadata[96];

    if (acknowledged <= INT64_MIN + worker->plan->longest_window_us + worker->plan->time.correct_for)
        return;
    needed = needed_from(worker, acknowledged);
    for (size_t i = 0; i < worker->partition_count; i++) {
        struct partition *partition = &worker->partitions[i];
        const struct input *input = &worker->inputs[partition->source];
        int64_t offset, watermark;
        int size;

        if (!input->plan->type->commit ||
            !ledger_advance(&partition->ledger, needed, partition->watermark_us, &offset, &watermark))
            continue;
        size = snprintf(metadata, sizeof metadata, "w=%lld;c=%lld", (long long)watermark,
                        (long long)acknowledged);
        assert(size > 0 && (size_t)size < sizeof metadata);
        input->plan->type->commit(input->source, partition->index, offset, span_make(metadata, (size_t)size));
        worker->figures.commits++;
    }
}

/* Sources that keep nothing forget their batches as they are acknowledged. */
static void forget(struct worker *worker)
{
    for (size_t i = 0; i < worker->partition_count; i++) {
        struct partition *partition = &worker->partitions[i];
        int64_t offset, watermark;

        if (!worker->inputs[partition->source].plan->type->commit)
            ledger_advance(&partition->ledger, INT64_MAX, partition->watermark_us, &offset, &watermark);
    }
}

bool stage_commit(struct worker *worker, int64_t now_us)
{
    if (now_us < worker->commit_due_us)
        return false;
    worker->commit_due_us = now_us + COMMIT_EVERY_US;
    forget(worker);
    commit(worker);
    return false;
}

static uint64_t clock_ns(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

bool worker_step(struct worker *worker, int64_t now_us)
{
    uint64_t before = clock_ns();
    bool busy = false;

    for (size_t i = 0; stages[i].name; i++) {
        uint64_t after;

        assert(i < STAGES_MAX);
        busy |= stages[i].run(worker, now_us);
        after = clock_ns();
        worker->stage_ns[i] += after - before;
        before = after;
    }
    worker->figures.steps++;
    return busy;
}

bool worker_is_done(const struct worker *worker)
{
    if (atomic_load(&worker->shared->stopping))
        return worker->stopped;
    return worker->notified_final && worker->closed_final && deliver_pending(worker->deliver) == 0 &&
           !exchange_stalled(worker->port);
}
