/* The HTTP server: listener, connections and drain. */
#include "server.h"

#include "access_log.h"
#include "config.h"
#include "deadline.h"
#include "exchange.h"
#include "log.h"
#include "reply.h"
#include "routes.h"

#include <h2o.h>
#include <h2o/http1.h>
#include <stdlib.h>
#include <sys/socket.h>

#define BACKLOG 1024
#define DRAIN_TICK_MS                                                                              \
    50 /* h2o does not tell when an answer ends: idle connections are looked for */

struct server {
    uv_loop_t *loop; /* borrowed */
    struct server_options options;
    h2o_globalconf_t config;
    h2o_context_t context;
    h2o_accept_ctx_t accept;
    uv_tcp_t *listener; /* owned; NULL once closed; frees itself in its close callback */
    size_t connections;
    struct deadline drain_deadline;
    bool draining;
    uint64_t drain_until_ms; /* loop time */
    bool time_is_up;         /* of the drain */
    void (*on_drained)(void *ctx);
    void *on_drained_ctx; /* borrowed */
};

struct handler {
    h2o_handler_t super;
    struct server *server; /* borrowed */
};

/* ---- connections ---- */

static void free_handle(uv_handle_t *handle)
{
    free(handle);
}

static void on_drain_deadline(struct deadline *d);

static void on_connection_closed(void *data)
{
    struct server *server = data;
    server->connections--;
    if (server->draining && server->connections == 0)
        deadline_set(server->options.deadlines, &server->drain_deadline, 0, on_drain_deadline);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct server *server = listener->data;
    if (status != 0) {
        log_warn("http", "accept_failed", LOG_INT("error", status));
        return;
    }
    uv_tcp_t *tcp = xmalloc(sizeof(*tcp));
    uv_tcp_init(server->loop, tcp);
    if (uv_accept(listener, (uv_stream_t *)tcp) != 0) {
        uv_close((uv_handle_t *)tcp, free_handle);
        return;
    }
    uv_tcp_nodelay(tcp, 1);
    h2o_socket_t *socket = h2o_uv_socket_create((uv_stream_t *)tcp, free_handle);
    socket->on_close.cb = on_connection_closed;
    socket->on_close.data = server;
    server->connections++;
    h2o_accept(&server->accept, socket);
}

/* ---- configuration of h2o ---- */

static int on_request(h2o_handler_t *self, h2o_req_t *req)
{
    struct server *server = ((struct handler *)(void *)self)->server;
    if (server->draining)
        req->http1_is_persistent = 0;
    routes_dispatch(server->options.routes, req);
    return 0;
}

/* One path takes all: our own table routes. The fallback path is where h2o puts what it rejects itself. */
static void configure(struct server *server)
{
    h2o_globalconf_t *config = &server->config;
    h2o_config_init(config);
    config->server_name = h2o_iovec_init(NULL, 0); /* no Server header */
    config->max_request_entity_size = server->options.body_max_bytes;
    config->http1.req_timeout = server->options.read_timeout_ms;
    config->http1.upgrade_to_http2 = 0;
    /* Else a shutdown arms an HTTP/2 timer that h2o_context_dispose trips over. */
    config->http2.callbacks.request_shutdown = NULL;
    h2o_hostconf_t *host =
        h2o_config_register_host(config, h2o_iovec_init(H2O_STRLIT("default")), 65535);
    h2o_pathconf_t *path = h2o_config_register_path(host, "/", 0);
    path->error_log.emit_request_errors = 0; /* would be raw text on stderr */
    access_log_register(path);
    struct handler *handler =
        (struct handler *)(void *)h2o_create_handler(path, sizeof(struct handler));
    handler->super.on_req = on_request;
    handler->server = server;
    host->fallback_path.error_log.emit_request_errors = 0;
    access_log_register(&host->fallback_path);
    reply_wrap_core_errors(&host->fallback_path, server->options.routes->config->cors_origins);
}

struct server *server_new(uv_loop_t *loop, const struct server_options *options)
{
    struct server *server = xcalloc(1, sizeof(*server));
    server->loop = loop;
    server->options = *options;
    configure(server);
    h2o_context_init(&server->context, loop, &server->config);
    server->accept.ctx = &server->context;
    server->accept.hosts = server->config.hosts;
    return server;
}

static int parse_address(const char *host, int port, struct sockaddr_storage *ret)
{
    if (uv_ip4_addr(host, port, (struct sockaddr_in *)(void *)ret) == 0)
        return 0;
    return uv_ip6_addr(host, port, (struct sockaddr_in6 *)(void *)ret);
}

