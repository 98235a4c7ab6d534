/* The connections of the HTTP server, from accept to close.
 *
 * h2o parses a head on its own, answers what it cannot parse with a fixed text, and tells nobody. So it is not asked: while
 * a head is awaited, our callback stands where h2o's is (`_cb.read` of the socket), and h2o gets the bytes once the strict check has
 * let the whole head pass. h2o puts its own callback back after each answer, in the middle of a callback; ours returns before the loop
 * waits for the next bytes. */
#include "conn.h"

#include "access_log.h"
#include "api_error.h"
#include "deadline.h"
#include "id.h"
#include "linger.h"
#include "log.h"
#include "mem.h"
#include "reply.h"

#include <h2o.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

/* The gate was made for http1.c of h2o 2.2: look there before it is used with another. */
_Static_assert(H2O_LIBRARY_VERSION_MAJOR == 0 && H2O_LIBRARY_VERSION_MINOR == 13, "h2o 2.2");

#define DRAIN_GRACE_MS 1000 /* at a drain: for the first request of a connection to come in */

struct conn {
    struct conns *all;      /* borrowed */
    h2o_socket_t *socket;   /* borrowed: closed and freed by h2o */
    h2o_socket_cb h2o_read; /* what the gate stands in for */
    struct head_check head; /* of the request that is awaited, read or answered */
    bool answering;         /* the request was handed to a handler, and has not ended */
    bool served;            /* one or more before */
    enum conn_role role;
    bool listed;                 /* in `returning` */
    TAILQ_ENTRY(conn) returning; /* linked */
    struct deadline hurry;       /* of a spare one */
    bool no_room;                /* for the body of the request that is awaited: to be refused */
    uint64_t body_bytes;         /* counted in all->bodies_bytes */
    uint64_t since_ms;           /* loop time of the accept or of the last answer */
};

struct conns {
    struct conns_options options;
    size_t count;
    uint64_t bodies_bytes;
    uv_prepare_t *prepare;        /* owned; frees itself in its close callback */
    TAILQ_HEAD(, conn) returning; /* those whose answer has ended since the loop last waited */
};

static void free_handle(uv_handle_t *handle)
{
    free(handle);
}

static struct conn *conn_of(h2o_req_t *req)
{
    h2o_socket_t *socket = req->conn->callbacks->get_socket(req->conn);
    return socket != NULL ? socket->on_close.data : NULL;
}

/* ---- bodies: h2o reads them whole, before anybody has looked at the key ---- */

/* What the body of the request with this head may take until it is answered. One over the limit is refused by h2o and not
 * read. */
static uint64_t announced_bytes(const struct conn *c)
{
    uint64_t most = c->all->options.body_max_bytes;
    if (head_is_chunked(&c->head))
        return most;
    return c->head.content_length <= most ? c->head.content_length : 0;
}

static bool take_room(struct conn *c)
{
    struct conns *all = c->all;
    uint64_t bytes = announced_bytes(c);
    c->no_room = all->bodies_bytes + bytes > all->options.bodies_max_bytes;
    if (c->no_room)
        return false;
    c->body_bytes = bytes;
    all->bodies_bytes += bytes;
    return true;
}

static void give_room_back(struct conn *c)
{
    c->all->bodies_bytes -= c->body_bytes;
    c->body_bytes = 0;
}

/* ---- what is refused before h2o sees it ---- */

void conn_describe_fault(enum head_fault fault, struct api_error *ret)
{
    static const struct {
        int status;
        const char *code;
    } codes[] = { { 400, "malformed_request" },
                  { 414, "uri_too_long" },
                  { 431, "headers_too_large" } };
    int status = head_fault_status(fault);
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        if (codes[i].status == status)
            api_error_set(ret, status, "invalid_request_error", codes[i].code, NULL, "%s",
                          head_fault_message(fault));
}

static void describe_refusal(const struct conn *c, struct api_error *ret)
{
    if (!c->no_room) {
        conn_describe_fault(c->head.fault, ret);
        return;
    }
    api_error_set(ret, 503, "server_error", "server_overloaded", NULL,
                  "Too many bytes of requests are being read; try again.");
    ret->retry_after_s = 1;
}

/* The answer is short and the first that waits on this connection, so it fits into the kernel's buffer. To h2o it looks as
 * if the client had left. Frees the connection. */
