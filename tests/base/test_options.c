/* Option rows: values of every type into a struct, the words of every refusal, defaults, the reference. */
#include "base/options.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

struct settings {
    bool on;
    int64_t rows, lateness_us, bytes;
    double threshold, none;
    char *title, *password, *path;
    int late;
    struct option_texts topics;
    struct option_pairs headers;
    const struct node *where;
};

static const char *const late_choices[] = {"drop", "dead_letter", "correct", NULL};

// clang-format off
static const struct option rows[] = {
    {"on", OPTION_BOOL, offsetof(struct settings, on), .default_text = "yes", .help = "Whether it is on."},
    {"batch_rows", OPTION_INTEGER, offsetof(struct settings, rows), .default_text = "1024", .min = 1, .max = 8192,
     .help = "Rows | batch."},
    {"lateness", OPTION_DURATION, offsetof(struct settings, lateness_us), .default_text = "10s", .min = 0, .max = 3600,
     .help = "How late."},
    {"bytes", OPTION_SIZE, offsetof(struct settings, bytes), .min = 1, .max = INFINITY, .help = "Room."},
    {"threshold", OPTION_NUMBER, offsetof(struct settings, threshold), .default_text = "3.5", .unit = "sigma", .min = -INFINITY,
     .max = 100, .tunable = true, .help = "Limit."},
    {"none", OPTION_NUMBER, offsetof(struct settings, none), .help = "Absent."},
    {"title", OPTION_TEXT, offsetof(struct settings, title), .default_text = "", .help = "Title."},
    {"password", OPTION_SECRET, offsetof(struct settings, password), .help = "Secret."},
    {"path", OPTION_PATH, offsetof(struct settings, path), .help = "File."},
    {"late", OPTION_CHOICE, offsetof(struct settings, late), .choices = late_choices, .default_text = "drop", .help = "Policy."},
    {"topics", OPTION_TEXTS, offsetof(struct settings, topics), .default_text = "[a, b]", .help = "Topics."},
    {"headers", OPTION_PAIRS, offsetof(struct settings, headers), .help = "Headers."},
    {"where", OPTION_NODE, offsetof(struct settings, where), .help = "Anything."},
};
// clang-format on
enum { ROWS = sizeof rows / sizeof rows[0] };

struct fixture {
    struct config *config;
    struct settings settings;
    struct error error;
};

/* Reads the map under `time:` or, when there is none, the root. */
static enum status read_settings(struct fixture *fixture, const char *yaml)
{
    *fixture = (struct fixture){.config = NULL};
    if (config_parse(yaml, "conf/weir.yaml", &fixture->config, &fixture->error) != STATUS_OK)
        fail_msg("%s", fixture->error.text);
    const struct node *root = config_root(fixture->config), *time = node_find(root, "time");
    const struct option_table table = {rows, ROWS, &fixture->settings};
    return options_read(time ? time : root, &table, 1, &fixture->error);
}

static void release(struct fixture *fixture)
{
    const struct option_table table = {rows, ROWS, &fixture->settings};

    options_free(&table, 1);
    config_free(fixture->config);
}

static void assert_read(struct fixture *fixture, const char *yaml)
{
    if (read_settings(fixture, yaml) != STATUS_OK)
        fail_msg("%s", fixture->error.text);
}

static void assert_refused(const char *yaml, const char *reason)
{
    static const struct settings zeroed;
    struct fixture fixture;

    assert_int_equal(read_settings(&fixture, yaml), STATUS_FATAL);
    assert_string_equal(fixture.error.text, reason);
    assert_memory_equal(&fixture.settings, &zeroed, sizeof zeroed);
    config_free(fixture.config);
}

static void assert_defaults(const struct settings *settings)
{
    assert_true(settings->on);
    assert_int_equal(settings->rows, 1024);
    assert_int_equal(settings->lateness_us, 10000000);
    assert_int_equal(settings->bytes, 0);
    assert_true(settings->threshold == 3.5);
    assert_true(isnan(settings->none));
    assert_string_equal(settings->title, "");
    assert_null(settings->password);
    assert_null(settings->path);
    assert_int_equal(settings->late, 0);
    assert_int_equal(settings->topics.count, 2);
    assert_string_equal(settings->topics.items[1], "b");
    assert_int_equal(settings->headers.count, 0);
    assert_null(settings->where);
}

