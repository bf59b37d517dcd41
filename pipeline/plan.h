/* A configuration file, checked and linked: everything that is fixed before the first event. Read-only once
 * loaded, shared by all workers. `weir check` is plan_load and nothing else. */
#pragma once
#include "alerts/lifecycle.h"
#include "detectors/backend.h"
#include "ingest/source.h"
#include "pipeline/accumulator.h"
#include "pipeline/calendar.h"
#include "pipeline/cron.h"
#include "rules/cel_index.h"
#include "sinks/sink.h"

enum { SHARDS = 256, WORKERS_MAX = 64, PLAN_GROUP_MEASURES_MAX = 32 };
enum late_policy { LATE_DROP, LATE_DEAD_LETTER, LATE_CORRECT };
enum skew_policy { SKEW_REPAIR, SKEW_DEAD_LETTER };
enum when_full { FULL_HOLD, FULL_DROP_RAW };

struct plan_general {
    char *name;
    int64_t workers, batch_rows;
    bool watch;
    struct option_texts maintenance;
    const struct node *time, *runs, *limits, *store, *cluster, *http, *alerts, *formats, *sources, *clean,
        *measures, *calendars, *detectors, *rules, *schedules, *sinks, *receivers, *include;
};

struct plan_time { /* microseconds */
    int64_t lateness, idle_after, max_skew, max_skew_ahead, correct_for;
    int late, skew;
};

struct plan_runs {
    int64_t keep;
};

struct plan_limits {
    int64_t series, runs, order_bytes, dead_letter_bytes, hot_bytes;
};

struct plan_store {
    char *path;
    int64_t checkpoint_us, drain_us, history_us, limit_bytes, outbox_bytes;
};

struct plan_cluster {
    bool enabled, standby;
    char *application_id, *brokers, *instance;
    int64_t tasks, commit_us, session_us, replication;
    struct option_pairs librdkafka;
};

struct plan_http {
    char *listen;
};

struct plan_alerts {
    int64_t rest, expire, notify_max_age;
    struct option_texts to;
};

struct plan_format {
    char *name;
    const struct format_type *type;
    void *settings;
    const struct node *node; /* NULL: built in, with its defaults */
};

struct plan_label { /* a constant one of a source's rows */
    unsigned column;
    struct span value;
};

struct plan_source {
    char *name, *type_name, *format_name;
    struct option_pairs labels_given;
    const struct source_type *type;
    void *settings;
    const struct node *node;
    unsigned format;
    struct plan_label *labels; /* one each of `labels_given` */
};

/* One series of buckets a key: what to add up of which rows. */
struct plan_measure {
    char *name, *unit, *of, *where_text, *ratio_text;
    struct option_texts by, statistics, except;
    int on;
    int64_t every, window;
    const struct node *node;

    struct measure_shape shape;
    unsigned group, place;          /* group and number within it */
    uint64_t identity;              /* hash of what changes its meaning: names its stored state */
    uint64_t calendars;             /* set of those in `except` */
    struct cel_program *where;      /* NULL: every row */
    struct cel_program *hit;        /* ratio: which rows count; NULL without */
    struct cel_program *expression; /* `of` when it is neither "count" nor a field */
    bool of_count, of_text;
    int64_t since_us, until_us; /* buckets that begin in [since, until) are told, see continuation.h */
    struct field_ref of_field;  /* when neither of_count nor expression */
};

/* Measures that share source rows, key and window are folded together: one look-up a row. */
struct plan_group {
    bool on_run;
    unsigned by_count;
    struct field_ref by[KEY_FIELDS_MAX];
    const struct option_texts *by_names;  /* those of its first measure */
    int64_t every_us, window_us, pane_us; /* pane = gcd(every, window) */
    unsigned measures[PLAN_GROUP_MEASURES_MAX], measure_count;
    unsigned *detectors, detector_count; /* indices into plan.detectors */
    unsigned *rules, rule_count;         /* bucket rules on its measures */
    struct cel_index *index;             /* of them */
    uint64_t identity;                   /* hash of the key's fields and the window: names its stored state */

    /* The accumulators of its measures, one behind the other. */
    struct accumulator_layout layouts[PLAN_GROUP_MEASURES_MAX];
    uint16_t places[PLAN_GROUP_MEASURES_MAX];
    size_t accumulators_size; /* of all */
};

/* One measure's among those of a group. */
static inline struct accumulator *group_accumulator(const struct plan_group *group, char *accumulators,
                                                    unsigned measure)
{
    return (struct accumulator *)(accumulators + group->places[measure]);
}

struct plan_annotations {
    char *summary, *description, *runbook;
};

struct plan_calendar {
    struct calendar_settings settings;
    struct calendar *calendar;
};

struct plan_detector {
    char *name, *type_name, *measure_name, *statistic_name;
    int severity;
    int64_t for_us, keep_firing_us;
    struct option_texts except;
    const struct node *node, *annotations_node;
    struct plan_annotations annotations;

