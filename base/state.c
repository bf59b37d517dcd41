#include "base/state.h"

#include "base/memory.h"
#include "base/timestamp.h"

#include <assert.h>
#include <endian.h>
#include <stdlib.h>

struct unpack unpack_begin(struct span bytes)
{
    return (struct unpack){.at = bytes.data, .end = bytes.size ? bytes.data + bytes.size : bytes.data};
}

const void *unpack_bytes(struct unpack *in, size_t size)
{
    const char *at = in->at;

    if (in->broken || (size_t)(in->end - in->at) < size) {
        in->broken = true;
        return NULL;
    }
    in->at += size;
    return at;
}

static uint64_t unpack_number(struct unpack *in, size_t size)
{
    const void *at = unpack_bytes(in, size);
    uint64_t bytes = 0;

    if (at)
        memcpy(&bytes, at, size);
    return le64toh(bytes);
}

uint8_t unpack_u8(struct unpack *in)
{
    return (uint8_t)unpack_number(in, sizeof(uint8_t));
}

uint16_t unpack_u16(struct unpack *in)
{
    return (uint16_t)unpack_number(in, sizeof(uint16_t));
}

uint32_t unpack_u32(struct unpack *in)
{
    return (uint32_t)unpack_number(in, sizeof(uint32_t));
}

uint64_t unpack_u64(struct unpack *in)
{
    return unpack_number(in, sizeof(uint64_t));
}

int64_t unpack_i64(struct unpack *in)
{
    return (int64_t)unpack_number(in, sizeof(int64_t));
}

double unpack_double(struct unpack *in)
{
    uint64_t bits = unpack_u64(in);
    double value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

struct id128 unpack_id(struct unpack *in)
{
    struct id128 id = {.high = unpack_u64(in)};

    id.low = unpack_u64(in);
    return id;
}

struct span unpack_text(struct unpack *in)
{
    uint32_t size = unpack_u32(in);
    const char *bytes = size ? unpack_bytes(in, size) : NULL;

    return bytes ? span_make(bytes, size) : (struct span){0};
}

bool unpack_ended(const struct unpack *in)
{
    return !in->broken && in->at == in->end;
}

const char *state_kind_name(uint32_t kind)
{
    static const char *const names[] = {
        [STATE_PLAN] = "plan",
        [STATE_TIMES] = "times",
        [STATE_PARTITION] = "partition",
        [STATE_SEEN] = "seen",
        [STATE_PANES] = "panes",
        [STATE_SERIES] = "series",
        [STATE_TABLE] = "table",
        [STATE_RUNS] = "runs",
        [STATE_ROWS] = "rows",
        [STATE_CORRECTIONS] = "corrections",
        [STATE_EPISODES] = "episodes",
        [STATE_CONDITIONS] = "conditions",
        [STATE_OUTLET] = "outlet",
        [STATE_INBOX] = "inbox",
        [STATE_UNIQUE] = "unique",
        [STATE_WATCH] = "watch",
        [STATE_WATCH_WORDS] = "watch_words",
        [STATE_PAST_RUNS] = "past_runs",
        [STATE_HOT] = "hot",
    };

    return kind < sizeof names / sizeof *names && names[kind] ? names[kind] : "unknown";
}

int64_t unpack_time(struct unpack *in)
{
    const int64_t limit_us = (int64_t)1 << 61;
    int64_t time_us = unpack_i64(in);

    if (time_us == TIME_NONE || (time_us > -limit_us && time_us < limit_us))
        return time_us;
    in->broken = true;
    return 0;
}

enum status unpack_layout(struct span value, uint8_t layout, struct unpack *ret_in, struct error *ret_error)
{
    struct unpack in = unpack_begin(value);
    uint8_t found = unpack_u8(&in);

    if (found != layout)
        return fail(ret_error, "a stored value has layout %u, this version reads %u", found, layout);
    *ret_in = in;
    return STATUS_OK;
}

enum status unpack_finish(const struct unpack *in, struct error *ret_error)
{
    return unpack_ended(in) ? STATUS_OK : fail(ret_error, "a stored value is damaged");
}

void saver_put(struct saver *saver, struct state_key key)
{
    assert(!saver->bytes.full);
    saver->taken += saver->bytes.size;
    saver->put(saver->owner, &key, buffer_span(&saver->bytes));
    buffer_clear(&saver->bytes);
}

void saver_drop(struct saver *saver, uint32_t kind, uint64_t owner, uint64_t part)
{
    saver->drop(saver->owner, kind, owner, part);
}

void blocks_free(struct blocks *blocks)
{
    free(blocks->marks);
    *blocks = (struct blocks){0};
}

void blocks_grow(struct blocks *blocks, uint32_t block)
{
    size_t capacity = blocks->capacity;

    blocks->marks = memory_reserve(blocks->marks, &capacity, block + 1u, 1);
    blocks->capacity = (uint32_t)capacity;
    memset(blocks->marks + blocks->count, 0, block + 1 - blocks->count);
    blocks->count = block + 1;
}

void blocks_freeze(struct blocks *blocks)
{
    assert(blocks->frozen == 0);
    blocks->cursor = 0;
    for (uint32_t i = 0; i < blocks->count; i++) {
        blocks->marks[i] = blocks->marks[i] & BLOCK_CHANGED ? BLOCK_FROZEN : 0;
        blocks->frozen += blocks->marks[i] != 0;
    }
}

uint32_t blocks_next_frozen(struct blocks *blocks)
{
    if (blocks->frozen == 0)
        return UINT32_MAX;
    while (!(blocks->marks[blocks->cursor] & BLOCK_FROZEN))
        blocks->cursor++;
    return blocks->cursor;
}

void blocks_saved(struct blocks *blocks, uint32_t block)
{
    assert(blocks->marks[block] & BLOCK_FROZEN);
    blocks->marks[block] &= (uint8_t)~BLOCK_FROZEN;
    blocks->frozen--;
}

void blocks_restored(struct blocks *blocks, uint32_t block)
{
    if (block >= blocks->count)
        blocks_grow(blocks, block);
    blocks->marks[block] = 0;
}
