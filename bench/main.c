/* codex-api-bench: load on an OpenAI-compatible endpoint, and what became of it. */
#include "report.h"

#include "json.h"

#include <netdb.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define EXIT_STRUCK 1
#define EXIT_WRONG_USAGE 64
#define EXIT_NO_HOST 69
#define EXIT_DEFECT 70

struct bench {
    struct options options;
    uv_loop_t loop;
    uv_signal_t sigint;
    bool is_over; /* the load; a probe may be in flight */
    struct conn_target target;
    struct load *load;             /* owned */
    struct probe *probe;           /* owned; NULL: none */
    struct slow_heads *slow_heads; /* owned; NULL: none */
    struct procwatch *procs;       /* owned */
};

static void on_over(void *ctx)
{
    struct bench *b = ctx;
    b->is_over = true;
    probe_stop(b->probe);
    slow_heads_stop(b->slow_heads);
    procwatch_stop(b->procs);
    uv_close((uv_handle_t *)&b->sigint, NULL);
}

/* The second one ends the process. */
static void on_sigint(uv_signal_t *handle, int number)
{
    struct bench *b = handle->data;
    (void)number;
    uv_signal_stop(handle);
    load_abort(b->load);
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static double own_cpu_s(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* Once, before the run: the time of a name server is none of the target's. */
static bool find_target(struct bench *b)
{
    const struct addrinfo wanted = { .ai_socktype = SOCK_STREAM };
    struct addrinfo *found = NULL;
    int error = getaddrinfo(b->options.host, b->options.port, &wanted, &found);
    if (error != 0) {
        fprintf(stderr, "codex-api-bench: %s: %s\n", b->options.host, gai_strerror(error));
        return false;
    }
    memcpy(&b->target.address, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return true;
}

static void start(struct bench *b)
{
    const struct options *o = &b->options;
    b->procs = procwatch_start(o->pids, o->pid_count, b->target.deadlines);
    if (o->slow_heads != 0)
        b->slow_heads = slow_heads_start(o, &b->target);
    if (o->probe_path != NULL)
        b->probe = probe_start(o, &b->target);
    load_start(b->load);
}

static int report(const struct bench *b)
{
    const struct report_input in = {
        .options = &b->options,
        .load = b->load,
        .probe = b->probe,
        .slow_heads = b->slow_heads,
        .procs = b->procs,
        .own_cpu_s = own_cpu_s(),
    };
    json_t *made = report_make(&in);
    report_print(made, &b->options, stdout);
    json_decref(made);
    const char *struck = report_struck(&in, b->options.fail_on);
    if (struck == NULL)
        return 0;
    fflush(stdout);
    fprintf(stderr, "codex-api-bench: there was %.*s\n", (int)strcspn(struck, ","), struck);
    return EXIT_STRUCK;
}

/* Everything that was opened is closed before the end, or it is a defect. */
static int run(struct bench *b)
{
    if (!find_target(b))
        return EXIT_NO_HOST;
    raise_descriptor_limit();
    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&b->loop);
    b->target.loop = &b->loop;
    b->target.deadlines = deadlines_new(&b->loop);
    uv_signal_init(&b->loop, &b->sigint);
    b->sigint.data = b;
    uv_signal_start(&b->sigint, on_sigint, SIGINT);
    b->load = load_new(&b->options, &b->target, on_over, b);
    start(b);
    while (!b->is_over || probe_in_flight(b->probe))
        uv_run(&b->loop, UV_RUN_ONCE);
    int rc = report(b);
    deadlines_free(b->target.deadlines); /* before the loop may end: its timer may still be armed */
    uv_run(&b->loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&b->loop) != 0)
        rc = EXIT_DEFECT;
    load_free(b->load);
    probe_free(b->probe);
    slow_heads_free(b->slow_heads);
    procwatch_free(b->procs);
    return rc;
}

int main(int argc, char **argv)
{
    struct bench *b = xcalloc(1, sizeof(*b));
    int rc = EXIT_DEFECT;
    json_setup();
    if (sodium_init() < 0) {
        fputs("codex-api-bench: libsodium cannot be initialised\n", stderr);
        free(b);
        return EXIT_DEFECT;
    }
    switch (options_read(&b->options, argc, argv, stderr)) {
    case OPTIONS_RUN:
        rc = run(b);
        break;
    case OPTIONS_HELP:
        options_help(stdout);
        rc = 0;
        break;
    case OPTIONS_VERSION:
        puts("codex-api-bench " CODEX_API_VERSION);
        rc = 0;
        break;
    case OPTIONS_WRONG:
        rc = EXIT_WRONG_USAGE;
        break;
    }
    options_free(&b->options);
    free(b);
    return rc;
}
