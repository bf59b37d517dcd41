/* Runs once a record of several lines, over its lines. */
#include "ingest/trace.h"

#include <ctype.h>

struct trace {
    uint32_t start;    /* bytes before it in the text */
    struct span error; /* the line that names the exception; empty when none does */
    struct span type;  /* its class */
};

static bool next_line(struct span text, uint32_t *at, struct span *ret_line)
{
    if (*at >= text.size)
        return false;
    const char *start = text.data + *at;
    const char *newline = memchr(start, '\n', text.size - *at);
    *ret_line = span_make(start, newline ? (size_t)(newline - start) : text.size - *at);
    *at += ret_line->size + 1;
    return true;
}

static uint32_t indent_of(struct span line)
{
    uint32_t indent = 0;

    while (indent < line.size && (line.data[indent] == ' ' || line.data[indent] == '\t'))
        indent++;
    return indent;
}

static bool begins_at(struct span line, uint32_t at, const char *beginning)
{
    size_t size = strlen(beginning);

    return line.size - at >= size && memcmp(line.data + at, beginning, size) == 0;
}

/* "java.io.IOException: no such file", "ValueError", "app.Errors$Gone: x": the class, or nothing. */
static struct span class_of(struct span line)
{
    uint32_t size = 0;

    while (size < line.size && (isalnum((unsigned char)line.data[size]) || line.data[size] == '_' ||
                                line.data[size] == '.' || line.data[size] == '$'))
        size++;
    bool is_class = size > 0 && !isdigit((unsigned char)line.data[0]) && line.data[size - 1] != '.' &&
                    (size == line.size || line.data[size] == ':');
    return is_class ? span_make(line.data, size) : (struct span){0};
}

static void name_error(struct trace *trace, struct span line)
{
    uint32_t indent = indent_of(line);
    struct span rest = span_make(line.data + indent, line.size - indent);
    struct span type = class_of(rest);

    if (type.size == 0)
        return;
    trace->error = rest;
    trace->type = type;
}

/* "failed: x" is no exception, "java.io.IOException: x" and "TypeError: x" are. */
static bool names_exception(struct span line)
{
    struct span type = class_of(line);

    for (uint32_t i = 0; i < type.size; i++)
        if (type.data[i] == '.' ||
            (i > 0 && (begins_at(type, i, "Error") || begins_at(type, i, "Exception"))))
            return true;
    return false;
}

/* From its "Traceback" line on: frames are indented, and the first line that is not tells the exception. Of
 * several the last one counts. */
static void read_python(struct span text, struct trace *trace)
{
    uint32_t at = trace->start, margin = 0;
    bool within = false;
    struct span line;

    while (next_line(text, &at, &line)) {
        uint32_t indent = indent_of(line);

        if (begins_at(line, indent, "Traceback (most recent call last):")) {
            within = true;
            margin = indent;
        } else if (within && indent <= margin && indent < line.size) {
            within = false;
            name_error(trace, line);
        }
    }
}

static bool trace_find(struct span text, struct trace *ret_trace)
{
    struct trace trace = {0};
    struct span line, before = {0};
    uint32_t at = 0, line_start = 0, before_start = 0;

    for (; next_line(text, &at, &line); before = line, before_start = line_start, line_start = at) {
        uint32_t indent = indent_of(line);
        bool is_python = begins_at(line, indent, "Traceback (most recent call last):");

        if (!is_python && (indent == 0 || !begins_at(line, indent, "at ")))
            continue;
        trace.start = line_start;
        if (is_python) {
            read_python(text, &trace);
        } else if (names_exception(before)) {
            name_error(&trace, before);
            trace.start = before_start;
        }
        *ret_trace = trace;
        return true;
    }
    return false;
}

void trace_split(struct event_batch *batch, uint32_t row)
{
    struct span text = batch->message[row], first;
    struct trace trace;
    uint32_t at = 0;

    if (!next_line(text, &at, &first) || at >= text.size || !trace_find(text, &trace))
        return;
    batch->stack_trace[row] = span_make(text.data + trace.start, text.size - trace.start);
    batch->error[row] = trace.error;
    batch->error_type[row] = trace.type;
    batch->message[row].size = trace.start > 0 ? trace.start - 1 : first.size;
}
