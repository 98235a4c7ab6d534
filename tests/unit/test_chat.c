/* A chat: the events of a turn in, the bytes of an OpenAI answer out, whenever they are pulled. */
#include "chat.h"
#include "chat_request.h"
#include "conversation.h"
#include "frames.h"
#include "log.h"
#include "turn_bench.h"
#include "unit.h"

#define HEAD                                                                                       \
    "\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1767225600,"           \
    "\"model\":\"gpt-x\",\"system_fingerprint\":\"fp_1\",\"service_tier\":\"default\""
#define FRAME(delta, finish)                                                                       \
    "{" HEAD ",\"choices\":[{\"index\":0,\"delta\":" delta ",\"logprobs\":null,"                   \
    "\"finish_reason\":" finish "}]}"
#define ROLE FRAME("{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}", "null")
#define TEXT(text) FRAME("{\"content\":\"" text "\"}", "null")
#define REASONING(text) FRAME("{\"reasoning_content\":\"" text "\"}", "null")
#define STOP FRAME("{}", "\"stop\"")
#define DONE "null"
#define STREAM ",\"stream\":true"
#define PING "\": ping\""

struct bench {
    struct turn_bench turns;
    struct chat *chat;
    struct buf out;   /* what was pulled */
    unsigned outputs; /* calls of on_output */
    bool quiet;       /* no call of on_output is allowed now */
    bool frees;       /* the chat, at the next output */
    bool pulls;       /* at each output, as a client that is never busy */
};

static void on_output(void *ctx)
{
    struct bench *b = ctx;
    assert_false(b->quiet);
    b->outputs++;
    if (b->pulls)
        chat_pull(b->chat, &b->out);
    if (!b->frees)
        return;
    chat_free(b->chat);
    b->chat = NULL;
}

/* A chat for the request, which is only borrowed for chat_new; its turns have not been begun. */
static struct bench *make_chat(const char *body, size_t max_bytes)
{
    struct bench *b = calloc(1, sizeof(*b));
    struct chat_request request;
    struct api_error error;
    turn_bench_begin(&b->turns, BENCH_RPC_MS, BENCH_TURN_MS);
    if (!chat_request_parse(&request, body, strlen(body), &error))
        fail_msg("refused: %s", error.message);
    char id[] = "chatcmpl-1";
    char fingerprint[] = "fp_1";
    const struct chat_options options = { .request = &request,
                                          .id = id,
                                          .fingerprint = fingerprint,
                                          .created = 1767225600,
                                          .completion_max_bytes = max_bytes };
    b->quiet = true;
    b->chat = chat_new(&options, on_output, b);
    id[0] = fingerprint[0] = '#'; /* they were copied */
    chat_request_free(&request);
    return b;
}

static bool begin_chat(struct bench *b)
{
    struct turn_plan plan = turn_bench_plan();
    struct conversation *conversation = conversation_new("me", &plan);
    bool ok = chat_begin(b->chat, b->turns.turns, &plan, conversation);
    assert_null(plan.thread);
    assert_null(plan.items);
    assert_null(plan.start);
    return ok;
}

/* Makes a chat for a request with these further members (a comma before each), whose turn runs on thread 'a'. */
static struct bench *begin_with(const char *members, size_t max_bytes)
{
    char *body = NULL;
    assert_true(
        asprintf(&body,
                 "{\"model\":\"gpt-x\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
                 "%s}",
                 members) > 0);
    struct bench *b = make_chat(body, max_bytes);
    free(body);
    assert_true(begin_chat(b));
    b->quiet = false;
    turn_bench_run(&b->turns, 'a');
    assert_int_equal(chat_state(b->chat), CHAT_WAITING);
    assert_int_equal(b->outputs, 0);
    return b;
}

static struct bench *begin_stream(void)
{
    return begin_with(STREAM, 0);
}

static struct bench *begin_collected(void)
{
    return begin_with("", 1000);
}

static void end(struct bench *b)
{
    chat_free(b->chat);
    turn_bench_end(&b->turns);
    buf_free(&b->out);
    free(b);
}

