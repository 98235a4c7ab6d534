/* The head check: what it lets pass, what it refuses and why, in whatever pieces it comes. */
#include "head_check.h"

#include "buf.h"
#include "unit.h"

#define HOST "Host: x\r\n"
#define GET "GET / HTTP/1.1\r\n"
#define POST "POST /v1/chat/completions HTTP/1.1\r\n" HOST

struct row {
    const char *bytes;
    size_t len;
    enum head_fault fault;
};

#define ROW(text, fault)                                                                           \
    {                                                                                              \
        LITERAL(text), fault                                                                       \
    }

static const struct row good[] = {
    ROW(GET HOST "\r\n", HEAD_FINE),
    ROW("\r\n" GET HOST "\r\n", HEAD_FINE),
    ROW("GET / HTTP/1.0\r\n\r\n", HEAD_FINE),
    ROW("GET / HTTP/1.0\r\n" HOST "\r\n", HEAD_FINE),
    ROW("get / HTTP/1.1\r\n" HOST "\r\n", HEAD_FINE),
    ROW("M-SEARCH!#$%&'*+.^_`|~09 * HTTP/1.1\r\n" HOST "\r\n", HEAD_FINE),
    ROW("GET http://x:80/livez?a=b HTTP/1.1\r\n" HOST "\r\n", HEAD_FINE),
    ROW("CONNECT x:443 HTTP/1.1\r\n" HOST "\r\n", HEAD_FINE),
    ROW(GET "hOsT:\r\n\r\n", HEAD_FINE),
    ROW(GET "Host:\t [::1]:8080 \t\r\n\r\n", HEAD_FINE),
    ROW(GET "Host: a.b-c_d.example:1\r\n\r\n", HEAD_FINE),
    ROW(GET HOST "Hostile: 1\r\nHos: 2\r\nX-Host: 3\r\n\r\n", HEAD_FINE),
    ROW(GET HOST "a:\r\nb: \t \r\nc:d\r\nc:d\r\n\r\n", HEAD_FINE),
    ROW(GET HOST "x: \x80\xff\t\xc3\xa4 ~\r\n\r\n", HEAD_FINE),
    ROW(GET HOST "Transfer-Encodings: x\r\nTransfer-Encodin: y\r\n\r\n", HEAD_FINE),
    ROW(POST "Content-Length: 0\r\n\r\n", HEAD_FINE),
    ROW(POST "content-length:\t12 \r\n\r\n", HEAD_FINE),
    ROW(POST "Content-Length: 0000000000000000000000000000012\r\n\r\n", HEAD_FINE),
    ROW(POST "Content-Length: 9223372036854775807\r\n\r\n", HEAD_FINE),
    ROW(POST "Transfer-Encoding: chunked\r\n\r\n", HEAD_FINE),
    ROW(POST "TRANSFER-ENCODING:ChunkeD \t\r\n\r\n", HEAD_FINE),
    ROW(POST "Expect: 100-continue\r\nContent-Length: 1\r\n\r\n", HEAD_FINE),
};

