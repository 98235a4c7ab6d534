/* What a worker says on stderr, and what of it is logged. */
#include "stderr_log.h"

#include "log.h"

#include <string.h>

static void tell(struct stderr_log *s, uint64_t now_ms, const char *line, size_t len)
{
    if (s->mode == STDERR_OFF && !log_is_logged(LOG_DEBUG, "worker"))
        return; /* nor is anything held back */
    bool shown = log_quota_take(&s->told, now_ms);
    if (s->mode == STDERR_OFF && shown)
        log_debug("worker", "stderr", LOG_INT("bytes", len));
    else if (s->mode == STDERR_REDACTED && shown)
        redact_log(&s->redact, LOG_INFO, "worker", "stderr", line, len);
    else if (s->mode == STDERR_REDACTED)
        redact_skip(&s->redact, line, len);
}

/* The next line that was kept, from *at on; false at the end. A line may hold NULs. */
static bool next_kept(const struct stderr_log *s, size_t *at, const char **ret_line,
                      size_t *ret_len)
{
    if (*at >= s->start.len)
        return false;
    *ret_line = s->start.data + *at;
    const char *newline = memchr(*ret_line, '\n', s->start.len - *at); /* each line has one */
    *ret_len = (size_t)(newline - *ret_line);
    *at += *ret_len + 1;
    return true;
}

/* The last lines count: they say why it ends. What the others leave open is not forgotten. */
static void keep(struct stderr_log *s, const char *line, size_t len)
{
    size_t gone = 0;
    const char *first;
    size_t first_len;
    buf_append(&s->start, line, len);
    buf_putc(&s->start, '\n');
    while (s->start.len - gone > STDERR_LOG_START_MAX && next_kept(s, &gone, &first, &first_len))
        redact_skip(&s->redact, first, first_len);
    buf_consume(&s->start, gone);
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
    const char *line;
    size_t len;
    s->shook_hands = true;
    for (size_t at = 0; s->mode == STDERR_REDACTED && next_kept(s, &at, &line, &len);)
        tell(s, now_ms, line, len);
    buf_clear(&s->start);
}

void stderr_log_ended(struct stderr_log *s)
{
    const char *line;
    size_t len;
    log_quota_tell(&s->told);
    for (size_t at = 0; !s->shook_hands && next_kept(s, &at, &line, &len);)
        redact_log(&s->redact, LOG_ERROR, "worker", "start_stderr", line, len);
    buf_clear(&s->start);
}

void stderr_log_free(struct stderr_log *s)
{
    buf_free(&s->start);
}
