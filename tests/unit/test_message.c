/* Messages: what a history may hold and in which order, and the items that the worker is given for it. */
#include "message.h"
#include "unit.h"

#define USER "{\"role\":\"user\",\"content\":\"hi\"}"
#define CALL(id)                                                                                   \
    "{\"id\":\"" id "\",\"type\":\"function\",\"function\":{\"name\":\"look\",\"arguments\":"      \
    "\"{}\"}}"
#define CALLS(calls) "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[" calls "]}"
#define RESULT(id) "{\"role\":\"tool\",\"tool_call_id\":\"" id "\",\"content\":\"seen\"}"
#define OLD_CALL                                                                                   \
    "{\"role\":\"assistant\",\"content\":null,\"function_call\":{\"name\":\"look\",\"arguments\":" \
    "\"{}\"}}"
#define OLD_RESULT "{\"role\":\"function\",\"name\":\"look\",\"content\":\"seen\"}"
#define PNG "data:image/png;base64,iVBORw0KGgoAAAA"
#define IMAGE(members) "{\"type\":\"image_url\",\"image_url\":{" members "}}"

static json_t *parsed(const char *text)
{
    json_t *value = json_parse(text, strlen(text), NULL);
    if (value == NULL)
        fail_msg("no JSON: %s", text);
    return value;
}

static void assert_taken(const char *text)
{
    json_t *messages = parsed(text);
    struct api_error error = { .status = 0 };
    if (!messages_check(messages, &error))
        fail_msg("refused: %s: %s", text, error.message);
    json_decref(messages);
}

static void assert_refused(const char *text, const char *param, const char *code)
{
    json_t *messages = parsed(text);
    struct api_error error = { .status = 0 };
    if (messages_check(messages, &error))
        fail_msg("accepted: %s", text);
    assert_int_equal(error.status, 400);
    assert_string_equal(error.type, "invalid_request_error");
    if (strcmp(error.param, param) != 0)
        fail_msg("%s: refused at %s, not at %s", text, error.param, param);
    if (code == NULL)
        assert_null(error.code);
    else
        assert_string_equal(error.code, code);
    json_decref(messages);
}

/* A user message with this content is refused; `place` is that behind messages[0].content. */
static void assert_content_refused(const char *content, const char *place, const char *code)
{
    char *text = NULL;
    char param[API_ERROR_PARAM_MAX];
    assert_true(asprintf(&text, "[{\"role\":\"user\",\"content\":%s}]", content) > 0);
    snprintf(param, sizeof(param), "messages[0].content%s", place);
    assert_refused(text, param, code);
    free(text);
}

static void assert_content_taken(const char *content)
{
    char *text = NULL;
    assert_true(asprintf(&text, "[{\"role\":\"user\",\"content\":%s}]", content) > 0);
    assert_taken(text);
    free(text);
}

/* ---- order ---- */

static void test_every_call_is_answered_right_behind_it_in_any_order(void **state)
{
    (void)state;
    assert_taken("[" USER "," CALLS(CALL("a")) "," RESULT("a") "]");
    assert_taken("[" USER "," CALLS(CALL("a") "," CALL("b")) "," RESULT("b") "," RESULT("a") "]");
    assert_taken("[" CALLS(CALL("a")) "," RESULT("a") "," CALLS(CALL("a")) "," RESULT("a") "]");
    assert_taken("[" CALLS(CALL("a")) "," RESULT("a") "," USER "]");
}

static void test_a_call_without_exactly_one_answer_is_refused(void **state)
{
    (void)state;
    assert_refused("[" CALLS(CALL("a")) "]", "messages.[1].role", NULL);
    assert_refused("[" USER "," CALLS(CALL("a")) "," USER "]", "messages.[2].role", NULL);
    assert_refused("[" CALLS(CALL("a")) "," USER "," RESULT("a") "]", "messages.[1].role", NULL);
    assert_refused("[" CALLS(CALL("a") "," CALL("b")) "," RESULT("a") "]", "messages.[1].role",
                   NULL);
    assert_refused("[" CALLS(CALL("a")) "," RESULT("a") "," RESULT("a") "]", "messages.[1].role",
                   NULL);
}

