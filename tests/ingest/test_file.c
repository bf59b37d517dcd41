/* The file and stdin sources: lines against a naive split of the same bytes, under many sizes of line
 * and of poll, plain and zstd; what ends a file early; and that standard input never blocks. */
#include "tests/base/random.h"
#include "tests/ingest/support.h"

#include "base/memory.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zstd.h>

struct file_settings { /* as in file.c */
    char *path, *arrivals;
    bool follow;
};

enum { FILES_MAX = 2 };

static char paths[FILES_MAX][64];

/* Writes a file of its own for the test; `parts` zstd frames, 0 for a plain one. */
static char *write_file(unsigned number, const void *data, size_t size, unsigned parts)
{
    snprintf(paths[number], sizeof paths[number], "/tmp/weir_test_file_XXXXXX");
    int descriptor = mkstemp(paths[number]);
    assert_true(descriptor >= 0);
    if (parts == 0)
        assert_int_equal(write(descriptor, data, size), (ssize_t)size);
    for (unsigned i = 0; i < parts; i++) {
        size_t start = size * i / parts, part = size * (i + 1) / parts - start;
        size_t room = ZSTD_compressBound(part);
        char *bytes = memory_new(room);

        size_t packed = ZSTD_compress(bytes, room, (const char *)data + start, part, 1);
        assert_int_equal(write(descriptor, bytes, packed), (ssize_t)packed);
        free(bytes);
    }
    close(descriptor);
    return paths[number];
}

struct warnings {
    unsigned count;
    char last[512];
};

static void take_warning(void *owner, const char *text)
{
    struct warnings *warnings = owner;

    warnings->count++;
    snprintf(warnings->last, sizeof warnings->last, "%s", text);
}

static int64_t resume_at = OFFSET_NONE; /* for the sources opened from now on */

static int64_t resume(void *owner, const char *topic, int32_t partition, bool can_repeat)
{
    assert_int_equal(partition, 0);
    return resume_at;
}

static const struct source_type *file_type(void)
{
    return source_type_find("file");
}

static struct source *open_file(char *path, char *arrivals, struct warnings *warnings)
{
    const struct file_settings settings = {.path = path, .arrivals = arrivals};
    struct source_context context = quiet_context();
    struct source *source = NULL;
    struct error error;

    context.resume = resume;
    context.receives = true; /* and yet a file at rest has no arrivals of its own */
    if (warnings) {
        context.warn = take_warning;
        context.owner = warnings;
    }
    if (file_type()->open(&settings, &context, &source, &error))
        fail_msg("%s", error.text);
    while (!file_type()->ready(source))
        file_type()->advance(source, 0);
    return source;
}

/* Reads to the end and compares with a split of `data` at each newline. */
static void check_lines(struct source *source, const char *data, size_t size, size_t limit)
{
    struct message messages[64];
    enum poll_state state = POLL_MORE;
    const char *at = data, *end = data + size;
    int64_t line = 0;

    assert_true(limit <= 64);
    while (state != POLL_DONE) {
        size_t count = file_type()->poll(source, 0, messages, limit, &state);

        assert_true(count <= limit && state != POLL_END && state != POLL_UNREACHABLE);
        for (size_t i = 0; i < count; i++) {
            const char *newline = memchr(at, '\n', (size_t)(end - at));
            const char *line_end = newline ? newline : end;

            while (line_end == at || (line_end == at + 1 && *at == '\r' && newline)) { /* blank lines */
                at = line_end + 1;
                line++;
                newline = memchr(at, '\n', (size_t)(end - at));
                line_end = newline ? newline : end;
            }
            size_t expected = (size_t)(line_end - at) - (newline && line_end[-1] == '\r');
            assert_true(span_equal(messages[i].payload, span_make(at, expected)));
            assert_true(messages[i].offset == line && messages[i].arrival_us == TIME_NONE);
            at = newline ? line_end + 1 : end;
            line++;
        }
        file_type()->release(source, 0, messages, count);
    }
    while (at < end && (*at == '\n' || *at == '\r'))
        at++;
    assert_true(at == end);
    assert_int_equal(file_type()->poll(source, 0, messages, limit, &state), 0);
    assert_int_equal(state, POLL_DONE);
}

