#include "pipeline/checkpoint.h"

#include "base/memory.h"
#include "pipeline/continuation.h"
#include "pipeline/worker.h"

#include <assert.h>
#include <stdlib.h>

enum {
    VALUES_BYTES = 1024 * 1024, /* one transaction */
    VALUE_BYTES_MAX = 1 << 30,  /* 256 slots of the largest state there can be */
    JOBS_WAITING = 8,           /* beyond it slices wait for the keeper */
    SLICE_BYTES = 256 * 1024,   /* a turn */
    FIRST_SHARE = 10,           /* the first cut of a process comes after so small a part of the interval */
    SETTLE_TURNS = 100,
    COST_SHARE = 20,     /* a cut takes at most one of so many parts of the time */
    TASK_COST_SHARE = 2, /* most of it is waiting for Kafka, and others wait for what it sends */
    PAUSE_MAX_US = 600 * 1000 * 1000,
    CONFIRM_US_MAX = 20 * 1000 * 1000, /* a transaction may stay open for a minute */
    CONFIRM_SHARE = 6, /* a task commits, if nothing else, at least so often in a session timeout */
};

enum saving_part {
    PART_FOLD,
    PART_RUN_FOLD,
    PART_WINDOWS,
    PART_RUNS,
    PART_WATCH,
    PART_CLEANER,
    PART_ROWS,
    PART_UNIQUE,
    PART_LIFECYCLE,
    PART_DELIVER,
    PARTS,
};

struct values_job {
    struct keeper_job job;
    struct values_job *older;
    uint64_t generation;
    struct state_value *values; /* their bytes are offsets into `bytes` until the job is handed over */
    size_t count, capacity;
    struct buffer bytes;
};

/* What the transaction of a task's cut has beside the values. */
struct sent_part {
    struct journal_commit commit;
    struct journal_parcel *parcels;
    struct journal_offset *offsets;
    char (*metadata)[CUT_METADATA_MAX];
};

struct flip_job {
    struct keeper_job job;
    struct store_flip flip;
    struct sent_part *sent; /* of a task */
    struct state_table *dropped;
    struct outbox_key *acknowledged;
};

void checkpoint_init(struct checkpoint *checkpoint, struct keeper *keeper, unsigned workers,
                     uint64_t generation, int64_t interval_us)
{
    *checkpoint = (struct checkpoint){.keeper = keeper,
                                      .workers = workers,
                                      .interval_us = interval_us,
                                      .run_number = generation + 1,
                                      .greatest_us = INT64_MIN,
                                      .wanted = generation,
                                      .stored = generation};
    for (unsigned i = 0; i < workers; i++)
        checkpoint->arrived[i] = checkpoint->frozen[i] = checkpoint->saved[i] = generation;
}

static void free_sent(struct sent_part *sent)
{
    if (!sent)
        return;
    parcels_discard(sent->parcels);
    free(sent->offsets);
    free(sent->metadata);
    free(sent);
}

void checkpoint_free(struct checkpoint *checkpoint)
{
    for (unsigned i = 0; i < checkpoint->workers; i++) {
        free_sent(checkpoint->parts[i].sent);
        free(checkpoint->parts[i].dropped);
        free(checkpoint->parts[i].acknowledged);
    }
}

bool checkpoint_is_over(const struct checkpoint *checkpoint)
{
    uint64_t last = atomic_load(&checkpoint->last);

    return !checkpoint->keeper || (last && atomic_load(&checkpoint->stored) >= last);
}

static enum status run_values(struct keeper_job *job, const struct keeper_stores *stores,
                              struct error *ret_error)
{
    const struct values_job *mine = (const struct values_job *)job;

    return store_put(stores->store, mine->generation, mine->values, mine->count, ret_error);
}

static void free_values(struct values_job *job)
{
    buffer_free(&job->bytes);
    free(job->values);
    free(job);
}

static void hand_over_values(struct worker *worker)
{
    struct saving *saving = &worker->saving;
    struct values_job *job = saving->values;

    if (!job)
        return;
    for (size_t i = 0; i < job->count; i++)
        job->values[i].bytes.data = job->bytes.data + (uintptr_t)job->values[i].bytes.data;
    job->job.run = run_values;
    job->older = saving->jobs;
    saving->jobs = job;
    saving->job_count++;
    saving->values = NULL;
    keeper_submit(worker->checkpoint->keeper, &job->job);
}

