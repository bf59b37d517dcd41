/* A folder of files that `weir record` wrote: messages with the topic, partition, offset and arrival that
 * they had, so that a replay gives what the live source gave. A file has messages of one partition; the files
 * of a partition follow each other by their first offset. The folder is read once, when the source is opened.
 * Dropped: one file for all partitions, whose reader would have to keep what the slowest is not ready for. */
#include "base/memory.h"
#include "ingest/envelope.h"
#include "ingest/lines.h"
#include "ingest/source.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>

enum { POLL_BYTES = 4 * 1024 * 1024, WARNING_BYTES = 512 };

struct recorded_settings {
    char *path;
};

struct recorded_file {
    char *path, *topic;
    int32_t partition;
    int64_t first_offset;
};

struct recorded_partition {
    struct source_partition about;
    const struct recorded_file *next, *end; /* files not opened yet */
    struct lines lines;
    bool open;
    int64_t line_number; /* of the file */
    int64_t next_offset; /* what comes before it is passed over: read before, or in a file that overlaps */
    struct buffer texts; /* of the messages of the last poll */
};

struct source {
    struct source_context context;
    struct recorded_file *files;
    size_t file_count, file_capacity;
    struct recorded_partition *partitions; /* of this worker */
    size_t partition_count;
    bool found; /* where to read on */
};

static void warn(struct source *source, const struct recorded_partition *partition, const char *text)
{
    char line[WARNING_BYTES];
    struct buffer out = {.data = line, .capacity = sizeof line, .limit = sizeof line};

    buffer_print(&out, "%.300s: line %lld: %s", partition->lines.path, (long long)partition->line_number,
                 text);
    source->context.warn(source->context.owner, line);
}

/* Each once, as 'a', 'b'. */
static void note_name(struct span name, struct buffer *names)
{
    size_t start = names->size;

    buffer_print(names, "%s'%.*s'", start ? ", " : "", (int)name.size, name.data);
    if (start && memmem(names->data, start, names->data + start + 2, names->size - start - 2))
        buffer_truncate(names, start);
}

/* The first line says what a file is; false: it is no recording, or not of this source. The sources of
 * recordings are noted. */
static bool look_into(const struct source *source, struct recorded_file *file, struct buffer *names)
{
    struct lines lines;
    struct envelope envelope;
    struct buffer texts;
    struct span line;
    struct error error;
    bool got = false;

    buffer_init(&texts, SIZE_MAX);
    if (lines_open(&lines, file->path, &error) == STATUS_OK && !lines.may_wait) {
        while (!(got = lines_next(&lines, &line)) && lines.state == READ_MORE)
            lines_fill(&lines);
        got = got && envelope_read(line, &texts, &envelope);
    }
    if (got) {
        note_name(envelope.source, names);
        file->partition = envelope.partition;
        file->first_offset = envelope.offset;
        file->topic = memory_text(envelope.topic.data, envelope.topic.size);
        got = span_is(envelope.source, source->context.name);
    }
    lines_close(&lines);
    buffer_free(&texts);
    return got;
}

static enum status list_files(struct source *source, const char *folder, struct error *ret_error)
{
    DIR *listing = opendir(folder);
    struct buffer names;

    if (!listing)
        return fail(ret_error, "%s: %s", folder, strerror(errno));
    buffer_init(&names, 1 << 16);
    for (struct dirent *entry; (entry = readdir(listing));) {
        struct recorded_file file = {0};
        struct buffer path;

        if (entry->d_name[0] == '.')
            continue;
        buffer_init(&path, 1 << 16);
        buffer_print(&path, "%s/%s%c", folder, entry->d_name, '\0');
        file.path = path.data;
        if (look_into(source, &file, &names)) {
            source->files = memory_reserve(source->files, &source->file_capacity, source->file_count + 1,
                                           sizeof *source->files);
            source->files[source->file_count++] = file;
        } else {
            free(file.path);
            free(file.topic);
        }
    }
    closedir(listing);
    if (names.size == 0)
        fail(ret_error, "%s: no file that `weir record` wrote", folder);
    else if (source->file_count == 0)
        fail(ret_error, "%s: nothing of source '%s', only of %.*s", folder, source->context.name,
             (int)names.size, names.data);
    buffer_free(&names);
    return source->file_count ? STATUS_OK : STATUS_FATAL;
}

static bool is_same_partition(const struct recorded_file *a, const struct recorded_file *b)
{
    return a->partition == b->partition && strcmp(a->topic, b->topic) == 0;
}

static int compare_files(const void *left, const void *right)
{
    const struct recorded_file *a = left, *b = right;
    int topic = strcmp(a->topic, b->topic);

    if (topic || a->partition != b->partition)
        return topic ? topic : a->partition < b->partition ? -1 : 1;
    return (a->first_offset > b->first_offset) - (a->first_offset < b->first_offset);
}

static void make_partitions(struct source *source)
{
    size_t number = 0;

    source->partitions = memory_new(source->file_count * sizeof *source->partitions);
    for (size_t i = 0, end; i < source->file_count; i = end, number++) {
        const struct recorded_file *first = &source->files[i];

        for (end = i + 1; end < source->file_count && is_same_partition(first, &source->files[end]);)
            end++;
        if (number % source->context.workers != source->context.worker)
            continue;
        struct recorded_partition *partition = &source->partitions[source->partition_count++];
        *partition = (struct recorded_partition){
            .about = {.topic = first->topic, .partition = first->partition, .committed = OFFSET_NONE},
            .next = first,
            .end = &source->files[end],
            .lines.descriptor = -1,
            .next_offset = OFFSET_NONE};
        buffer_init(&partition->texts, SIZE_MAX);
    }
}

