/* Stack traces in the text of a log record: where one begins, and what was thrown. Looked for in records of
 * several lines only. */
#pragma once
#include "base/span.h"

struct trace {
    uint32_t start;    /* bytes before it in the text */
    struct span error; /* the line that names the exception; empty when none does */
    struct span type;  /* its class */
};

/* Python's traceback, of chained ones the last; a Java, JavaScript or .NET trace ("at ..." lines) with the
 * exception that was thrown, not its causes. False: there is none. */
bool trace_find(struct span text, struct trace *ret_trace);
