/* What a crash keeps is decided write by write and sector by sector, so that a store that trusts the order
 * of two writes without a sync between them is found out. Truncation and removal of a file are writes like
 * any other; a new file's name is kept at once. */
#include "tests/simulation/disk.h"

#include "base/memory.h"
#include "tests/base/random.h"

#include <assert.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILES_MAX = 128, NAME_BYTES = 256, SECTOR_BYTES = 512, REGIONS_MAX = 64 };

struct image {
    char *bytes;
    size_t size, capacity;
};

struct change { /* since the last sync; a truncation has no bytes */
    struct change *next;
    size_t at, size;
    bool truncates;
    char bytes[];
};

struct file {
    char name[NAME_BYTES];
    bool exists;
    struct image now, synced;
    struct change *first, *last;
    unsigned handles, sharers;
    const void *reserver, *pender, *excluder; /* handles that hold these locks */
    void *regions[REGIONS_MAX];
    unsigned region_count, shm_sharers[SQLITE_SHM_NLOCK];
    const void *shm_excluder[SQLITE_SHM_NLOCK];
};

struct handle {
    sqlite3_file base;
    struct disk *disk;
    struct file *file;
    int level;
    bool shm_shared[SQLITE_SHM_NLOCK];
    bool removed_at_close;
};

struct disk {
    sqlite3_vfs vfs, *host;
    uint64_t random;
    bool full, broken, lies, off;
    unsigned off_after; /* operations; 0: not counted */
    struct file files[FILES_MAX];
};

static void image_resize(struct image *image, size_t size)
{
    image->bytes = memory_reserve(image->bytes, &image->capacity, size, 1);
    if (size > image->size)
        memset(image->bytes + image->size, 0, size - image->size);
    image->size = size;
}

static void image_write(struct image *image, size_t at, const char *bytes, size_t size)
{
    if (at + size > image->size)
        image_resize(image, at + size);
    memcpy(image->bytes + at, bytes, size);
}

static void change_free_all(struct file *file)
{
    for (struct change *next; file->first; file->first = next) {
        next = file->first->next;
        free(file->first);
    }
    file->last = NULL;
}

static void change_add(struct file *file, size_t at, const void *bytes, size_t size, bool truncates)
{
    struct change *change = memory_grow(NULL, sizeof *change + size);

    *change = (struct change){.at = at, .size = size, .truncates = truncates};
    if (size)
        memcpy(change->bytes, bytes, size);
    if (file->first)
        file->last->next = change;
    else
        file->first = change;
    file->last = change;
}

/* Applies a change to the synced bytes; sectors that the cut lost stay out. */
static void change_apply(struct image *image, const struct change *change, uint64_t *random, bool whole)
{
    if (change->truncates) {
        if (whole || random_below(random, 2))
            image_resize(image, change->at);
        return;
    }
    for (size_t at = change->at, end = change->at + change->size, next; at < end; at = next) {
        next = (at / SECTOR_BYTES + 1) * SECTOR_BYTES;
        next = next < end ? next : end;
        if (whole || random_below(random, 2))
            image_write(image, at, change->bytes + (at - change->at), next - at);
    }
}

static void file_sync(struct file *file)
{
    for (const struct change *change = file->first; change; change = change->next)
        change_apply(&file->synced, change, NULL, true);
    change_free_all(file);
}

static void file_clear(struct file *file)
{
    change_free_all(file);
    free(file->now.bytes);
    free(file->synced.bytes);
    for (unsigned i = 0; i < file->region_count; i++)
        free(file->regions[i]);
    *file = (struct file){0};
}

static struct file *file_find(struct disk *disk, const char *name)
{
    for (unsigned i = 0; i < FILES_MAX; i++)
        if (disk->files[i].exists && strcmp(disk->files[i].name, name) == 0)
            return &disk->files[i];
    return NULL;
}

static struct file *file_make(struct disk *disk, const char *name)
{
    for (unsigned i = 0; i < FILES_MAX; i++)
        if (!disk->files[i].exists && disk->files[i].handles == 0) {
            file_clear(&disk->files[i]);
            disk->files[i].exists = true;
            snprintf(disk->files[i].name, NAME_BYTES, "%s", name);
            return &disk->files[i];
        }
    assert(!"too many files");
    return NULL;
}

