/* The traces of requests, as files in a folder. */
#include "trace_buffer.h"

#include "clock.h"
#include "deadline.h"
#include "disk.h"
#include "file.h"
#include "log.h"
#include "metrics.h"
#include "trace.h"
#include "trace_index.h"
#include "trace_seal.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define RETRY_MS 250 /* when the disk has too much to do for a sweep */

/* Why a trace is not there, or no longer. */
enum reason { AGED, SURPLUS, WRITE_FAILED, QUEUE_FULL, TOO_BIG, REASON_COUNT };

static const char *const reason_names[REASON_COUNT] = { "ttl", "count", "write_failed",
                                                        "queue_full", "too_big" };

struct limits {
    int64_t ttl_ms;
    size_t files_max;
};

struct tally {
    uint64_t unsaid;         /* traces that no line of the log has told of */
    uint64_t quiet_until_ms; /* loop time */
};

struct trace_buffer {
    struct disk *disk;           /* borrowed */
    struct deadlines *deadlines; /* borrowed */
    char *folder;                /* owned */
    struct trace_seal_key *key;  /* owned; NULL: not encrypted */
    struct trace_mode mode;
    struct limits limits;
    uint32_t sample_at;   /* how far we are in the N of a sample */
    uint32_t sample_pick; /* which of them leaves a trace */
    struct deadline sweep;
    struct deadline say;
    struct tally tallies[REASON_COUNT];
    int error;                /* of the last write; 0: it went well */
    uint64_t failed_ms;       /* loop time of it */
    struct trace_index index; /* the disk thread's */
    bool cleaned;             /* the same: of what a crash has left */
};

/* A sweep, and then perhaps a write. */
struct trace_job {
    struct disk_job super;
    struct trace_buffer *tb; /* borrowed: outlives the jobs */
    struct limits limits;
    struct trace_record *record; /* owned; NULL: nothing is to be written */
    struct trace_name name;
    int64_t born_ms;
    /* What came of it. */
    bool too_big; /* it was not written */
    int error;    /* 0: all is well */
    size_t aged;
    size_t surplus;
    bool any_left;
    int64_t oldest_born_ms;
};

/* ---- the mode ---- */

bool trace_mode_parse(const char *text, struct trace_mode *ret)
{
    static const char *const names[] = { "off", "errors", "all" };
    static const char sample[] = "sample:";
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(text, names[i]) == 0) {
            *ret = (struct trace_mode){ .keep = (enum trace_keep)i };
            return true;
        }
    }
    if (strncmp(text, sample, sizeof(sample) - 1) != 0)
        return false;
    const char *digits = text + sizeof(sample) - 1;
    size_t len = strlen(digits);
    if (len == 0 || len > 7 || strspn(digits, "0123456789") != len || digits[0] == '0')
        return false;
    unsigned long one_of = strtoul(digits, NULL, 10);
    if (one_of > TRACE_SAMPLE_MAX)
        return false;
    *ret = (struct trace_mode){ .keep = TRACE_SAMPLE, .one_of = (uint32_t)one_of };
    return true;
}

bool trace_buffer_records(const struct trace_buffer *tb)
{
    return tb->mode.keep != TRACE_OFF;
}

/* Exactly one of each N in a row, but which is chance: else a client that alternates would be seen by half. */
static bool next_of_sample(struct trace_buffer *tb)
{
    if (tb->sample_at >= tb->mode.one_of)
        tb->sample_at = 0;
    if (tb->sample_at == 0)
        tb->sample_pick = randombytes_uniform(tb->mode.one_of);
    return tb->sample_at++ == tb->sample_pick;
}

bool trace_buffer_wants(struct trace_buffer *tb, enum trace_worth worth)
{
    switch (tb->mode.keep) {
    case TRACE_OFF:
        break;
    case TRACE_ERRORS:
        return worth == TRACE_FAILED;
    case TRACE_ALL:
        return true;
    case TRACE_SAMPLE:
        return worth == TRACE_FAILED || (worth == TRACE_FINE && next_of_sample(tb));
    }
    return false;
}

/* ---- what is told of it ---- */

static void on_say(struct deadline *d);

