/* Clients whose request never ends. */
#include "slow_head.h"

#include <stdlib.h>

#define NS_PER_US 1000

struct slow_head {
    struct slow_heads *all; /* linked */
    struct conn *conn;      /* owned; NULL once it has ended */
    struct response response;
    size_t sent_bytes;
    uint64_t start_ns;
    struct deadline next_byte;
};

struct slow_heads {
    const struct options *o;          /* borrowed */
    const struct conn_target *target; /* borrowed */
    struct buf head;                  /* owned: its last byte is repeated */
    struct tally tally;
    size_t count;
    struct slow_head heads[];
};

static void finish(struct slow_head *h, const char *name)
{
    conn_close(h->conn);
    h->conn = NULL;
    deadline_clear(h->all->target->deadlines, &h->next_byte);
    response_free(&h->response);
    tally_outcome(&h->all->tally, name, (uv_hrtime() - h->start_ns) / NS_PER_US);
}

static void finish_answered(struct slow_head *h)
{
    char name[OUTCOME_SIZE];
    snprintf(name, sizeof(name), "http_%03d", h->response.status);
    finish(h, name);
}

static void on_body(void *ctx, const char *data, size_t len)
{
    (void)ctx;
    (void)data;
    (void)len;
}

static void on_bytes(void *ctx, const char *data, size_t len)
{
    struct slow_head *h = ctx;
    response_feed(&h->response, data, len, on_body, h);
    if (h->response.state == RESPONSE_BROKEN)
        finish(h, "malformed");
    else if (h->response.state == RESPONSE_DONE)
        finish_answered(h);
}

static void on_end(void *ctx, enum conn_end why)
{
    static const char *const names[] = {
        [CONN_EOF] = "closed",
        [CONN_RESET] = "reset",
        [CONN_REFUSED] = "refused",
        [CONN_LOCAL] = "local_error",
    };
    struct slow_head *h = ctx;
    h->conn = NULL;
    if (h->response.head_done)
        finish_answered(h);
    else
        finish(h, names[why]);
}

static void send_byte(struct slow_head *h)
{
    const struct buf *head = &h->all->head;
    size_t at = h->sent_bytes < head->len ? h->sent_bytes : head->len - 1;
    conn_write(h->conn, head->data + at, 1);
    h->sent_bytes++;
}

static void on_next_byte(struct deadline *d)
{
    struct slow_head *h = deadline_owner(d, struct slow_head, next_byte);
    send_byte(h);
    deadline_set(h->all->target->deadlines, d, h->all->o->slow_head_interval_ms, on_next_byte);
}

static void begin(struct slow_heads *s, size_t i)
{
    static const struct conn_events events = { on_bytes, on_end };
    struct slow_head *h = &s->heads[i];
    h->all = s;
    h->start_ns = uv_hrtime();
    response_init(&h->response);
    h->conn = conn_open(s->target, &events, h);
    deadline_set(s->target->deadlines, &h->next_byte,
                 1 + s->o->slow_head_interval_ms * i / s->count, on_next_byte);
}

struct slow_heads *slow_heads_start(const struct options *o, const struct conn_target *target)
{
    size_t count = (size_t)o->slow_heads;
    struct slow_heads *s = xcalloc(1, sizeof(*s) + count * sizeof(s->heads[0]));
    s->o = o;
    s->target = target;
    s->count = count;
    buf_printf(&s->head, "POST %s/chat/completions HTTP/1.1\r\nhost: %s\r\nx-slow: a", o->path,
               o->host_header);
    for (size_t i = 0; i < count; i++)
        begin(s, i);
    return s;
}

void slow_heads_stop(struct slow_heads *s)
{
    for (size_t i = 0; s != NULL && i < s->count; i++)
        if (s->heads[i].conn != NULL)
            finish(&s->heads[i], "open");
}

const struct tally *slow_heads_tally(const struct slow_heads *s)
{
    return &s->tally;
}

void slow_heads_free(struct slow_heads *s)
{
    if (s == NULL)
        return;
    buf_free(&s->head);
    tally_free(&s->tally);
    free(s);
}
