/* Turns: what the owner hears of a turn's life, and that the worker gets its thread back in every case. */
#include "log.h"
#include "metrics.h"
#include "turn.h"
#include "turn_bench.h"
#include "unit.h"

struct owner {
    struct turn *turn; /* linked; NULL once it has ended */
    struct buf heard;  /* owned: "t:text" and "r:reasoning", "|" between */
    struct buf text;   /* owned: the text alone */
    unsigned ends;
    enum turn_outcome outcome;
    char kind[64];
    bool has_kind;
    int http_status;
    char message[128];
    bool has_message;
    struct turn_usage usage;
    bool leaves;               /* detaches at the first byte */
    struct owner *detaches;    /* that one's turn at its own end */
    struct turn_bench *begins; /* another turn at its own end, which must be refused */
    char keeps;                /* the thread, by a digest of this byte; 0: not */
    struct buf calls;          /* owned: of TURN_CALLS, "id name arguments;" */
};

static void hear(struct owner *o, char channel, const char *text, size_t len)
{
    assert_int_equal(o->ends, 0);
    assert_non_null(o->turn);
    assert_true(len != 0);
    buf_printf(&o->heard, "%s%c:", o->heard.len != 0 ? "|" : "", channel);
    buf_append(&o->heard, text, len);
    if (!o->leaves)
        return;
    turn_detach(o->turn);
    o->turn = NULL;
}

static void on_text(void *ctx, const char *text, size_t len)
{
    struct owner *o = ctx;
    buf_append(&o->text, text, len);
    hear(o, 't', text, len);
}

static void on_reasoning(void *ctx, const char *text, size_t len)
{
    hear(ctx, 'r', text, len);
}

static void on_end(void *ctx, const struct turn_end *end);

static const struct turn_events events = { on_text, on_reasoning, on_end };

static void on_end(void *ctx, const struct turn_end *end)
{
    struct owner *o = ctx;
    assert_non_null(o->turn);
    o->turn = NULL;
    o->ends++;
    o->outcome = end->outcome;
    o->has_kind = end->kind != NULL;
    snprintf(o->kind, sizeof(o->kind), "%s", end->kind != NULL ? end->kind : "");
    o->http_status = end->http_status;
    o->has_message = end->message != NULL;
    snprintf(o->message, sizeof(o->message), "%s", end->message != NULL ? end->message : "");
    o->usage = end->usage;
    assert_int_equal(end->call_count != 0, end->outcome == TURN_CALLS);
    for (size_t i = 0; i < end->call_count; i++)
        buf_printf(&o->calls, "%s %s %s;", end->calls[i].id, end->calls[i].name,
                   end->calls[i].arguments);
    if (o->keeps != 0) {
        unsigned char digest[TURN_DIGEST_BYTES];
        memset(digest, o->keeps, sizeof(digest));
        turn_keep(end->turn, digest);
    }
    if (o->detaches != NULL) {
        turn_detach(o->detaches->turn);
        o->detaches->turn = NULL;
    }
    if (o->begins != NULL) {
        struct turn_plan plan = turn_bench_plan();
        assert_null(turn_begin(o->begins->turns, &plan, &events, o, NULL));
        assert_null(plan.thread);
    }
}

static void begin(struct turn_bench *b, struct owner *o)
{
    struct turn_plan plan = turn_bench_plan();
    o->turn = turn_begin(b->turns, &plan, &events, o, NULL);
    assert_non_null(o->turn);
    assert_null(plan.thread);
    assert_null(plan.items);
    assert_null(plan.start);
}

static void forget(struct owner *o)
{
    buf_free(&o->heard);
    buf_free(&o->text);
    buf_free(&o->calls);
}

static int setup_with(void **state, uint64_t rpc_ms, uint64_t turn_ms)
{
    struct turn_bench *b = calloc(1, sizeof(*b));
    turn_bench_begin(b, rpc_ms, turn_ms);
    *state = b;
    return 0;
}

static int setup(void **state)
{
    return setup_with(state, BENCH_RPC_MS, BENCH_TURN_MS);
}

static int setup_short_calls(void **state)
{
    return setup_with(state, 5, BENCH_TURN_MS);
}

static int setup_short_turns(void **state)
{
    return setup_with(state, BENCH_RPC_MS, 5);
}

static int teardown(void **state)
{
    struct turn_bench *b = *state;
    assert_int_equal(turns_active(b->turns), 0);
    turn_bench_end(b);
    free(b);
    return 0;
}

/* Runs a turn 'a' with its message "m1", whose events are fed by the caller. */
static void begin_running(struct turn_bench *b, struct owner *o)
{
    begin(b, o);
    turn_bench_run(b, 'a');
}

static void end_well(struct turn_bench *b, struct owner *o)
{
    turn_bench_complete(b, 'a', ",\"status\":\"completed\"");
    turn_bench_release(b, 'a');
    assert_int_equal(o->ends, 1);
    assert_int_equal(o->outcome, TURN_COMPLETED);
    assert_false(o->has_kind);
    assert_false(o->has_message);
}

/* ---- the whole life ---- */

static void test_a_turn_asks_the_worker_step_by_step(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    json_t *params = NULL;
    begin(b, &o);
    assert_int_equal(turns_active(b->turns), 1);
    assert_int_equal(wire_waiting(&b->wire), 1);
    json_int_t id = wire_expect(&b->wire, "thread/start", &params);
    assert_string_equal(json_str_at(params, "model"), "gpt-x");
    json_decref(params);
    wire_answer(&b->wire, id, "{\"thread\":{\"id\":\"th-a\",\"more\":1}}");

    assert_int_equal(wire_waiting(&b->wire), 1);
    id = wire_expect(&b->wire, "thread/inject_items", &params);
    assert_string_equal(json_str_at(params, "threadId"), "th-a");
    assert_string_equal(json_str_at(json_array_get(json_object_get(params, "items"), 0), "n"), "1");
    json_decref(params);
    wire_answer(&b->wire, id, "{}");

    assert_int_equal(wire_waiting(&b->wire), 1);
    id = wire_expect(&b->wire, "turn/start", &params);
    assert_string_equal(json_str_at(params, "threadId"), "th-a");
    assert_true(json_is_array(json_object_get(params, "input")));
    json_decref(params);
    wire_answer(&b->wire, id, "{\"turn\":{\"id\":\"tu-a\"}}");
    assert_int_equal(wire_waiting(&b->wire), 0);

    turn_bench_delta(b, 'a', "m1", "Hel");
    turn_bench_delta(b, 'a', "m1", "lo");
    assert_int_equal(o.ends, 0);
    turn_bench_complete(b, 'a', ",\"status\":\"completed\",\"error\":null");
    assert_int_equal(o.ends, 1);
    assert_int_equal(turns_active(b->turns), 0);
    turn_bench_release(b, 'a');
    assert_int_equal(o.outcome, TURN_COMPLETED);
    assert_string_equal(buf_str(&o.heard), "t:Hel|t:lo");
    forget(&o);
}

static void test_without_a_worker_nothing_is_begun_and_the_plan_is_freed(void **state)
{
    (void)state;
    struct loop loop;
    loop_begin(&loop);
    const struct turns_options options = { .rpc_timeout_ms = BENCH_RPC_MS,
                                           .turn_timeout_ms = BENCH_TURN_MS };
    struct turns *turns = turns_new(loop.deadlines, &options);
    struct turn_plan plan = turn_bench_plan();
    struct owner o = { 0 };
    assert_null(turn_begin(turns, &plan, &events, &o, NULL));
    assert_null(plan.thread);
    assert_null(plan.items);
    assert_null(plan.start);
    assert_int_equal(o.ends, 0);
    turn_detach(NULL);
    turns_free(turns);
    turns_free(NULL);
    loop_end(&loop);
}

static void test_many_turns_at_once_hear_only_what_is_theirs(void **state)
{
    enum { MANY = 26 };
    struct turn_bench *b = *state;
    struct owner o[MANY] = { { 0 } };
    for (int i = 0; i < MANY; i++)
        begin(b, &o[i]);
    for (int i = 0; i < MANY; i++) /* each answer sends the next question of its turn */
        turn_bench_open(b, (char)('a' + i));
    for (int i = 0; i < MANY; i++)
        turn_bench_inject(b);
    for (int i = 0; i < MANY; i++)
        turn_bench_start(b, (char)('a' + i));
    assert_int_equal(turns_active(b->turns), MANY);
    for (int round = 0; round < 3; round++) {
        for (int i = MANY - 1; i >= 0; i--) {
            const char text[] = { (char)('a' + i), (char)('0' + round), '\0' };
            turn_bench_delta(b, (char)('a' + i), "m1", text);
        }
    }
    for (int i = 0; i < MANY; i++) {
        turn_bench_complete(b, (char)('a' + i), ",\"status\":\"completed\"");
        turn_bench_release(b, (char)('a' + i));
        char wanted[16];
        snprintf(wanted, sizeof(wanted), "%c0%c1%c2", 'a' + i, 'a' + i, 'a' + i);
        assert_string_equal(buf_str(&o[i].text), wanted);
        assert_int_equal(o[i].ends, 1);
        forget(&o[i]);
    }
}

static void on_later(void *ctx, const struct rpc_reply *reply)
{
    bool *passed = ctx;
    assert_int_equal(reply->status, RPC_TIMEOUT);
    *passed = true;
}

static void test_a_turn_leaves_its_thread_even_if_the_worker_does_not_answer(void **state)
{
    struct turn_bench *b = *state; /* calls time out soon */
    struct owner o = { 0 };
    begin_running(b, &o);
    turn_bench_complete(b, 'a', ",\"status\":\"completed\"");
    wire_expect(&b->wire, "thread/unsubscribe", NULL);
    assert_int_equal(b->strangers, 0);
    bool passed = false;
    rpc_call(b->wire.rpc, "later", NULL, 6, on_later, &passed, NULL);
    wire_expect(&b->wire, "later", NULL);
    loop_until_true(&b->loop, &passed);
    turn_bench_note(b, 'a', "x", ""); /* the thread is known as long as the turn lives */
    assert_int_equal(b->strangers, 1);
    assert_int_equal(o.ends, 1);
    forget(&o);
}

/* ---- routing ---- */

static void test_other_threads_and_other_turns_are_not_heard(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    begin_running(b, &o);
    static const char *const strange[] = {
        "{\"threadId\":\"th-b\",\"turnId\":\"tu-a\",\"itemId\":\"m1\",\"delta\":\"x\"}",
        "{\"threadId\":\"\",\"turnId\":\"tu-a\",\"itemId\":\"m1\",\"delta\":\"x\"}",
        "{\"threadId\":7,\"turnId\":\"tu-a\",\"itemId\":\"m1\",\"delta\":\"x\"}",
        "{\"turnId\":\"tu-a\",\"itemId\":\"m1\",\"delta\":\"x\"}",
        "{}",
        "null",
        "[]",
    };
    for (size_t i = 0; i < COUNT_OF(strange); i++) {
        assert_true(wire_hear(&b->wire, "{\"method\":\"item/agentMessage/delta\",\"params\":%s}",
                              strange[i]));
        assert_int_equal(b->strangers, i + 1);
    }
    static const char *const not_mine[] = {
        "\"turnId\":\"auto-compact-0\"",
        "\"turnId\":\"tu-\"",
        "\"turnId\":\"\"",
        "\"turnId\":null",
        "\"turnId\":7",
        "\"turn\":{\"id\":\"tu-b\"}",
    };
    for (size_t i = 0; i < COUNT_OF(not_mine); i++)
        assert_true(wire_hear(&b->wire,
                              "{\"method\":\"item/agentMessage/delta\",\"params\":{\"threadId\":"
                              "\"th-a\",\"itemId\":\"m1\",\"delta\":\"x\",%s}}",
                              not_mine[i]));
    assert_int_equal(b->strangers, COUNT_OF(strange));
    assert_int_equal(o.heard.len, 0);
    end_well(b, &o);
}

