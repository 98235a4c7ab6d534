/* The model stub: its HTTP reader, its scenario language, and what a client on the loopback sees of it. */
#include "buf.h"
#include "json.h"
#include "model_stub.h"
#include "scenario.h"
#include "stub_answer.h"
#include "stub_http.h"
#include "stub_speech.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define GUARD_MS 60000 /* no test of the loop may take longer */

/* ---- requests ---- */

static const char whole_chunked[] =
    "POST /v1/responses?a=b HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nx-a:2 \r\n"
    "Transfer-Encoding: chunked\r\n\r\n"
    "5;ext=1\r\nhello\r\n00000001\r\n \r\nA\r\nwörld\n12\r\r\n"
    "0\r\nTrailer: t\r\n\r\n";

static void assert_is_chunked_request(const struct stub_request *r)
{
    assert_string_equal(r->method, "POST");
    assert_string_equal(r->path, "/v1/responses");
    assert_string_equal(r->query, "a=b");
    assert_string_equal(json_str_at(r->headers, "x-a"), "1, 2");
    assert_int_equal(r->body.len, 16);
    assert_memory_equal(r->body.data, "hello wörld\n12\r", 16);
    assert_true(r->keep_alive);
}

static void test_a_request_reads_the_same_in_whatever_pieces_it_arrives(void **state)
{
    (void)state;
    for (size_t piece = 1; piece < sizeof(whole_chunked); piece++) {
        struct stub_http h;
        stub_http_init(&h);
        enum stub_http_result result = STUB_HTTP_MORE;
        const char *why = "";
        size_t used = 0;
        for (size_t at = 0; at < sizeof(whole_chunked) - 1; at += used) {
            size_t left = sizeof(whole_chunked) - 1 - at;
            assert_int_equal(result, STUB_HTTP_MORE);
            result =
                stub_http_feed(&h, whole_chunked + at, left < piece ? left : piece, &used, &why);
        }
        assert_int_equal(result, STUB_HTTP_DONE);
        assert_is_chunked_request(&h.request);
        stub_http_free(&h);
    }
}

static void test_bytes_behind_a_request_are_left_for_the_next(void **state)
{
    (void)state;
    const char two[] =
        "\r\nPOST / HTTP/1.1\r\nContent-Length: 2\r\nConnection: close\r\n\r\nabGET /";
    struct stub_http h;
    stub_http_init(&h);
    size_t used = 0;
    const char *why = "";
    assert_int_equal(stub_http_feed(&h, two, strlen(two), &used, &why), STUB_HTTP_DONE);
    assert_string_equal(two + used, "GET /");
    assert_string_equal(buf_str(&h.request.body), "ab");
    assert_false(h.request.keep_alive);
    stub_http_free(&h);
    stub_http_free(&h);
}

static void test_requests_of_unclear_framing_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "GET / HTTP/1.0\r\n",
        "GET  / HTTP/1.1\r\n",
        "GET http://x/ HTTP/1.1\r\n",
        "\x16\x03\x01\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n",
        "GET / HTTP/1.1\r\na: b\r\n folded\r\n",
        "GET / HTTP/1.1\r\na: \xff\r\n",
        "GET / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n",
        "GET / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        "GET / HTTP/1.1\r\ncontent-length: +1\r\n\r\n",
        "GET / HTTP/1.1\r\ncontent-length: 67108865\r\n\r\n",
        "GET / HTTP/1.1\r\ncontent-length: 18446744073709551617\r\n\r\n",
        "GET / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        "GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nz\r\n",
        "GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n11111111111111111\r\n",
        "GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct stub_http h;
        stub_http_init(&h);
        size_t used;
        const char *why = NULL;
        assert_int_equal(stub_http_feed(&h, bad[i], strlen(bad[i]), &used, &why), STUB_HTTP_BAD);
        assert_non_null(why);
        stub_http_free(&h);
    }
}

static void test_an_endless_head_is_refused(void **state)
{
    (void)state;
    struct stub_http h;
    stub_http_init(&h);
    size_t used;
    const char *why = NULL;
    const char start[] = "GET / HTTP/1.1\r\n";
    enum stub_http_result result = stub_http_feed(&h, start, strlen(start), &used, &why);
    size_t fed = 0;
    for (; result == STUB_HTTP_MORE && fed <= STUB_HTTP_HEAD_MAX; fed += 8)
        result = stub_http_feed(&h, "a: bcd\r\n", 8, &used, &why);
    assert_int_equal(result, STUB_HTTP_BAD);
    assert_string_equal(why, "the head is too large");
    stub_http_free(&h);
}

/* ---- speech ---- */

