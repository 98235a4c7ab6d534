/* The histogram: percentiles that are right within a bucket's width, whatever the values. */
#include "histogram.h"
#include "unit.h"

static struct histogram *empty(void)
{
    struct histogram *h = calloc(1, sizeof(*h));
    assert_non_null(h);
    return h;
}

static void test_an_empty_one_says_zero(void **state)
{
    (void)state;
    struct histogram *h = empty();
    assert_int_equal(histogram_percentile(h, 99), 0);
    assert_true(histogram_mean(h) == 0.0);
    free(h);
}

static void test_small_values_are_exact(void **state)
{
    (void)state;
    struct histogram *h = empty();
    for (uint64_t i = 1; i <= 100; i++)
        histogram_add(h, i);
    assert_int_equal(histogram_percentile(h, 0), 1);
    assert_int_equal(histogram_percentile(h, 1), 1);
    assert_int_equal(histogram_percentile(h, 50), 50);
    assert_int_equal(histogram_percentile(h, 99), 99);
    assert_int_equal(histogram_percentile(h, 100), 100);
    assert_int_equal(h->min, 1);
    assert_int_equal(h->max, 100);
    assert_true(histogram_mean(h) == 50.5);
    free(h);
}

static void test_one_value_is_every_percentile_of_itself(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < HISTOGRAM_VALUE_BITS; bits++) {
        for (int64_t off = -1; off <= 1; off++) {
            uint64_t value = (uint64_t)((int64_t)(UINT64_C(1) << bits) + off);
            struct histogram *h = empty();
            histogram_add(h, value);
            assert_int_equal(histogram_percentile(h, 50), value);
            assert_int_equal(histogram_percentile(h, 99.9), value);
            free(h);
        }
    }
}

static void test_a_percentile_is_at_most_a_64th_too_high_and_never_too_low(void **state)
{
    (void)state;
    uint64_t random = 88172645463325252u;
    for (int round = 0; round < 2000; round++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        uint64_t value = random >> (64 - HISTOGRAM_VALUE_BITS + round % HISTOGRAM_VALUE_BITS);
        struct histogram *h = empty();
        histogram_add(h, value);
        histogram_add(h, (UINT64_C(1) << HISTOGRAM_VALUE_BITS) - 1); /* so that max hides nothing */
        uint64_t p50 = histogram_percentile(h, 50);
        assert_true(p50 >= value);
        assert_true(p50 <= value + value / HISTOGRAM_SUB);
        free(h);
    }
}

static void test_what_is_too_large_counts_as_the_largest(void **state)
{
    (void)state;
    struct histogram *h = empty();
    histogram_add(h, UINT64_MAX);
    assert_int_equal(h->max, (UINT64_C(1) << HISTOGRAM_VALUE_BITS) - 1);
    assert_int_equal(histogram_percentile(h, 50), h->max);
    free(h);
}

static void test_merged_is_as_if_all_were_added_to_one(void **state)
{
    (void)state;
    struct histogram *all = empty();
    struct histogram *parts[3] = { empty(), empty(), empty() };
    for (uint64_t i = 0; i < 3000; i++) {
        histogram_add(all, i * i);
        histogram_add(parts[i % 2], i * i);
    }
    histogram_merge(parts[2], parts[0]);
    histogram_merge(parts[2], parts[1]);
    assert_memory_equal(parts[2], all, sizeof(*all));
    free(all);
    for (size_t i = 0; i < COUNT_OF(parts); i++)
        free(parts[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_empty_one_says_zero),
        cmocka_unit_test(test_small_values_are_exact),
        cmocka_unit_test(test_one_value_is_every_percentile_of_itself),
        cmocka_unit_test(test_a_percentile_is_at_most_a_64th_too_high_and_never_too_low),
        cmocka_unit_test(test_what_is_too_large_counts_as_the_largest),
        cmocka_unit_test(test_merged_is_as_if_all_were_added_to_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
