#include "tests/ingest/json_support.h"

#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>

void json_recording(const char *format, const char *path, size_t count, recording_row *row, void *owner)
{
    struct rig rig;
    char **lines;
    size_t found;

    if (!lines_load(path, &lines, &found))
        skip();
    assert_int_equal(found, count);
    rig_open(&rig, format, NULL);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(rig_decode_text(&rig, lines[i]), STATUS_OK);
        for (uint32_t r = 0; r < rig.batch.rows; r++)
            row(owner, &rig.batch, r);
    }
    rig_close(&rig);
    lines_free(lines, found);
}

/* From behind a colon to the end of the value there. */
static size_t value_end(const char *text, size_t at)
{
    unsigned depth = 0;
    bool quoted = false;

    for (;; at++) {
        char c = text[at];

        assert_true(c != '\0');
        if (quoted) {
            at += c == '\\';
            quoted = c != '"';
            continue;
        }
        if (depth == 0 && (c == ',' || c == '}' || c == ']'))
            return at;
        quoted = c == '"';
        depth += c == '{' || c == '[';
        depth -= c == '}' || c == ']';
    }
}

static void check_wrong_types(struct rig *rig, const char *good)
{
    static const char *const values[] = {
        "null",
        "true",
        "0",
        "-1",
        "1e999",
        "123456789012345678901234567890",
        "0.5",
        "\"\"",
        "\"x\"",
        "\"-1\"",
        "{}",
        "[]",
        "[[]]",
        "[1,\"a\",null,{}]",
        "{\"a\":{\"id\":1}}",
        "\"\\u0000\\ud83d\\ude00\"",
    };
    size_t size = strlen(good);
    char *changed = memory_new(size + 64);
    bool quoted = false;

    for (size_t at = 0; at < size; at++) {
        bool escape = quoted && good[at] == '\\';

        at += escape;
        if (!escape && good[at] == '"')
            quoted = !quoted;
        if (quoted || good[at] != ':')
            continue;
        size_t end = value_end(good, at + 1);
        for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
            snprintf(changed, size + 64, "%.*s%s%s", (int)at + 1, good, values[v], good + end);
            if (rig_decode_text(rig, changed) == STATUS_RETRY)
                fail_msg("to be tried again: %s", changed);
        }
        for (size_t cut = at + 1; cut <= end; cut += 3)
            assert_int_equal(rig_decode(rig, good, cut), STATUS_SKIP);
    }
    free(changed);
}

static void check_envelopes(struct rig *rig, const char *good)
{
    static const char avro[] = "\0\0\1\2\3\x02\x06oh", container[] = "Obj\x01\x04\x16",
                      protobuf[] = "\n\x12\x0a\x01\x08\x96\x01";
    size_t size = strlen(good) + 6;
    char *framed = memory_new(size);

    assert_int_equal(rig_decode_text(rig, good), STATUS_OK);
    uint32_t rows = rig->batch.rows;
    int64_t time_us = rig->batch.time_us[0];
    memcpy(framed, "\0\0\0\0\x07 ", 6);
    memcpy(framed + 6, good, size - 6);
    assert_int_equal(rig_decode(rig, framed, size), STATUS_OK);
    assert_int_equal(rig->batch.rows, rows);
    assert_true(rig->batch.mark[0] == MARK_OK && rig->batch.time_us[0] == time_us);
    free(framed);

    assert_int_equal(rig_decode(rig, avro, sizeof avro - 1), STATUS_SKIP);
    assert_non_null(strstr(rig->reason, "Avro of schema id 66051,"));
    assert_int_equal(rig_decode(rig, container, sizeof container - 1), STATUS_SKIP);
    assert_string_equal(rig->reason, "an Avro container file, not JSON");
    assert_int_equal(rig_decode(rig, protobuf, sizeof protobuf - 1), STATUS_SKIP);
    assert_string_equal(rig->reason, "binary data (as Protobuf is), not JSON");
    rig_assert_skipped(rig, "{\"resourceLogs\":[{\"scopeLogs\":[]}]}",
                       "looks like an OTLP logs message; no format reads it yet");
}

void check_json_format(const char *format, const char *good)
{
    char *lines[] = {memory_text(good, strlen(good))};
    struct rig rig;

    rig_open(&rig, format, NULL);
    assert_int_equal(rig_decode_text(&rig, good), STATUS_OK);
    assert_true(rig.batch.rows > 0 && rig.batch.mark[0] == MARK_OK);
    check_bad_input(&rig);
    check_wrong_types(&rig, good);
    check_envelopes(&rig, good);
    check_mutations(&rig, lines, 1, 0.5);
    rig_close(&rig);
    free(lines[0]);
}
