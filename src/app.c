/* The whole program: wiring, start and stop order. */
#include "app.h"

#include "admission.h"
#include "config.h"
#include "deadline.h"
#include "descriptors.h"
#include "exchange.h"
#include "file.h"
#include "health.h"
#include "hint.h"
#include "home_lock.h"
#include "key_command.h"
#include "key_sources.h"
#include "keyring.h"
#include "launch.h"
#include "log.h"
#include "login_watch.h"
#include "metrics.h"
#include "model_stub.h"
#include "models.h"
#include "observatory.h"
#include "routes.h"
#include "server.h"
#include "worker.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#define LOGIN_RETRY_MS 10000 /* after a worker with another login did not start */

#define EXIT_UNAVAILABLE 69 /* sysexits.h, as systemd and scripts know them */
#define EXIT_SOFTWARE 70
#define EXIT_IO 74
#define EXIT_CONFIG 78

#define DESCRIPTORS_OF_OUR_OWN 320 /* loop, worker, files; and connections that linger: linger.h */

struct app {
    struct config *config; /* borrowed; a reload changes what is in it */
    char home[PATH_MAX];
    uv_loop_t loop;
    uv_signal_t sigterm;
    uv_signal_t sigint;
    uv_signal_t sighup;
    bool stopping;
    int sockets;             /* that were handed to us to listen on, from DESCRIPTORS_FIRST on */
    uint64_t descriptors;    /* that we may have */
    struct buf key_text;     /* owned: secret, wiped once it was shown */
    struct keyring *keyring; /* owned */
    struct deadlines *deadlines; /* owned */
    struct model_stub *demo;     /* owned; NULL unless it is the source */
    enum launch_source source;   /* of the worker at the start */
    struct worker *worker;       /* owned */
    bool login_wanted;           /* it has changed, and no worker has taken turns since */
    struct deadline login_retry; /* of a worker for it that did not start */
    struct login_watch *login;   /* owned; NULL: nobody looks */
    bool hint_shown;
    struct admission *admission;    /* owned */
    struct exchanges *exchanges;    /* owned */
    struct observatory observatory; /* owned */
    struct deadline flush;          /* of the files of the observatory, at the end */
    struct routes routes;
    struct server *server; /* owned */
    char *url;             /* owned: of the API, once listening */
};

/* ---- before the loop: what can be wrong with the surroundings ---- */

static int complain(const char *what, const char *why)
{
    fprintf(stderr, "codex-api: %s: %s\n", what, why);
    return EXIT_CONFIG;
}

/* Says what is wrong, and frees it. */
static int complain_of(char *why)
{
    fprintf(stderr, "codex-api: %s\n", why);
    free(why);
    return EXIT_CONFIG;
}

static int prepare_home(struct app *app)
{
    const char *home = app->config->codex_home;
    if (!file_make_folder(home) || realpath(home, app->home) == NULL) {
        char *what = xasprintf("CODEX_HOME %s", home);
        int rc = complain(what, strerror(errno));
        free(what);
        return rc;
    }
    char *workspace = xasprintf("%s/workspace", app->home);
    bool ok = file_make_folder(workspace);
    free(workspace);
    return ok ? 0 : complain("CODEX_HOME/workspace", strerror(errno));
}

static void warn_of_exposed(void *ctx, const char *setting, const char *path, const char *mode)
{
    (void)ctx;
    (void)path;
    log_warn("app", "key_file_exposed", LOG_ID("setting", setting), LOG_ID("mode", mode));
}

/* Both keys of the settings. False with a message for people in `ret_why` (owned by the caller). */
static bool read_keys(const struct app *app, struct buf *ret_client, struct buf *ret_admin,
                      char **ret_why)
{
    return key_sources_read(app->config, app->home, ret_client, ret_admin, warn_of_exposed,
                            ret_why);
}

static int prepare_keys(struct app *app)
{
    const struct config *c = app->config;
    char *why = NULL;
    char *path = key_command_path(c, app->home);
    struct buf admin = BUF_INIT;
    if (read_keys(app, &app->key_text, &admin, &why)) {
        const struct keyring_texts texts = { buf_str(&app->key_text), buf_str(&admin) };
        app->keyring = keyring_load(path, c->rate_rpm, c->rate_burst, &texts, &why);
    }
    key_sources_wipe(&admin);
    free(path);
    return app->keyring != NULL ? 0 : complain_of(why);
}

