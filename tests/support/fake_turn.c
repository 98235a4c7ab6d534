/* Turns: told stage by stage, as their script says. */
#include "fake_turn.h"

#include "clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TURN_SPEECH_MAX 256 /* stages of one turn before the others get a word in */
#define LOOK_MS 10          /* between two looks at what a script waits for */
#define CANCELLED_TEXT "dynamic tool call was cancelled before receiving a response"

static uint64_t later(const struct turn *t, const char *key)
{
    json_int_t ms = json_int_at(t->link, key, 0);
    return ms > 0 ? clock_mono_ms() + (uint64_t)ms : 0;
}

/* Bytes of the first `chars` characters: a delta never ends inside one. */
static size_t chars_len(const char *text, size_t len, size_t chars)
{
    size_t at = 0;
    while (at < len && chars-- > 0)
        for (at++; at < len && ((unsigned char)text[at] & 0xc0) == 0x80;)
            at++;
    return at;
}

/* Bytes of the first word with the spaces that follow it. */
static size_t word_len(const char *text, size_t len)
{
    const char *end = text + len;
    const char *at = text;
    while (at < end && *at != ' ' && *at != '\n')
        at++;
    while (at < end && (*at == ' ' || *at == '\n'))
        at++;
    return (size_t)(at - text);
}

static size_t next_cut(struct turn *t)
{
    struct stream *s = &t->stream;
    const char *rest = s->text + s->at;
    size_t rest_len = s->len - s->at;
    const json_t *cuts = s->reasoning ? NULL : json_at(t->link, "cuts");
    if (cuts != NULL) {
        const json_t *cut = json_array_get(cuts, s->cut_no++);
        return cut != NULL ? chars_len(rest, rest_len, (size_t)json_integer_value(cut)) : rest_len;
    }
    if (s->chunk_chars != 0)
        return chars_len(rest, rest_len, s->chunk_chars);
    return word_len(rest, rest_len);
}

static void stream_open(struct turn *t, bool reasoning, char *text, size_t len)
{
    free(t->stream.text);
    json_int_t size = json_int_at(t->link, "size", 0);
    t->stream = (struct stream){
        .reasoning = reasoning,
        .text = text,
        .len = len,
        .chunk_chars = !reasoning && size > 0 ? (size_t)size : 0,
        .item = ++t->thread->fake->last_id,
        .started_ms = clock_wall_ms(),
    };
    say_stream_opened(t);
    t->stage = STAGE_STREAM;
}

/* `count` words of `size` bytes each, or as short as they are when size is 0. */
static void append_words(struct buf *out, json_int_t count, json_int_t size)
{
    for (json_int_t i = 0; i < count; i++) {
        size_t start = out->len;
        buf_printf(out, "w%lld ", (long long)i);
        if (size <= 0)
            continue;
        size_t len = out->len - start;
        if (len < (size_t)size)
            memset(buf_reserve(out, (size_t)size - len), '.', (size_t)size - len);
        out->len = start + (size_t)size;
    }
}

/* What the link has to say as a message; false: nothing. */
static bool message_text(const struct turn *t, struct buf *ret_text)
{
    const json_t *text = json_at(t->link, "text");
    json_int_t deltas = json_int_at(t->link, "deltas", 0);
    if (json_is_string(text))
        buf_append(ret_text, json_string_value(text), json_string_length(text));
    else if (deltas > 0)
        append_words(ret_text, deltas, json_int_at(t->link, "size", 0));
    else if (json_at(t->link, "tool_calls") != NULL || json_at(t->link, "fail") != NULL)
        return false;
    else
        buf_append(ret_text, t->thread->prompt.data, t->thread->prompt.len);
    return true;
}

static void asks_free(struct turn *t)
{
    for (size_t i = 0; i < t->asks_len; i++)
        json_decref(t->asks[i].content);
    free(t->asks);
    t->asks = NULL;
    t->asks_len = t->asks_open = 0;
}

static void asks_prepare(struct turn *t, size_t count)
{
    asks_free(t);
    t->asks = xcalloc(count, sizeof(*t->asks));
    t->asks_len = t->asks_open = count;
    for (size_t i = 0; i < count; i++)
        t->asks[i].id = -1; /* not sent yet */
}

/* Calls without an id get one, which is kept in the script: it is repeated in several lines. */
static void name_calls(struct turn *t)
{
    size_t i;
    json_t *call;
    json_array_foreach(json_at(t->link, "tool_calls"), i, call)
    {
        char id[32];
        snprintf(id, sizeof(id), "call_%u", ++t->thread->fake->last_id);
        if (json_str_at(call, "call_id") == NULL)
            json_object_set_new(call, "call_id", json_string(id));
    }
}

