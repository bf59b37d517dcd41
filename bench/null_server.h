/* A search server that takes bulks and keeps nothing. */
#pragma once
#include "bench/local_server.h"

#include <stdatomic.h>

struct null_server_figures {                     /* shared memory; written by the server, read by anybody */
    _Atomic uint64_t requests, documents, bytes; /* documents: those that were taken */
    _Atomic uint64_t refused;                    /* answered 429, to come again */
    _Atomic uint64_t ids;                        /* sum of the hashes of the ids of those taken */
    _Atomic uint32_t refuse_percent;             /* so many of a hundred items are refused; set by anybody */
    _Atomic uint64_t cpu_us;                     /* the server's own */
    _Atomic uint64_t counted; /* sum of weir.count over the buckets of the measure given at the start */
};

struct null_server {
    struct local_server server;
    struct null_server_figures *figures;
};

/* As local_server_start. NULL: no buckets are counted. */
enum status null_server_start(const char *counted_measure, struct null_server *ret_server,
                              struct error *ret_error);
void null_server_stop(struct null_server *server); /* does nothing when it was never started */
