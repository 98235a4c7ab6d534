/* The worker as the rest of the program sees it: supervisor and models put together. */
#include "worker.h"

#include "catalog.h"
#include "config.h"
#include "log.h"
#include "models.h"
#include "sentinel.h"
#include "turn.h"

#include <stdlib.h>
#include <string.h>

#define VERSION_MAX 64

/* What an incarnation is started with. Counted: the newest, the one being tried and the one that runs may be the same. */
struct terms {
    unsigned references;
    struct launch launch;              /* owned */
    struct supervisor_options options; /* borrows from the launch */
};

struct worker {
    struct uv_loop_s *loop;        /* borrowed */
    struct supervisor *supervisor; /* owned */
    struct models *models;         /* owned */
    struct sentinel *sentinel;     /* owned */
    struct terms *wanted;          /* counted: for the next start */
    struct terms *tried;           /* counted: of the start under way; NULL before the first */
    struct terms *running;         /* counted: of the incarnation that took turns last, or NULL */
    size_t input_queue_max_bytes;
    struct catalog_job *catalog_job; /* linked; frees itself */
    char codex_version[VERSION_MAX];
    void (*on_change)(void *ctx, bool ready); /* NULL: nobody asks */
    void *on_change_ctx;                      /* borrowed */
    void (*on_stopped)(void *ctx);
    void *on_stopped_ctx; /* borrowed */
};

/* ---- terms ---- */

static void terms_drop(struct terms *terms)
{
    if (terms == NULL || --terms->references != 0)
        return;
    launch_free(&terms->launch);
    free(terms);
}

static void terms_set(struct terms **place, struct terms *terms)
{
    if (terms != NULL)
        terms->references++;
    terms_drop(*place);
    *place = terms;
}

/* Of what runs, or before that of what is to run. */
static const struct launch *launch_of(const struct worker *worker)
{
    return worker->running != NULL ? &worker->running->launch : &worker->wanted->launch;
}

static struct turns_options turns_options(const struct config *c)
{
    return (struct turns_options){
        .rpc_timeout_ms = (uint64_t)c->rpc_timeout_ms,
        .turn_timeout_ms = (uint64_t)c->turn_timeout_ms,
        .first_event_timeout_ms = (uint64_t)c->first_event_timeout_ms,
        .silence_timeout_ms = (uint64_t)c->silence_timeout_ms,
        .commentary = (enum output_commentary)c->commentary,
        .park_ttl_ms = (uint64_t)c->park_ttl_ms,
        .parked_max = (size_t)c->parked_max,
        .idle_ttl_ms = (uint64_t)c->idle_ttl_ms,
        .idle_max = (size_t)c->idle_max,
    };
}

static struct incarnation_options
incarnation_options(const struct config *c, const struct launch *launch, struct sentinel *sentinel)
{
    return (struct incarnation_options){
        .file = launch->file,
        .argv = launch->argv,
        .env = launch->env,
        .working_dir = launch->working_dir,
        .handshake_timeout_ms = (uint64_t)c->handshake_timeout_ms,
        .heartbeat_ms = (uint64_t)c->heartbeat_ms,
        .heartbeat_timeout_ms = (uint64_t)c->heartbeat_timeout_ms,
        .stop_eof_ms = (uint64_t)c->stop_eof_ms,
        .stop_term_ms = (uint64_t)c->stop_term_ms,
        .rss_max_bytes = (uint64_t)c->recycle_rss_bytes,
        .turns_max = (uint64_t)c->recycle_turns,
        .turns = turns_options(c),
        .sentinel = sentinel,
    };
}

/* Takes what `launch` holds. */
static struct terms *terms_make(const struct worker *worker, const struct config *c,
                                struct launch *launch)
{
    struct terms *terms = xcalloc(1, sizeof(*terms));
    terms->launch = *launch;
    *launch = (struct launch){ .source = launch->source };
    terms->options = (struct supervisor_options){
        .incarnation = incarnation_options(c, &terms->launch, worker->sentinel),
        .backoff_initial_ms = (uint64_t)c->backoff_initial_ms,
        .backoff_max_ms = (uint64_t)c->backoff_max_ms,
        .stable_ms = (uint64_t)c->stable_ms,
    };
    return terms;
}

/* ---- hooks ---- */

static void on_catalog(void *ctx, bool ok)
{
    struct worker *worker = ctx;
    worker->catalog_job = NULL;
    supervisor_prepared(worker->supervisor, ok);
}

