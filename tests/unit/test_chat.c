/* A chat: the events of a turn in, the bytes of an OpenAI answer out, whenever they are pulled. */
#include "chat.h"
#include "chat_request.h"
#include "conversation.h"
#include "frames.h"
#include "log.h"
#include "plan.h"
#include "turn_bench.h"
#include "unit.h"

#include <sodium.h>

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
    struct turn_plan plan; /* owned: of the chat that was made last */
    struct buf out;        /* what was pulled */
    unsigned outputs;      /* calls of on_output */
    bool quiet;            /* no call of on_output is allowed now */
    bool frees;            /* the chat, at the next output */
    bool pulls;            /* at each output, as a client that is never busy */
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
static void new_chat(struct bench *b, const char *body, size_t max_bytes)
{
    struct chat_request request;
    struct api_error error;
    if (!chat_request_parse(&request, body, strlen(body), &error))
        fail_msg("refused: %s", error.message);
    char id[] = "chatcmpl-1";
    char fingerprint[] = "fp_1";
    const struct chat_options options = { .request = &request,
                                          .id = id,
                                          .fingerprint = fingerprint,
                                          .created = 1767225600,
                                          .completion_max_bytes = max_bytes };
    const struct plan_options wanted = { "worker-model", NULL, "auto" };
    turn_plan_free(&b->plan);
    plan_make(&b->plan, &request, &wanted);
    b->quiet = true;
    b->chat = chat_new(&options, on_output, b);
    id[0] = fingerprint[0] = '#'; /* they were copied */
    chat_request_free(&request);
}

static struct bench *make_chat(const char *body, size_t max_bytes)
{
    struct bench *b = calloc(1, sizeof(*b));
    turn_bench_begin(&b->turns, BENCH_RPC_MS, BENCH_TURN_MS);
    new_chat(b, body, max_bytes);
    return b;
}

static bool begin_chat(struct bench *b)
{
    struct conversation *conversation = conversation_new("me", &b->plan);
    chat_set_plan(b->chat, &b->plan, conversation);
    bool ok = chat_begin(b->chat, b->turns.turns);
    assert_null(b->plan.thread);
    assert_null(b->plan.items);
    assert_null(b->plan.start);
    b->quiet = false;
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
              "\"code\":\"shutting_down\",\"retryable\":true}}");
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

/* ---- stop sequences ---- */

#define STOPS ",\"stop\":[\"STOP\",\"\\n\\n\"]"

static void feed(struct bench *b, const char *const *pieces)
{
    for (size_t i = 0; pieces[i] != NULL; i++)
        turn_bench_delta(&b->turns, 'a', "m1", pieces[i]);
}

static json_t *whole_answer(struct bench *b)
{
    pull(b);
    json_t *object = json_parse(b->out.data, b->out.len, NULL);
    assert_non_null(object);
    buf_clear(&b->out);
    return object;
}

static const json_t *choice_of(const json_t *object, size_t index)
{
    return json_array_get(json_object_get(object, "choices"), index);
}

static void test_a_stop_sequence_ends_the_answer_and_stops_the_model(void **state)
{
    (void)state;
    static const char *const pieces[] = { "one S", "TO", "P two", NULL };
    struct bench *b = begin_with(STREAM STOPS, 0);
    feed(b, (const char *const[]){ pieces[0], pieces[1], NULL });
    pull(b);
    expect(b, ROLE);
    expect(b, TEXT("one ")); /* what may be a sequence waits */
    expect_no_more(b);
    feed(b, &pieces[2]);
    assert_int_equal(chat_state(b->chat), CHAT_ENDED);
    assert_string_equal(chat_finish_reason(b->chat), "stop");
    unsigned outputs = b->outputs;
    turn_bench_delta(&b->turns, 'a', "m1", "unheard");
    turn_bench_interrupt(&b->turns, 'a');
    turn_bench_release(&b->turns, 'a');
    assert_int_equal(b->outputs, outputs);
    pull(b);
    expect(b, STOP);
    expect(b, DONE);
    expect_no_more(b);
    end(b);
    b = begin_with(STOPS, 1000);
    feed(b, pieces);
    turn_bench_interrupt(&b->turns, 'a');
    turn_bench_release(&b->turns, 'a');
    json_t *object = whole_answer(b);
    assert_string_equal(json_str_at(choice_of(object, 0), "message.content"), "one ");
    assert_string_equal(json_str_at(choice_of(object, 0), "finish_reason"), "stop");
    json_decref(object);
    end(b);
}

