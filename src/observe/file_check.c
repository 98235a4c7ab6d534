/* What files tell of health, each asked in a job off the loop. */
#include "file_check.h"

#include "clock.h"
#include "disk.h"
#include "memory_use.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

struct age_job {
    struct disk_job super; /* first member: disk hands this pointer back */
    char *path;            /* owned */
    const char *why;
    int64_t age_s;
    file_age_fn done;
    void *ctx; /* borrowed */
};

static const char *name_of(int error)
{
    switch (error) {
    case ENOENT:
    case ENOTDIR:
        return "missing";
    case EACCES:
        return "forbidden";
    default:
        return "unreadable";
    }
}

/* In whole seconds. Some file systems keep any time at all. */
static int64_t age_of(const struct timespec *written)
{
    int64_t age_s = 0;
    int64_t now_ms = clock_wall_ms();
    if (__builtin_sub_overflow(now_ms / 1000, (int64_t)written->tv_sec, &age_s))
        return written->tv_sec < 0 ? INT64_MAX : 0;
    age_s -= now_ms % 1000 < written->tv_nsec / 1000000 && age_s > 0;
    return age_s > 0 ? age_s : 0;
}

static void run_age(struct disk_job *super)
{
    struct age_job *job = (struct age_job *)(void *)super;
    struct stat st;
    if (stat(job->path, &st) == 0)
        job->age_s = age_of(&st.st_mtim);
    else
        job->why = name_of(errno);
}

static void done_age(struct disk_job *super)
{
    struct age_job job = *(struct age_job *)(void *)super;
    free(job.path);
    free(super);
    job.done(job.ctx, job.why, job.age_s);
}

bool file_age_ask(struct disk *disk, const char *path, file_age_fn done, void *ctx)
{
    struct age_job *job = xcalloc(1, sizeof(*job));
    *job = (struct age_job){ .super = { .run = run_age, .done = done_age, .bytes = sizeof(*job) },
                             .path = xstrdup(path),
                             .done = done,
                             .ctx = ctx };
    if (disk_submit(disk, &job->super))
        return true;
    free(job->path);
    free(job);
    return false;
}

struct room_job {
    struct disk_job super; /* first member */
    char *path;            /* owned */
    struct room room;
    room_fn done;
    void *ctx; /* borrowed */
};

static void run_room(struct disk_job *super)
{
    struct room_job *job = (struct room_job *)(void *)super;
    struct statvfs fs;
    struct memory_use memory;
    job->room.disk_known = statvfs(job->path, &fs) == 0;
    /* One on a network may say that it has no bound. */
    if (job->room.disk_known &&
        __builtin_mul_overflow(fs.f_bavail, fs.f_frsize, &job->room.disk_free_bytes))
        job->room.disk_free_bytes = INT64_MAX;
    job->room.memory_known = memory_use_read("", &memory);
    if (job->room.memory_known)
        job->room.memory_percent =
            (int64_t)(100.0 * (double)memory.used_bytes / (double)memory.limit_bytes);
}

static void done_room(struct disk_job *super)
{
    struct room_job job = *(struct room_job *)(void *)super;
    free(job.path);
    free(super);
    job.done(job.ctx, &job.room);
}

bool room_ask(struct disk *disk, const char *path, room_fn done, void *ctx)
{
    struct room_job *job = xcalloc(1, sizeof(*job));
    *job =
        (struct room_job){ .super = { .run = run_room, .done = done_room, .bytes = sizeof(*job) },
                           .path = xstrdup(path),
                           .done = done,
                           .ctx = ctx };
    if (disk_submit(disk, &job->super))
        return true;
    free(job->path);
    free(job);
    return false;
}
