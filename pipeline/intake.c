/* The partition side: from polled messages to panes, ordered rows and raw documents. A batch holds rows of
 * one partition only, in offset order; every stage is one loop over its columns. */
#include "base/memory.h"
#include "pipeline/worker.h"

#include <assert.h>
#include <stdio.h>

enum { TURN_EVERY = 4 }; /* polls: one for whose turn it is, so that a long backlog holds up no others */
enum { JUMP_ROWS = 32 }; /* successive rows that make a jump of unknown arrival believed */

/* How far the others may be ahead of a partition that has more to give but nothing at hand: over a hiccup of
 * its broker, not over as many open windows as max_skew_ahead, which is for partitions that have no more. */
#define AHEAD_OF_BACKLOG_US (60 * INT64_C(1000000))

static const struct input *input_of(const struct worker *worker, const struct partition *partition)
{
    return &worker->inputs[partition->source];
}

static const struct source_partition *place_of(const struct worker *worker, const struct partition *partition)
{
    const struct input *input = input_of(worker, partition);

    return input->plan->type->partition(input->source, partition->index);
}

static bool parse_mark(struct span metadata, char key, int64_t *ret_us)
{
    char text[128];
    const char *at;
    long long value;

    if (metadata.size >= sizeof text)
        return false;
    memcpy(text, metadata.data, metadata.size);
    text[metadata.size] = '\0';
    for (at = text; at && *at; at = strchr(at, ';'), at = at ? at + 1 : NULL)
        if (at[0] == key && at[1] == '=' && sscanf(at + 2, "%lld", &value) == 1) {
            *ret_us = value;
            return true;
        }
    return false;
}

/* The store is new, but the group has commits: what came before them is lost to the windows that began
 * then. */
static void begin_partial(struct worker *worker, struct partition *partition, const char *topic,
                          struct span metadata)
{
    struct shared *shared = worker->shared;
    int64_t before = atomic_load(&shared->partial_us), mark;

    if (!parse_mark(metadata, 'w', &mark) || mark == INT64_MIN)
        return;
    partition->watermark_us = mark;
    partition->greatest_us = mark + worker->plan->time.lateness;
    if (before == INT64_MIN) {
        char text[512];

        snprintf(text, sizeof text,
                 "the store %s does not know %s, whose offsets were committed before: goes on there; windows "
                 "that began earlier are marked partial",
                 worker->plan->store.path, topic);
        worker->warn(worker->warn_owner, text);
    }
    atomic_raise(&shared->partial_us, partition->greatest_us);
}

static void begin_restored(struct worker *worker, struct partition *partition,
                           const struct restart_place *place)
{
    struct unpack ends = unpack_begin(place->record_ends);

    partition->watermark_us = place->watermark_us;
    partition->greatest_us = place->greatest_us;
    partition->jump_rows = place->jump_rows;
    partition->ledger.next_offset = place->low_offset;
    partition->again_until = place->next_offset;
    partition->again_count = place->rows.size / sizeof *partition->again;
    partition->again = memory_new(place->rows.size);
    if (place->rows.size)
        memcpy(partition->again, place->rows.data, partition->again_count * sizeof *partition->again);
    if (!input_of(worker, partition)->joins)
        return;
    while (ends.at < ends.end)
        held_record_end(&partition->held, unpack_i64(&ends));
    held_record_end(&partition->held, place->next_offset);
}

/* A partition found for the first time goes on where the store says, else where the commit of an earlier
 * process says. */
static void add_partition(struct worker *worker, unsigned source, size_t index)
{
    const struct input *input = &worker->inputs[source];
    const struct source_partition *found = input->plan->type->partition(input->source, index);
    const struct restart *restart = &worker->shared->restart;
    struct partition partition = {.source = source,
                                  .index = index,
                                  .greatest_us = INT64_MIN,
                                  .watermark_us = INT64_MIN,
                                  .again_until = INT64_MIN,
                                  .ledger = {.next_offset = OFFSET_NONE}};
    struct restart_place place;

    partition.id = partition_id(input, found->topic, found->partition);
    partition.number = (uint32_t)(partition.id >> 32);
    if (!found->anew && restart_find(restart, partition.id, &place))
        begin_restored(worker, &partition, &place);
    else if (found->metadata.size)
        begin_partial(worker, &partition, found->topic, found->metadata);
    if (restart_seen(restart, partition.number, worker->cleaner) != STATUS_OK)
        worker->refusal = "the store's memory of dedupe or throttle cannot be read";
    worker->partitions = memory_reserve(worker->partitions, &worker->partition_capacity,
                                        worker->partition_count + 1, sizeof *worker->partitions);
    worker->partitions[worker->partition_count++] = partition;
}

