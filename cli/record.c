/* weir record: the raw messages of a file's sources as they come, into files that the source `recorded` reads
 * (ingest/envelope.h is their form). It commits nothing and leaves the store alone. Lines of a partition are
 * compressed some hundred KiB at a time, each a frame of its own, so that a recording that ends anywhere is
 * whole up to there; all that wait take a bounded memory. */
#include "base/memory.h"
#include "base/timestamp.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "ingest/envelope.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zstd.h>

enum {
    POLLED_MAX = 1024,
    FRAME_BYTES = 256 * 1024,
    WAITING_BYTES_MAX = 64 * 1024 * 1024,
    FILE_BYTES = 64 * 1024 * 1024, /* of compressed bytes; then the next one begins */
    WAIT_US_MAX = 5 * 1000 * 1000, /* a line waits no longer for others */
    SLEEP_US = 5000,
    NAME_PART_MAX = 100,
};

struct track {     /* one partition */
    char *path;    /* NULL: the next line begins a file */
    int64_t bytes; /* written to it */
    struct buffer lines;
    int64_t since_us; /* the first of them came */
};

struct feed { /* one source */
    const struct plan_source *plan;
    struct source *source;
    struct track *tracks;
    size_t track_count, track_capacity;
    bool done;
};

struct recorder {
    const char *folder;
    struct feed *feeds;
    unsigned feed_count;
    size_t waiting_bytes;
    uint64_t messages, files;
    ZSTD_CCtx *compressor;
    char *frame;
    size_t frame_capacity;
};

static volatile sig_atomic_t stop_asked;

static void ask_stop(int signal_number)
{
    (void)signal_number;
    stop_asked = 1;
}

static int64_t wall_clock_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void warn(void *owner, const char *text)
{
    (void)owner;
    fprintf(stderr, "weir: %s\n", text);
}

/* File names have a limit; the lines have the whole. */
static struct span name_part(struct span text)
{
    return span_make(text.data, text.size < NAME_PART_MAX ? text.size : NAME_PART_MAX);
}

/* SOURCE-TOPIC-PARTITION-OFFSET: names sort by partition and time. Never over an older recording. */
static enum status begin_file(struct recorder *recorder, struct track *track, const struct envelope *first,
                              struct error *ret_error)
{
    struct buffer path;

    buffer_init(&path, 1 << 16);
    buffer_print(&path, "%s/", recorder->folder);
    size_t start = path.size;
    buffer_put_span(&path, name_part(first->source));
    buffer_put_char(&path, '-');
    buffer_put_span(&path, name_part(first->topic));
    buffer_print(&path, "-%d-%020lld.jsonl.zst", first->partition, (long long)first->offset);
    for (size_t i = start; i < path.size; i++)
        if (path.data[i] == '/' || (unsigned char)path.data[i] < 0x20)
            path.data[i] = '_';
    buffer_put_char(&path, '\0');
    int file = open(path.data, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    enum status status = STATUS_OK;
    if (file < 0)
        status = fail(ret_error, "cannot create %s: %s", path.data, strerror(errno));
    else
        close(file);
    track->path = path.data;
    track->bytes = 0;
    recorder->files++;
    return status;
}

static enum status write_frame(struct recorder *recorder, struct track *track, bool last,
                               struct error *ret_error)
{
    size_t bound = ZSTD_compressBound(track->lines.size);
    int file = open(track->path, O_WRONLY | O_APPEND | O_CLOEXEC);
    size_t size, done = 0;
    bool good = file >= 0;

    recorder->frame = memory_reserve(recorder->frame, &recorder->frame_capacity, bound, 1);
    size = ZSTD_compressCCtx(recorder->compressor, recorder->frame, bound, track->lines.data,
                             track->lines.size, ZSTD_CLEVEL_DEFAULT);
    while (good && done < size) {
        ssize_t wrote = write(file, recorder->frame + done, size - done);

        good = wrote > 0 || (wrote < 0 && errno == EINTR);
        done += wrote > 0 ? (size_t)wrote : 0;
    }
    good = good && (!last || fsync(file) == 0);
    if (file >= 0)
        good = close(file) == 0 && good;
    recorder->waiting_bytes -= track->lines.size;
    track->bytes += (int64_t)size;
    buffer_clear(&track->lines);
    return good ? STATUS_OK : fail(ret_error, "cannot write %s: %s", track->path, strerror(errno));
}

/* What waits goes to the file, which ends when it is large enough, or is asked to. */
static enum status flush(struct recorder *recorder, struct track *track, bool end, struct error *ret_error)
{
    enum status status = STATUS_OK;

