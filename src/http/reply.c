/* Whole answers: a status, headers and a JSON body. */
#include "reply.h"

#include "config.h"
#include "cors.h"
#include "id.h"
#include "json.h"
#include "linger.h"

#include <h2o.h>
#include <stdio.h>
#include <time.h>

#define JSON_TYPE "application/json"
#define REQUEST_ID "x-request-id"

static const char *reason_of(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        { 200, "OK" },
        { 400, "Bad Request" },
        { 401, "Unauthorized" },
        { 403, "Forbidden" },
        { 404, "Not Found" },
        { 405, "Method Not Allowed" },
        { 408, "Request Timeout" },
        { 413, "Payload Too Large" },
        { 414, "URI Too Long" },
        { 415, "Unsupported Media Type" },
        { 417, "Expectation Failed" },
        { 429, "Too Many Requests" },
        { 431, "Request Header Fields Too Large" },
        { 499, "Client Closed Request" },
        { 500, "Internal Server Error" },
        { 502, "Bad Gateway" },
        { 503, "Service Unavailable" },
        { 504, "Gateway Timeout" },
    };
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Unknown";
}

void reply_header(h2o_req_t *req, const char *name, const char *value)
{
    h2o_iovec_t copy = h2o_strdup(&req->pool, value, SIZE_MAX);
    h2o_add_header_by_str(&req->pool, &req->res.headers, name, strlen(name), 1, NULL, copy.base,
                          copy.len);
}

/* A body of known length, so that the connection lives on whatever the status. The answer to HEAD is its head alone. */
static void send_body(h2o_req_t *req, int status, const char *type, struct buf *body)
{
    bool head = h2o_memis(req->input.method.base, req->input.method.len, H2O_STRLIT("HEAD"));
    req->res.status = status;
    req->res.reason = reason_of(status);
    req->res.content_length = body->len;
    reply_header(req, "content-type", type);
    h2o_send_inline(req, body->data, head ? 0 : body->len); /* copies it; may free the request */
    buf_free(body);
}

void reply_json(h2o_req_t *req, int status, json_t *value)
{
    struct buf body = BUF_INIT;
    json_write(&body, value);
    json_decref(value);
    send_body(req, status, JSON_TYPE, &body);
}

void reply_text(h2o_req_t *req, const char *type, struct buf *body)
{
    send_body(req, 200, type, body);
}

void reply_empty(h2o_req_t *req)
{
    req->res.status = 204;
    req->res.reason = "No Content";
    req->res.content_length = 0;
    h2o_send_inline(req, "", 0);
}

void reply_error(h2o_req_t *req, const struct api_error *error)
{
    char seconds[24];
    struct buf body = BUF_INIT;
    api_error_write(error, &body);
    if (error->retry_after_s > 0) {
        snprintf(seconds, sizeof(seconds), "%lld", (long long)error->retry_after_s);
        reply_header(req, "retry-after", seconds);
    }
    if (error->should_retry != 0)
        reply_header(req, "x-should-retry", error->should_retry > 0 ? "true" : "false");
    if (error->status == 401)
        reply_header(req, "www-authenticate", "Bearer");
    send_body(req, error->status, JSON_TYPE, &body);
}

void reply_write_raw(struct buf *out, const struct api_error *error, const char *request_id)
{
    char date[H2O_TIMESTR_RFC1123_LEN + 1] = "";
    struct buf body = BUF_INIT;
    struct tm utc;
    time_t now = time(NULL);
    gmtime_r(&now, &utc);
    h2o_time2str_rfc1123(date, &utc);
    api_error_write(error, &body);
    buf_printf(out, "HTTP/1.1 %d %s\r\nDate: %s\r\nConnection: close\r\nContent-Length: %zu\r\n",
               error->status, reason_of(error->status), date, body.len);
    buf_printf(out, "content-type: application/json\r\nx-request-id: %s\r\n", request_id);
    if (error->retry_after_s > 0)
        buf_printf(out, "retry-after: %lld\r\n", (long long)error->retry_after_s);
    buf_puts(out, "\r\n");
    buf_append(out, body.data, body.len);
    buf_free(&body);
}

/* ---- what h2o itself answers ---- */

struct wrapper_filter {
    h2o_filter_t super;
    const struct config *config; /* borrowed: a reload frees the texts in it */
};

struct wrapper {
    h2o_ostream_t super;
    h2o_iovec_t body; /* in the request's pool */
};

static void wrapper_do_send(h2o_ostream_t *self, h2o_req_t *req, h2o_iovec_t *bufs, size_t count,
                            h2o_send_state_t state)
{
    (void)bufs, (void)count;
    struct wrapper *w = (struct wrapper *)(void *)self;
    h2o_ostream_send_next(self, req, &w->body, 1, state);
}

void reply_core_error(int status, struct api_error *ret)
{
    switch (status) {
    case 413:
        api_error_set(ret, 413, "invalid_request_error", "request_too_large", NULL,
                      "The request body is larger than this endpoint takes.");
        break;
    case 417:
        api_error_set(ret, 417, "invalid_request_error", "expectation_failed", NULL,
                      "The expectation of the request cannot be met.");
        break;
    default:
        api_error_set(ret, status, status < 500 ? "invalid_request_error" : "server_error", NULL,
                      NULL, "The request could not be read.");
        break;
    }
}

const char *reply_core_id(h2o_req_t *req)
{
    ssize_t at = h2o_find_header_by_str(&req->res.headers, H2O_STRLIT(REQUEST_ID), -1);
    return at != -1 ? req->res.headers.entries[at].value.base
                    : NULL; /* of reply_header: it has a NUL */
}

/* h2o's own errors are one final send of plain text: its length and type are changed before the head goes out, and the text
 * when it comes. */
static void on_setup_wrapper(h2o_filter_t *self, h2o_req_t *req, h2o_ostream_t **slot)
{
    struct api_error error;
    struct buf body = BUF_INIT;
    char id[ID_SIZE];
    reply_core_error(req->res.status, &error);
    api_error_write(&error, &body);
    id_make(id, "req_");
    h2o_ostream_t *stream = h2o_add_ostream(req, sizeof(struct wrapper), slot);
    struct wrapper *w = (struct wrapper *)(void *)stream;
    w->body = h2o_strdup(&req->pool, body.data, body.len);
    buf_free(&body);
    stream->do_send = wrapper_do_send;
    req->res.content_length = w->body.len;
    h2o_set_header(&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE,
                   H2O_STRLIT("application/json"), 1);
    reply_header(req, REQUEST_ID, id);
    reply_header(req, "openai-processing-ms", "0"); /* nobody processed it */
    cors_allow(req, ((struct wrapper_filter *)(void *)self)->config->cors_origins);
    linger_start(req);
    h2o_setup_next_ostream(req, &stream->next);
}

void reply_wrap_core_errors(h2o_pathconf_t *fallback_path, const struct config *config)
{
    h2o_filter_t *filter = h2o_create_filter(fallback_path, sizeof(struct wrapper_filter));
    filter->on_setup_ostream = on_setup_wrapper;
    ((struct wrapper_filter *)(void *)filter)->config = config;
}
