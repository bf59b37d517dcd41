/* Which of many programs may be true, and of which rows: a rule on one workflow of thousands runs for the
 * rows of that workflow alone. A demand is a part of a program's top-level && that a table or a hash can
 * answer:
 *   state == 'failed', kind != 'metric' (anything that reads the state or the kind alone),
 *   workflow == 'w', labels.team in ['a', 'b'], task == 'a' || task == 'b',
 *   duration_ms > 5000.
 * Where a part is false the whole is false and no error, so leaving the row out changes nothing. The rows
 * that stay are left to the program itself, so that a false candidate (two texts of one hash) changes nothing
 * either. Programs with the same demands are a class, but for the number behind < or >: by that they are
 * sorted, and the greatest value of the class's rows says how many of them can be true.
 *
 * A batch costs a look-up for each row that the states of the classes leave over, and then the programs of
 * the classes that have rows. Classes without a text are open: they take each row of their states. */
#include "rules/cel_index.h"

#include "base/memory.h"
#include "base/slots.h"
#include "rules/cel_internal.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

enum {
    ENTRIES_MAX = 1 << 30,
    COLUMNS_MAX = FIELD_COUNT + LABELS_MAX,
    LINK_NONE = UINT32_MAX,
    BLOCK_ROWS = 256
};

struct class
{
    uint32_t states, kinds; /* bits of the codes that may be */
    enum field bound;       /* number compared with a constant; FIELD_COUNT: none */
    bool below;             /* by < or <=: constants and values are negated */
    uint32_t first, count;  /* its programs in `members` */
};

struct member {
    double number; /* may be true where the class's value is not less */
    uint32_t program;
};

struct link { /* one of the classes that a text concerns */
    uint32_t class, next;
};

/* What the values of a column have in common: most texts that are none of them show it without a look-up. */
struct shape {
    uint64_t sizes, ends; /* bits by size and by last byte, each modulo 64 */
};

struct cel_index {
    uint32_t count, class_count, open_count;
    struct class *classes;
    uint32_t *class_of;     /* by program */
    struct member *members; /* by class, then by number */
    uint32_t *open;         /* classes */
    struct slots values;    /* (column, text) -> its first link in `heads` */
    uint32_t *heads;
    struct link *links;
    struct shape shapes[COLUMNS_MAX];            /* of the values, by column */
    unsigned columns[COLUMNS_MAX], column_count; /* those that classes have texts of */
    uint32_t states, kinds;                      /* of all classes with texts */
};

static struct id128 value_key(unsigned column, struct span text)
{
    return (struct id128){.high = column, .low = hash_bytes(text.data, text.size, 0)};
}

static struct shape shape_of(struct span text)
{
    unsigned end = text.size ? (unsigned char)text.data[text.size - 1] : 0;

    return (struct shape){.sizes = UINT64_C(1) << text.size % 64, .ends = UINT64_C(1) << end % 64};
}

/* Making it, at load */

struct text_demand {
    unsigned column;
    size_t first, count; /* values */
};

/* What one program demands. */
struct demand {
    uint32_t states, kinds;
    enum field bound;
    bool below;
    double number;
    size_t first, count; /* text demands */
};

struct builder {
    struct cel_index *index;
    const struct cel_program *program; /* the one at hand */
    const struct cel_columns *columns;
    struct demand *demands; /* by program */
    struct text_demand *texts;
    uint32_t *values; /* of the text demands */
    size_t text_count, text_capacity, value_count, value_capacity, link_count, link_capacity;
    uint32_t distinct[COLUMNS_MAX]; /* values by column */
    struct slots classes;           /* demands -> class */
};

static const struct expr *expr_at(const struct cel_program *program, uint16_t index)
{
    assert(index > 0 && index < program->expr_count);
    return &program->exprs[index];
}

static const struct expr *second_of(const struct cel_program *program, const struct expr *expr)
{
    return expr_at(program, expr_at(program, expr->first)->next);
}

static bool is_used(const struct builder *builder, struct field_ref column)
{
    if (!builder->columns)
        return true;
    return column.field == FIELD_COUNT ? builder->columns->labels >> column.label & 1
                                       : builder->columns->fields >> column.field & 1;
}

