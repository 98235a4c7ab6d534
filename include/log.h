/* Structured logs: one JSON object a line on stdout.
 *
 *     log_info("worker", "started", LOG_INT("pid", pid), LOG_ID("version", version));
 *
 * Values are harmless by construction: LOG_ID takes ids, names, enum values and numbers of our own making;
 * anything that a client, the worker or the upstream wrote goes in as LOG_SIZE, which keeps its length alone. What must be shown of
 * such text has gone through redact.h.
 *
 * All functions belong to the thread of the loop. Every event has a row in runbooks/logs.md and a shape in
 * tests/schema/log.schema.json; a test fails when one is forgotten. */
#ifndef LOG_H
#define LOG_H

#include "mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOG_RING_BYTES                                                                             \
    (1024 * 1024)        /* lines that wait for a slow reader of stdout; more are dropped */
#define LOG_FLUSH_MS 500 /* for such a reader when the program ends */

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
#define LOG_INT_IF(field, known, value)                                                            \
    ((struct log_field){ (field), (known) ? LOG_KIND_INT : LOG_KIND_TEXT, NULL, (int64_t)(value) })
#define LOG_BOOL(field, value) ((struct log_field){ (field), LOG_KIND_BOOL, NULL, (value) ? 1 : 0 })
#define LOG_BOOL_IF(field, known, value)                                                           \
    ((struct log_field){ (field), (known) ? LOG_KIND_BOOL : LOG_KIND_TEXT, NULL, (value) ? 1 : 0 })
#define LOG_SIZE(field, text) LOG_INT(field "_bytes", (text) != NULL ? strlen(text) : 0)

/* Lines below `level` are not logged, unless their component has a level of its own. The default is LOG_INFO. */
void log_set_level(enum log_level level);

/* Gives components levels of their own: "worker=debug, http=warn". NULL or an empty text: none has one. False, and nothing is
 * changed, when the text is anything else. */
bool log_set_levels(const char *text);

/* Whether log_set_levels would take it. */
CHECK_RESULT bool log_levels_valid(const char *text);

/* The name of the i-th component, or NULL behind the last. */
const char *log_component_name(size_t i);

/* Whether a line of that level of the component is logged at all. */
bool log_is_logged(enum log_level level, const char *component);

/* From now on lines go through a ring and are written by a thread, so that logging never waits; before, and if there can be no
 * thread, they are written directly. */
void log_start(void);

/* Writes out what is in the ring, for at most LOG_FLUSH_MS. Lines after that are written directly, or dropped when the
 * reader was too slow even for that. Safe to repeat, and without log_start. */
void log_stop(void);

/* Lines that were lost since the start of the program. */
uint64_t log_dropped(void);

/* Writes one line. errno survives. Fields are borrowed for the call. */
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
