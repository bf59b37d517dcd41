/* The journals of a cluster's tasks, on a real broker; without one they are skipped (exit 77). Costs are
 * printed, not judged. */
#include "tests/pipeline/cluster_rig.h"

#include "base/memory.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void put(struct journal *journal, const char *key, const char *value)
{
    const struct journal_entry entry = {.key = span_of(key), .value = span_of(value)};
    struct error error;

    if (type->put(journal, &entry, &error))
        fail_msg("%s", error.text);
}

static struct journal_parcel *parcel_new(unsigned target, size_t size, int fill, struct journal_parcel *next)
{
    struct journal_parcel *parcel = memory_new(sizeof *parcel + size);

    parcel->next = next;
    parcel->target = target;
    parcel->size = size;
    memset(parcel->bytes, fill, size);
    return parcel;
}

static void free_parcels(struct journal_parcel *parcel)
{
    while (parcel) {
        struct journal_parcel *next = parcel->next;

        free(parcel);
        parcel = next;
    }
}

static void receive(struct journal *journal, struct span *bytes, int64_t *next)
{
    int64_t end_us = now_us() + PATIENCE_S * INT64_C(1000000);

    while (!type->receive(journal, bytes, next)) {
        assert_true(now_us() < end_us);
        usleep(200);
    }
}

static void assert_nothing_comes(struct journal *journal)
{
    struct span bytes;
    int64_t next;

    for (int i = 0; i < 50; i++) {
        assert_false(type->receive(journal, &bytes, &next));
        usleep(10000);
    }
}

static void delete_inbox_before(int32_t partition, int64_t offset)
{
    rd_kafka_t *client = other_client(RD_KAFKA_PRODUCER);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    char name[128];

    name_topic(name, "exchange");
    rd_kafka_topic_partition_list_add(list, name, partition)->offset = offset;
    rd_kafka_DeleteRecords_t *deletion = rd_kafka_DeleteRecords_new(list);
    rd_kafka_DeleteRecords(client, &deletion, 1, NULL, queue);
    rd_kafka_event_destroy(answer_of(queue));
    rd_kafka_DeleteRecords_destroy(deletion);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(client);
}

static int64_t inbox_begin(int32_t partition)
{
    rd_kafka_t *client = other_client(RD_KAFKA_CONSUMER);
    int64_t begin, end;
    char name[128];

    name_topic(name, "exchange");
    assert_int_equal(rd_kafka_query_watermark_offsets(client, name, partition, &begin, &end, 10000), 0);
    rd_kafka_destroy(client);
    return begin;
}

static int64_t committed(const char *topic, int32_t partition, char metadata[64])
{
    rd_kafka_t *client = other_client(RD_KAFKA_CONSUMER);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_t *entry = rd_kafka_topic_partition_list_add(list, topic, partition);

    assert_int_equal(rd_kafka_committed(client, list, 10000), RD_KAFKA_RESP_ERR_NO_ERROR);
    int64_t offset = entry->offset;
    snprintf(metadata, 64, "%.*s", (int)entry->metadata_size,
             entry->metadata ? (const char *)entry->metadata : "");
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(client);
    return offset;
}

struct pair {
    char key[16], value[16];
};

/* What a replay gives, the newest of each key; "-": removed. */
struct replayed {
    struct pair pairs[16];
    unsigned count;
    size_t entries, bytes;
};

static enum status take_entry(void *owner, const struct journal_entry *entry, struct error *ret_error)
{
    struct replayed *replayed = owner;
    unsigned i = 0;

    replayed->entries++;
    replayed->bytes += entry->value.size;
    if (entry->value.size > 15)
        return STATUS_OK;
    while (i < replayed->count && !span_is(entry->key, replayed->pairs[i].key))
        i++;
    assert_true(i < 16);
    if (i == replayed->count)
        snprintf(replayed->pairs[replayed->count++].key, 16, "%.*s", (int)entry->key.size, entry->key.data);
    snprintf(replayed->pairs[i].value, 16, "%.*s", entry->value.data ? (int)entry->value.size : 1,
             entry->value.data ? entry->value.data : "-");
    return STATUS_OK;
}

static int compare_pairs(const void *first, const void *second)
{
    return strcmp(((const struct pair *)first)->key, ((const struct pair *)second)->key);
}