/* What a step says, its pieces joined by '|'. */
static char *pieces_of(const char *step_json)
{
    json_t *step = json_loads(step_json, 0, NULL);
    const json_t *text = json_object_get(step, "text");
    struct stub_speech s;
    struct buf piece = BUF_INIT;
    struct buf all = BUF_INIT;
    stub_speech_begin(&s, json_string_value(text), json_string_length(text), step);
    while (stub_speech_next(&s, &piece)) {
        buf_puts(&all, all.len != 0 ? "|" : "");
        buf_append(&all, piece.data, piece.len);
    }
    assert_true(stub_speech_over(&s));
    buf_free(&piece);
    json_decref(step);
    return buf_detach(&all);
}

static void assert_pieces(const char *step_json, const char *expected)
{
    char *pieces = pieces_of(step_json);
    assert_string_equal(pieces, expected);
    free(pieces);
}

static void test_texts_are_cut_between_code_points(void **state)
{
    (void)state;
    assert_pieces("{\"text\":\"\"}", "");
    assert_pieces("{\"text\":\"\",\"repeat\":9}", "");
    assert_pieces("{\"text\":\"hé🎉\",\"repeat\":2}", "hé🎉hé🎉");
    assert_pieces("{\"text\":\"hé🎉o\",\"cuts\":[1]}", "h|é|🎉|o");
    assert_pieces("{\"text\":\"abcdefgh\",\"cuts\":[1,3]}", "a|bcd|e|fgh");
    assert_pieces("{\"text\":\"ab\",\"cuts\":[3],\"repeat\":3}", "aba|bab");
    assert_pieces("{\"text\":\"ab\",\"cuts\":[200]}", "ab");
    assert_pieces("{\"text\":\"so  it is\",\"cuts\":\"words\"}", "so  |it |is");
}

static void test_random_cuts_are_the_same_for_the_same_seed(void **state)
{
    (void)state;
    char *a = pieces_of("{\"text\":\"é\",\"repeat\":500,\"random_cuts\":7}");
    char *b = pieces_of("{\"text\":\"é\",\"repeat\":500,\"random_cuts\":7}");
    char *c = pieces_of("{\"text\":\"é\",\"repeat\":500,\"random_cuts\":8}");
    assert_string_equal(a, b);
    assert_string_not_equal(a, c);
    assert_true(strlen(a) > 1000 + 500 / STUB_SPEECH_RANDOM_CUT_MAX);
    free(a);
    free(b);
    free(c);
}

/* ---- scenarios ---- */

/* A request whose last user message is `text`. */
static json_t *request_saying(const char *text)
{
    return json_pack("{s:s, s:[{s:s, s:[{s:s, s:s}]}]}", "model", "m", "input", "role", "user",
                     "content", "type", "input_text", "text", text);
}

static void test_a_scenario_with_a_mistake_is_refused_with_its_reason(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *reason;
    } bad[] = {
        { "stub:", "" },
        { "stub:nonsense", "" },
        { "stub:[]", "not an object" },
        { "stub:{}", "either steps" },
        { "stub:{\"steps\":[],\"status\":200}", "either steps" },
        { "stub:{\"steps\":[],\"rounds\":[[]]}", "either steps" },
        { "stub:{\"steps\":{}}", "array of steps" },
        { "stub:{\"stepz\":[]}", "unknown member \"stepz\"" },
        { "stub:{\"rounds\":[]}", "array of arrays" },
        { "stub:{\"rounds\":[[],{}]}", "round 1: expects an array" },
        { "stub:{\"rounds\":[[],[{\"text\":1}]]}", "round 1: step 0: \"text\" expects a string" },
        { "stub:{\"steps\":[{\"text\":\"a\"},{}]}", "step 1: is not a step" },
        { "stub:{\"steps\":[{\"text\":\"a\",\"drop\":true}]}", "two steps in one" },
        { "stub:{\"steps\":[{\"text\":\"a\",\"speed\":1}]}", "takes no \"speed\"" },
        { "stub:{\"steps\":[{\"echo\":\"input\",\"repeat\":2}]}", "takes no \"repeat\"" },
        { "stub:{\"steps\":[{\"text\":\"a\",\"cuts\":[]}]}", "\"cuts\" expects" },
        { "stub:{\"steps\":[{\"text\":\"a\",\"cuts\":[0]}]}", "\"cuts\" expects" },
        { "stub:{\"steps\":[{\"text\":\"a\",\"cuts\":\"letters\"}]}", "\"cuts\" expects" },
        { "stub:{\"steps\":[{\"text\":\"a\",\"repeat\":67108865}]}", "too long" },
        { "stub:{\"steps\":[{\"pause_ms\":-1}]}", "milliseconds" },
        { "stub:{\"steps\":[{\"drop\":false}]}", "expects true" },
        { "stub:{\"steps\":[{\"tool_call\":{\"name\":\"f\",\"arguments\":{}}}]}", "\"arguments\"" },
        { "stub:{\"steps\":[{\"tool_call\":{\"name\":\"f\",\"arguments\":\"\",\"id\":1}}]}",
          "expects" },
        { "stub:{\"status\":99}", "200 to 599" },
        { "stub:{\"status\":500,\"headers\":{\"a\":\"b\\r\\nc: d\"}}", "object of strings" },
        { "stub:{\"preset\":\"nope\"}", "no such preset" },
        { "stub:{\"preset\":\"hang\",\"status\":500}", "either steps" },
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct buf why = BUF_INIT;
        json_t *request = request_saying(bad[i].text);
        assert_null(scenario_for(request, &why));
        assert_true(why.len != 0);
        assert_non_null(strstr(buf_str(&why), bad[i].reason));
        json_decref(request);
        buf_free(&why);
    }
}