static const struct row bad[] = {
    /* the request line */
    ROW("\r\n\r\nGET", HEAD_BAD_METHOD),
    ROW("\nGET", HEAD_BAD_METHOD),
    ROW("\rGET", HEAD_BARE_CR),
    ROW(" GET", HEAD_BAD_METHOD),
    ROW("\0", HEAD_BAD_METHOD),
    ROW("GE\0T", HEAD_BAD_METHOD),
    ROW("GET\t", HEAD_BAD_METHOD),
    ROW("GET\r", HEAD_BAD_METHOD),
    ROW("G(T", HEAD_BAD_METHOD),
    ROW("G:T", HEAD_BAD_METHOD),
    ROW("G\x80", HEAD_BAD_METHOD),
    ROW("\x16\x03\x01\x02", HEAD_BAD_METHOD),
    ROW("GET  /", HEAD_BAD_TARGET),
    ROW("GET /\t", HEAD_BAD_TARGET),
    ROW("GET /\0", HEAD_BAD_TARGET),
    ROW("GET /\x7f", HEAD_BAD_TARGET),
    ROW("GET /\xc3", HEAD_BAD_TARGET),
    ROW("GET /\r\n", HEAD_BAD_VERSION),
    ROW("GET /\n", HEAD_BAD_VERSION),
    ROW("GET / \r\n", HEAD_BAD_VERSION),
    ROW("GET / http/1.1", HEAD_BAD_VERSION),
    ROW("GET /  HTTP/1.1", HEAD_BAD_VERSION),
    ROW("GET / HTTP/1.2", HEAD_BAD_VERSION),
    ROW("GET / HTTP/1.9", HEAD_BAD_VERSION),
    ROW("GET / HTTP/1.10", HEAD_BAD_VERSION),
    ROW("GET / HTTP/1.01", HEAD_BAD_VERSION),
    ROW("GET / HTTP/0.9", HEAD_BAD_VERSION),
    ROW("GET / HTTP/2", HEAD_BAD_VERSION),
    ROW("GET / HTTP/1.1 ", HEAD_BAD_VERSION),
    ROW("GET / HTTP/1.1 x", HEAD_BAD_VERSION),
    ROW("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HEAD_BAD_VERSION),
    ROW("GET / HTTP/1.1\n", HEAD_BARE_LF),
    ROW("GET / HTTP/1.1\r\r\n", HEAD_BARE_CR),
    ROW("GET / HTTP/1.1\rHost: x", HEAD_BARE_CR),
    /* names */
    ROW(GET " x: y", HEAD_FOLDED),
    ROW(GET HOST " folded", HEAD_FOLDED),
    ROW(GET HOST "\tfolded", HEAD_FOLDED),
    ROW(GET HOST " \r\n\r\n", HEAD_FOLDED),
    ROW(GET ": x", HEAD_BAD_NAME),
    ROW(GET "Host : x", HEAD_BAD_NAME),
    ROW(GET "Host\t: x", HEAD_BAD_NAME),
    ROW(GET "Ho st: x", HEAD_BAD_NAME),
    ROW(GET "Host\r\n", HEAD_BAD_NAME),
    ROW(GET "Host\n", HEAD_BARE_LF),
    ROW(GET "H\0st:", HEAD_BAD_NAME),
    ROW(GET "\0", HEAD_BAD_NAME),
    ROW(GET "H\x80:", HEAD_BAD_NAME),
    ROW(GET "(x): y", HEAD_BAD_NAME),
    ROW(GET "\n", HEAD_BARE_LF),
    /* values */
    ROW(GET HOST "a: b\nc", HEAD_BARE_LF),
    ROW(GET HOST "a: b\rc", HEAD_BARE_CR),
    ROW(GET HOST "a: b\r\r\n", HEAD_BARE_CR),
    ROW(GET HOST "a: b\0", HEAD_BAD_VALUE),
    ROW(GET HOST "a: \x01", HEAD_BAD_VALUE),
    ROW(GET HOST "a: b\x7f", HEAD_BAD_VALUE),
    ROW(GET HOST "a: b\x1b[", HEAD_BAD_VALUE),
    ROW(GET HOST "\n", HEAD_BARE_LF),
    ROW(GET HOST "\r\r", HEAD_BARE_CR),
    /* Host */
    ROW(GET "\r\n", HEAD_NO_HOST),
    ROW(GET "Hos: x\r\n\r\n", HEAD_NO_HOST),
    ROW(GET HOST HOST, HEAD_MANY_HOSTS),
    ROW(GET HOST "hOST:", HEAD_MANY_HOSTS),
    ROW("GET / HTTP/1.0\r\n" HOST HOST, HEAD_MANY_HOSTS),
    ROW(GET "Host: a b", HEAD_BAD_HOST),
    ROW(GET "Host: a,b", HEAD_BAD_HOST),
    ROW(GET "Host: a/b", HEAD_BAD_HOST),
    ROW(GET "Host: u@b", HEAD_BAD_HOST),
    ROW(GET "Host: \xc3\xa4", HEAD_BAD_HOST),
    /* Content-Length */
    ROW(POST "Content-Length: 1\r\nContent-Length: 1\r\n", HEAD_MANY_LENGTHS),
    ROW(POST "Content-Length: 1\r\ncontent-length: 2\r\n", HEAD_MANY_LENGTHS),
    ROW(POST "Content-Length:\r\n", HEAD_BAD_LENGTH),
    ROW(POST "Content-Length: \t \r\n", HEAD_BAD_LENGTH),
    ROW(POST "Content-Length: +7", HEAD_BAD_LENGTH),
    ROW(POST "Content-Length: -1", HEAD_BAD_LENGTH),
    ROW(POST "Content-Length: 0x7", HEAD_BAD_LENGTH),
    ROW(POST "Content-Length: 7, 7", HEAD_BAD_LENGTH),
    ROW(POST "Content-Length: 7 7", HEAD_BAD_LENGTH),
    ROW(POST "Content-Length: 7.0", HEAD_BAD_LENGTH),
    ROW(POST "Content-Length: 1e3", HEAD_BAD_LENGTH),
    ROW(POST "Content-Length: \"7\"", HEAD_BAD_LENGTH),
    ROW(POST "Content-Length: \xd9\xa7", HEAD_BAD_LENGTH),
    ROW(POST "Content-Length: 18446744073709551616", HEAD_BAD_LENGTH),
    ROW(POST "Content-Length: 99999999999999999999999999999", HEAD_BAD_LENGTH),
    /* Transfer-Encoding */
    ROW(POST "Transfer-Encoding:\r\n", HEAD_BAD_ENCODING),
    ROW(POST "Transfer-Encoding: chunke\r\n", HEAD_BAD_ENCODING),
    ROW(POST "Transfer-Encoding: chunkedd", HEAD_BAD_ENCODING),
    ROW(POST "Transfer-Encoding: xchunked", HEAD_BAD_ENCODING),
    ROW(POST "Transfer-Encoding: gzip, chunked", HEAD_BAD_ENCODING),
    ROW(POST "Transfer-Encoding: chunked, chunked", HEAD_BAD_ENCODING),
    ROW(POST "Transfer-Encoding: chunked;x=1", HEAD_BAD_ENCODING),
    ROW(POST "Transfer-Encoding: chunk ed", HEAD_BAD_ENCODING),
    ROW(POST "Transfer-Encoding: identity", HEAD_BAD_ENCODING),
    ROW(POST "Transfer-Encoding: \"chunked\"", HEAD_BAD_ENCODING),
    ROW(POST "Transfer-Encoding: \x0b"
             "chunked",
        HEAD_BAD_VALUE),
    ROW(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", HEAD_MANY_ENCODINGS),
    ROW(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", HEAD_MANY_ENCODINGS),
    ROW(POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", HEAD_ENCODING_AND_LENGTH),
    ROW(POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", HEAD_ENCODING_AND_LENGTH),
    ROW(POST "Transfer-Encoding : chunked\r\n", HEAD_BAD_NAME),
    ROW(POST "Content-Length: 5\r\n\tTransfer-Encoding: chunked\r\n", HEAD_FOLDED),
    ROW("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", HEAD_ENCODING_IN_1_0),
};

/* Every cut into two pieces, and byte by byte, comes to the same. */
static void assert_verdict(const struct row *row, enum head_verdict wanted)
{
    struct head_check whole = { 0 };
    if (head_check(&whole, row->bytes, row->len) != wanted || whole.fault != row->fault)
        fail_msg("%.*s: %s", (int)row->len, row->bytes, head_fault_name(whole.fault));
    for (size_t cut = 0; cut <= row->len; cut++) {
        struct head_check h = { 0 };
        (void)head_check(&h, row->bytes, cut);
        assert_int_equal(head_check(&h, row->bytes, row->len), wanted);
        assert_int_equal(h.fault, row->fault);
        assert_int_equal(h.at, whole.at);
    }
    struct head_check h = { 0 };
    for (size_t len = 0; len <= row->len; len++)
        (void)head_check(&h, row->bytes, len);
    assert_int_equal(h.fault, row->fault);
    assert_int_equal(h.at, whole.at);
}

static void test_good_heads_pass(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(good); i++)
        assert_verdict(&good[i], HEAD_OK);
}

static void test_bad_heads_are_refused_with_their_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_verdict(&bad[i], HEAD_BAD);
}

static void test_a_start_of_a_good_head_wants_more(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        for (size_t len = 0; len < good[i].len; len++) {
            struct head_check h = { 0 };
            assert_int_equal(head_check(&h, good[i].bytes, len), HEAD_MORE);
        }
    }
}

static void test_what_follows_a_head_is_left_alone(void **state)
{
    (void)state;
    static const char head[] = POST "Content-Length: 3\r\n\r\n";
    static const char all[] = POST "Content-Length: 3\r\n\r\n\0\n\r";
    struct head_check h = { 0 };
    assert_int_equal(head_check(&h, LITERAL(all)), HEAD_OK);
    assert_int_equal(h.at, sizeof(head) - 1);
    assert_int_equal(h.content_length, 3);
    assert_false(head_is_chunked(&h));
    assert_int_equal(head_check(&h, LITERAL(all)), HEAD_OK);
    assert_int_equal(h.at, sizeof(head) - 1);
}

static void test_the_facts_of_a_head_are_kept(void **state)
{
    (void)state;
    struct head_check chunked = { 0 };
    assert_int_equal(head_check(&chunked, LITERAL(POST "Transfer-Encoding: chunked\r\n\r\n")),
                     HEAD_OK);
    assert_true(head_is_chunked(&chunked));
    assert_int_equal(chunked.minor, 1);
    struct head_check old = { 0 };
    assert_int_equal(head_check(&old, LITERAL("GET / HTTP/1.0\r\nContent-Length: 007\r\n\r\n")),
                     HEAD_OK);
    assert_int_equal(old.minor, 0);
    assert_int_equal(old.content_length, 7);
}

/* A head with a target of `target` bytes and a field that fills it up to `total`; 0: no field. */
static struct buf make_head(size_t target, size_t total)
{
    struct buf b = BUF_INIT;
    buf_puts(&b, "GET ");
    for (size_t i = 0; i < target; i++)
        buf_putc(&b, '/');
    buf_puts(&b, " HTTP/1.1\r\n" HOST);
    if (total != 0)
        buf_puts(&b, "x: ");
    while (b.len + strlen("\r\n\r\n") < total)
        buf_putc(&b, 'v');
    buf_puts(&b, total != 0 ? "\r\n\r\n" : "\r\n");
    return b;
}

static void assert_head(size_t target, size_t total, enum head_fault fault)
{
    struct buf b = make_head(target, total);
    struct head_check h = { 0 };
    assert_int_equal(head_check(&h, b.data, b.len), fault == HEAD_FINE ? HEAD_OK : HEAD_BAD);
    assert_int_equal(h.fault, fault);
    assert_true(h.at <= HEAD_BYTES_MAX);
    buf_free(&b);
}

static void test_sizes_are_bounded(void **state)
{
    (void)state;
    assert_head(HEAD_TARGET_MAX, 0, HEAD_FINE);
    assert_head(HEAD_TARGET_MAX + 1, 0, HEAD_TARGET_TOO_LONG);
    assert_head(HEAD_BYTES_MAX * 10, 0, HEAD_TARGET_TOO_LONG);
    assert_head(1, HEAD_BYTES_MAX, HEAD_FINE);
    assert_head(1, HEAD_BYTES_MAX + 1, HEAD_TOO_LARGE);
    assert_head(1, HEAD_BYTES_MAX * 10, HEAD_TOO_LARGE);
}

static void test_a_long_method_or_name_is_read_to_its_end(void **state)
{
    (void)state;
    char text[1000];
    memset(text, 'M', sizeof(text));
    struct buf b = BUF_INIT;
    buf_append(&b, text, sizeof(text));
    buf_puts(&b, " / HTTP/1.1\r\n" HOST);
    buf_append(&b, text, sizeof(text));
    buf_puts(&b, ": x\r\n\r\n");
    struct head_check h = { 0 };
    assert_int_equal(head_check(&h, b.data, b.len), HEAD_OK);
    buf_free(&b);
}

static void test_headers_are_counted(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    buf_puts(&b, GET HOST);
    for (int i = 1; i < HEAD_FIELDS_MAX; i++)
        buf_puts(&b, "a: b\r\n");
    struct head_check h = { 0 };
    assert_int_equal(head_check(&h, b.data, b.len), HEAD_MORE);
    struct head_check full = h;
    buf_puts(&b, "\r\n");
    assert_int_equal(head_check(&full, b.data, b.len), HEAD_OK);
    b.len -= 2;
    buf_puts(&b, "a: b\r\n");
    assert_int_equal(head_check(&h, b.data, b.len), HEAD_BAD);
    assert_int_equal(h.fault, HEAD_TOO_MANY_FIELDS);
    buf_free(&b);
}

/* Each byte at each place of a head, by class: what may stand in a method, a target, a name and a value. */
static void test_every_byte_has_its_places(void **state)
{
    (void)state;
    static const char token[] =
        "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for (int c = 0; c < 256; c++) {
        bool in_token = c != 0 && strchr(token, c) != NULL;
        const struct {
            const char *before;
            const char *after;
            bool fits;
        } places[] = {
            { "G", "T / HTTP/1.1\r\n" HOST "\r\n", in_token },
            { "GET /", "x HTTP/1.1\r\n" HOST "\r\n", c > ' ' && c < 0x7f },
            { GET HOST "a", "b: c\r\n\r\n", in_token || c == ':' },
            { GET HOST "a: b", "c\r\n\r\n", c == '\t' || (c >= ' ' && c != 0x7f) },
        };
        for (size_t i = 0; i < COUNT_OF(places); i++) {
            struct buf b = BUF_INIT;
            buf_puts(&b, places[i].before);
            buf_putc(&b, (char)c);
            buf_puts(&b, places[i].after);
            struct head_check h = { 0 };
            if ((head_check(&h, b.data, b.len) == HEAD_OK) != places[i].fits)
                fail_msg("byte %d at place %zu: %s", c, i, head_fault_name(h.fault));
            buf_free(&b);
        }
    }
}

static void test_every_fault_has_a_name_a_status_and_a_message(void **state)
{
    (void)state;
    for (int f = HEAD_FINE + 1; f < HEAD_FAULT_COUNT; f++) {
        int status = head_fault_status((enum head_fault)f);
        assert_true(status == 400 || status == 414 || status == 431);
        assert_non_null(head_fault_name((enum head_fault)f));
        assert_true(strlen(head_fault_message((enum head_fault)f)) > 10);
        for (int other = HEAD_FINE; other < f; other++)
            assert_string_not_equal(head_fault_name((enum head_fault)f),
                                    head_fault_name((enum head_fault)other));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_heads_pass),
        cmocka_unit_test(test_bad_heads_are_refused_with_their_reason),
        cmocka_unit_test(test_a_start_of_a_good_head_wants_more),
        cmocka_unit_test(test_what_follows_a_head_is_left_alone),
        cmocka_unit_test(test_the_facts_of_a_head_are_kept),
        cmocka_unit_test(test_sizes_are_bounded),
        cmocka_unit_test(test_a_long_method_or_name_is_read_to_its_end),
        cmocka_unit_test(test_headers_are_counted),
        cmocka_unit_test(test_every_byte_has_its_places),
        cmocka_unit_test(test_every_fault_has_a_name_a_status_and_a_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