static void absent_keys_take_their_defaults(void **state)
{
    static const char *const empty[] = {"", "on:\nbatch_rows: ~\nlateness: null\ntopics:\ntitle:\n",
                                        "time:\n"};
    struct fixture fixture;

    for (size_t i = 0; i < sizeof empty / sizeof empty[0]; i++) {
        assert_read(&fixture, empty[i]);
        assert_defaults(&fixture.settings);
        release(&fixture);
    }
    fixture = (struct fixture){.config = NULL};
    const struct option_table table = {rows, ROWS, &fixture.settings};
    assert_int_equal(options_read(NULL, &table, 1, &fixture.error), STATUS_OK);
    assert_defaults(&fixture.settings);
    release(&fixture);
}

static void reads_every_type(void **state)
{
    struct fixture fixture;
    const struct settings *settings = &fixture.settings;

    assert_read(&fixture, "on: off\nbatch_rows: 8192\nlateness: 1.5m\nbytes: 10MiB\nthreshold: -1e3\n"
                          "title: \"~\"\npassword: plain\npath: a/b.txt\nlate: correct\ntopics: one\n"
                          "headers: {X-A: 1, X-B: {env: WEIR_ROOT}, X-C: }\nwhere: [1, {a: b}]\n");
    assert_false(settings->on);
    assert_int_equal(settings->rows, 8192);
    assert_int_equal(settings->lateness_us, 90000000);
    assert_int_equal(settings->bytes, 10485760);
    assert_true(settings->threshold == -1000);
    assert_string_equal(settings->title, "~");
    assert_string_equal(settings->password, "plain");
    assert_string_equal(settings->path, "conf/a/b.txt");
    assert_int_equal(settings->late, 2);
    assert_int_equal(settings->topics.count, 1);
    assert_string_equal(settings->topics.items[0], "one");
    assert_int_equal(settings->headers.count, 3);
    assert_string_equal(settings->headers.items[0].key, "X-A");
    assert_string_equal(settings->headers.items[0].value, "1");
    assert_string_equal(settings->headers.items[1].value, getenv("WEIR_ROOT"));
    assert_string_equal(settings->headers.items[2].value, "");
    assert_int_equal(settings->where->count, 2);
    release(&fixture);
}

static void refuses_with_place_key_and_reason(void **state)
{
    assert_refused(
        "time:\n  lateness: 10 parsecs\n",
        "conf/weir.yaml:2:13: time.lateness: '10 parsecs' is not a duration (like 500ms, 30s, 5m, 1h, 1d)");
    assert_refused("batch_rows: 9000\n", "conf/weir.yaml:1:13: batch_rows: 9000 is out of range 1..8192");
    assert_refused("batch_rows: 0\n", "conf/weir.yaml:1:13: batch_rows: 0 is out of range 1..8192");
    assert_refused("lateness: 2h\n", "conf/weir.yaml:1:11: lateness: 2h is out of range 0s..1h");
    assert_refused("bytes: 0\n", "conf/weir.yaml:1:8: bytes: 0 is out of range at least 1");
    assert_refused("threshold: 101\n", "conf/weir.yaml:1:12: threshold: 101 is out of range at most 100");
    assert_refused("batch_row: 9\n",
                   "conf/weir.yaml:1:1: unknown key 'batch_row'; did you mean 'batch_rows'?");
    assert_refused("a: {b: 1}\nzzz: 9\n", "conf/weir.yaml:1:1: unknown key 'a'");
    assert_refused("on: maybe\n", "conf/weir.yaml:1:5: on: 'maybe' is not true or false");
    assert_refused("on: 'true'\n", "conf/weir.yaml:1:5: on: 'true' is not true or false");
    assert_refused("batch_rows: 1.5\n", "conf/weir.yaml:1:13: batch_rows: '1.5' is not a whole number");
    assert_refused("batch_rows: 99999999999999999999\n",
                   "conf/weir.yaml:1:13: batch_rows: '99999999999999999999' is not a whole number");
    assert_refused("threshold: nan\n", "conf/weir.yaml:1:12: threshold: 'nan' is not a number");
    assert_refused("threshold: 0x10\n", "conf/weir.yaml:1:12: threshold: '0x10' is not a number");
    assert_refused("bytes: 10MB\n",
                   "conf/weir.yaml:1:8: bytes: '10MB' is not a size (like 512, 64KiB, 10MiB, 1GiB)");
    assert_refused("bytes: 9999999999TiB\n",
                   "conf/weir.yaml:1:8: bytes: '9999999999TiB' is not a size (like 512, 64KiB, 10MiB, 1GiB)");
    assert_refused(
        "late: dorp\n",
        "conf/weir.yaml:1:7: late: 'dorp' is not one of drop, dead_letter, correct; did you mean 'drop'?");
    assert_refused("late: [drop]\n", "conf/weir.yaml:1:7: late: expected one text");
    assert_refused("title: {a: b}\n", "conf/weir.yaml:1:8: title: expected one text");
    assert_refused("batch_rows: [1]\n", "conf/weir.yaml:1:13: batch_rows: expected one integer");
    assert_refused("topics: [a, [b]]\n", "conf/weir.yaml:1:13: topics.1: expected a text");
    assert_refused("topics: {a: b}\n", "conf/weir.yaml:1:9: topics: expected a list of texts");
    assert_refused("headers: [a]\n", "conf/weir.yaml:1:10: headers: expected a map of texts");
    assert_refused("title: x\nheaders: {a: b, c: [d]}\n",
                   "conf/weir.yaml:2:20: headers.c: expected a text, {env: NAME} or {file: PATH}");
    assert_refused("time: [1]\n", "conf/weir.yaml:1:7: expected a map of keys and values");
}

