/* A Kafka topic of synthetic events. All calls block; trouble is told in the error. */
#pragma once
#include "bench/generate.h"

#include "base/status.h"

/* Makes the topic and gives its partitions the events in turn, lz4. STATUS_OK: the broker has all of them. */
enum status topic_create(const char *brokers, const char *name, unsigned partitions, struct error *ret_error);
enum status topic_fill(const char *brokers, const char *name, unsigned partitions,
                       const struct generator_options *options, struct error *ret_error);
enum status topic_delete(const char *brokers, const char *name, struct error *ret_error);
