/* Settings: one table that parses, bounds, prints and checks them. */
#include "config.h"

#include "access_key.h"
#include "log.h"
#include "rate_limit.h"
#include "setting_syntax.h"
#include "settings_file.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

extern char **environ;

enum setting_type { TEXT, SECRET, COUNT, MILLIS, BYTES, CHOICE };

struct setting {
    const char *name;
    enum setting_type type;
    size_t offset; /* of the field in struct config */
    const char *fallback;
    int64_t min;
    int64_t max;
    const char *const *choices; /* NULL-terminated, for CHOICE: the value is the index */
    const char *help;
};

#define FIELD(name) offsetof(struct config, name)
#define MINUTE INT64_C(60000)
#define HOUR (60 * MINUTE)
#define KIB INT64_C(1024)
#define MIB (1024 * KIB)

static const char *const catalog_choices[] = { "stripped", "bundled", NULL };
static const char *const demo_choices[] = { "off", "auto", "on", NULL };
static const char *const summary_choices[] = { "auto", "concise", "detailed", "none", NULL };
static const char *const commentary_choices[] = { "reasoning", "content", "drop", NULL };
static const char *const level_choices[] = { "debug", "info", "warn", "error", NULL };
static const char *const stderr_choices[] = { "off", "redacted", NULL };
static const char *const switch_choices[] = { "0", "1", NULL };
static const char *const metrics_choices[] = { "auto", "key", "off", NULL };

/* h2o moves a request that reaches 32 MiB into a temporary file; prompts never touch the disk, so the
 * body limit stays below. */
#define BODY_LIMIT_MAX (31 * MIB)

