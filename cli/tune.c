/* weir tune: better parameters for a detector, by trials over a history of buckets. */
#include "base/memory.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/lines.h"
#include "cli/recorded.h"
#include "tuning/tune_html.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { WALKS = 8, TRIALS_DEFAULT = 400, TRIALS_MAX = 1000000, TIME_DEFAULT_S = 60 };

#define GRACE_DEFAULT_US INT64_C(300000000) /* as the scorer has it */
#define BUDGET_DEFAULT   1.0
#define BUDGET_MAX       1e6

struct request {
    struct file_arguments file;
    struct recorded_inputs inputs;
    const char *detector, *measure, *type, *statistic, *buckets, *labels, *out, *report;
    const char *from, *to, *budget, *seed, *time, *trials, *grace, *split;
    int64_t from_us, to_us, grace_us, time_us;
    double alerts_per_day;
    int64_t seed_number, trial_count;
};

/* What is tuned, as the trials want it. */
struct subject {
    struct tune_subject told;
    const struct plan_measure *measure;
    enum statistic statistic;
    struct trial_settings trial;
    struct backend_settings backend;
    void *own_settings; /* of a detector that is in no file */
};

static bool refuse(const char *name, const char *text, const char *expected)
{
    fprintf(stderr, "weir tune: %s %s: expected %s\n", name, text, expected);
    return false;
}

static bool read_number(const char *name, const char *text, double least, double most, double *ret_number)
{
    char *end, expected[64];
    double number = text ? strtod(text, &end) : 0;

    if (!text)
        return true;
    if (*text && !*end && number >= least && number <= most) {
        *ret_number = number;
        return true;
    }
    snprintf(expected, sizeof expected, "a number from %g to %g", least, most);
    return refuse(name, text, expected);
}

static bool read_duration(const char *name, const char *text, int64_t *ret_us)
{
    if (!text || (duration_parse(span_of(text), ret_us) && *ret_us >= 0))
        return true;
    return refuse(name, text, "a duration like 30s, 5m, 1h");
}

static bool read_time(const char *name, const char *text, int64_t *ret_us)
{
    if (!text || time_parse(span_of(text), TIME_UNIT_AUTO, TIME_NONE, ret_us))
        return true;
    return refuse(name, text, "a time such as 2026-11-21T09:40:00Z, or epoch seconds");
}

static bool read_values(struct request *request)
{
    double seed = 1, trials = TRIALS_DEFAULT;

    request->from_us = request->to_us = TIME_NONE;
    request->grace_us = GRACE_DEFAULT_US;
    request->time_us = request->trials && !request->time ? 0 : TIME_DEFAULT_S * INT64_C(1000000);
    request->alerts_per_day = request->labels ? 0 : BUDGET_DEFAULT;
    if (!read_time("--from", request->from, &request->from_us) ||
        !read_time("--to", request->to, &request->to_us) ||
        !read_duration("--grace", request->grace, &request->grace_us) ||
        !read_duration("--time", request->time, &request->time_us) ||
        !read_number("--alerts-per-day", request->budget, 1e-6, BUDGET_MAX, &request->alerts_per_day) ||
        !read_number("--seed", request->seed, 0, 1e9, &seed) ||
        !read_number("--trials", request->trials, WALKS, TRIALS_MAX, &trials))
        return false;
    if (request->split && strcmp(request->split, "time") != 0 && strcmp(request->split, "series") != 0)
        return refuse("--split", request->split, "time or series");
    if (request->detector && request->measure)
        return refuse("--measure", request->measure, "--detector or --measure, not both");
    if (request->buckets && request->inputs.count)
        return refuse("--buckets", request->buckets, "--input or --buckets, not both");
    request->seed_number = (int64_t)seed;
    request->trial_count = (int64_t)trials;
    return true;
}

