/* Conversations: the same one is recognised however the client writes it down, and no other one ever is. */
#include "chat_request.h"
#include "conversation.h"
#include "log.h"
#include "message.h"
#include "plan.h"
#include "turn_bench.h"
#include "unit.h"

#include <sodium.h>

#define USER(text) "{\"role\":\"user\",\"content\":\"" text "\"}"
#define SAID(text) "{\"role\":\"assistant\",\"content\":\"" text "\"}"
#define CALL(id, name, arguments)                                                                  \
    "{\"id\":\"" id "\",\"type\":\"function\",\"function\":{\"name\":\"" name                      \
    "\",\"arguments\":\"" arguments "\"}}"
#define CALLS(calls) "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[" calls "]}"
#define RESULT(id, text) "{\"role\":\"tool\",\"tool_call_id\":\"" id "\",\"content\":\"" text "\"}"
#define TOOL(name) "{\"type\":\"function\",\"function\":{\"name\":\"" name "\"}}"
#define TOOLS "\"tools\":[" TOOL("look") "," TOOL("go") "]"
#define LOOK CALLS(CALL("c1", "look", "{\\\"a\\\":1,\\\"b\\\":[2]}"))

/* One request of a client: what is made of it. */
struct talk {
    struct chat_request request;
    struct turn_plan plan;
    struct conversation *conversation;
};

/* `members` are further members of the request, with a comma before each. */
static void talk_as(struct talk *t, const char *principal, const char *messages,
                    const char *members)
{
    char *body = NULL;
    struct api_error error;
    assert_true(asprintf(&body, "{\"model\":\"m\",\"messages\":[%s]%s}", messages, members) > 0);
    if (!chat_request_parse(&t->request, body, strlen(body), &error))
        fail_msg("refused: %s: %s", body, error.message);
    const struct plan_options options = { t->request.model, t->request.effort, "auto" };
    plan_make(&t->plan, &t->request, &options);
    t->conversation = conversation_new(principal, &t->plan);
    free(body);
}

static void talk(struct talk *t, const char *messages)
{
    talk_as(t, "me", messages, "," TOOLS);
}

static void talk_end(struct talk *t)
{
    conversation_free(t->conversation);
    turn_plan_free(&t->plan);
    chat_request_free(&t->request);
}

struct digest {
    unsigned char bytes[TURN_DIGEST_BYTES];
};

/* Of the thread once the model has given this answer to the messages. */
static struct digest digest_after(const char *principal, const char *messages, const char *members,
                                  const char *answer, bool parked)
{
    struct talk t;
    struct digest digest;
    talk_as(&t, principal, messages, members);
    json_t *message = json_parse(answer, strlen(answer), NULL);
    json_t *items = json_array();
    assert_non_null(message);
    message_append_items(items, message, 0);
    conversation_digest_after(t.conversation, items, parked, digest.bytes);
    json_decref(items);
    json_decref(message);
    talk_end(&t);
    return digest;
}

/* That which a request looks for. */
static struct digest digest_seen(const char *principal, const char *messages, const char *members,
                                 bool parked)
{
    struct talk t;
    struct digest digest;
    talk_as(&t, principal, messages, members);
    conversation_digest_seen(t.conversation, parked, digest.bytes);
    talk_end(&t);
    return digest;
}

static bool same(struct digest a, struct digest b)
{
    return memcmp(a.bytes, b.bytes, sizeof(a.bytes)) == 0;
}

/* ---- what is the same ---- */

static void test_who_carries_on_finds_what_was_left(void **state)
{
    (void)state;
    for (int parked = 0; parked < 2; parked++) {
        assert_true(same(
            digest_after("me", USER("hi"), "," TOOLS, SAID("hello"), parked),
            digest_seen("me", USER("hi") "," SAID("hello") "," USER("more"), "," TOOLS, parked)));
        assert_true(same(
            digest_after("me", USER("hi"), "," TOOLS, LOOK, parked),
            digest_seen("me", USER("hi") "," LOOK "," RESULT("c1", "seen"), "," TOOLS, parked)));
        assert_true(same(
            digest_after("me", USER("hi") "," LOOK "," RESULT("c1", "seen"), "," TOOLS, SAID("so"),
                         parked),
            digest_seen(
                "me", USER("hi") "," LOOK "," RESULT("c1", "seen") "," SAID("so") "," USER("and?"),
                "," TOOLS, parked)));
    }
}

