/* What the metrics are told of turns. */
#ifndef TURN_METER_H
#define TURN_METER_H

#include "turn.h"

#include <stdbool.h>
#include <stddef.h>

/* Of one turn; begins as zeroes. */
struct turn_meter {
    bool gathers; /* function calls of a response that is not complete yet */
};

/* The response under way holds so many calls. */
void turn_meter_calls(struct turn_meter *m, size_t count);

/* It has ended for its owner, or its owner has left it. */
void turn_meter_end(struct turn_meter *m, enum turn_outcome outcome);
void turn_meter_abandoned(struct turn_meter *m);

/* A parked one goes on with the results of its calls; an idle thread takes another turn. */
void turn_meter_resumed(void);
void turn_meter_reused(void);

#endif
