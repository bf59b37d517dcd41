/* The stages fold, send, receive and close, without a worker around them. */
#include "bench/aggregation.h"

enum { BUCKETS_A_SLICE = 2000 }; /* as a worker's turn has it */

static void count_bucket(void *owner, const struct bucket *bucket, int64_t at_us)
{
    struct aggregation *aggregation = owner;

    (void)bucket;
    (void)at_us;
    aggregation->buckets++;
}

static void ignore_signal(void *owner, const struct signal_record *record)
{
    (void)owner;
    (void)record;
}

enum status aggregation_open(const struct generator_options *options, const char *sections,
                             struct aggregation *ret_aggregation, struct error *ret_error)
{
    struct aggregation *aggregation = ret_aggregation;
    struct windows_output output = {.bucket = count_bucket, .signal = ignore_signal, .owner = aggregation};

    *aggregation = (struct aggregation){0};
    if (rig_open(options, sections, &aggregation->rig, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    const struct plan *plan = aggregation->rig.plan;

    aggregation->exchange = exchange_new(1);
    aggregation->port = exchange_port(aggregation->exchange, 0);
    aggregation->fold = fold_new(plan, false, aggregation->port, 1);
    aggregation->judge = judge_new(plan, aggregation->port);
    aggregation->windows = windows_new(plan, 0, 1, aggregation->judge, &output);
    aggregation->resident_before = resident_bytes_trimmed();
    return STATUS_OK;
}

static void take_block(struct aggregation *aggregation, struct block *block)
{
    for (uint32_t at = 0; at < block->used;) {
        struct record *record = (struct record *)(block->bytes + at);

        at += record->size;
        if (record->type == RECORD_PANE)
            windows_merge(aggregation->windows, (struct pane_record *)record);
        else if (record->type == RECORD_CORRECTION)
            windows_correct_later(aggregation->windows, (struct pane_record *)record, block);
    }
    block_release(block);
}

static void receive(struct aggregation *aggregation)
{
    struct block *block;

    do {
        exchange_flush(aggregation->port);
        while ((block = exchange_receive(aggregation->port)))
            take_block(aggregation, block);
    } while (exchange_stalled(aggregation->port));
}

void aggregation_close(struct aggregation *aggregation)
{
    fold_free(aggregation->fold);
    windows_free(aggregation->windows);
    judge_free(aggregation->judge);
    exchange_free(aggregation->exchange);
    rig_close(&aggregation->rig);
}

static void close_buckets(struct aggregation *aggregation, int64_t until_us)
{
    const struct windows_time time = {
        .events_us = until_us, .runs_us = until_us, .firm_us = until_us, .partial_us = INT64_MIN};
    struct usage before = usage_now(), slice;
    uint64_t buckets = aggregation->buckets;
    bool done;

    aggregation->longest_slice_s = 0;
    do {
        slice = usage_now();
        done = windows_close(aggregation->windows, &time, BUCKETS_A_SLICE);
        slice = usage_since(slice);
        if (slice.cpu > aggregation->longest_slice_s)
            aggregation->longest_slice_s = slice.cpu;
    } while (!done);
    aggregation->closed_buckets = aggregation->buckets - buckets;
    aggregation->closed = usage_since(before);
    if (aggregation->closed_buckets) /* else it is the clock that takes time */
        usage_add(&aggregation->closing, aggregation->closed);
}

bool aggregation_step(struct aggregation *aggregation)
{
    struct usage begun, folded;
    int64_t until_us;

    if (!rig_next(&aggregation->rig))
        return false;
    until_us = aggregation->rig.greatest_us - aggregation->rig.plan->time.lateness;
    begun = usage_now();
    fold_rows(aggregation->fold, &aggregation->rig.batch);
    folded = usage_now();
    fold_send(aggregation->fold, until_us, SIZE_MAX);
    receive(aggregation);
    usage_add(&aggregation->merging, usage_since(folded));
    usage_add(&aggregation->folding, (struct usage){folded.wall - begun.wall, folded.cpu - begun.cpu});
    close_buckets(aggregation, until_us);
    return true;
}

struct usage aggregation_used(const struct aggregation *aggregation)
{
    struct usage used = aggregation->folding;

    usage_add(&used, aggregation->merging);
    usage_add(&used, aggregation->closing);
    return used;
}
