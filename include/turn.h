/* Turns: runs of the model on the worker, from a plan to an end.
 *
 * A turn starts a thread of its own, injects the history, starts the model and reports what comes to its
 * owner. It outlives its owner: one that is detached is interrupted, and the thread is always given back.
 *
 * At an end the owner may have the thread kept for whoever carries on from there: parked, when the model waits for the
 * results of its function calls, or idle, when it has answered. Kept ones are found by a digest of all that the
 * thread has seen, and are bounded in number and time. */
#ifndef TURN_H
#define TURN_H

#include "json.h"
#include "output.h"
#include "thread_table.h"

#include <stdbool.h>
#include <stdint.h>

struct deadlines;
struct rpc;
struct rpc_message;
struct trace;
struct turn;
struct turns;

/* What the worker is asked, as JSON of the app-server protocol. */
struct turn_plan {
    json_t *thread; /* owned: params of thread/start */
    json_t *items;  /* owned: items of thread/inject_items */
    json_t *start;  /* owned: params of turn/start, without threadId */
};

void turn_plan_free(struct turn_plan *plan);

enum turn_outcome {
    TURN_COMPLETED,
    TURN_CALLS,       /* the model waits for the results of the calls in `calls` */
    TURN_FAILED,      /* the worker says why in `kind`, `http_status` and `message` */
    TURN_INTERRUPTED, /* by somebody else than us */
    TURN_TIMED_OUT,   /* the worker did not answer a call */
    TURN_UNANSWERED,  /* the model has shown no sign by the deadline for the first */
    TURN_SILENT,      /* it has, but none for as long as it may be silent */
    TURN_TOO_LONG,    /* no end by the deadline of the whole turn */
    TURN_LOST         /* the worker went away */
};

/* How a turn ended; strings are borrowed for the callback. */
struct turn_end {
    enum turn_outcome outcome;
    const char *kind;    /* codexErrorInfo of the worker ("usageLimitExceeded"), or NULL */
    int http_status;     /* of the upstream, when the worker knows it, else 0 */
    const char *message; /* free text that may quote the upstream: never log it; NULL if none */
    struct turn_usage usage;
    const struct output_call *calls; /* of TURN_CALLS, all of the response, in the model's order */
    size_t call_count;
    struct turn *turn; /* for turn_keep; only until on_end returns */
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
    uint64_t turn_timeout_ms;        /* of a whole turn */
    uint64_t first_event_timeout_ms; /* from turn/start to the first sign of the model */
    uint64_t silence_timeout_ms;     /* between two signs of it */
    uint64_t park_ttl_ms;
    size_t parked_max; /* the oldest gives way */
    uint64_t idle_ttl_ms;
    enum output_commentary commentary;
    size_t idle_max; /* the one unused longest gives way */
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
bool turns_notification(struct turns *turns, const struct rpc_message *note);

/* Takes a request of the worker. False when it is none of a turn's function calls. */
bool turns_request(struct turns *turns, const struct rpc_message *request);

/* Turns that occupy the worker now; kept ones do not. */
size_t turns_active(const struct turns *turns);

/* Turns that wait for the results of their calls. */
size_t turns_parked(const struct turns *turns);

/* All of which the worker still holds something. */
size_t turns_count(const struct turns *turns);

/* Runs of the model since turns_new. */
uint64_t turns_begun(const struct turns *turns);

/* Gives back every kept thread, and keeps none from now on: whoever carries on has the history replayed. */
void turns_drop_kept(struct turns *turns);

/* Starts a turn and takes the plan's JSON in any case. Returns NULL when no worker is ready. The result is
 * linked: it stays valid until on_end or turn_detach. What happens is recorded in `trace`, which may be NULL, until somebody
 * else carries on with the thread, or the trace is closed. */
CHECK_RESULT struct turn *turn_begin(struct turns *turns, struct turn_plan *plan,
                                     const struct turn_events *events, void *owner,
                                     struct trace *trace);

#define TURN_DIGEST_BYTES THREAD_DIGEST_BYTES

/* Within on_end of TURN_COMPLETED or TURN_CALLS: the thread is kept for the one who finds it by this digest. */
void turn_keep(struct turn *turn, const unsigned char digest[TURN_DIGEST_BYTES]);

/* The kept turn of that digest, linked until the next call into this module; or NULL. */
struct turn *turns_find(struct turns *turns, const unsigned char digest[TURN_DIGEST_BYTES]);

/* The result of one function call. */
struct turn_result {
    const char *call_id; /* borrowed */
    json_t *content;     /* owned: contentItems of the answer */
};

/* Whether the turn is parked and these are exactly the results that it waits for. */
bool turn_waits_for(const struct turn *turn, const struct turn_result *results, size_t count);

/* Gives a parked turn its results, of which turn_waits_for must be true, and a new owner. Takes the contents. The model
 * goes on; the result is linked as that of turn_begin. */
struct turn *turn_resume(struct turn *turn, struct turn_result *results, size_t count,
                         const struct turn_events *events, void *owner, struct trace *trace);

/* Whether the turn is an idle thread, to be used by turn_again. */
bool turn_is_idle(const struct turn *turn);

/* Runs the model once more on an idle thread: plan->items are the new ones only, plan->thread is not used. Takes the plan. The
 * result is linked as that of turn_begin. */
struct turn *turn_again(struct turn *turn, struct turn_plan *plan, const struct turn_events *events,
                        void *owner, struct trace *trace);

/* The owner leaves: no event comes any more, the model is interrupted. Safe on NULL. */
void turn_detach(struct turn *turn);

#endif
