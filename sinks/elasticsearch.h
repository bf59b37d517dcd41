/* Settings of the elasticsearch sink, which `weir setup elasticsearch` reads too. */
#pragma once
#include "sinks/http.h"
#include "sinks/sink.h"

enum elasticsearch_compress { COMPRESS_NONE, COMPRESS_GZIP };
enum elasticsearch_install { SETUP_MANUAL, SETUP_AUTO };

struct elasticsearch_settings {
    struct option_texts urls;
    char *user, *password, *api_key, *ca_file;
    bool verify;
    int compress, setup; /* enum elasticsearch_compress, elasticsearch_install */
    int64_t bulk_bytes, bulk_documents, bulk_wait_us, queue_bytes, connections, timeout_us, retry_base_us,
        retry_max_us;
    char *prefix, *namespace_;
    struct option_pairs verdicts;
};

/* The connection of these settings; STATUS_FATAL also when an address, the prefix or the namespace cannot be
 * one. */
enum status elasticsearch_connect(const struct elasticsearch_settings *settings, struct http **ret_http,
                                  struct error *ret_error);

/* "URL without final slash" + path, malloc'ed. */
char *elasticsearch_url(const char *base, const char *path);