static int handle_unlock(sqlite3_file *base, int level)
{
    struct handle *handle = (struct handle *)base;
    struct file *file = handle->file;

    if (file->reserver == handle && level < SQLITE_LOCK_RESERVED)
        file->reserver = NULL;
    if (file->pender == handle)
        file->pender = NULL;
    if (file->excluder == handle)
        file->excluder = NULL;
    if (level == SQLITE_LOCK_NONE && handle->level > SQLITE_LOCK_NONE)
        file->sharers--;
    if (level < handle->level)
        handle->level = level;
    return SQLITE_OK;
}

static int handle_lock(sqlite3_file *base, int level)
{
    struct handle *handle = (struct handle *)base;
    struct file *file = handle->file;

    if (handle->level >= level)
        return SQLITE_OK;
    if ((file->excluder && file->excluder != handle) || (file->pender && file->pender != handle))
        return SQLITE_BUSY;
    if (level == SQLITE_LOCK_SHARED) {
        file->sharers++;
    } else {
        if (file->reserver && file->reserver != handle)
            return SQLITE_BUSY;
        file->reserver = handle;
        if (level == SQLITE_LOCK_EXCLUSIVE) {
            file->pender = handle;
            if (file->sharers > 1)
                return SQLITE_BUSY;
            file->excluder = handle;
        }
    }
    handle->level = level;
    return SQLITE_OK;
}

static int handle_check_reserved(sqlite3_file *base, int *ret_reserved)
{
    *ret_reserved = ((struct handle *)base)->file->reserver != NULL;
    return SQLITE_OK;
}

static int handle_shm_unmap(sqlite3_file *base, int remove)
{
    struct handle *handle = (struct handle *)base;
    struct file *file = handle->file;

    for (unsigned i = 0; i < SQLITE_SHM_NLOCK; i++) {
        file->shm_sharers[i] -= handle->shm_shared[i];
        handle->shm_shared[i] = false;
        if (file->shm_excluder[i] == handle)
            file->shm_excluder[i] = NULL;
    }
    for (unsigned i = 0; remove && i < file->region_count; i++)
        free(file->regions[i]);
    if (remove)
        file->region_count = 0;
    return SQLITE_OK;
}

static int handle_close(sqlite3_file *base)
{
    struct handle *handle = (struct handle *)base;
    struct file *file = handle->file;

    handle_shm_unmap(base, 0);
    handle_unlock(base, SQLITE_LOCK_NONE);
    file->handles--;
    if (file->handles == 0 && (handle->removed_at_close || !file->exists))
        file_clear(file);
    return SQLITE_OK;
}

