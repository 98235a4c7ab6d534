/* What the log promises: one JSON object a line, levels, and that nobody who logs ever waits. */
#include "unit.h"

#include "buf.h"
#include "json.h"
#include "log.h"
#include "log_sink.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#define RING_BYTES 8192
#define LONG_MS 60000 /* as good as for ever: only a test that fails waits so long */

/* ---- a pipe to read what was written ---- */

struct ends {
    int out; /* for the log */
    int in;  /* for the test */
};

static struct ends open_pipe(void)
{
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    return (struct ends){ fds[1], fds[0] };
}

static void read_all(int fd, struct buf *ret)
{
    for (;;) {
        ssize_t n = read(fd, buf_reserve(ret, 65536), 65536);
        assert_true(n >= 0);
        if (n == 0)
            return;
        ret->len += (size_t)n;
    }
}

/* Reads at least one byte. */
static void read_some(int fd, struct buf *ret)
{
    ssize_t n = read(fd, buf_reserve(ret, 65536), 65536);
    assert_true(n > 0);
    ret->len += (size_t)n;
}

/* Runs `say` with stdout on a pipe and returns what it wrote. */
static struct buf stdout_of(void (*say)(void))
{
    struct buf text = BUF_INIT;
    struct ends p = open_pipe();
    fflush(stdout);
    int before = dup(STDOUT_FILENO);
    assert_int_equal(dup2(p.out, STDOUT_FILENO), STDOUT_FILENO);
    close(p.out);
    say();
    assert_int_equal(dup2(before, STDOUT_FILENO), STDOUT_FILENO);
    close(before);
    read_all(p.in, &text);
    close(p.in);
    return text;
}

static json_t *only_line(struct buf *text)
{
    const char *why = NULL;
    assert_true(text->len != 0 && text->data[text->len - 1] == '\n');
    assert_ptr_equal(memchr(text->data, '\n', text->len), text->data + text->len - 1);
    json_t *line = json_parse(text->data, text->len, &why);
    assert_non_null(line);
    buf_free(text);
    return line;
}

static size_t count_lines(const struct buf *text)
{
    size_t lines = 0;
    for (size_t i = 0; i < text->len; i++)
        lines += text->data[i] == '\n';
    return lines;
}

/* ---- lines and levels ---- */

static void say_every_kind(void)
{
    log_info("worker", "started", LOG_INT("pid", -7), LOG_ID("id", "a\"b\n"), LOG_ID("none", NULL),
             LOG_BOOL("demo", true), LOG_SIZE("text", "12345"));
}

static void test_a_line_is_one_json_object_with_its_fields_in_order(void **state)
{
    (void)state;
    struct buf text = stdout_of(say_every_kind);
    json_t *line = only_line(&text);
    static const char *const names[] = { "timestamp", "level", "component", "event",
                                         "pid",       "id",    "demo",      "text_bytes" };
    const char *key = NULL;
    json_t *value = NULL;
    size_t i = 0;
    json_object_foreach(line, key, value)
    {
        assert_true(i < COUNT_OF(names));
        assert_string_equal(key, names[i++]);
    }
    assert_int_equal(i, COUNT_OF(names));
    assert_string_equal(json_str_at(line, "level"), "info");
    assert_string_equal(json_str_at(line, "component"), "worker");
    assert_string_equal(json_str_at(line, "event"), "started");
    assert_string_equal(json_str_at(line, "id"), "a\"b\n");
    assert_int_equal(json_int_at(line, "pid", 0), -7);
    assert_int_equal(json_int_at(line, "text_bytes", 0), 5);
    assert_int_equal(json_bool_at(line, "demo", 0), 1);
    const char *at = json_str_at(line, "timestamp");
    assert_int_equal(strlen(at), 24);
    assert_true(at[10] == 'T' && at[19] == '.' && at[23] == 'Z');
    json_decref(line);
}

static void say_what_is_no_utf8(void)
{
    log_error("app", "setting_complaint", LOG_ID("text", "/gr\xc3\xbc\xc3\x9f/\xff\xfe\x1b: gone"));
}

static void test_a_line_is_json_whatever_bytes_a_name_has(void **state)
{
    (void)state;
    struct buf text = stdout_of(say_what_is_no_utf8);
    json_t *line = only_line(&text);
    assert_string_equal(json_str_at(line, "text"),
                        "/gr\xc3\xbc\xc3\x9f/\\u00ff\\u00fe\\u001b: gone");
    json_decref(line);
}

