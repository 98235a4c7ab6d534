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

#define HI "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define LOOK "{\"type\":\"function\",\"function\":{\"name\":\"look\"}}"

/* The request with these further members (a comma before each) becomes what is added to the plan of a bare one. */
static void assert_adds(const char *members, const char *thread, const char *start)
{
    struct turn_plan bare;
    struct turn_plan plan;
    char *body = NULL;
    assert_true(asprintf(&body, "{\"model\":\"m\"," HI "%s}", members) > 0);
    plan_of("{\"model\":\"m\"," HI "}", &bare);
    plan_of(body, &plan);
    json_t *more = json_parse(thread, strlen(thread), NULL);
    json_object_update(bare.thread, more);
    assert_true(json_equal(plan.thread, bare.thread));
    json_decref(more);
    more = json_parse(start, strlen(start), NULL);
    json_object_update(bare.start, more);
    assert_true(json_equal(plan.start, bare.start));
    json_decref(more);
    turn_plan_free(&bare);
    turn_plan_free(&plan);
    free(body);
}

static void test_each_field_goes_where_the_worker_takes_it(void **state)
{
    (void)state;
    assert_adds(",\"verbosity\":\"low\"", "{\"config\":{\"model_verbosity\":\"low\"}}", "{}");
    assert_adds(",\"service_tier\":\"flex\"", "{}", "{\"serviceTier\":\"flex\"}");
    assert_adds(",\"service_tier\":\"fast\"", "{}", "{\"serviceTier\":\"priority\"}");
    assert_adds(",\"service_tier\":\"auto\"", "{}", "{}");
    assert_adds(",\"tools\":[" LOOK "]",
                "{\"dynamicTools\":[{\"type\":\"function\",\"name\":\"look\",\"description\":\"\","
                "\"inputSchema\":{\"type\":\"object\",\"properties\":{}}}]}",
                "{}");
    assert_adds(",\"tools\":[" LOOK "],\"tool_choice\":\"none\"", "{}", "{}");
    assert_adds(",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\","
                "\"strict\":true,\"schema\":{\"type\":\"object\",\"properties\":{},\"required\":[],"
                "\"additionalProperties\":false}}}",
                "{}",
                "{\"outputSchema\":{\"type\":\"object\",\"properties\":{},\"required\":[],"
                "\"additionalProperties\":false}}");
    assert_adds(",\"temperature\":1,\"n\":3,\"stop\":\"x\",\"stream\":true", "{}", "{}");
}

/* What the worker has no knob for is said to the model, before all else. */
static void assert_instructed(const char *members, const char *part)
{
    struct turn_plan plan;
    char *body = NULL;
    assert_true(asprintf(&body, "{\"model\":\"m\"," HI "%s}", members) > 0);
    plan_of(body, &plan);
    assert_int_equal(json_array_size(plan.items), part != NULL ? 2 : 1);
    const json_t *first = json_array_get(plan.items, 0);
    const char *text = json_str_at(json_array_get(json_object_get(first, "content"), 0), "text");
    assert_string_equal(json_str_at(first, "role"), part != NULL ? "developer" : "user");
    if (part != NULL)
        assert_non_null(strstr(text, part));
    turn_plan_free(&plan);
    free(body);
}

static void test_what_the_worker_has_no_knob_for_is_said_to_the_model_first(void **state)
{
    (void)state;
    assert_instructed(",\"response_format\":{\"type\":\"json_object\"}", "JSON object");
    assert_instructed(
        ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\","
        "\"schema\":{\"type\":\"object\",\"title\":\"open\"}}}",
        "\"title\":\"open\"");
    assert_instructed(",\"tools\":[" LOOK "],\"tool_choice\":\"required\"", "calling a function");
    assert_instructed(",\"tools\":[" LOOK "],\"tool_choice\":\"required\",\"response_format\":{"
                      "\"type\":\"json_object\"}",
                      "\n"); /* both, on lines of their own */
    assert_instructed(",\"tools\":[" LOOK "]", NULL);
    assert_instructed(",\"response_format\":{\"type\":\"text\"}", NULL);
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
        cmocka_unit_test(test_each_field_goes_where_the_worker_takes_it),
        cmocka_unit_test(test_what_the_worker_has_no_knob_for_is_said_to_the_model_first),
        cmocka_unit_test(test_every_role_becomes_one_that_the_worker_passes_on),
        cmocka_unit_test(test_parts_stay_parts_in_their_order),
        cmocka_unit_test(test_an_assistant_that_said_nothing_is_left_out),
        cmocka_unit_test(test_text_is_passed_on_byte_for_byte),
    };
    json_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