static void find_partitions(struct worker *worker, int64_t now_us)
{
    for (unsigned i = 0; i < worker->input_count; i++) {
        struct input *input = &worker->inputs[i];
        const struct source_type *type = input->plan->type;
        size_t known = 0;

        type->advance(input->source, now_us);
        input->ready = !type->ready || type->ready(input->source);
        if (type->refusal && !worker->refusal)
            worker->refusal = type->refusal(input->source);
        for (size_t p = 0; p < worker->partition_count; p++)
            known += worker->partitions[p].source == i;
        for (size_t p = known; p < type->partition_count(input->source); p++)
            add_partition(worker, i, p);
    }
}

/* Nobody may run further ahead of the slowest partition than max_skew_ahead: open windows would pile up. */
static bool beyond_horizon(const struct worker *worker, const struct partition *partition)
{
    int64_t slowest = INT64_MAX;

    if (partition->watermark_us == INT64_MIN)
        return false;
    for (unsigned i = 0; i < worker->shared->workers; i++) {
        int64_t other = worker->heard[WATERMARK_ROWS][i].slowest_us;

        if (other < slowest)
            slowest = other;
    }
    if (slowest == INT64_MAX || slowest == INT64_MIN || partition->watermark_us <= slowest)
        return false;
    return partition->watermark_us - slowest > worker->plan->time.max_skew_ahead;
}

static void note_state(struct worker *worker, struct partition *partition, size_t taken, int64_t now_us)
{
    partition->done = partition->state == POLL_DONE;
    if (taken > 0 || partition->state != POLL_END) {
        partition->end_since_us = 0;
        partition->idle = false;
        return;
    }
    if (partition->end_since_us == 0)
        partition->end_since_us = now_us;
    partition->idle =
        worker->shared->live && now_us - partition->end_since_us >= worker->plan->time.idle_after;
}

/* Live, a record that nothing follows is not waited for longer; whatever comes, it ended here. */
static bool has_waited(const struct worker *worker, const struct partition *partition, int64_t now_us)
{
    return worker->shared->live && partition->end_since_us != 0 &&
           now_us - partition->end_since_us >= RECORD_WAIT_US;
}

static void take_records(struct worker *worker, struct partition *partition, bool all)
{
    const struct input *input = input_of(worker, partition);
    const struct format_type *type = worker->plan->formats[input->plan->format].type;

    records_take(&worker->records, &partition->held, input->format, type, worker->polled,
                 worker->polled_count, all);
    input->plan->type->release(input->source, partition->index, worker->polled, worker->polled_count);
    worker->polled_count = 0;
    worker->messages = worker->records.messages;
    worker->message_count = worker->records.count;
}

static void end_by_clock(struct partition *partition, int64_t next_offset)
{
    held_record_forget(&partition->held, ledger_low_offset(&partition->ledger));
    held_record_end(&partition->held, next_offset);
}

/* The messages at hand become a batch; false: there are none. */
static bool begin_batch(struct worker *worker, struct partition *partition)
{
    const struct message *messages = worker->messages;
    int64_t next_offset;

    if (worker->message_count == 0)
        return false;
    next_offset = input_of(worker, partition)->joins ? worker->records.next_offset
                                                     : messages[worker->message_count - 1].offset + 1;
    worker->at = partition;
    worker->message_next = 0;
    worker->entry = ledger_add(&partition->ledger, messages[0].offset, next_offset, partition->watermark_us);
    return true;
}

