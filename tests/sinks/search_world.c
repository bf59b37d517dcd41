#include "tests/sinks/search_world.h"
#include "schemas/templates.h"

#include "base/memory.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <zlib.h>

static const struct {
    int status;
    const char *error;
} item_errors[] = {
    {400, "{\"type\":\"mapper_parsing_exception\",\"reason\":\"failed to parse field [code] of type [long] "
          "in document "
          "with id '1'. Preview of field's value: "
          "'hunter2'\",\"caused_by\":{\"type\":\"illegal_argument_exception\","
          "\"reason\":\"For input string: \\\"hunter2\\\"\"}}"},
    {403, "{\"type\":\"cluster_block_exception\",\"reason\":\"index [ro] blocked by: [FORBIDDEN/8/index "
          "write (api)];\"}"},
    {404, "{\"type\":\"index_not_found_exception\",\"reason\":\"no such index [x]\"}"},
    {409, "{\"type\":\"version_conflict_engine_exception\",\"reason\":\"[1]: version conflict\"}"},
    {429, "{\"type\":\"es_rejected_execution_exception\",\"reason\":\"rejected execution\"}"},
    {500, "{\"type\":\"string_index_out_of_bounds_exception\",\"reason\":\"String index out of range: 0\"}"},
    {503, "{\"type\":\"unavailable_shards_exception\",\"reason\":\"Not enough active copies\"}"},
};

const struct stored *world_find(struct world *world, const char *index, const char *id)
{
    for (size_t i = 0; i < world->count; i++)
        if (strcmp(world->stored[i].id, id) == 0 && strcmp(world->stored[i].index, index) == 0)
            return &world->stored[i];
    return NULL;
}

static void text_after(struct span line, const char *key, char *ret_text, size_t size)
{
    const char *found = memmem(line.data, line.size, key, strlen(key));

    ret_text[0] = '\0';
    if (!found)
        return;
    found += strlen(key);
    size_t length = strcspn(found, "\"");

    assert(length < size);
    memcpy(ret_text, found, length);
    ret_text[length] = '\0';
}

static void read_action(struct span line, struct world_item *item)
{
    const char *version = memmem(line.data, line.size, "\"version\":", 10);

    *item = (struct world_item){.version = version ? strtoull(version + 10, NULL, 10) : 0};
    text_after(line, "{\"", item->operation, sizeof item->operation);
    text_after(line, "\"_index\":\"", item->index, sizeof item->index);
    text_after(line, "\"_id\":\"", item->id, sizeof item->id);
    assert(item->index[0] && item->id[0]);
    assert(!item->version || memmem(line.data, line.size, "\"version_type\":\"external\"", 24));
}

/* 201, 200 or 409, as a real server. */
static int store(struct world *world, const struct world_item *item)
{
    struct stored *old = (struct stored *)(void *)world_find(world, item->index, item->id);
    bool create = strcmp(item->operation, "create") == 0;

    if (old && (create || item->version <= old->version))
        return 409;
    if (!old) {
        world->stored =
            memory_reserve(world->stored, &world->capacity, world->count + 1, sizeof *world->stored);
        world->stored[world->count] = (struct stored){0};
    }
    struct stored *place = old ? old : &world->stored[world->count++];

    memcpy(place->index, item->index, sizeof place->index);
    memcpy(place->id, item->id, sizeof place->id);
    place->version = item->version;
    snprintf(place->body, sizeof place->body, "%.*s", (int)item->body.size, item->body.data);
    return old ? 200 : 201;
}

static struct span next_line(struct span *text)
{
    const char *end = memchr(text->data, '\n', text->size);

    assert(end);
    struct span line = span_make(text->data, (size_t)(end - text->data));

    text->data += line.size + 1;
    text->size -= line.size + 1;
    return line;
}

static void put_item(struct buffer *out, const char *operation, int status)
{
    buffer_print(out, "{\"%s\":{\"status\":%d", operation, status);
    for (size_t i = 0; i < sizeof item_errors / sizeof *item_errors; i++)
        if (item_errors[i].status == status)
            buffer_print(out, ",\"error\":%s", item_errors[i].error);
    buffer_put_text(out, "}}");
}

static void answer_items(struct world *world, struct span text, struct fake_reply *reply)
{
    struct buffer out;
    bool first = true;

    buffer_init(&out, 16 * 1024 * 1024);
    buffer_put_text(&out, "{\"errors\":true,\"items\":[");
    while (text.size > 0) {
        struct world_item item;

        read_action(next_line(&text), &item);
        item.body = next_line(&text);
        world->trail = memory_reserve(world->trail, &world->trail_capacity, world->trail_size + 96, 1);
        world->trail_size += (size_t)snprintf(world->trail + world->trail_size, 96, "%s:%lu ", item.id,
                                              (unsigned long)item.version);
        int status = world->item_trouble ? world->item_trouble(world, &item) : 0;

        if (!first)
            buffer_put_char(&out, ',');
        first = false;
        put_item(&out, item.operation, status ? status : store(world, &item));
    }
    buffer_put_text(&out, "]}");
    fake_reply_put(reply, 200, "content-type: application/json\r\n", buffer_span(&out));
    buffer_free(&out);
}

