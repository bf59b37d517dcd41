/* An HTTP server on a loopback port, in a process of its own, so that its cost is not ours. */
#pragma once
#include "base/buffer.h"
#include "base/status.h"

#include <stdint.h>
#include <sys/types.h>

struct local_request { /* whole; borrowed during the answer */
    const char *method, *url;
    struct span body;
    int64_t first_us; /* wall clock when its first bytes were there */
};

/* Appends the answer's body, JSON, to `out`. On the server's one thread. */
typedef void local_answer(void *owner, const struct local_request *request, struct buffer *out);

struct local_server {
    pid_t pid; /* 0: not started */
    uint16_t port;
};

/* Forks, so it is called before any thread exists; `owner` is the child's copy. The server ends with its
 * parent at the latest. */
enum status local_server_start(local_answer *answer, void *owner, struct local_server *ret_server,
                               struct error *ret_error);
void local_server_stop(struct local_server *server); /* does nothing when it was never started */
