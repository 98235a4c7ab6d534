/* Deadlines of all modules behind one uv timer: a sorted list, cheap to set, move and clear. */
#ifndef DEADLINE_H
#define DEADLINE_H

#include <stddef.h>
#include <stdint.h>

struct uv_loop_s;
struct deadlines;

struct deadline;

/* Called once, after the deadline was cleared; may set it again or free what embeds it. */
typedef void (*deadline_fn)(struct deadline *d);

/* Embedded in whatever waits; all zero means "not set". */
struct deadline {
    struct deadline *prev; /* linked */
    struct deadline *next; /* linked */
    uint64_t at_ms;        /* loop time */
    deadline_fn fire;      /* NULL while not set */
};

/* The struct that embeds the deadline `d` as `member`. */
#define deadline_owner(d, type, member) ((type *)(void *)((char *)(d)-offsetof(type, member)))

/* The caller owns the result and must deadlines_free it before the loop is closed. */
struct deadlines *deadlines_new(struct uv_loop_s *loop);

/* Closes the timer; memory goes with its close callback. Every deadline must be cleared before. */
void deadlines_free(struct deadlines *all);

/* Milliseconds of the loop's own clock. */
uint64_t deadlines_now_ms(const struct deadlines *all);

/* Sets or moves a deadline to `after_ms` from now. d->fire is not NULL exactly while it is set. */
void deadline_set(struct deadlines *all, struct deadline *d, uint64_t after_ms, deadline_fn fire);

/* Safe on a deadline that is not set. */
void deadline_clear(struct deadlines *all, struct deadline *d);

#endif
