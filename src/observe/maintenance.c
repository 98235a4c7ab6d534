/* Maintenance: clients are told to come back later. */
#include "maintenance.h"

#include "clock.h"
#include "disk.h"
#include "file.h"
#include "json_body.h"
#include "log.h"
#include "metrics.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SINCE_MAX_MS INT64_C(253402300799999) /* the last millisecond of a year of four digits */

static const char default_message[] =
    "This endpoint is in maintenance. Please try again in a while.";

/* All that is written to the disk. */
struct state {
    bool enabled;
    int64_t since_ms;      /* wall time of the last change of `enabled`; 0: there was none */
    int64_t retry_after_s; /* 0: that of the settings */
    char message[4 * MAINTENANCE_MESSAGE_MAX + 1]; /* UTF-8; empty: the default */
    char actor[MAINTENANCE_ACTOR_MAX + 1];         /* who changed it last; empty: nobody knows */
};

struct maintenance {
    struct disk *disk; /* borrowed */
    char *path;        /* owned */
    int64_t default_retry_after_s;
    struct state state;
    const char *source; /* static: where the state comes from */
    uint64_t version;   /* of the state; each change makes the next */
    uint64_t submitted; /* the last version that the disk was given */
    uint64_t saved;     /* the version that is on the disk */
    size_t writes;      /* that are under way */
};

/* ---- what may be said, in a body and in the file ---- */

/* False for control characters, also those of two bytes (C2 80 to C2 9F), which some terminals obey. The text is valid UTF-8. */
static bool is_printable(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        unsigned char next = i + 1 < len ? (unsigned char)text[i + 1] : 0xff;
        if (c < 0x20 || c == 0x7f || (c == 0xc2 && next < 0xa0))
            return false;
    }
    return true;
}

static size_t count_characters(const char *text, size_t len)
{
    size_t count = 0;
    for (size_t i = 0; i < len; i++)
        count += ((unsigned char)text[i] & 0xc0) != 0x80;
    return count;
}

static bool wrong_type(struct api_error *e, const char *name, const char *wanted)
{
    api_error_bad(e, "invalid_type", name, "Invalid type for '%s': expected %s.", name, wanted);
    return false;
}

static bool take_enabled(struct state *s, const json_t *value, struct api_error *e)
{
    if (!json_is_boolean(value))
        return wrong_type(e, "enabled", "a boolean");
    s->enabled = json_is_true(value);
    return true;
}

static bool take_retry_after(struct state *s, const json_t *value, struct api_error *e)
{
    json_int_t seconds = json_integer_value(value);
    if (json_is_null(value)) {
        s->retry_after_s = 0;
        return true;
    }
    if (!json_is_integer(value))
        return wrong_type(e, "retry_after_s", "an integer");
    if (seconds < 1 || seconds > MAINTENANCE_RETRY_MAX_S) {
        api_error_bad(e, "invalid_value", "retry_after_s",
                      "Invalid 'retry_after_s': expected 1 to %d seconds.",
                      MAINTENANCE_RETRY_MAX_S);
        return false;
    }
    s->retry_after_s = seconds;
    return true;
}

static bool take_message(struct state *s, const json_t *value, struct api_error *e)
{
    const char *text = json_string_value(value);
    size_t len = json_string_length(value);
    s->message[0] = '\0';
    if (json_is_null(value))
        return true;
    if (text == NULL)
        return wrong_type(e, "message", "a string");
    if (len == 0 || count_characters(text, len) > MAINTENANCE_MESSAGE_MAX ||
        !is_printable(text, len)) {
        api_error_bad(e, "invalid_value", "message",
                      "Invalid 'message': expected 1 to %d characters, none of them a control "
                      "character.",
                      MAINTENANCE_MESSAGE_MAX);
        return false;
    }
    memcpy(s->message, text, len + 1);
    return true;
}

/* What is harmless in a log and on a terminal. */
static bool is_actor(const char *text, size_t len)
{
    static const char others[] = "_.@ -";
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        bool alnum = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        if (!alnum && (c == '\0' || strchr(others, c) == NULL))
            return false;
    }
    return len >= 1 && len <= MAINTENANCE_ACTOR_MAX;
}

static bool take_actor(struct state *s, const json_t *value, struct api_error *e)
{
    const char *text = json_string_value(value);
    size_t len = json_string_length(value);
    s->actor[0] = '\0';
    if (json_is_null(value))
        return true;
    if (text == NULL)
        return wrong_type(e, "actor", "a string");
    if (!is_actor(text, len)) {
        api_error_bad(e, "invalid_value", "actor",
                      "Invalid 'actor': expected 1 to %d letters, digits, blanks and _ . @ -",
                      MAINTENANCE_ACTOR_MAX);
        return false;
    }
    memcpy(s->actor, text, len + 1);
    return true;
}