static const struct setting settings[] = {
    { "SETTINGS_FILE", TEXT, FIELD(settings_file), NULL, 0, 0, NULL,
      "file with lines NAME=value for settings that the environment does not set; read again on "
      "SIGHUP" },
    { "PORT", COUNT, FIELD(port), "11435", 0, 65535, NULL,
      "TCP port to listen on; 0 takes a free one" },
    { "PROXY_HOST", TEXT, FIELD(host), "127.0.0.1", 0, 0, NULL,
      "address to listen on: an IPv4 or IPv6 literal" },
    { "PROXY_API_KEY", SECRET, FIELD(api_key), NULL, 0, 0, NULL,
      "bearer key that clients must send; unset: the one in PROXY_API_KEY_FILE" },
    { "PROXY_API_KEY_FILE", TEXT, FIELD(api_key_file), NULL, 0, 0, NULL,
      "file with the bearer key, made with a random key (mode 0600) if missing; unset: "
      "CODEX_HOME/api-key" },
    { "PROXY_KEYS_FILE", TEXT, FIELD(keys_file), NULL, 0, 0, NULL,
      "file of named keys beside that one, changed with codex-api key; unset: CODEX_HOME/keys" },
    { "PROXY_ADMIN_KEY", SECRET, FIELD(admin_key), NULL, 0, 0, NULL,
      "bearer key of the /internal paths; unset: the one in PROXY_ADMIN_KEY_FILE" },
    { "PROXY_ADMIN_KEY_FILE", TEXT, FIELD(admin_key_file), NULL, 0, 0, NULL,
      "file with that key, made with a random key (mode 0600) if missing; unset: "
      "CODEX_HOME/admin-key" },
    { "PROXY_MAINTENANCE_MODE", CHOICE, FIELD(maintenance), "0", 0, 0, switch_choices,
      "1: start in maintenance; 0: in the state of the last run" },
    { "PROXY_MAINTENANCE_RETRY_AFTER_S", COUNT, FIELD(maintenance_retry_after_s), "60", 1, 86400,
      NULL, "Retry-After of a maintenance that names none, in seconds" },
    { "PROXY_RATE_LIMIT_RPM", COUNT, FIELD(rate_rpm), "0", 0, RATE_RPM_MAX, NULL,
      "chat requests a minute that each key may send, unless it has a limit of its own; 429 above. "
      "0: no limit" },
    { "PROXY_RATE_LIMIT_BURST", COUNT, FIELD(rate_burst), "0", 0, RATE_RPM_MAX, NULL,
      "how many of them may come at once; 0: all of a minute" },
    { "CODEX_BIN", TEXT, FIELD(codex_bin), "codex", 0, 0, NULL,
      "the native codex binary to run as the worker" },
    { "CODEX_HOME", TEXT, FIELD(codex_home), ".codex-api", 0, 0, NULL,
      "run-time home: the worker's login and configuration, the key file, the model catalog" },
    { "CODEX_MODEL", TEXT, FIELD(codex_model), NULL, 0, 0, NULL,
      "ids of models that are served beside those the worker lists, separated by commas, for "
      "providers of your own" },
    { "PROXY_MODEL_ALIASES", TEXT, FIELD(model_aliases), NULL, 0, 0, NULL,
      "further names of models: alias=model or alias=model:effort, separated by commas" },
    { "PROXY_CORS_ORIGINS", TEXT, FIELD(cors_origins), NULL, 0, 0, NULL,
      "origins of browser pages that may use the API, separated by commas, or *; unset: none" },
    { "WORKER_CONFIG", TEXT, FIELD(worker_config), NULL, 0, 0, NULL,
      "configuration of the worker: lines of key=value (TOML), passed as -c after our own" },
    { "WORKER_ENV", TEXT, FIELD(worker_env), NULL, 0, 0, NULL,
      "names of further environment variables that the worker may see, separated by commas" },
    { "WORKER_MODEL_CATALOG", CHOICE, FIELD(catalog_mode), "stripped", 0, 0, catalog_choices,
      "stripped: models take client tools and messages as they are; bundled: the worker's own "
      "catalog, untouched" },
    { "DEMO_MODEL", CHOICE, FIELD(demo_mode), "off", 0, 0, demo_choices,
      "the embedded demo model; auto: when there is no login, no OPENAI_API_KEY and no model "
      "provider in CODEX_HOME/config.toml or WORKER_CONFIG" },
    { "WORKER_MAX_CONCURRENCY", COUNT, FIELD(max_concurrency), "32", 1, 1024, NULL,
      "turns that run in the worker at once; a request with n takes n of them" },
    { "WORKER_QUEUE_MAX", COUNT, FIELD(queue_max), "128", 0, 65536, NULL,
      "requests that wait for a turn at once; more are answered 429. 0: none waits" },
    { "WORKER_QUEUE_TIMEOUT_MS", MILLIS, FIELD(queue_timeout_ms), "30000", 10, HOUR, NULL,
      "how long a request waits for a turn, or for a worker that is being restarted; 503 after "
      "it" },
    { "WORKER_HANDSHAKE_TIMEOUT_MS", MILLIS, FIELD(handshake_timeout_ms), "15000", 10, HOUR, NULL,
      "a worker that has not answered the handshake by then is replaced" },
    { "WORKER_RPC_TIMEOUT_MS", MILLIS, FIELD(rpc_timeout_ms), "60000", 10, HOUR, NULL,
      "deadline of one request to the worker" },
    { "WORKER_FIRST_EVENT_TIMEOUT_MS", MILLIS, FIELD(first_event_timeout_ms), "300000", 10,
      24 * HOUR, NULL, "time for the model to begin: a text, a call or a sign of reasoning" },
    { "WORKER_SILENCE_TIMEOUT_MS", MILLIS, FIELD(silence_timeout_ms), "300000", 10, 24 * HOUR, NULL,
      "time without any sign of a model that has begun" },
    { "WORKER_TURN_TIMEOUT_MS", MILLIS, FIELD(turn_timeout_ms), "1800000", 10, 24 * HOUR, NULL,
      "deadline of one whole turn" },
    { "WORKER_HEARTBEAT_MS", MILLIS, FIELD(heartbeat_ms), "15000", 0, HOUR, NULL,
      "how often the worker is asked whether it lives; 0: never, and then the two limits of "
      "WORKER_RECYCLE_ are not looked at either" },
    { "WORKER_HEARTBEAT_TIMEOUT_MS", MILLIS, FIELD(heartbeat_timeout_ms), "10000", 10, HOUR, NULL,
      "a worker that is silent for this long twice after being asked is replaced" },
    { "WORKER_RECYCLE_RSS_BYTES", BYTES, FIELD(recycle_rss_bytes), "1073741824", 0,
      1024 * 1024 * MIB, NULL,
      "a worker with more resident memory makes way for a fresh one; 0: never" },
    { "WORKER_RECYCLE_TURNS", COUNT, FIELD(recycle_turns), "0", 0, 1000000000, NULL,
      "a worker that has begun so many turns makes way for a fresh one; 0: never" },
    { "WORKER_INPUT_QUEUE_MAX_BYTES", BYTES, FIELD(input_queue_max_bytes), "8388608", KIB, 64 * MIB,
      NULL, "bytes that the worker has not read yet before it gets no new work" },
    { "AUTH_POLL_MS", MILLIS, FIELD(auth_poll_ms), "2000", 0, HOUR, NULL,
      "how often CODEX_HOME/auth.json is looked at: when it has changed, a fresh worker takes "
      "over; "
      "0: never" },
    { "WORKER_PARK_TTL_MS", MILLIS, FIELD(park_ttl_ms), "120000", 0, HOUR, NULL,
      "how long a turn waits for the results of its function calls before it is given up; the "
      "history "
      "is then replayed" },
    { "WORKER_PARKED_MAX", COUNT, FIELD(parked_max), "64", 0, 1024, NULL,
      "turns that wait for results at once; 0: none waits" },
    { "WORKER_THREAD_TTL_MS", MILLIS, FIELD(idle_ttl_ms), "600000", 0, 24 * HOUR, NULL,
      "how long the thread of an answered conversation is kept for its next message" },
    { "WORKER_THREADS_MAX", COUNT, FIELD(idle_max), "32", 0, 1024, NULL,
      "such threads at once, about 1.4 MB of the worker each; 0: none is kept" },
    { "REASONING_SUMMARY", CHOICE, FIELD(reasoning_summary), "auto", 0, 0, summary_choices,
      "summaries of the model's reasoning, given to clients as reasoning_content" },
    { "COMMENTARY", CHOICE, FIELD(commentary), "reasoning", 0, 0, commentary_choices,
      "where the model's remarks about its work go: reasoning_content, content, or nowhere" },
    { "WORKER_BACKOFF_INITIAL_MS", MILLIS, FIELD(backoff_initial_ms), "250", 1, HOUR, NULL,
      "longest pause before the first restart; doubles with each failure in a row" },
    { "WORKER_BACKOFF_MAX_MS", MILLIS, FIELD(backoff_max_ms), "5000", 1, HOUR, NULL,
      "longest pause before any restart" },
    { "WORKER_STABLE_MS", MILLIS, FIELD(stable_ms), "30000", 1, HOUR, NULL,
      "a worker that was ready for this long has its failures forgiven" },
    { "WORKER_STOP_EOF_MS", MILLIS, FIELD(stop_eof_ms), "2000", 1, HOUR, NULL,
      "stop ladder: time after end of input before SIGTERM" },
    { "WORKER_STOP_TERM_MS", MILLIS, FIELD(stop_term_ms), "5000", 1, HOUR, NULL,
      "stop ladder: time after SIGTERM before SIGKILL" },
    { "WORKER_DRAIN_MS", MILLIS, FIELD(drain_ms), "10000", 0, HOUR, NULL,
      "at SIGTERM, time for requests in flight to finish" },
    { "SSE_KEEPALIVE_MS", MILLIS, FIELD(keepalive_ms), "15000", 0, HOUR, NULL,
      "a stream silent for this long gets a comment line; 0: never" },
    { "MAX_BODY_BYTES", BYTES, FIELD(body_max_bytes), "16777216", KIB, BODY_LIMIT_MAX, NULL,
      "largest request body; 413 above" },
    { "MAX_BODIES_BYTES", BYTES, FIELD(bodies_max_bytes), "536870912", KIB, 1024 * 1024 * MIB, NULL,
      "request bodies that are in memory at once, as they were announced; 503 above" },
    { "MAX_CONNECTIONS", COUNT, FIELD(connections_max), "4096", 1, 100000, NULL,
      "connections at once; more are refused with 503, but for a few that serve probes" },
    { "REQUEST_READ_TIMEOUT_MS", MILLIS, FIELD(request_read_timeout_ms), "60000", 100, HOUR, NULL,
      "time to send a request's head and body, and idle time of a kept-alive connection" },
    { "WRITE_STALL_MS", MILLIS, FIELD(write_stall_ms), "30000", 10, HOUR, NULL,
      "a client that takes no byte for this long is cut off" },
    { "STREAM_PENDING_MAX_BYTES", BYTES, FIELD(stream_pending_max_bytes), "8388608", 4 * KIB,
      1024 * MIB, NULL, "unsent bytes of one stream before its slow client is cut off" },
    { "COMPLETION_MAX_BYTES", BYTES, FIELD(completion_max_bytes), "67108864", 4 * KIB, 1024 * MIB,
      NULL, "longest answer that is collected for a request without stream" },
    { "LOG_LEVEL", CHOICE, FIELD(log_level), "info", 0, 0, level_choices,
      "least level that is logged" },
    { "LOG_LEVELS", TEXT, FIELD(log_levels), NULL, 0, 0, NULL,
      "levels of single components of the log: worker=debug, http=warn; components are app, http, "
      "chat, worker and observe" },
    { "WORKER_STDERR", CHOICE, FIELD(worker_stderr), "off", 0, 0, stderr_choices,
      "what the worker says on stderr once it runs, which may quote users; redacted: logged "
      "without "
      "what looks like a secret" },
    { "METRICS_ACCESS", CHOICE, FIELD(metrics_access), "auto", 0, 0, metrics_choices,
      "who may read /metrics on PORT; auto: who comes over the loopback interface, others with a "
      "key; key: with a key of the API or the admin key; off: nobody" },
    { "METRICS_PORT", COUNT, FIELD(metrics_port), "0", 0, 65535, NULL,
      "TCP port of a second listener, which serves /metrics, /status.json and the health paths to "
      "anyone who reaches it, whatever METRICS_ACCESS says; 0: none" },
    { "METRICS_HOST", TEXT, FIELD(metrics_host), "127.0.0.1", 0, 0, NULL,
      "address of that listener: an IPv4 or IPv6 literal" },
    { "HEALTH_CHECKS", TEXT, FIELD(health_checks), NULL, 0, 0, NULL,
      "checks of your own in the health answers, separated by commas: name=tcp:host:port, or "
      "name=file:/path:seconds for a file that must not be older" },
    { "HEALTH_REQUIRED", TEXT, FIELD(health_required), NULL, 0, 0, NULL,
      "names of checks that make /readyz answer 503 when they fail, separated by commas; others "
      "only show" },
    { "HEALTH_INTERVAL_MS", MILLIS, FIELD(health_interval_ms), "10000", 100, HOUR, NULL,
      "how often the checks are made" },
    { "HEALTH_TIMEOUT_MS", MILLIS, FIELD(health_timeout_ms), "2000", 10, HOUR, NULL,
      "a check without an answer by then has failed" },
    { "HEALTH_RPC_MAX_MS", MILLIS, FIELD(health_rpc_max_ms), "5000", 1, HOUR, NULL,
      "the check worker_rpc fails when the last heartbeat took longer to be answered" },
    { "HEALTH_DISK_MIN_BYTES", BYTES, FIELD(health_disk_min_bytes), "104857600", 0,
      1024 * 1024 * MIB, NULL, "the check disk fails when CODEX_HOME has less room" },
    { "HEALTH_MEMORY_MAX_PERCENT", COUNT, FIELD(health_memory_max_percent), "90", 1, 100, NULL,
      "the check memory fails when more of the cgroup's limit, or else of the machine's memory, is "
      "in use" },
    { "PROXY_TRACE_BUFFER", TEXT, FIELD(trace_buffer), "off", 0, 0, NULL,
      "requests that leave a trace file in CODEX_HOME/trace-buffer: off, errors, all, or sample:N "
      "for errors and one of N others" },
    { "PROXY_TRACE_TTL_MS", MILLIS, FIELD(trace_ttl_ms), "86400000", 100, 30 * 24 * HOUR, NULL,
      "trace files that are older are removed" },
    { "PROXY_TRACE_FILES_MAX", COUNT, FIELD(trace_files_max), "100", 1, 10000, NULL,
      "trace files that are kept; the oldest is removed" },
    { "PROXY_TRACE_KEY_FILE", TEXT, FIELD(trace_key_file), NULL, 0, 0, NULL,
      "file with the key that trace files are encrypted with, made with a random key (mode 0600) "
      "if missing; unset: they are not" },
    { "INTERACTION_LOG", CHOICE, FIELD(interaction_log), "1", 0, 0, switch_choices,
      "1: one line for each API request in CODEX_HOME/interactions/YYYY-MM-DD.jsonl" },
    { "INTERACTION_PROMPT_CHARS", COUNT, FIELD(interaction_prompt_chars), "0", 0, 4096, NULL,
      "characters of the last user message in it, scrubbed; 0: none" },
    { "INTERACTION_RETENTION_DAYS", COUNT, FIELD(interaction_retention_days), "30", 1, 3660, NULL,
      "files that are older are removed" },
    { "INTERACTION_MAX_BYTES", BYTES, FIELD(interaction_max_bytes), "268435456", 64 * KIB,
      1024 * 1024 * MIB, NULL, "room of all of them; the oldest is removed" },
    { "PRICE_FILE", TEXT, FIELD(price_file), NULL, 0, 0, NULL,
      "JSON file of prices, US dollars for a million tokens: {\"model\": {\"input\": 1.25, "
      "\"cached_input\": 0.125, \"output\": 10}}; read again on SIGHUP" },
    { "STARTUP_HINT", CHOICE, FIELD(startup_hint), "0", 0, 0, switch_choices,
      "1: print the URL, the key and a curl line on stderr once the worker is ready" },
};

