/* Configuration files: what the tree holds, what is refused and with which words, includes and --set. */
#include "base/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static struct config *parse(const char *text)
{
    struct config *config = NULL;
    struct error error = {.text = ""};

    if (config_parse(text, "weir.yaml", &config, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    return config;
}

static void assert_refused(const char *text, const char *reason)
{
    struct config *config = NULL;
    struct error error = {.text = ""};

    assert_int_equal(config_parse(text, "weir.yaml", &config, &error), STATUS_FATAL);
    assert_null(config);
    assert_string_equal(error.text, reason);
}

/* Follows keys and indices, separated by blanks, to a scalar's text. */
static const char *text_at(const struct config *config, const char *path)
{
    const struct node *node = config_root(config);
    char step[64];
    int size;

    for (; sscanf(path, "%63s%n", step, &size) == 1; path += size) {
        if (node->type == NODE_LIST) {
            size_t index = strtoul(step, NULL, 10);
            node = index < node->count ? node->items[index] : NULL;
        } else {
            node = node_find(node, step);
        }
        if (!node)
            return NULL;
    }
    return node->text;
}

static void reads_maps_lists_and_places(void **state)
{
    struct config *config = parse("name: airflow\n"
                                  "time: {lateness: 10s, late: \"drop\"}\n"
                                  "rules:\n"
                                  "  - {name: a, when: 'x == 1'}\n"
                                  "  - name: b\n"
                                  "nothing:\n"
                                  "text: |\n"
                                  "  two\n"
                                  "  lines\n");
    const struct node *root = config_root(config), *late = node_find(node_find(root, "time"), "late");

    assert_int_equal(root->count, 5);
    assert_string_equal(root->keys[2], "rules");
    assert_string_equal(text_at(config, "name"), "airflow");
    assert_string_equal(text_at(config, "rules 0 when"), "x == 1");
    assert_string_equal(text_at(config, "rules 1 name"), "b");
    assert_string_equal(text_at(config, "text"), "two\nlines\n");
    assert_true(node_find(root, "text")->quoted);
    assert_true(late->quoted);
    assert_int_equal(late->line, 2);
    assert_int_equal(late->column, 29);
    assert_int_equal(late->key_column, 23);
    assert_ptr_equal(late->parent->parent, root);
    assert_false(node_find(root, "name")->quoted);
    assert_true(node_is_null(node_find(root, "nothing")));
    assert_false(node_is_null(late));
    assert_null(node_find(root, "absent"));
    config_free(config);
}

static void an_empty_file_is_an_empty_map(void **state)
{
    static const char *const empty[] = {"", "# only a comment\n", "---\n", "~\n"};

    for (size_t i = 0; i < sizeof empty / sizeof empty[0]; i++) {
        struct config *config = parse(empty[i]);

        assert_int_equal(config_root(config)->type, NODE_MAP);
        assert_int_equal(config_root(config)->count, 0);
        config_free(config);
    }
}

static void refuses_with_place_and_reason(void **state)
{
    assert_refused("a: 1\nb: 2\na: 3\n", "weir.yaml:3:1: key 'a' was given at line 1 already");
    assert_refused("- a\n", "weir.yaml:1:1: a configuration is a map of keys and values");
    assert_refused("a: &x 1\nb: *x\n", "weir.yaml:1:4: anchors and aliases are not supported; use include:");
    assert_refused("a: 1\nb: *x\n", "weir.yaml:2:4: anchors and aliases are not supported; use include:");
    assert_refused("a: &x {b: 1}\n", "weir.yaml:1:4: anchors and aliases are not supported; use include:");
    assert_refused("{a: 1}: 2\n", "weir.yaml:1:1: a key must be a text");
    assert_refused("a: 1\n---\nb: 2\n", "weir.yaml:2:1: a file holds one document, here a second one begins");
    assert_refused("a: \"\\0\"\n", "weir.yaml:1:4: a text must not contain a null byte");
    assert_refused("a: [1, 2\n", "weir.yaml:2:1: did not find expected ',' or ']'");
    assert_refused("a: \xff\n", "weir.yaml: byte 3: invalid leading UTF-8 octet");
}

static void refuses_depth_and_size_beyond_the_limits(void **state)
{
    char text[256] = "a: ";
    struct config *config = NULL;
    struct error error;

    memset(text + 3, '[', 32);
    memset(text + 35, ']', 32);
    assert_int_equal(config_parse(text, "t", &config, &error), STATUS_OK);
    config_free(config);
    memset(text + 3, '[', 33);
    memset(text + 36, ']', 33);
    assert_refused(text, "weir.yaml:1:36: nested too deep");

    enum { TOO_LARGE = 4 * 1024 * 1024 + 1 };
    char *large = malloc(TOO_LARGE + 1);
    memset(large, '#', TOO_LARGE);
    large[TOO_LARGE] = '\0';
    assert_refused(large, "weir.yaml: larger than 4 MiB");
    free(large);
}

static void write_file(const char *folder, const char *name, const char *text)
{
    char path[256];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    fclose(file);
}

static int make_folder(void **state)
{
    static char folder[64];

    snprintf(folder, sizeof folder, "/tmp/test_config.XXXXXX");
    *state = mkdtemp(folder);
    return *state ? 0 : -1;
}

static int remove_folder(void **state)
{
    static const char *const names[] = {"main.yaml", "1.yaml", "2.yaml", "3.yaml"};
    char path[256];

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", (char *)*state, names[i]);
        unlink(path);
    }
    return rmdir(*state);
}

static void load(const char *folder, struct config **ret_config, struct error *ret_error)
{
    char path[256];

    *ret_config = NULL;
    ret_error->text[0] = '\0';
    snprintf(path, sizeof path, "%s/main.yaml", folder);
    config_load(path, ret_config, ret_error);
}

static void includes_append_and_merge(void **state)
{
    const char *folder = *state;
    struct config *config;
    struct error error;
    char expected[256];

    write_file(folder, "main.yaml",
               "include: ['[12].yaml', absent/*.yaml]\nrules: [{name: a}]\ntime: {late: drop}\nempty:\n");
    write_file(folder, "1.yaml", "rules: [{name: b}]\ntime: {lateness: 1s}\nempty: {x: 1}\n");
    write_file(folder, "2.yaml", "rules: [{name: c}]\nnew: yes\ntime:\ninclude: 3.yaml\n");
    write_file(folder, "3.yaml", "# nothing yet\n");
    load(folder, &config, &error);
    assert_non_null(config);
    assert_null(node_find(config_root(config), "include"));
    assert_string_equal(text_at(config, "rules 0 name"), "a");
    assert_string_equal(text_at(config, "rules 1 name"), "b");
    assert_string_equal(text_at(config, "rules 2 name"), "c");
    assert_string_equal(text_at(config, "time late"), "drop");
    assert_string_equal(text_at(config, "time lateness"), "1s");
    assert_string_equal(text_at(config, "empty x"), "1");
    assert_string_equal(text_at(config, "new"), "yes");

    const struct node *rules = node_find(config_root(config), "rules");
    snprintf(expected, sizeof expected, "%s/1.yaml", folder);
    assert_string_equal(rules->items[1]->file, expected);
    assert_ptr_equal(rules->items[1]->parent, rules);
    char *path = node_path(rules->items[1], "x/y.txt");
    snprintf(expected, sizeof expected, "%s/x/y.txt", folder);
    assert_string_equal(path, expected);
    free(path);
    path = node_path(rules->items[1], "/x/y.txt");
    assert_string_equal(path, "/x/y.txt");
    free(path);
    config_free(config);
}

static void includes_refuse_conflicts_loops_and_missing_files(void **state)
{
    const char *folder = *state;
    struct config *config;
    struct error error;
    char expected[512];

    write_file(folder, "main.yaml", "time: {late: drop}\ninclude: 1.yaml\n");
    write_file(folder, "1.yaml", "rules: []\ntime:\n  late: correct\n");
    load(folder, &config, &error);
    assert_null(config);
    snprintf(expected, sizeof expected, "%s/1.yaml:3:9: 'late' was given at %s/main.yaml:1:14 already",
             folder, folder);
    assert_string_equal(error.text, expected);

    write_file(folder, "1.yaml", "time: 3\n");
    load(folder, &config, &error);
    assert_null(config);
    assert_non_null(strstr(error.text, "'time' was given at"));

    write_file(folder, "1.yaml", "include: [1.yaml]\n");
    load(folder, &config, &error);
    assert_null(config);
    snprintf(expected, sizeof expected, "%s/1.yaml:1:11: include is nested deeper than 8 files", folder);
    assert_string_equal(error.text, expected);

    write_file(folder, "1.yaml", "include: [3.yaml]\n");
    load(folder, &config, &error);
    assert_null(config);
    snprintf(expected, sizeof expected, "%s/1.yaml:1:11: include: no file %s/3.yaml", folder, folder);
    assert_string_equal(error.text, expected);

    write_file(folder, "main.yaml", "include: {a: b}\n");
    load(folder, &config, &error);
    assert_non_null(strstr(error.text, "main.yaml:1:10: include: expected a path or a list of paths"));

    assert_int_equal(config_load("/nonexistent/x.yaml", &config, &error), STATUS_FATAL);
    assert_string_equal(error.text, "/nonexistent/x.yaml: cannot read: No such file or directory");
}

static void set(struct config *config, const char *assignment)
{
    struct error error;

    if (config_set(config, assignment, &error) != STATUS_OK)
        fail_msg("%s", error.text);
}

static void set_replaces_and_makes_values(void **state)
{
    struct config *config = parse("time: {lateness: 10s}\n"
                                  "empty:\n"
                                  "detectors: [{name: slow, threshold: 3}, {name: a.b, threshold: 1}]\n"
                                  "kafka: {sasl: {user: y}, sasl.user: x}\n");

    set(config, "time.lateness=0s");
    set(config, "detectors.slow.threshold=4");
    set(config, "detectors.a.b.threshold=5");
    set(config, "detectors.1.half_life=1h");
    set(config, "kafka.sasl.user=z");
    set(config, "new.deep.list=[1, {a: 2}]");
    set(config, "empty.x=\"1\"");
    set(config, "blank=");
    assert_string_equal(text_at(config, "time lateness"), "0s");
    assert_string_equal(text_at(config, "detectors 0 threshold"), "4");
    assert_string_equal(text_at(config, "detectors 1 threshold"), "5");
    assert_string_equal(text_at(config, "detectors 1 half_life"), "1h");
    assert_string_equal(text_at(config, "kafka sasl.user"), "z");
    assert_string_equal(text_at(config, "kafka sasl user"), "y");
    assert_string_equal(text_at(config, "new deep list 1 a"), "2");
    assert_true(node_find(node_find(config_root(config), "empty"), "x")->quoted);
    assert_true(node_is_null(node_find(config_root(config), "blank")));
    config_free(config);
}

static void assert_set_refused(struct config *config, const char *assignment, const char *reason)
{
    struct error error = {.text = ""};

    assert_int_equal(config_set(config, assignment, &error), STATUS_FATAL);
    assert_string_equal(error.text, reason);
}

static void set_refuses_what_has_no_place(void **state)
{
    struct config *config = parse("a: 1\nlist: [{name: x}]\n");

    assert_set_refused(config, "a", "--set a: expected path.key=value");
    assert_set_refused(config, "=1", "--set =1: expected path.key=value");
    assert_set_refused(config, "a.b=1", "--set a.b: 'a' is one text, it has no keys");
    assert_set_refused(config, "list.y.z=1", "--set list.y.z: no list element is named 'y'");
    assert_set_refused(config, "list.7=1", "--set list.7: no list element is named '7'");
    assert_set_refused(config, ".b=1", "--set .b: a key is missing");
    assert_set_refused(config, "b.=1", "--set b.: a key is missing");
    assert_set_refused(config, "b=[1", "--set b:2:1: did not find expected ',' or ']'");
    assert_string_equal(text_at(config, "a"), "1");
    config_free(config);
}

static void fail_names_the_place(void **state)
{
    struct config *config = parse("a:\n  b: 1\n");
    struct error error;
    const struct node *b = node_find(node_find(config_root(config), "a"), "b");

    assert_int_equal(node_fail(b, &error, "%d is %s", 1, "odd"), STATUS_FATAL);
    assert_string_equal(error.text, "weir.yaml:2:6: 1 is odd");
    config_free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_maps_lists_and_places),
        cmocka_unit_test(an_empty_file_is_an_empty_map),
        cmocka_unit_test(refuses_with_place_and_reason),
        cmocka_unit_test(refuses_depth_and_size_beyond_the_limits),
        cmocka_unit_test_setup_teardown(includes_append_and_merge, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(includes_refuse_conflicts_loops_and_missing_files, make_folder,
                                        remove_folder),
        cmocka_unit_test(set_replaces_and_makes_values),
        cmocka_unit_test(set_refuses_what_has_no_place),
        cmocka_unit_test(fail_names_the_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
