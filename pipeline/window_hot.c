#include "pipeline/window_hot.h"

#include "base/memory.h"
#include "pipeline/window_table.h"

#include <assert.h>
#include <stdlib.h>

enum {
    SILENT_BUCKETS = 64, /* after so many another series may have its block */
    PAGE_BYTES = 1024,   /* a bucket changes a few hundred bytes here and there */
    PLACES_MAX = 1 << 20,
    HOT_VERSION = 1,
    HEAD_BYTES = 1 + 4 + 8, /* of a stored page: version, slot, active */
};

static const struct plan_detector *detector_of(const struct windows *windows,
                                               const struct series_table *table, unsigned detector)
{
    return &windows->plan->detectors[table->group->detectors[detector]];
}

static unsigned page_count(const struct plan_detector *detector)
{
    return (unsigned)((detector->hot_size + PAGE_BYTES - 1) / PAGE_BYTES);
}

static size_t page_size(const struct plan_detector *detector, unsigned page)
{
    size_t left = detector->hot_size - (size_t)page * PAGE_BYTES;

    return left < PAGE_BYTES ? left : PAGE_BYTES;
}

/* Never 0. The series is part of it: what another one left in the store is always replaced. */
static uint64_t page_hash(const struct plan_detector *detector, const struct hot_block *block, unsigned page)
{
    return hash_bytes(block->bytes + (size_t)page * PAGE_BYTES, page_size(detector, page), block->slot) | 1;
}

static size_t limit_of(const struct windows *windows, const struct plan_detector *detector)
{
    return (size_t)windows->plan->limits.hot_bytes / SHARDS / windows->plan->hot_detectors /
           detector->hot_size;
}

void hot_free(struct hot_table *hot)
{
    for (size_t i = 0; i < hot->count; i++) {
        free(hot->blocks[i].bytes);
        free(hot->blocks[i].hashes);
    }
    free(hot->blocks);
    free(hot->places);
    free(hot->asking);
    blocks_free(&hot->marks);
}

void hot_grow(struct hot_table *hot, size_t before, size_t after)
{
    hot->places = memory_grow(hot->places, after * sizeof *hot->places);
    memset(hot->places + before, 0, (after - before) * sizeof *hot->places);
}

/* A page that is as stored is left out; the first one tells of the whole block, and that it is lent. */
static void save_place(struct windows *windows, struct series_table *table, unsigned number, uint32_t place)
{
    const struct plan_detector *detector = detector_of(windows, table, number);
    struct saver *saver = windows->saving.saver;
    struct hot_table *hot = &table->hot[number];
    struct hot_block *block = &hot->blocks[place];
    unsigned pages = page_count(detector);

    for (unsigned page = 0; page < (block->bytes ? pages : 1); page++) {
        uint64_t hash = block->bytes ? page_hash(detector, block, page) : 0;

        if (page > 0 && hash == block->hashes[page])
            continue;
        block->hashes[page] = hash;
        pack_u8(&saver->bytes, HOT_VERSION);
        pack_u32(&saver->bytes, block->slot);
        pack_i64(&saver->bytes, page == 0 ? block->active_us : 0);
        if (block->bytes)
            buffer_put(&saver->bytes, block->bytes + (size_t)page * PAGE_BYTES, page_size(detector, page));
        saver_put(saver, (struct state_key){.kind = STATE_HOT,
                                            .block = place * pages + page,
                                            .owner = table->shard,
                                            .part = detector->identity});
    }
    blocks_saved(&hot->marks, place);
}

static void touch(struct windows *windows, struct series_table *table, unsigned number, uint32_t place)
{
    if (blocks_touch(&table->hot[number].marks, place * BLOCK_SLOTS))
        save_place(windows, table, number, place);
}

void *hot_use(struct windows *windows, struct series_table *table, unsigned detector, uint32_t slot,
              int64_t end_us)
{
    struct hot_table *hot = &table->hot[detector];
    uint32_t place = hot->places[slot];

    if (place == 0)
        return NULL;
    touch(windows, table, detector, place - 1);
    hot->blocks[place - 1].active_us = end_us;
    return hot->blocks[place - 1].bytes;
}

void hot_ask(struct hot_table *hot, uint32_t slot, bool wants)
{
    if (wants == (hot->places[slot] != 0))
        return;
    hot->asking =
        memory_reserve(hot->asking, &hot->asking_capacity, hot->asking_count + 1, sizeof *hot->asking);
    hot->asking[hot->asking_count++] = slot;
}

