/* Clients whose request never ends: they send a byte of its head at a time, and see how they are closed. */
#ifndef SLOW_HEAD_H
#define SLOW_HEAD_H

#include "conn.h"
#include "options.h"
#include "tally.h"

struct slow_heads;

/* Connects them all; their bytes are spread over the interval. The arguments are borrowed; the caller owns the result. */
struct slow_heads *slow_heads_start(const struct options *o, const struct conn_target *target);

/* Closes those that are still open. Safe on NULL and to repeat. */
void slow_heads_stop(struct slow_heads *s);

/* After the end of the loop; safe on NULL. */
void slow_heads_free(struct slow_heads *s);

/* Ends by name with the time that they lasted: http_NNN, closed, reset, refused, local_error, malformed, open. */
const struct tally *slow_heads_tally(const struct slow_heads *s);

#endif
