/* A disk in memory, as a file layer of SQLite: each file has what was synced, and the writes since. A
 * crash keeps the synced bytes and any part of the other writes, torn at sectors. One thread, one process;
 * connections lock each other out as on a real disk. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct disk;

struct disk *disk_new(uint64_t seed); /* becomes known to SQLite as disk_vfs(); one disk at a time */
void disk_free(struct disk *disk);
const char *disk_vfs(const struct disk *disk);

/* Writes that need room fail with "disk full", half of them after a part was written. */
void disk_fill(struct disk *disk, bool full);
void disk_break(struct disk *disk, bool broken); /* writes and syncs fail with an I/O error */
void disk_lie(struct disk *disk, bool lies);     /* planted fault: a sync says it is done and does nothing */

/* The power is cut: from here on every call fails, until disk_restart, when no file is open any more. */
void disk_crash(struct disk *disk);
void disk_crash_after(struct disk *disk,
                      unsigned operations); /* in the middle of something: writes and syncs */
bool disk_is_off(const struct disk *disk);
void disk_restart(struct disk *disk);
void disk_wipe(struct disk *disk); /* all files are gone; none is open */
