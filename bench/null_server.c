/* The answer is made from the number of lines alone; once a bulk of some thousand documents. Of a document
 * only the measure's name and count are looked for, by text search: the check that nothing was lost needs
 * no more.
 * Tried and dropped: a thread of the measured process, whose CPU time cannot be told from the sinks'. */
#include "bench/null_server.h"

#include "base/buffer.h"
#include "base/memory.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BODY_BYTES_MAX = 256 * 1024 * 1024, CONNECTION_BYTES = 512 * 1024, BACKLOG = 64, MEASURE_BYTES = 128 };

struct server {
    struct null_server_figures *figures;
    char measure[MEASURE_BYTES]; /* as it stands in a document */
};

static void count_document(const struct server *server, const char *line, size_t size)
{
    static const char key[] = "\"count\":";
    const char *end = line + size;
    const char *found = memmem(line, size, server->measure, strlen(server->measure));
    const char *count = found ? memmem(found, (size_t)(end - found), key, strlen(key)) : NULL;

    if (count) /* the text goes on with a newline at least, so the number ends in it */
        atomic_fetch_add(&server->figures->counted, (uint64_t)strtod(count + strlen(key), NULL));
}

/* An action line and a document line by turns; there are no deletes. */
static size_t count_bulk(const struct server *server, const struct buffer *body)
{
    const char *at = body->data, *end = body->data + body->size, *newline;
    size_t lines = 0;

    while (at < end && (newline = memchr(at, '\n', (size_t)(end - at)))) {
        if (lines++ % 2 == 1)
            count_document(server, at, (size_t)(newline - at));
        at = newline + 1;
    }
    atomic_fetch_add(&server->figures->requests, 1);
    atomic_fetch_add(&server->figures->documents, lines / 2);
    atomic_fetch_add(&server->figures->bytes, body->size);
    return lines / 2;
}

static void write_bulk_answer(size_t documents, struct buffer *out)
{
    buffer_put_text(out, "{\"took\":0,\"errors\":false,\"items\":[");
    for (size_t i = 0; i < documents; i++)
        buffer_put_text(out, i ? ",{\"index\":{\"status\":201}}" : "{\"index\":{\"status\":201}}");
    buffer_put_text(out, "]}");
}

static enum MHD_Result answer(void *owner, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *data, size_t *data_size,
                              void **request)
{
    struct buffer *body = *request, out;
    struct MHD_Response *response;
    enum MHD_Result result;

    if (!body) {
        *request = body = memory_new(sizeof *body);
        buffer_init(body, BODY_BYTES_MAX);
        return MHD_YES;
    }
    if (*data_size > 0) {
        buffer_put(body, data, *data_size);
        *data_size = 0;
        return body->full ? MHD_NO : MHD_YES;
    }
    buffer_init(&out, BODY_BYTES_MAX);
    if (strcmp(method, "POST") == 0 && strstr(url, "_bulk"))
        write_bulk_answer(count_bulk(owner, body), &out);
    else
        buffer_put_text(&out, "{}");
    response = MHD_create_response_from_buffer(out.size, out.data, MHD_RESPMEM_MUST_COPY);
    buffer_free(&out);
    if (!response)
        return MHD_NO;
    result = MHD_add_response_header(response, "Content-Type", "application/json");
    if (result == MHD_YES)
        result = MHD_queue_response(connection, MHD_HTTP_OK, response);
    MHD_destroy_response(response);
    return result;
}

static void forget(void *owner, struct MHD_Connection *connection, void **request,
                   enum MHD_RequestTerminationCode code)
{
    struct buffer *body = *request;

    if (!body)
        return;
    buffer_free(body);
    free(body);
    *request = NULL;
}

static _Noreturn void serve(int listener, struct server *server, pid_t parent)
{
    struct MHD_Daemon *daemon;

    signal(SIGINT, SIG_IGN); /* the keyboard's goes to the parent, which ends us */
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(0);
    daemon =
        MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, answer, server,
                         MHD_OPTION_LISTEN_SOCKET, listener, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                         (size_t)CONNECTION_BYTES, MHD_OPTION_NOTIFY_COMPLETED, forget, NULL, MHD_OPTION_END);
    while (daemon)
        pause();
    _exit(1);
}

static int listen_anywhere(uint16_t *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (listener < 0)
        return -1;
    if (bind(listener, (const struct sockaddr *)&address, size) != 0 || listen(listener, BACKLOG) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) != 0) {
        close(listener);
        return -1;
    }
    *ret_port = ntohs(address.sin_port);
    return listener;
}

enum status null_server_start(const char *counted_measure, struct null_server *ret_server,
                              struct error *ret_error)
{
    struct null_server started = {0};
    struct server server;
    pid_t parent = getpid();
    int listener;

    started.figures =
        mmap(NULL, sizeof *started.figures, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (started.figures == MAP_FAILED)
        return fail(ret_error, "no shared memory: %s", strerror(errno));
    server.figures = started.figures;
    (void)snprintf(server.measure, sizeof server.measure, "\"measure\":\"%s\"", counted_measure);
    listener = listen_anywhere(&started.port);
    if (listener < 0) {
        (void)munmap(started.figures, sizeof *started.figures);
        return fail(ret_error, "cannot listen on a loopback port: %s", strerror(errno));
    }
    started.pid = fork();
    if (started.pid == 0)
        serve(listener, &server, parent);
    close(listener);
    if (started.pid < 0) {
        (void)munmap(started.figures, sizeof *started.figures);
        return fail(ret_error, "cannot start the null server: %s", strerror(errno));
    }
    *ret_server = started;
    return STATUS_OK;
}

void null_server_stop(struct null_server *server)
{
    if (server->pid <= 0)
        return;
    (void)kill(server->pid, SIGTERM);
    (void)waitpid(server->pid, NULL, 0);
    (void)munmap(server->figures, sizeof *server->figures);
    *server = (struct null_server){0};
}