#define SETTING_COUNT (sizeof(settings) / sizeof(settings[0]))

static char **text_field(struct config *c, const struct setting *s)
{
    return (char **)(void *)((char *)c + s->offset);
}

static int64_t *number_field(struct config *c, const struct setting *s)
{
    return (int64_t *)(void *)((char *)c + s->offset);
}

static bool is_text(const struct setting *s)
{
    return s->type == TEXT || s->type == SECRET;
}

static void print_choices(FILE *out, const struct setting *s)
{
    for (size_t i = 0; s->choices[i] != NULL; i++)
        fprintf(out, "%s%s", i == 0 ? "" : ", ", s->choices[i]);
}

static bool parse_choice(const struct setting *s, const char *value, int64_t *ret, FILE *complaints)
{
    for (size_t i = 0; s->choices[i] != NULL; i++) {
        if (strcmp(value, s->choices[i]) == 0) {
            *ret = (int64_t)i;
            return true;
        }
    }
    fprintf(complaints, "%s: must be one of ", s->name);
    print_choices(complaints, s);
    fputc('\n', complaints);
    return false;
}

static bool parse_number(const struct setting *s, const char *value, int64_t *ret, FILE *complaints)
{
    char *end = NULL;
    errno = 0;
    long long number = strtoll(value, &end, 10);
    bool digits = value[0] >= '0' && value[0] <= '9' && *end == '\0';
    if (!digits || errno != 0 || number < s->min || number > s->max) {
        fprintf(complaints, "%s: must be a whole number from %" PRId64 " to %" PRId64 "\n", s->name,
                s->min, s->max);
        return false;
    }
    *ret = number;
    return true;
}

