/* The trace of an HTTP request. */
#include "request_trace.h"

#include "clock.h"
#include "reqctx.h"
#include "trace.h"

#include <h2o.h>
#include <uv.h>

static void on_dispose(void *memory)
{
    struct trace **trace = memory;
    trace_close(*trace);
    trace_unref(*trace);
}

void request_trace_begin(struct reqctx *rc, h2o_req_t *req, const struct trace_sink *sink)
{
    if (sink->records == NULL || !sink->records(sink->ctx))
        return;
    struct trace **holder = h2o_mem_alloc_shared(&req->pool, sizeof(struct trace *), on_dispose);
    *holder = trace_new(uv_hrtime, clock_wall_ms());
    rc->trace = *holder;
    rc->trace_sink = sink;
    trace_http(rc->trace, "received", LOG_INT("bytes", req->entity.len));
}

/* What an SRE would look for has failed: refused, broken off, or not taken to its end by the client. Not without a key: anybody
 * could push out with those what is worth a look. */
static enum trace_worth worth_of(const struct reqctx *rc, int status)
{
    static const char *const bad_ends[] = { "error", "client_gone", "write_stall", "slow_client" };
    if (!reqctx_has_key(rc))
        return TRACE_OF_GUEST;
    if (status >= 400)
        return TRACE_FAILED;
    for (size_t i = 0; rc->outcome != NULL && i < sizeof(bad_ends) / sizeof(bad_ends[0]); i++)
        if (strcmp(rc->outcome, bad_ends[i]) == 0)
            return TRACE_FAILED;
    return TRACE_FINE;
}

void request_trace_end(struct reqctx *rc, h2o_req_t *req)
{
    struct trace *trace = rc->trace;
    const struct trace_sink *sink = rc->trace_sink;
    rc->trace = NULL;
    if (trace == NULL)
        return;
    const struct trace_summary summary = {
        .req_id = rc->id,
        .route = rc->route,
        .model = rc->model,
        .stream = rc->stream,
        .status = req->res.status,
        .outcome = rc->outcome,
        .error_code = rc->error_code,
        .duration_ms = reqctx_elapsed_ms(rc),
        .queue_ms = rc->queue_ms,
        .runs_again = rc->runs,
        .tokens = { rc->usage.input, rc->usage.cached, rc->usage.output, rc->usage.reasoning },
        .bytes_in = rc->bytes_in,
        .bytes_sent = req->bytes_sent,
    };
    if (sink->wants(sink->ctx, worth_of(rc, summary.status)))
        sink->put(sink->ctx, rc->id, trace_take(trace, &summary));
    else
        trace_close(trace);
}
