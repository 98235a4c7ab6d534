/* A GET every so often on a connection of its own: does the server answer others while it is under load? */
#ifndef PROBE_H
#define PROBE_H

#include "conn.h"
#include "options.h"
#include "tally.h"

struct probe;

/* Starts at once. The arguments are borrowed; the caller owns the result. */
struct probe *probe_start(const struct options *o, const struct conn_target *target);

/* Starts none any more; one in flight has the rest of its time. Safe on NULL and to repeat. */
void probe_stop(struct probe *p);

/* False for NULL. */
bool probe_in_flight(const struct probe *p);

/* After the end of the loop; safe on NULL. */
void probe_free(struct probe *p);

/* Outcomes: done for 200, else names as for requests. */
const struct tally *probe_tally(const struct probe *p);

/* Those that were due while the one before was still in flight: a blocked server delays them, so each is counted with
 * the time that it would have waited. */
uint64_t probe_late(const struct probe *p);

#endif
