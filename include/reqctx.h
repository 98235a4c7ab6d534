/* What the program knows of one HTTP request beside what h2o knows: its id, its route and how it came out. It lives in the
 * request's pool and adds the headers that every answer carries. */
#ifndef REQCTX_H
#define REQCTX_H

#include "id.h"
#include "key_file.h"
#include "turn.h"

#include <stdbool.h>
#include <stdint.h>

struct api_error;
struct st_h2o_req_t;
struct trace;
struct trace_sink;

#define REQCTX_MODEL_MAX 64

struct reqctx {
    char id[ID_SIZE];                /* "req_...": x-request-id of the answer */
    uint64_t started_ns;             /* monotonic */
    const char *route;               /* static: the pattern, never the path */
    const char *error_code;          /* static; NULL: none */
    int retryable;                   /* of its error: 1 yes, -1 no; 0: there is none */
    const char *outcome;             /* static: of a chat, "stop", "client_gone", ...; NULL: none */
    char model[REQCTX_MODEL_MAX];    /* a known one, or empty */
    char key_name[KEY_NAME_MAX + 1]; /* of the key that was presented, or empty */
    int64_t queue_ms; /* waited for its turn, or until the end of its patience; all runs together */
    struct turn_usage usage;
    unsigned runs;    /* beside the first */
    bool maintenance; /* it was refused for that */
    bool admitted;    /* it had its turn: what went wrong then is not our refusal */
    uint64_t busy_ns; /* that we worked on it: stopwatch.h */
    /* When the head of the answer was given to h2o, monotonic; 0: there is none, or nobody to take it. */
    uint64_t first_byte_ns;
    size_t bytes_in;     /* of the body of the request */
    bool stream;         /* it asked for one; of a chat that could be read, as all that follow */
    unsigned tool_calls; /* that the answer holds, over all choices */
    struct trace *trace; /* borrowed: of request_trace.h; NULL: it is not recorded */
    const struct trace_sink *trace_sink; /* borrowed */
    const char *
        prompt; /* in the request's pool: the start of the last user message, scrubbed; NULL unless that is logged */
};

/* Makes the context of a request; once, before anything is answered. */
struct reqctx *reqctx_attach(struct st_h2o_req_t *req);

/* The context, or NULL for a request that h2o itself rejected before any handler saw it. */
struct reqctx *reqctx_of(struct st_h2o_req_t *req);

/* Notes what the client is told: the error that is the answer, or ends it. One of status 0 is none. */
void reqctx_note_error(struct reqctx *rc, const struct api_error *error);

/* Notes the error and answers with it: ends the request, as reply.h says. */
void reqctx_refuse(struct st_h2o_req_t *req, const struct api_error *error);

/* Whether the route is one of the API. */
bool reqctx_is_of_api(const struct reqctx *rc);

/* Whether it came with a valid key of a client. */
bool reqctx_has_key(const struct reqctx *rc);

/* Milliseconds since the request was complete. */
int64_t reqctx_elapsed_ms(const struct reqctx *rc);

#endif