static void trails_name_list_elements(void **state)
{
    struct settings settings = {.on = false};
    const struct option_table table = {rows, ROWS, &settings};
    struct config *config;
    struct error error;

    assert_int_equal(config_parse("list: [{title: a}, {name: slow, batch_rows: 0}]\n", "w", &config, &error),
                     STATUS_OK);
    const struct node *list = node_find(config_root(config), "list");
    /* the element's own `name` is not one of the rows, so it must be known to another table */
    char *name = NULL;
    const struct option name_row = {"name", OPTION_TEXT, 0, .required = true, .help = "Its name."};
    const struct option_table both[] = {{&name_row, 1, &name}, table};

    assert_int_equal(options_read(list->items[1], both, 2, &error), STATUS_FATAL);
    assert_string_equal(error.text, "w:1:45: list.slow.batch_rows: 0 is out of range 1..8192");
    assert_null(name);
    assert_int_equal(options_read(list->items[0], both, 2, &error), STATUS_FATAL);
    assert_string_equal(error.text, "w:1:8: list.0: 'name' is missing");
    assert_int_equal(options_read(NULL, both, 2, &error), STATUS_FATAL);
    assert_string_equal(error.text, "'name' is missing");
    config_free(config);
}

static void secrets_come_from_environment_and_files(void **state)
{
    char path[] = "/tmp/test_options.XXXXXX", yaml[128];
    int file = mkstemp(path);
    struct fixture fixture;

    assert_true(file >= 0);
    assert_int_equal(write(file, "s3cret\r\n", 8), 8);
    close(file);
    snprintf(yaml, sizeof yaml, "password: {file: %s}\n", path);
    assert_read(&fixture, yaml);
    assert_string_equal(fixture.settings.password, "s3cret");
    release(&fixture);
    unlink(path);

    snprintf(yaml, sizeof yaml, "password: {file: %s}\n", "/nonexistent/secret");
    assert_refused(
        yaml,
        "conf/weir.yaml:1:18: password.file: cannot read /nonexistent/secret: No such file or directory");
    assert_refused(
        "password: {file: secret.txt}\n",
        "conf/weir.yaml:1:18: password.file: cannot read conf/secret.txt: No such file or directory");
    assert_refused("password: {env: WEIR_TEST_ABSENT}\n",
                   "conf/weir.yaml:1:17: password.env: environment variable WEIR_TEST_ABSENT is not set");
    assert_refused("password: {vault: x}\n",
                   "conf/weir.yaml:1:11: password: expected {env: NAME} or {file: PATH}, not 'vault'");
    assert_refused("password: [x]\n",
                   "conf/weir.yaml:1:11: password: expected a text, {env: NAME} or {file: PATH}");
}

