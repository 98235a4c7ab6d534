/* A chat completion as clients ask for it: every field right, wrong, null and out of range. */
#include "chat_request.h"
#include "message.h"
#include "unit.h"

#define MESSAGES "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

/* What the parser said; param and code are "" for null. */
struct verdict {
    bool ok;
    struct chat_request request;
    struct api_error error;
};

static void judge(struct verdict *v, const char *body, size_t len)
{
    memset(&v->error, 0, sizeof(v->error));
    v->ok = chat_request_parse(&v->request, body, len, &v->error);
    assert_int_equal(v->ok, v->error.status == 0);
    if (v->ok)
        return;
    assert_int_equal(v->error.status, 400);
    assert_string_equal(v->error.type, "invalid_request_error");
    assert_true(strlen(v->error.message) > 10);
}

static void assert_refused(const char *body, const char *param, const char *code)
{
    struct verdict v;
    judge(&v, body, strlen(body));
    if (v.ok)
        fail_msg("accepted: %s", body);
    assert_string_equal(v.error.param, param);
    if (code == NULL)
        assert_null(v.error.code);
    else
        assert_string_equal(v.error.code, code);
    if (*param != '\0') /* the message says where, for people who see nothing else */
        assert_non_null(strstr(v.error.message, param));
    chat_request_free(&v.request);
    chat_request_free(&v.request);
}

static void assert_accepted(const char *body, const char *ignored)
{
    struct verdict v;
    judge(&v, body, strlen(body));
    if (!v.ok)
        fail_msg("refused: %s: %s", body, v.error.message);
    assert_string_equal(v.request.model, "m");
    assert_int_equal(json_array_size(v.request.messages), 1);
    assert_string_equal(buf_str(&v.request.ignored), ignored);
    chat_request_free(&v.request);
}

/* A body with one more field. */
static char *body_with(const char *name, const char *value)
{
    char *body = NULL;
    assert_true(asprintf(&body, "{\"model\":\"m\"," MESSAGES ",\"%s\":%s}", name, value) > 0);
    return body;
}

/* ---- the table of fields ---- */

struct wrong {
    const char *value;
    const char *param; /* NULL: the field's name */
    const char *code;
};

struct field_case {
    const char *name;
    bool ignored;          /* named in the answer when present */
    const char *right[8];  /* accepted values */
    struct wrong wrong[8]; /* refused ones */
};

#define TYPE "invalid_type"
#define MISSING "missing_required_parameter"
#define VALUE "invalid_value"
#define UNSUPPORTED "unsupported_parameter"
#define JSON_SCHEMA(schema, strict)                                                                \
    "{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\",\"schema\":" schema                 \
    ",\"strict\":" strict "}}"
#define LOOK "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"look\"}}]"
#define STRICT_SCHEMA                                                                              \
    "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}},\"required\":[\"a\"],"      \
    "\"additionalProperties\":false}"

