/* Listening sockets: accepts, refuses what is over the cap, and survives a lack of descriptors.
 *
 * uv_listen would do without any of this code, but it drops connections silently when descriptors run out, and has no way to
 * refuse one before it is wrapped in handles. */
#include "listener.h"

#include "api_error.h"
#include "deadline.h"
#include "id.h"
#include "log.h"
#include "reply.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#define BACKLOG 1024
#define SOCKETS_MAX 8
#define ACCEPTS_AT_ONCE 64 /* then others have their turn; the event is level-triggered */
#define PAUSE_MS 100       /* after an accept that failed for a reason that lasts */
#define REPORT_MS 1000     /* between two log lines about refused connections */
#define UNSENT_MAX_BYTES 131072

struct listening {
    uv_poll_t poll;
    struct listener *listener; /* borrowed */
    int fd;                    /* owned */
    bool inherited;
};

struct listener {
    struct listener_options options;
    struct listening sockets[SOCKETS_MAX];
    int count;
    int closing; /* of the sockets */
    bool stopped;
    bool freed;     /* by its owner; the last close callback frees the memory */
    int reserve_fd; /* given up for a moment when no other is left; -1: lost for now */
    struct deadline pause;
    struct deadline report;
    unsigned refused_full; /* since the last report */
    unsigned refused_no_descriptor;
};

/* ---- what is refused is reported once a second at the most ---- */

static void on_report(struct deadline *d);

static void report(struct listener *l)
{
    if (l->refused_full + l->refused_no_descriptor == 0 || l->report.fire != NULL)
        return;
    log_warn("http", "connections_refused", LOG_INT("over_limit", l->refused_full),
             LOG_INT("no_descriptor", l->refused_no_descriptor));
    l->refused_full = l->refused_no_descriptor = 0;
    if (!l->stopped)
        deadline_set(l->options.deadlines, &l->report, REPORT_MS, on_report);
}

static void on_report(struct deadline *d)
{
    report(deadline_owner(d, struct listener, report));
}

/* Says why and hangs up, without ever waiting. What the client has sent is read first: closed unread, it would become a
 * reset that overtakes the answer. */
static void refuse(int fd)
{
    static char sink[16 * 1024];
    char id[ID_SIZE];
    struct api_error error;
    struct buf answer = BUF_INIT;
    api_error_set(&error, 503, "server_error", "server_overloaded", NULL,
                  "Too many connections are open; please try again.");
    error.retry_after_s = 1;
    id_make(id, "req_");
    reply_write_raw(&answer, &error, id);
    (void)send(fd, answer.data, answer.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    buf_free(&answer);
    shutdown(fd, SHUT_WR);
    (void)recv(fd, sink, sizeof(sink), MSG_DONTWAIT);
    close(fd);
}

/* ---- accept ---- */

static int accept_one(int fd)
{
    return accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

static void keep_reserve(struct listener *l)
{
    if (l->reserve_fd < 0)
        l->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* No descriptor is left: with the one kept for this the client is told. False when even that failed. */
static bool refuse_on_reserve(struct listener *l, int listening_fd)
{
    if (l->reserve_fd < 0)
        return false;
    close(l->reserve_fd);
    l->reserve_fd = -1;
    int fd = accept_one(listening_fd);
    bool ok = fd >= 0 || errno == EAGAIN;
    if (fd >= 0) {
        l->refused_no_descriptor++;
        refuse(fd);
    }
    keep_reserve(l);
    return ok && l->reserve_fd >= 0;
}

static void pause_accepting(struct listener *l);

/* Errors of the one connection, which accept(2) says are to be treated like EAGAIN, are over with it. */
static bool concerns_one_client(int error)
{
    return error == ECONNABORTED || error == EINTR || error == EPROTO || error == ENETDOWN ||
           error == ENOPROTOOPT || error == EHOSTDOWN || error == ENONET || error == EHOSTUNREACH ||
           error == EOPNOTSUPP || error == ENETUNREACH || error == EPERM;
}

/* False when nobody is waiting, or it makes no sense to go on. */
static bool accept_next(struct listener *l, struct listening *s)
{
    int fd = accept_one(s->fd);
    int error = errno;
    if (fd >= 0) {
        enum listener_room room = l->options.room(l->options.ctx);
        if (room == LISTENER_FULL) {
            l->refused_full++;
            refuse(fd);
        } else {
            l->options.on_socket(l->options.ctx, fd, room == LISTENER_SPARE);
        }
        return true;
    }
    if (error == EAGAIN)
        return false;
    if (concerns_one_client(error))
        return true;
    if ((error == EMFILE || error == ENFILE) && refuse_on_reserve(l, s->fd))
        return true;
    log_warn("http", "accept_failed", LOG_INT("error", -error), LOG_INT("pause_ms", PAUSE_MS));
    pause_accepting(l);
    return false;
}

static void on_connection(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    struct listening *s = poll->data;
    for (int i = 0; i < ACCEPTS_AT_ONCE; i++)
        if (!accept_next(s->listener, s))
            break;
    report(s->listener);
}

static void start_polling(struct listener *l)
{
    for (int i = 0; i < l->count; i++)
        uv_poll_start(&l->sockets[i].poll, UV_READABLE, on_connection);
}

static void on_pause_over(struct deadline *d)
{
    struct listener *l = deadline_owner(d, struct listener, pause);
    keep_reserve(l);
    start_polling(l);
}

static void pause_accepting(struct listener *l)
{
    for (int i = 0; i < l->count; i++)
        uv_poll_stop(&l->sockets[i].poll);
    if (!l->stopped)
        deadline_set(l->options.deadlines, &l->pause, PAUSE_MS, on_pause_over);
}

/* ---- sockets ---- */

/* Connections inherit it. What their clients do not take is to wait in our memory, where it is bounded and texts are joined,
 * and not by the megabyte in the kernel's. */
static void bound_unsent(int fd)
{
    const int most_bytes = UNSENT_MAX_BYTES;
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &most_bytes, sizeof(most_bytes));
}

/* Owns fd only when it returns 0. */
static int add_socket(struct listener *l, int fd, bool inherited)
{
    struct listening *s = &l->sockets[l->count];
    int rc = uv_poll_init(l->options.loop, &s->poll, fd);
    if (rc != 0)
        return rc;
    s->poll.data = s;
    s->listener = l;
    s->fd = fd;
    s->inherited = inherited;
    l->count++;
    bound_unsent(fd);
    uv_poll_start(&s->poll, UV_READABLE, on_connection);
    return 0;
}

int listener_bind(struct listener *l, const struct sockaddr *address, size_t len)
{
    const int on = 1;
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int rc = 0;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(fd, address, (socklen_t)len) != 0 || listen(fd, BACKLOG) != 0)
        rc = -errno;
    if (rc == 0)
        rc = add_socket(l, fd, false);
    if (rc != 0)
        close(fd);
    return rc;
}

static int check_listening(int fd)
{
    int domain = 0;
    int accepts = 0;
    socklen_t len = sizeof(int);
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepts, &len) != 0)
        return -errno;
    return accepts && (domain == AF_INET || domain == AF_INET6) ? 0 : UV_EINVAL;
}

