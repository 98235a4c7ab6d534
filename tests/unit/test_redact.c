/* What the scrubber makes of texts: what is around a secret stays, the result can be shown, and no text makes it slow. */
#include "unit.h"

#include "buf.h"
#include "drawn_text.h"
#include "hostile_text.h"
#include "json.h"
#include "redact.h"

#include <time.h>

static struct buf redacted(const char *text)
{
    struct buf out = BUF_INIT;
    redact_text(&out, text, strlen(text));
    return out;
}

static void check(const char *text, const char *wanted)
{
    struct buf out = redacted(text);
    assert_string_equal(buf_str(&out), wanted);
    buf_free(&out);
}

static void test_what_is_around_a_secret_stays(void **state)
{
    (void)state;
    check("key sk-0123456789abcdef, retry", "key [redacted], retry");
    check("{\"a\":1,\"api_key\":\"x\\\"y\",\"b\":2}",
          "{\"a\":1,\"api_key\":\"[redacted]\",\"b\":2}");
    check("{\\\"token\\\":\\\"abc123def\\\",\\\"b\\\":2}",
          "{\\\"token\\\":\\\"[redacted]\\\",\\\"b\\\":2}");
    check("?a=1&token=abcdef&b=2", "?a=1&token=[redacted]&b=2");
    check("a%3D1%26token%3Dabcdef%26b%3D2", "a%3D1%26token%3D[redacted]%26b%3D2");
    check("http://me:pw@host:1/p?q", "http://[redacted]@host:1/p?q");
    check("curl -H 'Authorization: Bearer x y' http://h",
          "curl -H 'Authorization: [redacted]' http://h");
    check("mail a@b.example now", "mail [redacted] now");
    check("Password: hunter2\nnext", "Password: [redacted]\nnext");
    check("<secret>x</secret>", "<secret>[redacted]</secret>");
    check("{\"credentials\":[\"a\",\"b\"],\"n\":1}", "{\"credentials\":[[redacted]],\"n\":1}");
}

static void test_what_is_no_secret_stays(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "password: null",
        "\"token\": null, \"key\": true",
        "\"api_key\": \"****\"",
        "Authorization: [redacted]",
        "\"max_tokens\": 4096, \"total_tokens\": 123456789",
        "unexpected token: expected an identifier",
        "if (token == TOKEN_END || key == NULL)",
        "Token::Identifier and secret::Key",
        "the key: patience",
        "sort_key=created_at&public_key=none",
        "basic authentication is required",
        "4111111111111112",
        "1767225600123456",
        "git@github.com:owner/repo.git",
        "https://user@localhost/",
        "commit 3f2a9c1b5d7e8f903f2a9c1b5d7e8f903f2a9c1b",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "/objects/9f86d081884c7d659a2feaa0c55ad015a3bf4f1b/x",
        "req_0123456789abcdefABCDEFGH chatcmpl-0123456789abcdefABCDEFGH",
        "0199a213-81c0-7800-8aa1-bbab2a035a53/0199a213-81c0-7800-8aa1-bbab2a035a53",
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        check(texts[i], texts[i]);
}

/* ---- PEM ---- */

static const char *const pem[] = {
    "-----BEGIN OPENSSH PRIVATE KEY-----",
    "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW",
    "QyNTUxOQAAACDlongLineOfTheKey",
    "short",
    "-----END OPENSSH PRIVATE KEY-----",
};

static void test_a_pem_block_goes_as_a_whole(void **state)
{
    (void)state;
    check("key:\n-----BEGIN RSA PRIVATE KEY-----\nabc\nshort\n-----END RSA PRIVATE KEY-----\nafter",
          "key:\n[redacted]\nafter");
    check("\"k\":\"-----BEGIN PRIVATE KEY-----\\nabc\\n-----END PRIVATE KEY-----\\n\",\"b\":1",
          "\"k\":\"[redacted]\\n\",\"b\":1");
    check("-----BEGIN%20PRIVATE%20KEY-----%0Aabc%0A-----END%20PRIVATE%20KEY-----%0Ax",
          "[redacted]%0Ax");
    check("-----BEGIN PRIVATE KEY-----\nabc", "[redacted]");
    check("----- BEGIN of the story -----", "----- BEGIN of the story -----");
}

