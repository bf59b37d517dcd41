#include "pipeline/fold.h"

#include "base/memory.h"
#include "base/slots.h"
#include "pipeline/columns.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

enum { PANES_PER_TABLE_MAX = 16 * 1024 * 1024, TABLES_MAX = 65536 };
enum { PANES_VERSION = 1, TURN_ROWS = 32 };

struct pane {
    uint32_t texts; /* place of the key's */
    char accumulators[] __attribute__((aligned(8)));
};

/* Panes that are stored together, and given back together as soon as they are sent: else a table and what has
 * become of it would be in memory at the same time. */
struct pane_block {
    char *panes;
    size_t room; /* panes, at most BLOCK_SLOTS: many tables have a few keys */
    struct key_texts texts;
};

/* All panes of one group with the same start and first end. */
struct pane_table {
    uint64_t number; /* names its stored state */
    int64_t start_us, first_end_us;
    struct slots slots; /* key -> pane number */
    struct pane_block *pane_blocks;
    uint32_t count, sent; /* panes; those below `sent` are gone */
    size_t capacity;      /* blocks of panes */
    struct blocks blocks;
    bool stored; /* some block of it */
};

/* What of a batch a measure adds up; columns are valid for the batch at hand. */
struct measure_input {
    const struct plan_measure *measure;
    uint8_t *where, *hit; /* NULL: all rows */
    const double *values; /* NULL: count or text */
    uint8_t *where_memory, *hit_memory;
    double *value_memory;
};

/* Rows on their way to their panes, a few at a time: what a step needs of memory is fetched while the step
 * before is done for the others. */
struct turn {
    struct turn_row {
        struct id128 key;
        struct span texts[KEY_FIELDS_MAX];
        uint32_t row, table, slot;
    } rows[TURN_ROWS];
    unsigned count;
};

struct sent_table { /* whose state is to be dropped */
    uint64_t owner, part;
};

struct group_fold {
    const struct plan_group *group;
    size_t pane_size;
    struct pane_table *tables;
    size_t table_count, table_capacity, last_table;
    struct pane_table
        *sending; /* taken from `tables`, for no row may join them; the first may be half sent */
    size_t sending_count, sending_capacity;
    int64_t start_us, first_end_us, last_end_us; /* of the pane that the row before was in */
    struct measure_input inputs[PLAN_GROUP_MEASURES_MAX];
};

struct fold {
    const struct plan *plan;
    struct exchange_port *port;
    unsigned workers;
    struct group_fold *groups;
    unsigned group_count;
    struct fold_figures figures;
    uint8_t *late_rows;
    uint64_t next_number; /* of a pane table */
    struct saver *saver;  /* of the cut under way; NULL: nothing is frozen */
    struct sent_table *sent;
    size_t sent_count, sent_capacity;
};

struct fold *fold_new(const struct plan *plan, bool on_run, struct exchange_port *port, unsigned workers)
{
    struct fold *fold = memory_new(sizeof *fold);

    fold->plan = plan;
    fold->port = port;
    fold->workers = workers;
    fold->groups = memory_new((plan->group_count + 1) * sizeof *fold->groups);
    fold->figures.late = memory_new((plan->measure_count + 1) * sizeof *fold->figures.late);
    fold->late_rows = memory_new(BATCH_ROWS_MAX);
    for (unsigned g = 0; g < plan->group_count; g++) {
        const struct plan_group *group = &plan->groups[g];
        struct group_fold *mine = &fold->groups[fold->group_count];

        if (group->on_run != on_run)
            continue;
        fold->group_count++;
        mine->group = group;
        mine->start_us = INT64_MIN;
        mine->pane_size = sizeof(struct pane) + group->accumulators_size;
        for (unsigned m = 0; m < group->measure_count; m++) {
            struct measure_input *input = &mine->inputs[m];

            input->measure = &plan->measures[group->measures[m]];
            input->where_memory = input->measure->where ? memory_new(BATCH_ROWS_MAX) : NULL;
            input->hit_memory = input->measure->hit ? memory_new(BATCH_ROWS_MAX) : NULL;
            if (!input->measure->of_count && !input->measure->of_text)
                input->value_memory = memory_new(BATCH_ROWS_MAX * sizeof(double));
        }
    }
    return fold;
}

