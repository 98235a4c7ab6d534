/* The trace buffer: never more files nor older ones than allowed, whatever happens, and no failure reaches who records. */
#include "trace_buffer.h"
#include "clock.h"
#include "disk.h"
#include "file.h"
#include "folder.h"
#include "id.h"
#include "json.h"
#include "log.h"
#include "loop.h"
#include "metrics.h"
#include "settle.h"
#include "trace.h"
#include "trace_index.h"
#include "trace_seal.h"
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <utime.h>

#define HOUR_MS 3600000
#define DAY_MS (24 * (int64_t)HOUR_MS)
#define ID "req_0123456789abcdefABCDEF%02d"
#define TEXT "{\"v\":1}" /* in the place of a trace */

/* ---- a wall clock that can be set: the names of an executable come before those of the C library ---- */

static int64_t jump_ms;

int clock_gettime(clockid_t id, struct timespec *ret)
{
    int rc = (int)syscall(SYS_clock_gettime, id, ret);
    if (rc == 0 && id == CLOCK_REALTIME)
        ret->tv_sec += jump_ms / 1000;
    return rc;
}

/* ---- a buffer with a disk, a loop and a folder ---- */

struct world {
    struct loop loop;
    struct folder folder;
    char *path; /* of the traces */
    struct disk *disk;
    struct trace_buffer *tb;
};

static void open_buffer(struct world *w, struct trace_seal_key *key)
{
    w->disk = disk_new(&w->loop.uv);
    w->tb = trace_buffer_new(w->disk, w->loop.deadlines, w->path, key);
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    jump_ms = 0;
    metrics_reset();
    loop_begin(&w->loop);
    folder_make(&w->folder);
    w->path = folder_path(&w->folder, "trace-buffer");
    open_buffer(w, NULL);
    *state = w;
    return 0;
}

/* All that is due now has been done. */
static void settle(struct world *w)
{
    loop_turn(&w->loop);
    settle_disk(&w->loop, w->disk);
}

static void close_buffer(struct world *w)
{
    settle(w);
    trace_buffer_free(w->tb);
    disk_free(w->disk);
}

static int teardown(void **state)
{
    struct world *w = *state;
    close_buffer(w);
    loop_end(&w->loop);
    folder_remove(&w->folder);
    free(w->path);
    free(w);
    metrics_reset();
    return 0;
}

static void configure(struct world *w, const char *mode, int64_t ttl_ms, size_t files_max)
{
    struct trace_mode parsed;
    assert_true(trace_mode_parse(mode, &parsed));
    trace_buffer_configure(w->tb, &parsed, (uint64_t)ttl_ms, files_max);
}

static uint64_t now_ns(void)
{
    return 0;
}

/* What a request of that model leaves. */
static struct trace_record *recorded(int64_t wall_ms, const char *model)
{
    const struct trace_summary summary = { .req_id = "req_1", .model = model };
    struct trace *trace = trace_new(now_ns, wall_ms);
    struct trace_record *record = trace_take(trace, &summary);
    trace_unref(trace);
    return record;
}

static void put(struct world *w, int number, int64_t wall_ms)
{
    char id[ID_SIZE];
    snprintf(id, sizeof(id), ID, number);
    trace_buffer_put(w->tb, id, recorded(wall_ms, "gpt-x"));
}

/* The text of a trace that `put` has left. */
static void write_trace(struct buf *out, int64_t wall_ms)
{
    struct trace_record *record = recorded(wall_ms, "gpt-x");
    trace_record_write(record, out);
    trace_record_free(record);
}

static void expect_trace(struct buf *text, int64_t wall_ms)
{
    struct buf expected = BUF_INIT;
    write_trace(&expected, wall_ms);
    assert_string_equal(buf_str(text), buf_str(&expected));
    buf_free(&expected);
}

