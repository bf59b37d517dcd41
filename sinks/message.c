#include "sinks/message.h"

#include "base/json_writer.h"
#include "base/memory.h"

#include <stdlib.h>
#include <yajl/yajl_tree.h>

#define SECOND_US INT64_C(1000000)

/* Bytes of one text. Slack takes 3000 characters a block: what put_alert writes at most is less. */
enum { NAME_BYTES = 150, SUMMARY_BYTES = 500, DESCRIPTION_BYTES = 700, LINK_BYTES = 500, TITLE_BYTES = 300 };
enum { LISTED_MAX = 40 }; /* alerts of a digest; Slack takes 50 blocks */

/* How a reader wants texts. */
struct style {
    bool slack;
};

static const struct style plain = {.slack = false}, slack = {.slack = true};

static yajl_val find(yajl_val tree, const char *first, const char *second)
{
    const char *path[] = {first, second, NULL};

    return yajl_tree_get(tree, path, yajl_t_any);
}

static struct span text_of(yajl_val tree, const char *first, const char *second)
{
    return span_of(YAJL_GET_STRING(find(tree, first, second)));
}

static int64_t time_of(yajl_val tree, const char *first, const char *second)
{
    int64_t time_us = TIME_NONE;

    time_parse(text_of(tree, first, second), TIME_UNIT_AUTO, TIME_NONE, &time_us);
    return time_us;
}

static int64_t number_of(yajl_val tree, const char *first, const char *second)
{
    yajl_val value = find(tree, first, second);

    return YAJL_IS_INTEGER(value) ? YAJL_GET_INTEGER(value) : 0;
}

static struct message_alert read_alert(yajl_val line)
{
    return (struct message_alert){
        .episode = text_of(line, "episode", NULL),
        .state = text_of(line, "state", NULL),
        .reason = text_of(line, "reason", NULL),
        .rule = text_of(line, "rule", NULL),
        .kind = text_of(line, "kind", NULL),
        .severity = text_of(line, "severity", NULL),
        .target = text_of(line, "target", NULL),
        .workflow = text_of(line, "workflow", NULL),
        .task = text_of(line, "task", NULL),
        .run = text_of(line, "run", NULL),
        .run_name = text_of(line, "run_name", NULL),
        .summary = text_of(line, "annotations", "summary"),
        .description = text_of(line, "annotations", "description"),
        .runbook = text_of(line, "annotations", "runbook"),
        .url = text_of(line, "links", "url"),
        .at_us = time_of(line, "at", NULL),
        .starts_us = time_of(line, "starts_at", NULL),
        .ends_us = time_of(line, "ends_at", NULL),
        .labels = find(line, "labels", NULL),
    };
}

static void read_digest(yajl_val tree, struct alert_message *message)
{
    yajl_val lines = find(tree, "alerts", NULL);

    message->is_digest = true;
    message->from_us = time_of(tree, "digest", "from");
    message->until_us = time_of(tree, "digest", "until");
    message->total = number_of(tree, "digest", "alerts");
    message->resolved = number_of(tree, "digest", "resolved");
    message->firing = number_of(tree, "digest", "firing");
    message->count = YAJL_IS_ARRAY(lines) ? YAJL_GET_ARRAY(lines)->len : 0;
    message->alerts = memory_new((message->count + 1) * sizeof *message->alerts);
    for (size_t i = 0; i < message->count; i++)
        message->alerts[i] = read_alert(YAJL_GET_ARRAY(lines)->values[i]);
}

bool message_read(struct span document, struct alert_message *ret_message)
{
    char *text = memory_text(document.data, document.size);
    yajl_val tree = yajl_tree_parse(text, NULL, 0);
    struct alert_message message = {.tree = tree};

    free(text);
    if (YAJL_IS_OBJECT(find(tree, "digest", NULL))) {
        read_digest(tree, &message);
    } else if (text_of(tree, "state", NULL).size && text_of(tree, "severity", NULL).size) {
        message.alerts = memory_new(sizeof *message.alerts);
        message.alerts[message.count++] = read_alert(tree);
    } else {
        yajl_tree_free(tree);
        return false;
    }
    *ret_message = message;
    return true;
}

