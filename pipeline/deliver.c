#include "pipeline/deliver_internal.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>

static const uint64_t TICKET_ITEM = 1, TICKET_DIGEST = 2; /* else the address of a counter */

static enum status open_sinks(struct deliver *deliver, struct error *error)
{
    const struct plan *plan = deliver->context.plan;

    for (unsigned i = 0; i < plan->sink_count; i++) {
        struct outlet *outlet = &deliver->outlets[i];
        const struct plan_sink *sink = &plan->sinks[i];
        struct sink_context context = {.name = sink->name,
                                       .pipeline = plan->general.name,
                                       .node = sink->node,
                                       .worker = deliver->context.worker,
                                       .warn = deliver->context.warn,
                                       .owner = deliver->context.owner};

        if (sink->type->open(sink->settings, &context, &outlet->sink, error) != STATUS_OK)
            return STATUS_FATAL;
        deliver->outlet_count = i + 1;
        outlet->plan = sink;
        digest_open(&outlet->digest);
        outlet->notices = (struct notices){
            .sink = sink->identity, .keeper = deliver->context.keeper, .sent_file = &deliver->sent};
        outbox_open(&outlet->outbox,
                    &(struct outbox_context){.sink = sink->identity,
                                             .lane = deliver->context.worker,
                                             .takes_back = outlet_takes_back(deliver, outlet),
                                             .keeper = deliver->context.keeper,
                                             .stored_bytes = deliver->context.outbox_bytes,
                                             .acknowledged = &deliver->acknowledged});
        if (sink->type->form == SINK_LINES)
            deliver->lines_wanted |= sink->kinds & ~(1u << DOC_EVENT);
        deliver->documents_wanted |=
            sink->type->form == SINK_DOCUMENTS ? sink->kinds : sink->kinds & 1u << DOC_EVENT;
    }
    return STATUS_OK;
}

enum status deliver_open(const struct deliver_context *context, struct deliver **ret_deliver,
                         struct error *ret_error)
{
    struct deliver *deliver = memory_new(sizeof *deliver);

    deliver->context = *context;
    deliver->turn.passed_us = INT64_MIN;
    deliver->event_writer = event_writer_new();
    deliver->outlets = memory_new((context->plan->sink_count + 1) * sizeof *deliver->outlets);
    filing_init(&deliver->filing, context->keeper);
    buffer_init(&deliver->line, ENCODED_MAX);
    buffer_init(&deliver->body, ENCODED_MAX);
    buffer_init(&deliver->packed, ENCODED_MAX);
    if (sent_file_open(&deliver->sent, context->sent_path, ret_error) != STATUS_OK) {
        deliver_close(deliver);
        return STATUS_FATAL;
    }
    if (context->collect) {
        for (int kind = 0; kind < DOC_KINDS; kind++)
            if (collect_wants(context->collect, (enum document_kind)kind))
                deliver->lines_wanted |= 1u << kind;
    } else if (open_sinks(deliver, ret_error) != STATUS_OK) {
        deliver_close(deliver);
        return STATUS_FATAL;
    }
    if (context->view)
        deliver->lines_wanted |= 1u << DOC_ALERT | 1u << DOC_RUN | 1u << DOC_BUCKET;
    if (context->keeper)
        deliver->lines_wanted |= 1u << DOC_ALERT; /* the history */
    *ret_deliver = deliver;
    return STATUS_OK;
}

void deliver_close(struct deliver *deliver)
{
    for (unsigned i = 0; i < deliver->outlet_count; i++) {
        struct outlet *outlet = &deliver->outlets[i];

        while (outlet->first) {
            struct waiting *next = outlet->first->next;

            free(outlet->first);
            outlet->first = next;
        }
        outlet->plan->type->close(outlet->sink);
        outbox_close(&outlet->outbox);
        notices_close(&outlet->notices);
        digest_close(&outlet->digest);
        free(outlet->verdicts.items);
        free(outlet->riders);
    }
    filing_close(&deliver->filing);
    sent_file_close(&deliver->sent);
    free(deliver->acknowledged.items);
    free(deliver->frozen.items);
    free(deliver->outlets);
    buffer_free(&deliver->line);
    buffer_free(&deliver->body);
    buffer_free(&deliver->packed);
    event_writer_free(deliver->event_writer);
    free(deliver);
}

