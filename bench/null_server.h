/* A search server that takes every bulk and keeps nothing, in a process of its own, so that its cost is not
 * ours. */
#pragma once
#include "base/status.h"

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

struct null_server_figures { /* shared memory; written by the server, read by anybody */
    _Atomic uint64_t requests, documents, bytes;
    _Atomic uint64_t counted; /* sum of weir.count over the buckets of the measure given at the start */
};

struct null_server {
    pid_t pid; /* 0: not started */
    uint16_t port;
    struct null_server_figures *figures;
};

/* Forks, so it is called before any thread exists. The server ends with its parent at the latest. */
enum status null_server_start(const char *counted_measure, struct null_server *ret_server,
                              struct error *ret_error);
void null_server_stop(struct null_server *server); /* does nothing when it was never started */
