/* The two written forms of everything weir tells: the JSON line of --alerts, --buckets, --signals, --runs
 * (short names), and the document for Elasticsearch (ECS and weir.* names). Both are a contract:
 * documents.md. Each call appends one JSON object without a newline. */
#pragma once
#include "base/json_writer.h"
#include "schemas/alert.h"

enum { SCHEMA_VERSION = 1 }; /* `schema` of every line, weir.schema of every document */

enum document_kind { DOC_EVENT, DOC_RUN, DOC_BUCKET, DOC_SIGNAL, DOC_ALERT, DOC_METRIC, DOC_KINDS };
extern const char *const document_kind_names[DOC_KINDS + 1]; /* events runs buckets ... NULL: as in `send:` */

void line_of_bucket(const struct bucket *bucket, struct buffer *out);
void line_of_signal(const struct signal_record *record, struct buffer *out);
void line_of_run(const struct run_record *run, struct buffer *out);
void line_of_alert(const struct alert *alert, struct buffer *out);

/* Where the rows of a batch come from. */
struct event_origin {
    struct span pipeline, source, topic;
    int32_t partition; /* in the topic */
};

/* hash(pipeline, source, topic, partition, offset, item) */
struct id128 event_id(const struct event_origin *origin, int64_t offset, uint16_t item);

/* Writes the documents of one batch after the other; what its rows share is prepared first. */
struct event_writer *event_writer_new(void);
void event_writer_free(struct event_writer *writer);

/* What follows is of this batch, with all its rows, until the next begin. */
void event_writer_begin(struct event_writer *writer, const struct event_batch *batch,
                        const struct event_origin *origin);
struct id128 event_writer_id(struct event_writer *writer, uint32_t row); /* its event_id */
void event_writer_put(const struct event_writer *writer, uint32_t row, struct buffer *out);

void document_of_bucket(struct span pipeline, const struct bucket *bucket, struct buffer *out);
void document_of_signal(struct span pipeline, const struct signal_record *record, struct buffer *out);
void document_of_run(struct span pipeline, const struct run_record *run, struct buffer *out);
void document_of_alert(struct span pipeline, const struct alert *alert, struct buffer *out);

/* One sample of the pipeline's own metrics; has no line. */
struct metric_sample {
    struct span name; /* as on /metrics */
    double value;
    int64_t time_us;
    struct alert_label labels[KEY_FIELDS_MAX]; /* values are JSON texts, with their quotes */
    unsigned label_count;
    struct span host; /* and process: whose metric it is */
    int64_t process;
};

/* hash(pipeline, host, process, time, name, labels) */
struct id128 metric_id(struct span pipeline, const struct metric_sample *sample);
void document_of_metric(struct span pipeline, const struct metric_sample *sample, struct buffer *out);

/* Pieces of both forms: "tasks" of a run that has some, "target" of an alert that has one. */
void json_task_counts(struct json_writer *json, const struct run_record *run);
void json_target(struct json_writer *json, const struct alert *alert);
