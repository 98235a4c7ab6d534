/* GET /metrics: what was counted, and the gauges as they are now. */
#include "admission.h"
#include "interactions.h"
#include "log.h"
#include "metrics.h"
#include "observatory.h"
#include "reply.h"
#include "routes.h"
#include "server.h"
#include "stream_meter.h"
#include "turn.h"
#include "worker.h"

#include <h2o.h>

static void collect_worker(const struct routes *routes)
{
    struct supervisor_status s;
    const struct worker *worker = routes->worker;
    const char *version = worker_codex_version(worker);
    worker_status(worker, &s);
    for (int state = 0; state < SUP_STATE_COUNT; state++)
        metric_set(M_WORKER_STATE, (int)s.state == state, sup_state_name((enum sup_state)state));
    metric_set(M_WORKER_READY, worker_ready(worker));
    metric_set(M_WORKER_BACKOFF, (double)s.backoff_remaining_ms);
    metric_set(M_WORKER_STREAK, s.restart_streak);
    metric_set(M_WORKER_INPUT_QUEUE, (double)s.input_queue_bytes);
    const struct turns *turns = worker_turns(routes->worker);
    metric_set(M_TOOL_PARKED, turns != NULL ? (double)turns_parked(turns) : 0);
    metric_set(M_TURNS_ACTIVE, (double)worker_turns_active(worker));
    metric_clear(M_BUILD_INFO);
    metric_set(M_BUILD_INFO, 1, CODEX_API_VERSION, version[0] != '\0' ? version : "unknown");
    metrics_collect_process(s.pid);
}

static void collect_http(const struct routes *routes)
{
    metric_set(M_STREAMS_ACTIVE, stream_meter_active());
    metric_set(M_QUEUE_DEPTH, (double)admission_waiting(routes->admission));
    metric_set(M_CONNECTIONS, (double)server_connections(routes->server));
}

/* Counters that other modules keep. */
static void collect_losses(const struct routes *routes)
{
    const struct interactions *log = routes->observatory->interactions;
    metric_clear(M_LOG_DROPPED);
    metric_count(M_LOG_DROPPED, (double)log_dropped());
    metric_clear(M_INTERACTIONS_LOST);
    metric_count(M_INTERACTIONS_LOST, log != NULL ? (double)interactions_lost(log) : 0);
}

void handle_metrics(struct routes *routes, h2o_req_t *req)
{
    struct buf page = BUF_INIT;
    h2o_iovec_t accept = { NULL, 0 };
    ssize_t at = h2o_find_header(&req->headers, H2O_TOKEN_ACCEPT, -1);
    if (at != -1)
        accept = req->headers.entries[at].value;
    enum metrics_format format = metrics_negotiate(accept.base, accept.len);
    collect_worker(routes);
    collect_http(routes);
    collect_losses(routes);
    metrics_write(&page, format);
    reply_header(req, "cache-control", "no-store");
    reply_text(req, metrics_content_type(format), &page);
}
