#include "tests/pipeline/support.h"

#include "base/memory.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void folder_open(struct folder *folder)
{
    *folder = (struct folder){.path = "/tmp/weir-test-XXXXXX"};
    assert_non_null(mkdtemp(folder->path));
}

void folder_close(struct folder *folder)
{
    DIR *directory = opendir(folder->path);
    const struct dirent *entry;

    assert_non_null(directory);
    while ((entry = readdir(directory)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            assert_int_equal(unlink(folder_path(folder, entry->d_name)), 0);
    closedir(directory);
    assert_int_equal(rmdir(folder->path), 0);
}

const char *folder_path(const struct folder *folder, const char *name)
{
    static char paths[4][512];
    static unsigned next;
    char *path = paths[next++ % 4];

    snprintf(path, sizeof paths[0], "%s/%s", folder->path, name);
    return path;
}

void folder_put(const struct folder *folder, const char *name, const char *data, size_t size)
{
    FILE *file = fopen(folder_path(folder, name), "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

char *folder_get(const struct folder *folder, const char *name, size_t *ret_size)
{
    FILE *file = fopen(folder_path(folder, name), "rb");
    size_t capacity = 1 << 16, got;
    char *data = memory_new(capacity);

    assert_non_null(file);
    *ret_size = 0;
    while ((got = fread(data + *ret_size, 1, capacity - *ret_size - 1, file)) > 0) {
        *ret_size += got;
        if (capacity - *ret_size < 2)
            data = memory_grow(data, capacity *= 2);
    }
    data[*ret_size] = '\0';
    fclose(file);
    return data;
}

enum status plan_try(const struct folder *folder, const char *yaml, const char *const *assignments,
                     struct plan **ret_plan, struct error *ret_error)
{
    size_t count = 0;

    while (assignments && assignments[count])
        count++;
    folder_put(folder, "plan.yaml", yaml, strlen(yaml));
    return plan_load(folder_path(folder, "plan.yaml"), assignments, count, ret_plan, ret_error);
}

struct plan *plan_of(const char *yaml)
{
    struct folder folder;
    struct plan *plan = NULL;
    struct error error;

    folder_open(&folder);
    if (plan_try(&folder, yaml, NULL, &plan, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    folder_close(&folder);
    return plan;
}
