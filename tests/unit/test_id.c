/* Ids: the right shape, every letter in use, no two alike. */
#include "id.h"
#include "unit.h"

#include <sodium.h>

#define RANDOM_LEN 24

static bool is_letter_or_digit(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static void test_an_id_is_its_prefix_and_24_letters_and_digits(void **state)
{
    (void)state;
    static const char *const prefixes[] = { "", "req_", "chatcmpl-", "a-prefix-of-20-bytes" };
    for (size_t i = 0; i < COUNT_OF(prefixes); i++) {
        char id[ID_SIZE + 1];
        memset(id, '#', sizeof(id));
        id_make(id, prefixes[i]);
        size_t prefix_len = strlen(prefixes[i]);
        assert_memory_equal(id, prefixes[i], prefix_len);
        assert_int_equal(strlen(id), prefix_len + RANDOM_LEN);
        for (const char *c = id + prefix_len; *c != '\0'; c++)
            assert_true(is_letter_or_digit(*c));
        assert_int_equal(id[ID_SIZE], '#');
    }
}

static void test_an_id_is_told_from_what_is_none(void **state)
{
    (void)state;
    char id[ID_SIZE];
    id_make(id, "req_");
    size_t len = strlen(id);
    assert_true(id_ok(id, len, "req_"));
    assert_false(id_ok(id, len, "rex_"));
    assert_false(id_ok(id, len, ""));
    assert_false(id_ok(id, len - 1, "req_"));
    assert_false(id_ok(id, len + 1, "req_"));
    for (int c = 0; c < 256; c++) {
        id[len - 1] = (char)c;
        assert_true(id_ok(id, len, "req_") == is_letter_or_digit((char)c));
    }
}

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, ID_SIZE);
}

static void test_no_two_ids_are_alike(void **state)
{
    (void)state;
    enum { MANY = 20000 };
    char(*ids)[ID_SIZE] = calloc(MANY, ID_SIZE);
    for (size_t i = 0; i < MANY; i++)
        id_make(ids[i], "");
    qsort(ids, MANY, ID_SIZE, compare);
    for (size_t i = 1; i < MANY; i++)
        assert_memory_not_equal(ids[i - 1], ids[i], ID_SIZE);
    free(ids);
}

/* 62 letters, each expected 1,000 times: 6 standard deviations are 188. */
static void test_every_letter_comes_as_often_as_any_other(void **state)
{
    (void)state;
    enum { LEN = 62000 };
    unsigned counts[256] = { 0 };
    char *text = malloc(LEN + 1);
    id_random_text(text, LEN);
    assert_int_equal(strlen(text), LEN);
    for (size_t i = 0; i < LEN; i++)
        counts[(unsigned char)text[i]]++;
    for (unsigned c = 0; c < 256; c++)
        if (is_letter_or_digit((char)c))
            assert_in_range(counts[c], 1000 - 188, 1000 + 188);
        else
            assert_int_equal(counts[c], 0);
    free(text);
}

static void test_random_text_of_no_length_is_empty(void **state)
{
    (void)state;
    char text[2] = "#";
    id_random_text(text, 0);
    assert_string_equal(text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_id_is_its_prefix_and_24_letters_and_digits),
        cmocka_unit_test(test_an_id_is_told_from_what_is_none),
        cmocka_unit_test(test_no_two_ids_are_alike),
        cmocka_unit_test(test_every_letter_comes_as_often_as_any_other),
        cmocka_unit_test(test_random_text_of_no_length_is_empty),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
