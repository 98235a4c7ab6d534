/* Whole answers: a status, headers and a JSON body. Each of these functions ends the request: it may be freed inside the
 * call, so nothing that touches it may follow. */
#ifndef REPLY_H
#define REPLY_H

#include "api_error.h"

#include <jansson.h>
#include <stddef.h>

struct st_h2o_req_t;

/* Answers with the JSON value and takes the reference to it. */
void reply_json(struct st_h2o_req_t *req, int status, json_t *value);

/* Answers 200 with these bytes of that type, and frees them. */
void reply_text(struct st_h2o_req_t *req, const char *type, struct buf *body);

/* Answers with the OpenAI error envelope, its retry headers, WWW-Authenticate with 401. The error is borrowed. */
void reply_error(struct st_h2o_req_t *req, const struct api_error *error);

/* Answers 204, with nothing. */
void reply_empty(struct st_h2o_req_t *req);

/* Writes the whole answer, from status line to body, for a connection that h2o has no request of; it says that the
 * connection closes. */
void reply_write_raw(struct buf *out, const struct api_error *error, const char *request_id);

/* Adds a header to the answer; name is a lower-case literal, the value is copied. Ends nothing. */
void reply_header(struct st_h2o_req_t *req, const char *name, const char *value);

/* Puts the envelope, and what pages of the origins of `config` need (see cors.h), into every answer that h2o itself makes to a
 * request that it rejects (413, 417, broken chunks). `config` is borrowed, and read at each answer: a reload changes it. */
struct config;
struct st_h2o_pathconf_t;
void reply_wrap_core_errors(struct st_h2o_pathconf_t *fallback_path, const struct config *config);

/* The error of such an answer. */
void reply_core_error(int status, struct api_error *ret);

/* Its x-request-id, borrowed from the request; NULL: it has none yet. */
const char *reply_core_id(struct st_h2o_req_t *req);

#endif
