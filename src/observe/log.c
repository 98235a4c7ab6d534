/* Structured logs: one JSON object a line on stdout. */
#include "log.h"

#include "buf.h"
#include "clock.h"
#include "json.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static const char *const level_names[] = { "debug", "info", "warn", "error" };

static enum log_level threshold = LOG_INFO;

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
    buf_puts(&line, "}\n");
    write_all(line.data, line.len);
    errno = saved_errno;
}
