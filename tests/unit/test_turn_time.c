/* Turns in time: a model that does not begin, falls silent or does not come to an end costs its turn, and nothing that thinks
 * aloud does. */
#include "log.h"
#include "turn_bench.h"
#include "unit.h"

#define SHORT_MS 5
#define TICK_MS 2
#define TICKS 20
#define LONG_TICK_MS 50 /* such that a busy machine does not take ten of them for one */

struct owner {
    struct turn *turn; /* linked */
    struct buf text;   /* owned */
    unsigned ends;
    enum turn_outcome outcome;
    bool keeps;
};

static void on_text(void *ctx, const char *text, size_t len)
{
    struct owner *o = ctx;
    buf_append(&o->text, text, len);
}

static void on_reasoning(void *ctx, const char *text, size_t len)
{
    (void)ctx, (void)text, (void)len;
}

static const unsigned char digest[TURN_DIGEST_BYTES];

static void on_end(void *ctx, const struct turn_end *end)
{
    struct owner *o = ctx;
    o->ends++;
    o->outcome = end->outcome;
    o->turn = NULL;
    if (o->keeps)
        turn_keep(end->turn, digest);
}

static const struct turn_events events = { on_text, on_reasoning, on_end };

static bool has_ended(const void *ctx)
{
    const struct owner *o = ctx;
    return o->ends != 0;
}

/* 0: as long as nothing in a test lasts. */
static void begin_bench(struct turn_bench *b, uint64_t first_ms, uint64_t silence_ms,
                        uint64_t turn_ms)
{
    const struct turns_options options = { .rpc_timeout_ms = BENCH_RPC_MS,
                                           .turn_timeout_ms =
                                               turn_ms != 0 ? turn_ms : BENCH_TURN_MS,
                                           .first_event_timeout_ms = first_ms,
                                           .silence_timeout_ms = silence_ms,
                                           .park_ttl_ms = BENCH_TURN_MS,
                                           .parked_max = 2,
                                           .idle_ttl_ms = BENCH_TURN_MS,
                                           .idle_max = 2 };
    turn_bench_begin_with(b, &options);
}

static void begin(struct turn_bench *b, struct owner *o)
{
    struct turn_plan plan = turn_bench_plan();
    o->turn = turn_begin(b->turns, &plan, &events, o, NULL);
    assert_non_null(o->turn);
}

static void wait_for_end(struct turn_bench *b, struct owner *o)
{
    loop_until(&b->loop, has_ended, o);
    assert_int_equal(o->ends, 1);
}

/* The model is stopped and the thread given back. */
static void expect_interrupt(struct turn_bench *b)
{
    turn_bench_interrupt(b, 'a');
    turn_bench_release(b, 'a');
    assert_int_equal(turns_count(b->turns), 0);
}

static uint64_t now_ms(struct turn_bench *b)
{
    uv_update_time(&b->loop.uv);
    return deadlines_now_ms(b->loop.deadlines);
}

/* ---- which deadline ---- */

static void test_a_model_that_does_not_begin_is_given_up(void **state)
{
    (void)state;
    struct turn_bench b;
    struct owner o = { 0 };
    begin_bench(&b, SHORT_MS, 0, 0);
    begin(&b, &o);
    uint64_t begun_ms = deadlines_now_ms(b.loop.deadlines); /* the loop's time, which counts */
    turn_bench_run(&b, 'a');
    wait_for_end(&b, &o);
    assert_int_equal(o.outcome, TURN_UNANSWERED);
    assert_true(now_ms(&b) >= begun_ms + SHORT_MS);
    turn_bench_delta(&b, 'a', "m1", "too late");
    expect_interrupt(&b);
    assert_int_equal(o.text.len, 0);
    assert_int_equal(o.ends, 1);
    turn_bench_end(&b);
}

static void test_a_model_that_falls_silent_is_given_up_and_what_it_said_stays(void **state)
{
    (void)state;
    struct turn_bench b;
    struct owner o = { 0 };
    begin_bench(&b, 0, SHORT_MS, 0);
    begin(&b, &o);
    turn_bench_run(&b, 'a');
    turn_bench_delta(&b, 'a', "m1", "well,");
    wait_for_end(&b, &o);
    assert_int_equal(o.outcome, TURN_SILENT);
    turn_bench_delta(&b, 'a', "m1", " too late");
    expect_interrupt(&b);
    assert_string_equal(buf_str(&o.text), "well,");
    buf_free(&o.text);
    turn_bench_end(&b);
}

