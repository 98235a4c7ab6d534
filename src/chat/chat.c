/* One chat completion: the events of its turn in, the bytes of its answer out. */
#include "chat.h"

#include "chunk.h"
#include "failure.h"
#include "mem.h"

#include <stdlib.h>
#include <string.h>

struct chat {
    struct turn *turn; /* linked; NULL once it has ended */
    enum chat_state state;
    bool stream;
    size_t completion_max_bytes;
    struct chunk_head head; /* its strings are owned */
    /* Of a stream: text that has come since the last pull, all of one kind, and the frames before it. Of a collected
     * answer: all of the text. */
    struct buf content;   /* owned */
    struct buf reasoning; /* owned */
    struct buf frames;    /* owned */
    struct turn_usage usage;
    const char *finish_reason; /* static */
    struct api_error error;
    void (*on_output)(void *ctx);
    void *ctx; /* borrowed */
};

struct chat *chat_new(const struct chat_options *o, void (*on_output)(void *ctx), void *ctx)
{
    struct chat *c = xcalloc(1, sizeof(*c));
    c->stream = o->stream;
    c->completion_max_bytes = o->completion_max_bytes;
    c->head = (struct chunk_head){ .id = xstrdup(o->id),
                                   .model = xstrdup(o->model),
                                   .fingerprint = xstrdup(o->fingerprint),
                                   .created = o->created,
                                   .include_usage = o->include_usage };
    c->on_output = on_output;
    c->ctx = ctx;
    return c;
}

void chat_free(struct chat *c)
{
    if (c == NULL)
        return;
    turn_detach(c->turn);
    buf_free(&c->content);
    buf_free(&c->reasoning);
    buf_free(&c->frames);
    free((char *)(uintptr_t)c->head.id);
    free((char *)(uintptr_t)c->head.model);
    free((char *)(uintptr_t)c->head.fingerprint);
    free(c);
}

/* ---- frames ---- */

static void frame_gathered(struct chat *c, struct buf *text, const char *member)
{
    if (text->len == 0)
        return;
    chunk_delta(&c->frames, &c->head, member, text->data, text->len);
    buf_clear(text);
}

/* At most one of the two holds text, so their order is not a question. */
static void frame_all_gathered(struct chat *c)
{
    frame_gathered(c, &c->reasoning, "reasoning_content");
    frame_gathered(c, &c->content, "content");
}

static void begin_stream(struct chat *c)
{
    if (c->state != CHAT_WAITING || !c->stream)
        return;
    c->state = CHAT_STREAMING;
    chunk_role(&c->frames, &c->head);
}

/* ---- events of the turn ---- */

static void fail(struct chat *c, const struct api_error *error)
{
    c->error = *error;
    if (c->state == CHAT_STREAMING) {
        frame_all_gathered(c);
        chunk_error(&c->frames, &c->error);
        c->state = CHAT_ENDED;
    } else {
        c->state = CHAT_FAILED;
    }
}

static void give_up_too_large(struct chat *c)
{
    struct api_error error;
    api_error_set(&error, 502, "server_error", "completion_too_large", NULL,
                  "The answer is larger than this endpoint collects; ask for a stream.");
    error.should_retry = -1;
    turn_detach(c->turn);
    c->turn = NULL;
    fail(c, &error);
}

/* Every event ends in a call of on_output, which may free the chat: it is always the last thing done. */
static void take_text(struct chat *c, struct buf *to, struct buf *other, const char *text,
                      size_t len)
{
    begin_stream(c);
    if (c->stream && other->len != 0)
        frame_all_gathered(c);
    buf_append(to, text, len);
    if (!c->stream && c->content.len + c->reasoning.len > c->completion_max_bytes) {
        give_up_too_large(c);
    }
    c->on_output(c->ctx);
}

static void on_text(void *owner, const char *text, size_t len)
{
    struct chat *c = owner;
    take_text(c, &c->content, &c->reasoning, text, len);
}

static void on_reasoning(void *owner, const char *text, size_t len)
{
    struct chat *c = owner;
    take_text(c, &c->reasoning, &c->content, text, len);
}

static void finish_stream(struct chat *c)
{
    begin_stream(c); /* an answer without a word is still one */
    frame_all_gathered(c);
    chunk_finish(&c->frames, &c->head, c->finish_reason);
    if (c->head.include_usage)
        chunk_usage(&c->frames, &c->head, &c->usage);
    chunk_done(&c->frames);
}

static void finish_whole(struct chat *c)
{
    const struct chunk_message message = { &c->content, &c->reasoning, c->finish_reason,
                                           &c->usage };
    chunk_whole(&c->frames, &c->head, &message);
    buf_clear(&c->content);
    buf_clear(&c->reasoning);
}

static void on_end(void *owner, const struct turn_end *end)
{
    struct chat *c = owner;
    c->turn = NULL;
    c->usage = end->usage;
    struct api_error error;
    c->finish_reason = failure_finish_reason(end, &error);
    if (c->finish_reason == NULL) {
        fail(c, &error);
    } else {
        if (c->stream)
            finish_stream(c);
        else
            finish_whole(c);
        c->state = CHAT_ENDED;
    }
    c->on_output(c->ctx);
}

static const struct turn_events turn_events = { on_text, on_reasoning, on_end };

/* ---- public ---- */

bool chat_begin(struct chat *c, struct turns *turns, struct turn_plan *plan)
{
    c->turn = turn_begin(turns, plan, &turn_events, c);
    return c->turn != NULL;
}

enum chat_state chat_state(const struct chat *c)
{
    return c->state;
}

void chat_keepalive(struct chat *c)
{
    if (!c->stream || c->state == CHAT_ENDED || c->state == CHAT_FAILED)
        return;
    begin_stream(c);
    frame_all_gathered(c);
    chunk_comment(&c->frames);
    c->on_output(c->ctx);
}

void chat_abort(struct chat *c, const struct api_error *error)
{
    if (c->state == CHAT_ENDED || c->state == CHAT_FAILED)
        return;
    turn_detach(c->turn);
    c->turn = NULL;
    fail(c, error);
    c->on_output(c->ctx);
}

void chat_pull(struct chat *c, struct buf *out)
{
    if (c->stream)
        frame_all_gathered(c);
    buf_append(out, c->frames.data, c->frames.len);
    buf_clear(&c->frames);
}

size_t chat_pending(const struct chat *c)
{
    return c->frames.len + c->content.len + c->reasoning.len;
}

const struct api_error *chat_error(const struct chat *c)
{
    return &c->error;
}

const struct turn_usage *chat_usage(const struct chat *c)
{
    return &c->usage;
}

const char *chat_finish_reason(const struct chat *c)
{
    return c->finish_reason;
}
