/* A real server with a sample view and dead letters, for page_test.py: prints its address, serves until its
 * input ends; a line `reload` takes the process away, any other gives it back. Arguments: the file for dead
 * letters; `empty` leaves all empty; `cluster` is one process of several; `flood`: no
 * watermark yet, and many alerts newer than an open one. Times end at 2026-11-21T10:00Z. */
#include "pipeline/dead_letters.h"
#include "pipeline/feedback.h"
#include "serve/server.h"
#include "tests/serve/process_stand_in.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define END_US ((int64_t)1795255200 * 1000000)
enum { MINUTE_US = 60 * 1000000, POINTS = 180, SPIKE = 131, HOLE = 60, HOLE_MINUTES = 8 };

struct sample {
    struct view *view;
    struct buffer line;
};

static struct id128 number_id(uint64_t kind, uint64_t number)
{
    return (struct id128){.high = kind << 32, .low = number};
}

static void put(struct sample *sample, enum document_kind kind, struct id128 group, int64_t time_us)
{
    view_put(sample->view,
             &(struct view_line){
                 .kind = kind, .group = group, .time_us = time_us, .text = buffer_span(&sample->line)});
    buffer_clear(&sample->line);
}

static const struct span run_text = {.data = "3f1b0b5e-orders", .size = 15};

static void put_alert(struct sample *sample, const struct alert *alert)
{
    line_of_alert(alert, &sample->line);
    view_put(sample->view, &(struct view_line){.kind = DOC_ALERT,
                                               .group = alert->episode,
                                               .time_us = alert->at_us,
                                               .version = alert->revision + 1,
                                               .text = buffer_span(&sample->line)});
    buffer_clear(&sample->line);
}

static void put_alerts(struct sample *sample)
{
    static const struct {
        enum severity severity;
        enum alert_state state;
        enum alert_kind kind;
        const char *rule, *workflow, *task, *host, *summary;
        int minutes;
    } rows[] = {
        {SEVERITY_CRITICAL, ALERT_FIRING, ALERT_FAILURE, "failure", "orders_daily", "load_warehouse", "",
         "load_warehouse failed: connection refused by warehouse-2:5432 after 3 attempts", 12},
        {SEVERITY_WARNING, ALERT_FIRING, ALERT_DURATION, "slow", "orders_daily", "join/sessions", "",
         "took 42 min, expected 8 min to 15 min", 49},
        {SEVERITY_ERROR, ALERT_FIRING, ALERT_MISSING, "missing", "billing_export", "", "",
         "no run since 06:00, expected one every hour", 118},
        {SEVERITY_WARNING, ALERT_PENDING, ALERT_VOLUME, "volume", "clickstream", "", "",
         "count is 312, expected 880 to 1140", 2},
        {SEVERITY_INFO, ALERT_FIRING, ALERT_TEMPLATE, "new_template", "", "", "worker-17",
         "new log message: <script>alert(1)</script> retrying in <*> s", 8},
        {SEVERITY_CRITICAL, ALERT_RESOLVED, ALERT_FAILURE, "failure", "orders_daily", "check_counts", "",
         "check_counts failed: 2 of 14 counts differ", 205},
        {SEVERITY_WARNING, ALERT_RESOLVED, ALERT_RETRY, "retry_storm",
         "ingest_partner_feeds_with_a_rather_long_name", "download", "", "11 retries within 10 min", 260},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bool resolved = rows[i].state == ALERT_RESOLVED;
        struct alert alert = {.id = number_id(1, i),
                              .episode = number_id(2, i),
                              .at_us = END_US - rows[i].minutes * (int64_t)MINUTE_US,
                              .state = rows[i].state,
                              .kind = rows[i].kind,
                              .severity = rows[i].severity,
                              .rule = span_of(rows[i].rule),
                              .workflow = span_of(rows[i].workflow),
                              .task = span_of(rows[i].task),
                              .host = span_of(rows[i].host),
                              .summary = span_of(rows[i].summary),
                              .description = SPAN_LITERAL("What the rule says at greater length."),
                              .runbook = SPAN_LITERAL("https://example.org/runbooks/one"),
                              .score = 0.987,
                              .probability = 0.001,
                              .run = rows[i].task[0] ? run_text : (struct span){0},
                              .labels = {{SPAN_LITERAL("workflow"), span_of(rows[i].workflow)}},
                              .label_count = rows[i].workflow[0] ? 1 : 0,
                              .actual = 42,
                              .expected_low = 8,
                              .expected_high = 15,
                              .unit = SPAN_LITERAL("min")};

        alert.starts_us = alert.at_us;
        alert.state = ALERT_PENDING;
        put_alert(sample, &alert);
        alert.revision = 1;
        alert.actual = 48;
        alert.state = rows[i].state;
        alert.ends_us = resolved ? alert.at_us + 7 * (int64_t)MINUTE_US : TIME_NONE;
        alert.at_us = resolved ? alert.ends_us : alert.at_us + (int64_t)MINUTE_US;
        put_alert(sample, &alert);
    }
}

