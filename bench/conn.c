/* One TCP connection of the client. */
#include "conn.h"

#include "mem.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_MAX_BYTES 65536
#define FAILED_MS 1 /* until a failure to begin is told */

struct conn {
    uv_tcp_t tcp; /* frees the whole in its close callback */
    uv_connect_t connecting;
    const struct conn_events *events; /* borrowed */
    void *ctx;                        /* borrowed; NULL once closed */
    struct deadlines *deadlines;      /* borrowed */
    struct deadline failed;
    enum conn_end failure;
    size_t read_max_bytes;
    bool is_open; /* connected */
    bool is_paused;
};

/* libuv asks for memory right before each read and hands it on at once, so one piece serves all. */
static char read_memory[READ_MAX_BYTES];

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    (void)suggested;
    const struct conn *c = handle->data;
    *ret_buf = uv_buf_init(read_memory, (unsigned)c->read_max_bytes);
}

static void end(struct conn *c, enum conn_end why)
{
    void *ctx = c->ctx;
    if (ctx == NULL)
        return;
    conn_close(c);
    c->events->on_end(ctx, why);
}

/* libuv calls a reset an end of file when it comes together with bytes: it then has not asked for the error. */
static bool was_reset(const struct conn *c)
{
    uv_os_fd_t fd;
    int error = 0;
    socklen_t size = sizeof(error);
    return uv_fileno((const uv_handle_t *)&c->tcp, &fd) == 0 &&
           getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error != 0;
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *bytes)
{
    struct conn *c = stream->data;
    if (c->ctx == NULL || len == 0)
        return;
    if (len > 0)
        c->events->on_bytes(c->ctx, bytes->base, (size_t)len);
    else
        end(c, len == UV_EOF && !was_reset(c) ? CONN_EOF : CONN_RESET);
}

static enum conn_end connect_failure(int error)
{
    switch (error) {
    case UV_EMFILE:
    case UV_ENFILE:
    case UV_ENOBUFS:
    case UV_ENOMEM:
    case UV_EADDRNOTAVAIL:
        return CONN_LOCAL;
    case UV_ECONNRESET:
        return CONN_RESET;
    default:
        return CONN_REFUSED;
    }
}

static void on_connected(uv_connect_t *connecting, int error)
{
    struct conn *c = connecting->data;
    if (c->ctx == NULL)
        return;
    if (error != 0) {
        end(c, connect_failure(error));
        return;
    }
    c->is_open = true;
    if (!c->is_paused)
        uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
}

static void on_failed(struct deadline *d)
{
    struct conn *c = deadline_owner(d, struct conn, failed);
    end(c, c->failure);
}

/* A small receive buffer must be set before the window is agreed, so the socket is made by hand. */
static int use_buffer(struct conn *c, int family, int size_bytes)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return uv_translate_sys_error(errno);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size_bytes, sizeof(size_bytes));
    int error = uv_tcp_open(&c->tcp, fd);
    if (error != 0)
        close(fd);
    return error;
}

static int begin(struct conn *c, const struct conn_target *target)
{
    int error = 0;
    uv_tcp_init(target->loop, &c->tcp);
    c->tcp.data = c;
    c->connecting.data = c;
    if (target->receive_buffer_bytes != 0)
        error = use_buffer(c, target->address.ss_family, target->receive_buffer_bytes);
    if (error != 0)
        return error;
    uv_tcp_nodelay(&c->tcp, 1);
    return uv_tcp_connect(&c->connecting, &c->tcp, (const struct sockaddr *)&target->address,
                          on_connected);
}

struct conn *conn_open(const struct conn_target *target, const struct conn_events *events,
                       void *ctx)
{
    struct conn *c = xcalloc(1, sizeof(*c));
    c->events = events;
    c->ctx = ctx;
    c->deadlines = target->deadlines;
    c->read_max_bytes = READ_MAX_BYTES;
    int error = begin(c, target);
    if (error != 0) {
        c->failure = connect_failure(error);
        deadline_set(c->deadlines, &c->failed, FAILED_MS, on_failed);
    }
    return c;
}

static void on_written(uv_write_t *write, int error)
{
    (void)error; /* the read side tells, after what the server may have said before it left */
    free(write);
}

void conn_write(struct conn *c, const char *bytes, size_t len)
{
    uv_buf_t all = uv_buf_init((char *)bytes, (unsigned)len);
    if (c->failed.fire != NULL)
        return;
    int taken = c->is_open ? uv_try_write((uv_stream_t *)&c->tcp, &all, 1) : 0;
    if (taken < 0 && taken != UV_EAGAIN)
        return;
    if (taken > 0) {
        all.base += taken;
        all.len -= (size_t)taken;
    }
    if (all.len == 0)
        return;
    uv_write_t *write = xcalloc(1, sizeof(*write));
    if (uv_write(write, (uv_stream_t *)&c->tcp, &all, 1, on_written) != 0)
        free(write);
}

void conn_read_at_most(struct conn *c, size_t max_bytes)
{
    c->read_max_bytes = max_bytes == 0 || max_bytes > READ_MAX_BYTES ? READ_MAX_BYTES : max_bytes;
}

void conn_pause(struct conn *c)
{
    c->is_paused = true;
    if (c->is_open)
        uv_read_stop((uv_stream_t *)&c->tcp);
}

void conn_resume(struct conn *c)
{
    if (!c->is_paused)
        return;
    c->is_paused = false;
    if (c->is_open)
        uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
}

enum conn_peer conn_peer(const struct conn *c)
{
    uv_os_fd_t fd;
    struct tcp_info info;
    socklen_t size = sizeof(info);
    if (!c->is_open)
        return CONN_PEER_OPEN;
    if (uv_fileno((const uv_handle_t *)&c->tcp, &fd) != 0 ||
        getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0)
        return CONN_PEER_GONE;
    if (info.tcpi_state == TCP_CLOSE)
        return CONN_PEER_GONE;
    return info.tcpi_state == TCP_CLOSE_WAIT ? CONN_PEER_CLOSED : CONN_PEER_OPEN;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void conn_close(struct conn *c)
{
    if (c == NULL || c->ctx == NULL)
        return;
    c->ctx = NULL;
    deadline_clear(c->deadlines, &c->failed);
    uv_close((uv_handle_t *)&c->tcp, on_closed);
}
