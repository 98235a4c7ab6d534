/* Time of day for people, monotonic time for deadlines. */
#ifndef CLOCK_H
#define CLOCK_H

#include <stdint.h>

#define CLOCK_ISO_SIZE 25 /* "2026-01-31T12:34:56.789Z" and its NUL */

/* Milliseconds of CLOCK_MONOTONIC: never jumps, has no meaning outside this boot. */
uint64_t clock_mono_ms(void);

/* Milliseconds since 1970-01-01 UTC. */
int64_t clock_wall_ms(void);

/* Writes a wall time as ISO 8601 UTC with milliseconds. */
void clock_iso8601(int64_t wall_ms, char ret_text[CLOCK_ISO_SIZE]);

#endif