static void recorded_close(struct source *source)
{
    for (size_t i = 0; i < source->partition_count; i++) {
        lines_close(&source->partitions[i].lines);
        buffer_free(&source->partitions[i].texts);
    }
    for (size_t i = 0; i < source->file_count; i++) {
        free(source->files[i].path);
        free(source->files[i].topic);
    }
    free(source->partitions);
    free(source->files);
    free(source);
}

static enum status recorded_open(const void *settings, const struct source_context *context,
                                 struct source **ret_source, struct error *ret_error)
{
    struct source *source = memory_new(sizeof *source);

    source->context = *context;
    if (list_files(source, ((const struct recorded_settings *)settings)->path, ret_error) != STATUS_OK) {
        recorded_close(source);
        return STATUS_FATAL;
    }
    qsort(source->files, source->file_count, sizeof *source->files, compare_files);
    make_partitions(source);
    *ret_source = source;
    return STATUS_OK;
}

/* What the store knows is there by the first advance, not yet when the source is opened. */
static void recorded_advance(struct source *source, int64_t now_us)
{
    const struct source_context *context = &source->context;

    for (size_t i = 0; !source->found && i < source->partition_count && context->resume; i++) {
        struct recorded_partition *partition = &source->partitions[i];

        partition->next_offset =
            context->resume(context->resume_owner, partition->about.topic, partition->about.partition, true);
    }
    source->found = true;
}

static bool recorded_ready(const struct source *source)
{
    return source->found;
}

static size_t recorded_partition_count(const struct source *source)
{
    return source->found ? source->partition_count : 0;
}

static const struct source_partition *recorded_partition(const struct source *source, size_t index)
{
    return &source->partitions[index].about;
}

/* False: there is none left. */
static bool open_next(struct source *source, struct recorded_partition *partition)
{
    struct error error;

    lines_close(&partition->lines);
    partition->open = false;
    while (partition->next < partition->end && !partition->open) {
        partition->line_number = 0;
        partition->open = lines_open(&partition->lines, partition->next++->path, &error) == STATUS_OK;
        if (!partition->open) {
            source->context.warn(source->context.owner, error.text);
            lines_close(&partition->lines);
        }
    }
    return partition->open;
}

/* The next message of a line; its payload's place is told in the texts, which may still move. */
static bool take_line(struct source *source, struct recorded_partition *partition, struct span line,
                      struct message *ret_message)
{
    struct envelope envelope;

    partition->line_number++;
    if (!envelope_read(line, &partition->texts, &envelope)) {
        warn(source, partition, "is no recorded message, and is left out");
        return false;
    }
    if (envelope.offset < partition->next_offset)
        return false;
    partition->next_offset = envelope.offset + 1;
    *ret_message =
        (struct message){.payload = span_make((const char *)(envelope.payload.data - partition->texts.data),
                                              envelope.payload.size),
                         .offset = envelope.offset,
                         .arrival_us = envelope.arrival_us};
    return true;
}

static size_t recorded_poll(struct source *source, size_t index, struct message *ret_messages, size_t limit,
                            enum poll_state *ret_state)
{
    struct recorded_partition *partition = &source->partitions[index];
    struct lines *lines = &partition->lines;
    bool filled = false;
    size_t count = 0;

    buffer_clear(&partition->texts);
    while (count < limit && partition->texts.size < POLL_BYTES) {
        struct span line;

        if (partition->open && lines_next(lines, &line)) {
            count += take_line(source, partition, line, &ret_messages[count]);
            continue;
        }
        if (count > 0 || filled)
            break;
        if (partition->open && lines->trouble)
            warn(source, partition, lines->trouble);
        if ((!partition->open || lines->state == READ_DONE) && !open_next(source, partition))
            break;
        lines->trouble = NULL;
        lines_fill(lines);
        filled = true;
    }
    for (size_t i = 0; i < count; i++)
        ret_messages[i].payload.data = partition->texts.data + (uintptr_t)ret_messages[i].payload.data;
    *ret_state = count > 0 || partition->open ? POLL_MORE : POLL_DONE;
    return count;
}

/* The texts move only in the next poll. */
static void recorded_release(struct source *source, size_t index, struct message *messages, size_t count)
{
}

static const struct option recorded_options[] = {
    {.name = "path",
     .type = OPTION_PATH,
     .offset = offsetof(struct recorded_settings, path),
     .required = true,
     .help = "Folder that `weir record` wrote; what it has of a source of this name is read."},
};

const struct source_type recorded_source = {
    .name = "recorded",
    .help = "messages that `weir record` kept, with the topic, partition, offset and arrival that they had",
    .options = recorded_options,
    .option_count = sizeof recorded_options / sizeof *recorded_options,
    .settings_size = sizeof(struct recorded_settings),
    .open = recorded_open,
    .ready = recorded_ready,
    .advance = recorded_advance,
    .partition_count = recorded_partition_count,
    .partition = recorded_partition,
    .poll = recorded_poll,
    .release = recorded_release,
    .close = recorded_close,
};
