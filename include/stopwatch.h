/* How long we work on something, all waiting left out. The loop does one thing at a time, so there is one watch: it is started where
 * work comes in (a line or the loss of the worker, a request, a client that takes more, a deadline) and read where it is known whose work it was. */
#ifndef STOPWATCH_H
#define STOPWATCH_H

#include <stdint.h>

void stopwatch_start(void);

/* Nanoseconds since it was started or read. */
uint64_t stopwatch_lap_ns(void);

#endif