static void test_what_was_held_back_is_given_when_no_sequence_came(void **state)
{
    (void)state;
    static const char *const pieces[] = { "one STO", NULL };
    struct bench *b = begin_with(STREAM STOPS, 0);
    feed(b, pieces);
    turn_bench_reason(&b->turns, 'a', "hm");
    complete(b);
    pull(b);
    expect(b, ROLE);
    expect(b, TEXT("one "));
    expect(b, REASONING("hm"));
    expect(b, TEXT("STO"));
    expect(b, STOP);
    expect(b, DONE);
    expect_no_more(b);
    end(b);
    b = begin_with(STOPS, 1000);
    feed(b, pieces);
    complete(b);
    json_t *object = whole_answer(b);
    assert_string_equal(json_str_at(choice_of(object, 0), "message.content"), "one STO");
    json_decref(object);
    end(b);
}

static void test_an_answer_that_is_all_stop_sequence_is_empty(void **state)
{
    (void)state;
    struct bench *b = begin_with(STREAM STOPS, 0);
    turn_bench_delta(&b->turns, 'a', "m1", "STOP");
    turn_bench_interrupt(&b->turns, 'a');
    turn_bench_release(&b->turns, 'a');
    pull(b);
    expect(b, ROLE);
    expect(b, STOP);
    expect(b, DONE);
    expect_no_more(b);
    end(b);
}

static void test_reasoning_is_not_searched_for_stop_sequences(void **state)
{
    (void)state;
    struct bench *b = begin_with(STREAM STOPS, 0);
    turn_bench_reason(&b->turns, 'a', "do I STOP?");
    assert_int_equal(chat_state(b->chat), CHAT_STREAMING);
    pull(b);
    expect(b, ROLE);
    expect(b, REASONING("do I STOP?"));
    complete(b);
    end(b);
}

/* ---- function calls ---- */

#define TOOL(name) "{\"type\":\"function\",\"function\":{\"name\":\"" name "\"}}"
#define TOOLS ",\"tools\":[" TOOL("look") "," TOOL("exec") "]"
#define FUNCTIONS ",\"functions\":[{\"name\":\"look\"},{\"name\":\"exec\"}]"

/* The model says something and calls both tools; nobody keeps the thread. */
static void call_both(struct bench *b)
{
    turn_bench_reason(&b->turns, 'a', "hm");
    turn_bench_delta(&b->turns, 'a', "m1", "I look");
    turn_bench_call(&b->turns, 'a', "c1", "look", "{ \"a\": 1 }");
    turn_bench_call(&b->turns, 'a', "c2", "exec__client", "");
    turn_bench_response(&b->turns, 'a');
    turn_bench_interrupt(&b->turns, 'a');
    turn_bench_release(&b->turns, 'a');
}

static void test_calls_of_a_stream_come_under_the_clients_names(void **state)
{
    (void)state;
    struct bench *b = begin_with(STREAM TOOLS, 0);
    call_both(b);
    assert_int_equal(chat_state(b->chat), CHAT_ENDED);
    assert_string_equal(chat_finish_reason(b->chat), "tool_calls");
    assert_int_equal(chat_tool_calls(b->chat), 2);
    pull(b);
    expect(b, ROLE);
    expect(b, REASONING("hm"));
    expect(b, TEXT("I look"));
    expect(b, FRAME("{\"tool_calls\":[{\"index\":0,\"id\":\"c1\",\"type\":\"function\","
                    "\"function\":{\"name\":\"look\",\"arguments\":\"\"}}]}",
                    "null"));
    expect(b, FRAME("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":"
                    "\"{ \\\"a\\\": 1 }\"}}]}",
                    "null"));
    expect(b, FRAME("{\"tool_calls\":[{\"index\":1,\"id\":\"c2\",\"type\":\"function\","
                    "\"function\":{\"name\":\"exec\",\"arguments\":\"\"}}]}",
                    "null"));
    expect(b, FRAME("{\"tool_calls\":[{\"index\":1,\"function\":{\"arguments\":\"\"}}]}", "null"));
    expect(b, FRAME("{}", "\"tool_calls\""));
    expect(b, DONE);
    expect_no_more(b);
    end(b);
}

