/* A growable run of bytes: the one buffer type of the program. */
#ifndef BUF_H
#define BUF_H

#include <stddef.h>
#include <stdint.h>

struct buf {
    char *data; /* owned; NULL while nothing was ever appended */
    size_t len;
    size_t cap;
};

#define BUF_INIT                                                                                   \
    {                                                                                              \
        NULL, 0, 0                                                                                 \
    }

/* Frees the bytes and leaves an empty buffer; safe to repeat. */
void buf_free(struct buf *b);

/* Forgets the bytes and keeps the memory. */
void buf_clear(struct buf *b);

/* Makes room for `extra` more bytes and returns where they go; the caller adds to b->len. */
char *buf_reserve(struct buf *b, size_t extra);

void buf_append(struct buf *b, const void *bytes, size_t len);
void buf_puts(struct buf *b, const char *text);
void buf_putc(struct buf *b, char c);
void buf_put_int(struct buf *b, int64_t value); /* as "%lld" does, in a fraction of the time */
void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Drops the first `len` bytes. */
void buf_consume(struct buf *b, size_t len);

/* The bytes as a NUL-terminated string, borrowed until the next change of b. The NUL is not counted. */
const char *buf_str(struct buf *b);

/* Hands the bytes, NUL-terminated, to the caller who frees them; b is empty afterwards. */
char *buf_detach(struct buf *b);

#endif
