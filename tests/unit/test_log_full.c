/* The log, when nobody reads it: lines are dropped and counted, and nothing waits. */
#include "json.h"
#include "log.h"
#include "unit.h"

#include <fcntl.h>
#include <unistd.h>

#define LINES 5000 /* several times what a pipe holds */

static size_t read_all(int fd, struct buf *ret)
{
    ssize_t n = 0;
    do {
        n = read(fd, buf_reserve(ret, 65536), 65536);
        ret->len += n > 0 ? (size_t)n : 0;
    } while (n > 0);
    return ret->len;
}

static void test_a_log_that_nobody_reads_drops_lines_and_says_how_many(void **state)
{
    (void)state;
    int ends[2];
    struct buf text = BUF_INIT;
    int out = dup(STDOUT_FILENO);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    fflush(stdout);
    dup2(ends[1], STDOUT_FILENO);
    for (int i = 0; i < LINES; i++)
        log_info("test", "line", LOG_INT("number", i));
    read_all(ends[0], &text);
    log_info("test", "last", LOG_INT("number", LINES));
    size_t written = 0;
    for (size_t i = 0; i < text.len; i++)
        written += text.data[i] == '\n';
    buf_clear(&text);
    read_all(ends[0], &text);
    dup2(out, STDOUT_FILENO);
    close(out);
    close(ends[0]);
    close(ends[1]);
    json_t *last = json_parse(text.data, text.len - 1, NULL);
    assert_true(written > 0 && written < LINES);
    assert_int_equal(json_int_at(last, "lines_dropped_before", 0), LINES - (json_int_t)written);
    json_decref(last);
    buf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_log_that_nobody_reads_drops_lines_and_says_how_many),
    };
    json_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
