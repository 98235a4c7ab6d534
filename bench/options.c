/* The command line of codex-api-bench, read by one table. */
#include "options.h"

#include "file.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX_BYTES (64u << 20)
#define REQUESTS_DEFAULT 100
#define CLIENTS_MAX 60000
#define YEAR_MS 31536000000

/* One command line being read. */
struct reading {
    struct options *o;
    FILE *errors;
    const char *name; /* of the option at hand */
};

typedef bool (*read_fn)(struct reading *r, const char *value);

static bool wrong(struct reading *r, const char *why)
{
    fprintf(r->errors, "codex-api-bench: %s: %s; see --help\n", r->name, why);
    return false;
}

/* ---- kinds of values ---- */

static bool parse_whole(const char *text, uint64_t max, uint64_t *ret_number)
{
    char *end = NULL;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)*text) || *end != '\0' || errno != 0 || number > max)
        return false;
    *ret_number = number;
    return true;
}

static bool read_whole(struct reading *r, const char *value, uint64_t min, uint64_t max,
                       uint64_t *ret_number)
{
    uint64_t number = 0;
    if (!parse_whole(value, max, &number) || number < min) {
        fprintf(r->errors, "codex-api-bench: %s: want a number from %llu to %llu; see --help\n",
                r->name, (unsigned long long)min, (unsigned long long)max);
        return false;
    }
    *ret_number = number;
    return true;
}

static bool read_real(struct reading *r, const char *value, double max, double *ret_number)
{
    char *end = NULL;
    double number = strtod(value, &end);
    if (end == value || *end != '\0' || !isfinite(number) || number <= 0 || number > max)
        return wrong(r, "not a number that makes sense");
    *ret_number = number;
    return true;
}

static bool set_text(char **at, const char *value)
{
    free(*at);
    *at = xstrdup(value);
    return true;
}

/* A text, or @FILE. */
static bool read_text(struct reading *r, const char *value, struct buf *out)
{
    buf_clear(out);
    if (*value != '@') {
        buf_puts(out, value);
        return true;
    }
    if (file_read(value + 1, out, FILE_MAX_BYTES))
        return true;
    fprintf(r->errors, "codex-api-bench: %s: cannot read %s: %s\n", r->name, value + 1,
            strerror(errno));
    return false;
}

/* ---- where and who ---- */

static bool has_space(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text <= ' ' || *text == 0x7f)
            return true;
    return false;
}

/* http://host[:port][/path]; an IPv6 host stands in brackets. */
static bool read_url(struct reading *r, const char *value)
{
    struct options *o = r->o;
    static const char scheme[] = "http://";
    if (strncmp(value, scheme, sizeof(scheme) - 1) != 0 || has_space(value))
        return wrong(r, "want http://host:port/v1");
    const char *host = value + sizeof(scheme) - 1;
    const char *path = host + strcspn(host, "/");
    const char *host_end = *host == '[' ? strchr(host, ']') : host + strcspn(host, ":/");
    if (host_end == NULL || host_end > path || host_end == host)
        return wrong(r, "the url has no host");
    const char *colon = *host == '[' ? host_end + 1 : host_end;
    uint64_t port = 80;
    char *digits = xstrndup(colon, (size_t)(path - colon));
    bool is_right =
        *digits == '\0' || (*digits == ':' && parse_whole(digits + 1, 65535, &port) && port != 0);
    free(digits);
    if (!is_right)
        return wrong(r, "the url's port is wrong");
    set_text(&o->url, value);
    free(o->host);
    free(o->host_header);
    free(o->path);
    free(o->port);
    const char *bare = *host == '[' ? host + 1 : host;
    o->host = xstrndup(bare, (size_t)(host_end - bare));
    o->host_header = xstrndup(host, (size_t)(path - host));
    o->port = xasprintf("%u", (unsigned)port);
    size_t path_len = strlen(path);
    while (path_len > 0 && path[path_len - 1] == '/')
        path_len--;
    o->path = xstrndup(path, path_len);
    return true;
}

static bool is_name(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)text[i]) && text[i] != '_' && text[i] != '-')
            return false;
    return len != 0;
}

