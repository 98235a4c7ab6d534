/* Turns: one run of the model on the worker, from a plan to its end. */
#include "turn.h"

#include "deadline.h"
#include "log.h"
#include "pulse.h"
#include "rpc.h"
#include "thread_table.h"
#include "tool_call.h"
#include "trace.h"
#include "turn_error.h"
#include "turn_meter.h"
#include "turn_trace.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define INTERRUPT_TIMEOUT_MS 5000 /* measured: 4-7 ms */

enum turn_state {
    TURN_OPENING,      /* thread/start sent */
    TURN_INJECTING,    /* thread/inject_items sent */
    TURN_STARTING,     /* turn/start sent */
    TURN_RUNNING,      /* the model works */
    TURN_PARKED,       /* kept: the model waits for the results of its calls */
    TURN_IDLE,         /* kept: the model has answered, the thread can take another turn */
    TURN_INTERRUPTING, /* nobody listens any more; turn/interrupt sent */
    TURN_RELEASING     /* thread/unsubscribe sent; its answer frees the turn */
};

struct turn {
    struct turns *turns; /* borrowed: what owns us */
    struct thread thread;
    TAILQ_ENTRY(turn) link;
    enum turn_state state;
    const struct turn_events *events; /* borrowed; NULL once detached */
    void *owner;                      /* linked; NULL once detached */
    struct trace *trace;              /* counted: of the last request that ran it; NULL: none */
    struct turn_plan plan;            /* owned: what was not sent yet */
    struct deadline deadline;         /* its meaning is the state */
    struct pulse pulse;
    char turn_id[OUTPUT_ID_MAX];
    struct output output;
    struct tool_calls calls; /* owned: of this turn whose answer was not sent yet */
    struct turn_meter meter;
};

TAILQ_HEAD(turn_list, turn);

struct turns {
    struct deadlines *deadlines; /* borrowed */
    struct rpc *rpc;             /* borrowed; NULL while no worker is ready */
    struct turns_options options;
    uint64_t begun;
    bool keeps_none;      /* no thread is kept any more */
    struct turn_list all; /* owned, oldest first */
    struct thread_table threads;
};

static void set_state(struct turn *t, enum turn_state next);

void turn_plan_free(struct turn_plan *plan)
{
    json_decref(plan->thread);
    json_decref(plan->items);
    json_decref(plan->start);
    *plan = (struct turn_plan){ NULL, NULL, NULL };
}

/* ---- the table ---- */

static struct turn *turn_of(struct thread *thread)
{
    return thread != NULL ? thread_owner(thread, struct turn, thread) : NULL;
}

static struct turn *find_turn(struct turns *turns, const json_t *params)
{
    return turn_of(thread_find(&turns->threads, json_str_at(params, "threadId")));
}

static void unkeep(struct turn *t)
{
    thread_unkeep(&t->turns->threads, &t->thread);
}

static void turn_free(struct turn *t)
{
    struct turns *turns = t->turns;
    trace_unref(t->trace);
    thread_remove(&turns->threads, &t->thread);
    TAILQ_REMOVE(&turns->all, t, link);
    deadline_clear(turns->deadlines, &t->deadline);
    if (turns->rpc != NULL)
        rpc_cancel(turns->rpc, t);
    tool_calls_free(&t->calls);
    turn_plan_free(&t->plan);
    output_reset(&t->output);
    json_decref(t->output.offered);
    free(t);
}

/* ---- what the owner hears ---- */

/* Tells the owner of the end, at most once. */
static void give_end(struct turn *t, struct turn_end *end)
{
    if (t->events == NULL)
        return;
    turn_meter_end(&t->meter, end->outcome);
    const struct turn_events *events = t->events;
    void *owner = t->owner;
    t->events = NULL;
    t->owner = NULL;
    t->output.sink.take = NULL;
    end->usage = t->output.usage;
    end->turn = t;
    turn_trace_end(t->trace, end);
    events->on_end(owner, end);
}

static void give_outcome(struct turn *t, enum turn_outcome outcome)
{
    struct turn_end end = { .outcome = outcome };
    give_end(t, &end);
}

