/* The trace of one request. */
#include "trace.h"

#include "clock.h"
#include "trace_allow.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

struct event {
    TAILQ_ENTRY(event) link;
    enum trace_type type;
    const char *name;    /* static: the method, or what happened */
    uint64_t at_ns;      /* since the trace began */
    uint64_t last_ns;    /* of those that are counted here, the last */
    uint64_t longest_ns; /* between two of them */
    uint64_t bytes;      /* of the lines */
    uint64_t withheld;   /* bytes of strings */
    unsigned count;      /* 1: just one */
    uint64_t key;        /* of what may be counted together; 0: stands alone */
    size_t detail_len;
    char detail[]; /* members as JSON, each with a comma before it */
};

TAILQ_HEAD(event_list, event);

struct trace {
    unsigned references;
    bool closed;
    uint64_t (*now_ns)(void);
    uint64_t started_ns;
    int64_t wall_ms;
    struct event_list events; /* owned, oldest first */
    size_t count;
    size_t bytes;             /* of memory for them */
    struct event *next_to_go; /* linked: the first behind those that are kept from the beginning */
    uint64_t dropped;
    struct buf scratch; /* owned */
};

struct trace *trace_new(uint64_t (*now_ns)(void), int64_t wall_ms)
{
    struct trace *trace = xcalloc(1, sizeof(*trace));
    trace->references = 1;
    trace->now_ns = now_ns;
    trace->started_ns = now_ns();
    trace->wall_ms = wall_ms;
    TAILQ_INIT(&trace->events);
    return trace;
}

struct trace *trace_ref(struct trace *trace)
{
    if (trace != NULL)
        trace->references++;
    return trace;
}

void trace_close(struct trace *trace)
{
    if (trace == NULL)
        return;
    struct event *event = NULL;
    while ((event = TAILQ_FIRST(&trace->events)) != NULL) {
        TAILQ_REMOVE(&trace->events, event, link);
        free(event);
    }
    trace->closed = true;
    trace->next_to_go = NULL;
    trace->count = 0;
    buf_free(&trace->scratch);
}

void trace_unref(struct trace *trace)
{
    if (trace == NULL || --trace->references != 0)
        return;
    trace_close(trace);
    free(trace);
}

int64_t trace_wall_ms(const struct trace *trace)
{
    return trace != NULL ? trace->wall_ms : 0;
}

/* ---- events ---- */

/* Makes room for one more: of the events that are not the first, the oldest goes. */
static void make_room(struct trace *trace, size_t size)
{
    while ((trace->count == TRACE_EVENTS_MAX || trace->bytes + size > TRACE_BYTES_MAX) &&
           trace->next_to_go != NULL) {
        struct event *event = trace->next_to_go;
        trace->next_to_go = TAILQ_NEXT(event, link);
        TAILQ_REMOVE(&trace->events, event, link);
        trace->count--;
        trace->bytes -= sizeof(*event) + event->detail_len;
        trace->dropped += event->count;
        free(event);
    }
}

/* Adds an event whose detail is in the scratch buffer. The rest of it is for the caller to fill in, before the next one. */
static struct event *add(struct trace *trace, enum trace_type type, const char *name)
{
    size_t len = trace->scratch.len;
    make_room(trace, sizeof(struct event) + len);
    struct event *event = xmalloc(sizeof(*event) + len);
    *event = (struct event){ .type = type, .name = name, .count = 1, .detail_len = len };
    if (len != 0)
        memcpy(event->detail, trace->scratch.data, len);
    buf_clear(&trace->scratch);
    event->at_ns = event->last_ns = trace->now_ns() - trace->started_ns;
    bool is_first = trace->next_to_go == NULL && trace->dropped == 0 &&
                    trace->count < TRACE_FIRST_MAX && trace->bytes < TRACE_BYTES_MAX / 2;
    TAILQ_INSERT_TAIL(&trace->events, event, link);
    trace->count++;
    trace->bytes += sizeof(*event) + len;
    if (!is_first && trace->next_to_go == NULL)
        trace->next_to_go = event;
    return event;
}

