/* An option's value back as text, for what a person reads: a tuner's result, an alert's reasons. Kept apart
 * from options.c, which reads them. */
#include "base/json_writer.h"
#include "base/options.h"
#include "base/timestamp.h"

#include <math.h>

static void put_texts(const struct option_texts *texts, struct buffer *out)
{
    buffer_put_char(out, '[');
    for (size_t i = 0; i < texts->count; i++) {
        buffer_put_text(out, i ? ", " : "");
        buffer_put_text(out, texts->items[i]);
    }
    buffer_put_char(out, ']');
}

static bool put_text(const char *text, struct buffer *out)
{
    buffer_put_text(out, text ? text : "");
    return text != NULL;
}

bool option_put(const struct option *row, const void *settings, struct buffer *out)
{
    const void *value = (const char *)settings + row->offset;
    char text[24];

    switch (row->type) {
    case OPTION_BOOL:
        return put_text(*(const bool *)value ? "true" : "false", out);
    case OPTION_CHOICE:
        return put_text(row->choices[*(const int *)value], out);
    case OPTION_INTEGER:
    case OPTION_SIZE:
        json_put_integer(out, *(const int64_t *)value);
        return true;
    case OPTION_DURATION:
        duration_format(*(const int64_t *)value, text);
        return put_text(text, out);
    case OPTION_NUMBER:
        if (!isfinite(*(const double *)value))
            return false;
        json_put_number(out, *(const double *)value);
        return true;
    case OPTION_TEXT:
    case OPTION_PATH:
        return put_text(*(char *const *)value, out);
    case OPTION_TEXTS:
        put_texts(value, out);
        return ((const struct option_texts *)value)->count > 0;
    case OPTION_SECRET:
    case OPTION_PAIRS:
    case OPTION_NODE:
        break;
    }
    return false;
}
