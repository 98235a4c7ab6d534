/* A child process: its lines come whole, its queue is bounded, and nothing of it is left once it is released. */
#include "loop.h"
#include "process.h"
#include "unit.h"

#include "buf.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#define MIB (1024 * 1024)

/* What was heard of a child. */
struct child {
    struct loop loop;
    struct process *process;
    int pid;
    struct buf lines; /* owned: lines with a newline after each; the first 4 KiB of them */
    size_t line_count;
    size_t line_bytes;
    size_t longest;
    size_t err_lines;
    size_t err_bytes;
    size_t err_longest;
    size_t err_shortest; /* 0: there was none */
    bool lost;
    enum process_loss why;
    bool exited;
    bool lost_first; /* the loss came before the exit */
    int64_t status;
    int signal;
    size_t wanted_lines; /* has_line waits for one more */
    size_t release_at;   /* the line at which it is let go; 0: none */
    bool released;
};

static void let_go(struct child *c)
{
    process_release(c->process);
    c->process = NULL;
    c->released = true;
}

static void on_line(void *ctx, const char *line, size_t len)
{
    struct child *c = ctx;
    assert_false(c->released);
    c->line_count++;
    c->line_bytes += len;
    c->longest = len > c->longest ? len : c->longest;
    if (len < 100 && c->lines.len < 4096) {
        buf_append(&c->lines, line, len);
        buf_putc(&c->lines, '\n');
    }
    if (c->line_count == c->release_at)
        let_go(c);
}

static void on_stderr_line(void *ctx, const char *line, size_t len)
{
    struct child *c = ctx;
    assert_false(c->released);
    assert_true(len <= PROCESS_STDERR_LINE_MAX);
    assert_null(memchr(line, '\n', len));
    c->err_lines++;
    c->err_bytes += len;
    if (c->err_shortest == 0 || len < c->err_shortest)
        c->err_shortest = len;
    c->err_longest = len > c->err_longest ? len : c->err_longest;
}

static void on_lost(void *ctx, enum process_loss why)
{
    struct child *c = ctx;
    assert_false(c->released);
    assert_false(c->lost);
    c->lost = true;
    c->lost_first = !c->exited;
    c->why = why;
}

static void on_exit_of(void *ctx, int64_t status, int signal_number)
{
    struct child *c = ctx;
    assert_false(c->released);
    assert_false(c->exited);
    c->exited = true;
    c->status = status;
    c->signal = signal_number;
}

static const struct process_events events = { on_line, on_stderr_line, on_lost, on_exit_of };

static char *env[] = { "PATH=/usr/local/bin:/usr/bin:/bin", "GREETING=hello", NULL };

static int setup(void **state)
{
    struct child *c = calloc(1, sizeof(*c));
    loop_begin(&c->loop);
    *state = c;
    return 0;
}

/* Lets go of the child and of all that was heard of it: the next one begins anew. */
static void forget(struct child *c)
{
    process_release(c->process);
    buf_free(&c->lines);
    memset((char *)c + offsetof(struct child, process), 0,
           sizeof(*c) - offsetof(struct child, process));
}

static int teardown(void **state)
{
    struct child *c = *state;
    forget(c);
    loop_end(&c->loop);
    free(c);
    return 0;
}

static void spawn_shell(struct child *c, const char *script)
{
    char *argv[] = { "sh", "-c", (char *)(uintptr_t)script, NULL };
    const struct process_options o = { .file = "/bin/sh", .argv = argv, .env = env };
    int error = 0;
    c->process = process_spawn(&c->loop.uv, &o, &events, c, &error);
    assert_int_equal(error, 0);
    assert_non_null(c->process);
    c->pid = process_pid(c->process);
    assert_true(c->pid > 0);
}

static bool say(struct child *c, const char *text)
{
    return process_write(c->process, strdup(text), strlen(text));
}

static bool has_exited(const void *ctx)
{
    const struct child *c = ctx;
    return c->exited;
}