static struct span inflate_body(struct span body, struct buffer *out)
{
    z_stream inflater = {.next_in = (unsigned char *)(void *)(uintptr_t)body.data, .avail_in = body.size};
    char *room = buffer_room(out, 8 * 1024 * 1024);

    inflateInit2(&inflater, 15 + 16);
    inflater.next_out = (unsigned char *)room;
    inflater.avail_out = 8 * 1024 * 1024;
    int ended = inflate(&inflater, Z_FINISH);

    assert(ended == Z_STREAM_END);
    (void)ended;
    out->size = 8 * 1024 * 1024 - inflater.avail_out;
    inflateEnd(&inflater);
    return buffer_span(out);
}

static void answer_bulk(struct world *world, const struct fake_request *request, struct fake_reply *reply)
{
    bool gzip = strcasestr(request->headers, "content-encoding: gzip") != NULL;
    struct buffer plain;
    struct span text = request->body;
    size_t items = 0;

    buffer_init(&plain, 16 * 1024 * 1024);
    if (gzip)
        text = inflate_body(text, &plain);
    for (uint32_t i = 0; i < text.size; i++)
        items += text.data[i] == '\n';
    assert(items % 2 == 0 && items > 0);
    assert(strcasestr(request->headers, "content-type: application/x-ndjson\r\n"));
    assert(!strcasestr(request->headers, "expect:"));
    memcpy(world->headers, request->headers, sizeof world->headers);
    snprintf(world->bulk, sizeof world->bulk, "%.*s", (int)text.size, text.data);
    world->items_last = items / 2;
    world->bulks++;
    int status = world->request_trouble ? world->request_trouble(world, request, gzip, items / 2) : 0;

    reply->cut = status == -1;
    if (status > 0)
        fake_reply_put(
            reply, status, world->request_headers ? world->request_headers : "",
            SPAN_LITERAL("{\"error\":{\"root_cause\":[],\"type\":\"some_exception\",\"reason\":\"why\"},"
                         "\"status\":0}"));
    else if (status == 0)
        answer_items(world, text, reply);
    buffer_free(&plain);
}

static void answer(void *owner, const struct fake_request *request, struct fake_reply *reply)
{
    struct world *world = owner;
    struct span missing =
        SPAN_LITERAL("{\"error\":{\"root_cause\":[{\"type\":\"resource_not_found_exception\","
                     "\"reason\":\"index template matching [nope] not found\"}],"
                     "\"type\":\"resource_not_found_exception\",\"reason\":\"index template matching "
                     "[nope] not found\"},\"status\":404}");
    const struct span no_streams = /* as 7.17.29 of the oss flavour says it */
        SPAN_LITERAL(
            "{\"error\":{\"root_cause\":[{\"type\":\"illegal_argument_exception\",\"reason\":\"composable "
            "template [logs-app] template after composition is invalid\"}],\"type\":"
            "\"illegal_argument_exception\",\"reason\":\"composable template [logs-app] template after "
            "composition is invalid\",\"caused_by\":{\"type\":\"x_content_parse_exception\",\"reason\":"
            "\"[index_template] unknown field [data_stream]\"}},\"status\":400}");

    if (strncmp(request->path, "/_bulk?filter_path=errors,items.*.error,items.*.status", 54) == 0) {
        answer_bulk(world, request, reply);
    } else if (strcmp(request->method, "PUT") == 0 && world->no_streams &&
               memmem(request->body.data, request->body.size, "\"data_stream\"", 13)) {
        world->puts++;
        fake_reply_put(reply, 400, "", no_streams);
    } else if (strcmp(request->method, "PUT") == 0) {
        world->puts++;
        world->templates++;
        fake_reply_put(reply, 200, "", SPAN_LITERAL("{\"acknowledged\":true}"));
    } else if (strncmp(request->path, "/_index_template/", 17) == 0) {
        world->gets++;
        if (world->templates >= TEMPLATE_COUNT)
            fake_reply_put(reply, 200, "", SPAN_LITERAL("{\"index_templates\":[{\"name\":\"x\"}]}"));
        else
            fake_reply_put(reply, 404, "", missing);
    } else if (strncmp(request->path, "/_nodes/http", 12) == 0) {
        fake_reply_put(reply, 200, "", SPAN_LITERAL("{\"nodes\":{\"a\":{\"version\":\"9.0.0\"}}}"));
    } else if (world->number == 405) {
        fake_reply_put(reply, 405, "", SPAN_LITERAL("{\"error\":\"Incorrect HTTP method\",\"status\":405}"));
    } else {
        fake_reply_put(reply, 200, "",
                       SPAN_LITERAL("{\"version\":{\"distribution\":\"opensearch\",\"number\":\"2.19.6\"}}"));
    }
}

void world_start(struct world *world)
{
    *world = (struct world){.templates = TEMPLATE_COUNT, .random = 1};
    fake_server_start(&world->server, answer, world);
}

void world_stop(struct world *world)
{
    fake_server_stop(&world->server);
    free(world->stored);
    free(world->trail);
}
