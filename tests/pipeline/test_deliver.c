/* Outputs with scripted sinks and a store in memory: cuts, crashes and restarts with other workers lose
 * no document, put each once into what can be taken back, and tell people once. */
#include "pipeline/deliver.h"
#include "pipeline/notices.h"

#include "base/memory.h"
#include "tests/pipeline/fake_store.h"
#include "tests/pipeline/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { WORKERS = 3, REMOTES = 3, QUEUE_MAX = 20 };
enum { FILE_LIKE, SEARCH_LIKE, PAGER_LIKE };

/* What stands behind a sink; outlives the process. */
struct remote {
    bool down, rejecting;
    unsigned speed; /* of 100: how often a turn finishes a document */
    struct id128 *log;
    size_t count, capacity;
    char last[4096]; /* the last body */
};

enum { TOLD_MAX = 8 };

struct queued {
    struct id128 id;
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

static uint64_t seed;

static unsigned draw(unsigned below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % below;
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
                        .ticket = document->ticket,
                        .kind = document->kind,
                        .body = memory_text(document->body.data, document->body.size)};
    return STATUS_OK;
}

static void sink_advance(struct sink *sink, int64_t now_us, bool flush, struct verdicts *verdicts)
{
    struct remote *remote = sink->remote;

    while (sink->count > 0 && !remote->down && draw(100) < remote->speed) {
        size_t place = sink->in_order ? 0 : draw((unsigned)sink->count);
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

struct value {
    struct state_key key;
    char *bytes;
    size_t size;
};

struct values {
    struct value *items;
    size_t count, capacity;
};

struct world {
    struct remote remotes[REMOTES];
    struct remote *settings[REMOTES];
    struct plan_sink sinks[REMOTES];
    struct plan plan;
    struct store *store;
    struct values values, next_values; /* of the complete cut, of the one under way */

    unsigned workers;
    struct keeper *keeper;
    _Atomic uint64_t outbox_bytes;
    struct deliver *deliver[WORKERS];
    int64_t now_us;
    struct saver saver;
    bool cutting;
    int64_t told_us[TOLD_MAX]; /* by dedup.low, of the last start */
    const char *sent_path;     /* NULL: no such file */
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

static void world_start(struct world *world, unsigned workers)
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

static struct world *world_new(unsigned kinds, unsigned sink_count)
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
static void crash(struct world *world)
{
    keeper_free(world->keeper);
    for (unsigned i = 0; i < world->workers; i++)
        deliver_close(world->deliver[i]);
    values_clear(&world->next_values);
    world->cutting = false;
}

static void world_free(struct world *world)
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

static void freeze(struct world *world)
{
    for (unsigned i = 0; i < world->workers; i++)
        deliver_freeze(world->deliver[i], &world->saver, false);
    world->cutting = true;
}

/* True when the cut has become the newest complete one. */
static bool save(struct world *world, size_t budget)
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

static void turn(struct world *world)
{
    world->now_us += 1000;
    for (unsigned i = 0; i < world->workers; i++)
        deliver_advance(world->deliver[i], world->now_us, false);
}

static void settle(struct world *world)
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

static void cut(struct world *world)
{
    freeze(world);
    while (!save(world, SIZE_MAX))
        fake_keeper_drain(world->keeper);
}

static void tell_run(struct world *world, unsigned worker, uint64_t number)
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

static struct alert alert_of(uint64_t number, uint64_t dedup, bool firing)
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

static void tell_alert(struct world *world, uint64_t number, uint64_t dedup, bool firing)
{
    struct alert alert = alert_of(number, dedup, firing);

    deliver_alert(world->deliver[0], &alert);
}

static void tell_prompt(struct world *world, uint64_t number, uint64_t dedup)
{
    struct alert alert = alert_of(number, dedup, true);

    alert.prompt = true;
    deliver_alert(world->deliver[0], &alert);
}

enum { INPUTS = 1500, ALERT_EVERY = 7 };

static void tell_input(struct world *world, uint64_t number)
{
    if (number % ALERT_EVERY == 0)
        tell_alert(world, number, number / ALERT_EVERY % 5, number / ALERT_EVERY / 5 % 2 == 0);
    else
        tell_run(world, (unsigned)(number % world->workers), number);
}

static void count_log(const struct remote *remote, unsigned *ret_counts)
{
    memset(ret_counts, 0, INPUTS * sizeof *ret_counts);
    for (size_t i = 0; i < remote->count; i++)
        ret_counts[remote->log[i].low]++;
}

/* What people may hear twice: it was sent, and the crash came before the mark. A few at a crash. `before`:
 * what was sent before the crash before. */
static void allow_unmarked(struct world *world, unsigned *before, unsigned *allowed)
{
    unsigned counts[INPUTS], unmarked = 0;

    count_log(&world->remotes[PAGER_LIKE], counts);
    for (uint64_t i = 0; i < INPUTS; i += ALERT_EVERY) {
        const struct notification *logged =
            fake_store_find(world->store, PAGER_LIKE + 1, (struct id128){2, i});
        bool is_marked = logged && logged->sent;

        allowed[i] += counts[i] && !is_marked;
        unmarked += counts[i] > before[i] && !is_marked;
    }
    assert_in_range(unmarked, 0, NOTICES_UNMARKED_MAX);
    memcpy(before, counts, sizeof counts);
}

static void assert_order(const struct remote *remote, unsigned workers)
{
    uint64_t next[WORKERS] = {0};

    for (size_t i = 0; i < remote->count; i++) {
        uint64_t number = remote->log[i].low;
        unsigned worker = number % ALERT_EVERY == 0 ? 0 : (unsigned)(number % workers);

        assert_true(number >= next[worker]);
        next[worker] = number + 1;
    }
}

/* `sent_path`: with the file that knows what was sent nothing is told twice. */
static void simulate(bool same_workers, const char *sent_path)
{
    struct world *world = world_new(1u << DOC_RUN | 1u << DOC_ALERT, REMOTES);
    unsigned before[INPUTS] = {0}, allowed[INPUTS] = {0}, counts[INPUTS], workers = 1 + draw(WORKERS);
    uint64_t at = 0, cut_at = 0, next_cut = 0;

    world->sent_path = sent_path;
    world_start(world, workers);
    cut(world);
    while (at < INPUTS || world->cutting) {
        unsigned chance = draw(1000);

        if (chance < 300 && at < INPUTS) {
            tell_input(world, at++);
        } else if (chance < 500) {
            world->now_us++;
            deliver_advance(world->deliver[draw(world->workers)], world->now_us, false);
        } else if (chance < 800) {
            keeper_step(world->keeper, 0);
        } else if (chance < 950 && world->cutting) {
            cut_at = save(world, 1 + draw(3000)) ? next_cut : cut_at;
        } else if (chance < 960 && !world->cutting) {
            freeze(world);
            next_cut = at;
        } else if (chance < 970) {
            world->remotes[draw(REMOTES)].down ^= true;
        } else if (chance < 975) {
            world->store->refusing ^= true;
        } else if (chance < 979) {
            allow_unmarked(world, before, allowed);
            crash(world);
            world_start(world, same_workers ? workers : 1 + draw(WORKERS));
            at = cut_at;
        }
    }
    for (unsigned i = 0; i < REMOTES; i++)
        world->remotes[i].down = false;
    world->store->refusing = false;
    settle(world);
    count_log(&world->remotes[FILE_LIKE], counts);
    for (unsigned i = 0; i < INPUTS; i++)
        assert_int_equal(counts[i], 1);
    if (same_workers)
        assert_order(&world->remotes[FILE_LIKE], workers);
    count_log(&world->remotes[SEARCH_LIKE], counts);
    for (unsigned i = 0; i < INPUTS; i++)
        assert_true(counts[i] >= 1);
    count_log(&world->remotes[PAGER_LIKE], counts);
    for (unsigned i = 0; i < INPUTS; i++)
        assert_in_range(counts[i], i % ALERT_EVERY == 0,
                        (i % ALERT_EVERY == 0) + (sent_path ? 0 : allowed[i]));
    cut(world);
    cut(world);
    assert_int_equal(world->store->document_count, 0);
    assert_int_equal(atomic_load(&world->outbox_bytes), 0);
    world_free(world);
}

static void nothing_is_lost_or_told_twice(void **state)
{
    char path[] = "/tmp/weir-test-sent-XXXXXX";
    int file = mkstemp(path);

    assert_true(file >= 0);
    for (uint64_t i = 0; i < 24; i++) {
        seed = i;
        simulate(i % 2 == 0, i % 3 ? path : NULL);
        assert_int_equal(lseek(file, 0, SEEK_END), 0);
    }
    close(file);
    unlink(path);
}

static void memory_is_bounded_while_a_sink_is_down(void **state)
{
    struct world *world = world_new(1u << DOC_RUN, 2);
    struct deliver_figures figures;

    world->remotes[FILE_LIKE].down = true;
    world_start(world, 1);
    for (uint64_t i = 0; i < 100000; i++) {
        tell_run(world, 0, i);
        if (i % 50 == 0) {
            turn(world);
            keeper_step(world->keeper, 0);
        }
        assert_false(deliver_busy(world->deliver[0]));
    }
    deliver_figures(world->deliver[0], &figures);
    assert_true(figures.waiting_bytes < 40u << 20);
    assert_true(figures.outbox_documents > 10000);
    world->remotes[FILE_LIKE].down = false;
    world->plan.store.outbox_bytes = 1;
    assert_true(deliver_full(world->deliver[0]));
    settle(world);
    assert_int_equal(world->remotes[FILE_LIKE].count, 100000);
    assert_false(deliver_full(world->deliver[0]));
    assert_int_equal(world->remotes[SEARCH_LIKE].count, 100000);
    for (uint64_t i = 0; i < 100000; i++)
        assert_int_equal(world->remotes[FILE_LIKE].log[i].low, i);
    world_free(world);
}

static void an_alert_is_logged_before_it_is_sent(void **state)
{
    struct world *world = world_new(0, REMOTES);
    struct id128 id = {2, 7};

    world_start(world, 1);
    world->remotes[PAGER_LIKE].speed = 100;
    tell_alert(world, 7, 1, true);
    for (unsigned i = 0; i < 10; i++)
        turn(world);
    assert_int_equal(world->remotes[PAGER_LIKE].count, 0);
    while (keeper_step(world->keeper, 0) && !fake_store_find(world->store, PAGER_LIKE + 1, id))
        ;
    assert_false(fake_store_find(world->store, PAGER_LIKE + 1, id)->sent);
    turn(world);
    turn(world);
    turn(world);
    assert_int_equal(world->remotes[PAGER_LIKE].count, 1);
    settle(world);
    assert_true(fake_store_find(world->store, PAGER_LIKE + 1, id)->sent);
    assert_int_equal(world->store->history_lines, 1);
    world_free(world);
}

static bool open_is_none(void *owner, struct id128 dedup)
{
    return false;
}

static void a_prompt_stands_for_its_line(void **state)
{
    struct world *world = world_new(1u << DOC_ALERT, REMOTES);
    struct alert alert = alert_of(1, 1, true);

    world_start(world, 1);
    tell_prompt(world, 90, 1);
    alert.prompted = true;
    deliver_alert(world->deliver[0], &alert);
    settle(world);
    assert_int_equal(world->remotes[PAGER_LIKE].count, 1);
    assert_int_equal(world->remotes[FILE_LIKE].count, 1);
    assert_int_equal(world->store->history_lines, 1);
    crash(world); /* the line counts as told, so that the prompt is used up */
    world_start(world, 1);
    assert_int_equal(world->told_us[1], 90);
    alert.prompted = false;
    deliver_alert(world->deliver[0], &alert);
    settle(world);
    assert_int_equal(world->remotes[PAGER_LIKE].count, 1);
    world_free(world);
}

/* A prompt that receivers have, after lines of its key; its time may be before theirs or after. */
static void a_prompt_is_left_over(void **state)
{
    struct world *world = world_new(0, REMOTES);

    world_start(world, 1);
    tell_prompt(world, 90, 1);
    settle(world);
    crash(world);
    world_start(world, 1);
    assert_int_equal(world->told_us[1], 90);
    tell_alert(world, 5, 2, true);
    tell_alert(world, 6, 2, false);
    tell_prompt(world, 91, 2);
    settle(world);
    crash(world);
    world_start(world, 1);
    assert_int_equal(world->told_us[2], 91);
    tell_alert(world, 5, 2, true); /* known: no newer word than the prompt */
    tell_alert(world, 6, 2, false);
    tell_alert(world, 8, 2, true); /* the line that it was told for */
    tell_alert(world, 9, 2, false);
    tell_alert(world, 10, 2, true);
    settle(world);
    assert_int_equal(world->remotes[PAGER_LIKE].count, 6);
    deliver_withdraw(world->deliver[0], 100, open_is_none, NULL);
    settle(world);
    assert_non_null(strstr(world->remotes[PAGER_LIKE].last, "\"reason\":\"withdrawn\""));
    assert_int_equal(world->remotes[PAGER_LIKE].count, 7); /* the first key */
    world_free(world);
}

/* The line is not passed over before its prompt is out: a crash would lose both. */
static void a_prompted_line_waits_for_its_prompt(void **state)
{
    struct world *world = world_new(0, REMOTES);
    struct alert alert = alert_of(1, 1, true);

    world->remotes[PAGER_LIKE].down = true;
    world_start(world, 1);
    tell_prompt(world, 90, 1);
    alert.prompted = true;
    deliver_alert(world->deliver[0], &alert);
    for (unsigned i = 0; i < 100; i++) {
        turn(world);
        keeper_step(world->keeper, 0);
    }
    assert_null(fake_store_find(world->store, PAGER_LIKE + 1, alert.id));
    world->remotes[PAGER_LIKE].down = false;
    settle(world);
    assert_true(fake_store_find(world->store, PAGER_LIKE + 1, alert.id)->sent);
    assert_int_equal(world->remotes[PAGER_LIKE].count, 1);
    world_free(world);
}

static bool open_is_two(void *owner, struct id128 dedup)
{
    return dedup.low == 2;
}

static void what_is_not_computed_again_is_withdrawn(void **state)
{
    struct world *world = world_new(0, REMOTES);

    world_start(world, 1);
    cut(world);
    for (uint64_t dedup = 1; dedup <= 4; dedup++)
        tell_alert(world, dedup, dedup, true);
    tell_alert(world, 5, 4, false);
    settle(world);
    assert_int_equal(world->remotes[PAGER_LIKE].count, 5);
    crash(world);
    world_start(world, 1);
    for (uint64_t dedup = 1; dedup <= 4; dedup++)
        assert_int_equal(world->told_us[dedup], dedup == 4 ? 5 : dedup);
    tell_alert(world, 3, 3, true); /* computed again, and not sent again */
    deliver_withdraw(world->deliver[0], 1, open_is_two, NULL);
    settle(world);
    assert_int_equal(world->remotes[PAGER_LIKE].count, 5);
    deliver_withdraw(world->deliver[0], 100, open_is_two, NULL);
    deliver_withdraw(world->deliver[0], 100, open_is_two, NULL);
    settle(world);
    assert_int_equal(world->remotes[PAGER_LIKE].count, 6);
    const char *line = world->remotes[PAGER_LIKE].last;
    assert_non_null(strstr(line, "\"state\":\"resolved\""));
    assert_non_null(strstr(line, "\"reason\":\"withdrawn\""));
    assert_non_null(strstr(line, "\"summary\":\"It is slow\""));
    crash(world);
    world_start(world, 1);
    assert_int_equal(world->told_us[1], 100);
    deliver_withdraw(world->deliver[0], 200, open_is_two, NULL);
    settle(world);
    assert_int_equal(world->remotes[PAGER_LIKE].count, 7); /* the third, and not the first again */
    world_free(world);
}

/* A turn looks at what is not settled, however long the log is. */
static void what_is_settled_is_forgotten(void **state)
{
    struct notices notices = {.told = memory_new(4 * sizeof *notices.told), .told_count = 4};

    for (uint64_t i = 0; i < 4; i++)
        notices.told[i] = (struct notices_told){
            .notification.dedup = {.low = i}, .body = memory_text("", 0), .settled = i % 2 == 1};
    assert_int_equal(notices_withdraw(&notices, 1, open_is_two, NULL)->notification.dedup.low, 0);
    assert_null(notices_withdraw(&notices, 1, open_is_two, NULL));
    assert_int_equal(notices.told_count, 1);
    assert_null(notices_find(&notices, (struct id128){.low = 3}));
    notices_find(&notices, (struct id128){.low = 2})->settled = true;
    assert_null(notices_withdraw(&notices, 1, open_is_two, NULL));
    assert_int_equal(notices.told_count, 0);
    notices_close(&notices);
}

static void a_refused_document_is_done_with_when_its_letter_is_stored(void **state)
{
    struct world *world = world_new(1u << DOC_RUN, 1);
    uint64_t pending = 0;

    world_start(world, 1);
    world->remotes[FILE_LIKE].rejecting = true;
    world->store->refusing = true;
    tell_run(world, 0, 1);
    deliver_dead_letter(world->deliver[0], &(struct dead_letter){.stage = "decode"}, &pending);
    for (unsigned i = 0; i < 20; i++) {
        turn(world);
        fake_keeper_drain(world->keeper);
    }
    assert_int_equal(pending, 1);
    assert_int_equal(deliver_pending(world->deliver[0]), 3); /* two letters, and the document of one */
    assert_false(deliver_busy(world->deliver[0]));
    for (unsigned i = 0; i < 1000; i++)
        deliver_dead_letter(world->deliver[0], &(struct dead_letter){.stage = "decode"}, &pending);
    assert_true(deliver_busy(world->deliver[0]));
    world->store->refusing = false;
    settle(world);
    assert_int_equal(pending, 0);
    assert_int_equal(world->store->letters, 1002);
    world_free(world);
}

static void events_are_held_or_dropped(void **state)
{
    struct world *world = world_new(1u << DOC_EVENT, 2);
    struct event_origin origin = {.pipeline = span_of("p")};
    struct label_names labels = {0};
    struct deliver_figures figures;
    struct event_batch batch;
    uint64_t pending = 0;

    world->sinks[FILE_LIKE].when_full = FULL_DROP_RAW;
    world->remotes[FILE_LIKE].down = true;
    world_start(world, 1);
    event_batch_init(&batch, 1, &labels);
    event_batch_add(&batch);
    batch.arrival_us[0] = TIME_NONE;
    for (unsigned i = 0; i < 2 * QUEUE_MAX; i++) {
        deliver_event(world->deliver[0], &batch, 0, &origin, false, &pending);
        turn(world);
    }
    deliver_figures(world->deliver[0], &figures);
    assert_int_equal(figures.dropped_raw, QUEUE_MAX);
    world->remotes[SEARCH_LIKE].down = true;
    for (unsigned i = 0; !deliver_busy(world->deliver[0]); i++) {
        assert_true(i < 2 * QUEUE_MAX);
        deliver_event(world->deliver[0], &batch, 0, &origin, false, &pending);
    }
    assert_int_equal(pending, deliver_pending(world->deliver[0]));
    world->remotes[FILE_LIKE].down = world->remotes[SEARCH_LIKE].down = false;
    settle(world);
    assert_int_equal(pending, 0);
    assert_int_equal(world->remotes[FILE_LIKE].count, QUEUE_MAX);
    assert_false(deliver_busy(world->deliver[0]));
    event_batch_free(&batch);
    world_free(world);
}

static void broken_values_are_refused(void **state)
{
    struct world *world = world_new(1u << DOC_RUN, 1);
    struct state_key key = {.kind = STATE_OUTLET, .owner = 1};
    struct error error;

    world_start(world, 1);
    cut(world);
    const struct value *value = &world->values.items[0];
    for (size_t size = 0; size < value->size; size++)
        assert_int_equal(deliver_restore(world->deliver[0], &key, span_make(value->bytes, size), &error),
                         STATUS_FATAL);
    value->bytes[0] = 2;
    assert_int_equal(deliver_restore(world->deliver[0], &key, span_make(value->bytes, value->size), &error),
                     STATUS_FATAL);
    value->bytes[0] = 1;
    world_free(world);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_lost_or_told_twice),
        cmocka_unit_test(memory_is_bounded_while_a_sink_is_down),
        cmocka_unit_test(an_alert_is_logged_before_it_is_sent),
        cmocka_unit_test(a_prompt_stands_for_its_line),
        cmocka_unit_test(a_prompt_is_left_over),
        cmocka_unit_test(a_prompted_line_waits_for_its_prompt),
        cmocka_unit_test(what_is_not_computed_again_is_withdrawn),
        cmocka_unit_test(what_is_settled_is_forgotten),
        cmocka_unit_test(a_refused_document_is_done_with_when_its_letter_is_stored),
        cmocka_unit_test(events_are_held_or_dropped),
        cmocka_unit_test(broken_values_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