/* The event that one of that key is counted with: the last of its kind, if it is among the latest. */
static struct event *find_same(const struct trace *trace, uint64_t key)
{
    struct event *event = TAILQ_LAST(&trace->events, event_list);
    for (int i = 0; i < TRACE_LOOK_BACK && event != NULL; i++) {
        if (event->key == key)
            return event;
        event = TAILQ_PREV(event, event_list, link);
    }
    return NULL;
}

static bool count_with_last(struct trace *trace, uint64_t key, uint64_t bytes, uint64_t withheld)
{
    struct event *event = find_same(trace, key);
    if (event == NULL)
        return false;
    uint64_t now_ns = trace->now_ns() - trace->started_ns;
    uint64_t gap_ns = now_ns - event->last_ns;
    event->count++;
    event->bytes += bytes;
    event->withheld += withheld;
    event->last_ns = now_ns;
    if (gap_ns > event->longest_ns)
        event->longest_ns = gap_ns;
    return true;
}

static uint64_t hash(uint64_t seed, const void *bytes, size_t len)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < len; i++)
        seed = (seed ^ at[i]) * UINT64_C(1099511628211); /* FNV-1a */
    return seed;
}

static uint64_t hash_member(uint64_t seed, const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return hash(hash(seed, name, 1), json_string_value(value), json_string_length(value));
}

static uint64_t key_of(const void *kind, const json_t *content)
{
    uint64_t key = hash(UINT64_C(14695981039346656037), &kind, sizeof(kind));
    if (content != NULL)
        key = hash_member(hash_member(key, content, "threadId"), content, "itemId");
    return key != 0 ? key : 1;
}

/* ---- events of ours ---- */

static void put_field(struct buf *out, const struct log_field *field)
{
    if (field->kind == LOG_KIND_TEXT && field->text == NULL)
        return;
    buf_puts(out, ",\"");
    buf_puts(out, field->name);
    buf_puts(out, "\":");
    if (field->kind == LOG_KIND_TEXT)
        json_quote(out, field->text, strlen(field->text));
    else if (field->kind == LOG_KIND_INT)
        buf_put_int(out, field->number);
    else
        buf_puts(out, field->number != 0 ? "true" : "false");
}

void trace_note(struct trace *trace, enum trace_type type, const char *event, bool repeats,
                const struct log_field *fields, size_t count)
{
    if (trace == NULL || trace->closed)
        return;
    uint64_t key = repeats ? key_of(event, NULL) : 0;
    if (repeats && count_with_last(trace, key, 0, 0))
        return;
    for (size_t i = 0; i < count; i++)
        put_field(&trace->scratch, &fields[i]);
    add(trace, type, event)->key = key;
}

/* ---- messages ---- */

static void describe_answer(struct buf *out, const struct trace_message *m)
{
    if (m->status != NULL)
        put_field(out, &LOG_ID("outcome", m->status));
    if (m->code != 0)
        put_field(out, &LOG_INT("code", m->code));
    if (m->type == TRACE_RPC_SERVER_REQUEST)
        put_field(out, &LOG_BOOL("answer", m->answer));
}

void trace_rpc(struct trace *trace, const struct trace_message *m)
{
    if (trace == NULL || trace->closed)
        return;
    const char *method = trace_allow_method(m->method);
    bool piece = m->type == TRACE_RPC_NOTIFICATION && trace_allow_is_piece(method);
    uint64_t key = piece ? key_of(method, m->content) : 0;
    if (piece && count_with_last(trace, key, m->bytes, trace_allow_describe(NULL, m->content)))
        return;
    trace_allow_rpc_id(&trace->scratch, m->id);
    describe_answer(&trace->scratch, m);
    uint64_t withheld = trace_allow_describe(&trace->scratch, m->content);
    struct event *event = add(trace, m->type, method);
    event->key = key;
    event->bytes = m->bytes;
    event->withheld = withheld;
}

/* ---- as JSON ---- */

static void put_count(struct buf *out, const char *name, uint64_t value)
{
    buf_puts(out, name);
    buf_put_int(out, (int64_t)value);
}

