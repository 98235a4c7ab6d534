/* GET /internal/traces and /internal/traces/{req_id}. */
#include "disk_reply.h"
#include "observatory.h"
#include "query.h"
#include "reply.h"
#include "reqctx.h"
#include "routes.h"
#include "trace_buffer.h"

#include <h2o.h>
#include <stdlib.h>

#define LIMIT_DEFAULT 100
#define LIMIT_MAX 1000

struct lookup {
    struct disk_reply super;
    struct trace_buffer *traces; /* borrowed: outlives the jobs of the disk */
    char req_id[TRACE_ID_SIZE];  /* empty: the list is wanted */
    size_t limit;                /* of the list */
    enum trace_read result;
    struct buf found; /* owned */
};

static void on_find(struct disk_reply *super)
{
    struct lookup *l = (struct lookup *)(void *)super;
    if (l->req_id[0] != '\0')
        l->result = trace_buffer_read(l->traces, l->req_id, &l->found);
    else if (trace_buffer_list(l->traces, l->limit, &l->found))
        l->result = TRACE_READ_OK;
    else
        l->result = TRACE_READ_FAILED;
}

static void on_answer(struct disk_reply *super, h2o_req_t *req)
{
    struct lookup *l = (struct lookup *)(void *)super;
    struct api_error error;
    reply_header(req, "cache-control", "no-store");
    if (l->result == TRACE_READ_OK) {
        reply_text(req, "application/json", &l->found);
        return;
    }
    if (l->result == TRACE_READ_NONE) {
        api_error_set(&error, 404, "invalid_request_error", "trace_not_found", "req_id",
                      "There is no trace of that request: it was not kept, or is no longer.");
    } else {
        api_error_set(&error, 500, "server_error", "trace_unreadable", NULL, "The trace%s %s.",
                      l->req_id[0] == '\0' ? " folder" : "", trace_read_words(l->result));
        if (l->result != TRACE_READ_FAILED)
            error.should_retry = -1; /* it never gets well, nor does its key come by itself */
    }
    reqctx_refuse(req, &error);
}

static void on_free(struct disk_reply *super)
{
    struct lookup *l = (struct lookup *)(void *)super;
    buf_free(&l->found);
    free(l);
}

static struct lookup *lookup_new(const struct routes *routes)
{
    struct lookup *l = xcalloc(1, sizeof(*l));
    l->super = (struct disk_reply){
        .job = { .bytes = sizeof(*l) }, .find = on_find, .answer = on_answer, .free = on_free
    };
    l->traces = routes->observatory->trace_buffer;
    return l;
}

void handle_traces(struct routes *routes, h2o_req_t *req)
{
    struct api_error error;
    struct query_param limit = { .name = "limit" };
    int64_t count = 0;
    size_t from = req->query_at != SIZE_MAX ? req->query_at + 1 : req->path.len;
    if (!query_parse(req->path.base + from, req->path.len - from, &limit, 1, &error) ||
        !query_number(&limit, 1, LIMIT_MAX, LIMIT_DEFAULT, &count, &error)) {
        reqctx_refuse(req, &error);
        return;
    }
    struct lookup *l = lookup_new(routes);
    l->limit = (size_t)count;
    disk_reply_start(routes->observatory->disk, req, &l->super);
}

void handle_trace(struct routes *routes, h2o_req_t *req)
{
    struct api_error error;
    size_t from = strlen("/internal/traces/");
    const char *id = req->path_normalized.base + from;
    size_t len = req->path_normalized.len - from;
    if (!trace_id_ok(id, len)) { /* only what is one becomes part of a path */
        api_error_bad(&error, "invalid_value", "req_id",
                      "Invalid request id: expected 'req_' and 24 letters and digits.");
        reqctx_refuse(req, &error);
        return;
    }
    struct lookup *l = lookup_new(routes);
    memcpy(l->req_id, id, len);
    disk_reply_start(routes->observatory->disk, req, &l->super);
}