static const struct field_case fields[] = {
    { "stream_options",
      false,
      { NULL }, /* only with stream: a test of its own */
      { { "7", NULL, TYPE },
        { "[]", NULL, TYPE },
        { "true", NULL, TYPE },
        { "{\"include_usage\":1}", "stream_options.include_usage", TYPE },
        { "{\"include_usage\":\"true\"}", "stream_options.include_usage", TYPE } } },
    { "stream",
      false,
      { "true", "false" },
      { { "1", NULL, TYPE }, { "\"true\"", NULL, TYPE }, { "{}", NULL, TYPE } } },
    { "reasoning_effort",
      false,
      { "\"none\"", "\"minimal\"", "\"low\"", "\"medium\"", "\"high\"", "\"xhigh\"", "\"max\"",
        "\"ultra\"" },
      { { "1", NULL, TYPE }, { "[]", NULL, TYPE } } }, /* the model says which words it takes */
    { "n",
      false,
      { "1", "2", "8" },
      { { "0", NULL, "integer_below_min_value" },
        { "-1", NULL, "integer_below_min_value" },
        { "9", NULL, "unsupported_value" },
        { "9223372036854775807", NULL, "unsupported_value" },
        { "1.0", NULL, TYPE },
        { "\"1\"", NULL, TYPE },
        { "true", NULL, TYPE } } },
    { "response_format",
      false,
      { "{\"type\":\"text\"}", "{\"type\":\"json_object\"}", JSON_SCHEMA(STRICT_SCHEMA, "true"),
        JSON_SCHEMA(STRICT_SCHEMA, "false"), JSON_SCHEMA("{}", "null"),
        JSON_SCHEMA("{\"type\":\"string\"}", "false") },
      { { "\"text\"", NULL, TYPE },
        { "[]", NULL, TYPE },
        { "{}", "response_format.type", VALUE },
        { "{\"type\":7}", "response_format.type", VALUE },
        { "{\"type\":null}", "response_format.type", VALUE },
        { "{\"type\":\"xml\"}", "response_format.type", VALUE } } },
    { "modalities",
      false,
      { "[\"text\"]" },
      { { "\"text\"", NULL, "unsupported_value" },
        { "[]", NULL, "unsupported_value" },
        { "[\"text\",\"audio\"]", NULL, "unsupported_value" },
        { "[\"audio\"]", NULL, "unsupported_value" },
        { "[7]", NULL, "unsupported_value" },
        { "{}", NULL, "unsupported_value" } } },
    { "temperature",
      true,
      { "0", "2", "0.7", "1e0", "2.0" },
      { { "-0.1", NULL, "decimal_below_min_value" },
        { "-1", NULL, "decimal_below_min_value" },
        { "2.1", NULL, "decimal_above_max_value" },
        { "3", NULL, "decimal_above_max_value" },
        { "\"1\"", NULL, TYPE },
        { "true", NULL, TYPE },
        { "[1]", NULL, TYPE } } },
    { "top_p",
      true,
      { "0", "1", "0.5" },
      { { "-0.01", NULL, "decimal_below_min_value" },
        { "1.01", NULL, "decimal_above_max_value" },
        { "\"1\"", NULL, TYPE } } },
    { "frequency_penalty",
      true,
      { "-2", "2", "0" },
      { { "-2.01", NULL, "decimal_below_min_value" },
        { "2.01", NULL, "decimal_above_max_value" },
        { "false", NULL, TYPE } } },
    { "presence_penalty",
      true,
      { "-2.0", "2.0" },
      { { "-3", NULL, "decimal_below_min_value" },
        { "3", NULL, "decimal_above_max_value" },
        { "{}", NULL, TYPE } } },
    { "seed",
      true,
      { "0", "-1", "9223372036854775807" },
      { { "1.5", NULL, TYPE }, { "\"1\"", NULL, TYPE } } },
    { "logit_bias", true, { "{}", "{\"50256\":-100}" }, { { "[]", NULL, TYPE } } },
    { "max_tokens",
      true,
      { "1", "1000000" },
      { { "0", NULL, "integer_below_min_value" },
        { "-1", NULL, "integer_below_min_value" },
        { "1.5", NULL, TYPE },
        { "\"1\"", NULL, TYPE } } },
    { "max_completion_tokens",
      true,
      { "1" },
      { { "0", NULL, "integer_below_min_value" }, { "[]", NULL, TYPE } } },
    { "metadata", true, { "{}", "{\"a\":\"b\"}" }, { { "\"a\"", NULL, TYPE } } },
    { "store", true, { "true", "false" }, { { "0", NULL, TYPE } } },
    { "user", true, { "\"\"", "\"u\"" }, { { "7", NULL, TYPE } } },
    { "safety_identifier", true, { "\"u\"" }, { { "{}", NULL, TYPE } } },
    { "prompt_cache_key", true, { "\"u\"" }, { { "[]", NULL, TYPE } } },
    { "prompt_cache_retention", true, { "\"24h\"" }, { { "24", NULL, TYPE } } },
    { "prediction", true, { "{\"type\":\"content\"}" }, { { "\"x\"", NULL, TYPE } } },
    { "prompt_cache_options", true, { "{}" }, { { "\"x\"", NULL, TYPE } } },
    { "service_tier",
      false,
      { "\"auto\"", "\"default\"", "\"flex\"", "\"scale\"", "\"priority\"", "\"fast\"" },
      { { "true", NULL, VALUE }, { "\"\"", NULL, VALUE }, { "\"Flex\"", NULL, VALUE } } },
    { "verbosity",
      false,
      { "\"low\"", "\"medium\"", "\"high\"" },
      { { "1", NULL, VALUE }, { "\"max\"", NULL, VALUE } } },
    { "parallel_tool_calls",
      false,
      { "true", "false" },
      { { "\"no\"", NULL, TYPE }, { "0", NULL, TYPE } } },
    { "chat_template_kwargs", true, { "{}", "7" }, { { NULL, NULL, NULL } } },
    { "thinking", true, { "{\"type\":\"enabled\"}", "true" }, { { NULL, NULL, NULL } } },
    { "top_k", true, { "40", "\"any\"" }, { { NULL, NULL, NULL } } },
    { "min_p", true, { "0.1" }, { { NULL, NULL, NULL } } },
    { "repetition_penalty", true, { "1.1" }, { { NULL, NULL, NULL } } },
    { "stop",
      false,
      { "[]", "\"none\"", "\"\\u0000\"", "[\"x\"]", "[\"a\",\"b\",\"c\",\"d\"]" },
      { { "\"\"", NULL, VALUE },
        { "[\"\"]", NULL, VALUE },
        { "[\"a\",\"b\",\"c\",\"d\",\"e\"]", NULL, "array_above_max_length" },
        { "7", NULL, TYPE },
        { "{}", NULL, TYPE },
        { "false", NULL, TYPE },
        { "[\"a\",7]", NULL, TYPE },
        { "[null]", NULL, TYPE } } },
    { "tools",
      false,
      { "[]", "[{\"type\":\"function\",\"function\":{\"name\":\"look\"}}]" },
      { { "{}", NULL, TYPE },
        { "[{\"type\":\"function\"}]", "tools[0].function", TYPE },
        { "[{\"type\":\"function\",\"function\":{}}]", "tools[0].function.name", VALUE },
        { "[{\"type\":\"web_search\"}]", "tools[0].type", "unsupported_value" } } },
    { "tool_choice",
      false,
      { "\"none\"", "\"auto\"" },
      { { "\"required\"", NULL, VALUE }, { "{\"type\":\"function\"}", NULL, VALUE } } },
    { "functions",
      false,
      { "[]", "[{\"name\":\"look\"}]" },
      { { "[{}]", "functions[0].name", VALUE }, { "\"look\"", NULL, TYPE } } },
    { "function_call",
      false,
      { "\"none\"", "\"auto\"" },
      { { "{\"name\":\"look\"}", NULL, VALUE }, { "5", NULL, VALUE } } },
    { "logprobs",
      false,
      { "false" },
      { { "1", NULL, UNSUPPORTED }, { "true", NULL, UNSUPPORTED } } },
    { "top_logprobs", false, { NULL }, { { "5", NULL, UNSUPPORTED } } },
    { "audio", false, { NULL }, { { "{\"voice\":\"x\"}", NULL, UNSUPPORTED } } },
    { "moderation", false, { NULL }, { { "{}", NULL, UNSUPPORTED } } },
    { "web_search_options", false, { NULL }, { { "{}", NULL, UNSUPPORTED } } },
    { "a_field_of_tomorrow", false, { "1", "{}", "[1,2]" }, { { NULL, NULL, NULL } } },
};

