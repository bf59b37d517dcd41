/* Runs once an alert and only for a person who watches, so a parse into a tree is cheap enough. */
#include "sinks/terminal.h"

#include <yajl/yajl_tree.h>

enum { LINE_BYTES_MAX = 1024 * 1024 };

static struct span text_of(yajl_val alert, const char *first, const char *second)
{
    const char *path[] = {first, second, NULL};

    return span_of(YAJL_GET_STRING(yajl_tree_get(alert, path, yajl_t_string)));
}

static const char *colour_of(struct span state, struct span severity)
{
    if (span_is(state, "resolved"))
        return "\033[32m";
    if (span_is(severity, "critical") || span_is(severity, "error"))
        return "\033[31m";
    return span_is(severity, "warning") ? "\033[33m" : "\033[36m";
}

static void put_padded(struct buffer *out, struct span text, uint32_t width)
{
    buffer_put_plain(out, text);
    for (uint32_t i = text.size; i < width; i++)
        buffer_put_char(out, ' ');
    buffer_put_char(out, ' ');
}

bool terminal_put_alert(struct span line, bool colour, struct buffer *out)
{
    struct buffer text;
    yajl_val alert;

    buffer_init(&text, LINE_BYTES_MAX);
    buffer_put_span(&text, line);
    buffer_put_char(&text, '\0');
    alert = text.full ? NULL : yajl_tree_parse(text.data, NULL, 0);
    buffer_free(&text);
    struct span at = text_of(alert, "at", NULL), state = text_of(alert, "state", NULL),
                severity = text_of(alert, "severity", NULL);

    if (!at.size || !state.size) {
        yajl_tree_free(alert);
        return false;
    }
    put_padded(out, at, 0);
    if (colour)
        buffer_put_text(out, colour_of(state, severity));
    put_padded(out, state, 8);
    put_padded(out, severity, 8);
    if (colour)
        buffer_put_text(out, "\033[0m");
    put_padded(out, text_of(alert, "target", NULL), 0);
    buffer_put_plain(out, text_of(alert, "annotations", "summary"));
    buffer_put_char(out, '\n');
    yajl_tree_free(alert);
    return true;
}