    if (!track->path)
        return STATUS_OK;
    end |= track->bytes >= FILE_BYTES;
    if (track->lines.size > 0 || end)
        status = write_frame(recorder, track, end, ret_error);
    if (end) {
        free(track->path);
        track->path = NULL;
    }
    return status;
}

static enum status flush_all(struct recorder *recorder, bool end, struct error *ret_error)
{
    enum status status = STATUS_OK;

    for (unsigned f = 0; f < recorder->feed_count; f++)
        for (size_t t = 0; t < recorder->feeds[f].track_count && status == STATUS_OK; t++)
            status = flush(recorder, &recorder->feeds[f].tracks[t], end, ret_error);
    return status;
}

static enum status record_message(struct recorder *recorder, struct track *track,
                                  const struct envelope *envelope, int64_t now_us, struct error *ret_error)
{
    size_t before = track->lines.size;
    enum status status = STATUS_OK;

    if (!track->path)
        status = begin_file(recorder, track, envelope, ret_error);
    if (before == 0)
        track->since_us = now_us;
    envelope_write(envelope, &track->lines);
    buffer_put_char(&track->lines, '\n');
    recorder->waiting_bytes += track->lines.size - before;
    recorder->messages++;
    if (status == STATUS_OK && track->lines.size >= FRAME_BYTES)
        status = flush(recorder, track, false, ret_error);
    return status;
}

static struct track *track_of(struct feed *feed, size_t index)
{
    feed->tracks = memory_reserve(feed->tracks, &feed->track_capacity, index + 1, sizeof *feed->tracks);
    while (feed->track_count <= index) {
        struct track *track = &feed->tracks[feed->track_count++];

        *track = (struct track){0};
        buffer_init(&track->lines, SIZE_MAX);
    }
    return &feed->tracks[index];
}

/* What a partition has now; `ret_state` as poll says. */
static enum status record_partition(struct recorder *recorder, struct feed *feed, size_t index,
                                    int64_t now_us, size_t *ret_count, enum poll_state *ret_state,
                                    struct error *ret_error)
{
    static struct message messages[POLLED_MAX];
    const struct source_type *type = feed->plan->type;
    const struct source_partition *place = type->partition(feed->source, index);
    struct track *track = track_of(feed, index);
    size_t count = type->poll(feed->source, index, messages, POLLED_MAX, ret_state);
    enum status status = STATUS_OK;

    for (size_t i = 0; i < count && status == STATUS_OK; i++)
        status = record_message(recorder, track,
                                &(struct envelope){.source = span_of(feed->plan->name),
                                                   .topic = span_of(place->topic),
                                                   .partition = place->partition,
                                                   .offset = messages[i].offset,
                                                   .arrival_us = messages[i].arrival_us,
                                                   .payload = messages[i].payload},
                                now_us, ret_error);
    type->release(feed->source, index, messages, count);
    if (status == STATUS_OK && track->lines.size > 0 && now_us - track->since_us >= WAIT_US_MAX)
        status = flush(recorder, track, false, ret_error);
    *ret_count = count;
    return status;
}

static enum status record_feed(struct recorder *recorder, struct feed *feed, int64_t now_us,
                               size_t *ret_count, struct error *ret_error)
{
    const struct source_type *type = feed->plan->type;
    enum status status = STATUS_OK;
    bool done = !plan_source_is_endless(feed->plan);

    type->advance(feed->source, now_us);
    done &= !type->ready || type->ready(feed->source);
    for (size_t i = 0; i < type->partition_count(feed->source) && status == STATUS_OK; i++) {
        enum poll_state state;
        size_t count;

        status = record_partition(recorder, feed, i, now_us, &count, &state, ret_error);
        done &= state == POLL_DONE;
        *ret_count += count;
    }
    feed->done = done;
    return status;
}

/* Until asked to stop, the time is over, or nothing comes any more. */
static enum status record_all(struct recorder *recorder, int64_t for_us, struct error *ret_error)
{
    int64_t until_us = for_us ? wall_clock_us() + for_us : INT64_MAX;
    enum status status = STATUS_OK;
    bool done = false;

