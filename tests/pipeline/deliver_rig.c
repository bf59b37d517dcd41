#include "tests/pipeline/deliver_rig.h"

#include "base/memory.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct queued {
    struct id128 id, group;
    uint64_t ticket;
    enum document_kind kind;
    char *body;
};

struct sink {
    struct remote *remote;
    bool in_order;
    struct queued queue[QUEUE_MAX];
    size_t count;
};

uint64_t rig_seed;

unsigned draw(unsigned below)
{
    rig_seed = rig_seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(rig_seed >> 33) % below;
}

static enum status sink_open(const void *settings, const struct sink_context *context, struct sink **ret_sink,
                             struct error *ret_error)
{
    *ret_sink = memory_new(sizeof **ret_sink);
    (*ret_sink)->remote = *(struct remote *const *)settings;
    return STATUS_OK;
}

static enum status file_open(const void *settings, const struct sink_context *context, struct sink **ret_sink,
                             struct error *ret_error)
{
    sink_open(settings, context, ret_sink, ret_error);
    (*ret_sink)->in_order = true;
    return STATUS_OK;
}

static enum status sink_offer(struct sink *sink, const struct document *document)
{
    if (sink->count == QUEUE_MAX)
        return STATUS_RETRY;
    sink->queue[sink->count++] =
        (struct queued){.id = document->id,
                        .group = document->group,
                        .ticket = document->ticket,
                        .kind = document->kind,
                        .body = memory_text(document->body.data, document->body.size)};
    return STATUS_OK;
}

static bool is_stuck(const struct remote *remote, const struct queued *queued)
{
    return queued->kind == DOC_ALERT && queued->id.low < remote->stuck;
}

/* A group keeps its order. */
static size_t first_of_group(const struct sink *sink, size_t place)
{
    struct id128 group = sink->queue[place].group;

    for (size_t i = 0; i < place && !id_equal(group, (struct id128){0}); i++)
        if (id_equal(sink->queue[i].group, group))
            return i;
    return place;
}

static void sink_advance(struct sink *sink, int64_t now_us, bool flush, struct verdicts *verdicts)
{
    struct remote *remote = sink->remote;

    while (sink->count > 0 && !remote->down && draw(100) < remote->speed) {
        size_t place = sink->in_order ? 0 : first_of_group(sink, draw((unsigned)sink->count));

        if (is_stuck(remote, &sink->queue[place]))
            break;
        struct queued done = sink->queue[place];

        memmove(&sink->queue[place], &sink->queue[place + 1], (--sink->count - place) * sizeof done);
        if (remote->rejecting) {
            verdicts_dead_letter(verdicts, done.ticket, done.kind, "refused", span_of(done.body));
        } else {
            remote->log =
                memory_reserve(remote->log, &remote->capacity, remote->count + 1, sizeof *remote->log);
            remote->log[remote->count++] = done.id;
            snprintf(remote->last, sizeof remote->last, "%s", done.body);
            verdicts_done(verdicts, done.ticket);
        }
        free(done.body);
    }
}

static size_t sink_pending(const struct sink *sink)
{
    return sink->count;
}

static void sink_figures(const struct sink *sink, struct sink_figures *ret_figures)
{
    *ret_figures = (struct sink_figures){0};
    for (size_t i = 0; i < sink->count; i++)
        ret_figures->waiting_alerts += is_stuck(sink->remote, &sink->queue[i]);
}

static void file_mark(const struct sink *sink, struct buffer *out)
{
    pack_u64(out, sink->remote->count);
}

static void file_resume(struct sink *sink, struct span mark)
{
    struct unpack in = unpack_begin(mark);

    sink->remote->count = unpack_u64(&in);
}

static void sink_close(struct sink *sink)
{
    for (size_t i = 0; i < sink->count; i++)
        free(sink->queue[i].body);
    free(sink);
}

#define FAKE(open_call)                                                                                      \
    .open = open_call, .offer = sink_offer, .advance = sink_advance, .pending = sink_pending,                \
    .figures = sink_figures, .close = sink_close
