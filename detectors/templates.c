/* A line's skeleton is found again by its hash in a small cache: one look-up for nearly all lines. Else it
 * is compared with the templates of its shape (all text between tokens); else it is a new template, and
 * may tell that one of its places is a value.
 *
 * Tried and dropped: a similarity of whole lines, as in Drain. One level of it fits no two systems, and a
 * wrong join is never undone; here templates join only where they differ at one place, by what was seen
 * there. */
#include "detectors/templates.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>

enum {
    LAYOUT = 1,
    CACHE_CELLS = 1 << 15,
    SHAPE_TEMPLATES_MAX = 256, /* of one shape: bounds the time of a line */
    SEEN_WORTH = 16,           /* each line of a template keeps it for so many lines of others ... */
    SEEN_MAX = 1 << 12,        /* ... up to this number of its lines */
    WORDS_VALUE = 5,           /* so many different words at one place are a value */
    FIRST_WORDS_VALUE = 20,    /* the first word of a line tells the statement more often than any other */
    COMMON_WORDS = 2,          /* lines with so many words the same have a value where one has a number */
    DIFFERENCES_MAX = 2,       /* more places at once tell nothing */
    NONE = UINT32_MAX,
};

/* What a comparison needs stands together at its beginning. */
struct log_template {
    uint64_t shape;
    uint64_t values;  /* bit i: token i was learned to be a value */
    uint64_t words;   /* bit i: token i is a word */
    uint64_t loose;   /* bit i: token i may be a value by its look ... */
    uint64_t numbers; /* ... and is one for certain */
    uint64_t id;      /* 0: free */
    uint32_t next;    /* of the same shape, or free */
    uint16_t tokens, size;
    uint32_t hash[SKELETON_TOKENS_MAX];
    uint64_t seen, born, used; /* lines; the numbers of the first and the last one */
    uint32_t generation;       /* grows when it goes, so that the cache notices */
    uint16_t at[SKELETON_TOKENS_MAX];
    uint16_t token_size[SKELETON_TOKENS_MAX];
    char text[SKELETON_BYTES_MAX]; /* the skeleton of its first line */
};

struct cache_cell {
    uint64_t hash;
    uint32_t template, generation, epoch;
};

struct templates {
    uint32_t limit, count, free, shape_mask;
    uint32_t epoch; /* grows with each join: another template may be nearer to a line than the one cached */
    uint64_t lines, evicted;
    struct log_template *template;
    uint64_t *worth; /* by template; the least one goes first */
    uint32_t *shape; /* first template, by the low bits of the shape */
    struct cache_cell *cache;
};

struct templates *templates_new(uint32_t limit)
{
    struct templates *templates = memory_new(sizeof *templates);
    uint32_t heads = 1;

    assert(limit >= TEMPLATES_LIMIT_LEAST && limit <= TEMPLATES_LIMIT_MOST);
    while (heads < limit)
        heads *= 2;
    *templates = (struct templates){.limit = limit, .shape_mask = heads - 1, .epoch = 1};
    templates->template = memory_new(limit * sizeof *templates->template);
    templates->worth = memory_new(limit * sizeof *templates->worth);
    templates->shape = memory_new(heads * sizeof *templates->shape);
    templates->cache = memory_new(CACHE_CELLS * sizeof *templates->cache);
    memset(templates->shape, 0xFF, heads * sizeof *templates->shape);
    for (uint32_t i = 0; i < limit; i++)
        templates->template[i].next = i + 1 < limit ? i + 1 : NONE;
    return templates;
}

void templates_free(struct templates *templates)
{
    if (!templates)
        return;
    free(templates->template);
    free(templates->worth);
    free(templates->shape);
    free(templates->cache);
    free(templates);
}

/* All of a template that its skeleton tells. */
static void describe(const struct skeleton *skeleton, struct log_template *ret)
{
    uint64_t shape = skeleton->tokens;
    unsigned end = 0;

    ret->values = ret->words = ret->loose = ret->numbers = 0;
    ret->size = skeleton->size;
    ret->tokens = skeleton->tokens;
    memcpy(ret->text, skeleton->text, skeleton->size);
    for (unsigned i = 0; i < skeleton->tokens; i++) {
        const struct token *token = &skeleton->token[i];
        shape = hash_bytes(skeleton->text + end, token->at - end, shape);
        end = token->at + token->size;
        ret->at[i] = token->at;
        ret->token_size[i] = token->size;
        ret->hash[i] = (uint32_t)hash_bytes(skeleton->text + token->at, token->size, 0);
        *(token->kind == TOKEN_WORD ? &ret->words : &ret->loose) |= UINT64_C(1) << i;
        ret->numbers |= (uint64_t)(token->kind == TOKEN_VALUE) << i;
    }
    ret->shape = hash_bytes(skeleton->text + end, skeleton->size - end, shape);
}

