/* URLs of the command line; what answers there is for the end-to-end tests. */
#include "http_get.h"
#include "unit.h"

static void expect(const char *text, const char *host, const char *port)
{
    struct http_url url;
    if (!http_url_parse(text, &url))
        fail_msg("refused: %s", text);
    assert_string_equal(url.host, host);
    assert_string_equal(url.port, port);
    http_url_free(&url);
    http_url_free(&url);
}

static void test_urls_are_taken_apart(void **state)
{
    (void)state;
    expect("http://127.0.0.1:11435/v1", "127.0.0.1", "11435");
    expect("http://[::1]:11435/v1", "::1", "11435");
    expect("HTTP://host", "host", "80");
    expect("http://host/", "host", "80");
    expect("http://host?x", "host", "80");
    expect("http://[::1]", "::1", "80");
    expect("http://[::1]/x:1", "::1", "80");
    expect("http://host:1#x", "host", "1");
    expect("http://host:65535", "host", "65535");
}

static void test_what_is_no_url_of_ours_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "host:80",
        "https://host",
        "http:/host",
        "http://",
        "http:///x",
        "http://:80",
        "http://host:",
        "http://h:1x",
        "http://h:123456",
        "http://h:65536",
        "http://[::1",
        "http://[]:80",
        "http://[::1]x:80",
        "http://h:-1",
        "http://u@h:80",
        "http://a b",
        "http://h\r\nx:y",
        "http://user:pw@h:80",
        "http://\xc3\xa4",
        "http://[::1/]:80",
    };
    struct http_url url;
    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        if (http_url_parse(wrong[i], &url))
            fail_msg("taken: %s", wrong[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_urls_are_taken_apart),
        cmocka_unit_test(test_what_is_no_url_of_ours_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
