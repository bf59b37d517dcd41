/* weir templates [--values] [--state FILE] FILE: the template of each line of a log. The file is read
 * twice, first to learn and then to tell each line's final template, so that memory does not grow with it;
 * what is not a regular file is copied to a temporary one. Text lines are numbered from 1; a file whose
 * first line names the columns `line_id` and `content` is CSV (RFC 4180). */
#include "detectors/templates.h"
#include "base/json_writer.h"
#include "base/memory.h"
#include "cli/commands.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { RECORD_MAX = 1 << 20, OUTPUT_CHUNK = 1 << 16, COLUMNS_MAX = 256, ENDINGS = 1024 };

static const size_t state_bytes_max = (size_t)64 << 20;

static const char usage[] = "usage: weir templates [--values] [--state FILE] FILE\n";

struct request {
    const char *path, *state;
    bool values;
};

struct reader {
    const char *path;
    FILE *file;
    char *data; /* RECORD_MAX */
    size_t at, size;
    bool ended, skipping; /* skipping: the rest of a line that is too long */
    uint64_t line, lines; /* of the record, from 1; those it has */
    bool csv;
    unsigned id_column, content_column;
};

struct record {
    struct span id, content; /* in the reader's buffer, until the next one */
};

/* The size of the first record, newline included; 0: its end is not in the buffer. */
static size_t record_size(struct reader *reader)
{
    const char *data = reader->data + reader->at;
    size_t size = reader->size - reader->at;
    bool quoted = false;

    reader->lines = 1;
    if (!reader->csv) {
        const char *newline = memchr(data, '\n', size);
        return newline ? (size_t)(newline - data) + 1 : 0;
    }
    for (size_t i = 0; i < size; i++) {
        quoted ^= data[i] == '"';
        if (data[i] != '\n')
            continue;
        if (!quoted)
            return i + 1;
        reader->lines++;
    }
    return 0;
}

static bool read_more(struct reader *reader)
{
    assert(reader->data);
    memmove(reader->data, reader->data + reader->at, reader->size - reader->at);
    reader->size -= reader->at;
    reader->at = 0;
    if (reader->ended || reader->size == RECORD_MAX)
        return false;
    size_t got = fread(reader->data + reader->size, 1, RECORD_MAX - reader->size, reader->file);
    reader->size += got;
    reader->ended = got == 0;
    return got > 0;
}

/* The next line or CSV record, without its end. STATUS_SKIP: there is none. Of a text line that is too
 * long the beginning. */
static enum status next_text(struct reader *reader, struct span *ret_text, struct error *error)
{
    size_t size;

    reader->line += reader->lines;
    for (;;) {
        while ((size = record_size(reader)) == 0 && read_more(reader))
            ;
        if (size == 0)
            size = reader->size - reader->at;
        if (size == 0)
            return ferror(reader->file) ? fail(error, "%s: cannot be read", reader->path) : STATUS_SKIP;
        char *text = reader->data + reader->at;
        bool whole = text[size - 1] == '\n' || reader->ended;
        bool skipped = reader->skipping;
        if (!whole && reader->csv)
            return fail(error, "%s:%" PRIu64 ": a record of more than %d bytes; is a quote not closed?",
                        reader->path, reader->line, (int)RECORD_MAX);
        reader->at += size;
        reader->skipping = !whole;
        if (skipped)
            continue;
        size -= text[size - 1] == '\n';
        size -= size && text[size - 1] == '\r';
        *ret_text = span_make(text, size);
        return STATUS_OK;
    }
}

/* Takes a field off the record, its quotes undone in place; false: a quote is not closed or text follows
 * it. */
static bool take_field(char **at, const char *end, struct span *ret_field)
{
    char *from = *at, *to = from, *out = from;
    bool quoted = from < end && *from == '"';

    if (quoted)
        for (to++; to < end && (*to != '"' || (to + 1 < end && to[1] == '"')); to++) {
            to += *to == '"';
            *out++ = *to;
        }
    if (quoted && to++ >= end)
        return false;
    while (!quoted && to < end && *to != ',')
        to++;
    *ret_field = span_make(from, (size_t)((quoted ? out : to) - from));
    if (to < end && *to != ',')
        return false;
    *at = to + 1;
    return true;
}