/* Places at which they differ and neither has a value. */
static uint64_t difference(const struct log_template *a, const struct log_template *b)
{
    uint64_t differ = 0;

    for (unsigned i = 0; i < SKELETON_TOKENS_MAX && i < a->tokens; i++)
        differ |= (uint64_t)(a->hash[i] != b->hash[i]) << i;
    return differ & ~(a->values | b->values);
}

static struct log_template *first_of_shape(const struct templates *templates, uint64_t shape)
{
    uint32_t first = templates->shape[shape & templates->shape_mask];

    return first == NONE ? NULL : &templates->template[first];
}

static struct log_template *next_template(const struct templates *templates,
                                          const struct log_template *template)
{
    return template->next == NONE ? NULL : &templates->template[template->next];
}

static bool same_shape(const struct log_template *a, const struct log_template *b)
{
    return a->shape == b->shape && a->tokens == b->tokens;
}

static bool fits(const struct log_template *template, const struct log_template *line)
{
    for (unsigned i = 0; i < line->tokens; i++)
        if (template->hash[i] != line->hash[i] && !(template->values >> i & 1))
            return false;
    return true;
}

/* The template with the fewest values that such a line fits; of two, the one with the smaller id. */
static struct log_template *match(const struct templates *templates, const struct log_template *line)
{
    struct log_template *best = NULL, *next;
    int best_values = 0;

    for (struct log_template *at = first_of_shape(templates, line->shape); at; at = next) {
        next = next_template(templates, at);
        if (!same_shape(at, line) || !fits(at, line))
            continue;
        int values = __builtin_popcountll(at->values);
        if (!best || values < best_values || (values == best_values && at->id < best->id)) {
            best = at;
            best_values = values;
        }
    }
    return best;
}

static void forget(struct templates *templates, struct log_template *template)
{
    uint32_t index = (uint32_t)(template - templates->template);
    uint32_t *link = &templates->shape[template->shape & templates->shape_mask];

    while (*link != index)
        link = &templates->template[*link].next;
    *link = template->next;
    template->id = 0;
    template->generation++;
    template->next = templates->free;
    templates->free = index;
    templates->count--;
}

static void set_worth(struct templates *templates, const struct log_template *template)
{
    uint64_t seen = template->seen < SEEN_MAX ? template->seen : SEEN_MAX;

    templates->worth[template - templates->template] = template->used + SEEN_WORTH * seen;
}

static uint32_t less_worth(const struct templates *templates, uint32_t a, uint32_t b)
{
    const uint64_t *worth = templates->worth;

    if (worth[a] != worth[b])
        return worth[a] < worth[b] ? a : b;
    return templates->template[a].id < templates->template[b].id ? a : b;
}

/* Makes room for one more of this shape: the template of least worth goes, of its shape if there are many. */
static void make_room(struct templates *templates, uint64_t shape)
{
    uint32_t worst = NONE, count = 0;

    for (uint32_t at = templates->shape[shape & templates->shape_mask]; at != NONE;
         at = templates->template[at].next, count++)
        worst = worst == NONE ? at : less_worth(templates, worst, at);
    if (count < SHAPE_TEMPLATES_MAX && templates->count < templates->limit)
        return;
    if (count < SHAPE_TEMPLATES_MAX)
        for (uint32_t at = worst = 0; at < templates->limit; at++)
            worst = less_worth(templates, worst, at);
    forget(templates, &templates->template[worst]);
    templates->evicted++;
}

static struct log_template *add(struct templates *templates, const struct log_template *line)
{
    make_room(templates, line->shape);
    struct log_template *added = &templates->template[templates->free];
    uint32_t *head = &templates->shape[line->shape & templates->shape_mask];
    uint32_t generation = added->generation;

    templates->free = added->next;
    templates->count++;
    *added = *line;
    added->generation = generation;
    added->next = *head;
    *head = (uint32_t)(added - templates->template);
    set_worth(templates, added);
    return added;
}

/* `to` becomes a template for the lines of both. */
static void join(struct templates *templates, struct log_template *to, struct log_template *from)
{
    to->values |= from->values | difference(to, from);
    if (from->born < to->born) {
        to->id = from->id;
        to->born = from->born;
    }
    to->seen += from->seen;
    to->used = from->used > to->used ? from->used : to->used;
    forget(templates, from);
    set_worth(templates, to);
    templates->epoch++;
}

