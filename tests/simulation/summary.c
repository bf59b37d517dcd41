#include "tests/simulation/summary.h"

#include "base/memory.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VALUE_BYTES = 128 };

/* The first member of this name; "" when there is none. */
static const char *member(const char *json, const char *name, char ret_value[VALUE_BYTES])
{
    char key[VALUE_BYTES];
    const char *at, *end;

    snprintf(key, sizeof key, "\"%s\":", name);
    at = strstr(json, key);
    ret_value[0] = '\0';
    if (!at)
        return ret_value;
    at += strlen(key);
    end = *at == '"' ? strchr(++at, '"') : at + strcspn(at, ",}");
    snprintf(ret_value, VALUE_BYTES, "%.*s", (int)(end - at), at);
    return ret_value;
}

static double number(const char *json, const char *name)
{
    char value[VALUE_BYTES];

    return strtod(member(json, name, value), NULL);
}

static void add_bucket(const char *line, struct texts *facts)
{
    char measure[VALUE_BYTES], workflow[VALUE_BYTES], start[VALUE_BYTES];
    unsigned rows = (unsigned)number(line, "version") - 1;

    member(line, "measure", measure);
    member(line, "workflow", workflow);
    member(line, "start", start);
    if (strcmp(measure, "ends") == 0)
        texts_print(facts, "bucket %s %s %s %u", measure, workflow, start, rows);
    else
        texts_print(facts, "bucket %s %s %s %u %.12g %.12g", measure, workflow, start, rows,
                    number(line, "sum"), number(line, "max"));
}

/* The line of each bucket with the highest version: a later one replaces it. */
struct last_lines {
    struct slots slots;
    size_t *lines;
    size_t capacity;
};

static bool is_alert(const char *line)
{
    return strstr(line, "\"revision\":") != NULL;
}

static bool is_bucket(const char *line)
{
    return strstr(line, "\"version\":") != NULL;
}

static struct id128 line_id(const char *line)
{
    char id[VALUE_BYTES];

    member(line, "id", id);
    return (struct id128){hash_bytes(id, strlen(id), 0), 0};
}

static void find_last(const struct texts *lines, struct last_lines *ret_last)
{
    *ret_last = (struct last_lines){0};
    slots_init(&ret_last->slots, UINT32_MAX - 1);
    for (size_t i = 0; i < lines->count; i++) {
        bool is_new;

        if (!is_bucket(lines->items[i]))
            continue;
        uint32_t slot = slots_add(&ret_last->slots, line_id(lines->items[i]), &is_new);
        ret_last->lines =
            memory_reserve(ret_last->lines, &ret_last->capacity, slot + 1u, sizeof *ret_last->lines);
        if (is_new ||
            number(lines->items[i], "version") > number(lines->items[ret_last->lines[slot]], "version"))
            ret_last->lines[slot] = i;
    }
}

static void add_alert(const char *line, struct texts *facts)
{
    char rule[VALUE_BYTES], target[VALUE_BYTES], state[VALUE_BYTES], at[VALUE_BYTES], reason[VALUE_BYTES];

    texts_print(facts, "alert %s %s %s %u %s %s", member(line, "rule", rule), member(line, "target", target),
                member(line, "state", state), (unsigned)number(line, "revision"), member(line, "at", at),
                member(line, "reason", reason));
}

static void add_lines(const struct texts *lines, struct texts *facts)
{
    char workflow[VALUE_BYTES], run[VALUE_BYTES], state[VALUE_BYTES];
    struct last_lines last;

    find_last(lines, &last);
    for (uint32_t slot = 0; slot < last.slots.next; slot++)
        add_bucket(lines->items[last.lines[slot]], facts);
    slots_free(&last.slots);
    free(last.lines);
    for (size_t i = 0; i < lines->count; i++) {
        const char *line = lines->items[i];

        if (is_alert(line))
            add_alert(line, facts);
        else if (strstr(line, "\"level\":"))
            texts_print(facts, "run %s %s %s", member(line, "workflow", workflow), member(line, "run", run),
                        member(line, "state", state));
    }
}

