/* The worker as the rest of the program sees it: supervisor, turns and models put together. */
#include "worker.h"

#include "catalog.h"
#include "config.h"
#include "launch.h"
#include "log.h"
#include "models.h"
#include "rpc.h"
#include "turn.h"

#include <stdlib.h>
#include <string.h>

#define VERSION_MAX 64

struct worker {
    struct uv_loop_s *loop;        /* borrowed */
    const struct launch *launch;   /* borrowed */
    struct supervisor *supervisor; /* owned */
    struct turns *turns;           /* owned */
    struct models *models;         /* owned */
    struct catalog_options catalog;
    struct catalog_job *catalog_job; /* linked; frees itself */
    struct rpc *rpc;                 /* borrowed from greet to gone */
    char codex_version[VERSION_MAX];
    void (*on_ready)(void *ctx);              /* NULL: nobody asks */
    void *on_ready_ctx;                       /* borrowed */
    void (*on_change)(void *ctx, bool ready); /* NULL: nobody asks */
    void *on_change_ctx;                      /* borrowed */
    void (*on_stopped)(void *ctx);
    void *on_stopped_ctx; /* borrowed */
};

static void on_catalog(void *ctx, bool ok)
{
    struct worker *worker = ctx;
    worker->catalog_job = NULL;
    supervisor_prepared(worker->supervisor, ok);
}

static void prepare(void *ctx)
{
    struct worker *worker = ctx;
    if (worker->launch->catalog_path == NULL ||
        catalog_prepare(worker->loop, &worker->catalog, on_catalog, worker, &worker->catalog_job))
        supervisor_prepared(worker->supervisor, true);
    else if (worker->catalog_job == NULL)
        supervisor_prepared(worker->supervisor, false);
}

static void cancel_prepare(void *ctx)
{
    struct worker *worker = ctx;
    catalog_cancel(worker->catalog_job);
    worker->catalog_job = NULL;
}

/* "codex_api/0.169.0 (Debian 12.0.0; x86_64) ..." -> "0.169.0" */
static void learn_version(struct worker *worker, const char *user_agent)
{
    const char *slash = strchr(user_agent, '/');
    const char *version = slash != NULL ? slash + 1 : user_agent;
    size_t len = strspn(version, "0123456789.abcdefghijklmnopqrstuvwxyz-");
    if (len >= VERSION_MAX)
        len = VERSION_MAX - 1;
    memcpy(worker->codex_version, version, len);
    worker->codex_version[len] = '\0';
}

static void on_models(void *ctx, bool ok)
{
    struct worker *worker = ctx;
    supervisor_greeted(worker->supervisor, ok);
}

static void greet(void *ctx, struct rpc *rpc, const char *user_agent)
{
    struct worker *worker = ctx;
    worker->rpc = rpc;
    learn_version(worker, user_agent);
    models_refresh(worker->models, rpc, on_models, worker);
}

static void tell_change(struct worker *worker, bool ready)
{
    if (worker->on_change != NULL)
        worker->on_change(worker->on_change_ctx, ready);
}

static void on_ready(void *ctx, struct rpc *rpc)
{
    struct worker *worker = ctx;
    log_info("worker", "ready", LOG_ID("version", worker->codex_version),
             LOG_ID("source", launch_source_name(worker->launch->source)));
    turns_worker_ready(worker->turns, rpc);
    tell_change(worker, true);
    if (worker->on_ready != NULL)
        worker->on_ready(worker->on_ready_ctx);
}

static void on_gone(void *ctx)
{
    struct worker *worker = ctx;
    tell_change(worker, false);
    models_cancel(worker->models, worker->rpc);
    turns_worker_gone(worker->turns);
    worker->rpc = NULL;
}

static void on_notification(void *ctx, const char *method, const json_t *params)
{
    struct worker *worker = ctx;
    if (!turns_notification(worker->turns, method, params))
        log_debug("worker", "notification_ignored", LOG_INT("method_bytes", strlen(method)));
}

/* Function calls go to the client. For the rest, the chat worker may do nothing but think: approvals, input of a user, permissions are all denied. */
static void on_request(void *ctx, struct rpc *rpc, const json_t *id, const char *method,
                       const json_t *params)
{
    struct worker *worker = ctx;
    if (turns_request(worker->turns, id, method, params))
        return;
    log_warn("worker", "request_denied", LOG_INT("method_bytes", strlen(method)));
    rpc_refuse(rpc, id, "codex-api grants no requests");
}

