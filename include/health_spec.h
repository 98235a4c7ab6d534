/* The settings HEALTH_CHECKS and HEALTH_REQUIRED: which checks there are beside the built-in ones, and which of all must pass. Pure. */
#ifndef HEALTH_SPEC_H
#define HEALTH_SPEC_H

#include "mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEALTH_NAME_MAX 32
#define HEALTH_SPECS_MAX 16

enum health_builtin {
    HEALTH_WORKER,
    HEALTH_WORKER_RPC,
    HEALTH_MEMORY,
    HEALTH_DISK,
    HEALTH_LOG,
    HEALTH_TRACES,
    HEALTH_INTERACTIONS, /* the last: there only when somebody tells of it, see health.h */
    HEALTH_BUILTIN_COUNT
};

const char *health_builtin_name(enum health_builtin check);

enum health_kind { HEALTH_TCP, HEALTH_FILE };

struct health_spec {
    char name[HEALTH_NAME_MAX + 1];
    enum health_kind kind;
    char *target; /* owned: the host without brackets, or the path */
    int port;
    int64_t max_age_s;
};

struct health_specs {
    struct health_spec items[HEALTH_SPECS_MAX];
    size_t count;
};

/* Parses "name=tcp:host:port, name=file:/path:seconds"; NULL is none. False with a message for people, which begins with the name of
 * the setting and quotes nothing of its text, in `ret_why` (owned by the caller); then there is nothing to be freed. */
CHECK_RESULT bool health_specs_parse(const char *text, struct health_specs *ret, char **ret_why);

/* Safe to repeat. */
void health_specs_free(struct health_specs *specs);

bool health_spec_equal(const struct health_spec *a, const struct health_spec *b);

/* Whether `name` is among the names of HEALTH_REQUIRED; NULL holds none. */
bool health_required_has(const char *required, const char *name);

/* Whether all settings of health are right; else a message as above. */
CHECK_RESULT bool health_settings_check(const char *checks, const char *required, char **ret_why);

#endif
