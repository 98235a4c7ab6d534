/* The worker's model catalog, made fit for a chat endpoint. */
#include "catalog.h"

#include "file.h"
#include "log.h"
#include "redact.h"
#include "sentinel.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <uv.h>

#define CATALOG_MAX (64 * 1024 * 1024) /* bytes that `codex debug models` may print */
#define CATALOG_FORM 3                 /* raised when what we change in it changes */
#define COMPLAINT_MAX 8192             /* bytes of its stderr that are kept */
#define READ_CHUNK (64 * 1024)

struct catalog_job {
    uv_process_t child;
    uv_pipe_t out;
    uv_pipe_t err;
    int open_handles; /* the last one that closes ends the job */
    struct catalog_options options;
    void (*done)(void *ctx, bool ok); /* NULL once cancelled */
    void *ctx;                        /* borrowed */
    struct buf text;                  /* owned: what was printed so far */
    struct buf complaint;             /* owned: the start of its stderr */
    int64_t status;
    char chunk[READ_CHUNK];
};

/* ---- the copy ---- */

/* More tokens than any model takes: the worker shortens no result of a tool. */
#define NO_TRUNCATION_TOKENS 1000000000

/* Without a known window the worker never compacts: it would have the model summarise a long history and answer to
 * that, where the client is owed an error of the upstream. Verbosity and tools are the client's to choose. */
static void strip_model(json_t *model)
{
    static const char *const nulls[] = {
        "tool_mode",      "multi_agent_version", "apply_patch_tool_type",
        "context_window", "max_context_window",  "auto_compact_token_limit",
        "comp_hash",      "default_verbosity",
    };
    for (size_t i = 0; i < sizeof(nulls) / sizeof(nulls[0]); i++)
        json_object_set_new(model, nulls[i], json_null());
    json_object_set_new(model, "use_responses_lite", json_false());
    json_object_set_new(model, "experimental_supported_tools", json_array());
    json_object_set_new(model, "supports_search_tool", json_false());
    json_object_set_new(model, "shell_type", json_string("disabled"));
    json_object_set_new(model, "truncation_policy",
                        json_pack("{s:s, s:i}", "mode", "tokens", "limit", NO_TRUNCATION_TOKENS));
}

/* A model of which only the name is known. */
static json_t *unknown_model(const json_t *template, const char *slug, const char *name,
                             const char *description)
{
    static const char *const nulls[] = { "default_reasoning_level", "availability_nux", "upgrade",
                                         "model_messages" };
    static const char *const empty_lists[] = { "supported_reasoning_levels", "service_tiers",
                                               "additional_speed_tiers" };
    json_t *model = json_deep_copy(template);
    for (size_t i = 0; i < sizeof(nulls) / sizeof(nulls[0]); i++)
        json_object_set_new(model, nulls[i], json_null());
    for (size_t i = 0; i < sizeof(empty_lists) / sizeof(empty_lists[0]); i++)
        json_object_set_new(model, empty_lists[i], json_array());
    json_object_set_new(model, "slug", json_string(slug));
    json_object_set_new(model, "display_name", json_string(name));
    json_object_set_new(model, "description", json_string(description));
    json_object_set_new(model, "visibility", json_string("list"));
    json_object_set_new(model, "input_modalities", json_pack("[s, s]", "text", "image"));
    return model;
}

static bool has_model(const json_t *models, const char *slug)
{
    for (size_t i = 0; i < json_array_size(models); i++) {
        const char *other = json_str_at(json_array_get(models, i), "slug");
        if (other != NULL && strcmp(other, slug) == 0)
            return true;
    }
    return false;
}

static void add_extra(json_t *list, const json_t *template, const char *extra)
{
    static const char separators[] = ", \t\r\n";
    while (extra != NULL && *extra != '\0') {
        extra += strspn(extra, separators);
        size_t len = strcspn(extra, separators);
        char *slug = xstrndup(extra, len);
        if (len != 0 && !has_model(list, slug))
            json_array_append_new(list,
                                  unknown_model(template, slug, slug, "Set by the operator."));
        free(slug);
        extra += len;
    }
}

json_t *catalog_strip(const json_t *original, bool demo, const char *extra)
{
    const json_t *models = json_object_get(original, "models");
    const json_t *template = json_array_get(models, 0);
    if (!json_is_object(template))
        return NULL;
    json_t *copy = json_deep_copy(original);
    json_t *list = json_object_get(copy, "models");
    if (demo) {
        list = json_pack("[o]",
                         unknown_model(template, CATALOG_DEMO_MODEL, "Codex demo",
                                       "The embedded demo model: canned answers, no real model."));
        json_object_set_new(copy, "models", list);
    } else {
        add_extra(list, template, extra);
    }
    size_t i = 0;
    json_t *model = NULL;
    json_array_foreach(list, i, model)
    {
        strip_model(model);
    }
    return copy;
}

/* ---- whether it is current ---- */

/* Says what a catalog is made of: this binary, this form, this program. */
static char *make_stamp(const struct catalog_options *o)
{
    struct stat st;
    if (stat(o->file, &st) != 0)
        memset(&st, 0, sizeof(st)); /* found through PATH: known by its name alone */
    return xasprintf("%s %" PRId64 " %" PRId64 ".%09ld %s codex-api-" CODEX_API_VERSION
                     " form %d %s\n",
                     o->file, (int64_t)st.st_size, (int64_t)st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
                     o->demo ? "demo" : "stripped", CATALOG_FORM, o->extra != NULL ? o->extra : "");
}

static bool is_current(const struct catalog_options *o)
{
    char *stamp_path = xasprintf("%s.stamp", o->path);
    char *stamp = make_stamp(o);
    struct buf last = BUF_INIT;
    bool current = file_read(stamp_path, &last, 4096) && strcmp(buf_str(&last), stamp) == 0 &&
                   file_exists(o->path);
    buf_free(&last);
    free(stamp);
    free(stamp_path);
    return current;
}

