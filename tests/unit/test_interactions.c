/* The request log: what is written, when, where, and what is removed. */
#include "disk.h"
#include "folder.h"
#include "interaction_names.h"
#include "interactions.h"
#include "json.h"
#include "loop.h"
#include "log.h"
#include "settle.h"
#include "unit.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>

#define NOON_MS 1769860800000 /* 2026-01-31T12:00:00.000Z */
#define ROOM (64 * 1024)

static int64_t now_ms;   /* wall */
static uint64_t mono_ms; /* a clock that does not jump */

struct bench {
    struct loop loop;
    struct folder home;
    struct disk *disk;
    struct interactions *all;
};

static int64_t tell_wall_ms(void)
{
    return now_ms;
}

static uint64_t tell_mono_ms(void)
{
    return mono_ms;
}

static void pass(int64_t ms)
{
    now_ms += ms;
    mono_ms += (uint64_t)ms;
}

static void begin(struct bench *b, int64_t days, int64_t bytes)
{
    const struct interactions_options options = { .disk = b->disk,
                                                  .deadlines = b->loop.deadlines,
                                                  .home = b->home.path,
                                                  .wall_ms = tell_wall_ms,
                                                  .mono_ms = tell_mono_ms,
                                                  .limits = { days, bytes } };
    b->all = interactions_new(&options);
}

/* What was submitted is done. */
static void settle(struct bench *b)
{
    loop_turn(&b->loop);
    settle_disk(&b->loop, b->disk);
}

static void settle_and_flush(struct bench *b)
{
    interactions_flush(b->all);
    settle(b);
}

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof(*b));
    now_ms = NOON_MS;
    mono_ms = 1;
    log_set_level(LOG_SILENCE);
    loop_begin(&b->loop);
    folder_make(&b->home);
    b->disk = disk_new(&b->loop.uv);
    *state = b;
    return 0;
}

static void end(struct bench *b)
{
    interactions_close(b->all);
    settle(b);
    interactions_free(b->all);
    b->all = NULL;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    if (b->all != NULL)
        end(b);
    disk_free(b->disk);
    loop_end(&b->loop);
    folder_remove(&b->home);
    free(b);
    return 0;
}

static void add_with(struct bench *b, const char *id, const char *prompt)
{
    const struct interaction i = { .route = "/v1/models",
                                   .request_id = id,
                                   .status = 200,
                                   .cost_usd = NAN,
                                   .ttfb_ms = 1,
                                   .prompt = prompt };
    interactions_add(b->all, &i);
}

static void add(struct bench *b, const char *id)
{
    add_with(b, id, NULL);
}

static void add_many(struct bench *b, unsigned count)
{
    char id[16];
    for (unsigned i = 0; i < count; i++) {
        snprintf(id, sizeof(id), "r%u", i);
        add(b, id);
    }
}

static char *path_of(const struct bench *b, const char *name)
{
    char *path = NULL;
    assert_true(asprintf(&path, "%s/interactions/%s", b->home.path, name) > 0);
    return path;
}

static void put(const struct bench *b, const char *name, const char *text, size_t len)
{
    char *folder = path_of(b, "");
    char *file = NULL;
    (void)mkdir(folder, 0700);
    assert_true(asprintf(&file, "interactions/%s", name) > 0);
    folder_put(&b->home, file, text, len);
    free(folder);
    free(file);
}

static void put_bytes(const struct bench *b, const char *name, size_t len)
{
    char *bytes = malloc(len);
    memset(bytes, 'x', len);
    bytes[len - 1] = '\n';
    put(b, name, bytes, len);
    free(bytes);
}

static struct stat stat_of(const struct bench *b, const char *name)
{
    struct stat st;
    char *path = path_of(b, name);
    if (lstat(path, &st) != 0)
        st = (struct stat){ .st_size = -1 };
    free(path);
    return st;
}

static bool is_there(const struct bench *b, const char *name)
{
    return stat_of(b, name).st_size >= 0;
}

