/* The model stub's server: connections, routes, and the pull of an answer through one write at a time. */
#include "model_stub.h"

#include "json.h"
#include "scenario.h"
#include "stub_answer.h"
#include "stub_http.h"
#include "stub_journal.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define BACKLOG 128
#define CONNECTIONS_MAX 1024
#define EARLY_BYTES_MAX (64 * 1024) /* that a client may send while it is being answered */
#define READ_BYTES (64 * 1024)
#define WRITE_BYTES (64 * 1024) /* of a stream are made before they are written */

struct model_stub {
    uv_tcp_t listener;
    struct conn *conns; /* owned; a list */
    size_t conn_count;
    size_t open_handles;         /* listener and those of the connections: the last one frees */
    unsigned requests;           /* seen so far */
    struct stub_journal journal; /* owned */
    json_t *usage;               /* owned; NULL until a test sets it */
    int usage_status;            /* of that answer */
    int port;
    void (*on_closed)(void *ctx); /* borrowed */
    void *closed_ctx;             /* borrowed */
    char read_bytes[READ_BYTES];  /* one is enough: a read ends before the next begins */
};

enum conn_state {
    CONN_READING, /* a request comes in, or the next one is awaited */
    CONN_WRITING, /* a write is in flight, `then` says what follows it */
    CONN_WAITING, /* for the timer, or for ever: only the client can end it */
    CONN_CLOSING, /* the last handle frees */
};

struct conn {
    uv_tcp_t tcp;
    uv_timer_t timer;
    uv_write_t write;
    struct model_stub *stub; /* linked: it closes us before it goes */
    struct conn *next;       /* linked */
    struct conn *prev;       /* linked */
    unsigned open_handles;
    enum conn_state state;
    enum stub_then then;
    unsigned pause_ms;
    struct stub_http http;      /* owned */
    struct buf early;           /* owned; bytes that came while an answer was on its way */
    struct buf out;             /* owned; what is being written */
    struct stub_answer *answer; /* owned; NULL unless a scenario plays */
    json_t *record;             /* counted; NULL if the request is not in the journal */
};

/* ---- closing ---- */

/* One handle less; the last one of all frees the stub. */
static void release_handle(struct model_stub *stub)
{
    if (--stub->open_handles != 0)
        return;
    void (*on_closed)(void *) = stub->on_closed;
    void *ctx = stub->closed_ctx;
    stub_journal_free(&stub->journal);
    json_decref(stub->usage);
    free(stub);
    if (on_closed != NULL)
        on_closed(ctx);
}

static void on_conn_handle_closed(uv_handle_t *handle)
{
    struct conn *c = handle->data;
    struct model_stub *stub = c->stub;
    if (--c->open_handles == 0) {
        stub_http_free(&c->http);
        buf_free(&c->early);
        buf_free(&c->out);
        free(c);
    }
    release_handle(stub);
}

static void forget_request(struct conn *c, const char *state)
{
    stub_journal_close(c->record, state);
    json_decref(c->record);
    c->record = NULL;
    stub_answer_free(c->answer);
    c->answer = NULL;
}

/* `state` is what the journal says of a request that this leaves unanswered. */
static void conn_close(struct conn *c, const char *state)
{
    if (c->state == CONN_CLOSING)
        return;
    c->state = CONN_CLOSING;
    forget_request(c, state);
    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        c->stub->conns = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
    c->stub->conn_count--;
    uv_close((uv_handle_t *)&c->tcp, on_conn_handle_closed);
    uv_close((uv_handle_t *)&c->timer, on_conn_handle_closed);
}

/* ---- routes ---- */

static void reply(struct conn *c, int status, const json_t *body)
{
    stub_http_reply(&c->out, status, NULL, body);
    c->then = STUB_THEN_END;
}

static void reply_error(struct conn *c, int status, const char *code, const char *message)
{
    json_t *body = json_pack("{s:{s:s, s:s, s:s}}", "error", "type", "invalid_request_error",
                             "code", code, "message", message);
    reply(c, status, body);
    json_decref(body);
}

static void serve_responses(struct conn *c, json_t *body)
{
    if (!json_is_object(body)) {
        reply_error(c, 400, "bad_json", "stub: the body is not a JSON object");
        return;
    }
    struct buf why = BUF_INIT;
    buf_puts(&why, "stub: bad scenario: ");
    json_t *scenario = scenario_for(body, &why);
    if (scenario == NULL) {
        reply_error(c, 400, "bad_scenario", buf_str(&why));
    } else {
        c->answer = stub_answer_new(scenario, body, c->stub->requests);
        c->then = STUB_THEN_MORE;
    }
    json_decref(scenario);
    buf_free(&why);
}

static void serve_models(struct conn *c, json_t *body)
{
    (void)body;
    json_t *none = json_pack("{s:s, s:[]}", "object", "list", "data");
    reply(c, 200, none);
    json_decref(none);
}

