/* The trace of a request: what it tells, what it never tells, and how large it can become. */
#include "trace.h"

#include "trace_allow.h"
#include "unit.h"

#define THREAD "01a20052-a164-7321-9dc4-5ab160e8ee89"
#define SUMMARY                                                                                    \
    "{\"v\":1,\"req_id\":\"req_1\",\"timestamp\":\"2026-01-01T00:00:00.250Z\","                    \
    "\"route\":\"/v1/chat/completions\",\"model\":\"gpt-x\",\"stream\":true,\"status\":200,"       \
    "\"outcome\":\"stop\",\"error_code\":null,\"duration_ms\":1234,\"queue_ms\":5,"                \
    "\"runs_again\":1,\"tokens\":{\"prompt\":1,\"cached\":2,\"completion\":3,\"reasoning\":4},"    \
    "\"bytes_in\":10,\"bytes_sent\":20,\"events_dropped\":"

static const struct trace_summary summary = {
    .req_id = "req_1",
    .route = "/v1/chat/completions",
    .model = "gpt-x",
    .stream = true,
    .status = 200,
    .outcome = "stop",
    .duration_ms = 1234,
    .queue_ms = 5,
    .runs_again = 1,
    .tokens = { 1, 2, 3, 4 },
    .bytes_in = 10,
    .bytes_sent = 20,
};

static uint64_t clock_ns; /* as the trace sees it */

static uint64_t now_ns(void)
{
    return clock_ns;
}

static struct trace *begin(void)
{
    clock_ns = UINT64_C(7000000000);
    return trace_new(now_ns, INT64_C(1767225600250));
}

static void pass_us(uint64_t us)
{
    clock_ns += us * 1000;
}

/* A message whose content is this JSON text. */
static void say(struct trace *trace, enum trace_type type, const char *method, const char *content)
{
    json_t *value = content != NULL ? json_parse(content, strlen(content), NULL) : NULL;
    assert_true(content == NULL || value != NULL);
    const struct trace_message message = {
        .type = type, .method = method, .content = value, .bytes = 100
    };
    trace_rpc(trace, &message);
    json_decref(value);
}

static void note(struct trace *trace, const char *method, const char *content)
{
    say(trace, TRACE_RPC_NOTIFICATION, method, content);
}

static void delta(struct trace *trace, const char *item, const char *text)
{
    char *content = NULL;
    assert_true(asprintf(&content,
                         "{\"threadId\":\"" THREAD "\",\"turnId\":\"" THREAD
                         "\",\"itemId\":\"%s\",\"delta\":\"%s\"}",
                         item, text) > 0);
    note(trace, "item/agentMessage/delta", content);
    free(content);
}

/* Ends the trace: its text, which the caller frees. */
static char *end(struct trace *trace)
{
    struct buf out = BUF_INIT;
    struct trace_record *record = trace_take(trace, &summary);
    assert_non_null(record);
    assert_int_equal(trace_record_wall_ms(record), INT64_C(1767225600250));
    assert_true(trace_record_bytes(record) < 2 * (size_t)TRACE_BYTES_MAX);
    trace_record_write(record, &out);
    trace_record_free(record);
    trace_unref(trace);
    return buf_detach(&out);
}

/* The same as JSON; the caller owns it. */
static json_t *written(struct trace *trace)
{
    char *text = end(trace);
    json_t *value = json_parse(text, strlen(text), NULL);
    assert_non_null(value);
    free(text);
    return value;
}

static const json_t *event_at(const json_t *value, size_t i)
{
    return json_array_get(json_object_get(value, "events"), i);
}

/* ---- the whole ---- */

