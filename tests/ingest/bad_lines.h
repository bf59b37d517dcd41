/* Lines that no text format may stumble over. */
#pragma once
#include "tests/ingest/support.h"

/* From each good line: every truncation, wrong dates, bytes changed at random, NUL, invalid UTF-8, a megabyte
 * more; and bytes of no meaning. Each becomes rows or a reason, and the good line reads as before. */
void check_bad_lines(struct rig *rig, const char *const *good, size_t count);
