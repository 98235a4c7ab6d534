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
    bool repeats;        /* those of its name and facts are counted here */
    const char *name;    /* static: the method, or what happened */
    uint64_t at_ns;      /* since the trace began */
    uint64_t last_ns;    /* of those that are counted here, the last */
    uint64_t longest_ns; /* between two of them */
    uint64_t bytes;      /* of the lines */
    uint64_t withheld;   /* bytes of strings */
    unsigned count;      /* 1: just one */
    size_t size;         /* of memory */
    size_t fact_count;
    struct trace_fact facts[]; /* their texts are behind them */
};

TAILQ_HEAD(event_list, event);

struct trace_record {
    int64_t wall_ms;
    struct event_list events; /* owned, oldest first */
    size_t count;
    size_t bytes;             /* of memory for them */
    struct event *next_to_go; /* linked: the first behind those that are kept from the beginning */
    uint64_t dropped;
    struct buf summary; /* owned: JSON without its end; empty until it is taken */
};

struct trace {
    unsigned references;
    uint64_t (*now_ns)(void);
    uint64_t started_ns;
    struct trace_record *record; /* owned; NULL: the trace is closed */
};

struct trace *trace_new(uint64_t (*now_ns)(void), int64_t wall_ms)
{
    struct trace *trace = xcalloc(1, sizeof(*trace));
    trace->references = 1;
    trace->now_ns = now_ns;
    trace->started_ns = now_ns();
    trace->record = xcalloc(1, sizeof(*trace->record));
    trace->record->wall_ms = wall_ms;
    TAILQ_INIT(&trace->record->events);
    return trace;
}

struct trace *trace_ref(struct trace *trace)
{
    if (trace != NULL)
        trace->references++;
    return trace;
}

void trace_record_free(struct trace_record *r)
{
    struct event *event = NULL;
    if (r == NULL)
        return;
    while ((event = TAILQ_FIRST(&r->events)) != NULL) {
        TAILQ_REMOVE(&r->events, event, link);
        free(event);
    }
    buf_free(&r->summary);
    free(r);
}

void trace_close(struct trace *trace)
{
    if (trace == NULL)
        return;
    trace_record_free(trace->record);
    trace->record = NULL;
}

void trace_unref(struct trace *trace)
{
    if (trace == NULL || --trace->references != 0)
        return;
    trace_close(trace);
    free(trace);
}

/* ---- events ---- */

/* Makes room for one more: of the events that are not the first, the oldest goes. */
static void make_room(struct trace_record *r, size_t size)
{
    while ((r->count == TRACE_EVENTS_MAX || r->bytes + size > TRACE_BYTES_MAX) &&
           r->next_to_go != NULL) {
        struct event *event = r->next_to_go;
        r->next_to_go = TAILQ_NEXT(event, link);
        TAILQ_REMOVE(&r->events, event, link);
        r->count--;
        r->bytes -= event->size;
        r->dropped += event->count;
        free(event);
    }
}

static void append(struct trace_record *r, struct event *event)
{
    make_room(r, event->size);
    bool is_first = r->next_to_go == NULL && r->dropped == 0 && r->count < TRACE_FIRST_MAX &&
                    r->bytes < TRACE_BYTES_MAX / 2;
    TAILQ_INSERT_TAIL(&r->events, event, link);
    r->count++;
    r->bytes += event->size;
    if (!is_first && r->next_to_go == NULL)
        r->next_to_go = event;
}

/* An event with a copy of these facts. */
static struct event *event_new(const struct trace_facts *facts)
{
    size_t size = sizeof(struct event) + facts->count * sizeof(facts->list[0]);
    size_t texts_at = size;
    for (size_t i = 0; i < facts->count; i++)
        size += facts->list[i].len;
    struct event *event = xmalloc(size);
    char *text = (char *)event + texts_at;
    *event = (struct event){ .size = size, .fact_count = facts->count };
    for (size_t i = 0; i < facts->count; i++) {
        struct trace_fact *fact = &event->facts[i];
        *fact = facts->list[i];
        if (fact->kind != TRACE_FACT_TEXT)
            continue;
        memcpy(text, fact->text, fact->len);
        fact->text = text;
        text += fact->len;
    }
    return event;
}

/* The event that this one is counted with: the last of its kind, if it is among the latest. */
static struct event *find_same(const struct trace_record *r, const char *name,
                               const struct trace_facts *facts)
{
    struct event *event = TAILQ_LAST(&r->events, event_list);
    for (int i = 0; i < TRACE_LOOK_BACK && event != NULL; i++) {
        if (event->repeats && event->name == name && event->fact_count == facts->count &&
            trace_facts_same(event->facts, facts->list, facts->count))
            return event;
        event = TAILQ_PREV(event, event_list, link);
    }
    return NULL;
}

static void count_with(struct event *event, uint64_t now_ns)
{
    uint64_t gap_ns = now_ns - event->last_ns;
    event->count++;
    event->last_ns = now_ns;
    if (gap_ns > event->longest_ns)
        event->longest_ns = gap_ns;
}

static void put(struct trace *trace, enum trace_type type, const char *name, bool repeats,
                size_t bytes, const struct trace_facts *facts)
{
    uint64_t now_ns = trace->now_ns() - trace->started_ns;
    struct event *event = repeats ? find_same(trace->record, name, facts) : NULL;
    if (event != NULL) {
        count_with(event, now_ns);
    } else {
        event = event_new(facts);
        event->type = type;
        event->name = name;
        event->repeats = repeats;
        event->at_ns = event->last_ns = now_ns;
        event->count = 1;
        append(trace->record, event);
    }
    event->bytes += bytes;
    event->withheld += facts->withheld;
}

/* ---- events of ours ---- */

