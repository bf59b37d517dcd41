#include "tests/serve/process_stand_in.h"

#include "base/json_writer.h"

#include <stdatomic.h>

bool process_is_ready(struct process *process)
{
    return process->ready;
}

/* Rows grow at each look, as those of a running pipeline do. */
void process_metrics(struct process *process, struct buffer *out)
{
    uint64_t rows = atomic_fetch_add(&process->rows, 2500);

    buffer_print(out,
                 "# HELP weir_rows_total rows decoded from messages\n# TYPE weir_rows_total counter\n"
                 "weir_rows_total %llu\nweir_lag_messages 120\nweir_dead_letters_total 2\n"
                 "weir_watermark_seconds %.3f\nweir_info{pipeline=\"%s\",version=\"0.1.0\"} 1\n",
                 (unsigned long long)rows, process->watermark_s, process->name);
}

static void write_partitions(struct json_writer *json, int64_t watermark_us)
{
    static const char *const states[] = {"reading", "idle", "unreachable"};

    for (int i = 0; i < 3; i++) {
        json_open(json, NULL);
        json_text(json, "topic", span_of("openlineage"));
        json_integer(json, "partition", i);
        json_text(json, "state", span_of(states[i]));
        json_integer(json, "next_offset", 48200 + i);
        json_integer(json, "lag", 40 * i);
        json_time(json, "watermark", watermark_us - (int64_t)i * 60 * 1000000);
        json_close(json);
    }
}

static void write_sinks(struct json_writer *json)
{
    static const char *const names[] = {"console", "search"};

    for (int i = 0; i < 2; i++) {
        json_open(json, NULL);
        json_text(json, "name", span_of(names[i]));
        json_text(json, "type", span_of(i ? "elasticsearch" : "stdout"));
        json_unsigned(json, "documents", i ? 120433 : 17);
        json_unsigned(json, "retries", 3);
        json_unsigned(json, "dead_letters", 0);
        json_unsigned(json, "queue_bytes", i ? 2 << 20 : 0);
        json_bool(json, "paused", i == 1);
        if (i)
            json_text(json, "reason", span_of("the index template weir-runs-v1 is missing"));
        json_close(json);
    }
}

/* As pipeline/health.c writes it. */
void process_health(struct process *process, int64_t now_us, struct buffer *out)
{
    int64_t watermark_us = (int64_t)(process->watermark_s * 1e6);
    struct json_writer json;

    json_begin(&json, out);
    json_open(&json, NULL);
    json_integer(&json, "schema", 1);
    json_time(&json, "at", watermark_us + 12 * 1000000);
    json_text(&json, "pipeline", span_of(process->name));
    json_text(&json, "version", span_of("0.1.0"));
    json_bool(&json, "ready", process->ready);
    if (process->cluster)
        json_raw(&json, "cluster", span_of(process->cluster));
    json_unsigned(&json, "workers", 4);
    json_unsigned(&json, "rows", atomic_fetch_add(&process->rows, 2500));
    json_unsigned(&json, "lag", 120);
    if (watermark_us)
        json_time(&json, "watermark", watermark_us);
    json_raw(&json, "outbox", span_of("{\"documents\":310,\"bytes\":90112}"));
    json_open_list(&json, "sources");
    json_raw(&json, NULL, span_of("{\"name\":\"lineage\",\"type\":\"kafka\",\"partitions\":["));
    json.comma = false;
    write_partitions(&json, watermark_us);
    buffer_put_text(out, "]}");
    json_close_list(&json);
    json_open_list(&json, "sinks");
    write_sinks(&json);
    json_close_list(&json);
    json_open_list(&json, "checkpoints");
    json_open(&json, NULL);
    json_unsigned(&json, "generation", 812);
    json_time(&json, "stored_at", watermark_us + 9 * 1000000);
    json_bool(&json, "holding", false);
    json_close(&json);
    json_close_list(&json);
    json_raw(&json, "store", span_of("{\"bytes\":8417280}"));
    json_raw(&json, "dead_letters", span_of("{\"letters\":2,\"bytes\":5120,\"limit_bytes\":1073741824}"));
    json_raw(&json, "problems", span_of(process->problems ? process->problems : "[]"));
    json_close(&json);
}

void process_rules(struct process *process, struct buffer *out)
{
    buffer_put_text(out, "[{\"name\":\"slow\",\"measure\":\"latency\",\"statistic\":\"p95\"}]");
}

struct dead_letters *process_dead_letters(struct process *process)
{
    return process->dead_letters;
}

struct feedback *process_feedback(struct process *process)
{
    return process->feedback;
}
