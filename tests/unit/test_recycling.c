/* Recycling, on the real fake worker: a fresh one is ready before the old one goes, and no turn is lost by it. */
#include "folder.h"
#include "supervisor_bench.h"

static bool is_alone(const void *ctx)
{
    struct supervisor_status status = status_of(ctx);
    return status.state == SUP_READY && status.retired == 0;
}

static bool is_greeting(const void *ctx)
{
    const struct bench *b = ctx;
    return b->rpc != NULL;
}

static bool is_preparing(const void *ctx)
{
    return status_of(ctx).state == SUP_PREPARING;
}

static bool is_starting(const void *ctx)
{
    return status_of(ctx).state == SUP_STARTING;
}

static bool knows_rss(const void *ctx)
{
    return status_of(ctx).rss_bytes != 0;
}

/* Ready, with the faults of the successors set. */
static void start_good(struct bench *b)
{
    start(b, "");
    wait_until(b, is_ready);
}

static void set_options(struct bench *b)
{
    supervisor_set_options(b->sup, &b->options);
}

/* The ready worker answers. */
static void assert_works(struct bench *b)
{
    struct talk talk = { 0 };
    talk_begin(b, &talk, "are you there");
    talk_finish(&talk, "are you there");
}

/* ---- one that goes well ---- */

static void test_a_fresh_worker_is_ready_before_the_old_one_goes(void **state)
{
    struct bench *b = *state;
    start_good(b);
    supervisor_recycle(b->sup, "test");
    assert_int_equal(status_of(b).state, SUP_RECYCLING);
    assert_int_equal(status_of(b).pid, b->first_pid);
    assert_works(b); /* meanwhile the old one does */
    wait_for_ready(b, 2);
    struct supervisor_status status = status_of(b);
    assert_int_not_equal(status.pid, b->first_pid);
    assert_int_equal(status.recycles, 1);
    assert_int_equal(status.restarts, 1);
    assert_int_equal(status.restart_streak, 0); /* nothing has failed */
    assert_null(status.last_reason);
    assert_works(b);
    wait_until(b, is_alone);
    assert_true(is_gone(b->first_pid));
    const struct death *death = supervisor_death(b->sup, 0);
    assert_string_equal(death->reason, "retired");
    assert_int_equal(death->pid, b->first_pid);
    assert_int_equal(death->incarnation, 1);
    assert_int_equal(death->exit_code, 0); /* politely */
    assert_int_equal(death->turns, 1);
    assert_null(supervisor_death(b->sup, 1));
    stop(b);
    assert_string_equal(buf_str(&b->story), "pgrpgyrls"); /* never down on the way */
}

static void test_turns_of_the_old_worker_come_to_their_end(void **state)
{
    struct bench *b = *state;
    struct talk old = { 0 };
    start(b, "pause=delta"); /* so that the turn lasts as long as it must */
    wait_until(b, is_ready);
    set_faults(b, "");
    talk_begin(b, &old, "fake:{\"deltas\":3}");
    talk_wait(&old, talk_has_text);
    wait_for_pause(b->first_pid);
    supervisor_recycle(b->sup, "test");
    wait_for_ready(b, 2);
    loop_pass(&b->loop, BENCH_DRAIN_MS);
    assert_int_equal(status_of(b).retired, 1);
    assert_int_equal(supervisor_active(b->sup), 1); /* of an old one counts, too */
    assert_works(b);
    assert_int_equal(old.ends, 0);
    assert_int_equal(kill(b->first_pid, 0), 0);
    assert_int_equal(kill(b->first_pid, SIGCONT), 0);
    talk_finish(&old, "w0 w1 w2 ");
    wait_until(b, is_alone);
    assert_int_equal(supervisor_active(b->sup), 0);
    stop(b);
}

