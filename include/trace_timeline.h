/* A trace for people: what went where, when. Pure: JSON in, text out that a terminal can be given. */
#ifndef TRACE_TIMELINE_H
#define TRACE_TIMELINE_H

#include "buf.h"

#include <jansson.h>
#include <stddef.h>

/* Appends the timeline of a trace. Whatever the JSON lacks is shown as a dash; fields that are not known are shown as they are. */
void trace_timeline_write(struct buf *out, const json_t *trace);

/* A line of the table of traces: what its file tells, or in the place of that `wrong` (then `trace` may be NULL). */
struct trace_row {
    const char *timestamp; /* borrowed, like all here */
    const char *req_id;
    const json_t *trace;
    const char *wrong;
    size_t bytes;
};

/* The head of the table. */
void trace_table_begin(struct buf *out);
void trace_table_add(struct buf *out, const struct trace_row *row);

#endif
