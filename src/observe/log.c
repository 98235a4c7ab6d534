/* Structured logs: one JSON object a line on stdout. */
#include "log.h"

#include "buf.h"
#include "clock.h"
#include "json.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

static const char *const level_names[] = { "debug", "info", "warn", "error" };

#define LOG_PATIENCE_MS                                                                            \
    200 /* for a reader that is behind; none for one that has not caught up since */

static enum log_level threshold = LOG_INFO;
static unsigned long long dropped; /* lines that found no room since the last one that did */

void log_set_level(enum log_level level)
{
    threshold = level;
}

int log_level_parse(const char *name)
{
    for (int i = LOG_DEBUG; i <= LOG_ERROR; i++)
        if (strcmp(name, level_names[i]) == 0)
            return i;
    return -1;
}

static void put_text(struct buf *line, const char *name, const char *text)
{
    buf_printf(line, ",\"%s\":", name);
    json_quote(line, text, strlen(text));
}

static void put_field(struct buf *line, const struct log_field *f)
{
    switch (f->kind) {
    case LOG_KIND_TEXT:
        if (f->text != NULL)
            put_text(line, f->name, f->text);
        break;
    case LOG_KIND_INT:
        buf_printf(line, ",\"%s\":%lld", f->name, (long long)f->number);
        break;
    case LOG_KIND_BOOL:
        buf_printf(line, ",\"%s\":%s", f->name, f->number != 0 ? "true" : "false");
        break;
    }
}

/* A pipe that nobody reads, or a terminal that is held, must not hold up the service. One that polls as writable takes a
 * line of PIPE_BUF bytes, which ours are shorter than, without blocking. A reader that is only slow is waited for, once. */
static bool has_room(void)
{
    struct pollfd out = { .fd = STDOUT_FILENO, .events = POLLOUT };
    return poll(&out, 1, dropped == 0 ? LOG_PATIENCE_MS : 0) != 0;
}

static void write_all(const char *bytes, size_t len)
{
    while (len != 0) {
        ssize_t n = write(STDOUT_FILENO, bytes, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return; /* a log that cannot be written must not stop the service */
        bytes += n;
        len -= (size_t)n;
    }
}

void log_write(enum log_level level, const char *component, const char *event,
               const struct log_field *fields, size_t count)
{
    if (level < threshold)
        return;
    int saved_errno = errno;
    static struct buf line; /* kept: its memory is reused by the next line */
    buf_clear(&line);
    char now[CLOCK_ISO_SIZE];
    clock_iso8601(clock_wall_ms(), now);
    buf_printf(&line, "{\"timestamp\":\"%s\",\"level\":\"%s\"", now, level_names[level]);
    put_text(&line, "component", component);
    put_text(&line, "event", event);
    for (size_t i = 0; i < count; i++)
        put_field(&line, &fields[i]);
    if (dropped != 0)
        buf_printf(&line, ",\"lines_dropped_before\":%llu", dropped);
    buf_puts(&line, "}\n");
    if (has_room()) {
        dropped = 0;
        write_all(line.data, line.len);
    } else {
        dropped++;
    }
    errno = saved_errno;
}
