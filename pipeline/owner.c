/* The owner side: what all partitions sent becomes runs, buckets, signals, conditions and alerts, in event
 * time. */
#include "pipeline/worker.h"

#include <assert.h>

enum {
    CACHE_LINE = 64, /* bytes */
    BLOCKS_A_STEP = 64,
    PANES_A_STEP = 1000, /* a millisecond of them */
    PARCELS_A_STEP = 8,
    BUCKETS_A_STEP = 2000,
    WITHDRAW_EVERY_US = 1000 * 1000, /* each alert that was open at the start is looked at */
    IDLE_STEP_US = 100 * 1000        /* each step is told to all others */
};

void worker_tell_alert(void *worker, const struct alert *alert)
{
    deliver_alert(((struct worker *)worker)->deliver, alert);
}

/* Prompts are for what can still be hurried to; what a restart takes in again (now_us 0) had its chance. */
static bool is_prompt(const struct worker *worker, int64_t at_us, int64_t now_us)
{
    return worker->shared->live && now_us > 0 && now_us - at_us <= worker->plan->alerts.notify_max_age;
}

/* Its place among the rows has texts already. */
static void open_row(struct worker *worker, const struct row_record *record, struct run_row *row)
{
    run_row_open(record, RUN_TEXTS + worker->plan->labels.count, row->texts, row);
}

static void take_row(struct worker *worker, const struct row_record *record, struct block *block,
                     int64_t now_us)
{
    struct run_row *row = &worker->rows[0];

    row_record_wait(record, block, &worker->order);
    if (!run_state_is_failure(record->state))
        return;
    open_row(worker, record, row);
    if (is_prompt(worker, row->order_us, now_us)) { /* no cut needs it: the word itself will come */
        runs_meet(worker->runs, row, 1);
        watch_expect(worker->watch, worker->runs, row);
    }
}

/* In maintenance nothing is alerted; what is open may end. An event is of its own moment, a bucket of the one
 * before its end. */
static bool is_silenced(const struct worker *worker, const struct condition *condition)
{
    const struct plan *plan = worker->shared->plan;
    int64_t moment_us = condition->at_us - !plan->policies[condition->policy].momentary;

    return plan->maintenance && condition->outcome != CONDITION_FALSE &&
           (plan_calendars(plan, moment_us, moment_us + 1) & plan->maintenance);
}

static void take_record(struct worker *worker, struct record *record, struct block *block, int64_t now_us)
{
    const struct condition *condition;

    switch ((enum record_type)record->type) {
    case RECORD_PANE:
        windows_merge(worker->windows, (struct pane_record *)record);
        break;
    case RECORD_CORRECTION:
        windows_correct_later(worker->windows, (struct pane_record *)record, block);
        break;
    case RECORD_ROW:
        take_row(worker, (const struct row_record *)record, block, now_us);
        break;
    case RECORD_UNIQUE:
        unique_take(&worker->unique, (const struct unique_record *)record, block);
        break;
    case RECORD_WATCH:
        watch_take(worker->watch, (const struct watch_word *)record, block);
        break;
    case RECORD_CONDITION:
        condition = &((struct condition_record *)record)->condition;
        if (is_silenced(worker, condition))
            break;
        if (is_prompt(worker, condition->at_us, now_us))
            lifecycle_prompt(worker->lifecycle, condition, worker_tell_alert, worker);
        lifecycle_take(worker->lifecycle, condition);
        break;
    case RECORD_WATERMARK: {
        const struct watermark_record *mark = (const struct watermark_record *)record;

        worker->heard[mark->stage][mark->sender] = *mark;
        break;
    }
    }
}

/* The least of what all senders have told of a stage. When all have ended it is the greatest event time of
 * the input. */
