/* Health: a list of named checks, made every HEALTH_INTERVAL_MS. */
#include "health.h"

#include "clock.h"
#include "config.h"
#include "deadline.h"
#include "disk.h"
#include "file_check.h"
#include "log.h"
#include "tcp_check.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* What a check came to. */
struct verdict {
    enum health_status status;
    const char *why;  /* static; NULL: nothing to be said */
    const char *unit; /* static; NULL: there is no number */
    int64_t value;
    int64_t limit;
};

struct check {
    char name[HEALTH_NAME_MAX + 1];
    bool required;
    enum health_status told; /* to the log: the last one that was known */
    int64_t since_ms;        /* wall clock: it has this status */
    struct verdict last;
};

/* What is asked of others and answered later, or never. At most one question of each is under way. */
struct probe {
    struct health *health;    /* borrowed */
    struct deadline deadline; /* of the answer */
    bool asking;
    bool late;         /* the verdict was given without the answer */
    uint64_t asked_ms; /* loop time */
};

/* A check of the settings. It outlives its place in the list while it is asking. */
struct custom {
    struct probe probe;
    struct check check;
    struct health_spec spec; /* owned */
    struct tcp_check *tcp;   /* linked: ends by itself */
    bool listed;
};

struct health {
    struct uv_loop_s *loop;      /* borrowed */
    struct deadlines *deadlines; /* borrowed */
    struct disk *disk;           /* borrowed */
    struct disk *files;          /* owned: of custom checks, which may be of disks that hang */
    char *home;                  /* owned */
    struct deadline tick;        /* of the next round */
    struct check builtin[HEALTH_BUILTIN_COUNT];
    struct probe room;                       /* of the disk and the memory */
    struct custom *custom[HEALTH_SPECS_MAX]; /* owned */
    size_t custom_count;
    size_t asking; /* probes that do, also those that are not listed any more */
    void (*look)(void *ctx, struct health_worker *ret);           /* NULL: there is no worker */
    void *look_ctx;                                               /* borrowed */
    void (*look_log)(void *ctx, struct health_interactions *ret); /* NULL: no request log */
    void *look_log_ctx;                                           /* borrowed */
    uint64_t dropped; /* lines of the log, at the last look */
    uint64_t missing; /* lines of the request log, at the last look */
    uint64_t interval_ms;
    uint64_t timeout_ms;
    int64_t rpc_max_ms;
    int64_t disk_min_bytes;
    int64_t memory_max_percent;
    json_t *described; /* owned; NULL: to be made anew */
    bool started;
    bool closing;
    bool files_idle;              /* for good */
    void (*on_closed)(void *ctx); /* NULL: told already, or nobody asks */
    void *on_closed_ctx;          /* borrowed */
};

static const char *status_name(enum health_status status)
{
    static const char *const names[] = { "unknown", "pass", "fail" };
    return names[status];
}

/* ---- verdicts ---- */

static void say(const struct check *c)
{
    const struct verdict *v = &c->last;
    enum log_level level = v->status == HEALTH_FAIL ? LOG_WARN : LOG_INFO;
    const char *why = v->status == HEALTH_FAIL ? v->why : NULL;
    if (v->unit != NULL)
        LOG_AT(level, "observe", "health_check", LOG_ID("name", c->name),
               LOG_ID("status", status_name(v->status)), LOG_BOOL("required", c->required),
               LOG_ID("reason", why), LOG_INT("value", v->value), LOG_INT("limit", v->limit),
               LOG_ID("unit", v->unit));
    else
        LOG_AT(level, "observe", "health_check", LOG_ID("name", c->name),
               LOG_ID("status", status_name(v->status)), LOG_BOOL("required", c->required),
               LOG_ID("reason", why));
}

static bool is_same(const struct verdict *a, const struct verdict *b)
{
    return a->status == b->status && a->why == b->why && a->unit == b->unit &&
           a->value == b->value && a->limit == b->limit;
}

