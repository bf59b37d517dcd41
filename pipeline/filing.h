/* What a worker files with the store beside state and documents: dead letters, and the history of alerts and
 * of ended runs. They wait here until a keeper job has stored them, one job of each at a time. Runs are many
 * (of a task queue each task is one), so a job takes all of a cut, or of the bytes below. One thread. */
#pragma once
#include "pipeline/dead_letters.h"
#include "pipeline/keeper.h"
#include "pipeline/store.h"

enum { /* beyond the maxima no input is taken */
       FILING_LETTERS_MAX = 1000,
       FILING_RUN_BYTES = 256 * 1024,
       FILING_RUN_BYTES_MAX = 8 * 1024 * 1024
};

struct filed_letter {
    struct dead_letter letter;
    void *outlet; /* given back with the ticket once it is stored */
    uint64_t ticket;
    char *texts;
};

struct filed_line {
    struct history_line line;
    char *text;
};

struct letters_job {
    struct keeper_job job;
    struct filed_letter *letters;
    struct dead_letter *rows;
    size_t count, capacity, row_capacity;
};

struct lines_job {
    struct keeper_job job;
    struct filed_line *lines;
    struct history_line *rows;
    size_t count, capacity, row_capacity;
};

struct filed_runs {
    struct ended_run *rows;
    size_t count, capacity;
    struct buffer lines; /* of the rows, one after the other */
};

struct runs_job {
    struct keeper_job job;
    struct filed_runs runs;
};

struct filing {
    struct keeper *keeper;
    struct filed_letter *letters; /* not in a job yet */
    size_t letter_count, letter_capacity;
    struct letters_job letters_job;
    struct filed_line *lines;
    size_t line_count, line_capacity;
    struct lines_job lines_job;
    uint64_t lines_filed, lines_stored, lines_cut;
    struct filed_runs runs;
    struct runs_job runs_job;
    uint64_t runs_filed, runs_stored, runs_cut;
};

void filing_init(struct filing *filing, struct keeper *keeper);

void filing_close(struct filing *filing); /* no job of it runs any more */
void filing_letter(struct filing *filing, const struct dead_letter *letter, void *outlet, uint64_t ticket);
void filing_line(struct filing *filing, const struct history_line *line);
void filing_run(struct filing *filing, const struct ended_run *run);

/* Submits jobs, and tells of each letter that is stored now. Lines and runs are of this wall time: in a
 * process's first turn what tells them does not know it yet. Flush: what is told after the last cut, too. */
void filing_advance(struct filing *filing, int64_t now_us, bool flush,
                    void (*stored)(void *owner, void *outlet, uint64_t ticket), void *owner);
size_t filing_letters(const struct filing *filing); /* not stored */
bool filing_full(const struct filing *filing);
bool filing_has_runs(const struct filing *filing); /* not stored */

/* A cut has all lines and runs filed before it. */
void filing_freeze(struct filing *filing);
bool filing_saved(const struct filing *filing);
