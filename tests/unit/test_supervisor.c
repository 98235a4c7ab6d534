/* The supervisor, on the real fake worker: whatever the worker does, there is soon a ready one again, and never two. */
#include "folder.h"
#include "supervisor_bench.h"

/* Of a worker in sh. */
#define HANDSHAKE                                                                                  \
    "read -r line; echo '{\"id\":1,\"result\":{\"userAgent\":\"codex/1\"}}'; read -r line; "

static bool is_forgiven(const void *ctx)
{
    struct supervisor_status status = status_of(ctx);
    return status.state == SUP_READY && status.restart_streak == 0;
}

/* ---- one good life ---- */

static void test_a_worker_is_started_greeted_and_stopped(void **state)
{
    struct bench *b = *state;
    start(b, "");
    assert_int_equal(status_of(b).state, SUP_STARTING);
    wait_until(b, is_ready);
    struct supervisor_status status = status_of(b);
    assert_int_equal(status.restarts, 0);
    assert_int_equal(status.restart_streak, 0);
    assert_false(status.has_exited);
    assert_null(status.last_reason);
    assert_int_equal(status.backoff_remaining_ms, 0);
    assert_int_equal(kill(status.pid, 0), 0);
    assert_non_null(strchr(b->user_agent, '/'));
    assert_true(status.uptime_ms < BENCH_LONG_MS);
    struct talk talk = { 0 };
    talk_begin(b, &talk, "hello there");
    assert_int_equal(supervisor_active(b->sup), 1);
    talk_finish(&talk, "hello there");
    stop(b);
    assert_string_equal(buf_str(&b->story), "pgrls");
    status = status_of(b);
    assert_int_equal(status.pid, 0);
    assert_true(status.has_exited);
    assert_int_equal(status.last_exit_code, 0); /* the end of input was enough */
    assert_int_equal(status.last_exit_signal, 0);
    assert_int_equal(status.uptime_ms, 0);
}

static void test_a_stopped_worker_can_be_started_again(void **state)
{
    struct bench *b = *state;
    start(b, "");
    wait_until(b, is_ready);
    stop(b);
    b->stopped = 0;
    supervisor_start(b->sup);
    wait_until(b, is_ready);
    assert_int_not_equal(status_of(b).pid, b->first_pid);
    assert_int_equal(status_of(b).restart_streak, 0);
    stop(b);
    assert_string_equal(buf_str(&b->story), "pgrlspgrls");
}

/* ---- workers that fail ---- */

static void test_a_worker_that_is_killed_is_replaced(void **state)
{
    struct bench *b = *state;
    b->lives = 2;
    start(b, "");
    wait_until(b, has_survived);
    struct supervisor_status status = status_of(b);
    assert_int_equal(status.state, SUP_READY);
    assert_int_equal(status.last_exit_signal, SIGKILL);
    assert_int_equal(status.last_exit_code, -1);
    assert_int_equal(status.restarts, 1);
    assert_int_equal(status.restart_streak, 1);
    assert_int_not_equal(status.pid, b->first_pid);
    assert_true(is_gone(b->first_pid)); /* no zombie is left of the first */
    stop(b);
    assert_string_equal(buf_str(&b->story), "pgrlpgrls");
}

static void test_a_pause_is_told_while_it_lasts(void **state)
{
    struct bench *b = *state;
    rest_long(b);
    b->lives = 2;
    uint64_t before_ms = deadlines_now_ms(b->loop.deadlines);
    start(b, "");
    wait_until(b, is_resting);
    assert_null(supervisor_turns(b->sup));
    struct supervisor_status status = status_of(b);
    assert_int_equal(status.pid, 0);
    assert_int_equal(status.restarts, 0);
    assert_int_equal(status.restart_streak, 1);
    assert_pause(b, before_ms, b->options.backoff_max_ms);
    assert_int_equal(status.uptime_ms, 0);
    stop(b);
    assert_int_equal(status_of(b).backoff_remaining_ms, 0);
}

/* The ids of all calls that the workers have read; the caller drops the reference. */
static json_t *ids_in(const char *journal)
{
    json_t *ids = json_object();
    FILE *file = fopen(journal, "re");
    char *line = NULL;
    size_t size = 0;
    ssize_t len = 0;
    assert_non_null(file);
    while ((len = getline(&line, &size, file)) > 0) {
        json_t *entry = json_parse(line, (size_t)len, NULL);
        const json_t *id = json_at(entry, "in.id");
        if (id != NULL) {
            char name[32];
            snprintf(name, sizeof(name), "%lld", (long long)json_integer_value(id));
            assert_null(json_object_get(ids, name));
            json_object_set_new(ids, name, json_true());
        }
        json_decref(entry);
    }
    free(line);
    fclose(file);
    return ids;
}

