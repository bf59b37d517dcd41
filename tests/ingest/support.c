#include "tests/ingest/support.h"

#include "base/memory.h"
#include "tests/base/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

bool rig_try_open(struct rig *rig, const char *format, const char *yaml, uint32_t rows)
{
    const struct format_context context = {.labels = &rig->labels};

    *rig = (struct rig){.type = format_type_find(format)};
    assert_non_null(rig->type);
    rig->settings = memory_new(rig->type->settings_size);
    rig->table = (struct option_table){rig->type->options, rig->type->option_count, rig->settings};
    if (yaml)
        assert_int_equal(config_parse(yaml, "test.yaml", &rig->config, &rig->error), STATUS_OK);
    assert_int_equal(options_read(rig->config ? config_root(rig->config) : NULL, &rig->table, 1, &rig->error),
                     STATUS_OK);
    if (rig->type->open(rig->settings, &context, &rig->format, &rig->error) == STATUS_OK) {
        event_batch_init(&rig->batch, rows, &rig->labels);
        return true;
    }
    rig->format = NULL;
    rig_close(rig);
    return false;
}

void rig_open(struct rig *rig, const char *format, const char *yaml)
{
    if (!rig_try_open(rig, format, yaml, 1024))
        fail_msg("%s", rig->error.text);
}

void rig_close(struct rig *rig)
{
    if (rig->format) {
        rig->type->close(rig->format);
        event_batch_free(&rig->batch);
    }
    options_free(&rig->table, 1);
    free(rig->settings);
    if (rig->config)
        config_free(rig->config);
    for (unsigned i = 0; i < rig->labels.count; i++)
        free(rig->labels.names[i]);
    free(rig->payload);
}

enum status rig_decode(struct rig *rig, const char *payload, size_t size)
{
    struct message message = {.arrival_us = TIME_NONE};

    event_batch_reset(&rig->batch);
    free(rig->payload);
    rig->payload = memory_new(size);
    memcpy(rig->payload, payload, size);
    message.payload = span_make(rig->payload, size);
    rig->reason = NULL;
    enum status status = rig->type->decode(rig->format, &message, &rig->batch, &rig->reason);
    if (status == STATUS_SKIP)
        assert_non_null(rig->reason);
    if (status != STATUS_OK)
        assert_int_equal(rig->batch.rows, 0);
    for (uint32_t i = 0; i < rig->batch.rows; i++) {
        bool bad = rig->batch.mark[i] == MARK_MALFORMED;

        assert_true(bad == (rig->batch.reason[i] != NULL));
        assert_true(rig->batch.mark[i] != MARK_OK || rig->batch.time_us[i] != TIME_NONE);
    }
    return status;
}

enum status rig_decode_text(struct rig *rig, const char *payload)
{
    return rig_decode(rig, payload, strlen(payload));
}

void rig_assert_skipped(struct rig *rig, const char *payload, const char *reason)
{
    assert_int_equal(rig_decode_text(rig, payload), STATUS_SKIP);
    assert_string_equal(rig->reason, reason);
}

void rig_assert_malformed(struct rig *rig, const char *payload, const char *reason)
{
    assert_int_equal(rig_decode_text(rig, payload), STATUS_OK);
    assert_int_equal(rig->batch.rows, 1);
    assert_int_equal(rig->batch.mark[0], MARK_MALFORMED);
    assert_string_equal(rig->batch.reason[0], reason);
}

void assert_span(struct span text, const char *expected)
{
    if (!span_is(text, expected))
        fail_msg("\"%.*s\" is not \"%s\"", (int)text.size, text.size ? text.data : "", expected);
}

int64_t time_of(const char *text)
{
    int64_t time_us = 0;

    assert_true(time_parse(span_of(text), TIME_UNIT_AUTO, TIME_NONE, &time_us));
    return time_us;
}

enum field field_of(const char *name)
{
    int field = field_find(span_of(name));

    assert_true(field >= 0);
    return (enum field)field;
}

struct span text_of(const struct rig *rig, uint32_t row, const char *field)
{
    assert_int_equal(field_rows[field_of(field)].type, FIELD_TEXT);
    assert_true(row < rig->batch.rows);
    return ((struct span *)event_column(&rig->batch, field_of(field)))[row];
}

static char *nested(const char *open, const char *close, size_t depth, size_t *ret_size)
{
    size_t open_size = strlen(open), close_size = strlen(close);
    char *text = memory_new((open_size + close_size) * depth + 1);
    char *at = text;

    for (size_t i = 0; i < depth; i++, at += open_size)
        memcpy(at, open, open_size);
    for (size_t i = 0; i < depth; i++, at += close_size)
        memcpy(at, close, close_size);
    *ret_size = (size_t)(at - text);
    return text;
}