/* ---- the model's signs of life ---- */

static void on_deadline(struct deadline *d);

static uint64_t now_ms_of(const struct turn *t)
{
    return deadlines_now_ms(t->turns->deadlines);
}

static struct pulse_limits limits_of(const struct turn *t)
{
    const struct turns_options *o = &t->turns->options;
    return (struct pulse_limits){ o->first_event_timeout_ms, o->silence_timeout_ms };
}

/* Whether a deadline of the run is over; if not, it is armed. One for all three: a sign of life only notes its time, as there may be
 * thousands a second. */
static bool overdue(struct turn *t, enum turn_outcome *ret_outcome)
{
    static const enum turn_outcome outcomes[] = { [PULSE_FINE] = TURN_COMPLETED,
                                                  [PULSE_UNANSWERED] = TURN_UNANSWERED,
                                                  [PULSE_SILENT] = TURN_SILENT,
                                                  [PULSE_TOO_LONG] = TURN_TOO_LONG };
    const struct pulse_limits limits = limits_of(t);
    uint64_t left_ms = 0;
    enum pulse_state state = pulse_check(&t->pulse, &limits, now_ms_of(t), &left_ms);
    *ret_outcome = outcomes[state];
    if (state == PULSE_FINE)
        deadline_set(t->turns->deadlines, &t->deadline, left_ms, on_deadline);
    return state != PULSE_FINE;
}

/* A deadline that is over already fires by itself. */
static void arm_run(struct turn *t)
{
    enum turn_outcome outcome = TURN_COMPLETED;
    if (overdue(t, &outcome))
        deadline_set(t->turns->deadlines, &t->deadline, 0, on_deadline);
}

static void give_failure(struct turn *t, const json_t *error)
{
    struct turn_end end = { .outcome = TURN_FAILED };
    turn_error_describe(error, &end);
    give_end(t, &end);
}

/* A call of the turn came back without a result. */
static void give_call_failure(struct turn *t, const struct rpc_reply *reply)
{
    struct turn_end end = { .outcome = TURN_FAILED };
    turn_error_of_call(reply, &end);
    give_end(t, &end);
}

/* The sink of the turn's output. */
static void give_bytes(void *ctx, bool reasoning, const char *bytes, size_t len)
{
    struct turn *t = ctx;
    if (t->events != NULL)
        (reasoning ? t->events->on_reasoning : t->events->on_text)(t->owner, bytes, len);
}

static void attach(struct turn *t, const struct turn_events *events, void *owner,
                   struct trace *trace)
{
    trace_unref(t->trace);
    t->trace = trace_ref(trace);
    t->events = events;
    t->owner = owner;
    t->output.sink = (struct output_sink){ give_bytes, t };
}

/* ---- calls to the worker ---- */

static void call(struct turn *t, const char *method, json_t *params, rpc_reply_fn fn)
{
    rpc_call(t->turns->rpc, method, params, t->turns->options.rpc_timeout_ms, fn, t, t->trace);
}

/* Whether an answer lets the turn go on; if not it is on its way out when this returns. */
static bool goes_on(struct turn *t, const struct rpc_reply *reply)
{
    if (reply->status != RPC_OK)
        give_call_failure(t, reply);
    if (t->events != NULL)
        return true;
    set_state(t, TURN_RELEASING);
    return false;
}

static void on_opened(void *ctx, const struct rpc_reply *reply)
{
    struct turn *t = ctx;
    if (reply->status == RPC_OK &&
        !thread_add(&t->turns->threads, &t->thread, json_str_at(reply->result, "thread.id")))
        give_outcome(t, TURN_FAILED);
    if (goes_on(t, reply))
        set_state(t, TURN_INJECTING);
}

static void on_injected(void *ctx, const struct rpc_reply *reply)
{
    struct turn *t = ctx;
    if (goes_on(t, reply))
        set_state(t, TURN_STARTING);
}

