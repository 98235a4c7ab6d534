/* The HTTP server: listener, connections and drain. */
#include "server.h"

#include "access_log.h"
#include "config.h"
#include "conn.h"
#include "deadline.h"
#include "exchange.h"
#include "linger.h"
#include "listener.h"
#include "log.h"
#include "reply.h"
#include "reqctx.h"
#include "routes.h"

#include <h2o.h>
#include <h2o/http1.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>

#define DRAIN_TICK_MS                                                                              \
    50 /* h2o does not tell when an answer ends: idle connections are looked for */

struct server {
    uv_loop_t *loop; /* borrowed */
    struct server_options options;
    h2o_globalconf_t config;
    h2o_context_t context;
    h2o_accept_ctx_t accept;
    struct listener *listener; /* owned */
    struct listener *metrics;  /* owned; listens to nothing unless it is told to */
    struct conns *conns;       /* owned */
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

static void on_drain_deadline(struct deadline *d);

static void on_connection_closed(void *ctx)
{
    struct server *server = ctx;
    if (server->draining && conns_count(server->conns) == 0)
        deadline_set(server->options.deadlines, &server->drain_deadline, 0, on_drain_deadline);
}

/* Beyond the cap a few are let in for probes: an endpoint that is full is not one that is dead. */
static enum listener_room find_room(void *ctx)
{
    const struct server *server = ctx;
    size_t count = conns_count(server->conns);
    if (count < server->options.connections_max)
        return LISTENER_ROOM;
    return count < server->options.connections_max + SERVER_SPARE_CONNECTIONS ? LISTENER_SPARE
                                                                              : LISTENER_FULL;
}

static void on_socket(void *ctx, int fd, bool spare)
{
    struct server *server = ctx;
    conns_add(server->conns, fd, spare ? CONN_SPARE : CONN_CLIENT);
}

static void on_metrics_socket(void *ctx, int fd, bool spare)
{
    (void)spare;
    struct server *server = ctx;
    conns_add(server->conns, fd, CONN_METRICS);
}

/* ---- configuration of h2o ---- */

/* What comes after scheme and authority of a target in absolute form; a base of NULL for any other. */
static h2o_iovec_t after_authority(h2o_iovec_t target)
{
    static const char *const schemes[] = { "http://", "https://" };
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        size_t at = strlen(schemes[i]);
        if (target.len <= at || strncasecmp(target.base, schemes[i], at) != 0)
            continue;
        size_t start = at;
        while (at < target.len && target.base[at] != '/' && target.base[at] != '?')
            at++;
        if (at != start)
            return h2o_iovec_init(target.base + at, target.len - at);
    }
    return h2o_iovec_init(NULL, 0);
}

/* h2o takes a target in absolute form for a path. Its host is not looked at: we serve all under one name. */
static void strip_authority(h2o_req_t *req)
{
    h2o_iovec_t path = after_authority(req->path);
    if (path.base == NULL)
        return;
    req->path = path;
    req->norm_indexes = NULL;
    req->path_normalized =
        h2o_url_normalize_path(&req->pool, path.base, path.len, &req->query_at, &req->norm_indexes);
}

static void refuse_head(h2o_req_t *req, enum head_fault fault)
{
    struct api_error error;
    struct reqctx *rc = reqctx_attach(req);
    conn_describe_fault(fault, &error);
    rc->route = ACCESS_REJECTED;
    reqctx_note_error(rc, &error);
    rc->error_code = head_fault_name(fault);
    linger_start(req);
    reply_error(req, &error);
}

static int on_request(h2o_handler_t *self, h2o_req_t *req)
{
    struct server *server = ((struct handler *)(void *)self)->server;
    enum head_fault fault = conn_request_fault(req);
    if (server->draining)
        req->http1_is_persistent = 0;
    if (fault != HEAD_FINE) {
        refuse_head(req, fault);
        return 0;
    }
    strip_authority(req);
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
    access_log_register(path, server->options.routes);
    conns_register(path);
    struct handler *handler =
        (struct handler *)(void *)h2o_create_handler(path, sizeof(struct handler));
    handler->super.on_req = on_request;
    handler->server = server;
    host->fallback_path.error_log.emit_request_errors = 0;
    access_log_register(&host->fallback_path, server->options.routes);
    conns_register(&host->fallback_path);
    reply_wrap_core_errors(&host->fallback_path, server->options.routes->config);
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
    const struct conns_options conns = {
        .loop = loop,
        .deadlines = options->deadlines,
        .accept = &server->accept,
        .read_timeout_ms = options->read_timeout_ms,
        .body_max_bytes = options->body_max_bytes,
        .bodies_max_bytes = options->bodies_max_bytes,
        .routes = options->routes,
        .on_closed = on_connection_closed,
        .ctx = server,
    };
    server->conns = conns_new(&conns);
    struct listener_options listener = {
        .loop = loop,
        .deadlines = options->deadlines,
        .room = find_room,
        .on_socket = on_socket,
        .ctx = server,
    };
    server->listener = listener_new(&listener);
    listener.on_socket = on_metrics_socket;
    server->metrics = listener_new(&listener);
    return server;
}

static int parse_address(const char *host, int port, struct sockaddr_storage *ret)
{
    if (uv_ip4_addr(host, port, (struct sockaddr_in *)(void *)ret) == 0)
        return 0;
    return uv_ip6_addr(host, port, (struct sockaddr_in6 *)(void *)ret);
}

static int listen_on(struct listener *listener, const char *host, int port)
{
    struct sockaddr_storage address;
    int rc = parse_address(host, port, &address);
    if (rc != 0)
        return rc;
    size_t len =
        address.ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    return listener_bind(listener, (struct sockaddr *)&address, len);
}

int server_listen(struct server *server, const char *host, int port)
{
    return listen_on(server->listener, host, port);
}

int server_listen_for_metrics(struct server *server, const char *host, int port)
{
    return listen_on(server->metrics, host, port);
}

size_t server_connections(const struct server *server)
{
    return conns_count(server->conns);
}

int server_take_sockets(struct server *server, int first, int count)
{
    return listener_take(server->listener, first, count);
}

int server_port(const struct server *server)
{
    return listener_port(server->listener);
}

/* ---- drain ---- */

/* h2o does not close idle connections at shutdown: they end when their reading side does. */
static int cut_idle(h2o_req_t *req, void *data)
{
    (void)data;
    if (conn_is_idle(req))
        conn_cut(req, SHUT_RD);
    return 0;
}

static int cut_any(h2o_req_t *req, void *data)
{
    (void)data;
    conn_cut(req, SHUT_RDWR);
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
    if (conns_count(server->conns) == 0) {
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
    log_info("http", "draining", LOG_INT("connections", conns_count(server->conns)),
             LOG_INT("drain_ms", drain_ms));
    listener_stop(server->listener);
    listener_stop(server->metrics);
    h2o_context_request_shutdown(&server->context);
    server->drain_until_ms = deadlines_now_ms(server->options.deadlines) + drain_ms;
    each_request(server, cut_idle);
    rearm_drain(server, 0);
}

void server_free(struct server *server)
{
    if (server == NULL)
        return;
    listener_free(server->listener);
    listener_free(server->metrics);
    deadline_clear(server->options.deadlines, &server->drain_deadline);
    conns_free(server->conns);
    h2o_context_dispose(&server->context);
    h2o_config_dispose(&server->config);
    free(server);
}
