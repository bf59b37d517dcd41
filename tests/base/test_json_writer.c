/* JSON out: texts against a naive encoder that goes byte by byte, numbers against strtod, commas by
 * example. */
#include "base/json_writer.h"
#include "base/timestamp.h"
#include "tests/base/random.h"

#include <ctype.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { OUT_MAX = 1 << 20 };

static void assert_wrote(const struct buffer *out, const char *expected)
{
    assert_false(out->full);
    assert_int_equal(out->size, strlen(expected));
    assert_memory_equal(out->data, expected, out->size);
}

static void keeps_commas(void **state)
{
    struct json_writer json;
    struct buffer out;

    buffer_init(&out, OUT_MAX);
    json_begin(&json, &out);
    json_open(&json, NULL);
    json_integer(&json, "least", INT64_MIN);
    json_unsigned(&json, "most", UINT64_MAX);
    json_open(&json, "empty");
    json_close(&json);
    json_open_list(&json, "list");
    json_bool(&json, NULL, true);
    json_bool(&json, NULL, false);
    json_open(&json, NULL);
    json_number(&json, "half", 0.5);
    json_close(&json);
    json_open_list(&json, NULL);
    json_close_list(&json);
    json_close_list(&json);
    json_key(&json, SPAN_LITERAL("a \"free\" key"));
    json_text(&json, NULL, SPAN_LITERAL("value"));
    json_key(&json, SPAN_LITERAL("map"));
    json_open(&json, NULL);
    json_raw(&json, "raw", SPAN_LITERAL("[1,2]"));
    json_close(&json);
    json_time(&json, "at", -1);
    json_id(&json, "id", (struct id128){.high = 0x0123456789abcdef, .low = 1});
    json_close(&json);
    assert_wrote(&out, "{\"least\":-9223372036854775808,\"most\":18446744073709551615,\"empty\":{},"
                       "\"list\":[true,false,{\"half\":0.5},[]],\"a \\\"free\\\" key\":\"value\","
                       "\"map\":{\"raw\":[1,2]},\"at\":\"1969-12-31T23:59:59.999Z\","
                       "\"id\":\"0123456789abcdef0000000000000001\"}");
    buffer_free(&out);
}

static void leaves_absent_values_out(void **state)
{
    struct json_writer json;
    struct buffer out;

    buffer_init(&out, OUT_MAX);
    json_begin(&json, &out);
    json_open(&json, NULL);
    json_text_if(&json, "a", (struct span){0});
    json_number_if(&json, "b", NAN);
    json_number_if(&json, "c", -INFINITY);
    json_time_if(&json, "d", TIME_NONE);
    json_number_if(&json, "e", 0);
    json_text_if(&json, "f", SPAN_LITERAL("x"));
    json_time_if(&json, "g", 0);
    json_close(&json);
    assert_wrote(&out, "{\"e\":0,\"f\":\"x\",\"g\":\"1970-01-01T00:00:00.000Z\"}");
    buffer_free(&out);
}

/* JSON's number grammar (RFC 8259, section 6). */
static bool is_json_number(const char *at)
{
    at += *at == '-';
    if (!isdigit((unsigned char)*at) || (at[0] == '0' && isdigit((unsigned char)at[1])))
        return false;
    at += strspn(at, "0123456789");
    if (*at == '.') {
        size_t digits = strspn(++at, "0123456789");

        if (digits == 0)
            return false;
        at += digits;
    }
    if (*at == 'e' || *at == 'E') {
        at += 1 + (at[1] == '-' || at[1] == '+');
        size_t digits = strspn(at, "0123456789");
        if (digits == 0)
            return false;
        at += digits;
    }
    return *at == '\0';
}

/* Digits from the first to the last that is not zero. */
static int significant_digits(const char *text)
{
    int digits = 0, kept = 0;

    for (; *text && *text != 'e'; text++) {
        if (!isdigit((unsigned char)*text) || (digits == 0 && *text == '0'))
            continue;
        digits++;
        if (*text != '0')
            kept = digits;
    }
    return kept;
}

