/* Plays a scenario: an interpreter over its JSON steps.
 *
 * The answer is made while it is sent, one event at a time, so that a long text never stands in memory
 * as events. */
#include "stub_answer.h"

#include "stub_http.h"
#include "stub_speech.h"
#include "stub_step.h"

#include <stdlib.h>
#include <string.h>

#define BYTES_PER_TOKEN 4

enum stage { STAGE_DELAY, STAGE_HEAD, STAGE_STEPS };

enum item_kind { ITEM_NONE, ITEM_MESSAGE, ITEM_REASONING };

/* An output item that is open: it was added and is not done yet. */
struct item {
    enum item_kind kind;
    char id[40];
    const json_t *phase; /* borrowed from the step; NULL if it has none */
    json_t *summary;     /* owned; the finished parts of a reasoning item */
    struct buf said;     /* owned; the text of the message, or of the open part */
};

struct stub_answer {
    json_t *scenario; /* counted */
    json_t *request;  /* counted */
    unsigned n;
    enum stage stage;
    size_t step;       /* index of the step that plays */
    size_t part;       /* index in that step, for a step of several parts */
    bool speaking;     /* `speech` is under way */
    unsigned items;    /* output items added so far */
    unsigned pause_ms; /* what a play function that returns PAUSE asks for */
    struct item item;
    struct stub_speech speech;
    struct buf echoed; /* owned; the text of an echo step */
    struct buf piece;  /* owned; the delta in the making */
    size_t deltas;
    size_t output_bytes; /* said, reasoned and called */
    size_t reasoning_bytes;
    const json_t *usage; /* borrowed from the scenario; NULL = counted */
};

/* ---- events ---- */

/* Steals `event`, whose "type" is also the name on the wire. */
static void send_event(struct buf *out, json_t *event)
{
    buf_printf(out, "event: %s\ndata: ", json_str_at(event, "type"));
    json_write(out, event);
    buf_puts(out, "\n\n");
    json_decref(event);
}

/* Written by hand: a long text in short cuts is a million of these. */
static void send_delta(const struct stub_answer *a, struct buf *out)
{
    bool message = a->item.kind == ITEM_MESSAGE;
    const char *type =
        message ? "response.output_text.delta" : "response.reasoning_summary_text.delta";
    buf_printf(out,
               "event: %s\ndata: {\"type\":\"%s\",\"item_id\":\"%s\",\"output_index\":%u,"
               "\"%s\":%zu,\"delta\":",
               type, type, a->item.id, a->items - 1, message ? "content_index" : "summary_index",
               message ? 0 : a->part);
    json_quote(out, a->piece.data, a->piece.len);
    buf_puts(out, "}\n\n");
}

static json_t *response(const struct stub_answer *a, const char *status)
{
    json_t *r = json_pack("{s:s, s:s, s:O*, s:[]}", "object", "response", "status", status, "model",
                          json_object_get(a->request, "model"), "output");
    json_object_set_new(r, "id", json_sprintf("resp_stub_%u", a->n));
    return r;
}

static json_int_t tokens(size_t bytes)
{
    return (json_int_t)((bytes + BYTES_PER_TOKEN - 1) / BYTES_PER_TOKEN);
}

/* Four bytes are a token: of the compact JSON of `input`, and of text, reasoning and arguments. */
static json_t *count_usage(const struct stub_answer *a)
{
    json_int_t in = tokens(
        json_dumpb(json_object_get(a->request, "input"), NULL, 0, JSON_COMPACT | JSON_ENCODE_ANY));
    json_int_t out = tokens(a->output_bytes);
    return json_pack("{s:I, s:{s:i}, s:I, s:{s:I}, s:I}", "input_tokens", in,
                     "input_tokens_details", "cached_tokens", 0, "output_tokens", out,
                     "output_tokens_details", "reasoning_tokens", tokens(a->reasoning_bytes),
                     "total_tokens", in + out);
}

/* The last event: response.<status>, with one more member of the response (stolen). */
static enum stub_then send_last(const struct stub_answer *a, struct buf *out, const char *status,
                                const char *name, json_t *value)
{
    json_t *r = response(a, status);
    json_object_set_new(r, name, value);
    json_t *event =
        json_pack("{s:o, s:o}", "type", json_sprintf("response.%s", status), "response", r);
    send_event(out, event);
    return STUB_THEN_END;
}

/* ---- output items ---- */

