/* JSON-RPC as the app-server speaks it. */
#include "rpc.h"

#include "deadline.h"
#include "log.h"
#include "trace.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define METHOD_NOT_FOUND (-32601)
#define OVERLOADED (-32001) /* the worker's queue is full: the same call may work a moment later */
#define OVERLOAD_RETRIES_MAX                                                                       \
    3 /* pauses of 100, 200 and 400 ms, up to twice as long: all inside 2 s */
#define OVERLOAD_PAUSE_MS 100

/* A call whose answer has not come. */
struct call {
    TAILQ_ENTRY(call) link;
    struct rpc *rpc; /* borrowed */
    struct deadline deadline;
    uint64_t id;
    bool unsent;            /* could not be written: fails at its deadline, which is now */
    bool pausing;           /* refused by an overloaded worker: sent again at its deadline */
    unsigned retries;       /* for that reason */
    uint64_t expires_at_ms; /* loop time */
    json_t *message;        /* owned: as it was sent */
    rpc_reply_fn fn;
    void *ctx;           /* borrowed */
    struct trace *trace; /* counted; NULL: it is not recorded */
};

struct rpc {
    struct deadlines *deadlines;         /* borrowed */
    const struct rpc_handlers *handlers; /* borrowed */
    void *ctx;                           /* borrowed */
    uint64_t next_id;
    TAILQ_HEAD(, call) calls; /* owned, oldest first */
};

struct rpc *rpc_new(struct deadlines *deadlines, uint64_t first_id,
                    const struct rpc_handlers *handlers, void *ctx)
{
    struct rpc *rpc = xcalloc(1, sizeof(*rpc));
    rpc->deadlines = deadlines;
    rpc->handlers = handlers;
    rpc->ctx = ctx;
    rpc->next_id = first_id;
    TAILQ_INIT(&rpc->calls);
    return rpc;
}

static void unlink_call(struct call *call)
{
    struct rpc *rpc = call->rpc;
    TAILQ_REMOVE(&rpc->calls, call, link);
    deadline_clear(rpc->deadlines, &call->deadline);
}

static void free_call(struct call *call)
{
    unlink_call(call);
    json_decref(call->message);
    trace_unref(call->trace);
    free(call);
}

static void record_request(const struct call *call, size_t bytes)
{
    if (call->trace == NULL)
        return;
    const struct trace_message message = { .type = TRACE_RPC_REQUEST,
                                           .method = json_str_at(call->message, "method"),
                                           .id = json_object_get(call->message, "id"),
                                           .content = json_object_get(call->message, "params"),
                                           .bytes = bytes };
    trace_rpc(call->trace, &message);
}

/* `content` is the result, or the error. */
static void record_reply(const struct call *call, const struct rpc_reply *reply,
                         const json_t *content)
{
    static const char *const names[] = {
        [RPC_OK] = "ok", [RPC_ERROR] = "error", [RPC_TIMEOUT] = "timeout", [RPC_LOST] = "lost"
    };
    if (call->trace == NULL)
        return;
    const struct trace_message message = { .type = TRACE_RPC_RESPONSE,
                                           .method = json_str_at(call->message, "method"),
                                           .id = json_object_get(call->message, "id"),
                                           .content = content,
                                           .bytes = reply->bytes,
                                           .status = names[reply->status],
                                           .code = reply->code };
    trace_rpc(call->trace, &message);
}

static void finish(struct call *call, const struct rpc_reply *reply, const json_t *content)
{
    rpc_reply_fn fn = call->fn;
    void *ctx = call->ctx;
    record_reply(call, reply, content);
    free_call(call);
    fn(ctx, reply);
}

/* Sends the message. Returns its bytes, 0 when it cannot be written. */
static size_t send_message(struct rpc *rpc, const json_t *message)
{
    struct buf line = BUF_INIT;
    json_write(&line, message);
    buf_putc(&line, '\n');
    size_t len = line.len;
    return rpc->handlers->write(rpc->ctx, buf_detach(&line), len) ? len : 0;
}

static void on_call_deadline(struct deadline *d);

/* Under an id of its own each time: an answer to an earlier try is of no interest any more. */
static void send_call(struct call *call)
{
    struct rpc *rpc = call->rpc;
    uint64_t now_ms = deadlines_now_ms(rpc->deadlines);
    call->id = rpc->next_id++;
    call->pausing = false;
    json_object_set_new(call->message, "id", json_integer((json_int_t)call->id));
    size_t bytes = send_message(rpc, call->message);
    call->unsent = bytes == 0;
    record_request(call, bytes);
    uint64_t left_ms = call->expires_at_ms > now_ms ? call->expires_at_ms - now_ms : 0;
    deadline_set(rpc->deadlines, &call->deadline, call->unsent ? 0 : left_ms, on_call_deadline);
}

static void on_call_deadline(struct deadline *d)
{
    struct call *call = deadline_owner(d, struct call, deadline);
    if (call->pausing) {
        send_call(call);
        return;
    }
    struct rpc_reply reply = { .status = call->unsent ? RPC_LOST : RPC_TIMEOUT };
    finish(call, &reply, NULL);
}

