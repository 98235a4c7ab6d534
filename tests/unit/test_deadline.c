/* Deadlines: each fires once, in its order, never early; callbacks may do anything to any of them. */
#include "deadline.h"
#include "loop.h"
#include "stopwatch.h"
#include "unit.h"

/* A deadline that notes its firing in a diary. */
struct alarm {
    struct deadline deadline;
    struct diary *diary;
    char name;
    uint64_t fired_at_ms;
    void (*then)(struct alarm *a);
    struct alarm *other;
    unsigned left; /* of repetitions */
};

struct diary {
    struct loop *loop;
    char names[2000];
    size_t count;
    size_t wanted; /* loop_until ends there */
};

static void ring(struct deadline *d)
{
    struct alarm *a = deadline_owner(d, struct alarm, deadline);
    assert_null(d->fire);
    a->fired_at_ms = deadlines_now_ms(a->diary->loop->deadlines);
    a->diary->names[a->diary->count++] = a->name;
    if (a->then != NULL)
        a->then(a);
}

static bool has_all(const void *ctx)
{
    const struct diary *diary = ctx;
    return diary->count >= diary->wanted;
}

static void set(struct alarm *a, uint64_t after_ms)
{
    deadline_set(a->diary->loop->deadlines, &a->deadline, after_ms, ring);
}

static void clear(struct alarm *a)
{
    deadline_clear(a->diary->loop->deadlines, &a->deadline);
}

static void expect(struct diary *diary, const char *names)
{
    diary->wanted = strlen(names);
    loop_until(diary->loop, has_all, diary);
    assert_string_equal(diary->names, names);
}

/* Waits by the means under test until everything due by `after_ms` from now has had its chance. */
static void let_pass(struct diary *diary, uint64_t after_ms)
{
    struct diary own = { .loop = diary->loop, .wanted = 1 };
    struct alarm last = { .diary = &own, .name = '!' };
    set(&last, after_ms);
    loop_until(diary->loop, has_all, &own);
}

static void test_deadlines_fire_in_the_order_of_their_times(void **state)
{
    struct diary diary = { .loop = *state };
    struct alarm a[5];
    static const uint64_t after_ms[] = { 9, 3, 12, 1, 6 };
    for (size_t i = 0; i < COUNT_OF(a); i++) {
        a[i] = (struct alarm){ .diary = &diary, .name = (char)('a' + i) };
        set(&a[i], after_ms[i]);
    }
    expect(&diary, "dbeac");
    let_pass(&diary, 15);
    assert_int_equal(diary.count, 5);
}

static void test_of_equal_times_the_first_set_fires_first(void **state)
{
    struct diary diary = { .loop = *state };
    struct alarm a[4];
    for (size_t i = 0; i < COUNT_OF(a); i++) {
        a[i] = (struct alarm){ .diary = &diary, .name = (char)('a' + i) };
        set(&a[i], 4);
    }
    expect(&diary, "abcd");
}

static void test_no_deadline_of_many_is_early_or_forgotten(void **state)
{
    enum { MANY = 1000 };
    struct diary diary = { .loop = *state, .wanted = MANY };
    struct alarm *a = calloc(MANY, sizeof(*a));
    uint64_t *due_ms = calloc(MANY, sizeof(*due_ms));
    unsigned random = 12345;
    for (size_t i = 0; i < MANY; i++) {
        random = random * 1103515245U + 12345U;
        uint64_t after_ms = random >> 16 & 31;
        a[i] = (struct alarm){ .diary = &diary, .name = 'x' };
        due_ms[i] = deadlines_now_ms(diary.loop->deadlines) + after_ms;
        set(&a[i], after_ms);
        if (i % 3 == 0) { /* moved once */
            due_ms[i] += 7;
            set(&a[i], after_ms + 7);
        }
    }
    loop_until(diary.loop, has_all, &diary);
    for (size_t i = 0; i < MANY; i++)
        assert_true(a[i].fired_at_ms >= due_ms[i]);
    let_pass(&diary, 45);
    assert_int_equal(diary.count, MANY);
    free(due_ms);
    free(a);
}

static void test_a_deadline_can_be_moved_both_ways(void **state)
{
    struct diary diary = { .loop = *state };
    struct alarm a = { .diary = &diary, .name = 'a' };
    struct alarm b = { .diary = &diary, .name = 'b' };
    struct alarm c = { .diary = &diary, .name = 'c' };
    set(&a, 2);
    set(&b, 10000);
    set(&c, 4);
    set(&a, 8);
    set(&b, 1);
    expect(&diary, "bca");
}

static void test_a_cleared_deadline_never_fires(void **state)
{
    struct diary diary = { .loop = *state };
    struct alarm a = { .diary = &diary, .name = 'a' };
    struct alarm b = { .diary = &diary, .name = 'b' };
    struct alarm c = { .diary = &diary, .name = 'c' };
    clear(&a); /* not set yet */
    set(&a, 1);
    set(&b, 2);
    set(&c, 3);
    clear(&a);
    clear(&a);
    clear(&c);
    assert_null(a.deadline.fire);
    assert_non_null(b.deadline.fire);
    expect(&diary, "b");
    let_pass(&diary, 5);
    assert_string_equal(diary.names, "b");
}

static void clear_other(struct alarm *a)
{
    clear(a->other);
}

