/* Dates. */
#include "clock.h"
#include "unit.h"

static void test_a_date_is_that_of_utc(void **state)
{
    (void)state;
    char date[CLOCK_DATE_SIZE];
    clock_date(0, date);
    assert_string_equal(date, "1970-01-01");
    clock_date(CLOCK_DAY_MS - 1, date);
    assert_string_equal(date, "1970-01-01");
    clock_date(CLOCK_DAY_MS, date);
    assert_string_equal(date, "1970-01-02");
    clock_date(1769860800000, date);
    assert_string_equal(date, "2026-01-31");
}

static void test_every_day_is_read_as_it_is_written(void **state)
{
    (void)state;
    char date[CLOCK_DATE_SIZE];
    const int64_t last = 2932896; /* 9999-12-31 */
    for (int64_t day = 0; day <= last; day += day < 40000 ? 1 : 97) {
        int64_t found = -1;
        clock_date(day * CLOCK_DAY_MS, date);
        assert_true(clock_parse_date(date, strlen(date), &found));
        assert_int_equal(found, day);
    }
    clock_date(last * CLOCK_DAY_MS, date);
    assert_string_equal(date, "9999-12-31");
}

static void test_what_is_no_day_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",           "2026-01-3",  "2026-01-311", "2026-02-29", "2026-02-30", "2026-13-01",
        "2026-00-10", "2026-01-00", "2026-01-32",  "1969-12-31", "0000-00-00", "2026/01/31",
        "2026-1-031", "+026-01-31", "2026-01-3x",  " 026-01-31", "2026-01--1", "20260131xx",
    };
    int64_t day = 42;
    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        assert_false(clock_parse_date(wrong[i], strlen(wrong[i]), &day));
    assert_int_equal(day, 42);
    assert_true(clock_parse_date("2024-02-29 and more", 10, &day));
    assert_int_equal(day, 19782);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_date_is_that_of_utc),
        cmocka_unit_test(test_every_day_is_read_as_it_is_written),
        cmocka_unit_test(test_what_is_no_day_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
