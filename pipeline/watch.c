/* Owner side of the watch: words in order of time, entries by key, timers. What is normal and what is told
 * of is the signals' business (watch_signal.h). Timers live in one heap of a worker: an entry has at most
 * one that counts, and is looked at again when its time has moved. Entries are allocated one by one, with
 * their state and texts: a signal may hold several while the table grows. */
#include "alerts/text.h"
#include "base/memory.h"
#include "pipeline/watch_signal.h"

#include <assert.h>
#include <stdlib.h>

enum { STALE_TIMERS = 1024 }; /* beyond two an entry: swept out */

struct watch *watch_new(const struct plan *plan, struct exchange_port *port, unsigned workers)
{
    struct watch *watch = memory_new(sizeof *watch);

    watch->plan = plan;
    watch->port = port;
    watch->workers = workers;
    watch->shard_limit = (uint32_t)(plan->limits.runs / SHARDS) * watch_signal_count();
    watch->passed_us = watch->last_source.second = INT64_MIN;
    buffer_init(&watch->summary, 3 * TEXT_LIMIT); /* two texts and what stands around them */
    for (unsigned s = 0; s < SHARDS; s++) {
        slots_init(&watch->shards[s].slots, SLOT_NONE);
        watch->shards[s].first = watch->shards[s].last = SLOT_NONE;
    }
    for (unsigned i = 0; i < SPOKEN; i++)
        watch->spoken[i].second = INT64_MIN;
    return watch;
}

void watch_free(struct watch *watch)
{
    for (unsigned s = 0; s < SHARDS; s++) {
        struct watch_shard *shard = &watch->shards[s];

        for (uint32_t i = 0; i < shard->slots.next; i++)
            watch_entry_free(shard->entries[i]);
        blocks_free(&shard->blocks);
        slots_free(&shard->slots);
        free(shard->entries);
    }
    order_free(&watch->words);
    order_frozen_free(&watch->frozen_words);
    buffer_free(&watch->summary);
    free(watch->timers);
    free(watch);
}

void watch_figures(const struct watch *watch, struct watch_figures *ret_figures)
{
    *ret_figures = watch->figures;
}

/* Timers. */

static bool timer_before(const struct watch_timer *a, const struct watch_timer *b)
{
    if (a->due_us != b->due_us)
        return a->due_us < b->due_us;
    return id_compare(a->key, b->key) < 0;
}

static void push_timer(struct watch *watch, const struct watch_timer *timer)
{
    size_t at = watch->timer_count++;

    watch->timers =
        memory_reserve(watch->timers, &watch->timer_capacity, watch->timer_count, sizeof *watch->timers);
    for (; at > 0 && timer_before(timer, &watch->timers[(at - 1) / 2]); at = (at - 1) / 2)
        watch->timers[at] = watch->timers[(at - 1) / 2];
    watch->timers[at] = *timer;
}

static struct watch_timer pop_timer(struct watch *watch)
{
    struct watch_timer first = watch->timers[0], last = watch->timers[--watch->timer_count];
    size_t at = 0;

    for (;;) {
        size_t child = 2 * at + 1;

        if (child >= watch->timer_count)
            break;
        if (child + 1 < watch->timer_count && timer_before(&watch->timers[child + 1], &watch->timers[child]))
            child++;
        if (!timer_before(&watch->timers[child], &last))
            break;
        watch->timers[at] = watch->timers[child];
        at = child;
    }
    watch->timers[at] = last;
    return first;
}

/* The one that counts of an entry that is still there. */
static bool is_current(const struct watch *watch, const struct watch_timer *timer)
{
    const struct watch_entry *entry = watch->shards[timer->shard].entries[timer->slot];

    return entry && id_equal(entry->key, timer->key) && entry->queued_us == timer->due_us;
}

/* Timers of entries that are gone leave when their time comes, which may be never. */
static void drop_stale_timers(struct watch *watch)
{
    size_t count = watch->timer_count;

    watch->timer_count = 0;
    for (size_t i = 0; i < count; i++) {
        struct watch_timer timer = watch->timers[i];

        if (is_current(watch, &timer))
            push_timer(watch, &timer);
    }
}

void watch_set_timer(struct watch *watch, struct watch_shard *shard, struct watch_entry *entry)
{
    if (entry->due_us >= entry->queued_us)
        return;
    if (watch->timer_count > 2 * watch->figures.entries + STALE_TIMERS)
        drop_stale_timers(watch);
    entry->queued_us = entry->due_us;
    push_timer(watch, &(struct watch_timer){.due_us = entry->due_us,
                                            .key = entry->key,
                                            .shard = (uint32_t)(shard - watch->shards),
                                            .slot = entry->slot});
}

