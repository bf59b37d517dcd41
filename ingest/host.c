/* CPU, memory, swap, disks, load and network of this machine, from /proc and statvfs. A sample is one
 * message: a JSON list of rows with the pipeline's own field names, which the format `fields` reads as they
 * are. Runs every few seconds. A sample's offset is its time in milliseconds, so that offsets rise from one
 * process to the next; it cannot be read again. Rates are over the time since the sample before.
 * Left out: network and other remote file systems, where statvfs may hang; read-only images, which are always
 * full; virtual network interfaces, unless there are no others. */
#include "base/json_writer.h"
#include "base/memory.h"
#include "ingest/source.h"

#include <assert.h>
#include <mntent.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum {
    SAMPLE_BYTES_MAX = 1024 * 1024,
    LINE_BYTES = 1024,
    HOST_BYTES = 256,
    MOUNT_BYTES = 16 * 1024,
    DISKS_MAX = 256,
    LINKS_MAX = 256,
};

struct host_settings {
    int64_t every;
    char *root;
};

struct processor { /* time of all CPUs together, in ticks since the start of the machine */
    unsigned long long user, system, iowait, steal, all;
};

enum { LINK_COUNTS = 4 };
struct network_link {
    char name[IFNAMSIZ];
    unsigned long long counts[LINK_COUNTS]; /* in the order of link_metrics */
};

static const struct {
    const char *name, *unit;
} link_metrics[LINK_COUNTS] = {
    {"network.in", "bytes/s"},
    {"network.in.packets", "packets/s"},
    {"network.out", "bytes/s"},
    {"network.out.packets", "packets/s"},
};

struct source {
    struct source_context context;
    const struct host_settings *settings;
    struct source_partition partition;
    bool found;
    bool waiting, taken; /* a sample was made and not polled; polled and not released */
    bool told;           /* that something cannot be read */
    char host[HOST_BYTES];
    int64_t due_us, sampled_us; /* TIME_NONE: never */
    int64_t offset;             /* of the last sample */
    struct processor processor;
    struct network_link links[LINKS_MAX];
    size_t link_count;
    struct buffer text;
    struct json_writer json;
};

static FILE *open_text(struct source *source, const char *name)
{
    char path[LINE_BYTES], line[2 * LINE_BYTES];
    FILE *file = NULL;

    if (snprintf(path, sizeof path, "%s/%s", source->settings->root, name) < (int)sizeof path)
        file = fopen(path, "re");
    if (!file && !source->told) {
        source->told = true;
        snprintf(line, sizeof line, "%s: %s cannot be read: its metrics are missing", source->context.name,
                 path);
        source->context.warn(source->context.owner, line);
    }
    return file;
}

static void add_labelled(struct source *source, const char *metric, double value, const char *unit,
                         const char *label, const char *label_value)
{
    struct json_writer *json = &source->json;

    json_open(json, NULL);
    json_time(json, "time", source->sampled_us);
    json_text(json, "kind", span_of(event_kind_names[KIND_METRIC]));
    json_text(json, "metric", span_of(metric));
    json_number(json, "value", value);
    json_text_if(json, "unit", span_of(unit));
    json_text_if(json, "host", span_of(source->host));
    if (label) {
        json_open(json, "labels");
        json_text(json, label, span_of(label_value));
        json_close(json);
    }
    json_close(json);
}

static void add(struct source *source, const char *metric, double value, const char *unit)
{
    add_labelled(source, metric, value, unit, NULL, NULL);
}

static double percent(double part, double whole)
{
    return 100 * part / whole;
}

