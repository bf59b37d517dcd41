/* Records of several messages: any cutting into polls gives the same, and what is read again after a restart
 * gives those that were given before, also where the clock has ended one. */
#include "pipeline/records.h"

#include "base/memory.h"
#include "tests/base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MESSAGES = 60, ROUNDS = 3000, TEXT = 8 };

static bool continues(struct format *format, struct span before, struct span line)
{
    return line.data[0] != 'B';
}

static const struct format_type joining = {.name = "test", .continues = continues};

struct given {
    int64_t offset, next_offset;
    char *text;
};

struct list {
    struct given *items;
    size_t count, capacity;
};

/* One reader of the partition, from its first message not yet polled on. */
struct reader {
    struct records records;
    struct held_record held;
    struct list list;
    const struct message *messages;
    size_t next, count;
};

static void reader_close(struct reader *reader)
{
    for (size_t i = 0; i < reader->list.count; i++)
        free(reader->list.items[i].text);
    free(reader->list.items);
    records_free(&reader->records);
    held_record_free(&reader->held);
}

static void poll_some(struct reader *reader, size_t limit, bool all)
{
    size_t left = reader->count - reader->next, count = limit < left ? limit : left;
    struct list *list = &reader->list;

    records_take(&reader->records, &reader->held, NULL, &joining, reader->messages + reader->next, count,
                 all);
    reader->next += count;
    for (size_t i = 0; i < reader->records.count; i++) {
        const struct message *message = &reader->records.messages[i];
        bool is_last = i + 1 == reader->records.count;

        list->items = memory_reserve(list->items, &list->capacity, list->count + 1, sizeof *list->items);
        list->items[list->count++] =
            (struct given){.offset = message->offset,
                           .next_offset = is_last ? reader->records.next_offset : 0,
                           .text = memory_text(message->payload.data, message->payload.size)};
    }
}

static void messages_make(struct message *messages, char (*texts)[TEXT], uint64_t *random)
{
    int64_t offset = 5;

    for (size_t i = 0; i < MESSAGES; i++) {
        snprintf(texts[i], TEXT, "%c%zu", random_below(random, 3) ? 'c' : 'B', i);
        messages[i] =
            (struct message){.payload = span_of(texts[i]), .offset = offset, .arrival_us = offset * 10};
        offset += 1 + (int64_t)(random_below(random, 4) == 0); /* holes, as transactions leave them */
    }
}

static void assert_same(const struct list *expected, size_t first, const struct list *found)
{
    assert_int_equal(found->count, expected->count - first);
    for (size_t i = 0; i < found->count; i++) {
        assert_int_equal(found->items[i].offset, expected->items[first + i].offset);
        assert_string_equal(found->items[i].text, expected->items[first + i].text);
    }
}

static void any_cutting_gives_the_same(void **state)
{
    uint64_t random = 1;

    for (unsigned round = 0; round < ROUNDS; round++) {
        char texts[MESSAGES][TEXT];
        struct message messages[MESSAGES];
        struct reader one = {.messages = messages, .count = MESSAGES}, other = one;

        messages_make(messages, texts, &random);
        poll_some(&one, MESSAGES, true);
        while (other.next < other.count)
            poll_some(&other, 1 + random_below(&random, 5), false);
        poll_some(&other, 0, true);
        assert_same(&one.list, 0, &other.list);
        assert_int_equal(other.held.lines, 0);
        reader_close(&one);
        reader_close(&other);
    }
}

/* The first reader is killed after some records; the second one reads again from one of them. */
static void read_again(struct reader *first, uint64_t *random)
{
    struct reader second = {.messages = first->messages, .count = first->count};
    size_t low = random_below(random, first->list.count);
    int64_t low_offset = first->list.items[low].offset, until = first->records.next_offset;

    held_record_forget(&first->held, low_offset);
    for (size_t i = 0; i < first->held.end_count; i++)
        held_record_end(&second.held, first->held.ends[i]);
    held_record_end(&second.held, until);
    while (second.messages[second.next].offset < low_offset)
        second.next++;
    while (second.next < second.count)
        poll_some(&second, 1 + random_below(random, 5), false);
    poll_some(&second, 0, true);

    while (first->next < first->count)
        poll_some(first, 1 + random_below(random, 5), false);
    poll_some(first, 0, true);
    assert_same(&first->list, low, &second.list);
    reader_close(&second);
}

