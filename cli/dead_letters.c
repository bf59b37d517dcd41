/* weir dead-letters list|show|delete: looks into the dead-letter store, also beside a running pipeline.
 * `list` tells what is there, one line a letter, newest first; `show` writes one letter, with the original
 * bytes as they came. */
#include "pipeline/dead_letters.h"
#include "base/json_writer.h"
#include "base/timestamp.h"
#include "cli/arguments.h"
#include "cli/commands.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { LINE_LIMIT = 1 << 28 };

static const char usage[] =
    "usage: weir dead-letters list [FILE.yaml | --store PATH] [--stage NAME] [--topic NAME]"
    " [--limit N] [--json]\n"
    "       weir dead-letters show ID [FILE.yaml | --store PATH] [--json]\n"
    "       weir dead-letters delete ID [FILE.yaml | --store PATH]\n";

enum action { ACTION_LIST, ACTION_SHOW, ACTION_DELETE, ACTIONS };
static const char *const action_names[ACTIONS] = {"list", "show", "delete"};

struct request {
    enum action action;
    const char *file, *store; /* neither: weir.db here */
    struct dead_letters_query query;
    int64_t id;
    bool json;
};

struct writer {
    struct buffer line;
    bool json, found;
};

static void put_json(struct buffer *out, const struct stored_letter *stored, bool whole)
{
    const struct dead_letter *letter = &stored->letter;
    struct json_writer json;

    json_begin(&json, out);
    json_open(&json, NULL);
    json_integer(&json, "schema", 1);
    json_integer(&json, "id", stored->id);
    json_time(&json, "at", letter->time_us);
    json_text(&json, "stage", span_of(letter->stage));
    json_text_if(&json, "sink", letter->sink);
    json_text_if(&json, "source", letter->source);
    json_text_if(&json, "topic", letter->topic);
    json_integer(&json, "partition", letter->partition);
    json_integer(&json, "offset", letter->offset);
    json_integer(&json, "item", letter->item);
    json_text(&json, "reason", letter->reason);
    json_integer(&json, "payload_bytes", stored->payload_size);
    if (whole)
        json_text(&json, "payload", letter->payload);
    if (whole)
        json_text_if(&json, "document", letter->document);
    json_close(&json);
    buffer_put_char(out, '\n');
}

/* "ID  TIME  STAGE  TOPIC/PARTITION@OFFSET  BYTES  REASON" */
static void put_line(struct buffer *out, const struct stored_letter *stored)
{
    const struct dead_letter *letter = &stored->letter;
    char time[TIME_TEXT_SIZE];

    buffer_print(out, "%lld  ", (long long)stored->id);
    buffer_put(out, time, time_format(letter->time_us, time));
    buffer_print(out, "  %s", letter->stage);
    if (letter->sink.size) {
        buffer_put_char(out, ':');
        buffer_put_plain(out, letter->sink);
    }
    buffer_put_text(out, "  ");
    buffer_put_plain(out, letter->topic.size ? letter->topic : letter->source);
    buffer_print(out, "/%d@%lld", letter->partition, (long long)letter->offset);
    if (letter->item)
        buffer_print(out, "#%u", letter->item);
    buffer_print(out, "  %lld bytes  ", (long long)stored->payload_size);
    buffer_put_plain(out, letter->reason);
    buffer_put_char(out, '\n');
}

static bool write_out(struct writer *writer)
{
    bool written = fwrite(writer->line.data, 1, writer->line.size, stdout) == writer->line.size;

    buffer_clear(&writer->line);
    return written;
}

static bool visit_listed(void *owner, const struct stored_letter *stored)
{
    struct writer *writer = owner;

    writer->found = true;
    if (writer->json)
        put_json(&writer->line, stored, false);
    else
        put_line(&writer->line, stored);
    return write_out(writer);
}

