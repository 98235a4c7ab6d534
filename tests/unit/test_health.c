/* Health: what checks come to, which of them count, and how they change and end. */
#include "config.h"
#include "disk.h"
#include "folder.h"
#include "health.h"
#include "json.h"
#include "log.h"
#include "loop.h"

#include <fcntl.h>

#define LONG_MS 3600000

struct patient {
    struct loop loop;
    struct folder folder;
    struct disk *disk;
    struct health *health;
    struct config config;
    struct health_worker worker;
    struct health_interactions log; /* of requests */
    char checks[1024];
    char required[256];
    const char *name;   /* of patient_until */
    const char *status; /* of patient_until */
    bool started;
    unsigned closing;
    bool closed;
    char *pipe; /* path */
};

static void look(void *ctx, struct health_worker *ret)
{
    *ret = ((struct patient *)ctx)->worker;
}

static int setup(void **state)
{
    struct patient *p = calloc(1, sizeof(*p));
    log_set_level(LOG_SILENCE);
    loop_begin(&p->loop);
    folder_make(&p->folder);
    p->disk = disk_new(&p->loop.uv);
    p->health = health_new(&p->loop.uv, p->loop.deadlines, p->disk, p->folder.path);
    p->worker =
        (struct health_worker){ .status = HEALTH_PASS, .state = "ready", .rpc_latency_ms = -1 };
    p->config = (struct config){ .health_interval_ms = 1,
                                 .health_timeout_ms = LONG_MS,
                                 .health_rpc_max_ms = 100,
                                 .health_disk_min_bytes = 1,
                                 .health_memory_max_percent = 100 };
    p->log.writable = true;
    *state = p;
    return 0;
}

static void on_part_closed(void *ctx)
{
    struct patient *p = ctx;
    p->closed = --p->closing == 0;
}

static void close_all(struct patient *p)
{
    p->closing = 2;
    health_close(p->health, on_part_closed, p);
    disk_stop(p->disk, on_part_closed, p);
    loop_until_true(&p->loop, &p->closed);
}

static int teardown(void **state)
{
    struct patient *p = *state;
    if (!p->closed)
        close_all(p);
    health_free(p->health);
    disk_free(p->disk);
    folder_remove(&p->folder);
    loop_end(&p->loop);
    free(p->pipe);
    free(p);
    return 0;
}

static void configure(struct patient *p, const char *checks, const char *required)
{
    char *why = NULL;
    snprintf(p->checks, sizeof(p->checks), "%s", checks);
    snprintf(p->required, sizeof(p->required), "%s", required);
    p->config.health_checks = *checks != '\0' ? p->checks : NULL;
    p->config.health_required = *required != '\0' ? p->required : NULL;
    if (!health_settings_check(p->config.health_checks, p->config.health_required, &why))
        fail_msg("%s", why);
    health_configure(p->health, &p->config);
    if (!p->started)
        health_start(p->health);
    p->started = true;
}

/* The member of a check, as a new reference; NULL when it has none. */
static json_t *member(const struct patient *p, const char *name, const char *key)
{
    json_t *all = health_describe(p->health);
    json_t *value = json_incref(json_object_get(json_object_get(all, name), key));
    json_decref(all);
    return value;
}

static bool is(const struct patient *p, const char *name, const char *key, const char *text)
{
    json_t *value = member(p, name, key);
    bool same = value != NULL && strcmp(json_string_value(value), text) == 0;
    json_decref(value);
    return same;
}

static int64_t number(const struct patient *p, const char *name, const char *key)
{
    json_t *value = member(p, name, key);
    int64_t n = json_is_integer(value) ? json_integer_value(value) : -1;
    json_decref(value);
    return n;
}

static bool has_status(const void *ctx)
{
    const struct patient *p = ctx;
    return is(p, p->name, "status", p->status);
}

static void until(struct patient *p, const char *name, const char *status)
{
    p->name = name;
    p->status = status;
    loop_until(&p->loop, has_status, p);
}

static void look_at_log(void *ctx, struct health_interactions *ret)
{
    *ret = ((struct patient *)ctx)->log;
}