static int64_t least_heard(const struct worker *worker, enum watermark_stage stage, bool firm,
                           bool *ret_ended)
{
    int64_t least = INT64_MAX, greatest = INT64_MIN;

    *ret_ended = true;
    for (unsigned i = 0; i < worker->shared->workers; i++) {
        const struct watermark_record *mark = &worker->heard[stage][i];
        int64_t time = firm ? mark->firm_us : mark->time_us;

        if (mark->ended) {
            greatest = mark->time_us > greatest ? mark->time_us : greatest;
            continue;
        }
        *ret_ended = false;
        least = time < least ? time : least;
    }
    return *ret_ended ? greatest : least;
}

/* While every partition is idle the wall clock moves event time, so that silence is noticed; not while all
 * that is missing is the end. */
static int64_t idle_time(const struct worker *worker, int64_t now_us)
{
    bool waits = false;

    for (unsigned i = 0; i < worker->shared->workers; i++)
        waits |= worker->heard[WATERMARK_ROWS][i].waits;
    if (!worker->shared->live || !waits)
        return INT64_MIN;
    now_us -= worker->plan->time.lateness + worker->plan->time.idle_after;
    return now_us - now_us % IDLE_STEP_US;
}

/* With owners of ids between, rows count when those have let them pass. */
static void update_events(struct worker *worker)
{
    int64_t events = worker->rows_us;

    worker->events_final = worker->rows_final;
    if (worker->unique_step)
        events = least_heard(worker, WATERMARK_UNIQUE, false, &worker->events_final);
    if (events > worker->events_us)
        worker->events_us = events;
}

static void update_times(struct worker *worker, int64_t now_us)
{
    int64_t rows = least_heard(worker, WATERMARK_ROWS, false, &worker->rows_final), runs, firm;
    bool firm_ended;

    firm = least_heard(worker, WATERMARK_ROWS, true, &firm_ended);
    if (worker->rows_final)
        firm = INT64_MAX;
    if (firm > worker->firm_us) /* what a restart knew holds until all are heard again */
        worker->firm_us = firm;
    if (rows == INT64_MAX)
        rows = idle_time(worker, now_us);
    if (rows > worker->rows_us)
        worker->rows_us = rows;
    update_events(worker);
    runs = least_heard(worker, WATERMARK_RUNS, false, &worker->runs_final);
    if (runs > worker->runs_us)
        worker->runs_us = runs;
}

bool worker_take_sent(struct worker *worker, int64_t now_us)
{
    struct block *block;
    unsigned taken = 0, panes = 0;

    while (taken < BLOCKS_A_STEP && panes < PANES_A_STEP && (block = exchange_receive(worker->port))) {
        for (uint32_t at = 0; at < block->used;) {
            struct record *record = (struct record *)(block->bytes + at);

            panes += record->type == RECORD_PANE;
            take_record(worker, record, block, now_us);
            at += record->size;
        }
        block_release(block);
        taken++;
    }
    update_times(worker, now_us);
    return taken > 0;
}

/* What tasks in other places sent; not while there is no room for what would come of it. */
static bool take_inbox(struct worker *worker)
{
    struct task *task = worker->shared->task;
    struct span parcel;
    int64_t next;
    unsigned taken = 0;

    if (!task || worker->refusal || exchange_full(worker->port) || deliver_full(worker->deliver) ||
        atomic_load(&worker->shared->stopping) || checkpoint_is_near(worker) ||
        keeper_holding(worker->checkpoint->keeper))
        return false;
    while (taken < PARCELS_A_STEP && task->type->receive(task->journal, &parcel, &next)) {
        if (!parcels_open(task->parcels, parcel, worker->port)) { /* never committed as taken */
            worker->refusal = "what another task sent cannot be read: it is damaged, or of a newer weir";
            break;
        }
        task->inbox_next = next;
        taken++;
    }
    exchange_flush(worker->port);
    return taken > 0;
}

bool stage_receive(struct worker *worker, int64_t now_us)
{
    bool any = take_inbox(worker);

    return worker_take_sent(worker, now_us) || any;
}

bool worker_discard(struct worker *worker)
{
    struct block *block;
    bool any = false;

    exchange_flush(worker->port);
    for (; (block = exchange_receive(worker->port)); block_release(block)) {
        any = true;
        for (uint32_t at = 0; at < block->used;) {
            struct record *record = (struct record *)(block->bytes + at);

            if (record->type == RECORD_PANE || record->type == RECORD_CORRECTION)
                windows_discard(worker->windows, (struct pane_record *)record);
            at += record->size;
        }
    }
    return any;
}