/* Whether a refused call is going to be sent again. One whose deadline would pass meanwhile is not. */
static bool retry(struct call *call)
{
    struct rpc *rpc = call->rpc;
    uint32_t pause_ms = (uint32_t)OVERLOAD_PAUSE_MS << call->retries;
    pause_ms += randombytes_uniform(pause_ms);
    if (call->retries == OVERLOAD_RETRIES_MAX ||
        deadlines_now_ms(rpc->deadlines) + pause_ms >= call->expires_at_ms)
        return false;
    call->retries++;
    call->pausing = true;
    log_debug("worker", "overloaded", LOG_INT("retries", call->retries));
    deadline_set(rpc->deadlines, &call->deadline, pause_ms, on_call_deadline);
    return true;
}

void rpc_free(struct rpc *rpc)
{
    if (rpc == NULL)
        return;
    const struct rpc_reply lost = { .status = RPC_LOST };
    struct call *call = NULL;
    while ((call = TAILQ_FIRST(&rpc->calls)) != NULL)
        /* The analyzer does not see that TAILQ_REMOVE took the last one off.
         * NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
        finish(call, &lost, NULL);
    free(rpc);
}

void rpc_call(struct rpc *rpc, const char *method, json_t *params, uint64_t timeout_ms,
              rpc_reply_fn fn, void *ctx, struct trace *trace)
{
    struct call *call = xcalloc(1, sizeof(*call));
    call->trace = trace_ref(trace);
    call->rpc = rpc;
    call->fn = fn;
    call->ctx = ctx;
    call->expires_at_ms = deadlines_now_ms(rpc->deadlines) + timeout_ms;
    call->message = json_pack("{s:i, s:s}", "id", 0, "method", method);
    if (params != NULL)
        json_object_set_new(call->message, "params", params);
    TAILQ_INSERT_TAIL(&rpc->calls, call, link);
    send_call(call);
}

void rpc_cancel(struct rpc *rpc, const void *ctx)
{
    struct call *next = NULL;
    for (struct call *call = TAILQ_FIRST(&rpc->calls); call != NULL; call = next) {
        next = TAILQ_NEXT(call, link);
        if (call->ctx == ctx)
            free_call(call);
    }
}

/* Sends a message that nobody answers, and drops the reference to it. */
static size_t send_once(struct rpc *rpc, json_t *message)
{
    size_t bytes = send_message(rpc, message);
    json_decref(message);
    return bytes;
}

void rpc_notify(struct rpc *rpc, const char *method)
{
    (void)send_once(rpc, json_pack("{s:s}", "method", method));
}

size_t rpc_answer(struct rpc *rpc, const json_t *id, json_t *result)
{
    json_t *message = json_object();
    json_object_set_new(message, "id", json_deep_copy(id));
    json_object_set_new(message, "result", result);
    return send_once(rpc, message);
}

void rpc_refuse(struct rpc *rpc, const json_t *id, const char *message)
{
    json_t *answer =
        json_pack("{s:{s:i, s:s}}", "error", "code", METHOD_NOT_FOUND, "message", message);
    json_object_set_new(answer, "id", json_deep_copy(id));
    (void)send_once(rpc, answer);
}

/* Calls are answered nearly in order, so the search is short. */
static struct call *find_call(struct rpc *rpc, const json_t *id)
{
    if (!json_is_integer(id))
        return NULL;
    uint64_t wanted = (uint64_t)json_integer_value(id);
    struct call *call = NULL;
    TAILQ_FOREACH(call, &rpc->calls, link)
    {
        if (call->id == wanted && !call->pausing)
            break;
    }
    return call;
}

/* An answer to nothing is one whose call was cancelled or timed out, or an incarnation gone mad: dropped. */
static void receive_answer(struct rpc *rpc, const json_t *message, size_t bytes)
{
    struct call *call = find_call(rpc, json_object_get(message, "id"));
    if (call == NULL)
        return;
    const json_t *error = json_object_get(message, "error");
    struct rpc_reply reply = { .status = RPC_OK,
                               .result = json_object_get(message, "result"),
                               .bytes = bytes };
    if (error != NULL && !json_is_null(error)) {
        const char *text = json_str_at(error, "message");
        reply = (struct rpc_reply){ .status = RPC_ERROR,
                                    .code = json_int_at(error, "code", 0),
                                    .message = text != NULL ? text : "",
                                    .bytes = bytes };
        if (reply.code == OVERLOADED && retry(call)) {
            record_reply(call, &reply, error);
            return;
        }
    }
    finish(call, &reply, reply.status == RPC_OK ? reply.result : error);
}

bool rpc_receive(struct rpc *rpc, const char *line, size_t len)
{
    json_t *message = json_parse(line, len, NULL);
    const char *method = json_str_at(message, "method");
    const json_t *id = json_object_get(message, "id");
    const struct rpc_message said = { method, json_object_get(message, "params"), id, len + 1 };
    bool understood = json_is_object(message) && (method != NULL || id != NULL);
    if (!understood) {
        json_decref(message);
        return false;
    }
    if (method == NULL)
        receive_answer(rpc, message, len + 1);
    else if (id == NULL)
        rpc->handlers->on_notification(rpc->ctx, &said);
    else
        rpc->handlers->on_request(rpc->ctx, &said);
    json_decref(message);
    return true;
}