static void put_value(void *owner, const struct state_key *key, struct span bytes)
{
    struct worker *worker = owner;
    struct saving *saving = &worker->saving;
    struct values_job *job = saving->values;

    assert(saving->part != PARTS);
    if (!job) {
        job = saving->values = memory_new(sizeof *job);
        job->generation = atomic_load(&worker->checkpoint->wanted);
        buffer_init(&job->bytes, 2 * (size_t)VALUE_BYTES_MAX);
    }
    job->values = memory_reserve(job->values, &job->capacity, job->count + 1, sizeof *job->values);
    job->values[job->count++] = (struct state_value){
        .key = *key, .bytes = {.data = (const char *)(uintptr_t)job->bytes.size, .size = bytes.size}};
    buffer_put_span(&job->bytes, bytes);
    assert(!job->bytes.full);
    saving->figures.values++;
    saving->figures.bytes += bytes.size;
    if (job->bytes.size >= VALUES_BYTES)
        hand_over_values(worker);
}

/* What is dropped after a freeze is still part of that cut: it goes with the next one. */
static void drop_table(void *owner, uint32_t kind, uint64_t table_owner, uint64_t part)
{
    struct saving *saving = &((struct worker *)owner)->saving;

    saving->dropping = memory_reserve(saving->dropping, &saving->dropping_capacity,
                                      saving->dropping_count + 1, sizeof *saving->dropping);
    saving->dropping[saving->dropping_count++] =
        (struct state_table){.kind = kind, .owner = table_owner, .part = part};
}

/* Jobs that the keeper is through with. */
static void collect_jobs(struct saving *saving)
{
    struct values_job **link = &saving->jobs;

    while (*link) {
        struct values_job *job = *link;

        if (!atomic_load(&job->job.done)) {
            link = &job->older;
            continue;
        }
        *link = job->older;
        free_values(job);
        saving->job_count--;
    }
}

void saving_open(struct worker *worker)
{
    struct saving *saving = &worker->saving;

    *saving = (struct saving){.part = PARTS, .cut = atomic_load(&worker->checkpoint->wanted)};
    saving->saver = (struct saver){.put = put_value, .drop = drop_table, .owner = worker};
    buffer_init(&saving->saver.bytes, VALUE_BYTES_MAX);
    saving->pause_between_us = worker->checkpoint->interval_us / FIRST_SHARE;
}

static void free_flip(struct flip_job *flip)
{
    if (!flip)
        return;
    free_sent(flip->sent);
    free(flip->dropped);
    free(flip->acknowledged);
    free(flip);
}

void saving_close(struct worker *worker)
{
    struct saving *saving = &worker->saving;

    while (saving->jobs) {
        struct values_job *older = saving->jobs->older;

        free_values(saving->jobs);
        saving->jobs = older;
    }
    if (saving->values)
        free_values(saving->values);
    free_flip(saving->flip);
    order_frozen_free(&worker->frozen_rows);
    buffer_free(&saving->saver.bytes);
    free(saving->dropping);
}

bool checkpoint_is_past(const struct worker *worker)
{
    uint64_t last = atomic_load(&worker->checkpoint->last);

    return last && worker->saving.cut >= last;
}

bool checkpoint_is_near(const struct worker *worker)
{
    if (worker->checkpoint->keeper && atomic_load(&worker->checkpoint->stored) == 0)
        return true;
    return atomic_load_explicit(&worker->checkpoint->wanted, memory_order_acquire) > worker->saving.cut;
}

static bool all_have(const _Atomic uint64_t *numbers, unsigned workers, uint64_t cut)
{
    for (unsigned i = 0; i < workers; i++)
        if (atomic_load_explicit(&numbers[i], memory_order_acquire) < cut)
            return false;
    return true;
}

static void freeze_rows(struct worker *worker, uint64_t before)
{
    order_freeze(&worker->order, &worker->frozen_rows);
    worker->frozen_rows_block = 0;
    saver_drop(&worker->saving.saver, STATE_ROWS, worker->number, before);
    unique_freeze(&worker->unique);
    saver_drop(&worker->saving.saver, STATE_UNIQUE, worker->number, before);
}

/* Some of what was read before the restart has not been delivered again yet. */
static bool reads_again(const struct worker *worker)
{
    for (size_t i = 0; i < worker->partition_count; i++)
        if (worker->partitions[i].ledger.next_offset < worker->partitions[i].again_until)
            return true;
    return false;
}

/* After partitions_freeze. */
static struct sent_part *take_sent(struct worker *worker)
{
    struct sent_part *sent = memory_new(sizeof *sent);
    size_t count = 0;

