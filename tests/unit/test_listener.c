/* Who is taken when a listener ends, on a socket of the loopback interface. */
#include "listener.h"
#include "loop.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

struct door {
    struct listener *listener;
    unsigned came_in;
};

static enum listener_room has_room(void *ctx)
{
    (void)ctx;
    return LISTENER_ROOM;
}

static void on_socket(void *ctx, int fd, bool spare)
{
    struct door *d = ctx;
    d->came_in++;
    assert_false(spare);
    close(fd);
}

static struct sockaddr_in address_of(int port)
{
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static void door_open(struct door *d, struct loop *l)
{
    const struct sockaddr_in any_port = address_of(0);
    const struct listener_options options = { .loop = &l->uv,
                                              .deadlines = l->deadlines,
                                              .room = has_room,
                                              .on_socket = on_socket,
                                              .ctx = d };
    *d = (struct door){ .listener = listener_new(&options) };
    assert_int_equal(
        listener_bind(d->listener, (const struct sockaddr *)&any_port, sizeof(any_port)), 0);
}

/* Somebody stands before the door: the kernel has taken his connection, and nobody has accepted it. */
static int knock(const struct door *d)
{
    const struct sockaddr_in there = address_of(listener_port(d->listener));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&there, sizeof(there)), 0);
    return fd;
}

static void test_who_waits_is_taken_before_a_stop(void **state)
{
    struct door d;
    door_open(&d, *state);
    int fd = knock(&d);
    listener_stop(d.listener);
    assert_int_equal(d.came_in, 1);
    listener_free(d.listener);
    assert_int_equal(d.came_in, 1);
    close(fd);
}

/* A start that fails after it has listened: who would answer is about to go. */
static void test_who_waits_is_not_taken_when_there_was_no_stop(void **state)
{
    struct door d;
    door_open(&d, *state);
    int fd = knock(&d);
    listener_free(d.listener);
    assert_int_equal(d.came_in, 0);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(test_who_waits_is_taken_before_a_stop),
        LOOP_TEST(test_who_waits_is_not_taken_when_there_was_no_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
