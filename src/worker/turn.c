/* Turns: one run of the model on the worker, from a plan to its end. */
#include "turn.h"

#include "deadline.h"
#include "log.h"
#include "rpc.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define TABLE_SIZE 256            /* buckets; turns at once are a few dozen */
#define ID_MAX 128                /* longest thread, turn or item id that we keep */
#define OPEN_ITEMS_MAX 16         /* output messages of one turn that are open at once */
#define INTERRUPT_TIMEOUT_MS 5000 /* measured: 4-7 ms */

enum turn_state {
    TURN_OPENING,      /* thread/start sent */
    TURN_INJECTING,    /* thread/inject_items sent */
    TURN_STARTING,     /* turn/start sent */
    TURN_RUNNING,      /* the model works */
    TURN_INTERRUPTING, /* nobody listens any more; turn/interrupt sent */
    TURN_RELEASING     /* thread/unsubscribe sent; its answer frees the turn */
};

/* An output message of the model that is being streamed. */
struct item {
    char id[ID_MAX];
    bool commentary;   /* phase: the model speaks about its work, not to the user */
    size_t sent_bytes; /* of its text, as deltas */
};

/* A stream of bytes to the owner; messages in it are kept apart by a blank line. */
struct channel {
    bool used;      /* something was sent */
    bool separator; /* a message ended: a blank line goes before the next byte */
};

struct turn {
    struct turns *turns;     /* borrowed: the table that owns us */
    struct turn *table_next; /* linked: same bucket */
    TAILQ_ENTRY(turn) link;
    enum turn_state state;
    const struct turn_events *events; /* borrowed; NULL once detached */
    void *owner;                      /* linked; NULL once detached */
    struct turn_plan plan;            /* owned: what was not sent yet */
    struct deadline deadline;         /* of the whole turn, then of the interrupt */
    char thread_id[ID_MAX];
    char turn_id[ID_MAX];
    struct item items[OPEN_ITEMS_MAX];
    size_t item_count;
    struct channel text;
    struct channel reasoning;
    struct turn_usage usage;
    json_t *error; /* owned: of the last final error notification */
};

