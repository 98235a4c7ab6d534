/* Small files: read whole, replace whole. */
#ifndef FILE_H
#define FILE_H

#include "buf.h"
#include "mem.h"

#include <stdbool.h>

bool file_exists(const char *path);

/* Appends the file's content to `out`. False (errno says why) when it cannot be read or is larger than
 * max_bytes (EFBIG). */
CHECK_RESULT bool file_read(const char *path, struct buf *out, size_t max_bytes);

/* Writes the file anew, mode 0600, so that a reader sees all of it or the old one: a temporary file beside it,
 * fsync, rename, fsync of the folder. What root writes is given to the owner of the folder. False with errno when any step fails; the old file is then untouched. */
CHECK_RESULT bool file_replace(const char *path, const char *bytes, size_t len);

/* The same without fsync, for what may be lost, or be there cut off, after a power failure: it takes no time of the disk. */
CHECK_RESULT bool file_replace_unsynced(const char *path, const char *bytes, size_t len);

/* Like file_replace, but for a file that is not there: of two who make it at once, one is told EEXIST. */
CHECK_RESULT bool file_make(const char *path, const char *bytes, size_t len);

/* Makes the folder, mode 0700, unless it is there. */
CHECK_RESULT bool file_make_folder(const char *path);

#endif