static bool read_request(int argc, char **argv, struct request *request)
{
    const struct argument own[] = {{"--detector", &request->detector, NULL},
                                   {"--measure", &request->measure, NULL},
                                   {"--type", &request->type, NULL},
                                   {"--statistic", &request->statistic, NULL},
                                   {"--buckets", &request->buckets, NULL},
                                   {"--labels", &request->labels, NULL},
                                   {"--from", &request->from, NULL},
                                   {"--to", &request->to, NULL},
                                   {"--alerts-per-day", &request->budget, NULL},
                                   {"--grace", &request->grace, NULL},
                                   {"--split", &request->split, NULL},
                                   {"--seed", &request->seed, NULL},
                                   {"--trials", &request->trials, NULL},
                                   {"--time", &request->time, NULL},
                                   {"--out", &request->out, NULL},
                                   {"--report", &request->report, NULL},
                                   {0}};

    return recorded_take(&argc, argv, &request->inputs) && arguments_read(argc, argv, own, &request->file) &&
           read_values(request);
}

static enum status find_detector(const struct plan *plan, const char *name, unsigned *ret_index,
                                 struct error *ret_error)
{
    const char **names = memory_new((plan->detector_count + 1) * sizeof *names);
    const char *near;

    for (unsigned i = 0; i < plan->detector_count; i++) {
        names[i] = plan->detectors[i].name;
        if (!name ? plan->detector_count == 1 : strcmp(names[i], name) == 0) {
            *ret_index = i;
            free(names);
            return STATUS_OK;
        }
    }
    near = name ? nearest_name(name, names, plan->detector_count) : NULL;
    free(names);
    if (!name)
        return fail(ret_error, "the file has %u detectors: say which one, with --detector NAME%s",
                    plan->detector_count, plan->measure_count ? ", or --measure NAME for a new one" : "");
    return fail(ret_error, "no detector named '%s'%s%s%s", name, near ? "; did you mean '" : "",
                near ? near : "", near ? "'?" : "");
}

static void use_detector(const struct plan *plan, const struct plan_detector *detector,
                         struct subject *ret_subject)
{
    const struct alert_policy *policy = &plan->policies[detector->policy];

    *ret_subject = (struct subject){.told = {.name = detector->name, .node = detector->node},
                                    .measure = &plan->measures[detector->measure],
                                    .statistic = detector->statistic,
                                    .backend = detector->backend,
                                    .trial = {.type = detector->type,
                                              .settings = detector->settings,
                                              .empty = detector->empty,
                                              .for_us = policy->for_us,
                                              .keep_firing_us = policy->keep_firing_us,
                                              .expire_us = policy->expire_us}};
}

/* A detector on a measure that has none, with default settings. */
static enum status use_measure(const struct plan *plan, const struct request *request,
                               struct subject *ret_subject, struct error *ret_error)
{
    const struct detector_type *type = detector_type_find(request->type ? request->type : "auto");
    const struct plan_measure *measure = NULL;
    struct subject subject = {.told = {.name = request->measure}};