static size_t random_lines(char *data, size_t size, uint64_t longest, uint64_t *random)
{
    size_t used = 0;

    while (used + 2 < size) {
        size_t line = random_below(random, 8) == 0 ? 0 : random_below(random, longest);

        for (; line > 0 && used + 2 < size; line--)
            data[used++] = (char)('a' + random_below(random, 26));
        if (random_below(random, 8) == 0)
            data[used++] = '\r';
        data[used++] = '\n';
    }
    if (random_below(random, 2))
        used--;
    return used;
}

static void test_lines(void **state)
{
    static const size_t sizes[] = {10, 1000, 200000, 5000000};
    static const uint64_t longest[] = {2, 100, 20000, 3000000};
    uint64_t random = 7;

    for (size_t s = 0; s < 4; s++)
        for (size_t l = 0; l < 4; l++) {
            char *data = memory_new(sizes[s]);
            size_t size = random_lines(data, sizes[s], longest[l], &random);

            for (unsigned parts = 0; parts < 4; parts += 1 + parts) {
                struct source *source = open_file(write_file(0, data, size, parts), NULL, NULL);

                check_lines(source, data, size, 1 + random_below(&random, 64));
                file_type()->close(source);
                unlink(paths[0]);
            }
            free(data);
        }
}

static void test_small_files(void **state)
{
    static const char *const texts[] = {"",           "\n",   "a",    "a\n", "\n\na\n\n",
                                        "a\r\nb\r\n", "\r\n", "a\nb", "\r",  "a\r"};

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct source *source = open_file(write_file(0, texts[i], strlen(texts[i]), i % 2), NULL, NULL);

        if (strcmp(texts[i], "\r") != 0)
            check_lines(source, texts[i], strlen(texts[i]), 5);
        const struct source_partition *partition = file_type()->partition(source, 0);
        assert_string_equal(partition->topic, paths[0]);
        assert_int_equal(partition->partition, 0);
        assert_true(partition->committed == OFFSET_NONE);
        file_type()->close(source);
        unlink(paths[0]);
    }
}

static size_t poll_all(struct source *source, struct message *messages, size_t limit,
                       enum poll_state *ret_state)
{
    size_t count = 0;

    do {
        count = file_type()->poll(source, 0, messages, limit, ret_state);
    } while (count == 0 && *ret_state == POLL_MORE);
    return count;
}

static void test_line_limit(void **state)
{
    const size_t limit = EVENT_TEXT_MAX;
    char *data = memory_new(2 * limit + 64);
    size_t size = 0;
    struct warnings warnings = {0};
    struct message messages[4];
    enum poll_state poll_state;

    memset(data, 'x', 2 * limit + 64);
    size = limit; /* one of just the limit, one far longer, one after it */
    data[size++] = '\n';
    size += limit + 20;
    data[size++] = '\n';
    data[size++] = 'z';
    struct source *source = open_file(write_file(0, data, size, 1), NULL, &warnings);
    assert_int_equal(poll_all(source, messages, 4, &poll_state), 1);
    assert_int_equal(messages[0].payload.size, limit);
    assert_int_equal(poll_all(source, messages, 4, &poll_state), 1);
    assert_int_equal(messages[0].payload.size, limit);
    assert_true(messages[0].offset == 1);
    assert_non_null(strstr(warnings.last, "after line 2: the line is longer than 64 MiB and was cut"));
    assert_int_equal(poll_all(source, messages, 4, &poll_state), 1);
    assert_span(messages[0].payload, "z");
    assert_true(messages[0].offset == 2);
    assert_int_equal(poll_all(source, messages, 4, &poll_state), 0);
    assert_int_equal(poll_state, POLL_DONE);
    file_type()->close(source);
    unlink(paths[0]);
    free(data);
}

static void test_arrivals(void **state)
{
    struct warnings warnings = {0};
    struct message messages[8];
    enum poll_state poll_state;

    write_file(0, "a\n\nc\nd\ne\n", 9, 0);
    write_file(1, "1795254020320\n2\nsoon\n4", 22, 1);
    struct source *source = open_file(paths[0], paths[1], &warnings);
    assert_int_equal(poll_all(source, messages, 8, &poll_state), 4);
    assert_true(messages[0].arrival_us == 1795254020320000);
    assert_true(messages[1].offset == 2 && messages[1].arrival_us == TIME_NONE);
    assert_true(messages[2].arrival_us == 4000);
    assert_true(messages[3].offset == 4 && messages[3].arrival_us == TIME_NONE);
    assert_int_equal(warnings.count, 1);
    assert_non_null(strstr(warnings.last, "after line 4: no more arrival times"));
    file_type()->close(source);
    unlink(paths[0]);
    unlink(paths[1]);
}

