/* The worker as the rest of the program sees it: one supervised codex app-server with its turns and models. */
#ifndef WORKER_H
#define WORKER_H

#include "launch.h"
#include "supervisor.h"

struct config;
struct deadlines;
struct models;
struct turns;
struct uv_loop_s;
struct worker;

/* Takes what `launch` holds. `deadlines` must outlive the worker, `config` only the call. The caller owns the result. */
struct worker *worker_new(struct uv_loop_s *loop, struct deadlines *deadlines,
                          const struct config *config, struct launch *launch);

void worker_start(struct worker *worker);

/* Called when new turns can be begun, when they can be begun no more (before its turns hear of that), and when a fresh
 * incarnation has taken over. */
void worker_on_change(struct worker *worker, void (*fn)(void *ctx, bool ready), void *ctx);

/* Called when a successor has come to nothing; must not recycle from within. */
void worker_on_recycle_failed(struct worker *worker, void (*fn)(void *ctx), void *ctx);

/* A fresh incarnation with these settings takes the place of the one that runs, which finishes its turns. When it does not get
 * ready the old one goes on, with the settings and the models it has. Takes what `launch` holds. `why` is static. */
void worker_recycle(struct worker *worker, const struct config *config, struct launch *launch,
                    const char *why);

/* Stops the process politely and calls `on_stopped` once, also from within. */
void worker_stop(struct worker *worker, void (*on_stopped)(void *ctx), void *ctx);

/* After on_stopped, or before worker_start. Safe on NULL. */
void worker_free(struct worker *worker);

/* New turns can be begun. */
bool worker_ready(const struct worker *worker);

/* It reads its input too slowly for more work. */
bool worker_congested(const struct worker *worker);

void worker_status(const struct worker *worker, struct supervisor_status *ret);

/* As supervisor_death. */
const struct death *worker_death(const struct worker *worker, size_t i);

/* Where the answers come from, of the incarnation that runs. */
enum launch_source worker_source(const struct worker *worker);

/* A turn that was lost has done nothing but think: it can be run again. */
bool worker_pure_chat(const struct worker *worker);

/* Version of the codex binary as it named itself at the handshake ("0.169.0"), or "" before. */
const char *worker_codex_version(const struct worker *worker);

/* Takes new turns; NULL while none can be begun. Borrowed until the loop goes on. */
struct turns *worker_turns(struct worker *worker);

/* Turns that occupy the worker now. */
size_t worker_turns_active(const struct worker *worker);

/* Borrowed, valid as long as the worker. */
struct models *worker_models(struct worker *worker);

#endif
