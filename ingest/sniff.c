/* Asked once a message by `auto`, and about messages that a format cannot read. Reading stops at the key that
 * completes a sign, which with most writers is one of the first. */
#include "ingest/sniff.h"

#include <assert.h>

enum { REGISTRY_HEADER = 5 };

static const struct {
    const char *name, *signs;
} foreign[] = {
    {"an OTLP logs message", "resourceLogs"},
    {"an OTLP metrics message", "resourceMetrics"},
    {"an OTLP traces message", "resourceSpans"},
    {"a CloudEvents message", "specversion type source|specversion id source"},
    {"a CDEvents message", "context={ subject={"},
    {"an Argo Workflows object", "apiVersion=argoproj.io/ kind"},
    {"a Tekton event", "taskRun={|pipelineRun={|customRun={|apiVersion=tekton.dev/ kind"},
    {"a Kubernetes watch event", "object={ type=ADDED|object={ type=MODIFIED|object={ type=DELETED|object={ "
                                 "type=BOOKMARK|object={ type=ERROR"},
    {"a Kubernetes event", "involvedObject={ reason|regarding={ reason"},
    {"a Kubernetes object (Argo Workflows, Tekton ...)",
     "apiVersion kind metadata={|metadata={ spec={ status={"},
};

enum { FOREIGN_COUNT = sizeof foreign / sizeof *foreign };

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static size_t skip_blanks(struct span text, size_t at)
{
    while (at < text.size && is_blank(text.data[at]))
        at++;
    return at;
}

/* From behind the opening quote to behind the closing one, or to the end. */
static size_t skip_text(struct span text, size_t at)
{
    while (at < text.size) {
        const char *quote = memchr(text.data + at, '"', text.size - at);

        if (!quote)
            break;
        size_t end = (size_t)(quote - text.data), slashes = 0;
        while (slashes < end - at && text.data[end - 1 - slashes] == '\\')
            slashes++;
        at = end + 1;
        if (slashes % 2 == 0)
            return at;
    }
    return text.size;
}

/* To the comma or bracket that ends the value. */
static size_t skip_value(struct span text, size_t at)
{
    size_t depth = 0;

    while (at < text.size) {
        char c = text.data[at];

        if (depth == 0 && (c == ',' || c == '}' || c == ']'))
            return at;
        at++;
        if (c == '"')
            at = skip_text(text, at);
        else if (c == '{' || c == '[')
            depth++;
        else if (c == '}' || c == ']')
            depth--;
    }
    return at;
}

static bool begins_with(struct span text, struct span beginning)
{
    return text.size >= beginning.size && memcmp(text.data, beginning.data, beginning.size) == 0;
}

static unsigned key_head(struct span name)
{
    unsigned first = name.size ? (unsigned char)name.data[0] : 0;

    return (name.size * 5 + first) % SNIFF_HEADS;
}

static bool value_begins(struct span value, struct span beginning)
{
    bool is_text = value.size > 0 && value.data[0] == '"';

    if (beginning.size == 0)
        return true;
    if (beginning.data[0] == '{' || beginning.data[0] == '[')
        return begins_with(value, beginning);
    return is_text && begins_with(span_make(value.data + 1, value.size - 1), beginning);
}

static unsigned lowest(sniff_set set)
{
    uint64_t low = (uint64_t)set;

    return low ? (unsigned)__builtin_ctzll(low) : 64 + (unsigned)__builtin_ctzll((uint64_t)(set >> 64));
}

/* The set of a key; `value` goes on to the end of the message. */
static sniff_set key_set(const struct sniffer *sniffer, struct span name, struct span value)
{
    sniff_set bits = 0;

    for (sniff_set left = sniffer->heads[key_head(name)]; left; left &= left - 1) {
        unsigned i = lowest(left);
        const struct sniff_key *key = &sniffer->keys[i];

        if (span_equal(key->name, name) && value_begins(value, key->beginning))
            bits |= (sniff_set)1 << i;
    }
    return bits;
}