/* The scenario of a request, as compact JSON, which the caller frees. */
static char *scenario_text(const char *request_json)
{
    struct buf why = BUF_INIT;
    json_t *request = json_loads(request_json, 0, NULL);
    assert_non_null(request);
    json_t *scenario = scenario_for(request, &why);
    assert_non_null(scenario);
    char *text = json_dumps(scenario, JSON_COMPACT);
    json_decref(scenario);
    json_decref(request);
    buf_free(&why);
    return text;
}

static void assert_scenario(const char *request_json, const char *expected)
{
    char *text = scenario_text(request_json);
    assert_string_equal(text, expected);
    free(text);
}

#define USER(text) "{\"role\":\"user\",\"content\":\"" text "\"}"
#define SAY(text) "stub:{\\\"steps\\\":[{\\\"text\\\":\\\"" text "\\\"}]}"

static void test_the_last_user_message_decides(void **state)
{
    (void)state;
    assert_scenario("{\"input\":[" USER(SAY("a")) "," USER(SAY("b")) ",{\"role\":\"assistant\","
                                                                     "\"content\":\"c\"}]}",
                    "{\"steps\":[{\"text\":\"b\"}]}");
    assert_scenario("{\"input\":\"" SAY("a") "\"}", "{\"steps\":[{\"text\":\"a\"}]}");
    assert_scenario(
        "{\"input\":[{\"role\":\"user\",\"content\":[{\"text\":\"" SAY(
            "a") "\"},"
                 "{\"text\":\"" SAY("b") "\"},{\"type\":\"input_image\"},{\"text\":\"c\"}]}]}",
        "{\"steps\":[{\"text\":\"b\"}]}");
}

static void test_any_other_message_gets_the_demo_answer(void **state)
{
    (void)state;
    static const char *const requests[] = {
        "{\"input\":[" USER(SAY("a")) "," USER("Good day") "]}",
        "{\"input\":[]}",
        "{}",
    };
    for (size_t i = 0; i < 3; i++) {
        char *text = scenario_text(requests[i]);
        assert_non_null(strstr(text, "demo model of codex-api"));
        assert_non_null(strstr(text, "scripts/login"));
        assert_int_equal(strstr(text, "Good day") != NULL, i == 0);
        free(text);
    }
}

static void test_the_demo_answer_bounds_what_it_repeats(void **state)
{
    (void)state;
    struct buf request = BUF_INIT;
    buf_puts(&request, "{\"input\":\"\\n");
    for (int i = 0; i < 5000; i++)
        buf_puts(&request, "é");
    buf_puts(&request, "\"}");
    char *text = scenario_text(buf_str(&request));
    assert_non_null(strstr(text, "“ ééé"));
    assert_non_null(strstr(text, "éé…”"));
    assert_true(strlen(text) < 1000);
    free(text);
    buf_free(&request);
}

static void test_members_are_laid_over_a_preset(void **state)
{
    (void)state;
    assert_scenario("{\"input\":\"stub:{\\\"preset\\\":\\\"silent\\\",\\\"delay_ms\\\":5}\"}",
                    "{\"steps\":[{\"hang\":true}],\"delay_ms\":5}");
}

#define CALL(name) "{\\\"tool_call\\\":{\\\"name\\\":\\\"" name "\\\",\\\"arguments\\\":\\\"\\\"}}"
#define OUTPUT(text) "{\"type\":\"function_call_output\",\"output\":\"" text "\"}"
#define ROUNDS                                                                                     \
    USER("stub:{\\\"rounds\\\":[[" CALL("f") "," CALL("g") "],[" CALL(                             \
        "h") "],[{\\\"text\\\":\\\"done\\\"}]]}")

