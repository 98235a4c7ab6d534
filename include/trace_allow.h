/* What of a message of JSON-RPC may be shown: one table of members that are known to be harmless. Of the id of a call, which clients
 * and models make up, a mark is shown, the same for the same id while the process lives. Of every other string only the length is
 * told, and of other members nothing, not even their names; so what a later version of the worker adds is safe by default. */
#ifndef TRACE_ALLOW_H
#define TRACE_ALLOW_H

#include "buf.h"
#include "json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The method if it is one of the app-server's, static; else "other". */
const char *trace_allow_method(const char *method);

/* Whether it comes in numbers, one for each piece of something; so may those that we do not know. */
bool trace_allow_is_piece(const char *known_method);

/* Whether a text is an id that a worker makes: a UUID, or a prefix that is known and letters, digits, _ and -. */
bool trace_allow_is_id(const char *text, size_t len);

/* Appends the members of params or a result that may be shown, each with a comma before it. Returns the bytes of the strings that were
 * withheld. `out` may be NULL. */
uint64_t trace_allow_describe(struct buf *out, const json_t *content);

/* Appends the id of a call, if it may be shown, else its length. */
void trace_allow_rpc_id(struct buf *out, const json_t *id);

#endif
