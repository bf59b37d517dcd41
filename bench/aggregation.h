/* Fold, windows and judge of one worker, over generated events: what the cases that aggregate share. Their
 * time is measured part by part; making and decoding the events is not. */
#pragma once
#include "bench/report.h"
#include "bench/rig.h"

#include "pipeline/windows.h"

struct aggregation {
    struct rig rig;
    struct exchange *exchange;
    struct exchange_port *port;
    struct fold *fold;
    struct judge *judge;
    struct windows *windows;
    struct usage folding, merging, closing; /* totals */
    uint64_t buckets;                       /* told so far */
    double resident_before;                 /* bytes, of the process before the first event */

    /* of the last batch */
    struct usage closed;
    uint64_t closed_buckets;
    double longest_slice_s;
};

/* Sections as rig_open has them. To be closed only after STATUS_OK. */
enum status aggregation_open(const struct generator_options *options, const char *sections,
                             struct aggregation *ret_aggregation, struct error *ret_error);
void aggregation_close(struct aggregation *aggregation);

/* Takes the next batch and closes what its watermark has passed, in the slices of a worker's turns; false at
 * the end of the events. */
bool aggregation_step(struct aggregation *aggregation);

struct usage aggregation_used(const struct aggregation *aggregation); /* of all parts */
