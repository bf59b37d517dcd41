/* Proposes a `map:` for JSON that uses names of its own: which paths the sample has, what each looks like
 * from its name and values, and what is left. Runs once a `weir init`; names are compared as letters and
 * digits only, so that `dag_id`, `dagId` and `dag-id` are one. */
#include "base/json_writer.h"
#include "base/memory.h"
#include "cli/init.h"

#include <stdio.h>
#include <stdlib.h>
#include <yajl/yajl_parse.h>

enum {
    PATHS_MAX = 256,
    PATH_BYTES = 200,
    EXAMPLE_BYTES = 40,
    WORDS_MAX = 12,
    DEPTH_MAX = 16,
    NAME_BYTES = 64
};

struct found_path {
    char path[PATH_BYTES];
    char example[EXAMPLE_BYTES];
    char words[WORDS_MAX][EXAMPLE_BYTES]; /* the different texts, as far as they are few and short */
    size_t count, word_count;
    bool is_text, taken;
};

struct level {
    size_t path_size; /* of the path that the keys of this object, or the elements of this list, go on from */
    bool is_list, ignored; /* a list of values is known by its first element */
};

struct reader {
    struct found_path *paths;
    size_t path_count;
    char path[PATH_BYTES];
    size_t path_size;
    struct level levels[DEPTH_MAX];
    unsigned depth;
    bool hidden; /* the value that comes stands under a key that no path can name */
};

/* What a field is often called, the best name first; the name of an object may come before, as in run.id. */
static const struct {
    enum field field;
    const char *names[18];
} often_called[] = {
    // clang-format off
    {F_TIME, {"timestamp", "time", "ts", "eventtime", "datetime", "occurredat", "eventtimestamp", "timestampms", "date", "at", "when", "endtime", "endedat", "finishedat", "updatedat", "createdat", "starttime"}},
    {F_STATE, {"state", "status", "runstate", "jobstatus", "outcome", "eventtype", "phase", "result", "conclusion"}},
    {F_WORKFLOW, {"workflow", "workflowname", "dagid", "dag", "pipeline", "pipelinename", "jobname", "job", "flow", "flowname", "workflowid", "process", "processname", "service", "app"}},
    {F_TASK, {"task", "taskname", "taskid", "step", "stepname", "activity", "activityname", "operation", "node"}},
    {F_RUN, {"run", "runid", "executionid", "instanceid", "jobid", "buildid", "correlationid", "requestid"}},
    {F_DURATION_MS, {"durationms", "elapsedms", "duration", "durations", "durationsec", "durationsecs", "durationseconds", "elapsed", "elapsedseconds", "runtime", "took", "latency", "latencyms"}},
    {F_ATTEMPT, {"attempt", "trynumber", "try", "attemptnumber"}},
    {F_QUEUE, {"queue", "pool", "queuename"}},
    {F_OWNER, {"owner", "team", "user"}},
    {F_HOST, {"host", "hostname", "machine"}},
    {F_WORKER, {"worker", "workerid", "workername"}},
    {F_ERROR, {"error", "errormessage", "exception", "errormsg", "failurereason"}},
    {F_MESSAGE, {"message", "msg", "text", "log"}},
    {F_LEVEL, {"level", "severity", "loglevel"}},
    {F_METRIC, {"metric", "metricname"}},
    {F_VALUE, {"value", "metricvalue"}},
    {F_ID, {"eventid", "uuid", "messageid"}},
    // clang-format on
};

static const struct {
    const char *state, *words[12];
} known_words[] = {
    // clang-format off
    {"success", {"ok", "succeeded", "successful", "complete", "completed", "done", "finished", "finish", "passed", "pass"}},
    {"failed", {"err", "error", "errored", "fail", "failure", "crashed", "crash", "aborted", "fatal"}},
    {"running", {"start", "started", "inprogress", "active", "begin", "began", "processing", "executing"}},
    {"queued", {"pending", "submitted", "created", "scheduled", "enqueued"}},
    {"retrying", {"retry", "upforretry", "retried"}},
    {"skipped", {"skip"}},
    {"cancelled", {"canceled", "cancel", "killed", "terminated", "revoked", "stopped"}},
    {"timed_out", {"timeout", "timedout", "expired"}},
    // clang-format on
};

