/* Admission: places, lines and turns; every way in, out and back; and what is said to those who are refused. */
#include "admission.h"
#include "loop.h"
#include "unit.h"

#define CAST_MAX 1000

/* One who asks, and what became of it. */
struct actor {
    struct ticket ticket;
    struct stage *stage;
    bool admitted;
    bool expired;
    bool displaced;
    void (*then)(struct actor *a); /* what it does when it is admitted */
};

struct stage {
    struct loop *loop;
    struct admission *adm;
    struct actor *cast;
    size_t count;
    struct actor *served[CAST_MAX]; /* in order of admission */
    size_t served_count;
    size_t expired_count;
    size_t wanted;
};

static void on_admitted(struct ticket *t)
{
    struct actor *a = ticket_owner(t, struct actor, ticket);
    assert_false(a->admitted);
    assert_int_equal(t->state, TICKET_RUNNING);
    a->admitted = true;
    a->stage->served[a->stage->served_count++] = a;
    if (a->then != NULL)
        a->then(a);
}

static void on_expired(struct ticket *t)
{
    struct actor *a = ticket_owner(t, struct actor, ticket);
    assert_int_equal(t->state, TICKET_NONE);
    assert_false(a->expired);
    a->expired = true;
    a->stage->expired_count++;
}

static void on_displaced(struct ticket *t)
{
    struct actor *a = ticket_owner(t, struct actor, ticket);
    assert_int_equal(t->state, TICKET_NONE);
    assert_false(a->displaced);
    a->displaced = true;
}

static const struct ticket_events events = { on_admitted, on_expired, on_displaced };

static struct stage *stage_new(void **state, size_t concurrency, size_t queue_max)
{
    struct stage *s = calloc(1, sizeof(*s));
    s->loop = *state;
    s->cast = calloc(CAST_MAX, sizeof(*s->cast));
    const struct admission_options options = { s->loop->deadlines, concurrency, queue_max, 60000 };
    s->adm = admission_new(&options);
    assert_false(admission_is_open(s->adm));
    admission_open(s->adm, true);
    return s;
}

static void stage_free(struct stage *s)
{
    for (size_t i = 0; i < s->count; i++)
        admission_leave(&s->cast[i].ticket);
    assert_int_equal(admission_running(s->adm), 0);
    assert_int_equal(admission_waiting(s->adm), 0);
    admission_free(s->adm);
    free(s->cast);
    free(s);
}

static struct actor *actor_new(struct stage *s, const char *principal, size_t weight)
{
    assert_true(s->count < CAST_MAX);
    struct actor *a = &s->cast[s->count++];
    a->stage = s;
    a->ticket.events = &events;
    a->ticket.principal = principal;
    a->ticket.weight = weight;
    return a;
}

static struct actor *enter(struct stage *s, const char *principal, size_t weight,
                           enum admission_answer expected)
{
    struct actor *a = actor_new(s, principal, weight);
    assert_int_equal(admission_enter(s->adm, &a->ticket), expected);
    return a;
}

static struct actor *runs(struct stage *s, const char *principal)
{
    return enter(s, principal, 1, ADMISSION_RUNS);
}

static struct actor *waits(struct stage *s, const char *principal)
{
    return enter(s, principal, 1, ADMISSION_WAITS);
}

static void leave(struct actor *a)
{
    admission_leave(&a->ticket);
}

static void settle(struct stage *s)
{
    loop_turn(s->loop);
    loop_turn(s->loop);
}

/* Ends one at a time, in the order they were admitted, until nobody is left. */
static void serve_all(struct stage *s, struct actor *first)
{
    leave(first);
    settle(s);
    for (size_t i = 0; i < s->served_count; i++) {
        leave(s->served[i]);
        settle(s);
    }
}

/* "aabac": the principals in the order in which they were served. */
static void assert_order(const struct stage *s, const char *expected)
{
    char order[CAST_MAX + 1] = "";
    for (size_t i = 0; i < s->served_count; i++)
        order[i] = s->served[i]->ticket.principal[0];
    assert_string_equal(order, expected);
}

static void set_options(struct stage *s, size_t concurrency, size_t queue_max, uint64_t timeout_ms)
{
    const struct admission_options options = { NULL, concurrency, queue_max, timeout_ms };
    admission_reconfigure(s->adm, &options);
}

/* ---- places and room ---- */