    while (!stop_asked && !done && status == STATUS_OK) {
        int64_t now_us = wall_clock_us();
        size_t count = 0;

        if (now_us >= until_us)
            break;
        done = true;
        for (unsigned f = 0; f < recorder->feed_count && status == STATUS_OK; f++) {
            if (!recorder->feeds[f].done)
                status = record_feed(recorder, &recorder->feeds[f], now_us, &count, ret_error);
            done &= recorder->feeds[f].done;
        }
        if (status == STATUS_OK && recorder->waiting_bytes > WAITING_BYTES_MAX)
            status = flush_all(recorder, false, ret_error);
        if (count == 0 && !done)
            usleep(SLEEP_US);
    }
    return status == STATUS_OK ? flush_all(recorder, true, ret_error) : status;
}

static enum status open_feeds(struct recorder *recorder, const struct plan *plan, struct error *ret_error)
{
    recorder->feeds = memory_new(plan->source_count * sizeof *recorder->feeds + 1);
    for (unsigned i = 0; i < plan->source_count; i++) {
        const struct source_context context = {.name = plan->sources[i].name,
                                               .workers = 1,
                                               .node = plan->sources[i].node,
                                               .receives = true,
                                               .warn = warn};
        struct feed *feed = &recorder->feeds[i];

        feed->plan = &plan->sources[i];
        if (feed->plan->type->open(feed->plan->settings, &context, &feed->source, ret_error) != STATUS_OK)
            return STATUS_FATAL;
        recorder->feed_count++;
    }
    return STATUS_OK;
}

static void close_recorder(struct recorder *recorder)
{
    for (unsigned f = 0; f < recorder->feed_count; f++) {
        struct feed *feed = &recorder->feeds[f];

        feed->plan->type->close(feed->source);
        for (size_t t = 0; t < feed->track_count; t++) {
            free(feed->tracks[t].path);
            buffer_free(&feed->tracks[t].lines);
        }
        free(feed->tracks);
    }
    ZSTD_freeCCtx(recorder->compressor);
    free(recorder->frame);
    free(recorder->feeds);
}

static int record(const struct plan *plan, const char *folder, int64_t for_us)
{
    struct recorder recorder = {.folder = folder, .compressor = ZSTD_createCCtx()};
    struct sigaction stop = {.sa_handler = ask_stop, .sa_flags = (int)SA_RESETHAND};
    struct error error;
    enum status status = STATUS_OK;

    sigaction(SIGINT, &stop, NULL); /* a second one ends the process at once */
    sigaction(SIGTERM, &stop, NULL);
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        status = fail(&error, "cannot create %s: %s", folder, strerror(errno));
    if (status == STATUS_OK)
        status = open_feeds(&recorder, plan, &error);
    if (status == STATUS_OK)
        status = record_all(&recorder, for_us, &error);
    if (status == STATUS_OK)
        fprintf(stderr, "weir: %llu messages in %llu files\n", (unsigned long long)recorder.messages,
                (unsigned long long)recorder.files);
    else
        fprintf(stderr, "weir: %s\n", error.text);
    close_recorder(&recorder);
    return status == STATUS_OK ? EXIT_DONE : EXIT_OUTSIDE;
}

int cli_record(int argc, char **argv)
{
    const char *folder = NULL, *period = NULL;
    const struct argument own[] = {{"--out", &folder, NULL}, {"--for", &period, NULL}, {0}};
    struct file_arguments arguments;
    struct plan *plan;
    int64_t for_us = 0;

    if (!arguments_read(argc, argv, own, &arguments))
        return EXIT_USAGE;
    if (!folder || (period && (!duration_parse(span_of(period), &for_us) || for_us <= 0))) {
        if (folder)
            fprintf(stderr, "weir record: --for %s: expected a time such as 10m\n", period);
        else
            fprintf(stderr, "weir record: needs --out FOLDER\n");
        return EXIT_USAGE;
    }
    if (!(plan = arguments_plan(&arguments)))
        return EXIT_USAGE;
    int code = record(plan, folder, for_us);
    plan_free(plan);
    return code;
}
