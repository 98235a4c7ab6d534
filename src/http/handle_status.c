/* GET /status.json: one glance for people; nothing in it is secret. */
#include "admission.h"
#include "clock.h"
#include "config.h"
#include "error_tally.h"
#include "exchange.h"
#include "health.h"
#include "json.h"
#include "log.h"
#include "maintenance.h"
#include "observatory.h"
#include "readiness.h"
#include "reload.h"
#include "reply.h"
#include "routes.h"
#include "worker.h"

#include <string.h>

#define TOP_ERRORS 10

static json_t *describe_death(const struct death *d)
{
    char at[CLOCK_ISO_SIZE];
    bool exited = d->signal != 0 || d->exit_code >= 0;
    clock_iso8601(d->at_ms, at);
    return json_pack("{s:s, s:I, s:i, s:o, s:i, s:s, s:I, s:I}", "at", at, "incarnation",
                     (json_int_t)d->incarnation, "pid", d->pid, "exit_code",
                     exited ? json_integer((json_int_t)d->exit_code) : json_null(), "signal",
                     d->signal, "reason", d->reason != NULL ? d->reason : "exited", "uptime_ms",
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

static json_t *describe_queue(const struct routes *routes)
{
    const struct config *c = routes->config;
    return json_pack(
        "{s:I, s:I, s:I, s:I}", "turns_running", (json_int_t)admission_running(routes->admission),
        "turns_max", (json_int_t)c->max_concurrency, "requests_waiting",
        (json_int_t)admission_waiting(routes->admission), "waiting_max", (json_int_t)c->queue_max);
}

static json_t *describe_failing_checks(const struct routes *routes)
{
    json_t *failing = json_object();
    json_t *all = health_describe(routes->observatory->health);
    const char *name = NULL;
    json_t *check = NULL;
    json_object_foreach(all, name, check) if (strcmp(json_str_at(check, "status"), "fail") == 0)
        json_object_set(failing, name, check);
    json_decref(all);
    return failing;
}

static json_t *describe_count(struct request_count count)
{
    return json_pack("{s:I, s:I}", "requests", (json_int_t)count.requests, "errors",
                     (json_int_t)count.errors);
}

static json_t *describe_top_errors(uint64_t now_ms)
{
    struct error_count top[TOP_ERRORS];
    char at[CLOCK_ISO_SIZE];
    json_t *list = json_array();
    size_t len = error_tally_top(now_ms, top, TOP_ERRORS);
    for (size_t i = 0; i < len; i++) {
        clock_iso8601(top[i].last_at_ms, at);
        json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:s}", "route", top[i].route, "code",
                                              top[i].code, "count", (json_int_t)top[i].count,
                                              "last_at", at));
    }
    return list;
}

static void add_traffic(json_t *body)
{
    uint64_t now_ms = clock_mono_ms();
    json_object_set_new(body, "last_minute", describe_count(error_tally_minute(now_ms)));
    json_object_set_new(body, "last_hour", describe_count(error_tally_hour(now_ms)));
    json_object_set_new(body, "top_errors", describe_top_errors(now_ms));
}

/* To people it is one, unless the program is about to stop. */
static void add_maintenance(const struct routes *routes, json_t *reasons)
{
    if (maintenance_enabled(routes->observatory->maintenance))
        json_array_insert_new(reasons, routes->draining ? 1 : 0,
                              json_string("in maintenance: an operator has switched it on"));
}

void handle_status(struct routes *routes, struct st_h2o_req_t *req)
{
    char now[CLOCK_ISO_SIZE];
    struct supervisor_status s;
    worker_status(routes->worker, &s);
    clock_iso8601(clock_wall_ms(), now);
    json_t *reasons = readiness_reasons(routes);
    int readyz = json_array_size(reasons) == 0 ? 200 : 503;
    add_maintenance(routes, reasons);
    json_t *body = json_pack(
        "{s:s, s:b, s:s?, s:O, s:i, s:s, s:I, s:b, s:o, s:I, s:I, s:o, s:o, s:o, s:I}", "version",
        CODEX_API_VERSION, "ready", json_array_size(reasons) == 0, "why_not",
        json_string_value(json_array_get(reasons, 0)), "reasons", reasons, "readyz", readyz, "now",
        now, "uptime_ms", (json_int_t)observatory_uptime_ms(routes->observatory), "draining",
        routes->draining, "maintenance", maintenance_describe(routes->observatory->maintenance),
        "requests", (json_int_t)exchanges_count(routes->exchanges), "streams",
        (json_int_t)exchanges_streaming(routes->exchanges), "queue", describe_queue(routes),
        "worker", describe_worker(routes, &s), "failing_checks", describe_failing_checks(routes),
        "log_lines_dropped", (json_int_t)log_dropped());
    json_decref(reasons);
    add_traffic(body);
    json_object_set_new(body, "last_reload", reload_describe(&routes->observatory->reload));
    reply_header(req, "cache-control", "no-store");
    reply_json(req, 200, body);
}
