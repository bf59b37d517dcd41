/* Points become values that a person would write, within the rows' ranges; values find their places again. */
#include "tests/tuning/support.h"

struct knobs {
    double rate, plain, wide;
    int64_t window, rest, count;
    bool flag;
    int side;
};

#define AT(member) offsetof(struct knobs, member)
static const char *const sides[] = {"left", "middle", "right", NULL};
static const struct option rows[] = {
    {"rate", OPTION_NUMBER, AT(rate), .default_text = "100", .min = 2, .max = 1e6, .scale = SCALE_LOG,
     .tunable = true},
    {"plain", OPTION_NUMBER, AT(plain), .default_text = "1", .min = 0.5, .max = 2.5, .tunable = true},
    {"wide", OPTION_NUMBER, AT(wide), .default_text = "0", .min = 0, .max = 1e140, .tunable = true},
    {"window", OPTION_DURATION, AT(window), .min = 0.001, .max = 86400 * 366, .scale = SCALE_LOG,
     .tunable = true},
    {"rest", OPTION_DURATION, AT(rest), .default_text = "10m", .min = 0, .max = 86400 * 366, .tunable = true},
    {"count", OPTION_INTEGER, AT(count), .default_text = "3", .min = 1, .max = 9, .tunable = true},
    {"fixed", OPTION_INTEGER, AT(count), .default_text = "3", .min = 1, .max = 9},
    {"flag", OPTION_BOOL, AT(flag), .default_text = "false", .tunable = true},
    {"side", OPTION_CHOICE, AT(side), .default_text = "left", .choices = sides, .tunable = true},
};
static const struct detector_type type = {.name = "knobs",
                                          .options = rows,
                                          .option_count = sizeof rows / sizeof *rows,
                                          .settings_size = sizeof(struct knobs)};

static void make(struct space *space, struct knobs *knobs, struct backend_settings *backend)
{
    struct error error;

    *knobs = (struct knobs){0};
    *backend = (struct backend_settings){0};
    const struct option_table tables[2] = {{rows, sizeof rows / sizeof *rows, knobs},
                                           {backend_options, backend_option_count, backend}};
    assert_int_equal(options_read(NULL, tables, 2, &error), STATUS_OK);
    space_make(space, &type, knobs, backend, 60, 86400);
}

static const struct parameter *find(const struct space *space, const char *name)
{
    for (unsigned i = 0; i < space->count; i++)
        if (strcmp(space->parameters[i].row->name, name) == 0)
            return &space->parameters[i];
    return NULL;
}

static void takes_tunable_rows(void **state)
{
    struct backend_settings backend;
    struct knobs knobs;
    struct space space;

    make(&space, &knobs, &backend);
    assert_null(find(&space, "fixed"));
    assert_null(find(&space, "wide"));
    assert_true(space.left_out >= 1);
    assert_true(find(&space, "rate")->is_log);
    assert_false(find(&space, "plain")->is_log);
    assert_near(find(&space, "window")->low, 60, 0);
    assert_near(find(&space, "window")->high, 86400, 0);
    assert_true(find(&space, "rest")->has_zero);
}

static void expect(const struct space *space, const char *name, double place, const char *text)
{
    const struct parameter *parameter = find(space, name);
    struct buffer out;

    buffer_init(&out, 64);
    parameter_put(parameter, parameter_value(parameter, place), &out);
    buffer_put_char(&out, 0);
    assert_string_equal(out.data, text);
    buffer_free(&out);
}

static void values_are_as_written(void **state)
{
    struct backend_settings backend;
    struct knobs knobs;
    struct space space;

    make(&space, &knobs, &backend);
    expect(&space, "rate", 0, "2");
    expect(&space, "rate", 0.5, "1400"); /* sqrt(2 * 1e6) is 1414 */
    expect(&space, "rate", 1, "1000000");
    expect(&space, "plain", 0.25, "1");
    expect(&space, "window", 0, "1m");
    expect(&space, "window", 0.5, "38m"); /* sqrt(60 * 86400) s is 37.9 min */
    expect(&space, "window", 1, "1d");
    expect(&space, "rest", 0.01, "0s");
    expect(&space, "rest", 0.05, "1m");
    expect(&space, "count", 0, "1");
    expect(&space, "count", 1, "9");
    expect(&space, "flag", 0.49, "false");
    expect(&space, "flag", 0.51, "true");
    expect(&space, "side", 0.34, "middle");
    expect(&space, "side", 1, "right");
}

/* Wherever a point lies, its value is one that the file may hold, and comes back from the settings. */
static void values_are_in_range(void **state)
{
    struct backend_settings backend;
    struct knobs knobs;
    struct space space;
    uint64_t seed = 5;

    make(&space, &knobs, &backend);
    for (unsigned i = 0; i < space.count; i++)
        for (int k = 0; k < 300; k++) {
            const struct parameter *parameter = &space.parameters[i];
            double place = (double)random_below(&seed, 1001) / 1000,
                   value = parameter_value(parameter, place);
            struct option_table table = {rows, sizeof rows / sizeof *rows, &knobs};
            struct buffer out;
            struct error error;

            buffer_init(&out, 64);
            parameter_put(parameter, value, &out);
            buffer_put_char(&out, 0);
            if (!parameter->of_backend && option_assign(table.rows, table.count, table.settings,
                                                        parameter->row->name, out.data, &error) != STATUS_OK)
                fail_msg("%s: %s", parameter->row->name, error.text);
            if (!parameter->of_backend)
                assert_near(parameter_read(parameter, &knobs, &backend), value, fabs(value) * 1e-12);
            parameter_write(parameter, value, &knobs, &backend);
            assert_near(parameter_read(parameter, &knobs, &backend), value, 1e-6);
            double again = parameter_value(parameter, parameter_place(parameter, value));
            if (fabs(again - value) > fabs(value) * 0.11)
                fail_msg("%s: %g comes back as %g", parameter->row->name, value, again);
            buffer_free(&out);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_tunable_rows),
        cmocka_unit_test(values_are_as_written),
        cmocka_unit_test(values_are_in_range),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