static struct bench_key *find_key(struct options *o, const char *name, size_t len)
{
    for (size_t i = 0; i < o->key_count; i++)
        if (strlen(o->keys[i].name) == len && memcmp(o->keys[i].name, name, len) == 0)
            return &o->keys[i];
    return NULL;
}

static bool add_key(struct reading *r, const char *name, size_t name_len, const char *key)
{
    struct options *o = r->o;
    if (*key == '\0' || has_space(key))
        return wrong(r, "the key is empty or holds white space");
    if (find_key(o, name, name_len) != NULL)
        return wrong(r, "two keys of one name");
    o->keys = xrealloc(o->keys, (o->key_count + 1) * sizeof(*o->keys));
    o->keys[o->key_count++] =
        (struct bench_key){ .name = xstrndup(name, name_len), .key = xstrdup(key), .weight = 1 };
    return true;
}

/* [NAME=]KEY; a key may itself end with `=`. */
static bool read_key(struct reading *r, const char *value)
{
    const char *equals = strchr(value, '=');
    if (equals != NULL && is_name(value, (size_t)(equals - value)) &&
        equals[strspn(equals, "=")] != '\0')
        return add_key(r, value, (size_t)(equals - value), equals + 1);
    char *name = xasprintf("key%zu", r->o->key_count + 1);
    bool is_right = add_key(r, name, strlen(name), value);
    free(name);
    return is_right;
}

/* Lines of [NAME=]KEY; empty ones and those that start with # are skipped. */
static bool read_keys_file(struct reading *r, const char *value)
{
    struct buf text = BUF_INIT;
    char *path = xasprintf("@%s", value);
    bool is_right = read_text(r, path, &text);
    free(path);
    char *all = buf_detach(&text);
    char *rest = all;
    for (char *line; is_right && (line = strsep(&rest, "\n")) != NULL;) {
        line[strcspn(line, "\r")] = '\0';
        if (*line != '\0' && *line != '#')
            is_right = read_key(r, line);
    }
    free(all);
    return is_right;
}

static bool read_weight(struct reading *r, const char *value)
{
    const char *equals = strchr(value, '=');
    struct bench_key *key = equals != NULL ? find_key(r->o, value, (size_t)(equals - value)) : NULL;
    if (key == NULL)
        return wrong(r, "want NAME=N with the name of a key that stands before");
    return read_whole(r, equals + 1, 1, CLIENTS_MAX, &key->weight);
}

/* ---- what ---- */

static bool read_model(struct reading *r, const char *value)
{
    return set_text(&r->o->model, value);
}

static bool read_prompt(struct reading *r, const char *value)
{
    return read_text(r, value, &r->o->prompt);
}

static bool read_body(struct reading *r, const char *value)
{
    return read_text(r, value, &r->o->body);
}

static bool read_header(struct reading *r, const char *value)
{
    const char *colon = strchr(value, ':');
    if (colon == NULL || !is_name(value, (size_t)(colon - value)) || strpbrk(value, "\r\n") != NULL)
        return wrong(r, "want NAME: VALUE");
    buf_printf(&r->o->headers, "%s\r\n", value);
    return true;
}

static bool set_stream(struct reading *r, const char *value)
{
    (void)value;
    r->o->is_unary = false;
    return true;
}

static bool set_unary(struct reading *r, const char *value)
{
    (void)value;
    r->o->is_unary = true;
    return true;
}

static bool set_keep_alive(struct reading *r, const char *value)
{
    (void)value;
    r->o->keep_alive = true;
    return true;
}

static bool set_close(struct reading *r, const char *value)
{
    (void)value;
    r->o->keep_alive = false;
    return true;
}

static bool read_expect(struct reading *r, const char *value)
{
    return read_text(r, value, &r->o->expected_text) &&
           (r->o->expected.text = buf_str(&r->o->expected_text)) != NULL;
}

static bool read_sha(struct reading *r, const char *value)
{
    size_t len = 0;
    struct expected *e = &r->o->expected;
    if (sodium_hex2bin(e->sha256, sizeof(e->sha256), value, strlen(value), NULL, &len, NULL) != 0 ||
        len != sizeof(e->sha256))
        return wrong(r, "want the 64 hex digits of a SHA-256");
    e->has_sha256 = true;
    return true;
}

