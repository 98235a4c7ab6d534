/* The request log: lines, gathered and handed to the disk in batches. */
#include "interactions.h"

#include "calendar.h"
#include "clock.h"
#include "deadline.h"
#include "disk.h"
#include "json.h"
#include "lines.h"
#include "log.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_MS 3600000 /* for another day, whatever the wall clock does meanwhile */

struct interactions {
    struct interactions_options options; /* its home is not ours */
    struct interaction_files files;      /* of the disk's thread, but for its release */
    struct deadline deadline;            /* of the batch, or of the end of the day */
    struct buf lines;                    /* owned: gathered, of one day */
    char date[CLOCK_DATE_SIZE];          /* theirs */
    struct calendar calendar;            /* by which files are too old */
    int64_t looked; /* the day at which a job was last told to look through the files; -1: never */
    unsigned jobs;  /* on the disk */
    size_t jobs_bytes;
    bool closed;
    uint64_t lost;
    uint64_t dropped;   /* lines that nobody was told of */
    const char *why;    /* static: of the last one; NULL: nothing went wrong */
    int error;          /* its errno, or 0 */
    uint64_t told_ms;   /* loop time; 0: never */
    bool failed;        /* the last write */
    uint64_t failed_ms; /* by mono_ms */
};

struct batch {
    struct disk_job super;
    struct interactions *all;   /* linked */
    char date[CLOCK_DATE_SIZE]; /* of the lines */
    int64_t today;              /* by the calendar */
    struct buf lines;           /* owned; without any, the files are only looked through */
    struct interaction_limits limits;
    struct interaction_result result;
};

/* ---- what was lost ---- */

static void tell(struct interactions *all, bool now)
{
    uint64_t now_ms = deadlines_now_ms(all->options.deadlines);
    if (all->why == NULL ||
        (!now && all->told_ms != 0 && now_ms - all->told_ms < INTERACTIONS_TELL_MS))
        return;
    log_warn("observe", "interactions_dropped", LOG_ID("reason", all->why),
             LOG_INT("count", all->dropped), LOG_INT("error", all->error));
    all->told_ms = now_ms + (now_ms == 0);
    all->dropped = 0;
    all->why = NULL;
    all->error = 0;
}

static void drop(struct interactions *all, unsigned count, const char *why, int error)
{
    all->lost += count;
    all->dropped += count;
    all->why = why;
    all->error = error;
    tell(all, false);
}

/* ---- jobs ---- */

static void batch_free(struct batch *b)
{
    buf_free(&b->lines);
    free(b);
}

static void on_run(struct disk_job *job)
{
    struct batch *b = (struct batch *)(void *)job;
    struct interaction_files *files = &b->all->files;
    if (b->lines.len != 0)
        interaction_files_append(files, b->date, b->today, b->lines.data, b->lines.len, &b->limits,
                                 &b->result);
    else
        interaction_files_sweep(files, b->date, b->today, &b->limits, &b->result);
}

static void on_done(struct disk_job *job)
{
    struct batch *b = (struct batch *)(void *)job;
    struct interactions *all = b->all;
    const struct interaction_result *r = &b->result;
    all->jobs--;
    all->jobs_bytes -= job->bytes;
    if (r->too_old != 0 || r->too_large != 0 || r->cut != 0)
        log_info("observe", "interactions_pruned", LOG_INT("too_old", r->too_old),
                 LOG_INT("too_large", r->too_large), LOG_INT("cut", r->cut));
    if (b->lines.len != 0) {
        all->failed = r->lost != 0;
        all->failed_ms = all->options.mono_ms();
    }
    if (r->lost != 0)
        drop(all, r->lost, "write_failed", r->error);
    else if (r->error != 0)
        drop(all, 0, "prune_failed", r->error);
    batch_free(b);
}

static int64_t today(struct interactions *all)
{
    const struct interactions_options *o = &all->options;
    return calendar_now_ms(&all->calendar, o->wall_ms(), o->mono_ms()) / CLOCK_DAY_MS;
}

/* The lines go with the job, or stay for the next time when the disk takes no more. */
static void submit(struct interactions *all, const char *date)
{
    struct batch *b = xcalloc(1, sizeof(*b));
    *b = (struct batch){ .super = { .run = on_run, .done = on_done, .bytes = all->lines.len },
                         .all = all,
                         .today = today(all),
                         .lines = all->lines,
                         .limits = all->options.limits };
    memcpy(b->date, date, CLOCK_DATE_SIZE);
    if (!disk_submit(all->options.disk, &b->super)) {
        free(b);
        return;
    }
    all->looked = b->today;
    all->lines = (struct buf)BUF_INIT;
    all->jobs++;
    all->jobs_bytes += b->super.bytes;
}

void interactions_flush(struct interactions *all)
{
    if (all != NULL && all->lines.len != 0)
        submit(all, all->date);
}

