/* Event rules of one shape, few and many: does a rule cost a pass over every row, or only over those that
 * could meet it? Thresholds stand where nearly no event passes them, so what is measured is the judging, not
 * the conditions that it makes. */
#include "bench/report.h"
#include "bench/result.h"
#include "bench/rig.h"

#include "base/memory.h"
#include "pipeline/judge.h"

#include <stdio.h>

enum { WORKFLOWS = 100, RULES_BYTES_MAX = 8 * 1024 * 1024, LEAST_MS = 1400 };

enum { COUNT_1, COUNT_10, COUNT_100, COUNT_10000, COUNTS };

static const unsigned counts[COUNTS] = {1, 10, 100, 10000};

static void write_rules(unsigned count, struct buffer *out)
{
    buffer_put_text(out, "rules:\n");
    for (unsigned i = 0; i < count; i++)
        buffer_print(out,
                     "  - {name: slow_%u, on: event, by: [workflow, task], when: 'workflow == "
                     "\"pipeline_%04u\" && state == \"failed\" && duration_ms > %u.0'}\n",
                     i, i % WORKFLOWS, LEAST_MS + i / WORKFLOWS);
    buffer_put_char(out, '\0');
}

static struct usage judge_all(struct rig *rig)
{
    struct exchange *exchange = exchange_new(1);
    struct exchange_port *port = exchange_port(exchange, 0);
    struct judge *judge = judge_new(rig->plan, port);
    struct usage total = {0};

    while (rig_next(rig)) {
        struct usage before = usage_now();
        struct block *block;

        judge_rows(judge, RULE_EVENT, &rig->batch);
        usage_add(&total, usage_since(before));
        exchange_flush(port);
        while ((block = exchange_receive(port)))
            block_release(block);
    }
    judge_free(judge);
    exchange_free(exchange);
    return total;
}

static enum status run_once(const struct generator_options *options, unsigned count, struct result *result,
                            double *ret_cpu, struct error *ret_error)
{
    struct usage before = usage_now(), used;
    struct buffer rules;
    struct rig rig;
    char name[32];

    buffer_init(&rules, RULES_BYTES_MAX);
    write_rules(count, &rules);
    enum status status = rig_open(options, rules.data, &rig, ret_error);
    buffer_free(&rules);
    if (status != STATUS_OK)
        return status;
    (void)snprintf(name, sizeof name, "rules_%u", count);
    result_add(result, "s", usage_since(before).cpu, "%s.load_cpu_seconds", name);
    used = judge_all(&rig);
    result_add_usage(result, name, "event", (double)options->events, used);
    rig_close(&rig);
    *ret_cpu = used.cpu;
    return STATUS_OK;
}

enum status bench_rules(const struct bench_options *options, struct result *result, struct error *ret_error)
{
    double cpu[COUNTS] = {0};

    for (unsigned run = 0; run < options->runs; run++) {
        for (size_t i = 0; i < COUNTS; i++)
            if (run_once(&options->generator, counts[i], result, &cpu[i], ret_error) != STATUS_OK)
                return STATUS_FATAL;
        result_add(result, "times", cpu[COUNT_10000] / cpu[COUNT_10], "cpu_ratio_10000_to_10");
    }
    result_ask(result, "cpu_ratio_10000_to_10", 3);
    return STATUS_OK;
}
