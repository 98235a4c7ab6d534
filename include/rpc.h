/* JSON-RPC as the app-server speaks it: newline-delimited, without the `jsonrpc` member.
 *
 * One struct rpc serves one incarnation of the worker. It is handed lines and writes through a function, so it
 * knows no process. */
#ifndef RPC_H
#define RPC_H

#include "json.h"

#include <stdbool.h>
#include <stdint.h>

struct deadlines;
struct rpc;
struct trace;

enum rpc_status {
    RPC_OK,      /* result is set */
    RPC_ERROR,   /* the worker answered with an error: code and message are set */
    RPC_TIMEOUT, /* no answer by the deadline */
    RPC_LOST,    /* the worker is gone, or could not be written to */
};

/* Everything is borrowed for the callback. */
struct rpc_reply {
    enum rpc_status status;
    const json_t *result;
    int64_t code;
    const char *message; /* may quote the upstream: never log it */
    size_t bytes;        /* of the line of the answer with its newline; 0: there was none */
};

/* A notification or a request of the worker. Everything is borrowed for the callback. */
struct rpc_message {
    const char *method;
    const json_t *params; /* NULL: none */
    const json_t *id;     /* of a request; NULL: it is a notification */
    size_t bytes;         /* of the line with its newline */
};

/* Called exactly once for each call that was not cancelled, never from within rpc_call. */
typedef void (*rpc_reply_fn)(void *ctx, const struct rpc_reply *reply);

struct rpc_handlers {
    /* Takes `bytes` (malloc'ed, a whole line) in any case; false: it cannot be sent. */
    bool (*write)(void *ctx, char *bytes, size_t len);
    void (*on_notification)(void *ctx, const struct rpc_message *note);
    /* It must be answered with rpc_answer or rpc_refuse. */
    void (*on_request)(void *ctx, const struct rpc_message *request);
};

/* `first_id` (at least 1) starts the ids of calls; an id must never be used again by a later incarnation. The caller owns the
 * result. `handlers` must outlive it. */
struct rpc *rpc_new(struct deadlines *deadlines, uint64_t first_id,
                    const struct rpc_handlers *handlers, void *ctx);

/* Fails every call with RPC_LOST, in the order in which they were made, and frees. Safe on NULL. New calls made
 * from those callbacks must go elsewhere. */
void rpc_free(struct rpc *rpc);

/* Sends a request; takes the reference to `params` (NULL: none). An overloaded worker (error -32001) is asked again up to
 * three times within two seconds, inside the timeout. Each try and what came of it are recorded in `trace`, which may be NULL. */
void rpc_call(struct rpc *rpc, const char *method, json_t *params, uint64_t timeout_ms,
              rpc_reply_fn fn, void *ctx, struct trace *trace);

/* Forgets all calls made with `ctx`: their replies are dropped when they come. */
void rpc_cancel(struct rpc *rpc, const void *ctx);

void rpc_notify(struct rpc *rpc, const char *method);

/* Answers a request of the worker; takes the reference to `result`. Returns the bytes of the line, 0 when it could not be written. */
size_t rpc_answer(struct rpc *rpc, const json_t *id, json_t *result);
void rpc_refuse(struct rpc *rpc, const json_t *id, const char *message);

/* Takes one line of the worker. False when it is no JSON-RPC message; the stream is still in step. The
 * handlers that it calls may rpc_free(rpc). */
bool rpc_receive(struct rpc *rpc, const char *line, size_t len);

#endif
