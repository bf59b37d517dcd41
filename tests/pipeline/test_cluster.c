/* Membership: what is refused without a broker, and all else on a real one, without which those tests are
 * skipped (exit 77). */
#include "tests/pipeline/cluster_rig.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void assert_join_refused(const char *brokers, unsigned tasks, const char *key, const char *value,
                                const char *reason)
{
    struct option_pair pair = {(char *)(uintptr_t)key, (char *)(uintptr_t)value};
    struct party party = {.plan.cluster.librdkafka = {&pair, key ? 1 : 0}};

    assert_int_equal(party_try_join(&party, brokers, tasks, "refused"), STATUS_FATAL);
    if (!strstr(party.error.text, reason))
        fail_msg("'%s' is not in: %s", reason, party.error.text);
}

static void test_refused_settings(void **state)
{
    const char *nobody = "127.0.0.1:1";

    snprintf(application, sizeof application, "two words");
    assert_join_refused(nobody, 2, NULL, NULL, "'two words' cannot be part of a topic's name");
    application[0] = '\0';
    assert_join_refused(nobody, 2, NULL, NULL, "cluster.application_id: ''");
    name_application("refused");
    assert_join_refused(nobody, 2, "sasl.passwort", "x", "librdkafka.sasl.passwort: No such configuration");
    assert_join_refused(nobody, 2, "security.protocol", "tls", "Invalid value \"tls\"");
    assert_join_refused(nobody, 2, "group.id", "x", "the key `cluster.application_id` says it");
    assert_join_refused(nobody, 2, "metadata.broker.list", "x", "the key `cluster.brokers` says it");
    assert_join_refused(nobody, 2, "session.timeout.ms", "9", "the key `cluster.session_timeout` says it");
    assert_join_refused(nobody, 2, "isolation.level", "read_uncommitted", "weir needs its own value here");
}

static void test_no_broker(void **state)
{
    struct party party = {0};

    name_application("nobody");
    assert_int_equal(party_try_join(&party, "127.0.0.1:1", 2, "one"), STATUS_RETRY);
    assert_non_null(strstr(party.error.text, "no answer from 127.0.0.1:1"));
    assert_int_equal(party.warnings, 1);
    assert_non_null(strstr(party.warning, "Connection refused"));
}

static void test_topics(void **state)
{
    struct party party;

    name_application("topics");
    party_join(&party, 4, "one");
    party_leave(&party);
    party_join(&party, 4, "one");
    party_leave(&party);
    assert_join_refused(
        real_brokers, 8, NULL, NULL,
        "-exchange' has 4 partitions, but cluster.tasks is 8: it cannot be changed while there is "
        "state; set it to 4");

    name_application("policy");
    make_topic("changelog", 2, "cleanup.policy", "delete");
    assert_join_refused(real_brokers, 2, NULL, NULL,
                        "-changelog' has cleanup.policy=delete, but needs compact");
    name_application("retention");
    make_topic("exchange", 2, "retention.ms", "1000");
    assert_join_refused(real_brokers, 2, NULL, NULL, "-exchange' has retention.ms=1000, but needs -1");
    name_application("bytes");
    make_topic("exchange", 2, "retention.ms", "-1");
    assert_join_refused(real_brokers, 2, NULL, NULL,
                        "max.message.bytes=1048588, but needs at least 16777216");
    name_application("page");
    make_topic("page", 2, "retention.ms", "3600000");
    assert_join_refused(real_brokers, 2, NULL, NULL, "-page' has 2 partitions, but needs 1: delete it");
    name_application("compact");
    make_topic("page", 1, "cleanup.policy", "compact");
    assert_join_refused(real_brokers, 2, NULL, NULL, "-page' has cleanup.policy=compact, but needs delete");
    name_application("days");
    make_topic("page", 1, "retention.ms", "86400000"); /* as one likes */
    party_join(&party, 2, "one");
    party_leave(&party);
}

static void test_session_refused(void **state)
{
    struct party party = {.session_us = 1000000};
    enum status status = STATUS_OK;

    name_application("session");
    assert_int_equal(party_try_join(&party, real_brokers, 2, "one"), STATUS_OK);
    for (int i = 0; i < 100 && status == STATUS_OK; i++)
        status = party_poll(&party, 100);
    assert_int_equal(status, STATUS_FATAL);
    assert_non_null(strstr(party.error.text, "cluster.session_timeout: 1000 ms is outside"));
    party_leave(&party);
}

/* The first is asked to release before the second has anything; what was open in the first is of no use after
 * it, even if it was not closed. */