static void say_at_every_level(void)
{
    static const char *const components[] = { "app", "http", "chat", "worker", "observe" };
    for (size_t i = 0; i < COUNT_OF(components); i++)
        for (int level = LOG_DEBUG; level <= LOG_ERROR; level++)
            LOG_AT((enum log_level)level, components[i], "x", LOG_INT("n", 1));
}

static size_t said(const char *levels)
{
    assert_true(log_levels_valid(levels));
    assert_true(log_set_levels(levels));
    struct buf text = stdout_of(say_at_every_level);
    size_t lines = count_lines(&text);
    buf_free(&text);
    return lines;
}

static void test_a_component_may_have_a_level_of_its_own(void **state)
{
    (void)state;
    log_set_level(LOG_WARN);
    assert_int_equal(said(NULL), 10);
    assert_int_equal(said(""), 10);
    assert_int_equal(said("worker=debug"), 12);
    assert_int_equal(said(" worker=debug , http=error "), 11);
    assert_int_equal(said("app=error,http=error,chat=error,worker=error,observe=error"), 5);
    assert_int_equal(said("http=debug,http=error"), 9);
    assert_int_equal(said(NULL), 10); /* the levels of before are gone */
    log_set_level(LOG_INFO);
    assert_int_equal(said(NULL), 15);
}

static void test_wrong_levels_change_nothing(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "worker",        "worker=",        "=debug",
        "worker=loud",   "disk=debug",     ",",
        "worker=debug,", ",worker=debug",  "worker=debug,,http=warn",
        "worker =debug", "worker=debug x", "workers=debug",
        "worker=debug;", "Worker=debug",   "worker=DEBUG"
    };
    log_set_level(LOG_WARN);
    assert_int_equal(said("worker=debug"), 12);
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        assert_false(log_levels_valid(wrong[i]));
        assert_false(log_set_levels(wrong[i]));
    }
    struct buf text = stdout_of(say_at_every_level);
    assert_int_equal(count_lines(&text), 12);
    buf_free(&text);
    for (size_t i = 0; log_component_name(i) != NULL; i++) {
        char pair[64];
        snprintf(pair, sizeof(pair), "%s=debug", log_component_name(i));
        assert_true(log_levels_valid(pair));
    }
    assert_true(log_set_levels(NULL));
    log_set_level(LOG_INFO);
}

static void say_while_started(void)
{
    log_info("app", "before", LOG_INT("n", 0));
    log_start();
    for (int i = 1; i <= 1000; i++)
        log_info("app", "while", LOG_INT("n", i));
    log_stop();
    log_stop();
    log_info("app", "after", LOG_INT("n", 1001));
}

/* 1002 lines are more than a pipe holds: somebody must read meanwhile, so this goes to a file. */
static void test_all_lines_come_in_order_before_while_and_after_the_thread_runs(void **state)
{
    (void)state;
    char path[] = "/tmp/codex-api-log-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    fflush(stdout);
    int before = dup(STDOUT_FILENO);
    assert_int_equal(dup2(fd, STDOUT_FILENO), STDOUT_FILENO);
    say_while_started();
    assert_int_equal(dup2(before, STDOUT_FILENO), STDOUT_FILENO);
    close(before);
    FILE *file = fdopen(fd, "r");
    rewind(file);
    char line[512];
    int next = 0;
    while (fgets(line, sizeof(line), file) != NULL) {
        json_t *object = json_parse(line, strlen(line), NULL);
        assert_int_equal(json_int_at(object, "n", -1), next++);
        json_decref(object);
    }
    assert_int_equal(next, 1002);
    fclose(file);
    assert_int_equal(log_dropped(), 0);
}

/* ---- the sink ---- */

static size_t gap_line(char *ret, size_t size, uint64_t count, uint64_t total)
{
    int len = snprintf(ret, size, "gap %u of %u\n", (unsigned)count, (unsigned)total);
    assert_true(len > 0 && (size_t)len < size);
    return (size_t)len;
}

static struct log_sink *open_sink(int fd)
{
    struct log_sink *sink = log_sink_new(fd, RING_BYTES, gap_line);
    assert_non_null(sink);
    return sink;
}