/* The end of a run of the model at which the owner may keep the thread. */
static void end_run(struct turn *t, struct turn_end *end, enum turn_state kept_as,
                    enum turn_state else_as)
{
    give_end(t, end);
    if (t->turns->keeps_none)
        unkeep(t);
    set_state(t, t->thread.kept ? kept_as : else_as);
}

/* The calls of a response are all there when the response is; one without any goes on, or ends the turn. */
static void park_if_waiting(struct turn *t)
{
    if (!t->output.response_completed || t->state != TURN_RUNNING || t->output.call_count == 0)
        return;
    struct turn_end end = { .outcome = TURN_CALLS,
                            .calls = t->output.calls,
                            .call_count = t->output.call_count };
    end_run(t, &end, TURN_PARKED, TURN_INTERRUPTING);
}

static void on_started(void *ctx, const struct rpc_reply *reply)
{
    struct turn *t = ctx;
    if (reply->status == RPC_OK &&
        !thread_copy_id(t->turn_id, json_str_at(reply->result, "turn.id")))
        give_outcome(t, TURN_FAILED);
    if (reply->status != RPC_OK)
        give_call_failure(t, reply);
    if (t->state != TURN_STARTING) /* its end overtook the answer */
        return;
    if (t->events != NULL) {
        set_state(t, TURN_RUNNING);
        park_if_waiting(t);
    } else {
        set_state(t, t->turn_id[0] != '\0' ? TURN_INTERRUPTING : TURN_RELEASING);
    }
}

/* The end of an interrupted turn is its turn/completed; an error means that it had ended already. */
static void on_interrupted(void *ctx, const struct rpc_reply *reply)
{
    struct turn *t = ctx;
    if (reply->status != RPC_OK && t->state == TURN_INTERRUPTING)
        set_state(t, TURN_RELEASING);
}

static void on_released(void *ctx, const struct rpc_reply *reply)
{
    (void)reply;
    turn_free(ctx);
}

/* Nobody came back for it. */
static void drop_kept(struct turn *t)
{
    unkeep(t);
    set_state(t, t->state == TURN_PARKED ? TURN_INTERRUPTING : TURN_RELEASING);
}

/* Makes room: of those that are kept in that state, the one kept longest goes when there are more than `most`. */
static void bound_kept(struct turns *turns, enum turn_state state, size_t most)
{
    struct turn *oldest = NULL;
    struct thread *thread = NULL;
    size_t count = 0;
    TAILQ_FOREACH(thread, &turns->threads.kept, kept_link)
    {
        struct turn *t = turn_of(thread);
        if (t->state != state)
            continue;
        if (oldest == NULL)
            oldest = t;
        count++;
    }
    if (count > most)
        drop_kept(oldest);
}

static void on_deadline(struct deadline *d)
{
    struct turn *t = deadline_owner(d, struct turn, deadline);
    enum turn_outcome outcome = TURN_TOO_LONG;
    switch (t->state) {
    case TURN_INTERRUPTING:
        log_warn("worker", "interrupt_ignored", LOG_ID("thread_id", t->thread.id));
        set_state(t, TURN_RELEASING);
        break;
    case TURN_PARKED:
    case TURN_IDLE:
        drop_kept(t);
        break;
    case TURN_RUNNING:
        if (!overdue(t, &outcome))
            break;
        give_outcome(t, outcome);
        set_state(t, TURN_INTERRUPTING);
        break;
    default: /* the answer to the call under way finds nobody and takes the way out */
        give_outcome(t, TURN_TOO_LONG);
        break;
    }
}

static const char *const state_names[] = {
    [TURN_OPENING] = "opening",
    [TURN_INJECTING] = "injecting",
    [TURN_STARTING] = "starting",
    [TURN_RUNNING] = "running",
    [TURN_PARKED] = "parked",
    [TURN_IDLE] = "idle",
    [TURN_INTERRUPTING] = "interrupting",
    [TURN_RELEASING] = "releasing",
};

