/* The supervisor: keeps one incarnation of the worker running, ready and spoken to. */
#include "supervisor.h"

#include "clock.h"
#include "deadline.h"
#include "log.h"
#include "mem.h"
#include "metrics.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum sup_event {
    EV_START,     /* supervisor_start */
    EV_STOP,      /* supervisor_stop */
    EV_RECYCLE,   /* supervisor_recycle */
    EV_PREPARED,  /* what a start needs is there */
    EV_GREETED,   /* the handshake of the incarnation under way is through */
    EV_FAILED,    /* preparation or spawn failed */
    EV_LOST,      /* the current incarnation serves no more */
    EV_NEXT_LOST, /* the successor came to nothing */
    EV_ENDED,     /* an incarnation was reaped */
    EV_DEADLINE
};

struct supervisor {
    struct uv_loop_s *loop;      /* borrowed */
    struct deadlines *deadlines; /* borrowed */
    struct supervisor_options options;
    const struct supervisor_hooks *hooks; /* borrowed */
    void *ctx;                            /* borrowed */
    enum sup_state state;
    bool wanted;                 /* up, as told by start and stop; the state is what is */
    const char *recycle_wanted;  /* static: why; NULL: not wanted */
    const char *recycle_why;     /* static: of the one under way */
    struct deadline deadline;    /* its meaning is the state */
    struct incarnation *current; /* owned; NULL: none */
    struct incarnation *next;    /* owned; in SUP_RECYCLING, once it was spawned */
    struct incarnation *retired[SUP_RETIRED_MAX]; /* owned: on their way out */
    size_t retired_count;
    bool heir;            /* the start under way began as a recycling, and the old one has died */
    struct rpc *greeting; /* borrowed: the owner is asking the incarnation under way */
    uint64_t starts;
    uint64_t recycles;
    unsigned streak;
    const char *reason; /* static: of the last failure */
    bool crashloop;
    uint64_t failed_starts_ms[SUP_CRASHLOOP_STARTS]; /* when: a ring */
    uint64_t failed_starts;
    struct death deaths[SUP_DEATHS_MAX]; /* a ring */
    uint64_t death_count;
};

static void handle(struct supervisor *sup, enum sup_event event);

const char *sup_state_name(enum sup_state state)
{
    static const char *const names[] = { "stopped",   "preparing", "starting", "ready",
                                         "recycling", "stopping",  "backoff",  "crashloop" };
    return names[state];
}

