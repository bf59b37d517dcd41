/* Stack traces in the text of a log record. */
#pragma once
#include "schemas/event.h"

/* Looks for a stack trace in the row's message: Python's, of chained ones the last exception counts; or a
 * Java, JavaScript or .NET one ("at ..." lines), with the exception that was thrown, not its causes. If there
 * is one it goes to stack_trace, the line that names the exception to error, its class to error_type, and the
 * message keeps what stands before, at least its first line. Copies nothing. */
void trace_split(struct event_batch *batch, uint32_t row);