static void test_all_built_in_checks_are_there_and_unknown_at_first(void **state)
{
    struct patient *p = *state;
    health_ask_interactions(p->health, look_at_log, p);
    configure(p, "", "");
    for (int i = 0; i < HEALTH_BUILTIN_COUNT; i++)
        assert_true(is(p, health_builtin_name((enum health_builtin)i), "status", "unknown"));
    assert_int_equal(health_failing(p->health), 0);
    until(p, "disk", "pass");
    assert_true(is(p, "memory", "status", "pass"));
    assert_true(is(p, "log", "status", "pass"));
    assert_true(is(p, "disk", "unit", "bytes"));
    assert_int_equal(number(p, "disk", "limit"), 1);
    assert_true(number(p, "disk", "value") > 1);
    assert_true(is(p, "memory", "unit", "percent"));
    assert_true(is(p, "worker", "status", "unknown")); /* nobody tells */
}

static void test_the_worker_is_seen_at_once(void **state)
{
    struct patient *p = *state;
    configure(p, "", "");
    health_ask_worker(p->health, look, p);
    assert_true(is(p, "worker", "status", "pass"));
    assert_true(is(p, "worker_rpc", "status", "unknown"));
    p->worker = (struct health_worker){ HEALTH_FAIL, "backoff", 101 };
    health_worker_changed(p->health);
    assert_true(is(p, "worker", "status", "fail"));
    assert_true(is(p, "worker", "why", "backoff"));
    assert_true(is(p, "worker_rpc", "status", "fail"));
    assert_int_equal(number(p, "worker_rpc", "value"), 101);
    assert_int_equal(health_failing(p->health), 2);
    p->worker = (struct health_worker){ HEALTH_PASS, "ready", 100 };
    health_worker_changed(p->health);
    assert_true(is(p, "worker_rpc", "status", "pass"));
    assert_null(member(p, "worker_rpc", "why"));
    assert_int_equal(health_failing(p->health), 0);
    p->worker.status = HEALTH_FAIL;
    health_ask_worker(p->health, NULL, NULL);
    health_worker_changed(p->health);
    assert_true(is(p, "worker", "status", "pass")); /* as it was when somebody told */
}

static void test_lines_that_are_lost_fail_their_check_once(void **state)
{
    struct patient *p = *state;
    configure(p, "", "interactions");
    until(p, "log", "pass");
    assert_null(member(p, "interactions", "status")); /* there is no request log */
    assert_null(health_required_failing(p->health, 0));
    health_ask_interactions(p->health, look_at_log, p);
    assert_true(is(p, "interactions", "status", "unknown"));
    until(p, "interactions", "pass");
    p->config.health_interval_ms = LONG_MS; /* so that no round follows by itself */
    configure(p, "", "interactions");
    loop_turn(&p->loop);
    p->log.lost = 3;
    configure(p, "", "interactions");
    until(p, "interactions", "fail");
    assert_int_equal(number(p, "interactions", "value"), 3);
    assert_true(is(p, "interactions", "unit", "lines"));
    assert_true(is(p, "interactions", "why", "lines_were_lost"));
    assert_string_equal(health_required_failing(p->health, 0), "interactions");
    assert_int_equal(health_failing(p->health), 1);
    configure(p, "", "");
    until(p, "interactions", "pass");
    assert_int_equal(number(p, "interactions", "value"), 0);
}

/* Also when nobody asks for anything any more, so that nothing is lost. */
static void test_a_request_log_that_cannot_be_written_fails_until_it_can(void **state)
{
    struct patient *p = *state;
    health_ask_interactions(p->health, look_at_log, p);
    p->config.health_interval_ms = LONG_MS;
    p->log = (struct health_interactions){ .lost = 2, .writable = false };
    for (int i = 0; i < 3; i++) {
        configure(p, "", "interactions");
        until(p, "interactions", "fail");
        loop_turn(&p->loop);
        assert_true(is(p, "interactions", "why", "write_failed"));
        assert_null(member(p, "interactions", "unit"));
        assert_string_equal(health_required_failing(p->health, 0), "interactions");
    }
    p->log.writable = true; /* what was lost before was told */
    configure(p, "", "interactions");
    until(p, "interactions", "pass");
    assert_null(member(p, "interactions", "why"));
    assert_null(health_required_failing(p->health, 0));
}