static void refuse(struct conn *c)
{
    char id[ID_SIZE];
    struct api_error error;
    struct buf answer = BUF_INIT;
    int fd = h2o_socket_get_fd(c->socket);
    id_make(id, "req_");
    describe_refusal(c, &error);
    reply_write_raw(&answer, &error, id);
    ssize_t sent = send(fd, answer.data, answer.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    buf_free(&answer);
    shutdown(fd, SHUT_WR);
    linger_on(c->all->options.loop, fd);
    const struct access access = {
        .request_id = id,
        .route = ACCESS_REJECTED,
        .status = error.status,
        .bytes_sent = sent > 0 ? sent : 0,
        .error_code = error.code,
        .retryable = api_error_retryable(&error) ? 1 : -1,
        .reason = c->no_room ? "bodies_too_large" : head_fault_name(c->head.fault),
    };
    access_note(c->all->options.routes, &access);
    c->head = (struct head_check){ 0 };
    c->no_room = false;
    c->h2o_read(c->socket, h2o_socket_error_closed);
}

/* ---- the gate ---- */

static void on_gate_read(h2o_socket_t *socket, const char *err)
{
    struct conn *c = socket->on_close.data;
    enum head_verdict verdict = HEAD_MORE;
    if (err == NULL)
        verdict = head_check(&c->head, socket->input->bytes, socket->input->size);
    if (verdict == HEAD_BAD || (verdict == HEAD_OK && !take_room(c))) {
        refuse(c);
        return;
    }
    if (verdict == HEAD_MORE && err == NULL)
        return;
    socket->_cb.read = c->h2o_read;
    c->h2o_read(socket, err); /* may free the connection */
}

/* h2o waits for a head: from now on we do. */
static void close_gate(struct conn *c)
{
    if (!h2o_socket_is_reading(c->socket) || c->socket->_cb.read == on_gate_read)
        return;
    c->h2o_read = c->socket->_cb.read;
    c->socket->_cb.read = on_gate_read;
}

static void leave_returning(struct conn *c)
{
    if (c->listed)
        TAILQ_REMOVE(&c->all->returning, c, returning);
    c->listed = false;
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct conns *all = prepare->data;
    struct conn *c;
    while ((c = TAILQ_FIRST(&all->returning)) != NULL) {
        leave_returning(c);
        bool refused = c->head.fault != HEAD_FINE || c->no_room;
        if (refused && h2o_socket_is_reading(c->socket)) {
            c->h2o_read = c->socket->_cb.read;
            refuse(c);
        } else if (!c->answering && head_verdict(&c->head) == HEAD_MORE) {
            close_gate(c);
        }
    }
}

/* Whether h2o may see what came right after a request. */
static bool next_may_pass(struct conn *c, const char *bytes, size_t len)
{
    switch (head_check(&c->head, bytes, len)) {
    case HEAD_OK:
        return take_room(c);
    case HEAD_MORE:
        return true;
    case HEAD_BAD:
        break;
    }
    return false;
}

/* Called before h2o drops the bytes of the request and looks at what came after them: so we look first, and a bad head
 * never gets there. */
static void on_request_end(h2o_logger_t *logger, h2o_req_t *req)
{
    (void)logger;
    struct conn *c = conn_of(req);
    if (c == NULL)
        return;
    size_t used = c->head.at + (size_t)c->head.content_length;
    h2o_buffer_t *input = c->socket->input;
    c->head = (struct head_check){ 0 };
    give_room_back(c);
    c->answering = false;
    c->served = true;
    c->since_ms = deadlines_now_ms(c->all->options.deadlines);
    if (!req->http1_is_persistent) {
        /* h2o closes it next, but a duplicate that lingers would keep the end of the answer from the client. */
        shutdown(h2o_socket_get_fd(c->socket), SHUT_WR);
        return;
    }
    if (input->size > used && !next_may_pass(c, input->bytes + used, input->size - used))
        input->size = used;
    if (!c->listed)
        TAILQ_INSERT_TAIL(&c->all->returning, c, returning);
    c->listed = true;
}

void conns_register(h2o_pathconf_t *path)
{
    h2o_logger_t *logger = h2o_create_logger(path, sizeof(*logger));
    logger->log_access = on_request_end;
}

enum head_fault conn_request_fault(h2o_req_t *req)
{
    struct conn *c = conn_of(req);
    if (c == NULL)
        return HEAD_FINE;
    c->answering = true;
    deadline_clear(c->all->options.deadlines, &c->hurry);
    give_room_back(c);
    c->body_bytes = req->entity.len; /* of a chunked one only now is known what it takes */
    c->all->bodies_bytes += c->body_bytes;
    /* The gate has done this already. Should h2o ever slip past it, this is what keeps the promise. */
    enum head_verdict verdict =
        head_check(&c->head, c->socket->input->bytes, c->socket->input->size);
    if (verdict != HEAD_OK || head_is_chunked(&c->head) || c->role == CONN_SPARE)
        req->http1_is_persistent = 0;
    if (verdict == HEAD_OK)
        return HEAD_FINE;
    return verdict == HEAD_BAD ? c->head.fault : HEAD_BARE_LF;
}

/* ---- from accept to close ---- */

/* What the access log does not have: a connection that ended before a request was complete. One that was kept alive, or only
 * opened and closed, is nothing to tell. */
static void log_incomplete(const struct conn *c)
{
    uint64_t waited_ms = deadlines_now_ms(c->all->options.deadlines) - c->since_ms;
    uint64_t most_ms = c->role == CONN_SPARE ? CONN_SPARE_READ_MS : c->all->options.read_timeout_ms;
    bool timeout = waited_ms >= most_ms;
    const char *stage = head_verdict(&c->head) == HEAD_OK ? "body" : "head";
    if (c->answering || (c->head.at == 0 && (c->served || !timeout)))
        return;
    log_info(
        "http", "request_incomplete", LOG_ID("reason", timeout ? "read_timeout" : "client_gone"),
        LOG_ID("stage", c->head.at == 0 ? "nothing" : stage), LOG_INT("latency_ms", waited_ms));
}

static void on_closed(void *data)
{
    struct conn *c = data;
    struct conns *all = c->all;
    log_incomplete(c);
    give_room_back(c);
    leave_returning(c);
    deadline_clear(all->options.deadlines, &c->hurry);
    free(c);
    all->count--;
    all->options.on_closed(all->options.ctx);
}

static void on_hurry(struct deadline *d)
{
    struct conn *c = deadline_owner(d, struct conn, hurry);
    shutdown(h2o_socket_get_fd(c->socket), SHUT_RDWR);
}

void conns_add(struct conns *all, int fd, enum conn_role role)
{
    uv_tcp_t *tcp = xmalloc(sizeof(*tcp));
    uv_tcp_init(all->options.loop, tcp);
    if (uv_tcp_open(tcp, fd) != 0) {
        close(fd);
        uv_close((uv_handle_t *)tcp, free_handle);
        return;
    }
    uv_tcp_nodelay(tcp, 1); /* else a stream waits for the client's delayed acknowledgements */
    struct conn *c = xcalloc(1, sizeof(*c));
    c->all = all;
    c->role = role;
    c->since_ms = deadlines_now_ms(all->options.deadlines);
    c->socket = h2o_uv_socket_create((uv_stream_t *)tcp, free_handle);
    c->socket->on_close.cb = on_closed;
    c->socket->on_close.data = c;
    all->count++;
    if (role == CONN_SPARE)
        deadline_set(all->options.deadlines, &c->hurry, CONN_SPARE_READ_MS, on_hurry);
    h2o_accept(all->options.accept, c->socket);
    close_gate(c);
}

size_t conns_count(const struct conns *all)
{
    return all->count;
}

enum conn_role conn_role(h2o_req_t *req)
{
    const struct conn *c = conn_of(req);
    return c != NULL ? c->role : CONN_CLIENT;
}

bool conn_is_local(h2o_req_t *req)
{
    union {
        struct sockaddr any;
        struct sockaddr_in ip4;
        struct sockaddr_in6 ip6;
        struct sockaddr_storage room;
    } peer;
    memset(&peer, 0, sizeof(peer));
    if (req->conn->callbacks->get_peername(req->conn, &peer.any) == 0)
        return false;
    if (peer.any.sa_family == AF_INET)
        return ntohl(peer.ip4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    if (peer.any.sa_family != AF_INET6)
        return false;
    const struct in6_addr *a = &peer.ip6.sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(a) || (IN6_IS_ADDR_V4MAPPED(a) && a->s6_addr[12] == IN_LOOPBACKNET);
}

bool conn_is_idle(h2o_req_t *req)
{
    const struct conn *c = conn_of(req);
    int waiting = 0;
    if (c == NULL || c->answering || c->head.at != 0 || !h2o_socket_is_reading(c->socket))
        return false;
    if (ioctl(h2o_socket_get_fd(c->socket), FIONREAD, &waiting) == 0 && waiting > 0)
        return false;
    return c->served || deadlines_now_ms(c->all->options.deadlines) - c->since_ms >= DRAIN_GRACE_MS;
}

void conn_cut(h2o_req_t *req, int how)
{
    h2o_socket_t *socket = req->conn->callbacks->get_socket(req->conn);
    if (socket != NULL)
        shutdown(h2o_socket_get_fd(socket), how);
}

struct conns *conns_new(const struct conns_options *options)
{
    struct conns *all = xcalloc(1, sizeof(*all));
    all->options = *options;
    TAILQ_INIT(&all->returning);
    all->prepare = xmalloc(sizeof(*all->prepare));
    uv_prepare_init(options->loop, all->prepare);
    all->prepare->data = all;
    uv_prepare_start(all->prepare, on_prepare);
    return all;
}

void conns_free(struct conns *all)
{
    if (all == NULL)
        return;
    uv_close((uv_handle_t *)all->prepare, free_handle);
    free(all);
}
