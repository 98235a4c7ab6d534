/* One incarnation, on the real fake worker or one in sh: whether it lives is told by what it says, and what it was asked dies
 * with it. */
#include "folder.h"
#include "incarnation.h"
#include "supervisor_bench.h"

#define NUMBER 3
#define FIRST_ID (1 + (NUMBER - 1) * (INT64_C(1) << 32))

/* One incarnation and what its owner hears. */
struct life {
    struct loop loop;
    struct incarnation_options options;
    struct incarnation *inc; /* owned until ended */
    struct rpc *rpc;         /* borrowed, from greet to on_lost */
    char *argv[4];
    char *env[4];
    char faults[256];
    char journal_env[300];
    struct folder folder;
    char *journal;      /* owned: path */
    struct buf story;   /* owned: g(reet), l(ost), w(orn), e(nded) */
    struct talk *talk;  /* borrowed: must not have ended when the loss is told */
    bool keeps_waiting; /* never greeted */
    bool is_ready;
    bool ended;
    struct death death;
};

static void on_greet(void *ctx, struct incarnation *inc, struct rpc *rpc, const char *user_agent)
{
    struct life *l = ctx;
    buf_putc(&l->story, 'g');
    assert_non_null(strchr(user_agent, '/'));
    assert_null(incarnation_turns(inc));
    assert_null(l->rpc);
    l->rpc = rpc;
    if (l->keeps_waiting)
        return;
    incarnation_greeted(inc);
    assert_non_null(incarnation_turns(inc));
    l->is_ready = true;
}

static void on_lost(void *ctx, struct incarnation *inc)
{
    struct life *l = ctx;
    buf_putc(&l->story, 'l');
    assert_null(incarnation_turns(inc)); /* whoever loses a turn must not find it here again */
    assert_non_null(incarnation_reason(inc));
    assert_true(l->talk == NULL || l->talk->ends == 0);
    l->rpc = NULL;
}

static void on_worn(void *ctx, struct incarnation *inc, const char *why)
{
    struct life *l = ctx;
    buf_putc(&l->story, 'w');
    assert_non_null(why);
    assert_null(incarnation_reason(inc));
}

static void on_ended(void *ctx, struct incarnation *inc, const struct death *death)
{
    struct life *l = ctx;
    buf_putc(&l->story, 'e');
    assert_ptr_equal(inc, l->inc);
    l->inc = NULL;
    l->death = *death;
    l->ended = true;
}

static const struct incarnation_hooks hooks = { on_greet, on_lost, on_worn, on_ended };

static int setup(void **state)
{
    struct life *l = calloc(1, sizeof(*l));
    loop_begin(&l->loop);
    folder_make(&l->folder);
    l->journal = folder_path(&l->folder, "journal");
    l->argv[0] = getenv("FAKE_WORKER_BIN");
    l->argv[1] = "app-server";
    assert_non_null(l->argv[0]);
    snprintf(l->journal_env, sizeof(l->journal_env), "FAKE_WORKER_JOURNAL=%s", l->journal);
    l->env[0] = l->faults;
    l->env[1] = "ASAN_OPTIONS=detect_leaks=0";
    l->env[2] = l->journal_env;
    l->options = (struct incarnation_options){
        .file = l->argv[0],
        .argv = l->argv,
        .env = l->env,
        .handshake_timeout_ms = BENCH_LONG_MS,
        .heartbeat_timeout_ms = BENCH_LONG_MS,
        .stop_eof_ms = BENCH_LONG_MS,
        .stop_term_ms = BENCH_LONG_MS,
        .turns = { .rpc_timeout_ms = BENCH_LONG_MS,
                   .turn_timeout_ms = BENCH_LONG_MS,
                   .first_event_timeout_ms = BENCH_LONG_MS,
                   .silence_timeout_ms = BENCH_LONG_MS,
                   .idle_ttl_ms = BENCH_LONG_MS,
                   .idle_max = 8 },
    };
    *state = l;
    return 0;
}

