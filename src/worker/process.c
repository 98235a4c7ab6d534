/* One child process with line-oriented output. */
#include "process.h"

#include "descriptors.h"
#include "lines.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define READ_CHUNK (64 * 1024)

struct process {
    uv_process_t child;
    uv_pipe_t in;
    uv_pipe_t out;
    uv_pipe_t err;
    uv_shutdown_t shutdown;
    int open_handles;                    /* the last one that closes frees the process */
    const struct process_events *events; /* borrowed; NULL once the owner let go */
    void *ctx;                           /* borrowed */
    struct lines out_lines;              /* owned */
    struct buf err_line;                 /* owned */
    bool err_over;                       /* the line was too long: what is left of it is left out */
    bool exited;
    bool lost; /* on_lost was given */
    bool input_ended;
    bool pipes_closed;
    char chunk[READ_CHUNK]; /* what uv reads into; its content does not outlive the read callback */
    char err_chunk[PROCESS_STDERR_LINE_MAX];
};

/* A queued write with its bytes. */
struct write_job {
    uv_write_t req;
    struct process *process; /* borrowed: outlives its writes, which end when the pipe closes */
    char *bytes;             /* owned */
};

const char *process_loss_name(enum process_loss why)
{
    static const char *const names[] = { "exited", "output_ended", "input_failed",
                                         "line_too_long" };
    return names[why];
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct process *p = handle->data;
    if (--p->open_handles != 0)
        return;
    lines_free(&p->out_lines);
    buf_free(&p->err_line);
    free(p);
}

static void close_pipes(struct process *p)
{
    if (p->pipes_closed)
        return;
    p->pipes_closed = true;
    uv_close((uv_handle_t *)&p->in, on_handle_closed);
    uv_close((uv_handle_t *)&p->out, on_handle_closed);
    uv_close((uv_handle_t *)&p->err, on_handle_closed);
}

/* The child is reaped and nobody owns the process any more: only then may its handle go, for a closed
 * handle would leave a zombie. */
static void close_child_if_over(struct process *p)
{
    if (p->events == NULL && p->exited && !uv_is_closing((uv_handle_t *)&p->child))
        uv_close((uv_handle_t *)&p->child, on_handle_closed);
}

static void lose(struct process *p, enum process_loss why)
{
    if (p->lost || p->events == NULL)
        return;
    p->lost = true;
    p->events->on_lost(p->ctx, why);
}

static void on_child_exit(uv_process_t *child, int64_t status, int signal_number)
{
    struct process *p = child->data;
    p->exited = true;
    /* Others of its group may live on and hold our pipes open. The group keeps its id while it has members, so
     * right after the reaping this cannot hit a stranger. */
    (void)uv_kill(-child->pid, SIGKILL);
    if (p->events != NULL)
        p->events->on_exit(p->ctx, status, signal_number);
    lose(p, PROCESS_EXITED);
    close_child_if_over(p);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct process *p = handle->data;
    *buf = handle == (uv_handle_t *)&p->err ? uv_buf_init(p->err_chunk, sizeof(p->err_chunk))
                                            : uv_buf_init(p->chunk, sizeof(p->chunk));
}

/* After a release in mid-read the rest of the read is dropped. */
static bool hand_out_line(void *ctx, const char *line, size_t len)
{
    struct process *p = ctx;
    p->events->on_line(p->ctx, line, len);
    return p->events != NULL;
}

static void on_out(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct process *p = stream->data;
    if (p->events == NULL || n == 0)
        return;
    if (n < 0) {
        uv_read_stop(stream);
        lose(p, PROCESS_OUTPUT_ENDED);
        return;
    }
    switch (lines_feed(&p->out_lines, buf->base, (size_t)n, hand_out_line, p)) {
    case LINES_TOO_LONG:
        uv_read_stop(stream);
        lose(p, PROCESS_LINE_TOO_LONG);
        break;
    case LINES_OK:
    case LINES_STOPPED:
        break;
    }
}

static void hand_out_stderr_line(struct process *p)
{
    struct buf line = p->err_line;
    p->err_line = (struct buf)BUF_INIT;
    p->events->on_stderr_line(p->ctx, line.data, line.len);
    buf_free(&line);
}

/* The next of a line. What is too long is left out: the half of a secret that would begin a piece of its own would not be known. */
static void take_err(struct process *p, const char *at, size_t len)
{
    size_t room = PROCESS_STDERR_LINE_MAX - p->err_line.len;
    if (p->err_over)
        return;
    buf_append(&p->err_line, at, len < room ? len : room);
    p->err_over = len > room;
    if (p->err_over)
        hand_out_stderr_line(p);
}

