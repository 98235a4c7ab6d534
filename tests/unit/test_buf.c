/* The buffer: what goes in comes out, whatever the pieces. */
#include "buf.h"
#include "unit.h"

static void test_pieces_of_any_size_come_out_in_order(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    size_t total = 0;
    for (size_t piece = 0; piece < 400; piece++) {
        for (size_t i = 0; i < piece; i++, total++) {
            char c = (char)(total % 251);
            buf_append(&b, &c, 1);
        }
        assert_int_equal(b.len, total);
        assert_true(b.cap >= b.len);
    }
    for (size_t i = 0; i < total; i++)
        assert_int_equal((unsigned char)b.data[i], i % 251);
    buf_free(&b);
}

static void test_appending_nothing_allocates_nothing(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    buf_append(&b, NULL, 0);
    buf_puts(&b, "");
    buf_consume(&b, 0);
    buf_clear(&b);
    assert_null(b.data);
    assert_int_equal(b.len, 0);
    buf_free(&b);
}

static void test_an_append_that_needs_many_doublings_fits(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    const size_t len = 3 * 1024 * 1024 + 1;
    char *bytes = malloc(len);
    memset(bytes, 'x', len);
    buf_putc(&b, '<');
    buf_append(&b, bytes, len);
    buf_putc(&b, '>');
    assert_int_equal(b.len, len + 2);
    assert_int_equal(b.data[0], '<');
    assert_memory_equal(b.data + 1, bytes, len);
    assert_int_equal(b.data[len + 1], '>');
    free(bytes);
    buf_free(&b);
}

static void test_room_that_was_reserved_can_be_written(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    buf_puts(&b, "ab");
    char *room = buf_reserve(&b, 1000);
    assert_ptr_equal(room, b.data + 2);
    memset(room, 'c', 1000);
    assert_int_equal(b.len, 2);
    b.len += 1000;
    buf_putc(&b, 'd');
    assert_int_equal(b.len, 1003);
    assert_memory_equal(b.data, "abccc", 5);
    assert_int_equal(b.data[1002], 'd');
    buf_free(&b);
}

static void test_the_nul_of_a_string_is_not_counted(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    assert_string_equal(buf_str(&b), "");
    assert_int_equal(b.len, 0);
    for (size_t len = 1; len <= 600; len++) {
        buf_putc(&b, 'a');
        assert_int_equal(strlen(buf_str(&b)), len);
        assert_int_equal(b.len, len);
    }
    buf_free(&b);
}

static void test_consuming_leaves_the_rest_in_front(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    buf_puts(&b, "0123456789");
    buf_consume(&b, 3);
    assert_string_equal(buf_str(&b), "3456789");
    buf_puts(&b, "abc");
    buf_consume(&b, 6);
    assert_string_equal(buf_str(&b), "9abc");
    buf_consume(&b, 4);
    assert_string_equal(buf_str(&b), "");
    assert_int_equal(b.len, 0);
    buf_free(&b);
}

static void test_formatted_text_is_whole_however_long(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    char word[700];
    memset(word, 'w', sizeof(word) - 1);
    word[sizeof(word) - 1] = '\0';
    for (int i = 0; i < 3; i++)
        buf_printf(&b, "%d:%s;", i, word);
    assert_int_equal(b.len, 3 * (2 + sizeof(word) - 1 + 1));
    assert_memory_equal(b.data + 2, word, sizeof(word) - 1);
    assert_int_equal(b.data[b.len - 1], ';');
    buf_clear(&b);
    buf_printf(&b, "%s", "");
    assert_int_equal(b.len, 0);
    buf_free(&b);
}

static void test_detached_bytes_belong_to_the_caller(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    buf_append(&b, "a\0b", 3);
    char *bytes = buf_detach(&b);
    assert_memory_equal(bytes, "a\0b", 4);
    assert_null(b.data);
    assert_int_equal(b.len, 0);
    assert_int_equal(b.cap, 0);
    free(bytes);
    bytes = buf_detach(&b);
    assert_string_equal(bytes, "");
    free(bytes);
}

static void test_clearing_keeps_the_memory_and_freeing_gives_it_back(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    buf_puts(&b, "text");
    const char *memory = b.data;
    buf_clear(&b);
    assert_int_equal(b.len, 0);
    buf_puts(&b, "other");
    assert_ptr_equal(b.data, memory);
    buf_free(&b);
    assert_null(b.data);
    assert_int_equal(b.cap, 0);
    buf_free(&b);
    buf_puts(&b, "again");
    assert_string_equal(buf_str(&b), "again");
    buf_free(&b);
}

static void test_integers_are_written_as_printf_does(void **state)
{
    (void)state;
    static const int64_t values[] = { 0, 1, -1, 9, 10, -10, 1234567890, INT64_MAX, INT64_MIN };
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        struct buf b = BUF_INIT;
        struct buf expected = BUF_INIT;
        buf_put_int(&b, values[i]);
        buf_printf(&expected, "%lld", (long long)values[i]);
        assert_string_equal(buf_str(&b), buf_str(&expected));
        buf_free(&b);
        buf_free(&expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces_of_any_size_come_out_in_order),
        cmocka_unit_test(test_appending_nothing_allocates_nothing),
        cmocka_unit_test(test_integers_are_written_as_printf_does),
        cmocka_unit_test(test_an_append_that_needs_many_doublings_fits),
        cmocka_unit_test(test_room_that_was_reserved_can_be_written),
        cmocka_unit_test(test_the_nul_of_a_string_is_not_counted),
        cmocka_unit_test(test_consuming_leaves_the_rest_in_front),
        cmocka_unit_test(test_formatted_text_is_whole_however_long),
        cmocka_unit_test(test_detached_bytes_belong_to_the_caller),
        cmocka_unit_test(test_clearing_keeps_the_memory_and_freeing_gives_it_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
