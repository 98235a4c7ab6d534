/* The function calls of a turn from both sides. */
#include "tool_call.h"

#include <stdlib.h>
#include <string.h>

void tool_calls_free(struct tool_calls *calls)
{
    for (size_t i = 0; i < calls->count; i++) {
        json_decref(calls->items[i].request_id);
        json_decref(calls->items[i].content);
    }
    free(calls->items);
    *calls = (struct tool_calls){ NULL, 0 };
}

/* The call of that id, made if it is not there; NULL when it cannot be. */
static struct tool_call *find_or_add(struct tool_calls *calls, const char *id)
{
    size_t len = strlen(id);
    for (size_t i = 0; i < calls->count; i++)
        if (strcmp(calls->items[i].id, id) == 0)
            return &calls->items[i];
    if (calls->count == OUTPUT_CALLS_MAX || len >= OUTPUT_ID_MAX)
        return NULL;
    calls->items = xrealloc(calls->items, (calls->count + 1) * sizeof(*calls->items));
    struct tool_call *call = &calls->items[calls->count++];
    *call = (struct tool_call){ .request_id = NULL };
    memcpy(call->id, id, len + 1);
    return call;
}

struct tool_call *tool_calls_ask(struct tool_calls *calls, const char *id, const json_t *request_id)
{
    struct tool_call *call = find_or_add(calls, id);
    if (call == NULL)
        return NULL;
    json_decref(call->request_id);
    call->request_id = json_deep_copy(request_id);
    return call;
}

struct tool_call *tool_calls_answer(struct tool_calls *calls, const char *id, json_t *content)
{
    struct tool_call *call = find_or_add(calls, id);
    if (call == NULL) {
        json_decref(content);
        return NULL;
    }
    json_decref(call->content);
    call->content = content;
    return call;
}

bool tool_call_settled(const struct tool_call *call)
{
    return call->request_id != NULL && call->content != NULL;
}

void tool_calls_remove(struct tool_calls *calls, struct tool_call *call)
{
    json_decref(call->request_id);
    *call = calls->items[--calls->count];
}
