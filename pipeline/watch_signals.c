/* The signals of the watch. */
#include "pipeline/watch_signal.h"

extern const struct watch_signal watch_signal_failure, watch_signal_duration, watch_signal_overdue,
    watch_signal_silence, watch_signal_heartbeat, watch_signal_sequence;

/* Stored alerts know them by name: the order is free. */
const struct watch_signal *const watch_signals[] = {
    &watch_signal_failure,
    &watch_signal_overdue,
    &watch_signal_duration,
    &watch_signal_silence,
    &watch_signal_heartbeat,
    &watch_signal_sequence,
    NULL,
};

unsigned watch_signal_count(void)
{
    return sizeof watch_signals / sizeof *watch_signals - 1;
}
