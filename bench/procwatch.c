/* What the kernel says of processes while a run lasts. */
#include "procwatch.h"

#include "mem.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SAMPLE_MS 200

struct procwatch {
    struct deadlines *deadlines; /* borrowed */
    struct deadline next;
    bool is_stopped;
    size_t count;
    struct proc procs[];
};

static bool count_fds(int pid, uint64_t *ret_count)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/fd", pid);
    DIR *folder = opendir(path);
    if (folder == NULL)
        return false;
    *ret_count = 0;
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;)
        *ret_count += entry->d_name[0] != '.';
    closedir(folder);
    return true;
}

/* The fields after the name, which may hold anything, also parentheses. The third of the line is the first here. */
static bool read_stat(int pid, struct proc_sample *ret_sample)
{
    char path[64];
    char line[1024];
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    size_t len = fread(line, 1, sizeof(line) - 1, file);
    fclose(file);
    line[len] = '\0';
    char *rest = strrchr(line, ')');
    double ticks = 0;
    char *field = rest != NULL ? strtok_r(rest + 1, " ", &rest) : NULL;
    if (field == NULL || *field == 'Z' || *field == 'X')
        return false;
    for (int number = 3; field != NULL; field = strtok_r(NULL, " ", &rest), number++) {
        if (number == 14 || number == 15)
            ticks += (double)strtoull(field, NULL, 10);
        if (number == 24)
            ret_sample->rss_bytes = strtoull(field, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
    }
    ret_sample->cpu_s = ticks / (double)sysconf(_SC_CLK_TCK);
    return true;
}

static void sample(struct proc *p)
{
    struct proc_sample now = { 0 };
    if (p->is_gone || !read_stat(p->pid, &now) || !count_fds(p->pid, &now.fds)) {
        p->is_gone = true;
        return;
    }
    p->last = now;
    if (now.rss_bytes > p->peak.rss_bytes)
        p->peak.rss_bytes = now.rss_bytes;
    if (now.fds > p->peak.fds)
        p->peak.fds = now.fds;
    p->peak.cpu_s = now.cpu_s;
}

static void on_next(struct deadline *d)
{
    struct procwatch *w = deadline_owner(d, struct procwatch, next);
    for (size_t i = 0; i < w->count; i++)
        sample(&w->procs[i]);
    deadline_set(w->deadlines, d, SAMPLE_MS, on_next);
}

struct procwatch *procwatch_start(const int *pids, size_t count, struct deadlines *deadlines)
{
    struct procwatch *w = xcalloc(1, sizeof(*w) + count * sizeof(w->procs[0]));
    w->deadlines = deadlines;
    w->count = count;
    for (size_t i = 0; i < count; i++) {
        w->procs[i].pid = pids[i];
        sample(&w->procs[i]);
        w->procs[i].first = w->procs[i].last;
    }
    if (count != 0)
        deadline_set(deadlines, &w->next, SAMPLE_MS, on_next);
    return w;
}

void procwatch_stop(struct procwatch *w)
{
    if (w == NULL || w->is_stopped)
        return;
    w->is_stopped = true;
    deadline_clear(w->deadlines, &w->next);
    for (size_t i = 0; i < w->count; i++)
        sample(&w->procs[i]);
}

void procwatch_free(struct procwatch *w)
{
    free(w);
}

size_t procwatch_count(const struct procwatch *w)
{
    return w->count;
}

const struct proc *procwatch_proc(const struct procwatch *w, size_t i)
{
    return &w->procs[i];
}
