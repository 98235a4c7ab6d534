/* The time of one stream, for the metrics: to its first byte, between two writes, to its end. */
#ifndef STREAM_METER_H
#define STREAM_METER_H

#include <stdbool.h>
#include <stdint.h>

/* Begins as zeroes. */
struct stream_meter {
    uint64_t first_ns; /* of the monotonic clock; 0: it has not begun */
    uint64_t last_ns;  /* of the last write */
};

/* Streams that run now. */
unsigned stream_meter_active(void);

/* Something is written. `since_ns` is when the request was complete. */
void stream_meter_write(struct stream_meter *m, uint64_t since_ns, const char *model);

/* It has ended; `outcome` and `error_code` (NULL: none) as in reqctx.h. Nothing when it never began, or has ended before. */
void stream_meter_end(struct stream_meter *m, const char *model, const char *outcome,
                      const char *error_code);

#endif
