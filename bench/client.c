/* One client: a request at a time. */
#include "client.h"

#include <assert.h>
#include <string.h>

#define PACE_MS 50 /* a slow reader's budget comes in such steps; a stopped one looks up so often */
#define DRAIN_MS 10000
#define NS_PER_US 1000
#define NS_PER_MS 1000000

static void pace(struct client *c);
static void on_timeout(struct deadline *d);

static uint64_t us_since(uint64_t start_ns, uint64_t now_ns)
{
    return now_ns > start_ns ? (now_ns - start_ns) / NS_PER_US : 0;
}

/* ---- the end ---- */

static void count(struct client *c, enum ending ending, const char *name, uint64_t now_ns)
{
    struct tally *t = c->tally;
    const struct answer *a = &c->answer;
    tally_outcome(t, name, us_since(c->start_ns, now_ns));
    if (c->response.head_done)
        histogram_add(&t->head_us, us_since(c->start_ns, c->head_ns));
    if (a->first_content_ns != 0 && a->is_stream)
        histogram_add(&t->content_us, us_since(c->start_ns, a->first_content_ns));
    t->stalls += c->stalls;
    t->stalled_answers += c->stalls != 0;
    t->mismatches += a->differs;
    t->truncated += a->is_stream && a->saw_done && ending != ENDING_BODY;
    t->frames += a->frames;
    t->comments += a->sse.comments;
    t->content_bytes += a->content_bytes;
    t->received_bytes += c->received_bytes;
}

static void drop_conn(struct client *c)
{
    conn_close(c->conn);
    c->conn = NULL;
}

/* The only end of a request. */
static void finish(struct client *c, enum ending ending)
{
    char name[OUTCOME_SIZE];
    uint64_t now_ns = uv_hrtime();
    assert(c->is_busy);
    c->is_busy = false;
    deadline_clear(c->target->deadlines, &c->timeout);
    deadline_clear(c->target->deadlines, &c->pace);
    if (ending != ENDING_BODY || !c->options->keep_alive || !c->response.keep_alive ||
        c->misbehaves)
        drop_conn(c);
    answer_end(&c->answer, &c->response, ending, name);
    if (c->tally != NULL)
        count(c, ending, name, now_ns);
    response_free(&c->response);
    answer_free(&c->answer);
    c->ended(c, ending == ENDING_REFUSED || ending == ENDING_LOCAL);
}

/* ---- bytes ---- */

static void on_gap(void *ctx, uint64_t gap_ns)
{
    struct client *c = ctx;
    uint64_t stall_ms = c->options->stall_ms;
    if (c->tally != NULL)
        histogram_add(&c->tally->gap_us, gap_ns / NS_PER_US);
    if (stall_ms != 0 && gap_ns > stall_ms * NS_PER_MS)
        c->stalls++;
}

static void on_body(void *ctx, const char *data, size_t len)
{
    struct client *c = ctx;
    answer_feed(&c->answer, &c->response, data, len, c->now_ns);
}

static bool wants_to_leave(const struct client *c)
{
    uint64_t frames = c->options->abort_after_frames;
    return c->misbehaves && frames != 0 && c->answer.frames >= frames;
}

/* Whether a client that does not behave has read enough for now. */
static void stop_reading(struct client *c)
{
    const struct options *o = c->options;
    if (c->is_draining)
        return;
    if (o->slow_read_bytes_per_s != 0 && c->budget_bytes == 0)
        conn_pause(c->conn);
    if (c->received_bytes >= o->stop_reading_after_bytes)
        conn_pause(c->conn);
}

static void on_bytes(void *ctx, const char *data, size_t len)
{
    struct client *c = ctx;
    if (!c->is_busy) { /* nobody asked */
        drop_conn(c);
        return;
    }
    c->now_ns = uv_hrtime();
    c->received_bytes += len;
    c->budget_bytes -= len < c->budget_bytes ? len : c->budget_bytes;
    bool had_head = c->response.head_done;
    size_t taken = response_feed(&c->response, data, len, on_body, c);
    if (!had_head && c->response.head_done)
        c->head_ns = c->now_ns;
    if (c->response.state == RESPONSE_BROKEN || taken < len)
        finish(c, ENDING_BROKEN);
    else if (c->response.state == RESPONSE_DONE)
        finish(c, ENDING_BODY);
    else if (wants_to_leave(c))
        finish(c, ENDING_LEFT);
    else if (c->misbehaves)
        stop_reading(c);
}