static void put(struct log_sink *sink, unsigned number)
{
    char line[128];
    int len = snprintf(line, sizeof(line), "line %u %050d\n", number, 0);
    log_sink_put(sink, line, (size_t)len);
}

/* Every line is whole; numbers grow; where some are missing, a gap line says how many. Returns how many are there. */
static unsigned check_lines(struct buf *text, unsigned put_lines)
{
    unsigned next = 0;
    unsigned seen = 0;
    unsigned told = 0;
    char *rest = buf_detach(text);
    char *at = rest;
    for (char *line; (line = strsep(&at, "\n")) != NULL && *line != '\0';) {
        unsigned number = 0;
        unsigned total = 0;
        if (sscanf(line, "gap %u of %u", &number, &total) == 2) {
            told += number;
            assert_int_equal(total, told);
            next += number;
            continue;
        }
        assert_int_equal(sscanf(line, "line %u ", &number), 1);
        assert_int_equal(strlen(line), strcspn(line, " ") + 1 + strcspn(line + 5, " ") + 51);
        assert_int_equal(number, next);
        next++;
        seen++;
    }
    assert_int_equal(next, put_lines);
    free(rest);
    return seen;
}

/* Makes a pipe full; returns how many bytes that took. */
static size_t fill(int fd)
{
    static const char nothing[4096];
    size_t filled = 0;
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    for (ssize_t n; (n = write(fd, nothing, sizeof(nothing))) > 0;)
        filled += (size_t)n;
    assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
    return filled;
}

static void test_a_reader_that_stopped_costs_lines_and_nobody_waits(void **state)
{
    (void)state;
    const unsigned many = 100000; /* some 6 MB: the ring does not hold them */
    struct ends p = open_pipe();
    size_t filled = fill(p.out);
    struct log_sink *sink = open_sink(p.out);
    for (unsigned i = 0; i < many; i++)
        put(sink, i); /* returns, or the test hangs */
    uint64_t dropped = log_sink_dropped(sink);
    assert_true(dropped > many / 2);
    /* The reader comes back; it reads until the ring has been written and the gap told. */
    struct buf text = BUF_INIT;
    while (text.len == 0 || memmem(text.data, text.len, "gap ", 4) == NULL)
        read_some(p.in, &text);
    buf_consume(&text, filled);
    for (unsigned i = 0; i < 50; i++)
        put(sink, many + i);
    uint64_t all = 0;
    assert_true(log_sink_close(sink, LONG_MS, &all));
    assert_int_equal(all, dropped);
    close(p.out);
    read_all(p.in, &text);
    close(p.in);
    assert_int_equal(check_lines(&text, many + 50), many + 50 - dropped);
}

static void test_a_close_ends_although_nobody_reads(void **state)
{
    (void)state;
    struct ends p = open_pipe();
    fill(p.out);
    struct log_sink *sink = open_sink(p.out);
    for (unsigned i = 0; i < 10000; i++)
        put(sink, i);
    uint64_t dropped = 0;
    assert_false(log_sink_close(sink, 20, &dropped));
    assert_int_equal(dropped, 10000); /* what was left in the ring is counted, too */
    /* The thread still hangs in its write. When it can go on, it ends after that. */
    struct buf text = BUF_INIT;
    while (text.len == 0 || memmem(text.data, text.len, "line 0 ", 7) == NULL)
        read_some(p.in, &text);
    buf_free(&text);
    close(p.out);
    close(p.in);
}

static void test_a_slow_reader_that_is_fast_enough_loses_nothing(void **state)
{
    (void)state;
    struct ends p = open_pipe();
    struct log_sink *sink = open_sink(p.out);
    struct buf text = BUF_INIT;
    unsigned number = 0;
    while (number < 20000) {
        size_t before = text.len;
        for (unsigned i = 0; i < 60; i++) /* less than the ring holds */
            put(sink, number++);
        while (text.len - before < 60 * 50)
            read_some(p.in, &text);
    }
    uint64_t dropped = 0;
    assert_true(log_sink_close(sink, LONG_MS, &dropped));
    assert_int_equal(dropped, 0);
    close(p.out);
    read_all(p.in, &text);
    close(p.in);
    assert_int_equal(check_lines(&text, number), number);
}

static void wait_for_drops(struct log_sink *sink, uint64_t count)
{
    while (log_sink_dropped(sink) < count)
        sched_yield();
}

