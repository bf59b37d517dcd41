/* Once a bulk of some thousand documents. Of an item only the text of its action is hashed, and of a document
 * the measure's name and count looked for by text search: the checks that nothing was lost or taken twice
 * need no more. */
#include "bench/null_server.h"

#include "base/hash.h"
#include "bench/report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { MEASURE_BYTES = 128 };

struct server {
    struct null_server_figures *figures;
    char measure[MEASURE_BYTES]; /* as it stands in a document; "" none is counted */
};

struct bulk_totals {
    uint64_t taken, refused, ids, counted;
};

static uint64_t count_of(const struct server *server, const char *line, size_t size)
{
    static const char key[] = "\"count\":";
    const char *end = line + size;
    const char *found = memmem(line, size, server->measure, strlen(server->measure));
    const char *count = found ? memmem(found, (size_t)(end - found), key, strlen(key)) : NULL;

    /* the text goes on with a newline at least, so the number ends in it */
    return count ? (uint64_t)strtod(count + strlen(key), NULL) : 0;
}

/* An action line and a document line by turns; there are no deletes. Which items are refused is chance that
 * is different each time they come. */
static void take_bulk(const struct server *server, struct span body, uint64_t request, struct buffer *out,
                      struct bulk_totals *totals)
{
    uint32_t percent = atomic_load(&server->figures->refuse_percent);
    const char *at = body.data, *end = at + body.size, *action_end, *document_end;

    while (at < end && (action_end = memchr(at, '\n', (size_t)(end - at))) &&
           (document_end = memchr(action_end + 1, '\n', (size_t)(end - action_end - 1)))) {
        uint64_t id = hash_bytes(at, (size_t)(action_end - at), 0);

        if (totals->taken + totals->refused > 0)
            buffer_put_char(out, ',');
        if (percent && hash_bytes(&id, sizeof id, request) % 100 < percent) {
            buffer_put_text(out, "{\"create\":{\"status\":429,\"error\":{\"type\":"
                                 "\"es_rejected_execution_exception\",\"reason\":\"queue full\"}}}");
            totals->refused++;
        } else {
            buffer_put_text(out, "{\"create\":{\"status\":201}}");
            totals->taken++;
            totals->ids += id;
            if (server->measure[0])
                totals->counted += count_of(server, action_end + 1, (size_t)(document_end - action_end - 1));
        }
        at = document_end + 1;
    }
}

/* In the form of the servers' own answers with the sink's filter_path, which it knows to read fast. */
static void answer(void *owner, const struct local_request *request, struct buffer *out)
{
    const struct server *server = owner;
    struct null_server_figures *figures = server->figures;
    struct bulk_totals totals = {0};

    if (strcmp(request->method, "POST") != 0 || !strstr(request->url, "_bulk")) {
        buffer_put_text(out, "{}");
        return;
    }
    buffer_put_text(out, "{\"errors\":");
    size_t errors = out->size;
    buffer_put_text(out, "false,\"items\":[");
    take_bulk(server, request->body, atomic_fetch_add(&figures->requests, 1), out, &totals);
    buffer_put_text(out, "]}");
    if (totals.refused)
        memcpy(out->data + errors, "true ", strlen("false"));
    atomic_fetch_add(&figures->documents, totals.taken);
    atomic_fetch_add(&figures->refused, totals.refused);
    atomic_fetch_add(&figures->ids, totals.ids);
    atomic_fetch_add(&figures->counted, totals.counted);
    atomic_fetch_add(&figures->bytes, request->body.size);
    atomic_store(&figures->cpu_us, (uint64_t)(usage_now().cpu * 1e6));
}

enum status null_server_start(const char *counted_measure, struct null_server *ret_server,
                              struct error *ret_error)
{
    struct null_server started = {0};
    struct server server = {0};

    started.figures =
        mmap(NULL, sizeof *started.figures, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (started.figures == MAP_FAILED)
        return fail(ret_error, "no shared memory: %s", strerror(errno));
    server.figures = started.figures;
    if (counted_measure)
        (void)snprintf(server.measure, sizeof server.measure, "\"measure\":\"%s\"", counted_measure);
    if (local_server_start(answer, &server, &started.server, ret_error) != STATUS_OK) {
        (void)munmap(started.figures, sizeof *started.figures);
        return STATUS_FATAL;
    }
    *ret_server = started;
    return STATUS_OK;
}

void null_server_stop(struct null_server *server)
{
    if (server->server.pid <= 0)
        return;
    local_server_stop(&server->server);
    (void)munmap(server->figures, sizeof *server->figures);
    *server = (struct null_server){0};
}