static json_t *text_part(const char *type, const struct buf *said)
{
    return json_pack("{s:s, s:s%}", "type", type, "text", said->len != 0 ? said->data : "",
                     said->len);
}

static json_t *item_json(const struct item *item, const char *status)
{
    json_t *j = json_pack("{s:s, s:s}", "id", item->id, "status", status);
    bool done = strcmp(status, "completed") == 0;
    if (item->kind == ITEM_MESSAGE) {
        json_t *content = json_array();
        if (done) {
            json_t *part = text_part("output_text", &item->said);
            json_object_set_new(part, "annotations", json_array());
            json_array_append_new(content, part);
        }
        json_t *more = json_pack("{s:s, s:s, s:o, s:O*}", "type", "message", "role", "assistant",
                                 "content", content, "phase", item->phase);
        json_object_update_new(j, more);
    } else {
        json_t *more = json_pack("{s:s, s:O, s:s}", "type", "reasoning", "summary", item->summary,
                                 "encrypted_content", "stub");
        json_object_update_new(j, more);
    }
    return j;
}

static void send_item(const struct stub_answer *a, struct buf *out, const char *type, json_t *item)
{
    send_event(out, json_pack("{s:s, s:i, s:o}", "type", type, "output_index", (int)a->items - 1,
                              "item", item));
}

static void item_free(struct item *item)
{
    json_decref(item->summary);
    buf_free(&item->said);
    *item = (struct item){ .kind = ITEM_NONE, .said = BUF_INIT };
}

static void close_item(struct stub_answer *a, struct buf *out)
{
    if (a->item.kind == ITEM_NONE)
        return;
    send_item(a, out, "response.output_item.done", item_json(&a->item, "completed"));
    item_free(&a->item);
}

static void open_item(struct stub_answer *a, struct buf *out, enum item_kind kind,
                      const json_t *phase)
{
    close_item(a, out);
    a->item.kind = kind;
    a->item.phase = phase;
    a->item.summary = kind == ITEM_REASONING ? json_array() : NULL;
    snprintf(a->item.id, sizeof(a->item.id), "%s_stub_%u_%u", kind == ITEM_MESSAGE ? "msg" : "rs",
             a->n, a->items++);
    send_item(a, out, "response.output_item.added", item_json(&a->item, "in_progress"));
}

static void need_message(struct stub_answer *a, struct buf *out)
{
    if (a->item.kind != ITEM_MESSAGE)
        open_item(a, out, ITEM_MESSAGE, NULL);
}

/* ---- steps ---- */

static enum stub_then next_step(struct stub_answer *a)
{
    a->step++;
    a->part = 0;
    return STUB_THEN_MORE;
}

static void begin_speech(struct stub_answer *a, const char *text, size_t len, const json_t *step)
{
    stub_speech_begin(&a->speech, text, len, step);
    a->speaking = true;
}

/* Says one piece; a->speaking turns false once there is none left. */
static enum stub_then speak(struct stub_answer *a, const json_t *step, struct buf *out)
{
    if (!stub_speech_next(&a->speech, &a->piece)) {
        a->speaking = false;
        return STUB_THEN_MORE;
    }
    send_delta(a, out);
    a->deltas++;
    a->output_bytes += a->piece.len;
    if (a->item.kind == ITEM_REASONING)
        a->reasoning_bytes += a->piece.len;
    buf_append(&a->item.said, a->piece.data, a->piece.len);
    a->pause_ms = (unsigned)json_int_at(step, "every_ms", 0);
    return a->pause_ms != 0 && !stub_speech_over(&a->speech) ? STUB_THEN_PAUSE : STUB_THEN_MORE;
}

static enum stub_then speak_in_message(struct stub_answer *a, const json_t *step, struct buf *out)
{
    enum stub_then then = speak(a, step, out);
    return a->speaking ? then : next_step(a);
}

static enum stub_then play_text(struct stub_answer *a, const json_t *step, struct buf *out)
{
    if (!a->speaking) {
        const json_t *text = json_object_get(step, "text");
        need_message(a, out);
        begin_speech(a, json_string_value(text), json_string_length(text), step);
    }
    return speak_in_message(a, step, out);
}