static bool is_one_of(const char *text, const char *const *names)
{
    for (; text != NULL && *names != NULL; names++)
        if (strcmp(text, *names) == 0)
            return true;
    return false;
}

static bool is_refusal(const json_t *message)
{
    static const char *const words[] = { "decline", "cancel", "denied", "abort", NULL };
    return json_at(message, "error") != NULL ||
           is_one_of(json_str_at(message, "result.decision"), words) ||
           is_one_of(json_str_at(message, "result.action"), words);
}

static void hear_refusal(struct turn *t, size_t i, const json_t *message)
{
    bool refused = is_refusal(message);
    const char *method = json_string_value(json_array_get(json_at(t->link, "ask"), i));
    journal_event(t->thread->fake, refused ? "refused" : "granted", method, t->asks[i].id);
    t->granted |= !refused;
}

static void hear_result(struct turn *t, size_t i, const json_t *message)
{
    struct ask *ask = &t->asks[i];
    json_t *content = json_at(message, "result.contentItems");
    ask->ok = json_bool_at(message, "result.success", 0);
    ask->content = content != NULL ? json_incref(content)
                                   : json_pack("[{s:s,s:s}]", "type", "inputText", "text",
                                               "dynamic tool request failed");
    say_call_item(t, NOTE_ITEM_COMPLETED, i);
}

/* The batch is whole: the outputs go into the history and the script moves on. */
static void take_results(struct turn *t)
{
    struct thread *th = t->thread;
    th->link = t->link;
    th->after_output = false;
    for (size_t i = 0; i < t->asks_len; i++) {
        struct buf text = BUF_INIT;
        append_texts(&text, t->asks[i].content);
        say_raw_output(t, i, buf_str(&text), text.len);
        hear_output(th, buf_str(&text), text.len);
        buf_free(&text);
    }
    say_usage(t);
    t->link = th->link;
    t->stage = STAGE_LINK;
}

static void take_answer(struct turn *t, size_t i, const json_t *message)
{
    t->asks[i].answered = true;
    t->asks_open--;
    if (t->stage == STAGE_ANSWERS) {
        hear_result(t, i, message);
        if (t->asks_open == 0)
            take_results(t);
    } else if (t->stage == STAGE_ASKS) {
        hear_refusal(t, i, message);
        if (t->asks_open == 0)
            t->stage = t->granted ? STAGE_ENDING : STAGE_LINK;
    }
    if (t->asks_open == 0 && t->stage != STAGE_SILENT)
        t->due_ms = 0;
}

void turn_answered(struct fake *f, const json_t *message)
{
    const json_t *id = json_at(message, "id");
    for (struct thread *th = f->threads; th != NULL; th = th->next) {
        struct turn *t = th->turn;
        for (size_t i = 0; t != NULL && i < t->asks_len; i++) {
            if (json_is_integer(id) && t->asks[i].id == json_integer_value(id) &&
                !t->asks[i].answered) {
                take_answer(t, i, message);
                return;
            }
        }
    }
}

void turn_free(struct turn *t)
{
    asks_free(t);
    free(t->stream.text);
    buf_free(&t->last_item);
    json_decref(t->script);
    free(t);
}

/* Frees the turn, and its thread when nobody listens any more. */
static void finish(struct turn *t, const char *status, const json_t *fail)
{
    struct thread *th = t->thread;
    say_status(th, fail != NULL ? "{\"type\":\"systemError\"}" : "{\"type\":\"idle\"}");
    if (fail != NULL)
        say_error(t, fail, false);
    say_turn_completed(t, status, fail);
    (void)reach(th, STEP_COMPLETED);
    th->turn = NULL;
    turn_free(t);
    if (!th->subscribed)
        thread_free(th);
}

static json_t *failure(const struct turn *t)
{
    const json_t *fail = json_at(t->link, "fail");
    json_t *info = json_at(fail, "codexErrorInfo");
    const char *message = json_str_at(fail, "message");
    if (t->granted)
        message = "fake: a request that must be refused was granted";
    else if (fail == NULL)
        return NULL;
    return json_pack("{s:s,s:O?,s:n,s:n}", "message", message != NULL ? message : "fake failure",
                     "codexErrorInfo", info, "additionalDetails", "misalignment");
}

