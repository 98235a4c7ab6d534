/* What became of the requests of one group. */
#include "tally.h"

#include "mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct histogram *outcome_of(struct tally *t, const char *name)
{
    for (size_t i = 0; i < t->outcome_count; i++)
        if (strcmp(t->outcomes[i]->name, name) == 0)
            return &t->outcomes[i]->us;
    if (t->outcome_count > TALLY_OUTCOMES_MAX)
        return &t->outcomes[TALLY_OUTCOMES_MAX]->us;
    if (t->outcome_count == TALLY_OUTCOMES_MAX)
        name = "other";
    struct tally_outcome *outcome = xcalloc(1, sizeof(*outcome));
    snprintf(outcome->name, sizeof(outcome->name), "%s", name);
    t->outcomes[t->outcome_count++] = outcome;
    return &outcome->us;
}

void tally_outcome(struct tally *t, const char *name, uint64_t us)
{
    t->ended++;
    histogram_add(outcome_of(t, name), us);
}

void tally_merge(struct tally *t, const struct tally *other)
{
    t->started += other->started;
    t->ended += other->ended;
    t->not_started += other->not_started;
    t->stalls += other->stalls;
    t->stalled_answers += other->stalled_answers;
    t->mismatches += other->mismatches;
    t->truncated += other->truncated;
    t->frames += other->frames;
    t->comments += other->comments;
    t->content_bytes += other->content_bytes;
    t->received_bytes += other->received_bytes;
    t->connections += other->connections;
    histogram_merge(&t->head_us, &other->head_us);
    histogram_merge(&t->content_us, &other->content_us);
    histogram_merge(&t->gap_us, &other->gap_us);
    for (size_t i = 0; i < other->outcome_count; i++)
        histogram_merge(outcome_of(t, other->outcomes[i]->name), &other->outcomes[i]->us);
}

static bool is_item(const char *item, size_t len, const char *name)
{
    return strlen(name) == len && memcmp(item, name, len) == 0;
}

uint64_t tally_count(const struct tally *t, const char *item, size_t item_len)
{
    const struct {
        const char *name;
        uint64_t count;
    } counts[] = {
        { "mismatch", t->mismatches },
        { "stall", t->stalls },
        { "not_started", t->not_started },
        { "truncated", t->truncated },
    };
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
        if (is_item(item, item_len, counts[i].name))
            return counts[i].count;
    uint64_t count = 0;
    for (size_t i = 0; i < t->outcome_count; i++)
        if (outcome_matches(t->outcomes[i]->name, item, item_len))
            count += t->outcomes[i]->us.count;
    return count;
}

void tally_free(struct tally *t)
{
    for (size_t i = 0; i < t->outcome_count; i++)
        free(t->outcomes[i]);
    t->outcome_count = 0;
}