static struct replayed replay(struct journal *journal)
{
    struct replayed replayed = {0};
    struct error error;

    struct journal_place place = {0};

    if (type->replay(journal, &place, take_entry, &replayed, &error))
        fail_msg("%s", error.text);
    return replayed;
}

static void assert_replayed(struct journal *journal, const char *text)
{
    struct replayed replayed = replay(journal);
    char line[768] = "";

    qsort(replayed.pairs, replayed.count, sizeof *replayed.pairs, compare_pairs);
    for (unsigned i = 0; i < replayed.count; i++)
        snprintf(line + strlen(line), sizeof line - strlen(line), "%s=%s ", replayed.pairs[i].key,
                 replayed.pairs[i].value);
    assert_string_equal(line, text);
}

static void test_parcels(void **state)
{
    struct party party;
    struct span bytes;
    int64_t next = 0, last = 0;
    char metadata[64], exchange[128], input[128];

    name_application("parcels");
    make_topic("input", 4, "cleanup.policy", "delete");
    name_topic(input, "input");
    name_topic(exchange, "exchange");
    party_join_alone(&party, 2);
    struct journal *zero = party_open(&party, 0), *one = party_open(&party, 1);
    type->seek(one, 0);
    assert_nothing_comes(one);
    struct journal_parcel *parcels = NULL;
    for (int i = 4; i >= 0; i--)
        parcels = parcel_new(1, (size_t)i * 1000, 'a' + i, parcels);
    const struct journal_offset offsets[] = {
        {.topic = input, .partition = 3, .offset = 17, .metadata = SPAN_LITERAL("watermark")},
        {.topic = input, .partition = 0, .offset = 0},
    };
    const struct journal_commit with_offsets = {
        .parcels = parcels, .offsets = offsets, .offset_count = 2, .inbox_next = 5};
    assert_int_equal(type->commit(zero, &with_offsets, &party.error), STATUS_OK);
    for (int i = 0; i < 5; i++) {
        receive(one, &bytes, &next);
        assert_int_equal(bytes.size, i * 1000);
        assert_true(i == 0 || (bytes.data[0] == 'a' + i && bytes.data[bytes.size - 1] == 'a' + i));
        assert_true(next > last);
        last = next;
    }
    assert_int_equal(next, 5);
    assert_nothing_comes(one);
    free_parcels(parcels);
    assert_int_equal(committed(input, 3, metadata), 17);
    assert_string_equal(metadata, "watermark");
    assert_int_equal(committed(input, 0, metadata), 0);
    assert_string_equal(metadata, "");
    assert_int_equal(committed(exchange, 0, metadata), 5);

    /* In the middle of a transaction, and from where another one had stopped. */
    type->close(one);
    parcels = parcel_new(1, 3, 'x', NULL);
    commit(zero, parcels, 5);
    free_parcels(parcels);
    one = party.journals[1] = party_open(&party, 1);
    type->seek(one, 3);
    for (int i = 3; i < 5; i++) {
        receive(one, &bytes, &next);
        assert_int_equal(bytes.data[0], 'a' + i);
        assert_int_equal(next, i + 1);
    }
    receive(one, &bytes, &next); /* behind the mark of the first commit */
    assert_int_equal(bytes.data[0], 'x');
    assert_int_equal(next, 7);

    party_leave(&party);
    assert_int_equal(party.warnings, 0);
}

/* Beside a look at the member, which has the partitions, but reads none of them. */
static void test_large_parcel(void **state)
{
    struct party party;
    struct span bytes;
    int64_t next;

    name_application("large");
    party_join_alone(&party, 2);
    struct journal *zero = party_open(&party, 0), *one = party_open(&party, 1);
    struct journal_parcel *parcels = parcel_new(1, 8 << 20, 'y', NULL);
    type->seek(one, 0);
    for (size_t i = 0; i < parcels->size; i++)
        parcels->bytes[i] = (char)(i * 2654435761u >> 13);
    int64_t begin_us = now_us();
    commit(zero, parcels, 0);
    receive(one, &bytes, &next);
    print_message("  a parcel of %zu bytes after %.0f ms\n", parcels->size,
                  (double)(now_us() - begin_us) / 1000);
    assert_int_equal(bytes.size, parcels->size);
    assert_memory_equal(bytes.data, parcels->bytes, parcels->size);
    free_parcels(parcels);

    rd_kafka_topic_partition_list_t *assigned;
    assert_int_equal(rd_kafka_assignment(party.cluster->member, &assigned), RD_KAFKA_RESP_ERR_NO_ERROR);
    assert_int_equal(assigned->cnt, 0);
    rd_kafka_topic_partition_list_destroy(assigned);
    for (rd_kafka_event_t *event; (event = rd_kafka_queue_poll(party.cluster->news, 100));) {
        assert_int_not_equal(rd_kafka_event_type(event), RD_KAFKA_EVENT_FETCH);
        rd_kafka_event_destroy(event);
    }
    party_leave(&party);
    assert_int_equal(party.warnings, 0);
}

