/* What the trace of a request says of its turns: every message in its true size, until the turn is no longer the request's. */
#include "log.h"
#include "trace.h"
#include "turn_bench.h"
#include "unit.h"

struct owner {
    struct turn *turn;
    struct turn_bench *bench;
    bool keeps;
};

static unsigned char digest[TURN_DIGEST_BYTES];

static void on_text(void *owner, const char *text, size_t len)
{
    (void)owner, (void)text, (void)len;
}

static void on_end(void *owner, const struct turn_end *end)
{
    struct owner *o = owner;
    if (o->keeps)
        turn_keep(end->turn, digest);
    o->turn = NULL;
}

static const struct turn_events events = { on_text, on_text, on_end };

static uint64_t now_ns(void)
{
    return 0;
}

/* Ends the trace; its events, which the caller frees. */
static json_t *take_events(struct trace *trace)
{
    const struct trace_summary summary = { .req_id = "req_1" };
    struct trace_record *record = trace_take(trace, &summary);
    struct buf out = BUF_INIT;
    trace_record_write(record, &out);
    json_t *value = json_parse(out.data, out.len, NULL);
    json_t *list = json_incref(json_object_get(value, "events"));
    json_decref(value);
    buf_free(&out);
    trace_record_free(record);
    return list;
}

/* The same, one a line: type, name and what this test looks at; the caller frees the text. */
static char *told(struct trace *trace)
{
    static const char *const members[] = { "state",  "outcome", "id",
                                           "answer", "count",   "http_status" };
    struct buf lines = BUF_INIT;
    size_t i = 0;
    const json_t *event = NULL;
    json_t *list = take_events(trace);
    json_array_foreach(list, i, event)
    {
        const char *method = json_str_at(event, "method");
        buf_puts(&lines, method != NULL ? json_str_at(event, "type") + 4 : "");
        buf_printf(&lines, " %s", method != NULL ? method : json_str_at(event, "event"));
        for (size_t m = 0; m < COUNT_OF(members); m++) {
            char *text = json_dumps(json_object_get(event, members[m]), JSON_ENCODE_ANY);
            if (text != NULL)
                buf_printf(&lines, " %s", text);
            free(text);
        }
        buf_putc(&lines, '\n');
    }
    json_decref(list);
    return buf_detach(&lines);
}

static void expect(struct trace *trace, const char *expected)
{
    char *text = told(trace);
    assert_string_equal(text, expected);
    free(text);
}

static struct trace *begin(struct turn_bench *b, struct owner *o)
{
    struct trace *trace = trace_new(now_ns, 0);
    struct turn_plan plan = turn_bench_plan();
    *o = (struct owner){ .bench = b };
    o->turn = turn_begin(b->turns, &plan, &events, o, trace);
    return trace;
}

#define OPENED                                                                                     \
    " turn \"opening\"\n"                                                                          \
    "request thread/start 1\n"                                                                     \
    "response thread/start \"ok\" 1\n"                                                             \
    " turn \"injecting\"\n"                                                                        \
    "request thread/inject_items 2\n"                                                              \
    "response thread/inject_items \"ok\" 2\n"                                                      \
    " turn \"starting\"\n"                                                                         \
    "request turn/start 3\n"                                                                       \
    "response turn/start \"ok\" 3\n"                                                               \
    " turn \"running\"\n"

static void test_a_turn_is_told_from_its_thread_to_its_end(void **state)
{
    (void)state;
    struct turn_bench b;
    struct owner o;
    turn_bench_begin(&b, BENCH_RPC_MS, BENCH_TURN_MS);
    struct trace *trace = begin(&b, &o);
    turn_bench_run(&b, 'a');
    turn_bench_delta(&b, 'a', "m1", "one");
    turn_bench_delta(&b, 'a', "m1", "two");
    turn_bench_response(&b, 'a');
    turn_bench_complete(&b, 'a', ",\"status\":\"completed\"");
    turn_bench_release(&b, 'a');
    expect(trace, OPENED "notification item/agentMessage/delta 2\n"
                         "notification rawResponse/completed\n"
                         "notification turn/completed\n"
                         " turn_end \"completed\"\n"
                         " turn \"releasing\"\n"
                         "request thread/unsubscribe 4\n"
                         "response thread/unsubscribe \"ok\" 4\n");
    trace_unref(trace);
    turn_bench_end(&b);
}

static void test_the_interrupt_of_a_client_that_left_is_told(void **state)
{
    (void)state;
    struct turn_bench b;
    struct owner o;
    turn_bench_begin(&b, BENCH_RPC_MS, BENCH_TURN_MS);
    struct trace *trace = begin(&b, &o);
    turn_bench_run(&b, 'a');
    turn_detach(o.turn);
    expect(trace, OPENED " turn \"interrupting\"\nrequest turn/interrupt 4\n");
    /* The request is over: what comes now is nobody's, and the turn holds the last reference. */
    trace_unref(trace);
    turn_bench_interrupt(&b, 'a');
    turn_bench_release(&b, 'a');
    turn_bench_end(&b);
}

