/* The lines of a turn, in the shapes of the real worker. */
#include "fake_turn.h"

#include "clock.h"

#include <string.h>

#define ABORTED_TEXT                                                                               \
    "<turn_aborted>\\nThe user interrupted the previous turn on purpose.\\n</turn_aborted>"

static const char *const usage_names[USAGE_LEN] = {
    "totalTokens",           "inputTokens",  "cachedInputTokens",
    "cacheWriteInputTokens", "outputTokens", "reasoningOutputTokens",
};

static struct buf *thread_say(struct thread *th, enum note note)
{
    struct buf *out = is_silent(th) ? NULL : note_begin(th->fake, note);
    if (out != NULL) {
        buf_puts(out, "\"threadId\":\"");
        buf_puts(out, th->id);
        buf_putc(out, '"');
    }
    return out;
}

static struct buf *turn_say(struct turn *t, enum note note)
{
    struct buf *out = thread_say(t->thread, note);
    if (out != NULL) {
        buf_puts(out, ",\"turnId\":\"");
        buf_puts(out, t->id);
        buf_putc(out, '"');
    }
    return out;
}

static struct buf *raw_say(struct turn *t, enum note note)
{
    return t->thread->raw ? turn_say(t, note) : NULL;
}

static void put_ms(struct buf *out, const char *key, int64_t ms)
{
    if (ms == 0)
        buf_printf(out, ",\"%s\":null", key);
    else
        buf_printf(out, ",\"%s\":%lld", key, (long long)ms);
}

static void put_text(struct buf *out, const char *key, const char *text)
{
    buf_printf(out, ",\"%s\":", key);
    if (text != NULL)
        json_quote(out, text, strlen(text));
    else
        buf_puts(out, "null");
}

static void put_raw_end(struct buf *out, const struct turn *t)
{
    buf_printf(out, ",\"internal_chat_message_metadata_passthrough\":{\"turn_id\":\"%s\"}}", t->id);
}

void say_status(struct thread *th, const char *status)
{
    struct buf *out = thread_say(th, NOTE_THREAD_STATUS);
    if (out == NULL)
        return;
    buf_printf(out, ",\"status\":%s", status);
    note_end(th->fake);
}

/* The `turn` object of turn/start's answer, turn/started and turn/completed. */
void put_turn(struct buf *out, const struct turn *t, const char *status, const json_t *fail)
{
    bool ended = strcmp(status, "inProgress") != 0;
    int64_t now_ms = clock_wall_ms();
    buf_printf(out, "{\"id\":\"%s\",\"rootTurnId\":\"%s\",\"items\":[", t->id, t->id);
    if (ended && strcmp(status, "completed") == 0)
        buf_append(out, t->last_item.data, t->last_item.len);
    buf_printf(out, "],\"itemsView\":\"%s\",\"status\":\"%s\",\"error\":",
               strcmp(status, "completed") == 0 ? "summary" : "notLoaded", status);
    json_write(out, fail != NULL ? fail : json_null());
    put_ms(out, "startedAt", t->started_ms / 1000);
    put_ms(out, "completedAt", ended ? now_ms / 1000 : 0);
    if (ended)
        buf_printf(out, ",\"durationMs\":%lld}", (long long)(now_ms - t->started_ms));
    else
        buf_puts(out, ",\"durationMs\":null}");
}

void say_turn_started(struct turn *t)
{
    struct buf *out = thread_say(t->thread, NOTE_TURN_STARTED);
    if (out == NULL)
        return;
    buf_puts(out, ",\"turn\":");
    put_turn(out, t, "inProgress", NULL);
    note_end(t->thread->fake);
}

void say_turn_completed(struct turn *t, const char *status, const json_t *fail)
{
    struct buf *out = thread_say(t->thread, NOTE_TURN_COMPLETED);
    if (out == NULL)
        return;
    buf_puts(out, ",\"turn\":");
    put_turn(out, t, status, fail);
    note_end(t->thread->fake);
}

void say_error(struct turn *t, const json_t *error, bool will_retry)
{
    struct buf *out = turn_say(t, NOTE_ERROR);
    if (out == NULL)
        return;
    buf_puts(out, ",\"error\":");
    json_write(out, error);
    buf_printf(out, ",\"willRetry\":%s", will_retry ? "true" : "false");
    note_end(t->thread->fake);
}