/* An empty variable is an unset one: compose files and unit files cannot leave one out. */
static const char *non_empty(const char *value)
{
    return value != NULL && *value != '\0' ? value : NULL;
}

/* The environment comes before the file, and that before the default. */
static bool load_one(struct config *c, const struct setting *s, const struct settings_file *file,
                     FILE *complaints)
{
    const char *value = non_empty(getenv(s->name));
    if (value == NULL)
        value = non_empty(settings_file_get(file, s->name));
    if (value == NULL)
        value = s->fallback;
    if (is_text(s)) {
        *text_field(c, s) = value != NULL ? xstrdup(value) : NULL;
        return true;
    }
    if (s->type == CHOICE)
        return parse_choice(s, value, number_field(c, s), complaints);
    return parse_number(s, value, number_field(c, s), complaints);
}

static bool known(const char *name, size_t len)
{
    for (size_t i = 0; i < SETTING_COUNT; i++)
        if (strlen(settings[i].name) == len && memcmp(settings[i].name, name, len) == 0)
            return true;
    return false;
}

/* A misspelt setting would silently do nothing: warn about names that only we could have. */
static void warn_unknown(FILE *complaints)
{
    static const char *const prefixes[] = { "PROXY_",   "WORKER_", "SSE_",
                                            "METRICS_", "HEALTH_", "INTERACTION_" };
    for (char **var = environ; var != NULL && *var != NULL; var++) {
        size_t len = strcspn(*var, "=");
        for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
            if (strncmp(*var, prefixes[i], strlen(prefixes[i])) == 0 && !known(*var, len))
                fprintf(complaints, "warning: %.*s is not a setting of codex-api\n", (int)len,
                        *var);
    }
}