static void test_replay(void **state)
{
    struct party party;

    name_application("replay");
    party_join_alone(&party, 2);
    struct journal *zero = party_open(&party, 0);
    assert_replayed(zero, "");
    put(zero, "a", "1");
    put(zero, "b", "2");
    put(zero, "c", "3");
    commit(zero, NULL, 0);
    put(zero, "a", "4");
    put(zero, "b", NULL);
    put(zero, "d", "");
    const struct journal_entry entries[] = {{SPAN_LITERAL("log1"), SPAN_LITERAL("x")},
                                            {SPAN_LITERAL("log2"), SPAN_LITERAL("y")}};
    assert_int_equal(type->append(zero, entries, 2, &party.error), STATUS_OK);
    commit(zero, NULL, 0);
    put(zero, "c", "lost");
    assert_int_equal(type->append(zero, entries, 1, &party.error), STATUS_OK);
    type->close(zero);
    zero = party.journals[0] = party_open(&party, 0);
    assert_replayed(zero, "a=4 b=- c=3 d= log1=x log2=y ");
    assert_replayed(zero, "a=4 b=- c=3 d= log1=x log2=y ");
    assert_replayed(party_open(&party, 1), "");
    party_leave(&party);
}

/* Another holder of the same task in the same generation of the group, as after a failure in one process. */
static void test_fenced(void **state)
{
    struct party party;
    struct error error;
    const struct journal_entry entry = {SPAN_LITERAL("k"), SPAN_LITERAL("v")};

    name_application("fenced");
    party_join_alone(&party, 2);
    struct journal *old = party_open(&party, 0), *one = party_open(&party, 1);
    type->seek(one, 0);
    put(old, "a", "1");
    commit(old, NULL, 0);
    put(old, "a", "2");
    put(old, "b", "2");
    usleep(100000); /* so that they are on their way */
    struct journal *new = party_open(&party, 0);
    assert_replayed(new, "a=1 ");
    struct journal_parcel *parcels = parcel_new(1, 10, 'p', NULL);
    assert_int_equal(try_commit(old, parcels, 0, &error), STATUS_FATAL);
    assert_non_null(strstr(error.text, "task 0 is no longer this process's"));
    assert_int_equal(type->put(old, &entry, &error), STATUS_FATAL);
    assert_int_equal(type->append(old, &entry, 1, &error), STATUS_FATAL);
    assert_int_equal(try_commit(old, parcels, 0, &error), STATUS_FATAL);
    assert_nothing_comes(one);
    assert_replayed(new, "a=1 ");
    commit(new, parcels, 0);
    free_parcels(parcels);
    struct span bytes;
    int64_t next;
    receive(one, &bytes, &next);
    assert_int_equal(bytes.size, 10);

    /* The appender is fenced even if it was never used. */
    struct journal *newest = party_open(&party, 0);
    assert_int_equal(type->append(new, &entry, 1, &error), STATUS_FATAL);
    assert_non_null(strstr(error.text, "task 0 is no longer this process's"));
    assert_replayed(newest, "a=1 ");
    type->close(old);
    type->close(new);
    commit(newest, NULL, 0);
    party_leave(&party);
}

