/* Requests, answers and notifications of the client: one table of methods. */
#include "fake.h"

#include "clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define INVALID_REQUEST (-32600)
#define OVERLOADED (-32001)

struct request {
    const json_t *id;
    const json_t *params; /* may be NULL */
};

static const char *text_or(const char *text, const char *fallback)
{
    return text != NULL ? text : fallback;
}

static void on_initialize(struct fake *f, const struct request *r)
{
    const char *name = text_or(json_str_at(r->params, "clientInfo.name"), "client");
    fake_step(f, STEP_INITIALIZE);
    if (f->opt.handshake == HANDSHAKE_NONE)
        return;
    if (f->opt.handshake == HANDSHAKE_GARBAGE) {
        wire_garbage(f);
        return;
    }
    if (f->opt.handshake == HANDSHAKE_ERROR || f->initialized) {
        reply_error(f, r->id, INVALID_REQUEST,
                    f->initialized ? "Already initialized" : "fake failure");
        return;
    }
    f->initialized = true;
    wire_silence(f, json_at(r->params, "capabilities.optOutNotificationMethods"));
    char *agent = xasprintf("%s/" FAKE_CODEX_VERSION " (Linux; x86_64) fake-worker", name);
    const char *home = text_or(getenv("CODEX_HOME"), "/");
    struct buf *out = reply_begin(f, r->id);
    buf_puts(out, "{\"userAgent\":");
    json_quote(out, agent, strlen(agent));
    buf_puts(out, ",\"codexHome\":");
    json_quote(out, home, strlen(home));
    buf_puts(out, ",\"platformFamily\":\"unix\",\"platformOs\":\"linux\"}");
    reply_end(f);
    free(agent);
}

static bool is_tool_name(const char *name)
{
    static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    return *name != '\0' && name[strspn(name, good)] == '\0';
}

/* The first tool name that the real worker would refuse; NULL if all are good. */
static const char *bad_tool_name(const json_t *params)
{
    size_t i;
    json_t *tool;
    json_array_foreach(json_at(params, "dynamicTools"), i, tool)
    {
        const char *name = text_or(json_str_at(tool, "name"), "");
        if (!is_tool_name(name))
            return name;
    }
    return NULL;
}

static void on_thread_start(struct fake *f, const struct request *r)
{
    const char *bad = bad_tool_name(r->params);
    fake_step(f, STEP_THREAD_START);
    if (bad != NULL) {
        char *why = xasprintf(
            "dynamic tool name must match ^[a-zA-Z0-9_-]+$ to match Responses API: %s", bad);
        reply_error(f, r->id, INVALID_REQUEST, why);
        free(why);
        return;
    }
    const struct thread *th = thread_new(f, r->params);
    struct buf *out = reply_begin(f, r->id);
    thread_write_result(out, th);
    reply_end(f);
    if ((out = note_begin(f, NOTE_THREAD_STARTED)) != NULL) {
        buf_puts(out, "\"thread\":");
        thread_write(out, th);
        note_end(f);
    }
}

/* The loaded thread that the request names, or NULL after an error answer. */
static struct thread *named_thread(struct fake *f, const struct request *r)
{
    const char *id = json_str_at(r->params, "threadId");
    struct thread *th = id != NULL ? thread_find(f, id) : NULL;
    if (id == NULL) {
        reply_error(f, r->id, INVALID_REQUEST, "Invalid request: missing field `threadId`");
    } else if (th == NULL) {
        char *why = xasprintf("thread not found: %s", id);
        reply_error(f, r->id, INVALID_REQUEST, why);
        free(why);
    }
    return th;
}

static void on_inject(struct fake *f, const struct request *r)
{
    const json_t *items = json_at(r->params, "items");
    if (!json_is_array(items)) {
        reply_error(f, r->id, INVALID_REQUEST, "Invalid request: missing field `items`");
        return;
    }
    struct thread *th = named_thread(f, r);
    if (th != NULL)
        thread_inject(f, th, r->id, items);
}

static void on_turn_start(struct fake *f, const struct request *r)
{
    struct thread *th = named_thread(f, r);
    if (th != NULL)
        turn_start(f, th, r->id, r->params);
}

static void on_turn_interrupt(struct fake *f, const struct request *r)
{
    struct thread *th = named_thread(f, r);
    if (th != NULL)
        turn_interrupt(f, th, r->id, json_str_at(r->params, "turnId"));
}

static void on_unsubscribe(struct fake *f, const struct request *r)
{
    thread_unsubscribe(f, thread_find(f, text_or(json_str_at(r->params, "threadId"), "")), r->id);
}

static void on_loaded_list(struct fake *f, const struct request *r)
{
    struct buf *out = reply_begin(f, r->id);
    buf_puts(out, "{\"data\":");
    threads_write_ids(out, f);
    buf_puts(out, ",\"nextCursor\":null}");
    reply_end(f);
}

