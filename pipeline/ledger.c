#include "pipeline/ledger.h"

#include "base/memory.h"

#include <stdlib.h>

struct ledger_entry *ledger_add(struct ledger *ledger, int64_t first_offset, int64_t next_offset,
                                int64_t watermark_us)
{
    struct ledger_entry *entry = memory_new(sizeof *entry);

    *entry = (struct ledger_entry){
        .pending = 1, .first_offset = first_offset, .next_offset = next_offset, .watermark_us = watermark_us};
    if (ledger->last)
        ledger->last->next = entry;
    else
        ledger->first = entry;
    ledger->last = entry;
    ledger->next_offset = next_offset;
    return entry;
}

void ledger_grow(struct ledger_entry *entry)
{
    entry->rows =
        memory_reserve(entry->rows, &entry->row_capacity, entry->row_count + 1, sizeof *entry->rows);
}

static void drop_first(struct ledger *ledger)
{
    struct ledger_entry *entry = ledger->first;

    ledger->first = entry->next;
    if (!ledger->first)
        ledger->last = NULL;
    free(entry->rows);
    free(entry);
}

void ledger_advance(struct ledger *ledger)
{
    while (ledger->first && ledger->first->pending == 0)
        drop_first(ledger);
}

int64_t ledger_low_offset(const struct ledger *ledger)
{
    return ledger->first ? ledger->first->first_offset : ledger->next_offset;
}

void ledger_free(struct ledger *ledger)
{
    while (ledger->first)
        drop_first(ledger);
}
