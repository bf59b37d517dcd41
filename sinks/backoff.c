/* Waits between attempts; once a failed request. The generator is seeded by the sink's name and worker, so
 * that a run in the simulator is repeatable. */
#include "sinks/backoff.h"

#include "base/hash.h"

#include <assert.h>

struct backoff backoff_make(int64_t base_us, int64_t max_us, const char *name, unsigned worker)
{
    assert(base_us > 0 && max_us > 0);
    return (struct backoff){
        .base_us = base_us,
        .max_us = max_us,
        .random = hash_bytes(name, strlen(name), worker) | 1,
    };
}

int64_t backoff_delay(struct backoff *backoff, unsigned attempt)
{
    int64_t delay = backoff->base_us;

    for (unsigned i = 1; i < attempt && delay < backoff->max_us; i++)
        delay *= 2;
    if (delay > backoff->max_us)
        delay = backoff->max_us;
    backoff->random ^= backoff->random >> 12;
    backoff->random ^= backoff->random << 25;
    backoff->random ^= backoff->random >> 27;
    return delay / 2 + (int64_t)(backoff->random * 0x2545F4914F6CDD1DULL % (uint64_t)(delay / 2 + 1));
}