static void test_an_answer_without_its_call_is_refused(void **state)
{
    (void)state;
    assert_refused("[" RESULT("a") "]", "messages.[0].role", NULL);
    assert_refused("[" USER "," RESULT("a") "]", "messages.[1].role", NULL);
    assert_refused("[{\"role\":\"assistant\",\"content\":\"x\"}," RESULT("a") "]",
                   "messages.[1].role", NULL);
    assert_refused("[" CALLS(CALL("a")) "," RESULT("a") "," RESULT("b") "]", "messages.[2].role",
                   NULL);
    assert_refused("[" CALLS(CALL("a")) "," RESULT("a") "," USER "," RESULT("a") "]",
                   "messages.[3].role", NULL);
}

#define SAYS_CALLS(role, members)                                                                  \
    "{\"role\":\"" role "\",\"content\":\"hi\",\"tool_call_id\":\"c1\"," members "}"

/* Nobody has checked them: to follow them would be to follow NULL. */
static void test_calls_of_anybody_but_the_assistant_mean_nothing(void **state)
{
    (void)state;
    static const char *const roles[] = { "user", "system", "developer" };
    for (size_t i = 0; i < COUNT_OF(roles); i++) {
        struct buf text = BUF_INIT;
        buf_printf(&text,
                   "[{\"role\":\"%s\",\"content\":\"hi\",\"tool_calls\":[{},{\"id\":\"c1\"},5],"
                   "\"function_call\":{}}]",
                   roles[i]);
        assert_taken(buf_str(&text));
        buf_free(&text);
    }
    assert_refused("[" SAYS_CALLS("user", "\"tool_calls\":[{}]") "," RESULT("c1") "]",
                   "messages.[1].role", NULL);
    assert_refused("[" SAYS_CALLS("user", "\"tool_calls\":[{\"id\":\"c1\"}]") "," RESULT("c1") "]",
                   "messages.[1].role", NULL);
    assert_refused("[" SAYS_CALLS("user", "\"function_call\":{}") "," OLD_RESULT "]",
                   "messages.[1].role", NULL);
}

static void test_two_calls_of_one_message_have_two_ids(void **state)
{
    (void)state;
    assert_refused("[" CALLS(CALL("a") "," CALL("a")) "," RESULT("a") "]",
                   "messages[0].tool_calls[1]", "invalid_value");
}

static void test_a_deprecated_answer_stands_right_behind_its_call(void **state)
{
    (void)state;
    assert_taken("[" USER "," OLD_CALL "," OLD_RESULT "," USER "]");
    assert_refused("[" OLD_RESULT "]", "messages.[0].role", NULL);
    assert_refused("[" OLD_CALL "," USER "," OLD_RESULT "]", "messages.[1].role", NULL);
    assert_refused("[" OLD_CALL "," OLD_RESULT "," OLD_RESULT "]", "messages.[2].role", NULL);
    assert_refused("[" CALLS(CALL("a")) "," OLD_RESULT "]", "messages.[1].role", NULL);
}

static void test_a_deprecated_call_has_its_answer(void **state)
{
    (void)state;
    assert_refused("[" USER "," OLD_CALL "]", "messages.[2].role", NULL);
    assert_refused("[" OLD_CALL "," USER "]", "messages.[1].role", NULL);
}

/* ---- one message ---- */