/* False when the script wants none reported. */
static bool read_usage(const struct turn *t, long long ret_usage[USAGE_LEN])
{
    static const long long usual[USAGE_LEN] = { 16, 11, 3, 0, 5, 2 };
    const json_t *told = json_at(t->link, "usage");
    if (json_is_null(told))
        return false;
    for (size_t i = 1; i < USAGE_LEN; i++)
        ret_usage[i] = json_int_at(told, usage_names[i], usual[i]);
    ret_usage[0] = json_int_at(told, usage_names[0], ret_usage[1] + ret_usage[4]);
    return true;
}

static void put_usage(struct buf *out, const char *key, const long long usage[USAGE_LEN])
{
    buf_printf(out, "\"%s\":{", key);
    for (size_t i = 0; i < USAGE_LEN; i++)
        buf_printf(out, "%s\"%s\":%lld", i != 0 ? "," : "", usage_names[i], usage[i]);
    buf_putc(out, '}');
}

void say_response_completed(struct turn *t)
{
    long long usage[USAGE_LEN];
    struct buf *out = raw_say(t, NOTE_RAW_RESPONSE);
    if (out == NULL)
        return;
    buf_printf(out, ",\"responseId\":\"resp_%u\",", ++t->thread->fake->last_id);
    if (read_usage(t, usage))
        put_usage(out, "usage", usage);
    else
        buf_puts(out, "\"usage\":null");
    buf_puts(out, ",\"usageMetadata\":null");
    note_end(t->thread->fake);
}

void say_usage(struct turn *t)
{
    struct thread *th = t->thread;
    long long usage[USAGE_LEN];
    struct buf *out;
    if (read_usage(t, usage)) {
        for (size_t i = 0; i < USAGE_LEN; i++)
            th->total[i] += usage[i];
        if ((out = turn_say(t, NOTE_TOKEN_USAGE)) != NULL) {
            buf_puts(out, ",\"tokenUsage\":{");
            put_usage(out, "total", th->total);
            buf_putc(out, ',');
            put_usage(out, "last", usage);
            buf_puts(out, ",\"modelContextWindow\":258400}");
            note_end(th->fake);
        }
    }
    if (!is_silent(th) && (out = note_begin(th->fake, NOTE_RATE_LIMITS)) != NULL) {
        buf_puts(out, "\"rateLimits\":");
        rate_limits_write(out, &th->fake->opt);
        note_end(th->fake);
    }
}

static void put_window(struct buf *out, const char *name, int percent, int minutes,
                       long long reset_s)
{
    if (percent < 0)
        buf_printf(out, ",\"%s\":null", name);
    else
        buf_printf(out, ",\"%s\":{\"usedPercent\":%d,\"windowDurationMins\":%d,\"resetsAt\":%lld}",
                   name, percent, minutes, (long long)clock_wall_ms() / 1000 + reset_s);
}

void rate_limits_write(struct buf *out, const struct options *opt)
{
    bool known = opt->primary_percent >= 0;
    buf_puts(out, "{\"limitId\":\"codex\",\"limitName\":null,\"normalModelSlug\":null");
    put_window(out, "primary", opt->primary_percent, 300, opt->rate_reset_s);
    put_window(out, "secondary", opt->secondary_percent, 10080, opt->rate_reset_s + 3LL * 86400);
    buf_printf(out, ",\"credits\":%s,\"individualLimit\":null,\"spendControlReached\":null",
               known ? "{\"hasCredits\":true,\"unlimited\":false,\"balance\":\"12.5\"}" : "null");
    buf_printf(out, ",\"planType\":%s,\"rateLimitReachedType\":null}", known ? "\"pro\"" : "null");
}

static void put_item(struct buf *out, const struct turn *t, bool done)
{
    const struct stream *s = &t->stream;
    size_t len = done ? s->len : 0;
    if (s->reasoning) {
        buf_printf(out, "{\"type\":\"reasoning\",\"id\":\"rs_%u\",\"summary\":[", s->item);
        if (done)
            json_quote(out, s->text, len);
        buf_puts(out, "],\"content\":[]");
    } else {
        buf_printf(
            out,
            "{\"type\":\"agentMessage\",\"moderation\":null,\"id\":\"msg_%u\",\"text\":", s->item);
        json_quote(out, s->text, len);
        put_text(out, "phase", json_str_at(t->link, "phase"));
        buf_puts(out, ",\"memoryCitation\":null,\"delivery\":null,\"questions\":null");
    }
    put_ms(out, "startedAtMs", s->started_ms);
    put_ms(out, "completedAtMs", done ? clock_wall_ms() : 0);
    buf_putc(out, '}');
}