/* One line for a reason, and then none for a while, however many there are. */
static void say(struct trace_buffer *tb, enum reason reason)
{
    struct tally *t = &tb->tallies[reason];
    uint64_t count = t->unsaid;
    t->unsaid = 0;
    t->quiet_until_ms = deadlines_now_ms(tb->deadlines) + TRACE_LOG_EVERY_MS;
    if (reason <= SURPLUS)
        log_info("observe", "traces_pruned", LOG_ID("reason", reason_names[reason]),
                 LOG_INT("files", count));
    else
        log_warn("observe", "traces_lost", LOG_ID("reason", reason_names[reason]),
                 LOG_INT("files", count), LOG_INT("error", reason == WRITE_FAILED ? tb->error : 0));
}

static void say_what_is_due(struct trace_buffer *tb)
{
    uint64_t now_ms = deadlines_now_ms(tb->deadlines);
    for (int i = 0; i < REASON_COUNT; i++) {
        const struct tally *t = &tb->tallies[i];
        if (t->unsaid == 0)
            continue;
        if (t->quiet_until_ms <= now_ms)
            say(tb, (enum reason)i);
        else if (tb->say.fire == NULL || tb->say.at_ms > t->quiet_until_ms)
            deadline_set(tb->deadlines, &tb->say, t->quiet_until_ms - now_ms, on_say);
    }
}

static void on_say(struct deadline *d)
{
    say_what_is_due(deadline_owner(d, struct trace_buffer, say));
}

static void count(struct trace_buffer *tb, enum reason reason, size_t files)
{
    const char *name = reason_names[reason];
    if (files == 0)
        return;
    metric_count(M_TRACE_PRUNED, (double)files, name);
    tb->tallies[reason].unsaid += files;
    say_what_is_due(tb);
}

bool trace_buffer_healthy(const struct trace_buffer *tb, int *ret_error)
{
    uint64_t now_ms = deadlines_now_ms(tb->deadlines);
    if (tb->mode.keep == TRACE_OFF || tb->error == 0 || now_ms - tb->failed_ms >= DISK_FAILURE_MS)
        return true;
    if (ret_error != NULL)
        *ret_error = tb->error;
    return false;
}

/* ---- in the disk's thread ---- */

/* There is room before there is a file more, even a temporary one. */
static bool sweep(struct trace_job *job, bool writes)
{
    struct trace_buffer *tb = job->tb;
    size_t keep = job->limits.files_max - (writes ? 1 : 0);
    if (!tb->cleaned)
        trace_index_remove_leftovers(tb->folder);
    tb->cleaned = true;
    if (!trace_index_refresh(&tb->index, tb->folder, !writes))
        return false;
    int64_t born_by_ms = (int64_t)clock_mono_ms() - job->limits.ttl_ms;
    return trace_index_prune(&tb->index, tb->folder, born_by_ms, keep, &job->aged, &job->surplus);
}

static bool write_trace(struct trace_job *job, const struct buf *text)
{
    struct trace_buffer *tb = job->tb;
    bool ok = trace_file_write(tb->folder, &job->name, tb->key, text->data, text->len);
    int error = errno;
    if (ok)
        trace_index_add(&tb->index, &job->name, job->born_ms);
    trace_index_note(&tb->index, tb->folder);
    errno = error;
    return ok;
}

static void on_run(struct disk_job *super)
{
    struct trace_job *job = (struct trace_job *)(void *)super;
    struct buf text = BUF_INIT;
    if (job->record != NULL)
        trace_record_write(job->record, &text);
    job->too_big = text.len > TRACE_FILE_BYTES_MAX;
    bool writes = job->record != NULL && !job->too_big;
    bool ok = sweep(job, writes) && (!writes || write_trace(job, &text));
    job->error = ok ? 0 : errno;
    job->any_left = trace_index_oldest(&job->tb->index, &job->oldest_born_ms);
    buf_free(&text);
}

/* ---- in the loop ---- */

static void on_sweep(struct deadline *d);

