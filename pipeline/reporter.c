/* Ten to a hundred samples every 10 s. They are read back from the page's text, which keeps one list of what
 * is told: whatever part of the program adds a metric to the page has it here too. */
#include "pipeline/reporter.h"

#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#define REPORT_EVERY_US 10000000LL

enum { DOCUMENT_BYTES_MAX = 64 * 1024, HOST_BYTES = 256 };

struct outlet {
    const struct plan_sink *plan;
    struct sink *sink;
    struct sink_context context;
    int64_t next_warning_us;
};

struct reporter {
    const struct plan *plan;
    struct outlet *outlets;
    unsigned count;
    struct verdicts verdicts;
    struct buffer body;
    char host[HOST_BYTES];
    int64_t due_us; /* 0: not yet asked */
};

static enum status open_outlets(struct reporter *reporter, const struct reporter_options *options,
                                struct error *error)
{
    for (unsigned i = 0; i < options->plan->sink_count; i++) {
        const struct plan_sink *sink = &options->plan->sinks[i];
        struct outlet *outlet = &reporter->outlets[reporter->count];

        if (!(sink->kinds & 1u << DOC_METRIC))
            continue;
        *outlet = (struct outlet){.plan = sink,
                                  .context = {.name = sink->name,
                                              .pipeline = options->plan->general.name,
                                              .node = sink->node,
                                              .worker = WORKERS_MAX, /* no worker's */
                                              .warn = options->warn,
                                              .owner = options->owner}};
        if (sink->type->open(sink->settings, &outlet->context, &outlet->sink, error) != STATUS_OK)
            return STATUS_FATAL;
        reporter->count++;
    }
    return STATUS_OK;
}

enum status reporter_open(const struct reporter_options *options, struct reporter **ret_reporter,
                          struct error *ret_error)
{
    const struct plan *plan = options->plan;
    struct reporter *reporter = memory_new(sizeof *reporter);

    *reporter = (struct reporter){.plan = plan,
                                  .outlets = memory_new((plan->sink_count + 1) * sizeof *reporter->outlets)};
    buffer_init(&reporter->body, DOCUMENT_BYTES_MAX);
    gethostname(reporter->host, sizeof reporter->host - 1);
    enum status status = open_outlets(reporter, options, ret_error);

    if (status != STATUS_OK || reporter->count == 0) {
        reporter_close(reporter);
        reporter = NULL;
    }
    if (status == STATUS_OK)
        *ret_reporter = reporter;
    return status;
}

void reporter_close(struct reporter *reporter)
{
    if (!reporter)
        return;
    for (unsigned i = 0; i < reporter->count; i++)
        reporter->outlets[i].plan->type->close(reporter->outlets[i].sink);
    free(reporter->outlets);
    free(reporter->verdicts.items);
    buffer_free(&reporter->body);
    free(reporter);
}

bool reporter_is_due(struct reporter *reporter, int64_t now_us)
{
    bool due = reporter->due_us && now_us >= reporter->due_us;

    if (due || !reporter->due_us || reporter->due_us > now_us + REPORT_EVERY_US) /* the clock was set back */
        reporter->due_us = now_us + REPORT_EVERY_US;
    return due;
}

/* `name="text",` at *at and onwards; the text keeps its quotes, as a JSON text. False: there is none. */
static bool next_label(const char **at, const char *end, struct alert_label *ret_label)
{
    const char *equals = memchr(*at, '=', (size_t)(end - *at)), *close;

    if (!equals || end - equals < 3 || equals[1] != '"')
        return false;
    for (close = equals + 2; close < end && *close != '"'; close++)
        close += *close == '\\';
    if (close >= end)
        return false;
    ret_label->name = span_make(*at, (size_t)(equals - *at));
    ret_label->value = span_make(equals + 1, (size_t)(close - equals));
    *at = close + 1 + (close + 1 < end && close[1] == ',');
    return true;
}

/* `name{labels} value` or `name value`. False: a comment. */
static bool read_sample(const char *line, const char *end, struct metric_sample *sample)
{
    const char *open, *value = end;

    while (value > line && value[-1] != ' ')
        value--;
    if (*line == '#' || value == line)
        return false;
    open = memchr(line, '{', (size_t)(value - line));
    sample->name = span_make(line, (size_t)((open ? open : value - 1) - line));
    sample->value = strtod(value, NULL); /* ends at the newline */
    sample->label_count = 0;
    if (open++)
        while (sample->label_count < KEY_FIELDS_MAX &&
               next_label(&open, value - 2, &sample->labels[sample->label_count]))
            sample->label_count++;
    return isfinite(sample->value);
}

static void offer(struct reporter *reporter, const struct metric_sample *sample)
{
    struct document document = {.kind = DOC_METRIC, .time_us = sample->time_us};

    buffer_clear(&reporter->body);
    document_of_metric(reporter->plan->name, sample, &reporter->body);
    document.id = metric_id(reporter->plan->name, sample);
    document.body = buffer_span(&reporter->body);
    for (unsigned i = 0; i < reporter->count; i++)
        reporter->outlets[i].plan->type->offer(reporter->outlets[i].sink, &document); /* busy: lost */
}

void reporter_tell(struct reporter *reporter, struct span page, int64_t now_us)
{
    struct metric_sample sample = {
        .time_us = now_us, .host = span_of(reporter->host), .process = (int64_t)getpid()};
    const char *end = page.data + page.size;

    for (const char *line = page.data, *next; line < end; line = next + 1) {
        next = memchr(line, '\n', (size_t)(end - line));
        if (!next)
            break;
        if (read_sample(line, next, &sample))
            offer(reporter, &sample);
    }
}

void reporter_advance(struct reporter *reporter, int64_t now_us)
{
    struct verdicts *verdicts = &reporter->verdicts;

    for (unsigned i = 0; i < reporter->count; i++) {
        struct outlet *outlet = &reporter->outlets[i];

        outlet->plan->type->advance(outlet->sink, now_us, false, verdicts);
        for (size_t k = 0; k < verdicts->count; k++) {
            sink_warn(&outlet->context, &outlet->next_warning_us, now_us, "metrics are refused: %s",
                      verdicts->items[k].reason);
            free(verdicts->items[k].reason);
            free(verdicts->items[k].body);
        }
        verdicts->count = 0;
    }
}
