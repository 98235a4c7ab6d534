/* A GET every so often on a connection of its own. */
#include "probe.h"

#include <stdlib.h>

#define NS_PER_US 1000
#define NS_PER_MS 1000000
#define PROBE_TIMEOUT_MS 10000

struct probe {
    const struct options *o;          /* borrowed */
    const struct conn_target *target; /* borrowed */
    struct buf request;               /* owned */
    struct conn *conn;                /* owned; NULL: none in flight */
    struct response response;
    struct tally tally;
    uint64_t due_ns; /* when the one in flight was to start, or the next one is */
    uint64_t late;
    struct deadline next;    /* while none is in flight */
    struct deadline timeout; /* while one is */
    bool is_stopped;
};

static void begin(struct probe *p);

static void on_next(struct deadline *d)
{
    begin(deadline_owner(d, struct probe, next));
}

/* The next one on the grid of the interval. What it has missed counts as if it had been asked then. */
static void schedule(struct probe *p, const char *name, uint64_t now_ns)
{
    uint64_t interval_ns = p->o->probe_interval_ms * NS_PER_MS;
    p->due_ns += interval_ns;
    for (; p->due_ns < now_ns; p->due_ns += interval_ns) {
        p->late++;
        tally_outcome(&p->tally, name, (now_ns - p->due_ns) / NS_PER_US);
    }
    uint64_t wait_ms = (p->due_ns - now_ns) / NS_PER_MS;
    if (!p->is_stopped)
        deadline_set(p->target->deadlines, &p->next, wait_ms != 0 ? wait_ms : 1, on_next);
}

static void finish(struct probe *p, enum ending ending)
{
    char name[OUTCOME_SIZE];
    struct answer answer;
    static const struct expected any;
    uint64_t now_ns = uv_hrtime();
    conn_close(p->conn);
    p->conn = NULL;
    deadline_clear(p->target->deadlines, &p->timeout);
    if (ending == ENDING_BODY && p->response.status == 200) {
        snprintf(name, sizeof(name), "done");
    } else {
        answer_init(&answer, false, &any, NULL, NULL);
        answer_end(&answer, &p->response, ending, name);
        answer_free(&answer);
    }
    response_free(&p->response);
    tally_outcome(&p->tally, name, now_ns > p->due_ns ? (now_ns - p->due_ns) / NS_PER_US : 0);
    schedule(p, name, now_ns);
}

static void on_timeout(struct deadline *d)
{
    finish(deadline_owner(d, struct probe, timeout), ENDING_TIMEOUT);
}

static void on_body(void *ctx, const char *data, size_t len)
{
    (void)ctx;
    (void)data;
    (void)len;
}

static void on_bytes(void *ctx, const char *data, size_t len)
{
    struct probe *p = ctx;
    response_feed(&p->response, data, len, on_body, p);
    if (p->response.state == RESPONSE_BROKEN)
        finish(p, ENDING_BROKEN);
    else if (p->response.state == RESPONSE_DONE)
        finish(p, ENDING_BODY);
}

static void on_end(void *ctx, enum conn_end why)
{
    static const enum ending endings[] = {
        [CONN_EOF] = ENDING_EOF,
        [CONN_RESET] = ENDING_RESET,
        [CONN_REFUSED] = ENDING_REFUSED,
        [CONN_LOCAL] = ENDING_LOCAL,
    };
    struct probe *p = ctx;
    p->conn = NULL;
    if (why == CONN_EOF && response_eof(&p->response))
        finish(p, ENDING_BODY);
    else
        finish(p, endings[why]);
}

/* Counts from now on: that the timer of this process was late is none of the server's. */
static void begin(struct probe *p)
{
    static const struct conn_events events = { on_bytes, on_end };
    p->due_ns = uv_hrtime();
    response_init(&p->response);
    p->conn = conn_open(p->target, &events, p);
    deadline_set(p->target->deadlines, &p->timeout, PROBE_TIMEOUT_MS, on_timeout);
    conn_write(p->conn, p->request.data, p->request.len);
}

struct probe *probe_start(const struct options *o, const struct conn_target *target)
{
    struct probe *p = xcalloc(1, sizeof(*p));
    p->o = o;
    p->target = target;
    buf_printf(&p->request, "GET %s HTTP/1.1\r\nhost: %s\r\nconnection: close\r\n\r\n",
               o->probe_path, o->host_header);
    begin(p);
    return p;
}

void probe_stop(struct probe *p)
{
    if (p == NULL)
        return;
    p->is_stopped = true;
    deadline_clear(p->target->deadlines, &p->next);
}

bool probe_in_flight(const struct probe *p)
{
    return p != NULL && p->conn != NULL;
}

const struct tally *probe_tally(const struct probe *p)
{
    return &p->tally;
}

uint64_t probe_late(const struct probe *p)
{
    return p->late;
}

void probe_free(struct probe *p)
{
    if (p == NULL)
        return;
    buf_free(&p->request);
    tally_free(&p->tally);
    free(p);
}
