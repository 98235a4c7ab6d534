/* Bytes of the OpenAI answer: each frame parsed back and compared, member by member. */
#include "chunk.h"
#include "frames.h"
#include "unit.h"

static const struct chunk_head plain = { .id = "chatcmpl-1",
                                         .model = "gpt-x",
                                         .fingerprint = "fp_1",
                                         .service_tier = "default",
                                         .created = 1767225600 };
static const struct chunk_head counted = { .id = "chatcmpl-1",
                                           .model = "gpt-x",
                                           .fingerprint = "fp_1",
                                           .service_tier = "flex",
                                           .created = 1767225600,
                                           .include_usage = true };

static const struct turn_usage usage = { .input = 11,
                                         .cached = 4,
                                         .cache_write = 2,
                                         .output = 7000000000,
                                         .reasoning = 5,
                                         .total = 7000000011 };

#define HEAD_OF(tier)                                                                              \
    "\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1767225600,"           \
    "\"model\":\"gpt-x\",\"system_fingerprint\":\"fp_1\",\"service_tier\":\"" tier "\""
#define HEAD HEAD_OF("default")
#define CHOICE(delta, finish) CHOICE_AT("0", delta, finish)
#define CHOICE_AT(index, delta, finish)                                                            \
    "\"choices\":[{\"index\":" index ",\"delta\":" delta                                           \
    ",\"logprobs\":null,\"finish_reason\":" finish "}]"
#define USAGE                                                                                      \
    "{\"prompt_tokens\":11,\"completion_tokens\":7000000000,\"total_tokens\":7000000011,"          \
    "\"prompt_tokens_details\":{\"cached_tokens\":4,\"cache_write_tokens\":2,"                     \
    "\"audio_tokens\":0},\"completion_tokens_details\":{\"reasoning_tokens\":5,"                   \
    "\"audio_tokens\":0,\"accepted_prediction_tokens\":0,\"rejected_prediction_tokens\":0}}"

static void test_the_first_frame_names_the_role(void **state)
{
    (void)state;
    struct buf out = BUF_INIT;
    chunk_role(&out, &plain, 0);
    frames_expect(&out,
                  "{" HEAD "," CHOICE("{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}",
                                      "null") "}");
    assert_int_equal(out.len, 0);
    buf_free(&out);
}

static void test_a_delta_carries_its_member_alone(void **state)
{
    (void)state;
    struct buf out = BUF_INIT;
    chunk_delta(&out, &plain, 0, "content", LITERAL("Hello"));
    chunk_delta(&out, &plain, 0, "reasoning_content", LITERAL("hm"));
    frames_expect(&out, "{" HEAD "," CHOICE("{\"content\":\"Hello\"}", "null") "}");
    frames_expect(&out, "{" HEAD "," CHOICE("{\"reasoning_content\":\"hm\"}", "null") "}");
    assert_int_equal(out.len, 0);
    buf_free(&out);
}

static void test_no_text_breaks_out_of_its_frame(void **state)
{
    (void)state;
    static const char evil[] = "\n\ndata: [DONE]\n\n\"}]}\r\n\\\0\x01\xe2\x80\xa8\xf0\x9f\x98\x80";
    struct buf out = BUF_INIT;
    chunk_delta(&out, &plain, 0, "content", LITERAL(evil));
    json_t *frame = frames_next(&out);
    const json_t *text =
        json_at(json_array_get(json_object_get(frame, "choices"), 0), "delta.content");
    assert_int_equal(json_string_length(text), sizeof(evil) - 1);
    assert_memory_equal(json_string_value(text), evil, sizeof(evil) - 1);
    assert_int_equal(out.len, 0);
    json_decref(frame);
    buf_free(&out);
}

static void test_a_model_name_of_the_clients_is_quoted(void **state)
{
    (void)state;
    struct chunk_head head = plain;
    head.model = "a\"},\n\n\"b";
    struct buf out = BUF_INIT;
    chunk_finish(&out, &head, 0, "stop");
    json_t *frame = frames_next(&out);
    assert_string_equal(json_str_at(frame, "model"), head.model);
    assert_int_equal(out.len, 0);
    json_decref(frame);
    buf_free(&out);
}

static void test_the_last_choice_says_why_it_ended(void **state)
{
    (void)state;
    struct buf out = BUF_INIT;
    chunk_finish(&out, &plain, 0, "length");
    frames_expect(&out, "{" HEAD "," CHOICE("{}", "\"length\"") "}");
    buf_free(&out);
}