static void test_a_pem_block_goes_line_by_line(void **state)
{
    (void)state;
    for (size_t skipped = 0; skipped <= COUNT_OF(pem); skipped++) {
        struct redact r = { .in_pem = false };
        for (size_t i = 0; i < COUNT_OF(pem); i++) {
            struct buf out = BUF_INIT;
            if (i == skipped) {
                redact_skip(&r, pem[i], strlen(pem[i]));
                continue;
            }
            redact_line(&r, &out, pem[i], strlen(pem[i]));
            assert_string_equal(buf_str(&out), REDACT_MARK);
            buf_free(&out);
            if (skipped == COUNT_OF(pem) - 1 && i == skipped - 1)
                assert_true(r.in_pem);
        }
        struct buf out = BUF_INIT;
        redact_line(&r, &out, LITERAL("after it"));
        assert_string_equal(buf_str(&out), "after it");
        buf_free(&out);
    }
}

static void test_a_pem_block_without_an_end_does_not_last_for_ever(void **state)
{
    (void)state;
    struct redact r = { .in_pem = false };
    size_t lines = 0;
    redact_skip(&r, pem[0], strlen(pem[0]));
    while (r.in_pem) {
        struct buf out = BUF_INIT;
        redact_line(&r, &out, LITERAL("an ordinary line"));
        assert_string_equal(buf_str(&out), REDACT_MARK);
        buf_free(&out);
        lines++;
    }
    assert_in_range(lines, REDACT_PEM_MAX / 16, REDACT_PEM_MAX / 16 + 1);
}

/* ---- text that is no text ---- */

static bool is_utf8(const struct buf *text)
{
    json_t *value = json_stringn(text->data != NULL ? text->data : "", text->len);
    json_decref(value);
    return value != NULL;
}

static void test_the_result_is_valid_and_harmless_text(void **state)
{
    (void)state;
    check("a\r\x01\x7f\x1b]b\tc\nd", "a????]b\tc\nd");
    check("\xc3\xa4\xc3 \xff \xe2\x82\xac \xf0\x9f\x8e\x89 \xed\xa0\x80 \xc0\xaf \xc2\x9b",
          "\xc3\xa4? ? \xe2\x82\xac \xf0\x9f\x8e\x89 ??? ?? ??");
    for (int n = 0; n < 2000; n++) {
        char noise[200];
        struct buf out = BUF_INIT;
        for (size_t i = 0; i < sizeof(noise); i++)
            noise[i] = (char)roll(256);
        redact_text(&out, noise, sizeof(noise));
        assert_true(is_utf8(&out));
        redact_cut(&out, 100);
        assert_true(out.len <= 100 && is_utf8(&out));
        buf_free(&out);
    }
}

static void test_a_cut_comes_after_the_scrubbing(void **state)
{
    (void)state;
    for (size_t before = 1000; before < 1100; before++) {
        struct buf text = BUF_INIT;
        struct buf out = BUF_INIT;
        for (size_t i = 0; i < before; i++)
            buf_putc(&text, i % 7 == 0 ? ' ' : 'x');
        buf_puts(&text, " sk-0123456789abcdefghijklmnopqrstuvwxyz");
        redact_text(&out, text.data, text.len);
        redact_cut(&out, REDACT_LINE_MAX);
        assert_null(memmem(out.data, out.len, "sk-", 3));
        assert_true(out.len <= REDACT_LINE_MAX);
        buf_free(&text);
        buf_free(&out);
    }
}

static void test_a_cut_by_characters_counts_characters(void **state)
{
    (void)state;
    static const char text[] = "a\xc3\xa9\xf0\x9f\x99\x82z";
    static const size_t bytes[] = { 0, 1, 3, 7, 8, 8 };
    for (size_t chars = 0; chars < COUNT_OF(bytes); chars++) {
        struct buf cut = BUF_INIT;
        buf_puts(&cut, text);
        redact_cut_chars(&cut, chars);
        assert_int_equal(cut.len, bytes[chars]);
        buf_free(&cut);
    }
}

/* ---- a second time changes nothing ---- */

