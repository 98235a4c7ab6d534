/* Stop sequences: finds the first of them in a text that comes in pieces. Pure. */
#ifndef STOP_H
#define STOP_H

#include "buf.h"

#include <stdbool.h>
#include <stddef.h>

#define STOP_MAX 4          /* sequences, as OpenAI has it */
#define STOP_BYTES_MAX 1024 /* of one sequence */

/* All zero: no sequences. */
struct stop {
    const char *sequences[STOP_MAX]; /* borrowed */
    size_t lengths[STOP_MAX];
    size_t count;
    struct buf held; /* owned: the end of the text so far, which may be the start of a sequence */
};

void stop_add(struct stop *stop, const char *sequence, size_t len);

/* Takes more text and appends to `out` what can be let go: all that cannot be part of a sequence. True when a sequence was
 * found: what comes before it is in `out`, the rest is gone. UTF-8 is never cut inside a character, as long as
 * the sequences are UTF-8. */
bool stop_take(struct stop *stop, const char *text, size_t len, struct buf *out);

/* The text has ended: appends what was held back. */
void stop_end(struct stop *stop, struct buf *out);

void stop_free(struct stop *stop);

#endif