static void arm_sweep(struct trace_buffer *tb, const struct trace_job *job)
{
    int64_t after_ms = TRACE_LOOK_MS;
    if (job->limits.ttl_ms != tb->limits.ttl_ms || job->limits.files_max != tb->limits.files_max)
        after_ms = 0; /* it knew the limits of before */
    if (job->any_left && job->error == 0) {
        int64_t end_ms = job->oldest_born_ms + tb->limits.ttl_ms + TRACE_SWEEP_SLACK_MS;
        int64_t left_ms = end_ms - (int64_t)clock_mono_ms();
        after_ms = left_ms < after_ms ? left_ms : after_ms;
    }
    deadline_set(tb->deadlines, &tb->sweep, after_ms > 0 ? (uint64_t)after_ms : 0, on_sweep);
}

static void free_job(struct trace_job *job)
{
    trace_record_free(job->record);
    free(job);
}

static void on_done(struct disk_job *super)
{
    struct trace_job *job = (struct trace_job *)(void *)super;
    struct trace_buffer *tb = job->tb;
    if (job->record != NULL || job->error != 0) {
        tb->error = job->error;
        tb->failed_ms = deadlines_now_ms(tb->deadlines);
    }
    count(tb, AGED, job->aged);
    count(tb, SURPLUS, job->surplus);
    if (job->too_big)
        count(tb, TOO_BIG, 1);
    else if (job->record != NULL && job->error != 0)
        count(tb, WRITE_FAILED, 1);
    else if (job->record != NULL)
        metric_count(M_TRACE_WRITTEN, 1);
    arm_sweep(tb, job);
    free_job(job);
}

static struct trace_job *job_new(struct trace_buffer *tb, struct trace_record *record)
{
    size_t bytes = record != NULL ? trace_record_bytes(record) : 0;
    struct trace_job *job = xcalloc(1, sizeof(*job));
    job->super = (struct disk_job){ .run = on_run, .done = on_done, .bytes = sizeof(*job) + bytes };
    job->tb = tb;
    job->limits = tb->limits;
    job->record = record;
    return job;
}

static void on_sweep(struct deadline *d)
{
    struct trace_buffer *tb = deadline_owner(d, struct trace_buffer, sweep);
    struct trace_job *job = job_new(tb, NULL);
    if (disk_submit(tb->disk, &job->super))
        return;
    free_job(job);
    deadline_set(tb->deadlines, &tb->sweep, RETRY_MS, on_sweep);
}

void trace_buffer_put(struct trace_buffer *tb, const char *req_id, struct trace_record *record)
{
    struct trace_job *job = job_new(tb, record);
    int64_t wall_ms = trace_record_wall_ms(record);
    trace_name_make(&job->name, wall_ms, req_id, tb->key != NULL);
    job->born_ms = trace_index_born_ms(wall_ms);
    if (disk_submit(tb->disk, &job->super))
        return;
    count(tb, QUEUE_FULL, 1);
    free_job(job);
}

void trace_buffer_configure(struct trace_buffer *tb, const struct trace_mode *mode, uint64_t ttl_ms,
                            size_t files_max)
{
    tb->mode = *mode;
    tb->limits = (struct limits){ .ttl_ms = (int64_t)ttl_ms, .files_max = files_max };
    deadline_set(tb->deadlines, &tb->sweep, 0, on_sweep);
}

struct trace_buffer *trace_buffer_new(struct disk *disk, struct deadlines *deadlines,
                                      const char *folder, struct trace_seal_key *key)
{
    struct trace_buffer *tb = xcalloc(1, sizeof(*tb));
    tb->disk = disk;
    tb->deadlines = deadlines;
    tb->folder = xstrdup(folder);
    tb->key = key;
    return tb;
}

void trace_buffer_free(struct trace_buffer *tb)
{
    if (tb == NULL)
        return;
    for (int i = 0; i < REASON_COUNT; i++)
        if (tb->tallies[i].unsaid != 0)
            say(tb, (enum reason)i);
    deadline_clear(tb->deadlines, &tb->sweep);
    deadline_clear(tb->deadlines, &tb->say);
    trace_index_free(&tb->index);
    trace_seal_key_free(tb->key);
    free(tb->folder);
    free(tb);
}

/* ---- reading ---- */

