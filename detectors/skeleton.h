/* The skeleton of a log line: its text with everything that looks like a value written `<*>`. What is a
 * value is told by its look alone (numbers, sizes, versions, addresses, paths, dates, ids ...), the same
 * way for every system and without configuration, in one pass and without allocation. Lines of one
 * statement that differ in such values have one skeleton; detectors/templates.h learns the rest.
 *
 * A skeleton is a row of tokens with separators between them: blanks (a run of them is one) and the
 * characters = : ; , ( ) [ ] { } < > " ' ` | # ! ?. Only the first line of a text counts. The skeleton of
 * a skeleton's text is the same skeleton again. */
#pragma once
#include "base/span.h"

enum {
    SKELETON_TOKENS_MAX = 64,  /* what follows is one more `<*>` */
    SKELETON_BYTES_MAX = 448,  /* of the text; likewise */
    SKELETON_LINE_MAX = 16384, /* bytes of a line that are looked at */
};

enum token_kind {
    TOKEN_WORD,  /* told in the program's source, unless many different ones are seen at its place */
    TOKEN_LOOSE, /* could be either, like `eth0`, `true`, `MB`: two different ones tell that it is a value */
    TOKEN_EMPTY, /* no text where a value could stand: `user=`, `()` */
    TOKEN_VALUE, /* `<*>` in the text */
};

struct token {
    uint16_t at, size; /* in the skeleton's text */
    uint8_t kind;
    uint32_t from, to; /* where it stood in the line; parameters are read from there */
};

struct skeleton {
    uint16_t size, tokens;
    struct token token[SKELETON_TOKENS_MAX];
    char text[SKELETON_BYTES_MAX];
};

void skeleton_make(struct span line, struct skeleton *ret_skeleton);

static inline struct span skeleton_text(const struct skeleton *skeleton)
{
    return span_make(skeleton->text, skeleton->size);
}
