/* The output of the model: put together from notifications, whatever their shape, and started anew on demand. */
#include "log.h"
#include "output.h"
#include "unit.h"

struct bench {
    struct output output;
    struct buf heard; /* owned: "t:text" and "r:reasoning", "|" between */
    bool leaves;      /* at the next byte */
};

static void take(void *ctx, bool reasoning, const char *bytes, size_t len)
{
    struct bench *b = ctx;
    assert_true(len != 0);
    buf_printf(&b->heard, "%s%c:", b->heard.len != 0 ? "|" : "", reasoning ? 'r' : 't');
    buf_append(&b->heard, bytes, len);
    if (b->leaves)
        b->output.sink.take = NULL;
}

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof(*b));
    b->output.sink = (struct output_sink){ take, b };
    b->output.offered = json_pack("[{s:s}, {s:s}]", "name", "look", "name", "go");
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    output_reset(&b->output);
    output_reset(&b->output);
    json_decref(b->output.offered);
    buf_free(&b->heard);
    free(b);
    return 0;
}

static void note(struct bench *b, const char *method, const char *params_text)
{
    json_t *params = json_parse(params_text, strlen(params_text), NULL);
    if (params == NULL)
        fail_msg("no JSON: %s", params_text);
    assert_true(output_note(&b->output, method, params));
    json_decref(params); /* what is kept is a copy */
}

static void start_item(struct bench *b, const char *id, const char *phase)
{
    char params[160];
    snprintf(params, sizeof(params),
             "{\"item\":{\"type\":\"agentMessage\",\"id\":\"%s\",\"phase\":\"%s\"}}", id, phase);
    note(b, "item/started", params);
}

static void delta(struct bench *b, const char *id, const char *text)
{
    char params[160];
    snprintf(params, sizeof(params), "{\"itemId\":\"%s\",\"delta\":\"%s\"}", id, text);
    note(b, "item/agentMessage/delta", params);
}

static void complete_item(struct bench *b, const char *id, const char *text)
{
    char params[160];
    snprintf(params, sizeof(params),
             "{\"item\":{\"type\":\"agentMessage\",\"id\":\"%s\",\"text\":\"%s\"}}", id, text);
    note(b, "item/completed", params);
}

static void call(struct bench *b, const char *members)
{
    char params[512];
    snprintf(params, sizeof(params), "{\"item\":{\"type\":\"function_call\"%s}}", members);
    note(b, "rawResponseItem/completed", params);
}

static void assert_heard(struct bench *b, const char *wanted)
{
    assert_string_equal(buf_str(&b->heard), wanted);
    buf_clear(&b->heard);
}

static void test_only_what_makes_output_is_taken(void **state)
{
    struct bench *b = *state;
    static const char *const others[] = { "",      "turn/completed",
                                          "item",  "item/started/",
                                          "Error", "thread/tokenUsage/updated" };
    for (size_t i = 0; i < COUNT_OF(others); i++)
        assert_false(output_note(&b->output, others[i], NULL));
    assert_heard(b, "");
}

static void test_a_notification_without_params_makes_nothing(void **state)
{
    struct bench *b = *state;
    static const char *const methods[] = { "item/agentMessage/delta",
                                           "item/reasoning/summaryTextDelta",
                                           "item/reasoning/summaryPartAdded",
                                           "item/started",
                                           "item/completed",
                                           "rawResponseItem/completed",
                                           "error" };
    for (size_t i = 0; i < COUNT_OF(methods); i++)
        assert_true(output_note(&b->output, methods[i], NULL));
    assert_heard(b, "");
    assert_int_equal(b->output.call_count, 0);
    assert_int_equal(b->output.item_count, 0);
    assert_null(b->output.error);
}

