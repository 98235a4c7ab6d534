/* What the metrics are told of requests. */
#include "request_metrics.h"

#include "access_log.h"
#include "metrics.h"
#include "reqctx.h"

#include <string.h>
#include <uv.h>

static const char *family_of(int status)
{
    static const char *const names[] = { "1xx", "2xx", "3xx", "4xx", "5xx" };
    return status >= 100 && status <= 599 ? names[status / 100 - 1] : "other";
}

/* Who has no key must not fill the table of series for those who have. */
typedef void (*count_fn)(enum metric m, double value, const char *const *labels, size_t count);

static bool is_guest(const struct access *a)
{
    return a->rc == NULL || !reqctx_has_key(a->rc);
}

/* What is refused for maintenance may have no route: nobody is told whether there is one. */
static bool is_of_clients(const struct access *a)
{
    return a->rc == NULL || reqctx_is_of_api(a->rc) || a->rc->maintenance;
}

/* Before it was admitted we refused it; after that the upstream did. */
static void note_error(const struct access *a, const char *code)
{
    bool quota =
        strcmp(code, "insufficient_quota") == 0 || strcmp(code, "rate_limit_exceeded") == 0;
    count_fn count = is_guest(a) ? metric_add_guest : metric_add;
    count(M_HTTP_ERRORS, 1, METRIC_LABELS(a->route, code));
    if (a->rc != NULL && a->rc->admitted) {
        if (quota)
            metric_count(M_QUOTA_REJECTIONS, 1, code);
    } else if ((a->status == 429 || a->status == 503) && is_of_clients(a)) {
        metric_count(M_ADMISSION_REFUSED, 1, code);
    }
}

static const char *model_of(const struct access *a)
{
    return a->rc != NULL && a->rc->model[0] != '\0' ? a->rc->model : METRIC_OTHER;
}

/* A method that a route does not take says nothing, and there are many. */
static const char *method_of(const struct access *a)
{
    bool taken = a->method != NULL && a->status != 405 && a->route[0] == '/';
    return taken ? a->method : METRIC_OTHER;
}

/* The histogram has few series: they are for what models do. */
static void note_latency(const struct access *a, const char *family)
{
    uint64_t elapsed_ns = uv_hrtime() - a->rc->started_ns;
    count_fn observe = a->rc->model[0] != '\0' ? metric_observe_value : metric_observe_guest;
    observe(M_HTTP_LATENCY, (double)elapsed_ns / 1e6,
            METRIC_LABELS(a->route, method_of(a), family, model_of(a)));
}

/* Some errors have no code; but a probe's 503 is none, nor is what the client has ended (499). */
static bool is_error(const struct access *a)
{
    bool in_stream =
        a->rc != NULL && a->rc->outcome != NULL && strcmp(a->rc->outcome, "error") == 0;
    return a->error_code != NULL || in_stream || (a->status >= 400 && a->status < 499);
}

void request_metrics_note(const struct access *a)
{
    const char *family = family_of(a->status);
    count_fn count = is_guest(a) ? metric_add_guest : metric_add;
    count(M_HTTP_REQUESTS, 1, METRIC_LABELS(a->route, method_of(a), family, model_of(a)));
    if (is_error(a))
        note_error(a, a->error_code != NULL ? a->error_code : METRIC_OTHER);
    if (a->rc == NULL || !reqctx_is_of_api(a->rc))
        return;
    if (a->rc->admitted)
        metric_observe(M_PROXY_OVERHEAD, (double)a->rc->busy_ns / 1e3, a->route);
    note_latency(a, family);
}