static void test_a_reader_that_left_is_counted_and_no_crash(void **state)
{
    (void)state;
    struct ends p = open_pipe();
    close(p.in);
    struct log_sink *sink = open_sink(p.out);
    for (unsigned i = 0; i < 100; i++) {
        put(sink, i);
        wait_for_drops(sink, i + 1); /* a report of the gap is dropped as well, and counted */
    }
    uint64_t dropped = 0;
    assert_true(log_sink_close(sink, LONG_MS, &dropped));
    assert_true(dropped >= 100);
    close(p.out);
}

static void test_a_full_disk_is_counted_and_no_crash(void **state)
{
    (void)state;
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    struct log_sink *sink = open_sink(fd);
    for (unsigned i = 0; i < 30; i++) {
        put(sink, i);
        wait_for_drops(sink, i + 1);
    }
    uint64_t dropped = 0;
    assert_true(log_sink_close(sink, LONG_MS, &dropped));
    assert_true(dropped >= 30);
    close(fd);
}

/* A file whose disk is full for a while: here a limit of its size. */
static void limit_files(rlim_t size_bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = size_bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void test_a_line_that_was_torn_is_ended_before_the_next(void **state)
{
    (void)state;
    struct buf text = BUF_INIT;
    char path[] = "/tmp/codex-api-log-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    struct log_sink *sink = open_sink(fd);
    limit_files(100);
    for (unsigned i = 0; i < 3; i++)
        put(sink, i);
    wait_for_drops(sink, 2); /* lines have 58 bytes */
    limit_files(RLIM_INFINITY);
    put(sink, 3);
    uint64_t dropped = 0;
    assert_true(log_sink_close(sink, LONG_MS, &dropped));
    assert_int_equal(dropped, 2);
    lseek(fd, 0, SEEK_SET);
    read_all(fd, &text);
    close(fd);
    const char *at = buf_str(&text);
    assert_memory_equal(at, "line 0 ", 7);
    assert_memory_equal(at + 58, "line 1 ", 7);
    assert_memory_equal(at + 100, "\ngap 2 of 2\nline 3 ", 19);
    buf_free(&text);
}

static void *read_to_the_end(void *arg)
{
    struct ends *p = arg;
    struct buf *text = calloc(1, sizeof(*text));
    read_all(p->in, text);
    return text;
}

/* As a shell or another program that shares the open file may make it. */
static void test_a_descriptor_that_does_not_block_is_waited_for(void **state)
{
    (void)state;
    const unsigned many = 50000;
    struct ends p = open_pipe();
    assert_int_equal(fcntl(p.out, F_SETFL, O_NONBLOCK), 0);
    struct log_sink *sink = log_sink_new(p.out, (size_t)many * 100, gap_line);
    for (unsigned i = 0; i < many; i++)
        put(sink, i);
    pthread_t reader;
    void *text = NULL;
    assert_int_equal(pthread_create(&reader, NULL, read_to_the_end, &p), 0);
    uint64_t dropped = 0;
    assert_true(log_sink_close(sink, LONG_MS, &dropped));
    close(p.out);
    assert_int_equal(pthread_join(reader, &text), 0);
    close(p.in);
    assert_int_equal(dropped, 0);
    assert_int_equal(check_lines(text, many), many);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_line_is_one_json_object_with_its_fields_in_order),
        cmocka_unit_test(test_a_line_is_json_whatever_bytes_a_name_has),
        cmocka_unit_test(test_a_component_may_have_a_level_of_its_own),
        cmocka_unit_test(test_wrong_levels_change_nothing),
        cmocka_unit_test(test_all_lines_come_in_order_before_while_and_after_the_thread_runs),
        cmocka_unit_test(test_a_reader_that_stopped_costs_lines_and_nobody_waits),
        cmocka_unit_test(test_a_close_ends_although_nobody_reads),
        cmocka_unit_test(test_a_slow_reader_that_is_fast_enough_loses_nothing),
        cmocka_unit_test(test_a_reader_that_left_is_counted_and_no_crash),
        cmocka_unit_test(test_a_full_disk_is_counted_and_no_crash),
        cmocka_unit_test(test_a_line_that_was_torn_is_ended_before_the_next),
        cmocka_unit_test(test_a_descriptor_that_does_not_block_is_waited_for),
    };
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