static void check_nesting(struct rig *rig)
{
    static const size_t depths[] = {1, 63, 64, 65, 66, 10000};
    static const char *const pairs[][2] = {{"[", "]"}, {"{\"a\":", "1}"}, {"{\"run\":{\"events\":[", "]}}"}};
    size_t size;

    for (size_t d = 0; d < sizeof depths / sizeof *depths; d++)
        for (size_t p = 0; p < 3; p++) {
            char *text = nested(pairs[p][0], pairs[p][1], depths[d], &size);
            enum status status = rig_decode(rig, text, size);

            if (depths[d] > 64) {
                assert_int_equal(status, STATUS_SKIP);
                assert_string_equal(rig->reason, "nesting deeper than 64");
            }
            free(text);
        }
}

static void check_huge_text(struct rig *rig)
{
    static const char *const beginnings[] = {"{\"x\":\"", "{\"message\":\"\\n", "{\"type\":\"",
                                             "{\"eventType\":\"\\\""};
    const size_t size = 10 * 1000 * 1000;

    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++) {
        char *text = memory_new(size);

        memset(text, 'x', size);
        memcpy(text, beginnings[i], strlen(beginnings[i]));
        assert_int_equal(rig_decode(rig, text, size), STATUS_SKIP);
        assert_non_null(strstr(rig->reason, "invalid JSON at byte 10000000: premature EOF"));
        memcpy(text + size - 2, "\"}", 2);
        assert_int_equal(rig_decode(rig, text, size), STATUS_OK);
        free(text);
    }
}

// clang-format off
/* No JSON, or not one object or array. */
static const char *const refused[] = {
    " ", "\n", "{", "}", "[", "]", "{]", "[}", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,", "{\"a\":1,}",
    "{a:1}", "{'a':1}", "[1,]", "[,1]", "nul", "nulll", "tru", "\"", "\"abc", "\"\\", "\"\\u", "\"\\u12",
    "\"\\ud800\"", "{\"a\":\"\\x\"}", "{\"a\":\"\x01\"}", "{\"a\":\"\x1f\"}", "01", "-", "1.", ".5", "1e",
    "+1", "{\"a\":01}", "{\"a\":-}", "{\"a\":NaN}", "{\"a\":Infinity}", "{} {}", "{}{", "{} \"abc", "{}]",
    "{} x", "[] 1", "{}/* c */", "// c\n{}", "\xef\xbb\xbf{}", "{\"a\":\"\xff\"}", "{\"\xc0\x80\":1}",
    "{\"a\":\"\xed\xa0\x80\"}", "{\"a\":\"\xf5\x80\x80\x80\"}", "{\"a\":\"\xe2\x82", "\xfe\xff", "1e999",
    "null", "true", "123456789012345678901234567890",
};
/* JSON that some format may take and another may not. */
static const char *const odd[] = {
    "{}", "[]", "[{}]", "{\"run\":\"\\ud800\"}", "[[]]", "[1,null,\"a\",{},[{}]]", "{\"\":\"\"}",
    "{\"a\":{\"\":{}}}", "{\"time\":1e999,\"timestamp\":1e999,\"eventTime\":1e999}", "{\"time\":-1e999}",
    "{\"timestamp\":1e-999}",
    "{\"timestamp\":{},\"type\":[],\"uuid\":5,\"run\":5,\"job\":[],\"eventTime\":{}}",
    "{\"type\":\"task-sent\",\"uuid\":\"u\",\"timestamp\":\"0001-01-01T00:00:00Z\",\"retries\":1e300," "\"runtime\":1e308}",
    "{\"type\":\"task-sent\",\"uuid\":\"u\",\"timestamp\":253402300799,\"retries\":-1,\"eta\":[]}",
    "{\"time\":\"0001-01-01T00:00:00Z\",\"attempt\":65536}",
    "{\"time\":\"9999-12-31T23:59:59.999999999Z\"}", "{\"time\":\"10000-01-01T00:00:00Z\"}",
    "{\"time\":1,\"map_index\":99999999999999999999999999999999999}",
    "{\"run\":{\"runId\":\"r\",\"facets\":[]},\"job\":{\"name\":\"j\",\"facets\":7},\"eventTime\":\"9999-" "12-31\"}",
    "{\"run\":{\"runId\":\"r\",\"facets\":{\"parent\":{\"run\":{\"runId\":\"\"},\"job\":{\"name\":\"\"}}}" "},\"job\":{\"name\":\".\"}," "\"eventTime\":\"0001-01-01T00:00:00Z\"}",
    "{\"time\":1,\"message\":\"a\\u0000b\",\"run\":\"\\u0000\"}",
    "{\"time\":1,\"time\":null,\"time\":{},\"time\":2}",
};
// clang-format on

void check_bad_input(struct rig *rig)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        if (rig_decode_text(rig, refused[i]) != STATUS_SKIP)
            fail_msg("taken: %s", refused[i]);
        /* what came before must not show */
        char reason[256];

        snprintf(reason, sizeof reason, "%s", rig->reason);
        assert_int_equal(rig_decode_text(rig, "[]"), STATUS_OK);
        assert_int_equal(rig->batch.rows, 0);
        rig_assert_skipped(rig, refused[i], reason);
    }
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        if (rig_decode_text(rig, odd[i]) == STATUS_RETRY)
            fail_msg("to be tried again: %s", odd[i]);
    assert_int_equal(rig_decode(rig, "{\"a\0b\":\"c\0d\"}", 13), STATUS_SKIP);
    assert_int_equal(rig_decode(rig, "\0", 1), STATUS_SKIP);
    check_nesting(rig);
    check_huge_text(rig);
    assert_int_equal(rig_decode(rig, "", 0), STATUS_OK);
    assert_int_equal(rig->batch.rows, 1);
    assert_int_equal(rig->batch.mark[0], MARK_TOMBSTONE);
}