/* Like interactions_flush, but nothing stays. */
static void flush_or_drop(struct interactions *all)
{
    interactions_flush(all);
    if (all->lines.len == 0)
        return;
    drop(all, lines_count(all->lines.data, all->lines.len), "disk_busy", 0);
    buf_clear(&all->lines);
}

static void on_deadline(struct deadline *d);

/* For the batch under way, or for the next day. */
static void arm(struct interactions *all)
{
    if (all->closed)
        return;
    int64_t left_ms = CLOCK_DAY_MS - all->options.wall_ms() % CLOCK_DAY_MS;
    uint64_t after_ms = left_ms < LOOK_MS ? (uint64_t)left_ms : LOOK_MS;
    if (all->lines.len != 0)
        after_ms = INTERACTIONS_BATCH_MS;
    deadline_set(all->options.deadlines, &all->deadline, after_ms, on_deadline);
}

/* Files become too old also while nobody asks for anything. */
static void look(struct interactions *all)
{
    char date[CLOCK_DATE_SIZE];
    interactions_flush(all);
    if (today(all) != all->looked) {
        clock_date(all->options.wall_ms(), date);
        submit(all, date);
    }
    tell(all, false);
    arm(all);
}

static void on_deadline(struct deadline *d)
{
    look(deadline_owner(d, struct interactions, deadline));
}

/* ---- lines ---- */

static void put_cost(struct buf *out, double usd)
{
    if (isfinite(usd))
        buf_printf(out, ",\"cost_usd\":%.12g", usd);
    else
        buf_puts(out, ",\"cost_usd\":null");
}

static void put_times(struct buf *out, const struct interaction *i)
{
    json_put_int(out, "duration_ms", i->duration_ms);
    json_put_int(out, "queue_ms", i->queue_ms);
    if (i->ttfb_ms >= 0)
        json_put_int(out, "ttfb_ms", i->ttfb_ms);
    else
        buf_puts(out, ",\"ttfb_ms\":null");
}

static void put_line(struct buf *out, const struct interaction *i, const char *timestamp)
{
    buf_puts(out, "{\"v\":1");
    json_put_text(out, "timestamp", timestamp);
    json_put_text(out, "route", i->route);
    json_put_text(out, "request_id", i->request_id);
    json_put_text(out, "key", i->key);
    json_put_text(out, "model", i->model);
    json_put_bool(out, "stream", i->stream);
    json_put_int(out, "status", i->status);
    json_put_text(out, "outcome", i->outcome);
    json_put_text(out, "error_code", i->error_code);
    json_put_int(out, "tools_used", i->tools_used);
    token_counts_put(out, &i->tokens);
    put_cost(out, i->cost_usd);
    put_times(out, i);
    if (i->prompt != NULL) {
        json_put_name(out, "prompt");
        json_quote(out, i->prompt, strlen(i->prompt));
    }
    buf_puts(out, "}\n");
}

void interactions_add(struct interactions *all, const struct interaction *i)
{
    char now[CLOCK_ISO_SIZE]; /* begins with the date */
    if (all->closed || all->jobs_bytes + all->lines.len >= INTERACTIONS_WAITING_MAX) {
        drop(all, 1, "too_many", 0);
        return;
    }
    clock_iso8601(all->options.wall_ms(), now);
    if (memcmp(now, all->date, CLOCK_DATE_SIZE - 1) != 0)
        flush_or_drop(all);
    memcpy(all->date, now, CLOCK_DATE_SIZE - 1);
    bool first = all->lines.len == 0;
    put_line(&all->lines, i, now);
    if (all->lines.len >= INTERACTIONS_BATCH_BYTES)
        interactions_flush(all);
    if (first)
        arm(all);
}

/* ---- public ---- */

struct interactions *interactions_new(const struct interactions_options *options)
{
    struct interactions *all = xcalloc(1, sizeof(*all));
    all->options = *options;
    interaction_files_init(&all->files, options->home);
    all->options.home = NULL;
    all->looked = -1;
    deadline_set(all->options.deadlines, &all->deadline, 0, on_deadline);
    return all;
}

void interactions_configure(struct interactions *all, const struct interaction_limits *limits)
{
    const struct interaction_limits before = all->options.limits;
    all->options.limits = *limits;
    if (before.retention_days == limits->retention_days && before.max_bytes == limits->max_bytes)
        return;
    interactions_flush(all);
    all->looked = -1; /* so that they are looked through */
    look(all);
}

uint64_t interactions_lost(const struct interactions *all)
{
    return all->lost;
}

bool interactions_healthy(const struct interactions *all)
{
    return !all->failed || all->options.mono_ms() - all->failed_ms >= DISK_FAILURE_MS;
}

void interactions_close(struct interactions *all)
{
    if (all == NULL || all->closed)
        return;
    flush_or_drop(all);
    all->closed = true;
    deadline_clear(all->options.deadlines, &all->deadline);
}

void interactions_free(struct interactions *all)
{
    if (all == NULL)
        return;
    assert(all->jobs == 0);
    interactions_close(all);
    tell(all, true);
    interaction_files_free(&all->files);
    buf_free(&all->lines);
    free(all);
}
