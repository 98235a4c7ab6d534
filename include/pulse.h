/* The pulse of a run of the model: when it was asked, when it last showed a sign, and which of its deadlines is over. Pure. */
#ifndef PULSE_H
#define PULSE_H

#include "json.h"

#include <stdbool.h>
#include <stdint.h>

struct pulse_limits {
    uint64_t first_ms;   /* from the question to the first sign */
    uint64_t silence_ms; /* between two signs */
};

struct pulse {
    uint64_t ends_at_ms;  /* the deadline of the whole */
    uint64_t heard_at_ms; /* the last sign, or when it was asked */
    bool heard;           /* it has shown one */
};

enum pulse_state { PULSE_FINE, PULSE_UNANSWERED, PULSE_SILENT, PULSE_TOO_LONG };

/* A run begins that must be over after `turn_ms`. */
void pulse_begin(struct pulse *p, uint64_t now_ms, uint64_t turn_ms);

/* The model was asked now, unless it has shown a sign already. */
void pulse_asked(struct pulse *p, uint64_t now_ms);

/* A sign. True for the first, from which on another deadline counts. */
bool pulse_sign(struct pulse *p, uint64_t now_ms);

/* Which deadline is over; if none, the time until the next one is. */
enum pulse_state pulse_check(const struct pulse *p, const struct pulse_limits *limits,
                             uint64_t now_ms, uint64_t *ret_left_ms);

/* Whether a notification of a turn comes of the model. The worker's own words about a turn do not: it has begun, the user's
 * message has gone in, a lost upstream is tried again. */
bool pulse_is_sign(const char *method, const json_t *params);

#endif