static void test_right_values_are_taken_and_those_without_effect_are_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        const struct field_case *f = &fields[i];
        for (size_t k = 0; k < COUNT_OF(f->right) && f->right[k] != NULL; k++) {
            char *body = body_with(f->name, f->right[k]);
            assert_accepted(body, f->ignored ? f->name : "");
            free(body);
        }
    }
}

static void test_wrong_values_are_refused_with_their_place_and_a_code(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        const struct field_case *f = &fields[i];
        for (size_t k = 0; k < COUNT_OF(f->wrong) && f->wrong[k].value != NULL; k++) {
            char *body = body_with(f->name, f->wrong[k].value);
            const char *param = f->wrong[k].param;
            assert_refused(body, param != NULL ? param : f->name, f->wrong[k].code);
            free(body);
        }
    }
}

static void test_null_is_absent_for_every_field(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        char *body = body_with(fields[i].name, "null");
        assert_accepted(body, "");
        free(body);
    }
}

static void test_all_fields_without_effect_are_named(void **state)
{
    (void)state;
    assert_accepted("{\"model\":\"m\",\"seed\":1," MESSAGES ",\"user\":\"u\",\"temperature\":1,"
                    "\"max_tokens\":null}",
                    "temperature, seed, user");
}

/* ---- the whole body ---- */

