/* Counts of values in buckets of a fixed relative width: percentiles of millions of values in constant memory. */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

/* Each power of two is cut into this many buckets, so a percentile is at most 1/64 (1.6 %) too high. */
#define HISTOGRAM_SUB_BITS 6
#define HISTOGRAM_SUB (1u << HISTOGRAM_SUB_BITS)
#define HISTOGRAM_VALUE_BITS 42 /* in microseconds: 50 days; what is more counts as that */
#define HISTOGRAM_BUCKETS ((HISTOGRAM_VALUE_BITS - HISTOGRAM_SUB_BITS + 1) * HISTOGRAM_SUB)

/* All zero is empty. */
struct histogram {
    uint64_t count;
    uint64_t sum;
    uint64_t min; /* exact; 0 while empty */
    uint64_t max; /* exact */
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *h, uint64_t value);

/* Adds all that `other` has counted. */
void histogram_merge(struct histogram *h, const struct histogram *other);

/* The least value that at least `percent` of all values do not exceed, rounded up to its bucket's end but
 * never above the largest value; 0 when nothing was counted. */
uint64_t histogram_percentile(const struct histogram *h, double percent);

/* 0 when nothing was counted. */
double histogram_mean(const struct histogram *h);

#endif
