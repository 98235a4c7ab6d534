/* What the model puts out in a turn, put together from the worker's notifications. */
#include "output.h"

#include "log.h"

#include <stdlib.h>
#include <string.h>

static void give(struct output *o, struct output_channel *channel, const char *bytes, size_t len)
{
    bool reasoning = channel == &o->reasoning;
    if (channel == NULL || o->sink.take == NULL || len == 0)
        return;
    if (channel->used && channel->separator)
        o->sink.take(o->sink.ctx, reasoning, "\n\n", 2);
    channel->used = true;
    channel->separator = false;
    if (o->sink.take != NULL)
        o->sink.take(o->sink.ctx, reasoning, bytes, len);
}

static void separate(struct output_channel *channel)
{
    if (channel != NULL)
        channel->separator = true;
}

static struct output_item *find_item(struct output *o, const char *id)
{
    for (size_t i = o->item_count; id != NULL && i-- > 0;)
        if (strcmp(o->items[i].id, id) == 0)
            return &o->items[i];
    return NULL;
}

static struct output_item *open_item(struct output *o, const char *id)
{
    if (id == NULL || o->item_count == OUTPUT_OPEN_ITEMS_MAX)
        return NULL;
    o->items = xrealloc(o->items, (o->item_count + 1) * sizeof(*o->items));
    struct output_item *item = &o->items[o->item_count++];
    *item = (struct output_item){ .id = xstrdup(id) };
    return item;
}

static void close_item(struct output *o, struct output_item *item)
{
    free(item->id);
    *item = o->items[--o->item_count];
}

/* NULL: its text goes nowhere. */
static struct output_channel *channel_of(struct output *o, const struct output_item *item)
{
    if (!item->commentary || o->commentary == COMMENTARY_CONTENT)
        return &o->text;
    return o->commentary == COMMENTARY_REASONING ? &o->reasoning : NULL;
}

static void on_item_started(struct output *o, const json_t *params)
{
    const char *type = json_str_at(params, "item.type");
    if (type == NULL || strcmp(type, "agentMessage") != 0)
        return;
    const char *phase = json_str_at(params, "item.phase");
    struct output_item *item = open_item(o, json_str_at(params, "item.id"));
    if (item == NULL)
        return;
    item->commentary = phase != NULL && strcmp(phase, "commentary") == 0;
    separate(channel_of(o, item)); /* also from reasoning that came before */
}

static void on_text_delta(struct output *o, const json_t *params)
{
    const char *id = json_str_at(params, "itemId");
    const json_t *delta = json_object_get(params, "delta");
    if (!json_is_string(delta))
        return;
    struct output_item *item = find_item(o, id);
    if (item == NULL)
        item = open_item(o, id);
    if (item != NULL)
        item->sent_bytes += json_string_length(delta);
    /* One that could not be remembered is text all the same. */
    give(o, item != NULL ? channel_of(o, item) : &o->text, json_string_value(delta),
         json_string_length(delta));
}

/* The whole text comes again at the end: what no delta brought is given now. If the deltas were of another text, the place
 * may lie inside a character, and nothing can be told from it. */
static void give_rest(struct output *o, struct output_channel *channel, const json_t *text,
                      size_t sent)
{
    size_t len = json_is_string(text) ? json_string_length(text) : 0;
    const char *rest = len > sent ? json_string_value(text) + sent : NULL;
    if (rest != NULL && ((unsigned char)*rest & 0xC0) != 0x80)
        give(o, channel, rest, len - sent);
}

static void on_item_completed(struct output *o, const json_t *params)
{
    const char *id = json_str_at(params, "item.id");
    if (find_item(o, id) == NULL)
        on_item_started(o, params); /* a message that comes only when it is complete */
    struct output_item *item = find_item(o, id);
    if (item == NULL)
        return;
    size_t sent = item->sent_bytes;
    struct output_channel *channel = channel_of(o, item);
    close_item(o, item);
    give_rest(o, channel, json_at(params, "item.text"), sent);
    separate(channel);
}

static void on_reasoning_part(struct output *o, const json_t *params)
{
    (void)params;
    o->reasoning.separator = true;
}