static void test_a_round_is_due_until_all_its_calls_are_answered(void **state)
{
    (void)state;
    static const struct {
        const char *input;
        const char *due;
    } cases[] = {
        { OUTPUT("old") "," ROUNDS, "\"f\"" },
        { ROUNDS "," OUTPUT("1"), "\"f\"" },
        { ROUNDS "," OUTPUT("1") "," OUTPUT("2"), "\"h\"" },
        { ROUNDS "," OUTPUT("1") "," OUTPUT("2") "," OUTPUT("3"), "\"done\"" },
        { USER("stub:{\\\"steps\\\":[" CALL("f") "]}") "," OUTPUT("1"), "The tools answered: 1" },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char *request = xasprintf("{\"input\":[%s]}", cases[i].input);
        char *text = scenario_text(request);
        assert_non_null(strstr(text, cases[i].due));
        assert_null(strstr(text, "rounds"));
        free(text);
        free(request);
    }
}

/* ---- the server, over the loopback ---- */

struct client {
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_write_t write;
    char *request;  /* owned */
    struct buf got; /* owned; all that the stub sent */
    bool ended;     /* by the stub */
};

struct bench {
    uv_loop_t loop;
    uv_timer_t guard;
    struct model_stub *stub; /* owned */
    struct client client;
    char bytes[65536];
    bool stub_closed;
};

static void on_guard(uv_timer_t *timer)
{
    (void)timer;
    fputs("the test takes too long\n", stderr);
    abort(); /* and no longjmp: the loop is running */
}

static void on_client_alloc(uv_handle_t *handle, size_t size, uv_buf_t *ret_bytes)
{
    (void)size;
    struct bench *b = handle->data;
    *ret_bytes = uv_buf_init(b->bytes, sizeof(b->bytes));
}

static void on_client_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *bytes)
{
    struct bench *b = stream->data;
    if (len >= 0) {
        buf_append(&b->client.got, bytes->base, (size_t)len);
        return;
    }
    b->client.ended = true;
    uv_read_stop(stream);
}

static void on_client_connected(uv_connect_t *connect, int status)
{
    struct bench *b = connect->data;
    assert_int_equal(status, 0);
    uv_read_start((uv_stream_t *)&b->client.tcp, on_client_alloc, on_client_read);
}

static void bench_begin(struct bench *b, size_t journal_max)
{
    const struct model_stub_options options = { .journal_max = journal_max };
    const char *why = NULL;
    memset(b, 0, sizeof(*b));
    uv_loop_init(&b->loop);
    uv_timer_init(&b->loop, &b->guard);
    uv_timer_start(&b->guard, on_guard, GUARD_MS, 0);
    b->stub = model_stub_start(&b->loop, &options, &why);
    assert_non_null(b->stub);
}

/* Safe to repeat. */
static void client_leave(struct bench *b)
{
    if (b->client.tcp.data == NULL)
        return;
    uv_close((uv_handle_t *)&b->client.tcp, NULL);
    for (int i = 0; i < 3; i++)
        uv_run(&b->loop, UV_RUN_NOWAIT);
    free(b->client.request);
    buf_free(&b->client.got);
    memset(&b->client, 0, sizeof(b->client));
}

/* Leaves first, if connected. */
static void client_connect(struct bench *b)
{
    struct sockaddr_in address;
    client_leave(b);
    uv_ip4_addr("127.0.0.1", model_stub_port(b->stub), &address);
    uv_tcp_init(&b->loop, &b->client.tcp);
    b->client.tcp.data = b->client.connect.data = b;
    uv_tcp_connect(&b->client.connect, &b->client.tcp, (const struct sockaddr *)&address,
                   on_client_connected);
}

static void client_send(struct bench *b, char *request /* owned */)
{
    free(b->client.request);
    b->client.request = request;
    buf_clear(&b->client.got);
    uv_buf_t bytes = uv_buf_init(request, (unsigned)strlen(request));
    uv_write(&b->client.write, (uv_stream_t *)&b->client.tcp, &bytes, 1, NULL);
}

static void wait_for(struct bench *b, const char *text)
{
    while (strstr(buf_str(&b->client.got), text) == NULL) {
        assert_false(b->client.ended);
        uv_run(&b->loop, UV_RUN_ONCE);
    }
}

static bool ends_with(const struct buf *b, const char *end)
{
    size_t len = strlen(end);
    return b->len >= len && memcmp(b->data + b->len - len, end, len) == 0;
}

static bool is_whole_reply(struct bench *b)
{
    const char *got = buf_str(&b->client.got);
    const char *body = strstr(got, "\r\n\r\n");
    const char *length = strstr(got, "content-length: ");
    if (body == NULL)
        return false;
    if (length != NULL && length < body)
        return strlen(body + 4) >= (size_t)atol(length + strlen("content-length: "));
    return ends_with(&b->client.got, "\r\n0\r\n\r\n");
}