    sent->parcels = parcels_take(worker->shared->task->parcels);
    sent->offsets = memory_new((worker->partition_count + 1) * sizeof *sent->offsets);
    sent->metadata = memory_new((worker->partition_count + 1) * sizeof *sent->metadata);
    for (size_t i = 0; i < worker->partition_count; i++) {
        const struct partition *partition = &worker->partitions[i];
        const struct input *input = &worker->inputs[partition->source];
        const struct source_partition *place = input->plan->type->partition(input->source, partition->index);

        if (!partition->cut)
            continue;
        sent->offsets[count] =
            (struct journal_offset){.topic = place->topic,
                                    .partition = place->partition,
                                    .offset = partition->cut_offset,
                                    .metadata = cut_metadata(partition, sent->metadata[count])};
        count++;
    }
    sent->commit = (struct journal_commit){.parcels = sent->parcels,
                                           .offsets = sent->offsets,
                                           .offset_count = count,
                                           .inbox_next = worker->shared->task->inbox_next};
    return sent;
}

static void freeze(struct worker *worker, uint64_t cut)
{
    struct saving *saving = &worker->saving;
    struct checkpoint_part *part = &worker->checkpoint->parts[worker->place];
    uint64_t before = saving->cut;

    assert(saving->part == PARTS);
    saving->part = 0;
    part->dropped_count = part->acknowledged_count = 0;
    partitions_freeze(worker);
    fold_freeze(worker->fold, &saving->saver);
    fold_freeze(worker->run_fold, &saving->saver);
    windows_freeze(worker->windows, &saving->saver, cut);
    runs_freeze(worker->runs, &saving->saver);
    watch_freeze(worker->watch, &saving->saver, worker->number, cut, before);
    cleaner_freeze(worker->cleaner, &saving->saver);
    freeze_rows(worker, before);
    if (worker->place == 0) {
        continuation_pack(worker->plan, atomic_load(&worker->checkpoint->greatest_us), &saving->saver.bytes);
        saver_put(&saving->saver, (struct state_key){.kind = STATE_PLAN});
        times_freeze(worker);
    }
    if (worker->number == ALERT_OWNER)
        lifecycle_freeze(worker->lifecycle, &saving->saver, cut);
    if (worker->shared->task) {
        inbox_freeze(worker);
        part->sent = take_sent(worker);
    }
    deliver_freeze(worker->deliver, &saving->saver, reads_again(worker));
    deliver_take_acknowledged(worker->deliver, &part->acknowledged, &part->acknowledged_count,
                              &part->acknowledged_capacity);
    part->dropped = memory_reserve(part->dropped, &part->dropped_capacity, saving->dropping_count + 1,
                                   sizeof *part->dropped);
    if (saving->dropping_count)
        memcpy(part->dropped, saving->dropping, saving->dropping_count * sizeof *part->dropped);
    part->dropped_count = saving->dropping_count;
    saving->dropping_count = 0;
}

/* A slice of one part; true when it has nothing left. */
static bool save_part(struct worker *worker, unsigned part)
{
    switch ((enum saving_part)part) {
    case PART_FOLD:
        return fold_save(worker->fold, SLICE_BYTES);
    case PART_RUN_FOLD:
        return fold_save(worker->run_fold, SLICE_BYTES);
    case PART_WINDOWS:
        return windows_save(worker->windows, SLICE_BYTES);
    case PART_RUNS:
        return runs_save(worker->runs, SLICE_BYTES);
    case PART_WATCH:
        return watch_save(worker->watch, SLICE_BYTES);
    case PART_CLEANER:
        return cleaner_save(worker->cleaner, SLICE_BYTES);
    case PART_ROWS:
        rows_pack(worker->plan, &worker->frozen_rows, SLICE_BYTES, &worker->saving.saver, worker->number,
                  atomic_load(&worker->checkpoint->wanted), &worker->frozen_rows_block);
        if (worker->frozen_rows.next < worker->frozen_rows.count)
            return false;
        order_frozen_free(&worker->frozen_rows);
        return true;
    case PART_UNIQUE:
        return unique_save(&worker->unique, SLICE_BYTES, &worker->saving.saver, worker->number,
                           atomic_load(&worker->checkpoint->wanted));
    case PART_LIFECYCLE:
        return worker->number != ALERT_OWNER || lifecycle_save(worker->lifecycle, SLICE_BYTES);
    case PART_DELIVER:
        return deliver_save(worker->deliver, SLICE_BYTES);
    case PARTS:
        break;
    }
    return true;
}