static void test_of_two_deadlines_at_once_that_of_the_whole_turn_counts(void **state)
{
    (void)state;
    struct turn_bench b;
    struct owner o = { 0 };
    begin_bench(&b, SHORT_MS, SHORT_MS, SHORT_MS);
    begin(&b, &o);
    turn_bench_run(&b, 'a');
    wait_for_end(&b, &o);
    assert_int_equal(o.outcome, TURN_TOO_LONG);
    expect_interrupt(&b);
    turn_bench_end(&b);
}

/* ---- what is a sign ---- */

/* What becomes of a turn in which only this is heard. */
static enum turn_outcome outcome_after(const char *method, const char *members)
{
    struct turn_bench b;
    struct owner o = { 0 };
    begin_bench(&b, SHORT_MS, SHORT_MS, 0);
    begin(&b, &o);
    turn_bench_run(&b, 'a');
    turn_bench_note(&b, 'a', method, members);
    wait_for_end(&b, &o);
    expect_interrupt(&b);
    buf_free(&o.text);
    turn_bench_end(&b);
    return o.outcome;
}

static void test_text_reasoning_and_tools_are_signs_of_the_model(void **state)
{
    (void)state;
    static const struct {
        const char *method;
        const char *members;
    } signs[] = {
        { "item/agentMessage/delta", ",\"itemId\":\"m\",\"delta\":\"x\"" },
        { "item/reasoning/summaryTextDelta", ",\"itemId\":\"r\",\"delta\":\"x\"" },
        { "item/reasoning/summaryPartAdded", ",\"itemId\":\"r\",\"summaryIndex\":1" },
        { "item/reasoning/textDelta", ",\"itemId\":\"r\",\"delta\":\"x\"" },
        { "item/started", ",\"item\":{\"type\":\"reasoning\",\"id\":\"r\"}" },
        { "item/started", ",\"item\":{\"type\":\"agentMessage\",\"id\":\"m\",\"text\":\"\"}" },
        { "item/started", ",\"item\":{\"type\":\"mcpToolCall\",\"id\":\"t\"}" },
        { "item/completed", ",\"item\":{\"type\":\"reasoning\",\"id\":\"r\"}" },
        { "item/mcpToolCall/progress", ",\"itemId\":\"t\",\"message\":\"x\"" },
        { "rawResponseItem/completed", ",\"item\":{\"type\":\"reasoning\"}" },
        { "rawResponse/completed", ",\"usage\":{\"totalTokens\":1}" },
        { "something/new", "" },
    };
    for (size_t i = 0; i < COUNT_OF(signs); i++)
        assert_int_equal(outcome_after(signs[i].method, signs[i].members), TURN_SILENT);
}

static void test_what_the_worker_says_itself_is_no_sign_of_the_model(void **state)
{
    (void)state;
    static const struct {
        const char *method;
        const char *members;
    } others[] = {
        { "turn/started", ",\"turn\":{\"id\":\"tu-a\",\"status\":\"inProgress\"}" },
        { "item/started", ",\"item\":{\"type\":\"userMessage\",\"id\":\"u\"}" },
        { "item/completed", ",\"item\":{\"type\":\"userMessage\",\"id\":\"u\"}" },
        { "error", ",\"error\":{\"message\":\"x\"},\"willRetry\":true" },
    };
    for (size_t i = 0; i < COUNT_OF(others); i++)
        assert_int_equal(outcome_after(others[i].method, others[i].members), TURN_UNANSWERED);
}

