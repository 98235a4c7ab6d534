/* Text for terminals: nothing that a terminal would obey comes through, and JSON stays the same JSON. */
#include "terminal.h"
#include "json.h"
#include "unit.h"

static char *put(const char *text, size_t len, bool lines)
{
    struct buf out = BUF_INIT;
    terminal_put(&out, text, len, lines);
    return buf_detach(&out);
}

static void assert_put(const char *text, size_t len, const char *wanted)
{
    char *shown = put(text, len, false);
    assert_string_equal(shown, wanted);
    free(shown);
}

static void test_plain_text_stays(void **state)
{
    (void)state;
    assert_put(LITERAL("turn/start 1"), "turn/start 1");
    assert_put(LITERAL("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80"),
               "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80");
}

static void test_what_a_terminal_obeys_is_spelled(void **state)
{
    (void)state;
    assert_put(LITERAL("\x1b[31m"), "\\u001b[31m");
    assert_put(LITERAL("a\0b\a\r\n\t\x7f"), "a\\u0000b\\u0007\\u000d\\u000a\\u0009\\u007f");
    assert_put(LITERAL("\xc2\x9b"
                       "31m"),
               "\\u009b31m");
    assert_put(LITERAL("\xe2\x80\xae\xe2\x81\xa6\xe2\x80\xa8\xd8\x9c"),
               "\\u202e\\u2066\\u2028\\u061c");
}

static void test_what_is_no_utf8_is_spelled_too(void **state)
{
    (void)state;
    assert_put(LITERAL("\x9b"), "\\u009b");
    assert_put(LITERAL("\xe2\x80"), "\\u00e2\\u0080");
    assert_put(LITERAL("\xc2"), "\\u00c2");
    assert_put(LITERAL("\xf0\x1b[3"), "\\u00f0\\u001b[3"); /* begins four bytes, and hides none */
    assert_put(LITERAL("\xc0\x9b"), "\\u00c0\\u009b");
}

static void test_every_byte_alone_is_harmless(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        const char text = (char)c;
        char *shown = put(&text, 1, false);
        for (const char *at = shown; *at != '\0'; at++)
            assert_true(*at >= ' ' && *at <= '~');
        free(shown);
    }
}

static void test_json_stays_the_same_json(void **state)
{
    (void)state;
    static const char text[] = "{\n\t\"a\": \"\x7f\xc2\x85\xe2\x80\xae\xc3\xa4\"\n}";
    char *shown = put(LITERAL(text), true);
    json_t *before = json_parse(LITERAL(text), NULL);
    json_t *after = json_parse(shown, strlen(shown), NULL);
    assert_non_null(before);
    assert_true(json_equal(before, after));
    assert_null(strchr(shown, 0x7f));
    json_decref(before);
    json_decref(after);
    free(shown);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_text_stays),
        cmocka_unit_test(test_what_a_terminal_obeys_is_spelled),
        cmocka_unit_test(test_what_is_no_utf8_is_spelled_too),
        cmocka_unit_test(test_every_byte_alone_is_harmless),
        cmocka_unit_test(test_json_stays_the_same_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
