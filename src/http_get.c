/* One GET over HTTP, blocking, for the command line. */
#include "http_get.h"

#include "clock.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define PIECE_BYTES 16384

bool http_url_parse(const char *url, struct http_url *ret)
{
    static const char scheme[] = "http://";
    if (strncasecmp(url, scheme, sizeof(scheme) - 1) != 0)
        return false;
    const char *host = url + sizeof(scheme) - 1;
    const char *end = host + strcspn(host, "/?#");
    for (const char *p = host; p < end; p++)
        if (*p <= ' ' || *p > '~')
            return false;
    const char *after = NULL; /* the host */
    size_t len = 0;
    if (*host == '[') {
        host++;
        len = strcspn(host, "]/");
        after = host[len] == ']' ? host + len + 1 : end + 1;
    } else {
        len = strcspn(host, ":/?#");
        after = host + len;
    }
    if (len == 0 || after > end || (after < end && *after != ':') || memchr(host, '@', len) != NULL)
        return false;
    const char *port = after < end ? after + 1 : "80";
    size_t port_len = after < end ? (size_t)(end - port) : 2;
    if (port_len == 0 || port_len > 5 || strspn(port, "0123456789") < port_len ||
        strtoul(port, NULL, 10) > UINT16_MAX)
        return false;
    ret->host = xstrndup(host, len);
    ret->port = xstrndup(port, port_len);
    return true;
}

void http_url_free(struct http_url *url)
{
    free(url->host);
    free(url->port);
    *url = (struct http_url){ NULL, NULL };
}

/* Until the socket may be used so; false when the time is over. */
static bool await(int fd, short events, uint64_t until_ms)
{
    for (;;) {
        uint64_t now_ms = clock_mono_ms();
        struct pollfd p = { .fd = fd, .events = events };
        if (now_ms >= until_ms)
            return false;
        int rc = poll(&p, 1, (int)(until_ms - now_ms));
        if (rc > 0)
            return true;
        if (rc < 0 && errno != EINTR)
            return false;
    }
}

/* A connected socket that does not block, or -1. One that was reset at once was connected: who sends on it finds out. */
static int connect_to(const struct addrinfo *a, uint64_t until_ms)
{
    int error = 0;
    socklen_t len = sizeof(error);
    int fd = socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (connect(fd, a->ai_addr, a->ai_addrlen) == 0)
        return fd;
    if (errno == EINPROGRESS && await(fd, POLLOUT, until_ms) &&
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 &&
        (error == 0 || error == ECONNRESET))
        return fd;
    close(fd);
    return -1;
}

static int connect_any(const struct http_url *url, uint64_t *until_ms, const char **ret_why)
{
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
    struct addrinfo *all = NULL;
    int fd = -1;
    if (getaddrinfo(url->host, url->port, &hints, &all) != 0) {
        *ret_why = "the name is not known";
        return -1;
    }
    *until_ms = clock_mono_ms() + HTTP_GET_TIMEOUT_MS;
    for (const struct addrinfo *a = all; a != NULL && fd < 0; a = a->ai_next)
        fd = connect_to(a, *until_ms);
    freeaddrinfo(all);
    if (fd < 0)
        *ret_why = clock_mono_ms() >= *until_ms ? "nobody answers" : "nobody listens there";
    return fd;
}

static bool send_all(int fd, struct buf *request, uint64_t until_ms)
{
    while (request->len > 0) {
        if (!await(fd, POLLOUT, until_ms))
            return false;
        ssize_t sent = send(fd, request->data, request->len, MSG_NOSIGNAL);
        if (sent > 0)
            buf_consume(request, (size_t)sent);
        else if (errno != EAGAIN && errno != EINTR)
            return false;
    }
    return true;
}

/* All that comes until the server closes. */
static const char *receive_all(int fd, struct buf *answer, uint64_t until_ms)
{
    while (answer->len <= HTTP_GET_BYTES_MAX) {
        if (!await(fd, POLLIN, until_ms))
            return "it does not answer in time";
        ssize_t got = recv(fd, buf_reserve(answer, PIECE_BYTES), PIECE_BYTES, 0);
        if (got == 0)
            return NULL;
        if (got > 0)
            answer->len += (size_t)got;
        else if (errno != EAGAIN && errno != EINTR)
            return "the connection broke";
    }
    return "the answer is too long";
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The status of what must be a whole answer, of which the body is left; or -1. */
static int take_head(struct buf *answer)
{
    const char *text = buf_str(answer);
    const char *end = strstr(text, "\r\n\r\n");
    if (strncmp(text, "HTTP/1.", 7) != 0 || end == NULL || text[8] != ' ' || !is_digit(text[9]) ||
        !is_digit(text[10]) || !is_digit(text[11]))
        return -1;
    int status = (text[9] - '0') * 100 + (text[10] - '0') * 10 + (text[11] - '0');
    buf_consume(answer, (size_t)(end - text) + 4);
    return status;
}

/* In HTTP/1.0 there are no chunks, and the close is the end. */
static void write_request(struct buf *ret, const struct http_url *url, const char *path)
{
    bool is_ipv6 = strchr(url->host, ':') != NULL;
    buf_printf(ret,
               "GET %s HTTP/1.0\r\nhost: %s%s%s:%s\r\naccept: application/json\r\n"
               "connection: close\r\n\r\n",
               path, is_ipv6 ? "[" : "", url->host, is_ipv6 ? "]" : "", url->port);
}

int http_get(const struct http_url *url, const char *path, struct buf *ret_body,
             const char **ret_why)
{
    struct buf request = BUF_INIT;
    struct buf answer = BUF_INIT;
    uint64_t until_ms = 0;
    int status = -1;
    int fd = connect_any(url, &until_ms, ret_why);
    if (fd < 0)
        return -1;
    write_request(&request, url, path);
    *ret_why = send_all(fd, &request, until_ms) ? receive_all(fd, &answer, until_ms)
                                                : "the connection broke";
    if (*ret_why == NULL) {
        status = take_head(&answer);
        *ret_why = status < 0 ? "what answers does not speak HTTP" : NULL;
    }
    if (status >= 0)
        buf_append(ret_body, answer.data, answer.len);
    buf_free(&request);
    buf_free(&answer);
    close(fd);
    return status;
}
