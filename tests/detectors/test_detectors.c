/* The list. */
#include "tests/detectors/support.h"

#include <gsl/gsl_cdf.h>
#include <string.h>

static void test_find(void **state)
{
    for (unsigned i = 0; detector_types[i]; i++) {
        assert_ptr_equal(detector_type_find(detector_types[i]->name), detector_types[i]);
        for (unsigned j = 0; j < i; j++)
            assert_string_not_equal(detector_types[i]->name, detector_types[j]->name);
    }
    assert_non_null(detector_type_find("zscore"));
    assert_null(detector_type_find("zscor"));
    assert_null(detector_type_find(""));
}

/* GSL's handler would abort the process here. */
static void test_gsl_does_not_abort(void **state)
{
    detectors_init();
    assert_int_not_equal(isfinite(gsl_cdf_binomial_Q(1, 2, 3)), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_gsl_does_not_abort),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
