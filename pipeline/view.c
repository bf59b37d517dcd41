/* Lines by time in plain sorted vectors: nearly every line is the newest, so it is appended, and one that is
 * not moves at most 2000 pointers. Written once a transition, alert and closed bucket; read every two seconds
 * by each open page. Dropped: a compact form of points (numbers without names), which needs a second encoder
 * for the same line. */
#include "pipeline/view.h"

#include "base/memory.h"
#include "base/slots.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <strings.h>

enum { CASE_BIT = 'a' ^ 'A' };

struct line {
    struct line *earlier; /* an alert's line before it */
    struct id128 group;
    int64_t time_us;
    uint64_t version;
    bool anomaly;
    bool open; /* of an alert: it is not resolved */
    uint32_t size;
    char data[];
};

struct shelf { /* oldest first */
    struct line **lines;
    size_t count, capacity, bytes;
};

struct board { /* one line a group */
    struct shelf shelf;
    struct slots slots;
    struct line **of_slot;
    uint32_t limit;
    unsigned history; /* most earlier lines of a group */
};

struct series {
    struct id128 id;
    struct shelf points;
    char *head; /* "measure":..,"key":{..} */
    uint32_t head_size;
};

struct view {
    pthread_mutex_t mutex;
    struct board alerts, runs;
    struct slots slots;
    struct series *series; /* by slot */
    uint32_t *order;       /* slots in order of first appearance */
    uint32_t series_count;
    size_t point_bytes;
    int64_t quietest_us; /* no series' newest point is older */
    view_tap *tap;
    void *tap_owner;
};

static struct line *line_new(const struct view_line *given)
{
    /* a quote in a text is escaped, so these are keys */
    static const char anomaly[] = "\"anomaly\":true", resolved[] = "\"state\":\"resolved\"";
    struct span text = given->text;
    struct line *line = memory_new(sizeof *line + text.size);

    line->earlier = NULL;
    line->group = given->group;
    line->time_us = given->time_us;
    line->version = given->version;
    line->size = text.size;
    line->anomaly = memmem(text.data, text.size, anomaly, sizeof anomaly - 1) != NULL;
    line->open = given->kind == DOC_ALERT && !memmem(text.data, text.size, resolved, sizeof resolved - 1);
    memcpy(line->data, text.data, text.size);
    return line;
}

static void line_free(struct line *line)
{
    while (line) {
        struct line *earlier = line->earlier;

        free(line);
        line = earlier;
    }
}

/* With the earlier ones. */
static size_t line_bytes(const struct line *line)
{
    size_t bytes = 0;

    for (; line; line = line->earlier)
        bytes += sizeof *line + line->size;
    return bytes;
}

