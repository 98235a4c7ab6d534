/* A rate of requests per minute with room for bursts. */
#include "rate_limit.h"

#include <assert.h>
#include <stdio.h>

#define TOKEN INT64_C(60000) /* rpm units are gained each millisecond */

static int64_t full(const struct rate_bucket *b)
{
    return b->burst * TOKEN;
}

/* An idle time that is long enough to fill any bucket is as good as one that is longer. */
static void refill(struct rate_bucket *b, uint64_t now_ms)
{
    const uint64_t fills_all_ms = (uint64_t)(RATE_RPM_MAX * TOKEN);
    uint64_t passed_ms = now_ms > b->at_ms ? now_ms - b->at_ms : 0;
    if (passed_ms > fills_all_ms)
        passed_ms = fills_all_ms;
    int64_t missing = full(b) - b->level;
    assert(b->rpm > 0);
    bool fills = (int64_t)passed_ms >= (missing + b->rpm - 1) / b->rpm;
    b->level = fills ? full(b) : b->level + (int64_t)passed_ms * b->rpm;
    b->at_ms = now_ms;
}

void rate_limit_set(struct rate_bucket *b, int64_t rpm, int64_t burst, uint64_t now_ms)
{
    bool was_limited = b->rpm != 0;
    int64_t used = 0;
    if (was_limited) {
        refill(b, now_ms);
        used = full(b) - b->level;
    }
    *b = (struct rate_bucket){ .rpm = rpm, .burst = burst != 0 ? burst : rpm, .at_ms = now_ms };
    b->level = full(b) > used ? full(b) - used : 0;
}

static int64_t time_to_gain(const struct rate_bucket *b, int64_t units)
{
    return units <= 0 ? 0 : (units + b->rpm - 1) / b->rpm;
}

void rate_limit_take(struct rate_bucket *b, uint64_t now_ms, struct rate_state *ret)
{
    *ret = (struct rate_state){ .limited = b->rpm != 0, .allowed = true };
    if (!ret->limited)
        return;
    refill(b, now_ms);
    ret->allowed = b->level >= TOKEN;
    if (ret->allowed)
        b->level -= TOKEN;
    ret->limit = b->burst;
    ret->remaining = b->level / TOKEN;
    ret->reset_ms = time_to_gain(b, full(b) - b->level);
    ret->retry_ms = time_to_gain(b, TOKEN - b->level);
}

/* "8.64s": as many decimals as it needs. */
static void put_seconds(int64_t ms, char *ret, size_t size)
{
    int decimals = 3;
    int64_t fraction = ms % 1000;
    while (decimals > 0 && fraction % 10 == 0) {
        fraction /= 10;
        decimals--;
    }
    if (decimals == 0)
        snprintf(ret, size, "%llds", (long long)(ms / 1000));
    else
        snprintf(ret, size, "%lld.%0*llds", (long long)(ms / 1000), decimals, (long long)fraction);
}

void rate_limit_duration(int64_t ms, char ret[RATE_DURATION_SIZE])
{
    char seconds[32];
    int64_t minutes = ms / 60000;
    if (ms > 0 && ms < 1000) {
        snprintf(ret, RATE_DURATION_SIZE, "%lldms", (long long)ms);
        return;
    }
    put_seconds(ms % 60000, seconds, sizeof(seconds));
    if (minutes == 0)
        snprintf(ret, RATE_DURATION_SIZE, "%s", seconds);
    else if (minutes < 60)
        snprintf(ret, RATE_DURATION_SIZE, "%lldm%s", (long long)minutes, seconds);
    else
        snprintf(ret, RATE_DURATION_SIZE, "%lldh%lldm%s", (long long)(minutes / 60),
                 (long long)(minutes % 60), seconds);
}
