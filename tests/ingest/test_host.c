/* The host source over a made-up /proc: each figure as worked out by hand, rates over the time between
 * samples, counters that go back, what is left out; and when it samples. */
#include "tests/ingest/support.h"

#include "base/memory.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

struct host_settings { /* as in host.c */
    int64_t every;
    char *root;
};

enum { SECOND_US = 1000 * 1000 };

static const char mounts[] = "proc /proc proc rw 0 0\n"
                             "/dev/vda1 / ext4 rw 0 0\n"
                             "/dev/vda1 /again ext4 rw 0 0\n"
                             "/dev/loop0 /image squashfs ro 0 0\n"
                             "server:/export /remote nfs rw 0 0\n"
                             "//server/share /share smbfs rw 0 0\n"
                             "/server/share /other cifs rw 0 0\n"
                             "/etc/auto.home /home autofs rw 0 0\n"
                             "tmpfs /tmp tmpfs rw 0 0\n";
static const char *const mount_points[] = {"again", "image", "remote", "share", "other", "home", "tmp"};
static const char memory[] = "MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable:   250 kB\nSwapTotal: 200 kB\n"
                             "SwapFree: 150 kB\n";

static char root[64];
static struct host_settings settings = {.every = 10 * SECOND_US, .root = root};
static int64_t resume_at;
static struct rig rig;

