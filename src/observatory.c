/* All that watches and has a state of its own, put together. */
#include "observatory.h"

#include "clock.h"
#include "config.h"
#include "disk.h"
#include "file.h"
#include "health.h"
#include "interactions.h"
#include "log.h"
#include "loop_lag.h"
#include "maintenance.h"
#include "prices.h"
#include "trace_buffer.h"
#include "trace_seal.h"
#include "worker.h"

#include <assert.h>
#include <stdlib.h>

/* Names the setting that is wrong; takes `why`. Returns 1: one more. */
static int complain(FILE *complaints, const char *setting, char *why)
{
    fprintf(complaints, "%s: %s\n", setting, why);
    free(why);
    return 1;
}

/* ---- traces ---- */

static int check_trace_mode(const struct config *config, FILE *complaints)
{
    struct trace_mode mode;
    if (trace_mode_parse(config->trace_buffer, &mode))
        return 0;
    fprintf(complaints,
            "PROXY_TRACE_BUFFER: must be off, errors, all or sample:N with N from 1 to %d\n",
            TRACE_SAMPLE_MAX);
    return 1;
}

/* A file that is missing is made at the start, by no check. */
static int check_trace_key(const struct config *config, FILE *complaints)
{
    const char *file = config->trace_key_file;
    char *why = NULL;
    if (file == NULL || !file_exists(file))
        return 0;
    struct trace_seal_key *key = trace_seal_key_read(file, &why);
    bool ok = key != NULL;
    trace_seal_key_free(key);
    return ok ? 0 : complain(complaints, "PROXY_TRACE_KEY_FILE", why);
}

/* Whether it is the one that the traces are encrypted with which are there. */
static int check_trace_key_fits(const struct config *config, FILE *complaints)
{
    char *why = NULL;
    if (config->trace_key_file == NULL)
        return 0;
    char *folder = xasprintf("%s/%s", config->codex_home, TRACE_FOLDER);
    bool ok = trace_buffer_check_key(config->trace_key_file, folder, &why);
    free(folder);
    return ok ? 0 : complain(complaints, "PROXY_TRACE_KEY_FILE", why);
}

static void configure_traces(struct observatory *o, const struct config *config)
{
    struct trace_mode mode;
    bool ok = trace_mode_parse(config->trace_buffer, &mode);
    assert(ok); /* observatory_check has passed it */
    trace_buffer_configure(o->trace_buffer, &mode, (uint64_t)config->trace_ttl_ms,
                           (size_t)config->trace_files_max);
}

static bool records(void *ctx)
{
    return trace_buffer_records(ctx);
}

static bool wants(void *ctx, enum trace_worth worth)
{
    return trace_buffer_wants(ctx, worth);
}

static void put(void *ctx, const char *req_id, struct trace_record *record)
{
    trace_buffer_put(ctx, req_id, record);
}

static bool open_traces(struct observatory *o, const struct config *config, const char *home,
                        char **ret_why)
{
    struct trace_seal_key *key = NULL;
    char *why = NULL;
    char *folder = xasprintf("%s/%s", home, TRACE_FOLDER);
    bool ok = true;
    if (config->trace_key_file != NULL) {
        key = trace_buffer_key(config->trace_key_file, folder, &why);
        ok = key != NULL;
    }
    if (!ok) {
        *ret_why = xasprintf("PROXY_TRACE_KEY_FILE: %s", why);
        free(why);
    } else {
        o->trace_buffer = trace_buffer_new(o->disk, o->deadlines, folder, key);
        o->trace_sink = (struct trace_sink){ records, wants, put, o->trace_buffer };
    }
    free(folder);
    return ok;
}

/* ---- prices and the request log ---- */

static int check_prices(const struct config *config, FILE *complaints)
{
    char *why = NULL;
    if (config->price_file == NULL)
        return 0;
    struct prices *prices = prices_load(config->price_file, &why);
    bool ok = prices != NULL;
    prices_free(prices);
    return ok ? 0 : complain(complaints, "PRICE_FILE", why);
}

/* A file that has become wrong since it was checked changes nothing. */
static void configure_prices(struct observatory *o, const struct config *config)
{
    char *why = NULL;
    struct prices *prices =
        config->price_file != NULL ? prices_load(config->price_file, &why) : NULL;
    if (why != NULL) {
        char *text = xasprintf("PRICE_FILE: %s", why);
        log_error("app", "setting_complaint", LOG_ID("text", text));
        free(text);
        free(why);
        return;
    }
    prices_free(o->prices);
    o->prices = prices;
}

static struct interaction_limits interaction_limits(const struct config *config)
{
    return (struct interaction_limits){ .retention_days = config->interaction_retention_days,
                                        .max_bytes = config->interaction_max_bytes };
}

static void look_at_interactions(void *ctx, struct health_interactions *ret)
{
    *ret = (struct health_interactions){ .lost = interactions_lost(ctx),
                                         .writable = interactions_healthy(ctx) };
}

