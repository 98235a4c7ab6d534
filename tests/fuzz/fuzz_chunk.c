/* Input: a script, a line each, of one chat with a well-behaved worker. Whatever the pieces, the client reads frames of
 * one JSON document each whose content is what the model wrote, up to the first stop sequence.
 *
 *     w       not a stream: one whole answer          s TEXT  a stop sequence
 *     u       include_usage                           m / M   a new message of the model / a commentary
 *     t TEXT  the model writes                        r TEXT  the model thinks
 *     p       the client reads                        k       a comment line is due
 *     c TEXT  the model calls a function with these arguments
 *     f TEXT  the turn fails with this message
 *
 * In TEXT, \n is a newline, \0 a NUL and \\ a backslash; bytes that are no UTF-8 become question marks. */
#include "chat.h"
#include "chat_request.h"
#include "conversation.h"
#include "deadline.h"
#include "fuzz.h"
#include "plan.h"
#include "rpc.h"

#include <sodium.h>
#include <uv.h>

#define CALLS_MAX 8
#define LATER_MS 1000000

static struct deadlines *deadlines;

struct stage {
    struct rpc *rpc;     /* owned */
    struct turns *turns; /* owned */
    struct chat *chat;   /* owned */
    bool over;           /* a stop sequence has come, or the end: nothing more is expected */
    bool failed;
    unsigned message; /* names the model's message under way */
    bool message_open;
    bool commentary;
    struct buf stops[STOP_MAX];
    size_t stop_count;
    bool stream;
    bool include_usage;
    size_t calls;
    struct buf arguments[CALLS_MAX]; /* of the calls */
    struct output_channel text_channel;
    struct output_channel reasoning_channel;
    struct buf said; /* by the model, as it is to arrive */
    struct buf thought;
    struct buf bytes;   /* that the client got */
    struct buf content; /* read out of the frames */
    struct buf reasoning;
};

/* ---- text of the script ---- */

/* Length of the UTF-8 character that the bytes begin with; 0: none. */
static size_t character(const unsigned char *at, size_t len)
{
    size_t need = *at < 0x80 ? 1 : (*at & 0xE0) == 0xC0 ? 2 : (*at & 0xF0) == 0xE0 ? 3 : 4;
    if (need > len)
        return 0;
    json_t *string = json_stringn((const char *)at, need);
    json_decref(string);
    return string != NULL ? need : 0;
}

/* What stands behind a backslash; -1: nothing special. */
static int unescape(char c)
{
    switch (c) {
    case 'n':
        return '\n';
    case '0':
        return '\0';
    case '\\':
        return '\\';
    default:
        return -1;
    }
}

static void append_text(struct buf *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len;) {
        size_t n = character((const unsigned char *)text + i, len - i);
        int escaped = text[i] == '\\' && i + 1 < len ? unescape(text[i + 1]) : -1;
        if (escaped >= 0) {
            buf_putc(out, (char)escaped);
            i += 2;
        } else if (n == 0) {
            buf_putc(out, '?');
            i++;
        } else {
            buf_append(out, text + i, n);
            i += n;
        }
    }
}

/* ---- the worker ---- */

static bool on_write(void *ctx, char *bytes, size_t len)
{
    (void)ctx, (void)len;
    free(bytes);
    return true;
}

static void on_notification(void *ctx, const struct rpc_message *note)
{
    struct stage *s = ctx;
    (void)turns_notification(s->turns, note);
}

static void on_request(void *ctx, const struct rpc_message *request)
{
    (void)ctx, (void)request;
}

static const struct rpc_handlers handlers = { on_write, on_notification, on_request };

static void receive(struct stage *s, json_t *message)
{
    struct buf line = BUF_INIT;
    FUZZ_CHECK(message != NULL);
    json_write(&line, message);
    json_decref(message);
    FUZZ_CHECK(rpc_receive(s->rpc, line.data, line.len));
    buf_free(&line);
}

static void note(struct stage *s, const char *method, json_t *members)
{
    json_t *params = json_pack("{s:s, s:s}", "threadId", "th", "turnId", "tu");
    json_object_update(params, members);
    json_decref(members);
    receive(s, json_pack("{s:s, s:o}", "method", method, "params", params));
}

static json_t *string_of(const struct buf *text)
{
    return json_stringn(text->data != NULL ? text->data : "", text->len);
}

/* ---- what is to arrive ---- */

