/* Run once by hand, over some hundred megabytes at most. JSON lines were dropped: base64 would be a
 * third larger for bytes that nobody reads by eye. */
#include "cli/state_archive.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <zstd.h>

enum { COMPRESSION_LEVEL = 3, CHUNK_BYTES = 1 << 17, VALUE_LIMIT = 1 << 30, ARCHIVE_VERSION = 1 };
enum { ENTRY_END = 0, ENTRY_VALUE = 1, ENTRY_HEAD_BYTES = 4 + 4 + 8 + 8 + 4, END_BYTES = 8 + 8 };

static const char magic[] = "weir-state";

struct archive {
    FILE *file;
    ZSTD_CCtx *compressor;
    ZSTD_DCtx *decompressor;
    ZSTD_inBuffer packed; /* reading: what was read and not unpacked */
    struct buffer entry;
    uint64_t count, checksum;
    char *chunk;
};

static struct archive *archive_new(FILE *file)
{
    struct archive *archive = memory_new(sizeof *archive);

    archive->file = file;
    archive->chunk = memory_new(CHUNK_BYTES);
    archive->packed.src = archive->chunk;
    buffer_init(&archive->entry, VALUE_LIMIT);
    return archive;
}

void archive_free(struct archive *archive)
{
    if (!archive)
        return;
    ZSTD_freeCCtx(archive->compressor);
    ZSTD_freeDCtx(archive->decompressor);
    buffer_free(&archive->entry);
    free(archive->chunk);
    free(archive);
}

/* Packs and writes what is in `entry`. */
static bool write_entry(struct archive *archive, ZSTD_EndDirective directive)
{
    ZSTD_inBuffer plain = {.src = archive->entry.data, .size = archive->entry.size};
    size_t left;

    assert(!archive->entry.full);
    do {
        ZSTD_outBuffer packed = {.dst = archive->chunk, .size = CHUNK_BYTES};

        left = ZSTD_compressStream2(archive->compressor, &packed, &plain, directive);
        assert(!ZSTD_isError(left));
        if (fwrite(archive->chunk, 1, packed.pos, archive->file) != packed.pos)
            return false;
    } while (directive == ZSTD_e_end ? left != 0 : plain.pos < plain.size);
    buffer_clear(&archive->entry);
    return true;
}

struct archive *archive_write_begin(FILE *file)
{
    struct archive *archive = archive_new(file);

    archive->compressor = ZSTD_createCCtx();
    assert(archive->compressor);
    ZSTD_CCtx_setParameter(archive->compressor, ZSTD_c_compressionLevel, COMPRESSION_LEVEL);
    buffer_put(&archive->entry, magic, sizeof magic);
    pack_u8(&archive->entry, ARCHIVE_VERSION);
    return archive;
}

bool archive_write(struct archive *archive, const struct state_key *key, struct span bytes)
{
    size_t start = archive->entry.size; /* the first entry has the archive's name before it */

    pack_u8(&archive->entry, ENTRY_VALUE);
    pack_u32(&archive->entry, key->kind);
    pack_u32(&archive->entry, key->block);
    pack_u64(&archive->entry, key->owner);
    pack_u64(&archive->entry, key->part);
    pack_text(&archive->entry, bytes);
    archive->checksum =
        hash_bytes(archive->entry.data + start, archive->entry.size - start, archive->checksum);
    archive->count++;
    return write_entry(archive, ZSTD_e_continue);
}

bool archive_write_end(struct archive *archive)
{
    pack_u8(&archive->entry, ENTRY_END);
    pack_u64(&archive->entry, archive->count);
    pack_u64(&archive->entry, archive->checksum);
    return write_entry(archive, ZSTD_e_end) && fflush(archive->file) == 0;
}

/* Appends so many bytes of the stream to `entry`. */
static enum status read_bytes(struct archive *archive, size_t size, struct error *ret_error)
{
    char *room = buffer_room(&archive->entry, size);

    if (!room)
        return fail(ret_error, "the archive is damaged: a value of %zu bytes", size);
    ZSTD_outBuffer plain = {.dst = room, .size = size};
    while (plain.pos < plain.size) {
        size_t before = plain.pos;
        size_t result = ZSTD_decompressStream(archive->decompressor, &plain, &archive->packed);

        if (ZSTD_isError(result))
            return fail(ret_error, "the archive is damaged: %s", ZSTD_getErrorName(result));
        if (plain.pos > before || archive->packed.pos < archive->packed.size)
            continue;
        archive->packed.pos = 0;
        archive->packed.size = fread(archive->chunk, 1, CHUNK_BYTES, archive->file);
        if (archive->packed.size == 0)
            return fail(ret_error, "the archive ends too early");
    }
    archive->entry.size += size;
    return STATUS_OK;
}

enum status archive_read_begin(FILE *file, struct archive **ret_archive, struct error *ret_error)
{
    struct archive *archive = archive_new(file);

    archive->decompressor = ZSTD_createDCtx();
    assert(archive->decompressor);
    enum status status = read_bytes(archive, sizeof magic + 1, ret_error);
    if (status != STATUS_OK || memcmp(archive->entry.data, magic, sizeof magic) != 0)
        status = fail(ret_error, "this is no archive of weir state");
    else if (archive->entry.data[sizeof magic] != ARCHIVE_VERSION)
        status = fail(ret_error, "the archive was written by another weir (version %u; this weir reads %d)",
                      (unsigned)(unsigned char)archive->entry.data[sizeof magic], ARCHIVE_VERSION);
    if (status != STATUS_OK) {
        archive_free(archive);
        return status;
    }
    *ret_archive = archive;
    return STATUS_OK;
}

static enum status read_end(struct archive *archive, struct error *ret_error)
{
    if (read_bytes(archive, END_BYTES, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    struct unpack in = unpack_begin(buffer_span(&archive->entry));
    unpack_u8(&in);
    uint64_t count = unpack_u64(&in);
    if (count != archive->count || unpack_u64(&in) != archive->checksum)
        return fail(ret_error, "the archive is damaged: its values do not match its checksum");
    return STATUS_SKIP;
}

enum status archive_read(struct archive *archive, struct state_key *ret_key, struct span *ret_bytes,
                         struct error *ret_error)
{
    buffer_clear(&archive->entry);
    enum status status = read_bytes(archive, 1, ret_error);
    if (status == STATUS_OK && archive->entry.data[0] == ENTRY_END)
        return read_end(archive, ret_error);
    if (status == STATUS_OK)
        status = read_bytes(archive, ENTRY_HEAD_BYTES, ret_error);
    if (status != STATUS_OK)
        return status;
    struct unpack in = unpack_begin(buffer_span(&archive->entry));
    unpack_u8(&in);
    struct state_key key = {.kind = unpack_u32(&in), .block = unpack_u32(&in)};
    key.owner = unpack_u64(&in);
    key.part = unpack_u64(&in);
    uint32_t size = unpack_u32(&in);
    if (read_bytes(archive, size, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    archive->checksum = hash_bytes(archive->entry.data, archive->entry.size, archive->checksum);
    archive->count++;
    *ret_key = key;
    *ret_bytes = span_make(archive->entry.data + archive->entry.size - size, size);
    return STATUS_OK;
}
