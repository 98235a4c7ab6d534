/* What a request says that its body is. */
#include "media.h"

#include <h2o.h>

static bool is_json(h2o_iovec_t type)
{
    static const char json[] = "application/json";
    size_t len = sizeof(json) - 1;
    return type.len >= len && h2o_lcstris(type.base, len, json, len) &&
           (type.len == len || type.base[len] == ';' || type.base[len] == ' ');
}

bool media_check(h2o_req_t *req, struct api_error *ret)
{
    ssize_t type = h2o_find_header(&req->headers, H2O_TOKEN_CONTENT_TYPE, -1);
    ssize_t encoding = h2o_find_header(&req->headers, H2O_TOKEN_CONTENT_ENCODING, -1);
    bool ok = (type == -1 || is_json(req->headers.entries[type].value)) && encoding == -1;
    if (!ok)
        api_error_set(ret, 415, "invalid_request_error", "unsupported_content_type", NULL,
                      "The body must be JSON: send 'Content-Type: application/json' and no content "
                      "encoding.");
    return ok;
}
