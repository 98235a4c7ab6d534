/* Metrics: the table of families, their series, and the page. */
#include "metrics.h"

#include "mem.h"

#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define BUCKETS_MAX 10

struct family {
    const char *name;    /* without _total */
    const char *seconds; /* of a histogram in milliseconds: its twin in seconds; NULL: none */
    enum metric_kind kind;
    size_t series_max;    /* with labels: the last place is kept for the one that takes the rest */
    size_t reserved;      /* places of them that a guest's series does not get */
    const double *bounds; /* of a histogram, ascending, ended by 0 */
    const char *labels[METRIC_LABELS_MAX + 1];
    const char *help;
    size_t
        kept; /* 1 + the label that what has no place keeps, as sums go by it; 0: it keeps none */
    size_t kept_max;          /* values of that label: as many places are kept */
    const char *const *known; /* all values of the only label; NULL: not known from the start */
};

struct series {
    char *labels[METRIC_LABELS_MAX]; /* owned */
    double value;                    /* of a histogram: the sum */
    uint64_t count;
    uint64_t buckets[BUCKETS_MAX];
};

struct shelf {
    struct series *series; /* owned; as many as the family may have, made with the first */
    size_t count;
    size_t rests; /* series of them that take what has no place */
    size_t last;  /* the place that was found last: the next is often the same */
};

static const double request_ms[] = { 5, 50, 250, 1000, 5000, 30000, 600000, 0 };
static const double gap_ms[] = { 5, 50, 500, 5000, 60000, 0 };
static const double overhead_us[] = { 50, 200, 1000, 5000, 20000, 0 };
static const double start_ms[] = { 100, 500, 2000, 10000, 0 };
static const double lag_ms[] = { 0.5, 1, 5, 25, 100, 0 };

static const char *const stream_ends[] = { "done",        "tool_calls",  "length", "error",
                                           "client_gone", "worker_lost", NULL };
static const char *const turn_ends[] = { "completed",
                                         "tool_calls",
                                         "failed",
                                         "interrupted",
                                         "rpc_timeout",
                                         "first_event_timeout",
                                         "silence_timeout",
                                         "turn_timeout",
                                         "worker_lost",
                                         "abandoned",
                                         NULL };
static const char *const refusals[] = { "proxy_queue_full",  "queue_timeout",
                                        "worker_not_ready",  "worker_congested",
                                        "server_overloaded", "rate_limit_exceeded",
                                        "shutting_down",     "maintenance",
                                        "upstream_auth",     NULL };
static const char *const quota_codes[] = { "insufficient_quota", "rate_limit_exceeded", NULL };
static const char *const trace_ends[] = { "ttl",        "count",   "write_failed",
                                          "queue_full", "too_big", NULL };

#define LABELS(...)                                                                                \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }
#define BARE                                                                                       \
    {                                                                                              \
        NULL                                                                                       \
    }