static bool is_lost(const void *ctx)
{
    const struct child *c = ctx;
    return c->lost;
}

static bool has_line(const void *ctx)
{
    const struct child *c = ctx;
    return c->line_count > c->wanted_lines || c->lost;
}

static bool is_over(const void *ctx)
{
    const struct child *c = ctx;
    return c->exited && c->lost;
}

/* ---- lines ---- */

static void test_what_a_child_says_and_hears_is_whole(void **state)
{
    struct child *c = *state;
    spawn_shell(c, "echo \"$GREETING\"; while read -r line; do echo \"<$line>\"; done; exit 3");
    assert_true(say(c, "one\ntw"));
    assert_true(say(c, "o\n"));
    process_end_input(c->process);
    process_end_input(c->process);
    loop_until(&c->loop, is_over, c);
    assert_string_equal(buf_str(&c->lines), "hello\n<one>\n<two>\n");
    assert_int_equal(c->status, 3);
    assert_int_equal(c->signal, 0);
    assert_int_equal(c->err_lines, 0);
}

static void test_a_line_of_8_mib_is_whole(void **state)
{
    struct child *c = *state;
    spawn_shell(c, "echo before; head -c 8388608 /dev/zero | tr '\\0' x; echo; echo after; cat");
    c->wanted_lines = 2;
    loop_until(&c->loop, has_line, c);
    assert_int_equal(c->longest, 8 * MIB);
    assert_string_equal(buf_str(&c->lines), "before\nafter\n");
    assert_false(c->lost);
}

static void test_the_longest_line_passes_and_one_byte_more_is_a_loss(void **state)
{
    struct child *c = *state;
    char script[128];
    snprintf(script, sizeof(script), "head -c %d /dev/zero | tr '\\0' x; echo; cat",
             PROCESS_LINE_MAX);
    spawn_shell(c, script);
    loop_until(&c->loop, has_line, c);
    assert_int_equal(c->longest, PROCESS_LINE_MAX);
    assert_false(c->lost);
    forget(c);

    snprintf(script, sizeof(script), "head -c %d /dev/zero | tr '\\0' x; echo; cat",
             PROCESS_LINE_MAX + 1);
    spawn_shell(c, script);
    loop_until(&c->loop, is_lost, c);
    assert_int_equal(c->why, PROCESS_LINE_TOO_LONG);
    assert_int_equal(c->line_count, 0);
    assert_true(c->lost_first);
    assert_false(say(c, "to nobody"));
}

static void test_half_a_line_at_the_end_is_not_a_line(void **state)
{
    struct child *c = *state;
    spawn_shell(c, "echo whole; printf half");
    loop_until(&c->loop, is_over, c);
    assert_string_equal(buf_str(&c->lines), "whole\n");
}

static void test_a_flood_on_stderr_blocks_nobody(void **state)
{
    struct child *c = *state;
    spawn_shell(c, "i=0; while [ $i -lt 64 ]; do head -c 65536 /dev/zero | tr '\\0' e >&2; "
                   "echo >&2; i=$((i+1)); done; echo done; cat");
    loop_until(&c->loop, has_line, c);
    assert_string_equal(buf_str(&c->lines), "done\n");
    assert_true(c->err_lines >= 64);
    assert_true(c->err_longest > PROCESS_STDERR_LINE_MAX / 2);
    assert_false(c->lost);
}

static bool has_two_err_lines(const void *ctx)
{
    const struct child *c = ctx;
    return c->err_lines == 2;
}

static void test_lines_of_stderr_come_whole(void **state)
{
    struct child *c = *state;
    spawn_shell(c, "printf 'a long' >&2; sleep 0.01; printf ' line\\nx\\n' >&2; cat");
    loop_until(&c->loop, has_two_err_lines, c);
    assert_int_equal(c->err_bytes, 12);
    assert_int_equal(c->err_longest, 11);
}

