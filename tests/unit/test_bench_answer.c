/* The answers that the load client sees: events, contents, and the name of every end. */
#include "answer.h"
#include "json.h"
#include "unit.h"

#define FRAME(text) "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" text "\"}}]}\n\n"
#define FINISH "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
#define USAGE "data: {\"choices\":[],\"usage\":{}}\n\n"
#define DONE "data: [DONE]\n\n"
#define ERROR "data: {\"error\":{\"message\":\"m\",\"code\":\"upstream_error\"}}\n\n"

struct gaps {
    size_t count;
    uint64_t last_ns;
};

static void on_gap(void *ctx, uint64_t gap_ns)
{
    struct gaps *gaps = ctx;
    gaps->count++;
    gaps->last_ns = gap_ns;
}

static const struct expected any;

/* The outcome of a body that came in pieces of `piece` bytes; `ret_differs` may be NULL. */
static const char *outcome_of(bool is_stream, const struct response *r, const char *body,
                              size_t piece, enum ending ending, const struct expected *expected,
                              bool *ret_differs)
{
    static char name[OUTCOME_SIZE];
    struct answer a;
    struct gaps gaps = { 0 };
    size_t len = strlen(body);
    answer_init(&a, is_stream, expected, on_gap, &gaps);
    for (size_t at = 0; at < len; at += piece)
        answer_feed(&a, r, body + at, len - at < piece ? len - at : piece, 1 + at);
    answer_end(&a, r, ending, name);
    if (ret_differs != NULL)
        *ret_differs = a.differs;
    answer_free(&a);
    return name;
}

static const struct response sse = { .status = 200, .head_done = true, .is_sse = true };
static const struct response json = { .status = 200, .head_done = true, .is_json = true };
static const struct response nothing = { 0 };

