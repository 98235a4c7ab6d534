/* The lock of CODEX_HOME. */
#include "home_lock.h"

#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

/* Everybody holds it shared, so that who comes finds out about any that lives, not about the first alone: nobody is there when it can be
 * had for oneself. To make that a shared one is two steps for the kernel; who comes between them has then seen nobody, but keeps us
 * from the second one. */
static bool share(int fd)
{
    bool others = flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    return (flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK) || others;
}

int home_lock_take(const char *home, FILE *err)
{
    char *path = xasprintf("%s/lock", home);
    int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    free(path);
    if (fd < 0 || !share(fd))
        return fd;
    fprintf(err,
            "codex-api: warning: another codex-api uses CODEX_HOME %s: unless that one is "
            "stopping, give each its own\n",
            home);
    log_warn("app", "home_shared", LOG_INT("pid", getpid()));
    return fd;
}

void home_lock_release(int lock)
{
    if (lock >= 0)
        close(lock);
}
