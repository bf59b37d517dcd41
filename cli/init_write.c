/* The configuration that `weir init` writes: measures and rules for the fields that the sample has. Names
 * from outside stand in JSON's double quotes, which YAML reads alike. */
#include "base/json_writer.h"
#include "cli/init.h"

#include <stdio.h>

enum { NAME_BYTES = 64 };

static void put_quoted(struct buffer *out, const char *text)
{
    json_put_text(out, span_of(text));
}

void write_source_keys(const struct init_source *source, const char *input_path, struct buffer *out)
{
    if (source->input) {
        buffer_put_text(out, "path: ");
        put_quoted(out, input_path);
        return;
    }
    buffer_put_text(out, "brokers: ");
    put_quoted(out, source->brokers);
    buffer_put_text(out, ", topics: [");
    put_quoted(out, source->topic);
    buffer_put_text(out, "], group: ");
    put_quoted(out, source->group);
    buffer_put_text(out, ", start: -1h");
    for (size_t i = 0; i < source->property_count; i++) {
        const char *property = source->properties[i], *equals = strchr(property, '=');

        buffer_put_text(out, i ? ", " : ",\n     librdkafka: {");
        json_put_text(out, span_make(property, (size_t)(equals - property)));
        buffer_put_text(out, ": ");
        put_quoted(out, equals + 1);
    }
    buffer_put_text(out, source->property_count ? "}" : "");
}

/* The topic, or the file without folder and endings, in letters that also a file may be called by. */
static void make_name(const struct init_source *source, char ret_name[NAME_BYTES])
{
    const char *from = source->input ? source->input : source->topic, *slash = strrchr(from, '/');
    size_t used = 0;

    if (source->input && slash)
        from = slash + 1;
    for (; *from && used < NAME_BYTES - 1 && !(source->input && used && *from == '.'); from++) {
        bool plain = (*from >= 'a' && *from <= 'z') || (*from >= 'A' && *from <= 'Z') ||
                     (*from >= '0' && *from <= '9') || *from == '-';

        ret_name[used++] = plain ? *from : '_';
    }
    ret_name[used] = '\0';
}

static bool has(const struct guess *guess, enum field field)
{
    return guess->set[field] > 0;
}

static const char *key_of(const struct guess *guess)
{
    if (has(guess, F_WORKFLOW))
        return has(guess, F_TASK) ? "workflow, task" : "workflow";
    return has(guess, F_TASK) ? "task" : has(guess, F_HOST) ? "host" : "source";
}

static const char *summary_of(const struct guess *guess)
{
    return has(guess, F_ERROR) ? ": {{error}}" : "";
}

/* Runs and tasks: ends and durations by their transitions. */
static void put_runs(const struct guess *guess, bool watch, struct buffer *out)
{
    const char *key = key_of(guess);

    buffer_print(
        out,
        "measures:\n"
        "  # each end of a run or task, and the share that failed\n"
        "  - {name: ends, on: run, by: [%s], every: 1m, where: 'state in [\"success\", \"failed\"]',\n"
        "     ratio: 'state == \"failed\"', statistics: [count, ratio]}\n"
        "  - {name: durations, on: run, of: duration_ms, unit: ms, by: [%s], every: 1m,\n"
        "     statistics: [mean, p95, max, count]}\n\n",
        key, key);
    buffer_put_text(
        out, "detectors:\n"
             "  # slower than this key's own past: once in 200 buckets by chance, and at least by half\n"
             "  - {name: slow, type: ewma, measure: durations, statistic: mean, half_life: 10m, "
             "warm_up: 8m,\n"
             "     direction: up, one_in: 200, min_effect_percent: 50, severity: warning}\n\n");
    buffer_put_text(out, "rules:\n");
    if (!watch) /* which tells of every failure itself */
        buffer_print(
            out,
            "  - {name: failed, on: run, when: 'state == \"failed\"', by: [%s], kind: failure,\n"
            "     severity: error, keep_firing_for: 2m, annotations: {summary: \"{{%s}} failed%s\"}}\n",
            key, has(guess, F_WORKFLOW) ? "workflow" : "run", summary_of(guess));
    buffer_put_text(
        out, "  - {name: failing_often, on: bucket, measure: ends, when: 'ratio >= 0.5 && count >= 3',\n"
             "     keep_firing_for: 2m, severity: critical,\n"
             "     annotations: {summary: \"{{ratio}} of {{count}} failed\"}}\n\n");
}

