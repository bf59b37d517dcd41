/* weir init: looks at the last messages of a topic or file, guesses how they are read, shows what came of it,
 * and writes a configuration that runs as it is. */
#include "cli/init.h"

#include "base/memory.h"
#include "cli/commands.h"
#include "cli/screen.h"
#include "ingest/kafka_probe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PROPERTIES_MAX = 64,
    TEXT_BYTES = 1 << 20,
    EXAMPLES = 4,
    FIELD_WIDTH = 14,
    SHARE_WIDTH = 5,
    EXAMPLE_WIDTH_MIN = 18,
    POLL_MESSAGES = 512,
    PAUSE_US = 1000,
};

struct init {
    struct init_source source;
    const char *properties[PROPERTIES_MAX];
    const char *out;
    struct sample sample;
};

static void keep_message(struct sample *sample, const struct message *message)
{
    if (sample->count == SAMPLE_MAX) {
        free((char *)sample->messages[0].payload.data);
        memmove(sample->messages, sample->messages + 1, --sample->count * sizeof *sample->messages);
    }
    struct message *place = &sample->messages[sample->count++];

    *place = *message;
    place->payload =
        span_make(memory_text(message->payload.data, message->payload.size), message->payload.size);
}

static void keep_record(void *owner, int32_t partition, const struct message *message)
{
    (void)partition;
    keep_message(owner, message);
}

static void sample_free(struct sample *sample)
{
    for (size_t i = 0; i < sample->count; i++)
        free((char *)sample->messages[i].payload.data);
    free(sample->messages);
}

static void print_warning(void *owner, const char *text)
{
    (void)owner;
    fprintf(stderr, "weir: %s\n", text);
}

static enum status sample_topic(const void *settings, const struct source_context *context,
                                const struct init_source *source, struct sample *sample,
                                struct error *ret_error)
{
    struct kafka_probe *probe;
    struct kafka_place *places = NULL;
    size_t count = 0;
    enum status status = kafka_probe_open(settings, context, &probe, ret_error);

    if (status != STATUS_OK)
        return status;
    status = kafka_probe_topic(probe, source->topic, &places, &count, ret_error);
    if (status == STATUS_OK) {
        int64_t each = SAMPLE_MAX / (int64_t)(count ? count : 1);

        status = kafka_probe_read(probe, source->topic, places, count, each > 0 ? each : 1, keep_record,
                                  sample, ret_error);
    }
    kafka_probe_close(probe);
    free(places);
    if (status == STATUS_OK && sample->count == 0)
        return fail(ret_error, "topic '%s' has no messages to look at; try again when some have come",
                    source->topic);
    return status;
}

/* The file's last lines: all of it is read. */
static enum status sample_file(const struct source_type *type, const void *settings,
                               const struct source_context *context, const char *path, struct sample *sample,
                               struct error *ret_error)
{
    struct message messages[POLL_MESSAGES];
    enum poll_state state = POLL_MORE;
    struct source *source;