static const struct sink_type types[REMOTES] = {
    {.name = "f", .form = SINK_LINES, .mark = file_mark, .resume = file_resume, FAKE(file_open)},
    {.name = "s", .form = SINK_DOCUMENTS, FAKE(sink_open)},
    {.name = "p", .form = SINK_LINES, .notifies = true, FAKE(sink_open)},
};

static void values_put(void *owner, const struct state_key *key, struct span bytes)
{
    struct values *values = &((struct world *)owner)->next_values;

    values->items =
        memory_reserve(values->items, &values->capacity, values->count + 1, sizeof *values->items);
    values->items[values->count++] = (struct value){*key, memory_text(bytes.data, bytes.size), bytes.size};
}

static void values_clear(struct values *values)
{
    for (size_t i = 0; i < values->count; i++)
        free(values->items[i].bytes);
    values->count = 0;
}

static void told(void *owner, struct id128 dedup, int64_t known_us)
{
    struct world *world = owner;

    assert_in_range(dedup.low, 0, TOLD_MAX - 1);
    world->told_us[dedup.low] = known_us;
}

void world_start(struct world *world, unsigned workers)
{
    struct error error;

    world->workers = workers;
    memset(world->told_us, 0, sizeof world->told_us);
    atomic_store(&world->outbox_bytes, 0);
    world->keeper = keeper_new(
        &(struct keeper_stores){.store = world->store, .dead_letters = (struct dead_letters *)world->store},
        NULL, NULL);
    for (unsigned i = 0; i < workers; i++) {
        struct deliver_context context = {.plan = &world->plan,
                                          .worker = i,
                                          .keeper = world->keeper,
                                          .sent_path = i == 0 ? world->sent_path : NULL,
                                          .outbox_bytes = &world->outbox_bytes};

        assert_int_equal(deliver_open(&context, &world->deliver[i], &error), STATUS_OK);
        for (size_t k = 0; k < world->values.count; k++) {
            const struct value *value = &world->values.items[k];

            assert_int_equal(
                deliver_restore(world->deliver[i], &value->key, span_make(value->bytes, value->size), &error),
                STATUS_OK);
        }
        assert_int_equal(deliver_restored(world->deliver[i], world->store, workers, told, world, &error),
                         STATUS_OK);
    }
}

struct world *world_new(unsigned kinds, unsigned sink_count)
{
    struct world *world = memory_new(sizeof *world);
    static const char *const names[] = {"file", "search", "pager"};

    for (unsigned i = 0; i < REMOTES; i++) {
        world->remotes[i].speed = 90;
        world->settings[i] = &world->remotes[i];
        world->sinks[i] = (struct plan_sink){.name = memory_text(names[i], strlen(names[i])),
                                             .type = &types[i],
                                             .settings = &world->settings[i],
                                             .identity = i + 1,
                                             .kinds = i == PAGER_LIKE ? 1u << DOC_ALERT : kinds};
    }
    world->plan = (struct plan){
        .name = span_of("p"), .sinks = world->sinks, .sink_count = sink_count, .store.outbox_bytes = 1 << 30};
    world->store = fake_store_new();
    world->saver = (struct saver){.put = values_put, .owner = world};
    buffer_init(&world->saver.bytes, 1 << 20);
    return world;
}

/* As a kill does it: nothing is finished. */
void crash(struct world *world)
{
    keeper_free(world->keeper);
    for (unsigned i = 0; i < world->workers; i++)
        deliver_close(world->deliver[i]);
    values_clear(&world->next_values);
    world->cutting = false;
}

void world_free(struct world *world)
{
    crash(world);
    for (unsigned i = 0; i < REMOTES; i++) {
        free(world->sinks[i].name);
        free(world->remotes[i].log);
    }
    values_clear(&world->values);
    free(world->values.items);
    free(world->next_values.items);
    buffer_free(&world->saver.bytes);
    fake_store_free(world->store);
    free(world);
}

