/* What a worker says on stderr, and what of it is logged.
 *
 * Before the handshake there are no prompts and no answers yet, and a worker that does not start tells only here why: these lines
 * are kept and logged, scrubbed, if it fails. Later ones may quote users, and no scrubber can know what of a prompt is private:
 * they are counted, and logged only if the operator asks for it. */
#ifndef STDERR_LOG_H
#define STDERR_LOG_H

#include "buf.h"
#include "log_quota.h"
#include "redact.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STDERR_LOG_START_MAX 8192 /* bytes that are kept before the handshake */

/* How WORKER_STDERR is set. */
enum stderr_mode { STDERR_OFF, STDERR_REDACTED };

/* Begins as zeroes but for the mode. */
struct stderr_log {
    enum stderr_mode mode;
    bool shook_hands;
    struct buf start; /* owned: lines from before the handshake */
    struct redact redact;
    struct log_quota told;
};

/* Takes one line. */
void stderr_log_line(struct stderr_log *s, uint64_t now_ms, const char *line, size_t len);

/* The worker has shaken hands. */
void stderr_log_shook_hands(struct stderr_log *s, uint64_t now_ms);

/* The worker has ended: what it leaves to be told is logged now. */
void stderr_log_ended(struct stderr_log *s);

/* Safe to repeat. */
void stderr_log_free(struct stderr_log *s);

#endif
