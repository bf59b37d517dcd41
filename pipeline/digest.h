/* What one receiver is not told line by line, because it was old when it was found: weir was behind. The
 * lines of a dedup key that begins with such a firing stay in the outbox, held, until the catch-up has ended;
 * then one document tells of all of them, and lists what still fires:
 *   {"schema":1,"id","digest":{"from","until","alerts","resolved","firing"},"alerts":[LINE...]}
 * Each line is marked after as if it had been sent by itself, all marks at once: a restart before them holds
 * the same lines again, one after them sends none. Calls some times a turn; one thread. */
#pragma once
#include "base/slots.h"
#include "pipeline/notices.h"
#include "pipeline/outbox.h"

struct digest_lines {
    struct outbox_item **items; /* in order */
    size_t count, capacity, bytes;
    struct slots keys;           /* dedup -> place in `latest` */
    struct outbox_item **latest; /* the last line of each key */
    size_t latest_capacity;
    int64_t from_us, until_us; /* event times of the first and the last */
    size_t begun;              /* episodes */
};

struct digest {
    struct digest_lines held, flying;
    int64_t since_us;                /* wall time of the first that is held */
    int64_t least_lag_us, gained_us; /* how far event time was behind at its best since then, and when */
    int64_t patience_us;             /* longest wait for the end of a catch-up */
    bool offered;
    struct buffer body;
    struct id128 id;
};

enum digest_place { DIGEST_NONE, DIGEST_HOLD, DIGEST_WAIT };

struct digest_turn { /* the wall clock; the event time before which all is told; nothing more is to come */
    int64_t now_us, passed_us;
    bool last;
};

void digest_open(struct digest *digest);
void digest_close(struct digest *digest);

/* Where the next line of the outbox belongs: it is sent by itself; is held now; or waits, since its key is in
 * the digest under way or there is no room. A prompt is never held. */
enum digest_place digest_take(struct digest *digest, struct outbox *outbox, int64_t now_us);

/* Begins when the catch-up has ended, that is event time no longer gains on the clock; when it takes long, or
 * much is held; or in a last turn. True: the document may be offered, which digest_offered ends. */
bool digest_advance(struct digest *digest, const struct digest_turn *turn, struct document *ret_document);
void digest_offered(struct digest *digest);

/* It was delivered: marks (notices not NULL) and acknowledges its lines; or given up: acknowledges them. */
void digest_finish(struct digest *digest, struct outbox *outbox, struct notices *notices, int64_t now_us);
