/* The body of a request as JSON, with the errors that clients are told. */
#ifndef JSON_BODY_H
#define JSON_BODY_H

#include "api_error.h"
#include "json.h"
#include "mem.h"

/* The one JSON object that the body must be, as a new reference. NULL with a 400 in `ret` for anything else. */
CHECK_RESULT json_t *json_body_parse(const char *body, size_t len, struct api_error *ret);

#endif