/* Milliseconds with as many decimals as it takes, at most three. */
static void put_ms(struct buf *out, const char *name, uint64_t ns)
{
    uint64_t us = ns / 1000;
    uint64_t rest = us % 1000;
    put_count(out, name, us / 1000);
    if (rest == 0)
        return;
    buf_putc(out, '.');
    for (uint64_t unit = 100; rest != 0; rest %= unit, unit /= 10)
        buf_putc(out, (char)('0' + rest / unit));
}

static void write_event(const struct event *e, struct buf *out)
{
    static const char *const types[] = { [TRACE_HTTP] = "http",
                                         [TRACE_STAGE] = "stage",
                                         [TRACE_RPC_REQUEST] = "rpc_request",
                                         [TRACE_RPC_RESPONSE] = "rpc_response",
                                         [TRACE_RPC_NOTIFICATION] = "rpc_notification",
                                         [TRACE_RPC_SERVER_REQUEST] = "rpc_server_request" };
    bool is_rpc = e->type >= TRACE_RPC_REQUEST;
    put_ms(out, "{\"ts_ms\":", e->at_ns);
    buf_puts(out, ",\"type\":\"");
    buf_puts(out, types[e->type]);
    buf_puts(out, is_rpc ? "\",\"method\":\"" : "\",\"event\":\"");
    buf_puts(out, e->name);
    buf_putc(out, '"');
    if (is_rpc) {
        put_count(out, ",\"bytes\":", e->bytes);
        buf_puts(out, ",\"redacted\":true");
    }
    buf_append(out, e->detail, e->detail_len);
    if (e->withheld != 0)
        put_count(out, ",\"text_bytes\":", e->withheld);
    if (e->count > 1) {
        put_count(out, ",\"count\":", e->count);
        put_ms(out, ",\"last_ts_ms\":", e->last_ns);
        put_ms(out, ",\"max_gap_ms\":", e->longest_ns);
    }
    buf_putc(out, '}');
}

static void put_text(struct buf *out, const char *name, const char *text)
{
    buf_printf(out, ",\"%s\":", name);
    if (text == NULL || text[0] == '\0')
        buf_puts(out, "null");
    else
        json_quote(out, text, strlen(text));
}

static void write_summary(const struct trace *trace, const struct trace_summary *s, struct buf *out)
{
    char began[CLOCK_ISO_SIZE];
    clock_iso8601(trace->wall_ms, began);
    buf_puts(out, "{\"v\":1");
    put_text(out, "req_id", s->req_id);
    put_text(out, "timestamp", began);
    put_text(out, "route", s->route);
    put_text(out, "model", s->model);
    buf_printf(out, ",\"stream\":%s,\"status\":%d", s->stream ? "true" : "false", s->status);
    put_text(out, "outcome", s->outcome);
    put_text(out, "error_code", s->error_code);
    buf_printf(out, ",\"duration_ms\":%lld,\"queue_ms\":%lld,\"runs_again\":%u",
               (long long)s->duration_ms, (long long)s->queue_ms, s->runs_again);
    buf_printf(out,
               ",\"tokens\":{\"prompt\":%lld,\"cached\":%lld,\"completion\":%lld,"
               "\"reasoning\":%lld}",
               (long long)s->tokens_prompt, (long long)s->tokens_cached,
               (long long)s->tokens_completion, (long long)s->tokens_reasoning);
    buf_printf(out, ",\"bytes_in\":%llu,\"bytes_sent\":%llu,\"events_dropped\":%llu",
               (unsigned long long)s->bytes_in, (unsigned long long)s->bytes_sent,
               (unsigned long long)trace->dropped);
}

void trace_write(const struct trace *trace, const struct trace_summary *summary, struct buf *out)
{
    if (trace == NULL)
        return;
    const struct event *event = NULL;
    write_summary(trace, summary, out);
    buf_puts(out, ",\"events\":[");
    TAILQ_FOREACH(event, &trace->events, link)
    {
        if (event != TAILQ_FIRST(&trace->events))
            buf_putc(out, ',');
        write_event(event, out);
    }
    buf_puts(out, "]}");
}
