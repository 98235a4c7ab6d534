/* Admission: who may run now, who waits and for how long, who is refused.
 *
 *     none -> running -> none        leave
 *       |      ^   |
 *       |      |   v                 return: the front of its principal's line
 *       +--> queued -> none          leave, the deadline of the queue, or displaced
 *
 * A ticket asks for as many places as it weighs. Of those that wait, each principal has a line of its own, first in, first
 * out; between the lines places go round in turn (deficit round-robin), so nobody starves behind one who floods, and who is
 * alone may have all places. The queue's room is shared in the same way: when it is full, the last one of the longest line makes
 * way for one whose line is shorter by two or more. Behind a closed gate nobody is admitted and the queue goes on filling. */
#ifndef ADMISSION_H
#define ADMISSION_H

#include "deadline.h"
#include "mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct admission;
struct admission_line;
struct ticket;

#define ADMISSION_PRINCIPAL_MAX 32 /* characters of a principal's name */
#define ADMISSION_RETRY_MAX_S 60   /* clients ignore a Retry-After that is longer */

struct admission_options {
    struct deadlines *deadlines; /* borrowed */
    size_t concurrency;          /* places; at least 1 */
    size_t queue_max;            /* tickets that wait at once; 0: none does */
    uint64_t queue_timeout_ms;
};

/* Each may call admission_leave and admission_return, and may free the ticket once it has left; never called from within a call
 * of the ticket's owner. */
struct ticket_events {
    void (*on_admitted)(struct ticket *ticket);
    void (*on_expired)(struct ticket *ticket); /* it has left */
    void (*on_displaced)(
        struct ticket *ticket); /* so has it: the queue is full, and another had less of it */
};

enum ticket_state { TICKET_NONE, TICKET_QUEUED, TICKET_RUNNING };

/* Embedded in what asks for places; all zero but the first three before it enters. */
struct ticket {
    const struct ticket_events *events; /* borrowed */
    const char *principal;              /* borrowed until it has left; the name is what counts */
    size_t weight;                      /* places, at least 1 */
    /* The rest is admission's. */
    enum ticket_state state;
    struct admission *admission; /* linked; NULL in TICKET_NONE */
    struct admission_line *line; /* linked; NULL unless it is queued */
    TAILQ_ENTRY(ticket) link;    /* in its line */
    struct deadline deadline;    /* of the queue */
    size_t taken;                /* places it holds, or will hold */
    bool paid;                   /* it has had its turn, and came back */
    uint64_t number;             /* in order of entering; it keeps it when it returns */
    uint64_t since_ms;           /* loop time: running since */
};

/* The struct that embeds the ticket `t` as `member`. */
#define ticket_owner(t, type, member) ((type *)(void *)((char *)(t)-offsetof(type, member)))

enum admission_answer {
    ADMISSION_RUNS,
    ADMISSION_WAITS,  /* an event will tell, unless it leaves */
    ADMISSION_FULL,   /* no place, no room in the queue, and nobody has more of it */
    ADMISSION_TOO_BIG /* it weighs more than all places: it would never run */
};

/* The gate is closed at first. The caller owns the result; `deadlines` must outlive it. */
struct admission *admission_new(const struct admission_options *options);

/* Every ticket must have left. Safe on NULL. */
void admission_free(struct admission *adm);

/* From now on: with fewer places those that run go on, with a shorter queue those that wait go on waiting, each with the
 * deadline that it has. One that waits and weighs more than all places now will run alone. `deadlines` is not changed. */
void admission_reconfigure(struct admission *adm, const struct admission_options *options);

/* Opens or closes the gate. */
void admission_open(struct admission *adm, bool open);
bool admission_is_open(const struct admission *adm);

/* A ticket that is in no state asks; it does not overtake those that wait. */
CHECK_RESULT enum admission_answer admission_enter(struct admission *adm, struct ticket *ticket);

/* A running ticket goes back to the front of its line, before those that came after it, and the line to the front of all. Not bound by the room in the queue. It may wait anew as long as one that enters, for the time it ran
 * was no waiting. */
void admission_return(struct ticket *ticket);

/* Gives the places back, or the room in the queue. Does nothing in TICKET_NONE. */
void admission_leave(struct ticket *ticket);

size_t admission_running(const struct admission *adm); /* places that are taken */
size_t admission_waiting(const struct admission *adm); /* tickets in the queue */

/* When one who comes now could be served, in whole seconds from 1 to ADMISSION_RETRY_MAX_S: as long as it takes all places
 * to serve who runs and who waits, by the measured time that places are held. */
int64_t admission_retry_after_s(const struct admission *adm);

/* The arithmetic of that: `places` asked for by all, each held for `held_ms`, of which `concurrency` are served at once. */
int64_t admission_wait_s(size_t places, uint64_t held_ms, size_t concurrency);

#endif