static void pull(struct bench *b)
{
    b->quiet = true;
    size_t pending = chat_pending(b->chat);
    size_t before = b->out.len;
    chat_pull(b->chat, &b->out);
    assert_true(b->out.len - before >= pending);
    assert_int_equal(chat_pending(b->chat), 0);
    size_t len = b->out.len;
    chat_pull(b->chat, &b->out); /* nothing comes twice */
    assert_int_equal(b->out.len, len);
    b->quiet = false;
}

static void expect(struct bench *b, const char *frame)
{
    frames_expect(&b->out, frame);
}

static void expect_no_more(struct bench *b)
{
    assert_int_equal(b->out.len, 0);
}

static void complete(struct bench *b)
{
    turn_bench_complete(&b->turns, 'a', ",\"status\":\"completed\"");
    turn_bench_release(&b->turns, 'a');
}

static void fail_turn(struct bench *b)
{
    turn_bench_complete(&b->turns, 'a',
                        ",\"status\":\"failed\",\"error\":{\"message\":\"x\",\"codexErrorInfo\":"
                        "\"serverOverloaded\"}");
    turn_bench_release(&b->turns, 'a');
}

/* ---- streams ---- */

static void test_a_stream_begins_with_the_role_and_ends_with_done(void **state)
{
    (void)state;
    struct bench *b = begin_stream();
    turn_bench_delta(&b->turns, 'a', "m1", "Hello");
    assert_int_equal(b->outputs, 1);
    assert_int_equal(chat_state(b->chat), CHAT_STREAMING);
    assert_null(chat_finish_reason(b->chat));
    pull(b);
    expect(b, ROLE);
    expect(b, TEXT("Hello"));
    expect_no_more(b);
    turn_bench_delta(&b->turns, 'a', "m1", " world");
    pull(b);
    expect(b, TEXT(" world"));
    complete(b);
    assert_int_equal(b->outputs, 3);
    assert_int_equal(chat_state(b->chat), CHAT_ENDED);
    assert_string_equal(chat_finish_reason(b->chat), "stop");
    assert_int_equal(chat_error(b->chat)->status, 0);
    pull(b);
    expect(b, STOP);
    expect(b, DONE);
    expect_no_more(b);
    end(b);
}

static void test_deltas_between_pulls_are_merged_in_their_order(void **state)
{
    (void)state;
    struct bench *b = begin_stream();
    turn_bench_reason(&b->turns, 'a', "let ");
    turn_bench_reason(&b->turns, 'a', "me see");
    turn_bench_delta(&b->turns, 'a', "m1", "one ");
    turn_bench_delta(&b->turns, 'a', "m1", "two ");
    turn_bench_delta(&b->turns, 'a', "m1", "three");
    turn_bench_reason(&b->turns, 'a', " again");
    turn_bench_delta(&b->turns, 'a', "m1", "!");
    assert_int_equal(b->outputs, 7);
    pull(b);
    expect(b, ROLE);
    expect(b, REASONING("let me see"));
    expect(b, TEXT("one two three"));
    expect(b, REASONING(" again"));
    expect(b, TEXT("!"));
    expect_no_more(b);
    complete(b);
    end(b);
}

static void test_what_waits_at_the_end_goes_out_before_the_end(void **state)
{
    (void)state;
    struct bench *b = begin_stream();
    turn_bench_delta(&b->turns, 'a', "m1", "all");
    complete(b);
    pull(b);
    expect(b, ROLE);
    expect(b, TEXT("all"));
    expect(b, STOP);
    expect(b, DONE);
    expect_no_more(b);
    end(b);
}

static void test_a_client_that_is_never_busy_gets_each_delta_at_once(void **state)
{
    (void)state;
    struct bench *b = begin_stream();
    b->pulls = true;
    for (int i = 0; i < 3; i++)
        turn_bench_delta(&b->turns, 'a', "m1", "x");
    complete(b);
    expect(b, ROLE);
    for (int i = 0; i < 3; i++)
        expect(b, TEXT("x"));
    expect(b, STOP);
    expect(b, DONE);
    expect_no_more(b);
    end(b);
}

