/* The running weir that `top` and `tap` ask: its address, and questions to it. */
#pragma once
#include "base/buffer.h"
#include "base/status.h"

enum { TARGET_URL_BYTES = 512 };

/* "http://HOST:PORT" as it is, a configuration file's http.listen, or, with NULL, where the page is by
 * default; no final slash. STATUS_FATAL: says why. */
enum status target_url(const char *given, char ret_url[TARGET_URL_BYTES], struct error *ret_error);
