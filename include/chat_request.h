/* A chat completion as a client asks for it: parsed and checked. */
#ifndef CHAT_REQUEST_H
#define CHAT_REQUEST_H

#include "api_error.h"
#include "json.h"

#include <stdbool.h>

#define CHAT_MESSAGES_MAX 10000

struct chat_request {
    json_t *root;           /* owned: the body; what follows points into it */
    const char *model;      /* borrowed */
    const json_t *messages; /* borrowed: checked, not empty */
    const char *effort;     /* borrowed: reasoning_effort, NULL if not asked for */
    bool stream;
    bool include_usage; /* of a stream */
    struct buf ignored; /* owned: names of known fields that have no effect, ", " between */
};

/* Parses a body. False with the error filled in when it is refused; `ret` must be freed in any case. */
CHECK_RESULT bool chat_request_parse(struct chat_request *ret, const char *body, size_t len,
                                     struct api_error *ret_error);

void chat_request_free(struct chat_request *request);

#endif