static void test_as_many_run_as_there_are_places_and_the_rest_wait(void **state)
{
    struct stage *s = stage_new(state, 2, 2);
    runs(s, "a");
    runs(s, "a");
    waits(s, "a");
    waits(s, "b");
    enter(s, "c", 1, ADMISSION_FULL);
    assert_int_equal(admission_running(s->adm), 2);
    assert_int_equal(admission_waiting(s->adm), 2);
    settle(s);
    assert_int_equal(s->served_count, 0);
    stage_free(s);
}

static void test_a_full_queue_is_shared_between_principals(void **state)
{
    struct stage *s = stage_new(state, 1, 4);
    struct actor *a = runs(s, "a");
    struct actor *many[4];
    for (int i = 0; i < 4; i++)
        many[i] = waits(s, "a");
    waits(s, "b");
    assert_true(many[3]->displaced && !many[2]->displaced);
    waits(s, "b");
    assert_true(many[2]->displaced && !many[1]->displaced);
    enter(s, "b", 1, ADMISSION_FULL); /* each has half of it */
    enter(s, "a", 1, ADMISSION_FULL);
    waits(s, "c");
    enter(s, "c", 1, ADMISSION_FULL);
    assert_int_equal(admission_waiting(s->adm), 4);
    assert_int_equal(s->expired_count, 0);
    leave(a);
    stage_free(s);
}

static void test_one_that_returned_is_not_displaced(void **state)
{
    struct stage *s = stage_new(state, 2, 2);
    struct actor *a[] = { runs(s, "a"), runs(s, "a") };
    admission_open(s->adm, false);
    admission_return(&a[0]->ticket);
    admission_return(&a[1]->ticket);
    enter(s, "b", 1, ADMISSION_FULL);
    assert_false(a[0]->displaced || a[1]->displaced);
    stage_free(s);
}

static void test_without_a_queue_nobody_waits(void **state)
{
    struct stage *s = stage_new(state, 1, 0);
    struct actor *a = runs(s, "a");
    enter(s, "b", 1, ADMISSION_FULL);
    leave(a);
    runs(s, "b");
    stage_free(s);
}

static void test_one_principal_alone_may_have_all_places(void **state)
{
    struct stage *s = stage_new(state, 32, 0);
    for (int i = 0; i < 32; i++)
        runs(s, "a");
    enter(s, "a", 1, ADMISSION_FULL);
    stage_free(s);
}

static void test_a_ticket_weighs_as_many_places_as_it_asks_for(void **state)
{
    struct stage *s = stage_new(state, 4, 8);
    struct actor *three = enter(s, "a", 3, ADMISSION_RUNS);
    assert_int_equal(admission_running(s->adm), 3);
    struct actor *two = enter(s, "a", 2, ADMISSION_WAITS);
    struct actor *one = waits(s, "a"); /* there is a place, but it was not the first to ask */
    settle(s);
    assert_false(one->admitted);
    leave(three);
    settle(s);
    assert_true(two->admitted && one->admitted);
    assert_int_equal(admission_running(s->adm), 3);
    enter(s, "a", 5, ADMISSION_TOO_BIG);
    enter(s, "a", 4, ADMISSION_WAITS);
    stage_free(s);
}

static void test_while_a_heavy_one_saves_the_other_lines_have_their_turns(void **state)
{
    struct stage *s = stage_new(state, 4, 8);
    enter(s, "x", 3, ADMISSION_RUNS);
    struct actor *two = enter(s, "a", 2, ADMISSION_WAITS);
    struct actor *one = waits(s, "b");
    settle(s);
    assert_true(one->admitted && !two->admitted);
    leave(one);
    struct actor *more = waits(s, "b");
    settle(s);
    assert_true(!more->admitted && !two->admitted); /* now the place is kept for it */
    stage_free(s);
}

static void test_who_is_refused_may_ask_again(void **state)
{
    struct stage *s = stage_new(state, 1, 0);
    struct actor *a = runs(s, "a");
    struct actor *b = enter(s, "b", 1, ADMISSION_FULL);
    assert_int_equal(b->ticket.state, TICKET_NONE);
    leave(b);
    leave(a);
    assert_int_equal(admission_enter(s->adm, &b->ticket), ADMISSION_RUNS);
    leave(b);
    assert_int_equal(admission_enter(s->adm, &b->ticket), ADMISSION_RUNS);
    stage_free(s);
}

/* ---- leaving ---- */

