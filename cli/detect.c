/* weir detect [--detector NAME] [--set key=value] [--column NAME] FILE.csv: scores one column of a CSV file
 * with one detector, every row out in order. For trying a detector on known data; the file is held in memory,
 * some 60 bytes a row beside its text. CSV is RFC 4180, with CRLF or LF; fields are echoed as they stood. */
#include "cli/detect.h"
#include "base/json_writer.h"
#include "base/memory.h"
#include "detectors/series.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { SETTINGS_MAX = 64, OUTPUT_CHUNK = 1 << 16 };

const size_t detect_file_max = (size_t)1 << 30;

static const char usage[] =
    "usage: weir detect [--detector NAME] [--set key=value] [--column NAME] FILE.csv\n"
    "       weir detect --sequences FILE.jsonl\n";

struct request {
    const char *detector, *column, *path;
    const char *assignments[SETTINGS_MAX];
    size_t assignment_count;
};

struct table {
    struct buffer text; /* the whole file; spans point into it */
    struct span *stamp, *number;
    int64_t *time_us;
    double *value;
    size_t rows, capacity;
};

struct reader {
    const char *path, *at, *end;
    size_t line; /* of `at`, from 1 */
};

struct cell {
    struct span raw, text; /* as it stood; without the quotes around it (doubled ones inside stay doubled) */
    bool last;             /* the record ends with it */
};

enum status detect_read_file(const char *path, struct buffer *out, struct error *error)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    char *room;
    size_t got;
    bool broken;

    if (!file)
        return fail(error, "%s: %s", path, strerror(errno));
    while ((room = buffer_room(out, OUTPUT_CHUNK)) && (got = fread(room, 1, OUTPUT_CHUNK, file)) > 0)
        out->size += got;
    broken = ferror(file);
    if (file != stdin)
        (void)fclose(file);
    if (broken)
        return fail(error, "%s: cannot be read", path);
    return out->full ? fail(error, "%s: larger than %zu bytes", path, detect_file_max) : STATUS_OK;
}

static enum status line_fail(const struct reader *reader, size_t line, struct error *error,
                             const char *reason, struct span text)
{
    int shown = 0;

    while ((uint32_t)shown < text.size && shown < 80 && text.data[shown] != '\n')
        shown++;
    return fail(error, "%s:%zu: %s '%.*s'", reader->path, line, reason, shown, text.size ? text.data : "");
}

/* Takes the field and the comma or line end behind it. */
static enum status next_cell(struct reader *reader, struct cell *ret_cell, struct error *error)
{
    const char *begin = reader->at, *at = begin, *end = reader->end;
    size_t first_line = reader->line;
    bool quoted = at < end && *at == '"';

    if (quoted)
        for (at++; at < end && (*at != '"' || (at + 1 < end && at[1] == '"')); at++) {
            reader->line += *at == '\n';
            at += *at == '"';
        }
    if (quoted && at++ >= end)
        return line_fail(reader, first_line, error,
                         "a quote is not closed:", span_make(begin, (size_t)(end - begin)));
    if (!quoted)
        while (at < end && *at != ',' && *at != '\n' && !(*at == '\r' && at + 1 < end && at[1] == '\n'))
            at++;
    ret_cell->raw = span_make(begin, (size_t)(at - begin));
    ret_cell->text = quoted ? span_make(begin + 1, (size_t)(at - begin - 2)) : ret_cell->raw;
    if (at < end && *at == '\r')
        at++;
    if (at < end && *at != ',' && *at != '\n')
        return line_fail(reader, reader->line, error,
                         "text after a closing quote:", span_make(begin, (size_t)(at - begin)));
    ret_cell->last = at >= end || *at == '\n';
    reader->line += at < end && *at == '\n';
    reader->at = at < end ? at + 1 : end;
    return STATUS_OK;
}

/* Whether a field's text, its doubled quotes taken as one, is this name. */
static bool cell_is(struct span text, const char *name)
{
    uint32_t at = 0;

    for (; at < text.size && *name; at++, name++) {
        at += text.data[at] == '"' && at + 1 < text.size;
        if (text.data[at] != *name)
            return false;
    }
    return at == text.size && *name == 0;
}

/* Finds the columns in the header; stamps stand under `timestamp`, else in the first column. */
static enum status read_header(struct reader *reader, const char *wanted, size_t *ret_stamp,
                               size_t *ret_value, struct error *error)
{
    size_t stamp = 0, value = SIZE_MAX;
    struct cell cell = {.last = false};

    if (reader->end - reader->at >= 3 && memcmp(reader->at, "\xef\xbb\xbf", 3) == 0)
        reader->at += 3;
    for (size_t column = 0; !cell.last; column++) {
        if (next_cell(reader, &cell, error) != STATUS_OK)
            return STATUS_FATAL;
        if (cell_is(cell.text, "timestamp"))
            stamp = column;
        else if (cell_is(cell.text, wanted))
            value = column;
    }
    if (value == SIZE_MAX)
        return fail(error, "%s:1: no column named '%s'", reader->path, wanted);
    *ret_stamp = stamp;
    *ret_value = value;
    return STATUS_OK;
}

