/* Inside of the CEL engine: the checked tree and what its files share. Nothing outside rules/ includes this.
 *
 * text -> cel_lexer.c -> cel_parser.c -> tree -> cel_checker.c -> checked tree -> cel_run.c (one row)
 *                                                                              -> cel_columns.c (a batch)
 * The functions are rows of one table in cel_functions.c. */
#pragma once
#include "rules/cel.h"

#include <stdatomic.h>

enum {
    CEL_TEXT_MAX = 16 * 1024,
    CEL_NESTING_MAX = 64,
    CEL_NODES_MAX = 1024,
    CEL_LOCALS_MAX = 8,      /* macros inside macros */
    CEL_ARGUMENTS_MAX = 4,   /* with the receiver */
    CEL_COST_MAX = 1 << 20,  /* of one evaluation: calls, macro bodies, and a little for long arguments */
    CEL_LIST_DEPTH_MAX = 80, /* lists within lists */
    CEL_LIST_WEIGHT_MAX = 1 << 14,
    CEL_PROGRAM_BYTES = 1 << 20,
    CEL_ZONES_MAX = 64,   /* time zones that one program reads at run time */
    CEL_NUMBER_SIZE = 32, /* a double as text, with its null byte */
    CEL_TIME_SIZE = 40,   /* a timestamp or duration as text, with its null byte */
};

struct cel_list {
    uint32_t count;  /* a map holds key, value, key, value: twice its size */
    uint32_t weight; /* values in it and in its lists, shared ones counted each time: what walking it costs */
    uint32_t depth;
    struct cel_value items[];
};

struct zone;
struct regex;
struct cel_call;

/* the table of functions: cel_functions.c */

enum cel_form { FORM_OPERATOR, FORM_GLOBAL, FORM_METHOD };

typedef struct cel_value cel_implementation(const struct cel_call *call);

/* Looks once, at compile, at a last argument that is a text literal: a pattern, a time zone. */
typedef enum status cel_preparation(struct cel_program *program, struct span literal,
                                    const void **ret_prepared, struct error *ret_error);

struct cel_function {
    const char *name;
    enum cel_form form;
    uint8_t count;                         /* of arguments, the receiver first */
    uint16_t arguments[CEL_ARGUMENTS_MAX]; /* sets of 1 << enum cel_type */
    enum cel_type result;
    cel_implementation *call;
    cel_preparation *prepare; /* or NULL */
};

struct cel_call {
    const struct cel_value *arguments;
    unsigned count;
    struct arena *arena;
    const struct cel_program *program;
    const void *prepared; /* what `prepare` gave, NULL when the argument is no literal */
};

/* Rows of one name and form stand together; *ret_count is 0 when there are none. */
const struct cel_function *cel_function_find(struct span name, enum cel_form form, unsigned *ret_count);
const char *cel_function_nearest(struct span name);
bool cel_function_takes(const struct cel_function *function, unsigned count, const enum cel_type *types);

/* the tree */

enum expr_kind {
    EXPR_LITERAL, /* also an error that `strict` puts off until it is run */
    EXPR_NAME,    /* not yet looked up; none are left in a checked tree */
    EXPR_VARIABLE,
    EXPR_LOCAL,
    EXPR_LABEL,
    EXPR_HAS_LABEL,
    EXPR_SELECT,
    EXPR_HAS,
    EXPR_CALL,
    EXPR_AND,
    EXPR_OR,
    EXPR_CONDITIONAL,
    EXPR_LIST,
    EXPR_MAP,
    EXPR_MACRO,
};

enum macro { MACRO_ALL, MACRO_EXISTS, MACRO_EXISTS_ONE, MACRO_FILTER, MACRO_MAP };

struct expr {
    enum expr_kind kind;
    enum cel_type type;   /* known before it is run, CEL_DYN when not */
    uint32_t at;          /* byte of the text, for messages */
    uint16_t first, next; /* child; sibling; 0 is none */
    uint16_t count;       /* children */
    uint16_t slot;        /* variable, local, label column */
    enum macro macro;     /* children: list, [condition,] body; `name` is the local */
    enum cel_form form;   /* of a call */
    struct span name;     /* of a name, field, function */
    struct cel_value literal;
    const struct cel_function *functions; /* of a call: the rows that may fit */
    unsigned function_count;
    const void *prepared;
};