static struct pane *pane_at(const struct group_fold *group, const struct pane_table *table, uint32_t slot)
{
    return (struct pane *)(table->pane_blocks[slot / BLOCK_SLOTS].panes +
                           slot % BLOCK_SLOTS * group->pane_size);
}

static void block_free(struct pane_table *table, uint32_t number)
{
    free(table->pane_blocks[number].panes);
    free(table->pane_blocks[number].texts.bytes);
    table->pane_blocks[number] = (struct pane_block){0};
}

static void table_free(const struct group_fold *group, struct pane_table *table)
{
    for (uint32_t i = table->sent; i < table->count; i++)
        accumulators_free(group->group, pane_at(group, table, i)->accumulators);
    for (uint32_t i = 0; i * BLOCK_SLOTS < table->count; i++)
        block_free(table, i);
    slots_free(&table->slots);
    blocks_free(&table->blocks);
    free(table->pane_blocks);
}

void fold_free(struct fold *fold)
{
    for (unsigned g = 0; g < fold->group_count; g++) {
        struct group_fold *group = &fold->groups[g];

        for (size_t t = 0; t < group->table_count; t++)
            table_free(group, &group->tables[t]);
        for (size_t t = 0; t < group->sending_count; t++)
            table_free(group, &group->sending[t]);
        for (unsigned m = 0; m < group->group->measure_count; m++) {
            free(group->inputs[m].where_memory);
            free(group->inputs[m].hit_memory);
            free(group->inputs[m].value_memory);
        }
        free(group->tables);
        free(group->sending);
    }
    free(fold->groups);
    free(fold->figures.late);
    free(fold->late_rows);
    free(fold->sent);
    free(fold);
}

static void prepare_input(struct fold *fold, struct measure_input *input, struct event_batch *batch)
{
    const struct plan_measure *measure = input->measure;

    input->where = measure->where ? input->where_memory : NULL;
    input->hit = measure->hit ? input->hit_memory : NULL;
    input->values = input->value_memory;
    if (measure->where)
        cel_filter(measure->where, batch, input->where, &fold->figures.errors);
    if (measure->hit)
        cel_filter(measure->hit, batch, input->hit, &fold->figures.errors);
    if (!input->value_memory)
        return;
    if (measure->expression) {
        cel_numbers(measure->expression, batch, input->value_memory, &fold->figures.errors);
    } else if (measure->of_field.field != FIELD_COUNT &&
               field_rows[measure->of_field.field].type == FIELD_NUMBER) {
        input->values = event_column(batch, measure->of_field.field);
    } else {
        for (uint32_t row = 0; row < batch->rows; row++)
            input->value_memory[row] = event_number(batch, row, measure->of_field);
    }
}

static struct pane_table *add_table(struct group_fold *group, uint64_t number, int64_t start,
                                    int64_t first_end)
{
    struct pane_table *table;

    group->tables =
        memory_reserve(group->tables, &group->table_capacity, group->table_count + 1, sizeof *table);
    table = &group->tables[group->table_count++];
    *table = (struct pane_table){.number = number, .start_us = start, .first_end_us = first_end};
    slots_init(&table->slots, PANES_PER_TABLE_MAX);
    return table;
}

static struct pane_table *find_table(struct fold *fold, struct group_fold *group, int64_t start,
                                     int64_t first_end)
{
    struct pane_table *table;

    if (group->last_table < group->table_count) {
        table = &group->tables[group->last_table];
        if (table->start_us == start && table->first_end_us == first_end)
            return table;
    }
    for (size_t i = group->table_count; i-- > 0;) {
        table = &group->tables[i];
        if (table->start_us == start && table->first_end_us == first_end) {
            group->last_table = i;
            return table;
        }
    }
    if (group->table_count == TABLES_MAX)
        return NULL;
    group->last_table = group->table_count;
    return add_table(group, fold->next_number++, start, first_end);
}

