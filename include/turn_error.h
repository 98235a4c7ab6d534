/* What the worker's errors say of a turn. */
#ifndef TURN_ERROR_H
#define TURN_ERROR_H

#include "turn.h"

/* Fills kind, http_status and message of `ret` from a TurnError of the protocol; they are borrowed from it. */
void turn_error_describe(const json_t *error, struct turn_end *ret);

/* The kind that a JSON-RPC error code comes to, or NULL: the worker's own failures have none. */
const char *turn_error_kind(int64_t code);

#endif
