/* One thread, one poll loop, a few connections with keep-alive: what libcurl needs, not more. */
#include "tests/sinks/fake_server.h"

#include "base/memory.h"

#include <arpa/inet.h>
#include <assert.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 32 };

struct connection {
    int socket;
    struct buffer in;
};

void fake_reply_put(struct fake_reply *reply, int status, const char *headers, struct span body)
{
    buffer_print(&reply->raw, "HTTP/1.1 %d Answer\r\n%scontent-length: %u\r\n\r\n", status, headers,
                 body.size);
    buffer_put_span(&reply->raw, body);
}

static void write_all(int socket, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t written = send(socket, data, size, MSG_NOSIGNAL);

        if (written <= 0)
            return;
        data += written;
        size -= (size_t)written;
    }
}

/* Answers the request at the front of the connection's bytes if it is whole; false: close. */
static bool serve(struct fake_server *server, struct connection *connection)
{
    struct buffer *in = &connection->in;
    const char *end = in->size ? memmem(in->data, in->size, "\r\n\r\n", 4) : NULL;

    while (end) {
        struct fake_request request = {0};
        size_t head = (size_t)(end - in->data) + 4, size = 0;

        assert(head < sizeof request.headers);
        memcpy(request.headers, in->data, head);
        int fields = sscanf(request.headers, "%15s %511s", request.method, request.path);
        const char *length = strcasestr(request.headers, "\r\ncontent-length:");

        assert(fields == 2);
        if (length)
            size = strtoul(length + 17, NULL, 10);
        if (in->size < head + size)
            return true;
        request.body = span_make(in->data + head, size);
        struct fake_reply reply = {0};

        buffer_init(&reply.raw, 64 * 1024 * 1024);
        pthread_mutex_lock(&server->lock);
        request.number = server->requests;
        server->answer(server->owner, &request, &reply);
        server->requests++;
        pthread_mutex_unlock(&server->lock);
        if (!reply.cut)
            write_all(connection->socket, reply.raw.data, reply.raw.size);
        bool closes =
            reply.cut || (reply.raw.size && memmem(reply.raw.data, reply.raw.size, "connection: close", 17));
        buffer_free(&reply.raw);
        if (closes)
            return false;
        buffer_remove_front(in, head + size);
        end = in->size ? memmem(in->data, in->size, "\r\n\r\n", 4) : NULL;
    }
    return true;
}

static bool receive(struct connection *connection)
{
    char *room = buffer_room(&connection->in, 256 * 1024);
    ssize_t got = recv(connection->socket, room, 256 * 1024, 0);

    if (got <= 0)
        return false;
    connection->in.size += (size_t)got;
    return true;
}

static void *run(void *owner)
{
    struct fake_server *server = owner;
    struct connection connections[CONNECTIONS_MAX] = {0};
    struct pollfd ready[CONNECTIONS_MAX + 2];
    size_t count = 0;

    for (;;) {
        ready[0] = (struct pollfd){.fd = server->stop[0], .events = POLLIN};
        ready[1] = (struct pollfd){.fd = count < CONNECTIONS_MAX ? server->listener : -1, .events = POLLIN};
        for (size_t i = 0; i < count; i++)
            ready[i + 2] = (struct pollfd){.fd = connections[i].socket, .events = POLLIN};
        poll(ready, (nfds_t)count + 2, -1);
        if (ready[0].revents)
            break;
        for (size_t i = count; i-- > 0;) {
            if (!ready[i + 2].revents || (receive(&connections[i]) && serve(server, &connections[i])))
                continue;
            close(connections[i].socket);
            buffer_free(&connections[i].in);
            connections[i] = connections[--count];
        }
        if (ready[1].revents) {
            connections[count] = (struct connection){.socket = accept(server->listener, NULL, NULL)};
            buffer_init(&connections[count++].in, 256 * 1024 * 1024);
        }
    }
    for (size_t i = 0; i < count; i++) {
        close(connections[i].socket);
        buffer_free(&connections[i].in);
    }
    return NULL;
}

void fake_server_start(struct fake_server *server,
                       void (*answer)(void *owner, const struct fake_request *request,
                                      struct fake_reply *reply),
                       void *owner)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;

    *server =
        (struct fake_server){.answer = answer, .owner = owner, .listener = socket(AF_INET, SOCK_STREAM, 0)};
    pthread_mutex_init(&server->lock, NULL);
    int failed = bind(server->listener, (struct sockaddr *)&address, sizeof address) ||
                 listen(server->listener, 16) ||
                 getsockname(server->listener, (struct sockaddr *)&address, &size) || pipe(server->stop) ||
                 pthread_create(&server->thread, NULL, run, server);

    assert(!failed);
    (void)failed;
    server->port = ntohs(address.sin_port);
}

void fake_server_stop(struct fake_server *server)
{
    ssize_t written = write(server->stop[1], "", 1);

    assert(written == 1);
    (void)written;
    pthread_join(server->thread, NULL);
    close(server->listener);
    close(server->stop[0]);
    close(server->stop[1]);
    pthread_mutex_destroy(&server->lock);
}

unsigned fake_server_requests(struct fake_server *server)
{
    pthread_mutex_lock(&server->lock);
    unsigned requests = server->requests;
    pthread_mutex_unlock(&server->lock);
    return requests;
}
