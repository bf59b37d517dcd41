/* weir notify FILE.yaml --receiver NAME --test: one message, marked as a test, through the receiver's own
 * code, and what became of it. */
#include "cli/arguments.h"
#include "cli/commands.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { STEP_US = 10 * 1000, LINE_BYTES_MAX = 64 * 1024 };

#define TEST_FIRES_US (60 * INT64_C(1000000)) /* where alerts end by their time, it does soon */

static int64_t wall_clock_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void print_warning(void *owner, const char *text)
{
    (void)owner;
    fprintf(stderr, "weir: %s\n", text);
}

static struct alert test_alert(const struct plan *plan, int64_t now_us)
{
    struct alert alert = {
        .at_us = now_us,
        .starts_us = now_us,
        .ends_us = now_us + TEST_FIRES_US,
        .state = ALERT_FIRING,
        .kind = ALERT_SELF,
        .severity = SEVERITY_INFO,
        .rule = SPAN_LITERAL("weir_notify_test"),
        .source = plan->name,
        .summary =
            SPAN_LITERAL("This is a test by `weir notify --test`: nothing is wrong, nothing is to be done"),
        .score = NAN,
        .probability = NAN,
        .actual = NAN,
        .expected_low = NAN,
        .expected_high = NAN,
    };
    struct id_builder builder;

    id_begin(&builder);
    id_add_text(&builder, plan->name);
    id_add_text(&builder, alert.rule);
    alert.dedup = id_end(&builder);
    id_begin(&builder);
    id_add_text(&builder, plan->name);
    id_add_integer(&builder, now_us);
    alert.episode = id_end(&builder);
    alert.id = alert_line_id(alert.episode, 0);
    return alert;
}

/* Until there is a verdict: the receiver's own timeout is the longest wait. */
static bool send_line(const struct plan_sink *receiver, struct sink *sink, const struct alert *alert)
{
    struct document document = {.kind = DOC_ALERT, .id = alert->id, .group = alert->dedup, .ticket = 1};
    struct verdicts verdicts = {0};
    struct buffer line;

    buffer_init(&line, LINE_BYTES_MAX);
    line_of_alert(alert, &line);
    document.body = buffer_span(&line);
    receiver->type->offer(sink, &document);
    for (;;) {
        receiver->type->advance(sink, wall_clock_us(), true, &verdicts);
        if (verdicts.count > 0)
            break;
        usleep(STEP_US);
    }
    struct verdict *verdict = &verdicts.items[0];
    bool delivered = !verdict->dead_letter;

    if (delivered)
        printf("receiver %s: delivered\n", receiver->name);
    else
        fprintf(stderr, "weir: receiver %s: %s\n", receiver->name, verdict->reason);
    free(verdict->reason);
    free(verdict->body);
    free(verdicts.items);
    buffer_free(&line);
    return delivered;
}

static int notify(const struct plan *plan, const struct plan_sink *receiver)
{
    const struct sink_type *type = receiver->type;
    struct sink_context context = {.name = receiver->name,
                                   .pipeline = plan->general.name,
                                   .node = receiver->node,
                                   .warn = print_warning};
    struct alert alert = test_alert(plan, wall_clock_us());
    struct sink *sink;
    struct error error;
    bool delivered;

    /* the first failure is the answer */
    if (option_assign(type->options, type->option_count, receiver->settings, "give_up", "1ms", &error) !=
            STATUS_OK ||
        type->open(receiver->settings, &context, &sink, &error) != STATUS_OK) {
        fprintf(stderr, "weir: receiver %s: %s\n", receiver->name, error.text);
        return EXIT_USAGE;
    }
    delivered = send_line(receiver, sink, &alert);
    type->close(sink);
    return delivered ? EXIT_DONE : EXIT_OUTSIDE;
}

int cli_notify(int argc, char **argv)
{
    struct file_arguments arguments;
    const char *name = NULL;
    bool test = false;
    const struct argument own[] = {
        {.name = "--receiver", .value = &name}, {.name = "--test", .flag = &test}, {0}};
    struct plan_sink *receiver;
    struct plan *plan;
    struct error error;
    int code = EXIT_USAGE;

    if (!arguments_read(argc, argv, own, &arguments))
        return EXIT_USAGE;
    if (!name || !test) {
        fprintf(stderr, "usage: weir notify FILE.yaml --receiver NAME --test\n");
        return EXIT_USAGE;
    }
    if (!(plan = arguments_plan(&arguments)))
        return EXIT_USAGE;
    if (plan_find_receiver(plan, name, &receiver, &error) == STATUS_OK)
        code = notify(plan, receiver);
    else
        fprintf(stderr, "weir notify: %s\n", error.text);
    plan_free(plan);
    return code;
}