/* Events that tell of no run: how many, how many of them bad, how long. */
static void put_events(const struct guess *guess, struct buffer *out)
{
    const char *key = key_of(guess);
    const char *bad = has(guess, F_STATE)   ? "state == \"failed\""
                      : has(guess, F_LEVEL) ? "level.matches(\"(?i)^(err|crit|fatal|alert|emerg|panic)\")"
                                            : NULL;

    buffer_print(out, "measures:\n  - {name: volume, by: [%s], every: 1m}\n", key);
    if (bad)
        buffer_print(out, "  - {name: errors, by: [%s], every: 1m, where: '%s'}\n", key, bad);
    if (has(guess, F_DURATION_MS))
        buffer_print(out,
                     "  - {name: durations, of: duration_ms, unit: ms, by: [%s], every: 1m,\n"
                     "     statistics: [mean, p95, max, count]}\n",
                     key);
    if (has(guess, F_METRIC) && has(guess, F_VALUE))
        buffer_put_text(out,
                        "  - {name: samples, of: value, by: [metric], every: 1m, statistics: [mean, max]}\n");
    buffer_print(
        out,
        "\ndetectors:\n"
        "  - {name: unusual, type: zscore, measure: %s, half_life: 1h, warm_up: 15m, direction: up,\n"
        "     one_in: 1000, severity: warning}\n\n",
        bad                         ? "errors"
        : has(guess, F_DURATION_MS) ? "durations"
                                    : "volume");
    if (bad)
        buffer_print(out,
                     "rules:\n  - {name: bad_event, on: event, when: '%s', by: [%s], kind: failure,\n"
                     "     severity: error, keep_firing_for: 5m, annotations: {summary: \"{{%s}}\"}}\n\n",
                     bad, key,
                     has(guess, F_ERROR)     ? "error"
                     : has(guess, F_MESSAGE) ? "message"
                                             : "source");
}

static void put_source(const struct init_source *source, const struct guess *guess, const char *path,
                       const char *name, struct buffer *out)
{
    buffer_put_text(out, "sources:\n");
    if (!source->input)
        buffer_put_text(out,
                        "  # start: where a group without offsets begins; or earliest, latest, a time\n");
    if (source->property_count)
        buffer_put_text(out,
                        "  # a secret is better kept outside of this file: {env: NAME} or {file: PATH}\n");
    buffer_print(out, "  - {name: \"%s\", type: %s, ", name, source->input ? "file" : "kafka");
    write_source_keys(source, path, out);
    buffer_print(out, ",\n     format: %s}\n\n", guess->map.size ? "mapped" : guess->name);
    if (guess->map.size)
        buffer_print(out,
                     "formats:\n"
                     "  # guessed from names and values: look at each line\n"
                     "  - name: mapped\n    type: %s\n    map:\n%.*s\n",
                     guess->type->name, (int)guess->map.size, guess->map.data);
}

void write_configuration(const struct init_source *source, const struct guess *guess, const char *path,
                         bool watch, struct buffer *out)
{
    char name[NAME_BYTES];

    make_name(source, name);
    buffer_print(out,
                 "# Written by `weir init` from %zu messages. Every key: `weir options`.\n"
                 "name: \"%s\"  # part of every id: changing it starts anew\n"
                 "store: {path: \"%s.db\"}\n"
                 "http: {listen: \"127.0.0.1:8470\"}  # the page\n",
                 guess->tried, name, name);
    buffer_print(out,
                 "%swatch: true  # the default: failures, retries, slow, overdue and missing runs, volume, "
                 "silence\n\n",
                 watch ? "" : "# ");
    put_source(source, guess, path, name, out);
    if (has(guess, F_RUN) && has(guess, F_STATE))
        put_runs(guess, watch, out);
    else
        put_events(guess, out);
    buffer_put_text(out, "sinks:\n"
                         "  - {name: console, type: stdout, send: [alerts]}\n"
                         "  # `weir setup elasticsearch FILE` installs the index templates\n"
                         "  # - {name: search, type: elasticsearch, urls: [\"http://127.0.0.1:9200\"],\n"
                         "  #    send: [events, buckets, runs, alerts]}\n\n"
                         "# receivers:\n"
                         "#   # slack.url holds the address of an incoming webhook, which is a secret\n"
                         "#   - {name: team, type: webhook, url: {file: slack.url}, body: slack}\n"
                         "# alerts: {to: [team]}\n");
}
