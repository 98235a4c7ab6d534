/* What became of the requests of one group: outcomes by name, and histograms of times. */
#ifndef TALLY_H
#define TALLY_H

#include "answer.h"
#include "histogram.h"

#define TALLY_OUTCOMES_MAX 40 /* names; what is more counts as "other" */

struct tally_outcome {
    char name[OUTCOME_SIZE];
    struct histogram us; /* from the intended start to the end, microseconds */
};

/* All zero is empty. */
struct tally {
    uint64_t started;
    uint64_t ended;
    uint64_t not_started; /* open loop: too many were in flight */
    uint64_t stalls;
    uint64_t stalled_answers;
    uint64_t mismatches;
    uint64_t truncated; /* the stream was complete, its HTTP body was not */
    uint64_t frames;
    uint64_t comments;
    uint64_t content_bytes;
    uint64_t received_bytes;
    uint64_t connections; /* begun */
    struct histogram head_us;
    struct histogram content_us; /* until the first content */
    struct histogram gap_us;     /* between data frames */
    size_t outcome_count;
    struct tally_outcome *outcomes[TALLY_OUTCOMES_MAX + 1]; /* owned */
};

void tally_free(struct tally *t);

/* One request ended. */
void tally_outcome(struct tally *t, const char *name, uint64_t us);

/* Adds all that `other` has counted. */
void tally_merge(struct tally *t, const struct tally *other);

/* How many outcomes are meant by an item of a list; see outcome_matches. */
uint64_t tally_count(const struct tally *t, const char *item, size_t item_len);

#endif