static void test_turns_that_are_begun_all_along_are_all_answered(void **state)
{
    enum { ROUNDS = 10 };
    struct bench *b = *state;
    struct talk talks[2 * ROUNDS] = { { 0 } };
    start_good(b);
    for (unsigned i = 0; i < ROUNDS; i++) {
        talk_begin(b, &talks[2 * i], "fake:{\"deltas\":2,\"gap_ms\":20}");
        supervisor_recycle(b->sup, "test");
        talk_begin(b, &talks[2 * i + 1], "fake:{\"deltas\":2,\"gap_ms\":5}");
        wait_for_ready(b, i + 2);
        if (i % 2 != 0)
            wait_until(b, is_alone);
    }
    for (unsigned i = 0; i < 2 * ROUNDS; i++)
        talk_finish(&talks[i], "w0 w1 ");
    stop(b);
    assert_int_equal(count_of(b, 'l'), 1); /* by the stop */
    assert_int_equal(count_of(b, 'y'), ROUNDS);
}

/* ---- successors that come to nothing ---- */

static bool was_recycled_in_vain(const void *ctx)
{
    const struct bench *b = ctx;
    return status_of(b).state == SUP_READY && memchr(b->story.data, 'n', b->story.len) != NULL;
}

/* The old one has not noticed anything. */
static void assert_nothing_happened(struct bench *b)
{
    struct supervisor_status status = status_of(b);
    assert_int_equal(status.state, SUP_READY);
    assert_int_equal(status.pid, b->first_pid);
    assert_int_equal(status.recycles, 0);
    assert_int_equal(status.restart_streak, 0);
    assert_false(status.crashloop);
    assert_int_equal(count_of(b, 'l'), 0);
    assert_int_equal(count_of(b, 'r'), 1);
    assert_int_equal(count_of(b, 'n'), 1);
    assert_null(b->rpc);
    assert_works(b);
    wait_until(b, is_alone);
    buf_clear(&b->story);
    bench_note(b, 'r');
}

static void test_a_successor_that_fails_leaves_the_old_one_as_it_was(void **state)
{
    static const char *const faults[] = {
        "exit=start",     "exit=initialized", "crash=initialize", "handshake=error",
        "handshake=none", "mute=initialized", "hang=start",
    };
    struct bench *b = *state;
    start_good(b);
    b->options.incarnation.handshake_timeout_ms = 300;
    set_options(b);
    for (size_t i = 0; i < COUNT_OF(faults); i++) {
        set_faults(b, faults[i]);
        supervisor_recycle(b->sup, "test");
        wait_until(b, was_recycled_in_vain);
        assert_nothing_happened(b);
    }
    assert_int_equal(status_of(b).restarts, COUNT_OF(faults));
    stop(b);
}

static void test_a_successor_that_cannot_be_spawned_leaves_the_old_one_as_it_was(void **state)
{
    struct bench *b = *state;
    start_good(b);
    b->options.incarnation.file = "/no/such/codex";
    set_options(b);
    supervisor_recycle(b->sup, "test");
    wait_until(b, was_recycled_in_vain);
    assert_nothing_happened(b);
    assert_string_equal(supervisor_death(b->sup, 0)->reason, "spawn_failed");
    stop(b);
}

static void test_a_successor_whose_greeting_fails_leaves_the_old_one_as_it_was(void **state)
{
    struct bench *b = *state;
    start_good(b);
    b->fails_greeting = true;
    supervisor_recycle(b->sup, "test");
    wait_until(b, was_recycled_in_vain);
    assert_nothing_happened(b);
    assert_string_equal(supervisor_death(b->sup, 0)->reason, "greeting_failed");
    stop(b);
}

static void test_a_preparation_that_fails_leaves_the_old_one_as_it_was(void **state)
{
    struct bench *b = *state;
    start_good(b);
    b->fails_prepare = true;
    supervisor_recycle(b->sup, "test");
    wait_until(b, was_recycled_in_vain);
    assert_nothing_happened(b);
    b->fails_prepare = false;
    b->holds_prepare = true;
    b->options.incarnation.handshake_timeout_ms = 5;
    set_options(b);
    supervisor_recycle(b->sup, "test");
    wait_until(b, was_recycled_in_vain);
    assert_int_equal(count_of(b, 'c'), 1); /* it took too long */
    assert_nothing_happened(b);
    stop(b);
}

