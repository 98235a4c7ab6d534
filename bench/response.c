/* A strict parser of HTTP/1.1 responses. */
#include "response.h"

#include <string.h>
#include <strings.h>

#define CHUNK_LINE_MAX_BYTES 256
#define LENGTH_DIGITS_MAX 18 /* fits uint64_t */
#define CHUNK_DIGITS_MAX 15

static void broken(struct response *r, const char *why)
{
    r->state = RESPONSE_BROKEN;
    r->broken = why;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_token_char(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

/* ---- head ---- */

/* HTTP/1.x SP 3 digits, then SP and a reason or nothing. */
static void read_status_line(struct response *r, const char *line, size_t len)
{
    if (len < 12 || memcmp(line, "HTTP/1.", 7) != 0 || (line[7] != '0' && line[7] != '1') ||
        line[8] != ' ' || !is_digit(line[9]) || !is_digit(line[10]) || !is_digit(line[11]) ||
        (len > 12 && line[12] != ' ') || line[9] == '0') {
        broken(r, "status line");
        return;
    }
    r->is_http10 = line[7] == '0';
    r->keep_alive = !r->is_http10;
    r->status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
    r->state = RESPONSE_HEADER;
}

static void read_length(struct response *r, const char *value, size_t len)
{
    if (r->has_length || len == 0 || len > LENGTH_DIGITS_MAX) {
        broken(r, "content-length");
        return;
    }
    uint64_t length = 0;
    for (size_t i = 0; i < len; i++) {
        if (!is_digit(value[i])) {
            broken(r, "content-length");
            return;
        }
        length = length * 10 + (uint64_t)(value[i] - '0');
    }
    r->has_length = true;
    r->left = length;
}

static void read_transfer_encoding(struct response *r, const char *value, size_t len)
{
    if (r->is_chunked || r->is_http10 || len != 7 || strncasecmp(value, "chunked", 7) != 0)
        broken(r, "transfer-encoding");
    r->is_chunked = true;
}

static void read_connection(struct response *r, const char *value, size_t len)
{
    if (len == 5 && strncasecmp(value, "close", 5) == 0)
        r->keep_alive = false;
    else if (len == 10 && strncasecmp(value, "keep-alive", 10) == 0)
        r->keep_alive = true;
}

static bool is_type(const char *value, size_t len, const char *type)
{
    size_t type_len = strlen(type);
    return len >= type_len && strncasecmp(value, type, type_len) == 0 &&
           (len == type_len || value[type_len] == ';' || value[type_len] == ' ');
}

static void read_content_type(struct response *r, const char *value, size_t len)
{
    r->is_json = is_type(value, len, "application/json");
    r->is_sse = is_type(value, len, "text/event-stream");
}

static const struct field {
    const char *name;
    void (*read)(struct response *r, const char *value, size_t len);
} fields[] = {
    { "content-length", read_length },
    { "transfer-encoding", read_transfer_encoding },
    { "connection", read_connection },
    { "content-type", read_content_type },
};

static void read_field(struct response *r, const char *line, size_t len)
{
    size_t name_len = 0;
    while (name_len < len && is_token_char(line[name_len]))
        name_len++;
    if (name_len == 0 || name_len == len || line[name_len] != ':') {
        broken(r, "header line");
        return;
    }
    const char *value = line + name_len + 1;
    const char *end = line + len;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        if (strlen(fields[i].name) == name_len && strncasecmp(fields[i].name, line, name_len) == 0)
            fields[i].read(r, value, (size_t)(end - value));
}

/* The empty line: what follows is decided by what the head has said. */
static void end_head(struct response *r)
{
    if (r->has_length && r->is_chunked) {
        broken(r, "both content-length and transfer-encoding");
        return;
    }
    if (r->status < 200) {
        r->state = RESPONSE_STATUS_LINE;
        if (r->has_length || r->is_chunked || r->status == 101)
            broken(r, "1xx response");
        return;
    }
    r->head_done = true;
    if (r->status == 204 || r->status == 304)
        r->state = RESPONSE_DONE;
    else if (r->is_chunked)
        r->state = RESPONSE_CHUNK_SIZE;
    else if (r->has_length)
        r->state = r->left == 0 ? RESPONSE_DONE : RESPONSE_COUNTED;
    else
        r->state = RESPONSE_UNTIL_EOF;
    if (r->state == RESPONSE_UNTIL_EOF)
        r->keep_alive = false;
}

/* ---- chunks ---- */

static int hex_value(char c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static void read_chunk_size(struct response *r, const char *line, size_t len)
{
    size_t digits = 0;
    uint64_t size = 0;
    while (digits < len && hex_value(line[digits]) >= 0)
        size = size << 4 | (unsigned)hex_value(line[digits++]);
    if (digits == 0 || digits > CHUNK_DIGITS_MAX || (digits < len && line[digits] != ';')) {
        broken(r, "chunk size");
        return;
    }
    r->left = size;
    r->head_bytes = 0;
    r->state = size == 0 ? RESPONSE_TRAILER : RESPONSE_CHUNK;
}

static void end_of_left(struct response *r)
{
    r->state = r->state == RESPONSE_COUNTED ? RESPONSE_DONE : RESPONSE_CHUNK_END;
}

/* ---- lines ---- */

static void read_line(struct response *r, const char *line, size_t len)
{
    switch (r->state) {
    case RESPONSE_STATUS_LINE:
        read_status_line(r, line, len);
        break;
    case RESPONSE_HEADER:
        if (len == 0)
            end_head(r);
        else
            read_field(r, line, len);
        break;
    case RESPONSE_CHUNK_SIZE:
        read_chunk_size(r, line, len);
        break;
    case RESPONSE_CHUNK_END:
        r->state = RESPONSE_CHUNK_SIZE;
        if (len != 0)
            broken(r, "end of a chunk");
        break;
    default: /* RESPONSE_TRAILER */
        if (len == 0)
            r->state = RESPONSE_DONE;
        break;
    }
}

static size_t line_max_bytes(const struct response *r)
{
    if (r->state == RESPONSE_CHUNK_SIZE)
        return CHUNK_LINE_MAX_BYTES;
    if (r->state == RESPONSE_CHUNK_END)
        return 2;
    return RESPONSE_HEAD_MAX_BYTES - r->head_bytes;
}

/* Takes bytes up to a line's end. A line ends with CRLF; a bare CR or LF is an error. */
static size_t feed_line(struct response *r, const char *data, size_t len)
{
    const char *newline = memchr(data, '\n', len);
    size_t taken = newline != NULL ? (size_t)(newline - data) + 1 : len;
    if (r->line.len + taken > line_max_bytes(r)) {
        broken(r, "a line or the head is too long");
        return taken;
    }
    buf_append(&r->line, data, taken);
    if (newline == NULL)
        return taken;
    size_t line_len = r->line.len;
    const char *cr = memchr(r->line.data, '\r', line_len);
    if (line_len < 2 || cr != r->line.data + line_len - 2) {
        broken(r, "line end");
        return taken;
    }
    r->head_bytes += line_len;
    read_line(r, r->line.data, line_len - 2);
    buf_clear(&r->line);
    return taken;
}

static size_t feed_left(struct response *r, const char *data, size_t len, response_body_fn body,
                        void *ctx)
{
    size_t taken = len < r->left ? len : (size_t)r->left;
    body(ctx, data, taken);
    r->left -= taken;
    if (r->left == 0)
        end_of_left(r);
    return taken;
}

static size_t feed_some(struct response *r, const char *data, size_t len, response_body_fn body,
                        void *ctx)
{
    switch (r->state) {
    case RESPONSE_COUNTED:
    case RESPONSE_CHUNK:
        return feed_left(r, data, len, body, ctx);
    case RESPONSE_UNTIL_EOF:
        body(ctx, data, len);
        return len;
    default:
        return feed_line(r, data, len);
    }
}

size_t response_feed(struct response *r, const char *data, size_t len, response_body_fn body,
                     void *ctx)
{
    size_t taken = 0;
    while (taken < len && r->state != RESPONSE_DONE && r->state != RESPONSE_BROKEN)
        taken += feed_some(r, data + taken, len - taken, body, ctx);
    return taken;
}

bool response_eof(struct response *r)
{
    if (r->state == RESPONSE_UNTIL_EOF)
        r->state = RESPONSE_DONE;
    return r->state == RESPONSE_DONE;
}

void response_init(struct response *r)
{
    *r = (struct response){ .state = RESPONSE_STATUS_LINE, .line = BUF_INIT };
}

void response_free(struct response *r)
{
    buf_free(&r->line);
}
