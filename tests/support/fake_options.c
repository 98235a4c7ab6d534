/* What a fake worker is asked to do: FAKE_WORKER, read by one table that also prints --help. */
#include "fake.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EX_USAGE 64

const char *const step_names[STEP_COUNT] = {
    [STEP_NONE] = "none",
    [STEP_START] = "start",
    [STEP_INITIALIZE] = "initialize",
    [STEP_INITIALIZED] = "initialized",
    [STEP_THREAD_START] = "thread_start",
    [STEP_INJECT] = "inject",
    [STEP_TURN_START] = "turn_start",
    [STEP_TURN_STARTED] = "turn_started",
    [STEP_DELTA] = "delta",
    [STEP_TOOL_CALL] = "tool_call",
    [STEP_BEFORE_COMPLETED] = "before_completed",
    [STEP_COMPLETED] = "completed",
    [STEP_INTERRUPT] = "interrupt",
    [STEP_UNSUBSCRIBE] = "unsubscribe",
    [STEP_EOF] = "eof",
    [STEP_SIGTERM] = "sigterm",
};

enum kind { NUMBER, WORD, TRIGGER };

#define NUMBER_AT(field) NUMBER, offsetof(struct options, field)
#define WORD_AT(field) WORD, offsetof(struct options, field)
#define FAULT_AT(fault) TRIGGER, offsetof(struct options, faults[fault])

static const struct option {
    const char *name;
    enum kind kind;
    size_t offset;
    const char *fallback;
    const char *help;
} table[] = {
    { "skip", NUMBER_AT(skip), "0", "the first N starts behave well (needs FAKE_WORKER_STATE)" },
    { "starts", NUMBER_AT(starts), "0", "then N starts do as told, later ones behave; 0: all do" },
    { "handshake", WORD_AT(handshake_name), "ok", "ok | none | garbage | error" },
    { "crash", FAULT_AT(FAULT_CRASH), "none", "STEP: SIGKILL itself" },
    { "crash_ms", NUMBER_AT(crash_ms), "0", "SIGKILL itself so long after the start" },
    { "exit", FAULT_AT(FAULT_EXIT), "none", "STEP: exit with exit_code" },
    { "exit_code", NUMBER_AT(exit_code), "1", "" },
    { "hang", FAULT_AT(FAULT_HANG), "none", "STEP: do nothing any more, but end on SIGTERM" },
    { "pause", FAULT_AT(FAULT_PAUSE), "none", "STEP: stop itself, until it gets SIGCONT" },
    { "slow", FAULT_AT(FAULT_SLOW), "none", "STEP: sleep for slow_ms, the whole process" },
    { "slow_ms", NUMBER_AT(slow_ms), "1000", "" },
    { "deaf", FAULT_AT(FAULT_DEAF), "none", "STEP: read stdin no more" },
    { "mute", FAULT_AT(FAULT_MUTE), "none", "STEP: close stdout and live on" },
    { "flood", FAULT_AT(FAULT_FLOOD), "none", "STEP: flood_bytes of x on stdout, no newline" },
    { "flood_bytes", NUMBER_AT(flood_bytes), "1073741824", "" },
    { "half", FAULT_AT(FAULT_HALF), "none", "STEP: half a line on stdout; with crash: the last" },
    { "stderr", FAULT_AT(FAULT_STDERR), "none", "STEP: stderr_lines of log text" },
    { "stderr_lines", NUMBER_AT(stderr_lines), "10000", "" },
    { "stderr_secrets", NUMBER_AT(stderr_secrets), "0", "1: with texts that look like secrets" },
    { "grandchild", FAULT_AT(FAULT_GRANDCHILD), "none", "STEP: fork a child that keeps stdout" },
    { "grandchild_ms", NUMBER_AT(grandchild_ms), "60000", "how long it lives" },
    { "ignore_eof", NUMBER_AT(ignore_eof), "0", "1: live on when stdin ends" },
    { "ignore_sigterm", NUMBER_AT(ignore_sigterm), "0", "1: live on, the grandchild too" },
    { "piece", NUMBER_AT(piece), "0", "at most N bytes a write; 0: all there is" },
    { "burst", NUMBER_AT(burst), "65536", "gather N bytes while there is more to say" },
    { "noise", WORD_AT(noise_names), "", "garbage+empty+unknown+stray: lines that mean nothing" },
    { "noise_every", NUMBER_AT(noise_every), "1", "after each N-th line" },
    { "duplicate", NUMBER_AT(duplicate), "0", "1: every response is sent twice" },
    { "started_first", NUMBER_AT(started_first), "0",
      "1: turn/started before turn/start's answer" },
    { "overload", NUMBER_AT(overload), "0", "answer -32001 the first N times to overload_method" },
    { "overload_method", WORD_AT(overload_method), "thread/start", "" },
    { "page", NUMBER_AT(page), "0", "models on a page of model/list; 0: what the client asks" },
    { "rate_limits", WORD_AT(rate_limits), "none",
      "PRIMARY/SECONDARY used percent; none: no login" },
    { "rate_reset_s", NUMBER_AT(rate_reset_s), "3600", "seconds until the primary window resets" },
    { "rss_mb", NUMBER_AT(rss_mb), "0", "touch so much memory at the start" },
};

