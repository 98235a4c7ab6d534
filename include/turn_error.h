/* What the worker's errors say of a turn. */
#ifndef TURN_ERROR_H
#define TURN_ERROR_H

#include "rpc.h"
#include "turn.h"

/* Fills kind, http_status and message of `ret` from a TurnError of the protocol; they are borrowed from it. The outcome becomes TURN_LOST
 * when the error says that the worker, not the model, gave the turn up. */
void turn_error_describe(const json_t *error, struct turn_end *ret);

/* Fills outcome, kind and message of `ret` from a call that came back without a result; the message is borrowed from it. The worker's own
 * failures have no kind. */
void turn_error_of_call(const struct rpc_reply *reply, struct turn_end *ret);

#endif
