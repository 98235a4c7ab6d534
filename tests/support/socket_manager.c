/* A service manager in little: opens a listening socket, hands it to a program as systemd does, and starts the program again
 * whenever it ends, until SIGTERM, which it passes on.
 *
 *     codex-api-socket-manager PROGRAM [ARGUMENT...] */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PASSED_FD 3

static volatile sig_atomic_t got_sigterm;

static void on_sigterm(int number)
{
    (void)number;
    got_sigterm = 1;
}

static int fail(const char *what)
{
    fprintf(stderr, "codex-api-socket-manager: %s: %s\n", what, strerror(errno));
    return 1;
}

/* The socket, on a free port of the loopback, or -1. */
static int open_socket(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) != 0 || listen(fd, 4096) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        return -1;
    fprintf(stderr, "socket on port %d\n", ntohs(address.sin_port));
    return fd;
}

static void run(int fd, char **argv)
{
    char pid[16];
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", "1", 1);
    setenv("LISTEN_FDNAMES", "http", 1);
    signal(SIGTERM, SIG_DFL);
    if (fd == PASSED_FD || dup2(fd, PASSED_FD) != PASSED_FD)
        _exit(fail("dup2"));
    execv(argv[0], argv);
    _exit(fail("exec"));
}

int main(int argc, char **argv)
{
    struct sigaction action = { .sa_handler = on_sigterm };
    int fd = open_socket();
    if (argc < 2 || fd < 0)
        return fail("socket");
    /* Above what is passed: dup2 onto itself would leave it close-on-exec. */
    fd = fd == PASSED_FD ? dup(fd) : fd;
    sigaction(SIGTERM, &action, NULL);
    for (;;) {
        int status = 0;
        pid_t pid = fork();
        if (pid < 0)
            return fail("fork");
        if (pid == 0)
            run(fd, argv + 1);
        fprintf(stderr, "started %d\n", (int)pid);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            if (got_sigterm)
                kill(pid, SIGTERM);
        int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        fprintf(stderr, "ended %d with %d\n", (int)pid, code);
        if (got_sigterm || code != 0)
            return code;
    }
}
