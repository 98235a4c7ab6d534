/* A strict parser of server-sent events. */
#include "sse.h"

#include <string.h>

/* The value of `name: value` when the line is that field, else NULL. */
static const char *value_of(const char *line, size_t len, const char *name, size_t *ret_len)
{
    size_t name_len = strlen(name);
    if (len <= name_len || memcmp(line, name, name_len) != 0 || line[name_len] != ':')
        return NULL;
    const char *value = line + name_len + 1;
    size_t value_len = len - name_len - 1;
    if (value_len > 0 && *value == ' ') {
        value++;
        value_len--;
    }
    *ret_len = value_len;
    return value;
}

static void end_event(struct sse *s)
{
    if (!s->in_event)
        return;
    s->in_event = false;
    if (s->data.len == 0)
        return; /* only an event's name or id, or a comment: nothing to dispatch */
    s->event(s->ctx, s->data.data, s->data.len - 1);
    buf_clear(&s->data);
}

static bool on_line(void *ctx, const char *line, size_t len)
{
    struct sse *s = ctx;
    size_t value_len = 0;
    if (len > 0 && line[len - 1] == '\r')
        len--;
    if (len == 0) {
        end_event(s);
        return true;
    }
    s->in_event = true;
    if (line[0] == ':') {
        s->comments++;
        return true;
    }
    const char *value = value_of(line, len, "data", &value_len);
    if (value != NULL) {
        buf_append(&s->data, value, value_len);
        buf_putc(&s->data, '\n');
        return true;
    }
    if (value_of(line, len, "event", &value_len) != NULL ||
        value_of(line, len, "id", &value_len) != NULL ||
        value_of(line, len, "retry", &value_len) != NULL)
        return true;
    s->broken = "a line that is no field of an event";
    return false;
}

bool sse_feed(struct sse *s, const char *data, size_t len)
{
    switch (lines_feed(&s->lines, data, len, on_line, s)) {
    case LINES_OK:
        return true;
    case LINES_TOO_LONG:
        s->broken = "an event is too long";
        return false;
    case LINES_STOPPED:
        break;
    }
    return false;
}

bool sse_between_events(const struct sse *s)
{
    return !s->in_event && s->lines.pending.len == 0;
}

void sse_init(struct sse *s, sse_event_fn event, void *ctx)
{
    *s = (struct sse){ .data = BUF_INIT, .event = event, .ctx = ctx };
    lines_init(&s->lines, SSE_LINE_MAX_BYTES);
}

void sse_free(struct sse *s)
{
    lines_free(&s->lines);
    buf_free(&s->data);
}