void say_stream_opened(struct turn *t)
{
    const struct stream *s = &t->stream;
    struct fake *f = t->thread->fake;
    struct buf *out = turn_say(t, NOTE_ITEM_STARTED);
    if (out != NULL) {
        buf_puts(out, ",\"item\":");
        put_item(out, t, false);
        put_ms(out, "startedAtMs", s->started_ms);
        note_end(f);
    }
    if (s->reasoning && (out = turn_say(t, NOTE_SUMMARY_PART)) != NULL) {
        buf_printf(out, ",\"itemId\":\"rs_%u\",\"summaryIndex\":0", s->item);
        note_end(f);
    }
}

static void put_raw_stream(struct buf *out, const struct turn *t)
{
    const struct stream *s = &t->stream;
    const char *phase = json_str_at(t->link, "phase");
    if (s->reasoning) {
        buf_printf(out, ",\"item\":{\"type\":\"reasoning\",\"id\":\"rs_%u\",\"summary\":[",
                   s->item);
        buf_puts(out, "{\"type\":\"summary_text\",\"text\":");
        json_quote(out, s->text, s->len);
        buf_puts(out, "}],\"content\":null,\"encrypted_content\":\"fake\"");
    } else {
        buf_printf(out, ",\"item\":{\"type\":\"message\",\"id\":\"msg_%u\",\"role\":\"assistant\",",
                   s->item);
        buf_puts(out, "\"content\":[{\"type\":\"output_text\",\"text\":");
        json_quote(out, s->text, s->len);
        buf_puts(out, ",\"annotations\":[]}]");
        if (phase != NULL)
            put_text(out, "phase", phase);
    }
    put_raw_end(out, t);
}

void say_stream_closed(struct turn *t)
{
    struct fake *f = t->thread->fake;
    struct buf item = BUF_INIT;
    put_item(&item, t, true);
    struct buf *out = turn_say(t, NOTE_ITEM_COMPLETED);
    if (out != NULL) {
        buf_puts(out, ",\"item\":");
        buf_append(out, item.data, item.len);
        buf_puts(out, ",\"contentTokenCount\":null");
        put_ms(out, "completedAtMs", clock_wall_ms());
        note_end(f);
    }
    if ((out = raw_say(t, NOTE_RAW_ITEM)) != NULL) {
        put_raw_stream(out, t);
        note_end(f);
    }
    if (!t->stream.reasoning) {
        buf_free(&t->last_item);
        t->last_item = item;
    } else {
        buf_free(&item);
    }
}

void say_delta(struct turn *t, size_t len)
{
    const struct stream *s = &t->stream;
    struct buf *out = turn_say(t, s->reasoning ? NOTE_SUMMARY_DELTA : NOTE_MESSAGE_DELTA);
    if (out != NULL) {
        buf_printf(out, ",\"itemId\":\"%s_%u\",\"delta\":", s->reasoning ? "rs" : "msg", s->item);
        json_quote(out, s->text + s->at, len);
        buf_puts(out, s->reasoning ? ",\"summaryIndex\":0" : "");
        note_end(t->thread->fake);
    }
}

const json_t *call_at(const struct turn *t, size_t i)
{
    return json_array_get(json_at(t->link, "tool_calls"), i);
}

/* The model's own text of the arguments. */
static void put_arguments_text(struct buf *out, const json_t *call)
{
    const json_t *arguments = json_at(call, "arguments");
    struct buf text = BUF_INIT;
    if (json_is_string(arguments))
        buf_append(&text, json_string_value(arguments), json_string_length(arguments));
    else if (arguments != NULL)
        json_write(&text, arguments);
    else
        buf_puts(&text, "{}");
    json_quote(out, text.data, text.len);
    buf_free(&text);
}

static void put_arguments(struct buf *out, const json_t *call)
{
    const json_t *arguments = json_at(call, "arguments");
    json_t *parsed = NULL;
    if (json_is_string(arguments))
        arguments = parsed =
            json_parse(json_string_value(arguments), json_string_length(arguments), NULL);
    buf_puts(out, ",\"arguments\":");
    if (arguments != NULL)
        json_write(out, arguments);
    else
        buf_puts(out, "{}");
    json_decref(parsed);
}

