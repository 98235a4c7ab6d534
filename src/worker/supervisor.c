/* The supervisor: keeps one worker process running, ready and spoken to. */
#include "supervisor.h"

#include "deadline.h"
#include "log.h"
#include "process.h"
#include "redact.h"
#include "rpc.h"

#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define KILL_WAIT_MS 5000     /* for the exit of a killed child before it is given up */
#define START_STDERR_MAX 8192 /* bytes kept of what a starting worker says */

enum sup_event {
    EV_START,    /* supervisor_start */
    EV_STOP,     /* supervisor_stop */
    EV_PREPARED, /* what a start needs is there */
    EV_GREETED,  /* the handshake is through */
    EV_FAILED,   /* preparation, spawn or handshake failed */
    EV_LOST,     /* the child can serve no more */
    EV_EXITED,   /* the child was reaped */
    EV_DEADLINE
};

struct supervisor {
    uv_loop_t *loop;             /* borrowed */
    struct deadlines *deadlines; /* borrowed */
    struct supervisor_options options;
    const struct supervisor_hooks *hooks; /* borrowed */
    void *ctx;                            /* borrowed */
    enum sup_state state;
    bool wanted;              /* up, as told by start and stop; the state is what is */
    struct deadline deadline; /* its meaning is the state */
    int stop_signal;          /* in SUP_STOPPING: the last rung of the ladder; 0 is end of input */
    struct process *process;  /* owned; NULL while none runs */
    struct rpc *rpc;          /* owned; lives with the process */
    uint64_t next_rpc_id;     /* ids are never used twice, whatever incarnation */
    bool greeted;             /* the owner holds our rpc */
    uint64_t starts;
    unsigned streak;
    uint64_t ready_at_ms;
    bool has_exited;
    int64_t exit_code;
    int exit_signal;
    const char *reason;      /* static: why the last incarnation ended */
    bool shook_hands;        /* this incarnation: from then on its stderr may quote users */
    struct buf start_stderr; /* owned: what this incarnation said before the handshake */
};

static void handle(struct supervisor *sup, enum sup_event event);

const char *sup_state_name(enum sup_state state)
{
    static const char *const names[] = { "stopped", "preparing", "starting",
                                         "ready",   "stopping",  "backoff" };
    return names[state];
}

static const char *event_name(enum sup_event event)
{
    static const char *const names[] = { "start",  "stop", "prepared", "greeted",
                                         "failed", "lost", "exited",   "deadline" };
    return names[event];
}

uint64_t supervisor_backoff_ms(unsigned streak, uint64_t initial_ms, uint64_t max_ms)
{
    uint64_t pause_ms = initial_ms;
    for (unsigned i = 1; i < streak && pause_ms < max_ms; i++)
        pause_ms *= 2;
    return pause_ms < max_ms ? pause_ms : max_ms;
}

static uint64_t jittered(uint64_t most_ms)
{
    uint64_t half_ms = most_ms / 2;
    uint64_t pause_ms = half_ms + randombytes_uniform((uint32_t)(most_ms - half_ms) + 1);
    return pause_ms != 0 ? pause_ms : 1;
}

static void on_deadline(struct deadline *d)
{
    handle(deadline_owner(d, struct supervisor, deadline), EV_DEADLINE);
}

static void arm(struct supervisor *sup, uint64_t after_ms)
{
    deadline_set(sup->deadlines, &sup->deadline, after_ms, on_deadline);
}

/* ---- the child ---- */

static bool write_to_child(void *ctx, char *bytes, size_t len)
{
    struct supervisor *sup = ctx;
    if (sup->process == NULL) {
        free(bytes);
        return false;
    }
    return process_write(sup->process, bytes, len);
}

static void on_notification(void *ctx, const char *method, const json_t *params)
{
    struct supervisor *sup = ctx;
    if (sup->greeted)
        sup->hooks->on_notification(sup->ctx, method, params);
}

static void on_request(void *ctx, const json_t *id, const char *method, const json_t *params)
{
    struct supervisor *sup = ctx;
    sup->hooks->on_request(sup->ctx, sup->rpc, id, method, params);
}

static const struct rpc_handlers rpc_handlers = { write_to_child, on_notification, on_request };

static void on_line(void *ctx, const char *line, size_t len)
{
    struct supervisor *sup = ctx;
    if (len != 0 && !rpc_receive(sup->rpc, line, len))
        log_warn("worker", "not_json", LOG_INT("bytes", len));
}

