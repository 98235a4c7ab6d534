/* Settings: environment variables, described by one table that parses, bounds, prints and checks them. */
#ifndef CONFIG_H
#define CONFIG_H

#include "mem.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum demo_mode { DEMO_OFF, DEMO_AUTO, DEMO_ON };
enum metrics_access { METRICS_AUTO, METRICS_KEY, METRICS_OFF };
enum catalog_mode { CATALOG_STRIPPED, CATALOG_BUNDLED };

/* All strings are owned; an unset one is NULL. Times are milliseconds, sizes bytes. */
struct config {
    char *settings_file;
    int64_t port;
    char *host;
    char *api_key; /* secret */
    char *api_key_file;
    char *keys_file;
    char *admin_key; /* secret */
    char *admin_key_file;
    int64_t maintenance; /* at the start */
    int64_t maintenance_retry_after_s;
    int64_t rate_rpm;
    int64_t rate_burst;
    char *codex_bin;
    char *codex_home;
    char *codex_model;
    char *model_aliases;
    char *cors_origins;
    char *worker_config;
    char *worker_env;
    int64_t catalog_mode; /* enum catalog_mode */
    int64_t demo_mode;    /* enum demo_mode */
    int64_t max_concurrency;
    int64_t queue_max;
    int64_t queue_timeout_ms;
    int64_t handshake_timeout_ms;
    int64_t rpc_timeout_ms;
    int64_t turn_timeout_ms;
    int64_t first_event_timeout_ms;
    int64_t silence_timeout_ms;
    int64_t heartbeat_ms;
    int64_t heartbeat_timeout_ms;
    int64_t recycle_rss_bytes; /* 0: no limit */
    int64_t recycle_turns;     /* 0: no limit */
    int64_t input_queue_max_bytes;
    int64_t auth_poll_ms; /* 0: never */
    int64_t park_ttl_ms;
    int64_t parked_max;
    int64_t idle_ttl_ms;
    int64_t idle_max;
    int64_t commentary;        /* enum output_commentary */
    int64_t reasoning_summary; /* index of config_summary_name */
    int64_t backoff_initial_ms;
    int64_t backoff_max_ms;
    int64_t stable_ms;
    int64_t stop_eof_ms;
    int64_t stop_term_ms;
    int64_t drain_ms;
    int64_t keepalive_ms;
    int64_t body_max_bytes;
    int64_t bodies_max_bytes;
    int64_t connections_max;
    int64_t request_read_timeout_ms;
    int64_t write_stall_ms;
    int64_t stream_pending_max_bytes;
    int64_t completion_max_bytes;
    int64_t log_level;      /* enum log_level */
    int64_t worker_stderr;  /* enum stderr_mode */
    char *log_levels;       /* of single components, as log_set_levels takes them */
    int64_t metrics_access; /* enum metrics_access */
    int64_t metrics_port;   /* 0: no second listener */
    char *metrics_host;
    char *health_checks;
    char *health_required;
    int64_t health_interval_ms;
    int64_t health_timeout_ms;
    int64_t health_rpc_max_ms;
    int64_t health_disk_min_bytes;
    int64_t health_memory_max_percent;
    char *trace_buffer;
    int64_t trace_ttl_ms;
    int64_t trace_files_max;
    char *trace_key_file;
    int64_t interaction_log;
    int64_t interaction_prompt_chars;
    int64_t interaction_retention_days;
    int64_t interaction_max_bytes;
    char *price_file;
    int64_t startup_hint;
};

/* Fills `ret` from the environment and SETTINGS_FILE. Every wrong setting is named with the reason on `complaints`, and
 * unknown names that look like ours are warned about. Returns how many settings are wrong; `ret` must be
 * freed with config_free in any case. */
CHECK_RESULT int config_load(struct config *ret, FILE *complaints);

void config_free(struct config *c);

/* Moves what differs in `coming` into `live` and what was there the other way. What can only be set at the start stays, and
 * on_fixed hears its name. Returns how many settings have changed. */
size_t config_replace(struct config *live, struct config *coming,
                      void (*on_fixed)(void *ctx, const char *name), void *ctx);

/* The name of the setting REASONING_SUMMARY, as the worker takes it. */
const char *config_summary_name(const struct config *c);

/* Prints the table of settings: name, default, meaning. */
void config_help(FILE *out);

#endif