bool stage_save(struct worker *worker, int64_t now_us)
{
    struct saving *saving = &worker->saving;

    (void)now_us;
    if (!worker->checkpoint->keeper)
        return false;
    collect_jobs(saving);
    if (saving->part == PARTS || saving->job_count > JOBS_WAITING)
        return false;
    saving->saver.taken = 0;
    while (saving->part < PARTS && saving->saver.taken < SLICE_BYTES) {
        if (!save_part(worker, saving->part))
            break;
        if (saving->part + 1 == PARTS) /* nothing may be put after it */
            hand_over_values(worker);
        saving->part++;
    }
    if (saving->part == PARTS)
        atomic_store_explicit(&worker->checkpoint->saved[worker->place],
                              atomic_load(&worker->checkpoint->wanted), memory_order_release);
    return saving->saver.taken > 0;
}

static enum status run_flip(struct keeper_job *job, const struct keeper_stores *stores,
                            struct error *ret_error)
{
    return store_flip(stores->store, &((const struct flip_job *)job)->flip, ret_error);
}

static void submit_flip(struct worker *worker, uint64_t generation)
{
    struct checkpoint *checkpoint = worker->checkpoint;
    struct flip_job *flip = memory_new(sizeof *flip);
    size_t dropped = 0, acknowledged = 0;

    for (unsigned i = 0; i < checkpoint->workers; i++) {
        dropped += checkpoint->parts[i].dropped_count;
        acknowledged += checkpoint->parts[i].acknowledged_count;
    }
    flip->dropped = memory_new(dropped * sizeof *flip->dropped + 1);
    flip->acknowledged = memory_new(acknowledged * sizeof *flip->acknowledged + 1);
    flip->flip = (struct store_flip){
        .generation = generation, .dropped = flip->dropped, .acknowledged = flip->acknowledged};
    for (unsigned i = 0; i < checkpoint->workers; i++) {
        const struct checkpoint_part *part = &checkpoint->parts[i];

        for (size_t k = 0; k < part->dropped_count; k++)
            flip->dropped[flip->flip.dropped_count++] = part->dropped[k];
        for (size_t k = 0; k < part->acknowledged_count; k++)
            flip->acknowledged[flip->flip.acknowledged_count++] = part->acknowledged[k];
    }
    flip->sent = checkpoint->parts[worker->place].sent;
    checkpoint->parts[worker->place].sent = NULL;
    flip->flip.commit = flip->sent ? &flip->sent->commit : NULL;
    flip->job.run = run_flip;
    worker->saving.flip = flip;
    keeper_submit(checkpoint->keeper, &flip->job);
}

/* How long until the next cut: twice as long each time, up to the interval, and never so short that cuts
 * take more than their share of the time. The share allows for a worker and the keeper at once. */
static void plan_next(struct worker *worker, int64_t now_us)
{
    struct checkpoint *checkpoint = worker->checkpoint;
    struct saving *saving = &worker->saving;
    int64_t share = worker->shared->task ? TASK_COST_SHARE : COST_SHARE;
    int64_t length = now_us - saving->asked_us, pause = saving->pause_between_us;
    int64_t interval_us = checkpoint->interval_us;

    saving->pause_between_us = 2 * pause < interval_us ? 2 * pause : interval_us;
    pause = length * (share - 1) > pause ? length * (share - 1) : pause;
    pause = pause < PAUSE_MAX_US ? pause : PAUSE_MAX_US; /* a machine may sleep in the middle of a cut */
    saving->due_us = now_us + pause;
    atomic_store(&checkpoint->length_us, length);
    atomic_store(&checkpoint->stored_at_us, now_us);
}

static uint64_t all_work(const struct checkpoint *checkpoint)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < checkpoint->workers; i++)
        sum += atomic_load_explicit(&checkpoint->work[i], memory_order_relaxed);
    return sum;
}

static bool all_drained(const struct checkpoint *checkpoint)
{
    for (unsigned i = 0; i < checkpoint->workers; i++)
        if (!atomic_load(&checkpoint->drained[i]))
            return false;
    return true;
}

/* A task that is silent for too long may tell nobody anything: see journal.h. */
static bool must_confirm(const struct worker *worker, int64_t now_us)
{
    int64_t silent_us = now_us - worker->saving.asked_us,
            most_us = worker->plan->cluster.session_us / CONFIRM_SHARE;

    most_us = most_us < CONFIRM_US_MAX ? most_us : CONFIRM_US_MAX;
    return worker->shared->task && (silent_us >= most_us || silent_us < 0);
}