bool deliver_wants(const struct deliver *deliver, enum document_kind kind)
{
    return (deliver->lines_wanted | deliver->documents_wanted) & 1u << kind;
}

static void wait_for(struct deliver *deliver, struct outlet *outlet, const struct document *document)
{
    struct waiting *waiting = memory_grow(NULL, sizeof *waiting + document->body.size);

    *waiting = (struct waiting){.document = *document};
    memcpy(waiting + 1, document->body.data, document->body.size);
    waiting->document.body.data = (char *)(waiting + 1);
    *(outlet->first ? &outlet->last->next : &outlet->first) = waiting;
    outlet->last = waiting;
    deliver->waiting_bytes += sizeof *waiting + document->body.size;
}

static void offer_waiting(struct deliver *deliver, struct outlet *outlet)
{
    while (outlet->first && outlet->plan->type->offer(outlet->sink, &outlet->first->document) == STATUS_OK) {
        struct waiting *taken = outlet->first;

        deliver->waiting_bytes -= sizeof *taken + taken->document.body.size;
        outlet->first = taken->next;
        free(taken);
    }
}

static void begin(struct deliver *deliver)
{
    buffer_clear(&deliver->line);
    buffer_clear(&deliver->body);
    buffer_clear(&deliver->packed);
}

/* What was taken back stands as it did at the cut, when nothing of it was owed. */
static bool has_it_already(const struct deliver *deliver, const struct outlet *outlet)
{
    return outlet_takes_back(deliver, outlet) && !outlet->behind;
}

void deliver_batch(struct deliver *deliver, const struct event_batch *batch,
                   const struct event_origin *origin)
{
    event_writer_begin(deliver->event_writer, batch, origin);
}

void deliver_event(struct deliver *deliver, const struct event_batch *batch, uint32_t row, bool again,
                   uint64_t *pending)
{
    struct document document = {.kind = DOC_EVENT,
                                .id = event_writer_id(deliver->event_writer, row),
                                .time_us = batch->time_us[row],
                                .ticket = (uint64_t)(uintptr_t)pending};

    buffer_clear(&deliver->body);
    event_writer_put(deliver->event_writer, row, &deliver->body);
    document.body = buffer_span(&deliver->body);
    deliver->figures.documents[DOC_EVENT]++;
    for (unsigned i = 0; i < deliver->outlet_count; i++) {
        struct outlet *outlet = &deliver->outlets[i];

        if (!(outlet->plan->kinds & 1u << DOC_EVENT) || (again && has_it_already(deliver, outlet)))
            continue;
        if (outlet->first || outlet->plan->type->offer(outlet->sink, &document) != STATUS_OK) {
            if (outlet->plan->when_full == FULL_DROP_RAW) {
                deliver->figures.dropped_raw++;
                continue;
            }
            wait_for(deliver, outlet, &document);
        }
        outlet->raw_pending++;
        ++*pending;
    }
}

static bool is_logged(const struct deliver *deliver, const struct outlet *outlet, enum document_kind kind)
{
    return deliver->context.keeper && outlet_tells(outlet, kind);
}

/* The sink's form of a packed alert. What people are told of one dedup key keeps its order, over episodes. */
static void fill_notice(struct deliver *deliver, const struct outlet *outlet, struct span packed,
                        struct document *document)
{
    struct alert alert;
    bool whole = notices_unpack(packed, &alert);

    assert(whole);
    buffer_clear(&deliver->line);
    if (outlet->plan->type->form == SINK_LINES)
        line_of_alert(&alert, &deliver->line);
    else
        document_of_alert(deliver->context.plan->name, &alert, &deliver->line);
    document->body = buffer_span(&deliver->line);
    document->group = alert.dedup;
}

