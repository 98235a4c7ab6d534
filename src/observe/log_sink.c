/* Where log lines go: a bounded ring and a thread that writes it out. */
#include "log_sink.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define REPORT_MAX 256 /* bytes of the line about dropped ones */
#define GATHER_MS 5    /* between two writes: each costs as much as many lines */

/* All but fd, ring and cap is guarded by the mutex. The bytes from tail to head belong to the writer: it reads them without
 * holding the mutex, and nobody writes there before it has moved the tail. */
struct log_sink {
    int fd; /* borrowed */
    log_sink_report_fn report;
    char *ring; /* owned */
    size_t cap;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake; /* for the writer: there is something, or it is over */
    pthread_cond_t done; /* for log_sink_close: the writer has ended */
    uint64_t head;       /* counts bytes for ever; the place in the ring is modulo cap */
    uint64_t tail;
    uint64_t dropped;           /* lines, in all */
    uint64_t unreported;        /* of these, those that no line has told of */
    bool idle;                  /* the writer waits for the first line */
    bool gathers;               /* it waits for as many as one write takes, or for `next_write` */
    struct timespec next_write; /* the writer's */
    bool closing;
    bool abandoned; /* nobody waits any more: the writer frees the sink */
    bool finished;
};

static size_t used(const struct log_sink *s)
{
    return (size_t)(s->head - s->tail);
}

/* ---- into the ring ---- */

static void copy_in(struct log_sink *s, const char *bytes, size_t len)
{
    size_t at = (size_t)(s->head % s->cap);
    size_t first = len < s->cap - at ? len : s->cap - at;
    memcpy(s->ring + at, bytes, first);
    memcpy(s->ring, bytes + first, len - first);
    s->head += len;
    if (s->idle || (s->gathers && used(s) >= PIPE_BUF)) {
        s->idle = s->gathers = false;
        pthread_cond_signal(&s->wake);
    }
}

static bool fits(const struct log_sink *s, size_t len)
{
    return len <= s->cap - used(s);
}

static void drop(struct log_sink *s, uint64_t lines)
{
    s->dropped += lines;
    s->unreported += lines;
}

/* Tells of the gap, in its place between the lines. Not before the ring is half empty: a reader that is a little too slow would
 * else get a gap of one line after each line. */
static void report_gap(struct log_sink *s)
{
    char line[REPORT_MAX];
    if (s->unreported == 0 || used(s) > s->cap / 2)
        return;
    size_t len = s->report(line, sizeof(line), s->unreported, s->dropped);
    if (!fits(s, len))
        return;
    copy_in(s, line, len);
    s->unreported = 0;
}

void log_sink_put(struct log_sink *s, const char *line, size_t len)
{
    pthread_mutex_lock(&s->mutex);
    report_gap(s);
    if (s->unreported == 0 && fits(s, len))
        copy_in(s, line, len);
    else
        drop(s, 1);
    pthread_mutex_unlock(&s->mutex);
}

/* ---- out of it: the thread ---- */

static const char *at(const struct log_sink *s, uint64_t position)
{
    return s->ring + position % s->cap;
}

/* Whole lines, as many as a pipe takes in one piece, and at least one: so lines of ours are never mixed up with those of others who
 * write to the same pipe or append to the same file. */
static size_t next_piece(const struct log_sink *s)
{
    size_t all = used(s);
    size_t len = all < PIPE_BUF ? all : PIPE_BUF;
    while (len != 0 && *at(s, s->tail + len - 1) != '\n')
        len--;
    if (len != 0)
        return len;
    while (len < all && *at(s, s->tail + len) != '\n')
        len++;
    return len + 1; /* only whole lines are ever put in */
}

static uint64_t lines_in(const struct log_sink *s, uint64_t from, uint64_t to)
{
    uint64_t lines = 0;
    for (; from < to; from++)
        lines += *at(s, from) == '\n';
    return lines;
}

/* Somebody who shares the open file may have made it non-blocking. */
static bool wait_for_room(int fd)
{
    struct pollfd pfd = { .fd = fd, .events = POLLOUT };
    return poll(&pfd, 1, -1) > 0 && (pfd.revents & POLLOUT) != 0;
}