static void test_ids_of_calls_are_never_used_again(void **state)
{
    struct bench *b = *state;
    struct folder folder;
    folder_make(&folder);
    char *journal = folder_path(&folder, "journal");
    set_env(b, "FAKE_WORKER_JOURNAL", journal);
    b->lives = 3;
    start(b, "");
    wait_until(b, has_survived);
    stop(b);
    json_t *ids = ids_in(journal);
    assert_int_equal(json_object_size(ids), 6); /* initialize and model/list of each */
    json_decref(ids);
    free(journal);
    folder_remove(&folder);
}

static void test_an_exit_code_is_kept(void **state)
{
    struct bench *b = *state;
    start(b, "exit=initialized,exit_code=7");
    wait_until(b, has_failed_twice);
    struct supervisor_status status = status_of(b);
    assert_true(status.has_exited);
    assert_int_equal(status.last_exit_code, 7);
    assert_int_equal(status.last_exit_signal, 0);
    stop(b);
}

static void test_a_worker_that_ends_before_the_handshake_is_tried_again(void **state)
{
    struct bench *b = *state;
    start(b, "exit=start,exit_code=3");
    wait_until(b, has_failed_twice);
    assert_int_equal(status_of(b).last_exit_code, 3);
    stop(b);
    assert_null(strchr(buf_str(&b->story), 'g'));
}

static void test_a_worker_without_a_handshake_is_killed_and_replaced(void **state)
{
    static const char *const faults[] = { "handshake=none", "handshake=none,ignore_sigterm=1",
                                          "hang=start" };
    struct bench *b = *state;
    b->options.incarnation.handshake_timeout_ms = 50;
    for (size_t i = 0; i < COUNT_OF(faults); i++) {
        start(b, faults[i]);
        wait_until(b, has_failed_twice);
        struct supervisor_status status = status_of(b);
        assert_string_equal(status.last_reason, "handshake_timeout");
        assert_int_equal(status.last_exit_signal, SIGKILL);
        b->stopped = 0;
        stop(b);
        supervisor_free(b->sup);
        b->sup = NULL;
    }
}

static void test_a_refused_handshake_is_a_failure(void **state)
{
    struct bench *b = *state;
    start(b, "handshake=error");
    wait_until(b, has_failed_twice);
    assert_string_equal(status_of(b).last_reason, "handshake_refused");
    stop(b);
    assert_null(strchr(buf_str(&b->story), 'g'));
}

static void test_noise_does_not_disturb_the_handshake(void **state)
{
    struct bench *b = *state;
    start(b, "noise=garbage+empty+unknown+stray,piece=7,stderr=start,stderr_lines=2000");
    wait_until(b, is_ready);
    stop(b);
}

static void test_a_greeting_that_fails_is_a_failure(void **state)
{
    struct bench *b = *state;
    b->fails_greeting = true;
    start(b, "");
    wait_until(b, has_failed_twice);
    assert_string_equal(status_of(b).last_reason, "greeting_failed");
    stop(b);
    assert_memory_equal(buf_str(&b->story), "pgxpgx", 6);
    assert_null(strchr(buf_str(&b->story), 'r'));
}

static void test_a_worker_that_closes_its_output_is_replaced(void **state)
{
    struct bench *b = *state;
    start(b, "mute=initialized");
    wait_until(b, has_failed_twice);
    assert_string_equal(status_of(b).last_reason, "output_ended");
    assert_int_equal(status_of(b).last_exit_signal, SIGKILL);
    stop(b);
}

static void test_a_worker_that_floods_a_line_is_replaced(void **state)
{
    struct bench *b = *state;
    rest_long(b);
    start(b, "flood=initialized,flood_bytes=64000000");
    wait_until(b, is_resting);
    assert_string_equal(status_of(b).last_reason, "line_too_long");
    stop(b);
}

static void test_a_worker_whose_child_holds_stdout_is_replaced(void **state)
{
    struct bench *b = *state;
    rest_long(b);
    b->lives = 2;
    start(b, "grandchild=initialize");
    wait_until(b, is_resting);
    assert_string_equal(status_of(b).last_reason, "exited");
    stop(b);
}

