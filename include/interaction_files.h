/* The files of the request log: CODEX_HOME/interactions/YYYY-MM-DD.jsonl, one for each day (UTC).
 *
 * A file that has grown to a quarter of the room of all is put aside as YYYY-MM-DD.N.jsonl, N from 1 on, and the day goes on in a new
 * one. So the oldest lines make way in pieces, and the newest are always written. A larger file, left by larger limits, is cut to its
 * newest lines instead of being removed. Files with any other name are never touched.
 *
 * All of it blocks: it is for jobs of disk.h, which run one after another. */
#ifndef INTERACTION_FILES_H
#define INTERACTION_FILES_H

#include "buf.h"
#include "clock.h"
#include "mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INTERACTION_LINE_MAX (32 * 1024) /* bytes; longer ones are not read */

struct interaction_limits {
    int64_t retention_days; /* files of days before that are removed */
    int64_t max_bytes;      /* of all files */
};

struct interaction_files {
    char *folder;  /* owned */
    int64_t day;   /* at which they were last looked through, since 1970-01-01; -1: never */
    int64_t bytes; /* of all of them */
};

/* What a look at the files or a write came to. */
struct interaction_result {
    unsigned lost;      /* lines that were not written */
    int error;          /* errno of the last thing that failed; 0: none did */
    unsigned too_old;   /* files removed for their age */
    unsigned too_large; /* files removed for want of room */
    unsigned cut;       /* files whose oldest lines were, for the same */
};

/* Touches nothing yet. `home` is copied. Given back with interaction_files_free, which is safe to repeat. */
void interaction_files_init(struct interaction_files *files, const char *home);
void interaction_files_free(struct interaction_files *files);

/* Makes the folder, counts what is there, and removes what is too old by the day `today` (since 1970-01-01), or too much. `date` is that of
 * the lines that come: its file makes way last. */
void interaction_files_sweep(struct interaction_files *files, const char date[CLOCK_DATE_SIZE],
                             int64_t today, const struct interaction_limits *limits,
                             struct interaction_result *ret);

/* Appends whole lines, each with its newline, to the file of the day: one write, unless there are more than go into one file. A line
 * that a crash has cut off gets its newline first. Looks through the files when `today`, as above, is another day than the last time. Adds to
 * what is in `ret`. */
void interaction_files_append(struct interaction_files *files, const char date[CLOCK_DATE_SIZE],
                              int64_t today, const char *lines, size_t len,
                              const struct interaction_limits *limits,
                              struct interaction_result *ret);

/* Appends up to `limit` lines of the day, the newest first, with commas between them, to `out`, and counts them. Lines that are no JSON
 * object are left out. `ret_more` when there are older ones: beyond the limit, or beyond max_bytes of output. False with errno when the
 * files cannot be read; that there are none is no error. Of another `home`, it may be called at the same time. */
CHECK_RESULT bool interaction_files_read(const char *home, const char date[CLOCK_DATE_SIZE],
                                         size_t limit, size_t max_bytes, struct buf *out,
                                         size_t *ret_count, bool *ret_more);

#endif
