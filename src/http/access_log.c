/* One log line for each request that ended. */
#include "access_log.h"

#include "log.h"
#include "maintenance.h"
#include "observatory.h"
#include "reply.h"
#include "reqctx.h"
#include "routes.h"

#include <h2o.h>
#include <uv.h>

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

/* Probes that succeed come several times a second and say nothing. */
static enum log_level level_of(const struct reqctx *rc, int status)
{
    if (status >= 500)
        return LOG_WARN;
    if (rc->route[0] == '/' && rc->route[1] != 'v' && status < 400)
        return LOG_DEBUG;
    return LOG_INFO;
}

/* What h2o itself rejected. */
static void describe_rejected(int status, struct reqctx *ret)
{
    struct api_error error;
    *ret = (struct reqctx){ .started_ns = uv_hrtime(), .route = "rejected" };
    reply_core_error(status, &error);
    reqctx_note_error(ret, &error);
}

static const char *unless_empty(const char *text)
{
    return text[0] != '\0' ? text : NULL;
}

static void on_log_access(h2o_logger_t *self, h2o_req_t *req)
{
    const struct routes *routes = ((struct access_log *)(void *)self)->routes;
    const struct reqctx *rc = reqctx_of(req);
    struct reqctx rejected;
    if (rc == NULL) {
        describe_rejected(req->res.status, &rejected);
        rc = &rejected;
    }
    /* Also when it was switched off while the refusal was on its way. */
    bool maintenance = rc->maintenance || maintenance_enabled(routes->observatory->maintenance);
    LOG_AT(level_of(rc, req->res.status), "http", "request",
           LOG_ID("request_id", unless_empty(rc->id)), LOG_ID("route", rc->route),
           LOG_ID("method", method_name(req->input.method)), LOG_INT("status", req->res.status),
           LOG_ID("model", unless_empty(rc->model)), LOG_ID("key", unless_empty(rc->key_name)),
           LOG_INT("latency_ms", reqctx_elapsed_ms(rc)), LOG_INT("queue_ms", rc->queue_ms),
           LOG_INT("runs_again", rc->runs), LOG_INT("tokens_prompt", rc->usage.input),
           LOG_INT("tokens_response", rc->usage.output), LOG_INT("bytes_sent", req->bytes_sent),
           LOG_ID("outcome", rc->outcome), LOG_ID("error_code", rc->error_code),
           LOG_BOOL_IF("retryable", rc->retryable != 0, rc->retryable > 0),
           LOG_BOOL_IF("maintenance_mode", maintenance, true));
}

void access_log_register(h2o_pathconf_t *path, const struct routes *routes)
{
    h2o_logger_t *logger = h2o_create_logger(path, sizeof(struct access_log));
    logger->log_access = on_log_access;
    ((struct access_log *)(void *)logger)->routes = routes;
}