static void test_usage_is_a_member_of_every_chunk_once_it_is_asked_for(void **state)
{
    (void)state;
    struct buf out = BUF_INIT;
    chunk_role(&out, &counted, 0);
    chunk_delta(&out, &counted, 0, "content", LITERAL("x"));
    chunk_finish(&out, &counted, 0, "stop");
    for (int i = 0; i < 3; i++) {
        json_t *frame = frames_next(&out);
        assert_true(json_is_null(json_object_get(frame, "usage")));
        json_decref(frame);
    }
    chunk_usage(&out, &counted, &usage);
    frames_expect(&out, "{" HEAD_OF("flex") ",\"choices\":[],\"usage\":" USAGE "}");
    assert_int_equal(out.len, 0);
    buf_free(&out);
}

static void test_the_end_of_a_stream_and_a_comment_are_what_clients_know(void **state)
{
    (void)state;
    struct buf out = BUF_INIT;
    chunk_comment(&out);
    chunk_done(&out);
    assert_string_equal(buf_str(&out), ": ping\n\ndata: [DONE]\n\n");
    buf_free(&out);
}

static void test_an_error_is_a_frame_with_the_envelope(void **state)
{
    (void)state;
    struct buf out = BUF_INIT;
    struct api_error error;
    api_error_set(&error, 502, "server_error", "worker_lost", NULL, "a\n\nb");
    chunk_error(&out, &error);
    frames_expect(&out, "{\"error\":{\"message\":\"a\\n\\nb\",\"type\":\"server_error\","
                        "\"param\":null,\"code\":\"worker_lost\",\"retryable\":true}}");
    assert_int_equal(out.len, 0);
    buf_free(&out);
}

static void test_each_choice_has_its_index(void **state)
{
    (void)state;
    struct buf out = BUF_INIT;
    chunk_role(&out, &plain, 7);
    chunk_delta(&out, &plain, 1, "content", LITERAL("x"));
    chunk_finish(&out, &plain, 2, "stop");
    frames_expect(
        &out, "{" HEAD "," CHOICE_AT(
                  "7", "{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}", "null") "}");
    frames_expect(&out, "{" HEAD "," CHOICE_AT("1", "{\"content\":\"x\"}", "null") "}");
    frames_expect(&out, "{" HEAD "," CHOICE_AT("2", "{}", "\"stop\"") "}");
    assert_int_equal(out.len, 0);
    buf_free(&out);
}

static const struct chunk_call calls[] = { { "call_1", "look", "{\"a\":\"\\n\"}" },
                                           { "call_2", "go", "" } };

static void test_a_call_is_first_named_and_then_given_its_arguments(void **state)
{
    (void)state;
    struct buf out = BUF_INIT;
    chunk_call(&out, &plain, 1, 3, &calls[0], false);
    frames_expect(&out, "{" HEAD "," CHOICE_AT(
                            "1",
                            "{\"tool_calls\":[{\"index\":3,\"id\":\"call_1\",\"type\":\"function\","
                            "\"function\":{\"name\":\"look\",\"arguments\":\"\"}}]}",
                            "null") "}");
    frames_expect(&out, "{" HEAD
                        "," CHOICE_AT("1",
                                      "{\"tool_calls\":[{\"index\":3,\"function\":{\"arguments\":"
                                      "\"{\\\"a\\\":\\\"\\\\n\\\"}\"}}]}",
                                      "null") "}");
    assert_int_equal(out.len, 0);
    buf_free(&out);
}

static void test_a_deprecated_call_has_neither_id_nor_index(void **state)
{
    (void)state;
    struct buf out = BUF_INIT;
    chunk_call(&out, &plain, 0, 0, &calls[1], true);
    frames_expect(&out,
                  "{" HEAD "," CHOICE("{\"function_call\":{\"name\":\"go\",\"arguments\":\"\"}}",
                                      "null") "}");
    frames_expect(&out,
                  "{" HEAD "," CHOICE("{\"function_call\":{\"arguments\":\"\"}}", "null") "}");
    assert_int_equal(out.len, 0);
    buf_free(&out);
}

/* The choices of the answer, which is checked around them. */
static void assert_whole(const struct chunk_message *messages, size_t count, const char *wanted)
{
    struct buf out = BUF_INIT;
    chunk_whole_begin(&out, &counted);
    for (size_t i = 0; i < count; i++)
        chunk_whole_choice(&out, i, &messages[i]);
    chunk_whole_end(&out, &usage);
    char *text = NULL;
    assert_true(asprintf(&text,
                         "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":"
                         "1767225600,\"model\":\"gpt-x\",\"system_fingerprint\":\"fp_1\","
                         "\"service_tier\":\"flex\",\"choices\":[%s],\"usage\":" USAGE "}",
                         wanted) > 0);
    struct buf event = BUF_INIT; /* read as an event, so that it is compared as one */
    buf_printf(&event, "data: %s\n\n", buf_str(&out));
    frames_expect(&event, text);
    free(text);
    buf_free(&event);
    buf_free(&out);
}

#define WHOLE(index, members, finish)                                                              \
    "{\"index\":" index ",\"message\":{\"role\":\"assistant\"," members                            \
    ",\"refusal\":null,\"annotations\":[]},\"logprobs\":null,\"finish_reason\":\"" finish "\"}"