void message_free(struct alert_message *message)
{
    yajl_tree_free(message->tree);
    free(message->alerts);
}

static bool is_resolved(const struct message_alert *alert)
{
    return span_is(alert->state, "resolved");
}

/* At most so many bytes, whole characters only; control characters become blanks, but for line ends where
 * there may be some. */
static void put_limited(const struct style *style, struct span text, size_t limit, bool lines,
                        struct buffer *out)
{
    size_t end = out->size + limit - strlen("...");

    for (uint32_t i = 0; i < text.size;) {
        unsigned char c = (unsigned char)text.data[i];
        size_t size = c < 0x80 ? 1 : utf8_sequence_size((const unsigned char *)text.data + i, text.size - i);
        struct span piece = span_make(text.data + i, size ? size : 1);

        if (style->slack && (c == '&' || c == '<' || c == '>'))
            piece = c == '&' ? SPAN_LITERAL("&amp;") : c == '<' ? SPAN_LITERAL("&lt;") : SPAN_LITERAL("&gt;");
        else if ((c < ' ' && !(lines && c == '\n')) || c == 0x7F)
            piece = SPAN_LITERAL(" ");
        if (out->size + piece.size > end) {
            buffer_put_text(out, "...");
            return;
        }
        buffer_put_span(out, piece);
        i += size ? (uint32_t)size : 1;
    }
}

bool message_is_link(struct span url)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:/?#@!$&'()*+,;=%";
    static const char digits[] = "0123456789ABCDEFabcdef";
    size_t size = url.size; /* as Slack wants it */

    if (url.size <= 8 || (memcmp(url.data, "http://", 7) != 0 && memcmp(url.data, "https://", 8) != 0))
        return false;
    for (uint32_t i = 0; i < url.size; i++) {
        if (!memchr(allowed, url.data[i], sizeof allowed - 1))
            return false;
        if (url.data[i] == '%' && (i + 2 >= url.size || !memchr(digits, url.data[i + 1], sizeof digits - 1) ||
                                   !memchr(digits, url.data[i + 2], sizeof digits - 1)))
            return false;
        size += url.data[i] == '&' ? strlen("amp;") : 0;
    }
    return size + strlen("...") <= LINK_BYTES;
}

/* NAME: LABEL, which leads to the address if that is one. */
static void put_link(const struct style *style, const char *name, struct span label, struct span url,
                     struct buffer *out)
{
    bool link = style->slack && message_is_link(url);

    if (!label.size && !url.size)
        return;
    buffer_print(out, "%s: ", name);
    if (link) {
        buffer_put_char(out, '<');
        put_limited(style, url, LINK_BYTES, false, out);
        buffer_put_text(out, label.size ? "|" : "");
        put_limited(style, label, NAME_BYTES, false, out);
        buffer_put_char(out, '>');
    } else {
        put_limited(style, label, NAME_BYTES, false, out);
        if (label.size && url.size)
            buffer_put_char(out, ' ');
        put_limited(style, url, LINK_BYTES, false, out);
    }
    buffer_put_char(out, '\n');
}

static void put_time(int64_t time_us, bool seconds, struct buffer *out)
{
    char text[TIME_TEXT_SIZE];

    if (time_us == TIME_NONE)
        return;
    time_format(time_us, text);
    buffer_put(out, text, 10);
    buffer_put_char(out, ' ');
    buffer_put(out, text + 11, seconds ? 8 : 5);
}

/* The two largest units. */
static void put_duration(int64_t duration_us, struct buffer *out)
{
    static const struct {
        const char *name;
        int64_t seconds;
    } units[] = {{"d", 86400}, {"h", 3600}, {"m", 60}, {"s", 1}};
    int64_t seconds = duration_us / SECOND_US;
    size_t i = 0;

    while (i < 3 && seconds < units[i].seconds)
        i++;
    buffer_print(out, "%lld%s", (long long)(seconds / units[i].seconds), units[i].name);
    seconds %= units[i].seconds;
    if (i < 3 && seconds / units[i + 1].seconds > 0)
        buffer_print(out, " %lld%s", (long long)(seconds / units[i + 1].seconds), units[i + 1].name);
}

