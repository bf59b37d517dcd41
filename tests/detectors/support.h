/* What the detectors' tests share: settings by name, and one series through one detector. */
#pragma once
#include "base/memory.h"
#include "detectors/kernels.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>

#include <cmocka.h> /* last: it defines fail() */

#define MINUTE_US (60 * 1000000LL)

struct subject {
    const struct detector_type *type;
    void *settings;
};

static inline struct option_table subject_table(struct subject subject)
{
    return (struct option_table){
        .rows = subject.type->options, .count = subject.type->option_count, .settings = subject.settings};
}

static inline void subject_set(struct subject subject, const char *key, const char *value)
{
    struct error error;

    assert_int_equal(option_assign(subject.type->options, subject.type->option_count, subject.settings, key,
                                   value, &error),
                     STATUS_OK);
}

static inline struct subject subject_new(const char *name)
{
    struct subject subject = {.type = detector_type_find(name)};
    struct error error;

    assert_non_null(subject.type);
    subject.settings = memory_new(subject.type->settings_size);
    struct option_table table = subject_table(subject);
    assert_int_equal(options_read(NULL, &table, 1, &error), STATUS_OK);
    return subject;
}

static inline void subject_free(struct subject subject)
{
    struct option_table table = subject_table(subject);

    options_free(&table, 1);
    free(subject.settings);
}

/* Of a series: what is kept, and behind it the block lent to it, if the detector has a use for one. */
static inline size_t subject_state_size(struct subject subject, int64_t bucket_us)
{
    return subject.type->state_size(subject.settings, bucket_us) +
           detector_hot_size(subject.type, subject.settings, bucket_us);
}

static inline void *subject_state(struct subject subject, int64_t bucket_us)
{
    return memory_new(subject_state_size(subject, bucket_us));
}

/* One bucket of the series whose state this is, of subject_state when the detector borrows. */
static inline struct opinion subject_step(struct subject subject, void *state, int64_t bucket_us,
                                          double empty, uint32_t gap, double value)
{
    bool borrows = detector_hot_size(subject.type, subject.settings, bucket_us) > 0;
    void *hot = borrows ? (char *)state + subject.type->state_size(subject.settings, bucket_us) : NULL;
    uint32_t slot = 0;
    struct bucket_batch batch = {
        .rows = 1, .value = &value, .gap = &gap, .slot = &slot, .bucket_us = bucket_us, .hot = &hot};
    struct opinion opinion;

    subject.type->score(subject.settings, state, &batch, empty, &opinion);
    return opinion;
}

/* Values without gaps, one minute apart, from a fresh state; frees the subject. */
static inline void subject_run(struct subject subject, const double *values, size_t count,
                               struct opinion *ret_opinions)
{
    void *state = subject_state(subject, MINUTE_US);

    for (size_t i = 0; i < count; i++)
        ret_opinions[i] = subject_step(subject, state, MINUTE_US, NAN, 0, values[i]);
    free(state);
    subject_free(subject);
}

static inline void assert_near(double left, double right, double tolerance)
{
    if (!(fabs(left - right) <= tolerance))
        fail_msg("%.17g is not %.17g", left, right);
}

/* Equal to `share` of their size, or both NaN. */
static inline void assert_close(double left, double right, double share)
{
    if (isnan(left) && isnan(right))
        return;
    if (!(fabs(left - right) <= share * fmax(fabs(left), fabs(right))))
        fail_msg("%.17g is not %.17g", left, right);
}

/* Seeded noise in [-1, 1): xorshift64 (G. Marsaglia, 2003). */
static inline double noise(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return (double)(*seed >> 11) * 0x1p-52 - 1;
}
