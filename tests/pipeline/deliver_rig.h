/* Outputs with scripted sinks and a store in memory, through cuts, crashes and restarts. */
#pragma once
#include "pipeline/deliver.h"
#include "pipeline/notices.h"
#include "tests/pipeline/fake_store.h"
#include "tests/pipeline/support.h"

enum { WORKERS = 3, REMOTES = 3, QUEUE_MAX = 20 };

enum { FILE_LIKE, SEARCH_LIKE, PAGER_LIKE };

/* What stands behind a sink; outlives the process. */
struct remote {
    bool down, rejecting;
    uint64_t stuck; /* alerts below this number wait for another attempt */
    unsigned speed; /* of 100: how often a turn finishes a document */
    struct id128 *log;
    size_t count, capacity;
    char last[4096]; /* the last body */
};

enum { TOLD_MAX = 8 };

struct value {
    struct state_key key;
    char *bytes;
    size_t size;
};

struct values {
    struct value *items;
    size_t count, capacity;
};

struct world {
    struct remote remotes[REMOTES];
    struct remote *settings[REMOTES];
    struct plan_sink sinks[REMOTES];
    struct plan plan;
    struct store *store;
    struct values values, next_values; /* of the complete cut, of the one under way */

    unsigned workers;
    struct keeper *keeper;
    _Atomic uint64_t outbox_bytes;
    struct deliver *deliver[WORKERS];
    int64_t now_us;
    struct saver saver;
    bool cutting;
    int64_t told_us[TOLD_MAX]; /* by dedup.low, of the last start */
    const char *sent_path;     /* NULL: no such file */
};

extern uint64_t rig_seed;
unsigned draw(unsigned below);
void world_start(struct world *world, unsigned workers);      /* from the last complete cut */
struct world *world_new(unsigned kinds, unsigned sink_count); /* kinds: of the first two, bits 1 << kind */
void crash(struct world *world);                              /* what no cut and no log has is lost */
void world_free(struct world *world);
void freeze(struct world *world);
bool save(struct world *world, size_t budget); /* true: the cut is complete */
void turn(struct world *world);
void settle(struct world *world); /* until nothing is owed */
void cut(struct world *world);
void tell_run(struct world *world, unsigned worker, uint64_t number);
struct alert alert_of(uint64_t number, uint64_t dedup, bool firing);
void tell_alert(struct world *world, uint64_t number, uint64_t dedup, bool firing);
void tell_prompt(struct world *world, uint64_t number, uint64_t dedup);
