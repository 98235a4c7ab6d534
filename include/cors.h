/* Lets pages of chosen origins use the API from a browser. */
#ifndef CORS_H
#define CORS_H

#include <stdbool.h>

struct st_h2o_req_t;

/* Adds to the answer what a browser asks for, if the request goes to the API and comes from a page of one of the `origins`: a list with
 * commas, "*" for all, or NULL for none. True when it does. What else we serve is for no page of others. */
bool cors_allow(struct st_h2o_req_t *req, const char *origins);

/* Whether the request only asks what it may do; answer it with cors_answer_preflight, which ends it. */
bool cors_is_preflight(struct st_h2o_req_t *req);
void cors_answer_preflight(struct st_h2o_req_t *req, const char *methods);

#endif
