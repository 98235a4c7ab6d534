/* A strict parser of server-sent events: `data` and comments, cut out of bytes in any pieces. */
#ifndef SSE_H
#define SSE_H

#include "buf.h"
#include "lines.h"

#include <stdbool.h>
#include <stdint.h>

#define SSE_LINE_MAX_BYTES (64u << 20)

/* One event's data, its lines joined by newlines; borrowed for the call. */
typedef void (*sse_event_fn)(void *ctx, const char *data, size_t len);

struct sse {
    struct lines lines;
    struct buf data;    /* owned: of the event that is not finished */
    bool in_event;      /* lines of an event have come that no blank line has ended */
    uint64_t comments;  /* such as `: ping` */
    const char *broken; /* borrowed: a constant; NULL while all is well */
    sse_event_fn event;
    void *ctx;
};

void sse_init(struct sse *s, sse_event_fn event, void *ctx);
void sse_free(struct sse *s);

/* False when the stream is broken; it is then fed no more. */
CHECK_RESULT bool sse_feed(struct sse *s, const char *data, size_t len);

/* Whether the stream may end here: not within an event or a line. */
CHECK_RESULT bool sse_between_events(const struct sse *s);

#endif
