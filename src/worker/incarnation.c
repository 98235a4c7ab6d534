/* One incarnation of the worker, from spawn to reaped. */
#include "incarnation.h"

#include "clock.h"
#include "deadline.h"
#include "log.h"
#include "log_quota.h"
#include "metrics.h"
#include "process.h"
#include "rpc.h"
#include "sentinel.h"
#include "stderr_log.h"
#include "stopwatch.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define KILL_WAIT_MS 5000 /* for the exit of a killed child before it is given up */
#define DRAIN_TICK_MS 50  /* between two looks whether the last turn has ended */
#define HEARTBEATS_MISSED_MAX 2
#define RPC_IDS_EACH                                                                               \
    (INT64_C(1) << 32) /* ids of calls: a range for each incarnation, so none is used twice */

enum state {
    INC_STARTING, /* spawned; the handshake is under way */
    INC_READY,
    INC_DRAINING, /* replaced; its last turns run */
    INC_STOPPING  /* waiting for the exit */
};

struct incarnation {
    struct deadlines *deadlines; /* borrowed */
    struct incarnation_options options;
    const struct incarnation_hooks *hooks; /* borrowed */
    void *ctx;                             /* borrowed */
    uint64_t number;
    enum state state;
    struct deadline deadline;  /* its meaning is the state */
    int stop_signal;           /* in INC_STOPPING: the last rung of the ladder; 0 is end of input */
    struct process *process;   /* owned */
    struct rpc *rpc;           /* owned */
    struct turns *turns;       /* owned */
    const char *reason;        /* static: why it is on its way out; NULL: it is not */
    uint64_t spawned_at_ms;    /* loop time, as the next */
    uint64_t ready_at_ms;      /* 0: it never was */
    uint64_t stopped_after_ms; /* uptime when it ceased to serve */
    bool heard;                /* a line has come since the last heartbeat */
    bool unasked;              /* the last one could not be written */
    unsigned missed;           /* heartbeats in a row */
    bool worn_told;
    int64_t rss_bytes;
    uint64_t asked_at_ms;         /* the heartbeat that is under way; 0: none is */
    int64_t latency_ms;           /* of the last one; -1: none was answered */
    struct log_quota told;        /* lines about what it writes on stdout */
    struct stderr_log stderr_log; /* owned */
};

static void set_state(struct incarnation *inc, enum state next);

/* A worker that babbles must not fill the log. */
static bool may_tell(struct incarnation *inc)
{
    return log_quota_take(&inc->told, deadlines_now_ms(inc->deadlines));
}

/* ---- going down ---- */

static void on_deadline(struct deadline *d);

static void arm(struct incarnation *inc, uint64_t after_ms)
{
    deadline_set(inc->deadlines, &inc->deadline, after_ms, on_deadline);
}

/* On its way out; the owner hears of it unless it wanted that. */
static void lose(struct incarnation *inc, const char *reason)
{
    enum state last = inc->state;
    if (last == INC_STOPPING)
        return;
    inc->reason = reason;
    set_state(inc, INC_STOPPING);
    inc->stop_signal = SIGKILL;
    process_kill(inc->process, SIGKILL);
    arm(inc, KILL_WAIT_MS);
    /* First the owner: who loses a turn may want to begin it again, and must not find us. */
    if (last != INC_DRAINING)
        inc->hooks->on_lost(inc->ctx, inc);
    turns_worker_gone(inc->turns);
}

static void end(struct incarnation *inc, int64_t exit_code, int signal_number)
{
    const struct death death = {
        .at_ms = clock_wall_ms(),
        .incarnation = inc->number,
        .pid = process_pid(inc->process),
        .exit_code = signal_number == 0 ? exit_code : -1,
        .signal = signal_number,
        .reason = inc->reason,
        .uptime_ms = inc->stopped_after_ms,
        .turns = turns_begun(inc->turns),
    };
    log_info("worker", "exited", LOG_INT("pid", death.pid), LOG_INT("exit_code", death.exit_code),
             LOG_INT("signal", death.signal), LOG_ID("reason", death.reason),
             LOG_INT("uptime_ms", death.uptime_ms), LOG_INT("turns", death.turns));
    log_quota_tell(&inc->told);
    stderr_log_ended(&inc->stderr_log);
    /* The owner may be gone after the callback, and its sentinel with it. */
    sentinel_release(inc->options.sentinel, death.pid);
    inc->options.sentinel = NULL;
    inc->hooks->on_ended(inc->ctx, inc, &death);
    incarnation_free(inc);
}

