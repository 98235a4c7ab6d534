/* A trace for people. */
#include "trace_timeline.h"

#include "json.h"
#include "terminal.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define DASH "-"
#define TIME_COLUMN 11
#define WAY_COLUMN 16
#define WHAT_COLUMN 28
#define SIZE_COLUMN 9
#define OUTCOME_COLUMN 26 /* the longest code of an error */

/* What is in columns of its own, or says nothing. */
static const char *const shown[] = { "ts_ms", "type",   "method",  "event",
                                     "bytes", "answer", "redacted" };

/* Who says it to whom: read with codex-api in the middle. */
static const struct {
    const char *type;
    const char *way;
} ways[] = {
    { "http", "client" },
    { "stage", "codex-api" },
    { "rpc_request", "-> worker" },
    { "rpc_response", "<- worker" },
    { "rpc_notification", "<- worker" },
    { "rpc_server_request", "<- worker asks" },
};

static void put(struct buf *out, const char *text)
{
    if (text == NULL)
        buf_puts(out, DASH);
    else
        terminal_put(out, text, strlen(text), false);
}

/* The text and blanks up to the width, and two more. */
static void put_column(struct buf *out, const char *text, size_t width)
{
    size_t before = out->len;
    put(out, text);
    size_t len = out->len - before;
    buf_printf(out, "%*s", (int)(len < width ? width - len : 0) + 2, "");
}

/* A value as it stands in JSON, texts without quotes; in as few bytes as it has. */
static void put_value(struct buf *out, const json_t *value)
{
    struct buf text = BUF_INIT;
    if (json_is_string(value)) {
        put(out, json_string_value(value));
        return;
    }
    if (json_is_real(value)) /* jansson would write 1.1 as 1.1000000000000001 */
        buf_printf(&text, "%.12g", json_real_value(value));
    else
        json_write(&text, value);
    terminal_put(out, text.data, text.len, false);
    buf_free(&text);
}

/* In words: "812 B", "3.1 KiB". */
static void put_size(struct buf *out, size_t bytes)
{
    if (bytes < 1024)
        buf_printf(out, "%zu B", bytes);
    else if (bytes < 1024 * 1024)
        buf_printf(out, "%.1f KiB", (double)bytes / 1024);
    else
        buf_printf(out, "%.1f MiB", (double)bytes / (1024 * 1024));
}

static void put_number(struct buf *out, const json_t *trace, const char *name, const char *unit)
{
    const json_t *value = json_object_get(trace, name);
    if (json_is_integer(value))
        buf_printf(out, "%" JSON_INTEGER_FORMAT "%s", json_integer_value(value), unit);
    else
        buf_puts(out, DASH);
}

/* ---- the table ---- */

/* The columns between id and size, from the trace. */
static void put_facts(struct buf *out, const json_t *trace)
{
    struct buf cell = BUF_INIT;
    const char *code = json_str_at(trace, "error_code");
    put_number(&cell, trace, "status", "");
    put_column(out, buf_str(&cell), 6);
    put_column(out, code != NULL ? code : json_str_at(trace, "outcome"), OUTCOME_COLUMN);
    buf_clear(&cell);
    put_number(&cell, trace, "duration_ms", " ms");
    put_column(out, buf_str(&cell), 10);
    buf_clear(&cell);
    buf_printf(&cell, "%zu", json_array_size(json_at(trace, "events")));
    put_column(out, buf_str(&cell), 6);
    buf_free(&cell);
}

void trace_table_begin(struct buf *out)
{
    put_column(out, "TIME", 24);
    put_column(out, "REQUEST", 28);
    put_column(out, "STATUS", 6);
    put_column(out, "OUTCOME", OUTCOME_COLUMN);
    put_column(out, "DURATION", 10);
    put_column(out, "EVENTS", 6);
    put_column(out, "SIZE", 9);
    buf_puts(out, "ROUTE\n");
}

void trace_table_add(struct buf *out, const struct trace_row *row)
{
    struct buf size = BUF_INIT;
    put_column(out, row->timestamp, 24);
    put_column(out, row->req_id, 28);
    if (row->wrong == NULL) {
        put_facts(out, row->trace);
        put_size(&size, row->bytes);
        put_column(out, buf_str(&size), 9);
        put(out, json_str_at(row->trace, "route"));
    } else {
        put(out, row->wrong);
    }
    buf_putc(out, '\n');
    buf_free(&size);
}

/* ---- the timeline ---- */

static void put_head(struct buf *out, const json_t *trace)
{
    put(out, json_str_at(trace, "req_id"));
    buf_puts(out, "  ");
    put(out, json_str_at(trace, "timestamp"));
    buf_puts(out, "  ");
    put(out, json_str_at(trace, "route"));
    buf_puts(out, json_bool_at(trace, "stream", 0) ? "  streamed" : "");
    buf_puts(out, "\nmodel ");
    put(out, json_str_at(trace, "model"));
    buf_puts(out, ", status ");
    put_number(out, trace, "status", "");
    buf_puts(out, ", outcome ");
    put(out, json_str_at(trace, "outcome"));
    if (json_str_at(trace, "error_code") != NULL) {
        buf_puts(out, ", error ");
        put(out, json_str_at(trace, "error_code"));
    }
    buf_puts(out, ", ");
    put_number(out, trace, "duration_ms", " ms");
    buf_puts(out, "\n");
}