static void test_an_answer_without_a_word_is_a_stream(void **state)
{
    (void)state;
    struct bench *b = begin_stream();
    complete(b);
    assert_int_equal(b->outputs, 1);
    pull(b);
    expect(b, ROLE);
    expect(b, STOP);
    expect(b, DONE);
    expect_no_more(b);
    end(b);
}

static void test_usage_is_the_last_frame_if_it_was_asked_for(void **state)
{
    (void)state;
    struct bench *b = begin_with(STREAM ",\"stream_options\":{\"include_usage\":true}", 0);
    turn_bench_delta(&b->turns, 'a', "m1", "x");
    turn_bench_note(&b->turns, 'a', "rawResponse/completed",
                    ",\"usage\":{\"inputTokens\":3,\"outputTokens\":4,\"totalTokens\":7}");
    assert_int_equal(chat_usage(b->chat)->total, 0);
    complete(b);
    assert_int_equal(chat_usage(b->chat)->total, 7);
    pull(b);
    for (int i = 0; i < 3; i++) {
        json_t *frame = frames_next(&b->out);
        assert_true(json_is_null(json_object_get(frame, "usage")));
        json_decref(frame);
    }
    json_t *frame = frames_next(&b->out);
    assert_int_equal(json_array_size(json_object_get(frame, "choices")), 0);
    assert_int_equal(json_int_at(frame, "usage.prompt_tokens", -1), 3);
    assert_int_equal(json_int_at(frame, "usage.completion_tokens", -1), 4);
    assert_int_equal(json_int_at(frame, "usage.total_tokens", -1), 7);
    json_decref(frame);
    expect(b, DONE);
    expect_no_more(b);
    end(b);
}

static void test_a_stream_that_was_cut_short_says_so(void **state)
{
    (void)state;
    struct bench *b = begin_stream();
    turn_bench_delta(&b->turns, 'a', "m1", "half");
    turn_bench_complete(&b->turns, 'a',
                        ",\"status\":\"failed\",\"error\":{\"message\":\"Incomplete response "
                        "returned, reason: max_output_tokens\"}");
    turn_bench_release(&b->turns, 'a');
    assert_string_equal(chat_finish_reason(b->chat), "length");
    pull(b);
    expect(b, ROLE);
    expect(b, TEXT("half"));
    expect(b, FRAME("{}", "\"length\""));
    expect(b, DONE);
    end(b);
}

static void test_a_failure_before_the_first_byte_leaves_the_status_open(void **state)
{
    (void)state;
    struct bench *streams[] = { begin_stream(), begin_collected() };
    for (size_t i = 0; i < COUNT_OF(streams); i++) {
        struct bench *b = streams[i];
        fail_turn(b);
        assert_int_equal(b->outputs, 1);
        assert_int_equal(chat_state(b->chat), CHAT_FAILED);
        assert_int_equal(chat_error(b->chat)->status, 503);
        assert_string_equal(chat_error(b->chat)->code, "server_overloaded");
        assert_null(chat_finish_reason(b->chat));
        pull(b);
        expect_no_more(b);
        end(b);
    }
}

static void test_a_failure_after_the_first_byte_is_a_frame_without_done(void **state)
{
    (void)state;
    struct bench *b = begin_stream();
    turn_bench_delta(&b->turns, 'a', "m1", "half");
    pull(b);
    turn_bench_delta(&b->turns, 'a', "m1", " of it");
    fail_turn(b);
    assert_int_equal(chat_state(b->chat), CHAT_ENDED);
    assert_int_equal(chat_error(b->chat)->status, 503);
    assert_null(chat_finish_reason(b->chat));
    pull(b);
    expect(b, ROLE);
    expect(b, TEXT("half"));
    expect(b, TEXT(" of it"));
    json_t *frame = frames_next(&b->out);
    assert_string_equal(json_str_at(frame, "error.code"), "server_overloaded");
    json_decref(frame);
    expect_no_more(b);
    end(b);
}

