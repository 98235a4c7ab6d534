/* The load: which client starts which request when, and when it is over. */
#ifndef LOAD_H
#define LOAD_H

#include "client.h"

struct load;

typedef void (*load_over_fn)(void *ctx);

/* `over` comes once, when no request will start any more, none is in flight and all connections are closed. The caller
 * owns the result. All arguments are borrowed. */
struct load *load_new(const struct options *o, const struct conn_target *target, load_over_fn over,
                      void *ctx);
void load_start(struct load *l);

/* Starts nothing any more and gives up what is in flight. */
void load_abort(struct load *l);

/* After the end of the loop; safe on NULL. */
void load_free(struct load *l);

/* From the start, or the end of the warm-up, to the end of the last request, or to now. */
uint64_t load_elapsed_ns(const struct load *l);

/* What became of the requests of one key, by clients that do, or do not, misbehave. */
const struct tally *load_tally(const struct load *l, size_t key, bool misbehaves);

/* Number of keys; one without a name when there are none. */
size_t load_key_count(const struct load *l);

#endif
