/* Lines of the request log, read from the end of a day, in a memory that no file can make grow. */
#include "interaction_files.h"
#include "interaction_names.h"
#include "json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK_BYTES 65536

struct reader {
    struct buf *out; /* borrowed */
    size_t limit;
    size_t max_bytes;
    size_t count;
    bool full; /* there was one more */
};

/* A file, from its end. */
struct backwards {
    int fd;         /* owned */
    off_t at;       /* what is before has not been read */
    struct buf buf; /* owned: what has been, and begins within a line */
    bool too_long;  /* that line is, and is skipped up to its beginning */
    int error;      /* errno of what could not be read, or 0 */
};

/* False when no more lines are wanted. */
static bool take(struct reader *r, const char *line, size_t len)
{
    if (len == 0 || len > INTERACTION_LINE_MAX || !json_is_object_text(line, len))
        return true;
    r->full = r->count == r->limit || r->out->len + len > r->max_bytes;
    if (r->full)
        return false;
    if (r->count++ != 0)
        buf_putc(r->out, ',');
    buf_append(r->out, line, len);
    return true;
}

/* The block before what was read, put before it. False when there is none, or it cannot be read. */
static bool read_block(struct backwards *b)
{
    struct buf joined = BUF_INIT;
    size_t len = b->at < BLOCK_BYTES ? (size_t)b->at : BLOCK_BYTES;
    if (len == 0)
        return false;
    ssize_t n = pread(b->fd, buf_reserve(&joined, len + b->buf.len), len, b->at - (off_t)len);
    if (n != (ssize_t)len) {
        buf_free(&joined);
        b->error = n < 0 ? errno : EIO; /* it has become shorter meanwhile */
        return false;
    }
    joined.len = len;
    buf_append(&joined, b->buf.data, b->buf.len);
    buf_free(&b->buf);
    b->buf = joined;
    b->at -= (off_t)len;
    return true;
}

/* Takes the lines that are whole, from the last one on. */
static bool take_lines(struct backwards *b, struct reader *r)
{
    const char *newline = NULL;
    while (b->buf.len != 0 && (newline = memrchr(b->buf.data, '\n', b->buf.len)) != NULL) {
        const char *line = newline + 1;
        size_t len = b->buf.len - (size_t)(line - b->buf.data);
        if (!b->too_long && !take(r, line, len))
            return false;
        b->too_long = false;
        b->buf.len = (size_t)(newline - b->buf.data);
    }
    if (b->buf.len > INTERACTION_LINE_MAX || b->too_long) {
        b->too_long = true;
        buf_clear(&b->buf);
    }
    return true;
}

/* False when it cannot be read; one that has gone since is empty. */
static bool read_file(const char *path, struct reader *r)
{
    struct stat st;
    struct backwards b = { .fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC) };
    bool go_on = true;
    if (b.fd < 0)
        return errno == ENOENT;
    b.at = fstat(b.fd, &st) == 0 ? st.st_size : 0;
    while (go_on && read_block(&b))
        go_on = take_lines(&b, r);
    if (b.error == 0 && go_on && !b.too_long)
        (void)take(r, b.buf.data, b.buf.len);
    buf_free(&b.buf);
    close(b.fd);
    errno = b.error;
    return b.error == 0;
}

static bool read_all(const struct interaction_names *names, const char *folder, const char *date,
                     struct reader *r)
{
    bool ok = true;
    for (size_t i = names->count; ok && !r->full && i > 0; i--) {
        if (strcmp(names->list[i - 1].date, date) != 0)
            continue;
        char *path = interaction_path(folder, &names->list[i - 1]);
        ok = read_file(path, r);
        free(path);
    }
    return ok;
}

bool interaction_files_read(const char *home, const char date[CLOCK_DATE_SIZE], size_t limit,
                            size_t max_bytes, struct buf *out, size_t *ret_count, bool *ret_more)
{
    struct interaction_names names;
    struct reader r = { .out = out, .limit = limit, .max_bytes = max_bytes };
    char *folder = interaction_folder(home);
    bool ok = interaction_names_list(&names, folder);
    if (ok) {
        ok = read_all(&names, folder, date, &r);
        interaction_names_free(&names);
    } else {
        ok = errno == ENOENT;
    }
    free(folder);
    *ret_count = r.count;
    *ret_more = r.full;
    return ok;
}
