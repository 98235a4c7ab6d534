/* From a chat request to what the worker is asked. Pure: no state, no clock. */
#ifndef PLAN_H
#define PLAN_H

#include "chat_request.h"
#include "turn.h"

/* What the request's model comes to, and what is asked of every request. Strings are borrowed. */
struct plan_options {
    const char *model;   /* the worker's name of it */
    const char *effort;  /* NULL: the model's own */
    const char *summary; /* of the reasoning: "auto", "concise", "detailed" or "none" */
};

/* Fills `ret` with new JSON, to be taken by turn_begin or freed with turn_plan_free. The request is borrowed. */
void plan_make(struct turn_plan *ret, const struct chat_request *request,
               const struct plan_options *options);

#endif