/* ---- stop: drain, then the worker, then the rest; the loop ends by itself ---- */

static void close_signals(struct app *app)
{
    uv_close((uv_handle_t *)&app->sigterm, NULL);
    uv_close((uv_handle_t *)&app->sigint, NULL);
    uv_close((uv_handle_t *)&app->sighup, NULL);
    signal(SIGHUP, SIG_IGN); /* what is left takes a moment, and is done whoever asks again */
    signal(SIGTERM, SIG_IGN);
    signal(SIGINT, SIG_IGN);
}

/* A thread hangs, in a disk that does not answer or in a name that nobody knows: the loop could never be closed. Only in the first case
 * is something lost. */
static void on_flush_deadline(struct deadline *d)
{
    const struct app *app = deadline_owner(d, struct app, flush);
    int rc = observatory_written(&app->observatory) ? 0 : EXIT_IO;
    if (rc != 0)
        log_error("app", "disk_stuck", LOG_INT("waited_ms", OBSERVATORY_FLUSH_MS));
    else
        log_info("app", "stopped", LOG_INT("exit_code", rc));
    log_stop();
    _exit(rc);
}

static void on_observatory_closed(void *ctx)
{
    struct app *app = ctx;
    deadline_clear(app->deadlines, &app->flush);
    close_signals(app);
    uv_stop(&app->loop); /* h2o's own handles would keep it running */
}

/* What is being written is written; then the loop stops. */
static void close_observatory(struct app *app)
{
    deadline_set(app->deadlines, &app->flush, OBSERVATORY_FLUSH_MS, on_flush_deadline);
    observatory_close(&app->observatory, on_observatory_closed, app);
}

static void on_worker_stopped(void *ctx)
{
    struct app *app = ctx;
    login_watch_free(app->login);
    app->login = NULL;
    model_stub_close(app->demo, NULL, NULL);
    app->demo = NULL;
    close_observatory(app);
}

static void on_drained(void *ctx)
{
    struct app *app = ctx;
    observatory_watch_worker(&app->observatory, NULL); /* its end is no failure */
    worker_stop(app->worker, on_worker_stopped, app);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct app *app = handle->data;
    log_info("app", "signal", LOG_INT("signal", number), LOG_BOOL("again", app->stopping));
    if (app->stopping) {
        /* Asked twice: no more waiting. The worker sees its end of input, and its group is killed. */
        worker_free(app->worker);
        log_stop();
        _exit(1);
    }
    app->stopping = true;
    server_drain(app->server, (uint64_t)app->config->drain_ms, on_drained, app);
}

/* ---- the worker's side ---- */

static int start_demo(struct app *app, int *ret_port)
{
    const char *why = NULL;
    const struct model_stub_options options = { .port = 0, .journal_max = 0 };
    app->demo = model_stub_start(&app->loop, &options, &why);
    if (app->demo == NULL && app->worker != NULL) {
        log_error("app", "demo_not_started", LOG_ID("reason", why));
        return EXIT_CONFIG;
    }
    if (app->demo == NULL)
        return complain("demo model", why);
    *ret_port = model_stub_port(app->demo);
    return 0;
}

/* How a worker is to be launched by the settings and the login of now. */
static int make_launch(struct app *app, struct launch *ret)
{
    enum launch_source source = launch_find_source(app->config, app->home);
    int demo_port = app->demo != NULL ? model_stub_port(app->demo) : 0;
    int rc = source == LAUNCH_DEMO && app->demo == NULL ? start_demo(app, &demo_port) : 0;
    if (rc == 0)
        launch_make(ret, app->config, app->home, source, demo_port);
    return rc;
}

static int start_worker_side(struct app *app)
{
    struct launch launch;
    int rc = make_launch(app, &launch);
    if (rc != 0)
        return rc;
    app->source = launch.source;
    app->worker = worker_new(&app->loop, app->deadlines, app->config, &launch);
    return 0;
}

static void recycle(struct app *app, const char *why)
{
    struct launch launch;
    if (!app->stopping && make_launch(app, &launch) == 0)
        worker_recycle(app->worker, app->config, &launch, why);
}

static void on_login_changed(void *ctx)
{
    struct app *app = ctx;
    app->login_wanted = true;
    recycle(app, "login_changed");
}

