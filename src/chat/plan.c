/* From a chat request to what the worker is asked. */
#include "plan.h"

#include <string.h>

/* The worker drops items of the role "system" without a word: developer is the role it passes on. */
static const char *worker_role(const char *role)
{
    return strcmp(role, "system") == 0 ? "developer" : role;
}

static json_t *text_part(const char *role, const json_t *text)
{
    const char *type = strcmp(role, "assistant") == 0 ? "output_text" : "input_text";
    json_t *part = json_pack("{s:s}", "type", type);
    json_object_set(part, "text", (json_t *)(uintptr_t)text);
    return part;
}

static json_t *content_parts(const char *role, const json_t *content)
{
    json_t *parts = json_array();
    if (json_is_string(content))
        json_array_append_new(parts, text_part(role, content));
    for (size_t i = 0; i < json_array_size(content); i++)
        json_array_append_new(parts,
                              text_part(role, json_object_get(json_array_get(content, i), "text")));
    return parts;
}

static json_t *make_items(const json_t *messages)
{
    json_t *items = json_array();
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const json_t *message = json_array_get(messages, i);
        const char *role = worker_role(json_str_at(message, "role"));
        json_t *parts = content_parts(role, json_object_get(message, "content"));
        if (json_array_size(parts) != 0) /* an assistant message may have said nothing */
            json_array_append_new(items, json_pack("{s:s, s:s, s:O}", "type", "message", "role",
                                                   role, "content", parts));
        json_decref(parts);
    }
    return items;
}

void plan_make(struct turn_plan *ret, const struct chat_request *request)
{
    /* baseInstructions "" sends no prompt of codex's own; null would send its coding prompt. */
    ret->thread =
        json_pack("{s:s, s:b, s:s, s:[], s:b, s:s, s:s}", "model", request->model, "ephemeral", 1,
                  "baseInstructions", "", "environments", "experimentalRawEvents", 1,
                  "approvalPolicy", "never", "sandbox", "read-only");
    ret->items = make_items(request->messages);
    ret->start = json_pack("{s:[]}", "input");
    if (request->effort != NULL)
        json_object_set_new(ret->start, "effort", json_string(request->effort));
}
