/* weir detect --sequences as a program: what it prints, and what it says of bad input. argv[1] is weir. */
#include "base/buffer.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h> /* last: it defines fail() */

static const char *program;

/* Both streams, and the exit code, of one call on this file. */
static int detect(const char *lines, struct buffer *out)
{
    char path[] = "/tmp/weir_sequences_XXXXXX", command[4096];
    int file = mkstemp(path), code;
    FILE *pipe;
    size_t got;

    assert_true(file >= 0);
    assert_int_equal(write(file, lines, strlen(lines)), strlen(lines));
    close(file);
    (void)snprintf(command, sizeof command, "%s detect --sequences %s 2>&1", program, path);
    pipe = popen(command, "r");
    assert_non_null(pipe);
    buffer_clear(out);
    while ((got = fread(buffer_room(out, 4096), 1, 4096, pipe)) > 0)
        out->size += got;
    code = WEXITSTATUS(pclose(pipe));
    buffer_put_char(out, '\0');
    unlink(path);
    return code;
}

static void test_scores_on_arrival(void **state)
{
    struct buffer lines, out;

    buffer_init(&lines, SIZE_MAX);
    buffer_init(&out, SIZE_MAX);
    for (unsigned i = 0; i < 30; i++)
        buffer_print(&lines, "{\"id\":\"r%u\",\"events\":[\"a\",\"b\"],\"role\":\"test\",\"times\":[1,2]}\n",
                     i);
    buffer_put_text(&lines, "\n{\"id\":\"x,y\",\"events\":[\"a\",\"c\"],\"attrs\":{\"n\":[1,null]}}\n");
    buffer_put_char(&lines, '\0');
    assert_int_equal(detect(lines.data, &out), 0);
    assert_memory_equal(out.data, "id,score,alert\nr0,0,0\nr1,", 25);
    assert_non_null(strstr(out.data, "\n\"x,y\",0.99"));
    assert_string_equal(out.data + out.size - 4, ",1\n");
    buffer_free(&lines);
    buffer_free(&out);
}

/* What is known to be good is learned first, wherever it stands; and nothing else is. */
static void test_good_runs_are_learned_first(void **state)
{
    struct buffer lines, out;
    const char *last;

    buffer_init(&lines, SIZE_MAX);
    buffer_init(&out, SIZE_MAX);
    for (unsigned i = 0; i < 30; i++)
        buffer_print(&lines,
                     "{\"id\":\"r%u\",\"events\":[\"a\",\"c\"],\"role\":\"test\"}\n"
                     "{\"id\":\"g%u\",\"events\":[\"a\",\"b\"],\"role\":\"train\"}\n",
                     i, i);
    buffer_put_char(&lines, '\0');
    assert_int_equal(detect(lines.data, &out), 0);
    assert_memory_equal(out.data, "id,score,alert\nr0,0.99", 22);
    last = strstr(out.data, "\nr29,");
    assert_memory_equal(out.data + 18, last + 5, 10); /* the first and the last have one score */
    buffer_free(&lines);
    buffer_free(&out);
}

static void test_bad_input_is_named(void **state)
{
    static const struct {
        const char *lines, *said;
    } cases[] = {
        {"{\"id\":\"a\",\"events\":[]}\n{\"id\":\"b\"}\n", ":2: events: must be a list of texts"},
        {"{\"id\":\"a\",\"events\":[[1]]}\n", ":1: events: must be a list of texts"},
        {"{\"id\":[],\"events\":[]}\n", ":1: id: must be a text"},
        {"{\"events\":[]}\n", ":1: id: must be a text"},
        {"{\"id\":1,\"events\":[\"a\"],\"attrs\":[1]}\n", ":1: attrs: must be an object"},
        {"{\"id\":1,\"events\":[\"a\"],\"attrs\":{\"n\":1}}\n", ":1: attrs: must be lists of one value"},
        {"{\"id\":1,\"events\":[\"a\"],\"attrs\":{\"n\":[{}]}}\n", ":1: attrs: must be lists of one value"},
        {"[1]\n", ":1: not a run: must be a JSON object"},
        {"{\"id\"\n", ":1: not a run: must be a JSON object"},
        {"[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]\n", ":1: not a run: lists and objects nest deeper than 16"},
    };
    struct buffer out;

    buffer_init(&out, SIZE_MAX);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(detect(cases[i].lines, &out), 3);
        if (!strstr(out.data, cases[i].said))
            fail_msg("no '%s' in: %s", cases[i].said, out.data);
    }
    assert_int_equal(detect("", &out), 0);
    assert_string_equal(out.data, "id,score,alert\n");
    buffer_free(&out);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scores_on_arrival),
        cmocka_unit_test(test_good_runs_are_learned_first),
        cmocka_unit_test(test_bad_input_is_named),
    };

    if (argc < 2)
        return 2;
    program = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
