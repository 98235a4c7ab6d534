/* Threads: what they have heard, and the script that it brings. */
#include "fake_turn.h"

#include "clock.h"

#include <stdlib.h>
#include <string.h>

static const char *const script_keys[] = {
    "text",   "deltas",     "size",       "cuts",     "phase",  "reasoning",  "first_delta_ms",
    "gap_ms", "tool_calls", "tool_order", "then",     "ask",    "will_retry", "fail",
    "usage",  "silent",     "hang_at",    "crash_at", "stderr", "wait_for",
};

static bool is_listed(const char *const *names, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

/* The first word in a script, `then` included, that means nothing; NULL if all is well. */
static const char *unknown_word(json_t *script)
{
    static const char *const orders[] = { "raw_first", "raw_reversed", "calls_first", "mixed" };
    const char *order = json_str_at(script, "tool_order");
    json_t *then = json_at(script, "then");
    for (void *at = json_object_iter(script); at != NULL; at = json_object_iter_next(script, at))
        if (!is_listed(script_keys, sizeof(script_keys) / sizeof(script_keys[0]),
                       json_object_iter_key(at)))
            return json_object_iter_key(at);
    if (order != NULL && !is_listed(orders, sizeof(orders) / sizeof(orders[0]), order))
        return order;
    return then != NULL ? unknown_word(then) : NULL;
}

static json_t *broken_script(const char *why, const char *detail)
{
    char *message = xasprintf("fake: %s: %s", why, detail);
    json_t *script =
        json_pack("{s:{s:s,s:s}}", "fail", "codexErrorInfo", "badRequest", "message", message);
    free(message);
    return script;
}

/* A mistake in a script fails the turn with its reason: whoever typed it sees it as the answer. */
static json_t *parse_script(const char *text, size_t len)
{
    const char *why = "not an object";
    json_t *script = json_parse(text, len, &why);
    if (!json_is_object(script)) {
        json_decref(script);
        return broken_script("bad script", why);
    }
    const char *unknown = unknown_word(script);
    if (unknown != NULL) {
        json_t *broken = broken_script("no such word", unknown);
        json_decref(script);
        return broken;
    }
    return script;
}

static bool set_trigger(struct trigger *t, const json_t *script, const char *key)
{
    const char *text = json_str_at(script, key);
    *t = (struct trigger){ .at = STEP_NONE };
    return text == NULL || trigger_parse(t, text);
}

static void set_script(struct thread *th, json_t *script)
{
    if (!set_trigger(&th->crash, script, "crash_at") ||
        !set_trigger(&th->hang, script, "hang_at")) {
        json_decref(script);
        script = broken_script("no such step in", "crash_at or hang_at");
    }
    if (json_bool_at(script, "silent", 0))
        th->hang = (struct trigger){ .at = STEP_TURN_START, .nth = 1 };
    json_decref(th->script);
    th->script = script;
    th->link = script;
}

void hear_user(struct thread *th, const char *text, size_t len)
{
    static const char mark[] = "fake:";
    const size_t mark_len = sizeof(mark) - 1;
    bool scripted = len >= mark_len && memcmp(text, mark, mark_len) == 0;
    const char *usual = th->fake->opt.script;
    json_t *script = NULL; /* an echo */
    if (scripted)
        script = parse_script(text + mark_len, len - mark_len);
    else if (usual != NULL)
        script = parse_script(usual, strlen(usual));
    set_script(th, script);
    th->after_output = false;
    buf_clear(&th->prompt);
    if (scripted || len == 0)
        buf_puts(&th->prompt, "ok");
    else
        buf_append(&th->prompt, text, len);
}

/* The first output of a batch moves the script on to what follows its tool calls. */
void hear_output(struct thread *th, const char *text, size_t len)
{
    if (!th->after_output) {
        while (th->link != NULL && json_at(th->link, "tool_calls") == NULL)
            th->link = json_at(th->link, "then");
        th->link = json_at(th->link, "then");
        buf_clear(&th->prompt);
        th->after_output = true;
    } else {
        buf_putc(&th->prompt, '\n');
    }
    buf_append(&th->prompt, text, len);
}

/* Appends the text of every part of a content array, whatever the parts are called. */
void append_texts(struct buf *out, const json_t *content)
{
    size_t i;
    json_t *part;
    json_array_foreach(content, i, part)
    {
        const json_t *text = json_at(part, "text");
        if (json_is_string(text))
            buf_append(out, json_string_value(text), json_string_length(text));
    }
    if (json_is_string(content))
        buf_append(out, json_string_value(content), json_string_length(content));
}

static void hear_item(struct thread *th, const json_t *item)
{
    const char *type = json_str_at(item, "type");
    const char *role = json_str_at(item, "role");
    struct buf text = BUF_INIT;
    if (type != NULL && strcmp(type, "message") == 0 && role != NULL && strcmp(role, "user") == 0) {
        append_texts(&text, json_at(item, "content"));
        hear_user(th, buf_str(&text), text.len);
    } else if (type != NULL && strcmp(type, "function_call_output") == 0) {
        append_texts(&text, json_at(item, "output"));
        hear_output(th, buf_str(&text), text.len);
    } else {
        th->after_output = false;
    }
    buf_free(&text);
}

/* The process-wide faults of a step, then the thread's own. True: the turn is silent from here. */
bool reach(struct thread *th, enum step at)
{
    fake_step(th->fake, at);
    if (trigger_hit(&th->crash, at))
        fake_crash(th->fake, at);
    if (!trigger_hit(&th->hang, at))
        return false;
    journal_event(th->fake, "silent", step_names[at], 0);
    if (th->turn != NULL) {
        th->turn->stage = STAGE_SILENT;
        th->turn->due_ms = FAKE_NEVER;
    }
    return true;
}

bool is_silent(const struct thread *th)
{
    return !th->subscribed || (th->turn != NULL && th->turn->stage == STAGE_SILENT);
}

void thread_free(struct thread *th)
{
    struct thread **at = &th->fake->threads;
    while (*at != th)
        at = &(*at)->next;
    *at = th->next;
    if (th->turn != NULL)
        turn_free(th->turn);
    json_decref(th->script);
    buf_free(&th->prompt);
    free(th->model);
    free(th);
}

/* The real worker repeats injected items as raw ones, under a turn of their own. */
static void say_injected(struct thread *th, json_t *item)
{
    struct fake *f = th->fake;
    struct buf *out = th->raw ? note_begin(f, NOTE_RAW_ITEM) : NULL;
    if (out == NULL)
        return;
    json_t *named = json_copy(item);
    json_object_set_new(named, "id", json_sprintf("msg_%u", ++f->last_id));
    buf_printf(out, "\"threadId\":\"%s\",\"turnId\":\"auto-compact-0\",\"item\":", th->id);
    json_write(out, named);
    json_decref(named);
    note_end(f);
}

void thread_inject(struct fake *f, struct thread *th, const json_t *request_id, const json_t *items)
{
    size_t i;
    json_t *item;
    json_array_foreach(items, i, item) hear_item(th, item);
    if (reach(th, STEP_INJECT))
        return;
    reply_empty(f, request_id);
    json_array_foreach(items, i, item) say_injected(th, item);
}

void thread_unsubscribe(struct fake *f, struct thread *th, const json_t *request_id)
{
    if (th != NULL && reach(th, STEP_UNSUBSCRIBE))
        return;
    bool was = th != NULL && th->subscribed;
    struct buf *out = reply_begin(f, request_id);
    buf_printf(out, "{\"status\":\"%s\"}", was ? "unsubscribed" : "notLoaded");
    reply_end(f);
    if (!was)
        return;
    if (th->turn != NULL) { /* goes on unheard, as in the real worker */
        th->subscribed = false;
        return;
    }
    say_status(th, "{\"type\":\"notLoaded\"}");
    if ((out = note_begin(f, NOTE_THREAD_CLOSED)) != NULL) {
        buf_printf(out, "\"threadId\":\"%s\"", th->id);
        note_end(f);
    }
    thread_free(th);
}

struct thread *thread_new(struct fake *f, const json_t *params)
{
    struct thread *th = xcalloc(1, sizeof(*th));
    struct buf model = BUF_INIT;
    const char *name = json_str_at(params, "model");
    json_quote(&model, name != NULL ? name : "fake-large",
               strlen(name != NULL ? name : "fake-large"));
    th->fake = f;
    th->model = buf_detach(&model);
    th->raw = json_bool_at(params, "experimentalRawEvents", 0);
    th->subscribed = true;
    fake_make_id(f, th->id);
    hear_user(th, "", 0);
    th->next = f->threads;
    f->threads = th;
    return th;
}

struct thread *thread_find(const struct fake *f, const char *id)
{
    struct thread *th = f->threads;
    while (th != NULL && strcmp(th->id, id) != 0)
        th = th->next;
    return th;
}

void thread_write(struct buf *out, const struct thread *th)
{
    long long now_s = (long long)clock_wall_ms() / 1000;
    buf_printf(out, "{\"id\":\"%s\",\"sessionId\":\"%s\",\"environments\":[]", th->id, th->id);
    buf_puts(out,
             ",\"forkedFromId\":null,\"parentThreadId\":null,\"projectId\":null,\"preview\":\"\"");
    buf_printf(out, ",\"ephemeral\":true,\"modelProvider\":\"fake\",\"model\":%s", th->model);
    buf_printf(out, ",\"reasoningEffort\":null,\"createdAt\":%lld,\"updatedAt\":%lld", now_s,
               now_s);
    buf_puts(out,
             ",\"status\":{\"type\":\"idle\"},\"path\":null,\"cwd\":\"/\",\"source\":\"vscode\"");
    buf_puts(out, ",\"cliVersion\":\"" FAKE_CODEX_VERSION "\",\"name\":null,\"turns\":[]}");
}

void thread_write_result(struct buf *out, const struct thread *th)
{
    buf_puts(out, "{\"thread\":");
    thread_write(out, th);
    buf_printf(out, ",\"model\":%s,\"modelProvider\":\"fake\",\"serviceTier\":null", th->model);
    buf_puts(out, ",\"cwd\":\"/\",\"instructionSources\":[],\"approvalPolicy\":\"never\"");
    buf_puts(out, ",\"approvalsReviewer\":\"user\",\"reasoningEffort\":null");
    buf_puts(out, ",\"sandbox\":{\"type\":\"readOnly\",\"networkAccess\":false}}");
}

void threads_write_ids(struct buf *out, const struct fake *f)
{
    buf_putc(out, '[');
    for (const struct thread *th = f->threads; th != NULL; th = th->next)
        buf_printf(out, "%s\"%s\"", th != f->threads ? "," : "", th->id);
    buf_putc(out, ']');
}

size_t threads_count(const struct fake *f)
{
    size_t count = 0;
    for (const struct thread *th = f->threads; th != NULL; th = th->next)
        count++;
    return count;
}
