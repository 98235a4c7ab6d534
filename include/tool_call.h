/* The function calls of a turn from both sides: the worker's request for a result and the client's result come in any order. */
#ifndef TOOL_CALL_H
#define TOOL_CALL_H

#include "output.h"

struct tool_call {
    char id[OUTPUT_ID_MAX];
    json_t *request_id; /* owned: of the worker's request; NULL until it has come */
    json_t *content;    /* owned: of the client's result; NULL until it has come */
};

/* Those of a turn that have not got their answer; all zero is none. */
struct tool_calls {
    struct tool_call *items; /* owned */
    size_t count;
};

void tool_calls_free(struct tool_calls *calls);

/* The worker asks for the result of a call; `request_id` is borrowed. NULL when there are OUTPUT_CALLS_MAX already, or the id is
 * too long. The result is borrowed until the next change. */
CHECK_RESULT struct tool_call *tool_calls_ask(struct tool_calls *calls, const char *id,
                                              const json_t *request_id);

/* The client brings the result of a call; takes the reference to `content`. Borrowed as above. */
CHECK_RESULT struct tool_call *tool_calls_answer(struct tool_calls *calls, const char *id,
                                                 json_t *content);

/* Whether both sides are there. */
bool tool_call_settled(const struct tool_call *call);

/* Forgets a call whose content was taken. */
void tool_calls_remove(struct tool_calls *calls, struct tool_call *call);

#endif
