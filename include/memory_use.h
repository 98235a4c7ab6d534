/* How much of the memory that we may use is in use: of our cgroup (v2) and those around it the one that is nearest to its limit, or
 * of the machine when none has one. */
#ifndef MEMORY_USE_H
#define MEMORY_USE_H

#include "mem.h"

#include <stdbool.h>
#include <stdint.h>

struct memory_use {
    int64_t used_bytes; /* without the file cache that can be given back at once */
    int64_t limit_bytes;
    bool of_cgroup; /* else of the machine */
};

/* Reads /proc and /sys/fs/cgroup below `root`, which is "" but in tests. False when neither tells. */
CHECK_RESULT bool memory_use_read(const char *root, struct memory_use *ret);

/* The smallest limit of our cgroup and those around it; false when none has one. Cheaper than the use. */
CHECK_RESULT bool memory_limit_read(const char *root, int64_t *ret_bytes);

#endif