static void a_restart_gives_the_same_again(void **state)
{
    uint64_t random = 2;
    unsigned ended = 0;

    for (unsigned round = 0; round < ROUNDS; round++) {
        char texts[MESSAGES][TEXT];
        struct message messages[MESSAGES];
        struct reader first = {.messages = messages, .count = MESSAGES};
        size_t stop = 5 + random_below(&random, MESSAGES - 5), polls = 0;

        messages_make(messages, texts, &random);
        while (first.next < stop || first.list.count == 0 || first.records.count == 0) {
            bool by_clock = random_below(&random, 4) == 0;

            poll_some(&first, by_clock ? 0 : 1 + random_below(&random, 5), by_clock);
            if (by_clock && first.records.count > 0) {
                held_record_end(&first.held, first.records.next_offset);
                ended++;
            }
            assert_true(polls++ < 10 * MESSAGES);
        }
        read_again(&first, &random);
        reader_close(&first);
    }
    assert_true(ended > ROUNDS);
}

static void a_record_has_limits(void **state)
{
    static char line[RECORD_BYTES_MAX / 4];
    struct message messages[2 * RECORD_LINES_MAX];
    struct reader reader = {.messages = messages, .count = 2 * RECORD_LINES_MAX};

    memset(line, 'c', sizeof line);
    for (size_t i = 0; i < reader.count; i++)
        messages[i] = (struct message){.payload = span_make(line, 3), .offset = (int64_t)i};
    poll_some(&reader, reader.count, true);
    assert_int_equal(reader.list.count, 2);
    assert_int_equal(reader.list.items[1].offset, RECORD_LINES_MAX);
    reader_close(&reader);

    reader = (struct reader){.messages = messages, .count = 8};
    for (size_t i = 0; i < reader.count; i++)
        messages[i].payload = span_make(line, sizeof line);
    poll_some(&reader, 1, false);
    poll_some(&reader, 7, true);
    assert_int_equal(reader.list.count, 3); /* the newlines count */
    for (size_t i = 0; i < 3; i++)
        assert_true(strlen(reader.list.items[i].text) <= RECORD_BYTES_MAX);
    reader_close(&reader);
}

/* The first line gives offset and arrival; an empty message stands alone. */
static void the_first_message_tells_offset_and_arrival(void **state)
{
    const struct message messages[] = {{SPAN_LITERAL("B1"), 10, 100, NULL},
                                       {SPAN_LITERAL("c2"), 12, 120, NULL},
                                       {SPAN_LITERAL(""), 13, 130, NULL},
                                       {SPAN_LITERAL("c4"), 14, 140, NULL}};
    struct reader reader = {.messages = messages, .count = 4};

    poll_some(&reader, 3, false);
    assert_int_equal(reader.records.count, 1);
    assert_int_equal(reader.records.messages[0].offset, 10);
    assert_int_equal(reader.records.messages[0].arrival_us, 100);
    assert_int_equal(reader.records.next_offset, 13);
    assert_string_equal(reader.list.items[0].text, "B1\nc2");
    poll_some(&reader, 1, true);
    assert_int_equal(reader.list.count, 3);
    assert_string_equal(reader.list.items[1].text, "");
    assert_string_equal(reader.list.items[2].text, "c4");
    assert_int_equal(reader.records.next_offset, 15);
    reader_close(&reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_cutting_gives_the_same),
        cmocka_unit_test(a_restart_gives_the_same_again),
        cmocka_unit_test(a_record_has_limits),
        cmocka_unit_test(the_first_message_tells_offset_and_arrival),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