static void test_a_trace_is_exactly_this_json(void **state)
{
    (void)state;
    struct trace *trace = begin();
    trace_http(trace, "received", LOG_INT("bytes", 10));
    pass_us(1500);
    trace_stage(trace, "queued", LOG_INT("waiting", 3), LOG_ID("reason", "busy"),
                LOG_ID("missing", NULL), LOG_BOOL("first", true));
    pass_us(25);
    say(trace, TRACE_RPC_REQUEST, "turn/start",
        "{\"threadId\":\"" THREAD "\",\"input\":[],\"effort\":\"high\"}");
    pass_us(475);
    json_t *id = json_integer(7);
    const struct trace_message answer = { .type = TRACE_RPC_RESPONSE,
                                          .method = "turn/start",
                                          .id = id,
                                          .bytes = 12,
                                          .status = "error",
                                          .code = -32001 };
    trace_rpc(trace, &answer);
    json_decref(id);
    pass_us(50);
    trace_repeat(trace, "keepalive");
    char *text = end(trace);
    assert_string_equal(
        text,
        SUMMARY "0,\"events\":[{\"ts_ms\":0,\"type\":\"http\",\"event\":\"received\","
                "\"bytes\":10},"
                "{\"ts_ms\":1.5,\"type\":\"stage\",\"event\":\"queued\",\"waiting\":3,"
                "\"reason\":\"busy\",\"first\":true},"
                "{\"ts_ms\":1.525,\"type\":\"rpc_request\",\"method\":\"turn/start\","
                "\"bytes\":100,\"redacted\":true,\"thread_id\":\"" THREAD "\",\"input\":0,"
                "\"effort\":\"high\"},"
                "{\"ts_ms\":2,\"type\":\"rpc_response\",\"method\":\"turn/start\",\"bytes\":12,"
                "\"redacted\":true,\"id\":7,\"outcome\":\"error\",\"code\":-32001},"
                "{\"ts_ms\":2.05,\"type\":\"stage\",\"event\":\"keepalive\"}]}");
    free(text);
}

static void test_a_request_without_a_trace_records_nothing(void **state)
{
    (void)state;
    trace_http(NULL, "received", LOG_INT("bytes", 1));
    trace_repeat(NULL, "keepalive");
    note(NULL, "turn/started", "{}");
    assert_null(trace_ref(NULL));
    assert_null(trace_take(NULL, &summary));
    trace_record_free(NULL);
    trace_close(NULL);
    trace_unref(NULL);
}

static void test_what_comes_after_the_end_is_nobodys(void **state)
{
    (void)state;
    for (int taken = 0; taken < 2; taken++) {
        struct trace *trace = begin();
        struct trace *turns = trace_ref(trace);
        struct trace_record *record = NULL;
        struct buf out = BUF_INIT;
        trace_http(trace, "received", LOG_INT("bytes", 10));
        if (taken)
            record = trace_take(trace, &summary);
        trace_close(trace);
        trace_unref(trace);
        trace_http(turns, "late", LOG_INT("bytes", 10));
        trace_repeat(turns, "keepalive");
        delta(turns, "msg_1", "late");
        assert_null(trace_take(turns, &summary));
        trace_unref(turns);
        if (taken) {
            trace_record_write(record, &out);
            assert_string_equal(buf_str(&out),
                                SUMMARY "0,\"events\":[{\"ts_ms\":0,\"type\":\"http\","
                                        "\"event\":\"received\",\"bytes\":10}]}");
        }
        trace_record_free(record);
        buf_free(&out);
    }
}

/* ---- bounds ---- */

