/* One client: a request at a time on a connection that it keeps, if told so. */
#ifndef CLIENT_H
#define CLIENT_H

#include "answer.h"
#include "conn.h"
#include "options.h"
#include "tally.h"

struct client;

/* The request has ended and was counted; the client may be started again from within. `failed_early`: there was no
 * connection, so the next try should not follow at once. */
typedef void (*client_ended_fn)(struct client *c, bool failed_early);

struct client {
    const struct conn_target *target; /* borrowed */
    const struct options *options;    /* borrowed */
    client_ended_fn ended;
    void *owner;              /* borrowed: whoever `ended` tells */
    struct client *next_free; /* linked: of the owner's list */
    size_t number;
    size_t key; /* whose turn it is: index of the owner */
    bool misbehaves;
    /* The following belong to client.c. */
    struct conn *conn; /* owned; NULL: none */
    bool is_busy;
    bool is_draining; /* stopped reading once, and now reads what a server that closed has left */
    struct tally *tally; /* borrowed: where the request at hand is counted */
    uint64_t start_ns;   /* when it was to start */
    uint64_t head_ns;
    uint64_t now_ns; /* of the bytes at hand */
    uint64_t received_bytes;
    uint64_t stalls;
    uint64_t budget_bytes; /* of a slow reader */
    struct response response;
    struct answer answer;
    struct deadline timeout;
    struct deadline pace; /* the next look of one that does not behave */
};

/* Sends `request`, borrowed until `ended`. `start_ns` is when that was to happen; times count from there. With a
 * `tally` of NULL nothing is counted. */
void client_start(struct client *c, const struct buf *request, uint64_t start_ns,
                  struct tally *tally);

/* Gives up what is in flight, which counts as aborted. */
void client_abort(struct client *c);

/* Lets go of the connection; the client must not be busy. Safe to repeat. */
void client_free(struct client *c);

#endif
