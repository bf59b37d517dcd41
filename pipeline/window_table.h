/* Inside of the windows: what windows.c, which closes buckets, shares with window_panes.c, which keeps the
 * panes of a series, and window_state.c, which stores them. Nothing else includes this. */
#pragma once
#include "base/slots.h"
#include "pipeline/columns.h"
#include "pipeline/window_hot.h"
#include "pipeline/windows.h"

enum { CLOSE_ROWS = 64 }; /* buckets scored together: few enough to stay in the cache */

/* Of a pane and its neighbours up to, or from, a turn of the window; window_panes.c. */
struct pane_sums {
    int64_t turn_us;
    char accumulators[] __attribute__((aligned(8))); /* of the group */
};

/* The rows of one series within [start, start + pane) that count from first_end on. */
struct pane_node {
    struct pane_node *next, *before; /* the first one's before is the last */
    struct pane_sums *sums;          /* NULL: none */
    int64_t start_us, first_end_us;
    uint32_t late;                                   /* rows that came by correction */
    bool is_late;                                    /* counts for the later ends of its windows only */
    bool is_kept;                                    /* time.correct_for longer than its windows need it */
    char accumulators[] __attribute__((aligned(8))); /* of the group */
};

struct series {
    struct pane_node *panes; /* the late ones, then the others, of each the newest first */
    uint64_t activated;      /* which activation of the table put it into the list; 0: it is not in it */
    uint32_t texts;          /* place of the key's + 1; 0: there is no such series */
};

struct table_times { /* all ends up to closed_us are closed; the first one that has something to do */
    int64_t closed_us, next_end_us;
};

/* All series of one group in one shard; arrays are indexed by slot. */
struct series_table {
    const struct plan_group *group;
    unsigned shard;
    struct slots slots;
    struct series *series;
    struct key_texts texts;
    int64_t *last_end_us; /* slot * measures + place: end of the last bucket with rows, 0 none */
    uint8_t *told;        /* slot * (rules + detectors) */
    char **states;        /* a detector: slot * its state size */
    struct backend_state **backends;
    struct hot_table *hot; /* a detector */
    size_t slot_capacity;
    uint32_t *active; /* series with panes, or with a condition that is true, as they were activated */
    size_t active_count, active_capacity;
    uint64_t activations;
    struct table_times times;
    struct table_times stored; /* as they were at the last cut */
    bool times_frozen;
    struct blocks blocks;
};

/* An end of a table of which some series are closed: no cut may be made. */
struct half_closed {
    struct series_table *table; /* NULL: none */
    int64_t end_us;
    bool provisional, partial;
    size_t next, kept; /* of the active series: done up to here; of those, still active */
};

/* One closing step: some series of a table at one end. Scratch, reused. */
struct closing {
    struct series_table *table;
    int64_t end_us, at_us;
    bool provisional, partial, correction;
    uint64_t calendars; /* that the buckets touch */
    uint32_t rows;
    uint32_t slot[CLOSE_ROWS];
    uint32_t late[CLOSE_ROWS];
    struct span texts[CLOSE_ROWS][KEY_FIELDS_MAX];
    struct bucket buckets[PLAN_GROUP_MEASURES_MAX][CLOSE_ROWS];
    struct signal *signals; /* row * detectors */
    double values[CLOSE_ROWS];
    uint32_t gaps[CLOSE_ROWS], slots[CLOSE_ROWS], places[CLOSE_ROWS];
    void *hot[CLOSE_ROWS];
    struct opinion opinions[CLOSE_ROWS];
    char merged[PLAN_GROUP_MEASURES_MAX * sizeof(struct accumulator)] __attribute__((aligned(8)));
};

/* A cut under way; window_state.c. */
struct window_saving {
    struct saver *saver; /* NULL: nothing is frozen */
    uint64_t cut;
    size_t next_table;
    struct order_frozen corrections[2];
    struct buffer bytes; /* of the next value of corrections */
    uint32_t blocks;     /* values of corrections put */
    struct corrections_table {
        uint64_t owner, cut;
    } * old; /* stored tables of corrections that the next cut replaces */
    size_t old_count, old_capacity;
};

struct windows {
    const struct plan *plan;
    struct judge *judge;
    struct windows_output output;
    struct series_table **tables; /* shard * groups + group; NULL until a pane comes */
    unsigned worker, workers;
    uint32_t series_limit;
    struct order corrections[2]; /* of measures on events, on runs: each waits for its own time */
    struct closing closing;
    struct half_closed half;
    size_t closed;               /* buckets closed and series looked at in this call */
    int64_t firm_us, partial_us; /* of the last call */
    struct window_saving saving;
    struct windows_figures figures;
};

/* Shows a detector the buckets in the gap before a row of the closing from which it is to learn nothing; what
 * is left of the gap behind the last of them stays the row's. window_except.c. */
void windows_pass_gap(struct windows *windows, unsigned number, uint32_t row);

struct series_table *windows_table(struct windows *windows, unsigned shard, const struct plan_group *group);

/* Gives the slot its key and makes room for it; it has no panes and is not active. */
struct series *windows_add_series(struct windows *windows, struct series_table *table, uint32_t slot,
                                  const struct span *texts);
struct pane_node *windows_add_node(struct windows *windows, const struct plan_group *group,
                                   struct series *series, int64_t start_us, int64_t first_end_us);

int64_t windows_keep_until(const struct windows *windows, const struct plan_group *group,
                           const struct pane_node *node);

struct pane_node *pane_new(const struct plan_group *group, int64_t start_us, int64_t first_end_us);
void pane_free(const struct plan_group *group, struct pane_node *node);
void panes_insert(struct series *series, struct pane_node *node);
void panes_remove(struct series *series, struct pane_node *node);
struct pane_node *panes_find(const struct plan_group *group, const struct series *series, int64_t start_us,
                             int64_t first_end_us); /* NULL: there is none */

/* Of those that are not late; NULL: there is none. */
struct pane_node *panes_oldest(const struct series *series);
struct pane_node *panes_newer(const struct series *series, const struct pane_node *node);

/* Accumulators of all panes, late ones apart, from the turn to the newest given, which is not before it; and
 * from the oldest given, which is before it, to the turn. Valid until the panes change. */
char *panes_sum_from_turn(const struct plan_group *group, const struct series *series,
                          struct pane_node *newest, int64_t turn_us);
char *panes_sum_to_turn(const struct plan_group *group, const struct series *series, struct pane_node *oldest,
                        int64_t turn_us);
void panes_forget_sums(const struct plan_group *group, struct series *series); /* one of the panes changed */

void windows_save_block(struct windows *windows, struct series_table *table, uint32_t block);
void windows_save_correction(struct windows *windows, struct pane_record *record);
void windows_saving_free(struct window_saving *saving);

/* Before any change of the series in that slot. */
static inline void windows_touch(struct windows *windows, struct series_table *table, uint32_t slot)
{
    if (blocks_touch(&table->blocks, slot))
        windows_save_block(windows, table, slot / BLOCK_SLOTS);
}
