/* Bytes of the OpenAI answer: each frame parsed back and compared, member by member. */
#include "chunk.h"
#include "frames.h"
#include "unit.h"

static const struct chunk_head plain = {
    .id = "chatcmpl-1", .model = "gpt-x", .fingerprint = "fp_1", .created = 1767225600
};
static const struct chunk_head counted = { .id = "chatcmpl-1",
                                           .model = "gpt-x",
                                           .fingerprint = "fp_1",
                                           .created = 1767225600,
                                           .include_usage = true };

static const struct turn_usage usage = { .input = 11,
                                         .cached = 4,
                                         .cache_write = 2,
                                         .output = 7000000000,
                                         .reasoning = 5,
                                         .total = 7000000011 };

#define HEAD                                                                                       \
    "\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1767225600,"           \
    "\"model\":\"gpt-x\",\"system_fingerprint\":\"fp_1\""
#define CHOICE(delta, finish)                                                                      \
    "\"choices\":[{\"index\":0,\"delta\":" delta ",\"logprobs\":null,\"finish_reason\":" finish "}]"
#define USAGE                                                                                      \
    "{\"prompt_tokens\":11,\"completion_tokens\":7000000000,\"total_tokens\":7000000011,"          \
    "\"prompt_tokens_details\":{\"cached_tokens\":4,\"cache_write_tokens\":2,"                     \
    "\"audio_tokens\":0},\"completion_tokens_details\":{\"reasoning_tokens\":5,"                   \
    "\"audio_tokens\":0,\"accepted_prediction_tokens\":0,\"rejected_prediction_tokens\":0}}"

static void test_the_first_frame_names_the_role(void **state)
{
    (void)state;
    struct buf out = BUF_INIT;
    chunk_role(&out, &plain);
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
    chunk_delta(&out, &plain, "content", LITERAL("Hello"));
    chunk_delta(&out, &plain, "reasoning_content", LITERAL("hm"));
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
    chunk_delta(&out, &plain, "content", LITERAL(evil));
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
    chunk_finish(&out, &head, "stop");
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
    chunk_finish(&out, &plain, "length");
    frames_expect(&out, "{" HEAD "," CHOICE("{}", "\"length\"") "}");
    buf_free(&out);
}

static void test_usage_is_a_member_of_every_chunk_once_it_is_asked_for(void **state)
{
    (void)state;
    struct buf out = BUF_INIT;
    chunk_role(&out, &counted);
    chunk_delta(&out, &counted, "content", LITERAL("x"));
    chunk_finish(&out, &counted, "stop");
    for (int i = 0; i < 3; i++) {
        json_t *frame = frames_next(&out);
        assert_true(json_is_null(json_object_get(frame, "usage")));
        json_decref(frame);
    }
    chunk_usage(&out, &counted, &usage);
    frames_expect(&out, "{" HEAD ",\"choices\":[],\"usage\":" USAGE "}");
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
                        "\"param\":null,\"code\":\"worker_lost\"}}");
    assert_int_equal(out.len, 0);
    buf_free(&out);
}

static json_t *whole(struct buf *content, struct buf *reasoning, const char *finish)
{
    struct buf out = BUF_INIT;
    const struct chunk_message message = { content, reasoning, finish, &usage };
    chunk_whole(&out, &counted, &message);
    json_t *object = json_parse(out.data, out.len, NULL);
    assert_non_null(object);
    buf_free(&out);
    return object;
}

static void assert_whole(struct buf *content, struct buf *reasoning, const char *wanted_message)
{
    json_t *got = whole(content, reasoning, "stop");
    char *text = NULL;
    assert_true(asprintf(&text,
                         "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":"
                         "1767225600,\"model\":\"gpt-x\",\"system_fingerprint\":\"fp_1\","
                         "\"choices\":[{\"index\":0,\"message\":%s,\"logprobs\":null,"
                         "\"finish_reason\":\"stop\"}],\"usage\":" USAGE "}",
                         wanted_message) > 0);
    json_t *wanted = json_parse(text, strlen(text), NULL);
    assert_non_null(wanted);
    assert_true(json_equal(got, wanted));
    json_decref(wanted);
    json_decref(got);
    free(text);
}

static void test_the_whole_answer_is_one_object(void **state)
{
    (void)state;
    struct buf content = BUF_INIT;
    struct buf reasoning = BUF_INIT;
    assert_whole(&content, &reasoning, /* an answer without a word */
                 "{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null,\"annotations\":[]}");
    buf_append(&content, "a\0b", 3);
    assert_whole(&content, &reasoning,
                 "{\"role\":\"assistant\",\"content\":\"a\\u0000b\",\"refusal\":null,"
                 "\"annotations\":[]}");
    buf_puts(&reasoning, "hm\n");
    assert_whole(&content, &reasoning,
                 "{\"role\":\"assistant\",\"content\":\"a\\u0000b\",\"refusal\":null,"
                 "\"annotations\":[],\"reasoning_content\":\"hm\\n\"}");
    buf_free(&content);
    buf_free(&reasoning);
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
        cmocka_unit_test(test_the_whole_answer_is_one_object),
    };
    json_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
