/* Listening and the Host check. host_answers_to runs once a request; a DNS rebinding attack comes with the
 * attacker's name in Host, which is why names are compared and numeric addresses on a wildcard are not (no
 * name was resolved). */
#include "serve/host.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 64, PORT_MAX = 65535 };

/* Splits "host:port", "[v6]:port"; the port is left out when `port_digits` comes back empty. */
static bool split(const char *text, char ret_name[HOST_NAME_SIZE], const char **ret_port)
{
    const char *from = text, *end, *rest;

    if (*text == '[') {
        from = text + 1;
        end = strchr(from, ']');
        if (!end)
            return false;
        rest = end + 1;
    } else {
        end = rest = from + strcspn(from, ":");
    }
    if (end - from >= HOST_NAME_SIZE || (*rest && *rest != ':'))
        return false;
    memcpy(ret_name, from, (size_t)(end - from));
    ret_name[end - from] = '\0';
    *ret_port = *rest ? rest + 1 : rest;
    return true;
}

static bool parse_port(const char *text, unsigned *ret_port)
{
    char *end;
    unsigned long port = strtoul(text, &end, 10);

    if (*text < '0' || *text > '9' || *end || port > PORT_MAX)
        return false;
    *ret_port = (unsigned)port;
    return true;
}

/* A socket that listens at exactly this address, or -1 and errno. */
static int listen_at(const struct addrinfo *address, unsigned port)
{
    struct sockaddr_storage at = {0};
    int on = 1, failure;
    int socket_ = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (socket_ < 0)
        return -1;
    memcpy(&at, address->ai_addr, address->ai_addrlen);
    if (address->ai_family == AF_INET6)
        ((struct sockaddr_in6 *)&at)->sin6_port = htons((uint16_t)port);
    else
        ((struct sockaddr_in *)&at)->sin_port = htons((uint16_t)port);
    setsockopt(socket_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(socket_, (struct sockaddr *)&at, address->ai_addrlen) == 0 && listen(socket_, BACKLOG) == 0)
        return socket_;
    failure = errno;
    close(socket_);
    errno = failure;
    return -1;
}

static void read_bound(struct host *host)
{
    union {
        struct sockaddr any;
        struct sockaddr_in four;
        struct sockaddr_in6 six;
    } at = {.six = {0}};
    socklen_t size = sizeof at;
    int failed = getsockname(host->socket, &at.any, &size);

    assert(!failed);
    if (at.any.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &at.six.sin6_addr, host->numeric, sizeof host->numeric);
        host->port = ntohs(at.six.sin6_port);
        host->wildcard = IN6_IS_ADDR_UNSPECIFIED(&at.six.sin6_addr);
    } else {
        inet_ntop(AF_INET, &at.four.sin_addr, host->numeric, sizeof host->numeric);
        host->port = ntohs(at.four.sin_port);
        host->wildcard = at.four.sin_addr.s_addr == htonl(INADDR_ANY);
    }
}

enum status host_listen(const char *listen, unsigned ports, struct host *ret_host, struct error *ret_error)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_ADDRCONFIG};
    struct host host = {.socket = -1};
    struct addrinfo *found;
    const char *port;
    int failed;

    if (!split(listen, host.name, &port) || !parse_port(port, &host.asked_port))
        return fail(ret_error, "'%s' is not an address to listen at, as \"127.0.0.1:8470\" is", listen);
    if (!host.name[0])
        snprintf(host.name, sizeof host.name, "127.0.0.1");
    failed = getaddrinfo(host.name, NULL, &hints, &found);
    if (failed)
        return fail(ret_error, "'%s': %s", listen, gai_strerror(failed));
    unsigned last = host.asked_port ? host.asked_port + ports - 1 : 0;
    for (unsigned at = host.asked_port; host.socket < 0 && at <= last && at <= PORT_MAX; at++) {
        host.socket = listen_at(found, at);
        if (host.socket < 0 && errno != EADDRINUSE)
            break;
    }
    failed = host.socket < 0 ? errno : 0;
    freeaddrinfo(found);
    if (failed == EADDRINUSE)
        return fail(ret_error, "cannot listen at %s: ports %u to %u are taken", host.name, host.asked_port,
                    last);
    if (failed)
        return fail(ret_error, "cannot listen at %s: %s", listen, strerror(failed));
    read_bound(&host);
    *ret_host = host;
    return STATUS_OK;
}

static bool is_numeric(const char *name)
{
    struct in6_addr address;

    return inet_pton(AF_INET, name, &address) == 1 || inet_pton(AF_INET6, name, &address) == 1;
}

bool host_answers_to(const struct host *host, const char *header)
{
    char name[HOST_NAME_SIZE], machine[HOST_NAME_SIZE] = "";
    const char *port;
    unsigned number;

    if (!header || !split(header, name, &port) || !name[0] || (*port && !parse_port(port, &number)))
        return false;
    if (strcasecmp(name, host->name) == 0 || strcasecmp(name, host->numeric) == 0 ||
        strcasecmp(name, "localhost") == 0)
        return true;
    if (!host->wildcard)
        return false;
    gethostname(machine, sizeof machine - 1);
    return is_numeric(name) || strcasecmp(name, machine) == 0;
}