static void normalise(const char *name, size_t size, char ret_name[NAME_BYTES])
{
    size_t used = 0;

    for (size_t i = 0; i < size && used < NAME_BYTES - 1; i++) {
        char c = name[i];

        if (c >= 'A' && c <= 'Z')
            c = (char)(c - 'A' + 'a');
        if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
            ret_name[used++] = c;
    }
    ret_name[used] = '\0';
}

static struct found_path *find_path(struct reader *reader)
{
    for (size_t i = 0; i < reader->path_count; i++)
        if (strcmp(reader->paths[i].path, reader->path) == 0)
            return &reader->paths[i];
    if (reader->path_count == PATHS_MAX)
        return NULL;
    struct found_path *path = &reader->paths[reader->path_count++];

    memcpy(path->path, reader->path, reader->path_size + 1);
    return path;
}

static void keep_word(struct found_path *path, const char *text, size_t size)
{
    if (size >= EXAMPLE_BYTES || path->word_count == WORDS_MAX)
        return;
    for (size_t i = 0; i < path->word_count; i++)
        if (strlen(path->words[i]) == size && memcmp(path->words[i], text, size) == 0)
            return;
    memcpy(path->words[path->word_count++], text, size);
}

static bool is_ignored(const struct reader *reader)
{
    return reader->hidden || reader->path_size == 0 ||
           (reader->depth && reader->levels[reader->depth - 1].ignored);
}

/* The elements of a list at the root are rows, and all are looked at. */
static void value_is_over(struct reader *reader)
{
    struct level *level = reader->depth ? &reader->levels[reader->depth - 1] : NULL;

    if (level && level->is_list && level->path_size > 0)
        level->ignored = true;
}

static int on_scalar(struct reader *reader, const char *text, size_t size, bool is_text)
{
    struct found_path *path = is_ignored(reader) ? NULL : find_path(reader);

    if (path) {
        if (path->count++ == 0)
            memcpy(path->example, text, size < EXAMPLE_BYTES ? size : EXAMPLE_BYTES - 1);
        path->is_text = is_text;
        if (is_text)
            keep_word(path, text, size);
    }
    value_is_over(reader);
    return 1;
}

static int on_null(void *owner)
{
    value_is_over(owner);
    return 1;
}

static int on_bool(void *owner, int value)
{
    return on_scalar(owner, value ? "true" : "false", value ? 4 : 5, false);
}

static int on_number(void *owner, const char *text, size_t size)
{
    return on_scalar(owner, text, size, false);
}

static int on_text(void *owner, const unsigned char *text, size_t size)
{
    return on_scalar(owner, (const char *)text, size, true);
}

static int open_level(struct reader *reader, bool is_list)
{
    bool ignored = reader->hidden || (reader->depth && reader->levels[reader->depth - 1].ignored);

    if (reader->depth == DEPTH_MAX)
        return 0;
    if (is_list && reader->path_size > 0) {
        ignored |= reader->path_size + 4 > PATH_BYTES;
        if (!ignored) {
            memcpy(reader->path + reader->path_size, "[0]", 4);
            reader->path_size += 3;
        }
    }
    reader->levels[reader->depth++] =
        (struct level){.is_list = is_list, .path_size = reader->path_size, .ignored = ignored};
    return 1;
}

static int on_object(void *owner)
{
    return open_level(owner, false);
}

static int on_list(void *owner)
{
    return open_level(owner, true);
}

static int on_end(void *owner)
{
    struct reader *reader = owner;

    reader->depth--;
    reader->hidden = false;
    reader->path_size = reader->depth ? reader->levels[reader->depth - 1].path_size : 0;
    reader->path[reader->path_size] = '\0';
    value_is_over(reader);
    return 1;
}

