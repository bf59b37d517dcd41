/* Looks up names, checks types and folds constants of a parsed tree. Runs once for each expression, at load.
 * A type is one of the scalar ones, list, map, or CEL_DYN when only the run will tell; element types are not
 * tracked, because events have no list fields. Under `strict` nothing is refused here: what would be becomes
 * an error value at its place, so that `unknown || true` is true, as in cel-spec's conformance suite. */
#include "base/memory.h"
#include "base/options.h"
#include "rules/cel_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { PATH_MAX_BYTES = 256 };

struct checker {
    struct cel_program *program;
    const struct cel_environment *environment;
    struct error *error;
    struct span locals[CEL_LOCALS_MAX];
    unsigned local_count;
};

static bool check(struct checker *checker, uint16_t index);

static struct expr *expr_at(struct checker *checker, uint16_t index)
{
    assert(index > 0 && index < checker->program->expr_count);
    return &checker->program->exprs[index];
}

static struct expr *child_at(struct checker *checker, const struct expr *expr, unsigned number)
{
    struct expr *child = expr_at(checker, expr->first);

    for (assert(number < expr->count); number > 0; number--)
        child = expr_at(checker, child->next);
    return child;
}

/* Refuses the node, or under `strict` puts the refusal off until it is run. */
__attribute__((format(printf, 3, 4))) static bool refuse(struct checker *checker, struct expr *expr,
                                                         const char *format, ...)
{
    char reason[400];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    if (!checker->environment->strict) {
        cel_fail_at(checker->program->text, expr->at, checker->error, "%s", reason);
        return false;
    }
    expr->kind = EXPR_LITERAL;
    expr->type = CEL_DYN;
    expr->literal = cel_error(&checker->program->arena, "%s", reason);
    expr->first = expr->count = 0;
    return true;
}

/* Names */

/* Joins a.b.c into `ret_path`; false when the node is no chain of plain names, or starts with a macro's
 * local. */
static bool path_of(struct checker *checker, const struct expr *expr, char ret_path[PATH_MAX_BYTES])
{
    size_t at = PATH_MAX_BYTES - 1;
    char path[PATH_MAX_BYTES];

    path[at] = '\0';
    for (;; expr = expr_at(checker, expr->first)) {
        bool last = expr->kind == EXPR_NAME;

        if ((!last && expr->kind != EXPR_SELECT && expr->kind != EXPR_HAS) || expr->name.size + 1 > at)
            return false;
        at -= expr->name.size;
        memcpy(path + at, expr->name.data, expr->name.size);
        if (last)
            break;
        path[--at] = '.';
    }
    for (unsigned i = 0; i < checker->local_count; i++) {
        if (span_equal(expr->name, checker->locals[i]))
            return false;
    }
    memcpy(ret_path, path + at, PATH_MAX_BYTES - at);
    return true;
}

static void become_variable(struct checker *checker, struct expr *expr, size_t variable)
{
    expr->kind = EXPR_VARIABLE;
    expr->type = checker->environment->variables[variable].type;
    expr->slot = (uint16_t)variable;
    expr->first = expr->count = 0;
    checker->program->reads[variable] = true;
}

static bool find_variable(const struct checker *checker, const char *path, size_t *ret_variable)
{
    for (size_t i = 0; i < checker->environment->count; i++) {
        if (strcmp(checker->environment->variables[i].name, path) == 0) {
            *ret_variable = i;
            return true;
        }
    }
    return false;
}

/* int, string, google.protobuf.Timestamp ... name types, as in type(x) == int. */
static bool find_type(struct expr *expr, const char *path)
{
    for (int type = CEL_NULL; type < CEL_ERROR; type++) {
        if (strcmp(cel_type_names[type], path) == 0) {
            expr->kind = EXPR_LITERAL;
            expr->type = CEL_TYPE;
            expr->literal = (struct cel_value){.type = CEL_TYPE, .text = span_of(cel_type_names[type])};
            expr->first = expr->count = 0;
            return true;
        }
    }
    return false;
}

