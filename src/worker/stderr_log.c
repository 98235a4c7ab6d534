/* What a worker says on stderr, and what of it is logged. */
#include "stderr_log.h"

#include "log.h"

#include <stdlib.h>
#include <string.h>

static void tell(struct stderr_log *s, uint64_t now_ms, const char *line, size_t len)
{
    bool shown = log_quota_take(&s->told, now_ms);
    if (s->mode == STDERR_OFF && shown)
        log_debug("worker", "stderr", LOG_INT("bytes", len));
    else if (s->mode == STDERR_REDACTED && shown)
        redact_log(&s->redact, LOG_INFO, "worker", "stderr", line, len);
    else if (s->mode == STDERR_REDACTED)
        redact_skip(&s->redact, line, len);
}

static void keep(struct stderr_log *s, const char *line, size_t len)
{
    if (s->start.len + len > STDERR_LOG_START_MAX)
        return;
    buf_append(&s->start, line, len);
    buf_putc(&s->start, '\n');
}

void stderr_log_line(struct stderr_log *s, uint64_t now_ms, const char *line, size_t len)
{
    s->told.stream = "stderr";
    if (!s->shook_hands)
        keep(s, line, len);
    if (s->shook_hands || s->mode == STDERR_OFF)
        tell(s, now_ms, line, len);
}

void stderr_log_shook_hands(struct stderr_log *s, uint64_t now_ms)
{
    char *rest = s->mode == STDERR_REDACTED ? buf_detach(&s->start) : NULL;
    char *at = rest;
    s->shook_hands = true;
    for (char *line; (line = strsep(&at, "\n")) != NULL && at != NULL;)
        tell(s, now_ms, line, strlen(line));
    free(rest);
    buf_clear(&s->start);
}

void stderr_log_ended(struct stderr_log *s)
{
    log_quota_tell(&s->told);
    if (!s->shook_hands)
        redact_log_lines("worker", "start_stderr", s->start.data, s->start.len);
    buf_clear(&s->start);
}

void stderr_log_free(struct stderr_log *s)
{
    buf_free(&s->start);
}
