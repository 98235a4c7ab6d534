/* The models that clients may ask for: a cache of the worker's own list. */
#ifndef MODELS_H
#define MODELS_H

#include "json.h"

#include <stdbool.h>
#include <stdint.h>

struct models;
struct rpc;

/* `extra` (may be NULL) are ids of more models, of a provider that the worker's list does not know; `aliases` (may be NULL) are
 * entries alias=model or alias=model:effort. Both are lists with commas. The caller owns the result. */
struct models *models_new(const char *extra, const char *aliases, uint64_t rpc_timeout_ms);
void models_free(struct models *models);

/* Other extra models, or aliases, from now on; what models_resolve lent is not valid any more. */
void models_set_extra(struct models *models, const char *extra);
void models_set_aliases(struct models *models, const char *aliases);

/* Asks the worker for its list, page by page, and calls `done` once, never from within. On failure an older list
 * stays. One refresh runs at a time. */
void models_refresh(struct models *models, struct rpc *rpc, void (*done)(void *ctx, bool ok),
                    void *ctx);

/* The worker is gone: `done` of a refresh under way is not called any more. */
void models_cancel(struct models *models, struct rpc *rpc);

/* Whether a worker has ever given its list. */
bool models_listed(const struct models *models);

/* What a name that a client used comes to. Borrowed until the next refresh. */
struct model_choice {
    const char *id;     /* the worker's */
    const char *effort; /* of an alias that names one, else NULL */
};

/* False when clients may not ask for it. */
CHECK_RESULT bool models_resolve(const struct models *models, const char *name,
                                 struct model_choice *ret);

/* Whether the model lists the effort; one of which nothing is known takes all. */
bool models_takes_effort(const struct models *models, const char *id, const char *effort);

/* Whether the model lists images among what it takes; one of which nothing is known takes them. */
bool models_takes_images(const struct models *models, const char *id);

/* The OpenAI list object, or one model object (NULL if unknown), as new references. */
CHECK_RESULT json_t *models_list_object(const struct models *models);
CHECK_RESULT json_t *models_object(const struct models *models, const char *name);

#endif