/* Returns how much of the piece was written: less than all of it only when the descriptor fails. */
static size_t write_piece(const struct log_sink *s, uint64_t from, size_t len)
{
    size_t written = 0;
    while (written < len) {
        size_t left = len - written;
        size_t place = (size_t)((from + written) % s->cap);
        size_t first = left < s->cap - place ? left : s->cap - place;
        const struct iovec pieces[] = { { s->ring + place, first }, { s->ring, left - first } };
        ssize_t n = writev(s->fd, pieces, first < left ? 2 : 1);
        if (n > 0)
            written += (size_t)n;
        else if (n == 0 || (errno != EINTR &&
                            !((errno == EAGAIN || errno == EWOULDBLOCK) && wait_for_room(s->fd))))
            break;
    }
    return written;
}

/* A line of which only the beginning came out is ended, so that the next one stands alone. */
static bool end_torn_line(const struct log_sink *s, bool torn)
{
    return !torn || write(s->fd, "\n", 1) == 1;
}

static struct timespec time_after(unsigned ms)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += (long)(ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

static void wait_for_lines(struct log_sink *s)
{
    while (used(s) == 0 && !s->closing) {
        s->idle = true;
        pthread_cond_wait(&s->wake, &s->mutex);
    }
    s->idle = false;
    s->gathers = true;
    while (used(s) < PIPE_BUF && !s->closing &&
           pthread_cond_timedwait(&s->wake, &s->mutex, &s->next_write) == 0)
        ;
    s->gathers = false;
}

static void sink_free(struct log_sink *s)
{
    pthread_cond_destroy(&s->wake);
    pthread_cond_destroy(&s->done);
    pthread_mutex_destroy(&s->mutex);
    free(s->ring);
    free(s);
}

/* A piece that cannot be written is dropped, not tried again: each piece costs one failing write at most, and none is made
 * while nothing is logged. */
static void *write_out(void *arg)
{
    struct log_sink *s = arg;
    bool torn = false;
    pthread_mutex_lock(&s->mutex);
    for (;;) {
        wait_for_lines(s);
        if (used(s) == 0 || s->abandoned)
            break;
        uint64_t from = s->tail;
        size_t len = next_piece(s);
        pthread_mutex_unlock(&s->mutex);
        size_t written = 0;
        if (end_torn_line(s, torn)) {
            written = write_piece(s, from, len);
            torn = written != 0 && *at(s, from + written - 1) != '\n';
        }
        uint64_t lost = lines_in(s, from + written, from + len);
        s->next_write = time_after(GATHER_MS);
        pthread_mutex_lock(&s->mutex);
        s->tail += len;
        drop(s, lost);
        if (lost == 0)
            report_gap(s);
    }
    s->finished = true;
    bool mine = s->abandoned;
    pthread_cond_signal(&s->done);
    pthread_mutex_unlock(&s->mutex);
    if (mine)
        sink_free(s);
    return NULL;
}

/* ---- public ---- */

/* Signals are for the thread of the loop. */
static bool start_thread(struct log_sink *s)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&s->thread, NULL, write_out, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc == 0;
}

struct log_sink *log_sink_new(int fd, size_t ring_bytes, log_sink_report_fn report)
{
    struct log_sink *s = xcalloc(1, sizeof(*s));
    pthread_condattr_t monotonic;
    s->fd = fd;
    s->report = report;
    s->ring = xmalloc(ring_bytes);
    s->cap = ring_bytes;
    pthread_mutex_init(&s->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->wake, &monotonic);
    pthread_cond_init(&s->done, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (start_thread(s))
        return s;
    sink_free(s);
    return NULL;
}

uint64_t log_sink_dropped(struct log_sink *s)
{
    pthread_mutex_lock(&s->mutex);
    uint64_t dropped = s->dropped;
    pthread_mutex_unlock(&s->mutex);
    return dropped;
}

bool log_sink_close(struct log_sink *s, unsigned flush_ms, uint64_t *ret_dropped)
{
    const struct timespec until = time_after(flush_ms);
    pthread_t thread = s->thread;
    pthread_mutex_lock(&s->mutex);
    assert(!s->closing);
    s->closing = true;
    pthread_cond_signal(&s->wake);
    while (!s->finished && pthread_cond_timedwait(&s->done, &s->mutex, &until) == 0)
        ;
    bool finished = s->finished;
    if (!finished)
        s->abandoned = true;
    *ret_dropped = s->dropped + (finished ? 0 : lines_in(s, s->tail, s->head));
    pthread_mutex_unlock(&s->mutex);
    if (finished) {
        pthread_join(thread, NULL);
        sink_free(s);
    } else {
        pthread_detach(thread);
    }
    return finished;
}
