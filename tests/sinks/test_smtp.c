/* What is refused before there is a server; real servers are in tests/receivers.py. */
#include "tests/sinks/driver.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define WAY "url: 'smtp://127.0.0.1:1'\nfrom: a@b.c\n"

static void test_wrong_settings(void **state)
{
    static const char *const wrong[][2] = {
        {"url: 'http://x'\nfrom: a@b.c\nto: a@b.c\n", "url: the address does not begin with smtp://"},
        {"url: 'smtp://u:p@x'\nfrom: a@b.c\nto: a@b.c\n", "url: a host and a port"},
        {WAY "to: []\n", "to: at least one address"},
        {WAY "to: ['ops']\n", "to: 'ops' is not a mail address"},
        {WAY "to: [\"a@b.c\\r\\nBcc: x@y.z\"]\n", "is not a mail address"},
        {WAY "to: ['Ops <a@b.c>']\n", "is not a mail address"},
        {WAY "to: a@b.c\nuser: weir\n", "user and password: one of them is missing"},
        {"url: 'smtp://x'\nfrom: '@b.c'\nto: a@b.c\n", "from: '@b.c' is not a mail address"},
    };

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct driver driver;
        struct error error = {""};

        assert_int_equal(driver_try(&driver, "smtp", wrong[i][0], &error), STATUS_FATAL);
        if (!strstr(error.text, wrong[i][1]))
            fail_msg("%s: %s", wrong[i][0], error.text);
        driver_close(&driver);
    }
}

static void test_not_an_alert(void **state)
{
    struct driver driver;

    driver_open(&driver, "smtp", WAY "to: a@b.c\n");
    driver_offer(&driver, DOC_BUCKET, 1, 0, "{\"measure\":\"m\"}");
    driver_step(&driver);
    assert_int_equal(driver_dead(&driver), 1);
    assert_string_equal(driver.verdicts.items[0].reason, "not an alert");
    driver_close(&driver);
}

static void test_nobody_there(void **state)
{
    struct driver driver;

    driver_open(&driver, "smtp", WAY "to: a@b.c\ngive_up: 10s\nretry_base: 1s\nretry_max: 1s\n");
    driver_offer(&driver, DOC_ALERT, 1, 0, "{\"state\":\"firing\",\"severity\":\"info\"}");
    while (driver.type->pending(driver.sink) > 0)
        assert_true(driver_step(&driver));
    assert_int_equal(driver_dead(&driver), 1);
    assert_string_equal(driver.verdicts.items[0].reason, "127.0.0.1:1: Couldn't connect to server");
    assert_string_equal(driver.warning, "sink test: 127.0.0.1:1: Couldn't connect to server; trying again");
    assert_in_range(driver_figures(&driver).retries, 9, 22);
    driver_close(&driver);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_settings),
        cmocka_unit_test(test_not_an_alert),
        cmocka_unit_test(test_nobody_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
