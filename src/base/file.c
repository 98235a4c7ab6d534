/* Small files: read whole, replace whole. */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

bool file_read(const char *path, struct buf *out, size_t max_bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    size_t before = out->len;
    ssize_t n;
    do {
        n = read(fd, buf_reserve(out, 4096), 4096);
        out->len += n > 0 ? (size_t)n : 0;
    } while (n > 0 && out->len - before <= max_bytes);
    int error = n < 0 ? errno : EFBIG;
    close(fd);
    if (n == 0)
        return true;
    out->len = before;
    errno = error;
    return false;
}

static bool write_all(int fd, const char *bytes, size_t len)
{
    while (len != 0) {
        ssize_t n = write(fd, bytes, len);
        if (n < 0)
            return false;
        bytes += n;
        len -= (size_t)n;
    }
    return true;
}

/* The caller frees it. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? xstrdup(".") : xstrndup(path, (size_t)(slash - path) + 1);
}

/* What root writes into somebody's folder is for that somebody, or it would lock him out. */
static bool give_to_owner_of_folder(int fd, const char *path)
{
    struct stat folder;
    char *name = folder_of(path);
    bool ok = geteuid() != 0 || stat(name, &folder) != 0 || folder.st_uid == 0 ||
              fchown(fd, folder.st_uid, folder.st_gid) == 0;
    free(name);
    return ok;
}

/* So that the name outlives a power failure, too. Not all file systems can; the file is in its place in any case. */
static void sync_folder(const char *path)
{
    char *name = folder_of(path);
    int fd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(name);
    if (fd < 0)
        return;
    (void)fsync(fd);
    close(fd);
}

enum how {
    REPLACE,
    REPLACE_UNSYNCED,
    MAKE /* nothing may be there */
};

static bool put_in_place(const char *temporary, const char *path, enum how how)
{
    if (how == MAKE && renameat2(AT_FDCWD, temporary, AT_FDCWD, path, RENAME_NOREPLACE) == 0)
        return true;
    if (how == MAKE && errno != EINVAL && errno != ENOSYS) /* not every file system can */
        return false;
    return rename(temporary, path) == 0;
}

static bool write_file(const char *path, const char *bytes, size_t len, enum how how)
{
    bool sync = how != REPLACE_UNSYNCED;
    char *temporary = xasprintf("%s.%ld.tmp", path, (long)getpid());
    bool ok = false;
    unlink(temporary); /* one that an earlier process of our id left behind */
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        goto out;
    ok =
        give_to_owner_of_folder(fd, path) && write_all(fd, bytes, len) && (!sync || fsync(fd) == 0);
    ok = close(fd) == 0 && ok;
    ok = ok && put_in_place(temporary, path, how);
    if (!ok) {
        int error = errno;
        unlink(temporary);
        errno = error;
    } else if (sync) {
        sync_folder(path);
    }
out:
    free(temporary);
    return ok;
}

bool file_replace(const char *path, const char *bytes, size_t len)
{
    return write_file(path, bytes, len, REPLACE);
}

bool file_replace_unsynced(const char *path, const char *bytes, size_t len)
{
    return write_file(path, bytes, len, REPLACE_UNSYNCED);
}

bool file_make(const char *path, const char *bytes, size_t len)
{
    return write_file(path, bytes, len, MAKE);
}

bool file_make_folder(const char *path)
{
    return mkdir(path, 0700) == 0 || errno == EEXIST;
}
