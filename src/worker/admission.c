/* Admission: who may run now, who waits and for how long, who is refused. */
#include "admission.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define QUANTUM 1          /* places that a line gains each time its turn comes */
#define HELD_SHIFT 3       /* a measurement counts an eighth */
#define HELD_SCALE 256     /* the average is kept in 1/256 ms */
#define HELD_FIRST_MS 1000 /* taken for the time that places are held until it was measured */

TAILQ_HEAD(ticket_list, ticket);

/* Those of one principal that wait. It is in the ring exactly while there is one. */
struct admission_line {
    TAILQ_ENTRY(admission_line) link;
    char principal[ADMISSION_PRINCIPAL_MAX + 1];
    struct ticket_list tickets; /* linked: by number */
    size_t count;
    size_t deficit; /* places that it may still take in this turn */
};

TAILQ_HEAD(line_list, admission_line);

struct admission {
    struct admission_options options;
    bool open;
    struct line_list ring;  /* owned: the one whose turn it is first */
    struct line_list spare; /* owned: lines without tickets, for the next principal */
    size_t running;         /* places taken */
    size_t waiting;         /* tickets */
    size_t waiting_places;
    uint64_t last_number;
    uint64_t held;         /* average time that places are held, scaled; 0: not measured yet */
    struct deadline serve; /* set while the queue may have to move */
};

/* ---- lines ---- */

static struct admission_line *find_line(struct admission *adm, const char *principal)
{
    struct admission_line *line = NULL;
    TAILQ_FOREACH(line, &adm->ring, link)
    if (strcmp(line->principal, principal) == 0)
        return line;
    return NULL;
}

/* A line for one who has none. As many are ever made as principals wait at once. */
static struct admission_line *take_line(struct admission *adm, const char *principal)
{
    struct admission_line *line = TAILQ_FIRST(&adm->spare);
    if (line != NULL)
        TAILQ_REMOVE(&adm->spare, line, link);
    else
        line = xcalloc(1, sizeof(*line));
    size_t len = strlen(principal);
    assert(len <= ADMISSION_PRINCIPAL_MAX);
    memcpy(line->principal, principal, len + 1);
    TAILQ_INIT(&line->tickets);
    line->deficit = 0;
    return line;
}

static void drop_line_if_empty(struct admission *adm, struct admission_line *line)
{
    if (!TAILQ_EMPTY(&line->tickets))
        return;
    TAILQ_REMOVE(&adm->ring, line, link);
    TAILQ_INSERT_HEAD(&adm->spare, line, link);
}

/* Only one that returns has somebody to pass. */
static void put_in_line(struct admission_line *line, struct ticket *t)
{
    line->count++;
    struct ticket *after = TAILQ_LAST(&line->tickets, ticket_list);
    if (after == NULL || after->number < t->number) {
        TAILQ_INSERT_TAIL(&line->tickets, t, link);
        return;
    }
    struct ticket *before = TAILQ_FIRST(&line->tickets);
    while (before->number < t->number)
        before = TAILQ_NEXT(before, link);
    TAILQ_INSERT_BEFORE(before, t, link);
}

/* ---- the state of a ticket ---- */

static void serve_soon(struct admission *adm);

static void on_deadline(struct deadline *d);

static void forget_waiting(struct ticket *t)
{
    struct admission *adm = t->admission;
    TAILQ_REMOVE(&t->line->tickets, t, link);
    t->line->count--;
    drop_line_if_empty(adm, t->line);
    t->line = NULL;
    adm->waiting--;
    adm->waiting_places -= t->taken;
    deadline_clear(adm->options.deadlines, &t->deadline);
}

/* The only function that writes t->state. Entry and exit work of each state lives here. */
static void set_state(struct admission *adm, struct ticket *t, enum ticket_state next)
{
    if (t->state == TICKET_QUEUED)
        forget_waiting(t);
    else if (t->state == TICKET_RUNNING)
        adm->running -= t->taken;
    t->state = next;
    switch (next) {
    case TICKET_NONE:
        t->admission = NULL;
        break;
    case TICKET_QUEUED:
        put_in_line(t->line, t);
        adm->waiting++;
        adm->waiting_places += t->taken;
        deadline_set(adm->options.deadlines, &t->deadline, adm->options.queue_timeout_ms,
                     on_deadline);
        break;
    case TICKET_RUNNING:
        adm->running += t->taken;
        t->since_ms = deadlines_now_ms(adm->options.deadlines);
        break;
    }
    serve_soon(adm);
}