static int handle_read(sqlite3_file *base, void *bytes, int size, sqlite3_int64 at)
{
    const struct handle *handle = (struct handle *)base;
    const struct image *image = &handle->file->now;
    size_t there = (size_t)at < image->size ? image->size - (size_t)at : 0;

    if (handle->disk->off)
        return SQLITE_IOERR_READ;
    there = there < (size_t)size ? there : (size_t)size;
    if (there)
        memcpy(bytes, image->bytes + at, there);
    memset((char *)bytes + there, 0, (size_t)size - there);
    return there == (size_t)size ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

/* Counts an operation that changes something; true: it fails. */
static bool refuses(struct disk *disk)
{
    if (disk->off_after && --disk->off_after == 0)
        disk->off = true;
    return disk->off || disk->broken;
}

static int handle_write(sqlite3_file *base, const void *bytes, int size, sqlite3_int64 at)
{
    struct handle *handle = (struct handle *)base;
    struct disk *disk = handle->disk;
    struct file *file = handle->file;
    size_t part = (size_t)size;
    int answer = SQLITE_OK;

    if (refuses(disk))
        return SQLITE_IOERR_WRITE;
    if (disk->full && (size_t)at + part > file->now.size) {
        answer = SQLITE_FULL;
        part = random_below(&disk->random, 2) ? random_below(&disk->random, part) : 0;
    }
    if (part) {
        image_write(&file->now, (size_t)at, bytes, part);
        change_add(file, (size_t)at, bytes, part, false);
    }
    return answer;
}

static int handle_truncate(sqlite3_file *base, sqlite3_int64 size)
{
    struct handle *handle = (struct handle *)base;

    if (refuses(handle->disk))
        return SQLITE_IOERR_TRUNCATE;
    image_resize(&handle->file->now, (size_t)size);
    change_add(handle->file, (size_t)size, NULL, 0, true);
    return SQLITE_OK;
}

static int handle_sync(sqlite3_file *base, int flags)
{
    struct handle *handle = (struct handle *)base;

    (void)flags;
    if (refuses(handle->disk))
        return SQLITE_IOERR_FSYNC;
    if (!handle->disk->lies)
        file_sync(handle->file);
    return SQLITE_OK;
}

static int handle_size(sqlite3_file *base, sqlite3_int64 *ret_size)
{
    *ret_size = (sqlite3_int64)((struct handle *)base)->file->now.size;
    return SQLITE_OK;
}

static int handle_control(sqlite3_file *base, int operation, void *argument)
{
    (void)base;
    (void)operation;
    (void)argument;
    return SQLITE_NOTFOUND;
}

static int handle_sector(sqlite3_file *base)
{
    (void)base;
    return SECTOR_BYTES;
}

static int handle_properties(sqlite3_file *base)
{
    (void)base;
    return 0;
}

static int handle_shm_map(sqlite3_file *base, int region, int size, int extend, void volatile **ret_bytes)
{
    struct file *file = ((struct handle *)base)->file;

    assert(region < REGIONS_MAX);
    *ret_bytes = NULL;
    while (extend && file->region_count <= (unsigned)region)
        file->regions[file->region_count++] = memory_new((size_t)size);
    if ((unsigned)region < file->region_count)
        *ret_bytes = file->regions[region];
    return SQLITE_OK;
}

static int handle_shm_lock(sqlite3_file *base, int first, int count, int flags)
{
    struct handle *handle = (struct handle *)base;
    struct file *file = handle->file;
    bool exclusive = flags & SQLITE_SHM_EXCLUSIVE;

    for (int i = first; (flags & SQLITE_SHM_LOCK) && i < first + count; i++)
        if ((file->shm_excluder[i] && file->shm_excluder[i] != handle) ||
            (exclusive && file->shm_sharers[i] > handle->shm_shared[i]))
            return SQLITE_BUSY;
    for (int i = first; i < first + count; i++) {
        bool locks = flags & SQLITE_SHM_LOCK;

        if (exclusive) {
            file->shm_excluder[i] = locks ? handle : NULL;
        } else if (handle->shm_shared[i] != locks) {
            file->shm_sharers[i] += locks ? 1u : -1u;
            handle->shm_shared[i] = locks;
        }
    }
    return SQLITE_OK;
}

static void handle_shm_barrier(sqlite3_file *base)
{
    (void)base;
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = handle_close,
    .xRead = handle_read,
    .xWrite = handle_write,
    .xTruncate = handle_truncate,
    .xSync = handle_sync,
    .xFileSize = handle_size,
    .xLock = handle_lock,
    .xUnlock = handle_unlock,
    .xCheckReservedLock = handle_check_reserved,
    .xFileControl = handle_control,
    .xSectorSize = handle_sector,
    .xDeviceCharacteristics = handle_properties,
    .xShmMap = handle_shm_map,
    .xShmLock = handle_shm_lock,
    .xShmBarrier = handle_shm_barrier,
    .xShmUnmap = handle_shm_unmap,
};

static int disk_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *base, int flags, int *ret_flags)
{
    struct disk *disk = vfs->pAppData;
    struct handle *handle = (struct handle *)base;
    struct file *file = name ? file_find(disk, name) : NULL;

    base->pMethods = NULL;
    /* the program may have made the database's file itself, on the real disk, for its rights */
    if (disk->off || (!file && !(flags & (SQLITE_OPEN_CREATE | SQLITE_OPEN_MAIN_DB))))
        return SQLITE_CANTOPEN;
    if (!file)
        file = file_make(disk, name ? name : "");
    *handle = (struct handle){.base = {.pMethods = &methods},
                              .disk = disk,
                              .file = file,
                              .removed_at_close = flags & SQLITE_OPEN_DELETEONCLOSE};
    file->handles++;
    if (ret_flags)
        *ret_flags = flags;
    return SQLITE_OK;
}

