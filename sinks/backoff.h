/* How long to wait before trying again: doubling, bounded, with jitter that spreads the workers of many
 * processes. */
#pragma once
#include <stdint.h>

struct backoff {
    int64_t base_us, max_us;
    uint64_t random; /* state of xorshift64* (Vigna 2016), never 0; nothing but waits depends on it */
};

struct backoff backoff_make(int64_t base_us, int64_t max_us, const char *name, unsigned worker);

/* Between half and all of min(max, base * 2^(attempt - 1)); attempt counts from 1. */
int64_t backoff_delay(struct backoff *backoff, unsigned attempt);