static bool offer_item(struct deliver *deliver, struct outlet *outlet, const struct outbox_item *item)
{
    const struct outbox_document *stored = &item->document;
    struct document document = {.kind = stored->kind,
                                .id = stored->id,
                                .group = stored->group,
                                .version = stored->version,
                                .time_us = stored->time_us,
                                .body = stored->body,
                                .ticket = (uint64_t)(uintptr_t)item | TICKET_ITEM};

    if (outlet_tells(outlet, stored->kind))
        fill_notice(deliver, outlet, stored->body, &document);
    return outlet->plan->type->offer(outlet->sink, &document) == STATUS_OK;
}

static bool may_send(const struct deliver *deliver, struct outlet *outlet)
{
    outlet->plan->type->figures(outlet->sink, &outlet->figures);
    size_t waiting = outlet->figures.waiting_alerts;
    size_t most = deliver->context.moves ? NOTICES_UNMARKED_MOVING_MAX : NOTICES_UNMARKED_MAX;

    return waiting < NOTICES_WAITING_MAX && deliver->sent.size < SENT_FILE_BYTES_MAX &&
           outlet->on_way - waiting + notices_unmarked(&outlet->notices) < most;
}

static struct notices *log_of(struct deliver *deliver, struct outlet *outlet)
{
    return is_logged(deliver, outlet, DOC_ALERT) ? &outlet->notices : NULL;
}

static void move_digest(struct deliver *deliver, struct outlet *outlet)
{
    struct digest_turn turn = deliver->turn;
    struct document document;

    turn.last &= outbox_is_taken(&outlet->outbox);
    if (!digest_advance(&outlet->digest, &turn, &document))
        return;
    document.ticket = TICKET_DIGEST;
    if (outlet->plan->type->offer(outlet->sink, &document) == STATUS_OK) {
        digest_offered(&outlet->digest);
        outlet->on_way += is_logged(deliver, outlet, DOC_ALERT);
    }
}

static struct id128 dedup_of(const struct outbox_item *item)
{
    struct alert alert;
    bool whole = notices_unpack(item->document.body, &alert);

    assert(whole);
    return alert.dedup;
}

/* Of its dedup key, the last before it that is not done with; NULL: none. */
static const struct outbox_item *ahead_of(const struct outbox_item *item)
{
    struct id128 dedup = dedup_of(item);

    for (const struct outbox_item *before = item->previous; before; before = before->previous)
        if (before->document.kind == DOC_ALERT && !before->acknowledged && !before->held &&
            id_equal(dedup_of(before), dedup))
            return before;
    return NULL;
}

/* The prompt was told in its place. */
static void pass_over(struct deliver *deliver, struct outlet *outlet, struct outbox_item *item)
{
    if (is_logged(deliver, outlet, DOC_ALERT))
        notices_mark(&outlet->notices, item, deliver->turn.now_us);
    item->taken = true;
    outbox_acknowledge(&outlet->outbox, item);
}

/* A crash before the prompt is out would lose both. Lines of other keys go on meanwhile. */
static void take_prompted(struct deliver *deliver, struct outlet *outlet)
{
    const struct outbox_item *ahead = ahead_of(outlet->outbox.offer_at);

    if (!ahead) {
        pass_over(deliver, outlet, outbox_take(&outlet->outbox));
        return;
    }
    outlet->riders = memory_reserve(outlet->riders, &outlet->rider_capacity, outlet->rider_count + 1,
                                    sizeof *outlet->riders);
    outlet->riders[outlet->rider_count++] =
        (struct rider){.item = outbox_hold(&outlet->outbox), .ahead = ahead};
}

/* There is a verdict on `item`. At once, so that the log has the line before what follows it. */
static void release_riders(struct deliver *deliver, struct outlet *outlet, const struct outbox_item *item)
{
    size_t kept = 0;

    for (size_t i = 0; i < outlet->rider_count; i++)
        if (outlet->riders[i].ahead == item)
            pass_over(deliver, outlet, outlet->riders[i].item);
        else
            outlet->riders[kept++] = outlet->riders[i];
    outlet->rider_count = kept;
}

