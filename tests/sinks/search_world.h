/* A search server for tests: keeps documents by index and id as the real ones do (create, external versions,
 * 409), asks the test's functions for trouble first. Error texts are those of the recorded answers. */
#pragma once
#include "tests/sinks/fake_server.h"

struct world_item {
    char operation[8], index[96], id[48];
    uint64_t version;
    struct span body;
};

struct stored {
    char index[96], id[48];
    uint64_t version;
    char body[256];
};

struct world {
    struct fake_server server;
    unsigned templates;         /* how many of them are there */
    bool no_streams;            /* as Elasticsearch 7 without the free extensions */
    unsigned gets, puts, bulks; /* requests */
    char headers[4096];         /* of the last bulk */
    char bulk[4096];            /* its beginning, inflated */
    size_t items_last;          /* its documents */
    struct stored *stored;
    size_t count, capacity;
    char *trail; /* "id:version " of each item in order of arrival */
    size_t trail_size, trail_capacity;
    uint64_t random;

    /* What to answer instead: a request's status (0: go on; -1: cut; -2: no answer), an item's status (0:
     * store it). */
    int (*request_trouble)(struct world *world, const struct fake_request *request, bool gzip, size_t items);
    int (*item_trouble)(struct world *world, const struct world_item *item);
    const char *request_headers; /* sent with a request's trouble; NULL: none */
    int number;                  /* the test's */
};

void world_start(struct world *world);
void world_stop(struct world *world);
const struct stored *world_find(struct world *world, const char *index, const char *id);
