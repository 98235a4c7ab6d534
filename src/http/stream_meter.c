/* The time of one stream, for the metrics. */
#include "stream_meter.h"

#include "metrics.h"

#include <stddef.h>
#include <string.h>
#include <uv.h>

static unsigned active;

unsigned stream_meter_active(void)
{
    return active;
}

static double ms_between(uint64_t from_ns, uint64_t to_ns)
{
    return (double)(to_ns - from_ns) / 1e6;
}

static const char *label_of(const char *model)
{
    return model[0] != '\0' ? model : METRIC_OTHER;
}

void stream_meter_write(struct stream_meter *m, uint64_t since_ns, const char *model)
{
    uint64_t now_ns = uv_hrtime();
    if (m->first_ns == 0) {
        active++;
        m->first_ns = now_ns;
        metric_observe(M_STREAM_TTFB, ms_between(since_ns, now_ns), label_of(model));
    } else {
        metric_observe(M_STREAM_GAP, ms_between(m->last_ns, now_ns));
    }
    m->last_ns = now_ns;
}

/* The contract's words for how it ended. */
static const char *end_of(const char *outcome, const char *error_code)
{
    static const struct {
        const char *outcome;
        const char *end;
    } ends[] = { { "stop", "done" },
                 { "content_filter", "done" },
                 { "tool_calls", "tool_calls" },
                 { "function_call", "tool_calls" },
                 { "length", "length" },
                 { "client_gone", "client_gone" },
                 { "write_stall", "client_gone" },
                 { "slow_client", "client_gone" } };
    for (size_t i = 0; outcome != NULL && i < sizeof(ends) / sizeof(ends[0]); i++)
        if (strcmp(outcome, ends[i].outcome) == 0)
            return ends[i].end;
    return error_code != NULL && strcmp(error_code, "worker_lost") == 0 ? "worker_lost" : "error";
}

void stream_meter_end(struct stream_meter *m, const char *model, const char *outcome,
                      const char *error_code)
{
    if (m->first_ns == 0)
        return;
    active--;
    metric_observe(M_STREAM_DURATION, ms_between(m->first_ns, uv_hrtime()), label_of(model));
    metric_count(M_STREAM_END, 1, end_of(outcome, error_code));
    m->first_ns = 0;
}
