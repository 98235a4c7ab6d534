/* What the program knows of one HTTP request beside what h2o knows. */
#include "reqctx.h"

#include "reply.h"
#include "trace.h"
#include "url_path.h"

#include <h2o.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

/* h2o_req_t has no slot for users, but a list of prefilters of any size: the context is one. */
struct prefilter {
    h2o_req_prefilter_t super;
    struct reqctx rc;
};

static void on_setup_ostream(h2o_req_prefilter_t *self, h2o_req_t *req, h2o_ostream_t **slot)
{
    struct reqctx *rc = &((struct prefilter *)(void *)self)->rc;
    h2o_add_header_by_str(&req->pool, &req->res.headers, H2O_STRLIT("x-request-id"), 0, NULL,
                          rc->id, strlen(rc->id));
    rc->first_byte_ns = uv_hrtime();
    trace_http(rc->trace, "headers", LOG_INT("status", req->res.status));
    char *elapsed = h2o_mem_alloc_pool(&req->pool, 24);
    int len = snprintf(elapsed, 24, "%lld", (long long)reqctx_elapsed_ms(rc));
    h2o_add_header_by_str(&req->pool, &req->res.headers, H2O_STRLIT("openai-processing-ms"), 0,
                          NULL, elapsed, (size_t)len);
    h2o_setup_next_prefilter(self, req, slot);
}

struct reqctx *reqctx_attach(h2o_req_t *req)
{
    h2o_req_prefilter_t *added = h2o_add_prefilter(req, sizeof(struct prefilter));
    struct prefilter *p = (struct prefilter *)(void *)added;
    added->on_setup_ostream = on_setup_ostream;
    p->rc = (struct reqctx){ .started_ns = uv_hrtime(), .route = "none" };
    id_make(p->rc.id, "req_");
    return &p->rc;
}

struct reqctx *reqctx_of(h2o_req_t *req)
{
    for (h2o_req_prefilter_t *p = req->prefilters; p != NULL; p = p->next)
        if (p->on_setup_ostream == on_setup_ostream)
            return &((struct prefilter *)(void *)p)->rc;
    return NULL;
}

void reqctx_note_error(struct reqctx *rc, const struct api_error *error)
{
    rc->error_code = error->code;
    if (error->status != 0)
        rc->retryable = api_error_retryable(error) ? 1 : -1;
}

void reqctx_refuse(h2o_req_t *req, const struct api_error *error)
{
    reqctx_note_error(reqctx_of(req), error);
    reply_error(req, error);
}

bool reqctx_is_of_api(const struct reqctx *rc)
{
    return url_path_is_of_api(rc->route, strlen(rc->route));
}

bool reqctx_has_key(const struct reqctx *rc)
{
    return rc->key_name[0] != '\0';
}

int64_t reqctx_elapsed_ms(const struct reqctx *rc)
{
    return (int64_t)((uv_hrtime() - rc->started_ns) / 1000000);
}
