/* JSON by comparison with messages read before. Messages of one producer have the same keys in the same
 * order, so that what stands between their values is the same bytes in each: a step is such a run of bytes
 * with the kind of value behind it, and the steps of all shapes seen form a tree, as messages of several
 * kinds in one topic have their first members in common. Of a message that follows a path of the tree only
 * the values are looked at. One that does not is the walk's, which notes the values it meets, and they become
 * a path. A shape that never comes again costs its learning, so when the tree is full of such it is
 * forgotten, and nothing is learned for a while that doubles each time.
 * Only of messages that are one item. Takes only what is right: of two texts that are equal byte for byte
 * outside of their scalars either both are JSON or none. */
#include "ingest/json_events.h"
#include "ingest/json_text.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum {
    STEPS_MAX = 4096,
    OTHERS_MAX = 16, /* steps that may stand at one place */
    NOTES_MAX = 1024,
    LITERALS_BYTES_MAX = 256 * 1024,
    TEXT_BYTES_MAX = 16 * 1024 * 1024,
    AT_ONCE = 16,      /* bytes compared */
    PAUSE_LEAST = 256, /* messages */
    PAUSE_MOST = 1 << 20,
    STEP_NONE = 0
};

struct step {
    uint32_t at, size; /* what stands before the value, in `literals` */
    uint32_t wish;     /* first wish for the value */
    uint32_t next;     /* step behind it */
    uint32_t other;    /* that may stand here instead */
    enum json_note kind;
};

struct note { /* a value of the message being walked over */
    uint32_t start, end, wish;
    enum json_note kind;
};

struct json_shapes {
    struct step steps[STEPS_MAX]; /* the first one only leads to the roots */
    uint32_t count;
    struct buffer literals;
    size_t wishes;         /* paths wished for when they were made */
    uint64_t hits, misses; /* since the tree was begun */
    uint32_t pause;        /* messages to let pass; how many the next time */
    uint32_t next_pause;
    struct buffer text; /* of a value that had escapes */

    struct note notes[NOTES_MAX];
    uint32_t note_count;
};

static void forget(struct json_shapes *shapes, size_t wishes)
{
    shapes->count = 1;
    shapes->steps[0] = (struct step){0};
    buffer_clear(&shapes->literals);
    shapes->wishes = wishes;
    shapes->hits = shapes->misses = 0;
}

static struct json_shapes *shapes_new(void)
{
    struct json_shapes *shapes = memory_new(sizeof *shapes);

    buffer_init(&shapes->literals, LITERALS_BYTES_MAX);
    buffer_init(&shapes->text, TEXT_BYTES_MAX);
    shapes->next_pause = PAUSE_LEAST;
    return shapes;
}

void json_shapes_free(struct json_reader *reader)
{
    struct json_shapes *shapes = reader->shapes;

    if (!shapes)
        return;
    buffer_free(&shapes->literals);
    buffer_free(&shapes->text);
    free(shapes);
}

uint64_t json_shapes_followed(const struct json_reader *reader)
{
    return reader->shapes ? reader->shapes->hits : 0;
}

#ifdef __SSE2__
/* Do `size` bytes, at most 16, stand at both? 16 of both may be read. */
static inline bool equal_in_16(const char *a, const char *b, size_t size)
{
    __m128i same = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)a), _mm_loadu_si128((const __m128i *)b));

    return !(~(unsigned)_mm_movemask_epi8(same) & ((1u << size) - 1));
}
#endif

/* Does the text that has `left` bytes begin with the literal? That has some room behind it. */
static inline bool begins_with(const char *at, size_t left, const char *literal, size_t size)
{
    if (left < size)
        return false;
#ifdef __SSE2__
    if (size <= AT_ONCE && left >= AT_ONCE)
        return equal_in_16(at, literal, size);
#endif
    return memcmp(at, literal, size) == 0;
}

#ifdef __SSE2__
/* A bit for each byte. */
static inline unsigned stops_in_16(const char *at)
{
    __m128i bytes = _mm_loadu_si128((const __m128i *)at);
    __m128i quotes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
    __m128i backslashes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
    __m128i others = _mm_cmplt_epi8(bytes, _mm_set1_epi8(' ')); /* signed: those from 0x80 on, too */

    return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quotes, backslashes), others));
}
#endif