/* Places where the lines of both differ in words, and nothing else tells that a value stands there:
 * neither the look of both, nor the look of one in a line that has more words in common. */
static uint64_t word_difference(const struct log_template *a, const struct log_template *b)
{
    uint64_t differ = difference(a, b);
    uint64_t same = a->words & b->words & ~(differ | a->values | b->values);

    differ &= ~(a->loose & b->loose);
    return __builtin_popcountll(same) >= COMMON_WORDS ? differ & ~(a->numbers | b->numbers) : differ;
}

/* How many different words at such places make them values: more where less of the line stays the same. */
static unsigned words_needed(const struct log_template *template, uint64_t places)
{
    uint64_t before = (places & -places) - 1;
    int same = __builtin_popcountll(template->words & ~(template->values | places));

    if (places & (places - 1))
        return same > COMMON_WORDS ? 2 * WORDS_VALUE : UINT32_MAX;
    if (same == 0)
        return UINT32_MAX;
    if (!(template->words & before))
        return FIRST_WORDS_VALUE;
    return same == 1 ? 4 * WORDS_VALUE : same == 2 ? 2 * WORDS_VALUE : WORDS_VALUE;
}

/* With all that differ from it at no other places; again while that makes it fit more. */
static void join_all(struct templates *templates, struct log_template *template, uint64_t places)
{
    struct log_template *next;

    for (struct log_template *at = first_of_shape(templates, template->shape); at; at = next) {
        next = next_template(templates, at);
        if (at == template || !same_shape(at, template) || word_difference(at, template) & ~places)
            continue;
        join(templates, template, at);
        next = first_of_shape(templates, template->shape);
    }
}

/* Places that many other templates show to be values; 0: none. */
static uint64_t value_places(const struct templates *templates, const struct log_template *template)
{
    struct {
        uint64_t places;
        unsigned words;
    } tally[SKELETON_TOKENS_MAX];
    unsigned used = 0, i;

    for (struct log_template *at = first_of_shape(templates, template->shape); at;
         at = next_template(templates, at)) {
        if (at == template || !same_shape(at, template))
            continue;
        uint64_t places = word_difference(at, template);
        if (__builtin_popcountll(places) > DIFFERENCES_MAX)
            continue;
        for (i = 0; i < used && tally[i].places != places; i++)
            ;
        if (i == SKELETON_TOKENS_MAX)
            continue;
        if (i == used)
            tally[used++].places = places, tally[i].words = 1;
        if (++tally[i].words >= words_needed(template, places))
            return places;
    }
    return 0;
}

/* Joins the template with those that differ from it only where values stand. */
static void generalise(struct templates *templates, struct log_template *template)
{
    uint64_t places;

    join_all(templates, template, 0);
    while ((places = value_places(templates, template)) != 0)
        join_all(templates, template, places);
}

static struct cache_cell *cell_of(const struct templates *templates, uint64_t hash)
{
    return &templates->cache[hash & (CACHE_CELLS - 1)];
}

static struct log_template *look_up(struct templates *templates, const struct skeleton *skeleton,
                                    uint64_t *ret_hash)
{
    uint64_t hash = hash_bytes(skeleton->text, skeleton->size, 0);
    const struct cache_cell *cell = cell_of(templates, hash);

    *ret_hash = hash;
    if (cell->hash != hash || cell->epoch != templates->epoch ||
        cell->generation != templates->template[cell->template].generation)
        return NULL;
    return &templates->template[cell->template];
}

static void remember(struct templates *templates, uint64_t hash, const struct log_template *template)
{
    *cell_of(templates, hash) = (struct cache_cell){.hash = hash,
                                                    .template = (uint32_t)(template - templates->template),
                                                    .generation = template->generation,
                                                    .epoch = templates->epoch};
}

/* The template of such a line as it is now; describes the line if the cache has it not. */
static struct log_template *find(struct templates *templates, const struct skeleton *skeleton,
                                 uint64_t *ret_hash, struct log_template *ret_line)
{
    struct log_template *template = look_up(templates, skeleton, ret_hash);

    if (template)
        return template;
    describe(skeleton, ret_line);
    template = match(templates, ret_line);
    if (template)
        remember(templates, *ret_hash, template);
    return template;
}

const struct log_template *templates_learn(struct templates *templates, const struct skeleton *skeleton,
                                           uint64_t count, bool *ret_new)
{
    struct log_template line;
    uint64_t hash;
    struct log_template *template = find(templates, skeleton, &hash, &line);

    *ret_new = false;
    templates->lines += count;
    if (template) {
        template->seen += count;
        template->used = templates->lines;
        set_worth(templates, template);
        return template;
    }
    line.id = hash ? hash : 1;
    line.seen = count;
    line.born = line.used = templates->lines;
    template = add(templates, &line);
    generalise(templates, template);
    *ret_new = template->seen == count;
    remember(templates, hash, template);
    return template;
}

