/* Whether traffic is wanted, and in words why not. */
#include "readiness.h"

#include "health.h"
#include "mem.h"
#include "observatory.h"
#include "routes.h"
#include "worker.h"

#include <stdlib.h>
#include <string.h>

static void add(json_t *reasons, const char *reason)
{
    json_array_append_new(reasons, json_string(reason));
}

/* That of the worker was said before, in better words. */
static void add_required_checks(json_t *reasons, const struct health *health)
{
    const char *name = NULL;
    for (size_t i = 0; (name = health_required_failing(health, i)) != NULL; i++) {
        if (strcmp(name, health_builtin_name(HEALTH_WORKER)) == 0)
            continue;
        char *reason = xasprintf("a required check fails: %s", name);
        add(reasons, reason);
        free(reason);
    }
}

static const char *why_no_worker(const struct routes *routes)
{
    struct supervisor_status s;
    worker_status(routes->worker, &s);
    return s.crashloop ? "the worker does not start: see deaths and the log"
                       : "the worker is being started";
}

json_t *readiness_reasons(const struct routes *routes)
{
    json_t *reasons = json_array();
    /* Its state is told beside the checks, and must not differ from what they say. */
    health_worker_changed(routes->observatory->health);
    if (routes->draining)
        add(reasons, "shutting down");
    if (worker_source(routes->worker) == LAUNCH_NONE)
        add(reasons, "no login at the upstream: an operator must log in");
    if (!worker_ready(routes->worker))
        add(reasons, why_no_worker(routes));
    add_required_checks(reasons, routes->observatory->health);
    return reasons;
}