static void test_what_is_no_json_object_is_refused(void **state)
{
    (void)state;
    assert_refused("", "", NULL);
    assert_refused("{", "", NULL);
    assert_refused("{}x", "", NULL);
    assert_refused("{\"model\":\"m\",}", "", NULL);
    assert_refused("{\"model\":\"\xff\"}", "", NULL);
    assert_refused("model=m", "", NULL);
    assert_refused("null", "", TYPE);
    assert_refused("[]", "", TYPE);
    assert_refused("\"x\"", "", TYPE);
    assert_refused("7", "", TYPE);
}

static void test_no_error_quotes_the_body(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "{\"model\":\"m\",\"messages\":secret}",
        "{\"model\":\"m\",\"messages\":[{\"role\":\"secret\",\"content\":\"x\"}]}",
        "{\"model\":\"m\"," MESSAGES ",\"verbosity\":\"secret\"}",
        "{\"model\":\"m\"," MESSAGES ",\"service_tier\":\"secret\"}",
        "{\"model\":\"m\"," MESSAGES ",\"tool_choice\":\"secret\"}",
        "{\"model\":\"m\"," MESSAGES ",\"response_format\":{\"type\":\"secret\"}}",
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"secret\"}]}]}",
    };
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        struct verdict v;
        judge(&v, bodies[i], strlen(bodies[i]));
        assert_false(v.ok);
        assert_null(strstr(v.error.message, "secret"));
        chat_request_free(&v.request);
    }
}

static void test_a_number_of_any_size_is_json(void **state)
{
    (void)state;
    static const char *const numbers[] = { "9223372036854775808",
                                           "18446744073709551615",
                                           "-99999999999999999999",
                                           "123456789012345678901234567890",
                                           "1e30",
                                           "[1,{\"n\":18446744073709551616}]" };
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        char *body = body_with("a_field_of_tomorrow", numbers[i]);
        assert_accepted(body, "");
        free(body);
    }
}

/* The sequences that the request has, "a|b|". */
static void assert_stops(const char *value, const char *wanted)
{
    char *body = body_with("stop", value);
    struct verdict v;
    struct stop stop = { .count = 0 };
    struct buf got = BUF_INIT;
    judge(&v, body, strlen(body));
    assert_true(v.ok);
    chat_request_stops(&v.request, &stop);
    for (size_t i = 0; i < stop.count; i++) {
        buf_append(&got, stop.sequences[i], stop.lengths[i]);
        buf_putc(&got, '|');
    }
    assert_string_equal(buf_str(&got), wanted);
    assert_string_equal(buf_str(&v.request.emulated), stop.count != 0 ? "stop" : "");
    buf_free(&got);
    chat_request_free(&v.request);
    free(body);
}

static void test_what_this_program_does_itself_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *members;
        const char *emulated;
    } cases[] = {
        { "", "" },
        { ",\"n\":1", "" },
        { ",\"n\":2,\"stop\":\"x\"", "n, stop" },
        { ",\"response_format\":{\"type\":\"json_object\"}", "response_format" },
        { ",\"response_format\":" JSON_SCHEMA(STRICT_SCHEMA, "true"), "" },
        { ",\"response_format\":" JSON_SCHEMA("{\"type\":\"object\"}", "false"),
          "response_format" },
        { ",\"parallel_tool_calls\":false", "" }, /* there are no tools */
        { "," LOOK ",\"parallel_tool_calls\":false", "parallel_tool_calls" },
        { "," LOOK ",\"tool_choice\":\"required\"", "tool_choice" },
        { "," LOOK ",\"tool_choice\":\"none\"", "" },
        { ",\"functions\":[{\"name\":\"look\"}]", "functions" },
        { ",\"functions\":[{\"name\":\"look\"}],\"function_call\":{\"name\":\"look\"}",
          "function_call, functions" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char *body = NULL;
        assert_true(asprintf(&body, "{\"model\":\"m\"," MESSAGES "%s}", cases[i].members) > 0);
        struct verdict v;
        judge(&v, body, strlen(body));
        assert_true(v.ok);
        assert_string_equal(buf_str(&v.request.emulated), cases[i].emulated);
        assert_string_equal(buf_str(&v.request.ignored), "");
        chat_request_free(&v.request);
        free(body);
    }
}