/* ---- how much ---- */

static bool read_requests(struct reading *r, const char *value)
{
    return read_whole(r, value, 1, OPTIONS_NEVER - 1, &r->o->requests);
}

/* Seconds, with a fraction. */
static bool read_duration(struct reading *r, const char *value)
{
    double seconds = 0;
    if (!read_real(r, value, (double)YEAR_MS / 1000, &seconds))
        return false;
    r->o->duration_ms = (uint64_t)ceil(seconds * 1000);
    return true;
}

static bool read_concurrency(struct reading *r, const char *value)
{
    return read_whole(r, value, 0, CLIENTS_MAX, &r->o->concurrency);
}

static bool read_rate(struct reading *r, const char *value)
{
    return read_real(r, value, 1e6, &r->o->rate_per_s);
}

static bool read_arrivals(struct reading *r, const char *value)
{
    r->o->fixed_arrivals = strcmp(value, "fixed") == 0;
    if (!r->o->fixed_arrivals && strcmp(value, "poisson") != 0)
        return wrong(r, "want poisson or fixed");
    return true;
}

static bool read_max_in_flight(struct reading *r, const char *value)
{
    return read_whole(r, value, 1, CLIENTS_MAX, &r->o->max_in_flight);
}

static bool read_seed(struct reading *r, const char *value)
{
    return read_whole(r, value, 0, UINT64_MAX, &r->o->seed);
}

static bool read_warmup(struct reading *r, const char *value)
{
    return read_whole(r, value, 0, OPTIONS_NEVER - 1, &r->o->warmup);
}

static bool read_timeout(struct reading *r, const char *value)
{
    return read_whole(r, value, 1, YEAR_MS, &r->o->timeout_ms);
}

static bool read_stall(struct reading *r, const char *value)
{
    return read_whole(r, value, 1, YEAR_MS, &r->o->stall_ms);
}

/* ---- clients that do not behave ---- */

/* 5: frames; 250ms: time. */
static bool read_abort_after(struct reading *r, const char *value)
{
    size_t digits = strspn(value, "0123456789");
    bool is_time = strcmp(value + digits, "ms") == 0;
    char *number = is_time ? xstrndup(value, digits) : xstrdup(value);
    bool is_right = read_whole(r, number, 1, YEAR_MS,
                               is_time ? &r->o->abort_after_ms : &r->o->abort_after_frames);
    free(number);
    return is_right;
}

static bool read_slow_read(struct reading *r, const char *value)
{
    return read_whole(r, value, 1, 1u << 30, &r->o->slow_read_bytes_per_s);
}

static bool read_stop_reading(struct reading *r, const char *value)
{
    return read_whole(r, value, 0, OPTIONS_NEVER - 1, &r->o->stop_reading_after_bytes);
}

static bool read_affected(struct reading *r, const char *value)
{
    return read_whole(r, value, 0, CLIENTS_MAX, &r->o->affected);
}

static bool read_slow_head(struct reading *r, const char *value)
{
    return read_whole(r, value, 1, CLIENTS_MAX, &r->o->slow_heads);
}

static bool read_slow_head_interval(struct reading *r, const char *value)
{
    return read_whole(r, value, 1, YEAR_MS, &r->o->slow_head_interval_ms);
}

/* ---- what is looked at ---- */

static bool read_pid(struct reading *r, const char *value)
{
    struct options *o = r->o;
    uint64_t pid = 0;
    if (!read_whole(r, value, 1, 1u << 22, &pid))
        return false;
    o->pids = xrealloc(o->pids, (o->pid_count + 1) * sizeof(*o->pids));
    o->pids[o->pid_count++] = (int)pid;
    return true;
}

static bool read_probe(struct reading *r, const char *value)
{
    if (*value != '/' || has_space(value))
        return wrong(r, "want a path");
    return set_text(&r->o->probe_path, value);
}

static bool read_probe_interval(struct reading *r, const char *value)
{
    return read_whole(r, value, 1, YEAR_MS, &r->o->probe_interval_ms);
}

static bool set_json(struct reading *r, const char *value)
{
    (void)value;
    r->o->json = true;
    return true;
}

