/* What documents.c and document_event.c share. */
#pragma once
#include "schemas/encode.h"

enum document_object {
    OBJECT_WEIR,
    OBJECT_HOST,
    OBJECT_EVENT,
    OBJECT_MESSAGE,
    OBJECT_LOG,
    OBJECT_ERROR,
    OBJECT_SERVICE,
    OBJECT_TRACE,
    OBJECTS
};

/* The objects of a document and their ranges of field rows. */
struct object_row {
    const char *name; /* NULL: at the root */
    unsigned prefix;  /* bytes of a row's path before the key within the object */
    enum field first, end;
};
extern const struct object_row object_rows[OBJECTS];

static inline const char *object_key(const struct object_row *object, unsigned field)
{
    return field_rows[field].path + object->prefix;
}

/* Opens the document up to and into "weir". */
void document_begin(struct json_writer *json, struct buffer *out, int64_t time_us, enum document_kind kind,
                    struct span pipeline);
void document_ecs_version(struct json_writer *json);
void document_label_key(struct json_writer *json, struct span name);
struct span outcome_of(enum run_state state); /* empty: none yet */

/* Milliseconds to ECS's nanoseconds, rounded half away from zero. A duration beyond 292 years is none. */
bool nanoseconds_of(double milliseconds, int64_t *ret_nanoseconds);