static void serve_requests(struct conn *c, json_t *body)
{
    (void)body;
    reply(c, 200, c->stub->journal.records);
}

static void serve_forget_requests(struct conn *c, json_t *body)
{
    (void)body;
    stub_journal_clear(&c->stub->journal);
    reply(c, 204, NULL);
}

static void serve_usage(struct conn *c, json_t *body)
{
    (void)body;
    if (c->stub->usage == NULL)
        reply_error(c, 404, "not_found", "stub: POST /stub/usage sets this answer");
    else
        reply(c, c->stub->usage_status, c->stub->usage);
}

static void serve_set_usage(struct conn *c, json_t *body)
{
    const char *query = c->http.request.query;
    int status = strncmp(query, "status=", 7) == 0 ? (int)strtol(query + 7, NULL, 10) : 200;
    if (body == NULL || status < 200 || status > 599) {
        reply_error(c, 400, "bad_json", "stub: expects JSON, and a status of 200 to 599");
        return;
    }
    json_decref(c->stub->usage);
    c->stub->usage = json_incref(body);
    c->stub->usage_status = status;
    reply(c, 204, NULL);
}

static void serve_forget_usage(struct conn *c, json_t *body)
{
    (void)body;
    json_decref(c->stub->usage);
    c->stub->usage = NULL;
    reply(c, 204, NULL);
}

/* `body` is borrowed and NULL if it is no JSON. Each fills c->out or sets c->answer, and c->then. */
static const struct route {
    const char *method;
    const char *path;
    void (*serve)(struct conn *c, json_t *body);
} routes[] = {
    { "POST", "/v1/responses", serve_responses },
    { "POST", "/responses", serve_responses },
    { "GET", "/v1/models", serve_models },
    { "GET", "/models", serve_models },
    { "GET", "/backend-api/wham/usage", serve_usage },
    { "GET", "/stub/requests", serve_requests },
    { "DELETE", "/stub/requests", serve_forget_requests },
    { "POST", "/stub/usage", serve_set_usage },
    { "DELETE", "/stub/usage", serve_forget_usage },
};

static const struct route *find_route(const char *method, const char *path)
{
    for (size_t i = 0; i < sizeof(routes) / sizeof(*routes); i++)
        if (strcmp(routes[i].method, method) == 0 && strcmp(routes[i].path, path) == 0)
            return &routes[i];
    return NULL;
}

static void dispatch(struct conn *c)
{
    struct model_stub *stub = c->stub;
    const struct stub_request *request = &c->http.request;
    bool about_us = strncmp(request->path, "/stub/", 6) == 0;
    const struct route *route = find_route(request->method, request->path);
    if (route == NULL || (about_us && stub->journal.records == NULL)) {
        route = NULL;
        reply_error(c, 404, "not_found", "stub: no such route");
    }
    json_t *body = NULL;
    if (request->body.len != 0)
        body = json_parse(request->body.data, request->body.len, NULL);
    if (!about_us) {
        stub->requests++;
        c->record = stub_journal_open(&stub->journal, stub->requests, request, body);
    }
    if (route != NULL)
        route->serve(c, body);
    json_decref(body);
}

/* ---- connections ---- */

static void obey(struct conn *c);

static void on_written(uv_write_t *write, int status)
{
    struct conn *c = write->data;
    if (c->state == CONN_CLOSING)
        return;
    buf_clear(&c->out);
    if (status < 0)
        conn_close(c, "client_closed");
    else
        obey(c);
}

/* Writes c->out; what is to come `then` comes afterwards. */
static void send_out(struct conn *c)
{
    uv_buf_t bytes = uv_buf_init(c->out.data, (unsigned)c->out.len);
    c->state = CONN_WRITING;
    if (uv_write(&c->write, (uv_stream_t *)&c->tcp, &bytes, 1, on_written) != 0)
        conn_close(c, "client_closed");
}

/* Makes the next bytes of the answer. Only one write is in flight, and it goes on from its callback and not
 * from here: so memory is bounded and a long answer leaves the loop to others between two writes. */
static void pull(struct conn *c)
{
    do
        c->then = stub_answer_next(c->answer, &c->out, &c->pause_ms);
    while (c->then == STUB_THEN_MORE && c->out.len < WRITE_BYTES);
    stub_journal_deltas(c->record, stub_answer_deltas(c->answer));
    if (c->out.len != 0)
        send_out(c);
    else
        obey(c);
}

static void on_timer(uv_timer_t *timer)
{
    pull(timer->data);
}

