/* Runs once a log line: one table look-up a byte finds the end of a word and what it is made of; a word
 * without digit, slash or @ (most are) is copied as it is. Masks as regular expressions were left out: they
 * cost other miners more than 5 us a line. */
#include "detectors/skeleton.h"

#include <assert.h>

enum {
    DIGIT = 1,
    HEX = 2, /* a letter that may be a hexadecimal digit */
    LETTER = 4,
    SLASH = 8,
    AT = 16,
    SIGN = 32, /* may stand in a word beside letters and digits */
    SEPARATOR = 64,
    BLANK = 128, /* and control characters */
    ALPHABETIC = HEX | LETTER,
    WORD = ALPHABETIC | DIGIT | SLASH | AT | SIGN,
};

static const uint8_t class_of[256] = {
    // clang-format off
    [0 ... 32] = BLANK, [127] = BLANK, ['$'] = SIGN, ['%'] = SIGN, ['&'] = SIGN, ['*'] = SIGN, ['+'] = SIGN, ['-'] = SIGN,
    ['.'] = SIGN, ['/'] = SLASH, ['0' ... '9'] = DIGIT, ['@'] = AT, ['A' ... 'F'] = HEX, ['G' ... 'Z'] = LETTER, ['\\'] = SIGN,
    ['^'] = SIGN, ['_'] = SIGN, ['a' ... 'f'] = HEX, ['g' ... 'z'] = LETTER, ['~'] = SIGN, [128 ... 255] = LETTER,
    ['!'] = SEPARATOR, ['"'] = SEPARATOR, ['#'] = SEPARATOR, ['\''] = SEPARATOR, ['('] = SEPARATOR, [')'] = SEPARATOR,
    [','] = SEPARATOR, [':'] = SEPARATOR, [';'] = SEPARATOR, ['<'] = SEPARATOR, ['='] = SEPARATOR, ['>'] = SEPARATOR,
    ['?'] = SEPARATOR, ['['] = SEPARATOR, [']'] = SEPARATOR, ['`'] = SEPARATOR, ['{'] = SEPARATOR, ['|'] = SEPARATOR,
    ['}'] = SEPARATOR,
    // clang-format on
};

static const char value_text[] = "<*>";

enum {
    VALUE_SIZE = sizeof value_text - 1,
    LIST_VALUES = 3,        /* so many values with commas and blanks between are one */
    NUMBERED_DIGITS = 4,    /* a word with so many digits is an id: user1234 */
    HEX_SIZE_LEAST = 6,     /* a word of hexadecimal digits with a digit among them is a value from here on */
    COLON_GROUP_DIGITS = 4, /* of one part of an IPv6 address */
};

struct scan {
    const char *begin, *at, *end;
    struct skeleton *out;
    bool blank;    /* one is due before the next token or separator */
    bool full;     /* the rest of the line is in the last value */
    uint16_t list; /* token + 1 that is a list by now */
};

static uint8_t class_at(const char *at)
{
    return class_of[(unsigned char)*at];
}

static uint8_t class_before(const struct scan *scan, const char *at)
{
    return at > scan->begin ? class_at(at - 1) : (uint8_t)BLANK;
}

static uint8_t class_after(const struct scan *scan, const char *at) /* of the byte at `at` */
{
    return at < scan->end ? class_at(at) : (uint8_t)BLANK;
}

static void put_text(struct scan *scan, const char *text, size_t size)
{
    struct skeleton *out = scan->out;

    if (scan->blank && out->size > 0)
        out->text[out->size++] = ' ';
    scan->blank = false;
    memcpy(out->text + out->size, text, size);
    out->size = (uint16_t)(out->size + size);
}

static void add_token(struct scan *scan, enum token_kind kind, const char *from, const char *to,
                      const char *text, size_t size)
{
    struct skeleton *out = scan->out;
    struct token *token = &out->token[out->tokens++];

    put_text(scan, text, size);
    token->at = (uint16_t)(out->size - size);
    token->size = (uint16_t)size;
    token->kind = (uint8_t)kind;
    token->from = (uint32_t)(from - scan->begin);
    token->to = (uint32_t)(to - scan->begin);
}

/* Values with nothing but blanks or one comma between are one; so are three and more with both. */
static bool join_value(struct scan *scan, const char *to)
{
    struct skeleton *out = scan->out;
    unsigned count = out->tokens;

    if (count == 0 || out->token[count - 1].kind != TOKEN_VALUE)
        return false;
    struct token *last = &out->token[count - 1];
    unsigned end = last->at + VALUE_SIZE;
    bool comma = out->size == end + 1U && out->text[end] == ',';
    if (comma && scan->blank && scan->list != count) {
        const struct token *before = last - 1;
        if (count + 1 < LIST_VALUES || before->kind != TOKEN_VALUE ||
            last->at != before->at + VALUE_SIZE + 2 ||
            memcmp(out->text + before->at + VALUE_SIZE, ", ", 2) != 0)
            return false;
        scan->list = --out->tokens;
        last--;
        end = last->at + VALUE_SIZE;
    } else if (!comma && !(out->size == end && scan->blank)) {
        return false;
    }
    out->size = (uint16_t)end;
    scan->blank = false;
    last->to = (uint32_t)(to - scan->begin);
    return true;
}

