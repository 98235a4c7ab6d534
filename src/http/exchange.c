/* One chat completion on one HTTP request. */
#include "exchange.h"

#include "admission.h"
#include "chat.h"
#include "chat_request.h"
#include "conversation.h"
#include "deadline.h"
#include "log.h"
#include "mem.h"
#include "metrics.h"
#include "reply.h"
#include "reqctx.h"
#include "stopwatch.h"
#include "stream_meter.h"
#include "trace.h"
#include "watch.h"
#include "worker.h"

#include <assert.h>
#include <h2o.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <uv.h>

#define PIECE_MAX_BYTES                                                                            \
    65536 /* of one write: a client that takes less than that for too long is cut off */

struct exchanges {
    struct exchange_options options;
    LIST_HEAD(, exchange) list; /* linked: each lives in its request's pool */
    size_t count;
};

struct exchange {
    h2o_generator_t super; /* first member: h2o hands this pointer back */
    struct exchanges *all; /* borrowed; NULL once released */
    LIST_ENTRY(exchange) link;
    h2o_req_t *req;    /* borrowed: outlives us, as we lie in its pool */
    struct reqctx *rc; /* borrowed */
    struct chat *chat; /* owned; NULL once the client left */
    struct ticket ticket;
    uint64_t waits_since_ns; /* monotonic: for its turn */
    struct watch *watch;     /* owned; frees itself in its close callback */
    struct buf sending;      /* owned: in flight, must stay put until h2o asks for more */
    size_t handed;           /* bytes of it that h2o was given */
    bool ends;               /* nothing comes after it */
    uint64_t writes;
    struct deadline keepalive;
    struct deadline stall;
    struct stream_meter meter;
    bool stream;
    bool started;  /* the head is on its way: the status can change no more */
    bool inflight; /* h2o has a write of ours */
    bool
        done; /* the last h2o_send was called, or another answer took our place, or nobody is left */
    bool abandoned; /* done without a last h2o_send */
};

struct exchanges *exchanges_new(const struct exchange_options *options)
{
    struct exchanges *all = xcalloc(1, sizeof(*all));
    all->options = *options;
    return all;
}

void exchanges_configure(struct exchanges *all, const struct exchange_options *options)
{
    all->options = *options;
}

void exchanges_free(struct exchanges *all)
{
    assert(all == NULL || LIST_EMPTY(&all->list));
    free(all);
}

size_t exchanges_count(const struct exchanges *all)
{
    return all->count;
}

size_t exchanges_streaming(const struct exchanges *all)
{
    const struct exchange *x = NULL;
    size_t count = 0;
    LIST_FOREACH(x, &all->list, link)
    {
        count += x->stream;
    }
    return count;
}

/* Lets go of all but the memory, which goes with the request's pool. Called by h2o when it stops us, and when the pool is
 * cleared. */
static void release(struct exchange *x)
{
    struct exchanges *all = x->all;
    if (all == NULL)
        return;
    x->all = NULL;
    x->done = true;
    stream_meter_end(&x->meter, x->rc->model, x->rc->outcome, x->rc->error_code);
    LIST_REMOVE(x, link);
    all->count--;
    deadline_clear(all->options.deadlines, &x->keepalive);
    deadline_clear(all->options.deadlines, &x->stall);
    admission_leave(&x->ticket);
    chat_free(x->chat);
    x->chat = NULL;
    watch_free(x->watch);
    buf_free(&x->sending);
}

static void on_dispose(void *memory)
{
    release(memory);
}

/* What was used is used, also when nobody hears of it. */
static void note_usage(struct exchange *x)
{
    if (x->chat != NULL)
        x->rc->usage = *chat_usage(x->chat);
}

/* The connection failed under a write of ours. */
static void on_stop(h2o_generator_t *self, h2o_req_t *req)
{
    (void)req;
    struct exchange *x = (struct exchange *)(void *)self;
    note_usage(x);
    if (x->rc->outcome == NULL)
        x->rc->outcome = "client_gone";
    trace_http(x->rc->trace, "write_failed", LOG_ID("outcome", x->rc->outcome));
    release(x);
}

/* ---- the client's side goes wrong ---- */

/* Ends a request that h2o has no write of ours for: nothing else would, as h2o does not read the connection. May free x. */
static void give_up(struct exchange *x)
{
    if (!x->started) {
        x->req->res.status = 499;
        x->req->res.reason = "Client Closed Request";
        h2o_start_response(x->req, &x->super);
        x->rc->first_byte_ns = 0; /* for nobody */
    }
    h2o_send(x->req, NULL, 0, H2O_SEND_STATE_ERROR);
}

