/* Settings: every one has a default, bounds that hold to the digit, and a complaint that names it. */
#include "buf.h"
#include "config.h"
#include "environment.h"
#include "folder.h"
#include "unit.h"

#include <sodium.h>
#include <stddef.h>

/* What a load came to. */
struct loaded {
    struct config config;
    int wrong;
    char *complaints;
};

static void load(struct loaded *l)
{
    size_t len = 0;
    FILE *out = open_memstream(&l->complaints, &len);
    l->wrong = config_load(&l->config, out);
    fclose(out);
}

static void unload(struct loaded *l)
{
    config_free(&l->config);
    free(l->complaints);
    l->complaints = NULL;
}

static struct folder folder;

static int setup(void **state)
{
    environment_empty();
    folder_make(&folder);
    struct loaded *l = calloc(1, sizeof(*l));
    *state = l;
    return 0;
}

static int teardown(void **state)
{
    struct loaded *l = *state;
    unload(l);
    free(l);
    folder_remove(&folder);
    return 0;
}

static size_t count_of(const char *text, const char *part)
{
    size_t count = 0;
    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part))
        count++;
    return count;
}

/* ---- the settings that are numbers, as the documentation has them ---- */

#define NUMBER(name, field, fallback, min, max)                                                    \
    {                                                                                              \
        name, offsetof(struct config, field), fallback, min, max                                   \
    }

static const struct {
    const char *name;
    size_t offset;
    int64_t fallback;
    int64_t min;
    int64_t max;
} numbers[] = {
    NUMBER("PORT", port, 11435, 0, 65535),
    NUMBER("WORKER_MAX_CONCURRENCY", max_concurrency, 32, 1, 1024),
    NUMBER("PROXY_RATE_LIMIT_RPM", rate_rpm, 0, 0, 1000000),
    NUMBER("PROXY_RATE_LIMIT_BURST", rate_burst, 0, 0, 1000000),
    NUMBER("WORKER_QUEUE_MAX", queue_max, 128, 0, 65536),
    NUMBER("WORKER_QUEUE_TIMEOUT_MS", queue_timeout_ms, 30000, 10, 3600000),
    NUMBER("WORKER_HANDSHAKE_TIMEOUT_MS", handshake_timeout_ms, 15000, 10, 3600000),
    NUMBER("WORKER_RPC_TIMEOUT_MS", rpc_timeout_ms, 60000, 10, 3600000),
    NUMBER("WORKER_TURN_TIMEOUT_MS", turn_timeout_ms, 1800000, 10, 86400000),
    NUMBER("WORKER_FIRST_EVENT_TIMEOUT_MS", first_event_timeout_ms, 300000, 10, 86400000),
    NUMBER("WORKER_SILENCE_TIMEOUT_MS", silence_timeout_ms, 300000, 10, 86400000),
    NUMBER("WORKER_HEARTBEAT_MS", heartbeat_ms, 15000, 0, 3600000),
    NUMBER("WORKER_HEARTBEAT_TIMEOUT_MS", heartbeat_timeout_ms, 10000, 10, 3600000),
    NUMBER("WORKER_RECYCLE_RSS_BYTES", recycle_rss_bytes, 1073741824, 0, 1099511627776),
    NUMBER("WORKER_RECYCLE_TURNS", recycle_turns, 0, 0, 1000000000),
    NUMBER("WORKER_INPUT_QUEUE_MAX_BYTES", input_queue_max_bytes, 8388608, 1024, 67108864),
    NUMBER("AUTH_POLL_MS", auth_poll_ms, 2000, 0, 3600000),
    NUMBER("WORKER_BACKOFF_INITIAL_MS", backoff_initial_ms, 250, 1, 3600000),
    NUMBER("WORKER_BACKOFF_MAX_MS", backoff_max_ms, 5000, 1, 3600000),
    NUMBER("WORKER_STABLE_MS", stable_ms, 30000, 1, 3600000),
    NUMBER("WORKER_STOP_EOF_MS", stop_eof_ms, 2000, 1, 3600000),
    NUMBER("WORKER_STOP_TERM_MS", stop_term_ms, 5000, 1, 3600000),
    NUMBER("WORKER_DRAIN_MS", drain_ms, 10000, 0, 3600000),
    NUMBER("SSE_KEEPALIVE_MS", keepalive_ms, 15000, 0, 3600000),
    NUMBER("MAX_BODY_BYTES", body_max_bytes, 16777216, 1024, 31 * 1024 * 1024),
    NUMBER("REQUEST_READ_TIMEOUT_MS", request_read_timeout_ms, 60000, 100, 3600000),
    NUMBER("WRITE_STALL_MS", write_stall_ms, 30000, 10, 3600000),
    NUMBER("STREAM_PENDING_MAX_BYTES", stream_pending_max_bytes, 8388608, 4096, 1073741824),
    NUMBER("COMPLETION_MAX_BYTES", completion_max_bytes, 67108864, 4096, 1073741824),
    NUMBER("PROXY_MAINTENANCE_RETRY_AFTER_S", maintenance_retry_after_s, 60, 1, 86400),
    NUMBER("METRICS_PORT", metrics_port, 0, 0, 65535),
    NUMBER("HEALTH_INTERVAL_MS", health_interval_ms, 10000, 100, 3600000),
    NUMBER("HEALTH_TIMEOUT_MS", health_timeout_ms, 2000, 10, 3600000),
    NUMBER("HEALTH_RPC_MAX_MS", health_rpc_max_ms, 5000, 1, 3600000),
    NUMBER("HEALTH_DISK_MIN_BYTES", health_disk_min_bytes, 104857600, 0, 1099511627776),
    NUMBER("HEALTH_MEMORY_MAX_PERCENT", health_memory_max_percent, 90, 1, 100),
    NUMBER("PROXY_TRACE_TTL_MS", trace_ttl_ms, 86400000, 100, 2592000000),
    NUMBER("PROXY_TRACE_FILES_MAX", trace_files_max, 100, 1, 10000),
    NUMBER("INTERACTION_PROMPT_CHARS", interaction_prompt_chars, 0, 0, 4096),
    NUMBER("INTERACTION_RETENTION_DAYS", interaction_retention_days, 30, 1, 3660),
    NUMBER("INTERACTION_MAX_BYTES", interaction_max_bytes, 268435456, 65536, 1099511627776),
};

