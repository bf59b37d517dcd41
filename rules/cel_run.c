/* Evaluates the checked tree for one row. Hot where no column kernel fits: once a row, then. Walks the tree
 * rather than flat code: nearly all rules run as column kernels, and what is left is dominated by its
 * functions. && and || absorb errors of the other side, as CEL has it, and so do the quantifiers. A cost
 * bounds what macros within macros can do. */
#include "rules/cel_internal.h"

#include <assert.h>
#include <stdio.h>

static const struct expr *expr_at(const struct frame *frame, uint16_t index)
{
    assert(index > 0 && index < frame->program->expr_count);
    return &frame->program->exprs[index];
}

static struct cel_value not_bool(struct frame *frame, const struct cel_value *value)
{
    if (value->type == CEL_ERROR)
        return *value;
    return cel_error(frame->arena, "a bool is needed here, not %s", cel_type_names[value->type]);
}

/* && and ||: the deciding side wins over an error of the other. */
static struct cel_value run_logic(struct frame *frame, const struct expr *expr)
{
    bool deciding = expr->kind == EXPR_OR;
    struct cel_value left = cel_evaluate(frame, expr->first), right;

    if (left.type == CEL_BOOL && left.boolean == deciding)
        return left;
    right = cel_evaluate(frame, expr_at(frame, expr->first)->next);
    if (right.type == CEL_BOOL && right.boolean == deciding)
        return right;
    if (left.type != CEL_BOOL)
        return not_bool(frame, &left);
    return right.type == CEL_BOOL ? right : not_bool(frame, &right);
}

static struct cel_value run_conditional(struct frame *frame, const struct expr *expr)
{
    struct cel_value condition = cel_evaluate(frame, expr->first);
    uint16_t yes = expr_at(frame, expr->first)->next;

    if (condition.type != CEL_BOOL)
        return not_bool(frame, &condition);
    return cel_evaluate(frame, condition.boolean ? yes : expr_at(frame, yes)->next);
}

static struct cel_value no_overload(struct frame *frame, const struct expr *expr, const enum cel_type *types)
{
    char list[160] = "";
    size_t size = 0;

    for (unsigned i = 0; i < expr->count && size < sizeof list; i++)
        size += (size_t)snprintf(list + size, sizeof list - size, "%s%s", i ? ", " : "",
                                 cel_type_names[types[i]]);
    return cel_error(frame->arena, "no '%.*s' for %s", expr->name.size < 64 ? (int)expr->name.size : 64,
                     expr->name.data, list);
}

static uint64_t cost_of(const struct cel_value *value)
{
    switch (value->type) {
    case CEL_STRING:
    case CEL_BYTES:
        return value->text.size / 256;
    case CEL_LIST:
    case CEL_MAP:
        return value->list->weight / 8;
    default:
        return 0;
    }
}

static struct cel_value run_call(struct frame *frame, const struct expr *expr)
{
    struct cel_value arguments[CEL_ARGUMENTS_MAX];
    enum cel_type types[CEL_ARGUMENTS_MAX];
    uint16_t child = expr->first;

    assert(expr->count <= CEL_ARGUMENTS_MAX);
    for (unsigned i = 0; i < expr->count; i++) {
        arguments[i] = cel_evaluate(frame, child);
        if (arguments[i].type == CEL_ERROR)
            return arguments[i];
        types[i] = arguments[i].type;
        frame->cost += cost_of(&arguments[i]);
        child = expr_at(frame, child)->next;
    }
    if (++frame->cost > CEL_COST_MAX)
        return cel_error(frame->arena, "the evaluation takes too long");
    for (unsigned i = 0; i < expr->function_count; i++) {
        if (cel_function_takes(&expr->functions[i], expr->count, types))
            return expr->functions[i].call(&(struct cel_call){.arguments = arguments,
                                                              .count = expr->count,
                                                              .arena = frame->arena,
                                                              .program = frame->program,
                                                              .prepared = expr->prepared});
    }
    return no_overload(frame, expr, types);
}

static struct cel_value run_list(struct frame *frame, const struct expr *expr)
{
    struct cel_list *list = cel_list_new(frame->arena, expr->count);
    uint16_t child = expr->first;

    for (uint32_t i = 0; list && i < expr->count; i++, child = expr_at(frame, child)->next) {
        list->items[i] = cel_evaluate(frame, child);
        if (list->items[i].type == CEL_ERROR)
            return list->items[i];
    }
    return cel_list_done(CEL_LIST, list);
}

static bool is_key(enum cel_type type)
{
    return type == CEL_BOOL || type == CEL_INT || type == CEL_UINT || type == CEL_STRING;
}

static struct cel_value run_map(struct frame *frame, const struct expr *expr)
{
    struct cel_list *map = cel_list_new(frame->arena, expr->count);
    uint16_t child = expr->first;

    for (uint32_t i = 0; map && i < expr->count; i++, child = expr_at(frame, child)->next) {
        map->items[i] = cel_evaluate(frame, child);
        if (map->items[i].type == CEL_ERROR)
            return map->items[i];
        if (i % 2 == 0 && !is_key(map->items[i].type))
            return cel_error(frame->arena, "a map's key cannot be %s", cel_type_names[map->items[i].type]);
        for (uint32_t j = 0; i % 2 == 0 && j < i; j += 2) {
            if (map->items[j].type == map->items[i].type && cel_equal(&map->items[j], &map->items[i]))
                return cel_error(frame->arena, "a map's key is written twice");
        }
    }
    return cel_list_done(CEL_MAP, map);
}