static void add_value(struct builder *builder, unsigned column, struct span text)
{
    bool is_new;
    uint32_t value = slots_add(&builder->index->values, value_key(column, text), &is_new);

    builder->distinct[column] += is_new;
    builder->index->shapes[column].sizes |= shape_of(text).sizes;
    builder->index->shapes[column].ends |= shape_of(text).ends;
    builder->values =
        memory_reserve(builder->values, &builder->value_capacity, builder->value_count + 1, sizeof(uint32_t));
    builder->values[builder->value_count++] = value;
}

/* A text column against constants, or || over such of one column: the constants are added to the values. */
static bool read_texts(struct builder *builder, const struct expr *expr, unsigned *column)
{
    struct column_step step;

    if (expr->kind == EXPR_OR)
        return read_texts(builder, expr_at(builder->program, expr->first), column) &&
               read_texts(builder, second_of(builder->program, expr), column);
    if (!cel_text_test(builder->program, expr, &step) || (step.test != TEXT_EQUAL && step.test != TEXT_IN) ||
        !is_used(builder, step.column))
        return false;
    unsigned own = step.column.field == FIELD_COUNT ? FIELD_COUNT + step.column.label : step.column.field;
    if (*column != COLUMNS_MAX && *column != own)
        return false;
    *column = own;
    for (uint32_t i = 0; i < step.text_count; i++)
        if (step.texts[i].type == CEL_STRING)
            add_value(builder, own, step.texts[i].text);
    return true;
}

static void add_text_demand(struct builder *builder, const struct expr *expr, struct demand *demand)
{
    struct text_demand text = {.column = COLUMNS_MAX, .first = builder->value_count};

    if (!read_texts(builder, expr, &text.column)) {
        builder->value_count = text.first;
        return;
    }
    text.count = builder->value_count - text.first;
    builder->texts = memory_reserve(builder->texts, &builder->text_capacity, builder->text_count + 1,
                                    sizeof *builder->texts);
    builder->texts[builder->text_count++] = text;
    demand->count++;
}

static void add_codes(const struct column_step *step, struct demand *demand)
{
    bool states = step->column.field == F_STATE;
    uint32_t codes = 0;

    for (unsigned code = 0; code < (states ? STATE_COUNT : KIND_COUNT); code++)
        codes |= (uint32_t)(step->answers[code] != 0) << code;
    if (states)
        demand->states &= codes;
    else
        demand->kinds &= codes;
}

static void add_bound(const struct cel_program *program, const struct expr *expr,
                      const struct column_step *step, struct demand *demand)
{
    const struct column_step *left = &program->steps[expr->first],
                             *right = &program->steps[expr_at(program, expr->first)->next];
    bool swapped = left->work == WORK_NUMBER,
         below = step->comparison == COMPARE_LESS || step->comparison == COMPARE_LESS_EQUAL;
    const struct column_step *field = swapped ? right : left, *constant = swapped ? left : right;

    if (demand->bound != FIELD_COUNT || field->work != WORK_FIELD || constant->work != WORK_NUMBER ||
        step->comparison == COMPARE_EQUAL || step->comparison == COMPARE_UNEQUAL)
        return;
    demand->bound = field->column.field;
    demand->below = below != swapped;
    demand->number = demand->below ? -constant->number : constant->number;
    if (isnan(demand->number)) /* never true: as far behind as can be */
        demand->number = INFINITY;
}

/* Costs next to nothing: what stands before a demand of a scalar program must not use up the cost that an
 * evaluation may have, which is an error even where a later part is false. */
static bool is_plain(const struct cel_program *program, const struct expr *expr, bool leaf)
{
    bool logic = expr->kind == EXPR_AND || expr->kind == EXPR_OR;

    if (expr->kind == EXPR_LITERAL || expr->kind == EXPR_VARIABLE)
        return true;
    if (leaf || (!logic && (expr->kind != EXPR_CALL || expr->form != FORM_OPERATOR)))
        return false;
    for (uint16_t child = expr->first, i = 0; i < expr->count; i++, child = expr_at(program, child)->next)
        if (!is_plain(program, expr_at(program, child), !logic))
            return false;
    return true;
}

