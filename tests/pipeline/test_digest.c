/* When a digest is told, what it says, and which lines are not its. */
#include "pipeline/digest.h"

#include "sinks/message.h"

#include <math.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define SECOND_US INT64_C(1000000)

struct rig {
    struct outbox outbox;
    struct outbox_keys acknowledged;
    struct digest digest;
    int64_t now_us, passed_us;
    uint64_t next_id;
};

static void rig_open(struct rig *rig)
{
    *rig = (struct rig){.now_us = 10000 * SECOND_US};
    outbox_open(&rig->outbox, &(struct outbox_context){.sink = 1, .acknowledged = &rig->acknowledged});
    digest_open(&rig->digest);
}

static void rig_close(struct rig *rig)
{
    digest_close(&rig->digest);
    outbox_close(&rig->outbox);
    free(rig->acknowledged.items);
}

/* Where a line of the key goes. */
static enum digest_place tell(struct rig *rig, uint64_t key, enum alert_state state, bool late, bool prompt)
{
    struct alert alert = {.id = {.low = ++rig->next_id},
                          .episode = {.low = 100 + key},
                          .dedup = {.low = key},
                          .at_us = (int64_t)rig->next_id * SECOND_US,
                          .starts_us = 0,
                          .ends_us = TIME_NONE,
                          .state = state,
                          .severity = SEVERITY_ERROR,
                          .prompt = prompt,
                          .rule = SPAN_LITERAL("r"),
                          .score = NAN,
                          .probability = NAN,
                          .actual = NAN,
                          .expected_low = NAN,
                          .expected_high = NAN};
    struct buffer body;
    enum digest_place place;

    buffer_init(&body, 1 << 16);
    notices_pack(&alert, &body);
    outbox_push(&rig->outbox,
                &(struct outbox_document){
                    .kind = DOC_ALERT, .id = alert.id, .late = late, .body = buffer_span(&body)});
    buffer_free(&body);
    place = digest_take(&rig->digest, &rig->outbox, rig->now_us);
    if (place == DIGEST_NONE)
        outbox_acknowledge(&rig->outbox, outbox_take(&rig->outbox));
    return place;
}

static bool turn(struct rig *rig, int64_t seconds, int64_t gain_s, bool last, struct document *ret_document)
{
    rig->now_us += seconds * SECOND_US;
    rig->passed_us += gain_s * SECOND_US;
    return digest_advance(
        &rig->digest, &(struct digest_turn){.now_us = rig->now_us, .passed_us = rig->passed_us, .last = last},
        ret_document);
}

static void must_say(const struct document *document, int64_t alerts, int64_t resolved, int64_t firing)
{
    struct alert_message message;

    assert_true(message_read(document->body, &message));
    assert_true(message.is_digest);
    assert_int_equal(message.total, alerts);
    assert_int_equal(message.resolved, resolved);
    assert_int_equal(message.firing, firing);
    assert_int_equal(message.count, firing);
    message_free(&message);
}

static void finish(struct rig *rig)
{
    digest_offered(&rig->digest);
    digest_finish(&rig->digest, &rig->outbox, NULL, rig->now_us);
}

static void a_key_that_begins_late_is_told_as_a_whole(void **state)
{
    struct document document;
    struct rig rig;

    rig_open(&rig);
    assert_int_equal(tell(&rig, 1, ALERT_RESOLVED, false, false), DIGEST_NONE); /* of what was told before */
    assert_int_equal(tell(&rig, 1, ALERT_FIRING, true, false), DIGEST_HOLD);
    assert_int_equal(tell(&rig, 1, ALERT_RESOLVED, false, false), DIGEST_HOLD);
    assert_int_equal(tell(&rig, 1, ALERT_FIRING, false, false), DIGEST_HOLD);
    assert_int_equal(tell(&rig, 2, ALERT_FIRING, true, false), DIGEST_HOLD);
    assert_int_equal(tell(&rig, 2, ALERT_RESOLVED, false, false), DIGEST_HOLD);
    assert_int_equal(tell(&rig, 1, ALERT_FIRING, false, true), DIGEST_NONE); /* a prompt does not wait */
    assert_int_equal(tell(&rig, 3, ALERT_FIRING, false, false), DIGEST_NONE);
    assert_true(turn(&rig, 0, 0, true, &document));
    must_say(&document, 3, 2, 1);
    assert_int_equal(rig.outbox.documents, 5);
    finish(&rig);
    assert_int_equal(rig.outbox.documents, 0);
    assert_int_equal(tell(&rig, 1, ALERT_RESOLVED, false, false), DIGEST_NONE);
    rig_close(&rig);
}

/* Until its verdict, so that nothing overtakes it. */
static void a_key_of_the_digest_under_way_waits(void **state)
{
    struct document document;
    struct rig rig;

    rig_open(&rig);
    tell(&rig, 1, ALERT_FIRING, true, false);
    assert_true(turn(&rig, 0, 0, true, &document));
    digest_offered(&rig.digest);
    assert_false(turn(&rig, 0, 0, true, &document));
    assert_int_equal(tell(&rig, 2, ALERT_FIRING, true, false), DIGEST_HOLD); /* the next digest's */
    assert_int_equal(tell(&rig, 1, ALERT_RESOLVED, false, false), DIGEST_WAIT);
    assert_false(turn(&rig, 100, 0, true, &document));
    digest_finish(&rig.digest, &rig.outbox, NULL, rig.now_us);
    assert_int_equal(digest_take(&rig.digest, &rig.outbox, rig.now_us), DIGEST_NONE);
    assert_true(turn(&rig, 0, 0, true, &document));
    must_say(&document, 1, 0, 1);
    rig_close(&rig);
}

static unsigned seconds_to_digest(struct rig *rig, int64_t gain_s)
{
    struct document document;
    unsigned seconds = 0;

    tell(rig, 1, ALERT_FIRING, true, false);
    while (!turn(rig, 1, gain_s, false, &document))
        assert_in_range(++seconds, 0, 1000);
    finish(rig);
    return seconds;
}

static void it_waits_for_the_end_of_the_catch_up(void **state)
{
    struct rig rig;

    rig_open(&rig);
    assert_in_range(seconds_to_digest(&rig, 1), 4, 6);     /* event time goes with the clock */
    assert_in_range(seconds_to_digest(&rig, 100), 28, 31); /* it gains for long: twice as long each time */
    assert_in_range(seconds_to_digest(&rig, 100), 58, 61);
    assert_in_range(seconds_to_digest(&rig, 0), 4, 6);
    assert_in_range(seconds_to_digest(&rig, 100), 28, 31);
    rig_close(&rig);
}

static void what_is_held_is_bounded(void **state)
{
    struct document document;
    struct rig rig;
    uint64_t held = 0;

    rig_open(&rig);
    while (tell(&rig, held, ALERT_FIRING, true, false) == DIGEST_HOLD)
        assert_false(held++ > 0 && held < 4096 && turn(&rig, 0, 0, false, &document));
    assert_int_equal(held, 4096);
    assert_true(turn(&rig, 0, 0, false, &document));
    must_say(&document, 4096, 0, 4096);
    rig_close(&rig);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_that_begins_late_is_told_as_a_whole),
        cmocka_unit_test(a_key_of_the_digest_under_way_waits),
        cmocka_unit_test(it_waits_for_the_end_of_the_catch_up),
        cmocka_unit_test(what_is_held_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