static int64_t number_at(const struct config *c, size_t offset)
{
    return *(const int64_t *)(const void *)((const char *)c + offset);
}

static void test_without_an_environment_everything_has_its_default(void **state)
{
    struct loaded *l = *state;
    load(l);
    const struct config *c = &l->config;
    assert_int_equal(l->wrong, 0);
    assert_string_equal(l->complaints, "");
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        assert_int_equal(number_at(c, numbers[i].offset), numbers[i].fallback);
    assert_string_equal(c->host, "127.0.0.1");
    assert_string_equal(c->codex_bin, "codex");
    assert_string_equal(c->codex_home, ".codex-api");
    assert_null(c->api_key);
    assert_null(c->api_key_file);
    assert_null(c->codex_model);
    assert_null(c->worker_config);
    assert_null(c->worker_env);
    assert_int_equal(c->catalog_mode, CATALOG_STRIPPED);
    assert_int_equal(c->demo_mode, DEMO_OFF);
    assert_int_equal(c->log_level, 1);
    assert_int_equal(c->startup_hint, 0);
}

static void test_an_empty_setting_is_an_unset_one(void **state)
{
    struct loaded *l = *state;
    static const char *const names[] = { "PORT",          "PROXY_HOST",  "PROXY_API_KEY",
                                         "CODEX_BIN",     "DEMO_MODEL",  "WORKER_MODEL_CATALOG",
                                         "WORKER_CONFIG", "CODEX_MODEL", "SSE_KEEPALIVE_MS" };
    for (size_t i = 0; i < COUNT_OF(names); i++)
        environment_set(names[i], "");
    load(l);
    assert_int_equal(l->wrong, 0);
    assert_string_equal(l->complaints, "");
    assert_int_equal(l->config.port, 11435);
    assert_string_equal(l->config.host, "127.0.0.1");
    assert_null(l->config.api_key);
    assert_null(l->config.codex_model);
    assert_int_equal(l->config.keepalive_ms, 15000);
}

