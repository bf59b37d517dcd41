/* Lines to files, pipes and terminals: each whole, each told once, nothing lost on a full disk. */
#include "tests/sinks/driver.h"

#include "base/memory.h"
#include "sinks/terminal.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static char folder[] = "/tmp/weir-file-XXXXXX";
static char path[64];

static int set_up(void **state)
{
    if (!mkdtemp(folder))
        return 1;
    snprintf(path, sizeof path, "%s/out.jsonl", folder);
    return 0;
}

static int tear_down(void **state)
{
    unlink(path);
    return rmdir(folder);
}

static char *content(void)
{
    FILE *file = fopen(path, "r");
    char *text = memory_new(16 * 1024 * 1024);

    assert_non_null(file);
    size_t size = fread(text, 1, 16 * 1024 * 1024 - 1, file);
    text[size] = '\0';
    fclose(file);
    return text;
}

/* Every line is {"w":WRITER,"n":NUMBER,"pad":"xxx"} and the numbers of each writer come in order from 1. */
static void assert_lines(const char *text, unsigned writers, unsigned long each)
{
    unsigned long next[16] = {0};

    for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
        unsigned long number = 0;
        unsigned writer = 0;
        const char *end = strchr(line, '\n');

        assert_non_null(end);
        assert_int_equal(sscanf(line, "{\"w\":%u,\"n\":%lu,", &writer, &number), 2);
        assert_true(writer < writers);
        assert_int_equal(number, ++next[writer]);
        assert_memory_equal(end - 3, "x\"}", 3);
    }
    for (unsigned i = 0; i < writers; i++)
        assert_int_equal(next[i], each);
}

static enum status offer_line(struct driver *driver, unsigned writer, uint64_t number, int pad)
{
    char line[9000];

    snprintf(line, sizeof line, "{\"w\":%u,\"n\":%lu,\"pad\":\"%0*dx\"}", writer, (unsigned long)number, pad,
             0);
    return driver_offer(driver, DOC_BUCKET, number, 1, line);
}

static void until_empty(struct driver *driver)
{
    while (driver->type->pending(driver->sink) > 0)
        assert_true(driver_step(driver));
}

static void test_appends(void **state)
{
    struct driver driver;

    for (uint64_t i = 1; i <= 2; i++) { /* opened twice: the second run goes on where the first ended */
        driver_open(&driver, "file", "path: %s\n", path);
        assert_int_equal(offer_line(&driver, 0, i, 10), STATUS_OK);
        until_empty(&driver);
        assert_int_equal(driver_done(&driver), 1);
        assert_int_equal(driver.verdicts.items[0].ticket, i);
        driver_close(&driver);
    }
    char *text = content();

    assert_lines(text, 1, 2);
    free(text);
    unlink(path);
}

enum { WRITERS = 4, LINES_EACH = 3000 };

static void *write_lines(void *owner)
{
    struct driver driver;
    unsigned writer = *(unsigned *)owner;

    driver_open(&driver, "file", "path: %s\n", path);
    for (uint64_t i = 1; i <= LINES_EACH; i++) {
        while (offer_line(&driver, writer, i, (int)(i * 37 % 5000)) != STATUS_OK)
            driver_step(&driver);
        if (i % 50 == 0)
            driver_step(&driver);
    }
    until_empty(&driver);
    assert_int_equal(driver_done(&driver), LINES_EACH);
    driver_close(&driver);
    return NULL;
}

static void test_several_workers(void **state)
{
    pthread_t threads[WRITERS];
    unsigned numbers[WRITERS];
    char *text;

    for (unsigned i = 0; i < WRITERS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, &numbers[i]), 0);
    }
    for (unsigned i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    FILE *file = fopen(path, "r");
    struct stat status;

    assert_int_equal(fstat(fileno(file), &status), 0);
    text = memory_new((size_t)status.st_size + 1);
    assert_int_equal(fread(text, 1, (size_t)status.st_size, file), status.st_size);
    fclose(file);
    assert_lines(text, WRITERS, LINES_EACH);
    free(text);
    unlink(path);
}