/* One that is open, then many that are resolved; its key has one more field than that of the series. */
static void put_flood(struct sample *sample)
{
    for (unsigned i = 0; i < 250; i++) {
        struct alert alert = {.id = number_id(1, i),
                              .episode = number_id(2, i),
                              .at_us = END_US + i,
                              .starts_us = END_US + i,
                              .ends_us = i ? END_US + i : TIME_NONE,
                              .state = i ? ALERT_RESOLVED : ALERT_FIRING,
                              .kind = ALERT_DURATION,
                              .severity = SEVERITY_WARNING,
                              .rule = SPAN_LITERAL("slow"),
                              .workflow = SPAN_LITERAL("orders_daily"),
                              .task = i ? SPAN_LITERAL("other") : SPAN_LITERAL("join"),
                              .labels = {{SPAN_LITERAL("workflow"), SPAN_LITERAL("orders_daily")},
                                         {SPAN_LITERAL("task"), SPAN_LITERAL("join")}},
                              .label_count = 2};

        put_alert(sample, &alert);
    }
}

/* One run whose tasks overlap, wait, fail and are tried again. */
static void put_whole_run(struct sample *sample)
{
    static const struct {
        const char *task;
        enum run_state state;
        int queued, started, ended, attempt, map_index; /* minutes of the run; ended -1: not yet */
    } rows[] = {
        {"", STATE_RUNNING, 0, 1, -1, 1, -1},
        {"extract", STATE_SUCCESS, 1, 2, 9, 1, -1},
        {"join/sessions", STATE_SUCCESS, 2, 6, 20, 1, 0},
        {"join/sessions", STATE_SUCCESS, 2, 9, 24, 1, 1},
        {"join/sessions", STATE_RUNNING, 2, 14, -1, 1, 2},
        {"load_warehouse", STATE_FAILED, 20, 24, 30, 1, -1},
        {"load_warehouse", STATE_FAILED, 31, 33, 37, 2, -1},
        {"load_warehouse", STATE_RETRYING, 38, 43, -1, 3, -1},
        {"check_counts_of_all_tables_after_the_load", STATE_QUEUED, 40, -1, -1, 1, -1},
    };
    const int64_t begin_us = END_US - 56 * (int64_t)MINUTE_US;

    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        bool started = rows[i].started >= 0, ended = rows[i].ended >= 0;
        struct run_record run = {
            .id = number_id(5, i),
            .is_task = rows[i].task[0],
            .state = rows[i].state,
            .first_us = begin_us,
            .scheduled_us = begin_us,
            .queued_us = begin_us + rows[i].queued * (int64_t)MINUTE_US,
            .started_us = started ? begin_us + rows[i].started * (int64_t)MINUTE_US : TIME_NONE,
            .ended_us = ended ? begin_us + rows[i].ended * (int64_t)MINUTE_US : TIME_NONE,
            .duration_ms = ended ? (rows[i].ended - rows[i].started) * 60000.0 : NAN,
            .workflow = SPAN_LITERAL("orders_daily"),
            .task = span_of(rows[i].task),
            .run = run_text,
            .run_name = SPAN_LITERAL("scheduled__2026-11-21T09:00:00+00:00"),
            .attempt = (uint16_t)rows[i].attempt,
            .map_index = rows[i].map_index >= 0 ? rows[i].map_index : INT32_MIN,
            .error = rows[i].state == STATE_FAILED ? SPAN_LITERAL("connection refused by warehouse-2:5432")
                                                   : (struct span){0}};

        if (!run.is_task)
            run.tasks[STATE_SUCCESS] = 3;
        line_of_run(&run, &sample->line);
        put(sample, DOC_RUN, run.id, END_US - i);
    }
}

