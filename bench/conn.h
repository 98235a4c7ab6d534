/* One TCP connection of the client: it connects, writes, reads as fast as it may, and ends once. */
#ifndef CONN_H
#define CONN_H

#include "deadline.h"

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

enum conn_end {
    CONN_EOF,
    CONN_RESET,   /* or any other error of an open connection */
    CONN_REFUSED, /* no connection came to be */
    CONN_LOCAL,   /* this machine had no descriptor or port for it */
};

/* What the kernel knows of a connection that nobody reads. */
enum conn_peer { CONN_PEER_OPEN, CONN_PEER_CLOSED, CONN_PEER_GONE };

struct conn_events {
    /* Bytes are borrowed. */
    void (*on_bytes)(void *ctx, const char *data, size_t len);
    /* Comes once, never from within a call of the owner. The conn is closed by itself: forget it. */
    void (*on_end)(void *ctx, enum conn_end why);
};

struct conn;

struct conn_target {
    uv_loop_t *loop;             /* borrowed */
    struct deadlines *deadlines; /* borrowed */
    struct sockaddr_storage address;
    int receive_buffer_bytes; /* of new connections; 0: what the system takes */
};

/* Connects; `events` is borrowed for as long as the conn lives. Never NULL: a failure is told by on_end. */
struct conn *conn_open(const struct conn_target *target, const struct conn_events *events,
                       void *ctx);

/* Writes now or once it can; the bytes are borrowed until the conn has ended. A failure is left to on_end. */
void conn_write(struct conn *c, const char *bytes, size_t len);

/* At most `max_bytes` a read from now on; 0: no limit. */
void conn_read_at_most(struct conn *c, size_t max_bytes);

/* Stops and starts reading; nothing is heard of the connection's end meanwhile but by conn_peer. */
void conn_pause(struct conn *c);
void conn_resume(struct conn *c);
enum conn_peer conn_peer(const struct conn *c);

/* Safe on NULL; no event comes any more. */
void conn_close(struct conn *c);

#endif
