/* What the metrics are told of turns. */
#include "turn_meter.h"

#include "metrics.h"

void turn_meter_calls(struct turn_meter *m, size_t count)
{
    if (m->gathers || count == 0)
        return;
    m->gathers = true;
    metric_count(M_TOOL_BUFFER_STARTED, 1);
}

static void end_calls(struct turn_meter *m, enum metric how)
{
    if (m->gathers)
        metric_count(how, 1);
    m->gathers = false;
}

void turn_meter_end(struct turn_meter *m, enum turn_outcome outcome)
{
    static const char *const names[] = {
        [TURN_COMPLETED] = "completed",    [TURN_CALLS] = "tool_calls",
        [TURN_FAILED] = "failed",          [TURN_INTERRUPTED] = "interrupted",
        [TURN_TIMED_OUT] = "rpc_timeout",  [TURN_UNANSWERED] = "first_event_timeout",
        [TURN_SILENT] = "silence_timeout", [TURN_TOO_LONG] = "turn_timeout",
        [TURN_LOST] = "worker_lost"
    };
    const char *name = names[outcome]; /* cppcheck takes an index within the macro for a mistake */
    metric_count(M_TURNS, 1, name);
    end_calls(m, outcome == TURN_CALLS ? M_TOOL_BUFFER_FLUSHED : M_TOOL_BUFFER_ABORTED);
}

void turn_meter_abandoned(struct turn_meter *m)
{
    metric_count(M_TURNS, 1, "abandoned");
    end_calls(m, M_TOOL_BUFFER_ABORTED);
}

void turn_meter_resumed(void)
{
    metric_count(M_TOOL_RESUMED, 1);
}

void turn_meter_reused(void)
{
    metric_count(M_THREADS_REUSED, 1);
}
