/* An engine that says what a test wants to hear: these definitions take the place of pipeline/engine.c's
 * in programs that link them. */
#pragma once
#include "pipeline/engine.h"

struct engine {
    _Atomic bool ready;
    _Atomic uint64_t rows;
    double watermark_s;
    const char *name;
    struct dead_letters *dead_letters;
};
