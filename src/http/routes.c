/* The routes of the HTTP surface, and the guards before them. */
#include "routes.h"

#include "api_error.h"
#include "config.h"
#include "conn.h"
#include "cors.h"
#include "keyring.h"
#include "log.h"
#include "maintenance.h"
#include "observatory.h"
#include "reply.h"
#include "reqctx.h"
#include "request_trace.h"
#include "stopwatch.h"
#include "url_path.h"

#include <assert.h>
#include <h2o.h>
#include <stdio.h>

#define METHODS_SIZE 32 /* of a list in a header */

enum access {
    ACCESS_ANY,
    ACCESS_CLIENT, /* with a client's key */
    ACCESS_ADMIN,  /* with the admin key */
    ACCESS_METRICS /* as METRICS_ACCESS says; on the listener for metrics anybody */
};

struct route {
    const char *method;
    const char *path;
    bool prefix; /* everything below `path` too; then it ends with a slash */
    enum access access;
    const char *name; /* in logs and metrics: never what the client wrote */
    void (*handle)(struct routes *routes, h2o_req_t *req);
};

/* A path that takes several methods has a row for each. */
static const struct route table[] = {
    { "POST", "/v1/chat/completions", false, ACCESS_CLIENT, "/v1/chat/completions",
      handle_chat_completions },
    { "GET", "/v1/models", false, ACCESS_CLIENT, "/v1/models", handle_models },
    { "GET", "/v1/models/", true, ACCESS_CLIENT, "/v1/models/{id}", handle_model },
    { "GET", "/healthz", false, ACCESS_ANY, "/healthz", handle_readyz },
    { "GET", "/readyz", false, ACCESS_ANY, "/readyz", handle_readyz },
    { "GET", "/livez", false, ACCESS_ANY, "/livez", handle_livez },
    { "GET", "/health", false, ACCESS_ANY, "/healthz", handle_readyz },
    { "GET", "/health/ready", false, ACCESS_ANY, "/readyz", handle_readyz },
    { "GET", "/metrics", false, ACCESS_METRICS, "/metrics", handle_metrics },
    { "GET", "/status.json", false, ACCESS_ANY, "/status.json", handle_status },
    { "GET", "/health/live", false, ACCESS_ANY, "/livez", handle_livez },
    { "GET", "/internal/interactions", false, ACCESS_ADMIN, "/internal/interactions",
      handle_interactions },
    { "GET", "/internal/maintenance", false, ACCESS_ADMIN, "/internal/maintenance",
      handle_maintenance },
    { "POST", "/internal/maintenance", false, ACCESS_ADMIN, "/internal/maintenance",
      handle_maintenance_change },
    { "GET", "/internal/traces", false, ACCESS_ADMIN, "/internal/traces", handle_traces },
    { "GET", "/internal/traces/", true, ACCESS_ADMIN, "/internal/traces/{req_id}", handle_trace },
};

static bool path_matches(const struct route *route, h2o_iovec_t path)
{
    size_t len = strlen(route->path);
    if (route->prefix)
        return path.len > len && memcmp(path.base, route->path, len) == 0;
    return h2o_memis(path.base, path.len, route->path, len);
}

/* HEAD is GET without the body. */
static bool method_matches(const struct route *route, h2o_iovec_t method)
{
    if (h2o_memis(method.base, method.len, H2O_STRLIT("HEAD")))
        return strcmp(route->method, "GET") == 0;
    return h2o_memis(method.base, method.len, route->method, strlen(route->method));
}

/* The route of a path, whatever the method; `*ret_exact` when the method fits too. */
static const struct route *find(h2o_req_t *req, bool *ret_exact)
{
    const struct route *found = NULL;
    *ret_exact = false;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]) && !*ret_exact; i++) {
        if (path_matches(&table[i], req->path_normalized)) {
            found = &table[i];
            *ret_exact = method_matches(found, req->method);
        }
    }
    return found;
}

/* ---- guards: each answers and returns false, or lets the request pass ---- */

