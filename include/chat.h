/* One chat completion: the events of its turns in, the bytes of its answer out. Knows no HTTP.
 *
 *       lost
 *       |  ^
 *       v  |
 *     waiting -> streaming -> ended
 *        |           |
 *        +-> failed  +-> ended, with an error frame and no [DONE]
 *
 * Output is pulled: while the client's socket is busy, deltas gather and go out together as one chunk. */
#ifndef CHAT_H
#define CHAT_H

#include "api_error.h"
#include "buf.h"
#include "turn.h"

#include <stdbool.h>
#include <stdint.h>

struct chat;
struct chat_request;
struct conversation;
struct trace;
struct turn_plan;
struct turns;

enum chat_state {
    CHAT_WAITING, /* nothing may be sent yet: the HTTP status is open */
    CHAT_LOST,    /* the worker went away before anything was sent: it waits for chat_begin again */
    CHAT_STREAMING, /* a stream that has begun */
    CHAT_ENDED,     /* what is left to pull is the rest */
    CHAT_FAILED     /* before anything was sent: answer with chat_error */
};

struct chat_options {
    const struct chat_request *request; /* borrowed for chat_new */
    const char *id;                     /* "chatcmpl-..."; copied */
    const char *fingerprint;            /* system_fingerprint; copied */
    int64_t created;                    /* unix seconds */
    size_t completion_max_bytes;        /* of an answer that is collected */
    bool runs_again;                    /* once, when its worker is lost before anything was sent */
    struct trace *trace;                /* counted by the chat; NULL: it is not recorded */
};

/* `on_output` is called when there is something new to pull, or the state has changed; it may chat_free. It is never
 * called from chat_new, chat_begin or chat_pull. The caller owns the result. */
struct chat *chat_new(const struct chat_options *options, void (*on_output)(void *ctx), void *ctx);

/* The plan and the conversation that was made from it: what chat_begin runs. Takes both, once. */
void chat_set_plan(struct chat *chat, struct turn_plan *plan, struct conversation *conversation);

/* Runs the plan, once for each choice; also again in CHAT_LOST. One choice carries on a thread that knows the
 * conversation, if there is one. `turns` may be NULL. False when no worker is ready: the chat is to be freed. */
CHECK_RESULT bool chat_begin(struct chat *chat, struct turns *turns);

enum chat_state chat_state(const struct chat *chat);

/* The client has waited long: a stream that is still waiting begins, and a comment line goes out. Calls on_output. */
void chat_keepalive(struct chat *chat);

/* Gives the client this error instead of the rest of the answer, and interrupts the turn. Calls on_output,
 * unless it had ended already. */
void chat_abort(struct chat *chat, const struct api_error *error);

/* Moves all that can be sent now to the end of `out`. */
void chat_pull(struct chat *chat, struct buf *out);

/* Bytes that wait to be pulled. */
size_t chat_pending(const struct chat *chat);

/* Why it failed: valid in CHAT_FAILED, and after an error frame; status 0 otherwise. Borrowed. */
const struct api_error *chat_error(const struct chat *chat);

/* Summed over the turns that have ended. */
const struct turn_usage *chat_usage(const struct chat *chat);

/* Function calls in the answer, over all choices that have ended. */
size_t chat_tool_calls(const struct chat *chat);

/* "stop", "length", ...; NULL while there is none. */
const char *chat_finish_reason(const struct chat *chat);

/* Detaches the turn, which interrupts the model if it still runs. Safe on NULL. */
void chat_free(struct chat *chat);

#endif