/* The ids of the lines of a day, the newest first, as "a b c". */
static char *ids(const struct bench *b, const char *date, size_t limit, bool *ret_more)
{
    struct buf out = BUF_INIT;
    struct buf found = BUF_INIT;
    size_t count = 0;
    buf_puts(&out, "[");
    assert_true(interaction_files_read(b->home.path, date, limit, 1 << 22, &out, &count, ret_more));
    buf_puts(&out, "]");
    json_t *list = json_parse(out.data, out.len, NULL);
    assert_int_equal(json_array_size(list), count);
    for (size_t i = 0; i < count; i++)
        buf_printf(&found, "%s%s", i == 0 ? "" : " ",
                   json_str_at(json_array_get(list, i), "request_id"));
    json_decref(list);
    buf_free(&out);
    (void)buf_str(&found);
    return buf_detach(&found);
}

static void assert_ids(const struct bench *b, const char *date, const char *wanted)
{
    bool more = true;
    char *found = ids(b, date, 10000, &more);
    assert_string_equal(found, wanted);
    assert_false(more);
    free(found);
}

static size_t count_of(const struct bench *b, const char *date)
{
    bool more = false;
    size_t count = 0;
    struct buf out = BUF_INIT;
    assert_true(
        interaction_files_read(b->home.path, date, SIZE_MAX, SIZE_MAX, &out, &count, &more));
    buf_free(&out);
    return count;
}

/* ---- what is written ---- */

static void test_a_line_says_all_of_a_request(void **state)
{
    struct bench *b = *state;
    const struct interaction i = { .route = "/v1/chat/completions",
                                   .request_id = "req_1",
                                   .key = "default",
                                   .model = "m\"1",
                                   .stream = true,
                                   .status = 200,
                                   .outcome = "stop",
                                   .tools_used = 2,
                                   .tokens = { 100, 60, 7, 2 },
                                   .cost_usd = 0.000127500000000001,
                                   .duration_ms = 1234,
                                   .queue_ms = 5,
                                   .ttfb_ms = 17,
                                   .prompt = "a \"b\"\n\xc3\xa9" };
    const struct interaction refused = { .route = "/v1/models",
                                         .request_id = "req_2",
                                         .key = "",
                                         .model = "",
                                         .status = 401,
                                         .error_code = "invalid_api_key",
                                         .cost_usd = NAN,
                                         .ttfb_ms = -1 };
    static const char wanted[] =
        "{\"v\":1,\"timestamp\":\"2026-01-31T12:00:00.000Z\",\"route\":\"/v1/chat/completions\","
        "\"request_id\":\"req_1\",\"key\":\"default\",\"model\":\"m\\\"1\",\"stream\":true,"
        "\"status\":200,\"outcome\":\"stop\",\"error_code\":null,\"tools_used\":2,\"tokens\":{"
        "\"prompt\":100,\"cached\":60,\"completion\":7,\"reasoning\":2},\"cost_usd\":0.0001275,"
        "\"duration_ms\":1234,\"queue_ms\":5,\"ttfb_ms\":17,\"prompt\":\"a "
        "\\\"b\\\"\\n\xc3\xa9\"}\n"
        "{\"v\":1,\"timestamp\":\"2026-01-31T12:00:00.000Z\",\"route\":\"/v1/models\","
        "\"request_id\":\"req_2\",\"key\":null,\"model\":null,\"stream\":false,\"status\":401,"
        "\"outcome\":null,\"error_code\":\"invalid_api_key\",\"tools_used\":0,\"tokens\":{"
        "\"prompt\":0,\"cached\":0,\"completion\":0,\"reasoning\":0},\"cost_usd\":null,"
        "\"duration_ms\":0,\"queue_ms\":0,\"ttfb_ms\":null}\n";
    begin(b, 30, ROOM);
    interactions_add(b->all, &i);
    interactions_add(b->all, &refused);
    settle_and_flush(b);
    char text[sizeof(wanted)] = "";
    char *path = path_of(b, "2026-01-31.jsonl");
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    assert_int_equal(fread(text, 1, sizeof(text), file), sizeof(wanted) - 1);
    (void)fclose(file);
    free(path);
    assert_string_equal(text, wanted);
    assert_int_equal(stat_of(b, "2026-01-31.jsonl").st_mode & 0777, 0600);
    assert_int_equal(stat_of(b, "").st_mode & 0777, 0700);
}

