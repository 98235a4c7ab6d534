/* Metrics: every family that the program exposes, in one table with closed sets of labels.
 *
 *     metric_count(M_HTTP_REQUESTS, 1, route, method, "2xx", model);
 *     metric_observe(M_STREAM_TTFB, 12.5, model);
 *
 * A label's value is a name of our own making (a route, an error code, a model that the worker lists), never what a client
 * wrote. Each family has room for a number of series that is fixed in the table; what does not fit goes to one whose
 * labels are all `other`, so the whole page has a bound that no client can move (METRICS_LINES_MAX). Of those places some are
 * reserved: what somebody without a key can bring about (a guest) does not take them from who has one. */
#ifndef METRICS_H
#define METRICS_H

#include "buf.h"

#include <stdbool.h>
#include <stddef.h>

#define METRICS_LINES_MAX 400 /* samples on the page, buckets included */
#define METRIC_LABELS_MAX 4
#define METRIC_OTHER "other" /* label of what has no name of its own, or no series */

enum metric {
    M_BUILD_INFO,
    M_HTTP_REQUESTS,
    M_HTTP_LATENCY,
    M_HTTP_ERRORS,
    M_STREAM_TTFB,
    M_STREAM_DURATION,
    M_STREAM_GAP,
    M_STREAM_END,
    M_STREAMS_ACTIVE,
    M_QUEUE_DEPTH,
    M_QUEUE_WAIT,
    M_CONNECTIONS,
    M_PROXY_OVERHEAD,
    M_TOKENS,
    M_COST,
    M_UNPRICED,
    M_TURNS,
    M_TURNS_ACTIVE,
    M_TOOL_BUFFER_STARTED,
    M_TOOL_BUFFER_FLUSHED,
    M_TOOL_BUFFER_ABORTED,
    M_TOOL_PARKED,
    M_TOOL_RESUMED,
    M_THREADS_REUSED,
    M_RUNS_AGAIN,
    M_WORKER_STATE,
    M_WORKER_READY,
    M_WORKER_RESTARTS,
    M_WORKER_RECYCLES,
    M_WORKER_BACKOFF,
    M_WORKER_STREAK,
    M_WORKER_START,
    M_WORKER_MEMORY,
    M_WORKER_CPU,
    M_WORKER_INPUT_QUEUE,
    M_WORKER_LINES_BAD,
    M_MAINTENANCE,
    M_QUOTA_REJECTIONS,
    M_ADMISSION_REFUSED,
    M_LOG_DROPPED,
    M_TRACE_WRITTEN,
    M_TRACE_PRUNED,
    M_INTERACTIONS_LOST,
    M_LOOP_LAG,
    M_PROCESS_CPU,
    M_PROCESS_MEMORY,
    M_PROCESS_MEMORY_LIMIT,
    M_PROCESS_FDS,
    M_PROCESS_FDS_MAX,
    M_PROCESS_START,
    METRIC_COUNT
};

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

enum metric_kind metric_kind(enum metric m);
size_t metric_label_count(enum metric m);

/* Of the labels in the order of the table, as many as the family has; each is copied when it is new. */
void metric_add(enum metric m, double value, const char *const *labels, size_t count);
void metric_set_value(enum metric m, double value, const char *const *labels, size_t count);
void metric_observe_value(enum metric m, double value, const char *const *labels, size_t count);

#define METRIC_LABELS(...)                                                                         \
    (const char *const[]){ NULL, ##__VA_ARGS__ } + 1,                                              \
        sizeof((const char *const[]){ NULL, ##__VA_ARGS__ }) / sizeof(const char *) - 1

/* Adds to a counter, sets a gauge, notes an observation of a histogram, in the unit of the family's name. */
#define metric_count(m, value, ...) metric_add((m), (value), METRIC_LABELS(__VA_ARGS__))
#define metric_set(m, value, ...) metric_set_value((m), (value), METRIC_LABELS(__VA_ARGS__))
#define metric_observe(m, value, ...) metric_observe_value((m), (value), METRIC_LABELS(__VA_ARGS__))

/* The same for what a guest has brought about. */
void metric_add_guest(enum metric m, double value, const char *const *labels, size_t count);
void metric_observe_guest(enum metric m, double value, const char *const *labels, size_t count);

enum metrics_format {
    METRICS_TEXT,       /* Prometheus text format 0.0.4 */
    METRICS_OPENMETRICS /* OpenMetrics 1.0.0 */
};

/* The one that an Accept header wants most, by its weights; `accept` may be NULL and need not end with a NUL. */
enum metrics_format metrics_negotiate(const char *accept, size_t len);

const char *metrics_content_type(enum metrics_format format);

/* Appends the page. Families without a series are left out. */
void metrics_write(struct buf *out, enum metrics_format format);

/* The most samples that the table allows: at most METRICS_LINES_MAX. */
size_t metrics_lines_max(void);

/* What is counted without labels, or with labels that are all known, is there from now on, as zero: a first event can be seen as a rise. */
void metrics_start(void);

/* Forgets all series: for tests, and for gauges that are set anew at each scrape. */
void metrics_reset(void);
void metric_clear(enum metric m);

/* Sets process_* from /proc/self, and the worker's CPU and memory from /proc/<pid> (0: none). */
void metrics_collect_process(int worker_pid);

#endif
