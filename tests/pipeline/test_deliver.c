/* Outputs with scripted sinks and a store in memory: cuts, crashes and restarts with other workers lose
 * no document, put each once into what can be taken back, and tell people once. */
#include "pipeline/deliver.h"

#include "base/memory.h"
#include "tests/pipeline/deliver_rig.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

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
        rig_seed = i;
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

/* However long the store takes; but only so many go without a mark. */
static void an_alert_does_not_wait_for_the_log(void **state)
{
    struct world *world = world_new(0, REMOTES);
    struct id128 id = {2, 7};

    world_start(world, 1);
    world->remotes[PAGER_LIKE].speed = 100;
    tell_alert(world, 7, 1, true);
    turn(world);
    turn(world);
    assert_int_equal(world->remotes[PAGER_LIKE].count, 1);
    assert_null(fake_store_find(world->store, PAGER_LIKE + 1, id));
    for (uint64_t number = 8; number < 8 + 2 * NOTICES_UNMARKED_MAX; number++)
        tell_alert(world, number, number, true);
    for (unsigned i = 0; i < 20; i++)
        turn(world);
    assert_int_equal(world->remotes[PAGER_LIKE].count, NOTICES_UNMARKED_MAX);
    settle(world);
    assert_int_equal(world->remotes[PAGER_LIKE].count, 1 + 2 * NOTICES_UNMARKED_MAX);
    assert_true(fake_store_find(world->store, PAGER_LIKE + 1, id)->sent);
    assert_int_equal(world->store->history_lines, 1 + 2 * NOTICES_UNMARKED_MAX);
    world_free(world);
}

/* Killed before the log had anything of it; and something was written half. */
static void what_was_sent_is_known_after_a_kill(void **state)
{
    char path[] = "/tmp/weir-test-sent-XXXXXX";
    struct world *world = world_new(0, REMOTES);
    int file = mkstemp(path);

    assert_true(file >= 0);
    world->sent_path = path;
    world->remotes[PAGER_LIKE].speed = 100;
    world_start(world, 1);
    tell_alert(world, 7, 1, true);
    tell_prompt(world, 90, 2);
    for (unsigned i = 0; i < 4; i++)
        turn(world);
    assert_int_equal(world->remotes[PAGER_LIKE].count, 2);
    crash(world);
    off_t size = lseek(file, 0, SEEK_END);
    char half[100];

    assert_true(size > 2 * (off_t)sizeof half);
    assert_int_equal(pread(file, half, sizeof half, 0), sizeof half);
    assert_int_equal(pwrite(file, half, sizeof half, size), sizeof half);
    world_start(world, 1);
    assert_int_equal(world->told_us[1], 7);
    assert_int_equal(world->told_us[2], 90);
    tell_alert(world, 7, 1, true);
    settle(world);
    assert_int_equal(world->remotes[PAGER_LIKE].count, 2);
    assert_true(fake_store_find(world->store, PAGER_LIKE + 1, (struct id128){2, 7})->sent);
    assert_int_equal(lseek(file, 0, SEEK_END), 0);
    world_free(world);
    close(file);
    unlink(path);
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
    deliver_batch(world->deliver[0], &batch, &origin);
    for (unsigned i = 0; i < 2 * QUEUE_MAX; i++) {
        deliver_event(world->deliver[0], &batch, 0, false, &pending);
        turn(world);
    }
    deliver_figures(world->deliver[0], &figures);
    assert_int_equal(figures.dropped_raw, QUEUE_MAX);
    world->remotes[SEARCH_LIKE].down = true;
    for (unsigned i = 0; !deliver_busy(world->deliver[0]); i++) {
        assert_true(i < 2 * QUEUE_MAX);
        deliver_event(world->deliver[0], &batch, 0, false, &pending);
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

/* What a server takes in that time is not stored; what it does not take is, and what may be taken back. */
static void a_cut_waits_a_little_for_answers(void **state)
{
    struct world *world = world_new(1u << DOC_RUN, 2);

    world_start(world, 1);
    for (unsigned i = 0; i < 2; i++)
        world->remotes[i] = (struct remote){.down = true, .speed = 100};
    tell_run(world, 0, 1);
    turn(world);
    freeze(world);
    assert_false(save(world, SIZE_MAX));
    world->remotes[SEARCH_LIKE].down = false;
    turn(world);
    while (!save(world, SIZE_MAX))
        fake_keeper_drain(world->keeper);
    assert_int_equal(world->store->document_count, 1);
    world->remotes[SEARCH_LIKE].down = true;
    tell_run(world, 0, 2);
    turn(world);
    freeze(world);
    for (unsigned turns = 0; turns < 99; turns++) {
        assert_false(save(world, SIZE_MAX));
        assert_int_equal(fake_keeper_drain(world->keeper), 0);
        turn(world);
    }
    turn(world);
    while (!save(world, SIZE_MAX))
        fake_keeper_drain(world->keeper);
    assert_int_equal(world->store->document_count, 3);
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
        cmocka_unit_test(an_alert_does_not_wait_for_the_log),
        cmocka_unit_test(what_was_sent_is_known_after_a_kill),
        cmocka_unit_test(a_refused_document_is_done_with_when_its_letter_is_stored),
        cmocka_unit_test(events_are_held_or_dropped),
        cmocka_unit_test(a_cut_waits_a_little_for_answers),
        cmocka_unit_test(broken_values_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
