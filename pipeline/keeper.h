/* The store's thread: workers hand it jobs and go on; it does one at a time, the urgent ones first, each
 * kind in the order given. A job that the store refuses for now (disk full) stays at the front and is tried
 * again each second; until it succeeds the keeper is holding, and workers take no input: nothing is
 * committed or acknowledged that was not stored. A simulation calls keeper_step itself instead of
 * keeper_start. */
#pragma once
#include "base/status.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;
struct dead_letters;

struct keeper_stores { /* borrowed */
    struct store *store;
    struct dead_letters *dead_letters;
};

struct keeper_job {
    /* Runs on the keeper's thread. STATUS_RETRY: is run again later. STATUS_SKIP: given up, as good as
     * done. */
    enum status (*run)(struct keeper_job *job, const struct keeper_stores *stores, struct error *ret_error);
    struct keeper_job *next;
    _Atomic bool done; /* set after run; from then on the memory is the submitter's again */
    bool urgent;
};

struct keeper;

struct keeper *keeper_new(const struct keeper_stores *stores, void (*warn)(void *owner, const char *text),
                          void *owner);
void keeper_free(
    struct keeper *keeper); /* stopped; jobs not run are forgotten, their memory is the submitters' */
enum status keeper_start(struct keeper *keeper, struct error *ret_error);
void keeper_stop(
    struct keeper *keeper); /* joins the thread; does what is queued first unless it is holding */

void keeper_submit(struct keeper *keeper, struct keeper_job *job); /* any thread */
bool keeper_step(struct keeper *keeper, int64_t now_us); /* one job at most; true: something was done */
bool keeper_holding(const struct keeper *keeper);
void keeper_reason(struct keeper *keeper, struct error *ret_reason); /* of the last refusal; any thread */
const char *keeper_failure(const struct keeper *keeper); /* the store is broken for good: why; else NULL */
size_t keeper_waiting(struct keeper *keeper);            /* jobs not done */
