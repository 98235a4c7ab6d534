/* The worker as the rest of the program sees it: one supervised codex app-server with its turns and models. */
#ifndef WORKER_H
#define WORKER_H

#include "supervisor.h"

struct config;
struct deadlines;
struct launch;
struct models;
struct turns;
struct uv_loop_s;
struct worker;

/* `config`, `launch` and `deadlines` must outlive the worker. The caller owns the result. */
struct worker *worker_new(struct uv_loop_s *loop, struct deadlines *deadlines,
                          const struct config *config, const struct launch *launch);

void worker_start(struct worker *worker);

/* Called each time the worker has become ready. */
void worker_on_ready(struct worker *worker, void (*fn)(void *ctx), void *ctx);

/* Called when the worker has become ready, and when it is ready no more: before its turns hear of that. */
void worker_on_change(struct worker *worker, void (*fn)(void *ctx, bool ready), void *ctx);

/* Stops the process politely and calls `on_stopped` once, also from within. */
void worker_stop(struct worker *worker, void (*on_stopped)(void *ctx), void *ctx);

/* After on_stopped, or before worker_start. Safe on NULL. */
void worker_free(struct worker *worker);

bool worker_ready(const struct worker *worker);
void worker_status(const struct worker *worker, struct supervisor_status *ret);

/* Version of the codex binary as it named itself at the handshake ("0.169.0"), or "" before. */
const char *worker_codex_version(const struct worker *worker);

/* Both borrowed, valid as long as the worker. */
struct turns *worker_turns(struct worker *worker);
struct models *worker_models(struct worker *worker);

#endif
