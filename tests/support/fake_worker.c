/* The fake worker: a single-threaded poll loop, and the faults that strike it. See --help. */
#include "fake.h"

#include "clock.h"
#include "lines.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#define LINE_MAX_BYTES (256u << 20) /* the client's limits are under test, not ours */
#define READ_PIECE 65536
#define DRAIN_MS 5000
#define LAST_WORDS_MS                                                                              \
    0 /* on EOF and SIGTERM: what the pipe takes at once, as an idle worker ends */

static volatile sig_atomic_t got_sigterm;

static void on_sigterm(int number)
{
    (void)number;
    got_sigterm = 1;
}

static void on_sigalrm(int number)
{
    (void)number;
    kill(getpid(), SIGKILL);
}

/* ---- ends ---- */

_Noreturn void fake_exit(struct fake *f, int code)
{
    journal_event(f, "exit", NULL, code);
    exit(code);
}

_Noreturn void fake_crash(struct fake *f, enum step at)
{
    wire_drain(f, DRAIN_MS);
    journal_event(f, "crash", step_names[at], 0);
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

static void take_sigterm(struct fake *f)
{
    if (!got_sigterm)
        return;
    got_sigterm = 0;
    journal_event(f, "signal", "SIGTERM", SIGTERM);
    fake_step(f, STEP_SIGTERM);
    if (f->opt.ignore_sigterm != 0)
        return;
    wire_drain(f, LAST_WORDS_MS);
    fake_exit(f, 0);
}

/* SIGTERM is let in only while we wait, so that nothing else need expect it. */
static int wait_for(struct fake *f, struct pollfd *fds, nfds_t count, uint64_t wait_ms)
{
    struct timespec t = { .tv_sec = (time_t)(wait_ms / 1000),
                          .tv_nsec = (long)(wait_ms % 1000) * 1000000 };
    sigset_t none;
    sigemptyset(&none);
    int ready = ppoll(fds, count, wait_ms == FAKE_NEVER ? NULL : &t, &none);
    take_sigterm(f);
    return ready;
}

/* ---- faults ---- */

static void strike_grandchild(struct fake *f)
{
    if (fork() != 0)
        return;
    sigset_t none;
    sigemptyset(&none);
    signal(SIGTERM, f->opt.ignore_sigterm != 0 ? SIG_IGN : SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    close(STDIN_FILENO);
    usleep((useconds_t)f->opt.grandchild_ms * 1000);
    _exit(0);
}

static void strike_stderr(struct fake *f)
{
    static const char secrets[] =
        " api_key=sk-fake-0123456789abcdef0123456789abcdef Authorization: Bearer "
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJmYWtlIn0.c2lnbmF0dXJl fake@example.com";
    for (long long i = 0; i < f->opt.stderr_lines; i++)
        fprintf(stderr, "ERROR fake_worker: line %lld of a flood%s\n", i,
                f->opt.stderr_secrets != 0 ? secrets : "");
}

static void strike_slow(struct fake *f)
{
    uint64_t until_ms = clock_mono_ms() + (uint64_t)f->opt.slow_ms;
    for (uint64_t now_ms; (now_ms = clock_mono_ms()) < until_ms;)
        (void)wait_for(f, NULL, 0, until_ms - now_ms);
}

static void strike_deaf(struct fake *f)
{
    f->deaf = true;
}

static void strike_flood(struct fake *f)
{
    f->wire.flood_left = f->opt.flood_bytes;
}

static void strike_half(struct fake *f)
{
    wire_half(f);
    wire_drain(f, DRAIN_MS);
}

static void strike_mute(struct fake *f)
{
    wire_mute(f);
}

static void strike_hang(struct fake *f)
{
    for (;;)
        (void)wait_for(f, NULL, 0, FAKE_NEVER);
}

static void strike_pause(struct fake *f)
{
    (void)f;
    (void)raise(SIGSTOP);
}

static void strike_exit(struct fake *f)
{
    fake_exit(f, (int)f->opt.exit_code);
}

/* In this order, when several strike at one step; crash is the last. */
static const struct {
    const char *name;
    void (*strike)(struct fake *f);
} faults[FAULT_COUNT] = {
    [FAULT_GRANDCHILD] = { "grandchild", strike_grandchild },
    [FAULT_STDERR] = { "stderr", strike_stderr },
    [FAULT_SLOW] = { "slow", strike_slow },
    [FAULT_DEAF] = { "deaf", strike_deaf },
    [FAULT_FLOOD] = { "flood", strike_flood },
    [FAULT_HALF] = { "half", strike_half },
    [FAULT_MUTE] = { "mute", strike_mute },
    [FAULT_HANG] = { "hang", strike_hang },
    [FAULT_PAUSE] = { "pause", strike_pause },
    [FAULT_EXIT] = { "exit_now", strike_exit },
    [FAULT_CRASH] = { "crash", NULL },
};

void fake_step(struct fake *f, enum step at)
{
    for (enum fault fault = 0; fault < FAULT_COUNT; fault++) {
        if (!trigger_hit(&f->opt.faults[fault], at))
            continue;
        if (fault == FAULT_CRASH)
            fake_crash(f, at);
        wire_drain(f, DRAIN_MS);
        journal_event(f, faults[fault].name, step_names[at], 0);
        faults[fault].strike(f);
    }
}

void fake_make_id(struct fake *f, char ret_id[FAKE_ID_SIZE])
{
    /* Unique across incarnations, so that an answer meant for another one is seen to be that. */
    snprintf(ret_id, FAKE_ID_SIZE, "%08x-fa4e-7000-8000-%012x", (unsigned)getpid(), ++f->last_id);
}

/* ---- the loop ---- */

static bool on_line(void *ctx, const char *line, size_t len)
{
    rpc_receive(ctx, line, len);
    return !((struct fake *)ctx)->deaf;
}

static void on_eof(struct fake *f)
{
    journal_event(f, "eof", NULL, 0);
    fake_step(f, STEP_EOF);
    f->deaf = true;
    if (f->opt.ignore_eof != 0)
        return;
    wire_drain(f, LAST_WORDS_MS);
    fake_exit(f, 0);
}

static void read_some(struct fake *f, struct lines *lines)
{
    char piece[READ_PIECE];
    ssize_t n = read(STDIN_FILENO, piece, sizeof(piece));
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0)
        on_eof(f);
    else if (lines_feed(lines, piece, (size_t)n, on_line, f) != LINES_OK)
        f->deaf = true;
}

static _Noreturn void serve(struct fake *f)
{
    struct lines lines;
    lines_init(&lines, LINE_MAX_BYTES);
    for (;;) {
        uint64_t now_ms = clock_mono_ms();
        uint64_t due_ms = turns_run(f, now_ms);
        bool more = due_ms == 0 && !wire_full(f); /* then gather before writing */
        if (!more)
            wire_flush(f);
        bool pending = !more && wire_pending(f) != 0;
        struct pollfd fds[] = {
            { .fd = f->deaf ? -1 : STDIN_FILENO, .events = POLLIN },
            { .fd = pending ? STDOUT_FILENO : -1, .events = POLLOUT },
        };
        uint64_t wait_ms = due_ms == FAKE_NEVER ? FAKE_NEVER
                           : due_ms <= now_ms   ? 0
                                                : due_ms - now_ms;
        if (wait_ms == 0 && pending && wire_full(f))
            wait_ms = FAKE_NEVER; /* a turn has more to say, but stdout must take some first */
        if (wait_for(f, fds, 2, wait_ms) > 0 && fds[0].revents != 0)
            read_some(f, &lines);
    }
}

/* On a terminal the descriptor is shared with the shell, which wants it blocking. */
static void set_nonblocking(int fd)
{
    if (!isatty(fd))
        (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static void set_signals(const struct fake *f)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGTERM, on_sigterm);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGALRM, on_sigalrm);
    struct itimerval timer = { .it_value = { .tv_sec = (time_t)(f->opt.crash_ms / 1000),
                                             .tv_usec =
                                                 (suseconds_t)(f->opt.crash_ms % 1000) * 1000 } };
    (void)setitimer(ITIMER_REAL, &timer, NULL);
}