static void on_login_retry(struct deadline *d)
{
    recycle(deadline_owner(d, struct app, login_retry), "login_changed");
}

/* A login that is there must come into use, and nobody would tell of it again. */
static void on_recycle_failed(void *ctx)
{
    struct app *app = ctx;
    if (app->login_wanted && !app->stopping)
        deadline_set(app->deadlines, &app->login_retry, LOGIN_RETRY_MS, on_login_retry);
}

static void watch_login(struct app *app)
{
    if (app->config->auth_poll_ms == 0)
        return;
    char *path = xasprintf("%s/auth.json", app->home);
    app->login = login_watch_new(&app->loop, path, (uint64_t)app->config->auth_poll_ms,
                                 on_login_changed, app);
    free(path);
}

/* ---- reload: all of it, or nothing ---- */

static struct admission_options admission_options(const struct app *app)
{
    const struct config *c = app->config;
    return (struct admission_options){
        .deadlines = app->deadlines,
        .concurrency = (size_t)c->max_concurrency,
        .queue_max = (size_t)c->queue_max,
        .queue_timeout_ms = (uint64_t)c->queue_timeout_ms,
    };
}

static struct exchange_options exchange_options(const struct app *app)
{
    const struct config *c = app->config;
    return (struct exchange_options){
        .deadlines = app->deadlines,
        .admission = app->admission,
        .worker = app->worker,
        .keepalive_ms = (uint64_t)c->keepalive_ms,
        .write_stall_ms = (uint64_t)c->write_stall_ms,
        .pending_max_bytes = (size_t)c->stream_pending_max_bytes,
    };
}

static void on_fixed_setting(void *ctx, const char *name)
{
    (void)ctx;
    log_warn("app", "setting_needs_restart", LOG_ID("setting", name));
}

static void apply_log_settings(const struct config *c)
{
    log_set_level((enum log_level)c->log_level);
    bool ok = log_set_levels(c->log_levels);
    assert(ok); /* config_load has checked it */
}

/* What of the settings was copied elsewhere. */
static void apply_settings(struct app *app)
{
    const struct admission_options admission = admission_options(app);
    const struct exchange_options exchange = exchange_options(app);
    apply_log_settings(app->config);
    keyring_set_limits(app->keyring, app->config->rate_rpm, app->config->rate_burst);
    admission_reconfigure(app->admission, &admission);
    exchanges_configure(app->exchanges, &exchange);
    observatory_configure(&app->observatory, app->config);
    recycle(app, "reload");
}

/* While it serves, nothing is written to stderr, whose reader may have stopped: the complaints are lines of the log. They name
 * settings, and of values the path of a file at most. */
static int load_again(struct config *ret)
{
    char *complaints = NULL;
    size_t len = 0;
    FILE *memory = open_memstream(&complaints, &len);
    if (memory == NULL)
        abort(); /* out of memory, as in mem.c */
    int wrong = config_load(ret, memory);
    wrong += observatory_check(ret, memory);
    (void)fclose(memory);
    char *rest = complaints;
    for (char *line; (line = strsep(&rest, "\n")) != NULL && *line != '\0';)
        LOG_AT(wrong != 0 ? LOG_ERROR : LOG_WARN, "app", "setting_complaint", LOG_ID("text", line));
    free(complaints);
    return wrong;
}

/* The last thing that can be wrong with a reload. */
static bool reload_keys(struct app *app)
{
    struct buf key = BUF_INIT;
    struct buf admin = BUF_INIT;
    char *why = NULL;
    bool ok = read_keys(app, &key, &admin, &why);
    if (ok) {
        const struct keyring_texts texts = { buf_str(&key), buf_str(&admin) };
        ok = keyring_reload(app->keyring, &texts, &why);
    }
    if (!ok)
        log_error("app", "setting_complaint", LOG_ID("text", why));
    free(why);
    key_sources_wipe(&key);
    key_sources_wipe(&admin);
    return ok;
}

static void reload(struct app *app)
{
    struct config coming;
    int wrong = load_again(&coming);
    if (wrong == 0 && reload_keys(app)) {
        size_t changed = config_replace(app->config, &coming, on_fixed_setting, app);
        reload_accept(&app->observatory.reload, changed, keyring_count(app->keyring));
        apply_settings(app);
    } else {
        reload_refuse(&app->observatory.reload, (size_t)wrong);
    }
    config_free(&coming);
}