static void test_events_of_unknown_or_broken_shape_are_passed_over(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    begin_running(b, &o);
    turn_bench_note(b, 'a', "item/agentMessage/delta", "");
    turn_bench_note(b, 'a', "item/agentMessage/delta", ",\"itemId\":\"m1\"");
    turn_bench_note(b, 'a', "item/agentMessage/delta", ",\"itemId\":\"m1\",\"delta\":null");
    turn_bench_note(b, 'a', "item/agentMessage/delta", ",\"itemId\":\"m1\",\"delta\":{}");
    turn_bench_note(b, 'a', "item/agentMessage/delta", ",\"itemId\":\"m1\",\"delta\":\"\"");
    turn_bench_note(b, 'a', "item/reasoning/summaryTextDelta", ",\"delta\":7");
    turn_bench_note(b, 'a', "item/started", "");
    turn_bench_note(b, 'a', "item/started", ",\"item\":null");
    turn_bench_note(b, 'a', "item/started", ",\"item\":{\"type\":\"agentMessage\"}");
    turn_bench_note(b, 'a', "item/completed", ",\"item\":7");
    turn_bench_note(b, 'a', "rawResponse/completed", ",\"usage\":[]");
    turn_bench_note(b, 'a', "item/new/thing", ",\"delta\":\"x\"");
    turn_bench_note(b, 'a', "error", ",\"willRetry\":true,\"error\":{\"message\":\"again\"}");
    assert_int_equal(o.heard.len, 0);
    turn_bench_delta(b, 'a', "m1", "ok");
    end_well(b, &o);
    assert_string_equal(buf_str(&o.heard), "t:ok");
    forget(&o);
}

/* ---- text ---- */

static void start_item(struct turn_bench *b, const char *id, const char *phase)
{
    char members[160];
    snprintf(members, sizeof(members),
             ",\"item\":{\"type\":\"agentMessage\",\"id\":\"%s\",\"text\":\"\",\"phase\":%s}", id,
             phase);
    turn_bench_note(b, 'a', "item/started", members);
}

static void complete_item(struct turn_bench *b, const char *id, const char *text)
{
    struct buf members = BUF_INIT;
    buf_printf(&members, ",\"item\":{\"type\":\"agentMessage\",\"id\":\"%s\",\"text\":", id);
    json_quote(&members, text, strlen(text));
    buf_putc(&members, '}');
    turn_bench_note(b, 'a', "item/completed", buf_str(&members));
    buf_free(&members);
}

static void test_every_byte_of_a_delta_is_given(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    begin_running(b, &o);
    turn_bench_note(b, 'a', "item/agentMessage/delta",
                    ",\"itemId\":\"m1\",\"delta\":\"a\\u0000b\\n\xe2\x82\xac\\ud83d\\ude00\"");
    end_well(b, &o);
    assert_int_equal(o.text.len, 11);
    assert_memory_equal(o.text.data, "a\0b\n\xe2\x82\xac\xf0\x9f\x98\x80", 11);
    forget(&o);
}

static void test_messages_are_kept_apart_by_a_blank_line(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    begin_running(b, &o);
    start_item(b, "m1", "null");
    turn_bench_delta(b, 'a', "m1", "one");
    complete_item(b, "m1", "one");
    start_item(b, "m2", "\"final_answer\"");
    complete_item(b, "m2", ""); /* one that says nothing makes no second blank line */
    start_item(b, "m3", "null");
    turn_bench_delta(b, 'a', "m3", "two");
    complete_item(b, "m3", "two");
    end_well(b, &o);
    assert_string_equal(buf_str(&o.heard), "t:one|t:\n\n|t:two");
    forget(&o);
}

static void test_no_blank_line_stands_before_the_first_or_after_the_last_message(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    begin_running(b, &o);
    start_item(b, "m0", "null");
    complete_item(b, "m0", "");
    start_item(b, "m1", "null");
    turn_bench_delta(b, 'a', "m1", "only");
    complete_item(b, "m1", "only");
    end_well(b, &o);
    assert_string_equal(buf_str(&o.heard), "t:only");
    forget(&o);
}

static void test_commentary_is_reasoning_and_the_rest_is_text(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    begin_running(b, &o);
    start_item(b, "c1", "\"commentary\"");
    start_item(b, "m1", "\"final_answer\"");
    turn_bench_delta(b, 'a', "c1", "let me ");
    turn_bench_delta(b, 'a', "m1", "the ");
    turn_bench_delta(b, 'a', "c1", "see");
    complete_item(b, "c1", "let me see!");
    turn_bench_delta(b, 'a', "m1", "answer");
    complete_item(b, "m1", "the answer");
    start_item(b, "c2", "\"commentary\"");
    turn_bench_delta(b, 'a', "c2", "done");
    start_item(b, "m2", "\"something_new\"");
    turn_bench_delta(b, 'a', "m2", "more");
    end_well(b, &o);
    assert_string_equal(buf_str(&o.heard), "r:let me |t:the |r:see|r:!|t:answer|r:\n\n|r:done|"
                                           "t:\n\n|t:more");
    forget(&o);
}

static void test_what_no_delta_brought_comes_with_the_whole_message(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    begin_running(b, &o);
    start_item(b, "m1", "null");
    complete_item(b, "m1", "all at once");
    start_item(b, "m2", "null");
    turn_bench_delta(b, 'a', "m2", "a \xe2\x82\xac");
    complete_item(b, "m2", "a \xe2\x82\xac tail");
    start_item(b, "m3", "null");
    turn_bench_delta(b, 'a', "m3", "whole");
    complete_item(b, "m3", "whole");
    end_well(b, &o);
    assert_string_equal(buf_str(&o.heard),
                        "t:all at once|t:\n\n|t:a \xe2\x82\xac|t: tail|t:\n\n|t:whole");
    forget(&o);
}

static void test_a_shorter_whole_message_takes_nothing_back(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    begin_running(b, &o);
    turn_bench_delta(b, 'a', "m1", "said already");
    complete_item(b, "m1", "said");
    turn_bench_delta(b, 'a', "m2", "x");
    turn_bench_note(b, 'a', "item/completed", ",\"item\":{\"id\":\"m2\",\"text\":null}");
    end_well(b, &o);
    assert_string_equal(buf_str(&o.text), "said already\n\nx");
    forget(&o);
}

static void test_a_delta_without_its_start_is_text(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    begin_running(b, &o);
    turn_bench_delta(b, 'a', "m1", "a");
    turn_bench_delta(b, 'a', "m1", "b");
    complete_item(b, "m1", "abc");
    end_well(b, &o);
    assert_string_equal(buf_str(&o.text), "abc");
    forget(&o);
}

static void test_more_messages_than_are_open_at_once_are_all_given(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    struct buf wanted = BUF_INIT;
    begin_running(b, &o);
    for (int i = 0; i < 100; i++) {
        char id[16];
        char text[16];
        snprintf(id, sizeof(id), "m%d", i);
        snprintf(text, sizeof(text), "text %d", i);
        start_item(b, id, "null");
        turn_bench_delta(b, 'a', id, text);
        complete_item(b, id, text);
        buf_printf(&wanted, "%s%s", i == 0 ? "" : "\n\n", text);
    }
    end_well(b, &o);
    assert_string_equal(buf_str(&o.text), buf_str(&wanted));
    buf_free(&wanted);
    forget(&o);
}

static void test_reasoning_parts_are_kept_apart_by_a_blank_line(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    begin_running(b, &o);
    turn_bench_note(b, 'a', "item/reasoning/summaryPartAdded", ",\"summaryIndex\":0");
    turn_bench_reason(b, 'a', "first");
    turn_bench_reason(b, 'a', " part");
    turn_bench_note(b, 'a', "item/reasoning/summaryPartAdded", ",\"summaryIndex\":1");
    turn_bench_note(b, 'a', "item/reasoning/summaryPartAdded", ",\"summaryIndex\":2");
    turn_bench_delta(b, 'a', "m1", "text");
    turn_bench_reason(b, 'a', "second");
    end_well(b, &o);
    assert_string_equal(buf_str(&o.heard), "r:first|r: part|t:text|r:\n\n|r:second");
    forget(&o);
}

static void test_text_is_given_whatever_its_id(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    char id[OUTPUT_ID_MAX * 2 + 1];
    memset(id, 'i', sizeof(id) - 1);
    id[sizeof(id) - 1] = '\0';
    begin_running(b, &o);
    turn_bench_delta(b, 'a', id, "long ");
    turn_bench_note(b, 'a', "item/agentMessage/delta", ",\"itemId\":7,\"delta\":\"odd \"");
    turn_bench_note(b, 'a', "item/agentMessage/delta", ",\"delta\":\"none \"");
    complete_item(b, id, "long tail");
    end_well(b, &o);
    assert_string_equal(buf_str(&o.text), "long odd none tail");
    forget(&o);
}

static void test_text_of_every_message_is_given_however_many_are_open(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    begin_running(b, &o);
    for (int i = 0; i < OUTPUT_OPEN_ITEMS_MAX + 5; i++) {
        char id[16];
        snprintf(id, sizeof(id), "m%d", i);
        turn_bench_delta(b, 'a', id, "x");
    }
    end_well(b, &o);
    assert_int_equal(o.text.len, OUTPUT_OPEN_ITEMS_MAX + 5);
    forget(&o);
}

static void test_a_message_that_comes_only_when_it_is_complete_is_given(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    begin_running(b, &o);
    complete_item(b, "m1", "hello");
    turn_bench_note(b, 'a', "item/completed",
                    ",\"item\":{\"type\":\"agentMessage\",\"id\":\"c\",\"phase\":\"commentary\","
                    "\"text\":\"aside\"}");
    turn_bench_note(b, 'a', "item/completed",
                    ",\"item\":{\"type\":\"reasoning\",\"id\":\"r\",\"text\":\"x\"}");
    end_well(b, &o);
    assert_string_equal(buf_str(&o.heard), "t:hello|r:aside");
    forget(&o);
}

/* The whole text may be another than its deltas said. */
static void test_a_rest_that_begins_inside_a_character_is_not_given(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    begin_running(b, &o);
    turn_bench_delta(b, 'a', "m1", "a");
    complete_item(b, "m1",
                  "\xc3\xa9"
                  "b");
    end_well(b, &o);
    assert_string_equal(buf_str(&o.text), "a");
    forget(&o);
}

/* ---- usage ---- */

