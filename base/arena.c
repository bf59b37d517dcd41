/* Pieces are cut from chunks of 64 KiB, a piece a few times a row at most; a larger one gets a chunk of
 * its own behind the newest, so that what is left of that one is still used. Chunks other than one go back
 * at each reset: keeping all was dropped, since one batch of huge messages would then hold its memory for
 * ever. */
#include "base/arena.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>

#ifdef WEIR_ARENA_EMULATOR
enum { CHUNK_BYTES = 0, SMALL_CHUNK_BYTES = 0 };
#else
enum { CHUNK_BYTES = 64 * 1024, SMALL_CHUNK_BYTES = 496 };
#endif

struct arena_chunk {
    struct arena_chunk *next;
    size_t used, size;
    char bytes[] __attribute__((aligned(8)));
};

void arena_init(struct arena *arena, size_t limit)
{
    *arena = (struct arena){.limit = limit, .chunk_bytes = CHUNK_BYTES};
}

void arena_init_small(struct arena *arena, size_t limit)
{
    *arena = (struct arena){.limit = limit, .chunk_bytes = SMALL_CHUNK_BYTES};
}

void arena_free(struct arena *arena)
{
    while (arena->chunks) {
        struct arena_chunk *next = arena->chunks->next;

        free(arena->chunks);
        arena->chunks = next;
    }
    arena->used = 0;
}

static void give_chunk(struct arena *arena, struct arena_chunk *chunk)
{
    struct arena_chunk **link = &arena->chunks;

    if (*link && chunk->size > arena->chunk_bytes)
        link = &(*link)->next;
    chunk->next = *link;
    *link = chunk;
}

void *arena_take(struct arena *arena, size_t size)
{
    size_t rounded = CHUNK_BYTES ? (size + 7) & ~(size_t)7 : size;
    struct arena_chunk *chunk = arena->chunks;

    assert(arena->used <= arena->limit);
    if (rounded < size || rounded > arena->limit - arena->used)
        return NULL;
    if (!chunk || !CHUNK_BYTES || rounded > chunk->size - chunk->used) {
        size_t bytes = rounded > arena->chunk_bytes ? rounded : arena->chunk_bytes;

        chunk = memory_grow(NULL, sizeof *chunk + bytes);
        *chunk = (struct arena_chunk){.size = bytes};
        give_chunk(arena, chunk);
    }
    void *piece = chunk->bytes + chunk->used;
    chunk->used += rounded;
    arena->used += rounded;
    assert(chunk->used <= chunk->size);
    return piece;
}

bool arena_copy(struct arena *arena, struct span text, struct span *ret_copy)
{
    char *bytes = arena_take(arena, text.size);

    if (!bytes)
        return false;
    if (text.size)
        memcpy(bytes, text.data, text.size);
    *ret_copy = span_make(bytes, text.size);
    return true;
}

void arena_reset(struct arena *arena)
{
    struct arena_chunk *kept = NULL;

    while (arena->chunks) {
        struct arena_chunk *chunk = arena->chunks;

        arena->chunks = chunk->next;
        if (CHUNK_BYTES && !kept && chunk->size == arena->chunk_bytes)
            kept = chunk;
        else
            free(chunk);
    }
    if (kept) {
        kept->used = 0;
        kept->next = NULL;
    }
    arena->chunks = kept;
    arena->used = 0;
}