static void test_what_is_required_and_fails_is_named(void **state)
{
    struct patient *p = *state;
    configure(p, "b=file:/nowhere/b:1,a=file:/nowhere/a:1,c=file:/nowhere/c:1", "c,b,worker");
    assert_null(health_required_failing(p->health, 0)); /* unknown is not failed */
    until(p, "c", "fail");
    assert_true(is(p, "a", "why", "missing"));
    assert_string_equal(health_required_failing(p->health, 0), "b");
    assert_string_equal(health_required_failing(p->health, 1), "c");
    assert_null(health_required_failing(p->health, 2));
    assert_int_equal(health_failing(p->health), 3);
    configure(p, "b=file:/nowhere/b:1", "worker");
    assert_null(health_required_failing(p->health, 0));
    assert_int_equal(health_failing(p->health), 1); /* it has kept its result */
}

static void test_a_file_turns_the_check_and_its_time(void **state)
{
    struct patient *p = *state;
    char *path = folder_path(&p->folder, "stamp");
    char checks[400];
    snprintf(checks, sizeof(checks), "stamp=file:%s:100", path);
    configure(p, checks, "");
    until(p, "stamp", "fail");
    json_t *failed_at = member(p, "stamp", "since");
    folder_put(&p->folder, "stamp", LITERAL("x"));
    until(p, "stamp", "pass");
    assert_true(is(p, "stamp", "unit", "s"));
    assert_int_equal(number(p, "stamp", "limit"), 100);
    const struct timespec old[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };
    assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
    until(p, "stamp", "fail");
    assert_true(is(p, "stamp", "why", "too_old"));
    assert_true(number(p, "stamp", "value") > 1000000);
    assert_false(is(p, "stamp", "since", json_string_value(failed_at)));
    json_decref(failed_at);
    free(path);
}

static void test_limits_are_those_of_the_last_settings(void **state)
{
    struct patient *p = *state;
    configure(p, "", "");
    until(p, "disk", "pass");
    p->config.health_disk_min_bytes = INT64_MAX;
    configure(p, "", "disk");
    until(p, "disk", "fail");
    assert_true(is(p, "disk", "why", "too_little_room"));
    assert_string_equal(health_required_failing(p->health, 0), "disk");
}

static void test_parts_tell_of_themselves(void **state)
{
    struct patient *p = *state;
    configure(p, "", "traces");
    health_set(p->health, "traces", false, "disk_full");
    assert_true(is(p, "traces", "why", "disk_full"));
    assert_string_equal(health_required_failing(p->health, 0), "traces");
    health_set(p->health, "traces", true, NULL);
    assert_true(is(p, "traces", "status", "pass"));
    health_set(p->health, "nothing", false, NULL);
    assert_int_equal(health_failing(p->health), 0);
}

static void test_the_description_is_made_once_for_many_who_ask(void **state)
{
    struct patient *p = *state;
    p->config.health_interval_ms = LONG_MS;
    configure(p, "", "");
    health_ask_worker(p->health, look, p);
    json_t *first = health_describe(p->health);
    health_worker_changed(p->health); /* it has not */
    json_t *second = health_describe(p->health);
    assert_ptr_equal(first, second);
    health_set(p->health, "traces", true, NULL);
    json_t *third = health_describe(p->health);
    assert_ptr_not_equal(first, third);
    assert_string_equal(json_str_at(first, "traces.status"), "unknown"); /* theirs is untouched */
    json_decref(first);
    json_decref(second);
    json_decref(third);
}

/* ---- what does not answer ---- */

/* A listener that takes nothing: the kernel drops what comes while its queue is full. */
struct hole {
    uv_os_sock_t fds[4];
    int listener;
    int port;
};

static void hole_open(struct hole *h)
{
    struct sockaddr_in a = { .sin_family = AF_INET };
    socklen_t len = sizeof(a);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    h->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(h->listener, (struct sockaddr *)&a, len), 0);
    assert_int_equal(listen(h->listener, 0), 0);
    assert_int_equal(getsockname(h->listener, (struct sockaddr *)&a, &len), 0);
    h->port = ntohs(a.sin_port);
    for (size_t i = 0; i < COUNT_OF(h->fds); i++) {
        h->fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)connect(h->fds[i], (struct sockaddr *)&a, len);
    }
}

static void hole_close(struct hole *h)
{
    for (size_t i = 0; i < COUNT_OF(h->fds); i++)
        close(h->fds[i]);
    close(h->listener);
}