static void test_usage_of_all_responses_adds_up(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    begin_running(b, &o);
    turn_bench_note(b, 'a', "rawResponse/completed",
                    ",\"usage\":{\"inputTokens\":10,\"cachedInputTokens\":4,"
                    "\"cacheWriteInputTokens\":2,\"outputTokens\":7,\"reasoningOutputTokens\":3,"
                    "\"totalTokens\":17}");
    turn_bench_note(b, 'a', "rawResponse/completed", ",\"usage\":null");
    turn_bench_note(b, 'a', "rawResponse/completed",
                    ",\"usage\":{\"inputTokens\":100,\"outputTokens\":3000000000,"
                    "\"totalTokens\":3000000100,\"cachedInputTokens\":null}");
    end_well(b, &o);
    assert_int_equal(o.usage.input, 110);
    assert_int_equal(o.usage.cached, 4);
    assert_int_equal(o.usage.cache_write, 2);
    assert_int_equal(o.usage.output, 3000000007);
    assert_int_equal(o.usage.reasoning, 3);
    assert_int_equal(o.usage.total, 3000000117);
}

static void test_usage_of_any_size_stays_in_range(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    begin_running(b, &o);
    for (int i = 0; i < 2; i++)
        turn_bench_note(b, 'a', "rawResponse/completed",
                        ",\"usage\":{\"inputTokens\":9223372036854775807,\"outputTokens\":-5,"
                        "\"totalTokens\":-9223372036854775808}");
    end_well(b, &o);
    assert_int_equal(o.usage.input, INT64_MAX);
    assert_int_equal(o.usage.output, 0);
    assert_int_equal(o.usage.total, 0);
}

static void test_a_turn_that_fails_still_tells_its_usage(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    begin_running(b, &o);
    turn_bench_note(b, 'a', "rawResponse/completed", ",\"usage\":{\"inputTokens\":10}");
    turn_bench_complete(b, 'a', ",\"status\":\"failed\",\"error\":{\"message\":\"x\"}");
    turn_bench_release(b, 'a');
    assert_int_equal(o.outcome, TURN_FAILED);
    assert_int_equal(o.usage.input, 10);
}

/* ---- how the worker says that a turn failed ---- */

static void test_each_shape_of_error_is_understood(void **state)
{
    struct turn_bench *b = *state;
    static const struct {
        const char *info;
        const char *kind; /* NULL: none */
        int http_status;
    } cases[] = {
        { "\"usageLimitExceeded\"", "usageLimitExceeded", 0 },
        { "\"other\"", "other", 0 },
        { "\"aNewOne\"", "aNewOne", 0 },
        { "{\"httpConnectionFailed\":{\"httpStatusCode\":401}}", "httpConnectionFailed", 401 },
        { "{\"responseTooManyFailedAttempts\":{\"httpStatusCode\":429}}",
          "responseTooManyFailedAttempts", 429 },
        { "{\"responseStreamDisconnected\":{\"httpStatusCode\":null}}",
          "responseStreamDisconnected", 0 },
        { "{\"responseStreamConnectionFailed\":{}}", "responseStreamConnectionFailed", 0 },
        { "{\"activeTurnNotSteerable\":{\"turnKind\":\"review\"}}", "activeTurnNotSteerable", 0 },
        { "{\"aNewOne\":null}", "aNewOne", 0 },
        { "{\"aNewOne\":{\"httpStatusCode\":\"500\"}}", "aNewOne", 0 },
        { "{}", NULL, 0 },
        { "null", NULL, 0 },
        { "[]", NULL, 0 },
        { "7", NULL, 0 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct owner o = { 0 };
        struct buf turn = BUF_INIT;
        begin_running(b, &o);
        buf_printf(&turn,
                   ",\"status\":\"failed\",\"error\":{\"message\":\"why\",\"codexErrorInfo\":%s}",
                   cases[i].info);
        turn_bench_complete(b, 'a', buf_str(&turn));
        turn_bench_release(b, 'a');
        assert_int_equal(o.ends, 1);
        assert_int_equal(o.outcome, TURN_FAILED);
        assert_int_equal(o.has_kind, cases[i].kind != NULL);
        if (cases[i].kind != NULL)
            assert_string_equal(o.kind, cases[i].kind);
        assert_int_equal(o.http_status, cases[i].http_status);
        assert_string_equal(o.message, "why");
        buf_free(&turn);
    }
}

static void test_the_last_final_error_explains_a_failure_without_one(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    begin_running(b, &o);
    turn_bench_note(b, 'a', "error",
                    ",\"willRetry\":false,\"error\":{\"message\":\"first\","
                    "\"codexErrorInfo\":\"other\"}");
    turn_bench_note(b, 'a', "error",
                    ",\"willRetry\":false,\"error\":{\"message\":\"last\","
                    "\"codexErrorInfo\":\"serverOverloaded\"}");
    turn_bench_note(b, 'a', "error",
                    ",\"willRetry\":true,\"error\":{\"message\":\"again\","
                    "\"codexErrorInfo\":\"unauthorized\"}");
    assert_int_equal(o.ends, 0);
    turn_bench_complete(b, 'a', ",\"status\":\"failed\",\"error\":null");
    turn_bench_release(b, 'a');
    assert_string_equal(o.kind, "serverOverloaded");
    assert_string_equal(o.message, "last");
}

static void test_a_failure_without_any_reason_is_one(void **state)
{
    struct turn_bench *b = *state;
    static const char *const turns[] = { ",\"status\":\"failed\"", ",\"status\":\"new\"",
                                         ",\"status\":null", "",
                                         ",\"status\":\"failed\",\"error\":\"text\"" };
    for (size_t i = 0; i < COUNT_OF(turns); i++) {
        struct owner o = { 0 };
        begin_running(b, &o);
        turn_bench_complete(b, 'a', turns[i]);
        turn_bench_release(b, 'a');
        assert_int_equal(o.outcome, TURN_FAILED);
        assert_false(o.has_kind);
        assert_false(o.has_message);
    }
}

static void test_an_interrupt_by_somebody_else_is_told_as_such(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    begin_running(b, &o);
    turn_bench_complete(b, 'a', ",\"status\":\"interrupted\"");
    turn_bench_release(b, 'a');
    assert_int_equal(o.ends, 1);
    assert_int_equal(o.outcome, TURN_INTERRUPTED);
}

static const char *const questions[] = { "thread/start", "thread/inject_items", "turn/start" };

/* Answers all questions before number `step`. */
static void answer_before(struct turn_bench *b, size_t step)
{
    if (step > 0)
        turn_bench_open(b, 'a');
    if (step > 1)
        turn_bench_inject(b);
}

static bool has_message(const void *ctx)
{
    const struct turn_bench *b = ctx;
    return wire_waiting(&b->wire) != 0;
}

/* Refuses the question that is waiting; an overloaded worker is asked again, and refuses those as well. */
static void refuse(struct turn_bench *b, const char *question, int code)
{
    for (int times = code == -32001 ? 4 : 1; times > 0; times--) {
        loop_until(&b->loop, has_message, b);
        wire_answer_error(&b->wire, wire_expect(&b->wire, question, NULL), code, "bad thing");
    }
}

static void test_a_refused_question_is_a_failure_at_each_step(void **state)
{
    struct turn_bench *b = *state;
    for (size_t step = 0; step < COUNT_OF(questions); step++) {
        for (int overloaded = 0; overloaded < 2; overloaded++) {
            struct owner o = { 0 };
            begin(b, &o);
            answer_before(b, step);
            refuse(b, questions[step], overloaded ? -32001 : -32600);
            assert_int_equal(o.ends, 1);
            assert_int_equal(o.outcome, TURN_FAILED);
            assert_string_equal(o.kind, overloaded ? "serverOverloaded" : "badRequest");
            assert_string_equal(o.message, "bad thing");
            if (step > 0)
                turn_bench_release(b, 'a');
            assert_int_equal(wire_waiting(&b->wire), 0);
            assert_int_equal(turns_active(b->turns), 0);
        }
    }
}

static void test_an_error_of_the_worker_itself_is_not_the_clients_fault(void **state)
{
    struct turn_bench *b = *state;
    static const struct {
        int code;
        const char *kind; /* NULL: none */
    } cases[] = { { -32600, "badRequest" },
                  { -32602, "badRequest" },
                  { -32603, NULL },
                  { -32601, NULL },
                  { -32700, NULL },
                  { 0, NULL },
                  { 1, NULL } };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct owner o = { 0 };
        begin(b, &o);
        refuse(b, "thread/start", cases[i].code);
        assert_int_equal(o.outcome, TURN_FAILED);
        assert_int_equal(o.has_kind, cases[i].kind != NULL);
        if (cases[i].kind != NULL)
            assert_string_equal(o.kind, cases[i].kind);
    }
}

static void test_an_answer_without_an_id_is_a_failure(void **state)
{
    struct turn_bench *b = *state;
    char long_id[200];
    memset(long_id, 'x', sizeof(long_id) - 1);
    long_id[sizeof(long_id) - 1] = '\0';
    char too_long[256];
    snprintf(too_long, sizeof(too_long), "{\"thread\":{\"id\":\"%s\"}}", long_id);
    const char *const results[] = { "{}", "null", "{\"thread\":{}}", "{\"thread\":{\"id\":7}}",
                                    too_long };
    for (size_t i = 0; i < COUNT_OF(results); i++) {
        struct owner o = { 0 };
        begin(b, &o);
        wire_answer(&b->wire, wire_expect(&b->wire, "thread/start", NULL), results[i]);
        assert_int_equal(o.ends, 1);
        assert_int_equal(o.outcome, TURN_FAILED);
        assert_int_equal(wire_waiting(&b->wire), 0);
    }
    struct owner o = { 0 };
    begin(b, &o);
    answer_before(b, 2);
    wire_answer(&b->wire, wire_expect(&b->wire, "turn/start", NULL), "{\"turn\":null}");
    assert_int_equal(o.outcome, TURN_FAILED);
    turn_bench_release(b, 'a');
}

/* ---- answers and events that overtake each other ---- */

static void say_started(struct turn_bench *b)
{
    assert_true(wire_hear(&b->wire, "{\"method\":\"turn/started\",\"params\":{\"threadId\":"
                                    "\"th-a\",\"turn\":{\"id\":\"tu-a\"}}}"));
}

static void test_text_before_the_answer_to_turn_start_is_heard(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    begin(b, &o);
    answer_before(b, 2);
    json_int_t id = wire_expect(&b->wire, "turn/start", NULL);
    turn_bench_delta(b, 'a', "m0", "whose?"); /* of no turn that we know */
    say_started(b);
    turn_bench_delta(b, 'a', "m1", "early ");
    wire_answer(&b->wire, id, "{\"turn\":{\"id\":\"tu-a\"}}");
    turn_bench_delta(b, 'a', "m1", "late");
    end_well(b, &o);
    assert_string_equal(buf_str(&o.text), "early late");
    forget(&o);
}

