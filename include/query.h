/* The query of a URL: a few parameters that are known by name, each at most once, as they stand: nothing is decoded. */
#ifndef QUERY_H
#define QUERY_H

#include "api_error.h"
#include "mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct query_param {
    const char *name;  /* static */
    const char *value; /* borrowed from the query, without a NUL; NULL: it is not there */
    size_t len;
};

/* Fills in the values of the parameters; their `value` is NULL before. `query` begins behind the question mark, and may be NULL. False
 * with the error filled in for a parameter that is not among them, or is there twice. */
CHECK_RESULT bool query_parse(const char *query, size_t len, struct query_param *params,
                              size_t count, struct api_error *error);

/* The number that a parameter is, or `fallback` when it is not there. False with the error filled in when it is none from `min` to
 * `max`, both of at most nine digits. */
CHECK_RESULT bool query_number(const struct query_param *param, int64_t min, int64_t max,
                               int64_t fallback, int64_t *ret, struct api_error *error);

#endif
