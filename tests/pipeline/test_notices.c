/* What people are told over crashes and restarts: prompts and their lines, repetitions, withdrawals. */
#include "pipeline/notices.h"

#include "base/memory.h"
#include "tests/pipeline/deliver_rig.h"

#include <stdlib.h>
#include <unistd.h>

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

/* Five are refused again and again, more than may be on the way at a time. */
static void what_waits_for_another_attempt_holds_up_nobody(void **state)
{
    struct world *world = world_new(0, REMOTES);

    world->remotes[PAGER_LIKE].stuck = 6;
    world_start(world, 1);
    for (uint64_t number = 1; number <= 7; number++)
        tell_alert(world, number, number, true);
    for (unsigned i = 0; i < 200; i++) {
        turn(world);
        keeper_step(world->keeper, 0);
    }
    assert_int_equal(world->remotes[PAGER_LIKE].count, 2);
    world->remotes[PAGER_LIKE].stuck = 0;
    settle(world);
    assert_int_equal(world->remotes[PAGER_LIKE].count, 7);
    world_free(world);
}

static void a_prompted_line_holds_up_nobody(void **state)
{
    struct world *world = world_new(0, REMOTES);
    struct alert line = alert_of(2, 1, true), refused = alert_of(12, 2, true);

    world->remotes[PAGER_LIKE].stuck = 2;
    world_start(world, 1);
    tell_prompt(world, 1, 1);
    line.prompted = true;
    deliver_alert(world->deliver[0], &line);
    tell_alert(world, 3, 3, true);
    for (unsigned i = 0; i < 200; i++) {
        turn(world);
        keeper_step(world->keeper, 0);
    }
    assert_int_equal(world->remotes[PAGER_LIKE].count, 1);
    assert_null(fake_store_find(world->store, PAGER_LIKE + 1, line.id));
    crash(world);
    world_start(world, 1); /* nothing of it was in a cut: all is computed again */
    tell_prompt(world, 1, 1);
    deliver_alert(world->deliver[0], &line);
    world->remotes[PAGER_LIKE].stuck = 0;
    settle(world);
    assert_int_equal(world->remotes[PAGER_LIKE].count, 2);
    assert_true(fake_store_find(world->store, PAGER_LIKE + 1, line.id)->sent);
    world->remotes[PAGER_LIKE].rejecting = true;
    tell_prompt(world, 11, 2);
    refused.prompted = true;
    deliver_alert(world->deliver[0], &refused);
    settle(world); /* a refused prompt is done with as well */
    assert_true(fake_store_find(world->store, PAGER_LIKE + 1, refused.id)->sent);
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

/* Killed before the mark; another process goes on without the file, tells more, and moves away again. */
static void what_another_process_has_told_since_counts(void **state)
{
    char path[] = "/tmp/weir-test-sent-XXXXXX";
    struct world *world = world_new(0, REMOTES);
    int file = mkstemp(path);

    assert_true(file >= 0);
    world->remotes[PAGER_LIKE].speed = 100;
    world->sent_path = path;
    world_start(world, 1);
    tell_prompt(world, 90, 1);
    turn(world);
    turn(world);
    crash(world);
    world->sent_path = NULL;
    world_start(world, 1);
    tell_alert(world, 91, 1, true);
    tell_alert(world, 92, 1, false);
    settle(world);
    crash(world);
    world->sent_path = path;
    world_start(world, 1);
    deliver_withdraw(world->deliver[0], 100, open_is_none, NULL);
    settle(world);
    assert_int_equal(world->remotes[PAGER_LIKE].count, 3);
    assert_int_equal(lseek(file, 0, SEEK_END), 0);
    world_free(world);
    close(file);
    unlink(path);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_prompt_stands_for_its_line),
        cmocka_unit_test(a_prompt_is_left_over),
        cmocka_unit_test(a_prompted_line_waits_for_its_prompt),
        cmocka_unit_test(what_waits_for_another_attempt_holds_up_nobody),
        cmocka_unit_test(a_prompted_line_holds_up_nobody),
        cmocka_unit_test(what_is_not_computed_again_is_withdrawn),
        cmocka_unit_test(what_another_process_has_told_since_counts),
        cmocka_unit_test(what_is_settled_is_forgotten),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
