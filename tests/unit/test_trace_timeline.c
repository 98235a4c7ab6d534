/* A trace for people: columns, gaps, and nothing of the file that could hurt a terminal or us. */
#include "trace_timeline.h"
#include "json.h"
#include "unit.h"

static char *timeline(const char *text)
{
    struct buf out = BUF_INIT;
    json_t *trace = json_parse(text, strlen(text), NULL);
    assert_non_null(trace);
    trace_timeline_write(&out, trace);
    json_decref(trace);
    return buf_detach(&out);
}

static const char trace[] =
    "{\"v\":1,\"req_id\":\"req_1\",\"timestamp\":\"2026-11-22T06:01:02.345Z\",\"route\":\"/v1/x\","
    "\"model\":null,\"stream\":true,\"status\":502,\"outcome\":\"error\",\"error_code\":\"worker\","
    "\"duration_ms\":41,\"queue_ms\":3,\"events_dropped\":0,\"events\":["
    "{\"ts_ms\":0,\"type\":\"http\",\"event\":\"received\"},"
    "{\"ts_ms\":1,\"type\":\"rpc_request\",\"method\":\"turn/start\",\"bytes\":2048,"
    "\"redacted\":true,\"id\":7},"
    "{\"ts_ms\":2.5,\"type\":\"rpc_notification\",\"method\":\"delta\",\"bytes\":10,"
    "\"count\":3,\"last_ts_ms\":20,\"max_gap_ms\":12.1},"
    "{\"ts_ms\":30,\"type\":\"rpc_server_request\",\"method\":\"ask\",\"bytes\":5},"
    "{\"ts_ms\":31,\"type\":\"rpc_server_request\",\"method\":\"ask\",\"answer\":true},"
    "{\"ts_ms\":40,\"type\":\"stage\",\"event\":\"failed\",\"new\":\"field\",\"ok\":false}]}";

static void test_a_timeline_says_what_went_where_when(void **state)
{
    (void)state;
    char *text = timeline(trace);
    static const char wanted[] =
        "req_1  2026-11-22T06:01:02.345Z  /v1/x  streamed\n"
        "model -, status 502, outcome error, error worker, 41 ms\n"
        "queue_ms=3 events_dropped=0\n"
        "\n"
        "    TIME ms       GAP ms  WHERE             WHAT                               SIZE\n"
        "      0.000               client            received\n"
        "      1.000       +1.000  -> worker         turn/start                      2.0 KiB  "
        "id=7\n"
        "      2.500       +1.500  <- worker         delta                              10 B  "
        "count=3 last_ts_ms=20 max_gap_ms=12.1\n"
        "     30.000      +10.000  <- worker asks    ask                                 5 B\n"
        "     31.000       +1.000  -> worker answer  ask\n"
        "     40.000       +9.000  codex-api         failed                                   "
        "new=field ok=false\n"
        "\n"
        "longest gap: 12.100 ms, between pieces of delta\n";
    assert_string_equal(text, wanted);
    free(text);
}

static void test_whatever_the_json_lacks_is_a_dash(void **state)
{
    (void)state;
    static const char *const odd[] = {
        "{}",
        "[]",
        "{\"events\":7,\"req_id\":7,\"stream\":\"x\",\"duration_ms\":\"y\"}",
        "{\"events\":[1,null,\"x\",[],{},{\"ts_ms\":\"x\",\"type\":7,\"method\":{},\"bytes\":-1}]}",
        "{\"events\":[{\"ts_ms\":-5,\"bytes\":9223372036854775807},{\"ts_ms\":1e300}]}",
        "{\"events\":[{\"type\":\"unheard\",\"ts_ms\":1}]}",
    };
    for (size_t i = 0; i < COUNT_OF(odd); i++) {
        char *text = timeline(odd[i]);
        assert_non_null(strstr(text, "status -, outcome -"));
        free(text);
    }
}

static void test_no_control_character_comes_through(void **state)
{
    (void)state;
    static const char evil[] =
        "{\"req_id\":\"\\u001b]0;x\\u0007\",\"route\":\"\\u009b\",\"\\u001bkey\":\"\\u001bvalue\","
        "\"object\":{\"\\u001b\":\"\\u007f\"},\"events\":[{\"ts_ms\":0,\"type\":\"\\u001b\","
        "\"method\":\"\\r\\n\",\"\\u001b\":\"\\u0090\",\"deep\":[\"\\u0085\"]}]}";
    char *text = timeline(evil);
    for (const char *at = text; *at != '\0'; at++)
        assert_true(*at == '\n' || (*at >= ' ' && *at <= '~'));
    assert_non_null(strstr(text, "\\u001b]0;x\\u0007"));
    free(text);
}

static void test_a_row_of_the_table_is_a_trace_or_what_is_wrong_with_it(void **state)
{
    (void)state;
    struct buf out = BUF_INIT;
    json_t *value = json_parse(LITERAL(trace), NULL);
    struct trace_row row = { .timestamp = "2026-11-22T06:01:02.345Z",
                             .req_id = "req_0123456789abcdefABCDEF01",
                             .trace = value,
                             .bytes = 3 * 1024 * 1024 };
    trace_table_begin(&out);
    trace_table_add(&out, &row);
    row.trace = NULL;
    row.wrong = "is damaged";
    trace_table_add(&out, &row);
    assert_string_equal(buf_str(&out),
                        "TIME                      REQUEST                       STATUS  OUTCOME   "
                        "                  "
                        "DURATION    EVENTS  SIZE       ROUTE\n"
                        "2026-11-22T06:01:02.345Z  req_0123456789abcdefABCDEF01  502     worker    "
                        "                  "
                        "41 ms       6       3.0 MiB    /v1/x\n"
                        "2026-11-22T06:01:02.345Z  req_0123456789abcdefABCDEF01  is damaged\n");
    json_decref(value);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_timeline_says_what_went_where_when),
        cmocka_unit_test(test_whatever_the_json_lacks_is_a_dash),
        cmocka_unit_test(test_no_control_character_comes_through),
        cmocka_unit_test(test_a_row_of_the_table_is_a_trace_or_what_is_wrong_with_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
