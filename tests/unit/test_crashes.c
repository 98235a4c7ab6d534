/* Starts that fail and workers that die, over and over: the proxy neither spins nor leaks, and remembers what happened. */
#include "folder.h"
#include "supervisor_bench.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

static bool is_looping(const void *ctx)
{
    return status_of(ctx).state == SUP_CRASHLOOP;
}

static bool has_failed_often(const void *ctx)
{
    return status_of(ctx).restart_streak >= 2 * SUP_CRASHLOOP_STARTS;
}

static uint64_t now_ms(struct bench *b)
{
    uv_update_time(&b->loop.uv);
    return deadlines_now_ms(b->loop.deadlines);
}

/* ---- the crash loop ---- */

static void test_five_failed_starts_are_a_crash_loop_with_the_longest_pause(void **state)
{
    struct bench *b = *state;
    uint64_t before_ms = deadlines_now_ms(b->loop.deadlines);
    b->options.backoff_max_ms = 60000; /* by the streak alone it would be 32 ms at most */
    start(b, "exit=start,exit_code=3");
    wait_until(b, is_looping);
    struct supervisor_status status = status_of(b);
    assert_true(status.crashloop);
    assert_int_equal(status.restart_streak, SUP_CRASHLOOP_STARTS);
    assert_int_equal(status.restarts, SUP_CRASHLOOP_STARTS - 1);
    assert_pause(b, before_ms, b->options.backoff_max_ms);
    assert_non_null(status.last_reason);
    assert_int_equal(status.last_exit_code, 3);
    stop(b);
}

static void test_every_kind_of_failed_start_counts(void **state)
{
    struct bench *b = *state;
    b->options.backoff_max_ms = 60000;
    b->fails_prepare = true;
    b->options.incarnation.handshake_timeout_ms = 300;
    start(b, "handshake=none");
    assert_int_equal(status_of(b).restart_streak, 1);
    b->fails_prepare = false;
    while (status_of(b).restart_streak < 2)
        uv_run(&b->loop.uv, UV_RUN_ONCE);
    set_faults(b, "handshake=error");
    while (status_of(b).restart_streak < 3)
        uv_run(&b->loop.uv, UV_RUN_ONCE);
    set_faults(b, "");
    b->fails_greeting = true;
    while (status_of(b).restart_streak < 4)
        uv_run(&b->loop.uv, UV_RUN_ONCE);
    assert_false(status_of(b).crashloop);
    b->options.incarnation.file = "/no/such/codex";
    supervisor_set_options(b->sup, &b->options);
    wait_until(b, is_looping);
    assert_int_equal(status_of(b).restart_streak, 5);
    stop(b);
}

/* A start has failed since a worker was killed. */
static bool has_failed_after_a_kill(const void *ctx)
{
    const struct bench *b = ctx;
    const struct death *death = NULL;
    for (size_t i = 1; (death = supervisor_death(b->sup, i)) != NULL; i++)
        if (death->signal == SIGKILL)
            return true;
    return false;
}

static void test_a_good_start_ends_the_crash_loop(void **state)
{
    struct bench *b = *state;
    start(b, "exit=start");
    wait_until(b, has_failed_often); /* it goes on trying */
    assert_true(status_of(b).crashloop);
    set_faults(b, "");
    wait_until(b, is_ready);
    struct supervisor_status status = status_of(b);
    assert_false(status.crashloop);
    assert_true(status.restart_streak >= 2 * SUP_CRASHLOOP_STARTS); /* until it was stable */
    assert_int_equal(kill(status.pid, SIGKILL), 0);
    set_faults(b, "exit=start");
    wait_until(b, has_failed_after_a_kill); /* and not in the loop again after one more failure */
    assert_false(status_of(b).crashloop);
    stop(b);
}

static void test_ready_workers_that_die_are_no_crash_loop(void **state)
{
    struct bench *b = *state;
    b->lives = 3 * SUP_CRASHLOOP_STARTS;
    start(b, "");
    while (b->ready < b->lives) {
        uv_run(&b->loop.uv, UV_RUN_ONCE);
        assert_int_not_equal(status_of(b).state, SUP_CRASHLOOP);
        assert_false(status_of(b).crashloop);
    }
    assert_int_equal(status_of(b).restart_streak, b->lives - 1);
    stop(b);
}

