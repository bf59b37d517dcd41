/* The reading side of result.c. Once a file. */
#include "bench/document.h"

#include "base/buffer.h"
#include "base/memory.h"
#include "base/timestamp.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yajl/yajl_tree.h>

enum { FILE_BYTES_MAX = 64 * 1024 * 1024 };

static enum status read_text(const char *path, char **ret_text, struct error *ret_error)
{
    FILE *file = fopen(path, "r");
    size_t size = 0, capacity = 0, got = 1;
    char *text = NULL;

    if (!file)
        return fail(ret_error, "%s: %s", path, strerror(errno));
    while (got > 0 && size < FILE_BYTES_MAX) {
        text = memory_reserve(text, &capacity, size + BUFSIZ, 1);
        got = fread(text + size, 1, BUFSIZ - 1, file);
        size += got;
    }
    text[size] = '\0';
    (void)fclose(file);
    *ret_text = text;
    return STATUS_OK;
}

/* What stands under the key; NULL: nothing of that type. */
static yajl_val value_of(yajl_val object, const char *key, yajl_type type)
{
    const char *path[] = {key, NULL};

    return object ? yajl_tree_get(object, path, type) : NULL;
}

static char *text_of(yajl_val object, const char *key)
{
    yajl_val value = value_of(object, key, yajl_t_string);
    const char *text = value ? value->u.string : "";

    return memory_text(text, strlen(text));
}

/* All but the number of runs. */
static char *parameters_of(yajl_val result)
{
    yajl_val object = value_of(result, "parameters", yajl_t_object);
    struct buffer text;

    buffer_init(&text, SIZE_MAX);
    for (size_t i = 0; object && i < object->u.object.len; i++) {
        yajl_val value = object->u.object.values[i];

        if (strcmp(object->u.object.keys[i], "runs") != 0)
            buffer_print(&text, "%s=%s ", object->u.object.keys[i],
                         YAJL_IS_NUMBER(value)   ? YAJL_GET_NUMBER(value)
                         : YAJL_IS_STRING(value) ? YAJL_GET_STRING(value)
                                                 : "");
    }
    buffer_put_char(&text, '\0');
    return text.data;
}

static void free_figure(struct document_figure *figure)
{
    free(figure->case_name);
    free(figure->parameters);
    free(figure->name);
    free(figure->unit);
    free(figure->values);
}

static void add_figure(struct document *document, yajl_val result, yajl_val figure)
{
    yajl_val runs = value_of(figure, "runs", yajl_t_array);
    struct document_figure *added;

    if (!runs)
        return;
    document->figures = memory_reserve(document->figures, &document->figure_capacity,
                                       document->figure_count + 1, sizeof *document->figures);
    added = &document->figures[document->figure_count++];
    *added = (struct document_figure){.case_name = text_of(result, "case"),
                                      .parameters = parameters_of(result),
                                      .name = text_of(figure, "name"),
                                      .unit = text_of(figure, "unit"),
                                      .values = memory_new((runs->u.array.len + 1) * sizeof(double))};
    for (size_t i = 0; i < runs->u.array.len; i++)
        if (YAJL_IS_NUMBER(runs->u.array.values[i]))
            added->values[added->count++] = strtod(YAJL_GET_NUMBER(runs->u.array.values[i]), NULL);
    if (added->count == 0)
        free_figure(&document->figures[--document->figure_count]);
}

static void add_results(struct document *document, yajl_val results)
{
    for (size_t i = 0; i < results->u.array.len; i++) {
        yajl_val result = results->u.array.values[i], figures = value_of(result, "figures", yajl_t_array);

        for (size_t f = 0; figures && f < figures->u.array.len; f++)
            add_figure(document, result, figures->u.array.values[f]);
    }
}

enum status document_read(const char *path, struct document *ret_document, struct error *ret_error)
{
    char *text = NULL, *time;
    char reason[256];

    if (read_text(path, &text, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    yajl_val root = yajl_tree_parse(text, reason, sizeof reason);
    yajl_val results = value_of(root, "results", yajl_t_array);

    free(text);
    if (!results) {
        yajl_tree_free(root);
        return fail(ret_error, "%s: no document of `weir bench`", path);
    }
    *ret_document =
        (struct document){.path = memory_text(path, strlen(path)),
                          .commit = text_of(root, "commit"),
                          .version = text_of(root, "version"),
                          .processor = text_of(value_of(root, "machine", yajl_t_object), "processor")};
    time = text_of(root, "time");
    (void)time_parse(span_of(time), TIME_UNIT_AUTO, TIME_NONE, &ret_document->time_us);
    free(time);
    add_results(ret_document, results);
    yajl_tree_free(root);
    return STATUS_OK;
}

void document_free(struct document *document)
{
    for (size_t i = 0; i < document->figure_count; i++)
        free_figure(&document->figures[i]);
    free(document->figures);
    free(document->path);
    free(document->commit);
    free(document->version);
    free(document->processor);
    *document = (struct document){0};
}

const struct document_figure *document_find(const struct document *document, const char *case_name,
                                            const char *name)
{
    for (size_t i = 0; i < document->figure_count; i++)
        if (strcmp(document->figures[i].case_name, case_name) == 0 &&
            strcmp(document->figures[i].name, name) == 0)
            return &document->figures[i];
    return NULL;
}