static bool row_key(const struct plan_group *group, struct event_batch *batch, uint32_t row,
                    struct span *texts, struct id128 *ret_key)
{
    for (unsigned i = 0; i < group->by_count; i++) {
        if (!event_text(batch, row, group->by[i], &texts[i]))
            return false;
        if (texts[i].size > KEY_TEXT_MAX)
            texts[i].size = KEY_TEXT_MAX;
    }
    *ret_key = key_of(texts, group->by_count);
    return true;
}

static struct pane *add_pane(const struct group_fold *group, struct pane_table *table,
                             const struct span *texts)
{
    uint32_t slot = table->count, number = slot / BLOCK_SLOTS;
    struct pane_block *block;
    struct pane *pane;
    size_t before;

    if (slot % BLOCK_SLOTS == 0) {
        table->pane_blocks =
            memory_reserve(table->pane_blocks, &table->capacity, number + 1u, sizeof *table->pane_blocks);
        table->pane_blocks[number] = (struct pane_block){0};
    }
    block = &table->pane_blocks[number];
    before = block->room;
    block->panes = memory_reserve(block->panes, &block->room, slot % BLOCK_SLOTS + 1, group->pane_size);
    memset(block->panes + before * group->pane_size, 0, (block->room - before) * group->pane_size);
    table->count++;
    pane = pane_at(group, table, slot);
    pane->texts = key_texts_add(&block->texts, texts, group->group->by_count);
    return pane;
}

static void save_block(struct fold *fold, const struct group_fold *group, struct pane_table *table,
                       uint32_t block)
{
    const struct plan_group *plan = group->group;
    struct buffer *out = &fold->saver->bytes;
    uint32_t first = block * BLOCK_SLOTS,
             end = table->count - first < BLOCK_SLOTS ? table->count : first + BLOCK_SLOTS;

    pack_u8(out, PANES_VERSION);
    pack_i64(out, table->start_us);
    pack_i64(out, table->first_end_us);
    columns_pack(fold->plan, plan, COLUMN_MEASURES, out);
    pack_u32(out, end - first);
    for (uint32_t i = first; i < end; i++) {
        struct pane *pane = pane_at(group, table, i);
        struct span texts[KEY_FIELDS_MAX];

        key_texts_read(&table->pane_blocks[block].texts, pane->texts, plan->by_count, texts);
        key_pack(texts, plan->by_count, out);
        accumulators_pack(plan, pane->accumulators, out);
    }
    table->stored = true;
    blocks_saved(&table->blocks, block);
    saver_put(fold->saver,
              (struct state_key){
                  .kind = STATE_PANES, .block = block, .owner = plan->identity, .part = table->number});
}

/* The key's pane; SLOT_NONE: there is no room for it. */
static uint32_t find_pane(struct fold *fold, const struct group_fold *group, struct pane_table *table,
                          struct id128 key, const struct span *texts)
{
    bool is_new;
    uint32_t slot = slots_add(&table->slots, key, &is_new);

    if (slot == SLOT_NONE)
        return SLOT_NONE;
    if (blocks_touch(&table->blocks, slot))
        save_block(fold, group, table, slot / BLOCK_SLOTS);
    if (is_new)
        add_pane(group, table, texts);
    return slot;
}

/* Adds the row to the accumulators of the measures that want it; false when none does. */
static bool wanted(const struct measure_input *input, struct event_batch *batch, uint32_t row,
                   double *ret_value, uint64_t *ret_hash)
{
    struct span text;

    if (input->where && !input->where[row])
        return false;
    *ret_value = input->values ? input->values[row] : 0;
    *ret_hash = 0;
    if (input->values)
        return isfinite(*ret_value);
    if (input->measure->of_text) {
        if (!event_text(batch, row, input->measure->of_field, &text) || text.size == 0)
            return false;
        *ret_hash = hash_bytes(text.data, text.size, 0);
    }
    return true;
}

