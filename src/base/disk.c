/* Work on files, off the loop. */
#include "disk.h"

#include "clock.h"

#include <assert.h>
#include <stdlib.h>
#include <uv.h>

STAILQ_HEAD(disk_jobs, disk_job);

struct disk {
    uv_loop_t *loop; /* borrowed */
    uv_work_t work;
    struct disk_jobs waiting;   /* owned */
    struct disk_jobs under_way; /* owned; the thread's while `since_ms` is not 0 */
    size_t jobs;                /* in both */
    size_t bytes;
    uint64_t since_ms; /* the thread has been at it; 0: it rests */
    bool stopping;
    void (*on_idle)(void *ctx); /* NULL: told already, or nobody asks */
    void *on_idle_ctx;          /* borrowed */
};

struct disk *disk_new(uv_loop_t *loop)
{
    struct disk *disk = xcalloc(1, sizeof(*disk));
    disk->loop = loop;
    disk->work.data = disk;
    STAILQ_INIT(&disk->waiting);
    STAILQ_INIT(&disk->under_way);
    return disk;
}

static void on_work(uv_work_t *work)
{
    struct disk *disk = work->data;
    struct disk_job *job = NULL;
    STAILQ_FOREACH(job, &disk->under_way, link)
    {
        job->run(job);
    }
}

static void after_work(uv_work_t *work, int status);

/* All that waits is done in one go: a thread wakes up once for many small jobs. */
static void begin(struct disk *disk)
{
    STAILQ_CONCAT(&disk->under_way, &disk->waiting);
    disk->since_ms = clock_mono_ms();
    int rc = uv_queue_work(disk->loop, &disk->work, on_work, after_work);
    assert(rc == 0); /* it fails without a work function alone */
}

static void tell_idle(struct disk *disk)
{
    void (*on_idle)(void *ctx) = disk->on_idle;
    disk->on_idle = NULL;
    if (on_idle != NULL)
        on_idle(disk->on_idle_ctx); /* may free disk */
}

static void after_work(uv_work_t *work, int status)
{
    struct disk *disk = work->data;
    assert(status == 0); /* nobody cancels */
    struct disk_job *job = NULL;
    while ((job = STAILQ_FIRST(&disk->under_way)) != NULL) {
        STAILQ_REMOVE_HEAD(&disk->under_way, link);
        disk->jobs--;
        disk->bytes -= job->bytes;
        job->done(job);
    }
    disk->since_ms = 0;
    if (!STAILQ_EMPTY(&disk->waiting))
        begin(disk);
    else if (disk->stopping)
        tell_idle(disk);
}

bool disk_submit(struct disk *disk, struct disk_job *job)
{
    if (disk->stopping || disk->jobs == DISK_JOBS_MAX || job->bytes > DISK_BYTES_MAX - disk->bytes)
        return false;
    STAILQ_INSERT_TAIL(&disk->waiting, job, link);
    disk->jobs++;
    disk->bytes += job->bytes;
    if (disk->since_ms == 0)
        begin(disk);
    return true;
}

uint64_t disk_busy_ms(const struct disk *disk)
{
    return disk->since_ms != 0 ? clock_mono_ms() - disk->since_ms : 0;
}

void disk_stop(struct disk *disk, void (*on_idle)(void *ctx), void *ctx)
{
    disk->stopping = true;
    disk->on_idle = on_idle;
    disk->on_idle_ctx = ctx;
    if (disk->since_ms == 0)
        tell_idle(disk);
}

void disk_free(struct disk *disk)
{
    assert(disk == NULL || disk->since_ms == 0);
    free(disk);
}
