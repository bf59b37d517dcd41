/* Words to the watch, on their way to the owner of their key. Rows of a source or of a host's heartbeat
 * become one word a second: it stands at the second's end, which no watermark has passed when its first row
 * comes, so that the seconds that are said do not depend on how rows come in batches. */
#include "pipeline/watch_signal.h"

#include <math.h>

enum {
    LINES = 16, /* tasks whose lines of a batch are put together */
    LINES_US = 30 * SECOND_US,
    LINE_SAID = 512, /* bytes of a line that are told */
};

/* What words of a sort are about; words of one group come to one place. */
static const struct {
    unsigned group, key; /* bits 1 << enum watch_text */
} sorts[WORD_SORTS] = {
    [WORD_EVENTS] = {WATCH_KEY_SOURCE, WATCH_KEY_SOURCE},
    [WORD_BEAT] = {WATCH_KEY_HOST, WATCH_KEY_HOST},
    [WORD_OFFLINE] = {WATCH_KEY_HOST, WATCH_KEY_HOST},
    [WORD_LINES... WORD_CHILD] = {WATCH_KEY_WORKFLOW, WATCH_KEY_TASK},
    [WORD_TEMPLATE] = {WATCH_KEY_SOURCE, WATCH_KEY_TASK},
};

static struct id128 id_of(unsigned key, const struct span *texts)
{
    struct id_builder builder;

    if (key == WATCH_KEY_TASK &&
        texts[WATCH_TASK].size == 0) /* runs of a workflow are known as their group */
        key = WATCH_KEY_WORKFLOW;
    id_begin(&builder);
    id_add_integer(&builder, key);
    for (unsigned t = 0; t < WATCH_KEPT_TEXTS; t++)
        if (key & 1u << t)
            id_add_text(&builder, texts[t]);
    return id_end(&builder);
}

void watch_word_send(const struct watch_word *word, struct exchange_port *port, unsigned workers)
{
    struct id128 group = id_of(sorts[word->sort].group, word->texts),
                 key = id_of(sorts[word->sort].key, word->texts);
    uint32_t shard = (uint32_t)(group.high >> 56);
    size_t size = sizeof *word;

    for (unsigned t = 0; t < WATCH_TEXTS; t++)
        size += word->texts[t].size;
    struct watch_word *record = exchange_record(port, shard % workers, RECORD_WATCH, size);
    struct record head = record->head;
    *record = *word;
    record->head = head;
    record->shard = shard;
    record->group = group;
    record->key = key;
    if (word->sort < WORD_QUEUED)
        record->run = key;
    char *cursor = (char *)(record + 1);
    for (unsigned t = 0; t < WATCH_TEXTS; t++)
        record->texts[t] = record_text(&cursor, word->texts[t]);
}

void watch_word_pack(const struct watch_word *word, struct buffer *out)
{
    pack_u8(out, word->sort);
    pack_u8(out, (uint8_t)(word->is_child | word->is_first << 1));
    pack_u16(out, word->attempt);
    pack_u32(out, (uint32_t)word->map_index);
    pack_u32(out, word->count);
    pack_u64(out, word->version);
    pack_id(out, word->run);
    pack_i64(out, word->order_us);
    pack_i64(out, word->started_us);
    pack_double(out, word->duration_ms);
    for (unsigned t = 0; t < WATCH_TEXTS; t++)
        pack_text(out, word->texts[t]);
}

void watch_word_unpack(struct unpack *in, struct watch_word *ret_word)
{
    *ret_word = (struct watch_word){.sort = unpack_u8(in)};
    uint8_t bits = unpack_u8(in);
    ret_word->is_child = bits & 1;
    ret_word->is_first = bits & 2;
    ret_word->attempt = unpack_u16(in);
    ret_word->map_index = (int32_t)unpack_u32(in);
    ret_word->count = unpack_u32(in);
    ret_word->version = unpack_u64(in);
    ret_word->run = unpack_id(in);
    ret_word->order_us = unpack_time(in);
    ret_word->started_us = unpack_time(in);
    ret_word->duration_ms = unpack_double(in);
    for (unsigned t = 0; t < WATCH_TEXTS; t++)
        ret_word->texts[t] = unpack_text(in);
    in->broken |= ret_word->sort >= WORD_SORTS;
}

