/* `codex-api status [--json] [--url URL]`: asks a running codex-api how it is, and shows it to people.
 *
 * What comes from the network is shown as printable ASCII, cut: a server that is not ours must not play with the terminal. */
#include "status_command.h"

#include "command_config.h"
#include "hint.h"
#include "http_get.h"
#include "json.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define EXIT_NOT_READY 1
#define EXIT_USAGE 64
#define EXIT_UNAVAILABLE 69
#define EXIT_CONFIG 78

#define PATH "/status.json"
#define TEXT_MAX 100
#define ITEMS_MAX 3 /* of checks, deaths and errors: it is a glance */

struct options {
    bool json;
    const char *url; /* borrowed; NULL: the server of the settings */
};

/* ---- pieces ---- */

static void put_text(struct buf *out, const char *text)
{
    size_t len = text != NULL ? strnlen(text, TEXT_MAX) : 0;
    for (size_t i = 0; i < len; i++)
        buf_putc(out, (char)(text[i] >= ' ' && text[i] <= '~' ? text[i] : '?'));
}

static void put_at(struct buf *out, const json_t *value, const char *path)
{
    const char *text = json_str_at(value, path);
    put_text(out, text != NULL ? text : "?");
}

static int64_t number_at(const json_t *value, const char *path)
{
    return json_int_at(value, path, 0);
}

/* In its two largest units. */
static void put_duration(struct buf *out, int64_t ms)
{
    static const struct {
        int64_t seconds;
        const char *name;
    } units[] = { { 86400, "d" }, { 3600, "h" }, { 60, "min" }, { 1, "s" } };
    int64_t left = ms > 0 ? ms / 1000 : 0;
    size_t i = 0;
    while (i + 1 < sizeof(units) / sizeof(units[0]) && left < units[i].seconds)
        i++;
    buf_printf(out, "%" PRId64 " %s", left / units[i].seconds, units[i].name);
    left %= units[i].seconds;
    if (i + 1 < sizeof(units) / sizeof(units[0]) && left >= units[i + 1].seconds)
        buf_printf(out, " %" PRId64 " %s", left / units[i + 1].seconds, units[i + 1].name);
}

static void begin(struct buf *out, const char *label)
{
    buf_printf(out, "%-12s", label);
}

static void put_more(struct buf *out, size_t count)
{
    if (count > ITEMS_MAX)
        buf_printf(out, " (and %zu more)", count - ITEMS_MAX);
    buf_putc(out, '\n');
}

/* ---- lines ---- */

/* As /readyz has it: in maintenance a server is ready, though it refuses clients. */
static bool is_ready(const json_t *s)
{
    return json_bool_at(s, "ready", 0) || number_at(s, "readyz") == 200;
}

static void put_readiness(struct buf *out, const json_t *s)
{
    const json_t *reasons = json_at(s, "reasons");
    if (json_bool_at(s, "ready", 0)) {
        buf_puts(out, "READY\n");
        return;
    }
    buf_puts(out, is_ready(s) ? "READY, but clients are refused: " : "NOT READY: ");
    put_at(out, s, "why_not");
    for (size_t i = 1; i < json_array_size(reasons) && i <= ITEMS_MAX; i++) {
        buf_puts(out, i == 1 ? "\nand         " : "; ");
        put_text(out, json_string_value(json_array_get(reasons, i)));
    }
    buf_putc(out, '\n');
}

static void put_proxy(struct buf *out, const json_t *s)
{
    begin(out, "codex-api");
    put_at(out, s, "version");
    buf_puts(out, ", up ");
    put_duration(out, number_at(s, "uptime_ms"));
    if (number_at(s, "log_lines_dropped") > 0)
        buf_printf(out, ", %" PRId64 " lines of the log dropped",
                   number_at(s, "log_lines_dropped"));
    buf_putc(out, '\n');
}

static void put_worker(struct buf *out, const json_t *s)
{
    const json_t *w = json_at(s, "worker");
    begin(out, "worker");
    put_at(out, w, "state");
    if (number_at(w, "uptime_ms") > 0) {
        buf_puts(out, " for ");
        put_duration(out, number_at(w, "uptime_ms"));
    }
    if (number_at(w, "backoff_remaining_ms") > 0)
        buf_printf(out, ", next start in %" PRId64 " ms", number_at(w, "backoff_remaining_ms"));
    const char *version = json_str_at(w, "codex_version");
    if (version != NULL && *version != '\0') {
        buf_puts(out, ", codex ");
        put_text(out, version);
    }
    buf_printf(out, ", %" PRId64 " restarts", number_at(w, "restarts"));
    if (number_at(w, "recycles") > 0)
        buf_printf(out, " (%" PRId64 " planned)", number_at(w, "recycles"));
    buf_printf(out, ", %" PRId64 " failures in a row\n", number_at(w, "restart_streak"));
}

