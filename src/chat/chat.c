/* One chat completion: the events of its turns in, the bytes of its answer out. */
#include "chat.h"

#include "chat_request.h"
#include "chunk.h"
#include "conversation.h"
#include "failure.h"
#include "mem.h"
#include "message.h"
#include "trace.h"

#include <stdlib.h>
#include <string.h>

/* One of the `n` answers, with a turn of its own. */
struct choice {
    struct chat *chat; /* borrowed */
    size_t index;
    struct turn *turn; /* linked; NULL once it has ended */
    /* Of a stream: what has come since it was last framed, all of one kind. Of a collected answer: all of it. */
    struct buf content;       /* owned */
    struct buf reasoning;     /* owned */
    struct buf said;          /* owned: the content of the whole answer */
    struct stop stop;         /* owned; its sequences lie in chat->root */
    struct chunk_call *calls; /* owned, and so are their strings */
    size_t call_count;
    const char *finish_reason; /* static; NULL while it runs */
};

struct chat {
    enum chat_state state;
    bool stream;
    bool legacy_calls;
    bool parallel_calls;
    size_t completion_max_bytes;
    json_t *root;           /* owned: a reference to the request */
    struct chunk_head head; /* its strings are owned */
    struct choice *choices; /* owned */
    size_t choice_count;
    size_t running;                    /* choices that have not ended */
    struct turn_plan plan;             /* owned: kept while it may have to be run again */
    struct conversation *conversation; /* owned */
    bool may_run_again;
    struct buf frames; /* owned: what is ready to be sent */
    struct turn_usage usage;
    const char *finish_reason; /* static: of the last choice that ended */
    struct api_error error;
    struct trace *trace; /* counted; NULL: it is not recorded */
    void (*on_output)(void *ctx);
    void *ctx; /* borrowed */
};

static void choice_init(struct chat *c, size_t index, const struct chat_request *request)
{
    struct choice *ch = &c->choices[index];
    *ch = (struct choice){ .chat = c, .index = index };
    chat_request_stops(request, &ch->stop);
}

struct chat *chat_new(const struct chat_options *o, void (*on_output)(void *ctx), void *ctx)
{
    const struct chat_request *request = o->request;
    const char *tier = request->service_tier != NULL ? request->service_tier : "default";
    struct chat *c = xcalloc(1, sizeof(*c));
    c->stream = request->stream;
    c->legacy_calls = request->tools.legacy;
    c->parallel_calls = request->tools.parallel;
    c->completion_max_bytes = o->completion_max_bytes;
    c->may_run_again = o->runs_again;
    c->root = json_incref(request->root);
    c->head = (struct chunk_head){ .id = xstrdup(o->id),
                                   .model = xstrdup(request->model),
                                   .fingerprint = xstrdup(o->fingerprint),
                                   .service_tier = tier,
                                   .created = o->created,
                                   .include_usage = request->include_usage };
    c->trace = trace_ref(o->trace);
    c->on_output = on_output;
    c->ctx = ctx;
    c->choice_count = request->choices;
    c->choices = xcalloc(c->choice_count, sizeof(*c->choices));
    for (size_t i = 0; i < c->choice_count; i++)
        choice_init(c, i, request);
    return c;
}

static void detach_all(struct chat *c)
{
    for (size_t i = 0; i < c->choice_count; i++) {
        turn_detach(c->choices[i].turn);
        c->choices[i].turn = NULL;
    }
}

static void free_text(const char *text)
{
    free((char *)(uintptr_t)text);
}

static void free_calls(struct choice *ch)
{
    for (size_t i = 0; i < ch->call_count; i++) {
        free_text(ch->calls[i].id);
        free_text(ch->calls[i].name);
        free_text(ch->calls[i].arguments);
    }
    free(ch->calls);
    ch->calls = NULL;
    ch->call_count = 0;
}

static void choice_free(struct choice *ch)
{
    buf_free(&ch->content);
    buf_free(&ch->reasoning);
    buf_free(&ch->said);
    stop_free(&ch->stop);
    free_calls(ch);
}