static void test_pieces_that_follow_each_other_count_as_one_event(void **state)
{
    (void)state;
    struct trace *trace = begin();
    delta(trace, "msg_1", "ab");
    pass_us(1000);
    delta(trace, "msg_1", "c");
    pass_us(2500);
    delta(trace, "msg_1", "defg");
    pass_us(500);
    delta(trace, "msg_1", "");
    delta(trace, "msg_2", "x");
    json_t *value = written(trace);
    char *first = json_dumps(event_at(value, 0), JSON_COMPACT);
    assert_string_equal(first,
                        "{\"ts_ms\":0,\"type\":\"rpc_notification\","
                        "\"method\":\"item/agentMessage/delta\",\"bytes\":400,\"redacted\":true,"
                        "\"thread_id\":\"" THREAD "\",\"turn_id\":\"" THREAD
                        "\",\"item_id\":\"msg_1\",\"text_bytes\":7,\"count\":4,"
                        "\"last_ts_ms\":4,\"max_gap_ms\":2.5}");
    assert_string_equal(json_str_at(event_at(value, 1), "item_id"), "msg_2");
    assert_null(event_at(value, 2));
    free(first);
    json_decref(value);
}

static void test_pieces_of_turns_side_by_side_are_counted_apart(void **state)
{
    (void)state;
    char item[] = "msg_0";
    struct trace *trace = begin();
    for (int round = 0; round < 100; round++) {
        for (item[4] = '0'; item[4] < '0' + TRACE_LOOK_BACK; item[4]++)
            delta(trace, item, "x");
        trace_repeat(trace, "keepalive");
        trace_repeat(trace, "keepalive");
    }
    json_t *value = written(trace);
    /* One more than is looked back at: the oldest is new again, each time. */
    assert_true(json_array_size(json_object_get(value, "events")) > 100);
    json_decref(value);

    trace = begin();
    for (int round = 0; round < 100; round++)
        for (item[4] = '0'; item[4] < '0' + TRACE_LOOK_BACK; item[4]++)
            delta(trace, item, "x");
    value = written(trace);
    assert_int_equal(json_array_size(json_object_get(value, "events")), TRACE_LOOK_BACK);
    for (size_t i = 0; i < TRACE_LOOK_BACK; i++)
        assert_int_equal(json_int_at(event_at(value, i), "count", 0), 100);
    json_decref(value);
}

static void test_what_is_no_piece_stands_alone(void **state)
{
    (void)state;
    struct trace *trace = begin();
    for (int i = 0; i < 3; i++)
        note(trace, "error", "{\"willRetry\":true}");
    for (int i = 0; i < 3; i++)
        note(trace, "of/a/later/version", "{}");
    json_t *value = written(trace);
    assert_int_equal(json_array_size(json_object_get(value, "events")), 4);
    assert_true(json_bool_at(event_at(value, 1), "will_retry", 0));
    assert_string_equal(json_str_at(event_at(value, 3), "method"), "other");
    assert_int_equal(json_int_at(event_at(value, 3), "count", 0), 3);
    json_decref(value);
}

static json_int_t number_of(const json_t *value, size_t i)
{
    return json_int_at(event_at(value, i), "n", -1);
}

static void test_of_too_many_events_those_between_are_counted(void **state)
{
    (void)state;
    const int all = TRACE_EVENTS_MAX + 1234;
    struct trace *trace = begin();
    for (int i = 0; i < all; i++)
        trace_stage(trace, "step", LOG_INT("n", i));
    json_t *value = written(trace);
    assert_int_equal(json_array_size(json_object_get(value, "events")), TRACE_EVENTS_MAX);
    assert_int_equal(json_int_at(value, "events_dropped", 0), 1234);
    assert_int_equal(number_of(value, TRACE_FIRST_MAX - 1), TRACE_FIRST_MAX - 1);
    assert_int_equal(number_of(value, TRACE_FIRST_MAX), TRACE_FIRST_MAX + 1234);
    assert_int_equal(number_of(value, TRACE_EVENTS_MAX - 1), all - 1);
    json_decref(value);
}