/* Whether the first line names the columns; it is not used up otherwise. */
static bool is_header(struct reader *reader)
{
    char copy[256], *at = copy, *end;
    size_t size = reader->size < sizeof copy ? reader->size : sizeof copy;
    const char *newline = memchr(reader->data, '\n', size);
    unsigned found = 0;
    struct span field;

    if (!newline)
        return false;
    size = (size_t)(newline - reader->data);
    size -= size && reader->data[size - 1] == '\r';
    memcpy(copy, reader->data, size);
    end = copy + size;
    if (size >= 3 && memcmp(copy, "\xef\xbb\xbf", 3) == 0)
        at += 3;
    for (unsigned column = 0; at <= end && take_field(&at, end, &field); column++) {
        if (span_is(field, "line_id"))
            reader->id_column = column, found |= 1;
        else if (span_is(field, "content"))
            reader->content_column = column, found |= 2;
    }
    return found == 3;
}

static struct span put_digits(uint64_t value, char number[24])
{
    size_t at = 24;

    do
        number[--at] = (char)('0' + value % 10);
    while ((value /= 10) != 0);
    return span_make(number + at, 24 - at);
}

static enum status next_record(struct reader *reader, char number[24], struct record *ret_record,
                               struct error *error)
{
    struct span text = {0}, field;
    enum status status = next_text(reader, &text, error);
    unsigned found = 0;

    if (status != STATUS_OK)
        return status;
    if (!reader->csv) {
        *ret_record = (struct record){.id = put_digits(reader->line, number), .content = text};
        return STATUS_OK;
    }
    char *at = reader->data + (text.data - reader->data), *end = at + text.size;
    for (unsigned column = 0; at <= end && column < COLUMNS_MAX; column++) {
        if (!take_field(&at, end, &field))
            return fail(error, "%s:%" PRIu64 ": a quote is not closed, or text follows it", reader->path,
                        reader->line);
        if (column == reader->id_column)
            ret_record->id = field, found |= 1;
        else if (column == reader->content_column)
            ret_record->content = field, found |= 2;
    }
    if (found != 3)
        return fail(error, "%s:%" PRIu64 ": too few fields", reader->path, reader->line);
    return STATUS_OK;
}

static void rewind_reader(struct reader *reader)
{
    rewind(reader->file);
    reader->at = reader->size = reader->line = 0;
    reader->lines = 1;
    reader->ended = reader->skipping = false;
    (void)read_more(reader);
    reader->csv = is_header(reader);
    if (reader->csv) {
        reader->at = record_size(reader);
        reader->line = 1;
    }
}

static enum status copy_to_file(struct reader *reader, struct error *error)
{
    FILE *copy = tmpfile();
    bool good = copy != NULL;
    size_t got;

    while (good && (got = fread(reader->data, 1, RECORD_MAX, reader->file)) > 0)
        good = fwrite(reader->data, 1, got, copy) == got;
    bool broken = ferror(reader->file);
    if (reader->file != stdin)
        (void)fclose(reader->file);
    reader->file = copy;
    if (!good || fflush(copy) != 0)
        return fail(error, "%s: cannot be copied to a temporary file: %s", reader->path, strerror(errno));
    return broken ? fail(error, "%s: cannot be read", reader->path) : STATUS_OK;
}

static enum status open_reader(struct reader *reader, const char *path, struct error *error)
{
    struct stat status;

    *reader = (struct reader){.path = path, .file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb")};
    if (!reader->file || fstat(fileno(reader->file), &status) != 0)
        return fail(error, "%s: %s", path, strerror(errno));
    if (S_ISDIR(status.st_mode))
        return fail(error, "%s: is a folder", path);
    reader->data = memory_new(RECORD_MAX);
    return S_ISREG(status.st_mode) ? STATUS_OK : copy_to_file(reader, error);
}

static enum status load_state(struct templates *templates, const char *path, struct error *error)
{
    FILE *file = fopen(path, "rb");
    struct buffer saved;
    struct error reason;
    char *room;
    size_t got;