static enum stub_then play_echo(struct stub_answer *a, const json_t *step, struct buf *out)
{
    if (!a->speaking) {
        const json_t *value = json_object_get(a->request, json_str_at(step, "echo"));
        need_message(a, out);
        buf_clear(&a->echoed);
        if (value != NULL)
            json_write(&a->echoed, value);
        else
            buf_puts(&a->echoed, "null");
        begin_speech(a, a->echoed.data, a->echoed.len, step);
    }
    return speak_in_message(a, step, out);
}

static enum stub_then play_message_start(struct stub_answer *a, const json_t *step, struct buf *out)
{
    open_item(a, out, ITEM_MESSAGE, json_at(step, "message_start.phase"));
    return next_step(a);
}

/* The value is one part, or an array of them. */
static const json_t *reasoning_part(const json_t *step, size_t i)
{
    const json_t *value = json_object_get(step, "reasoning");
    if (json_is_array(value))
        return json_array_get(value, i);
    return i == 0 ? value : NULL;
}

static enum stub_then play_reasoning(struct stub_answer *a, const json_t *step, struct buf *out)
{
    if (!a->speaking) {
        const json_t *part = reasoning_part(step, a->part);
        if (a->part == 0)
            open_item(a, out, ITEM_REASONING, NULL);
        if (part == NULL) {
            close_item(a, out);
            return next_step(a);
        }
        send_event(out,
                   json_pack("{s:s, s:s, s:i, s:i}", "type",
                             "response.reasoning_summary_part.added", "item_id", a->item.id,
                             "output_index", (int)a->items - 1, "summary_index", (int)a->part));
        begin_speech(a, json_string_value(part), json_string_length(part), step);
    }
    enum stub_then then = speak(a, step, out);
    if (!a->speaking) {
        json_array_append_new(a->item.summary, text_part("summary_text", &a->item.said));
        buf_clear(&a->item.said);
        a->part++;
    }
    return then;
}

static json_t *tool_call_json(const struct stub_answer *a, const json_t *call, const char *status)
{
    const char *call_id = json_str_at(call, "call_id");
    const char *arguments = json_str_at(call, "arguments");
    bool done = strcmp(status, "completed") == 0;
    unsigned i = a->items - 1;
    json_t *j = json_pack("{s:s, s:s, s:O, s:s}", "type", "function_call", "status", status, "name",
                          json_object_get(call, "name"), "arguments", done ? arguments : "");
    json_object_set_new(j, "id", json_sprintf("fc_stub_%u_%u", a->n, i));
    json_object_set_new(j, "call_id",
                        call_id != NULL ? json_string(call_id)
                                        : json_sprintf("call_stub_%u_%u", a->n, i));
    return j;
}

static enum stub_then play_tool_call(struct stub_answer *a, const json_t *step, struct buf *out)
{
    const json_t *call = json_object_get(step, "tool_call");
    const char *arguments = json_str_at(call, "arguments");
    close_item(a, out);
    a->items++;
    send_item(a, out, "response.output_item.added", tool_call_json(a, call, "in_progress"));
    json_t *delta = json_pack("{s:s, s:i, s:s}", "type", "response.function_call_arguments.delta",
                              "output_index", (int)a->items - 1, "delta", arguments);
    json_object_set_new(delta, "item_id", json_sprintf("fc_stub_%u_%u", a->n, a->items - 1));
    send_event(out, delta);
    send_item(a, out, "response.output_item.done", tool_call_json(a, call, "completed"));
    a->output_bytes += strlen(arguments);
    return next_step(a);
}

static enum stub_then play_pause(struct stub_answer *a, const json_t *step, struct buf *out)
{
    (void)out;
    a->pause_ms = (unsigned)json_int_at(step, "pause_ms", 0);
    next_step(a);
    return STUB_THEN_PAUSE;
}

static enum stub_then play_usage(struct stub_answer *a, const json_t *step, struct buf *out)
{
    (void)out;
    a->usage = json_object_get(step, "usage");
    return next_step(a);
}

static enum stub_then play_event(struct stub_answer *a, const json_t *step, struct buf *out)
{
    send_event(out, json_incref(json_object_get(step, "event")));
    return next_step(a);
}

static enum stub_then play_fail(struct stub_answer *a, const json_t *step, struct buf *out)
{
    return send_last(a, out, "failed", "error", json_incref(json_object_get(step, "fail")));
}

static enum stub_then play_incomplete(struct stub_answer *a, const json_t *step, struct buf *out)
{
    close_item(a, out);
    return send_last(a, out, "incomplete", "incomplete_details",
                     json_pack("{s:O}", "reason", json_object_get(step, "incomplete")));
}

