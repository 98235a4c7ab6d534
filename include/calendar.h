/* The time by which things grow too old: that of the wall clock, but a jump forward is believed only once it has held for
 * CALENDAR_HOLD_MS. So a clock that is wrong for a while makes nothing old that it would destroy; a jump back counts at once, as it
 * destroys nothing. The first time of all is believed: there is no other. Pure. */
#ifndef CALENDAR_H
#define CALENDAR_H

#include <stdbool.h>
#include <stdint.h>

#define CALENDAR_HOLD_MS 86400000
#define CALENDAR_STEP_MS 60000 /* a step forward up to that is none: clocks are corrected */

/* All zero: no time is known yet. Times of day are kept as what they are ahead of the monotonic clock. */
struct calendar {
    bool begun;
    bool doubting;
    int64_t believed_ms;
    int64_t doubted_ms;        /* the least since then */
    uint64_t doubted_since_ms; /* monotonic */
};

/* The wall time to be believed, when the clocks show these. To be asked at least every few hours, as a jump that nobody has seen the end
 * of is taken to have held. */
int64_t calendar_now_ms(struct calendar *c, int64_t wall_ms, uint64_t mono_ms);

#endif