    if (!type)
        return fail(ret_error, "--type: no detector named '%s'; `weir options` lists them", request->type);
    for (unsigned i = 0; i < plan->measure_count && !measure; i++)
        measure = strcmp(plan->measures[i].name, request->measure) == 0 ? &plan->measures[i] : NULL;
    if (!measure)
        return fail(ret_error, "the file has no measure named '%s'", request->measure);
    int statistic = request->statistic          ? statistic_find(span_of(request->statistic))
                    : measure->statistics.count ? statistic_find(span_of(measure->statistics.items[0]))
                                                : __builtin_ctz(measure->shape.statistics);
    if (statistic < 0 || !(measure->shape.statistics & 1u << statistic))
        return fail(ret_error, "the measure '%s' has no statistic '%s'", measure->name,
                    request->statistic ? request->statistic : "");
    subject.measure = measure;
    subject.statistic = (enum statistic)statistic;
    subject.own_settings = memory_new(type->settings_size);
    bool counts = statistic == STAT_COUNT || statistic == STAT_SUM || statistic == STAT_DISTINCT;
    subject.trial = (struct trial_settings){.type = type,
                                            .settings = subject.own_settings,
                                            .empty = counts ? 0 : NAN,
                                            .expire_us = plan->alerts.expire};
    const struct option_table tables[2] = {{type->options, type->option_count, subject.own_settings},
                                           {backend_options, backend_option_count, &subject.backend}};
    if (options_read(NULL, tables, 2, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    *ret_subject = subject;
    return STATUS_OK;
}

static enum status choose_subject(const struct plan *plan, const struct request *request,
                                  struct subject *ret_subject, struct error *ret_error)
{
    unsigned index = 0;
    enum status status = STATUS_OK;

    if (request->measure)
        status = use_measure(plan, request, ret_subject, ret_error);
    else if ((status = find_detector(plan, request->detector, &index, ret_error)) == STATUS_OK)
        use_detector(plan, &plan->detectors[index], ret_subject);
    ret_subject->told.statistic = statistic_names[ret_subject->statistic];
    return status;
}

struct reading {
    struct history *history;
    enum status status; /* of lines that a replay gave */
    struct error error;
};

static enum status take_bucket(void *owner, struct span line, struct error *ret_error)
{
    struct reading *reading = owner;

    return history_add(reading->history, line, ret_error) == STATUS_OK ? STATUS_OK : STATUS_FATAL;
}

static void take_line(void *owner, struct span line)
{
    struct reading *reading = owner;

    if (reading->status == STATUS_OK)
        reading->status = history_add(reading->history, line, &reading->error);
}

/* A source that can begin at a time, such as a Kafka topic, begins at --from. */
static void begin_sources(struct plan *plan, const char *from)
{
    struct error ignored;

    for (unsigned i = 0; i < plan->source_count && from; i++)
        (void)option_assign(plan->sources[i].type->options, plan->sources[i].type->option_count,
                            plan->sources[i].settings, "start", from, &ignored);
}

static enum status read_history(struct plan *plan, const struct request *request, struct history *history,
                                struct error *ret_error)
{
    struct reading reading = {.history = history};
    enum status status;

    if (request->buckets) {
        status = lines_read(request->buckets, take_bucket, &reading, ret_error);
    } else {
        status = recorded_use(plan, &request->inputs, ret_error);
        if (status == STATUS_OK) {
            begin_sources(plan, request->from);
            status = recorded_replay(plan, collect_open_reader(DOC_BUCKET, take_line, &reading), ret_error);
        }
    }
    if (status == STATUS_OK && reading.status != STATUS_OK)
        status = fail(ret_error, "%s", reading.error.text);
    if (status == STATUS_OK && history->rows == 0)
        status = fail(ret_error, "there are no buckets of the measure '%s'%s", history->measure->name,
                      request->from || request->to ? " in this time" : "");
    if (status == STATUS_OK)
        history_settle(history);
    return status;
}

struct label_reading {
    struct labels *labels;
    const char *rule;
};

static enum status take_label(void *owner, struct span line, struct error *ret_error)
{
    struct label_reading *reading = owner;

    return labels_add(reading->labels, line, reading->rule, ret_error);
}

static int64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static atomic_bool interrupted;

static void interrupt(int number)
{
    (void)number;
    atomic_store(&interrupted, true);
}

struct limit {
    int64_t end_us; /* 0: none */
    bool terminal;
};

static bool is_over(void *owner)
{
    const struct limit *limit = owner;

    return atomic_load(&interrupted) || (limit->end_us && now_us() >= limit->end_us);
}

static void show_progress(void *owner, uint64_t trials, uint64_t of)
{
    const struct limit *limit = owner;

    if (limit->terminal)
        fprintf(stderr, "\r%llu of at most %llu trials ", (unsigned long long)trials, (unsigned long long)of);
}

static enum status write_file(const char *path, const struct buffer *out, struct error *ret_error)
{
    FILE *file = path ? fopen(path, "we") : stdout;

    if (!file)
        return fail(ret_error, "cannot write %s: %s", path, strerror(errno));
    bool written = fwrite(out->data, 1, out->size, file) == out->size;

    written &= (path ? fclose(file) : fflush(file)) == 0;
    return written ? STATUS_OK
                   : fail(ret_error, "cannot write %s: %s", path ? path : "the result", strerror(errno));
}

static enum status write_outcome(const struct request *request, const struct tune *tune,
                                 const struct tune_subject *subject, struct error *ret_error)
{
    struct buffer out;
    enum status status;

    buffer_init(&out, SIZE_MAX);
    tune_write_text(tune, subject, &out);
    if (!request->out) {
        buffer_put_char(&out, '\n');
        tune_write_yaml(tune, subject, &out);
    }
    status = write_file(NULL, &out, ret_error);
    if (status == STATUS_OK && request->out) {
        buffer_clear(&out);
        tune_write_yaml(tune, subject, &out);
        status = write_file(request->out, &out, ret_error);
    }
    if (status == STATUS_OK && request->report) {
        buffer_clear(&out);
        tune_write_html(tune, subject, &out);
        status = write_file(request->report, &out, ret_error);
    }
    buffer_free(&out);
    return status;
}

static unsigned thread_count(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    return cores < 1 ? 1 : cores > WALKS ? WALKS : (unsigned)cores;
}

static enum status search_and_write(const struct request *request, const struct history *history,
                                    const struct labels *labels, const struct subject *subject,
                                    struct error *ret_error)
{
    struct limit limit = {.end_us = request->time_us ? now_us() + request->time_us : 0,
                          .terminal = isatty(STDERR_FILENO)};
    const struct tune_options options = {.alerts_per_day = request->alerts_per_day,
                                         .seed = (uint64_t)request->seed_number,
                                         .walks = WALKS,
                                         .steps = (unsigned)(request->trial_count / WALKS),
                                         .threads = thread_count(),
                                         .is_over = is_over,
                                         .watch = show_progress,
                                         .owner = &limit};
    enum status status = STATUS_FATAL;
    struct truth truth;
    struct tune tune;

    truth_make(&truth, history, labels, request->split && strcmp(request->split, "series") == 0,
               request->grace_us, 0);
    signal(SIGINT, interrupt); /* what was found by then is told */
    if (tune_run(&tune, history, &truth, &subject->trial, &options, ret_error)) {
        if (limit.terminal)
            fprintf(stderr, "\r                                        \r");
        status = write_outcome(request, &tune, &subject->told, ret_error);
        tune_free(&tune);
    }
    truth_free(&truth);
    return status;
}

/* With the labels read, which is quick and may be wrong, before the history. */
static int run(struct plan *plan, const struct request *request, struct subject *subject)
{
    struct label_reading reading = {.rule = subject->told.name};
    struct history history;
    struct labels labels = {0};
    struct error error;
    enum status status = STATUS_OK;

    reading.labels = &labels;
    history_init(&history, subject->measure, subject->statistic);
    history.from_us = request->from_us;
    history.to_us = request->to_us;
    subject->trial.backend = &subject->backend;
    if (request->labels)
        status = lines_read(request->labels, take_label, &reading, &error);
    if (status == STATUS_OK && request->labels && labels.count == 0)
        status = fail(&error, "%s: there are no labels", request->labels);
    if (status == STATUS_OK)
        status = read_history(plan, request, &history, &error);
    if (status == STATUS_OK)
        status = search_and_write(request, &history, request->labels ? &labels : NULL, subject, &error);
    if (status != STATUS_OK)
        fprintf(stderr, "weir tune: %s\n", error.text);
    history_free(&history);
    labels_free(&labels);
    return status == STATUS_OK ? EXIT_DONE : EXIT_OUTSIDE;
}

int cli_tune(int argc, char **argv)
{
    struct request request = {.detector = NULL};
    struct subject subject = {.own_settings = NULL};
    struct plan *plan;
    struct error error;
    int code = EXIT_USAGE;

    if (!read_request(argc, argv, &request) || !(plan = arguments_plan(&request.file)))
        return EXIT_USAGE;
    if (choose_subject(plan, &request, &subject, &error) == STATUS_OK)
        code = run(plan, &request, &subject);
    else
        fprintf(stderr, "weir tune: %s\n", error.text);
    free(subject.own_settings);
    plan_free(plan);
    return code;
}