static void add_row(const struct group_fold *group, struct event_batch *batch, uint32_t row,
                    char *accumulators)
{
    for (unsigned m = 0; m < group->group->measure_count; m++) {
        const struct measure_input *input = &group->inputs[m];
        double value;
        uint64_t hash;

        if (wanted(input, batch, row, &value, &hash))
            accumulator_add(group_accumulator(group->group, accumulators, m), &group->group->layouts[m],
                            value, batch->time_us[row], hash, input->hit && input->hit[row]);
    }
}

static struct pane_record *begin_record(struct fold *fold, const struct plan_group *group,
                                        enum record_type type, struct id128 key, const struct span *texts)
{
    struct pane_record *record =
        exchange_record(fold->port, shard_of(key) % fold->workers, type, pane_record_size(group, texts));

    pane_record_init(record, fold->plan, group, key, texts);
    return record;
}

static void send_correction(struct fold *fold, const struct group_fold *group, struct event_batch *batch,
                            uint32_t row, struct id128 key, const struct span *texts)
{
    struct pane_record *record = begin_record(fold, group->group, RECORD_CORRECTION, key, texts);

    record->start_us = group->start_us;
    record->first_end_us = group->first_end_us;
    record->order_us = batch->watermark_us[row];
    record->partition = batch->partition[row];
    record->offset = batch->offset[row];
    record->item = batch->item[row];
    add_row(group, batch, row, record->accumulators);
}

static int64_t next_multiple(int64_t time, int64_t step) /* the first multiple above `time` */
{
    return (floor_div(time, step) + 1) * step;
}

static bool any_wanted(const struct group_fold *group, struct event_batch *batch, uint32_t row)
{
    double value;
    uint64_t hash;

    for (unsigned m = 0; m < group->group->measure_count; m++)
        if (wanted(&group->inputs[m], batch, row, &value, &hash))
            return true;
    return false;
}

static void count_late(struct fold *fold, const struct group_fold *group, struct event_batch *batch,
                       uint32_t row)
{
    double value;
    uint64_t hash;

    for (unsigned m = 0; m < group->group->measure_count; m++)
        if (wanted(&group->inputs[m], batch, row, &value, &hash))
            fold->figures.late[group->group->measures[m]]++;
}

/* Rows come in order of time, more or less: the divisions are worth leaving out. */
static void find_times(struct group_fold *group, int64_t time_us)
{
    const struct plan_group *plan = group->group;

    if ((uint64_t)time_us - (uint64_t)group->start_us < (uint64_t)plan->pane_us)
        return;
    group->start_us = floor_div(time_us, plan->pane_us) * plan->pane_us;
    group->first_end_us = next_multiple(group->start_us, plan->every_us);
    group->last_end_us = floor_div(group->start_us + plan->window_us, plan->every_us) * plan->every_us;
}

/* Adds what joins a pane to the turn, and does the rest. */
static void fold_row(struct fold *fold, struct group_fold *group, struct event_batch *batch, uint32_t row,
                     struct turn *turn)
{
    const struct plan_group *plan = group->group;
    struct turn_row *joining = &turn->rows[turn->count];
    int64_t first_end;

    find_times(group, batch->time_us[row]);
    first_end = group->first_end_us;
    if (batch->watermark_us[row] >= first_end) {
        first_end = next_multiple(batch->watermark_us[row], plan->every_us);
        count_late(fold, group, batch, row);
        fold->late_rows[row] |= first_end > group->last_end_us;
        batch->notes[row] |= NOTE_LATE;
    }
    bool correct = first_end != group->first_end_us && fold->plan->time.late == LATE_CORRECT;
    if ((first_end > group->last_end_us && !correct) || !any_wanted(group, batch, row))
        return;
    if (!row_key(plan, batch, row, joining->texts, &joining->key)) {
        fold->figures.too_many++;
        return;
    }
    if (correct) {
        batch->notes[row] |= NOTE_CORRECTED;
        send_correction(fold, group, batch, row, joining->key, joining->texts);
        return;
    }
    struct pane_table *table = find_table(fold, group, group->start_us, first_end);
    if (!table) {
        fold->figures.too_many++;
        return;
    }
    slots_fetch(&table->slots, joining->key);
    joining->row = row;
    joining->table = (uint32_t)(table - group->tables);
    turn->count++;
}