static void test_big_state(void **state)
{
    enum { ENTRIES = 20000, BYTES = 10000 };
    struct party party;
    char *value = malloc(BYTES), key[32];

    name_application("big");
    party_join_alone(&party, 1);
    struct journal *journal = party_open(&party, 0);
    int64_t begin_us = now_us();
    uint64_t seed = 88172645463325252u;
    for (int i = 0; i < ENTRIES; i++) {
        for (size_t k = 0; k + 8 <= BYTES; k += 8) {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            memcpy(value + k, &seed, 8);
        }
        snprintf(key, sizeof key, "key %d", i);
        const struct journal_entry entry = {.key = span_of(key), .value = span_make(value, BYTES)};
        assert_int_equal(type->put(journal, &entry, &party.error), STATUS_OK);
    }
    commit(journal, NULL, 0);
    double put_s = (double)(now_us() - begin_us) / 1e6;
    type->close(journal);
    journal = party.journals[0] = party_open(&party, 0);
    begin_us = now_us();
    struct replayed replayed = replay(journal);
    print_message("  %d entries of %d bytes: written in %.2f s, replayed in %.2f s\n", ENTRIES, BYTES, put_s,
                  (double)(now_us() - begin_us) / 1e6);
    assert_int_equal(replayed.entries, ENTRIES);
    assert_int_equal(replayed.bytes, (size_t)ENTRIES * BYTES);
    free(value);
    party_leave(&party);
}

static void test_confirmed(void **state)
{
    struct party party;
    int64_t half_us = SESSION_S * INT64_C(500000);

    name_application("confirmed");
    party_join_alone(&party, 1);
    int64_t before_us = now_us();
    struct journal *journal = party_open(&party, 0);
    int64_t after_us = now_us();
    assert_true(type->is_confirmed(journal, after_us));
    assert_true(type->is_confirmed(journal, before_us + half_us));
    assert_false(type->is_confirmed(journal, after_us + half_us + 1));
    usleep(100000);
    before_us = now_us();
    commit(journal, NULL, 0);
    assert_true(before_us > after_us);
    assert_true(type->is_confirmed(journal, before_us + half_us));
    assert_false(type->is_confirmed(journal, now_us() + half_us + 1));
    party_leave(&party);
}

static void assert_inbox_lost(struct party *party, int64_t seek)
{
    struct journal *journal = party_open(party, 0);
    enum status status = STATUS_OK;
    struct span bytes;
    int64_t next;

    type->seek(journal, seek);
    for (int i = 0; i < 100 && status == STATUS_OK; i++) {
        assert_false(type->receive(journal, &bytes, &next));
        usleep(50000);
        status = try_commit(journal, NULL, seek, &party->error);
    }
    assert_int_equal(status, STATUS_FATAL);
    if (!strstr(party->error.text, "parcels may be lost"))
        fail_msg("%s", party->error.text);
    type->close(journal);
    party->journals[0] = NULL;
}

static void test_inbox_gap(void **state)
{
    struct party party;

    name_application("gap");
    party_join_alone(&party, 1);
    struct journal *journal = party_open(&party, 0);
    struct journal_parcel *parcels =
        parcel_new(0, 10, 'a', parcel_new(0, 10, 'b', parcel_new(0, 10, 'c', NULL)));
    commit(journal, parcels, 0);
    free_parcels(parcels);
    type->close(journal);
    delete_inbox_before(0, 2);
    assert_inbox_lost(&party, 1);
    assert_inbox_lost(&party, 100);
    struct span bytes;
    int64_t next;
    journal = party_open(&party, 0);
    type->seek(journal, 2);
    receive(journal, &bytes, &next);
    assert_int_equal(bytes.data[0], 'c');
    type->close(journal);
    journal = party.journals[0] = party_open(&party, 0);
    type->seek(journal, 0);
    receive(journal, &bytes, &next);
    assert_int_equal(next, 3);
    party_leave(&party);
}

static void signal_broker(const char *data, int number)
{
    char path[512], text[16] = "";

    snprintf(path, sizeof path, "%s/pid", data);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(text, sizeof text, file));
    fclose(file);
    assert_true(strtol(text, NULL, 10) > 1);
    assert_int_equal(kill((pid_t)strtol(text, NULL, 10), number), 0);
}

/* A broker that is frozen for less than a session: the commit that waits for it succeeds. */
static void test_outage(void **state)
{
    const char *data = getenv("KAFKA_DATA");
    struct party party;
    pid_t child;

    if (!data)
        skip();
    name_application("outage");
    party_join_alone(&party, 1);
    struct journal *journal = party_open(&party, 0);
    put(journal, "a", "1");
    commit(journal, NULL, 0);
    signal_broker(data, SIGSTOP);
    child = fork();
    if (child == 0) {
        sleep(3);
        signal_broker(data, SIGCONT);
        _exit(0);
    }
    int64_t begin_us = now_us();
    put(journal, "a", "2");
    commit(journal, NULL, 0);
    assert_true(now_us() - begin_us > 2500000);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_replayed(journal, "a=2 ");
    party_leave(&party);
}

