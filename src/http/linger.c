/* Lets a client that is still sending read why it was refused. */
#include "linger.h"

#include "mem.h"

#include <errno.h>
#include <fcntl.h>
#include <h2o.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

struct lingering {
    uv_poll_t poll;
    uv_timer_t timer;
    int open_handles; /* the last one that closes frees */
    int fd;           /* owned: a duplicate, which keeps the connection when h2o closes its own */
    size_t left_bytes;
};

static unsigned lingering_count;

static void on_closed(uv_handle_t *handle)
{
    struct lingering *l = handle->data;
    if (--l->open_handles != 0)
        return;
    close(l->fd);
    free(l);
    lingering_count--;
}

static void end(struct lingering *l)
{
    if (uv_is_closing((uv_handle_t *)&l->poll))
        return;
    uv_close((uv_handle_t *)&l->poll, on_closed);
    uv_close((uv_handle_t *)&l->timer, on_closed);
}

static void on_timer(uv_timer_t *timer)
{
    end(timer->data);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    static char sink[64 * 1024];
    (void)events;
    struct lingering *l = poll->data;
    ssize_t n = status == 0 ? read(l->fd, sink, sizeof(sink)) : 0;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || (size_t)n >= l->left_bytes)
        end(l);
    else
        l->left_bytes -= (size_t)n;
}

void linger_on(uv_loop_t *loop, int connection)
{
    int fd = lingering_count < LINGER_COUNT_MAX ? fcntl(connection, F_DUPFD_CLOEXEC, 0) : -1;
    if (fd < 0)
        return;
    struct lingering *l = xcalloc(1, sizeof(*l));
    l->fd = fd;
    l->left_bytes = LINGER_BYTES_MAX;
    if (uv_poll_init(loop, &l->poll, fd) != 0) {
        close(fd);
        free(l);
        return;
    }
    lingering_count++;
    uv_timer_init(loop, &l->timer);
    l->open_handles = 2;
    l->poll.data = l->timer.data = l;
    uv_timer_start(&l->timer, on_timer, LINGER_MS, 0);
    uv_poll_start(&l->poll, UV_READABLE, on_readable);
}

void linger_start(h2o_req_t *req)
{
    h2o_socket_t *socket = req->conn->callbacks->get_socket(req->conn);
    if (socket != NULL)
        linger_on(req->conn->ctx->loop, h2o_socket_get_fd(socket));
}
