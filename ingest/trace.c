/* Runs once a record of several lines, over its lines. */
#include "ingest/trace.h"

#include <ctype.h>

struct trace {
    uint32_t start;    /* bytes before it in the text */
    struct span error; /* the line that names the exception; empty when none does */
    struct span type;  /* its class */
};

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

struct span trace_class(struct span text)
{
    uint32_t size = 0;

    while (size < text.size && (isalnum((unsigned char)text.data[size]) || text.data[size] == '_' ||
                                text.data[size] == '.' || text.data[size] == '$'))
        size++;
    bool is_class = size > 0 && !isdigit((unsigned char)text.data[0]) && text.data[size - 1] != '.';
    return is_class ? span_make(text.data, size) : (struct span){0};
}

/* "java.io.IOException: no such file", "ValueError", "app.Errors$Gone: x": the class, or nothing. */
static struct span class_of(struct span line)
{
    struct span class = trace_class(line);

    return class.size == line.size || line.data[class.size] == ':' ? class : (struct span)
    {
        0
    };
}

static void name_error(struct trace *trace, struct span line)
{
    uint32_t indent = indent_of(line);
    bool has_return = line.size > indent && line.data[line.size - 1] == '\r';
    struct span rest = span_make(line.data + indent, line.size - indent - has_return);
    struct span type = class_of(rest);

    if (type.size == 0)
        return;
    trace->error = rest;
    trace->type = type;
}

static bool begins_traceback(struct span line)
{
    return begins_at(line, indent_of(line), "Traceback (most recent call last):");
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
static void read_python(struct span rest, struct trace *trace)
{
    uint32_t margin = 0;
    bool within = false;
    struct span line;

    while (span_take_line(&rest, &line)) {
        uint32_t indent = indent_of(line);

        if (begins_traceback(line)) {
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
    struct span rest = text, line, before = {.data = text.data};

    for (; span_take_line(&rest, &line); before = line) {
        uint32_t indent = indent_of(line);
        bool is_python = begins_traceback(line);

        if (!is_python && (indent == 0 || !begins_at(line, indent, "at ")))
            continue;
        trace.start = (uint32_t)(line.data - text.data);
        if (is_python) {
            read_python(span_make(line.data, text.size - trace.start), &trace);
        } else if (names_exception(before)) {
            name_error(&trace, before);
            trace.start = (uint32_t)(before.data - text.data);
        }
        *ret_trace = trace;
        return true;
    }
    return false;
}

void trace_split(struct event_batch *batch, uint32_t row)
{
    struct span text = batch->message[row], rest = text, first;
    struct trace trace;

    if (!span_take_line(&rest, &first) || rest.size == 0 || !trace_find(text, &trace))
        return;
    batch->stack_trace[row] = span_make(text.data + trace.start, text.size - trace.start);
    batch->error[row] = trace.error;
    batch->error_type[row] = trace.type;
    batch->message[row].size = trace.start > 0 ? trace.start - 1 : first.size;
}

void trace_error(struct span text, struct span *ret_error, struct span *ret_type)
{
    const char *cause = "Caused by: ";
    struct trace trace = {0};
    struct span rest = text, line;

    read_python(text, &trace);
    if (trace.type.size == 0 && span_take_line(&rest, &line)) {
        name_error(&trace, line);
        while (span_take_line(&rest, &line))
            if (begins_at(line, 0, cause))
                name_error(&trace, span_make(line.data + strlen(cause), line.size - strlen(cause)));
    }
    *ret_error = trace.error;
    *ret_type = trace.type;
}
