/* The HTTP API, /metrics and the web page of what one process runs. Answers on threads of its own, a few
 * requests a second. All it changes is by request: POST /api/reload and /api/feedback/EPISODE, with the
 * header `X-Weir: 1`, which no page of another origin can send unasked. */
#pragma once
#include "pipeline/process.h"

enum {
    SERVER_PORTS_TRIED = 21, /* the asked one and 20 more */
    SERVER_CONNECTIONS = 64,
    SERVER_REQUEST_BYTES = 16 * 1024,
    SERVER_TIMEOUT_S = 10,
};

struct server;

/* Listens at `listen`: "127.0.0.1:8470", "[::1]:8470", "localhost:8470", ":8470" (loopback), or port 0 for
 * any free one; "" starts nothing (STATUS_OK, *ret_server NULL). A taken port gives way to the next free
 * one. `process`, `view` and `taps` (NULL: refused) are borrowed until server_stop, which ends the taps;
 * `reload` (NULL: refused) is called on its threads. ret_address: "http://127.0.0.1:8471/". STATUS_FATAL:
 * not an address, not this machine's, or all ports taken. Answers only requests whose Host names the
 * listening address or localhost; on a wildcard address also any numeric address and this machine's name. So
 * a page elsewhere cannot read it by pointing its own name here. */
enum status server_start(const char *listen, struct process *process, struct view *view, struct taps *taps,
                         void (*reload)(void), struct server **ret_server, char ret_address[64],
                         struct error *ret_error);

/* What is shown from now on; NULL: nothing for a while, what needs it is answered 503. Waits for answers
 * under way. */
void server_set_process(struct server *server, struct process *process);
bool server_moved(const struct server *server); /* the asked port was taken */
void server_stop(struct server *server);        /* waits for answers under way */
