/* File descriptors of the process. */
#include "descriptors.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static struct rlimit original; /* of a process there is one */
static bool raised;

/* The whole number that a text is, from 0 to INT_MAX; or -1. */
static long parse(const char *text)
{
    char *end = NULL;
    if (text == NULL || *text < '0' || *text > '9')
        return -1;
    errno = 0;
    long number = strtol(text, &end, 10);
    return errno == 0 && *end == '\0' && number <= INT_MAX ? number : -1;
}

static void mark(int fd)
{
    int flags = fcntl(fd, F_GETFD);
    if (flags >= 0)
        (void)fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
}

/* For kernels before 5.11. */
static void mark_listed(void)
{
    DIR *folder = opendir("/proc/self/fd");
    if (folder == NULL)
        return;
    const struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        long fd = parse(entry->d_name);
        if (fd >= DESCRIPTORS_FIRST)
            mark((int)fd);
    }
    closedir(folder);
}

void descriptors_close_on_exec(void)
{
    if (close_range(DESCRIPTORS_FIRST, ~0U, CLOSE_RANGE_CLOEXEC) != 0)
        mark_listed();
}

uint64_t descriptors_raise_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return UINT64_MAX;
    original = limit;
    limit.rlim_cur = limit.rlim_max;
    raised = original.rlim_cur < limit.rlim_max && setrlimit(RLIMIT_NOFILE, &limit) == 0;
    return raised ? limit.rlim_max : original.rlim_cur;
}

void descriptors_restore_limit(int pid)
{
    if (raised)
        (void)prlimit(pid, RLIMIT_NOFILE, &original, NULL);
}

int descriptors_listening(void)
{
    long pid = parse(getenv("LISTEN_PID"));
    long count = parse(getenv("LISTEN_FDS"));
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    return pid == (long)getpid() && count > 0 && count <= INT_MAX - DESCRIPTORS_FIRST ? (int)count
                                                                                      : 0;
}