static bool poll_partition(struct worker *worker, struct partition *partition, int64_t now_us)
{
    const struct input *input = input_of(worker, partition);
    size_t count = input->plan->type->poll(input->source, partition->index, worker->polled,
                                           (size_t)worker->plan->general.batch_rows, &partition->state);

    if (place_of(worker, partition)->anew && partition->again_until != INT64_MIN) {
        partition->again_until = INT64_MIN; /* the offsets are those of other messages now */
        held_record_forget(&partition->held, INT64_MAX);
    }
    note_state(worker, partition, count, now_us);
    worker->figures.messages += count;
    worker->inputs[partition->source].messages += count;
    worker->messages = worker->polled;
    worker->message_count = worker->polled_count = count;
    if (input->joins) {
        bool waited = has_waited(worker, partition, now_us);

        if (count == 0 && partition->held.lines == 0)
            return false;
        take_records(worker, partition, waited || partition->done);
        if (waited && worker->message_count > 0)
            end_by_clock(partition, worker->records.next_offset);
    }
    return begin_batch(worker, partition);
}

static bool may_poll(const struct worker *worker, const struct partition *partition)
{
    bool full = worker->order.bytes + worker->unique.order.bytes > (size_t)worker->plan->limits.order_bytes;

    return !partition->done && !beyond_horizon(worker, partition) &&
           (!full || partition->watermark_us <= worker->rows_us);
}

/* Of those that are not at their end. What the others are ahead of it waits in memory. */
static struct partition *slowest_partition(const struct worker *worker)
{
    struct partition *slowest = NULL;

    for (size_t i = 0; i < worker->partition_count; i++) {
        struct partition *partition = &worker->partitions[i];

        if (!partition->done && partition->end_since_us == 0 &&
            (!slowest || partition->watermark_us < slowest->watermark_us))
            slowest = partition;
    }
    return slowest;
}

/* What is read of the partition would only wait: the slowest one will be fetched in a moment. */
static bool is_too_early(const struct partition *partition, const struct partition *slowest)
{
    return slowest && slowest->state == POLL_MORE && slowest->watermark_us != INT64_MIN &&
           partition->watermark_us > slowest->watermark_us &&
           partition->watermark_us - slowest->watermark_us > AHEAD_OF_BACKLOG_US;
}

static struct partition *find_to_let_go(const struct worker *worker)
{
    for (size_t i = 0; i < worker->partition_count; i++)
        if (worker->partitions[i].held.lines > 0 && place_of(worker, &worker->partitions[i])->passing)
            return &worker->partitions[i];
    return NULL;
}

bool must_let_go(const struct worker *worker)
{
    return find_to_let_go(worker);
}

/* A task that cannot commit takes no more input. */
static bool is_confirmed(const struct worker *worker, int64_t now_us)
{
    const struct task *task = worker->shared->task;

    return !task || task->type->is_confirmed(task->journal, now_us);
}

bool stage_poll(struct worker *worker, int64_t now_us)
{
    uint64_t before = worker->figures.messages;
    struct partition *partition, *slowest;

    if (worker->at) /* the rest of the messages at hand did not fit into the last batch */
        return true;
    find_partitions(worker, now_us);
    if (exchange_full(worker->port) || !is_confirmed(worker, now_us) || deliver_busy(worker->deliver) ||
        worker->closing_steps > CLOSING_STEPS_MAX || (!worker->unique_step && fold_is_behind(worker->fold)) ||
        checkpoint_is_near(worker) ||
        (worker->checkpoint->keeper && keeper_holding(worker->checkpoint->keeper)))
        return false;
    if (atomic_load(&worker->shared->stopping)) {
        partition = find_to_let_go(worker);
        if (!partition)
            return false;
        take_records(worker, partition, true);
        return begin_batch(worker, partition);
    }
    slowest = slowest_partition(worker);
    if (++worker->polls % TURN_EVERY != 0 && slowest && may_poll(worker, slowest) &&
        poll_partition(worker, slowest, now_us))
        return true;
    for (size_t tried = 0; tried < worker->partition_count; tried++) {
        partition = &worker->partitions[worker->next_partition];
        worker->next_partition = (worker->next_partition + 1) % worker->partition_count;
        if (may_poll(worker, partition) && !is_too_early(partition, slowest) &&
            poll_partition(worker, partition, now_us))
            return true;
    }
    return worker->figures.messages > before; /* lines of a record that is not whole yet */
}

