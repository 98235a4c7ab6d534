/* Just enough HTTP/1.1 for the model stub: reads requests in whatever pieces they arrive, writes replies. */
#ifndef STUB_HTTP_H
#define STUB_HTTP_H

#include "buf.h"
#include "json.h"
#include "mem.h"

#include <stdbool.h>

#define STUB_HTTP_HEAD_MAX (64 * 1024)        /* bytes of request line, headers and trailers */
#define STUB_HTTP_BODY_MAX (64 * 1024 * 1024) /* bytes of a decoded body */

struct stub_request {
    char *method;    /* owned */
    char *path;      /* owned; without the query */
    char *query;     /* owned; what follows the '?', "" if none */
    json_t *headers; /* owned; lower-case name -> value, repeated ones joined by ", " */
    struct buf body; /* owned; decoded */
    bool keep_alive;
};

enum stub_http_stage {
    STUB_HTTP_START_LINE,
    STUB_HTTP_HEADER,
    STUB_HTTP_BODY,
    STUB_HTTP_CHUNK_SIZE,
    STUB_HTTP_CHUNK_DATA,
    STUB_HTTP_CHUNK_END,
    STUB_HTTP_TRAILER,
    STUB_HTTP_WHOLE,
};

struct stub_http {
    enum stub_http_stage stage;
    struct buf line;   /* owned; the start of a line whose newline has not come yet */
    size_t head_bytes; /* of this request, against STUB_HTTP_HEAD_MAX */
    size_t left_bytes; /* of the body or of the chunk being read */
    struct stub_request request;
};

enum stub_http_result { STUB_HTTP_MORE, STUB_HTTP_DONE, STUB_HTTP_BAD };

/* Empty and ready for a request; also called between two requests of a connection, after _free. */
void stub_http_init(struct stub_http *h);

/* Safe to repeat. */
void stub_http_free(struct stub_http *h);

/* Takes bytes up to the end of one request. *ret_used is how many were taken (all of them with MORE).
 * DONE: h->request is whole. BAD: the stream cannot be trusted any more and *ret_why says why (static). */
CHECK_RESULT enum stub_http_result stub_http_feed(struct stub_http *h, const char *data, size_t len,
                                                  size_t *ret_used, const char **ret_why);

/* Appends a whole response. A body that is a JSON string is sent verbatim as text, any other value as
 * JSON, NULL as an empty body. `headers` (lower-case names; may be NULL) are added and win. */
void stub_http_reply(struct buf *out, int status, const json_t *headers, const json_t *body);

/* Appends the head of a stream of server-sent events whose body comes in chunks. */
void stub_http_stream_head(struct buf *out, const json_t *headers);

/* Everything appended between the two calls becomes one chunk; nothing appended, no chunk. */
CHECK_RESULT size_t stub_http_chunk_begin(struct buf *out);
void stub_http_chunk_end(struct buf *out, size_t chunk_at);

/* Appends the end of the chunked body. */
void stub_http_stream_end(struct buf *out);

#endif
