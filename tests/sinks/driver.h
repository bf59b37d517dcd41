/* Runs one sink as a worker would, with a clock of its own: each step is 10 ms of the sink's time and a
 * moment of the machine's. */
#pragma once
#include "sinks/sink.h"

struct driver {
    struct config *config;
    void *settings;
    const struct sink_type *type;
    struct sink *sink;
    struct verdicts verdicts; /* all since open */
    int64_t now_us, step_us;
    bool flush;
    unsigned steps;
    unsigned warnings;
    char warning[640]; /* the last */
};

/* `format` gives the sink's map as YAML: "path: /tmp/x\n". */
void driver_open(struct driver *driver, const char *type, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void driver_close(struct driver *driver);

/* The same without the assertion that it opens; the error otherwise. */
enum status driver_try(struct driver *driver, const char *type, const char *yaml, struct error *ret_error);

bool driver_step(struct driver *driver); /* false after too many steps: the test fails instead of hanging */
void driver_settle(struct driver *driver, unsigned steps);

enum status driver_offer(struct driver *driver, enum document_kind kind, uint64_t number, uint64_t version,
                         const char *body);
size_t driver_done(const struct driver *driver);
size_t driver_dead(const struct driver *driver);
struct sink_figures driver_figures(const struct driver *driver);