static void place_row(struct worker *worker, const struct message *message, uint32_t row)
{
    const struct plan_source *source = input_of(worker, worker->at)->plan;
    struct event_batch *batch = &worker->batch;

    batch->partition[row] = worker->at->number;
    batch->offset[row] = message->offset;
    batch->arrival_us[row] = message->arrival_us;
    batch->payload[row] = message->payload;
    if (batch->source[row].size == 0)
        batch->source[row] = span_of(source->name);
    for (size_t i = 0; i < source->labels_given.count; i++)
        batch->labels[source->labels[i].column][row] = source->labels[i].value;
}

/* A message without any good row becomes one malformed row, so that nothing is lost in silence. */
static bool add_malformed(struct worker *worker, const struct message *message, const char *reason)
{
    uint32_t row = event_batch_add(&worker->batch);

    if (row == UINT32_MAX)
        return false;
    place_row(worker, message, row);
    worker->batch.mark[row] = MARK_MALFORMED;
    worker->batch.reason[row] = reason;
    return true;
}

bool stage_decode(struct worker *worker, int64_t now_us)
{
    const struct format_type *type;
    const struct input *input;

    (void)now_us;
    event_batch_reset(&worker->batch);
    if (!worker->at)
        return false;
    input = input_of(worker, worker->at);
    type = worker->plan->formats[input->plan->format].type;
    worker->again = worker->messages[worker->message_next].offset < worker->at->again_until;
    while (worker->message_next < worker->message_count) {
        const struct message *message = &worker->messages[worker->message_next];
        uint32_t before = worker->batch.rows;
        const char *reason = NULL;

        if (worker->again != (message->offset < worker->at->again_until))
            break;
        enum status status = type->decode(input->format, message, &worker->batch, &reason);

        if (status == STATUS_RETRY || (status == STATUS_SKIP && !add_malformed(worker, message, reason))) {
            assert(before > 0);
            break;
        }
        for (uint32_t row = before; row < worker->batch.rows; row++)
            place_row(worker, message, row);
        worker->figures.bytes += message->payload.size;
        worker->message_next++;
    }
    worker->figures.rows += worker->batch.rows;
    return true;
}

/* Is the row's time believable? A row too far ahead of its arrival is repaired or rejected; without an
 * arrival a jump is believed once JUMP_ROWS successive rows agree, and until then it moves no watermark. */
static bool settle_time(struct worker *worker, uint32_t row)
{
    struct event_batch *batch = &worker->batch;
    struct partition *partition = worker->at;
    int64_t skew = worker->plan->time.max_skew, arrival = batch->arrival_us[row];

    if (arrival != TIME_NONE && batch->time_us[row] > arrival + skew) {
        if (worker->plan->time.skew == SKEW_DEAD_LETTER) {
            batch->mark[row] = MARK_REFUSED;
            batch->reason[row] = "event time is further ahead of the arrival than time.max_skew";
            return false;
        }
        batch->time_us[row] = arrival;
        batch->notes[row] |= NOTE_REPAIRED;
        worker->figures.repaired++;
        return true;
    }
    if (arrival == TIME_NONE && partition->greatest_us != INT64_MIN &&
        batch->time_us[row] > partition->greatest_us + skew)
        return ++partition->jump_rows >= JUMP_ROWS;
    partition->jump_rows = 0;
    return true;
}

/* The batch was read before the restart: its rows are what they were. */
static void recall_rows(struct worker *worker)
{
    struct event_batch *batch = &worker->batch;
    struct partition *partition = worker->at;

    for (uint32_t row = 0; row < batch->rows && partition->again_next < partition->again_count; row++) {
        struct ledger_row kept = partition->again[partition->again_next++];

        if (batch->mark[row] == MARK_OK)
            batch->mark[row] = kept.mark;
        batch->notes[row] = kept.notes & (uint8_t)~LEDGER_TOO_LATE;
        worker->too_late[row] = (kept.notes & LEDGER_TOO_LATE) != 0;
        if (kept.notes & NOTE_REPAIRED)
            batch->time_us[row] = batch->arrival_us[row];
    }
}

