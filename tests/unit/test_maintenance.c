/* Maintenance: what may be asked for, and what a restart finds. */
#include "maintenance.h"

#include "disk.h"
#include "file.h"
#include "folder.h"
#include "loop.h"
#include "metrics.h"
#include "settle.h"

#include <pthread.h>

#define DEFAULT_S 60

struct bench {
    struct loop loop;
    struct folder folder;
    struct disk *disk;
    struct maintenance *m;
};

static struct maintenance *open_it(struct bench *b, bool enabled)
{
    const struct maintenance_options options = {
        .disk = b->disk, .home = b->folder.path, .enabled = enabled, .retry_after_s = DEFAULT_S
    };
    return maintenance_new(&options);
}

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof(*b));
    folder_make(&b->folder);
    loop_begin(&b->loop);
    b->disk = disk_new(&b->loop.uv);
    b->m = open_it(b, false);
    *state = b;
    return 0;
}

static void settle(struct bench *b)
{
    settle_disk(&b->loop, b->disk);
}

static bool is_written(const struct bench *b)
{
    char *path = folder_path(&b->folder, "maintenance.json");
    bool there = file_exists(path);
    free(path);
    return there;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    loop_end(&b->loop);
    maintenance_free(b->m);
    disk_free(b->disk);
    folder_remove(&b->folder);
    free(b);
    return 0;
}

#define BENCH_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

static void change(struct bench *b, const char *body)
{
    struct api_error e = { .status = 0 };
    if (!maintenance_change(b->m, body, strlen(body), &e))
        fail_msg("%s: %s", body, e.message);
}

/* The next start, with all that was to be written on the disk. */
static void restart(struct bench *b, bool enabled)
{
    settle(b);
    maintenance_free(b->m);
    b->m = open_it(b, enabled);
}

static void assert_state(const struct bench *b, const char *path, const char *wanted)
{
    json_t *state = maintenance_state(b->m);
    assert_string_equal(json_str_at(state, path), wanted);
    json_decref(state);
}

static void assert_persisted(const struct bench *b, int type)
{
    json_t *state = maintenance_state(b->m);
    assert_int_equal(json_typeof(json_at(state, "persisted")), type);
    json_decref(state);
}

static int64_t retry_after(const struct bench *b)
{
    struct api_error e;
    maintenance_refusal(b->m, &e);
    return e.retry_after_s;
}

static void put(const struct bench *b, const char *text)
{
    folder_put(&b->folder, "maintenance.json", text, strlen(text));
}

/* ---- what may be asked for ---- */

static void test_off_is_where_it_begins(void **state)
{
    struct bench *b = *state;
    assert_false(maintenance_enabled(b->m));
    json_t *s = maintenance_state(b->m);
    assert_true(json_is_null(json_at(s, "since")));
    assert_null(json_at(s, "actor"));
    assert_true(json_is_true(json_at(s, "persisted")));
    json_decref(s);
}

static void test_on_says_what_clients_are_told(void **state)
{
    struct bench *b = *state;
    struct api_error e;
    change(
        b,
        "{\"enabled\":true,\"retry_after_s\":120,\"message\":\"back \\u00e4t 5\",\"actor\":\"a.b@c "
        "d_-9\"}");
    maintenance_refusal(b->m, &e);
    assert_int_equal(e.status, 503);
    assert_string_equal(e.type, "server_error");
    assert_string_equal(e.code, "maintenance");
    assert_string_equal(e.message, "back \xc3\xa4t 5");
    assert_int_equal(e.retry_after_s, 120);
    assert_true(api_error_retryable(&e));
    assert_state(b, "actor", "a.b@c d_-9");
    assert_state(b, "source", "request");
    settle(b);
}

