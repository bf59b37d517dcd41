/* Time zones for the accessors: fixed offsets ("+02:00") and names of the system's zones (base/time_zone.h).
 * A name written as a literal is loaded at compile; one that is only known at run time is loaded once and
 * kept with the program, at most CEL_ZONES_MAX of them, failures too. */
#include "base/memory.h"
#include "base/time_zone.h"
#include "rules/cel_internal.h"

#include <stdlib.h>

struct zone {
    struct zone *next;
    char name[TIME_ZONE_NAME_MAX + 1];
    struct time_zone *times; /* NULL: there is no such zone, and it need not be looked for again */
};

static const struct zone *find_kept(struct zone *zone, struct span name, unsigned *ret_count)
{
    for (*ret_count = 0; zone; zone = zone->next, (*ret_count)++) {
        if (span_is(name, zone->name))
            return zone;
    }
    return NULL;
}

/* The zone of that name from the program's list, loaded on first use. NULL: not a zone's name, or too many.
 * Two threads that load the same zone at once both push it, which only costs memory. */
static const struct zone *zone_find(const struct cel_program *program, struct span name)
{
    struct zone *_Atomic *list = (struct zone * _Atomic *)&program->zones;
    struct zone *head = atomic_load(list), *zone;
    unsigned count;
    const struct zone *kept = find_kept(head, name, &count);

    if (kept || count >= CEL_ZONES_MAX || !time_zone_is_name(name))
        return kept;
    zone = memory_new(sizeof *zone);
    memcpy(zone->name, name.data, name.size);
    zone->times = time_zone_load(name);
    zone->next = head;
    while (!atomic_compare_exchange_weak(list, &zone->next, zone))
        ;
    return zone;
}

bool zone_offset(const struct cel_program *program, const struct zone *prepared, struct span name,
                 int64_t seconds, int32_t *ret_offset)
{
    if (!prepared) {
        if (time_zone_fixed(name, ret_offset))
            return true;
        prepared = zone_find(program, name);
    }
    if (!prepared || !prepared->times)
        return false;
    *ret_offset = time_zone_offset(prepared->times, seconds);
    return true;
}

enum status zone_prepare(struct cel_program *program, struct span literal, const void **ret_prepared,
                         struct error *ret_error)
{
    const struct zone *zone;
    int32_t offset;

    if (time_zone_fixed(literal, &offset))
        return STATUS_OK;
    zone = zone_find(program, literal);
    if (!zone || !zone->times)
        return fail(ret_error, "unknown time zone '%.*s'", (int)literal.size, literal.data);
    *ret_prepared = zone;
    return STATUS_OK;
}

void zones_free(struct cel_program *program)
{
    struct zone *zone = atomic_load(&program->zones);

    while (zone) {
        struct zone *next = zone->next;

        time_zone_free(zone->times);
        free(zone);
        zone = next;
    }
}
