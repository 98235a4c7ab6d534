/* The files of the request log: appended to, put aside, removed. */
#include "interaction_files.h"

#include "file.h"
#include "interaction_cut.h"
#include "interaction_names.h"
#include "lines.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define PIECES 4 /* of the room: so much of it is lost at once */

void interaction_files_init(struct interaction_files *files, const char *home)
{
    *files = (struct interaction_files){ .folder = interaction_folder(home), .day = -1 };
}

void interaction_files_free(struct interaction_files *files)
{
    free(files->folder);
    files->folder = NULL;
}

/* ---- room ---- */

static bool remove_file(const struct interaction_files *files, const struct interaction_name *name)
{
    char *path = interaction_path(files->folder, name);
    bool ok = unlink(path) == 0 || errno == ENOENT;
    free(path);
    return ok;
}

/* Only files that larger limits have left are larger than a piece: of those, pieces go, the oldest lines. So the newest never go with the
 * rest; `least` bytes stay in any case. */
static void make_way(struct interaction_files *files, const struct interaction_name *name,
                     int64_t least, const struct interaction_limits *limits, int64_t more,
                     struct interaction_result *ret)
{
    int64_t piece = limits->max_bytes / PIECES;
    int64_t over = files->bytes + more - limits->max_bytes;
    int64_t gone = (over + piece - 1) / piece * piece;
    int64_t left = 0;
    if (gone > name->bytes - least)
        gone = name->bytes - least;
    if (over <= 0 || gone <= 0)
        return;
    if (!(gone == name->bytes ? remove_file(files, name)
                              : interaction_cut(files->folder, name, name->bytes - gone, &left))) {
        ret->error = errno;
        return;
    }
    files->bytes -= name->bytes - left;
    ret->too_large += left == 0;
    ret->cut += left != 0;
}

static void remove_old(struct interaction_files *files, const struct interaction_name *name,
                       struct interaction_result *ret)
{
    if (!remove_file(files, name)) {
        ret->error = errno;
        return;
    }
    files->bytes -= name->bytes;
    ret->too_old++;
}

/* Removes what is too old, and then the oldest until `more` bytes have room beside the rest. The file of `date`, which is being written,
 * comes last, and a piece of it stays. */
static void make_room(struct interaction_files *files, const char *date, int64_t today,
                      const struct interaction_limits *limits, int64_t more,
                      struct interaction_result *ret)
{
    struct interaction_names names;
    const struct interaction_name *written = NULL;
    if (!interaction_names_list(&names, files->folder)) {
        ret->error = errno;
        return;
    }
    files->bytes = names.bytes;
    for (size_t i = 0; i < names.count; i++) {
        const struct interaction_name *name = &names.list[i];
        if (name->number == 0 && strcmp(name->date, date) == 0)
            written = name;
        else if (today - name->day > limits->retention_days)
            remove_old(files, name, ret);
        else
            make_way(files, name, 0, limits, more, ret);
    }
    if (written != NULL)
        make_way(files, written, limits->max_bytes / PIECES, limits, more, ret);
    interaction_names_free(&names);
}

void interaction_files_sweep(struct interaction_files *files, const char date[CLOCK_DATE_SIZE],
                             int64_t today, const struct interaction_limits *limits,
                             struct interaction_result *ret)
{
    files->day = today;
    if (!file_make_folder(files->folder)) {
        ret->error = errno;
        return;
    }
    interaction_cut_remove_leftover(files->folder);
    make_room(files, date, today, limits, 0, ret);
}

/* ---- one file ---- */

static int open_file(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        return fd;
    if (fd >= 0) {
        close(fd);
        errno = EINVAL;
    }
    return -1;
}

/* Somebody may have removed the folder. */
static int open_day(const struct interaction_files *files, const struct interaction_name *name)
{
    char *path = interaction_path(files->folder, name);
    int fd = open_file(path);
    if (fd < 0 && errno == ENOENT && file_make_folder(files->folder))
        fd = open_file(path);
    free(path);
    return fd;
}

