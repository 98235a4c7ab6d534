/* Just enough HTTP/1.1 for the model stub. */
#include "stub_http.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CHUNK_HEAD_LEN 10 /* eight hexadecimal digits and CRLF: leading zeros are legal */

void stub_http_init(struct stub_http *h)
{
    *h = (struct stub_http){ .line = BUF_INIT,
                             .request = { .headers = json_object(), .body = BUF_INIT } };
}

void stub_http_free(struct stub_http *h)
{
    buf_free(&h->line);
    free(h->request.method);
    free(h->request.path);
    free(h->request.query);
    json_decref(h->request.headers);
    buf_free(&h->request.body);
    *h = (struct stub_http){ .line = BUF_INIT };
}

static const char *header(const struct stub_http *h, const char *name)
{
    return json_string_value(json_object_get(h->request.headers, name));
}

/* Every line reader returns NULL, or why the request is refused. */
static const char *read_start_line(struct stub_http *h, const char *line)
{
    if (*line == '\0')
        return NULL; /* an empty line before a request is to be ignored: RFC 9112, 2.2 */
    size_t method_len = strcspn(line, " ");
    const char *target = line + method_len + (line[method_len] == ' ');
    size_t target_len = strcspn(target, " ");
    if (method_len == 0 || *target != '/' || strcmp(target + target_len, " HTTP/1.1") != 0)
        return "not a HTTP/1.1 request line";
    size_t path_len = strcspn(target, "? ");
    h->request.method = xstrndup(line, method_len);
    h->request.path = xstrndup(target, path_len);
    h->request.query = path_len < target_len
                           ? xstrndup(target + path_len + 1, target_len - path_len - 1)
                           : xstrdup("");
    h->stage = STUB_HTTP_HEADER;
    return NULL;
}

static const char *parse_size(const char *text, int base, size_t *ret_size)
{
    char *end;
    if (!isxdigit((unsigned char)*text)) /* strtoull would take blanks and a sign */
        return "bad size of a body";
    unsigned long long size = strtoull(text, &end, base);
    if ((*end != '\0' && *end != ';') || end - text > 16)
        return "bad size of a body";
    if (size > STUB_HTTP_BODY_MAX)
        return "the body is too large";
    *ret_size = (size_t)size;
    return NULL;
}

/* The empty line after the headers: they say how the body comes. */
static const char *begin_body(struct stub_http *h)
{
    const char *connection = header(h, "connection");
    const char *coding = header(h, "transfer-encoding");
    const char *length = header(h, "content-length");
    h->request.keep_alive = connection == NULL || strcasecmp(connection, "close") != 0;
    if (coding != NULL) {
        h->stage = STUB_HTTP_CHUNK_SIZE;
        return length == NULL && strcasecmp(coding, "chunked") == 0 ? NULL : "unclear body framing";
    }
    if (length != NULL) {
        const char *why = parse_size(length, 10, &h->left_bytes);
        if (why != NULL)
            return why;
    }
    h->stage = h->left_bytes != 0 ? STUB_HTTP_BODY : STUB_HTTP_WHOLE;
    return NULL;
}

static const char *read_header(struct stub_http *h, char *line)
{
    if (*line == '\0')
        return begin_body(h);
    size_t name_len = strcspn(line, ": \t");
    if (name_len == 0 || line[name_len] != ':')
        return "not a header line";
    line[name_len] = '\0';
    for (char *c = line; *c != '\0'; c++)
        *c = (char)tolower((unsigned char)*c);
    char *value = line + name_len + 1;
    value += strspn(value, " \t");
    size_t value_len = strlen(value);
    while (value_len > 0 && isblank((unsigned char)value[value_len - 1]))
        value[--value_len] = '\0';

    const char *before = header(h, line);
    json_t *joined = before != NULL ? json_sprintf("%s, %s", before, value) : json_string(value);
    if (joined == NULL || json_object_set_new(h->request.headers, line, joined) != 0)
        return "a header is not UTF-8";
    return NULL;
}

static const char *read_chunk_size(struct stub_http *h, const char *line)
{
    const char *why = parse_size(line, 16, &h->left_bytes);
    if (why != NULL)
        return why;
    if (h->request.body.len + h->left_bytes > STUB_HTTP_BODY_MAX)
        return "the body is too large";
    h->stage = h->left_bytes != 0 ? STUB_HTTP_CHUNK_DATA : STUB_HTTP_TRAILER;
    return NULL;
}

