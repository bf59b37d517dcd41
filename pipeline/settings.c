#include "pipeline/settings.h"

static const char *const late_choices[] = {"drop", "dead_letter", "correct", NULL};
static const char *const skew_choices[] = {"repair", "dead_letter", NULL};
static const char *const measure_choices[] = {"event", "run", NULL};
static const char *const full_choices[] = {"hold", "drop_raw", NULL};
static const char *const rule_choices[] = {"event", "bucket", "run", NULL};

#define ROWS(table)                                                                                          \
    {                                                                                                        \
        (table), sizeof(table) / sizeof *(table)                                                             \
    }
#define AT(type, member) .offset = offsetof(type, member)

/* clang-format off */
static const struct option general_options[] = {
    {"name", OPTION_TEXT, AT(struct plan_general, name), .required = true, .help = "Name of the pipeline; part of every id, so choose it once."},
    {"workers", OPTION_INTEGER, AT(struct plan_general, workers), .default_text = "0", .max = WORKERS_MAX, .help = "Worker threads; 0: one a core."},
    {"batch_rows", OPTION_INTEGER, AT(struct plan_general, batch_rows), .default_text = "1024", .min = 1, .max = BATCH_ROWS_MAX, .help = "Most messages taken from a partition at a time."},
    {"time", OPTION_NODE, AT(struct plan_general, time), .help = "Event time."},
    {"runs", OPTION_NODE, AT(struct plan_general, runs), .help = "Run table."},
    {"limits", OPTION_NODE, AT(struct plan_general, limits), .help = "Written limits."},
    {"store", OPTION_NODE, AT(struct plan_general, store), .help = "Where state is kept."},
    {"cluster", OPTION_NODE, AT(struct plan_general, cluster), .help = "Several processes that share the work."},
    {"http", OPTION_NODE, AT(struct plan_general, http), .help = "Page and API."},
    {"alerts", OPTION_NODE, AT(struct plan_general, alerts), .help = "Alerts in general."},
    {"formats", OPTION_NODE, AT(struct plan_general, formats), .help = "How payloads are read."},
    {"sources", OPTION_NODE, AT(struct plan_general, sources), .help = "Where messages come from."},
    {"clean", OPTION_NODE, AT(struct plan_general, clean), .help = "Steps on each row, in order: keep, drop, set, rename, redact, dedupe, throttle, missing, limit, convert."},
    {"measures", OPTION_NODE, AT(struct plan_general, measures), .help = "Series of buckets."},
    {"detectors", OPTION_NODE, AT(struct plan_general, detectors), .help = "Statistical detectors on measures."},
    {"rules", OPTION_NODE, AT(struct plan_general, rules), .help = "Static rules."},
    {"watch", OPTION_BOOL, AT(struct plan_general, watch), .default_text = "true", .help = "The built-in workflow watch, which learns what is usual: failures, retries, slow, overdue and missing runs, volume, silent sources, missing heartbeats (docs/watch.md). False switches it off."},
    {"calendars", OPTION_NODE, AT(struct plan_general, calendars), .help = "Times that are not normal."},
    {"maintenance", OPTION_TEXTS, AT(struct plan_general, maintenance), .help = "Names of calendars: while one of them holds, no detector learns, and nothing is alerted."},
    {"schedules", OPTION_NODE, AT(struct plan_general, schedules), .help = "When workflows start, for the watch, which otherwise learns it."},
    {"sinks", OPTION_NODE, AT(struct plan_general, sinks), .help = "Where documents go."},
    {"receivers", OPTION_NODE, AT(struct plan_general, receivers), .help = "Who is told of alerts."},
    {"include", OPTION_NODE, AT(struct plan_general, include), .help = "Further files (patterns); lists append, a scalar may be set once."},
};
static const struct option time_options[] = {
    {"lateness", OPTION_DURATION, AT(struct plan_time, lateness), .default_text = "10s", .max = 86400 * 30, .help = "How far behind the greatest event time of its partition a row may be and still count."},
    {"idle_after", OPTION_DURATION, AT(struct plan_time, idle_after), .default_text = "30s", .min = 0.001, .max = 86400, .help = "A partition at its end for so long no longer holds back the others (live only)."},
    {"max_skew", OPTION_DURATION, AT(struct plan_time, max_skew), .default_text = "5m", .min = 1, .max = 86400 * 36500.0, .help = "How far ahead of its arrival an event time may be."},
    {"max_skew_ahead", OPTION_DURATION, AT(struct plan_time, max_skew_ahead), .default_text = "5m", .min = 1, .max = 86400 * 365.0, .help = "No partition is read further than this beyond the slowest one."},
    {"correct_for", OPTION_DURATION, AT(struct plan_time, correct_for), .default_text = "10m", .max = 86400 * 7, .help = "How long a closed bucket can still be corrected (late: correct, and provisional buckets)."},
    {"late", OPTION_CHOICE, AT(struct plan_time, late), .default_text = "drop", .choices = late_choices, .help = "What becomes of a row that is too late for its bucket."},
    {"skew", OPTION_CHOICE, AT(struct plan_time, skew), .default_text = "repair", .choices = skew_choices, .help = "What becomes of a row more than max_skew ahead of its arrival: its time is set to the arrival, or it is a dead letter."},
};
static const struct option runs_options[] = {
    {"keep", OPTION_DURATION, AT(struct plan_runs, keep), .default_text = "10m", .min = 1, .max = 86400 * 30, .help = "How long a finished run is remembered for events that come after its end; later ones begin it anew."},
};
static const struct option limits_options[] = {
    {"series", OPTION_INTEGER, AT(struct plan_limits, series), .default_text = "1000000", .min = SHARDS, .max = 100000000, .scale = SCALE_LOG, .help = "Most series (measure group and key) kept; rows of further keys are counted and left out."},
    {"runs", OPTION_INTEGER, AT(struct plan_limits, runs), .default_text = "1000000", .min = SHARDS, .max = 100000000, .scale = SCALE_LOG, .help = "Most runs and task attempts kept; the oldest go first."},
    {"hot", OPTION_SIZE, AT(struct plan_limits, hot_bytes), .default_text = "256MiB", .max = 1e12, .help = "Memory lent to series whose detector can use more of it, in equal parts to such detectors and each of 256 shards; 0: none."},
    {"order", OPTION_SIZE, AT(struct plan_limits, order_bytes), .default_text = "256MiB", .min = 1 << 20, .max = 1e12, .scale = SCALE_LOG, .help = "Rows waiting for their order time; above it only the slowest partition is read."},
    {"dead_letters", OPTION_SIZE, AT(struct plan_limits, dead_letter_bytes), .default_text = "1GiB", .min = 1 << 20, .max = 1e12, .scale = SCALE_LOG, .help = "Size of the dead-letter store; when full, input is held."},
};
static const struct option store_options[] = {
    {"path", OPTION_PATH, AT(struct plan_store, path), .default_text = "weir.db", .help = "The SQLite file of this pipeline: its state, outbox, notification log, history of alerts and runs, and dead letters."},
    {"checkpoint", OPTION_DURATION, AT(struct plan_store, checkpoint_us), .default_text = "5s", .min = 0.1, .max = 600, .help = "How often the state is stored; less often while a checkpoint takes more than a twentieth of the time."},
    {"drain", OPTION_DURATION, AT(struct plan_store, drain_us), .default_text = "10s", .max = 3600, .help = "How long a stop waits for sinks before the rest goes to the outbox."},
    {"history", OPTION_DURATION, AT(struct plan_store, history_us), .default_text = "30d", .min = 3600, .max = 86400 * 3650.0, .help = "How long the history of alerts and of ended runs, the notification log and the audit log are kept."},
    {"outbox", OPTION_SIZE, AT(struct plan_store, outbox_bytes), .default_text = "1GiB", .min = 1 << 20, .max = 1e13, .scale = SCALE_LOG, .help = "Derived documents kept for sinks that do not take them; beyond it the input is held."},
    {"limit", OPTION_SIZE, AT(struct plan_store, limit_bytes), .default_text = "0", .max = 1e13, .help = "Size of the store without outbox and dead letters; beyond it history is removed early, then the input is held; 0: no limit."},
};
static const struct option cluster_options[] = {
    {"enabled", OPTION_BOOL, AT(struct plan_cluster, enabled), .default_text = "false", .help = "Several processes with the same configuration share the work through Kafka; all sources must be Kafka topics."},
    {"application_id", OPTION_TEXT, AT(struct plan_cluster, application_id), .help = "Names the consumer group, the internal topics and the transactions; default: the pipeline's name."},
    {"brokers", OPTION_TEXT, AT(struct plan_cluster, brokers), .help = "Where the internal topics are, and all the sources' topics: host:port, several with commas."},
    {"tasks", OPTION_INTEGER, AT(struct plan_cluster, tasks), .default_text = "8", .min = 1, .max = WORKERS_MAX, .scale = SCALE_LOG, .help = "Parts the work is divided into, a power of two; a process has some of them, each with a thread of its own. Cannot be changed while there is state."},
    {"commit", OPTION_DURATION, AT(struct plan_cluster, commit_us), .default_text = "200ms", .min = 0.01, .max = 60, .help = "How often a task commits its transaction; what it sends to other tasks arrives there after it."},
    {"session_timeout", OPTION_DURATION, AT(struct plan_cluster, session_us), .default_text = "10s", .min = 1, .max = 1800, .help = "A process that is silent for so long loses its tasks to the others; half of it after its last commit it tells nobody anything."},
    {"instance", OPTION_TEXT, AT(struct plan_cluster, instance), .help = "Name of this process in the group (group.instance.id), the same after a restart, different in each process; default: made of the host's name and store.path."},
    {"replication", OPTION_INTEGER, AT(struct plan_cluster, replication), .default_text = "-1", .min = -1, .max = 100, .help = "Replication factor of the internal topics when they are made; -1: the brokers' default."},
    {"standby", OPTION_BOOL, AT(struct plan_cluster, standby), .default_text = "false", .help = "This process keeps a warm copy of the state of all tasks that others have, so that it takes them over within moments; costs disk of the size of all state."},
    {"librdkafka", OPTION_PAIRS, AT(struct plan_cluster, librdkafka), .help = "Properties of librdkafka, like `security.protocol`, `sasl.username` or `ssl.ca.location`."},
};
static const struct option http_options[] = {
    {"listen", OPTION_TEXT, AT(struct plan_http, listen), .default_text = "127.0.0.1:8470", .help = "Address of the page and the API; \"\" switches both off; a taken port is said and the next one used."},
};
static const struct option alerts_options[] = {
    {"rest", OPTION_DURATION, AT(struct plan_alerts, rest), .default_text = "10m", .max = 86400 * 7, .help = "How long an event rule fires after its last match; further matches prolong the same episode."},
    {"expire", OPTION_DURATION, AT(struct plan_alerts, expire), .default_text = "1h", .max = 86400 * 30, .help = "An open alert without any news for so long is resolved with reason expired; 0: never."},
    {"to", OPTION_TEXTS, AT(struct plan_alerts, to), .help = "Names of the receivers that get alerts; default: all of them."},
    {"notify_max_age", OPTION_DURATION, AT(struct plan_alerts, notify_max_age), .default_text = "15m", .min = 1, .max = 86400 * 365.0, .help = "Live, receivers are told of what was older than this and `time.lateness` together when it was found in one digest, not one by one."},
};
static const struct option format_options[] = {
    {"name", OPTION_TEXT, AT(struct plan_format, name), .required = true, .help = "Name by which sources refer to it."},
};
static const struct option source_options[] = {
    {"name", OPTION_TEXT, AT(struct plan_source, name), .required = true, .help = "Name of the source; part of ids."},
    {"type", OPTION_TEXT, AT(struct plan_source, type_name), .required = true, .help = "file, host, kafka, recorded or stdin."},
    {"format", OPTION_TEXT, AT(struct plan_source, format_name), .default_text = "fields", .help = "A built-in format or a name under formats."},
    {"labels", OPTION_PAIRS, AT(struct plan_source, labels_given), .help = "Constant labels of each row, like {region: eu}: `labels.region` in keys and expressions. One in the message of the same name gives way."},
};
static const struct option measure_options[] = {
    {"name", OPTION_TEXT, AT(struct plan_measure, name), .required = true, .help = "Name of the measure."},
    {"on", OPTION_CHOICE, AT(struct plan_measure, on), .default_text = "event", .choices = measure_choices, .help = "Rows to add up: events, or the transitions of runs and tasks."},
    {"of", OPTION_TEXT, AT(struct plan_measure, of), .default_text = "count", .help = "count, a field, or a CEL expression giving a number."},
    {"statistics", OPTION_TEXTS, AT(struct plan_measure, statistics), .help = "count sum min max mean variance p50 p90 p95 p99 distinct ratio, and rate (of a counter, a second, resets handled); default count, or count, mean and p95 of a value."},
    {"where", OPTION_TEXT, AT(struct plan_measure, where_text), .help = "CEL: only rows for which it is true."},
    {"ratio", OPTION_TEXT, AT(struct plan_measure, ratio_text), .help = "CEL: the statistic ratio is the share of rows for which it is true."},
    {"by", OPTION_TEXTS, AT(struct plan_measure, by), .help = "Fields that make the key, at most 8."},
    {"every", OPTION_DURATION, AT(struct plan_measure, every), .default_text = "1m", .min = 0.001, .max = 86400 * 31, .help = "A bucket ends at each multiple of this."},
    {"window", OPTION_DURATION, AT(struct plan_measure, window), .default_text = "0", .max = 86400 * 31, .help = "Length of a bucket, a multiple of every (hopping); 0: every."},
    {"unit", OPTION_TEXT, AT(struct plan_measure, unit), .help = "Unit of the value, for people."},
    {"except", OPTION_TEXTS, AT(struct plan_measure, except), .help = "Names of calendars: buckets that touch one are told, but no detector learns from them and no bucket rule judges them."},
};
static const struct option calendar_options[] = {
    {"name", OPTION_TEXT, AT(struct calendar_settings, name), .required = true, .help = "Name of the calendar. It holds when all its keys hold."},
    {"location", OPTION_TEXT, AT(struct calendar_settings, location), .default_text = "UTC", .help = "Time zone of its clock: a name of the system's time zones, like Europe/Berlin, or an offset like +02:00."},
    {"times", OPTION_TEXTS, AT(struct calendar_settings, times), .help = "Times of the day, like 08:00-18:00; the end is not in it, and at most 24:00."},
    {"weekdays", OPTION_TEXTS, AT(struct calendar_settings, weekdays), .help = "Days of the week, like saturday or monday:friday."},
    {"days_of_month", OPTION_TEXTS, AT(struct calendar_settings, days_of_month), .help = "Days of the month, like 1:5; -1 is its last."},
    {"months", OPTION_TEXTS, AT(struct calendar_settings, months), .help = "Months, like 12 or january:march."},
    {"years", OPTION_TEXTS, AT(struct calendar_settings, years), .help = "Years, like 2026:2028."},
    {"from", OPTION_TEXT, AT(struct calendar_settings, from), .help = "Not before this time, like 2026-12-24T18:00:00; one without a zone is of the location."},
    {"to", OPTION_TEXT, AT(struct calendar_settings, to), .help = "Not from this time on."},
};
static const struct option detector_options[] = {
    {"name", OPTION_TEXT, AT(struct plan_detector, name), .required = true, .help = "Name of the detector; alerts carry it as rule."},
    {"type", OPTION_TEXT, AT(struct plan_detector, type_name), .required = true, .help = "Which detector."},
    {"measure", OPTION_TEXT, AT(struct plan_detector, measure_name), .required = true, .help = "The measure that it watches."},
    {"statistic", OPTION_TEXT, AT(struct plan_detector, statistic_name), .default_text = "", .help = "Which statistic of it; default the first that the measure names."},
    {"severity", OPTION_CHOICE, AT(struct plan_detector, severity), .default_text = "warning", .choices = severity_names, .help = "Severity of its alerts."},
    {"for", OPTION_DURATION, AT(struct plan_detector, for_us), .default_text = "0", .max = 86400 * 30, .help = "Anomalous for so long before the alert fires."},
    {"keep_firing_for", OPTION_DURATION, AT(struct plan_detector, keep_firing_us), .default_text = "0", .max = 86400 * 30, .help = "The alert goes on so long after the anomaly ended."},
    {"except", OPTION_TEXTS, AT(struct plan_detector, except), .help = "Names of calendars: from buckets that touch one it learns nothing, and it raises nothing."},
    {"annotations", OPTION_NODE, AT(struct plan_detector, annotations_node), .help = "summary, description, runbook."},
};
static const struct option rule_options[] = {
    {"name", OPTION_TEXT, AT(struct plan_rule, name), .required = true, .help = "Name of the rule."},
    {"on", OPTION_CHOICE, AT(struct plan_rule, on), .default_text = "event", .choices = rule_choices, .help = "What it judges: each event, each closed bucket, or each transition of a run or task."},
    {"when", OPTION_TEXT, AT(struct plan_rule, when), .required = true, .help = "CEL condition."},
    {"measure", OPTION_TEXT, AT(struct plan_rule, measure_name), .help = "Bucket rules: the measure whose statistics have bare names."},
    {"by", OPTION_TEXTS, AT(struct plan_rule, by), .help = "Event and run rules: fields that make the key of the alert; bucket rules take the measure's."},
    {"severity", OPTION_CHOICE, AT(struct plan_rule, severity), .default_text = "warning", .choices = severity_names, .help = "Severity of its alerts."},
    {"kind", OPTION_CHOICE, AT(struct plan_rule, kind), .default_text = "rule", .choices = alert_kind_names, .help = "Kind of its alerts."},
    {"for", OPTION_DURATION, AT(struct plan_rule, for_us), .default_text = "0", .max = 86400 * 30, .help = "True for so long before the alert fires (bucket rules)."},
    {"keep_firing_for", OPTION_DURATION, AT(struct plan_rule, keep_firing_us), .default_text = "0", .max = 86400 * 30, .help = "The alert goes on so long after the condition ended; event rules: 0 takes alerts.rest."},
    {"annotations", OPTION_NODE, AT(struct plan_rule, annotations_node), .help = "summary, description, runbook: texts with {{field}}."},
};
static const struct option annotation_options[] = {
    {"summary", OPTION_TEXT, AT(struct plan_annotations, summary), .help = "One line for people; {{field}} is filled in."},
    {"description", OPTION_TEXT, AT(struct plan_annotations, description), .help = "More of it."},
    {"runbook", OPTION_TEXT, AT(struct plan_annotations, runbook), .help = "Link to what to do."},
};
static const struct option sink_options[] = {
    {"name", OPTION_TEXT, AT(struct plan_sink, name), .required = true, .help = "Name of the sink."},
    {"type", OPTION_TEXT, AT(struct plan_sink, type_name), .required = true, .help = "elasticsearch, file, smtp, stdout or webhook."},
    {"send", OPTION_TEXTS, AT(struct plan_sink, send), .required = true, .help = "events, buckets, signals, runs, alerts; to elasticsearch also metrics: the figures of /metrics, every 10 s."},
    {"when_full", OPTION_CHOICE, AT(struct plan_sink, when_full), .default_text = "hold", .choices = full_choices, .help = "When it does not take events: the input is held, or those events are dropped and counted. The rest waits in the outbox."},
};
static const struct option receiver_options[] = {
    {"name", OPTION_TEXT, AT(struct plan_sink, name), .required = true, .help = "Name of the receiver, also among the sinks."},
    {"type", OPTION_TEXT, AT(struct plan_sink, type_name), .required = true, .help = "webhook or smtp."},
};
static const struct option schedule_options[] = {
    {"workflow", OPTION_TEXT, AT(struct plan_schedule, workflow), .required = true, .help = "Name of the workflow, of any source and namespace."},
    {"cron", OPTION_TEXT, AT(struct plan_schedule, cron_text), .required = true, .help = "When its runs start: minute, hour, day of the month, month, day of the week as in crontab(5), or @hourly, @daily, @weekly, @monthly, @yearly."},
    {"timezone", OPTION_TEXT, AT(struct plan_schedule, timezone), .default_text = "UTC", .help = "Of the cron line: a name like Europe/Berlin."},
    {"grace", OPTION_DURATION, AT(struct plan_schedule, grace_us), .default_text = "5m", .min = 1, .max = 86400 * 7, .help = "How late a run may start before watch_missing tells of it."},
};
/* clang-format on */

