/* The routes of the HTTP surface, and the guards before them. */
#ifndef ROUTES_H
#define ROUTES_H

#include <stdbool.h>
#include <stddef.h>

struct admission;
struct config;
struct exchanges;
struct keyring;
struct observatory;
struct server;
struct st_h2o_req_t;
struct worker;

/* What handlers work with; all borrowed. */
struct routes {
    const struct config *config;
    struct keyring *keyring;
    struct worker *worker;
    struct exchanges *exchanges;
    struct admission *admission;
    struct observatory *observatory;
    const struct server *server; /* that serves them */
    bool draining;               /* we are about to stop: not ready, and no new work */
};

/* Answers one request, now or later. */
void routes_dispatch(struct routes *routes, struct st_h2o_req_t *req);

/* ---- handlers, one file each ---- */

void handle_chat_completions(struct routes *routes, struct st_h2o_req_t *req);
void handle_models(struct routes *routes, struct st_h2o_req_t *req);
void handle_model(struct routes *routes, struct st_h2o_req_t *req);
void handle_readyz(struct routes *routes, struct st_h2o_req_t *req);
void handle_livez(struct routes *routes, struct st_h2o_req_t *req);
void handle_maintenance(struct routes *routes, struct st_h2o_req_t *req);
void handle_maintenance_change(struct routes *routes, struct st_h2o_req_t *req);
void handle_metrics(struct routes *routes, struct st_h2o_req_t *req);
void handle_status(struct routes *routes, struct st_h2o_req_t *req);
void handle_traces(struct routes *routes, struct st_h2o_req_t *req);
void handle_trace(struct routes *routes, struct st_h2o_req_t *req);
void handle_interactions(struct routes *routes, struct st_h2o_req_t *req);

#endif