void freeze(struct world *world)
{
    for (unsigned i = 0; i < world->workers; i++)
        deliver_freeze(world->deliver[i], &world->saver, false);
    world->cutting = true;
}

/* True when the cut has become the newest complete one. */
bool save(struct world *world, size_t budget)
{
    struct outbox_key *keys = NULL;
    size_t count = 0, capacity = 0;
    bool saved = true;

    for (unsigned i = 0; i < world->workers; i++)
        saved &= deliver_save(world->deliver[i], budget);
    if (!saved)
        return false;
    for (unsigned i = 0; i < world->workers; i++) {
        deliver_take_acknowledged(world->deliver[i], &keys, &count, &capacity);
        fake_store_remove(world->store, keys, count);
    }
    free(keys);
    for (size_t i = 0; i < world->values.count; i++) { /* older values of other keys stay */
        struct value *value = &world->values.items[i];
        bool replaced = false;

        for (size_t k = 0; k < world->next_values.count; k++)
            replaced |= memcmp(&world->next_values.items[k].key, &value->key, sizeof value->key) == 0;
        if (!replaced)
            values_put(world, &value->key, span_make(value->bytes, value->size));
    }
    values_clear(&world->values);
    free(world->values.items);
    world->values = world->next_values;
    world->next_values = (struct values){0};
    world->cutting = false;
    return true;
}

void turn(struct world *world)
{
    world->now_us += 1000;
    for (unsigned i = 0; i < world->workers; i++)
        deliver_advance(world->deliver[i], world->now_us, false);
}

void settle(struct world *world)
{
    size_t pending = 1;

    for (unsigned turns = 0; pending > 0; turns++) {
        assert_true(turns < 100000);
        turn(world);
        fake_keeper_drain(world->keeper);
        pending = 0;
        for (unsigned i = 0; i < world->workers; i++)
            pending += deliver_pending(world->deliver[i]);
    }
    turn(world);
    fake_keeper_drain(world->keeper);
}

void cut(struct world *world)
{
    freeze(world);
    while (!save(world, SIZE_MAX))
        fake_keeper_drain(world->keeper);
}

void tell_run(struct world *world, unsigned worker, uint64_t number)
{
    struct run_record run = {.id = {1, number},
                             .version = 1,
                             .scheduled_us = TIME_NONE,
                             .queued_us = TIME_NONE,
                             .started_us = TIME_NONE,
                             .ended_us = TIME_NONE,
                             .duration_ms = NAN,
                             .queue_wait_ms = NAN,
                             .late_by_ms = NAN,
                             .map_index = INT32_MIN,
                             .workflow = span_of("w")};

    deliver_run(world->deliver[worker], &run);
}

struct alert alert_of(uint64_t number, uint64_t dedup, bool firing)
{
    return (struct alert){.id = {2, number},
                          .episode = {4, number},
                          .dedup = {3, dedup},
                          .at_us = (int64_t)number,
                          .starts_us = (int64_t)number,
                          .ends_us = firing ? TIME_NONE : (int64_t)number,
                          .state = firing ? ALERT_FIRING : ALERT_RESOLVED,
                          .rule = span_of("slow"),
                          .summary = span_of("It is slow"),
                          .labels = {{span_of("workflow"), span_of("w")}},
                          .label_count = 1,
                          .score = NAN,
                          .probability = NAN,
                          .actual = 12,
                          .expected_low = NAN,
                          .expected_high = 10};
}

void tell_alert(struct world *world, uint64_t number, uint64_t dedup, bool firing)
{
    struct alert alert = alert_of(number, dedup, firing);

    deliver_alert(world->deliver[0], &alert);
}

void tell_prompt(struct world *world, uint64_t number, uint64_t dedup)
{
    struct alert alert = alert_of(number, dedup, true);

    alert.prompt = true;
    deliver_alert(world->deliver[0], &alert);
}