/* Gives the name to a number that is free, so that a new file can take it. */
static bool put_aside(const struct interaction_files *files, const struct interaction_name *name)
{
    struct interaction_names names;
    struct interaction_name aside = *name;
    if (!interaction_names_list(&names, files->folder))
        return false;
    for (size_t i = 0; i < names.count; i++)
        if (strcmp(names.list[i].date, name->date) == 0 && names.list[i].number > aside.number)
            aside.number = names.list[i].number;
    interaction_names_free(&names);
    aside.number++;
    char *from = interaction_path(files->folder, name);
    char *to = interaction_path(files->folder, &aside);
    bool ok = rename(from, to) == 0;
    free(from);
    free(to);
    return ok;
}

/* The file of the day with room for `len` bytes in the size that a file may have, or -1 with errno. */
static int open_with_room(const struct interaction_files *files,
                          const struct interaction_name *name, size_t len, int64_t size_max)
{
    struct stat st;
    int fd = open_day(files, name);
    if (fd < 0 || fstat(fd, &st) != 0 || st.st_size == 0 || st.st_size + (int64_t)len <= size_max)
        return fd;
    close(fd);
    return put_aside(files, name) ? open_day(files, name) : -1;
}

/* A line without its end is what a crash or a full disk has left. */
static bool is_torn(int fd)
{
    char last = '\n';
    struct stat st;
    return fstat(fd, &st) == 0 && st.st_size > 0 && pread(fd, &last, 1, st.st_size - 1) == 1 &&
           last != '\n';
}

/* Returns how many bytes were written. What was not is lost: to try again would be to keep lines for as long as the disk is full. */
static size_t write_lines(struct interaction_files *files, int fd, const char *lines, size_t len,
                          int *ret_error)
{
    size_t mend = is_torn(fd) ? 1 : 0;
    const struct iovec parts[] = { { (char[]){ '\n' }, mend }, { (void *)(uintptr_t)lines, len } };
    ssize_t n = writev(fd, parts, 2);
    size_t written = n > 0 ? (size_t)n : 0;
    if (written < mend + len)
        *ret_error = n < 0 ? errno : ENOSPC;
    files->bytes += (int64_t)written;
    return written > mend ? written - mend : 0;
}

static void append_piece(struct interaction_files *files, const struct interaction_name *name,
                         const char *lines, size_t len, const struct interaction_limits *limits,
                         struct interaction_result *ret)
{
    size_t written = 0;
    int fd = open_with_room(files, name, len, limits->max_bytes / PIECES);
    if (fd < 0) {
        ret->error = errno;
    } else {
        if (files->bytes + (int64_t)len > limits->max_bytes)
            make_room(files, name->date, files->day, limits, (int64_t)len, ret);
        written = write_lines(files, fd, lines, len, &ret->error);
        close(fd);
    }
    ret->lost += lines_count(lines + written, len - written);
}

/* As many whole lines as `max` bytes hold, at least one. */
static size_t piece_of(const char *lines, size_t len, size_t max)
{
    if (len <= max)
        return len;
    const char *end = memrchr(lines, '\n', max);
    if (end == NULL)
        end = memchr(lines, '\n', len);
    return (size_t)(end - lines) + 1;
}

void interaction_files_append(struct interaction_files *files, const char date[CLOCK_DATE_SIZE],
                              int64_t today, const char *lines, size_t len,
                              const struct interaction_limits *limits,
                              struct interaction_result *ret)
{
    struct interaction_name name = { .number = 0 };
    memcpy(name.date, date, CLOCK_DATE_SIZE);
    if (today != files->day)
        interaction_files_sweep(files, date, today, limits, ret);
    while (len != 0) {
        size_t piece = piece_of(lines, len, (size_t)(limits->max_bytes / PIECES));
        append_piece(files, &name, lines, piece, limits, ret);
        lines += piece;
        len -= piece;
    }
}