static void test_after_a_failed_recycling_the_next_one_can_succeed(void **state)
{
    struct bench *b = *state;
    start_good(b);
    set_faults(b, "exit=start");
    supervisor_recycle(b->sup, "test");
    wait_until(b, was_recycled_in_vain);
    set_faults(b, "");
    supervisor_recycle(b->sup, "test");
    wait_for_ready(b, 2);
    assert_int_equal(status_of(b).recycles, 1);
    stop(b);
}

/* ---- the old one dies first ---- */

static void test_a_successor_under_way_takes_over_from_one_that_dies(void **state)
{
    struct bench *b = *state;
    start_good(b);
    b->holds_greeting = true;
    supervisor_recycle(b->sup, "test");
    wait_until(b, is_greeting);
    assert_int_equal(kill(b->first_pid, SIGKILL), 0);
    wait_until(b, is_starting);
    assert_null(supervisor_turns(b->sup));
    assert_int_equal(status_of(b).restart_streak, 1);
    bench_ask(b);
    wait_for_ready(b, 2);
    struct supervisor_status status = status_of(b);
    assert_int_equal(status.restarts, 1); /* no third one was started */
    assert_int_equal(status.recycles, 0); /* the change was not a smooth one */
    assert_non_null(status.last_reason);
    assert_works(b);
    stop(b);
    assert_string_equal(buf_str(&b->story), "pgrpglrls");
}

static void test_one_that_dies_before_its_successor_is_prepared_is_restarted_at_once(void **state)
{
    struct bench *b = *state;
    start_good(b);
    b->holds_prepare = true;
    supervisor_recycle(b->sup, "test");
    assert_int_equal(kill(b->first_pid, SIGKILL), 0);
    wait_until(b, is_preparing);
    supervisor_prepared(b->sup, true);
    wait_for_ready(b, 2);
    assert_int_equal(status_of(b).restarts, 1);
    stop(b);
    assert_string_equal(buf_str(&b->story), "pgrpclpgrls");
}

static void test_a_promoted_successor_that_fails_is_a_failed_start(void **state)
{
    struct bench *b = *state;
    start_good(b);
    b->holds_greeting = true;
    supervisor_recycle(b->sup, "test");
    wait_until(b, is_greeting);
    assert_int_equal(kill(b->first_pid, SIGKILL), 0);
    wait_until(b, is_starting);
    b->holds_greeting = false;
    assert_int_equal(kill(status_of(b).pid, SIGKILL), 0);
    wait_for_ready(b, 2);
    assert_int_equal(status_of(b).restart_streak, 2);
    assert_int_equal(status_of(b).restarts, 2);
    assert_works(b);
    stop(b);
    assert_string_equal(buf_str(&b->story), "pgrpglxnpgrls"); /* in vain, and told once */
}

/* Two deaths of ready ones, and a failed start after each. */
static bool has_failed_four_times(const void *ctx)
{
    return status_of(ctx).restart_streak >= 4;
}

static void test_a_promoted_preparation_that_fails_was_in_vain(void **state)
{
    struct bench *b = *state;
    start_good(b);
    b->holds_prepare = true;
    supervisor_recycle(b->sup, "test");
    assert_int_equal(kill(b->first_pid, SIGKILL), 0);
    wait_until(b, is_preparing);
    b->holds_prepare = false;
    supervisor_prepared(b->sup, false);
    wait_for_ready(b, 2);
    b->fails_prepare = true; /* of a start that is none of a recycling nothing is told */
    assert_int_equal(kill(status_of(b).pid, SIGKILL), 0);
    wait_until(b, has_failed_four_times);
    b->fails_prepare = false;
    wait_for_ready(b, 3);
    assert_int_equal(count_of(b, 'n'), 1);
    stop(b);
}

/* ---- asked more than once, or at another time ---- */