static void test_texts_are_taken_as_they_are(void **state)
{
    struct loaded *l = *state;
    environment_set("PROXY_HOST", "::1");
    environment_set("PROXY_API_KEY", "s3cret-key!");
    environment_set("PROXY_API_KEY_FILE", "/run/secrets/key");
    environment_set("CODEX_BIN", "/opt/codex with blanks");
    environment_set("CODEX_HOME", "home");
    environment_set("CODEX_MODEL", "my/model");
    environment_set("WORKER_CONFIG", "a=1\nb=\"x\"\n");
    environment_set("WORKER_ENV", "A, B");
    load(l);
    const struct config *c = &l->config;
    assert_int_equal(l->wrong, 0);
    assert_string_equal(c->host, "::1");
    assert_string_equal(c->api_key, "s3cret-key!");
    assert_string_equal(c->api_key_file, "/run/secrets/key");
    assert_string_equal(c->codex_bin, "/opt/codex with blanks");
    assert_string_equal(c->codex_home, "home");
    assert_string_equal(c->codex_model, "my/model");
    assert_string_equal(c->worker_config, "a=1\nb=\"x\"\n");
    assert_string_equal(c->worker_env, "A, B");
}

static void set_number(const char *name, int64_t value)
{
    char text[32];
    snprintf(text, sizeof(text), "%lld", (long long)value);
    environment_set(name, text);
}

/* Alone in the environment, but for the partner that a bound of two settings needs. */
static void load_with(struct loaded *l, const char *name)
{
    if (strcmp(name, "WORKER_BACKOFF_INITIAL_MS") == 0)
        environment_set("WORKER_BACKOFF_MAX_MS", "3600000");
    if (strcmp(name, "WORKER_BACKOFF_MAX_MS") == 0)
        environment_set("WORKER_BACKOFF_INITIAL_MS", "1");
    load(l);
}

static void test_both_ends_of_a_range_are_allowed(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        const int64_t ends[] = { numbers[i].min, numbers[i].max };
        for (size_t end = 0; end < 2; end++) {
            struct loaded l;
            environment_empty();
            set_number(numbers[i].name, ends[end]);
            load_with(&l, numbers[i].name);
            assert_string_equal(l.complaints, "");
            assert_int_equal(l.wrong, 0);
            assert_int_equal(number_at(&l.config, numbers[i].offset), ends[end]);
            unload(&l);
        }
    }
}

static void assert_only_complaint(const char *name, const char *reason)
{
    struct loaded l;
    load(&l);
    char *wanted = NULL;
    assert_true(asprintf(&wanted, "%s: %s\n", name, reason) > 0);
    assert_string_equal(l.complaints, wanted);
    assert_int_equal(l.wrong, 1);
    free(wanted);
    unload(&l);
}

static void test_one_past_a_bound_is_refused_with_both_bounds(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        const int64_t outside[] = { numbers[i].min - 1, numbers[i].max + 1 };
        for (size_t end = 0; end < 2; end++) {
            char reason[128];
            snprintf(reason, sizeof(reason), "must be a whole number from %lld to %lld",
                     (long long)numbers[i].min, (long long)numbers[i].max);
            environment_empty();
            set_number(numbers[i].name, outside[end]);
            /* A refused maximum counts as 0, which is below any initial pause: its own complaint. */
            if (strcmp(numbers[i].name, "WORKER_BACKOFF_MAX_MS") != 0)
                assert_only_complaint(numbers[i].name, reason);
        }
    }
}

static void test_what_is_no_whole_number_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = { "x",
                                       "1x",
                                       " 1",
                                       "1 ",
                                       "+1",
                                       "0x10",
                                       "1.0",
                                       "1e3",
                                       "-1",
                                       "--",
                                       "8080;",
                                       "\xd9",
                                       "1\n",
                                       "99999999999999999999",
                                       "18446744073709551617" };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        environment_empty();
        environment_set("PORT", bad[i]);
        assert_only_complaint("PORT", "must be a whole number from 0 to 65535");
    }
}

static void test_leading_zeros_do_not_make_a_number_octal(void **state)
{
    struct loaded *l = *state;
    environment_set("PORT", "0100");
    load(l);
    assert_int_equal(l->wrong, 0);
    assert_int_equal(l->config.port, 100);
}

