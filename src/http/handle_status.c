/* GET /status.json: one glance for people; nothing in it is secret. */
#include "admission.h"
#include "clock.h"
#include "config.h"
#include "exchange.h"
#include "maintenance.h"
#include "observatory.h"
#include "reply.h"
#include "routes.h"
#include "worker.h"

/* Why new chats are not served, or NULL. */
static const char *why_not_ready(const struct routes *routes, const struct supervisor_status *s)
{
    if (routes->draining)
        return "shutting down";
    if (maintenance_enabled(routes->observatory->maintenance))
        return "in maintenance: an operator has switched it on";
    if (worker_source(routes->worker) == LAUNCH_NONE)
        return "no login at the upstream: an operator must log in";
    if (worker_ready(routes->worker))
        return NULL;
    if (s->crashloop)
        return "the worker does not start: see deaths and the log";
    return "the worker is being started";
}

static json_t *describe_death(const struct death *d)
{
    char at[CLOCK_ISO_SIZE];
    clock_iso8601(d->at_ms, at);
    return json_pack("{s:s, s:I, s:i, s:I, s:i, s:s, s:I, s:I}", "at", at, "incarnation",
                     (json_int_t)d->incarnation, "pid", d->pid, "exit_code",
                     (json_int_t)d->exit_code, "signal", d->signal, "reason",
                     d->reason != NULL ? d->reason : "exited", "uptime_ms",
                     (json_int_t)d->uptime_ms, "turns", (json_int_t)d->turns);
}

static json_t *describe_deaths(const struct routes *routes)
{
    json_t *list = json_array();
    const struct death *death = NULL;
    for (size_t i = 0; (death = worker_death(routes->worker, i)) != NULL; i++)
        json_array_append_new(list, describe_death(death));
    return list;
}

static json_t *describe_worker(const struct routes *routes, const struct supervisor_status *s)
{
    return json_pack("{s:s, s:s, s:s, s:i, s:I, s:I, s:I, s:I, s:b, s:i, s:I, s:I, s:I, s:I, s:o}",
                     "state", sup_state_name(s->state), "codex_version",
                     worker_codex_version(routes->worker), "source",
                     launch_source_name(worker_source(routes->worker)), "pid", s->pid, "uptime_ms",
                     (json_int_t)s->uptime_ms, "restarts", (json_int_t)s->restarts, "recycles",
                     (json_int_t)s->recycles, "restart_streak", (json_int_t)s->restart_streak,
                     "crashloop", s->crashloop, "retired", (int)s->retired, "backoff_remaining_ms",
                     (json_int_t)s->backoff_remaining_ms, "turns_active",
                     (json_int_t)worker_turns_active(routes->worker), "input_queue_bytes",
                     (json_int_t)s->input_queue_bytes, "resident_memory_bytes",
                     (json_int_t)s->rss_bytes, "deaths", describe_deaths(routes));
}

void handle_status(struct routes *routes, struct st_h2o_req_t *req)
{
    char now[CLOCK_ISO_SIZE];
    struct supervisor_status s;
    const struct config *c = routes->config;
    worker_status(routes->worker, &s);
    clock_iso8601(clock_wall_ms(), now);
    const char *why = why_not_ready(routes, &s);
    json_t *queue = json_pack(
        "{s:I, s:I, s:I, s:I}", "turns_running", (json_int_t)admission_running(routes->admission),
        "turns_max", (json_int_t)c->max_concurrency, "requests_waiting",
        (json_int_t)admission_waiting(routes->admission), "waiting_max", (json_int_t)c->queue_max);
    json_t *body =
        json_pack("{s:s, s:b, s:s?, s:s, s:b, s:o, s:I, s:o, s:o}", "version", CODEX_API_VERSION,
                  "ready", why == NULL, "why_not", why, "now", now, "draining", routes->draining,
                  "maintenance", maintenance_describe(routes->observatory->maintenance), "requests",
                  (json_int_t)exchanges_count(routes->exchanges), "queue", queue, "worker",
                  describe_worker(routes, &s));
    reply_header(req, "cache-control", "no-store");
    reply_json(req, 200, body);
}