/* The client is gone, or is to go. A write in flight ends it: it fails, and h2o calls on_stop; or it has just succeeded, and
 * h2o calls on_proceed. May free x. */
static void abandon(struct exchange *x, const char *why)
{
    watch_cut(x->watch);
    if (x->done || x->all == NULL)
        return; /* the last write is under way, and finds the connection broken by itself */
    x->done = true;
    x->abandoned = true;
    x->rc->outcome = why;
    note_usage(x);
    admission_leave(&x->ticket);
    chat_free(x->chat);
    x->chat = NULL;
    deadline_clear(x->all->options.deadlines, &x->keepalive);
    if (!x->inflight)
        give_up(x);
}

static void on_client_left(void *ctx)
{
    struct exchange *x = ctx;
    trace_http(x->rc->trace, "client_gone", LOG_BOOL("head_sent", x->started));
    abandon(x, "client_gone");
}

/* The client is there but takes nothing. */
static void cut_off(struct exchange *x, const char *why)
{
    log_warn("http", "client_cut_off", LOG_ID("request_id", x->rc->id), LOG_ID("reason", why));
    trace_http(x->rc->trace, "cut_off", LOG_ID("reason", why));
    x->rc->outcome = why; /* also when the last write is the one that hangs */
    watch_reset(x->watch);
    abandon(x, why);
}

static void on_stall(struct deadline *d)
{
    cut_off(deadline_owner(d, struct exchange, stall), "write_stall");
}

/* ---- to the client ---- */

static void start_response(struct exchange *x)
{
    h2o_req_t *req = x->req;
    x->started = true;
    req->res.status = 200;
    req->res.reason = "OK";
    if (x->stream) {
        reply_header(req, "content-type", "text/event-stream; charset=utf-8");
        reply_header(req, "cache-control", "no-cache");
        reply_header(req, "x-accel-buffering", "no");
        if (req->version < 0x101) /* no chunks in 1.0: only the close tells the end */
            req->http1_is_persistent = 0;
    } else {
        reply_header(req, "content-type", "application/json");
        req->res.content_length = x->sending.len;
    }
    h2o_start_response(req, &x->super);
}

static void note_result(struct exchange *x)
{
    const struct api_error *error = chat_error(x->chat);
    const char *finish = chat_finish_reason(x->chat);
    x->rc->usage = *chat_usage(x->chat);
    x->rc->tool_calls = (unsigned)chat_tool_calls(x->chat);
    x->rc->outcome = error->status != 0 ? "error" : finish;
    reqctx_note_error(x->rc, error);
}

static void answer_error(struct exchange *x)
{
    const struct api_error error = *chat_error(x->chat);
    note_result(x);
    x->done = true;
    deadline_clear(x->all->options.deadlines, &x->keepalive);
    reply_error(x->req, &error);
}

static void on_keepalive(struct deadline *d);

static void arm_keepalive(struct exchange *x)
{
    const struct exchange_options *o = &x->all->options;
    if (x->stream && o->keepalive_ms != 0)
        deadline_set(o->deadlines, &x->keepalive, o->keepalive_ms, on_keepalive);
}

/* What was done since the stopwatch was started was done for this one. */
static void note_work(struct exchange *x)
{
    x->rc->busy_ns += stopwatch_lap_ns();
}

/* More to send, or the end. */
static bool refill(struct exchange *x)
{
    buf_clear(&x->sending);
    x->handed = 0;
    chat_pull(x->chat, &x->sending);
    x->ends = chat_state(x->chat) == CHAT_ENDED;
    return x->sending.len != 0 || x->ends; /* an empty send in progress would spin in h2o */
}

/* The next piece for h2o. A client that has taken one is not stalled, however much is left. */
static h2o_iovec_t next_piece(struct exchange *x)
{
    size_t len = x->sending.len - x->handed;
    if (len > PIECE_MAX_BYTES)
        len = PIECE_MAX_BYTES;
    h2o_iovec_t piece = h2o_iovec_init(x->sending.data + x->handed, len);
    x->handed += len;
    return piece;
}

/* Of the writes only the first and the last are told. */
static void note_write(struct exchange *x, size_t len, bool last)
{
    x->writes++;
    if (x->writes == 1)
        trace_http(x->rc->trace, "first_write", LOG_INT("bytes", len));
    if (last)
        trace_http(x->rc->trace, "last_write", LOG_INT("bytes", len), LOG_INT("writes", x->writes));
}