static void ask(struct worker *worker, int64_t now_us)
{
    struct checkpoint *checkpoint = worker->checkpoint;
    struct saving *saving = &worker->saving;
    uint64_t next = atomic_load(&checkpoint->stored) + 1, work = all_work(checkpoint);

    if (atomic_load(&checkpoint->last))
        return;
    if (all_drained(checkpoint) || atomic_load(&checkpoint->give_up))
        atomic_store(&checkpoint->last, next);
    else if (next > 1 &&
             ((now_us < saving->due_us && saving->due_us - now_us <= PAUSE_MAX_US) || work == saving->work) &&
             !must_confirm(worker, now_us))
        return;
    saving->work = work;
    saving->asked_us = now_us;
    atomic_store_explicit(&checkpoint->wanted, next, memory_order_release);
}

/* Worker 0: asks for a cut when one is due, and flips when everybody has saved. */
static void coordinate(struct worker *worker, int64_t now_us)
{
    struct checkpoint *checkpoint = worker->checkpoint;
    struct saving *saving = &worker->saving;
    uint64_t wanted = atomic_load(&checkpoint->wanted);

    if (saving->due_us == 0)
        saving->due_us = now_us + saving->pause_between_us;
    if (wanted == atomic_load(&checkpoint->stored)) {
        ask(worker, now_us);
    } else if (saving->flip) {
        if (!atomic_load(&saving->flip->job.done))
            return;
        free_flip(saving->flip);
        saving->flip = NULL;
        plan_next(worker, now_us);
        atomic_store_explicit(&checkpoint->stored, wanted, memory_order_release);
    } else if (all_have(checkpoint->saved, checkpoint->workers, wanted)) {
        submit_flip(worker, wanted);
    }
}

static void arrive(struct worker *worker, uint64_t cut)
{
    for (size_t i = 0; i < worker->partition_count; i++)
        atomic_raise(&worker->checkpoint->greatest_us, worker->partitions[i].greatest_us);
    worker->saving.arrived_ns = worker_clock_ns();
    atomic_store_explicit(&worker->checkpoint->arrived[worker->place], cut, memory_order_release);
}

/* By a clock of its own: a worker alone arrives and goes on within one turn. */
static void go_on(struct worker *worker, uint64_t cut)
{
    worker->saving.cut = cut;
    atomic_raise(&worker->checkpoint->pause_us_max,
                 (int64_t)(worker_clock_ns() - worker->saving.arrived_ns) / 1000);
}

/* Files are written up to the input first, unless they cannot be. */
static bool waits_for_sinks(struct worker *worker, uint64_t cut)
{
    struct saving *saving = &worker->saving;

    if (saving->settling != cut) {
        saving->settling = cut;
        saving->settling_turns = SETTLE_TURNS;
    }
    return !deliver_is_settled(worker->deliver) && saving->settling_turns-- > 0;
}

bool checkpoint_turn(struct worker *worker, int64_t now_us)
{
    struct checkpoint *checkpoint = worker->checkpoint;
    unsigned me = worker->place;
    uint64_t cut;

    if (!checkpoint->keeper)
        return false;
    if (worker->refusal) /* what was taken of it must not be stored */
        return false;
    if (me == 0)
        coordinate(worker, now_us);
    cut = atomic_load_explicit(&checkpoint->wanted, memory_order_acquire);
    if (cut == worker->saving.cut)
        return false;
    if (atomic_load(&checkpoint->arrived[me]) < cut)
        windows_settle(worker->windows);
    exchange_flush(worker->port);
    if (atomic_load(&checkpoint->arrived[me]) < cut) {
        if (worker->at || fold_is_sending(worker->fold) || fold_is_sending(worker->run_fold) ||
            exchange_stalled(worker->port) || waits_for_sinks(worker, cut))
            return false; /* what was begun is finished first */
        arrive(worker, cut);
    }
    if (atomic_load(&checkpoint->frozen[me]) < cut) {
        bool all = all_have(checkpoint->arrived, checkpoint->workers, cut);

        while (worker_take_sent(worker, now_us))
            continue;
        if (!all) /* what was taken may not be all */
            return true;
        freeze(worker, cut);
        atomic_store_explicit(&checkpoint->frozen[me], cut, memory_order_release);
    }
    if (!all_have(checkpoint->frozen, checkpoint->workers, cut))
        return true;
    go_on(worker, cut);
    return false;
}
