#include "cli/screen.h"

#include <stdbool.h>
#include <sys/ioctl.h>

enum { COLUMNS_DEFAULT = 80, ROWS_DEFAULT = 24 };

void screen_size(int descriptor, unsigned *ret_columns, unsigned *ret_rows)
{
    struct winsize size = {0};
    bool known = ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0;

    *ret_columns = known ? size.ws_col : COLUMNS_DEFAULT;
    *ret_rows = known ? size.ws_row : ROWS_DEFAULT;
}

static unsigned count_characters(struct span text)
{
    unsigned count = 0;

    for (; text.size; count++)
        span_take_plain(&text);
    return count;
}

static unsigned put_clipped(struct buffer *out, struct span text, unsigned width)
{
    unsigned count = count_characters(text), most = count > width ? (width > 2 ? width - 2 : 0) : count;

    for (unsigned i = 0; i < most; i++)
        buffer_put_span(out, span_take_plain(&text));
    for (; count > width && most < width; most++)
        buffer_put_char(out, '.');
    return most;
}

void screen_put_line(struct buffer *out, struct span text, unsigned width)
{
    put_clipped(out, text, width);
}

void screen_put(struct buffer *out, struct span text, unsigned width)
{
    for (unsigned used = put_clipped(out, text, width); used < width; used++)
        buffer_put_char(out, ' ');
}