/* Offers what is next, in order, until the sink is busy or too much of it is unmarked. */
static void offer_next(struct deliver *deliver, struct outlet *outlet)
{
    const struct outbox_item *item;

    while ((item = outlet->outbox.offer_at)) {
        bool logged = is_logged(deliver, outlet, item->document.kind);

        if (logged && notices_sent(&outlet->notices, item->document.id)) {
            outbox_acknowledge(&outlet->outbox, outbox_take(&outlet->outbox));
            continue;
        }
        if (outlet_tells(outlet, item->document.kind) && item->document.prompted) {
            take_prompted(deliver, outlet);
            continue;
        }
        enum digest_place place = outlet->plan->receiver
                                      ? digest_take(&outlet->digest, &outlet->outbox, deliver->turn.now_us)
                                      : DIGEST_NONE;

        if (place == DIGEST_HOLD)
            continue;
        if (place == DIGEST_WAIT || (logged && !may_send(deliver, outlet)) ||
            !offer_item(deliver, outlet, item))
            return;
        outlet->on_way += logged;
        outbox_take(&outlet->outbox);
    }
}

static void push(struct deliver *deliver, struct outlet *outlet, struct outbox_document *document)
{
    if (outlet_tells(outlet, document->kind))
        document->body = buffer_span(&deliver->packed);
    else
        document->body =
            buffer_span(outlet->plan->type->form == SINK_LINES ? &deliver->line : &deliver->body);
    outbox_push(&outlet->outbox, document);
}

/* A prompt goes only to sinks that notify, what never fired not to receivers. */
static bool passes_over(const struct outlet *outlet, const struct outbox_document *document,
                        const struct alert *alert)
{
    return (document->prompt && !outlet->plan->type->notifies) ||
           (alert && alert->quiet && outlet->plan->receiver);
}

/* Nothing is found before `lateness` has passed: that is not being behind. */
static bool is_late(const struct deliver *deliver, const struct outlet *outlet, const struct alert *alert)
{
    const struct plan *plan = deliver->context.plan;

    return outlet->plan->receiver && deliver->context.live && !alert->prompt &&
           alert->state == ALERT_FIRING &&
           deliver->turn.now_us - alert->at_us > plan->alerts.notify_max_age + plan->time.lateness;
}

bool outlet_settle_told(const struct outlet *outlet, const struct alert *alert)
{
    struct notices_told *told = notices_find(&outlet->notices, alert->dedup);

    if (!told || told->settled ||
        (notices_sent(&outlet->notices, alert->id) && !id_equal(told->notification.line, alert->id)))
        return false;
    told->settled = true;
    return told->notification.prompt && alert->state == ALERT_FIRING && !alert->prompt;
}

/* Gives the encoded forms to every sink that asked for the kind. */
static void emit(struct deliver *deliver, const struct outbox_document *document, const struct alert *alert)
{
    deliver->figures.documents[document->kind]++;
    for (unsigned i = 0; i < deliver->outlet_count; i++) {
        struct outlet *outlet = &deliver->outlets[i];
        struct outbox_document own = *document;

        if (!(outlet->plan->kinds & 1u << document->kind) || passes_over(outlet, document, alert))
            continue;
        if (alert && outlet_settle_told(outlet, alert))
            own.prompted = true;
        own.late = alert && is_late(deliver, outlet, alert);
        push(deliver, outlet, &own);
    }
    for (unsigned i = 0; i < deliver->outlet_count; i++)
        offer_next(deliver, &deliver->outlets[i]);
}

static void show(struct deliver *deliver, const struct outbox_document *document, struct id128 group,
                 int64_t at_us)
{
    if (!deliver->line.size)
        return;
    if (deliver->context.collect && collect_wants(deliver->context.collect, document->kind))
        collect_add(deliver->context.collect, document->kind, at_us, document->id,
                    buffer_span(&deliver->line));
    if (deliver->context.view)
        view_put(deliver->context.view,
                 &(struct view_line){.kind = document->kind,
                                     .group = group,
                                     .time_us = document->kind == DOC_BUCKET ? document->time_us : at_us,
                                     .version = document->version,
                                     .text = buffer_span(&deliver->line)});
}

static bool wants_line(const struct deliver *deliver, enum document_kind kind)
{
    return deliver->lines_wanted & 1u << kind;
}

