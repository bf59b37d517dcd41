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

static void note_reason(struct guess *guess, const struct message *message, const char *reason)
{
    if (guess->reason[0])
        return;
    guess->bad_offset = message->offset;
    snprintf(guess->bad, sizeof guess->bad, "%.*s", (int)message->payload.size, message->payload.data);
    snprintf(guess->reason, sizeof guess->reason, "%s", reason && reason[0] ? reason : "it cannot be read");
}

/* The rows that one message gave; true when one is good. */
static bool take_rows(struct guess *guess, const struct message *message, uint32_t from)
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

static void decode_messages(struct guess *guess, const struct message *messages, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t before = guess->batch.rows;
        const char *reason = NULL;
        enum status status = guess->type->decode(guess->format, &messages[i], &guess->batch, &reason);

        if (status == STATUS_RETRY) /* the rows are many enough */
            break;
        guess->tried++;
        if (status == STATUS_OK)
            guess->decoded += take_rows(guess, &messages[i], before);
        else
            note_reason(guess, &messages[i], reason);
    }
}

/* Lines that continue a record are put to it first, as they will be. The sample may begin within one. */
static void decode_sample(struct guess *guess, const struct sample *sample)
{
    const struct format_type *type = guess->type;
    struct records *records = &guess->records;
    struct held_record held = {.lines = 0};

    if (!type->joins || !type->joins(guess->format)) {
        decode_messages(guess, sample->messages, sample->count);
        return;
    }
    records_take(records, &held, guess->format, type, sample->messages, sample->count, true);
    decode_messages(guess, records->messages, records->count);
    held_record_free(&held);
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
    return strcmp(guess->name, name) == 0;
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
        records_free(&guess->records);
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
    if (strcmp(guess->name, type->name) != 0 &&
        option_assign(type->options, type->option_count, guess->settings, "preset", guess->name, ret_error) !=
            STATUS_OK)
        return STATUS_FATAL;
    return type->open(guess->settings, &(struct format_context){.labels = &guess->labels}, &guess->format,
                      ret_error);
}

/* NULL: the format cannot be opened without more being said. Takes the map over. */
static struct guess *try_format(const char *name, const struct format_type *type, struct buffer *take_map,
                                const struct sample *sample)
{
    struct guess *guess = memory_new(sizeof *guess);
    struct error error;

    guess->name = name;
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

static void try_next(struct guess **best, const char *name, const struct format_type *type,
                     const struct sample *sample, struct buffer *tried)
{
    struct guess *guess = try_format(name, type, NULL, sample);

    if (!guess)
        return;
    buffer_print(tried, "  %s: %zu of %zu messages%s%s\n", name, guess->rows ? guess->decoded : 0,
                 guess->tried, guess->reason[0] ? "; " : "", guess->reason);
    *best = better(*best, guess);
}

struct guess *guess_best(const struct sample *sample, struct buffer *ret_tried)
{
    const struct format_type *fields = format_type_find("fields");
    struct guess *best = NULL;
    struct format_preset preset;
    struct buffer map;

    for (size_t i = 0; format_types[i]; i++)
        try_next(&best, format_types[i]->name, format_types[i], sample, ret_tried);
    for (size_t i = 0; format_preset_at(i, &preset); i++)
        try_next(&best, preset.name, preset.type, sample, ret_tried);
    assert(best); /* `fields` needs no settings */
    buffer_init(&map, MAP_BYTES);
    if (is_called(best, "fields") || is_called(best, "auto") || best->score == 0) {
        if (paths_propose(sample, &map))
            best = better(best, try_format("fields", fields, &map, sample));
        else
            buffer_free(&map);
    }
    if (best->score > 0)
        return best;
    guess_free(best);
    return NULL;
}