static int teardown(void **state)
{
    struct life *l = *state;
    incarnation_free(l->inc);
    loop_end(&l->loop);
    folder_remove(&l->folder);
    free(l->journal);
    buf_free(&l->story);
    free(l);
    return 0;
}

static void spawn(struct life *l, const char *faults)
{
    snprintf(l->faults, sizeof(l->faults), "FAKE_WORKER=%s", faults);
    l->inc = incarnation_spawn(&l->loop.uv, l->loop.deadlines, NUMBER, &l->options, &hooks, l);
    assert_non_null(l->inc);
}

static void spawn_ready(struct life *l, const char *faults)
{
    spawn(l, faults);
    loop_until_true(&l->loop, &l->is_ready);
}

/* A worker that is this script, once it has shaken hands. */
static void spawn_script(struct life *l, const char *script)
{
    char *text = NULL;
    assert_true(
        asprintf(&text,
                 "read -r line; echo '{\"id\":%lld,\"result\":{\"userAgent\":\"codex/1\"}}'; "
                 "read -r line; %s",
                 (long long)FIRST_ID, script) > 0);
    l->env[0] = "PATH=/usr/local/bin:/usr/bin:/bin";
    l->env[1] = NULL;
    l->argv[0] = "sh";
    l->argv[1] = "-c";
    l->argv[2] = text;
    l->options.file = "/bin/sh";
    l->inc = incarnation_spawn(&l->loop.uv, l->loop.deadlines, NUMBER, &l->options, &hooks, l);
    assert_non_null(l->inc);
    free(text);
    loop_until_true(&l->loop, &l->is_ready);
}

static void wait_for_end(struct life *l)
{
    loop_until_true(&l->loop, &l->ended);
}

static void talk_in(struct life *l, struct talk *talk, const char *say)
{
    talk_begin_on(incarnation_turns(l->inc), talk, say);
}

static void wait_for_talk(struct life *l, struct talk *talk, bool (*done)(const void *ctx))
{
    loop_until(&l->loop, done, talk);
}

/* How many calls of that method the worker has read. */
static unsigned calls_of(const struct life *l, const char *method)
{
    FILE *file = fopen(l->journal, "re");
    char *line = NULL;
    size_t size = 0;
    ssize_t len = 0;
    unsigned count = 0;
    assert_non_null(file);
    while ((len = getline(&line, &size, file)) > 0) {
        json_t *entry = json_parse(line, (size_t)len, NULL);
        const char *name = json_str_at(entry, "in.method");
        count += name != NULL && strcmp(name, method) == 0;
        json_decref(entry);
    }
    free(line);
    fclose(file);
    return count;
}

/* ---- heartbeats ---- */

static void test_a_worker_that_does_not_move_any_more_is_lost(void **state)
{
    struct life *l = *state;
    l->options.heartbeat_ms = 5;
    l->options.heartbeat_timeout_ms = 100;
    spawn_ready(l, "");
    struct talk talk = { 0 };
    l->talk = &talk;
    talk_in(l, &talk, "fake:{\"silent\":true}");
    assert_int_equal(kill(incarnation_pid(l->inc), SIGSTOP), 0);
    wait_for_end(l);
    assert_string_equal(l->death.reason, "heartbeat_timeout");
    assert_int_equal(l->death.signal, SIGKILL);
    assert_int_equal(l->death.exit_code, -1);
    assert_int_equal(l->death.turns, 1);
    assert_true(l->death.uptime_ms >= 200); /* two were missed, not one */
    assert_int_equal(talk.ends, 1);
    assert_int_equal(talk.outcome, TURN_LOST);
    assert_string_equal(buf_str(&l->story), "gle");
}

/* The next one begins with nothing heard. */
static void begin_anew(struct life *l)
{
    l->is_ready = l->ended = false;
    l->rpc = NULL;
    buf_clear(&l->story);
}

#define TIMEOUT_FIRST_MS 100
#define TIMEOUT_LAST_MS 10000

/* The worker that is this script is kept until it ends by itself, after so many timeouts at least. One that the machine lets
 * stand still for two timeouts is lost with good reason: then they are to be longer. */