static double cpu_s(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* Eight tasks that have nothing to do but to look into their inboxes, for longer than a session and than the
 * interval of purges; then what a commit takes. */
static void test_costs(void **state)
{
    enum { IDLE_S = 32, COMMITS = 100 };
    struct party party;
    struct span bytes;
    int64_t next[TASKS_MAX] = {0}, commit_us = 0, latency_us = 0, purged = 0;

    name_application("costs");
    party_join_alone(&party, TASKS_MAX);
    int64_t begin_us = now_us();
    for (unsigned t = 0; t < TASKS_MAX; t++)
        party_open(&party, t);
    print_message("  %d journals opened in %.2f s\n", TASKS_MAX, (double)(now_us() - begin_us) / 1e6);
    for (unsigned t = 0; t < TASKS_MAX; t++)
        type->seek(party.journals[t], 0);
    double begin_cpu_s = cpu_s();
    for (begin_us = now_us(); now_us() - begin_us < IDLE_S * INT64_C(1000000);) {
        assert_int_equal(party_poll(&party, 100), STATUS_OK);
        assert_int_equal(party.tasks, 0xff);
        for (unsigned t = 0; t < TASKS_MAX; t++)
            assert_false(type->receive(party.journals[t], &bytes, &next[t]));
    }
    print_message("  %d idle journals: %.2f %% of a core\n", TASKS_MAX,
                  (cpu_s() - begin_cpu_s) / IDLE_S * 100);
    assert_int_equal(party.releases, 0);

    begin_cpu_s = cpu_s();
    for (int i = 0; i < COMMITS; i++) {
        unsigned from = (unsigned)i % TASKS_MAX, to = (from + 1) % TASKS_MAX;
        struct journal_parcel *parcels = parcel_new(to, 100, i, NULL);

        begin_us = now_us();
        put(party.journals[from], "k", "v");
        commit(party.journals[from], parcels, next[from]);
        commit_us += now_us() - begin_us;
        receive(party.journals[to], &bytes, &next[to]);
        latency_us += now_us() - begin_us;
        assert_int_equal((unsigned char)bytes.data[0], i);
        free_parcels(parcels);
    }
    print_message("  a commit of one entry and one parcel: %.1f ms, received after %.1f ms, %.2f ms of "
                  "processor time\n",
                  (double)commit_us / COMMITS / 1000, (double)latency_us / COMMITS / 1000,
                  (cpu_s() - begin_cpu_s) / COMMITS * 1000);
    begin_us = now_us();
    for (int i = 0; i < COMMITS; i++)
        commit(party.journals[i % TASKS_MAX], NULL, next[i % TASKS_MAX]);
    print_message("  an empty commit: %.1f ms\n", (double)(now_us() - begin_us) / COMMITS / 1000);
    begin_us = now_us();
    for (int i = 0; i < COMMITS; i++)
        commit(party.journals[0], NULL, next[0]);
    print_message("  one after the other by the same task: %.1f ms\n",
                  (double)(now_us() - begin_us) / COMMITS / 1000);

    /* What was taken before is deleted, the interval being over. */
    for (int i = 0; i < 40 && purged == 0; i++) {
        for (unsigned t = 0; t < TASKS_MAX; t++)
            commit(party.journals[t], NULL, next[t]);
        assert_int_equal(party_poll(&party, 1000), STATUS_OK);
        purged = inbox_begin(0);
    }
    assert_in_range(purged, 1, next[0]);
    party_leave(&party);
    assert_int_equal(party.warnings, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parcels),   cmocka_unit_test(test_large_parcel),
        cmocka_unit_test(test_replay),    cmocka_unit_test(test_fenced),
        cmocka_unit_test(test_big_state), cmocka_unit_test(test_confirmed),
        cmocka_unit_test(test_inbox_gap), cmocka_unit_test(test_outage),
        cmocka_unit_test(test_costs),
    };

    return find_broker() ? cmocka_run_group_tests(tests, NULL, NULL) : SKIPPED;
}