static bool put_letters(struct dead_letters *store, struct error *error)
{
    static const char bytes[] = "\x00\xff\x80not text<img src=x onerror=alert(1)>";
    const struct dead_letter letters[] = {
        {.source = SPAN_LITERAL("lineage"),
         .topic = SPAN_LITERAL("openlineage"),
         .partition = 2,
         .offset = 48202,
         .stage = "decode",
         .reason = SPAN_LITERAL("not JSON: premature end at byte 28"),
         .payload = SPAN_LITERAL("{\"eventType\":\"START\",\"run\":"),
         .time_us = END_US - MINUTE_US},
        {.source = SPAN_LITERAL("lineage"),
         .topic = SPAN_LITERAL("openlineage"),
         .partition = 0,
         .offset = 48100,
         .stage = "clean",
         .reason = SPAN_LITERAL("time is 3 h ahead of its arrival <b>bold</b>"),
         .payload = span_make(bytes, sizeof bytes - 1),
         .time_us = END_US - 30 * (int64_t)MINUTE_US},
    };

    return dead_letters_put(store, letters, 2, error) == STATUS_OK;
}

static void put_runs(struct sample *sample)
{
    static const enum run_state states[] = {STATE_RUNNING, STATE_SUCCESS, STATE_FAILED,  STATE_SUCCESS,
                                            STATE_QUEUED,  STATE_SKIPPED, STATE_RETRYING};
    static const char *const workflows[] = {"orders_daily", "customer_360", "billing_export", "clickstream"};
    static const char *const tasks[] = {"extract", "load_warehouse", "", "check_counts", "join/sessions"};

    for (unsigned i = 0; i < 60; i++) {
        enum run_state state = states[i % 7];
        bool ended = run_state_is_terminal(state), started = state != STATE_QUEUED;
        int64_t first_us = END_US - (int64_t)(i * 4 + 1) * MINUTE_US;
        struct run_record run = {
            .id = number_id(3, i),
            .is_task = i % 5 != 2,
            .state = state,
            .first_us = first_us,
            .scheduled_us = TIME_NONE,
            .queued_us = TIME_NONE,
            .started_us = started ? first_us : TIME_NONE,
            .ended_us = ended ? first_us + 90 * 1000000 : TIME_NONE,
            .duration_ms = ended ? 1234.5 * (i + 1) : NAN,
            .workflow = span_of(workflows[i % 4]),
            .task = span_of(tasks[i % 5]),
            .run = SPAN_LITERAL("scheduled__2026-11-21T06:00:00+00:00"),
            .attempt = (uint16_t)(i % 3 + 1),
            .map_index = i % 5 == 4 ? 7 : INT32_MIN,
            .error = state == STATE_FAILED
                         ? SPAN_LITERAL(
                               "psycopg2.OperationalError: connection to server at \"warehouse-2\" failed")
                         : (struct span){0}};

        line_of_run(&run, &sample->line);
        put(sample, DOC_RUN, run.id, first_us);
    }
}