static void put_entry(struct buf *ret, const char *folder, const struct trace_name *name)
{
    char time[CLOCK_ISO_SIZE];
    struct stat st = { .st_size = 0 };
    char *path = xasprintf("%s/%s", folder, name->text);
    if (stat(path, &st) != 0)
        st.st_size = 0; /* removed since: it is listed with nothing in it */
    free(path);
    clock_iso8601(name->wall_ms, time);
    buf_printf(ret, "{\"req_id\":\"%s\",\"timestamp\":\"%s\",\"bytes\":%lld,\"sealed\":%s}",
               name->req_id, time, (long long)st.st_size, name->sealed ? "true" : "false");
}

bool trace_buffer_list(struct trace_buffer *tb, size_t limit, struct buf *ret)
{
    const struct trace_entry *entry = NULL;
    if (!trace_index_refresh(&tb->index, tb->folder, true))
        return false;
    buf_puts(ret, "{\"traces\":[");
    for (size_t i = 0; i < limit && (entry = trace_index_newest(&tb->index, i)) != NULL; i++) {
        if (i > 0)
            buf_putc(ret, ',');
        put_entry(ret, tb->folder, &entry->name);
    }
    buf_printf(ret, "],\"total\":%zu}", tb->index.count);
    return true;
}

enum trace_read trace_buffer_read(struct trace_buffer *tb, const char *req_id, struct buf *ret)
{
    if (!trace_index_refresh(&tb->index, tb->folder, true))
        return TRACE_READ_FAILED;
    const struct trace_entry *entry = trace_index_find(&tb->index, req_id);
    return entry != NULL ? trace_file_read(tb->folder, &entry->name, tb->key, ret)
                         : TRACE_READ_NONE;
}

/* ---- the key at the start ---- */

/* Whether the newest sealed trace that is whole was sealed with it. One that a power failure has cut off tells nothing. */
static bool opens(const struct trace_seal_key *key, const struct trace_index *index,
                  const char *folder)
{
    const struct trace_entry *entry = NULL;
    for (size_t i = 0; (entry = trace_index_newest(index, i)) != NULL; i++) {
        struct buf text = BUF_INIT;
        if (!entry->name.sealed)
            continue;
        enum trace_read result = trace_file_read(folder, &entry->name, key, &text);
        buf_free(&text);
        if (result == TRACE_READ_OK || result == TRACE_READ_OTHER_KEY)
            return result == TRACE_READ_OK;
    }
    return true;
}

static bool any_sealed(const struct trace_index *index)
{
    const struct trace_entry *entry = NULL;
    for (size_t i = 0; (entry = trace_index_newest(index, i)) != NULL; i++)
        if (entry->name.sealed)
            return true;
    return false;
}

/* A key that is missing can be made, unless something waits for the old one. */
static bool may_make(const char *key_file, const struct trace_index *index, const char *folder,
                     char **ret_why)
{
    if (!any_sealed(index))
        return true;
    *ret_why = xasprintf("%s: is not there, and traces in %s are encrypted; bring the key back, "
                         "or remove them",
                         key_file, folder);
    return false;
}

static bool is_right(const char *key_file, const struct trace_index *index, const char *folder,
                     char **ret_why)
{
    struct trace_seal_key *key = trace_seal_key_read(key_file, ret_why);
    bool ok = key != NULL && opens(key, index, folder);
    if (key != NULL && !ok)
        *ret_why = xasprintf("%s: wrong key: it does not open the traces in %s; bring the right "
                             "one back, or remove those that end in .sealed",
                             key_file, folder);
    trace_seal_key_free(key);
    return ok;
}

struct trace_seal_key *trace_buffer_key(const char *key_file, const char *folder, char **ret_why)
{
    if (!trace_buffer_check_key(key_file, folder, ret_why))
        return NULL;
    if (!file_exists(key_file) && !trace_seal_key_make(key_file, ret_why))
        return NULL;
    return trace_seal_key_read(key_file, ret_why);
}

bool trace_buffer_check_key(const char *key_file, const char *folder, char **ret_why)
{
    struct trace_index index = { .entries = NULL };
    bool ok = trace_index_refresh(&index, folder, true);
    if (!ok)
        *ret_why = xasprintf("%s: %s", folder, strerror(errno));
    else if (!file_exists(key_file))
        ok = may_make(key_file, &index, folder, ret_why);
    else
        ok = is_right(key_file, &index, folder, ret_why);
    trace_index_free(&index);
    return ok;
}
