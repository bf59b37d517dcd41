/* Splits CEL text into tokens and decodes literals. Runs once for each expression, at load. Escapes follow
 * the CEL language definition: \x, \u and \U name code points in strings; in bytes \x and octal name bytes
 * and \u is refused. Symbols stay texts: comparing two bytes is cheap beside everything else done at load. */
#include "base/buffer.h"
#include "rules/cel_internal.h"

#include <assert.h>
#include <stdio.h>

enum status cel_fail_at(struct span text, uint32_t at, struct error *ret_error, const char *format, ...)
{
    char reason[512];
    unsigned line = 1, column = 1;
    va_list arguments;

    assert(at <= text.size);
    for (uint32_t i = 0; i < at; i++) {
        if (text.data[i] == '\n') {
            line++;
            column = 1;
        } else if (((unsigned char)text.data[i] & 0xC0) != 0x80) {
            column++;
        }
    }
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    return fail(ret_error, "%u:%u: %s", line, column, reason);
}

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static bool is_name_start(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* The byte `ahead` of the next one, -1 past the end. */
static int peek(const struct lexer *lexer, uint32_t ahead)
{
    uint32_t at = lexer->at + ahead;

    return at < lexer->text.size ? (unsigned char)lexer->text.data[at] : -1;
}

static void skip_blanks(struct lexer *lexer)
{
    for (;;) {
        int c = peek(lexer, 0);

        if (c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f') {
            lexer->at++;
        } else if (c == '/' && peek(lexer, 1) == '/') {
            while (peek(lexer, 0) != -1 && peek(lexer, 0) != '\n')
                lexer->at++;
        } else {
            return;
        }
    }
}

/* Reads `digits` digits of the base at the position; false when there are fewer. */
static bool read_digits(struct lexer *lexer, unsigned digits, unsigned base, uint32_t *ret_value)
{
    uint32_t value = 0;

    for (unsigned i = 0; i < digits; i++) {
        int digit = hex_digit(peek(lexer, i));

        if (digit < 0 || (unsigned)digit >= base)
            return false;
        value = value * base + (uint32_t)digit;
    }
    lexer->at += digits;
    *ret_value = value;
    return true;
}

static bool put_code(struct buffer *out, uint32_t code, bool as_byte)
{
    if (as_byte) {
        buffer_put_char(out, (char)code);
        return code <= 0xFF;
    }
    if (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
        return false;
    buffer_put_code_point(out, code);
    return true;
}

/* The position is behind the backslash. */
static bool read_escape(struct lexer *lexer, bool is_bytes, struct buffer *out)
{
    static const char plain[] = "abfnrtv\\?\"'`", meaning[] = "\a\b\f\n\r\t\v\\?\"'`";
    int c = peek(lexer, 0);
    const char *found = c > 0 ? strchr(plain, c) : NULL;
    uint32_t code;

    if (found) {
        lexer->at++;
        buffer_put_char(out, meaning[found - plain]);
        return true;
    }
    if (c >= '0' && c <= '3')
        return read_digits(lexer, 3, 8, &code) && put_code(out, code, is_bytes);
    if (c < 0 || !strchr("xXuU", c) || (is_bytes && (c == 'u' || c == 'U')))
        return false;
    lexer->at++;
    return read_digits(lexer, c == 'u' ? 4 : c == 'U' ? 8 : 2, 16, &code) && put_code(out, code, is_bytes);
}

/* The body of a literal up to its closing quotes; `quotes` is 1 or 3. */
static bool read_quoted(struct lexer *lexer, uint32_t start, bool raw, bool is_bytes, struct buffer *out)
{
    int quote = peek(lexer, 0);
    bool triple = peek(lexer, 1) == quote && peek(lexer, 2) == quote;

    lexer->at += triple ? 3 : 1;
    for (;;) {
        int c = peek(lexer, 0);

        if (c == -1 || (!triple && (c == '\n' || c == '\r'))) {
            cel_fail_at(lexer->text, start, lexer->error, "this text has no closing quote");
            return false;
        }
        if (c == quote && (!triple || (peek(lexer, 1) == quote && peek(lexer, 2) == quote))) {
            lexer->at += triple ? 3 : 1;
            return true;
        }
        uint32_t at = lexer->at++;
        if (c != '\\' || raw) {
            buffer_put_char(out, (char)c);
        } else if (!read_escape(lexer, is_bytes, out)) {
            cel_fail_at(lexer->text, at, lexer->error,
                        "unknown escape; write \\\\ for a backslash, or r'...'");
            return false;
        }
    }
}

/* Is there a text literal here, with or without r and b before it? */
static bool at_text(const struct lexer *lexer, bool *ret_raw, bool *ret_bytes)
{
    bool raw = false, bytes = false;
    uint32_t ahead = 0;

    for (; ahead < 2; ahead++) {
        int c = peek(lexer, ahead) | 0x20;

        if (c == 'r' && !raw)
            raw = true;
        else if (c == 'b' && !bytes)
            bytes = true;
        else
            break;
    }
    if (peek(lexer, ahead) != '"' && peek(lexer, ahead) != '\'')
        return false;
    *ret_raw = raw;
    *ret_bytes = bytes;
    return true;
}

static bool read_text(struct lexer *lexer, bool raw, bool bytes, struct token *ret_token)
{
    struct buffer out;
    struct span copy;
    uint32_t start = lexer->at;
    bool good;

    lexer->at += (uint32_t)raw + (uint32_t)bytes;
    buffer_init(&out, CEL_TEXT_MAX * 2);
    good = read_quoted(lexer, start, raw, bytes, &out);
    if (good && !bytes && !cel_utf8_valid(buffer_span(&out))) {
        cel_fail_at(lexer->text, start, lexer->error, "this text is not UTF-8");
        good = false;
    }
    if (good && !arena_copy(lexer->arena, buffer_span(&out), &copy)) {
        fail(lexer->error, "the texts of the expression are too long");
        good = false;
    }
    buffer_free(&out);
    if (good) {
        ret_token->type = TOKEN_LITERAL;
        ret_token->literal = (struct cel_value){.type = bytes ? CEL_BYTES : CEL_STRING, .text = copy};
    }
    return good;
}

static bool fails_at(struct lexer *lexer, uint32_t start, const char *reason)
{
    cel_fail_at(lexer->text, start, lexer->error, "%s", reason);
    return false;
}

/* Length of the decimal number here; *ret_real tells a point or an exponent. */
static uint32_t measure_decimal(const struct lexer *lexer, bool *ret_real)
{
    uint32_t length = 0, exponent;

    *ret_real = false;
    while (is_digit(peek(lexer, length)))
        length++;
    if (peek(lexer, length) == '.' && is_digit(peek(lexer, length + 1))) {
        *ret_real = true;
        length++;
        while (is_digit(peek(lexer, length)))
            length++;
    }
    exponent = length;
    if ((peek(lexer, exponent) | 0x20) == 'e') {
        exponent++;
        if (peek(lexer, exponent) == '+' || peek(lexer, exponent) == '-')
            exponent++;
        if (is_digit(peek(lexer, exponent))) {
            *ret_real = true;
            while (is_digit(peek(lexer, exponent)))
                exponent++;
            length = exponent;
        }
    }
    return length;
}

static bool read_number(struct lexer *lexer, struct token *ret_token)
{
    uint32_t start = lexer->at, length;
    bool hex = peek(lexer, 0) == '0' && (peek(lexer, 1) | 0x20) == 'x', real = false;
    uint64_t magnitude = 0;

    if (hex) {
        lexer->at += 2;
        for (length = 0; hex_digit(peek(lexer, length)) >= 0;)
            length++;
    } else {
        length = measure_decimal(lexer, &real);
    }
    if (length == 0)
        return fails_at(lexer, start, "hexadecimal digits are missing");
    struct span digits = span_make(lexer->text.data + lexer->at, length);
    lexer->at += length;
    if (real) {
        double number;

        if (!cel_number_parse(digits, &number))
            return fails_at(lexer, start, "this number is too long");
        ret_token->type = TOKEN_LITERAL;
        ret_token->literal = cel_double(number);
        return true;
    }
    for (uint32_t i = 0; i < length; i++) {
        if (__builtin_mul_overflow(magnitude, hex ? 16u : 10u, &magnitude) ||
            __builtin_add_overflow(magnitude, (unsigned)hex_digit(digits.data[i]), &magnitude))
            return fails_at(lexer, start, "this number does not fit into 64 bits");
    }
    ret_token->type = TOKEN_INTEGER;
    ret_token->magnitude = magnitude;
    if ((peek(lexer, 0) | 0x20) == 'u') {
        lexer->at++;
        ret_token->type = TOKEN_LITERAL;
        ret_token->literal = cel_uint(magnitude);
    }
    return true;
}

static bool read_symbol(struct lexer *lexer, struct token *ret_token)
{
    static const char *const pairs[] = {"&&", "||", "==", "!=", "<=", ">="};
    int first = peek(lexer, 0), second = peek(lexer, 1);

    ret_token->type = TOKEN_SYMBOL;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        if (first == pairs[i][0] && second == pairs[i][1]) {
            lexer->at += 2;
            return true;
        }
    }
    if (first != 0 && strchr("+-*/%<>!?:.,()[]{}", first)) {
        lexer->at++;
        return true;
    }
    if (first == '=' || first == '&' || first == '|')
        cel_fail_at(lexer->text, lexer->at, lexer->error, "'%c' must be written twice", first);
    else if (first > 0x20 && first < 0x7F)
        cel_fail_at(lexer->text, lexer->at, lexer->error, "'%c' is not part of CEL", first);
    else
        cel_fail_at(lexer->text, lexer->at, lexer->error, "byte 0x%02X is not part of CEL", (unsigned)first);
    return false;
}

/* `content-type`: a field name of any characters, between back quotes. */
static bool read_quoted_name(struct lexer *lexer, struct token *ret_token)
{
    uint32_t start = ++lexer->at;

    while (peek(lexer, 0) != '`' && peek(lexer, 0) != '\n' && peek(lexer, 0) != -1)
        lexer->at++;
    if (peek(lexer, 0) != '`' || lexer->at == start)
        return fails_at(lexer, start - 1, "this name has no closing back quote");
    ret_token->type = TOKEN_QUOTED_NAME;
    ret_token->text = span_make(lexer->text.data + start, lexer->at - start);
    lexer->at++;
    return true;
}

bool lexer_next(struct lexer *lexer, struct token *ret_token)
{
    struct token token = {.type = TOKEN_END};
    bool raw, bytes, good = true;

    skip_blanks(lexer);
    token.at = lexer->at;
    int c = peek(lexer, 0);
    if (c == -1) {
        *ret_token = token;
        return true;
    }
    if (at_text(lexer, &raw, &bytes)) {
        good = read_text(lexer, raw, bytes, &token);
    } else if (is_digit(c) || (c == '.' && is_digit(peek(lexer, 1)))) {
        good = read_number(lexer, &token);
    } else if (is_name_start(c)) {
        token.type = TOKEN_NAME;
        while (is_name_start(peek(lexer, 0)) || is_digit(peek(lexer, 0)))
            lexer->at++;
    } else if (c == '`') {
        good = read_quoted_name(lexer, &token);
    } else {
        good = read_symbol(lexer, &token);
    }
    if (!good)
        return false;
    if (token.type != TOKEN_QUOTED_NAME)
        token.text = span_make(lexer->text.data + token.at, lexer->at - token.at);
    assert(lexer->at > token.at);
    *ret_token = token;
    return true;
}