static bool has_short_err_line(const void *ctx)
{
    const struct child *c = ctx;
    return c->err_shortest == 5 || c->exited;
}

static void
test_a_line_of_stderr_that_is_too_long_is_cut_and_the_next_is_a_line_of_its_own(void **state)
{
    struct child *c = *state;
    spawn_shell(c, "head -c 4000 /dev/zero | tr '\\0' e >&2; sleep 0.01; "
                   "printf '%0200d\\nFATAL\\n' 0 >&2; cat");
    loop_until(&c->loop, has_short_err_line, c);
    assert_int_equal(c->err_shortest, 5);
    assert_int_equal(c->err_lines, 2);
    assert_int_equal(c->err_bytes, PROCESS_STDERR_LINE_MAX + 5);
}

/* ---- the end ---- */

static void test_a_signal_that_ends_a_child_is_told(void **state)
{
    struct child *c = *state;
    spawn_shell(c, "kill -9 $$");
    loop_until(&c->loop, is_over, c);
    assert_int_equal(c->signal, SIGKILL);
}

/* The shell waits for the one that says "up": were that one not hit, "ended" would never come. */
static void test_a_kill_reaches_the_whole_group(void **state)
{
    struct child *c = *state;
    spawn_shell(c, "trap : TERM; sh -c 'echo up; exec sleep 600'; echo ended; cat");
    loop_until(&c->loop, has_line, c);
    process_kill(c->process, SIGTERM);
    c->wanted_lines = 1;
    loop_until(&c->loop, has_line, c);
    assert_string_equal(buf_str(&c->lines), "up\nended\n");
    assert_false(c->exited);
    process_kill(c->process, SIGKILL);
    loop_until(&c->loop, is_over, c);
    assert_int_equal(c->signal, SIGKILL);
}

static void test_a_child_that_closes_stdout_is_lost_though_it_lives(void **state)
{
    struct child *c = *state;
    spawn_shell(c, "exec >&-; cat >/dev/null");
    loop_until(&c->loop, is_lost, c);
    assert_int_equal(c->why, PROCESS_OUTPUT_ENDED);
    assert_false(c->exited);
    assert_false(say(c, "to nobody"));
    process_kill(c->process, SIGKILL);
    loop_until(&c->loop, has_exited, c);
    assert_int_equal(c->signal, SIGKILL);
}

static void test_a_child_that_closes_stdin_is_lost_when_written_to(void **state)
{
    struct child *c = *state;
    spawn_shell(c, "exec <&-; echo closed; sleep 600");
    loop_until(&c->loop, has_line, c);
    assert_true(say(c, "to nobody"));
    loop_until(&c->loop, is_lost, c);
    assert_int_equal(c->why, PROCESS_INPUT_FAILED);
    assert_false(say(c, "again"));
}

/* A grandchild holds stdout, so that never ends; the exit is the loss, and the grandchild goes with its group: it also
 * holds a pipe of ours, which ends with its last holder. */
static void test_a_grandchild_that_holds_stdout_goes_with_its_group(void **state)
{
    struct child *c = *state;
    int held[2];
    assert_int_equal(pipe(held), 0);
    spawn_shell(c, "sleep 600 & echo started; exit 4");
    close(held[1]);
    loop_until(&c->loop, is_over, c);
    assert_int_equal(c->status, 4);
    assert_int_equal(c->line_count, 1);
    struct pollfd end = { .fd = held[0], .events = POLLIN };
    assert_int_equal(poll(&end, 1, LOOP_GUARD_MS), 1);
    close(held[0]);
}

static void test_a_grandchild_of_its_own_session_cannot_keep_us(void **state)
{
    struct child *c = *state;
    spawn_shell(c, "exec 3<&0; setsid cat <&3 & echo started; exit 5");
    loop_until(&c->loop, is_over, c);
    assert_int_equal(c->status, 5);
    assert_int_equal(c->why, PROCESS_EXITED);
    let_go(c); /* closes the pipes, and teardown finds no handle */
}