static void test_an_end_before_the_answer_to_turn_start_is_the_end(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    begin(b, &o);
    answer_before(b, 2);
    json_int_t id = wire_expect(&b->wire, "turn/start", NULL);
    say_started(b);
    turn_bench_delta(b, 'a', "m1", "quick");
    turn_bench_complete(b, 'a', ",\"status\":\"completed\"");
    assert_int_equal(o.ends, 1);
    assert_int_equal(o.outcome, TURN_COMPLETED);
    wire_answer(&b->wire, id, "{\"turn\":{\"id\":\"tu-a\"}}");
    turn_bench_release(b, 'a');
    assert_string_equal(buf_str(&o.text), "quick");
    forget(&o);
}

static void test_the_thread_may_be_given_back_before_turn_start_is_answered(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    begin(b, &o);
    answer_before(b, 2);
    json_int_t id = wire_expect(&b->wire, "turn/start", NULL);
    say_started(b);
    turn_bench_complete(b, 'a', ",\"status\":\"completed\"");
    turn_bench_release(b, 'a');
    wire_answer(&b->wire, id, "{\"turn\":{\"id\":\"tu-a\"}}"); /* nobody is left to hear it */
    assert_int_equal(o.ends, 1);
}

static void test_after_its_end_a_turn_says_nothing(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    begin_running(b, &o);
    turn_bench_complete(b, 'a', ",\"status\":\"completed\"");
    turn_bench_delta(b, 'a', "m1", "too late");
    turn_bench_complete(b, 'a', ",\"status\":\"failed\"");
    assert_int_equal(b->strangers, 0);
    turn_bench_release(b, 'a');
    assert_int_equal(wire_waiting(&b->wire), 0);
    turn_bench_delta(b, 'a', "m1", "much too late");
    assert_int_equal(b->strangers, 1);
    assert_int_equal(o.ends, 1);
    assert_int_equal(o.outcome, TURN_COMPLETED);
    assert_int_equal(o.heard.len, 0);
}

/* ---- the owner leaves ---- */

static void test_an_owner_that_leaves_early_is_followed_by_the_thread(void **state)
{
    struct turn_bench *b = *state;
    for (size_t step = 0; step < 2; step++) {
        for (int refused = 0; refused < 2; refused++) {
            struct owner o = { 0 };
            begin(b, &o);
            answer_before(b, step);
            turn_detach(o.turn);
            json_int_t id = wire_expect(&b->wire, questions[step], NULL);
            assert_int_equal(wire_waiting(&b->wire), 0);
            if (refused)
                wire_answer_error(&b->wire, id, -32600, "x");
            else
                wire_answer(&b->wire, id, "{\"thread\":{\"id\":\"th-a\"}}");
            if (step > 0 || !refused)
                turn_bench_release(b, 'a');
            assert_int_equal(wire_waiting(&b->wire), 0);
            assert_int_equal(turns_active(b->turns), 0);
            assert_int_equal(o.ends, 0);
        }
    }
}

static void test_an_owner_that_leaves_at_turn_start_has_the_model_stopped(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    begin(b, &o);
    answer_before(b, 2);
    json_int_t id = wire_expect(&b->wire, "turn/start", NULL);
    turn_detach(o.turn);
    assert_int_equal(wire_waiting(&b->wire), 0); /* the turn's id is not known yet */
    wire_answer(&b->wire, id, "{\"turn\":{\"id\":\"tu-a\"}}");
    turn_bench_delta(b, 'a', "m1", "unheard");
    turn_bench_interrupt(b, 'a');
    turn_bench_release(b, 'a');
    assert_int_equal(o.ends, 0);
    assert_int_equal(o.heard.len, 0);
}

static void
test_an_owner_that_leaves_once_the_turn_is_known_has_the_model_stopped_at_once(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    begin(b, &o);
    answer_before(b, 2);
    json_int_t id = wire_expect(&b->wire, "turn/start", NULL);
    say_started(b);
    turn_detach(o.turn);
    json_int_t interrupt = wire_expect(&b->wire, "turn/interrupt", NULL);
    wire_answer(&b->wire, id, "{\"turn\":{\"id\":\"tu-a\"}}");
    wire_answer(&b->wire, interrupt, "{}");
    assert_int_equal(wire_waiting(&b->wire), 0); /* one interrupt is enough */
    turn_bench_complete(b, 'a', ",\"status\":\"interrupted\"");
    turn_bench_release(b, 'a');
    assert_int_equal(o.ends, 0);
}

static void test_an_owner_that_leaves_a_running_turn_has_the_model_stopped(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    begin_running(b, &o);
    turn_bench_delta(b, 'a', "m1", "heard");
    turn_detach(o.turn);
    assert_int_equal(turns_active(b->turns), 1); /* the worker is still busy with it */
    turn_bench_delta(b, 'a', "m1", "unheard");
    turn_bench_interrupt(b, 'a');
    turn_bench_release(b, 'a');
    assert_int_equal(o.ends, 0);
    assert_string_equal(buf_str(&o.heard), "t:heard");
    forget(&o);
}

static void test_an_owner_may_leave_while_it_is_told_something(void **state)
{
    struct turn_bench *b = *state;
    for (int how = 0; how < 3; how++) {
        struct owner o = { .leaves = true };
        begin_running(b, &o);
        start_item(b, "m1", "null");
        if (how == 0)
            turn_bench_delta(b, 'a', "m1", "x");
        else if (how == 1)
            turn_bench_reason(b, 'a', "x");
        else
            complete_item(b, "m1", "x");
        turn_bench_delta(b, 'a', "m1", "unheard");
        turn_bench_interrupt(b, 'a');
        turn_bench_release(b, 'a');
        assert_string_equal(buf_str(&o.heard), how == 1 ? "r:x" : "t:x");
        assert_int_equal(o.ends, 0);
        forget(&o);
    }
}

static void test_an_owner_that_leaves_at_the_blank_line_does_not_hear_what_follows(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    begin_running(b, &o);
    turn_bench_delta(b, 'a', "m1", "one");
    complete_item(b, "m1", "one");
    o.leaves = true;
    turn_bench_delta(b, 'a', "m2", "two");
    assert_string_equal(buf_str(&o.heard), "t:one|t:\n\n");
    turn_bench_interrupt(b, 'a');
    turn_bench_release(b, 'a');
    forget(&o);
}

static void test_an_interrupt_that_comes_too_late_ends_the_turn_as_well(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    begin_running(b, &o);
    turn_detach(o.turn);
    wire_answer_error(&b->wire, wire_expect(&b->wire, "turn/interrupt", NULL), -32600, "ended");
    turn_bench_release(b, 'a');
    turn_bench_complete(b, 'a', ",\"status\":\"completed\"");
    assert_int_equal(b->strangers, 1);
}

static void test_an_end_before_the_answer_to_the_interrupt_is_the_end(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    begin_running(b, &o);
    turn_detach(o.turn);
    json_int_t id = wire_expect(&b->wire, "turn/interrupt", NULL);
    turn_bench_complete(b, 'a', ",\"status\":\"completed\"");
    wire_answer_error(&b->wire, id, -32600, "no such turn");
    turn_bench_release(b, 'a');
    assert_int_equal(wire_waiting(&b->wire), 0);
}

static bool has_waiting(const void *ctx)
{
    return wire_waiting(ctx) != 0;
}

static void test_an_interrupt_without_an_answer_is_given_up(void **state)
{
    struct turn_bench *b = *state; /* calls time out soon */
    struct owner o = { 0 };
    begin_running(b, &o);
    turn_detach(o.turn);
    wire_expect(&b->wire, "turn/interrupt", NULL);
    loop_until(&b->loop, has_waiting, &b->wire);
    turn_bench_release(b, 'a');
    assert_int_equal(turns_active(b->turns), 0);
}

/* ---- the worker goes ---- */

/* Brings a turn to a state: 0 to 2 are the questions, 3 is running, 4 interrupting, 5 releasing. */
static void bring_to(struct turn_bench *b, struct owner *o, int to)
{
    begin(b, o);
    answer_before(b, to < 2 ? (size_t)to : 2);
    if (to >= 3)
        turn_bench_start(b, 'a');
    if (to == 4) {
        turn_detach(o->turn);
        o->turn = NULL;
    }
    if (to == 5)
        turn_bench_complete(b, 'a', ",\"status\":\"completed\"");
}

static void test_a_worker_that_goes_takes_the_turn_with_it_in_every_state(void **state)
{
    struct turn_bench *b = *state;
    static const unsigned ends[] = { 1, 1, 1, 1, 0, 1 };
    static const char *const waiting[] = { "thread/start",   "thread/inject_items",
                                           "turn/start",     NULL,
                                           "turn/interrupt", "thread/unsubscribe" };
    for (int to = 0; to < 6; to++) {
        struct owner o = { 0 };
        bring_to(b, &o, to);
        json_int_t id = waiting[to] != NULL ? wire_expect(&b->wire, waiting[to], NULL) : 0;
        turns_worker_gone(b->turns);
        assert_int_equal(o.ends, ends[to]);
        if (o.ends != 0)
            assert_int_equal(o.outcome, to == 5 ? TURN_COMPLETED : TURN_LOST);
        assert_int_equal(turns_active(b->turns), 0);
        turns_worker_gone(b->turns); /* nothing is left to lose */
        wire_answer(&b->wire, id, "{\"thread\":{\"id\":\"th-a\"}}");
        turn_bench_delta(b, 'a', "m1", "x");
        assert_int_equal(b->strangers, (unsigned)to + 1);
        turns_worker_ready(b->turns, b->wire.rpc);
    }
}

static void test_turns_go_on_with_the_next_worker(void **state)
{
    struct turn_bench *b = *state;
    struct owner lost = { 0 };
    begin(b, &lost);
    wire_expect(&b->wire, "thread/start", NULL);
    turns_worker_gone(b->turns);
    struct turn_plan plan = turn_bench_plan();
    struct owner refused = { 0 };
    assert_null(turn_begin(b->turns, &plan, &events, &refused, NULL));
    turns_worker_ready(b->turns, b->wire.rpc);
    struct owner o = { 0 };
    begin_running(b, &o);
    turn_bench_delta(b, 'a', "m1", "again");
    end_well(b, &o);
    assert_string_equal(buf_str(&o.text), "again");
    forget(&o);
}

static void test_the_usage_so_far_is_told_when_the_worker_goes(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    begin_running(b, &o);
    turn_bench_note(b, 'a', "rawResponse/completed", ",\"usage\":{\"outputTokens\":5}");
    turns_worker_gone(b->turns);
    assert_int_equal(o.outcome, TURN_LOST);
    assert_int_equal(o.usage.output, 5);
}

static void test_one_that_hears_of_the_loss_may_leave_another_and_begin_none(void **state)
{
    struct turn_bench *b = *state;
    struct owner o[3] = { { 0 } };
    for (int i = 0; i < 3; i++) {
        begin(b, &o[i]);
        wire_expect(&b->wire, "thread/start", NULL);
    }
    o[0].detaches = &o[1];
    o[0].begins = b;
    turns_worker_gone(b->turns);
    assert_int_equal(o[0].ends, 1);
    assert_int_equal(o[1].ends, 0);
    assert_int_equal(o[2].ends, 1);
}