/* The only function that changes what a check came to. */
static void judge(struct health *h, struct check *c, const struct verdict *v)
{
    if (is_same(v, &c->last))
        return;
    if (v->status != c->last.status)
        c->since_ms = clock_wall_ms();
    c->last = *v;
    json_decref(h->described);
    h->described = NULL;
    if (v->status == HEALTH_UNKNOWN || v->status == c->told)
        return;
    c->told = v->status;
    say(c);
}

static struct verdict verdict(enum health_status status, const char *why)
{
    return (struct verdict){ .status = status, .why = why };
}

/* A number that must not be above its limit. */
static struct verdict at_most(int64_t value, int64_t limit, const char *unit, const char *why)
{
    bool ok = value <= limit;
    return (struct verdict){ ok ? HEALTH_PASS : HEALTH_FAIL, ok ? NULL : why, unit, value, limit };
}

static void check_init(struct check *c, const char *name)
{
    *c = (struct check){ .told = HEALTH_PASS, .since_ms = clock_wall_ms() };
    memcpy(c->name, name, strlen(name));
}

/* ---- questions ---- */

static void maybe_closed(struct health *h);

static void ask(struct probe *p, deadline_fn on_late)
{
    struct health *h = p->health;
    p->asking = true;
    p->late = false;
    p->asked_ms = deadlines_now_ms(h->deadlines);
    h->asking++;
    deadline_set(h->deadlines, &p->deadline, h->timeout_ms, on_late);
}

/* Whether the answer counts still. */
static bool answered(struct probe *p)
{
    struct health *h = p->health;
    p->asking = false;
    h->asking--;
    deadline_clear(h->deadlines, &p->deadline);
    return !p->late && !h->closing;
}

/* ---- the checks of the settings ---- */

static void custom_free(struct custom *c)
{
    free(c->spec.target);
    free(c);
}

/* Takes it off the list. */
static void custom_release(struct custom *c)
{
    c->listed = false;
    deadline_clear(c->probe.health->deadlines, &c->probe.deadline);
    if (c->tcp != NULL)
        tcp_check_stop(c->tcp);
    if (!c->probe.asking)
        custom_free(c);
}

static void on_custom_late(struct deadline *d)
{
    struct custom *c = deadline_owner(d, struct custom, probe.deadline);
    const struct verdict v = verdict(HEALTH_FAIL, "timeout");
    c->probe.late = true;
    judge(c->probe.health, &c->check, &v);
    if (c->tcp != NULL)
        tcp_check_stop(c->tcp);
}

static void custom_answered(struct custom *c, const struct verdict *v)
{
    struct health *h = c->probe.health;
    bool counts = answered(&c->probe);
    if (counts && c->listed)
        judge(h, &c->check, v);
    if (!c->listed)
        custom_free(c);
    maybe_closed(h);
}

static void on_tcp_ended(void *ctx, const char *why)
{
    struct custom *c = ctx;
    struct health *h = c->probe.health;
    int64_t took_ms = (int64_t)(deadlines_now_ms(h->deadlines) - c->probe.asked_ms);
    const struct verdict v = why != NULL
                                 ? verdict(HEALTH_FAIL, why)
                                 : at_most(took_ms, (int64_t)h->timeout_ms, "ms", "timeout");
    c->tcp = NULL;
    custom_answered(c, &v);
}

static void on_file_age(void *ctx, const char *why, int64_t age_s)
{
    struct custom *c = ctx;
    const struct verdict v =
        why != NULL ? verdict(HEALTH_FAIL, why) : at_most(age_s, c->spec.max_age_s, "s", "too_old");
    custom_answered(c, &v);
}

