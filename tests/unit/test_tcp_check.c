/* The TCP check against ports of the loopback interface that listen, do not, and say nothing. */
#include "loop.h"
#include "tcp_check.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

struct end {
    bool told;
    char why[32]; /* empty: there was a connection */
};

static void on_ended(void *ctx, const char *why)
{
    struct end *e = ctx;
    assert_false(e->told);
    e->told = true;
    snprintf(e->why, sizeof(e->why), "%s", why != NULL ? why : "");
}

/* Listening with that backlog on a free port of 127.0.0.1 or ::1; -1 is bound only. */
static int open_port(int family, int backlog, int *ret_port)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } a;
    memset(&a, 0, sizeof(a));
    socklen_t len = family == AF_INET ? sizeof(a.v4) : sizeof(a.v6);
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    a.any.sa_family = (sa_family_t)family;
    if (family == AF_INET)
        a.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else
        a.v6.sin6_addr = in6addr_loopback;
    assert_int_equal(bind(fd, &a.any, len), 0);
    if (backlog >= 0)
        assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(getsockname(fd, &a.any, &len), 0);
    *ret_port = ntohs(family == AF_INET ? a.v4.sin_port : a.v6.sin6_port);
    return fd;
}

static struct end run(struct loop *l, const char *host, int port)
{
    struct end e = { .told = false };
    (void)tcp_check_start(&l->uv, host, port, on_ended, &e);
    assert_false(e.told); /* never from within */
    loop_until_true(l, &e.told);
    return e;
}

/* A machine without /etc/hosts has none but those that are numbers in another form. */
static const char *a_name(void)
{
    struct addrinfo *found = NULL;
    int rc = getaddrinfo("localhost", NULL, NULL, &found);
    if (rc == 0)
        freeaddrinfo(found);
    return rc == 0 ? "localhost" : "127.1";
}

static void test_a_port_that_listens_passes(void **state)
{
    int port = 0;
    int fd = open_port(AF_INET, 8, &port);
    assert_string_equal(run(*state, "127.0.0.1", port).why, "");
    assert_string_equal(run(*state, a_name(), port).why, ""); /* whatever else it is */
    close(fd);
}

static void test_a_port_of_ipv6_that_listens_passes(void **state)
{
    int port = 0;
    int fd = open_port(AF_INET6, 8, &port);
    assert_string_equal(run(*state, "::1", port).why, "");
    close(fd);
}

static void test_a_port_that_does_not_listen_refuses(void **state)
{
    int port = 0;
    int fd = open_port(AF_INET, -1, &port);
    assert_string_equal(run(*state, "127.0.0.1", port).why, "refused");
    assert_string_equal(run(*state, a_name(), port).why, "refused");
    close(fd);
}

static void test_a_name_that_nobody_has_is_not_found(void **state)
{
    char long_name[300];
    memset(long_name, 'a', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    assert_string_equal(run(*state, "..", 1).why, "name_not_found");
    assert_string_equal(run(*state, long_name, 1).why, "name_not_found");
}

/* The kernel drops what comes while the queue of a listener is full. */
static void fill(int port, int *fds, size_t count)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (size_t i = 0; i < count; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)connect(fds[i], (struct sockaddr *)&a, sizeof(a));
    }
}

struct stopper {
    struct deadline deadline;
    struct tcp_check *check;
};

static void on_stop(struct deadline *d)
{
    struct stopper *s = deadline_owner(d, struct stopper, deadline);
    tcp_check_stop(s->check);
    tcp_check_stop(s->check);
}

static void test_one_that_nobody_answers_ends_when_it_is_stopped(void **state)
{
    struct loop *l = *state;
    int fds[4];
    int port = 0;
    int fd = open_port(AF_INET, 0, &port);
    fill(port, fds, COUNT_OF(fds));
    struct end e = { .told = false };
    struct stopper s = { .check = tcp_check_start(&l->uv, "127.0.0.1", port, on_ended, &e) };
    deadline_set(l->deadlines, &s.deadline, 50, on_stop);
    loop_until_true(l, &e.told);
    assert_null(s.deadline.fire); /* not before */
    assert_string_equal(e.why, "stopped");
    for (size_t i = 0; i < COUNT_OF(fds); i++)
        close(fds[i]);
    close(fd);
}

static void test_one_that_is_stopped_at_once_ends_once(void **state)
{
    struct loop *l = *state;
    int port = 0;
    int fd = open_port(AF_INET, 8, &port);
    static const char *const hosts[] = { "127.0.0.1", "localhost" };
    for (size_t i = 0; i < COUNT_OF(hosts); i++) {
        struct end e = { .told = false };
        tcp_check_stop(tcp_check_start(&l->uv, hosts[i], port, on_ended, &e));
        loop_until_true(l, &e.told);
        assert_string_equal(e.why, "stopped");
    }
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(test_a_port_that_listens_passes),
        LOOP_TEST(test_a_port_of_ipv6_that_listens_passes),
        LOOP_TEST(test_a_port_that_does_not_listen_refuses),
        LOOP_TEST(test_a_name_that_nobody_has_is_not_found),
        LOOP_TEST(test_one_that_nobody_answers_ends_when_it_is_stopped),
        LOOP_TEST(test_one_that_is_stopped_at_once_ends_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