static void test_leaving_is_idempotent_and_safe_before_entering(void **state)
{
    struct stage *s = stage_new(state, 1, 1);
    struct actor *idle = actor_new(s, "a", 1);
    leave(idle);
    struct actor *a = runs(s, "a");
    struct actor *b = waits(s, "b");
    for (int i = 0; i < 3; i++)
        leave(b);
    assert_int_equal(admission_waiting(s->adm), 0);
    assert_int_equal(admission_running(s->adm), 1);
    for (int i = 0; i < 3; i++)
        leave(a);
    assert_int_equal(admission_running(s->adm), 0);
    settle(s);
    assert_int_equal(s->served_count + s->expired_count, 0);
    stage_free(s);
}

static void test_who_leaves_the_queue_makes_room_at_once(void **state)
{
    struct stage *s = stage_new(state, 1, 2);
    runs(s, "a");
    waits(s, "a");
    struct actor *b = waits(s, "b");
    enter(s, "c", 1, ADMISSION_FULL);
    leave(b);
    waits(s, "c");
    stage_free(s);
}

static void test_a_place_is_given_on_but_never_from_within_the_call_that_frees_it(void **state)
{
    struct stage *s = stage_new(state, 1, 2);
    struct actor *a = runs(s, "a");
    struct actor *b = waits(s, "b");
    leave(a);
    assert_false(b->admitted);
    waits(s, "c"); /* and nobody slips in between */
    settle(s);
    assert_true(b->admitted);
    assert_order(s, "b");
    stage_free(s);
}

static void test_who_leaves_between_the_free_place_and_its_turn_is_not_called(void **state)
{
    struct stage *s = stage_new(state, 1, 2);
    struct actor *a = runs(s, "a");
    struct actor *b = waits(s, "b");
    struct actor *c = waits(s, "c");
    leave(a);
    leave(b);
    settle(s);
    assert_false(b->admitted);
    assert_true(c->admitted);
    stage_free(s);
}

static void leave_at_once(struct actor *a)
{
    leave(a);
}

static void test_who_leaves_as_it_is_admitted_lets_the_next_in(void **state)
{
    struct stage *s = stage_new(state, 1, 3);
    struct actor *a = runs(s, "a");
    for (int i = 0; i < 3; i++)
        waits(s, "b")->then = leave_at_once;
    leave(a);
    settle(s);
    assert_order(s, "bbb");
    assert_int_equal(admission_running(s->adm), 0);
    stage_free(s);
}

static void test_the_one_in_the_middle_of_a_line_leaves(void **state)
{
    struct stage *s = stage_new(state, 1, 3);
    struct actor *a = runs(s, "x");
    struct actor *line[] = { waits(s, "a"), waits(s, "a"), waits(s, "a") };
    leave(line[1]);
    serve_all(s, a);
    assert_int_equal(s->served_count, 2);
    assert_ptr_equal(s->served[0], line[0]);
    assert_ptr_equal(s->served[1], line[2]);
    stage_free(s);
}

/* ---- fairness ---- */

static void test_within_a_line_it_is_first_come_first_served(void **state)
{
    struct stage *s = stage_new(state, 1, 100);
    struct actor *first = runs(s, "x");
    for (int i = 0; i < 50; i++)
        waits(s, "a");
    serve_all(s, first);
    assert_int_equal(s->served_count, 50);
    for (size_t i = 0; i < 50; i++)
        assert_ptr_equal(s->served[i], &s->cast[i + 1]);
    stage_free(s);
}

static void test_between_lines_places_go_round(void **state)
{
    struct stage *s = stage_new(state, 1, 100);
    struct actor *first = runs(s, "x");
    for (const char *p = "aaaabbc"; *p != '\0'; p++) {
        static const char *const names[] = { "a", "b", "c" };
        waits(s, names[*p - 'a']);
    }
    serve_all(s, first);
    assert_order(s, "abcabaa");
    stage_free(s);
}

/* A thousand: one floods before the others come, and they wait no longer than a round. */
static void test_who_floods_starves_nobody(void **state)
{
    static const char *const quiet[] = { "b", "c", "d" };
    struct stage *s = stage_new(state, 1, CAST_MAX);
    struct actor *first = runs(s, "a");
    for (int i = 0; i < 900; i++)
        waits(s, "a");
    for (int i = 0; i < 33; i++)
        for (size_t k = 0; k < COUNT_OF(quiet); k++)
            waits(s, quiet[k]);
    serve_all(s, first);
    assert_int_equal(s->served_count, 999);
    for (size_t round = 0; round < 33; round++)
        for (size_t k = 0; k < 4; k++)
            assert_int_equal(s->served[4 * round + k]->ticket.principal[0], "abcd"[k]);
    for (size_t i = 4 * 33; i < 999; i++)
        assert_int_equal(s->served[i]->ticket.principal[0], 'a');
    stage_free(s);
}

