/* JSON messages read by paths: one pass of yajl over the payload, and of each item the values that
 * somebody asked for.
 *
 * An item is what becomes a row: the whole message, each element of an array at the root, or what `each`
 * leads to. A path is dotted keys and array indexes, `meta.team`, `runs[0].id`; its bare keys also match
 * where some of them are joined by dots in one literal key (`log.level` finds {"log":{"level":1}} and
 * {"log.level":1}). A key with dots or brackets that must stay whole stands in single or double quotes.
 *
 * RFC 8259, and stricter than yajl alone: UTF-8 is checked by the Unicode standard's table 3-7, depth is
 * at most 64, and nothing but blanks may follow the value. A key that comes twice keeps its last value. A
 * schema registry's header before the JSON is passed over.
 * Used by one thread. */
#pragma once
#include "ingest/format.h"

enum json_type { JSON_ABSENT, JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_TEXT, JSON_OBJECT, JSON_ARRAY };

extern const char *const json_type_names[]; /* by enum json_type */

enum { JSON_DEPTH_MAX = 64 };

struct json_value {
    enum json_type type;
    struct span
        text; /* text: without escapes; number: its digits as written; bool: true or false; else empty */
};

static inline bool json_is_scalar(const struct json_value *value) /* and not null */
{
    return value->type == JSON_TEXT || value->type == JSON_NUMBER || value->type == JSON_BOOL;
}

struct json_leaf { /* a scalar, not null, and where it stood in the item: "fields.usage", "values.0" */
    struct span path;
    struct json_value value;
};

struct json_item {
    const struct json_value *values; /* by target; spans live as long as the batch's rows */
    const struct json_leaf *leaves;  /* where json_reader_take_leaves asked for them */
    size_t leaf_count;
    const struct message *message;
    struct event_batch *batch;
    uint32_t row; /* already added, all fields absent but `item` */
};

enum json_verdict {
    JSON_ROW_KEPT,
    JSON_ROW_BAD,     /* marked malformed with *ret_reason (static text, or in batch->text) */
    JSON_ROW_DROPPED, /* of no interest: taken back */
    JSON_ROW_FULL,    /* batch->text has no room left */
};

/* Fills one row from an item's values. */
typedef enum json_verdict json_row(void *owner, const struct json_item *item, const char **ret_reason);

/* Leaves out the faster parsers, of all readers: for tests and benchmarks that hold yajl against them. */
extern bool json_yajl_alone;

struct json_reader;

/* `each` is NULL or the path to the items, with [*] for all elements of an array: "events[*]". On a bad
 * path the answer is NULL and *ret_problem a static text. */
struct json_reader *json_reader_new(const char *each, const char **ret_problem);
/* A reader for a format's own table of paths, path i to values[i]; alternatives are parted by '|', and the
 * last one in the text wins. Asserts that they are good. */
struct json_reader *json_reader_of(const char *each, const char *const *paths, unsigned count);
void json_reader_free(struct json_reader *reader);

/* Items bring all their scalars too, at most 8192 in order of the text; of paths longer than 1024 bytes none.
 * For formats whose keys are not known ahead: only the slowest parser tells them. */
void json_reader_take_leaves(struct json_reader *reader);

/* The value at `path`, seen from the item, goes to values[target]. Returns NULL, or what is wrong with
 * the path as static text, and the value then stays absent. Not during a decode. */
const char *json_reader_add(struct json_reader *reader, const char *path, unsigned target);

/* The same of a value outside the items, seen from the root; told by json_reader_value once the message is
 * decoded, since it may stand behind them. Comes after every json_reader_add, with greater targets. */
const char *json_reader_add_outer(struct json_reader *reader, const char *path, unsigned target);
const struct json_value *json_reader_value(const struct json_reader *reader, unsigned target);

/* As struct format_type's decode, with `row` called once an item. An empty payload becomes a row marked
 * TOMBSTONE. */
enum status json_reader_decode(struct json_reader *reader, const struct message *message,
                               struct event_batch *batch, json_row *row, void *owner,
                               const char **ret_reason);

/* What came of a decode, from `first_row` on: a message without any good row that looks like one which no
 * format reads is refused by that name. */
enum status json_name_foreign(enum status status, const struct message *message, struct event_batch *batch,
                              uint32_t first_row, const char **ret_reason);

/* A format that is a table of paths and a function of rows: what its `open` calls, and the other two members
 * of its type. `row` gets no owner. */
enum status json_format_open(const char *const *paths, unsigned count, json_row *row,
                             struct format **ret_format);
enum status json_format_decode(struct format *format, const struct message *message,
                               struct event_batch *batch, const char **ret_reason);
void json_format_close(struct format *format);

/* A value as a text; size 0 when it is none. An id may also be a number, then these are its digits. */
struct span item_text(const struct json_item *item, unsigned target);
struct span item_first_text(const struct json_item *item, unsigned first, unsigned second);
struct span item_id(const struct json_item *item, unsigned target);

/* A row's field that stays absent when the value is missing or no time, no number, or out of range. */
void item_take_time(const struct json_item *item, unsigned target, enum time_unit unit, int64_t *column);
void item_take_number(const struct json_item *item, unsigned target, double factor, double *column);

struct json_column { /* a text or number that is copied as it is */
    unsigned target;
    enum field field; /* of texts */
};
void item_take_texts(const struct json_item *item, const struct json_column *columns, size_t count);

/* Two texts and what parts them, as the row's field. False: no room in the arena. */
bool item_join(const struct json_item *item, struct span first, char between, struct span second,
               struct span *column);

struct state_name { /* an engine's word for a state; a list of them ends with a NULL */
    const char *name;
    enum run_state state;
};
enum run_state state_of_name(const struct state_name *names, struct span name); /* STATE_NONE: not there */

/* What a value says, as the type that a field wants; numbers and times are also taken from texts. They
 * return NULL, or what is wrong ("is not a number"), and then leave the result untouched. */
const char *json_value_number(const struct json_value *value, double *ret_number);
const char *json_value_integer(const struct json_value *value, int64_t min, int64_t max,
                               int64_t *ret_integer);
const char *json_value_time(const struct json_value *value, enum time_unit unit, int64_t reference_us,
                            int64_t *ret_us);

/* Puts what a value says into the row's field or label; a time may be written in any of the forms. A
 * negative map_index is none. Returns NULL, or what is wrong with it ("is not a number"), and then leaves the
 * column as it was. Texts are not copied. */
const char *field_store(struct event_batch *batch, uint32_t row, struct field_ref ref,
                        const struct json_value *value, const struct time_form *forms, size_t form_count,
                        int64_t reference_us);

/* A reason for a malformed row, in batch->text (cut at 255 bytes); static text when there is no room. */
const char *reason_print(struct event_batch *batch, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