static void test_a_file_that_is_not_there_is_tried_again_and_again(void **state)
{
    struct bench *b = *state;
    b->options.incarnation.file = "/no/such/codex";
    start(b, "");
    struct supervisor_status status = status_of(b);
    assert_int_equal(status.state, SUP_BACKOFF);
    assert_string_equal(status.last_reason, "spawn_failed");
    assert_int_equal(status.pid, 0);
    assert_false(status.has_exited);
    assert_int_equal(status.restart_streak, 1);
    wait_until(b, has_failed_twice);
    assert_true(status_of(b).restart_streak >= 2);
    stop(b);
}

/* ---- what a worker says on stderr ---- */

/* What is logged while a worker that is this script fails; the caller frees it. */
static char *log_of_failure(struct bench *b, const char *script)
{
    char *argv[] = { "sh", "-c", (char *)(uintptr_t)script, NULL };
    char *shell_env[] = { "PATH=/usr/local/bin:/usr/bin:/bin", NULL };
    FILE *file = tmpfile();
    assert_non_null(file);
    fflush(stdout);
    int out = dup(STDOUT_FILENO);
    assert_true(out >= 0);
    assert_int_equal(dup2(fileno(file), STDOUT_FILENO), STDOUT_FILENO);
    log_set_level(LOG_DEBUG);
    b->options.incarnation.file = "/bin/sh";
    b->options.incarnation.argv = argv;
    b->options.incarnation.env = shell_env;
    rest_long(b);
    start(b, "");
    wait_until(b, is_resting);
    log_set_level(LOG_SILENCE);
    fflush(stdout);
    assert_int_equal(dup2(out, STDOUT_FILENO), STDOUT_FILENO);
    close(out);
    char *text = calloc(1, 65536);
    rewind(file);
    assert_true(fread(text, 1, 65535, file) > 0);
    fclose(file);
    supervisor_free(b->sup); /* before the options go */
    b->sup = NULL;
    return text;
}

static void test_what_a_worker_says_before_it_fails_to_start_is_logged(void **state)
{
    char *text = log_of_failure(*state, "echo 'cannot read auth.json' >&2; exit 1");
    assert_non_null(strstr(text, "cannot read auth.json"));
    free(text);
}

static void test_what_a_worker_says_after_the_handshake_is_never_logged(void **state)
{
    static const char *const scripts[] = {
        HANDSHAKE "echo 'panic: user said my-secret-prompt' >&2; exec >&-; sleep 9",
        HANDSHAKE "echo 'panic: user said my-secret-prompt' >&2; sleep 0.05; exit 1",
        HANDSHAKE "echo 'panic: user said my-secret-prompt' >&2; sleep 0.05; kill -9 $$",
    };
    struct bench *b = *state;
    for (size_t i = 0; i < COUNT_OF(scripts); i++) {
        char *text = log_of_failure(b, scripts[i]);
        assert_null(strstr(text, "my-secret-prompt"));
        assert_null(strstr(text, "start_stderr"));
        if (i != 0) /* the first is killed at once, perhaps before it is read */
            assert_non_null(strstr(text, "\"stderr\"")); /* only counted */
        free(text);
    }
}

/* ---- preparation ---- */

static void test_a_preparation_that_fails_is_tried_again(void **state)
{
    struct bench *b = *state;
    b->fails_prepare = true;
    start(b, "");
    assert_int_equal(status_of(b).state, SUP_BACKOFF);
    assert_string_equal(status_of(b).last_reason, "prepare_failed");
    b->fails_prepare = false;
    wait_until(b, is_ready);
    assert_int_equal(status_of(b).restarts, 0); /* nothing was started before */
    stop(b);
    assert_string_equal(buf_str(&b->story), "ppgrls");
}

static void test_a_preparation_that_takes_too_long_is_cancelled(void **state)
{
    struct bench *b = *state;
    rest_long(b);
    b->holds_prepare = true;
    b->options.incarnation.handshake_timeout_ms = 5;
    start(b, "");
    assert_int_equal(status_of(b).state, SUP_PREPARING);
    wait_until(b, is_resting);
    assert_string_equal(status_of(b).last_reason, "prepare_timeout");
    assert_string_equal(buf_str(&b->story), "pc");
    stop(b);
}