static bool read_value(struct reading *r, const char *value)
{
    struct options *o = r->o;
    o->values = xrealloc(o->values, (o->value_count + 1) * sizeof(*o->values));
    o->values[o->value_count++] = xstrdup(value);
    return true;
}

static bool is_counted(const char *item, size_t len)
{
    static const char *const counts[] = { "mismatch", "stall", "not_started", "truncated",
                                          "probe_failure" };
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
        if (strlen(counts[i]) == len && memcmp(counts[i], item, len) == 0)
            return true;
    return outcome_is_known(item, len);
}

static bool read_fail_on(struct reading *r, const char *value)
{
    for (const char *item = value; *item != '\0';) {
        size_t len = strcspn(item, ",");
        if (!is_counted(item, len))
            return wrong(r, "no such outcome");
        item += len + (item[len] == ',');
    }
    return set_text(&r->o->fail_on, value);
}

/* ---- the table ---- */

static const struct option {
    const char *name;
    const char *argument; /* NULL: none */
    read_fn read;
    const char *help; /* lines after the first are indented by the printer */
} table[] = {
    { NULL, NULL, NULL, "Who asks whom for what" },
    { "url", "URL", read_url, "http://host:port/v1 (also as the only argument without a name)" },
    { "key", "[NAME=]KEY", read_key,
      "bearer key; repeatable: clients take turns, results are told by key.\n"
      "Others on the machine see a command line: rather use the next or the\n"
      "environment's PROXY_API_KEY, which is used when no key is given" },
    { "key-file", "FILE", read_keys_file, "lines of [NAME=]KEY; # starts a comment" },
    { "keys-file", "FILE", read_keys_file, "the same" },
    { "weight", "NAME=N", read_weight, "share of a key (default 1) in clients or arrivals" },
    { "model", "ID", read_model, "default: stub-model" },
    { "prompt", "TEXT|@FILE", read_prompt, "the user message (default: Say hello.)" },
    { "body", "TEXT|@FILE", read_body, "the whole request body, instead of model and prompt" },
    { "header", "NAME: VALUE", read_header, "a further header; repeatable" },
    { "stream", NULL, set_stream, "ask for server-sent events (default)" },
    { "unary", NULL, set_unary, "ask for one JSON answer" },
    { "keep-alive", NULL, set_keep_alive, "requests of a client share a connection (default)" },
    { "close", NULL, set_close, "a connection for each request" },
    { "expect", "TEXT|@FILE", read_expect,
      "the content that is right; anything else is counted as a mismatch" },
    { "verify-sha", "HEX", read_sha, "the same by its SHA-256" },

    { NULL, NULL, NULL, "How much" },
    { "requests", "N", read_requests, "stop after N (default 100, if there is no --duration)" },
    { "duration", "S", read_duration, "start none after S seconds; those in flight may finish" },
    { "concurrency", "N", read_concurrency,
      "closed loop: N clients, each with its next request after the last one\n"
      "(default 1; 0: only --slow-head clients, for --duration)" },
    { "rate", "R", read_rate,
      "open loop: R requests a second, whatever becomes of them; times count\n"
      "from when a request was to start, not from when it did" },
    { "arrivals", "poisson|fixed", read_arrivals, "of the open loop (default poisson)" },
    { "max-in-flight", "N", read_max_in_flight,
      "of the open loop (default 4096); what cannot start is counted, and lost" },
    { "seed", "N", read_seed, "of the arrivals (default 1): the same seed, the same times" },
    { "warmup", "N", read_warmup, "N requests before, which are not counted" },
    { "timeout-ms", "N", read_timeout,
      "a request that has not ended by then hangs (default 60000)" },
    { "stall-ms", "N", read_stall, "count gaps between frames that are longer" },

    { NULL, NULL, NULL, "Clients that do not behave" },
    { "abort-after", "FRAMES|Nms", read_abort_after,
      "leave after so many frames, or N ms after the start" },
    { "slow-read", "BYTES_PER_S", read_slow_read, "read no faster, into a small socket buffer" },
    { "stop-reading-after", "BYTES", read_stop_reading,
      "then read no more until the server closes; at --timeout-ms, read on to\n"
      "see how it has ended the answer (it can take 10 s more)" },
    { "affected", "N", read_affected,
      "only the first N clients do so (default: all); results are told apart" },
    { "slow-head", "N", read_slow_head,
      "N further clients whose request never ends: a byte of its head at a time" },
    { "slow-head-interval-ms", "N", read_slow_head_interval, "between these bytes (default 1000)" },

    { NULL, NULL, NULL, "What else is watched" },
    { "watch-pid", "PID", read_pid,
      "memory, descriptors and CPU time of a process, every 200 ms; repeatable" },
    { "probe", "PATH", read_probe, "GET it all the while, on fresh connections, without a key" },
    { "probe-interval-ms", "N", read_probe_interval, "how often (default 100)" },

    { NULL, NULL, NULL, "The report" },
    { "json", NULL, set_json, "one JSON object instead of a table" },
    { "value", "PATH", read_value,
      "print only this member of the JSON object, a line each, as in\n"
      "total.outcomes.done.ms.p99; repeatable; 0 for what did not occur" },
    { "fail-on", "LIST", read_fail_on,
      "exit 1 if one of these occurred: outcomes, http for any status, http_429,\n"
      "http_5xx, mismatch, stall, truncated, not_started, probe_failure" },
};