static void on_reasoning_delta(struct output *o, const json_t *params)
{
    const json_t *delta = json_object_get(params, "delta");
    if (json_is_string(delta))
        give(o, &o->reasoning, json_string_value(delta), json_string_length(delta));
}

static bool is_offered(const struct output *o, const char *name)
{
    for (size_t i = 0; i < json_array_size(o->offered); i++)
        if (strcmp(json_str_at(json_array_get(o->offered, i), "name"), name) == 0)
            return true;
    return false;
}

/* The model's own text of a call; item/tool/call has the arguments only as a parsed value. A call of a tool that nobody
 * offered is answered by the worker itself, and the model goes on. */
static void on_raw_item(struct output *o, const json_t *params)
{
    const json_t *item = json_object_get(params, "item");
    const char *type = json_str_at(item, "type");
    const char *id = json_str_at(item, "call_id");
    const char *name = json_str_at(item, "name");
    const char *arguments = json_str_at(item, "arguments");
    if (type == NULL || strcmp(type, "function_call") != 0 || id == NULL || name == NULL ||
        arguments == NULL || strlen(id) >= OUTPUT_ID_MAX || o->call_count == OUTPUT_CALLS_MAX ||
        !is_offered(o, name))
        return;
    o->response_completed = false; /* this one is of a response that is still coming */
    o->calls = xrealloc(o->calls, (o->call_count + 1) * sizeof(*o->calls));
    o->calls[o->call_count++] =
        (struct output_call){ xstrdup(id), xstrdup(name), xstrdup(arguments) };
}

/* A turn may take several responses of the model; their counts add up. */
static void add_count(int64_t *sum, const json_t *usage, const char *name)
{
    int64_t count = json_int_at(usage, name, 0);
    if (count > 0 && __builtin_add_overflow(*sum, count, sum))
        *sum = INT64_MAX;
}

static void on_response_completed(struct output *o, const json_t *params)
{
    const json_t *usage = json_object_get(params, "usage");
    add_count(&o->usage.input, usage, "inputTokens");
    add_count(&o->usage.cached, usage, "cachedInputTokens");
    add_count(&o->usage.cache_write, usage, "cacheWriteInputTokens");
    add_count(&o->usage.output, usage, "outputTokens");
    add_count(&o->usage.reasoning, usage, "reasoningOutputTokens");
    add_count(&o->usage.total, usage, "totalTokens");
    o->response_completed = true;
}

/* Only an error that will not be retried is final, and turn/completed follows it. */
static void on_error(struct output *o, const json_t *params)
{
    if (json_bool_at(params, "willRetry", 0)) {
        log_info("worker", "upstream_retry", LOG_ID("thread_id", json_str_at(params, "threadId")));
        return;
    }
    json_decref(o->error);
    o->error = json_incref(json_object_get(params, "error"));
}

static const struct {
    const char *method;
    void (*take)(struct output *o, const json_t *params);
} notes[] = {
    { "item/agentMessage/delta", on_text_delta },
    { "item/reasoning/summaryTextDelta", on_reasoning_delta },
    { "item/reasoning/summaryPartAdded", on_reasoning_part },
    { "item/started", on_item_started },
    { "item/completed", on_item_completed },
    { "rawResponseItem/completed", on_raw_item },
    { "rawResponse/completed", on_response_completed },
    { "error", on_error },
};

bool output_note(struct output *o, const char *method, const json_t *params)
{
    for (size_t i = 0; i < sizeof(notes) / sizeof(notes[0]); i++) {
        if (strcmp(notes[i].method, method) == 0) {
            notes[i].take(o, params);
            return true;
        }
    }
    return false;
}

void output_reset(struct output *o)
{
    for (size_t i = 0; i < o->call_count; i++) {
        free(o->calls[i].id);
        free(o->calls[i].name);
        free(o->calls[i].arguments);
    }
    free(o->calls);
    while (o->item_count != 0)
        close_item(o, &o->items[0]);
    free(o->items);
    json_decref(o->error);
    *o = (struct output){ .sink = o->sink, .offered = o->offered, .commentary = o->commentary };
}