static enum stub_then play_drop(struct stub_answer *a, const json_t *step, struct buf *out)
{
    (void)a, (void)step, (void)out;
    return STUB_THEN_DROP;
}

static enum stub_then play_hang(struct stub_answer *a, const json_t *step, struct buf *out)
{
    (void)a, (void)step, (void)out;
    return STUB_THEN_HANG;
}

static enum stub_then play_end(struct stub_answer *a, const json_t *step, struct buf *out)
{
    (void)a, (void)step, (void)out;
    return STUB_THEN_END;
}

/* Past the last step. */
static enum stub_then complete(struct stub_answer *a, struct buf *out)
{
    close_item(a, out);
    json_t *usage = a->usage != NULL ? json_deep_copy(a->usage) : count_usage(a);
    return send_last(a, out, "completed", "usage", usage);
}

/* ---- the answer ---- */

static enum stub_then (*const plays[])(struct stub_answer *a, const json_t *step,
                                       struct buf *out) = {
    [STUB_STEP_TEXT] = play_text,
    [STUB_STEP_ECHO] = play_echo,
    [STUB_STEP_MESSAGE_START] = play_message_start,
    [STUB_STEP_REASONING] = play_reasoning,
    [STUB_STEP_TOOL_CALL] = play_tool_call,
    [STUB_STEP_PAUSE] = play_pause,
    [STUB_STEP_USAGE] = play_usage,
    [STUB_STEP_EVENT] = play_event,
    [STUB_STEP_FAIL] = play_fail,
    [STUB_STEP_INCOMPLETE] = play_incomplete,
    [STUB_STEP_DROP] = play_drop,
    [STUB_STEP_HANG] = play_hang,
    [STUB_STEP_END] = play_end,
};

struct stub_answer *stub_answer_new(json_t *scenario, json_t *request, unsigned n)
{
    struct stub_answer *a = xcalloc(1, sizeof(*a));
    a->scenario = json_incref(scenario);
    a->request = json_incref(request);
    a->usage = json_object_get(scenario, "usage");
    a->n = n;
    return a;
}

void stub_answer_free(struct stub_answer *a)
{
    if (a == NULL)
        return;
    item_free(&a->item);
    buf_free(&a->echoed);
    buf_free(&a->piece);
    json_decref(a->request);
    json_decref(a->scenario);
    free(a);
}

/* An answer that is no stream is whole at once. */
static enum stub_then begin(struct stub_answer *a, struct buf *out)
{
    const json_t *headers = json_object_get(a->scenario, "headers");
    a->stage = STAGE_STEPS;
    if (json_object_get(a->scenario, "steps") == NULL) {
        stub_http_reply(out, (int)json_int_at(a->scenario, "status", 200), headers,
                        json_object_get(a->scenario, "body"));
        return STUB_THEN_END;
    }
    stub_http_stream_head(out, headers);
    size_t chunk_at = stub_http_chunk_begin(out);
    send_event(out, json_pack("{s:s, s:o}", "type", "response.created", "response",
                              response(a, "in_progress")));
    stub_http_chunk_end(out, chunk_at);
    return STUB_THEN_MORE;
}

static enum stub_then play(struct stub_answer *a, struct buf *out)
{
    const json_t *step = json_array_get(json_object_get(a->scenario, "steps"), a->step);
    size_t chunk_at = stub_http_chunk_begin(out);
    enum stub_then then =
        step != NULL ? plays[stub_step_kind(step)](a, step, out) : complete(a, out);
    stub_http_chunk_end(out, chunk_at);
    if (then == STUB_THEN_END)
        stub_http_stream_end(out);
    return then;
}

enum stub_then stub_answer_next(struct stub_answer *a, struct buf *out, unsigned *ret_pause_ms)
{
    enum stub_then then = STUB_THEN_PAUSE;
    switch (a->stage) {
    case STAGE_DELAY:
        a->stage = STAGE_HEAD;
        a->pause_ms = (unsigned)json_int_at(a->scenario, "delay_ms", 0);
        break;
    case STAGE_HEAD:
        then = begin(a, out);
        break;
    case STAGE_STEPS:
        then = play(a, out);
        break;
    }
    *ret_pause_ms = a->pause_ms;
    return then;
}

size_t stub_answer_deltas(const struct stub_answer *a)
{
    return a->deltas;
}
