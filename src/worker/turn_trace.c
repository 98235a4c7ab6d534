/* What the trace of a request says of its turns. */
#include "turn_trace.h"

#include "trace.h"
#include "trace_allow.h"

#include <string.h>

void turn_trace_message(struct trace *trace, const struct rpc_message *m)
{
    const struct trace_message message = {
        .type = m->id != NULL ? TRACE_RPC_SERVER_REQUEST : TRACE_RPC_NOTIFICATION,
        .method = m->method,
        .id = m->id,
        .content = m->params,
        .bytes = m->bytes,
    };
    trace_rpc(trace, &message);
}

void turn_trace_answer(struct trace *trace, const json_t *id, size_t bytes)
{
    const struct trace_message message = { .type = TRACE_RPC_SERVER_REQUEST,
                                           .method = "item/tool/call",
                                           .id = id,
                                           .bytes = bytes,
                                           .answer = true };
    trace_rpc(trace, &message);
}

void turn_trace_state(struct trace *trace, const char *state, const char *thread_id)
{
    bool shown = trace != NULL && trace_allow_is_id(thread_id, strlen(thread_id));
    trace_stage(trace, "turn", LOG_ID("state", state),
                LOG_ID("thread_id", shown ? thread_id : NULL));
}

void turn_trace_end(struct trace *trace, const struct turn_end *end)
{
    static const char *const names[] = {
        [TURN_COMPLETED] = "completed", [TURN_CALLS] = "calls",
        [TURN_FAILED] = "failed",       [TURN_INTERRUPTED] = "interrupted",
        [TURN_TIMED_OUT] = "timed_out", [TURN_UNANSWERED] = "unanswered",
        [TURN_SILENT] = "silent",       [TURN_TOO_LONG] = "too_long",
        [TURN_LOST] = "lost",
    };
    trace_stage(trace, "turn_end", LOG_ID("outcome", names[end->outcome]),
                LOG_INT("calls", end->call_count),
                LOG_INT_IF("http_status", end->http_status != 0, end->http_status));
}
