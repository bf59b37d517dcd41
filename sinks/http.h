/* HTTP requests that do not block: one libcurl multi handle a sink instance, connections kept alive, nothing
 * followed or retried. The owner starts requests, calls http_advance often and takes the answers. */
#pragma once
#include "base/options.h"

struct http;

struct http_settings {                               /* texts are borrowed until http_open returns */
    const char *user, *password, *api_key, *ca_file; /* NULL: none */
    bool verify;                                     /* the server's certificate and name */
    int64_t timeout_us;                              /* of one request, connecting included */
    size_t connections;                              /* requests under way at most */
};

struct http_request { /* all borrowed until its answer was taken, but for `headers` */
    const char *method, *url;
    const char *content_type; /* NULL: no body */
    struct span body;
    bool gzip;                          /* the body is */
    bool connect_only;                  /* nothing is sent; answered without status and trouble */
    const struct option_pairs *headers; /* NULL: none */
    void *tag;                          /* given back in the answer */
};

struct http_answer {
    void *tag;
    int status;             /* 0: none came */
    bool connected;         /* false: name or connection failed, so another address may do better */
    bool cut;               /* the server closed the connection instead of answering */
    bool late;              /* connected, but no answer in the time allowed */
    int64_t retry_after_us; /* what the server asks for, 0: nothing */
    struct span body;       /* at most 32 MiB; until the next http_send or http_free */
    char trouble[256];      /* status 0: "HOST:PORT: reason", without credentials and path */
};

enum status http_open(const struct http_settings *settings, struct http **ret_http, struct error *ret_error);
void http_free(struct http *http); /* drops what is under way */

/* STATUS_RETRY: all connections are in use. */
enum status http_send(struct http *http, const struct http_request *request);
size_t http_room(const struct http *http); /* requests that http_send would take now */

void http_advance(struct http *http);
bool http_take(struct http *http, struct http_answer *ret_answer); /* false: no more answers now */

/* "HOST:PORT" of an address, for people: the address may hold a password, and a webhook's path is one. */
enum { HTTP_HOST_BYTES = 160 };
void http_host(const char *url, char ret_text[HTTP_HOST_BYTES]);
/* "HOST:PORT: reason" of a CURLcode, for any address that libcurl takes. */
void http_describe(const char *url, int code, char ret_text[256]);

/* For commands, not for the pipeline: waits until something may have happened, at most so long. */
void http_wait(struct http *http, int milliseconds);

/* For commands: sends one request, with no other under way, and waits for its answer. */
struct http_answer http_ask(struct http *http, const struct http_request *request);