/* Workflow and task as they are called, else the target. */
static void put_place(const struct style *style, const struct message_alert *alert, struct buffer *out)
{
    put_limited(style, alert->workflow.size ? alert->workflow : alert->target, NAME_BYTES, false, out);
    if (alert->workflow.size && alert->task.size) {
        buffer_put_text(out, " / ");
        put_limited(style, alert->task, NAME_BYTES, false, out);
    }
}

static void put_upper(struct span text, struct buffer *out)
{
    for (uint32_t i = 0; i < text.size; i++)
        buffer_put_char(out, text.data[i] >= 'a' && text.data[i] <= 'z' ? (char)(text.data[i] - 32)
                                                                        : text.data[i]);
}

/* "CRITICAL firing", "resolved (expired)". */
static void put_state(const struct message_alert *alert, struct buffer *out)
{
    if (!is_resolved(alert)) {
        put_upper(alert->severity, out);
        buffer_put_char(out, ' ');
    }
    buffer_put_span(out, alert->state);
    if (is_resolved(alert) && !span_is(alert->reason, "condition"))
        buffer_print(out, " (%.*s)", (int)alert->reason.size, alert->reason.data);
}

static void put_since(const struct message_alert *alert, struct buffer *out)
{
    bool ended = is_resolved(alert) && alert->ends_us != TIME_NONE;
    int64_t until_us = ended ? alert->ends_us : alert->at_us;

    if (alert->starts_us == TIME_NONE)
        return;
    buffer_put_text(out, ended ? "From " : "Since ");
    put_time(alert->starts_us, true, out);
    if (ended) {
        buffer_put_text(out, " to ");
        put_time(alert->ends_us, true, out);
    }
    buffer_put_text(out, " UTC");
    if (until_us - alert->starts_us >= SECOND_US) {
        buffer_put_text(out, ended ? ", lasted " : ", for ");
        put_duration(until_us - alert->starts_us, out);
    }
    buffer_put_char(out, '\n');
}

static void put_line(const struct style *style, struct span text, size_t limit, struct buffer *out)
{
    if (!text.size)
        return;
    put_limited(style, text, limit, true, out);
    buffer_put_char(out, '\n');
}

static void put_alert(const struct style *style, const struct message_alert *alert, struct buffer *out)
{
    const char *bold = style->slack ? "*" : "";

    buffer_put_text(out, bold);
    put_state(alert, out);
    buffer_put_text(out, bold);
    buffer_put_text(out, ": ");
    put_place(style, alert, out);
    buffer_put_char(out, '\n');
    put_line(style, alert->summary, SUMMARY_BYTES, out);
    put_line(style, alert->description, DESCRIPTION_BYTES, out);
    put_since(alert, out);
    put_link(style, "Run", alert->run_name.size ? alert->run_name : alert->run, alert->url, out);
    put_link(style, "Runbook", (struct span){0}, alert->runbook, out);
    put_link(style, "Rule", alert->rule, (struct span){0}, out);
}

/* What one looks at first, of an alert in a list. */
static void put_brief(const struct style *style, const struct message_alert *alert, struct buffer *out)
{
    put_state(alert, out);
    buffer_put_text(out, ": ");
    put_place(style, alert, out);
    if (alert->summary.size) {
        buffer_put_text(out, ": ");
        put_limited(style, alert->summary, TITLE_BYTES, false, out);
    }
    buffer_put_char(out, '\n');
    put_since(alert, out);
    put_link(style, "Run", alert->run_name.size ? alert->run_name : alert->run, alert->url, out);
}