static void test_each_choice_is_its_index(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *value;
        size_t offset;
        int64_t wanted;
    } cases[] = {
        { "DEMO_MODEL", "off", offsetof(struct config, demo_mode), DEMO_OFF },
        { "DEMO_MODEL", "auto", offsetof(struct config, demo_mode), DEMO_AUTO },
        { "DEMO_MODEL", "on", offsetof(struct config, demo_mode), DEMO_ON },
        { "WORKER_MODEL_CATALOG", "stripped", offsetof(struct config, catalog_mode),
          CATALOG_STRIPPED },
        { "WORKER_MODEL_CATALOG", "bundled", offsetof(struct config, catalog_mode),
          CATALOG_BUNDLED },
        { "LOG_LEVEL", "debug", offsetof(struct config, log_level), 0 },
        { "LOG_LEVEL", "error", offsetof(struct config, log_level), 3 },
        { "STARTUP_HINT", "0", offsetof(struct config, startup_hint), 0 },
        { "STARTUP_HINT", "1", offsetof(struct config, startup_hint), 1 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct loaded l;
        environment_empty();
        environment_set(cases[i].name, cases[i].value);
        load(&l);
        assert_int_equal(l.wrong, 0);
        assert_int_equal(number_at(&l.config, cases[i].offset), cases[i].wanted);
        unload(&l);
    }
}

static void test_another_choice_is_refused_with_those_there_are(void **state)
{
    (void)state;
    static const char *const bad[] = { "yes", "ON", "o", "off ", "offf" };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        environment_empty();
        environment_set("DEMO_MODEL", bad[i]);
        assert_only_complaint("DEMO_MODEL", "must be one of off, auto, on");
    }
}

static void test_every_wrong_setting_is_named_at_once(void **state)
{
    struct loaded *l = *state;
    environment_set("PORT", "none");
    environment_set("LOG_LEVEL", "loud");
    environment_set("WORKER_DRAIN_MS", "-5");
    environment_set("PROXY_API_KEY", "short");
    environment_set("WORKER_BACKOFF_INITIAL_MS", "6000");
    load(l);
    assert_int_equal(l->wrong, 5);
    assert_int_equal(count_of(l->complaints, "\n"), 5);
    static const char *const named[] = { "PORT: ", "LOG_LEVEL: ", "WORKER_DRAIN_MS: ",
                                         "PROXY_API_KEY: ", "WORKER_BACKOFF_MAX_MS: " };
    for (size_t i = 0; i < COUNT_OF(named); i++)
        assert_int_equal(count_of(l->complaints, named[i]), 1);
}

static void test_one_wrong_setting_is_one_complaint(void **state)
{
    (void)state;
    environment_set("WORKER_BACKOFF_INITIAL_MS", "4000");
    environment_set("WORKER_BACKOFF_MAX_MS", "abc");
    assert_only_complaint("WORKER_BACKOFF_MAX_MS", "must be a whole number from 1 to 3600000");
}

static void test_the_longest_backoff_may_equal_the_first(void **state)
{
    struct loaded *l = *state;
    environment_set("WORKER_BACKOFF_INITIAL_MS", "700");
    environment_set("WORKER_BACKOFF_MAX_MS", "700");
    load(l);
    assert_int_equal(l->wrong, 0);
    environment_set("WORKER_BACKOFF_MAX_MS", "699");
    assert_only_complaint("WORKER_BACKOFF_MAX_MS", "must not be below WORKER_BACKOFF_INITIAL_MS");
}

static void test_a_key_must_be_long_enough_and_printable(void **state)
{
    (void)state;
    environment_set("PROXY_API_KEY", "1234567");
    assert_only_complaint("PROXY_API_KEY", "must have 8 to 512 characters");
    char key[514];
    memset(key, 'k', sizeof(key));
    key[513] = '\0';
    environment_set("PROXY_API_KEY", key); /* it would never match itself */
    assert_only_complaint("PROXY_API_KEY", "must have 8 to 512 characters");
    static const char *const bad[] = { "12345678 ",
                                       "1234 5678",
                                       "1234\t5678",
                                       "12345678\n",
                                       "1234\x7f"
                                       "5678",
                                       "1234\xc3\xa4"
                                       "5678" };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        environment_set("PROXY_API_KEY", bad[i]);
        assert_only_complaint("PROXY_API_KEY", "must be printable ASCII without spaces");
    }
}

#define ALIASES_REASON "must be alias=model or alias=model:effort, separated by commas"
#define ORIGINS_REASON                                                                             \
    "must be scheme://host[:port] with nothing behind it, separated by commas, or *"