static void custom_ask(struct custom *c)
{
    struct health *h = c->probe.health;
    if (c->probe.asking)
        return;
    if (c->spec.kind == HEALTH_FILE && !file_age_ask(h->files, c->spec.target, on_file_age, c))
        return;
    ask(&c->probe, on_custom_late);
    if (c->spec.kind == HEALTH_TCP)
        c->tcp = tcp_check_start(h->loop, c->spec.target, c->spec.port, on_tcp_ended, c);
}

/* Takes what the spec holds. */
static struct custom *custom_new(struct health *h, const struct health_spec *spec)
{
    struct custom *c = xcalloc(1, sizeof(*c));
    check_init(&c->check, spec->name);
    c->probe.health = h;
    c->spec = *spec;
    c->listed = true;
    return c;
}

/* ---- the built-in ones ---- */

static void look_at_worker(struct health *h)
{
    struct health_worker w = { .status = HEALTH_UNKNOWN, .state = NULL, .rpc_latency_ms = -1 };
    if (h->look == NULL)
        return;
    h->look(h->look_ctx, &w);
    const struct verdict state = verdict(w.status, w.status == HEALTH_PASS ? NULL : w.state);
    const struct verdict rpc = w.rpc_latency_ms < 0
                                   ? verdict(HEALTH_UNKNOWN, "not_asked_yet")
                                   : at_most(w.rpc_latency_ms, h->rpc_max_ms, "ms", "slow");
    judge(h, &h->builtin[HEALTH_WORKER], &state);
    judge(h, &h->builtin[HEALTH_WORKER_RPC], &rpc);
}

/* `total` are lines that are gone; since the look before, which left `last`, there must be none. */
static struct verdict no_more(uint64_t total, uint64_t *last, const char *why)
{
    int64_t more = (int64_t)(total - *last);
    *last = total;
    return at_most(more, 0, "lines", why);
}

static void look_at_log(struct health *h)
{
    const struct verdict v = no_more(log_dropped(), &h->dropped, "lines_were_dropped");
    judge(h, &h->builtin[HEALTH_LOG], &v);
}

/* That nothing was lost says little while nothing can be written: there may have been no request. */
static void look_at_interactions(struct health *h)
{
    struct health_interactions log = { .writable = true };
    if (h->look_log == NULL)
        return;
    h->look_log(h->look_log_ctx, &log);
    struct verdict v = no_more(log.lost, &h->missing, "lines_were_lost");
    if (!log.writable)
        v = verdict(HEALTH_FAIL, "write_failed");
    judge(h, &h->builtin[HEALTH_INTERACTIONS], &v);
}

static void judge_room(struct health *h, const struct room *room)
{
    struct verdict disk = verdict(HEALTH_UNKNOWN, "not_told");
    struct verdict memory = disk;
    if (room->disk_known) {
        bool ok = room->disk_free_bytes >= h->disk_min_bytes;
        disk = (struct verdict){ ok ? HEALTH_PASS : HEALTH_FAIL, ok ? NULL : "too_little_room",
                                 "bytes", room->disk_free_bytes, h->disk_min_bytes };
    }
    if (room->memory_known)
        memory = at_most(room->memory_percent, h->memory_max_percent, "percent", "nearly_full");
    judge(h, &h->builtin[HEALTH_DISK], &disk);
    judge(h, &h->builtin[HEALTH_MEMORY], &memory);
}

static void on_room(void *ctx, const struct room *room)
{
    struct health *h = ctx;
    if (answered(&h->room))
        judge_room(h, room);
    maybe_closed(h);
}

/* The disk of CODEX_HOME does not answer, and the memory was asked behind it. */
static void on_room_late(struct deadline *d)
{
    struct health *h = deadline_owner(d, struct health, room.deadline);
    const struct verdict disk = verdict(HEALTH_FAIL, "timeout");
    const struct verdict memory = verdict(HEALTH_UNKNOWN, "timeout");
    h->room.late = true;
    judge(h, &h->builtin[HEALTH_DISK], &disk);
    judge(h, &h->builtin[HEALTH_MEMORY], &memory);
}

