/* Keys met within a span of event time, of one partition: what dedupe and throttle remember. An entry lives
 * until the partition's watermark reaches its end; a new key beyond the limit takes the place of the oldest
 * one, counted. */
#pragma once
#include "base/slots.h"
#include "base/state.h"

struct seen_entry {
    struct id128 key;
    int64_t end_us;        /* gone once the watermark is there */
    uint64_t place;        /* rises in the order of adding; 0: not in use */
    uint32_t older, newer; /* SLOT_NONE at the ends */
    uint32_t count;        /* the owner's */
};

struct seen {
    struct slots slots;
    struct seen_entry *entries;
    size_t capacity;
    uint32_t limit;
    uint32_t oldest, newest; /* in the order of adding */
    uint64_t last_place, evicted;
    struct blocks blocks;
    struct saver *saver;   /* of the last cut */
    struct state_key name; /* of its values there; the owner's */
};

void seen_init(struct seen *seen, uint32_t limit);
void seen_free(struct seen *seen);

/* NULL when the key was never met or its entry has ended. The entry is valid until the next call of any
 * function here. */
struct seen_entry *seen_find(struct seen *seen, struct id128 key, int64_t watermark_us);

/* Remembers a key that seen_find did not find, with count 0. */
struct seen_entry *seen_add(struct seen *seen, struct id128 key, int64_t end_us);

/* Comes before a change of the entry's count. */
void seen_touch(struct seen *seen, const struct seen_entry *entry);

/* State (base/state.h): blocks under `name`. seen_save makes values until `*budget` bytes
 * are used up; true: nothing frozen is left. Restored with a smaller limit, the newest entries stay. */
void seen_freeze(struct seen *seen, struct saver *saver);
bool seen_save(struct seen *seen, size_t *budget);
enum status seen_restore(struct seen *seen, uint32_t block, struct span value, struct error *ret_error);
void seen_restored(struct seen *seen); /* nothing when it is in use */
