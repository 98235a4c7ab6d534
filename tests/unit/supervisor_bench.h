/* A supervisor with the real fake worker, an owner that notes what it hears, and turns to begin. */
#ifndef SUPERVISOR_BENCH_H
#define SUPERVISOR_BENCH_H

#include "log.h"
#include "loop.h"
#include "rpc.h"
#include "supervisor.h"
#include "unit.h"

#include <errno.h>
#include <signal.h>
#include <sodium.h>
#include <sys/wait.h>
#include <unistd.h>

#define BENCH_LONG_MS 600000 /* of what is not to happen */
#define BENCH_DRAIN_MS 150   /* a retired worker has been looked at by then */
#define BENCH_STREAKS 8

struct bench {
    struct loop loop;
    struct supervisor *sup;
    struct supervisor_options options;
    char *argv[3];
    char *env[4];
    char faults[256];
    char further_env[300]; /* one variable more */
    /* what the owner does */
    bool holds_prepare; /* never answers */
    bool fails_prepare;
    bool fails_successors; /* the preparation of all but the first */
    bool holds_greeting;
    bool fails_greeting;
    unsigned lives;          /* the ready worker that it spares; those before it are killed */
    bool frees_when_stopped; /* the supervisor */
    /* what it heard */
    struct buf story; /* owned: one letter an event, see the hooks */
    unsigned ready;
    unsigned wanted_ready;           /* see wait_for_ready */
    unsigned streaks[BENCH_STREAKS]; /* when the n-th worker was ready */
    unsigned stopped;
    bool is_up;
    struct rpc *rpc; /* borrowed, from greet until greeted or cancel_greet */
    char user_agent[64];
    int first_pid;
};

static inline void bench_note(struct bench *b, char event)
{
    buf_putc(&b->story, event);
}

static inline struct supervisor_status status_of(const struct bench *b)
{
    struct supervisor_status status;
    supervisor_status(b->sup, &status);
    return status;
}

/* p(repare) */
static inline void bench_prepare(void *ctx)
{
    struct bench *b = ctx;
    bench_note(b, 'p');
    enum sup_state state = status_of(b).state;
    assert_true(state == SUP_PREPARING || state == SUP_RECYCLING);
    if (!b->holds_prepare)
        supervisor_prepared(b->sup, !b->fails_prepare && !(b->fails_successors && b->ready != 0));
}

/* c(ancel) */
static inline void bench_cancel_prepare(void *ctx)
{
    bench_note(ctx, 'c');
}

static inline void bench_on_listed(void *ctx, const struct rpc_reply *reply)
{
    struct bench *b = ctx;
    bool ok = reply->status == RPC_OK && json_is_array(json_object_get(reply->result, "data"));
    b->rpc = ok && !b->fails_greeting ? NULL : b->rpc;
    supervisor_greeted(b->sup, ok && !b->fails_greeting);
}

/* The greeting that is under way: one question. */
static inline void bench_ask(struct bench *b)
{
    rpc_call(b->rpc, "model/list", json_object(), BENCH_LONG_MS, bench_on_listed, b, NULL);
}

/* g(reet) */
static inline void bench_greet(void *ctx, struct rpc *rpc, const char *user_agent)
{
    struct bench *b = ctx;
    bench_note(b, 'g');
    assert_null(b->rpc);
    enum sup_state state = status_of(b).state;
    assert_true(state == SUP_STARTING || state == SUP_RECYCLING);
    b->rpc = rpc;
    snprintf(b->user_agent, sizeof(b->user_agent), "%s", user_agent);
    if (!b->holds_greeting)
        bench_ask(b);
}

/* x: the greeting is cancelled */
static inline void bench_cancel_greet(void *ctx, struct rpc *rpc)
{
    struct bench *b = ctx;
    bench_note(b, 'x');
    assert_non_null(rpc);
    assert_ptr_equal(rpc, b->rpc);
    rpc_cancel(rpc, b);
    b->rpc = NULL;
}

/* y(es) or n(o) */
static inline void bench_on_recycled(void *ctx, bool ok)
{
    bench_note(ctx, ok ? 'y' : 'n');
}

static inline void bench_note_ready(struct bench *b)
{
    struct supervisor_status status = status_of(b);
    b->ready++;
    assert_int_equal(status.state, SUP_READY);
    assert_true(status.pid > 0);
    assert_non_null(supervisor_turns(b->sup));
    if (b->ready == 1)
        b->first_pid = status.pid;
    b->streaks[b->ready % BENCH_STREAKS] = status.restart_streak;
    if (b->ready < b->lives)
        assert_int_equal(kill(status.pid, SIGKILL), 0);
}