bool stage_time(struct worker *worker, int64_t now_us)
{
    struct event_batch *batch = &worker->batch;
    struct partition *partition = worker->at;

    (void)now_us;
    if (!partition)
        return false;
    if (worker->again) {
        recall_rows(worker);
        return true;
    }
    for (uint32_t row = 0; row < batch->rows; row++) {
        batch->watermark_us[row] = partition->watermark_us;
        if (batch->mark[row] != MARK_OK)
            continue;
        if (batch->time_us[row] == TIME_NONE) {
            batch->mark[row] = MARK_REFUSED;
            batch->reason[row] = "no time";
            continue;
        }
        bool moves = settle_time(worker, row);

        if (batch->mark[row] != MARK_OK)
            continue;
        if (moves && batch->time_us[row] > partition->greatest_us) {
            partition->greatest_us = batch->time_us[row];
            partition->watermark_us = partition->greatest_us - worker->plan->time.lateness;
        }
    }
    return true;
}

bool stage_clean(struct worker *worker, int64_t now_us)
{
    (void)now_us;
    if (worker->at && worker->again)
        cleaner_apply_again(worker->cleaner, &worker->batch, &worker->figures.clean);
    else if (worker->at)
        cleaner_apply(worker->cleaner, &worker->batch, &worker->figures.clean);
    return worker->at != NULL;
}

bool stage_judge_events(struct worker *worker, int64_t now_us)
{
    (void)now_us;
    if (worker->at && !worker->again && !worker->unique_step)
        judge_rows(worker->judge, RULE_EVENT, &worker->batch);
    return worker->at != NULL;
}

bool stage_fold(struct worker *worker, int64_t now_us)
{
    (void)now_us;
    if (!worker->at || worker->again || worker->unique_step)
        return worker->at != NULL;
    fold_rows(worker->fold, &worker->batch);
    memcpy(worker->too_late, fold_late_rows(worker->fold), worker->batch.rows);
    return true;
}

void worker_send_rows(struct worker *worker, struct event_batch *batch)
{
    if (worker->plan->wants_runs || worker->plan->wants_transitions ||
        worker->checkpoint->keeper) /* with a store there is the history of runs */
        rows_send(worker->plan, batch, worker->port, worker->shared->workers);
}

bool stage_order(struct worker *worker, int64_t now_us)
{
    (void)now_us;
    if (!worker->at || worker->again)
        return worker->at != NULL;
    if (worker->unique_step)
        unique_send(&worker->unique, worker->unique_step, worker->plan, &worker->batch, worker->port,
                    worker->shared->workers);
    else
        worker_send_rows(worker, &worker->batch);
    watch_events(worker->watch, &worker->batch);
    return true;
}

static void bury_row(struct worker *worker, uint32_t row, const char *stage, const char *reason,
                     int64_t now_us)
{
    const struct event_batch *batch = &worker->batch;
    const struct source_partition *place = place_of(worker, worker->at);
    struct dead_letter letter = {
        .source = span_of(input_of(worker, worker->at)->plan->name),
        .topic = span_of(place->topic),
        .partition = place->partition,
        .offset = batch->offset[row],
        .item = batch->item[row],
        .stage = stage,
        .reason = span_of(reason ? reason : "malformed"),
        .payload = batch->payload[row],
        .time_us = batch->arrival_us[row] != TIME_NONE ? batch->arrival_us[row] : now_us,
    };

    deliver_dead_letter(worker->deliver, &letter, &worker->entry->pending);
}

bool stage_encode(struct worker *worker, int64_t now_us)
{
    const struct event_batch *batch = &worker->batch;
    bool wanted = deliver_wants(worker->deliver, DOC_EVENT);

    if (!worker->at)
        return false;
    if (wanted) {
        const struct source_partition *place = place_of(worker, worker->at);

        deliver_batch(worker->deliver, batch,
                      &(struct event_origin){.pipeline = worker->plan->name,
                                             .source = span_of(input_of(worker, worker->at)->plan->name),
                                             .topic = span_of(place->topic),
                                             .partition = place->partition});
    }
    for (uint32_t row = 0; row < batch->rows; row++) {
        bool late = batch->mark[row] == MARK_OK && worker->too_late[row];

        worker->figures.marked[batch->mark[row]]++;
        if (worker->checkpoint->keeper)
            ledger_keep(worker->entry, (struct ledger_row){.mark = batch->mark[row],
                                                           .notes = (uint8_t)(batch->notes[row] |
                                                                              (late ? LEDGER_TOO_LATE : 0))});
        if (batch->mark[row] == MARK_MALFORMED)
            bury_row(worker, row, "decode", batch->reason[row], now_us);
        if (batch->mark[row] == MARK_REFUSED)
            bury_row(worker, row, "clean", batch->reason[row], now_us);
        if (batch->mark[row] != MARK_OK)
            continue;
        worker->figures.late_rows += late;
        if (late && worker->plan->time.late == LATE_DEAD_LETTER)
            bury_row(worker, row, "late", "too late for its bucket", now_us);
        if (wanted)
            deliver_event(worker->deliver, batch, row, worker->again, &worker->entry->pending);
    }
    return true;
}

