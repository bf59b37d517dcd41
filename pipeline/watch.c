/* Owner side of the watch. What is normal for a task, a source or a host is a count, a mean and a longest
 * value, learned from all that was seen; the factors below say how far beyond is too far. Timers live in one
 * heap of a worker: an entry has at most one that counts, and is looked at again when its time has moved. */
#include "alerts/text.h"
#include "base/memory.h"
#include "pipeline/judge.h"
#include "pipeline/watch_table.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

enum {
    LEARNED = 5,                  /* durations that make a task known */
    REMEMBERED = 50,              /* a mean is about that of the last so many */
    SLOW_FACTOR = 3,              /* times the mean duration */
    OVERDUE_FACTOR = 3,           /* times the longest duration */
    EXCESS_US = 2 * SECOND_US,    /* and so much longer */
    SILENCE_FACTOR = 5,           /* times the longest pause of a source */
    SILENCE_US = 300 * SECOND_US, /* and at least so long */
    SILENCE_SECONDS = 10,         /* in so many it was heard, or it is not missed */
    BEAT_FACTOR = 10,             /* times the mean interval of a host */
    BEAT_US = 30 * SECOND_US,     /* and at least so long */
    STALE_TIMERS = 1024,          /* beyond two an entry: swept out */
};
#define LONGEST_US ((int64_t)SECOND_US * 86400 * 36500) /* what is longer is no duration */

struct watch *watch_new(const struct plan *plan, struct exchange_port *port, unsigned workers)
{
    struct watch *watch = memory_new(sizeof *watch);

    watch->plan = plan;
    watch->port = port;
    watch->workers = workers;
    watch->shard_limit = (uint32_t)(plan->limits.runs / SHARDS);
    watch->passed_us = watch->last_source.second = INT64_MIN;
    buffer_init(&watch->summary, 3 * TEXT_LIMIT); /* two texts and what stands around them */
    for (unsigned s = 0; s < SHARDS; s++) {
        slots_init(&watch->shards[s].slots, SLOT_NONE);
        watch->shards[s].first = watch->shards[s].last = SLOT_NONE;
    }
    for (unsigned i = 0; i < SPOKEN; i++)
        watch->spoken[i].second = INT64_MIN;
    return watch;
}

void watch_free(struct watch *watch)
{
    for (unsigned s = 0; s < SHARDS; s++) {
        struct watch_shard *shard = &watch->shards[s];

        for (uint32_t i = 0; i < shard->slots.next; i++)
            free(shard->entries[i].texts);
        blocks_free(&shard->blocks);
        slots_free(&shard->slots);
        free(shard->entries);
    }
    order_free(&watch->words);
    order_frozen_free(&watch->frozen_words);
    buffer_free(&watch->summary);
    free(watch->timers);
    free(watch);
}

void watch_figures(const struct watch *watch, struct watch_figures *ret_figures)
{
    *ret_figures = watch->figures;
}

/* Timers. */

static bool timer_before(const struct watch_timer *a, const struct watch_timer *b)
{
    if (a->due_us != b->due_us)
        return a->due_us < b->due_us;
    return id_compare(a->key, b->key) < 0;
}

static void push_timer(struct watch *watch, const struct watch_timer *timer)
{
    size_t at = watch->timer_count++;

    watch->timers =
        memory_reserve(watch->timers, &watch->timer_capacity, watch->timer_count, sizeof *watch->timers);
    for (; at > 0 && timer_before(timer, &watch->timers[(at - 1) / 2]); at = (at - 1) / 2)
        watch->timers[at] = watch->timers[(at - 1) / 2];
    watch->timers[at] = *timer;
}

static struct watch_timer pop_timer(struct watch *watch)
{
    struct watch_timer first = watch->timers[0], last = watch->timers[--watch->timer_count];
    size_t at = 0;

    for (;;) {
        size_t child = 2 * at + 1;

        if (child >= watch->timer_count)
            break;
        if (child + 1 < watch->timer_count && timer_before(&watch->timers[child + 1], &watch->timers[child]))
            child++;
        if (!timer_before(&watch->timers[child], &last))
            break;
        watch->timers[at] = watch->timers[child];
        at = child;
    }
    watch->timers[at] = last;
    return first;
}