static bool write_files(const struct catalog_options *o, const json_t *catalog)
{
    char *stamp_path = xasprintf("%s.stamp", o->path);
    char *stamp = make_stamp(o);
    struct buf text = BUF_INIT;
    json_write(&text, catalog);
    bool ok = file_replace(o->path, text.data, text.len) &&
              file_replace(stamp_path, stamp, strlen(stamp));
    buf_free(&text);
    free(stamp);
    free(stamp_path);
    return ok;
}

/* ---- the job ---- */

static bool take_output(struct catalog_job *job)
{
    const char *why = NULL;
    if (job->status != 0) {
        log_error("worker", "catalog_failed", LOG_INT("exit_code", job->status));
        redact_log_lines("worker", "catalog_stderr", job->complaint.data, job->complaint.len);
        return false;
    }
    json_t *original = json_parse(job->text.data, job->text.len, &why);
    json_t *catalog = catalog_strip(original, job->options.demo, job->options.extra);
    json_decref(original);
    if (catalog == NULL) {
        log_error("worker", "catalog_unreadable", LOG_INT("bytes", job->text.len));
        return false;
    }
    bool written = write_files(&job->options, catalog);
    json_decref(catalog);
    if (written)
        log_info("worker", "catalog_written", LOG_BOOL("demo", job->options.demo));
    else
        log_error("worker", "catalog_not_written", LOG_ID("path", job->options.path));
    return written;
}

/* Exit and end of output come in any order: the last closed handle means both. */
static void on_closed(uv_handle_t *handle)
{
    struct catalog_job *job = handle->data;
    if (--job->open_handles != 0)
        return;
    void (*done)(void *, bool) = job->done;
    void *ctx = job->ctx;
    bool ok = done != NULL && take_output(job);
    buf_free(&job->text);
    buf_free(&job->complaint);
    free(job);
    if (done != NULL)
        done(ctx, ok);
}

static void close_handle(uv_handle_t *handle)
{
    if (!uv_is_closing(handle))
        uv_close(handle, on_closed);
}

static void unguard(struct catalog_job *job)
{
    sentinel_release(job->options.sentinel, job->child.pid);
    job->options.sentinel = NULL;
}

static void on_job_exit(uv_process_t *child, int64_t status, int signal_number)
{
    struct catalog_job *job = child->data;
    job->status = signal_number != 0 ? -1 : status;
    unguard(job);
    close_handle((uv_handle_t *)child);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct catalog_job *job = handle->data;
    *buf = uv_buf_init(job->chunk, sizeof(job->chunk));
}

static void on_out(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct catalog_job *job = stream->data;
    if (n < 0 || job->text.len > CATALOG_MAX)
        close_handle((uv_handle_t *)stream);
    else
        buf_append(&job->text, buf->base, (size_t)n);
}

/* Read to its end, so that the child never waits; only the start is kept. */
static void on_err(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct catalog_job *job = stream->data;
    if (n < 0)
        close_handle((uv_handle_t *)stream);
    else if (job->complaint.len + (size_t)n <= COMPLAINT_MAX)
        buf_append(&job->complaint, buf->base, (size_t)n);
}

static int start(uv_loop_t *loop, struct catalog_job *job)
{
    char *argv[] = { (char *)(uintptr_t)job->options.file, "debug", "models", NULL };
    uv_stdio_container_t stdio[3] = {
        { .flags = UV_IGNORE },
        { .flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&job->out },
        { .flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&job->err },
    };
    uv_process_options_t options = {
        .file = job->options.file,
        .args = argv,
        .env = (char **)(uintptr_t)job->options.env,
        .flags = UV_PROCESS_DETACHED,
        .stdio = stdio,
        .stdio_count = 3,
        .exit_cb = on_job_exit,
    };
    uv_pipe_init(loop, &job->out, 0);
    uv_pipe_init(loop, &job->err, 0);
    job->out.data = job->err.data = job->child.data = job;
    job->open_handles = 3;
    int rc = uv_spawn(loop, &job->child, &options);
    if (rc == 0) {
        sentinel_guard(job->options.sentinel, job->child.pid);
        uv_read_start((uv_stream_t *)&job->out, on_alloc, on_out);
        uv_read_start((uv_stream_t *)&job->err, on_alloc, on_err);
        return 0;
    }
    job->done = NULL;
    close_handle((uv_handle_t *)&job->child);
    close_handle((uv_handle_t *)&job->out);
    close_handle((uv_handle_t *)&job->err);
    return rc;
}

bool catalog_prepare(uv_loop_t *loop, const struct catalog_options *o,
                     void (*done)(void *ctx, bool ok), void *ctx, struct catalog_job **ret_job)
{
    *ret_job = NULL;
    if (is_current(o))
        return true;
    struct catalog_job *job = xmalloc(sizeof(*job));
    memset(job, 0, offsetof(struct catalog_job, chunk));
    job->options = *o;
    job->done = done;
    job->ctx = ctx;
    int rc = start(loop, job);
    if (rc != 0) {
        char name[32];
        uv_err_name_r(rc, name, sizeof(name));
        log_error("worker", "spawn_failed", LOG_ID("file", o->file), LOG_ID("error", name));
        return false;
    }
    *ret_job = job;
    return false;
}

void catalog_cancel(struct catalog_job *job)
{
    if (job == NULL)
        return;
    job->done = NULL;
    (void)uv_kill(-job->child.pid, SIGKILL);
    unguard(job); /* who cancels may take the sentinel away */
    close_handle((uv_handle_t *)&job->out);
    close_handle((uv_handle_t *)&job->err);
}
