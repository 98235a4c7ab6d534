/* What of a message of JSON-RPC may be shown: one table of members that are known to be harmless. Of the id of a call, which clients
 * and models make up, a mark is shown, the same for the same id while the process lives. Of every other string only the length is
 * told, and of other members nothing, not even their names; so what a later version of the worker adds is safe by default. */
#ifndef TRACE_ALLOW_H
#define TRACE_ALLOW_H

#include "json.h"
#include "trace_fact.h"

#include <stdbool.h>
#include <stddef.h>

struct trace_method {
    const char *name;
    bool comes_in_pieces; /* in numbers, one for each piece of something */
};

/* The method if it is one of the app-server's, else "other", which may come in pieces; static. */
const struct trace_method *trace_allow_method(const char *method);

/* Whether a text is an id that a worker makes: a UUID, or a prefix that is known and letters, digits, _ and -. */
bool trace_allow_is_id(const char *text, size_t len);

/* Adds what may be shown of params or a result, and the bytes of the strings that were withheld. Texts are borrowed from it. */
void trace_allow_describe(struct trace_facts *facts, const json_t *content);

/* Adds the id of a call, if it may be shown, else its length. */
void trace_allow_rpc_id(struct trace_facts *facts, const json_t *id);

#endif