static void test_full_disk(void **state)
{
    struct driver driver;
    struct rlimit unlimited, tight;

    signal(SIGXFSZ, SIG_IGN);
    driver_open(&driver, "file", "path: %s\n", path);
    getrlimit(RLIMIT_FSIZE, &unlimited);
    tight = unlimited;
    tight.rlim_cur = 10000; /* in the middle of a line: the write is cut short, the next one fails */
    setrlimit(RLIMIT_FSIZE, &tight);
    for (uint64_t i = 1; i <= 100; i++)
        assert_int_equal(offer_line(&driver, 0, i, 300), STATUS_OK);
    driver.step_us = 1000000;
    driver_settle(&driver, 150);
    setrlimit(RLIMIT_FSIZE, &unlimited);
    size_t before = driver_done(&driver);
    char *text = content();

    assert_in_range(before, 20, 33);
    assert_lines(text, 1, before); /* no piece of a line stays */
    free(text);
    assert_int_equal(driver.type->pending(driver.sink), 100 - before);
    assert_in_range(driver.warnings, 2, 4); /* once a minute */
    until_empty(&driver);
    text = content();
    assert_lines(text, 1, 100);
    assert_int_equal(driver_done(&driver), 100);
    free(text);
    driver_close(&driver);
    unlink(path);
}

static void test_no_space_on_device(void **state)
{
    struct driver driver;

    driver_open(&driver, "file", "path: /dev/full\n");
    assert_int_equal(offer_line(&driver, 0, 1, 10), STATUS_OK);
    driver_settle(&driver, 50);
    assert_int_equal(driver.type->pending(driver.sink), 1);
    assert_int_equal(driver.verdicts.count, 0);
    assert_non_null(strstr(driver.warning, "/dev/full: No space left on device"));
    driver_close(&driver);
}

static void test_path_that_cannot_be(void **state)
{
    struct driver driver;
    struct error error = {""};

    assert_int_equal(driver_try(&driver, "file", "path: /nowhere/out.jsonl\n", &error), STATUS_FATAL);
    assert_non_null(strstr(error.text, "/nowhere/out.jsonl: No such file"));
    driver_close(&driver);
}

/* Standard output becomes `descriptor`; returns the old one. */
static int redirect(int descriptor)
{
    int old = dup(STDOUT_FILENO);

    fflush(stdout);
    dup2(descriptor, STDOUT_FILENO);
    return old;
}

static void restore(int old)
{
    dup2(old, STDOUT_FILENO);
    close(old);
}

static void test_slow_reader(void **state)
{
    enum { LINES = 400 };
    struct driver drivers[2];
    int ends[2], old, refused = 0;
    char *text = memory_new(16 * 1024 * 1024);
    size_t size = 0;
    uint64_t next[2] = {1, 1};

    assert_int_equal(pipe(ends), 0);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    old = redirect(ends[1]);
    for (unsigned i = 0; i < 2; i++)
        driver_open(&drivers[i], "stdout", "queue_bytes: 64KiB\n");
    for (unsigned step = 0; step < 20000 && size < 15 * 1024 * 1024; step++) {
        for (unsigned i = 0; i < 2; i++) {
            if (next[i] <= LINES && offer_line(&drivers[i], i, next[i], 6000) == STATUS_OK)
                next[i]++;
            else
                refused += next[i] <= LINES;
            driver_step(&drivers[i]);
        }
        ssize_t got = step > 100 ? read(ends[0], text + size, 5000) : 0;

        size += got > 0 ? (size_t)got : 0;
    }
    restore(old);
    assert_true(refused > 10); /* nobody read for a while: offers were refused, no call waited */
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(driver_done(&drivers[i]), LINES);
        driver_close(&drivers[i]);
    }
    assert_lines(text, 2, LINES);
    free(text);
    close(ends[0]);
    close(ends[1]);
}

static void test_reader_gone(void **state)
{
    struct driver driver;
    int ends[2], old;

    assert_int_equal(pipe(ends), 0);
    old = redirect(ends[1]);
    close(ends[1]);
    driver_open(&driver, "stdout", "{}\n");
    close(ends[0]);
    for (uint64_t i = 1; i <= 3; i++) {
        offer_line(&driver, 0, i, 10);
        driver_settle(&driver, 10);
    }
    restore(old);
    assert_int_equal(driver_done(&driver), 3);
    assert_int_equal(driver.warnings, 1);
    assert_int_equal(driver.type->pending(driver.sink), 0);
    driver_close(&driver);
}

#define ALERT                                                                                                \
    "{\"schema\":1,\"at\":\"2026-11-21T09:40:20.097Z\",\"state\":\"firing\",\"severity\":\"critical\","      \
    "\"target\":"                                                                                            \
    "\"etl/load\",\"annotations\":{\"summary\":\"load failed: \\u001b[2J\\u009bé\"}}"