/* Before the handshake there are no prompts and no answers yet, and a worker that does not start tells only here
 * why: so these lines are kept, to be shown if it fails. Later ones may quote users and are only counted. */
static void on_stderr_line(void *ctx, const char *line, size_t len)
{
    struct supervisor *sup = ctx;
    log_debug("worker", "stderr", LOG_INT("bytes", len));
    if (sup->shook_hands || sup->start_stderr.len + len > START_STDERR_MAX)
        return;
    buf_append(&sup->start_stderr, line, len);
    buf_putc(&sup->start_stderr, '\n');
}

/* What the worker wrote before it failed to start, one log line for each of its own. It may quote its configuration. */
static void log_start_stderr(struct supervisor *sup)
{
    redact_log_lines("worker", "start_stderr", sup->start_stderr.data, sup->start_stderr.len);
    buf_clear(&sup->start_stderr);
}

static void on_lost(void *ctx, enum process_loss why)
{
    struct supervisor *sup = ctx;
    if (sup->state !=
        SUP_STOPPING) /* there it is the child doing as told, or what we killed it for */
        sup->reason = process_loss_name(why);
    handle(sup, EV_LOST);
}

static void on_child_exit(void *ctx, int64_t status, int signal_number)
{
    struct supervisor *sup = ctx;
    sup->has_exited = true;
    sup->exit_code = signal_number == 0 ? status : -1;
    sup->exit_signal = signal_number;
    log_info("worker", "exited", LOG_INT("pid", process_pid(sup->process)),
             LOG_INT("exit_code", sup->exit_code), LOG_INT("signal", signal_number));
    handle(sup, EV_EXITED);
}

static const struct process_events process_events = {
    on_line,
    on_stderr_line,
    on_lost,
    on_child_exit,
};

