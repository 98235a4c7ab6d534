/* Lists of settings are cut into their entries. */
#include "entries.h"

#include "buf.h"
#include "unit.h"

#include <string.h>

static void assert_cut(const char *list, const char *separators, const char *blanks,
                       const char *wanted)
{
    struct buf cut = BUF_INIT;
    const char *entry = NULL;
    size_t len = 0;
    while ((entry = entries_next(&list, separators, blanks, &len)) != NULL) {
        buf_append(&cut, entry, len);
        buf_putc(&cut, '|');
    }
    assert_string_equal(buf_str(&cut), wanted);
    assert_null(entries_next(&list, separators, blanks, &len));
    buf_free(&cut);
}

static void test_a_list_is_cut_at_its_separators(void **state)
{
    (void)state;
    assert_cut("a,bc", ", ", "", "a|bc|");
    assert_cut(",, a ,,  b,", ", ", "", "a|b|");
    assert_cut("a b", ",", "", "a b|");
}

static void test_blanks_stand_around_entries_and_within(void **state)
{
    (void)state;
    assert_cut(" a b \t\r\n\t\n \n c=1 ", "\n", " \t\r", "a b|c=1|");
    assert_cut(" , ,\t", ",", " \t\r", "");
}

static void test_a_list_of_none_has_no_entries(void **state)
{
    (void)state;
    assert_cut(NULL, ",", " ", "");
    assert_cut("", ",", " ", "");
    assert_cut(",,,", ",", "", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_list_is_cut_at_its_separators),
        cmocka_unit_test(test_blanks_stand_around_entries_and_within),
        cmocka_unit_test(test_a_list_of_none_has_no_entries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