/* An empty field and NaN are a missing value. */
static bool parse_value(struct span text, double *ret_value)
{
    char copy[64], *rest;
    double value;

    if (text.size == 0 || text.size >= sizeof copy) {
        *ret_value = NAN;
        return text.size == 0;
    }
    memcpy(copy, text.data, text.size);
    copy[text.size] = 0;
    value = strtod(copy, &rest);
    rest += strspn(rest, " \t");
    *ret_value = value;
    return rest != copy && *rest == 0 && !isinf(value);
}

static void reserve_row(struct table *table)
{
    size_t capacity;

    if (table->rows < table->capacity)
        return;
    capacity = table->capacity ? 2 * table->capacity : 4096;
    table->stamp = memory_grow(table->stamp, capacity * sizeof *table->stamp);
    table->number = memory_grow(table->number, capacity * sizeof *table->number);
    table->time_us = memory_grow(table->time_us, capacity * sizeof *table->time_us);
    table->value = memory_grow(table->value, capacity * sizeof *table->value);
    table->capacity = capacity;
}

static enum status read_row(struct reader *reader, size_t stamp_column, size_t value_column,
                            struct table *table, struct error *error)
{
    struct cell cell = {.last = false}, stamp = {.last = false}, value = {.last = false};
    size_t line = reader->line, columns = 0;

    for (; !cell.last; columns++) {
        if (next_cell(reader, &cell, error) != STATUS_OK)
            return STATUS_FATAL;
        if (columns == stamp_column)
            stamp = cell;
        if (columns == value_column)
            value = cell;
    }
    if (columns == 1 && cell.raw.size == 0)
        return STATUS_OK; /* an empty line */
    if (columns <= stamp_column || columns <= value_column)
        return line_fail(reader, line, error, "too few fields, the last is", cell.raw);
    reserve_row(table);
    if (!time_parse(stamp.text, TIME_UNIT_AUTO, 0, &table->time_us[table->rows]))
        return line_fail(reader, line, error, "not a time:", stamp.text);
    if (!parse_value(value.text, &table->value[table->rows]))
        return line_fail(reader, line, error, "not a number:", value.text);
    table->stamp[table->rows] = stamp.raw;
    table->number[table->rows] = value.raw;
    table->rows++;
    return STATUS_OK;
}

static enum status read_table(const char *path, const char *column, struct table *table, struct error *error)
{
    struct reader reader = {.path = path, .line = 1};
    size_t stamp_column = 0, value_column = 0;

    if (detect_read_file(path, &table->text, error) != STATUS_OK)
        return STATUS_FATAL;
    reader.at = table->text.data;
    reader.end = reader.at + table->text.size;
    if (read_header(&reader, column, &stamp_column, &value_column, error) != STATUS_OK)
        return STATUS_FATAL;
    while (reader.at < reader.end)
        if (read_row(&reader, stamp_column, value_column, table, error) != STATUS_OK)
            return STATUS_FATAL;
    return STATUS_OK;
}

static void free_table(struct table *table)
{
    buffer_free(&table->text);
    free(table->stamp);
    free(table->number);
    free(table->time_us);
    free(table->value);
}

static bool write_table(const struct table *table, const double *score, const uint8_t *alert)
{
    struct buffer out;

    buffer_init(&out, SIZE_MAX);
    buffer_put_text(&out, "timestamp,value,score,alert\n");
    for (size_t i = 0; i < table->rows; i++) {
        buffer_put_span(&out, table->stamp[i]);
        buffer_put_char(&out, ',');
        buffer_put_span(&out, table->number[i]);
        buffer_put_char(&out, ',');
        json_put_number(&out, score[i]);
        buffer_put_text(&out, alert[i] ? ",1\n" : ",0\n");
        if (out.size < OUTPUT_CHUNK && i + 1 < table->rows)
            continue;
        (void)fwrite(out.data, 1, out.size, stdout);
        buffer_clear(&out);
    }
    (void)fwrite(out.data, 1, out.size, stdout); /* only the header, when there are no rows */
    buffer_free(&out);
    return fflush(stdout) == 0 && !ferror(stdout);
}

static bool has_row(const struct option *rows, size_t count, const char *key)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(rows[i].name, key) == 0)
            return true;
    return false;
}

static enum status assign_one(const char *assignment, const struct option_table tables[2],
                              struct error *error)
{
    const char *equals = strchr(assignment, '=');
    const char *names[SETTINGS_MAX], *near;
    size_t count = 0;
    char key[64];