/* Whatever the sizes of events: none is lost without being counted, and the file has a bound. */
static void test_large_events_are_bounded_by_their_memory(void **state)
{
    (void)state;
    char large[600];
    memset(large, 'x', sizeof(large));
    large[sizeof(large) - 1] = '\0';
    struct trace *trace = begin();
    for (int i = 0; i < 5000; i++)
        trace_stage(trace, "step", LOG_INT("n", i), LOG_ID("large", i % 3 == 0 ? large : "x"));
    char *text = end(trace);
    assert_true(strlen(text) < 2 * (size_t)TRACE_BYTES_MAX);
    json_t *value = json_parse(text, strlen(text), NULL);
    size_t kept = json_array_size(json_object_get(value, "events"));
    assert_int_equal(kept + (size_t)json_int_at(value, "events_dropped", 0), 5000);
    assert_int_equal(number_of(value, 0), 0);
    assert_int_equal(number_of(value, kept - 1), 4999);
    json_decref(value);
    free(text);
}

/* ---- what may be shown ---- */

/* The members that are said, each with a comma before it; the caller frees them. */
static char *members(const struct trace_facts *facts)
{
    struct buf out = BUF_INIT;
    for (size_t i = 0; i < facts->count; i++)
        trace_fact_write(&out, &facts->list[i]);
    return buf_detach(&out);
}

/* The members that describe this content, also for who knows them already; the caller frees them. */
static char *described(const char *content, uint64_t *ret_withheld)
{
    struct trace_facts facts;
    struct trace_facts again;
    json_t *value = json_parse(content, strlen(content), NULL);
    assert_non_null(value);
    trace_facts_begin(&facts, NULL, 0);
    trace_allow_describe(&facts, value);
    trace_facts_begin(&again, facts.list, facts.count);
    trace_allow_describe(&again, value);
    char *text = members(&facts);
    char *same = members(&again);
    assert_string_equal(text, same);
    assert_int_equal(again.withheld, facts.withheld);
    *ret_withheld = facts.withheld;
    free(same);
    json_decref(value);
    return text;
}

static void expect_described(const char *content, const char *expected, uint64_t withheld)
{
    uint64_t got = 0;
    char *text = described(content, &got);
    assert_string_equal(text, expected);
    assert_int_equal(got, withheld);
    free(text);
}

static void test_members_that_are_known_are_shown(void **state)
{
    (void)state;
    expect_described("{\"threadId\":\"" THREAD "\",\"turn\":{\"id\":\"turn_1\","
                     "\"status\":\"failed\",\"items\":[],\"error\":{\"message\":\"secret\","
                     "\"codexErrorInfo\":{\"httpConnectionFailed\":{\"httpStatusCode\":401}}}}}",
                     ",\"thread_id\":\"" THREAD "\",\"turn_id\":\"turn_1\","
                     "\"turn_status\":\"failed\",\"turn_items\":0,\"message_bytes\":6,"
                     "\"error_kind\":\"httpConnectionFailed\",\"http_status\":401",
                     0);
    expect_described("{\"items\":[{\"type\":\"message\",\"role\":\"user\"},"
                     "{\"type\":\"message\",\"role\":\"secret\"},{\"type\":\"function_call\"},7]}",
                     ",\"items\":4,\"roles\":{\"user\":1},"
                     "\"item_types\":{\"message\":2,\"function_call\":1}",
                     0);
    expect_described("{\"item\":{\"type\":\"function_call\","
                     "\"name\":\"secret\",\"arguments\":\"{}\"}}",
                     ",\"item_type\":\"function_call\",\"name_bytes\":6,"
                     "\"arguments_bytes\":2",
                     0);
    expect_described("{\"usage\":{\"inputTokens\":3,\"outputTokens\":\"5\",\"more\":9}}",
                     ",\"tokens_prompt\":3", 1);
    expect_described("{\"item\":null,\"turn\":7,\"items\":\"xy\",\"willRetry\":1,"
                     "\"codexErrorInfo\":{}}",
                     "", 2);
    expect_described("[\"secret\"]", "", 0);
}