static void expect_kept(struct life *l, const char *script, uint64_t timeouts)
{
    for (uint64_t timeout_ms = TIMEOUT_FIRST_MS;; timeout_ms *= 4) {
        assert_true(timeout_ms <= TIMEOUT_LAST_MS);
        l->options.heartbeat_timeout_ms = timeout_ms;
        begin_anew(l);
        spawn_script(l, script);
        wait_for_end(l);
        if (l->death.exit_code == 42) {
            assert_true(l->death.uptime_ms >= timeouts * timeout_ms);
            return;
        }
        assert_string_equal(l->death.reason, "heartbeat_timeout");
    }
}

/* It ends by itself when it was asked for the fourth time. */
static void test_a_worker_that_is_slow_to_answer_but_says_something_is_kept(void **state)
{
    struct life *l = *state;
    l->options.heartbeat_ms = 5;
    expect_kept(l,
                "while :; do echo '{\"method\":\"busy\"}'; sleep 0.01; done & "
                "for i in 1 2 3 4; do read -r line; done; exit 42",
                3);
}

static void test_one_late_answer_is_forgiven(void **state)
{
    struct life *l = *state;
    l->options.heartbeat_ms = 5;
    /* Something is said after every second question; none is answered. */
    expect_kept(l,
                "for i in 1 2 3; do read -r line; read -r line; "
                "echo '{\"method\":\"still here\"}'; done; read -r line; exit 42",
                6);
}

static void test_an_error_is_an_answer_to_a_heartbeat(void **state)
{
    struct life *l = *state;
    l->options.heartbeat_ms = 1;
    l->options.heartbeat_timeout_ms = BENCH_LONG_MS;
    spawn_script(l, "for i in 1 2 3 4 5 6 7 8 9; do read -r line; id=${line#*:}; "
                    "echo \"{\\\"id\\\":${id%%,*},\\\"error\\\":{\\\"code\\\":-32601}}\"; done; "
                    "read -r line; exit 42");
    wait_for_end(l);
    assert_int_equal(l->death.exit_code, 42);
    assert_true(l->death.uptime_ms < BENCH_LONG_MS); /* none was waited for in vain */
}

static bool has_answered(const void *ctx)
{
    return incarnation_rss_bytes(ctx) != 0;
}

static void test_without_heartbeats_none_is_sent(void **state)
{
    struct life *l = *state;
    for (uint64_t heartbeat_ms = 0; heartbeat_ms < 2; heartbeat_ms++) {
        struct talk talk = { 0 };
        l->options.heartbeat_ms = heartbeat_ms;
        begin_anew(l);
        spawn_ready(l, "");
        talk_in(l, &talk, "fake:{\"deltas\":3,\"gap_ms\":50}");
        wait_for_talk(l, &talk, talk_has_ended);
        buf_free(&talk.text);
        if (heartbeat_ms != 0)
            loop_until(&l->loop, has_answered, l->inc);
        assert_int_equal(incarnation_rss_bytes(l->inc) != 0, heartbeat_ms != 0);
        assert_int_equal(incarnation_rpc_latency_ms(l->inc) >= 0, heartbeat_ms != 0);
        incarnation_stop(l->inc, "test");
        wait_for_end(l);
        assert_int_equal(calls_of(l, "server/diagnostics") != 0, heartbeat_ms != 0);
    }
}

static struct life *turned; /* by keep_turning */

/* Time alone wakes no loop. */
static void on_turn(struct deadline *d)
{
    deadline_set(turned->loop.deadlines, d, 5, on_turn);
}

static void keep_turning(struct life *l, struct deadline *tick)
{
    turned = l;
    on_turn(tick);
}

static bool is_slow(const void *ctx)
{
    return incarnation_rpc_latency_ms(ctx) > 200;
}

static bool is_quick(const void *ctx)
{
    return !is_slow(ctx);
}