/* What has no room for the question has too much to do: the next round asks again. */
static void ask_room(struct health *h)
{
    if (!h->room.asking && room_ask(h->disk, h->home, on_room, h))
        ask(&h->room, on_room_late);
}

/* ---- rounds ---- */

static void on_tick(struct deadline *d)
{
    struct health *h = deadline_owner(d, struct health, tick);
    look_at_worker(h);
    look_at_log(h);
    look_at_interactions(h);
    ask_room(h);
    for (size_t i = 0; i < h->custom_count; i++)
        custom_ask(h->custom[i]);
    deadline_set(h->deadlines, &h->tick, h->interval_ms, on_tick);
}

/* The one of that spec, taken off the old list, or NULL. */
static struct custom *take_equal(struct custom **old, size_t count, const struct health_spec *spec)
{
    for (size_t i = 0; i < count; i++) {
        struct custom *c = old[i];
        if (c == NULL || !health_spec_equal(&c->spec, spec))
            continue;
        old[i] = NULL;
        return c;
    }
    return NULL;
}

/* Takes what the specs hold. */
static void list_customs(struct health *h, struct health_specs *specs)
{
    struct custom *old[HEALTH_SPECS_MAX];
    size_t old_count = h->custom_count;
    memcpy(old, h->custom, sizeof(old));
    for (size_t i = 0; i < specs->count; i++) {
        struct custom *c = take_equal(old, old_count, &specs->items[i]);
        if (c != NULL)
            free(specs->items[i].target);
        h->custom[i] = c != NULL ? c : custom_new(h, &specs->items[i]);
    }
    h->custom_count = specs->count;
    for (size_t i = 0; i < old_count; i++)
        if (old[i] != NULL)
            custom_release(old[i]);
}

/* The built-in ones come first. */
static const struct check *check_at(const struct health *h, size_t i)
{
    size_t builtin = h->look_log != NULL ? HEALTH_BUILTIN_COUNT : HEALTH_INTERACTIONS;
    if (i < builtin)
        return &h->builtin[i];
    i -= builtin;
    return i < h->custom_count ? &h->custom[i]->check : NULL;
}

static void set_required(struct health *h, const char *required)
{
    for (size_t i = 0; i < HEALTH_BUILTIN_COUNT; i++)
        h->builtin[i].required = health_required_has(required, h->builtin[i].name);
    for (size_t i = 0; i < h->custom_count; i++)
        h->custom[i]->check.required = health_required_has(required, h->custom[i]->check.name);
}

void health_configure(struct health *h, const struct config *config)
{
    struct health_specs specs;
    char *why = NULL;
    bool ok = health_specs_parse(config->health_checks, &specs, &why);
    assert(ok); /* it was checked before */
    list_customs(h, &specs);
    set_required(h, config->health_required);
    h->interval_ms = (uint64_t)config->health_interval_ms;
    h->timeout_ms = (uint64_t)config->health_timeout_ms;
    h->rpc_max_ms = config->health_rpc_max_ms;
    h->disk_min_bytes = config->health_disk_min_bytes;
    h->memory_max_percent = config->health_memory_max_percent;
    json_decref(h->described);
    h->described = NULL;
    if (h->started && !h->closing)
        deadline_set(h->deadlines, &h->tick, 0, on_tick);
}

void health_start(struct health *h)
{
    h->started = true;
    deadline_set(h->deadlines, &h->tick, 0, on_tick);
}

struct health *health_new(struct uv_loop_s *loop, struct deadlines *deadlines, struct disk *disk,
                          const char *home)
{
    struct health *h = xcalloc(1, sizeof(*h));
    h->loop = loop;
    h->deadlines = deadlines;
    h->disk = disk;
    h->files = disk_new(loop);
    h->home = xstrdup(home);
    h->room.health = h;
    h->dropped = log_dropped();
    for (int i = 0; i < HEALTH_BUILTIN_COUNT; i++)
        check_init(&h->builtin[i], health_builtin_name((enum health_builtin)i));
    return h;
}