/* The one that counts of an entry that is still there. */
static bool is_current(const struct watch *watch, const struct watch_timer *timer)
{
    const struct watch_entry *entry = &watch->shards[timer->shard].entries[timer->slot];

    return id_equal(entry->key, timer->key) && entry->queued_us == timer->due_us;
}

/* Timers of entries that are gone leave when their time comes, which may be never. */
static void drop_stale_timers(struct watch *watch)
{
    size_t count = watch->timer_count;

    watch->timer_count = 0;
    for (size_t i = 0; i < count; i++) {
        struct watch_timer timer = watch->timers[i];

        if (is_current(watch, &timer))
            push_timer(watch, &timer);
    }
}

void watch_set_timer(struct watch *watch, struct watch_shard *shard, uint32_t slot)
{
    struct watch_entry *entry = &shard->entries[slot];

    if (entry->due_us >= entry->queued_us)
        return;
    if (watch->timer_count > 2 * watch->figures.entries + STALE_TIMERS)
        drop_stale_timers(watch);
    entry->queued_us = entry->due_us;
    push_timer(watch, &(struct watch_timer){.due_us = entry->due_us,
                                            .key = entry->key,
                                            .shard = (uint32_t)(shard - watch->shards),
                                            .slot = slot});
}

/* The table. */

/* Comes before any change of an entry that is stored; list neighbours and timers are not. */
static void touch(struct watch *watch, struct watch_shard *shard, uint32_t slot)
{
    if (blocks_touch(&shard->blocks, slot))
        watch_block_save(watch, shard, slot / BLOCK_SLOTS);
}

void watch_reserve(struct watch_shard *shard, uint32_t slot)
{
    size_t before = shard->capacity;

    shard->entries = memory_reserve(shard->entries, &shard->capacity, slot + 1u, sizeof *shard->entries);
    if (shard->capacity > before)
        memset(shard->entries + before, 0, (shard->capacity - before) * sizeof *shard->entries);
}

void watch_link(struct watch_shard *shard, uint32_t slot)
{
    struct watch_entry *entry = &shard->entries[slot];

    entry->next = SLOT_NONE;
    entry->previous = shard->last;
    if (shard->last != SLOT_NONE)
        shard->entries[shard->last].next = slot;
    else
        shard->first = slot;
    shard->last = slot;
}

static void unlink_entry(struct watch_shard *shard, const struct watch_entry *entry)
{
    if (entry->previous != SLOT_NONE)
        shard->entries[entry->previous].next = entry->next;
    else
        shard->first = entry->next;
    if (entry->next != SLOT_NONE)
        shard->entries[entry->next].previous = entry->previous;
    else
        shard->last = entry->previous;
}

static void remove_entry(struct watch *watch, struct watch_shard *shard, uint32_t slot)
{
    struct watch_entry *entry = &shard->entries[slot];

    touch(watch, shard, slot);
    unlink_entry(shard, entry);
    slots_remove(&shard->slots, entry->key);
    free(entry->texts);
    *entry = (struct watch_entry){0};
    watch->figures.entries--;
}

void watch_evict_first(struct watch *watch, struct watch_shard *shard)
{
    const struct watch_entry *entry = &shard->entries[shard->first];
    uint32_t task = slots_find(&shard->slots, entry->task);

    if (entry->sort == ENTRY_ATTEMPT && entry->told && task != SLOT_NONE) {
        touch(watch, shard, task);
        shard->entries[task].overdue -= shard->entries[task].overdue > 0;
    }
    remove_entry(watch, shard, shard->first);
    watch->figures.evicted++;
}

struct span *watch_texts_copy(const struct span *texts)
{
    size_t size = WATCH_KEPT_TEXTS * sizeof *texts;

    for (unsigned t = 0; t < WATCH_KEPT_TEXTS; t++)
        size += texts[t].size;
    struct span *copies = memory_grow(NULL, size);
    char *cursor = (char *)(copies + WATCH_KEPT_TEXTS);
    for (unsigned t = 0; t < WATCH_KEPT_TEXTS; t++)
        copies[t] = record_text(&cursor, texts[t]);
    return copies;
}