/* The parts of the top-level &&, from the left. False: no part behind this one counts. */
static bool add_parts(struct builder *builder, uint16_t index, struct demand *demand)
{
    const struct cel_program *program = builder->program;
    const struct expr *expr = expr_at(program, index);
    const struct column_step *step = program->steps ? &program->steps[index] : NULL;

    if (expr->kind == EXPR_AND && (!step || step->work == WORK_AND))
        return add_parts(builder, expr->first, demand) &&
               add_parts(builder, expr_at(program, expr->first)->next, demand);
    if (step && step->work == WORK_CODE && !builder->columns)
        add_codes(step, demand);
    else if (step && step->work == WORK_COMPARE && !builder->columns)
        add_bound(program, expr, step, demand);
    else
        add_text_demand(builder, expr, demand);
    return step || is_plain(program, expr, false);
}

/* The text demand whose column has the most values: it leaves the most rows out. */
static const struct text_demand *choose_text(const struct builder *builder, const struct demand *demand)
{
    const struct text_demand *best = NULL;

    for (size_t i = demand->first; i < demand->first + demand->count; i++) {
        const struct text_demand *text = &builder->texts[i];

        if (!best || builder->distinct[text->column] > builder->distinct[best->column])
            best = text;
    }
    return best;
}

static void link_class(struct builder *builder, uint32_t class, const struct text_demand *text)
{
    struct cel_index *index = builder->index;

    for (size_t i = text->first; i < text->first + text->count; i++) {
        uint32_t *head = &index->heads[builder->values[i]];

        if (*head != LINK_NONE && index->links[*head].class == class)
            continue; /* the same text twice */
        index->links = memory_reserve(index->links, &builder->link_capacity, builder->link_count + 1,
                                      sizeof *index->links);
        index->links[builder->link_count] = (struct link){.class = class, .next = *head};
        *head = (uint32_t)builder->link_count++;
    }
}

static void add_class(struct builder *builder, uint32_t class, const struct demand *demand,
                      const struct text_demand *text)
{
    struct cel_index *index = builder->index;
    unsigned c = 0;

    index->classes[class] = (struct class){
        .states = demand->states, .kinds = demand->kinds, .bound = demand->bound, .below = demand->below};
    index->class_count++;
    if (!text) {
        index->open[index->open_count++] = class;
        return;
    }
    link_class(builder, class, text);
    index->states |= demand->states;
    index->kinds |= demand->kinds;
    while (c < index->column_count && index->columns[c] != text->column)
        c++;
    index->columns[c] = text->column;
    index->column_count += c == index->column_count;
}

static void classify(struct builder *builder, uint32_t program)
{
    const struct demand *demand = &builder->demands[program];
    const struct text_demand *text = choose_text(builder, demand);
    struct id_builder id;
    bool is_new;

    id_begin(&id);
    id_add_integer(&id, demand->states);
    id_add_integer(&id, demand->kinds);
    id_add_integer(&id, demand->bound);
    id_add_integer(&id, demand->below);
    id_add_integer(&id, text != NULL);
    for (size_t i = 0; text && i < text->count; i++)
        id_add_integer(&id, builder->values[text->first + i]);
    uint32_t class = slots_add(&builder->classes, id_end(&id), &is_new);
    if (is_new)
        add_class(builder, class, demand, text);
    builder->index->class_of[program] = class;
    builder->index->classes[class].count++;
}

static int compare_members(const void *left, const void *right)
{
    const struct member *a = left, *b = right;

    if (a->number != b->number)
        return a->number < b->number ? -1 : 1;
    return (a->program > b->program) - (a->program < b->program);
}

static void sort_members(struct builder *builder)
{
    struct cel_index *index = builder->index;
    uint32_t next = 0;

    for (uint32_t c = 0; c < index->class_count; c++) {
        index->classes[c].first = next;
        next += index->classes[c].count;
        index->classes[c].count = 0;
    }
    for (uint32_t p = 0; p < index->count; p++) {
        struct class *class = &index->classes[index->class_of[p]];

        index->members[class->first + class->count++] =
            (struct member){.number = builder->demands[p].number, .program = p};
    }
    for (uint32_t c = 0; c < index->class_count; c++)
        qsort(index->members + index->classes[c].first, index->classes[c].count, sizeof *index->members,
              compare_members);
}

struct cel_index *cel_index_new(const struct cel_indexed *programs, uint32_t count)
{
    struct cel_index *index = memory_new(sizeof *index);
    struct builder builder = {.index = index, .demands = memory_new(count * sizeof *builder.demands)};