static void on_deadline(struct deadline *d)
{
    struct ticket *t = deadline_owner(d, struct ticket, deadline);
    admission_leave(t);
    t->events->on_expired(t);
}

/* ---- the queue moves ---- */

static bool fits(const struct admission *adm, size_t places)
{
    /* One heavier than all places, which have become fewer, runs alone. */
    return adm->running == 0 || adm->running + places <= adm->options.concurrency;
}

static void end_turn(struct admission *adm, struct admission_line *line)
{
    TAILQ_REMOVE(&adm->ring, line, link);
    TAILQ_INSERT_TAIL(&adm->ring, line, link);
}

static bool may_go(const struct admission_line *line, const struct ticket *t)
{
    return t->paid || line->deficit >= t->taken;
}

/* The ticket whose turn it is, of a queue that is not empty. Lines that cannot pay for their first one save, and pass. */
static struct ticket *find_next(struct admission *adm)
{
    for (;;) {
        struct admission_line *line = TAILQ_FIRST(&adm->ring);
        struct ticket *t = TAILQ_FIRST(&line->tickets);
        if (may_go(line, t))
            return t;
        line->deficit += QUANTUM;
        if (may_go(line, t))
            return t;
        end_turn(adm, line);
    }
}

static void admit(struct admission *adm, struct ticket *t)
{
    struct admission_line *line = t->line;
    if (!t->paid)
        line->deficit -= t->taken;
    set_state(adm, t, TICKET_RUNNING);
    const struct ticket *next = TAILQ_FIRST(&line->tickets);
    if (next != NULL && !may_go(line, next))
        end_turn(adm, line);
    t->events->on_admitted(t);
}

/* The one whose turn it is waits until its places are free: a lighter one that passed it would starve it. */
static void on_serve(struct deadline *d)
{
    struct admission *adm = deadline_owner(d, struct admission, serve);
    while (adm->open && adm->waiting != 0) {
        struct ticket *t = find_next(adm);
        if (!fits(adm, t->taken))
            break;
        admit(adm, t);
    }
    deadline_clear(adm->options.deadlines, &adm->serve); /* all that has moved was seen */
}

/* Not at once: what frees a place is often in the middle of its own end. */
static void serve_soon(struct admission *adm)
{
    bool may_move = adm->open && adm->waiting != 0 && adm->running < adm->options.concurrency;
    if (may_move && adm->serve.fire == NULL)
        deadline_set(adm->options.deadlines, &adm->serve, 0, on_serve);
}

/* ---- the time that places are held ---- */

static void measure(struct admission *adm, const struct ticket *t)
{
    uint64_t held_ms = deadlines_now_ms(adm->options.deadlines) - t->since_ms;
    uint64_t held = held_ms * HELD_SCALE;
    if (adm->held == 0)
        adm->held = held;
    else
        adm->held = adm->held - (adm->held >> HELD_SHIFT) + (held >> HELD_SHIFT);
    if (adm->held == 0)
        adm->held = 1; /* measured, and next to nothing */
}

int64_t admission_wait_s(size_t places, uint64_t held_ms, size_t concurrency)
{
    const uint64_t most_ms = UINT64_C(1000) * ADMISSION_RETRY_MAX_S;
    uint64_t total_ms = 0;
    if (__builtin_mul_overflow((uint64_t)places, held_ms, &total_ms))
        return ADMISSION_RETRY_MAX_S;
    uint64_t wait_ms = total_ms / concurrency + (total_ms % concurrency != 0 ? 1 : 0);
    if (wait_ms >= most_ms)
        return ADMISSION_RETRY_MAX_S;
    return wait_ms <= 1000 ? 1 : (int64_t)((wait_ms + 999) / 1000);
}

int64_t admission_retry_after_s(const struct admission *adm)
{
    uint64_t held_ms = adm->held / HELD_SCALE;
    if (adm->held == 0)
        held_ms = HELD_FIRST_MS;
    return admission_wait_s(adm->running + adm->waiting_places, held_ms, adm->options.concurrency);
}

