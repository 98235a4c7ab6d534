/* What the end of a turn means for the client. Pure. */
#ifndef FAILURE_H
#define FAILURE_H

#include "api_error.h"
#include "turn.h"

/* The finish_reason of a turn that ended with an answer ("stop", "length", "content_filter"), static; or NULL with
 * the error filled in. No text of the worker reaches the error, except the message of an upstream's own
 * JSON error body to a bad request. */
const char *failure_finish_reason(const struct turn_end *end, struct api_error *ret_error);

#endif
