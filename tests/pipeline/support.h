/* A folder of a test's own, and plans from text. */
#pragma once
#include "pipeline/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct folder {
    char path[64];
};

void folder_open(struct folder *folder);
void folder_close(struct folder *folder); /* with all files in it */

/* FOLDER/name; valid until the next call but three. */
const char *folder_path(const struct folder *folder, const char *name);
void folder_put(const struct folder *folder, const char *name, const char *data, size_t size);
char *folder_get(const struct folder *folder, const char *name, size_t *ret_size); /* free() it */

/* `--set` assignments end with NULL; NULL: none. */
enum status plan_try(const struct folder *folder, const char *yaml, const char *const *assignments,
                     struct plan **ret_plan, struct error *ret_error);
struct plan *plan_of(const char *yaml); /* must be right; free with plan_free */
