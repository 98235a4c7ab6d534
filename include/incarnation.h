/* One incarnation of the worker, from spawn to reaped: its process, its RPC and its turns.
 *
 *     starting -> ready -> draining -> stopping -> (ended)
 *         |         |                     ^
 *         +---------+---------------------+
 *
 * What belongs to an incarnation dies with it: no answer of an old one can reach a turn of a new one. */
#ifndef INCARNATION_H
#define INCARNATION_H

#include "stderr_log.h"
#include "turn.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct deadlines;
struct incarnation;
struct rpc;
struct sentinel;
struct uv_loop_s;

struct incarnation_options {
    const char *file;              /* borrowed for the spawn, as all of these; looked up in PATH */
    char *const *argv;             /* NULL-terminated */
    char *const *env;              /* NULL-terminated: the whole environment */
    const char *working_dir;       /* NULL: ours */
    uint64_t handshake_timeout_ms; /* from spawn to incarnation_greeted */
    uint64_t heartbeat_ms;         /* between two questions whether it lives; 0: never asked */
    uint64_t
        heartbeat_timeout_ms; /* two that are unanswered so long, and not a line meanwhile: hung */
    uint64_t stop_eof_ms;
    uint64_t stop_term_ms;
    uint64_t rss_max_bytes; /* more resident memory than that: worn; 0: no limit */
    uint64_t turns_max;     /* so many turns begun: worn; 0: no limit */
    enum stderr_mode stderr_mode;
    struct turns_options turns;
    struct sentinel *sentinel; /* borrowed; NULL: none guards it */
};

/* How an incarnation came to its end. */
struct death {
    int64_t at_ms;        /* wall clock */
    uint64_t incarnation; /* counted from 1 */
    int pid;              /* 0: it could not even be started */
    int64_t exit_code;    /* -1: ended by a signal, never reaped, or never there */
    int signal;           /* 0: none */
    const char *reason;   /* static: what made us or it end this */
    uint64_t uptime_ms;   /* since ready; 0: it never was */
    uint64_t turns;       /* begun in its life */
};

/* All but on_worn may come from within incarnation_kill; none comes from within incarnation_spawn. */
struct incarnation_hooks {
    /* `initialize` was answered: ask what you need through `rpc`, which is borrowed until on_lost, then call
     * incarnation_greeted. `user_agent` is borrowed for the call. */
    void (*greet)(void *ctx, struct incarnation *inc, struct rpc *rpc, const char *user_agent);
    /* It serves no more, and its turns have ended: at most once, not for one that was retired or stopped. */
    void (*on_lost)(void *ctx, struct incarnation *inc);
    /* It is time for another one: told once, until incarnation_go_on. */
    void (*on_worn)(void *ctx, struct incarnation *inc, const char *why);
    /* Reaped: the last event. It is freed after the callback. */
    void (*on_ended)(void *ctx, struct incarnation *inc, const struct death *death);
};

/* Starts number `number` (counted from 1). Returns NULL with the reason logged when it cannot be spawned. `hooks` and
 * `deadlines` must outlive the incarnation, which the caller owns until on_ended. */
CHECK_RESULT struct incarnation *incarnation_spawn(struct uv_loop_s *loop,
                                                   struct deadlines *deadlines, uint64_t number,
                                                   const struct incarnation_options *options,
                                                   const struct incarnation_hooks *hooks,
                                                   void *ctx);

/* The handshake is through: it takes turns. */
void incarnation_greeted(struct incarnation *inc);

/* It is replaced: no new turns, kept threads are given back, and when the last turn has ended it is stopped. */
void incarnation_retire(struct incarnation *inc);

/* It is not replaced after all. */
void incarnation_go_on(struct incarnation *inc);

/* End of input, SIGTERM, SIGKILL. Turns that still run are lost. */
void incarnation_stop(struct incarnation *inc, const char *reason);

/* It is of no use: killed at once. `reason` is static. */
void incarnation_kill(struct incarnation *inc, const char *reason);

/* Lets go of it at once, whatever runs: no event comes any more. Safe on NULL. */
void incarnation_free(struct incarnation *inc);

int incarnation_pid(const struct incarnation *inc);

/* Its turns, while it is ready, else NULL. Borrowed. */
struct turns *incarnation_turns(struct incarnation *inc);

/* Turns that occupy it now. */
size_t incarnation_active(const struct incarnation *inc);

/* Bytes that it has not read yet. */
size_t incarnation_input_queue(const struct incarnation *inc);

/* Why it is on its way out, or NULL. Static. */
const char *incarnation_reason(const struct incarnation *inc);

uint64_t incarnation_uptime_ms(const struct incarnation *inc);

/* Resident memory by its own last word, in bytes; 0: not told yet. */
int64_t incarnation_rss_bytes(const struct incarnation *inc);

/* How long the last heartbeat took to be answered, or how long one goes unanswered that takes longer already; -1: not known yet. */
int64_t incarnation_rpc_latency_ms(const struct incarnation *inc);

#endif
