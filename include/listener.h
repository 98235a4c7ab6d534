/* Listening sockets: accepts, refuses what is over the cap, and survives a lack of descriptors. */
#ifndef LISTENER_H
#define LISTENER_H

#include "mem.h"

#include <stdbool.h>
#include <stddef.h>

struct deadlines;
struct listener;
struct sockaddr;
struct uv_loop_s;

enum listener_room { LISTENER_ROOM, LISTENER_SPARE, LISTENER_FULL };

struct listener_options {
    struct uv_loop_s *loop;
    struct deadlines *deadlines; /* borrowed */
    enum listener_room (*room)(void *ctx);
    /* Takes the connected socket, also a spare one. */
    void (*on_socket)(void *ctx, int fd, bool spare);
    void *ctx; /* borrowed */
};

/* The caller owns the result, which listens to nothing yet. */
struct listener *listener_new(const struct listener_options *options);

/* Binds a socket and accepts. 0, or a negative uv error code. */
CHECK_RESULT int listener_bind(struct listener *l, const struct sockaddr *address, size_t len);

/* Accepts on `count` listening sockets from `first` on, which are owned from now on. The same results; UV_ENOTSOCK or UV_EINVAL
 * for what is no listening TCP socket, and then none is taken. */
CHECK_RESULT int listener_take(struct listener *l, int first, int count);

/* The port of its first socket, or 0. */
int listener_port(const struct listener *l);

/* Accepts no more. What the kernel has queued on a socket of our own is taken first; on one that was handed to us it stays for
 * the next process. */
void listener_stop(struct listener *l);

/* Also without a stop: then nobody is taken any more, for who would serve them is about to go. The memory goes with the last close
 * callback. Safe on NULL. */
void listener_free(struct listener *l);

#endif
