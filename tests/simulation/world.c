/* A sink keeps what it was offered in a queue of its own and says of each piece, some turns later, what
 * became of it; what was applied and not yet told of when the process dies is sent again by the next one. */
#include "tests/simulation/world.h"

#include "base/memory.h"
#include "tests/base/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { QUEUE_MAX = 48, DOCUMENTS_MAX = 1 << 20, LINE_BYTES = 1024 };

void texts_add(struct texts *texts, const char *text, size_t size)
{
    texts->items = memory_reserve(texts->items, &texts->capacity, texts->count + 1, sizeof *texts->items);
    texts->items[texts->count++] = memory_text(text, size);
}

void texts_print(struct texts *texts, const char *format, ...)
{
    char line[LINE_BYTES];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    texts_add(texts, line, strlen(line));
}

void texts_truncate(struct texts *texts, size_t count)
{
    while (texts->count > count)
        free(texts->items[--texts->count]);
    if (count == 0) {
        free(texts->items);
        *texts = (struct texts){0};
    }
}

static int compare_texts(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

void texts_sort(struct texts *texts)
{
    if (texts->count)
        qsort(texts->items, texts->count, sizeof *texts->items, compare_texts);
}

void texts_sort_once(struct texts *texts)
{
    size_t kept = 0;

    texts_sort(texts);
    for (size_t i = 0; i < texts->count; i++)
        if (kept && strcmp(texts->items[kept - 1], texts->items[i]) == 0)
            free(texts->items[i]);
        else
            texts->items[kept++] = texts->items[i];
    texts->count = kept;
}

void world_fail(struct world *world, const char *format, ...)
{
    va_list arguments;

    if (world->failure[0])
        return;
    va_start(arguments, format);
    vsnprintf(world->failure, sizeof world->failure, format, arguments);
    va_end(arguments);
}

void world_init(struct world *world, const struct scenario *scenario, bool calm)
{
    *world = (struct world){.scenario = scenario, .calm = calm, .random = scenario->seed ^ 0x5eed};
    world->is_shared = scenario->is_cluster && !calm;
    world->now_us = scenario->backlog || calm ? scenario->end_us : scenario->start_us;
    slots_init(&world->ids, DOCUMENTS_MAX);
}

void world_free(struct world *world)
{
    for (uint32_t i = 0; i < world->ids.next; i++)
        free(world->documents[i].body);
    free(world->documents);
    slots_free(&world->ids);
    texts_truncate(&world->lines, 0);
    texts_truncate(&world->notes, 0);
}

void world_begin_life(struct world *world)
{
    world->lives++;
}

bool document_is_poison(const struct scenario *scenario, enum document_kind kind, struct id128 id)
{
    return scenario->poison && kind == DOC_EVENT && id.low % 29 == 0;
}

/* How many late rows come before their bucket closes is up to the interleaving; it is left out. */
static char *without_late(struct span body)
{
    char *text = memory_text(body.data, body.size), *at = strstr(text, "\"late\":"), *end;

    if (!at || at[7] < '0' || at[7] > '9')
        return text;
    end = at + 7 + strspn(at + 7, "0123456789");
    end += *end == ',';
    memmove(at, end, strlen(end) + 1);
    return text;
}

struct source {
    struct world *world;
    struct source_context context;
    unsigned queues[PARTITIONS_MAX];
    struct source_partition about[PARTITIONS_MAX];
    bool asked[PARTITIONS_MAX];
    size_t positions[PARTITIONS_MAX]; /* next row to read */
    bool known;                       /* the broker has told of its partitions */
    size_t count;
};

static enum status source_open(const void *settings, const struct source_context *context,
                               struct source **ret_source, struct error *ret_error)
{
    struct source *source = memory_new(sizeof *source);
    struct world *world = (struct world *)settings;

    (void)ret_error;
    source->world = world;
    source->context = *context;
    for (unsigned i = context->worker; i < world->scenario->queue_count; i += context->workers) {
        const char *metadata = world->queues[i].metadata;

        world->queues[i].position = 0;
        world->queues[i].reader = NULL;
        source->queues[source->count] = i;
        source->about[source->count++] = (struct source_partition){
            .topic = "events",
            .partition = (int32_t)i,
            .committed = metadata[0] ? world->queues[i].committed : OFFSET_NONE,
            .metadata = span_make(metadata, strlen(metadata)),
        };
    }
    *ret_source = source;
    return STATUS_OK;
}

static bool source_endless(const void *settings)
{
    return true;
}

static bool source_ready(const struct source *source)
{
    return source->known;
}

static void source_advance(struct source *source, int64_t now_us)
{
    source->known |= now_us >= source->world->unreachable_us;
}

static size_t source_count(const struct source *source)
{
    return source->known ? source->count : 0;
}

/* Where to read on: the store's word, which can never be behind what was committed. */
static void find_position(struct source *source, size_t index)
{
    struct world *world = source->world;
    unsigned number = source->queues[index];
    const struct queue *queue = &world->scenario->queues[number];
    bool committed = world->queues[number].metadata[0] != '\0';
    int64_t offset = OFFSET_NONE;
    size_t position = 0;

    if (source->context.resume)
        offset = source->context.resume(source->context.resume_owner, "events", (int32_t)number, true);
    if (!world->store_lost && !world->is_lost && committed && offset < world->queues[number].committed)
        world_fail(world, "partition %u: %lld is committed, but the store goes on at %lld", number,
                   (long long)world->queues[number].committed, (long long)offset);
    if (offset == OFFSET_NONE && committed)
        offset = world->queues[number].committed;
    while (position < queue->count && queue->rows[position].offset < offset)
        position++;
    if (world->plants.resends)
        position -= position < 5 ? position : 5;
    source->positions[index] = position;
    if (!world->is_lost) {
        world->queues[number].position = position;
        world->queues[number].reader = source;
    }
    source->asked[index] = true;
}

static const struct source_partition *source_partition(const struct source *source, size_t index)
{
    return &source->about[index];
}

static size_t source_poll(struct source *source, size_t index, struct message *ret_messages, size_t limit,
                          enum poll_state *ret_state)
{
    struct world *world = source->world;
    unsigned number = source->queues[index];
    const struct queue *queue = &world->scenario->queues[number];
    size_t count = 0;

    *ret_state = POLL_UNREACHABLE;
    if (world->now_us < world->unreachable_us)
        return 0;
    if (!source->asked[index])
        find_position(source, index);
    size_t *position = &source->positions[index];
    if (!world->calm)
        limit = 1 + random_below(&world->random, limit);
    while (count < limit && *position < queue->count && queue->rows[*position].arrival_us <= world->now_us) {
        const struct row *row = &queue->rows[(*position)++];

        ret_messages[count++] = (struct message){.payload = span_make(row->payload, row->size),
                                                 .offset = row->offset,
                                                 .arrival_us = row->arrival_us};
    }
    world->read += count;
    if (world->queues[number].reader == source)
        world->queues[number].position = *position;
    bool ended = *position == queue->count,
         here = !ended && queue->rows[*position].arrival_us <= world->now_us;
    *ret_state = ended && source->context.once && !count ? POLL_DONE : here || count ? POLL_MORE : POLL_END;
    return count;
}

static void source_release(struct source *source, size_t index, struct message *messages, size_t count)
{
    (void)source;
    (void)index;
    (void)messages;
    (void)count;
}

void world_commit(struct world *world, const struct journal_offset *place)
{
    unsigned number = (unsigned)place->partition;
    int64_t offset = place->offset;
    struct span metadata = place->metadata;

    if (world->queues[number].metadata[0] && offset < world->queues[number].committed)
        world_fail(world, "partition %u: committed %lld after %lld", number, (long long)offset,
                   (long long)world->queues[number].committed);
    world->queues[number].committed = offset;
    snprintf(world->queues[number].metadata, sizeof world->queues[number].metadata, "%.*s",
             (int)metadata.size, metadata.size ? metadata.data : "");
    if (!metadata.size)
        snprintf(world->queues[number].metadata, sizeof world->queues[number].metadata, "-");
}

static void source_commit(struct source *source, size_t index, int64_t offset, struct span metadata)
{
    struct world *world = source->world;

    if (world->journal)
        world_fail(world, "partition %u: %lld is committed beside the transaction", source->queues[index],
                   (long long)offset);
    world_commit(world, &(struct journal_offset){.topic = "events",
                                                 .partition = (int32_t)source->queues[index],
                                                 .offset = offset,
                                                 .metadata = metadata});
}

static void source_close(struct source *source)
{
    free(source);
}

static const struct source_type source_type = {
    .name = "simulated",
    .help = "",
    .endless = source_endless,
    .open = source_open,
    .ready = source_ready,
    .advance = source_advance,
    .partition_count = source_count,
    .partition = source_partition,
    .poll = source_poll,
    .release = source_release,
    .commit = source_commit,
    .close = source_close,
};

struct piece {
    struct document document;
    char *body;
    bool applied;
};

struct sink {
    struct world *world;
    struct piece pieces[QUEUE_MAX];
    size_t count;
    uint64_t documents;
};

static enum status sink_open(const void *settings, const struct sink_context *context, struct sink **ret_sink,
                             struct error *ret_error)
{
    struct sink *sink = memory_new(sizeof *sink);

    (void)context;
    (void)ret_error;
    sink->world = (struct world *)settings;
    *ret_sink = sink;
    return STATUS_OK;
}

static bool chance(struct sink *sink, unsigned one_in)
{
    return !sink->world->calm && random_below(&sink->world->random, one_in) == 0;
}

static enum status sink_offer(struct sink *sink, const struct document *document)
{
    struct piece *piece = &sink->pieces[sink->count];

    if (sink->count == QUEUE_MAX || chance(sink, 50))
        return STATUS_RETRY;
    *piece =
        (struct piece){.document = *document, .body = memory_text(document->body.data, document->body.size)};
    piece->document.body.data = piece->body;
    sink->count++;
    return STATUS_OK;
}

static void remove_piece(struct sink *sink, size_t at)
{
    free(sink->pieces[at].body);
    sink->count--;
    memmove(&sink->pieces[at], &sink->pieces[at + 1], (sink->count - at) * sizeof *sink->pieces);
}

/* Who may have lost its tasks tells nobody anything. */
static void check_confirmed(struct sink *sink, int64_t now_us)
{
    struct world *world = sink->world;

    if (world->journal && !world->is_confirmed(world->journal, now_us))
        world_fail(world, "%.200s was told by an engine that was silent for too long", sink->pieces[0].body);
}

/* One document as the search server keeps it: made once, or replaced by a higher version. */
static void store(struct sink *sink, enum document_kind kind, struct id128 id, uint64_t version,
                  struct span body)
{
    struct world *world = sink->world;
    bool is_new;
    uint32_t slot = slots_add(&world->ids, id, &is_new);
    char *text = without_late(body);
    struct stored *stored;

    world->documents =
        memory_reserve(world->documents, &world->document_capacity, slot + 1u, sizeof *world->documents);
    stored = &world->documents[slot];
    world->delivered++;
    /* without the store, rows from before the commits are missing in buckets and runs */
    if (!is_new && !world->store_lost && version == stored->version && strcmp(text, stored->body) != 0)
        world_fail(world, "the same document twice and different: %.280s | %.280s", stored->body, text);
    if (!is_new && version <= stored->version && !world->plants.overwrites) {
        free(text);
        return;
    }
    if (!is_new)
        free(stored->body);
    *stored = (struct stored){.kind = kind, .version = version, .body = text};
}

static void apply(struct sink *sink, const struct document *document)
{
    store(sink, document->kind, document->id, document->kind == DOC_ALERT ? 0 : document->version,
          document->body);
    if (document->kind == DOC_ALERT)
        store(sink, DOC_ALERT, document->group, document->version, document->body);
}

/* Some items of a bulk are taken, some refused for now, of some the answer is lost. */
static void search_advance(struct sink *sink, int64_t now_us, bool flush, struct verdicts *verdicts)
{
    size_t most = sink->world->calm ? QUEUE_MAX : random_below(&sink->world->random, QUEUE_MAX);

    (void)flush;
    if (now_us < sink->world->search_down_us)
        return;
    for (size_t at = 0; at < sink->count && most > 0; most--) {
        struct piece *piece = &sink->pieces[at];
        const struct document *document = &piece->document;

        check_confirmed(sink, now_us);
        if (chance(sink, 12)) {
            at++;
            continue;
        }
        if (document_is_poison(sink->world->scenario, document->kind, document->id)) {
            verdicts_dead_letter(verdicts, document->ticket, document->kind, "poison", document->body);
        } else {
            apply(sink, document);
            if (chance(sink, 12)) {
                at++;
                continue;
            }
            verdicts_done(verdicts, document->ticket);
        }
        remove_piece(sink, at);
    }
}

static void lines_advance(struct sink *sink, int64_t now_us, bool flush, struct verdicts *verdicts)
{
    (void)flush;
    if (now_us < sink->world->lines_down_us)
        return;
    while (sink->count > 0 && !chance(sink, 6)) {
        char *line = without_late(sink->pieces[0].document.body);

        check_confirmed(sink, now_us);
        texts_add(&sink->world->lines, line, strlen(line));
        sink->world->delivered++;
        verdicts_done(verdicts, sink->pieces[0].document.ticket);
        remove_piece(sink, 0);
        free(line);
    }
}

/* Between sending and the answer turns may pass. */
static void pager_advance(struct sink *sink, int64_t now_us, bool flush, struct verdicts *verdicts)
{
    (void)flush;
    if (now_us < sink->world->pager_down_us)
        return;
    while (sink->count > 0) {
        struct piece *piece = &sink->pieces[0];

        if (!piece->applied) {
            check_confirmed(sink, now_us);
            texts_add(&sink->world->notes, piece->body, strlen(piece->body));
            sink->world->delivered++;
            piece->applied = true;
        }
        if (chance(sink, 3))
            return;
        verdicts_done(verdicts, piece->document.ticket);
        remove_piece(sink, 0);
    }
}

static size_t sink_pending(const struct sink *sink)
{
    return sink->count;
}

static void sink_figures(const struct sink *sink, struct sink_figures *ret_figures)
{
    *ret_figures = (struct sink_figures){.documents = sink->documents};
}

static void lines_mark(const struct sink *sink, struct buffer *out)
{
    buffer_print(out, "%zu", sink->world->lines.count);
}

static void lines_resume(struct sink *sink, struct span mark)
{
    char text[32];

    snprintf(text, sizeof text, "%.*s", (int)mark.size, mark.data);
    size_t count = strtoul(text, NULL, 10);
    if (sink->world->is_shared)
        world_fail(sink->world, "output to which other processes write is to be taken back");
    else if (count > sink->world->lines.count)
        world_fail(sink->world, "the file is to be cut at line %zu and has %zu", count,
                   sink->world->lines.count);
    else
        texts_truncate(&sink->world->lines, count);
}

static void sink_close(struct sink *sink)
{
    while (sink->count > 0)
        remove_piece(sink, sink->count - 1);
    free(sink);
}

static const struct sink_type sink_types_simulated[3] = {
    {.name = "search",
     .help = "",
     .form = SINK_DOCUMENTS,
     .open = sink_open,
     .offer = sink_offer,
     .advance = search_advance,
     .pending = sink_pending,
     .figures = sink_figures,
     .close = sink_close},
    {.name = "lines",
     .help = "",
     .form = SINK_LINES,
     .open = sink_open,
     .offer = sink_offer,
     .advance = lines_advance,
     .pending = sink_pending,
     .figures = sink_figures,
     .mark = lines_mark,
     .resume = lines_resume,
     .close = sink_close},
    {.name = "pager",
     .help = "",
     .form = SINK_LINES,
     .notifies = true,
     .open = sink_open,
     .offer = sink_offer,
     .advance = pager_advance,
     .pending = sink_pending,
     .figures = sink_figures,
     .close = sink_close},
};

void plan_take(struct plan *plan, struct world *world, struct plan_outside *ret_outside)
{
    ret_outside->source = plan->sources[0].type;
    ret_outside->source_settings = plan->sources[0].settings;
    plan->sources[0].type = &source_type;
    plan->sources[0].settings = world;
    for (unsigned i = 0; i < 3; i++) {
        ret_outside->sinks[i] = plan->sinks[i].type;
        ret_outside->sink_settings[i] = plan->sinks[i].settings;
        plan->sinks[i].type = &sink_types_simulated[i];
        plan->sinks[i].settings = world;
    }
}

void plan_give_back(struct plan *plan, const struct plan_outside *outside)
{
    plan->sources[0].type = outside->source;
    plan->sources[0].settings = outside->source_settings;
    for (unsigned i = 0; i < 3; i++) {
        plan->sinks[i].type = outside->sinks[i];
        plan->sinks[i].settings = outside->sink_settings[i];
    }
}

bool world_all_read(const struct world *world)
{
    for (unsigned i = 0; i < world->scenario->queue_count; i++)
        if (world->queues[i].position + world->scenario->live < world->scenario->queues[i].count)
            return false;
    return true;
}