/* From any line on, a resumed file gives what a whole read gives there. */
static void test_resume(void **state)
{
    const size_t size = 3000000; /* several buffers */
    char *data = memory_new(size), *times = memory_new(size);
    uint64_t random = 11;
    size_t used = random_lines(data, size, 2000, &random), times_used = 0;
    int64_t lines = 0;

    for (const char *at = data; (at = memchr(at, '\n', (size_t)(data + used - at))); at++)
        times_used += (size_t)snprintf(times + times_used, size - times_used, "%lld\n", (long long)++lines);
    times_used += (size_t)snprintf(times + times_used, size - times_used, "%lld\n", (long long)++lines);
    for (unsigned parts = 0; parts < 3; parts += 2) {
        write_file(0, data, used, parts);
        write_file(1, times, times_used, parts);
        for (unsigned round = 0; round < 10; round++) {
            struct message messages[64];
            enum poll_state poll_state = POLL_MORE;
            int64_t first = -1;

            resume_at = round == 0 ? 0 : (int64_t)random_below(&random, (uint64_t)lines - 50);
            struct source *source = open_file(paths[0], paths[1], NULL);
            while (poll_state != POLL_DONE) {
                size_t count = file_type()->poll(source, 0, messages, 64, &poll_state);

                for (size_t i = 0; i < count; i++)
                    assert_true(messages[i].arrival_us == (messages[i].offset + 1) * 1000);
                first = first < 0 && count > 0 ? messages[0].offset : first;
            }
            assert_in_range(first, resume_at, resume_at + 50); /* some lines are blank */
            assert_false(file_type()->partition(source, 0)->anew);
            file_type()->close(source);
        }
        unlink(paths[0]);
        unlink(paths[1]);
    }
    resume_at = OFFSET_NONE;
    free(data);
    free(times);
}

static void test_resume_at_end_and_beyond(void **state)
{
    struct message messages[8];
    enum poll_state poll_state;

    for (unsigned parts = 0; parts < 2; parts++) {
        struct warnings warnings = {0};

        write_file(0, "a\nb\nc\n", 6, parts);
        write_file(1, "1\n2\n3\n", 6, parts);
        resume_at = 3;
        struct source *source = open_file(paths[0], paths[1], &warnings);
        assert_int_equal(poll_all(source, messages, 8, &poll_state), 0);
        assert_int_equal(poll_state, POLL_DONE);
        assert_int_equal(warnings.count, 0);
        file_type()->close(source);

        resume_at = 4;
        source = open_file(paths[0], paths[1], &warnings);
        assert_int_equal(poll_all(source, messages, 8, &poll_state), 3);
        assert_true(file_type()->partition(source, 0)->anew);
        assert_span(messages[0].payload, "a");
        assert_true(messages[2].offset == 2 && messages[2].arrival_us == 3000);
        assert_non_null(
            strstr(warnings.last, "after line 3: it ends before the line where it was to be read on"));
        assert_int_equal(warnings.count, 1);
        file_type()->close(source);
        unlink(paths[0]);
        unlink(paths[1]);
    }
    resume_at = OFFSET_NONE;
}

static void test_recorded_arrivals(void **state)
{
    const char *shared = getenv("WEIR_SHARED");
    char path[256], arrivals[256];
    struct message messages[100];
    enum poll_state poll_state = POLL_MORE;
    int64_t count = 0, last_us = 0;

    snprintf(path, sizeof path, "%s/data/events/airflow/dev/openlineage.jsonl.zst",
             shared ? shared : "../shared");
    snprintf(arrivals, sizeof arrivals, "%s/data/events/airflow/dev/openlineage.recv_ms.zst",
             shared ? shared : "../shared");
    if (access(path, R_OK) != 0)
        skip();
    struct source *source = open_file(path, arrivals, NULL);
    while (poll_state != POLL_DONE) {
        size_t got = file_type()->poll(source, 0, messages, 100, &poll_state);

        for (size_t i = 0; i < got; i++, count++) {
            assert_true(messages[i].offset == count && messages[i].arrival_us >= last_us);
            last_us = messages[i].arrival_us;
        }
    }
    assert_int_equal(count, 1639);
    file_type()->close(source);
}