static void test_terminal(void **state)
{
    struct driver driver;
    char seen[4096] = "";
    int master = posix_openpt(O_RDWR | O_NOCTTY), slave, old;

    assert_true(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    setenv("NO_COLOR", "1", 1);
    old = redirect(slave);
    driver_open(&driver, "stdout", "{}\n");
    driver_offer(&driver, DOC_ALERT, 1, 1, ALERT);
    driver_offer(&driver, DOC_RUN, 2, 1, "{\"run\":1}");
    driver_settle(&driver, 10);
    restore(old);
    ssize_t got = read(master, seen, sizeof seen - 1);

    assert_true(got > 0);
    assert_string_equal(seen, "2026-11-21T09:40:20.097Z firing   critical etl/load load failed: ?[2J?é\r\n"
                              "{\"run\":1}\r\n");
    driver_close(&driver);
    close(slave);
    close(master);
}

static void test_colour(void **state)
{
    struct buffer out;

    buffer_init(&out, 4096);
    assert_true(terminal_put_alert(span_of(ALERT), true, &out));
    buffer_put_char(&out, '\0');
    assert_non_null(strstr(out.data, "\033[31mfiring   critical \033[0m"));
    buffer_clear(&out);
    assert_false(terminal_put_alert(SPAN_LITERAL("{\"id\":1}"), true, &out));
    assert_false(terminal_put_alert(SPAN_LITERAL("not json"), true, &out));
    assert_int_equal(out.size, 0);
    buffer_free(&out);
}

static void write_file(const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void assert_content(const char *expected)
{
    char *text = content();

    assert_string_equal(text, expected);
    free(text);
}

static void put_line(struct driver *driver, const char *line)
{
    assert_int_equal(driver_offer(driver, DOC_RUN, 1, 1, line), STATUS_OK);
    until_empty(driver);
}

static void test_what_came_after_the_mark_is_taken_back(void **state)
{
    struct driver driver, other;
    struct buffer mark;

    buffer_init(&mark, 100);
    driver_open(&driver, "file", "path: %s\n", path);
    put_line(&driver, "one");
    driver.type->mark(driver.sink, &mark);
    put_line(&driver, "two");
    driver_close(&driver);
    FILE *torn = fopen(path, "a");
    fputs("thr", torn);
    fclose(torn);

    driver_open(&driver, "file", "path: %s\n", path);
    driver_open(&other, "file", "path: %s\n", path);
    driver.type->resume(driver.sink, buffer_span(&mark));
    assert_content("one\n");
    put_line(&other, "two");
    put_line(&driver, "three");
    assert_content("one\ntwo\nthree\n");
    assert_int_equal(driver.warnings, 0);
    driver_close(&other);
    driver_close(&driver);
    buffer_free(&mark);
    unlink(path);
}

static void test_another_file_than_marked_is_kept(void **state)
{
    struct driver driver;
    struct buffer mark;
    char old[80];

    buffer_init(&mark, 100);
    driver_open(&driver, "file", "path: %s\n", path);
    put_line(&driver, "one");
    driver.type->mark(driver.sink, &mark);
    driver_close(&driver);
    for (unsigned i = 0; i < 3; i++) { /* cut short; another file; a mark of a later layout */
        if (i == 0)
            write_file("o\n");
        if (i == 1) {
            snprintf(old, sizeof old, "%s.1", path);
            assert_int_equal(rename(path, old), 0);
            write_file("new and longer\n");
            unlink(old);
        }
        mark.data[0] = i == 2 ? 2 : 1;
        driver_open(&driver, "file", "path: %s\n", path);
        driver.type->resume(driver.sink, buffer_span(&mark));
        assert_int_equal(driver.warnings, 1);
        assert_content(i == 0 ? "o\n" : "new and longer\n");
        driver_close(&driver);
    }
    buffer_free(&mark);
    unlink(path);
}

static void test_a_torn_line_is_ended(void **state)
{
    struct driver driver;

    write_file("whole\ntor");
    driver_open(&driver, "file", "path: %s\n", path);
    put_line(&driver, "next");
    driver_close(&driver);
    assert_content("whole\ntor\nnext\n");
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_appends),
        cmocka_unit_test(test_several_workers),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_no_space_on_device),
        cmocka_unit_test(test_path_that_cannot_be),
        cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_reader_gone),
        cmocka_unit_test(test_terminal),
        cmocka_unit_test(test_colour),
        cmocka_unit_test(test_what_came_after_the_mark_is_taken_back),
        cmocka_unit_test(test_another_file_than_marked_is_kept),
        cmocka_unit_test(test_a_torn_line_is_ended),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
