/* Health: a list of named checks, made every HEALTH_INTERVAL_MS; who asks is given what they last came to, so a probe never works or
 * waits.
 *
 * A check passes, fails, or is unknown: not made yet, or nothing to be told. When it turns from one of the first two to the other, the log
 * says so once. */
#ifndef HEALTH_H
#define HEALTH_H

#include "health_spec.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct config;
struct deadlines;
struct disk;
struct health;
struct uv_loop_s;

enum health_status { HEALTH_UNKNOWN, HEALTH_PASS, HEALTH_FAIL };

/* What the checks of the worker are made from. */
struct health_worker {
    enum health_status status;
    const char *state;      /* static */
    int64_t rpc_latency_ms; /* -1: not known */
};

/* What the check of the request log is made from. */
struct health_interactions {
    uint64_t lost; /* lines, since the start */
    bool writable; /* as far as the last write tells */
};

/* `disk` is where the room of `home` (copied) is asked; both `deadlines` and `disk` must outlive the result, which the caller owns.
 * health_configure comes next, then health_start. */
struct health *health_new(struct uv_loop_s *loop, struct deadlines *deadlines, struct disk *disk,
                          const char *home);

/* Whom to ask about the worker; NULL: nobody any more. */
void health_ask_worker(struct health *h, void (*look)(void *ctx, struct health_worker *ret),
                       void *ctx);

/* Whom to ask about the request log; NULL: there is none, and no such check, as before the first call. */
void health_ask_interactions(struct health *h,
                             void (*look)(void *ctx, struct health_interactions *ret), void *ctx);

/* From now on, and once it was started all checks are made soon; health_settings_check has passed them. A check that stays as it is keeps its result.
 * `config` is borrowed for the call. */
void health_configure(struct health *h, const struct config *config);

/* Makes the first round soon, and the others after it. */
void health_start(struct health *h);

/* The worker has changed, or may have: its checks are made at once. */
void health_worker_changed(struct health *h);

/* What a part of the program says of itself, under the name of a built-in check: "traces" is told so. `why` is static,
 * NULL when all is well. */
void health_set(struct health *h, const char *name, bool ok, const char *why);

/* The checks as an object: {name: {status, since, [value, unit, limit], [why], required}}. A new reference to what is made anew only
 * when something has changed; not to be changed. */
json_t *health_describe(struct health *h);

/* The i-th of the checks that must pass and fail; NULL behind the last. Borrowed until the next health_configure. */
const char *health_required_failing(const struct health *h, size_t i);

/* How many checks fail. */
size_t health_failing(const struct health *h);

/* Makes no more checks, and calls `on_closed` once when none is under way; also from within. */
void health_close(struct health *h, void (*on_closed)(void *ctx), void *ctx);

/* After on_closed, or before health_start. Safe on NULL. */
void health_free(struct health *h);

#endif