static bool visit_shown(void *owner, const struct stored_letter *stored)
{
    struct writer *writer = owner;

    if (writer->json) {
        put_json(&writer->line, stored, true);
        return write_out(writer);
    }
    put_line(&writer->line, stored);
    if (stored->letter.document.size) {
        buffer_put_text(&writer->line, "\ndocument:\n");
        buffer_put_span(&writer->line, stored->letter.document);
        buffer_put_text(&writer->line, "\n\npayload:");
    }
    buffer_put_char(&writer->line, '\n');
    buffer_put_span(&writer->line, stored->letter.payload); /* as it came: for a pipe into a decoder */
    buffer_put_char(&writer->line, '\n');
    return write_out(writer);
}

static bool parse_count(const char *text, int64_t *ret_count)
{
    char *end;

    assert(text);
    errno = 0;
    long long count = strtoll(text, &end, 10);
    if (end == text || *end || errno || count < 1)
        return false;
    *ret_count = count;
    return true;
}

/* The value after an option that takes one; moves *at to it. NULL when the argument is another or has no
 * value. */
static const char *option_value(int argc, char **argv, int *at, const char *name)
{
    if (strcmp(argv[*at], name) != 0 || *at + 1 >= argc)
        return NULL;
    ++*at;
    assert(argv[*at]); /* argv ends with NULL, behind argc */
    return argv[*at];
}

static bool parse_arguments(int argc, char **argv, struct request *ret_request)
{
    struct request request = {0};
    bool has_id = false;
    const char *value;

    if (argc < 2)
        return false;
    while (request.action < ACTIONS && strcmp(argv[1], action_names[request.action]) != 0)
        request.action++;
    if (request.action == ACTIONS)
        return false;
    bool list = request.action == ACTION_LIST;
    for (int i = 2; i < argc; i++) {
        assert(argv[i]);
        if ((value = option_value(argc, argv, &i, "--store")))
            request.store = value;
        else if (list && (value = option_value(argc, argv, &i, "--stage")))
            request.query.stage = value;
        else if (list && (value = option_value(argc, argv, &i, "--topic")))
            request.query.topic = value;
        else if (list && (value = option_value(argc, argv, &i, "--limit"))) {
            if (!parse_count(value, &request.query.limit))
                return false;
        } else if (request.action != ACTION_DELETE && strcmp(argv[i], "--json") == 0)
            request.json = true;
        else if (!list && !has_id && parse_count(argv[i], &request.id))
            has_id = true;
        else if (!request.file && argv[i][0] != '-')
            request.file = argv[i];
        else
            return false;
    }
    if ((!list && !has_id) || (request.file && request.store))
        return false;
    *ret_request = request;
    return true;
}

static int act(struct dead_letters *store, const struct request *request, struct error *ret_error)
{
    struct writer writer = {.json = request->json};
    enum status status = STATUS_OK;

    buffer_init(&writer.line, LINE_LIMIT);
    if (request->action == ACTION_LIST)
        status = dead_letters_list(store, &request->query, visit_listed, &writer, ret_error);
    else if (request->action == ACTION_SHOW)
        status = dead_letters_get(store, request->id, visit_shown, &writer, ret_error);
    else
        status = dead_letters_delete(store, request->id, ret_error);
    if (status == STATUS_OK && (writer.line.full || fflush(stdout) || ferror(stdout)))
        status = fail(ret_error, "cannot write the output: %s", strerror(errno));
    buffer_free(&writer.line);
    if (status != STATUS_OK)
        return EXIT_OUTSIDE;
    return writer.found ? EXIT_FOUND : EXIT_DONE;
}

int cli_dead_letters(int argc, char **argv)
{
    struct request request;
    struct dead_letters *store;
    struct error error;
    char *path = NULL;
    int code = EXIT_OUTSIDE;

    if (!parse_arguments(argc, argv, &request)) {
        (void)fputs(usage, stderr);
        return EXIT_USAGE;
    }
    if (arguments_store_path(request.file, request.store, &path, &error) != STATUS_OK) {
        fprintf(stderr, "weir: %s\n", error.text);
        return EXIT_USAGE;
    }
    if (dead_letters_open(path, &(struct store_options){.must_exist = true}, &store, &error) == STATUS_OK) {
        code = act(store, &request, &error);
        dead_letters_close(store);
    }
    if (code == EXIT_OUTSIDE)
        fprintf(stderr, "weir: %s\n", error.text);
    free(path);
    return code;
}