/* Where plain ASCII ends: at a quote, a backslash, a control character, or a byte of a longer sequence.
 * `before` bytes may be read that stand before `at`. */
static inline const char *plain_end(const char *at, const char *end, size_t before)
{
#ifdef __SSE2__
    while (end - at >= AT_ONCE) {
        unsigned stops = stops_in_16(at);

        if (stops)
            return at + __builtin_ctz(stops);
        at += AT_ONCE;
    }
    if (before >= AT_ONCE) { /* the last ones, of which some were looked at */
        unsigned stops = stops_in_16(end - AT_ONCE) >> (AT_ONCE - (end - at));

        return stops ? at + __builtin_ctz(stops) : end;
    }
#endif
    while (at < end && *at != '"' && *at != '\\' && (signed char)*at >= ' ')
        at++;
    return at;
}

static inline bool is_bare(char c) /* of a number, true, false or null */
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '.' || c == '-' || c == '+' || c == 'E';
}

static inline const char *bare_end(const char *at, const char *end)
{
    while (at < end && is_bare(*at))
        at++;
    return at;
}

/* From where the text is not plain to its quote; NULL: it has none, or is no text. */
static const char *text_end(const char *at, const char *end, bool *ret_escapes)
{
    for (*ret_escapes = false; at < end && *at != '"'; at = plain_end(at, end, 0)) {
        size_t size = utf8_sequence_size((const unsigned char *)at, (size_t)(end - at));

        if (*at == '\\') {
            *ret_escapes = true;
            size = 2;
        }
        if (size == 0 || size > (size_t)(end - at))
            return NULL;
        at += size;
    }
    return at < end ? at : NULL;
}

/* Moves the cursor behind the text that begins there. */
static inline bool take_text(struct json_reader *reader, uint32_t wish, const char **cursor, const char *end)
{
    const char *start = *cursor, *stop = plain_end(start, end, (size_t)(start - reader->text.data));
    bool escapes = false;

    if (stop == end)
        return false;
    if (*stop != '"')
        stop = text_end(stop, end, &escapes);
    if (!stop)
        return false;
    *cursor = stop;
    struct span text = span_make(start, (size_t)(stop - start));

    if (escapes) {
        if (!json_unescape(text, &reader->shapes->text))
            return false;
        text = buffer_span(&reader->shapes->text);
        if (wish != WISH_NONE && text.size > 0 && !json_keep_text(reader, &text))
            return false;
    }
    json_tell(reader, wish, JSON_TEXT, text);
    return true;
}

static bool take_bare(struct json_reader *reader, uint32_t wish, struct span text)
{
    bool is_bool = text.data[0] == 't' || text.data[0] == 'f';

    if (text.data[0] == 'n')
        return span_is(text, "null");
    if (is_bool ? !span_is(text, "true") && !span_is(text, "false") : !json_is_number(text))
        return false;
    json_tell(reader, wish, is_bool ? JSON_BOOL : JSON_NUMBER, text);
    return true;
}

/* May a value of this kind begin with what is left? */
static inline bool may_begin(enum json_note kind, const char *at, const char *end)
{
    if (kind == NOTE_TEXT)
        return true;
    if (at == end)
        return kind == NOTE_END;
    if (kind == NOTE_BARE)
        return is_bare(*at);
    return (kind == NOTE_OBJECT && *at == '{') || (kind == NOTE_ARRAY && *at == '[');
}

/* The step whose bytes stand at `at`, and whose kind of value may begin behind them; STEP_NONE: there is
 * none. */
static inline uint32_t find_step(const struct json_shapes *shapes, uint32_t number, const char *at,
                                 const char *end)
{
    for (; number != STEP_NONE; number = shapes->steps[number].other) {
        const struct step *step = &shapes->steps[number];

        if (begins_with(at, (size_t)(end - at), shapes->literals.data + step->at, step->size) &&
            may_begin(step->kind, at + step->size, end))
            break;
    }
    return number;
}

