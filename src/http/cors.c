/* Lets pages of chosen origins use the API from a browser. */
#include "cors.h"

#include "entries.h"
#include "reply.h"
#include "url_path.h"

#include <h2o.h>

static const h2o_iovec_t *find(h2o_req_t *req, const char *name, size_t len)
{
    ssize_t at = h2o_find_header_by_str(&req->headers, name, len, -1);
    return at != -1 ? &req->headers.entries[at].value : NULL;
}

static bool listed(const char *origins, h2o_iovec_t origin)
{
    const char *entry = NULL;
    size_t len = 0;
    while ((entry = entries_next(&origins, ", ", "", &len)) != NULL)
        if ((len == 1 && *entry == '*') || h2o_memis(origin.base, origin.len, entry, len))
            return true;
    return false;
}

bool cors_allow(h2o_req_t *req, const char *origins)
{
    const h2o_iovec_t *origin = find(req, H2O_STRLIT("origin"));
    if (origins == NULL || origin == NULL || !listed(origins, *origin) ||
        !url_path_is_of_api(req->path_normalized.base, req->path_normalized.len))
        return false;
    h2o_iovec_t copy = h2o_strdup(&req->pool, origin->base, origin->len);
    reply_header(req, "access-control-allow-origin", copy.base);
    reply_header(req, "vary", "origin");
    reply_header(req, "access-control-expose-headers",
                 "x-request-id, retry-after, retry-after-ms, x-should-retry, openai-processing-ms, "
                 "x-codex-api-ignored, x-codex-api-emulated, x-ratelimit-limit-requests, "
                 "x-ratelimit-remaining-requests, x-ratelimit-reset-requests");
    return true;
}

bool cors_is_preflight(h2o_req_t *req)
{
    return h2o_memis(req->method.base, req->method.len, H2O_STRLIT("OPTIONS")) &&
           find(req, H2O_STRLIT("access-control-request-method")) != NULL;
}

void cors_answer_preflight(h2o_req_t *req, const char *methods)
{
    const h2o_iovec_t *asked = find(req, H2O_STRLIT("access-control-request-headers"));
    reply_header(req, "access-control-allow-methods", methods);
    if (asked != NULL) {
        h2o_iovec_t copy = h2o_strdup(&req->pool, asked->base, asked->len);
        reply_header(req, "access-control-allow-headers", copy.base);
    }
    reply_header(req, "access-control-max-age", "600");
    reply_empty(req);
}
