/* Recorded messages: the line form with any bytes, and the source over folders of them: partitions, workers,
 * several files, where to read on, and what is wrong with a file. */
#include "base/memory.h"
#include "ingest/envelope.h"
#include "tests/base/random.h"
#include "tests/ingest/support.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zstd.h>

struct recorded_settings { /* as in recorded.c */
    char *path;
};

static void any_payload_comes_back(void **state)
{
    uint64_t seed = 4;
    struct buffer line, texts;

    buffer_init(&line, 1 << 20);
    buffer_init(&texts, 1 << 20);
    for (int round = 0; round < 5000; round++) {
        char bytes[40];
        struct envelope read,
            wrote = {.source = SPAN_LITERAL("s \"1\""),
                     .topic = SPAN_LITERAL("t"),
                     .partition = 7,
                     .offset = INT64_MAX - round,
                     .arrival_us = round % 3 ? 1700000000123000 + round * INT64_C(1000) : TIME_NONE,
                     .payload = {bytes, (uint32_t)random_below(&seed, sizeof bytes)}};

        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (char)(random_next(&seed) % (round % 2 ? 256 : 128));
        buffer_clear(&line);
        envelope_write(&wrote, &line);
        assert_true(envelope_read(buffer_span(&line), &texts, &read));
        assert_true(span_equal(read.payload, wrote.payload));
        assert_true(span_equal(read.source, wrote.source) && span_equal(read.topic, wrote.topic));
        assert_true(read.partition == 7 && read.offset == wrote.offset &&
                    read.arrival_us == wrote.arrival_us);
        buffer_clear(&texts);
    }
    buffer_free(&line);
    buffer_free(&texts);
}

static void other_lines_are_refused(void **state)
{
    static const char *const lines[] = {
        "",
        "{}",
        "[1]",
        "\"x\"",
        "{\"source\":\"s\",\"topic\":\"t\",\"partition\":0,\"offset\":1}",
        "{\"source\":\"s\",\"topic\":\"t\",\"partition\":-1,\"offset\":1,\"payload\":\"\"}",
        "{\"source\":\"s\",\"topic\":\"t\",\"partition\":0,\"offset\":1.5,\"payload\":\"\"}",
        "{\"source\":\"s\",\"topic\":\"t\",\"partition\":0,\"offset\":1,\"payload\":\"\",\"payload_base64\":"
        "\"\"}",
        "{\"source\":\"s\",\"topic\":\"t\",\"partition\":0,\"offset\":1,\"payload_base64\":\"abc\"}",
        "{\"source\":\"s\",\"topic\":\"t\",\"partition\":0,\"offset\":1,\"payload_base64\":\"ab!=\"}",
        "{\"source\":\"s\",\"topic\":\"t\",\"partition\":0,\"offset\":1,\"time\":\"soon\",\"payload\":\"\"}",
        "{\"source\":\"s\",\"topic\":\"t\",\"partition\":0,\"offset\":1,\"payload\":\"\"",
    };
    struct envelope read;
    struct buffer texts;

    buffer_init(&texts, 1 << 20);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        assert_false(envelope_read(span_of(lines[i]), &texts, &read));
        assert_int_equal(texts.size, 0);
    }
    buffer_free(&texts);
}

struct rig_folder {
    char path[64];
    char warning[512];
    unsigned warnings;
};

static void open_folder(struct rig_folder *folder)
{
    *folder = (struct rig_folder){.path = "/tmp/weir_test_recorded_XXXXXX"};
    assert_non_null(mkdtemp(folder->path));
}

static void remove_folder(struct rig_folder *folder)
{
    DIR *listing = opendir(folder->path);
    char path[512];

    for (struct dirent *entry; (entry = readdir(listing));) {
        snprintf(path, sizeof path, "%s/%s", folder->path, entry->d_name);
        unlink(path);
    }
    closedir(listing);
    rmdir(folder->path);
}

static void write_bytes(const struct rig_folder *folder, const char *name, const char *data, size_t size)
{
    char path[512];

    snprintf(path, sizeof path, "%s/%s", folder->path, name);
    FILE *file = fopen(path, "w");
    assert_int_equal(fwrite(data, 1, size, file), size);
    fclose(file);
}