static enum ending ending_of(struct client *c, enum conn_end why)
{
    switch (why) {
    case CONN_EOF:
        return response_eof(&c->response) ? ENDING_BODY : ENDING_EOF;
    case CONN_REFUSED:
        return ENDING_REFUSED;
    case CONN_LOCAL:
        return ENDING_LOCAL;
    case CONN_RESET:
        break;
    }
    return ENDING_RESET;
}

static void on_conn_end(void *ctx, enum conn_end why)
{
    struct client *c = ctx;
    c->conn = NULL;
    if (c->is_busy)
        finish(c, ending_of(c, why));
}

/* ---- clients that do not behave ---- */

/* Reads on: what the server has left tells how it has ended the answer. */
static void drain(struct client *c)
{
    c->is_draining = true;
    conn_read_at_most(c->conn, 0);
    conn_resume(c->conn);
}

/* A server may have closed long ago, but its end cannot arrive behind bytes that nobody takes. */
static void on_timeout(struct deadline *d)
{
    struct client *c = deadline_owner(d, struct client, timeout);
    if (!c->misbehaves || c->is_draining ||
        c->received_bytes < c->options->stop_reading_after_bytes) {
        finish(c, ENDING_TIMEOUT);
        return;
    }
    deadline_clear(c->target->deadlines, &c->pace);
    deadline_set(c->target->deadlines, &c->timeout, DRAIN_MS, on_timeout);
    drain(c);
}

static void look_up(struct client *c)
{
    switch (conn_peer(c->conn)) {
    case CONN_PEER_OPEN:
        break;
    case CONN_PEER_CLOSED:
        drain(c);
        return;
    case CONN_PEER_GONE:
        finish(c, ENDING_RESET);
        return;
    }
    pace(c);
}

static void on_pace(struct deadline *d)
{
    struct client *c = deadline_owner(d, struct client, pace);
    const struct options *o = c->options;
    if (o->abort_after_ms != 0) {
        finish(c, ENDING_LEFT);
        return;
    }
    if (c->received_bytes >= o->stop_reading_after_bytes) {
        look_up(c);
        return;
    }
    if (o->slow_read_bytes_per_s != 0) {
        c->budget_bytes = o->slow_read_bytes_per_s * PACE_MS / 1000;
        if (c->budget_bytes == 0)
            c->budget_bytes = 1;
        conn_read_at_most(c->conn, c->budget_bytes);
        conn_resume(c->conn);
    }
    pace(c);
}

static void pace(struct client *c)
{
    deadline_set(c->target->deadlines, &c->pace, PACE_MS, on_pace);
}

static void misbehave(struct client *c)
{
    const struct options *o = c->options;
    if (o->slow_read_bytes_per_s != 0 || o->stop_reading_after_bytes == 0)
        conn_pause(c->conn);
    else if (o->stop_reading_after_bytes != OPTIONS_NEVER)
        conn_read_at_most(c->conn, o->stop_reading_after_bytes);
    if (o->abort_after_ms != 0)
        deadline_set(c->target->deadlines, &c->pace, o->abort_after_ms, on_pace);
    else if (o->abort_after_frames == 0)
        pace(c);
}

/* ---- the start ---- */

void client_start(struct client *c, const struct buf *request, uint64_t start_ns,
                  struct tally *tally)
{
    static const struct conn_events events = { on_bytes, on_conn_end };
    assert(!c->is_busy);
    c->is_busy = true;
    c->is_draining = false;
    c->tally = tally;
    c->start_ns = start_ns;
    c->head_ns = 0;
    c->received_bytes = 0;
    c->stalls = 0;
    c->budget_bytes = 0;
    response_init(&c->response);
    answer_init(&c->answer, !c->options->is_unary, &c->options->expected, on_gap, c);
    if (tally != NULL)
        tally->started++;
    if (c->conn == NULL) {
        c->conn = conn_open(c->target, &events, c);
        if (tally != NULL)
            tally->connections++;
    }
    deadline_set(c->target->deadlines, &c->timeout, c->options->timeout_ms, on_timeout);
    conn_write(c->conn, request->data, request->len);
    if (c->misbehaves)
        misbehave(c);
}

void client_abort(struct client *c)
{
    if (c->is_busy)
        finish(c, ENDING_LEFT);
}

void client_free(struct client *c)
{
    assert(!c->is_busy);
    drop_conn(c);
    deadline_clear(c->target->deadlines, &c->pace);
}