static bool wants_body(const struct deliver *deliver, enum document_kind kind)
{
    return deliver->documents_wanted & 1u << kind;
}

void deliver_bucket(struct deliver *deliver, const struct bucket *bucket, int64_t at_us)
{
    struct outbox_document document = {
        .kind = DOC_BUCKET, .id = bucket->id, .version = bucket->version, .time_us = bucket->start_us};
    struct id_builder builder;

    if (!deliver_wants(deliver, DOC_BUCKET))
        return;
    begin(deliver);
    if (wants_line(deliver, DOC_BUCKET))
        line_of_bucket(bucket, &deliver->line);
    if (wants_body(deliver, DOC_BUCKET))
        document_of_bucket(deliver->context.plan->name, bucket, &deliver->body);
    id_begin(&builder);
    id_add_text(&builder, span_of(bucket->shape->name));
    for (unsigned i = 0; i < bucket->shape->by_count; i++)
        id_add_text(&builder, bucket->key[i]);
    show(deliver, &document, id_end(&builder), at_us);
    emit(deliver, &document, NULL);
}

void deliver_signal(struct deliver *deliver, const struct signal_record *record)
{
    struct outbox_document document = {
        .kind = DOC_SIGNAL, .id = record->id, .time_us = record->bucket->end_us};

    if (!deliver_wants(deliver, DOC_SIGNAL))
        return;
    begin(deliver);
    if (wants_line(deliver, DOC_SIGNAL))
        line_of_signal(record, &deliver->line);
    if (wants_body(deliver, DOC_SIGNAL))
        document_of_signal(deliver->context.plan->name, record, &deliver->body);
    show(deliver, &document, record->id, document.time_us);
    emit(deliver, &document, NULL);
}

void deliver_run(struct deliver *deliver, const struct run_record *run)
{
    struct outbox_document document = {
        .kind = DOC_RUN, .id = run->id, .version = run->version, .time_us = run->first_us};

    bool has_ended = deliver->context.keeper && run_state_is_terminal(run->state);

    if (!deliver_wants(deliver, DOC_RUN) && !has_ended)
        return;
    begin(deliver);
    if (wants_line(deliver, DOC_RUN) || has_ended)
        line_of_run(run, &deliver->line);
    if (wants_body(deliver, DOC_RUN))
        document_of_run(deliver->context.plan->name, run, &deliver->body);
    show(deliver, &document, run->id, run->at_us);
    if (has_ended)
        filing_run(&deliver->filing, &(struct ended_run){.first_us = run->first_us,
                                                         .id = run->id,
                                                         .version = run->version,
                                                         .line = buffer_span(&deliver->line)});
    if (deliver_wants(deliver, DOC_RUN))
        emit(deliver, &document, NULL);
}

static struct outbox_document document_for(const struct alert *alert)
{
    return (struct outbox_document){.kind = DOC_ALERT,
                                    .id = alert->id,
                                    .group = alert->episode,
                                    .version = alert->revision + 1,
                                    .time_us = alert->at_us,
                                    .prompt = alert->prompt,
                                    .prompted = alert->prompted};
}

void deliver_alert(struct deliver *deliver, const struct alert *alert)
{
    struct outbox_document document = document_for(alert);

    if (!deliver_wants(deliver, DOC_ALERT))
        return;
    begin(deliver);
    notices_pack(alert, &deliver->packed);
    if (wants_line(deliver, DOC_ALERT))
        line_of_alert(alert, &deliver->line);
    if (wants_body(deliver, DOC_ALERT))
        document_of_alert(deliver->context.plan->name, alert, &deliver->body);
    if (!alert->prompt)
        show(deliver, &document, alert->episode, alert->at_us);
    if (!alert->prompt && deliver->context.keeper)
        filing_line(&deliver->filing, &(struct history_line){.id = alert->id,
                                                             .episode = alert->episode,
                                                             .revision = alert->revision,
                                                             .at_us = alert->at_us,
                                                             .told_us = deliver->turn.now_us,
                                                             .line = buffer_span(&deliver->line)});
    emit(deliver, &document, alert);
}

