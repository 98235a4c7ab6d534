/* A strict parser of HTTP/1.1 responses: the head, and a body that is chunked, counted, or ends with the
 * connection. What a server may not send is an error, not a guess. */
#ifndef RESPONSE_H
#define RESPONSE_H

#include "buf.h"
#include "mem.h"

#include <stdbool.h>
#include <stdint.h>

#define RESPONSE_HEAD_MAX_BYTES 65536

/* Bytes of the body, borrowed for the call. */
typedef void (*response_body_fn)(void *ctx, const char *data, size_t len);

enum response_state {
    RESPONSE_STATUS_LINE,
    RESPONSE_HEADER,
    RESPONSE_COUNTED,    /* the next `left` bytes are the body */
    RESPONSE_CHUNK_SIZE, /* its line */
    RESPONSE_CHUNK,
    RESPONSE_CHUNK_END, /* CRLF after a chunk */
    RESPONSE_TRAILER,
    RESPONSE_UNTIL_EOF,
    RESPONSE_DONE,
    RESPONSE_BROKEN, /* `broken` says why */
};

struct response {
    enum response_state state;
    struct buf line;    /* owned: of the head or a chunk size, so far */
    size_t head_bytes;  /* of the head or the trailer, so far */
    uint64_t left;      /* of the counted body or the chunk */
    const char *broken; /* borrowed: a constant */
    int status;         /* 0 before the status line */
    bool head_done;     /* of the final response, not of a 1xx */
    bool keep_alive;    /* the server would take another request on this connection */
    bool is_json;       /* by content-type */
    bool is_sse;        /* by content-type */
    bool has_length;    /* of these two none or one is allowed */
    bool is_chunked;
    bool is_http10;
};

/* The caller must response_free it; init again starts the next response on the same connection. */
void response_init(struct response *r);
void response_free(struct response *r);

/* Takes bytes until the response is done or broken and returns how many it took. */
size_t response_feed(struct response *r, const char *data, size_t len, response_body_fn body,
                     void *ctx);

/* The connection has ended: true when that is where the response may end. */
CHECK_RESULT bool response_eof(struct response *r);

#endif