static void test_of_any_other_string_only_the_length_is_told(void **state)
{
    (void)state;
    static const char *const secrets[] = { "sk-proj-0123456789abcdef", "user secret", "Secret",
                                           "call_with space",          "msg_",        "user\\n" };
    static const char *const places[] = {
        "{\"%s\":1}",
        "{\"new\":\"%s\"}",
        "{\"threadId\":\"%s\"}",
        "{\"itemId\":\"%s\"}",
        "{\"effort\":\"%s\"}",
        "{\"status\":\"%s\"}",
        "{\"status\":{\"%s\":{\"%s\":1}}}",
        "{\"delta\":\"%s\"}",
        "{\"tool\":\"%s\",\"arguments\":{\"%s\":\"%s\"}}",
        "{\"dynamicTools\":[{\"name\":\"%s\",\"inputSchema\":{\"%s\":1}}]}",
        "{\"items\":[{\"role\":\"%s\",\"type\":\"%s\",\"content\":\"%s\"}]}",
        "{\"item\":{\"%s\":\"%s\",\"type\":\"%s\",\"id\":\"%s\",\"text\":\"%s\"}}",
        "{\"item\":{\"role\":\"%s\",\"name\":\"%s\",\"content\":[{\"text\":\"%s\"}]}}",
        "{\"turn\":{\"id\":\"%s\",\"status\":\"%s\",\"error\":{\"message\":\"%s\"}}}",
        "{\"turn\":{\"error\":{\"codexErrorInfo\":\"%s\",\"%s\":\"%s\"}}}",
        "{\"error\":{\"codexErrorInfo\":{\"%s\":{\"httpStatusCode\":\"%s\"}}}}",
        "{\"usage\":\"%s\",\"thread\":{\"id\":\"%s\",\"name\":\"%s\"}}",
    };
    for (size_t p = 0; p < COUNT_OF(places); p++) {
        for (size_t i = 0; i < COUNT_OF(secrets); i++) {
            const char *s = secrets[i];
            char *content = NULL;
            uint64_t withheld = 0;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-extra-args"
            assert_true(asprintf(&content, places[p], s, s, s, s, s) > 0);
#pragma GCC diagnostic pop
            char *text = described(content, &withheld);
            assert_null(strstr(text, "ecret"));
            assert_null(strstr(text, "sk-"));
            assert_null(strstr(text, "user"));
            assert_null(strstr(text, "call_"));
            free(text);
            free(content);
        }
    }
    expect_described("{\"threadId\":\"th-1\",\"new\":\"12345\",\"item\":{\"newer\":\"67\"}}",
                     ",\"thread_id_bytes\":4", 7);
}

