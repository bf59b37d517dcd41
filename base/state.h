/* State that outlives the process, as bytes: packing, the marks that tell which blocks of a table
 * changed, and the hands that take what is saved. A table keeps its state by slot; 256 neighbouring
 * slots are one block, and a block is one stored value.
 *
 * A cut freezes the blocks that have changed since the last one (blocks_freeze, cheap); their bytes are
 * made afterwards in slices while the work goes on. Whoever is about to change a slot calls
 * blocks_touch first and saves the block at once if it is still frozen. So every value shows its block
 * as it was at the cut. One thread. */
#pragma once
#include "base/buffer.h"
#include "base/hash.h"
#include "base/status.h"

#include <endian.h>

enum { BLOCK_SLOTS = 256 };

/* Little-endian, no padding. The buffer's limit is the caller's matter. Inline, as a table of a million
 * series is some twenty million numbers at each cut. */
static inline void pack_u8(struct buffer *out, uint8_t value)
{
    buffer_put(out, &value, sizeof value);
}

static inline void pack_u16(struct buffer *out, uint16_t value)
{
    value = htole16(value);
    buffer_put(out, &value, sizeof value);
}

static inline void pack_u32(struct buffer *out, uint32_t value)
{
    value = htole32(value);
    buffer_put(out, &value, sizeof value);
}

static inline void pack_u64(struct buffer *out, uint64_t value)
{
    value = htole64(value);
    buffer_put(out, &value, sizeof value);
}

static inline void pack_i64(struct buffer *out, int64_t value)
{
    pack_u64(out, (uint64_t)value);
}

static inline void pack_double(struct buffer *out, double value) /* its bits */
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    pack_u64(out, bits);
}

static inline void pack_id(struct buffer *out, struct id128 id)
{
    pack_u64(out, id.high);
    pack_u64(out, id.low);
}

static inline void pack_text(struct buffer *out, struct span text) /* size and bytes */
{
    pack_u32(out, text.size);
    buffer_put_span(out, text);
}

/* Reads what pack wrote. Beyond the end, or with a size that does not fit, it gives zeros and is
 * `broken`, which the reader looks at once at the end. */
struct unpack {
    const char *at, *end;
    bool broken;
};

struct unpack unpack_begin(struct span bytes);
uint8_t unpack_u8(struct unpack *in);
uint16_t unpack_u16(struct unpack *in);
uint32_t unpack_u32(struct unpack *in);
uint64_t unpack_u64(struct unpack *in);
int64_t unpack_i64(struct unpack *in);
double unpack_double(struct unpack *in);
struct id128 unpack_id(struct unpack *in);
struct span unpack_text(struct unpack *in);               /* borrowed from the bytes */
const void *unpack_bytes(struct unpack *in, size_t size); /* NULL when there are fewer */
bool unpack_ended(const struct unpack *in);               /* all read, nothing broken */

/* TIME_NONE, or so near that sums and differences of times do not overflow; else it is broken. */
int64_t unpack_time(struct unpack *in);

/* The beginning and the end of a value: the version of its layout must be this one; nothing may be broken or
 * left over. */
enum status unpack_layout(struct span value, uint8_t layout, struct unpack *ret_in, struct error *ret_error);
enum status unpack_finish(const struct unpack *in, struct error *ret_error);

/* What values there are. The numbers are stored: never change one, never use one again. */
enum state_kind {
    STATE_PLAN = 0,      /* the measures of the plan; the first value that is read */
    STATE_TIMES = 1,     /* owner worker 0: how far the process was */
    STATE_PARTITION = 2, /* owner partition's id: offsets, watermark, marks of rows not yet acknowledged */
    STATE_SEEN =
        3, /* owner partition's number or a shard, part clean step: what dedupe and throttle remember */
    STATE_PANES = 4,        /* owner group's identity, part number of a pane table: blocks of open panes */
    STATE_SERIES = 5,       /* owner shard, part group's identity: blocks of series */
    STATE_TABLE = 6,        /* owner shard, part group's identity: what a table of series has beside them */
    STATE_RUNS = 7,         /* owner shard: blocks of runs */
    STATE_ROWS = 8,         /* owner worker, part cut: all rows that wait for their order time */
    STATE_CORRECTIONS = 9,  /* owner worker, part cut: all late panes that wait for theirs */
    STATE_EPISODES = 10,    /* blocks of open episodes */
    STATE_CONDITIONS = 11,  /* part cut: all conditions not applied yet, and the keys prompted */
    STATE_OUTLET = 12,      /* owner sink's identity, part worker: where its output stood */
    STATE_INBOX = 13,       /* of a task: where its inbox stood, the watermarks it had heard */
    STATE_UNIQUE = 14,      /* owner worker, part cut: all rows that wait to be told from their copies */
    STATE_WATCH = 15,       /* owner shard: blocks of what the watch knows */
    STATE_WATCH_WORDS = 16, /* owner worker, part cut: all words to the watch that wait for their time */
    STATE_PAST_RUNS = 17,   /* owner shard: blocks of ids of runs that are forgotten */
    STATE_HOT = 18,         /* owner shard, part detector's identity: pages of the blocks lent to series */
};

const char *state_kind_name(uint32_t kind); /* "series"; "unknown" when it is not in the list */

/* The place of a value in the store. (kind, owner, part) is one table of blocks and is dropped as a whole. */
struct state_key {
    uint32_t kind, block;
    uint64_t owner, part;
};

/* Takes values of one cut. */
struct saver {
    struct buffer bytes; /* the value being packed; cleared by saver_put */
    void (*put)(void *owner, const struct state_key *key, struct span bytes); /* replaces the key's value */
    void (*drop)(void *owner, uint32_t kind, uint64_t table_owner, uint64_t part); /* all blocks of a table */
    void *owner;
    size_t taken; /* bytes put since the caller set it to 0: the measure of a slice */
};

void saver_put(struct saver *saver, struct state_key key); /* hands over saver->bytes */
void saver_drop(struct saver *saver, uint32_t kind, uint64_t owner, uint64_t part);

struct blocks { /* all zero bytes: no slots yet */
    uint8_t *marks;
    uint32_t count, capacity;
    uint32_t frozen, cursor; /* how many wait to be saved; where the next slice looks */
};

void blocks_free(struct blocks *blocks);
void blocks_grow(struct blocks *blocks, uint32_t block); /* not inline part of blocks_touch */
void blocks_freeze(struct blocks *blocks);          /* changed becomes frozen; all older ones are saved */
uint32_t blocks_next_frozen(struct blocks *blocks); /* UINT32_MAX: none is left */
void blocks_saved(struct blocks *blocks, uint32_t block);    /* no longer frozen */
void blocks_restored(struct blocks *blocks, uint32_t block); /* known, and as stored */

enum block_mark { BLOCK_CHANGED = 1, BLOCK_FROZEN = 2 };

/* Before any change of the slot: marks its block as changed. True: it is frozen, and must be saved now. */
static inline bool blocks_touch(struct blocks *blocks, uint32_t slot)
{
    uint32_t block = slot / BLOCK_SLOTS;

    if (block >= blocks->count)
        blocks_grow(blocks, block);
    if (blocks->marks[block] == BLOCK_CHANGED)
        return false;
    bool frozen = blocks->marks[block] & BLOCK_FROZEN;
    blocks->marks[block] |= BLOCK_CHANGED;
    return frozen;
}