/* A frame that ends where the room for its bytes does is whole. */
static void test_full_buffer(void **state)
{
    size_t size = 512 * 1024;
    char *data = memory_new(size);

    memset(data, 'x', size);
    for (size_t i = 63; i < size; i += 64)
        data[i] = '\n';
    char *path = write_file(0, data, size, 1);
    struct source *source = open_file(path, NULL, NULL); /* nobody warns */
    check_lines(source, data, size, 64);
    file_type()->close(source);
    unlink(path);
    free(data);
}

static void test_damaged_zstd(void **state)
{
    static char noise[100000]; /* more than a block, so that a block's head is hit */
    char *data = memory_new(400000);
    uint64_t random = 3;

    memset(noise, 0xff, sizeof noise);
    size_t size = random_lines(data, 400000, 100, &random);
    struct message messages[64];

    for (unsigned damage = 0; damage < 2; damage++) {
        struct warnings warnings = {0};
        enum poll_state poll_state = POLL_MORE;
        char *path = write_file(0, data, size, 1);
        int descriptor = open(path, O_RDWR);

        if (damage == 0)
            assert_int_equal(ftruncate(descriptor, lseek(descriptor, 0, SEEK_END) / 2), 0);
        else
            assert_int_equal(pwrite(descriptor, noise, sizeof noise, 100000), sizeof noise);
        close(descriptor);
        struct source *source = open_file(path, NULL, &warnings);
        size_t total = 0;
        while (poll_state != POLL_DONE)
            total += file_type()->poll(source, 0, messages, 64, &poll_state);
        assert_true(total > 0);
        assert_int_equal(warnings.count, 1);
        assert_non_null(strstr(warnings.last, damage ? "is no valid zstd from here on"
                                                     : "ends in the middle of a zstd frame"));
        file_type()->close(source);
        unlink(path);
    }
    free(data);
}

/* Of the system, where no file has holes or a size. */
static void test_proc(void **state)
{
    static char path[] = "/proc/self/status";
    struct source *source = open_file(path, NULL, NULL);
    struct message message;
    enum poll_state poll_state;

    assert_int_equal(file_type()->poll(source, 0, &message, 1, &poll_state), 1);
    assert_int_equal(memcmp(message.payload.data, "Name:", 5), 0);
    file_type()->close(source);
}

static void assert_open_fails(char *path, char *arrivals, const char *reason)
{
    const struct file_settings settings = {.path = path, .arrivals = arrivals};
    const struct source_context context = quiet_context();
    struct source *source = NULL;
    struct error error;

    assert_int_equal(file_type()->open(&settings, &context, &source, &error), STATUS_FATAL);
    assert_null(source);
    assert_string_equal(error.text, reason);
}

static void test_open(void **state)
{
    static char missing[] = "/nowhere/events.jsonl", folder[] = "/tmp", device[] = "/dev/null";
    const struct file_settings settings = {.path = missing};
    struct source_context context = quiet_context();
    struct source *source;
    struct error error;

    assert_open_fails(missing, NULL, "/nowhere/events.jsonl: No such file or directory");
    assert_open_fails(folder, NULL, "/tmp: is a directory");
    assert_open_fails(device, missing, "/nowhere/events.jsonl: No such file or directory");
    assert_open_fails(device, device, "/dev/null: arrival times are read from a regular file only");

    char *packed = write_file(0, "\x1f\x8b\x08\x08", 4, 0), reason[128];
    snprintf(reason, sizeof reason, "%s: is packed with gzip; only plain files and zstd are read", packed);
    assert_open_fails(packed, NULL, reason);
    unlink(packed);

    /* the file is the first worker's; the others do not even open it */
    context.worker = 1;
    context.workers = 2;
    assert_int_equal(file_type()->open(&settings, &context, &source, &error), STATUS_OK);
    assert_int_equal(file_type()->partition_count(source), 0);
    file_type()->close(source);
    assert_null(source_type_find("carrier pigeon"));
}

