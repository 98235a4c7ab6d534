/* The load: which client starts which request when. */
#include "load.h"

#include "json.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define NS_PER_S 1000000000.0
#define NS_PER_MS 1000000
#define SLOW_BUFFER_BYTES 65536
#define RETRY_MS 10 /* of a closed-loop client that got no connection */

struct user {
    struct buf request;      /* owned: the same bytes each time */
    struct tally tallies[2]; /* of clients that behave, and of those that do not */
    uint64_t weight;
    int64_t credit; /* of the smooth weighted turn */
};

struct load {
    const struct options *o;          /* borrowed */
    const struct conn_target *target; /* borrowed */
    struct conn_target slow_target;   /* the same for clients that read slowly */
    load_over_fn over;
    void *ctx;
    struct user *users; /* owned */
    size_t user_count;
    struct client *clients; /* owned */
    size_t client_count;
    struct client *free_clients; /* linked: open loop, the last used first */
    uint64_t begun;              /* requests, also such as could not start */
    size_t in_flight;
    size_t retrying;
    uint64_t start_ns;
    uint64_t count_ns; /* end of the warm-up; 0: not yet */
    uint64_t end_ns;   /* 0: not over */
    double next_ns;    /* open loop: the next arrival, from start_ns on */
    uint64_t random;   /* state */
    int timer_fd;      /* of the arrivals; -1: none */
    uv_poll_t timer;   /* closed by stop_arrivals */
    bool is_stopped;   /* nothing starts any more */
    struct deadline duration;
};

/* ---- arrivals and turns ---- */

/* splitmix64; (0, 1]. */
static double draw(struct load *l)
{
    uint64_t z = l->random += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return ((double)(z >> 11) + 1.0) / 9007199254740992.0;
}

static double pause_ns(struct load *l)
{
    double mean_ns = NS_PER_S / l->o->rate_per_s;
    return l->o->fixed_arrivals ? mean_ns : -log(draw(l)) * mean_ns;
}

/* Smooth weighted round robin: each gains its weight, the richest pays for all. */
static size_t next_user(struct load *l)
{
    size_t best = 0;
    int64_t all = 0;
    for (size_t i = 0; i < l->user_count; i++) {
        l->users[i].credit += (int64_t)l->users[i].weight;
        all += (int64_t)l->users[i].weight;
        if (l->users[i].credit > l->users[best].credit)
            best = i;
    }
    l->users[best].credit -= all;
    return best;
}

/* ---- the end ---- */

static void on_timer_closed(uv_handle_t *handle)
{
    struct load *l = handle->data;
    close(l->timer_fd);
    l->timer_fd = -1;
}

static void stop(struct load *l)
{
    if (l->is_stopped)
        return;
    l->is_stopped = true;
    deadline_clear(l->target->deadlines, &l->duration);
    if (l->timer_fd >= 0)
        uv_close((uv_handle_t *)&l->timer, on_timer_closed);
}

static void end_if_over(struct load *l)
{
    if (!l->is_stopped || l->in_flight != 0 || l->retrying != 0 || l->end_ns != 0)
        return;
    l->end_ns = uv_hrtime();
    for (size_t i = 0; i < l->client_count; i++)
        client_free(&l->clients[i]);
    l->over(l->ctx);
}

static void on_duration(struct deadline *d)
{
    struct load *l = deadline_owner(d, struct load, duration);
    stop(l);
    end_if_over(l);
}

/* ---- starts ---- */

/* Counts one more request; its tally, or NULL as long as the warm-up lasts. */
static struct tally *begin(struct load *l, size_t user, bool misbehaves)
{
    l->begun++;
    struct tally *tally = &l->users[user].tallies[misbehaves];
    if (l->begun >= l->o->requests)
        stop(l);
    if (l->begun <= l->o->warmup)
        return NULL;
    if (l->begun == l->o->warmup + 1)
        l->count_ns = uv_hrtime();
    return tally;
}

static void start(struct load *l, struct client *c, uint64_t start_ns)
{
    struct tally *tally = begin(l, c->key, c->misbehaves);
    l->in_flight++;
    client_start(c, &l->users[c->key].request, start_ns, tally);
}

static void arrive(struct load *l, uint64_t at_ns)
{
    struct client *c = l->free_clients;
    size_t user = next_user(l);
    if (c == NULL) {
        struct tally *tally = begin(l, user, false);
        if (tally != NULL)
            tally->not_started++;
        return;
    }
    l->free_clients = c->next_free;
    c->key = user;
    start(l, c, at_ns);
}