static void test_asked_again_while_under_way_it_is_done_once_more(void **state)
{
    struct bench *b = *state;
    start_good(b);
    for (int i = 0; i < 5; i++)
        supervisor_recycle(b->sup, "test");
    wait_for_ready(b, 3);
    wait_until(b, is_alone);
    assert_int_equal(status_of(b).recycles, 2);
    stop(b);
    assert_int_equal(count_of(b, 'y'), 2);
}

static void test_asked_during_the_first_start_it_is_done_afterwards(void **state)
{
    struct bench *b = *state;
    start(b, "");
    assert_int_equal(status_of(b).state, SUP_STARTING);
    supervisor_recycle(b->sup, "test");
    assert_int_equal(status_of(b).state, SUP_STARTING);
    wait_for_ready(b, 2);
    assert_int_equal(status_of(b).recycles, 1);
    stop(b);
}

static void test_a_start_that_is_yet_to_come_is_fresh_enough(void **state)
{
    struct bench *b = *state;
    b->options.backoff_initial_ms = b->options.backoff_max_ms = 20;
    b->fails_prepare = true;
    start(b, "");
    assert_int_equal(status_of(b).state, SUP_BACKOFF);
    supervisor_recycle(b->sup, "test");
    assert_int_equal(status_of(b).state, SUP_BACKOFF);
    b->fails_prepare = false;
    wait_until(b, is_ready);
    assert_int_equal(status_of(b).restarts, 0);
    stop(b);
    b->stopped = 0;
    supervisor_recycle(b->sup, "test"); /* stopped: nothing is started by that */
    assert_int_equal(status_of(b).state, SUP_STOPPED);
    supervisor_start(b->sup);
    wait_until(b, is_ready);
    stop(b);
    assert_int_equal(count_of(b, 'y') + count_of(b, 'n'), 0);
}

/* ---- stopping ---- */

static void test_stopping_in_the_middle_stops_both(void **state)
{
    struct bench *b = *state;
    start_good(b);
    b->holds_prepare = true;
    supervisor_recycle(b->sup, "test");
    stop(b);
    assert_string_equal(buf_str(&b->story), "pgrpcls");
    buf_clear(&b->story);

    b->stopped = 0;
    b->holds_prepare = false;
    supervisor_start(b->sup);
    wait_until(b, is_ready);
    b->holds_greeting = true;
    supervisor_recycle(b->sup, "test");
    wait_until(b, is_greeting);
    stop(b);
    assert_string_equal(buf_str(&b->story), "pgrpgxls");
    assert_int_equal(supervisor_death(b->sup, 0)->exit_code, 0);
    assert_int_equal(supervisor_death(b->sup, 1)->exit_code, 0);
    assert_string_equal(supervisor_death(b->sup, 0)->reason, "stopped");
}

static void test_stopping_stops_old_ones_that_still_drain(void **state)
{
    struct bench *b = *state;
    start_good(b);
    struct talk talk = { 0 };
    talk_begin(b, &talk, "fake:{\"silent\":true}");
    supervisor_recycle(b->sup, "test");
    wait_for_ready(b, 2);
    assert_int_equal(status_of(b).retired, 1);
    stop(b);
    assert_int_equal(talk.ends, 1);
    assert_int_equal(talk.outcome, TURN_LOST);
    assert_true(is_gone(b->first_pid));
    assert_int_equal(status_of(b).retired, 0);
}

/* A successor that was told to stop may still be there when its place is wanted again. */
static void test_a_start_during_the_stop_of_a_recycling_finds_room(void **state)
{
    struct bench *b = *state;
    start_good(b);
    set_faults(b, "handshake=none,ignore_eof=1");
    supervisor_recycle(b->sup, "test");
    assert_int_equal(status_of(b).state, SUP_RECYCLING);
    supervisor_stop(b->sup);
    supervisor_start(b->sup);
    set_faults(b, "");
    wait_for_ready(b, 2);
    assert_int_equal(status_of(b).retired, 1); /* the one that ignores the end of its input */
    supervisor_recycle(b->sup, "test");
    wait_for_ready(b, 3);
    assert_works(b);
    assert_int_equal(b->stopped, 0);
}

