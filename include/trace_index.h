/* Which trace files are in the folder, from the oldest to the newest; it removes them. It belongs to one thread at a time.
 *
 * How old a trace is is told by the monotonic clock, from when it was first seen on: the time in its name says when that was, and no
 * touch and no later jump of the wall clock changes it. Only for files of earlier runs the wall clock must be believed, once; a
 * name from the future counts as new. */
#ifndef TRACE_INDEX_H
#define TRACE_INDEX_H

#include "mem.h"
#include "trace_name.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

struct trace_entry {
    struct trace_name name;
    int64_t born_ms; /* monotonic; negative: before this boot */
};

/* All zero: nothing is known yet. */
struct trace_index {
    struct trace_entry *entries; /* owned; those from `first` on */
    size_t first;
    size_t count;
    size_t room;
    struct stat seen; /* the folder, as it was after our last look or change */
    bool known;       /* it was looked through */
};

void trace_index_free(struct trace_index *x);

/* Looks through the folder if somebody else has changed it, or if `anew`. A folder that is not there is empty. False with errno when it cannot be read. */
CHECK_RESULT bool trace_index_refresh(struct trace_index *x, const char *folder, bool anew);

/* Notes what the folder is like, after a change of our own. */
void trace_index_note(struct trace_index *x, const char *folder);

/* A file that was written just now, for a request of the wall time in its name. */
void trace_index_add(struct trace_index *x, const struct trace_name *name, int64_t born_ms);

/* The i-th from the newest on, borrowed until the next change; NULL behind the last. */
const struct trace_entry *trace_index_newest(const struct trace_index *x, size_t i);

/* The monotonic birth of the oldest; false when there is none. */
bool trace_index_oldest(const struct trace_index *x, int64_t *ret_born_ms);

/* The trace of that request, borrowed as above, or NULL. */
const struct trace_entry *trace_index_find(const struct trace_index *x, const char *req_id);

/* Removes the files born by then, and the oldest of those until no more than `keep` are left. False with errno when one cannot be
 * removed; the counts are added to in any case. */
CHECK_RESULT bool trace_index_prune(struct trace_index *x, const char *folder, int64_t born_by_ms,
                                    size_t keep, size_t *ret_aged, size_t *ret_surplus);

/* Removes what a crash has left half written; for the one process that writes, before it does. */
void trace_index_remove_leftovers(const char *folder);

/* The monotonic birth of what the wall clock says is of `wall_ms`. */
int64_t trace_index_born_ms(int64_t wall_ms);

#endif
