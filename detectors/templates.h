/* The templates of log lines, learned online: a template is a row of words with `<*>` where values stand,
 * and stands for the lines of one statement of a program. The skeleton of a line (skeleton.h) has the
 * values that can be told by their look; here those are found that only many lines tell: a place at which
 * many different words were seen while the rest stayed the same is a value, one with a few is part of the
 * statement.
 *
 * One configuration for all systems. Memory is fixed at birth and never grows, whatever comes; the
 * template that was seen least, longest ago goes first. An id is given once and never again to another
 * template, and does not change when the template becomes more general; of templates that become one, the
 * id of the oldest stays. The same lines in the same order give the same templates. One thread. */
#pragma once
#include "base/state.h"
#include "detectors/skeleton.h"

enum { TEMPLATES_LIMIT_LEAST = 16, TEMPLATES_LIMIT_MOST = 1 << 16, TEMPLATES_LIMIT_DEFAULT = 4096 };

struct templates;
struct log_template; /* borrowed until the next templates_learn or templates_restore */

struct templates *templates_new(uint32_t limit); /* of templates, some 1 KB each */
void templates_free(struct templates *templates);

/* Learns from `count` lines of one skeleton; returns their template. *ret_new: it stands for nothing else
 * yet. */
const struct log_template *templates_learn(struct templates *templates, const struct skeleton *skeleton,
                                           uint64_t count, bool *ret_new);

/* The template of such lines, or NULL; learns nothing. */
const struct log_template *templates_find(struct templates *templates, const struct skeleton *skeleton);

uint64_t template_id(const struct log_template *template);   /* never 0 */
uint64_t template_seen(const struct log_template *template); /* lines */

/* What its lines look like, with `<*>` for values. */
void template_text(const struct log_template *template, struct buffer *out);

/* The values of a line of this template: spans of the line, in order. Returns how many there are. */
unsigned template_values(const struct log_template *template, const struct skeleton *skeleton,
                         struct span line, struct span ret_values[SKELETON_TOKENS_MAX]);

uint32_t templates_count(const struct templates *templates);
uint64_t templates_evicted(const struct templates *templates);
size_t templates_bytes(const struct templates *templates); /* the memory held, the same from birth */

/* The whole state as one value; templates_restore takes it into new ones of the same limit or a higher
 * one. What is learned then goes on as if there had been no break. */
void templates_save(const struct templates *templates, struct buffer *out);
enum status templates_restore(struct templates *templates, struct span saved, struct error *ret_error);
