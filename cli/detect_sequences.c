/* weir detect --sequences FILE.jsonl: scores runs of one workflow, a JSON object a line: {"id", "events":
 * [text...], "attrs": {name: [value of each event...]}?, "role": "train"|"test"?}. Without lines of role
 * "train" each run is scored with what was learned from the runs before it, and then learned from. With such
 * lines these are taken as good and are all that is learned, before the others are scored. */
#include "base/json_writer.h"
#include "base/memory.h"
#include "cli/detect.h"
#include "detectors/sequence.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <yajl/yajl_tree.h>

enum { DEPTH_MAX = 16, OUTPUT_CHUNK = 1 << 16 };

struct line {
    const char *path;
    size_t number;
    struct span text;
};

struct parsed { /* texts are borrowed from the tree */
    yajl_val root;
    struct span id;
    bool is_train;
    struct sequence_run run;
    struct sequence_step steps[SEQUENCE_STEPS_MAX];
    struct sequence_attribute *attributes; /* of all steps, SEQUENCE_ATTRIBUTES_MAX a step */
};

/* yajl frees its tree by recursion, so depth is limited before it is built. */
static bool is_shallow(struct span text)
{
    unsigned depth = 0;
    bool quoted = false;

    for (uint32_t i = 0; i < text.size; i++) {
        char c = text.data[i];

        if (quoted && c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && (c == '[' || c == '{') && ++depth > DEPTH_MAX)
            return false;
        else if (!quoted && (c == ']' || c == '}') && depth > 0)
            depth--;
    }
    return true;
}

static enum status line_fail(const struct line *line, struct error *error, const char *key,
                             const char *reason)
{
    return fail(error, "%s:%zu: %s: %s", line->path, line->number, key, reason);
}

/* A text, a number or a boolean as text; false: it is something else. null is the empty text. */
static bool scalar(yajl_val value, struct span *ret_text)
{
    if (YAJL_IS_STRING(value))
        *ret_text = span_of(YAJL_GET_STRING(value));
    else if (YAJL_IS_NUMBER(value))
        *ret_text = span_of(YAJL_GET_NUMBER(value));
    else if (YAJL_IS_TRUE(value) || YAJL_IS_FALSE(value))
        *ret_text = YAJL_IS_TRUE(value) ? SPAN_LITERAL("true") : SPAN_LITERAL("false");
    else if (YAJL_IS_NULL(value))
        *ret_text = (struct span){0};
    else
        return false;
    return true;
}

static enum status read_events(const struct line *line, yajl_val events, struct parsed *parsed,
                               struct error *error)
{
    if (!YAJL_IS_ARRAY(events))
        return line_fail(line, error, "events", "must be a list of texts");
    parsed->run = (struct sequence_run){.steps = parsed->steps};
    for (size_t i = 0; i < events->u.array.len && i < SEQUENCE_STEPS_MAX; i++) {
        parsed->steps[i] =
            (struct sequence_step){.attributes = parsed->attributes + i * SEQUENCE_ATTRIBUTES_MAX};
        if (!scalar(events->u.array.values[i], &parsed->steps[i].name))
            return line_fail(line, error, "events", "must be a list of texts");
        parsed->run.count++;
    }
    return STATUS_OK;
}

static enum status read_attributes(const struct line *line, yajl_val attributes, struct parsed *parsed,
                                   struct error *error)
{
    for (size_t a = 0; attributes && a < attributes->u.object.len && a < SEQUENCE_ATTRIBUTES_MAX; a++) {
        struct span name = span_of(attributes->u.object.keys[a]);
        yajl_val values = attributes->u.object.values[a];

        if (!YAJL_IS_ARRAY(values))
            return line_fail(line, error, "attrs", "must be lists of one value for each event, by name");
        for (size_t i = 0; i < values->u.array.len && i < parsed->run.count; i++) {
            struct sequence_step *step = &parsed->steps[i];
            struct sequence_attribute attribute = {.name = name};

            if (!scalar(values->u.array.values[i], &attribute.value))
                return line_fail(line, error, "attrs", "must be lists of one value for each event, by name");
            parsed->attributes[i * SEQUENCE_ATTRIBUTES_MAX + step->attribute_count++] = attribute;
        }
    }
    return STATUS_OK;
}

static enum status read_run(const struct line *line, struct parsed *parsed, struct error *error)
{
    const char *const id[] = {"id", NULL}, *const role[] = {"role", NULL}, *const events[] = {"events", NULL},
                      *const attributes[] = {"attrs", NULL};
    char *text, reason[256];
    yajl_val found;