static void test_files_are_dealt_to_workers(void **state)
{
    char pattern[sizeof paths[0] + 1];
    const char line[] = "{}\n";
    size_t seen = 0;

    write_file(0, line, strlen(line), 0);
    write_file(1, line, strlen(line), 0);
    /* both names, whatever else is there: all but the six letters that mkstemp chose */
    snprintf(pattern, sizeof pattern, "/tmp/weir_test_file_[%c%c]*", paths[0][20], paths[1][20]);
    for (unsigned worker = 0; worker < 3; worker++) {
        const struct file_settings settings = {.path = pattern};
        struct source_context context = quiet_context();
        struct source *source = NULL;
        struct error error;

        context.worker = worker;
        context.workers = 3;
        if (file_type()->open(&settings, &context, &source, &error))
            fail_msg("%s", error.text);
        while (!file_type()->ready(source))
            file_type()->advance(source, 0);
        for (size_t i = 0; i < file_type()->partition_count(source); i++)
            for (unsigned number = 0; number < FILES_MAX; number++)
                seen += strcmp(file_type()->partition(source, i)->topic, paths[number]) == 0;
        file_type()->close(source);
    }
    assert_int_equal(seen, FILES_MAX); /* each by one of them */
    unlink(paths[0]);
    unlink(paths[1]);
}

static void test_stdin(void **state)
{
    const struct source_type *type = source_type_find("stdin");
    struct source_context context = quiet_context();
    struct message messages[8];
    enum poll_state poll_state;
    struct source *source;
    struct error error;
    int pipes[2], kept = dup(STDIN_FILENO);

    assert_int_equal(pipe(pipes), 0);
    assert_true(dup2(pipes[0], STDIN_FILENO) == STDIN_FILENO);
    close(pipes[0]);
    context.resume = resume;
    context.receives = true;
    resume_at = 70; /* lines that are gone: only the numbers go on */
    assert_int_equal(type->open(NULL, &context, &source, &error), STATUS_OK);
    type->advance(source, 0);
    assert_int_equal(type->poll(source, 0, messages, 8, &poll_state), 0);
    assert_int_equal(poll_state, POLL_END);
    assert_int_equal(write(pipes[1], "one\ntw", 6), 6);
    assert_int_equal(type->poll(source, 0, messages, 8, &poll_state), 1);
    assert_int_equal(poll_state, POLL_MORE);
    assert_span(messages[0].payload, "one");
    assert_true(messages[0].arrival_us == 0);
    type->release(source, 0, messages, 1);
    type->close(source); /* a reload: what was read and not given is for the next source */
    resume_at = 71;
    assert_int_equal(type->open(NULL, &context, &source, &error), STATUS_OK);
    type->advance(source, 1234567);
    assert_int_equal(type->poll(source, 0, messages, 8, &poll_state), 0);
    assert_int_equal(poll_state, POLL_END);
    assert_int_equal(write(pipes[1], "o", 1), 1);
    close(pipes[1]);
    size_t count = 0;
    for (unsigned i = 0; i < 4 && count == 0; i++)
        count = type->poll(source, 0, messages, 8, &poll_state);
    assert_int_equal(count, 1);
    assert_span(messages[0].payload, "two");
    assert_true(messages[0].offset == 71);
    assert_true(messages[0].arrival_us == 1234567);
    assert_int_equal(type->poll(source, 0, messages, 8, &poll_state), 0);
    assert_int_equal(poll_state, POLL_DONE);
    type->close(source);
    resume_at = OFFSET_NONE;
    dup2(kept, STDIN_FILENO);
    close(kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_small_files),
        cmocka_unit_test(test_line_limit),
        cmocka_unit_test(test_arrivals),
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_resume_at_end_and_beyond),
        cmocka_unit_test(test_recorded_arrivals),
        cmocka_unit_test(test_full_buffer),
        cmocka_unit_test(test_damaged_zstd),
        cmocka_unit_test(test_proc),
        cmocka_unit_test(test_open),
        cmocka_unit_test(test_files_are_dealt_to_workers),
        cmocka_unit_test(test_stdin),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