static void test_a_worker_that_goes_in_midstream_is_never_a_clean_end(void **state)
{
    (void)state;
    struct bench *b = begin_stream();
    turn_bench_delta(&b->turns, 'a', "m1", "half");
    turns_worker_gone(b->turns.turns);
    pull(b);
    expect(b, ROLE);
    expect(b, TEXT("half"));
    json_t *frame = frames_next(&b->out);
    assert_string_equal(json_str_at(frame, "error.code"), "worker_lost");
    json_decref(frame);
    expect_no_more(b);
    end(b);
}

/* ---- keep-alive ---- */

static void test_a_keepalive_begins_a_stream_that_waits(void **state)
{
    (void)state;
    struct bench *b = begin_stream();
    chat_keepalive(b->chat);
    assert_int_equal(b->outputs, 1);
    assert_int_equal(chat_state(b->chat), CHAT_STREAMING);
    pull(b);
    expect(b, ROLE);
    expect(b, PING);
    turn_bench_delta(&b->turns, 'a', "m1", "x");
    chat_keepalive(b->chat);
    pull(b);
    expect(b, TEXT("x")); /* what was said before stays before */
    expect(b, PING);
    expect_no_more(b);
    complete(b);
    unsigned outputs = b->outputs;
    chat_keepalive(b->chat);
    assert_int_equal(b->outputs, outputs);
    pull(b);
    expect(b, STOP);
    expect(b, DONE);
    expect_no_more(b);
    end(b);
}

static void test_after_a_keepalive_a_failure_is_a_frame(void **state)
{
    (void)state;
    struct bench *b = begin_stream();
    chat_keepalive(b->chat);
    fail_turn(b);
    assert_int_equal(chat_state(b->chat), CHAT_ENDED);
    pull(b);
    expect(b, ROLE);
    expect(b, PING);
    json_t *frame = frames_next(&b->out);
    assert_string_equal(json_str_at(frame, "error.code"), "server_overloaded");
    json_decref(frame);
    expect_no_more(b);
    end(b);
}

static void test_a_keepalive_has_no_meaning_without_a_stream_or_after_a_failure(void **state)
{
    (void)state;
    struct bench *b = begin_collected();
    chat_keepalive(b->chat);
    assert_int_equal(b->outputs, 0);
    assert_int_equal(chat_state(b->chat), CHAT_WAITING);
    complete(b);
    end(b);
    b = begin_stream();
    fail_turn(b);
    chat_keepalive(b->chat);
    assert_int_equal(b->outputs, 1);
    assert_int_equal(chat_state(b->chat), CHAT_FAILED);
    pull(b);
    expect_no_more(b);
    end(b);
}

/* ---- answers that are collected ---- */

static void test_a_collected_answer_is_one_object_at_the_end(void **state)
{
    (void)state;
    struct bench *b = begin_collected();
    turn_bench_reason(&b->turns, 'a', "hm ");
    turn_bench_delta(&b->turns, 'a', "m1", "Hello");
    turn_bench_reason(&b->turns, 'a', "hm");
    turn_bench_delta(&b->turns, 'a', "m1", " world");
    assert_int_equal(chat_state(b->chat), CHAT_WAITING);
    struct buf nothing = BUF_INIT;
    chat_pull(b->chat, &nothing);
    assert_int_equal(nothing.len, 0);
    turn_bench_note(&b->turns, 'a', "rawResponse/completed", ",\"usage\":{\"outputTokens\":4}");
    complete(b);
    assert_int_equal(chat_state(b->chat), CHAT_ENDED);
    pull(b);
    json_t *object = json_parse(b->out.data, b->out.len, NULL);
    assert_string_equal(json_str_at(object, "object"), "chat.completion");
    const json_t *choice = json_array_get(json_object_get(object, "choices"), 0);
    assert_string_equal(json_str_at(choice, "message.content"), "Hello world");
    assert_string_equal(json_str_at(choice, "message.reasoning_content"), "hm hm");
    assert_string_equal(json_str_at(choice, "finish_reason"), "stop");
    assert_int_equal(json_int_at(object, "usage.completion_tokens", -1), 4);
    json_decref(object);
    end(b);
}