static void on_initialized(void *ctx, const struct rpc_reply *reply)
{
    struct supervisor *sup = ctx;
    if (reply->status == RPC_LOST)
        return; /* comes from letting the child go: the event for that is on its way */
    const char *user_agent = json_str_at(reply->result, "userAgent");
    if (reply->status != RPC_OK || user_agent == NULL) {
        sup->reason = reply->status == RPC_TIMEOUT ? "handshake_timeout" : "handshake_refused";
        handle(sup, EV_FAILED);
        return;
    }
    rpc_notify(sup->rpc, "initialized");
    sup->greeted = true;
    sup->shook_hands = true;
    buf_clear(&sup->start_stderr);
    sup->hooks->greet(sup->ctx, sup->rpc, user_agent);
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

static void send_initialize(struct supervisor *sup)
{
    json_t *params =
        json_pack("{s:{s:s, s:s, s:s}, s:{s:b, s:o}}", "clientInfo", "name", "codex_api", "title",
                  "codex-api", "version", CODEX_API_VERSION, "capabilities", "experimentalApi", 1,
                  "optOutNotificationMethods", unwanted_notifications());
    rpc_call(sup->rpc, "initialize", params, sup->options.handshake_timeout_ms, on_initialized,
             sup);
}

/* False with the reason set when the child cannot be started. */
static bool spawn(struct supervisor *sup)
{
    const struct supervisor_options *o = &sup->options;
    const struct process_options child = { o->file, o->argv, o->env, o->working_dir };
    int error = 0;
    sup->starts++;
    buf_clear(&sup->start_stderr);
    sup->shook_hands = false;
    sup->process = process_spawn(sup->loop, &child, &process_events, sup, &error);
    if (sup->process == NULL) {
        char name[32];
        uv_err_name_r(error, name, sizeof(name));
        log_error("worker", "spawn_failed", LOG_ID("file", o->file), LOG_ID("error", name));
        sup->reason = "spawn_failed";
        return false;
    }
    log_info("worker", "started", LOG_INT("pid", process_pid(sup->process)),
             LOG_INT("restart_count", sup->starts - 1));
    sup->rpc = rpc_new(sup->deadlines, sup->next_rpc_id, &rpc_handlers, sup);
    send_initialize(sup);
    return true;
}

/* Takes the owner's hold on the worker away, before anything of it is freed. */
static void part(struct supervisor *sup)
{
    if (!sup->greeted)
        return;
    sup->greeted = false;
    sup->hooks->on_gone(sup->ctx);
}

static void let_go(struct supervisor *sup)
{
    part(sup);
    struct process *process = sup->process;
    struct rpc *rpc = sup->rpc;
    sup->process = NULL;
    sup->rpc = NULL;
    if (rpc != NULL)
        sup->next_rpc_id = rpc_next_id(rpc);
    rpc_free(rpc);
    process_release(process);
}

/* ---- the machine ---- */

/* One rung down: end of input, SIGTERM, SIGKILL; after the last the child is given up. */
static void descend(struct supervisor *sup)
{
    switch (sup->stop_signal) {
    case 0:
        sup->stop_signal = SIGTERM;
        process_kill(sup->process, SIGTERM);
        arm(sup, sup->options.stop_term_ms);
        break;
    case SIGTERM:
        sup->stop_signal = SIGKILL;
        process_kill(sup->process, SIGKILL);
        arm(sup, KILL_WAIT_MS);
        break;
    default:
        log_error("worker", "not_reaped", LOG_INT("pid", process_pid(sup->process)));
        handle(sup, EV_EXITED);
        break;
    }
}

/* The only function that writes sup->state. Entry work of each state lives here. */
static void set_state(struct supervisor *sup, enum sup_state next, enum sup_event why)
{
    enum sup_state last = sup->state;
    uint64_t pause_ms = 0;
    sup->state = next;
    deadline_clear(sup->deadlines, &sup->deadline);
    if (next == SUP_BACKOFF) {
        sup->streak++;
        pause_ms = jittered(supervisor_backoff_ms(sup->streak, sup->options.backoff_initial_ms,
                                                  sup->options.backoff_max_ms));
    }
    LOG_AT(next == SUP_BACKOFF ? LOG_WARN : LOG_INFO, "worker", "state",
           LOG_ID("worker_state", sup_state_name(next)), LOG_ID("from", sup_state_name(last)),
           LOG_ID("on", event_name(why)),
           LOG_ID("reason", next == SUP_BACKOFF ? sup->reason : NULL),
           LOG_INT("restart_streak", sup->streak), LOG_INT("backoff_ms", pause_ms));
    switch (next) {
    case SUP_STOPPED:
        sup->hooks->on_stopped(sup->ctx);
        break;
    case SUP_PREPARING:
        arm(sup, sup->options.handshake_timeout_ms);
        sup->hooks->prepare(sup->ctx);
        break;
    case SUP_STARTING:
        arm(sup, sup->options.handshake_timeout_ms);
        if (!spawn(sup))
            handle(sup, EV_FAILED);
        break;
    case SUP_READY:
        sup->ready_at_ms = deadlines_now_ms(sup->deadlines);
        arm(sup, sup->options.stable_ms); /* failures are forgiven only after a stable period */
        sup->hooks->on_ready(sup->ctx, sup->rpc);
        break;
    case SUP_STOPPING:
        part(sup);
        break;
    case SUP_BACKOFF:
        log_start_stderr(sup);
        arm(sup, pause_ms);
        break;
    }
}

/* The child is to end politely: it is healthy and we are stopping. */
static void stop_politely(struct supervisor *sup)
{
    set_state(sup, SUP_STOPPING, EV_STOP);
    sup->stop_signal = 0;
    process_end_input(sup->process);
    arm(sup, sup->options.stop_eof_ms);
}

/* The child is of no use any more. Its exit, which tells the code, may have come already. */
static void put_down(struct supervisor *sup, enum sup_event why)
{
    set_state(sup, SUP_STOPPING, why);
    sup->stop_signal = SIGKILL;
    process_kill(sup->process, SIGKILL);
    arm(sup, KILL_WAIT_MS);
}

static void after_exit(struct supervisor *sup, enum sup_event why)
{
    let_go(sup);
    set_state(sup, sup->wanted ? SUP_BACKOFF : SUP_STOPPED, why);
}

static void in_preparing(struct supervisor *sup, enum sup_event event)
{
    switch (event) {
    case EV_PREPARED:
        set_state(sup, SUP_STARTING, event);
        break;
    case EV_DEADLINE:
        sup->hooks->cancel_prepare(sup->ctx);
        sup->reason = "prepare_timeout";
        set_state(sup, SUP_BACKOFF, event);
        break;
    case EV_FAILED:
        sup->reason = "prepare_failed";
        set_state(sup, SUP_BACKOFF, event);
        break;
    case EV_STOP:
        sup->hooks->cancel_prepare(sup->ctx);
        set_state(sup, SUP_STOPPED, event);
        break;
    default:
        break;
    }
}

static void in_starting(struct supervisor *sup, enum sup_event event)
{
    switch (event) {
    case EV_GREETED:
        set_state(sup, SUP_READY, event);
        break;
    case EV_DEADLINE:
        sup->reason = "handshake_timeout";
        put_down(sup, event);
        break;
    case EV_FAILED:
        if (sup->process == NULL)
            set_state(sup, SUP_BACKOFF, event);
        else
            put_down(sup, event);
        break;
    case EV_LOST:
        put_down(sup, event);
        break;
    case EV_EXITED:
        sup->reason = "exited";
        after_exit(sup, event);
        break;
    case EV_STOP:
        stop_politely(sup);
        break;
    default:
        break;
    }
}

static void in_ready(struct supervisor *sup, enum sup_event event)
{
    switch (event) {
    case EV_DEADLINE:
        sup->streak = 0;
        break;
    case EV_LOST:
        put_down(sup, event);
        break;
    case EV_EXITED:
        sup->reason = "exited";
        after_exit(sup, event);
        break;
    case EV_STOP:
        stop_politely(sup);
        break;
    default:
        break;
    }
}

static void in_stopping(struct supervisor *sup, enum sup_event event)
{
    switch (event) {
    case EV_EXITED:
        after_exit(sup, event);
        break;
    case EV_DEADLINE:
        descend(sup);
        break;
    default: /* EV_STOP has set `wanted`; EV_LOST is the child doing as told */
        break;
    }
}

static void handle(struct supervisor *sup, enum sup_event event)
{
    switch (sup->state) {
    case SUP_STOPPED:
        if (event == EV_START)
            set_state(sup, SUP_PREPARING, event);
        else if (event == EV_STOP)
            sup->hooks->on_stopped(sup->ctx);
        break;
    case SUP_PREPARING:
        in_preparing(sup, event);
        break;
    case SUP_STARTING:
        in_starting(sup, event);
        break;
    case SUP_READY:
        in_ready(sup, event);
        break;
    case SUP_STOPPING:
        in_stopping(sup, event);
        break;
    case SUP_BACKOFF:
        if (event == EV_DEADLINE)
            set_state(sup, SUP_PREPARING, event);
        else if (event == EV_STOP)
            set_state(sup, SUP_STOPPED, event);
        break;
    }
}

/* ---- public ---- */

struct supervisor *supervisor_new(uv_loop_t *loop, struct deadlines *deadlines,
                                  const struct supervisor_options *options,
                                  const struct supervisor_hooks *hooks, void *ctx)
{
    struct supervisor *sup = xcalloc(1, sizeof(*sup));
    sup->loop = loop;
    sup->deadlines = deadlines;
    sup->options = *options;
    sup->hooks = hooks;
    sup->ctx = ctx;
    sup->next_rpc_id = 1;
    return sup;
}

void supervisor_start(struct supervisor *sup)
{
    sup->wanted = true;
    handle(sup, EV_START);
}

void supervisor_prepared(struct supervisor *sup, bool ok)
{
    handle(sup, ok ? EV_PREPARED : EV_FAILED);
}

void supervisor_greeted(struct supervisor *sup, bool ok)
{
    if (!ok)
        sup->reason = "greeting_failed";
    handle(sup, ok ? EV_GREETED : EV_FAILED);
}

void supervisor_stop(struct supervisor *sup)
{
    sup->wanted = false;
    handle(sup, EV_STOP);
}

void supervisor_free(struct supervisor *sup)
{
    if (sup == NULL)
        return;
    let_go(sup);
    deadline_clear(sup->deadlines, &sup->deadline);
    buf_free(&sup->start_stderr);
    free(sup);
}

void supervisor_status(const struct supervisor *sup, struct supervisor_status *ret)
{
    uint64_t now_ms = deadlines_now_ms(sup->deadlines);
    bool waiting = sup->state == SUP_BACKOFF && sup->deadline.at_ms > now_ms;
    *ret = (struct supervisor_status){
        .state = sup->state,
        .pid = sup->process != NULL ? process_pid(sup->process) : 0,
        .restarts = sup->starts > 1 ? sup->starts - 1 : 0,
        .restart_streak = sup->streak,
        .has_exited = sup->has_exited,
        .last_exit_code = sup->exit_code,
        .last_exit_signal = sup->exit_signal,
        .last_reason = sup->reason,
        .backoff_remaining_ms = waiting ? sup->deadline.at_ms - now_ms : 0,
        .uptime_ms = sup->state == SUP_READY ? now_ms - sup->ready_at_ms : 0,
    };
}
