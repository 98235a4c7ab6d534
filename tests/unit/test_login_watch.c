/* The login that is watched: told when its content is another one, and only then. */
#include "folder.h"
#include "login_watch.h"
#include "loop.h"

#include <fcntl.h>
#include <sodium.h>

#define INTERVAL_MS 5

struct bench {
    struct loop loop;
    struct folder folder;
    const char *name; /* of the file */
    char *path;       /* owned */
    struct login_watch *watch;
    unsigned changes;
    unsigned wanted;
    bool frees; /* the watch, when it tells */
    struct deadline try_again;
    unsigned tries;
};

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof(*b));
    loop_begin(&b->loop);
    folder_make(&b->folder);
    b->name = "auth.json";
    b->path = folder_path(&b->folder, b->name);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    login_watch_free(b->watch);
    loop_end(&b->loop);
    folder_remove(&b->folder);
    free(b->path);
    free(b);
    return 0;
}

static void on_change(void *ctx)
{
    struct bench *b = ctx;
    b->changes++;
    if (!b->frees)
        return;
    login_watch_free(b->watch);
    b->watch = NULL;
}

static void watch(struct bench *b)
{
    b->watch = login_watch_new(&b->loop.uv, b->path, INTERVAL_MS, on_change, b);
    assert_non_null(b->watch);
}

/* Whole: it ends as JSON does. */
static void put(struct bench *b, const char *text)
{
    char whole[64];
    int len = snprintf(whole, sizeof(whole), "%s}\n", text);
    folder_put(&b->folder, b->name, whole, (size_t)len);
}

static bool has_changed(const void *ctx)
{
    const struct bench *b = ctx;
    return b->changes >= b->wanted;
}

static void expect_change(struct bench *b)
{
    b->wanted = b->changes + 1;
    loop_until(&b->loop, has_changed, b);
}

/* The watch's first look, which it compares with, comes at a time of its own. So something is written again and again, until it
 * tells. */
static void on_try(struct deadline *d)
{
    struct bench *b = deadline_owner(d, struct bench, try_again);
    char text[32];
    snprintf(text, sizeof(text), "try %u", ++b->tries);
    put(b, text);
    deadline_set(b->loop.deadlines, &b->try_again, 10 * INTERVAL_MS, on_try);
}

/* From here on each change counts. */
static void watch_well(struct bench *b)
{
    watch(b);
    b->wanted = 1;
    on_try(&b->try_again);
    loop_until(&b->loop, has_changed, b);
    deadline_clear(b->loop.deadlines, &b->try_again);
    put(b, "well watched");
    expect_change(b);
}

/* A slower watch of the same kind sees some changes of its own meanwhile. */
static void expect_none(struct bench *b)
{
    struct bench other = { .loop.deadlines = b->loop.deadlines, .folder = b->folder, .wanted = 3 };
    unsigned before = b->changes;
    other.name = "other";
    other.path = folder_path(&b->folder, other.name);
    other.watch = login_watch_new(&b->loop.uv, other.path, 2 * INTERVAL_MS, on_change, &other);
    on_try(&other.try_again);
    loop_until(&b->loop, has_changed, &other);
    deadline_clear(b->loop.deadlines, &other.try_again);
    login_watch_free(other.watch);
    free(other.path);
    assert_int_equal(b->changes, before);
}

static void test_a_login_that_comes_changes_or_goes_is_told(void **state)
{
    struct bench *b = *state;
    watch_well(b);
    put(b, "second"); /* of another length: times of files are coarse */
    expect_change(b);
    assert_int_equal(unlink(b->path), 0);
    expect_change(b);
    put(b, "third");
    expect_change(b);
}

static void test_a_login_that_is_replaced_by_another_file_is_told(void **state)
{
    struct bench *b = *state;
    watch_well(b);
    put(b, "first");
    expect_change(b);
    char *next = folder_path(&b->folder, "auth.json.tmp");
    folder_put(&b->folder, "auth.json.tmp", LITERAL("other}\n")); /* as long as the first */
    assert_int_equal(rename(next, b->path), 0);
    expect_change(b);
    free(next);
}

static void test_what_is_there_at_the_start_is_no_change(void **state)
{
    struct bench *b = *state;
    put(b, "first");
    watch(b);
    expect_none(b);
}

static void test_no_login_is_no_change_either(void **state)
{
    struct bench *b = *state;
    watch(b);
    expect_none(b);
}

static void test_a_file_that_is_touched_or_written_as_it_was_is_no_other_login(void **state)
{
    struct bench *b = *state;
    watch_well(b);
    put(b, "first");
    expect_change(b);
    const struct timespec times[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };
    assert_int_equal(utimensat(AT_FDCWD, b->path, times, 0), 0);
    expect_none(b);
    put(b, "first");
    expect_none(b);
    put(b, "firsT");
    expect_change(b);
}

static void test_a_login_that_is_being_written_is_none_yet(void **state)
{
    struct bench *b = *state;
    watch_well(b);
    folder_put(&b->folder, b->name, LITERAL("half"));
    expect_none(b);
    put(b, "half and half");
    expect_change(b);
}

static void test_a_login_that_was_away_for_a_moment_is_the_same(void **state)
{
    struct bench *b = *state;
    watch_well(b);
    put(b, "first");
    expect_change(b);
    assert_int_equal(unlink(b->path), 0);
    expect_change(b);
    put(b, "first");
    expect_change(b); /* both were told, as nobody knows how long a moment is */
}

static void test_who_hears_of_a_change_may_end_the_watch(void **state)
{
    struct bench *b = *state;
    watch_well(b);
    b->frees = true;
    put(b, "first");
    expect_change(b);
    assert_null(b->watch); /* teardown runs the loop to its end */
    login_watch_free(NULL);
}

#define WATCH_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WATCH_TEST(test_a_login_that_comes_changes_or_goes_is_told),
        WATCH_TEST(test_a_login_that_is_replaced_by_another_file_is_told),
        WATCH_TEST(test_what_is_there_at_the_start_is_no_change),
        WATCH_TEST(test_no_login_is_no_change_either),
        WATCH_TEST(test_a_file_that_is_touched_or_written_as_it_was_is_no_other_login),
        WATCH_TEST(test_a_login_that_is_being_written_is_none_yet),
        WATCH_TEST(test_a_login_that_was_away_for_a_moment_is_the_same),
        WATCH_TEST(test_who_hears_of_a_change_may_end_the_watch),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