static void test_a_preparation_may_come_later(void **state)
{
    struct bench *b = *state;
    b->holds_prepare = true;
    start(b, "");
    assert_int_equal(status_of(b).state, SUP_PREPARING);
    assert_int_equal(status_of(b).pid, 0);
    supervisor_prepared(b->sup, true);
    wait_until(b, is_ready);
    stop(b);
}

/* ---- stopping ---- */

static void test_stopping_works_in_every_state_and_is_told_once(void **state)
{
    struct bench *b = *state;
    b->sup = supervisor_new(&b->loop.uv, b->loop.deadlines, &b->options, &bench_hooks, b);
    stop(b); /* never started */
    assert_string_equal(buf_str(&b->story), "s");
    supervisor_free(b->sup);

    b->stopped = 0;
    b->holds_prepare = true;
    start(b, "");
    stop(b);
    assert_string_equal(buf_str(&b->story), "spcs");
    supervisor_free(b->sup);

    b->stopped = 0;
    b->holds_prepare = false;
    start(b, "handshake=none"); /* starting: the end of input is still obeyed */
    assert_int_equal(status_of(b).state, SUP_STARTING);
    stop(b);
    assert_int_equal(status_of(b).last_exit_signal, 0);
    supervisor_free(b->sup);

    b->stopped = 0;
    b->fails_prepare = true;
    rest_long(b);
    start(b, "");
    assert_int_equal(status_of(b).state, SUP_BACKOFF);
    stop(b); /* does not wait for the pause to end */
}

static void test_stopping_twice_is_told_once(void **state)
{
    struct bench *b = *state;
    start(b, "");
    wait_until(b, is_ready);
    supervisor_stop(b->sup);
    assert_int_equal(status_of(b).state, SUP_STOPPING);
    assert_null(supervisor_turns(b->sup));
    stop(b);
}

static void test_a_start_while_it_stops_is_a_restart(void **state)
{
    struct bench *b = *state;
    start(b, "");
    wait_until(b, is_ready);
    supervisor_stop(b->sup);
    supervisor_start(b->sup);
    wait_until(b, is_ready);
    assert_int_equal(b->stopped, 0);
    assert_int_equal(b->ready, 2);
    stop(b);
}

static void test_a_worker_that_ignores_the_end_of_input_gets_sigterm(void **state)
{
    struct bench *b = *state;
    b->options.incarnation.stop_eof_ms = 5;
    start(b, "ignore_eof=1");
    wait_until(b, is_ready);
    stop(b);
    assert_int_equal(status_of(b).last_exit_code, 0); /* it ends by itself on SIGTERM */
    assert_int_equal(status_of(b).last_exit_signal, 0);
}

static void test_a_worker_that_ignores_sigterm_as_well_is_killed(void **state)
{
    struct bench *b = *state;
    b->options.incarnation.stop_eof_ms = 5;
    b->options.incarnation.stop_term_ms = 5;
    start(b, "ignore_eof=1,ignore_sigterm=1");
    wait_until(b, is_ready);
    int pid = status_of(b).pid;
    stop(b);
    assert_int_equal(status_of(b).last_exit_code, -1);
    assert_int_equal(status_of(b).last_exit_signal, SIGKILL);
    assert_true(is_gone(pid));
}

static void test_a_worker_that_dies_while_it_stops_is_stopped(void **state)
{
    struct bench *b = *state;
    start(b, "ignore_eof=1");
    wait_until(b, is_ready);
    int pid = status_of(b).pid;
    supervisor_stop(b->sup);
    assert_int_equal(kill(pid, SIGKILL), 0);
    stop(b);
    assert_int_equal(status_of(b).last_exit_signal, SIGKILL);
    assert_int_equal(b->ready, 1);
}

static void test_the_supervisor_may_be_freed_when_it_has_stopped(void **state)
{
    struct bench *b = *state;
    b->frees_when_stopped = true;
    start(b, "");
    wait_until(b, is_ready);
    stop(b);
    b->stopped = 0;
    b->options.incarnation.file = "/no/such/codex";
    start(b, "");
    stop(b);
    assert_null(b->sup);
}

static void test_freeing_kills_at_once_whatever_the_worker_ignores(void **state)
{
    struct bench *b = *state;
    start(b, "ignore_eof=1,ignore_sigterm=1");
    wait_until(b, is_ready);
    supervisor_free(b->sup);
    supervisor_free(NULL);
    assert_string_equal(buf_str(&b->story), "pgr");
    start(b, "handshake=none,ignore_eof=1,ignore_sigterm=1");
    supervisor_free(b->sup);
    b->sup = NULL; /* teardown returns only when both are reaped */
}