static void test_a_wrong_call_is_refused_with_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *calls;
        const char *place;
        const char *code;
    } cases[] = {
        { "{}", "", "invalid_type" },
        { "\"a\"", "", "invalid_type" },
        { "[7]", "[0].id", "invalid_type" },
        { "[{\"type\":\"function\"}]", "[0].id", "invalid_type" },
        { "[{\"id\":\"\",\"type\":\"function\"}]", "[0].id", "invalid_type" },
        { "[" CALL("a") ",{\"id\":\"b\",\"type\":\"custom\"}]", "[1].type", "unsupported_value" },
        { "[{\"id\":\"a\",\"type\":\"function\"}]", "[0].function.name", "invalid_value" },
        { "[{\"id\":\"a\",\"function\":{\"name\":\"a b\"}}]", "[0].function.name",
          "invalid_value" },
        { "[{\"id\":\"a\",\"function\":{\"name\":\"a\"}}]", "[0].function.arguments",
          "invalid_type" },
        { "[{\"id\":\"a\",\"function\":{\"name\":\"a\",\"arguments\":{}}}]",
          "[0].function.arguments", "invalid_type" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char *text = NULL;
        char param[API_ERROR_PARAM_MAX];
        assert_true(asprintf(&text,
                             "[{\"role\":\"assistant\",\"content\":\"x\",\"tool_calls\":%s}]",
                             cases[i].calls) > 0);
        snprintf(param, sizeof(param), "messages[0].tool_calls%s", cases[i].place);
        assert_refused(text, param, cases[i].code);
        free(text);
    }
}

static void test_a_wrong_deprecated_call_is_refused_with_its_place(void **state)
{
    (void)state;
    assert_refused("[{\"role\":\"assistant\",\"content\":\"x\",\"function_call\":{}}]",
                   "messages[0].function_call.name", "invalid_value");
    assert_refused("[{\"role\":\"assistant\",\"content\":\"x\",\"function_call\":\"look\"}]",
                   "messages[0].function_call.name", "invalid_value");
    assert_refused("[{\"role\":\"assistant\",\"content\":\"x\",\"function_call\":{\"name\":\"f\","
                   "\"arguments\":{}}}]",
                   "messages[0].function_call.arguments", "invalid_type");
}

static void test_only_an_assistant_that_does_something_may_say_nothing(void **state)
{
    (void)state;
    assert_taken("[{\"role\":\"assistant\",\"tool_calls\":[" CALL("a") "]}," RESULT("a") "]");
    assert_taken("[" CALLS(CALL("a")) "," RESULT("a") "]");
    assert_taken("[{\"role\":\"assistant\",\"refusal\":\"no\"}]");
    assert_refused("[{\"role\":\"assistant\"}]", "messages[0].content",
                   "missing_required_parameter");
    assert_refused("[{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[]}]",
                   "messages[0].content", "invalid_type");
    assert_refused("[" CALLS(CALL("a")) ",{\"role\":\"tool\",\"tool_call_id\":\"a\"}]",
                   "messages[1].content", "missing_required_parameter");
    assert_refused(
        "[" CALLS(CALL("a")) ",{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":null}]",
        "messages[1].content", "invalid_type");
}

static void test_parts_are_those_of_their_role(void **state)
{
    (void)state;
    static const char *const roles[] = { "system", "developer", "assistant" };
    for (size_t i = 0; i < COUNT_OF(roles); i++) {
        char *text = NULL;
        assert_true(asprintf(&text,
                             "[{\"role\":\"%s\",\"content\":[" IMAGE("\"url\":\"" PNG "\"") "]}]",
                             roles[i]) > 0);
        assert_refused(text, "messages[0].content[0].type", "unsupported_value");
        free(text);
    }
    assert_refused(
        "[" CALLS(CALL("a")) ",{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":[" IMAGE(
            "\"url\":\"" PNG "\"") "]}]",
        "messages[1].content[0].type", "unsupported_value");
    assert_content_refused("[{\"type\":\"refusal\",\"refusal\":\"no\"}]", "[0].type",
                           "unsupported_value");
    assert_content_refused("[{\"type\":\"input_audio\",\"input_audio\":{}}]", "[0].type",
                           "unsupported_value");
    assert_content_refused("[{\"type\":\"file\",\"file\":{}}]", "[0].type", "unsupported_value");
    assert_taken(
        "[{\"role\":\"assistant\",\"content\":[{\"type\":\"refusal\",\"refusal\":\"no\"}]}]");
}

/* ---- images ---- */

