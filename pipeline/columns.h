/* What stored values of panes and series have in common. A value lists the identities of the measures (rules,
 * detectors) that its numbers belong to, so that a later configuration finds what it still has: what is gone
 * is dropped, what is new begins empty. */
#pragma once
#include "pipeline/accumulator.h"
#include "pipeline/plan.h"

#include <limits.h>

enum column_kind { COLUMN_MEASURES, COLUMN_RULES, COLUMN_DETECTORS };

#define COLUMN_NONE UINT_MAX

struct columns {
    unsigned count;
    unsigned *places; /* a column: its number in the group now, COLUMN_NONE: gone */
    bool as_stored;   /* the same columns in the same order */
};

/* The group that state was stored for, or NULL when the plan has none. */
const struct plan_group *group_find(const struct plan *plan, uint64_t identity);

void columns_pack(const struct plan *plan, const struct plan_group *group, enum column_kind kind,
                  struct buffer *out);

/* A group that is NULL has no columns. Ends with columns_free, also when broken. */
void columns_unpack(struct unpack *in, const struct plan *plan, const struct plan_group *group,
                    enum column_kind kind, struct columns *ret_columns);
void columns_free(struct columns *columns);

/* Those of a group, plan.h. */
void accumulators_pack(const struct plan_group *group, char *accumulators, struct buffer *out);
void accumulators_fetch(const struct plan_group *group, char *accumulators); /* into the cache */
void accumulators_include(const struct plan_group *group, char *into, char *from);
void accumulators_free(const struct plan_group *group, char *accumulators); /* leaves them empty */
/* Each measure's to its place in `into`, where all are empty. A group that is NULL has no columns. */
void accumulators_unpack(struct unpack *in, const struct plan_group *group, const struct columns *measures,
                         char *into);

/* What the texts of a row's by-fields are known by. */
struct id128 key_of(const struct span *texts, unsigned count);

/* A key's texts in the fewest bytes: size and bytes of each. Texts are shorter than KEY_TEXT_MAX. */
enum { KEY_TEXT_MAX = 1024 };
struct key_texts { /* all zero bytes: empty. Grows by a quarter, for there are many keys. */
    char *bytes;
    uint32_t used, capacity;
};
uint32_t key_texts_add(struct key_texts *keys, const struct span *texts, unsigned count); /* where it is */
void key_texts_read(const struct key_texts *keys, uint32_t at, unsigned count, struct span *ret_texts);

/* Stored as its texts: the id is made again, for it does not compress (a third of what was stored). */
void key_pack(const struct span *texts, unsigned count, struct buffer *out);
/* Texts are borrowed from the bytes. Returns how many. */
unsigned key_unpack(struct unpack *in, struct span ret_texts[KEY_FIELDS_MAX], struct id128 *ret_key);