struct turns {
    struct deadlines *deadlines; /* borrowed */
    struct rpc *rpc;             /* borrowed; NULL while no worker is ready */
    struct turns_options options;
    TAILQ_HEAD(, turn) all;             /* owned, oldest first */
    struct turn *by_thread[TABLE_SIZE]; /* linked: turns whose thread is known */
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

static size_t bucket_of(const char *id)
{
    uint32_t hash = 2166136261U; /* FNV-1a */
    for (; *id != '\0'; id++)
        hash = (hash ^ (unsigned char)*id) * 16777619U;
    return hash % TABLE_SIZE;
}

static struct turn *find_turn(struct turns *turns, const char *thread_id)
{
    struct turn *t = thread_id != NULL ? turns->by_thread[bucket_of(thread_id)] : NULL;
    while (t != NULL && strcmp(t->thread_id, thread_id) != 0)
        t = t->table_next;
    return t;
}

static void table_remove(struct turn *t)
{
    struct turn **at = &t->turns->by_thread[bucket_of(t->thread_id)];
    while (*at != NULL && *at != t)
        at = &(*at)->table_next;
    if (*at == t)
        *at = t->table_next;
}

static void turn_free(struct turn *t)
{
    struct turns *turns = t->turns;
    table_remove(t);
    TAILQ_REMOVE(&turns->all, t, link);
    deadline_clear(turns->deadlines, &t->deadline);
    if (turns->rpc != NULL)
        rpc_cancel(turns->rpc, t);
    turn_plan_free(&t->plan);
    json_decref(t->error);
    free(t);
}

/* ---- what the owner hears ---- */

/* Tells the owner of the end, at most once. */
static void give_end(struct turn *t, struct turn_end *end)
{
    if (t->events == NULL)
        return;
    const struct turn_events *events = t->events;
    void *owner = t->owner;
    t->events = NULL;
    t->owner = NULL;
    end->usage = t->usage;
    events->on_end(owner, end);
}

static void give_outcome(struct turn *t, enum turn_outcome outcome)
{
    struct turn_end end = { .outcome = outcome };
    give_end(t, &end);
}

/* codexErrorInfo is a bare name, or an object whose only key is the name. Both are open sets. */
static void describe_error(const json_t *error, struct turn_end *ret)
{
    ret->message = json_str_at(error, "message");
    json_t *info = json_object_get(error, "codexErrorInfo");
    ret->kind = json_string_value(info);
    if (json_is_object(info) && json_object_size(info) != 0) {
        void *only = json_object_iter(info);
        ret->kind = json_object_iter_key(only);
        ret->http_status = (int)json_int_at(json_object_iter_value(only), "httpStatusCode", 0);
    }
}

static void give_failure(struct turn *t, const json_t *error)
{
    struct turn_end end = { .outcome = TURN_FAILED };
    describe_error(error, &end);
    give_end(t, &end);
}

/* A call of the turn came back without a result. */
static void give_call_failure(struct turn *t, const struct rpc_reply *reply)
{
    static const enum turn_outcome outcomes[] = {
        [RPC_ERROR] = TURN_FAILED, [RPC_TIMEOUT] = TURN_TIMED_OUT, [RPC_LOST] = TURN_LOST
    };
    struct turn_end end = { .outcome = outcomes[reply->status], .message = reply->message };
    if (reply->status == RPC_ERROR)
        end.kind = reply->code == -32001 ? "serverOverloaded" : "badRequest";
    give_end(t, &end);
}

static void give_bytes(struct turn *t, struct channel *channel, const char *bytes, size_t len)
{
    if (t->events == NULL || len == 0)
        return;
    void (*give)(void *, const char *, size_t) =
        channel == &t->text ? t->events->on_text : t->events->on_reasoning;
    if (channel->used && channel->separator)
        give(t->owner, "\n\n", 2);
    channel->used = true;
    channel->separator = false;
    if (t->events != NULL)
        give(t->owner, bytes, len);
}

/* ---- calls ---- */

static void call(struct turn *t, const char *method, json_t *params, rpc_reply_fn fn)
{
    rpc_call(t->turns->rpc, method, params, t->turns->options.rpc_timeout_ms, fn, t);
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

static bool copy_id(char ret[ID_MAX], const char *id)
{
    size_t len = id != NULL ? strlen(id) : ID_MAX;
    if (len >= ID_MAX)
        return false;
    memcpy(ret, id, len + 1);
    return true;
}

static void on_opened(void *ctx, const struct rpc_reply *reply)
{
    struct turn *t = ctx;
    if (reply->status == RPC_OK && !copy_id(t->thread_id, json_str_at(reply->result, "thread.id")))
        give_outcome(t, TURN_FAILED);
    if (t->thread_id[0] != '\0') {
        struct turn **bucket = &t->turns->by_thread[bucket_of(t->thread_id)];
        t->table_next = *bucket;
        *bucket = t;
    }
    if (goes_on(t, reply))
        set_state(t, TURN_INJECTING);
}

static void on_injected(void *ctx, const struct rpc_reply *reply)
{
    struct turn *t = ctx;
    if (goes_on(t, reply))
        set_state(t, TURN_STARTING);
}

static void on_started(void *ctx, const struct rpc_reply *reply)
{
    struct turn *t = ctx;
    if (reply->status == RPC_OK && !copy_id(t->turn_id, json_str_at(reply->result, "turn.id")))
        give_outcome(t, TURN_FAILED);
    if (reply->status != RPC_OK)
        give_call_failure(t, reply);
    if (t->state != TURN_STARTING) /* its end overtook the answer */
        return;
    if (t->events != NULL)
        set_state(t, TURN_RUNNING);
    else
        set_state(t, t->turn_id[0] != '\0' ? TURN_INTERRUPTING : TURN_RELEASING);
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

static void on_deadline(struct deadline *d)
{
    struct turn *t = deadline_owner(d, struct turn, deadline);
    if (t->state == TURN_INTERRUPTING) {
        log_warn("worker", "interrupt_ignored", LOG_ID("thread_id", t->thread_id));
        set_state(t, TURN_RELEASING);
        return;
    }
    give_outcome(t, TURN_TIMED_OUT);
    if (t->state == TURN_RUNNING)
        set_state(t, TURN_INTERRUPTING);
}

/* Writes t->state, as does turns_worker_gone when no worker is left to talk to. Entry work of each state lives here; may free t (TURN_RELEASING). */
static void set_state(struct turn *t, enum turn_state next)
{
    struct turns *turns = t->turns;
    json_t *params = NULL;
    t->state = next;
    switch (next) {
    case TURN_OPENING:
        params = t->plan.thread;
        t->plan.thread = NULL;
        deadline_set(turns->deadlines, &t->deadline, turns->options.turn_timeout_ms, on_deadline);
        call(t, "thread/start", params, on_opened);
        break;
    case TURN_INJECTING:
        params = json_pack("{s:s, s:o}", "threadId", t->thread_id, "items", t->plan.items);
        t->plan.items = NULL;
        call(t, "thread/inject_items", params, on_injected);
        break;
    case TURN_STARTING:
        params = t->plan.start;
        t->plan.start = NULL;
        json_object_set_new(params, "threadId", json_string(t->thread_id));
        call(t, "turn/start", params, on_started);
        break;
    case TURN_RUNNING:
        break;
    case TURN_INTERRUPTING:
        params = json_pack("{s:s, s:s}", "threadId", t->thread_id, "turnId", t->turn_id);
        deadline_set(turns->deadlines, &t->deadline, INTERRUPT_TIMEOUT_MS, on_deadline);
        call(t, "turn/interrupt", params, on_interrupted);
        break;
    case TURN_RELEASING:
        deadline_clear(turns->deadlines, &t->deadline);
        if (t->thread_id[0] == '\0') {
            turn_free(t);
            break;
        }
        params = json_pack("{s:s}", "threadId", t->thread_id);
        call(t, "thread/unsubscribe", params, on_released);
        break;
    }
}

/* ---- notifications ---- */

static struct item *find_item(struct turn *t, const char *id)
{
    for (size_t i = t->item_count; id != NULL && i-- > 0;)
        if (strcmp(t->items[i].id, id) == 0)
            return &t->items[i];
    return NULL;
}

static struct item *open_item(struct turn *t, const char *id)
{
    if (t->item_count == OPEN_ITEMS_MAX)
        return NULL;
    struct item *item = &t->items[t->item_count];
    *item = (struct item){ .commentary = false };
    if (!copy_id(item->id, id))
        return NULL;
    t->item_count++;
    return item;
}

static struct channel *channel_of(struct turn *t, const struct item *item)
{
    return item->commentary ? &t->reasoning : &t->text;
}

static void on_item_started(struct turn *t, const json_t *params)
{
    const char *type = json_str_at(params, "item.type");
    if (type == NULL || strcmp(type, "agentMessage") != 0)
        return;
    const char *phase = json_str_at(params, "item.phase");
    struct item *item = open_item(t, json_str_at(params, "item.id"));
    if (item != NULL)
        item->commentary = phase != NULL && strcmp(phase, "commentary") == 0;
}

static void on_text_delta(struct turn *t, const json_t *params)
{
    const char *id = json_str_at(params, "itemId");
    const json_t *delta = json_object_get(params, "delta");
    struct item *item = find_item(t, id);
    if (item == NULL)
        item = open_item(t, id);
    if (item == NULL || !json_is_string(delta))
        return;
    item->sent_bytes += json_string_length(delta);
    give_bytes(t, channel_of(t, item), json_string_value(delta), json_string_length(delta));
}

/* The whole text comes again at the end: what no delta brought is given now. */
static void on_item_completed(struct turn *t, const json_t *params)
{
    struct item *item = find_item(t, json_str_at(params, "item.id"));
    const json_t *text = json_at(params, "item.text");
    if (item == NULL)
        return;
    size_t len = json_is_string(text) ? json_string_length(text) : 0;
    struct channel *channel = channel_of(t, item);
    if (len > item->sent_bytes)
        give_bytes(t, channel, json_string_value(text) + item->sent_bytes, len - item->sent_bytes);
    channel->separator = true;
    *item = t->items[--t->item_count];
}

static void on_reasoning_part(struct turn *t, const json_t *params)
{
    (void)params;
    t->reasoning.separator = true;
}

static void on_reasoning_delta(struct turn *t, const json_t *params)
{
    const json_t *delta = json_object_get(params, "delta");
    if (json_is_string(delta))
        give_bytes(t, &t->reasoning, json_string_value(delta), json_string_length(delta));
}

/* A turn may take several responses of the model; their counts add up. */
static void on_response_completed(struct turn *t, const json_t *params)
{
    const json_t *usage = json_object_get(params, "usage");
    t->usage.input += json_int_at(usage, "inputTokens", 0);
    t->usage.cached += json_int_at(usage, "cachedInputTokens", 0);
    t->usage.cache_write += json_int_at(usage, "cacheWriteInputTokens", 0);
    t->usage.output += json_int_at(usage, "outputTokens", 0);
    t->usage.reasoning += json_int_at(usage, "reasoningOutputTokens", 0);
    t->usage.total += json_int_at(usage, "totalTokens", 0);
}

/* Only an error that will not be retried is final, and turn/completed follows it. */
static void on_error(struct turn *t, const json_t *params)
{
    if (json_bool_at(params, "willRetry", 0)) {
        log_info("worker", "upstream_retry", LOG_ID("thread_id", t->thread_id));
        return;
    }
    json_decref(t->error);
    t->error = json_incref(json_object_get(params, "error"));
}

static void on_turn_completed(struct turn *t, const json_t *params)
{
    const char *status = json_str_at(params, "turn.status");
    const json_t *error = json_at(params, "turn.error");
    if (status != NULL && strcmp(status, "completed") == 0)
        give_outcome(t, TURN_COMPLETED);
    else if (status != NULL && strcmp(status, "interrupted") == 0)
        give_outcome(t, TURN_INTERRUPTED);
    else
        give_failure(t, json_is_object(error) ? error : t->error);
    set_state(t, TURN_RELEASING);
}

static const struct {
    const char *method;
    void (*take)(struct turn *t, const json_t *params);
} notes[] = {
    { "item/agentMessage/delta", on_text_delta },
    { "item/reasoning/summaryTextDelta", on_reasoning_delta },
    { "item/reasoning/summaryPartAdded", on_reasoning_part },
    { "item/started", on_item_started },
    { "item/completed", on_item_completed },
    { "rawResponse/completed", on_response_completed },
    { "error", on_error },
    { "turn/completed", on_turn_completed },
};

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
        (void)copy_id(t->turn_id, json_str_at(params, "turn.id"));
}

bool turns_notification(struct turns *turns, const char *method, const json_t *params)
{
    struct turn *t = find_turn(turns, json_str_at(params, "threadId"));
    if (t == NULL)
        return false;
    learn_turn_id(t, method, params);
    if (t->state == TURN_RELEASING || !of_this_turn(t, params))
        return true;
    for (size_t i = 0; i < sizeof(notes) / sizeof(notes[0]); i++) {
        if (strcmp(notes[i].method, method) == 0) {
            notes[i].take(t, params);
            break;
        }
    }
    return true;
}

/* ---- public ---- */

struct turns *turns_new(struct deadlines *deadlines, const struct turns_options *options)
{
    struct turns *turns = xcalloc(1, sizeof(*turns));
    turns->deadlines = deadlines;
    turns->options = *options;
    TAILQ_INIT(&turns->all);
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
    count += t->state != TURN_RELEASING;
    return count;
}

struct turn *turn_begin(struct turns *turns, struct turn_plan *plan,
                        const struct turn_events *events, void *owner)
{
    if (turns->rpc == NULL) {
        turn_plan_free(plan);
        return NULL;
    }
    struct turn *t = xcalloc(1, sizeof(*t));
    t->turns = turns;
    t->events = events;
    t->owner = owner;
    t->plan = *plan;
    *plan = (struct turn_plan){ NULL, NULL, NULL };
    TAILQ_INSERT_TAIL(&turns->all, t, link);
    set_state(t, TURN_OPENING);
    return t;
}

void turn_detach(struct turn *turn)
{
    if (turn == NULL)
        return;
    turn->events = NULL;
    turn->owner = NULL;
    /* In an earlier state the answer to the call under way finds nobody and takes the way out. */
    if (turn->state == TURN_RUNNING)
        set_state(turn, TURN_INTERRUPTING);
}
