/* Three parts: figures of the whole; stages on the left beside sources and sinks; what is wrong and open
 * alerts in what rows are left. Composed of plain lines, so that it is tested as text. */
#include "cli/top_screen.h"

#include "base/memory.h"
#include "base/timestamp.h"
#include "cli/screen.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <yajl/yajl_tree.h>

enum {
    LINES_MAX = 256,
    LEFT_WIDTH = 34,
    STAGES_SHOWN = 20,
    STAGE_BAR = 14,
    NAMES_MAX = 64,
    NAME_BYTES = 64,
    HEAD_ROWS = 4,
    ALERT_ROWS_MIN = 5,
};

struct lines {
    char *items[LINES_MAX];
    unsigned count;
};

struct screen {
    const struct top_sample *before, *now;
    double seconds; /* between the samples */
};

struct names {
    char items[NAMES_MAX][NAME_BYTES];
    unsigned count;
};

struct share {
    char name[NAME_BYTES];
    double share; /* of the workers' time */
};

void top_sample_free(struct top_sample *sample)
{
    free(sample->metrics);
    free(sample->alerts);
    free(sample->health);
    *sample = (struct top_sample){0};
}

static void add_line(struct lines *lines, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add_line(struct lines *lines, const char *format, ...)
{
    char text[1024];
    va_list arguments;

    if (lines->count == LINES_MAX)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    lines->items[lines->count++] = memory_text(text, strlen(text));
}

static void lines_free(struct lines *lines)
{
    for (unsigned i = 0; i < lines->count; i++)
        free(lines->items[i]);
}

/* The value behind `weir_NAME` or `weir_NAME{LABELS}`; false: there is none. */
static bool find_metric(const char *metrics, const char *name, double *ret_value)
{
    char key[NAME_BYTES * 3];
    size_t size = (size_t)snprintf(key, sizeof key, "weir_%s ", name);

    for (const char *line = metrics; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL)
        if (strncmp(line, key, size) == 0) {
            *ret_value = strtod(line + size, NULL);
            return true;
        }
    return false;
}

static double metric(const struct screen *screen, const char *name)
{
    double value = 0;

    find_metric(screen->now->metrics, name, &value);
    return value;
}

static double rate(const struct screen *screen, const char *name)
{
    double then = 0;

    if (!screen->before->metrics || !find_metric(screen->before->metrics, name, &then) ||
        screen->seconds <= 0)
        return 0;
    double difference = metric(screen, name) - then;
    return difference > 0 ? difference / screen->seconds : 0; /* less: it was started anew */
}

static double labelled(const struct screen *screen, double (*of)(const struct screen *, const char *),
                       const char *family, const char *label, const char *value)
{
    char name[NAME_BYTES * 2 + 32];

    snprintf(name, sizeof name, "%s{%s=\"%.63s\"}", family, label, value);
    return of(screen, name);
}

/* The values that a label of a family has, in their order, with their escapes. */
static void label_values(const char *metrics, const char *family, const char *label, struct names *ret_names)
{
    char key[NAME_BYTES * 2];
    size_t size = (size_t)snprintf(key, sizeof key, "weir_%s{%s=\"", family, label);

    ret_names->count = 0;
    for (const char *line = metrics; line && *line && ret_names->count < NAMES_MAX;
         line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
        size_t length = strcspn(line, "\n");
        size_t name_size = 0;

        if (length <= size || strncmp(line, key, size) != 0)
            continue;
        while (size + name_size < length && line[size + name_size] != '"')
            name_size += line[size + name_size] == '\\' ? 2 : 1;
        if (name_size >= NAME_BYTES)
            continue;
        char *name = ret_names->items[ret_names->count++];
        memcpy(name, line + size, name_size);
        name[name_size] = '\0';
    }
}

static const char *short_number(double value, char ret_text[24])
{
    static const char *const suffixes[] = {"", "k", "M", "G", "T"};
    unsigned i = 0;

    for (; value >= 10000 && i < sizeof suffixes / sizeof *suffixes - 1; i++)
        value /= 1000;
    snprintf(ret_text, 24, "%.*f%s", (i || value < 10) && value > 0 ? 1 : 0, value, suffixes[i]);
    return ret_text;
}

static const char *short_age(double seconds, char ret_text[24])
{
    if (seconds < 0)
        seconds = 0;
    if (seconds < 120)
        snprintf(ret_text, 24, "%.0fs", seconds);
    else if (seconds < 7200)
        snprintf(ret_text, 24, "%.0fm", seconds / 60);
    else if (seconds < 172800)
        snprintf(ret_text, 24, "%.0fh", seconds / 3600);
    else
        snprintf(ret_text, 24, "%.0fd", seconds / 86400);
    return ret_text;
}

static void add_head(const struct screen *screen, struct lines *lines, const char *url, const char *trouble)
{
    char a[24], b[24], c[24], time[TIME_TEXT_SIZE + 1];
    struct names pipeline;
    double watermark, dropped = rate(screen, "rows_dropped_total{reason=\"malformed\"}") +
                                rate(screen, "rows_dropped_total{reason=\"refused\"}");

    label_values(screen->now->metrics, "info", "pipeline", &pipeline);
    time[time_format(screen->now->wall_us, time)] = '\0';
    add_line(lines, "weir %s  %s  %.19s UTC  workers %.0f", pipeline.count ? pipeline.items[0] : "", url,
             time, metric(screen, "workers"));
    add_line(lines, "messages %s/s   rows %s/s   bytes %s/s", short_number(rate(screen, "messages_total"), a),
             short_number(rate(screen, "rows_total"), b), short_number(rate(screen, "bytes_total"), c));
    bool known = find_metric(screen->now->metrics, "watermark_seconds", &watermark);

    add_line(lines, "watermark %s%s   lag %s   dead letters %s   bad rows %s/s",
             known ? short_age((double)screen->now->wall_us / 1e6 - watermark, a) : "not yet",
             known ? " old" : "", short_number(metric(screen, "lag_messages"), b),
             short_number(metric(screen, "dead_letters_total"), c), short_number(dropped, (char[24]){0}));
    add_line(lines, "%s%s", trouble[0] ? "NO ANSWER: " : "", trouble);
}

static int compare_shares(const void *a, const void *b)
{
    double left = ((const struct share *)a)->share, right = ((const struct share *)b)->share;

    return (left < right) - (left > right);
}

static void add_stages(const struct screen *screen, struct lines *lines)
{
    struct names names;
    struct share shares[NAMES_MAX];
    double workers = metric(screen, "workers");

    label_values(screen->now->metrics, "stage_seconds_total", "stage", &names);
    add_line(lines, "STAGE     SHARE OF THE TIME");
    for (unsigned i = 0; i < names.count; i++) {
        double busy = labelled(screen, rate, "stage_seconds_total", "stage", names.items[i]);

        snprintf(shares[i].name, NAME_BYTES, "%.63s", names.items[i]);
        shares[i].share = workers > 0 ? busy / workers : 0;
    }
    qsort(shares, names.count, sizeof *shares, compare_shares);
    for (unsigned i = 0; i < names.count && i < STAGES_SHOWN; i++) {
        double width = shares[i].share * STAGE_BAR;
        int bar = width > STAGE_BAR ? STAGE_BAR : (int)(width + 0.5);

        add_line(lines, "%-8.8s %5.1f%% %.*s%s", shares[i].name, 100 * shares[i].share, bar, "##############",
                 i == 0 && shares[0].share > 0 ? " slowest" : "");
    }
}

static void add_places(const struct screen *screen, struct lines *lines)
{
    struct names names;
    char a[24], b[24], c[24];

    label_values(screen->now->metrics, "source_messages_total", "source", &names);
    add_line(lines, "SOURCE         MESSAGES/S      LAG");
    for (unsigned i = 0; i < names.count; i++)
        add_line(lines, "%-14.14s %10s %8s", names.items[i],
                 short_number(labelled(screen, rate, "source_messages_total", "source", names.items[i]), a),
                 short_number(labelled(screen, metric, "source_lag_messages", "source", names.items[i]), b));
    add_line(lines, "%s", "");
    add_line(lines, "SINK           DOCS/S  QUEUE RETRIES  DEAD");
    label_values(screen->now->metrics, "sink_documents_total", "sink", &names);
    for (unsigned i = 0; i < names.count; i++)
        add_line(lines, "%-14.14s %6s %6s %7s %5.0f%s", names.items[i],
                 short_number(labelled(screen, rate, "sink_documents_total", "sink", names.items[i]), a),
                 short_number(labelled(screen, metric, "sink_queue_bytes", "sink", names.items[i]), b),
                 short_number(labelled(screen, metric, "sink_retries_total", "sink", names.items[i]), c),
                 labelled(screen, metric, "sink_dead_letters_total", "sink", names.items[i]),
                 labelled(screen, metric, "sink_paused", "sink", names.items[i]) > 0 ? " PAUSED" : "");
    add_line(lines, "outbox %s documents", short_number(metric(screen, "outbox_documents"), a));
}

static const char *text_at(yajl_val object, const char *key)
{
    const char *path[] = {key, NULL}, *text = YAJL_GET_STRING(yajl_tree_get(object, path, yajl_t_string));

    return text ? text : "";
}

static const char *summary_of(yajl_val alert)
{
    const char *path[] = {"annotations", "summary", NULL};
    yajl_val summary = yajl_tree_get(alert, path, yajl_t_string);

    return summary ? YAJL_GET_STRING(summary) : "";
}

/* What /api/health says is wrong: why a sink is paused, that the store takes nothing. */
static void add_problems(const struct screen *screen, struct lines *lines)
{
    const char *path[] = {"problems", NULL};
    yajl_val root = yajl_tree_parse(screen->now->health, NULL, 0);
    yajl_val problems = yajl_tree_get(root, path, yajl_t_array);

    for (size_t i = 0; problems && i < problems->u.array.len; i++) {
        yajl_val problem = problems->u.array.values[i];

        add_line(lines, "%-8.8s %s", text_at(problem, "severity"), text_at(problem, "text"));
    }
    yajl_tree_free(root);
}

static void add_alerts(const struct screen *screen, struct lines *lines)
{
    yajl_val root = yajl_tree_parse(screen->now->alerts, NULL, 0);
    unsigned title = lines->count, open = 0;

    add_line(lines, "%s", "");
    for (size_t i = 0; root && YAJL_IS_ARRAY(root) && i < root->u.array.len; i++) {
        yajl_val alert = root->u.array.values[i];
        int64_t since_us;
        char age[24] = "?";

        if (strcmp(text_at(alert, "state"), "resolved") == 0)
            continue;
        open++;
        if (time_parse(span_of(text_at(alert, "starts_at")), TIME_UNIT_AUTO, TIME_NONE, &since_us))
            short_age((double)(screen->now->wall_us - since_us) / 1e6, age);
        add_line(lines, "%5s  %-8.8s %-7.7s %-16.16s %.40s  %s", age, text_at(alert, "severity"),
                 text_at(alert, "state"), text_at(alert, "rule"), text_at(alert, "target"),
                 summary_of(alert));
    }
    free(lines->items[title]);
    char text[64];

    snprintf(text, sizeof text, "OPEN ALERTS %u", open);
    lines->items[title] = memory_text(text, strlen(text));
    yajl_tree_free(root);
}

static void put_line(struct buffer *out, const char *text, unsigned columns)
{
    screen_put_line(out, span_of(text), columns);
    buffer_put_char(out, '\n');
}

/* Left and right beside each other. */
static void put_pair(struct buffer *out, const struct lines *left, const struct lines *right, unsigned at,
                     unsigned columns)
{
    screen_put(out, span_of(at < left->count ? left->items[at] : ""), LEFT_WIDTH);
    screen_put_line(out, span_of(at < right->count ? right->items[at] : ""),
                    columns > LEFT_WIDTH ? columns - LEFT_WIDTH : 0);
    buffer_put_char(out, '\n');
}

void top_screen(const struct top_sample *before, const struct top_sample *now, const char *url,
                const char *trouble, unsigned columns, unsigned rows, struct buffer *out)
{
    struct screen screen = {.before = before,
                            .now = now,
                            .seconds = before->metrics ? (double)(now->at_us - before->at_us) / 1e6 : 0};
    struct lines head = {.count = 0}, left = {.count = 0}, right = {.count = 0}, alerts = {.count = 0};
    unsigned used = 0;

    add_head(&screen, &head, url, trouble);
    add_stages(&screen, &left);
    add_places(&screen, &right);
    add_problems(&screen, &alerts);
    add_alerts(&screen, &alerts);
    unsigned middle = left.count > right.count ? left.count : right.count;
    unsigned wanted = alerts.count < ALERT_ROWS_MIN ? alerts.count : ALERT_ROWS_MIN;
    unsigned room = rows > HEAD_ROWS + wanted + 1 ? rows - HEAD_ROWS - wanted - 1 : 0;

    middle = middle < room ? middle : room;
    for (unsigned i = 0; i < head.count && used < rows; i++, used++)
        put_line(out, head.items[i], columns);
    for (unsigned i = 0; i < middle; i++, used++)
        put_pair(out, &left, &right, i, columns);
    if (used++ < rows)
        buffer_put_char(out, '\n');
    for (unsigned i = 0; i < alerts.count && used < rows; i++, used++)
        put_line(out, alerts.items[i], columns);
    lines_free(&head);
    lines_free(&left);
    lines_free(&right);
    lines_free(&alerts);
}
