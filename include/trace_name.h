/* The name of a trace file: "20261122T060102.345Z-req_....json", with ".sealed" behind it when it is encrypted. Names sort by the time
 * of the request, in UTC. Pure. */
#ifndef TRACE_NAME_H
#define TRACE_NAME_H

#include "mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TRACE_ID_PREFIX "req_" /* of the ids of requests */
#define TRACE_ID_SIZE 32
#define TRACE_NAME_SIZE 64

struct trace_name {
    char text[TRACE_NAME_SIZE];
    char req_id[TRACE_ID_SIZE];
    int64_t wall_ms; /* of the request */
    bool sealed;
};

/* Whether the text is the id of a request, to the letter: nothing else ever becomes part of a path. */
bool trace_id_ok(const char *text, size_t len);

/* `req_id` passes trace_id_ok. */
void trace_name_make(struct trace_name *ret, int64_t wall_ms, const char *req_id, bool sealed);

/* False when it is not the name of a trace file: such files are not ours. */
CHECK_RESULT bool trace_name_parse(const char *text, struct trace_name *ret);

/* Whether it is the name of what a crash leaves behind while such a file is written (see file_replace). */
bool trace_name_is_leftover(const char *text);

#endif