static const struct family families[METRIC_COUNT] = {
    [M_BUILD_INFO] = { "codex_build_info", NULL, METRIC_GAUGE, 2, 0, NULL,
                       LABELS("version", "codex_version"),
                       "1, with the versions of codex-api and of the worker." },
    [M_HTTP_REQUESTS] = { "codex_http_requests", NULL, METRIC_COUNTER, 34, 12, NULL,
                          LABELS("route", "method", "status_family", "model"),
                          "Requests that have ended." },
    [M_HTTP_LATENCY] = { "codex_http_latency_ms", "codex_http_latency_seconds", METRIC_HISTOGRAM, 6,
                         5, request_ms, LABELS("route", "method", "status_family", "model"),
                         "From a whole request to its last byte, of the routes under /v1." },
    [M_HTTP_ERRORS] = { "codex_http_errors", NULL, METRIC_COUNTER, 20, 8, NULL,
                        LABELS("route", "code"),
                        "Requests that ended with an error, by its code." },
    [M_STREAM_TTFB] = { "codex_stream_ttfb_ms", NULL, METRIC_HISTOGRAM, 3, 0, request_ms,
                        LABELS("model"), "From a whole request to the first byte of its stream." },
    [M_STREAM_DURATION] = { "codex_stream_duration_ms", NULL, METRIC_HISTOGRAM, 3, 0, request_ms,
                            LABELS("model"), "From the first byte of a stream to its last." },
    [M_STREAM_GAP] = { "codex_stream_gap_ms", NULL, METRIC_HISTOGRAM, 1, 0, gap_ms, BARE,
                       "Between two writes of a stream." },
    [M_STREAM_END] = { "codex_stream_end", NULL, METRIC_COUNTER, 7, 0, NULL, LABELS("outcome"),
                       "Streams that have ended, by how.", .known = stream_ends },
    [M_STREAMS_ACTIVE] = { "codex_streams_active", NULL, METRIC_GAUGE, 1, 0, NULL, BARE,
                           "Streams that run." },
    [M_QUEUE_DEPTH] = { "codex_queue_depth", NULL, METRIC_GAUGE, 1, 0, NULL, BARE,
                        "Requests that wait for a turn." },
    [M_QUEUE_WAIT] = { "codex_queue_wait_ms", NULL, METRIC_HISTOGRAM, 1, 0, gap_ms, BARE,
                       "How long requests waited for a turn." },
    [M_CONNECTIONS] = { "codex_connections", NULL, METRIC_GAUGE, 1, 0, NULL, BARE,
                        "Connections of clients." },
    [M_PROXY_OVERHEAD] = { "codex_proxy_overhead_us", NULL, METRIC_HISTOGRAM, 2, 0, overhead_us,
                           LABELS("route"),
                           "Time that codex-api worked on a request of the API, all waiting left "
                           "out." },
    [M_TOKENS] = { "codex_tokens", NULL, METRIC_COUNTER, 16, 0, NULL, LABELS("model", "type"),
                   "Tokens as the upstream counted them; cached is part of prompt, reasoning of "
                   "completion.",
                   .kept = 2, .kept_max = 4 },
    [M_COST] = { "codex_estimated_cost_usd", NULL, METRIC_COUNTER, 4, 0, NULL, LABELS("model"),
                 "Cost of the tokens by the price file, in US dollars." },
    [M_UNPRICED] = { "codex_unpriced_tokens", NULL, METRIC_COUNTER, 4, 0, NULL, LABELS("model"),
                     "Tokens of models that the price file does not know." },
    [M_TURNS] = { "codex_turns", NULL, METRIC_COUNTER, 11, 0, NULL, LABELS("outcome"),
                  "Turns that have ended, by how.", .known = turn_ends },
    [M_TURNS_ACTIVE] = { "codex_turns_active", NULL, METRIC_GAUGE, 1, 0, NULL, BARE,
                         "Turns that occupy the worker." },
    [M_TOOL_BUFFER_STARTED] = { "codex_tool_buffer_started", NULL, METRIC_COUNTER, 1, 0, NULL, BARE,
                                "Batches of function calls that began to be gathered." },
    [M_TOOL_BUFFER_FLUSHED] = { "codex_tool_buffer_flushed", NULL, METRIC_COUNTER, 1, 0, NULL, BARE,
                                "Batches of function calls that were given to the client." },
    [M_TOOL_BUFFER_ABORTED] = { "codex_tool_buffer_aborted", NULL, METRIC_COUNTER, 1, 0, NULL, BARE,
                                "Batches of function calls that came to nothing." },
    [M_TOOL_PARKED] = { "codex_tool_turns_parked", NULL, METRIC_GAUGE, 1, 0, NULL, BARE,
                        "Turns that wait for the results of their calls." },
    [M_TOOL_RESUMED] = { "codex_tool_turns_resumed", NULL, METRIC_COUNTER, 1, 0, NULL, BARE,
                         "Parked turns that were carried on." },
    [M_THREADS_REUSED] = { "codex_threads_reused", NULL, METRIC_COUNTER, 1, 0, NULL, BARE,
                           "Requests that continued on the thread of an answered one." },
    [M_RUNS_AGAIN] = { "codex_runs_again", NULL, METRIC_COUNTER, 1, 0, NULL, BARE,
                       "Requests that were run again because their worker was lost." },
    [M_WORKER_STATE] = { "codex_worker_state", NULL, METRIC_GAUGE, 9, 0, NULL, LABELS("state"),
                         "1 for the state that the worker is in." },
    [M_WORKER_READY] = { "codex_worker_ready", NULL, METRIC_GAUGE, 1, 0, NULL, BARE,
                         "1 while the worker takes turns." },
    [M_WORKER_RESTARTS] = { "codex_worker_restarts", NULL, METRIC_COUNTER, 12, 0, NULL,
                            LABELS("reason"), "Workers that were lost, by the reason." },
    [M_WORKER_RECYCLES] = { "codex_worker_recycles", NULL, METRIC_COUNTER, 5, 0, NULL,
                            LABELS("reason"),
                            "Workers that made way for a fresh one, by the reason." },
    [M_WORKER_BACKOFF] = { "codex_worker_backoff_ms", NULL, METRIC_GAUGE, 1, 0, NULL, BARE,
                           "What is left of the pause before the next start." },
    [M_WORKER_STREAK] = { "codex_worker_restart_streak", NULL, METRIC_GAUGE, 1, 0, NULL, BARE,
                          "Failures in a row." },
    [M_WORKER_START] = { "codex_worker_start_duration_ms", NULL, METRIC_HISTOGRAM, 1, 0, start_ms,
                         BARE, "From the spawn of a worker until it is ready." },
    [M_WORKER_MEMORY] = { "codex_worker_resident_memory_bytes", NULL, METRIC_GAUGE, 1, 0, NULL,
                          BARE, "Resident memory of the worker." },
    [M_WORKER_CPU] = { "codex_worker_cpu_seconds", NULL, METRIC_COUNTER, 1, 0, NULL, BARE,
                       "CPU time of the worker that runs now." },
    [M_WORKER_INPUT_QUEUE] = { "codex_worker_input_queue_bytes", NULL, METRIC_GAUGE, 1, 0, NULL,
                               BARE, "Bytes that the worker has not read yet." },
    [M_WORKER_LINES_BAD] = { "codex_worker_bad_lines", NULL, METRIC_COUNTER, 1, 0, NULL, BARE,
                             "Lines of the worker that were no messages." },
    [M_MAINTENANCE] = { "codex_maintenance_mode", NULL, METRIC_GAUGE, 3, 0, NULL, LABELS("state"),
                        "1 for the state that maintenance is in." },
    [M_QUOTA_REJECTIONS] = { "codex_quota_rejections", NULL, METRIC_COUNTER, 3, 0, NULL,
                             LABELS("reason"),
                             "Requests that the upstream refused for want of quota.",
                             .known = quota_codes },
    [M_ADMISSION_REFUSED] = { "codex_admission_refused", NULL, METRIC_COUNTER, 10, 0, NULL,
                              LABELS("reason"),
                              "Requests that were not admitted, by the code of the error.",
                              .known = refusals },
    [M_LOG_DROPPED] = { "codex_log_dropped", NULL, METRIC_COUNTER, 1, 0, NULL, BARE,
                        "Log lines that found no room." },
    [M_TRACE_WRITTEN] = { "codex_trace_written", NULL, METRIC_COUNTER, 1, 0, NULL, BARE,
                          "Trace files written." },
    [M_TRACE_PRUNED] = { "codex_trace_pruned", NULL, METRIC_COUNTER, 6, 0, NULL, LABELS("reason"),
                         "Trace files removed, or not written, by the reason.",
                         .known = trace_ends },
    [M_INTERACTIONS_LOST] = { "codex_interactions_lost", NULL, METRIC_COUNTER, 1, 0, NULL, BARE,
                              "Lines of the request log that could not be written." },
    [M_LOOP_LAG] = { "codex_loop_lag_ms", NULL, METRIC_HISTOGRAM, 1, 0, lag_ms, BARE,
                     "How long the event loop worked in one go: what came meanwhile waited." },
    [M_PROCESS_CPU] = { "process_cpu_seconds", NULL, METRIC_COUNTER, 1, 0, NULL, BARE,
                        "CPU time of codex-api." },
    [M_PROCESS_MEMORY] = { "process_resident_memory_bytes", NULL, METRIC_GAUGE, 1, 0, NULL, BARE,
                           "Resident memory of codex-api." },
    [M_PROCESS_MEMORY_LIMIT] = { "process_memory_limit_bytes", NULL, METRIC_GAUGE, 1, 0, NULL, BARE,
                                 "What the cgroup allows to codex-api and its worker together." },
    [M_PROCESS_FDS] = { "process_open_fds", NULL, METRIC_GAUGE, 1, 0, NULL, BARE,
                        "Open descriptors." },
    [M_PROCESS_FDS_MAX] = { "process_max_fds", NULL, METRIC_GAUGE, 1, 0, NULL, BARE,
                            "Descriptors that may be open." },
    [M_PROCESS_START] = { "process_start_time_seconds", NULL, METRIC_GAUGE, 1, 0, NULL, BARE,
                          "When codex-api was started, in unix time." },
};