struct column_step;

struct cel_program {
    struct arena arena; /* texts, folded constants, column plan */
    struct span text;
    struct expr *exprs; /* [0] is unused */
    size_t expr_count, expr_capacity;
    uint16_t root;
    bool *reads;          /* by variable */
    uint64_t label_reads; /* by label column */
    size_t variable_count;
    struct regex *regexes;
    struct zone *_Atomic zones; /* grows while run: newest first, only ever pushed */
    struct column_step *steps;  /* by expr; NULL: not over events */
};

/* cel_lexer.c */

enum token_type { TOKEN_END, TOKEN_NAME, TOKEN_QUOTED_NAME, TOKEN_INTEGER, TOKEN_LITERAL, TOKEN_SYMBOL };

struct token {
    enum token_type type;
    struct span text;
    uint32_t at;
    uint64_t magnitude;       /* integer: without its sign, so that the least int can be written */
    struct cel_value literal; /* string, bytes, uint, double */
};

struct lexer {
    struct span text;
    uint32_t at;
    struct arena *arena;
    struct error *error;
};

bool lexer_next(struct lexer *lexer, struct token *ret_token);

/* "LINE:COLUMN: reason"; returns STATUS_FATAL. */
enum status cel_fail_at(struct span text, uint32_t at, struct error *ret_error, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* cel_parser.c, cel_checker.c, cel_run.c, cel_columns.c */

enum status cel_parse(struct cel_program *program, struct error *ret_error);
enum status cel_check(struct cel_program *program, const struct cel_environment *environment,
                      enum cel_type want, struct error *ret_error);

struct frame {
    const struct cel_program *program;
    const struct cel_value *values;
    const struct span *labels;
    struct arena *arena;
    uint64_t cost;
    struct cel_value locals[CEL_LOCALS_MAX];
};

struct cel_value cel_evaluate(struct frame *frame, uint16_t index);

/* cel_columns.c: what the loop of one node does */

enum column_work {
    WORK_ROWS, /* no loop fits: row by row */
    WORK_AND,
    WORK_OR,
    WORK_NOT,
    WORK_CONSTANT,
    WORK_CODE,
    WORK_TEXT,
    WORK_COMPARE,
    WORK_FIELD, /* from here on numbers */
    WORK_NUMBER,
    WORK_ARITHMETIC,
    WORK_NEGATE,
};

enum text_test { TEXT_EQUAL, TEXT_UNEQUAL, TEXT_IN, TEXT_STARTS, TEXT_ENDS, TEXT_CONTAINS };
enum comparison {
    COMPARE_LESS,
    COMPARE_LESS_EQUAL,
    COMPARE_GREATER,
    COMPARE_GREATER_EQUAL,
    COMPARE_EQUAL,
    COMPARE_UNEQUAL
};

struct column_step {
    enum column_work work;
    struct field_ref column; /* text, number or code read */
    enum text_test test;
    const struct cel_value *texts; /* constants of a text test */
    uint32_t text_count;
    enum comparison comparison;
    char symbol;     /* + - * / */
    unsigned height; /* of a tree of numbers */
    double number;
    uint8_t answers[STATE_COUNT]; /* by code: 0 false, 1 true, 2 error */
};

bool cel_is_event_environment(const struct cel_environment *environment);
void cel_columns_plan(struct cel_program *program);

/* A text column against constants, in a program of any environment; for those other than of events
 * `column.field` is the variable's number. */
bool cel_text_test(const struct cel_program *program, const struct expr *expr, struct column_step *ret_step);
const struct span *cel_text_column(const struct event_batch *batch, struct field_ref column);
void cel_field_numbers(const struct event_batch *batch, enum field field, const uint16_t *rows,
                       uint32_t count, double *ret_numbers);

/* cel_values.c */

extern const char *const cel_type_names[CEL_ERROR + 1];

struct cel_value cel_error(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
struct cel_value cel_no_room(void);
bool cel_equal(const struct cel_value *a, const struct cel_value *b);

/* -1, 0, 1, or CEL_UNORDERED (a NaN, or types that have no order). */
enum { CEL_UNORDERED = 2 };
int cel_order(const struct cel_value *a, const struct cel_value *b);

const struct cel_value *cel_map_find(const struct cel_list *map,
                                     const struct cel_value *key);  /* NULL: absent */
struct cel_list *cel_list_new(struct arena *arena, uint32_t count); /* NULL: no room */

/* The filled list (or NULL) as a value: weighs it; an error when it is too heavy or too deep to be walked. */
struct cel_value cel_list_done(enum cel_type type, struct cel_list *list);
struct cel_value cel_index(const struct cel_value *container, const struct cel_value *key,
                           struct arena *arena);

/* The shortest of %.15g to %.17g that reads back equal; NaN, Infinity, -Infinity. */
size_t cel_number_format(double number, char ret_text[CEL_NUMBER_SIZE]);
bool cel_number_parse(struct span text, double *ret_number);
bool cel_integer_parse(struct span text, int64_t *ret_integer);
bool cel_unsigned_parse(struct span text, uint64_t *ret_integer);

/* Bytes of the code point at `data`, 0 when they are not UTF-8. */
unsigned cel_utf8_length(const char *data, size_t size);
bool cel_utf8_valid(struct span text);
uint32_t cel_utf8_count(struct span text);

static inline struct cel_value cel_bool(bool value)
{
    return (struct cel_value){.type = CEL_BOOL, .boolean = value};
}

static inline struct cel_value cel_int(int64_t value)
{
    return (struct cel_value){.type = CEL_INT, .integer = value};
}

static inline struct cel_value cel_uint(uint64_t value)
{
    return (struct cel_value){.type = CEL_UINT, .uinteger = value};
}

static inline struct cel_value cel_double(double value)
{
    return (struct cel_value){.type = CEL_DOUBLE, .number = value};
}

static inline struct cel_value cel_string(struct span value)
{
    return (struct cel_value){.type = CEL_STRING, .text = value};
}

static inline bool cel_is_true(struct cel_value value)
{
    return value.type == CEL_BOOL && value.boolean;
}

static inline bool cel_is_false(struct cel_value value)
{
    return value.type == CEL_BOOL && !value.boolean;
}

/* cel_times.c: years 1 to 9999; durations as int64 nanoseconds, about 292 years */

bool cel_timestamp_parse(struct span text, struct cel_value *ret_value);
bool cel_timestamp_make(int64_t seconds, int32_t nanos, struct cel_value *ret_value);
bool cel_duration_parse(struct span text, struct cel_value *ret_value);
struct cel_value cel_timestamp_from_us(int64_t time_us); /* TIME_NONE: the first moment of year 1 */
size_t cel_time_format(const struct cel_value *value,
                       char ret_text[CEL_TIME_SIZE]); /* timestamp or duration */

/* cel_zones.c */

/* Seconds east of UTC at that moment. False when there is no such zone. `prepared` may be NULL. */
bool zone_offset(const struct cel_program *program, const struct zone *prepared, struct span name,
                 int64_t seconds, int32_t *ret_offset);
cel_preparation zone_prepare;
void zones_free(struct cel_program *program);

/* cel_regexes.c */

cel_preparation regex_prepare;
void regexes_free(struct regex *regexes);
cel_implementation string_matches;

/* implementations that the table names, by file */

cel_implementation convert_bool, convert_bytes, convert_double, convert_dyn, convert_duration, convert_int,
    convert_string, convert_timestamp, convert_type, convert_uint; /* cel_conversions.c */

cel_implementation string_char_at, string_contains, string_ends_with, string_index_of, string_join,
    string_last_index_of, string_lower, string_quote, string_replace, string_reverse, string_split,
    string_starts_with, string_substring, string_trim, string_upper; /* cel_strings.c */
struct cel_value cel_concatenate(struct arena *arena, enum cel_type type, struct span a, struct span b);

cel_implementation string_format; /* cel_formats.c */

cel_implementation timestamp_add, timestamp_subtract, timestamp_difference, duration_add, duration_subtract,
    duration_negate, duration_hours, duration_minutes, duration_seconds, duration_milliseconds,
    timestamp_date, timestamp_day_of_month, timestamp_day_of_week, timestamp_day_of_year, timestamp_full_year,
    timestamp_hours, timestamp_milliseconds, timestamp_minutes, timestamp_month,
    timestamp_seconds; /* cel_times.c */