static void expect(struct stage *s, struct output_channel *channel, struct buf *all,
                   const struct buf *piece)
{
    if (s->over || piece->len == 0)
        return;
    if (channel->used && channel->separator)
        buf_puts(all, "\n\n");
    channel->used = true;
    channel->separator = false;
    buf_append(all, piece->data, piece->len);
}

/* Where the text ends by the first stop sequence that is complete, byte by byte; its length if none is. */
static size_t stopped_at(const struct stage *s, const struct buf *text, bool *ret_stopped)
{
    for (size_t end = 1; end <= text->len; end++) {
        size_t cut = SIZE_MAX;
        for (size_t i = 0; i < s->stop_count; i++) {
            const struct buf *stop = &s->stops[i];
            size_t at = end - stop->len;
            if (stop->len <= end && memcmp(text->data + at, stop->data, stop->len) == 0 && at < cut)
                cut = at;
        }
        if (cut != SIZE_MAX) {
            *ret_stopped = true;
            return cut;
        }
    }
    return text->len;
}

/* ---- steps of the script ---- */

static void start_message(struct stage *s, bool commentary)
{
    char id[16];
    s->message++;
    s->message_open = true;
    s->commentary = commentary;
    snprintf(id, sizeof(id), "m%u", s->message);
    (commentary ? &s->reasoning_channel : &s->text_channel)->separator = true;
    note(s, "item/started",
         json_pack("{s:{s:s, s:s, s:s}}", "item", "type", "agentMessage", "id", id, "phase",
                   commentary ? "commentary" : "final_answer"));
}

static void write_text(struct stage *s, const struct buf *text)
{
    char id[16];
    bool stopped = false;
    if (!s->message_open)
        start_message(s, false);
    expect(s, s->commentary ? &s->reasoning_channel : &s->text_channel,
           s->commentary ? &s->thought : &s->said, text);
    size_t cut = stopped_at(s, &s->said, &stopped);
    s->said.len = cut;
    snprintf(id, sizeof(id), "m%u", s->message);
    note(s, "item/agentMessage/delta",
         json_pack("{s:s, s:o}", "itemId", id, "delta", string_of(text)));
    s->over = s->over || stopped;
}

static void think(struct stage *s, const struct buf *text)
{
    expect(s, &s->reasoning_channel, &s->thought, text);
    note(s, "item/reasoning/summaryTextDelta",
         json_pack("{s:s, s:o}", "itemId", "r1", "delta", string_of(text)));
}

static void call_function(struct stage *s, struct buf *arguments)
{
    char id[16];
    if (s->calls == CALLS_MAX || s->over)
        return;
    for (size_t i = 0; i < arguments->len; i++) /* the worker's text has no U+0000 */
        if (arguments->data[i] == '\0')
            arguments->data[i] = '0';
    snprintf(id, sizeof(id), "c%zu", s->calls);
    note(s, "rawResponseItem/completed",
         json_pack("{s:{s:s, s:s, s:s, s:o}}", "item", "type", "function_call", "call_id", id,
                   "name", "look", "arguments", string_of(arguments)));
    buf_append(&s->arguments[s->calls++], arguments->data, arguments->len);
}

static void fail_turn(struct stage *s, const struct buf *message)
{
    s->failed = s->failed || !s->over;
    s->over = true;
    receive(s, json_pack("{s:s, s:{s:s, s:{s:s, s:s, s:{s:o}}}}", "method", "turn/completed",
                         "params", "threadId", "th", "turn", "id", "tu", "status", "failed",
                         "error", "message", string_of(message)));
}

static void step(struct stage *s, char what, const struct buf *text)
{
    switch (what) {
    case 't':
        write_text(s, text);
        break;
    case 'r':
        think(s, text);
        break;
    case 'm':
    case 'M':
        start_message(s, what == 'M');
        break;
    case 'c':
        call_function(s, (struct buf *)(uintptr_t)text);
        break;
    case 'f':
        fail_turn(s, text);
        break;
    case 'p':
        chat_pull(s->chat, &s->bytes);
        break;
    case 'k':
        chat_keepalive(s->chat);
        break;
    default:
        break;
    }
}

/* ---- the client ---- */

static void append_string(struct buf *out, const json_t *string)
{
    if (json_is_string(string))
        buf_append(out, json_string_value(string), json_string_length(string));
}

