/* Messages of a chat request: the rules they keep, and the worker's items that they become. Pure. */
#ifndef MESSAGE_H
#define MESSAGE_H

#include "api_error.h"
#include "json.h"

#include <stdbool.h>

#define MESSAGES_MAX 10000
#define MESSAGE_CALLS_MAX 128 /* function calls of one message, as OpenAI has it */

/* Checks shape, content and order of the messages, as OpenAI does. False with the error filled in. */
CHECK_RESULT bool messages_check(const json_t *messages, struct api_error *error);

/* Whether a model that takes no images cannot be asked. */
bool messages_have_images(const json_t *messages);

/* Appends the text of the last user message to `out`, its parts on lines of their own, up to max_bytes: also within a character. False
 * when not all of it had room. */
bool messages_last_user_text(const json_t *messages, struct buf *out, size_t max_bytes);

/* Appends to `items` what the message becomes in the worker's history; `place` is its index in the request, from which
 * the ids of deprecated function calls are made. The message must have passed messages_check. */
void message_append_items(json_t *items, const json_t *message, size_t place);

/* The content of a tool message as the worker takes results: contentItems, a new reference. */
json_t *message_tool_content(const json_t *message);

#endif