    const struct detector_type *type;
    void *settings;
    struct backend_settings backend;
    unsigned measure, policy;
    enum statistic statistic;
    size_t state_size, hot_size;
    double empty;       /* how an empty bucket looks: 0 for counts, NaN else */
    uint64_t calendars; /* set of those in which it learns and raises nothing: its measure's too */
    uint64_t identity;
};

enum rule_scope { RULE_EVENT, RULE_BUCKET, RULE_RUN, RULE_SCOPES };

struct plan_rule {
    char *name, *when, *measure_name;
    struct option_texts by;
    int on, severity, kind;
    int64_t for_us, keep_firing_us;
    const struct node *node, *annotations_node;
    struct plan_annotations annotations;

    struct cel_program *program;
    unsigned measure, policy;
    unsigned by_count;
    struct field_ref by_refs[KEY_FIELDS_MAX];
    struct cel_variable *variables; /* bucket scope; see judge.c for the order */
    size_t variable_count;
    uint16_t *reads; /* the variables that the program reads */
    unsigned read_count;
    uint64_t identity;
    bool defined_on_empty; /* reads nothing that an empty bucket leaves undefined */
};

/* The rules of one scope that look at rows. */
struct plan_row_rules {
    unsigned *rules, count; /* indices into plan.rules */
    struct cel_index *index;
};

/* When the runs of a workflow start, which the watch learns otherwise. */
struct plan_schedule {
    char *workflow, *cron_text, *timezone;
    int64_t grace_us;
    struct cron cron;
    struct time_zone *zone; /* NULL: UTC */
};

/* A rule of the built-in watch; see watch_signal.h. */
struct plan_watch_rule {
    const char *name;
    enum alert_kind kind;
    enum severity severity;
    bool rests; /* its alerts go on for alerts.rest after the condition has ended */
};

struct plan_sink {
    char *name, *type_name;
    struct option_texts send;
    const struct sink_type *type;
    void *settings;
    const struct node *node;
    int when_full;     /* enum when_full */
    bool receiver;     /* of `receivers`: people, see deliver.h */
    unsigned kinds;    /* bits 1 << enum document_kind */
    uint64_t identity; /* hash of its name and type */
};

struct plan {
    struct config *config;
    char *path, **assignments; /* to load it again */
    struct config **draining;  /* measures of an earlier configuration, which were the last in `measures` */
    size_t assignment_count, draining_count;
    struct plan_general general;
    struct plan_time time;
    struct plan_runs runs;
    struct plan_limits limits;
    struct plan_store store;
    struct plan_cluster cluster;
    struct plan_http http;
    struct plan_alerts alerts;
    struct span name;
    struct label_names labels;
    struct plan_format *formats;
    struct plan_source *sources;
    struct plan_measure *measures;
    struct plan_group *groups;
    struct plan_calendar *calendars;
    struct plan_detector *detectors;
    struct plan_rule *rules;
    struct plan_row_rules row_rules[RULE_SCOPES]; /* none of RULE_BUCKET: groups have those */
    struct plan_sink *sinks;                      /* and the receivers behind them */
    uint64_t maintenance;                         /* set of calendars */
    unsigned calendar_count;
    struct plan_schedule *schedules;
    unsigned schedule_count;
    unsigned format_count, source_count, measure_count, group_count, detector_count, rule_count, sink_count;
    struct alert_policy *policies;       /* rules first, then detectors, then those of the watch */
    unsigned policy_count, watch_policy; /* the first one of the watch */
    unsigned hot_detectors;              /* that can borrow memory */
    int64_t longest_window_us;
    bool wants_runs;        /* somebody reads runs: a sink, the page, the watch, a command */
    bool wants_transitions; /* a measure or rule on runs reads them as rows */
};

/* Loads a file, applies --set assignments in order, checks everything. The first error ends it. */
enum status plan_load(const char *path, const char *const *assignments, size_t assignment_count,
                      struct plan **ret_plan, struct error *ret_error);
void plan_free(struct plan *plan);

bool plan_source_is_endless(const struct plan_source *source); /* source.h */
/* STATUS_FATAL: none of that name; the error names the nearest one. */
enum status plan_find_receiver(const struct plan *plan, const char *name, struct plan_sink **ret_receiver,
                               struct error *ret_error);

/* The calendars that hold at any moment of [start, end). */
uint64_t plan_calendars(const struct plan *plan, int64_t start_us, int64_t end_us);

/* The same file and assignments, and more measures, each a map as text, which may have the name of another
 * one. */
enum status plan_load_again(const struct plan *plan, const struct span *measures, size_t count,
                            struct plan **ret_plan, struct error *ret_error);

/* The tables of all sections, for the reference page: name of the section and its rows; NULL name ends the
 * list. */
struct plan_section {
    const char *name, *help;
    const struct option *rows;
    size_t count;
};
extern const struct plan_section plan_sections[];