static void test_after_the_end_of_input_nothing_can_be_written(void **state)
{
    struct child *c = *state;
    spawn_shell(c, "cat");
    assert_true(say(c, "last\n"));
    process_end_input(c->process);
    assert_false(say(c, "too late\n"));
    loop_until(&c->loop, is_over, c);
    assert_string_equal(buf_str(&c->lines), "last\n");
    assert_int_equal(c->status, 0);
}

/* ---- the queue ---- */

static void test_a_child_that_does_not_read_fills_a_bounded_queue(void **state)
{
    struct child *c = *state;
    spawn_shell(c, "read -r word; echo got; sleep 600");
    size_t accepted = 0;
    for (;; accepted++) {
        char *bytes = calloc(1, MIB);
        if (!process_write(c->process, bytes, MIB))
            break;
        assert_true(process_write_queue(c->process) <= PROCESS_WRITE_QUEUE_MAX);
        assert_true(accepted < 100);
    }
    assert_true(accepted >= PROCESS_WRITE_QUEUE_MAX / MIB);
    assert_true(process_write_queue(c->process) > PROCESS_WRITE_QUEUE_MAX - MIB);
    assert_true(process_write(c->process, calloc(1, 1), 1)); /* what fits is still taken */
    assert_false(c->lost);
}

static bool has_empty_queue(const void *ctx)
{
    const struct child *c = ctx;
    return process_write_queue(c->process) == 0;
}

static void test_a_queue_that_is_read_takes_more(void **state)
{
    struct child *c = *state;
    spawn_shell(c, "cat >/dev/null");
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 10; i++)
            assert_true(process_write(c->process, calloc(1, MIB), MIB));
        loop_until(&c->loop, has_empty_queue, c);
    }
    process_end_input(c->process);
    loop_until(&c->loop, is_over, c);
    assert_int_equal(c->status, 0);
}

/* ---- release ---- */

static bool is_released(const void *ctx)
{
    const struct child *c = ctx;
    return c->released;
}

static void test_a_release_within_a_line_drops_the_rest(void **state)
{
    struct child *c = *state;
    c->release_at = 2;
    spawn_shell(c, "printf 'a\\nb\\nc\\nd\\n'; sleep 600");
    loop_until(&c->loop, is_released, c);
    assert_string_equal(buf_str(&c->lines), "a\nb\n");
}

static void test_a_release_ends_a_living_child_and_reaps_it(void **state)
{
    struct child *c = *state;
    spawn_shell(c, "trap '' TERM HUP; echo up; while :; do sleep 600; done");
    loop_until(&c->loop, has_line, c);
    let_go(c);
    process_release(NULL);
    loop_end(&c->loop); /* returns only when the child was reaped */
    assert_int_equal(kill(c->pid, 0), -1);
    assert_int_equal(errno, ESRCH);
    loop_begin(&c->loop);
}

static void test_a_release_with_a_full_queue_frees_what_waits(void **state)
{
    struct child *c = *state;
    spawn_shell(c, "sleep 600");
    for (int i = 0; i < 8; i++)
        assert_true(process_write(c->process, calloc(1, MIB), MIB));
    process_end_input(c->process);
    let_go(c);
}

static int open_fds(void)
{
    int count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void test_a_spawn_that_fails_leaves_no_handle_and_no_fd(void **state)
{
    struct child *c = *state;
    char *argv[] = { "x", NULL };
    const struct {
        struct process_options options;
        int error;
    } cases[] = {
        { { "/no/such/file", argv, env, NULL }, UV_ENOENT },
        { { "no-such-name-in-path", argv, env, NULL }, UV_ENOENT },
        { { "/", argv, env, NULL }, UV_EACCES },
        { { "/bin/sh", argv, env, "/no/such/folder" }, UV_ENOENT },
    };
    loop_turn(&c->loop);
    int before = -1;
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < COUNT_OF(cases); i++) {
            int error = 0;
            assert_null(process_spawn(&c->loop.uv, &cases[i].options, &events, c, &error));
            assert_int_equal(error, cases[i].error);
        }
        loop_turn(&c->loop); /* runs the close callbacks */
        if (round == 0)
            before = open_fds(); /* uv has opened what it keeps by now */
    }
    assert_int_equal(open_fds(), before);
}

