/* Tries the formats on a sample and keeps the best. A format that knows an engine beats the one that takes
 * any JSON: it says more of the same message. */
#include "base/memory.h"
#include "cli/init.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

static const enum field useful[] = {F_WORKFLOW, F_RUN, F_STATE, F_DURATION_MS, F_LEVEL, F_MESSAGE};

enum { USEFUL = sizeof useful / sizeof *useful };

#define GENERIC_SHARE 0.75 /* of the score of a format that takes any JSON */
#define MIXED_SHARE                                                                                          \
    0.95 /* of the one that looks at each message: only better where there are several kinds */

static void note_reason(struct guess *guess, size_t message, const char *reason)
{
    if (guess->reason[0])
        return;
    guess->bad = message;
    snprintf(guess->reason, sizeof guess->reason, "%s", reason && reason[0] ? reason : "it cannot be read");
}

/* The rows that one message gave; true when one is good. */
static bool take_rows(struct guess *guess, size_t message, uint32_t from)
{
    struct event_batch *batch = &guess->batch;
    bool good = from == batch->rows;

    for (uint32_t row = from; row < batch->rows; row++) {
        if (batch->mark[row] == MARK_OK && batch->time_us[row] == TIME_NONE) {
            batch->mark[row] = MARK_MALFORMED;
            batch->reason[row] = "no time";
        }
        good |= batch->mark[row] == MARK_OK || batch->mark[row] == MARK_TOMBSTONE;
        if (batch->mark[row] == MARK_MALFORMED)
            note_reason(guess, message, batch->reason[row]);
    }
    return good;
}

static void decode_sample(struct guess *guess, const struct sample *sample)
{
    for (size_t i = 0; i < sample->count; i++) {
        uint32_t before = guess->batch.rows;
        const char *reason = NULL;
        enum status status = guess->type->decode(guess->format, &sample->messages[i], &guess->batch, &reason);

        if (status == STATUS_RETRY) /* the rows are many enough */
            break;
        guess->tried++;
        if (status == STATUS_OK)
            guess->decoded += take_rows(guess, i, before);
        else
            note_reason(guess, i, reason);
    }
}

static void count_fields(struct guess *guess)
{
    struct event_batch *batch = &guess->batch;

    for (uint32_t row = 0; row < batch->rows; row++) {
        if (batch->mark[row] != MARK_OK)
            continue;
        guess->rows++;
        for (unsigned field = 0; field < FIELD_COUNT; field++) {
            struct field_ref ref = {.field = (enum field)field};
            struct span text;

            guess->set[field] += event_text(batch, row, ref, &text) && text.size > 0;
        }
    }
}

static bool is_called(const struct guess *guess, const char *name)
{
    return strcmp(guess->type->name, name) == 0;
}

static void score(struct guess *guess)
{
    double known = 0;

    guess->score = 0;
    if (guess->rows == 0)
        return;
    for (size_t i = 0; i < USEFUL; i++)
        known += (double)guess->set[useful[i]] / (double)guess->rows;
    guess->score = (double)guess->decoded / (double)guess->tried * (1 + known / USEFUL);
    if (is_called(guess, "fields"))
        guess->score *= GENERIC_SHARE;
    else if (is_called(guess, "auto"))
        guess->score *= MIXED_SHARE;
}

void guess_free(struct guess *guess)
{
    if (!guess)
        return;
    if (guess->format) {
        guess->type->close(guess->format);
        event_batch_free(&guess->batch);
    }
    if (guess->settings)
        options_free(&(struct option_table){guess->type->options, guess->type->option_count, guess->settings},
                     1);
    for (unsigned i = 0; i < guess->labels.count; i++)
        free(guess->labels.names[i]);
    if (guess->config)
        config_free(guess->config);
    buffer_free(&guess->map);
    free(guess->settings);
    free(guess);
}

/* Settings by default, or with the guess's map. */
static enum status open_format(struct guess *guess, struct error *ret_error)
{
    const struct format_type *type = guess->type;
    struct option_table table = {type->options, type->option_count, memory_new(type->settings_size + 1)};
    const struct node *map = NULL;

    guess->settings = table.settings;
    if (guess->map.size) {
        struct buffer text;

        buffer_init(&text, 2 * (size_t)MAP_BYTES);
        buffer_print(&text, "map:\n%.*s", (int)guess->map.size, guess->map.data);
        buffer_put_char(&text, '\0');
        enum status status = config_parse(text.data, "map", &guess->config, ret_error);

        buffer_free(&text);
        if (status != STATUS_OK)
            return status;
        map = config_root(guess->config);
    }
    if (options_read(map, &table, 1, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    return type->open(guess->settings, &(struct format_context){.labels = &guess->labels}, &guess->format,
                      ret_error);
}

/* NULL: the format cannot be opened without more being said. Takes the map over. */
static struct guess *try_format(const struct format_type *type, struct buffer *take_map,
                                const struct sample *sample)
{
    struct guess *guess = memory_new(sizeof *guess);
    struct error error;

    guess->type = type;
    buffer_init(&guess->map, MAP_BYTES);
    if (take_map)
        guess->map = *take_map;
    if (open_format(guess, &error) != STATUS_OK) {
        guess_free(guess);
        return NULL;
    }
    event_batch_init(&guess->batch, BATCH_ROWS_MAX, &guess->labels);
    decode_sample(guess, sample);
    count_fields(guess);
    score(guess);
    return guess;
}

static struct guess *better(struct guess *a, struct guess *b)
{
    bool keeps_a = !b || (a && a->score >= b->score);

    guess_free(keeps_a ? b : a);
    return keeps_a ? a : b;
}

struct guess *guess_best(const struct sample *sample, struct buffer *ret_tried)
{
    const struct format_type *fields = format_type_find("fields");
    struct guess *best = NULL;
    struct buffer map;

    for (size_t i = 0; format_types[i]; i++) {
        struct guess *guess = try_format(format_types[i], NULL, sample);
        if (!guess)
            continue;
        buffer_print(ret_tried, "  %s: %zu of %zu messages%s%s\n", guess->type->name,
                     guess->rows ? guess->decoded : 0, guess->tried, guess->reason[0] ? "; " : "",
                     guess->reason);
        best = better(best, guess);
    }
    assert(best); /* `fields` needs no settings */
    buffer_init(&map, MAP_BYTES);
    if (is_called(best, "fields") || is_called(best, "auto") || best->score == 0) {
        if (paths_propose(sample, &map))
            best = better(best, try_format(fields, &map, sample));
        else
            buffer_free(&map);
    }
    if (best->score > 0)
        return best;
    guess_free(best);
    return NULL;
}