static void test_commentary_goes_where_the_operator_wants_it(void **state)
{
    struct bench *b = *state;
    static const struct {
        enum output_commentary where;
        const char *heard;
    } cases[] = {
        { COMMENTARY_REASONING, "r:let me|t:the |r: see|t:answer" },
        { COMMENTARY_CONTENT, "t:let me|t:\n\n|t:the |t: see|t:\n\n|t:answer" },
        { COMMENTARY_DROP, "t:the |t:answer" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        b->output.commentary = cases[i].where;
        start_item(b, "c", "commentary");
        delta(b, "c", "let me");
        start_item(b, "m", "final_answer");
        delta(b, "m", "the ");
        delta(b, "c", " see");
        complete_item(b, "c", "let me see");
        delta(b, "m", "answer");
        complete_item(b, "m", "the answer");
        assert_heard(b, cases[i].heard);
        output_reset(&b->output);
        assert_int_equal(b->output.commentary, cases[i].where);
    }
}

static void test_a_sink_that_leaves_hears_no_more(void **state)
{
    struct bench *b = *state;
    start_item(b, "m1", "final_answer");
    delta(b, "m1", "one");
    complete_item(b, "m1", "one");
    b->leaves = true;
    delta(b, "m2", "two"); /* it leaves at the blank line */
    delta(b, "m2", "three");
    complete_item(b, "m2", "twothree, four");
    assert_heard(b, "t:one|t:\n\n");
}

static void test_calls_are_the_models_own_words_in_their_order(void **state)
{
    struct bench *b = *state;
    call(b, ",\"call_id\":\"c1\",\"name\":\"go\",\"arguments\":\"{ }\"");
    call(b, ",\"call_id\":\"c2\",\"name\":\"look\",\"arguments\":\"\"");
    call(b, ",\"call_id\":\"c3\",\"name\":\"go\",\"arguments\":\"{\\\"a\\\":\\\"\\u20ac\\\"}\"");
    static const char *const wanted[][3] = { { "c1", "go", "{ }" },
                                             { "c2", "look", "" },
                                             { "c3", "go", "{\"a\":\"\xe2\x82\xac\"}" } };
    assert_int_equal(b->output.call_count, COUNT_OF(wanted));
    for (size_t i = 0; i < COUNT_OF(wanted); i++) {
        assert_string_equal(b->output.calls[i].id, wanted[i][0]);
        assert_string_equal(b->output.calls[i].name, wanted[i][1]);
        assert_string_equal(b->output.calls[i].arguments, wanted[i][2]);
    }
    assert_false(b->output.response_completed);
    note(b, "rawResponse/completed", "{}");
    assert_true(b->output.response_completed);
}

static void test_what_is_no_call_of_an_offered_tool_is_none(void **state)
{
    struct bench *b = *state;
    static const char *const others[] = {
        "",
        ",\"call_id\":\"c\"",
        ",\"call_id\":\"c\",\"name\":\"look\"",
        ",\"call_id\":\"c\",\"arguments\":\"\"",
        ",\"name\":\"look\",\"arguments\":\"\"",
        ",\"call_id\":7,\"name\":\"look\",\"arguments\":\"\"",
        ",\"call_id\":\"c\",\"name\":\"look\",\"arguments\":{}",
        ",\"call_id\":\"c\",\"name\":\"hack\",\"arguments\":\"\"",
        ",\"call_id\":\"c\",\"name\":\"Look\",\"arguments\":\"\"",
        ",\"call_id\":\"c\",\"name\":\"\",\"arguments\":\"\"",
    };
    for (size_t i = 0; i < COUNT_OF(others); i++)
        call(b, others[i]);
    note(b, "rawResponseItem/completed",
         "{\"item\":{\"type\":\"custom_tool_call\",\"call_id\":\"c\",\"name\":\"look\","
         "\"arguments\":"
         "\"\"}}");
    note(b, "rawResponseItem/completed",
         "{\"item\":{\"call_id\":\"c\",\"name\":\"look\",\"arguments\":\"\"}}");
    assert_int_equal(b->output.call_count, 0);
}

static void test_without_tools_there_are_no_calls(void **state)
{
    struct bench *b = *state;
    json_decref(b->output.offered);
    b->output.offered = NULL;
    call(b, ",\"call_id\":\"c1\",\"name\":\"look\",\"arguments\":\"\"");
    assert_int_equal(b->output.call_count, 0);
}

static void test_the_id_of_a_call_is_bounded(void **state)
{
    struct bench *b = *state;
    char id[OUTPUT_ID_MAX + 1];
    memset(id, 'c', sizeof(id));
    for (size_t len = OUTPUT_ID_MAX - 1; len <= OUTPUT_ID_MAX; len++) {
        char members[256];
        snprintf(members, sizeof(members),
                 ",\"call_id\":\"%.*s\",\"name\":\"look\",\"arguments\":\"\"", (int)len, id);
        call(b, members);
    }
    assert_int_equal(b->output.call_count, 1);
}

static void test_the_calls_of_a_response_are_bounded(void **state)
{
    struct bench *b = *state;
    for (int i = 0; i < OUTPUT_CALLS_MAX + 5; i++) {
        char members[100];
        snprintf(members, sizeof(members),
                 ",\"call_id\":\"c%d\",\"name\":\"look\",\"arguments\":\"\"", i);
        call(b, members);
    }
    assert_int_equal(b->output.call_count, OUTPUT_CALLS_MAX);
    assert_string_equal(b->output.calls[OUTPUT_CALLS_MAX - 1].id, "c127");
}

static void test_after_a_reset_nothing_of_the_last_answer_is_left(void **state)
{
    struct bench *b = *state;
    start_item(b, "m1", "commentary");
    delta(b, "m1", "old");
    call(b, ",\"call_id\":\"c1\",\"name\":\"look\",\"arguments\":\"\"");
    note(b, "rawResponse/completed", "{\"usage\":{\"totalTokens\":7}}");
    note(b, "error", "{\"willRetry\":false,\"error\":{\"message\":\"x\"}}");
    assert_non_null(b->output.error);
    assert_heard(b, "r:old");
    output_reset(&b->output);
    assert_int_equal(b->output.usage.total, 0);
    assert_int_equal(b->output.call_count, 0);
    assert_null(b->output.error);
    assert_false(b->output.response_completed);
    delta(b, "m1", "new"); /* no blank line before it, and no commentary */
    call(b, ",\"call_id\":\"c2\",\"name\":\"look\",\"arguments\":\"\"");
    assert_heard(b, "t:new");
    assert_int_equal(b->output.call_count, 1); /* the tools are still offered */
}

static void test_only_an_error_without_a_retry_is_final(void **state)
{
    struct bench *b = *state;
    note(b, "error", "{\"willRetry\":true,\"error\":{\"message\":\"again\"}}");
    assert_null(b->output.error);
    note(b, "error", "{\"willRetry\":false,\"error\":{\"message\":\"first\"}}");
    note(b, "error", "{\"error\":{\"message\":\"last\"}}");
    note(b, "error", "{\"willRetry\":true,\"error\":{\"message\":\"again\"}}");
    assert_string_equal(json_str_at(b->output.error, "message"), "last");
}

#define OUTPUT_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OUTPUT_TEST(test_only_what_makes_output_is_taken),
        OUTPUT_TEST(test_a_notification_without_params_makes_nothing),
        OUTPUT_TEST(test_commentary_goes_where_the_operator_wants_it),
        OUTPUT_TEST(test_a_sink_that_leaves_hears_no_more),
        OUTPUT_TEST(test_calls_are_the_models_own_words_in_their_order),
        OUTPUT_TEST(test_what_is_no_call_of_an_offered_tool_is_none),
        OUTPUT_TEST(test_without_tools_there_are_no_calls),
        OUTPUT_TEST(test_the_id_of_a_call_is_bounded),
        OUTPUT_TEST(test_the_calls_of_a_response_are_bounded),
        OUTPUT_TEST(test_after_a_reset_nothing_of_the_last_answer_is_left),
        OUTPUT_TEST(test_only_an_error_without_a_retry_is_final),
    };
    json_setup();
    log_set_level(LOG_SILENCE);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
