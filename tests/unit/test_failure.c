/* What the end of a turn means for the client: every row of the table, and nothing of the upstream's words. */
#include "failure.h"
#include "json.h"
#include "unit.h"

#define LEAK "leak-me: sk-secret"

struct row {
    const char *kind;
    int http_status; /* of the upstream */
    int status;
    const char *type;
    const char *code; /* NULL: null */
    bool retry_after;
    int should_retry;
};

static const struct row rows[] = {
    { "contextWindowExceeded", 0, 400, "invalid_request_error", "context_length_exceeded", false,
      0 },
    { "usageLimitExceeded", 0, 429, "insufficient_quota", "insufficient_quota", false, -1 },
    { "sessionBudgetExceeded", 0, 429, "insufficient_quota", "insufficient_quota", false, -1 },
    { "rateLimitExceeded", 0, 429, "requests", "rate_limit_exceeded", true, 0 },
    { "flexUnavailable", 0, 429, "requests", "rate_limit_exceeded", true, 0 },
    { "serverOverloaded", 0, 503, "server_error", "server_overloaded", true, 0 },
    { "policyCapacityUnavailable", 0, 503, "server_error", "server_overloaded", true, 0 },
    { "modelNotFound", 0, 404, "invalid_request_error", "model_not_found", false, 0 },
    { "unauthorized", 0, 503, "server_error", "upstream_auth", true, -1 },
    { "cyberPolicy", 0, 400, "invalid_request_error", "invalid_prompt", false, 0 },
    { "misalignmentPolicyViolation", 0, 400, "invalid_request_error", "invalid_prompt", false, 0 },
    { "inferenceHookDenied", 0, 400, "invalid_request_error", "invalid_prompt", false, 0 },
    { "badRequest", 0, 400, "invalid_request_error", NULL, false, 0 },
    { "internalServerError", 0, 502, "server_error", "upstream_error", false, 0 },
    { "somethingNew", 0, 502, "server_error", "upstream_error", false, 0 },
    { NULL, 0, 502, "server_error", "upstream_error", false, 0 },
    { "httpConnectionFailed", 401, 503, "server_error", "upstream_auth", true, -1 },
    { "httpConnectionFailed", 403, 503, "server_error", "upstream_auth", true, -1 },
    { "responseTooManyFailedAttempts", 429, 429, "requests", "rate_limit_exceeded", true, 0 },
    { "responseStreamDisconnected", 500, 502, "server_error", "upstream_error", false, 0 },
    { "responseStreamConnectionFailed", 200, 502, "server_error", "upstream_error", false, 0 },
    { "somethingNew", 429, 429, "requests", "rate_limit_exceeded", true, 0 },
    { "usageLimitExceeded", 401, 429, "insufficient_quota", "insufficient_quota", false, -1 },
};

static void assert_row(const struct row *row, const struct api_error *e)
{
    assert_int_equal(e->status, row->status);
    assert_string_equal(e->type, row->type);
    if (row->code == NULL)
        assert_null(e->code);
    else
        assert_string_equal(e->code, row->code);
    assert_int_equal(e->retry_after_s > 0, row->retry_after);
    assert_int_equal(e->should_retry, row->should_retry);
    const char *code = row->code != NULL ? row->code : "";
    const char *param = strcmp(code, "context_length_exceeded") == 0 ? "messages"
                        : strcmp(code, "model_not_found") == 0       ? "model"
                                                                     : "";
    assert_string_equal(e->param, param);
    assert_true(strlen(e->message) > 10);
}

static void test_every_kind_of_failure_has_its_answer(void **state)
{
    (void)state;
    static const char *const messages[] = { NULL,
                                            "",
                                            LEAK,
                                            "{\"message\":\"" LEAK "\"}",
                                            "{\"error\":\"" LEAK "\"}",
                                            "{\"error\":{\"message\":7}}",
                                            "[\"" LEAK "\"]" };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        for (size_t m = 0; m < COUNT_OF(messages); m++) {
            const struct turn_end end = { .outcome = TURN_FAILED,
                                          .kind = rows[i].kind,
                                          .http_status = rows[i].http_status,
                                          .message = messages[m] };
            struct api_error error;
            assert_null(failure_finish_reason(&end, &error));
            assert_row(&rows[i], &error);
            assert_null(strstr(error.message, "leak"));
        }
    }
}

static void test_the_other_outcomes_have_theirs(void **state)
{
    (void)state;
    static const struct {
        enum turn_outcome outcome;
        struct row row;
    } cases[] = {
        { TURN_INTERRUPTED, { NULL, 0, 502, "server_error", "upstream_error", false, 0 } },
        { TURN_TIMED_OUT, { NULL, 0, 504, "server_error", "upstream_timeout", false, 0 } },
        { TURN_UNANSWERED, { NULL, 0, 504, "server_error", "first_event_timeout", false, 0 } },
        { TURN_SILENT, { NULL, 0, 504, "server_error", "silence_timeout", false, 0 } },
        { TURN_TOO_LONG, { NULL, 0, 504, "server_error", "turn_timeout", false, 0 } },
        { TURN_LOST, { NULL, 0, 502, "server_error", "worker_lost", true, 0 } },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct turn_end end = { .outcome = cases[i].outcome, .message = LEAK };
        struct api_error error;
        assert_null(failure_finish_reason(&end, &error));
        assert_row(&cases[i].row, &error);
        assert_null(strstr(error.message, "leak"));
    }
}