#define TABLE_LEN (sizeof(table) / sizeof(table[0]))

static _Noreturn void usage_error(const char *what, const char *text)
{
    fprintf(stderr, "codex-api-fake-worker: %s: %s (see --help)\n", what, text);
    exit(EX_USAGE);
}

bool trigger_parse(struct trigger *t, const char *text)
{
    size_t len = strcspn(text, ":");
    const char *count = text[len] == ':' ? text + len + 1 : "1";
    unsigned nth = (unsigned)strtoul(count, NULL, 10);
    if (*count == '\0' || count[strspn(count, "0123456789")] != '\0')
        return false;
    for (enum step at = STEP_NONE; at < STEP_COUNT; at++) {
        if (strlen(step_names[at]) == len && memcmp(step_names[at], text, len) == 0) {
            *t = (struct trigger){ .at = at, .nth = nth };
            return true;
        }
    }
    return false;
}

bool trigger_hit(struct trigger *t, enum step at)
{
    if (t->at != at)
        return false;
    t->seen++;
    return t->nth == 0 || t->seen == t->nth;
}

static void set_number(long long *at, const char *name, const char *text)
{
    char *end;
    errno = 0;
    *at = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || *at < 0)
        usage_error("not a number", name);
}

static void set(struct options *opt, const struct option *option, const char *text)
{
    void *at = (char *)opt + option->offset;
    switch (option->kind) {
    case NUMBER:
        set_number(at, option->name, text);
        break;
    case WORD:
        free(*(char **)at);
        *(char **)at = xstrdup(text);
        break;
    case TRIGGER:
        if (!trigger_parse(at, text))
            usage_error("no such step", text);
        break;
    }
}

static const struct option *find(const char *name)
{
    for (size_t i = 0; i < TABLE_LEN; i++)
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    usage_error("FAKE_WORKER has no key", name);
}

/* key=value,key=value; a bare key means key=1. */
static void read_list(struct options *opt, const char *list)
{
    char *copy = xstrdup(list);
    char *rest = copy;
    for (char *pair; (pair = strsep(&rest, ",")) != NULL;) {
        if (*pair == '\0')
            continue;
        char *value = strchr(pair, '=');
        if (value != NULL)
            *value++ = '\0';
        set(opt, find(pair), value != NULL ? value : "1");
    }
    free(copy);
}

static void set_fallbacks(struct options *opt)
{
    for (size_t i = 0; i < TABLE_LEN; i++)
        set(opt, &table[i], table[i].fallback);
}

static unsigned index_of(const char *const *names, const char *name, const char *what)
{
    for (unsigned i = 0; names[i] != NULL; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    usage_error(what, name);
}

static void read_handshake(struct options *opt)
{
    static const char *const names[] = { "ok", "none", "garbage", "error", NULL };
    opt->handshake = (enum handshake)index_of(names, opt->handshake_name, "no such handshake");
}

static void read_noise(struct options *opt)
{
    static const char *const names[] = { "garbage", "empty", "unknown", "stray", NULL };
    opt->noise = 0;
    char *copy = xstrdup(opt->noise_names);
    char *rest = copy;
    for (char *name; (name = strsep(&rest, "+")) != NULL;)
        if (*name != '\0')
            opt->noise |= 1u << index_of(names, name, "no such noise");
    free(copy);
}

static void read_rate_limits(struct options *opt)
{
    opt->primary_percent = opt->secondary_percent = -1;
    if (strcmp(opt->rate_limits, "none") == 0)
        return;
    char *end = NULL;
    opt->primary_percent = (int)strtol(opt->rate_limits, &end, 10);
    if (*end != '/')
        usage_error("not PRIMARY/SECONDARY", opt->rate_limits);
    opt->secondary_percent = (int)strtol(end + 1, &end, 10);
    if (*end != '\0')
        usage_error("not PRIMARY/SECONDARY", opt->rate_limits);
}

/* How often this state file has seen a start, this one included. The file grows by a byte a start:
 * an appending write leaves the offset behind its own byte, so two starts at once differ. */
static long long count_start(void)
{
    const char *path = getenv("FAKE_WORKER_STATE");
    if (path == NULL)
        return 0;
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, ".", 1) != 1)
        usage_error("FAKE_WORKER_STATE cannot be written", path);
    long long count = lseek(fd, 0, SEEK_CUR);
    close(fd);
    return count;
}

static bool is_told(const struct options *opt, long long start_no)
{
    if (opt->skip == 0 && opt->starts == 0)
        return true;
    if (start_no == 0)
        usage_error("skip and starts need FAKE_WORKER_STATE", "it is not set");
    return start_no > opt->skip && (opt->starts == 0 || start_no <= opt->skip + opt->starts);
}

static void at_least_one(long long *number)
{
    if (*number == 0)
        *number = 1;
}