size_t text_mutate(char *text, size_t size, uint64_t *random)
{
    static const char spice[] = "{}[]\",:\\0123456789.eE+-tfn \n\x80\xff\xc3\x00";
    unsigned changes = 1 + (unsigned)random_below(random, 4);

    for (unsigned i = 0; i < changes && size > 1; i++) {
        size_t at = random_below(random, size);

        switch (random_below(random, 4)) {
        case 0:
            text[at] = (char)random_next(random);
            break;
        case 1:
            text[at] = spice[random_below(random, sizeof spice - 1)];
            break;
        case 2: {
            size_t gap = 1 + random_below(random, 40);

            gap = gap < size - at ? gap : size - at;
            memmove(text + at, text + at + gap, size - at - gap);
            size -= gap;
            break;
        }
        default:
            size = at + 1;
        }
    }
    return size;
}

void check_mutations(struct rig *rig, char *const *lines, size_t count, double seconds)
{
    clock_t end = clock() + (clock_t)(seconds * CLOCKS_PER_SEC);
    uint64_t random = 88172645463325252u;
    size_t kept = 0, tried = 0;

    while (clock() < end) {
        const char *line = lines[random_below(&random, count)];
        size_t size = strlen(line);
        char *copy = memory_text(line, size);

        size = text_mutate(copy, size, &random);
        enum status status = rig_decode(rig, copy, size);
        assert_true(status == STATUS_OK || status == STATUS_SKIP);
        kept += status == STATUS_OK;
        tried++;
        free(copy);
    }
    assert_true(kept > 0 && kept < tried);
}

static void nobody_warns(void *owner, const char *text)
{
    fail_msg("%s", text);
}

struct source_context quiet_context(void)
{
    return (struct source_context){.name = "test", .workers = 1, .once = true, .warn = nobody_warns};
}

static void shared_path(const char *path, char ret_path[512])
{
    const char *shared = getenv("WEIR_SHARED");

    snprintf(ret_path, 512, "%s/%s", shared ? shared : "../shared", path);
}

bool lines_load(const char *path, char ***ret_lines, size_t *ret_count)
{
    const struct source_type *type = source_type_find("file");
    const struct source_context context = quiet_context();
    struct message messages[100];
    char full[512];
    char *settings[3] = {full, NULL, NULL}; /* path, arrivals, follow */
    struct source *source;
    struct error error;
    enum poll_state state = POLL_MORE;
    size_t capacity = 0;

    shared_path(path, full);
    assert_int_equal(type->settings_size, sizeof settings);
    if (type->open(settings, &context, &source, &error))
        return false;
    type->advance(source, 0);
    *ret_lines = NULL;
    *ret_count = 0;
    while (state != POLL_DONE) {
        size_t got = type->poll(source, 0, messages, 100, &state);

        *ret_lines = memory_reserve(*ret_lines, &capacity, *ret_count + got + 1, sizeof **ret_lines);
        for (size_t i = 0; i < got; i++)
            (*ret_lines)[(*ret_count)++] = memory_text(messages[i].payload.data, messages[i].payload.size);
        type->release(source, 0, messages, got);
    }
    type->close(source);
    return true;
}

void lines_free(char **lines, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(lines[i]);
    free(lines);
}

char *file_load(const char *path)
{
    char full[512];

    shared_path(path, full);
    FILE *file = fopen(full, "rb");
    if (!file)
        return NULL;
    char *text = memory_new(1 << 20);
    size_t size = fread(text, 1, (1 << 20) - 1, file);
    fclose(file);
    text[size] = '\0';
    return text;
}