/* A proxy in front sees the path as it was written: what it lets pass below /v1 must be nothing else here. */
static bool guard_dots(h2o_req_t *req, bool dots)
{
    struct api_error error;
    if (!dots)
        return true;
    api_error_set(&error, 400, "invalid_request_error", "invalid_url", NULL,
                  "The path of the URL has a segment that is only one or two dots.");
    reqctx_refuse(req, &error);
    return false;
}

/* CONNECT names a host instead of a path, and is no method of any. */
static bool guard_connect(h2o_req_t *req, const struct route *route)
{
    struct api_error error;
    if (route != NULL || !h2o_memis(req->method.base, req->method.len, H2O_STRLIT("CONNECT")))
        return true;
    reply_header(req, "allow", "GET, HEAD, POST");
    api_error_set(&error, 405, "invalid_request_error", "method_not_supported", NULL,
                  "Not allowed: this endpoint is no proxy.");
    reqctx_refuse(req, &error);
    return false;
}

static bool guard_path(h2o_req_t *req, const struct route *route)
{
    struct api_error error;
    if (route != NULL)
        return true;
    api_error_set(&error, 404, "invalid_request_error", "unknown_url", NULL,
                  "Unknown URL: this endpoint serves no such path.");
    reqctx_refuse(req, &error);
    return false;
}

/* Also what we do not serve: nobody is to learn meanwhile that a path is not there. */
static bool is_for_clients(h2o_req_t *req, const struct route *route)
{
    const h2o_iovec_t path = req->path_normalized;
    if (route != NULL)
        return route->access == ACCESS_CLIENT;
    return conn_role(req) != CONN_METRICS && url_path_is_of_api(path.base, path.len);
}

/* Before the key is looked at: whoever asks is told the same. */
static bool guard_maintenance(const struct routes *routes, h2o_req_t *req, struct reqctx *rc,
                              const struct route *route)
{
    struct api_error error;
    const struct maintenance *m = routes->observatory->maintenance;
    if (!maintenance_enabled(m) || !is_for_clients(req, route))
        return true;
    maintenance_refusal(m, &error);
    rc->maintenance = true;
    reqctx_refuse(req, &error);
    return false;
}

/* A connection beyond the cap is there for probes. */
static bool guard_room(h2o_req_t *req, const struct route *route)
{
    struct api_error error;
    if (route->access != ACCESS_CLIENT || conn_role(req) != CONN_SPARE)
        return true;
    api_error_set(&error, 503, "server_error", "server_overloaded", NULL,
                  "Too many connections are open; please try again.");
    error.retry_after_s = 1;
    reqctx_refuse(req, &error);
    return false;
}

/* Of all rows of the path. */
static void allowed_methods(const struct route *route, char ret[METHODS_SIZE])
{
    size_t len = 0;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        const char *method = table[i].method;
        if (strcmp(table[i].path, route->path) != 0)
            continue;
        int added = snprintf(ret + len, METHODS_SIZE - len, "%s%s", len != 0 ? ", " : "",
                             strcmp(method, "GET") == 0 ? "GET, HEAD" : method);
        len += (size_t)added;
        assert(len < METHODS_SIZE); /* the table is ours */
    }
}

/* A browser asks before it sends: answered here, for it sends no key with that. */
static bool guard_origin(const struct routes *routes, h2o_req_t *req, const struct route *route)
{
    char methods[METHODS_SIZE];
    bool allowed = cors_allow(req, routes->config->cors_origins);
    if (!allowed || route == NULL || route->access != ACCESS_CLIENT || !cors_is_preflight(req))
        return true;
    allowed_methods(route, methods);
    cors_answer_preflight(req, methods);
    return false;
}

static bool guard_method(h2o_req_t *req, const struct route *route, bool exact)
{
    char allow[METHODS_SIZE];
    struct api_error error;
    if (exact)
        return true;
    allowed_methods(route, allow);
    reply_header(req, "allow", allow);
    api_error_set(&error, 405, "invalid_request_error", "method_not_supported", NULL,
                  "Not allowed: this path takes only %s requests.", allow);
    reqctx_refuse(req, &error);
    return false;
}

