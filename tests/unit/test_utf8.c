/* UTF-8: what a character is, and where a text may be cut. */
#include "utf8.h"
#include "unit.h"

static void assert_read(const char *text, size_t len, size_t wanted, unsigned wanted_code)
{
    unsigned code = 0;
    assert_int_equal(utf8_read(text, text + len, &code), wanted);
    if (wanted != 0)
        assert_int_equal(code, wanted_code);
    assert_int_equal(utf8_valid(text, len), wanted == len);
}

static void test_characters_of_every_length(void **state)
{
    (void)state;
    assert_read(LITERAL("\0"), 1, 0);
    assert_read(LITERAL("a"), 1, 'a');
    assert_read(LITERAL("\x7f"), 1, 0x7f);
    assert_read(LITERAL("\xc2\x80"), 2, 0x80);
    assert_read(LITERAL("\xdf\xbf"), 2, 0x7ff);
    assert_read(LITERAL("\xe0\xa0\x80"), 3, 0x800);
    assert_read(LITERAL("\xef\xbf\xbf"), 3, 0xffff);
    assert_read(LITERAL("\xf0\x90\x80\x80"), 4, 0x10000);
    assert_read(LITERAL("\xf4\x8f\xbf\xbf"), 4, 0x10ffff);
}

static void test_what_is_none(void **state)
{
    (void)state;
    assert_read(LITERAL("\x80"), 0, 0);
    assert_read(LITERAL("\xff"), 0, 0);
    assert_read(LITERAL("\xf8\x88\x80\x80\x80"), 0, 0);
    assert_read(LITERAL("\xc1\xbf"), 0, 0);         /* longer than it need be */
    assert_read(LITERAL("\xe0\x9f\xbf"), 0, 0);     /* the same */
    assert_read(LITERAL("\xf0\x8f\xbf\xbf"), 0, 0); /* the same */
    assert_read(LITERAL("\xed\xa0\x80"), 0, 0);     /* a surrogate */
    assert_read(LITERAL("\xf4\x90\x80\x80"), 0, 0); /* beyond the last */
    assert_read(LITERAL("\xc3"), 0, 0);             /* cut off */
    assert_read(LITERAL("\xf0\x9f\x98"), 0, 0);     /* the same */
    assert_read(LITERAL("\xf0\x1b[3"), 0, 0);       /* does not go on */
}

static void test_a_text_is_valid_as_a_whole(void **state)
{
    (void)state;
    assert_true(utf8_valid("", 0));
    assert_true(utf8_valid(LITERAL("gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80.")));
    assert_false(utf8_valid(LITERAL("gr\xc3\xbc\xc3")));
    assert_false(utf8_valid(LITERAL("\xff"
                                    "a")));
}

static void test_a_cut_is_between_two_characters(void **state)
{
    (void)state;
    char copy[6];
    assert_int_equal(utf8_cut("abc", 2), 2);
    assert_int_equal(utf8_cut("a\xc3\xbc", 2), 1);
    assert_int_equal(utf8_cut("a\xc3\xbcz", 3), 3);
    assert_int_equal(utf8_cut("\xf0\x9f\x98\x80z", 3), 0);
    utf8_copy(copy, sizeof(copy), "ab\xc3\xbc");
    assert_string_equal(copy, "ab\xc3\xbc");
    utf8_copy(copy, sizeof(copy), "abc\xc3\xbc"); /* as much as there is room */
    assert_string_equal(copy, "abc\xc3\xbc");
    utf8_copy(copy, sizeof(copy), "abcd\xc3\xbc");
    assert_string_equal(copy, "abcd");
    utf8_copy(copy, 1, "\xc3\xbc");
    assert_string_equal(copy, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_characters_of_every_length),
        cmocka_unit_test(test_what_is_none),
        cmocka_unit_test(test_a_text_is_valid_as_a_whole),
        cmocka_unit_test(test_a_cut_is_between_two_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
