/* One chat completion on one HTTP request: carries the chat's bytes to the client as fast as it takes them, and the client's
 * leaving back to the chat. The only caller of h2o_send for streams. */
#ifndef EXCHANGE_H
#define EXCHANGE_H

#include <stddef.h>
#include <stdint.h>

struct admission;
struct chat_options;
struct conversation;
struct deadlines;
struct exchanges;
struct st_h2o_req_t;
struct turn_plan;
struct worker;

struct exchange_options {
    struct deadlines *deadlines; /* borrowed */
    struct admission *admission; /* borrowed */
    struct worker *worker;       /* borrowed */
    uint64_t keepalive_ms;       /* 0: never */
    uint64_t write_stall_ms;
    size_t pending_max_bytes;
};

/* The table of exchanges that have not ended. The caller owns the result and frees it when it is empty. */
struct exchanges *exchanges_new(const struct exchange_options *options);
void exchanges_free(struct exchanges *all);

/* For what begins from now on, and for the deadlines that are set from now on. */
void exchanges_configure(struct exchanges *all, const struct exchange_options *options);
size_t exchanges_count(const struct exchanges *all);

/* How many of them are streams, waiting ones included. */
size_t exchanges_streaming(const struct exchanges *all);

/* Ends every exchange: 503 to those that wait, an error frame to those that stream. */
void exchanges_end_all(struct exchanges *all);

/* Runs the plan as a chat for the request, at once or when its turn comes, and answers it in any case; takes the plan and the
 * conversation. `principal`, whose request it is, must live as long as the request. The exchange frees itself with
 * the request, which may be as early as within this call.
 *
 * While it waits in the queue nothing is sent, not even a keep-alive: a refusal is an answer with a real status. */
void exchange_run(struct exchanges *all, struct st_h2o_req_t *req, const struct chat_options *chat,
                  const char *principal, struct turn_plan *plan, struct conversation *conversation);

#endif
