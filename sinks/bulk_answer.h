/* Reads the JSON that a search server answers to `_bulk`, or to a request that it refuses as a whole. */
#pragma once
#include "base/buffer.h"

struct answer_text {
    uint32_t start, size; /* in `texts` */
};

struct answer_item {
    int status;                      /* 0: absent */
    struct answer_text type, reason; /* of its error; the reason without the text of documents */
};

struct bulk_answer { /* reused from answer to answer */
    struct answer_item *items;
    size_t count, capacity;
    bool has_items;           /* it is the answer of a bulk: an object with `items` */
    struct answer_item whole; /* the error of the whole request, its `status` absent */
    struct buffer texts;
};

void bulk_answer_init(struct bulk_answer *answer);
void bulk_answer_free(struct bulk_answer *answer);

/* False when the body is not one JSON object; what was read until then is of no use. Takes the keys in any
 * order. */
bool bulk_answer_read(struct bulk_answer *answer, struct span body);

struct span bulk_answer_type(const struct bulk_answer *answer, const struct answer_item *item);

/* Appends "TYPE: REASON", or as much of it as there is. */
void bulk_answer_describe(const struct bulk_answer *answer, const struct answer_item *item,
                          struct buffer *out);

/* Appends a server's reason without the text of documents that servers quote in it ("Preview of field's
 * value: '...'", "[Source: (byte[])"{..."): a reason goes to logs and lists that may be read by more people
 * than the documents. One line, at most 400 bytes. */
void reason_put(struct buffer *out, struct span reason);