/* One event, without the blank line behind it. */
static void read_frame(struct stage *s, const char *text, size_t len, bool *ret_done)
{
    FUZZ_CHECK(!*ret_done);
    FUZZ_CHECK(memchr(text, '\n', len) == NULL && memchr(text, '\r', len) == NULL);
    if (text[0] == ':')
        return;
    FUZZ_CHECK(len > 6 && memcmp(text, "data: ", 6) == 0);
    if (len == 12 && memcmp(text + 6, "[DONE]", 6) == 0) {
        *ret_done = true;
        return;
    }
    json_t *chunk = json_parse(text + 6, len - 6, NULL);
    FUZZ_CHECK(json_is_object(chunk));
    const json_t *choices = json_object_get(chunk, "choices");
    const json_t *delta = json_object_get(json_array_get(choices, 0), "delta");
    if (json_object_get(chunk, "error") != NULL) {
        FUZZ_CHECK(s->failed && json_object_size(chunk) == 1);
        *ret_done = true; /* nothing follows */
    } else {
        FUZZ_CHECK(json_array_size(choices) <= 1);
        FUZZ_CHECK((json_object_get(chunk, "usage") != NULL) == s->include_usage);
    }
    append_string(&s->content, json_object_get(delta, "content"));
    append_string(&s->reasoning, json_object_get(delta, "reasoning_content"));
    const json_t *call = json_array_get(json_object_get(delta, "tool_calls"), 0);
    size_t index = (size_t)json_int_at(call, "index", CALLS_MAX);
    const json_t *arguments = json_at(call, "function.arguments");
    if (index < CALLS_MAX && json_string_length(arguments) != 0) {
        struct buf *wanted = &s->arguments[index];
        FUZZ_CHECK(wanted->len == json_string_length(arguments) &&
                   memcmp(wanted->data, json_string_value(arguments), wanted->len) == 0);
    }
    json_decref(chunk);
}

static void read_stream(struct stage *s)
{
    const char *at = s->bytes.data;
    const char *end = at + s->bytes.len;
    bool done = false;
    while (at < end) {
        const char *blank = memmem(at, (size_t)(end - at), "\n\n", 2);
        FUZZ_CHECK(blank != NULL);
        read_frame(s, at, (size_t)(blank - at), &done);
        at = blank + 2;
    }
    FUZZ_CHECK(done);
}

static void read_whole(struct stage *s)
{
    json_t *answer = json_parse(s->bytes.data, s->bytes.len, NULL);
    FUZZ_CHECK(json_is_object(answer));
    const json_t *message =
        json_object_get(json_array_get(json_object_get(answer, "choices"), 0), "message");
    append_string(&s->content, json_object_get(message, "content"));
    append_string(&s->reasoning, json_object_get(message, "reasoning_content"));
    json_decref(answer);
}