static void test_who_comes_late_is_next_in_turn(void **state)
{
    struct stage *s = stage_new(state, 1, CAST_MAX);
    struct actor *running = runs(s, "a");
    for (int i = 0; i < 500; i++)
        waits(s, "a");
    for (size_t round = 0; round < 20; round++) {
        struct actor *late = waits(s, "b");
        leave(running);
        settle(s);
        running = s->served[s->served_count - 1];
        leave(running);
        settle(s);
        running = s->served[s->served_count - 1];
        assert_true(late->admitted);
    }
    stage_free(s);
}

/* By places, not by tickets: four of one choice for each of four choices. */
static void test_turns_are_fair_by_weight(void **state)
{
    struct stage *s = stage_new(state, 4, 200);
    struct actor *first = enter(s, "x", 4, ADMISSION_RUNS);
    for (int i = 0; i < 20; i++)
        enter(s, "a", 4, ADMISSION_WAITS);
    for (int i = 0; i < 80; i++)
        waits(s, "b");
    serve_all(s, first);
    assert_int_equal(s->served_count, 100);
    size_t places[2] = { 0, 0 };
    for (size_t i = 0; i < 100; i++) {
        const struct ticket *t = &s->served[i]->ticket;
        places[t->principal[0] - 'a'] += t->weight;
        size_t ahead = places[0] > places[1] ? places[0] - places[1] : places[1] - places[0];
        assert_true(ahead <= 4);
    }
    stage_free(s);
}

static void test_a_heavy_one_is_not_overtaken_for_ever(void **state)
{
    struct stage *s = stage_new(state, 4, 100);
    struct actor *light[4];
    for (size_t i = 0; i < 4; i++)
        light[i] = runs(s, "a");
    struct actor *heavy = enter(s, "b", 4, ADMISSION_WAITS);
    for (int i = 0; i < 50; i++)
        waits(s, "a");
    for (size_t i = 0; i < 4; i++) {
        leave(light[i]);
        settle(s);
    }
    for (size_t i = 0; i < s->served_count && !heavy->admitted; i++) {
        leave(s->served[i]);
        settle(s);
    }
    assert_true(heavy->admitted);
    assert_true(s->served_count <= 5); /* what its line saves up in rounds goes to the others */
    stage_free(s);
}

/* A heavy one at the head of its line saves until it can pay; then it leaves, and its line is like any other. */
static void test_what_was_saved_for_one_who_left_is_lost(void **state)
{
    struct stage *s = stage_new(state, 8, 100);
    struct actor *first = enter(s, "x", 8, ADMISSION_RUNS);
    struct actor *heavy = enter(s, "a", 8, ADMISSION_WAITS);
    for (int i = 0; i < 20; i++)
        waits(s, "b");
    for (int i = 0; i < 6; i++)
        waits(s, "a");
    set_options(s, 1, 100, 60000);
    leave(first);
    settle(s);
    size_t ended = 0;
    while (s->served_count < 5) { /* the heavy one has passed several times */
        leave(s->served[ended++]);
        settle(s);
    }
    assert_order(s, "bbbbb");
    leave(heavy);
    while (ended < s->served_count) {
        leave(s->served[ended++]);
        settle(s);
    }
    s->served_count = 12;
    char order[13] = "";
    for (size_t i = 0; i < 12; i++)
        order[i] = s->served[i]->ticket.principal[0];
    assert_null(strstr(order, "aa"));
    assert_non_null(strstr(order, "abab"));
    stage_free(s);
}

static void test_names_are_compared_not_pointers(void **state)
{
    static const char one[] = "key";
    static const char same[] = "key";
    struct stage *s = stage_new(state, 1, 10);
    struct actor *first = runs(s, "x");
    waits(s, one);
    waits(s, same);
    waits(s, "other");
    serve_all(s, first);
    assert_order(s, "kok");
    stage_free(s);
}

static void test_the_longest_name_fits(void **state)
{
    char name[ADMISSION_PRINCIPAL_MAX + 1];
    memset(name, 'n', ADMISSION_PRINCIPAL_MAX);
    name[ADMISSION_PRINCIPAL_MAX] = '\0';
    struct stage *s = stage_new(state, 1, 1);
    runs(s, "x");
    waits(s, name);
    stage_free(s);
}

