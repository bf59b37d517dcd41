/* The watch's state: a block of slots is one value, written once a cut when it changed; words that wait for
 * their time are written whole, as most are gone by the next cut. The list and the timers are not stored but
 * follow from the entries. */
#include "base/memory.h"
#include "pipeline/watch_signal.h"

#include <assert.h>
#include <stdlib.h>

#define FAR_US ((int64_t)1 << 61) /* times stay so near that sums of them do not overflow */

enum { VALUE_BYTES = 256 * 1024, BLOCKS_MAX = 1 << 20 };

void watch_freeze(struct watch *watch, struct saver *saver, uint64_t worker, uint64_t cut, uint64_t before)
{
    watch->saver = saver;
    watch->saver_worker = worker;
    watch->saver_cut = cut;
    watch->words_block = 0;
    watch->next_frozen = 0;
    for (unsigned s = 0; s < SHARDS; s++)
        blocks_freeze(&watch->shards[s].blocks);
    order_freeze(&watch->words, &watch->frozen_words);
    if (watch->plan->general.watch)
        saver_drop(saver, STATE_WATCH_WORDS, worker, before);
}

/* The state and what it has more as one text, so that a program without the signal can pass over it. */
static void pack_state(const struct watch_entry *entry, const struct watch_signal *signal, struct buffer *out)
{
    size_t at = out->size;
    uint32_t size;

    pack_u32(out, 0);
    buffer_put(out, entry->state, signal->size);
    if (entry->more)
        signal->more->pack(entry->more, out);
    size = htole32((uint32_t)(out->size - at - sizeof size));
    if (!out->full)
        memcpy(out->data + at, &size, sizeof size);
}

static bool unpack_more(struct span bytes, struct watch_entry *entry)
{
    struct unpack in = unpack_begin(bytes);

    if (bytes.size == 0)
        return true;
    entry->more = watch_signals[entry->signal]->more->unpack(&in);
    if (!entry->more)
        return false;
    entry->more_bytes = (uint32_t)watch_signals[entry->signal]->more->bytes(entry->more);
    return unpack_ended(&in);
}

static void pack_entry(const struct watch_entry *entry, struct buffer *out)
{
    const struct watch_signal *signal = watch_signals[entry->signal];

    pack_text(out, span_of(signal->rule.name));
    pack_u8(out, signal->version);
    pack_u8(out, entry->told);
    pack_id(out, entry->id);
    pack_u64(out, entry->place);
    pack_i64(out, entry->due_us);
    pack_i64(out, entry->told_us);
    pack_u32(out, entry->words);
    pack_state(entry, signal, out);
    for (unsigned t = 0; t < WATCH_KEPT_TEXTS; t++)
        pack_text(out, entry->texts[t]);
}

static unsigned find_signal(struct span name)
{
    unsigned number = 0;

    while (watch_signals[number] && !span_is(name, watch_signals[number]->rule.name))
        number++;
    return number;
}

/* NULL: it is broken, or of a signal that this program has not, or has otherwise: forgotten. */
static struct watch_entry *unpack_entry(struct unpack *in)
{
    unsigned number = find_signal(unpack_text(in));
    const struct watch_signal *signal = watch_signals[number];
    uint8_t version = unpack_u8(in), told = unpack_u8(in);
    struct id128 id = unpack_id(in);
    struct watch_entry header = {.told = told & 1, .place = unpack_u64(in)};
    struct span state, texts[WATCH_KEPT_TEXTS];

    header.due_us = unpack_i64(in);
    header.told_us = unpack_i64(in);
    header.words = unpack_u32(in);
    state = unpack_text(in);
    for (unsigned t = 0; t < WATCH_KEPT_TEXTS; t++)
        texts[t] = unpack_text(in);
    in->broken |= header.place == 0 || header.due_us < -FAR_US ||
                  (header.due_us > FAR_US && header.due_us != INT64_MAX);
    if (in->broken || !signal || signal->version != version || state.size < signal->size ||
        (state.size > signal->size && !signal->more))
        return NULL;
    struct watch_entry *entry = watch_entry_new(number, id, texts);
    entry->told = header.told;
    entry->place = header.place;
    entry->due_us = header.due_us;
    entry->told_us = header.told_us;
    entry->words = header.words;
    if (signal->size)
        memcpy(entry->state, state.data, signal->size);
    if ((!signal->sound || signal->sound(entry->state)) &&
        unpack_more(span_make(state.data + signal->size, state.size - signal->size), entry))
        return entry;
    in->broken = true;
    watch_entry_free(entry);
    return NULL;
}

