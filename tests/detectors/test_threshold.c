/* Fixed limits: 0 within, 8 and more beyond. */
#include "tests/detectors/support.h"

static void test_by_hand(void **state)
{
    static const double values[] = {5, 10, 10.0001, 20, 1e300, 0, -1, NAN};
    struct subject subject = subject_new("threshold");
    struct opinion opinions[8];

    subject_set(subject, "above", "10");
    subject_set(subject, "below", "0");
    subject_run(subject, values, 8, opinions);
    assert_near(opinions[0].residual, 0, 0);
    assert_near(opinions[1].residual, 0, 0);
    assert_near(opinions[2].residual, 8, 1e-3);
    assert_true(opinions[2].residual > 8);
    assert_near(opinions[3].residual, 23, 1e-12); /* twice the limit is half way to 38 */
    assert_near(opinions[4].residual, 38, 1e-9);
    assert_near(opinions[5].residual, 0, 0);
    assert_near(opinions[6].residual, -23, 1e-12); /* a limit of 0 has the unit 1 */
    assert_true(isnan(opinions[7].residual));
    for (unsigned i = 0; i < 7; i++) {
        assert_true(opinions[i].certain);
        assert_near(opinions[i].low, 0, 0);
        assert_near(opinions[i].high, 10, 0);
    }
}

static void test_one_limit(void **state)
{
    static const double values[] = {-1e9, 11};
    struct subject subject = subject_new("threshold");
    struct opinion opinions[2];

    subject_set(subject, "above", "10");
    subject_run(subject, values, 2, opinions);
    assert_near(opinions[0].residual, 0, 0);
    assert_true(opinions[1].residual > 8);
    assert_true(isnan(opinions[0].low));
    assert_near(opinions[0].high, 10, 0);
}

static void test_needs_sensible_limits(void **state)
{
    struct subject subject = subject_new("threshold");

    assert_int_equal(subject.type->state_size(subject.settings, MINUTE_US), 0);
    subject_set(subject, "above", "10");
    assert_int_not_equal(subject.type->state_size(subject.settings, MINUTE_US), 0);
    subject_set(subject, "below", "10");
    assert_int_equal(subject.type->state_size(subject.settings, MINUTE_US), 0);
    subject_free(subject);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_one_limit),
        cmocka_unit_test(test_needs_sensible_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
