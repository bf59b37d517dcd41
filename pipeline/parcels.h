/* The exchange of one task with the tasks in other places: records for them are packed into parcels, which
 * wait for the transaction of the next cut; parcels of the inbox become records again, sent to the task
 * itself. A group, measure or rule is named by its identity, so that processes with different configurations
 * can talk; what the receiver does not have is left out. Packed once a record; one thread. */
#pragma once
#include "pipeline/exchange.h"
#include "pipeline/journal.h"
#include "pipeline/plan.h"

struct parcels;

struct parcels *parcels_new(const struct plan *plan, unsigned number, unsigned workers);
void parcels_free(struct parcels *parcels);

void parcels_send(void *parcels, unsigned target, struct block *block); /* struct exchange_link */
bool parcels_full(void *parcels);

/* All that was sent before it, in order: the caller's, to be freed by parcels_discard. */
struct journal_parcel *parcels_take(struct parcels *parcels);
void parcels_discard(struct journal_parcel *parcels);

/* The records of a parcel to the task itself. False: it is broken, or of a newer weir. */
bool parcels_open(struct parcels *parcels, struct span bytes, struct exchange_port *port);

struct parcels_figures {
    uint64_t sent, opened; /* records */
    uint64_t left_out;     /* records too large, or of unknown groups */
};
struct parcels_figures parcels_figures(const struct parcels *parcels);
