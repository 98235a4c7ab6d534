/* JSON: jansson with the few helpers that this program wants on top of it. */
#ifndef JSON_H
#define JSON_H

#include "buf.h"
#include "mem.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* Makes jansson allocate with xmalloc. Call once, before any other use of jansson. */
void json_setup(void);

/* Parses one document that fills all of `text`. Returns a new reference, or NULL with the reason in
 * `why` (borrowed until the next call). Strings may hold U+0000; nesting is capped by jansson at 2048. In
 * a document with an integer of more than 63 bits, integers above 2^53 lose their last digits. */
CHECK_RESULT json_t *json_parse(const char *text, size_t len, const char **why);

/* Whether the text is one object, and nothing else. In any thread, unlike json_parse. */
bool json_is_object_text(const char *text, size_t len);

/* The member at a dotted path of object keys ("turn.error.message"), borrowed; NULL when any step is
 * missing. JSON null is returned as such: use the json_is_* tests or the typed getters below. */
json_t *json_at(const json_t *value, const char *path);

/* Typed getters: the string (NULL if none), integer or boolean at a path, else the fallback. */
const char *json_str_at(const json_t *value, const char *path);
json_int_t json_int_at(const json_t *value, const char *path, json_int_t fallback);
int json_bool_at(const json_t *value, const char *path, int fallback);

/* Whether objects and arrays stand in each other more than `max` deep. */
bool json_deeper_than(const json_t *value, size_t max);

/* Appends `text` as the inside of a JSON string (no quotes): `"`, `\` and controls are escaped, UTF-8 is
 * copied. The bytes must be valid UTF-8. */
void json_escape(struct buf *out, const char *text, size_t len);

/* Appends `text` as a JSON string with its quotes. */
void json_quote(struct buf *out, const char *text, size_t len);

/* Appends the name of a member, which needs no escapes, and the colon; before that a comma, unless it is the object's first. */
void json_put_name(struct buf *out, const char *name);

/* The same with the value; of a text that is NULL or empty, null. */
void json_put_int(struct buf *out, const char *name, int64_t value);
void json_put_bool(struct buf *out, const char *name, bool value);
void json_put_text(struct buf *out, const char *name, const char *text);

/* Appends the value as compact JSON. */
void json_write(struct buf *out, const json_t *value);

#endif
