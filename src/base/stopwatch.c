/* How long we work on something. */
#include "stopwatch.h"

#include <uv.h>

static uint64_t since_ns;

void stopwatch_start(void)
{
    since_ns = uv_hrtime();
}

uint64_t stopwatch_lap_ns(void)
{
    uint64_t last_ns = since_ns;
    since_ns = uv_hrtime();
    return since_ns - last_ns;
}
