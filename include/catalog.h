/* The worker's model catalog, made fit for a chat endpoint.
 *
 * In the catalog that codex brings along, newer models hide client tools behind tools of codex's own. A copy without
 * that is written into CODEX_HOME and handed to the worker as `model_catalog_json`. `codex debug models` prints
 * the original; it is asked only when the binary or the wanted form has changed. */
#ifndef CATALOG_H
#define CATALOG_H

#include "json.h"

#include <stdbool.h>
#include <stdint.h>

struct catalog_job;
struct sentinel;
struct uv_loop_s;

#define CATALOG_DEMO_MODEL "codex-demo"

struct catalog_options {
    const char *file;  /* the worker's binary */
    char *const *env;  /* of the worker */
    const char *path;  /* where the catalog goes; beside it, path.stamp says what it was made of */
    bool demo;         /* only CATALOG_DEMO_MODEL */
    const char *extra; /* models that go in beside the known ones, with commas, or NULL */
    struct sentinel *sentinel; /* NULL: none guards the job */
};

/* Makes sure that the catalog at o->path is current. True: it is already. Otherwise starts a job that calls
 * `done` later, exactly once unless cancelled; `*ret_job` is NULL if it could not even be started. Options are
 * borrowed until then. */
CHECK_RESULT bool catalog_prepare(struct uv_loop_s *loop, const struct catalog_options *o,
                                  void (*done)(void *ctx, bool ok), void *ctx,
                                  struct catalog_job **ret_job);

/* Kills the job; `done` is not called. Safe on NULL. */
void catalog_cancel(struct catalog_job *job);

/* The fit copy of what `codex debug models` printed, a new reference; NULL if that is no catalog. `extra` may be NULL. */
CHECK_RESULT json_t *catalog_strip(const json_t *original, bool demo, const char *extra);

#endif
