/* A person marks some alerts a day. */
#include "pipeline/feedback.h"

#include "base/memory.h"
#include "base/slots.h"
#include "pipeline/store_file.h"

#include <pthread.h>
#include <stdlib.h>
#include <yajl/yajl_tree.h>

struct feedback {
    struct store_file file;
    sqlite3_stmt *put, *remove, *trim, *read;
    pthread_mutex_t mutex;
};

const char *const feedback_names[FEEDBACK_MARKS + 1] = {"none", "noise", "right", NULL};

// clang-format off
#define SIZE_OF(row) "length(" row ".line)"
static const char *const upgrades[] = {
    "CREATE TABLE feedback (episode_high INTEGER NOT NULL, episode_low INTEGER NOT NULL, mark INTEGER NOT NULL,"
    " at_us INTEGER NOT NULL, line BLOB NOT NULL, checksum INTEGER NOT NULL, UNIQUE (episode_high, episode_low));"
    "CREATE INDEX feedback_at ON feedback (at_us);"
    STORE_TOTALS("feedback", SIZE_OF, SIZE_OF),
};
static const struct store_part part = {
    .name = "feedback", .upgrades = upgrades, .version = sizeof upgrades / sizeof *upgrades};

static const char put_sql[] = "INSERT INTO feedback VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
static const char remove_sql[] = "DELETE FROM feedback WHERE episode_high = ?1 AND episode_low = ?2";
static const char trim_sql[] =
    "DELETE FROM feedback WHERE rowid IN (SELECT rowid FROM feedback ORDER BY at_us DESC LIMIT -1 OFFSET ?1)";
static const char read_sql[] = "SELECT * FROM feedback ORDER BY at_us DESC, rowid DESC";
// clang-format on

enum status feedback_open(const char *path, const struct store_options *options,
                          struct feedback **ret_feedback, struct error *ret_error)
{
    struct feedback *feedback = memory_new(sizeof *feedback);
    const struct {
        const char *sql;
        sqlite3_stmt **statement;
    } statements[] = {{put_sql, &feedback->put},
                      {remove_sql, &feedback->remove},
                      {trim_sql, &feedback->trim},
                      {read_sql, &feedback->read}};

    pthread_mutex_init(&feedback->mutex, NULL);
    enum status status = store_file_open(&feedback->file, path, options, &part, 1, ret_error);
    for (size_t i = 0; i < sizeof statements / sizeof *statements && status == STATUS_OK; i++)
        status = store_file_prepare(&feedback->file, statements[i].sql, statements[i].statement, ret_error);
    if (status != STATUS_OK) {
        feedback_close(feedback);
        return status;
    }
    sqlite3_bind_int64(feedback->trim, 1, FEEDBACK_MAX);
    *ret_feedback = feedback;
    return STATUS_OK;
}

void feedback_close(struct feedback *feedback)
{
    if (!feedback)
        return;
    sqlite3_finalize(feedback->put);
    sqlite3_finalize(feedback->remove);
    sqlite3_finalize(feedback->trim);
    sqlite3_finalize(feedback->read);
    store_file_close(&feedback->file);
    pthread_mutex_destroy(&feedback->mutex);
    free(feedback);
}

static enum status replace(struct feedback *feedback, struct id128 episode, enum feedback_mark mark,
                           int64_t now_us, struct span line, struct error *ret_error)
{
    struct store_row row = store_row_begin(feedback->put, part.name);
    enum status status;

    sqlite3_bind_int64(feedback->remove, 1, (int64_t)episode.high);
    sqlite3_bind_int64(feedback->remove, 2, (int64_t)episode.low);
    status = store_file_step(&feedback->file, feedback->remove, ret_error);
    if (status != STATUS_OK || mark == FEEDBACK_NONE)
        return status;
    store_row_put_id(&row, episode);
    store_row_put_number(&row, mark);
    store_row_put_number(&row, (uint64_t)now_us);
    store_row_put_bytes(&row, line);
    store_row_put_end(&row);
    status = store_file_step(&feedback->file, feedback->put, ret_error);
    sqlite3_clear_bindings(feedback->put);
    return status == STATUS_OK ? store_file_step(&feedback->file, feedback->trim, ret_error) : status;
}

enum status feedback_put(struct feedback *feedback, struct id128 episode, enum feedback_mark mark,
                         int64_t now_us, struct span line, struct error *ret_error)
{
    pthread_mutex_lock(&feedback->mutex);
    enum status status = store_file_begin(&feedback->file, true, ret_error);
    if (status == STATUS_OK)
        status = replace(feedback, episode, mark, now_us, line, ret_error);
    status = store_file_end(&feedback->file, status, ret_error);
    pthread_mutex_unlock(&feedback->mutex);
    return status;
}

struct marked {
    struct id128 episode;
    enum feedback_mark mark;
    int64_t at_us;
    struct span line;
};