static void test_a_turn_that_waits_is_told_to_whom_it_serves(void **state)
{
    (void)state;
    struct turn_bench b;
    struct owner o;
    struct owner next = { .bench = &b };
    turn_bench_begin_keeping(&b);
    struct trace *trace = begin(&b, &o);
    o.keeps = true;
    turn_bench_run(&b, 'a');
    turn_bench_call(&b, 'a', "c1", "look", "{}");
    turn_bench_ask(&b, 'a', "77", "c1");
    turn_bench_response(&b, 'a');
    turn_bench_ask(&b, 'a', "78", "c2"); /* calls may come after the response that holds them */
    expect(trace, OPENED "notification rawResponseItem/completed\n"
                         "server_request item/tool/call 77 false\n"
                         "notification rawResponse/completed\n"
                         " turn_end \"calls\"\n"
                         " turn \"parked\"\n"
                         "server_request item/tool/call 78 false\n");
    struct trace *second = trace_new(now_ns, 0);
    struct turn_result result = { "c1", json_pack("[{s:s}]", "text", "r") };
    next.turn = turn_resume(turns_find(b.turns, digest), &result, 1, &events, &next, second);
    wire_expect_answer(&b.wire, "77", "{\"contentItems\":[{\"text\":\"r\"}],\"success\":true}");
    expect(second, " turn \"resumed\"\n turn \"running\"\n"
                   "server_request item/tool/call 77 true\n");
    turn_bench_complete(&b, 'a', ",\"status\":\"completed\"");
    turn_bench_release(&b, 'a');
    trace_unref(trace);
    trace_unref(second);
    turn_bench_end(&b);
}

static void test_a_refused_call_and_a_lost_worker_are_told(void **state)
{
    (void)state;
    struct turn_bench b;
    struct owner o;
    turn_bench_begin(&b, BENCH_RPC_MS, BENCH_TURN_MS);
    struct trace *trace = begin(&b, &o);
    wire_answer_error(&b.wire, wire_expect(&b.wire, "thread/start", NULL), -32600, "secret");
    expect(trace, " turn \"opening\"\n"
                  "request thread/start 1\n"
                  "response thread/start \"error\" 1\n"
                  " turn_end \"failed\"\n"
                  " turn \"releasing\"\n");
    trace_unref(trace);
    trace = begin(&b, &o);
    turn_bench_open(&b, 'a');
    (void)wire_expect(&b.wire, "thread/inject_items", NULL);
    turns_worker_gone(b.turns);
    expect(trace, " turn \"opening\"\n"
                  "request thread/start 2\n"
                  "response thread/start \"ok\" 2\n"
                  " turn \"injecting\"\n"
                  "request thread/inject_items 3\n"
                  " turn_end \"lost\"\n");
    trace_unref(trace);
    turn_bench_end(&b);
}

static void test_a_status_of_the_upstream_is_told_when_there_is_one(void **state)
{
    (void)state;
    struct turn_bench b;
    struct owner o;
    turn_bench_begin(&b, BENCH_RPC_MS, BENCH_TURN_MS);
    struct trace *trace = begin(&b, &o);
    turn_bench_run(&b, 'a');
    turn_bench_complete(&b, 'a',
                        ",\"status\":\"failed\",\"error\":{\"message\":\"m\",\"codexErrorInfo\":"
                        "{\"httpConnectionFailed\":{\"httpStatusCode\":401}}}");
    turn_bench_release(&b, 'a');
    expect(trace, OPENED "notification turn/completed 401\n"
                         " turn_end \"failed\" 401\n"
                         " turn \"releasing\"\n"
                         "request thread/unsubscribe 4\n"
                         "response thread/unsubscribe \"ok\" 4\n");
    trace_unref(trace);
    turn_bench_end(&b);
}

/* A size is that of the line as it went over the pipe, with its newline. */
static void test_sizes_are_those_of_the_lines(void **state)
{
    (void)state;
    struct turn_bench b;
    struct owner o;
    turn_bench_begin(&b, BENCH_RPC_MS, BENCH_TURN_MS);
    struct trace *trace = begin(&b, &o);
    char *line = json_dumps(json_array_get(b.wire.sent, 0), JSON_COMPACT);
    (void)wire_expect(&b.wire, "thread/start", NULL);
    static const char answer[] = "{\"id\":1,\"result\":{\"thread\":{\"id\":\"thread_1\"}}}";
    assert_true(rpc_receive(b.wire.rpc, answer, strlen(answer)));
    (void)wire_expect(&b.wire, "thread/inject_items", NULL);
    json_t *list = take_events(trace);
    assert_int_equal(json_int_at(json_array_get(list, 1), "bytes", 0), strlen(line) + 1);
    assert_int_equal(json_int_at(json_array_get(list, 1), "tools", 0), 2);
    assert_int_equal(json_int_at(json_array_get(list, 2), "bytes", 0), sizeof(answer));
    assert_string_equal(json_str_at(json_array_get(list, 2), "thread_id"), "thread_1");
    assert_string_equal(json_str_at(json_array_get(list, 3), "thread_id"), "thread_1");
    json_decref(list);
    free(line);
    turns_worker_gone(b.turns);
    trace_unref(trace);
    turn_bench_end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_turn_is_told_from_its_thread_to_its_end),
        cmocka_unit_test(test_the_interrupt_of_a_client_that_left_is_told),
        cmocka_unit_test(test_a_turn_that_waits_is_told_to_whom_it_serves),
        cmocka_unit_test(test_a_refused_call_and_a_lost_worker_are_told),
        cmocka_unit_test(test_a_status_of_the_upstream_is_told_when_there_is_one),
        cmocka_unit_test(test_sizes_are_those_of_the_lines),
    };
    json_setup();
    log_set_level(LOG_SILENCE);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
