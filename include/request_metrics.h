/* What the metrics are told of requests. */
#ifndef REQUEST_METRICS_H
#define REQUEST_METRICS_H

#include <stdbool.h>
#include <stdint.h>

struct access;

/* One has ended. */
void request_metrics_note(const struct access *access);

#endif
