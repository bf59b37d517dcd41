#include "tests/pipeline/replays.h"

#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>

const char *const output_names[DOC_KINDS] = {
    [DOC_RUN] = "runs", [DOC_BUCKET] = "buckets", [DOC_SIGNAL] = "signals", [DOC_ALERT] = "alerts"};

void outputs_free(struct outputs *outputs)
{
    for (int kind = 0; kind < DOC_KINDS; kind++)
        free(outputs->texts[kind]);
    free(outputs->metrics);
}

struct plan *plan_load_in(const struct folder *folder, const char *yaml, unsigned workers,
                          unsigned batch_rows)
{
    char settings[2][32];
    const char *assignments[] = {settings[0], settings[1], NULL};
    struct plan *plan = NULL;
    struct error error;

    snprintf(settings[0], sizeof settings[0], "workers=%u", workers);
    snprintf(settings[1], sizeof settings[1], "batch_rows=%u", batch_rows);
    if (plan_try(folder, yaml, assignments, &plan, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    plan->wants_runs = true;
    return plan;
}

void replay(const struct folder *folder, const char *yaml, unsigned workers, unsigned batch_rows,
            struct outputs *ret_outputs)
{
    struct plan *plan = plan_load_in(folder, yaml, workers, batch_rows);
    struct engine_options options = {.mode = ENGINE_REPLAY, .quiet = true};
    const char *paths[DOC_KINDS] = {0};
    struct engine *engine;
    struct buffer metrics;
    struct error error;
    enum status status;

    *ret_outputs = (struct outputs){0};
    for (int kind = 0; kind < DOC_KINDS; kind++)
        if (output_names[kind])
            paths[kind] = folder_path(folder, output_names[kind]);
    assert_int_equal(collect_open(paths, &options.collect, &error), STATUS_OK);
    if (engine_start(plan, &options, &engine, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    do
        status = engine_wait(engine, 1000, &error);
    while (status == STATUS_RETRY);
    assert_int_equal(status, STATUS_OK);
    engine_stop(engine);
    buffer_init(&metrics, 1 << 20);
    engine_metrics(engine, &metrics);
    ret_outputs->metrics = memory_text(metrics.data, metrics.size);
    buffer_free(&metrics);
    engine_free(engine);
    assert_int_equal(collect_close(options.collect, &error), STATUS_OK);
    plan_free(plan);
    for (int kind = 0; kind < DOC_KINDS; kind++)
        if (output_names[kind])
            ret_outputs->texts[kind] = folder_get(folder, output_names[kind], &ret_outputs->sizes[kind]);
}

void replay_all_ways(const struct folder *folder, const char *yaml, struct outputs *ret_outputs)
{
    static const unsigned workers[] = {1, 2, 5}, batch_rows[] = {1024, 7, 1};

    for (size_t w = 0; w < 3; w++)
        for (size_t b = 0; b < 3; b++) {
            struct outputs outputs;

            if (w == 0 && b == 0) {
                replay(folder, yaml, workers[0], batch_rows[0], ret_outputs);
                continue;
            }
            replay(folder, yaml, workers[w], batch_rows[b], &outputs);
            for (int kind = 0; kind < DOC_KINDS; kind++)
                if (output_names[kind] &&
                    (outputs.sizes[kind] != ret_outputs->sizes[kind] ||
                     memcmp(outputs.texts[kind], ret_outputs->texts[kind], outputs.sizes[kind])))
                    fail_msg("%s differ with %u workers and batches of %u", output_names[kind], workers[w],
                             batch_rows[b]);
            outputs_free(&outputs);
        }
}

size_t lines_of(const char *text)
{
    size_t lines = 0;

    for (; *text; text++)
        lines += *text == '\n';
    return lines;
}

size_t occurrences(const char *text, const char *piece)
{
    size_t count = 0;

    while ((text = strstr(text, piece))) {
        count++;
        text += strlen(piece);
    }
    return count;
}

long metric(const struct outputs *outputs, const char *name)
{
    char row[128];
    const char *at;

    snprintf(row, sizeof row, "\nweir_%s ", name);
    at = strstr(outputs->metrics, row);
    if (!at)
        fail_msg("no metric %s", name);
    return strtol(at + strlen(row), NULL, 10);
}