static void add_processor(struct source *source)
{
    FILE *file = open_text(source, "proc/stat");
    unsigned long long user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0;
    struct processor before = source->processor, now;

    if (!file)
        return;
    int read = fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system, &idle,
                      &iowait, &irq, &softirq, &steal);
    fclose(file);
    now = (struct processor){
        .user = user + nice, .system = system + irq + softirq, .iowait = iowait, .steal = steal};
    now.all = now.user + now.system + iowait + steal + idle;
    source->processor = now;
    /* iowait may go back a little (proc(5)), all of them where a CPU is unplugged or the machine moves */
    bool goes_back = now.user < before.user || now.system < before.system || now.iowait < before.iowait ||
                     now.steal < before.steal || now.all <= before.all;
    if (read < 4 || before.all == 0 || goes_back)
        return;
    double all = (double)(now.all - before.all), user_part = (double)(now.user - before.user),
           system_part = (double)(now.system - before.system),
           steal_part = (double)(now.steal - before.steal);
    add(source, "cpu", percent(user_part + system_part + steal_part, all), "percent");
    add(source, "cpu.user", percent(user_part, all), "percent");
    add(source, "cpu.system", percent(system_part, all), "percent");
    add(source, "cpu.iowait", percent((double)(now.iowait - before.iowait), all), "percent");
    add(source, "cpu.steal", percent(steal_part, all), "percent");
}

static void add_memory(struct source *source)
{
    static const char *const names[] = {"MemTotal", "MemAvailable", "SwapTotal", "SwapFree"};
    double sizes[] = {0, 0, 0, 0};
    FILE *file = open_text(source, "proc/meminfo");
    char line[LINE_BYTES], name[64];
    double size;

    if (!file)
        return;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "%63[^:]: %lf", name, &size) == 2)
            for (size_t i = 0; i < sizeof names / sizeof *names; i++)
                if (strcmp(name, names[i]) == 0)
                    sizes[i] = size;
    fclose(file);
    if (sizes[0] > 0)
        add(source, "memory", percent(sizes[0] - sizes[1], sizes[0]), "percent");
    if (sizes[2] > 0)
        add(source, "swap", percent(sizes[2] - sizes[3], sizes[2]), "percent");
}

static void add_load(struct source *source)
{
    FILE *file = open_text(source, "proc/loadavg");
    double loads[3];

    if (!file)
        return;
    if (fscanf(file, "%lf %lf %lf", &loads[0], &loads[1], &loads[2]) == 3) {
        add(source, "load1", loads[0], "");
        add(source, "load5", loads[1], "");
        add(source, "load15", loads[2], "");
    }
    fclose(file);
}

static bool is_disk(const struct mntent *mount)
{
    static const char *const others[] = {"squashfs", "iso9660", "erofs", "udf", "cifs", "smb3", "autofs"};

    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(mount->mnt_type, others[i]) == 0)
            return false;
    if (strncmp(mount->mnt_type, "fuse.", strlen("fuse.")) == 0 || strncmp(mount->mnt_fsname, "//", 2) == 0)
        return false;
    return mount->mnt_fsname[0] == '/' || strcmp(mount->mnt_type, "overlay") == 0 ||
           strcmp(mount->mnt_type, "zfs") == 0;
}

static void add_disk(struct source *source, const struct mntent *mount)
{
    char path[MOUNT_BYTES];
    struct statvfs about;

    if (snprintf(path, sizeof path, "%s/%s", source->settings->root, mount->mnt_dir) >= (int)sizeof path ||
        statvfs(path, &about) != 0 || about.f_blocks == 0)
        return;
    /* as df: what only root may still fill is neither used nor free */
    double used = (double)(about.f_blocks - about.f_bfree);
    add_labelled(source, "disk", percent(used, used + (double)about.f_bavail), "percent", "mount",
                 mount->mnt_dir);
    if (about.f_files > 0)
        add_labelled(source, "disk.inodes",
                     percent((double)(about.f_files - about.f_ffree), (double)about.f_files), "percent",
                     "mount", mount->mnt_dir);
}

