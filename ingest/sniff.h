/* What a JSON message is, told by the keys at its top level (those of the first element where it is an
 * array), by one look at its bytes without parsing it. The text need not be JSON: any answer is then a
 * guess. */
#pragma once
#include "base/span.h"

enum { SNIFF_KEYS_MAX = 128, SNIFF_SIGNS_MAX = 64, SNIFF_HEADS = 32 };

typedef unsigned __int128 sniff_set; /* bit i: keys[i] */

struct sniffer {
    struct sniff_key {
        struct span name, beginning; /* of the value; empty: any value */
    } keys[SNIFF_KEYS_MAX];
    struct sniff_sign {
        sniff_set keys; /* all must be there */
        unsigned answer;
    } signs[SNIFF_SIGNS_MAX];
    sniff_set heads[SNIFF_HEADS]; /* of this hash */
    unsigned key_count, sign_count;
};

/* Signs are alternatives parted by '|', each of some keys parted by blanks; `key=beginning` asks for a text
 * that begins so, `key={` for an object, and `key=[{"name"` for what begins with these very bytes. The texts
 * are borrowed. The sign that a message completes first, reading on from its beginning, answers. */
void sniffer_add(struct sniffer *sniffer, const char *signs, unsigned answer);
/* The answer, or -1. */
int sniffer_ask(const struct sniffer *sniffer, struct span payload);

/* Kinds of messages that are known and that no format reads: "an OTLP logs message". */
void sniffer_add_foreign(struct sniffer *sniffer, unsigned first_answer);
const char *sniff_foreign_name(unsigned number);
const char *sniff_foreign(struct span payload); /* NULL: none of them */

/* The message behind a registry header (a null byte and a schema id of four, Confluent's wire format) where
 * JSON follows; else the message. */
struct span sniff_json(struct span payload);
