#include "base/memory.h"
#include "pipeline/runs_table.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

enum {                 /* bytes */
       TEXT_ROOM = 16, /* what is kept of a text takes multiples of these */
       USUAL_TEXTS = 128,
       CACHE_LINE = 64
};

const enum field run_text_fields[RUN_TEXTS] = {
    F_SOURCE,     F_NAMESPACE, F_ENGINE, F_WORKFLOW, F_TASK, F_RUN,   F_RUN_NAME,   F_ROOT_RUN,
    F_PARENT_RUN, F_QUEUE,     F_WORKER, F_OWNER,    F_HOST, F_ERROR, F_ERROR_TYPE, F_URL,
};

struct id128 run_key(struct span source, struct span namespace_, struct span run)
{
    struct id_builder builder;

    id_begin(&builder);
    id_add_text(&builder, source);
    id_add_text(&builder, namespace_);
    id_add_text(&builder, run);
    return id_end(&builder);
}

struct runs *runs_new(const struct plan *plan, runs_emit *emit, void *owner)
{
    struct runs *runs = memory_new(sizeof *runs);

    runs->plan = plan;
    runs->emit = emit;
    runs->owner = owner;
    runs->text_count = RUN_TEXTS + plan->labels.count;
    runs->shard_limit = (uint32_t)(plan->limits.runs / SHARDS);
    for (unsigned s = 0; s < SHARDS; s++) {
        /* not the limit of this process: stored runs keep the slots that they had under another one */
        slots_init(&runs->shards[s].slots, SLOT_NONE);
        slots_init(&runs->shards[s].alias_slots, SLOT_NONE);
        seen_init(&runs->shards[s].past, runs->shard_limit);
        runs->shards[s].past.name = (struct state_key){.kind = STATE_PAST_RUNS, .owner = s};
        for (unsigned l = 0; l < LISTS; l++)
            runs->shards[s].lists[l] = (struct run_list){SLOT_NONE, SLOT_NONE};
    }
    return runs;
}

void runs_free(struct runs *runs)
{
    for (unsigned s = 0; s < SHARDS; s++) {
        struct run_shard *shard = &runs->shards[s];

        for (uint32_t i = 0; i < shard->slots.next; i++)
            free(shard->entries[i].texts);
        blocks_free(&shard->blocks);
        slots_free(&shard->slots);
        slots_free(&shard->alias_slots);
        seen_free(&shard->past);
        free(shard->aliases);
        free(shard->entries);
    }
    free(runs);
}

static void list_remove(struct run_shard *shard, uint32_t slot)
{
    struct run_entry *entry = &shard->entries[slot];
    struct run_list *list = &shard->lists[entry->list];

    if (entry->previous != SLOT_NONE)
        shard->entries[entry->previous].next = entry->next;
    else
        list->first = entry->next;
    if (entry->next != SLOT_NONE)
        shard->entries[entry->next].previous = entry->previous;
    else
        list->last = entry->previous;
}

void run_link(struct run_shard *shard, uint32_t slot)
{
    struct run_entry *entry = &shard->entries[slot];
    struct run_list *list;

    entry->list = entry->told && !run_state_is_terminal(entry->state) ? LIST_OPEN : LIST_FADING;
    list = &shard->lists[entry->list];
    entry->next = SLOT_NONE;
    entry->previous = list->last;
    if (list->last != SLOT_NONE)
        shard->entries[list->last].next = slot;
    else
        list->first = slot;
    list->last = slot;
}

static void list_append(struct run_shard *shard, uint32_t slot)
{
    shard->entries[slot].place = ++shard->last_place;
    run_link(shard, slot);
}

static void move_list(struct run_shard *shard, const struct run_entry *entry)
{
    uint32_t slot = (uint32_t)(entry - shard->entries);

    list_remove(shard, slot);
    list_append(shard, slot);
}

/* Comes before any change of an entry that is stored; list neighbours are not. */
static void touch(struct runs *runs, struct run_shard *shard, uint32_t slot)
{
    if (blocks_touch(&shard->blocks, slot))
        run_block_save(runs, shard, slot / BLOCK_SLOTS);
}