static bool same(const struct buf *a, const struct buf *b)
{
    return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

static void read_answer(struct stage *s)
{
    chat_pull(s->chat, &s->bytes);
    FUZZ_CHECK(chat_state(s->chat) == CHAT_ENDED || chat_state(s->chat) == CHAT_FAILED);
    if (chat_state(s->chat) == CHAT_FAILED) {
        FUZZ_CHECK(s->failed && s->bytes.len == 0);
        FUZZ_CHECK(chat_error(s->chat)->status >= 400 && *chat_error(s->chat)->message != '\0');
        return;
    }
    FUZZ_CHECK(chat_pending(s->chat) == 0);
    if (s->stream)
        read_stream(s);
    else
        read_whole(s);
    if (s->failed) /* what was held back as a possible stop sequence is lost then */
        FUZZ_CHECK(
            s->content.len <= s->said.len &&
            (s->content.len == 0 || memcmp(s->content.data, s->said.data, s->content.len) == 0));
    else
        FUZZ_CHECK(same(&s->content, &s->said));
    FUZZ_CHECK(same(&s->reasoning, &s->thought));
}

/* ---- the whole ---- */

static void on_output(void *ctx)
{
    (void)ctx;
}

static char *request_text(const struct stage *s, size_t *ret_len)
{
    json_t *stops = json_array();
    for (size_t i = 0; i < s->stop_count; i++)
        json_array_append_new(stops, string_of(&s->stops[i]));
    json_t *request =
        json_pack("{s:s, s:[{s:s, s:s}], s:b, s:o, s:[{s:s, s:{s:s}}]}", "model", "m", "messages",
                  "role", "user", "content", "hi", "stream", s->stream, "stop", stops, "tools",
                  "type", "function", "function", "name", "look");
    if (s->include_usage)
        json_object_set_new(request, "stream_options", json_pack("{s:b}", "include_usage", 1));
    struct buf text = BUF_INIT;
    json_write(&text, request);
    json_decref(request);
    *ret_len = text.len;
    return buf_detach(&text);
}

static void begin(struct stage *s)
{
    const struct turns_options options = { .rpc_timeout_ms = LATER_MS,
                                           .turn_timeout_ms = LATER_MS,
                                           .first_event_timeout_ms = LATER_MS,
                                           .silence_timeout_ms = LATER_MS };
    struct chat_request request;
    struct api_error error;
    struct turn_plan plan;
    size_t len = 0;
    char *text = request_text(s, &len);
    FUZZ_CHECK(chat_request_parse(&request, text, len, &error));
    free(text);
    plan_make(&plan, &request, &(struct plan_options){ "m", NULL, "auto" });
    struct conversation *conversation = conversation_new("me", &plan);
    s->rpc = rpc_new(deadlines, 1, &handlers, s);
    s->turns = turns_new(deadlines, &options);
    turns_worker_ready(s->turns, s->rpc);
    s->chat = chat_new(&(struct chat_options){ .request = &request,
                                               .id = "chatcmpl-1",
                                               .fingerprint = "fp",
                                               .created = 1,
                                               .completion_max_bytes = 1 << 24 },
                       on_output, s);
    chat_set_plan(s->chat, &plan, conversation);
    FUZZ_CHECK(chat_begin(s->chat, s->turns));
    chat_request_free(&request);
    receive(s, json_pack("{s:i, s:{s:{s:s}}}", "id", 1, "result", "thread", "id", "th"));
    receive(s, json_pack("{s:i, s:{}}", "id", 2, "result"));
    receive(s, json_pack("{s:i, s:{s:{s:s}}}", "id", 3, "result", "turn", "id", "tu"));
}

static void end_turn(struct stage *s)
{
    if (s->calls != 0)
        note(s, "rawResponse/completed", json_pack("{s:{s:i}}", "usage", "totalTokens", 3));
    receive(s, json_pack("{s:s, s:{s:s, s:{s:s, s:s}}}", "method", "turn/completed", "params",
                         "threadId", "th", "turn", "id", "tu", "status", "completed"));
}

static void end(struct stage *s)
{
    chat_free(s->chat);
    turns_free(s->turns);
    rpc_free(s->rpc);
    for (size_t i = 0; i < STOP_MAX; i++)
        buf_free(&s->stops[i]);
    for (size_t i = 0; i < CALLS_MAX; i++)
        buf_free(&s->arguments[i]);
    buf_free(&s->said);
    buf_free(&s->thought);
    buf_free(&s->bytes);
    buf_free(&s->content);
    buf_free(&s->reasoning);
}

/* The lines that say what is asked for, wherever they stand. */
static void read_options(struct stage *s, const char *at, const char *end_of_script)
{
    const char *line = NULL;
    size_t len = 0;
    s->stream = true;
    while (fuzz_line(&at, end_of_script, &line, &len)) {
        struct buf text = BUF_INIT;
        if (len == 1 && *line == 'w')
            s->stream = false;
        if (len == 1 && *line == 'u')
            s->include_usage = true;
        if (len > 2 && *line == 's')
            append_text(&text, line + 2, len - 2);
        if (text.len != 0 && text.len <= STOP_BYTES_MAX && s->stop_count < STOP_MAX)
            s->stops[s->stop_count++] = text;
        else
            buf_free(&text);
    }
    s->include_usage = s->include_usage && s->stream;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uv_loop_t loop;
    struct stage s = { .over = false };
    const char *at = (const char *)data;
    const char *line = NULL;
    size_t len = 0;
    if (deadlines == NULL) {
        json_setup();
        FUZZ_CHECK(sodium_init() >= 0);
        FUZZ_CHECK(uv_loop_init(&loop) == 0);
        deadlines = deadlines_new(&loop);
    }
    read_options(&s, at, at + size);
    begin(&s);
    while (fuzz_line(&at, (const char *)data + size, &line, &len)) {
        struct buf text = BUF_INIT;
        if (len > 2)
            append_text(&text, line + 2, len - 2);
        if (len != 0)
            step(&s, *line, &text);
        buf_free(&text);
    }
    end_turn(&s);
    read_answer(&s);
    end(&s);
    return 0;
}
