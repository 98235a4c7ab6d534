/* The schema of an answer: whether strict mode takes it, and what of it can be made so that it does.
 *
 * The worker sends turn/start.outputSchema upstream with strict true, whatever the client asked for, and
 * upstream refuses what its strict mode cannot enforce. The rules and the limits here are those of
 * OpenAI's structured outputs guide, its own SDKs' deny lists, and the errors that users of its API
 * report; where these disagree, the check lets pass and leaves the word to upstream, and the making
 * leaves out. */
#ifndef SCHEMA_H
#define SCHEMA_H

#include "api_error.h"
#include "json.h"

#include <stdbool.h>

/* Limits of the guide, for a whole schema unless said otherwise. */
#define SCHEMA_LEVELS_MAX 10        /* objects and arrays in each other, the root being the first */
#define SCHEMA_PROPERTIES_MAX 5000  /* of all objects */
#define SCHEMA_ENUM_VALUES_MAX 1000 /* of all enums */
#define SCHEMA_TEXT_MAX                                                                            \
    120000                   /* characters of names of properties and definitions, enum and const */
#define SCHEMA_ENUM_LONG 250 /* an enum of more values than these ... */
#define SCHEMA_ENUM_LONG_TEXT_MAX 15000 /* ... has at most this many characters */

/* Ours: how many schemas in each other are followed, anyOf and all (C recursion ends here). */
#define SCHEMA_DEPTH_MAX 64

/* Whether strict mode takes the schema as it is. False with `ret` filled in: 400, code
 * invalid_json_schema, param `place`, and a message with the path of the first fault found, such as
 * $.properties.a.items; of names in the path only the beginning and what is printable is shown.
 * `schema` may be any JSON value or NULL. */
CHECK_RESULT bool schema_check_strict(const json_t *schema, const char *place,
                                      struct api_error *ret);

/* A schema that schema_check_strict() takes, for answers as close as possible to those of `schema`, which
 * is not changed; a new reference. Objects that do not say it are closed, optional properties become
 * required and nullable, oneOf becomes anyOf, constraints that upstream may refuse are dropped and told
 * in the description instead. NULL when that would change too much: open objects, free values, tuples,
 * conditions, several allOf, references out of the definitions, a root that is not one object. */
CHECK_RESULT json_t *schema_make_strict(const json_t *schema);

#endif