void run_reserve(struct run_shard *shard, uint32_t slot)
{
    size_t before = shard->capacity;

    shard->entries = memory_reserve(shard->entries, &shard->capacity, slot + 1u, sizeof *shard->entries);
    if (shard->capacity > before)
        memset(shard->entries + before, 0, (shard->capacity - before) * sizeof *shard->entries);
}

/* What was told under an id stays known, so that a rerun goes on with its versions. */
static void remember(struct run_shard *shard, const struct run_entry *entry)
{
    struct seen_entry *past = seen_find(&shard->past, entry->id, INT64_MIN);

    if (!past)
        past = seen_add(&shard->past, entry->id, entry->first_us);
    seen_touch(&shard->past, past);
    past->count = (uint32_t)entry->version;
}

bool run_is_last_told(const struct run_shard *shard, const struct run_entry *entry)
{
    uint32_t at = entry->is_task ? SLOT_NONE : slots_find(&shard->alias_slots, entry->alias);

    return at != SLOT_NONE && &shard->entries[shard->aliases[at].slot] == entry;
}

static void forget(struct runs *runs, struct run_shard *shard, uint32_t slot)
{
    struct run_entry *entry = &shard->entries[slot];

    touch(runs, shard, slot);
    if (entry->identified)
        remember(shard, entry);
    list_remove(shard, slot);
    slots_remove(&shard->slots, entry->key);
    if (run_is_last_told(shard, entry))
        slots_remove(&shard->alias_slots, entry->alias);
    free(entry->texts);
    entry->texts = NULL;
    runs->figures.entries--;
}

void run_evict_oldest(struct runs *runs, struct run_shard *shard)
{
    uint32_t faded = shard->lists[LIST_FADING].first;

    forget(runs, shard, faded != SLOT_NONE ? faded : shard->lists[LIST_OPEN].first);
    runs->figures.evicted++;
}

static bool has_faded(const struct runs *runs, const struct run_entry *entry, int64_t order_us)
{
    return entry->list == LIST_FADING && entry->changed_us < order_us - runs->plan->runs.keep;
}

/* Before each row, and at no other time: what a row finds depends on the rows before it alone. */
static void forget_faded(struct runs *runs, struct run_shard *shard, int64_t order_us)
{
    uint32_t slot;

    while ((slot = shard->lists[LIST_FADING].first) != SLOT_NONE &&
           has_faded(runs, &shard->entries[slot], order_us))
        forget(runs, shard, slot);
}

static void entry_begin(struct runs *runs, struct run_shard *shard, uint32_t slot, struct id128 key,
                        const struct run_row *row)
{
    shard->entries[slot] = (struct run_entry){
        .key = key,
        .texts = memory_new((runs->text_count + 1) * sizeof(struct span)),
        .version = 1,
        .first_us = TIME_NONE,
        .changed_us = row->order_us,
        .scheduled_us = TIME_NONE,
        .queued_us = TIME_NONE,
        .started_us = TIME_NONE,
        .ended_us = TIME_NONE,
        .duration_ms = NAN,
        .map_index = INT32_MIN,
    };
    list_append(shard, slot);
    runs->figures.entries++;
}

/* The entry of a key, to be changed; made when there is none. */
static struct run_entry *open_entry(struct runs *runs, struct run_shard *shard, struct id128 key,
                                    uint32_t slot, const struct run_row *row)
{
    bool is_new = slot == SLOT_NONE;

    if (is_new && shard->slots.used == runs->shard_limit)
        run_evict_oldest(runs, shard);
    if (is_new) {
        slot = slots_add(&shard->slots, key, &is_new);
        run_reserve(shard, slot);
    }
    touch(runs, shard, slot);
    if (is_new)
        entry_begin(runs, shard, slot, key, row);
    return &shard->entries[slot];
}

static size_t text_room(struct span text)
{
    return (text.size + (size_t)TEXT_ROOM - 1) & ~(size_t)(TEXT_ROOM - 1);
}

