/* One trace file: written so that a reader sees all of it or nothing, read back and checked. May be used in any thread. */
#ifndef TRACE_FILE_H
#define TRACE_FILE_H

#include "buf.h"
#include "mem.h"
#include "trace_name.h"

#include <stdbool.h>

#define TRACE_FILE_BYTES_MAX (1024 * 1024) /* of a trace, as JSON */

struct trace_seal_key;

/* Writes the text as the file `name` of the folder, which is made if it is gone; sealed with `key` if the name says so. False with
 * errno. It is not synced: after a power failure the last traces may be missing or cut off, and no request has waited for the disk. */
CHECK_RESULT bool trace_file_write(const char *folder, const struct trace_name *name,
                                   const struct trace_seal_key *key, const char *text, size_t len);

enum trace_read {
    TRACE_READ_OK,
    TRACE_READ_NONE,      /* no such file */
    TRACE_READ_FAILED,    /* errno says why */
    TRACE_READ_NO_KEY,    /* it is encrypted, and `key` is NULL */
    TRACE_READ_OTHER_KEY, /* with another one */
    TRACE_READ_DAMAGED    /* no JSON object, or not what was written */
};

/* Appends the JSON text to `ret`, whose content is undefined unless all is well. `key` may be NULL. */
CHECK_RESULT enum trace_read trace_file_read(const char *folder, const struct trace_name *name,
                                             const struct trace_seal_key *key, struct buf *ret);

/* What is wrong, in words that follow the name of a trace. */
const char *trace_read_words(enum trace_read result);

#endif
