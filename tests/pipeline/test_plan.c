/* Wrong configurations: each error names the place, the key and what was expected. And what a right one becomes. */
#include "tests/pipeline/support.h"

#include <stdio.h>
#include <stdlib.h>

#define BASE "name: t\nsources: [{name: s, type: file, path: x}]\n"
#define MEASURES                                                                                              \
    BASE "measures:\n- {name: latency, of: duration_ms, statistics: [mean, p95], by: [workflow], every: 1m}\n"

// clang-format off
static const char *const wrong[][2] = {
#include "/tmp/pt/wrong.inc"
};
// clang-format on

static void test_wrong(void **state)
{
    struct folder folder;
    unsigned failed = 0;

    folder_open(&folder);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct plan *plan = NULL;
        struct error error;

        if (plan_try(&folder, wrong[i][0], NULL, &plan, &error) != STATUS_FATAL)
            fail_msg("taken: %s", wrong[i][0]);
        assert_null(plan);
        const char *text = strstr(error.text, "plan.yaml:");
        if (!text || strcmp(text + strlen("plan.yaml:"), wrong[i][1]) != 0) {
            print_error("%s\n-> %s\nexpected %s\n", wrong[i][0], error.text, wrong[i][1]);
            failed++;
        }
    }
    folder_close(&folder);
    assert_int_equal(failed, 0);
}
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
