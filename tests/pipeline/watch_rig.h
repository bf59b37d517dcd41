/* A watch alone: what its signals are told, and what they say, as lines of text. */
#pragma once
#include "base/memory.h"
#include "pipeline/judge.h"
#include "pipeline/watch_signal.h"
#include "tests/pipeline/support.h"

enum { SECOND = 1000000 };

extern const int64_t begin_us; /* when all tests begin */
extern const char big_plan[], small_plan[];

struct rig {
    struct plan *plan;
    struct exchange *exchange;
    struct exchange_port *port;
    struct watch *watch;
    struct event_batch batch;
    struct buffer told;
    struct id128 dedup; /* of the last condition */
};

struct rig *rig_open(const char *yaml);
void rig_close(struct rig *rig);
void pump(struct rig *rig); /* words arrive, and what was said is put down */
void advance(struct rig *rig, int64_t time_us, bool final);
void say_event(struct rig *rig, int64_t time_us, const char *host, const char *action);
void say_run(struct rig *rig, struct run_record *run, int64_t time_us, enum run_state state);
struct run_record run_of(const char *workflow, const char *task, const char *run);

/* Takes what was told since the last call. */
void assert_told(struct rig *rig, const char *expected);

/* `count` runs of w/t of 4 s each, one every 10 s; returns the time after them. */
int64_t learn(struct rig *rig, unsigned count, int64_t at_us);
