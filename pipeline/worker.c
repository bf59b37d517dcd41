#include "pipeline/worker.h"

#include "base/memory.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { TRANSITION_ROWS = 1024 }; /* judged and folded together */

static void tell_bucket(void *owner, const struct bucket *bucket, int64_t at_us)
{
    deliver_bucket(((struct worker *)owner)->deliver, bucket, at_us);
}

static void tell_signal(void *owner, const struct signal_record *record)
{
    deliver_signal(((struct worker *)owner)->deliver, record);
}

static void tell_run(void *owner, const struct run_record *run)
{
    watch_run(((struct worker *)owner)->watch, run);
    if (!run->tells_child)
        deliver_run(((struct worker *)owner)->deliver, run);
}

uint64_t partition_id(const struct input *input, const char *topic, int32_t number)
{
    struct id_builder builder;

    id_begin(&builder);
    id_add_text(&builder, span_of(input->plan->name));
    id_add_text(&builder, span_of(topic));
    id_add_integer(&builder, number);
    return id_end(&builder).high;
}

static int64_t resume(void *owner, const char *topic, int32_t number, bool can_repeat)
{
    const struct input *input = owner;
    struct restart_place place;

    if (!restart_find(&input->worker->shared->restart, partition_id(input, topic, number), &place))
        return OFFSET_NONE;
    return can_repeat ? place.low_offset : place.next_offset;
}

static void recall(void *owner, void (*take)(void *owner, struct span topic, struct span note), void *taker)
{
    const struct input *input = owner;

    restart_notes(&input->worker->shared->restart, span_of(input->plan->name), take, taker);
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
                                         .group = worker->shared->task ? plan->cluster.application_id : NULL,
                                         .once = once,
                                         .receives = !deliver->collect,
                                         .warn = deliver->warn,
                                         .owner = deliver->owner,
                                         .resume = resume,
                                         .recall = recall,
                                         .resume_owner = input};
        struct format_context format_context = {.labels = (struct label_names *)&plan->labels};

        input->worker = worker;
        input->plan = source;
        worker->input_count = i + 1;
        if (format->type->open(format->settings, &format_context, &input->format, error) != STATUS_OK ||
            source->type->open(source->settings, &context, &input->source, error) != STATUS_OK)
            return STATUS_FATAL;
        input->joins = format->type->joins && format->type->joins(input->format);
    }
    return STATUS_OK;
}

/* Pane tables are numbered within the process, the worker and its two folds. */
static uint64_t fold_number(const struct worker *worker, unsigned fold)
{
    return (worker->checkpoint->run_number * WORKERS_MAX + worker->number) * 2 + fold;
}

static void open_parts(struct worker *worker)
{
    const struct plan *plan = worker->plan;
    struct windows_output output = {tell_bucket, tell_signal, worker};
    unsigned workers = worker->shared->workers, text_count = RUN_TEXTS + plan->labels.count;

    worker->judge = judge_new(plan, worker->port);
    worker->fold = fold_new(plan, false, worker->port, workers);
    worker->run_fold = fold_new(plan, true, worker->port, workers);
    worker->windows = windows_new(plan, worker->number, workers, worker->judge, &output);
    worker->runs = runs_new(plan, tell_run, worker);
    worker->watch = watch_new(plan, worker->port, workers);
    worker->lifecycle = lifecycle_new(plan->policies, plan->policy_count);
    worker->polled = memory_new(BATCH_ROWS_MAX * sizeof *worker->polled);
    worker->too_late = memory_new(BATCH_ROWS_MAX);
    worker->row_texts = memory_new(ROWS_AT_ONCE * text_count * sizeof *worker->row_texts);
    for (unsigned i = 0; i < ROWS_AT_ONCE; i++)
        worker->rows[i].texts = &worker->row_texts[i * text_count];
    event_batch_init(&worker->batch, BATCH_ROWS_MAX, &plan->labels);
    event_batch_init(&worker->transitions, TRANSITION_ROWS, &plan->labels);
    fold_set_numbers(worker->fold, fold_number(worker, 0));
    fold_set_numbers(worker->run_fold, fold_number(worker, 1));
    for (unsigned stage = 0; stage < WATERMARK_STAGES; stage++) {
        worker->heard[stage] = memory_new(workers * sizeof **worker->heard);
        for (unsigned i = 0; i < workers; i++)
            worker->heard[stage][i] = (struct watermark_record){
                .time_us = INT64_MIN, .firm_us = INT64_MIN, .slowest_us = INT64_MIN};
        worker->sent[stage].time_us = worker->sent[stage].firm_us = INT64_MIN;
    }
}

