/* A recorded message as one JSON line, so that a recording can be looked at, cut and joined with everyday
 * tools:
 *   {"source":"lineage","topic":"openlineage","partition":0,"offset":12,"time":"2026-11-21T09:40:20.097Z",
 *    "payload":"..."}
 * `time` is the arrival, left out when it is not known. A payload that is no text (not UTF-8, or with a null
 * byte) is in `payload_base64` instead (RFC 4648). */
#pragma once
#include "base/buffer.h"

struct envelope {
    struct span source, topic;
    int32_t partition;
    int64_t offset, arrival_us; /* TIME_NONE: not known */
    struct span payload;
};

void envelope_write(const struct envelope *envelope, struct buffer *out);

/* Texts stand in `texts`, behind what it has: their spans are good until it grows again. False: the line is
 * no envelope, and nothing is added. */
bool envelope_read(struct span line, struct buffer *texts, struct envelope *ret_envelope);