/* In a file of ours every name is meant for us. */
static int check_file(const struct settings_file *file, FILE *complaints)
{
    int wrong = 0;
    for (size_t i = 0; i < file->count; i++) {
        const struct settings_line *line = &file->lines[i];
        bool itself = strcmp(line->name, "SETTINGS_FILE") == 0;
        if (known(line->name, strlen(line->name)) && !itself)
            continue;
        fprintf(complaints, "SETTINGS_FILE: line %u: %s %s\n", line->line, line->name,
                itself ? "can only be set in the environment" : "is not a setting of codex-api");
        wrong++;
    }
    return wrong;
}

static int check_log_levels(const struct config *c, FILE *complaints)
{
    if (log_levels_valid(c->log_levels))
        return 0;
    fputs("LOG_LEVELS: must be component=level, separated by commas; components are ", complaints);
    for (size_t i = 0; log_component_name(i) != NULL; i++)
        fprintf(complaints, "%s%s", i == 0 ? "" : ", ", log_component_name(i));
    fputs("; levels are those of LOG_LEVEL\n", complaints);
    return 1;
}

static int check_address(const char *name, const char *text, FILE *complaints)
{
    unsigned char address[sizeof(struct in6_addr)];
    if (inet_pton(AF_INET, text, address) == 1 || inet_pton(AF_INET6, text, address) == 1)
        return 0;
    fprintf(complaints, "%s: must be an IPv4 or IPv6 literal, without brackets\n", name);
    return 1;
}