/* The entry of a key, to be changed, made when it is new: then it has no timer and nothing learned. It is the
 * one last heard of now. */
static uint32_t find_entry(struct watch *watch, struct watch_shard *shard, enum watch_entry_sort sort,
                           struct id128 key)
{
    uint32_t slot = slots_find(&shard->slots, key);
    bool is_new = slot == SLOT_NONE;

    if (is_new && shard->slots.used == watch->shard_limit)
        watch_evict_first(watch, shard);
    if (is_new) {
        slot = slots_add(&shard->slots, key, &is_new);
        watch_reserve(shard, slot);
        watch->figures.entries++;
    }
    touch(watch, shard, slot);
    if (is_new)
        shard->entries[slot] = (struct watch_entry){.key = key,
                                                    .sort = (uint8_t)sort,
                                                    .since_us = TIME_NONE,
                                                    .due_us = INT64_MAX,
                                                    .queued_us = INT64_MAX,
                                                    .told_us = INT64_MIN};
    else
        unlink_entry(shard, &shard->entries[slot]);
    shard->entries[slot].place = ++shard->last_place;
    watch_link(shard, slot);
    return slot;
}

/* What is told. */

static int64_t greater(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

struct finding { /* a rule's word about a key; numbers in seconds */
    enum watch_rule rule;
    enum watch_entry_sort sort; /* of the key */
    int64_t at_us;
    const struct span *texts; /* WATCH_KEPT_TEXTS at least */
    uint16_t attempt;
    bool provisional;
    double actual_s, usual_s;
    uint32_t count; /* that the usual value was learned from */
    struct span url, error;
    const char *summary; /* of what is true, to be filled in */
};

static bool resolve(void *owner, struct span name, struct buffer *out)
{
    const struct finding *finding = owner;
    struct alert alert = {.source = finding->texts[WATCH_SOURCE],
                          .workflow = finding->texts[WATCH_WORKFLOW],
                          .task = finding->texts[WATCH_TASK],
                          .host = finding->texts[WATCH_HOST]};

    if (span_is(name, "target"))
        alert_target(&alert, out);
    else if (span_is(name, "actual"))
        buffer_print(out, "%.1f s", finding->actual_s);
    else if (span_is(name, "usual"))
        buffer_print(out, "%.1f s", finding->usual_s);
    else if (span_is(name, "count"))
        buffer_print(out, "%u", finding->count);
    else if (span_is(name, "error"))
        text_put(out, finding->error);
    else if (span_is(name, "host"))
        text_put(out, alert.host);
    else if (span_is(name, "source"))
        text_put(out, alert.source);
    else
        return false;
    return true;
}

static void fill_evidence(const struct watch *watch, const struct finding *finding, struct alert *alert)
{
    const struct span *texts = finding->texts;
    struct span key[WATCH_KEPT_TEXTS];
    unsigned count = 0;

    for (unsigned t = 0; t < WATCH_KEPT_TEXTS; t++) {
        if (!(watch_key_texts[finding->sort] & 1u << t))
            continue;
        key[count++] = texts[t];
        if (texts[t].size)
            alert->labels[alert->label_count++] =
                (struct alert_label){.name = span_of(watch_text_names[t]), .value = texts[t]};
    }
    alert->dedup = condition_key(watch->plan, plan_watch_rules[finding->rule].name, key, count);
    alert->source = texts[WATCH_SOURCE];
    alert->namespace_ = texts[WATCH_NAMESPACE];
    alert->workflow = texts[WATCH_WORKFLOW];
    alert->task = texts[WATCH_TASK];
    alert->run = texts[WATCH_RUN];
    alert->run_name = texts[WATCH_RUN_NAME];
    alert->host = texts[WATCH_HOST];
    alert->url = finding->url;
    alert->attempt = finding->attempt;
    alert->provisional = finding->provisional;
    alert->summary = buffer_span(&watch->summary);
    if (!isnan(finding->actual_s)) {
        alert->actual = finding->actual_s;
        alert->expected_low = 0;
        alert->expected_high = finding->usual_s;
        alert->unit = SPAN_LITERAL("s");
    }
}

/* `number` orders conditions of equal time and key. */
static void send(struct watch *watch, struct finding *finding, enum condition_outcome outcome, int64_t number)
{
    const struct plan_watch_rule *rule = &plan_watch_rules[finding->rule];
    struct condition condition = {
        .policy = watch->plan->watch_policy + finding->rule,
        .outcome = outcome,
        .at_us = finding->at_us,
        .offset = number,
        .evidence = condition_evidence(rule->kind, (int)rule->severity),
    };

    buffer_clear(&watch->summary);
    if (outcome != CONDITION_FALSE)
        text_fill(span_of(finding->summary), resolve, finding, &watch->summary);
    fill_evidence(watch, finding, &condition.evidence);
    condition_send(&condition, watch->port);
}

/* `entry` is the one that the rule is about. A word is never before the last one about it: after idle time
 * rows may be older than what was told. */
static void tell(struct watch *watch, struct watch_entry *entry, struct finding *finding,
                 enum condition_outcome outcome)
{
    if (outcome == CONDITION_TRUE)
        entry->told |= (uint8_t)(1u << finding->rule);
    else
        entry->told &= (uint8_t) ~(1u << finding->rule);
    finding->at_us = entry->told_us = greater(finding->at_us, entry->told_us);
    send(watch, finding, outcome, ++entry->words);
}

static bool is_told(const struct watch_entry *entry, enum watch_rule rule)
{
    return entry->told & 1u << rule;
}

static void tell_end(struct watch *watch, struct watch_entry *entry, struct finding finding)
{
    if (is_told(entry, finding.rule))
        tell(watch, entry, &finding, CONDITION_FALSE);
}

static double seconds(double us)
{
    return us / SECOND_US;
}

static void learn(struct watch_entry *entry, double value_us)
{
    entry->count += entry->count < UINT32_MAX;
    entry->mean_us += (value_us - entry->mean_us) / (entry->count < REMEMBERED ? entry->count : REMEMBERED);
    if (value_us > (double)entry->longest_us)
        entry->longest_us = (int64_t)value_us;
}

/* Sources and hosts. */

/* When it is missed: not by idle time that has gone by before its rows came. */
static int64_t silence_due(const struct watch *watch, const struct watch_entry *entry)
{
    int64_t heard_us = greater(entry->since_us, watch->passed_us);

    if (entry->sort == ENTRY_HOST)
        return entry->count == 0 ? INT64_MAX
                                 : heard_us + greater((int64_t)(BEAT_FACTOR * entry->mean_us), BEAT_US);
    return entry->count + 1 < SILENCE_SECONDS
               ? INT64_MAX
               : heard_us + greater(SILENCE_FACTOR * entry->longest_us, SILENCE_US);
}

static void hear(struct watch *watch, struct watch_shard *shard, enum watch_entry_sort sort,
                 const struct watch_word *word)
{
    uint32_t slot = find_entry(watch, shard, sort, word->key);
    struct watch_entry *entry = &shard->entries[slot];
    enum watch_rule rule = sort == ENTRY_HOST ? WATCH_HEARTBEAT : WATCH_SILENCE;
    int64_t interval_us = entry->since_us == TIME_NONE ? 0 : word->order_us - entry->since_us;
    bool was_away = is_told(entry, rule);

    if (interval_us > LONGEST_US)
        interval_us = LONGEST_US;
    if (!entry->texts)
        entry->texts = watch_texts_copy(word->texts);
    if (interval_us > 0 && !was_away) /* the time away says nothing of what is usual */
        learn(entry, (double)interval_us);
    /* a beat of the second in which the host said that it goes may be from before */
    if (sort == ENTRY_SOURCE || word->order_us - SECOND_US >= entry->told_us)
        tell_end(
            watch, entry,
            (struct finding){rule, sort, .at_us = word->order_us, .texts = entry->texts, .actual_s = NAN});
    if (is_told(entry, rule))
        return;
    if (entry->since_us == TIME_NONE || interval_us > 0)
        entry->since_us = word->order_us;
    entry->due_us = silence_due(watch, entry);
    watch_set_timer(watch, shard, slot);
}

static void tell_silent(struct watch *watch, struct watch_entry *entry)
{
    struct finding finding = {.rule = WATCH_SILENCE,
                              .sort = ENTRY_SOURCE,
                              .at_us = entry->due_us,
                              .texts = entry->texts,
                              .provisional = entry->due_us > watch->firm_us,
                              .actual_s = seconds((double)(entry->due_us - entry->since_us)),
                              .usual_s = seconds((double)entry->longest_us),
                              .summary = "no events from {{source}} for {{actual}}; the longest pause before "
                                         "was {{usual}}"};

    tell(watch, entry, &finding, CONDITION_TRUE);
}

static void tell_missing(struct watch *watch, struct watch_entry *entry)
{
    struct finding finding = {.rule = WATCH_HEARTBEAT,
                              .sort = ENTRY_HOST,
                              .at_us = entry->due_us,
                              .texts = entry->texts,
                              .provisional = entry->due_us > watch->firm_us,
                              .actual_s = seconds((double)(entry->due_us - entry->since_us)),
                              .usual_s = seconds(entry->mean_us),
                              .summary = "no heartbeat of {{host}} for {{actual}}; usually every {{usual}}"};

    tell(watch, entry, &finding, CONDITION_TRUE);
}

static void go_offline(struct watch *watch, struct watch_shard *shard, const struct watch_word *word)
{
    uint32_t slot = find_entry(watch, shard, ENTRY_HOST, word->key);
    struct watch_entry *entry = &shard->entries[slot];
    struct finding finding = {.rule = WATCH_HEARTBEAT,
                              .sort = ENTRY_HOST,
                              .at_us = word->order_us,
                              .texts = word->texts,
                              .actual_s = NAN,
                              .summary = "{{host}} went offline"};

    if (!entry->texts)
        entry->texts = watch_texts_copy(word->texts);
    entry->due_us = INT64_MAX;
    tell(watch, entry, &finding, CONDITION_TRUE);
}

/* Runs and task attempts. */

static struct watch_entry *known_task(const struct watch_shard *shard, struct id128 key)
{
    uint32_t slot = slots_find(&shard->slots, key);

    return slot == SLOT_NONE || shard->entries[slot].count < LEARNED ? NULL : &shard->entries[slot];
}

static int64_t longest_run(const struct watch_entry *task)
{
    return greater(OVERDUE_FACTOR * task->longest_us, task->longest_us + EXCESS_US);
}

/* As long as its task is not known, an attempt is looked at again when it has run twice as long. */
static int64_t attempt_due(const struct watch_shard *shard, const struct watch_entry *attempt, int64_t now_us)
{
    const struct watch_entry *task = known_task(shard, attempt->task);
    int64_t run_us = now_us - attempt->since_us;

    if (task)
        return attempt->since_us + longest_run(task);
    return now_us + (run_us > EXCESS_US ? run_us : EXCESS_US);
}

static void end_attempt(struct watch *watch, struct watch_shard *shard, const struct watch_word *word,
                        uint32_t task_slot)
{
    uint32_t slot = slots_find(&shard->slots, word->run);
    struct watch_entry *task = &shard->entries[task_slot];

    if (slot == SLOT_NONE)
        return;
    /* a task that was forgotten meanwhile knows nothing of attempts told of */
    if (is_told(&shard->entries[slot], WATCH_OVERDUE) && (task->overdue == 0 || --task->overdue == 0)) {
        struct finding finding = {.rule = WATCH_OVERDUE,
                                  .sort = ENTRY_TASK,
                                  .at_us = word->order_us,
                                  .texts = word->texts,
                                  .actual_s = NAN};

        tell(watch, task, &finding, CONDITION_FALSE);
    }
    remove_entry(watch, shard, slot);
}

static void begin_attempt(struct watch *watch, struct watch_shard *shard, const struct watch_word *word)
{
    uint32_t slot = find_entry(watch, shard, ENTRY_ATTEMPT, word->run);
    struct watch_entry *attempt = &shard->entries[slot];
    bool is_past = word->started_us != TIME_NONE && word->started_us < word->order_us;

    attempt->task = word->key;
    attempt->texts = watch_texts_copy(word->texts);
    attempt->since_us = is_past ? word->started_us : word->order_us;
    attempt->due_us = greater(attempt_due(shard, attempt, word->order_us),
                              greater(word->order_us, watch->passed_us)); /* its end may be on its way */
    watch_set_timer(watch, shard, slot);
}

/* The timer of an attempt. */
static void look_at(struct watch *watch, struct watch_shard *shard, uint32_t slot)
{
    struct watch_entry *attempt = &shard->entries[slot], *task = known_task(shard, attempt->task);
    int64_t now_us = attempt->due_us;

    attempt->due_us = attempt_due(shard, attempt, now_us);
    if (attempt->due_us > now_us) {
        watch_set_timer(watch, shard, slot);
        return;
    }
    assert(task); /* or it would be looked at again */
    attempt->due_us = INT64_MAX;
    attempt->told |= 1u << WATCH_OVERDUE;
    touch(watch, shard, (uint32_t)(task - shard->entries));
    task->overdue++;
    struct finding finding = {.rule = WATCH_OVERDUE,
                              .sort = ENTRY_TASK,
                              .at_us = now_us,
                              .texts = attempt->texts,
                              .provisional = now_us > watch->firm_us,
                              .actual_s = seconds((double)(now_us - attempt->since_us)),
                              .usual_s = seconds((double)task->longest_us),
                              .count = task->count,
                              .summary = "{{target}} still runs after {{actual}}; the longest of {{count}} "
                                         "before took {{usual}}"};

    tell(watch, task, &finding, CONDITION_TRUE);
}

/* `texts`: WATCH_TEXTS. */
static struct finding failure_of(const struct span *texts, uint16_t attempt, int64_t at_us)
{
    return (struct finding){.rule = WATCH_FAILURE,
                            .sort = ENTRY_TASK,
                            .at_us = at_us,
                            .texts = texts,
                            .url = texts[WATCH_URL],
                            .error = texts[WATCH_ERROR],
                            .attempt = attempt,
                            .actual_s = NAN,
                            .summary = texts[WATCH_ERROR].size ? "{{target}} failed: {{error}}"
                                                               : "{{target}} failed"};
}

void watch_expect(struct watch *watch, const struct runs *runs, const struct run_row *row)
{
    const struct span *from = row->texts;

    if (!watch->plan->general.watch || !run_state_is_failure(row->state) || row->will_retry ||
        !from[RUN_WORKFLOW].size || !from[RUN_TASK].size || !runs_would_take(runs, row))
        return;
    const struct span texts[WATCH_TEXTS] = {
        [WATCH_SOURCE] = from[RUN_SOURCE],     [WATCH_NAMESPACE] = from[RUN_NAMESPACE],
        [WATCH_WORKFLOW] = from[RUN_WORKFLOW], [WATCH_TASK] = from[RUN_TASK],
        [WATCH_RUN] = from[RUN_RUN],           [WATCH_RUN_NAME] = from[RUN_RUN_NAME],
        [WATCH_HOST] = from[RUN_HOST],         [WATCH_ERROR] = from[RUN_ERROR],
        [WATCH_URL] = from[RUN_URL],
    };
    struct finding finding = failure_of(texts, row->attempt, row->order_us);

    send(watch, &finding, CONDITION_EXPECTED, INT64_MAX); /* after the words of the same time */
}

static void judge_failure(struct watch *watch, struct watch_entry *task, const struct watch_word *word)
{
    struct finding finding = failure_of(word->texts, word->attempt, word->order_us);

    if (word->sort == WORD_SUCCEEDED)
        tell_end(watch, task, finding);
    else
        tell(watch, task, &finding, CONDITION_TRUE);
}

/* A success that a wrong start made years long is no measure: of a known task nothing longer than what is
 * overdue is learned. */
static void learn_run(struct watch_entry *task, double run_us)
{
    double most_us = (double)longest_run(task);

    learn(task, task->count >= LEARNED && run_us > most_us ? most_us : run_us);
}

static void judge_duration(struct watch *watch, struct watch_entry *task, const struct watch_word *word)
{
    double run_us = word->duration_ms * 1000;
    struct finding finding = {.rule = WATCH_DURATION,
                              .sort = ENTRY_TASK,
                              .at_us = word->order_us,
                              .texts = word->texts,
                              .url = word->texts[WATCH_URL],
                              .attempt = word->attempt,
                              .actual_s = seconds(run_us),
                              .usual_s = seconds(task->mean_us),
                              .count = task->count,
                              .summary =
                                  "{{target}} took {{actual}}; the mean of {{count}} before is {{usual}}"};

    if (!(run_us >= 0 && run_us <= (double)LONGEST_US))
        return;
    if (task->count >= LEARNED && run_us > SLOW_FACTOR * task->mean_us && run_us > task->mean_us + EXCESS_US)
        tell(watch, task, &finding, CONDITION_TRUE);
    else
        tell_end(watch, task, finding);
    learn_run(task, run_us);
}

static void apply_run(struct watch *watch, struct watch_shard *shard, const struct watch_word *word)
{
    uint32_t slot = find_entry(watch, shard, ENTRY_TASK, word->key);
    struct watch_entry *task = &shard->entries[slot];

    end_attempt(watch, shard, word, slot);
    if (word->sort == WORD_FAILED || word->sort == WORD_SUCCEEDED)
        judge_failure(watch, task, word);
    if (word->sort == WORD_SUCCEEDED)
        judge_duration(watch, task, word);
    if (word->sort == WORD_STARTED)
        begin_attempt(watch, shard, word);
}

static void apply(struct watch *watch, const struct watch_word *word)
{
    struct watch_shard *shard = &watch->shards[word->shard];

    switch ((enum watch_sort)word->sort) {
    case WORD_EVENTS:
        hear(watch, shard, ENTRY_SOURCE, word);
        break;
    case WORD_BEAT:
        hear(watch, shard, ENTRY_HOST, word);
        break;
    case WORD_OFFLINE:
        go_offline(watch, shard, word);
        break;
    default:
        apply_run(watch, shard, word);
    }
}

static void fire(struct watch *watch, struct watch_timer timer)
{
    struct watch_shard *shard = &watch->shards[timer.shard];
    struct watch_entry *entry = &shard->entries[timer.slot];

    if (!is_current(watch, &timer))
        return;
    entry->queued_us = INT64_MAX;
    if (entry->due_us > timer.due_us) {
        watch_set_timer(watch, shard, timer.slot);
        return;
    }
    touch(watch, shard, timer.slot);
    switch ((enum watch_entry_sort)entry->sort) {
    case ENTRY_ATTEMPT:
        look_at(watch, shard, timer.slot);
        return;
    case ENTRY_SOURCE:
        tell_silent(watch, entry);
        break;
    default:
        tell_missing(watch, entry);
    }
    entry->due_us = INT64_MAX;
}

static void fire_before(struct watch *watch, int64_t before_us)
{
    while (watch->timer_count && watch->timers[0].due_us < before_us)
        fire(watch, pop_timer(watch));
}

void watch_take(struct watch *watch, const struct watch_word *word, struct block *block)
{
    order_push(&watch->words, &(struct order_entry){.order_us = word->order_us,
                                                    .time_us = (int64_t)word->version,
                                                    .rank = word->sort,
                                                    .offset = (int64_t)word->run.high,
                                                    .record = &word->head,
                                                    .block = block});
}

void watch_advance(struct watch *watch, int64_t until_us, int64_t firm_us, bool final)
{
    const struct order_entry *first;

    watch->firm_us = firm_us;
    if (final && until_us < INT64_MAX)
        until_us++; /* what falls due at the end counts */
    while ((first = order_first(&watch->words)) && (first->order_us < until_us || final)) {
        fire_before(watch, first->order_us < until_us ? first->order_us : until_us);
        apply(watch, (const struct watch_word *)first->record);
        order_pop(&watch->words);
    }
    fire_before(watch, until_us);
    if (!final)
        watch->passed_us = greater(watch->passed_us, until_us);
}
