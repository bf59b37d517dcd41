/* Memory for one batch: many small pieces, released together. Owned by one worker. Built with
 * WEIR_ARENA_EMULATOR every piece is an allocation of its own, so that the address sanitizer sees each
 * overrun and each use after a reset. */
#pragma once
#include "base/span.h"

struct arena_chunk;

struct arena {
    struct arena_chunk *chunks; /* newest first */
    size_t used, limit;         /* bytes handed out, most that may be handed out */
    size_t chunk_bytes;
};

void arena_init(struct arena *arena, size_t limit);
void arena_init_small(struct arena *arena, size_t limit); /* one of many that hold some hundred bytes each */
void arena_free(struct arena *arena);

/* Gives 8-byte aligned, uninitialised bytes, or NULL when the limit is reached. Valid until the next
 * reset. */
void *arena_take(struct arena *arena, size_t size);

/* Copies a text into the arena; on a full arena *ret_copy is untouched and the answer is false. */
bool arena_copy(struct arena *arena, struct span text, struct span *ret_copy);

/* Releases all pieces; keeps one chunk for the next batch. */
void arena_reset(struct arena *arena);