static void test_the_time_of_a_heartbeat_is_told_and_grows_while_none_is_answered(void **state)
{
    struct life *l = *state;
    l->options.heartbeat_ms = 5;
    spawn_ready(l, "");
    loop_until(&l->loop, has_answered, l->inc);
    assert_int_equal(kill(incarnation_pid(l->inc), SIGSTOP), 0);
    struct deadline tick = { .fire = NULL };
    keep_turning(l, &tick);
    loop_until(&l->loop, is_slow, l->inc);
    assert_int_equal(kill(incarnation_pid(l->inc), SIGCONT), 0);
    loop_until(&l->loop, is_quick, l->inc);
    deadline_clear(l->loop.deadlines, &tick);
}

/* Says as much as there is room for. */
static void say_often(struct life *l, size_t characters)
{
    struct buf text = BUF_INIT;
    for (size_t i = 0; i < characters; i++)
        buf_puts(&text, "\xf0\x9f\x98\x80"); /* it is characters that cost time, not bytes */
    json_t *id = json_null();
    json_t *result = json_stringn_nocheck(text.data, text.len);
    size_t before = 0;
    do {
        before = incarnation_input_queue(l->inc);
        rpc_answer(l->rpc, id, json_incref(result));
    } while (incarnation_input_queue(l->inc) != before);
    json_decref(result);
    buf_free(&text);
}

/* Not even a heartbeat finds room any more. */
static void fill_input(struct life *l)
{
    say_often(l, 1 << 18);
    say_often(l, 1 << 8);
    say_often(l, 1);
    assert_true(incarnation_input_queue(l->inc) > 63 << 20);
}

static uint64_t now_ms(struct life *l)
{
    uv_update_time(&l->loop.uv);
    return deadlines_now_ms(l->loop.deadlines);
}

/* Its input is full; as soon as that is so it says something for five timeouts, and then nothing more. Returns for how long it
 * was kept. */
static uint64_t life_without_questions(struct life *l, uint64_t timeout_ms)
{
    char *go = folder_path(&l->folder, "go");
    char *script = NULL;
    assert_true(asprintf(&script,
                         "until [ -e '%s' ]; do sleep 0.01; done; for i in $(seq %d); do "
                         "echo '{\"method\":\"busy\"}'; sleep 0.01; done; exec sleep 600",
                         go, (int)(5 * timeout_ms / 10)) > 0);
    l->options.heartbeat_timeout_ms = timeout_ms;
    begin_anew(l);
    spawn_script(l, script);
    fill_input(l);
    folder_put(&l->folder, "go", LITERAL(""));
    uint64_t begun_ms = now_ms(l);
    wait_for_end(l);
    uint64_t lived_ms = now_ms(l) - begun_ms;
    assert_string_equal(l->death.reason, "heartbeat_timeout");
    assert_int_equal(unlink(go), 0);
    free(script);
    free(go);
    return lived_ms;
}

/* See expect_kept for what a slow machine may do. */
static void
test_a_worker_that_cannot_even_be_asked_is_kept_as_long_as_it_says_something(void **state)
{
    struct life *l = *state;
    uint64_t timeout_ms = TIMEOUT_FIRST_MS;
    l->options.heartbeat_ms = 5;
    for (;; timeout_ms *= 4) {
        assert_true(timeout_ms <= TIMEOUT_LAST_MS);
        uint64_t lived_ms = life_without_questions(l, timeout_ms);
        assert_true(lived_ms >= 2 * timeout_ms);
        if (lived_ms >= 5 * timeout_ms)
            break;
    }
}

/* ---- the handshake ---- */

static void test_who_is_never_greeted_is_lost_at_the_deadline(void **state)
{
    struct life *l = *state;
    l->keeps_waiting = true;
    /* Longer and longer, until a slow machine gets as far as to the greeting. */
    for (uint64_t timeout_ms = 100; strchr(buf_str(&l->story), 'g') == NULL; timeout_ms *= 2) {
        assert_true(timeout_ms <= 60000);
        l->options.handshake_timeout_ms = timeout_ms;
        begin_anew(l);
        spawn(l, "");
        wait_for_end(l);
        assert_string_equal(l->death.reason, "handshake_timeout");
        assert_int_equal(l->death.uptime_ms, 0);
        assert_int_equal(l->death.turns, 0);
    }
    assert_string_equal(buf_str(&l->story), "gle");
}