enum status worker_open(struct worker *worker, struct shared *shared, unsigned number,
                        const struct deliver_context *deliver, bool once, struct error *ret_error)
{
    *worker = (struct worker){.shared = shared,
                              .checkpoint = &shared->checkpoint,
                              .plan = shared->plan,
                              .number = number,
                              .place = number - shared->first,
                              .warn = deliver->warn,
                              .warn_owner = deliver->owner};
    worker->port = exchange_port(shared->exchange, number);
    worker->rows_us = worker->events_us = worker->firm_us = worker->runs_us = INT64_MIN;
    worker->applied_us = worker->watched_us = worker->closed_us = worker->notified_us = INT64_MIN;
    atomic_store(&shared->passed_us[worker->place], INT64_MIN);
    worker->rows_a_step = worker->unique_rows_a_step = ROWS_A_STEP;
    unique_init(&worker->unique);
    saving_open(worker);
    open_parts(worker);
    if (cleaner_open(worker->plan->general.clean, (struct label_names *)&worker->plan->labels,
                     &worker->cleaner, ret_error) != STATUS_OK ||
        deliver_open(deliver, &worker->deliver, ret_error) != STATUS_OK ||
        open_inputs(worker, once, deliver, ret_error) != STATUS_OK) {
        worker_close(worker);
        return STATUS_FATAL;
    }
    worker->unique_step = cleaner_unique(worker->cleaner);
    return STATUS_OK;
}

void worker_close(struct worker *worker)
{
    if (worker->at && worker->inputs[worker->at->source].source)
        worker->inputs[worker->at->source].plan->type->release(worker->inputs[worker->at->source].source,
                                                               worker->at->index, worker->polled,
                                                               worker->polled_count);
    for (unsigned i = 0; i < worker->input_count; i++) {
        struct input *input = &worker->inputs[i];

        if (input->source)
            input->plan->type->close(input->source);
        if (input->format)
            worker->plan->formats[input->plan->format].type->close(input->format);
    }
    if (worker->deliver)
        deliver_close(worker->deliver);
    for (size_t i = 0; i < worker->partition_count; i++) {
        ledger_free(&worker->partitions[i].ledger);
        held_record_free(&worker->partitions[i].held);
        free(worker->partitions[i].again);
    }
    saving_close(worker);
    for (unsigned stage = 0; stage < WATERMARK_STAGES; stage++)
        free(worker->heard[stage]);
    cleaner_close(worker->cleaner);
    unique_free(&worker->unique);
    order_free(&worker->order);
    windows_free(worker->windows);
    runs_free(worker->runs);
    watch_free(worker->watch);
    lifecycle_free(worker->lifecycle);
    fold_free(worker->fold);
    fold_free(worker->run_fold);
    judge_free(worker->judge);
    event_batch_free(&worker->batch);
    event_batch_free(&worker->transitions);
    free(worker->row_texts);
    free(worker->partitions);
    free(worker->polled);
    records_free(&worker->records);
    free(worker->too_late);
    free(worker->inputs);
}

void worker_tell(struct worker *worker, const struct watermark_record *mark)
{
    struct watermark_record *last = &worker->sent[mark->stage];

    if (last->time_us != mark->time_us || last->firm_us != mark->firm_us || last->waits != mark->waits ||
        last->ended != mark->ended || last->slowest_us != mark->slowest_us) {
        unsigned targets = mark->stage == WATERMARK_SCORE ? ALERT_OWNER + 1 : worker->shared->workers;

        *last = *mark;
        for (unsigned target = 0; target < targets; target++) {
            struct watermark_record *record =
                exchange_record(worker->port, target, RECORD_WATERMARK, sizeof *record);
            struct record head = record->head;

            *record = *mark;
            record->head = head;
            record->sender = worker->number;
        }
    }
    exchange_flush(worker->port);
}

/* Changes whenever there is something that a cut would store. */
static uint64_t work_of(const struct worker *worker)
{
    struct windows_figures windows;
    struct deliver_figures deliver;
    uint64_t work;

    windows_figures(worker->windows, &windows);
    deliver_figures(worker->deliver, &deliver);
    work = worker->figures.messages + windows.buckets + windows.corrections + deliver.dead_letters;
    if (worker->shared->task) {
        struct parcels_figures parcels = parcels_figures(worker->shared->task->parcels);

        work += parcels.sent + parcels.opened;
    }
    for (int kind = 0; kind < DOC_KINDS; kind++)
        work += deliver.documents[kind];
    return work - deliver_pending(worker->deliver);
}