/* Transitions of the last rows: judged, folded, forgotten. */
static void finish_transitions(struct worker *worker)
{
    if (worker->transitions.rows == 0)
        return;
    judge_rows(worker->judge, RULE_RUN, &worker->transitions);
    fold_rows(worker->run_fold, &worker->transitions);
    event_batch_reset(&worker->transitions);
}

static void finish_unique(struct worker *worker)
{
    if (worker->transitions.rows > 0) {
        judge_rows(worker->judge, RULE_EVENT, &worker->transitions);
        fold_rows(worker->fold, &worker->transitions);
        worker_send_rows(worker, &worker->transitions);
    }
    event_batch_reset(&worker->transitions); /* copies are no rows, but their texts were there */
}

/* Whether rows wait whose time has come. */
static bool any_due(const struct order *order, int64_t until_us, bool final)
{
    const struct order_entry *first = order_first(order);

    return first && (first->order_us < until_us || final);
}

/* The most rows of the next step: a part that does not end what is due is doubled, or else an inflow that is
 * as large would keep the watermark for ever. */
static void keep_pace(size_t *rows_a_step, bool ended)
{
    if (ended)
        *rows_a_step = ROWS_A_STEP;
    else if (*rows_a_step < ROWS_A_STEP_MAX)
        *rows_a_step *= 2;
}

bool stage_unique(struct worker *worker, int64_t now_us)
{
    size_t applied = 0;
    bool more;

    (void)now_us;
    if (!worker->unique_step)
        return false;
    while (applied < worker->unique_rows_a_step &&
           any_due(&worker->unique.order, worker->rows_us, worker->rows_final)) {
        unique_apply(&worker->unique, worker->cleaner, worker->plan, &worker->transitions,
                     &worker->figures.clean);
        applied++;
        if (worker->transitions.rows == worker->transitions.row_limit ||
            worker->transitions.text.used > EVENT_TEXT_MAX / 4)
            finish_unique(worker);
    }
    finish_unique(worker);
    more = any_due(&worker->unique.order, worker->rows_us, worker->rows_final);
    keep_pace(&worker->unique_rows_a_step, !more);
    if (more)
        return true;
    if (!fold_send(worker->fold, worker->rows_final ? INT64_MAX : worker->rows_us, ROWS_A_STEP)) {
        exchange_flush(worker->port);
        return true;
    }
    worker_tell(worker, &(struct watermark_record){.stage = WATERMARK_UNIQUE,
                                                   .time_us = worker->rows_us,
                                                   .firm_us = worker->firm_us,
                                                   .ended = worker->rows_final});
    return applied > 0;
}

/* The next rows that are due, opened; false: none is. */
static bool apply_rows(struct worker *worker)
{
    struct order_entry entries[ROWS_AT_ONCE];
    size_t count = order_take(&worker->order, worker->events_us, worker->events_final, ROWS_AT_ONCE, entries);

    for (size_t i = 0; i < count; i++) { /* they lie where they were received, in another order */
        __builtin_prefetch(entries[i].block);
        for (size_t at = 0; at < 4 * CACHE_LINE; at += CACHE_LINE)
            __builtin_prefetch((const char *)entries[i].record + at);
    }
    for (size_t i = 0; i < count; i++)
        open_row(worker, (const struct row_record *)entries[i].record, &worker->rows[i]);
    runs_meet(worker->runs, worker->rows, count);
    for (size_t i = 0; i < count; i++) {
        runs_apply(worker->runs, &worker->rows[i],
                   worker->plan->wants_transitions ? &worker->transitions : NULL);
        block_release(entries[i].block);
        if (worker->transitions.rows == worker->transitions.row_limit ||
            worker->transitions.text.used > EVENT_TEXT_MAX / 2)
            finish_transitions(worker);
    }
    return count > 0;
}