static int disk_delete(sqlite3_vfs *vfs, const char *name, int sync_folder)
{
    struct disk *disk = vfs->pAppData;
    struct file *file = file_find(disk, name);

    (void)sync_folder;
    if (disk->off)
        return SQLITE_IOERR_DELETE;
    if (!file)
        return SQLITE_IOERR_DELETE_NOENT;
    file->exists = false;
    if (file->handles == 0)
        file_clear(file);
    return SQLITE_OK;
}

static int disk_access(sqlite3_vfs *vfs, const char *name, int flags, int *ret_there)
{
    (void)flags;
    *ret_there = file_find(vfs->pAppData, name) != NULL;
    return SQLITE_OK;
}

static int disk_full_path(sqlite3_vfs *vfs, const char *name, int size, char *ret_path)
{
    (void)vfs;
    snprintf(ret_path, (size_t)size, "%s", name);
    return SQLITE_OK;
}

/* The same in every run of a seed. */
static int disk_randomness(sqlite3_vfs *vfs, int size, char *ret_bytes)
{
    struct disk *disk = vfs->pAppData;

    for (int i = 0; i < size; i++)
        ret_bytes[i] = (char)random_next(&disk->random);
    return size;
}

static int disk_sleep(sqlite3_vfs *vfs, int us)
{
    (void)vfs;
    return us;
}

/* Always the same moment: only ages of rows are told by it. In SQLite's Julian milliseconds. */
static int disk_time(sqlite3_vfs *vfs, sqlite3_int64 *ret_ms)
{
    (void)vfs;
    *ret_ms = 212661936000000; /* 2026-11-21 */
    return SQLITE_OK;
}

struct disk *disk_new(uint64_t seed)
{
    struct disk *disk = memory_new(sizeof *disk);

    disk->host = sqlite3_vfs_find(NULL);
    disk->random = seed;
    disk->vfs = (sqlite3_vfs){.iVersion = 2,
                              .szOsFile = sizeof(struct handle),
                              .mxPathname = NAME_BYTES - 1,
                              .zName = "simulated",
                              .pAppData = disk,
                              .xOpen = disk_open,
                              .xDelete = disk_delete,
                              .xAccess = disk_access,
                              .xFullPathname = disk_full_path,
                              .xRandomness = disk_randomness,
                              .xSleep = disk_sleep,
                              .xCurrentTimeInt64 = disk_time};
    sqlite3_vfs_register(&disk->vfs, 1); /* dead letters are opened without a name of a file layer */
    return disk;
}

void disk_wipe(struct disk *disk)
{
    for (unsigned i = 0; i < FILES_MAX; i++) {
        assert(disk->files[i].handles == 0);
        file_clear(&disk->files[i]);
    }
}

void disk_free(struct disk *disk)
{
    disk_wipe(disk);
    sqlite3_vfs_unregister(&disk->vfs);
    free(disk);
}

const char *disk_vfs(const struct disk *disk)
{
    return disk->vfs.zName;
}

void disk_fill(struct disk *disk, bool full)
{
    disk->full = full;
}

void disk_break(struct disk *disk, bool broken)
{
    disk->broken = broken;
}

void disk_lie(struct disk *disk, bool lies)
{
    disk->lies = lies;
}

void disk_crash(struct disk *disk)
{
    disk->off = true;
}

void disk_crash_after(struct disk *disk, unsigned operations)
{
    disk->off_after = operations;
}

bool disk_is_off(const struct disk *disk)
{
    return disk->off;
}

void disk_restart(struct disk *disk)
{
    enum { KEEP_ALL, KEEP_NONE, KEEP_SOME, WAYS } way = (int)random_below(&disk->random, WAYS);

    for (unsigned i = 0; i < FILES_MAX; i++) {
        struct file *file = &disk->files[i];

        assert(file->handles == 0);
        for (const struct change *change = file->first; change && way != KEEP_NONE; change = change->next)
            change_apply(&file->synced, change, &disk->random, way == KEEP_ALL);
        change_free_all(file);
        image_resize(&file->now, 0);
        if (file->synced.size)
            image_write(&file->now, 0, file->synced.bytes, file->synced.size);
        for (unsigned r = 0; r < file->region_count; r++)
            free(file->regions[r]);
        file->region_count = 0;
    }
    disk->off = disk->full = disk->broken = false;
    disk->off_after = 0;
}