static void test_signs_of_other_turns_are_none(void **state)
{
    (void)state;
    struct turn_bench b;
    struct owner o[2] = { { 0 } };
    begin_bench(&b, SHORT_MS, SHORT_MS, 0);
    begin(&b, &o[0]);
    turn_bench_run(&b, 'a');
    begin(&b, &o[1]);
    turn_bench_run(&b, 'b');
    turn_bench_delta(&b, 'b', "m1", "x");
    assert_true(wire_hear(&b.wire, "{\"method\":\"item/agentMessage/delta\",\"params\":{"
                                   "\"threadId\":\"th-a\",\"turnId\":\"auto\",\"itemId\":\"m\","
                                   "\"delta\":\"of injected items\"}}"));
    wait_for_end(&b, &o[0]);
    wait_for_end(&b, &o[1]);
    assert_int_equal(o[0].outcome, TURN_UNANSWERED);
    assert_int_equal(o[1].outcome, TURN_SILENT);
    turn_bench_interrupt(&b, 'a');
    turn_bench_interrupt(&b, 'b');
    turn_bench_release(&b, 'a');
    turn_bench_release(&b, 'b');
    buf_free(&o[1].text);
    turn_bench_end(&b);
}

/* ---- from when on ---- */

/* A model that says something again and again. */
struct ticker {
    struct deadline deadline;
    struct turn_bench *bench;
    const char *method;
    unsigned left;
    uint64_t pause_ms; /* 0: TICK_MS */
    bool started;      /* turn/start is answered when it has ticked its last */
};

static void on_tick(struct deadline *d);

static void tick_on(struct ticker *t)
{
    uint64_t pause_ms = t->pause_ms != 0 ? t->pause_ms : TICK_MS;
    deadline_set(t->bench->loop.deadlines, &t->deadline, pause_ms, on_tick);
}

static void on_tick(struct deadline *d)
{
    struct ticker *t = deadline_owner(d, struct ticker, deadline);
    turn_bench_note(t->bench, 'a', t->method, ",\"itemId\":\"r\",\"delta\":\"x\"");
    if (--t->left != 0)
        tick_on(t);
}

static bool has_ticked(const void *ctx)
{
    const struct ticker *t = ctx;
    return t->left == 0;
}

static void test_each_sign_begins_the_silence_anew(void **state)
{
    (void)state;
    struct turn_bench b;
    struct owner o = { 0 };
    begin_bench(&b, 10 * LONG_TICK_MS, 10 * LONG_TICK_MS, 0);
    struct ticker ticker = {
        .bench = &b, .method = "item/reasoning/textDelta", .left = TICKS, .pause_ms = LONG_TICK_MS
    };
    begin(&b, &o);
    turn_bench_run(&b, 'a');
    tick_on(&ticker);
    wait_for_end(&b, &o);
    assert_int_equal(ticker.left, 0); /* all were waited for */
    assert_int_equal(o.outcome, TURN_SILENT);
    expect_interrupt(&b);
    turn_bench_end(&b);
}

static void test_a_turn_that_never_ends_is_ended_however_much_it_says(void **state)
{
    (void)state;
    struct turn_bench b;
    struct owner o = { 0 };
    begin_bench(&b, 0, 0, 10 * TICK_MS);
    struct ticker ticker = { .bench = &b, .method = "item/reasoning/textDelta", .left = 1000 };
    begin(&b, &o);
    turn_bench_run(&b, 'a');
    tick_on(&ticker);
    wait_for_end(&b, &o);
    assert_int_equal(o.outcome, TURN_TOO_LONG);
    deadline_clear(b.loop.deadlines, &ticker.deadline);
    expect_interrupt(&b);
    turn_bench_end(&b);
}

static void on_answer_time(struct deadline *d)
{
    struct ticker *t = deadline_owner(d, struct ticker, deadline);
    turn_bench_start(t->bench, 'a');
    t->started = true;
}

static void test_the_time_until_the_model_is_asked_is_not_its_own(void **state)
{
    (void)state;
    struct turn_bench b;
    struct owner o = { 0 };
    begin_bench(&b, SHORT_MS, SHORT_MS, 0);
    struct ticker ticker = { .bench = &b };
    begin(&b, &o);
    turn_bench_open(&b, 'a');
    turn_bench_inject(&b);
    deadline_set(b.loop.deadlines, &ticker.deadline, 10 * SHORT_MS, on_answer_time);
    loop_until_true(&b.loop, &ticker.started);
    assert_int_equal(o.ends, 0);
    wait_for_end(&b, &o);
    assert_int_equal(o.outcome, TURN_UNANSWERED);
    expect_interrupt(&b);
    turn_bench_end(&b);
}