static void test_freeing_in_the_middle_kills_all(void **state)
{
    struct bench *b = *state;
    start_good(b);
    struct talk talk = { 0 };
    talk_begin(b, &talk, "fake:{\"silent\":true}");
    supervisor_recycle(b->sup, "test");
    wait_for_ready(b, 2);
    b->holds_greeting = true;
    supervisor_recycle(b->sup, "test");
    wait_until(b, is_greeting);
    supervisor_free(b->sup);
    b->sup = NULL; /* teardown returns only when all three are reaped */
    assert_int_equal(talk.ends, 1);
    assert_int_equal(talk.outcome, TURN_LOST);
}

/* ---- how many ---- */

static void test_old_ones_that_do_not_end_hold_up_the_next_recycling(void **state)
{
    struct bench *b = *state;
    struct talk talks[SUP_RETIRED_MAX] = { { 0 } };
    size_t begun = 0;
    start_good(b);
    for (; begun < SUP_RETIRED_MAX; begun++) {
        talk_begin(b, &talks[begun], "fake:{\"silent\":true}");
        supervisor_recycle(b->sup, "test");
        if (status_of(b).state != SUP_RECYCLING)
            break; /* there is no room */
        wait_for_ready(b, (unsigned)begun + 2);
        assert_int_equal(status_of(b).retired, begun + 1);
    }
    assert_in_range(begun, 1, SUP_RETIRED_MAX - 1);
    unsigned ready = b->ready;
    assert_works(b); /* the last one goes on */
    assert_int_equal(b->ready, ready);
    turn_detach(talks[0].turn); /* the oldest comes to its end, and there is room */
    wait_for_ready(b, ready + 1);
    assert_int_equal(b->ready, ready + 1);
    assert_true(status_of(b).retired <= SUP_RETIRED_MAX);
    assert_works(b);
    stop(b);
}

/* ---- worn ones ---- */

/* With this the first start is another one than those to come. */
static char *number_starts(struct bench *b, struct folder *folder)
{
    folder_make(folder);
    char *path = folder_path(folder, "starts");
    set_env(b, "FAKE_WORKER_STATE", path);
    return path;
}

static void test_a_worker_that_grows_too_large_makes_way(void **state)
{
    struct bench *b = *state;
    struct folder folder;
    char *path = number_starts(b, &folder);
    b->options.incarnation.heartbeat_ms = 5;
    b->options.incarnation.heartbeat_timeout_ms = BENCH_LONG_MS;
    b->options.incarnation.rss_max_bytes = 100 * 1024 * 1024;
    start(b, "rss_mb=150,starts=1");
    wait_for_ready(b, 2);
    wait_until(b, is_alone);
    struct supervisor_status status = status_of(b);
    assert_int_equal(status.recycles, 1);
    wait_until(b, knows_rss); /* the new one has told its own */
    assert_true(status_of(b).rss_bytes < 100 * 1024 * 1024);
    assert_int_equal(status_of(b).recycles, 1);
    stop(b);
    free(path);
    folder_remove(&folder);
}

static bool was_recycled_in_vain_thrice(const void *ctx)
{
    struct bench *b = (struct bench *)(uintptr_t)ctx;
    return count_of(b, 'n') >= 3;
}

static void test_a_worn_worker_without_a_successor_is_tried_again_and_again(void **state)
{
    struct bench *b = *state;
    struct folder folder;
    char *path = number_starts(b, &folder);
    b->options.incarnation.heartbeat_ms = 5;
    b->options.incarnation.heartbeat_timeout_ms = BENCH_LONG_MS;
    b->options.incarnation.rss_max_bytes = 100 * 1024 * 1024;
    b->fails_successors = true;
    start(b, "rss_mb=150,starts=1");
    wait_until(b, was_recycled_in_vain_thrice);
    assert_int_equal(status_of(b).pid, b->first_pid);
    b->fails_successors = false;
    wait_for_ready(b, 2);
    stop(b);
    free(path);
    folder_remove(&folder);
}