static void test_only_images_that_come_inline_are_taken(void **state)
{
    (void)state;
    static const char *const good[] = {
        PNG,
        "data:image/jpeg;base64,/9j/4AAQ",
        "data:image/gif;base64,R0lGODlh",
        "data:image/webp;base64,UklGRiIA",
        "DATA:IMAGE/PNG;base64,iVBORw0KGgo",
    };
    static const char *const elsewhere[] = {
        "https://example.com/a.png",
        "http://example.com/a.png",
        "file:///etc/passwd",
        "data:text/plain;base64,aGk=",
        "data:,hi",
        "image/png;base64,iVBORw0KGgo",
        " data:image/png;base64,iVBORw0KGgo",
        "",
        "javascript:alert(1)",
    };
    static const char *const no_images[] = {
        "data:image/png;base64,",
        "data:image/png;base64,AAAA",
        "data:image/svg+xml;base64,PHN2Zz4=",
        "data:image/png,iVBORw0KGgo",
        "data:image/png;base64,iVBOR",
        "data:image/",
    };
    char *content = NULL;
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        assert_true(asprintf(&content, "[" IMAGE("\"url\":\"%s\"") "]", good[i]) > 0);
        assert_content_taken(content);
        free(content);
    }
    for (size_t i = 0; i < COUNT_OF(elsewhere); i++) {
        assert_true(asprintf(&content, "[" IMAGE("\"url\":\"%s\"") "]", elsewhere[i]) > 0);
        assert_content_refused(content, "[0].image_url.url", "unsupported_value");
        free(content);
    }
    for (size_t i = 0; i < COUNT_OF(no_images); i++) {
        assert_true(asprintf(&content, "[" IMAGE("\"url\":\"%s\"") "]", no_images[i]) > 0);
        assert_content_refused(content, "[0].image_url.url", "invalid_value");
        free(content);
    }
}

static void test_an_image_without_a_url_is_refused(void **state)
{
    (void)state;
    assert_content_refused("[{\"type\":\"text\",\"text\":\"x\"},{\"type\":\"image_url\"}]",
                           "[1].image_url.url", "invalid_type");
    assert_content_refused("[{\"type\":\"image_url\",\"image_url\":\"" PNG "\"}]",
                           "[0].image_url.url", "invalid_type");
    assert_content_refused("[" IMAGE("\"url\":7") "]", "[0].image_url.url", "invalid_type");
}

static void test_the_detail_of_an_image_is_a_known_word(void **state)
{
    (void)state;
    static const char *const good[] = { "null", "\"auto\"", "\"low\"", "\"high\"", "\"original\"" };
    static const char *const bad[] = { "\"\"", "\"Low\"", "7", "true", "{}" };
    char *content = NULL;
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        assert_true(
            asprintf(&content, "[" IMAGE("\"url\":\"" PNG "\",\"detail\":%s") "]", good[i]) > 0);
        assert_content_taken(content);
        free(content);
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_true(asprintf(&content, "[" IMAGE("\"url\":\"" PNG "\",\"detail\":%s") "]", bad[i]) >
                    0);
        assert_content_refused(content, "[0].image_url.detail", "invalid_value");
        free(content);
    }
}

static void test_images_are_found_wherever_they_are(void **state)
{
    (void)state;
    static const struct {
        const char *messages;
        bool found;
    } cases[] = {
        { "[" USER "]", false },
        { "[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"image_url\"}]}]", false },
        { "[{\"role\":\"user\",\"content\":[" IMAGE("\"url\":\"" PNG "\"") "]}]", true },
        { "[" USER "," USER
          ",{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"x\"}," IMAGE(
              "\"url\":\"" PNG "\"") "]}," USER "]",
          true },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        json_t *messages = parsed(cases[i].messages);
        assert_int_equal(messages_have_images(messages), cases[i].found);
        json_decref(messages);
    }
}

/* ---- items ---- */