void health_ask_worker(struct health *h, void (*look)(void *ctx, struct health_worker *ret),
                       void *ctx)
{
    h->look = look;
    h->look_ctx = ctx;
    look_at_worker(h);
}

void health_worker_changed(struct health *h)
{
    look_at_worker(h);
}

void health_ask_interactions(struct health *h,
                             void (*look)(void *ctx, struct health_interactions *ret), void *ctx)
{
    h->look_log = look;
    h->look_log_ctx = ctx;
    json_decref(h->described);
    h->described = NULL;
}

void health_set(struct health *h, const char *name, bool ok, const char *why)
{
    const struct verdict v = verdict(ok ? HEALTH_PASS : HEALTH_FAIL, why);
    for (size_t i = 0; i < HEALTH_BUILTIN_COUNT; i++)
        if (strcmp(h->builtin[i].name, name) == 0)
            judge(h, &h->builtin[i], &v);
}

/* ---- what is told ---- */

static json_t *describe(const struct check *c)
{
    char since[CLOCK_ISO_SIZE];
    const struct verdict *v = &c->last;
    clock_iso8601(c->since_ms, since);
    json_t *object = json_pack("{s:s, s:s, s:b}", "status", status_name(v->status), "since", since,
                               "required", c->required);
    if (v->unit != NULL) {
        json_object_set_new(object, "value", json_integer(v->value));
        json_object_set_new(object, "unit", json_string(v->unit));
        json_object_set_new(object, "limit", json_integer(v->limit));
    }
    if (v->why != NULL)
        json_object_set_new(object, "why", json_string(v->why));
    return object;
}

json_t *health_describe(struct health *h)
{
    const struct check *c = NULL;
    if (h->described == NULL) {
        h->described = json_object();
        for (size_t i = 0; (c = check_at(h, i)) != NULL; i++)
            json_object_set_new(h->described, c->name, describe(c));
    }
    return json_incref(h->described);
}

const char *health_required_failing(const struct health *h, size_t i)
{
    const struct check *c = NULL;
    for (size_t at = 0; (c = check_at(h, at)) != NULL; at++)
        if (c->required && c->last.status == HEALTH_FAIL && i-- == 0)
            return c->name;
    return NULL;
}

size_t health_failing(const struct health *h)
{
    const struct check *c = NULL;
    size_t count = 0;
    for (size_t i = 0; (c = check_at(h, i)) != NULL; i++)
        count += c->last.status == HEALTH_FAIL;
    return count;
}

/* ---- the end ---- */

static void maybe_closed(struct health *h)
{
    void (*on_closed)(void *ctx) = h->on_closed;
    if (!h->files_idle || h->asking > 0 || on_closed == NULL)
        return;
    h->on_closed = NULL;
    on_closed(h->on_closed_ctx); /* may free us */
}

static void on_files_idle(void *ctx)
{
    struct health *h = ctx;
    h->files_idle = true;
    maybe_closed(h);
}

void health_close(struct health *h, void (*on_closed)(void *ctx), void *ctx)
{
    struct health_specs none = { .count = 0 };
    h->closing = true;
    h->look = NULL;
    deadline_clear(h->deadlines, &h->tick);
    deadline_clear(h->deadlines, &h->room.deadline);
    list_customs(h, &none);
    h->on_closed = on_closed;
    h->on_closed_ctx = ctx;
    disk_stop(h->files, on_files_idle, h);
}

void health_free(struct health *h)
{
    if (h == NULL)
        return;
    struct health_specs none = { .count = 0 };
    deadline_clear(h->deadlines, &h->tick);
    list_customs(h, &none);
    assert(h->asking == 0);
    disk_free(h->files);
    json_decref(h->described);
    free(h->home);
    free(h);
}