static void write_text(const char *name, const char *text)
{
    char path[256];

    snprintf(path, sizeof path, "%s/%s", root, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void make_folder(const char *name)
{
    char path[256];

    snprintf(path, sizeof path, "%s/%s", root, name);
    assert_int_equal(mkdir(path, 0755), 0);
}

static void write_counters(unsigned user, unsigned idle, unsigned long long received)
{
    char text[512];

    snprintf(text, sizeof text, "cpu  %u 10 20 %u 40 5 5 20 0 0\ncpu0 1 1 1 1\n", user, idle);
    write_text("proc/stat", text);
    snprintf(text, sizeof text,
             "Inter-| Receive | Transmit\n face |bytes packets\n    lo: 9 9 0 0 0 0 0 0 9 9 0 0 0 0 0 0\n"
             " veth1: 7 7 0 0 0 0 0 0 7 7 0 0 0 0 0 0\n  eth0:%llu 100 0 0 0 0 0 0 3000 50 0 0 0 0 0 0\n",
             received);
    write_text("proc/net/dev", text);
}

static int set_up(void **state)
{
    snprintf(root, sizeof root, "/tmp/weir_test_host_XXXXXX");
    assert_non_null(mkdtemp(root));
    make_folder("proc");
    make_folder("proc/net");
    make_folder("sys");
    make_folder("sys/class");
    make_folder("sys/class/net");
    make_folder("sys/class/net/eth0");
    make_folder("sys/class/net/eth0/device");
    for (size_t i = 0; i < sizeof mount_points / sizeof *mount_points; i++)
        make_folder(mount_points[i]);
    write_text("proc/meminfo", memory);
    write_text("proc/loadavg", "0.5 1.25 2 1/100 4711\n");
    write_text("proc/mounts", mounts);
    write_counters(100, 800, 10000);
    resume_at = OFFSET_NONE;
    return 0;
}

static int tear_down(void **state)
{
    char command[128];

    snprintf(command, sizeof command, "rm -r %s", root);
    FILE *pipe = popen(command, "r");
    return pclose(pipe);
}

static int64_t resume(void *owner, const char *topic, int32_t partition, bool can_repeat)
{
    assert_string_equal(topic, "host");
    assert_false(can_repeat);
    return resume_at;
}

static struct source *open_host(unsigned worker, bool once)
{
    struct source_context context = quiet_context();
    struct source *source;
    struct error error;

    context.worker = worker;
    context.workers = 2;
    context.once = once;
    context.resume = resume;
    assert_int_equal(source_type_find("host")->open(&settings, &context, &source, &error), STATUS_OK);
    return source;
}

/* The sample at `now_us`, decoded; its offset, or -1 when there is none. */
static int64_t take_sample(struct source *source, int64_t now_us)
{
    const struct source_type *type = source_type_find("host");
    struct message message;
    enum poll_state state;

    type->advance(source, now_us);
    size_t count = type->poll(source, 0, &message, 1, &state);
    assert_int_equal(state, count ? POLL_MORE : POLL_END);
    if (count == 0)
        return -1;
    assert_true(message.arrival_us == now_us);
    assert_int_equal(rig_decode(&rig, message.payload.data, message.payload.size), STATUS_OK);
    type->release(source, 0, &message, 1);
    return message.offset;
}

/* NaN: there is no such row. */
static double value_of(const char *metric)
{
    for (uint32_t row = 0; row < rig.batch.rows; row++)
        if (span_is(rig.batch.metric[row], metric))
            return rig.batch.value[row];
    return NAN;
}

static uint32_t rows_of(const char *metric)
{
    uint32_t count = 0;

    for (uint32_t row = 0; row < rig.batch.rows; row++)
        count += span_is(rig.batch.metric[row], metric);
    return count;
}

static void assert_value(const char *metric, double expected)
{
    if (!(fabs(value_of(metric) - expected) < 1e-9))
        fail_msg("%s: %g, not %g", metric, value_of(metric), expected);
}

static void check_disk(void)
{
    struct statvfs about;
    char host[256] = {0};

    assert_int_equal(statvfs(root, &about), 0);
    double used = (double)(about.f_blocks - about.f_bfree);
    double expected = 100 * used / (used + (double)about.f_bavail);
    assert_int_equal(rows_of("disk"), 1); /* one of the two mounts of a device, no image, no remote ones */
    assert_true(fabs(value_of("disk") - expected) < 1);
    gethostname(host, sizeof host - 1);
    for (uint32_t row = 0; row < rig.batch.rows; row++) {
        assert_int_equal(rig.batch.mark[row], MARK_OK);
        assert_int_equal(rig.batch.kind[row], KIND_METRIC);
        assert_span(rig.batch.host[row], host);
        if (span_is(rig.batch.metric[row], "disk"))
            assert_span(rig.batch.labels[0][row], "/");
        if (span_is(rig.batch.metric[row], "network.in"))
            assert_span(rig.batch.labels[1][row], "eth0");
    }
}

static void test_figures(void **state)
{
    const int64_t start_us = time_of("2026-01-01T00:00:00Z");
    struct source *source = open_host(0, false);

    assert_true(take_sample(source, start_us) == start_us / 1000);
    assert_value("memory", 75);
    assert_value("swap", 25);
    assert_value("load1", 0.5);
    assert_value("load5", 1.25);
    assert_value("load15", 2);
    assert_int_equal(rows_of("cpu") + rows_of("network.in"), 0); /* no time has passed */
    check_disk();

    write_counters(160, 840, 30000); /* 100 ticks: 60 user, 40 idle; 20000 bytes in 8 s */
    assert_true(take_sample(source, start_us + 8 * SECOND_US) == -1);
    assert_true(take_sample(source, start_us + 10 * SECOND_US) == start_us / 1000 + 10000);
    assert_value("cpu", 60);
    assert_value("cpu.user", 60);
    assert_value("cpu.system", 0);
    assert_value("cpu.iowait", 0);
    assert_value("cpu.steal", 0);
    assert_value("network.in", 2000);
    assert_value("network.in.packets", 0);
    assert_value("network.out", 0);
    assert_int_equal(rows_of("network.in"), 1); /* veth1 is no device */
    assert_true(rig.batch.time_us[0] == start_us + 10 * SECOND_US);
    check_disk();
    source_type_find("host")->close(source);
}

/* A counter that went back (the interface is new, a CPU is gone) gives no rate; without swap no row; a clock
 * set back and a restart leave offsets rising. */
static void test_jumps(void **state)
{
    const int64_t start_us = time_of("2026-01-01T00:00:00Z");
    struct source *source;

    write_text("proc/meminfo", "MemTotal: 1000 kB\nMemAvailable: 500 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n");
    resume_at = start_us / 1000 + 60000;
    source = open_host(0, false);
    assert_true(take_sample(source, start_us) == resume_at);
    assert_value("memory", 50);
    assert_int_equal(rows_of("swap"), 0);
    write_counters(90, 900, 500);
    assert_true(take_sample(source, start_us + 10 * SECOND_US) == resume_at + 1);
    assert_int_equal(rows_of("network.in") + rows_of("cpu"), 0);
    assert_int_equal(rows_of("network.out"), 1);
    assert_true(take_sample(source, start_us - 3600 * INT64_C(1000000)) == resume_at + 2);
    assert_int_equal(rows_of("network.out"), 0);
    assert_true(take_sample(source, start_us + 7200 * INT64_C(1000000)) == start_us / 1000 + 7200000);
    source_type_find("host")->close(source);
}

static void test_once_and_others(void **state)
{
    const struct source_type *type = source_type_find("host");
    struct source *source = open_host(0, true), *other = open_host(1, false);
    struct message message;
    enum poll_state poll_state;

    type->advance(source, SECOND_US);
    assert_int_equal(type->poll(source, 0, &message, 1, &poll_state), 1);
    type->release(source, 0, &message, 1);
    type->advance(source, 100 * (int64_t)SECOND_US);
    assert_int_equal(type->poll(source, 0, &message, 1, &poll_state), 0);
    assert_int_equal(poll_state, POLL_DONE);
    type->close(source);

    type->advance(other, SECOND_US); /* the first worker has it */
    assert_true(type->ready(other));
    assert_int_equal(type->partition_count(other), 0);
    type->close(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_figures, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_jumps, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_once_and_others, set_up, tear_down),
    };

    rig_open(&rig, "fields",
             "map: {time: time, kind: kind, metric: metric, value: value, unit: unit, host: host, "
             "labels.mount: labels.mount, labels.device: labels.device}");
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rig_close(&rig);
    return failed;
}