static void take_back(struct windows *windows, struct series_table *table, unsigned number, uint32_t place)
{
    struct hot_table *hot = &table->hot[number];
    struct hot_block *block = &hot->blocks[place];

    touch(windows, table, number, place);
    hot->places[block->slot] = 0;
    hot->lent--;
    free(block->bytes);
    block->bytes = NULL;
    windows->figures.hot_series--;
    windows->figures.hot_bytes -= detector_of(windows, table, number)->hot_size;
}

/* Places up to this one, those that are new free. */
static void add_places(const struct plan_detector *detector, struct hot_table *hot, uint32_t place)
{
    for (; hot->count <= place; hot->count++) {
        hot->blocks = memory_reserve(hot->blocks, &hot->capacity, hot->count + 1, sizeof *hot->blocks);
        hot->blocks[hot->count] = (struct hot_block){
            .slot = SLOT_NONE, .hashes = memory_new(page_count(detector) * sizeof(uint64_t))};
    }
}

static void take_block(struct windows *windows, struct hot_table *hot, uint32_t place, uint32_t slot)
{
    hot->blocks[place].slot = slot;
    hot->places[slot] = place + 1;
    hot->lent++;
    windows->figures.hot_series++;
}

static void lend(struct windows *windows, struct series_table *table, unsigned number, uint32_t slot,
                 int64_t end_us)
{
    const struct plan_detector *detector = detector_of(windows, table, number);
    struct hot_table *hot = &table->hot[number];
    uint32_t place = 0;

    while (place < hot->count && hot->blocks[place].bytes)
        place++;
    add_places(detector, hot, place);
    touch(windows, table, number, place);
    take_block(windows, hot, place, slot);
    hot->blocks[place].bytes = memory_new(detector->hot_size);
    hot->blocks[place].active_us = end_us;
    windows->figures.hot_bytes += detector->hot_size;
}

static struct id128 key_of_place(const struct series_table *table, const struct hot_block *block)
{
    return table->slots.keys[block->slot];
}

/* The block whose series is silent for the longest, of those long enough; of equals the lowest key. */
static uint32_t find_silent(const struct series_table *table, const struct hot_table *hot, int64_t end_us)
{
    int64_t until_us = end_us - SILENT_BUCKETS * table->group->every_us;
    uint32_t best = UINT32_MAX;

    for (uint32_t i = 0; i < hot->count; i++) {
        const struct hot_block *block = &hot->blocks[i],
                               *other = best == UINT32_MAX ? NULL : &hot->blocks[best];

        if (!block->bytes || block->active_us > until_us)
            continue;
        if (!other || block->active_us < other->active_us ||
            (block->active_us == other->active_us &&
             id_compare(key_of_place(table, block), key_of_place(table, other)) < 0))
            best = i;
    }
    return best;
}

struct asker {
    struct id128 key;
    uint32_t slot;
};

static int compare_askers(const void *left, const void *right)
{
    return id_compare(((const struct asker *)left)->key, ((const struct asker *)right)->key);
}

/* Blocks that are not wanted any more are free now; those that ask for one stay in the list. */
static void take_back_unwanted(struct windows *windows, struct series_table *table, unsigned number)
{
    struct hot_table *hot = &table->hot[number];
    size_t kept = 0;

    for (size_t i = 0; i < hot->asking_count; i++) {
        uint32_t slot = hot->asking[i];

        if (hot->places[slot])
            take_back(windows, table, number, hot->places[slot] - 1);
        else
            hot->asking[kept++] = slot;
    }
    hot->asking_count = kept;
}

static void serve(struct windows *windows, struct series_table *table, unsigned number, size_t limit,
                  int64_t end_us)
{
    struct hot_table *hot = &table->hot[number];
    struct asker *askers = memory_new(hot->asking_count * sizeof *askers);

    for (size_t i = 0; i < hot->asking_count; i++)
        askers[i] = (struct asker){table->slots.keys[hot->asking[i]], hot->asking[i]};
    qsort(askers, hot->asking_count, sizeof *askers, compare_askers);
    for (size_t i = 0; i < hot->asking_count; i++) {
        uint32_t silent = hot->lent < limit ? UINT32_MAX : find_silent(table, hot, end_us);

        if (silent != UINT32_MAX)
            take_back(windows, table, number, silent);
        if (hot->lent >= limit)
            break;
        lend(windows, table, number, askers[i].slot, end_us);
    }
    free(askers);
}