static void test_lines_are_used_again(void **state)
{
    static const char *const names[] = { "a", "b", "c", "d", "e" };
    struct stage *s = stage_new(state, 1, 10);
    struct actor *running = runs(s, "x");
    for (size_t i = 0; i < 100; i++) {
        struct actor *next = waits(s, names[i % COUNT_OF(names)]);
        leave(running);
        settle(s);
        assert_true(next->admitted);
        running = next;
    }
    stage_free(s);
}

/* ---- the deadline ---- */

static bool all_expired(const void *ctx)
{
    const struct stage *s = ctx;
    return s->expired_count == s->wanted;
}

static void test_who_waits_too_long_is_told_and_is_out(void **state)
{
    struct stage *s = stage_new(state, 1, 2);
    set_options(s, 1, 2, 10);
    struct actor *a = runs(s, "a");
    struct actor *b = waits(s, "b");
    waits(s, "b");
    s->wanted = 2;
    loop_until(s->loop, all_expired, s);
    assert_false(a->expired);
    assert_int_equal(admission_waiting(s->adm), 0);
    leave(b);
    leave(a);
    settle(s);
    assert_int_equal(s->served_count, 0);
    assert_int_equal(admission_enter(s->adm, &b->ticket), ADMISSION_RUNS);
    stage_free(s);
}

static void test_who_runs_does_not_expire_and_who_left_neither(void **state)
{
    struct stage *s = stage_new(state, 1, 3);
    set_options(s, 1, 3, 20);
    struct actor *a = runs(s, "a");
    struct actor *b = waits(s, "b");
    struct actor *gone = waits(s, "b");
    struct actor *c = waits(s, "c");
    leave(gone);
    leave(a);
    settle(s);
    assert_true(b->admitted);
    s->wanted = 1;
    loop_until(s->loop, all_expired, s);
    assert_true(c->expired && !b->expired && !gone->expired && !a->expired);
    stage_free(s);
}

/* ---- the gate ---- */

static void test_behind_a_closed_gate_all_wait_and_then_all_go(void **state)
{
    struct stage *s = stage_new(state, 3, 4);
    admission_open(s->adm, false);
    for (int i = 0; i < 4; i++)
        waits(s, "a");
    enter(s, "a", 1, ADMISSION_FULL);
    settle(s);
    assert_int_equal(s->served_count, 0);
    admission_open(s->adm, true);
    assert_int_equal(s->served_count, 0); /* not from within the call */
    settle(s);
    assert_int_equal(s->served_count, 3);
    assert_int_equal(admission_waiting(s->adm), 1);
    stage_free(s);
}

static void test_who_runs_goes_on_when_the_gate_closes(void **state)
{
    struct stage *s = stage_new(state, 2, 4);
    struct actor *a = runs(s, "a");
    struct actor *b = runs(s, "a");
    struct actor *c = waits(s, "a");
    admission_open(s->adm, false);
    assert_int_equal(admission_running(s->adm), 2);
    leave(a);
    leave(b);
    settle(s);
    assert_false(c->admitted);
    waits(s, "b");
    admission_open(s->adm, true);
    settle(s);
    assert_order(s, "ab");
    stage_free(s);
}

static void test_a_gate_that_closes_again_before_the_queue_moved_lets_nobody_through(void **state)
{
    struct stage *s = stage_new(state, 2, 4);
    admission_open(s->adm, false);
    waits(s, "a");
    admission_open(s->adm, true);
    admission_open(s->adm, false);
    settle(s);
    assert_int_equal(s->served_count, 0);
    stage_free(s);
}

static void close_the_gate(struct actor *a)
{
    admission_open(a->stage->adm, false);
}

static void test_a_gate_that_closes_as_one_is_admitted_stops_the_next(void **state)
{
    struct stage *s = stage_new(state, 4, 4);
    admission_open(s->adm, false);
    waits(s, "a")->then = close_the_gate;
    waits(s, "b");
    admission_open(s->adm, true);
    settle(s);
    assert_order(s, "a");
    assert_int_equal(admission_waiting(s->adm), 1);
    stage_free(s);
}

/* ---- coming back ---- */

static void test_who_returns_is_the_first_of_all(void **state)
{
    struct stage *s = stage_new(state, 1, 10);
    struct actor *a = runs(s, "a");
    waits(s, "b");
    waits(s, "a");
    admission_open(s->adm, false);
    admission_return(&a->ticket);
    assert_int_equal(admission_running(s->adm), 0);
    assert_int_equal(admission_waiting(s->adm), 3);
    admission_open(s->adm, true);
    settle(s);
    assert_true(a->admitted);
    for (size_t i = 0; i < s->served_count; i++) {
        leave(s->served[i]);
        settle(s);
    }
    assert_order(s, "aba"); /* and its line has not had a turn more for it */
    stage_free(s);
}