/* r(eady), l(ost) */
static inline void bench_on_change(void *ctx, bool ready)
{
    struct bench *b = ctx;
    bench_note(b, ready ? 'r' : 'l');
    assert_true(ready || b->is_up); /* told on each change, and only then */
    b->is_up = ready;
    if (ready)
        bench_note_ready(b);
}

/* s(topped) */
static inline void bench_on_stopped(void *ctx)
{
    struct bench *b = ctx;
    bench_note(b, 's');
    b->stopped++;
    if (!b->frees_when_stopped)
        return;
    supervisor_free(b->sup);
    b->sup = NULL;
}

static const struct supervisor_hooks bench_hooks = {
    .prepare = bench_prepare,
    .cancel_prepare = bench_cancel_prepare,
    .greet = bench_greet,
    .cancel_greet = bench_cancel_greet,
    .on_recycled = bench_on_recycled,
    .on_change = bench_on_change,
    .on_stopped = bench_on_stopped,
};

static inline int bench_setup(void **state)
{
    struct bench *b = calloc(1, sizeof(*b));
    loop_begin(&b->loop);
    b->argv[0] = getenv("FAKE_WORKER_BIN");
    b->argv[1] = "app-server";
    assert_non_null(b->argv[0]);
    b->env[0] = b->faults;
    b->env[1] = "ASAN_OPTIONS=detect_leaks=0"; /* looking for them takes its time at each exit */
    b->options = (struct supervisor_options){
        .incarnation = { .file = b->argv[0],
                         .argv = b->argv,
                         .env = b->env,
                         .handshake_timeout_ms = BENCH_LONG_MS,
                         .stop_eof_ms = BENCH_LONG_MS,
                         .stop_term_ms = BENCH_LONG_MS,
                         .turns = { .rpc_timeout_ms = BENCH_LONG_MS,
                                    .turn_timeout_ms = BENCH_LONG_MS,
                                    .first_event_timeout_ms = BENCH_LONG_MS,
                                    .silence_timeout_ms = BENCH_LONG_MS,
                                    .park_ttl_ms = BENCH_LONG_MS,
                                    .parked_max = 8,
                                    .idle_ttl_ms = BENCH_LONG_MS,
                                    .idle_max = 8 } },
        .backoff_initial_ms = 2,
        .backoff_max_ms = 8,
        .stable_ms = BENCH_LONG_MS,
    };
    *state = b;
    return 0;
}

static inline int bench_teardown(void **state)
{
    struct bench *b = *state;
    supervisor_free(b->sup);
    assert_null(b->rpc);
    loop_end(&b->loop);
    buf_free(&b->story);
    free(b);
    return 0;
}

#define BENCH_TEST(test) cmocka_unit_test_setup_teardown(test, bench_setup, bench_teardown)

/* ---- what tests wait for ---- */

/* What the starts to come do. */
static inline void set_faults(struct bench *b, const char *faults)
{
    snprintf(b->faults, sizeof(b->faults), "FAKE_WORKER=%s", faults);
}

/* One more variable of theirs. */
static inline void set_env(struct bench *b, const char *name, const char *value)
{
    snprintf(b->further_env, sizeof(b->further_env), "%s=%s", name, value);
    b->env[2] = b->further_env;
}

static inline void start(struct bench *b, const char *faults)
{
    set_faults(b, faults);
    b->sup = supervisor_new(&b->loop.uv, b->loop.deadlines, &b->options, &bench_hooks, b);
    assert_int_equal(status_of(b).state, SUP_STOPPED);
    supervisor_start(b->sup);
}

static inline bool is_ready(const void *ctx)
{
    return status_of(ctx).state == SUP_READY;
}

static inline bool is_stopped(const void *ctx)
{
    const struct bench *b = ctx;
    return b->stopped != 0;
}

/* A pause can pass between two looks at it: who waits for one rests long. */
static inline void rest_long(struct bench *b)
{
    b->options.backoff_initial_ms = b->options.backoff_max_ms = 60000;
}

static inline bool is_resting(const void *ctx)
{
    return status_of(ctx).state == SUP_BACKOFF;
}

static inline bool has_failed_twice(const void *ctx)
{
    return status_of(ctx).restart_streak >= 2;
}

static inline bool has_survived(const void *ctx)
{
    const struct bench *b = ctx;
    return b->ready == b->lives;
}