static void end_turn(struct fold *fold, const struct group_fold *group, struct event_batch *batch,
                     struct turn *turn)
{
    for (unsigned i = 0; i < turn->count; i++) {
        struct turn_row *row = &turn->rows[i];
        struct pane_table *table = &group->tables[row->table];

        row->slot = find_pane(fold, group, table, row->key, row->texts);
        if (row->slot != SLOT_NONE)
            __builtin_prefetch(pane_at(group, table, row->slot));
    }
    for (unsigned i = 0; i < turn->count; i++) {
        const struct turn_row *row = &turn->rows[i];

        if (row->slot != SLOT_NONE)
            accumulators_fetch(group->group,
                               pane_at(group, &group->tables[row->table], row->slot)->accumulators);
    }
    for (unsigned i = 0; i < turn->count; i++) {
        const struct turn_row *row = &turn->rows[i];

        if (row->slot == SLOT_NONE)
            fold->figures.too_many++;
        else
            add_row(group, batch, row->row,
                    pane_at(group, &group->tables[row->table], row->slot)->accumulators);
    }
    turn->count = 0;
}

void fold_rows(struct fold *fold, struct event_batch *batch)
{
    struct turn turn = {.count = 0};

    assert(batch->rows <= BATCH_ROWS_MAX);
    memset(fold->late_rows, 0, batch->rows);
    for (unsigned g = 0; g < fold->group_count; g++) {
        struct group_fold *group = &fold->groups[g];

        for (unsigned m = 0; m < group->group->measure_count; m++)
            prepare_input(fold, &group->inputs[m], batch);
        for (uint32_t row = 0; row < batch->rows; row++) {
            if (batch->mark[row] == MARK_OK)
                fold_row(fold, group, batch, row, &turn);
            if (turn.count == TURN_ROWS)
                end_turn(fold, group, batch, &turn);
        }
        end_turn(fold, group, batch, &turn);
    }
}

/* Saves frozen blocks until the saver has taken so many bytes; true: none is left. */
static bool save_table(struct fold *fold, const struct group_fold *group, struct pane_table *table,
                       size_t until)
{
    uint32_t block;

    while ((block = blocks_next_frozen(&table->blocks)) != UINT32_MAX) {
        if (fold->saver->taken >= until)
            return false;
        save_block(fold, group, table, block);
    }
    return true;
}

static void send_pane(struct fold *fold, const struct group_fold *group, struct pane_table *table,
                      uint32_t slot)
{
    struct pane *pane = pane_at(group, table, slot);
    struct span texts[KEY_FIELDS_MAX];
    struct pane_record *record;

    key_texts_read(&table->pane_blocks[slot / BLOCK_SLOTS].texts, pane->texts, group->group->by_count, texts);
    record = begin_record(fold, group->group, RECORD_PANE, table->slots.keys[slot], texts);
    record->start_us = table->start_us;
    record->first_end_us = table->first_end_us;
    memcpy(record->accumulators, pane->accumulators, group->group->accumulators_size);
}

/* Returns how many panes were sent. */
static size_t send_some(struct fold *fold, const struct group_fold *group, struct pane_table *table,
                        size_t budget)
{
    size_t sent = 0;

    for (; table->sent < table->count && sent < budget; sent++) {
        if (blocks_touch(&table->blocks, table->sent))
            save_block(fold, group, table, table->sent / BLOCK_SLOTS);
        send_pane(fold, group, table, table->sent++);
        if (table->sent % BLOCK_SLOTS == 0)
            block_free(table, table->sent / BLOCK_SLOTS - 1);
    }
    return sent;
}