static void test_a_worker_that_cannot_be_spawned_is_none(void **state)
{
    struct life *l = *state;
    l->options.file = "/no/such/codex";
    assert_null(incarnation_spawn(&l->loop.uv, l->loop.deadlines, NUMBER, &l->options, &hooks, l));
    assert_int_equal(l->story.len, 0);
    incarnation_free(NULL);
}

/* ---- ways out ---- */

static void test_a_retired_worker_gives_back_the_threads_that_it_kept(void **state)
{
    struct life *l = *state;
    struct talk talk = { .keeps = true };
    spawn_ready(l, "");
    talk_in(l, &talk, "hello");
    wait_for_talk(l, &talk, talk_has_ended);
    buf_free(&talk.text);
    assert_int_equal(turns_count(incarnation_turns(l->inc)), 1);
    assert_int_equal(incarnation_active(l->inc), 0);
    incarnation_retire(l->inc);
    assert_null(incarnation_turns(l->inc));
    assert_null(incarnation_reason(l->inc));
    wait_for_end(l);
    assert_int_equal(calls_of(l, "thread/unsubscribe"), 1);
    assert_string_equal(l->death.reason, "retired");
    assert_int_equal(l->death.exit_code, 0);
    assert_string_equal(buf_str(&l->story), "ge"); /* no loss */
}

static void test_a_retired_worker_finishes_its_turns_and_keeps_none(void **state)
{
    struct life *l = *state;
    struct talk talk = { .keeps = true };
    spawn_ready(l, "pause=delta");
    talk_in(l, &talk, "fake:{\"deltas\":3}");
    wait_for_talk(l, &talk, talk_has_text);
    wait_for_pause(incarnation_pid(l->inc));
    incarnation_retire(l->inc);
    loop_pass(&l->loop, BENCH_DRAIN_MS);
    assert_int_equal(incarnation_active(l->inc), 1);
    assert_int_equal(kill(incarnation_pid(l->inc), SIGCONT), 0);
    wait_for_end(l);
    assert_int_equal(talk.ends, 1);
    assert_int_equal(talk.outcome, TURN_COMPLETED);
    assert_string_equal(buf_str(&talk.text), "w0 w1 w2 ");
    buf_free(&talk.text);
    assert_int_equal(calls_of(l, "thread/unsubscribe"), 1);
    assert_int_equal(l->death.exit_code, 0);
}

static void test_a_retired_worker_that_dies_loses_its_turns_but_is_no_loss(void **state)
{
    struct life *l = *state;
    struct talk talk = { 0 };
    spawn_ready(l, "");
    talk_in(l, &talk, "fake:{\"silent\":true}");
    incarnation_retire(l->inc);
    assert_int_equal(kill(incarnation_pid(l->inc), SIGKILL), 0);
    wait_for_end(l);
    assert_int_equal(talk.ends, 1);
    assert_int_equal(talk.outcome, TURN_LOST);
    assert_string_equal(buf_str(&l->story), "ge");
    assert_int_equal(l->death.signal, SIGKILL);
}

static void test_one_that_is_retired_before_it_is_ready_is_stopped(void **state)
{
    struct life *l = *state;
    spawn(l, "handshake=none");
    incarnation_retire(l->inc);
    wait_for_end(l);
    assert_string_equal(l->death.reason, "retired");
    assert_int_equal(l->death.exit_code, 0);
    assert_string_equal(buf_str(&l->story), "e");
}

