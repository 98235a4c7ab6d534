/* So many log lines a second about one babbler, and a line about those that were held back. */
#ifndef LOG_QUOTA_H
#define LOG_QUOTA_H

#include <stdbool.h>
#include <stdint.h>

#define LOG_QUOTA_A_SECOND 100

/* Begins as zeroes but for the stream. */
struct log_quota {
    const char *stream; /* static: what the lines are about */
    uint64_t since_ms;  /* loop time */
    unsigned used;      /* lines since then */
    uint64_t held_back;
};

/* Whether one more line may be logged now. */
bool log_quota_take(struct log_quota *q, uint64_t now_ms);

/* Logs how many were held back, if any were: also when it is over. */
void log_quota_tell(struct log_quota *q);

#endif