static void test_freeing_the_table_ends_what_runs(void **state)
{
    (void)state;
    struct turn_bench b;
    turn_bench_begin(&b, BENCH_RPC_MS, BENCH_TURN_MS);
    struct owner o = { 0 };
    begin(&b, &o);
    turn_bench_run(&b, 'a');
    turn_bench_end(&b);
    assert_int_equal(o.ends, 1);
    assert_int_equal(o.outcome, TURN_LOST);
}

static bool has_ended(const void *ctx)
{
    const struct owner *o = ctx;
    return o->ends != 0;
}

static void test_a_worker_that_cannot_be_written_to_is_lost(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    b->wire.broken = true;
    begin(b, &o);
    assert_int_equal(o.ends, 0);
    loop_until(&b->loop, has_ended, &o);
    assert_int_equal(o.outcome, TURN_LOST);
}

static void test_a_pipe_that_breaks_under_a_turn_ends_it(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    begin(b, &o);
    b->wire.broken = true;
    turn_bench_open(b, 'a'); /* the next question cannot be sent, nor the thread given back */
    loop_until(&b->loop, has_ended, &o);
    assert_int_equal(o.outcome, TURN_LOST);
    assert_int_equal(turns_active(b->turns), 0);
}

/* ---- time ---- */

static void test_a_question_without_an_answer_times_out_at_each_step(void **state)
{
    struct turn_bench *b = *state; /* calls time out soon */
    for (size_t step = 0; step < COUNT_OF(questions); step++) {
        struct owner o = { 0 };
        begin(b, &o);
        answer_before(b, step);
        wire_expect(&b->wire, questions[step], NULL);
        loop_until(&b->loop, has_ended, &o);
        assert_int_equal(o.outcome, TURN_TIMED_OUT);
        if (step > 0)
            turn_bench_release(b, 'a');
        assert_int_equal(wire_waiting(&b->wire), 0);
    }
}

static void test_a_turn_past_its_deadline_is_ended_and_the_model_stopped(void **state)
{
    struct turn_bench *b = *state; /* turns time out soon */
    struct owner o = { 0 };
    begin_running(b, &o);
    turn_bench_delta(b, 'a', "m1", "slow");
    loop_until(&b->loop, has_ended, &o);
    assert_int_equal(o.outcome, TURN_TOO_LONG);
    turn_bench_delta(b, 'a', "m1", "unheard");
    turn_bench_interrupt(b, 'a');
    turn_bench_release(b, 'a');
    assert_int_equal(o.ends, 1);
    assert_string_equal(buf_str(&o.text), "slow");
    forget(&o);
}

static void test_a_deadline_before_the_model_runs_ends_the_turn_too(void **state)
{
    struct turn_bench *b = *state; /* turns time out soon */
    for (size_t step = 0; step < COUNT_OF(questions); step++) {
        struct owner o = { 0 };
        begin(b, &o);
        answer_before(b, step);
        loop_until(&b->loop, has_ended, &o);
        assert_int_equal(o.outcome, TURN_TOO_LONG);
        json_int_t id = wire_expect(&b->wire, questions[step], NULL);
        assert_int_equal(wire_waiting(&b->wire), 0);
        wire_answer(&b->wire, id, "{\"thread\":{\"id\":\"th-a\"},\"turn\":{\"id\":\"tu-a\"}}");
        if (step == 2)
            turn_bench_interrupt(b, 'a');
        turn_bench_release(b, 'a');
        assert_int_equal(o.ends, 1);
    }
}

/* ---- function calls ---- */

static int setup_keeping(void **state)
{
    struct turn_bench *b = calloc(1, sizeof(*b));
    turn_bench_begin_keeping(b);
    *state = b;
    return 0;
}

/* Kept for a few milliseconds only. */
static int setup_forgetful(void **state)
{
    struct turn_bench *b = calloc(1, sizeof(*b));
    const struct turns_options options = { .rpc_timeout_ms = BENCH_RPC_MS,
                                           .turn_timeout_ms = BENCH_TURN_MS,
                                           .park_ttl_ms = 5,
                                           .parked_max = 9,
                                           .idle_ttl_ms = 5,
                                           .idle_max = 9 };
    turn_bench_begin_with(b, &options);
    *state = b;
    return 0;
}

static struct turn *find(struct turn_bench *b, char digest_byte)
{
    unsigned char digest[TURN_DIGEST_BYTES];
    memset(digest, digest_byte, sizeof(digest));
    return turns_find(b->turns, digest);
}

/* A turn on thread `name` that calls look as c1 and go as c2, and is kept under its name. */
static void park(struct turn_bench *b, struct owner *o, char name)
{
    o->keeps = name;
    begin(b, o);
    turn_bench_run(b, name);
    turn_bench_call(b, name, "c1", "look", "{}");
    turn_bench_call(b, name, "c2", "go", "{ \"a\": 1 }");
    turn_bench_response(b, name);
    assert_int_equal(o->ends, 1);
    assert_int_equal(o->outcome, TURN_CALLS);
    assert_int_equal(wire_waiting(&b->wire), 0);
    assert_non_null(find(b, name));
}

/* A turn on thread `name` that has answered, and is kept under its name. */
static void leave_idle(struct turn_bench *b, struct owner *o, char name)
{
    o->keeps = name;
    begin(b, o);
    turn_bench_run(b, name);
    turn_bench_delta(b, name, "m1", "before");
    turn_bench_response(b, name);
    turn_bench_complete(b, name, ",\"status\":\"completed\"");
    assert_int_equal(o->outcome, TURN_COMPLETED);
    assert_int_equal(wire_waiting(&b->wire), 0);
    assert_non_null(find(b, name));
}

static struct turn_result result(const char *call_id)
{
    return (struct turn_result){ call_id, json_pack("[{s:s}]", "text", call_id) };
}

static void drop_results(struct turn_result *results, size_t count)
{
    for (size_t i = 0; i < count; i++)
        json_decref(results[i].content);
}

#define ANSWER(call_id) "{\"contentItems\":[{\"text\":\"" call_id "\"}],\"success\":true}"

/* Gives both results, in this order. */
static void resume(struct turn_bench *b, struct owner *o, char name, const char *first,
                   const char *second)
{
    struct turn *turn = find(b, name);
    struct turn_result results[] = { result(first), result(second) };
    assert_non_null(turn);
    assert_true(turn_waits_for(turn, results, 2));
    o->turn = turn_resume(turn, results, 2, &events, o, NULL);
    assert_non_null(o->turn);
    assert_null(results[0].content);
    assert_null(results[1].content);
    assert_null(find(b, name)); /* it is nobody else's now */
    assert_int_equal(turns_active(b->turns), 1);
}

/* The model says something after its results, and ends. */
static void end_resumed(struct turn_bench *b, struct owner *o, char name)
{
    turn_bench_delta(b, name, "m9", "done");
    turn_bench_response(b, name);
    turn_bench_complete(b, name, ",\"status\":\"completed\"");
    turn_bench_release(b, name);
    assert_int_equal(o->ends, 1);
    assert_int_equal(o->outcome, TURN_COMPLETED);
    assert_string_equal(buf_str(&o->heard), "t:done");
    assert_int_equal(o->usage.total, 1); /* of this part alone */
    forget(o);
}

static void test_calls_are_told_when_the_response_is_whole(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    begin_running(b, &o);
    turn_bench_delta(b, 'a', "m1", "I look");
    turn_bench_call(b, 'a', "c1", "look", "{ \"a\" : \"\\n\" }");
    assert_int_equal(o.ends, 0);
    turn_bench_call(b, 'a', "c2", "look", "no JSON");
    turn_bench_ask(b, 'a', "7", "c1");
    assert_int_equal(o.ends, 0);
    turn_bench_response(b, 'a');
    assert_int_equal(o.ends, 1);
    assert_int_equal(o.outcome, TURN_CALLS);
    assert_string_equal(buf_str(&o.calls), "c1 look { \"a\" : \"\\n\" };c2 look no JSON;");
    assert_string_equal(buf_str(&o.text), "I look");
    assert_int_equal(o.usage.total, 1);
    turn_bench_interrupt(b, 'a'); /* nobody has it kept */
    turn_bench_release(b, 'a');
    forget(&o);
}

static void assert_page_has(const char *line)
{
    struct buf page = BUF_INIT;
    metrics_write(&page, METRICS_TEXT);
    if (strstr(buf_str(&page), line) == NULL)
        fail_msg("not on the page: %s", line);
    buf_free(&page);
}

/* What the worker says of calls that were told already is no batch more. */
static void test_a_batch_of_calls_is_counted_once(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { .keeps = 'a' };
    struct owner next = { 0 };
    metrics_reset();
    park(b, &o, 'a');
    turn_bench_delta(b, 'a', "m1", "late");
    resume(b, &next, 'a', "c1", "c2");
    turn_bench_ask(b, 'a', "1", "c1");
    turn_bench_ask(b, 'a', "2", "c2");
    wire_expect_answer(&b->wire, "1", ANSWER("c1"));
    wire_expect_answer(&b->wire, "2", ANSWER("c2"));
    end_resumed(b, &next, 'a');
    assert_page_has("\ncodex_tool_buffer_started_total 1\n");
    assert_page_has("\ncodex_tool_buffer_flushed_total 1\n");
    assert_page_has("\ncodex_turns_total{outcome=\"completed\"} 1\n");
    forget(&o);
}

static void test_results_reach_the_worker_whenever_it_asks(void **state)
{
    struct turn_bench *b = *state;
    enum { BEFORE, PARKED, AFTER };
    for (int when = 0; when < 9; when++) {
        const int first = when % 3;
        const int second = when / 3;
        for (int swapped = 0; swapped < 2; swapped++) {
            struct owner o = { .keeps = 'a' };
            struct owner next = { 0 };
            begin_running(b, &o);
            turn_bench_call(b, 'a', "c1", "look", "{}");
            if (first == BEFORE)
                turn_bench_ask(b, 'a', "\"r1\"", "c1");
            turn_bench_call(b, 'a', "c2", "go", "{}");
            if (second == BEFORE)
                turn_bench_ask(b, 'a', "2", "c2");
            turn_bench_response(b, 'a');
            if (second == PARKED)
                turn_bench_ask(b, 'a', "2", "c2");
            if (first == PARKED)
                turn_bench_ask(b, 'a', "\"r1\"", "c1");
            assert_int_equal(wire_waiting(&b->wire), 0);
            resume(b, &next, 'a', swapped ? "c2" : "c1", swapped ? "c1" : "c2");
            const size_t known = (size_t)(first != AFTER) + (size_t)(second != AFTER);
            assert_int_equal(wire_waiting(&b->wire), known);
            if (known == 2 && swapped) {
                wire_expect_answer(&b->wire, "2", ANSWER("c2"));
                wire_expect_answer(&b->wire, "\"r1\"", ANSWER("c1"));
            } else {
                if (first == AFTER && second != AFTER)
                    wire_expect_answer(&b->wire, "2", ANSWER("c2"));
                if (first == AFTER)
                    turn_bench_ask(b, 'a', "\"r1\"", "c1");
                wire_expect_answer(&b->wire, "\"r1\"", ANSWER("c1"));
                if (second == AFTER)
                    turn_bench_ask(b, 'a', "2", "c2");
                if (first != AFTER || second == AFTER)
                    wire_expect_answer(&b->wire, "2", ANSWER("c2"));
            }
            assert_int_equal(wire_waiting(&b->wire), 0);
            end_resumed(b, &next, 'a');
            forget(&o);
        }
    }
    assert_int_equal(json_array_size(b->wire.requests), 0);
}

