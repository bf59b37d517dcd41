/* State values as one stream of bytes that any weir of the same layouts reads: a zstd frame of a name
 * and version, the values, their number and a checksum over them. Written and read once, front to back. */
#pragma once
#include "base/state.h"
#include "base/status.h"

#include <stdio.h>

struct archive;

struct archive *archive_write_begin(FILE *file); /* borrowed */
bool archive_write(struct archive *archive, const struct state_key *key, struct span bytes);
bool archive_write_end(struct archive *archive); /* false: the file could not be written */

enum status archive_read_begin(FILE *file, struct archive **ret_archive, struct error *ret_error);
/* STATUS_SKIP: that was all, and it is whole. The bytes are valid until the next call. */
enum status archive_read(struct archive *archive, struct state_key *ret_key, struct span *ret_bytes,
                         struct error *ret_error);
void archive_free(struct archive *archive); /* NULL is fine */
