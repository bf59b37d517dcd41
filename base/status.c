/* The one way to say why something failed; once for each failure. */
#include "base/status.h"

#include <assert.h>
#include <stdio.h>

enum status fail(struct error *ret_error, const char *format, ...)
{
    va_list arguments;

    assert(ret_error);
    va_start(arguments, format);
    vsnprintf(ret_error->text, sizeof ret_error->text, format, arguments);
    va_end(arguments);
    return STATUS_FATAL;
}