static int sign_answer(const struct sniffer *sniffer, sniff_set seen)
{
    for (unsigned i = 0; i < sniffer->sign_count; i++)
        if ((sniffer->signs[i].keys & ~seen) == 0)
            return (int)sniffer->signs[i].answer;
    return -1;
}

int sniffer_ask(const struct sniffer *sniffer, struct span payload)
{
    struct span text = sniff_json(payload);
    size_t at = skip_blanks(text, 0);
    sniff_set seen = 0;
    int answer = -1;

    if (at < text.size && text.data[at] == '[')
        at = skip_blanks(text, at + 1);
    if (at == text.size || text.data[at] != '{')
        return -1;
    while (answer < 0 && at < text.size && text.data[at] != '}') {
        size_t start = skip_blanks(text, at + 1) + 1, end;

        if (start >= text.size || text.data[start - 1] != '"')
            return -1;
        end = skip_text(text, start);
        at = skip_blanks(text, end);
        if (at == text.size || text.data[at] != ':')
            return -1;
        at = skip_blanks(text, at + 1);
        sniff_set bits = key_set(sniffer, span_make(text.data + start, end - 1 - start),
                                 span_make(text.data + at, text.size - at));
        if (bits & ~seen) {
            seen |= bits;
            answer = sign_answer(sniffer, seen);
        }
        if (answer < 0)
            at = skip_value(text, at);
    }
    return answer;
}

static unsigned key_number(struct sniffer *sniffer, struct span name, struct span beginning)
{
    unsigned i = 0;

    while (i < sniffer->key_count &&
           !(span_equal(sniffer->keys[i].name, name) && span_equal(sniffer->keys[i].beginning, beginning)))
        i++;
    if (i == sniffer->key_count) {
        assert(i < SNIFF_KEYS_MAX);
        sniffer->keys[sniffer->key_count++] = (struct sniff_key){name, beginning};
        sniffer->heads[key_head(name)] |= (sniff_set)1 << i;
    }
    return i;
}

void sniffer_add(struct sniffer *sniffer, const char *signs, unsigned answer)
{
    while (*signs) {
        struct sniff_sign sign = {.answer = answer};

        while (*signs && *signs != '|') {
            size_t size = strcspn(signs, " |"), name = strcspn(signs, "= |");
            struct span beginning =
                name < size ? span_make(signs + name + 1, size - name - 1) : (struct span){0};

            sign.keys |= (sniff_set)1 << key_number(sniffer, span_make(signs, name), beginning);
            signs += size + (signs[size] == ' ');
        }
        assert(sniffer->sign_count < SNIFF_SIGNS_MAX && sign.keys);
        sniffer->signs[sniffer->sign_count++] = sign;
        signs += *signs == '|';
    }
}

void sniffer_add_foreign(struct sniffer *sniffer, unsigned first_answer)
{
    for (unsigned i = 0; i < FOREIGN_COUNT; i++)
        sniffer_add(sniffer, foreign[i].signs, first_answer + i);
}

const char *sniff_foreign_name(unsigned number)
{
    assert(number < FOREIGN_COUNT);
    return foreign[number].name;
}

const char *sniff_foreign(struct span payload)
{
    struct sniffer sniffer = {.key_count = 0};

    sniffer_add_foreign(&sniffer, 0);
    int answer = sniffer_ask(&sniffer, payload);
    return answer < 0 ? NULL : sniff_foreign_name((unsigned)answer);
}

struct span sniff_json(struct span payload)
{
    if (payload.size <= REGISTRY_HEADER || payload.data[0] != '\0')
        return payload;
    struct span body = span_make(payload.data + REGISTRY_HEADER, payload.size - REGISTRY_HEADER);
    size_t at = skip_blanks(body, 0);
    return at < body.size && (body.data[at] == '{' || body.data[at] == '[') ? body : payload;
}
