/* The HTTP server: listener, connections and drain. */
#ifndef SERVER_H
#define SERVER_H

#include "mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct deadlines;
struct routes;
struct server;
struct uv_loop_s;

#define SERVER_SPARE_CONNECTIONS 16

struct server_options {
    struct deadlines *deadlines; /* borrowed */
    struct routes *routes;       /* borrowed: its `draining` is ours to set */
    uint64_t read_timeout_ms;
    size_t body_max_bytes;
    size_t bodies_max_bytes; /* of all requests at once */
    size_t connections_max;  /* SERVER_SPARE_CONNECTIONS more are for probes */
};

/* The caller owns the result. */
struct server *server_new(struct uv_loop_s *loop, const struct server_options *options);

/* Listens on a literal address. 0, or a negative uv error code. */
CHECK_RESULT int server_listen(struct server *server, const char *host, int port);

/* The same, for metrics and probes alone. */
CHECK_RESULT int server_listen_for_metrics(struct server *server, const char *host, int port);

/* Connections that are open. */
size_t server_connections(const struct server *server);

/* Serves on `count` listening TCP sockets that were handed to the process, from the descriptor `first` on. The same results. */
CHECK_RESULT int server_take_sockets(struct server *server, int first, int count);

/* The port in use, after one of them. */
int server_port(const struct server *server);

/* Accepts no more, lets what runs finish for up to drain_ms, ends the rest, and calls `on_drained` once, never from
 * within, when no connection is left. */
void server_drain(struct server *server, uint64_t drain_ms, void (*on_drained)(void *ctx),
                  void *ctx);

/* After on_drained, and outside of any callback of the loop, which it runs. Safe on NULL. */
void server_free(struct server *server);

#endif
