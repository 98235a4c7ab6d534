/* Work on files, off the loop: jobs run one after another, in the order in which they came, in a thread of libuv's pool. What
 * waits is bounded; a slow disk costs jobs, never time of the loop. */
#ifndef DISK_H
#define DISK_H

#include "mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#define DISK_JOBS_MAX 4096
#define DISK_BYTES_MAX (16 * 1024 * 1024) /* that the jobs hold, as they say */
#define DISK_FAILURE_MS                                                                            \
    (10 * 60 * 1000) /* for so long a failed write is told of, if none follows */

struct disk;
struct uv_loop_s;

/* First member of whatever is to be done. */
struct disk_job {
    void (*run)(struct disk_job *job); /* in the thread: files only, and its own memory */
    void (*done)(
        struct disk_job *job);   /* in the loop, after run; frees the job; may submit others */
    size_t bytes;                /* of memory that it holds */
    STAILQ_ENTRY(disk_job) link; /* disk's */
};

/* The caller owns the result. */
struct disk *disk_new(struct uv_loop_s *loop);

/* Takes the job. False when too much waits already, or after disk_stop: the job is the caller's still. */
CHECK_RESULT bool disk_submit(struct disk *disk, struct disk_job *job);

/* For how long the thread has been at the jobs that it has now, in milliseconds: 0 when it rests. */
uint64_t disk_busy_ms(const struct disk *disk);

/* Takes no more, and calls `on_idle` once when the last job is done; also from within. */
void disk_stop(struct disk *disk, void (*on_idle)(void *ctx), void *ctx);

/* When it is idle. Safe on NULL. */
void disk_free(struct disk *disk);

#endif