static void test_all_who_return_keep_their_order_whatever_the_order_of_returning(void **state)
{
    struct stage *s = stage_new(state, 4, 10);
    struct actor *a[4];
    for (size_t i = 0; i < 4; i++)
        a[i] = runs(s, "a");
    struct actor *later = waits(s, "a");
    admission_open(s->adm, false);
    static const size_t order[] = { 2, 0, 3, 1 };
    for (size_t i = 0; i < 4; i++)
        admission_return(&a[order[i]]->ticket);
    admission_open(s->adm, true);
    settle(s);
    assert_int_equal(s->served_count, 4);
    for (size_t i = 0; i < 4; i++)
        assert_ptr_equal(s->served[i], a[i]);
    assert_false(later->admitted);
    stage_free(s);
}

static void test_who_returns_needs_no_room_in_the_queue(void **state)
{
    struct stage *s = stage_new(state, 2, 0);
    struct actor *a = runs(s, "a");
    struct actor *b = runs(s, "b");
    admission_open(s->adm, false);
    admission_return(&a->ticket);
    admission_return(&b->ticket);
    enter(s, "c", 1, ADMISSION_FULL);
    admission_open(s->adm, true);
    settle(s);
    assert_true(a->admitted && b->admitted);
    stage_free(s);
}

static void test_who_returned_may_leave_or_expire(void **state)
{
    struct stage *s = stage_new(state, 2, 0);
    set_options(s, 2, 0, 10);
    struct actor *a = runs(s, "a");
    struct actor *b = runs(s, "b");
    admission_open(s->adm, false);
    admission_return(&a->ticket);
    admission_return(&b->ticket);
    leave(a);
    s->wanted = 1;
    loop_until(s->loop, all_expired, s);
    assert_true(b->expired && !a->expired);
    stage_free(s);
}

/* What one has run is no waiting: it has the whole time of the queue again. */
static void test_who_returns_may_wait_as_long_as_one_who_enters(void **state)
{
    struct stage *s = stage_new(state, 1, 1);
    struct actor *a = runs(s, "a");
    uint64_t now_ms = deadlines_now_ms(s->loop->deadlines);
    s->loop->uv.time += 600000;
    admission_open(s->adm, false);
    admission_return(&a->ticket);
    assert_true(a->ticket.deadline.at_ms == now_ms + 600000 + 60000);
    stage_free(s);
}

static void return_once(struct actor *a)
{
    a->then = NULL;
    a->admitted = false;
    admission_open(a->stage->adm, false);
    admission_return(&a->ticket);
}

static void test_one_may_return_as_it_is_admitted(void **state)
{
    struct stage *s = stage_new(state, 1, 2);
    struct actor *a = runs(s, "a");
    struct actor *b = waits(s, "b");
    b->then = return_once;
    leave(a);
    settle(s);
    assert_int_equal(b->ticket.state, TICKET_QUEUED);
    admission_open(s->adm, true);
    settle(s);
    assert_int_equal(b->ticket.state, TICKET_RUNNING);
    stage_free(s);
}

/* ---- other settings ---- */

static void test_more_places_are_taken_at_once(void **state)
{
    struct stage *s = stage_new(state, 1, 10);
    runs(s, "a");
    for (int i = 0; i < 4; i++)
        waits(s, "a");
    set_options(s, 3, 10, 60000);
    settle(s);
    assert_int_equal(s->served_count, 2);
    assert_int_equal(admission_running(s->adm), 3);
    stage_free(s);
}

static void test_fewer_places_let_those_that_run_go_on(void **state)
{
    struct stage *s = stage_new(state, 3, 10);
    struct actor *a[3];
    for (size_t i = 0; i < 3; i++)
        a[i] = runs(s, "a");
    struct actor *b = waits(s, "b");
    set_options(s, 1, 10, 60000);
    assert_int_equal(admission_running(s->adm), 3);
    for (size_t i = 0; i < 3; i++) {
        settle(s);
        assert_false(b->admitted);
        leave(a[i]);
    }
    settle(s);
    assert_true(b->admitted);
    stage_free(s);
}

