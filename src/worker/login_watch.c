/* Tells when the worker's login has changed. */
#include "login_watch.h"

#include "file.h"
#include "mem.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define LOGIN_MAX (1024 * 1024) /* bytes of the file */

struct login_watch {
    uv_fs_poll_t poll;
    char *path;                                     /* owned */
    unsigned char digest[crypto_generichash_BYTES]; /* of the content; zeros: there is no file */
    void (*fn)(void *ctx);                          /* NULL once let go */
    void *ctx;                                      /* borrowed */
};

/* A file that is being written is empty at first, and not at its closing brace yet. */
static bool is_whole(const struct buf *content)
{
    size_t len = content->len;
    while (len != 0 && strchr(" \t\r\n", content->data[len - 1]) != NULL)
        len--;
    return len != 0 && content->data[len - 1] == '}';
}

/* False while it is being written; the rest of it will be another change. */
static bool digest_file(const struct login_watch *w, unsigned char ret[crypto_generichash_BYTES])
{
    struct buf content = BUF_INIT;
    memset(ret, 0, crypto_generichash_BYTES);
    bool there = file_read(w->path, &content, LOGIN_MAX);
    bool ok = !there || is_whole(&content);
    if (there)
        crypto_generichash(ret, crypto_generichash_BYTES, (const unsigned char *)content.data,
                           content.len, NULL, 0);
    if (content.data != NULL)
        sodium_memzero(content.data, content.cap);
    buf_free(&content);
    return ok;
}

/* A file that was only touched, or written anew as it was, is no other login. */
static void on_change(uv_fs_poll_t *poll, int status, const uv_stat_t *before,
                      const uv_stat_t *after)
{
    (void)status, (void)before, (void)after;
    struct login_watch *w = poll->data;
    unsigned char digest[crypto_generichash_BYTES];
    if (w->fn == NULL)
        return;
    if (!digest_file(w, digest) || memcmp(digest, w->digest, sizeof(digest)) == 0)
        return;
    memcpy(w->digest, digest, sizeof(digest));
    w->fn(w->ctx);
}

struct login_watch *login_watch_new(uv_loop_t *loop, const char *path, uint64_t interval_ms,
                                    void (*fn)(void *ctx), void *ctx)
{
    struct login_watch *w = xcalloc(1, sizeof(*w));
    w->path = xstrdup(path);
    w->fn = fn;
    w->ctx = ctx;
    w->poll.data = w;
    (void)digest_file(w, w->digest);
    uv_fs_poll_init(loop, &w->poll);
    uv_fs_poll_start(&w->poll, on_change, path, (unsigned)interval_ms);
    return w;
}

static void on_closed(uv_handle_t *handle)
{
    struct login_watch *w = handle->data;
    free(w->path);
    free(w);
}

void login_watch_free(struct login_watch *w)
{
    if (w == NULL || w->fn == NULL)
        return;
    w->fn = NULL;
    uv_close((uv_handle_t *)&w->poll, on_closed);
}
