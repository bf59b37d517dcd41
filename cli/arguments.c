#include "cli/arguments.h"

#include "base/memory.h"

#include <stdio.h>

static bool read_own(const struct argument *own, int argc, char **argv, int *at)
{
    for (; own->name; own++) {
        if (strcmp(argv[*at], own->name) != 0)
            continue;
        if (own->flag) {
            *own->flag = true;
            return true;
        }
        if (*at + 1 >= argc) {
            fprintf(stderr, "weir %s: %s needs a value\n", argv[0], own->name);
            return false;
        }
        *own->value = argv[++*at];
        return true;
    }
    fprintf(stderr, "weir %s: unknown option %s\n", argv[0], argv[*at]);
    return false;
}

bool arguments_read(int argc, char **argv, const struct argument *own, struct file_arguments *ret_arguments)
{
    *ret_arguments = (struct file_arguments){0};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--set") == 0) {
            if (i + 1 >= argc || ret_arguments->assignment_count == ASSIGNMENTS_MAX) {
                fprintf(stderr, "weir %s: --set needs path.key=value, at most %d times\n", argv[0],
                        ASSIGNMENTS_MAX);
                return false;
            }
            ret_arguments->assignments[ret_arguments->assignment_count++] = argv[++i];
        } else if (argv[i][0] == '-' && argv[i][1] != '\0') {
            if (!read_own(own, argc, argv, &i))
                return false;
        } else if (ret_arguments->path) {
            fprintf(stderr, "weir %s: one configuration file, not also '%s'\n", argv[0], argv[i]);
            return false;
        } else {
            ret_arguments->path = argv[i];
        }
    }
    if (!ret_arguments->path)
        fprintf(stderr, "weir %s: needs a configuration file\n", argv[0]);
    return ret_arguments->path != NULL;
}

struct plan *arguments_plan(const struct file_arguments *arguments)
{
    struct plan *plan;
    struct error error;

    if (plan_load(arguments->path, arguments->assignments, arguments->assignment_count, &plan, &error) ==
        STATUS_OK)
        return plan;
    fprintf(stderr, "%s\n", error.text);
    return NULL;
}

enum status arguments_store_path(const char *file, const char *store, char **ret_path,
                                 struct error *ret_error)
{
    struct config *config;
    const struct node *path = NULL;

    if (!file) {
        const char *used = store ? store : "weir.db";

        *ret_path = memory_text(used, strlen(used));
        return STATUS_OK;
    }
    if (config_load(file, &config, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    const struct node *root = config_root(config), *section = node_find(root, "store");
    if (section && section->type == NODE_MAP)
        path = node_find(section, "path");
    if (path && path->type != NODE_SCALAR)
        node_fail(path, ret_error, "store.path: expected one text");
    else
        *ret_path = node_path(path ? path : root, path ? path->text : "weir.db");
    bool good = !path || path->type == NODE_SCALAR;
    config_free(config);
    return good ? STATUS_OK : STATUS_FATAL;
}