static struct shelf shelves[METRIC_COUNT];

enum metric_kind metric_kind(enum metric m)
{
    return families[m].kind;
}

size_t metric_label_count(enum metric m)
{
    size_t count = 0;
    while (families[m].labels[count] != NULL)
        count++;
    return count;
}

static size_t bucket_count(const struct family *f)
{
    size_t count = 0;
    while (f->bounds != NULL && f->bounds[count] != 0)
        count++;
    return count;
}

/* ---- series ---- */

static bool same_labels(const struct series *s, const char *const *labels, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(s->labels[i], labels[i]) != 0)
            return false;
    return true;
}

static struct series *find(struct shelf *shelf, const char *const *labels, size_t count)
{
    if (shelf->last < shelf->count && same_labels(&shelf->series[shelf->last], labels, count))
        return &shelf->series[shelf->last];
    for (size_t i = 0; i < shelf->count; i++) {
        if (same_labels(&shelf->series[i], labels, count)) {
            shelf->last = i;
            return &shelf->series[i];
        }
    }
    return NULL;
}

static struct series *make(struct shelf *shelf, const char *const *labels, size_t count)
{
    assert(shelf->series != NULL);
    struct series *s = &shelf->series[shelf->count++];
    *s = (struct series){ .value = 0 };
    for (size_t i = 0; i < count; i++)
        s->labels[i] = xstrdup(labels[i]);
    return s;
}

