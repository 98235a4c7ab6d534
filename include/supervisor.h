/* The supervisor: keeps one worker process running, ready and spoken to.
 *
 *     stopped -> preparing -> starting -> ready -> stopping -> stopped
 *                    ^            |         |          |
 *                    +-- backoff <+---------+----------+
 */
#ifndef SUPERVISOR_H
#define SUPERVISOR_H

#include "json.h"

#include <stdbool.h>
#include <stdint.h>

struct deadlines;
struct rpc;
struct supervisor;
struct uv_loop_s;

enum sup_state {
    SUP_STOPPED,
    SUP_PREPARING, /* what a start needs is being made (the model catalog) */
    SUP_STARTING,  /* spawned; the handshake is under way */
    SUP_READY,
    SUP_STOPPING, /* lost or told to stop; waiting for the exit */
    SUP_BACKOFF   /* waiting to start again */
};

const char *sup_state_name(enum sup_state state);

struct supervisor_options {
    const char *file; /* borrowed for the supervisor's life, as all of these */
    char *const *argv;
    char *const *env;
    const char *working_dir;
    uint64_t handshake_timeout_ms; /* for preparing, and for spawn to ready */
    uint64_t rpc_timeout_ms;
    uint64_t backoff_initial_ms;
    uint64_t backoff_max_ms;
    uint64_t stable_ms;
    uint64_t stop_eof_ms;
    uint64_t stop_term_ms;
};

/* What the supervisor asks of and tells its owner. */
struct supervisor_hooks {
    /* Make what a start needs, then call supervisor_prepared, also from within. */
    void (*prepare)(void *ctx);
    void (*cancel_prepare)(void *ctx);
    /* `initialize` was answered: ask the worker what you need, then call supervisor_greeted. `rpc` is borrowed until
     * on_gone. `user_agent` is borrowed for the call. */
    void (*greet)(void *ctx, struct rpc *rpc, const char *user_agent);
    void (*on_ready)(void *ctx, struct rpc *rpc);
    /* The worker that was greeted can be used no more. */
    void (*on_gone)(void *ctx);
    void (*on_notification)(void *ctx, const char *method, const json_t *params);
    void (*on_request)(void *ctx, struct rpc *rpc, const json_t *id, const char *method,
                       const json_t *params);
    /* Only after supervisor_stop: the last event. */
    void (*on_stopped)(void *ctx);
};

struct supervisor_status {
    enum sup_state state;
    int pid;                 /* 0: none */
    uint64_t restarts;       /* starts after the first */
    unsigned restart_streak; /* failures in a row; forgiven after the stable period */
    bool has_exited;         /* the next two are known */
    int64_t last_exit_code;  /* -1 when it was ended by a signal */
    int last_exit_signal;    /* 0: none */
    const char *last_reason; /* of the last failure, or NULL */
    uint64_t backoff_remaining_ms;
    uint64_t uptime_ms; /* since ready; 0: not ready */
};

/* The caller owns the result, and `hooks` and the options must outlive it. */
struct supervisor *supervisor_new(struct uv_loop_s *loop, struct deadlines *deadlines,
                                  const struct supervisor_options *options,
                                  const struct supervisor_hooks *hooks, void *ctx);

/* Wants the worker to run, from now on and for ever. */
void supervisor_start(struct supervisor *sup);

void supervisor_prepared(struct supervisor *sup, bool ok);
void supervisor_greeted(struct supervisor *sup, bool ok);

/* Wants the worker stopped: end of input, SIGTERM, SIGKILL; then on_stopped, also from within. */
void supervisor_stop(struct supervisor *sup);

/* Kills at once what still runs. Safe on NULL. */
void supervisor_free(struct supervisor *sup);

void supervisor_status(const struct supervisor *sup, struct supervisor_status *ret);

/* Longest pause before start number `streak` of a row of failures (1 is the first): initial * 2^(streak-1),
 * at most max. The pause itself is drawn between half of it and all of it, so that many proxies that lose their
 * upstream together do not come back together. */
uint64_t supervisor_backoff_ms(unsigned streak, uint64_t initial_ms, uint64_t max_ms);

#endif
