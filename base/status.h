/* How library code reports trouble from the outside world: a status that says what to do, and a text that
 * says why. A broken invariant is not trouble but a bug: it asserts, in release builds too. */
#pragma once
#include <stdarg.h>
#include <stdbool.h>

enum status {
    STATUS_OK,
    STATUS_RETRY, /* nothing happened; the same call may succeed later */
    STATUS_SKIP,  /* this item is bad and was left out; go on with the next */
    STATUS_FATAL, /* cannot go on with this thing at all */
};

struct error {
    char text[640]; /* one line, no final newline; UTF-8, truncated when longer */
};

/* Writes the text and returns STATUS_FATAL, so that a failing function can end with `return fail(error,
 * ...)`. */
enum status fail(struct error *ret_error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A line for people about one thing outside: whether it is as it should be, else what is wrong. */
typedef void report_line(void *owner, bool ok, const char *text);
