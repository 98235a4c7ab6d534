/* The schema of an answer: whether strict mode takes it, and how one is made that it takes.
 *
 * The worker sends turn/start.outputSchema upstream with strict true, whatever the client asked
 * for, and upstream refuses what its strict mode cannot enforce. The rules and limits here are
 * those of OpenAI's structured outputs guide, of the deny lists in its own SDKs, and of the errors
 * that users of its API report. Where these disagree the check lets pass, as upstream has the last
 * word, and the making leaves out. */
#ifndef SCHEMA_H
#define SCHEMA_H

#include "api_error.h"
#include "json.h"

#include <stdbool.h>

/* Limits of the guide, for a whole schema unless said otherwise. */
#define SCHEMA_LEVELS_MAX 10        /* objects and arrays in each other, the root being the first */
#define SCHEMA_PROPERTIES_MAX 5000  /* of all objects */
#define SCHEMA_ENUM_VALUES_MAX 1000 /* of all enums */
#define SCHEMA_TEXT_MAX 120000      /* characters of all names, enum values and const values */
#define SCHEMA_ENUM_LONG 250        /* an enum of more values than these ... */
#define SCHEMA_ENUM_LONG_TEXT_MAX 15000 /* ... has at most this many characters */

/* Limits of ours. */
#define SCHEMA_DEPTH_MAX 64 /* schemas in each other that are followed, of anyOf too */
#define SCHEMA_VALUES_MAX                                                                          \
    100000 /* JSON values, so that a hostile schema does not hold up the loop */

/* Whether strict mode takes the schema as it is. False with `ret` filled in: 400, code
 * invalid_json_schema, param `place` ("response_format"), and a message that ends with the path of
 * the first fault found ("Found at $.properties.a.items"). Of names in it only the beginning and
 * what is printable is shown. `schema` may be any JSON value, or NULL. */
CHECK_RESULT bool schema_check_strict(const json_t *schema, const char *place,
                                      struct api_error *ret);

/* A schema that schema_check_strict() takes, of answers as close as possible to those of `schema`,
 * which may be any JSON value and is not changed; a new reference. Objects that do not say it are
 * closed, optional properties that may be null become required, oneOf becomes anyOf, annotations are dropped, and constraints that
 * upstream may refuse are dropped and told in the description. NULL when an answer to
 * it might not be valid by `schema`, or when it would change too much: optional properties that may not be null, open objects, values of any type, tuples, conditions, an allOf of several, references to anything
 * but a definition, a root that is not one object. */
CHECK_RESULT json_t *schema_make_strict(const json_t *schema);

#endif
