/* What a worker files with the store beside state and documents: dead letters, and the history of alerts.
 * Both wait here until a keeper job has stored them, one job of each at a time. One thread. */
#pragma once
#include "pipeline/dead_letters.h"
#include "pipeline/keeper.h"
#include "pipeline/store.h"

enum { FILING_LETTERS_MAX = 1000 }; /* beyond it no input is taken */

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

struct filing {
    struct keeper *keeper;
    struct filed_letter *letters; /* not in a job yet */
    size_t letter_count, letter_capacity;
    struct letters_job letters_job;
    struct filed_line *lines;
    size_t line_count, line_capacity;
    struct lines_job lines_job;
    uint64_t lines_filed, lines_stored, lines_cut;
};

void filing_close(struct filing *filing); /* no job of it runs any more */
void filing_letter(struct filing *filing, const struct dead_letter *letter, void *outlet, uint64_t ticket);
void filing_line(struct filing *filing, const struct history_line *line);

/* Submits jobs, and tells of each letter that is stored now. */
void filing_advance(struct filing *filing, void (*stored)(void *owner, void *outlet, uint64_t ticket),
                    void *owner);
size_t filing_letters(const struct filing *filing); /* not stored */

/* A cut has all lines filed before it. */
void filing_freeze(struct filing *filing);
bool filing_saved(const struct filing *filing);