typedef void marked_visit(void *owner, const struct marked *marked);

static enum status visit_all(struct feedback *feedback, marked_visit *visit, void *owner,
                             struct error *ret_error)
{
    enum status status = STATUS_OK;
    int code;

    pthread_mutex_lock(&feedback->mutex);
    while (status == STATUS_OK && (code = sqlite3_step(feedback->read)) == SQLITE_ROW) {
        struct store_row row = store_row_begin(feedback->read, part.name);
        struct marked marked = {.episode = store_row_id(&row)};
        uint64_t mark = store_row_number(&row);

        marked.at_us = (int64_t)store_row_number(&row);
        marked.line = store_row_bytes(&row);
        marked.mark = (enum feedback_mark)mark;
        if (!store_row_good(&row) || mark >= FEEDBACK_MARKS)
            status = fail(ret_error, "store %s is damaged: a mark of an alert", feedback->file.path);
        else
            visit(owner, &marked);
    }
    if (status == STATUS_OK && code != SQLITE_DONE)
        status = store_file_report(&feedback->file, ret_error);
    sqlite3_reset(feedback->read);
    pthread_mutex_unlock(&feedback->mutex);
    return status;
}

static void write_mark(void *owner, const struct marked *marked)
{
    json_open(owner, NULL);
    json_id(owner, "episode", marked->episode);
    json_text(owner, "mark", span_of(feedback_names[marked->mark]));
    json_time(owner, "at", marked->at_us);
    json_close(owner);
}

enum status feedback_write(struct feedback *feedback, struct buffer *out, struct error *ret_error)
{
    struct json_writer json;

    json_begin(&json, out);
    json_open_list(&json, NULL);
    enum status status = visit_all(feedback, write_mark, &json, ret_error);
    json_close_list(&json);
    return status;
}

static struct span text_at(yajl_val line, const char *name)
{
    const char *path[] = {name, NULL};
    yajl_val value = yajl_tree_get(line, path, yajl_t_string);

    return value ? span_of(YAJL_GET_STRING(value)) : (struct span){0};
}

static void write_label(yajl_val line, bool ignore, struct buffer *out)
{
    struct span ends = text_at(line, "ends_at"), target = text_at(line, "target");
    struct json_writer json;

    json_begin(&json, out);
    json_open(&json, NULL);
    json_text(&json, "start", text_at(line, "starts_at"));
    json_text(&json, "end", ends.size ? ends : text_at(line, "at"));
    json_text(&json, "target", target.size ? target : SPAN_LITERAL(""));
    json_text(&json, "kind", text_at(line, "kind"));
    json_text(&json, "rule", text_at(line, "rule"));
    if (ignore)
        json_bool(&json, "ignore", true);
    json_close(&json);
    buffer_put_char(out, '\n');
}

struct labels_writing {
    struct slots marked; /* episodes, hashed as text */
    struct buffer *out;
};

static void write_marked(void *owner, const struct marked *marked)
{
    struct labels_writing *writing = owner;
    char *text = memory_text(marked->line.data, marked->line.size), reason[100];
    yajl_val line = yajl_tree_parse(text, reason, sizeof reason);
    bool is_new;

    slots_add(&writing->marked, marked->episode, &is_new);
    if (YAJL_IS_OBJECT(line) && marked->mark == FEEDBACK_RIGHT)
        write_label(line, false, writing->out);
    yajl_tree_free(line);
    free(text);
}

static bool is_marked(const struct labels_writing *writing, yajl_val line)
{
    struct span hex = text_at(line, "episode");
    struct id128 id = {0};

    for (uint32_t i = 0; i < hex.size && i < ID_HEX_SIZE; i++)
        *(i < ID_HEX_SIZE / 2 ? &id.high : &id.low) =
            *(i < ID_HEX_SIZE / 2 ? &id.high : &id.low) << 4 | (uint64_t)hex_digit(hex.data[i]);
    return slots_find(&writing->marked, id) != SLOT_NONE;
}

enum status feedback_write_labels(struct feedback *feedback, struct span alerts, struct buffer *out,
                                  struct error *ret_error)
{
    struct labels_writing writing = {.out = out};
    char *text = memory_text(alerts.data, alerts.size), reason[100];
    yajl_val list = yajl_tree_parse(text, reason, sizeof reason);

    slots_init(&writing.marked, FEEDBACK_MAX + 1);
    enum status status = visit_all(feedback, write_marked, &writing, ret_error);
    for (size_t i = 0; status == STATUS_OK && YAJL_IS_ARRAY(list) && i < YAJL_GET_ARRAY(list)->len; i++)
        if (!is_marked(&writing, YAJL_GET_ARRAY(list)->values[i]))
            write_label(YAJL_GET_ARRAY(list)->values[i], true, out);
    slots_free(&writing.marked);
    yajl_tree_free(list);
    free(text);
    return status;
}