static void test_a_callback_may_clear_one_that_is_due_as_well(void **state)
{
    struct diary diary = { .loop = *state };
    struct alarm b = { .diary = &diary, .name = 'b' };
    struct alarm a = { .diary = &diary, .name = 'a', .then = clear_other, .other = &b };
    struct alarm c = { .diary = &diary, .name = 'c' };
    set(&a, 2);
    set(&b, 2);
    set(&c, 2);
    expect(&diary, "ac");
    let_pass(&diary, 4);
    assert_string_equal(diary.names, "ac");
}

static void set_other_at_once(struct alarm *a)
{
    set(a->other, 0);
}

static void set_again(struct alarm *a)
{
    if (--a->left != 0)
        set(a, 1);
}

static void test_a_callback_may_set_itself_again(void **state)
{
    struct diary diary = { .loop = *state };
    struct alarm a = { .diary = &diary, .name = 'a', .then = set_again, .left = 5 };
    struct alarm b = { .diary = &diary, .name = 'b' };
    set(&a, 1);
    set(&b, 60000);
    expect(&diary, "aaaaa");
    set(&b, 1);
    expect(&diary, "aaaaab");
}

static void set_again_now(struct alarm *a)
{
    if (a->diary->count < a->diary->wanted)
        set(a, 0);
}

static void on_tick(uv_timer_t *timer)
{
    bool *ticked = timer->data;
    *ticked = true;
}

static void test_a_deadline_that_is_always_due_leaves_room_for_the_rest_of_the_loop(void **state)
{
    struct loop *l = *state;
    struct diary diary = { .loop = l, .wanted = sizeof(diary.names) - 1 };
    struct alarm a = { .diary = &diary, .name = 'a', .then = set_again_now };
    uv_timer_t timer;
    bool ticked = false;
    uv_timer_init(&l->uv, &timer);
    timer.data = &ticked;
    set(&a, 0);
    uv_timer_start(&timer, on_tick, 0, 0);
    loop_until_true(l, &ticked);
    assert_true(diary.count < 10);
    clear(&a);
    uv_close((uv_handle_t *)&timer, NULL);
    loop_turn(l); /* it is ours until then */
}

static void test_a_callback_may_set_another_to_now(void **state)
{
    struct diary diary = { .loop = *state };
    struct alarm b = { .diary = &diary, .name = 'b' };
    struct alarm a = { .diary = &diary, .name = 'a', .then = set_other_at_once, .other = &b };
    set(&b, 10000);
    set(&a, 1);
    expect(&diary, "ab");
}

static void move_other_far(struct alarm *a)
{
    set(a->other, 6);
}

static void test_a_callback_may_move_one_that_is_due_as_well(void **state)
{
    struct diary diary = { .loop = *state };
    struct alarm b = { .diary = &diary, .name = 'b' };
    struct alarm a = { .diary = &diary, .name = 'a', .then = move_other_far, .other = &b };
    struct alarm c = { .diary = &diary, .name = 'c' };
    set(&a, 2);
    set(&b, 2);
    set(&c, 4);
    expect(&diary, "acb");
    assert_true(b.fired_at_ms >= a.fired_at_ms + 6);
}

static void free_itself(struct alarm *a)
{
    free(a);
}

static void test_a_callback_may_free_what_embeds_the_deadline(void **state)
{
    struct diary diary = { .loop = *state };
    for (int i = 0; i < 3; i++) {
        struct alarm *a = malloc(sizeof(*a));
        *a = (struct alarm){ .diary = &diary, .name = (char)('a' + i), .then = free_itself };
        set(a, 1);
    }
    expect(&diary, "abc");
}

static uint64_t lap_ns;  /* at the firing */
static uint64_t read_ns; /* when that was */

static void read_stopwatch(struct alarm *a)
{
    (void)a;
    lap_ns = stopwatch_lap_ns();
    read_ns = uv_hrtime();
}

/* What was waited for is nobody's work. */
static void test_the_stopwatch_is_started_when_one_fires(void **state)
{
    const uint64_t wait_ns = 15000000; /* a little less than what it is set to */
    struct diary diary = { .loop = *state };
    struct alarm a = { .diary = &diary, .name = 'a', .then = read_stopwatch };
    stopwatch_start();
    uint64_t set_ns = uv_hrtime();
    uv_update_time(&diary.loop->uv);
    set(&a, 20);
    expect(&diary, "a");
    assert_true(lap_ns + wait_ns <= read_ns - set_ns);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(test_deadlines_fire_in_the_order_of_their_times),
        LOOP_TEST(test_of_equal_times_the_first_set_fires_first),
        LOOP_TEST(test_no_deadline_of_many_is_early_or_forgotten),
        LOOP_TEST(test_a_deadline_can_be_moved_both_ways),
        LOOP_TEST(test_a_cleared_deadline_never_fires),
        LOOP_TEST(test_a_callback_may_clear_one_that_is_due_as_well),
        LOOP_TEST(test_a_callback_may_set_itself_again),
        LOOP_TEST(test_a_deadline_that_is_always_due_leaves_room_for_the_rest_of_the_loop),
        LOOP_TEST(test_a_callback_may_set_another_to_now),
        LOOP_TEST(test_a_callback_may_move_one_that_is_due_as_well),
        LOOP_TEST(test_the_stopwatch_is_started_when_one_fires),
        LOOP_TEST(test_a_callback_may_free_what_embeds_the_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