static void arm_arrivals(struct load *l)
{
    uint64_t at_ns = l->start_ns + (uint64_t)l->next_ns;
    struct itimerspec when = {
        .it_value = { .tv_sec = (time_t)(at_ns / 1000000000),
                      .tv_nsec = (long)(at_ns % 1000000000) },
    };
    int rc = timerfd_settime(l->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
    assert(rc == 0);
}

/* Starts all that are due, also those that this loop is late for. */
static void on_arrivals(uv_poll_t *timer, int status, int events)
{
    struct load *l = timer->data;
    uint64_t expirations = 0;
    (void)status;
    (void)events;
    if (l->is_stopped ||
        (read(l->timer_fd, &expirations, sizeof(expirations)) < 0 && errno != EAGAIN))
        return;
    double now_ns = (double)(uv_hrtime() - l->start_ns);
    while (l->next_ns <= now_ns && !l->is_stopped) {
        arrive(l, l->start_ns + (uint64_t)l->next_ns);
        l->next_ns += pause_ns(l);
    }
    if (!l->is_stopped)
        arm_arrivals(l);
    end_if_over(l);
}

/* ---- closed loop ---- */

static void on_retry(struct deadline *d)
{
    struct client *c = deadline_owner(d, struct client, pace);
    struct load *l = c->owner;
    l->retrying--;
    if (!l->is_stopped)
        start(l, c, uv_hrtime());
    end_if_over(l);
}

static void go_on(struct load *l, struct client *c, bool failed_early)
{
    if (!failed_early) {
        start(l, c, uv_hrtime());
        return;
    }
    l->retrying++;
    deadline_set(l->target->deadlines, &c->pace, RETRY_MS, on_retry);
}

static void on_ended(struct client *c, bool failed_early)
{
    struct load *l = c->owner;
    l->in_flight--;
    if (l->o->rate_per_s > 0) {
        c->next_free = l->free_clients;
        l->free_clients = c;
    } else if (!l->is_stopped) {
        go_on(l, c, failed_early);
    }
    end_if_over(l);
}

/* ---- the whole ---- */

static void make_body(const struct options *o, struct buf *out)
{
    if (o->body.len != 0) {
        buf_append(out, o->body.data, o->body.len);
        return;
    }
    json_t *body =
        json_pack("{s:s, s:b, s:[{s:s, s:s%}]}", "model", o->model, "stream", !o->is_unary,
                  "messages", "role", "user", "content", o->prompt.data, o->prompt.len);
    if (body == NULL) {
        fputs("codex-api-bench: --model or --prompt: not UTF-8\n", stderr);
        exit(64);
    }
    json_write(out, body);
    json_decref(body);
}

static void make_request(struct load *l, struct user *u, const struct bench_key *key)
{
    const struct options *o = l->o;
    struct buf body = BUF_INIT;
    make_body(o, &body);
    u->weight = key != NULL ? key->weight : 1;
    buf_printf(&u->request, "POST %s/chat/completions HTTP/1.1\r\nhost: %s\r\n", o->path,
               o->host_header);
    if (key != NULL)
        buf_printf(&u->request, "authorization: Bearer %s\r\n", key->key);
    if (!o->keep_alive)
        buf_puts(&u->request, "connection: close\r\n");
    buf_append(&u->request, o->headers.data, o->headers.len);
    buf_printf(&u->request, "content-type: application/json\r\ncontent-length: %zu\r\n\r\n",
               body.len);
    buf_append(&u->request, body.data, body.len);
    buf_free(&body);
}

static void make_clients(struct load *l)
{
    const struct options *o = l->o;
    bool is_open = o->rate_per_s > 0;
    l->client_count = (size_t)(is_open ? o->max_in_flight : o->concurrency);
    l->clients = xcalloc(l->client_count + 1, sizeof(*l->clients));
    for (size_t i = l->client_count; i-- > 0;) {
        struct client *c = &l->clients[i];
        *c = (struct client){ .target = l->target, .options = o, .ended = on_ended, .owner = l };
        c->number = i;
        c->misbehaves = options_misbehave(o) && i < o->affected;
        if (c->misbehaves && o->abort_after_frames == 0 && o->abort_after_ms == 0)
            c->target = &l->slow_target;
        c->next_free = l->free_clients;
        l->free_clients = c;
    }
    if (!is_open)
        for (size_t i = 0; i < l->client_count; i++)
            l->clients[i].key = next_user(l);
}

struct load *load_new(const struct options *o, const struct conn_target *target, load_over_fn over,
                      void *ctx)
{
    struct load *l = xcalloc(1, sizeof(*l));
    *l = (struct load){ .o = o, .target = target, .over = over, .ctx = ctx };
    l->timer_fd = -1;
    l->slow_target = *target;
    l->slow_target.receive_buffer_bytes = SLOW_BUFFER_BYTES;
    l->random = o->seed;
    l->user_count = o->key_count != 0 ? o->key_count : 1;
    l->users = xcalloc(l->user_count, sizeof(*l->users));
    for (size_t i = 0; i < l->user_count; i++)
        make_request(l, &l->users[i], o->key_count != 0 ? &o->keys[i] : NULL);
    make_clients(l);
    return l;
}

void load_start(struct load *l)
{
    const struct options *o = l->o;
    l->start_ns = uv_hrtime();
    if (o->duration_ms != 0)
        deadline_set(l->target->deadlines, &l->duration, o->duration_ms, on_duration);
    if (o->rate_per_s > 0) {
        l->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        assert(l->timer_fd >= 0);
        uv_poll_init(l->target->loop, &l->timer, l->timer_fd);
        l->timer.data = l;
        uv_poll_start(&l->timer, UV_READABLE, on_arrivals);
        l->next_ns = pause_ns(l);
        arm_arrivals(l);
        return;
    }
    for (size_t i = 0; i < l->client_count && !l->is_stopped; i++)
        start(l, &l->clients[i], uv_hrtime());
}

void load_abort(struct load *l)
{
    stop(l);
    for (size_t i = 0; i < l->client_count; i++)
        client_abort(&l->clients[i]);
    end_if_over(l);
}

uint64_t load_elapsed_ns(const struct load *l)
{
    uint64_t from_ns = l->count_ns != 0 ? l->count_ns : l->start_ns;
    return (l->end_ns != 0 ? l->end_ns : uv_hrtime()) - from_ns;
}

const struct tally *load_tally(const struct load *l, size_t key, bool misbehaves)
{
    return &l->users[key].tallies[misbehaves];
}

size_t load_key_count(const struct load *l)
{
    return l->user_count;
}

void load_free(struct load *l)
{
    if (l == NULL)
        return;
    for (size_t i = 0; i < l->user_count; i++) {
        buf_free(&l->users[i].request);
        tally_free(&l->users[i].tallies[0]);
        tally_free(&l->users[i].tallies[1]);
    }
    free(l->users);
    free(l->clients);
    free(l);
}