static void test_a_hundred_children_leave_no_fd(void **state)
{
    struct child *c = *state;
    int before = -1;
    for (int i = 0; i < 100; i++) {
        spawn_shell(c, "exit 0");
        loop_until(&c->loop, is_over, c);
        forget(c);
        loop_turn(&c->loop);
        if (i == 0)
            before = open_fds();
    }
    assert_int_equal(open_fds(), before);
}

static void test_a_child_gets_only_the_environment_and_folder_it_is_given(void **state)
{
    struct child *c = *state;
    char *argv[] = { "sh", "-c", "env | grep -v '^PWD=\\|^SHLVL=\\|^_=' | sort; pwd", NULL };
    const struct process_options o = { "/bin/sh", argv, env, "/" };
    int error = 0;
    c->process = process_spawn(&c->loop.uv, &o, &events, c, &error);
    assert_non_null(c->process);
    loop_until(&c->loop, is_over, c);
    assert_string_equal(buf_str(&c->lines),
                        "GREETING=hello\nPATH=/usr/local/bin:/usr/bin:/bin\n/\n");
}

static void test_every_loss_has_a_name(void **state)
{
    (void)state;
    assert_string_equal(process_loss_name(PROCESS_EXITED), "exited");
    assert_string_equal(process_loss_name(PROCESS_OUTPUT_ENDED), "output_ended");
    assert_string_equal(process_loss_name(PROCESS_INPUT_FAILED), "input_failed");
    assert_string_equal(process_loss_name(PROCESS_LINE_TOO_LONG), "line_too_long");
}

#define PROCESS_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PROCESS_TEST(test_what_a_child_says_and_hears_is_whole),
        PROCESS_TEST(test_a_line_of_8_mib_is_whole),
        PROCESS_TEST(test_the_longest_line_passes_and_one_byte_more_is_a_loss),
        PROCESS_TEST(test_half_a_line_at_the_end_is_not_a_line),
        PROCESS_TEST(test_a_flood_on_stderr_blocks_nobody),
        PROCESS_TEST(test_lines_of_stderr_come_whole),
        PROCESS_TEST(
            test_a_line_of_stderr_that_is_too_long_is_cut_and_the_next_is_a_line_of_its_own),
        PROCESS_TEST(test_a_signal_that_ends_a_child_is_told),
        PROCESS_TEST(test_a_kill_reaches_the_whole_group),
        PROCESS_TEST(test_a_child_that_closes_stdout_is_lost_though_it_lives),
        PROCESS_TEST(test_a_child_that_closes_stdin_is_lost_when_written_to),
        PROCESS_TEST(test_a_grandchild_that_holds_stdout_goes_with_its_group),
        PROCESS_TEST(test_a_grandchild_of_its_own_session_cannot_keep_us),
        PROCESS_TEST(test_after_the_end_of_input_nothing_can_be_written),
        PROCESS_TEST(test_a_child_that_does_not_read_fills_a_bounded_queue),
        PROCESS_TEST(test_a_queue_that_is_read_takes_more),
        PROCESS_TEST(test_a_release_within_a_line_drops_the_rest),
        PROCESS_TEST(test_a_release_ends_a_living_child_and_reaps_it),
        PROCESS_TEST(test_a_release_with_a_full_queue_frees_what_waits),
        PROCESS_TEST(test_a_spawn_that_fails_leaves_no_handle_and_no_fd),
        PROCESS_TEST(test_a_hundred_children_leave_no_fd),
        PROCESS_TEST(test_a_child_gets_only_the_environment_and_folder_it_is_given),
        PROCESS_TEST(test_every_loss_has_a_name),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