static void test_every_end_of_a_stream_has_its_name(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        enum ending ending;
        const char *name;
    } cases[] = {
        { FRAME("a") FINISH USAGE DONE, ENDING_BODY, "done" },
        { FRAME("a") FINISH DONE, ENDING_EOF, "done" }, /* counted as truncated, too */
        { FRAME("a") FINISH DONE, ENDING_TIMEOUT, "hang" },
        { FRAME("a") DONE, ENDING_BODY, "done_unfinished" },
        { FRAME("a") ERROR, ENDING_BODY, "error_frame" },
        { FRAME("a") ERROR, ENDING_EOF, "error_frame" },
        { ERROR DONE, ENDING_BODY, "clean_done_on_error" },
        { FRAME("a") ERROR FINISH DONE, ENDING_BODY, "clean_done_on_error" },
        { FRAME("a"), ENDING_BODY, "cut" },
        { FRAME("a") FINISH, ENDING_EOF, "cut" },
        { "", ENDING_EOF, "cut" },
        { FRAME("a"), ENDING_RESET, "reset" },
        { FRAME("a"), ENDING_TIMEOUT, "hang" },
        { FRAME("a"), ENDING_LEFT, "aborted" },
        { FRAME("a"), ENDING_BROKEN, "malformed" },
        { "data: {\n\n", ENDING_BODY, "malformed" },
        { "data: {}\n\n", ENDING_BODY, "malformed" },
        { "nonsense\n\n", ENDING_BODY, "malformed" },
        { DONE FRAME("a"), ENDING_BODY, "malformed" },
        { ": ping\n\nevent: x\r\nid: 1\r\n\r\n" FRAME("a") FINISH DONE, ENDING_BODY, "done" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        for (size_t piece = 1; piece <= 256; piece *= 4)
            assert_string_equal(
                outcome_of(true, &sse, cases[i].body, piece, cases[i].ending, &any, NULL),
                cases[i].name);
    assert_string_equal(outcome_of(true, &json, "{}", 9, ENDING_BODY, &any, NULL), "malformed");
}

static void test_without_a_head_the_connection_gives_the_name(void **state)
{
    (void)state;
    static const struct {
        enum ending ending;
        const char *name;
    } cases[] = {
        { ENDING_EOF, "cut" },          { ENDING_RESET, "reset" },
        { ENDING_REFUSED, "refused" },  { ENDING_LOCAL, "local_error" },
        { ENDING_BROKEN, "malformed" }, { ENDING_TIMEOUT, "hang" },
        { ENDING_LEFT, "aborted" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_string_equal(outcome_of(true, &nothing, "", 1, cases[i].ending, &any, NULL),
                            cases[i].name);
}

static void test_a_status_comes_with_the_code_of_its_error(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        const char *name;
    } cases[] = {
        { "{\"error\":{\"code\":\"proxy_queue_full\",\"type\":\"x\"}}",
          "http_429:proxy_queue_full" },
        { "{\"error\":{\"code\":null,\"type\":\"rate limit\"}}", "http_429:rate_limit" },
        { "{\"error\":{\"code\":\"\"}}", "http_429" },
        { "<html>", "http_429" },
        { "", "http_429" },
    };
    const struct response r = { .status = 429, .head_done = true, .is_json = true };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        for (int is_stream = 0; is_stream <= 1; is_stream++)
            assert_string_equal(
                outcome_of(is_stream != 0, &r, cases[i].body, 5, ENDING_BODY, &any, NULL),
                cases[i].name);
    assert_string_equal(outcome_of(true, &r, "{", 5, ENDING_EOF, &any, NULL), "cut");
}

static void test_a_code_of_any_length_fits(void **state)
{
    (void)state;
    struct buf body = BUF_INIT;
    buf_puts(&body, "{\"error\":{\"code\":\"");
    for (int i = 0; i < 1000; i++)
        buf_putc(&body, 'x');
    buf_puts(&body, "\"}}");
    const struct response r = { .status = 500, .head_done = true };
    const char *name = outcome_of(true, &r, buf_str(&body), 4096, ENDING_BODY, &any, NULL);
    assert_int_equal(strlen(name), OUTCOME_SIZE - 1);
    buf_free(&body);
}

#define WHOLE(text)                                                                                \
    "{\"choices\":[{\"message\":{\"content\":\"" text "\"},\"finish_reason\":\"stop\"}]}"

static void test_an_answer_without_stream_wants_its_finish(void **state)
{
    (void)state;
    assert_string_equal(outcome_of(false, &json, WHOLE("a"), 5, ENDING_BODY, &any, NULL), "done");
    assert_string_equal(outcome_of(false, &json, WHOLE("a"), 5, ENDING_EOF, &any, NULL), "cut");
    assert_string_equal(outcome_of(false, &json, "{}", 5, ENDING_BODY, &any, NULL), "malformed");
    assert_string_equal(outcome_of(false, &sse, WHOLE("a"), 5, ENDING_BODY, &any, NULL),
                        "malformed");
}

static void test_content_that_is_wrong_short_or_long_differs(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        bool differs;
    } cases[] = {
        { FRAME("ab") FRAME("c") FINISH DONE, false },
        { FRAME("a") FRAME("bc") FINISH DONE, false },
        { FRAME("ab") FINISH DONE, true },
        { FRAME("abcd") FINISH DONE, true },
        { FRAME("abx") FINISH DONE, true },
        { FRAME("b") FRAME("ac") FINISH DONE, true },
        { FINISH DONE, true },
    };
    const struct expected text = { .text = "abc", .text_len = 3 };
    struct expected sha = { .has_sha256 = true };
    crypto_hash_sha256(sha.sha256, (const unsigned char *)"abc", 3);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        bool differs = false;
        outcome_of(true, &sse, cases[i].body, 7, ENDING_BODY, &text, &differs);
        assert_int_equal(differs, cases[i].differs);
        outcome_of(true, &sse, cases[i].body, 7, ENDING_BODY, &sha, &differs);
        assert_int_equal(differs, cases[i].differs);
    }
    bool differs = true;
    outcome_of(false, &json, WHOLE("abc"), 7, ENDING_BODY, &text, &differs);
    assert_false(differs);
    outcome_of(false, &json, WHOLE("abd"), 7, ENDING_BODY, &sha, &differs);
    assert_true(differs);
}

