/* Read once, at the start of a command. */
#include "cli/lines.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static enum status read_all(FILE *file, const char *path, line_visit *visit, void *owner,
                            struct error *ret_error)
{
    enum status status = STATUS_OK;
    struct error reason;
    char *line = NULL;
    size_t capacity = 0;
    ssize_t size;

    for (unsigned long number = 1; status != STATUS_FATAL && (size = getline(&line, &capacity, file)) >= 0;
         number++) {
        while (size > 0 && (line[size - 1] == '\n' || line[size - 1] == '\r'))
            size--;
        if (size == 0)
            continue;
        if ((size_t)size > UINT32_MAX)
            status = fail(&reason, "the line is longer than 4 GiB");
        else
            status = visit(owner, span_make(line, (size_t)size), &reason);
        if (status == STATUS_FATAL)
            fail(ret_error, "%s:%lu: %s", path, number, reason.text);
    }
    free(line);
    if (status != STATUS_FATAL && ferror(file))
        return fail(ret_error, "%s: %s", path, strerror(errno));
    return status == STATUS_FATAL ? STATUS_FATAL : STATUS_OK;
}

enum status lines_read(const char *path, line_visit *visit, void *owner, struct error *ret_error)
{
    bool standard_input = strcmp(path, "-") == 0;
    FILE *file = standard_input ? stdin : fopen(path, "re");

    if (!file)
        return fail(ret_error, "%s: %s", path, strerror(errno));
    enum status status = read_all(file, path, visit, owner, ret_error);
    if (!standard_input)
        (void)fclose(file);
    return status;
}