static void test_the_whole_answer_is_one_object(void **state)
{
    (void)state;
    struct buf content = BUF_INIT;
    struct buf reasoning = BUF_INIT;
    const struct chunk_message message = { .content = &content,
                                           .reasoning = &reasoning,
                                           .finish_reason = "stop" };
    assert_whole(&message, 1, WHOLE("0", "\"content\":\"\"", "stop")); /* without a word */
    buf_append(&content, "a\0b", 3);
    assert_whole(&message, 1, WHOLE("0", "\"content\":\"a\\u0000b\"", "stop"));
    buf_puts(&reasoning, "hm\n");
    assert_whole(&message, 1,
                 WHOLE("0", "\"content\":\"a\\u0000b\",\"reasoning_content\":\"hm\\n\"", "stop"));
    buf_free(&content);
    buf_free(&reasoning);
}

static void test_a_whole_answer_has_all_its_choices_in_order(void **state)
{
    (void)state;
    struct buf contents[3] = { BUF_INIT, BUF_INIT, BUF_INIT };
    struct buf none = BUF_INIT;
    buf_puts(&contents[0], "zero");
    buf_puts(&contents[1], "one");
    const struct chunk_message messages[] = {
        { .content = &contents[0], .reasoning = &none, .finish_reason = "stop" },
        { .content = &contents[1], .reasoning = &none, .finish_reason = "length" },
        { .content = &contents[2], .reasoning = &none, .finish_reason = "stop" },
    };
    assert_whole(messages, 3,
                 WHOLE("0", "\"content\":\"zero\"",
                       "stop") "," WHOLE("1", "\"content\":\"one\"",
                                         "length") "," WHOLE("2", "\"content\":\"\"", "stop"));
    for (size_t i = 0; i < COUNT_OF(contents); i++)
        buf_free(&contents[i]);
}

#define CALLS                                                                                      \
    "\"tool_calls\":[{\"id\":\"call_1\",\"type\":\"function\",\"function\":{\"name\":\"look\","    \
    "\"arguments\":\"{\\\"a\\\":\\\"\\\\n\\\"}\"}},{\"id\":\"call_2\",\"type\":\"function\","      \
    "\"function\":{\"name\":\"go\",\"arguments\":\"\"}}]"

static void test_calls_of_a_whole_answer_come_with_null_or_what_was_said(void **state)
{
    (void)state;
    struct buf content = BUF_INIT;
    struct buf none = BUF_INIT;
    const struct chunk_message message = { .content = &content,
                                           .reasoning = &none,
                                           .calls = calls,
                                           .call_count = 2,
                                           .finish_reason = "tool_calls" };
    assert_whole(&message, 1, WHOLE("0", "\"content\":null," CALLS, "tool_calls"));
    buf_puts(&content, "I look");
    assert_whole(&message, 1, WHOLE("0", "\"content\":\"I look\"," CALLS, "tool_calls"));
    buf_free(&content);
}

static void test_a_deprecated_call_of_a_whole_answer_is_one_function(void **state)
{
    (void)state;
    struct buf none = BUF_INIT;
    const struct chunk_message message = { .content = &none,
                                           .reasoning = &none,
                                           .calls = &calls[1],
                                           .call_count = 1,
                                           .legacy = true,
                                           .finish_reason = "function_call" };
    assert_whole(&message, 1,
                 WHOLE("0",
                       "\"content\":null,\"function_call\":{\"name\":\"go\",\"arguments\":\"\"}",
                       "function_call"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_first_frame_names_the_role),
        cmocka_unit_test(test_a_delta_carries_its_member_alone),
        cmocka_unit_test(test_no_text_breaks_out_of_its_frame),
        cmocka_unit_test(test_a_model_name_of_the_clients_is_quoted),
        cmocka_unit_test(test_the_last_choice_says_why_it_ended),
        cmocka_unit_test(test_usage_is_a_member_of_every_chunk_once_it_is_asked_for),
        cmocka_unit_test(test_the_end_of_a_stream_and_a_comment_are_what_clients_know),
        cmocka_unit_test(test_an_error_is_a_frame_with_the_envelope),
        cmocka_unit_test(test_each_choice_has_its_index),
        cmocka_unit_test(test_a_call_is_first_named_and_then_given_its_arguments),
        cmocka_unit_test(test_a_deprecated_call_has_neither_id_nor_index),
        cmocka_unit_test(test_the_whole_answer_is_one_object),
        cmocka_unit_test(test_a_whole_answer_has_all_its_choices_in_order),
        cmocka_unit_test(test_calls_of_a_whole_answer_come_with_null_or_what_was_said),
        cmocka_unit_test(test_a_deprecated_call_of_a_whole_answer_is_one_function),
    };
    json_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