/* ---- the deaths ---- */

static void test_a_death_tells_what_happened_to_whom(void **state)
{
    struct bench *b = *state;
    b->lives = 2;
    start(b, "");
    assert_null(supervisor_death(b->sup, 0));
    wait_until(b, has_survived);
    const struct death *death = supervisor_death(b->sup, 0);
    assert_non_null(death);
    assert_null(supervisor_death(b->sup, 1));
    assert_int_equal(death->incarnation, 1);
    assert_int_equal(death->pid, b->first_pid);
    assert_int_equal(death->exit_code, -1);
    assert_int_equal(death->signal, SIGKILL);
    assert_int_equal(death->turns, 0);
    assert_true(death->at_ms > 1600000000000);
    assert_non_null(death->reason);
    int second = status_of(b).pid;
    stop(b);
    death = supervisor_death(b->sup, 0);
    assert_int_equal(death->incarnation, 2);
    assert_int_equal(death->pid, second);
    assert_int_equal(death->exit_code, 0);
    assert_int_equal(death->signal, 0);
    assert_string_equal(death->reason, "stopped");
    assert_int_equal(supervisor_death(b->sup, 1)->incarnation, 1);
    assert_null(supervisor_death(b->sup, 2));
}

static void test_the_last_deaths_are_remembered_the_last_one_first(void **state)
{
    enum { MANY = SUP_DEATHS_MAX + 8 };
    struct bench *b = *state;
    b->options.backoff_initial_ms = b->options.backoff_max_ms = 1;
    b->options.incarnation.file = "/no/such/codex";
    start(b, "");
    while (status_of(b).restart_streak < MANY)
        uv_run(&b->loop.uv, UV_RUN_ONCE);
    uint64_t starts = status_of(b).restarts + 1;
    for (size_t i = 0; i < SUP_DEATHS_MAX; i++) {
        const struct death *death = supervisor_death(b->sup, i);
        assert_non_null(death);
        assert_int_equal(death->incarnation, starts - i);
        assert_int_equal(death->pid, 0); /* it never was a process */
        assert_int_equal(death->exit_code, -1);
        assert_int_equal(death->signal, 0);
        assert_int_equal(death->uptime_ms, 0);
        assert_string_equal(death->reason, "spawn_failed");
        assert_true(i == 0 || death->at_ms <= supervisor_death(b->sup, i - 1)->at_ms);
    }
    assert_null(supervisor_death(b->sup, SUP_DEATHS_MAX));
    assert_null(supervisor_death(b->sup, SIZE_MAX));
    assert_false(status_of(b).has_exited); /* nothing that could */
    b->options.incarnation.file = b->argv[0];
    supervisor_set_options(b->sup, &b->options);
    wait_until(b, is_ready);
    stop(b);
    assert_int_equal(supervisor_death(b->sup, 0)->exit_code, 0);
    assert_string_equal(supervisor_death(b->sup, 1)->reason, "spawn_failed");
}

/* ---- what cannot be spawned is no busy loop ---- */

#define SPAWNS 8

/* So many spawns fail; there are pauses between them, and hardly more rounds of the loop than those. */
static void fail_to_spawn(struct bench *b)
{
    const uint64_t initial_ms = 8;
    const uint64_t max_ms = 32;
    uint64_t least_ms = 0;
    unsigned rounds = 0;
    b->options.backoff_initial_ms = initial_ms;
    b->options.backoff_max_ms = max_ms;
    uint64_t begun_ms = now_ms(b);
    start(b, "");
    for (; status_of(b).restart_streak < SPAWNS; rounds++) {
        assert_string_equal(status_of(b).last_reason, "spawn_failed");
        uv_run(&b->loop.uv, UV_RUN_ONCE);
    }
    for (unsigned streak = 1; streak < SPAWNS; streak++)
        least_ms += supervisor_backoff_ms(streak, initial_ms, max_ms) / 2;
    assert_true(now_ms(b) - begun_ms >= least_ms);
    assert_in_range(rounds, 1, 20 * SPAWNS); /* closed handles take a few; a late loop has fewer */
    assert_int_equal(count_of(b, 'p'), status_of(b).restart_streak); /* a late loop has more */
    assert_true(is_looping(b));
}