static void assign(struct settings *settings, const char *key, const char *value)
{
    struct error error;

    if (option_assign(rows, ROWS, settings, key, value, &error) != STATUS_OK)
        fail_msg("%s", error.text);
}

static void assert_assign_refused(struct settings *settings, const char *key, const char *value,
                                  const char *reason)
{
    struct error error = {.text = ""};

    assert_int_equal(option_assign(rows, ROWS, settings, key, value, &error), STATUS_FATAL);
    assert_string_equal(error.text, reason);
}

static void assigns_one_value(void **state)
{
    struct fixture fixture;
    struct settings *settings = &fixture.settings;

    assert_read(&fixture, "title: old\nheaders: {a: b}\n");
    assign(settings, "title", "x: y");
    assign(settings, "on", "false");
    assign(settings, "batch_rows", "7");
    assign(settings, "lateness", "2s");
    assign(settings, "threshold", "0.25");
    assign(settings, "late", "dead_letter");
    assign(settings, "path", "here.txt");
    assign(settings, "topics", "[x, y, z]");
    assign(settings, "headers", "{c: d}");
    assert_string_equal(settings->title, "x: y");
    assert_false(settings->on);
    assert_int_equal(settings->rows, 7);
    assert_int_equal(settings->lateness_us, 2000000);
    assert_true(settings->threshold == 0.25);
    assert_int_equal(settings->late, 1);
    assert_string_equal(settings->path, "here.txt");
    assert_int_equal(settings->topics.count, 3);
    assert_string_equal(settings->headers.items[0].value, "d");

    assert_assign_refused(settings, "tilte", "x", "unknown key 'tilte'; did you mean 'title'?");
    assert_assign_refused(settings, "batch_rows", "0", "batch_rows: 0 is out of range 1..8192");
    assert_assign_refused(settings, "headers", "{e: f, g: [h]}",
                          "headers: expected a text, {env: NAME} or {file: PATH}");
    assert_assign_refused(settings, "where", "1", "where: cannot be given as one value");
    assert_int_equal(settings->rows, 7);
    assert_string_equal(settings->headers.items[0].key, "c");
    release(&fixture);
}

static void nearest_names(void **state)
{
    static const char *const names[] = {"sources", "sinks", "rules", "time", "by"};

    assert_string_equal(nearest_name("souces", names, 5), "sources");
    assert_string_equal(nearest_name("siknss", names, 5), "sinks");
    assert_string_equal(nearest_name("time", names, 5), "time");
    assert_string_equal(nearest_name("yb", names, 5), "by");
    assert_null(nearest_name("receivers", names, 5));
    assert_null(nearest_name("to", names, 5));
    assert_null(nearest_name("x", names, 5));
    assert_null(nearest_name("", names, 5));
    assert_null(nearest_name("sources", names, 0));
    assert_null(
        nearest_name("a name of more letters than any key that is known or will ever be known", names, 5));
}

static void the_reference_has_a_line_for_each_row(void **state)
{
    struct buffer out;

    buffer_init(&out, 65536);
    options_describe(rows, 5, &out);
    options_describe(rows + 9, 1, &out);
    const char expected[] = "| `on` | bool | `yes` |  | Whether it is on. |\n"
                            "| `batch_rows` | integer | `1024` | 1..8192 | Rows \\| batch. |\n"
                            "| `lateness` | duration | `10s` | 0s..1h | How late. |\n"
                            "| `bytes` | size |  | at least 1 | Room. |\n"
                            "| `threshold` | number (sigma) | `3.5` | at most 100 | Limit. |\n"
                            "| `late` | `drop`, `dead_letter`, `correct` | `drop` |  | Policy. |\n";
    assert_int_equal(out.size, strlen(expected));
    assert_memory_equal(out.data, expected, out.size);
    buffer_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(absent_keys_take_their_defaults),
        cmocka_unit_test(reads_every_type),
        cmocka_unit_test(refuses_with_place_key_and_reason),
        cmocka_unit_test(trails_name_list_elements),
        cmocka_unit_test(secrets_come_from_environment_and_files),
        cmocka_unit_test(assigns_one_value),
        cmocka_unit_test(nearest_names),
        cmocka_unit_test(the_reference_has_a_line_for_each_row),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
