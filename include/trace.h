/* The trace of one request: what went where and when, gathered in memory until the request has ended. Only if it is to be kept, what
 * was recorded is taken out of it and written as JSON, which any thread may do.
 *
 * It holds no text of clients, the worker or the upstream, by construction: what goes in is either words and numbers of ours (trace_http,
 * trace_stage, with the fields of log.h) or a message of JSON-RPC, of which trace_allow.h lets pass what is known to be harmless. Of
 * all else the size is kept.
 *
 * It is bounded. Notifications of the same kind that come one after the other count as one event; when it is full, the first events
 * and the latest are kept and those between are counted.
 *
 * Every function takes NULL for a request that is not recorded, and then does nothing. */
#ifndef TRACE_H
#define TRACE_H

#include "buf.h"
#include "json.h"
#include "log.h"
#include "token_counts.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TRACE_EVENTS_MAX 2000        /* events of one trace */
#define TRACE_FIRST_MAX 500          /* of them, those that are kept from the beginning */
#define TRACE_BYTES_MAX (512 * 1024) /* of memory for them */
#define TRACE_LOOK_BACK 8 /* events; turns that run side by side mix their notifications */

struct trace;
struct trace_record;

/* Of a request that has ended: one that came without a valid key, one that went well, one that failed or was broken off. */
enum trace_worth { TRACE_OF_GUEST, TRACE_FINE, TRACE_FAILED };

/* Who takes what was recorded; `ctx` is borrowed. */
struct trace_sink {
    bool (*records)(void *ctx); /* whether the request that begins is to be recorded */
    bool (*wants)(void *ctx,
                  enum trace_worth worth); /* whether one that has ended is to be written */
    /* Takes the record, which it owns from then on; `req_id` is borrowed. */
    void (*put)(void *ctx, const char *req_id, struct trace_record *record);
    void *ctx;
};

/* What is said of the request as a whole; strings are ours or names of ours, borrowed, and may be NULL. */
struct trace_summary {
    const char *req_id;
    const char *route;
    const char *model;
    bool stream;
    int status;
    const char *outcome;
    const char *error_code;
    int64_t duration_ms;
    int64_t queue_ms;
    unsigned runs_again;
    struct token_counts tokens;
    uint64_t bytes_in;
    uint64_t bytes_sent;
};

/* A trace that begins now; `now_ns` tells the monotonic time, `wall_ms` the time of day. Counted: the caller has one reference. */
struct trace *trace_new(uint64_t (*now_ns)(void), int64_t wall_ms);

/* One more reference; returns its argument. */
struct trace *trace_ref(struct trace *trace);

/* One less; the last one frees it. */
void trace_unref(struct trace *trace);

/* ---- what happens ---- */

enum trace_type {
    TRACE_HTTP,
    TRACE_STAGE,
    TRACE_RPC_REQUEST,
    TRACE_RPC_RESPONSE,
    TRACE_RPC_NOTIFICATION,
    TRACE_RPC_SERVER_REQUEST
};

/* An event of ours; `event` and the names of fields are static. One that `repeats` is counted with the last of its name and texts,
 * if that is among the latest events. */
void trace_note(struct trace *trace, enum trace_type type, const char *event, bool repeats,
                const struct log_field *fields, size_t count);

#define TRACE_NOTE(trace, type, event, ...)                                                        \
    trace_note(trace, type, event, false, (const struct log_field[]){ __VA_ARGS__ },               \
               sizeof((const struct log_field[]){ __VA_ARGS__ }) / sizeof(struct log_field))
#define trace_http(trace, event, ...) TRACE_NOTE(trace, TRACE_HTTP, event, __VA_ARGS__)
#define trace_stage(trace, event, ...) TRACE_NOTE(trace, TRACE_STAGE, event, __VA_ARGS__)
#define trace_repeat(trace, event) trace_note(trace, TRACE_STAGE, event, true, NULL, 0)

/* A message of JSON-RPC; everything is borrowed for the call. */
struct trace_message {
    enum trace_type type;
    const char *method;    /* of the call, also for its answer */
    const json_t *id;      /* NULL: none */
    const json_t *content; /* params or result; NULL: none */
    size_t bytes;          /* of the line; 0: there was none */
    const char *status;    /* static: of an answer; NULL: none */
    int64_t code;          /* of an answer that is an error, else 0 */
    bool answer;           /* ours, to a request of the worker */
};

void trace_rpc(struct trace *trace, const struct trace_message *message);

/* ---- the end ---- */

/* The request is over: what comes now is nobody's, and the events are forgotten. */
void trace_close(struct trace *trace);

/* Closes the trace as well, but hands over what it has recorded; the caller owns it. NULL when it is closed already. */
struct trace_record *trace_take(struct trace *trace, const struct trace_summary *summary);

/* Of memory. */
size_t trace_record_bytes(const struct trace_record *record);

/* When the request began. */
int64_t trace_record_wall_ms(const struct trace_record *record);

/* Appends it as one JSON object. In any thread. */
void trace_record_write(const struct trace_record *record, struct buf *out);

/* Safe on NULL. */
void trace_record_free(struct trace_record *record);

#endif