    if (type->open(settings, context, &source, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    while (state != POLL_DONE && state != POLL_UNREACHABLE) {
        type->advance(source, 0);
        size_t count =
            type->partition_count(source) ? type->poll(source, 0, messages, POLL_MESSAGES, &state) : 0;

        for (size_t i = 0; i < count; i++)
            keep_message(sample, &messages[i]);
        if (count)
            type->release(source, 0, messages, count);
        else
            usleep(PAUSE_US);
    }
    type->close(source);
    if (sample->count == 0)
        return fail(ret_error, "%s: has no lines to look at", path);
    return STATUS_OK;
}

/* The source's settings as a configuration would give them. */
static enum status take_sample(struct init *init, struct error *ret_error)
{
    const struct source_type *type = source_type_find(init->source.input ? "file" : "kafka");
    struct option_table table = {type->options, type->option_count, memory_new(type->settings_size)};
    struct source_context context = {.name = "init", .workers = 1, .once = true, .warn = print_warning};
    struct config *config = NULL;
    struct buffer keys;

    buffer_init(&keys, TEXT_BYTES);
    buffer_put_char(&keys, '{');
    write_source_keys(&init->source, init->source.input, &keys);
    buffer_put(&keys, "}", 2);
    enum status status = config_parse(keys.data, "init", &config, ret_error);

    buffer_free(&keys);
    if (status == STATUS_OK)
        status = options_read(config_root(config), &table, 1, ret_error);
    if (status == STATUS_OK && init->source.input)
        status = sample_file(type, table.settings, &context, init->source.input, &init->sample, ret_error);
    else if (status == STATUS_OK)
        status = sample_topic(table.settings, &context, &init->source, &init->sample, ret_error);
    options_free(&table, 1);
    free(table.settings);
    if (config)
        config_free(config);
    return status;
}

/* Rows that show the most fields, in their order: the example of a rare kind says more than one more of a
 * frequent one. */
static unsigned choose_examples(struct event_batch *batch, unsigned limit, uint32_t ret_rows[EXAMPLES])
{
    bool shown[FIELD_COUNT] = {false};
    unsigned count = 0;

    while (count < limit) {
        unsigned best_new = 0;
        uint32_t best = UINT32_MAX;

        for (uint32_t row = 0; row < batch->rows; row++) {
            unsigned fresh = 1;

            for (unsigned i = 0; i < count; i++)
                if (ret_rows[i] == row)
                    fresh = 0;
            for (unsigned field = 0; fresh && field < FIELD_COUNT; field++) {
                struct span text;

                fresh += !shown[field] &&
                         event_text(batch, row, (struct field_ref){(enum field)field, 0}, &text) &&
                         text.size > 0;
            }
            if (batch->mark[row] == MARK_OK && fresh > best_new) {
                best_new = fresh;
                best = row;
            }
        }
        if (best == UINT32_MAX)
            break;
        ret_rows[count++] = best;
        for (unsigned field = 0; field < FIELD_COUNT; field++) {
            struct span text;

            shown[field] |=
                event_text(batch, best, (struct field_ref){(enum field)field, 0}, &text) && text.size > 0;
        }
    }
    return count;
}

static void put_row(struct guess *guess, enum field field, const uint32_t *examples, unsigned count,
                    unsigned width, struct buffer *out)
{
    char share[16];

    snprintf(share, sizeof share, "%3zu%%", 100 * guess->set[field] / guess->rows);
    screen_put(out, span_of(field_rows[field].name), FIELD_WIDTH);
    screen_put(out, span_of(share), SHARE_WIDTH);
    for (unsigned i = 0; i < count; i++) {
        struct span text = {0};

        event_text(&guess->batch, examples[i], (struct field_ref){field, 0}, &text);
        buffer_put_char(out, ' ');
        screen_put(out, text, width);
    }
    while (out->size && out->data[out->size - 1] == ' ')
        out->size--;
    buffer_put_char(out, '\n');
}

/* A line a field that some row has, a column an example. */
static void print_table(struct guess *guess)
{
    uint32_t examples[EXAMPLES];
    unsigned columns, rows, count, width;
    struct buffer out;

    screen_size(STDOUT_FILENO, &columns, &rows);
    unsigned left = columns > FIELD_WIDTH + SHARE_WIDTH ? columns - FIELD_WIDTH - SHARE_WIDTH : 0;

    count = left / (EXAMPLE_WIDTH_MIN + 1);
    count = count < 1 ? 1 : count > EXAMPLES ? EXAMPLES : count;
    count = choose_examples(&guess->batch, count, examples);
    width = count && left / count > 2 ? left / count - 1 : 1;
    buffer_init(&out, TEXT_BYTES);
    screen_put(&out, span_of("field"), FIELD_WIDTH);
    buffer_put_text(&out, "in    some of the rows\n");
    for (unsigned field = 0; field < FIELD_COUNT; field++)
        if (guess->set[field])
            put_row(guess, (enum field)field, examples, count, width, &out);
    fwrite(out.data, 1, out.size, stdout);
    buffer_free(&out);
}

static void print_guess(const struct init *init, struct guess *guess)
{
    printf("%zu messages; the format %s%s reads %zu of %zu: %zu rows\n\n", init->sample.count, guess->name,
           guess->map.size ? " with a guessed map" : "", guess->decoded, guess->tried, guess->rows);
    print_table(guess);
    if (guess->decoded < guess->tried) {
        unsigned columns, rows;
        struct buffer out;

        screen_size(STDOUT_FILENO, &columns, &rows);
        buffer_init(&out, TEXT_BYTES);
        buffer_print(&out, "\n%zu of them cannot be read, as the one at offset %lld: ",
                     guess->tried - guess->decoded, (long long)guess->bad_offset);
        screen_put_line(&out, span_of(guess->reason), sizeof guess->reason);
        buffer_put_text(&out, "\n  ");
        screen_put_line(&out, span_of(guess->bad), columns > 2 ? columns - 2 : 1);
        printf("%.*s\n", (int)out.size, out.data);
        buffer_free(&out);
    }
}

static enum status write_file(const char *path, const struct buffer *text, int flags, struct error *ret_error)
{
    int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0600);
    ssize_t written;

    if (file < 0 && errno == EEXIST)
        return fail(ret_error, "%s: is there already and stays as it is; name another with --out", path);
    if (file < 0)
        return fail(ret_error, "%s: %s", path, strerror(errno));
    written = write(file, text->data, text->size);
    if (close(file) != 0 || written != (ssize_t)text->size)
        return fail(ret_error, "%s: cannot be written whole: %s", path, strerror(errno));
    return STATUS_OK;
}

/* The input as seen from the folder of the file that is written; malloc'ed. */
static char *input_path(const struct init *init)
{
    char *whole = init->source.input && strchr(init->out, '/') ? realpath(init->source.input, NULL) : NULL;

    return whole ? whole
                 : memory_text(init->source.input ? init->source.input : "",
                               init->source.input ? strlen(init->source.input) : 0);
}

/* `watch` is left in if this program knows it; then the file is as `weir check` wants it. */
static enum status write_checked(const struct init *init, const struct guess *guess, struct error *ret_error)
{
    char *path = input_path(init);
    enum status status = STATUS_FATAL;
    bool made = false;

