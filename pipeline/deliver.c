#include "pipeline/deliver.h"

#include "base/memory.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { ENCODED_MAX = 128 * 1024 * 1024, LETTERS_A_TRANSACTION = 1000, LETTER_RETRY_US = 1000 * 1000 };

/* A document that a busy sink has not taken yet. */
struct waiting {
    struct waiting *next;
    struct document document; /* its body stands behind */
};

struct outlet { /* one sink */
    const struct plan_sink *plan;
    struct sink *sink;
    struct waiting *first, *last;
    struct verdicts verdicts;
    struct sink_figures figures;
};

struct letter { /* a dead letter that the store does not have yet */
    struct dead_letter letter;
    uint64_t *pending; /* may be NULL */
    char *texts;
};

struct deliver {
    struct deliver_context context;
    struct outlet *outlets;
    unsigned lines_wanted, documents_wanted; /* bits 1 << kind */
    struct buffer line, body;
    struct letter *letters;
    size_t letter_count, letter_capacity;
    int64_t letters_retry_us;
    struct deliver_figures figures;
};

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

        outlet->plan = sink;
        if (sink->type->open(sink->settings, &context, &outlet->sink, error) != STATUS_OK)
            return STATUS_FATAL;
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
    deliver->outlets = memory_new((context->plan->sink_count + 1) * sizeof *deliver->outlets);
    buffer_init(&deliver->line, ENCODED_MAX);
    buffer_init(&deliver->body, ENCODED_MAX);
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
    *ret_deliver = deliver;
    return STATUS_OK;
}

void deliver_close(struct deliver *deliver)
{
    for (unsigned i = 0; i < deliver->context.plan->sink_count; i++) {
        struct outlet *outlet = &deliver->outlets[i];

        while (outlet->first) {
            struct waiting *next = outlet->first->next;

            free(outlet->first);
            outlet->first = next;
        }
        if (outlet->sink)
            outlet->plan->type->close(outlet->sink);
        free(outlet->verdicts.items);
    }
    for (size_t i = 0; i < deliver->letter_count; i++)
        free(deliver->letters[i].texts);
    free(deliver->letters);
    free(deliver->outlets);
    buffer_free(&deliver->line);
    buffer_free(&deliver->body);
    free(deliver);
}

bool deliver_wants(const struct deliver *deliver, enum document_kind kind)
{
    return (deliver->lines_wanted | deliver->documents_wanted) & 1u << kind;
}

static void wait_for(struct outlet *outlet, const struct document *document, size_t *waiting_bytes)
{
    struct waiting *waiting = memory_grow(NULL, sizeof *waiting + document->body.size);

    *waiting = (struct waiting){.document = *document};
    memcpy(waiting + 1, document->body.data, document->body.size);
    waiting->document.body.data = (char *)(waiting + 1);
    if (outlet->first)
        outlet->last->next = waiting;
    else
        outlet->first = waiting;
    outlet->last = waiting;
    *waiting_bytes += sizeof *waiting + document->body.size;
}

enum told { TOLD_ONCE, TOLD_AS_PROMPT, TOLD_BY_PROMPT };

/* A prompt goes only to sinks that notify, and the line that it was told for only to the others. */
static bool passes_over(const struct outlet *outlet, enum told told)
{
    return told != TOLD_ONCE && outlet->plan->type->notifies != (told == TOLD_AS_PROMPT);
}

/* Offers the encoded forms to every sink that asked for the kind. */
static void offer(struct deliver *deliver, struct document *document, enum told told, uint64_t *pending)
{
    deliver->figures.documents[document->kind]++;
    document->ticket = (uint64_t)(uintptr_t)pending;
    for (unsigned i = 0; !deliver->context.collect && i < deliver->context.plan->sink_count; i++) {
        struct outlet *outlet = &deliver->outlets[i];
        bool line = outlet->plan->type->form == SINK_LINES && document->kind != DOC_EVENT;

        if (!(outlet->plan->kinds & 1u << document->kind) || passes_over(outlet, told))
            continue;
        document->body = buffer_span(line ? &deliver->line : &deliver->body);
        ++*pending;
        if (outlet->first || outlet->plan->type->offer(outlet->sink, document) != STATUS_OK)
            wait_for(outlet, document, &deliver->figures.waiting_bytes);
    }
}

static void begin(struct deliver *deliver)
{
    buffer_clear(&deliver->line);
    buffer_clear(&deliver->body);
}

