/* Where the server listens and under which names it may be asked: parsing, binding, and the check of a
 * request's Host header. */
#pragma once
#include "base/status.h"

#include <stdbool.h>

enum { HOST_NAME_SIZE = 256 };

struct host {
    char name[HOST_NAME_SIZE]; /* as it was configured, without brackets */
    char numeric[48];          /* as it was bound, without brackets */
    unsigned asked_port, port; /* port: as it was bound */
    bool wildcard;             /* listens on all addresses of the machine */
    int socket;
};

/* Binds and listens; tries `ports` numbers from the asked one on. The socket is the caller's to close. */
enum status host_listen(const char *listen, unsigned ports, struct host *ret_host, struct error *ret_error);

/* Whether a Host header ("name", "name:port", "[v6]:port"; NULL: there was none) names this server. The
 * port is not compared: a tunnel may have another one. */
bool host_answers_to(const struct host *host, const char *header);
