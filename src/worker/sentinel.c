/* The sentinel: sees to it that no worker outlives us. */
#include "sentinel.h"

#include "deadline.h"
#include "log.h"
#include "mem.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
#include <uv.h>

#define GRACE_MS 1000 /* for workers to end by themselves, as their input has ended too */
#define LOOK_EVERY_MS 20
#define RESTART_MS 1000 /* before a sentinel that has ended is replaced */
#define ORDER_SIZE 16   /* "+4194304\n" */

/* ---- on our side ---- */

struct sentinel_run {
    uv_process_t process;
    uv_pipe_t pipe;         /* its stdin */
    int open_handles;       /* the last one that closes frees the run */
    struct sentinel *owner; /* linked; NULL once let go */
};

struct sentinel {
    uv_loop_t *loop;             /* borrowed */
    struct deadlines *deadlines; /* borrowed */
    struct deadline restart;
    struct sentinel_run *run; /* owned: frees itself in its close callbacks; NULL while none runs */
    int groups[SENTINEL_GROUPS_MAX]; /* 0: free */
};

struct order {
    uv_write_t req;
    char text[ORDER_SIZE];
};

static void start(struct sentinel *s);

static void on_restart(struct deadline *d)
{
    start(deadline_owner(d, struct sentinel, restart));
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct sentinel_run *run = handle->data;
    if (--run->open_handles == 0)
        free(run);
}

/* Its exit is waited for in any case: a process that nobody reaps stays as a zombie. */
static void on_exit_seen(uv_process_t *process, int64_t status, int signal_number)
{
    struct sentinel_run *run = process->data;
    uv_close((uv_handle_t *)process, on_handle_closed);
    if (run->owner == NULL)
        return;
    struct sentinel *s = run->owner;
    log_warn("worker", "sentinel_exited", LOG_INT("exit_code", status),
             LOG_INT("signal", signal_number));
    run->owner = NULL;
    s->run = NULL;
    uv_close((uv_handle_t *)&run->pipe, on_handle_closed);
    deadline_set(s->deadlines, &s->restart, RESTART_MS, on_restart);
}

static void on_written(uv_write_t *req, int status)
{
    (void)status; /* a failure is its end, which is seen by itself */
    free(req->data);
}

static void tell(struct sentinel *s, char sign, int pid)
{
    if (s->run == NULL || pid <= 0)
        return;
    struct order *order = xcalloc(1, sizeof(*order));
    order->req.data = order;
    int len = snprintf(order->text, sizeof(order->text), "%c%d\n", sign, pid);
    uv_buf_t buf = uv_buf_init(order->text, (unsigned)len);
    if (uv_write(&order->req, (uv_stream_t *)&s->run->pipe, &buf, 1, on_written) != 0)
        free(order);
}

static void start(struct sentinel *s)
{
    struct sentinel_run *run = xcalloc(1, sizeof(*run));
    char *argv[] = { SENTINEL_NAME, NULL };
    char *env[] = { NULL };
    uv_pipe_init(s->loop, &run->pipe, 0);
    run->process.data = run->pipe.data = run;
    run->open_handles = 2;
    uv_stdio_container_t stdio[3] = {
        { .flags = UV_CREATE_PIPE | UV_READABLE_PIPE, .data.stream = (uv_stream_t *)&run->pipe },
        { .flags = UV_IGNORE },
        { .flags = UV_IGNORE },
    };
    uv_process_options_t options = {
        .file = "/proc/self/exe",
        .args = argv,
        .env = env,
        .flags = UV_PROCESS_DETACHED, /* what is sent to our group is not meant for it */
        .stdio = stdio,
        .stdio_count = 3,
        .exit_cb = on_exit_seen,
    };
    int rc = uv_spawn(s->loop, &run->process, &options);
    if (rc != 0) {
        log_warn("worker", "sentinel_not_started", LOG_INT("error", rc));
        uv_close((uv_handle_t *)&run->process, on_handle_closed);
        uv_close((uv_handle_t *)&run->pipe, on_handle_closed);
        deadline_set(s->deadlines, &s->restart, RESTART_MS, on_restart);
        return;
    }
    run->owner = s;
    s->run = run;
    for (size_t i = 0; i < SENTINEL_GROUPS_MAX; i++)
        tell(s, '+', s->groups[i]);
}

struct sentinel *sentinel_new(uv_loop_t *loop, struct deadlines *deadlines)
{
    struct sentinel *s = xcalloc(1, sizeof(*s));
    s->loop = loop;
    s->deadlines = deadlines;
    start(s);
    return s;
}

void sentinel_free(struct sentinel *s)
{
    if (s == NULL)
        return;
    deadline_clear(s->deadlines, &s->restart);
    if (s->run != NULL) {
        s->run->owner = NULL;
        uv_close((uv_handle_t *)&s->run->pipe, on_handle_closed);
    }
    free(s);
}

static void replace(struct sentinel *s, int from, int to)
{
    for (size_t i = 0; i < SENTINEL_GROUPS_MAX; i++) {
        if (s->groups[i] == from) {
            s->groups[i] = to;
            return;
        }
    }
}

void sentinel_guard(struct sentinel *s, int pid)
{
    if (s == NULL)
        return;
    replace(s, 0, pid);
    tell(s, '+', pid);
}

void sentinel_release(struct sentinel *s, int pid)
{
    if (s == NULL)
        return;
    replace(s, pid, 0);
    tell(s, '-', pid);
}

/* ---- the process ---- */

struct guarded {
    int groups[SENTINEL_GROUPS_MAX]; /* 0: free */
};

static void obey(struct guarded *g, const char *order)
{
    int pid = (int)strtol(order + 1, NULL, 10);
    int from = order[0] == '+' ? 0 : pid;
    int to = order[0] == '+' ? pid : 0;
    if (pid <= 1) /* 0 and 1 would mean others altogether */
        return;
    for (size_t i = 0; i < SENTINEL_GROUPS_MAX; i++) {
        if (g->groups[i] == from) {
            g->groups[i] = to;
            return;
        }
    }
}

/* Reads orders until our end, which is the end of the pipe. */
static void listen_for_orders(struct guarded *g)
{
    char line[ORDER_SIZE];
    size_t len = 0;
    for (;;) {
        char c = '\0';
        ssize_t n = read(STDIN_FILENO, &c, 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        if (c != '\n' && len < sizeof(line) - 1) {
            line[len++] = c;
            continue;
        }
        line[len] = '\0';
        obey(g, line);
        len = 0;
    }
}

static bool any_lives(const struct guarded *g)
{
    for (size_t i = 0; i < SENTINEL_GROUPS_MAX; i++)
        if (g->groups[i] != 0 && kill(-g->groups[i], 0) == 0)
            return true;
    return false;
}

int sentinel_main(void)
{
    static const int ignored[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGPIPE };
    struct guarded g = { .groups = { 0 } };
    for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
        signal(ignored[i], SIG_IGN); /* it ends when we have, not before */
    prctl(PR_SET_NAME, SENTINEL_NAME);
    listen_for_orders(&g);
    for (int waited_ms = 0; waited_ms < GRACE_MS && any_lives(&g); waited_ms += LOOK_EVERY_MS)
        poll(NULL, 0, LOOK_EVERY_MS);
    for (size_t i = 0; i < SENTINEL_GROUPS_MAX; i++)
        if (g.groups[i] != 0)
            kill(-g.groups[i], SIGKILL);
    return 0;
}
