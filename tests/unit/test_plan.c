/* From a chat request to what the worker is asked. */
#include "plan.h"
#include "unit.h"

static void plan_of(const char *body, struct turn_plan *ret)
{
    struct chat_request request;
    struct api_error error;
    assert_true(chat_request_parse(&request, body, strlen(body), &error));
    json_t *before = json_deep_copy(request.root);
    char model[] = "worker-model"; /* not the client's name of it */
    char effort[] = "high";
    char summary[] = "auto";
    const struct plan_options options = { model, request.effort != NULL ? effort : NULL, summary };
    plan_make(ret, &request, &options);
    model[0] = effort[0] = summary[0] = '#';
    assert_true(json_equal(request.root, before)); /* the request is only borrowed */
    json_decref(before);
    chat_request_free(&request); /* and the plan outlives it */
}

static void assert_json(const json_t *got, const char *wanted_text)
{
    json_t *wanted = json_parse(wanted_text, strlen(wanted_text), NULL);
    assert_non_null(wanted);
    if (!json_equal(got, wanted)) {
        struct buf text = BUF_INIT;
        json_write(&text, got);
        fail_msg("got %s\nwanted %s", buf_str(&text), wanted_text);
    }
    json_decref(wanted);
}

static void assert_items(const char *messages, const char *wanted)
{
    struct turn_plan plan;
    char *body = NULL;
    assert_true(asprintf(&body, "{\"model\":\"m\",\"messages\":%s}", messages) > 0);
    plan_of(body, &plan);
    assert_json(plan.items, wanted);
    turn_plan_free(&plan);
    free(body);
}

static void test_the_thread_is_a_bare_chat_with_the_model(void **state)
{
    (void)state;
    struct turn_plan plan;
    plan_of("{\"model\":\"gpt-x\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}", &plan);
    assert_json(plan.thread,
                "{\"model\":\"worker-model\",\"ephemeral\":true,\"baseInstructions\":\"\","
                "\"environments\":[],\"experimentalRawEvents\":true,"
                "\"approvalPolicy\":\"never\",\"sandbox\":\"read-only\"}");
    assert_json(plan.start, "{\"input\":[],\"summary\":\"auto\"}");
    turn_plan_free(&plan);
    assert_null(plan.thread);
    turn_plan_free(&plan);
}

static void test_the_effort_goes_to_the_turn(void **state)
{
    (void)state;
    struct turn_plan plan;
    plan_of("{\"model\":\"m\",\"reasoning_effort\":\"xhigh\",\"messages\":[{\"role\":\"user\","
            "\"content\":\"hi\"}]}",
            &plan);
    assert_json(plan.start, "{\"input\":[],\"summary\":\"auto\",\"effort\":\"high\"}");
    turn_plan_free(&plan);
}

static void test_every_role_becomes_one_that_the_worker_passes_on(void **state)
{
    (void)state;
    assert_items("[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"developer\",\"content\":"
                 "\"d\"},{\"role\":\"user\",\"content\":\"u\"},{\"role\":\"assistant\",\"content\":"
                 "\"a\"},{\"role\":\"user\",\"content\":\"u2\"}]",
                 "[{\"type\":\"message\",\"role\":\"developer\",\"content\":[{\"type\":"
                 "\"input_text\",\"text\":\"s\"}]},"
                 "{\"type\":\"message\",\"role\":\"developer\",\"content\":[{\"type\":"
                 "\"input_text\",\"text\":\"d\"}]},"
                 "{\"type\":\"message\",\"role\":\"user\",\"content\":[{\"type\":\"input_text\","
                 "\"text\":\"u\"}]},"
                 "{\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":"
                 "\"output_text\",\"text\":\"a\"}]},"
                 "{\"type\":\"message\",\"role\":\"user\",\"content\":[{\"type\":\"input_text\","
                 "\"text\":\"u2\"}]}]");
}

static void test_parts_stay_parts_in_their_order(void **state)
{
    (void)state;
    assert_items("[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"one\"},{\"type\":"
                 "\"text\",\"text\":\"\"},{\"type\":\"text\",\"text\":\"three\",\"x\":1}]},"
                 "{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"a\"}]}]",
                 "[{\"type\":\"message\",\"role\":\"user\",\"content\":[{\"type\":\"input_text\","
                 "\"text\":\"one\"},{\"type\":\"input_text\",\"text\":\"\"},{\"type\":"
                 "\"input_text\",\"text\":\"three\"}]},"
                 "{\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":"
                 "\"output_text\",\"text\":\"a\"}]}]");
}

static void test_an_assistant_that_said_nothing_is_left_out(void **state)
{
    (void)state;
    assert_items("[{\"role\":\"assistant\",\"content\":\"\"},{\"role\":\"user\",\"content\":\"u\"},"
                 "{\"role\":\"assistant\",\"content\":\"\"}]",
                 "[{\"type\":\"message\",\"role\":\"user\",\"content\":[{\"type\":\"input_text\","
                 "\"text\":\"u\"}]}]");
}

static void test_text_is_passed_on_byte_for_byte(void **state)
{
    (void)state;
    assert_items("[{\"role\":\"user\",\"content\":\"a\\u0000\\n\\\"\\\\\xf0\x9f\x98\x80\"}]",
                 "[{\"type\":\"message\",\"role\":\"user\",\"content\":[{\"type\":\"input_text\","
                 "\"text\":\"a\\u0000\\n\\\"\\\\\\ud83d\\ude00\"}]}]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_thread_is_a_bare_chat_with_the_model),
        cmocka_unit_test(test_the_effort_goes_to_the_turn),
        cmocka_unit_test(test_every_role_becomes_one_that_the_worker_passes_on),
        cmocka_unit_test(test_parts_stay_parts_in_their_order),
        cmocka_unit_test(test_an_assistant_that_said_nothing_is_left_out),
        cmocka_unit_test(test_text_is_passed_on_byte_for_byte),
    };
    json_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
