/* A rate of requests per minute with room for bursts: a token bucket in whole numbers. Pure: time comes in. */
#ifndef RATE_LIMIT_H
#define RATE_LIMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RATE_RPM_MAX INT64_C(1000000) /* also of a burst: the arithmetic stays far from its ends */

/* All zero: no limit. */
struct rate_bucket {
    int64_t rpm;    /* tokens gained in a minute; 0: no limit */
    int64_t burst;  /* tokens when full, at least 1 */
    int64_t level;  /* in 1/60000 token: what is gained in a millisecond is whole */
    uint64_t at_ms; /* when the level was that */
};

/* What a client is told. */
struct rate_state {
    bool limited; /* else the rest says nothing */
    bool allowed;
    int64_t limit;     /* requests that fit into an idle minute's start: the burst */
    int64_t remaining; /* that would be allowed now */
    int64_t reset_ms;  /* until the bucket is full */
    int64_t retry_ms;  /* until the next is allowed; 0: now */
};

/* Makes it a bucket of that rate, with a burst of `rpm` if `burst` is 0. One that was none, or without a limit, is full; else
 * what was used stays used. `rpm` of 0: no limit. */
void rate_limit_set(struct rate_bucket *b, int64_t rpm, int64_t burst, uint64_t now_ms);

/* Takes one token if there is one. */
void rate_limit_take(struct rate_bucket *b, uint64_t now_ms, struct rate_state *ret);

#define RATE_DURATION_SIZE 80

/* Writes a duration as OpenAI does: "20ms", "1s", "8.64s", "6m0s", "1h0m0s"; 0 is "0s". */
void rate_limit_duration(int64_t ms, char ret[RATE_DURATION_SIZE]);

#endif
