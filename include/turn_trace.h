/* What the trace of a request says of its turns. A trace of NULL records nothing. */
#ifndef TURN_TRACE_H
#define TURN_TRACE_H

#include "rpc.h"
#include "turn.h"

struct trace;

/* A notification or a request of the worker. */
void turn_trace_message(struct trace *trace, const struct rpc_message *message);

/* Our answer to the request for a function's result. */
void turn_trace_answer(struct trace *trace, const json_t *id, size_t bytes);

/* The turn has changed to a state of that name, which is static; its thread may have no id yet. */
void turn_trace_state(struct trace *trace, const char *state, const char *thread_id);

/* The owner is told of the end. */
void turn_trace_end(struct trace *trace, const struct turn_end *end);

#endif