static void assert_items(const char *text, const char *wanted_text)
{
    json_t *messages = parsed(text);
    json_t *before = json_deep_copy(messages);
    json_t *items = json_array();
    struct api_error error;
    if (!messages_check(messages, &error))
        fail_msg("refused: %s: %s", text, error.message);
    for (size_t i = 0; i < json_array_size(messages); i++)
        message_append_items(items, json_array_get(messages, i), i);
    assert_true(json_equal(messages, before));
    json_t *wanted = parsed(wanted_text);
    if (!json_equal(items, wanted)) {
        struct buf got = BUF_INIT;
        json_write(&got, items);
        fail_msg("got %s\nwanted %s", buf_str(&got), wanted_text);
    }
    json_decref(wanted);
    json_decref(items);
    json_decref(before);
    json_decref(messages);
}

#define MESSAGE(role, type, text)                                                                  \
    "{\"type\":\"message\",\"role\":\"" role "\",\"content\":[{\"type\":\"" type                   \
    "\",\"text\":\"" text "\"}]}"
#define CALL_ITEM(id, name)                                                                        \
    "{\"type\":\"function_call\",\"call_id\":\"" id "\",\"name\":\"" name "\",\"arguments\":\"{}"  \
    "\"}"
#define OUTPUT_ITEM(id)                                                                            \
    "{\"type\":\"function_call_output\",\"call_id\":\"" id "\",\"output\":\"seen\"}"

static void test_a_loop_of_calls_becomes_calls_and_their_outputs(void **state)
{
    (void)state;
    assert_items("[" USER "," CALLS(CALL("a") "," CALL("b")) "," RESULT("b") "," RESULT("a") "]",
                 "[" MESSAGE("user", "input_text", "hi") "," CALL_ITEM("a", "look") "," CALL_ITEM(
                     "b", "look") "," OUTPUT_ITEM("b") "," OUTPUT_ITEM("a") "]");
}

static void test_what_was_said_beside_a_call_comes_before_it(void **state)
{
    (void)state;
    assert_items("[{\"role\":\"assistant\",\"content\":\"I look\",\"tool_calls\":[" CALL(
                     "a") "]}," RESULT("a") "]",
                 "[" MESSAGE("assistant", "output_text",
                             "I look") "," CALL_ITEM("a", "look") "," OUTPUT_ITEM("a") "]");
    assert_items("[{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[" CALL(
                     "a") "]}," RESULT("a") "]",
                 "[" CALL_ITEM("a", "look") "," OUTPUT_ITEM("a") "]");
}

static void test_arguments_are_the_models_own_text(void **state)
{
    (void)state;
    assert_items(
        "[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"a\",\"function\":{\"name\":\"f\","
        "\"arguments\":\"{ \\\"a\\\" :1,}\\u0000\"}}]}," RESULT("a") "]",
        "[{\"type\":\"function_call\",\"call_id\":\"a\",\"name\":\"f\",\"arguments\":"
        "\"{ \\\"a\\\" :1,}\\u0000\"}," OUTPUT_ITEM("a") "]");
}

static void test_a_call_of_a_reserved_name_is_known_by_the_workers(void **state)
{
    (void)state;
    assert_items("[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"a\",\"function\":{\"name\":"
                 "\"exec\",\"arguments\":\"{}\"}}]}," RESULT("a") "]",
                 "[" CALL_ITEM("a", "exec__client") "," OUTPUT_ITEM("a") "]");
}

static void test_deprecated_calls_get_ids_that_their_answers_share(void **state)
{
    (void)state;
    json_t *messages = parsed("[" USER "," OLD_CALL "," OLD_RESULT "," OLD_CALL "," OLD_RESULT "]");
    json_t *items = json_array();
    for (size_t i = 0; i < json_array_size(messages); i++)
        message_append_items(items, json_array_get(messages, i), i);
    assert_int_equal(json_array_size(items), 5);
    const char *ids[4];
    for (size_t i = 0; i < 4; i++) {
        const json_t *item = json_array_get(items, i + 1);
        assert_string_equal(json_str_at(item, "type"),
                            i % 2 == 0 ? "function_call" : "function_call_output");
        ids[i] = json_str_at(item, "call_id");
    }
    assert_string_equal(ids[0], ids[1]);
    assert_string_equal(ids[2], ids[3]);
    assert_string_not_equal(ids[0], ids[2]);
    json_decref(items);
    json_decref(messages);
}