static void open_interactions(struct observatory *o, const struct config *config)
{
    const struct interactions_options options = { .disk = o->disk,
                                                  .deadlines = o->deadlines,
                                                  .home = o->home,
                                                  .wall_ms = clock_wall_ms,
                                                  .mono_ms = clock_mono_ms,
                                                  .limits = interaction_limits(config) };
    if (config->interaction_log == 0)
        return;
    o->interactions = interactions_new(&options);
    health_ask_interactions(o->health, look_at_interactions, o->interactions);
}

/* ---- the whole ---- */

static int check_health(const struct config *config, FILE *complaints)
{
    char *why = NULL;
    if (health_settings_check(config->health_checks, config->health_required, &why))
        return 0;
    fprintf(complaints, "%s\n", why); /* names the setting itself */
    free(why);
    return 1;
}

int observatory_check(const struct config *config, FILE *complaints)
{
    return check_trace_mode(config, complaints) + check_trace_key(config, complaints) +
           check_prices(config, complaints) + check_health(config, complaints);
}

int observatory_check_start(const struct config *config, FILE *complaints)
{
    int wrong = check_trace_key(config, complaints);
    if (wrong == 0)
        wrong = check_trace_key_fits(config, complaints);
    return wrong + check_trace_mode(config, complaints) + check_prices(config, complaints) +
           check_health(config, complaints);
}

void observatory_configure(struct observatory *o, const struct config *config)
{
    const struct interaction_limits limits = interaction_limits(config);
    maintenance_configure(o->maintenance, config->maintenance_retry_after_s);
    configure_prices(o, config);
    if (o->interactions != NULL)
        interactions_configure(o->interactions, &limits);
    configure_traces(o, config);
    health_configure(o->health, config);
}

bool observatory_open(struct observatory *o, struct uv_loop_s *loop, struct deadlines *deadlines,
                      const struct config *config, const char *home, char **ret_why)
{
    *o = (struct observatory){ .deadlines = deadlines, .home = xstrdup(home) };
    o->started_ms = clock_mono_ms();
    o->disk = disk_new(loop);
    o->health = health_new(loop, deadlines, o->disk, home);
    o->lag = loop_lag_new(loop);
    if (!open_traces(o, config, home, ret_why))
        return false;
    const struct maintenance_options maintenance = {
        .disk = o->disk,
        .home = home,
        .enabled = config->maintenance != 0,
        .retry_after_s = config->maintenance_retry_after_s,
    };
    o->maintenance = maintenance_new(&maintenance);
    open_interactions(o, config);
    observatory_configure(o, config);
    return true;
}

/* It is no failure that the first worker has not started yet. */
static bool starts_first(const struct supervisor_status *s)
{
    return (s->state == SUP_STOPPED || s->state == SUP_PREPARING || s->state == SUP_STARTING) &&
           s->restarts == 0 && s->restart_streak == 0;
}

/* In each round of the checks. */
static void look(void *ctx, struct health_worker *ret)
{
    struct observatory *o = ctx;
    struct supervisor_status s;
    worker_status(o->worker, &s);
    bool traces = trace_buffer_healthy(o->trace_buffer, NULL);
    health_set(o->health, "traces", traces, traces ? NULL : "write_failed");
    enum health_status without = starts_first(&s) ? HEALTH_UNKNOWN : HEALTH_FAIL;
    *ret = (struct health_worker){ .status = worker_ready(o->worker) ? HEALTH_PASS : without,
                                   .state = sup_state_name(s.state),
                                   .rpc_latency_ms = s.rpc_latency_ms };
}

void observatory_watch_worker(struct observatory *o, struct worker *worker)
{
    o->worker = worker;
    health_ask_worker(o->health, worker != NULL ? look : NULL, o);
    if (worker != NULL)
        health_start(o->health);
}

static void on_part_closed(void *ctx)
{
    struct observatory *o = ctx;
    if (--o->closing == 0)
        o->on_closed(o->on_closed_ctx);
}

void observatory_close(struct observatory *o, void (*on_closed)(void *ctx), void *ctx)
{
    interactions_close(o->interactions);
    maintenance_close(o->maintenance);
    o->closing = 2;
    o->on_closed = on_closed;
    o->on_closed_ctx = ctx;
    health_close(o->health, on_part_closed, o);
    disk_stop(o->disk, on_part_closed, o);
}

uint64_t observatory_uptime_ms(const struct observatory *o)
{
    return clock_mono_ms() - o->started_ms;
}

bool observatory_written(const struct observatory *o)
{
    return disk_busy_ms(o->disk) == 0;
}

void observatory_free(struct observatory *o)
{
    health_free(o->health);
    maintenance_free(o->maintenance);
    trace_buffer_free(o->trace_buffer);
    interactions_free(o->interactions);
    prices_free(o->prices);
    loop_lag_free(o->lag);
    disk_free(o->disk);
    free(o->home);
    *o = (struct observatory){ .disk = NULL };
}
