/* Cuts a byte stream into lines. */
#include "lines.h"

#include <string.h>

void lines_init(struct lines *l, size_t line_max_bytes)
{
    *l = (struct lines){ .pending = BUF_INIT, .line_max_bytes = line_max_bytes };
}

void lines_free(struct lines *l)
{
    buf_free(&l->pending);
}

/* The held-back start of a line is complete: hand it out from memory of its own, so that `fn` may free `l`. */
static bool hand_out_pending(struct lines *l, line_fn fn, void *ctx)
{
    struct buf whole = l->pending;
    l->pending = (struct buf)BUF_INIT;
    bool go_on = fn(ctx, whole.data, whole.len);
    buf_free(&whole);
    return go_on;
}

enum lines_err lines_feed(struct lines *l, const char *data, size_t len, line_fn fn, void *ctx)
{
    const char *end = data + len;
    const size_t max = l->line_max_bytes;
    while (data < end) {
        const char *newline = memchr(data, '\n', (size_t)(end - data));
        size_t piece = (size_t)((newline != NULL ? newline : end) - data);
        if (l->pending.len + piece > max)
            return LINES_TOO_LONG;
        if (newline == NULL) {
            buf_append(&l->pending, data, piece);
            return LINES_OK;
        }
        bool go_on;
        if (l->pending.len != 0) {
            buf_append(&l->pending, data, piece);
            go_on = hand_out_pending(l, fn, ctx);
        } else {
            go_on = fn(ctx, data, piece);
        }
        if (!go_on)
            return LINES_STOPPED;
        data = newline + 1;
    }
    return LINES_OK;
}

unsigned lines_count(const char *bytes, size_t len)
{
    unsigned count = 0;
    for (size_t i = 0; i < len; i++)
        count += bytes[i] == '\n';
    return count;
}