static void test_a_shorter_queue_turns_nobody_out(void **state)
{
    struct stage *s = stage_new(state, 1, 3);
    struct actor *a = runs(s, "a");
    for (int i = 0; i < 3; i++)
        waits(s, "b");
    set_options(s, 1, 1, 60000);
    assert_int_equal(admission_waiting(s->adm), 3);
    enter(s, "c", 1, ADMISSION_FULL);
    serve_all(s, a);
    assert_order(s, "bbb");
    stage_free(s);
}

static void test_one_that_became_too_heavy_runs_alone(void **state)
{
    struct stage *s = stage_new(state, 4, 10);
    struct actor *a = enter(s, "a", 2, ADMISSION_RUNS);
    enter(s, "b", 2, ADMISSION_RUNS);
    struct actor *heavy = enter(s, "c", 4, ADMISSION_WAITS);
    set_options(s, 2, 10, 60000);
    enter(s, "d", 4, ADMISSION_TOO_BIG);
    leave(a);
    settle(s);
    assert_false(heavy->admitted);
    leave(&s->cast[1]);
    settle(s);
    assert_true(heavy->admitted);
    assert_int_equal(enter(s, "e", 1, ADMISSION_WAITS)->ticket.state, TICKET_QUEUED);
    leave(heavy);
    settle(s);
    assert_order(s, "ce");
    stage_free(s);
}

static void test_another_timeout_is_for_those_who_come(void **state)
{
    struct stage *s = stage_new(state, 1, 10);
    runs(s, "a");
    struct actor *old = waits(s, "a");
    set_options(s, 1, 10, 10);
    struct actor *new = waits(s, "a");
    s->wanted = 1;
    loop_until(s->loop, all_expired, s);
    assert_true(new->expired && !old->expired);
    stage_free(s);
}

/* ---- Retry-After ---- */

static void test_the_wait_is_places_by_time_over_places_at_once(void **state)
{
    (void)state;
    assert_int_equal(admission_wait_s(0, 5000, 4), 1);
    assert_int_equal(admission_wait_s(1, 0, 1), 1);
    assert_int_equal(admission_wait_s(1, 1000, 1), 1);
    assert_int_equal(admission_wait_s(1, 1001, 1), 2);
    assert_int_equal(admission_wait_s(10, 2000, 4), 5);
    assert_int_equal(admission_wait_s(10, 2001, 4), 6);
    assert_int_equal(admission_wait_s(160, 10000, 32), 50);
    assert_int_equal(admission_wait_s(59, 1000, 1), 59);
    assert_int_equal(admission_wait_s(60, 1000, 1), 60);
    assert_int_equal(admission_wait_s(61, 1000, 1), 60);
    assert_int_equal(admission_wait_s(SIZE_MAX, UINT64_MAX, 1), 60);
    assert_int_equal(admission_wait_s(SIZE_MAX, UINT64_MAX, SIZE_MAX), 60);
}

/* Time passes by hand; the loop does not turn meanwhile, for it would set its clock. */
static void hold(struct stage *s, uint64_t ms)
{
    struct actor *a = runs(s, "a");
    s->loop->uv.time += ms;
    leave(a);
    s->count--;
    *a = (struct actor){ .stage = NULL };
}

static void test_the_time_that_places_are_held_is_measured(void **state)
{
    struct stage *s = stage_new(state, 2, 100);
    enter(s, "a", 2, ADMISSION_RUNS);
    for (int i = 0; i < 8; i++)
        waits(s, "a");
    assert_int_equal(admission_retry_after_s(s->adm), 5); /* taken for a second each */
    stage_free(s);

    s = stage_new(state, 2, 100);
    hold(s, 4000); /* the first counts whole */
    enter(s, "a", 2, ADMISSION_RUNS);
    assert_int_equal(admission_retry_after_s(s->adm), 4);
    leave(&s->cast[0]);
    for (int i = 0; i < 100; i++)
        hold(s, 10000); /* and is forgotten in time */
    enter(s, "a", 2, ADMISSION_RUNS);
    assert_int_equal(admission_retry_after_s(s->adm), 10);
    enter(s, "a", 2, ADMISSION_WAITS);
    assert_int_equal(admission_retry_after_s(s->adm), 20);
    stage_free(s);
}

static void test_a_short_one_changes_the_average_by_an_eighth(void **state)
{
    struct stage *s = stage_new(state, 1, 100);
    hold(s, 8000);
    hold(s, 0);
    runs(s, "a");
    assert_int_equal(admission_retry_after_s(s->adm), 7);
    stage_free(s);
}