#define LINES_REASON "must be lines of key=value"
#define VARIABLES_REASON "must be names of letters, digits and _, separated by commas"

static void test_a_list_with_an_entry_of_another_form_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *reason;
        const char *bad[24];
    } cases[] = {
        { "PROXY_MODEL_ALIASES",
          ALIASES_REASON,
          { "a", "=b", "a=", "a=:low", "a=b:", "a=b:c:", "=", "a=:", "a = b", "a=b,c" } },
        { "PROXY_CORS_ORIGINS",
          ORIGINS_REASON,
          { "https://a.example/",
            "https://a.example/x",
            "a.example",
            "//a.example",
            "https:/a.example",
            "https://",
            "https://:80",
            "https://a:",
            "https://a:0",
            "https://a:65536",
            "https://a:8x",
            "1a://b",
            "https://a:99999999999",
            "https://*.example",
            "https://u@a",
            "https://[::1",
            "https://[]",
            "https://[::1]x",
            "https://a\thttp://b",
            "https://a\n",
            "*, a.example",
            "**",
            "Null",
            "://a" } },
        { "WORKER_CONFIG",
          LINES_REASON,
          { "a", "=1", " = 1", "a=1\nb", "a=1\n[table]\nb=2", "a=[\n1,\n]", "a:1" } },
        { "WORKER_ENV",
          VARIABLES_REASON,
          { "A B", "1A", "A=1", "A;B", "A,B-C", "$A", "A,\nB", "\xc3\xa4", "A,B\n" } },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        for (size_t k = 0; k < COUNT_OF(cases[i].bad) && cases[i].bad[k] != NULL; k++) {
            environment_empty();
            environment_set(cases[i].name, cases[i].bad[k]);
            assert_only_complaint(cases[i].name, cases[i].reason);
        }
    }
}

static void test_a_list_may_have_blanks_and_empty_entries(void **state)
{
    (void)state;
    static const char *const good[][2] = {
        { "PROXY_MODEL_ALIASES", " a=b,, c=d:low\te=my:own:high\r\nf=x/y:1,g=h=i ," },
        { "PROXY_MODEL_ALIASES", "a:b=c" },
        { "PROXY_MODEL_ALIASES", " ," },
        { "PROXY_CORS_ORIGINS", "*" },
        { "PROXY_CORS_ORIGINS", " https://a.example,,http://localhost:3000 http://[::1]:65535, " },
        { "PROXY_CORS_ORIGINS", "null,file://,chrome-extension://abcdef,capacitor://localhost,*" },
        { "PROXY_CORS_ORIGINS", "HTTPS://A_b.Example:1,http://[::1],http://127.0.0.1:80" },
        { "WORKER_CONFIG",
          "\n  a.b = 1 \t\r\n\n \t \n# a comment\n\tb={x=\"1, 2\"}\r\n\"c d\"=\ne=" },
        { "WORKER_CONFIG", " \n\r\n" },
        { "WORKER_ENV", " MY_KEY ,,\t_x1, Z \r,a," },
    };
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        struct loaded l;
        environment_empty();
        environment_set(good[i][0], good[i][1]);
        load(&l);
        assert_string_equal(l.complaints, "");
        assert_int_equal(l.wrong, 0);
        unload(&l);
    }
}

static void test_no_complaint_quotes_a_value(void **state)
{
    struct loaded *l = *state;
    environment_set("PROXY_API_KEY", "tellno");
    environment_set("PORT", "tellno");
    environment_set("DEMO_MODEL", "tellno");
    environment_set("PROXY_APIKEY", "tellno");
    environment_set("PROXY_MODEL_ALIASES", "tellno");
    environment_set("PROXY_CORS_ORIGINS", "tellno");
    environment_set("WORKER_CONFIG", "tellno");
    environment_set("WORKER_ENV", "-tellno");
    load(l);
    assert_int_equal(l->wrong, 7);
    assert_null(strstr(l->complaints, "tellno"));
}