static void test_a_port_that_says_nothing_fails_when_its_time_is_over(void **state)
{
    struct patient *p = *state;
    struct hole hole;
    char checks[400];
    hole_open(&hole);
    snprintf(checks, sizeof(checks), "hole=tcp:127.0.0.1:%d", hole.port);
    p->config.health_timeout_ms = 20;
    configure(p, checks, "");
    until(p, "hole", "fail");
    assert_true(is(p, "hole", "why", "timeout"));
    hole_close(&hole);
}

static void test_checks_under_way_may_be_taken_off_and_put_back(void **state)
{
    struct patient *p = *state;
    struct hole hole;
    char checks[400];
    hole_open(&hole);
    snprintf(checks, sizeof(checks), "hole=tcp:127.0.0.1:%d,file=file:%s:9", hole.port,
             p->folder.path);
    for (int i = 0; i < 20; i++) {
        configure(p, i % 2 == 0 ? checks : "", "");
        loop_turn(&p->loop);
    }
    configure(p, checks, "");
    until(p, "file", "pass");
    assert_true(is(p, "hole", "status", "unknown")); /* not yet told, and not two at once */
    hole_close(&hole);
}

static void test_the_end_waits_for_no_answer_of_a_port(void **state)
{
    struct patient *p = *state;
    struct hole hole;
    char checks[400];
    hole_open(&hole);
    snprintf(checks, sizeof(checks), "hole=tcp:127.0.0.1:%d,here=file:/:9,name=tcp:localhost:1",
             hole.port);
    configure(p, checks, "");
    health_ask_worker(p->health, look, p);
    until(p, "worker", "pass");
    loop_turn(&p->loop);
    close_all(p);
    health_worker_changed(p->health);
    hole_close(&hole);
}

/* Work that holds up the thread: reading of a pipe into which nobody has written yet. */
struct stuck {
    struct disk_job super;
    const char *path;
    bool done;
};

static void run_stuck(struct disk_job *job)
{
    int fd = open(((struct stuck *)(void *)job)->path, O_RDONLY | O_CLOEXEC);
    close(fd);
}

static void done_stuck(struct disk_job *job)
{
    ((struct stuck *)(void *)job)->done = true;
}

static void test_a_disk_that_hangs_fails_and_comes_back(void **state)
{
    struct patient *p = *state;
    p->pipe = folder_path(&p->folder, "pipe");
    struct stuck stuck = { .super = { .run = run_stuck, .done = done_stuck }, .path = p->pipe };
    assert_int_equal(mkfifo(p->pipe, 0600), 0);
    p->config.health_timeout_ms = 20;
    configure(p, "here=file:/:315360000", "");
    until(p, "disk", "pass");
    assert_true(disk_submit(p->disk, &stuck.super));
    until(p, "disk", "fail");
    assert_true(is(p, "disk", "why", "timeout"));
    assert_true(is(p, "memory", "status", "unknown"));
    until(p, "here", "pass"); /* it does not wait for the disk of the home */
    int fd = open(p->pipe, O_WRONLY | O_CLOEXEC);
    until(p, "disk", "pass");
    assert_true(stuck.done);
    close(fd);
}

#define PATIENT_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PATIENT_TEST(test_all_built_in_checks_are_there_and_unknown_at_first),
        PATIENT_TEST(test_the_worker_is_seen_at_once),
        PATIENT_TEST(test_lines_that_are_lost_fail_their_check_once),
        PATIENT_TEST(test_a_request_log_that_cannot_be_written_fails_until_it_can),
        PATIENT_TEST(test_what_is_required_and_fails_is_named),
        PATIENT_TEST(test_a_file_turns_the_check_and_its_time),
        PATIENT_TEST(test_limits_are_those_of_the_last_settings),
        PATIENT_TEST(test_parts_tell_of_themselves),
        PATIENT_TEST(test_the_description_is_made_once_for_many_who_ask),
        PATIENT_TEST(test_a_port_that_says_nothing_fails_when_its_time_is_over),
        PATIENT_TEST(test_checks_under_way_may_be_taken_off_and_put_back),
        PATIENT_TEST(test_the_end_waits_for_no_answer_of_a_port),
        PATIENT_TEST(test_a_disk_that_hangs_fails_and_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