/* Messages "TOPIC/PARTITION/OFFSET" of a source, cut off by `lost` bytes. */
static void write_recording(const struct rig_folder *folder, const char *name, const char *source,
                            const char *topic, int32_t partition, int64_t from, int64_t to, size_t lost)
{
    struct buffer lines;
    char payload[100], packed[1 << 16];

    buffer_init(&lines, 1 << 20);
    for (int64_t offset = from; offset < to; offset++) {
        snprintf(payload, sizeof payload, "%s/%d/%lld", topic, partition, (long long)offset);
        envelope_write(&(struct envelope){.source = span_of(source),
                                          .topic = span_of(topic),
                                          .partition = partition,
                                          .offset = offset,
                                          .arrival_us = offset * 1000,
                                          .payload = span_of(payload)},
                       &lines);
        buffer_put_char(&lines, '\n');
    }
    size_t size = ZSTD_compress(packed, sizeof packed, lines.data, lines.size, 1);
    write_bytes(folder, name, packed, size - lost);
    buffer_free(&lines);
}

static void take_warning(void *owner, const char *text)
{
    struct rig_folder *folder = owner;

    folder->warnings++;
    snprintf(folder->warning, sizeof folder->warning, "%s", text);
}

static int64_t resume_at = OFFSET_NONE;

static int64_t resume(void *owner, const char *topic, int32_t partition, bool can_repeat)
{
    assert_true(can_repeat);
    return resume_at;
}

static struct source *open_source(struct rig_folder *folder, unsigned worker, unsigned workers)
{
    const struct source_type *type = source_type_find("recorded");
    static struct recorded_settings settings;
    struct source_context context = {.name = "s",
                                     .worker = worker,
                                     .workers = workers,
                                     .warn = take_warning,
                                     .owner = folder,
                                     .resume = resume};
    struct source *source;
    struct error error;

