#include "pipeline/ledger.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>

struct ledger_entry *ledger_add(struct ledger *ledger, int64_t first_offset, int64_t next_offset,
                                int64_t watermark_us)
{
    struct ledger_entry *entry = memory_new(sizeof *entry);

    *entry = (struct ledger_entry){.pending = 1,
                                   .first_offset = first_offset,
                                   .next_offset = next_offset,
                                   .latest_us = INT64_MIN,
                                   .watermark_us = watermark_us};
    if (ledger->last)
        ledger->last->next = entry;
    else
        ledger->first = entry;
    ledger->last = entry;
    return entry;
}

bool ledger_advance(struct ledger *ledger, int64_t needed_us, int64_t watermark_us, int64_t *ret_offset,
                    int64_t *ret_watermark_us)
{
    bool moved = false;

    while (ledger->first && ledger->first->pending == 0 && ledger->first->latest_us < needed_us) {
        struct ledger_entry *entry = ledger->first;

        ledger->committed = entry->next_offset;
        ledger->first = entry->next;
        free(entry);
        moved = true;
    }
    if (!ledger->first)
        ledger->last = NULL;
    if (!moved)
        return false;
    *ret_offset = ledger->committed;
    *ret_watermark_us = ledger->first ? ledger->first->watermark_us : watermark_us;
    return true;
}

void ledger_free(struct ledger *ledger)
{
    while (ledger->first) {
        struct ledger_entry *next = ledger->first->next;

        free(ledger->first);
        ledger->first = next;
    }
    ledger->last = NULL;
}

void epochs_init(struct epochs *epochs)
{
    epochs->first = epochs->current = memory_new(sizeof *epochs->current);
    epochs->acknowledged_us = INT64_MIN;
}

void epochs_free(struct epochs *epochs)
{
    while (epochs->first) {
        struct epoch *next = epochs->first->next;

        free(epochs->first);
        epochs->first = next;
    }
}

void epochs_advance(struct epochs *epochs, int64_t until_us)
{
    epochs->current->until_us = until_us;
    if (epochs->current->pending) {
        epochs->current->next = memory_new(sizeof *epochs->current);
        epochs->current = epochs->current->next;
        epochs->current->until_us = until_us;
    }
    while (epochs->first != epochs->current && epochs->first->pending == 0) {
        struct epoch *entry = epochs->first;

        epochs->acknowledged_us = entry->until_us;
        epochs->first = entry->next;
        free(entry);
    }
    if (epochs->first == epochs->current && epochs->current->pending == 0)
        epochs->acknowledged_us = until_us;
}