bool stage_apply(struct worker *worker, int64_t now_us)
{
    size_t applied = 0;
    bool more;

    (void)now_us;
    while (applied < worker->rows_a_step && apply_rows(worker))
        applied += ROWS_AT_ONCE;
    finish_transitions(worker);
    more = any_due(&worker->order, worker->events_us, worker->events_final);
    if (!more && !fold_send(worker->run_fold, worker->events_final ? INT64_MAX : worker->events_us,
                            worker->rows_a_step)) {
        exchange_flush(worker->port);
        more = true;
    }
    keep_pace(&worker->rows_a_step, !more);
    if (more)
        return true;
    worker->applied_us = worker->events_us;
    worker->applied_final = worker->events_final;
    worker_tell(worker, &(struct watermark_record){.stage = WATERMARK_RUNS,
                                                   .time_us = worker->applied_us,
                                                   .firm_us = worker->firm_us,
                                                   .ended = worker->applied_final});
    return applied > 0;
}

bool stage_watch(struct worker *worker, int64_t now_us)
{
    (void)now_us;
    /* a run owner may be heard before the partition sides that it has heard */
    worker->watched_us = worker->runs_us < worker->events_us ? worker->runs_us : worker->events_us;
    worker->watched_final = worker->runs_final && worker->events_final;
    watch_advance(worker->watch, worker->watched_us, worker->firm_us, worker->watched_final);
    return false;
}

bool stage_close(struct worker *worker, int64_t now_us)
{
    struct windows_time time = {.events_us = worker->events_us,
                                .runs_us = worker->runs_us,
                                .firm_us = worker->firm_us,
                                .partial_us = atomic_load(&worker->shared->partial_us),
                                .final = worker->runs_final};
    int64_t until = worker->watched_us;
    bool final = worker->watched_final;

    (void)now_us;
    if (deliver_full(worker->deliver) || exchange_full(worker->port))
        return false;
    if (!windows_close(worker->windows, &time, BUCKETS_A_STEP)) {
        worker->closing_steps++;
        return true;
    }
    worker->closing_steps = 0;
    worker->closed_us = until;
    worker->closed_final = final;
    worker_tell(worker,
                &(struct watermark_record){
                    .stage = WATERMARK_SCORE, .time_us = until, .firm_us = worker->firm_us, .ended = final});
    return false;
}

static bool is_open(void *owner, struct id128 dedup)
{
    return lifecycle_is_open(owner, dedup);
}

/* After a restart: once the events are past what receivers were told before it, what was not computed again
 * is taken back. */
static void withdraw(struct worker *worker, int64_t now_us, int64_t passed_us)
{
    if (!worker->shared->restart.restored || passed_us == INT64_MIN ||
        (now_us < worker->withdraw_due_us && !worker->notified_final))
        return;
    worker->withdraw_due_us = now_us + WITHDRAW_EVERY_US;
    deliver_withdraw(worker->deliver, passed_us, is_open, worker->lifecycle);
}

bool stage_notify(struct worker *worker, int64_t now_us)
{
    bool ended;
    int64_t scored, until = worker->closed_us;

    if (worker->number == ALERT_OWNER) {
        bool ends = atomic_load(&worker->shared->stopping) && !atomic_load(&worker->checkpoint->give_up);

        deliver_turn(worker->deliver, now_us, worker->notified_us, worker->notified_final || ends);
        scored = least_heard(worker, WATERMARK_SCORE, false, &ended);
        until = scored < worker->events_us ? scored : worker->events_us;
        ended &= worker->closed_final;
        if (!worker->notified_final && (until > worker->notified_us || ended))
            lifecycle_advance(worker->lifecycle, until, ended, worker_tell_alert, worker);
        worker->notified_final = ended;
        withdraw(worker, now_us, until);
    } else {
        worker->notified_final = worker->closed_final;
    }
    if (until > worker->notified_us)
        worker->notified_us = until;
    atomic_store_explicit(&worker->shared->passed_us[worker->place], until, memory_order_relaxed);
    return false;
}