struct span *run_texts_copy(const struct span *texts, unsigned count)
{
    size_t size = (count + 1) * sizeof *texts;

    for (unsigned t = 0; t < count; t++)
        size += text_room(texts[t]);
    struct span *copies = memory_grow(NULL, size);
    char *cursor = (char *)(copies + count + 1);
    for (unsigned t = 0; t < count; cursor += text_room(texts[t++])) {
        char *at = cursor;

        copies[t] = record_text(&at, texts[t]);
    }
    copies[count] = (struct span){cursor, 0};
    return copies;
}

/* Whether the entry remembers what the row tells: the last non-empty text wins, except for what makes the
 * identity. */
static bool takes_text(const struct run_entry *entry, const struct run_row *row, unsigned t)
{
    if (row->texts[t].size == 0 || (t == RUN_TASK && !entry->is_task))
        return false;
    return t > RUN_RUN || t == RUN_ENGINE || entry->texts[t].size == 0;
}

/* False: the text has not the room. */
static bool text_replace(struct span *kept, struct span text)
{
    if (span_equal(*kept, text))
        return true;
    if (text.size > (size_t)(kept[1].data - kept->data))
        return false;
    kept->size = text.size;
    memcpy((char *)kept->data, text.data, text.size);
    return true;
}

/* Remembers the first `count` texts of a row. */
static void learn_texts(const struct runs *runs, struct run_entry *entry, const struct run_row *row,
                        unsigned count)
{
    struct span merged[RUN_TEXTS + LABELS_MAX];
    bool fits = true;

    for (unsigned t = 0; t < count; t++)
        if (takes_text(entry, row, t))
            fits &= text_replace(&entry->texts[t], row->texts[t]);
    if (fits)
        return;
    memcpy(merged, entry->texts, runs->text_count * sizeof *merged);
    for (unsigned t = 0; t < count; t++)
        if (takes_text(entry, row, t))
            merged[t] = row->texts[t];
    struct span *texts = run_texts_copy(merged, runs->text_count);
    free(entry->texts);
    entry->texts = texts;
}

/* What a run itself is told by its tasks' rows: only names. */
static void learn_names(const struct runs *runs, struct run_entry *entry, const struct run_row *row)
{
    learn_texts(runs, entry, row, RUN_NAMES);
}

/* A late word of a try that another has followed: it says no more than names. */
static bool is_earlier_attempt(const struct run_entry *entry, const struct run_row *row)
{
    return row->attempt > 0 && row->attempt < entry->attempt;
}

static bool is_next_attempt(const struct run_entry *entry, const struct run_row *row)
{
    return entry->attempt > 0 && row->attempt > entry->attempt;
}

static bool accepts(const struct run_entry *entry, const struct run_row *row)
{
    enum run_state before = entry->state, after = row->state;

    if (is_next_attempt(entry, row))
        return true;
    if (after == before)
        return false;
    if (run_state_is_terminal(before)) /* an engine that numbers all tries alike goes on with the next */
        return entry->will_retry && row->time_us > entry->ended_us;
    /* an old word about waiting does not undo that it runs */
    return !(before == STATE_RUNNING && (after == STATE_QUEUED || after == STATE_WAITING));
}

static void learn_times(struct run_entry *entry, const struct run_row *row, bool accepted)
{
    if (accepted && (is_next_attempt(entry, row) || run_state_is_terminal(entry->state))) {
        entry->queued_us = entry->started_us = entry->ended_us = TIME_NONE;
        entry->duration_ms = NAN;
    }
    if (row->scheduled_us != TIME_NONE)
        entry->scheduled_us = row->scheduled_us;
    if (row->queued_us != TIME_NONE)
        entry->queued_us = row->queued_us;
    else if (row->state == STATE_QUEUED && entry->queued_us == TIME_NONE)
        entry->queued_us = row->time_us;
    if (row->started_us != TIME_NONE)
        entry->started_us = row->started_us;
    else if (row->state == STATE_RUNNING &&
             (entry->started_us == TIME_NONE || entry->state == STATE_RETRYING))
        entry->started_us = row->time_us;
    if (row->attempt > entry->attempt)
        entry->attempt = row->attempt;
    if (entry->attempt > entry->attempts)
        entry->attempts = entry->attempt;
    if (row->map_index != INT32_MIN)
        entry->map_index = row->map_index;
    if (!accepted || !run_state_is_terminal(row->state))
        return;
    entry->ended_us = row->time_us;
    entry->duration_ms = row->duration_ms;
    if (isnan(entry->duration_ms) && entry->started_us != TIME_NONE && entry->ended_us >= entry->started_us)
        entry->duration_ms = (double)(entry->ended_us - entry->started_us) / 1000.0;
    if (entry->started_us == TIME_NONE && entry->duration_ms >= 0 && entry->duration_ms < 1e15)
        entry->started_us = entry->ended_us - (int64_t)(entry->duration_ms * 1000.0);
}

