/* Takes the oldest lines off a file of the request log, whose newest are to stay. Not for others than its modules: interaction_files.h. */
#ifndef INTERACTION_CUT_H
#define INTERACTION_CUT_H

#include "interaction_names.h"
#include "mem.h"

#include <stdbool.h>
#include <stdint.h>

/* Leaves the last whole lines that `keep` bytes hold; a file without any is removed. Who looks sees the old file or the new one, which is
 * written beside it. False with errno, and the old one is untouched: the disk may have no room for both. */
CHECK_RESULT bool interaction_cut(const char *folder, const struct interaction_name *name,
                                  int64_t keep, int64_t *ret_bytes);

/* Removes what a crash has left half written. */
void interaction_cut_remove_leftover(const char *folder);

#endif