void options_read(struct fake *f)
{
    const char *list = getenv("FAKE_WORKER");
    f->start_no = count_start();
    set_fallbacks(&f->opt);
    read_list(&f->opt, list != NULL ? list : "");
    if (!is_told(&f->opt, f->start_no))
        set_fallbacks(&f->opt);
    read_handshake(&f->opt);
    read_noise(&f->opt);
    read_rate_limits(&f->opt);
    at_least_one(&f->opt.burst);
    at_least_one(&f->opt.noise_every);
    f->opt.script = getenv("FAKE_WORKER_SCRIPT");
}

static const char help_head[] =
    "codex-api-fake-worker: speaks the protocol of `codex app-server` on stdin and stdout, without "
    "a\n"
    "model behind it, for tests of faults and for benchmarks. Other arguments are ignored.\n"
    "\n"
    "  codex-api-fake-worker [app-server ...]   serve until stdin ends or SIGTERM comes; exit 0\n"
    "  codex-api-fake-worker debug models       print a small model catalog\n"
    "  codex-api-fake-worker --help | --version\n"
    "\n"
    "Environment\n"
    "  FAKE_WORKER          key=value,key=value: the faults of this process, see below\n"
    "  FAKE_WORKER_STATE    a file that grows by one byte a start: it numbers the starts\n"
    "  FAKE_WORKER_SCRIPT   JSON: the script of every turn that brings none\n"
    "  FAKE_WORKER_JOURNAL  a file that gets one JSON object a line: {t, pid, in: message} for "
    "each\n"
    "                       line received ({t, pid, bad: bytes} if it is not JSON), {t, pid, "
    "event,\n"
    "                       detail, number} for start (with start, ppid, pgid, argv, env, fds),\n"
    "                       every fault (detail: its step), refused, granted, eof, signal, exit\n"
    "\n"
    "Keys of FAKE_WORKER (a bare key means key=1)\n";

static const char help_steps[] =
    "\n"
    "STEP is the name of a moment, or name:N for the N-th time that it comes (default 1; 0: "
    "always).\n"
    "Whatever was said before the moment is on the wire when the fault strikes. A request's moment "
    "is\n"
    "before its answer; turn_started, delta, tool_call and completed are after the line:\n ";

static const char help_script[] =
    "\n"
    "\n"
    "Scripts. A turn echoes the text of the last user message, a delta a word. If that text "
    "begins\n"
    "with `fake:`, the rest is a JSON object (all members optional):\n"
    "  text            what to say, a delta a word\n"
    "  deltas, size    instead: N words w0 w1 ..., each padded to `size` bytes\n"
    "  cuts            [3,1,5]: characters of each delta, the rest in one\n"
    "  phase           of the message: commentary | final_answer\n"
    "  reasoning       summary text before it\n"
    "  first_delta_ms, gap_ms   before the first delta and between deltas, reasoning's too\n"
    "  wait_for        PATH: nothing of it is said before there is such a file\n"
    "  tool_calls      [{name, arguments, call_id}]: arguments is a text or any JSON value\n"
    "  tool_order      raw_first (raw items, rawResponse/completed, calls) | raw_reversed (the "
    "same,\n"
    "                  calls from the last) | calls_first | mixed (raw_A call_A raw_B completed "
    "call_B)\n"
    "  then            the script that goes on: after the tools' answers, or after the message.\n"
    "                  Without it the answers are echoed. Injected outputs move on to it as well\n"
    "  ask             [method, ...]: requests that a client must refuse, before anything is "
    "said;\n"
    "                  one that is granted fails the turn\n"
    "  will_retry      N `error` notifications with willRetry true first\n"
    "  fail            {codexErrorInfo, message}: how the turn ends after what was said\n"
    "  usage           {inputTokens, cachedInputTokens, cacheWriteInputTokens, outputTokens,\n"
    "                  reasoningOutputTokens, totalTokens}, each optional; null: none is reported\n"
    "  stderr          lines for stderr, at the start\n"
    "  silent          true: nothing is heard of the turn (the process goes on answering)\n"
    "  hang_at         STEP: the turn falls silent there\n"
    "  crash_at        STEP: the process SIGKILLs itself there\n"
    "Steps of a script: inject and later ones of its thread, counted from the injection.\n";

static void print_key(const struct option *option)
{
    bool is_off = strcmp(option->fallback, "none") == 0 || strcmp(option->fallback, "0") == 0;
    printf("  %-16s%s", option->name, option->help);
    if (!is_off && *option->fallback != '\0')
        printf("%s(default %s)", *option->help != '\0' ? " " : "", option->fallback);
    putchar('\n');
}

void options_help(void)
{
    fputs(help_head, stdout);
    for (size_t i = 0; i < TABLE_LEN; i++)
        print_key(&table[i]);
    fputs(help_steps, stdout);
    for (enum step at = STEP_START; at < STEP_COUNT; at++)
        printf("%s %s", at == STEP_DELTA ? "\n " : "", step_names[at]);
    fputs(help_script, stdout);
}
