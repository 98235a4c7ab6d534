/* The time by which things grow too old: which jumps of the wall clock it follows, and when. */
#include "calendar.h"
#include "unit.h"

#define HOUR_MS 3600000
#define DAY_MS (24 * (int64_t)HOUR_MS)
#define START_MS 1769860800000

/* Two clocks, of which one jumps. */
struct clocks {
    struct calendar calendar;
    int64_t wall_ms;
    uint64_t mono_ms;
};

static struct clocks clocks_new(void)
{
    return (struct clocks){ .wall_ms = START_MS, .mono_ms = 123456 };
}

static int64_t ask(struct clocks *c)
{
    return calendar_now_ms(&c->calendar, c->wall_ms, c->mono_ms);
}

static void pass(struct clocks *c, int64_t ms)
{
    c->wall_ms += ms;
    c->mono_ms += (uint64_t)ms;
}

/* Asking every hour; how far the answer is behind the wall clock all the time, which must be the same. */
static int64_t behind_for(struct clocks *c, int hours)
{
    int64_t behind_ms = c->wall_ms - ask(c);
    for (int i = 0; i < hours; i++) {
        pass(c, HOUR_MS);
        assert_int_equal(c->wall_ms - ask(c), behind_ms);
    }
    return behind_ms;
}

static void test_without_jumps_it_is_the_wall_clock(void **state)
{
    (void)state;
    struct clocks c = clocks_new();
    assert_int_equal(behind_for(&c, 1000), 0);
    c.wall_ms += CALENDAR_STEP_MS; /* corrected */
    assert_int_equal(behind_for(&c, 2), 0);
    c.wall_ms -= CALENDAR_STEP_MS;
    assert_int_equal(behind_for(&c, 2), 0);
}

static void test_a_jump_forward_counts_once_it_has_held_for_a_day(void **state)
{
    (void)state;
    struct clocks c = clocks_new();
    (void)ask(&c);
    c.wall_ms += 40 * DAY_MS;
    assert_int_equal(behind_for(&c, 23), 40 * DAY_MS);
    pass(&c, HOUR_MS);
    assert_int_equal(ask(&c), c.wall_ms);
    assert_int_equal(behind_for(&c, 48), 0);
}

static void test_a_jump_that_is_taken_back_never_counts(void **state)
{
    (void)state;
    struct clocks c = clocks_new();
    (void)ask(&c);
    for (int i = 0; i < 5; i++) {
        c.wall_ms += 40 * DAY_MS;
        assert_int_equal(behind_for(&c, 20), 40 * DAY_MS);
        c.wall_ms -= 40 * DAY_MS;
        assert_int_equal(behind_for(&c, 20), 0);
    }
}

static void test_a_jump_back_counts_at_once(void **state)
{
    (void)state;
    struct clocks c = clocks_new();
    (void)ask(&c);
    c.wall_ms -= 20000 * DAY_MS; /* before 1970 */
    assert_int_equal(behind_for(&c, 2), 0);
    c.wall_ms += 20000 * DAY_MS;
    assert_int_equal(behind_for(&c, 23), 20000 * DAY_MS);
}

static void test_of_several_jumps_the_least_counts_first(void **state)
{
    (void)state;
    struct clocks c = clocks_new();
    (void)ask(&c);
    c.wall_ms += 40 * DAY_MS;
    assert_int_equal(behind_for(&c, 12), 40 * DAY_MS);
    c.wall_ms -= 30 * DAY_MS; /* it is ahead by 10 days since the first */
    assert_int_equal(behind_for(&c, 6), 10 * DAY_MS);
    c.wall_ms += 90 * DAY_MS;
    assert_int_equal(behind_for(&c, 5), 100 * DAY_MS);
    pass(&c, HOUR_MS);
    assert_int_equal(c.wall_ms - ask(&c), 90 * DAY_MS);
    assert_int_equal(behind_for(&c, 22), 90 * DAY_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_jumps_it_is_the_wall_clock),
        cmocka_unit_test(test_a_jump_forward_counts_once_it_has_held_for_a_day),
        cmocka_unit_test(test_a_jump_that_is_taken_back_never_counts),
        cmocka_unit_test(test_a_jump_back_counts_at_once),
        cmocka_unit_test(test_of_several_jumps_the_least_counts_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