static void test_what_is_left_out_stays_until_the_switch_moves(void **state)
{
    struct bench *b = *state;
    change(b, "{\"enabled\":true,\"retry_after_s\":120,\"message\":\"m\",\"actor\":\"x\"}");
    json_t *before = maintenance_state(b->m);
    change(b, "{\"enabled\":true,\"message\":\"n\"}");
    json_t *after = maintenance_state(b->m);
    assert_string_equal(json_str_at(after, "message"), "n");
    assert_int_equal(json_int_at(after, "retry_after_s", 0), 120);
    assert_string_equal(json_str_at(after, "since"), json_str_at(before, "since"));
    assert_null(json_at(after, "actor")); /* of who did this nobody knows */
    change(b, "{\"enabled\":true,\"retry_after_s\":null}");
    assert_int_equal(retry_after(b), DEFAULT_S);
    assert_state(b, "message", "n");
    change(b, "{\"enabled\":false}");
    change(b, "{\"enabled\":true}");
    json_t *anew = maintenance_state(b->m);
    assert_string_not_equal(json_str_at(anew, "message"), "n");
    json_decref(anew);
    json_decref(after);
    json_decref(before);
    settle(b);
}

static void test_the_default_of_the_settings_can_change(void **state)
{
    struct bench *b = *state;
    change(b, "{\"enabled\":true}");
    maintenance_configure(b->m, 7);
    assert_int_equal(retry_after(b), 7);
    assert_true(maintenance_enabled(b->m));
    change(b, "{\"enabled\":true,\"retry_after_s\":9}");
    maintenance_configure(b->m, 8);
    assert_int_equal(retry_after(b), 9);
    settle(b);
}

static void test_what_is_wrong_changes_nothing(void **state)
{
    struct bench *b = *state;
    static const struct {
        const char *body;
        const char *param;
        const char *code;
    } rows[] = {
        { "", "", NULL },
        { "{", "", NULL },
        { "{\"enabled\":true}x", "", NULL },
        { "\xff", "", NULL },
        { "[]", "", "invalid_type" },
        { "true", "", "invalid_type" },
        { "{}", "enabled", "missing_required_parameter" },
        { "{\"message\":\"x\"}", "enabled", "missing_required_parameter" },
        { "{\"enabled\":null}", "enabled", "invalid_type" },
        { "{\"enabled\":1}", "enabled", "invalid_type" },
        { "{\"enabled\":\"true\"}", "enabled", "invalid_type" },
        { "{\"enabled\":true,\"until\":1}", "until", "unknown_parameter" },
        { "{\"enabled\":true,\"\":1}", "", "unknown_parameter" },
        { "{\"enabled\":true,\"enabled\\u0000x\":1}", "", NULL },
        { "{\"enabled\":true,\"retry_after_s\":\"1\"}", "retry_after_s", "invalid_type" },
        { "{\"enabled\":true,\"retry_after_s\":1.0}", "retry_after_s", "invalid_type" },
        { "{\"enabled\":true,\"retry_after_s\":0}", "retry_after_s", "invalid_value" },
        { "{\"enabled\":true,\"retry_after_s\":-1}", "retry_after_s", "invalid_value" },
        { "{\"enabled\":true,\"retry_after_s\":86401}", "retry_after_s", "invalid_value" },
        { "{\"enabled\":true,\"retry_after_s\":18446744073709551617}", "retry_after_s",
          "invalid_type" },
        { "{\"enabled\":true,\"message\":7}", "message", "invalid_type" },
        { "{\"enabled\":true,\"message\":\"\"}", "message", "invalid_value" },
        { "{\"enabled\":true,\"message\":\"a\\nb\"}", "message", "invalid_value" },
        { "{\"enabled\":true,\"message\":\"a\\u0000b\"}", "message", "invalid_value" },
        { "{\"enabled\":true,\"message\":\"a\\u001b[2J\"}", "message", "invalid_value" },
        { "{\"enabled\":true,\"message\":\"a\\u007f\"}", "message", "invalid_value" },
        { "{\"enabled\":true,\"message\":\"a\\u009b2J\"}", "message", "invalid_value" },
        { "{\"enabled\":true,\"message\":\"\\ud800\"}", "", NULL },
        { "{\"enabled\":true,\"actor\":true}", "actor", "invalid_type" },
        { "{\"enabled\":true,\"actor\":\"\"}", "actor", "invalid_value" },
        { "{\"enabled\":true,\"actor\":\"a/b\"}", "actor", "invalid_value" },
        { "{\"enabled\":true,\"actor\":\"a\\u0000\"}", "actor", "invalid_value" },
        { "{\"enabled\":true,\"actor\":\"\\u00e4\"}", "actor", "invalid_value" },
        { "{\"enabled\":true,\"actor\":\"12345678901234567890123456789012345678901234567890123456"
          "789012345\"}",
          "actor", "invalid_value" },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct api_error e = { .status = 0 };
        if (maintenance_change(b->m, rows[i].body, strlen(rows[i].body), &e))
            fail_msg("%s was taken", rows[i].body);
        assert_int_equal(e.status, 400);
        assert_string_equal(e.param, rows[i].param);
        assert_true(rows[i].code == NULL || strcmp(e.code, rows[i].code) == 0);
        assert_false(maintenance_enabled(b->m));
    }
    settle(b);
    assert_false(is_written(b));
}

