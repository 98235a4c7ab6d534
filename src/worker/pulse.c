/* The pulse of a run of the model. */
#include "pulse.h"

#include <string.h>

void pulse_begin(struct pulse *p, uint64_t now_ms, uint64_t turn_ms)
{
    *p = (struct pulse){ .ends_at_ms = now_ms + turn_ms, .heard_at_ms = now_ms };
}

void pulse_asked(struct pulse *p, uint64_t now_ms)
{
    if (!p->heard)
        p->heard_at_ms = now_ms;
}

bool pulse_sign(struct pulse *p, uint64_t now_ms)
{
    bool first = !p->heard;
    p->heard_at_ms = now_ms;
    p->heard = true;
    return first;
}

enum pulse_state pulse_check(const struct pulse *p, const struct pulse_limits *limits,
                             uint64_t now_ms, uint64_t *ret_left_ms)
{
    enum pulse_state next = p->heard ? PULSE_SILENT : PULSE_UNANSWERED;
    uint64_t at_ms = p->heard_at_ms + (p->heard ? limits->silence_ms : limits->first_ms);
    if (p->ends_at_ms <= at_ms) {
        next = PULSE_TOO_LONG;
        at_ms = p->ends_at_ms;
    }
    *ret_left_ms = at_ms > now_ms ? at_ms - now_ms : 0;
    return *ret_left_ms == 0 ? next : PULSE_FINE;
}

bool pulse_is_sign(const char *method, const json_t *params)
{
    if (strcmp(method, "turn/started") == 0 || strcmp(method, "error") == 0)
        return false;
    if (strcmp(method, "item/started") != 0 && strcmp(method, "item/completed") != 0)
        return true;
    const char *type = json_str_at(params, "item.type");
    return type == NULL || strcmp(type, "userMessage") != 0;
}
