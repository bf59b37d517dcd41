/* Stack traces in the text of a log record. */
#pragma once
#include "schemas/event.h"

/* Looks for a stack trace in the row's message: Python's, of chained ones the last exception counts; or a
 * Java, JavaScript or .NET one ("at ..." lines), with the exception that was thrown, not its causes. If there
 * is one it goes to stack_trace, the line that names the exception to error, its class to error_type, and the
 * message keeps what stands before, at least its first line. Copies nothing. */
void trace_split(struct event_batch *batch, uint32_t row);

/* What a text that is nothing but a stack trace tells: the line that names the exception, as above, or the
 * innermost cause of a Java one ("Caused by: ..."); and its class. Both are empty when no line names one. */
void trace_error(struct span text, struct span *ret_error, struct span *ret_type);

/* The class that a text begins with: "java.io.IOException" of "java.io.IOException: disk". Empty: it begins
 * with none. What may follow it is for the caller to say. */
struct span trace_class(struct span text);