static void test_a_message_has_up_to_500_characters_of_any_kind(void **state)
{
    struct bench *b = *state;
    static const char *const characters[] = { "x", "\xc2\xa0", "\xe2\x82\xac", "\xf0\x9f\x98\x80" };
    for (size_t i = 0; i < COUNT_OF(characters); i++) {
        struct buf body = BUF_INIT;
        struct buf text = BUF_INIT;
        struct api_error e;
        for (int n = 0; n < MAINTENANCE_MESSAGE_MAX; n++)
            buf_puts(&text, characters[i]);
        buf_printf(&body, "{\"enabled\":true,\"message\":\"%s\"}", buf_str(&text));
        change(b, buf_str(&body));
        maintenance_refusal(b->m, &e);
        assert_string_equal(e.message, buf_str(&text));
        restart(b, false);
        assert_state(b, "message", buf_str(&text));
        buf_clear(&body);
        buf_printf(&body, "{\"enabled\":true,\"message\":\"%s%s\"}", buf_str(&text), characters[i]);
        assert_false(maintenance_change(b->m, buf_str(&body), body.len, &e));
        buf_free(&body);
        buf_free(&text);
    }
}

/* ---- what a restart finds ---- */

static void test_a_restart_finds_the_last_state(void **state)
{
    struct bench *b = *state;
    struct stat st;
    change(b, "{\"enabled\":true,\"retry_after_s\":5,\"message\":\"a\\\"\\\\b\",\"actor\":\"me\"}");
    assert_persisted(b, JSON_NULL); /* under way */
    settle(b);
    assert_persisted(b, JSON_TRUE);
    json_t *before = maintenance_state(b->m);
    restart(b, false);
    json_t *after = maintenance_state(b->m);
    assert_string_equal(json_str_at(after, "source"), "last_run");
    json_object_del(before, "source");
    json_object_del(after, "source");
    assert_true(json_equal(before, after));
    json_decref(before);
    json_decref(after);
    char *path = folder_path(&b->folder, "maintenance.json");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    free(path);
    change(b, "{\"enabled\":false}");
    restart(b, false);
    assert_false(maintenance_enabled(b->m));
    assert_persisted(b, JSON_TRUE);
}

static void test_the_setting_is_stronger_and_is_not_written(void **state)
{
    struct bench *b = *state;
    restart(b, true);
    assert_true(maintenance_enabled(b->m));
    assert_state(b, "source", "setting");
    assert_persisted(b, JSON_FALSE);
    maintenance_close(b->m);
    settle(b);
    assert_false(is_written(b));
    restart(b, false);
    assert_false(maintenance_enabled(b->m));
}

