/* CEL's grammar by recursive descent (google/cel-spec, doc/langdef.md, "Syntax"). Runs once for each
 * expression, at load. Nodes live in one array and are named by index, so that growing it moves nothing that
 * is pointed to. Chains of one operator grow to the left without nesting; only brackets, `?:` and arguments
 * count against CEL_NESTING_MAX. Macros are recognised here, by name and number of arguments, as the language
 * asks. */
#include "base/memory.h"
#include "rules/cel_internal.h"

#include <assert.h>

struct parser {
    struct lexer lexer;
    struct token token; /* the next one, not yet taken */
    struct cel_program *program;
    unsigned nesting;
    bool failed;
};

static const char *const reserved_names[] = {
    "as",  "break", "const",     "continue", "else",    "false",  "for",  "function", "if",   "import", "in",
    "let", "loop",  "namespace", "null",     "package", "return", "true", "var",      "void", "while",
};

static uint16_t parse_expression(struct parser *parser);

static uint16_t parse_fails(struct parser *parser, uint32_t at, const char *reason)
{
    if (!parser->failed)
        cel_fail_at(parser->lexer.text, at, parser->lexer.error, "%s", reason);
    parser->failed = true;
    return 0;
}

static uint16_t new_expr(struct parser *parser, enum expr_kind kind, uint32_t at)
{
    struct cel_program *program = parser->program;

    if (parser->failed)
        return 0;
    if (program->expr_count > CEL_NODES_MAX)
        return parse_fails(parser, at, "the expression is too large (1024 nodes)");
    program->exprs = memory_reserve(program->exprs, &program->expr_capacity, program->expr_count + 1,
                                    sizeof *program->exprs);
    program->exprs[program->expr_count] = (struct expr){.kind = kind, .at = at};
    return (uint16_t)program->expr_count++;
}

static struct expr *expr_at(struct parser *parser, uint16_t index)
{
    assert(index > 0 && index < parser->program->expr_count);
    return &parser->program->exprs[index];
}

/* Appends a child; `last` is the child before it, 0 for the first. */
static void add_child(struct parser *parser, uint16_t parent, uint16_t last, uint16_t child)
{
    if (parser->failed)
        return;
    if (last)
        expr_at(parser, last)->next = child;
    else
        expr_at(parser, parent)->first = child;
    expr_at(parser, parent)->count++;
}

static void advance(struct parser *parser)
{
    if (!parser->failed && !lexer_next(&parser->lexer, &parser->token))
        parser->failed = true;
    if (parser->failed)
        parser->token = (struct token){.type = TOKEN_END, .at = parser->lexer.text.size};
}

static bool at_symbol(const struct parser *parser, const char *symbol)
{
    return parser->token.type == TOKEN_SYMBOL && span_is(parser->token.text, symbol);
}

static bool accept(struct parser *parser, const char *symbol)
{
    if (!at_symbol(parser, symbol))
        return false;
    advance(parser);
    return true;
}

static void expect(struct parser *parser, const char *symbol)
{
    char reason[32] = "'?' is missing here";

    assert(strlen(symbol) == 1);
    reason[1] = symbol[0];
    if (!accept(parser, symbol))
        parse_fails(parser, parser->token.at, reason);
}

static uint16_t new_literal(struct parser *parser, uint32_t at, struct cel_value value)
{
    uint16_t index = new_expr(parser, EXPR_LITERAL, at);

    if (index) {
        expr_at(parser, index)->literal = value;
        expr_at(parser, index)->type = value.type;
    }
    return index;
}

static uint16_t new_call(struct parser *parser, struct span name, enum cel_form form, uint32_t at)
{
    uint16_t index = new_expr(parser, EXPR_CALL, at);

    if (index) {
        expr_at(parser, index)->name = name;
        expr_at(parser, index)->form = form;
    }
    return index;
}

static bool is_reserved(struct span name)
{
    for (size_t i = 0; i < sizeof reserved_names / sizeof *reserved_names; i++) {
        if (span_is(name, reserved_names[i]))
            return true;
    }
    return false;
}

/* Comma-separated expressions up to `close`, which is taken; a comma before it is allowed in lists. */
static void parse_children(struct parser *parser, uint16_t parent, uint16_t last, const char *close,
                           bool spare_comma)
{
    while (!parser->failed && !accept(parser, close)) {
        uint16_t child = parse_expression(parser);

        add_child(parser, parent, last, child);
        last = child;
        if (accept(parser, close))
            return;
        expect(parser, ",");
        if (!spare_comma && at_symbol(parser, close))
            parse_fails(parser, parser->token.at, "an argument is missing after the comma");
    }
}

static uint16_t parse_map(struct parser *parser, uint32_t at)
{
    uint16_t map = new_expr(parser, EXPR_MAP, at), last = 0;

    while (!parser->failed && !accept(parser, "}")) {
        uint16_t key = parse_expression(parser), value;

        expect(parser, ":");
        value = parse_expression(parser);
        add_child(parser, map, last, key);
        add_child(parser, map, key, value);
        last = value;
        if (accept(parser, "}"))
            break;
        expect(parser, ",");
    }
    return map;
}

