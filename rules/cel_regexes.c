/* matches(): patterns in RE2's syntax, run by PCRE2. Up to once a row. A literal pattern is compiled at load,
 * with the just-in-time compiler; one known only at run time is compiled for each call, which is slow and
 * says so in docs/cel.md. What RE2 does not have (back references, look-around, atomic groups, possessive
 * repeats, verbs) is refused, so that a rule means the same elsewhere and matching stays near linear; a match
 * limit bounds what is left. A program is shared by threads, so the match memory is a spare that a thread
 * takes out and puts back. */
#include "base/memory.h"
#include "rules/cel_internal.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>

enum { MATCH_LIMIT = 200000, PATTERN_MAX = 4096 };

struct regex {
    struct regex *next;
    pcre2_code *code;
    pcre2_match_context *limits;
    pcre2_match_data *_Atomic spare;
};

/* The first thing in the pattern that RE2 would not take, or NULL. Character classes are skipped. */
static const char *foreign_part(struct span pattern)
{
    bool in_class = false;

    for (uint32_t i = 0; i < pattern.size; i++) {
        char c = pattern.data[i], next = i + 1 < pattern.size ? pattern.data[i + 1] : '\0';

        if (c == '\\') {
            if (!in_class && next && strchr("123456789gkKRXGZNhHo", next))
                return "back references and \\K, \\R, \\X, \\G, \\Z, \\N, \\h";
            i++;
        } else if (in_class) {
            in_class = c != ']';
        } else if (c == '[') {
            in_class = true;
            i += next == '^'; /* "[]a]" and "[^]a]": the first bracket is a character */
            i += i + 1 < pattern.size && pattern.data[i + 1] == ']';
        } else if (c == '(' && next == '*') {
            return "verbs (*...)";
        } else if (c == '(' && next == '?' && i + 2 < pattern.size &&
                   !strchr("imsU-:P<", pattern.data[i + 2])) {
            return "look-ahead, atomic groups and conditions (?...)";
        } else if (c == '(' && next == '?' && i + 3 < pattern.size &&
                   ((pattern.data[i + 2] == '<' && strchr("=!", pattern.data[i + 3])) ||
                    (pattern.data[i + 2] == 'P' && pattern.data[i + 3] != '<'))) {
            return "look-behind and named back references";
        } else if (strchr("*+?}", c) && next == '+') {
            return "possessive repeats";
        }
    }
    return NULL;
}

static void regex_close(struct regex *regex)
{
    pcre2_match_data_free(atomic_load(&regex->spare));
    pcre2_match_context_free(regex->limits);
    pcre2_code_free(regex->code);
    free(regex);
}

static struct regex *regex_open(struct span pattern, bool fast, struct error *ret_error)
{
    const uint32_t options = PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_NO_AUTO_CAPTURE |
                             PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C;
    const char *foreign = foreign_part(pattern);
    PCRE2_UCHAR reason[128];
    PCRE2_SIZE at;
    int code;

    if (foreign) {
        fail(ret_error, "the pattern is not RE2: no %s", foreign);
        return NULL;
    }
    if (pattern.size > PATTERN_MAX) {
        fail(ret_error, "the pattern is longer than %d bytes", PATTERN_MAX);
        return NULL;
    }
    struct regex *regex = memory_new(sizeof *regex);
    regex->code = pcre2_compile((PCRE2_SPTR)(pattern.data ? pattern.data : ""), pattern.size, options, &code,
                                &at, NULL);
    if (!regex->code) {
        pcre2_get_error_message(code, reason, sizeof reason);
        fail(ret_error, "bad pattern at byte %zu: %s", at, (const char *)reason);
        free(regex);
        return NULL;
    }
    regex->limits = pcre2_match_context_create(NULL);
    pcre2_set_match_limit(regex->limits, MATCH_LIMIT);
    if (fast) /* without it the interpreter does the same, slower */
        pcre2_jit_compile(regex->code, PCRE2_JIT_COMPLETE);
    return regex;
}

static struct cel_value regex_run(struct regex *regex, struct span text, struct arena *arena)
{
    pcre2_match_data *memory = atomic_exchange(&regex->spare, NULL);
    int found;

    if (!memory)
        memory = pcre2_match_data_create(1, NULL);
    found = pcre2_match(regex->code, (PCRE2_SPTR)(text.data ? text.data : ""), text.size, 0, 0, memory,
                        regex->limits);
    pcre2_match_data_free(atomic_exchange(&regex->spare, memory));
    if (found < 0 && found != PCRE2_ERROR_NOMATCH)
        return cel_error(arena, "the pattern takes too long on this text");
    return cel_bool(found >= 0);
}

enum status regex_prepare(struct cel_program *program, struct span literal, const void **ret_prepared,
                          struct error *ret_error)
{
    struct regex *regex = regex_open(literal, true, ret_error);

    if (!regex)
        return STATUS_FATAL;
    regex->next = program->regexes;
    program->regexes = regex;
    *ret_prepared = regex;
    return STATUS_OK;
}

struct cel_value string_matches(const struct cel_call *call)
{
    struct regex *regex = (struct regex *)call->prepared;
    struct error error;
    struct cel_value answer;

    if (regex)
        return regex_run(regex, call->arguments[0].text, call->arena);
    regex = regex_open(call->arguments[1].text, false, &error);
    if (!regex)
        return cel_error(call->arena, "%s", error.text);
    answer = regex_run(regex, call->arguments[0].text, call->arena);
    regex_close(regex);
    return answer;
}

void regexes_free(struct regex *regex)
{
    while (regex) {
        struct regex *next = regex->next;

        regex_close(regex);
        regex = next;
    }
}
