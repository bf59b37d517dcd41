#include "pipeline/filing.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>

void filing_init(struct filing *filing, struct keeper *keeper)
{
    *filing = (struct filing){.keeper = keeper};
    buffer_init(&filing->runs.lines, SIZE_MAX);
    buffer_init(&filing->runs_job.runs.lines, SIZE_MAX);
}

static void free_runs(struct filed_runs *runs)
{
    buffer_free(&runs->lines);
    free(runs->rows);
}

void filing_close(struct filing *filing)
{
    free_runs(&filing->runs);
    free_runs(&filing->runs_job.runs);
    for (size_t i = 0; i < filing->letter_count; i++)
        free(filing->letters[i].texts);
    for (size_t i = 0; i < filing->letters_job.count; i++)
        free(filing->letters_job.letters[i].texts);
    for (size_t i = 0; i < filing->line_count; i++)
        free(filing->lines[i].text);
    for (size_t i = 0; i < filing->lines_job.count; i++)
        free(filing->lines_job.lines[i].text);
    free(filing->letters);
    free(filing->letters_job.letters);
    free(filing->letters_job.rows);
    free(filing->lines);
    free(filing->lines_job.lines);
    free(filing->lines_job.rows);
}

void filing_letter(struct filing *filing, const struct dead_letter *letter, void *outlet, uint64_t ticket)
{
    struct filed_letter *copy;
    size_t size = 0;

    filing->letters = memory_reserve(filing->letters, &filing->letter_capacity, filing->letter_count + 1,
                                     sizeof *filing->letters);
    copy = &filing->letters[filing->letter_count++];
    *copy = (struct filed_letter){.letter = *letter, .outlet = outlet, .ticket = ticket};
    struct span *texts[] = {&copy->letter.source, &copy->letter.topic,   &copy->letter.sink,
                            &copy->letter.reason, &copy->letter.payload, &copy->letter.document};

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        size += texts[i]->size;
    char *cursor = copy->texts = memory_new(size + 1);

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (texts[i]->size)
            memcpy(cursor, texts[i]->data, texts[i]->size);
        texts[i]->data = cursor;
        cursor += texts[i]->size;
    }
}

void filing_line(struct filing *filing, const struct history_line *line)
{
    struct filed_line *copy;

    filing->lines =
        memory_reserve(filing->lines, &filing->line_capacity, filing->line_count + 1, sizeof *filing->lines);
    copy = &filing->lines[filing->line_count++];
    *copy = (struct filed_line){.line = *line, .text = memory_text(line->line.data, line->line.size)};
    copy->line.line.data = copy->text;
    filing->lines_filed++;
}

void filing_run(struct filing *filing, const struct ended_run *run)
{
    struct filed_runs *runs = &filing->runs;

    runs->rows = memory_reserve(runs->rows, &runs->capacity, runs->count + 1, sizeof *runs->rows);
    runs->rows[runs->count++] = *run;
    buffer_put_span(&runs->lines, run->line);
    filing->runs_filed++;
}

static enum status run_letters(struct keeper_job *job, const struct keeper_stores *stores,
                               struct error *ret_error)
{
    const struct letters_job *letters = (const struct letters_job *)job;

    return dead_letters_put(stores->dead_letters, letters->rows, letters->count, ret_error);
}

static enum status run_lines(struct keeper_job *job, const struct keeper_stores *stores,
                             struct error *ret_error)
{
    const struct lines_job *lines = (const struct lines_job *)job;

    return store_history_put(stores->store, lines->rows, lines->count, ret_error);
}

static enum status run_runs(struct keeper_job *job, const struct keeper_stores *stores,
                            struct error *ret_error)
{
    const struct filed_runs *runs = &((const struct runs_job *)job)->runs;

    return store_runs_put(stores->store, runs->rows, runs->count, ret_error);
}