/* The table. */

/* Comes before any change of an entry that is stored; list neighbours and timers are not. */
static void touch(struct watch *watch, struct watch_shard *shard, uint32_t slot)
{
    if (blocks_touch(&shard->blocks, slot))
        watch_block_save(watch, shard, slot / BLOCK_SLOTS);
}

void watch_reserve(struct watch_shard *shard, uint32_t slot)
{
    size_t before = shard->capacity;

    shard->entries = memory_reserve(shard->entries, &shard->capacity, slot + 1u, sizeof *shard->entries);
    if (shard->capacity > before)
        memset(shard->entries + before, 0, (shard->capacity - before) * sizeof *shard->entries);
}

void watch_link(struct watch_shard *shard, struct watch_entry *entry)
{
    entry->next = SLOT_NONE;
    entry->previous = shard->last;
    if (shard->last != SLOT_NONE)
        shard->entries[shard->last]->next = entry->slot;
    else
        shard->first = entry->slot;
    shard->last = entry->slot;
}

static void unlink_entry(struct watch_shard *shard, const struct watch_entry *entry)
{
    if (entry->previous != SLOT_NONE)
        shard->entries[entry->previous]->next = entry->next;
    else
        shard->first = entry->next;
    if (entry->next != SLOT_NONE)
        shard->entries[entry->next]->previous = entry->previous;
    else
        shard->last = entry->previous;
}

static void remove_entry(struct watch *watch, struct watch_shard *shard, struct watch_entry *entry)
{
    touch(watch, shard, entry->slot);
    unlink_entry(shard, entry);
    slots_remove(&shard->slots, entry->key);
    shard->entries[entry->slot] = NULL;
    shard->more_bytes -= entry->more_bytes;
    watch_entry_free(entry);
    watch->figures.entries--;
}

static void evict(struct watch *watch, struct watch_shard *shard, struct watch_entry *entry)
{
    struct watch_scene scene = {.watch = watch, .shard = shard, .signal = watch_signals[entry->signal]};

    if (scene.signal->forget)
        scene.signal->forget(&scene, entry);
    remove_entry(watch, shard, entry);
    watch->figures.evicted++;
}

void watch_evict_first(struct watch *watch, struct watch_shard *shard)
{
    evict(watch, shard, shard->entries[shard->first]);
}

struct id128 watch_entry_key(unsigned signal, struct id128 id)
{
    return (struct id128){id.high, id.low ^ (signal + 1) * 0x9E3779B97F4A7C15u};
}

struct watch_entry *watch_entry_new(unsigned signal, struct id128 id, const struct span *texts)
{
    const struct watch_signal *type = watch_signals[signal];
    size_t size = sizeof(struct watch_entry) + type->size;

    for (unsigned t = 0; t < WATCH_KEPT_TEXTS; t++)
        size += texts[t].size;
    struct watch_entry *entry = memory_new(size);
    *entry = (struct watch_entry){.key = watch_entry_key(signal, id),
                                  .id = id,
                                  .due_us = INT64_MAX,
                                  .queued_us = INT64_MAX,
                                  .told_us = INT64_MIN,
                                  .signal = (uint8_t)signal};
    char *cursor = entry->state + type->size;
    for (unsigned t = 0; t < WATCH_KEPT_TEXTS; t++)
        entry->texts[t] = record_text(&cursor, texts[t]);
    return entry;
}

void watch_entry_free(struct watch_entry *entry)
{
    if (entry && entry->more)
        watch_signals[entry->signal]->more->free(entry->more);
    free(entry);
}

unsigned watch_signal_number(const struct watch_signal *signal)
{
    unsigned number = 0;

    while (watch_signals[number] != signal)
        number++;
    return number;
}

static struct watch_entry *add_entry(struct watch_scene *scene, unsigned signal, struct id128 id)
{
    struct watch_shard *shard = scene->shard;
    struct span texts[WATCH_KEPT_TEXTS] = {0};
    bool is_new;

    if (shard->slots.used == scene->watch->shard_limit)
        watch_evict_first(scene->watch, shard);
    for (unsigned t = 0; scene->word && t < WATCH_KEPT_TEXTS; t++)
        if ((scene->signal->key | scene->signal->keep) & 1u << t)
            texts[t] = scene->word->texts[t];
    struct watch_entry *entry = watch_entry_new(signal, id, texts);
    entry->slot = slots_add(&shard->slots, entry->key, &is_new);
    watch_reserve(shard, entry->slot);
    touch(scene->watch, shard, entry->slot);
    shard->entries[entry->slot] = entry;
    scene->watch->figures.entries++;
    return entry;
}

