/* A process that says what a test wants to hear: these definitions take the place of pipeline/process.c's
 * in programs that link them. */
#pragma once
#include "pipeline/process.h"

struct process {
    _Atomic bool ready;
    _Atomic uint64_t rows;
    double watermark_s; /* 0: none yet */
    const char *name;
    const char *cluster, *problems; /* of /api/health: JSON; NULL: no cluster, nothing wrong */
    struct dead_letters *dead_letters;
    struct feedback *feedback;
};