static void test_a_turn_may_wait_for_results_again_and_again(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { .keeps = 'a' };
    begin_running(b, &o);
    for (int round = 0; round < 5; round++) {
        char id[8];
        snprintf(id, sizeof(id), "c%d", round);
        turn_bench_call(b, 'a', id, "look", "{}");
        turn_bench_ask(b, 'a', "5", id);
        turn_bench_response(b, 'a');
        assert_int_equal(o.ends, 1);
        assert_int_equal(o.outcome, TURN_CALLS);
        assert_int_equal(o.usage.total, 1);
        struct turn_result results[] = { result(id) };
        struct turn *turn = find(b, 'a');
        forget(&o);
        o = (struct owner){ .keeps = 'a' };
        assert_true(turn_waits_for(turn, results, 1));
        o.turn = turn_resume(turn, results, 1, &events, &o, NULL);
        json_t *answer = json_array_get(b->wire.sent, 0);
        assert_int_equal(json_int_at(answer, "id", 0), 5);
        json_array_remove(b->wire.sent, 0);
    }
    o.keeps = 0;
    end_resumed(b, &o, 'a');
}

static void test_only_exactly_the_results_that_are_waited_for_will_do(void **state)
{
    struct turn_bench *b = *state;
    static const char *const wrong[][4] = {
        { NULL },
        { "c1", NULL },
        { "c2", NULL },
        { "c1", "c1", NULL },
        { "c1", "c3", NULL },
        { "c1", "C2", NULL },
        { "c1", "c2", "c3", NULL },
        { "c1", "c2", "c2", NULL },
    };
    struct owner o = { 0 };
    park(b, &o, 'a');
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        struct turn_result results[4];
        size_t count = 0;
        for (; wrong[i][count] != NULL; count++)
            results[count] = result(wrong[i][count]);
        assert_false(turn_waits_for(find(b, 'a'), results, count));
        drop_results(results, count);
    }
    assert_false(turn_is_idle(find(b, 'a')));
    struct owner next = { 0 };
    turn_bench_ask(b, 'a', "1", "c1");
    turn_bench_ask(b, 'a', "2", "c2");
    resume(b, &next, 'a', "c1", "c2"); /* it still waits */
    wire_expect_answer(&b->wire, "1", ANSWER("c1"));
    wire_expect_answer(&b->wire, "2", ANSWER("c2"));
    end_resumed(b, &next, 'a');
    forget(&o);
}

static void test_two_calls_of_one_id_cannot_be_answered(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { .keeps = 'a' };
    begin_running(b, &o);
    turn_bench_call(b, 'a', "c1", "look", "{}");
    turn_bench_call(b, 'a', "c1", "go", "{}");
    turn_bench_response(b, 'a');
    assert_int_equal(o.outcome, TURN_CALLS);
    struct turn_result results[] = { result("c1"), result("c1") };
    assert_false(turn_waits_for(find(b, 'a'), results, 2));
    assert_false(turn_waits_for(find(b, 'a'), results, 1));
    drop_results(results, 2);
    turns_worker_gone(b->turns);
    forget(&o);
}

static void test_a_tool_that_nobody_offered_is_not_the_clients(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { .keeps = 'a' };
    begin_running(b, &o);
    turn_bench_call(b, 'a', "c0", "hack", "{}");
    turn_bench_call(b, 'a', "c1", "look", "{}");
    turn_bench_call(b, 'a', "c2", "", "{}");
    turn_bench_response(b, 'a');
    assert_int_equal(o.outcome, TURN_CALLS);
    assert_string_equal(buf_str(&o.calls), "c1 look {};");
    struct turn_result results[] = { result("c1") };
    assert_true(turn_waits_for(find(b, 'a'), results, 1));
    drop_results(results, 1);
    turns_worker_gone(b->turns);
    forget(&o);
}

static void test_a_batch_behind_a_response_without_calls_is_whole(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    begin_running(b, &o);
    turn_bench_call(b, 'a', "c0", "hack",
                    "{}"); /* the worker itself says that there is no such tool */
    turn_bench_response(b, 'a');
    assert_int_equal(o.ends, 0);
    turn_bench_call(b, 'a', "c1", "look", "{}");
    assert_int_equal(o.ends, 0);
    turn_bench_call(b, 'a', "c2", "go", "{}");
    turn_bench_response(b, 'a');
    assert_int_equal(o.ends, 1);
    assert_string_equal(buf_str(&o.calls), "c1 look {};c2 go {};");
    assert_int_equal(o.usage.total, 2);
    turn_bench_interrupt(b, 'a');
    turn_bench_release(b, 'a');
    forget(&o);
}

static void test_requests_that_are_no_call_of_a_turn_are_left_to_others(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    static const char *const strange[] = {
        "{\"id\":1,\"method\":\"item/tool/call\",\"params\":{\"threadId\":\"th-b\",\"turnId\":"
        "\"tu-a\",\"callId\":\"c1\"}}",
        "{\"id\":1,\"method\":\"item/tool/call\",\"params\":{\"threadId\":\"th-a\",\"turnId\":"
        "\"tu-b\",\"callId\":\"c1\"}}",
        "{\"id\":1,\"method\":\"item/tool/call\",\"params\":{\"threadId\":\"th-a\",\"turnId\":"
        "\"tu-a\"}}",
        "{\"id\":1,\"method\":\"item/tool/call\",\"params\":{\"threadId\":\"th-a\",\"turnId\":"
        "\"tu-a\",\"callId\":7}}",
        "{\"id\":1,\"method\":\"item/tool/call\"}",
        "{\"id\":1,\"method\":\"item/commandExecution/requestApproval\",\"params\":{\"threadId\":"
        "\"th-a\",\"turnId\":\"tu-a\",\"callId\":\"c1\"}}",
    };
    begin_running(b, &o);
    for (size_t i = 0; i < COUNT_OF(strange); i++) {
        assert_true(wire_hear(&b->wire, "%s", strange[i]));
        assert_int_equal(json_array_size(b->wire.requests), i + 1);
    }
    end_well(b, &o);
    forget(&o);
}

static void test_the_calls_that_a_worker_may_leave_open_are_bounded(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    begin_running(b, &o);
    for (int i = 0; i < OUTPUT_CALLS_MAX + 3; i++) {
        char id[16];
        char request[16];
        snprintf(id, sizeof(id), "c%d", i);
        snprintf(request, sizeof(request), "%d", i);
        turn_bench_ask(b, 'a', request, id);
    }
    assert_int_equal(json_array_size(b->wire.requests), 3);
    end_well(b, &o);
    forget(&o);
}

/* ---- parked turns ---- */

static void test_a_parked_turn_occupies_nobody_and_says_nothing(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    park(b, &o, 'a');
    assert_int_equal(turns_active(b->turns), 0);
    turn_bench_delta(b, 'a', "m1", "unheard");
    turn_bench_response(b, 'a');
    assert_int_equal(b->strangers, 0);
    assert_int_equal(o.ends, 1);
    assert_null(find(b, 'b'));
    turns_worker_gone(b->turns);
    forget(&o);
}

static void test_a_parked_turn_that_ends_by_itself_is_forgotten(void **state)
{
    struct turn_bench *b = *state;
    static const char *const ends[] = { ",\"status\":\"completed\"", ",\"status\":\"interrupted\"",
                                        ",\"status\":\"failed\"" };
    for (size_t i = 0; i < COUNT_OF(ends); i++) {
        struct owner o = { 0 };
        park(b, &o, 'a');
        turn_bench_complete(b, 'a', ends[i]);
        assert_null(find(b, 'a'));
        turn_bench_release(b, 'a');
        assert_int_equal(o.ends, 1);
        forget(&o);
    }
}

static void test_nobody_coming_back_to_a_parked_turn_has_the_model_stopped(void **state)
{
    struct turn_bench *b = *state; /* kept for a short time */
    struct owner o = { 0 };
    park(b, &o, 'a');
    loop_until(&b->loop, has_waiting, &b->wire);
    assert_null(find(b, 'a'));
    turn_bench_interrupt(b, 'a');
    turn_bench_release(b, 'a');
    assert_int_equal(o.ends, 1);
    forget(&o);
}

static void test_of_too_many_parked_turns_the_oldest_gives_way(void **state)
{
    struct turn_bench *b = *state; /* keeps two */
    struct owner o[4] = { { 0 } };
    park(b, &o[0], 'a');
    park(b, &o[1], 'b');
    struct owner idle = { 0 };
    leave_idle(b, &idle, 'x'); /* is counted by itself */
    for (int i = 2; i < 4; i++) {
        o[i].keeps = (char)('a' + i);
        begin(b, &o[i]);
        turn_bench_run(b, (char)('a' + i));
        turn_bench_call(b, (char)('a' + i), "c1", "look", "{}");
        turn_bench_response(b, (char)('a' + i));
        assert_null(find(b, (char)('a' + i - 2)));
        turn_bench_interrupt(b, (char)('a' + i - 2));
        turn_bench_release(b, (char)('a' + i - 2));
    }
    assert_non_null(find(b, 'c'));
    assert_non_null(find(b, 'd'));
    assert_non_null(find(b, 'x'));
    turns_worker_gone(b->turns);
    for (int i = 0; i < 4; i++)
        forget(&o[i]);
    forget(&idle);
}

static void test_a_worker_that_goes_takes_what_is_kept_with_it_in_silence(void **state)
{
    struct turn_bench *b = *state;
    struct owner o[2] = { { 0 } };
    park(b, &o[0], 'a');
    turn_bench_ask(b, 'a', "1", "c1");
    leave_idle(b, &o[1], 'b');
    turns_worker_gone(b->turns);
    assert_null(find(b, 'a'));
    assert_null(find(b, 'b'));
    turns_worker_ready(b->turns, b->wire.rpc);
    turn_bench_delta(b, 'a', "m1", "x");
    assert_int_equal(b->strangers, 1);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(o[i].ends, 1);
        forget(&o[i]);
    }
}

static void test_an_owner_that_leaves_a_resumed_turn_has_the_model_stopped(void **state)
{
    struct turn_bench *b = *state;
    for (int asked = 0; asked < 2; asked++) {
        struct owner o = { 0 };
        struct owner next = { 0 };
        park(b, &o, 'a');
        resume(b, &next, 'a', "c1", "c2");
        turn_detach(next.turn);
        if (asked) { /* the request crosses the interrupt */
            turn_bench_ask(b, 'a', "1", "c1");
        }
        json_int_t id = wire_expect(&b->wire, "turn/interrupt", NULL);
        wire_answer(&b->wire, id, "{}");
        if (asked)
            wire_expect_answer(&b->wire, "1", ANSWER("c1"));
        turn_bench_complete(b, 'a', ",\"status\":\"interrupted\"");
        turn_bench_release(b, 'a');
        assert_int_equal(next.ends, 0);
        assert_int_equal(json_array_size(b->wire.requests), 0);
        forget(&o);
        forget(&next);
    }
}