/* Writes t->state, as does turns_worker_gone when no worker is left to talk to. Entry work of each state lives here; may free t (TURN_RELEASING). */
static void set_state(struct turn *t, enum turn_state next)
{
    struct turns *turns = t->turns;
    json_t *params = NULL;
    t->state = next;
    turn_trace_state(t->trace, state_names[next], t->thread.id);
    switch (next) {
    case TURN_OPENING:
        params = t->plan.thread;
        t->plan.thread = NULL;
        call(t, "thread/start", params, on_opened);
        break;
    case TURN_INJECTING:
        params = json_pack("{s:s, s:o}", "threadId", t->thread.id, "items", t->plan.items);
        t->plan.items = NULL;
        call(t, "thread/inject_items", params, on_injected);
        break;
    case TURN_STARTING:
        params = t->plan.start;
        t->plan.start = NULL;
        json_object_set_new(params, "threadId", json_string(t->thread.id));
        call(t, "turn/start", params, on_started);
        break;
    case TURN_RUNNING:
        pulse_asked(&t->pulse, now_ms_of(t));
        arm_run(t);
        break;
    case TURN_PARKED:
        deadline_set(turns->deadlines, &t->deadline, turns->options.park_ttl_ms, on_deadline);
        bound_kept(turns, TURN_PARKED, turns->options.parked_max);
        break;
    case TURN_IDLE:
        /* An end that overtook the answer to turn/start: that answer is none of the next run's. */
        rpc_cancel(turns->rpc, t);
        t->turn_id[0] = '\0';
        deadline_set(turns->deadlines, &t->deadline, turns->options.idle_ttl_ms, on_deadline);
        bound_kept(turns, TURN_IDLE, turns->options.idle_max);
        break;
    case TURN_INTERRUPTING:
        params = json_pack("{s:s, s:s}", "threadId", t->thread.id, "turnId", t->turn_id);
        deadline_set(turns->deadlines, &t->deadline, INTERRUPT_TIMEOUT_MS, on_deadline);
        call(t, "turn/interrupt", params, on_interrupted);
        break;
    case TURN_RELEASING:
        deadline_clear(turns->deadlines, &t->deadline);
        if (t->thread.id[0] == '\0') {
            turn_free(t);
            break;
        }
        params = json_pack("{s:s}", "threadId", t->thread.id);
        call(t, "thread/unsubscribe", params, on_released);
        break;
    }
}

/* ---- notifications ---- */

static void on_turn_completed(struct turn *t, const json_t *params)
{
    const char *status = json_str_at(params, "turn.status");
    const json_t *error = json_at(params, "turn.error");
    struct turn_end end = { .outcome = TURN_COMPLETED };
    unkeep(t); /* a parked turn that ends by itself is of no use to who comes back */
    if (status != NULL && strcmp(status, "completed") == 0) {
        end_run(t, &end, TURN_IDLE, TURN_RELEASING);
        return;
    }
    if (status != NULL && strcmp(status, "interrupted") == 0)
        give_outcome(t, TURN_INTERRUPTED);
    else
        give_failure(t, json_is_object(error) ? error : t->output.error);
    set_state(t, TURN_RELEASING);
}

/* Injected items come back under a turn id of the worker's own making; they are not this turn's. */
static bool of_this_turn(struct turn *t, const json_t *params)
{
    const char *id = json_str_at(params, "turnId");
    if (id == NULL)
        id = json_str_at(params, "turn.id");
    if (id == NULL || t->turn_id[0] == '\0')
        return false;
    return strcmp(id, t->turn_id) == 0;
}

/* The id of a turn comes with the answer to turn/start, or with this notification if that overtakes it. */
static void learn_turn_id(struct turn *t, const char *method, const json_t *params)
{
    if (t->state == TURN_STARTING && t->turn_id[0] == '\0' && strcmp(method, "turn/started") == 0)
        (void)thread_copy_id(t->turn_id, json_str_at(params, "turn.id"));
}

