/* JSON helpers: what we write by hand is what jansson would have written, for every character there is. */
#include "json.h"
#include "unit.h"

#define BLOCK 512 /* characters that are tried together */

static size_t put_utf8(char *to, unsigned c)
{
    if (c < 0x80) {
        to[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        to[0] = (char)(0xC0 | c >> 6);
        to[1] = (char)(0x80 | (c & 63));
        return 2;
    }
    if (c < 0x10000) {
        to[0] = (char)(0xE0 | c >> 12);
        to[1] = (char)(0x80 | (c >> 6 & 63));
        to[2] = (char)(0x80 | (c & 63));
        return 3;
    }
    to[0] = (char)(0xF0 | c >> 18);
    to[1] = (char)(0x80 | (c >> 12 & 63));
    to[2] = (char)(0x80 | (c >> 6 & 63));
    to[3] = (char)(0x80 | (c & 63));
    return 4;
}

/* Our quoting, read back by jansson, is the text; and byte for byte what jansson writes (it prefers capitals in \u). */
static void assert_quoted_as_jansson_does(const char *text, size_t len)
{
    struct buf ours = BUF_INIT;
    json_quote(&ours, text, len);
    json_t *back = json_loadb(ours.data, ours.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    assert_non_null(back);
    assert_int_equal(json_string_length(back), len);
    assert_memory_equal(json_string_value(back), text, len);
    char *theirs = json_dumps(back, JSON_ENCODE_ANY | JSON_COMPACT);
    assert_int_equal(strlen(theirs), ours.len);
    for (char *at = strstr(theirs, "\\u00"); at != NULL; at = strstr(at + 1, "\\u00"))
        for (int i = 4; i < 6; i++)
            at[i] = (char)(at[i] >= 'A' && at[i] <= 'F' ? at[i] + 32 : at[i]);
    assert_memory_equal(theirs, ours.data, ours.len);
    free(theirs);
    json_decref(back);
    buf_free(&ours);
}

static void test_every_character_is_quoted_as_jansson_does(void **state)
{
    (void)state;
    static char text[BLOCK * 4];
    size_t len = 0;
    unsigned tried = 0;
    for (unsigned c = 0; c <= 0x10FFFF; c++) {
        if (c >= 0xD800 && c <= 0xDFFF)
            continue;
        len += put_utf8(text + len, c);
        if (++tried % BLOCK != 0)
            continue;
        assert_quoted_as_jansson_does(text, len);
        len = 0;
    }
    assert_int_equal(tried, 0x110000 - 0x800);
    assert_int_equal(len, 0);
}

static void test_every_control_is_escaped_wherever_it_stands(void **state)
{
    (void)state;
    for (unsigned c = 0; c < 0x80; c++) {
        char text[5] = { 'a', (char)c, 'b', (char)c, (char)c };
        for (size_t from = 0; from < 5; from++)
            for (size_t to = from; to <= 5; to++)
                assert_quoted_as_jansson_does(text + from, to - from);
    }
}

static void test_nul_is_written_as_an_escape(void **state)
{
    (void)state;
    struct buf out = BUF_INIT;
    json_quote(&out, LITERAL("a\0b\x1f\x7f"));
    assert_string_equal(buf_str(&out), "\"a\\u0000b\\u001f\x7f\"");
    buf_free(&out);
}

static void test_an_empty_text_needs_no_bytes(void **state)
{
    (void)state;
    struct buf out = BUF_INIT;
    json_escape(&out, NULL, 0);
    assert_int_equal(out.len, 0);
    json_quote(&out, NULL, 0);
    assert_string_equal(buf_str(&out), "\"\"");
    buf_free(&out);
}

static void test_a_document_must_fill_the_whole_text(void **state)
{
    (void)state;
    static const char *const bad[] = { "",     " ",        "{",           "{} {}",  "{}x",
                                       "nul",  "'a'",      "[1,]",        "{1:2}",  "\"a",
                                       "\xff", "\"\xc3\"", "\"\\ud800\"", "\"\n\"", "01" };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        const char *why = NULL;
        assert_null(json_parse(bad[i], strlen(bad[i]), &why));
        assert_non_null(why);
        assert_true(strlen(why) > 0);
    }
    assert_null(json_parse("{\"a\":1}", 6, NULL));
}

static void test_any_value_is_a_document(void **state)
{
    (void)state;
    static const char *const good[] = { "null",          "true",    "-1.5e3",
                                        "\"a\\u0000b\"", "[[],{}]", " {\"a\" : 1 } \n" };
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        json_t *value = json_parse(good[i], strlen(good[i]), NULL);
        assert_non_null(value);
        json_decref(value);
    }
}

static void test_a_string_may_hold_nul(void **state)
{
    (void)state;
    json_t *value = json_parse(LITERAL("[\"a\\u0000b\"]"), NULL);
    const json_t *text = json_array_get(value, 0);
    assert_int_equal(json_string_length(text), 3);
    struct buf out = BUF_INIT;
    json_write(&out, value);
    assert_string_equal(buf_str(&out), "[\"a\\u0000b\"]");
    buf_free(&out);
    json_decref(value);
}