static bool has_file(const void *ctx)
{
    return stat_of(ctx, "2026-01-31.jsonl").st_size > 0;
}

static void test_lines_are_written_soon_without_being_asked(void **state)
{
    struct bench *b = *state;
    begin(b, 30, ROOM);
    add(b, "a");
    add(b, "b");
    loop_until(&b->loop, has_file, b);
    settle(b);
    assert_ids(b, "2026-01-31", "b a");
}

static void test_many_lines_are_few_jobs_and_the_end_writes_them_all(void **state)
{
    struct bench *b = *state;
    begin(b, 30, 1 << 24);
    add_many(b, 2000);
    end(b);
    assert_int_equal(count_of(b, "2026-01-31"), 2000);
}

static void test_after_the_end_nothing_is_taken(void **state)
{
    struct bench *b = *state;
    begin(b, 30, ROOM);
    interactions_close(b->all);
    add(b, "late");
    assert_int_equal(interactions_lost(b->all), 1);
    interactions_close(NULL);
    interactions_flush(NULL);
    interactions_free(NULL);
}

/* ---- days ---- */

static void test_a_line_goes_to_the_day_of_its_end(void **state)
{
    struct bench *b = *state;
    now_ms = NOON_MS + CLOCK_DAY_MS / 2 - 1;
    begin(b, 30, ROOM);
    add(b, "last");
    now_ms++;
    add(b, "first");
    settle_and_flush(b);
    now_ms -= CLOCK_DAY_MS; /* a clock that is set back */
    add(b, "again");
    settle_and_flush(b);
    assert_ids(b, "2026-01-31", "again last");
    assert_ids(b, "2026-02-01", "first");
}

static void test_old_days_are_removed_at_the_start(void **state)
{
    struct bench *b = *state;
    static const char *const old[] = { "2026-01-28.jsonl", "2026-01-28.3.jsonl",
                                       "1970-01-01.jsonl" };
    static const char *const kept[] = {
        "2026-01-29.jsonl",    "2026-01-29.12.jsonl", "2026-01-31.jsonl",   "2027-01-01.jsonl",
        "2026-01-28.json",     "2026-01-28.jsonl.gz", "2026-01-28",         "x2026-01-28.jsonl",
        "2026-02-30.jsonl",    "2026-1-28.jsonl",     "2026-01-28.0.jsonl", "2026-01-28..jsonl",
        "2026-01-28.01.jsonl", "2026-01-28.x.jsonl",  "1969-12-31.jsonl",   ".2026-01-28.jsonl",
        "2026-01-28.1.1.jsonl"
    };
    for (size_t i = 0; i < COUNT_OF(old); i++)
        put(b, old[i], LITERAL("{}\n"));
    for (size_t i = 0; i < COUNT_OF(kept); i++)
        put(b, kept[i], LITERAL("{}\n"));
    char *folder = path_of(b, "2020-01-01.jsonl");
    char *link = path_of(b, "2020-01-02.jsonl");
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(symlink("2026-01-31.jsonl", link), 0);
    free(folder);
    free(link);
    begin(b, 2, ROOM);
    settle(b);
    for (size_t i = 0; i < COUNT_OF(old); i++)
        assert_false(is_there(b, old[i]));
    for (size_t i = 0; i < COUNT_OF(kept); i++)
        assert_true(is_there(b, kept[i]));
    assert_true(is_there(b, "2020-01-01.jsonl") && is_there(b, "2020-01-02.jsonl"));
}

static bool old_has_gone(const void *ctx)
{
    return !is_there(ctx, "2026-01-29.jsonl");
}

static void test_old_days_are_removed_at_midnight_also_when_nobody_asks(void **state)
{
    struct bench *b = *state;
    put(b, "2026-01-29.jsonl", LITERAL("{}\n"));
    put(b, "2026-01-30.jsonl", LITERAL("{}\n"));
    now_ms = NOON_MS + CLOCK_DAY_MS / 2 - 30; /* the deadline comes in 30 ms */
    begin(b, 2, ROOM);
    settle(b);
    assert_true(is_there(b, "2026-01-29.jsonl"));
    pass(60);
    loop_until(&b->loop, old_has_gone, b);
    settle(b);
    assert_true(is_there(b, "2026-01-30.jsonl"));
}

