/* weir eval: one expression with bindings, or JSON lines on stdin, one answer line each. For trying rules
 * by hand. */
#include "cli/commands.h"
#include "rules/cel.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>

enum { BINDINGS_MAX = 256, ANSWER_MAX = 64 * 1024 * 1024 };

static int eval_stream(void)
{
    struct buffer out;
    char *line = NULL;
    size_t capacity = 0;
    ssize_t size;

    buffer_init(&out, ANSWER_MAX);
    while ((size = getline(&line, &capacity, stdin)) >= 0) {
        buffer_clear(&out);
        cel_eval_case(span_make(line, (size_t)size), &out);
        buffer_put_char(&out, '\n');
        fwrite(out.data, 1, out.size, stdout);
    }
    free(line);
    buffer_free(&out);
    return EXIT_DONE;
}

int cli_eval(int argc, char **argv)
{
    struct span bindings[BINDINGS_MAX];
    const char *expression = NULL;
    size_t count = 0;
    struct buffer out;
    bool error = false;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--bind") == 0 && i + 1 < argc && count < BINDINGS_MAX) {
            bindings[count++] = span_of(argv[++i]);
        } else if (!expression && strcmp(argv[i], "--bind") != 0) {
            expression = argv[i];
        } else {
            fprintf(stderr,
                    "usage: weir eval EXPR [--bind name=JSON]... (at most %d); JSON lines on stdin without "
                    "EXPR\n",
                    BINDINGS_MAX);
            return EXIT_USAGE;
        }
    }
    if (!expression)
        return eval_stream();
    buffer_init(&out, ANSWER_MAX);
    cel_eval_expression(span_of(expression), bindings, count, &out, &error);
    printf("%.*s\n", (int)out.size, out.data);
    buffer_free(&out);
    return error ? EXIT_FOUND : EXIT_DONE;
}
