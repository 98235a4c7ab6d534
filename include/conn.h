/* The connections of the HTTP server, from accept to close: the gate before h2o's parser, and a log line for what never
 * became a request. */
#ifndef CONN_H
#define CONN_H

#include "head_check.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct api_error;
struct conns;
struct deadlines;
struct routes;
struct st_h2o_accept_ctx_t;
struct st_h2o_pathconf_t;
struct st_h2o_req_t;
struct uv_loop_s;

/* A connection beyond the cap serves one probe, whose head must come within this time. */
#define CONN_SPARE_READ_MS 1000

enum conn_role {
    CONN_CLIENT,
    CONN_SPARE,  /* beyond the cap: for a probe only */
    CONN_METRICS /* of the listener for metrics and probes */
};

struct conns_options {
    struct uv_loop_s *loop;
    struct deadlines *deadlines;        /* borrowed */
    struct st_h2o_accept_ctx_t *accept; /* borrowed */
    const struct routes *routes;        /* borrowed */
    uint64_t read_timeout_ms;           /* what h2o was told */
    uint64_t body_max_bytes;            /* of one request: what h2o was told, too */
    uint64_t
        bodies_max_bytes; /* of all requests that are being read or answered, as they were announced */
    void (*on_closed)(void *ctx); /* after each connection */
    void *ctx;                    /* borrowed */
};

/* The caller owns the result. */
struct conns *conns_new(const struct conns_options *options);

/* After the last connection has closed. Safe on NULL. */
void conns_free(struct conns *all);

/* Takes a connected socket. */
void conns_add(struct conns *all, int fd, enum conn_role role);

size_t conns_count(const struct conns *all);

/* To be called for each path: learns there when a request has ended. */
void conns_register(struct st_h2o_pathconf_t *path);

/* What the head check says of a request that is about to be answered: HEAD_FINE, or what is wrong with it. Also ends the
 * connection after it where that is safer. */
enum head_fault conn_request_fault(struct st_h2o_req_t *req);

/* The answer to a request with that fault. */
void conn_describe_fault(enum head_fault fault, struct api_error *ret);

enum conn_role conn_role(struct st_h2o_req_t *req);

/* Whether the other end is on this machine, by its address. */
bool conn_is_local(struct st_h2o_req_t *req);

/* Whether nothing of a request has come or is about to, so that a drain may close the connection of `req`. */
bool conn_is_idle(struct st_h2o_req_t *req);

/* Closes it in both directions; h2o notices, and does the rest. `how` as for shutdown(2). */
void conn_cut(struct st_h2o_req_t *req, int how);

#endif