static int on_key(void *owner, const unsigned char *key, size_t size)
{
    struct reader *reader = owner;
    size_t at = reader->levels[reader->depth - 1].path_size;

    reader->hidden = size == 0 || at + size + 2 > PATH_BYTES;
    for (size_t i = 0; i < size && !reader->hidden; i++)
        reader->hidden = key[i] <= ' ' || key[i] == 0x7F || strchr("[]\"'", key[i]);
    if (reader->hidden)
        return 1;
    if (at)
        reader->path[at++] = '.';
    memcpy(reader->path + at, key, size);
    reader->path_size = at + size;
    reader->path[reader->path_size] = '\0';
    return 1;
}

static void read_paths(struct reader *reader, const struct sample *sample)
{
    static const yajl_callbacks callbacks = {.yajl_null = on_null,
                                             .yajl_boolean = on_bool,
                                             .yajl_number = on_number,
                                             .yajl_string = on_text,
                                             .yajl_start_map = on_object,
                                             .yajl_map_key = on_key,
                                             .yajl_end_map = on_end,
                                             .yajl_start_array = on_list,
                                             .yajl_end_array = on_end};

    for (size_t i = 0; i < sample->count; i++) {
        struct span payload = sample->messages[i].payload;
        yajl_handle yajl = yajl_alloc(&callbacks, NULL, reader);

        reader->depth = 0;
        reader->path_size = 0;
        reader->hidden = false;
        if (yajl_parse(yajl, (const unsigned char *)payload.data, payload.size) == yajl_status_ok)
            yajl_complete_parse(yajl);
        yajl_free(yajl);
    }
}

/* Its last key, and the key before it together with the last. */
static bool is_called(const struct found_path *path, const char *name)
{
    const char *last = strrchr(path->path, '.'), *before = path->path;
    char normal[NAME_BYTES];

    if (!last)
        last = path->path;
    for (const char *at = path->path; at < last; at++)
        if (*at == '.')
            before = at;
    normalise(last, strlen(last), normal);
    if (strcmp(normal, name) == 0)
        return true;
    normalise(before, strlen(before), normal);
    return strcmp(normal, name) == 0;
}

static bool looks_like(enum field field, const struct found_path *path)
{
    bool is_number = path->example[0] >= '0' && path->example[0] <= '9';

    if (field == F_TIME)
        return is_number && strlen(path->example) >= 9;
    if (field == F_VALUE || field == F_DURATION_MS)
        return is_number;
    return path->is_text || (field != F_ERROR && field != F_MESSAGE && field != F_STATE);
}

/* The path that the best of the field's names fits, the one found most often of several. */
static struct found_path *path_of(struct reader *reader, size_t which)
{
    struct found_path *best = NULL;

    for (size_t n = 0; often_called[which].names[n] && !best; n++)
        for (size_t i = 0; i < reader->path_count; i++) {
            struct found_path *path = &reader->paths[i];

            if (path->taken || !is_called(path, often_called[which].names[n]) ||
                !looks_like(often_called[which].field, path))
                continue;
            if (!best || path->count > best->count)
                best = path;
        }
    return best;
}

static const char *state_of_word(const char *word)
{
    char normal[NAME_BYTES];

    normalise(word, strlen(word), normal);
    for (size_t i = 0; i < sizeof known_words / sizeof *known_words; i++)
        for (size_t n = 0; known_words[i].words[n]; n++)
            if (strcmp(normal, known_words[i].words[n]) == 0)
                return known_words[i].state;
    return NULL;
}

static void put_path(struct buffer *out, const char *path)
{
    json_put_text(out, span_of(path));
}

static void put_state(struct buffer *out, const struct found_path *path)
{
    struct buffer unknown;
    unsigned put = 0;

    buffer_init(&unknown, 4096);
    buffer_put_text(out, "{path: ");
    put_path(out, path->path);
    for (size_t i = 0; i < path->word_count; i++) {
        const char *state = state_of_word(path->words[i]);

        if (!state) {
            buffer_print(&unknown, "%s", unknown.size ? ", " : "");
            json_put_text(&unknown, span_of(path->words[i]));
            continue;
        }
        buffer_put_text(out, put++ ? ", " : ", values: {");
        json_put_text(out, span_of(path->words[i]));
        buffer_print(out, ": %s", state);
    }
    buffer_put_text(out, put ? "}}" : "}");
    if (unknown.size)
        buffer_print(out, "  # without a state of their own, unless weir has the word: %.*s",
                     (int)unknown.size, unknown.data);
    buffer_free(&unknown);
}