void chat_free(struct chat *c)
{
    if (c == NULL)
        return;
    detach_all(c);
    for (size_t i = 0; i < c->choice_count; i++)
        choice_free(&c->choices[i]);
    free(c->choices);
    turn_plan_free(&c->plan);
    conversation_free(c->conversation);
    trace_unref(c->trace);
    buf_free(&c->frames);
    json_decref(c->root);
    free_text(c->head.id);
    free_text(c->head.model);
    free_text(c->head.fingerprint);
    free(c);
}

/* ---- frames ---- */

static void frame_gathered(struct choice *ch, struct buf *text, const char *member)
{
    struct chat *c = ch->chat;
    if (text->len == 0)
        return;
    chunk_delta(&c->frames, &c->head, ch->index, member, text->data, text->len);
    buf_clear(text);
}

/* At most one of the two holds text, so their order is not a question. */
static void frame_choice(struct choice *ch)
{
    frame_gathered(ch, &ch->reasoning, "reasoning_content");
    frame_gathered(ch, &ch->content, "content");
}

static void frame_all(struct chat *c)
{
    for (size_t i = 0; i < c->choice_count; i++)
        frame_choice(&c->choices[i]);
}

static void begin_stream(struct chat *c)
{
    if (c->state > CHAT_LOST || !c->stream)
        return;
    c->state = CHAT_STREAMING;
    c->may_run_again = false;
    turn_plan_free(&c->plan);
    for (size_t i = 0; i < c->choice_count; i++)
        chunk_role(&c->frames, &c->head, i);
}

/* ---- failure ---- */

static void fail(struct chat *c, const struct api_error *error)
{
    c->error = *error;
    detach_all(c);
    if (c->state == CHAT_STREAMING) {
        frame_all(c);
        chunk_error(&c->frames, &c->error);
        c->state = CHAT_ENDED;
    } else {
        c->state = CHAT_FAILED;
    }
}

static void fail_too_large(struct chat *c)
{
    struct api_error error;
    api_error_set(&error, 502, "server_error", "completion_too_large", NULL,
                  "The answer is larger than this endpoint collects; ask for a stream.");
    error.should_retry = -1;
    fail(c, &error);
}

/* ---- the end of a choice, and of all ---- */

static struct chunk_message message_of(const struct choice *ch)
{
    return (struct chunk_message){ &ch->content,   &ch->reasoning,         ch->calls,
                                   ch->call_count, ch->chat->legacy_calls, ch->finish_reason };
}

static void finish_whole(struct chat *c)
{
    chunk_whole_begin(&c->frames, &c->head);
    for (size_t i = 0; i < c->choice_count; i++) {
        const struct chunk_message message = message_of(&c->choices[i]);
        chunk_whole_choice(&c->frames, i, &message);
        buf_clear(&c->choices[i].content);
        buf_clear(&c->choices[i].reasoning);
    }
    chunk_whole_end(&c->frames, &c->usage);
}

static void finish_choice_stream(struct choice *ch)
{
    struct chat *c = ch->chat;
    begin_stream(c); /* an answer without a word is still one */
    frame_choice(ch);
    for (size_t i = 0; i < ch->call_count; i++)
        chunk_call(&c->frames, &c->head, ch->index, i, &ch->calls[i], c->legacy_calls);
    chunk_finish(&c->frames, &c->head, ch->index, ch->finish_reason);
}

static void finish_choice(struct choice *ch, const char *reason)
{
    struct chat *c = ch->chat;
    ch->finish_reason = reason;
    c->finish_reason = reason;
    c->running--;
    if (c->stream)
        finish_choice_stream(ch);
    if (c->running != 0)
        return;
    if (!c->stream) {
        finish_whole(c);
    } else {
        if (c->head.include_usage)
            chunk_usage(&c->frames, &c->head, &c->usage);
        chunk_done(&c->frames);
    }
    c->state = CHAT_ENDED;
}

/* ---- the thread is kept for who carries on from here ---- */

static const struct buf *whole_content(const struct choice *ch)
{
    return ch->chat->stream ? &ch->said : &ch->content;
}

/* What the client will send back as the assistant's message, as items. */
static json_t *answer_items(const struct choice *ch)
{
    const struct buf *content = whole_content(ch);
    json_t *items = json_array();
    json_t *message = json_pack("{s:s}", "role", "assistant");
    if (content->len != 0)
        json_object_set_new(message, "content", json_stringn(content->data, content->len));
    json_t *calls = json_array();
    for (size_t i = 0; i < ch->call_count; i++)
        json_array_append_new(calls, json_pack("{s:s, s:{s:s, s:s}}", "id", ch->calls[i].id,
                                               "function", "name", ch->calls[i].name, "arguments",
                                               ch->calls[i].arguments));
    json_object_set_new(message, "tool_calls", calls);
    message_append_items(items, message, 0);
    json_decref(message);
    return items;
}

