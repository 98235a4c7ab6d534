/* Waits until the disk's thread is through with what it has. */
#ifndef SETTLE_H
#define SETTLE_H

#include "disk.h"
#include "loop.h"

struct settle_marker {
    struct disk_job super;
    bool done;
};

static inline void settle_on_run(struct disk_job *job)
{
    (void)job;
}

static inline void settle_on_done(struct disk_job *job)
{
    ((struct settle_marker *)(void *)job)->done = true;
}

/* Jobs are done in order: what was submitted before the marker is done with it. */
static inline void settle_disk(struct loop *loop, struct disk *disk)
{
    struct settle_marker marker = { .super = { .run = settle_on_run, .done = settle_on_done } };
    assert_true(disk_submit(disk, &marker.super));
    loop_until_true(loop, &marker.done);
}

#endif