    if (!file)
        return errno == ENOENT ? STATUS_OK : fail(error, "%s: %s", path, strerror(errno));
    buffer_init(&saved, state_bytes_max);
    while ((room = buffer_room(&saved, OUTPUT_CHUNK)) && (got = fread(room, 1, OUTPUT_CHUNK, file)) > 0)
        saved.size += got;
    (void)fclose(file);
    enum status status = templates_restore(templates, buffer_span(&saved), &reason);
    if (status != STATUS_OK)
        (void)fail(error, "%s: %s", path, reason.text);
    buffer_free(&saved);
    return status;
}

/* Beside it first, so that a half one is never left in its place. */
static enum status store_state(const struct templates *templates, const char *path, struct error *error)
{
    struct buffer saved, beside;

    buffer_init(&saved, state_bytes_max);
    buffer_init(&beside, 4096 + 8);
    templates_save(templates, &saved);
    buffer_print(&beside, "%s.new", path);
    buffer_put_char(&beside, 0);
    FILE *file = beside.full ? NULL : fopen(beside.data, "wb");
    bool good = file && fwrite(saved.data, 1, saved.size, file) == saved.size;
    good = file && fclose(file) == 0 && good && rename(beside.data, path) == 0;
    buffer_free(&saved);
    buffer_free(&beside);
    return good ? STATUS_OK : fail(error, "%s: cannot be written: %s", path, strerror(errno));
}

static enum status learn(struct reader *reader, struct templates *templates, struct error *error)
{
    struct skeleton skeleton;
    struct record record = {0};
    enum status status;
    char number[24];
    bool is_new;

    rewind_reader(reader);
    while ((status = next_record(reader, number, &record, error)) == STATUS_OK) {
        skeleton_make(record.content, &skeleton);
        (void)templates_learn(templates, &skeleton, 1, &is_new);
    }
    return status == STATUS_SKIP ? STATUS_OK : status;
}

static void put_field(struct buffer *out, struct span text)
{
    bool plain = true;

    for (uint32_t i = 0; i < text.size; i++)
        plain &= text.data[i] != '"' && text.data[i] != ',' && text.data[i] != '\n' && text.data[i] != '\r';
    if (plain) {
        buffer_put_span(out, text);
        return;
    }
    buffer_put_char(out, '"');
    for (uint32_t i = 0; i < text.size; i++) {
        if (text.data[i] == '"')
            buffer_put_char(out, '"');
        buffer_put_char(out, text.data[i]);
    }
    buffer_put_char(out, '"');
}

static void put_values(struct buffer *out, struct buffer *scratch, const struct log_template *template,
                       const struct skeleton *skeleton, struct span line)
{
    struct span values[SKELETON_TOKENS_MAX];
    unsigned count = template_values(template, skeleton, line, values);
    struct json_writer json;

    buffer_clear(scratch);
    json_begin(&json, scratch);
    json_open_list(&json, NULL);
    for (unsigned i = 0; i < count; i++)
        json_text(&json, NULL, values[i]);
    json_close_list(&json);
    buffer_put_char(out, ',');
    put_field(out, buffer_span(scratch));
}

/* The fields of a template as they stand in each of its lines: made once, as nothing changes any more. */
struct ending {
    uint64_t id; /* 0: free */
    struct buffer text;
};

static void make_ending(struct ending *ending, struct buffer *scratch, const struct log_template *template)
{
    if (!ending->text.limit)
        buffer_init(&ending->text, SIZE_MAX);
    ending->id = template_id(template);
    buffer_clear(&ending->text);
    buffer_clear(scratch);
    buffer_print(&ending->text, ",%016" PRIx64 ",", ending->id);
    template_text(template, scratch);
    put_field(&ending->text, buffer_span(scratch));
}

struct output {
    struct templates *templates;
    bool values;
    struct ending endings[ENDINGS]; /* by id */
    struct buffer out, scratch;
};

static void put_line(struct output *output, const struct record *record)
{
    struct skeleton skeleton;
    bool is_new;

    skeleton_make(record->content, &skeleton);
    const struct log_template *template = templates_find(output->templates, &skeleton);
    bool evicted = !template;
    if (evicted)
        template = templates_learn(output->templates, &skeleton, 1, &is_new);
    struct ending *ending = &output->endings[template_id(template) % ENDINGS];
    if (evicted || ending->id != template_id(template))
        make_ending(ending, &output->scratch, template);
    if (evicted) /* others may have changed */
        for (unsigned i = 0; i < ENDINGS; i++)
            output->endings[i].id = 0;
    put_field(&output->out, record->id);
    buffer_put_span(&output->out, buffer_span(&ending->text));
    if (output->values)
        put_values(&output->out, &output->scratch, template, &skeleton, record->content);
    buffer_put_char(&output->out, '\n');
}

static bool write_lines(struct buffer *out)
{
    bool good = fwrite(out->data, 1, out->size, stdout) == out->size;

    buffer_clear(out);
    return good;
}

static enum status tell(struct reader *reader, struct templates *templates, bool values, struct error *error)
{
    struct output *output = memory_new(sizeof *output);
    struct record record = {0};
    enum status status;
    char number[24];
    bool good = true;