int listener_take(struct listener *l, int first, int count)
{
    int rc = count <= SOCKETS_MAX - l->count ? 0 : UV_EINVAL;
    for (int i = 0; i < count && rc == 0; i++)
        rc = check_listening(first + i);
    for (int i = 0; i < count && rc == 0; i++)
        rc = add_socket(l, first + i, true);
    return rc;
}

int listener_port(const struct listener *l)
{
    union {
        struct sockaddr any;
        struct sockaddr_in ip4;
        struct sockaddr_in6 ip6;
    } address;
    socklen_t len = sizeof(address);
    memset(&address, 0, sizeof(address));
    if (l->count == 0 || getsockname(l->sockets[0].fd, &address.any, &len) != 0)
        return 0;
    return ntohs(address.any.sa_family == AF_INET6 ? address.ip6.sin6_port : address.ip4.sin_port);
}

/* ---- the whole ---- */

struct listener *listener_new(const struct listener_options *options)
{
    struct listener *l = xcalloc(1, sizeof(*l));
    l->options = *options;
    l->reserve_fd = -1;
    keep_reserve(l);
    return l;
}

static void free_if_over(struct listener *l)
{
    if (l->freed && l->closing == 0)
        free(l);
}

static void on_socket_closed(uv_handle_t *handle)
{
    struct listening *s = handle->data;
    close(s->fd);
    s->listener->closing--;
    free_if_over(s->listener);
}

/* What the kernel has queued on the sockets of our own. */
static void take_queued(struct listener *l)
{
    for (int i = 0; i < l->count; i++)
        for (int n = 0; n < BACKLOG && !l->sockets[i].inherited && accept_next(l, &l->sockets[i]);
             n++)
            ;
}

static void close_sockets(struct listener *l)
{
    l->stopped = true;
    for (int i = 0; i < l->count; i++) {
        l->closing++;
        uv_close((uv_handle_t *)&l->sockets[i].poll, on_socket_closed);
    }
    report(l);
    deadline_clear(l->options.deadlines, &l->pause);
    deadline_clear(l->options.deadlines, &l->report);
    if (l->reserve_fd >= 0)
        close(l->reserve_fd);
    l->reserve_fd = -1;
}

void listener_stop(struct listener *l)
{
    if (l->stopped)
        return;
    l->stopped = true; /* also what is refused meanwhile arms nothing */
    take_queued(l);
    close_sockets(l);
}

void listener_free(struct listener *l)
{
    if (l == NULL)
        return;
    if (!l->stopped)
        close_sockets(l);
    l->freed = true;
    free_if_over(l);
}