/* A device that is mounted in several places counts where it was mounted first. */
static void add_disks(struct source *source)
{
    FILE *file = open_text(source, "proc/mounts");
    char texts[MOUNT_BYTES];
    struct id128 seen[DISKS_MAX];
    size_t count = 0;
    struct mntent mount;

    if (!file)
        return;
    while (count < DISKS_MAX && getmntent_r(file, &mount, texts, sizeof texts)) {
        struct id_builder builder;
        size_t i = 0;

        if (!is_disk(&mount))
            continue;
        id_begin(&builder);
        id_add_text(&builder, span_of(mount.mnt_fsname));
        seen[count] = id_end(&builder);
        while (!id_equal(seen[i], seen[count]))
            i++;
        if (i < count)
            continue;
        count++;
        add_disk(source, &mount);
    }
    fclose(file);
}

/* Hardware, or what a virtual machine takes for it. */
static bool is_device(const struct source *source, const char *name)
{
    char path[LINE_BYTES];

    return snprintf(path, sizeof path, "%s/sys/class/net/%s/device", source->settings->root, name) <
               (int)sizeof path &&
           access(path, F_OK) == 0;
}

/* All but the loopback; in a container, where no interface is a device, those are what there is. */
static size_t read_links(struct source *source, struct network_link links[LINKS_MAX])
{
    FILE *file = open_text(source, "proc/net/dev");
    size_t count = 0, devices = 0;
    char line[LINE_BYTES];

    while (file && count < LINKS_MAX && fgets(line, sizeof line, file)) {
        struct network_link link;

        if (sscanf(line, " %15[^: ]: %llu %llu %*u %*u %*u %*u %*u %*u %llu %llu", link.name, &link.counts[0],
                   &link.counts[1], &link.counts[2], &link.counts[3]) != 1 + LINK_COUNTS ||
            strcmp(link.name, "lo") == 0)
            continue;
        bool device = is_device(source, link.name);
        if (device && devices == 0)
            count = 0;
        if (device || devices == 0)
            links[count++] = link;
        devices += device;
    }
    if (file)
        fclose(file);
    return count;
}

static void add_links(struct source *source, double seconds)
{
    struct network_link now[LINKS_MAX];
    size_t count = read_links(source, now);

    for (size_t i = 0; i < count; i++) {
        const struct network_link *before = source->links, *end = before + source->link_count;

        while (before < end && strcmp(before->name, now[i].name) != 0)
            before++;
        for (unsigned c = 0; before < end && c < LINK_COUNTS; c++)
            if (seconds > 0 && now[i].counts[c] >= before->counts[c])
                add_labelled(source, link_metrics[c].name,
                             (double)(now[i].counts[c] - before->counts[c]) / seconds, link_metrics[c].unit,
                             "device", now[i].name);
    }
    memcpy(source->links, now, count * sizeof *now);
    source->link_count = count;
}

static void take_sample(struct source *source, int64_t now_us)
{
    double seconds = source->sampled_us == TIME_NONE ? 0 : (double)(now_us - source->sampled_us) / 1e6;

    source->sampled_us = now_us;
    buffer_clear(&source->text);
    json_begin(&source->json, &source->text);
    json_open_list(&source->json, NULL);
    add_processor(source);
    add_memory(source);
    add_load(source);
    add_disks(source);
    add_links(source, seconds);
    json_close_list(&source->json);
    assert(!source->text.full);
    source->offset = now_us / 1000 > source->offset ? now_us / 1000 : source->offset + 1;
    source->waiting = true;
}

/* What the store knows is there by the first advance, not yet when the source is opened. */
static void find_place(struct source *source)
{
    const struct source_context *context = &source->context;
    int64_t next = context->resume ? context->resume(context->resume_owner, source->partition.topic, 0, false)
                                   : OFFSET_NONE;

    source->offset = next == OFFSET_NONE ? -1 : next - 1;
    source->found = true;
}

