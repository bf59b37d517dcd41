/* The program: what happens to an event, in this order. Read from top to bottom; each stage is one function.
 * The partition side (poll to send) knows nothing of other partitions; the owner side (receive, apply to
 * commit) works in event time on what all partitions have sent. The runner (worker_step) measures; stages
 * hold no telemetry. */
#include "pipeline/worker.h"

const struct stage stages[] = {
    // clang-format off
    {"receive", "take panes, ordered rows, conditions and watermarks that other workers sent", stage_receive, false, false},
    {"poll", "take the next messages of one partition, none beyond the alignment horizon", stage_poll, false, false},
    {"decode", "payloads to columns, through the source's format", stage_decode, false, true},
    {"time", "repair times ahead of their arrival, move the partition's watermark row by row", stage_time, false, true},
    {"clean", "keep, drop, set, redact, dedupe, throttle: rows are marked, not moved", stage_clean, false, true},
    {"judge", "event rules over the columns become conditions", stage_judge_events, false, false},
    {"fold", "add rows into the partition side's panes by measure, key and bucket", stage_fold, false, false},
    {"order", "send rows that tell of a run to its owner, words of sources and hosts to the watch", stage_order, false, false},
    {"encode", "cleaned rows become raw documents; bad ones dead letters", stage_encode, false, false},
    {"release", "give the messages back to the source", stage_release, false, false},
    {"send", "send panes that the local watermark has passed, then the watermark", stage_send, false, false},
    {"unique", "rows with copies in other partitions: the first one is judged, folded and sent on", stage_unique, false, false},
    {"apply", "apply ordered rows to the run table; transitions are judged and folded", stage_apply, false, false},
    {"watch", "the built-in watch takes transitions, seconds and timers", stage_watch, false, false},
    {"close", "close buckets that the watermark has passed: score, judge, tell", stage_close, false, false},
    {"notify", "alert owner: conditions become episodes, in order of time", stage_notify, false, false},
    {"deliver", "move the sinks on, take verdicts, store dead letters", stage_deliver, true, false},
    {"save", "give the store a slice of what the last cut froze", stage_save, true, false},
    {"commit", "commit the offsets of the newest cut that is stored", stage_commit, true, false},
    // clang-format on
    {0},
};
