/* What the kernel says of processes while a run lasts: memory, descriptors, CPU time. */
#ifndef PROCWATCH_H
#define PROCWATCH_H

#include "deadline.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct proc_sample {
    uint64_t rss_bytes;
    uint64_t fds;
    double cpu_s; /* user and system */
};

struct proc {
    int pid;
    bool is_gone; /* what follows is what was last seen */
    struct proc_sample first;
    struct proc_sample last;
    struct proc_sample peak; /* of each */
};

struct procwatch;

/* Takes the first sample. The caller owns the result; `deadlines` is borrowed. */
struct procwatch *procwatch_start(const int *pids, size_t count, struct deadlines *deadlines);

/* Takes the last sample. Safe on NULL and to repeat. */
void procwatch_stop(struct procwatch *w);

/* Safe on NULL. */
void procwatch_free(struct procwatch *w);

size_t procwatch_count(const struct procwatch *w);
const struct proc *procwatch_proc(const struct procwatch *w, size_t i);

#endif
