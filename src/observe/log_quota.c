/* So many log lines a second about one babbler. */
#include "log_quota.h"

#include "log.h"

void log_quota_tell(struct log_quota *q)
{
    if (q->held_back != 0)
        log_warn("worker", "lines_held_back", LOG_ID("stream", q->stream),
                 LOG_INT("lines", q->held_back));
    q->held_back = 0;
}

bool log_quota_take(struct log_quota *q, uint64_t now_ms)
{
    if (now_ms - q->since_ms >= 1000) {
        log_quota_tell(q);
        q->since_ms = now_ms;
        q->used = 0;
    }
    if (q->used == LOG_QUOTA_A_SECOND) {
        q->held_back++;
        return false;
    }
    q->used++;
    return true;
}
