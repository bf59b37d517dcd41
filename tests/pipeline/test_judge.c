/* Which conditions the judge sends for rows. That the index changes nothing is the matter of
 * tests/rules/test_cel_index.c. */
#include "pipeline/judge.h"
#include "tests/pipeline/support.h"

#include <stdio.h>

static const char plan_text[] =
    "name: p\nhttp: {listen: \"\"}\nsources:\n- {name: s, type: file, path: x, format: fields}\n"
    "formats:\n- {name: fields, type: fields, map: {time: t}}\n"
    "rules:\n"
    "- {name: keyed, on: run, when: 'workflow == \"a\" && state == \"failed\"', by: [workflow]}\n"
    "- {name: keyless, on: run, when: 'workflow == \"a\" && state == \"failed\"'}\n"
    "- {name: event, on: event, when: 'workflow == \"a\" && state == \"failed\"', by: [workflow]}\n"
    "- {name: late, on: event, when: 'duration_ms > 5', by: [workflow]}\n";

static void add_row(struct event_batch *batch, const char *workflow, enum run_state state)
{
    uint32_t row = event_batch_add(batch);

    batch->workflow[row] = span_of(workflow);
    batch->state[row] = (uint8_t)state;
    batch->duration_ms[row] = 10;
    batch->time_us[row] = 1000 * (int64_t)row;
    batch->watermark_us[row] = INT64_MIN;
}

/* The conditions sent, as "policy+row" for true and "policy-row" for false. */
static void take_conditions(struct exchange_port *port, char *ret_text, size_t size)
{
    struct block *block;
    size_t used = 0;

    ret_text[0] = '\0';
    exchange_flush(port);
    while ((block = exchange_receive(port))) {
        for (uint32_t at = 0; at < block->used;) {
            const struct condition_record *record = (struct condition_record *)(block->bytes + at);

            assert_int_equal(record->head.type, RECORD_CONDITION);
            used += (size_t)snprintf(ret_text + used, size - used, "%u%c%lld ", record->condition.policy,
                                     record->condition.outcome == CONDITION_TRUE ? '+' : '-',
                                     (long long)record->condition.at_us / 1000);
            at += record->head.size;
        }
        block_release(block);
    }
}

/* The end of a run is told to each rule whose alert it may end: none can be open for a key that the rule's
 * own constants rule out. Rules come in their order, then rows. */
static void rules_speak_in_order_where_they_can_be_open(void **state)
{
    struct plan *plan = plan_of(plan_text);
    struct exchange *exchange = exchange_new(1);
    struct exchange_port *port = exchange_port(exchange, 0);
    struct judge *judge = judge_new(plan, port);
    struct event_batch batch;
    char text[256];

    event_batch_init(&batch, 16, &plan->labels);
    add_row(&batch, "b", STATE_SUCCESS);
    add_row(&batch, "a", STATE_FAILED);
    add_row(&batch, "a", STATE_RUNNING);
    add_row(&batch, "a", STATE_SUCCESS);
    batch.duration_ms[2] = 5;
    judge_rows(judge, RULE_RUN, &batch);
    take_conditions(port, text, sizeof text);
    assert_string_equal(text, "0+1 0-3 1-0 1+1 1-3 ");
    judge_rows(judge, RULE_EVENT, &batch);
    take_conditions(port, text, sizeof text);
    assert_string_equal(text, "2+1 3+0 3+1 3+3 ");
    assert_int_equal(judge_errors(judge), 0);
    event_batch_free(&batch);
    judge_free(judge);
    exchange_free(exchange);
    plan_free(plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_speak_in_order_where_they_can_be_open),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