bool turns_notification(struct turns *turns, const struct rpc_message *note)
{
    const char *method = note->method;
    const json_t *params = note->params;
    struct turn *t = find_turn(turns, params);
    if (t == NULL)
        return false;
    turn_trace_message(t->trace, note);
    learn_turn_id(t, method, params);
    if (t->state == TURN_RELEASING || !of_this_turn(t, params))
        return true;
    if (strcmp(method, "turn/completed") == 0) {
        on_turn_completed(t, params);
        return true;
    }
    if (pulse_is_sign(method, params) && pulse_sign(&t->pulse, now_ms_of(t)) &&
        t->state == TURN_RUNNING)
        arm_run(t); /* with the first one another deadline counts, which may come sooner */
    (void)output_note(&t->output, method, params);
    if (t->events != NULL) /* else the batch has been given away, or nobody wants it */
        turn_meter_calls(&t->meter, t->output.call_count);
    park_if_waiting(t);
    return true;
}

/* ---- function calls ---- */

/* Once both sides are there the worker gets its answer. */
static void settle(struct turn *t, struct tool_call *call)
{
    if (call == NULL || !tool_call_settled(call))
        return;
    size_t bytes = rpc_answer(t->turns->rpc, call->request_id,
                              json_pack("{s:o, s:b}", "contentItems", call->content, "success", 1));
    turn_trace_answer(t->trace, call->request_id, bytes);
    tool_calls_remove(&t->calls, call);
}

bool turns_request(struct turns *turns, const struct rpc_message *request)
{
    struct turn *t = find_turn(turns, request->params);
    const char *call_id = json_str_at(request->params, "callId");
    if (t != NULL)
        turn_trace_message(t->trace, request);
    if (strcmp(request->method, "item/tool/call") != 0 || t == NULL || call_id == NULL ||
        !of_this_turn(t, request->params))
        return false;
    struct tool_call *call = tool_calls_ask(&t->calls, call_id, request->id);
    settle(t, call);
    return call != NULL;
}

/* ---- public ---- */

struct turns *turns_new(struct deadlines *deadlines, const struct turns_options *options)
{
    struct turns *turns = xcalloc(1, sizeof(*turns));
    turns->deadlines = deadlines;
    turns->options = *options;
    TAILQ_INIT(&turns->all);
    thread_table_init(&turns->threads);
    return turns;
}

void turns_free(struct turns *turns)
{
    if (turns == NULL)
        return;
    turns_worker_gone(turns);
    free(turns);
}

void turns_worker_ready(struct turns *turns, struct rpc *rpc)
{
    assert(turns->rpc == NULL);
    turns->rpc = rpc;
}

/* An owner that is told of the loss may detach another turn, so all are on their way out before the first is told,
 * and the list is read anew each time. No new turn can enter it. */