/* has(a.b): the select node becomes the test. */
static uint16_t finish_has(struct parser *parser, uint16_t call)
{
    struct expr *expr = expr_at(parser, call);

    if (expr->count != 1 || expr_at(parser, expr->first)->kind != EXPR_SELECT)
        return parse_fails(parser, expr->at, "has() takes one field, as in has(labels.team)");
    expr_at(parser, expr->first)->kind = EXPR_HAS;
    return expr->first;
}

/* Turns list.exists(x, body) into a macro node; other calls stay as they are. */
static uint16_t finish_method(struct parser *parser, uint16_t call)
{
    static const struct {
        const char *name;
        enum macro macro;
        unsigned least, most; /* children: the list, the name, the bodies */
    } macros[] = {
        {"all", MACRO_ALL, 3, 3},
        {"exists", MACRO_EXISTS, 3, 3},
        {"exists_one", MACRO_EXISTS_ONE, 3, 3},
        {"existsOne", MACRO_EXISTS_ONE, 3, 3},
        {"filter", MACRO_FILTER, 3, 3},
        {"map", MACRO_MAP, 3, 4},
    };
    struct expr *expr = expr_at(parser, call);

    for (size_t i = 0; i < sizeof macros / sizeof *macros; i++) {
        if (!span_is(expr->name, macros[i].name) || expr->count < macros[i].least ||
            expr->count > macros[i].most)
            continue;
        struct expr *list = expr_at(parser, expr->first), *local = expr_at(parser, list->next);
        if (local->kind != EXPR_NAME)
            return parse_fails(parser, local->at, "a macro's first argument is a plain name");
        expr->kind = EXPR_MACRO;
        expr->macro = macros[i].macro;
        expr->name = local->name;
        expr->count--;
        list->next = local->next;
        break;
    }
    return call;
}

static uint16_t parse_name(struct parser *parser)
{
    struct token name = parser->token;

    advance(parser);
    if (span_is(name.text, "true") || span_is(name.text, "false"))
        return new_literal(parser, name.at, cel_bool(span_is(name.text, "true")));
    if (span_is(name.text, "null"))
        return new_literal(parser, name.at, (struct cel_value){.type = CEL_NULL});
    if (is_reserved(name.text))
        return parse_fails(parser, name.at, "this word is reserved and cannot be a name");
    if (accept(parser, "(")) {
        uint16_t call = new_call(parser, name.text, FORM_GLOBAL, name.at);

        parse_children(parser, call, 0, ")", false);
        return !parser->failed && span_is(name.text, "has") ? finish_has(parser, call) : call;
    }
    uint16_t index = new_expr(parser, EXPR_NAME, name.at);
    if (index)
        expr_at(parser, index)->name = name.text;
    return index;
}

/* `negative`: a minus stands before it, which is part of a number (the least int has no positive twin). */
static uint16_t parse_number(struct parser *parser, bool negative)
{
    struct token token = parser->token;

    advance(parser);
    if (token.type == TOKEN_LITERAL) {
        assert(!negative || token.literal.type == CEL_DOUBLE);
        if (negative)
            token.literal.number = -token.literal.number;
        return new_literal(parser, token.at, token.literal);
    }
    if (token.magnitude > (uint64_t)INT64_MAX + negative)
        return parse_fails(parser, token.at,
                           "this number does not fit an int; write a u behind it for a uint");
    return new_literal(parser, token.at,
                       cel_int((int64_t)(negative ? 0 - token.magnitude : token.magnitude)));
}

static uint16_t parse_primary(struct parser *parser)
{
    uint32_t at = parser->token.at;
    uint16_t inner;

    if (parser->token.type == TOKEN_NAME)
        return parse_name(parser);
    if (parser->token.type == TOKEN_INTEGER || parser->token.type == TOKEN_LITERAL)
        return parse_number(parser, false);
    if (accept(parser, "(")) {
        inner = parse_expression(parser);
        expect(parser, ")");
        return inner;
    }
    if (accept(parser, "[")) {
        inner = new_expr(parser, EXPR_LIST, at);
        parse_children(parser, inner, 0, "]", true);
        return inner;
    }
    if (accept(parser, "{"))
        return parse_map(parser, at);
    if (accept(parser, ".") &&
        parser->token.type == TOKEN_NAME) /* a name from the root: there is only one scope */
        return parse_name(parser);
    return parse_fails(parser, at,
                       parser->token.type == TOKEN_END ? "the expression ends too early"
                                                       : "a value is missing here");
}