static void on_hangup(uv_signal_t *handle, int number)
{
    (void)number;
    struct app *app = handle->data;
    if (!app->stopping)
        reload(app);
}

static void catch_one(struct app *app, uv_signal_t *handle, uv_signal_cb fn, int number)
{
    uv_signal_init(&app->loop, handle);
    handle->data = app;
    uv_signal_start(handle, fn, number);
}

static void catch_signals(struct app *app)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file at the limit of its size is an error of that write */
    catch_one(app, &app->sigterm, on_signal, SIGTERM);
    catch_one(app, &app->sigint, on_signal, SIGINT);
    catch_one(app, &app->sighup, on_hangup, SIGHUP);
}

/* ---- start ---- */

/* 0, or the exit code after a word about what `rc` of libuv means. */
static int complain_of_listening(int rc, const char *setting, const char *host, int64_t port)
{
    char why[96];
    if (rc == 0)
        return 0;
    uv_strerror_r(rc, why, sizeof(why));
    fprintf(stderr, "codex-api: cannot listen on %s port %d: %s", host, (int)port, why);
    if (rc == UV_EADDRINUSE)
        fprintf(stderr, "; is it running already? %s sets another", setting);
    fputs(rc == UV_EADDRINUSE && strcmp(setting, "PORT") == 0 ? ", 0 takes a free one\n" : "\n",
          stderr);
    return EXIT_UNAVAILABLE;
}

/* Where a service manager says, or else where the settings say. */
static int listen_somewhere(struct app *app)
{
    const struct config *c = app->config;
    char why[96];
    if (app->sockets > 0) {
        int rc = server_take_sockets(app->server, DESCRIPTORS_FIRST, app->sockets);
        log_info("app", "socket_activation", LOG_INT("sockets", app->sockets));
        if (rc == 0)
            return 0;
        uv_strerror_r(rc, why, sizeof(why));
        fprintf(stderr,
                "codex-api: cannot serve on the %d sockets that were handed over (LISTEN_FDS): "
                "%s; they must be listening TCP sockets, 8 at the most\n",
                app->sockets, why);
        return EXIT_UNAVAILABLE;
    }
    return complain_of_listening(server_listen(app->server, c->host, (int)c->port), "PORT", c->host,
                                 c->port);
}

static int listen_for_metrics(struct app *app)
{
    const struct config *c = app->config;
    int rc = server_listen_for_metrics(app->server, c->metrics_host, (int)c->metrics_port);
    return complain_of_listening(rc, "METRICS_PORT", c->metrics_host, c->metrics_port);
}

/* A connection takes one descriptor, and a second while a chat runs or waits on it. */
static void warn_of_few_descriptors(const struct app *app)
{
    const struct config *c = app->config;
    uint64_t needed = (uint64_t)c->connections_max + SERVER_SPARE_CONNECTIONS +
                      (uint64_t)c->max_concurrency + (uint64_t)c->queue_max +
                      DESCRIPTORS_OF_OUR_OWN;
    if (app->descriptors < needed)
        log_warn("app", "few_descriptors", LOG_INT("limit", app->descriptors),
                 LOG_INT("needed", needed), LOG_INT("max_connections", c->connections_max));
}

static int start_http_side(struct app *app)
{
    const struct config *c = app->config;
    const struct admission_options admission = admission_options(app);
    app->admission = admission_new(&admission);
    const struct exchange_options exchange = exchange_options(app);
    app->exchanges = exchanges_new(&exchange);
    app->routes = (struct routes){ .config = c,
                                   .keyring = app->keyring,
                                   .worker = app->worker,
                                   .exchanges = app->exchanges,
                                   .admission = app->admission,
                                   .observatory = &app->observatory };
    const struct server_options server = {
        .deadlines = app->deadlines,
        .routes = &app->routes,
        .read_timeout_ms = (uint64_t)c->request_read_timeout_ms,
        .body_max_bytes = (size_t)c->body_max_bytes,
        .bodies_max_bytes = (size_t)c->bodies_max_bytes,
        .connections_max = (size_t)c->connections_max,
    };
    app->server = server_new(&app->loop, &server);
    app->routes.server = app->server;
    int rc = listen_somewhere(app);
    if (rc == 0 && c->metrics_port != 0)
        rc = listen_for_metrics(app);
    if (rc == 0)
        warn_of_few_descriptors(app);
    return rc;
}

