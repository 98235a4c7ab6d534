/* Plays a scenario: turns its steps, one after the other, into the bytes of a Responses API answer. */
#ifndef STUB_ANSWER_H
#define STUB_ANSWER_H

#include "buf.h"
#include "json.h"
#include "mem.h"

struct stub_answer;

/* What the connection has to do once the bytes are written. */
enum stub_then {
    STUB_THEN_MORE,  /* ask again */
    STUB_THEN_PAUSE, /* ask again after *ret_pause_ms */
    STUB_THEN_HANG,  /* never send anything more and leave the connection open */
    STUB_THEN_DROP,  /* cut the connection */
    STUB_THEN_END,   /* the answer is whole: on to the next request */
};

/* An answer to `request` (the body of a POST /responses) that plays `scenario` as scenario_for() made it.
 * Takes a reference to both. `n` makes the ids of the answer, which are the same in every run. The caller
 * frees with stub_answer_free. */
CHECK_RESULT struct stub_answer *stub_answer_new(json_t *scenario, json_t *request, unsigned n);

/* Safe on NULL. */
void stub_answer_free(struct stub_answer *a);

/* Appends the next bytes (the head, an event or two, nothing) and tells what comes after them. Not to be
 * called again after HANG, DROP and END. */
CHECK_RESULT enum stub_then stub_answer_next(struct stub_answer *a, struct buf *out,
                                             unsigned *ret_pause_ms);

/* How many text and reasoning deltas were made so far. */
size_t stub_answer_deltas(const struct stub_answer *a);

#endif
