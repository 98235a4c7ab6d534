/* How long the loop works in one go.
 *
 * A timer that comes late would tell the same with the grain of a millisecond, and only now and then. Here each round is measured: its
 * time, less what the loop has slept of it by its own account. */
#include "loop_lag.h"

#include "mem.h"
#include "metrics.h"

#include <stdlib.h>
#include <uv.h>

struct loop_lag {
    uv_prepare_t prepare; /* runs once a round, before the loop sleeps */
    uint64_t last_ns;     /* when it ran last */
    uint64_t slept_ns;    /* until then, in all */
};

static void on_prepare(uv_prepare_t *prepare)
{
    struct loop_lag *lag = prepare->data;
    uint64_t now_ns = uv_hrtime();
    uint64_t slept_ns = uv_metrics_idle_time(prepare->loop);
    uint64_t round_ns = now_ns - lag->last_ns;
    uint64_t asleep_ns = slept_ns - lag->slept_ns;
    metric_observe(M_LOOP_LAG, round_ns > asleep_ns ? (double)(round_ns - asleep_ns) / 1e6 : 0);
    lag->last_ns = now_ns;
    lag->slept_ns = slept_ns;
}

struct loop_lag *loop_lag_new(uv_loop_t *loop)
{
    struct loop_lag *lag = xcalloc(1, sizeof(*lag));
    uv_prepare_init(loop, &lag->prepare);
    lag->prepare.data = lag;
    lag->last_ns = uv_hrtime();
    lag->slept_ns = uv_metrics_idle_time(loop);
    uv_prepare_start(&lag->prepare, on_prepare);
    uv_unref((uv_handle_t *)&lag->prepare);
    return lag;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void loop_lag_free(struct loop_lag *lag)
{
    if (lag != NULL)
        uv_close((uv_handle_t *)&lag->prepare, on_closed);
}
