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

/* Before it was admitted we refused it; after that the upstream did. */
static void note_error(const struct access *a)
{
    bool quota = strcmp(a->error_code, "insufficient_quota") == 0 ||
                 strcmp(a->error_code, "rate_limit_exceeded") == 0;
    metric_count(M_HTTP_ERRORS, 1, a->route, a->error_code);
    if (a->rc != NULL && a->rc->admitted) {
        if (quota)
            metric_count(M_QUOTA_REJECTIONS, 1, a->error_code);
    } else if (a->status == 429 || a->status == 503) {
        metric_count(M_ADMISSION_REFUSED, 1, a->error_code);
    }
}

static const char *model_of(const struct access *a)
{
    return a->rc != NULL && a->rc->model[0] != '\0' ? a->rc->model : METRIC_OTHER;
}

void request_metrics_note(const struct access *a)
{
    const char *method = a->method != NULL ? a->method : METRIC_OTHER;
    const char *family = family_of(a->status);
    const char *model = model_of(a);
    metric_count(M_HTTP_REQUESTS, 1, a->route, method, family, model);
    if (a->error_code != NULL)
        note_error(a);
    if (a->rc == NULL || strncmp(a->route, "/v1/", 4) != 0)
        return;
    if (a->rc->admitted)
        metric_observe(M_PROXY_OVERHEAD, (double)a->rc->busy_ns / 1e3, a->route);
    uint64_t elapsed_ns = uv_hrtime() - a->rc->started_ns;
    metric_observe(M_HTTP_LATENCY, (double)elapsed_ns / 1e6, a->route, method, family, model);
}