static void fix_identity(const struct runs *runs, struct run_shard *shard, struct run_entry *entry,
                         int64_t time_us)
{
    const struct span *texts = entry->texts;
    struct run_record record = {
        .is_task = entry->is_task,
        .source = texts[RUN_SOURCE],
        .namespace_ = texts[RUN_NAMESPACE],
        .workflow = texts[RUN_WORKFLOW],
        .task = texts[RUN_TASK],
        .run = texts[RUN_RUN],
        .map_index = entry->map_index,
        .attempt = entry->attempt,
    };

    if (entry->identified)
        return;
    entry->identified = true;
    entry->id = run_id(runs->plan->name, &record);
    entry->first_us = entry->scheduled_us != TIME_NONE ? entry->scheduled_us
                      : entry->queued_us != TIME_NONE  ? entry->queued_us
                      : entry->started_us != TIME_NONE ? entry->started_us
                                                       : time_us;
    struct seen_entry *past = seen_find(&shard->past, entry->id, INT64_MIN);
    if (past) {
        entry->first_us = past->end_us;
        entry->version = past->count;
    }
}

static double between_ms(int64_t from_us, int64_t to_us)
{
    if (from_us == TIME_NONE || to_us == TIME_NONE || to_us < from_us)
        return NAN;
    return (double)(to_us - from_us) / 1000.0;
}

static void emit(struct runs *runs, const struct run_entry *entry, const struct run_row *row)
{
    const struct span *texts = entry->texts;
    struct run_record record = {
        .id = entry->id,
        .is_task = entry->is_task,
        .state = entry->state,
        .version = entry->version,
        .at_us = entry->changed_us,
        .first_us = entry->first_us,
        .scheduled_us = entry->scheduled_us,
        .queued_us = entry->queued_us,
        .started_us = entry->started_us,
        .ended_us = entry->ended_us,
        .duration_ms = entry->duration_ms,
        .queue_wait_ms = between_ms(entry->queued_us, entry->started_us),
        .late_by_ms = between_ms(entry->scheduled_us, entry->started_us),
        .source = texts[RUN_SOURCE],
        .namespace_ = texts[RUN_NAMESPACE],
        .engine = texts[RUN_ENGINE],
        .workflow = texts[RUN_WORKFLOW],
        .task = texts[RUN_TASK],
        .run = texts[RUN_RUN],
        .run_name = texts[RUN_RUN_NAME],
        .root_run = texts[RUN_ROOT_RUN],
        .parent_run = texts[RUN_PARENT_RUN],
        .queue = texts[RUN_QUEUE],
        .worker = texts[RUN_WORKER],
        .owner = texts[RUN_OWNER],
        .host = texts[RUN_HOST],
        .error = texts[RUN_ERROR],
        .error_type = texts[RUN_ERROR_TYPE],
        .url = texts[RUN_URL],
        .attempt = entry->attempt,
        .attempts = entry->attempts,
        .map_index = entry->map_index,
        .will_retry = row->will_retry,
        .is_endless = row->is_endless,
        .task_failed = entry->task_failed,
        .label_names = &runs->plan->labels,
        .labels = texts + RUN_TEXTS,
    };

    memcpy(record.tasks, entry->tasks, sizeof record.tasks);
    runs->emit(runs->owner, &record);
}

