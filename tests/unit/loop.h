/* An event loop of the test's own. A test waits for a condition, never for a time; a guard ends a wait that hangs, and the
 * loop must close without a handle left. */
#ifndef LOOP_H
#define LOOP_H

#include "deadline.h"
#include "unit.h"

#include <time.h>
#include <uv.h>

#define LOOP_GUARD_MS 60000
#define LOOP_WORKED_MS 1000 /* in that time: who did so does not wait in vain */
#define LOOP_GUARDS_MAX 8   /* but a loop that turns for ever ends, too */

struct loop {
    uv_loop_t uv;
    uv_timer_t guard;
    uint64_t worked_ms; /* processor time when the guard began */
    unsigned guards;    /* that have passed */
    uv_prepare_t before_wait;
    struct deadlines *deadlines;
    bool (*done)(const void *ctx); /* of the loop_until under way */
    const void *ctx;
};

static inline uint64_t loop_worked_ms(void)
{
    return (uint64_t)clock() * 1000 / CLOCKS_PER_SEC;
}

/* A slow machine is no hang: as long as we work, something comes. */
static inline void loop_on_guard(uv_timer_t *guard)
{
    struct loop *l = guard->data;
    uint64_t worked_ms = loop_worked_ms();
    if (worked_ms - l->worked_ms < LOOP_WORKED_MS || ++l->guards == LOOP_GUARDS_MAX)
        fail_msg("nothing came for %d s", LOOP_GUARD_MS / 1000);
    l->worked_ms = worked_ms;
    uv_timer_start(guard, loop_on_guard, LOOP_GUARD_MS, 0);
}

/* From now on. What was done before does not count, nor does it by the loop's clock, which stood still meanwhile. */
static inline void loop_guard(struct loop *l)
{
    l->guards = 0;
    l->worked_ms = loop_worked_ms();
    l->guard.data = l;
    uv_update_time(&l->uv);
    uv_timer_start(&l->guard, loop_on_guard, LOOP_GUARD_MS, 0);
}

static inline void loop_begin(struct loop *l)
{
    assert_int_equal(uv_loop_init(&l->uv), 0);
    l->deadlines = deadlines_new(&l->uv);
    uv_timer_init(&l->uv, &l->guard);
    loop_guard(l);
    uv_prepare_init(&l->uv, &l->before_wait);
    l->before_wait.data = l;
}

static inline void loop_before_wait(uv_prepare_t *handle)
{
    const struct loop *l = handle->data;
    if (l->done(l->ctx))
        uv_stop(handle->loop);
}

/* Runs the loop until `done` says so; asked each time before the loop would wait. */
static inline void loop_until(struct loop *l, bool (*done)(const void *ctx), const void *ctx)
{
    l->done = done;
    l->ctx = ctx;
    loop_guard(l);
    uv_prepare_start(&l->before_wait, loop_before_wait);
    while (!done(ctx))
        uv_run(&l->uv, UV_RUN_DEFAULT);
    uv_prepare_stop(&l->before_wait);
}

static inline bool loop_is_true(const void *ctx)
{
    return *(const bool *)ctx;
}

static inline void loop_until_true(struct loop *l, const bool *flag)
{
    loop_until(l, loop_is_true, flag);
}

struct loop_pass {
    struct deadline deadline;
    bool over;
};

static inline void loop_on_passed(struct deadline *d)
{
    deadline_owner(d, struct loop_pass, deadline)->over = true;
}

/* At least so much time passes, of something that must not happen meanwhile. */
static inline void loop_pass(struct loop *l, uint64_t ms)
{
    struct loop_pass pass = { .over = false };
    uv_update_time(&l->uv);
    deadline_set(l->deadlines, &pass.deadline, ms, loop_on_passed);
    loop_until_true(l, &pass.over);
}

/* What is due now happens; nothing is waited for. */
static inline void loop_turn(struct loop *l)
{
    uv_run(&l->uv, UV_RUN_NOWAIT);
}

/* Everything of the test must be closing: runs until it is gone. */
static inline void loop_end(struct loop *l)
{
    uv_prepare_stop(&l->before_wait); /* a test that failed left it */
    deadlines_free(l->deadlines);
    uv_unref((uv_handle_t *)&l->guard);
    uv_run(&l->uv, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&l->guard, NULL);
    uv_close((uv_handle_t *)&l->before_wait, NULL);
    uv_run(&l->uv, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&l->uv), 0);
}

static inline int loop_setup(void **state)
{
    struct loop *l = calloc(1, sizeof(*l));
    loop_begin(l);
    *state = l;
    return 0;
}

static inline int loop_teardown(void **state)
{
    loop_end(*state);
    free(*state);
    return 0;
}

#define LOOP_TEST(test) cmocka_unit_test_setup_teardown(test, loop_setup, loop_teardown)

#endif