static void put_digest_title(const struct alert_message *message, struct buffer *out)
{
    buffer_print(out, "%lld alert%s between ", (long long)message->total, message->total == 1 ? "" : "s");
    put_time(message->from_us, false, out);
    buffer_put_text(out, " and ");
    put_time(message->until_us, false, out);
    buffer_print(out, " UTC while weir was behind: %lld resolved, %lld still firing",
                 (long long)message->resolved, (long long)message->firing);
}

static void put_title(const struct style *style, const struct alert_message *message, struct buffer *out)
{
    const struct message_alert *alert = message->alerts;
    struct buffer title;

    if (message->is_digest) {
        put_digest_title(message, out);
        return;
    }
    buffer_init(&title, MESSAGE_BYTES_MAX);
    put_state(alert, &title);
    buffer_put_text(&title, ": ");
    put_place(&plain, alert, &title);
    buffer_put_text(&title, ": ");
    buffer_put_span(&title, alert->summary.size ? alert->summary : alert->rule);
    put_limited(style, buffer_span(&title), TITLE_BYTES, false, out);
    buffer_free(&title);
}

void message_title(const struct alert_message *message, struct buffer *out)
{
    put_title(&plain, message, out);
}

static size_t listed(const struct alert_message *message)
{
    return message->count < LISTED_MAX ? message->count : LISTED_MAX;
}

void message_text(const struct alert_message *message, const char *pipeline, struct buffer *out)
{
    if (message->is_digest) {
        put_digest_title(message, out);
        buffer_put_text(out, ".\n");
        for (size_t i = 0; i < listed(message); i++) {
            buffer_put_char(out, '\n');
            put_brief(&plain, &message->alerts[i], out);
        }
        if (message->count > LISTED_MAX)
            buffer_print(out, "\nand %zu more\n", message->count - LISTED_MAX);
    } else {
        put_alert(&plain, message->alerts, out);
    }
    buffer_print(out, "Pipeline: %s\n", pipeline);
}

/* Takes the text, without its last line end. */
static void put_block(struct json_writer *json, struct buffer *text)
{
    if (text->size && text->data[text->size - 1] == '\n')
        buffer_truncate(text, text->size - 1);
    json_open(json, NULL);
    json_text(json, "type", SPAN_LITERAL("section"));
    json_open(json, "text");
    json_text(json, "type", SPAN_LITERAL("mrkdwn"));
    json_text(json, "text", buffer_span(text));
    json_close(json);
    json_close(json);
    buffer_clear(text);
}

static void put_slack_context(struct json_writer *json, const char *pipeline, struct buffer *text)
{
    buffer_put_text(text, "weir, pipeline ");
    put_limited(&slack, span_of(pipeline), NAME_BYTES, false, text);
    json_open(json, NULL);
    json_text(json, "type", SPAN_LITERAL("context"));
    json_open_list(json, "elements");
    json_open(json, NULL);
    json_text(json, "type", SPAN_LITERAL("mrkdwn"));
    json_text(json, "text", buffer_span(text));
    json_close(json);
    json_close_list(json);
    json_close(json);
}

void message_slack(const struct alert_message *message, const char *pipeline, struct buffer *out)
{
    struct json_writer json;
    struct buffer text;

    buffer_init(&text, MESSAGE_BYTES_MAX);
    json_begin(&json, out);
    json_open(&json, NULL);
    put_title(&slack, message, &text);
    json_text(&json, "text", buffer_span(&text));
    json_open_list(&json, "blocks");
    if (message->is_digest) {
        put_block(&json, &text);
        for (size_t i = 0; i < listed(message); i++) {
            put_brief(&slack, &message->alerts[i], &text);
            put_block(&json, &text);
        }
        if (message->count > LISTED_MAX) {
            buffer_print(&text, "and %zu more", message->count - LISTED_MAX);
            put_block(&json, &text);
        }
    } else {
        buffer_clear(&text);
        put_alert(&slack, message->alerts, &text);
        put_block(&json, &text);
    }
    put_slack_context(&json, pipeline, &text);
    json_close_list(&json);
    json_close(&json);
    buffer_free(&text);
}