static void test_a_completed_turn_stopped_by_itself(void **state)
{
    (void)state;
    const struct turn_end end = { .outcome = TURN_COMPLETED };
    struct api_error error = { .status = 0 };
    assert_string_equal(failure_finish_reason(&end, &error), "stop");
    assert_int_equal(error.status, 0);
}

static void test_an_answer_that_was_cut_short_is_an_answer(void **state)
{
    (void)state;
    static const struct {
        const char *message;
        const char *finish_reason; /* NULL: an error */
    } cases[] = {
        { "Incomplete response returned, reason: max_output_tokens", "length" },
        { "stream disconnected before completion: Incomplete response returned, reason: "
          "max_output_tokens",
          "length" },
        { "Incomplete response returned, reason: content_filter", "content_filter" },
        { "stream disconnected before completion: Incomplete response returned, reason: "
          "something_new",
          NULL },
        { "stream disconnected before completion: max_output_tokens", NULL },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct turn_end end = { .outcome = TURN_FAILED,
                                      .kind = "other",
                                      .message = cases[i].message };
        struct api_error error = { .status = 0 };
        const char *reason = failure_finish_reason(&end, &error);
        if (cases[i].finish_reason == NULL) {
            assert_null(reason);
            assert_int_equal(error.status, 502);
        } else {
            assert_string_equal(reason, cases[i].finish_reason);
            assert_int_equal(error.status, 0);
        }
    }
}

/* What has no kind is either a broken stream, and says so, or a refusal in the upstream's own words. */
static void test_a_refusal_without_a_kind_is_the_clients_and_is_not_quoted(void **state)
{
    (void)state;
    static const struct {
        const char *kind;
        const char *message;
        int status;
    } cases[] = {
        { "other", LEAK, 400 },
        { "other", "", 400 },
        { "other", "The model `" LEAK "` does not take images.", 400 },
        { "other", "stream disconnected before completion: " LEAK, 502 },
        { "other", NULL, 502 },
        { "Other", LEAK, 502 },
        { NULL, LEAK, 502 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct turn_end end = { .outcome = TURN_FAILED,
                                      .kind = cases[i].kind,
                                      .message = cases[i].message };
        struct api_error error;
        assert_null(failure_finish_reason(&end, &error));
        assert_int_equal(error.status, cases[i].status);
        assert_null(strstr(error.message, "leak"));
    }
}

static void test_a_turn_that_waits_for_its_calls_has_answered(void **state)
{
    (void)state;
    const struct turn_end end = { .outcome = TURN_CALLS };
    struct api_error error = { .status = 0 };
    assert_non_null(failure_finish_reason(&end, &error));
    assert_int_equal(error.status, 0);
}

static void test_the_upstreams_own_word_about_a_bad_request_is_passed_on(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        const char *message;
        const char *param;
    } cases[] = {
        { "{\"error\":{\"message\":\"Unknown parameter: 'x'.\",\"type\":\"invalid_request_error\","
          "\"param\":\"x\",\"code\":\"unknown_parameter\"}}",
          "Unknown parameter: 'x'.", "x" },
        { "{\"error\":{\"message\":\"no \\\"param\\\" %s %n\",\"param\":null}}",
          "no \"param\" %s %n", "" },
        { "\n{\"error\":{\"message\":\"\",\"param\":7}} ", "", "" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct turn_end end = { .outcome = TURN_FAILED,
                                      .kind = "other",
                                      .message = cases[i].body };
        struct api_error error;
        assert_null(failure_finish_reason(&end, &error));
        assert_int_equal(error.status, 400);
        assert_string_equal(error.type, "invalid_request_error");
        assert_null(error.code);
        assert_string_equal(error.message, cases[i].message);
        assert_string_equal(error.param, cases[i].param);
    }
}

static void test_a_long_word_of_the_upstream_is_cut(void **state)
{
    (void)state;
    struct buf body = BUF_INIT;
    buf_puts(&body, "{\"error\":{\"message\":\"");
    for (int i = 0; i < 1000; i++)
        buf_puts(&body, "\xe2\x82\xac");
    buf_puts(&body, "\"}}");
    const struct turn_end end = { .outcome = TURN_FAILED, .message = buf_str(&body) };
    struct api_error error;
    assert_null(failure_finish_reason(&end, &error));
    assert_int_equal(strlen(error.message), (API_ERROR_MESSAGE_MAX - 1) / 3 * 3);
    buf_free(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind_of_failure_has_its_answer),
        cmocka_unit_test(test_the_other_outcomes_have_theirs),
        cmocka_unit_test(test_a_completed_turn_stopped_by_itself),
        cmocka_unit_test(test_an_answer_that_was_cut_short_is_an_answer),
        cmocka_unit_test(test_a_refusal_without_a_kind_is_the_clients_and_is_not_quoted),
        cmocka_unit_test(test_a_turn_that_waits_for_its_calls_has_answered),
        cmocka_unit_test(test_the_upstreams_own_word_about_a_bad_request_is_passed_on),
        cmocka_unit_test(test_a_long_word_of_the_upstream_is_cut),
    };
    json_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
