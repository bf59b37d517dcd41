/* Clean steps on batches of decoded rows: each of the usual kinds alone, and a list of them as an
 * installation has it. */
#include "bench/report.h"
#include "bench/result.h"
#include "bench/rig.h"

#include "pipeline/clean.h"

#include <stdio.h>

enum { SECTIONS_BYTES = 2048 };

#define DROP   "  - {drop: 'state == \"skipped\" || level == \"DEBUG\"'}\n"
#define SET    "  - {set: labels.slow, to: 'duration_ms > 1000.0 ? \"yes\" : \"no\"'}\n"
#define LIMIT  "  - {limit: duration_ms, min: 0, max: 86400000, policy: clamp}\n"
#define REDACT "  - {redact: message, pattern: 'password=\\S+'}\n"
#define DEDUPE "  - {dedupe: id, within: 10m}\n"

static const struct {
    const char *name, *steps;
} lists[] = {
    {"drop", DROP},     {"set", SET},       {"limit", LIMIT},
    {"redact", REDACT}, {"dedupe", DEDUPE}, {"all", DROP SET LIMIT REDACT DEDUPE},
};

static enum status run_once(const struct generator_options *options, const char *name, const char *steps,
                            struct result *result, struct error *ret_error)
{
    struct clean_figures figures = {0};
    struct usage used = {0};
    char sections[SECTIONS_BYTES];
    struct cleaner *cleaner;
    struct rig rig;

    (void)snprintf(sections, sizeof sections, "clean:\n%s", steps);
    if (rig_open(options, sections, &rig, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    enum status status = cleaner_open(rig.plan->general.clean, &rig.plan->labels, &cleaner, ret_error);

    if (status == STATUS_OK) {
        while (rig_next(&rig)) {
            struct usage before = usage_now();

            cleaner_apply(cleaner, &rig.batch, &figures);
            usage_add(&used, usage_since(before));
        }
        result_add_usage(result, name, "event", (double)options->events, used);
        result_check(result, "no_errors", figures.errors == 0);
        cleaner_close(cleaner);
    }
    rig_close(&rig);
    return status;
}

enum status bench_clean(const struct bench_options *options, struct result *result, struct error *ret_error)
{
    enum status status = STATUS_OK;

    for (unsigned run = 0; run < options->runs; run++)
        for (size_t i = 0; i < sizeof lists / sizeof *lists && status == STATUS_OK; i++)
            status = run_once(&options->generator, lists[i].name, lists[i].steps, result, ret_error);
    return status;
}