static bool unknown_name(struct checker *checker, struct expr *expr, const char *path)
{
    const struct cel_environment *environment = checker->environment;
    const char **names = memory_new((environment->count + 1) * sizeof *names), *near;

    for (size_t i = 0; i < environment->count; i++)
        names[i] = environment->variables[i].name;
    near = nearest_name(path, names, environment->count);
    free(names);
    if (near)
        return refuse(checker, expr, "unknown name '%s'; did you mean '%s'?", path, near);
    return refuse(checker, expr, "unknown name '%s'", path);
}

static bool check_label(struct checker *checker, struct expr *expr, const char *path)
{
    struct field_ref ref;

    if (!field_ref_parse(span_of(path), checker->environment->label_names, &ref) || ref.field != FIELD_COUNT)
        return refuse(checker, expr, "'%s' is no label, or there are more than %d", path, LABELS_MAX);
    expr->kind = expr->kind == EXPR_HAS ? EXPR_HAS_LABEL : EXPR_LABEL;
    expr->type = expr->kind == EXPR_LABEL ? CEL_STRING : CEL_BOOL;
    expr->slot = (uint16_t)ref.label;
    expr->first = expr->count = 0;
    checker->program->label_reads |= UINT64_C(1) << ref.label;
    return true;
}

static bool check_name(struct checker *checker, struct expr *expr)
{
    char path[PATH_MAX_BYTES];
    size_t variable;

    for (unsigned i = checker->local_count; i-- > 0;) {
        if (span_equal(expr->name, checker->locals[i])) {
            expr->kind = EXPR_LOCAL;
            expr->type = CEL_DYN;
            expr->slot = (uint16_t)i;
            return true;
        }
    }
    if (!path_of(checker, expr, path))
        return refuse(checker, expr, "this name is too long");
    if (find_variable(checker, path, &variable)) {
        become_variable(checker, expr, variable);
        return true;
    }
    if (checker->environment->labels && strcmp(path, "labels") == 0)
        return refuse(checker, expr, "labels is not a value by itself; write labels.NAME");
    return find_type(expr, path) || unknown_name(checker, expr, path);
}

static const struct expr *first_name_of(struct checker *checker, const struct expr *expr)
{
    while (expr->kind != EXPR_NAME)
        expr = expr_at(checker, expr->first);
    return expr;
}

/* Is some beginning of a.b.c a variable? Shortens the path. */
static bool has_known_prefix(const struct checker *checker, char *path)
{
    size_t variable;
    char *dot;

    while ((dot = strrchr(path, '.')) != NULL) {
        *dot = '\0';
        if (find_variable(checker, path, &variable))
            return true;
    }
    return false;
}

/* a.b: a variable of that dotted name, a label, a type, or a field of a map. */
static bool check_select(struct checker *checker, struct expr *expr)
{
    bool has = expr->kind == EXPR_HAS;
    char path[PATH_MAX_BYTES], prefix[PATH_MAX_BYTES];
    size_t variable;

    if (path_of(checker, expr, path)) {
        if (checker->environment->labels && strncmp(path, "labels.", 7) == 0)
            return check_label(checker, expr, path);
        if (!has && find_variable(checker, path, &variable)) {
            become_variable(checker, expr, variable);
            return true;
        }
        if (!has && find_type(expr, path))
            return true;
        memcpy(prefix, path, sizeof prefix);
        if (!has_known_prefix(checker, prefix)) {
            expr->at = first_name_of(checker, expr)->at;
            return unknown_name(checker, expr, path);
        }
    }
    if (!check(checker, expr->first))
        return false;
    enum cel_type operand = expr_at(checker, expr->first)->type;
    if (operand != CEL_DYN && operand != CEL_MAP)
        return refuse(checker, expr, "%s has no field '%.*s'", cel_type_names[operand], (int)expr->name.size,
                      expr->name.data);
    expr->type = has ? CEL_BOOL : CEL_DYN;
    return true;
}