static void test_a_resumed_turn_may_be_lost(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    struct owner next = { 0 };
    park(b, &o, 'a');
    resume(b, &next, 'a', "c1", "c2");
    turns_worker_gone(b->turns);
    assert_int_equal(next.ends, 1);
    assert_int_equal(next.outcome, TURN_LOST);
    forget(&o);
    forget(&next);
}

static void test_a_resumed_turn_has_a_deadline_of_its_own(void **state)
{
    (void)state;
    struct turn_bench b;
    const struct turns_options options = { .rpc_timeout_ms = BENCH_RPC_MS,
                                           .turn_timeout_ms = 50,
                                           .park_ttl_ms = BENCH_TURN_MS,
                                           .parked_max = 1 };
    turn_bench_begin_with(&b, &options);
    struct owner o = { 0 };
    struct owner next = { 0 };
    park(&b, &o, 'a');
    resume(&b, &next, 'a', "c1", "c2");
    loop_until(&b.loop, has_ended, &next);
    assert_int_equal(next.outcome, TURN_TOO_LONG);
    turn_bench_interrupt(&b, 'a');
    turn_bench_release(&b, 'a');
    forget(&o);
    forget(&next);
    turn_bench_end(&b);
}

/* ---- idle threads ---- */

static struct turn_plan next_plan(const char *items)
{
    struct turn_plan plan = { NULL, json_parse(items, strlen(items), NULL),
                              json_pack("{s:[]}", "input") };
    assert_non_null(plan.items);
    return plan;
}

static void again(struct turn_bench *b, struct owner *o, char name, const char *items)
{
    struct turn *turn = find(b, name);
    struct turn_plan plan = next_plan(items);
    assert_true(turn_is_idle(turn));
    o->turn = turn_again(turn, &plan, &events, o, NULL);
    assert_non_null(o->turn);
    assert_null(plan.items);
    assert_null(plan.start);
    assert_null(find(b, name));
    assert_int_equal(turns_active(b->turns), 1);
}

static void test_an_idle_thread_is_given_only_what_is_new(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    struct owner next = { 0 };
    leave_idle(b, &o, 'a');
    assert_int_equal(turns_active(b->turns), 0);
    assert_false(turn_waits_for(find(b, 'a'), NULL, 0));
    again(b, &next, 'a', "[{\"n\":\"2\"}]");
    json_t *params = NULL;
    json_int_t id = wire_expect(&b->wire, "thread/inject_items", &params);
    assert_string_equal(json_str_at(params, "threadId"), "th-a");
    assert_int_equal(json_array_size(json_object_get(params, "items")), 1);
    assert_string_equal(json_str_at(json_array_get(json_object_get(params, "items"), 0), "n"), "2");
    json_decref(params);
    wire_answer(&b->wire, id, "{}");
    turn_bench_delta(b, 'a', "m1", "of the turn before"); /* its id is not this turn's */
    id = wire_expect(&b->wire, "turn/start", &params);
    assert_string_equal(json_str_at(params, "threadId"), "th-a");
    json_decref(params);
    wire_answer(&b->wire, id, "{\"turn\":{\"id\":\"tu-a\"}}");
    turn_bench_note(b, 'a', "item/started", ",\"item\":{\"type\":\"agentMessage\",\"id\":\"m2\"}");
    turn_bench_delta(b, 'a', "m2", "again");
    turn_bench_response(b, 'a');
    turn_bench_complete(b, 'a', ",\"status\":\"completed\"");
    turn_bench_release(b, 'a');
    assert_int_equal(next.ends, 1);
    assert_int_equal(next.outcome, TURN_COMPLETED);
    assert_string_equal(buf_str(&next.heard), "t:again");
    assert_int_equal(next.usage.total, 1); /* of this answer alone */
    forget(&next);
    forget(&o);
}

static void test_an_idle_thread_without_anything_new_starts_at_once(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    struct owner next = { .keeps = 'b' };
    leave_idle(b, &o, 'a');
    again(b, &next, 'a', "[]");
    turn_bench_start(b, 'a');
    turn_bench_complete(b, 'a', ",\"status\":\"completed\"");
    assert_int_equal(next.outcome, TURN_COMPLETED);
    assert_non_null(find(b, 'b')); /* kept once more */
    turns_worker_gone(b->turns);
    forget(&next);
    forget(&o);
}

static void test_an_idle_thread_may_call_functions_next(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    struct owner next = { .keeps = 'a' };
    leave_idle(b, &o, 'a');
    again(b, &next, 'a', "[{}]");
    turn_bench_inject(b);
    turn_bench_start(b, 'a');
    turn_bench_call(b, 'a', "c1", "look", "{}");
    turn_bench_response(b, 'a');
    assert_int_equal(next.outcome, TURN_CALLS);
    assert_false(turn_is_idle(find(b, 'a')));
    turns_worker_gone(b->turns);
    forget(&next);
    forget(&o);
}

static void test_an_idle_thread_that_refuses_what_is_new_is_given_back(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    struct owner next = { 0 };
    leave_idle(b, &o, 'a');
    again(b, &next, 'a', "[{}]");
    wire_answer_error(&b->wire, wire_expect(&b->wire, "thread/inject_items", NULL), -32600, "no");
    assert_int_equal(next.outcome, TURN_FAILED);
    turn_bench_release(b, 'a');
    forget(&next);
    forget(&o);
}

static void test_an_owner_may_leave_an_idle_thread_that_begins_again(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    struct owner next = { 0 };
    leave_idle(b, &o, 'a');
    again(b, &next, 'a', "[{}]");
    turn_detach(next.turn);
    turn_bench_inject(b);
    turn_bench_release(b, 'a');
    assert_int_equal(next.ends, 0);
    forget(&o);
}

static void test_an_idle_thread_that_is_not_used_is_given_back(void **state)
{
    struct turn_bench *b = *state; /* kept for a short time */
    struct owner o = { 0 };
    leave_idle(b, &o, 'a');
    loop_until(&b->loop, has_waiting, &b->wire);
    assert_null(find(b, 'a'));
    turn_bench_release(b, 'a');
    forget(&o);
}

static void test_of_too_many_idle_threads_the_one_unused_longest_gives_way(void **state)
{
    struct turn_bench *b = *state; /* keeps two */
    struct owner o[3] = { { 0 } };
    struct owner next = { .keeps = 'a' };
    leave_idle(b, &o[0], 'a');
    leave_idle(b, &o[1], 'b');
    again(b, &next, 'a', "[]"); /* so that b is the one unused longest */
    turn_bench_start(b, 'a');
    turn_bench_complete(b, 'a', ",\"status\":\"completed\"");
    o[2].keeps = 'c';
    begin(b, &o[2]);
    turn_bench_run(b, 'c');
    turn_bench_complete(b, 'c', ",\"status\":\"completed\"");
    assert_null(find(b, 'b'));
    turn_bench_release(b, 'b');
    assert_non_null(find(b, 'a'));
    assert_non_null(find(b, 'c'));
    turns_worker_gone(b->turns);
    for (int i = 0; i < 3; i++)
        forget(&o[i]);
    forget(&next);
}

static void test_a_turn_that_failed_is_not_kept(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    begin_running(b, &o);
    turn_bench_complete(b, 'a', ",\"status\":\"failed\",\"error\":{\"message\":\"x\"}");
    turn_bench_release(b, 'a');
    assert_null(find(b, 'a'));
    forget(&o);
}

static void test_an_end_before_the_answer_to_turn_start_can_be_kept(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { .keeps = 'a' };
    struct owner next = { 0 };
    begin(b, &o);
    answer_before(b, 2);
    json_int_t id = wire_expect(&b->wire, "turn/start", NULL);
    say_started(b);
    turn_bench_complete(b, 'a', ",\"status\":\"completed\"");
    wire_answer(&b->wire, id, "{\"turn\":{\"id\":\"tu-a\"}}"); /* it is idle by now */
    assert_true(turn_is_idle(find(b, 'a')));
    again(b, &next, 'a', "[]");
    id = wire_expect(&b->wire, "turn/start", NULL);
    wire_answer(&b->wire, id, "{\"turn\":{\"id\":\"tu-2\"}}");
    assert_true(wire_hear(
        &b->wire, "{\"method\":\"turn/completed\",\"params\":{\"threadId\":\"th-a\",\"turn\":"
                  "{\"id\":\"tu-2\",\"status\":\"completed\"}}}"));
    assert_int_equal(next.ends, 1);
    turn_bench_release(b, 'a');
    forget(&o);
}

/* The end of the first run has overtaken its answer: that answer is none of the second run's. */
static json_int_t begin_again_unanswered(struct turn_bench *b, struct owner *o, struct owner *next)
{
    begin(b, o);
    answer_before(b, 2);
    json_int_t id = wire_expect(&b->wire, "turn/start", NULL);
    say_started(b);
    turn_bench_complete(b, 'a', ",\"status\":\"completed\"");
    again(b, next, 'a', "[{}]");
    return id;
}

static void test_a_late_failure_of_the_first_run_does_not_end_the_second(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { .keeps = 'a' };
    struct owner next = { 0 };
    json_int_t id = begin_again_unanswered(b, &o, &next);
    wire_answer_error(&b->wire, id, -32603, "late");
    assert_int_equal(next.ends, 0);
    turn_bench_inject(b);
    turn_bench_start(b, 'a');
    turn_bench_complete(b, 'a', ",\"status\":\"completed\"");
    assert_int_equal(next.outcome, TURN_COMPLETED);
    turn_bench_release(b, 'a');
    forget(&next);
    forget(&o);
}

static void test_a_late_answer_of_the_first_run_does_not_name_the_second(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { .keeps = 'a' };
    struct owner next = { 0 };
    json_int_t id = begin_again_unanswered(b, &o, &next);
    wire_answer(&b->wire, id, "{\"turn\":{\"id\":\"tu-a\"}}");
    turn_bench_inject(b);
    id = wire_expect(&b->wire, "turn/start", NULL); /* the end overtakes its answer as well */
    assert_true(wire_hear(&b->wire,
                          "{\"method\":\"turn/started\",\"params\":{\"threadId\":\"th-a\","
                          "\"turn\":{\"id\":\"tu-2\"}}}"));
    assert_true(wire_hear(
        &b->wire, "{\"method\":\"turn/completed\",\"params\":{\"threadId\":\"th-a\",\"turn\":"
                  "{\"id\":\"tu-2\",\"status\":\"completed\"}}}"));
    assert_int_equal(next.ends, 1);
    wire_answer(&b->wire, id, "{\"turn\":{\"id\":\"tu-2\"}}");
    turn_bench_release(b, 'a');
    forget(&next);
    forget(&o);
}

/* ---- all of them ---- */

