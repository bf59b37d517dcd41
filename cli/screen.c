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

/* Bytes of the character that begins here; 0: it must not be shown. */
static unsigned character_size(const unsigned char *at, size_t left)
{
    unsigned size = at[0] < 0x80 ? 1 : at[0] >= 0xF0 ? 4 : at[0] >= 0xE0 ? 3 : 2;

    if (at[0] < ' ' || at[0] == 0x7F || (at[0] >= 0x80 && at[0] < 0xC2) || at[0] > 0xF4 || size > left)
        return 0;
    for (unsigned i = 1; i < size; i++)
        if ((at[i] & 0xC0) != 0x80)
            return 0;
    if (at[0] == 0xC2 && at[1] < 0xA0) /* U+0080 to U+009F command terminals too */
        return 0;
    return size;
}

static unsigned count_characters(struct span text)
{
    unsigned count = 0;

    for (size_t at = 0; at < text.size; count++) {
        unsigned size = character_size((const unsigned char *)text.data + at, text.size - at);

        at += size ? size : 1;
    }
    return count;
}

static unsigned put_clipped(struct buffer *out, struct span text, unsigned width)
{
    unsigned count = count_characters(text), most = count > width ? (width > 2 ? width - 2 : 0) : count;
    size_t at = 0;

    for (unsigned i = 0; i < most; i++) {
        unsigned size = character_size((const unsigned char *)text.data + at, text.size - at);

        buffer_put(out, size ? text.data + at : "?", size ? size : 1);
        at += size ? size : 1;
    }
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