const struct log_template *templates_find(struct templates *templates, const struct skeleton *skeleton)
{
    struct log_template line;
    uint64_t hash;

    return find(templates, skeleton, &hash, &line);
}

uint64_t template_id(const struct log_template *template)
{
    return template->id;
}

uint64_t template_seen(const struct log_template *template)
{
    return template->seen;
}

static bool is_value(const struct log_template *template, unsigned place)
{
    return (template->values | template->numbers) >> place & 1;
}

void template_text(const struct log_template *template, struct buffer *out)
{
    unsigned end = 0;

    for (unsigned i = 0; i < template->tokens; i++) {
        unsigned gap = template->at[i] - end;
        bool joined =
            i && gap == 1 && template->text[end] == ' ' && is_value(template, i) && is_value(template, i - 1);
        if (!joined)
            buffer_put(out, template->text + end, gap);
        end = (unsigned)template->at[i] + template->token_size[i];
        if (!is_value(template, i))
            buffer_put(out, template->text + template->at[i], template->token_size[i]);
        else if (!joined)
            buffer_put_text(out, "<*>");
    }
    buffer_put(out, template->text + end, template->size - end);
}

unsigned template_values(const struct log_template *template, const struct skeleton *skeleton,
                         struct span line, struct span ret_values[SKELETON_TOKENS_MAX])
{
    unsigned count = 0;

    assert(template->tokens == skeleton->tokens);
    for (unsigned i = 0; i < skeleton->tokens; i++) {
        const struct token *token = &skeleton->token[i];
        assert(token->from <= token->to && token->to <= line.size);
        if (is_value(template, i) || token->kind == TOKEN_VALUE)
            ret_values[count++] = span_make(line.data + token->from, token->to - token->from);
    }
    return count;
}

uint32_t templates_count(const struct templates *templates)
{
    return templates->count;
}

uint64_t templates_evicted(const struct templates *templates)
{
    return templates->evicted;
}

size_t templates_bytes(const struct templates *templates)
{
    return sizeof *templates + templates->limit * (sizeof *templates->template + sizeof *templates->worth) +
           (templates->shape_mask + 1) * sizeof *templates->shape + CACHE_CELLS * sizeof *templates->cache;
}

void templates_save(const struct templates *templates, struct buffer *out)
{
    pack_u8(out, LAYOUT);
    pack_u64(out, templates->lines);
    pack_u64(out, templates->evicted);
    pack_u32(out, templates->count);
    for (uint32_t i = 0; i < templates->limit; i++) {
        const struct log_template *template = &templates->template[i];
        if (!template->id)
            continue;
        pack_u64(out, template->id);
        pack_u64(out, template->values);
        pack_u64(out, template->seen);
        pack_u64(out, template->born);
        pack_u64(out, template->used);
        pack_text(out, span_make(template->text, template->size));
    }
}

/* A skeleton's text has the same skeleton again, so the text tells the tokens. */
static bool restore_one(struct templates *templates, struct unpack *in)
{
    struct log_template template = {.id = unpack_u64(in)};
    uint64_t values = unpack_u64(in), seen = unpack_u64(in), born = unpack_u64(in), used = unpack_u64(in);
    struct span text = unpack_text(in);
    struct skeleton skeleton;

    if (in->broken || !template.id || !seen || born > used || used > templates->lines ||
        text.size > SKELETON_BYTES_MAX)
        return false;
    skeleton_make(text, &skeleton);
    describe(&skeleton, &template);
    if (template.tokens < SKELETON_TOKENS_MAX && values >> template.tokens)
        return false;
    template.values = values;
    template.seen = seen;
    template.born = born;
    template.used = used;
    add(templates, &template);
    return true;
}

enum status templates_restore(struct templates *templates, struct span saved, struct error *ret_error)
{
    struct unpack in;

    if (unpack_layout(saved, LAYOUT, &in, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    assert(templates->count == 0);
    templates->lines = unpack_u64(&in);
    uint64_t evicted = unpack_u64(&in);
    uint32_t count = unpack_u32(&in);
    if (count > templates->limit)
        return fail(ret_error, "%u log templates were saved, at most %u are kept", count, templates->limit);
    for (uint32_t i = 0; i < count; i++)
        if (!restore_one(templates, &in))
            return fail(ret_error, "log template %u is damaged", i);
    templates->evicted = evicted;
    return unpack_finish(&in, ret_error);
}
