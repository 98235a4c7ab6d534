/* Rates: what is allowed, what a client is told, and that not a token is lost to rounding. */
#include "rate_limit.h"
#include "unit.h"

static struct rate_state take(struct rate_bucket *b, uint64_t now_ms)
{
    struct rate_state s;
    rate_limit_take(b, now_ms, &s);
    return s;
}

static void assert_state(struct rate_state s, bool allowed, int64_t remaining, int64_t reset_ms,
                         int64_t retry_ms)
{
    assert_true(s.limited);
    assert_int_equal(s.allowed, allowed);
    assert_int_equal(s.remaining, remaining);
    assert_int_equal(s.reset_ms, reset_ms);
    assert_int_equal(s.retry_ms, retry_ms);
}

static void test_without_a_rate_everything_is_allowed(void **state)
{
    (void)state;
    struct rate_bucket b = { .rpm = 0 };
    for (uint64_t i = 0; i < 10; i++) {
        struct rate_state s = take(&b, i);
        assert_true(s.allowed && !s.limited);
    }
    rate_limit_set(&b, 0, 10, 5);
    assert_false(take(&b, 5).limited);
}

static void test_a_full_bucket_takes_a_burst_and_then_the_rate(void **state)
{
    (void)state;
    struct rate_bucket b = { .rpm = 0 };
    rate_limit_set(&b, 60, 3, 1000);
    assert_int_equal(take(&b, 1000).limit, 3);
    assert_state(take(&b, 1000), true, 1, 2000, 0);
    assert_state(take(&b, 1000), true, 0, 3000, 1000);
    assert_state(take(&b, 1000), false, 0, 3000, 1000);
    assert_state(take(&b, 1999), false, 0, 2001, 1);
    assert_state(take(&b, 2000), true, 0, 3000, 1000);
    assert_state(take(&b, 4500), true, 1, 1500, 0);
}

static void test_a_refusal_costs_nothing(void **state)
{
    (void)state;
    struct rate_bucket b = { .rpm = 0 };
    rate_limit_set(&b, 1, 1, 0);
    assert_true(take(&b, 0).allowed);
    for (uint64_t ms = 1; ms < 60000; ms += 7)
        assert_false(take(&b, ms).allowed);
    assert_true(take(&b, 60000).allowed);
}

static void test_a_burst_of_nought_is_as_much_as_the_rate(void **state)
{
    (void)state;
    struct rate_bucket b = { .rpm = 0 };
    rate_limit_set(&b, 5, 0, 0);
    for (int i = 0; i < 5; i++)
        assert_true(take(&b, 0).allowed);
    struct rate_state s = take(&b, 0);
    assert_state(s, false, 0, 60000, 12000);
    assert_int_equal(s.limit, 5);
}

/* 7 a minute is no whole number of milliseconds each: over an hour it is 420 all the same. */
static void test_no_token_is_lost_to_rounding(void **state)
{
    (void)state;
    static const int64_t rates[] = { 1, 7, 59, 60, 61, 999, 60001, RATE_RPM_MAX };
    for (size_t i = 0; i < COUNT_OF(rates); i++) {
        struct rate_bucket b = { .rpm = 0 };
        rate_limit_set(&b, rates[i], 1, 0);
        uint64_t now_ms = 0;
        assert_true(take(&b, now_ms).allowed);
        int64_t count = 0;
        int64_t most = rates[i] < 1000 ? 60 * rates[i] : 60000;
        while (count < most) {
            struct rate_state s = take(&b, now_ms);
            if (s.allowed)
                count++;
            now_ms += s.allowed ? 0 : (uint64_t)s.retry_ms;
        }
        if (rates[i] < 1000)
            assert_in_range(now_ms, 3600000 - 1, 3600000 + (uint64_t)most);
        assert_in_range(now_ms, 1, UINT64_MAX);
    }
}

static void test_the_time_to_wait_is_exact(void **state)
{
    (void)state;
    for (int64_t rpm = 1; rpm < 3000; rpm += 13) {
        struct rate_bucket b = { .rpm = 0 };
        rate_limit_set(&b, rpm, 2, 0);
        uint64_t now_ms = 0;
        for (int i = 0; i < 20; i++) {
            struct rate_state s = take(&b, now_ms);
            if (s.retry_ms != 0 && s.retry_ms > 1) {
                struct rate_bucket copy = b;
                assert_false(take(&copy, now_ms + (uint64_t)s.retry_ms - 1).allowed);
            }
            now_ms += (uint64_t)s.retry_ms;
        }
        struct rate_state s = take(&b, now_ms);
        struct rate_bucket copy = b;
        assert_int_equal(take(&copy, now_ms + (uint64_t)s.reset_ms).remaining, 1);
        copy = b;
        if (s.reset_ms > 1)
            assert_int_equal(take(&copy, now_ms + (uint64_t)s.reset_ms - 1).remaining, 0);
    }
}

