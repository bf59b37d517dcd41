/* The benchmark's cases: a visible list, one row a case, one file a case. Where a case sets a floor beside
 * the program it measures both on the same input in the same process by turns, because figures of different
 * minutes on a shared machine do not compare. */
#pragma once
#include "bench/generate.h"

#include "base/status.h"

struct bench_options {
    const char *brokers; /* NULL: a file is the input */
    const char *input;   /* a recording of one's own, and its format; NULL: generated events */
    const char *format;
    struct generator_options generator;          /* tasks: the series; 0: the case's own numbers of them */
    unsigned partitions, runs, workers, seconds; /* each at least 1 */
    unsigned files; /* at least 1; without brokers: the events are dealt to so many */
    bool uneven;    /* partition k of the topic gets about 1/k of the events, not each its turn */
    bool copy;      /* throughput: every cleaned event goes to the server, and nothing else is done */
    bool runs_told; /* every event tells of a run, and runs are tracked */
    bool progress;  /* one line a step on stderr */
};

struct result;

/* Appends figures, one value a run. The options are those of the row with what the user gave. */
typedef enum status bench_run(const struct bench_options *options, struct result *result,
                              struct error *ret_error);

struct bench_case {
    const char *name, *help;
    bench_run *run;
    uint64_t events, series;
    uint64_t rate;      /* events a second of event time; 0: 10,000, or as rounds_s has it */
    uint64_t rounds_s;  /* every series has an event in so many seconds, in turn; 0: by Zipf's law */
    uint64_t seconds;   /* 0: 60 */
    unsigned files;     /* 0: one */
    bool takes_input;   /* a recording */
    bool needs_brokers; /* else it takes none, */
    bool takes_brokers; /* or a file without */
    bool finds_rate;    /* unless one is given */
    bool uneven, copy, runs_told;
};

extern const struct bench_case bench_cases[]; /* ends with a NULL name */
const struct bench_case *bench_case_find(const char *name);

/* Appends a document (result.h) of one case. */
enum status bench_one(const struct bench_case *bench_case, const struct bench_options *options,
                      struct buffer *out, struct error *ret_error);

/* The options for a case: those of its row with what the user gave. */
typedef void bench_options_of(void *owner, const struct bench_case *bench_case,
                              struct bench_options *ret_options);

/* Appends a document of all cases, each run in a process of its own; one that fails says so in its place.
 * Those that need brokers are left out without. Returns how many failed. */
unsigned bench_all(bench_options_of *options_of, void *owner, struct buffer *out);
