/* The index templates at the server: looked for before the first bulk, installed on request. Without them
 * OpenSearch would quietly make plain indices with guessed mappings where data streams belong. */
#pragma once
#include "schemas/templates.h"
#include "sinks/elasticsearch.h"

enum template_mode { TEMPLATES_LOOK, TEMPLATES_ADD_MISSING, TEMPLATES_INSTALL };

enum template_progress {
    TEMPLATES_GO_ON, /* another request is to be sent */
    TEMPLATES_DONE,
    TEMPLATES_UNKNOWN, /* done, but the server does not let this user look: taken as installed */
    TEMPLATES_MISSING, /* and not to be installed; starts again */
    TEMPLATES_REFUSED, /* `reason` says what; starts again */
    TEMPLATES_RETRY,   /* the server is away or busy */
};

struct template_check {
    struct template_names names; /* borrowed */
    enum template_mode mode;
    unsigned next; /* template */
    bool adding, flying, unknown;
    struct buffer name, body;
    char *url;
    char reason[512];
};

void template_check_init(struct template_check *check, const struct elasticsearch_settings *settings,
                         enum template_mode mode);
void template_check_free(struct template_check *check);

void template_check_restart(struct template_check *check);

/* Sends the next request, with the check as tag; the answer goes to template_check_take. */
void template_check_send(struct template_check *check, struct http *http, const char *base_url);
enum template_progress template_check_take(struct template_check *check, const struct http_answer *answer);

/* For `weir setup elasticsearch`: asks what the server is and installs all templates. Blocks. Appends lines
 * for people to the report. STATUS_FATAL with the server's reason. */
enum status elasticsearch_setup(const void *settings, const struct sink_context *context,
                                struct buffer *ret_report, struct error *ret_error);

/* sink_type.probe of the sink: what each server is and whether it has the templates. */
void elasticsearch_report(const void *settings, report_line *tell, void *owner);