/* Each letter as a text that begins with its fact; a sink's letter has the document's hash for an offset. */
static bool read_letters(struct world *world, const char *store_path, const char *vfs, struct texts *letters)
{
    sqlite3_stmt *statement = NULL;
    sqlite3 *database = NULL;
    int answer = sqlite3_open_v2(store_path, &database, SQLITE_OPEN_READWRITE, vfs);

    if (answer == SQLITE_OK)
        answer = sqlite3_prepare_v2(database, "SELECT stage, partition, offset, topic FROM dead_letters", -1,
                                    &statement, NULL);
    while (answer == SQLITE_OK && (answer = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *stage = (const char *)sqlite3_column_text(statement, 0);

        if (strcmp(stage, "sink") == 0)
            texts_print(letters, "letter sink %lld", (long long)sqlite3_column_int64(statement, 2));
        else
            texts_print(letters, "letter %s %d %lld", stage, sqlite3_column_int(statement, 1),
                        (long long)sqlite3_column_int64(statement, 2));
        answer = SQLITE_OK;
    }
    if (answer != SQLITE_DONE)
        world_fail(world, "the dead letters cannot be read: %s", sqlite3_errmsg(database));
    sqlite3_finalize(statement);
    sqlite3_close(database);
    return answer == SQLITE_DONE;
}

static bool add_letters(struct world *world, const struct stores *stores, struct texts *facts)
{
    struct texts letters = {0};
    bool all = true;

    for (unsigned i = 0; i < stores->count && all; i++)
        all = read_letters(world, stores->paths[i], stores->vfs, &letters);
    if (stores->count > 1)
        texts_sort_once(&letters);
    for (size_t i = 0; i < letters.count; i++)
        if (strncmp(letters.items[i], "letter sink", 11) == 0)
            texts_print(facts, "letter sink");
        else
            texts_print(facts, "%s", letters.items[i]);
    texts_truncate(&letters, 0);
    return all;
}

static void add_events(const struct world *world, struct texts *facts)
{
    for (uint32_t i = 0; i <= world->ids.mask; i++) {
        const struct slot_cell *cell = &world->ids.cells[i];

        if (!cell->number || world->documents[cell->number - 1].kind != DOC_EVENT)
            continue;
        struct id128 id = world->ids.keys[cell->number - 1];
        texts_print(facts, "event %016llx%016llx", (unsigned long long)id.high, (unsigned long long)id.low);
    }
}

bool summary_take(struct world *world, const struct stores *stores, struct texts *ret_facts)
{
    *ret_facts = (struct texts){0};
    add_lines(&world->lines, ret_facts);
    if (world->ids.used)
        add_events(world, ret_facts);
    if (!add_letters(world, stores, ret_facts))
        return false;
    texts_sort(ret_facts);
    return true;
}

bool texts_compare(struct world *world, const char *what, const struct texts *expected,
                   const struct texts *told)
{
    for (size_t i = 0; i < expected->count || i < told->count; i++) {
        const char *left = i < expected->count ? expected->items[i] : NULL;
        const char *right = i < told->count ? told->items[i] : NULL;

        if (left && right && strcmp(left, right) == 0)
            continue;
        if (!right || (left && strcmp(left, right) < 0))
            world_fail(world, "%s: missing: %.480s", what, left);
        else
            world_fail(world, "%s: twice, or not expected: %.480s", what, right);
        return false;
    }
    return true;
}

/* A line of an alert of an event rule may have been told ahead, by a prompt that names another row. */
static void name_notes(const struct texts *lines, struct texts *ret_names)
{
    char rule[VALUE_BYTES], workflow[VALUE_BYTES], state[VALUE_BYTES], id[VALUE_BYTES];

    *ret_names = (struct texts){0};
    for (size_t i = 0; i < lines->count; i++) {
        const char *line = lines->items[i];

        if (!is_alert(line))
            continue;
        member(line, "rule", rule);
        member(line, "state", state);
        if (strcmp(state, "firing") == 0 && strcmp(rule, "failed") == 0)
            texts_print(ret_names, "%s firing %s", rule, member(line, "workflow", workflow));
        else
            texts_print(ret_names, "%s %s %s", rule, state, member(line, "id", id));
    }
    texts_sort(ret_names);
}

/* How often the name at `at` comes, which stands in a row with its equals. */
static size_t count_equal(const struct texts *names, size_t at, const char *name)
{
    size_t count = 0;

    while (at + count < names->count && strcmp(names->items[at + count], name) == 0)
        count++;
    return count;
}

/* Each line is told once, and once more for each crash that came between its sending and the mark in the log:
 * one crash may do that to several lines of a name. */
void summary_check_notes(struct world *world)
{
    struct texts lines, notes;
    size_t line = 0, note = 0;

    name_notes(&world->lines, &lines);
    name_notes(&world->notes, &notes);
    while (line < lines.count || note < notes.count) {
        const char *name = line < lines.count ? lines.items[line] : notes.items[note];

        if (note < notes.count && strcmp(notes.items[note], name) < 0)
            name = notes.items[note];
        size_t lined = count_equal(&lines, line, name), told = count_equal(&notes, note, name);
        if (told < lined || lined == 0 || told > lined * world->lives)
            world_fail(world, "%s: %zu lines, told %zu times in %u lives", name, lined, told, world->lives);
        line += lined;
        note += told;
    }
    texts_truncate(&lines, 0);
    texts_truncate(&notes, 0);
}