static bool is_rest(const struct family *f, const char *const *labels, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (f->kept != i + 1 && strcmp(labels[i], METRIC_OTHER) != 0)
            return false;
    return true;
}

/* The series for what has no place. The values of a label that it keeps are words of ours, no more than places are kept for. */
static struct series *rest_of(const struct family *f, struct shelf *shelf,
                              const char *const *labels, size_t count)
{
    const char *others[METRIC_LABELS_MAX];
    for (size_t i = 0; i < count; i++)
        others[i] = f->kept == i + 1 ? labels[i] : METRIC_OTHER;
    struct series *s = find(shelf, others, count);
    if (s != NULL)
        return s;
    if (shelf->count == f->series_max)
        return &shelf->series[shelf->count - 1];
    shelf->rests++;
    return make(shelf, others, count);
}

static struct series *series_of(enum metric m, bool guest, const char *const *labels, size_t count)
{
    const struct family *f = &families[m];
    struct shelf *shelf = &shelves[m];
    size_t kept = f->kept != 0 ? f->kept_max : 1;
    assert(count == metric_label_count(m));
    if (shelf->series == NULL)
        shelf->series = xcalloc(f->series_max, sizeof(*shelf->series));
    struct series *s = find(shelf, labels, count);
    if (s != NULL)
        return s;
    if (count == 0)
        return make(shelf, labels, count);
    bool room = shelf->count - shelf->rests + kept + (guest ? f->reserved : 0) < f->series_max;
    return room && !is_rest(f, labels, count) ? make(shelf, labels, count)
                                              : rest_of(f, shelf, labels, count);
}

static void add(struct series *s, double value)
{
    assert(value >= 0);
    s->value += value;
}

static void observe(struct series *s, const struct family *f, double value)
{
    assert(f->kind == METRIC_HISTOGRAM);
    s->value += value;
    s->count++;
    for (size_t i = 0; f->bounds[i] != 0; i++) {
        if (value <= f->bounds[i]) {
            s->buckets[i]++;
            break;
        }
    }
}

void metric_add(enum metric m, double value, const char *const *labels, size_t count)
{
    assert(families[m].kind == METRIC_COUNTER);
    add(series_of(m, false, labels, count), value);
}