/* stderr is read for ever, whatever comes: a full pipe would block the child. */
static void on_err(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct process *p = stream->data;
    if (n < 0)
        uv_read_stop(stream);
    const char *at = buf->base;
    const char *end = n > 0 ? at + n : at;
    while (at < end && p->events != NULL) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t piece = (size_t)((newline != NULL ? newline : end) - at);
        take_err(p, at, piece);
        at += piece + (newline != NULL);
        if (newline == NULL || p->events == NULL)
            continue;
        if (!p->err_over)
            hand_out_stderr_line(p);
        p->err_over = false;
    }
}

static void on_written(uv_write_t *req, int status)
{
    struct write_job *job = req->data;
    struct process *p = job->process;
    free(job->bytes);
    free(job);
    if (status < 0 && status != UV_ECANCELED)
        lose(p, PROCESS_INPUT_FAILED);
}

bool process_write(struct process *p, char *bytes, size_t len)
{
    if (p->input_ended || p->lost || process_write_queue(p) + len > PROCESS_WRITE_QUEUE_MAX) {
        free(bytes);
        return false;
    }
    struct write_job *job = xmalloc(sizeof(*job));
    job->process = p;
    job->bytes = bytes;
    job->req.data = job;
    uv_buf_t buf = uv_buf_init(bytes, (unsigned)len);
    if (uv_write(&job->req, (uv_stream_t *)&p->in, &buf, 1, on_written) == 0)
        return true;
    free(bytes);
    free(job);
    return false;
}

size_t process_write_queue(const struct process *p)
{
    return uv_stream_get_write_queue_size((const uv_stream_t *)&p->in);
}

void process_end_input(struct process *p)
{
    if (p->input_ended || p->pipes_closed)
        return;
    p->input_ended = true;
    (void)uv_shutdown(&p->shutdown, (uv_stream_t *)&p->in, NULL);
}

void process_kill(struct process *p, int signal_number)
{
    if (!p->exited)
        (void)uv_kill(-p->child.pid, signal_number);
}

int process_pid(const struct process *p)
{
    return p->child.pid;
}

void process_release(struct process *p)
{
    if (p == NULL || p->events == NULL)
        return;
    p->events = NULL;
    process_kill(p, SIGKILL);
    close_pipes(p);
    close_child_if_over(p);
}

static void init_handles(uv_loop_t *loop, struct process *p)
{
    uv_pipe_init(loop, &p->in, 0);
    uv_pipe_init(loop, &p->out, 0);
    uv_pipe_init(loop, &p->err, 0);
    p->child.data = p->in.data = p->out.data = p->err.data = p;
    p->open_handles = 4;
}

struct process *process_spawn(uv_loop_t *loop, const struct process_options *o,
                              const struct process_events *events, void *ctx, int *ret_error)
{
    struct process *p = xmalloc(sizeof(*p));
    memset(p, 0, offsetof(struct process, chunk));
    p->events = events;
    p->ctx = ctx;
    lines_init(&p->out_lines, PROCESS_LINE_MAX);
    init_handles(loop, p);
    uv_stdio_container_t stdio[3] = {
        { .flags = UV_CREATE_PIPE | UV_READABLE_PIPE, .data.stream = (uv_stream_t *)&p->in },
        { .flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&p->out },
        { .flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&p->err },
    };
    uv_process_options_t options = {
        .file = o->file,
        .args = (char **)(uintptr_t)o->argv,
        .env = (char **)(uintptr_t)o->env,
        .cwd = o->working_dir,
        .flags = UV_PROCESS_DETACHED,
        .stdio = stdio,
        .stdio_count = 3,
        .exit_cb = on_child_exit,
    };
    int rc = uv_spawn(loop, &p->child, &options);
    if (rc != 0) {
        /* uv has initialised the process handle and the pipes even so: all four must be closed. */
        *ret_error = rc;
        p->events = NULL;
        p->exited = true;
        close_pipes(p);
        close_child_if_over(p);
        return NULL;
    }
    descriptors_restore_limit(p->child.pid);
    uv_read_start((uv_stream_t *)&p->out, on_alloc, on_out);
    uv_read_start((uv_stream_t *)&p->err, on_alloc, on_err);
    return p;
}
