/* Deadlines of all modules behind one uv timer. */
#include "deadline.h"

#include "mem.h"
#include "stopwatch.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <uv.h>

struct deadlines {
    uv_timer_t timer;       /* frees the whole in its close callback */
    struct deadline *first; /* linked: sorted by at_ms */
    struct deadline *last;
    bool firing;
};

static void on_timer(uv_timer_t *timer);

/* Keeps the one timer at the earliest deadline. */
static void arm(struct deadlines *all)
{
    if (all->first == NULL) {
        uv_timer_stop(&all->timer);
        return;
    }
    uint64_t now_ms = uv_now(all->timer.loop);
    uint64_t wait_ms = all->first->at_ms > now_ms ? all->first->at_ms - now_ms : 0;
    uv_timer_start(&all->timer, on_timer, wait_ms, 0);
}

static void on_timer(uv_timer_t *timer)
{
    struct deadlines *all = timer->data;
    uint64_t now_ms = uv_now(timer->loop);
    all->firing = true;
    while (all->first != NULL && all->first->at_ms <= now_ms) {
        struct deadline *d = all->first;
        deadline_fn fire = d->fire;
        deadline_clear(all, d);
        stopwatch_start(); /* what comes of it is work; until now it was waited for */
        fire(d);
    }
    all->firing = false;
    arm(all);
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

struct deadlines *deadlines_new(uv_loop_t *loop)
{
    struct deadlines *all = xcalloc(1, sizeof(*all));
    uv_timer_init(loop, &all->timer);
    all->timer.data = all;
    return all;
}

void deadlines_free(struct deadlines *all)
{
    if (all == NULL)
        return;
    assert(all->first == NULL);
    uv_close((uv_handle_t *)&all->timer, on_closed);
}

uint64_t deadlines_now_ms(const struct deadlines *all)
{
    return uv_now(all->timer.loop);
}

void deadline_clear(struct deadlines *all, struct deadline *d)
{
    if (d->fire == NULL)
        return;
    if (d->prev != NULL)
        d->prev->next = d->next;
    else
        all->first = d->next;
    if (d->next != NULL)
        d->next->prev = d->prev;
    else
        all->last = d->prev;
    *d = (struct deadline){ .fire = NULL };
}

void deadline_set(struct deadlines *all, struct deadline *d, uint64_t after_ms, deadline_fn fire)
{
    deadline_clear(all, d);
    if (after_ms == 0 && all->firing)
        after_ms = 1; /* else it would fire in this very pass, and the loop would starve */
    d->at_ms = uv_now(all->timer.loop) + after_ms;
    d->fire = fire;
    /* Most deadlines of a kind last equally long, so the place is near the end. */
    struct deadline *before = all->last;
    while (before != NULL && before->at_ms > d->at_ms)
        before = before->prev;
    d->prev = before;
    d->next = before != NULL ? before->next : all->first;
    if (d->next != NULL)
        d->next->prev = d;
    else
        all->last = d;
    if (before != NULL)
        before->next = d;
    else
        all->first = d;
    if (all->first == d)
        arm(all);
}