/* Sends a request on the open connection and returns the whole response, borrowed until the next one. */
static const char *ask(struct bench *b, char *request /* owned */)
{
    client_send(b, request);
    while (!is_whole_reply(b)) {
        assert_false(b->client.ended);
        uv_run(&b->loop, UV_RUN_ONCE);
    }
    return buf_str(&b->client.got);
}

static char *post_of(const char *path, const char *body)
{
    return xasprintf("POST %s HTTP/1.1\r\nauthorization: Bearer secret\r\n"
                     "content-length: %zu\r\n\r\n%s",
                     path, strlen(body), body);
}

static char *prompt(const char *text)
{
    json_t *request = request_saying(text);
    char *body = json_dumps(request, JSON_COMPACT);
    char *post = post_of("/v1/responses", body);
    free(body);
    json_decref(request);
    return post;
}

static void on_stub_closed(void *ctx)
{
    struct bench *b = ctx;
    b->stub_closed = true;
}

/* Whatever is still open when the stub is closed: nothing may keep the loop alive. */
static void bench_end(struct bench *b)
{
    client_leave(b);
    model_stub_close(b->stub, on_stub_closed, b);
    uv_close((uv_handle_t *)&b->guard, NULL);
    uv_run(&b->loop, UV_RUN_DEFAULT);
    assert_true(b->stub_closed);
    assert_int_equal(uv_loop_close(&b->loop), 0);
}

/* The journal, asked on a connection of its own. */
static json_t *journal_of(struct bench *b)
{
    client_connect(b);
    const char *reply = ask(b, xstrdup("GET /stub/requests HTTP/1.1\r\n\r\n"));
    json_t *journal = json_loads(strstr(reply, "\r\n\r\n") + 4, 0, NULL);
    assert_true(json_is_array(journal));
    return journal;
}

/* The events of a response: a new array of their data. */
static json_t *events_of(const char *reply)
{
    json_t *events = json_array();
    for (const char *newline; (newline = strchr(reply, '\n')) != NULL; reply = newline + 1) {
        if (strncmp(reply, "data: ", 6) != 0)
            continue;
        json_t *event = json_loadb(reply + 6, (size_t)(newline - reply) - 6, 0, NULL);
        assert_non_null(event);
        json_array_append_new(events, event);
    }
    return events;
}

static const char *type_at(const json_t *events, size_t i)
{
    const char *type = json_str_at(json_array_get(events, i), "type");
    return type != NULL ? type : "";
}

static const json_t *last_of(const json_t *events)
{
    return json_array_get(events, json_array_size(events) - 1);
}

/* All deltas of a type, joined by '|'. */
static char *deltas_of(const json_t *events, const char *type)
{
    struct buf all = BUF_INIT;
    for (size_t i = 0; i < json_array_size(events); i++) {
        if (strcmp(type_at(events, i), type) != 0)
            continue;
        buf_puts(&all, all.len != 0 ? "|" : "");
        buf_puts(&all, json_str_at(json_array_get(events, i), "delta"));
    }
    return buf_detach(&all);
}

static void assert_deltas(const json_t *events, const char *type, const char *expected)
{
    char *deltas = deltas_of(events, type);
    assert_string_equal(deltas, expected);
    free(deltas);
}

static json_t *play(struct bench *b, const char *text)
{
    const char *reply = ask(b, prompt(text));
    assert_memory_equal(reply, "HTTP/1.1 200 ", 13);
    return events_of(reply);
}

static void test_a_text_is_streamed_and_completed(void **state)
{
    struct bench *b = *state;
    client_connect(b);
    json_t *events =
        play(b, "stub:{\"steps\":[{\"text\":\"héllo\",\"cuts\":[2]},{\"text\":\"!\"}]}");
    assert_string_equal(type_at(events, 0), "response.created");
    assert_string_equal(type_at(events, 1), "response.output_item.added");
    assert_deltas(events, "response.output_text.delta", "hé|ll|o|!");
    const json_t *done = json_array_get(events, json_array_size(events) - 2);
    assert_string_equal(json_str_at(done, "type"), "response.output_item.done");
    assert_string_equal(json_str_at(json_array_get(json_at(done, "item.content"), 0), "text"),
                        "héllo!");
    assert_string_equal(json_str_at(last_of(events), "type"), "response.completed");
    assert_int_equal(json_int_at(last_of(events), "response.usage.output_tokens", -1), 2);
    json_decref(events);
}

