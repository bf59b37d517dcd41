/* The naive reference: reads the whole input at once and says what must come out. It keeps every row and
 * knows nothing of batches, panes, workers, checkpoints or interleaving. From the program it uses the
 * plan, the id of a raw document and a detector's own arithmetic. */
#pragma once
#include "tests/simulation/world.h"

/* Each text is one fact, in the form that summary.h makes of what the program told:
 *   bucket NAME WORKFLOW START ROWS SUM MAX      the last version of each
 *   run WORKFLOW RUN STATE                       each transition
 *   alert RULE TARGET STATE REVISION AT REASON
 *   letter STAGE PARTITION OFFSET                a dead letter; a sink's: "letter sink"
 *   event ID                                     a raw document */
struct expected {
    struct texts facts;
};

void reference_expect(const struct scenario *scenario, const struct plan *plan,
                      struct expected *ret_expected);
void expected_free(struct expected *expected);