static void test_a_wrong_format_of_answers_is_refused_with_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *format;
        const char *place;
        const char *code;
    } cases[] = {
        { "{\"type\":\"json_schema\"}", "", TYPE },
        { "{\"type\":\"json_schema\",\"json_schema\":\"x\"}", "", TYPE },
        { "{\"type\":\"json_schema\",\"json_schema\":{}}", ".name", VALUE },
        { "{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"a b\"}}", ".name", VALUE },
        { "{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\"}}", ".schema", TYPE },
        { JSON_SCHEMA("[]", "true"), ".schema", TYPE },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char param[64];
        char *body = body_with("response_format", cases[i].format);
        snprintf(param, sizeof(param), "response_format.json_schema%s", cases[i].place);
        assert_refused(body, param, cases[i].code);
        free(body);
    }
}

static void test_stop_words_are_taken_in_both_forms(void **state)
{
    (void)state;
    assert_stops("null", "");
    assert_stops("[]", "");
    assert_stops("\"none\"", "none|"); /* a word like any other */
    assert_stops("[\"b\",\"a\",\"b\"]", "b|a|b|");
}

static void test_the_length_of_a_stop_word_is_bounded(void **state)
{
    (void)state;
    char value[STOP_BYTES_MAX + 4];
    memset(value, 's', sizeof(value));
    value[0] = value[STOP_BYTES_MAX + 1] = '"';
    value[STOP_BYTES_MAX + 2] = '\0';
    char *body = body_with("stop", value);
    assert_accepted(body, "");
    free(body);
    value[STOP_BYTES_MAX + 1] = 's';
    value[STOP_BYTES_MAX + 2] = '"';
    value[STOP_BYTES_MAX + 3] = '\0';
    body = body_with("stop", value);
    assert_refused(body, "stop", VALUE);
    free(body);
}

static void test_model_and_messages_are_required(void **state)
{
    (void)state;
    assert_refused("{}", "model", "missing_required_parameter");
    assert_refused("{" MESSAGES "}", "model", "missing_required_parameter");
    assert_refused("{\"model\":null," MESSAGES "}", "model", "missing_required_parameter");
    assert_refused("{\"model\":\"m\"}", "messages", "missing_required_parameter");
    assert_refused("{\"model\":\"m\",\"messages\":null}", "messages", "missing_required_parameter");
    assert_refused("{\"model\":7," MESSAGES "}", "model", TYPE);
    assert_refused("{\"model\":[\"m\"]," MESSAGES "}", "model", TYPE);
    assert_refused("{\"model\":\"m\\u0000x\"," MESSAGES "}", "model", "invalid_value");
}

static void test_a_body_may_hold_a_nul_in_a_text(void **state)
{
    (void)state;
    struct verdict v;
    judge(&v, LITERAL("{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":"
                      "\"a\\u0000b\"}]}"));
    assert_true(v.ok);
    const json_t *content = json_object_get(json_array_get(v.request.messages, 0), "content");
    assert_int_equal(json_string_length(content), 3);
    chat_request_free(&v.request);
    judge(&v, LITERAL("{\"model\":\"m\"}\0"));
    assert_false(v.ok);
    chat_request_free(&v.request);
}

static void test_usage_of_a_stream_is_a_choice(void **state)
{
    (void)state;
    static const struct {
        const char *members;
        bool stream;
        bool include_usage;
    } cases[] = {
        { "", false, false },
        { ",\"stream\":false", false, false },
        { ",\"stream\":true", true, false },
        { ",\"stream\":true,\"stream_options\":null", true, false },
        { ",\"stream\":true,\"stream_options\":{}", true, false },
        { ",\"stream\":true,\"stream_options\":{\"include_usage\":null}", true, false },
        { ",\"stream\":true,\"stream_options\":{\"include_usage\":false}", true, false },
        { ",\"stream_options\":{\"include_usage\":true},\"stream\":true", true, true },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char *body = NULL;
        assert_true(asprintf(&body, "{\"model\":\"m\"," MESSAGES "%s}", cases[i].members) > 0);
        struct verdict v;
        judge(&v, body, strlen(body));
        assert_true(v.ok);
        assert_int_equal(v.request.stream, cases[i].stream);
        assert_int_equal(v.request.include_usage, cases[i].include_usage);
        assert_null(v.request.effort);
        chat_request_free(&v.request);
        free(body);
    }
}