static void forget_table(struct fold *fold, const struct group_fold *group, struct pane_table *table)
{
    if (table->stored) {
        fold->sent =
            memory_reserve(fold->sent, &fold->sent_capacity, fold->sent_count + 1, sizeof *fold->sent);
        fold->sent[fold->sent_count++] =
            (struct sent_table){.owner = group->group->identity, .part = table->number};
    }
    table_free(group, table);
}

/* Takes the tables that the watermark has passed out of those that rows may join. */
static void begin_sending(struct group_fold *group, int64_t watermark_us)
{
    size_t kept = 0;

    for (size_t t = 0; t < group->table_count; t++) {
        if (group->tables[t].first_end_us > watermark_us) {
            group->tables[kept++] = group->tables[t];
            continue;
        }
        group->sending = memory_reserve(group->sending, &group->sending_capacity, group->sending_count + 1,
                                        sizeof *group->sending);
        group->sending[group->sending_count++] = group->tables[t];
    }
    group->table_count = kept;
    group->last_table = 0;
}

static bool send_group(struct fold *fold, struct group_fold *group, size_t budget)
{
    size_t done = 0, sent = 0;

    while (done < group->sending_count) {
        struct pane_table *table = &group->sending[done];

        sent += send_some(fold, group, table, budget - sent);
        if (table->sent < table->count)
            break;
        forget_table(fold, group, table);
        done++;
    }
    group->sending_count -= done;
    memmove(group->sending, group->sending + done, group->sending_count * sizeof *group->sending);
    return group->sending_count == 0;
}

bool fold_send(struct fold *fold, int64_t watermark_us, size_t budget)
{
    bool all = true;

    for (unsigned g = 0; g < fold->group_count; g++) {
        struct group_fold *group = &fold->groups[g];

        begin_sending(group, watermark_us);
        if (group->sending_count > 0)
            all &= !exchange_stalled(fold->port) && send_group(fold, group, budget);
    }
    return all;
}

static bool is_any_sending(const struct fold *fold, size_t tables)
{
    for (unsigned g = 0; g < fold->group_count; g++)
        if (fold->groups[g].sending_count >= tables)
            return true;
    return false;
}

bool fold_is_sending(const struct fold *fold)
{
    return is_any_sending(fold, 1);
}

bool fold_is_behind(const struct fold *fold)
{
    return is_any_sending(fold, 2);
}

void fold_set_numbers(struct fold *fold, uint64_t run_number)
{
    assert(run_number <= UINT32_MAX);
    fold->next_number = run_number << 32;
}

/* What was sent is dropped here and not at once: the cut before still needs it. */
void fold_freeze(struct fold *fold, struct saver *saver)
{
    assert(!fold->saver && !fold_is_sending(fold));
    fold->saver = saver;
    for (size_t i = 0; i < fold->sent_count; i++)
        saver_drop(saver, STATE_PANES, fold->sent[i].owner, fold->sent[i].part);
    fold->sent_count = 0;
    for (unsigned g = 0; g < fold->group_count; g++)
        for (size_t t = 0; t < fold->groups[g].table_count; t++)
            blocks_freeze(&fold->groups[g].tables[t].blocks);
}

bool fold_save(struct fold *fold, size_t budget)
{
    if (!fold->saver)
        return true;
    size_t until = fold->saver->taken + budget;
    for (unsigned g = 0; g < fold->group_count; g++) {
        struct group_fold *group = &fold->groups[g];

        for (size_t t = 0; t < group->sending_count; t++)
            if (!save_table(fold, group, &group->sending[t], until))
                return false;
        for (size_t t = 0; t < group->table_count; t++)
            if (!save_table(fold, group, &group->tables[t], until))
                return false;
    }
    fold->saver = NULL;
    return true;
}