static void stopped(void *ctx)
{
    struct worker *worker = ctx;
    if (worker->on_stopped != NULL)
        worker->on_stopped(worker->on_stopped_ctx);
}

static const struct supervisor_hooks hooks = {
    .prepare = prepare,
    .cancel_prepare = cancel_prepare,
    .greet = greet,
    .on_ready = on_ready,
    .on_gone = on_gone,
    .on_notification = on_notification,
    .on_request = on_request,
    .on_stopped = stopped,
};

static struct supervisor_options supervisor_options(const struct config *c,
                                                    const struct launch *launch)
{
    return (struct supervisor_options){
        .file = launch->file,
        .argv = launch->argv,
        .env = launch->env,
        .working_dir = launch->working_dir,
        .handshake_timeout_ms = (uint64_t)c->handshake_timeout_ms,
        .rpc_timeout_ms = (uint64_t)c->rpc_timeout_ms,
        .backoff_initial_ms = (uint64_t)c->backoff_initial_ms,
        .backoff_max_ms = (uint64_t)c->backoff_max_ms,
        .stable_ms = (uint64_t)c->stable_ms,
        .stop_eof_ms = (uint64_t)c->stop_eof_ms,
        .stop_term_ms = (uint64_t)c->stop_term_ms,
    };
}

struct worker *worker_new(struct uv_loop_s *loop, struct deadlines *deadlines,
                          const struct config *config, const struct launch *launch)
{
    struct worker *worker = xcalloc(1, sizeof(*worker));
    const struct supervisor_options options = supervisor_options(config, launch);
    const struct turns_options turns = {
        .rpc_timeout_ms = (uint64_t)config->rpc_timeout_ms,
        .turn_timeout_ms = (uint64_t)config->turn_timeout_ms,
        .commentary = (enum output_commentary)config->commentary,
        .park_ttl_ms = (uint64_t)config->park_ttl_ms,
        .parked_max = (size_t)config->parked_max,
        .idle_ttl_ms = (uint64_t)config->idle_ttl_ms,
        .idle_max = (size_t)config->idle_max,
    };
    worker->loop = loop;
    worker->launch = launch;
    worker->catalog = (struct catalog_options){ .file = launch->file,
                                                .env = launch->env,
                                                .path = launch->catalog_path,
                                                .demo = launch->source == LAUNCH_DEMO,
                                                .extra = config->codex_model };
    worker->turns = turns_new(deadlines, &turns);
    worker->models = models_new(launch->source == LAUNCH_DEMO ? NULL : config->codex_model,
                                config->model_aliases, (uint64_t)config->rpc_timeout_ms);
    worker->supervisor = supervisor_new(loop, deadlines, &options, &hooks, worker);
    return worker;
}

void worker_start(struct worker *worker)
{
    supervisor_start(worker->supervisor);
}

void worker_on_ready(struct worker *worker, void (*fn)(void *ctx), void *ctx)
{
    worker->on_ready = fn;
    worker->on_ready_ctx = ctx;
}

void worker_on_change(struct worker *worker, void (*fn)(void *ctx, bool ready), void *ctx)
{
    worker->on_change = fn;
    worker->on_change_ctx = ctx;
}

void worker_stop(struct worker *worker, void (*on_stopped)(void *ctx), void *ctx)
{
    worker->on_stopped = on_stopped;
    worker->on_stopped_ctx = ctx;
    supervisor_stop(worker->supervisor);
}

void worker_free(struct worker *worker)
{
    if (worker == NULL)
        return;
    supervisor_free(worker->supervisor);
    turns_free(worker->turns);
    models_free(worker->models);
    free(worker);
}

bool worker_ready(const struct worker *worker)
{
    struct supervisor_status status;
    supervisor_status(worker->supervisor, &status);
    return status.state == SUP_READY;
}

void worker_status(const struct worker *worker, struct supervisor_status *ret)
{
    supervisor_status(worker->supervisor, ret);
}

const char *worker_codex_version(const struct worker *worker)
{
    return worker->codex_version;
}

struct turns *worker_turns(struct worker *worker)
{
    return worker->turns;
}

struct models *worker_models(struct worker *worker)
{
    return worker->models;
}
