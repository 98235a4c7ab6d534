/* Health for probes: cheap, from what is known; nothing is asked and nobody is waited for. */
#include "admission.h"
#include "health.h"
#include "maintenance.h"
#include "observatory.h"
#include "readiness.h"
#include "reply.h"
#include "routes.h"
#include "worker.h"

static const char *status_name(const struct routes *routes, bool ready)
{
    if (!ready)
        return "unavailable";
    return health_failing(routes->observatory->health) > 0 ? "degraded" : "ok";
}

/* Takes the reference to the reasons. */
static json_t *describe(const struct routes *routes, json_t *reasons)
{
    struct supervisor_status s;
    worker_status(routes->worker, &s);
    json_t *body = json_pack("{s:s, s:s, s:b, s:b, s:I, s:I, s:I, s:I}", "status",
                             status_name(routes, json_array_size(reasons) == 0), "worker_state",
                             sup_state_name(s.state), "draining", routes->draining, "credentials",
                             worker_source(routes->worker) != LAUNCH_NONE, "restart_streak",
                             (json_int_t)s.restart_streak, "restarts", (json_int_t)s.restarts,
                             "backoff_remaining_ms", (json_int_t)s.backoff_remaining_ms,
                             "worker_uptime_ms", (json_int_t)s.uptime_ms);
    json_object_set_new(body, "last_exit_code",
                        s.has_exited ? json_integer((json_int_t)s.last_exit_code) : json_null());
    json_object_set_new(body, "last_exit_signal",
                        s.has_exited ? json_integer(s.last_exit_signal) : json_null());
    json_object_set_new(body, "last_failure",
                        s.last_reason != NULL ? json_string(s.last_reason) : json_null());
    json_object_set_new(body, "crashloop", json_boolean(s.crashloop));
    json_object_set_new(body, "turns_running",
                        json_integer((json_int_t)admission_running(routes->admission)));
    json_object_set_new(body, "requests_waiting",
                        json_integer((json_int_t)admission_waiting(routes->admission)));
    json_object_set_new(body, "codex_version", json_string(worker_codex_version(routes->worker)));
    /* Says nothing about readiness: a balancer that took us out would answer with an error of its own. */
    const struct maintenance *m = routes->observatory->maintenance;
    json_object_set_new(body, "maintenance", json_boolean(maintenance_enabled(m)));
    json_object_set_new(body, "maintenance_mode", maintenance_describe(m));
    json_object_set_new(body, "reasons", reasons);
    json_object_set_new(body, "checks", health_describe(routes->observatory->health));
    return body;
}

void handle_readyz(struct routes *routes, struct st_h2o_req_t *req)
{
    json_t *reasons = readiness_reasons(routes);
    int status = json_array_size(reasons) == 0 ? 200 : 503;
    reply_header(req, "cache-control", "no-store");
    reply_json(req, status, describe(routes, reasons));
}

void handle_livez(struct routes *routes, struct st_h2o_req_t *req)
{
    (void)routes;
    reply_header(req, "cache-control", "no-store");
    reply_json(req, 200, json_pack("{s:s}", "status", "ok"));
}