/* Tables stand in the order of their numbers, which is the order in which they were begun. */
static struct pane_table *restore_table(struct group_fold *group, uint64_t number, int64_t start,
                                        int64_t first_end)
{
    struct pane_table table;
    size_t at = group->table_count;

    while (at > 0 && group->tables[at - 1].number > number)
        at--;
    if (at > 0 && group->tables[at - 1].number == number)
        return &group->tables[at - 1];
    table = *add_table(group, number, start, first_end);
    memmove(&group->tables[at + 1], &group->tables[at], (group->table_count - 1 - at) * sizeof table);
    group->tables[at] = table;
    return &group->tables[at];
}

static void restore_pane(struct unpack *in, const struct group_fold *group, struct pane_table *table,
                         const struct columns *measures)
{
    struct span texts[KEY_FIELDS_MAX];
    struct id128 key = {0};
    unsigned count = key_unpack(in, texts, &key);

    in->broken |= count != group->group->by_count;
    if (in->broken || !slots_restore(&table->slots, key, table->count)) {
        in->broken = true;
        return;
    }
    accumulators_unpack(in, group->group, measures, add_pane(group, table, texts)->accumulators);
}

static bool restore_block(struct unpack *in, const struct plan *plan, struct group_fold *group,
                          const struct state_key *key)
{
    int64_t start = unpack_i64(in), first_end = unpack_i64(in);
    struct pane_table *table = restore_table(group, key->part, start, first_end);
    struct columns measures;
    uint32_t count;

    columns_unpack(in, plan, group->group, COLUMN_MEASURES, &measures);
    count = unpack_u32(in);
    in->broken |= count > BLOCK_SLOTS || (uint64_t)key->block * BLOCK_SLOTS != table->count ||
                  start != table->start_us || first_end != table->first_end_us;
    for (uint32_t i = 0; i < count && !in->broken; i++)
        restore_pane(in, group, table, &measures);
    if (!in->broken) {
        table->stored = true;
        blocks_restored(&table->blocks, key->block);
        if (!measures.as_stored)
            blocks_touch(&table->blocks, key->block * BLOCK_SLOTS);
    }
    columns_free(&measures);
    return unpack_ended(in);
}

enum status fold_restore(struct fold *fold, const struct state_key *key, struct span value,
                         struct error *ret_error)
{
    struct unpack in = unpack_begin(value);
    unsigned version = unpack_u8(&in), g = 0;

    while (g < fold->group_count && fold->groups[g].group->identity != key->owner)
        g++;
    if (g == fold->group_count)
        return STATUS_OK;
    if (version != PANES_VERSION)
        return fail(ret_error, "open panes of layout %u, known is %u", version, (unsigned)PANES_VERSION);
    if (!restore_block(&in, fold->plan, &fold->groups[g], key))
        return fail(ret_error, "block %u of open panes is damaged", key->block);
    return STATUS_OK;
}

const struct fold_figures *fold_figures(const struct fold *fold)
{
    return &fold->figures;
}

static size_t tables_bytes(const struct group_fold *group, const struct pane_table *tables, size_t count)
{
    size_t bytes = 0;

    for (size_t t = 0; t < count; t++) {
        const struct pane_table *table = &tables[t];

        bytes += slots_bytes(&table->slots);
        for (uint32_t i = 0; i * BLOCK_SLOTS < table->count; i++)
            bytes += table->pane_blocks[i].room * group->pane_size + table->pane_blocks[i].texts.capacity;
    }
    return bytes;
}

size_t fold_bytes(const struct fold *fold)
{
    size_t bytes = 0;

    for (unsigned g = 0; g < fold->group_count; g++) {
        const struct group_fold *group = &fold->groups[g];

        bytes += tables_bytes(group, group->tables, group->table_count) +
                 tables_bytes(group, group->sending, group->sending_count);
    }
    return bytes;
}

const uint8_t *fold_late_rows(const struct fold *fold)
{
    return fold->late_rows;
}
