/* Followed files: a writer, a rotation and a reader in random order, with restarts; each line must come once,
 * in order, with an offset of its own, whatever happened to the files. Then each way to rotate alone. */
#include "tests/base/random.h"
#include "tests/ingest/support.h"

#include "base/memory.h"

#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

struct file_settings { /* as in file.c */
    char *path, *arrivals;
    bool follow;
};

enum { LINES_MAX = 20000, TOPICS_MAX = 64, TEXT_BYTES = 256, SECOND_US = 1000 * 1000 };

struct topic { /* what the store knows of a partition, and what was given of it */
    char name[TEXT_BYTES], note[SOURCE_NOTE_MAX];
    size_t note_size;
    int64_t next, kept_low, kept_next; /* the kept ones: at the last cut; OFFSET_NONE: not known then */
    int line_of[LINES_MAX];            /* by offset */
};

struct world {
    char folder[64], pattern[TEXT_BYTES];
    struct source *source;
    int64_t now_us;
    uint64_t random;
    int written, rotations; /* lines; names are app.log, app.log.1 (newest), ... */
    bool once;
    bool half; /* the last line has no end yet */
    uint8_t given[LINES_MAX], given_at_cut[LINES_MAX];
    struct topic *topics;
    size_t topic_count;
    unsigned warnings;
    char warning[512];
};

static const struct source_type *type;

static void take_warning(void *owner, const char *text)
{
    struct world *world = owner;

    world->warnings += !strstr(text, "no such file yet");
    snprintf(world->warning, sizeof world->warning, "%s", text);
}

static struct topic *topic_of(struct world *world, struct span name)
{
    size_t i = 0;

    while (i < world->topic_count && !span_is(name, world->topics[i].name))
        i++;
    assert_true(i < TOPICS_MAX);
    if (i == world->topic_count) {
        world->topics[world->topic_count++] =
            (struct topic){.next = OFFSET_NONE, .kept_low = OFFSET_NONE, .kept_next = OFFSET_NONE};
        memcpy(world->topics[i].name, name.data, name.size);
    }
    return &world->topics[i];
}

static int64_t resume(void *owner, const char *topic, int32_t partition, bool can_repeat)
{
    const struct topic *known = topic_of(owner, span_of(topic));

    assert_int_equal(partition, 0);
    return can_repeat ? known->kept_low : known->kept_next;
}

static void recall(void *owner, void (*take)(void *owner, struct span topic, struct span note), void *taker)
{
    struct world *world = owner;

    for (size_t i = 0; i < world->topic_count; i++)
        if (world->topics[i].kept_next != OFFSET_NONE)
            take(taker, span_of(world->topics[i].name),
                 span_make(world->topics[i].note, world->topics[i].note_size));
}

static void begin_source(struct world *world, bool once)
{
    static struct file_settings settings;
    struct source_context context = {.name = "test",
                                     .workers = 1,
                                     .once = once,
                                     .receives = !once,
                                     .warn = take_warning,
                                     .owner = world,
                                     .resume = resume,
                                     .recall = recall,
                                     .resume_owner = world};
    struct error error;

    world->once = once;
    settings = (struct file_settings){.path = world->pattern, .follow = true};
    if (type->open(&settings, &context, &world->source, &error))
        fail_msg("%s", error.text);
}

static struct world *world_new(const char *pattern, uint64_t random)
{
    struct world *world = memory_new(sizeof *world);

    type = source_type_find("file");
    *world = (struct world){.folder = "/tmp/weir_test_follow_XXXXXX",
                            .random = random,
                            .now_us = INT64_C(1767225600) * SECOND_US,
                            .topics = memory_new(TOPICS_MAX * sizeof(struct topic))};
    assert_non_null(mkdtemp(world->folder));
    snprintf(world->pattern, sizeof world->pattern, "%s/%s", world->folder, pattern);
    begin_source(world, false);
    return world;
}

static int remove_entry(const char *path, const struct stat *about, int kind, struct FTW *place)
{
    return remove(path);
}