static void test_a_missing_file_is_no_busy_loop(void **state)
{
    struct bench *b = *state;
    b->options.incarnation.file = "/no/such/codex";
    fail_to_spawn(b);
    stop(b);
}

static void test_a_file_that_cannot_be_executed_is_no_busy_loop(void **state)
{
    struct bench *b = *state;
    struct folder folder;
    folder_make(&folder);
    folder_put(&folder, "codex", LITERAL("text"));
    char *path = folder_path(&folder, "codex");
    b->options.incarnation.file = path; /* EACCES, also for root: no x bit at all */
    fail_to_spawn(b);
    assert_int_equal(chmod(path, 0700), 0);
    stop(b);
    free(path);
    folder_remove(&folder);
}

static size_t count_fds(void)
{
    size_t count = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count - 3; /* . and .. and the one of opendir */
}

static void test_no_more_descriptors_are_no_busy_loop_and_it_recovers(void **state)
{
    struct bench *b = *state;
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_true(next >= 0);
    close(next);
    const struct rlimit none = { .rlim_cur = (rlim_t)next + 1, .rlim_max = before.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    fail_to_spawn(b);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    wait_until(b, is_ready);
    assert_false(status_of(b).crashloop);
    stop(b);
}

/* ---- a thousand lives ---- */

/* Processes whose parent we are, zombies too. */
static size_t count_children(void)
{
    char path[64];
    char *text = NULL;
    size_t size = 0;
    size_t count = 0;
    snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    if (getline(&text, &size, file) > 0)
        for (const char *at = text; *at != '\0'; at++)
            count += isdigit((unsigned char)*at) && !isdigit((unsigned char)at[1]);
    free(text);
    fclose(file);
    return count;
}

static uint64_t resident_bytes(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%*u %lu", &pages), 1);
    fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

#ifdef __SANITIZE_ADDRESS__
#define LIVES 100
#define SHOWS_RSS false /* freed memory is kept aside for a while */
#else
#define LIVES 1000
#define SHOWS_RSS true
#endif
#define WARM 50 /* lives after which memory is as it will be */

/* Until so many workers were ready, of which all but the last were killed. */
static void live(struct bench *b, unsigned lives)
{
    b->lives = lives;
    if (status_of(b).state == SUP_READY)
        assert_int_equal(kill(status_of(b).pid, SIGKILL), 0);
    wait_until(b, has_survived);
}

static void test_a_thousand_crashes_leave_nothing_behind(void **state)
{
    struct bench *b = *state;
    b->options.backoff_initial_ms = b->options.backoff_max_ms = 1;
    b->lives = 1;
    start(b, "");
    wait_until(b, has_survived);
    live(b, WARM);
    size_t fds = count_fds();
    uint64_t rss_bytes = resident_bytes();
    for (unsigned lives = 2 * WARM; lives <= LIVES + WARM; lives += WARM)
        live(b, lives);
    assert_int_equal(status_of(b).restarts, LIVES + WARM - 1);
    assert_int_equal(count_children(), 1);
    assert_int_equal(count_fds(), fds);
    if (SHOWS_RSS)
        assert_true(resident_bytes() < rss_bytes + 2 * 1024 * 1024);
    stop(b);
    assert_int_equal(count_children(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BENCH_TEST(test_five_failed_starts_are_a_crash_loop_with_the_longest_pause),
        BENCH_TEST(test_every_kind_of_failed_start_counts),
        BENCH_TEST(test_a_good_start_ends_the_crash_loop),
        BENCH_TEST(test_ready_workers_that_die_are_no_crash_loop),
        BENCH_TEST(test_a_death_tells_what_happened_to_whom),
        BENCH_TEST(test_the_last_deaths_are_remembered_the_last_one_first),
        BENCH_TEST(test_a_missing_file_is_no_busy_loop),
        BENCH_TEST(test_a_file_that_cannot_be_executed_is_no_busy_loop),
        BENCH_TEST(test_no_more_descriptors_are_no_busy_loop_and_it_recovers),
        BENCH_TEST(test_a_thousand_crashes_leave_nothing_behind),
    };
    json_setup();
    log_set_level(LOG_SILENCE);
    signal(SIGPIPE, SIG_IGN);
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