static void test_stream_options_need_a_stream(void **state)
{
    (void)state;
    assert_refused("{\"model\":\"m\"," MESSAGES ",\"stream_options\":{}}", "stream_options",
                   "invalid_value");
    assert_refused("{\"model\":\"m\"," MESSAGES ",\"stream\":false,\"stream_options\":{"
                   "\"include_usage\":true}}",
                   "stream_options", "invalid_value");
}

static void test_the_effort_is_handed_on(void **state)
{
    (void)state;
    struct verdict v;
    judge(&v, LITERAL("{\"model\":\"m\"," MESSAGES ",\"reasoning_effort\":\"high\"}"));
    assert_true(v.ok);
    assert_string_equal(v.request.effort, "high");
    chat_request_free(&v.request);
}

/* ---- messages ---- */

static void test_every_role_and_form_of_content_is_taken(void **state)
{
    (void)state;
    static const char *const messages[] = {
        "{\"role\":\"system\",\"content\":\"x\"}",
        "{\"role\":\"developer\",\"content\":\"x\",\"name\":\"n\"}",
        "{\"role\":\"user\",\"content\":\"\"}",
        "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"\"}]}",
        "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\","
        "\"text\":\"b\",\"more\":1}]}",
        "{\"role\":\"assistant\",\"content\":\"x\",\"refusal\":null}",
        "{\"role\":\"assistant\",\"content\":\"\"}",
        "{\"role\":\"assistant\",\"refusal\":\"no\"}",
        "{\"role\":\"assistant\",\"content\":[{\"type\":\"refusal\",\"refusal\":\"no\"}]}",
        "{\"role\":\"assistant\",\"content\":\"x\",\"tool_calls\":[]}",
        "{\"role\":\"assistant\",\"content\":\"x\",\"tool_calls\":null}",
    };
    for (size_t i = 0; i < COUNT_OF(messages); i++) {
        char *body = NULL;
        assert_true(asprintf(&body, "{\"model\":\"m\",\"messages\":[%s]}", messages[i]) > 0);
        assert_accepted(body, "");
        free(body);
    }
}

static void test_a_wrong_message_is_refused_with_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *message;
        const char *param;
        const char *code;
    } cases[] = {
        { "\"hi\"", "messages[1]", TYPE },
        { "null", "messages[1]", TYPE },
        { "[]", "messages[1]", TYPE },
        { "{\"content\":\"x\"}", "messages[1].role", TYPE },
        { "{\"role\":7,\"content\":\"x\"}", "messages[1].role", TYPE },
        { "{\"role\":\"User\",\"content\":\"x\"}", "messages[1].role", "invalid_value" },
        { "{\"role\":\"tool\",\"content\":\"x\"}", "messages[1].tool_call_id", MISSING },
        { "{\"role\":\"tool\",\"content\":\"x\",\"tool_call_id\":7}", "messages[1].tool_call_id",
          MISSING },
        { "{\"role\":\"\",\"content\":\"x\"}", "messages[1].role", "invalid_value" },
        { "{\"role\":\"user\"}", "messages[1].content", MISSING },
        { "{\"role\":\"assistant\"}", "messages[1].content", MISSING },
        { "{\"role\":\"assistant\",\"content\":null}", "messages[1].content", TYPE },
        { "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[]}", "messages[1].content",
          TYPE },
        { "{\"role\":\"user\",\"content\":null}", "messages[1].content", TYPE },
        { "{\"role\":\"system\",\"content\":null}", "messages[1].content", TYPE },
        { "{\"role\":\"user\",\"content\":7}", "messages[1].content", TYPE },
        { "{\"role\":\"user\",\"content\":{}}", "messages[1].content", TYPE },
        { "{\"role\":\"user\",\"content\":[]}", "messages[1].content", TYPE },
        { "{\"role\":\"assistant\",\"content\":[]}", "messages[1].content", TYPE },
        { "{\"role\":\"assistant\",\"content\":false}", "messages[1].content", TYPE },
        { "{\"role\":\"user\",\"content\":[\"x\"]}", "messages[1].content[0].type", TYPE },
        { "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"text\":\"b\"}]}",
          "messages[1].content[1].type", TYPE },
        { "{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}",
          "messages[1].content[0].image_url.url", TYPE },
        { "{\"role\":\"user\",\"content\":[{\"type\":\"input_audio\"}]}",
          "messages[1].content[0].type", "unsupported_value" },
        { "{\"role\":\"system\",\"content\":[{\"type\":\"image_url\"}]}",
          "messages[1].content[0].type", "unsupported_value" },
        { "{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}", "messages[1].content[0].text",
          TYPE },
        { "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":null}]}",
          "messages[1].content[0].text", TYPE },
        { "{\"role\":\"assistant\",\"content\":\"x\",\"tool_calls\":[{}]}",
          "messages[1].tool_calls[0].id", TYPE },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char *body = NULL;
        assert_true(asprintf(&body,
                             "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"},"
                             "%s]}",
                             cases[i].message) > 0);
        assert_refused(body, cases[i].param, cases[i].code);
        free(body);
    }
}