static const struct field {
    const char *name;
    bool (*take)(struct state *s, const json_t *value, struct api_error *e);
} fields[] = {
    { "enabled", take_enabled },
    { "retry_after_s", take_retry_after },
    { "message", take_message },
    { "actor", take_actor },
};

static const struct field *find(const char *name)
{
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        if (strcmp(fields[i].name, name) == 0)
            return &fields[i];
    return NULL;
}

/* ---- for people ---- */

static int64_t retry_after_s(const struct maintenance *m)
{
    return m->state.retry_after_s != 0 ? m->state.retry_after_s : m->default_retry_after_s;
}

static const char *message(const struct maintenance *m)
{
    return m->state.message[0] != '\0' ? m->state.message : default_message;
}

/* The state is another, and the gauge follows. */
static void tell(const struct maintenance *m)
{
    const struct state *s = &m->state;
    metric_set(M_MAINTENANCE, s->enabled ? 1 : 0, "on");
    metric_set(M_MAINTENANCE, s->enabled ? 0 : 1, "off");
    if (m->version == 0 && !s->enabled)
        return; /* the ordinary start */
    log_info("observe", "maintenance", LOG_BOOL("enabled", s->enabled), LOG_ID("source", m->source),
             LOG_INT("retry_after_s", retry_after_s(m)), LOG_SIZE("message", s->message),
             LOG_ID("actor", s->actor[0] != '\0' ? s->actor : NULL));
}

json_t *maintenance_describe(const struct maintenance *m)
{
    const struct state *s = &m->state;
    char since[CLOCK_ISO_SIZE];
    clock_iso8601(s->since_ms, since);
    json_t *value =
        json_pack("{s:b, s:s?, s:I}", "enabled", s->enabled, "since",
                  s->since_ms != 0 ? since : NULL, "retry_after_s", (json_int_t)retry_after_s(m));
    if (s->actor[0] != '\0')
        json_object_set_new(value, "actor", json_string(s->actor));
    return value;
}

static json_t *describe_saving(const struct maintenance *m)
{
    if (m->saved == m->version)
        return json_true();
    return m->writes != 0 && m->submitted == m->version ? json_null() : json_false();
}

json_t *maintenance_state(const struct maintenance *m)
{
    json_t *value = maintenance_describe(m);
    json_object_set_new(value, "message", json_string(message(m)));
    json_object_set_new(value, "source", json_string(m->source));
    json_object_set_new(value, "persisted", describe_saving(m));
    return value;
}

void maintenance_refusal(const struct maintenance *m, struct api_error *ret)
{
    api_error_set(ret, 503, "server_error", "maintenance", NULL, "%s", message(m));
    ret->retry_after_s = retry_after_s(m);
}

/* ---- on the disk ---- */

struct save {
    struct disk_job super; /* first member */
    struct maintenance *m; /* borrowed: not freed before the disk is idle */
    uint64_t version;
    char *path;       /* owned: the thread's own */
    struct buf bytes; /* owned */
    int error;        /* errno; 0: it is written */
};

static void save_free(struct save *save)
{
    free(save->path);
    buf_free(&save->bytes);
    free(save);
}

static void log_not_saved(const char *reason, int error)
{
    log_warn("observe", "maintenance_not_saved", LOG_ID("reason", reason), LOG_INT("error", error));
}

static void on_run(struct disk_job *job)
{
    struct save *save = (struct save *)(void *)job;
    save->error = file_replace(save->path, save->bytes.data, save->bytes.len) ? 0 : errno;
}

static void on_saved(struct disk_job *job)
{
    struct save *save = (struct save *)(void *)job;
    save->m->writes--;
    if (save->error == 0)
        save->m->saved = save->version;
    else
        log_not_saved("write_failed", save->error);
    save_free(save);
}

static void write_state(const struct state *s, struct buf *out)
{
    json_t *value = json_pack(
        "{s:b, s:I, s:o, s:o, s:o}", "enabled", s->enabled, "since_ms", (json_int_t)s->since_ms,
        "retry_after_s", s->retry_after_s != 0 ? json_integer(s->retry_after_s) : json_null(),
        "message", s->message[0] != '\0' ? json_string(s->message) : json_null(), "actor",
        s->actor[0] != '\0' ? json_string(s->actor) : json_null());
    json_write(out, value);
    buf_putc(out, '\n');
    json_decref(value);
}

