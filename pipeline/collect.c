#include "pipeline/collect.h"

#include "base/memory.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct line {
    int64_t time_us;
    struct id128 id;
    uint64_t number; /* of arrival: only to keep revisions with one id in place */
    char *text;
    uint32_t size;
};

struct output {
    const char *path;
    FILE *file;
    collect_visit *visit; /* instead of a file */
    void *owner;
    struct line *lines;
    size_t count, capacity;
};

struct collect {
    pthread_mutex_t mutex;
    struct output outputs[DOC_KINDS];
    uint64_t number;
};

enum status collect_open(const char *const paths[DOC_KINDS], struct collect **ret_collect,
                         struct error *ret_error)
{
    struct collect *collect = memory_new(sizeof *collect);

    pthread_mutex_init(&collect->mutex, NULL);
    for (int kind = 0; kind < DOC_KINDS; kind++) {
        struct output *output = &collect->outputs[kind];

        if (!paths[kind])
            continue;
        output->path = paths[kind];
        output->file = strcmp(paths[kind], "-") == 0 ? stdout : fopen(paths[kind], "w");
        if (!output->file) {
            struct error ignored;

            fail(ret_error, "cannot write %s: %s", paths[kind], strerror(errno));
            collect_close(collect, &ignored);
            return STATUS_FATAL;
        }
    }
    *ret_collect = collect;
    return STATUS_OK;
}

struct collect *collect_open_reader(enum document_kind kind, collect_visit *visit, void *owner)
{
    struct collect *collect = memory_new(sizeof *collect);

    pthread_mutex_init(&collect->mutex, NULL);
    collect->outputs[kind].visit = visit;
    collect->outputs[kind].owner = owner;
    return collect;
}

bool collect_wants(const struct collect *collect, enum document_kind kind)
{
    return collect->outputs[kind].file || collect->outputs[kind].visit;
}

void collect_add(struct collect *collect, enum document_kind kind, int64_t time_us, struct id128 id,
                 struct span line)
{
    struct output *output = &collect->outputs[kind];
    struct line copy = {
        .time_us = time_us, .id = id, .text = memory_text(line.data, line.size), .size = line.size};

    pthread_mutex_lock(&collect->mutex);
    copy.number = collect->number++;
    output->lines =
        memory_reserve(output->lines, &output->capacity, output->count + 1, sizeof *output->lines);
    output->lines[output->count++] = copy;
    pthread_mutex_unlock(&collect->mutex);
}

static int compare_lines(const void *left, const void *right)
{
    const struct line *a = left, *b = right;
    int id = id_compare(a->id, b->id);

    if (a->time_us != b->time_us)
        return a->time_us < b->time_us ? -1 : 1;
    return id ? id : (a->number > b->number) - (a->number < b->number);
}

static enum status write_output(struct output *output, int64_t safe_us, bool all, struct error *error)
{
    size_t ready = 0;

    for (size_t i = 0; i < output->count; i++)
        if (all || output->lines[i].time_us < safe_us) {
            struct line line = output->lines[i];

            output->lines[i] = output->lines[ready];
            output->lines[ready++] = line;
        }
    if (ready)
        qsort(output->lines, ready, sizeof *output->lines, compare_lines);
    for (size_t i = 0; i < ready; i++) {
        const struct line *line = &output->lines[i];

        if (output->visit) {
            output->visit(output->owner, span_make(line->text, line->size));
        } else {
            fwrite(line->text, 1, line->size, output->file);
            fputc('\n', output->file);
        }
        free(line->text);
    }
    output->count -= ready;
    if (ready)
        memmove(output->lines, output->lines + ready, output->count * sizeof *output->lines);
    if (ready && output->file && ferror(output->file))
        return fail(error, "cannot write %s: %s", output->path, strerror(errno));
    return STATUS_OK;
}

static enum status write_all(struct collect *collect, int64_t safe_us, bool all, struct error *error)
{
    enum status status = STATUS_OK;

    pthread_mutex_lock(&collect->mutex);
    for (int kind = 0; kind < DOC_KINDS; kind++)
        if (collect_wants(collect, (enum document_kind)kind) && status == STATUS_OK)
            status = write_output(&collect->outputs[kind], safe_us, all, error);
    pthread_mutex_unlock(&collect->mutex);
    return status;
}

enum status collect_write(struct collect *collect, int64_t safe_us, struct error *ret_error)
{
    return write_all(collect, safe_us, false, ret_error);
}

enum status collect_close(struct collect *collect, struct error *ret_error)
{
    enum status status = write_all(collect, 0, true, ret_error);

    for (int kind = 0; kind < DOC_KINDS; kind++) {
        struct output *output = &collect->outputs[kind];

        if (output->file && (output->file == stdout ? fflush(stdout) : fclose(output->file)) != 0 &&
            status == STATUS_OK)
            status = fail(ret_error, "cannot write %s: %s", output->path, strerror(errno));
        free(output->lines);
    }
    pthread_mutex_destroy(&collect->mutex);
    free(collect);
    return status;
}