static void test_a_worker_that_has_begun_enough_turns_makes_way(void **state)
{
    struct bench *b = *state;
    b->options.incarnation.heartbeat_ms = 5;
    b->options.incarnation.heartbeat_timeout_ms = BENCH_LONG_MS;
    b->options.incarnation.turns_max = 2;
    start_good(b);
    assert_works(b);
    wait_until(b, knows_rss); /* it was asked meanwhile, and is good for one more */
    assert_int_equal(status_of(b).pid, b->first_pid);
    assert_works(b);
    wait_for_ready(b, 2);
    wait_until(b, is_alone);
    assert_int_equal(supervisor_death(b->sup, 0)->turns, 2);
    stop(b);
    assert_int_equal(count_of(b, 'y'), 1);
}

static void test_without_limits_no_worker_is_ever_worn(void **state)
{
    struct bench *b = *state;
    b->options.incarnation.heartbeat_ms = 1;
    b->options.incarnation.heartbeat_timeout_ms = BENCH_LONG_MS;
    start(b, "rss_mb=150");
    wait_until(b, is_ready);
    for (int i = 0; i < 20; i++)
        assert_works(b);
    wait_until(b, knows_rss);
    assert_true(status_of(b).rss_bytes > 150 * 1024 * 1024);
    assert_int_equal(status_of(b).pid, b->first_pid);
    stop(b);
    assert_string_equal(buf_str(&b->story), "pgrls");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BENCH_TEST(test_a_fresh_worker_is_ready_before_the_old_one_goes),
        BENCH_TEST(test_turns_of_the_old_worker_come_to_their_end),
        BENCH_TEST(test_turns_that_are_begun_all_along_are_all_answered),
        BENCH_TEST(test_a_successor_that_fails_leaves_the_old_one_as_it_was),
        BENCH_TEST(test_a_successor_that_cannot_be_spawned_leaves_the_old_one_as_it_was),
        BENCH_TEST(test_a_successor_whose_greeting_fails_leaves_the_old_one_as_it_was),
        BENCH_TEST(test_a_preparation_that_fails_leaves_the_old_one_as_it_was),
        BENCH_TEST(test_after_a_failed_recycling_the_next_one_can_succeed),
        BENCH_TEST(test_a_successor_under_way_takes_over_from_one_that_dies),
        BENCH_TEST(test_one_that_dies_before_its_successor_is_prepared_is_restarted_at_once),
        BENCH_TEST(test_a_promoted_successor_that_fails_is_a_failed_start),
        BENCH_TEST(test_a_promoted_preparation_that_fails_was_in_vain),
        BENCH_TEST(test_asked_again_while_under_way_it_is_done_once_more),
        BENCH_TEST(test_asked_during_the_first_start_it_is_done_afterwards),
        BENCH_TEST(test_a_start_that_is_yet_to_come_is_fresh_enough),
        BENCH_TEST(test_stopping_in_the_middle_stops_both),
        BENCH_TEST(test_stopping_stops_old_ones_that_still_drain),
        BENCH_TEST(test_a_start_during_the_stop_of_a_recycling_finds_room),
        BENCH_TEST(test_freeing_in_the_middle_kills_all),
        BENCH_TEST(test_old_ones_that_do_not_end_hold_up_the_next_recycling),
        BENCH_TEST(test_a_worker_that_grows_too_large_makes_way),
        BENCH_TEST(test_a_worn_worker_without_a_successor_is_tried_again_and_again),
        BENCH_TEST(test_a_worker_that_has_begun_enough_turns_makes_way),
        BENCH_TEST(test_without_limits_no_worker_is_ever_worn),
    };
    json_setup();
    log_set_level(LOG_SILENCE);
    signal(SIGPIPE, SIG_IGN);
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