static void test_a_long_idle_time_fills_it_and_no_more(void **state)
{
    (void)state;
    struct rate_bucket b = { .rpm = 0 };
    rate_limit_set(&b, 2, 3, 0);
    for (int i = 0; i < 3; i++)
        assert_true(take(&b, 0).allowed);
    assert_state(take(&b, UINT64_MAX), true, 2, 30000, 0);
    rate_limit_set(&b, 1, RATE_RPM_MAX, UINT64_MAX);
    assert_true(take(&b, UINT64_MAX).allowed);
}

static void test_a_clock_that_stands_still_or_goes_back_gives_nothing(void **state)
{
    (void)state;
    struct rate_bucket b = { .rpm = 0 };
    rate_limit_set(&b, 60, 1, 5000);
    assert_true(take(&b, 5000).allowed);
    assert_false(take(&b, 4000).allowed);
    assert_false(take(&b, 4999).allowed);
}

static void test_what_was_used_stays_used_under_another_rate(void **state)
{
    (void)state;
    struct rate_bucket b = { .rpm = 0 };
    rate_limit_set(&b, 60, 10, 0);
    for (int i = 0; i < 4; i++)
        (void)take(&b, 0);
    rate_limit_set(&b, 60, 20, 0);
    assert_int_equal(take(&b, 0).remaining, 15);
    rate_limit_set(&b, 60, 3, 0);
    assert_false(take(&b, 0).allowed);
    rate_limit_set(&b, 0, 0, 0);
    assert_false(take(&b, 0).limited);
    rate_limit_set(&b, 60, 3, 0);
    assert_int_equal(take(&b, 0).remaining, 2);
}

static void test_setting_the_same_again_changes_nothing(void **state)
{
    (void)state;
    struct rate_bucket b = { .rpm = 0 };
    rate_limit_set(&b, 7, 2, 100);
    (void)take(&b, 100);
    (void)take(&b, 100);
    for (uint64_t ms = 100; ms < 8000; ms += 100)
        rate_limit_set(&b, 7, 2, ms);
    assert_false(take(&b, 8671).allowed);
    assert_true(take(&b, 8672).allowed);
}

static void test_durations_are_written_as_openai_does(void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {
        { 0, "0s" },        { 1, "1ms" },          { 20, "20ms" },        { 999, "999ms" },
        { 1000, "1s" },     { 8640, "8.64s" },     { 1005, "1.005s" },    { 1050, "1.05s" },
        { 1500, "1.5s" },   { 59999, "59.999s" },  { 60000, "1m0s" },     { 90951, "1m30.951s" },
        { 360000, "6m0s" }, { 3599000, "59m59s" }, { 3600000, "1h0m0s" }, { 3661001, "1h1m1.001s" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char text[RATE_DURATION_SIZE];
        rate_limit_duration(cases[i].ms, text);
        assert_string_equal(text, cases[i].text);
    }
    char text[RATE_DURATION_SIZE];
    rate_limit_duration(INT64_MAX, text);
    assert_true(strlen(text) < RATE_DURATION_SIZE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_a_rate_everything_is_allowed),
        cmocka_unit_test(test_a_full_bucket_takes_a_burst_and_then_the_rate),
        cmocka_unit_test(test_a_refusal_costs_nothing),
        cmocka_unit_test(test_a_burst_of_nought_is_as_much_as_the_rate),
        cmocka_unit_test(test_no_token_is_lost_to_rounding),
        cmocka_unit_test(test_the_time_to_wait_is_exact),
        cmocka_unit_test(test_a_long_idle_time_fills_it_and_no_more),
        cmocka_unit_test(test_a_clock_that_stands_still_or_goes_back_gives_nothing),
        cmocka_unit_test(test_what_was_used_stays_used_under_another_rate),
        cmocka_unit_test(test_setting_the_same_again_changes_nothing),
        cmocka_unit_test(test_durations_are_written_as_openai_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