/* ---- public ---- */

struct admission *admission_new(const struct admission_options *options)
{
    struct admission *adm = xcalloc(1, sizeof(*adm));
    assert(options->concurrency != 0);
    adm->options = *options;
    TAILQ_INIT(&adm->ring);
    TAILQ_INIT(&adm->spare);
    return adm;
}

void admission_free(struct admission *adm)
{
    if (adm == NULL)
        return;
    assert(adm->waiting == 0 && adm->running == 0);
    deadline_clear(adm->options.deadlines, &adm->serve);
    struct admission_line *line = NULL;
    while ((line = TAILQ_FIRST(&adm->spare)) != NULL) {
        TAILQ_REMOVE(&adm->spare, line, link);
        free(line);
    }
    free(adm);
}

void admission_reconfigure(struct admission *adm, const struct admission_options *options)
{
    struct deadlines *deadlines = adm->options.deadlines;
    assert(options->concurrency != 0);
    adm->options = *options;
    adm->options.deadlines = deadlines;
    serve_soon(adm);
}

void admission_open(struct admission *adm, bool open)
{
    adm->open = open;
    serve_soon(adm);
}

bool admission_is_open(const struct admission *adm)
{
    return adm->open;
}

static void join_line(struct admission *adm, struct ticket *t)
{
    t->line = find_line(adm, t->principal);
    if (t->line != NULL)
        return;
    t->line = take_line(adm, t->principal);
    TAILQ_INSERT_TAIL(&adm->ring, t->line, link);
}

/* A full queue has room for a principal who has less of it than another: the last one of the longest line goes. Else whoever
 * floods would have it all. */
static bool make_room(struct admission *adm, const char *principal)
{
    const struct admission_line *own = find_line(adm, principal);
    struct admission_line *line = NULL;
    struct admission_line *longest = NULL;
    TAILQ_FOREACH(line, &adm->ring, link)
    if (longest == NULL || line->count > longest->count)
        longest = line;
    if (longest == NULL || longest->count <= (own != NULL ? own->count : 0) + 1 ||
        adm->waiting > adm->options.queue_max) /* it has become shorter: nobody comes in */
        return false;
    struct ticket *last = TAILQ_LAST(&longest->tickets, ticket_list);
    if (last->paid)
        return false;
    admission_leave(last);
    last->events->on_displaced(last);
    return true;
}

enum admission_answer admission_enter(struct admission *adm, struct ticket *t)
{
    assert(t->state == TICKET_NONE && t->weight != 0);
    if (t->weight > adm->options.concurrency)
        return ADMISSION_TOO_BIG;
    bool runs = adm->open && adm->waiting == 0 && fits(adm, t->weight);
    if (!runs && adm->waiting >= adm->options.queue_max && !make_room(adm, t->principal))
        return ADMISSION_FULL;
    t->admission = adm;
    t->taken = t->weight;
    t->paid = false;
    t->number = ++adm->last_number;
    if (!runs)
        join_line(adm, t);
    set_state(adm, t, runs ? TICKET_RUNNING : TICKET_QUEUED);
    return runs ? ADMISSION_RUNS : ADMISSION_WAITS;
}

void admission_return(struct ticket *t)
{
    struct admission *adm = t->admission;
    assert(t->state == TICKET_RUNNING);
    join_line(adm, t);
    TAILQ_REMOVE(&adm->ring, t->line, link);
    TAILQ_INSERT_HEAD(&adm->ring, t->line, link);
    t->paid = true; /* it was its turn, and still is */
    set_state(adm, t, TICKET_QUEUED);
}

void admission_leave(struct ticket *t)
{
    struct admission *adm = t->admission;
    if (t->state == TICKET_NONE)
        return;
    if (t->state == TICKET_RUNNING)
        measure(adm, t);
    else if (t == TAILQ_FIRST(&t->line->tickets))
        t->line->deficit = 0; /* what was saved for it is not for those behind it */
    set_state(adm, t, TICKET_NONE);
}

size_t admission_running(const struct admission *adm)
{
    return adm->running;
}

size_t admission_waiting(const struct admission *adm)
{
    return adm->waiting;
}
