/* Time of day for people, monotonic time for deadlines. */
#ifndef CLOCK_H
#define CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLOCK_ISO_SIZE 25 /* "2026-01-31T12:34:56.789Z" and its NUL */

/* Milliseconds of CLOCK_MONOTONIC: never jumps, has no meaning outside this boot. */
uint64_t clock_mono_ms(void);

/* Milliseconds since 1970-01-01 UTC. */
int64_t clock_wall_ms(void);

/* Writes a wall time as ISO 8601 UTC with milliseconds. */
void clock_iso8601(int64_t wall_ms, char ret_text[CLOCK_ISO_SIZE]);

#define CLOCK_DATE_SIZE 11 /* "2026-01-31" and its NUL */
#define CLOCK_DAY_MS 86400000

/* Writes the UTC date of a wall time of the years 1970 to 9999. */
void clock_date(int64_t wall_ms, char ret_text[CLOCK_DATE_SIZE]);

/* The number that these digits are, at most nine; -1 when one is none. */
int clock_parse_digits(const char *text, size_t len);

/* Reads such a date as days since 1970-01-01. False when the text is none, or no day of the calendar. */
bool clock_parse_date(const char *text, size_t len, int64_t *ret_day);

#endif