/* Puts the deltas of a call together, as clients do. */
static void add_call_delta(json_t *calls, const json_t *delta)
{
    size_t index = (size_t)json_int_at(delta, "index", -1);
    if (index == json_array_size(calls)) {
        json_t *call = json_deep_copy(delta);
        json_object_del(call, "index");
        json_array_append_new(calls, call);
        return;
    }
    json_t *function = json_object_get(json_array_get(calls, index), "function");
    char *text = NULL;
    assert_true(asprintf(&text, "%s%s", json_str_at(function, "arguments"),
                         json_str_at(delta, "function.arguments")) > 0 ||
                text != NULL);
    json_object_set_new(function, "arguments", json_string(text));
    free(text);
}

/* The message that a client makes of the stream. */
static json_t *message_of_stream(struct bench *b)
{
    struct buf content = BUF_INIT;
    struct buf reasoning = BUF_INIT;
    json_t *calls = json_array();
    pull(b);
    for (json_t *frame = frames_next(&b->out); frame != NULL; frame = frames_next(&b->out)) {
        const json_t *delta = json_object_get(choice_of(frame, 0), "delta");
        const char *text = json_str_at(delta, "content");
        buf_puts(&content, text != NULL ? text : "");
        text = json_str_at(delta, "reasoning_content");
        buf_puts(&reasoning, text != NULL ? text : "");
        for (size_t i = 0; i < json_array_size(json_object_get(delta, "tool_calls")); i++)
            add_call_delta(calls, json_array_get(json_object_get(delta, "tool_calls"), i));
        json_decref(frame);
    }
    json_t *message =
        json_pack("{s:s, s:s, s:s, s:o}", "role", "assistant", "content", buf_str(&content),
                  "reasoning_content", buf_str(&reasoning), "tool_calls", calls);
    buf_free(&content);
    buf_free(&reasoning);
    return message;
}

static void test_a_stream_and_a_whole_answer_say_the_same(void **state)
{
    (void)state;
    struct bench *stream = begin_with(STREAM TOOLS, 0);
    struct bench *collected = begin_with(TOOLS, 1000);
    call_both(stream);
    call_both(collected);
    json_t *streamed = message_of_stream(stream);
    json_t *object = whole_answer(collected);
    assert_string_equal(json_str_at(choice_of(object, 0), "finish_reason"), "tool_calls");
    json_t *message = json_object_get(choice_of(object, 0), "message");
    assert_true(json_is_null(json_object_get(message, "refusal")));
    json_object_del(message, "refusal");
    json_object_del(message, "annotations");
    assert_true(json_equal(streamed, message));
    json_decref(streamed);
    json_decref(object);
    end(stream);
    end(collected);
}

static void test_deprecated_functions_are_answered_by_one_function_call(void **state)
{
    (void)state;
    struct bench *b = begin_with(FUNCTIONS, 1000);
    call_both(b);
    json_t *object = whole_answer(b);
    const json_t *message = json_object_get(choice_of(object, 0), "message");
    assert_string_equal(json_str_at(message, "function_call.name"), "look");
    assert_string_equal(json_str_at(message, "function_call.arguments"), "{ \"a\": 1 }");
    assert_null(json_object_get(message, "tool_calls"));
    assert_string_equal(json_str_at(choice_of(object, 0), "finish_reason"), "function_call");
    json_decref(object);
    end(b);
    b = begin_with(STREAM FUNCTIONS, 0);
    turn_bench_call(&b->turns, 'a', "c1", "exec__client", "{}");
    turn_bench_response(&b->turns, 'a');
    turn_bench_interrupt(&b->turns, 'a');
    turn_bench_release(&b->turns, 'a');
    pull(b);
    expect(b, ROLE);
    expect(b, FRAME("{\"function_call\":{\"name\":\"exec\",\"arguments\":\"\"}}", "null"));
    expect(b, FRAME("{\"function_call\":{\"arguments\":\"{}\"}}", "null"));
    expect(b, FRAME("{}", "\"function_call\""));
    expect(b, DONE);
    expect_no_more(b);
    end(b);
}

static void test_text_that_was_held_back_comes_before_the_calls(void **state)
{
    (void)state;
    struct bench *b = begin_with(STREAM TOOLS STOPS, 0);
    turn_bench_delta(&b->turns, 'a', "m1", "ST");
    turn_bench_call(&b->turns, 'a', "c1", "look", "{}");
    turn_bench_response(&b->turns, 'a');
    turn_bench_interrupt(&b->turns, 'a');
    turn_bench_release(&b->turns, 'a');
    pull(b);
    expect(b, ROLE);
    expect(b, TEXT("ST"));
    json_t *frame = frames_next(&b->out);
    assert_non_null(json_at(json_object_get(choice_of(frame, 0), "delta"), "tool_calls"));
    json_decref(frame);
    end(b);
}