/* ---- pauses ---- */

static void test_failures_are_forgiven_only_after_a_stable_period(void **state)
{
    struct bench *b = *state;
    b->lives = 4;
    start(b, "");
    wait_until(b, has_survived); /* those before were ready too, but not for long */
    for (unsigned n = 1; n <= 4; n++)
        assert_int_equal(b->streaks[n], n - 1);
    stop(b);
    supervisor_free(b->sup);

    b->ready = b->stopped = 0;
    b->lives = 2;
    b->options.stable_ms = 20;
    start(b, "");
    wait_until(b, has_survived);
    assert_int_equal(b->streaks[2], 1);
    wait_until(b, is_forgiven);
    assert_true(status_of(b).uptime_ms >= 20);
    assert_int_equal(status_of(b).restarts, 1); /* that is history, and stays */
    stop(b);
}

static void test_the_pause_doubles_up_to_its_maximum(void **state)
{
    (void)state;
    static const uint64_t wanted[] = { 250, 250, 500, 1000, 2000, 4000, 5000, 5000 };
    for (unsigned streak = 0; streak < COUNT_OF(wanted); streak++)
        assert_int_equal(supervisor_backoff_ms(streak, 250, 5000), wanted[streak]);
    assert_int_equal(supervisor_backoff_ms(UINT32_MAX, 250, 5000), 5000);
    assert_int_equal(supervisor_backoff_ms(UINT32_MAX, 1, 3600000), 3600000);
    assert_int_equal(supervisor_backoff_ms(1, 1, 1), 1);
    assert_int_equal(supervisor_backoff_ms(1, 700, 300), 300);
    assert_int_equal(supervisor_backoff_ms(9, 300, 300), 300);
}

/* One of a thousand supervisors whose start always fails. */
struct unlucky {
    struct supervisor *sup;
    struct deadlines *deadlines;
    unsigned failures;
    uint64_t not_before_ms;
    unsigned *waiting; /* those that have not failed often enough */
    uint64_t *least_ms;
    uint64_t *most_ms;
};

#define FAILURES_WANTED 6
#define PAUSE_INITIAL_MS 4
#define PAUSE_MAX_MS 32

static void prepare_in_vain(void *ctx)
{
    struct unlucky *u = ctx;
    assert_true(deadlines_now_ms(u->deadlines) >= u->not_before_ms);
    supervisor_prepared(u->sup, false);
    struct supervisor_status status;
    supervisor_status(u->sup, &status);
    u->failures++;
    assert_int_equal(status.state,
                     u->failures < SUP_CRASHLOOP_STARTS ? SUP_BACKOFF : SUP_CRASHLOOP);
    assert_int_equal(status.restart_streak, u->failures);
    uint64_t pause_ms = status.backoff_remaining_ms;
    uint64_t longest_ms = supervisor_backoff_ms(u->failures, PAUSE_INITIAL_MS, PAUSE_MAX_MS);
    assert_in_range(pause_ms, longest_ms / 2, longest_ms);
    u->not_before_ms = deadlines_now_ms(u->deadlines) + pause_ms;
    if (longest_ms == PAUSE_MAX_MS) {
        *u->least_ms = pause_ms < *u->least_ms ? pause_ms : *u->least_ms;
        *u->most_ms = pause_ms > *u->most_ms ? pause_ms : *u->most_ms;
    }
    *u->waiting -= u->failures == FAILURES_WANTED;
}

static bool is_zero(const void *ctx)
{
    return *(const unsigned *)ctx == 0;
}

static void ignore_stop(void *ctx)
{
    (void)ctx;
}

static const struct supervisor_hooks vain_hooks = { .prepare = prepare_in_vain,
                                                    .on_stopped = ignore_stop };