static void test_an_output_of_parts_stays_in_parts(void **state)
{
    (void)state;
    assert_items(
        "[" CALLS(
            CALL("a")) ",{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":[{"
                       "\"type\":\"text\",\"text\":\"one\"},{\"type\":\"text\",\"text\":\"\"}]}]",
        "[" CALL_ITEM("a", "look") ",{\"type\":\"function_call_output\",\"call_id\":\"a\","
                                   "\"output\":[{\"type\":\"input_text\",\"text\":\"one\"},{"
                                   "\"type\":\"input_text\","
                                   "\"text\":\"\"}]}]");
}

static void test_images_and_their_detail_are_passed_on(void **state)
{
    (void)state;
    assert_items("[{\"role\":\"user\",\"content\":[" IMAGE(
                     "\"url\":\"" PNG "\"") ",{\"type\":"
                                            "\"text\",\"text\":\"what?\"}," IMAGE(
                                                "\"url\":\"" PNG "\",\"detail\":\"low\"") "]}]",
                 "[{\"type\":\"message\",\"role\":\"user\",\"content\":[{\"type\":\"input_image\","
                 "\"image_url\":\"" PNG
                 "\"},{\"type\":\"input_text\",\"text\":\"what?\"},{\"type\":"
                 "\"input_image\",\"image_url\":\"" PNG "\",\"detail\":\"low\"}]}]");
}

static void test_a_refusal_is_what_the_assistant_said(void **state)
{
    (void)state;
    assert_items("[{\"role\":\"assistant\",\"content\":null,\"refusal\":\"no\"},{\"role\":"
                 "\"assistant\",\"content\":[{\"type\":\"refusal\",\"refusal\":\"never\"}]}]",
                 "[" MESSAGE("assistant", "output_text",
                             "no") "," MESSAGE("assistant", "output_text", "never") "]");
}

static void test_only_the_assistants_calls_become_calls(void **state)
{
    (void)state;
    assert_items("[" SAYS_CALLS("user", "\"tool_calls\":[{}],\"function_call\":{}") "]",
                 "[" MESSAGE("user", "input_text", "hi") "]");
}

static void test_what_is_empty_is_said_all_the_same_but_by_the_assistant(void **state)
{
    (void)state;
    assert_items(
        "[{\"role\":\"system\",\"content\":\"\"},{\"role\":\"user\",\"content\":\"\"},"
        "{\"role\":\"assistant\",\"content\":\"\"}]",
        "[" MESSAGE("developer", "input_text", "") "," MESSAGE("user", "input_text", "") "]");
}

static void test_a_result_is_given_to_the_worker_as_its_content_items(void **state)
{
    (void)state;
    static const struct {
        const char *content;
        const char *wanted;
    } cases[] = {
        { "\"seen\"", "[{\"type\":\"inputText\",\"text\":\"seen\"}]" },
        { "\"\"", "[{\"type\":\"inputText\",\"text\":\"\"}]" },
        { "[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"}]",
          "[{\"type\":\"inputText\",\"text\":\"a\"},{\"type\":\"inputText\",\"text\":\"b\"}]" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char *text = NULL;
        assert_true(asprintf(&text, "{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":%s}",
                             cases[i].content) > 0);
        json_t *message = parsed(text);
        json_t *wanted = parsed(cases[i].wanted);
        json_t *got = message_tool_content(message);
        assert_true(json_equal(got, wanted));
        json_decref(got);
        json_decref(wanted);
        json_decref(message);
        free(text);
    }
}

/* ---- the text of the last user message ---- */

static void assert_last(const char *text, size_t max, const char *wanted, bool all)
{
    json_t *messages = parsed(text);
    struct buf out = BUF_INIT;
    buf_puts(&out, "before ");
    assert_int_equal(messages_last_user_text(messages, &out, max), all);
    assert_string_equal(buf_str(&out) + strlen("before "), wanted);
    buf_free(&out);
    json_decref(messages);
}