const struct option_rows general_rows = ROWS(general_options), time_rows = ROWS(time_options),
                         runs_rows = ROWS(runs_options), limits_rows = ROWS(limits_options),
                         store_rows = ROWS(store_options), cluster_rows = ROWS(cluster_options),
                         http_rows = ROWS(http_options), alerts_rows = ROWS(alerts_options),
                         format_rows = ROWS(format_options), source_rows = ROWS(source_options),
                         measure_rows = ROWS(measure_options), detector_rows = ROWS(detector_options),
                         rule_rows = ROWS(rule_options), annotation_rows = ROWS(annotation_options),
                         calendar_rows = ROWS(calendar_options), sink_rows = ROWS(sink_options),
                         receiver_rows = ROWS(receiver_options), schedule_rows = ROWS(schedule_options);

#define SECTION(name, help, table)                                                                           \
    {                                                                                                        \
        name, help, table, sizeof(table) / sizeof *(table)                                                   \
    }

const struct plan_section plan_sections[] = {
    SECTION("", "Top level", general_options),
    SECTION("time", "Event time", time_options),
    SECTION("runs", "Run table", runs_options),
    SECTION("limits", "Written limits", limits_options),
    SECTION("store", "Store", store_options),
    SECTION("cluster", "Cluster", cluster_options),
    SECTION("http", "Page and API", http_options),
    SECTION("alerts", "Alerts", alerts_options),
    SECTION("formats[]", "Formats", format_options),
    SECTION("sources[]", "Sources", source_options),
    SECTION("measures[]", "Measures", measure_options),
    SECTION("calendars[]", "Calendars", calendar_options),
    SECTION("detectors[]", "Detectors", detector_options),
    SECTION("rules[]", "Rules", rule_options),
    SECTION("*.annotations", "Annotations", annotation_options),
    SECTION("sinks[]", "Sinks", sink_options),
    SECTION("schedules[]", "Schedules", schedule_options),
    SECTION("receivers[]", "Receivers", receiver_options),
    {0},
};