/* A file of an earlier run. */
static char *leave(struct world *w, int number, int64_t age_ms)
{
    struct trace_name name;
    char id[ID_SIZE];
    snprintf(id, sizeof(id), ID, number);
    trace_name_make(&name, clock_wall_ms() - age_ms, id, false);
    assert_true(file_make_folder(w->path));
    assert_true(trace_file_write(w->path, &name, NULL, LITERAL(TEXT)));
    return xasprintf("%s/%s", w->path, name.text);
}

static size_t files(const struct world *w)
{
    size_t count = 0;
    DIR *dir = opendir(w->path);
    if (dir == NULL)
        return 0;
    for (const struct dirent *e = readdir(dir); e != NULL; e = readdir(dir))
        count += e->d_name[0] != '.';
    closedir(dir);
    return count;
}

/* The bits of the numbers of the traces that are there. */
static unsigned present(const struct world *w)
{
    unsigned bits = 0;
    struct trace_index index = { .entries = NULL };
    const struct trace_entry *entry = NULL;
    assert_true(trace_index_refresh(&index, w->path, true));
    for (size_t i = 0; (entry = trace_index_newest(&index, i)) != NULL; i++)
        bits |= 1U << atoi(entry->name.req_id + strlen("req_0123456789abcdefABCDEF"));
    trace_index_free(&index);
    return bits;
}

static void assert_metric(const char *sample)
{
    struct buf page = BUF_INIT;
    struct buf line = BUF_INIT;
    metrics_write(&page, METRICS_TEXT);
    buf_printf(&line, "\n%s\n", sample);
    if (strstr(buf_str(&page), buf_str(&line)) == NULL)
        fail_msg("no %s in %s", sample, buf_str(&page));
    buf_free(&page);
    buf_free(&line);
}

/* ---- the mode ---- */

static void test_modes_are_four_words(void **state)
{
    (void)state;
    static const char *const wrong[] = { "",          "OFF",        "on",        "all ",
                                         "sample",    "sample:",    "sample:0",  "sample:00",
                                         "sample:-1", "sample:01",  "sample:1x", "sample:1000001",
                                         "sample: 1", "sample:1.5", "errors,all" };
    struct trace_mode mode = { .keep = TRACE_OFF };
    assert_true(trace_mode_parse("off", &mode) && mode.keep == TRACE_OFF);
    assert_true(trace_mode_parse("errors", &mode) && mode.keep == TRACE_ERRORS);
    assert_true(trace_mode_parse("all", &mode) && mode.keep == TRACE_ALL);
    assert_true(trace_mode_parse("sample:1", &mode) && mode.keep == TRACE_SAMPLE);
    assert_int_equal(mode.one_of, 1);
    assert_true(trace_mode_parse("sample:1000000", &mode));
    assert_int_equal(mode.one_of, 1000000);
    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        assert_false(trace_mode_parse(wrong[i], &mode));
}

static void test_a_mode_says_who_leaves_a_trace(void **state)
{
    struct world *w = *state;
    assert_false(trace_buffer_records(w->tb)); /* before it is configured */
    configure(w, "off", DAY_MS, 10);
    assert_false(trace_buffer_records(w->tb));
    assert_false(trace_buffer_wants(w->tb, TRACE_FAILED));
    configure(w, "errors", DAY_MS, 10);
    assert_true(trace_buffer_records(w->tb));
    assert_true(trace_buffer_wants(w->tb, TRACE_FAILED));
    assert_false(trace_buffer_wants(w->tb, TRACE_FINE));
    assert_false(trace_buffer_wants(w->tb, TRACE_OF_GUEST));
    configure(w, "all", DAY_MS, 10);
    assert_true(trace_buffer_wants(w->tb, TRACE_FAILED) && trace_buffer_wants(w->tb, TRACE_FINE));
    assert_true(trace_buffer_wants(w->tb, TRACE_OF_GUEST));
    configure(w, "sample:10", DAY_MS, 10);
    size_t kept = 0;
    for (int i = 0; i < 1000; i++) {
        assert_true(trace_buffer_wants(w->tb, TRACE_FAILED)); /* errors do not count */
        assert_false(trace_buffer_wants(w->tb, TRACE_OF_GUEST));
        kept += trace_buffer_wants(w->tb, TRACE_FINE);
    }
    assert_int_equal(kept, 100);
}

