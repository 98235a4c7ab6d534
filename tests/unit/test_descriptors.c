/* Descriptors: what children get, and what socket activation means. */
#include "descriptors.h"
#include "unit.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static int listening(const char *pid, const char *count)
{
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", count, 1);
    setenv("LISTEN_FDNAMES", "http", 1);
    int found = descriptors_listening();
    assert_null(getenv("LISTEN_PID"));
    assert_null(getenv("LISTEN_FDS"));
    assert_null(getenv("LISTEN_FDNAMES"));
    return found;
}

static void test_sockets_are_ours_only_if_the_pid_is(void **state)
{
    (void)state;
    char mine[16];
    char other[16];
    snprintf(mine, sizeof(mine), "%d", (int)getpid());
    snprintf(other, sizeof(other), "%d", (int)getpid() + 1);
    assert_int_equal(listening(mine, "1"), 1);
    assert_int_equal(listening(mine, "7"), 7);
    assert_int_equal(listening(mine, "0"), 0);
    assert_int_equal(listening(other, "1"), 0);
    assert_int_equal(descriptors_listening(), 0);
}

static void test_nonsense_means_no_sockets(void **state)
{
    (void)state;
    static const char *const words[] = { "",   " ",  "x",   "-1",  "+1",
                                         "1x", "1 ", "0x1", "1.0", "99999999999999999999" };
    char mine[16];
    snprintf(mine, sizeof(mine), "%d", (int)getpid());
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        assert_int_equal(listening(mine, words[i]), 0);
        assert_int_equal(listening(words[i], "1"), 0);
    }
    assert_int_equal(listening(mine, "2147483647"), 0);
}

static void test_what_was_inherited_is_not_passed_on(void **state)
{
    (void)state;
    int fd = open("/dev/null", O_RDONLY);
    int high = fcntl(fd, F_DUPFD, 200);
    assert_true(fd >= DESCRIPTORS_FIRST && high >= 200);
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    int out = fcntl(1, F_GETFD);
    descriptors_close_on_exec();
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_int_equal(fcntl(high, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_int_equal(fcntl(1, F_GETFD), out);
    close(fd);
    close(high);
}

/* In a process of its own, for a hard limit never comes back. */
static int limits_of_a_child(void)
{
    struct rlimit limit = { .rlim_cur = 64, .rlim_max = 128 };
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || descriptors_raise_limit() != 128)
        return 1;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur != 128)
        return 2;
    descriptors_restore_limit((int)getpid());
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur != 64 || limit.rlim_max != 128)
        return 3;
    return 0;
}

static void test_the_limit_is_raised_and_given_back(void **state)
{
    (void)state;
    int status = -1;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(limits_of_a_child());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sockets_are_ours_only_if_the_pid_is),
        cmocka_unit_test(test_nonsense_means_no_sockets),
        cmocka_unit_test(test_what_was_inherited_is_not_passed_on),
        cmocka_unit_test(test_the_limit_is_raised_and_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