/* The transition as a row of its own, for measures and rules with `on: run`. */
static void append_row(const struct runs *runs, const struct run_entry *entry, const struct run_row *row,
                       struct event_batch *batch)
{
    uint32_t at = event_batch_add(batch);

    assert(at != UINT32_MAX);
    batch->time_us[at] = row->time_us;
    batch->watermark_us[at] = row->watermark_us;
    batch->partition[at] = row->partition;
    batch->offset[at] = row->offset;
    batch->item[at] = row->item;
    batch->state[at] = entry->state;
    batch->scheduled_us[at] = entry->scheduled_us;
    batch->queued_us[at] = entry->queued_us;
    batch->started_us[at] = entry->started_us;
    batch->duration_ms[at] = entry->duration_ms;
    batch->queue_wait_ms[at] = between_ms(entry->queued_us, entry->started_us);
    batch->attempt[at] = entry->attempt;
    batch->map_index[at] = entry->map_index;
    for (unsigned t = 0; t < runs->text_count; t++) {
        struct span copy = {0};

        if (entry->texts[t].size && !arena_copy(&batch->text, entry->texts[t], &copy))
            continue;
        if (t < RUN_TEXTS)
            ((struct span *)event_column(batch, run_text_fields[t]))[at] = copy;
        else
            batch->labels[t - RUN_TEXTS][at] = copy;
    }
}

static void transit(struct runs *runs, struct run_shard *shard, struct run_entry *entry,
                    const struct run_row *row, struct event_batch *transitions)
{
    enum run_state before = entry->state;

    if (is_earlier_attempt(entry, row)) {
        learn_names(runs, entry, row);
        runs->figures.ignored++;
        return;
    }
    bool accepted = accepts(entry, row);
    if (accepted && (row->state == STATE_SUCCESS || is_next_attempt(entry, row))) /* an earlier try's error */
        entry->texts[RUN_ERROR].size = entry->texts[RUN_ERROR_TYPE].size = 0;
    learn_texts(runs, entry, row, runs->text_count);
    learn_times(entry, row, accepted);
    entry->told = true;
    if (!accepted) {
        runs->figures.ignored++;
        return;
    }
    entry->state = row->state;
    entry->will_retry = row->will_retry;
    entry->changed_us = row->order_us;
    if (entry->list == LIST_FADING || run_state_is_terminal(entry->state))
        move_list(shard, entry);
    if (entry->is_task) {
        uint32_t slot = slots_find(&shard->slots, entry->parent);

        if (slot != SLOT_NONE) {
            uint32_t *tasks = shard->entries[slot].tasks; /* touched when the run was found */

            tasks[before] -= tasks[before] > 0 && before != STATE_NONE;
            tasks[entry->state]++;
            shard->entries[slot].task_failed |= run_state_is_failure(entry->state) && !row->will_retry;
        }
    }
    /* a workflow not named yet will be: the id waits for it, but not beyond the end */
    if (entry->texts[RUN_WORKFLOW].size == 0 && !run_state_is_terminal(entry->state))
        return;
    fix_identity(runs, shard, entry, row->time_us);
    entry->version++;
    runs->figures.transitions++;
    emit(runs, entry, row);
    if (transitions)
        append_row(runs, entry, row, transitions);
}

static struct id128 named_key(struct id128 alias, struct span workflow)
{
    struct id_builder builder;

    id_begin(&builder);
    id_add_integer(&builder, (int64_t)alias.high);
    id_add_integer(&builder, (int64_t)alias.low);
    id_add_text(&builder, workflow);
    return id_end(&builder);
}

/* Which run was last told is stored with the entries, so the one that was it changes too. */
static void alias_turn(struct runs *runs, struct run_shard *shard, struct run_alias *alias,
                       const struct run_entry *entry)
{
    touch(runs, shard, alias->slot);
    alias->slot = (uint32_t)(entry - shard->entries);
}