static void put_work(struct buf *out, const json_t *s)
{
    const json_t *q = json_at(s, "queue");
    begin(out, "queue");
    buf_printf(out,
               "%" PRId64 " of %" PRId64 " turns running, %" PRId64 " of %" PRId64 " waiting\n",
               number_at(q, "turns_running"), number_at(q, "turns_max"),
               number_at(q, "requests_waiting"), number_at(q, "waiting_max"));
    begin(out, "streams");
    buf_printf(out, "%" PRId64 ", of %" PRId64 " chats in flight\n", number_at(s, "streams"),
               number_at(s, "requests"));
}

static void put_traffic(struct buf *out, const json_t *s)
{
    begin(out, "requests");
    buf_printf(out,
               "%" PRId64 " in the last minute, %" PRId64 " errors; %" PRId64
               " in the last hour, %" PRId64 " errors\n",
               number_at(s, "last_minute.requests"), number_at(s, "last_minute.errors"),
               number_at(s, "last_hour.requests"), number_at(s, "last_hour.errors"));
}

/* A server without it says nothing of it. */
static void put_maintenance(struct buf *out, const json_t *s)
{
    if (json_at(s, "maintenance") == NULL)
        return;
    begin(out, "maintenance");
    if (json_bool_at(s, "maintenance.enabled", 0)) {
        buf_puts(out, "ON, since ");
        put_at(out, s, "maintenance.since");
        buf_printf(out, ", Retry-After %" PRId64 " s", number_at(s, "maintenance.retry_after_s"));
    } else {
        buf_puts(out, "off");
    }
    buf_putc(out, '\n');
}

static void put_settings(struct buf *out, int64_t count, const char *kind, const char *rest)
{
    buf_printf(out, ", %" PRId64 " %ssetting%s%s", count, kind, count == 1 ? "" : "s", rest);
}

/* Nothing before the first one. */
static void put_reload(struct buf *out, const json_t *s)
{
    const json_t *r = json_at(s, "last_reload");
    if (!json_is_object(r))
        return;
    begin(out, "reload");
    buf_puts(out, json_bool_at(r, "accepted", 0) ? "accepted at " : "REFUSED at ");
    put_at(out, r, "at");
    if (json_bool_at(r, "accepted", 0))
        put_settings(out, number_at(r, "changed_settings"), "", " changed\n");
    else if (json_bool_at(r, "keys_refused", 0))
        buf_puts(out, " for the keys: all stays as it was; the log says why\n");
    else
        put_settings(out, number_at(r, "wrong_settings"), "wrong ",
                     ": all stays as it was; the log names them\n");
}

static void put_check(struct buf *out, const char *name, const json_t *c)
{
    put_text(out, name);
    buf_puts(out, ": ");
    put_at(out, c, "why");
    if (json_at(c, "unit") != NULL) {
        buf_printf(out, ", %" PRId64 " ", number_at(c, "value"));
        put_at(out, c, "unit");
        buf_printf(out, " (limit %" PRId64 ")", number_at(c, "limit"));
    }
    buf_puts(out, ", since ");
    put_at(out, c, "since");
    if (json_bool_at(c, "required", 0))
        buf_puts(out, ", required");
}

static void put_checks(struct buf *out, const json_t *s)
{
    json_t *failing = json_at(s, "failing_checks");
    const char *name = NULL;
    json_t *check = NULL;
    size_t i = 0;
    begin(out, "checks");
    if (json_object_size(failing) == 0)
        buf_puts(out, "none fails");
    json_object_foreach(failing, name, check)
    {
        if (i == ITEMS_MAX)
            break;
        buf_puts(out, i++ == 0 ? "" : "\n            ");
        put_check(out, name, check);
    }
    put_more(out, json_object_size(failing));
}

static void put_death(struct buf *out, const json_t *d)
{
    put_at(out, d, "at");
    buf_puts(out, " ");
    put_at(out, d, "reason");
    if (number_at(d, "signal") != 0)
        buf_printf(out, ", signal %" PRId64, number_at(d, "signal"));
    else if (json_is_integer(json_at(d, "exit_code")))
        buf_printf(out, ", exit code %" PRId64, number_at(d, "exit_code"));
    buf_puts(out, ", was ready for ");
    put_duration(out, number_at(d, "uptime_ms"));
}