/* ---- conversations ---- */

#define BODY(messages, members) "{\"model\":\"gpt-x\",\"messages\":[" messages "]" members "}"
#define USER(text) "{\"role\":\"user\",\"content\":\"" text "\"}"

static struct bench *begin_keeping(const char *body, size_t max_bytes)
{
    struct bench *b = calloc(1, sizeof(*b));
    turn_bench_begin_keeping(&b->turns);
    new_chat(b, body, max_bytes);
    assert_true(begin_chat(b));
    turn_bench_run(&b->turns, 'a');
    return b;
}

static void next_chat(struct bench *b, const char *body)
{
    chat_free(b->chat);
    buf_clear(&b->out);
    new_chat(b, body, 1000);
    assert_true(begin_chat(b));
}

static void test_without_parallel_calls_only_the_first_is_told(void **state)
{
    (void)state;
    struct bench *b = begin_keeping(BODY(USER("hi"), TOOLS ",\"parallel_tool_calls\":false"), 1000);
    call_both(b); /* and the thread is not kept: the batch can never be answered in full */
    json_t *object = whole_answer(b);
    const json_t *calls = json_at(choice_of(object, 0), "message.tool_calls");
    assert_int_equal(json_array_size(calls), 1);
    assert_string_equal(json_str_at(json_array_get(calls, 0), "id"), "c1");
    assert_string_equal(json_str_at(choice_of(object, 0), "finish_reason"), "tool_calls");
    json_decref(object);
    end(b);
}

#define SAID_AND_CALLED                                                                            \
    "{\"role\":\"assistant\",\"content\":\"I look\",\"tool_calls\":[{\"id\":\"c1\",\"type\":"      \
    "\"function\",\"function\":{\"name\":\"exec\",\"arguments\":\"{\\\"a\\\":1}\"}}]}"
#define RESULT "{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"seen\"}"

static void test_a_result_goes_to_the_turn_that_waits_whether_it_was_streamed_or_not(void **state)
{
    (void)state;
    static const char *const bodies[] = { BODY(USER("hi"), TOOLS), BODY(USER("hi"), STREAM TOOLS) };
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        struct bench *b = begin_keeping(bodies[i], 1000);
        turn_bench_delta(&b->turns, 'a', "m1", "I ");
        turn_bench_reason(&b->turns, 'a', "hm");
        turn_bench_delta(&b->turns, 'a', "m1", "look");
        turn_bench_call(&b->turns, 'a', "c1", "exec__client", "{ \"a\": 1 }");
        turn_bench_response(&b->turns, 'a');
        turn_bench_ask(&b->turns, 'a', "7", "c1");
        assert_int_equal(chat_state(b->chat), CHAT_ENDED);
        assert_int_equal(wire_waiting(&b->turns.wire), 0);
        next_chat(b, BODY(USER("hi") "," SAID_AND_CALLED "," RESULT, TOOLS));
        wire_expect_answer(&b->turns.wire, "7",
                           "{\"contentItems\":[{\"type\":\"inputText\",\"text\":\"seen\"}],"
                           "\"success\":true}");
        assert_int_equal(wire_waiting(&b->turns.wire), 0);
        turn_bench_delta(&b->turns, 'a', "m2", "so");
        turn_bench_complete(&b->turns, 'a', ",\"status\":\"completed\"");
        json_t *object = whole_answer(b);
        assert_string_equal(json_str_at(choice_of(object, 0), "message.content"), "so");
        json_decref(object);
        turns_worker_gone(b->turns.turns);
        end(b);
    }
}

static void
test_a_conversation_goes_on_in_its_thread_even_when_what_it_said_was_held_back(void **state)
{
    (void)state;
    struct bench *b = begin_keeping(BODY(USER("hi"), STREAM STOPS), 1000);
    turn_bench_delta(&b->turns, 'a', "m1", "no S");
    pull(b);
    turn_bench_delta(&b->turns, 'a', "m1", "TO");
    turn_bench_complete(&b->turns, 'a', ",\"status\":\"completed\"");
    assert_int_equal(chat_state(b->chat), CHAT_ENDED);
    next_chat(
        b, BODY(USER("hi") ",{\"role\":\"assistant\",\"content\":\"no STO\"}," USER("more"), ""));
    turn_bench_inject(&b->turns); /* no thread/start */
    turn_bench_start(&b->turns, 'a');
    turns_worker_gone(b->turns.turns);
    end(b);
}