/* Calls */

static bool is_int_literal(const struct expr *expr)
{
    return expr->kind == EXPR_LITERAL && expr->type == CEL_INT && expr->literal.type == CEL_INT;
}

/* `duration_ms > 5000`: the int literal becomes a double. The one deviation from CEL, absent under
 * `strict`. */
static void coerce_pair(struct checker *checker, struct expr *a, struct expr *b)
{
    if (checker->environment->strict)
        return;
    for (int turn = 0; turn < 2; turn++) {
        struct expr *literal = turn ? a : b, *other = turn ? b : a;

        if (is_int_literal(literal) && other->type == CEL_DOUBLE) {
            literal->literal = cel_double((double)literal->literal.integer);
            literal->type = CEL_DOUBLE;
        }
    }
}

/* strings.quote(x) parses as a method of `strings`: makes it a call of the function with the dotted name. */
static void join_namespace(struct checker *checker, struct expr *expr)
{
    char path[PATH_MAX_BYTES];
    size_t variable, size;
    unsigned count;
    struct span kept;

    if (expr->form != FORM_METHOD || expr_at(checker, expr->first)->kind != EXPR_NAME ||
        !path_of(checker, expr_at(checker, expr->first), path) || find_variable(checker, path, &variable))
        return;
    size = strlen(path);
    if (size + 1 + expr->name.size >= sizeof path)
        return;
    path[size] = '.';
    memcpy(path + size + 1, expr->name.data, expr->name.size);
    struct span name = span_make(path, size + 1 + expr->name.size);
    cel_function_find(name, FORM_GLOBAL, &count);
    if (count == 0 || !arena_copy(&checker->program->arena, name, &kept))
        return;
    expr->form = FORM_GLOBAL;
    expr->name = kept;
    expr->first = expr_at(checker, expr->first)->next;
    expr->count--;
}

static bool unknown_function(struct checker *checker, struct expr *expr)
{
    const char *near = cel_function_nearest(expr->name);

    if (near)
        return refuse(checker, expr, "unknown %s '%.*s'; did you mean '%s'?",
                      expr->form == FORM_METHOD ? "method" : "function", (int)expr->name.size,
                      expr->name.data, near);
    return refuse(checker, expr, "unknown %s '%.*s'", expr->form == FORM_METHOD ? "method" : "function",
                  (int)expr->name.size, expr->name.data);
}

static bool no_overload(struct checker *checker, struct expr *expr, const enum cel_type *types)
{
    char list[160] = "";
    size_t size = 0;

    for (unsigned i = 0; i < expr->count && size < sizeof list; i++)
        size += (size_t)snprintf(list + size, sizeof list - size, "%s%s", i ? " and " : "",
                                 cel_type_names[types[i]]);
    return refuse(checker, expr, "no '%.*s' for %s", (int)expr->name.size, expr->name.data, list);
}

/* == and != take any values when run, but two types known to differ are a mistake. */
static bool never_equal(const struct expr *expr, const enum cel_type *types)
{
    return expr->form == FORM_OPERATOR && (span_is(expr->name, "==") || span_is(expr->name, "!=")) &&
           types[0] != types[1] && types[0] != CEL_DYN && types[1] != CEL_DYN;
}

/* Keeps the rows that may fit: the smallest range that holds them all, and the result type if they agree. */
static bool narrow(struct checker *checker, struct expr *expr, const enum cel_type *types)
{
    unsigned first = 0, behind = 0;

    for (unsigned i = 0; i < expr->function_count; i++) {
        if (!cel_function_takes(&expr->functions[i], expr->count, types))
            continue;
        if (behind == 0) {
            first = i;
            expr->type = expr->functions[i].result;
        }
        behind = i + 1;
        if (expr->functions[i].result != expr->type)
            expr->type = CEL_DYN;
    }
    if (behind == 0 || (!checker->environment->strict && never_equal(expr, types)))
        return no_overload(checker, expr, types);
    expr->functions += first;
    expr->function_count = behind - first;
    return true;
}