static void add_value(struct scan *scan, const char *from, const char *to)
{
    if (!join_value(scan, to))
        add_token(scan, TOKEN_VALUE, from, to, value_text, VALUE_SIZE);
}

/* Whether a piece of this size, a value behind it and a last value fit; else that one takes the rest of the
 * line. */
static bool has_room(struct scan *scan, const char *from, size_t size)
{
    struct skeleton *out = scan->out;

    if (out->tokens + 1 < SKELETON_TOKENS_MAX &&
        out->size + size + 2 * (1 + VALUE_SIZE) <= SKELETON_BYTES_MAX)
        return true;
    if (out->tokens && out->token[out->tokens - 1].kind == TOKEN_EMPTY &&
        out->token[out->tokens - 1].at == out->size)
        out->tokens--; /* it is not empty then */
    add_value(scan, from, scan->end);
    scan->full = true;
    return false;
}

static bool closes(char open, char close)
{
    return (open == '(' && close == ')') || (open == '[' && close == ']') || (open == '{' && close == '}') ||
           ((open == '"' || open == '\'') && close == open);
}

/* Whether nothing stands where a value could: after `key=`, or in brackets of their own. */
static bool empty_after(const struct scan *scan, bool after_token, const char *at)
{
    char next = at + 1 < scan->end ? at[1] : ' ';

    if (*at == '=')
        return after_token && ((class_of[(unsigned char)next] & BLANK) || strchr(",;)]}", next));
    return !after_token && closes(*at, next);
}

/* The end of a text in quotes, which may have blanks; NULL: there is none. */
static const char *end_of_quoted(const struct scan *scan, const char *at)
{
    if ((*at != '"' && *at != '\'') || at + 1 >= scan->end)
        return NULL;
    const char *end = memchr(at + 1, *at, (size_t)(scan->end - at - 1));
    return end && end > at + 1 ? end : NULL;
}

/* Looks at what stands before it in the skeleton, not in the line, so that a skeleton's text gives the
 * same. */
static void take_separator(struct scan *scan)
{
    const struct skeleton *out = scan->out;
    const struct token *last = out->tokens ? &out->token[out->tokens - 1] : NULL;
    const char *at = scan->at;

    if (!has_room(scan, at, 1))
        return;
    if (*at == '<' && scan->end - at >= VALUE_SIZE && memcmp(at, value_text, VALUE_SIZE) == 0) {
        scan->at = at + VALUE_SIZE;
        add_value(scan, at, scan->at);
        return;
    }
    bool after_token = last && !scan->blank && last->at + last->size == out->size;
    bool after_equals = out->size && !scan->blank && out->text[out->size - 1] == '=';
    put_text(scan, at, 1);
    scan->at = at + 1;
    const char *quoted = after_equals ? end_of_quoted(scan, at) : NULL;
    if (quoted) {
        add_value(scan, at + 1, quoted);
        scan->at = quoted;
    } else if (empty_after(scan, after_token, at)) {
        add_token(scan, TOKEN_EMPTY, at + 1, at + 1, "", 0);
    }
}

typedef char known_word[8]; /* filled up with zeros */

static bool is_any(const char *text, size_t size, const known_word *words, size_t count)
{
    uint64_t wanted = 0, word;
    bool found = false;

    if (size > sizeof wanted)
        return false;
    memcpy(&wanted, text, size);
    for (size_t i = 0; i < count; i++) {
        memcpy(&word, words[i], sizeof word);
        found |= word == wanted;
    }
    return found;
}

#define IS_ANY(text, size, words) is_any(text, size, words, sizeof(words) / sizeof *(words))

static struct span token_text(const struct skeleton *skeleton, const struct token *token)
{
    return span_make(skeleton->text + token->at, token->size);
}

static bool is_month(const char *text)
{
    static const known_word months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

    return IS_ANY(text, 3, months);
}

/* `Jun 17`, `17 Jun 2005`, `Fri Jun 17`, `Fri, 17 Jun`: whether the three letters are part of a date. */
static bool is_date_word(const struct scan *scan, const char *text)
{
    static const known_word days[] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};
    const char *next = text + 3, *end = scan->end;

    if (*text < 'A' || *text > 'W')
        return false;
    bool month = is_month(text);
    if (!month && !IS_ANY(text, 3, days))
        return false;
    next += !month && next < end && *next == ',';
    if (next >= end || *next != ' ')
        return false;
    next += 1 + (next + 1 < end && next[1] == ' ');
    return next < end && ((class_at(next) & DIGIT) || (!month && end - next > 3 && is_month(next)));
}

