/* A Kafka topic of synthetic events. All calls block; trouble is told in the error. */
#pragma once
#include "bench/generate.h"

#include "base/status.h"

/* Makes the topic and gives its partitions the events, in turn or partition k about 1/k of them, lz4.
 * STATUS_OK: the broker has all of them. */
enum status topic_create(const char *brokers, const char *name, unsigned partitions, struct error *ret_error);
enum status topic_fill(const char *brokers, const char *name, unsigned partitions, bool uneven,
                       const struct generator_options *options, struct error *ret_error);
enum status topic_delete(const char *brokers, const char *name, struct error *ret_error);

/* Messages one by one, lz4, from one thread; the broker gets them together that come within `linger_ms`. */
struct topic_writer;
enum status topic_writer_open(const char *brokers, const char *name, unsigned linger_ms,
                              struct topic_writer **ret_writer, struct error *ret_error);

/* Copies; waits while the queue is full. Moves deliveries on, as does a payload of no bytes, which is not
 * sent. */
enum status topic_writer_put(struct topic_writer *writer, unsigned partition, struct span payload,
                             struct error *ret_error);

/* STATUS_OK: the broker has all of them. To be closed in either case. */
enum status topic_writer_flush(struct topic_writer *writer, struct error *ret_error);
void topic_writer_close(struct topic_writer *writer);