void watch_block_save(struct watch *watch, struct watch_shard *shard, uint32_t block)
{
    struct buffer *out = &watch->saver->bytes;
    uint32_t first = block * BLOCK_SLOTS, end = first + BLOCK_SLOTS;

    if (end > shard->slots.next)
        end = shard->slots.next;
    pack_u8(out, WATCH_LAYOUT);
    for (uint32_t slot = first; slot < end; slot++)
        if (shard->entries[slot]) {
            pack_u8(out, (uint8_t)(slot - first));
            pack_entry(shard->entries[slot], out);
        }
    saver_put(
        watch->saver,
        (struct state_key){.kind = STATE_WATCH, .block = block, .owner = (uint64_t)(shard - watch->shards)});
    blocks_saved(&shard->blocks, block);
}

/* One value of words; false: none was left. */
static bool save_words(struct watch *watch)
{
    struct order_frozen *frozen = &watch->frozen_words;
    struct buffer *out = &watch->saver->bytes;

    if (frozen->next == frozen->count)
        return false;
    pack_u8(out, WATCH_LAYOUT);
    while (frozen->next < frozen->count && out->size < VALUE_BYTES)
        watch_word_pack((const struct watch_word *)frozen->entries[frozen->next++].record, out);
    saver_put(watch->saver, (struct state_key){.kind = STATE_WATCH_WORDS,
                                               .block = watch->words_block++,
                                               .owner = watch->saver_worker,
                                               .part = watch->saver_cut});
    return true;
}

bool watch_save(struct watch *watch, size_t budget)
{
    size_t before = watch->saver->taken;

    for (; watch->next_frozen < SHARDS; watch->next_frozen++) {
        struct watch_shard *shard = &watch->shards[watch->next_frozen];
        uint32_t block;

        while ((block = blocks_next_frozen(&shard->blocks)) != UINT32_MAX) {
            if (watch->saver->taken - before >= budget)
                return false;
            watch_block_save(watch, shard, block);
        }
    }
    do
        if (watch->saver->taken - before >= budget)
            return false;
    while (save_words(watch));
    order_frozen_free(&watch->frozen_words);
    return true;
}

/* False: another entry has its slot or its key. */
static bool add_entry(struct watch *watch, struct watch_shard *shard, uint32_t slot,
                      struct watch_entry *entry)
{
    watch_reserve(shard, slot);
    if (shard->entries[slot] || !slots_restore(&shard->slots, entry->key, slot))
        return false;
    entry->slot = slot;
    shard->entries[slot] = entry;
    shard->more_bytes += entry->more_bytes;
    watch->figures.entries++;
    return true;
}

enum status watch_restore(struct watch *watch, const struct state_key *key, struct span value,
                          struct error *ret_error)
{
    struct unpack in;

    if (value.size && value.data[0] == WATCH_LAYOUT_BEFORE) /* all is learned again */
        return STATUS_OK;
    if (unpack_layout(value, WATCH_LAYOUT, &in, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    if (key->owner >= SHARDS || key->block >= BLOCKS_MAX)
        return fail(ret_error, "a stored value has a place that cannot be");
    while (!in.broken && in.at < in.end) {
        uint32_t slot = key->block * BLOCK_SLOTS + unpack_u8(&in);
        struct watch_entry *entry = unpack_entry(&in);

        if (entry && !add_entry(watch, &watch->shards[key->owner], slot, entry)) {
            in.broken = true;
            watch_entry_free(entry);
        }
    }
    blocks_restored(&watch->shards[key->owner].blocks, key->block);
    return unpack_finish(&in, ret_error);
}

static int compare_places(const void *left, const void *right)
{
    const struct watch_entry *a = *(struct watch_entry *const *)left,
                             *b = *(struct watch_entry *const *)right;

    return (a->place > b->place) - (a->place < b->place);
}

static void link_all(struct watch *watch, struct watch_shard *shard)
{
    struct watch_entry **entries = memory_new((shard->slots.next + 1u) * sizeof(struct watch_entry *));
    size_t count = 0;

    for (uint32_t slot = 0; slot < shard->slots.next; slot++)
        if (shard->entries[slot])
            entries[count++] = shard->entries[slot];
    if (count)
        qsort(entries, count, sizeof(struct watch_entry *), compare_places);
    for (size_t i = 0; i < count; i++) {
        watch_link(shard, entries[i]);
        watch_set_timer(watch, shard, entries[i]);
        shard->last_place = entries[i]->place;
    }
    free(entries);
}

void watch_restored(struct watch *watch, int64_t passed_us)
{
    watch->passed_us = passed_us;
    for (unsigned s = 0; s < SHARDS; s++) {
        struct watch_shard *shard = &watch->shards[s];

        slots_restored(&shard->slots);
        link_all(watch, shard);
        while (shard->slots.used > watch->shard_limit)
            watch_evict_first(watch, shard);
    }
}