/* One rung down: end of input, SIGTERM, SIGKILL; after the last the child is given up. */
static void descend(struct incarnation *inc)
{
    switch (inc->stop_signal) {
    case 0:
        inc->stop_signal = SIGTERM;
        process_kill(inc->process, SIGTERM);
        arm(inc, inc->options.stop_term_ms);
        break;
    case SIGTERM:
        inc->stop_signal = SIGKILL;
        process_kill(inc->process, SIGKILL);
        arm(inc, KILL_WAIT_MS);
        break;
    default:
        log_error("worker", "not_reaped", LOG_INT("pid", process_pid(inc->process)));
        end(inc, -1, 0);
        break;
    }
}

/* ---- alive? ---- */

static void check_wear(struct incarnation *inc)
{
    const struct incarnation_options *o = &inc->options;
    const char *why = NULL;
    if (o->rss_max_bytes != 0 && inc->rss_bytes > (int64_t)o->rss_max_bytes)
        why = "rss_limit";
    else if (o->turns_max != 0 && turns_begun(inc->turns) >= o->turns_max)
        why = "turns_limit";
    if (why == NULL || inc->worn_told)
        return;
    inc->worn_told = true;
    inc->hooks->on_worn(inc->ctx, inc, why);
}

static void send_heartbeat(struct incarnation *inc);

/* A question was answered, or its time is over. */
static void judge(struct incarnation *inc, bool answered)
{
    inc->unasked = false;
    if (answered || inc->heard) {
        inc->missed = 0;
        arm(inc, inc->options.heartbeat_ms);
        check_wear(inc);
        return;
    }
    inc->missed++;
    log_warn("worker", "heartbeat_missed", LOG_INT("pid", process_pid(inc->process)),
             LOG_INT("missed", inc->missed));
    if (inc->missed == HEARTBEATS_MISSED_MAX)
        lose(inc, "heartbeat_timeout");
    else
        send_heartbeat(inc);
}

/* Whatever the answer: it answers. A method that it does not know is an answer, too. */
static void on_heartbeat(void *ctx, const struct rpc_reply *reply)
{
    struct incarnation *inc = ctx;
    int64_t latency_ms = (int64_t)(deadlines_now_ms(inc->deadlines) - inc->asked_at_ms);
    inc->asked_at_ms = 0;
    if (inc->state != INC_READY)
        return;
    if (reply->status == RPC_LOST) { /* its input is full: what it writes meanwhile must tell */
        inc->unasked = true;
        arm(inc, inc->options.heartbeat_timeout_ms);
        return;
    }
    inc->latency_ms = latency_ms;
    inc->rss_bytes = json_int_at(reply->result, "process.residentMemoryBytes", inc->rss_bytes);
    judge(inc, reply->status != RPC_TIMEOUT);
}

/* Any line is a sign of life while the question is under way, as a busy worker may be slow to answer. */
static void send_heartbeat(struct incarnation *inc)
{
    inc->heard = false;
    inc->asked_at_ms = deadlines_now_ms(inc->deadlines);
    rpc_call(inc->rpc, "server/diagnostics", json_object(), inc->options.heartbeat_timeout_ms,
             on_heartbeat, inc, NULL);
}

/* ---- the child ---- */

static bool write_to_child(void *ctx, char *bytes, size_t len)
{
    struct incarnation *inc = ctx;
    return process_write(inc->process, bytes, len);
}

static void on_notification(void *ctx, const struct rpc_message *note)
{
    struct incarnation *inc = ctx;
    if (!turns_notification(inc->turns, note) && may_tell(inc))
        log_debug("worker", "notification_ignored", LOG_SIZE("method", note->method));
}

/* Function calls go to the client. For the rest, the chat worker may do nothing but think: approvals, input of a user,
 * permissions are all denied. */
static void on_request(void *ctx, const struct rpc_message *request)
{
    struct incarnation *inc = ctx;
    if (turns_request(inc->turns, request))
        return;
    if (may_tell(inc))
        log_warn("worker", "request_denied", LOG_SIZE("method", request->method));
    rpc_refuse(inc->rpc, request->id, "codex-api grants no requests");
}

static const struct rpc_handlers rpc_handlers = { write_to_child, on_notification, on_request };