static void test_every_run_of_the_model_is_counted_and_every_thread_that_is_held(void **state)
{
    struct turn_bench *b = *state; /* keeps */
    struct owner o = { 0 };
    struct owner idle = { 0 };
    struct owner next[2] = { { 0 } };
    assert_int_equal(turns_begun(b->turns), 0);
    assert_int_equal(turns_count(b->turns), 0);
    park(b, &o, 'a');
    assert_int_equal(turns_begun(b->turns), 1);
    assert_int_equal(turns_count(b->turns), 1);
    leave_idle(b, &idle, 'b');
    assert_int_equal(turns_begun(b->turns), 2);
    assert_int_equal(turns_count(b->turns), 2);
    assert_int_equal(turns_active(b->turns), 0);
    resume(b, &next[0], 'a', "c1", "c2");
    assert_int_equal(turns_begun(b->turns), 3);
    turn_bench_complete(b, 'a', ",\"status\":\"completed\"");
    assert_int_equal(turns_count(b->turns), 2); /* it is still being given back */
    turn_bench_release(b, 'a');
    assert_int_equal(turns_count(b->turns), 1);
    again(b, &next[1], 'b', "[]");
    assert_int_equal(turns_begun(b->turns), 4);
    turn_bench_start(b, 'b');
    turn_bench_complete(b, 'b', ",\"status\":\"completed\"");
    turn_bench_release(b, 'b');
    assert_int_equal(turns_count(b->turns), 0);
    assert_int_equal(turns_begun(b->turns), 4); /* that is history, and stays */
    forget(&o);
    forget(&idle);
    forget(&next[0]);
    forget(&next[1]);
}

static void test_all_that_is_kept_can_be_given_back_at_once(void **state)
{
    struct turn_bench *b = *state; /* keeps */
    struct owner o[3] = { { 0 } };
    park(b, &o[0], 'a');
    leave_idle(b, &o[1], 'b');
    begin(b, &o[2]);
    turn_bench_run(b, 'c');
    turns_drop_kept(b->turns);
    assert_null(find(b, 'a'));
    assert_null(find(b, 'b'));
    turn_bench_interrupt(b, 'a');
    turn_bench_release(b, 'b');
    turn_bench_release(b, 'a');
    assert_int_equal(turns_count(b->turns), 1);
    assert_int_equal(o[2].ends, 0); /* one that runs goes on */
    turns_drop_kept(b->turns);
    for (int i = 0; i < 3; i++)
        forget(&o[i]);
    turn_detach(o[2].turn);
    turn_bench_interrupt(b, 'c');
    turn_bench_release(b, 'c');
}

static void test_from_then_on_nothing_is_kept_whatever_the_owner_wants(void **state)
{
    struct turn_bench *b = *state; /* keeps */
    struct owner o[2] = { { .keeps = 'a' }, { .keeps = 'b' } };
    begin(b, &o[0]);
    turn_bench_run(b, 'a');
    begin(b, &o[1]);
    turn_bench_run(b, 'b');
    turns_drop_kept(b->turns);
    turn_bench_complete(b, 'a', ",\"status\":\"completed\"");
    assert_int_equal(o[0].outcome, TURN_COMPLETED);
    assert_null(find(b, 'a'));
    turn_bench_release(b, 'a');
    turn_bench_call(b, 'b', "c1", "look", "{}");
    turn_bench_response(b, 'b');
    assert_int_equal(o[1].outcome, TURN_CALLS);
    assert_null(find(b, 'b'));
    turn_bench_interrupt(b, 'b');
    turn_bench_release(b, 'b');
    assert_int_equal(turns_count(b->turns), 0);
    forget(&o[0]);
    forget(&o[1]);
}

#define TURN_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define SHORT_CALLS_TEST(test) cmocka_unit_test_setup_teardown(test, setup_short_calls, teardown)
#define KEEPING_TEST(test) cmocka_unit_test_setup_teardown(test, setup_keeping, teardown)
#define FORGETFUL_TEST(test) cmocka_unit_test_setup_teardown(test, setup_forgetful, teardown)
#define SHORT_TURNS_TEST(test) cmocka_unit_test_setup_teardown(test, setup_short_turns, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TURN_TEST(test_a_turn_asks_the_worker_step_by_step),
        cmocka_unit_test(test_without_a_worker_nothing_is_begun_and_the_plan_is_freed),
        TURN_TEST(test_many_turns_at_once_hear_only_what_is_theirs),
        SHORT_CALLS_TEST(test_a_turn_leaves_its_thread_even_if_the_worker_does_not_answer),
        TURN_TEST(test_other_threads_and_other_turns_are_not_heard),
        TURN_TEST(test_events_of_unknown_or_broken_shape_are_passed_over),
        TURN_TEST(test_every_byte_of_a_delta_is_given),
        TURN_TEST(test_messages_are_kept_apart_by_a_blank_line),
        TURN_TEST(test_no_blank_line_stands_before_the_first_or_after_the_last_message),
        TURN_TEST(test_commentary_is_reasoning_and_the_rest_is_text),
        TURN_TEST(test_what_no_delta_brought_comes_with_the_whole_message),
        TURN_TEST(test_a_shorter_whole_message_takes_nothing_back),
        TURN_TEST(test_a_delta_without_its_start_is_text),
        TURN_TEST(test_more_messages_than_are_open_at_once_are_all_given),
        TURN_TEST(test_reasoning_parts_are_kept_apart_by_a_blank_line),
        TURN_TEST(test_text_is_given_whatever_its_id),
        TURN_TEST(test_text_of_every_message_is_given_however_many_are_open),
        TURN_TEST(test_a_message_that_comes_only_when_it_is_complete_is_given),
        TURN_TEST(test_a_rest_that_begins_inside_a_character_is_not_given),
        TURN_TEST(test_usage_of_all_responses_adds_up),
        TURN_TEST(test_usage_of_any_size_stays_in_range),
        TURN_TEST(test_a_turn_that_fails_still_tells_its_usage),
        TURN_TEST(test_each_shape_of_error_is_understood),
        TURN_TEST(test_the_last_final_error_explains_a_failure_without_one),
        TURN_TEST(test_a_failure_without_any_reason_is_one),
        TURN_TEST(test_an_interrupt_by_somebody_else_is_told_as_such),
        TURN_TEST(test_a_refused_question_is_a_failure_at_each_step),
        TURN_TEST(test_an_error_of_the_worker_itself_is_not_the_clients_fault),
        TURN_TEST(test_an_answer_without_an_id_is_a_failure),
        TURN_TEST(test_text_before_the_answer_to_turn_start_is_heard),
        TURN_TEST(test_an_end_before_the_answer_to_turn_start_is_the_end),
        TURN_TEST(test_the_thread_may_be_given_back_before_turn_start_is_answered),
        TURN_TEST(test_after_its_end_a_turn_says_nothing),
        TURN_TEST(test_an_owner_that_leaves_early_is_followed_by_the_thread),
        TURN_TEST(test_an_owner_that_leaves_at_turn_start_has_the_model_stopped),
        TURN_TEST(test_an_owner_that_leaves_once_the_turn_is_known_has_the_model_stopped_at_once),
        TURN_TEST(test_an_owner_that_leaves_a_running_turn_has_the_model_stopped),
        TURN_TEST(test_an_owner_may_leave_while_it_is_told_something),
        TURN_TEST(test_an_owner_that_leaves_at_the_blank_line_does_not_hear_what_follows),
        TURN_TEST(test_an_interrupt_that_comes_too_late_ends_the_turn_as_well),
        TURN_TEST(test_an_end_before_the_answer_to_the_interrupt_is_the_end),
        SHORT_CALLS_TEST(test_an_interrupt_without_an_answer_is_given_up),
        TURN_TEST(test_a_worker_that_goes_takes_the_turn_with_it_in_every_state),
        TURN_TEST(test_turns_go_on_with_the_next_worker),
        TURN_TEST(test_the_usage_so_far_is_told_when_the_worker_goes),
        TURN_TEST(test_one_that_hears_of_the_loss_may_leave_another_and_begin_none),
        cmocka_unit_test(test_freeing_the_table_ends_what_runs),
        TURN_TEST(test_a_worker_that_cannot_be_written_to_is_lost),
        TURN_TEST(test_a_pipe_that_breaks_under_a_turn_ends_it),
        SHORT_CALLS_TEST(test_a_question_without_an_answer_times_out_at_each_step),
        SHORT_TURNS_TEST(test_a_turn_past_its_deadline_is_ended_and_the_model_stopped),
        SHORT_TURNS_TEST(test_a_deadline_before_the_model_runs_ends_the_turn_too),
        KEEPING_TEST(test_calls_are_told_when_the_response_is_whole),
        KEEPING_TEST(test_a_batch_of_calls_is_counted_once),
        KEEPING_TEST(test_results_reach_the_worker_whenever_it_asks),
        KEEPING_TEST(test_a_turn_may_wait_for_results_again_and_again),
        KEEPING_TEST(test_only_exactly_the_results_that_are_waited_for_will_do),
        KEEPING_TEST(test_two_calls_of_one_id_cannot_be_answered),
        KEEPING_TEST(test_a_tool_that_nobody_offered_is_not_the_clients),
        KEEPING_TEST(test_a_batch_behind_a_response_without_calls_is_whole),
        KEEPING_TEST(test_requests_that_are_no_call_of_a_turn_are_left_to_others),
        KEEPING_TEST(test_the_calls_that_a_worker_may_leave_open_are_bounded),
        KEEPING_TEST(test_a_parked_turn_occupies_nobody_and_says_nothing),
        KEEPING_TEST(test_a_parked_turn_that_ends_by_itself_is_forgotten),
        FORGETFUL_TEST(test_nobody_coming_back_to_a_parked_turn_has_the_model_stopped),
        KEEPING_TEST(test_of_too_many_parked_turns_the_oldest_gives_way),
        KEEPING_TEST(test_a_worker_that_goes_takes_what_is_kept_with_it_in_silence),
        KEEPING_TEST(test_an_owner_that_leaves_a_resumed_turn_has_the_model_stopped),
        KEEPING_TEST(test_a_resumed_turn_may_be_lost),
        cmocka_unit_test(test_a_resumed_turn_has_a_deadline_of_its_own),
        KEEPING_TEST(test_an_idle_thread_is_given_only_what_is_new),
        KEEPING_TEST(test_an_idle_thread_without_anything_new_starts_at_once),
        KEEPING_TEST(test_an_idle_thread_may_call_functions_next),
        KEEPING_TEST(test_an_idle_thread_that_refuses_what_is_new_is_given_back),
        KEEPING_TEST(test_an_owner_may_leave_an_idle_thread_that_begins_again),
        FORGETFUL_TEST(test_an_idle_thread_that_is_not_used_is_given_back),
        KEEPING_TEST(test_of_too_many_idle_threads_the_one_unused_longest_gives_way),
        KEEPING_TEST(test_every_run_of_the_model_is_counted_and_every_thread_that_is_held),
        KEEPING_TEST(test_all_that_is_kept_can_be_given_back_at_once),
        KEEPING_TEST(test_from_then_on_nothing_is_kept_whatever_the_owner_wants),
        KEEPING_TEST(test_a_turn_that_failed_is_not_kept),
        KEEPING_TEST(test_an_end_before_the_answer_to_turn_start_can_be_kept),
        KEEPING_TEST(test_a_late_failure_of_the_first_run_does_not_end_the_second),
        KEEPING_TEST(test_a_late_answer_of_the_first_run_does_not_name_the_second),
    };
    json_setup();
    log_set_level(LOG_SILENCE);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
