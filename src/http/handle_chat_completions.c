/* POST /v1/chat/completions. */
#include "chat.h"
#include "chat_request.h"
#include "clock.h"
#include "config.h"
#include "conversation.h"
#include "exchange.h"
#include "keyring.h"
#include "media.h"
#include "message.h"
#include "models.h"
#include "plan.h"
#include "redact.h"
#include "reply.h"
#include "reqctx.h"
#include "routes.h"
#include "trace.h"
#include "utf8.h"
#include "worker.h"

#include <h2o.h>
#include <stdio.h>

#define FINGERPRINT_MAX 96
#define UTF8_BYTES_MAX 4
#define PROMPT_AHEAD_BYTES 16384
#define PROMPT_EDGE_BYTES 1024
#define LEFTOVERS_MAX 64 /* turns whose client has left, beside those that run */

static void add_number(h2o_req_t *req, const char *header, int64_t value)
{
    char text[24];
    snprintf(text, sizeof(text), "%lld", (long long)value);
    reply_header(req, header, text);
}

/* Every request of a key counts, whatever comes of it, and its answer says how many are left. */
static bool check_rate(const struct routes *routes, h2o_req_t *req, const struct reqctx *rc,
                       struct api_error *error)
{
    struct rate_state rate;
    char reset[RATE_DURATION_SIZE];
    keyring_take(routes->keyring, rc->key_name, clock_mono_ms(), &rate);
    if (!rate.limited)
        return true;
    rate_limit_duration(rate.reset_ms, reset);
    add_number(req, "x-ratelimit-limit-requests", rate.limit);
    add_number(req, "x-ratelimit-remaining-requests", rate.remaining);
    reply_header(req, "x-ratelimit-reset-requests", reset);
    if (rate.allowed)
        return true;
    api_error_set(error, 429, "requests", "rate_limit_exceeded", NULL,
                  "Rate limit reached for requests of this API key.");
    error->retry_after_s = (rate.retry_ms + 999) / 1000;
    return false;
}

static bool check_ready(const struct routes *routes, struct api_error *error)
{
    struct supervisor_status status;
    worker_status(routes->worker, &status);
    if (routes->draining) {
        api_error_set(error, 503, "server_error", "shutting_down", NULL,
                      "The server is shutting down.");
        error->retry_after_s = 1;
        return false;
    }
    if (worker_source(routes->worker) == LAUNCH_NONE) {
        api_error_set(error, 503, "server_error", "upstream_auth", NULL,
                      "This endpoint has no login at its upstream; its operator must log in.");
        error->should_retry = -1;
        return false;
    }
    /* One that will be ready again is waited for in the queue; but whether there is such a model only a worker can tell. */
    bool hopeless = status.state == SUP_STOPPED || status.crashloop;
    if (worker_ready(routes->worker) || (!hopeless && models_listed(worker_models(routes->worker))))
        return true;
    api_error_set(error, 503, "server_error", "worker_not_ready", NULL,
                  "The worker is not ready (%s).", sup_state_name(status.state));
    error->retry_after_s = 1 + (int64_t)status.backoff_remaining_ms / 1000;
    return false;
}

static bool check_model(const struct routes *routes, const struct chat_request *request,
                        struct plan_options *ret, struct api_error *error)
{
    const struct models *models = worker_models(routes->worker);
    struct model_choice choice;
    if (!models_resolve(models, request->model, &choice)) {
        api_error_set(
            error, 404, "invalid_request_error", "model_not_found", "model",
            "The model does not exist, or this endpoint does not serve it. GET /v1/models "
            "lists those it serves.");
        return false;
    }
    ret->model = choice.id;
    ret->effort = request->effort != NULL ? request->effort : choice.effort;
    if (messages_have_images(request->messages) && !models_takes_images(models, ret->model)) {
        api_error_bad(error, "unsupported_value", "messages",
                      "Invalid 'messages': the model takes no images.");
        return false;
    }
    if (ret->effort == NULL || models_takes_effort(models, ret->model, ret->effort))
        return true;
    api_error_bad(error, "unsupported_value", "reasoning_effort",
                  "Unsupported value for 'reasoning_effort': GET /v1/models lists those that the "
                  "model takes.");
    return false;
}

/* A place is free again as soon as a client has left, and its turn goes on until the worker has ended it: clients that come and go
 * must not fill the worker with those. */
