/* The trace of an HTTP request, from its arrival to the access log. */
#ifndef REQUEST_TRACE_H
#define REQUEST_TRACE_H

struct reqctx;
struct st_h2o_req_t;
struct trace_sink;

/* Begins the trace of the request, if the sink records; it must live as long as the request. The trace goes with the request, if
 * request_trace_end was never called. */
void request_trace_begin(struct reqctx *rc, struct st_h2o_req_t *req,
                         const struct trace_sink *sink);

/* The request has ended: gives the trace to its sink, if that wants it. Safe without a trace, and to repeat. */
void request_trace_end(struct reqctx *rc, struct st_h2o_req_t *req);

#endif