    if (!equals || (size_t)(equals - assignment) >= sizeof key)
        return fail(error, "--set needs key=value, not '%s'", assignment);
    memcpy(key, assignment, (size_t)(equals - assignment));
    key[equals - assignment] = 0;
    for (size_t t = 0; t < 2; t++) {
        if (has_row(tables[t].rows, tables[t].count, key))
            return option_assign(tables[t].rows, tables[t].count, tables[t].settings, key, equals + 1, error);
        for (size_t i = 0; i < tables[t].count && count < SETTINGS_MAX; i++)
            names[count++] = tables[t].rows[i].name;
    }
    near = nearest_name(key, names, count);
    return near ? fail(error, "--set %s: unknown key; did you mean '%s'?", key, near)
                : fail(error, "--set %s: unknown key", key);
}

static enum status assign_all(const struct request *request, const struct option_table tables[2],
                              struct error *error)
{
    if (options_read(NULL, tables, 2, error) != STATUS_OK)
        return STATUS_FATAL;
    for (size_t i = 0; i < request->assignment_count; i++)
        if (assign_one(request->assignments[i], tables, error) != STATUS_OK) {
            options_free(tables, 2);
            return STATUS_FATAL;
        }
    return STATUS_OK;
}

static int score_table(const struct table *table, const struct detector_type *type, const void *settings,
                       const struct backend_settings *backend)
{
    struct series series = {.rows = table->rows, .time_us = table->time_us, .value = table->value};
    double *score = memory_new((table->rows + 1) * sizeof *score);
    uint8_t *alert = memory_new(table->rows + 1);
    struct error error;
    int code = EXIT_DONE;

    if (detect_series(&series, type, settings, backend, score, alert, &error) != STATUS_OK) {
        (void)fprintf(stderr, "weir detect: %s\n", error.text);
        code = EXIT_USAGE;
    } else if (!write_table(table, score, alert)) {
        (void)fprintf(stderr, "weir detect: cannot write the result\n");
        code = EXIT_OUTSIDE;
    }
    free(score);
    free(alert);
    return code;
}

static int run(const struct request *request)
{
    const struct detector_type *type = detector_type_find(request->detector);
    struct backend_settings backend = {0};
    struct table table = {0};
    struct error error;
    int code;

    if (!type) {
        (void)fprintf(stderr, "weir detect: no detector named '%s'; there are:", request->detector);
        for (unsigned i = 0; detector_types[i]; i++)
            (void)fprintf(stderr, " %s", detector_types[i]->name);
        (void)fputc('\n', stderr);
        return EXIT_USAGE;
    }
    struct option_table tables[2] = {
        {.rows = type->options, .count = type->option_count, .settings = memory_new(type->settings_size)},
        {.rows = backend_options, .count = backend_option_count, .settings = &backend},
    };
    buffer_init(&table.text, detect_file_max);
    if (assign_all(request, tables, &error) != STATUS_OK) {
        (void)fprintf(stderr, "weir detect: %s\n", error.text);
        free(tables[0].settings);
        return EXIT_USAGE;
    }
    if (read_table(request->path, request->column, &table, &error) == STATUS_OK) {
        code = score_table(&table, type, tables[0].settings, &backend);
    } else {
        (void)fprintf(stderr, "weir detect: %s\n", error.text);
        code = EXIT_OUTSIDE;
    }
    free_table(&table);
    options_free(tables, 2);
    free(tables[0].settings);
    return code;
}

/* The value of "--name value" or "--name=value"; steps *at to the last argument used. NULL: another option or
 * no value. */
static const char *option_value(int argc, char **argv, int *at, const char *name)
{
    const char *argument = argv[*at];
    size_t size = strlen(name);

    assert(argument); /* argv ends with NULL, behind argc */
    if (strncmp(argument, name, size) != 0)
        return NULL;
    if (argument[size] == '=')
        return argument + size + 1;
    if (argument[size] != 0 || *at + 1 >= argc)
        return NULL;
    ++*at;
    assert(argv[*at]);
    return argv[*at];
}

static bool parse_arguments(int argc, char **argv, struct request *ret_request)
{
    struct request request = {.detector = "auto", .column = "value"};
    const char *value;

    for (int i = 1; i < argc; i++) {
        assert(argv[i]);
        if ((value = option_value(argc, argv, &i, "--detector")))
            request.detector = value;
        else if ((value = option_value(argc, argv, &i, "--column")))
            request.column = value;
        else if (request.assignment_count < SETTINGS_MAX && (value = option_value(argc, argv, &i, "--set")))
            request.assignments[request.assignment_count++] = value;
        else if (!request.path && (argv[i][0] != '-' || argv[i][1] == 0))
            request.path = argv[i];
        else
            return false;
    }
    *ret_request = request;
    return request.path != NULL;
}

int cli_detect(int argc, char **argv)
{
    struct request request;

    if (argc == 3 && strcmp(argv[1], "--sequences") == 0)
        return detect_sequences(argv[2]);
    if (!parse_arguments(argc, argv, &request)) {
        (void)fputs(usage, stderr);
        return EXIT_USAGE;
    }
    return run(&request);
}