static uint16_t parse_dot(struct parser *parser, uint16_t operand)
{
    struct token name = parser->token;
    uint16_t index;

    if (name.type != TOKEN_NAME && name.type != TOKEN_QUOTED_NAME)
        return parse_fails(parser, name.at, "a field or method name is missing after the dot");
    advance(parser);
    if (name.type == TOKEN_NAME && accept(parser, "(")) {
        index = new_call(parser, name.text, FORM_METHOD, name.at);
        add_child(parser, index, 0, operand);
        parse_children(parser, index, operand, ")", false);
        return parser->failed ? 0 : finish_method(parser, index);
    }
    index = new_expr(parser, EXPR_SELECT, name.at);
    add_child(parser, index, 0, operand);
    if (index)
        expr_at(parser, index)->name = name.text;
    return index;
}

static uint16_t parse_suffixes(struct parser *parser, uint16_t operand)
{
    while (!parser->failed) {
        uint32_t at = parser->token.at;

        if (accept(parser, ".")) {
            operand = parse_dot(parser, operand);
        } else if (accept(parser, "[")) {
            uint16_t call = new_call(parser, SPAN_LITERAL("[]"), FORM_OPERATOR, at),
                     key = parse_expression(parser);

            expect(parser, "]");
            add_child(parser, call, 0, operand);
            add_child(parser, call, operand, key);
            operand = call;
        } else {
            break;
        }
    }
    return operand;
}

static uint16_t parse_unary(struct parser *parser)
{
    const char *symbol = at_symbol(parser, "!") ? "!" : "-";
    uint32_t at = parser->token.at;
    unsigned repeated = 0;
    uint16_t operand;

    while (accept(parser, symbol))
        repeated++;
    bool number = parser->token.type == TOKEN_INTEGER ||
                  (parser->token.type == TOKEN_LITERAL && parser->token.literal.type == CEL_DOUBLE);
    if (repeated && symbol[0] == '-' && number) {
        operand = parse_number(parser, true);
        repeated--;
    } else {
        operand = parse_primary(parser);
    }
    operand = parse_suffixes(parser, operand);
    while (repeated--) {
        uint16_t call = new_call(parser, span_of(symbol), FORM_OPERATOR, at);

        add_child(parser, call, 0, operand);
        operand = call;
    }
    return operand;
}

/* Operators by how tightly they bind, loosest first; all group to the left. */
static const char *const operator_levels[][8] = {
    {"||"}, {"&&"}, {"<", "<=", ">=", ">", "==", "!=", "in"}, {"+", "-"}, {"*", "/", "%"},
};
enum { OPERATOR_LEVELS = sizeof operator_levels / sizeof *operator_levels };

static const char *operator_here(const struct parser *parser, unsigned level)
{
    for (const char *const *symbol = operator_levels[level]; *symbol; symbol++) {
        if (at_symbol(parser, *symbol) || (parser->token.type == TOKEN_NAME &&
                                           span_is(parser->token.text, "in") && strcmp(*symbol, "in") == 0))
            return *symbol;
    }
    return NULL;
}

static uint16_t parse_level(struct parser *parser, unsigned level)
{
    const char *symbol;
    uint16_t left;

    if (level == OPERATOR_LEVELS)
        return parse_unary(parser);
    left = parse_level(parser, level + 1);
    while (!parser->failed && (symbol = operator_here(parser, level)) != NULL) {
        uint32_t at = parser->token.at;
        uint16_t right, whole;

        advance(parser);
        right = parse_level(parser, level + 1);
        if (level <= 1)
            whole = new_expr(parser, level == 0 ? EXPR_OR : EXPR_AND, at);
        else
            whole = new_call(parser, span_of(symbol), FORM_OPERATOR, at);
        add_child(parser, whole, 0, left);
        add_child(parser, whole, left, right);
        left = whole;
    }
    return left;
}

static uint16_t parse_expression(struct parser *parser)
{
    uint16_t condition, whole = 0;

    if (++parser->nesting > CEL_NESTING_MAX)
        return parse_fails(parser, parser->token.at, "the expression is nested too deeply (64 levels)");
    condition = parse_level(parser, 0);
    uint32_t at = parser->token.at;
    if (accept(parser, "?")) {
        uint16_t yes = parse_level(parser, 0), no;

        expect(parser, ":");
        no = parse_expression(parser);
        whole = new_expr(parser, EXPR_CONDITIONAL, at);
        add_child(parser, whole, 0, condition);
        add_child(parser, whole, condition, yes);
        add_child(parser, whole, yes, no);
    } else {
        whole = condition;
    }
    parser->nesting--;
    return parser->failed ? 0 : whole;
}

enum status cel_parse(struct cel_program *program, struct error *ret_error)
{
    struct parser parser = {
        .lexer = {.text = program->text, .arena = &program->arena, .error = ret_error},
        .program = program,
    };

    program->exprs = memory_reserve(NULL, &program->expr_capacity, 1, sizeof *program->exprs);
    program->exprs[0] = (struct expr){.kind = EXPR_LITERAL};
    program->expr_count = 1;
    advance(&parser);
    program->root = parse_expression(&parser);
    if (!parser.failed && parser.token.type != TOKEN_END)
        parse_fails(&parser, parser.token.at, "an operator is missing here");
    return parser.failed ? STATUS_FATAL : STATUS_OK;
}
