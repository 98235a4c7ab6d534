/* GET and POST /internal/maintenance. */
#include "maintenance.h"

#include "media.h"
#include "observatory.h"
#include "reply.h"
#include "reqctx.h"
#include "routes.h"

#include <h2o.h>

void handle_maintenance(struct routes *routes, h2o_req_t *req)
{
    reply_header(req, "cache-control", "no-store");
    reply_json(req, 200, maintenance_state(routes->observatory->maintenance));
}

void handle_maintenance_change(struct routes *routes, h2o_req_t *req)
{
    struct api_error error;
    if (media_check(req, &error) && maintenance_change(routes->observatory->maintenance,
                                                       req->entity.base, req->entity.len, &error)) {
        handle_maintenance(routes, req);
        return;
    }
    reqctx_refuse(req, &error);
}