void turns_worker_gone(struct turns *turns)
{
    if (turns->rpc == NULL)
        return;
    struct turn *t = NULL;
    TAILQ_FOREACH(t, &turns->all, link)
    {
        rpc_cancel(turns->rpc, t);
        t->state = TURN_RELEASING;
    }
    turns->rpc = NULL;
    while ((t = TAILQ_FIRST(&turns->all)) != NULL) {
        /* The analyzer does not see that TAILQ_REMOVE took the last one off.
         * NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
        give_outcome(t, TURN_LOST);
        turn_free(t);
    }
}

size_t turns_active(const struct turns *turns)
{
    size_t count = 0;
    const struct turn *t = NULL;
    TAILQ_FOREACH(t, &turns->all, link)
    {
        count += t->state <= TURN_RUNNING || t->state == TURN_INTERRUPTING;
    }
    return count;
}

size_t turns_parked(const struct turns *turns)
{
    size_t count = 0;
    const struct turn *t = NULL;
    TAILQ_FOREACH(t, &turns->all, link)
    {
        count += t->state == TURN_PARKED;
    }
    return count;
}

size_t turns_count(const struct turns *turns)
{
    size_t count = 0;
    const struct turn *t = NULL;
    TAILQ_FOREACH(t, &turns->all, link)
    {
        count++;
    }
    return count;
}

uint64_t turns_begun(const struct turns *turns)
{
    return turns->begun;
}

void turns_drop_kept(struct turns *turns)
{
    struct thread *thread = NULL;
    turns->keeps_none = true;
    while ((thread = TAILQ_FIRST(&turns->threads.kept)) != NULL)
        /* As above: it is off the list. NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
        drop_kept(turn_of(thread));
}

/* A run of the model begins: the deadline of the whole, until it runs. */
static void arm_turn(struct turn *t)
{
    struct turns *turns = t->turns;
    turns->begun++;
    pulse_begin(&t->pulse, now_ms_of(t), turns->options.turn_timeout_ms);
    deadline_set(turns->deadlines, &t->deadline, turns->options.turn_timeout_ms, on_deadline);
}

struct turn *turn_begin(struct turns *turns, struct turn_plan *plan,
                        const struct turn_events *events, void *owner, struct trace *trace)
{
    if (turns->rpc == NULL) {
        turn_plan_free(plan);
        return NULL;
    }
    struct turn *t = xcalloc(1, sizeof(*t));
    t->turns = turns;
    t->plan = *plan;
    *plan = (struct turn_plan){ NULL, NULL, NULL };
    t->output.commentary = turns->options.commentary;
    t->output.offered = json_incref(json_object_get(t->plan.thread, "dynamicTools"));
    TAILQ_INSERT_TAIL(&turns->all, t, link);
    attach(t, events, owner, trace);
    arm_turn(t);
    set_state(t, TURN_OPENING);
    return t;
}

void turn_keep(struct turn *t, const unsigned char digest[TURN_DIGEST_BYTES])
{
    thread_keep(&t->turns->threads, &t->thread, digest);
}

struct turn *turns_find(struct turns *turns, const unsigned char digest[TURN_DIGEST_BYTES])
{
    return turn_of(thread_find_kept(&turns->threads, digest));
}

bool turn_waits_for(const struct turn *t, const struct turn_result *results, size_t count)
{
    if (t->state != TURN_PARKED || count != t->output.call_count)
        return false;
    for (size_t i = 0; i < count; i++) {
        size_t found = 0;
        for (size_t j = 0; j < count; j++)
            found += strcmp(t->output.calls[i].id, results[j].call_id) == 0;
        if (found != 1)
            return false;
    }
    return true;
}

struct turn *turn_resume(struct turn *t, struct turn_result *results, size_t count,
                         const struct turn_events *events, void *owner, struct trace *trace)
{
    turn_meter_resumed();
    unkeep(t);
    output_reset(&t->output);
    attach(t, events, owner, trace);
    turn_trace_state(t->trace, "resumed", t->thread.id);
    arm_turn(t);
    set_state(t, TURN_RUNNING);
    for (size_t i = 0; i < count; i++) {
        settle(t, tool_calls_answer(&t->calls, results[i].call_id, results[i].content));
        results[i].content = NULL;
    }
    return t;
}

bool turn_is_idle(const struct turn *t)
{
    return t->state == TURN_IDLE;
}

struct turn *turn_again(struct turn *t, struct turn_plan *plan, const struct turn_events *events,
                        void *owner, struct trace *trace)
{
    turn_meter_reused();
    unkeep(t);
    turn_plan_free(&t->plan);
    t->plan = *plan;
    *plan = (struct turn_plan){ NULL, NULL, NULL };
    output_reset(&t->output);
    tool_calls_free(&t->calls);
    attach(t, events, owner, trace);
    turn_trace_state(t->trace, "reused", t->thread.id);
    arm_turn(t);
    set_state(t, json_array_size(t->plan.items) != 0 ? TURN_INJECTING : TURN_STARTING);
    return t;
}

void turn_detach(struct turn *turn)
{
    if (turn == NULL)
        return;
    turn_meter_abandoned(&turn->meter);
    turn->events = NULL;
    turn->owner = NULL;
    turn->output.sink.take = NULL;
    /* In an earlier state the answer to the call under way finds nobody and takes the way out. */
    bool has_id = turn->state == TURN_STARTING && turn->turn_id[0] != '\0';
    if (turn->state == TURN_RUNNING || has_id)
        set_state(turn, TURN_INTERRUPTING);
}