static void test_the_same_conversation_may_be_written_in_other_ways(void **state)
{
    (void)state;
    const struct digest left = digest_after("me", USER("hi"), "," TOOLS, LOOK, true);
    static const char *const ways[] = {
        USER("hi") "," CALLS(CALL("c1", "look", "{\\\"b\\\":[2],\\\"a\\\":1}")),
        USER("hi") "," CALLS(CALL("c1", "look", "{ \\\"a\\\" : 1 ,\\n \\\"b\\\" : [ 2 ] }")),
        USER("hi") ",{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[" CALL(
            "c1", "look", "{\\\"a\\\":1,\\\"b\\\":[2]}") "]}",
        USER("hi") ",{\"tool_calls\":[" CALL(
            "c1", "look",
            "{\\\"a\\\":1,\\\"b\\\":[2]}") "],\"role\":\"assistant\",\"refusal\":null,"
                                           "\"annotations\":[],\"reasoning_content\":\"hm\"}",
        "{\"content\":[{\"type\":\"text\",\"text\":\"hi\"}],\"name\":\"n\",\"role\":\"user\"}"
        "," LOOK,
    };
    for (size_t i = 0; i < COUNT_OF(ways); i++) {
        char *messages = NULL;
        assert_true(asprintf(&messages, "%s," RESULT("c1", "seen"), ways[i]) > 0);
        if (!same(left, digest_seen("me", messages, "," TOOLS, true)))
            fail_msg("not recognised: %s", messages);
        free(messages);
    }
}

static void test_what_does_not_reach_the_worker_does_not_count(void **state)
{
    (void)state;
    const struct digest left = digest_after("me", USER("hi"), "," TOOLS, LOOK, true);
    static const char *const members[] = { "," TOOLS ",\"temperature\":1",
                                           "," TOOLS ",\"stream\":true",
                                           "," TOOLS ",\"stop\":\"x\"",
                                           "," TOOLS ",\"tool_choice\":\"auto\"" };
    for (size_t i = 0; i < COUNT_OF(members); i++)
        assert_true(same(left, digest_seen("me", USER("hi") "," LOOK "," RESULT("c1", "seen"),
                                           members[i], true)));
}

/* ---- what is another one ---- */

static void test_every_change_of_what_was_seen_is_another_conversation(void **state)
{
    (void)state;
    static const struct {
        const char *principal;
        const char *messages;
        const char *members;
    } others[] = {
        { "you", USER("hi") "," LOOK, "," TOOLS },
        { "", USER("hi") "," LOOK, "," TOOLS },
        { "me", USER("Hi") "," LOOK, "," TOOLS },
        { "me", USER("hi") "," USER("hi") "," LOOK, "," TOOLS },
        { "me", USER("h") "," USER("i") "," LOOK, "," TOOLS },
        { "me", "{\"role\":\"system\",\"content\":\"hi\"}," LOOK, "," TOOLS },
        { "me",
          "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"h\"},{\"type\":\"text\","
          "\"text\":\"i\"}]}," LOOK,
          "," TOOLS },
        { "me", USER("hi") "," CALLS(CALL("c1", "look", "{\\\"a\\\":2,\\\"b\\\":[2]}")),
          "," TOOLS },
        { "me", USER("hi") "," CALLS(CALL("c1", "look", "{\\\"a\\\":1,\\\"b\\\":[\\\"2\\\"]}")),
          "," TOOLS },
        { "me", USER("hi") "," CALLS(CALL("c1", "look", "{\\\"a\\\":1}")), "," TOOLS },
        { "me", USER("hi") "," CALLS(CALL("c1", "look", "")), "," TOOLS },
        { "me", USER("hi") "," CALLS(CALL("c1", "go", "{\\\"a\\\":1,\\\"b\\\":[2]}")), "," TOOLS },
        { "me", USER("hi") "," SAID("I look") "," LOOK, "," TOOLS },
        { "me", USER("hi") "," LOOK, ",\"tools\":[" TOOL("look") "]" },
        { "me", USER("hi") "," LOOK, ",\"tools\":[" TOOL("go") "," TOOL("look") "]" },
        { "me", USER("hi") "," LOOK, "" },
        { "me", USER("hi") "," LOOK, "," TOOLS ",\"tool_choice\":\"none\"" },
        { "me", USER("hi") "," LOOK, "," TOOLS ",\"tool_choice\":\"required\"" },
        { "me", USER("hi") "," LOOK, "," TOOLS ",\"model\":\"other\"" },
        { "me", USER("hi") "," LOOK, "," TOOLS ",\"verbosity\":\"low\"" },
        { "me", USER("hi") "," LOOK, "," TOOLS ",\"response_format\":{\"type\":\"json_object\"}" },
    };
    for (int parked = 0; parked < 2; parked++) {
        const struct digest left = digest_after("me", USER("hi"), "," TOOLS, LOOK, parked);
        for (size_t i = 0; i < COUNT_OF(others); i++) {
            char *messages = NULL;
            assert_true(asprintf(&messages, "%s," RESULT("c1", "seen"), others[i].messages) > 0);
            if (same(left, digest_seen(others[i].principal, messages, others[i].members, parked)))
                fail_msg("taken for the same: %s %s", messages, others[i].members);
            free(messages);
        }
    }
}