static void test_a_connection_is_kept_for_more_requests(void **state)
{
    struct bench *b = *state;
    client_connect(b);
    for (int i = 0; i < 3; i++)
        json_decref(play(b, "stub:{\"steps\":[{\"text\":\"a\"}]}"));
    ask(b, xstrdup("GET /v1/models HTTP/1.1\r\n\r\n"));
    assert_memory_equal(buf_str(&b->client.got), "HTTP/1.1 200 ", 13);
    ask(b, xstrdup("GET /nowhere HTTP/1.1\r\n\r\nGET /no"));
    assert_memory_equal(buf_str(&b->client.got), "HTTP/1.1 404 ", 13);
    client_send(b, xstrdup("thing HTTP/1.1\r\nconnection: close\r\n\r\n"));
    while (!b->client.ended)
        uv_run(&b->loop, UV_RUN_ONCE);
    assert_memory_equal(buf_str(&b->client.got), "HTTP/1.1 404 ", 13);
}

static void test_a_chunked_body_is_read(void **state)
{
    struct bench *b = *state;
    client_connect(b);
    const char *reply =
        ask(b, xstrdup("POST /responses HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"
                       "d\r\n{\"input\":\"stu\r\n"
                       "24\r\nb:{\\\"steps\\\":[{\\\"text\\\":\\\"ok\\\"}]}\"}\r\n0\r\n\r\n"));
    json_t *events = events_of(reply);
    assert_deltas(events, "response.output_text.delta", "ok");
    json_decref(events);
}

static void test_a_bad_scenario_is_a_400_that_explains(void **state)
{
    struct bench *b = *state;
    client_connect(b);
    const char *reply = ask(b, prompt("stub:{\"steps\":[{\"txt\":\"a\"}]}"));
    assert_memory_equal(reply, "HTTP/1.1 400 ", 13);
    assert_non_null(strstr(reply, "step 0: is not a step"));
    reply = ask(b, post_of("/v1/responses", "[\"no object\"]"));
    assert_memory_equal(reply, "HTTP/1.1 400 ", 13);
}

static void test_reasoning_phases_and_usage_reach_the_client(void **state)
{
    struct bench *b = *state;
    client_connect(b);
    json_t *events = play(b, "stub:{\"steps\":[{\"reasoning\":[\"abc\",\"de\"],\"cuts\":[2]},"
                             "{\"message_start\":{\"phase\":\"commentary\"}},{\"text\":\"x\"},"
                             "{\"message_start\":{\"phase\":\"final_answer\"}},{\"text\":\"y\"}],"
                             "\"usage\":{\"input_tokens\":7}}");
    assert_deltas(events, "response.reasoning_summary_text.delta", "ab|c|de");
    assert_deltas(events, "response.output_text.delta", "x|y");
    assert_int_equal(json_int_at(last_of(events), "response.usage.input_tokens", -1), 7);
    const json_t *done = json_array_get(events, json_array_size(events) - 2);
    assert_string_equal(json_str_at(done, "item.phase"), "final_answer");
    assert_int_equal(json_int_at(done, "output_index", -1), 2);
    json_decref(events);
}

static void test_parallel_calls_keep_the_arguments_verbatim(void **state)
{
    struct bench *b = *state;
    client_connect(b);
    json_t *events = play(
        b, "stub:{\"steps\":[{\"tool_call\":{\"name\":\"f\",\"arguments\":\"{ \\\"x\\\":1 }\"}},"
           "{\"tool_call\":{\"name\":\"g\",\"arguments\":\"\",\"call_id\":\"mine\"}}]}");
    const json_t *first = json_array_get(events, 3);
    const json_t *second = json_array_get(events, 6);
    assert_string_equal(json_str_at(first, "type"), "response.output_item.done");
    assert_string_equal(json_str_at(first, "item.arguments"), "{ \"x\":1 }");
    assert_string_equal(json_str_at(first, "item.call_id"), "call_stub_1_0");
    assert_string_equal(json_str_at(second, "item.call_id"), "mine");
    assert_string_equal(json_str_at(last_of(events), "type"), "response.completed");
    json_decref(events);
}

static void test_an_echo_says_what_reached_the_model(void **state)
{
    struct bench *b = *state;
    client_connect(b);
    json_t *events = play(b, "stub:{\"steps\":[{\"echo\":\"model\"},{\"echo\":\"tools\"}]}");
    assert_deltas(events, "response.output_text.delta", "\"m\"|null");
    json_decref(events);
}

static void test_presets_fail_as_the_real_model_does(void **state)
{
    struct bench *b = *state;
    static const struct {
        const char *preset;
        const char *reply;
    } cases[] = {
        { "unauthorized", "HTTP/1.1 401 " },
        { "rate_limit", "HTTP/1.1 429 " },
        { "usage_limit", "\"usage_limit_reached\"" },
        { "server_error", "HTTP/1.1 500 " },
        { "overloaded", "\"server_is_overloaded\"" },
        { "bad_request", "HTTP/1.1 400 " },
        { "context_length", "response.failed" },
        { "max_output_tokens", "response.incomplete" },
        { "content_filter", "\"content_filter\"" },
        { "truncated", "no\"}\n\n\r\n0\r\n\r\n" },
        { "reasoning", "summary_part.added" },
        { "long", "lazy dog" },
    };
    client_connect(b);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char *text = xasprintf("stub:{\"preset\":\"%s\"}", cases[i].preset);
        assert_non_null(strstr(ask(b, prompt(text)), cases[i].reply));
        free(text);
    }
}