/* Names of hosts: `db.example.com`, `www.cam.ac.uk`, and whatever has dots and a port. */
static bool is_host(const struct scan *scan, const char *text, size_t size)
{
    static const known_word ends[] = {"com", "org", "net", "edu", "gov", "mil", "local", "internal", "lan"};
    static const known_word seconds[] = {"com", "co", "org", "net", "edu", "ac", "gov"};
    const char *end = text + size, *last = memrchr(text, '.', size);

    if (!last || last == text || last + 1 == end)
        return false;
    if (end + 1 < scan->end && *end == ':' && (class_at(end + 1) & DIGIT))
        return true;
    if (IS_ANY(last + 1, (size_t)(end - last - 1), ends))
        return true;
    const char *before = end - last == 3 ? memrchr(text, '.', (size_t)(last - text)) : NULL;
    return before && IS_ANY(before + 1, (size_t)(last - before - 1), seconds);
}

/* A word without digits. Units vary with what they measure, so they are loose behind a value; so is a
 * user's name. */
static enum token_kind judge_plain(const struct scan *scan, const char *text, size_t size, uint8_t found)
{
    static const known_word units[] = {
        "B",    "KB",     "MB",      "GB", "TB",   "KiB",   "MiB",    "GiB",     "kB",  "bytes",
        "byte", "us",     "ms",      "s",  "sec",  "secs",  "second", "seconds", "m",   "min",
        "mins", "minute", "minutes", "h",  "hour", "hours", "d",      "day",     "days"};
    static const known_word either[] = {"true",  "false", "True", "False", "TRUE",
                                        "FALSE", "null",  "none", "None",  "NULL"};
    const struct skeleton *out = scan->out;
    const struct token *last = out->tokens ? &out->token[out->tokens - 1] : NULL;

    if (size == 3 && is_date_word(scan, text))
        return TOKEN_VALUE;
    if (last && last->kind == TOKEN_VALUE && scan->blank && out->size == last->at + VALUE_SIZE &&
        IS_ANY(text, size, units))
        return TOKEN_LOOSE;
    if (last && scan->blank && out->size == last->at + last->size && span_is(token_text(out, last), "user"))
        return TOKEN_LOOSE;
    if ((size == 4 || size == 5) && IS_ANY(text, size, either))
        return TOKEN_LOOSE;
    if (!(found & (LETTER | SIGN)) && size >= HEX_SIZE_LEAST)
        return TOKEN_LOOSE;
    if (!(found & SIGN))
        return TOKEN_WORD;
    return (*text == '\\' && size > 1) || is_host(scan, text, size) ? TOKEN_VALUE : TOKEN_WORD;
}

static enum token_kind judge_numbered(const char *text, size_t size, uint8_t found)
{
    const char *end = text + size;
    const char *first = text;
    unsigned digits = 0;

    while (first < end && (class_at(first) & SIGN))
        first++;
    if ((class_at(first) & DIGIT) || ((*first == 'v' || *first == 'V') && (class_at(first + 1) & DIGIT)) ||
        (found & (SLASH | AT)) || (!(found & LETTER) && size >= HEX_SIZE_LEAST))
        return TOKEN_VALUE;
    for (const char *at = first + 1; at < end; at++)
        if (class_at(at) & DIGIT) {
            digits++;
            if (class_at(at - 1) & SIGN)
                return TOKEN_VALUE;
        }
    return digits >= NUMBERED_DIGITS ? TOKEN_VALUE : TOKEN_LOOSE;
}

/* By its look alone; `found` are the classes of its bytes. */
static enum token_kind judge_word(const struct scan *scan, const char *text, size_t size, uint8_t found)
{
    if (!(found & (DIGIT | SLASH | AT)))
        return judge_plain(scan, text, size, found);
    if (*text == '/' && size > 1)
        return TOKEN_VALUE;
    if (found & DIGIT)
        return judge_numbered(text, size, found);
    const char *sign = memchr(text + 1, found & AT ? '@' : '/', size - 1);
    if (!sign || sign + 1 == text + size)
        return TOKEN_WORD;
    if (found & AT)
        return TOKEN_VALUE;
    return memchr(sign + 1, '/', (size_t)(text + size - sign - 1)) ? TOKEN_VALUE : TOKEN_WORD;
}

/* IPv6 and hardware addresses: six groups and more, or four with a letter among them, or a double colon
 * between; not more than eight, so that a port stands apart. Else NULL. */