static void put_error(struct buf *out, const json_t *e)
{
    buf_printf(out, "%" PRId64 " x ", number_at(e, "count"));
    put_at(out, e, "code");
    buf_puts(out, " on ");
    put_at(out, e, "route");
    buf_puts(out, ", last at ");
    put_at(out, e, "last_at");
}

static void put_list(struct buf *out, const char *label, const json_t *list,
                     void (*put)(struct buf *out, const json_t *item))
{
    begin(out, label);
    if (json_array_size(list) == 0)
        buf_puts(out, "none");
    for (size_t i = 0; i < json_array_size(list) && i < ITEMS_MAX; i++) {
        buf_puts(out, i == 0 ? "" : "\n            ");
        put(out, json_array_get(list, i));
    }
    put_more(out, json_array_size(list));
}

static void put_glance(struct buf *out, const json_t *s)
{
    put_readiness(out, s);
    put_proxy(out, s);
    put_worker(out, s);
    put_work(out, s);
    put_maintenance(out, s);
    put_reload(out, s);
    put_traffic(out, s);
    put_checks(out, s);
    put_list(out, "deaths", json_at(s, "worker.deaths"), put_death);
    put_list(out, "errors", json_at(s, "top_errors"), put_error);
}

/* As it came, but for what a terminal might obey. */
static void put_json(struct buf *out, const json_t *s)
{
    char *text = json_dumps(s, JSON_INDENT(2) | JSON_ENSURE_ASCII);
    for (char *p = text; *p != '\0'; p++)
        if (*p == '\x7f')
            *p = '?';
    buf_puts(out, text);
    buf_putc(out, '\n');
    free(text);
}

/* ---- the command ---- */

static int usage(FILE *err, const char *why)
{
    fprintf(err, "codex-api: status: %s\nusage: codex-api status [--json] [--url URL]\n", why);
    return EXIT_USAGE;
}

static bool parse(int argc, char **argv, struct options *ret)
{
    *ret = (struct options){ .url = NULL };
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            ret->json = true;
        else if (strcmp(argv[i], "--url") == 0 && i + 1 < argc)
            ret->url = argv[++i];
        else
            return false;
    }
    return true;
}

static int show(const struct http_url *url, const struct options *o, FILE *out, FILE *err)
{
    struct buf text = BUF_INIT;
    const char *why = NULL;
    int rc = EXIT_UNAVAILABLE;
    int status = http_get(url, PATH, &text, &why);
    json_t *s = status == 200 ? json_parse(buf_str(&text), text.len, &why) : NULL;
    buf_clear(&text);
    if (json_is_boolean(json_at(s, "ready"))) {
        rc = is_ready(s) ? 0 : EXIT_NOT_READY;
        if (o->json)
            put_json(&text, s);
        else
            put_glance(&text, s);
        fputs(buf_str(&text), out);
    } else {
        fprintf(err, "codex-api: status: no answer from port %s of %s: %s\n", url->port, url->host,
                status < 0 ? why : "what answers there is not codex-api");
    }
    json_decref(s);
    buf_free(&text);
    return rc;
}

/* The URL of the server that has our settings, owned by the caller; NULL when there is none, and why in `ret_rc`. */
static char *url_of_settings(FILE *err, int *ret_rc)
{
    static const char *const needs[] = { "PORT", "PROXY_HOST", NULL };
    struct config config;
    char *url = NULL;
    *ret_rc = EXIT_CONFIG;
    if (command_config_load(&config, needs, err)) {
        if (config.port != 0)
            url = hint_url(config.host, (int)config.port);
        else
            *ret_rc = usage(err, "PORT is 0: say with --url where the server is");
    }
    config_free(&config);
    return url;
}

int status_command(int argc, char **argv, FILE *out, FILE *err)
{
    struct options o;
    struct http_url url;
    int rc = 0;
    if (!parse(argc, argv, &o))
        return usage(err, "unknown arguments");
    char *text = o.url != NULL ? xstrdup(o.url) : url_of_settings(err, &rc);
    if (text == NULL)
        return rc;
    bool ok = http_url_parse(text, &url);
    free(text);
    if (!ok)
        return usage(err, "the URL must be http://HOST:PORT");
    rc = show(&url, &o, out, err);
    http_url_free(&url);
    return rc;
}