    index->count = count;
    index->classes = memory_new(count * sizeof *index->classes);
    index->class_of = memory_new(count * sizeof *index->class_of);
    index->members = memory_new(count * sizeof *index->members);
    index->open = memory_new(count * sizeof *index->open);
    slots_init(&index->values, ENTRIES_MAX);
    slots_init(&builder.classes, ENTRIES_MAX);
    for (uint32_t i = 0; i < count; i++) {
        struct demand *demand = &builder.demands[i];

        builder.program = programs[i].program;
        builder.columns = programs[i].columns;
        *demand = (struct demand){.states = UINT32_MAX,
                                  .kinds = UINT32_MAX,
                                  .bound = FIELD_COUNT,
                                  .number = -INFINITY,
                                  .first = builder.text_count};
        add_parts(&builder, builder.program->root, demand);
    }
    index->heads = memory_grow(NULL, index->values.next * sizeof *index->heads);
    memset(index->heads, 0xFF, index->values.next * sizeof *index->heads);
    for (uint32_t i = 0; i < count; i++)
        classify(&builder, i);
    sort_members(&builder);
    slots_free(&builder.classes);
    free(builder.demands);
    free(builder.texts);
    free(builder.values);
    return index;
}

void cel_index_free(struct cel_index *index)
{
    if (!index)
        return;
    slots_free(&index->values);
    free(index->classes);
    free(index->class_of);
    free(index->members);
    free(index->open);
    free(index->heads);
    free(index->links);
    free(index);
}

/* Looking, once a batch or a closed bucket */

struct found { /* rows of one class */
    uint16_t *rows;
    size_t count, capacity;
};

struct cel_look {
    const struct cel_index *index;
    struct found *found; /* by class */
    uint32_t *touched, touched_count;
    uint64_t *marked; /* bits by program: those that may be true and are not taken yet */
    uint32_t word;    /* of `marked`, the first that may have any */
};

static uint32_t word_count(const struct cel_index *index)
{
    return (index->count + 63) / 64;
}

struct cel_look *cel_look_new(const struct cel_index *index)
{
    struct cel_look *look = memory_new(sizeof *look);

    look->index = index;
    look->found = memory_new(index->class_count * sizeof *look->found);
    look->touched = memory_new(index->class_count * sizeof *look->touched);
    look->marked = memory_new(word_count(index) * sizeof *look->marked);
    return look;
}

void cel_look_free(struct cel_look *look)
{
    if (!look)
        return;
    for (uint32_t i = 0; i < look->index->class_count; i++)
        free(look->found[i].rows);
    free(look->found);
    free(look->touched);
    free(look->marked);
    free(look);
}

static void begin(struct cel_look *look)
{
    for (uint32_t i = 0; i < look->touched_count; i++)
        look->found[look->touched[i]].count = 0;
    look->touched_count = 0;
    memset(look->marked, 0, word_count(look->index) * sizeof *look->marked);
    look->word = 0;
}

static void mark_members(struct cel_look *look, const struct class *class, double value)
{
    const struct member *member = look->index->members + class->first;

    for (uint32_t i = 0; i < class->count && member->number <= value; i++, member++)
        look->marked[member->program / 64] |= UINT64_C(1) << member->program % 64;
}

/* LINK_NONE: no class asks for it. */
static uint32_t find_links(const struct cel_index *index, unsigned column, struct span text)
{
    struct shape shape = shape_of(text), among = index->shapes[column];

    if (!(shape.sizes & among.sizes) || !(shape.ends & among.ends))
        return LINK_NONE;
    uint32_t value = slots_find(&index->values, value_key(column, text));
    return value == SLOT_NONE ? LINK_NONE : index->heads[value];
}

static void find_open(struct cel_look *look, uint32_t number, const struct event_batch *batch)
{
    const struct class *class = &look->index->classes[number];
    struct found *found = &look->found[number];
    uint16_t *rows = memory_reserve(found->rows, &found->capacity, batch->row_limit, sizeof *found->rows);
    uint32_t count = 0;

    for (uint32_t row = 0; row < batch->rows; row++) {
        rows[count] = (uint16_t)row;
        count += batch->mark[row] == MARK_OK &&
                 class->states >> batch->state[row] & class->kinds >> batch->kind[row] & 1;
    }
    found->rows = rows;
    found->count = count;
    if (count)
        look->touched[look->touched_count++] = number;
}