static int check_key(const char *name, const char *key, FILE *complaints)
{
    size_t len = key != NULL ? strlen(key) : ACCESS_KEY_MIN;
    if (len < ACCESS_KEY_MIN || len > ACCESS_KEY_MAX) {
        fprintf(complaints, "%s: must have %d to %d characters\n", name, ACCESS_KEY_MIN,
                ACCESS_KEY_MAX);
        return 1;
    }
    for (const char *p = key; p != NULL && *p != '\0'; p++) {
        if (*p <= ' ' || *p > '~') {
            fprintf(complaints, "%s: must be printable ASCII without spaces\n", name);
            return 1;
        }
    }
    return 0;
}

/* An entry that nobody can read would be skipped in silence, or end each worker at its start. */
static int check_lists(const struct config *c, FILE *complaints)
{
    const struct {
        bool ok;
        const char *complaint;
    } lists[] = {
        { setting_syntax_is_aliases(c->model_aliases),
          "PROXY_MODEL_ALIASES: must be alias=model or alias=model:effort, separated by commas" },
        { setting_syntax_is_origins(c->cors_origins),
          "PROXY_CORS_ORIGINS: must be scheme://host[:port] with nothing behind it, separated by "
          "commas, or *" },
        { setting_syntax_is_assignments(c->worker_config),
          "WORKER_CONFIG: must be lines of key=value" },
        { setting_syntax_is_variables(c->worker_env),
          "WORKER_ENV: must be names of letters, digits and _, separated by commas" },
    };
    int wrong = 0;
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        if (lists[i].ok)
            continue;
        fprintf(complaints, "%s\n", lists[i].complaint);
        wrong++;
    }
    return wrong;
}

static int check_together(const struct config *c, FILE *complaints)
{
    int wrong = check_log_levels(c, complaints) + check_lists(c, complaints);
    /* A value that was refused is 0 and has its complaint already. */
    if (c->backoff_max_ms != 0 && c->backoff_max_ms < c->backoff_initial_ms) {
        fputs("WORKER_BACKOFF_MAX_MS: must not be below WORKER_BACKOFF_INITIAL_MS\n", complaints);
        wrong++;
    }
    wrong += check_address("PROXY_HOST", c->host, complaints);
    wrong += check_address("METRICS_HOST", c->metrics_host, complaints);
    if (c->bodies_max_bytes != 0 && c->bodies_max_bytes < c->body_max_bytes) {
        fputs("MAX_BODIES_BYTES: must not be below MAX_BODY_BYTES\n", complaints);
        wrong++;
    }
    wrong += check_key("PROXY_API_KEY", c->api_key, complaints);
    wrong += check_key("PROXY_ADMIN_KEY", c->admin_key, complaints);
    if (c->api_key != NULL && c->admin_key != NULL && strcmp(c->api_key, c->admin_key) == 0) {
        fputs("PROXY_ADMIN_KEY: must not be the key of clients\n", complaints);
        wrong++;
    }
    return wrong;
}