static const char *end_of_colons(const struct scan *scan, const char *at)
{
    unsigned groups = 0, digits = 0;
    bool letter = false, doubled = false;

    for (; at < scan->end; at++) {
        uint8_t class = class_at(at);
        if (class & (DIGIT | HEX)) {
            letter |= (class & HEX) != 0;
            if (digits++ == 0)
                groups++;
            if (digits > COLON_GROUP_DIGITS)
                return NULL;
        } else if (*at == ':' && groups < 8 && (class_after(scan, at + 1) & (DIGIT | HEX))) {
            digits = 0;
        } else if (*at == ':' && !doubled && digits && at + 1 < scan->end && at[1] == ':') {
            doubled = true;
            digits = 0;
            at++;
        } else {
            break;
        }
    }
    if (at < scan->end && (class_at(at) & WORD) && *at != '%' && *at != '/' && *at != '.')
        return NULL;
    return groups >= 6 || (groups >= 4 && letter) || (doubled && groups >= 2) ? at : NULL;
}

/* The rest of an address or path: up to a blank, a quote, a bracket or a comma; `stop` ends it too. */
static const char *end_of_path(const struct scan *scan, const char *at, char stop)
{
    while (at < scan->end && *at != stop) {
        uint8_t class = class_at(at);
        if (class & BLANK || (class & SEPARATOR && !strchr(":=#?!", *at)))
            break;
        at++;
    }
    while (class_before(scan, at) == SIGN && at[-1] == '.')
        at--;
    return at;
}

/* What a colon after or in a word makes of it: the end of an address or path that begins at `from`, or
 * NULL. */
static const char *end_of_address(const struct scan *scan, const char *from, const char *end, uint8_t found)
{
    const char *hex = from + (*from == '/');

    if (end - hex <= COLON_GROUP_DIGITS && !(found & (LETTER | SIGN | AT))) {
        const char *to = end_of_colons(scan, hex);
        if (to)
            return to;
    }
    if (end - from == 1 && (found & ALPHABETIC) && scan->end - end > 2 && (end[1] == '\\' || end[1] == '/') &&
        end[2] != '/')
        return end_of_path(scan, end + 1, 0);
    return NULL;
}

static const char *end_of_word(const struct scan *scan, uint8_t *ret_found)
{
    const char *at = scan->at, *end = scan->end;
    uint8_t found = 0;

    for (; at < end; at++) {
        uint8_t class = class_at(at);
        if (class & WORD)
            found |= class;
        else if (*at != '\'' || !(class_before(scan, at) & ALPHABETIC) ||
                 !(class_after(scan, at + 1) & ALPHABETIC))
            break;
    }
    *ret_found = found;
    return at;
}

static void take_word(struct scan *scan)
{
    const char *from = scan->at, *stop;
    uint8_t found;
    const char *to = end_of_word(scan, &found);
    bool colon = to < scan->end && *to == ':';

    if (!has_room(scan, from, (size_t)(to - from)))
        return;
    if (colon && (stop = end_of_address(scan, from, to, found)) != NULL) {
        add_value(scan, from, stop);
        scan->at = stop;
        return;
    }
    if (!(found & (DIGIT | ALPHABETIC))) {
        put_text(scan, from, (size_t)(to - from));
        scan->at = to;
        return;
    }
    if (*from == '/' && to - from > 1)
        to = end_of_path(scan, to, ':');
    while (to[-1] == '.')
        to--;
    enum token_kind kind = judge_word(scan, from, (size_t)(to - from), found);
    if (kind == TOKEN_VALUE)
        add_value(scan, from, to);
    else
        add_token(scan, kind, from, to, from, (size_t)(to - from));
    scan->at = to;
    if (colon && scan->end - to > 3 && to[0] == ':' && to[1] == '/' && to[2] == '/' &&
        has_room(scan, to, 3)) {
        stop = end_of_path(scan, to + 3, 0);
        put_text(scan, to, 3);
        if (stop > to + 3)
            add_value(scan, to + 3, stop);
        scan->at = stop;
    }
}

void skeleton_make(struct span line, struct skeleton *ret_skeleton)
{
    const char *newline = line.size ? memchr(line.data, '\n', line.size) : NULL;
    size_t size = newline ? (size_t)(newline - line.data) : line.size;

    if (size > SKELETON_LINE_MAX)
        size = SKELETON_LINE_MAX;
    struct scan scan = {.begin = line.data, .at = line.data, .end = line.data + size, .out = ret_skeleton};
    ret_skeleton->size = ret_skeleton->tokens = 0;
    while (scan.at < scan.end && !scan.full) {
        uint8_t class = class_at(scan.at);
        if (class & BLANK) {
            scan.blank = true;
            scan.at++;
        } else if (class & SEPARATOR) {
            take_separator(&scan);
        } else {
            take_word(&scan);
        }
    }
    assert(ret_skeleton->size <= SKELETON_BYTES_MAX && ret_skeleton->tokens <= SKELETON_TOKENS_MAX);
}
