/* Turns: one run of the model on the worker, from a plan to its end.
 *
 * A turn starts a thread of its own, injects the history, starts the model and reports what comes to its
 * owner. It outlives its owner: one that is detached is interrupted, and the thread is always given back. */
#ifndef TURN_H
#define TURN_H

#include "json.h"

#include <stdbool.h>
#include <stdint.h>

struct deadlines;
struct rpc;
struct turn;
struct turns;

/* What the worker is asked, as JSON of the app-server protocol. */
struct turn_plan {
    json_t *thread; /* owned: params of thread/start */
    json_t *items;  /* owned: items of thread/inject_items */
    json_t *start;  /* owned: params of turn/start, without threadId */
};

void turn_plan_free(struct turn_plan *plan);

/* Token counts of one turn as the upstream reported them; cached and cache_write are part of input, reasoning
 * is part of output. */
struct turn_usage {
    int64_t input;
    int64_t cached;
    int64_t cache_write;
    int64_t output;
    int64_t reasoning;
    int64_t total;
};

enum turn_outcome {
    TURN_COMPLETED,
    TURN_FAILED,      /* the worker says why in `kind`, `http_status` and `message` */
    TURN_INTERRUPTED, /* by somebody else than us */
    TURN_TIMED_OUT,   /* no answer of the worker, or no end, by the deadline */
    TURN_LOST         /* the worker went away */
};

/* How a turn ended; strings are borrowed for the callback. */
struct turn_end {
    enum turn_outcome outcome;
    const char *kind;    /* codexErrorInfo of the worker ("usageLimitExceeded"), or NULL */
    int http_status;     /* of the upstream, when the worker knows it, else 0 */
    const char *message; /* free text that may quote the upstream: never log it; NULL if none */
    struct turn_usage usage;
};

/* Text and reasoning are valid UTF-8, borrowed for the callback, in order, and together the exact bytes that the
 * model produced. on_end comes exactly once and last, with the turn already detached. A callback may
 * call turn_detach. */
struct turn_events {
    void (*on_text)(void *owner, const char *text, size_t len);
    void (*on_reasoning)(void *owner, const char *text, size_t len);
    void (*on_end)(void *owner, const struct turn_end *end);
};

struct turns_options {
    uint64_t rpc_timeout_ms;
    uint64_t turn_timeout_ms;
};

/* The table of all turns. The caller owns the result; `deadlines` must outlive it. */
struct turns *turns_new(struct deadlines *deadlines, const struct turns_options *options);

/* Ends what still runs as TURN_LOST. Safe on NULL. */
void turns_free(struct turns *turns);

/* A worker is ready and takes turns through `rpc` (borrowed until turns_worker_gone). */
void turns_worker_ready(struct turns *turns, struct rpc *rpc);

/* The worker is gone: every turn ends as TURN_LOST before this returns. */
void turns_worker_gone(struct turns *turns);

/* Takes a notification of the worker. False when it is none of a turn's. */
bool turns_notification(struct turns *turns, const char *method, const json_t *params);

/* Turns that occupy the worker now. */
size_t turns_active(const struct turns *turns);

/* Starts a turn and takes the plan's JSON in any case. Returns NULL when no worker is ready. The result is
 * linked: it stays valid until on_end or turn_detach. */
CHECK_RESULT struct turn *turn_begin(struct turns *turns, struct turn_plan *plan,
                                     const struct turn_events *events, void *owner);

/* The owner leaves: no event comes any more, the model is interrupted. Safe on NULL. */
void turn_detach(struct turn *turn);

#endif
