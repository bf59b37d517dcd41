/* weir top: the figures of a running weir on a terminal, a screen a second, from its /metrics and alerts.
 * Plain control sequences rather than a library: a whole screen is one write, over the last one, so nothing
 * flickers. Without a terminal it prints one screen and ends. */
#include "base/json_writer.h"
#include "base/memory.h"
#include "base/timestamp.h"
#include "cli/commands.h"
#include "cli/screen.h"
#include "cli/target.h"
#include "cli/top_screen.h"
#include "sinks/http.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { TURN_MS = 1000, SCREEN_BYTES = 1 << 20 };

#define ENTER       "\033[?1049h\033[?25l"
#define LEAVE       "\033[?25h\033[?1049l"
#define HOME        "\033[H"
#define TO_LINE_END "\033[K"
#define TO_END      "\033[J"

static volatile sig_atomic_t stop_asked;

struct top {
    char url[TARGET_URL_BYTES];
    struct http *http;
    struct top_sample before, now;
    char trouble[256]; /* of the last question; empty: it was answered */
    bool is_terminal;
    struct termios old;
};

static void ask_stop(int signal_number)
{
    (void)signal_number;
    stop_asked = 1;
}

static void ask_redraw(int signal_number) /* poll ends, and the screen is drawn with its new size */
{
    (void)signal_number;
}

static int64_t clock_us(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* A copy of the answer's text, or NULL and `trouble`. */
static char *ask(struct top *top, const char *path)
{
    char url[TARGET_URL_BYTES + 64];

    snprintf(url, sizeof url, "%s%s", top->url, path);
    struct http_answer answer = http_ask(top->http, &(struct http_request){.method = "GET", .url = url});

    if (answer.status == 200)
        return memory_text(answer.body.data, answer.body.size);
    if (answer.status)
        snprintf(top->trouble, sizeof top->trouble, "HTTP %d", answer.status);
    else
        snprintf(top->trouble, sizeof top->trouble, "%s", answer.trouble);
    return NULL;
}

static void take_sample(struct top *top)
{
    char *metrics, *alerts = NULL, *health = NULL;

    top->trouble[0] = '\0';
    metrics = ask(top, "/metrics");
    if (metrics)
        alerts = ask(top, "/api/alerts?limit=1000");
    if (alerts)
        health = ask(top, "/api/health");
    if (!health) {
        free(metrics);
        free(alerts);
        return;
    }
    top_sample_free(&top->before);
    top->before = top->now;
    top->now = (struct top_sample){.metrics = metrics,
                                   .alerts = alerts,
                                   .health = health,
                                   .wall_us = clock_us(CLOCK_REALTIME),
                                   .at_us = clock_us(CLOCK_MONOTONIC)};
}

/* Writes all of it; a terminal that is gone ends the program. */
static void write_out(struct span text)
{
    while (text.size) {
        ssize_t written = write(STDOUT_FILENO, text.data, text.size);

        if (written < 0 && errno != EINTR) {
            stop_asked = 1;
            return;
        }
        if (written > 0)
            text = span_make(text.data + written, text.size - (size_t)written);
    }
}

static void draw(struct top *top)
{
    unsigned columns, rows;
    struct buffer lines, out;
    const char *at;

    screen_size(STDOUT_FILENO, &columns, &rows);
    buffer_init(&lines, SCREEN_BYTES);
    buffer_init(&out, SCREEN_BYTES);
    top_screen(&top->before, &top->now, top->url, top->trouble, columns, rows - top->is_terminal, &lines);
    buffer_put_text(&out, top->is_terminal ? HOME : "");
    at = lines.data;
    while (at < lines.data + lines.size) {
        const char *end = memchr(at, '\n', (size_t)(lines.data + lines.size - at));

        buffer_put(&out, at, (size_t)(end - at));
        buffer_put_text(&out, top->is_terminal ? TO_LINE_END "\n" : "\n");
        at = end + 1;
    }
    buffer_put_text(&out, top->is_terminal ? "q quits" TO_END : "");
    write_out(buffer_span(&out));
    buffer_free(&lines);
    buffer_free(&out);
}

static bool open_terminal(struct top *top)
{
    struct sigaction stop = {.sa_handler = ask_stop}, redraw = {.sa_handler = ask_redraw};
    struct termios raw;

    if (!isatty(STDOUT_FILENO) || tcgetattr(STDIN_FILENO, &top->old) != 0)
        return false;
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGHUP, &stop, NULL);
    sigaction(SIGWINCH, &redraw, NULL);
    raw = top->old;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    write_out(span_of(ENTER));
    return true;
}

static void close_terminal(struct top *top)
{
    write_out(span_of(LEAVE));
    tcsetattr(STDIN_FILENO, TCSANOW, &top->old);
}

/* Draws again when the size changes; ends when the next sample is due or a stop is asked for. */
static void wait_turn(struct top *top)
{
    int64_t due_us = clock_us(CLOCK_MONOTONIC) + TURN_MS * 1000;

    for (int64_t left_us; !stop_asked && (left_us = due_us - clock_us(CLOCK_MONOTONIC)) > 0;) {
        struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
        int ready = poll(&input, top->is_terminal, (int)(left_us / 1000) + 1);
        char key = 0;

        if (ready > 0 && (read(STDIN_FILENO, &key, 1) <= 0 || key == 'q' || key == 'Q'))
            stop_asked = 1;
        if (ready < 0 && errno == EINTR && !stop_asked && top->is_terminal)
            draw(top);
    }
}

static void follow(struct top *top)
{
    while (!stop_asked) {
        draw(top);
        wait_turn(top);
        if (!stop_asked)
            take_sample(top);
    }
}

static int run(struct top *top)
{
    take_sample(top);
    if (top->trouble[0]) {
        fprintf(stderr, "weir top: no weir answers at %s: %s\n", top->url, top->trouble);
        return EXIT_OUTSIDE;
    }
    top->is_terminal = open_terminal(top);
    if (top->is_terminal) {
        follow(top);
        close_terminal(top);
    } else {
        wait_turn(top);
        take_sample(top);
        draw(top);
    }
    return EXIT_DONE;
}

int cli_top(int argc, char **argv)
{
    const struct http_settings settings = {.verify = true, .timeout_us = 5000000, .connections = 1};
    struct top top = {.trouble = ""};
    struct error error;
    int code;

    if (argc > 2 || (argc == 2 && argv[1][0] == '-')) {
        fprintf(stderr, "usage: weir top [URL | FILE.yaml]\n");
        return EXIT_USAGE;
    }
    if (target_url(argc == 2 ? argv[1] : NULL, top.url, &error) != STATUS_OK ||
        http_open(&settings, &top.http, &error) != STATUS_OK) {
        fprintf(stderr, "weir top: %s\n", error.text);
        return EXIT_USAGE;
    }
    code = run(&top);
    top_sample_free(&top.before);
    top_sample_free(&top.now);
    http_free(top.http);
    return code;
}