static void test_the_first_line_of_a_day_removes_old_ones_too(void **state)
{
    struct bench *b = *state;
    put(b, "2026-01-29.jsonl", LITERAL("{}\n"));
    begin(b, 2, ROOM);
    settle(b);
    assert_true(is_there(b, "2026-01-29.jsonl"));
    pass(CLOCK_DAY_MS);
    add(b, "a");
    settle_and_flush(b);
    assert_false(is_there(b, "2026-01-29.jsonl"));
    assert_ids(b, "2026-02-01", "a");
}

static void test_a_jump_of_the_clock_makes_nothing_old_until_it_has_held(void **state)
{
    struct bench *b = *state;
    put(b, "2026-01-20.jsonl", LITERAL("{\"request_id\":\"old\"}\n"));
    begin(b, 30, ROOM);
    add(b, "before");
    settle_and_flush(b);
    now_ms += 40 * (int64_t)CLOCK_DAY_MS;
    add(b, "ahead");
    settle_and_flush(b);
    interactions_configure(b->all, &(struct interaction_limits){ 29, ROOM });
    settle(b);
    assert_ids(b, "2026-03-12", "ahead");
    assert_ids(b, "2026-01-20", "old");
    now_ms -= 40 * (int64_t)CLOCK_DAY_MS;
    add(b, "after");
    settle_and_flush(b);
    assert_ids(b, "2026-01-31", "after before");
    now_ms += 40 * (int64_t)CLOCK_DAY_MS;
    for (int hour = 0; hour <= 24; hour++) {
        assert_ids(b, "2026-01-31", "after before");
        add(b, "held");
        settle_and_flush(b);
        pass(3600000);
    }
    assert_ids(b, "2026-01-31", ""); /* the clock meant it */
    assert_ids(b, "2026-01-20", "");
    assert_true(is_there(b, "2026-03-12.jsonl"));
}

/* ---- room ---- */

static int64_t bytes_of_all(const struct bench *b)
{
    struct interaction_names names;
    char *folder = interaction_folder(b->home.path);
    assert_true(interaction_names_list(&names, folder));
    int64_t bytes = names.bytes;
    interaction_names_free(&names);
    free(folder);
    return bytes;
}

static void test_the_oldest_make_way_and_the_newest_are_always_written(void **state)
{
    struct bench *b = *state;
    char last[16];
    put_bytes(b, "2026-01-29.jsonl", ROOM / 2);
    put_bytes(b, "2026-01-30.jsonl", ROOM / 4);
    begin(b, 30, ROOM);
    settle(b);
    for (unsigned i = 0; i < 2000; i++) {
        snprintf(last, sizeof(last), "n%u", i);
        add(b, last);
        if (i % 16 == 0)
            settle_and_flush(b);
        assert_true(i % 16 != 0 || bytes_of_all(b) <= ROOM);
    }
    settle_and_flush(b);
    assert_true(bytes_of_all(b) <= ROOM);
    assert_true(bytes_of_all(b) > ROOM / 2);
    assert_false(is_there(b, "2026-01-29.jsonl") || is_there(b, "2026-01-30.jsonl"));
    assert_int_equal(interactions_lost(b->all), 0);
    bool more = false;
    char *found = ids(b, "2026-01-31", 20, &more);
    assert_string_equal(found, "n1999 n1998 n1997 n1996 n1995 n1994 n1993 n1992 n1991 n1990 n1989 "
                               "n1988 n1987 n1986 n1985 n1984 n1983 n1982 n1981 n1980");
    assert_true(more);
    free(found);
}

static void test_a_batch_that_is_larger_than_all_room_leaves_its_end(void **state)
{
    struct bench *b = *state;
    begin(b, 30, ROOM);
    add_many(b, 1000); /* in one job */
    settle_and_flush(b);
    assert_true(bytes_of_all(b) <= ROOM);
    bool more = false;
    char *found = ids(b, "2026-01-31", 100, &more);
    assert_int_equal(strncmp(found, "r999 r998 ", 10), 0);
    assert_non_null(strstr(found, " r900"));
    assert_true(more);
    free(found);
}

