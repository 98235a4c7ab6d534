/* Resources of our process and of the worker's, from /proc and the cgroup. */
#include "metrics.h"

#include "file.h"
#include "memory_use.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define PROC_FILE_MAX 8192

/* Fields of /proc/<pid>/stat, counted from the one after the state, which follows the name. */
enum {
    STAT_USER_TICKS = 10,
    STAT_SYSTEM_TICKS = 11,
    STAT_STARTED_TICKS = 18, /* since boot */
    STAT_RESIDENT_PAGES = 20,
    STAT_FIELDS
};

struct stat_line {
    long long fields[STAT_FIELDS];
};

static bool parse_stat(const char *at, struct stat_line *ret)
{
    for (size_t i = 0; i < STAT_FIELDS; i++) {
        char *end = NULL;
        ret->fields[i] = strtoll(at, &end, 10);
        if (end == at)
            return false;
        at = end;
    }
    return true;
}

/* The name is in brackets and may hold anything, brackets too. */
static bool read_stat(const char *path, struct stat_line *ret)
{
    struct buf text = BUF_INIT;
    bool ok = file_read(path, &text, PROC_FILE_MAX);
    const char *at = ok ? strrchr(buf_str(&text), ')') : NULL;
    ok = at != NULL && strlen(at) > 3 && parse_stat(at + 3, ret);
    buf_free(&text);
    return ok;
}

static double seconds_of(long long ticks)
{
    return (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

static double cpu_seconds(const struct stat_line *stat)
{
    return seconds_of(stat->fields[STAT_USER_TICKS] + stat->fields[STAT_SYSTEM_TICKS]);
}

static double bytes_of(long long pages)
{
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

/* A new kernel (6.2) tells with one call; there may be thousands. */
static size_t count_descriptors(void)
{
    size_t count = 0;
    struct stat status;
    if (stat("/proc/self/fd", &status) == 0 && status.st_size > 0)
        return (size_t)status.st_size;
    DIR *folder = opendir("/proc/self/fd");
    while (folder != NULL && readdir(folder) != NULL)
        count++;
    if (folder != NULL)
        closedir(folder);
    return count > 3 ? count - 3 : 0; /* `.`, `..` and the folder's own */
}

/* Unix time of the boot, from the line `btime N`. */
static double boot_time(void)
{
    struct buf text = BUF_INIT;
    double boot = 0;
    if (file_read("/proc/stat", &text, 1024 * 1024)) {
        const char *at = strstr(buf_str(&text), "\nbtime ");
        boot = at != NULL ? strtod(at + 7, NULL) : 0;
    }
    buf_free(&text);
    return boot;
}

/* When we were started. It never changes, and to read it costs the kernel a sum over all processors. */
static double start_time(long long started_ticks)
{
    static double start;
    if (start == 0)
        start = boot_time() + seconds_of(started_ticks);
    return start;
}

static void collect_worker(int pid)
{
    struct stat_line stat;
    char path[32];
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    metric_clear(M_WORKER_MEMORY);
    metric_clear(M_WORKER_CPU);
    if (pid == 0 || !read_stat(path, &stat))
        return;
    metric_set(M_WORKER_MEMORY, bytes_of(stat.fields[STAT_RESIDENT_PAGES]));
    metric_set(M_WORKER_CPU, cpu_seconds(&stat));
}

void metrics_collect_process(int worker_pid)
{
    struct stat_line stat;
    struct rlimit descriptors;
    int64_t limit_bytes = 0;
    if (read_stat("/proc/self/stat", &stat)) {
        metric_set(M_PROCESS_CPU, cpu_seconds(&stat));
        metric_set(M_PROCESS_MEMORY, bytes_of(stat.fields[STAT_RESIDENT_PAGES]));
        metric_set(M_PROCESS_START, start_time(stat.fields[STAT_STARTED_TICKS]));
    }
    metric_set(M_PROCESS_FDS, (double)count_descriptors());
    if (getrlimit(RLIMIT_NOFILE, &descriptors) == 0)
        metric_set(M_PROCESS_FDS_MAX, (double)descriptors.rlim_cur);
    if (memory_limit_read("", &limit_bytes))
        metric_set(M_PROCESS_MEMORY_LIMIT, (double)limit_bytes);
    collect_worker(worker_pid);
}