static struct cel_value run_select(struct frame *frame, const struct expr *expr)
{
    struct cel_value operand = cel_evaluate(frame, expr->first), key = cel_string(expr->name);
    const struct cel_value *found;

    if (operand.type == CEL_ERROR)
        return operand;
    if (operand.type != CEL_MAP)
        return cel_error(frame->arena, "%s has no fields", cel_type_names[operand.type]);
    found = cel_map_find(operand.list, &key);
    if (expr->kind == EXPR_HAS)
        return cel_bool(found != NULL);
    return found ? *found
                 : cel_error(frame->arena, "no such field '%.*s'",
                             expr->name.size < 64 ? (int)expr->name.size : 64, expr->name.data);
}

/* all, exists, exists_one. Keys of a map, as the language has it. */
static struct cel_value run_quantifier(struct frame *frame, const struct expr *expr,
                                       const struct cel_value *range)
{
    uint16_t body = expr_at(frame, expr->first)->next;
    struct cel_value trouble = {.type = CEL_NULL};
    uint32_t found = 0;

    for (uint32_t i = 0; i < range->list->count; i += range->type == CEL_MAP ? 2 : 1) {
        if (++frame->cost > CEL_COST_MAX)
            return cel_error(frame->arena, "the evaluation takes too long");
        frame->locals[expr->slot] = range->list->items[i];
        struct cel_value value = cel_evaluate(frame, body);
        if (value.type != CEL_BOOL) {
            trouble = not_bool(frame, &value);
            if (expr->macro == MACRO_EXISTS_ONE)
                return trouble;
        } else if (expr->macro == MACRO_EXISTS_ONE) {
            found += value.boolean;
        } else if (value.boolean == (expr->macro == MACRO_EXISTS)) {
            return value;
        }
    }
    if (trouble.type == CEL_ERROR)
        return trouble;
    return cel_bool(expr->macro == MACRO_EXISTS_ONE ? found == 1 : expr->macro == MACRO_ALL);
}

/* filter(x, condition), map(x, value), map(x, condition, value) */
static struct cel_value run_collector(struct frame *frame, const struct expr *expr,
                                      const struct cel_value *range)
{
    struct cel_list *list = cel_list_new(frame->arena, range->list->count);
    uint16_t condition = expr_at(frame, expr->first)->next, body = 0;
    uint32_t count = 0;

    if (expr->macro == MACRO_MAP) {
        body = expr->count == 3 ? expr_at(frame, condition)->next : condition;
        condition = expr->count == 3 ? condition : 0;
    }
    for (uint32_t i = 0; list && i < range->list->count; i += range->type == CEL_MAP ? 2 : 1) {
        struct cel_value value = range->list->items[i], chosen = cel_bool(true);

        if (++frame->cost > CEL_COST_MAX)
            return cel_error(frame->arena, "the evaluation takes too long");
        frame->locals[expr->slot] = value;
        if (condition)
            chosen = cel_evaluate(frame, condition);
        if (chosen.type != CEL_BOOL)
            return not_bool(frame, &chosen);
        if (chosen.boolean && body)
            value = cel_evaluate(frame, body);
        if (value.type == CEL_ERROR)
            return value;
        if (chosen.boolean)
            list->items[count++] = value;
    }
    if (list)
        list->count = count;
    return cel_list_done(CEL_LIST, list);
}

static struct cel_value run_macro(struct frame *frame, const struct expr *expr)
{
    struct cel_value range = cel_evaluate(frame, expr->first);

    if (range.type == CEL_ERROR)
        return range;
    if (range.type != CEL_LIST && range.type != CEL_MAP)
        return cel_error(frame->arena, "a macro goes over a list or map, not %s", cel_type_names[range.type]);
    if (expr->macro == MACRO_FILTER || expr->macro == MACRO_MAP)
        return run_collector(frame, expr, &range);
    return run_quantifier(frame, expr, &range);
}

struct cel_value cel_evaluate(struct frame *frame, uint16_t index)
{
    const struct expr *expr = expr_at(frame, index);

    switch (expr->kind) {
    case EXPR_LITERAL:
        return expr->literal;
    case EXPR_VARIABLE:
        return frame->values[expr->slot];
    case EXPR_LOCAL:
        return frame->locals[expr->slot];
    case EXPR_LABEL:
        return cel_string(frame->labels[expr->slot]);
    case EXPR_HAS_LABEL:
        return cel_bool(frame->labels[expr->slot].size > 0);
    case EXPR_SELECT:
    case EXPR_HAS:
        return run_select(frame, expr);
    case EXPR_CALL:
        return run_call(frame, expr);
    case EXPR_AND:
    case EXPR_OR:
        return run_logic(frame, expr);
    case EXPR_CONDITIONAL:
        return run_conditional(frame, expr);
    case EXPR_LIST:
        return run_list(frame, expr);
    case EXPR_MAP:
        return run_map(frame, expr);
    case EXPR_MACRO:
        return run_macro(frame, expr);
    case EXPR_NAME:
        break;
    }
    assert(!"a name is left in a checked tree");
    return cel_no_room();
}