/* Mostly all blocks are lent and in use, and many ask in vain. */
static void settle(struct windows *windows, struct series_table *table, unsigned number, int64_t end_us)
{
    struct hot_table *hot = &table->hot[number];
    size_t limit = limit_of(windows, detector_of(windows, table, number));

    take_back_unwanted(windows, table, number);
    if (hot->lent < limit || find_silent(table, hot, end_us) != UINT32_MAX)
        serve(windows, table, number, limit, end_us);
    hot->asking_count = 0;
}

void hot_settle(struct windows *windows, struct series_table *table, int64_t end_us)
{
    for (unsigned d = 0; d < table->group->detector_count; d++)
        if (table->hot[d].asking_count > 0)
            settle(windows, table, d, end_us);
}

void hot_freeze(struct series_table *table)
{
    for (unsigned d = 0; d < table->group->detector_count; d++)
        blocks_freeze(&table->hot[d].marks);
}

bool hot_save(struct windows *windows, struct series_table *table, size_t until)
{
    uint32_t place;

    for (unsigned d = 0; d < table->group->detector_count; d++)
        while ((place = blocks_next_frozen(&table->hot[d].marks)) != UINT32_MAX) {
            if (windows->saving.saver->taken >= until)
                return false;
            save_place(windows, table, d, place);
        }
    return true;
}

/* Whose the block is comes from its first page, and counts once all is read. */
static bool restore_page(const struct plan_detector *detector, struct hot_table *hot, uint32_t number,
                         struct unpack *in)
{
    unsigned pages = page_count(detector), page = number % pages;
    uint32_t place = number / pages, slot = unpack_u32(in);
    int64_t active_us = unpack_i64(in);
    size_t size = page_size(detector, page);
    const char *bytes = in->at < in->end ? unpack_bytes(in, size) : NULL;
    struct hot_block *block;

    if (!unpack_ended(in) || place >= PLACES_MAX || (!bytes && page > 0))
        return false;
    add_places(detector, hot, place);
    block = &hot->blocks[place];
    if (page == 0) {
        block->slot = bytes ? slot : SLOT_NONE;
        block->active_us = active_us;
    }
    blocks_restored(&hot->marks, place);
    if (!bytes)
        return true;
    if (!block->bytes)
        block->bytes = memory_new(detector->hot_size);
    memcpy(block->bytes + (size_t)page * PAGE_BYTES, bytes, size);
    block->hashes[page] = hash_bytes(bytes, size, slot) | 1;
    return true;
}

bool hot_restore(struct windows *windows, const struct state_key *key, struct unpack *in)
{
    for (unsigned i = 0; i < windows->plan->detector_count; i++) {
        const struct plan_detector *detector = &windows->plan->detectors[i];
        const struct plan_group *group =
            &windows->plan->groups[windows->plan->measures[detector->measure].group];
        unsigned number = 0;

        if (detector->identity != key->part || detector->hot_size == 0)
            continue;
        while (group->detectors[number] != i)
            number++;
        return restore_page(detector, &windows_table(windows, (unsigned)key->owner, group)->hot[number],
                            key->block, in);
    }
    return false;
}

/* The block has the pages of one series, which is there and has no other block. */
static bool is_whole(const struct plan_detector *detector, const struct series_table *table,
                     const struct hot_table *hot, const struct hot_block *block)
{
    if (block->slot >= table->slot_capacity || !table->series[block->slot].texts || hot->places[block->slot])
        return false;
    for (unsigned page = 0; page < page_count(detector); page++)
        if (block->hashes[page] != page_hash(detector, block, page))
            return false;
    return true;
}

void hot_restored(struct windows *windows, struct series_table *table)
{
    for (unsigned d = 0; d < table->group->detector_count; d++) {
        const struct plan_detector *detector = detector_of(windows, table, d);
        struct hot_table *hot = &table->hot[d];

        for (uint32_t place = 0; place < hot->count; place++) {
            struct hot_block *block = &hot->blocks[place];

            if (!block->bytes)
                continue;
            if (is_whole(detector, table, hot, block)) {
                take_block(windows, hot, place, block->slot);
                windows->figures.hot_bytes += detector->hot_size;
            } else {
                free(block->bytes);
                block->bytes = NULL;
                blocks_touch(&hot->marks, place * BLOCK_SLOTS); /* nor may it come back by another restart */
            }
        }
    }
}