static void prepare(void *ctx)
{
    struct worker *worker = ctx;
    terms_set(&worker->tried, worker->wanted);
    const struct launch *launch = &worker->tried->launch;
    const struct catalog_options catalog = { .file = launch->file,
                                             .env = launch->env,
                                             .path = launch->catalog_path,
                                             .demo = launch->source == LAUNCH_DEMO,
                                             .extra = launch->extra_models,
                                             .sentinel = worker->sentinel };
    supervisor_set_options(worker->supervisor, &worker->tried->options);
    if (launch->catalog_path == NULL ||
        catalog_prepare(worker->loop, &catalog, on_catalog, worker, &worker->catalog_job))
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
    learn_version(worker, user_agent);
    models_refresh(worker->models, rpc, on_models, worker);
}

static void cancel_greet(void *ctx, struct rpc *rpc)
{
    struct worker *worker = ctx;
    models_cancel(worker->models, rpc);
}

/* A successor that came to nothing takes its terms with it, unless newer ones have come: what runs goes on, and starts
 * again, as it was. */
static void on_recycled(void *ctx, bool ok)
{
    struct worker *worker = ctx;
    if (ok || worker->wanted != worker->tried)
        return;
    terms_set(&worker->wanted, worker->running);
}

static void on_change(void *ctx, bool ready)
{
    struct worker *worker = ctx;
    if (ready) {
        terms_set(&worker->running, worker->tried);
        log_info("worker", "ready", LOG_ID("version", worker->codex_version),
                 LOG_ID("source", launch_source_name(worker_source(worker))));
    }
    if (worker->on_change != NULL)
        worker->on_change(worker->on_change_ctx, ready);
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
    .cancel_greet = cancel_greet,
    .on_recycled = on_recycled,
    .on_change = on_change,
    .on_stopped = stopped,
};

/* ---- public ---- */

static const char *listed_models(const struct config *config, enum launch_source source)
{
    return source == LAUNCH_DEMO ? NULL : config->codex_model;
}

struct worker *worker_new(struct uv_loop_s *loop, struct deadlines *deadlines,
                          const struct config *config, struct launch *launch)
{
    struct worker *worker = xcalloc(1, sizeof(*worker));
    worker->loop = loop;
    worker->sentinel = sentinel_new(loop, deadlines);
    terms_set(&worker->wanted, terms_make(worker, config, launch));
    worker->input_queue_max_bytes = (size_t)config->input_queue_max_bytes;
    worker->models = models_new(listed_models(config, launch->source), config->model_aliases,
                                (uint64_t)config->rpc_timeout_ms);
    worker->supervisor = supervisor_new(loop, deadlines, &worker->wanted->options, &hooks, worker);
    return worker;
}

void worker_start(struct worker *worker)
{
    supervisor_start(worker->supervisor);
}

void worker_on_change(struct worker *worker, void (*fn)(void *ctx, bool ready), void *ctx)
{
    worker->on_change = fn;
    worker->on_change_ctx = ctx;
}

void worker_recycle(struct worker *worker, const struct config *config, struct launch *launch,
                    const char *why)
{
    terms_set(&worker->wanted, terms_make(worker, config, launch));
    worker->input_queue_max_bytes = (size_t)config->input_queue_max_bytes;
    models_configure(worker->models, listed_models(config, launch->source), config->model_aliases);
    supervisor_recycle(worker->supervisor, why);
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
    sentinel_free(worker->sentinel);
    models_free(worker->models);
    terms_set(&worker->wanted, NULL);
    terms_set(&worker->tried, NULL);
    terms_set(&worker->running, NULL);
    free(worker);
}

bool worker_ready(const struct worker *worker)
{
    return supervisor_turns(worker->supervisor) != NULL;
}

bool worker_congested(const struct worker *worker)
{
    struct supervisor_status status;
    supervisor_status(worker->supervisor, &status);
    return status.input_queue_bytes >= worker->input_queue_max_bytes;
}

void worker_status(const struct worker *worker, struct supervisor_status *ret)
{
    supervisor_status(worker->supervisor, ret);
}

const struct death *worker_death(const struct worker *worker, size_t i)
{
    return supervisor_death(worker->supervisor, i);
}

enum launch_source worker_source(const struct worker *worker)
{
    return launch_of(worker)->source;
}

bool worker_pure_chat(const struct worker *worker)
{
    return launch_of(worker)->pure_chat;
}

const char *worker_codex_version(const struct worker *worker)
{
    return worker->codex_version;
}

struct turns *worker_turns(struct worker *worker)
{
    return supervisor_turns(worker->supervisor);
}

size_t worker_turns_active(const struct worker *worker)
{
    return supervisor_active(worker->supervisor);
}

struct models *worker_models(struct worker *worker)
{
    return worker->models;
}
