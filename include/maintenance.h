/* Maintenance: clients are told to come back later, while probes, metrics and operators are answered as usual. What is under way
 * goes on. It is switched by the operator, takes effect with the next request, and outlives a restart: the state is written to
 * maintenance.json in CODEX_HOME, off the loop.
 *
 * A state that comes of PROXY_MAINTENANCE_MODE is not written: taking the setting away ends it. */
#ifndef MAINTENANCE_H
#define MAINTENANCE_H

#include "api_error.h"
#include "json.h"
#include "mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAINTENANCE_MESSAGE_MAX 500 /* characters */
#define MAINTENANCE_RETRY_MAX_S 86400
#define MAINTENANCE_ACTOR_MAX 64
#define MAINTENANCE_FILE_MAX 8192 /* bytes; the longest state that we write takes a third */

struct disk;
struct maintenance;

struct maintenance_options {
    struct disk *disk;     /* borrowed */
    const char *home;      /* borrowed for the call: where the file is */
    bool enabled;          /* by the settings, whatever the file says */
    int64_t retry_after_s; /* of a maintenance that names none */
};

/* In the state of the last run, or of the settings; a file that cannot be used counts as off, and is warned about in the log: an
 * endpoint that is down for no reason that anybody gave is worse than one that is up a little early. Reads the file at once. The
 * caller owns the result. */
struct maintenance *maintenance_new(const struct maintenance_options *options);

/* Another default, from now on. Changes nothing else. */
void maintenance_configure(struct maintenance *m, int64_t retry_after_s);

bool maintenance_enabled(const struct maintenance *m);

/* Does what the body of a POST asks for: {"enabled", "retry_after_s", "message", "actor"}, all but the first optional. When `enabled`
 * changes, what is left out takes its default; else it stays, but for the actor, who is always that of the last change. null asks for the
 * default. It counts from now on, whether or not the disk takes it. False with a 400 in `ret`: nothing has changed. */
CHECK_RESULT bool maintenance_change(struct maintenance *m, const char *body, size_t len,
                                     struct api_error *ret);

/* The 503 that a client gets. */
void maintenance_refusal(const struct maintenance *m, struct api_error *ret);

/* {enabled, since, retry_after_s, actor}, for bodies that show more than this; the actor only if it is known. A new reference. */
json_t *maintenance_describe(const struct maintenance *m);

/* All of it, for the operator: also source ("default", "setting", "last_run", "request"), message and persisted: whether the disk holds
 * this state, null while it is being written. A new reference. */
json_t *maintenance_state(const struct maintenance *m);

/* Before the disk takes no more: tries again to write what it has not taken. Safe on NULL. */
void maintenance_close(struct maintenance *m);

/* When the disk is idle. Safe on NULL. */
void maintenance_free(struct maintenance *m);

#endif