static bool ends_with(const char *text, const char *end)
{
    size_t size = strlen(text), end_size = strlen(end);

    return size >= end_size && strcmp(text + size - end_size, end) == 0;
}

/* What the name of a duration says; NULL: nothing. */
static const char *unit_in_name(const struct found_path *path)
{
    static const char *const ends[][2] = {
        {"ms", "ms"}, {"sec", "s"}, {"secs", "s"}, {"seconds", "s"}, {"durations", "s"} /* duration_s */};
    const char *last = strrchr(path->path, '.');
    char normal[NAME_BYTES];

    last = last ? last : path->path;
    normalise(last, strlen(last), normal);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (ends_with(normal, ends[i][0]))
            return ends[i][1];
    return NULL;
}

/* A task of less than a day, in a unit that its field does not name. */
#define NANOSECONDS_FROM  1e8
#define MILLISECONDS_FROM 1e3

static void put_duration(struct buffer *out, const struct found_path *path)
{
    const char *named = unit_in_name(path);
    double example = strtod(path->example, NULL);
    const char *guess = example >= NANOSECONDS_FROM ? "ns" : example >= MILLISECONDS_FROM ? "ms" : "s";

    buffer_put_text(out, "{path: ");
    put_path(out, path->path);
    buffer_print(out, ", unit: %s}  # %s%s", named ? named : guess,
                 named ? "" : "is that the unit? it was guessed from ", path->example);
}

static void put_example(struct buffer *out, const struct found_path *path)
{
    buffer_put_text(out, "  # ");
    json_put_text(out, span_of(path->example));
    buffer_put_char(out, '\n');
}

static void put_mapping(struct buffer *out, enum field field, const struct found_path *path)
{
    buffer_print(out, "%*s%s: ", MAP_INDENT, "", field_rows[field].name);
    if (field == F_STATE)
        put_state(out, path);
    else if (field == F_DURATION_MS)
        put_duration(out, path);
    else
        put_path(out, path->path);
    if (field == F_STATE || field == F_DURATION_MS)
        buffer_put_char(out, '\n');
    else
        put_example(out, path);
}

/* What nobody took may become a label, or one of the fields that have no path yet. */
static void put_rest(struct buffer *out, const struct reader *reader, const bool *mapped)
{
    buffer_print(out, "%*s# fields without a path so far:", MAP_INDENT, "");
    for (size_t i = 0; i < sizeof often_called / sizeof *often_called; i++)
        if (!mapped[i])
            buffer_print(out, " %s", field_rows[often_called[i].field].name);
    buffer_print(out, "; any other path may become a label:\n");
    for (size_t i = 0; i < reader->path_count; i++) {
        const struct found_path *path = &reader->paths[i];
        const char *last = strrchr(path->path, '.');

        if (path->taken)
            continue;
        buffer_print(out, "%*s# labels.%s: ", MAP_INDENT, "", last ? last + 1 : path->path);
        put_path(out, path->path);
        put_example(out, path);
    }
}

bool paths_propose(const struct sample *sample, struct buffer *out)
{
    struct reader reader = {.paths = memory_new(PATHS_MAX * sizeof *reader.paths)};
    bool mapped[sizeof often_called / sizeof *often_called] = {false};

    read_paths(&reader, sample);
    for (size_t i = 0; i < sizeof often_called / sizeof *often_called; i++) {
        struct found_path *path = path_of(&reader, i);
        bool alone = often_called[i].field == F_VALUE && !mapped[i - 1]; /* a value of what metric? */

        if (!path || alone)
            continue;
        path->taken = mapped[i] = true;
        put_mapping(out, often_called[i].field, path);
    }
    put_rest(out, &reader, mapped);
    free(reader.paths);
    return mapped[0] && !out->full;
}