static bool prepare(struct checker *checker, struct expr *expr)
{
    struct expr *last = child_at(checker, expr, expr->count - 1u);
    struct error reason;

    if (!expr->functions->prepare || last->kind != EXPR_LITERAL || last->literal.type != CEL_STRING)
        return true;
    if (expr->functions->prepare(checker->program, last->literal.text, &expr->prepared, &reason) != STATUS_OK)
        return refuse(checker, expr, "%s", reason.text);
    return true;
}

static bool check_children(struct checker *checker, const struct expr *expr)
{
    for (uint16_t child = expr->first, i = 0; i < expr->count; i++, child = expr_at(checker, child)->next) {
        if (!check(checker, child))
            return false;
    }
    return true;
}

static bool check_call(struct checker *checker, struct expr *expr)
{
    enum cel_type types[CEL_ARGUMENTS_MAX] = {CEL_DYN};

    join_namespace(checker, expr);
    if (!check_children(checker, expr))
        return false;
    if (expr->form == FORM_OPERATOR && expr->count == 2)
        coerce_pair(checker, child_at(checker, expr, 0), child_at(checker, expr, 1));
    expr->functions = cel_function_find(expr->name, expr->form, &expr->function_count);
    if (expr->function_count == 0)
        return unknown_function(checker, expr);
    if (expr->count == 0 || expr->count > CEL_ARGUMENTS_MAX)
        return refuse(checker, expr, "'%.*s' does not take %u arguments", (int)expr->name.size,
                      expr->name.data, expr->count);
    for (unsigned i = 0; i < expr->count; i++)
        types[i] = child_at(checker, expr, i)->type;
    return narrow(checker, expr, types) && (expr->kind != EXPR_CALL || prepare(checker, expr));
}

/* Everything else */

static bool check_bool(struct checker *checker, struct expr *expr)
{
    if (expr->type == CEL_BOOL || expr->type == CEL_DYN || checker->environment->strict)
        return true;
    return refuse(checker, expr, "a bool is needed here, not %s", cel_type_names[expr->type]);
}

static bool check_logic(struct checker *checker, struct expr *expr)
{
    expr->type = CEL_BOOL;
    return check_children(checker, expr) && check_bool(checker, child_at(checker, expr, 0)) &&
           check_bool(checker, child_at(checker, expr, 1));
}

static bool check_conditional(struct checker *checker, struct expr *expr)
{
    struct expr *yes, *no;

    if (!check_children(checker, expr) || !check_bool(checker, child_at(checker, expr, 0)))
        return false;
    yes = child_at(checker, expr, 1);
    no = child_at(checker, expr, 2);
    coerce_pair(checker, yes, no);
    expr->type = yes->type == no->type ? yes->type : CEL_DYN;
    if (yes->type == no->type || yes->type == CEL_DYN || no->type == CEL_DYN || checker->environment->strict)
        return true;
    return refuse(checker, expr, "the two sides of ?: are %s and %s", cel_type_names[yes->type],
                  cel_type_names[no->type]);
}

static bool check_macro(struct checker *checker, struct expr *expr)
{
    bool collects = expr->macro == MACRO_FILTER || expr->macro == MACRO_MAP, good = true;
    bool condition = expr->macro != MACRO_MAP || expr->count == 3;
    struct expr *list = child_at(checker, expr, 0);

    if (!check(checker, expr->first))
        return false;
    if (list->type != CEL_LIST && list->type != CEL_MAP && list->type != CEL_DYN)
        return refuse(checker, expr, "a macro goes over a list or map, not %s", cel_type_names[list->type]);
    if (checker->local_count == CEL_LOCALS_MAX)
        return refuse(checker, expr, "more than %d macros within each other", CEL_LOCALS_MAX);
    expr->slot = (uint16_t)checker->local_count;
    expr->type = collects ? CEL_LIST : CEL_BOOL;
    checker->locals[checker->local_count++] = expr->name;
    for (uint16_t child = list->next, i = 1; i < expr->count && good;
         i++, child = expr_at(checker, child)->next)
        good = check(checker, child);
    checker->local_count--;
    return good && (!condition || check_bool(checker, expr_at(checker, list->next)));
}