static void test_names_that_only_we_could_have_are_warned_about(void **state)
{
    struct loaded *l = *state;
    environment_set("PROXY_APIKEY", "x");
    environment_set("WORKER_BACKOFF", "x");
    environment_set("SSE_PING", "x");
    environment_set("CODEX_API_SERVICE_HOST",
                    "x"); /* as Kubernetes sets for a service of our name */
    environment_set("CODEX_API_PORT_11435_TCP", "tcp://10.0.0.1:11435");
    environment_set("PORTS", "x");
    environment_set("HTTP_PROXY", "x");
    environment_set("PROXY_HOST", "127.0.0.2");
    load(l);
    assert_int_equal(l->wrong, 0);
    assert_int_equal(count_of(l->complaints, "\n"), 3);
    static const char *const named[] = { "PROXY_APIKEY", "WORKER_BACKOFF", "SSE_PING" };
    for (size_t i = 0; i < COUNT_OF(named); i++) {
        char line[128];
        snprintf(line, sizeof(line), "warning: %s is not a setting of codex-api\n", named[i]);
        assert_int_equal(count_of(l->complaints, line), 1);
    }
}

/* ---- the file ---- */

/* A file with these settings, named in the environment. */
static void put_file(const char *text)
{
    folder_put(&folder, "settings", text, strlen(text));
    char *path = folder_path(&folder, "settings");
    environment_set("SETTINGS_FILE", path);
    free(path);
}

static void test_settings_come_from_the_environment_then_the_file_then_the_table(void **state)
{
    struct loaded *l = *state;
    put_file("PORT=1234\nPROXY_HOST=::1\nLOG_LEVEL=warn\nPROXY_API_KEY=\"from the file\"\n"
             "WORKER_CONFIG=\"a=1\\nb=\\\"2\\\"\"\nWORKER_STABLE_MS=\n");
    environment_set("PORT", "4321");
    environment_set("LOG_LEVEL", ""); /* as if it were not set */
    environment_set("PROXY_API_KEY", "from-the-environment");
    load(l);
    assert_string_equal(l->complaints, "");
    assert_int_equal(l->wrong, 0);
    assert_int_equal(l->config.port, 4321);
    assert_string_equal(l->config.host, "::1");
    assert_int_equal(l->config.log_level, 2);
    assert_string_equal(l->config.api_key, "from-the-environment");
    assert_string_equal(l->config.worker_config, "a=1\nb=\"2\"");
    assert_int_equal(l->config.stable_ms, 30000); /* an empty one is unset here, too */
    assert_int_equal(l->config.drain_ms, 10000);
}

static void test_a_wrong_value_in_the_file_is_named_like_any_other(void **state)
{
    struct loaded *l = *state;
    put_file("PORT=65536\nLOG_LEVEL=loud\n");
    load(l);
    assert_int_equal(l->wrong, 2);
    assert_non_null(strstr(l->complaints, "PORT: "));
    assert_non_null(strstr(l->complaints, "LOG_LEVEL: "));
}

static void test_a_wrong_value_in_the_file_does_not_matter_when_it_is_not_used(void **state)
{
    struct loaded *l = *state;
    put_file("PORT=65536\n");
    environment_set("PORT", "1");
    load(l);
    assert_int_equal(l->wrong, 0);
    assert_int_equal(l->config.port, 1);
}

static void test_in_the_file_an_unknown_name_is_an_error_with_its_line(void **state)
{
    struct loaded *l = *state;
    put_file("# settings\nPORT=1\nPROT=hidden\nWORKER_COLOR=hidden\nPATH=hidden\n");
    load(l);
    assert_int_equal(l->wrong, 3);
    assert_non_null(strstr(l->complaints, "line 3: PROT "));
    assert_non_null(strstr(l->complaints, "line 4: WORKER_COLOR "));
    assert_non_null(strstr(l->complaints, "line 5: PATH "));
    assert_null(strstr(l->complaints, "hidden"));
}

static void test_the_file_cannot_name_another_one(void **state)
{
    struct loaded *l = *state;
    put_file("SETTINGS_FILE=/no/such/file\n");
    load(l);
    assert_int_equal(l->wrong, 1);
    assert_non_null(strstr(l->complaints, "line 1: SETTINGS_FILE can only be set in the environ"));
}

