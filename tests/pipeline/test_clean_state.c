/* What dedupe and throttle remember, through cuts and restarts: the cleaner that was restored marks the rows
 * since the cut as the first one did; steps are found again in a changed list; damaged values never do harm.
 */
#include "base/memory.h"
#include "pipeline/clean.h"
#include "tests/base/random.h"
#include "tests/base/values.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { SECOND = 1000000, ROWS = 64, STEPS = 800, SEEDS = 6 };

static const char list_of_steps[] = "[{dedupe: run, within: 20s}, {throttle: workflow, limit: 40, per: 10s}, "
                                    "{dedupe: run, within: 20s}]";

struct rig {
    struct cleaner *cleaner;
    struct label_names labels;
    struct event_batch batch;
    struct clean_figures figures;
    struct buffer marks; /* of all rows since it was cleared */
};

static struct rig *rig_open(const char *list)
{
    struct rig *rig = memory_new(sizeof *rig);
    struct config *config;
    struct error error;
    char text[512];

    snprintf(text, sizeof text, "clean: %s\n", list);
    if (config_parse(text, "weir.yaml", &config, &error) != STATUS_OK ||
        cleaner_open(node_find(config_root(config), "clean"), &rig->labels, &rig->cleaner, &error) !=
            STATUS_OK)
        fail_msg("%s", error.text);
    config_free(config);
    event_batch_init(&rig->batch, ROWS, &rig->labels);
    buffer_init(&rig->marks, 1 << 24);
    return rig;
}

static void rig_close(struct rig *rig)
{
    event_batch_free(&rig->batch);
    cleaner_close(rig->cleaner);
    buffer_free(&rig->marks);
    free(rig);
}

static void restore(struct rig *rig, const struct values *values)
{
    struct error error;

    for (size_t i = 0; i < values->count; i++)
        if (cleaner_restore(rig->cleaner, &values->items[i].key, value_span(&values->items[i]), &error) !=
            STATUS_OK)
            fail_msg("%s", error.text);
    cleaner_restored(rig->cleaner);
}

/* Batch i of a seed: always the same. */
static void fill(struct event_batch *batch, uint64_t seed, unsigned i, char names[ROWS][16])
{
    static const char *const workflows[] = {"a", "b", "c"};
    uint64_t random = seed * 1000003 + i;
    uint32_t partition = random_below(&random, 2) ? 7 : 0xfffffff3;

    event_batch_reset(batch);
    for (uint32_t row = 0; row < ROWS; row++) {
        event_batch_add(batch);
        snprintf(names[row], sizeof names[row], "r%u", (unsigned)random_below(&random, 3000));
        batch->partition[row] = partition;
        batch->time_us[row] = (int64_t)i * SECOND - (int64_t)random_below(&random, 5 * SECOND);
        batch->watermark_us[row] = (int64_t)i * SECOND - 3 * SECOND;
        batch->run[row] = span_of(names[row]);
        batch->workflow[row] = span_of(workflows[random_below(&random, 3)]);
    }
}

static void step(struct rig *rig, uint64_t seed, unsigned i)
{
    char names[ROWS][16];

    fill(&rig->batch, seed, i, names);
    cleaner_apply(rig->cleaner, &rig->batch, &rig->figures);
    buffer_put(&rig->marks, rig->batch.mark, ROWS);
}

static struct rig *restart(const struct rig *rig, struct saver *saver, struct values *values, uint64_t seed,
                           unsigned cut, unsigned end)
{
    struct rig *next = rig_open(list_of_steps);

    restore(next, values);
    values->puts = 0;
    cleaner_freeze(next->cleaner, saver);
    assert_true(cleaner_save(next->cleaner, 1));
    assert_int_equal(values->puts, 0);
    for (unsigned i = cut; i < end; i++)
        step(next, seed, i);
    assert_true(span_equal(buffer_span(&rig->marks), buffer_span(&next->marks)));
    return next;
}

