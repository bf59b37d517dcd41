/* Outputs of a replay: lines of alerts, buckets, signals and runs, in the order of time, then id, into files
 * or to a reader. Workers add lines as they come; a line is written once every worker has passed its time.
 * One mutex, taken once a line. */
#pragma once
#include "base/status.h"
#include "schemas/encode.h"

struct collect;

/* paths[kind]: a file, "-" for stdout, NULL for none. */
enum status collect_open(const char *const paths[DOC_KINDS], struct collect **ret_collect,
                         struct error *ret_error);
/* Lines of one kind go to a reader, on the thread that calls collect_write and collect_close. */
typedef void collect_visit(void *owner, struct span line);
struct collect *collect_open_reader(enum document_kind kind, collect_visit *visit, void *owner);
bool collect_wants(const struct collect *collect, enum document_kind kind);
void collect_add(struct collect *collect, enum document_kind kind, int64_t time_us, struct id128 id,
                 struct span line);

/* Writes all lines with a time below `safe_us`; STATUS_FATAL when a file cannot be written. */
enum status collect_write(struct collect *collect, int64_t safe_us, struct error *ret_error);
enum status collect_close(struct collect *collect, struct error *ret_error); /* writes the rest */