void say_raw_call(struct turn *t, size_t i)
{
    const json_t *call = call_at(t, i);
    struct buf *out = raw_say(t, NOTE_RAW_ITEM);
    if (out == NULL)
        return;
    buf_printf(out,
               ",\"item\":{\"type\":\"function_call\",\"status\":\"completed\",\"id\":\"fc_%u\"",
               ++t->thread->fake->last_id);
    put_text(out, "name", json_str_at(call, "name"));
    put_text(out, "call_id", json_str_at(call, "call_id"));
    buf_puts(out, ",\"arguments\":");
    put_arguments_text(out, call);
    put_raw_end(out, t);
    note_end(t->thread->fake);
}

void say_raw_output(struct turn *t, size_t i, const char *text, size_t len)
{
    struct buf *out = raw_say(t, NOTE_RAW_ITEM);
    if (out == NULL)
        return;
    buf_printf(out, ",\"item\":{\"type\":\"function_call_output\",\"id\":\"fco_%u\"",
               ++t->thread->fake->last_id);
    put_text(out, "call_id", json_str_at(call_at(t, i), "call_id"));
    buf_puts(out, ",\"output\":");
    json_quote(out, text, len);
    put_raw_end(out, t);
    note_end(t->thread->fake);
}

void say_raw_aborted(struct turn *t)
{
    struct buf *out = raw_say(t, NOTE_RAW_ITEM);
    if (out == NULL)
        return;
    buf_printf(out, ",\"item\":{\"type\":\"message\",\"id\":\"msg_%u\",\"role\":\"user\"",
               ++t->thread->fake->last_id);
    buf_puts(out, ",\"content\":[{\"type\":\"input_text\",\"text\":\"" ABORTED_TEXT "\"}]");
    put_raw_end(out, t);
    note_end(t->thread->fake);
}

void say_call_item(struct turn *t, enum note note, size_t i)
{
    const struct ask *ask = &t->asks[i];
    const json_t *call = call_at(t, i);
    bool done = note == NOTE_ITEM_COMPLETED;
    int64_t done_ms = done ? clock_wall_ms() : 0;
    struct buf *out = turn_say(t, note);
    if (out == NULL)
        return;
    buf_puts(out, ",\"item\":{\"type\":\"dynamicToolCall\"");
    put_text(out, "id", json_str_at(call, "call_id"));
    put_text(out, "tool", json_str_at(call, "name"));
    put_arguments(out, call);
    buf_printf(out, ",\"namespace\":null,\"status\":\"%s\",\"success\":%s,\"contentItems\":",
               !done     ? "inProgress"
               : ask->ok ? "completed"
                         : "failed",
               !done     ? "null"
               : ask->ok ? "true"
                         : "false");
    if (ask->content != NULL)
        json_write(out, ask->content);
    else
        buf_puts(out, done ? "[]" : "null");
    put_ms(out, "durationMs", done ? done_ms - ask->asked_ms : 0);
    put_ms(out, "startedAtMs", ask->asked_ms);
    put_ms(out, "completedAtMs", done_ms);
    buf_putc(out, '}');
    if (done)
        buf_puts(out, ",\"contentTokenCount\":null");
    put_ms(out, done ? "completedAtMs" : "startedAtMs", done ? done_ms : ask->asked_ms);
    note_end(t->thread->fake);
}

static struct buf *turn_ask(struct turn *t, size_t i, const char *method)
{
    struct fake *f = t->thread->fake;
    t->asks[i].id = f->last_ask_id++;
    struct buf *out = ask_begin(f, method, t->asks[i].id);
    buf_printf(out, "\"threadId\":\"%s\",\"turnId\":\"%s\"", t->thread->id, t->id);
    return out;
}

void ask_call(struct turn *t, size_t i)
{
    const json_t *call = call_at(t, i);
    struct buf *out = turn_ask(t, i, "item/tool/call");
    put_text(out, "callId", json_str_at(call, "call_id"));
    buf_puts(out, ",\"namespace\":null");
    put_text(out, "tool", json_str_at(call, "name"));
    put_arguments(out, call);
    ask_end(t->thread->fake);
}

/* A bit of what each of these requests has: enough for a client that refuses them unread. */
void ask_refusal(struct turn *t, size_t i, const char *method)
{
    struct buf *out = turn_ask(t, i, method);
    buf_printf(
        out, ",\"itemId\":\"item_%zu\",\"startedAtMs\":%lld,\"command\":\"rm -rf /\",\"cwd\":\"/\"",
        i, (long long)t->asks[i].asked_ms);
    buf_puts(out, ",\"reason\":\"fake\",\"questions\":[],\"isBlocking\":true,\"permissions\":{}"
                  ",\"serverName\":\"fake\"");
    ask_end(t->thread->fake);
}
