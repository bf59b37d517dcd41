/* What the commands over recorded input share: --input, and a replay in event time that writes no store,
 * commits nothing and sends to no sink. */
#pragma once
#include "pipeline/engine.h"

enum { INPUTS_MAX = 64 };

struct recorded_inputs {
    const char *paths[INPUTS_MAX]; /* [SOURCE=]FILE or folder */
    size_t count;
};

/* --input may be repeated, so it is taken out before the common options are read. False: said what is
 * wrong. */
bool recorded_take(int *argc, char **argv, struct recorded_inputs *ret_inputs);

/* Turns the named sources into ones that read the file, or the folder that `weir record` wrote; with any
 * --input, sources that got none are left out. STATUS_FATAL: one got several, or the path cannot be. */
enum status recorded_use(struct plan *plan, const struct recorded_inputs *inputs, struct error *ret_error);

/* Takes over `collect`, also on failure. */
enum status recorded_replay(const struct plan *plan, struct collect *collect, struct error *ret_error);