static void on_started(struct turn *t)
{
    struct thread *th = t->thread;
    const char *complaint = json_str_at(t->link, "stderr");
    if (complaint != NULL)
        fprintf(stderr, "%s\n", complaint);
    t->started_ms = clock_wall_ms();
    say_status(th, "{\"type\":\"active\",\"activeFlags\":[]}");
    say_turn_started(t);
    t->stage = STAGE_RETRIES;
    (void)reach(th, STEP_TURN_STARTED);
}

static void on_retries(struct turn *t)
{
    json_int_t count = json_int_at(t->link, "will_retry", 0);
    for (json_int_t i = 1; i <= count; i++) {
        json_t *error = json_pack("{s:o,s:{s:{s:n}},s:n,s:n}", "message",
                                  json_sprintf("Reconnecting... %d/%d", (int)i, (int)count),
                                  "codexErrorInfo", "responseStreamDisconnected", "httpStatusCode",
                                  "additionalDetails", "misalignment");
        say_error(t, error, true);
        json_decref(error);
    }
    const json_t *ask = json_at(t->link, "ask");
    asks_prepare(t, json_array_size(ask));
    t->stage = STAGE_LINK;
    if (t->asks_len == 0)
        return;
    t->stage = STAGE_ASKS;
    t->due_ms = FAKE_NEVER;
    for (size_t i = 0; i < t->asks_len; i++) {
        const char *method = json_string_value(json_array_get(ask, i));
        ask_refusal(t, i, method != NULL ? method : "item/commandExecution/requestApproval");
    }
}

static void open_message(struct turn *t)
{
    struct buf text = BUF_INIT;
    t->stage = STAGE_TOOLS;
    if (!message_text(t, &text))
        return;
    size_t len = text.len;
    stream_open(t, false, buf_detach(&text), len);
}

static bool is_early(struct turn *t)
{
    const char *path = json_str_at(t->link, "wait_for");
    if (path == NULL || access(path, F_OK) == 0)
        return false;
    t->due_ms = clock_mono_ms() + LOOK_MS;
    return true;
}

static void on_link(struct turn *t)
{
    const json_t *reasoning = json_at(t->link, "reasoning");
    if (is_early(t))
        return;
    t->due_ms = later(t, "first_delta_ms");
    if (json_is_string(reasoning)) {
        size_t len = json_string_length(reasoning);
        stream_open(t, true, xstrndup(json_string_value(reasoning), len), len);
    } else {
        open_message(t);
    }
}

static void on_stream(struct turn *t)
{
    struct stream *s = &t->stream;
    if (s->at < s->len) {
        t->due_ms = later(t, "gap_ms");
        size_t len = next_cut(t);
        say_delta(t, len);
        s->at += len;
        (void)reach(t->thread, STEP_DELTA);
        return;
    }
    say_stream_closed(t);
    if (s->reasoning)
        open_message(t);
    else
        t->stage = STAGE_TOOLS;
}

static bool order_is(const struct turn *t, const char *name)
{
    const char *order = json_str_at(t->link, "tool_order");
    return strcmp(order != NULL ? order : "raw_first", name) == 0;
}

static void call_tool(struct turn *t, size_t i)
{
    if (is_silent(t->thread))
        return;
    t->asks[i].asked_ms = clock_wall_ms();
    say_call_item(t, NOTE_ITEM_STARTED, i);
    ask_call(t, i);
    (void)reach(t->thread, STEP_TOOL_CALL);
}

static void on_tools(struct turn *t)
{
    size_t count = json_array_size(json_at(t->link, "tool_calls"));
    const json_t *then = json_at(t->link, "then");
    if (count == 0) {
        t->stage = then != NULL ? STAGE_LINK : STAGE_ENDING;
        t->link = then != NULL ? then : t->link;
        return;
    }
    bool mixed = order_is(t, "mixed");
    name_calls(t);
    asks_prepare(t, count);
    t->stage = STAGE_ANSWERS;
    t->due_ms = FAKE_NEVER;
    for (size_t i = 0; i < count && order_is(t, "calls_first"); i++)
        call_tool(t, i);
    for (size_t i = 0; i < count; i++) {
        say_raw_call(t, i);
        if (i + 1 == count)
            say_response_completed(t);
        if (mixed)
            call_tool(t, i);
    }
    for (size_t i = 0; i < count && order_is(t, "raw_first"); i++)
        call_tool(t, i);
    for (size_t i = count; i > 0 && order_is(t, "raw_reversed"); i--)
        call_tool(t, i - 1);
}

