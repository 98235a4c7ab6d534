/* The models that clients may ask for: a cache of the worker's own list. */
#include "models.h"

#include "clock.h"
#include "log.h"
#include "rpc.h"

#include <stdlib.h>
#include <string.h>

#define MODELS_MAX 1000 /* more than that from a worker is a worker gone mad */
#define PAGES_MAX 100   /* the same of its pages */

struct models {
    uint64_t rpc_timeout_ms;
    char *extra;     /* owned; NULL: none */
    json_t *current; /* owned: array of the worker's model objects */
    size_t pages;    /* of the refresh under way */
    json_t *coming;  /* owned: pages of the refresh under way, else NULL */
    struct rpc *rpc; /* borrowed while a refresh is under way */
    int64_t
        created; /* unix seconds: of the first list, as the API wants a number and the worker has none */
    void (*done)(void *ctx, bool ok);
    void *ctx; /* borrowed */
};

struct models *models_new(const char *extra, uint64_t rpc_timeout_ms)
{
    struct models *models = xcalloc(1, sizeof(*models));
    models->extra = extra != NULL ? xstrdup(extra) : NULL;
    models->rpc_timeout_ms = rpc_timeout_ms;
    models->current = json_array();
    models->created = clock_wall_ms() / 1000;
    return models;
}

void models_free(struct models *models)
{
    if (models == NULL)
        return;
    json_decref(models->current);
    json_decref(models->coming);
    free(models->extra);
    free(models);
}

static void finish(struct models *models, bool ok)
{
    if (ok) {
        json_decref(models->current);
        models->current = models->coming;
        log_info("worker", "models_listed", LOG_INT("count", json_array_size(models->current)));
    } else {
        json_decref(models->coming);
        log_warn("worker", "models_not_listed", LOG_INT("count", json_array_size(models->current)));
    }
    models->coming = NULL;
    models->rpc = NULL;
    models->done(models->ctx, ok);
}

static void on_page(void *ctx, const struct rpc_reply *reply);

static void ask(struct models *models, const char *cursor)
{
    json_t *params = json_object();
    if (cursor != NULL)
        json_object_set_new(params, "cursor", json_string(cursor));
    rpc_call(models->rpc, "model/list", params, models->rpc_timeout_ms, on_page, models);
}

static void on_page(void *ctx, const struct rpc_reply *reply)
{
    struct models *models = ctx;
    json_t *data = json_object_get(reply->result, "data");
    if (reply->status != RPC_OK || !json_is_array(data)) {
        finish(models, false);
        return;
    }
    size_t i = 0;
    json_t *model = NULL;
    json_array_foreach(data, i, model)
    {
        if (json_str_at(model, "model") != NULL && !json_bool_at(model, "hidden", 0))
            json_array_append(models->coming, model);
    }
    const char *cursor = json_str_at(reply->result, "nextCursor");
    if (cursor != NULL && ++models->pages < PAGES_MAX &&
        json_array_size(models->coming) < MODELS_MAX)
        ask(models, cursor);
    else
        finish(models, true);
}

void models_refresh(struct models *models, struct rpc *rpc, void (*done)(void *ctx, bool ok),
                    void *ctx)
{
    models->rpc = rpc;
    models->done = done;
    models->ctx = ctx;
    json_decref(models->coming);
    models->coming = json_array();
    models->pages = 0;
    ask(models, NULL);
}

void models_cancel(struct models *models, struct rpc *rpc)
{
    rpc_cancel(rpc, models);
    json_decref(models->coming);
    models->coming = NULL;
    models->rpc = NULL;
}

static const json_t *find(const struct models *models, const char *id)
{
    size_t i = 0;
    const json_t *model = NULL;
    json_array_foreach(models->current, i, model)
    {
        if (strcmp(json_str_at(model, "model"), id) == 0)
            return model;
    }
    return NULL;
}

static bool is_extra(const struct models *models, const char *id)
{
    return models->extra != NULL && strcmp(models->extra, id) == 0;
}

bool models_has(const struct models *models, const char *id)
{
    return is_extra(models, id) || find(models, id) != NULL;
}

/* `model` may be NULL: of an extra one nothing is known. The members after owned_by are additions to the OpenAI
 * object that clients tolerate. */
static json_t *make_object(const struct models *models, const char *id, const json_t *model)
{
    json_t *object = json_pack("{s:s, s:s, s:I, s:s}", "id", id, "object", "model", "created",
                               (json_int_t)models->created, "owned_by", "openai");
    const char *name = json_str_at(model, "displayName");
    if (name != NULL)
        json_object_set_new(object, "display_name", json_string(name));
    const char *description = json_str_at(model, "description");
    if (description != NULL)
        json_object_set_new(object, "description", json_string(description));
    return object;
}

json_t *models_list_object(const struct models *models)
{
    json_t *data = json_array();
    size_t i = 0;
    const json_t *model = NULL;
    json_array_foreach(models->current, i, model)
    {
        json_array_append_new(data, make_object(models, json_str_at(model, "model"), model));
    }
    if (models->extra != NULL && find(models, models->extra) == NULL)
        json_array_append_new(data, make_object(models, models->extra, NULL));
    return json_pack("{s:s, s:o}", "object", "list", "data", data);
}

json_t *models_object(const struct models *models, const char *id)
{
    const json_t *model = find(models, id);
    if (model == NULL && !is_extra(models, id))
        return NULL;
    return make_object(models, id, model);
}