    for (int watch = 1; watch >= 0 && status != STATUS_OK; watch--) {
        struct plan *plan;
        struct buffer text;

        buffer_init(&text, TEXT_BYTES);
        write_configuration(&init->source, guess, path, watch, &text);
        status = write_file(init->out, &text, made ? O_TRUNC : O_EXCL, ret_error);
        buffer_free(&text);
        if (status != STATUS_OK)
            break;
        made = true;
        status = plan_load(init->out, NULL, 0, &plan, ret_error);
        if (status == STATUS_OK)
            plan_free(plan);
    }
    if (status != STATUS_OK && made)
        unlink(init->out);
    free(path);
    return status;
}

static int print_failure(const char *text)
{
    fprintf(stderr, "weir init: %s\n", text);
    return EXIT_OUTSIDE;
}

static int init_run(struct init *init)
{
    struct buffer tried;
    struct error error;
    int code = EXIT_DONE;

    if (access(init->out, F_OK) == 0) {
        fprintf(stderr, "weir init: %s is there already and stays as it is; name another with --out\n",
                init->out);
        return EXIT_USAGE;
    }
    if (take_sample(init, &error) != STATUS_OK)
        return print_failure(error.text);
    buffer_init(&tried, TEXT_BYTES);
    struct guess *guess = guess_best(&init->sample, &tried);

    if (!guess) {
        fprintf(stderr, "weir init: no format makes rows with a time of these %zu messages:\n%.*s",
                init->sample.count, (int)tried.size, tried.data);
        code = EXIT_OUTSIDE;
    } else {
        print_guess(init, guess);
        if (write_checked(init, guess, &error) != STATUS_OK)
            code = print_failure(error.text);
        else
            printf("\n%s is written. Next:\n  weir check %s --connect\n  weir run %s\n", init->out, init->out,
                   init->out);
    }
    guess_free(guess);
    buffer_free(&tried);
    return code;
}

static int refuse(const char *text)
{
    fprintf(stderr,
            "weir init: %s\nusage: weir init --brokers HOST:PORT --topic NAME [--group NAME] [--librdkafka "
            "key=value]... [--out FILE.yaml]\n       weir init --input FILE [--out FILE.yaml]\n",
            text);
    return EXIT_USAGE;
}

/* NULL, or what is wrong. */
static const char *read_arguments(int argc, char **argv, struct init *init)
{
    struct init_source *source = &init->source;
    const struct {
        const char *name, **value;
    } options[] = {{"--brokers", &source->brokers},
                   {"--topic", &source->topic},
                   {"--group", &source->group},
                   {"--input", &source->input},
                   {"--out", &init->out}};

    for (int i = 1; i < argc; i += 2) {
        size_t k = 0;

        if (i + 1 == argc)
            return "an option needs a value";
        while (k < sizeof options / sizeof *options && strcmp(argv[i], options[k].name) != 0)
            k++;
        if (k < sizeof options / sizeof *options) {
            *options[k].value = argv[i + 1];
        } else if (strcmp(argv[i], "--librdkafka") == 0) {
            if (!strchr(argv[i + 1], '=') || source->property_count == PROPERTIES_MAX)
                return "--librdkafka needs key=value, at most 64 times";
            init->properties[source->property_count++] = argv[i + 1];
        } else {
            return "unknown option";
        }
    }
    if (source->input ? source->brokers || source->topic : !source->brokers || !source->topic)
        return "needs either --brokers and --topic, or --input";
    return NULL;
}

int cli_init(int argc, char **argv)
{
    struct init init = {.out = "weir.yaml", .source = {.group = "weir"}};

    init.source.properties = init.properties;
    const char *wrong = read_arguments(argc, argv, &init);

    if (wrong)
        return refuse(wrong);
    init.sample.messages = memory_new(SAMPLE_MAX * sizeof *init.sample.messages);
    int code = init_run(&init);

    sample_free(&init.sample);
    return code;
}