int config_load(struct config *ret, FILE *complaints)
{
    int wrong = 0;
    struct settings_file file = { NULL, 0 };
    const char *path = non_empty(getenv("SETTINGS_FILE"));
    *ret = (struct config){ .port = 0 };
    if (path != NULL)
        wrong += settings_file_read(&file, path, complaints);
    wrong += check_file(&file, complaints);
    for (size_t i = 0; i < SETTING_COUNT; i++)
        wrong += load_one(ret, &settings[i], &file, complaints) ? 0 : 1;
    settings_file_free(&file);
    wrong += check_together(ret, complaints);
    warn_unknown(complaints);
    return wrong;
}

void config_free(struct config *c)
{
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        const struct setting *s = &settings[i];
        if (!is_text(s))
            continue;
        char **field = text_field(c, s);
        if (s->type == SECRET && *field != NULL)
            sodium_memzero(*field, strlen(*field));
        free(*field);
        *field = NULL;
    }
}

/* What was bound, sized or started by them stays as it is until the next start. */
static const char *const fixed_names[] = {
    "SETTINGS_FILE",        "PORT",
    "PROXY_HOST",           "PROXY_API_KEY",
    "CODEX_HOME",           "DEMO_MODEL",
    "MAX_BODY_BYTES",       "REQUEST_READ_TIMEOUT_MS",
    "STARTUP_HINT",         "PROXY_API_KEY_FILE",
    "AUTH_POLL_MS",         "PROXY_KEYS_FILE",
    "MAX_CONNECTIONS",      "MAX_BODIES_BYTES",
    "PROXY_ADMIN_KEY",      "PROXY_ADMIN_KEY_FILE",
    "METRICS_PORT",         "METRICS_HOST",
    "INTERACTION_LOG",      "PROXY_MAINTENANCE_MODE",
    "PROXY_TRACE_KEY_FILE",
};

static bool is_fixed(const struct setting *s)
{
    for (size_t i = 0; i < sizeof(fixed_names) / sizeof(fixed_names[0]); i++)
        if (strcmp(fixed_names[i], s->name) == 0)
            return true;
    return false;
}

/* Swaps one setting between two configurations. */
static void swap_one(struct config *a, struct config *b, const struct setting *s)
{
    if (is_text(s)) {
        char *text = *text_field(a, s);
        *text_field(a, s) = *text_field(b, s);
        *text_field(b, s) = text;
    } else {
        int64_t number = *number_field(a, s);
        *number_field(a, s) = *number_field(b, s);
        *number_field(b, s) = number;
    }
}

static bool differs(const struct config *a, const struct config *b, const struct setting *s)
{
    struct config *x = (struct config *)(uintptr_t)a;
    struct config *y = (struct config *)(uintptr_t)b;
    if (!is_text(s))
        return *number_field(x, s) != *number_field(y, s);
    const char *before = *text_field(x, s);
    const char *after = *text_field(y, s);
    if (before == NULL || after == NULL)
        return before != after;
    return strcmp(before, after) != 0;
}

size_t config_replace(struct config *live, struct config *coming,
                      void (*on_fixed)(void *ctx, const char *name), void *ctx)
{
    size_t changed = 0;
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        const struct setting *s = &settings[i];
        if (!differs(live, coming, s))
            continue;
        if (is_fixed(s)) {
            on_fixed(ctx, s->name);
            continue;
        }
        swap_one(live, coming, s);
        changed++;
    }
    return changed;
}

const char *config_summary_name(const struct config *c)
{
    return summary_choices[c->reasoning_summary];
}

static void print_range(FILE *out, const struct setting *s)
{
    static const char *const units[] = { [COUNT] = "", [MILLIS] = " ms", [BYTES] = " bytes" };
    if (s->type == CHOICE) {
        fputs(" [", out);
        print_choices(out, s);
        fputc(']', out);
    } else if (!is_text(s)) {
        fprintf(out, " [%" PRId64 " to %" PRId64 "%s]", s->min, s->max, units[s->type]);
    }
}

void config_help(FILE *out)
{
    fputs("Settings (environment variables; an empty one counts as unset):\n", out);
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        const struct setting *s = &settings[i];
        fprintf(out, "  %s (default: %s)", s->name, s->fallback != NULL ? s->fallback : "unset");
        print_range(out, s);
        fprintf(out, "%s\n      %s\n", is_fixed(s) ? " (read at the start only)" : "", s->help);
    }
}
