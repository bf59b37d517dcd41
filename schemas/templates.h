/* Index templates for Elasticsearch 7-9 and OpenSearch 1-3, made from the field rows. */
#pragma once
#include "base/buffer.h"

struct template_names {
    struct span prefix; /* "weir": weir-buckets-v1-*, logs-weir.events-NS */
    struct span namespace_;
    bool plain; /* the server lacks data streams: indices of the same names */
};

enum { TEMPLATE_COUNT = 7 };

/* Template i of TEMPLATE_COUNT: its name under _index_template/ and its body (priority 300, data_stream
 * where it is one). */
void template_write(unsigned i, const struct template_names *names, struct buffer *ret_name,
                    struct buffer *ret_body);

/* Every kind of document, and each of its fields with type and meaning, as Markdown; docs/documents.md ends
 * with it. */
void templates_describe(struct buffer *out);
