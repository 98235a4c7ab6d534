/* GET /v1/models and /v1/models/{id}, from the cache. */
#include "models.h"

#include "reply.h"
#include "reqctx.h"
#include "routes.h"
#include "worker.h"

#include <h2o.h>
#include <stdlib.h>

void handle_models(struct routes *routes, h2o_req_t *req)
{
    struct api_error error;
    if (models_listed(worker_models(routes->worker))) {
        reply_json(req, 200, models_list_object(worker_models(routes->worker)));
        return;
    }
    /* An empty list would be believed, and kept. */
    api_error_set(&error, 503, "server_error", "worker_not_ready", NULL,
                  "The worker has not listed its models yet.");
    error.retry_after_s = 1;
    reqctx_refuse(req, &error);
}

void handle_model(struct routes *routes, h2o_req_t *req)
{
    /* An id may hold a slash, so it is all of the rest of the path. */
    size_t start = strlen("/v1/models/");
    h2o_iovec_t rest =
        h2o_iovec_init(req->path_normalized.base + start, req->path_normalized.len - start);
    char *id = xstrndup(rest.base, rest.len);
    json_t *object = models_object(worker_models(routes->worker), id);
    free(id);
    if (object != NULL) {
        reply_json(req, 200, object);
        return;
    }
    struct api_error error;
    api_error_set(&error, 404, "invalid_request_error", "model_not_found", "model",
                  "The model does not exist, or this endpoint does not serve it.");
    reqctx_refuse(req, &error);
}
