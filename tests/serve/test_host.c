/* Where the server listens, and which Host headers it answers to. */
#include "serve/host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void only_its_own_names_are_answered(void **state)
{
    const struct host host = {.name = "weir.example", .numeric = "192.0.2.7"};
    const struct host six = {.name = "::1", .numeric = "::1"};

    assert_true(host_answers_to(&host, "weir.example"));
    assert_true(host_answers_to(&host, "WEIR.example:8470"));
    assert_true(host_answers_to(&host, "192.0.2.7:1"));
    assert_true(host_answers_to(&host, "localhost:9000"));
    assert_false(host_answers_to(&host, NULL));
    assert_false(host_answers_to(&host, ""));
    assert_false(host_answers_to(&host, ":8470"));
    assert_false(host_answers_to(&host, "192.0.2.8"));
    assert_false(host_answers_to(&host, "weir.example.attacker.test"));
    assert_false(host_answers_to(&host, "weir.example:80:80"));
    assert_false(host_answers_to(&host, "weir.example:port"));
    assert_false(host_answers_to(&host, "weir.example:99999"));
    assert_true(host_answers_to(&six, "[::1]:8470"));
    assert_true(host_answers_to(&six, "[::1]"));
    assert_false(host_answers_to(&six, "[::1"));
    assert_false(host_answers_to(&six, "[::1]x"));
    assert_false(host_answers_to(&six, "[::2]:8470"));
}

static void a_wildcard_answers_to_addresses_but_not_to_names(void **state)
{
    const struct host host = {.name = "0.0.0.0", .numeric = "0.0.0.0", .wildcard = true};
    char machine[HOST_NAME_SIZE] = "", longer[HOST_NAME_SIZE + 8];

    gethostname(machine, sizeof machine - 1);
    snprintf(longer, sizeof longer, "%s.test", machine);
    assert_true(host_answers_to(&host, "192.0.2.9:8470"));
    assert_true(host_answers_to(&host, "[2001:db8::1]:8470"));
    assert_true(host_answers_to(&host, machine));
    assert_false(host_answers_to(&host, longer));
    assert_false(host_answers_to(&host, "attacker.test:8470"));
}

static void a_taken_port_gives_way_to_the_next(void **state)
{
    struct host first, second, third;
    struct error error;
    char listen[64];

    assert_int_equal(host_listen("127.0.0.1:0", 1, &first, &error), STATUS_OK);
    assert_true(first.port > 0);
    assert_false(first.wildcard);
    assert_string_equal(first.numeric, "127.0.0.1");
    snprintf(listen, sizeof listen, "127.0.0.1:%u", first.port);
    assert_int_equal(host_listen(listen, 1, &second, &error), STATUS_FATAL);
    assert_non_null(strstr(error.text, "taken"));
    assert_int_equal(host_listen(listen, 21, &second, &error), STATUS_OK);
    assert_int_equal(second.asked_port, first.port);
    assert_in_range(second.port, first.port + 1, first.port + 20);
    assert_int_equal(host_listen(":0", 1, &third, &error), STATUS_OK);
    assert_string_equal(third.numeric, "127.0.0.1");
    close(first.socket);
    close(second.socket);
    close(third.socket);
}

static void what_is_no_address_is_refused(void **state)
{
    static const char *const wrong[] = {
        "8470",         "127.0.0.1", "127.0.0.1:",     "127.0.0.1:x",   "127.0.0.1:65536",
        "127.0.0.1:-1", "[::1:8470", "192.0.2.1:8470", "no such name:1"};
    struct host host = {.port = 7};
    struct error error;

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        error.text[0] = '\0';
        assert_int_equal(host_listen(wrong[i], 1, &host, &error), STATUS_FATAL);
        assert_true(error.text[0] != '\0');
        assert_int_equal(host.port, 7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_its_own_names_are_answered),
        cmocka_unit_test(a_wildcard_answers_to_addresses_but_not_to_names),
        cmocka_unit_test(a_taken_port_gives_way_to_the_next),
        cmocka_unit_test(what_is_no_address_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
