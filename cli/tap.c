/* weir tap: rows of a running weir as they pass a stage, JSON lines on standard output. */
#include "cli/commands.h"
#include "cli/target.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A weir that has nothing to show sends empty lines, several a second. */
enum { SILENCE_S_MAX = 30 };

enum { LINE_BYTES_MAX = 64 << 20, URL_BYTES_MAX = 64 * 1024 };

struct tap_arguments {
    const char *target, *stage, *where, *limit;
};

struct output {
    CURL *easy;
    struct buffer line; /* not whole yet; of a refusal, all of it */
    unsigned long long dropped;
};

/* Lines that are not rows are not shown: empty ones, and what could not keep up, which is told at the end. */
static void print_line(struct output *output, struct span line)
{
    static const char dropped[] = "{\"dropped\":";
    size_t size = sizeof dropped - 1;

    if (line.size > size && memcmp(line.data, dropped, size) == 0)
        output->dropped += strtoull(line.data + size, NULL, 10);
    else if (line.size > 0)
        printf("%.*s\n", (int)line.size, line.data);
}

static size_t take(char *data, size_t size, size_t count, void *owner)
{
    struct output *output = owner;
    long status = 0;
    char *end;

    size *= count;
    buffer_put(&output->line, data, size);
    curl_easy_getinfo(output->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200)
        return size;
    while (output->line.size && (end = memchr(output->line.data, '\n', output->line.size))) {
        size_t length = (size_t)(end - output->line.data);

        print_line(output, span_make(output->line.data, length));
        buffer_remove_front(&output->line, length + 1);
    }
    return fflush(stdout) == 0 && !output->line.full ? size : 0;
}

static void put_parameter(CURL *easy, struct buffer *url, const char *name, const char *value)
{
    char *escaped = value ? curl_easy_escape(easy, value, 0) : NULL;

    if (escaped)
        buffer_print(url, "%s%s=%s", memchr(url->data, '?', url->size) ? "&" : "?", name, escaped);
    curl_free(escaped);
}

static int follow(const char *base, const struct tap_arguments *arguments)
{
    struct output output = {.easy = curl_easy_init()};
    struct buffer url;
    long status = 0;
    int code = EXIT_DONE;

    buffer_init(&output.line, LINE_BYTES_MAX);
    buffer_init(&url, URL_BYTES_MAX);
    buffer_print(&url, "%s/api/tap", base);
    put_parameter(output.easy, &url, "stage", arguments->stage);
    put_parameter(output.easy, &url, "where", arguments->where);
    put_parameter(output.easy, &url, "limit", arguments->limit);
    buffer_put_char(&url, '\0');
    curl_easy_setopt(output.easy, CURLOPT_URL, url.data);
    curl_easy_setopt(output.easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(output.easy, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(output.easy, CURLOPT_WRITEDATA, &output);
    curl_easy_setopt(output.easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(output.easy, CURLOPT_LOW_SPEED_TIME, (long)SILENCE_S_MAX);
    CURLcode failed = curl_easy_perform(output.easy);

    curl_easy_getinfo(output.easy, CURLINFO_RESPONSE_CODE, &status);
    if (status == 0) {
        fprintf(stderr, "weir tap: no weir answers at %s: %s\n", base, curl_easy_strerror(failed));
        code = EXIT_OUTSIDE;
    } else if (status != 200) {
        fprintf(stderr, "weir tap: %s answers HTTP %ld: %.*s\n", base, status, (int)output.line.size,
                output.line.data ? output.line.data : "");
        code = status == 400 ? EXIT_USAGE : EXIT_OUTSIDE;
    } else if (failed != CURLE_OK && failed != CURLE_WRITE_ERROR) { /* nobody reads what is printed */
        fprintf(stderr, "weir tap: %s: the rows end before weir ended them: %s\n", base,
                curl_easy_strerror(failed));
        code = EXIT_OUTSIDE;
    }
    if (output.dropped)
        fprintf(stderr, "weir tap: %llu rows are left out: more came than can be shown\n", output.dropped);
    curl_easy_cleanup(output.easy);
    buffer_free(&output.line);
    buffer_free(&url);
    return code;
}

static int refuse(const char *text)
{
    fprintf(stderr,
            "weir tap: %s\nusage: weir tap [URL | FILE.yaml] [--stage decode|time|clean] [--where CEL] "
            "[--limit N]\n",
            text);
    return EXIT_USAGE;
}

/* NULL, or what is wrong. */
static const char *read_arguments(int argc, char **argv, struct tap_arguments *arguments)
{
    const struct {
        const char *name, **value;
    } options[] = {
        {"--stage", &arguments->stage}, {"--where", &arguments->where}, {"--limit", &arguments->limit}};

    for (int i = 1; i < argc; i++) {
        size_t k = 0;

        while (k < sizeof options / sizeof *options && strcmp(argv[i], options[k].name) != 0)
            k++;
        if (k < sizeof options / sizeof *options) {
            if (++i == argc)
                return "an option needs a value";
            *options[k].value = argv[i];
        } else if (argv[i][0] == '-' || arguments->target) {
            return "unknown option, or more than one weir";
        } else {
            arguments->target = argv[i];
        }
    }
    return NULL;
}

int cli_tap(int argc, char **argv)
{
    struct tap_arguments arguments = {.target = NULL};
    const char *wrong = read_arguments(argc, argv, &arguments);
    char base[TARGET_URL_BYTES];
    struct error error;

    if (wrong)
        return refuse(wrong);
    if (target_url(arguments.target, base, &error) != STATUS_OK) {
        fprintf(stderr, "weir tap: %s\n", error.text);
        return EXIT_USAGE;
    }
    return follow(base, &arguments);
}
