/* The models that clients may ask for: a cache of the worker's own list. */
#include "models.h"

#include "clock.h"
#include "entries.h"
#include "log.h"
#include "rpc.h"

#include <stdlib.h>
#include <string.h>

#define MODELS_MAX 1000 /* more than that from a worker is a worker gone mad */
#define PAGES_MAX 100   /* the same of its pages */

struct models {
    uint64_t rpc_timeout_ms;
    json_t *extra;   /* owned: array of ids */
    json_t *aliases; /* owned: object, alias -> [model, effort or null] */
    json_t *current; /* owned: array of the worker's model objects */
    bool listed;     /* `current` is a worker's answer */
    size_t pages;    /* of the refresh under way */
    json_t *coming;  /* owned: pages of the refresh under way, else NULL */
    struct rpc *rpc; /* borrowed while a refresh is under way */
    int64_t
        created; /* unix seconds: of the first list, as the API wants a number and the worker has none */
    void (*done)(void *ctx, bool ok);
    void *ctx; /* borrowed */
};

static void add_extra(struct models *models, const char *text, size_t len)
{
    json_array_append_new(models->extra, json_stringn(text, len));
}

/* "alias=model" or "alias=model:effort"; anything else names nothing. */
static void add_alias(struct models *models, const char *text, size_t len)
{
    const char *equals = memchr(text, '=', len);
    if (equals == NULL || equals == text)
        return;
    const char *model = equals + 1;
    size_t model_len = len - (size_t)(model - text);
    const char *colon = memrchr(model, ':', model_len);
    json_t *target = json_array();
    json_array_append_new(target,
                          json_stringn(model, colon != NULL ? (size_t)(colon - model) : model_len));
    if (colon != NULL)
        json_array_append_new(target,
                              json_stringn(colon + 1, model_len - (size_t)(colon + 1 - model)));
    char *alias = xstrndup(text, (size_t)(equals - text));
    json_object_set_new(models->aliases, alias, target);
    free(alias);
}

static void each_entry(struct models *models, const char *list,
                       void (*take)(struct models *, const char *, size_t))
{
    const char *entry = NULL;
    size_t len = 0;
    while ((entry = entries_next(&list, ", \t\r\n", "", &len)) != NULL)
        take(models, entry, len);
}

void models_set_extra(struct models *models, const char *extra)
{
    json_decref(models->extra);
    models->extra = json_array();
    each_entry(models, extra, add_extra);
}

void models_set_aliases(struct models *models, const char *aliases)
{
    json_decref(models->aliases);
    models->aliases = json_object();
    each_entry(models, aliases, add_alias);
}

struct models *models_new(const char *extra, const char *aliases, uint64_t rpc_timeout_ms)
{
    struct models *models = xcalloc(1, sizeof(*models));
    models->rpc_timeout_ms = rpc_timeout_ms;
    models->current = json_array();
    models->created = clock_wall_ms() / 1000;
    models_set_extra(models, extra);
    models_set_aliases(models, aliases);
    return models;
}

void models_free(struct models *models)
{
    if (models == NULL)
        return;
    json_decref(models->current);
    json_decref(models->coming);
    json_decref(models->extra);
    json_decref(models->aliases);
    free(models);
}

static void finish(struct models *models, bool ok)
{
    if (ok) {
        json_decref(models->current);
        models->current = models->coming;
        models->listed = true;
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
    rpc_call(models->rpc, "model/list", params, models->rpc_timeout_ms, on_page, models, NULL);
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
    for (size_t i = 0; i < json_array_size(models->extra); i++)
        if (strcmp(json_string_value(json_array_get(models->extra, i)), id) == 0)
            return true;
    return false;
}

bool models_listed(const struct models *models)
{
    return models->listed;
}

bool models_resolve(const struct models *models, const char *name, struct model_choice *ret)
{
    const json_t *target = json_object_get(models->aliases, name);
    const char *id = target != NULL ? json_string_value(json_array_get(target, 0)) : name;
    if (!is_extra(models, id) && find(models, id) == NULL)
        return false;
    *ret = (struct model_choice){ id, json_string_value(json_array_get(target, 1)) };
    return true;
}

bool models_takes_effort(const struct models *models, const char *id, const char *effort)
{
    const json_t *efforts = json_object_get(find(models, id), "supportedReasoningEfforts");
    for (size_t i = 0; i < json_array_size(efforts); i++) {
        const char *name = json_str_at(json_array_get(efforts, i), "reasoningEffort");
        if (name != NULL && strcmp(name, effort) == 0)
            return true;
    }
    return json_array_size(efforts) == 0;
}

static bool is_image(const json_t *modality)
{
    const char *name = json_string_value(modality);
    return name != NULL && strcmp(name, "image") == 0;
}

bool models_takes_images(const struct models *models, const char *id)
{
    const json_t *modalities = json_object_get(find(models, id), "inputModalities");
    for (size_t i = 0; i < json_array_size(modalities); i++)
        if (is_image(json_array_get(modalities, i)))
            return true;
    return !json_is_array(modalities);
}

/* `model` may be NULL: of an extra one nothing is known. The members after owned_by are additions to the OpenAI
 * object that clients tolerate. */
static json_t *make_object(const struct models *models, const char *id, const json_t *model)
{
    static const char *const added[][2] = { { "displayName", "display_name" },
                                            { "description", "description" },
                                            { "inputModalities", "input_modalities" } };
    json_t *object = json_pack("{s:s, s:s, s:I, s:s, s:n}", "id", id, "object", "model", "created",
                               (json_int_t)models->created, "owned_by", "openai", "shutdown_date");
    for (size_t i = 0; i < sizeof(added) / sizeof(added[0]); i++) {
        const json_t *value = json_object_get(model, added[i][0]);
        if (value != NULL && !json_is_null(value))
            json_object_set_new(object, added[i][1], json_deep_copy(value));
    }
    const json_t *efforts = json_object_get(model, "supportedReasoningEfforts");
    json_t *names = json_array();
    for (size_t i = 0; i < json_array_size(efforts); i++)
        json_array_append(names, json_object_get(json_array_get(efforts, i), "reasoningEffort"));
    if (json_array_size(names) != 0)
        json_object_set(object, "supported_reasoning_efforts", names);
    json_decref(names);
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
    json_array_foreach(models->extra, i, model)
    {
        if (find(models, json_string_value(model)) == NULL)
            json_array_append_new(data, make_object(models, json_string_value(model), NULL));
    }
    for (void *it = json_object_iter(models->aliases); it != NULL;
         it = json_object_iter_next(models->aliases, it)) {
        const char *alias = json_object_iter_key(it);
        struct model_choice choice;
        if (models_resolve(models, alias, &choice))
            json_array_append_new(data, make_object(models, alias, find(models, choice.id)));
    }
    return json_pack("{s:s, s:o}", "object", "list", "data", data);
}

json_t *models_object(const struct models *models, const char *name)
{
    struct model_choice choice;
    if (!models_resolve(models, name, &choice))
        return NULL;
    return make_object(models, name, find(models, choice.id));
}