static void test_nesting_without_end_is_refused(void **state)
{
    (void)state;
    struct buf deep = BUF_INIT;
    for (int i = 0; i < 2000; i++)
        buf_putc(&deep, '[');
    for (int i = 0; i < 2000; i++)
        buf_putc(&deep, ']');
    json_t *value = json_parse(deep.data, deep.len, NULL);
    assert_non_null(value);
    json_decref(value);
    buf_clear(&deep);
    for (int i = 0; i < 1000000; i++)
        buf_puts(&deep, "{\"a\":");
    assert_null(json_parse(deep.data, deep.len, NULL));
    buf_free(&deep);
}

static void test_a_path_leads_through_objects(void **state)
{
    (void)state;
    json_t *value =
        json_parse(LITERAL("{\"a\":{\"b\":{\"text\":\"x\",\"number\":7,\"yes\":true,\"no\":false,"
                           "\"null\":null,\"real\":1.5,\"list\":[{\"c\":1}]}}}"),
                   NULL);
    assert_ptr_equal(json_at(value, ""), value);
    assert_string_equal(json_str_at(value, "a.b.text"), "x");
    assert_int_equal(json_int_at(value, "a.b.number", -1), 7);
    assert_int_equal(json_bool_at(value, "a.b.yes", 0), 1);
    assert_int_equal(json_bool_at(value, "a.b.no", 1), 0);
    assert_true(json_is_null(json_at(value, "a.b.null")));
    assert_null(json_at(value, "a.b.list.c"));
    json_decref(value);
}

static void test_what_is_missing_or_of_another_type_gives_the_fallback(void **state)
{
    (void)state;
    json_t *value =
        json_parse(LITERAL("{\"t\":\"x\",\"n\":7,\"y\":true,\"r\":1.5,\"z\":null}"), NULL);
    static const char *const no_text[] = { "n", "y", "r", "z", "x", "t.t", "", "." };
    for (size_t i = 0; i < COUNT_OF(no_text); i++)
        assert_null(json_str_at(value, no_text[i]));
    static const char *const no_number[] = { "t", "y", "r", "z", "x", "n.n", "" };
    for (size_t i = 0; i < COUNT_OF(no_number); i++)
        assert_int_equal(json_int_at(value, no_number[i], -5), -5);
    static const char *const no_flag[] = { "t", "n", "r", "z", "x", "y.y", "" };
    for (size_t i = 0; i < COUNT_OF(no_flag); i++) {
        assert_int_equal(json_bool_at(value, no_flag[i], 1), 1);
        assert_int_equal(json_bool_at(value, no_flag[i], 0), 0);
    }
    assert_null(json_str_at(NULL, "t"));
    assert_int_equal(json_int_at(NULL, "n", 3), 3);
    json_decref(value);
}

static void test_a_key_longer_than_we_ask_for_is_missing(void **state)
{
    (void)state;
    char key[65];
    memset(key, 'k', 64);
    key[64] = '\0';
    json_t *value = json_object();
    json_object_set_new(value, key, json_integer(1));
    json_object_set_new(value, key + 1, json_integer(2));
    assert_int_equal(json_int_at(value, key, -1), -1);
    assert_int_equal(json_int_at(value, key + 1, -1), 2);
    json_decref(value);
}

static void test_a_value_is_written_compactly_behind_what_is_there(void **state)
{
    (void)state;
    json_t *value =
        json_parse(LITERAL("{ \"a\" : [ 1 , 2.5 , null ] , \"b\" : \"\xc3\xa4\" }"), NULL);
    struct buf out = BUF_INIT;
    buf_puts(&out, "data: ");
    json_write(&out, value);
    assert_string_equal(buf_str(&out), "data: {\"a\":[1,2.5,null],\"b\":\"\xc3\xa4\"}");
    buf_free(&out);
    json_decref(value);
}

static void test_members_are_put_with_commas_between_them(void **state)
{
    (void)state;
    struct buf out = BUF_INIT;
    buf_putc(&out, '{');
    json_put_text(&out, "text", "a\"b");
    json_put_text(&out, "none", NULL);
    json_put_text(&out, "empty", "");
    json_put_name(&out, "inside");
    buf_putc(&out, '{');
    json_put_int(&out, "least", INT64_MIN);
    json_put_bool(&out, "yes", true);
    buf_puts(&out, "}");
    json_put_bool(&out, "no", false);
    buf_puts(&out, "}");
    assert_string_equal(buf_str(&out),
                        "{\"text\":\"a\\\"b\",\"none\":null,\"empty\":null,"
                        "\"inside\":{\"least\":-9223372036854775808,\"yes\":true},\"no\":false}");
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_character_is_quoted_as_jansson_does),
        cmocka_unit_test(test_every_control_is_escaped_wherever_it_stands),
        cmocka_unit_test(test_nul_is_written_as_an_escape),
        cmocka_unit_test(test_an_empty_text_needs_no_bytes),
        cmocka_unit_test(test_a_document_must_fill_the_whole_text),
        cmocka_unit_test(test_any_value_is_a_document),
        cmocka_unit_test(test_a_string_may_hold_nul),
        cmocka_unit_test(test_nesting_without_end_is_refused),
        cmocka_unit_test(test_a_path_leads_through_objects),
        cmocka_unit_test(test_what_is_missing_or_of_another_type_gives_the_fallback),
        cmocka_unit_test(test_a_key_longer_than_we_ask_for_is_missing),
        cmocka_unit_test(test_a_value_is_written_compactly_behind_what_is_there),
        cmocka_unit_test(test_members_are_put_with_commas_between_them),
    };
    json_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
