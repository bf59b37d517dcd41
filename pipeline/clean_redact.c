/* The clean step that hides parts of a text. One match at least a row with the field present, by PCRE2
 * compiled to machine code where it can be; a row without a match costs no copy. Not pcre2_substitute: it
 * refuses text that is not valid UTF-8, and a log line may hold any bytes. Tried and dropped: one pattern
 * with PCRE2_MATCH_INVALID_UTF for all texts. Compiled to machine code it misses matches behind bytes that
 * are not UTF-8 (PCRE2 10.42), so such texts go to a second one that is interpreted. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "base/buffer.h"
#include "base/memory.h"
#include "pipeline/clean_step.h"

#include <assert.h>
#include <pcre2.h>
#include <stdlib.h>

enum { MATCH_LIMIT = 1000000 }; /* steps of one match: some 10 ms, then the text counts as matched */

struct redaction {
    pcre2_code *code, *slow_code; /* for valid UTF-8; for any bytes */
    pcre2_match_data *match;
    pcre2_match_context *context;
    struct span with;  /* owned by the step's settings */
    struct buffer out; /* the text being made */
};

enum redact_result { REDACT_UNCHANGED, REDACT_CHANGED, REDACT_FAILED };

void redaction_free(struct redaction *redaction)
{
    if (!redaction)
        return;
    pcre2_code_free(redaction->code);
    pcre2_code_free(redaction->slow_code);
    pcre2_match_data_free(redaction->match);
    pcre2_match_context_free(redaction->context);
    buffer_free(&redaction->out);
    free(redaction);
}

static pcre2_code *compile(const char *pattern, uint32_t options, const struct node *node,
                           struct error *ret_error)
{
    int code;
    size_t at;
    unsigned char reason[128];
    pcre2_code *compiled =
        pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF | options, &code, &at, NULL);

    if (!compiled) {
        pcre2_get_error_message(code, reason, sizeof reason);
        node_fail(node, ret_error, "in the pattern at character %zu: %s", at + 1, reason);
    }
    return compiled;
}

enum status clean_redact_open(struct cleaner *cleaner, struct clean_step *step, const struct node *map,
                              struct error *ret_error)
{
    const struct node *node = node_find(map, "pattern");

    if (clean_field_type(step->fields[0]) != FIELD_TEXT)
        return node_fail(map, ret_error, "redact takes a text field or a label, not '%s'",
                         step->settings.field);
    struct redaction *redaction = step->redaction = memory_new(sizeof *redaction);
    buffer_init(&redaction->out, EVENT_TEXT_MAX);
    redaction->with = span_of(step->settings.with);
    redaction->code = compile(step->settings.pattern, 0, node, ret_error);
    redaction->slow_code = compile(step->settings.pattern, PCRE2_MATCH_INVALID_UTF, node, ret_error);
    if (!redaction->code || !redaction->slow_code)
        return STATUS_FATAL;
    pcre2_jit_compile(redaction->code,
                      PCRE2_JIT_COMPLETE); /* without it the interpreter runs, with equal results */
    redaction->match = pcre2_match_data_create_from_pattern(redaction->code, NULL);
    redaction->context = pcre2_match_context_create(NULL);
    assert(redaction->match && redaction->context);
    pcre2_set_match_limit(redaction->context, MATCH_LIMIT);
    return STATUS_OK;
}

static int match_at(struct redaction *redaction, struct span text, size_t start)
{
    int found = pcre2_match(redaction->code, (PCRE2_SPTR)text.data, text.size, start, PCRE2_NOTEMPTY,
                            redaction->match, redaction->context);

    if (found > PCRE2_ERROR_UTF8_ERR1 || found < PCRE2_ERROR_UTF8_ERR21)
        return found;
    return pcre2_match(redaction->slow_code, (PCRE2_SPTR)text.data, text.size, start, PCRE2_NOTEMPTY,
                       redaction->match, redaction->context);
}

/* Puts the text with all matches replaced into `out`. */
static enum redact_result redact(struct redaction *redaction, struct span text)
{
    const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(redaction->match);
    size_t done = 0; /* bytes of the text that `out` speaks for */

    buffer_clear(&redaction->out);
    for (;;) {
        int found = match_at(redaction, text, done);

        if (found == PCRE2_ERROR_NOMATCH)
            break;
        if (found < 0 || ends[0] < done || ends[1] <= ends[0])
            return REDACT_FAILED;
        buffer_put(&redaction->out, text.data + done, ends[0] - done);
        buffer_put_span(&redaction->out, redaction->with);
        done = ends[1];
    }
    if (done == 0)
        return REDACT_UNCHANGED;
    buffer_put(&redaction->out, text.data + done, text.size - done);
    return redaction->out.full ? REDACT_FAILED : REDACT_CHANGED;
}

/* A match that cannot be finished hides the whole text: better too much than a secret told. */
void clean_redact_apply(struct cleaner *cleaner, struct clean_step *step, struct event_batch *batch,
                        struct clean_figures *figures)
{
    struct redaction *redaction = step->redaction;
    struct span *column = clean_column(batch, step->fields[0]);

    for (uint32_t row = 0; row < batch->rows; row++) {
        if (batch->mark[row] != MARK_OK || column[row].size == 0)
            continue;
        enum redact_result result = redact(redaction, column[row]);
        if (result == REDACT_UNCHANGED)
            continue;
        batch->notes[row] |= NOTE_REDACTED;
        figures->redacted++;
        if (result == REDACT_FAILED) {
            figures->errors++;
            column[row] = redaction->with;
        } else if (!arena_copy(&batch->text, buffer_span(&redaction->out), &column[row])) {
            batch->mark[row] = MARK_REFUSED;
            batch->reason[row] = "the texts of one batch take more than 64 MiB";
        }
    }
}
