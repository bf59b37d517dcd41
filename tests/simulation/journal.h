/* Kafka as the tasks of a cluster see it (pipeline/journal.h), in memory: for each task an inbox, a
 * changelog, and who may write. It belongs to a world and outlives the engines of a scenario. One thread.
 *
 * The troubles come by the seed: calls that are to be tried again, transactions that are lost, commits that
 * succeed and whose answer is lost, parcels that arrive late, compaction. What a task must not do fails the
 * world: read its inbox from elsewhere than it committed, commit a parcel that it has not received, commit
 * offsets that go back. */
#pragma once
#include "pipeline/journal.h"
#include "tests/simulation/world.h"

struct broker;

struct broker *broker_new(struct world *world, const struct scenario *scenario);
void broker_free(struct broker *broker);          /* no journal is open */
void broker_mend(struct broker *broker);          /* no troubles from now on */
bool broker_is_read(const struct broker *broker); /* every parcel has been taken for good */

struct member { /* a process in the group: the `cluster` of journal_simulated */
    struct broker *broker;
    unsigned tasks;                        /* bits: those that the group has given to it */
    struct journal *journals[TASKS_LIMIT]; /* open ones, by task */
};

extern const struct journal_type journal_simulated;

/* It has answered STATUS_FATAL, or would at the next commit. */
bool journal_is_lost(const struct journal *journal);