static void keep(const struct choice *ch, struct turn *turn, bool parked)
{
    struct chat *c = ch->chat;
    if (c->choice_count != 1 || c->legacy_calls || whole_content(ch)->len > c->completion_max_bytes)
        return;
    unsigned char digest[TURN_DIGEST_BYTES];
    json_t *items = answer_items(ch);
    conversation_digest_after(c->conversation, items, parked, digest);
    json_decref(items);
    turn_keep(turn, digest);
}

/* ---- events of a turn ---- */

/* Every event ends in a call of on_output, which may free the chat: it is always the last thing done. */
static bool too_large(const struct chat *c)
{
    return !c->stream && chat_pending(c) > c->completion_max_bytes;
}

static void on_reasoning(void *owner, const char *text, size_t len)
{
    struct choice *ch = owner;
    struct chat *c = ch->chat;
    if (c->stream)
        frame_gathered(ch, &ch->content, "content");
    buf_append(&ch->reasoning, text, len);
    begin_stream(c);
    if (too_large(c))
        fail_too_large(c);
    c->on_output(c->ctx);
}

static void on_text(void *owner, const char *text, size_t len)
{
    struct choice *ch = owner;
    struct chat *c = ch->chat;
    if (c->stream)
        frame_gathered(ch, &ch->reasoning, "reasoning_content");
    size_t before = ch->content.len;
    bool stopped = stop_take(&ch->stop, text, len, &ch->content);
    if (c->stream && ch->content.len != before)
        buf_append(&ch->said, ch->content.data + before, ch->content.len - before);
    if (ch->content.len != before)
        begin_stream(c);
    if (stopped) {
        turn_detach(ch->turn);
        ch->turn = NULL;
        finish_choice(ch, "stop");
    } else if (too_large(c)) {
        fail_too_large(c);
    }
    c->on_output(c->ctx);
}

static void take_calls(struct choice *ch, const struct turn_end *end)
{
    size_t count = ch->chat->parallel_calls ? end->call_count : 1;
    ch->calls = xcalloc(count, sizeof(*ch->calls));
    ch->call_count = count;
    for (size_t i = 0; i < count; i++) {
        char name[TOOLSET_NAME_SIZE];
        toolset_client_name(end->calls[i].name, name);
        ch->calls[i] = (struct chunk_call){ .id = xstrdup(end->calls[i].id),
                                            .name = xstrdup(name),
                                            .arguments = xstrdup(end->calls[i].arguments) };
    }
}

static void add_count(int64_t *sum, int64_t count)
{
    if (__builtin_add_overflow(*sum, count, sum))
        *sum = INT64_MAX;
}

static void add_usage(struct turn_usage *sum, const struct turn_usage *u)
{
    add_count(&sum->input, u->input);
    add_count(&sum->cached, u->cached);
    add_count(&sum->cache_write, u->cache_write);
    add_count(&sum->output, u->output);
    add_count(&sum->reasoning, u->reasoning);
    add_count(&sum->total, u->total);
}

/* No stop sequence can come any more: what was held back is part of the answer. */
static void release_held(struct choice *ch)
{
    size_t before = ch->content.len;
    if (ch->chat->stream && ch->stop.held.len != 0)
        frame_gathered(ch, &ch->reasoning, "reasoning_content");
    stop_end(&ch->stop, &ch->content);
    if (ch->chat->stream && ch->content.len != before)
        buf_append(&ch->said, ch->content.data + before, ch->content.len - before);
}

/* As if nothing had been heard yet. */
static void reset_choice(struct choice *ch)
{
    buf_clear(&ch->content);
    buf_clear(&ch->reasoning);
    buf_clear(&ch->said);
    buf_clear(&ch->stop.held);
    free_calls(ch);
    ch->finish_reason = NULL;
}