static void test_a_reply_has_the_headers_and_the_body_it_was_given(void **state)
{
    struct bench *b = *state;
    client_connect(b);
    const char *reply = ask(b, prompt("stub:{\"status\":418,\"body\":\"short and stout\","
                                      "\"headers\":{\"retry-after\":\"7\"},\"delay_ms\":5}"));
    assert_string_equal(reply, "HTTP/1.1 418 \r\ncontent-type: text/plain\r\nretry-after: 7\r\n"
                               "content-length: 15\r\n\r\nshort and stout");
}

static void test_a_drop_cuts_the_stream_short(void **state)
{
    struct bench *b = *state;
    client_connect(b);
    client_send(b, prompt("stub:{\"preset\":\"dropped\"}"));
    while (!b->client.ended)
        uv_run(&b->loop, UV_RUN_ONCE);
    assert_null(strstr(buf_str(&b->client.got), "\r\n0\r\n"));
    json_t *journal = journal_of(b);
    assert_string_equal(json_str_at(last_of(journal), "state"), "dropped");
    json_decref(journal);
}

static void test_a_client_that_leaves_is_noticed_at_once(void **state)
{
    struct bench *b = *state;
    enum { WORDS = 1000000 };
    static const char *const prompts[] = {
        "stub:{\"preset\":\"hang\"}",
        "stub:{\"steps\":[{\"text\":\"no\"},{\"pause_ms\":3600000}]}",
        "stub:{\"steps\":[{\"text\":\"no \",\"repeat\":1000000,\"cuts\":[1]}]}",
    };
    for (size_t i = 0; i < 3; i++) {
        client_connect(b);
        client_send(b, prompt(prompts[i]));
        wait_for(b, "output_text.delta");
        json_t *journal = journal_of(b);
        const json_t *record = last_of(journal);
        assert_string_equal(json_str_at(record, "state"), "client_closed");
        assert_in_range(json_int_at(record, "sent_deltas", 0), 1, WORDS / 2);
        assert_true(json_int_at(record, "closed_at_ms", 0) >= json_int_at(record, "at_ms", 1));
        json_decref(journal);
    }
}

static void test_a_long_text_in_short_cuts_arrives_whole(void **state)
{
    struct bench *b = *state;
    client_connect(b);
    client_send(b, prompt("stub:{\"steps\":[{\"text\":\"ab\",\"repeat\":10000,\"cuts\":[1]}]}"));
    while (!ends_with(&b->client.got, "\r\n0\r\n\r\n"))
        uv_run(&b->loop, UV_RUN_ONCE);
    json_t *events = events_of(buf_str(&b->client.got));
    assert_int_equal(json_array_size(events), 20000 + 4);
    const json_t *done = json_array_get(events, json_array_size(events) - 2);
    assert_int_equal(
        json_string_length(json_at(json_array_get(json_at(done, "item.content"), 0), "text")),
        20000);
    json_decref(events);
}

static void test_the_journal_keeps_the_last_requests_without_credentials(void **state)
{
    struct bench *b = *state; /* keeps four */
    client_connect(b);
    for (int i = 0; i < 6; i++)
        json_decref(play(b, "stub:{\"steps\":[{\"text\":\"a\"}]}"));
    json_t *journal = journal_of(b);
    assert_int_equal(json_array_size(journal), 4);
    const json_t *first = json_array_get(journal, 0);
    assert_int_equal(json_int_at(first, "n", 0), 3);
    assert_string_equal(json_str_at(first, "state"), "completed");
    assert_string_equal(json_str_at(first, "model"), "m");
    assert_string_equal(json_str_at(first, "body.model"), "m");
    assert_string_equal(json_str_at(first, "headers.authorization"), "Bearer");
    assert_int_equal(json_int_at(first, "sent_deltas", 0), 1);
    json_decref(journal);
    ask(b, xstrdup("DELETE /stub/requests HTTP/1.1\r\n\r\n"));
    journal = journal_of(b);
    assert_int_equal(json_array_size(journal), 0);
    json_decref(journal);
}

