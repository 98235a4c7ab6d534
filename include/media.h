/* What a request says that its body is. */
#ifndef MEDIA_H
#define MEDIA_H

#include "api_error.h"
#include "mem.h"

#include <stdbool.h>

struct st_h2o_req_t;

/* Whether the body may be read as JSON; clients that name no type mean JSON. False with a 415 in `ret`. */
CHECK_RESULT bool media_check(struct st_h2o_req_t *req, struct api_error *ret);

#endif