static const char *read_line(struct stub_http *h, char *line)
{
    switch (h->stage) {
    case STUB_HTTP_START_LINE:
        return read_start_line(h, line);
    case STUB_HTTP_HEADER:
        return read_header(h, line);
    case STUB_HTTP_CHUNK_SIZE:
        return read_chunk_size(h, line);
    case STUB_HTTP_CHUNK_END:
        h->stage = STUB_HTTP_CHUNK_SIZE;
        return *line == '\0' ? NULL : "a chunk is longer than its size";
    case STUB_HTTP_TRAILER:
        if (*line == '\0')
            h->stage = STUB_HTTP_WHOLE;
        return NULL;
    case STUB_HTTP_BODY:
    case STUB_HTTP_CHUNK_DATA:
    case STUB_HTTP_WHOLE:
        break;
    }
    return "not a line"; /* unreachable: those stages do not read lines */
}

/* Takes bytes up to the next newline and reads the line when it is whole. */
static const char *feed_line(struct stub_http *h, const char *data, size_t len, size_t *ret_used)
{
    const char *newline = memchr(data, '\n', len);
    size_t used = newline != NULL ? (size_t)(newline - data) + 1 : len;
    *ret_used = used;
    buf_append(&h->line, data, used);
    if (h->line.len + h->head_bytes > STUB_HTTP_HEAD_MAX)
        return "the head is too large";
    if (newline == NULL)
        return NULL;
    if (h->stage != STUB_HTTP_CHUNK_SIZE && h->stage != STUB_HTTP_CHUNK_END)
        h->head_bytes += h->line.len;
    h->line.len--;
    if (h->line.len != 0 && h->line.data[h->line.len - 1] == '\r')
        h->line.len--;
    buf_putc(&h->line, '\0');
    bool has_nul = strlen(h->line.data) + 1 != h->line.len;
    const char *why = has_nul ? "a NUL byte in the head" : read_line(h, h->line.data);
    buf_clear(&h->line);
    return why;
}

static void feed_body(struct stub_http *h, const char *data, size_t len, size_t *ret_used)
{
    size_t used = len < h->left_bytes ? len : h->left_bytes;
    *ret_used = used;
    buf_append(&h->request.body, data, used);
    h->left_bytes -= used;
    if (h->left_bytes == 0)
        h->stage = h->stage == STUB_HTTP_BODY ? STUB_HTTP_WHOLE : STUB_HTTP_CHUNK_END;
}

enum stub_http_result stub_http_feed(struct stub_http *h, const char *data, size_t len,
                                     size_t *ret_used, const char **ret_why)
{
    size_t total = 0;
    while (h->stage != STUB_HTTP_WHOLE && total < len) {
        size_t used = 0;
        const char *why = NULL;
        if (h->stage == STUB_HTTP_BODY || h->stage == STUB_HTTP_CHUNK_DATA)
            feed_body(h, data + total, len - total, &used);
        else
            why = feed_line(h, data + total, len - total, &used);
        total += used;
        if (why != NULL) {
            *ret_why = why;
            return STUB_HTTP_BAD;
        }
    }
    *ret_used = total;
    return h->stage == STUB_HTTP_WHOLE ? STUB_HTTP_DONE : STUB_HTTP_MORE;
}

/* The status line has no reason phrase: nobody may rely on one. */
static void write_head(struct buf *out, int status, const char *content_type, const json_t *headers)
{
    buf_printf(out, "HTTP/1.1 %d \r\n", status);
    if (json_object_get(headers, "content-type") == NULL)
        buf_printf(out, "content-type: %s\r\n", content_type);
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)headers, name, value)
        buf_printf(out, "%s: %s\r\n", name, json_string_value(value));
}

void stub_http_reply(struct buf *out, int status, const json_t *headers, const json_t *body)
{
    struct buf text = BUF_INIT;
    if (json_is_string(body))
        buf_append(&text, json_string_value(body), json_string_length(body));
    else if (body != NULL)
        json_write(&text, body);
    write_head(out, status, json_is_string(body) ? "text/plain" : "application/json", headers);
    buf_printf(out, "content-length: %zu\r\n\r\n", text.len);
    buf_append(out, text.data, text.len);
    buf_free(&text);
}

void stub_http_stream_head(struct buf *out, const json_t *headers)
{
    write_head(out, 200, "text/event-stream", headers);
    buf_puts(out, "cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n");
}

size_t stub_http_chunk_begin(struct buf *out)
{
    size_t chunk_at = out->len;
    buf_reserve(out, CHUNK_HEAD_LEN);
    out->len += CHUNK_HEAD_LEN;
    return chunk_at;
}

void stub_http_chunk_end(struct buf *out, size_t chunk_at)
{
    size_t size = out->len - chunk_at - CHUNK_HEAD_LEN;
    if (size == 0) {
        out->len = chunk_at;
        return;
    }
    char head[CHUNK_HEAD_LEN + 1];
    snprintf(head, sizeof(head), "%08x\r\n", (unsigned)size);
    memcpy(out->data + chunk_at, head, CHUNK_HEAD_LEN);
    buf_puts(out, "\r\n");
}

void stub_http_stream_end(struct buf *out)
{
    buf_puts(out, "0\r\n\r\n");
}
