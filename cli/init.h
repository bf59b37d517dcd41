/* What the files of `weir init` share: init.c takes the sample and speaks, init_guess.c tries the formats,
 * init_paths.c proposes a map of a JSON that no format knows, init_write.c writes the configuration. */
#pragma once
#include "pipeline/plan.h"
#include "pipeline/records.h"

enum { SAMPLE_MAX = 200 };

struct sample {
    struct message *messages; /* oldest first; their payloads are malloc'ed */
    size_t count;
};

/* One way to read the sample. */
struct guess {
    const char *name; /* of the format: a type's or a preset's */
    const struct format_type *type;
    struct buffer map;     /* YAML of a `map:` for the type, indented by MAP_INDENT; empty: none is needed */
    struct config *config; /* the map, parsed */
    void *settings;
    struct format *format;
    struct label_names labels;
    struct records records;        /* where the format puts messages together */
    struct event_batch batch;      /* the sample's rows */
    size_t tried, decoded;         /* messages; those with a good row, or of no interest to the format */
    int64_t bad_offset;            /* of the first message that could not be read, if any was */
    char bad[256];                 /* how it begins */
    char reason[256];              /* why */
    size_t rows, set[FIELD_COUNT]; /* good rows; those with the field */
    double score;
};

enum { MAP_INDENT = 6, MAP_BYTES = 64 * 1024 };

/* The best way to read the sample; NULL: none gives a row with a time. *ret_tried: what the built-in formats
 * said, a line each. */
struct guess *guess_best(const struct sample *sample, struct buffer *ret_tried);
void guess_free(struct guess *guess);

/* Lines of a map: what the sample's JSON paths seem to be, and in comments what else could be mapped. False:
 * no JSON objects, or nothing in them looks like a time. */
bool paths_propose(const struct sample *sample, struct buffer *out);

struct init_source {
    const char *brokers, *topic, *group, *input; /* input: a file instead of a topic */
    const char *const *properties;               /* librdkafka: "key=value" */
    size_t property_count;
};

/* The YAML keys of the source's type, for sampling and for the file. */
void write_source_keys(const struct init_source *source, const char *input_path, struct buffer *out);

/* A whole configuration. `watch`: the option is known here. */
void write_configuration(const struct init_source *source, const struct guess *guess, const char *path,
                         bool watch, struct buffer *out);