static void tell_checkpoint(struct worker *worker, bool stopping)
{
    struct checkpoint *checkpoint = worker->checkpoint;
    bool at_end = stopping ? !worker->at && !must_let_go(worker) : worker_has_read_all(worker);
    /* the catch-up ends with the input, which ends with the cut */
    size_t undelivered = deliver_pending(worker->deliver) - (stopping ? 0 : deliver_held(worker->deliver));

    atomic_store_explicit(&checkpoint->work[worker->place], work_of(worker), memory_order_relaxed);
    atomic_store(&checkpoint->drained[worker->place], at_end && undelivered == 0);
}

bool stage_deliver(struct worker *worker, int64_t now_us)
{
    const struct task *task = worker->shared->task;
    bool stopping = atomic_load(&worker->shared->stopping);
    bool flush = stopping || worker->notified_final || worker_has_read_all(worker);

    if (!task || task->type->is_confirmed(task->journal, now_us))
        deliver_advance(worker->deliver, now_us, flush);
    tell_checkpoint(worker, stopping);
    return false;
}

struct span cut_metadata(const struct partition *partition, char ret_text[CUT_METADATA_MAX])
{
    int size = snprintf(ret_text, CUT_METADATA_MAX, "w=%lld", (long long)partition->cut_watermark_us);

    assert(size > 0 && size < CUT_METADATA_MAX);
    return span_make(ret_text, (size_t)size);
}

static void commit_partition(struct worker *worker, struct partition *partition)
{
    const struct input *input = &worker->inputs[partition->source];
    char metadata[CUT_METADATA_MAX];

    partition->cut = false;
    if (!input->plan->type->commit || worker->shared->task) /* a task's go with its transaction */
        return;
    input->plan->type->commit(input->source, partition->index, partition->cut_offset,
                              cut_metadata(partition, metadata));
    worker->figures.commits++;
}

bool stage_commit(struct worker *worker, int64_t now_us)
{
    uint64_t stored = atomic_load_explicit(&worker->checkpoint->stored, memory_order_acquire);

    (void)now_us;
    for (size_t i = 0; i < worker->partition_count; i++)
        ledger_advance(&worker->partitions[i].ledger);
    if (stored != worker->saving.cut || worker->committed_cut == stored)
        return false;
    worker->committed_cut = stored;
    for (size_t i = 0; i < worker->partition_count; i++)
        if (worker->partitions[i].cut)
            commit_partition(worker, &worker->partitions[i]);
    return false;
}

uint64_t worker_clock_ns(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

bool worker_step(struct worker *worker, int64_t now_us)
{
    bool busy = false, only_finish;
    uint64_t before;

    if (checkpoint_turn(worker, now_us))
        return false;
    only_finish = atomic_load(&worker->shared->stopping) && checkpoint_is_past(worker);
    before = worker_clock_ns();
    unsigned tapped = taps_wanted(worker->shared->taps);

    for (size_t i = 0; stages[i].name; i++) {
        uint64_t after;

        assert(i < STAGES_MAX);
        if (only_finish && !stages[i].finishes)
            continue;
        busy |= stages[i].run(worker, now_us);
        if (tapped & 1U << i && worker->at && !worker->again)
            taps_offer(worker->shared->taps, (unsigned)i, stages[i].run != stage_clean, &worker->batch,
                       worker->cleaner, now_us);
        after = worker_clock_ns();
        worker->stage_ns[i] += after - before;
        before = after;
    }
    worker->figures.steps++;
    return busy;
}

bool worker_is_done(const struct worker *worker)
{
    bool delivered = deliver_pending(worker->deliver) == 0;

    if (atomic_load(&worker->shared->stopping))
        return !worker->at && checkpoint_is_over(worker->checkpoint) &&
               (delivered || atomic_load(&worker->checkpoint->give_up)) &&
               (!worker->checkpoint->keeper ||
                worker->committed_cut == atomic_load(&worker->checkpoint->stored));
    return worker->notified_final && worker->closed_final && delivered &&
           deliver_has_filed(worker->deliver) && !exchange_stalled(worker->port);
}
