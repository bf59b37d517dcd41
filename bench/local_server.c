/* What the benchmarks' receivers share. Once a request, of which there are at most some thousand a second.
 * Tried and dropped: a thread of the measured process, whose CPU time cannot be told from the sinks'. */
#include "bench/local_server.h"

#include "base/memory.h"
#include "bench/report.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BODY_BYTES_MAX = 256 * 1024 * 1024, CONNECTION_BYTES = 512 * 1024, BACKLOG = 64 };

struct server {
    local_answer *answer;
    void *owner;
};

struct arriving {
    struct buffer body;
    int64_t first_us;
};

static enum MHD_Result send_answer(const struct server *server, struct MHD_Connection *connection,
                                   const struct local_request *request)
{
    struct MHD_Response *response;
    enum MHD_Result result;
    struct buffer out;

    buffer_init(&out, BODY_BYTES_MAX);
    server->answer(server->owner, request, &out);
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

static enum MHD_Result take(void *owner, struct MHD_Connection *connection, const char *url,
                            const char *method, const char *version, const char *data, size_t *data_size,
                            void **request)
{
    struct arriving *arriving = *request;

    if (!arriving) {
        *request = arriving = memory_new(sizeof *arriving);
        arriving->first_us = wall_clock_us();
        buffer_init(&arriving->body, BODY_BYTES_MAX);
        return MHD_YES;
    }
    if (*data_size > 0) {
        buffer_put(&arriving->body, data, *data_size);
        *data_size = 0;
        return arriving->body.full ? MHD_NO : MHD_YES;
    }
    return send_answer(owner, connection,
                       &(struct local_request){.method = method,
                                               .url = url,
                                               .body = buffer_span(&arriving->body),
                                               .first_us = arriving->first_us});
}

static void forget(void *owner, struct MHD_Connection *connection, void **request,
                   enum MHD_RequestTerminationCode code)
{
    struct arriving *arriving = *request;

    if (!arriving)
        return;
    buffer_free(&arriving->body);
    free(arriving);
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
        MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, take, server, MHD_OPTION_LISTEN_SOCKET,
                         listener, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES,
                         MHD_OPTION_NOTIFY_COMPLETED, forget, NULL, MHD_OPTION_END);
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

enum status local_server_start(local_answer *answer, void *owner, struct local_server *ret_server,
                               struct error *ret_error)
{
    struct server server = {.answer = answer, .owner = owner};
    struct local_server started = {0};
    pid_t parent = getpid();
    int listener = listen_anywhere(&started.port);

    if (listener < 0)
        return fail(ret_error, "cannot listen on a loopback port: %s", strerror(errno));
    started.pid = fork();
    if (started.pid == 0)
        serve(listener, &server, parent);
    close(listener);
    if (started.pid < 0)
        return fail(ret_error, "cannot start a server: %s", strerror(errno));
    *ret_server = started;
    return STATUS_OK;
}

void local_server_stop(struct local_server *server)
{
    if (server->pid <= 0)
        return;
    (void)kill(server->pid, SIGTERM);
    (void)waitpid(server->pid, NULL, 0);
    *server = (struct local_server){0};
}