static void test_tasks_divided(void **state)
{
    struct party first, second;
    enum status status;
    struct error error;

    name_application("divided");
    party_join(&first, 4, "first");
    party_poll_until(&first, 0xf, NULL);
    assert_int_equal(first.releases, 0);
    for (unsigned t = 0; t < 4; t++)
        commit(party_open(&first, t), NULL, 0);
    first.is_deaf = true;
    party_join(&second, 4, "second");
    while (second.tasks == 0) {
        assert_int_equal(party_poll(&second, 20), STATUS_OK);
        assert_true(second.tasks == 0 || first.releases == 1);
        if (second.tasks == 0)
            assert_int_equal(party_poll(&first, 20), STATUS_OK);
        assert_true(first.releases == 1 || first.tasks == 0xf);
    }
    party_poll_until(&first, 0xf & ~second.tasks, &second);
    assert_int_equal(__builtin_popcountll(second.tasks), 2);

    /* No transactional.id was taken yet: it is the membership that is too old. */
    for (unsigned t = 0; t < 4; t++) {
        assert_int_equal(try_commit(first.journals[t], NULL, 0, &error), STATUS_FATAL);
        assert_non_null(strstr(error.text, "is no longer this process's"));
        assert_int_equal(
            type->put(first.journals[t], &(struct journal_entry){.key = SPAN_LITERAL("k")}, &error),
            STATUS_FATAL);
    }
    party_close_journals(&first);
    assert_null(party_try_open(&first, (unsigned)__builtin_ctzll(second.tasks), &status));
    assert_int_equal(status, STATUS_RETRY);
    assert_null(party_try_open(&second, (unsigned)__builtin_ctzll(first.tasks), &status));
    assert_int_equal(status, STATUS_RETRY);
    commit(party_open(&first, (unsigned)__builtin_ctzll(first.tasks)), NULL, 0);
    commit(party_open(&second, (unsigned)__builtin_ctzll(second.tasks)), NULL, 0);
    first.is_deaf = false;

    /* Gone without a word: after the session's timeout the other has all. */
    party_leave(&second);
    assert_int_equal(second.releases, 1);
    int64_t begin_us = now_us();
    party_poll_until(&first, 0xf, NULL);
    print_message("  left: the other has its tasks after %.1f s (session %d s)\n",
                  (double)(now_us() - begin_us) / 1e6, SESSION_S);
    assert_int_equal(first.releases, 2);
    party_leave(&first);
    assert_int_equal(first.releases, 3);
}

/* A process beyond the number of tasks knows that it has none, and one that has heard nothing does not. */
static void test_spare_process(void **state)
{
    struct party first, spare;
    int64_t end_us = now_us() + PATIENCE_S * INT64_C(1000000);

    name_application("spare");
    party_join(&first, 1, "a");
    assert_false(cluster_is_assigned(first.cluster));
    party_poll_until(&first, 0x1, NULL);
    assert_true(cluster_is_assigned(first.cluster));
    party_join(&spare, 1, "b");
    assert_int_equal(party_poll(&spare, 0), STATUS_OK);
    assert_false(cluster_is_assigned(spare.cluster));
    while (!cluster_is_assigned(spare.cluster) || !cluster_is_assigned(first.cluster) ||
           first.releases == 0) {
        assert_int_equal(party_poll(&first, 20), STATUS_OK);
        assert_int_equal(party_poll(&spare, 20), STATUS_OK);
        assert_true(now_us() < end_us);
    }
    assert_int_equal(__builtin_popcountll(first.tasks | spare.tasks), 1);
    assert_int_equal(first.tasks & spare.tasks, 0);
    party_leave(&spare);
    party_leave(&first);
}

/* Within the session's timeout nobody else notices. */
static void test_restart(void **state)
{
    struct party first, second;

    name_application("restart");
    party_join(&first, 4, "first");
    party_join(&second, 4, "second");
    while (__builtin_popcountll(first.tasks) != 2 || __builtin_popcountll(second.tasks) != 2) {
        assert_int_equal(party_poll(&first, 20), STATUS_OK);
        assert_int_equal(party_poll(&second, 20), STATUS_OK);
    }
    uint64_t tasks = second.tasks;
    unsigned releases = first.releases;
    party_leave(&second);
    party_join(&second, 4, "second");
    party_poll_until(&second, tasks, &first);
    assert_int_equal(first.releases, releases);
    assert_int_equal(first.tasks, 0xf & ~tasks);
    commit(party_open(&second, (unsigned)__builtin_ctzll(tasks)), NULL, 0);
    party_leave(&second);
    party_leave(&first);
}

/* They fence each other; the first that has joined again too often gives up, and the other one has all. */
static void test_same_instance(void **state)
{
    struct party parties[2];
    int ended = 2;

    name_application("same");
    party_join_alone(&parties[0], 2);
    party_join(&parties[1], 2, "alone");
    for (int i = 0; i < 1000 && ended == 2; i++)
        for (int p = 0; p < 2 && ended == 2; p++)
            if (party_poll(&parties[p], 20) == STATUS_FATAL)
                ended = p;
    assert_true(ended < 2);
    assert_non_null(strstr(parties[ended].error.text, "another process has joined group"));
    assert_non_null(strstr(parties[ended].error.text, "as 'alone': each needs a cluster.instance"));
    assert_true(parties[ended].releases > 0);
    party_poll_until(&parties[1 - ended], 0x3, NULL);
    party_leave(&parties[0]);
    party_leave(&parties[1]);
}

int main(void)
{
    const struct CMUnitTest without_broker[] = {
        cmocka_unit_test(test_refused_settings),
    };
    const struct CMUnitTest with_broker[] = {
        cmocka_unit_test(test_no_broker),       cmocka_unit_test(test_topics),
        cmocka_unit_test(test_session_refused), cmocka_unit_test(test_tasks_divided),
        cmocka_unit_test(test_spare_process),   cmocka_unit_test(test_restart),
        cmocka_unit_test(test_same_instance),
    };
    int failures = cmocka_run_group_tests(without_broker, NULL, NULL);

    if (failures)
        return failures;
    return find_broker() ? cmocka_run_group_tests(with_broker, NULL, NULL) : SKIPPED;
}
