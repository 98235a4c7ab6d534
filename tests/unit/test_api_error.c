/* Errors: the envelope that OpenAI clients parse, whatever the message holds. */
#include "api_error.h"
#include "json.h"
#include "unit.h"

static json_t *written(const struct api_error *error)
{
    struct buf out = BUF_INIT;
    api_error_write(error, &out);
    json_t *value = json_parse(out.data, out.len, NULL);
    assert_non_null(value);
    buf_free(&out);
    return value;
}

static void test_the_envelope_has_its_five_members_and_no_others(void **state)
{
    (void)state;
    struct api_error e;
    api_error_set(&e, 429, "requests", "rate_limit_exceeded", "model", "wait %d s", 3);
    assert_int_equal(e.status, 429);
    assert_int_equal(e.retry_after_s, 0);
    assert_int_equal(e.should_retry, 0);
    json_t *got = written(&e);
    json_t *wanted = json_parse(
        LITERAL("{\"error\":{\"message\":\"wait 3 s\",\"type\":\"requests\","
                "\"param\":\"model\",\"code\":\"rate_limit_exceeded\",\"retryable\":true}}"),
        NULL);
    assert_true(json_equal(got, wanted));
    json_decref(wanted);
    json_decref(got);
}

static void test_what_is_not_known_is_null(void **state)
{
    (void)state;
    struct api_error e;
    api_error_bad(&e, NULL, NULL, "no");
    assert_int_equal(e.status, 400);
    json_t *got = written(&e);
    assert_string_equal(json_str_at(got, "error.type"), "invalid_request_error");
    assert_true(json_is_null(json_at(got, "error.param")));
    assert_true(json_is_null(json_at(got, "error.code")));
    json_decref(got);
}

static void test_setting_forgets_what_was_there(void **state)
{
    (void)state;
    struct api_error e;
    memset(&e, 0x5a, sizeof(e));
    api_error_set(&e, 503, "server_error", NULL, NULL, "%s", "");
    assert_int_equal(e.retry_after_s, 0);
    assert_int_equal(e.should_retry, 0);
    assert_string_equal(e.param, "");
    assert_string_equal(e.message, "");
}

static void test_quotes_and_controls_in_a_message_stay_inside_it(void **state)
{
    (void)state;
    struct api_error e;
    const char *evil = "\"},\"x\":{\"\n\\\x01\x7f\xe2\x82\xac";
    api_error_bad(&e, "c", evil, "%s", evil);
    json_t *got = written(&e);
    assert_int_equal(json_object_size(got), 1);
    assert_string_equal(json_str_at(got, "error.message"), evil);
    assert_string_equal(json_str_at(got, "error.param"), evil);
    json_decref(got);
}

/* Characters of 1 to 4 bytes, behind 0 to 3 bytes of ASCII: the cut falls on every byte of each. */
static void test_a_long_message_is_cut_between_characters(void **state)
{
    (void)state;
    static const char *const characters[] = { "x", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80" };
    for (size_t c = 0; c < COUNT_OF(characters); c++) {
        size_t size = strlen(characters[c]);
        for (size_t before = 0; before < 4; before++) {
            struct buf text = BUF_INIT;
            for (size_t i = 0; i < before; i++)
                buf_putc(&text, 'a');
            for (int i = 0; i < API_ERROR_MESSAGE_MAX; i++)
                buf_puts(&text, characters[c]);
            struct api_error e;
            api_error_bad(&e, NULL, buf_str(&text), "%s", buf_str(&text));
            size_t fit = (API_ERROR_MESSAGE_MAX - 1 - before) / size * size + before;
            assert_int_equal(strlen(e.message), fit);
            assert_memory_equal(e.message, text.data, fit);
            fit = (API_ERROR_PARAM_MAX - 1 - before) / size * size + before;
            assert_int_equal(strlen(e.param), fit);
            json_decref(written(&e));
            buf_free(&text);
        }
    }
}

static void test_a_message_that_just_fits_is_whole(void **state)
{
    (void)state;
    char text[API_ERROR_MESSAGE_MAX];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    memcpy(text + sizeof(text) - 3, "\xc3\xa4", 2);
    struct api_error e;
    api_error_bad(&e, NULL, NULL, "%s", text);
    assert_string_equal(e.message, text);
}

/* As the openai package does it; see README.md. */
static void test_what_is_retryable_is_what_clients_try_again(void **state)
{
    (void)state;
    static const struct {
        int status;
        int should_retry;
        bool retryable;
    } rows[] = {
        { 400, 0, false },  { 401, 0, false },  { 404, 0, false }, { 408, 0, true },
        { 409, 0, true },   { 413, 0, false },  { 429, 0, true },  { 499, 0, false },
        { 500, 0, true },   { 502, 0, true },   { 503, 0, true },  { 504, 0, true },
        { 429, -1, false }, { 503, -1, false }, { 400, 1, true },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct api_error e;
        api_error_set(&e, rows[i].status, "server_error", NULL, NULL, "no");
        e.should_retry = rows[i].should_retry;
        assert_int_equal(api_error_retryable(&e), rows[i].retryable);
        json_t *got = written(&e);
        assert_int_equal(json_bool_at(got, "error.retryable", -1), rows[i].retryable);
        json_decref(got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_envelope_has_its_five_members_and_no_others),
        cmocka_unit_test(test_what_is_not_known_is_null),
        cmocka_unit_test(test_setting_forgets_what_was_there),
        cmocka_unit_test(test_quotes_and_controls_in_a_message_stay_inside_it),
        cmocka_unit_test(test_a_long_message_is_cut_between_characters),
        cmocka_unit_test(test_a_message_that_just_fits_is_whole),
        cmocka_unit_test(test_what_is_retryable_is_what_clients_try_again),
    };
    json_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