static void world_free(struct world *world)
{
    type->close(world->source);
    nftw(world->folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    free(world->topics);
    free(world);
}

static const char *path_of(struct world *world, const char *name)
{
    static char paths[4][TEXT_BYTES];
    static unsigned next;
    char *path = paths[next++ % 4];

    snprintf(path, TEXT_BYTES, "%s/%s", world->folder, name);
    return path;
}

static void append(struct world *world, const char *name, const char *text)
{
    FILE *file = fopen(path_of(world, name), "a");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void write_lines(struct world *world, const char *name, unsigned count)
{
    char text[64];

    if (world->half)
        append(world, name, "\n");
    world->half = false;
    for (; count > 0 && world->written < LINES_MAX - 1; count--) {
        world->half = count == 1 && random_below(&world->random, 4) == 0;
        snprintf(text, sizeof text, "this is line %d%s", world->written++, world->half ? "" : "\n");
        append(world, name, text);
    }
}

/* One line, given as the partition's next one. */
static void take_line(struct world *world, struct topic *topic, const struct message *message)
{
    char text[64] = {0};
    int line;

    assert_true(message->offset >= 0 && message->offset < LINES_MAX && message->payload.size < sizeof text);
    memcpy(text, message->payload.data, message->payload.size);
    if (sscanf(text, "this is line %d", &line) != 1)
        fail_msg("not a line: '%s'", text);
    assert_in_range(line, 0, world->written - 1);
    assert_true(message->arrival_us == (world->once ? TIME_NONE : world->now_us));
    if (topic->next != OFFSET_NONE && message->offset < topic->next) { /* again, after a restart */
        assert_int_equal(topic->line_of[message->offset], line);
        return;
    }
    topic->next = message->offset + 1;
    topic->line_of[message->offset] = line;
    if (++world->given[line] > 1)
        fail_msg("line %d was given twice; %s", line, world->warning);
}

static bool read_some(struct world *world)
{
    struct message messages[7];
    bool any = false;

    for (size_t i = 0; i < type->partition_count(world->source); i++) {
        struct topic *topic = topic_of(world, span_of(type->partition(world->source, i)->topic));
        enum poll_state state;
        size_t count = type->poll(world->source, i, messages, 7, &state);

        for (size_t m = 0; m < count; m++)
            take_line(world, topic, &messages[m]);
        type->release(world->source, i, messages, count);
        any |= state == POLL_MORE;
    }
    return any;
}

static void pass_seconds(struct world *world, unsigned seconds)
{
    for (unsigned i = 0; i < 4 * seconds; i++) {
        world->now_us += SECOND_US / 4;
        type->advance(world->source, world->now_us);
        for (unsigned n = 0; n < 3; n++)
            read_some(world);
    }
}

/* Until nothing more comes, some ten seconds after everything was written. */
static void drain(struct world *world)
{
    for (unsigned quiet = 0; quiet < 60;) {
        world->now_us += SECOND_US / 4;
        type->advance(world->source, world->now_us);
        quiet = read_some(world) ? 0 : quiet + 1;
    }
}

static void cut(struct world *world)
{
    for (size_t i = 0; i < type->partition_count(world->source); i++) {
        const struct source_partition *partition = type->partition(world->source, i);
        struct topic *topic = topic_of(world, span_of(partition->topic));

        if (topic->next == OFFSET_NONE)
            continue;
        int64_t back = (int64_t)random_below(&world->random, 40);
        topic->kept_next = topic->next;
        topic->kept_low = back < topic->next ? topic->next - back : 0;
        topic->note_size = partition->note.size;
        memcpy(topic->note, partition->note.data, partition->note.size);
    }
    memcpy(world->given_at_cut, world->given, sizeof world->given);
}

static void stop(struct world *world)
{
    type->close(world->source);
    memcpy(world->given, world->given_at_cut, sizeof world->given);
    for (size_t i = 0; i < world->topic_count; i++)
        world->topics[i].next = world->topics[i].kept_next;
}

static void copy_file(struct world *world, const char *from, const char *to, bool pack)
{
    char *data = memory_new(1 << 20), *packed = memory_new(ZSTD_compressBound(1 << 20));
    FILE *in = fopen(path_of(world, from), "r"), *out = fopen(path_of(world, to), "w");
    size_t size = fread(data, 1, 1 << 20, in);

    if (pack)
        size = ZSTD_compress(packed, ZSTD_compressBound(1 << 20), data, size, 1);
    fwrite(pack ? packed : data, 1, size, out);
    fclose(in);
    fclose(out);
    free(data);
    free(packed);
}

static bool exists(struct world *world, const char *name)
{
    return access(path_of(world, name), F_OK) == 0;
}

static void shift_names(struct world *world)
{
    char from[32], to[32];

    for (int i = world->rotations; i > 0; i--)
        for (int packed = 0; packed < 2; packed++) {
            snprintf(from, sizeof from, "app.log.%d%s", i, packed ? ".zst" : "");
            snprintf(to, sizeof to, "app.log.%d%s", i + 1, packed ? ".zst" : "");
            if (exists(world, from))
                assert_int_equal(rename(path_of(world, from), path_of(world, to)), 0);
        }
    world->rotations++;
}

static void rotate(struct world *world, bool by_copy)
{
    if (!exists(world, "app.log") || world->half)
        return;
    shift_names(world);
    if (by_copy) {
        copy_file(world, "app.log", "app.log.1", false);
        assert_int_equal(truncate(path_of(world, "app.log"), 0), 0);
    } else {
        assert_int_equal(rename(path_of(world, "app.log"), path_of(world, "app.log.1")), 0);
    }
}

static void pack(struct world *world)
{
    char from[32], to[40];

    for (int i = 1; i <= world->rotations; i++) {
        snprintf(from, sizeof from, "app.log.%d", i);
        snprintf(to, sizeof to, "%s.zst", from);
        if (!exists(world, from))
            continue;
        copy_file(world, from, to, true);
        unlink(path_of(world, from));
        return;
    }
}

static void check_all_given(struct world *world)
{
    drain(world);
    for (int line = 0; line < world->written - world->half; line++)
        if (world->given[line] != 1)
            fail_msg("line %d of %d was given %d times; %u warnings, last '%s'", line, world->written,
                     world->given[line], world->warnings, world->warning);
}

static void take_random_step(struct world *world)
{
    uint64_t *random = &world->random;

    switch (random_below(random, 12)) {
    case 0:
    case 1:
    case 2:
    case 3:
        write_lines(world, "app.log", 1 + (unsigned)random_below(random, 60));
        break;
    case 4:
        rotate(world, false);
        break;
    case 5:
        rotate(world, true);
        break;
    case 6:
        pack(world);
        break;
    case 7:
        cut(world);
        break;
    case 8:
        stop(world);
        while (random_below(random, 3) > 0)
            random_below(random, 2) ? write_lines(world, "app.log", 20) : rotate(world, false);
        begin_source(world, false);
        break;
    default:
        pass_seconds(world, 1 + (unsigned)random_below(random, 8));
    }
}

/* All names match, so nothing may be lost; a cut before the first kill, as the program makes one. */
static void test_random(void **state)
{
    for (uint64_t seed = 1; seed <= 150; seed++) {
        struct world *world = world_new("app.log*", seed);

        for (unsigned step = 0; step < 60; step++)
            take_random_step(world);
        check_all_given(world);
        assert_int_equal(world->warnings, 0);
        world_free(world);
    }
}

/* A single name: what is renamed is read to its end as long as it is open, also what its writer, who has not
 * heard of it yet, writes while the new file is there. */
static void test_rename(void **state)
{
    struct world *world = world_new("app.log", 5);
    char line[64];

    pass_seconds(world, 2);
    assert_int_equal(type->partition_count(world->source), 0);
    assert_true(type->ready(world->source));
    assert_non_null(strstr(world->warning, "no such file yet"));
    append(world, "app.log", "");
    for (unsigned i = 0; i < 5; i++) {
        write_lines(world, "app.log", 30);
        pass_seconds(world, 8);
        write_lines(world, "app.log", 0);
        assert_int_equal(rename(path_of(world, "app.log"), path_of(world, "old")), 0);
        world->written += 2;
        snprintf(line, sizeof line, "this is line %d\n", world->written - 1);
        append(world, "app.log", line);
        pass_seconds(world, 2);
        append(world, "old", "this is line ");
        pass_seconds(world, 2);
        snprintf(line, sizeof line, "%d\n", world->written - 2);
        append(world, "old", line);
    }
    check_all_given(world);
    assert_int_equal(type->partition_count(world->source), 1);
    assert_int_equal(world->topics[0].next, world->written); /* one stream of lines */
    for (int i = 0; i < world->written; i++)
        assert_int_equal(world->topics[0].line_of[i], i);
    assert_int_equal(world->warnings, 0);
    world_free(world);
}

/* What is written and read between copy and cut is not in the copy, and nothing of it is read again. */
static void test_copied_early(void **state)
{
    for (unsigned restarted = 0; restarted < 2; restarted++) {
        struct world *world = world_new("app.log*", 10);

        write_lines(world, "app.log", 100);
        pass_seconds(world, 10);
        copy_file(world, "app.log", "app.log.1", false);
        write_lines(world, "app.log", 20);
        pass_seconds(world, 5);
        cut(world);
        world->topics[0].kept_low = 90; /* lines that the copy has, and others */
        if (restarted)
            stop(world);
        assert_int_equal(truncate(path_of(world, "app.log"), 0), 0);
        write_lines(world, "app.log", 20);
        if (restarted)
            begin_source(world, false);
        check_all_given(world);
        assert_int_equal(type->partition_count(world->source), 1);
        world_free(world);
    }
}

/* Cut off and written alike while nobody read, with lines still owed: the new ones get new offsets. */
static void test_rewritten(void **state)
{
    struct world *world = world_new("app.log", 11);

    write_lines(world, "app.log", 100);
    write_lines(world, "app.log", 0);
    pass_seconds(world, 10);
    cut(world);
    world->topics[0].kept_low = 95;
    stop(world);
    assert_int_equal(truncate(path_of(world, "app.log"), 0), 0);
    world->written = 0;
    memset(world->given, 0, sizeof world->given);
    write_lines(world, "app.log", 90);
    begin_source(world, false);
    check_all_given(world);
    assert_int_equal(world->topics[0].line_of[100], 0);
    assert_non_null(strstr(world->warning, "is read from its beginning"));
    world_free(world);
}

/* Replaced by a file that begins the same and has more, as by rsync; the old one is removed or kept. */
static void test_replaced(void **state)
{
    struct world *world = world_new("app.log", 12);

    write_lines(world, "app.log", 2);
    for (unsigned i = 0; i < 12; i++) {
        pass_seconds(world, i == 4 ? 1 : 12);
        copy_file(world, "app.log", "new", false);
        write_lines(world, "new", 1 + 10 * i);
        if (i % 2)
            assert_int_equal(rename(path_of(world, "app.log"), path_of(world, "old")), 0);
        assert_int_equal(rename(path_of(world, "new"), path_of(world, "app.log")), 0);
        write_lines(world, "app.log", i % 3);
    }
    check_all_given(world);
    assert_int_equal(world->topics[0].next, world->written - world->half);
    assert_int_equal(world->warnings, 0);
    world_free(world);
}

/* More old files are kept than marks of files that are gone; none of them is read again. */
static void test_many_kept(void **state)
{
    struct world *world = world_new("app.log*", 14);
    char name[32], line[64];

    for (unsigned i = 0; i < 300; i++) {
        snprintf(line, sizeof line, "this is line %d\n", world->written++);
        append(world, "app.log", line);
        pass_seconds(world, 8);
        if (i % 150 == 149) {
            cut(world);
            world->topics[0].kept_low = world->topics[0].kept_next;
            stop(world);
            begin_source(world, false);
            pass_seconds(world, 2);
        }
        snprintf(name, sizeof name, "app.log.%u", i);
        assert_int_equal(rename(path_of(world, "app.log"), path_of(world, name)), 0);
        if (i < 50)
            unlink(path_of(world, name));
        pass_seconds(world, 1);
    }
    check_all_given(world);
    assert_int_equal(type->partition_count(world->source), 1);
    assert_in_range(type->partition(world->source, 0)->note.size, 250 * 36, 270 * 36);
    assert_int_equal(world->warnings, 0);
    world_free(world);
}

/* A writer that does not append: what it writes after a cut stands behind a hole, which reads as NULs. */
static void test_hole(void **state)
{
    struct world *world = world_new("app.log*", 17);
    int file = open(path_of(world, "app.log"), O_WRONLY | O_CREAT, 0600);

    for (unsigned i = 0; i < 6; i++) {
        for (unsigned line = 0; line < (i == 2 ? 2000 : 150); line++)
            dprintf(file, "this is line %d\n", world->written++);
        pass_seconds(world, 30);
        shift_names(world);
        copy_file(world, "app.log", "app.log.1", false);
        assert_int_equal(truncate(path_of(world, "app.log"), 0), 0);
        pass_seconds(world, i % 2 ? 0 : 3);
    }
    dprintf(file, "this is line %d\n", world->written++);
    check_all_given(world);
    assert_int_equal(type->partition_count(world->source), 1);
    assert_int_equal(world->topics[0].next, world->written);
    assert_int_equal(world->warnings, 0);
    close(file);
    world_free(world);
}

/* A file that may not be read is said once, and read when it may be. */
static void test_unreadable(void **state)
{
    struct world *world = world_new("app.log", 15);

    assert_int_equal(chmod(world->folder, 0755), 0);
    write_lines(world, "app.log", 30);
    assert_int_equal(chmod(path_of(world, "app.log"), 0), 0);
    if (geteuid() == 0)
        assert_int_equal(seteuid(65534), 0); /* root may read everything */
    pass_seconds(world, 5);
    assert_int_equal(world->warnings, 1);
    assert_non_null(strstr(world->warning, "app.log: Permission denied"));
    if (getuid() == 0)
        assert_int_equal(seteuid(0), 0);
    assert_int_equal(chmod(path_of(world, "app.log"), 0644), 0);
    check_all_given(world);
    assert_int_equal(world->warnings, 1);
    world_free(world);
}

/* What is packed otherwise than by zstd is said once and left out. */
static void test_packed(void **state)
{
    static const char gzip[] = "\x1f\x8b\x08\x08 and so on\n", xz[] = "\xfd\x37zXZ\0 and so on\n";
    struct world *world = world_new("app.log*", 16);

    append(world, "app.log.2.gz", gzip);
    pass_seconds(world, 5);
    assert_int_equal(world->warnings, 1);
    assert_non_null(strstr(world->warning, "app.log.2.gz: is packed with gzip"));
    append(world, "app.log.3.bz2", "BZh91AY&SY and so on\n");
    pass_seconds(world, 5);
    assert_int_equal(world->warnings, 2);
    assert_non_null(strstr(world->warning, "app.log.3.bz2: is packed with bzip2"));
    FILE *file = fopen(path_of(world, "app.log.4.xz"), "w");
    assert_int_equal(fwrite(xz, 1, sizeof xz, file), sizeof xz);
    fclose(file);
    write_lines(world, "app.log", 30);
    check_all_given(world);
    assert_int_equal(type->partition_count(world->source), 1);
    assert_int_equal(world->warnings, 3);
    world_free(world);
}

/* Of more files than can be followed the newest ones are, whatever their names. */
static void test_too_many(void **state)
{
    struct world *world = world_new("*.log", 18);
    char name[32];

    for (int i = 0; i < 1000; i++) {
        struct timespec times[2] = {{.tv_sec = 1000 + i}, {.tv_sec = 1000 + i}};

        snprintf(name, sizeof name, "a%d.log", i);
        append(world, name, "");
        assert_int_equal(utimensat(AT_FDCWD, path_of(world, name), times, 0), 0);
    }
    pass_seconds(world, 2);
    assert_int_equal(world->warnings, 0);
    write_lines(world, "b.log", 10);
    check_all_given(world);
    assert_int_equal(world->warnings, 1);
    assert_non_null(strstr(world->warning, "more than 1000 files match"));
    world_free(world);
}

/* Removed and written again; a file cut off without a copy. */
static void test_gone(void **state)
{
    struct world *world = world_new("app.log", 6);

    append(world, "app.log", "this is line 0\nthis is line 1\n");
    world->written = 2;
    pass_seconds(world, 2);
    unlink(path_of(world, "app.log"));
    pass_seconds(world, 10);
    append(world, "app.log", "this is line 2\nthis is line 3\n");
    world->written = 4;
    pass_seconds(world, 10);
    assert_int_equal(world->given[3], 1);
    assert_int_equal(world->topics[0].next, 4);
    assert_int_equal(world->warnings, 0);
    assert_int_equal(truncate(path_of(world, "app.log"), 0), 0);
    append(world, "app.log", "this is line 4\n");
    world->written = 5;
    check_all_given(world);
    assert_int_equal(world->topics[0].next, 5);
    assert_non_null(strstr(world->warning, "the file was cut off"));
    assert_int_equal(truncate(path_of(world, "app.log"), 0), 0);
    pass_seconds(world, 5);
    world->given[4] = 0;
    append(world, "app.log", "this is line 4\n"); /* the same once more, but seen to be new */
    check_all_given(world);
    assert_int_equal(world->topics[0].next, 6);
    world_free(world);
}

/* Renamed away while nobody read, to a name that does not match: said, and the next file is read. */
static void test_lost(void **state)
{
    struct world *world = world_new("app.log", 7);

    append(world, "app.log", "this is line 0\nthis is line 1\n");
    world->written = 2;
    pass_seconds(world, 2);
    cut(world);
    world->topics[0].kept_low = 2;
    stop(world);
    append(world, "app.log", "this is line 2\n");
    assert_int_equal(rename(path_of(world, "app.log"), path_of(world, "old")), 0);
    append(world, "app.log", "this is line 3\n");
    world->written = 4;
    begin_source(world, false);
    drain(world);
    assert_int_equal(world->given[2], 0);
    assert_int_equal(world->given[3], 1);
    assert_int_equal(world->topics[0].next, 3);
    assert_non_null(strstr(world->warning, "the file that was read is gone"));
    world_free(world);
}

/* Files with names of their own are partitions; what begins alike is one file until it differs. */
static void test_several(void **state)
{
    struct world *world = world_new("*.log", 8);

    append(world, "a.log", "this is line 0\n");
    append(world, "b.log", "this is line 1\n");
    world->written = 6;
    pass_seconds(world, 2);
    assert_int_equal(type->partition_count(world->source), 2);
    append(world, "c.log", "this is line 0\n"); /* as a copy of a.log would begin */
    pass_seconds(world, 3);
    assert_int_equal(type->partition_count(world->source), 2);
    assert_non_null(strstr(world->warning, "it begins like another file"));
    append(world, "a.log", "this is line 2\n");
    world->given[0] = 0; /* it is another file after all */
    pass_seconds(world, 2);
    append(world, "c.log", "this is line 3\n");
    pass_seconds(world, 2);
    assert_int_equal(type->partition_count(world->source), 3);
    append(world, "d.log", "this is line"); /* no whole line yet */
    pass_seconds(world, 2);
    assert_int_equal(type->partition_count(world->source), 3);
    append(world, "d.log", " 4\nthis is line 5\n");
    check_all_given(world);
    assert_int_equal(type->partition_count(world->source), 4);
    world_free(world);
}

static void read_once(struct world *world)
{
    struct message messages[8];
    enum poll_state poll_state = POLL_MORE;

    begin_source(world, true);
    for (unsigned i = 0; i < 40 && poll_state != POLL_DONE; i++) {
        type->advance(world->source, world->now_us += SECOND_US / 10);
        if (type->partition_count(world->source) == 0)
            continue;
        struct topic *topic = topic_of(world, span_of(type->partition(world->source, 0)->topic));
        size_t count = type->poll(world->source, 0, messages, 8, &poll_state);
        for (size_t m = 0; m < count; m++)
            take_line(world, topic, &messages[m]);
    }
    assert_int_equal(poll_state, POLL_DONE);
}

/* With --once a followed file ends, the marks kept from before; a last line without its end is given, and not
 * given again. */
static void test_once(void **state)
{
    struct world *world = world_new("app.log*", 9);

    append(world, "app.log", "this is line 0\nthis is line 1\n");
    world->written = 2;
    pass_seconds(world, 2);
    cut(world);
    world->topics[0].kept_low = 2;
    stop(world);
    append(world, "app.log", "this is line 2\n");
    assert_int_equal(rename(path_of(world, "app.log"), path_of(world, "app.log.1")), 0);
    append(world, "app.log", "this is line 3\nthis is line 4");
    world->written = 5;
    read_once(world);
    assert_int_equal(world->topics[0].next, 5);
    assert_int_equal(world->given[4], 1);
    cut(world);
    world->topics[0].kept_low = 5;
    stop(world);
    begin_source(world, false);
    pass_seconds(world, 5);
    append(world, "app.log", "\nthis is line 5\n");
    world->written = 6;
    check_all_given(world);
    assert_int_equal(world->topics[0].next, 6);
    assert_int_equal(world->warnings, 0);
    world_free(world);
}

/* A kill when the last line of a renamed file is given, without its end, and the next file not yet begun. */
static void test_killed_between(void **state)
{
    struct world *world = world_new("app.log*", 19);

    append(world, "app.log", "this is line 0\nthis is line 1\nthis is line 2");
    world->written = 3;
    pass_seconds(world, 2);
    assert_int_equal(rename(path_of(world, "app.log"), path_of(world, "app.log.1")), 0);
    append(world, "app.log", "this is line 3\n");
    while (world->given[2] == 0) {
        type->advance(world->source, world->now_us += SECOND_US / 4);
        read_some(world);
    }
    world->written = 4;
    assert_int_equal(type->partition(world->source, 0)->note.size, 1 + 36); /* one file */
    cut(world);
    world->topics[0].kept_low = 3;
    stop(world);
    begin_source(world, false);
    check_all_given(world);
    assert_int_equal(world->topics[0].next, 4);
    assert_int_equal(world->warnings, 0);
    world_free(world);
}

/* One line, and that without its end. */
static void test_half_a_line(void **state)
{
    struct world *world = world_new("app.log", 13);

    append(world, "app.log", "this is line 0");
    world->written = 1;
    pass_seconds(world, 5);
    assert_int_equal(world->given[0], 0);
    stop(world);
    read_once(world);
    assert_int_equal(world->given[0], 1);
    cut(world);
    world->topics[0].kept_low = 1;
    stop(world);
    begin_source(world, false);
    pass_seconds(world, 5);
    append(world, "app.log", "\nthis is line 1\n");
    world->written = 2;
    check_all_given(world);
    assert_int_equal(world->warnings, 0);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),         cmocka_unit_test(test_rename),
        cmocka_unit_test(test_gone),           cmocka_unit_test(test_lost),
        cmocka_unit_test(test_several),        cmocka_unit_test(test_once),
        cmocka_unit_test(test_copied_early),   cmocka_unit_test(test_rewritten),
        cmocka_unit_test(test_replaced),       cmocka_unit_test(test_half_a_line),
        cmocka_unit_test(test_killed_between), cmocka_unit_test(test_many_kept),
        cmocka_unit_test(test_hole),           cmocka_unit_test(test_unreadable),
        cmocka_unit_test(test_packed),         cmocka_unit_test(test_too_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
