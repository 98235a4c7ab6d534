/* A chat completion as a client asks for it: parsed and checked against one table of fields. */
#ifndef CHAT_REQUEST_H
#define CHAT_REQUEST_H

#include "api_error.h"
#include "json.h"
#include "stop.h"
#include "toolset.h"

#include <stdbool.h>
#include <stdio.h>

#define CHAT_CHOICES_MAX 8 /* `n` */

struct chat_request {
    json_t *root;           /* owned: the body; what is borrowed below points into it */
    const char *model;      /* borrowed */
    const json_t *messages; /* borrowed: checked, not empty */
    const char *effort; /* borrowed: reasoning_effort; NULL: not asked for, as with the next two */
    const char *verbosity;    /* borrowed */
    const char *service_tier; /* static: as the worker takes it */
    bool stream;
    bool include_usage;  /* of a stream */
    size_t choices;      /* `n` */
    const json_t *stops; /* borrowed: a string or an array of strings, checked; NULL: none */
    json_t *schema;      /* owned: of a structured answer, fit for strict mode */
    struct buf
        instructions;     /* owned: what the model is told because the worker has no knob for it */
    struct toolset tools; /* owned */
    struct buf ignored;   /* owned: names of known fields that have no effect, ", " between */
    struct buf emulated;  /* owned: names of fields that this program does itself */
};

/* Parses a body. False with the error filled in when it is refused; `ret` must be freed in any case. */
CHECK_RESULT bool chat_request_parse(struct chat_request *ret, const char *body, size_t len,
                                     struct api_error *ret_error);

void chat_request_free(struct chat_request *request);

/* Adds the stop sequences of the request, which must outlive `stop`. */
void chat_request_stops(const struct chat_request *request, struct stop *stop);

/* Prints how each field of a request is treated: name, treatment and meaning, separated by tabs. */
void chat_request_print_fields(FILE *out);

#endif
