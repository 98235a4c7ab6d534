/* The response parser of the load client: strict, and the same in whatever pieces the bytes come. */
#include "response.h"
#include "unit.h"

static void on_body(void *ctx, const char *data, size_t len)
{
    buf_append(ctx, data, len);
}

/* Feeds the text in pieces of `piece` bytes; returns how much was taken. */
static size_t feed(struct response *r, struct buf *body, const char *text, size_t piece)
{
    size_t len = strlen(text);
    size_t taken = 0;
    response_init(r);
    while (taken < len) {
        size_t some = len - taken < piece ? len - taken : piece;
        size_t now = response_feed(r, text + taken, some, on_body, body);
        taken += now;
        if (now < some)
            break;
    }
    return taken;
}

static void expect_body(const char *text, const char *wanted, bool at_eof)
{
    for (size_t piece = 1; piece <= strlen(text); piece++) {
        struct response r;
        struct buf body = BUF_INIT;
        assert_int_equal(feed(&r, &body, text, piece), strlen(text));
        assert_null(r.broken);
        assert_true(at_eof == (r.state != RESPONSE_DONE));
        assert_true(response_eof(&r));
        assert_string_equal(buf_str(&body), wanted);
        response_free(&r);
        buf_free(&body);
    }
}

static void test_bodies_of_each_kind_come_out_whole(void **state)
{
    (void)state;
    expect_body("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", false);
    expect_body("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "", false);
    expect_body("HTTP/1.1 200\r\n\r\nuntil\r\nthe end", "until\r\nthe end", true);
    expect_body("HTTP/1.1 204 No Content\r\n\r\n", "", false);
    expect_body("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"
                "3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n",
                "abc0123456789", false);
    expect_body("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n\n\r\n0\r\nx: y\r\n\r\n",
                "\n", false);
    expect_body("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx", "x",
                false);
}

static void test_the_head_is_understood(void **state)
{
    (void)state;
    static const struct {
        const char *head;
        int status;
        bool keep_alive;
        bool is_json;
        bool is_sse;
    } cases[] = {
        { "HTTP/1.1 429 Too Many\r\ncontent-type: application/json\r\ncontent-length: 1\r\n\r\n",
          429, true, true, false },
        { "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
          "transfer-encoding: chunked\r\n\r\n",
          200, true, false, true },
        { "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\n", 200, false, false,
          false },
        { "HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\n", 200, false, false, false },
        { "HTTP/1.1 200 OK\r\ncontent-type: text/event-streams\r\n\r\n", 200, false, false, false },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct response r;
        struct buf body = BUF_INIT;
        feed(&r, &body, cases[i].head, 7);
        assert_true(r.head_done);
        assert_int_equal(r.status, cases[i].status);
        assert_int_equal(r.keep_alive, cases[i].keep_alive);
        assert_int_equal(r.is_json, cases[i].is_json);
        assert_int_equal(r.is_sse, cases[i].is_sse);
        response_free(&r);
        buf_free(&body);
    }
}

static void test_what_a_server_may_not_send_is_an_error(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "HTTP/2.0 200 OK\r\n",
        "HTTP/1.1 20 OK\r\n",
        "HTTP/1.1 2000 OK\r\n",
        "HTTP/1.1 099 OK\r\n",
        "HTTP/1.1 200 OK\n",
        "\n",
        "\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n",
        "HTTP/1.1 200 OK\r\n folded: x\r\n",
        "HTTP/1.1 200 OK\r\nspace : x\r\n",
        "HTTP/1.1 200 OK\r\n: x\r\n",
        "HTTP/1.1 200 OK\r\na: b\rc\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1x\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length:\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 9999999999999999999\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n",
        "HTTP/1.1 101 Switching\r\n\r\n",
        "HTTP/1.1 100 Continue\r\ncontent-length: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n 1\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1111111111111111\r\n",
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        for (size_t piece = 1; piece <= 64; piece *= 8) {
            struct response r;
            struct buf body = BUF_INIT;
            feed(&r, &body, texts[i], piece);
            if (r.state != RESPONSE_BROKEN)
                fail_msg("taken: %s", texts[i]);
            assert_non_null(r.broken);
            assert_false(response_eof(&r));
            response_free(&r);
            buf_free(&body);
        }
    }
}

static void test_an_end_in_the_middle_is_seen(void **state)
{
    (void)state;
    static const char text[] = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
                               "5\r\nhello\r\n0\r\n\r\n";
    for (size_t len = 0; len < sizeof(text) - 1; len++) {
        struct response r;
        struct buf body = BUF_INIT;
        response_init(&r);
        assert_int_equal(response_feed(&r, text, len, on_body, &body), len);
        assert_false(response_eof(&r));
        response_free(&r);
        buf_free(&body);
    }
}

static void test_what_follows_a_response_is_not_taken(void **state)
{
    (void)state;
    static const char first[] = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    struct response r;
    struct buf text = BUF_INIT;
    struct buf body = BUF_INIT;
    buf_printf(&text, "%sHTTP/1.1 200 OK\r\n", first);
    assert_int_equal(feed(&r, &body, buf_str(&text), text.len), sizeof(first) - 1);
    assert_int_equal(r.state, RESPONSE_DONE);
    response_free(&r);
    buf_free(&text);
    buf_free(&body);
}

static void test_a_head_without_end_is_given_up(void **state)
{
    (void)state;
    static const char line[] = "x: 0123456789012345678901234567890123456789\r\n";
    struct response r;
    struct buf body = BUF_INIT;
    feed(&r, &body, "HTTP/1.1 200 OK\r\n", 99);
    for (size_t sent = 0; sent <= RESPONSE_HEAD_MAX_BYTES; sent += sizeof(line) - 1)
        response_feed(&r, LITERAL(line), on_body, &body);
    assert_int_equal(r.state, RESPONSE_BROKEN);
    response_free(&r);
    buf_free(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bodies_of_each_kind_come_out_whole),
        cmocka_unit_test(test_the_head_is_understood),
        cmocka_unit_test(test_what_a_server_may_not_send_is_an_error),
        cmocka_unit_test(test_an_end_in_the_middle_is_seen),
        cmocka_unit_test(test_what_follows_a_response_is_not_taken),
        cmocka_unit_test(test_a_head_without_end_is_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