static void assert_number(double value, const char *expected)
{
    struct buffer out;

    buffer_init(&out, 64);
    json_put_number(&out, value);
    buffer_put_char(&out, '\0');
    if (!is_json_number(out.data) || strtod(out.data, NULL) != value ||
        (expected && strcmp(out.data, expected)))
        fail_msg("%.17g was written as %s", value, out.data);
    for (int digits = 1; !expected && digits < significant_digits(out.data); digits++) {
        char shorter[40];

        snprintf(shorter, sizeof shorter, "%.*e", digits - 1, value);
        if (strtod(shorter, NULL) == value)
            fail_msg("%s was written as %s", shorter, out.data);
    }
    buffer_free(&out);
}

static void numbers_read_back_equal(void **state)
{
    uint64_t random = 1;

    for (int i = 0; i < 20000; i++) {
        uint64_t bits = random_next(&random);
        double value;

        memcpy(&value, &bits, sizeof value);
        if (isfinite(value) && isnormal(value))
            assert_number(value, NULL);
        double decimals = pow(10, (double)random_below(&random, 9));
        assert_number((double)(int64_t)random_below(&random, 10000000000) / decimals, NULL);
        assert_number(-(double)(int64_t)random_below(&random, 10000000) / decimals, NULL);
        assert_number((double)(int64_t)random_next(&random), NULL);
    }
    assert_number(4.9406564584124654e-324, "4.94065645841247e-324"); /* 5e-324 would do */
}

/* Printed in the three forms there are, by printf alone. */
static void naive_number(double value, char text[64])
{
    snprintf(text, 64, "%.0f", value);
    if (fabs(value) < 1e15 && strtod(text, NULL) == value) {
        memmove(text, text + (value == 0 && text[0] == '-'), strlen(text));
        return;
    }
    snprintf(text, 64, "%.6f", value);
    if (fabs(value) < 1e9 && strtod(text, NULL) == value) {
        for (char *end = text + strlen(text) - 1; *end == '0'; end--)
            *end = '\0';
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, 64, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            return;
    }
}

static void assert_naive(double value)
{
    char expected[64];

    naive_number(value, expected);
    assert_number(value, expected);
}

static void numbers_agree_with_printf(void **state)
{
    uint64_t random = 3;

    for (int i = 0; i < 100000; i++) {
        uint64_t bits = random_next(&random);
        double value, decimals = pow(10, (double)random_below(&random, 10));

        memcpy(&value, &bits, sizeof value);
        if (isfinite(value))
            assert_naive(value);
        assert_naive((double)(int64_t)(random_next(&random) >> (1 + random_below(&random, 63))) / decimals);
        assert_naive(-(double)(int64_t)(random_next(&random) >> (1 + random_below(&random, 63))) / decimals);
    }
    for (double limit = 1; limit < 1e18; limit *= 10) {
        assert_naive(limit - 1);
        assert_naive(limit);
        assert_naive(-limit - 0.000001);
        assert_naive(nextafter(limit, 0));
    }
}

static void numbers_have_their_usual_form(void **state)
{
    assert_number(0, "0");
    assert_number(-0.0, "0");
    assert_number(1, "1");
    assert_number(-17, "-17");
    assert_number(0.1, "0.1");
    assert_number(-0.25, "-0.25");
    assert_number(0.000001, "0.000001");
    assert_number(1.5e-7, "1.5e-07");
    assert_number(123456789.123456, "123456789.123456");
    assert_number(1732291088.958993, "1732291088.958993");
    assert_number(0.1 + 0.2, "0.30000000000000004");
    assert_number(1.0 / 3, "0.3333333333333333");
    assert_number(999999999999999, "999999999999999");
    assert_number(1e15, "1e+15");
    assert_number(0x1p53, "9007199254740992");
    assert_number(1e300, "1e+300");
    assert_number(1.7976931348623157e308, "1.7976931348623157e+308");
}