static void test_stopping_loses_turns_at_once_and_is_no_loss(void **state)
{
    struct life *l = *state;
    struct talk talk = { 0 };
    spawn_ready(l, "");
    talk_in(l, &talk, "fake:{\"silent\":true}");
    incarnation_stop(l->inc, "test");
    assert_int_equal(talk.ends, 1);
    assert_int_equal(talk.outcome, TURN_LOST);
    assert_null(incarnation_turns(l->inc));
    incarnation_stop(l->inc, "again");
    incarnation_retire(l->inc);
    incarnation_kill(l->inc, "too late");
    wait_for_end(l);
    assert_string_equal(l->death.reason, "test");
    assert_int_equal(l->death.exit_code, 0);
    assert_string_equal(buf_str(&l->story), "ge");
}

static void test_what_a_lost_worker_still_says_reaches_nobody(void **state)
{
    struct life *l = *state;
    struct talk talk = { 0 };
    l->talk = &talk;
    spawn_ready(l, "ignore_eof=1,ignore_sigterm=1");
    talk_in(l, &talk, "fake:{\"deltas\":5000,\"size\":2000}");
    wait_for_talk(l, &talk, talk_has_text);
    size_t heard = talk.text.len;
    incarnation_kill(l->inc, "test"); /* in the middle: its output is full of words */
    assert_int_equal(talk.ends, 1);
    assert_int_equal(talk.outcome, TURN_LOST);
    wait_for_end(l);
    assert_int_equal(talk.ends, 1);
    assert_int_equal(talk.text.len, heard);
    buf_free(&talk.text);
    assert_string_equal(l->death.reason, "test");
    assert_string_equal(buf_str(&l->story), "gle");
}

static void test_freeing_ends_it_in_every_state(void **state)
{
    struct life *l = *state;
    struct talk talks[2] = { { 0 } };
    spawn(l, "handshake=none,ignore_eof=1,ignore_sigterm=1"); /* starting */
    incarnation_free(l->inc);
    for (int i = 0; i < 2; i++) { /* ready, draining */
        l->rpc = NULL;
        l->is_ready = false;
        spawn_ready(l, "ignore_eof=1,ignore_sigterm=1");
        talk_in(l, &talks[i], "fake:{\"silent\":true}");
        if (i == 1)
            incarnation_retire(l->inc);
        incarnation_free(l->inc);
        assert_int_equal(talks[i].ends, 1);
        assert_int_equal(talks[i].outcome, TURN_LOST);
    }
    spawn(l, "handshake=none,ignore_eof=1,ignore_sigterm=1"); /* stopping */
    incarnation_stop(l->inc, "test");
    incarnation_free(l->inc);
    l->inc = NULL; /* teardown returns only when all are reaped */
    assert_string_equal(buf_str(&l->story), "gg");
}

#define LIFE_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIFE_TEST(test_a_worker_that_does_not_move_any_more_is_lost),
        LIFE_TEST(test_a_worker_that_is_slow_to_answer_but_says_something_is_kept),
        LIFE_TEST(test_one_late_answer_is_forgiven),
        LIFE_TEST(test_an_error_is_an_answer_to_a_heartbeat),
        LIFE_TEST(test_without_heartbeats_none_is_sent),
        LIFE_TEST(test_the_time_of_a_heartbeat_is_told_and_grows_while_none_is_answered),
        LIFE_TEST(test_a_worker_that_cannot_even_be_asked_is_kept_as_long_as_it_says_something),
        LIFE_TEST(test_who_is_never_greeted_is_lost_at_the_deadline),
        LIFE_TEST(test_a_worker_that_cannot_be_spawned_is_none),
        LIFE_TEST(test_a_retired_worker_gives_back_the_threads_that_it_kept),
        LIFE_TEST(test_a_retired_worker_finishes_its_turns_and_keeps_none),
        LIFE_TEST(test_a_retired_worker_that_dies_loses_its_turns_but_is_no_loss),
        LIFE_TEST(test_one_that_is_retired_before_it_is_ready_is_stopped),
        LIFE_TEST(test_stopping_loses_turns_at_once_and_is_no_loss),
        LIFE_TEST(test_what_a_lost_worker_still_says_reaches_nobody),
        LIFE_TEST(test_freeing_ends_it_in_every_state),
    };
    json_setup();
    log_set_level(LOG_SILENCE);
    signal(SIGPIPE, SIG_IGN);
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