static void test_a_file_that_is_wrong_or_not_there_is_a_wrong_setting(void **state)
{
    struct loaded *l = *state;
    put_file("PORT=1\nno setting\n");
    load(l);
    assert_int_equal(l->wrong, 1);
    assert_non_null(strstr(l->complaints, "line 2 of "));
    unload(l);
    environment_set("SETTINGS_FILE", "/no/such/file");
    load(l);
    assert_int_equal(l->wrong, 1);
    assert_non_null(strstr(l->complaints, "/no/such/file"));
    assert_int_equal(l->config.port, 11435); /* the rest was looked at as well */
    unload(l);
    environment_set("SETTINGS_FILE", "");
    load(l);
    assert_int_equal(l->wrong, 0);
}

/* ---- replacing ---- */

static struct buf fixed; /* names of settings that were told to stay */

static void on_fixed(void *ctx, const char *name)
{
    assert_ptr_equal(ctx, &fixed);
    buf_printf(&fixed, "%s ", name);
}

/* Replaces the live settings by what the environment says now; how many have moved. */
static size_t replace(struct loaded *live, struct loaded *coming)
{
    load(coming);
    assert_int_equal(coming->wrong, 0);
    buf_clear(&fixed);
    return config_replace(&live->config, &coming->config, on_fixed, &fixed);
}

static void test_what_differs_moves_and_is_counted(void **state)
{
    struct loaded *l = *state;
    struct loaded coming = { 0 };
    environment_set("CODEX_MODEL", "old-model");
    environment_set("WORKER_ENV", "OLD");
    environment_set("WORKER_STABLE_MS", "1");
    load(l);
    environment_set("CODEX_MODEL", "new-model");
    environment_set("WORKER_ENV", "");
    environment_set("PROXY_MODEL_ALIASES", "a=b");
    environment_set("WORKER_STABLE_MS", "2");
    environment_set("LOG_LEVEL", "error");
    assert_int_equal(replace(l, &coming), 5);
    assert_string_equal(buf_str(&fixed), "");
    assert_string_equal(l->config.codex_model, "new-model");
    assert_null(l->config.worker_env);
    assert_string_equal(l->config.model_aliases, "a=b");
    assert_int_equal(l->config.stable_ms, 2);
    assert_int_equal(l->config.log_level, 3);
    assert_string_equal(coming.config.codex_model, "old-model"); /* what was there is freed there */
    assert_string_equal(coming.config.worker_env, "OLD");
    assert_null(coming.config.model_aliases);
    unload(&coming);
    assert_string_equal(l->config.codex_model, "new-model");
}

static void test_the_same_settings_are_no_change(void **state)
{
    struct loaded *l = *state;
    struct loaded coming = { 0 };
    environment_set("CODEX_MODEL", "a");
    load(l);
    assert_int_equal(replace(l, &coming), 0);
    assert_string_equal(buf_str(&fixed), "");
    assert_string_equal(l->config.codex_model, "a");
    unload(&coming);
}

static void test_what_can_only_be_set_at_the_start_is_told_and_stays(void **state)
{
    static const char *const values[][2] = {
        { "PORT", "1" },
        { "PROXY_HOST", "::1" },
        { "PROXY_API_KEY", "another-key" },
        { "PROXY_API_KEY_FILE", "/other/key" },
        { "CODEX_HOME", "/other" },
        { "DEMO_MODEL", "on" },
        { "AUTH_POLL_MS", "1" },
        { "MAX_BODY_BYTES", "2048" },
        { "REQUEST_READ_TIMEOUT_MS", "100" },
        { "STARTUP_HINT", "1" },
        { "MAX_BODIES_BYTES", "33554432" },
        { "MAX_CONNECTIONS", "1" },
        { "PROXY_KEYS_FILE", "/other/keys" },
    };
    struct loaded *l = *state;
    struct loaded coming = { 0 };
    load(l);
    put_file("LOG_LEVEL=debug\n");
    for (size_t i = 0; i < COUNT_OF(values); i++)
        environment_set(values[i][0], values[i][1]);
    assert_int_equal(replace(l, &coming), 1); /* LOG_LEVEL */
    for (size_t i = 0; i < COUNT_OF(values); i++)
        assert_int_equal(count_of(buf_str(&fixed), values[i][0]) != 0, 1);
    assert_int_equal(count_of(buf_str(&fixed), " "), COUNT_OF(values) + 1); /* SETTINGS_FILE */
    assert_int_equal(l->config.port, 11435);
    assert_string_equal(l->config.host, "127.0.0.1");
    assert_null(l->config.api_key);
    assert_null(l->config.settings_file);
    assert_int_equal(l->config.demo_mode, DEMO_OFF);
    assert_int_equal(l->config.body_max_bytes, 16777216);
    assert_int_equal(l->config.log_level, 0);
    unload(&coming);
}