static void test_restarts(void **state)
{
    unsigned restarts = 0;

    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct values values = {0};
        struct saver saver = values_saver(&values);
        struct rig *rig = rig_open(list_of_steps);
        uint64_t random = seed;
        unsigned cut = 0;
        bool saving = false;

        for (unsigned i = 0; i < STEPS; i++) {
            if (!saving && random_below(&random, 20) == 0) {
                cleaner_freeze(rig->cleaner, &saver);
                buffer_clear(&rig->marks);
                cut = i;
                saving = true;
            }
            step(rig, seed, i);
            if (!saving || !cleaner_save(rig->cleaner, random_below(&random, 20000)))
                continue;
            struct rig *next = restart(rig, &saver, &values, seed, cut, i + 1);
            bool goes_on = random_below(&random, 2);
            saving = false;
            restarts++;
            rig_close(goes_on ? rig : next);
            rig = goes_on ? next : rig;
        }
        assert_true(rig->figures.duplicates > 0 && rig->figures.throttled > 0);
        rig_close(rig);
        buffer_free(&saver.bytes);
        values_free(&values);
    }
    assert_true(restarts > 10 * SEEDS);
}

static void save_all(struct rig *rig, struct values *values)
{
    struct saver saver = values_saver(values);

    cleaner_freeze(rig->cleaner, &saver);
    assert_true(cleaner_save(rig->cleaner, SIZE_MAX));
    buffer_free(&saver.bytes);
}

/* A step keeps what it remembers wherever it stands; with other options it is another step. */
static void test_changed_list(void **state)
{
    static const struct {
        const char *list;
        bool remembered;
    } cases[] = {
        {"[{dedupe: run, within: 20s}]", true},
        {"[{drop: 'workflow == \"x\"'}, {dedupe: run, within: 20s}]", true},
        {"[{dedupe: run, within: 21s}]", false},
        {"[]", false},
    };
    struct rig *rig = rig_open("[{throttle: run, limit: 1, per: 1h}, {dedupe: run, within: 20s}]");
    struct values values = {0};

    step(rig, 3, 100);
    save_all(rig, &values);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rig *next = rig_open(cases[i].list);

        restore(next, &values);
        step(next, 3, 100);
        assert_int_equal(next->figures.duplicates > ROWS / 2, cases[i].remembered);
        rig_close(next);
    }
    rig_close(rig);
    values_free(&values);
}

/* Rows that passed once are completed again, without those that remember. */
static void test_again(void **state)
{
    struct rig *rig = rig_open("[{dedupe: workflow, within: 1h}, {set: host, to: '\"h\"'}]");
    char names[ROWS][16];

    for (unsigned time = 0; time < 2; time++) {
        fill(&rig->batch, 1, 1, names);
        rig->batch.mark[3] = MARK_DUPLICATE;
        rig->batch.mark[5] = MARK_FILTERED;
        cleaner_apply_again(rig->cleaner, &rig->batch, &rig->figures);
        for (uint32_t row = 0; row < ROWS; row++) {
            assert_int_equal(rig->batch.mark[row], row == 3   ? MARK_DUPLICATE
                                                   : row == 5 ? MARK_FILTERED
                                                              : MARK_OK);
            assert_int_equal(span_is(rig->batch.host[row], "h"), row != 3 && row != 5);
        }
    }
    assert_int_equal(rig->figures.duplicates, 0);
    rig_close(rig);
}

static void restore_damaged(void *owner, const struct state_key *key, struct span bytes)
{
    struct rig *rig = rig_open(list_of_steps);
    struct error error;
    enum status status = cleaner_restore(rig->cleaner, key, bytes, &error);

    assert_true(status == STATUS_OK || status == STATUS_FATAL);
    if (status == STATUS_OK) {
        cleaner_restored(rig->cleaner);
        for (unsigned i = 100; i < 104; i++)
            step(rig, 3, i);
    }
    ++((unsigned *)owner)[status == STATUS_OK];
    rig_close(rig);
}

static void test_damage(void **state)
{
    struct rig *rig = rig_open(list_of_steps);
    struct values values = {0};
    unsigned outcomes[2] = {0};

    step(rig, 3, 100);
    save_all(rig, &values);
    assert_true(values.count > 0);
    values.items[0].size = 1 + 6 * 37; /* six entries are enough */
    value_damage(&values.items[0], restore_damaged, outcomes);
    assert_true(outcomes[0] > 0 && outcomes[1] > 0);
    rig_close(rig);
    values_free(&values);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_restarts),
        cmocka_unit_test(test_changed_list),
        cmocka_unit_test(test_again),
        cmocka_unit_test(test_damage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
