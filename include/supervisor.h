/* The supervisor: keeps one incarnation of the worker running, ready and spoken to.
 *
 *     stopped -> preparing -> starting -> ready <-> recycling
 *        ^          ^  ^          |         |          |
 *        |          |  +----------+---------+----------+
 *        |          |             v
 *        +----------+---- backoff | crashloop <- stopping
 *
 * What is wanted (up or down) and what is are apart: start, stop and recycle only say what is wanted. */
#ifndef SUPERVISOR_H
#define SUPERVISOR_H

#include "incarnation.h"

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
    SUP_RECYCLING, /* ready, and a successor is being prepared or started */
    SUP_STOPPING,  /* lost or told to stop; waiting for the exit */
    SUP_BACKOFF,   /* waiting to start again */
    SUP_CRASHLOOP  /* the same, after so many failed starts that somebody must look */
};

#define SUP_STATE_COUNT (SUP_CRASHLOOP + 1)

const char *sup_state_name(enum sup_state state);

#define SUP_CRASHLOOP_STARTS 5         /* failed ones */
#define SUP_CRASHLOOP_WINDOW_MS 120000 /* within that time: a crash loop */
#define SUP_DEATHS_MAX 32              /* that are remembered */
#define SUP_RETIRED_MAX                                                                            \
    4 /* old incarnations on their way out; a recycling begins while there is room for two more */

struct supervisor_options {
    struct incarnation_options incarnation;
    uint64_t backoff_initial_ms;
    uint64_t backoff_max_ms;
    uint64_t stable_ms;
};

/* What the supervisor asks of and tells its owner. */
struct supervisor_hooks {
    /* Make what a start needs, then call supervisor_prepared, also from within. supervisor_set_options may be called before that. */
    void (*prepare)(void *ctx);
    void (*cancel_prepare)(void *ctx);
    /* `initialize` was answered: ask the worker what you need, then call supervisor_greeted. `rpc` is borrowed until
     * then or until cancel_greet. `user_agent` is borrowed for the call. */
    void (*greet)(void *ctx, struct rpc *rpc, const char *user_agent);
    void (*cancel_greet)(void *ctx, struct rpc *rpc);
    /* A recycling came to its end: the new options are those of the worker, or they did not work, and it is the old one that
     * goes on. Has the old one died meanwhile, only a failure is told. */
    void (*on_recycled)(void *ctx, bool ok);
    /* New turns can be begun, or can be begun no more: told on each change, and each time that another incarnation takes over. */
    void (*on_change)(void *ctx, bool ready);
    /* Only after supervisor_stop: the last event. */
    void (*on_stopped)(void *ctx);
};

struct supervisor_status {
    enum sup_state state;
    int pid;                 /* 0: none */
    uint64_t restarts;       /* starts after the first */
    uint64_t recycles;       /* restarts in which a ready one was replaced by a ready one */
    unsigned restart_streak; /* failures in a row; forgiven after the stable period */
    bool has_exited;         /* the next two are known */
    int64_t last_exit_code;  /* -1 when it was ended by a signal */
    int last_exit_signal;    /* 0: none */
    const char *last_reason; /* of the last failure, or NULL */
    bool crashloop;          /* since the starts began to fail, until one succeeds */
    unsigned retired;        /* incarnations that are on their way out */
    uint64_t backoff_remaining_ms;
    uint64_t uptime_ms;       /* since ready; 0: not ready */
    size_t input_queue_bytes; /* that the worker has not read yet */
    int64_t rss_bytes;        /* of the worker; 0: not known yet */
    int64_t rpc_latency_ms;   /* as incarnation_rpc_latency_ms; -1: not known */
};

/* The caller owns the result, and `hooks` must outlive it. What the options borrow must live until it is replaced. */
struct supervisor *supervisor_new(struct uv_loop_s *loop, struct deadlines *deadlines,
                                  const struct supervisor_options *options,
                                  const struct supervisor_hooks *hooks, void *ctx);

/* For the incarnations to come. What the old options borrowed is not used any more. */
void supervisor_set_options(struct supervisor *sup, const struct supervisor_options *options);

/* Wants the worker to run, from now on and for ever. */
void supervisor_start(struct supervisor *sup);

void supervisor_prepared(struct supervisor *sup, bool ok);
void supervisor_greeted(struct supervisor *sup, bool ok);

/* Wants a fresh incarnation: it is started beside the one that is ready, takes its place and lets it finish its turns. Asked
 * again while that is under way, it is done once more afterwards. One that does not get ready leaves all as it was. */
void supervisor_recycle(struct supervisor *sup, const char *why);

/* Wants the worker stopped: end of input, SIGTERM, SIGKILL; then on_stopped, also from within. */
void supervisor_stop(struct supervisor *sup);

/* Kills at once what still runs. Safe on NULL. */
void supervisor_free(struct supervisor *sup);

/* Takes new turns; NULL while none is ready. Borrowed until the next on_change. */
struct turns *supervisor_turns(struct supervisor *sup);

/* Turns that occupy the worker now, in all incarnations. */
size_t supervisor_active(const struct supervisor *sup);

void supervisor_status(const struct supervisor *sup, struct supervisor_status *ret);

/* The deaths that are remembered, the last one first; NULL past the oldest. Borrowed until the next one. */
const struct death *supervisor_death(const struct supervisor *sup, size_t i);

/* Longest pause before start number `streak` of a row of failures (1 is the first): initial * 2^(streak-1),
 * at most max. The pause itself is drawn between half of it and all of it, so that many proxies that lose their
 * upstream together do not come back together. */
uint64_t supervisor_backoff_ms(unsigned streak, uint64_t initial_ms, uint64_t max_ms);

#endif
