/* From a chat request to what the worker is asked. Pure: no state, no clock. */
#ifndef PLAN_H
#define PLAN_H

#include "chat_request.h"
#include "turn.h"

/* Fills `ret` with new JSON, to be taken by turn_begin or freed with turn_plan_free. The request is borrowed. */
void plan_make(struct turn_plan *ret, const struct chat_request *request);

#endif