static void test_waiting_is_not_measured_and_a_lost_run_neither(void **state)
{
    struct stage *s = stage_new(state, 1, 100);
    hold(s, 3000);
    struct actor *a = runs(s, "a");
    struct actor *b = waits(s, "b");
    s->loop->uv.time += 50000;
    leave(b);
    admission_return(&a->ticket);
    leave(a);
    runs(s, "a");
    assert_int_equal(admission_retry_after_s(s->adm), 3);
    stage_free(s);
}

static void test_what_takes_no_time_is_a_second(void **state)
{
    struct stage *s = stage_new(state, 1, 100);
    hold(s, 0);
    runs(s, "a");
    for (int i = 0; i < 100; i++)
        waits(s, "a");
    assert_int_equal(admission_retry_after_s(s->adm), 1);
    stage_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(test_as_many_run_as_there_are_places_and_the_rest_wait),
        LOOP_TEST(test_a_full_queue_is_shared_between_principals),
        LOOP_TEST(test_one_that_returned_is_not_displaced),
        LOOP_TEST(test_without_a_queue_nobody_waits),
        LOOP_TEST(test_one_principal_alone_may_have_all_places),
        LOOP_TEST(test_a_ticket_weighs_as_many_places_as_it_asks_for),
        LOOP_TEST(test_while_a_heavy_one_saves_the_other_lines_have_their_turns),
        LOOP_TEST(test_who_is_refused_may_ask_again),
        LOOP_TEST(test_leaving_is_idempotent_and_safe_before_entering),
        LOOP_TEST(test_who_leaves_the_queue_makes_room_at_once),
        LOOP_TEST(test_a_place_is_given_on_but_never_from_within_the_call_that_frees_it),
        LOOP_TEST(test_who_leaves_between_the_free_place_and_its_turn_is_not_called),
        LOOP_TEST(test_who_leaves_as_it_is_admitted_lets_the_next_in),
        LOOP_TEST(test_the_one_in_the_middle_of_a_line_leaves),
        LOOP_TEST(test_within_a_line_it_is_first_come_first_served),
        LOOP_TEST(test_between_lines_places_go_round),
        LOOP_TEST(test_who_floods_starves_nobody),
        LOOP_TEST(test_who_comes_late_is_next_in_turn),
        LOOP_TEST(test_turns_are_fair_by_weight),
        LOOP_TEST(test_a_heavy_one_is_not_overtaken_for_ever),
        LOOP_TEST(test_what_was_saved_for_one_who_left_is_lost),
        LOOP_TEST(test_names_are_compared_not_pointers),
        LOOP_TEST(test_the_longest_name_fits),
        LOOP_TEST(test_lines_are_used_again),
        LOOP_TEST(test_who_waits_too_long_is_told_and_is_out),
        LOOP_TEST(test_who_runs_does_not_expire_and_who_left_neither),
        LOOP_TEST(test_behind_a_closed_gate_all_wait_and_then_all_go),
        LOOP_TEST(test_who_runs_goes_on_when_the_gate_closes),
        LOOP_TEST(test_a_gate_that_closes_again_before_the_queue_moved_lets_nobody_through),
        LOOP_TEST(test_a_gate_that_closes_as_one_is_admitted_stops_the_next),
        LOOP_TEST(test_who_returns_is_the_first_of_all),
        LOOP_TEST(test_all_who_return_keep_their_order_whatever_the_order_of_returning),
        LOOP_TEST(test_who_returns_needs_no_room_in_the_queue),
        LOOP_TEST(test_who_returned_may_leave_or_expire),
        LOOP_TEST(test_who_returns_may_wait_as_long_as_one_who_enters),
        LOOP_TEST(test_one_may_return_as_it_is_admitted),
        LOOP_TEST(test_more_places_are_taken_at_once),
        LOOP_TEST(test_fewer_places_let_those_that_run_go_on),
        LOOP_TEST(test_a_shorter_queue_turns_nobody_out),
        LOOP_TEST(test_one_that_became_too_heavy_runs_alone),
        LOOP_TEST(test_another_timeout_is_for_those_who_come),
        cmocka_unit_test(test_the_wait_is_places_by_time_over_places_at_once),
        LOOP_TEST(test_the_time_that_places_are_held_is_measured),
        LOOP_TEST(test_a_short_one_changes_the_average_by_an_eighth),
        LOOP_TEST(test_waiting_is_not_measured_and_a_lost_run_neither),
        LOOP_TEST(test_what_takes_no_time_is_a_second),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
