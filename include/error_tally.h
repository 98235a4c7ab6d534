/* How many requests came and which errors they ended in, over the last minute and the last hour: for a glance, where metrics.h is for
 * graphs. Bounded whatever comes; there is one for the program.
 *
 * `now_ms` is monotonic and never goes back. */
#ifndef ERROR_TALLY_H
#define ERROR_TALLY_H

#include <stddef.h>
#include <stdint.h>

#define ERROR_KINDS_MAX 32 /* of route and code in the last hour; the rest is one kind, `other` */

struct error_count {
    const char *route;  /* static */
    const char *code;   /* static */
    uint64_t count;     /* in the last hour */
    int64_t last_at_ms; /* wall clock */
};

struct request_count {
    uint64_t requests;
    uint64_t errors;
};

/* A request has ended. `route` and `code` are static; NULL: no error. */
void error_tally_note(uint64_t now_ms, int64_t wall_ms, const char *route, const char *code);

/* Of the last 60 seconds and 60 minutes, each as far as the second or minute under way has come. */
struct request_count error_tally_minute(uint64_t now_ms);
struct request_count error_tally_hour(uint64_t now_ms);

/* The most frequent errors of the last hour, the most frequent one first: how many were written, at most `max`. */
size_t error_tally_top(uint64_t now_ms, struct error_count *ret, size_t max);

/* Forgets all: for tests. */
void error_tally_reset(void);

#endif
