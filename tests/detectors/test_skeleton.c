/* What is a value by its look. The lines are made up here; each names what the mask is for. */
#include "detectors/skeleton.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct {
    const char *line, *skeleton;
} cases[] = {
    {"", ""},
    {"   \t ", ""},
    {"nothing to hide", "nothing to hide"},
    {"  blanks \t are   one ", "blanks are one"},
    {"took 12 ms, 3.5s, -4 and +5%", "took <*> ms, <*>, <*> and <*>"},
    {"1,234,567 rows", "<*> rows"},
    {"pair (1, 2)", "pair (<*>, <*>)"},
    {"list [1, 2, 3]", "list [<*>]"},
    {"list [1, 2, 3, 4, 5, 6]", "list [<*>]"},
    {"codes 1 2 3", "codes <*>"},
    {"from 10.0.0.1:8080 to /10.0.0.2", "from <*>:<*> to <*>"},
    {"peer fe80::1ff:fe23:4567:890a up", "peer <*> up"},
    {"peer 0:0:0:0:0:0:0:1:2181 up", "peer <*>:<*> up"},
    {"mac 00:1b:44:11:3a:b7 seen", "mac <*> seen"},
    {"at 07:15:59 sharp", "at <*>:<*>:<*> sharp"},
    {"on Fri Jun 17 07:07:00 2005", "on <*>:<*>:<*>"},
    {"on Fri, 17 Jun 2005 it may march", "on <*>, <*> it may march"},
    {"Mar is no date, Sun shines", "Mar is no date, Sun shines"},
    {"2024-05-01T10:00:00.123Z start", "<*>:<*>:<*> start"},
    {"id 550e8400-e29b-41d4-a716-446655440000 ok", "id <*> ok"},
    {"id deadbeef42 or deadbeef", "id <*> or deadbeef"},
    {"0xfc0ce, blk_-1608999687919862906 and attempt_1_m_2", "<*>, <*> and <*>"},
    {"read /var/log/app.log: gone", "read <*>: gone"},
    {"read a/b and a/b/c", "read a/b and <*>"},
    {"open C:\\Temp\\x.txt now", "open <*> now"},
    {"GET https://example.com/a?b=c done", "GET https://<*> done"},
    {"mail bob@example.com, not @home", "mail <*>, not @home"},
    {"host db.example.com or www.cam.ac.uk or cache.rack:11211", "host <*> or <*> or <*>:<*>"},
    {"class org.apache.Main stays", "class org.apache.Main stays"},
    {"version v1.2.3 of log4j on eth0, tty12", "version <*> of log4j on eth0, tty12"},
    {"node-7 worker1234 CPU#3", "<*> CPU#<*>"},
    {"user=bob name=\"Bob A. Jones\" ''=x", "user=bob name=\"<*>\" ''=x"},
    {"user= ruser=, tty=)", "user= ruser=, tty=)"},
    {"don't say 'no' or \"yes\".", "don't say 'no' or \"yes\"."},
    {"wait 5... done.", "wait <*>... done."},
    {"*** --- ***", "*** --- ***"},
    {"first line 1\nsecond line 2", "first line <*>"},
    {"masked <*> stays <*>", "masked <*> stays <*>"},
    {"caf\xc3\xa9 5 \xff\xfe", "caf\xc3\xa9 <*> \xff\xfe"},
};

static void assert_skeleton(struct span line, const char *wanted)
{
    struct skeleton skeleton;
    char text[SKELETON_BYTES_MAX + 1];

    skeleton_make(line, &skeleton);
    memcpy(text, skeleton.text, skeleton.size);
    text[skeleton.size] = 0;
    assert_string_equal(text, wanted);
}

static void test_masks(void **state)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_skeleton(span_of(cases[i].line), cases[i].skeleton);
}