static void test_the_setting_keeps_what_the_last_run_said(void **state)
{
    struct bench *b = *state;
    change(b, "{\"enabled\":true,\"message\":\"until noon\"}");
    restart(b, true);
    assert_state(b, "message", "until noon");
    assert_state(b, "source", "setting");
    assert_persisted(b, JSON_TRUE);
    change(b, "{\"enabled\":false}");
    restart(b, true);
    assert_true(maintenance_enabled(b->m));
}

#define GOOD "\"since_ms\":5,\"retry_after_s\":null,\"message\":null,\"actor\":null"

static void test_a_file_that_is_wrong_counts_as_off(void **state)
{
    struct bench *b = *state;
    static const char *const wrong[] = {
        "",
        "\n",
        "{",
        "null",
        "[]",
        "{}",
        "{\"enabled\":true}",
        "{\"enabled\":true," GOOD,
        "{\"enabled\":true," GOOD "}}",
        "{\"enabled\":\"yes\"," GOOD "}",
        "{" GOOD "}",
        "{\"enabled\":true,\"since_ms\":-1,\"retry_after_s\":null,\"message\":null,\"actor\":null}",
        "{\"enabled\":true,\"since_ms\":9223372036854775807,\"retry_after_s\":null,\"message\":"
        "null,"
        "\"actor\":null}",
        "{\"enabled\":true,\"since_ms\":5,\"retry_after_s\":0,\"message\":null,\"actor\":null}",
        "{\"enabled\":true,\"since_ms\":5,\"retry_after_s\":null,\"message\":\"\\n\",\"actor\":"
        "null}",
        "{\"enabled\":true,\"since_ms\":5,\"retry_after_s\":null,\"message\":null,\"actor\":\"/\"}",
    };
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        put(b, wrong[i]);
        restart(b, false);
        if (maintenance_enabled(b->m))
            fail_msg("%s was taken", wrong[i]);
        assert_int_equal(retry_after(b), DEFAULT_S);
    }
    put(b, "{\"enabled\":true," GOOD ",\"of_a_later_version\":1}");
    restart(b, false);
    assert_true(maintenance_enabled(b->m));
}

static void test_a_file_that_is_too_big_or_no_file_counts_as_off(void **state)
{
    struct bench *b = *state;
    struct buf text = BUF_INIT;
    buf_puts(&text, "{\"enabled\":true," GOOD "}");
    while (text.len <= MAINTENANCE_FILE_MAX)
        buf_putc(&text, ' ');
    put(b, buf_str(&text));
    buf_free(&text);
    restart(b, false);
    assert_false(maintenance_enabled(b->m));
    char *path = folder_path(&b->folder, "maintenance.json");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    free(path);
    restart(b, false);
    assert_false(maintenance_enabled(b->m));
}

/* ---- the disk ---- */

static void test_a_state_that_cannot_be_written_counts_and_says_so(void **state)
{
    struct bench *b = *state;
    char *path = folder_path(&b->folder, "maintenance.json");
    char *inside = folder_path(&b->folder, "maintenance.json/x");
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(mkdir(inside, 0700),
                     0); /* nothing is renamed over a folder with something in it */
    change(b, "{\"enabled\":true}");
    settle(b);
    assert_true(maintenance_enabled(b->m));
    assert_persisted(b, JSON_FALSE);
    assert_int_equal(rmdir(inside), 0);
    assert_int_equal(rmdir(path), 0);
    maintenance_close(b->m); /* the disk is there again */
    assert_persisted(b, JSON_NULL);
    settle(b);
    assert_persisted(b, JSON_TRUE);
    restart(b, false);
    assert_true(maintenance_enabled(b->m));
    free(path);
    free(inside);
}

struct blocker {
    struct disk_job super;
    pthread_mutex_t *gate; /* borrowed */
    bool done;
};

static void wait_for_gate(struct disk_job *job)
{
    struct blocker *k = (struct blocker *)(void *)job;
    pthread_mutex_lock(k->gate);
    pthread_mutex_unlock(k->gate);
}