#define SAYS(parts) "[{\"role\":\"user\",\"content\":[" parts "]}]"
#define TEXT(text) "{\"type\":\"text\",\"text\":\"" text "\"}"

static void test_the_text_of_the_last_user_message_is_that_of_its_text_parts(void **state)
{
    (void)state;
    assert_last("[" USER "," CALLS(CALL("1")) "," RESULT("1") "]", 100, "hi", true);
    assert_last("[{\"role\":\"user\",\"content\":\"first\"}," USER "]", 100, "hi", true);
    assert_last("[{\"role\":\"system\",\"content\":\"no\"}]", 100, "", true);
    assert_last("[]", 100, "", true);
    assert_last(SAYS(TEXT("a") "," IMAGE("\"image_url\":{\"url\":\"" PNG "\"}") "," TEXT("b")), 100,
                "a\nb", true);
    assert_last(SAYS(TEXT("") "," TEXT("b")), 100, "b", true);
}

static void test_of_that_text_only_so_much_is_taken(void **state)
{
    (void)state;
    static const char *const wanted[] = { "", "a", "ab", "abc", "abc\n", "abc\nd", "abc\nde" };
    for (size_t max = 0; max < COUNT_OF(wanted); max++)
        assert_last(SAYS(TEXT("abc") "," TEXT("def")), max, wanted[max], false);
    assert_last(SAYS(TEXT("abc") "," TEXT("def")), 7, "abc\ndef", true);
    assert_last("[" USER "]", 1, "h", false);
    assert_last("[" USER "]", 2, "hi", true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_call_is_answered_right_behind_it_in_any_order),
        cmocka_unit_test(test_a_call_without_exactly_one_answer_is_refused),
        cmocka_unit_test(test_an_answer_without_its_call_is_refused),
        cmocka_unit_test(test_calls_of_anybody_but_the_assistant_mean_nothing),
        cmocka_unit_test(test_two_calls_of_one_message_have_two_ids),
        cmocka_unit_test(test_a_deprecated_answer_stands_right_behind_its_call),
        cmocka_unit_test(test_a_deprecated_call_has_its_answer),
        cmocka_unit_test(test_a_wrong_call_is_refused_with_its_place),
        cmocka_unit_test(test_a_wrong_deprecated_call_is_refused_with_its_place),
        cmocka_unit_test(test_only_an_assistant_that_does_something_may_say_nothing),
        cmocka_unit_test(test_parts_are_those_of_their_role),
        cmocka_unit_test(test_only_images_that_come_inline_are_taken),
        cmocka_unit_test(test_an_image_without_a_url_is_refused),
        cmocka_unit_test(test_the_detail_of_an_image_is_a_known_word),
        cmocka_unit_test(test_images_are_found_wherever_they_are),
        cmocka_unit_test(test_a_loop_of_calls_becomes_calls_and_their_outputs),
        cmocka_unit_test(test_what_was_said_beside_a_call_comes_before_it),
        cmocka_unit_test(test_arguments_are_the_models_own_text),
        cmocka_unit_test(test_a_call_of_a_reserved_name_is_known_by_the_workers),
        cmocka_unit_test(test_deprecated_calls_get_ids_that_their_answers_share),
        cmocka_unit_test(test_an_output_of_parts_stays_in_parts),
        cmocka_unit_test(test_images_and_their_detail_are_passed_on),
        cmocka_unit_test(test_a_refusal_is_what_the_assistant_said),
        cmocka_unit_test(test_only_the_assistants_calls_become_calls),
        cmocka_unit_test(test_what_is_empty_is_said_all_the_same_but_by_the_assistant),
        cmocka_unit_test(test_a_result_is_given_to_the_worker_as_its_content_items),
        cmocka_unit_test(test_the_text_of_the_last_user_message_is_that_of_its_text_parts),
        cmocka_unit_test(test_of_that_text_only_so_much_is_taken),
    };
    json_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
