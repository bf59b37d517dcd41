/* Everything outside of the program: the broker, three sinks and the clock, and what has reached them. It
 * outlives the engines of a scenario. One thread. */
#pragma once
#include "base/slots.h"
#include "pipeline/journal.h"
#include "tests/simulation/scenario.h"

enum { FAILURE_BYTES = 640 };

struct texts { /* owned texts, in the order of adding */
    char **items;
    size_t count, capacity;
};

void texts_add(struct texts *texts, const char *text, size_t size);
void texts_print(struct texts *texts, const char *format, ...) __attribute__((format(printf, 2, 3)));
void texts_truncate(struct texts *texts, size_t count);
void texts_sort(struct texts *texts);
void texts_sort_once(struct texts *texts); /* and equal ones are left out */

struct stored { /* a document in the search server */
    enum document_kind kind;
    uint64_t version;
    char *body;
};

struct plants {      /* faults of the world that the checker must find */
    bool overwrites; /* the search server ignores versions */
    bool resends;    /* after a restart the broker begins before the offset asked for */
    /* of a cluster */
    bool loose_parcels;         /* parcels are not part of the transaction: they stay when it is lost */
    bool inbox_low, inbox_high; /* a task reads its inbox on beside the offset it asked for */
    bool unfenced;              /* who lost a task may go on writing */
};

struct world {
    const struct scenario *scenario;
    struct plants plants;
    uint64_t random;
    int64_t now_us;
    bool is_shared; /* by the processes of a cluster */
    bool calm;      /* no trouble of its own: the world of the run that the others are compared with */
    int64_t search_down_us, lines_down_us, pager_down_us, unreachable_us; /* until when */
    unsigned lives;                                                       /* engines that told alerts */
    bool store_lost; /* the disk is not the one that the offsets were committed for */

    struct { /* by partition */
        int64_t committed;
        size_t position; /* next row to read, of the source that found it last */
        const struct source *reader;
        char metadata[128];
    } queues[PARTITIONS_MAX];
    uint64_t read; /* rows given in all lives */

    struct slots ids;
    struct stored *documents;
    size_t document_capacity;
    struct texts lines, notes; /* what the file holds; what people were told, each time */
    uint64_t delivered;        /* documents, lines and notes, told again or not: shows that something moves */
    /* In a cluster: of the engine at hand; who may have lost its tasks without knowing has to be silent. */
    struct journal *journal;
    bool is_lost; /* its task is another's */
    bool (*is_confirmed)(struct journal *journal, int64_t now_us);
    char failure[FAILURE_BYTES]; /* the first thing that must not be; empty: none */
};

void world_init(struct world *world, const struct scenario *scenario, bool calm);
void world_free(struct world *world);
void world_begin_life(struct world *world);

/* Offsets of input that are committed for good. */
void world_commit(struct world *world, const struct journal_offset *offset);
void world_fail(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts the world in the place of the plan's source and sinks, until plan_give_back, before plan_free. */
struct plan_outside {
    const struct source_type *source;
    const struct sink_type *sinks[3];
    void *source_settings, *sink_settings[3];
};
void plan_take(struct plan *plan, struct world *world, struct plan_outside *ret_outside);
void plan_give_back(struct plan *plan, const struct plan_outside *outside);

bool world_all_read(const struct world *world); /* all but the rows that flush */
bool document_is_poison(const struct scenario *scenario, enum document_kind kind, struct id128 id);
