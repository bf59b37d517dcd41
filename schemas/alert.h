/* One line of an alert's life: a revision of an episode. */
#pragma once
#include "base/state.h"
#include "schemas/run.h"
#include "schemas/signal.h"

enum alert_state { ALERT_PENDING, ALERT_FIRING, ALERT_RESOLVED, ALERT_STATES };
enum alert_reason {
    REASON_CONDITION,
    REASON_NO_DATA,
    REASON_EXPIRED,
    REASON_REMOVED,   /* its rule or detector is gone from the configuration */
    REASON_WITHDRAWN, /* receivers were told, and a restart did not compute it again */
    ALERT_REASONS
};
enum severity { SEVERITY_INFO, SEVERITY_WARNING, SEVERITY_ERROR, SEVERITY_CRITICAL, SEVERITIES };
// clang-format off
enum alert_kind {
    ALERT_RULE, ALERT_FAILURE, ALERT_DURATION, ALERT_OVERDUE, ALERT_MISSING, ALERT_STUCK, ALERT_SEQUENCE,
    ALERT_RETRY, ALERT_TEMPLATE, ALERT_VOLUME, ALERT_HEARTBEAT, ALERT_METRIC, ALERT_FORECAST, ALERT_RARE,
    ALERT_INCIDENT, ALERT_SELF, ALERT_KINDS,
};
// clang-format on
extern const char *const alert_state_names[ALERT_STATES], *const alert_reason_names[ALERT_REASONS];
/* These end with NULL. */
extern const char *const severity_names[SEVERITIES + 1], *const alert_kind_names[ALERT_KINDS + 1];

struct alert_label {
    struct span name, value;
};

struct alert {
    struct id128 id, episode;          /* id = hash(episode, revision) */
    uint64_t revision;                 /* 0 for the first line */
    struct id128 dedup;                /* hash(pipeline, rule, key): the receivers' key */
    int64_t at_us, starts_us, ends_us; /* ends: TIME_NONE while open */
    enum alert_state state;
    enum alert_reason reason;
    enum alert_kind kind;
    enum severity severity;
    struct span rule; /* its or the detector's name */
    struct span source, namespace_, workflow, task, run, run_name, host;
    uint16_t attempt;
    struct alert_label labels[KEY_FIELDS_MAX]; /* the key */
    unsigned label_count;
    struct span summary, description, runbook, url;
    double score, probability, actual, expected_low, expected_high; /* NaN absent */
    struct span unit;
    bool provisional;
    bool prompt;   /* told at once to receivers, ahead of the ordered pass; not a line of the episode */
    bool quiet;    /* it never fired: nobody is told; not packed */
    bool prompted; /* the line that such a prompt was told for: receivers have it with the prompt */
};

enum { ALERT_TEXTS_MAX = 13 + 2 * KEY_FIELDS_MAX };

/* Points at every text of the alert, so that it can be copied as a whole; returns how many there are. */
size_t alert_texts(struct alert *alert, struct span *ret_texts[ALERT_TEXTS_MAX]);

/* All of an alert, for stored values. Unpacked texts are borrowed from the bytes; what cannot be an alert is
 * broken. */
void alert_pack(const struct alert *alert, struct buffer *out);
void alert_unpack(struct unpack *in, struct alert *ret_alert);

struct id128 alert_line_id(struct id128 episode, uint64_t revision);

/* The most specific of `workflow/task`, `workflow`, `host:NAME`, `source:NAME`; '/' and '%' in a name are
 * percent-encoded. */
void alert_target(const struct alert *alert, struct buffer *out);
size_t alert_target_limit(const struct alert *alert); /* bytes that the target takes at most */