static void find_row(struct cel_look *look, const struct event_batch *batch, uint32_t row, uint32_t link)
{
    const struct cel_index *index = look->index;

    for (; link != LINK_NONE; link = index->links[link].next) {
        uint32_t number = index->links[link].class;
        const struct class *class = &index->classes[number];
        struct found *found = &look->found[number];

        if (!(class->states >> batch->state[row] & class->kinds >> batch->kind[row] & 1))
            continue;
        if (found->count == 0)
            look->touched[look->touched_count++] = number;
        found->rows = memory_reserve(found->rows, &found->capacity, found->count + 1, sizeof *found->rows);
        found->rows[found->count++] = (uint16_t)row;
    }
}

static void find_keyed(struct cel_look *look, const struct event_batch *batch)
{
    const struct cel_index *index = look->index;
    const struct span *texts[COLUMNS_MAX];

    for (unsigned i = 0; i < index->column_count; i++) {
        unsigned column = index->columns[i];
        struct field_ref ref = {.field = column < FIELD_COUNT ? (enum field)column : FIELD_COUNT,
                                .label = column < FIELD_COUNT ? 0 : column - FIELD_COUNT};

        texts[i] = cel_text_column(batch, ref);
    }
    for (uint32_t row = 0; row < batch->rows; row++) {
        if (batch->mark[row] != MARK_OK ||
            !(index->states >> batch->state[row] & index->kinds >> batch->kind[row] & 1))
            continue;
        for (unsigned i = 0; i < index->column_count; i++)
            find_row(look, batch, row, find_links(index, index->columns[i], texts[i][row]));
    }
}

/* The greatest value of the class's rows; -INFINITY when all are absent. */
static double greatest(const struct class *class, const struct found *found, const struct event_batch *batch)
{
    double values[BLOCK_ROWS], most = -INFINITY;

    if (class->bound == FIELD_COUNT)
        return INFINITY;
    for (size_t first = 0; first < found->count; first += BLOCK_ROWS) {
        uint32_t count = (uint32_t)(found->count - first < BLOCK_ROWS ? found->count - first : BLOCK_ROWS);

        cel_field_numbers(batch, class->bound, found->rows + first, count, values);
        for (uint32_t i = 0; i < count; i++) {
            double value = class->below ? -values[i] : values[i];

            most = value > most ? value : most;
        }
    }
    return most;
}

void cel_look_batch(struct cel_look *look, const struct event_batch *batch)
{
    const struct cel_index *index = look->index;

    begin(look);
    for (uint32_t i = 0; i < index->open_count; i++)
        find_open(look, index->open[i], batch);
    if (index->column_count)
        find_keyed(look, batch);
    for (uint32_t i = 0; i < look->touched_count; i++) {
        const struct class *class = &index->classes[look->touched[i]];

        mark_members(look, class, greatest(class, &look->found[look->touched[i]], batch));
    }
}

void cel_look_texts(struct cel_look *look, const struct span *texts, unsigned count)
{
    const struct cel_index *index = look->index;

    begin(look);
    for (uint32_t i = 0; i < index->open_count; i++)
        mark_members(look, &index->classes[index->open[i]], INFINITY);
    for (unsigned i = 0; i < index->column_count; i++) {
        assert(index->columns[i] < count);
        for (uint32_t link = find_links(index, index->columns[i], texts[index->columns[i]]);
             link != LINK_NONE; link = index->links[link].next)
            mark_members(look, &index->classes[index->links[link].class], INFINITY);
    }
}

bool cel_look_next(struct cel_look *look, uint32_t *ret_program)
{
    uint32_t words = word_count(look->index);

    while (look->word < words && look->marked[look->word] == 0)
        look->word++;
    if (look->word == words)
        return false;
    uint64_t *word = &look->marked[look->word];
    *ret_program = look->word * 64 + (uint32_t)__builtin_ctzll(*word);
    *word &= *word - 1;
    return true;
}

const uint16_t *cel_look_rows(const struct cel_look *look, uint32_t program, uint32_t *ret_count)
{
    const struct found *found = &look->found[look->index->class_of[program]];

    *ret_count = (uint32_t)found->count;
    return found->rows;
}
