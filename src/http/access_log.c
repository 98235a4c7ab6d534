/* One log line for each request that ended. */
#include "access_log.h"

#include "log.h"
#include "reply.h"
#include "reqctx.h"
#include "request_record.h"

#include <h2o.h>

struct logger {
    h2o_logger_t super;
    struct observatory *observatory; /* borrowed */
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
    if (rc != NULL && rc->route[0] == '/' && rc->route[1] != 'v' && status < 400)
        return LOG_DEBUG;
    return LOG_INFO;
}

static void on_log_access(h2o_logger_t *self, h2o_req_t *req)
{
    const struct reqctx *rc = reqctx_of(req);
    LOG_AT(
        level_of(rc, req->res.status), "http", "request",
        LOG_ID("request_id", rc != NULL ? rc->id : NULL),
        LOG_ID("route", rc != NULL ? rc->route : "rejected"),
        LOG_ID("method", method_name(req->input.method)), LOG_INT("status", req->res.status),
        LOG_ID("model", rc != NULL && rc->model[0] != '\0' ? rc->model : NULL),
        LOG_ID("key", rc != NULL && rc->key_name[0] != '\0' ? rc->key_name : NULL),
        LOG_INT("latency_ms", rc != NULL ? reqctx_elapsed_ms(rc) : 0),
        LOG_INT("queue_ms", rc != NULL ? rc->queue_ms : 0),
        LOG_INT("runs_again", rc != NULL ? rc->runs : 0),
        LOG_INT("tokens_prompt", rc != NULL ? rc->usage.input : 0),
        LOG_INT("tokens_response", rc != NULL ? rc->usage.output : 0),
        LOG_INT("bytes_sent", req->bytes_sent), LOG_ID("outcome", rc != NULL ? rc->outcome : NULL),
        LOG_ID("error_code", rc != NULL ? rc->error_code : reply_core_error_code(req->res.status)));
    request_record(((struct logger *)(void *)self)->observatory, req);
}

void access_log_register(h2o_pathconf_t *path, struct observatory *observatory)
{
    struct logger *logger = (struct logger *)(void *)h2o_create_logger(path, sizeof(struct logger));
    logger->super.log_access = on_log_access;
    logger->observatory = observatory;
}