static void test_smaller_limits_count_at_once(void **state)
{
    struct bench *b = *state;
    const struct interaction_limits smaller = { 30, ROOM };
    const struct interaction_limits shorter = { 1, ROOM };
    put_bytes(b, "2026-01-28.jsonl", ROOM);
    put_bytes(b, "2026-01-29.jsonl", 100);
    begin(b, 30, 4 * ROOM);
    settle(b);
    interactions_configure(b->all, &(struct interaction_limits){ 30, 4 * ROOM });
    settle(b);
    assert_true(is_there(b, "2026-01-28.jsonl"));
    add(b, "a");
    interactions_configure(b->all, &smaller);
    settle(b);
    assert_false(is_there(b, "2026-01-28.jsonl"));
    assert_true(is_there(b, "2026-01-29.jsonl"));
    interactions_configure(b->all, &shorter);
    settle(b);
    assert_false(is_there(b, "2026-01-29.jsonl"));
    assert_ids(b, "2026-01-31", "a");
}

/* A day of at least so many bytes, whose lines are named 0, 1, ... */
static unsigned put_lines(const struct bench *b, const char *name, size_t bytes)
{
    unsigned count = 0;
    struct buf text = BUF_INIT;
    while (text.len < bytes)
        buf_printf(&text, "{\"request_id\":\"%u\"}\n", count++);
    put(b, name, text.data, text.len);
    buf_free(&text);
    return count;
}

/* Of those lines the newest are there, whole and in order, and use a good part of the room. */
static void assert_newest(const struct bench *b, const char *date, const char *newest,
                          unsigned count)
{
    bool more = true;
    char wanted[64];
    char *found = ids(b, date, SIZE_MAX, &more);
    snprintf(wanted, sizeof(wanted), "%s%s%u %u %u ", newest, *newest == '\0' ? "" : " ", count - 1,
             count - 2, count - 3);
    assert_int_equal(strncmp(found, wanted, strlen(wanted)), 0);
    assert_null(strstr(found, " 0"));
    free(found);
    assert_true(bytes_of_all(b) <= ROOM);
    assert_true(bytes_of_all(b) > ROOM / 4);
}

static void test_a_smaller_limit_leaves_the_newest_lines_of_today(void **state)
{
    struct bench *b = *state;
    char name[16];
    put_bytes(b, "2026-01-30.jsonl", ROOM);
    unsigned count = put_lines(b, "2026-01-31.jsonl", 3 * ROOM);
    put(b, ".cut", LITERAL("left by a crash"));
    begin(b, 30, 16 * ROOM);
    settle(b);
    assert_false(is_there(b, ".cut"));
    interactions_configure(b->all, &(struct interaction_limits){ 30, ROOM });
    settle(b);
    assert_false(is_there(b, "2026-01-30.jsonl"));
    assert_newest(b, "2026-01-31", "", count);
    assert_int_equal(stat_of(b, "2026-01-31.jsonl").st_mode & 0777, 0600);
    for (unsigned i = 0; i < 3000; i++) { /* the large one makes way in pieces, too */
        snprintf(name, sizeof(name), "n%u", i);
        add(b, name);
        if (i % 50 == 0)
            settle_and_flush(b);
        assert_true(i % 50 != 0 || (bytes_of_all(b) <= ROOM && bytes_of_all(b) > ROOM / 4));
    }
    settle_and_flush(b);
    assert_int_equal(interactions_lost(b->all), 0);
    assert_false(is_there(b, ".cut"));
}

static void test_a_start_with_a_smaller_limit_leaves_the_newest_lines(void **state)
{
    struct bench *b = *state;
    unsigned count = put_lines(b, "2026-01-31.jsonl", 3 * ROOM);
    begin(b, 30, ROOM);
    add(b, "new");
    settle_and_flush(b);
    settle(b);
    assert_newest(b, "2026-01-31", "new", count);
}

static void test_a_smaller_limit_leaves_the_newest_lines_when_today_has_none(void **state)
{
    struct bench *b = *state;
    unsigned count = put_lines(b, "2026-01-28.jsonl", 3 * ROOM);
    begin(b, 30, ROOM);
    settle(b);
    assert_newest(b, "2026-01-28", "", count);
}