static void test_a_sign_before_the_answer_to_turn_start_counts(void **state)
{
    (void)state;
    struct turn_bench b;
    struct owner o = { 0 };
    begin_bench(&b, SHORT_MS, SHORT_MS, 0);
    begin(&b, &o);
    turn_bench_open(&b, 'a');
    turn_bench_inject(&b);
    turn_bench_note(&b, 'a', "turn/started", ",\"turn\":{\"id\":\"tu-a\"}");
    turn_bench_delta(&b, 'a', "m1", "quick");
    turn_bench_start(&b, 'a');
    wait_for_end(&b, &o);
    assert_int_equal(o.outcome, TURN_SILENT);
    expect_interrupt(&b);
    buf_free(&o.text);
    turn_bench_end(&b);
}

/* The client's time is not the model's: a turn that waits for results has no deadline but its own. */
static void test_a_resumed_model_has_its_time_to_begin_again(void **state)
{
    (void)state;
    struct turn_bench b;
    struct owner o = { .keeps = true };
    struct owner next = { 0 };
    begin_bench(&b, SHORT_MS, SHORT_MS, 0);
    begin(&b, &o);
    turn_bench_run(&b, 'a');
    turn_bench_call(&b, 'a', "c1", "look", "{}");
    turn_bench_response(&b, 'a');
    assert_int_equal(o.outcome, TURN_CALLS);
    struct ticker ticker = { .bench = &b, .method = "turn/diff/updated", .left = TICKS };
    tick_on(&ticker);
    loop_until(&b.loop, has_ticked, &ticker);
    struct turn *turn = turns_find(b.turns, digest);
    assert_non_null(turn);
    struct turn_result result = { "c1", json_array() };
    assert_true(turn_waits_for(turn, &result, 1));
    next.turn = turn_resume(turn, &result, 1, &events, &next, NULL);
    wait_for_end(&b, &next);
    assert_int_equal(next.outcome, TURN_UNANSWERED);
    expect_interrupt(&b);
    turn_bench_end(&b);
}

static void test_an_idle_thread_has_its_time_to_begin_again(void **state)
{
    (void)state;
    struct turn_bench b;
    struct owner o = { .keeps = true };
    struct owner next = { 0 };
    begin_bench(&b, SHORT_MS, SHORT_MS, 0);
    begin(&b, &o);
    turn_bench_run(&b, 'a');
    turn_bench_delta(&b, 'a', "m1", "done");
    turn_bench_response(&b, 'a');
    turn_bench_complete(&b, 'a', ",\"status\":\"completed\"");
    assert_int_equal(o.outcome, TURN_COMPLETED);
    struct turn *turn = turns_find(b.turns, digest);
    assert_non_null(turn);
    struct turn_plan plan = turn_bench_plan();
    next.turn = turn_again(turn, &plan, &events, &next, NULL);
    turn_bench_inject(&b);
    turn_bench_start(&b, 'a');
    wait_for_end(&b, &next);
    assert_int_equal(next.outcome, TURN_UNANSWERED);
    expect_interrupt(&b);
    buf_free(&o.text);
    turn_bench_end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_model_that_does_not_begin_is_given_up),
        cmocka_unit_test(test_a_model_that_falls_silent_is_given_up_and_what_it_said_stays),
        cmocka_unit_test(test_of_two_deadlines_at_once_that_of_the_whole_turn_counts),
        cmocka_unit_test(test_text_reasoning_and_tools_are_signs_of_the_model),
        cmocka_unit_test(test_what_the_worker_says_itself_is_no_sign_of_the_model),
        cmocka_unit_test(test_signs_of_other_turns_are_none),
        cmocka_unit_test(test_each_sign_begins_the_silence_anew),
        cmocka_unit_test(test_a_turn_that_never_ends_is_ended_however_much_it_says),
        cmocka_unit_test(test_the_time_until_the_model_is_asked_is_not_its_own),
        cmocka_unit_test(test_a_sign_before_the_answer_to_turn_start_counts),
        cmocka_unit_test(test_a_resumed_model_has_its_time_to_begin_again),
        cmocka_unit_test(test_an_idle_thread_has_its_time_to_begin_again),
    };
    json_setup();
    log_set_level(LOG_SILENCE);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