static void test_of_an_answer_that_was_cut_only_what_came_is_checked(void **state)
{
    (void)state;
    const struct expected text = { .text = "abc", .text_len = 3 };
    bool differs = true;
    outcome_of(true, &sse, FRAME("ab"), 7, ENDING_EOF, &text, &differs);
    assert_false(differs);
    outcome_of(true, &sse, FRAME("ac"), 7, ENDING_EOF, &text, &differs);
    assert_true(differs);
}

static void test_times_are_those_of_the_bytes(void **state)
{
    (void)state;
    struct answer a;
    struct gaps gaps = { 0 };
    char name[OUTCOME_SIZE];
    answer_init(&a, true, &any, on_gap, &gaps);
    answer_feed(&a, &sse, LITERAL(FRAME("")), 100);
    assert_int_equal(a.first_content_ns, 0);
    answer_feed(&a, &sse, LITERAL(": ping\n\n"), 150); /* no frame: the gap goes on */
    answer_feed(&a, &sse, LITERAL(FRAME("x")), 300);
    assert_int_equal(a.first_content_ns, 300);
    assert_int_equal(gaps.count, 1);
    assert_int_equal(gaps.last_ns, 200);
    answer_feed(&a, &sse, LITERAL(FRAME("y") FINISH DONE), 450);
    assert_int_equal(gaps.count, 4);
    assert_int_equal(gaps.last_ns, 0);
    assert_int_equal(a.frames, 5);
    assert_int_equal(a.sse.comments, 1);
    assert_int_equal(a.content_bytes, 2);
    answer_end(&a, &sse, ENDING_BODY, name);
    assert_string_equal(name, "done");
    answer_free(&a);
}

static void test_lists_name_outcomes_whole_or_by_status(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *item;
        bool matches;
    } cases[] = {
        { "done", "done", true },
        { "done_unfinished", "done", false },
        { "http_429:proxy_queue_full", "http_429:proxy_queue_full", true },
        { "http_429:proxy_queue_full", "http_429", true },
        { "http_429:proxy_queue_full", "http_4xx", true },
        { "http_429:proxy_queue_full", "http_5xx", false },
        { "http_429:proxy_queue_full", "http_429:proxy", false },
        { "http_429:proxy_queue_full", "http", true },
        { "http_503", "http_503", true },
        { "http_503", "http", true },
        { "hang", "http", false },
        { "cut", "hang", false },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_int_equal(outcome_matches(cases[i].name, cases[i].item, strlen(cases[i].item)),
                         cases[i].matches);
    assert_true(outcome_is_known(LITERAL("hang")));
    assert_true(outcome_is_known(LITERAL("http_5xx")));
    assert_true(outcome_is_known(LITERAL("http_429:proxy_queue_full")));
    assert_false(outcome_is_known(LITERAL("hangs")));
    assert_false(outcome_is_known(LITERAL("")));
    assert_false(outcome_is_known(LITERAL("http_")));
    assert_false(outcome_is_known(LITERAL("http_42")));
}

static int setup(void **state)
{
    (void)state;
    json_setup();
    return sodium_init() < 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_end_of_a_stream_has_its_name),
        cmocka_unit_test(test_without_a_head_the_connection_gives_the_name),
        cmocka_unit_test(test_a_status_comes_with_the_code_of_its_error),
        cmocka_unit_test(test_a_code_of_any_length_fits),
        cmocka_unit_test(test_an_answer_without_stream_wants_its_finish),
        cmocka_unit_test(test_content_that_is_wrong_short_or_long_differs),
        cmocka_unit_test(test_of_an_answer_that_was_cut_only_what_came_is_checked),
        cmocka_unit_test(test_times_are_those_of_the_bytes),
        cmocka_unit_test(test_lists_name_outcomes_whole_or_by_status),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