/* Each state is a job of its own: they are done in order, so the last one wins, and none is forgotten at the end. */
static void save_state(struct maintenance *m)
{
    struct save *save = xcalloc(1, sizeof(*save));
    *save = (struct save){ .super = { .run = on_run, .done = on_saved },
                           .m = m,
                           .version = m->version,
                           .path = xstrdup(m->path),
                           .bytes = BUF_INIT };
    write_state(&m->state, &save->bytes);
    save->super.bytes = sizeof(*save) + save->bytes.cap;
    if (!disk_submit(m->disk, &save->super)) {
        log_not_saved("disk_busy", 0);
        save_free(save);
        return;
    }
    m->submitted = m->version;
    m->writes++;
}

/* Members that a later version may add are passed over; those that are there must be right. */
static bool read_state(const json_t *root, struct state *ret)
{
    struct state s = { .enabled = false };
    struct api_error e;
    const json_t *since = json_object_get(root, "since_ms");
    json_int_t since_ms = json_integer_value(since);
    if (!json_is_integer(since) || since_ms < 0 || since_ms > SINCE_MAX_MS)
        return false;
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        const json_t *value = json_object_get(root, fields[i].name);
        if (value == NULL || !fields[i].take(&s, value, &e))
            return false;
    }
    s.since_ms = since_ms;
    *ret = s;
    return true;
}

/* Why the file is of no use, or NULL. One that is not there says off. */
static const char *load(const char *path, struct state *ret)
{
    struct buf bytes = BUF_INIT;
    const char *why = NULL;
    if (file_read(path, &bytes, MAINTENANCE_FILE_MAX)) {
        json_t *root = json_parse(buf_str(&bytes), bytes.len, NULL);
        if (!read_state(root, ret))
            why = "malformed";
        json_decref(root);
    } else if (errno != ENOENT) {
        why = errno == EFBIG ? "too_big" : "unreadable";
    }
    buf_free(&bytes);
    return why;
}

/* ---- public ---- */

struct maintenance *maintenance_new(const struct maintenance_options *options)
{
    struct maintenance *m = xcalloc(1, sizeof(*m));
    m->disk = options->disk;
    m->path = xasprintf("%s/maintenance.json", options->home);
    m->default_retry_after_s = options->retry_after_s;
    const char *why = load(m->path, &m->state);
    if (why != NULL)
        log_warn("observe", "maintenance_file_ignored", LOG_ID("reason", why));
    m->source = m->state.since_ms != 0 ? "last_run" : "default";
    if (options->enabled) {
        m->source = "setting"; /* what the last run has said about it still holds */
        if (!m->state.enabled) {
            m->state = (struct state){ .enabled = true, .since_ms = clock_wall_ms() };
            m->version++; /* which the disk does not have */
        }
    }
    tell(m);
    return m;
}

void maintenance_configure(struct maintenance *m, int64_t retry_after_s)
{
    m->default_retry_after_s = retry_after_s;
}

bool maintenance_enabled(const struct maintenance *m)
{
    return m->state.enabled;
}

static bool is_known(const char *name, struct api_error *e)
{
    if (find(name) != NULL)
        return true;
    api_error_bad(e, "unknown_parameter", name,
                  "Unknown parameter: expected enabled, retry_after_s, message, actor.");
    return false;
}

/* What `m` would be. */
static bool read_wish(const struct maintenance *m, json_t *root, struct state *ret,
                      struct api_error *e)
{
    const char *name = NULL;
    const json_t *value = NULL;
    const json_t *enabled = json_object_get(root, "enabled");
    *ret = m->state;
    ret->actor[0] = '\0';
    if (enabled == NULL) {
        api_error_bad(e, "missing_required_parameter", "enabled",
                      "Missing required parameter: 'enabled'.");
        return false;
    }
    if (json_is_true(enabled) != m->state.enabled)
        *ret = (struct state){ .since_ms = clock_wall_ms() };
    json_object_foreach(root, name, value)
    {
        if (!is_known(name, e) || !find(name)->take(ret, value, e))
            return false;
    }
    return true;
}

bool maintenance_change(struct maintenance *m, const char *body, size_t len, struct api_error *ret)
{
    struct state wish;
    json_t *root = json_body_parse(body, len, ret);
    bool ok = root != NULL && read_wish(m, root, &wish, ret);
    json_decref(root);
    if (!ok)
        return false;
    m->state = wish;
    m->source = "request";
    m->version++;
    tell(m);
    save_state(m);
    return true;
}

void maintenance_close(struct maintenance *m)
{
    bool wanted = m != NULL && strcmp(m->source, "request") == 0;
    if (wanted && m->saved != m->version && !(m->writes != 0 && m->submitted == m->version))
        save_state(m);
}

void maintenance_free(struct maintenance *m)
{
    if (m == NULL)
        return;
    free(m->path);
    free(m);
}
