/* From a chat request to what the worker is asked. */
#include "plan.h"

#include "message.h"

#include <string.h>

static json_t *make_thread(const struct chat_request *r, const struct plan_options *o)
{
    /* baseInstructions "" sends no prompt of codex's own; null would send its coding prompt. */
    json_t *thread =
        json_pack("{s:s, s:b, s:s, s:[], s:b, s:s, s:s}", "model", o->model, "ephemeral", 1,
                  "baseInstructions", "", "environments", "experimentalRawEvents", 1,
                  "approvalPolicy", "never", "sandbox", "read-only");
    if (r->tools.offered != NULL)
        json_object_set(thread, "dynamicTools", r->tools.offered);
    if (r->verbosity != NULL)
        json_object_set_new(thread, "config", json_pack("{s:s}", "model_verbosity", r->verbosity));
    return thread;
}

/* Our own instructions come first, where they stay as the history grows. */
static json_t *make_items(const struct chat_request *r)
{
    json_t *items = json_array();
    if (r->instructions.len != 0)
        json_array_append_new(items, json_pack("{s:s, s:s, s:[{s:s, s:s%}]}", "type", "message",
                                               "role", "developer", "content", "type", "input_text",
                                               "text", r->instructions.data, r->instructions.len));
    for (size_t i = 0; i < json_array_size(r->messages); i++)
        message_append_items(items, json_array_get(r->messages, i), i);
    return items;
}

static json_t *make_start(const struct chat_request *r, const struct plan_options *o)
{
    json_t *start = json_pack("{s:[], s:s}", "input", "summary", o->summary);
    if (o->effort != NULL)
        json_object_set_new(start, "effort", json_string(o->effort));
    if (r->schema != NULL)
        json_object_set(start, "outputSchema", r->schema);
    if (r->service_tier != NULL)
        json_object_set_new(start, "serviceTier", json_string(r->service_tier));
    return start;
}

void plan_make(struct turn_plan *ret, const struct chat_request *request,
               const struct plan_options *options)
{
    ret->thread = make_thread(request, options);
    ret->items = make_items(request);
    ret->start = make_start(request, options);
}