bool stage_release(struct worker *worker, int64_t now_us)
{
    const struct input *input;

    (void)now_us;
    if (!worker->at)
        return false;
    if (worker->message_next < worker->message_count) /* decode goes on with the rest */
        return true;
    input = input_of(worker, worker->at);
    input->plan->type->release(input->source, worker->at->index, worker->polled, worker->polled_count);
    worker->polled_count = 0;
    event_batch_reset(&worker->batch);
    worker->entry->pending--;
    worker->entry = NULL;
    worker->at = NULL;
    return true;
}

/* At its end, and has never had a row. */
static bool is_empty(const struct partition *partition)
{
    return partition->watermark_us == INT64_MIN && partition->end_since_us != 0;
}

/* The least watermark of the partitions that hold the others back; with `firm` idle ones count too, and empty
 * ones, as long as what is closed without them could be corrected. */
static int64_t local_watermark(const struct worker *worker, bool firm, int64_t now_us)
{
    int64_t least = INT64_MAX;

    for (size_t i = 0; i < worker->partition_count; i++) {
        const struct partition *partition = &worker->partitions[i];
        bool given_up =
            is_empty(partition) && now_us - partition->end_since_us >= worker->plan->time.correct_for;

        if (partition->done || (partition->idle && (!firm || given_up)))
            continue;
        if (partition->watermark_us < least)
            least = partition->watermark_us;
    }
    for (unsigned i = 0; i < worker->input_count; i++)
        if (!worker->inputs[i].ready)
            least = INT64_MIN;
    return least;
}

bool worker_has_read_all(const struct worker *worker)
{
    for (size_t i = 0; i < worker->partition_count; i++)
        if (!worker->partitions[i].done)
            return false;
    for (unsigned i = 0; i < worker->input_count; i++)
        if (!worker->inputs[i].ready ||
            (worker->shared->live && plan_source_is_endless(worker->inputs[i].plan)))
            return false;
    return !worker->at && !worker->refusal;
}

/* No more will come, and what was read before the end is stored: the end may close what it closes. */
static bool has_ended(const struct worker *worker)
{
    return worker_has_read_all(worker) && checkpoint_is_over(worker->checkpoint);
}

static int64_t slowest_watermark(const struct worker *worker)
{
    int64_t slowest = INT64_MAX;

    for (size_t i = 0; i < worker->partition_count; i++) {
        const struct partition *partition = &worker->partitions[i];

        if (!partition->done && !partition->idle && !is_empty(partition) && partition->watermark_us < slowest)
            slowest = partition->watermark_us;
    }
    return slowest;
}

bool stage_send(struct worker *worker, int64_t now_us)
{
    struct watermark_record mark = {.stage = WATERMARK_ROWS,
                                    .time_us = local_watermark(worker, false, now_us),
                                    .firm_us = local_watermark(worker, true, now_us),
                                    .slowest_us = slowest_watermark(worker),
                                    .waits = !worker_has_read_all(worker),
                                    .ended = has_ended(worker)};

    if (worker->at) /* a batch is half through: its watermark is ahead of the rows not sent yet */
        return false;
    if (mark.ended) {
        mark.time_us = INT64_MIN;
        for (size_t i = 0; i < worker->partition_count; i++)
            if (worker->partitions[i].greatest_us > mark.time_us)
                mark.time_us = worker->partitions[i].greatest_us;
    }
    /* more than a batch can have begun, so that input need not wait for it */
    if (!worker->unique_step &&
        !fold_send(worker->fold, mark.ended ? INT64_MAX : mark.time_us, 2 * worker->batch.row_limit)) {
        exchange_flush(worker->port);
        return !exchange_stalled(worker->port);
    }
    worker_tell(worker, &mark);
    return false;
}