static void test_a_call_of_another_id_is_another_one(void **state)
{
    (void)state;
    assert_false(
        same(digest_after("me", USER("hi"), "," TOOLS, LOOK, true),
             digest_seen("me",
                         USER("hi") "," CALLS(CALL(
                             "c2", "look", "{\\\"a\\\":1,\\\"b\\\":[2]}")) "," RESULT("c2", "seen"),
                         "," TOOLS, true)));
}

static void
test_a_parked_turn_is_bound_to_what_it_was_started_with_an_idle_thread_is_not(void **state)
{
    (void)state;
    static const char *const starts[] = { "," TOOLS ",\"reasoning_effort\":\"high\"",
                                          "," TOOLS ",\"service_tier\":\"flex\"" };
    static const char next[] = USER("hi") "," LOOK "," RESULT("c1", "seen");
    for (size_t i = 0; i < COUNT_OF(starts); i++) {
        assert_false(same(digest_after("me", USER("hi"), "," TOOLS, LOOK, true),
                          digest_seen("me", next, starts[i], true)));
        assert_true(same(digest_after("me", USER("hi"), "," TOOLS, LOOK, false),
                         digest_seen("me", next, starts[i], false)));
    }
    assert_false(
        same(digest_seen("me", next, "," TOOLS, true), digest_seen("me", next, "," TOOLS, false)));
}