void metric_add_guest(enum metric m, double value, const char *const *labels, size_t count)
{
    assert(families[m].kind == METRIC_COUNTER);
    add(series_of(m, true, labels, count), value);
}

void metric_set_value(enum metric m, double value, const char *const *labels, size_t count)
{
    assert(families[m].kind != METRIC_HISTOGRAM);
    series_of(m, false, labels, count)->value = value;
}

void metric_observe_value(enum metric m, double value, const char *const *labels, size_t count)
{
    observe(series_of(m, false, labels, count), &families[m], value);
}

void metric_observe_guest(enum metric m, double value, const char *const *labels, size_t count)
{
    observe(series_of(m, true, labels, count), &families[m], value);
}

void metric_clear(enum metric m)
{
    struct shelf *shelf = &shelves[m];
    for (size_t i = 0; i < shelf->count; i++)
        for (size_t j = 0; j < METRIC_LABELS_MAX; j++)
            free(shelf->series[i].labels[j]);
    free(shelf->series);
    *shelf = (struct shelf){ .count = 0 };
}

void metrics_reset(void)
{
    for (size_t m = 0; m < METRIC_COUNT; m++)
        metric_clear((enum metric)m);
}

/* What has no labels, or whose labels are known. */
static void start_family(enum metric m)
{
    const struct family *f = &families[m];
    if (f->labels[0] == NULL)
        series_of(m, false, NULL, 0);
    for (const char *const *value = f->known; value != NULL && *value != NULL; value++)
        series_of(m, false, value, 1);
}

void metrics_start(void)
{
    for (size_t m = 0; m < METRIC_COUNT; m++)
        if (families[m].kind != METRIC_GAUGE)
            start_family((enum metric)m);
}

size_t metrics_lines_max(void)
{
    size_t lines = 0;
    for (size_t m = 0; m < METRIC_COUNT; m++) {
        const struct family *f = &families[m];
        size_t each = f->kind == METRIC_HISTOGRAM ? bucket_count(f) + 3 : 1;
        lines += f->series_max * each * (f->seconds != NULL ? 2 : 1);
    }
    return lines;
}

/* ---- the page ---- */

static void put_number(struct buf *out, double value)
{
    if (isnan(value))
        buf_puts(out, "NaN");
    else if (isinf(value))
        buf_puts(out, value > 0 ? "+Inf" : "-Inf");
    else if (value == floor(value) && fabs(value) < 0x1p63)
        buf_printf(out, "%lld", (long long)value); /* bytes and tokens to the last digit */
    else
        buf_printf(out, "%.15g", value);
}

static void put_bound(struct buf *out, double bound)
{
    buf_printf(out, bound == floor(bound) ? "%.1f" : "%g", bound);
}

static void put_label(struct buf *out, const char *name, const char *value, bool first)
{
    buf_putc(out, first ? '{' : ',');
    buf_puts(out, name);
    buf_puts(out, "=\"");
    for (;;) {
        size_t plain = strcspn(value, "\\\"\n");
        buf_append(out, value, plain);
        value += plain;
        if (*value == '\0')
            break;
        buf_putc(out, '\\');
        buf_putc(out, *value == '\n' ? 'n' : *value);
        value++;
    }
    buf_putc(out, '"');
}

/* The labels without the closing brace. True when there are any. */
static bool put_labels(struct buf *out, const struct family *f, const struct series *s)
{
    for (size_t i = 0; f->labels[i] != NULL; i++)
        put_label(out, f->labels[i], s->labels[i], i == 0);
    return f->labels[0] != NULL;
}

static void put_sample(struct buf *out, const char *name, const char *suffix,
                       const struct family *f, const struct series *s, double value)
{
    buf_puts(out, name);
    buf_puts(out, suffix);
    if (put_labels(out, f, s))
        buf_putc(out, '}');
    buf_putc(out, ' ');
    put_number(out, value);
    buf_putc(out, '\n');
}

static void put_bucket(struct buf *out, const char *name, const struct family *f,
                       const struct series *s, double bound, uint64_t count)
{
    buf_puts(out, name);
    buf_puts(out, "_bucket");
    buf_puts(out, put_labels(out, f, s) ? ",le=\"" : "{le=\"");
    if (bound == 0)
        buf_puts(out, "+Inf");
    else
        put_bound(out, bound);
    buf_printf(out, "\"} %llu\n", (unsigned long long)count);
}

