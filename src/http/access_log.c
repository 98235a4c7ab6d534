/* The end of each request, noted once. */
#include "access_log.h"

#include "clock.h"
#include "error_tally.h"
#include "log.h"
#include "maintenance.h"
#include "observatory.h"
#include "reply.h"
#include "reqctx.h"
#include "request_metrics.h"
#include "request_record.h"
#include "request_trace.h"
#include "routes.h"

#include <h2o.h>

struct access_log {
    h2o_logger_t super;
    const struct routes *routes; /* borrowed */
};

/* Methods are a closed set here: the client's own word may be anything. */
static const char *method_name(h2o_iovec_t method)
{
    static const char *const names[] = {
        "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (h2o_memis(method.base, method.len, names[i], strlen(names[i])))
            return names[i];
    return "other";
}

/* Probes and what people look at are none of the traffic. */
static bool is_a_look(const struct access *a)
{
    return a->route[0] == '/' && a->route[1] != 'v';
}

/* Probes that succeed come several times a second and say nothing. */
static enum log_level level_of(const struct access *a)
{
    if (a->status >= 500)
        return LOG_WARN;
    if (a->rc != NULL && is_a_look(a) && a->status < 400)
        return LOG_DEBUG;
    return LOG_INFO;
}

static const char *text_or_none(const char *text)
{
    return text[0] != '\0' ? text : NULL;
}

static void log_rejected(const struct access *a, bool maintenance)
{
    LOG_AT(level_of(a), "http", "request", LOG_ID("request_id", a->request_id),
           LOG_ID("route", a->route), LOG_ID("method", a->method), LOG_INT("status", a->status),
           LOG_INT("bytes_sent", a->bytes_sent), LOG_ID("error_code", a->error_code),
           LOG_BOOL_IF("retryable", a->retryable != 0, a->retryable > 0),
           LOG_BOOL_IF("maintenance_mode", maintenance, true), LOG_ID("reason", a->reason));
}

static void log_request(const struct access *a, bool maintenance)
{
    const struct reqctx *rc = a->rc;
    LOG_AT(level_of(a), "http", "request", LOG_ID("request_id", a->request_id),
           LOG_ID("route", a->route), LOG_ID("method", a->method), LOG_INT("status", a->status),
           LOG_ID("model", text_or_none(rc->model)), LOG_ID("key", text_or_none(rc->key_name)),
           LOG_INT("latency_ms", reqctx_elapsed_ms(rc)), LOG_INT("queue_ms", rc->queue_ms),
           LOG_INT("runs_again", rc->runs), LOG_INT("tokens_prompt", rc->usage.input),
           LOG_INT("tokens_response", rc->usage.output), LOG_INT("bytes_sent", a->bytes_sent),
           LOG_ID("outcome", rc->outcome), LOG_ID("error_code", a->error_code),
           LOG_BOOL_IF("retryable", a->retryable != 0, a->retryable > 0),
           LOG_BOOL_IF("maintenance_mode", maintenance, true));
}

/* A refusal without a code (401) has at least its kind; what the client has ended (499) is no error, as in the metrics. */
static void tally(const struct access *a)
{
    const char *code = a->error_code;
    if (is_a_look(a))
        return;
    if (code == NULL && a->status >= 400 && a->status != 499)
        code = a->status < 500 ? "4xx" : "5xx";
    error_tally_note(clock_mono_ms(), clock_wall_ms(), a->route, code);
}

void access_note(const struct routes *routes, const struct access *a)
{
    bool maintenance = maintenance_enabled(routes->observatory->maintenance);
    if (a->rc != NULL) /* one may be switched off while the refusal is on its way */
        log_request(a, maintenance || a->rc->maintenance);
    else
        log_rejected(a, maintenance);
    request_metrics_note(a);
    tally(a);
}

static void on_log_access(h2o_logger_t *self, h2o_req_t *req)
{
    struct reqctx *rc = reqctx_of(req);
    struct access access = {
        .rc = rc,
        .request_id = rc != NULL ? rc->id : reply_core_id(req),
        .route = rc != NULL ? rc->route : ACCESS_REJECTED,
        .method = method_name(req->input.method),
        .status = req->res.status,
        .bytes_sent = (int64_t)req->bytes_sent,
    };
    if (rc != NULL) {
        access.error_code = rc->error_code;
        access.retryable = rc->retryable;
    } else {
        struct api_error error;
        reply_core_error(req->res.status, &error);
        access.error_code = error.code;
        access.retryable = api_error_retryable(&error) ? 1 : -1;
    }
    const struct routes *routes = ((struct access_log *)(void *)self)->routes;
    access_note(routes, &access);
    request_record(routes->observatory, req);
    if (rc != NULL)
        request_trace_end(rc, req);
}

void access_log_register(h2o_pathconf_t *path, const struct routes *routes)
{
    h2o_logger_t *logger = h2o_create_logger(path, sizeof(struct access_log));
    logger->log_access = on_log_access;
    ((struct access_log *)(void *)logger)->routes = routes;
}
