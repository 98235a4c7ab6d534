/* What is kept of a request that ended. */
#include "request_record.h"

#include "cors.h"
#include "interactions.h"
#include "observatory.h"
#include "reqctx.h"
#include "usage_account.h"

#include <h2o.h>

/* A request of the API, and not only a browser's question whether it may send one. */
static bool is_of_api(const struct reqctx *rc, h2o_req_t *req)
{
    return rc != NULL && reqctx_is_of_api(rc) && !cors_is_preflight(req);
}

static int64_t ttfb_ms(const struct reqctx *rc)
{
    return rc->first_byte_ns != 0 ? (int64_t)((rc->first_byte_ns - rc->started_ns) / 1000000) : -1;
}

void request_record(struct observatory *observatory, h2o_req_t *req)
{
    const struct reqctx *rc = reqctx_of(req);
    if (!is_of_api(rc, req))
        return;
    struct interaction i = {
        .route = rc->route,
        .request_id = rc->id,
        .key = rc->key_name,
        .model = rc->model,
        .stream = rc->stream,
        .status = req->res.status,
        .outcome = rc->outcome,
        .error_code = rc->error_code,
        .tools_used = rc->tool_calls,
        .tokens = { rc->usage.input, rc->usage.cached, rc->usage.output, rc->usage.reasoning },
        .duration_ms = reqctx_elapsed_ms(rc),
        .queue_ms = rc->queue_ms,
        .ttfb_ms = ttfb_ms(rc),
        .prompt = rc->prompt,
    };
    usage_account(observatory->prices, rc->model, &i.tokens, &i.cost_usd);
    /* Not without a key: anybody could fill the room of those that cost something. */
    if (observatory->interactions != NULL && reqctx_has_key(rc))
        interactions_add(observatory->interactions, &i);
}