#define TABLE_LEN (sizeof(table) / sizeof(table[0]))
#define HELP_COLUMN 32

static const char help_head[] =
    "codex-api-bench " CODEX_API_VERSION
    ": load on an OpenAI-compatible endpoint, and what became of it\n"
    "\n"
    "usage: codex-api-bench --url http://host:port/v1 [OPTION ...]\n"
    "\n"
    "Exit: 0 the run took place, 1 --fail-on struck, 64 wrong usage, 69 no such host.\n"
    "SIGINT ends the run early; what is in flight then counts as aborted.\n";

static const char help_outcomes[] =
    "\nOutcomes\n"
    "  done                  [DONE] after a finish_reason, or a whole JSON answer with one\n"
    "  done_unfinished       [DONE] without a finish_reason\n"
    "  error_frame           an error frame and no [DONE]\n"
    "  clean_done_on_error   an error frame, and then [DONE] as if all were well\n"
    "  cut                   the answer ended without any of these\n"
    "  reset                 so did the connection\n"
    "  refused               no connection\n"
    "  http_NNN[:CODE]       another status than 2xx, with the code of its error\n"
    "  hang                  no end by --timeout-ms\n"
    "  malformed             what came is not HTTP, not events or not JSON\n"
    "  aborted               left by --abort-after\n"
    "  local_error           this machine had no descriptor or port left\n"
    "Beside them: truncated (the stream was complete, its chunked body was not), mismatch, stall.\n"
    "How slow heads end: http_NNN, closed (without an answer), reset, refused, open (until the "
    "end).\n";

static void print_option(FILE *out, const struct option *option)
{
    int used = fprintf(out, "  --%s%s%s", option->name, option->argument != NULL ? " " : "",
                       option->argument != NULL ? option->argument : "");
    const char *line = option->help;
    if (used >= HELP_COLUMN) {
        fputc('\n', out);
        used = 0;
    }
    for (;;) {
        int len = (int)strcspn(line, "\n");
        fprintf(out, "%*s%.*s\n", HELP_COLUMN - used, "", len, line);
        if (line[len] == '\0')
            return;
        line += len + 1;
        used = 0;
    }
}

void options_help(FILE *out)
{
    fputs(help_head, out);
    for (size_t i = 0; i < TABLE_LEN; i++) {
        if (table[i].name == NULL)
            fprintf(out, "\n%s\n", table[i].help);
        else
            print_option(out, &table[i]);
    }
    fputs("  --help, --version\n", out);
    fputs(help_outcomes, out);
}

static const struct option *find(const char *name, size_t len)
{
    for (size_t i = 0; i < TABLE_LEN; i++)
        if (table[i].name != NULL && strlen(table[i].name) == len &&
            memcmp(table[i].name, name, len) == 0)
            return &table[i];
    return NULL;
}

/* ---- the whole ---- */

