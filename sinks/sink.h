/* A sink takes documents and says of each one, later, what became of it. Nothing blocks. `busy` is the only
 * back pressure: the pipeline then stops reading partitions, and no queue here grows beyond its limit in
 * bytes. One instance a worker, all calls from that worker's thread. One file a sink, one line in the list in
 * sinks.c. The process must ignore SIGPIPE: a sink handles the error of the write. */
#pragma once
#include "base/options.h"
#include "schemas/encode.h"

struct sink;

enum sink_form { SINK_LINES, SINK_DOCUMENTS }; /* which written form offer() wants */

struct document {
    enum document_kind kind;
    struct id128 id;
    struct id128 group; /* alerts: the episode, which is the id of the current alert (for a sink that notifies
                           the dedup key, whose order it keeps); all 0 elsewhere */
    uint64_t version;   /* external version of rewritten documents; 0: create only */
    int64_t time_us;    /* decides the index month of buckets and runs */
    struct span body;   /* one JSON object in the sink's form; borrowed until offer returns */
    uint64_t ticket;    /* given back in the verdict; 0: the pipeline does not wait for it */
};

struct verdict {
    uint64_t ticket;
    uint64_t count;      /* so many documents of the ticket in succession; a dead letter is one */
    bool dead_letter;    /* false: stored (or already there) */
    char *reason, *body; /* dead letter: why, and the document; malloc'ed, the taker frees them */
    size_t body_size;
    enum document_kind kind;
};

struct verdicts { /* grows; the pipeline empties it after each advance */
    struct verdict *items;
    size_t count, capacity;
};

void verdicts_done(struct verdicts *verdicts, uint64_t ticket); /* nothing when ticket is 0 */
void verdicts_dead_letter(struct verdicts *verdicts, uint64_t ticket, enum document_kind kind,
                          const char *reason, struct span body);

struct sink_context { /* copied by open; what it points to outlives the sink */
    const char *name, *pipeline;
    const struct node *node;
    unsigned worker;
    void (*warn)(void *owner, const char *text); /* one line for people, at most one a minute a cause */
    void *owner;
};

/* Tells people through context->warn, at most once a minute a cause: *next_us is the cause's, 0 at first. */
void sink_warn(const struct sink_context *context, int64_t *next_us, int64_t now_us, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

struct sink_figures { /* for /metrics; totals since open, by this instance */
    uint64_t documents, bytes, requests, retries, dead_letters, queue_bytes;
    size_t
        waiting_alerts; /* now: alerts that failed and wait for the next attempt, with nothing on the way */
    bool paused;        /* waits for a person: credentials, missing template, write block */
    const char *pause_reason; /* lives until the next advance */
};

struct sink_type {
    const char *name, *help;
    enum sink_form form;
    bool notifies; /* tells people: gets prompts, and not again the line that a prompt was told for */
    const struct option *options;
    size_t option_count, settings_size;

    /* The settings outlive the sink. STATUS_FATAL says why in one line. */
    enum status (*open)(const void *settings, const struct sink_context *context, struct sink **ret_sink,
                        struct error *ret_error);

    /* STATUS_OK: taken (copied). STATUS_RETRY: busy, offer it again after an advance. */
    enum status (*offer)(struct sink *sink, const struct document *document);

    /* Non-blocking progress; appends verdicts. `flush`: send what waits now instead of waiting for a full
     * bulk. */
    void (*advance)(struct sink *sink, int64_t now_us, bool flush, struct verdicts *verdicts);
    size_t (*pending)(const struct sink *sink); /* documents taken and without verdict */
    void (*figures)(const struct sink *sink, struct sink_figures *ret_figures);

    /* A sink whose output can be taken back: where it stands, as bytes that a later process gives to resume,
     * which takes back what was written since; what cannot be taken back stays, with a warning. Between calls
     * of advance. NULL: what is written twice has the same id, or is told twice. */
    void (*mark)(const struct sink *sink, struct buffer *out);
    void (*resume)(struct sink *sink, struct span mark);
    void (*close)(struct sink *sink);

    /* For `weir check --connect`, without an open sink: asks whether what it sends to can be reached, some
     * seconds at most, sends nothing, and tells a line for each address. NULL: nothing is far away. */
    void (*probe)(const void *settings, report_line *tell, void *owner);
};

extern const struct sink_type *const sink_types[]; /* ends with NULL */
const struct sink_type *sink_type_find(const char *name);