/* What the head has not told: "queue_ms=3 tokens_prompt=12". */
static void put_rest_of_head(struct buf *out, const json_t *trace)
{
    static const char *const told[] = { "v",      "req_id",     "timestamp",  "route",
                                        "model",  "stream",     "status",     "outcome",
                                        "events", "error_code", "duration_ms" };
    const char *name = NULL;
    json_t *value = NULL;
    bool any = false;
    json_object_foreach((json_t *)(uintptr_t)trace, name, value)
    {
        bool skip = false;
        for (size_t i = 0; !skip && i < sizeof(told) / sizeof(told[0]); i++)
            skip = strcmp(told[i], name) == 0;
        if (skip)
            continue;
        buf_puts(out, any ? " " : "");
        any = true;
        put(out, name);
        buf_putc(out, '=');
        put_value(out, value);
    }
    buf_puts(out, any ? "\n" : "");
}

/* Milliseconds at a name, which may have decimals; else the fallback. */
static double ms_at(const json_t *event, const char *name, double fallback)
{
    const json_t *value = json_object_get(event, name);
    return json_is_number(value) ? json_number_value(value) : fallback;
}

static const char *what_of(const json_t *event)
{
    const char *method = json_str_at(event, "method");
    return method != NULL ? method : json_str_at(event, "event");
}

static const char *way_of(const json_t *event)
{
    const char *type = json_str_at(event, "type");
    if (json_bool_at(event, "answer", 0))
        return "-> worker answer"; /* of ours, to what the worker has asked */
    for (size_t i = 0; type != NULL && i < sizeof(ways) / sizeof(ways[0]); i++)
        if (strcmp(ways[i].type, type) == 0)
            return ways[i].way;
    return type;
}

static void put_more(struct buf *out, const json_t *event)
{
    const char *name = NULL;
    json_t *value = NULL;
    json_object_foreach((json_t *)(uintptr_t)event, name, value)
    {
        bool skip = false;
        for (size_t i = 0; !skip && i < sizeof(shown) / sizeof(shown[0]); i++)
            skip = strcmp(shown[i], name) == 0;
        if (skip)
            continue;
        buf_putc(out, ' ');
        put(out, name);
        buf_putc(out, '=');
        put_value(out, value);
    }
}

static void put_event(struct buf *out, const json_t *event, double at_ms, double gap_ms)
{
    struct buf size = BUF_INIT;
    const json_t *bytes = json_at(event, "bytes");
    buf_printf(out, "%*.3f  ", TIME_COLUMN, at_ms);
    if (gap_ms > 0)
        buf_printf(out, "%+*.3f  ", TIME_COLUMN, gap_ms);
    else
        buf_printf(out, "%*s  ", TIME_COLUMN, "");
    put_column(out, way_of(event), WAY_COLUMN);
    put_column(out, what_of(event), WHAT_COLUMN);
    if (json_is_integer(bytes) && json_integer_value(bytes) > 0)
        put_size(&size, (size_t)json_integer_value(bytes));
    buf_printf(out, "%*s ", SIZE_COLUMN, buf_str(&size));
    put_more(out, event);
    while (out->data[out->len - 1] == ' ')
        out->len--;
    buf_putc(out, '\n');
    buf_free(&size);
}

/* The longest wait: where the time went, as a rule. */
struct longest {
    double ms;
    const json_t *event; /* borrowed: that ended it, or that it is in the middle of */
    bool inside;
};

static void note_gap(struct longest *longest, double ms, const json_t *event, bool inside)
{
    if (ms > longest->ms)
        *longest = (struct longest){ .ms = ms, .event = event, .inside = inside };
}

static void put_longest(struct buf *out, const struct longest *longest)
{
    if (longest->event == NULL)
        return;
    buf_printf(out, "\nlongest gap: %.3f ms, %s ", longest->ms,
               longest->inside ? "between pieces of" : "before");
    put(out, what_of(longest->event));
    buf_putc(out, '\n');
}

void trace_timeline_write(struct buf *out, const json_t *trace)
{
    size_t i = 0;
    const json_t *event = NULL;
    struct longest longest = { .ms = 0 };
    double last_ms = 0; /* of whatever came before: an event that counts for several has an end */
    put_head(out, trace);
    put_rest_of_head(out, trace);
    buf_printf(out, "\n%*s  %*s  ", TIME_COLUMN, "TIME ms", TIME_COLUMN, "GAP ms");
    put_column(out, "WHERE", WAY_COLUMN);
    put_column(out, "WHAT", WHAT_COLUMN);
    buf_printf(out, "%*s\n", SIZE_COLUMN, "SIZE");
    json_array_foreach(json_at(trace, "events"), i, event)
    {
        double at_ms = ms_at(event, "ts_ms", last_ms);
        double end_ms = ms_at(event, "last_ts_ms", at_ms);
        put_event(out, event, at_ms, at_ms - last_ms);
        note_gap(&longest, at_ms - last_ms, event, false);
        note_gap(&longest, ms_at(event, "max_gap_ms", 0), event, true);
        last_ms = end_ms > last_ms ? end_ms : last_ms;
    }
    put_longest(out, &longest);
}
