/* Takes the oldest lines off a file of the request log. */
#include "interaction_cut.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK_BYTES 65536

/* One name: a leftover is found again, and there are never two. */
static char *path_of_copy(const char *folder)
{
    return xasprintf("%s/.cut", folder);
}

/* Where the first line begins that does so at `at` or behind it; `size` if none does, -1 with errno. */
static off_t next_line(int fd, off_t at, off_t size)
{
    char block[BLOCK_BYTES];
    for (off_t from = at > 0 ? at - 1 : 0; at > 0 && from < size;) {
        ssize_t n = pread(fd, block, sizeof(block), from);
        if (n <= 0)
            return n < 0 ? -1 : size;
        const char *newline = memchr(block, '\n', (size_t)n);
        if (newline != NULL)
            return from + (newline - block) + 1;
        from += n;
    }
    return at > 0 ? size : 0;
}

static bool copy(int from, int to, off_t at, off_t size)
{
    char block[BLOCK_BYTES];
    while (at < size) {
        size_t wanted = size - at < BLOCK_BYTES ? (size_t)(size - at) : BLOCK_BYTES;
        ssize_t n = pread(from, block, wanted, at);
        if (n <= 0)
            return n == 0; /* it has become shorter meanwhile */
        ssize_t written = write(to, block, (size_t)n);
        if (written != n) {
            errno = written < 0 ? errno : ENOSPC;
            return false;
        }
        at += n;
    }
    return true;
}

/* Without room for it nothing is tried: it would be tried again with each batch of lines. */
static bool write_copy(int from, const char *path, off_t at, off_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    bool ok = (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, size - at) == 0 || errno == EOPNOTSUPP ||
               errno == ENOSYS) &&
              copy(from, fd, at, size) && fsync(fd) == 0;
    int error = errno;
    bool closed = close(fd) == 0;
    if (!ok)
        errno = error;
    return ok && closed;
}

static bool replace(int from, const char *folder, const char *path, off_t at, off_t size)
{
    char *temporary = path_of_copy(folder);
    unlink(temporary);
    bool ok = write_copy(from, temporary, at, size) && rename(temporary, path) == 0;
    int error = errno;
    if (!ok)
        unlink(temporary);
    free(temporary);
    errno = error;
    return ok;
}

bool interaction_cut(const char *folder, const struct interaction_name *name, int64_t keep,
                     int64_t *ret_bytes)
{
    struct stat st;
    bool ok = false;
    char *path = interaction_path(folder, name);
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0)
        goto out;
    off_t at = next_line(fd, st.st_size - keep, st.st_size);
    if (at < 0)
        goto out;
    ok = at == st.st_size ? unlink(path) == 0 : replace(fd, folder, path, at, st.st_size);
    if (ok)
        *ret_bytes = st.st_size - at;
out:;
    int error = errno;
    if (fd >= 0)
        close(fd);
    free(path);
    errno = error;
    return ok;
}

void interaction_cut_remove_leftover(const char *folder)
{
    char *path = path_of_copy(folder);
    unlink(path);
    free(path);
}