static void show(struct deliver *deliver, const struct document *document, struct id128 group, int64_t at_us)
{
    if (!deliver->line.size)
        return;
    if (deliver->context.collect && collect_wants(deliver->context.collect, document->kind))
        collect_add(deliver->context.collect, document->kind, at_us, document->id,
                    buffer_span(&deliver->line));
    if (deliver->context.view)
        view_put(deliver->context.view, document->kind, group,
                 document->kind == DOC_BUCKET ? document->time_us : at_us, buffer_span(&deliver->line));
}

static bool wants_line(const struct deliver *deliver, enum document_kind kind)
{
    return deliver->lines_wanted & 1u << kind;
}

static bool wants_body(const struct deliver *deliver, enum document_kind kind)
{
    return deliver->documents_wanted & 1u << kind;
}

void deliver_event(struct deliver *deliver, const struct event_batch *batch, uint32_t row,
                   const struct event_origin *origin, uint64_t *pending)
{
    struct document document = {.kind = DOC_EVENT, .id = origin->id, .time_us = batch->time_us[row]};

    begin(deliver);
    document_of_event(batch, row, origin, &deliver->body);
    offer(deliver, &document, TOLD_ONCE, pending);
}

void deliver_bucket(struct deliver *deliver, const struct bucket *bucket, int64_t at_us, uint64_t *pending)
{
    struct document document = {
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
    offer(deliver, &document, TOLD_ONCE, pending);
}

void deliver_signal(struct deliver *deliver, const struct signal_record *record, uint64_t *pending)
{
    struct document document = {.kind = DOC_SIGNAL, .id = record->id, .time_us = record->bucket->end_us};

    if (!deliver_wants(deliver, DOC_SIGNAL))
        return;
    begin(deliver);
    if (wants_line(deliver, DOC_SIGNAL))
        line_of_signal(record, &deliver->line);
    if (wants_body(deliver, DOC_SIGNAL))
        document_of_signal(deliver->context.plan->name, record, &deliver->body);
    show(deliver, &document, record->id, document.time_us);
    offer(deliver, &document, TOLD_ONCE, pending);
}

void deliver_run(struct deliver *deliver, const struct run_record *run, uint64_t *pending)
{
    struct document document = {
        .kind = DOC_RUN, .id = run->id, .version = run->version, .time_us = run->first_us};

    if (!deliver_wants(deliver, DOC_RUN))
        return;
    begin(deliver);
    if (wants_line(deliver, DOC_RUN))
        line_of_run(run, &deliver->line);
    if (wants_body(deliver, DOC_RUN))
        document_of_run(deliver->context.plan->name, run, &deliver->body);
    show(deliver, &document, run->id, run->at_us);
    offer(deliver, &document, TOLD_ONCE, pending);
}

void deliver_alert(struct deliver *deliver, const struct alert *alert, uint64_t *pending)
{
    struct document document = {.kind = DOC_ALERT,
                                .id = alert->id,
                                .group = alert->episode,
                                .version = alert->revision + 1,
                                .time_us = alert->at_us};
    enum told told = alert->prompt ? TOLD_AS_PROMPT : alert->prompted ? TOLD_BY_PROMPT : TOLD_ONCE;

    if (!deliver_wants(deliver, DOC_ALERT))
        return;
    begin(deliver);
    if (wants_line(deliver, DOC_ALERT))
        line_of_alert(alert, &deliver->line);
    if (wants_body(deliver, DOC_ALERT))
        document_of_alert(deliver->context.plan->name, alert, &deliver->body);
    if (!alert->prompt)
        show(deliver, &document, alert->episode, alert->at_us);
    offer(deliver, &document, told, pending);
}

void deliver_dead_letter(struct deliver *deliver, const struct dead_letter *letter, uint64_t *pending)
{
    struct letter *copy;
    char *cursor;

    deliver->figures.dead_letters++;
    if (!deliver->context.dead_letters)
        return;
    deliver->letters = memory_reserve(deliver->letters, &deliver->letter_capacity, deliver->letter_count + 1,
                                      sizeof *deliver->letters);
    copy = &deliver->letters[deliver->letter_count++];
    *copy = (struct letter){.letter = *letter, .pending = pending};
    struct span *texts[] = {&copy->letter.source, &copy->letter.topic,   &copy->letter.sink,
                            &copy->letter.reason, &copy->letter.payload, &copy->letter.document};
    size_t size = 0;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        size += texts[i]->size;
    cursor = copy->texts = memory_new(size);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (texts[i]->size)
            memcpy(cursor, texts[i]->data, texts[i]->size);
        texts[i]->data = cursor;
        cursor += texts[i]->size;
    }
    if (pending)
        ++*pending;
}