static void test_a_large_file_without_lines_makes_way_whole(void **state)
{
    struct bench *b = *state;
    struct buf text = BUF_INIT;
    memset(buf_reserve(&text, 3 * ROOM), 'x', 3 * ROOM);
    text.len = 3 * ROOM;
    put(b, "2026-01-28.jsonl", text.data, text.len);
    buf_free(&text);
    begin(b, 30, ROOM);
    settle(b);
    assert_false(is_there(b, "2026-01-28.jsonl"));
}

/* ---- what can go wrong ---- */

static void test_a_torn_line_costs_no_other(void **state)
{
    struct bench *b = *state;
    put(b, "2026-01-31.jsonl", LITERAL("{\"request_id\":\"whole\"}\n{\"request_id\":\"to"));
    begin(b, 30, ROOM);
    add(b, "next");
    settle_and_flush(b);
    add(b, "last");
    settle_and_flush(b);
    assert_ids(b, "2026-01-31", "last next whole");
}

static void limit_file_size(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void test_a_full_disk_loses_only_what_has_no_room(void **state)
{
    struct bench *b = *state;
    struct rlimit before;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    begin(b, 30, ROOM);
    add(b, "a");
    settle_and_flush(b);
    limit_file_size((rlim_t)stat_of(b, "2026-01-31.jsonl").st_size * 5 / 2);
    add(b, "b"); /* this one fits, of the next a half does */
    add(b, "c");
    add(b, "d");
    settle_and_flush(b);
    assert_int_equal(interactions_lost(b->all), 2);
    add(b, "e");
    settle_and_flush(b);
    assert_int_equal(interactions_lost(b->all), 3);
    limit_file_size(before.rlim_cur);
    add(b, "f");
    settle_and_flush(b);
    assert_int_equal(interactions_lost(b->all), 3);
    assert_ids(b, "2026-01-31", "f b a");
}

static void test_what_cannot_be_cut_for_want_of_room_stays(void **state)
{
    struct bench *b = *state;
    struct rlimit before;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    put_lines(b, "2026-01-31.jsonl", 3 * ROOM);
    begin(b, 30, ROOM);
    limit_file_size(1000);
    settle(b);
    limit_file_size(before.rlim_cur);
    assert_true(stat_of(b, "2026-01-31.jsonl").st_size >= 3 * ROOM);
    assert_false(is_there(b, ".cut"));
    add(b, "a"); /* which asks for room again */
    settle_and_flush(b);
    assert_true(bytes_of_all(b) <= ROOM);
    assert_int_equal(interactions_lost(b->all), 0);
}

static void test_a_folder_that_is_none_loses_lines_and_nothing_else(void **state)
{
    struct bench *b = *state;
    folder_put(&b->home, "interactions", LITERAL("a file"));
    begin(b, 30, ROOM);
    settle(b);
    add(b, "a");
    add(b, "b");
    assert_true(interactions_healthy(b->all)); /* nothing was to be written yet */
    settle_and_flush(b);
    assert_int_equal(interactions_lost(b->all), 2);
    assert_false(interactions_healthy(b->all));
    char *path = path_of(b, "");
    path[strlen(path) - 1] = '\0';
    assert_int_equal(remove(path), 0);
    free(path);
    interactions_configure(b->all, &(struct interaction_limits){ 29, ROOM });
    settle(b);                                  /* it is made again, */
    assert_false(interactions_healthy(b->all)); /* but nothing was written */
    add(b, "c");
    settle_and_flush(b);
    assert_true(interactions_healthy(b->all));
    assert_int_equal(interactions_lost(b->all), 2);
    assert_ids(b, "2026-01-31", "c");
}

/* A check that keeps all requests away must not wait for one. */
static void test_a_failed_write_is_forgotten_when_none_follows(void **state)
{
    struct bench *b = *state;
    folder_put(&b->home, "interactions", LITERAL("a file"));
    begin(b, 30, ROOM);
    settle(b);
    for (int i = 0; i < 2; i++) {
        pass(DISK_FAILURE_MS - 1);
        add(b, "a");
        settle_and_flush(b);
        pass(DISK_FAILURE_MS - 1);
        assert_false(interactions_healthy(b->all));
    }
    pass(1);
    assert_true(interactions_healthy(b->all));
    assert_int_equal(interactions_lost(b->all), 2);
}

static void test_only_a_file_is_written_to(void **state)
{
    struct bench *b = *state;
    char *path = path_of(b, "2026-01-31.jsonl");
    begin(b, 30, ROOM);
    settle(b);
    assert_int_equal(mkfifo(path, 0600), 0);
    add(b, "a");
    settle_and_flush(b);
    assert_int_equal(interactions_lost(b->all), 1);
    assert_int_equal(remove(path), 0);
    assert_int_equal(symlink("elsewhere", path), 0);
    add(b, "b");
    settle_and_flush(b);
    assert_int_equal(interactions_lost(b->all), 2);
    assert_false(is_there(b, "elsewhere"));
    free(path);
}

static void on_done(struct disk_job *job)
{
    free(job);
}

/* The disk takes nothing more until it has run. */
static void fill_disk(struct bench *b)
{
    struct disk_job *hog = calloc(1, sizeof(*hog));
    *hog = (struct disk_job){ .run = settle_on_run, .done = on_done, .bytes = DISK_BYTES_MAX };
    assert_true(disk_submit(b->disk, hog));
}

static void test_a_disk_that_takes_nothing_makes_lines_wait(void **state)
{
    struct bench *b = *state;
    begin(b, 30, ROOM);
    settle(b);
    fill_disk(b);
    add(b, "a");
    interactions_flush(b->all);
    add(b, "b");
    loop_until(&b->loop, has_file, b);
    settle(b);
    assert_ids(b, "2026-01-31", "b a");
    assert_int_equal(interactions_lost(b->all), 0);
}

static void test_what_waits_is_bounded_and_the_rest_counted(void **state)
{
    struct bench *b = *state;
    char *prompt = calloc(1, 4097);
    memset(prompt, 'p', 4096);
    begin(b, 30, 1 << 24);
    settle(b);
    fill_disk(b);
    for (int i = 0; i < 1200; i++)
        add_with(b, "r", prompt);
    free(prompt);
    size_t lost = (size_t)interactions_lost(b->all);
    assert_true(lost > 100);
    assert_true(interactions_healthy(b->all)); /* no write failed */
    settle(b);
    settle_and_flush(b);
    assert_int_equal(count_of(b, "2026-01-31"), 1200 - lost);
    assert_true(stat_of(b, "2026-01-31.jsonl").st_size <= INTERACTIONS_WAITING_MAX + 8192);
    add(b, "after");
    settle_and_flush(b);
    assert_int_equal(interactions_lost(b->all), lost);
}

static void test_yesterday_does_not_wait_for_a_disk_that_takes_nothing(void **state)
{
    struct bench *b = *state;
    begin(b, 30, ROOM);
    settle(b);
    add(b, "a");
    fill_disk(b);
    now_ms += CLOCK_DAY_MS;
    add(b, "b");
    assert_int_equal(interactions_lost(b->all), 1);
    settle(b);
    settle_and_flush(b);
    assert_ids(b, "2026-02-01", "b");
}

/* ---- what is read ---- */

static void test_reading_has_bounds_and_takes_the_newest(void **state)
{
    struct bench *b = *state;
    bool more = false;
    size_t count = 0;
    struct buf out = BUF_INIT;
    begin(b, 30, ROOM);
    add_many(b, 5);
    settle_and_flush(b);
    char *found = ids(b, "2026-01-31", 2, &more);
    assert_string_equal(found, "r4 r3");
    assert_true(more);
    free(found);
    found = ids(b, "2026-01-31", 5, &more);
    assert_string_equal(found, "r4 r3 r2 r1 r0");
    assert_false(more);
    free(found);
    assert_true(interaction_files_read(b->home.path, "2026-01-31", 100, 700, &out, &count, &more));
    assert_int_equal(count, 2);
    assert_true(more && out.len <= 700);
    buf_free(&out);
    assert_ids(b, "2026-01-30", "");
    assert_ids(b, "1999-12-31", "");
}

static void test_a_home_without_a_folder_has_no_lines(void **state)
{
    struct bench *b = *state;
    assert_ids(b, "2026-01-31", "");
}

/* Blocks of 64 KiB end anywhere. */
static void test_whatever_stands_in_a_file_only_lines_of_ours_are_answered(void **state)
{
    struct bench *b = *state;
    struct buf text = BUF_INIT;
    buf_puts(&text, "{\"request_id\":\"first\"}\n");
    buf_append(&text, "\0\n\xff\n[]\n{\n}\n\n\n", 14);
    memset(buf_reserve(&text, 200000), 'x', 200000);
    text.len += 200000;
    buf_puts(&text, "\n{\"request_id\":\"second\"}\n");
    for (int i = 0; i < 40000; i++)
        buf_puts(&text, "{} x\n");
    buf_puts(&text, "{\"request_id\":\"third\",\"pad\":\"");
    memset(buf_reserve(&text, 30000), 'y', 30000);
    text.len += 30000;
    buf_puts(&text, "\"}\n{\"request_id\":\"fourth\"}\n{\"request_id\":\"torn");
    put(b, "2026-01-31.jsonl", text.data, text.len);
    put(b, "2026-01-31.10.jsonl", LITERAL("{\"request_id\":\"ten\"}\n"));
    put(b, "2026-01-31.9.jsonl", LITERAL("{\"request_id\":\"nine\"}\n"));
    put(b, "2026-01-31.8.jsonl", LITERAL(""));
    buf_free(&text);
    assert_ids(b, "2026-01-31", "fourth third second first ten nine");
}

static void test_what_cannot_be_read_is_an_error(void **state)
{
    struct bench *b = *state;
    bool more = false;
    size_t count = 0;
    struct buf out = BUF_INIT;
    folder_put(&b->home, "interactions", LITERAL("a file"));
    assert_false(interaction_files_read(b->home.path, "2026-01-31", 1, 1000, &out, &count, &more));
    assert_int_equal(errno, ENOTDIR);
    buf_free(&out);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    json_setup();
    const struct CMUnitTest tests[] = {
        TEST(test_a_line_says_all_of_a_request),
        TEST(test_lines_are_written_soon_without_being_asked),
        TEST(test_many_lines_are_few_jobs_and_the_end_writes_them_all),
        TEST(test_after_the_end_nothing_is_taken),
        TEST(test_a_line_goes_to_the_day_of_its_end),
        TEST(test_old_days_are_removed_at_the_start),
        TEST(test_old_days_are_removed_at_midnight_also_when_nobody_asks),
        TEST(test_the_first_line_of_a_day_removes_old_ones_too),
        TEST(test_a_jump_of_the_clock_makes_nothing_old_until_it_has_held),
        TEST(test_the_oldest_make_way_and_the_newest_are_always_written),
        TEST(test_a_batch_that_is_larger_than_all_room_leaves_its_end),
        TEST(test_smaller_limits_count_at_once),
        TEST(test_a_smaller_limit_leaves_the_newest_lines_of_today),
        TEST(test_a_start_with_a_smaller_limit_leaves_the_newest_lines),
        TEST(test_a_smaller_limit_leaves_the_newest_lines_when_today_has_none),
        TEST(test_a_large_file_without_lines_makes_way_whole),
        TEST(test_a_torn_line_costs_no_other),
        TEST(test_a_full_disk_loses_only_what_has_no_room),
        TEST(test_what_cannot_be_cut_for_want_of_room_stays),
        TEST(test_a_folder_that_is_none_loses_lines_and_nothing_else),
        TEST(test_a_failed_write_is_forgotten_when_none_follows),
        TEST(test_only_a_file_is_written_to),
        TEST(test_a_disk_that_takes_nothing_makes_lines_wait),
        TEST(test_what_waits_is_bounded_and_the_rest_counted),
        TEST(test_yesterday_does_not_wait_for_a_disk_that_takes_nothing),
        TEST(test_reading_has_bounds_and_takes_the_newest),
        TEST(test_a_home_without_a_folder_has_no_lines),
        TEST(test_whatever_stands_in_a_file_only_lines_of_ours_are_answered),
        TEST(test_what_cannot_be_read_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
