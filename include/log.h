/* Structured logs: one JSON object a line on stdout.
 *
 *     log_info("worker", "started", LOG_INT("pid", pid), LOG_ID("version", version));
 *
 * Values are harmless by construction: LOG_ID takes ids, names, enum values and numbers of our own making;
 * anything that a client, the worker or the upstream wrote goes in as LOG_SIZE, which keeps its length alone. */
#ifndef LOG_H
#define LOG_H

#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

enum log_kind { LOG_KIND_TEXT, LOG_KIND_INT, LOG_KIND_BOOL };

struct log_field {
    const char *name; /* borrowed */
    enum log_kind kind;
    const char *text; /* borrowed; a NULL text leaves the field out */
    int64_t number;
};

#define LOG_ID(field, value) ((struct log_field){ (field), LOG_KIND_TEXT, (value), 0 })
#define LOG_INT(field, value) ((struct log_field){ (field), LOG_KIND_INT, NULL, (int64_t)(value) })
#define LOG_BOOL(field, value) ((struct log_field){ (field), LOG_KIND_BOOL, NULL, (value) ? 1 : 0 })
#define LOG_SIZE(field, text) LOG_INT(field "_bytes", (text) != NULL ? strlen(text) : 0)

/* Lines below `level` are dropped. The default is LOG_INFO. */
void log_set_level(enum log_level level);

/* The level of that name, or -1. */
int log_level_parse(const char *name);

/* Writes one line, or drops it when stdout takes none now: the next one then has `lines_dropped_before`. errno survives. Fields are
 * borrowed for the call. */
void log_write(enum log_level level, const char *component, const char *event,
               const struct log_field *fields, size_t count);

#define LOG_AT(level, component, event, ...)                                                       \
    log_write(level, component, event, (const struct log_field[]){ __VA_ARGS__ },                  \
              sizeof((const struct log_field[]){ __VA_ARGS__ }) / sizeof(struct log_field))
#define log_debug(component, event, ...) LOG_AT(LOG_DEBUG, component, event, __VA_ARGS__)
#define log_info(component, event, ...) LOG_AT(LOG_INFO, component, event, __VA_ARGS__)
#define log_warn(component, event, ...) LOG_AT(LOG_WARN, component, event, __VA_ARGS__)
#define log_error(component, event, ...) LOG_AT(LOG_ERROR, component, event, __VA_ARGS__)

#endif