bool deliver_busy(const struct deliver *deliver)
{
    for (unsigned i = 0; i < deliver->context.plan->sink_count; i++)
        if (deliver->outlets[i].first)
            return true;
    return deliver->letters_retry_us != 0 || deliver->letter_count > LETTERS_A_TRANSACTION;
}

size_t deliver_pending(const struct deliver *deliver)
{
    size_t pending = deliver->letter_count;

    for (unsigned i = 0; i < deliver->context.plan->sink_count; i++) {
        const struct outlet *outlet = &deliver->outlets[i];

        if (outlet->sink)
            pending += outlet->plan->type->pending(outlet->sink) + (outlet->first != NULL);
    }
    return pending;
}

/* The sink gave the document up: its letter is found again by the document's own text. */
static void bury(struct deliver *deliver, const struct outlet *outlet, struct verdict *verdict,
                 int64_t now_us)
{
    struct dead_letter letter = {
        .source = span_of("weir"),
        .topic = span_of(document_kind_names[verdict->kind]),
        .offset = (int64_t)(hash_bytes(verdict->body, verdict->body_size, 0) >> 1),
        .stage = "sink",
        .sink = span_of(outlet->plan->name),
        .reason = span_of(verdict->reason),
        .document = span_make(verdict->body, verdict->body_size),
        .time_us = now_us,
    };

    deliver_dead_letter(deliver, &letter, (uint64_t *)(uintptr_t)verdict->ticket);
}

static void take_verdicts(struct deliver *deliver, struct outlet *outlet, int64_t now_us)
{
    for (size_t i = 0; i < outlet->verdicts.count; i++) {
        struct verdict *verdict = &outlet->verdicts.items[i];
        uint64_t *pending = (uint64_t *)(uintptr_t)verdict->ticket;

        if (verdict->dead_letter)
            bury(deliver, outlet, verdict, now_us);
        if (pending) {
            assert(*pending > 0);
            --*pending;
        }
        free(verdict->reason);
        free(verdict->body);
    }
    outlet->verdicts.count = 0;
}

static void offer_waiting(struct deliver *deliver, struct outlet *outlet)
{
    while (outlet->first && outlet->plan->type->offer(outlet->sink, &outlet->first->document) == STATUS_OK) {
        struct waiting *taken = outlet->first;

        deliver->figures.waiting_bytes -= sizeof *taken + taken->document.body.size;
        outlet->first = taken->next;
        free(taken);
    }
}

/* Puts the collected letters into the store; a full disk or store keeps them here and holds the input. */
static void store_letters(struct deliver *deliver, int64_t now_us)
{
    struct dead_letter letters[LETTERS_A_TRANSACTION];
    size_t count =
        deliver->letter_count < LETTERS_A_TRANSACTION ? deliver->letter_count : LETTERS_A_TRANSACTION;
    struct error error;
    char text[sizeof error.text + 64];

    if (count == 0 || now_us < deliver->letters_retry_us)
        return;
    for (size_t i = 0; i < count; i++)
        letters[i] = deliver->letters[i].letter;
    if (dead_letters_put(deliver->context.dead_letters, letters, count, &error) != STATUS_OK) {
        if (deliver->letters_retry_us == 0) {
            snprintf(text, sizeof text, "dead letters cannot be stored, input is held: %s", error.text);
            deliver->context.warn(deliver->context.owner, text);
        }
        deliver->letters_retry_us = now_us + LETTER_RETRY_US;
        return;
    }
    deliver->letters_retry_us = 0;
    for (size_t i = 0; i < count; i++) {
        if (deliver->letters[i].pending)
            --*deliver->letters[i].pending;
        free(deliver->letters[i].texts);
    }
    deliver->letter_count -= count;
    memmove(deliver->letters, deliver->letters + count, deliver->letter_count * sizeof *deliver->letters);
}

void deliver_advance(struct deliver *deliver, int64_t now_us, bool flush)
{
    for (unsigned i = 0; !deliver->context.collect && i < deliver->context.plan->sink_count; i++) {
        struct outlet *outlet = &deliver->outlets[i];

        outlet->plan->type->advance(outlet->sink, now_us, flush, &outlet->verdicts);
        take_verdicts(deliver, outlet, now_us);
        offer_waiting(deliver, outlet);
    }
    store_letters(deliver, now_us);
}

void deliver_figures(const struct deliver *deliver, struct deliver_figures *ret_figures)
{
    *ret_figures = deliver->figures;
}

const struct sink_figures *deliver_sink(struct deliver *deliver, unsigned sink)
{
    struct outlet *outlet = &deliver->outlets[sink];

    if (!outlet->sink)
        return NULL;
    outlet->plan->type->figures(outlet->sink, &outlet->figures);
    return &outlet->figures;
}