static void test_messages_must_be_a_list_that_is_not_empty(void **state)
{
    (void)state;
    assert_refused("{\"model\":\"m\",\"messages\":\"hi\"}", "messages", TYPE);
    assert_refused("{\"model\":\"m\",\"messages\":{}}", "messages", TYPE);
    assert_refused("{\"model\":\"m\",\"messages\":[]}", "messages", "empty_array");
}

static void test_the_number_of_messages_is_bounded(void **state)
{
    (void)state;
    for (size_t count = MESSAGES_MAX; count <= MESSAGES_MAX + 1; count++) {
        struct buf body = BUF_INIT;
        buf_puts(&body, "{\"model\":\"m\",\"messages\":[");
        for (size_t i = 0; i < count; i++)
            buf_printf(&body, "%s{\"role\":\"user\",\"content\":\"x\"}", i == 0 ? "" : ",");
        buf_puts(&body, "]}");
        struct verdict v;
        judge(&v, body.data, body.len);
        assert_int_equal(v.ok, count == MESSAGES_MAX);
        if (!v.ok)
            assert_string_equal(v.error.code, "array_above_max_length");
        chat_request_free(&v.request);
        buf_free(&body);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_right_values_are_taken_and_those_without_effect_are_named),
        cmocka_unit_test(test_wrong_values_are_refused_with_their_place_and_a_code),
        cmocka_unit_test(test_null_is_absent_for_every_field),
        cmocka_unit_test(test_all_fields_without_effect_are_named),
        cmocka_unit_test(test_what_is_no_json_object_is_refused),
        cmocka_unit_test(test_no_error_quotes_the_body),
        cmocka_unit_test(test_a_number_of_any_size_is_json),
        cmocka_unit_test(test_what_this_program_does_itself_is_named),
        cmocka_unit_test(test_a_wrong_format_of_answers_is_refused_with_its_place),
        cmocka_unit_test(test_stop_words_are_taken_in_both_forms),
        cmocka_unit_test(test_the_length_of_a_stop_word_is_bounded),
        cmocka_unit_test(test_model_and_messages_are_required),
        cmocka_unit_test(test_a_body_may_hold_a_nul_in_a_text),
        cmocka_unit_test(test_usage_of_a_stream_is_a_choice),
        cmocka_unit_test(test_stream_options_need_a_stream),
        cmocka_unit_test(test_the_effort_is_handed_on),
        cmocka_unit_test(test_every_role_and_form_of_content_is_taken),
        cmocka_unit_test(test_a_wrong_message_is_refused_with_its_place),
        cmocka_unit_test(test_messages_must_be_a_list_that_is_not_empty),
        cmocka_unit_test(test_the_number_of_messages_is_bounded),
    };
    json_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