static void on_model_list(struct fake *f, const struct request *r)
{
    size_t from = strtoul(text_or(json_str_at(r->params, "cursor"), "0"), NULL, 10);
    json_int_t limit = json_int_at(r->params, "limit", 0);
    size_t page = f->opt.page != 0 ? (size_t)f->opt.page : limit > 0 ? (size_t)limit : 0;
    catalog_write_page(reply_begin(f, r->id), from, page,
                       json_bool_at(r->params, "includeHidden", 0));
    reply_end(f);
}

static void on_account_read(struct fake *f, const struct request *r)
{
    bool login = f->opt.primary_percent >= 0;
    struct buf *out = reply_begin(f, r->id);
    buf_printf(
        out, "{\"account\":%s,\"userId\":null,\"requiresOpenaiAuth\":%s,\"workspaceRouting\":null}",
        login ? "{\"type\":\"chatgpt\",\"email\":\"fake@example.com\",\"planType\":\"pro\"}"
              : "null",
        login ? "true" : "false");
    reply_end(f);
}

static void on_rate_limits_read(struct fake *f, const struct request *r)
{
    if (f->opt.primary_percent < 0) {
        reply_error(f, r->id, INVALID_REQUEST,
                    "codex account authentication required to read rate limits");
        return;
    }
    struct buf *out = reply_begin(f, r->id);
    buf_puts(out, "{\"ordinaryUsageAllowed\":null,\"rateLimits\":");
    rate_limits_write(out, &f->opt);
    buf_puts(out, ",\"rateLimitsByLimitId\":{\"codex\":");
    rate_limits_write(out, &f->opt);
    buf_puts(out, "},\"rateLimitResetCredits\":null,\"accountId\":null,\"rateLimitUpsell\":null}");
    reply_end(f);
}

static long long resident_bytes(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss * 1024LL; /* the most so far: this program never shrinks */
}

static void on_diagnostics(struct fake *f, const struct request *r)
{
    struct buf *out = reply_begin(f, r->id);
    buf_printf(
        out,
        "{\"process\":{\"id\":%d,\"residentMemoryBytes\":%lld,\"physicalFootprintBytes\":null}",
        (int)getpid(), resident_bytes());
    buf_printf(out, ",\"gauges\":[{\"name\":\"core.threads.live\",\"value\":%zu}]}",
               threads_count(f));
    reply_end(f);
}

static const struct method {
    const char *name;
    void (*on)(struct fake *f, const struct request *r);
} methods[] = {
    { "initialize", on_initialize },
    { "server/diagnostics", on_diagnostics },
    { "thread/start", on_thread_start },
    { "thread/unsubscribe", on_unsubscribe },
    { "thread/loaded/list", on_loaded_list },
    { "thread/inject_items", on_inject },
    { "turn/start", on_turn_start },
    { "turn/interrupt", on_turn_interrupt },
    { "model/list", on_model_list },
    { "account/read", on_account_read },
    { "account/rateLimits/read", on_rate_limits_read },
};

#define METHODS_LEN (sizeof(methods) / sizeof(methods[0]))

static void refuse_unknown(struct fake *f, const struct request *r, const char *method)
{
    struct buf why = BUF_INIT;
    buf_printf(&why, "Invalid request: unknown variant `%s`, expected one of ", method);
    for (size_t i = 0; i < METHODS_LEN; i++)
        buf_printf(&why, "%s`%s`", i != 0 ? ", " : "", methods[i].name);
    reply_error(f, r->id, INVALID_REQUEST, buf_str(&why));
    buf_free(&why);
}

static bool is_overloaded(struct fake *f, const char *method)
{
    if (f->opt.overload == 0 || strcmp(method, f->opt.overload_method) != 0)
        return false;
    f->opt.overload--;
    return true;
}

static void dispatch(struct fake *f, const char *method, const struct request *r)
{
    if (!f->initialized && strcmp(method, "initialize") != 0) {
        reply_error(f, r->id, INVALID_REQUEST, "Not initialized");
        return;
    }
    if (is_overloaded(f, method)) {
        reply_error(f, r->id, OVERLOADED, "Server overloaded; retry later.");
        return;
    }
    for (size_t i = 0; i < METHODS_LEN; i++) {
        if (strcmp(methods[i].name, method) == 0) {
            methods[i].on(f, r);
            return;
        }
    }
    refuse_unknown(f, r, method);
}

void rpc_receive(struct fake *f, const char *line, size_t len)
{
    const char *why = NULL;
    json_t *message = json_parse(line, len, &why);
    journal_received(f, line, len, message != NULL);
    if (!json_is_object(message)) {
        fprintf(stderr, "ERROR fake worker: not a JSON-RPC message: %s\n",
                text_or(why, "not an object"));
        json_decref(message);
        return;
    }
    const char *method = json_str_at(message, "method");
    struct request r = { .id = json_at(message, "id"), .params = json_at(message, "params") };
    if (method == NULL)
        turn_answered(f, message);
    else if (r.id != NULL)
        dispatch(f, method, &r);
    else if (strcmp(method, "initialized") == 0)
        fake_step(f, STEP_INITIALIZED);
    json_decref(message);
}