static bool follow(struct json_reader *reader, struct json_shapes *shapes, struct span payload)
{
    const char *at = payload.data, *end = at + payload.size;
    uint32_t number = STEP_NONE;

    for (;;) {
        number = find_step(shapes, shapes->steps[number].next, at, end);
        if (number == STEP_NONE)
            return false;
        const struct step *step = &shapes->steps[number];
        const char *start = at + step->size;

        at = start;
        switch (step->kind) {
        case NOTE_TEXT:
            if (!take_text(reader, step->wish, &at, end))
                return false;
            break;
        case NOTE_BARE:
            at = bare_end(start, end);
            if (!take_bare(reader, step->wish, span_make(start, (size_t)(at - start))))
                return false;
            break;
        case NOTE_OBJECT:
        case NOTE_ARRAY:
            json_tell(reader, step->wish, step->kind == NOTE_OBJECT ? JSON_OBJECT : JSON_ARRAY,
                      (struct span){0});
            break;
        case NOTE_END:
            return true;
        }
    }
}

bool json_shapes_read(struct json_reader *reader, struct span payload)
{
    reader->is_noting = false;
    if (reader->item_place != PLACE_ROOT || payload.size == 0 || payload.data[0] != '{')
        return false;
    if (!reader->shapes)
        reader->shapes = shapes_new();
    struct json_shapes *shapes = reader->shapes;

    if (shapes->wishes != reader->paths.wish_count)
        forget(shapes, reader->paths.wish_count);
    if (shapes->pause > 0) {
        shapes->pause--;
        return false;
    }
    if (json_on_object(reader) && follow(reader, shapes, payload) && json_on_object_end(reader)) {
        shapes->hits++;
        return true;
    }
    shapes->misses++;
    shapes->note_count = 0;
    reader->is_noting = true;
    return false;
}

void json_shapes_note(struct json_reader *reader, enum json_note kind, struct span value)
{
    struct json_shapes *shapes = reader->shapes;
    uint32_t start = (uint32_t)(value.data - reader->text.data), place = reader->place;
    uint32_t wish = place == PLACE_NONE ? WISH_NONE : reader->paths.places[place].wish;

    if (!reader->is_noting || ((kind == NOTE_OBJECT || kind == NOTE_ARRAY) && wish == WISH_NONE))
        return;
    if (shapes->note_count < NOTES_MAX)
        shapes->notes[shapes->note_count] = (struct note){start, start + value.size, wish, kind};
    shapes->note_count++;
}

/* The step that says what `note` does, behind the literal, among those that stand behind `number`; STEP_NONE:
 * there is no room for it. */
static uint32_t add_step(struct json_shapes *shapes, uint32_t number, struct span literal,
                         const struct note *note)
{
    uint32_t *link = &shapes->steps[number].next;
    unsigned others = 0;

    for (; *link != STEP_NONE; link = &shapes->steps[*link].other, others++) {
        const struct step *step = &shapes->steps[*link];

        if (step->kind == note->kind && step->wish == note->wish && step->size == literal.size &&
            memcmp(shapes->literals.data + step->at, literal.data, literal.size) == 0)
            return *link;
    }
    size_t at = shapes->literals.size;

    buffer_put_span(&shapes->literals, literal);
    (void)buffer_room(&shapes->literals, AT_ONCE);
    if (others == OTHERS_MAX || shapes->count == STEPS_MAX || shapes->literals.full)
        return STEP_NONE;
    shapes->steps[shapes->count] =
        (struct step){.at = (uint32_t)at, .size = literal.size, .wish = note->wish, .kind = note->kind};
    *link = shapes->count;
    return shapes->count++;
}

void json_shapes_learn(struct json_reader *reader)
{
    struct json_shapes *shapes = reader->shapes;
    struct span payload = reader->text;
    uint32_t number = STEP_NONE, end = 0;

    if (!reader->is_noting)
        return;
    json_shapes_note(reader, NOTE_END, span_make(payload.data + payload.size, 0));
    bool fits = shapes->note_count <= NOTES_MAX;

    for (uint32_t i = 0; i < shapes->note_count && fits; i++) {
        const struct note *note = &shapes->notes[i];

        number = add_step(shapes, number, span_make(payload.data + end, note->start - end), note);
        fits = number != STEP_NONE;
        end = note->end;
    }
    reader->is_noting = false;
    if (fits)
        return;
    if (shapes->hits > shapes->misses)
        shapes->next_pause = PAUSE_LEAST;
    shapes->pause = shapes->next_pause;
    if (shapes->next_pause < PAUSE_MOST)
        shapes->next_pause *= 2;
    forget(shapes, shapes->wishes);
}