void deliver_turn(struct deliver *deliver, int64_t now_us, int64_t passed_us, bool last)
{
    deliver->turn = (struct digest_turn){.now_us = now_us, .passed_us = passed_us, .last = last};
}

/* Raw documents, or the letter of one, are done with. */
static void settle_raw(uint64_t ticket, uint64_t count)
{
    uint64_t *pending = (uint64_t *)(uintptr_t)ticket;

    assert(*pending >= count);
    *pending -= count;
}

/* A document or letter is done with. */
void deliver_settle(void *owner, void *outlet_of_item, uint64_t ticket)
{
    struct deliver *deliver = owner;
    struct outlet *outlet = outlet_of_item;

    if (ticket == TICKET_DIGEST) {
        digest_finish(&outlet->digest, &outlet->outbox, NULL, deliver->turn.now_us);
        return;
    }
    if (ticket & TICKET_ITEM) {
        outbox_acknowledge(&outlet->outbox, (struct outbox_item *)(uintptr_t)(ticket & ~TICKET_ITEM));
        return;
    }
    settle_raw(ticket, 1);
}

void deliver_dead_letter(struct deliver *deliver, const struct dead_letter *letter, uint64_t *pending)
{
    deliver->figures.dead_letters++;
    if (!deliver->context.keeper)
        return;
    ++*pending;
    filing_letter(&deliver->filing, letter, NULL, (uint64_t)(uintptr_t)pending);
}

bool deliver_full(const struct deliver *deliver)
{
    for (unsigned i = 0; i < deliver->outlet_count; i++)
        if (outbox_full(&deliver->outlets[i].outbox))
            return true;
    return deliver->context.keeper &&
           atomic_load_explicit(deliver->context.outbox_bytes, memory_order_relaxed) >
               (uint64_t)deliver->context.plan->store.outbox_bytes;
}

bool deliver_busy(const struct deliver *deliver)
{
    for (unsigned i = 0; i < deliver->outlet_count; i++)
        if (deliver->outlets[i].first)
            return true;
    return deliver_full(deliver) || filing_full(&deliver->filing);
}

bool deliver_has_filed(const struct deliver *deliver)
{
    return !filing_has_runs(&deliver->filing);
}

size_t deliver_pending(const struct deliver *deliver)
{
    size_t pending = filing_letters(&deliver->filing);

    for (unsigned i = 0; i < deliver->outlet_count; i++)
        pending += deliver->outlets[i].raw_pending + deliver->outlets[i].outbox.documents;
    return pending;
}

size_t deliver_held(const struct deliver *deliver)
{
    size_t held = 0;

    for (unsigned i = 0; i < deliver->outlet_count; i++)
        held += deliver->outlets[i].digest.held.count;
    return held;
}

/* The sink gave the document up: its letter is found again by the document's own text. The document itself is
 * done with when the letter is stored. */
static void bury(struct deliver *deliver, struct outlet *outlet, const struct verdict *verdict)
{
    struct dead_letter letter = {
        .source = span_of("weir"),
        .topic = span_of(document_kind_names[verdict->kind]),
        .offset = (int64_t)(hash_bytes(verdict->body, verdict->body_size, 0) >> 1),
        .stage = "sink",
        .sink = span_of(outlet->plan->name),
        .reason = span_of(verdict->reason),
        .document = span_make(verdict->body, verdict->body_size),
        .time_us = deliver->turn.now_us,
    };

    deliver->figures.dead_letters++;
    if (deliver->context.keeper)
        filing_letter(&deliver->filing, &letter, outlet, verdict->ticket);
    else
        deliver_settle(deliver, outlet, verdict->ticket);
}

static void take_verdict(struct deliver *deliver, struct outlet *outlet, const struct verdict *verdict)
{
    bool of_item = verdict->ticket & TICKET_ITEM, of_digest = verdict->ticket == TICKET_DIGEST;
    const struct outbox_item *item =
        of_item ? (const struct outbox_item *)(uintptr_t)(verdict->ticket & ~TICKET_ITEM) : NULL;
    bool logged = item && is_logged(deliver, outlet, item->document.kind);

    outlet->on_way -= logged || (of_digest && is_logged(deliver, outlet, DOC_ALERT));
    if (logged && !verdict->dead_letter)
        notices_mark(&outlet->notices, item, deliver->turn.now_us);
    if (item)
        release_riders(deliver, outlet, item);
    if (verdict->dead_letter)
        bury(deliver, outlet, verdict);
    else if (of_digest)
        digest_finish(&outlet->digest, &outlet->outbox, log_of(deliver, outlet), deliver->turn.now_us);
    else
        deliver_settle(deliver, outlet, verdict->ticket);
}