static void test_an_answer_that_was_stopped_or_too_long_to_remember_is_not_carried_on(void **state)
{
    (void)state;
    struct bench *b = begin_keeping(BODY(USER("hi"), STREAM STOPS), 1000);
    turn_bench_delta(&b->turns, 'a', "m1", "no STOP");
    turn_bench_interrupt(&b->turns, 'a');
    turn_bench_release(&b->turns, 'a');
    end(b);
    b = begin_keeping(BODY(USER("hi"), STREAM), 4);
    turn_bench_delta(&b->turns, 'a', "m1", "hello");
    turn_bench_complete(&b->turns, 'a', ",\"status\":\"completed\"");
    turn_bench_release(&b->turns, 'a');
    end(b);
}

/* ---- several choices ---- */

#define FRAME_OF(index, delta, finish)                                                             \
    "{" HEAD ",\"choices\":[{\"index\":" index ",\"delta\":" delta ",\"logprobs\":null,"           \
    "\"finish_reason\":" finish "}]}"
#define ROLE_OF(index)                                                                             \
    FRAME_OF(index, "{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}", "null")

/* Three choices, on threads 'a', 'b' and 'c'. */
static struct bench *begin_three(const char *members)
{
    char *body = NULL;
    assert_true(asprintf(&body, "{\"model\":\"gpt-x\",\"messages\":[" USER("hi") "],\"n\":3%s}",
                         members) > 0);
    struct bench *b = calloc(1, sizeof(*b));
    turn_bench_begin_keeping(&b->turns);
    new_chat(b, body, 1000);
    free(body);
    assert_true(begin_chat(b));
    for (char name = 'a'; name <= 'c'; name++)
        turn_bench_open(&b->turns, name);
    for (char name = 'a'; name <= 'c'; name++)
        turn_bench_inject(&b->turns);
    for (char name = 'a'; name <= 'c'; name++)
        turn_bench_start(&b->turns, name);
    return b;
}

/* None of several threads is kept: nobody could tell which answer was chosen. */
static void complete_of(struct bench *b, char name)
{
    turn_bench_note(&b->turns, name, "rawResponse/completed",
                    ",\"usage\":{\"inputTokens\":10,\"totalTokens\":11}");
    turn_bench_complete(&b->turns, name, ",\"status\":\"completed\"");
    turn_bench_release(&b->turns, name);
}

static void test_choices_of_a_stream_are_told_apart_and_end_together(void **state)
{
    (void)state;
    struct bench *b = begin_three(STREAM ",\"stream_options\":{\"include_usage\":false}");
    turn_bench_delta(&b->turns, 'b', "m1", "bee");
    turn_bench_delta(&b->turns, 'a', "m1", "ay");
    turn_bench_delta(&b->turns, 'b', "m1", "!");
    pull(b);
    expect(b, ROLE_OF("0"));
    expect(b, ROLE_OF("1"));
    expect(b, ROLE_OF("2"));
    expect(b, FRAME_OF("0", "{\"content\":\"ay\"}", "null"));
    expect(b, FRAME_OF("1", "{\"content\":\"bee!\"}", "null"));
    expect_no_more(b);
    complete_of(b, 'b');
    complete_of(b, 'c');
    assert_int_equal(chat_state(b->chat), CHAT_STREAMING);
    pull(b);
    expect(b, FRAME_OF("1", "{}", "\"stop\""));
    expect(b, FRAME_OF("2", "{}", "\"stop\""));
    expect_no_more(b);
    complete_of(b, 'a');
    assert_int_equal(chat_state(b->chat), CHAT_ENDED);
    pull(b);
    expect(b, FRAME_OF("0", "{}", "\"stop\""));
    expect(b, DONE);
    expect_no_more(b);
    assert_int_equal(chat_usage(b->chat)->total, 33);
    end(b);
}

static void test_a_whole_answer_has_its_choices_in_order_and_their_usage_in_sum(void **state)
{
    (void)state;
    struct bench *b = begin_three("");
    turn_bench_delta(&b->turns, 'c', "m1", "see");
    complete_of(b, 'c');
    turn_bench_delta(&b->turns, 'a', "m1", "ay");
    complete_of(b, 'a');
    assert_int_equal(chat_state(b->chat), CHAT_WAITING);
    turn_bench_delta(&b->turns, 'b', "m1", "bee");
    complete_of(b, 'b');
    json_t *object = whole_answer(b);
    static const char *const wanted[] = { "ay", "bee", "see" };
    assert_int_equal(json_array_size(json_object_get(object, "choices")), 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(json_int_at(choice_of(object, i), "index", -1), i);
        assert_string_equal(json_str_at(choice_of(object, i), "message.content"), wanted[i]);
    }
    assert_int_equal(json_int_at(object, "usage.prompt_tokens", 0), 30);
    assert_int_equal(json_int_at(object, "usage.total_tokens", 0), 33);
    json_decref(object);
    end(b);
}