/* Runs a node of constants now; one that fails stays, so that the error comes where CEL has it. */
static void fold(struct checker *checker, uint16_t index)
{
    struct expr *expr = expr_at(checker, index);
    struct frame frame = {.program = checker->program, .arena = &checker->program->arena};
    struct cel_value value;

    for (uint16_t child = expr->first, i = 0; i < expr->count; i++, child = expr_at(checker, child)->next) {
        if (expr_at(checker, child)->kind != EXPR_LITERAL)
            return;
    }
    value = cel_evaluate(&frame, index);
    if (value.type == CEL_ERROR)
        return;
    expr->kind = EXPR_LITERAL;
    expr->literal = value;
    expr->first = expr->count = 0;
}

static bool check_node(struct checker *checker, struct expr *expr)
{
    switch (expr->kind) {
    case EXPR_NAME:
        return check_name(checker, expr);
    case EXPR_SELECT:
    case EXPR_HAS:
        return check_select(checker, expr);
    case EXPR_CALL:
        return check_call(checker, expr);
    case EXPR_AND:
    case EXPR_OR:
        return check_logic(checker, expr);
    case EXPR_CONDITIONAL:
        return check_conditional(checker, expr);
    case EXPR_LIST:
    case EXPR_MAP:
        expr->type = expr->kind == EXPR_LIST ? CEL_LIST : CEL_MAP;
        return check_children(checker, expr);
    case EXPR_MACRO:
        return check_macro(checker, expr);
    default:
        return true;
    }
}

/* The tree is not grown while it is checked, so nodes may be pointed to. */
static bool check(struct checker *checker, uint16_t index)
{
    struct expr *expr = expr_at(checker, index);

    if (!check_node(checker, expr))
        return false;
    if (expr->kind == EXPR_CALL || expr->kind == EXPR_LIST || expr->kind == EXPR_MAP)
        fold(checker, index);
    return true;
}

/* A wanted double takes any number: wraps the root in double(). */
static bool widen(struct checker *checker)
{
    struct cel_program *program = checker->program;
    struct expr *root = expr_at(checker, program->root);

    if (is_int_literal(root)) {
        root->literal = cel_double((double)root->literal.integer);
        root->type = CEL_DOUBLE;
        return true;
    }
    program->exprs = memory_reserve(program->exprs, &program->expr_capacity, program->expr_count + 1,
                                    sizeof *program->exprs);
    program->exprs[program->expr_count] = (struct expr){.kind = EXPR_CALL,
                                                        .at = program->exprs[program->root].at,
                                                        .first = program->root,
                                                        .count = 1,
                                                        .name = SPAN_LITERAL("double"),
                                                        .form = FORM_GLOBAL};
    program->root = (uint16_t)program->expr_count++;
    return check_call(checker, expr_at(checker, program->root));
}

enum status cel_check(struct cel_program *program, const struct cel_environment *environment,
                      enum cel_type want, struct error *ret_error)
{
    struct checker checker = {.program = program, .environment = environment, .error = ret_error};

    if (!check(&checker, program->root))
        return STATUS_FATAL;
    enum cel_type type = program->exprs[program->root].type;
    if (want == CEL_DOUBLE && (type == CEL_INT || type == CEL_UINT) && !environment->strict)
        return widen(&checker) ? STATUS_OK : STATUS_FATAL;
    if (want != CEL_DYN && type != CEL_DYN && type != want)
        return cel_fail_at(program->text, 0, ret_error, "the expression must be %s but is %s",
                           cel_type_names[want], cel_type_names[type]);
    return STATUS_OK;
}
