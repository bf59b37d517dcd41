/* The outcome comes through a pipe as a status, the error and the bytes. Some times a case. */
#include "bench/apart.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { READ_BYTES = 65536 };

struct outcome {
    enum status status;
    struct error error;
};

static bool write_all(int descriptor, const void *data, size_t size)
{
    const char *at = data;

    while (size > 0) {
        ssize_t wrote = write(descriptor, at, size);

        if (wrote <= 0)
            return false;
        at += wrote;
        size -= (size_t)wrote;
    }
    return true;
}

/* As much as there is, up to the size. */
static size_t read_all(int descriptor, void *data, size_t size)
{
    size_t used = 0;
    ssize_t got;

    while (used < size && (got = read(descriptor, (char *)data + used, size - used)) > 0)
        used += (size_t)got;
    return used;
}

static void work_and_tell(apart_work *work, void *owner, size_t limit, int descriptor)
{
    struct outcome outcome = {.status = STATUS_OK};
    struct buffer made;

    buffer_init(&made, limit);
    outcome.status = work(owner, &made, &outcome.error);
    (void)fflush(NULL);
    _exit(!write_all(descriptor, &outcome, sizeof outcome) || !write_all(descriptor, made.data, made.size));
}

enum status apart_run(apart_work *work, void *owner, struct buffer *out, struct error *ret_error)
{
    struct outcome outcome;
    char bytes[READ_BYTES];
    size_t got, told;
    int ends[2], ended = 0;
    pid_t child;

    (void)fflush(NULL);
    if (pipe(ends) != 0)
        return fail(ret_error, "cannot make a pipe: %s", strerror(errno));
    child = fork();
    if (child == 0)
        work_and_tell(work, owner, out->limit - out->size, ends[1]);
    close(ends[1]);
    told = child > 0 ? read_all(ends[0], &outcome, sizeof outcome) : 0;
    while (told == sizeof outcome && (got = read_all(ends[0], bytes, sizeof bytes)) > 0)
        buffer_put(out, bytes, got);
    close(ends[0]);
    if (child > 0)
        (void)waitpid(child, &ended, 0);
    if (child > 0 && WIFSIGNALED(ended) && WTERMSIG(ended) == SIGKILL) {
        fail(ret_error, "a process was killed");
        return STATUS_SKIP;
    }
    if (told != sizeof outcome || ended != 0)
        return fail(ret_error, "a process ended without a word");
    if (outcome.status != STATUS_OK)
        *ret_error = outcome.error;
    return outcome.status;
}