/* The token of the one Authorization header, or a base of NULL. */
static h2o_iovec_t bearer_token(h2o_req_t *req)
{
    const h2o_iovec_t none = { NULL, 0 };
    ssize_t at = h2o_find_header(&req->headers, H2O_TOKEN_AUTHORIZATION, -1);
    if (at == -1 || h2o_find_header(&req->headers, H2O_TOKEN_AUTHORIZATION, at) != -1)
        return none;
    h2o_iovec_t value = req->headers.entries[at].value;
    static const char scheme[] = "bearer ";
    size_t len = sizeof(scheme) - 1;
    if (value.len <= len || !h2o_lcstris(value.base, len, scheme, len))
        return none;
    return h2o_iovec_init(value.base + len, value.len - len);
}

/* Whether there is such a path for who has come in there. */
static bool is_served(const struct routes *routes, h2o_req_t *req, const struct route *route)
{
    if (conn_role(req) == CONN_METRICS)
        return route->access == ACCESS_ANY || route->access == ACCESS_METRICS;
    return route->access != ACCESS_METRICS || routes->config->metrics_access != METRICS_OFF;
}

/* Metrics are open to who could as well look into /proc, and on a listener of their own. */
static bool metrics_are_open(const struct routes *routes, h2o_req_t *req)
{
    return conn_role(req) == CONN_METRICS ||
           (routes->config->metrics_access == METRICS_AUTO && conn_is_local(req));
}

/* Whether the token opens the route. Notes whose it is. */
static bool token_opens(const struct routes *routes, h2o_iovec_t token, struct reqctx *rc,
                        const struct route *route)
{
    if (route->access != ACCESS_CLIENT && keyring_is_admin(routes->keyring, token.base, token.len))
        return true;
    if (route->access == ACCESS_ADMIN)
        return false;
    const char *name = keyring_find(routes->keyring, token.base, token.len);
    if (name != NULL)
        snprintf(rc->key_name, sizeof(rc->key_name), "%s", name);
    return name != NULL;
}

static bool guard_key(const struct routes *routes, h2o_req_t *req, struct reqctx *rc,
                      const struct route *route)
{
    struct api_error error;
    if (route->access == ACCESS_ANY ||
        (route->access == ACCESS_METRICS && metrics_are_open(routes, req)))
        return true;
    const char *kind = route->access == ACCESS_ADMIN ? "admin" : "API";
    h2o_iovec_t token = bearer_token(req);
    if (token.base != NULL && token_opens(routes, token, rc, route))
        return true;
    if (token.base == NULL)
        api_error_set(&error, 401, "invalid_request_error", NULL, NULL,
                      "You didn't provide an %s key: send it as one 'Authorization: Bearer' "
                      "header.",
                      kind);
    else
        api_error_set(&error, 401, "invalid_request_error", "invalid_api_key", NULL,
                      "Incorrect %s key provided.", kind);
    reqctx_refuse(req, &error);
    return false;
}

void routes_dispatch(struct routes *routes, h2o_req_t *req)
{
    stopwatch_start();
    struct reqctx *rc = reqctx_attach(req);
    bool exact = false;
    bool dots = url_path_has_dots(req->path.base, req->path.len);
    const struct route *route = dots ? NULL : find(req, &exact);
    if (route != NULL && !is_served(routes, req, route))
        route = NULL;
    if (route != NULL)
        rc->route = route->name;
    rc->bytes_in = req->entity.len;
    log_debug("http", "ingress", LOG_ID("request_id", rc->id), LOG_ID("route", rc->route),
              LOG_INT("bytes", req->entity.len));
    if (route != NULL && route->access == ACCESS_CLIENT)
        request_trace_begin(rc, req, &routes->observatory->trace_sink);
    if (guard_dots(req, dots) && guard_origin(routes, req, route) && guard_connect(req, route) &&
        guard_maintenance(routes, req, rc, route) && guard_path(req, route) &&
        guard_room(req, route) && guard_method(req, route, exact) &&
        guard_key(routes, req, rc, route))
        route->handle(routes, req);
}