static void test_kinds(void **state)
{
    static const struct {
        const char *text;
        enum token_kind kind;
    } tokens[] = {{"eth0", TOKEN_LOOSE}, {"is", TOKEN_WORD},   {"true", TOKEN_LOOSE}, {"for", TOKEN_WORD},
                  {"user", TOKEN_WORD},  {"bob", TOKEN_LOOSE}, {"took", TOKEN_WORD},  {"<*>", TOKEN_VALUE},
                  {"MB", TOKEN_LOOSE},   {"of", TOKEN_WORD},   {"MB", TOKEN_WORD},    {"", TOKEN_EMPTY},
                  {"x", TOKEN_WORD},     {"", TOKEN_EMPTY}};
    struct skeleton skeleton;

    skeleton_make(span_of("eth0 is true for user bob took 5 MB of MB () x="), &skeleton);
    assert_int_equal(skeleton.tokens, sizeof tokens / sizeof *tokens);
    for (unsigned i = 0; i < skeleton.tokens; i++) {
        const struct token *token = &skeleton.token[i];
        assert_int_equal(token->kind, tokens[i].kind);
        assert_true(span_is(span_make(skeleton.text + token->at, token->size), tokens[i].text));
    }
}

static void test_spans_tell_where_values_stood(void **state)
{
    static const char line[] = "  took 12 ms for [1, 22,333, 4] in /tmp/x y";
    static const char *const values[] = {"12", "1, 22,333, 4", "/tmp/x"};
    struct skeleton skeleton;
    unsigned found = 0;

    skeleton_make(span_of(line), &skeleton);
    for (unsigned i = 0; i < skeleton.tokens; i++) {
        const struct token *token = &skeleton.token[i];
        if (token->kind == TOKEN_VALUE)
            assert_true(span_is(span_make(line + token->from, token->to - token->from), values[found++]));
        else
            assert_memory_equal(line + token->from, skeleton.text + token->at, token->size);
    }
    assert_int_equal(found, 3);
}

/* Many tokens, long words and long lines end in one value. */
static void test_limits(void **state)
{
    static char line[SKELETON_LINE_MAX + 100];
    struct skeleton skeleton;

    for (unsigned i = 0; i < 400; i += 2)
        memcpy(line + i, "a ", 2);
    skeleton_make(span_make(line, 400), &skeleton);
    assert_int_equal(skeleton.tokens, SKELETON_TOKENS_MAX);
    assert_int_equal(skeleton.token[SKELETON_TOKENS_MAX - 1].kind, TOKEN_VALUE);
    assert_int_equal(skeleton.token[SKELETON_TOKENS_MAX - 1].to, 400);
    memset(line, 'a', sizeof line);
    skeleton_make(span_make(line, sizeof line), &skeleton);
    assert_int_equal(skeleton.tokens, 1);
    assert_int_equal(skeleton.token[0].to, SKELETON_LINE_MAX);
    assert_true(span_is(skeleton_text(&skeleton), "<*>"));
    memset(line, '=', sizeof line);
    skeleton_make(span_make(line, sizeof line), &skeleton);
    assert_in_range(skeleton.size, SKELETON_BYTES_MAX - 8, SKELETON_BYTES_MAX);
}

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return *seed >> 33;
}

/* Any bytes: within the limits, and the skeleton of a skeleton is itself. */
static void test_random_bytes(void **state)
{
    static const char pieces[] = "=a=a () :=,.;()[]{}<*>\"'/\\@-_0123456789abcfxyz\xc3\xff\n\t\0TFJun";
    uint64_t seed = 7;
    char line[1000];

    for (unsigned round = 0; round < 20000; round++) {
        size_t size = next_random(&seed) % sizeof line;
        struct skeleton once, twice;
        bool mixed = round % 2;
        for (size_t i = 0; i < size; i++)
            line[i] = mixed ? pieces[next_random(&seed) % (sizeof pieces - 1)] : (char)next_random(&seed);
        char *exact = memcpy(malloc(size + 1), line, size); /* so that a sanitizer sees a read beyond it */
        skeleton_make(span_make(exact, size), &once);
        free(exact);
        skeleton_make(skeleton_text(&once), &twice);
        assert_int_equal(twice.size, once.size);
        assert_memory_equal(twice.text, once.text, once.size);
        assert_int_equal(twice.tokens, once.tokens);
        for (unsigned i = 0; i < once.tokens; i++) {
            assert_int_equal(twice.token[i].at, once.token[i].at);
            assert_int_equal(twice.token[i].kind, once.token[i].kind);
            assert_true(once.token[i].from <= once.token[i].to && once.token[i].to <= size);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_masks),        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_limits),       cmocka_unit_test(test_spans_tell_where_values_stood),
        cmocka_unit_test(test_random_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