static void on_ending(struct turn *t)
{
    json_t *fail = failure(t);
    if (fail == NULL)
        say_response_completed(t);
    if (reach(t->thread, STEP_BEFORE_COMPLETED)) {
        json_decref(fail);
        return;
    }
    if (fail == NULL)
        say_usage(t);
    finish(t, fail != NULL ? "failed" : "completed", fail);
    json_decref(fail);
}

static void turn_go_on(struct turn *t)
{
    switch (t->stage) {
    case STAGE_STARTED:
        on_started(t);
        break;
    case STAGE_RETRIES:
        on_retries(t);
        break;
    case STAGE_LINK:
        on_link(t);
        break;
    case STAGE_STREAM:
        on_stream(t);
        break;
    case STAGE_TOOLS:
        on_tools(t);
        break;
    case STAGE_ENDING:
        on_ending(t);
        break;
    case STAGE_ASKS:
    case STAGE_ANSWERS:
    case STAGE_SILENT:
        t->due_ms = FAKE_NEVER;
        break;
    }
}

/* Lets one thread speak; it may be gone afterwards. Returns when its turn is due again. */
static uint64_t thread_run(struct thread *th, uint64_t now_ms)
{
    for (int i = 0; i < TURN_SPEECH_MAX; i++) {
        struct turn *t = th->turn;
        if (t == NULL)
            return FAKE_NEVER;
        /* The analyzer does not see that whoever frees a turn takes it off its thread first.
         * NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
        if (t->due_ms > now_ms || wire_full(th->fake))
            return t->due_ms;
        bool last = t->stage == STAGE_ENDING && !th->subscribed;
        turn_go_on(t);
        if (last)
            return FAKE_NEVER;
    }
    return th->turn != NULL ? th->turn->due_ms : FAKE_NEVER;
}

uint64_t turns_run(struct fake *f, uint64_t now_ms)
{
    uint64_t next_ms = FAKE_NEVER;
    for (struct thread *th = f->threads, *after; th != NULL; th = after) {
        after = th->next;
        uint64_t due_ms = thread_run(th, now_ms);
        if (due_ms < next_ms)
            next_ms = due_ms;
    }
    return next_ms <= now_ms ? 0 : next_ms;
}

void turn_start(struct fake *f, struct thread *th, const json_t *request_id, const json_t *params)
{
    const json_t *input = json_at(params, "input");
    if (th->turn != NULL) {
        reply_error(f, request_id, -32603, "failed to submit turn input: EmptyInput");
        return;
    }
    if (json_array_size(input) != 0) {
        struct buf text = BUF_INIT;
        append_texts(&text, input);
        hear_user(th, buf_str(&text), text.len);
        buf_free(&text);
    }
    struct turn *t = xcalloc(1, sizeof(*t));
    t->thread = th;
    t->script = json_incref(th->script);
    t->link = th->link;
    fake_make_id(f, t->id);
    th->turn = t;
    bool silent = reach(th, STEP_TURN_START);
    if (f->opt.started_first != 0 && !silent)
        on_started(t);
    struct buf *out = reply_begin(f, request_id);
    buf_puts(out, "{\"turn\":");
    put_turn(out, t, "inProgress", NULL);
    buf_putc(out, '}');
    reply_end(f);
}

static void cancel_calls(struct turn *t)
{
    bool calls =
        call_at(t, 0) != NULL && t->asks_len == json_array_size(json_at(t->link, "tool_calls"));
    for (size_t i = 0; calls && t->asks_open != 0 && i < t->asks_len; i++) {
        if (!t->asks[i].answered && t->asks[i].id >= 0)
            say_call_item(t, NOTE_ITEM_COMPLETED, i);
        say_raw_output(t, i, CANCELLED_TEXT, strlen(CANCELLED_TEXT));
    }
}

void turn_interrupt(struct fake *f, struct thread *th, const json_t *request_id,
                    const char *turn_id)
{
    struct turn *t = th->turn;
    if (t == NULL) {
        reply_error(f, request_id, -32600, "no active turn to interrupt");
        return;
    }
    if (turn_id == NULL || strcmp(t->id, turn_id) != 0) {
        char *why = xasprintf("expected active turn id %s but found %s",
                              turn_id != NULL ? turn_id : "", t->id);
        reply_error(f, request_id, -32600, why);
        free(why);
        return;
    }
    t->stage = STAGE_ENDING; /* a silent turn speaks once more */
    if (reach(th, STEP_INTERRUPT))
        return;
    cancel_calls(t);
    say_raw_aborted(t);
    reply_empty(f, request_id);
    finish(t, "interrupted", NULL);
}