/* The code point at the front, or -1 when its first byte begins none: by definition, not by ranges. */
static int64_t naive_decode(const unsigned char *at, size_t size, size_t *ret_length)
{
    size_t length = at[0] < 0x80 ? 1 : at[0] >= 0xF0 ? 4 : at[0] >= 0xE0 ? 3 : 2;
    static const int64_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    int64_t point = length == 1 ? at[0] : at[0] & (0x7F >> length);

    if ((at[0] >= 0x80 && at[0] < 0xC0) || at[0] >= 0xF8 || size < length)
        return -1;
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xC0) != 0x80)
            return -1;
        point = point << 6 | (at[i] & 0x3F);
    }
    *ret_length = length;
    bool surrogate = point >= 0xD800 && point <= 0xDFFF;
    return point < least[length] || point > 0x10FFFF || surrogate ? -1 : point;
}

static void naive_text(struct buffer *out, const unsigned char *at, size_t size)
{
    static const char *const escapes[] = {"\"\\\"", "\\\\\\", "\b\\b", "\f\\f", "\n\\n", "\r\\r", "\t\\t"};
    size_t length;

    buffer_put_char(out, '"');
    for (size_t i = 0; i < size; i += length) {
        const char *escape = NULL;

        if (naive_decode(at + i, size - i, &length) < 0) {
            buffer_put_text(out, "\xEF\xBF\xBD");
            length = 1;
            continue;
        }
        for (size_t e = 0; e < sizeof escapes / sizeof escapes[0]; e++)
            if (escapes[e][0] == (char)at[i])
                escape = escapes[e] + 1;
        if (escape)
            buffer_put_text(out, escape);
        else if (at[i] < 0x20)
            buffer_print(out, "\\u%04x", at[i]);
        else
            buffer_put(out, at + i, length);
    }
    buffer_put_char(out, '"');
}

static void assert_text(const unsigned char *bytes, size_t size)
{
    struct buffer out, expected;
    unsigned char *exact = malloc(size ? size : 1); /* so that the address sanitizer sees a byte too many */

    memcpy(exact, bytes, size);
    buffer_init(&out, OUT_MAX);
    buffer_init(&expected, OUT_MAX);
    json_put_text(&out, span_make((const char *)exact, size));
    naive_text(&expected, exact, size);
    assert_int_equal(out.size, expected.size);
    assert_memory_equal(out.data, expected.data, out.size);
    buffer_free(&out);
    buffer_free(&expected);
    free(exact);
}

static void texts_agree_with_a_naive_encoder(void **state)
{
    static const unsigned char edges[] = {0x00, 0x1F, 0x20, '"',  '\\', 0x7F, 0x80, 0x8F,
                                          0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF,
                                          0xE0, 0xED, 0xEF, 0xF0, 0xF4, 0xF5, 0xFF, '\n'};
    uint64_t random = 2;
    unsigned char bytes[64];

    for (unsigned first = 0; first < 256; first++) {
        for (unsigned second = 0; second < 256; second++) {
            memcpy(bytes, (unsigned char[]){(unsigned char)first, (unsigned char)second, 0x80, 0xBF, 'x'}, 5);
            for (size_t size = 1; size <= 5; size += second % 5 == 0 ? 1u : 3u)
                assert_text(bytes, size);
        }
    }
    for (int i = 0; i < 20000; i++) {
        size_t size = random_below(&random, sizeof bytes + 1);
        unsigned dirt = (unsigned)random_below(&random, 10);

        for (size_t at = 0; at < size; at++)
            bytes[at] = random_below(&random, 10) < dirt ? edges[random_below(&random, sizeof edges)]
                                                         : (unsigned char)('a' + random_below(&random, 26));
        assert_text(bytes, size);
    }
}

static void a_full_buffer_drops_the_rest(void **state)
{
    struct json_writer json;
    struct buffer out;

    buffer_init(&out, 12);
    json_begin(&json, &out);
    json_open(&json, NULL);
    json_text(&json, "long", SPAN_LITERAL("does not fit"));
    json_integer(&json, "a", 1);
    json_close(&json);
    assert_true(out.full);
    assert_true(out.size <= 12);
    buffer_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_commas),
        cmocka_unit_test(leaves_absent_values_out),
        cmocka_unit_test(numbers_read_back_equal),
        cmocka_unit_test(numbers_agree_with_printf),
        cmocka_unit_test(numbers_have_their_usual_form),
        cmocka_unit_test(texts_agree_with_a_naive_encoder),
        cmocka_unit_test(a_full_buffer_drops_the_rest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