/* The only caller of h2o_send while all is well. May free x: nothing follows the call. */
static void flush(struct exchange *x)
{
    if (x->done || x->inflight || chat_state(x->chat) <= CHAT_LOST)
        return;
    if (chat_state(x->chat) == CHAT_FAILED) {
        answer_error(x);
        return;
    }
    if (x->handed == x->sending.len && !refill(x))
        return;
    if (!x->started)
        start_response(x);
    h2o_iovec_t piece = next_piece(x);
    if (x->stream)
        stream_meter_write(&x->meter, x->rc->started_ns, x->rc->model);
    note_work(x);
    bool last = x->ends && x->handed == x->sending.len;
    note_write(x, piece.len, last);
    x->inflight = true;
    deadline_set(x->all->options.deadlines, &x->stall, x->all->options.write_stall_ms, on_stall);
    if (last) {
        note_result(x);
        x->done = true;
        deadline_clear(x->all->options.deadlines, &x->keepalive);
    } else {
        arm_keepalive(x);
    }
    h2o_send(x->req, &piece, piece.len != 0,
             last ? H2O_SEND_STATE_FINAL : H2O_SEND_STATE_IN_PROGRESS);
}

static void on_proceed(h2o_generator_t *self, h2o_req_t *req)
{
    (void)req;
    struct exchange *x = (struct exchange *)(void *)self;
    stopwatch_start();
    x->inflight = false;
    deadline_clear(x->all->options.deadlines, &x->stall);
    if (x->abandoned)
        give_up(x);
    else
        flush(x);
}

static void on_keepalive(struct deadline *d)
{
    struct exchange *x = deadline_owner(d, struct exchange, keepalive);
    arm_keepalive(x);
    chat_keepalive(x->chat);
}

/* Its worker died before the client had a byte: it waits for the next one, before all who came later. */
static void run_again(struct exchange *x)
{
    log_info("http", "run_again", LOG_ID("request_id", x->rc->id));
    x->rc->runs++;
    trace_stage(x->rc->trace, "run_again", LOG_INT("runs_again", x->rc->runs));
    metric_count(M_RUNS_AGAIN, 1);
    deadline_clear(x->all->options.deadlines, &x->keepalive);
    x->waits_since_ns = uv_hrtime();
    admission_return(&x->ticket);
}

static void on_chat_output(void *ctx)
{
    struct exchange *x = ctx;
    if (chat_state(x->chat) == CHAT_LOST) {
        run_again(x);
        return;
    }
    note_work(x); /* before others are let in, who take their own time */
    if (chat_state(x->chat) >= CHAT_ENDED)
        admission_leave(&x->ticket); /* however long the client takes to read the rest */
    if (x->inflight && x->stream && !x->done &&
        chat_pending(x->chat) > x->all->options.pending_max_bytes) {
        cut_off(x, "slow_client");
        return;
    }
    flush(x);
}

/* ---- admission ---- */

static void refuse(struct exchange *x, const struct api_error *error)
{
    x->done = true;
    reqctx_note_error(x->rc, error);
    trace_stage(x->rc->trace, "refused", LOG_ID("error_code", error->code));
    admission_leave(&x->ticket);
    reply_error(x->req, error);
}

static void no_worker(const struct exchange *x, struct api_error *ret)
{
    api_error_set(ret, 503, "server_error", "worker_not_ready", NULL, "The worker is not ready.");
    ret->retry_after_s = admission_retry_after_s(x->all->options.admission);
}

static void refuse_no_worker(struct exchange *x)
{
    struct api_error error;
    no_worker(x, &error);
    refuse(x, &error);
}

static void no_room(const struct exchange *x, struct api_error *ret)
{
    if (!admission_is_open(x->all->options.admission)) {
        no_worker(x, ret);
        return;
    }
    api_error_set(ret, 429, "requests", "proxy_queue_full", NULL,
                  "This endpoint is busy: all of its turns are taken, and no more requests may "
                  "wait for one.");
    ret->retry_after_s = admission_retry_after_s(x->all->options.admission);
}

static void refuse_full(struct exchange *x)
{
    struct api_error error;
    no_room(x, &error);
    refuse(x, &error);
}

static void refuse_too_big(struct exchange *x)
{
    struct api_error error;
    api_error_bad(&error, "invalid_value", "n",
                  "Invalid 'n': more choices than this endpoint runs turns at once.");
    refuse(x, &error);
}

/* A worker that does not read is given no more to read: what waits for it is in our memory. */
static bool refused_as_congested(struct exchange *x)
{
    struct api_error error;
    if (!worker_congested(x->all->options.worker))
        return false;
    api_error_set(&error, 503, "server_error", "worker_congested", NULL,
                  "The worker is too slow in taking requests.");
    error.retry_after_s = 1;
    refuse(x, &error);
    return true;
}