static void test_help_says_of_the_same_that_they_are_read_at_the_start(void **state)
{
    (void)state;
    char *help = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&help, &len);
    config_help(out);
    fclose(out);
    assert_int_equal(count_of(help, " (read at the start only)\n"), 21);
    free(help);
}

static void test_freeing_twice_is_safe(void **state)
{
    struct loaded *l = *state;
    environment_set("PROXY_API_KEY", "12345678");
    load(l);
    config_free(&l->config);
    assert_null(l->config.api_key);
    assert_null(l->config.host);
    config_free(&l->config); /* and once more in teardown */
}

static void test_help_names_every_setting_once_with_its_default(void **state)
{
    (void)state;
    environment_set("PROXY_API_KEY", "do-not-print-me");
    char *help = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&help, &len);
    config_help(out);
    fclose(out);
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        char line[128];
        snprintf(line, sizeof(line), "\n  %s (default: %lld) [%lld to %lld", numbers[i].name,
                 (long long)numbers[i].fallback, (long long)numbers[i].min,
                 (long long)numbers[i].max);
        assert_int_equal(count_of(help, line), 1);
    }
    assert_int_equal(
        count_of(help, "\n  PROXY_API_KEY (default: unset) (read at the start only)\n"), 1);
    assert_int_equal(count_of(help, "\n  LOG_LEVEL (default: info) [debug, info, warn, error]\n"),
                     1);
    assert_null(strstr(help, "do-not-print-me"));
    free(help);
}

#define CONFIG_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONFIG_TEST(test_without_an_environment_everything_has_its_default),
        CONFIG_TEST(test_an_empty_setting_is_an_unset_one),
        CONFIG_TEST(test_texts_are_taken_as_they_are),
        CONFIG_TEST(test_both_ends_of_a_range_are_allowed),
        CONFIG_TEST(test_one_past_a_bound_is_refused_with_both_bounds),
        CONFIG_TEST(test_what_is_no_whole_number_is_refused),
        CONFIG_TEST(test_leading_zeros_do_not_make_a_number_octal),
        CONFIG_TEST(test_each_choice_is_its_index),
        CONFIG_TEST(test_another_choice_is_refused_with_those_there_are),
        CONFIG_TEST(test_every_wrong_setting_is_named_at_once),
        CONFIG_TEST(test_one_wrong_setting_is_one_complaint),
        CONFIG_TEST(test_the_longest_backoff_may_equal_the_first),
        CONFIG_TEST(test_a_key_must_be_long_enough_and_printable),
        CONFIG_TEST(test_a_list_with_an_entry_of_another_form_is_refused),
        CONFIG_TEST(test_a_list_may_have_blanks_and_empty_entries),
        CONFIG_TEST(test_no_complaint_quotes_a_value),
        CONFIG_TEST(test_names_that_only_we_could_have_are_warned_about),
        CONFIG_TEST(test_settings_come_from_the_environment_then_the_file_then_the_table),
        CONFIG_TEST(test_a_wrong_value_in_the_file_is_named_like_any_other),
        CONFIG_TEST(test_a_wrong_value_in_the_file_does_not_matter_when_it_is_not_used),
        CONFIG_TEST(test_in_the_file_an_unknown_name_is_an_error_with_its_line),
        CONFIG_TEST(test_the_file_cannot_name_another_one),
        CONFIG_TEST(test_a_file_that_is_wrong_or_not_there_is_a_wrong_setting),
        CONFIG_TEST(test_what_differs_moves_and_is_counted),
        CONFIG_TEST(test_the_same_settings_are_no_change),
        CONFIG_TEST(test_what_can_only_be_set_at_the_start_is_told_and_stays),
        CONFIG_TEST(test_help_says_of_the_same_that_they_are_read_at_the_start),
        CONFIG_TEST(test_freeing_twice_is_safe),
        CONFIG_TEST(test_help_names_every_setting_once_with_its_default),
    };
    if (sodium_init() < 0)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    buf_free(&fixed);
    return failed;
}