static void put_field(struct trace_facts *facts, const struct log_field *field)
{
    if (field->kind == LOG_KIND_INT)
        trace_fact_number(facts, TRACE_FACT_NUMBER, field->name, field->number);
    else if (field->kind == LOG_KIND_BOOL)
        trace_fact_number(facts, TRACE_FACT_BOOL, field->name, field->number);
    else if (field->text != NULL)
        trace_fact_text(facts, field->name, field->text, strlen(field->text));
}

void trace_note(struct trace *trace, enum trace_type type, const char *event, bool repeats,
                const struct log_field *fields, size_t count)
{
    struct trace_facts facts;
    if (trace == NULL || trace->record == NULL)
        return;
    trace_facts_begin(&facts, NULL, 0);
    for (size_t i = 0; i < count; i++)
        put_field(&facts, &fields[i]);
    put(trace, type, event, repeats, 0, &facts);
}

/* ---- messages ---- */

static void describe_answer(struct trace_facts *facts, const struct trace_message *m)
{
    if (m->status != NULL)
        put_field(facts, &LOG_ID("outcome", m->status));
    if (m->code != 0)
        put_field(facts, &LOG_INT("code", m->code));
    if (m->type == TRACE_RPC_SERVER_REQUEST)
        put_field(facts, &LOG_BOOL("answer", m->answer));
}

/* The last event of that type, if it is among the latest: nearly always one with the same ids. */
static const struct event *find_type(const struct trace_record *r, enum trace_type type)
{
    const struct event *event = TAILQ_LAST(&r->events, event_list);
    for (int i = 0; i < TRACE_LOOK_BACK && event != NULL && event->type != type; i++)
        event = TAILQ_PREV(event, event_list, link);
    return event != NULL && event->type == type ? event : NULL;
}

void trace_rpc(struct trace *trace, const struct trace_message *m)
{
    struct trace_facts facts;
    if (trace == NULL || trace->record == NULL)
        return;
    const struct trace_method *method = trace_allow_method(m->method);
    const struct event *before = find_type(trace->record, m->type);
    trace_facts_begin(&facts, before != NULL ? before->facts : NULL,
                      before != NULL ? before->fact_count : 0);
    trace_allow_rpc_id(&facts, m->id);
    describe_answer(&facts, m);
    trace_allow_describe(&facts, m->content);
    put(trace, m->type, method->name, m->type == TRACE_RPC_NOTIFICATION && method->comes_in_pieces,
        m->bytes, &facts);
}

/* ---- as JSON ---- */

/* Milliseconds with as many decimals as it takes, at most three. */
static void put_ms(struct buf *out, const char *name, uint64_t ns)
{
    uint64_t us = ns / 1000;
    uint64_t rest = us % 1000;
    json_put_int(out, name, (int64_t)(us / 1000));
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
    buf_putc(out, '{');
    put_ms(out, "ts_ms", e->at_ns);
    buf_puts(out, ",\"type\":\"");
    buf_puts(out, types[e->type]);
    buf_puts(out, is_rpc ? "\",\"method\":\"" : "\",\"event\":\"");
    buf_puts(out, e->name);
    buf_putc(out, '"');
    if (is_rpc) {
        json_put_int(out, "bytes", (int64_t)e->bytes);
        buf_puts(out, ",\"redacted\":true");
    }
    for (size_t i = 0; i < e->fact_count; i++)
        trace_fact_write(out, &e->facts[i]);
    if (e->withheld != 0)
        json_put_int(out, "text_bytes", (int64_t)e->withheld);
    if (e->count > 1) {
        json_put_int(out, "count", (int64_t)e->count);
        put_ms(out, "last_ts_ms", e->last_ns);
        put_ms(out, "max_gap_ms", e->longest_ns);
    }
    buf_putc(out, '}');
}

static void write_summary(const struct trace_record *r, const struct trace_summary *s,
                          struct buf *out)
{
    char began[CLOCK_ISO_SIZE];
    clock_iso8601(r->wall_ms, began);
    buf_puts(out, "{\"v\":1");
    json_put_text(out, "req_id", s->req_id);
    json_put_text(out, "timestamp", began);
    json_put_text(out, "route", s->route);
    json_put_text(out, "model", s->model);
    json_put_bool(out, "stream", s->stream);
    json_put_int(out, "status", s->status);
    json_put_text(out, "outcome", s->outcome);
    json_put_text(out, "error_code", s->error_code);
    json_put_int(out, "duration_ms", s->duration_ms);
    json_put_int(out, "queue_ms", s->queue_ms);
    json_put_int(out, "runs_again", s->runs_again);
    token_counts_put(out, &s->tokens);
    json_put_int(out, "bytes_in", (int64_t)s->bytes_in);
    json_put_int(out, "bytes_sent", (int64_t)s->bytes_sent);
    json_put_int(out, "events_dropped", (int64_t)r->dropped);
}

struct trace_record *trace_take(struct trace *trace, const struct trace_summary *summary)
{
    if (trace == NULL || trace->record == NULL)
        return NULL;
    struct trace_record *record = trace->record;
    trace->record = NULL;
    write_summary(record, summary, &record->summary);
    return record;
}

size_t trace_record_bytes(const struct trace_record *record)
{
    return sizeof(*record) + record->bytes + record->summary.cap;
}

int64_t trace_record_wall_ms(const struct trace_record *record)
{
    return record->wall_ms;
}

void trace_record_write(const struct trace_record *record, struct buf *out)
{
    const struct event *event = NULL;
    buf_append(out, record->summary.data, record->summary.len);
    buf_puts(out, ",\"events\":[");
    TAILQ_FOREACH(event, &record->events, link)
    {
        if (event != TAILQ_FIRST(&record->events))
            buf_putc(out, ',');
        write_event(event, out);
    }
    buf_puts(out, "]}");
}
