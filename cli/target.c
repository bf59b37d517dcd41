#include "cli/target.h"

#include "cli/arguments.h"

#include <stdio.h>
#include <string.h>

enum status target_url(const char *given, char ret_url[TARGET_URL_BYTES], struct error *ret_error)
{
    struct plan_http http = {.listen = NULL};

    if (!given || strncmp(given, "http://", 7) == 0 || strncmp(given, "https://", 8) == 0) {
        const char *url = given ? given : "http://127.0.0.1:8470";
        size_t size = strlen(url);

        if (size >= TARGET_URL_BYTES)
            return fail(ret_error, "the address is longer than %d bytes", TARGET_URL_BYTES);
        snprintf(ret_url, TARGET_URL_BYTES, "%.*s", (int)(size - (url[size - 1] == '/')), url);
        return STATUS_OK;
    }
    if (arguments_section(given, "http", &http_rows, &http, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    const char *listen = http.listen;
    enum status status = STATUS_OK;

    if (!listen[0])
        status = fail(ret_error, "%s: http.listen is empty, so a weir of this file cannot be asked", given);
    else if (strlen(listen) > TARGET_URL_BYTES / 2)
        status = fail(ret_error, "%s: http.listen is no address", given);
    else
        snprintf(ret_url, TARGET_URL_BYTES, "http://%s%s", listen[0] == ':' ? "127.0.0.1" : "", listen);
    options_free(&(struct option_table){http_rows.rows, http_rows.count, &http}, 1);
    return status;
}