static bool check(struct reading *r)
{
    struct options *o = r->o;
    r->name = "usage";
    if (o->url == NULL)
        return wrong(r, "--url is missing");
    if (o->rate_per_s > 0 && o->requests == OPTIONS_NEVER && o->duration_ms == 0)
        return wrong(r, "--rate wants --requests or --duration");
    if (o->concurrency == 0 && o->rate_per_s <= 0 && (o->slow_heads == 0 || o->duration_ms == 0))
        return wrong(r, "--concurrency 0 wants --slow-head and --duration");
    if (o->requests == OPTIONS_NEVER && o->duration_ms == 0)
        o->requests = REQUESTS_DEFAULT;
    if (o->requests < OPTIONS_NEVER - o->warmup)
        o->requests += o->warmup;
    const char *key = getenv("PROXY_API_KEY");
    r->name = "PROXY_API_KEY";
    return o->key_count != 0 || key == NULL || *key == '\0' ||
           add_key(r, "default", sizeof("default") - 1, key);
}

static void set_defaults(struct options *o)
{
    *o = (struct options){
        .keep_alive = true,
        .requests = OPTIONS_NEVER,
        .concurrency = 1,
        .max_in_flight = 4096,
        .seed = 1,
        .timeout_ms = 60000,
        .stop_reading_after_bytes = OPTIONS_NEVER,
        .affected = CLIENTS_MAX,
        .slow_head_interval_ms = 1000,
        .probe_interval_ms = 100,
        .model = xstrdup("stub-model"),
    };
    buf_puts(&o->prompt, "Say hello.");
}

/* One option and its value, which may stand behind `=` or be the next argument. Returns the arguments used. */
static int read_option(struct reading *r, char **argument, int left)
{
    const char *text = *argument;
    r->name = text;
    if (strncmp(text, "--", 2) != 0) {
        r->name = "argument";
        return (r->o->url == NULL ? read_url(r, text) : wrong(r, "one too many")) ? 1 : 0;
    }
    size_t len = strcspn(text + 2, "=");
    const struct option *option = find(text + 2, len);
    const char *value = text[2 + len] == '=' ? text + 3 + len : NULL;
    if (option == NULL) {
        wrong(r, "no such option");
        return 0;
    }
    if (option->argument == NULL)
        return value == NULL && option->read(r, NULL) ? 1 : 0;
    if (value == NULL && left < 2) {
        wrong(r, "the value is missing");
        return 0;
    }
    int used = value == NULL ? 2 : 1;
    if (value != NULL) /* the name must not take the value along into a message: it may be a key */
        argument[0][2 + len] = '\0';
    return option->read(r, value != NULL ? value : argument[1]) ? used : 0;
}

enum options_result options_read(struct options *o, int argc, char **argv, FILE *errors)
{
    struct reading r = { .o = o, .errors = errors };
    set_defaults(o);
    for (int at = 1; at < argc;) {
        if (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "-h") == 0)
            return OPTIONS_HELP;
        if (strcmp(argv[at], "--version") == 0)
            return OPTIONS_VERSION;
        int used = read_option(&r, argv + at, argc - at);
        if (used == 0)
            return OPTIONS_WRONG;
        at += used;
    }
    if (!check(&r))
        return OPTIONS_WRONG;
    o->expected.text_len = o->expected_text.len;
    return OPTIONS_RUN;
}

bool options_misbehave(const struct options *o)
{
    return o->abort_after_frames != 0 || o->abort_after_ms != 0 || o->slow_read_bytes_per_s != 0 ||
           o->stop_reading_after_bytes != OPTIONS_NEVER;
}

void options_free(struct options *o)
{
    for (size_t i = 0; i < o->key_count; i++) {
        free(o->keys[i].name);
        free(o->keys[i].key);
    }
    for (size_t i = 0; i < o->value_count; i++)
        free(o->values[i]);
    free(o->values);
    free(o->keys);
    free(o->url);
    free(o->host);
    free(o->host_header);
    free(o->path);
    free(o->port);
    free(o->model);
    free(o->pids);
    free(o->probe_path);
    free(o->fail_on);
    buf_free(&o->prompt);
    buf_free(&o->body);
    buf_free(&o->headers);
    buf_free(&o->expected_text);
}