static void test_a_thousand_rows_of_failures_pause_inside_the_band(void **state)
{
    enum { MANY = 1000 };
    struct bench *b = *state;
    const struct supervisor_options options = { .incarnation.handshake_timeout_ms = 60000,
                                                .backoff_initial_ms = PAUSE_INITIAL_MS,
                                                .backoff_max_ms = PAUSE_MAX_MS };
    struct unlucky *all = calloc(MANY, sizeof(*all));
    unsigned waiting = MANY;
    uint64_t least_ms = UINT64_MAX;
    uint64_t most_ms = 0;
    for (size_t i = 0; i < MANY; i++) {
        all[i] = (struct unlucky){ .deadlines = b->loop.deadlines,
                                   .waiting = &waiting,
                                   .least_ms = &least_ms,
                                   .most_ms = &most_ms };
        all[i].sup = supervisor_new(&b->loop.uv, b->loop.deadlines, &options, &vain_hooks, &all[i]);
        supervisor_start(all[i].sup);
    }
    loop_until(&b->loop, is_zero, &waiting);
    for (size_t i = 0; i < MANY; i++)
        supervisor_free(all[i].sup);
    /* 3,000 draws among 17 values: that one of the ends was never drawn has a chance of 1e-78. */
    assert_int_equal(least_ms, PAUSE_MAX_MS / 2);
    assert_int_equal(most_ms, PAUSE_MAX_MS);
    free(all);
}

static void test_every_state_has_a_name(void **state)
{
    (void)state;
    assert_string_equal(sup_state_name(SUP_STOPPED), "stopped");
    assert_string_equal(sup_state_name(SUP_PREPARING), "preparing");
    assert_string_equal(sup_state_name(SUP_STARTING), "starting");
    assert_string_equal(sup_state_name(SUP_READY), "ready");
    assert_string_equal(sup_state_name(SUP_RECYCLING), "recycling");
    assert_string_equal(sup_state_name(SUP_STOPPING), "stopping");
    assert_string_equal(sup_state_name(SUP_BACKOFF), "backoff");
    assert_string_equal(sup_state_name(SUP_CRASHLOOP), "crashloop");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BENCH_TEST(test_a_worker_is_started_greeted_and_stopped),
        BENCH_TEST(test_a_stopped_worker_can_be_started_again),
        BENCH_TEST(test_a_worker_that_is_killed_is_replaced),
        BENCH_TEST(test_a_pause_is_told_while_it_lasts),
        BENCH_TEST(test_ids_of_calls_are_never_used_again),
        BENCH_TEST(test_an_exit_code_is_kept),
        BENCH_TEST(test_a_worker_that_ends_before_the_handshake_is_tried_again),
        BENCH_TEST(test_a_worker_without_a_handshake_is_killed_and_replaced),
        BENCH_TEST(test_a_refused_handshake_is_a_failure),
        BENCH_TEST(test_noise_does_not_disturb_the_handshake),
        BENCH_TEST(test_a_greeting_that_fails_is_a_failure),
        BENCH_TEST(test_a_worker_that_closes_its_output_is_replaced),
        BENCH_TEST(test_a_worker_that_floods_a_line_is_replaced),
        BENCH_TEST(test_a_worker_whose_child_holds_stdout_is_replaced),
        BENCH_TEST(test_a_file_that_is_not_there_is_tried_again_and_again),
        BENCH_TEST(test_what_a_worker_says_before_it_fails_to_start_is_logged),
        BENCH_TEST(test_what_a_worker_says_after_the_handshake_is_never_logged),
        BENCH_TEST(test_a_preparation_that_fails_is_tried_again),
        BENCH_TEST(test_a_preparation_that_takes_too_long_is_cancelled),
        BENCH_TEST(test_a_preparation_may_come_later),
        BENCH_TEST(test_stopping_works_in_every_state_and_is_told_once),
        BENCH_TEST(test_stopping_twice_is_told_once),
        BENCH_TEST(test_a_start_while_it_stops_is_a_restart),
        BENCH_TEST(test_a_worker_that_ignores_the_end_of_input_gets_sigterm),
        BENCH_TEST(test_a_worker_that_ignores_sigterm_as_well_is_killed),
        BENCH_TEST(test_a_worker_that_dies_while_it_stops_is_stopped),
        BENCH_TEST(test_the_supervisor_may_be_freed_when_it_has_stopped),
        BENCH_TEST(test_freeing_kills_at_once_whatever_the_worker_ignores),
        BENCH_TEST(test_failures_are_forgiven_only_after_a_stable_period),
        cmocka_unit_test(test_the_pause_doubles_up_to_its_maximum),
        BENCH_TEST(test_a_thousand_rows_of_failures_pause_inside_the_band),
        cmocka_unit_test(test_every_state_has_a_name),
    };
    json_setup();
    log_set_level(LOG_SILENCE);
    signal(SIGPIPE, SIG_IGN);
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
