/* Time zones of the system's zone files, by a small TZif reader (RFC 8536) so that no process-wide TZ has to
 * be set. The offset of a moment is a binary search; moments after the last transition follow the file's
 * POSIX TZ rule. Read-only once loaded. */
#pragma once
#include "base/span.h"

enum { TIME_ZONE_NAME_MAX = 63 };

struct time_zone;

bool time_zone_is_name(struct span name);           /* could be one, by its characters and length */
struct time_zone *time_zone_load(struct span name); /* "Europe/Berlin"; NULL: there is no such zone */
void time_zone_free(struct time_zone *zone);

/* Seconds east of UTC at that moment, in seconds since 1970. */
int32_t time_zone_offset(const struct time_zone *zone, int64_t seconds);

bool time_zone_fixed(struct span text, int32_t *ret_offset); /* "+02:00", "-09:30", "02:00" */
