/* Counters are declared rows with text. A writer owns its own array (no lock, relaxed stores); readers add
 * arrays up. */
#pragma once
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum counter_kind { COUNTER_TOTAL, COUNTER_GAUGE };

struct counter_row {
    const char *name;   /* Prometheus metric name, without the weir_ prefix */
    const char *labels; /* `reason="late"`, or NULL */
    enum counter_kind kind;
    const char *help;
};

typedef _Atomic uint64_t counter;

static inline void counter_add(counter *value, uint64_t amount)
{
    atomic_store_explicit(value, atomic_load_explicit(value, memory_order_relaxed) + amount,
                          memory_order_relaxed);
}

static inline void counter_set(counter *value, uint64_t now)
{
    atomic_store_explicit(value, now, memory_order_relaxed);
}

static inline uint64_t counter_get(const counter *value)
{
    return atomic_load_explicit((counter *)value, memory_order_relaxed);
}
