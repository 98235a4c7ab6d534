/* An answer that is made of files. */
#include "disk_reply.h"

#include "api_error.h"
#include "reqctx.h"
#include "watch.h"

#include <h2o.h>

/* The request's side: it lies in the request's pool, the other side on the heap. Either may be gone first; each then nulls the
 * pointer of the other. */
struct disk_visit {
    h2o_generator_t super; /* first member: h2o hands this pointer back */
    h2o_req_t *req;        /* borrowed: outlives us, as we lie in its pool */
    struct disk_reply *r;  /* linked; NULL once it is answered, or the client has left */
    struct watch *watch;   /* owned; frees itself in its close callback */
};

static size_t replies; /* under way, those that nobody waits for included */

/* Parts the two; safe to repeat. */
static void part(struct disk_visit *v)
{
    if (v->r != NULL)
        v->r->visit = NULL;
    v->r = NULL;
    watch_free(v->watch);
    v->watch = NULL;
}

static void on_dispose(void *memory)
{
    part(memory);
}

static void on_stop(h2o_generator_t *self, h2o_req_t *req)
{
    (void)req;
    part((struct disk_visit *)(void *)self);
}

/* The client has left, or a stop has cut it off. h2o does not read the connection, so nothing else would end the request: however
 * long the disk takes, it ends here. */
static void on_left(void *ctx)
{
    struct disk_visit *v = ctx;
    h2o_req_t *req = v->req;
    watch_cut(v->watch);
    part(v);
    reqctx_of(req)->outcome = "client_gone";
    req->res.status = 499;
    req->res.reason = "Client Closed Request";
    h2o_start_response(req, &v->super);
    h2o_send(req, NULL, 0, H2O_SEND_STATE_ERROR); /* may free v */
}

static void on_run(struct disk_job *job)
{
    struct disk_reply *r = (struct disk_reply *)(void *)job;
    r->find(r);
}

static void on_done(struct disk_job *job)
{
    struct disk_reply *r = (struct disk_reply *)(void *)job;
    replies--;
    if (r->visit != NULL) {
        h2o_req_t *req = r->visit->req;
        part(r->visit);
        r->answer(r, req); /* may free the visit */
    }
    r->free(r);
}

static void refuse(h2o_req_t *req, struct disk_reply *r)
{
    struct api_error error;
    r->free(r);
    api_error_set(&error, 503, "server_error", "server_overloaded", NULL,
                  "Too much is being read from or written to the disk; please try again.");
    error.retry_after_s = 1;
    reqctx_refuse(req, &error);
}

void disk_reply_start(struct disk *disk, h2o_req_t *req, struct disk_reply *r)
{
    r->job.run = on_run;
    r->job.done = on_done;
    r->visit = NULL;
    if (replies >= DISK_REPLIES_MAX) {
        refuse(req, r);
        return;
    }
    struct disk_visit *v = h2o_mem_alloc_shared(&req->pool, sizeof(*v), on_dispose);
    *v = (struct disk_visit){ .super = { .stop = on_stop }, .req = req };
    v->watch = watch_new(req, on_left, v);
    if (v->watch == NULL || !disk_submit(disk, &r->job)) {
        part(v);
        refuse(req, r);
        return;
    }
    replies++;
    v->r = r;
    r->visit = v;
}
