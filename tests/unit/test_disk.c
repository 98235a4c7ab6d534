/* Work on files: in order, off the loop, bounded. */
#include "disk.h"
#include "loop.h"
#include "unit.h"

#include <pthread.h>

struct note {
    struct disk_job super;
    struct log *log;
    int number;
    struct disk *again; /* to be submitted once more from done */
};

struct log {
    int ran[64];
    size_t ran_count;
    int done[64];
    size_t done_count;
    bool idle;
    pthread_t loop_thread;
    bool ran_in_loop;
};

static void on_run(struct disk_job *job)
{
    struct note *n = (struct note *)(void *)job;
    n->log->ran[n->log->ran_count++] = n->number;
    n->log->ran_in_loop |= pthread_equal(pthread_self(), n->log->loop_thread) != 0;
}

static void on_done(struct disk_job *job)
{
    struct note *n = (struct note *)(void *)job;
    n->log->done[n->log->done_count++] = n->number;
    struct disk *again = n->again;
    n->again = NULL;
    if (again == NULL || !disk_submit(again, job))
        free(n);
}

static void on_idle(void *ctx)
{
    ((struct log *)ctx)->idle = true;
}

static struct note *note_new(struct log *log, int number, size_t bytes)
{
    struct note *n = calloc(1, sizeof(*n));
    *n = (struct note){ .super = { .run = on_run, .done = on_done, .bytes = bytes },
                        .log = log,
                        .number = number };
    return n;
}

static void test_jobs_run_in_order_off_the_loop(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct log log = { .loop_thread = pthread_self() };
    uv_loop_init(&loop);
    struct disk *disk = disk_new(&loop);
    for (int i = 0; i < 20; i++)
        assert_true(disk_submit(disk, &note_new(&log, i, 1)->super));
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(log.ran_count, 20);
    assert_int_equal(log.done_count, 20);
    assert_false(log.ran_in_loop);
    for (int i = 0; i < 20; i++)
        assert_int_equal(log.ran[i], i);
    assert_int_equal(disk_busy_ms(disk), 0);
    disk_free(disk);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void test_a_job_may_submit_another_when_it_is_done(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct log log = { .loop_thread = pthread_self() };
    uv_loop_init(&loop);
    struct disk *disk = disk_new(&loop);
    struct note *n = note_new(&log, 7, 1);
    n->again = disk;
    assert_true(disk_submit(disk, &n->super));
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(log.ran_count, 2);
    disk_free(disk);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void test_what_waits_is_bounded_in_bytes_and_jobs(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct log log = { .loop_thread = pthread_self() };
    uv_loop_init(&loop);
    struct disk *disk = disk_new(&loop);
    struct note *small = note_new(&log, 2, 1);
    assert_true(disk_submit(disk, &note_new(&log, 1, DISK_BYTES_MAX)->super));
    assert_false(disk_submit(disk, &small->super));
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(disk_submit(disk, &small->super));
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(log.done_count, 2);
    disk_free(disk);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void test_a_stop_waits_for_what_was_taken_and_takes_no_more(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct log log = { .loop_thread = pthread_self() };
    uv_loop_init(&loop);
    struct disk *disk = disk_new(&loop);
    struct note *late = note_new(&log, 2, 1);
    assert_true(disk_submit(disk, &note_new(&log, 1, 1)->super));
    disk_stop(disk, on_idle, &log);
    assert_false(log.idle);
    assert_false(disk_submit(disk, &late->super));
    free(late);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(log.idle);
    assert_int_equal(log.done_count, 1);
    disk_free(disk);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void test_a_stop_of_an_idle_one_tells_at_once(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct log log = { .idle = false };
    uv_loop_init(&loop);
    struct disk *disk = disk_new(&loop);
    disk_stop(disk, on_idle, &log);
    assert_true(log.idle);
    disk_free(disk);
    disk_free(NULL);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_jobs_run_in_order_off_the_loop),
        cmocka_unit_test(test_a_job_may_submit_another_when_it_is_done),
        cmocka_unit_test(test_what_waits_is_bounded_in_bytes_and_jobs),
        cmocka_unit_test(test_a_stop_waits_for_what_was_taken_and_takes_no_more),
        cmocka_unit_test(test_a_stop_of_an_idle_one_tells_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