/* Series 0 is quiet, series 1 has a spike, an expected band and an hour without buckets. */
static void put_buckets(struct sample *sample)
{
    static const struct measure_shape shape = {.name = "latency",
                                               .statistics = 1u << STAT_COUNT | 1u << STAT_P95,
                                               .by_count = 1,
                                               .by_names = {"workflow"},
                                               .every_us = MINUTE_US,
                                               .window_us = MINUTE_US};
    const struct span keys[] = {SPAN_LITERAL("billing_export"), SPAN_LITERAL("orders_daily")};

    for (unsigned series = 0; series < 2; series++)
        for (int i = 0; i < POINTS; i++) {
            int64_t start_us = END_US - (int64_t)(POINTS - i) * MINUTE_US;
            bool spike = series == 1 && i == SPIKE;
            double expected = 820 + 220 * sin(i / 24.0), noise = ((i * 7919) % 97 - 48) * 1.6;
            struct bucket bucket = {.shape = &shape,
                                    .key = &keys[series],
                                    .id = number_id(4 + series, (uint64_t)i),
                                    .start_us = start_us,
                                    .end_us = start_us + MINUTE_US,
                                    .rows = 40,
                                    .version = 41,
                                    .score = series ? spike ? 0.997 : 0.2 : NAN,
                                    .expected_low = expected - 140,
                                    .expected_high = expected + 140,
                                    .anomaly = spike,
                                    .scored = STAT_P95};

            if (series == 1 && i >= HOLE && i < HOLE + HOLE_MINUTES)
                continue;
            bucket.values[STAT_COUNT] = 40 + i % 9;
            bucket.values[STAT_P95] = expected + noise + (spike ? 900 : 0);
            line_of_bucket(&bucket, &sample->line);
            put(sample, DOC_BUCKET, number_id(8, series), start_us);
        }
}

static const char problems[] =
    "[{\"severity\":\"error\",\"text\":\"sink search is paused: the index template weir-runs-v1 is "
    "missing\"},"
    "{\"severity\":\"warning\",\"text\":\"2 messages could not be processed or delivered: see the dead "
    "letters\"}]";
static const char cluster[] = "{\"application_id\":\"airflow-weir\",\"tasks\":4,\"mine\":[0,2]}";

static void serve(struct server *server, struct process *process)
{
    char line[32];

    while (fgets(line, sizeof line, stdin))
        server_set_process(server, strcmp(line, "reload\n") == 0 ? NULL : process);
}

int main(int argc, char **argv)
{
    bool empty = argc > 2 && strcmp(argv[2], "empty") == 0,
         many = argc > 2 && strcmp(argv[2], "cluster") == 0,
         flood = argc > 2 && strcmp(argv[2], "flood") == 0;
    struct process process = {.ready = true,
                              .name = "airflow",
                              .watermark_s = flood ? 0 : END_US / 1e6,
                              .cluster = many ? cluster : NULL,
                              .problems = empty ? NULL : problems};
    struct sample sample = {.view = view_new()};
    struct server *server;
    struct error error;
    char address[64];

    if (argc < 2 || dead_letters_open(argv[1], &(struct store_options){0}, &process.dead_letters, &error) ||
        feedback_open(argv[1], &(struct store_options){0}, &process.feedback, &error))
        return 2;
    if (!empty) {
        buffer_init(&sample.line, 1 << 16);
        if (flood)
            put_flood(&sample);
        else
            put_alerts(&sample);
        put_runs(&sample);
        put_whole_run(&sample);
        put_buckets(&sample);
        buffer_free(&sample.line);
        if (!put_letters(process.dead_letters, &error))
            return 2;
    }
    if (server_start("127.0.0.1:0", &process, sample.view, NULL, NULL, &server, address, &error) !=
        STATUS_OK) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    puts(address);
    fflush(stdout);
    serve(server, &process);
    server_stop(server);
    view_free(sample.view);
    dead_letters_close(process.dead_letters);
    feedback_close(process.feedback);
    return 0;
}