    settings.path = folder->path;
    if (type->open(&settings, &context, &source, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    while (!type->ready(source))
        type->advance(source, 0);
    return source;
}

/* All messages of a partition, which must be those from `from` to before `to`. */
static void check_partition(struct source *source, size_t index, const char *topic, int32_t number,
                            int64_t from, int64_t to)
{
    const struct source_type *type = source_type_find("recorded");
    const struct source_partition *about = type->partition(source, index);
    struct message messages[7];
    enum poll_state state;
    char payload[100];

    assert_string_equal(about->topic, topic);
    assert_int_equal(about->partition, number);
    do {
        size_t count = type->poll(source, index, messages, 7, &state);

        for (size_t i = 0; i < count; i++, from++) {
            snprintf(payload, sizeof payload, "%s/%d/%lld", topic, number, (long long)from);
            assert_true(span_is(messages[i].payload, payload));
            assert_int_equal(messages[i].offset, from);
            assert_int_equal(messages[i].arrival_us, from * 1000);
        }
        type->release(source, index, messages, count);
    } while (state != POLL_DONE);
    assert_int_equal(from, to);
}

static void partitions_are_what_they_were(void **state)
{
    const struct source_type *type = source_type_find("recorded");
    struct rig_folder folder;

    open_folder(&folder);
    write_recording(&folder, "z", "s", "a", 0, 10, 100, 0);
    write_recording(&folder, "y", "s", "a", 0, 100, 300, 0); /* the names do not tell */
    write_recording(&folder, "x", "s", "a", 10, 5, 6, 0);
    write_recording(&folder, "w", "s", "b", 1, 0, 50, 0);
    write_recording(&folder, "v", "other", "a", 0, 0, 50, 0);
    write_bytes(&folder, "README", "not one\n", 8);
    struct source *first = open_source(&folder, 0, 2), *second = open_source(&folder, 1, 2);
    assert_int_equal(type->partition_count(first), 2);
    assert_int_equal(type->partition_count(second), 1);
    check_partition(first, 0, "a", 0, 10, 300);
    check_partition(first, 1, "b", 1, 0, 50);
    check_partition(second, 0, "a", 10, 5, 6);
    type->close(first);
    type->close(second);
    resume_at = 250;
    first = open_source(&folder, 0, 1);
    check_partition(first, 0, "a", 0, 250, 300);
    type->close(first);
    resume_at = OFFSET_NONE;
    assert_int_equal(folder.warnings, 0);
    remove_folder(&folder);
}

/* Two recordings of one live topic, made half an hour apart, both from an hour before. */
static void what_overlaps_is_read_once(void **state)
{
    const struct source_type *type = source_type_find("recorded");
    struct rig_folder folder;

    open_folder(&folder);
    write_recording(&folder, "a", "s", "a", 0, 10, 100, 0);
    write_recording(&folder, "b", "s", "a", 0, 50, 150, 0);
    write_recording(&folder, "c", "s", "a", 0, 60, 70, 0);
    write_recording(&folder, "d", "s", "a", 0, 149, 160, 0);
    struct source *source = open_source(&folder, 0, 1);
    check_partition(source, 0, "a", 0, 10, 160);
    type->close(source);
    remove_folder(&folder);
}

static void a_folder_without_the_source_is_refused(void **state)
{
    const struct source_type *type = source_type_find("recorded");
    const struct source_context context = {.name = "s", .workers = 1};
    struct rig_folder folder;
    struct source *source;
    struct error error;

    open_folder(&folder);
    const struct recorded_settings settings = {.path = folder.path};
    write_recording(&folder, "a", "orders", "a", 0, 0, 1, 0);
    write_recording(&folder, "b", "orders", "a", 1, 0, 1, 0);
    assert_int_equal(type->open(&settings, &context, &source, &error), STATUS_FATAL);
    assert_non_null(strstr(error.text, ": nothing of source 's', only of 'orders'"));
    assert_null(strstr(error.text, "'orders', 'orders'"));
    remove_folder(&folder);
}

static void what_is_broken_is_told_and_the_rest_read(void **state)
{
    const struct source_type *type = source_type_find("recorded");
    const struct recorded_settings nowhere = {.path = "/nowhere"};
    const struct source_context context = {.name = "s", .workers = 1};
    struct rig_folder folder;
    struct source *source;
    struct error error;

    open_folder(&folder);
    const struct recorded_settings empty = {.path = folder.path};
    assert_int_equal(type->open(&nowhere, &context, &source, &error), STATUS_FATAL);
    assert_int_equal(type->open(&empty, &context, &source, &error), STATUS_FATAL);
    assert_non_null(strstr(error.text, "weir record"));

    static const char plain[] =
        "{\"source\":\"s\",\"topic\":\"a\",\"partition\":0,\"offset\":0,\"time\":\"1970-01-01T00:00:00Z\","
        "\"payload\":\"a/0/0\"}\n{\"half\n"
        "{\"source\":\"s\",\"topic\":\"a\",\"partition\":0,\"offset\":1,\"time\":\"1970-01-01T00:00:00."
        "001Z\","
        "\"payload\":\"a/0/1\"}\n";
    write_bytes(&folder, "plain", plain, sizeof plain - 1);
    source = open_source(&folder, 0, 1);
    check_partition(source, 0, "a", 0, 0, 2);
    assert_int_equal(folder.warnings, 1);
    assert_non_null(strstr(folder.warning, "/plain: line 2: is no recorded message"));
    type->close(source);
    remove_folder(&folder);

    open_folder(&folder);
    write_recording(&folder, "cut", "s", "a", 0, 0, 1, 3);
    write_recording(&folder, "whole", "s", "b", 0, 0, 9, 0);
    source = open_source(&folder, 0, 1); /* nothing of the cut frame can be read */
    assert_int_equal(type->partition_count(source), 1);
    check_partition(source, 0, "b", 0, 0, 9);
    type->close(source);
    remove_folder(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_payload_comes_back),
        cmocka_unit_test(other_lines_are_refused),
        cmocka_unit_test(partitions_are_what_they_were),
        cmocka_unit_test(what_overlaps_is_read_once),
        cmocka_unit_test(a_folder_without_the_source_is_refused),
        cmocka_unit_test(what_is_broken_is_told_and_the_rest_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