static void test_what_is_new_comes_after_the_models_last_word(void **state)
{
    (void)state;
    static const struct {
        const char *messages;
        size_t count;
    } cases[] = {
        { USER("hi"), 0 }, /* it has said nothing yet */
        { USER("hi") "," USER("ho"), 0 },
        { USER("hi") "," SAID("a"), 0 },
        { USER("hi") "," SAID("a") "," USER("b"), 1 },
        { USER("hi") "," SAID("a") "," USER("b") "," USER("c"), 2 },
        { USER("hi") "," LOOK "," RESULT("c1", "x"), 1 },
        { USER("hi") "," LOOK "," RESULT("c1", "x") "," USER("c"), 2 },
        { USER("hi") "," SAID("a") "," USER("b") "," SAID("c") "," USER("d"), 1 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct talk t;
        talk(&t, cases[i].messages);
        assert_int_equal(conversation_new_items(t.conversation), cases[i].count);
        talk_end(&t);
    }
}

/* ---- carrying on ---- */

struct owner {
    struct turn *turn; /* linked */
    struct talk talk;
    const char *answer; /* what the client will send back; NULL: the thread is not kept */
    unsigned ends;
    enum turn_outcome outcome;
    struct buf text; /* owned */
};

static void on_text(void *ctx, const char *text, size_t len)
{
    struct owner *o = ctx;
    buf_append(&o->text, text, len);
}

static void on_end(void *ctx, const struct turn_end *end)
{
    struct owner *o = ctx;
    o->ends++;
    o->outcome = end->outcome;
    o->turn = NULL;
    if (o->answer == NULL)
        return;
    unsigned char digest[TURN_DIGEST_BYTES];
    json_t *message = json_parse(o->answer, strlen(o->answer), NULL);
    json_t *items = json_array();
    message_append_items(items, message, 0);
    conversation_digest_after(o->talk.conversation, items, end->outcome == TURN_CALLS, digest);
    turn_keep(end->turn, digest);
    json_decref(items);
    json_decref(message);
}

static const struct turn_events events = { on_text, on_text, on_end };

static int setup(void **state)
{
    struct turn_bench *b = calloc(1, sizeof(*b));
    turn_bench_begin_keeping(b);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct turn_bench *b = *state;
    turn_bench_end(b);
    free(b);
    return 0;
}

static void run_as(struct turn_bench *b, struct owner *o, const char *principal,
                   const char *messages, const char *members)
{
    talk_as(&o->talk, principal, messages, members);
    struct turn_plan plan = { json_incref(o->talk.plan.thread), json_incref(o->talk.plan.items),
                              json_deep_copy(o->talk.plan.start) };
    o->turn = conversation_run(o->talk.conversation, o->talk.request.messages, b->turns, &plan,
                               &events, o, NULL);
    assert_null(plan.thread);
    assert_null(plan.items);
    assert_null(plan.start);
}

static void run(struct turn_bench *b, struct owner *o, const char *messages)
{
    run_as(b, o, "me", messages, "," TOOLS);
}

static void forget(struct owner *o)
{
    talk_end(&o->talk);
    buf_free(&o->text);
}

/* A turn on thread 'a' that waits for the result of LOOK, for which the worker has asked as request 7. */
static void leave_parked(struct turn_bench *b, struct owner *o)
{
    o->answer = LOOK;
    run(b, o, USER("hi"));
    turn_bench_run(b, 'a');
    turn_bench_call(b, 'a', "c1", "look", "{\"a\":1,\"b\":[2]}");
    turn_bench_ask(b, 'a', "7", "c1");
    turn_bench_response(b, 'a');
    assert_int_equal(o->outcome, TURN_CALLS);
    assert_int_equal(wire_waiting(&b->wire), 0);
}

/* A thread 'a' on which the model has said hello. */
static void leave_idle(struct turn_bench *b, struct owner *o)
{
    o->answer = SAID("hello");
    run(b, o, USER("hi"));
    turn_bench_run(b, 'a');
    turn_bench_delta(b, 'a', "m1", "hello");
    turn_bench_complete(b, 'a', ",\"status\":\"completed\"");
    assert_int_equal(o->outcome, TURN_COMPLETED);
    assert_int_equal(wire_waiting(&b->wire), 0);
}

/* The turn was begun on a thread of its own, with this many items; it goes no further. */
static void expect_new_thread(struct turn_bench *b, struct owner *o, size_t items)
{
    json_t *params = NULL;
    json_int_t id = wire_expect(&b->wire, "thread/start", NULL);
    assert_int_equal(wire_waiting(&b->wire), 0);
    wire_answer(&b->wire, id, "{\"thread\":{\"id\":\"th-z\"}}");
    id = wire_expect(&b->wire, "thread/inject_items", &params);
    assert_int_equal(json_array_size(json_object_get(params, "items")), items);
    json_decref(params);
    turn_detach(o->turn);
    wire_answer(&b->wire, id, "{}");
    turn_bench_release(b, 'z');
}

static void test_results_go_to_the_turn_that_waits_for_them(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    struct owner next = { 0 };
    leave_parked(b, &o);
    run(b, &next,
        USER("hi") "," CALLS(CALL("c1", "look", "{\\\"b\\\":[2], \\\"a\\\":1}")) "," RESULT(
            "c1", "seen"));
    wire_expect_answer(&b->wire, "7",
                       "{\"contentItems\":[{\"type\":\"inputText\",\"text\":\"seen\"}],"
                       "\"success\":true}");
    assert_int_equal(wire_waiting(&b->wire), 0); /* no thread, no items, no turn */
    turn_bench_delta(b, 'a', "m2", "so");
    turn_bench_complete(b, 'a', ",\"status\":\"completed\"");
    turn_bench_release(b, 'a');
    assert_int_equal(next.ends, 1);
    assert_string_equal(buf_str(&next.text), "so");
    forget(&o);
    forget(&next);
}

static void test_others_never_reach_a_parked_turn(void **state)
{
    struct turn_bench *b = *state;
    static const struct {
        const char *principal;
        const char *messages;
        const char *members;
        size_t items;
    } others[] = {
        { "you", USER("hi") "," LOOK "," RESULT("c1", "seen"), "," TOOLS, 3 },
        { "me", USER("ho") "," LOOK "," RESULT("c1", "seen"), "," TOOLS, 3 },
        { "me", USER("hi") "," LOOK "," RESULT("c1", "seen"), ",\"tools\":[" TOOL("look") "]", 3 },
        { "me", USER("hi") "," LOOK "," RESULT("c1", "seen"),
          "," TOOLS ",\"reasoning_effort\":\"high\"", 3 },
        { "me", USER("hi") "," LOOK "," RESULT("c1", "seen") "," USER("and this"), "," TOOLS, 4 },
        { "me", USER("hi"), "," TOOLS, 1 },
    };
    struct owner o = { 0 };
    leave_parked(b, &o);
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        struct owner next = { 0 };
        run_as(b, &next, others[i].principal, others[i].messages, others[i].members);
        expect_new_thread(b, &next, others[i].items);
        forget(&next);
    }
    struct owner next = { 0 }; /* and the right one finds it still there */
    run(b, &next, USER("hi") "," LOOK "," RESULT("c1", "seen"));
    assert_int_equal(wire_waiting(&b->wire), 1);
    json_array_clear(b->wire.sent);
    turns_worker_gone(b->turns);
    assert_int_equal(next.outcome, TURN_LOST);
    forget(&next);
    forget(&o);
}

