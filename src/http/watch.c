/* Notices that a client has left. */
#include "watch.h"

#include "mem.h"

#include <fcntl.h>
#include <h2o.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

struct watch {
    uv_poll_t poll;
    int fd; /* owned: a duplicate, for uv takes each fd only once and h2o has the original */
    void (*on_left)(void *ctx); /* NULL once closing */
    void *ctx;                  /* borrowed */
};

static void on_closed(uv_handle_t *handle)
{
    struct watch *watch = handle->data;
    close(watch->fd);
    free(watch);
}

/* A reset shows as an error, a close as UV_DISCONNECT: either way nobody is there. The event is level-triggered. */
static void on_poll(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    struct watch *watch = poll->data;
    uv_poll_stop(poll);
    if (watch->on_left != NULL)
        watch->on_left(watch->ctx);
}

struct watch *watch_new(h2o_req_t *req, void (*on_left)(void *ctx), void *ctx)
{
    h2o_socket_t *socket = req->conn->callbacks->get_socket(req->conn);
    int fd = socket != NULL ? fcntl(h2o_socket_get_fd(socket), F_DUPFD_CLOEXEC, 0) : -1;
    if (fd < 0)
        return NULL;
    struct watch *watch = xcalloc(1, sizeof(*watch));
    watch->fd = fd;
    if (uv_poll_init(req->conn->ctx->loop, &watch->poll, fd) != 0) {
        close(fd);
        free(watch);
        return NULL;
    }
    watch->poll.data = watch;
    watch->on_left = on_left;
    watch->ctx = ctx;
    uv_poll_start(&watch->poll, UV_DISCONNECT, on_poll);
    return watch;
}

void watch_cut(struct watch *watch)
{
    if (watch != NULL)
        shutdown(watch->fd, SHUT_RDWR);
}

void watch_reset(struct watch *watch)
{
    const struct linger at_once = { .l_onoff = 1, .l_linger = 0 };
    if (watch != NULL)
        (void)setsockopt(watch->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    watch_cut(watch);
}

void watch_free(struct watch *watch)
{
    if (watch == NULL || watch->on_left == NULL)
        return;
    watch->on_left = NULL;
    uv_close((uv_handle_t *)&watch->poll, on_closed);
}