/* Once, when the first answer can be had. */
static void show_hint(struct app *app)
{
    app->hint_shown = true;
    if (app->config->startup_hint != 0)
        hint_show(stderr, app->url, buf_str(&app->key_text),
                  hint_example_model(app->source, app->config->codex_model));
    key_sources_wipe(&app->key_text);
}

static void on_worker_change(void *ctx, bool ready)
{
    struct app *app = ctx;
    admission_open(app->admission, ready);
    health_worker_changed(app->observatory.health);
    if (!ready)
        return;
    app->login_wanted = false;
    deadline_clear(app->deadlines, &app->login_retry);
    if (!app->hint_shown)
        show_hint(app);
}

static void say_listening(struct app *app)
{
    app->url = hint_url(app->config->host, server_port(app->server));
    fprintf(stderr, "listening on %s\n", app->url);
    hint_source(stderr, app->source, app->config->demo_mode == DEMO_ON);
}

/* ---- the whole ---- */

static int open_observatory(struct app *app)
{
    char *why = NULL;
    if (observatory_open(&app->observatory, &app->loop, app->deadlines, app->config, app->home,
                         &why))
        return 0;
    return complain_of(why);
}

static int start(struct app *app)
{
    int rc = open_observatory(app);
    if (rc == 0)
        rc = start_worker_side(app);
    if (rc == 0)
        rc = start_http_side(app);
    if (rc != 0)
        return rc;
    log_info("app", "started", LOG_ID("version", CODEX_API_VERSION),
             LOG_INT("port", server_port(app->server)),
             LOG_INT("keys", keyring_count(app->keyring)),
             LOG_ID("source", launch_source_name(app->source)));
    say_listening(app);
    worker_on_change(app->worker, on_worker_change, app);
    observatory_watch_worker(&app->observatory, app->worker);
    worker_on_recycle_failed(app->worker, on_recycle_failed, app);
    watch_login(app);
    worker_start(app->worker);
    return 0;
}

/* Everything that start may have made, in the opposite order; the loop runs until the last handle is closed. */
static int tear_down(struct app *app)
{
    server_free(app->server);
    exchanges_free(app->exchanges);
    worker_free(
        app->worker); /* tells of the worker's end: after it, nobody opens or closes the gate */
    admission_free(app->admission);
    model_stub_close(app->demo, NULL, NULL);
    login_watch_free(app->login);
    deadline_clear(app->deadlines, &app->login_retry);
    observatory_free(&app->observatory);
    deadlines_free(app->deadlines);
    uv_run(&app->loop, UV_RUN_DEFAULT);
    return uv_loop_close(&app->loop) == 0 ? 0 : EXIT_SOFTWARE;
}

static int lock_home(const struct app *app)
{
    return home_lock_take(app->home, stderr);
}

static int run_loop(struct app *app)
{
    uv_loop_init(&app->loop);
    uv_loop_configure(&app->loop, UV_METRICS_IDLE_TIME); /* for loop_lag.h */
    app->deadlines = deadlines_new(&app->loop);
    catch_signals(app);
    log_start();
    metrics_start();
    int lock = lock_home(app);
    int rc = start(app);
    if (rc != 0) {
        app->stopping = true;
        server_free(app->server); /* one of its sockets may listen already */
        app->server = NULL;
        close_observatory(app); /* the start may have given it work */
    }
    uv_run(&app->loop, UV_RUN_DEFAULT);
    int closed = tear_down(app);
    metrics_reset();
    log_info("app", "stopped", LOG_INT("exit_code", rc != 0 ? rc : closed));
    log_stop();
    home_lock_release(lock);
    return rc != 0 ? rc : closed;
}

int app_run(struct config *config)
{
    struct app *app = xcalloc(1, sizeof(*app));
    umask(077); /* also for what the worker writes into its home */
    app->config = config;
    apply_log_settings(config);
    app->sockets = descriptors_listening();
    descriptors_close_on_exec();
    app->descriptors = descriptors_raise_limit();
    int rc = prepare_home(app);
    if (rc == 0)
        rc = prepare_keys(app);
    if (rc == 0)
        rc = run_loop(app);
    key_sources_wipe(&app->key_text);
    free(app->url);
    keyring_free(app->keyring);
    free(app);
    return rc;
}