static void on_line(void *ctx, const char *line, size_t len)
{
    struct incarnation *inc = ctx;
    if (inc->state == INC_STOPPING)
        return;
    inc->heard = true;
    stopwatch_start();
    if (len == 0 || rpc_receive(inc->rpc, line, len))
        return;
    metric_count(M_WORKER_LINES_BAD, 1);
    if (may_tell(inc))
        log_warn("worker", "not_json", LOG_INT("bytes", len));
}

static void on_stderr_line(void *ctx, const char *line, size_t len)
{
    struct incarnation *inc = ctx;
    stderr_log_line(&inc->stderr_log, deadlines_now_ms(inc->deadlines), line, len);
}

static void on_process_lost(void *ctx, enum process_loss why)
{
    stopwatch_start();
    lose(ctx, process_loss_name(why));
}

static void on_process_exit(void *ctx, int64_t status, int signal_number)
{
    struct incarnation *inc = ctx;
    stopwatch_start();
    lose(inc, process_loss_name(PROCESS_EXITED));
    end(inc, status, signal_number);
}

static const struct process_events process_events = {
    on_line,
    on_stderr_line,
    on_process_lost,
    on_process_exit,
};

/* ---- the handshake ---- */

static void on_initialized(void *ctx, const struct rpc_reply *reply)
{
    struct incarnation *inc = ctx;
    if (reply->status == RPC_LOST || inc->state != INC_STARTING)
        return;
    const char *user_agent = json_str_at(reply->result, "userAgent");
    if (reply->status != RPC_OK || user_agent == NULL) {
        lose(inc, reply->status == RPC_TIMEOUT ? "handshake_timeout" : "handshake_refused");
        return;
    }
    rpc_notify(inc->rpc, "initialized");
    stderr_log_shook_hands(&inc->stderr_log, deadlines_now_ms(inc->deadlines));
    inc->hooks->greet(inc->ctx, inc, inc->rpc, user_agent);
}

/* What is never used: not sending it spares the worker the writing and us the parsing. */
static json_t *unwanted_notifications(void)
{
    static const char *const names[] = {
        "thread/started",
        "thread/status/changed",
        "thread/settings/updated",
        "thread/tokenUsage/updated",
        "thread/readState/changed",
        "account/rateLimits/updated",
        "warning",
        "configWarning",
        "deprecationNotice",
        "mcpServer/startupStatus/updated",
        "remoteControl/status/changed",
    };
    json_t *list = json_array();
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        json_array_append_new(list, json_string(names[i]));
    return list;
}

static void send_initialize(struct incarnation *inc)
{
    json_t *params =
        json_pack("{s:{s:s, s:s, s:s}, s:{s:b, s:o}}", "clientInfo", "name", "codex_api", "title",
                  "codex-api", "version", CODEX_API_VERSION, "capabilities", "experimentalApi", 1,
                  "optOutNotificationMethods", unwanted_notifications());
    rpc_call(inc->rpc, "initialize", params, inc->options.handshake_timeout_ms, on_initialized, inc,
             NULL);
}

/* ---- the machine ---- */

/* The only function that writes inc->state. Entry work of each state lives here. */
static void set_state(struct incarnation *inc, enum state next)
{
    enum state last = inc->state;
    inc->state = next;
    deadline_clear(inc->deadlines, &inc->deadline);
    switch (next) {
    case INC_STARTING:
        arm(inc, inc->options.handshake_timeout_ms);
        send_initialize(inc);
        break;
    case INC_READY:
        inc->ready_at_ms = deadlines_now_ms(inc->deadlines);
        metric_observe(M_WORKER_START, (double)(inc->ready_at_ms - inc->spawned_at_ms));
        turns_worker_ready(inc->turns, inc->rpc);
        if (inc->options.heartbeat_ms != 0)
            arm(inc, inc->options.heartbeat_ms);
        break;
    case INC_DRAINING:
        turns_drop_kept(inc->turns);
        arm(inc, DRAIN_TICK_MS);
        break;
    case INC_STOPPING:
        if (last == INC_READY || last == INC_DRAINING)
            inc->stopped_after_ms = deadlines_now_ms(inc->deadlines) - inc->ready_at_ms;
        break;
    }
}

static void on_deadline(struct deadline *d)
{
    struct incarnation *inc = deadline_owner(d, struct incarnation, deadline);
    switch (inc->state) {
    case INC_STARTING:
        lose(inc, "handshake_timeout");
        break;
    case INC_READY:
        if (inc->unasked)
            judge(inc, false);
        else
            send_heartbeat(inc);
        break;
    case INC_DRAINING: /* every turn has a deadline of its own, so this comes to an end */
        if (turns_count(inc->turns) == 0)
            incarnation_stop(inc, "retired");
        else
            arm(inc, DRAIN_TICK_MS);
        break;
    case INC_STOPPING:
        descend(inc);
        break;
    }
}

