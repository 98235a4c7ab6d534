/* What the end of a turn means for the client. */
#include "failure.h"

#include "json.h"

#include <string.h>

#define RETRY_SOON_S 2

struct failure {
    const char *kind; /* codexErrorInfo */
    int status;
    const char *type;
    const char *code;
    const char *message;
    int64_t retry_after_s;
    int should_retry;
    const char *param; /* NULL: none */
};

static const struct failure failures[] = {
    { "contextWindowExceeded", 400, "invalid_request_error", "context_length_exceeded",
      "The messages are longer than the context window of the model.", 0, 0, "messages" },
    { "usageLimitExceeded", 429, "insufficient_quota", "insufficient_quota",
      "The usage limit of the account behind this endpoint is reached.", 0, -1, NULL },
    { "sessionBudgetExceeded", 429, "insufficient_quota", "insufficient_quota",
      "The budget of the account behind this endpoint is used up.", 0, -1, NULL },
    { "rateLimitExceeded", 429, "requests", "rate_limit_exceeded",
      "The upstream limits the rate of requests.", RETRY_SOON_S, 0, NULL },
    { "flexUnavailable", 429, "requests", "rate_limit_exceeded",
      "The upstream has no flex capacity now.", RETRY_SOON_S, 0, NULL },
    { "serverOverloaded", 503, "server_error", "server_overloaded", "The model is at capacity.",
      RETRY_SOON_S, 0, NULL },
    { "policyCapacityUnavailable", 503, "server_error", "server_overloaded",
      "The model is at capacity.", RETRY_SOON_S, 0, NULL },
    { "modelNotFound", 404, "invalid_request_error", "model_not_found",
      "The upstream does not know the model.", 0, 0, "model" },
    { "unauthorized", 503, "server_error", "upstream_auth",
      "The login of this endpoint at its upstream is not accepted; its operator must log in.", 60,
      -1, NULL },
    { "cyberPolicy", 400, "invalid_request_error", "invalid_prompt",
      "The upstream refused the prompt by its policy.", 0, 0, NULL },
    { "misalignmentPolicyViolation", 400, "invalid_request_error", "invalid_prompt",
      "The upstream refused the prompt by its policy.", 0, 0, NULL },
    { "inferenceHookDenied", 400, "invalid_request_error", "invalid_prompt",
      "The upstream refused the prompt by its policy.", 0, 0, NULL },
    { "badRequest", 400, "invalid_request_error", NULL, "The upstream refused the request.", 0, 0,
      NULL },
};

/* For an inner HTTP status of the upstream, and for everything that has no row above. */
static const struct failure upstream_rate = {
    .status = 429,
    .type = "requests",
    .code = "rate_limit_exceeded",
    .message = "The upstream limits the rate of requests.",
    .retry_after_s = RETRY_SOON_S,
};
static const struct failure upstream_broke = {
    .status = 502,
    .type = "server_error",
    .code = "upstream_error",
    .message = "The upstream failed to answer.",
};
static const struct failure timed_out = {
    .status = 504,
    .type = "server_error",
    .code = "upstream_timeout",
    .message = "The upstream took too long to answer.",
};
static const struct failure unanswered = {
    .status = 504,
    .type = "server_error",
    .code = "first_event_timeout",
    .message = "The model has not begun to answer in time.",
};
static const struct failure silent = {
    .status = 504,
    .type = "server_error",
    .code = "silence_timeout",
    .message = "The model fell silent in the middle of its answer.",
};
static const struct failure too_long = {
    .status = 504,
    .type = "server_error",
    .code = "turn_timeout",
    .message = "The answer was not complete within the time that this endpoint gives it.",
};
static const struct failure worker_lost = {
    .status = 502,
    .type = "server_error",
    .code = "worker_lost",
    .message = "The worker went away while it was answering.",
    .retry_after_s = 1,
};

static void fill(struct api_error *ret, const struct failure *f)
{
    api_error_set(ret, f->status, f->type, f->code, f->param, "%s", f->message);
    ret->retry_after_s = f->retry_after_s;
    ret->should_retry = f->should_retry;
}

static const struct failure *find(const char *kind)
{
    for (size_t i = 0; kind != NULL && i < sizeof(failures) / sizeof(failures[0]); i++)
        if (strcmp(failures[i].kind, kind) == 0)
            return &failures[i];
    return NULL;
}

static const struct failure *by_http_status(int status)
{
    if (status == 429)
        return &upstream_rate;
    if (status == 401 || status == 403)
        return find("unauthorized");
    return &upstream_broke;
}

/* The upstream cut the answer short and said so; the worker passes that on only as text. */
static const char *incomplete_reason(const char *message)
{
    static const struct {
        const char *text;
        const char *finish_reason;
    } reasons[] = {
        { "Incomplete response returned, reason: max_output_tokens", "length" },
        { "Incomplete response returned, reason: content_filter", "content_filter" },
    };
    for (size_t i = 0; message != NULL && i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (strstr(message, reasons[i].text) != NULL)
            return reasons[i].finish_reason;
    return NULL;
}

/* A 400 of the upstream comes as its whole body: an OpenAI error envelope, which was written for the client. */
static bool fill_from_body(struct api_error *ret, const char *message)
{
    json_t *body = message != NULL ? json_parse(message, strlen(message), NULL) : NULL;
    const char *text = json_str_at(body, "error.message");
    if (text != NULL)
        api_error_bad(ret, NULL, json_str_at(body, "error.param"), "%s", text);
    json_decref(body);
    return text != NULL;
}

/* What has no kind of its own is either a broken stream, and says so, or the upstream's refusal in its own words. */
static bool is_refusal(const struct turn_end *end)
{
    static const char *const broken[] = { "stream disconnected", "Fatal error" };
    if (end->kind == NULL || strcmp(end->kind, "other") != 0 || end->message == NULL)
        return false;
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
        if (strncmp(end->message, broken[i], strlen(broken[i])) == 0)
            return false;
    return true;
}

static void fill_failed(struct api_error *ret, const struct turn_end *end)
{
    const struct failure *row = find(end->kind);
    if (row != NULL)
        fill(ret, row);
    else if (end->http_status != 0)
        fill(ret, by_http_status(end->http_status));
    else if (!fill_from_body(ret, end->message))
        fill(ret, is_refusal(end) ? find("badRequest") : &upstream_broke);
}

const char *failure_finish_reason(const struct turn_end *end, struct api_error *ret_error)
{
    const char *reason = NULL;
    switch (end->outcome) {
    case TURN_COMPLETED:
    case TURN_CALLS:
        return "stop";
    case TURN_FAILED:
        reason = incomplete_reason(end->message);
        if (reason == NULL)
            fill_failed(ret_error, end);
        return reason;
    case TURN_INTERRUPTED:
        fill(ret_error, &upstream_broke);
        return NULL;
    case TURN_TIMED_OUT:
        fill(ret_error, &timed_out);
        return NULL;
    case TURN_UNANSWERED:
        fill(ret_error, &unanswered);
        return NULL;
    case TURN_SILENT:
        fill(ret_error, &silent);
        return NULL;
    case TURN_TOO_LONG:
        fill(ret_error, &too_long);
        return NULL;
    case TURN_LOST:
        fill(ret_error, &worker_lost);
        return NULL;
    }
    return NULL;
}
