/* Work in a process of its own: threads, heap and caches that it leaves behind do not show in what is
 * measured afterwards, nor others' in what it measures. */
#pragma once
#include "base/buffer.h"
#include "base/status.h"

typedef enum status apart_work(void *owner, struct buffer *out, struct error *ret_error);

/* Forks, so no other thread may exist. What the work appends to its `out` is appended to the caller's; its
 * outcome and error are the caller's. STATUS_SKIP, and an error: it was killed, by itself perhaps. */
enum status apart_run(apart_work *work, void *owner, struct buffer *out, struct error *ret_error);