static void test_a_stop_sequence_stops_its_choice_alone(void **state)
{
    (void)state;
    struct bench *b = begin_three(STOPS);
    turn_bench_delta(&b->turns, 'a', "m1", "ST");
    turn_bench_delta(&b->turns, 'b', "m1", "OP");
    turn_bench_delta(&b->turns, 'c', "m1", "see STOP");
    turn_bench_interrupt(&b->turns, 'c');
    turn_bench_release(&b->turns, 'c');
    assert_int_equal(chat_state(b->chat), CHAT_WAITING);
    complete_of(b, 'a');
    complete_of(b, 'b');
    json_t *object = whole_answer(b);
    static const char *const wanted[] = { "ST", "OP", "see " };
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(json_str_at(choice_of(object, i), "message.content"), wanted[i]);
    json_decref(object);
    end(b);
}

static void test_one_choice_that_fails_is_the_failure_of_all(void **state)
{
    (void)state;
    for (int stream = 0; stream < 2; stream++) {
        struct bench *b = begin_three(stream ? STREAM : "");
        turn_bench_delta(&b->turns, 'a', "m1", "ay");
        complete_of(b, 'a');
        turn_bench_complete(&b->turns, 'b',
                            ",\"status\":\"failed\",\"error\":{\"message\":\"x\","
                            "\"codexErrorInfo\":\"serverOverloaded\"}");
        assert_int_equal(chat_state(b->chat), stream ? CHAT_ENDED : CHAT_FAILED);
        assert_int_equal(chat_error(b->chat)->status, 503);
        turn_bench_interrupt(&b->turns, 'c');
        turn_bench_release(&b->turns, 'b');
        turn_bench_release(&b->turns, 'c');
        end(b);
    }
}

static void test_a_chat_of_several_choices_that_is_freed_stops_them_all(void **state)
{
    (void)state;
    struct bench *b = begin_three(STREAM);
    complete_of(b, 'b');
    chat_free(b->chat);
    b->chat = NULL;
    json_int_t first = wire_expect(&b->turns.wire, "turn/interrupt", NULL);
    turn_bench_interrupt(&b->turns, 'c');
    wire_answer(&b->turns.wire, first, "{}");
    turn_bench_release(&b->turns, 'c');
    turn_bench_complete(&b->turns, 'a', ",\"status\":\"interrupted\"");
    turn_bench_release(&b->turns, 'a');
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
        cmocka_unit_test(test_a_stop_sequence_ends_the_answer_and_stops_the_model),
        cmocka_unit_test(test_what_was_held_back_is_given_when_no_sequence_came),
        cmocka_unit_test(test_an_answer_that_is_all_stop_sequence_is_empty),
        cmocka_unit_test(test_reasoning_is_not_searched_for_stop_sequences),
        cmocka_unit_test(test_calls_of_a_stream_come_under_the_clients_names),
        cmocka_unit_test(test_a_stream_and_a_whole_answer_say_the_same),
        cmocka_unit_test(test_without_parallel_calls_only_the_first_is_told),
        cmocka_unit_test(test_deprecated_functions_are_answered_by_one_function_call),
        cmocka_unit_test(test_text_that_was_held_back_comes_before_the_calls),
        cmocka_unit_test(test_a_result_goes_to_the_turn_that_waits_whether_it_was_streamed_or_not),
        cmocka_unit_test(
            test_a_conversation_goes_on_in_its_thread_even_when_what_it_said_was_held_back),
        cmocka_unit_test(test_an_answer_that_was_stopped_or_too_long_to_remember_is_not_carried_on),
        cmocka_unit_test(test_choices_of_a_stream_are_told_apart_and_end_together),
        cmocka_unit_test(test_a_whole_answer_has_its_choices_in_order_and_their_usage_in_sum),
        cmocka_unit_test(test_a_stop_sequence_stops_its_choice_alone),
        cmocka_unit_test(test_one_choice_that_fails_is_the_failure_of_all),
        cmocka_unit_test(test_a_chat_of_several_choices_that_is_freed_stops_them_all),
    };
    json_setup();
    log_set_level(LOG_SILENCE);
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