static inline void wait_until(struct bench *b, bool (*done)(const void *ctx))
{
    loop_until(&b->loop, done, b);
}

static inline bool is_ready_as_wanted(const void *ctx)
{
    const struct bench *b = ctx;
    return b->ready >= b->wanted_ready;
}

/* Until so many workers were ready, one after the other. */
static inline void wait_for_ready(struct bench *b, unsigned count)
{
    b->wanted_ready = count;
    wait_until(b, is_ready_as_wanted);
}

/* A pause that was begun after `before_ms` (loop time) is inside its band, however late it is looked at. */
static inline void assert_pause(struct bench *b, uint64_t before_ms, uint64_t longest_ms)
{
    uint64_t passed_ms = deadlines_now_ms(b->loop.deadlines) - before_ms;
    uint64_t left_ms = status_of(b).backoff_remaining_ms;
    assert_true(left_ms != 0 && left_ms <= longest_ms);
    assert_true(left_ms + passed_ms >= longest_ms / 2);
}

static inline void stop(struct bench *b)
{
    supervisor_stop(b->sup);
    wait_until(b, is_stopped);
    loop_turn(&b->loop);
    assert_int_equal(b->stopped, 1);
    if (b->sup != NULL)
        assert_int_equal(status_of(b).state, SUP_STOPPED);
}

/* How often it heard of that. */
static inline size_t count_of(struct bench *b, char event)
{
    size_t count = 0;
    for (const char *at = buf_str(&b->story); *at != '\0'; at++)
        count += *at == event;
    return count;
}

static inline bool is_gone(int pid)
{
    return kill(pid, 0) == -1 && errno == ESRCH;
}

/* Until the worker has stopped itself, as FAKE_WORKER=pause=STEP has told it. It goes on at SIGCONT. */
static inline void wait_for_pause(int pid)
{
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WSTOPPED | WNOWAIT), 0);
}

/* ---- turns ---- */

struct talk {
    struct bench *bench;
    struct turn *turn; /* linked */
    struct buf text;   /* owned */
    unsigned ends;
    enum turn_outcome outcome;
    bool keeps; /* the thread, under a digest of zeros */
};

static inline void talk_on_text(void *owner, const char *text, size_t len)
{
    struct talk *talk = owner;
    buf_append(&talk->text, text, len);
}

static inline void talk_on_reasoning(void *owner, const char *text, size_t len)
{
    (void)owner, (void)text, (void)len;
}

static inline void talk_on_end(void *owner, const struct turn_end *end)
{
    static const unsigned char digest[TURN_DIGEST_BYTES];
    struct talk *talk = owner;
    talk->ends++;
    talk->outcome = end->outcome;
    talk->turn = NULL;
    if (talk->keeps)
        turn_keep(end->turn, digest);
}

static const struct turn_events talk_events = { talk_on_text, talk_on_reasoning, talk_on_end };

/* `say` is what the user says, see the scripts of the fake worker. */
static inline void talk_begin_on(struct turns *turns, struct talk *talk, const char *say)
{
    struct turn_plan plan = {
        json_pack("{s:s}", "model", "gpt-x"),
        json_pack("[{s:s, s:s, s:[{s:s, s:s}]}]", "type", "message", "role", "user", "content",
                  "type", "input_text", "text", say),
        json_pack("{s:[]}", "input"),
    };
    assert_non_null(turns);
    talk->turn = turn_begin(turns, &plan, &talk_events, talk, NULL);
    assert_non_null(talk->turn);
}

static inline void talk_begin(struct bench *b, struct talk *talk, const char *say)
{
    talk->bench = b;
    talk_begin_on(supervisor_turns(b->sup), talk, say);
}

static inline bool talk_has_ended(const void *ctx)
{
    const struct talk *talk = ctx;
    return talk->ends != 0;
}

static inline bool talk_has_text(const void *ctx)
{
    const struct talk *talk = ctx;
    return talk->text.len != 0 || talk->ends != 0;
}

static inline void talk_wait(struct talk *talk, bool (*done)(const void *ctx))
{
    loop_until(&talk->bench->loop, done, talk);
}

/* The end, which must be a complete answer. */
static inline void talk_finish(struct talk *talk, const char *text)
{
    talk_wait(talk, talk_has_ended);
    assert_int_equal(talk->ends, 1);
    assert_int_equal(talk->outcome, TURN_COMPLETED);
    assert_string_equal(buf_str(&talk->text), text);
    buf_free(&talk->text);
}

#endif