/* ---- writing ---- */

static void test_a_trace_is_a_file_for_its_owner_alone(void **state)
{
    struct world *w = *state;
    struct stat st;
    configure(w, "all", DAY_MS, 10);
    settle(w);
    assert_int_not_equal(stat(w->path, &st), 0); /* not before there is one */
    int64_t now_ms = clock_wall_ms();
    put(w, 1, now_ms);
    settle(w);
    assert_int_equal(stat(w->path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    struct trace_name name;
    trace_name_make(&name, now_ms, "req_0123456789abcdefABCDEF01", false);
    char *path = xasprintf("%s/%s", w->path, name.text);
    struct buf text = BUF_INIT;
    assert_true(file_read(path, &text, 1000));
    expect_trace(&text, now_ms);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(files(w), 1);
    assert_metric("codex_trace_written_total 1");
    assert_true(trace_buffer_healthy(w->tb, NULL));
    buf_free(&text);
    free(path);
}

static void test_there_are_never_more_than_allowed_and_the_oldest_goes(void **state)
{
    struct world *w = *state;
    configure(w, "all", DAY_MS, 3);
    int64_t now_ms = clock_wall_ms();
    for (int i = 0; i < 20; i++) {
        put(w, i, now_ms + i);
        if (i % 4 == 0)
            settle(w);
        assert_true(files(w) <= 3); /* temporary ones included */
    }
    settle(w);
    assert_int_equal(present(w), 7U << 17);
    assert_metric("codex_trace_written_total 20");
    assert_metric("codex_trace_pruned_total{reason=\"count\"} 17");
    configure(w, "all", DAY_MS, 1);
    put(w, 20, now_ms + 20);
    settle(w);
    assert_int_equal(present(w), 1U << 20);
}

static void test_files_of_earlier_runs_count_also_when_it_is_off(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 8; i++)
        free(leave(w, i, (8 - i) * 1000));
    free(leave(w, 9, DAY_MS));
    free(leave(w, 10, 30 * DAY_MS));
    configure(w, "off", DAY_MS, 5);
    settle(w);
    assert_int_equal(present(w), 0x1fU << 3);
    assert_metric("codex_trace_pruned_total{reason=\"ttl\"} 2");
    assert_metric("codex_trace_pruned_total{reason=\"count\"} 3");
    configure(w, "off", DAY_MS, 2);
    settle(w);
    assert_int_equal(present(w), 3U << 6);
}

static void test_what_is_not_ours_is_left_alone_but_a_crash_s_rest_goes(void **state)
{
    struct world *w = *state;
    char *trace = leave(w, 1, 0);
    char *rest = xasprintf("%s.4711.tmp", trace);
    char *note = xasprintf("%s/notes.txt", w->path);
    char *tmp = xasprintf("%s/notes.txt.1.tmp", w->path);
    char *folder = xasprintf("%s/20200101T000000.000Z-req_0123456789abcdefABCDEF77.json", w->path);
    char *link = xasprintf("%s/20200101T000000.000Z-req_0123456789abcdefABCDEF78.json", w->path);
    assert_true(file_replace(rest, "x", 1) && file_replace(note, "x", 1) &&
                file_replace(tmp, "x", 1));
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(symlink(note, link), 0);
    configure(w, "all", DAY_MS, 1);
    put(w, 2, clock_wall_ms());
    settle(w);
    assert_false(file_exists(trace) || file_exists(rest));
    assert_true(file_exists(note) && file_exists(tmp) && file_exists(folder) && file_exists(link));
    assert_int_equal(present(w), 1U << 2);
    free(trace);
    free(rest);
    free(note);
    free(tmp);
    free(folder);
    free(link);
}

/* ---- age ---- */

static bool is_empty(const void *ctx)
{
    return files(ctx) == 0;
}

static void test_the_clock_removes_what_is_too_old(void **state)
{
    struct world *w = *state;
    configure(w, "all", 300, 10);
    int64_t now_ms = clock_wall_ms();
    put(w, 1, now_ms);
    put(w, 2, now_ms + 50);
    settle(w);
    assert_metric("codex_trace_written_total 2"); /* a slow machine has removed them already */
    loop_until(&w->loop, is_empty, w);
    assert_true(clock_wall_ms() - now_ms >= 300);
    settle(w);
    assert_metric("codex_trace_pruned_total{reason=\"ttl\"} 2");
}

static void test_a_touch_makes_nothing_younger(void **state)
{
    struct world *w = *state;
    char *path = leave(w, 1, 2 * HOUR_MS);
    const struct utimbuf future = { .actime = time(NULL) + 1000, .modtime = time(NULL) + 1000 };
    assert_int_equal(utime(path, &future), 0);
    configure(w, "all", HOUR_MS, 10);
    settle(w);
    assert_int_equal(files(w), 0);
    free(path);
}

static void test_a_shorter_ttl_is_for_what_is_there_too(void **state)
{
    struct world *w = *state;
    free(leave(w, 1, 2 * HOUR_MS));
    free(leave(w, 2, 0));
    configure(w, "all", DAY_MS, 10);
    settle(w);
    assert_int_equal(present(w), 6);
    configure(w, "all", HOUR_MS, 10);
    settle(w);
    assert_int_equal(present(w), 4);
}

static void test_a_jump_of_the_wall_clock_removes_nothing_that_is_fresh(void **state)
{
    struct world *w = *state;
    configure(w, "all", HOUR_MS, 3);
    put(w, 1, clock_wall_ms());
    settle(w);
    usleep(2000);         /* traces of the same millisecond are in the order of their names */
    jump_ms = 5 * DAY_MS; /* forth: by its name the first is days old */
    put(w, 2, clock_wall_ms());
    settle(w);
    assert_int_equal(present(w), 6);
    configure(w, "all", HOUR_MS, 3); /* looks anew */
    settle(w);
    assert_int_equal(present(w), 6);
    usleep(2000);
    jump_ms = -5 * DAY_MS; /* and back: the newest has the oldest name */
    put(w, 3, clock_wall_ms());
    put(w, 4, clock_wall_ms());
    settle(w);
    assert_int_equal(present(w), 0x1c); /* and it was the first that made room */
}

static void test_a_name_from_the_future_counts_as_new(void **state)
{
    struct world *w = *state;
    free(leave(w, 1, -5 * DAY_MS));
    free(leave(w, 2, 1000));
    configure(w, "all", HOUR_MS, 10);
    settle(w);
    assert_int_equal(present(w), 6);
    configure(w, "all", HOUR_MS, 1);
    settle(w);
    assert_int_equal(present(w), 2);
}

/* ---- what others do to the folder ---- */

static void test_files_that_others_put_there_count(void **state)
{
    struct world *w = *state;
    configure(w, "all", DAY_MS, 3);
    put(w, 1, clock_wall_ms());
    settle(w);
    for (int i = 2; i < 9; i++)
        free(leave(w, i, HOUR_MS));
    usleep(20000); /* the kernel's clock of files is coarse */
    free(leave(w, 9, HOUR_MS));
    put(w, 10, clock_wall_ms());
    settle(w);
    assert_int_equal(files(w), 3);
    assert_int_equal(present(w) & (1U << 10 | 1U << 1), 1U << 10 | 1U << 1);
}

static void test_a_folder_that_was_removed_is_made_again(void **state)
{
    struct world *w = *state;
    configure(w, "all", DAY_MS, 3);
    put(w, 1, clock_wall_ms());
    settle(w);
    assert_int_equal(nftw(w->path, folder_remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
    put(w, 2, clock_wall_ms());
    settle(w);
    assert_int_equal(present(w), 4);
    assert_true(trace_buffer_healthy(w->tb, NULL));
}

/* ---- failures ---- */

static void test_a_folder_that_is_none_costs_traces_and_heals(void **state)
{
    struct world *w = *state;
    int error = 0;
    assert_true(file_replace(w->path, "x", 1));
    configure(w, "all", DAY_MS, 3);
    put(w, 1, clock_wall_ms());
    put(w, 2, clock_wall_ms());
    settle(w);
    assert_metric("codex_trace_pruned_total{reason=\"write_failed\"} 2");
    assert_false(trace_buffer_healthy(w->tb, &error));
    assert_int_equal(error, ENOTDIR);
    assert_int_equal(unlink(w->path), 0);
    put(w, 3, clock_wall_ms());
    settle(w);
    assert_int_equal(present(w), 8);
    assert_true(trace_buffer_healthy(w->tb, NULL));
}

static void test_a_full_disk_costs_one_old_trace_and_leaves_nothing_half_written(void **state)
{
    struct world *w = *state;
    struct rlimit before;
    configure(w, "all", DAY_MS, 3);
    for (int i = 0; i < 3; i++)
        put(w, i, clock_wall_ms() + i);
    settle(w);
    void (*old)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    const struct rlimit full = { .rlim_cur = 3, .rlim_max = before.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &full), 0);
    for (int i = 3; i < 9; i++)
        put(w, i, clock_wall_ms() + i);
    settle(w);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    (void)signal(SIGXFSZ, old);
    int error = 0;
    assert_false(trace_buffer_healthy(w->tb, &error));
    assert_int_equal(error, EFBIG);
    assert_int_equal(present(w), 6); /* not all six have made room for nothing */
    assert_int_equal(files(w), 2);
    assert_metric("codex_trace_pruned_total{reason=\"write_failed\"} 6");
    assert_metric("codex_trace_pruned_total{reason=\"count\"} 1");
    put(w, 9, clock_wall_ms() + 9);
    settle(w);
    assert_int_equal(present(w), 6 | 1U << 9);
}

static void test_a_trace_that_is_too_big_is_counted(void **state)
{
    struct world *w = *state;
    char *model = malloc(TRACE_FILE_BYTES_MAX);
    assert_non_null(model);
    memset(model, 'x', TRACE_FILE_BYTES_MAX - 1);
    model[TRACE_FILE_BYTES_MAX - 1] = '\0';
    configure(w, "all", DAY_MS, 3);
    trace_buffer_put(w->tb, "req_0123456789abcdefABCDEF01", recorded(clock_wall_ms(), model));
    free(model);
    settle(w);
    assert_int_equal(files(w), 0);
    assert_metric("codex_trace_pruned_total{reason=\"too_big\"} 1");
}

static void test_a_disk_with_too_much_to_do_costs_traces(void **state)
{
    struct world *w = *state;
    struct settle_marker m = {
        .super = { .run = settle_on_run, .done = settle_on_done, .bytes = DISK_BYTES_MAX }
    };
    configure(w, "all", DAY_MS, 3);
    assert_true(disk_submit(w->disk, &m.super));
    put(w, 1, clock_wall_ms());
    loop_turn(&w->loop); /* the sweep finds no room either, and comes again */
    assert_metric("codex_trace_pruned_total{reason=\"queue_full\"} 1");
    loop_until_true(&w->loop, &m.done);
    put(w, 2, clock_wall_ms());
    settle(w);
    assert_int_equal(present(w), 4);
    assert_true(trace_buffer_healthy(w->tb, NULL));
}

static void test_many_failures_are_one_line_of_the_log(void **state)
{
    struct world *w = *state;
    struct buf text = BUF_INIT;
    char *log = folder_path(&w->folder, "log");
    assert_true(file_replace(w->path, "x", 1));
    (void)fflush(stdout);
    int out = dup(STDOUT_FILENO);
    int fd = open(log, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(dup2(fd, STDOUT_FILENO) >= 0);
    log_set_level(LOG_INFO);
    configure(w, "all", DAY_MS, 3);
    for (int i = 0; i < 50; i++)
        put(w, i, clock_wall_ms());
    settle(w);
    assert_true(file_read(log, &text, 100000));
    const char *line = strstr(buf_str(&text), "\"event\":\"traces_lost\"");
    assert_non_null(line);
    assert_null(strstr(strchr(line, '\n'), "traces_lost"));
    close_buffer(w); /* what was not said yet is, at the end */
    buf_clear(&text);
    assert_true(file_read(log, &text, 100000));
    assert_non_null(strstr(buf_str(&text), "\"files\":49"));
    log_set_level(LOG_SILENCE);
    assert_true(dup2(out, STDOUT_FILENO) >= 0);
    close(out);
    close(fd);
    open_buffer(w, NULL);
    buf_free(&text);
    free(log);
}

/* ---- reading ---- */

static void test_the_list_has_the_newest_first(void **state)
{
    struct world *w = *state;
    struct buf text = BUF_INIT;
    configure(w, "all", DAY_MS, 10);
    assert_true(trace_buffer_list(w->tb, 10, &text));
    assert_string_equal(buf_str(&text), "{\"traces\":[],\"total\":0}");
    buf_clear(&text);
    for (int i = 1; i <= 3; i++)
        put(w, i, clock_wall_ms() - HOUR_MS + i);
    settle(w);
    assert_true(trace_buffer_list(w->tb, 2, &text));
    json_t *list = json_parse(text.data, text.len, NULL);
    assert_int_equal(json_int_at(list, "total", 0), 3);
    assert_int_equal(json_array_size(json_at(list, "traces")), 2);
    const json_t *first = json_array_get(json_at(list, "traces"), 0);
    assert_string_equal(json_str_at(first, "req_id"), "req_0123456789abcdefABCDEF03");
    buf_clear(&text);
    write_trace(&text, 0);
    assert_int_equal(json_int_at(first, "bytes", 0), text.len);
    assert_int_equal(json_bool_at(first, "sealed", 1), 0);
    json_decref(list);
    buf_free(&text);
}

static enum trace_read read_one(struct world *w, int number, struct buf *ret)
{
    char id[ID_SIZE];
    snprintf(id, sizeof(id), ID, number);
    buf_clear(ret);
    return trace_buffer_read(w->tb, id, ret);
}

static void test_a_trace_is_read_back_and_a_damaged_one_is_told(void **state)
{
    struct world *w = *state;
    struct buf text = BUF_INIT;
    int64_t now_ms = clock_wall_ms();
    configure(w, "all", DAY_MS, 10);
    put(w, 1, now_ms);
    settle(w);
    assert_int_equal(read_one(w, 1, &text), TRACE_READ_OK);
    expect_trace(&text, now_ms);
    assert_int_equal(read_one(w, 2, &text), TRACE_READ_NONE);
    static const char *const wrong[] = { "", "[]", "{\"v\":", "{} x", "7", "{\"a\":\"\xff\"}" };
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        char *path = leave(w, 10 + (int)i, 0);
        assert_true(file_replace(path, wrong[i], strlen(wrong[i])));
        assert_int_equal(read_one(w, 10 + (int)i, &text), TRACE_READ_DAMAGED);
        free(path);
    }
    buf_free(&text);
}

static void test_a_folder_that_cannot_be_read_is_told(void **state)
{
    struct world *w = *state;
    struct buf text = BUF_INIT;
    assert_true(file_replace(w->path, "x", 1));
    assert_false(trace_buffer_list(w->tb, 10, &text));
    assert_int_equal(read_one(w, 1, &text), TRACE_READ_FAILED);
    buf_free(&text);
}

/* ---- encryption ---- */

static struct trace_seal_key *need_key(const struct world *w, const char *name)
{
    char *why = NULL;
    char *path = folder_path(&w->folder, name);
    struct trace_seal_key *key = trace_buffer_key(path, w->path, &why);
    if (key == NULL)
        fail_msg("%s", why);
    free(path);
    return key;
}

static void reopen(struct world *w, struct trace_seal_key *key)
{
    close_buffer(w);
    open_buffer(w, key);
    configure(w, "all", DAY_MS, 10);
}

static void test_sealed_and_plain_traces_live_together(void **state)
{
    struct world *w = *state;
    struct buf text = BUF_INIT;
    configure(w, "all", DAY_MS, 10);
    put(w, 1, clock_wall_ms());
    settle(w);
    reopen(w, need_key(w, "key"));
    int64_t now_ms = clock_wall_ms();
    put(w, 2, now_ms);
    settle(w);
    assert_int_equal(read_one(w, 1, &text), TRACE_READ_OK);
    assert_int_equal(read_one(w, 2, &text), TRACE_READ_OK);
    expect_trace(&text, now_ms);
    buf_clear(&text);
    assert_true(trace_buffer_list(w->tb, 1, &text));
    assert_non_null(strstr(buf_str(&text), "\"sealed\":true"));
    reopen(w, NULL);
    assert_int_equal(read_one(w, 1, &text), TRACE_READ_OK);
    assert_int_equal(read_one(w, 2, &text), TRACE_READ_NO_KEY);
    buf_free(&text);
}

static void assert_key_refused(const struct world *w, const char *name, const char *words)
{
    char *why = NULL;
    char *path = folder_path(&w->folder, name);
    bool was_there = file_exists(path);
    assert_null(trace_buffer_key(path, w->path, &why));
    if (strstr(why, words) == NULL)
        fail_msg("not '%s': %s", words, why);
    assert_int_equal(file_exists(path), was_there);
    char *told = why;
    assert_false(trace_buffer_check_key(path, w->path, &why));
    assert_string_equal(why, told);
    free(told);
    free(why);
    free(path);
}

static void test_a_key_that_does_not_open_what_is_there_is_refused(void **state)
{
    struct world *w = *state;
    struct buf text = BUF_INIT;
    trace_seal_key_free(need_key(w, "other"));
    reopen(w, need_key(w, "key"));
    put(w, 1, clock_wall_ms());
    settle(w);
    trace_seal_key_free(need_key(w, "key"));
    assert_key_refused(w, "other", "wrong key");
    assert_key_refused(w, "missing", "are encrypted; bring the key back");
    folder_put(&w->folder, "garbage", LITERAL("garbage"));
    char *garbage = folder_path(&w->folder, "garbage");
    assert_int_equal(chmod(garbage, 0600), 0);
    assert_key_refused(w, "garbage", "64 hex digits");
    assert_int_equal(read_one(w, 1, &text), TRACE_READ_OK);
    reopen(w, NULL);
    buf_free(&text);
    free(garbage);
}

static void test_a_trace_that_a_power_failure_has_cut_off_proves_no_wrong_key(void **state)
{
    struct world *w = *state;
    reopen(w, need_key(w, "key"));
    put(w, 1, clock_wall_ms() - 1000);
    settle(w);
    struct trace_name name;
    trace_name_make(&name, clock_wall_ms(), "req_0123456789abcdefABCDEF02", true);
    char *path = xasprintf("%s/%s", w->path, name.text);
    static const char zeros[4096];
    assert_true(file_replace(path, zeros, sizeof(zeros)));
    trace_seal_key_free(need_key(w, "key"));
    assert_true(file_replace(path, "", 0));
    trace_seal_key_free(need_key(w, "key"));
    trace_seal_key_free(need_key(w, "key"));
    reopen(w, NULL);
    free(path);
}

static void test_sealed_files_cannot_take_each_other_s_place(void **state)
{
    struct world *w = *state;
    struct buf text = BUF_INIT;
    reopen(w, need_key(w, "key"));
    int64_t now_ms = clock_wall_ms();
    put(w, 1, now_ms);
    put(w, 2, now_ms);
    settle(w);
    struct trace_name one;
    struct trace_name two;
    trace_name_make(&one, now_ms, "req_0123456789abcdefABCDEF01", true);
    trace_name_make(&two, now_ms, "req_0123456789abcdefABCDEF02", true);
    char *from = xasprintf("%s/%s", w->path, one.text);
    char *to = xasprintf("%s/%s", w->path, two.text);
    assert_int_equal(rename(from, to), 0);
    assert_int_equal(read_one(w, 2, &text), TRACE_READ_DAMAGED);
    buf_free(&text);
    free(from);
    free(to);
}

/* ---- many ---- */

static void test_ten_thousand_writes_keep_to_the_limit(void **state)
{
    struct world *w = *state;
    enum { MANY = 10000, AT_ONCE = 500 };
    configure(w, "all", DAY_MS, 100);
    int64_t now_ms = clock_wall_ms();
    for (int i = 0; i < MANY; i++) {
        char id[ID_SIZE];
        id_make(id, "req_");
        trace_buffer_put(w->tb, id, recorded(now_ms + i, "gpt-x"));
        if (i % AT_ONCE == AT_ONCE - 1)
            settle(w);
        if (i % 50 == 0)
            assert_true(files(w) <= 100);
    }
    settle(w);
    assert_int_equal(files(w), 100);
    assert_metric("codex_trace_written_total 10000");
    assert_metric("codex_trace_pruned_total{reason=\"count\"} 9900");
}

#define WORLD_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(test_modes_are_four_words),
        WORLD_TEST(test_a_mode_says_who_leaves_a_trace),
        WORLD_TEST(test_a_trace_is_a_file_for_its_owner_alone),
        WORLD_TEST(test_there_are_never_more_than_allowed_and_the_oldest_goes),
        WORLD_TEST(test_files_of_earlier_runs_count_also_when_it_is_off),
        WORLD_TEST(test_what_is_not_ours_is_left_alone_but_a_crash_s_rest_goes),
        WORLD_TEST(test_the_clock_removes_what_is_too_old),
        WORLD_TEST(test_a_touch_makes_nothing_younger),
        WORLD_TEST(test_a_shorter_ttl_is_for_what_is_there_too),
        WORLD_TEST(test_a_jump_of_the_wall_clock_removes_nothing_that_is_fresh),
        WORLD_TEST(test_a_name_from_the_future_counts_as_new),
        WORLD_TEST(test_files_that_others_put_there_count),
        WORLD_TEST(test_a_folder_that_was_removed_is_made_again),
        WORLD_TEST(test_a_folder_that_is_none_costs_traces_and_heals),
        WORLD_TEST(test_a_full_disk_costs_one_old_trace_and_leaves_nothing_half_written),
        WORLD_TEST(test_a_trace_that_is_too_big_is_counted),
        WORLD_TEST(test_a_disk_with_too_much_to_do_costs_traces),
        WORLD_TEST(test_many_failures_are_one_line_of_the_log),
        WORLD_TEST(test_the_list_has_the_newest_first),
        WORLD_TEST(test_a_trace_is_read_back_and_a_damaged_one_is_told),
        WORLD_TEST(test_a_folder_that_cannot_be_read_is_told),
        WORLD_TEST(test_sealed_and_plain_traces_live_together),
        WORLD_TEST(test_a_key_that_does_not_open_what_is_there_is_refused),
        WORLD_TEST(test_a_trace_that_a_power_failure_has_cut_off_proves_no_wrong_key),
        WORLD_TEST(test_sealed_files_cannot_take_each_other_s_place),
        WORLD_TEST(test_ten_thousand_writes_keep_to_the_limit),
    };
    assert_true(sodium_init() >= 0);
    umask(077);
    log_set_level(LOG_SILENCE);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