/* How many lines are not newer. */
static size_t shelf_place(const struct shelf *shelf, int64_t time_us)
{
    size_t low = 0, high = shelf->count;

    if (high && shelf->lines[high - 1]->time_us <= time_us)
        return high;
    while (low < high) {
        size_t middle = (low + high) / 2;

        if (shelf->lines[middle]->time_us <= time_us)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void shelf_insert(struct shelf *shelf, struct line *line)
{
    size_t at = shelf_place(shelf, line->time_us);

    shelf->lines = memory_reserve(shelf->lines, &shelf->capacity, shelf->count + 1, sizeof(struct line *));
    memmove(&shelf->lines[at + 1], &shelf->lines[at], (shelf->count - at) * sizeof(struct line *));
    shelf->lines[at] = line;
    shelf->count++;
    shelf->bytes += line_bytes(line);
}

static struct line *shelf_take(struct shelf *shelf, size_t at)
{
    struct line *line = shelf->lines[at];

    assert(at < shelf->count);
    shelf->bytes -= line_bytes(line);
    shelf->count--;
    memmove(&shelf->lines[at], &shelf->lines[at + 1], (shelf->count - at) * sizeof(struct line *));
    return line;
}

static void shelf_remove(struct shelf *shelf, size_t at)
{
    line_free(shelf_take(shelf, at));
}

static void shelf_free(struct shelf *shelf)
{
    for (size_t i = 0; i < shelf->count; i++)
        line_free(shelf->lines[i]);
    free(shelf->lines);
}

static void board_init(struct board *board, uint32_t limit, unsigned history)
{
    board->limit = limit;
    board->history = history;
    slots_init(&board->slots, limit + 1);
    board->of_slot = memory_new((limit + 1) * sizeof(struct line *));
}

static void board_free(struct board *board)
{
    shelf_free(&board->shelf);
    slots_free(&board->slots);
    free(board->of_slot);
}

/* The line takes the place of an old one: behind it as its history, or, of the same version, for good. */
static void line_succeed(struct line *line, struct line *old, unsigned history)
{
    struct line *last = line;

    line->earlier = old->version < line->version ? old : old->earlier;
    if (line->earlier != old) {
        old->earlier = NULL;
        line_free(old);
    }
    for (unsigned i = 0; i < history && last->earlier; i++)
        last = last->earlier;
    line_free(last->earlier);
    last->earlier = NULL;
}

/* The oldest one that is not open, else the oldest. */
static size_t board_least(const struct shelf *shelf)
{
    for (size_t i = 0; i < shelf->count; i++)
        if (!shelf->lines[i]->open)
            return i;
    return 0;
}

static void board_put(struct board *board, struct line *line)
{
    bool is_new;
    uint32_t slot = slots_add(&board->slots, line->group, &is_new);
    struct shelf *shelf = &board->shelf;

    assert(slot != SLOT_NONE);
    if (!is_new) {
        const struct line *old = board->of_slot[slot];
        size_t at = shelf_place(shelf, old->time_us) - 1;

        if (old->version > line->version) {
            free(line);
            return;
        }
        while (shelf->lines[at] != old)
            at--;
        line_succeed(line, shelf_take(shelf, at), board->history);
    }
    board->of_slot[slot] = line;
    shelf_insert(shelf, line);
    while (shelf->count > board->limit || shelf->bytes > VIEW_LINES_BYTES) {
        size_t least = board_least(shelf);

        slots_remove(&board->slots, shelf->lines[least]->group);
        shelf_remove(shelf, least);
    }
}

/* The end of the JSON text that begins at `at` with a quote, a brace or a bracket; else the next place. */
static size_t value_end(struct span line, size_t at)
{
    bool quoted = false;
    int depth = 0;

    do {
        char c = line.data[at++];

        if (quoted && c == '\\')
            at++;
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && (c == '{' || c == '['))
            depth++;
        else if (!quoted && (c == '}' || c == ']'))
            depth--;
    } while ((quoted || depth > 0) && at < line.size);
    return at;
}

/* The part of a bucket's line that all points of the series have in common; empty: it is none. */
static struct span line_head(struct span line)
{
    static const char measure[] = "\"measure\":\"", key[] = ",\"key\":{";
    const char *from = memmem(line.data, line.size, measure, sizeof measure - 1);
    size_t at;

    if (!from)
        return span_make(NULL, 0);
    at = value_end(line, (size_t)(from - line.data) + sizeof measure - 2);
    if (at + sizeof key > line.size || memcmp(line.data + at, key, sizeof key - 1) != 0)
        return span_make(NULL, 0);
    return span_make(from, value_end(line, at + sizeof key - 2) - (size_t)(from - line.data));
}

static int64_t newest_us(const struct series *series)
{
    return series->points.lines[series->points.count - 1]->time_us;
}

static void forget_series(struct view *view, uint32_t at)
{
    struct series *series = &view->series[view->order[at]];

    view->point_bytes -= series->points.bytes;
    slots_remove(&view->slots, series->id);
    shelf_free(&series->points);
    free(series->head);
    view->series_count--;
    memmove(&view->order[at], &view->order[at + 1], (view->series_count - at) * sizeof *view->order);
}

/* Gives up the quietest series if it is quiet enough. The least time is remembered, so that a flood of new
 * series does not search each time. */
static bool make_room(struct view *view, int64_t time_us)
{
    uint32_t quietest = 0;

    if (view->series_count < VIEW_SERIES_MAX)
        return true;
    if (view->quietest_us > time_us - VIEW_SERIES_QUIET_US)
        return false;
    view->quietest_us = INT64_MAX;
    for (uint32_t i = 0; i < view->series_count; i++) {
        int64_t newest = newest_us(&view->series[view->order[i]]);

        if (newest < view->quietest_us) {
            view->quietest_us = newest;
            quietest = i;
        }
    }
    if (view->quietest_us > time_us - VIEW_SERIES_QUIET_US)
        return false;
    forget_series(view, quietest);
    return true;
}

static void put_point(struct view *view, struct line *line)
{
    uint32_t slot = slots_find(&view->slots, line->group);
    struct series *series;
    struct shelf *points;
    size_t at;
    bool is_new;

    if (slot == SLOT_NONE && !make_room(view, line->time_us)) {
        free(line);
        return;
    }
    slot = slots_add(&view->slots, line->group, &is_new);
    assert(slot < VIEW_SERIES_MAX);
    series = &view->series[slot];
    points = &series->points;
    if (is_new) {
        struct span head = line_head(span_make(line->data, line->size));

        assert(head.size);
        *series = (struct series){
            .id = line->group, .head = memory_text(head.data, head.size), .head_size = head.size};
        view->order[view->series_count++] = slot;
        view->quietest_us = line->time_us < view->quietest_us ? line->time_us : view->quietest_us;
    }
    at = shelf_place(points, line->time_us);
    assert(!at || points->lines);
    if (at && points->lines[at - 1]->time_us == line->time_us &&
        points->lines[at - 1]->version > line->version) {
        free(line);
        return;
    }
    view->point_bytes -= points->bytes;
    if (at && points->lines[at - 1]->time_us == line->time_us)
        shelf_remove(points, at - 1);
    shelf_insert(points, line);
    while (points->count > VIEW_POINTS_MAX ||
           (points->count > 1 && points->bytes > VIEW_POINTS_BYTES / view->series_count &&
            view->point_bytes + points->bytes > VIEW_POINTS_BYTES))
        shelf_remove(points, 0);
    view->point_bytes += points->bytes;
}

struct view *view_new(void)
{
    struct view *view = memory_new(sizeof *view);

    pthread_mutex_init(&view->mutex, NULL);
    board_init(&view->alerts, VIEW_ALERTS_MAX, VIEW_HISTORY_MAX);
    board_init(&view->runs, VIEW_RUNS_MAX, 0);
    slots_init(&view->slots, VIEW_SERIES_MAX);
    view->series = memory_new(VIEW_SERIES_MAX * sizeof *view->series);
    view->order = memory_new(VIEW_SERIES_MAX * sizeof *view->order);
    view->quietest_us = INT64_MAX;
    return view;
}

void view_free(struct view *view)
{
    while (view->series_count)
        forget_series(view, view->series_count - 1);
    board_free(&view->alerts);
    board_free(&view->runs);
    slots_free(&view->slots);
    free(view->series);
    free(view->order);
    pthread_mutex_destroy(&view->mutex);
    free(view);
}

static bool is_shown(enum document_kind kind)
{
    return kind == DOC_ALERT || kind == DOC_RUN || kind == DOC_BUCKET;
}

static void put(struct view *view, const struct view_line *line)
{
    struct line *copy = line_new(line);

    pthread_mutex_lock(&view->mutex);
    if (line->kind == DOC_BUCKET)
        put_point(view, copy);
    else
        board_put(line->kind == DOC_ALERT ? &view->alerts : &view->runs, copy);
    pthread_mutex_unlock(&view->mutex);
}

void view_put(struct view *view, const struct view_line *line)
{
    if (!is_shown(line->kind))
        return;
    put(view, line);
    if (view->tap)
        view->tap(view->tap_owner, line);
}

bool view_hear(struct view *view, const struct view_line *line)
{
    if (!is_shown(line->kind) || (line->kind == DOC_BUCKET && !line_head(line->text).size))
        return false;
    put(view, line);
    return true;
}

void view_set_tap(struct view *view, view_tap *tap, void *owner)
{
    view->tap = tap;
    view->tap_owner = owner;
}

/* A quoted text that no ':' follows is a value; keys are not searched. */
static bool next_text(struct span line, size_t *at, struct span *ret_text)
{
    while (*at < line.size) {
        const char *quote = memchr(line.data + *at, '"', line.size - *at);
        size_t from;

        if (!quote)
            return false;
        from = (size_t)(quote - line.data);
        *at = value_end(line, from);
        if (*at < line.size && line.data[*at] == ':')
            continue;
        *ret_text = span_make(quote, *at - from);
        return true;
    }
    return false;
}

static bool has_word(struct span line, struct span word)
{
    struct span text;

    for (size_t at = 0; next_text(line, &at, &text);)
        for (size_t i = 0; i + word.size <= text.size; i++)
            if (((text.data[i] ^ word.data[0]) & ~CASE_BIT) == 0 && /* most calls are saved */
                strncasecmp(text.data + i, word.data, word.size) == 0)
                return true;
    return false;
}

/* The text, quotes included, of a member of the line's object itself; empty: it has none. */
static struct span text_member(struct span line, const char *name)
{
    size_t size = strlen(name);

    for (size_t at = 1; at < line.size;) {
        size_t from = at;

        at = value_end(line, at);
        if (line.data[from] != '"' || at + 1 >= line.size || line.data[at] != ':')
            continue;
        if (at - from == size + 2 && memcmp(line.data + from + 1, name, size) == 0)
            return line.data[at + 1] == '"' ? span_make(line.data + at + 1, value_end(line, at + 1) - at - 1)
                                            : span_make(NULL, 0);
    }
    return span_make(NULL, 0);
}

/* Of matches with the same member one is enough. */
static bool is_asked_for(const struct view_query *query, struct span line)
{
    for (size_t i = 0; i < query->word_count; i++)
        if (!has_word(line, query->words[i]))
            return false;
    for (size_t i = 0; i < query->match_count; i++) {
        const char *member = query->matches[i].member;
        struct span text = text_member(line, member);
        bool found = false;

        for (size_t k = 0; k < query->match_count && !found; k++)
            found = strcmp(query->matches[k].member, member) == 0 && span_equal(query->matches[k].text, text);
        if (!found)
            return false;
    }
    return true;
}

size_t view_list(struct view *view, enum document_kind kind, const struct view_query *query,
                 struct buffer *out)
{
    const struct shelf *shelf = kind == DOC_ALERT ? &view->alerts.shelf : &view->runs.shelf;
    struct json_writer json;
    size_t found = 0;

    assert(kind == DOC_ALERT || kind == DOC_RUN);
    json_begin(&json, out);
    json_open_list(&json, NULL);
    pthread_mutex_lock(&view->mutex);
    for (size_t i = shelf->count; i-- > 0;) {
        struct span text = span_make(shelf->lines[i]->data, shelf->lines[i]->size);

        if (!is_asked_for(query, text))
            continue;
        if (found >= query->skip && found - query->skip < query->limit)
            json_raw(&json, NULL, text);
        found++;
    }
    pthread_mutex_unlock(&view->mutex);
    json_close_list(&json);
    return found;
}

bool view_history(struct view *view, struct id128 episode, struct buffer *out)
{
    const struct line *lines[VIEW_HISTORY_MAX + 1];
    struct json_writer json;
    size_t count = 0;
    uint32_t slot;

    pthread_mutex_lock(&view->mutex);
    slot = slots_find(&view->alerts.slots, episode);
    if (slot != SLOT_NONE)
        for (const struct line *line = view->alerts.of_slot[slot]; line; line = line->earlier)
            lines[count++] = line;
    if (count) {
        json_begin(&json, out);
        json_open_list(&json, NULL);
        for (size_t i = count; i-- > 0;)
            json_raw(&json, NULL, span_make(lines[i]->data, lines[i]->size));
        json_close_list(&json);
    }
    pthread_mutex_unlock(&view->mutex);
    return count > 0;
}

static int64_t newest_anomaly_us(const struct series *series)
{
    for (size_t i = series->points.count; i-- > 0;)
        if (series->points.lines[i]->anomaly)
            return series->points.lines[i]->time_us;
    return TIME_NONE;
}

void view_series(struct view *view, struct buffer *out)
{
    struct json_writer json;

    json_begin(&json, out);
    json_open_list(&json, NULL);
    pthread_mutex_lock(&view->mutex);
    for (uint32_t i = 0; i < view->series_count; i++) {
        const struct series *series = &view->series[view->order[i]];

        json_open(&json, NULL);
        json_id(&json, "series", series->id);
        buffer_put_char(out, ',');
        buffer_put(out, series->head, series->head_size);
        json_unsigned(&json, "points", series->points.count);
        json_time(&json, "newest", newest_us(series));
        json_time_if(&json, "anomaly_at", newest_anomaly_us(series));
        json_close(&json);
    }
    pthread_mutex_unlock(&view->mutex);
    json_close_list(&json);
}

bool view_points(struct view *view, struct id128 series, struct buffer *out)
{
    struct json_writer json;
    uint32_t slot;

    pthread_mutex_lock(&view->mutex);
    slot = slots_find(&view->slots, series);
    if (slot != SLOT_NONE) {
        const struct shelf *points = &view->series[slot].points;

        json_begin(&json, out);
        json_open_list(&json, NULL);
        for (size_t i = 0; i < points->count; i++)
            json_raw(&json, NULL, span_make(points->lines[i]->data, points->lines[i]->size));
        json_close_list(&json);
    }
    pthread_mutex_unlock(&view->mutex);
    return slot != SLOT_NONE;
}