int server_listen(struct server *server, const char *host, int port)
{
    struct sockaddr_storage address;
    int rc = parse_address(host, port, &address);
    if (rc != 0)
        return rc;
    uv_tcp_t *listener = xmalloc(sizeof(*listener));
    uv_tcp_init(server->loop, listener);
    listener->data = server;
    rc = uv_tcp_bind(listener, (struct sockaddr *)&address, 0);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)listener, BACKLOG, on_connection);
    if (rc != 0) {
        uv_close((uv_handle_t *)listener, free_handle);
        return rc;
    }
    server->listener = listener;
    return 0;
}

int server_port(const struct server *server)
{
    struct sockaddr_storage address;
    int len = sizeof(address);
    if (uv_tcp_getsockname(server->listener, (struct sockaddr *)&address, &len) != 0)
        return 0;
    if (address.ss_family == AF_INET6)
        return ntohs(((struct sockaddr_in6 *)(void *)&address)->sin6_port);
    return ntohs(((struct sockaddr_in *)(void *)&address)->sin_port);
}

/* ---- drain ---- */

static void close_listener(struct server *server)
{
    if (server->listener == NULL)
        return;
    uv_close((uv_handle_t *)server->listener, free_handle);
    server->listener = NULL;
}

static void cut_connection(h2o_req_t *req, int how)
{
    h2o_socket_t *socket = req->conn->callbacks->get_socket(req->conn);
    if (socket != NULL)
        shutdown(h2o_socket_get_fd(socket), how);
}

/* h2o does not close idle connections at shutdown: they end when their reading side does. */
static int cut_idle(h2o_req_t *req, void *data)
{
    (void)data;
    h2o_socket_t *socket = req->conn->callbacks->get_socket(req->conn);
    if (req->version == 0 && socket != NULL && h2o_socket_is_reading(socket))
        cut_connection(req, SHUT_RD);
    return 0;
}

static int cut_any(h2o_req_t *req, void *data)
{
    (void)data;
    cut_connection(req, SHUT_RDWR);
    return 0;
}

static void each_request(struct server *server, int (*visit)(h2o_req_t *req, void *data))
{
    server->config.http1.callbacks.foreach_request(&server->context, visit, NULL);
}

static void rearm_drain(struct server *server, uint64_t most_ms)
{
    uint64_t after_ms = most_ms < DRAIN_TICK_MS ? most_ms : DRAIN_TICK_MS;
    deadline_set(server->options.deadlines, &server->drain_deadline, after_ms, on_drain_deadline);
}

/* The last connection has closed, or it is time to look again, or time is up. */
static void on_drain_deadline(struct deadline *d)
{
    struct server *server = deadline_owner(d, struct server, drain_deadline);
    if (server->connections == 0) {
        log_info("http", "drained", LOG_INT("connections", 0));
        server->on_drained(server->on_drained_ctx);
        return;
    }
    uint64_t now_ms = deadlines_now_ms(server->options.deadlines);
    if (now_ms < server->drain_until_ms) {
        each_request(server, cut_idle); /* those whose answer has ended since */
        rearm_drain(server, server->drain_until_ms - now_ms);
        return;
    }
    struct exchanges *exchanges = server->options.routes->exchanges;
    if (!server->time_is_up)
        log_warn("http", "drain_timeout", LOG_INT("requests", exchanges_count(exchanges)));
    else
        each_request(server, cut_any); /* they had a moment to take their last frame */
    server->time_is_up = true;
    exchanges_end_all(exchanges);
    rearm_drain(server, DRAIN_TICK_MS);
}

void server_drain(struct server *server, uint64_t drain_ms, void (*on_drained)(void *ctx),
                  void *ctx)
{
    server->draining = true;
    server->options.routes->draining = true;
    server->on_drained = on_drained;
    server->on_drained_ctx = ctx;
    log_info("http", "draining", LOG_INT("connections", server->connections),
             LOG_INT("drain_ms", drain_ms));
    close_listener(server);
    h2o_context_request_shutdown(&server->context);
    server->drain_until_ms = deadlines_now_ms(server->options.deadlines) + drain_ms;
    each_request(server, cut_idle);
    rearm_drain(server, 0);
}

void server_free(struct server *server)
{
    if (server == NULL)
        return;
    close_listener(server);
    deadline_clear(server->options.deadlines, &server->drain_deadline);
    h2o_context_dispose(&server->context);
    h2o_config_dispose(&server->config);
    free(server);
}