/* The entry becomes the run last told under its alias. */
void run_alias_set(struct runs *runs, struct run_shard *shard, const struct run_entry *entry)
{
    bool is_new;
    uint32_t at = slots_add(&shard->alias_slots, entry->alias, &is_new);

    shard->aliases = memory_reserve(shard->aliases, &shard->alias_capacity, at + 1u, sizeof *shard->aliases);
    if (is_new)
        shard->aliases[at] = (struct run_alias){.slot = (uint32_t)(entry - shard->entries),
                                                .unnamed = named_key(entry->alias, (struct span){0})};
    else
        alias_turn(runs, shard, &shard->aliases[at], entry);
}

/* The run that a row belongs to; *ret_slot: SLOT_NONE when it begins. Many engines name runs only within a
 * workflow, and some rows (a Celery success) do not name the workflow: such a row goes to the run last told
 * under its (source, namespace, run), and a run that had no workflow yet takes the first one told. */
static struct id128 find_run(const struct run_shard *shard, const struct run_row *row,
                             const struct run_alias *alias, uint32_t *ret_slot)
{
    struct span workflow = row->texts[RUN_WORKFLOW];

    if (alias) {
        struct id128 last = shard->entries[alias->slot].key;

        *ret_slot = alias->slot;
        if (workflow.size == 0 || id_equal(last, row->named_key))
            return last;
        if (!id_equal(last, alias->unnamed))
            *ret_slot = slots_find(&shard->slots, alias->unnamed);
        /* it began without a name and took this one: its key is still that of the nameless run */
        struct span known =
            *ret_slot == SLOT_NONE ? (struct span){0} : shard->entries[*ret_slot].texts[RUN_WORKFLOW];
        if (span_equal(known, workflow) || (*ret_slot == alias->slot && known.size == 0))
            return alias->unnamed;
    }
    *ret_slot = slots_find(&shard->slots, row->named_key);
    return row->named_key;
}

static struct run_alias *find_alias(const struct run_shard *shard, struct id128 key)
{
    uint32_t at = slots_find(&shard->alias_slots, key);

    return at == SLOT_NONE ? NULL : &shard->aliases[at];
}

static struct run_entry *open_run(struct runs *runs, struct run_shard *shard, const struct run_row *row)
{
    struct run_alias *alias = find_alias(shard, row->alias);
    uint32_t slot;
    struct id128 key = find_run(shard, row, alias, &slot);
    struct run_entry *entry = open_entry(runs, shard, key, slot, row);

    if (slot == SLOT_NONE ||
        !alias) { /* what was evicted for a new one may have been the last under its alias */
        entry->alias = row->alias;
        run_alias_set(runs, shard, entry);
    } else if (alias->slot != slot) {
        alias_turn(runs, shard, alias, entry);
    }
    return entry;
}

static struct id128 key_of_task(struct id128 run, const struct run_row *row)
{
    struct id_builder builder;

    id_begin(&builder);
    id_add_integer(&builder, (int64_t)run.high);
    id_add_integer(&builder, (int64_t)run.low);
    id_add_text(&builder, row->texts[RUN_TASK]);
    id_add_integer(&builder, row->map_index);
    id_add_integer(&builder, row->attempt);
    return id_end(&builder);
}

/* What runs_meet has reckoned holds unless the run took its name later than its key. */
static uint32_t find_task(const struct run_shard *shard, struct id128 run, const struct run_row *row,
                          struct id128 *ret_key)
{
    *ret_key = id_equal(run, row->named_key) ? row->task_key : key_of_task(run, row);
    return slots_find(&shard->slots, *ret_key);
}

static void fetch(const void *memory, size_t size)
{
    for (size_t at = 0; at < size; at += CACHE_LINE)
        __builtin_prefetch((const char *)memory + at);
}

