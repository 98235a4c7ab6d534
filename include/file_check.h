/* What files tell of health, each asked in a job off the loop: the age of a file, and the room and the memory that are left. */
#ifndef FILE_CHECK_H
#define FILE_CHECK_H

#include "mem.h"

#include <stdbool.h>
#include <stdint.h>

struct disk;

/* `why` is static, NULL when it could be told. */
typedef void (*file_age_fn)(void *ctx, const char *why, int64_t age_s);

/* How long ago the file at `path` (copied) was written, in whole seconds; 0 for one of the future. `done` is called once, unless this
 * returns false: too much waits. */
CHECK_RESULT bool file_age_ask(struct disk *disk, const char *path, file_age_fn done, void *ctx);

struct room {
    bool disk_known;
    int64_t disk_free_bytes; /* for one who is not root */
    bool memory_known;
    int64_t memory_percent; /* as memory_use.h has it */
};

typedef void (*room_fn)(void *ctx, const struct room *room);

/* What is left in the file system of `path` (copied), and of the memory; else as above. */
CHECK_RESULT bool room_ask(struct disk *disk, const char *path, room_fn done, void *ctx);

#endif
