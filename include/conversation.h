/* Recognises a conversation that is carried on, by a digest of all that its thread has seen. */
#ifndef CONVERSATION_H
#define CONVERSATION_H

#include "json.h"
#include "turn.h"

#include <stdbool.h>

struct conversation;

/* `principal` says whose it is: a thread never serves two of them. The plan, whose items are the whole history, is borrowed
 * for the call. The caller owns the result. */
struct conversation *conversation_new(const char *principal, const struct turn_plan *plan);
void conversation_free(struct conversation *c);

/* Runs the plan on the thread that knows the conversation: a parked turn whose calls the last messages answer, or an idle
 * thread, which is given only what is new; else on a new one. Takes the plan, whose items are those of
 * conversation_new. NULL when no worker is ready. `trace` as with turn_begin. */
CHECK_RESULT struct turn *conversation_run(const struct conversation *c, const json_t *messages,
                                           struct turns *turns, struct turn_plan *plan,
                                           const struct turn_events *events, void *owner,
                                           struct trace *trace);

/* Items of the history that come after the last one that the model said; 0 when it has said nothing yet. They are what a
 * thread that has seen the rest must still be given. */
size_t conversation_new_items(const struct conversation *c);

/* The digest of the history up to and with the last item that the model said. `parked`: for a turn that waits, which is
 * bound to the parameters of its turn/start too. */
void conversation_digest_seen(const struct conversation *c, bool parked,
                              unsigned char ret[TURN_DIGEST_BYTES]);

/* The digest of the whole history and the model's answer to it, as items. */
void conversation_digest_after(const struct conversation *c, const json_t *answer_items,
                               bool parked, unsigned char ret[TURN_DIGEST_BYTES]);

#endif
