/* An HTTP server on 127.0.0.1 in a thread of the test. It answers what the test's function says and keeps
 * what it was asked. */
#pragma once
#include "base/buffer.h"

#include <pthread.h>

struct fake_request {
    char method[16], path[512];
    char headers[4096]; /* as sent, ended with a null byte */
    struct span body;   /* borrowed */
    unsigned number;    /* from 0, of all requests */
};

struct fake_reply {
    bool cut;          /* close without an answer */
    struct buffer raw; /* whole answer with status line and headers */
};

struct fake_server {
    int port;
    void (*answer)(void *owner, const struct fake_request *request, struct fake_reply *reply);
    void *owner;
    pthread_mutex_t lock; /* held around `answer`; the test takes it to look at what `answer` keeps */
    pthread_t thread;
    int listener, stop[2];
    unsigned requests; /* answered; under the lock */
};

void fake_server_start(struct fake_server *server,
                       void (*answer)(void *owner, const struct fake_request *request,
                                      struct fake_reply *reply),
                       void *owner);
void fake_server_stop(struct fake_server *server);
unsigned fake_server_requests(struct fake_server *server);

/* Writes a status line, the headers (whole lines with \r\n, or ""), a content length and the body. */
void fake_reply_put(struct fake_reply *reply, int status, const char *headers, struct span body);