/* ---- public ---- */

struct incarnation *incarnation_spawn(uv_loop_t *loop, struct deadlines *deadlines, uint64_t number,
                                      const struct incarnation_options *o,
                                      const struct incarnation_hooks *hooks, void *ctx)
{
    const struct process_options child = { o->file, o->argv, o->env, o->working_dir };
    struct incarnation *inc = xcalloc(1, sizeof(*inc));
    int error = 0;
    inc->process = process_spawn(loop, &child, &process_events, inc, &error);
    if (inc->process == NULL) {
        char name[32];
        uv_err_name_r(error, name, sizeof(name));
        log_error("worker", "spawn_failed", LOG_ID("file", o->file), LOG_ID("error", name));
        free(inc);
        return NULL;
    }
    inc->deadlines = deadlines;
    inc->spawned_at_ms = deadlines_now_ms(deadlines);
    inc->options = *o;
    inc->hooks = hooks;
    inc->ctx = ctx;
    inc->number = number;
    inc->latency_ms = -1;
    inc->told.stream = "stdout";
    inc->stderr_log.mode = o->stderr_mode;
    sentinel_guard(o->sentinel, process_pid(inc->process));
    log_info("worker", "started", LOG_INT("pid", process_pid(inc->process)),
             LOG_INT("restart_count", number - 1));
    inc->rpc = rpc_new(deadlines, 1 + (number - 1) * (uint64_t)RPC_IDS_EACH, &rpc_handlers, inc);
    inc->turns = turns_new(deadlines, &o->turns);
    set_state(inc, INC_STARTING);
    return inc;
}

void incarnation_greeted(struct incarnation *inc)
{
    if (inc->state == INC_STARTING)
        set_state(inc, INC_READY);
}

void incarnation_retire(struct incarnation *inc)
{
    if (inc->state == INC_READY)
        set_state(inc, INC_DRAINING);
    else
        incarnation_stop(inc, "retired");
}

void incarnation_go_on(struct incarnation *inc)
{
    inc->worn_told = false;
}

void incarnation_stop(struct incarnation *inc, const char *reason)
{
    if (inc->state == INC_STOPPING)
        return;
    inc->reason = reason;
    set_state(inc, INC_STOPPING);
    inc->stop_signal = 0;
    process_end_input(inc->process);
    arm(inc, inc->options.stop_eof_ms);
    turns_worker_gone(inc->turns);
}

void incarnation_kill(struct incarnation *inc, const char *reason)
{
    lose(inc, reason);
}

void incarnation_free(struct incarnation *inc)
{
    if (inc == NULL)
        return;
    turns_free(inc->turns);
    rpc_cancel(inc->rpc, inc);
    rpc_free(inc->rpc);
    deadline_clear(inc->deadlines, &inc->deadline);
    sentinel_release(inc->options.sentinel, process_pid(inc->process));
    process_release(inc->process);
    stderr_log_free(&inc->stderr_log);
    free(inc);
}

int incarnation_pid(const struct incarnation *inc)
{
    return process_pid(inc->process);
}

struct turns *incarnation_turns(struct incarnation *inc)
{
    return inc->state == INC_READY ? inc->turns : NULL;
}

size_t incarnation_active(const struct incarnation *inc)
{
    return turns_active(inc->turns);
}

size_t incarnation_input_queue(const struct incarnation *inc)
{
    return process_write_queue(inc->process);
}

const char *incarnation_reason(const struct incarnation *inc)
{
    return inc->reason;
}

uint64_t incarnation_uptime_ms(const struct incarnation *inc)
{
    return inc->state == INC_READY ? deadlines_now_ms(inc->deadlines) - inc->ready_at_ms : 0;
}

int64_t incarnation_rss_bytes(const struct incarnation *inc)
{
    return inc->rss_bytes;
}

int64_t incarnation_rpc_latency_ms(const struct incarnation *inc)
{
    if (inc->state != INC_READY || inc->asked_at_ms == 0)
        return inc->latency_ms;
    int64_t waited_ms = (int64_t)(deadlines_now_ms(inc->deadlines) - inc->asked_at_ms);
    return waited_ms > inc->latency_ms && waited_ms > 0 ? waited_ms : inc->latency_ms;
}