static void test_the_account_usage_is_what_a_test_has_set(void **state)
{
    struct bench *b = *state;
    const char get[] = "GET /backend-api/wham/usage HTTP/1.1\r\n\r\n";
    client_connect(b);
    assert_memory_equal(ask(b, xstrdup(get)), "HTTP/1.1 404 ", 13);
    ask(b, post_of("/stub/usage", "{\"plan_type\":\"plus\"}"));
    assert_memory_equal(ask(b, xstrdup(get)), "HTTP/1.1 200 ", 13);
    assert_non_null(strstr(buf_str(&b->client.got), "{\"plan_type\":\"plus\"}"));
    ask(b, post_of("/stub/usage?status=503", "{}"));
    assert_memory_equal(ask(b, xstrdup(get)), "HTTP/1.1 503 ", 13);
    ask(b, xstrdup("DELETE /stub/usage HTTP/1.1\r\n\r\n"));
    assert_memory_equal(ask(b, xstrdup(get)), "HTTP/1.1 404 ", 13);
}

static void test_a_stub_can_be_closed_in_the_middle_of_answers(void **state)
{
    struct bench *b = *state;
    client_connect(b);
    client_send(b, prompt("stub:{\"steps\":[{\"text\":\"a\"},{\"pause_ms\":3600000}]}"));
    wait_for(b, "output_text.delta");
    model_stub_close(b->stub, NULL, NULL);
    b->stub = NULL; /* the teardown closes it again: safe on NULL */
    while (!b->client.ended)
        uv_run(&b->loop, UV_RUN_ONCE);
}

static void test_a_port_in_use_is_an_error_that_leaves_nothing_behind(void **state)
{
    struct bench *b = *state;
    const struct model_stub_options taken = { .port = model_stub_port(b->stub) };
    const char *why = NULL;
    assert_null(model_stub_start(&b->loop, &taken, &why));
    assert_string_equal(why, "address already in use");
}

static void test_a_demo_has_no_journal(void **state)
{
    (void)state;
    struct bench b;
    bench_begin(&b, 0);
    client_connect(&b);
    assert_memory_equal(ask(&b, xstrdup("GET /stub/requests HTTP/1.1\r\n\r\n")), "HTTP/1.1 404 ",
                        13);
    json_t *events = play(&b, "Hello");
    char *said = deltas_of(events, "response.output_text.delta");
    assert_memory_equal(said, "Hello! |I |am |the |demo |", 26);
    free(said);
    json_decref(events);
    bench_end(&b);
}

static int setup(void **state)
{
    struct bench *b = xmalloc(sizeof(*b));
    bench_begin(b, 4);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    bench_end(*state);
    free(*state);
    return 0;
}

#define LOOP_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_request_reads_the_same_in_whatever_pieces_it_arrives),
        cmocka_unit_test(test_bytes_behind_a_request_are_left_for_the_next),
        cmocka_unit_test(test_requests_of_unclear_framing_are_refused),
        cmocka_unit_test(test_an_endless_head_is_refused),
        cmocka_unit_test(test_texts_are_cut_between_code_points),
        cmocka_unit_test(test_random_cuts_are_the_same_for_the_same_seed),
        cmocka_unit_test(test_a_scenario_with_a_mistake_is_refused_with_its_reason),
        cmocka_unit_test(test_the_last_user_message_decides),
        cmocka_unit_test(test_any_other_message_gets_the_demo_answer),
        cmocka_unit_test(test_the_demo_answer_bounds_what_it_repeats),
        cmocka_unit_test(test_members_are_laid_over_a_preset),
        cmocka_unit_test(test_a_round_is_due_until_all_its_calls_are_answered),
        LOOP_TEST(test_a_text_is_streamed_and_completed),
        LOOP_TEST(test_a_connection_is_kept_for_more_requests),
        LOOP_TEST(test_a_chunked_body_is_read),
        LOOP_TEST(test_a_bad_scenario_is_a_400_that_explains),
        LOOP_TEST(test_reasoning_phases_and_usage_reach_the_client),
        LOOP_TEST(test_parallel_calls_keep_the_arguments_verbatim),
        LOOP_TEST(test_an_echo_says_what_reached_the_model),
        LOOP_TEST(test_presets_fail_as_the_real_model_does),
        LOOP_TEST(test_a_reply_has_the_headers_and_the_body_it_was_given),
        LOOP_TEST(test_a_drop_cuts_the_stream_short),
        LOOP_TEST(test_a_client_that_leaves_is_noticed_at_once),
        LOOP_TEST(test_a_long_text_in_short_cuts_arrives_whole),
        LOOP_TEST(test_the_journal_keeps_the_last_requests_without_credentials),
        LOOP_TEST(test_the_account_usage_is_what_a_test_has_set),
        LOOP_TEST(test_a_stub_can_be_closed_in_the_middle_of_answers),
        LOOP_TEST(test_a_port_in_use_is_an_error_that_leaves_nothing_behind),
        cmocka_unit_test(test_a_demo_has_no_journal),
    };
    json_setup();
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