static bool check_leftovers(const struct routes *routes, struct api_error *error)
{
    size_t active = worker_turns_active(routes->worker);
    if (active < (size_t)routes->config->max_concurrency + LEFTOVERS_MAX)
        return true;
    api_error_set(error, 429, "requests", "proxy_queue_full", NULL,
                  "This endpoint is busy ending turns that were given up.");
    error->retry_after_s = 1;
    return false;
}

/* What a client may take for "the same backend": this program and that worker. */
static void make_fingerprint(const struct routes *routes, char ret[FINGERPRINT_MAX])
{
    snprintf(ret, FINGERPRINT_MAX, "fp_codex-api-%s_codex-%s", CODEX_API_VERSION,
             worker_codex_version(routes->worker));
}

static void add_names(h2o_req_t *req, const char *header, struct buf *names)
{
    if (names->len != 0)
        reply_header(req, header, buf_str(names));
}

static void note_request(struct reqctx *rc, const struct chat_request *request)
{
    rc->stream = request->stream;
    trace_http(rc->trace, "parsed", LOG_BOOL("stream", rc->stream),
               LOG_INT("messages", json_array_size(request->messages)),
               LOG_INT("tools", json_array_size(json_object_get(request->root, "tools")) +
                                    json_array_size(json_object_get(request->root, "functions"))),
               LOG_INT("choices", request->choices));
}

/* The start of what the user asked, without its secrets. Only so much is scrubbed as can be shown, and some more, for a secret that is
 * cut in half is not known as one: what is near the cut is not shown. */
static void note_prompt(const struct routes *routes, h2o_req_t *req, struct reqctx *rc,
                        const struct chat_request *request)
{
    const size_t chars = (size_t)routes->config->interaction_prompt_chars;
    struct buf text = BUF_INIT;
    struct buf scrubbed = BUF_INIT;
    if (routes->config->interaction_log == 0 || chars == 0)
        return;
    bool all = messages_last_user_text(request->messages, &text,
                                       chars * UTF8_BYTES_MAX + PROMPT_AHEAD_BYTES);
    redact_text(&scrubbed, buf_str(&text), text.len);
    if (!all)
        redact_cut(&scrubbed,
                   scrubbed.len > PROMPT_EDGE_BYTES ? scrubbed.len - PROMPT_EDGE_BYTES : 0);
    redact_cut_chars(&scrubbed, chars);
    rc->prompt = h2o_strdup(&req->pool, buf_str(&scrubbed), scrubbed.len).base;
    buf_free(&text);
    buf_free(&scrubbed);
}

static bool parse(const struct routes *routes, struct reqctx *rc, h2o_req_t *req,
                  struct chat_request *ret, struct api_error *error)
{
    if (!chat_request_parse(ret, req->entity.base, req->entity.len, error))
        return false;
    note_request(rc, ret);
    note_prompt(routes, req, rc, ret);
    return true;
}

static void run(struct routes *routes, h2o_req_t *req, struct reqctx *rc,
                struct chat_request *request, const struct plan_options *plan_options)
{
    char id[ID_SIZE];
    char fingerprint[FINGERPRINT_MAX];
    struct turn_plan plan;
    id_make(id, "chatcmpl-");
    make_fingerprint(routes, fingerprint);
    plan_make(&plan, request, plan_options);
    utf8_copy(rc->model, sizeof(rc->model), plan_options->model);
    add_names(req, "x-codex-api-ignored", &request->ignored);
    add_names(req, "x-codex-api-emulated", &request->emulated);
    const struct chat_options options = {
        .request = request,
        .id = id,
        .fingerprint = fingerprint,
        .created = clock_wall_ms() / 1000,
        .completion_max_bytes = (size_t)routes->config->completion_max_bytes,
        .runs_again = worker_pure_chat(routes->worker),
        .trace = rc->trace,
    };
    exchange_run(routes->exchanges, req, &options, rc->key_name, &plan,
                 conversation_new(rc->key_name, &plan));
}

void handle_chat_completions(struct routes *routes, h2o_req_t *req)
{
    struct reqctx *rc = reqctx_of(req);
    struct api_error error;
    struct chat_request request = { .root = NULL };
    struct plan_options plan = { .summary = config_summary_name(routes->config) };
    bool ok = check_rate(routes, req, rc, &error) && media_check(req, &error) &&
              parse(routes, rc, req, &request, &error) && check_ready(routes, &error) &&
              check_model(routes, &request, &plan, &error) && check_leftovers(routes, &error);
    if (ok) {
        run(routes, req, rc, &request, &plan);
    } else {
        reqctx_refuse(req, &error);
    }
    chat_request_free(&request);
}
