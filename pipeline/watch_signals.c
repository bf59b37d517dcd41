/* The signals of the watch. */
#include "pipeline/watch_signal.h"

extern const struct watch_signal watch_signal_failure, watch_signal_failure_rate, watch_signal_check,
    watch_signal_retry, watch_signal_overdue, watch_signal_stuck, watch_signal_duration, watch_signal_missing,
    watch_signal_volume, watch_signal_mapped, watch_signal_log_volume, watch_signal_silence,
    watch_signal_heartbeat, watch_signal_sequence, watch_signal_template;

/* What is stored knows them by name. A word goes to them in this order. */
// clang-format off
const struct watch_signal *const watch_signals[] = {
    &watch_signal_failure,
    &watch_signal_failure_rate,
    &watch_signal_check,
    &watch_signal_retry,
    &watch_signal_overdue,
    &watch_signal_stuck,
    &watch_signal_duration,
    &watch_signal_missing,
    &watch_signal_volume,
    &watch_signal_mapped,
    &watch_signal_log_volume,
    &watch_signal_sequence,
    &watch_signal_silence,
    &watch_signal_heartbeat,
    &watch_signal_template,
    NULL,
};
// clang-format on

unsigned watch_signal_count(void)
{
    return sizeof watch_signals / sizeof *watch_signals - 1;
}