    if (!is_shallow(line->text))
        return line_fail(line, error, "not a run", "lists and objects nest deeper than 16");
    text = memory_text(line->text.data, line->text.size);
    parsed->root = yajl_tree_parse(text, reason, sizeof reason);
    free(text);
    if (!parsed->root || !YAJL_IS_OBJECT(parsed->root))
        return line_fail(line, error, "not a run", "must be a JSON object with id and events");
    found = yajl_tree_get(parsed->root, (const char **)id, yajl_t_any);
    if (!found || !scalar(found, &parsed->id) || !parsed->id.size)
        return line_fail(line, error, "id", "must be a text");
    found = yajl_tree_get(parsed->root, (const char **)role, yajl_t_string);
    parsed->is_train = found && span_is(span_of(YAJL_GET_STRING(found)), "train");
    found = yajl_tree_get(parsed->root, (const char **)events, yajl_t_any);
    if (read_events(line, found, parsed, error) != STATUS_OK)
        return STATUS_FATAL;
    found = yajl_tree_get(parsed->root, (const char **)attributes, yajl_t_any);
    if (found && !YAJL_IS_OBJECT(found) && !YAJL_IS_NULL(found))
        return line_fail(line, error, "attrs", "must be an object");
    return read_attributes(line, YAJL_IS_OBJECT(found) ? found : NULL, parsed, error);
}

static void put_id(struct span id, struct buffer *out)
{
    bool quoted = memchr(id.data, ',', id.size) || memchr(id.data, '"', id.size) ||
                  memchr(id.data, '\n', id.size) || memchr(id.data, '\r', id.size);

    for (uint32_t i = 0; quoted && i < id.size; i++) {
        if (i == 0 || id.data[i] == '"')
            buffer_put_char(out, '"');
        buffer_put_char(out, id.data[i]);
    }
    if (quoted)
        buffer_put_char(out, '"');
    else
        buffer_put_span(out, id);
}

static void put_verdict(const struct parsed *parsed, const struct sequence_verdict *verdict,
                        struct buffer *out)
{
    put_id(parsed->id, out);
    buffer_put_char(out, ',');
    json_put_number(out, -expm1(-verdict->surprise));
    buffer_put_text(out, verdict->odd ? ",1\n" : ",0\n");
    if (out->size < OUTPUT_CHUNK)
        return;
    (void)fwrite(out->data, 1, out->size, stdout);
    buffer_clear(out);
}

enum pass { PASS_GOOD, PASS_JUDGE, PASS_ARRIVAL };

static void take_run(struct sequence *model, enum pass pass, const struct parsed *parsed, size_t *good,
                     struct buffer *out)
{
    struct sequence_verdict verdict;

    if (pass == PASS_GOOD && !parsed->is_train)
        return;
    sequence_judge(model, &parsed->run, &verdict);
    if (pass != PASS_JUDGE)
        sequence_learn(model, &parsed->run, &verdict, pass == PASS_GOOD);
    if (pass != PASS_GOOD)
        put_verdict(parsed, &verdict, out);
    *good += pass == PASS_GOOD;
}

static enum status walk(const char *path, struct span text, struct sequence *model, enum pass pass,
                        size_t *good, struct error *error)
{
    struct parsed *parsed = memory_new(sizeof *parsed);
    struct line line = {.path = path};
    enum status status = STATUS_OK;
    struct buffer out;

    parsed->attributes =
        memory_new(SEQUENCE_STEPS_MAX * SEQUENCE_ATTRIBUTES_MAX * sizeof *parsed->attributes);
    buffer_init(&out, SIZE_MAX);
    if (pass != PASS_GOOD)
        buffer_put_text(&out, "id,score,alert\n");
    while (status == STATUS_OK && span_take_line(&text, &line.text)) {
        line.number++;
        parsed->root = NULL;
        if (line.text.size == 0)
            continue;
        status = read_run(&line, parsed, error);
        if (status == STATUS_OK)
            take_run(model, pass, parsed, good, &out);
        yajl_tree_free(parsed->root);
    }
    if (status == STATUS_OK && out.size)
        (void)fwrite(out.data, 1, out.size, stdout);
    buffer_free(&out);
    free(parsed->attributes);
    free(parsed);
    return status;
}

int detect_sequences(const char *path)
{
    struct sequence *model = sequence_new(SEQUENCE_CELLS_MAX);
    struct buffer text;
    struct error error;
    size_t good = 0;
    int code = EXIT_OUTSIDE;

    buffer_init(&text, detect_file_max);
    if (detect_read_file(path, &text, &error) == STATUS_OK &&
        walk(path, buffer_span(&text), model, PASS_GOOD, &good, &error) == STATUS_OK &&
        walk(path, buffer_span(&text), model, good ? PASS_JUDGE : PASS_ARRIVAL, &good, &error) == STATUS_OK)
        code = EXIT_DONE;
    if (code != EXIT_DONE)
        (void)fprintf(stderr, "weir detect: %s\n", error.text);
    else if (fflush(stdout) != 0 || ferror(stdout)) {
        (void)fprintf(stderr, "weir detect: cannot write the result\n");
        code = EXIT_OUTSIDE;
    }
    buffer_free(&text);
    sequence_free(model);
    return code;
}
