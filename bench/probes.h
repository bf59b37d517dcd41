/* The probes among the events of the latency case, and when each was first seen at the places on its way.
 * A prompt is one event, and a window is passed when each partition's first event behind its end and the
 * lateness is there: which events these are follows from their numbers, and these from partition and offset.
 * Notifications say by a name which probe they tell of. */
#pragma once
#include "pipeline/plan.h"

#include <stdatomic.h>

enum {
    PROMPTS_A_SECOND = 20,
    WINDOW_PROBE_PLACE = PROMPTS_A_SECOND / 2, /* among a second's prompts: behind this one */
    SECONDS_MAX = 3600,
    PROMPTS_MAX = PROMPTS_A_SECOND * SECONDS_MAX,
};

#define NAME_OF_PROMPT "prompt-"
#define NAME_OF_WINDOW "window-"

enum probe_place {
    PROBE_MEANT,    /* when it was to be sent; a window: when the last event that passes it was */
    PROBE_IN_HAND,  /* polled */
    PROBE_JUDGED,   /* its batch is released: its rule has spoken, its panes are made */
    PROBE_OFFERED,  /* its notification is in the log and goes to the sink */
    PROBE_RECEIVED, /* the first bytes of the request are at the receiver */
    PROBE_PLACES
};

struct probe {
    _Atomic int64_t seen_us[PROBE_PLACES]; /* 0: not yet */
};

struct probes { /* shared memory */
    uint64_t rate, prompt_every, partitions;
    struct probe prompts[PROMPTS_MAX], windows[SECONDS_MAX];
};

enum status probes_new(struct probes **ret_probes, struct error *ret_error);
void probes_free(struct probes *probes); /* NULL is fine */

uint64_t probes_passing_event(const struct probes *probes, uint64_t window); /* the last of them */

/* A notification that tells of a probe. */
void probes_see_text(struct probes *probes, enum probe_place place, struct span text, int64_t now_us);

/* From now on whoever uses the plan's source and its receivers is watched. One plan at a time. */
void probes_watch(struct probes *probes, struct plan *plan);