/* Nobody has seen a byte of it: it can be run as if it had never begun. */
static void lose(struct chat *c)
{
    detach_all(c);
    for (size_t i = 0; i < c->choice_count; i++)
        reset_choice(&c->choices[i]);
    c->running = 0;
    c->usage = (struct turn_usage){ .input = 0 };
    c->finish_reason = NULL;
    c->may_run_again = false;
    c->state = CHAT_LOST;
    c->on_output(c->ctx);
}

static void on_end(void *owner, const struct turn_end *end)
{
    struct choice *ch = owner;
    struct chat *c = ch->chat;
    struct api_error error;
    ch->turn = NULL;
    if (end->outcome == TURN_LOST && c->state == CHAT_WAITING && c->may_run_again) {
        lose(c);
        return;
    }
    add_usage(&c->usage, &end->usage);
    const char *reason = failure_finish_reason(end, &error);
    if (reason == NULL) {
        fail(c, &error);
        c->on_output(c->ctx);
        return;
    }
    release_held(ch);
    if (end->outcome == TURN_CALLS) {
        take_calls(ch, end);
        reason = c->legacy_calls ? "function_call" : "tool_calls";
    }
    /* A batch of which the client saw only a part can never be answered in full. */
    bool whole_batch = end->outcome == TURN_CALLS && ch->call_count == end->call_count;
    if (end->outcome == TURN_COMPLETED || whole_batch)
        keep(ch, end->turn, end->outcome == TURN_CALLS);
    finish_choice(ch, reason);
    c->on_output(c->ctx);
}

static const struct turn_events turn_events = { on_text, on_reasoning, on_end };

/* ---- public ---- */

void chat_set_plan(struct chat *c, struct turn_plan *plan, struct conversation *conversation)
{
    c->plan = *plan;
    *plan = (struct turn_plan){ NULL, NULL, NULL };
    c->conversation = conversation;
}

static struct turn *begin_choice(struct chat *c, struct choice *ch, struct turns *turns)
{
    struct turn_plan own = { json_incref(c->plan.thread), json_incref(c->plan.items),
                             json_deep_copy(c->plan.start) };
    if (c->choice_count != 1)
        return turn_begin(turns, &own, &turn_events, ch, c->trace);
    return conversation_run(c->conversation, json_object_get(c->root, "messages"), turns, &own,
                            &turn_events, ch, c->trace);
}

bool chat_begin(struct chat *c, struct turns *turns)
{
    if (turns == NULL)
        return false;
    c->state = CHAT_WAITING;
    for (size_t i = 0; i < c->choice_count; i++) {
        struct choice *ch = &c->choices[i];
        ch->turn = begin_choice(c, ch, turns);
        if (ch->turn == NULL)
            break;
        c->running++;
    }
    if (!c->may_run_again)
        turn_plan_free(&c->plan);
    return c->running == c->choice_count;
}

enum chat_state chat_state(const struct chat *c)
{
    return c->state;
}

void chat_keepalive(struct chat *c)
{
    if (!c->stream || c->state == CHAT_ENDED || c->state == CHAT_FAILED)
        return;
    trace_repeat(c->trace, "keepalive");
    begin_stream(c);
    frame_all(c);
    chunk_comment(&c->frames);
    c->on_output(c->ctx);
}

void chat_abort(struct chat *c, const struct api_error *error)
{
    if (c->state == CHAT_ENDED || c->state == CHAT_FAILED)
        return;
    fail(c, error);
    c->on_output(c->ctx);
}

void chat_pull(struct chat *c, struct buf *out)
{
    if (c->stream)
        frame_all(c);
    buf_append(out, c->frames.data, c->frames.len);
    buf_clear(&c->frames);
}

size_t chat_pending(const struct chat *c)
{
    size_t pending = c->frames.len;
    for (size_t i = 0; i < c->choice_count; i++)
        pending += c->choices[i].content.len + c->choices[i].reasoning.len;
    return pending;
}

const struct api_error *chat_error(const struct chat *c)
{
    return &c->error;
}

const struct turn_usage *chat_usage(const struct chat *c)
{
    return &c->usage;
}

size_t chat_tool_calls(const struct chat *c)
{
    size_t count = 0;
    for (size_t i = 0; i < c->choice_count; i++)
        count += c->choices[i].call_count;
    return count;
}

const char *chat_finish_reason(const struct chat *c)
{
    return c->finish_reason;
}
