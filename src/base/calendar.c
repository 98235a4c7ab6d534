/* The time by which things grow too old. */
#include "calendar.h"

static void believe(struct calendar *c, int64_t ahead_ms)
{
    c->believed_ms = ahead_ms;
    c->begun = true;
    c->doubting = false;
}

/* Since the jump the clock has been ahead by the least of what it showed, at least. */
static void doubt(struct calendar *c, int64_t ahead_ms, uint64_t mono_ms)
{
    if (!c->doubting)
        c->doubted_since_ms = mono_ms;
    if (!c->doubting || ahead_ms < c->doubted_ms)
        c->doubted_ms = ahead_ms;
    c->doubting = true;
}

int64_t calendar_now_ms(struct calendar *c, int64_t wall_ms, uint64_t mono_ms)
{
    int64_t ahead_ms = wall_ms - (int64_t)mono_ms;
    if (!c->begun || ahead_ms - c->believed_ms <= CALENDAR_STEP_MS)
        believe(c, ahead_ms);
    else
        doubt(c, ahead_ms, mono_ms);
    if (c->doubting && mono_ms - c->doubted_since_ms >= CALENDAR_HOLD_MS)
        believe(c, c->doubted_ms);
    return (int64_t)mono_ms + c->believed_ms;
}