static void submit_letters(struct filing *filing)
{
    struct letters_job *job = &filing->letters_job;
    struct filed_letter *letters = job->letters;
    size_t capacity = job->capacity;

    job->job = (struct keeper_job){.run = run_letters, .urgent = true};
    job->letters = filing->letters;
    job->count = filing->letter_count;
    job->capacity = filing->letter_capacity;
    job->rows = memory_reserve(job->rows, &job->row_capacity, job->count, sizeof *job->rows);
    for (size_t i = 0; i < job->count; i++)
        job->rows[i] = job->letters[i].letter;
    filing->letters = letters;
    filing->letter_capacity = capacity;
    filing->letter_count = 0;
    keeper_submit(filing->keeper, &job->job);
}

static void submit_lines(struct filing *filing, int64_t now_us)
{
    struct lines_job *job = &filing->lines_job;
    struct filed_line *lines = job->lines;
    size_t capacity = job->capacity;

    job->job = (struct keeper_job){.run = run_lines};
    job->lines = filing->lines;
    job->count = filing->line_count;
    job->capacity = filing->line_capacity;
    job->rows = memory_reserve(job->rows, &job->row_capacity, job->count, sizeof *job->rows);
    for (size_t i = 0; i < job->count; i++) {
        job->rows[i] = job->lines[i].line;
        job->rows[i].told_us = now_us;
    }
    filing->lines = lines;
    filing->line_capacity = capacity;
    filing->line_count = 0;
    keeper_submit(filing->keeper, &job->job);
}

static void submit_runs(struct filing *filing, int64_t now_us)
{
    struct filed_runs runs = filing->runs;
    const char *line = runs.lines.data;

    for (size_t i = 0; i < runs.count; line += runs.rows[i++].line.size) {
        runs.rows[i].line.data = line;
        runs.rows[i].told_us = now_us;
    }
    filing->runs = filing->runs_job.runs;
    filing->runs.count = 0;
    buffer_clear(&filing->runs.lines);
    filing->runs_job = (struct runs_job){.job.run = run_runs, .runs = runs};
    keeper_submit(filing->keeper, &filing->runs_job.job);
}

static bool is_done(const struct keeper_job *job)
{
    return atomic_load_explicit(&job->done, memory_order_acquire);
}

void filing_advance(struct filing *filing, int64_t now_us, bool flush,
                    void (*stored)(void *owner, void *outlet, uint64_t ticket), void *owner)
{
    if (filing->letters_job.count > 0 && is_done(&filing->letters_job.job)) {
        for (size_t i = 0; i < filing->letters_job.count; i++) {
            stored(owner, filing->letters_job.letters[i].outlet, filing->letters_job.letters[i].ticket);
            free(filing->letters_job.letters[i].texts);
        }
        filing->letters_job.count = 0;
    }
    if (filing->lines_job.count > 0 && is_done(&filing->lines_job.job)) {
        for (size_t i = 0; i < filing->lines_job.count; i++)
            free(filing->lines_job.lines[i].text);
        filing->lines_stored += filing->lines_job.count;
        filing->lines_job.count = 0;
    }
    if (filing->runs_job.runs.count > 0 && is_done(&filing->runs_job.job)) {
        filing->runs_stored += filing->runs_job.runs.count;
        filing->runs_job.runs.count = 0;
    }
    if (filing->letter_count > 0 && filing->letters_job.count == 0)
        submit_letters(filing);
    if (filing->line_count > 0 && filing->lines_job.count == 0)
        submit_lines(filing, now_us);
    if (filing->runs.count > 0 && filing->runs_job.runs.count == 0 &&
        (flush || filing->runs_stored < filing->runs_cut || filing->runs.lines.size >= FILING_RUN_BYTES))
        submit_runs(filing, now_us);
}

size_t filing_letters(const struct filing *filing)
{
    return filing->letter_count + filing->letters_job.count;
}

bool filing_full(const struct filing *filing)
{
    return filing_letters(filing) > FILING_LETTERS_MAX || filing->runs.lines.size > FILING_RUN_BYTES_MAX;
}

bool filing_has_runs(const struct filing *filing)
{
    return filing->runs_stored < filing->runs_filed;
}

void filing_freeze(struct filing *filing)
{
    filing->runs_cut = filing->runs_filed;
    filing->lines_cut = filing->lines_filed;
}

bool filing_saved(const struct filing *filing)
{
    return filing->lines_stored >= filing->lines_cut && filing->runs_stored >= filing->runs_cut;
}