void runs_meet(const struct runs *runs, struct run_row *rows, size_t count)
{
    const struct run_entry *entries[ROWS_AT_ONCE];

    assert(count <= ROWS_AT_ONCE);
    for (size_t i = 0; i < count; i++) {
        struct run_row *row = &rows[i];
        const struct run_shard *shard = &runs->shards[row->shard];

        row->named_key = row->task_key = named_key(row->alias, row->texts[RUN_WORKFLOW]);
        if (row->texts[RUN_TASK].size)
            row->task_key = key_of_task(row->named_key, row);
        slots_fetch(&shard->alias_slots, row->alias);
        slots_fetch(&shard->slots, row->named_key);
        slots_fetch(&shard->slots, row->task_key);
    }
    for (size_t i = 0; i < count; i++) {
        const struct run_shard *shard = &runs->shards[rows[i].shard];
        uint32_t slot = slots_find(&shard->slots, rows[i].task_key);

        entries[i] = slot == SLOT_NONE ? NULL : &shard->entries[slot];
        if (entries[i])
            fetch(entries[i], sizeof *entries[i]);
    }
    for (size_t i = 0; i < count; i++)
        if (entries[i])
            fetch(entries[i]->texts, (runs->text_count + 1) * sizeof *entries[i]->texts + USUAL_TEXTS);
}

/* What is to be retried ends where the next try is an entry of its own. */
static struct run_row word_of_attempt(const struct run_row *row)
{
    struct run_row word = *row;

    if (row->attempt > 0 && row->state == STATE_RETRYING) {
        word.state = STATE_FAILED;
        word.will_retry = true;
    }
    return word;
}

/* A run that is known has begun another one. It is no transition of it. */
static void tell_child(struct runs *runs, const struct run_row *row)
{
    struct run_shard *shard = &runs->shards[row->shard];
    const struct run_alias *alias = find_alias(shard, row->alias);
    const struct span *texts = alias ? shard->entries[alias->slot].texts : NULL;
    struct run_record record = {.is_task = true,
                                .tells_child = true,
                                .at_us = row->order_us,
                                .started_us = TIME_NONE,
                                .duration_ms = NAN,
                                .map_index = INT32_MIN,
                                .source = row->texts[RUN_SOURCE],
                                .namespace_ = row->texts[RUN_NAMESPACE],
                                .task = row->texts[RUN_TASK],
                                .run = row->texts[RUN_RUN]};

    if (!alias || texts[RUN_WORKFLOW].size == 0)
        return;
    record.id = run_key(row->texts[RUN_SOURCE], row->texts[RUN_NAMESPACE], row->texts[RUN_PARENT_RUN]);
    record.workflow = texts[RUN_WORKFLOW];
    record.run_name = texts[RUN_RUN_NAME];
    runs->emit(runs->owner, &record);
}

void runs_apply(struct runs *runs, const struct run_row *row, struct event_batch *transitions)
{
    struct run_shard *shard = &runs->shards[row->shard];

    forget_faded(runs, shard, row->order_us);
    if (row->is_child) {
        tell_child(runs, row);
        return;
    }
    struct run_entry *run = open_run(runs, shard, row);
    struct id128 key = run->key, task_key;
    if (row->texts[RUN_TASK].size == 0) {
        transit(runs, shard, run, row, transitions);
        return;
    }
    learn_names(runs, run, row);
    if (!run->told) {
        run->changed_us = row->order_us;
        move_list(shard, run);
    }
    uint32_t slot = find_task(shard, key, row, &task_key);
    struct run_entry *task = open_entry(runs, shard, task_key, slot, row);
    task->is_task = true;
    task->parent = key;
    struct run_row word = word_of_attempt(row);
    transit(runs, shard, task, &word, transitions);
}

bool runs_would_take(const struct runs *runs, const struct run_row *row)
{
    const struct run_shard *shard = &runs->shards[row->shard];
    uint32_t slot;
    struct id128 key = find_run(shard, row, find_alias(shard, row->alias), &slot);
    struct run_row word = *row;

    if (row->texts[RUN_TASK].size > 0) {
        slot = find_task(shard, key, row, &key);
        word = word_of_attempt(row);
    }
    return slot == SLOT_NONE || has_faded(runs, &shard->entries[slot], row->order_us) ||
           (!is_earlier_attempt(&shard->entries[slot], row) && accepts(&shard->entries[slot], &word));
}

void runs_figures(const struct runs *runs, struct runs_figures *ret_figures)
{
    *ret_figures = runs->figures;
}