static void test_a_collected_answer_that_fails_halfway_gives_nothing_of_it(void **state)
{
    (void)state;
    struct bench *b = begin_collected();
    turn_bench_delta(&b->turns, 'a', "m1", "half");
    fail_turn(b);
    assert_int_equal(chat_state(b->chat), CHAT_FAILED);
    struct buf out = BUF_INIT;
    chat_pull(b->chat, &out);
    assert_int_equal(out.len, 0);
    end(b);
}

static void test_an_answer_too_large_to_collect_is_given_up(void **state)
{
    (void)state;
    struct bench *b = begin_with("", 10);
    turn_bench_delta(&b->turns, 'a', "m1", "0123456");
    turn_bench_reason(&b->turns, 'a', "789");
    assert_int_equal(chat_state(b->chat), CHAT_WAITING); /* just fits */
    turn_bench_delta(&b->turns, 'a', "m1", "x");
    assert_int_equal(chat_state(b->chat), CHAT_FAILED);
    assert_int_equal(chat_error(b->chat)->status, 502);
    assert_string_equal(chat_error(b->chat)->code, "completion_too_large");
    assert_int_equal(chat_error(b->chat)->should_retry, -1);
    unsigned outputs = b->outputs;
    turn_bench_delta(&b->turns, 'a', "m1", "more");
    turn_bench_interrupt(&b->turns, 'a'); /* the model does not go on for nobody */
    turn_bench_release(&b->turns, 'a');
    assert_int_equal(b->outputs, outputs);
    end(b);
}

static void test_a_stream_may_be_as_long_as_it_likes(void **state)
{
    (void)state;
    struct bench *b = begin_with(STREAM, 10);
    for (int i = 0; i < 5; i++)
        turn_bench_delta(&b->turns, 'a', "m1", "0123456789");
    assert_int_equal(chat_state(b->chat), CHAT_STREAMING);
    assert_true(chat_pending(b->chat) >= 50);
    complete(b);
    end(b);
}

/* ---- abort and leaving ---- */

static void abort_with_503(struct bench *b)
{
    struct api_error error;
    api_error_set(&error, 503, "server_error", "shutting_down", NULL, "bye");
    chat_abort(b->chat, &error);
}

static void test_an_abort_before_the_first_byte_leaves_the_status_open(void **state)
{
    (void)state;
    struct bench *benches[] = { begin_stream(), begin_collected() };
    for (size_t i = 0; i < COUNT_OF(benches); i++) {
        struct bench *b = benches[i];
        abort_with_503(b);
        assert_int_equal(b->outputs, 1);
        assert_int_equal(chat_state(b->chat), CHAT_FAILED);
        assert_string_equal(chat_error(b->chat)->code, "shutting_down");
        abort_with_503(b);
        assert_int_equal(b->outputs, 1);
        turn_bench_interrupt(&b->turns, 'a');
        turn_bench_release(&b->turns, 'a');
        end(b);
    }
}

static void test_an_abort_in_midstream_is_an_error_frame(void **state)
{
    (void)state;
    struct bench *b = begin_stream();
    turn_bench_delta(&b->turns, 'a', "m1", "half");
    abort_with_503(b);
    assert_int_equal(b->outputs, 2);
    assert_int_equal(chat_state(b->chat), CHAT_ENDED);
    turn_bench_delta(&b->turns, 'a', "m1", "unheard");
    turn_bench_interrupt(&b->turns, 'a');
    turn_bench_release(&b->turns, 'a');
    assert_int_equal(b->outputs, 2);
    pull(b);
    expect(b, ROLE);
    expect(b, TEXT("half"));
    expect(b, "{\"error\":{\"message\":\"bye\",\"type\":\"server_error\",\"param\":null,"
              "\"code\":\"shutting_down\"}}");
    expect_no_more(b);
    end(b);
}

static void test_an_abort_after_the_end_changes_nothing(void **state)
{
    (void)state;
    struct bench *b = begin_stream();
    complete(b);
    abort_with_503(b);
    assert_int_equal(b->outputs, 1);
    assert_int_equal(chat_error(b->chat)->status, 0);
    pull(b);
    expect(b, ROLE);
    expect(b, STOP);
    expect(b, DONE);
    expect_no_more(b);
    end(b);
}

