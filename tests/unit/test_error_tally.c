/* The tally of requests and errors, by a clock of the test's own. */
#include "error_tally.h"
#include "unit.h"

#define MINUTE UINT64_C(60000)
#define HOUR (60 * MINUTE)
#define START (1000 * HOUR)

static int setup(void **state)
{
    (void)state;
    error_tally_reset();
    return 0;
}

static void fail_at(uint64_t now_ms, const char *route, const char *code)
{
    error_tally_note(now_ms, (int64_t)now_ms + 7, route, code);
}

static void expect(struct request_count c, uint64_t requests, uint64_t errors)
{
    assert_int_equal(c.requests, requests);
    assert_int_equal(c.errors, errors);
}

static void test_the_last_minute_and_hour_are_counted_and_forgotten(void **state)
{
    (void)state;
    struct error_count top[4];
    expect(error_tally_hour(START), 0, 0);
    for (int i = 0; i < 10; i++)
        error_tally_note(START, 0, "/v1/x", i < 3 ? "bad" : NULL);
    expect(error_tally_minute(START), 10, 3);
    expect(error_tally_minute(START + 59000), 10, 3);
    expect(error_tally_minute(START + 60000), 0, 0);
    expect(error_tally_hour(START + 60000), 10, 3);
    expect(error_tally_hour(START + HOUR - 1), 10, 3);
    assert_int_equal(error_tally_top(START + HOUR - 1, top, 4), 1);
    expect(error_tally_hour(START + HOUR), 0, 0);
    assert_int_equal(error_tally_top(START + HOUR, top, 4), 0);
    expect(error_tally_hour(START + 1000 * HOUR), 0, 0);
}

static void test_the_oldest_minute_leaves_first(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 120; i++) {
        error_tally_note(START + i * MINUTE, 0, "/v1/x", i % 2 == 0 ? "bad" : NULL);
        expect(error_tally_hour(START + i * MINUTE), i < 60 ? i + 1 : 60, i < 60 ? i / 2 + 1 : 30);
    }
    expect(error_tally_hour(START + 149 * MINUTE), 30, 15);
}

static void test_the_most_frequent_errors_come_first(void **state)
{
    (void)state;
    struct error_count top[3];
    fail_at(START, "/v1/a", "one");
    for (int i = 0; i < 3; i++)
        fail_at(START + 1, "/v1/a", "three");
    for (int i = 0; i < 2; i++)
        fail_at(START + 2, "/v1/b", "three");
    for (int i = 0; i < 4; i++)
        fail_at(START + 3, "/v1/b", "four");
    assert_int_equal(error_tally_top(START + 4, top, 3), 3);
    assert_string_equal(top[0].code, "four");
    assert_int_equal(top[0].count, 4);
    assert_int_equal(top[0].last_at_ms, START + 3 + 7);
    assert_string_equal(top[1].route, "/v1/a");
    assert_int_equal(top[1].count, 3);
    assert_string_equal(top[2].route, "/v1/b");
    assert_int_equal(top[2].count, 2);
    assert_int_equal(error_tally_top(START + 4, top, 1), 1);
    assert_string_equal(top[0].code, "four");
}

static void test_more_kinds_than_there_is_room_for_are_other(void **state)
{
    (void)state;
    static char codes[ERROR_KINDS_MAX + 8][8];
    struct error_count top[ERROR_KINDS_MAX + 8];
    for (size_t i = 0; i < COUNT_OF(codes); i++) {
        snprintf(codes[i], sizeof(codes[i]), "c%zu", i);
        fail_at(START, "/v1/a", codes[i]);
    }
    assert_int_equal(error_tally_top(START, top, COUNT_OF(top)), ERROR_KINDS_MAX + 1);
    assert_string_equal(top[0].code, "other");
    assert_int_equal(top[0].count, 8);
    /* An hour later there is room again, for the same ones too. */
    fail_at(START + HOUR, "/v1/a", codes[0]);
    fail_at(START + HOUR, "/v1/a", codes[ERROR_KINDS_MAX + 7]);
    assert_int_equal(error_tally_top(START + HOUR, top, COUNT_OF(top)), 2);
    assert_string_not_equal(top[0].code, "other");
    assert_string_not_equal(top[1].code, "other");
}

static void test_a_kind_that_comes_again_keeps_its_room(void **state)
{
    (void)state;
    struct error_count top[4];
    fail_at(START, "/v1/a", "old");
    fail_at(START, "/v1/a", "kept");
    fail_at(START + 30 * MINUTE, "/v1/a", "kept");
    assert_int_equal(error_tally_top(START + 61 * MINUTE, top, 4), 1);
    assert_string_equal(top[0].code, "kept");
    assert_int_equal(top[0].count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_the_last_minute_and_hour_are_counted_and_forgotten, setup),
        cmocka_unit_test_setup(test_the_oldest_minute_leaves_first, setup),
        cmocka_unit_test_setup(test_the_most_frequent_errors_come_first, setup),
        cmocka_unit_test_setup(test_more_kinds_than_there_is_room_for_are_other, setup),
        cmocka_unit_test_setup(test_a_kind_that_comes_again_keeps_its_room, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