enum status watch_words_restore(struct span value, struct exchange_port *port, unsigned workers,
                                struct error *ret_error)
{
    struct unpack in;

    if (value.size && value.data[0] == WATCH_LAYOUT_BEFORE)
        return STATUS_OK;
    if (unpack_layout(value, WATCH_LAYOUT, &in, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    while (!in.broken && in.at < in.end) {
        struct watch_word word;

        watch_word_unpack(&in, &word);
        if (!in.broken)
            watch_word_send(&word, port, workers);
    }
    return unpack_finish(&in, ret_error);
}

/* True the first time that a second of a key comes by; sometimes again. */
static bool speak(struct watch *watch, struct id128 key, int64_t second)
{
    size_t at = key.low % SPOKEN;

    if (id_equal(watch->spoken[at].key, key) && watch->spoken[at].second == second)
        return false;
    watch->spoken[at].key = key;
    watch->spoken[at].second = second;
    return true;
}

static int64_t end_of(int64_t second)
{
    return (second + 1) * SECOND_US;
}

static void say_second(struct watch *watch, enum watch_sort sort, struct span source, struct span host,
                       int64_t second)
{
    struct watch_word word = {.sort = (uint8_t)sort,
                              .order_us = end_of(second),
                              .started_us = TIME_NONE,
                              .duration_ms = NAN,
                              .texts = {[WATCH_SOURCE] = source, [WATCH_HOST] = host}};

    if (speak(watch, id_of(sorts[sort].key, word.texts), second))
        watch_word_send(&word, watch->port, watch->workers);
}

static void say_offline(struct watch *watch, struct span source, struct span host, int64_t order_us)
{
    struct watch_word word = {.sort = WORD_OFFLINE,
                              .order_us = order_us,
                              .started_us = TIME_NONE,
                              .duration_ms = NAN,
                              .texts = {[WATCH_SOURCE] = source, [WATCH_HOST] = host}};

    watch_word_send(&word, watch->port, watch->workers);
}

static void say_source(struct watch *watch, struct span source, int64_t second)
{
    if (watch->last_source.second == second && span_equal(watch->last_source.source, source))
        return;
    watch->last_source.source = source;
    watch->last_source.second = second;
    say_second(watch, WORD_EVENTS, source, (struct span){0}, second);
}

/* What a row of a task says, but for what is the sort's own. */
static struct watch_word word_of(enum watch_sort sort, const struct event_batch *batch, uint32_t row,
                                 int64_t order_us)
{
    return (struct watch_word){.sort = (uint8_t)sort,
                               .map_index = INT32_MIN,
                               .order_us = order_us,
                               .started_us = TIME_NONE,
                               .duration_ms = NAN,
                               .texts = {[WATCH_SOURCE] = batch->source[row],
                                         [WATCH_NAMESPACE] = batch->namespace_[row],
                                         [WATCH_WORKFLOW] = batch->workflow[row],
                                         [WATCH_TASK] = batch->task[row],
                                         [WATCH_RUN] = batch->run[row],
                                         [WATCH_RUN_NAME] = batch->run_name[row]}};
}

static void say_check(struct watch *watch, const struct event_batch *batch, uint32_t row, int64_t order_us)
{
    bool passed = span_is(batch->result[row], "passed");
    struct watch_word word = word_of(passed ? WORD_CHECK_PASSED : WORD_CHECK_FAILED, batch, row, order_us);

    word.attempt = batch->attempt[row];
    word.texts[WATCH_ERROR] = batch->error[row];
    word.texts[WATCH_URL] = batch->url[row];
    if (passed || span_is(batch->result[row], "failed"))
        watch_word_send(&word, watch->port, watch->workers);
}

/* Lines of one task and half a minute that follow each other in a batch. */
struct lines {
    struct watch_word word;
    bool any;
};

static void say_lines(struct watch *watch, struct lines *lines)
{
    if (lines->any)
        watch_word_send(&lines->word, watch->port, watch->workers);
    lines->any = false;
}

static void count_line(struct watch *watch, const struct event_batch *batch, uint32_t row, int64_t order_us,
                       struct lines *all)
{
    const struct span texts[WATCH_TEXTS] = {[WATCH_SOURCE] = batch->source[row],
                                            [WATCH_NAMESPACE] = batch->namespace_[row],
                                            [WATCH_WORKFLOW] = batch->workflow[row],
                                            [WATCH_TASK] = batch->task[row]};
    int64_t end_us = (floor_div(order_us, LINES_US) + 1) * LINES_US;
    uint64_t hash = hash_bytes(texts[WATCH_TASK].data, texts[WATCH_TASK].size,
                               hash_bytes(texts[WATCH_WORKFLOW].data, texts[WATCH_WORKFLOW].size, 0));
    struct lines *lines = &all[hash % LINES];

    for (unsigned t = 0; lines->any && t <= WATCH_TASK; t++)
        if (lines->word.order_us != end_us || !span_equal(lines->word.texts[t], texts[t]))
            say_lines(watch, lines);
    if (!lines->any) {
        lines->any = true;
        lines->word = (struct watch_word){.sort = WORD_LINES,
                                          .order_us = end_us,
                                          .started_us = TIME_NONE,
                                          .duration_ms = NAN,
                                          .map_index = INT32_MIN};
        memcpy(lines->word.texts, texts, sizeof texts);
    }
    lines->word.count++;
}

/* Levels below a warning begin with other letters. */
static bool is_trouble(struct span level)
{
    return level.size && strchr("WECFSAPwecfsap", level.data[0]);
}

/* Each partition says its first line of a template and second: which one that is depends on no other. */
static void say_template(struct watch *watch, const struct event_batch *batch, uint32_t row, int64_t second)
{
    struct span message = batch->message[row];
    const char *newline = memchr(message.data, '\n', message.size);
    struct watch_word word = word_of(WORD_TEMPLATE, batch, row, end_of(second));
    char text[WATCH_LINE_BYTES];

    word.attempt = is_trouble(batch->level[row]);
    word.version = (uint64_t)batch->offset[row];
    word.texts[WATCH_HOST] = batch->host[row];
    if (newline)
        message.size = (uint32_t)(newline - message.data);
    struct span template = watch_line_template(message, word.texts, text);
    message.size = message.size < LINE_SAID ? message.size : LINE_SAID;
    word.texts[WATCH_ERROR] = message;
    word.run = (struct id128){hash_bytes(template.data, template.size, 1),
                              hash_bytes(template.data, template.size, 0)};
    struct id128 spoken = id_of(sorts[WORD_TEMPLATE].key, word.texts);
    spoken.high ^= word.run.high;
    spoken.low ^= word.run.low + (uint64_t)batch->partition[row];
    if (speak(watch, spoken, second))
        watch_word_send(&word, watch->port, watch->workers);
}

/* A row of a task's log, which tells of no run's state. */
static void say_line(struct watch *watch, const struct event_batch *batch, uint32_t row, int64_t order_us,
                     struct lines *all)
{
    if (batch->message[row].size && batch->workflow[row].size) {
        count_line(watch, batch, row, order_us, all);
        say_template(watch, batch, row, floor_div(order_us, SECOND_US));
    }
    if (batch->result[row].size && batch->task[row].size)
        say_check(watch, batch, row, order_us);
}

void watch_events(struct watch *watch, const struct event_batch *batch)
{
    struct lines lines[LINES] = {0};

    watch->last_source.second = INT64_MIN; /* its text was of another batch */
    for (uint32_t row = 0; watch->plan->general.watch && row < batch->rows; row++) {
        int64_t time = batch->time_us[row], watermark = batch->watermark_us[row];
        int64_t order_us = time > watermark ? time : watermark, second = floor_div(order_us, SECOND_US);
        struct span action = batch->action[row], source = batch->source[row], host = batch->host[row];

        if (batch->mark[row] == MARK_MALFORMED || batch->mark[row] == MARK_TOMBSTONE ||
            batch->mark[row] == MARK_REFUSED)
            continue;
        say_source(watch, source, second);
        if (batch->mark[row] != MARK_OK)
            continue;
        if (batch->state[row] == STATE_NONE)
            say_line(watch, batch, row, order_us, lines);
        if (host.size == 0)
            continue;
        if (span_is(action, "worker-heartbeat") || span_is(action, "worker-online"))
            say_second(watch, WORD_BEAT, source, host, second);
        else if (span_is(action, "worker-offline"))
            say_offline(watch, source, host, order_us);
    }
    for (unsigned i = 0; i < LINES; i++)
        say_lines(watch, &lines[i]);
}

/* A run that fails because a task of it has failed is no news. */
static enum watch_sort sort_of_run(const struct run_record *run)
{
    if (run->tells_child)
        return WORD_CHILD;
    switch (run->state) {
    case STATE_QUEUED:
        return WORD_QUEUED;
    case STATE_WAITING:
        return WORD_WAITING;
    case STATE_RUNNING:
        return run->is_endless ? WORD_LEFT : WORD_STARTED;
    case STATE_SUCCESS:
        return run->is_endless ? WORD_LEFT : WORD_SUCCEEDED;
    case STATE_CANCELLED:
        return WORD_CANCELLED;
    case STATE_RETRYING:
        return WORD_RETRIED;
    default:
        if (run_state_is_failure(run->state) && !run->task_failed)
            return run->will_retry ? WORD_RETRIED : WORD_FAILED;
        return WORD_LEFT;
    }
}

void watch_expect(struct watch *watch, const struct runs *runs, const struct run_row *row)
{
    const struct span *from = row->texts;

    if (!watch->plan->general.watch || !run_state_is_failure(row->state) || row->will_retry ||
        !from[RUN_WORKFLOW].size || !from[RUN_TASK].size || !runs_would_take(runs, row))
        return;
    watch_word_send(&(struct watch_word){.sort = WORD_EXPECTED,
                                         .attempt = row->attempt,
                                         .map_index = row->map_index,
                                         .order_us = row->order_us,
                                         .started_us = TIME_NONE,
                                         .duration_ms = NAN,
                                         .texts = {[WATCH_SOURCE] = from[RUN_SOURCE],
                                                   [WATCH_NAMESPACE] = from[RUN_NAMESPACE],
                                                   [WATCH_WORKFLOW] = from[RUN_WORKFLOW],
                                                   [WATCH_TASK] = from[RUN_TASK],
                                                   [WATCH_RUN] = from[RUN_RUN],
                                                   [WATCH_RUN_NAME] = from[RUN_RUN_NAME],
                                                   [WATCH_HOST] = from[RUN_HOST],
                                                   [WATCH_ERROR] = from[RUN_ERROR],
                                                   [WATCH_URL] = from[RUN_URL]}},
                    watch->port, watch->workers);
}

void watch_run(struct watch *watch, const struct run_record *run)
{
    enum watch_sort sort = sort_of_run(run);
    struct watch_word word = {
        .sort = (uint8_t)sort,
        .is_child = run->parent_run.size > 0 && !span_equal(run->parent_run, run->run),
        .is_first = run->version == 2,
        .attempt = run->attempt,
        .map_index = run->map_index,
        .version = run->version,
        .run = run->id,
        .order_us = run->at_us,
        .started_us = run->started_us,
        .duration_ms = run->duration_ms,
        .texts = {[WATCH_SOURCE] = run->source,
                  [WATCH_NAMESPACE] = run->namespace_,
                  [WATCH_WORKFLOW] = run->workflow,
                  [WATCH_TASK] = run->is_task ? run->task : (struct span){0},
                  [WATCH_RUN] = run->run,
                  [WATCH_RUN_NAME] = run->run_name,
                  [WATCH_HOST] = run->host,
                  [WATCH_ERROR] = sort == WORD_FAILED ? run->error : (struct span){0},
                  [WATCH_URL] = run->url},
    };

    if (watch->plan->general.watch)
        watch_word_send(&word, watch->port, watch->workers);
}
