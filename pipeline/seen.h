/* Keys met within a span of event time, of one partition: what dedupe and throttle remember. An entry lives
 * until the partition's watermark reaches its end; a new key beyond the limit takes the place of the oldest
 * one, counted. */
#pragma once
#include "base/slots.h"

struct seen_entry {
    struct id128 key;
    int64_t end_us;        /* gone once the watermark is there */
    uint32_t older, newer; /* SLOT_NONE at the ends */
    uint32_t count;        /* the owner's */
};

struct seen {
    struct slots slots;
    struct seen_entry *entries;
    size_t capacity;
    uint32_t oldest, newest; /* in the order of adding */
    uint64_t evicted;
};

void seen_init(struct seen *seen, uint32_t limit);
void seen_free(struct seen *seen);

/* NULL when the key was never met or its entry has ended. The entry is valid until the next call of any
 * function here. */
struct seen_entry *seen_find(struct seen *seen, struct id128 key, int64_t watermark_us);

/* Remembers a key that seen_find did not find, with count 0. */
struct seen_entry *seen_add(struct seen *seen, struct id128 key, int64_t end_us);