static void test_an_idle_thread_is_given_the_new_items_alone(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    struct owner next = { 0 };
    json_t *params = NULL;
    leave_idle(b, &o);
    run_as(b, &next, "me", USER("hi") "," SAID("hello") "," USER("more") "," USER("and more"),
           "," TOOLS ",\"reasoning_effort\":\"high\"");
    json_int_t id = wire_expect(&b->wire, "thread/inject_items", &params);
    assert_string_equal(json_str_at(params, "threadId"), "th-a");
    const json_t *items = json_object_get(params, "items");
    assert_int_equal(json_array_size(items), 2);
    const json_t *part = json_array_get(json_object_get(json_array_get(items, 0), "content"), 0);
    assert_string_equal(json_str_at(part, "text"), "more");
    json_decref(params);
    wire_answer(&b->wire, id, "{}");
    id = wire_expect(&b->wire, "turn/start", &params);
    assert_string_equal(json_str_at(params, "effort"), "high");
    json_decref(params);
    wire_answer(&b->wire, id, "{\"turn\":{\"id\":\"tu-a\"}}");
    turn_bench_complete(b, 'a', ",\"status\":\"completed\"");
    turn_bench_release(b, 'a');
    assert_int_equal(next.outcome, TURN_COMPLETED);
    forget(&o);
    forget(&next);
}

static void test_others_never_reach_an_idle_thread(void **state)
{
    struct turn_bench *b = *state;
    static const struct {
        const char *principal;
        const char *messages;
        const char *members;
        size_t items;
    } others[] = {
        { "you", USER("hi") "," SAID("hello") "," USER("more"), "," TOOLS, 3 },
        { "me", USER("hi") "," SAID("Hello") "," USER("more"), "," TOOLS, 3 },
        { "me", USER("hi") "," SAID("hello") "," USER("more"), "", 3 },
        { "me", USER("hi"), "," TOOLS, 1 }, /* the same question anew */
    };
    struct owner o = { 0 };
    leave_idle(b, &o);
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        struct owner next = { 0 };
        run_as(b, &next, others[i].principal, others[i].messages, others[i].members);
        expect_new_thread(b, &next, others[i].items);
        forget(&next);
    }
    turns_worker_gone(b->turns);
    forget(&o);
}

static void test_a_thread_serves_one_at_a_time(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    struct owner first = { 0 };
    struct owner second = { 0 };
    leave_idle(b, &o);
    run(b, &first, USER("hi") "," SAID("hello") "," USER("more"));
    turn_bench_inject(b);
    turn_bench_start(b, 'a');
    run(b, &second, USER("hi") "," SAID("hello") "," USER("more"));
    expect_new_thread(b, &second, 3);
    turn_bench_complete(b, 'a', ",\"status\":\"completed\"");
    turn_bench_release(b, 'a');
    assert_int_equal(first.ends, 1);
    forget(&o);
    forget(&first);
    forget(&second);
}

static void test_without_a_worker_nothing_is_run(void **state)
{
    struct turn_bench *b = *state;
    struct owner o = { 0 };
    turns_worker_gone(b->turns);
    run(b, &o, USER("hi"));
    assert_null(o.turn);
    assert_int_equal(o.ends, 0);
    forget(&o);
}

#define RUN_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_carries_on_finds_what_was_left),
        cmocka_unit_test(test_the_same_conversation_may_be_written_in_other_ways),
        cmocka_unit_test(test_what_does_not_reach_the_worker_does_not_count),
        cmocka_unit_test(test_every_change_of_what_was_seen_is_another_conversation),
        cmocka_unit_test(test_a_call_of_another_id_is_another_one),
        cmocka_unit_test(
            test_a_parked_turn_is_bound_to_what_it_was_started_with_an_idle_thread_is_not),
        cmocka_unit_test(test_what_is_new_comes_after_the_models_last_word),
        RUN_TEST(test_results_go_to_the_turn_that_waits_for_them),
        RUN_TEST(test_others_never_reach_a_parked_turn),
        RUN_TEST(test_an_idle_thread_is_given_the_new_items_alone),
        RUN_TEST(test_others_never_reach_an_idle_thread),
        RUN_TEST(test_a_thread_serves_one_at_a_time),
        RUN_TEST(test_without_a_worker_nothing_is_run),
    };
    json_setup();
    log_set_level(LOG_SILENCE);
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