/* Whatever a message has at once, there is room for it. */
static void test_a_message_may_have_every_member(void **state)
{
    (void)state;
    static const char item[] = "{\"type\":\"message\",\"id\":\"msg_1\",\"call_id\":\"call_1\","
                               "\"phase\":\"commentary\",\"role\":\"user\",\"status\":\"failed\","
                               "\"success\":true,\"name\":\"x\",\"arguments\":\"x\",\"text\":\"x\","
                               "\"content\":[]}";
    static const char error[] =
        "{\"message\":\"x\",\"codexErrorInfo\":{\"other\":{\"httpStatusCode\":1}}}";
    static const char list[] = "[{\"role\":\"user\",\"type\":\"message\"},"
                               "{\"role\":\"developer\",\"type\":\"function_call\"},"
                               "{\"role\":\"assistant\",\"type\":\"function_call_output\"}]";
    char *content = NULL;
    uint64_t withheld = 0;
    assert_true(
        asprintf(&content,
                 "{\"threadId\":\"thread_1\",\"turnId\":\"turn_1\",\"itemId\":\"msg_1\","
                 "\"callId\":\"call_1\",\"responseId\":\"resp_1\",\"delta\":\"x\",\"item\":%s,"
                 "\"turn\":{\"id\":\"turn_1\",\"status\":\"failed\",\"items\":[],\"error\":%s},"
                 "\"thread\":{\"id\":\"thread_1\"},\"usage\":{\"inputTokens\":1,"
                 "\"cachedInputTokens\":1,\"outputTokens\":1,\"reasoningOutputTokens\":1},"
                 "\"error\":%s,\"items\":%s,\"input\":[],\"dynamicTools\":[],\"contentItems\":[],"
                 "\"success\":true,\"willRetry\":true,\"effort\":\"high\",\"summary\":\"auto\","
                 "\"serviceTier\":\"fast\",\"approvalPolicy\":\"never\",\"sandbox\":\"read-only\","
                 "\"ephemeral\":true,\"status\":\"idle\",\"tool\":\"x\",\"arguments\":\"x\","
                 "\"message\":\"x\"}",
                 item, error, error, list) > 0);
    char *text = described(content, &withheld);
    assert_non_null(strstr(text, ",\"roles\":{\"developer\":1,\"user\":1,\"assistant\":1},"));
    assert_non_null(strstr(text, ",\"message_bytes\":1"));
    assert_int_equal(withheld, 1);
    free(text);

    json_t *value = json_parse(content, strlen(content), NULL);
    json_t *id = json_integer(7);
    const struct trace_message answer = { .type = TRACE_RPC_SERVER_REQUEST,
                                          .method = "item/tool/call",
                                          .id = id,
                                          .content = value,
                                          .status = "error",
                                          .code = -1,
                                          .answer = true };
    struct trace *trace = begin();
    trace_rpc(trace, &answer);
    json_decref(written(trace));
    json_decref(id);
    json_decref(value);
    free(content);
}

/* What an event before has shown is known by its place and name, never by its name or its text alone. */
static void test_an_id_is_known_only_as_what_it_was(void **state)
{
    (void)state;
    struct trace *trace = begin();
    note(trace, "turn/started", "{\"threadId\":\"thread_1\",\"turnId\":\"turn_1\"}");
    note(trace, "turn/started", "{\"threadId\":\"thread_2\",\"turnId\":\"se cret\"}");
    note(trace, "turn/started", "{\"threadId\":\"se cret\",\"turnId\":\"se cret\"}");
    note(trace, "turn/started", "{\"effort\":\"high\",\"turnId\":\"turn_1\"}");
    note(trace, "turn/started", "{\"threadId\":\"high\",\"turnId\":\"turn_1\"}");
    char *text = end(trace);
    assert_null(strstr(text, "cret"));
    assert_non_null(strstr(text, "\"thread_id\":\"thread_2\",\"turn_id_bytes\":7}"));
    assert_non_null(strstr(text, "\"thread_id_bytes\":7,\"turn_id_bytes\":7}"));
    assert_non_null(strstr(text, "\"thread_id_bytes\":4,\"turn_id\":\"turn_1\"}"));
    free(text);
}

static void test_the_id_of_a_call_shows_only_which_are_the_same(void **state)
{
    (void)state;
    uint64_t withheld = 0;
    char *one = described("{\"callId\":\"call_SECRET\"}", &withheld);
    char *same = described("{\"item\":{\"call_id\":\"call_SECRET\"}}", &withheld);
    char *item = described("{\"itemId\":\"call_SECRET\"}", &withheld);
    char *other = described("{\"callId\":\"item_SECRET\"}", &withheld);
    static const char head[] = ",\"call_id\":\"call_";
    assert_int_equal(strncmp(one, head, strlen(head)), 0);
    assert_int_equal(strlen(one), strlen(head) + 16 + 1);
    assert_string_equal(one, same);
    assert_non_null(strstr(item, strrchr(one, '_')));
    assert_string_not_equal(one, other);
    assert_null(strstr(one, "SECRET"));
    assert_null(strstr(item, "SECRET"));
    assert_null(strstr(other, "SECRET"));
    free(one);
    free(same);
    free(item);
    free(other);
}

