/* The models that clients may ask for: a cache of the worker's own list. */
#ifndef MODELS_H
#define MODELS_H

#include "json.h"

#include <stdbool.h>
#include <stdint.h>

struct models;
struct rpc;

/* `extra` (may be NULL) is one more model id, of a provider that the worker's list does not know. The caller
 * owns the result. */
struct models *models_new(const char *extra, uint64_t rpc_timeout_ms);
void models_free(struct models *models);

/* Asks the worker for its list, page by page, and calls `done` once, never from within. On failure an older list
 * stays. One refresh runs at a time. */
void models_refresh(struct models *models, struct rpc *rpc, void (*done)(void *ctx, bool ok),
                    void *ctx);

/* The worker is gone: `done` of a refresh under way is not called any more. */
void models_cancel(struct models *models, struct rpc *rpc);

/* Whether clients may ask for the model. */
bool models_has(const struct models *models, const char *id);

/* The OpenAI list object, or one model object (NULL if unknown), as new references. */
CHECK_RESULT json_t *models_list_object(const struct models *models);
CHECK_RESULT json_t *models_object(const struct models *models, const char *id);

#endif