static const char *event_name(enum sup_event event)
{
    static const char *const names[] = { "start",  "stop", "recycle",   "prepared", "greeted",
                                         "failed", "lost", "next_lost", "ended",    "deadline" };
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

/* ---- the incarnations ---- */

/* One that was stopped, or replaced, was no loss. */
static void count_loss(const char *reason)
{
    if (reason == NULL)
        reason = "exited";
    if (strcmp(reason, "stopped") != 0 && strcmp(reason, "retired") != 0)
        metric_count(M_WORKER_RESTARTS, 1, reason);
}

static void remember_death(struct supervisor *sup, const struct death *death)
{
    count_loss(death->reason);
    sup->deaths[sup->death_count++ % SUP_DEATHS_MAX] = *death;
}

/* The one whose handshake is under way. */
static struct incarnation *under_way(const struct supervisor *sup)
{
    return sup->state == SUP_RECYCLING ? sup->next : sup->current;
}

/* The owner asks no more. */
static void end_greeting(struct supervisor *sup)
{
    struct rpc *rpc = sup->greeting;
    sup->greeting = NULL;
    if (rpc != NULL)
        sup->hooks->cancel_greet(sup->ctx, rpc);
}

static void on_greet(void *ctx, struct incarnation *inc, struct rpc *rpc, const char *user_agent)
{
    struct supervisor *sup = ctx;
    if (inc != under_way(sup))
        return;
    sup->greeting = rpc;
    sup->hooks->greet(sup->ctx, rpc, user_agent);
}

static void on_lost(void *ctx, struct incarnation *inc)
{
    struct supervisor *sup = ctx;
    if (inc == under_way(sup))
        end_greeting(sup);
    if (inc == sup->current) {
        sup->reason = incarnation_reason(inc);
        handle(sup, EV_LOST);
    } else if (inc == sup->next) {
        handle(sup, EV_NEXT_LOST);
    }
}

static void on_worn(void *ctx, struct incarnation *inc, const char *why)
{
    struct supervisor *sup = ctx;
    if (inc == sup->current)
        supervisor_recycle(sup, why);
}

/* Out of whichever place it has. */
static void forget(struct supervisor *sup, const struct incarnation *inc)
{
    if (sup->current == inc)
        sup->current = NULL;
    if (sup->next == inc)
        sup->next = NULL;
    for (size_t i = 0; i < sup->retired_count; i++)
        if (sup->retired[i] == inc)
            sup->retired[i--] = sup->retired[--sup->retired_count];
}

static void on_ended(void *ctx, struct incarnation *inc, const struct death *death)
{
    struct supervisor *sup = ctx;
    remember_death(sup, death);
    forget(sup, inc);
    handle(sup, EV_ENDED);
}

static const struct incarnation_hooks incarnation_hooks = {
    .greet = on_greet,
    .on_lost = on_lost,
    .on_worn = on_worn,
    .on_ended = on_ended,
};

/* A start that came to no process. */
static void remember_stillbirth(struct supervisor *sup, const char *reason)
{
    const struct death death = {
        .at_ms = clock_wall_ms(), .incarnation = sup->starts, .exit_code = -1, .reason = reason
    };
    sup->reason = reason;
    remember_death(sup, &death);
}

/* NULL with the reason set when it cannot be started. */
static struct incarnation *spawn(struct supervisor *sup)
{
    struct incarnation *inc = incarnation_spawn(sup->loop, sup->deadlines, ++sup->starts,
                                                &sup->options.incarnation, &incarnation_hooks, sup);
    if (inc != NULL)
        return inc;
    remember_stillbirth(sup, "spawn_failed");
    return NULL;
}

/* Aside it ends by itself. There is room: recycling does not begin without. */
static void set_aside(struct supervisor *sup, struct incarnation **place)
{
    struct incarnation *inc = *place;
    *place = NULL;
    if (inc == NULL)
        return;
    assert(sup->retired_count < SUP_RETIRED_MAX);
    sup->retired[sup->retired_count++] = inc;
}

/* ---- failed starts ---- */

/* So many starts have failed in so short a time that waiting will not help. One that was to be a recycling was one in
 * vain, even if no old one can go on. */
static void note_failed_start(struct supervisor *sup)
{
    if (sup->heir)
        sup->hooks->on_recycled(sup->ctx, false);
    sup->heir = false;
    uint64_t now_ms = deadlines_now_ms(sup->deadlines);
    sup->failed_starts_ms[sup->failed_starts++ % SUP_CRASHLOOP_STARTS] = now_ms;
    uint64_t first_ms = sup->failed_starts_ms[sup->failed_starts % SUP_CRASHLOOP_STARTS];
    if (sup->crashloop || sup->failed_starts < SUP_CRASHLOOP_STARTS ||
        now_ms - first_ms > SUP_CRASHLOOP_WINDOW_MS)
        return;
    sup->crashloop = true;
    log_error("worker", "crashloop", LOG_INT("failed_starts", SUP_CRASHLOOP_STARTS),
              LOG_ID("reason", sup->reason));
}

static void note_good_start(struct supervisor *sup)
{
    sup->crashloop = false;
    sup->failed_starts = 0;
    sup->heir = false;
}

static bool waits(enum sup_state state)
{
    return state == SUP_BACKOFF || state == SUP_CRASHLOOP;
}

/* ---- the machine ---- */

/* In a crash loop the pause is as long as it gets. */
static uint64_t next_pause_ms(struct supervisor *sup)
{
    const struct supervisor_options *o = &sup->options;
    sup->streak++;
    if (sup->crashloop)
        return jittered(o->backoff_max_ms);
    return jittered(supervisor_backoff_ms(sup->streak, o->backoff_initial_ms, o->backoff_max_ms));
}

static bool serves(enum sup_state state)
{
    return state == SUP_READY || state == SUP_RECYCLING;
}

/* The only function that writes sup->state. Entry work of each state lives here. */
static void set_state(struct supervisor *sup, enum sup_state next, enum sup_event why)
{
    enum sup_state last = sup->state;
    uint64_t pause_ms = waits(next) ? next_pause_ms(sup) : 0;
    sup->state = next;
    deadline_clear(sup->deadlines, &sup->deadline);
    LOG_AT(waits(next) ? LOG_WARN : LOG_INFO, "worker", "state",
           LOG_ID("worker_state", sup_state_name(next)), LOG_ID("from", sup_state_name(last)),
           LOG_ID("on", event_name(why)), LOG_ID("reason", waits(next) ? sup->reason : NULL),
           LOG_INT("restart_streak", sup->streak), LOG_INT("backoff_ms", pause_ms));
    if (serves(last) && !serves(next))
        sup->hooks->on_change(sup->ctx, false);
    switch (next) {
    case SUP_STOPPED:
        sup->hooks->on_stopped(sup->ctx);
        break;
    case SUP_PREPARING:
    case SUP_RECYCLING: /* what begins now is as fresh as can be */
        sup->recycle_why = sup->recycle_wanted;
        sup->recycle_wanted = NULL;
        arm(sup, sup->options.incarnation.handshake_timeout_ms);
        sup->hooks->prepare(sup->ctx);
        break;
    case SUP_STARTING: /* the incarnation has a deadline for its handshake */
        break;
    case SUP_READY:
        arm(sup, sup->options.stable_ms); /* failures are forgiven only after a stable period */
        break;
    case SUP_STOPPING:
        break;
    case SUP_BACKOFF:
    case SUP_CRASHLOOP:
        arm(sup, pause_ms);
        break;
    }
}

static void back_off(struct supervisor *sup, enum sup_event why)
{
    set_state(sup, sup->crashloop ? SUP_CRASHLOOP : SUP_BACKOFF, why);
}

/* From now on the current incarnation takes the turns. */
static void take_over(struct supervisor *sup, enum sup_event why)
{
    note_good_start(sup);
    sup->greeting = NULL;
    incarnation_greeted(sup->current);
    set_state(sup, SUP_READY, why);
    sup->hooks->on_change(sup->ctx, true);
}

/* Whether the wish for a fresh incarnation can be granted now; if not it stays. */
static void recycle_if_wanted(struct supervisor *sup, enum sup_event why)
{
    /* Room for the old one, and for a successor that comes to nothing. */
    if (sup->recycle_wanted == NULL || sup->state != SUP_READY ||
        sup->retired_count + 2 > SUP_RETIRED_MAX)
        return;
    log_info("worker", "recycling", LOG_ID("reason", sup->recycle_wanted));
    set_state(sup, SUP_RECYCLING, why);
}

static void stop_all(struct supervisor *sup)
{
    if (sup->current != NULL)
        incarnation_stop(sup->current, "stopped");
    for (size_t i = 0; i < sup->retired_count; i++)
        incarnation_stop(sup->retired[i], "stopped");
}

static bool all_ended(const struct supervisor *sup)
{
    return sup->current == NULL && sup->retired_count == 0;
}

/* Down, politely. */
static void stop(struct supervisor *sup, enum sup_event why)
{
    end_greeting(sup);
    sup->heir = false;
    set_aside(sup, &sup->next); /* its place is free, should we be started again meanwhile */
    if (all_ended(sup)) {
        set_state(sup, SUP_STOPPED, why);
    } else {
        set_state(sup, SUP_STOPPING, why);
        stop_all(sup); /* none of them ends within the call */
    }
}

static void in_preparing(struct supervisor *sup, enum sup_event event)
{
    switch (event) {
    case EV_PREPARED:
        set_state(sup, SUP_STARTING, event);
        sup->current = spawn(sup);
        if (sup->current == NULL)
            handle(sup, EV_FAILED);
        break;
    case EV_DEADLINE:
        sup->hooks->cancel_prepare(sup->ctx);
        remember_stillbirth(sup, "prepare_timeout");
        note_failed_start(sup);
        back_off(sup, event);
        break;
    case EV_FAILED:
        remember_stillbirth(sup, "prepare_failed");
        note_failed_start(sup);
        back_off(sup, event);
        break;
    case EV_STOP:
        sup->hooks->cancel_prepare(sup->ctx);
        stop(sup, event);
        break;
    default:
        break;
    }
}

static void in_starting(struct supervisor *sup, enum sup_event event)
{
    switch (event) {
    case EV_GREETED:
        take_over(sup, event);
        recycle_if_wanted(sup, event);
        break;
    case EV_FAILED: /* it could not even be spawned */
        note_failed_start(sup);
        back_off(sup, event);
        break;
    case EV_LOST:
        note_failed_start(sup);
        set_state(sup, SUP_STOPPING, event);
        break;
    case EV_STOP:
        stop(sup, event);
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
    case EV_RECYCLE:
    case EV_ENDED: /* of an old one: there may be room now */
        recycle_if_wanted(sup, event);
        break;
    case EV_LOST:
        set_state(sup, SUP_STOPPING, event);
        break;
    case EV_STOP:
        stop(sup, event);
        break;
    default:
        break;
    }
}

/* The successor comes to nothing: the one that is ready goes on. */
static void give_up_recycling(struct supervisor *sup, const char *reason, enum sup_event why)
{
    log_error("worker", "recycle_failed", LOG_ID("reason", reason));
    set_aside(sup, &sup->next);
    incarnation_go_on(sup->current);
    sup->hooks->on_recycled(sup->ctx, false);
    set_state(sup, SUP_READY, why);
    recycle_if_wanted(sup, why);
}

static void swap(struct supervisor *sup, enum sup_event why)
{
    struct incarnation *old = sup->current;
    set_aside(sup, &sup->current);
    sup->current = sup->next;
    sup->next = NULL;
    sup->recycles++;
    metric_count(M_WORKER_RECYCLES, 1, sup->recycle_why);
    sup->hooks->on_recycled(sup->ctx, true);
    take_over(sup, why);
    incarnation_retire(old);
    recycle_if_wanted(sup, why);
}

/* The one that was ready died, and its successor is on the way already. */
static void promote_successor(struct supervisor *sup, enum sup_event why)
{
    sup->streak++;
    sup->heir = true;
    set_aside(sup, &sup->current);
    sup->current = sup->next;
    sup->next = NULL;
    if (sup->current != NULL) {
        set_state(sup, SUP_STARTING, why);
        return;
    }
    sup->hooks->cancel_prepare(sup->ctx);
    set_state(sup, SUP_PREPARING, why);
}

static void in_recycling(struct supervisor *sup, enum sup_event event)
{
    switch (event) {
    case EV_PREPARED:
        deadline_clear(sup->deadlines, &sup->deadline);
        sup->next = spawn(sup);
        if (sup->next == NULL)
            give_up_recycling(sup, "spawn_failed", EV_FAILED);
        break;
    case EV_GREETED:
        swap(sup, event);
        break;
    case EV_NEXT_LOST:
        give_up_recycling(sup, incarnation_reason(sup->next), event);
        break;
    case EV_FAILED:
        give_up_recycling(sup, "prepare_failed", event);
        break;
    case EV_DEADLINE:
        sup->hooks->cancel_prepare(sup->ctx);
        give_up_recycling(sup, "prepare_timeout", event);
        break;
    case EV_LOST:
        promote_successor(sup, event);
        break;
    case EV_STOP:
        if (sup->next == NULL)
            sup->hooks->cancel_prepare(sup->ctx);
        stop(sup, event);
        break;
    default: /* one more EV_RECYCLE is remembered; EV_ENDED is of an old one */
        break;
    }
}

static void in_stopping(struct supervisor *sup, enum sup_event event)
{
    switch (event) {
    case EV_STOP:
        stop_all(sup);
        break;
    case EV_ENDED:
        if (sup->wanted && sup->current == NULL)
            back_off(sup, event);
        else if (!sup->wanted && all_ended(sup))
            set_state(sup, SUP_STOPPED, event);
        break;
    default:
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
    case SUP_RECYCLING:
        in_recycling(sup, event);
        break;
    case SUP_STOPPING:
        in_stopping(sup, event);
        break;
    case SUP_BACKOFF:
    case SUP_CRASHLOOP: /* a wish for a fresh one may be the cure: it is tried at once */
        if (event == EV_DEADLINE || event == EV_RECYCLE)
            set_state(sup, SUP_PREPARING, event);
        else if (event == EV_STOP)
            stop(sup, event);
        break;
    }
}

/* ---- public ---- */

struct supervisor *supervisor_new(struct uv_loop_s *loop, struct deadlines *deadlines,
                                  const struct supervisor_options *options,
                                  const struct supervisor_hooks *hooks, void *ctx)
{
    struct supervisor *sup = xcalloc(1, sizeof(*sup));
    sup->loop = loop;
    sup->deadlines = deadlines;
    sup->options = *options;
    sup->hooks = hooks;
    sup->ctx = ctx;
    return sup;
}

void supervisor_set_options(struct supervisor *sup, const struct supervisor_options *options)
{
    sup->options = *options;
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
    struct incarnation *inc = under_way(sup);
    if (sup->greeting == NULL || inc == NULL)
        return;
    if (ok)
        handle(sup, EV_GREETED);
    else
        incarnation_kill(inc, "greeting_failed");
}

void supervisor_recycle(struct supervisor *sup, const char *why)
{
    sup->recycle_wanted = why;
    handle(sup, EV_RECYCLE);
}

void supervisor_stop(struct supervisor *sup)
{
    sup->wanted = false;
    sup->recycle_wanted = NULL;
    handle(sup, EV_STOP);
}

void supervisor_free(struct supervisor *sup)
{
    if (sup == NULL)
        return;
    end_greeting(sup);
    incarnation_free(sup->current);
    incarnation_free(sup->next);
    for (size_t i = 0; i < sup->retired_count; i++)
        incarnation_free(sup->retired[i]);
    deadline_clear(sup->deadlines, &sup->deadline);
    free(sup);
}

struct turns *supervisor_turns(struct supervisor *sup)
{
    return sup->current != NULL ? incarnation_turns(sup->current) : NULL;
}

size_t supervisor_active(const struct supervisor *sup)
{
    size_t active = sup->current != NULL ? incarnation_active(sup->current) : 0;
    for (size_t i = 0; i < sup->retired_count; i++)
        active += incarnation_active(sup->retired[i]);
    return active;
}

const struct death *supervisor_death(const struct supervisor *sup, size_t i)
{
    if (i >= SUP_DEATHS_MAX || i >= sup->death_count)
        return NULL;
    return &sup->deaths[(sup->death_count - 1 - i) % SUP_DEATHS_MAX];
}

/* The last one that was a process. */
static const struct death *last_exit(const struct supervisor *sup)
{
    const struct death *death = NULL;
    for (size_t i = 0; (death = supervisor_death(sup, i)) != NULL; i++)
        if (death->pid != 0)
            return death;
    return NULL;
}

void supervisor_status(const struct supervisor *sup, struct supervisor_status *ret)
{
    uint64_t now_ms = deadlines_now_ms(sup->deadlines);
    bool waiting = waits(sup->state) && sup->deadline.at_ms > now_ms;
    const struct death *exit = last_exit(sup);
    const struct incarnation *inc = sup->current;
    *ret = (struct supervisor_status){
        .state = sup->state,
        .pid = inc != NULL ? incarnation_pid(inc) : 0,
        .restarts = sup->starts > 1 ? sup->starts - 1 : 0,
        .recycles = sup->recycles,
        .restart_streak = sup->streak,
        .has_exited = exit != NULL,
        .last_exit_code = exit != NULL ? exit->exit_code : 0,
        .last_exit_signal = exit != NULL ? exit->signal : 0,
        .last_reason = sup->reason,
        .crashloop = sup->crashloop,
        .retired = (unsigned)sup->retired_count,
        .backoff_remaining_ms = waiting ? sup->deadline.at_ms - now_ms : 0,
        .uptime_ms = inc != NULL && serves(sup->state) ? incarnation_uptime_ms(inc) : 0,
        .input_queue_bytes = inc != NULL ? incarnation_input_queue(inc) : 0,
        .rss_bytes = inc != NULL ? incarnation_rss_bytes(inc) : 0,
        .rpc_latency_ms = inc != NULL ? incarnation_rpc_latency_ms(inc) : -1,
    };
}