/* It has waited for its turn, or for the end of its patience; what is run again, more than once. */
static void note_wait(struct exchange *x)
{
    uint64_t waited_ns = uv_hrtime() - x->waits_since_ns;
    x->rc->queue_ms += (int64_t)(waited_ns / 1000000);
    metric_observe(M_QUEUE_WAIT, (double)waited_ns / 1e6);
}

static void begin(struct exchange *x)
{
    note_wait(x);
    trace_stage(x->rc->trace, "admitted", LOG_INT("queue_ms", x->rc->queue_ms));
    if (refused_as_congested(x))
        return;
    if (!chat_begin(x->chat, worker_turns(x->all->options.worker))) {
        refuse_no_worker(x);
        return;
    }
    x->rc->admitted = true;
    arm_keepalive(x);
    note_work(x);
}

static void on_admitted(struct ticket *ticket)
{
    stopwatch_start();
    begin(ticket_owner(ticket, struct exchange, ticket));
}

/* By the chat, for a stream that has begun is told in a frame. */
static void on_expired(struct ticket *ticket)
{
    struct exchange *x = ticket_owner(ticket, struct exchange, ticket);
    struct api_error error;
    note_wait(x);
    trace_stage(x->rc->trace, "queue_expired", LOG_INT("queue_ms", x->rc->queue_ms));
    api_error_set(&error, 503, "server_error", "queue_timeout", NULL,
                  "No turn became free in the time that a request may wait for one.");
    error.retry_after_s = admission_retry_after_s(x->all->options.admission);
    chat_abort(x->chat, &error);
}

static void on_displaced(struct ticket *ticket)
{
    struct exchange *x = ticket_owner(ticket, struct exchange, ticket);
    struct api_error error;
    note_wait(x);
    trace_stage(x->rc->trace, "queue_displaced", LOG_INT("queue_ms", x->rc->queue_ms));
    no_room(x, &error);
    chat_abort(x->chat, &error);
}

static const struct ticket_events ticket_events = { on_admitted, on_expired, on_displaced };

/* ---- public ---- */

static struct exchange *exchange_new(struct exchanges *all, h2o_req_t *req,
                                     const struct chat_options *chat, const char *principal)
{
    struct exchange *x = h2o_mem_alloc_shared(&req->pool, sizeof(*x), on_dispose);
    *x = (struct exchange){ .super = { .proceed = on_proceed, .stop = on_stop },
                            .all = all,
                            .req = req,
                            .rc = reqctx_of(req),
                            .waits_since_ns = reqctx_of(req)->started_ns,
                            .ticket = { .events = &ticket_events,
                                        .principal = principal,
                                        .weight = chat->request->choices },
                            .stream = chat->request->stream };
    LIST_INSERT_HEAD(&all->list, x, link);
    all->count++;
    x->chat = chat_new(chat, on_chat_output, x);
    return x;
}

void exchange_run(struct exchanges *all, h2o_req_t *req, const struct chat_options *chat,
                  const char *principal, struct turn_plan *plan, struct conversation *conversation)
{
    struct exchange *x = exchange_new(all, req, chat, principal);
    chat_set_plan(x->chat, plan, conversation);
    x->watch = watch_new(req, on_client_left, x);
    if (x->watch == NULL) { /* out of descriptors: nobody could end this one */
        struct api_error error;
        api_error_set(&error, 503, "server_error", "server_overloaded", NULL,
                      "The server is out of resources.");
        error.retry_after_s = 1;
        refuse(x, &error);
        return;
    }
    if (refused_as_congested(x))
        return;
    note_work(x);
    switch (admission_enter(all->options.admission, &x->ticket)) {
    case ADMISSION_RUNS:
        begin(x);
        break;
    case ADMISSION_WAITS:
        trace_stage(x->rc->trace, "queued",
                    LOG_INT("waiting", admission_waiting(all->options.admission)));
        break;
    case ADMISSION_FULL:
        refuse_full(x);
        break;
    case ADMISSION_TOO_BIG:
        refuse_too_big(x);
        break;
    }
}

/* Ending an exchange may release it, so the list is read anew after each. */
void exchanges_end_all(struct exchanges *all)
{
    struct api_error error;
    api_error_set(&error, 503, "server_error", "shutting_down", NULL,
                  "The server is shutting down.");
    error.retry_after_s = 1;
    struct exchange *x = LIST_FIRST(&all->list);
    while (x != NULL) {
        bool open = !x->done && chat_state(x->chat) < CHAT_ENDED;
        if (open)
            chat_abort(x->chat, &error);
        x = open ? LIST_FIRST(&all->list) : LIST_NEXT(x, link);
    }
}