static const char *const atoms[] = {
    "sk-",
    "sk-0123456789abcdef",
    "eyJhbGciOiJIUzI1NiJ9",
    "password",
    "token",
    "key",
    "api_key",
    "Cookie",
    "authorization",
    "=",
    ":",
    ": ",
    " = ",
    "\"",
    "'",
    "\\\"",
    "\\\\\\\"",
    "%22",
    "%3D",
    "%3A",
    "%26",
    "&",
    ";",
    ",",
    " ",
    "\n",
    "\\n",
    "[",
    "]",
    "{",
    "}",
    "<",
    ">",
    "(",
    ")",
    "/",
    "//",
    "://",
    "@",
    ".",
    "-",
    "_",
    "+",
    "--",
    "a",
    "Ab1",
    "x9",
    "hunter2",
    "user",
    "host.example",
    "Bearer ",
    "Basic ",
    "0123456789",
    "4111111111111111",
    "+49170",
    "1234567",
    "DE89370400440532013000",
    "3f2a9c1b5d7e8f903f2a9c1b5d7e8f90",
    "0199a213-81c0-7800-8aa1-bbab2a035a53",
    "aB3dE6gH9jK2mN5pQ8",
    "git",
    "commit ",
    "-----BEGIN A-----",
    "-----END A-----",
    "-----",
    "\x1b[31m",
    "\xc3\xa4",
    "\xff",
    "[redacted]",
    "[redacted",
    "null",
    "****",
    "\\u0041",
    "%",
    "\\",
    "?",
};

static void test_a_second_time_changes_nothing(void **state)
{
    (void)state;
    for (int n = 0; n < 60000; n++) {
        struct buf text = BUF_INIT;
        struct buf once = BUF_INIT;
        struct buf twice = BUF_INIT;
        for (uint32_t i = 1 + roll(14); i > 0; i--)
            buf_puts(&text, atoms[roll(COUNT_OF(atoms))]);
        redact_text(&once, text.data, text.len);
        redact_text(&twice, once.data, once.len);
        if (once.len != twice.len || memcmp(buf_str(&once), buf_str(&twice), once.len) != 0)
            fail_msg("%s\n became %s\n then   %s", buf_str(&text), buf_str(&once), buf_str(&twice));
        buf_free(&text);
        buf_free(&once);
        buf_free(&twice);
    }
}

/* ---- linear time ---- */

#ifdef __SANITIZE_ADDRESS__ /* ten times slower */
#define LARGE (64 * 1024)
#else
#define LARGE (256 * 1024)
#endif
#define SMALL (LARGE / 4)

static double time_to_redact(size_t i, size_t len)
{
    struct buf text = BUF_INIT;
    double best = 1e9;
    hostile_text_write(&text, i, len);
    for (int run = 0; run < 3; run++) {
        struct buf out = BUF_INIT;
        struct timespec begin;
        struct timespec end;
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
        redact_text(&out, text.data, len);
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
        double ms =
            (double)(end.tv_sec - begin.tv_sec) * 1e3 + (double)(end.tv_nsec - begin.tv_nsec) / 1e6;
        best = ms < best ? ms : best;
        buf_free(&out);
    }
    buf_free(&text);
    return best;
}

/* A square takes sixteen times the time. What else runs on the machine may double it, but hardly ten times in a row. */
static void test_four_times_the_text_takes_four_times_the_time(void **state)
{
    (void)state;
    for (size_t i = 0; i < hostile_text_count(); i++) {
        double small = 0;
        double large = 1;
        for (int again = 0; again < 10 && large > 8 * small; again++) {
            small = time_to_redact(i, SMALL);
            large = time_to_redact(i, LARGE);
        }
        if (large > 8 * small)
            fail_msg("\"%s\": %.1f ms, then %.1f ms for four times the text", hostile_text_name(i),
                     small, large);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_around_a_secret_stays),
        cmocka_unit_test(test_what_is_no_secret_stays),
        cmocka_unit_test(test_a_pem_block_goes_as_a_whole),
        cmocka_unit_test(test_a_pem_block_goes_line_by_line),
        cmocka_unit_test(test_a_pem_block_without_an_end_does_not_last_for_ever),
        cmocka_unit_test(test_the_result_is_valid_and_harmless_text),
        cmocka_unit_test(test_a_cut_comes_after_the_scrubbing),
        cmocka_unit_test(test_a_cut_by_characters_counts_characters),
        cmocka_unit_test(test_a_second_time_changes_nothing),
        cmocka_unit_test(test_four_times_the_text_takes_four_times_the_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