static void test_ids_have_the_form_of_ids(void **state)
{
    (void)state;
    char longest[80] = "call_";
    memset(longest + 5, 'x', 59);
    assert_true(trace_allow_is_id(LITERAL(THREAD)));
    assert_true(trace_allow_is_id(LITERAL("call_aB0-_9")));
    assert_true(trace_allow_is_id(longest, 64));
    longest[64] = 'x';
    assert_false(trace_allow_is_id(longest, 65));
    assert_false(trace_allow_is_id(LITERAL("")));
    assert_false(trace_allow_is_id(LITERAL("call_")));
    assert_false(trace_allow_is_id(LITERAL("call_\0x")));
    assert_false(trace_allow_is_id(LITERAL("01a20052-a164-7321-9dc4-5ab160e8ee8\0")));
    assert_false(trace_allow_is_id(LITERAL("01A20052-a164-7321-9dc4-5ab160e8ee89")));
    assert_false(trace_allow_is_id(LITERAL("sk-0123456789")));
    assert_false(trace_allow_is_id(LITERAL("xcall_1")));
}

static void expect_rpc_id(json_t *id, const char *expected)
{
    struct trace_facts facts;
    trace_facts_begin(&facts, NULL, 0);
    trace_allow_rpc_id(&facts, id);
    char *text = members(&facts);
    assert_string_equal(text, expected);
    free(text);
    json_decref(id);
}

static void test_ids_of_calls_are_numbers_or_lengths(void **state)
{
    (void)state;
    expect_rpc_id(json_integer(12), ",\"id\":12");
    expect_rpc_id(json_string("secret"), ",\"id_bytes\":6");
    expect_rpc_id(json_pack("{s:s}", "secret", "secret"), "");
    expect_rpc_id(NULL, "");
}

static void test_methods_are_those_of_the_app_server(void **state)
{
    (void)state;
    static const char *const known[] = {
        "account/rateLimits/updated",
        "error",
        "item/tool/call",
        "thread/start",
        "turn/interrupt",
        "windowsSandbox/setupCompleted",
    };
    for (size_t i = 0; i < COUNT_OF(known); i++)
        assert_string_equal(trace_allow_method(known[i])->name, known[i]);
    assert_string_equal(trace_allow_method("thread/starts")->name, "other");
    assert_string_equal(trace_allow_method("")->name, "other");
    assert_true(trace_allow_method("item/agentMessage/delta")->comes_in_pieces);
    assert_true(trace_allow_method("item/reasoning/summaryTextDelta")->comes_in_pieces);
    assert_true(trace_allow_method("other")->comes_in_pieces);
    assert_false(trace_allow_method("turn/completed")->comes_in_pieces);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_trace_is_exactly_this_json),
        cmocka_unit_test(test_a_request_without_a_trace_records_nothing),
        cmocka_unit_test(test_what_comes_after_the_end_is_nobodys),
        cmocka_unit_test(test_pieces_that_follow_each_other_count_as_one_event),
        cmocka_unit_test(test_pieces_of_turns_side_by_side_are_counted_apart),
        cmocka_unit_test(test_what_is_no_piece_stands_alone),
        cmocka_unit_test(test_of_too_many_events_those_between_are_counted),
        cmocka_unit_test(test_large_events_are_bounded_by_their_memory),
        cmocka_unit_test(test_members_that_are_known_are_shown),
        cmocka_unit_test(test_of_any_other_string_only_the_length_is_told),
        cmocka_unit_test(test_a_message_may_have_every_member),
        cmocka_unit_test(test_an_id_is_known_only_as_what_it_was),
        cmocka_unit_test(test_the_id_of_a_call_shows_only_which_are_the_same),
        cmocka_unit_test(test_ids_have_the_form_of_ids),
        cmocka_unit_test(test_ids_of_calls_are_numbers_or_lengths),
        cmocka_unit_test(test_methods_are_those_of_the_app_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