static void on_gate_passed(struct disk_job *job)
{
    ((struct blocker *)(void *)job)->done = true;
}

static void test_of_many_changes_under_a_slow_disk_the_last_is_written(void **state)
{
    struct bench *b = *state;
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    struct blocker k = { .super = { .run = wait_for_gate, .done = on_gate_passed }, .gate = &gate };
    pthread_mutex_lock(&gate);
    assert_true(disk_submit(b->disk, &k.super));
    for (int i = 1; i <= 101; i++) {
        char body[64];
        snprintf(body, sizeof(body), "{\"enabled\":%s,\"retry_after_s\":%d}",
                 i % 2 ? "true" : "false", i);
        change(b, body);
        assert_int_equal(maintenance_enabled(b->m), i % 2);
    }
    assert_persisted(b, JSON_NULL);
    pthread_mutex_unlock(&gate);
    restart(b, false);
    assert_true(k.done);
    assert_true(maintenance_enabled(b->m));
    assert_int_equal(retry_after(b), 101);
}

static void test_a_disk_that_takes_no_more_is_told_again_at_the_end(void **state)
{
    struct bench *b = *state;
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    struct blocker k = {
        .super = { .run = wait_for_gate, .done = on_gate_passed, .bytes = DISK_BYTES_MAX },
        .gate = &gate
    };
    pthread_mutex_lock(&gate);
    assert_true(disk_submit(b->disk, &k.super));
    change(b, "{\"enabled\":true}");
    assert_true(maintenance_enabled(b->m));
    assert_persisted(b, JSON_FALSE);
    pthread_mutex_unlock(&gate);
    loop_until_true(&b->loop, &k.done);
    maintenance_close(b->m);
    restart(b, false);
    assert_true(maintenance_enabled(b->m));
}

static void test_release_is_safe_on_nothing(void **state)
{
    (void)state;
    maintenance_close(NULL);
    maintenance_free(NULL);
}

static void test_the_gauge_follows(void **state)
{
    struct bench *b = *state;
    struct buf page = BUF_INIT;
    metrics_write(&page, METRICS_TEXT);
    assert_non_null(strstr(buf_str(&page), "codex_maintenance_mode{state=\"on\"} 0\n"));
    change(b, "{\"enabled\":true}");
    buf_clear(&page);
    metrics_write(&page, METRICS_TEXT);
    assert_non_null(strstr(buf_str(&page), "codex_maintenance_mode{state=\"on\"} 1\n"));
    assert_non_null(strstr(buf_str(&page), "codex_maintenance_mode{state=\"off\"} 0\n"));
    buf_free(&page);
    settle(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BENCH_TEST(test_off_is_where_it_begins),
        BENCH_TEST(test_on_says_what_clients_are_told),
        BENCH_TEST(test_what_is_left_out_stays_until_the_switch_moves),
        BENCH_TEST(test_the_default_of_the_settings_can_change),
        BENCH_TEST(test_what_is_wrong_changes_nothing),
        BENCH_TEST(test_a_message_has_up_to_500_characters_of_any_kind),
        BENCH_TEST(test_a_restart_finds_the_last_state),
        BENCH_TEST(test_the_setting_is_stronger_and_is_not_written),
        BENCH_TEST(test_the_setting_keeps_what_the_last_run_said),
        BENCH_TEST(test_a_file_that_is_wrong_counts_as_off),
        BENCH_TEST(test_a_file_that_is_too_big_or_no_file_counts_as_off),
        BENCH_TEST(test_a_state_that_cannot_be_written_counts_and_says_so),
        BENCH_TEST(test_of_many_changes_under_a_slow_disk_the_last_is_written),
        BENCH_TEST(test_a_disk_that_takes_no_more_is_told_again_at_the_end),
        BENCH_TEST(test_release_is_safe_on_nothing),
        BENCH_TEST(test_the_gauge_follows),
    };
    json_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
