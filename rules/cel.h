/* CEL, the Common Expression Language (google/cel-spec): parse, check, compile, run. Left out on purpose:
 * protobuf messages, optional values and user-defined functions; docs/cel.md lists what there is. A program
 * is immutable and may be run by many threads at once, each with an arena of its own. */
#pragma once
#include "base/arena.h"
#include "base/buffer.h"
#include "base/status.h"
#include "schemas/event.h"

enum cel_type {
    CEL_DYN,
    CEL_NULL,
    CEL_BOOL,
    CEL_INT,
    CEL_UINT,
    CEL_DOUBLE,
    CEL_STRING,
    CEL_BYTES,
    CEL_DURATION,
    CEL_TIMESTAMP,
    CEL_LIST,
    CEL_MAP,
    CEL_TYPE,
    CEL_ERROR,
};

struct cel_list;

struct cel_value {
    enum cel_type type;
    union {
        bool boolean;
        int64_t integer;
        uint64_t uinteger;
        double number;
        struct span text; /* string, bytes; error: its message; type: its name */
        struct {
            int64_t seconds; /* duration, timestamp: seconds and 0..999999999 nanoseconds */
            int32_t nanos;
        } time;
        const struct cel_list *list; /* list; map: keys and values in turn */
    };
};

struct cel_variable {
    const char *name;   /* may hold dots: "slow.score" is then found by select */
    enum cel_type type; /* CEL_DYN: known only when run */
};

/* Borrowed by cel_compile only, but the names in label_names stay with the pipeline. labels: labels.NAME and
 * has(labels.NAME) are allowed; names met are added to label_names when there is room. strict: as cel-spec's
 * conformance suite runs CEL, for `weir eval`: int literals stay ints beside doubles, and an unknown name or
 * a wrong type is an error only where it is evaluated. */
struct cel_environment {
    const struct cel_variable *variables;
    size_t count;
    bool labels, strict;
    struct label_names *label_names;
};

struct cel_program;

/* `want` CEL_DYN: any result type; CEL_DOUBLE takes int and uint too, converted. An error names line and
 * column from 1 within the text: "2:14: unknown name 'stat'; did you mean 'state'?". Limits: 16 KiB of text,
 * nesting 64, 1024 nodes. */
enum status cel_compile(struct span text, const struct cel_environment *environment, enum cel_type want,
                        struct cel_program **ret_program, struct error *ret_error);
void cel_free(struct cel_program *program);
enum cel_type cel_result_type(const struct cel_program *program);

/* Does the program read this variable? (by index in the environment) */
bool cel_reads(const struct cel_program *program, size_t variable);

/* One evaluation: values[i] belongs to variable i of the environment (a label NAME: label_values[column],
 * size 0 absent). The result may point into the arena, the program or the values. An evaluation error is a
 * value of type CEL_ERROR. */
struct cel_value cel_run(const struct cel_program *program, const struct cel_value *values,
                         const struct span *label_values, struct arena *arena);

/* Over the columns of a batch. The environment is `cel_event_environment`. Rows whose mark is not MARK_OK are
 * left alone. An absent text is "", an absent number NaN. An evaluation error counts as false (bool) or NaN
 * (number); *errors counts them. The environment is made at load, before threads are started. */
void cel_event_environment(struct label_names *labels, struct cel_environment *ret_environment);
void cel_filter(const struct cel_program *program, struct event_batch *batch, uint8_t *ret_true,
                uint64_t *errors);
void cel_filter_rows(const struct cel_program *program, struct event_batch *batch, const uint16_t *rows,
                     uint32_t count, uint8_t *ret_true, uint64_t *errors); /* of rows[i] in ret_true[i] */
void cel_numbers(const struct cel_program *program, struct event_batch *batch, double *ret_values,
                 uint64_t *errors);

/* One row, any result type: for `set` of text fields and templates. */
struct cel_value cel_row(const struct cel_program *program, struct event_batch *batch, uint32_t row);

/* For tests and `weir eval`: a typed value ("int", 1) from JSON, and back as {"int":1}; types and forms as in
 * documents.md, besides null, type, list (of typed values) and map (of [key,value]), which are only
 * written. */
enum status cel_value_from_json(struct span type, struct span json, struct arena *arena,
                                struct cel_value *ret_value, struct error *ret_error);
void cel_value_to_json(const struct cel_value *value, struct buffer *out);

/* One line {"expr","bindings":{name:{type:value}}} of JSON; other keys are ignored. Appends one answer
 * without a newline: {"value":{type:v}}, or {"error":text} for a bad line, expression or evaluation, which is
 * STATUS_SKIP; *out is then whole too. */
enum status cel_eval_case(struct span json_line, struct buffer *out);

/* The same for an expression and `count` bindings "name=JSON", JSON being {type:value}. */
enum status cel_eval_expression(struct span expr, const struct span *bindings, size_t count,
                                struct buffer *out, bool *ret_error);