static void feed(struct conn *c, const char *data, size_t len)
{
    const char *why = NULL;
    size_t used = 0;
    switch (stub_http_feed(&c->http, data, len, &used, &why)) {
    case STUB_HTTP_MORE:
        return;
    case STUB_HTTP_DONE:
        buf_append(&c->early, data + used, len - used);
        dispatch(c);
        break;
    case STUB_HTTP_BAD:
        reply_error(c, 400, "bad_http", why);
        c->then = STUB_THEN_DROP;
        break;
    }
    if (c->answer != NULL)
        pull(c);
    else
        send_out(c);
}

/* The answer is written: on to the next request, which may have come already. */
static void begin_request(struct conn *c)
{
    bool keep_alive = c->http.request.keep_alive;
    forget_request(c, "completed");
    if (!keep_alive) {
        conn_close(c, "completed");
        return;
    }
    struct buf early = c->early;
    c->early = (struct buf)BUF_INIT;
    buf_free(&c->out);
    stub_http_free(&c->http);
    stub_http_init(&c->http);
    c->state = CONN_READING;
    feed(c, early.data, early.len);
    buf_free(&early);
}

static void obey(struct conn *c)
{
    switch (c->then) {
    case STUB_THEN_MORE:
        pull(c);
        break;
    case STUB_THEN_PAUSE:
        c->state = CONN_WAITING;
        uv_timer_start(&c->timer, on_timer, c->pause_ms, 0);
        break;
    case STUB_THEN_HANG:
        c->state = CONN_WAITING;
        break;
    case STUB_THEN_DROP:
        conn_close(c, "dropped");
        break;
    case STUB_THEN_END:
        begin_request(c);
        break;
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_bytes)
{
    (void)suggested;
    const struct conn *c = handle->data;
    *ret_bytes = uv_buf_init(c->stub->read_bytes, READ_BYTES);
}

/* We read also while we answer: so a client that leaves is noticed at once. */
static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *bytes)
{
    struct conn *c = stream->data;
    bool reading = c->state == CONN_READING;
    if (len < 0 || (!reading && c->early.len + (size_t)len > EARLY_BYTES_MAX))
        conn_close(c, "client_closed");
    else if (reading)
        feed(c, bytes->base, (size_t)len);
    else
        buf_append(&c->early, bytes->base, (size_t)len);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct model_stub *stub = listener->data;
    if (status < 0) /* the client is gone already, or we are out of descriptors */
        return;
    struct conn *c = xcalloc(1, sizeof(*c));
    c->stub = stub;
    c->open_handles = 2;
    stub->open_handles += 2;
    stub->conn_count++;
    c->next = stub->conns;
    if (c->next != NULL)
        c->next->prev = c;
    stub->conns = c;
    stub_http_init(&c->http);
    uv_tcp_init(listener->loop, &c->tcp);
    uv_timer_init(listener->loop, &c->timer);
    c->tcp.data = c->timer.data = c->write.data = c;
    if (uv_accept(listener, (uv_stream_t *)&c->tcp) != 0 || stub->conn_count > CONNECTIONS_MAX ||
        uv_tcp_nodelay(&c->tcp, 1) != 0 ||
        uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) != 0)
        conn_close(c, "client_closed");
}

/* ---- the server ---- */

static void on_listener_closed(uv_handle_t *handle)
{
    release_handle(handle->data);
}

static int listen_on(struct model_stub *stub, int port)
{
    struct sockaddr_storage address;
    int len = sizeof(address);
    uv_ip4_addr("127.0.0.1", port, (struct sockaddr_in *)&address);
    int rc = uv_tcp_bind(&stub->listener, (const struct sockaddr *)&address, 0);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)&stub->listener, BACKLOG, on_connection);
    if (rc == 0)
        rc = uv_tcp_getsockname(&stub->listener, (struct sockaddr *)&address, &len);
    if (rc == 0)
        stub->port = ntohs(((struct sockaddr_in *)&address)->sin_port);
    return rc;
}

struct model_stub *model_stub_start(uv_loop_t *loop, const struct model_stub_options *options,
                                    const char **ret_why)
{
    struct model_stub *stub = xcalloc(1, sizeof(*stub));
    uv_tcp_init(loop, &stub->listener);
    stub->listener.data = stub;
    stub->open_handles = 1;
    stub_journal_init(&stub->journal, options->journal_max);
    int rc = listen_on(stub, options->port);
    if (rc == 0)
        return stub;
    *ret_why = uv_strerror(rc);
    model_stub_close(stub, NULL, NULL);
    return NULL;
}

int model_stub_port(const struct model_stub *stub)
{
    return stub->port;
}

void model_stub_close(struct model_stub *stub, void (*on_closed)(void *ctx), void *ctx)
{
    if (stub == NULL) {
        if (on_closed != NULL)
            on_closed(ctx);
        return;
    }
    stub->on_closed = on_closed;
    stub->closed_ctx = ctx;
    while (stub->conns != NULL)
        conn_close(stub->conns, "dropped");
    uv_close((uv_handle_t *)&stub->listener, on_listener_closed);
}
