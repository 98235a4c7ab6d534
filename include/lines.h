/* Cuts a byte stream into lines, whatever pieces it arrives in. */
#ifndef LINES_H
#define LINES_H

#include "buf.h"
#include "mem.h"

#include <stdbool.h>

/* Called with each line without its newline; the bytes are borrowed and end with the call. Returning
 * false stops the cutting: lines_feed returns LINES_STOPPED and must not be called again. */
typedef bool (*line_fn)(void *ctx, const char *line, size_t len);

enum lines_err { LINES_OK, LINES_TOO_LONG, LINES_STOPPED };

struct lines {
    struct buf pending; /* owned: the start of a line whose newline has not come yet */
    size_t line_max_bytes;
};

void lines_init(struct lines *l, size_t line_max_bytes);
void lines_free(struct lines *l);

/* Takes `len` more bytes and calls `fn` for each line that they complete. LINES_TOO_LONG when a line
 * grows past line_max_bytes: the stream cannot be trusted any more and `l` must be freed. `fn` may
 * free whatever embeds `l` only if it returns false. */
CHECK_RESULT enum lines_err lines_feed(struct lines *l, const char *data, size_t len, line_fn fn,
                                       void *ctx);

/* How many lines end in these bytes. */
unsigned lines_count(const char *bytes, size_t len);

#endif
