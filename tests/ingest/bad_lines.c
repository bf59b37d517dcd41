#include "tests/ingest/bad_lines.h"

#include "base/memory.h"
#include "tests/base/random.h"

#include <stdlib.h>

enum { MUTATIONS = 3000, RANDOM_LINES = 2000, RANDOM_BYTES = 300, LONG_BYTES = 1 << 20 };

static void must_end(struct rig *rig, const char *line, size_t size)
{
    enum status status = rig_decode(rig, line, size);

    assert_true(status == STATUS_OK || status == STATUS_SKIP);
}

static void truncate_line(struct rig *rig, const char *line)
{
    for (size_t size = 0; size < strlen(line); size++)
        must_end(rig, line, size);
}

/* Digits beyond any calendar. */
static void break_dates(struct rig *rig, const char *line)
{
    char *copy = memory_text(line, strlen(line));

    for (char *at = copy; *at; at++)
        if (*at >= '0' && *at <= '9')
            *at = '9';
    must_end(rig, copy, strlen(copy));
    free(copy);
}

static void mutate_line(struct rig *rig, const char *line, uint64_t *random)
{
    static const char spice[] = "[](){}<>\"\\=: -,.@\n\t\0\xff\xc3\x80PF09";
    size_t size = strlen(line);
    char *copy = memory_text(line, size);

    for (unsigned changes = 1 + (unsigned)random_below(random, 5); changes > 0; changes--)
        copy[random_below(random, size)] = random_below(random, 2)
                                               ? (char)random_next(random)
                                               : spice[random_below(random, sizeof spice - 1)];
    must_end(rig, copy, size);
    free(copy);
}

static void lengthen_line(struct rig *rig, const char *line)
{
    static const char fillings[] = "x \"\\=[\xff";
    size_t size = strlen(line);
    char *longer = memory_new(size + LONG_BYTES);

    for (size_t i = 0; i < sizeof fillings - 1; i++) {
        memcpy(longer, line, size);
        memset(longer + size, fillings[i], LONG_BYTES);
        must_end(rig, longer, size + LONG_BYTES);
    }
    free(longer);
}

static void decode_random(struct rig *rig, uint64_t *random)
{
    char line[RANDOM_BYTES];
    size_t size = 1 + random_below(random, sizeof line - 1);

    for (size_t i = 0; i < size; i++)
        line[i] = (char)random_next(random);
    must_end(rig, line, size);
}

void check_bad_lines(struct rig *rig, const char *const *good, size_t count)
{
    uint64_t random = 7;

    for (size_t i = 0; i < count; i++) {
        truncate_line(rig, good[i]);
        break_dates(rig, good[i]);
        lengthen_line(rig, good[i]);
        for (unsigned n = 0; n < MUTATIONS; n++)
            mutate_line(rig, good[i], &random);
    }
    for (unsigned n = 0; n < RANDOM_LINES; n++)
        decode_random(rig, &random);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(rig_decode_text(rig, good[i]), STATUS_OK);
        assert_true(rig->batch.rows > 0 && rig->batch.mark[0] == MARK_OK);
    }
    assert_int_equal(rig_decode(rig, "", 0), STATUS_OK);
    assert_int_equal(rig->batch.rows, 1);
    assert_int_equal(rig->batch.mark[0], MARK_TOMBSTONE);
}
