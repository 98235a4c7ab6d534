/* How many requests came and which errors they ended in, over the last minute and the last hour. */
#include "error_tally.h"

#include <stdbool.h>
#include <string.h>

#define SLOTS 60
#define SECOND_MS 1000
#define MINUTE_MS 60000

/* Sixty slots of the time up to now; slot number n of all time is at n % SLOTS. */
struct ring {
    uint64_t newest; /* number of the slot under way */
    uint32_t counts[SLOTS];
    uint64_t sum;
};

/* `other` is the last one. Those that are in use come first, in no order. */
struct kind {
    const char *route; /* static */
    const char *code;  /* static */
    int64_t last_at_ms;
    struct ring hour;
};

static struct {
    struct ring requests_minute;
    struct ring errors_minute;
    struct ring requests_hour;
    struct ring errors_hour;
    struct kind kinds[ERROR_KINDS_MAX + 1];
    size_t kinds_count; /* without `other` */
} tally;

static void advance(struct ring *r, uint64_t slot_ms, uint64_t now_ms)
{
    uint64_t now = now_ms / slot_ms;
    if (now - r->newest >= SLOTS) { /* all is too old */
        memset(r->counts, 0, sizeof(r->counts));
        r->sum = 0;
        r->newest = now;
    }
    while (r->newest < now) {
        r->newest++;
        r->sum -= r->counts[r->newest % SLOTS];
        r->counts[r->newest % SLOTS] = 0;
    }
}

static void count(struct ring *r, uint64_t slot_ms, uint64_t now_ms)
{
    advance(r, slot_ms, now_ms);
    r->counts[now_ms / slot_ms % SLOTS]++;
    r->sum++;
}

static uint64_t sum(struct ring *r, uint64_t slot_ms, uint64_t now_ms)
{
    advance(r, slot_ms, now_ms);
    return r->sum;
}

/* Kinds that did not come for an hour make room. */
static void drop_old(uint64_t now_ms)
{
    for (size_t i = 0; i < tally.kinds_count;) {
        if (sum(&tally.kinds[i].hour, MINUTE_MS, now_ms) > 0)
            i++;
        else
            tally.kinds[i] = tally.kinds[--tally.kinds_count];
    }
}

static struct kind *find(const char *route, const char *code)
{
    for (size_t i = 0; i < tally.kinds_count; i++)
        if (strcmp(tally.kinds[i].route, route) == 0 && strcmp(tally.kinds[i].code, code) == 0)
            return &tally.kinds[i];
    return NULL;
}

static struct kind *find_or_add(uint64_t now_ms, const char *route, const char *code)
{
    struct kind *k = find(route, code);
    if (k != NULL)
        return k;
    if (tally.kinds_count == ERROR_KINDS_MAX)
        drop_old(now_ms);
    bool full = tally.kinds_count == ERROR_KINDS_MAX;
    k = &tally.kinds[full ? ERROR_KINDS_MAX : tally.kinds_count++];
    if (!full)
        *k = (struct kind){ .route = route, .code = code };
    else
        k->route = k->code = "other";
    return k;
}

void error_tally_note(uint64_t now_ms, int64_t wall_ms, const char *route, const char *code)
{
    count(&tally.requests_minute, SECOND_MS, now_ms);
    count(&tally.requests_hour, MINUTE_MS, now_ms);
    if (code == NULL)
        return;
    count(&tally.errors_minute, SECOND_MS, now_ms);
    count(&tally.errors_hour, MINUTE_MS, now_ms);
    struct kind *k = find_or_add(now_ms, route, code);
    k->last_at_ms = wall_ms;
    count(&k->hour, MINUTE_MS, now_ms);
}

struct request_count error_tally_minute(uint64_t now_ms)
{
    return (struct request_count){ .requests = sum(&tally.requests_minute, SECOND_MS, now_ms),
                                   .errors = sum(&tally.errors_minute, SECOND_MS, now_ms) };
}

struct request_count error_tally_hour(uint64_t now_ms)
{
    return (struct request_count){ .requests = sum(&tally.requests_hour, MINUTE_MS, now_ms),
                                   .errors = sum(&tally.errors_hour, MINUTE_MS, now_ms) };
}

/* Puts it where it belongs among those that there are, of which the last one may fall out. */
static size_t insert(struct error_count *list, size_t len, size_t max, const struct error_count *e)
{
    size_t at = len;
    while (at > 0 && list[at - 1].count < e->count)
        at--;
    if (at == max)
        return len;
    size_t moved = (len < max ? len : max - 1) - at;
    memmove(&list[at + 1], &list[at], moved * sizeof(*list));
    list[at] = *e;
    return len < max ? len + 1 : max;
}

size_t error_tally_top(uint64_t now_ms, struct error_count *ret, size_t max)
{
    size_t len = 0;
    drop_old(now_ms);
    for (size_t i = 0; i <= ERROR_KINDS_MAX; i++) {
        struct kind *k = &tally.kinds[i];
        if (i >= tally.kinds_count && i < ERROR_KINDS_MAX)
            continue;
        const struct error_count e = { k->route, k->code, sum(&k->hour, MINUTE_MS, now_ms),
                                       k->last_at_ms };
        if (e.count > 0)
            len = insert(ret, len, max, &e);
    }
    return len;
}

void error_tally_reset(void)
{
    memset(&tally, 0, sizeof(tally));
}