static void touch_memory(const struct fake *f)
{
    size_t size_bytes = (size_t)f->opt.rss_mb << 20;
    static char *volatile memory; /* volatile: the compiler must not see that nobody reads it */
    if (size_bytes != 0) {
        memory = xmalloc(size_bytes);
        memset(memory, 1, size_bytes);
    }
}

static void print_catalog(void)
{
    struct buf out = BUF_INIT;
    catalog_write_debug(&out);
    puts(buf_str(&out));
    buf_free(&out);
}

int main(int argc, char **argv)
{
    static struct fake fake; /* static: reachable to the end, whichever way that comes */
    const char *command = argc > 1 ? argv[1] : "";
    json_setup();
    if (strcmp(command, "--help") == 0) {
        options_help();
        return 0;
    }
    if (strcmp(command, "--version") == 0) {
        puts("codex-cli " FAKE_CODEX_VERSION " (fake worker " CODEX_API_VERSION ")");
        return 0;
    }
    if (argc > 2 && strcmp(command, "debug") == 0 && strcmp(argv[2], "models") == 0) {
        print_catalog();
        return 0;
    }
    options_read(&fake);
    journal_open(&fake);
    journal_start(&fake, argc, argv);
    set_signals(&fake);
    set_nonblocking(STDIN_FILENO);
    set_nonblocking(STDOUT_FILENO);
    touch_memory(&fake);
    fake_step(&fake, STEP_START);
    serve(&fake);
}