    output->templates = templates;
    output->values = values;
    buffer_init(&output->out, SIZE_MAX);
    buffer_init(&output->scratch, SIZE_MAX);
    buffer_put_text(&output->out,
                    values ? "line_id,template_id,template,values\n" : "line_id,template_id,template\n");
    rewind_reader(reader);
    while ((status = next_record(reader, number, &record, error)) == STATUS_OK && good) {
        put_line(output, &record);
        if (output->out.size >= OUTPUT_CHUNK)
            good = write_lines(&output->out);
    }
    good = good && write_lines(&output->out) && fflush(stdout) == 0;
    for (unsigned i = 0; i < ENDINGS; i++)
        buffer_free(&output->endings[i].text);
    buffer_free(&output->out);
    buffer_free(&output->scratch);
    free(output);
    if (status == STATUS_FATAL)
        return status;
    return good ? STATUS_OK : fail(error, "cannot write the result");
}

static enum status run(const struct request *request, struct templates *templates, struct reader *reader,
                       struct error *error)
{
    if (request->state && load_state(templates, request->state, error) != STATUS_OK)
        return STATUS_FATAL;
    if (open_reader(reader, request->path, error) != STATUS_OK ||
        learn(reader, templates, error) != STATUS_OK)
        return STATUS_FATAL;
    if (request->state && store_state(templates, request->state, error) != STATUS_OK)
        return STATUS_FATAL;
    return tell(reader, templates, request->values, error);
}

static bool parse_arguments(int argc, char **argv, struct request *ret_request)
{
    struct request request = {0};

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--values") == 0)
            request.values = true;
        else if (strcmp(argv[i], "--state") == 0 && i + 1 < argc)
            request.state = argv[++i];
        else if (!request.path && (argv[i][0] != '-' || argv[i][1] == 0))
            request.path = argv[i];
        else
            return false;
    }
    *ret_request = request;
    return request.path != NULL;
}

int cli_templates(int argc, char **argv)
{
    struct request request;
    struct reader reader = {0};
    struct error error;

    if (!parse_arguments(argc, argv, &request)) {
        (void)fputs(usage, stderr);
        return EXIT_USAGE;
    }
    struct templates *templates = templates_new(TEMPLATES_LIMIT_DEFAULT);
    enum status status = run(&request, templates, &reader, &error);
    if (status != STATUS_OK)
        (void)fprintf(stderr, "weir templates: %s\n", error.text);
    templates_free(templates);
    free(reader.data);
    if (reader.file && reader.file != stdin)
        (void)fclose(reader.file);
    return status == STATUS_OK ? EXIT_DONE : EXIT_OUTSIDE;
}