static void host_advance(struct source *source, int64_t now_us)
{
    int64_t every = source->settings->every;

    if (source->context.worker != 0)
        return;
    if (!source->found)
        find_place(source);
    if (source->waiting || source->taken || (source->context.once && source->sampled_us != TIME_NONE))
        return;
    /* a clock that was set back does not stop the samples */
    if (source->due_us != TIME_NONE && now_us < source->due_us && source->due_us - now_us <= every)
        return;
    bool in_step = source->due_us != TIME_NONE && now_us >= source->due_us && now_us - source->due_us < every;
    source->due_us = (in_step ? source->due_us : now_us) + every;
    take_sample(source, now_us);
}

static bool host_endless(const void *settings)
{
    return true;
}

static bool host_ready(const struct source *source)
{
    return source->found || source->context.worker != 0;
}

static size_t host_partition_count(const struct source *source)
{
    return source->found;
}

static const struct source_partition *host_partition(const struct source *source, size_t index)
{
    assert(source->found && index == 0);
    return &source->partition;
}

static size_t host_poll(struct source *source, size_t index, struct message *ret_messages, size_t limit,
                        enum poll_state *ret_state)
{
    assert(source->found && index == 0 && limit > 0 && !source->taken);
    if (!source->waiting) {
        *ret_state = source->context.once ? POLL_DONE : POLL_END;
        return 0;
    }
    ret_messages[0] = (struct message){
        .payload = buffer_span(&source->text), .offset = source->offset, .arrival_us = source->sampled_us};
    *ret_state = POLL_MORE;
    source->waiting = false;
    source->taken = true;
    return 1;
}

static void host_release(struct source *source, size_t index, struct message *messages, size_t count)
{
    source->taken = false;
}

static void host_close(struct source *source)
{
    buffer_free(&source->text);
    free(source);
}

static enum status host_open(const void *settings, const struct source_context *context,
                             struct source **ret_source, struct error *ret_error)
{
    struct source *source = memory_new(sizeof *source);

    *source = (struct source){.context = *context,
                              .settings = settings,
                              .partition = {.topic = "host", .committed = OFFSET_NONE},
                              .due_us = TIME_NONE,
                              .sampled_us = TIME_NONE,
                              .text.limit = SAMPLE_BYTES_MAX};
    if (gethostname(source->host, sizeof source->host - 1) != 0) {
        free(source);
        return fail(ret_error, "%s: the name of this machine cannot be read", context->name);
    }
    *ret_source = source;
    return STATUS_OK;
}

static const struct option host_options[] = {
    {.name = "every",
     .type = OPTION_DURATION,
     .offset = offsetof(struct host_settings, every),
     .default_text = "10s",
     .min = 0.1,
     .max = 86400,
     .help = "Time between samples; keep it below time.idle_after, else buckets close without them."},
    {.name = "root",
     .type = OPTION_PATH,
     .offset = offsetof(struct host_settings, root),
     .default_text = "/",
     .help = "Folder that stands for /: its proc/stat, proc/meminfo, proc/loadavg, proc/mounts and "
             "proc/net/dev are read."},
};

static const char *const host_labels[] = {"device", "mount", NULL};

const struct source_type host_source = {
    .name = "host",
    .help =
        "samples of this machine, rows of kind metric with metric, value, unit and host. In percent: cpu and "
        "its parts cpu.user, cpu.system, cpu.iowait (not in cpu), cpu.steal; memory (MemAvailable counts as "
        "free), swap; disk and disk.inodes of each labels.mount. load1, load5, load15. network.in, "
        "network.out (bytes/s), network.in.packets, network.out.packets (packets/s) of each labels.device. "
        "With --once: one sample, without rates",
    .options = host_options,
    .option_count = sizeof host_options / sizeof *host_options,
    .settings_size = sizeof(struct host_settings),
    .labels = host_labels,
    .open = host_open,
    .ready = host_ready,
    .endless = host_endless,
    .advance = host_advance,
    .partition_count = host_partition_count,
    .partition = host_partition,
    .poll = host_poll,
    .release = host_release,
    .close = host_close,
};
