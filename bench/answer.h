/* What the body of one response says: text, frames, errors, how it ended. Knows bytes and times, no sockets. */
#ifndef ANSWER_H
#define ANSWER_H

#include "response.h"
#include "sse.h"

#include <sodium.h>

#define OUTCOME_SIZE 64              /* an outcome's name and its NUL */
#define ANSWER_BODY_MAX (128u << 20) /* of an answer without stream, and of an error */

/* How the exchange ended, before its content is looked at. */
enum ending {
    ENDING_BODY,    /* the response is complete */
    ENDING_EOF,     /* the server closed before that */
    ENDING_RESET,   /* the connection broke */
    ENDING_REFUSED, /* there was no connection */
    ENDING_LOCAL,   /* this machine could not make one: no descriptor, no port */
    ENDING_BROKEN,  /* what came is not HTTP */
    ENDING_TIMEOUT,
    ENDING_LEFT, /* by us */
};

/* The content that is right; a text, a digest, or neither. */
struct expected {
    const char *text; /* borrowed; NULL: any */
    size_t text_len;
    bool has_sha256;
    unsigned char sha256[crypto_hash_sha256_BYTES];
};

/* Called with the pause between two data frames. */
typedef void (*answer_gap_fn)(void *ctx, uint64_t gap_ns);

struct answer {
    bool is_stream;                  /* as asked */
    const struct expected *expected; /* borrowed */
    answer_gap_fn gap;
    void *ctx;
    struct sse sse;
    struct buf body;   /* owned: all of it, when it is not a stream */
    uint64_t now_ns;   /* of the bytes at hand */
    uint64_t frame_ns; /* of the last data frame; 0: none */
    uint64_t first_content_ns;
    uint64_t frames;
    uint64_t content_bytes;
    crypto_hash_sha256_state digest;
    bool differs; /* content that is not what was expected, so far */
    bool saw_error;
    bool saw_done;
    bool saw_finish;
    const char *broken; /* borrowed: a constant; NULL while all is well */
};

/* `expected` is borrowed. The caller must answer_free; a second init wants that before. */
void answer_init(struct answer *a, bool is_stream, const struct expected *expected,
                 answer_gap_fn gap, void *ctx);
void answer_free(struct answer *a);

/* Takes bytes of the body of `r`. */
void answer_feed(struct answer *a, const struct response *r, const char *data, size_t len,
                 uint64_t now_ns);

/* Names the outcome and finishes the check of the content (`a->differs`). To be called once. */
void answer_end(struct answer *a, const struct response *r, enum ending ending,
                char ret_name[OUTCOME_SIZE]);

/* Whether a name can be an outcome: for lists that people write. `http` stands for every status. */
CHECK_RESULT bool outcome_is_known(const char *name, size_t len);

/* Whether the outcome `name` is meant by a list's item: itself, `http`, `http_5xx`, or without its code. */
CHECK_RESULT bool outcome_matches(const char *name, const char *item, size_t item_len);

#endif