static void take_verdicts(struct deliver *deliver, struct outlet *outlet)
{
    for (size_t i = 0; i < outlet->verdicts.count; i++) {
        struct verdict *verdict = &outlet->verdicts.items[i];
        bool raw = !(verdict->ticket & TICKET_ITEM) && verdict->ticket != TICKET_DIGEST;

        if (raw)
            outlet->raw_pending -= verdict->count;
        if (raw && !verdict->dead_letter)
            settle_raw(verdict->ticket, verdict->count);
        else
            take_verdict(deliver, outlet, verdict);
        free(verdict->reason);
        free(verdict->body);
    }
    outlet->verdicts.count = 0;
}

void deliver_advance(struct deliver *deliver, int64_t now_us, bool flush)
{
    bool send = flush || deliver->send;
    size_t unmarked = 0;

    deliver->send = false;
    deliver->turn.now_us = now_us;
    for (unsigned i = 0; i < deliver->outlet_count; i++) {
        struct outlet *outlet = &deliver->outlets[i];

        outlet->plan->type->advance(outlet->sink, now_us, send, &outlet->verdicts);
        take_verdicts(deliver, outlet);
        offer_waiting(deliver, outlet);
        outbox_advance(&outlet->outbox);
        notices_advance(&outlet->notices);
        offer_next(deliver, outlet);
        unmarked += notices_unmarked(&outlet->notices);
        move_digest(deliver, outlet);
    }
    if (unmarked == 0)
        sent_file_clear(&deliver->sent);
    if (deliver->context.keeper)
        filing_advance(&deliver->filing, deliver->turn.now_us, flush, deliver_settle, deliver);
}

bool deliver_is_settled(const struct deliver *deliver)
{
    for (unsigned i = 0; i < deliver->outlet_count; i++)
        if (outlet_takes_back(deliver, &deliver->outlets[i]) && deliver->outlets[i].raw_pending > 0)
            return false;
    return true;
}

static void withdraw(struct deliver *deliver, struct outlet *outlet, const struct notices_told *told,
                     int64_t passed_us)
{
    struct alert alert = notices_withdrawal(told, passed_us);
    struct outbox_document document = document_for(&alert);

    begin(deliver);
    notices_pack(&alert, &deliver->packed);
    push(deliver, outlet, &document);
}

void deliver_withdraw(struct deliver *deliver, int64_t passed_us,
                      bool (*is_open)(void *owner, struct id128 dedup), void *owner)
{
    for (unsigned i = 0; i < deliver->outlet_count; i++) {
        struct outlet *outlet = &deliver->outlets[i];
        const struct notices_told *told;

        while ((told = notices_withdraw(&outlet->notices, passed_us, is_open, owner)))
            withdraw(deliver, outlet, told, passed_us);
    }
}

void deliver_figures(const struct deliver *deliver, struct deliver_figures *ret_figures)
{
    *ret_figures = deliver->figures;
    ret_figures->waiting_bytes = deliver->waiting_bytes;
    for (unsigned i = 0; i < deliver->outlet_count; i++) {
        const struct outbox *outbox = &deliver->outlets[i].outbox;

        ret_figures->waiting_bytes += outbox->memory_bytes;
        ret_figures->outbox_documents += outbox->away_count;
        ret_figures->outbox_bytes += outbox->away_bytes;
    }
}

const struct sink_figures *deliver_sink(struct deliver *deliver, unsigned sink)
{
    struct outlet *outlet = &deliver->outlets[sink];

    if (sink >= deliver->outlet_count)
        return NULL;
    outlet->plan->type->figures(outlet->sink, &outlet->figures);
    return &outlet->figures;
}
