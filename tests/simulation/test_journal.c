/* The simulated broker keeps the contract of pipeline/journal.h. */
#include "base/buffer.h"
#include "base/memory.h"
#include "tests/simulation/journal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct setting {
    struct scenario scenario;
    struct world world;
    struct member members[2];
};

static void assert_text(struct span text, const char *expected)
{
    if (!span_is(text, expected))
        fail_msg("%.*s, not %s", (int)text.size, text.data, expected);
}

static struct setting *setting_new(void)
{
    struct setting *setting = memory_new(sizeof *setting);
    struct broker *broker;

    setting->scenario = (struct scenario){
        .seed = 7, .queue_count = 1, .is_cluster = true, .tasks = 2, .session_us = 10 * SIM_SECOND_US};
    world_init(&setting->world, &setting->scenario, false);
    broker = broker_new(&setting->world, &setting->scenario);
    setting->members[0] = (struct member){.broker = broker, .tasks = 3};
    setting->members[1] = (struct member){.broker = broker};
    return setting;
}

static void setting_free(struct setting *setting)
{
    assert_string_equal(setting->world.failure, "");
    broker_free(setting->members[0].broker);
    world_free(&setting->world);
    free(setting);
}

static struct journal *open_task(struct setting *setting, unsigned member, unsigned task)
{
    struct journal *journal = NULL;
    struct error error;

    assert_int_equal(journal_simulated.open(&setting->members[member], task, &journal, &error), STATUS_OK);
    return journal;
}

static enum status put(struct journal *journal, const char *key, const char *value)
{
    struct error error;

    return journal_simulated.put(
        journal, &(struct journal_entry){.key = span_of(key), .value = span_of(value)}, &error);
}

static enum status commit(struct journal *journal, unsigned target, const char *parcel, int64_t inbox_next)
{
    struct journal_parcel *copy = memory_new(sizeof *copy + strlen(parcel));
    struct error error;
    enum status status;

    *copy = (struct journal_parcel){.target = target, .size = strlen(parcel)};
    memcpy(copy->bytes, parcel, strlen(parcel));
    status = journal_simulated.commit(
        journal, &(struct journal_commit){.parcels = parcel[0] ? copy : NULL, .inbox_next = inbox_next},
        &error);
    free(copy);
    return status;
}

static enum status list_entry(void *owner, const struct journal_entry *entry, struct error *ret_error)
{
    (void)ret_error;
    buffer_print(owner, "%.*s=%.*s ", (int)entry->key.size, entry->key.data,
                 entry->value.data ? (int)entry->value.size : 4,
                 entry->value.data ? entry->value.data : "none");
    return STATUS_OK;
}

static void check_replay(struct journal *journal, const char *expected)
{
    struct buffer text;
    struct error error;

    buffer_init(&text, 4096);
    assert_int_equal(journal_simulated.replay(journal, &(struct journal_place){0}, list_entry, &text, &error),
                     STATUS_OK);
    assert_text(buffer_span(&text), expected);
    buffer_free(&text);
}

static void test_only_what_is_committed_arrives_and_in_order(void **state)
{
    struct setting *setting = setting_new();
    struct journal *sender = open_task(setting, 0, 0), *receiver = open_task(setting, 0, 1);
    struct span parcel;
    int64_t next;

    (void)state;
    journal_simulated.seek(sender, 0);
    journal_simulated.seek(receiver, 0);
    assert_int_equal(put(sender, "a", "1"), STATUS_OK);
    assert_false(journal_simulated.receive(receiver, &parcel, &next));
    assert_int_equal(commit(sender, 1, "first", 0), STATUS_OK);
    assert_int_equal(commit(sender, 1, "second", 0), STATUS_OK);
    assert_true(journal_simulated.receive(receiver, &parcel, &next));
    assert_text(parcel, "first");
    assert_int_equal(next, 1);
    assert_true(journal_simulated.receive(receiver, &parcel, &next));
    assert_text(parcel, "second");
    assert_false(broker_is_read(setting->members[0].broker));
    assert_int_equal(commit(receiver, 0, "", next), STATUS_OK);
    assert_true(broker_is_read(setting->members[0].broker));
    check_replay(sender, "a=1 ");
    journal_simulated.close(sender);
    journal_simulated.close(receiver);
    setting_free(setting);
}

static void test_who_opens_a_task_fences_the_one_before(void **state)
{
    struct setting *setting = setting_new();
    struct journal *older = open_task(setting, 0, 0), *newer;

    (void)state;
    journal_simulated.seek(older, 0);
    assert_int_equal(put(older, "kept", "1"), STATUS_OK);
    assert_int_equal(commit(older, 1, "kept", 0), STATUS_OK);
    put(older, "dropped", "1");
    setting->members[1].tasks = 1;
    newer = open_task(setting, 1, 0);
    assert_true(journal_is_lost(older) && !journal_is_lost(newer));
    assert_int_equal(commit(older, 1, "dropped", 0), STATUS_FATAL);
    assert_int_equal(put(older, "dropped", "2"), STATUS_FATAL);
    journal_simulated.seek(newer, 0);
    check_replay(newer, "kept=1 ");
    journal_simulated.close(older);
    journal_simulated.close(newer);
    setting_free(setting);
}

static void test_nobody_commits_who_has_left_the_group(void **state)
{
    struct setting *setting = setting_new();
    struct journal *journal = open_task(setting, 0, 0);
    struct error error;

    (void)state;
    journal_simulated.seek(journal, 0);
    setting->members[0].tasks = 0;
    assert_int_equal(commit(journal, 1, "parcel", 0), STATUS_FATAL);
    assert_string_equal("", setting->world.failure);
    journal_simulated.close(journal);
    assert_int_equal(journal_simulated.open(&setting->members[0], 0, &journal, &error), STATUS_RETRY);
    setting_free(setting);
}

static void test_silence_of_half_a_session_is_not_confirmed(void **state)
{
    struct setting *setting = setting_new();
    struct journal *journal = open_task(setting, 0, 0);
    int64_t begun_us = setting->world.now_us;

    (void)state;
    journal_simulated.seek(journal, 0);
    assert_true(journal_simulated.is_confirmed(journal, begun_us + 5 * SIM_SECOND_US));
    assert_false(journal_simulated.is_confirmed(journal, begun_us + 5 * SIM_SECOND_US + 1));
    setting->world.now_us += 60 * SIM_SECOND_US;
    assert_int_equal(commit(journal, 1, "", 0), STATUS_OK);
    assert_true(journal_simulated.is_confirmed(journal, setting->world.now_us));
    journal_simulated.close(journal);
    setting_free(setting);
}

static void test_an_inbox_read_on_elsewhere_fails_the_world(void **state)
{
    struct setting *setting = setting_new();
    struct journal *journal = open_task(setting, 0, 1);

    (void)state;
    journal_simulated.seek(journal, 5);
    assert_non_null(strstr(setting->world.failure, "reads its inbox on at 5 and has committed 0"));
    setting->world.failure[0] = '\0';
    journal_simulated.close(journal);
    setting_free(setting);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_what_is_committed_arrives_and_in_order),
        cmocka_unit_test(test_who_opens_a_task_fences_the_one_before),
        cmocka_unit_test(test_nobody_commits_who_has_left_the_group),
        cmocka_unit_test(test_silence_of_half_a_session_is_not_confirmed),
        cmocka_unit_test(test_an_inbox_read_on_elsewhere_fails_the_world),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
