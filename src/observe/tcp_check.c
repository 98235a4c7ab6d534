/* Whether a TCP port takes connections. */
#include "tcp_check.h"

#include "mem.h"

#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

struct tcp_check {
    tcp_check_fn ended;
    void *ctx; /* borrowed */
    uv_loop_t *loop;
    uv_getaddrinfo_t lookup;
    uv_tcp_t socket;
    uv_connect_t connect;
    struct addrinfo *addresses; /* owned */
    struct addrinfo *next;      /* borrowed from those: the one to be tried next */
    const char *why;            /* of the last failure */
    bool looking_up;
    bool connecting; /* the socket is open; it is closed once, by close_socket */
    bool stopped;
};

static void end(struct tcp_check *c)
{
    tcp_check_fn ended = c->ended;
    void *ctx = c->ctx;
    const char *why = c->why;
    uv_freeaddrinfo(c->addresses);
    free(c);
    ended(ctx, why);
}

static const char *name_of(int error)
{
    switch (error) {
    case UV_ECONNREFUSED:
        return "refused";
    case UV_ENETUNREACH:
    case UV_EHOSTUNREACH:
    case UV_EADDRNOTAVAIL:
        return "unreachable";
    case UV_ETIMEDOUT:
        return "timeout";
    default:
        return "failed";
    }
}

static void try_next(struct tcp_check *c);

static void on_socket_closed(uv_handle_t *handle)
{
    struct tcp_check *c = handle->data;
    if (c->why == NULL || c->stopped || c->next == NULL)
        end(c);
    else
        try_next(c);
}

static void close_socket(struct tcp_check *c, const char *why)
{
    if (!c->connecting)
        return;
    c->connecting = false;
    c->why = why;
    uv_close((uv_handle_t *)&c->socket, on_socket_closed);
}

static void on_connect(uv_connect_t *connect, int status)
{
    struct tcp_check *c = connect->data;
    if (status != UV_ECANCELED)
        close_socket(c, status == 0 ? NULL : name_of(status));
}

static void try_next(struct tcp_check *c)
{
    struct addrinfo *address = c->next;
    c->next = address->ai_next;
    c->connect.data = c;
    c->socket.data = c;
    uv_tcp_init(c->loop, &c->socket);
    c->connecting = true;
    int rc = uv_tcp_connect(&c->connect, &c->socket, address->ai_addr, on_connect);
    if (rc != 0)
        close_socket(c, name_of(rc));
}

static void on_lookup(uv_getaddrinfo_t *lookup, int status, struct addrinfo *addresses)
{
    struct tcp_check *c = lookup->data;
    c->looking_up = false;
    c->addresses = addresses;
    c->next = addresses;
    if (status == 0 && addresses != NULL && !c->stopped) {
        try_next(c);
        return;
    }
    c->why = c->stopped ? "stopped" : "name_not_found";
    end(c);
}

/* A literal is no question to anybody. */
static bool take_literal(struct tcp_check *c, const char *host, const char *service)
{
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
                                    .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV };
    if (uv_getaddrinfo(c->loop, &c->lookup, NULL, host, service, &hints) != 0)
        return false;
    c->addresses = c->lookup.addrinfo;
    c->next = c->addresses;
    try_next(c);
    return true;
}

struct tcp_check *tcp_check_start(uv_loop_t *loop, const char *host, int port, tcp_check_fn ended,
                                  void *ctx)
{
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
    struct tcp_check *c = xcalloc(1, sizeof(*c));
    char service[12];
    snprintf(service, sizeof(service), "%d", port);
    c->loop = loop;
    c->ended = ended;
    c->ctx = ctx;
    if (take_literal(c, host, service))
        return c;
    c->lookup.data = c;
    c->looking_up = true;
    if (uv_getaddrinfo(loop, &c->lookup, on_lookup, host, service, &hints) == 0)
        return c;
    /* No name that could be looked up; the end is told by a socket that was never connected. */
    c->looking_up = false;
    c->socket.data = c;
    uv_tcp_init(loop, &c->socket);
    c->connecting = true;
    close_socket(c, "name_not_found");
    return c;
}

void tcp_check_stop(struct tcp_check *c)
{
    c->stopped = true;
    if (c->looking_up)
        uv_cancel((uv_req_t *)&c->lookup); /* in vain when a thread is at it already */
    close_socket(c, "stopped");
}