struct watch_entry *watch_open(struct watch_scene *scene, struct id128 id)
{
    struct watch_shard *shard = scene->shard;
    unsigned signal = watch_signal_number(scene->signal);
    uint32_t slot = slots_find(&shard->slots, watch_entry_key(signal, id));
    struct watch_entry *entry = slot == SLOT_NONE ? add_entry(scene, signal, id) : shard->entries[slot];

    touch(scene->watch, shard, entry->slot);
    if (slot != SLOT_NONE)
        unlink_entry(shard, entry);
    entry->place = ++shard->last_place;
    watch_link(shard, entry);
    return entry;
}

struct watch_entry *watch_find(const struct watch_scene *scene, const struct watch_signal *signal,
                               struct id128 id)
{
    uint32_t slot = slots_find(&scene->shard->slots, watch_entry_key(watch_signal_number(signal), id));

    return slot == SLOT_NONE ? NULL : scene->shard->entries[slot];
}

void watch_more_grown(struct watch_scene *scene, struct watch_entry *entry)
{
    struct watch_shard *shard = scene->shard;
    uint32_t bytes = entry->more ? (uint32_t)scene->signal->more->bytes(entry->more) : 0;

    shard->more_bytes += bytes;
    shard->more_bytes -= entry->more_bytes;
    entry->more_bytes = bytes;
    for (uint32_t slot = shard->first; slot != SLOT_NONE && shard->more_bytes > WATCH_MORE_BYTES;) {
        struct watch_entry *oldest = shard->entries[slot];

        slot = oldest->next;
        if (oldest->more && oldest != entry)
            evict(scene->watch, shard, oldest);
    }
}

void watch_drop(struct watch_scene *scene, struct watch_entry *entry)
{
    remove_entry(scene->watch, scene->shard, entry);
}

void watch_wake(struct watch_scene *scene, struct watch_entry *entry, int64_t due_us)
{
    entry->due_us = due_us;
    watch_set_timer(scene->watch, scene->shard, entry);
}

/* Words and timers in order. */

static int64_t greater(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static void apply(struct watch *watch, const struct watch_word *word)
{
    for (unsigned i = 0; watch_signals[i]; i++) {
        struct watch_scene scene = {.watch = watch,
                                    .shard = &watch->shards[word->shard],
                                    .signal = watch_signals[i],
                                    .word = word,
                                    .now_us = word->order_us};

        if (scene.signal->words & 1u << word->sort)
            scene.signal->take(&scene);
    }
}

static void fire(struct watch *watch, struct watch_timer timer)
{
    struct watch_shard *shard = &watch->shards[timer.shard];

    if (!is_current(watch, &timer))
        return;
    struct watch_entry *entry = shard->entries[timer.slot];
    struct watch_scene scene = {.watch = watch,
                                .shard = shard,
                                .signal = watch_signals[entry->signal],
                                .now_us = timer.due_us,
                                .provisional = timer.due_us > watch->firm_us};
    entry->queued_us = INT64_MAX;
    if (entry->due_us > timer.due_us) {
        watch_set_timer(watch, shard, entry);
        return;
    }
    touch(watch, shard, timer.slot);
    entry->due_us = INT64_MAX;
    scene.signal->due(&scene, entry);
}

static void fire_before(struct watch *watch, int64_t before_us)
{
    while (watch->timer_count && watch->timers[0].due_us < before_us)
        fire(watch, pop_timer(watch));
}

void watch_take(struct watch *watch, const struct watch_word *word, struct block *block)
{
    if (word->sort == WORD_EXPECTED) {
        watch_expected(watch, word);
        return;
    }
    order_push(&watch->words, &(struct order_entry){.order_us = word->order_us,
                                                    .time_us = (int64_t)word->version,
                                                    .rank = word->sort,
                                                    .offset = (int64_t)word->run.high,
                                                    .record = &word->head,
                                                    .block = block});
}

void watch_advance(struct watch *watch, int64_t until_us, int64_t firm_us, bool final)
{
    const struct order_entry *first;

    watch->firm_us = firm_us;
    if (final && until_us < INT64_MAX)
        until_us++; /* what falls due at the end counts */
    while ((first = order_first(&watch->words)) && (first->order_us < until_us || final)) {
        fire_before(watch, first->order_us < until_us ? first->order_us : until_us);
        apply(watch, (const struct watch_word *)first->record);
        order_pop(&watch->words);
    }
    fire_before(watch, until_us);
    if (!final)
        watch->passed_us = greater(watch->passed_us, until_us);
}
