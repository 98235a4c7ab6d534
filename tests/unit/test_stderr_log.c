/* What of a worker's stderr is logged, and what is not. */
#include "unit.h"

#include "log.h"
#include "stderr_log.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

static int log_fd = -1;
static int stdout_before = -1;

/* From now on stdout is a file. */
static void begin_to_listen(void)
{
    fflush(stdout);
    log_fd = memfd_create("log", MFD_CLOEXEC);
    stdout_before = dup(STDOUT_FILENO);
    assert_true(log_fd >= 0 && dup2(log_fd, STDOUT_FILENO) == STDOUT_FILENO);
}

static struct buf heard(void)
{
    struct buf text = BUF_INIT;
    assert_int_equal(dup2(stdout_before, STDOUT_FILENO), STDOUT_FILENO);
    close(stdout_before);
    off_t size = lseek(log_fd, 0, SEEK_END);
    assert_int_equal(pread(log_fd, buf_reserve(&text, (size_t)size + 1), (size_t)size, 0), size);
    text.len = (size_t)size;
    close(log_fd);
    (void)buf_str(&text);
    return text;
}

static size_t count(const struct buf *text, const char *wanted)
{
    size_t found = 0;
    for (const char *at = text->data; (at = strstr(at, wanted)) != NULL; at++)
        found++;
    return found;
}

static void say(struct stderr_log *s, const char *line)
{
    stderr_log_line(s, 5000, line, strlen(line));
}

static void test_of_a_start_that_failed_the_last_lines_are_told(void **state)
{
    (void)state;
    struct stderr_log s = { .mode = STDERR_OFF };
    char line[1001];
    begin_to_listen();
    memset(line, 'x', sizeof(line) - 1);
    line[sizeof(line) - 1] = '\0';
    say(&s, "first of all");
    for (int i = 0; i < 20; i++)
        say(&s, line);
    say(&s, "this is why");
    stderr_log_ended(&s);
    stderr_log_ended(&s);
    stderr_log_free(&s);
    struct buf text = heard();
    assert_int_equal(count(&text, "first of all"), 0);
    assert_int_equal(count(&text, "\"this is why\""), 1);
    assert_int_equal(count(&text, "start_stderr"), STDERR_LOG_START_MAX / sizeof(line) + 1);
    buf_free(&text);
}

static void test_a_key_whose_beginning_was_let_go_is_a_key(void **state)
{
    (void)state;
    struct stderr_log s = { .mode = STDERR_OFF };
    begin_to_listen();
    say(&s, "-----BEGIN RSA PRIVATE KEY-----");
    for (int i = 0; i < 900; i++)
        say(&s, "a short line");
    say(&s, "-----END RSA PRIVATE KEY-----");
    say(&s, "this is why");
    stderr_log_ended(&s);
    stderr_log_free(&s);
    struct buf text = heard();
    assert_int_equal(count(&text, "a short line"), 0);
    assert_int_equal(count(&text, "this is why"), 1);
    buf_free(&text);
}

static void check_nul(bool starts)
{
    struct stderr_log s = { .mode = STDERR_REDACTED };
    begin_to_listen();
    stderr_log_line(&s, 5000, LITERAL("one\0two"));
    say(&s, "three");
    if (starts)
        stderr_log_shook_hands(&s, 5000);
    stderr_log_ended(&s);
    stderr_log_free(&s);
    struct buf text = heard();
    assert_int_equal(count(&text, "\"one?two\",\"bytes\":7"), 1);
    assert_int_equal(count(&text, "three"), 1);
    buf_free(&text);
}

static void test_a_nul_ends_no_line(void **state)
{
    (void)state;
    check_nul(true);
    check_nul(false);
}

static struct buf babble(enum stderr_mode mode)
{
    struct stderr_log s = { .mode = mode };
    begin_to_listen();
    stderr_log_shook_hands(&s, 5000);
    for (int i = 0; i < 2 * LOG_QUOTA_A_SECOND; i++)
        say(&s, "a line");
    stderr_log_ended(&s);
    stderr_log_free(&s);
    return heard();
}

static void test_a_babbler_has_a_quota(void **state)
{
    (void)state;
    struct buf text = babble(STDERR_REDACTED);
    assert_int_equal(count(&text, "\"a line\""), LOG_QUOTA_A_SECOND);
    assert_int_equal(count(&text, "\"lines\":100"), 1);
    buf_free(&text);
}

static void test_of_what_is_not_told_at_all_nothing_is_held_back(void **state)
{
    (void)state;
    struct buf text = babble(STDERR_OFF);
    assert_int_equal(text.len, 0);
    buf_free(&text);
    log_set_level(LOG_DEBUG);
    text = babble(STDERR_OFF);
    assert_int_equal(count(&text, "\"bytes\":6"), LOG_QUOTA_A_SECOND);
    assert_int_equal(count(&text, "lines_held_back"), 1);
    log_set_level(LOG_INFO);
    buf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_of_a_start_that_failed_the_last_lines_are_told),
        cmocka_unit_test(test_a_key_whose_beginning_was_let_go_is_a_key),
        cmocka_unit_test(test_a_nul_ends_no_line),
        cmocka_unit_test(test_a_babbler_has_a_quota),
        cmocka_unit_test(test_of_what_is_not_told_at_all_nothing_is_held_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
