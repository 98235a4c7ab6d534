/* Structured logs: one JSON object a line on stdout. */
#include "log.h"

#include "buf.h"
#include "clock.h"
#include "json.h"
#include "log_sink.h"
#include "terminal.h"
#include "utf8.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const level_names[] = { "debug", "info", "warn", "error" };
static const char *const component_names[] = { "app", "http", "chat", "worker", "observe" };

#define LEVEL_COUNT (sizeof(level_names) / sizeof(level_names[0]))
#define COMPONENT_COUNT (sizeof(component_names) / sizeof(component_names[0]))

struct component_levels {
    int of[COMPONENT_COUNT]; /* 1 + enum log_level; 0: none of its own */
};

static enum log_level threshold = LOG_INFO;
static struct component_levels levels;
static struct log_sink *sink;   /* owned; NULL: lines are written directly */
static bool given_up;           /* the sink's thread hangs: nothing may be written any more */
static uint64_t dropped_before; /* by sinks that are no more, and by direct writes */

/* ---- levels ---- */

void log_set_level(enum log_level level)
{
    threshold = level;
}

static int find(const char *const *names, size_t count, const char *name, size_t len)
{
    for (size_t i = 0; i < count; i++)
        if (strlen(names[i]) == len && memcmp(names[i], name, len) == 0)
            return (int)i;
    return -1;
}

/* One "component=level"; *text moves behind it and the comma. */
static bool parse_pair(const char **text, struct component_levels *ret)
{
    const char *name = *text + strspn(*text, " ");
    size_t name_len = strcspn(name, "=, ");
    if (name[name_len] != '=')
        return false;
    const char *level = name + name_len + 1;
    size_t level_len = strcspn(level, ", ");
    const char *end = level + level_len;
    end += strspn(end, " ");
    int component = find(component_names, COMPONENT_COUNT, name, name_len);
    int wanted = find(level_names, LEVEL_COUNT, level, level_len);
    if (component < 0 || wanted < 0 || (*end != '\0' && *end != ','))
        return false;
    ret->of[component] = 1 + wanted;
    *text = end;
    return true;
}

static bool parse_levels(const char *text, struct component_levels *ret)
{
    *ret = (struct component_levels){ { 0 } };
    if (text == NULL || text[strspn(text, " ")] == '\0')
        return true;
    while (parse_pair(&text, ret)) {
        if (*text == '\0')
            return true;
        text++;
    }
    return false;
}

bool log_levels_valid(const char *text)
{
    struct component_levels ignored;
    return parse_levels(text, &ignored);
}

bool log_set_levels(const char *text)
{
    struct component_levels coming;
    if (!parse_levels(text, &coming))
        return false;
    levels = coming;
    return true;
}

const char *log_component_name(size_t i)
{
    return i < COMPONENT_COUNT ? component_names[i] : NULL;
}

bool log_is_logged(enum log_level level, const char *component)
{
    int i = find(component_names, COMPONENT_COUNT, component, strlen(component));
    int least = i >= 0 && levels.of[i] != 0 ? levels.of[i] - 1 : (int)threshold;
    return (int)level >= least;
}

/* ---- lines ---- */

/* A name of a file or of a variable, which a complaint quotes, may be of any bytes: those that are no text are spelled. */
static void put_any(struct buf *line, const char *text, size_t len)
{
    struct buf spelled = BUF_INIT;
    terminal_put(&spelled, text, len, true);
    json_quote(line, spelled.data, spelled.len);
    buf_free(&spelled);
}

static void put_text(struct buf *line, const char *name, const char *text)
{
    size_t len = strlen(text);
    json_put_name(line, name);
    if (utf8_valid(text, len))
        json_quote(line, text, len);
    else
        put_any(line, text, len);
}

static void put_field(struct buf *line, const struct log_field *f)
{
    switch (f->kind) {
    case LOG_KIND_TEXT:
        if (f->text != NULL)
            put_text(line, f->name, f->text);
        break;
    case LOG_KIND_INT:
        json_put_int(line, f->name, f->number);
        break;
    case LOG_KIND_BOOL:
        json_put_bool(line, f->name, f->number != 0);
        break;
    }
}

static void put_head(struct buf *line, enum log_level level, const char *component,
                     const char *event)
{
    char now[CLOCK_ISO_SIZE];
    clock_iso8601(clock_wall_ms(), now);
    buf_putc(line, '{');
    put_text(line, "timestamp", now);
    put_text(line, "level", level_names[level]);
    put_text(line, "component", component);
    put_text(line, "event", event);
}

/* For the time before the loop runs. */
static void write_directly(const char *bytes, size_t len)
{
    while (len != 0) {
        ssize_t n = write(STDOUT_FILENO, bytes, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            dropped_before++; /* a log that cannot be written must not stop the service */
            return;
        }
        bytes += n;
        len -= (size_t)n;
    }
}

void log_write(enum log_level level, const char *component, const char *event,
               const struct log_field *fields, size_t count)
{
    if (!log_is_logged(level, component))
        return;
    int saved_errno = errno;
    static struct buf line; /* kept: its memory is reused by the next line */
    buf_clear(&line);
    put_head(&line, level, component, event);
    for (size_t i = 0; i < count; i++)
        put_field(&line, &fields[i]);
    buf_puts(&line, "}\n");
    if (sink != NULL)
        log_sink_put(sink, line.data, line.len);
    else if (given_up)
        dropped_before++;
    else
        write_directly(line.data, line.len);
    errno = saved_errno;
}

/* ---- start and stop ---- */

/* Whatever the levels are: a gap in the log is told of. The thread of the sink calls this, too. */
static size_t describe_gap(char *ret, size_t size, uint64_t count, uint64_t total)
{
    char now[CLOCK_ISO_SIZE];
    clock_iso8601(clock_wall_ms(), now);
    int len =
        snprintf(ret, size,
                 "{\"timestamp\":\"%s\",\"level\":\"warn\",\"component\":\"observe\",\"event\":"
                 "\"log_dropped\",\"count\":%llu,\"total\":%llu}\n",
                 now, (unsigned long long)count, (unsigned long long)total);
    assert(len > 0 && (size_t)len < size);
    return (size_t)len;
}

void log_start(void)
{
    if (sink == NULL && !given_up)
        sink = log_sink_new(STDOUT_FILENO, LOG_RING_BYTES, describe_gap);
}

void log_stop(void)
{
    if (sink == NULL)
        return;
    uint64_t dropped = 0;
    given_up = !log_sink_close(sink, LOG_FLUSH_MS, &dropped);
    dropped_before += dropped;
    sink = NULL;
}

uint64_t log_dropped(void)
{
    return dropped_before + (sink != NULL ? log_sink_dropped(sink) : 0);
}