static void test_a_chat_that_is_freed_stops_its_turn(void **state)
{
    (void)state;
    struct bench *b = begin_stream();
    turn_bench_delta(&b->turns, 'a', "m1", "x");
    chat_free(b->chat);
    b->chat = NULL;
    chat_free(NULL);
    b->quiet = true;
    turn_bench_delta(&b->turns, 'a', "m1", "unheard");
    turn_bench_interrupt(&b->turns, 'a');
    turn_bench_release(&b->turns, 'a');
    end(b);
}

static void test_a_chat_may_be_freed_by_its_own_output(void **state)
{
    (void)state;
    for (int how = 0; how < 6; how++) {
        struct bench *b = how == 2 ? begin_with("", 0) : begin_stream();
        b->frees = true;
        bool stops = true;
        switch (how) {
        case 0:
        case 2: /* too large */
            turn_bench_delta(&b->turns, 'a', "m1", "x");
            break;
        case 1:
            turn_bench_reason(&b->turns, 'a', "x");
            break;
        case 3:
            chat_keepalive(b->chat);
            break;
        case 4:
            abort_with_503(b);
            break;
        default:
            complete(b);
            stops = false;
            break;
        }
        assert_null(b->chat);
        if (stops) {
            turn_bench_interrupt(&b->turns, 'a');
            turn_bench_release(&b->turns, 'a');
        }
        assert_int_equal(b->outputs, 1);
        end(b);
    }
}

static void test_without_a_worker_nothing_is_begun(void **state)
{
    (void)state;
    struct bench *b =
        make_chat("{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}", 1000);
    turns_worker_gone(b->turns.turns);
    assert_false(begin_chat(b));
    assert_int_equal(chat_state(b->chat), CHAT_WAITING);
    end(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_stream_begins_with_the_role_and_ends_with_done),
        cmocka_unit_test(test_deltas_between_pulls_are_merged_in_their_order),
        cmocka_unit_test(test_what_waits_at_the_end_goes_out_before_the_end),
        cmocka_unit_test(test_a_client_that_is_never_busy_gets_each_delta_at_once),
        cmocka_unit_test(test_an_answer_without_a_word_is_a_stream),
        cmocka_unit_test(test_usage_is_the_last_frame_if_it_was_asked_for),
        cmocka_unit_test(test_a_stream_that_was_cut_short_says_so),
        cmocka_unit_test(test_a_failure_before_the_first_byte_leaves_the_status_open),
        cmocka_unit_test(test_a_failure_after_the_first_byte_is_a_frame_without_done),
        cmocka_unit_test(test_a_worker_that_goes_in_midstream_is_never_a_clean_end),
        cmocka_unit_test(test_a_keepalive_begins_a_stream_that_waits),
        cmocka_unit_test(test_after_a_keepalive_a_failure_is_a_frame),
        cmocka_unit_test(test_a_keepalive_has_no_meaning_without_a_stream_or_after_a_failure),
        cmocka_unit_test(test_a_collected_answer_is_one_object_at_the_end),
        cmocka_unit_test(test_a_collected_answer_that_fails_halfway_gives_nothing_of_it),
        cmocka_unit_test(test_an_answer_too_large_to_collect_is_given_up),
        cmocka_unit_test(test_a_stream_may_be_as_long_as_it_likes),
        cmocka_unit_test(test_an_abort_before_the_first_byte_leaves_the_status_open),
        cmocka_unit_test(test_an_abort_in_midstream_is_an_error_frame),
        cmocka_unit_test(test_an_abort_after_the_end_changes_nothing),
        cmocka_unit_test(test_a_chat_that_is_freed_stops_its_turn),
        cmocka_unit_test(test_a_chat_may_be_freed_by_its_own_output),
        cmocka_unit_test(test_without_a_worker_nothing_is_begun),
    };
    json_setup();
    log_set_level(LOG_SILENCE);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
