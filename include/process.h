/* One child process with line-oriented output: spawned in a session of its own, written to through a bounded
 * queue, and released as a whole. */
#ifndef PROCESS_H
#define PROCESS_H

#include "mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct uv_loop_s;
struct process;

#define PROCESS_LINE_MAX                                                                           \
    (48 * 1024 * 1024) /* bytes of one line: the largest request comes back as one */
#define PROCESS_WRITE_QUEUE_MAX (64 * 1024 * 1024) /* bytes that wait for the child to read them */

enum process_loss {
    PROCESS_EXITED,       /* the exit was seen first */
    PROCESS_OUTPUT_ENDED, /* its stdout was closed */
    PROCESS_INPUT_FAILED, /* its stdin cannot be written */
    PROCESS_LINE_TOO_LONG /* more than PROCESS_LINE_MAX without a newline */
};

/* The name of a loss, for logs. */
const char *process_loss_name(enum process_loss why);

/* None is called after process_release, nor from within process_spawn. The line callbacks borrow
 * their bytes; they may call process_release. */
struct process_events {
    void (*on_line)(void *ctx, const char *line, size_t len); /* of stdout, without newline */
    void (*on_stderr_line)(void *ctx, const char *line,
                           size_t len); /* what is behind PROCESS_STDERR_LINE_MAX is left out */
    void (*on_lost)(void *ctx, enum process_loss why); /* at most once: it can serve no more */
    void (*on_exit)(void *ctx, int64_t status,
                    int signal); /* at most once, before or after on_lost */
};

#define PROCESS_STDERR_LINE_MAX 4096

struct process_options {
    const char *file;        /* looked up in PATH when it has no slash */
    char *const *argv;       /* NULL-terminated */
    char *const *env;        /* NULL-terminated: the whole environment of the child */
    const char *working_dir; /* NULL: ours */
};

/* Starts the child in a process group of its own. Options are borrowed for the call; `events` must outlive
 * the process. Returns NULL with a uv error code in `ret_error` when it cannot be started. */
CHECK_RESULT struct process *process_spawn(struct uv_loop_s *loop, const struct process_options *o,
                                           const struct process_events *events, void *ctx,
                                           int *ret_error);

int process_pid(const struct process *p);

/* Queues `len` bytes for the child's stdin and takes `bytes`, which came from malloc, in any case. False
 * when the queue is full or the input is closed: nothing was queued. */
CHECK_RESULT bool process_write(struct process *p, char *bytes, size_t len);

/* Bytes that the child has not read yet. */
size_t process_write_queue(const struct process *p);

/* Ends the child's stdin once what is queued is written. Safe to repeat. */
void process_end_input(struct process *p);

/* Signals the child's whole group; nothing happens once it has exited. */
void process_kill(struct process *p, int signal_number);

/* Lets go: no event comes any more, pipes are closed, what still lives of the group is killed, and the memory
 * goes when the child has been reaped. Safe on NULL. */
void process_release(struct process *p);

#endif
