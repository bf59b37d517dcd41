/* The documents that wait for a receiver: copies, oldest first. Those of one group (a dedup key) keep their
 * order; others pass one that waits for its next attempt. What cannot be delivered is tried again until
 * give_up, then refused. Runs a few times an hour, so the queue is a plain vector. Nothing here knows how a
 * document is sent. */
#pragma once
#include "sinks/backoff.h"
#include "sinks/sink.h"

struct courier_settings {
    int64_t queue_bytes, retry_base_us, retry_max_us, give_up_us;
};

/* Its option rows; `base` is the offset of a struct courier_settings in the sink's own settings. */
// clang-format off
#define COURIER_OPTIONS(base)                                                                                \
    {.name = "queue_bytes", .type = OPTION_SIZE, .offset = (base) + offsetof(struct courier_settings, queue_bytes), \
     .default_text = "16MiB", .min = 64 * 1024, .max = 1024 * 1024 * 1024, .scale = SCALE_LOG,               \
     .help = "Documents that wait, a worker; beyond it the sources are held back."},                         \
    {.name = "retry_base", .type = OPTION_DURATION, .offset = (base) + offsetof(struct courier_settings, retry_base_us), \
     .default_text = "500ms", .min = 0.001, .max = 60, .scale = SCALE_LOG,                                   \
     .help = "First wait before a repetition; doubles with each."},                                          \
    {.name = "retry_max", .type = OPTION_DURATION, .offset = (base) + offsetof(struct courier_settings, retry_max_us), \
     .default_text = "1m", .min = 0.001, .max = 3600, .scale = SCALE_LOG,                                    \
     .help = "Longest wait before a repetition."},                                                           \
    {.name = "give_up", .type = OPTION_DURATION, .offset = (base) + offsetof(struct courier_settings, give_up_us), \
     .default_text = "3h", .min = 0.001, .max = 30 * 86400.0, .scale = SCALE_LOG,                            \
     .help = "A document that could not be delivered for so long goes to the dead letters."}
// clang-format on

struct courier_item {
    struct id128 id, group;
    uint64_t ticket;
    enum document_kind kind;
    struct span body;      /* the document */
    struct buffer written; /* the sender's: what it makes of it */
    unsigned attempts;
    int64_t first_us, due_us; /* first_us: of the first attempt, 0 before */
    bool flying, finished;
};

struct courier {
    const struct courier_settings *settings;
    struct sink_context context;
    struct courier_item **items; /* pointers, because what is under way names its own */
    size_t count, capacity, bytes;
    struct backoff backoff;
    int64_t pause_until_us, next_warning_us;
    struct sink_figures figures;
};

/* The settings outlive the courier. */
void courier_open(struct courier *courier, const struct courier_settings *settings,
                  const struct sink_context *context);
void courier_close(struct courier *courier);

enum status courier_offer(struct courier *courier, const struct document *document); /* as a sink's offer */

/* The next that may go, or NULL. It flies, and counts as sent, once the sender says so. */
struct courier_item *courier_next(const struct courier *courier, int64_t now_us);
void courier_sent(struct courier *courier, struct courier_item *item, size_t bytes, int64_t now_us);

/* What became of it; the item lives until courier_tidy. A failed one may be tried again, not before
 * retry_after_us. */
void courier_delivered(struct courier *courier, struct courier_item *item, struct verdicts *verdicts);
void courier_refused(struct courier *courier, struct courier_item *item, const char *reason,
                     struct verdicts *verdicts);
void courier_failed(struct courier *courier, struct courier_item *item, const char *reason,
                    int64_t retry_after_us, int64_t now_us, struct verdicts *verdicts);
void courier_tidy(struct courier *courier);

void courier_pause(struct courier *courier, int64_t until_us); /* nothing goes before */

void courier_figures(const struct courier *courier, struct sink_figures *ret_figures);