static void put_histogram(struct buf *out, const char *name, const struct family *f,
                          const struct series *s, double divisor)
{
    uint64_t sum = 0;
    for (size_t i = 0; f->bounds[i] != 0; i++) {
        sum += s->buckets[i];
        put_bucket(out, name, f, s, f->bounds[i] / divisor, sum);
    }
    put_bucket(out, name, f, s, 0, s->count);
    put_sample(out, name, "_sum", f, s, s->value / divisor);
    put_sample(out, name, "_count", f, s, (double)s->count);
}

static void put_head(struct buf *out, const struct family *f, const char *name,
                     enum metrics_format format)
{
    static const char *const kinds[] = { "counter", "gauge", "histogram" };
    const char *suffix = f->kind == METRIC_COUNTER && format == METRICS_TEXT ? "_total" : "";
    buf_printf(out, "# HELP %s%s %s\n# TYPE %s%s %s\n", name, suffix, f->help, name, suffix,
               kinds[f->kind]);
}

static void put_family(struct buf *out, const struct family *f, const struct shelf *shelf,
                       const char *name, double divisor, enum metrics_format format)
{
    put_head(out, f, name, format);
    for (size_t i = 0; i < shelf->count; i++) {
        const struct series *s = &shelf->series[i];
        if (f->kind == METRIC_HISTOGRAM)
            put_histogram(out, name, f, s, divisor);
        else
            put_sample(out, name, f->kind == METRIC_COUNTER ? "_total" : "", f, s, s->value);
    }
}

void metrics_write(struct buf *out, enum metrics_format format)
{
    for (size_t m = 0; m < METRIC_COUNT; m++) {
        const struct family *f = &families[m];
        if (shelves[m].count == 0)
            continue;
        put_family(out, f, &shelves[m], f->name, 1, format);
        if (f->seconds != NULL)
            put_family(out, f, &shelves[m], f->seconds, 1000, format);
    }
    if (format == METRICS_OPENMETRICS)
        buf_puts(out, "# EOF\n");
}

/* The weight of one range of an Accept header, from 0 to 1, of which `len` bytes begin with its type: 1 unless it has a q. */
static double weight_of(const char *range, size_t len)
{
    char number[8] = "";
    for (const char *at = range; (at = memchr(at, ';', len - (size_t)(at - range))) != NULL;) {
        at++;
        while (at < range + len && (*at == ' ' || *at == '\t'))
            at++;
        size_t left = len - (size_t)(at - range);
        if (left < 3 || strncasecmp(at, "q=", 2) != 0)
            continue;
        memcpy(number, at + 2, left - 2 < sizeof(number) - 1 ? left - 2 : sizeof(number) - 1);
        return strtod(number, NULL);
    }
    return 1;
}

/* How much a type is wanted by name: the most of its ranges, or 0. */
static double wanted(const char *accept, size_t len, const char *type)
{
    double most = 0;
    size_t type_len = strlen(type);
    while (len != 0) {
        const char *comma = memchr(accept, ',', len);
        size_t range = comma != NULL ? (size_t)(comma - accept) : len;
        size_t blanks = 0;
        while (blanks < range && (accept[blanks] == ' ' || accept[blanks] == '\t'))
            blanks++;
        if (range - blanks >= type_len && strncasecmp(accept + blanks, type, type_len) == 0)
            most = fmax(most, weight_of(accept + blanks, range - blanks));
        accept += range + (comma != NULL);
        len -= range + (comma != NULL);
    }
    return most;
}

enum metrics_format metrics_negotiate(const char *accept, size_t len)
{
    if (accept == NULL)
        return METRICS_TEXT;
    double open = wanted(accept, len, "application/openmetrics-text");
    return open > 0 && open >= wanted(accept, len, "text/plain") ? METRICS_OPENMETRICS
                                                                 : METRICS_TEXT;
}

const char *metrics_content_type(enum metrics_format format)
{
    return format == METRICS_OPENMETRICS
               ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
               : "text/plain; version=0.0.4; charset=utf-8";
}
