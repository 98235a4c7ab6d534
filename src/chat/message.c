/* Messages of a chat request: the rules they keep, and the worker's items that they become. */
#include "message.h"

#include "toolset.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define MADE_ID_SIZE 40

static bool is(const char *text, const char *word)
{
    return text != NULL && strcmp(text, word) == 0;
}

static bool wrong(struct api_error *e, const char *code, const char *place, const char *what)
{
    api_error_bad(e, code, place, "Invalid '%s': %s.", place, what);
    return false;
}

/* What the message says under that name, if it is the assistant's: of others it means nothing, and is not even looked at. */
static json_t *of_assistant(const json_t *message, const char *name)
{
    return is(json_str_at(message, "role"), "assistant") ? json_object_get(message, name) : NULL;
}

/* ---- content ---- */

/* Whether the data begins as an image does. The worker would put a text in the place of anything else. */
static bool is_known_image(const char *url)
{
    static const char *const beginnings[] = { "iVBORw0KGgo", "/9j/", "R0lGOD", "UklGR" };
    const char *data = strstr(url, ";base64,");
    for (size_t i = 0; data != NULL && i < sizeof(beginnings) / sizeof(beginnings[0]); i++)
        if (strncmp(data + strlen(";base64,"), beginnings[i], strlen(beginnings[i])) == 0)
            return true;
    return false;
}

static bool check_image(const json_t *part, const char *place, struct api_error *e)
{
    char at[API_ERROR_PARAM_MAX];
    const char *url = json_str_at(part, "image_url.url");
    const json_t *detail = json_at(part, "image_url.detail");
    const char *word = json_string_value(detail);
    api_error_place(at, "%s.image_url.url", place);
    if (url == NULL)
        return wrong(e, "invalid_type", at, "expected a string");
    /* The worker takes no others, and nobody here fetches what a client points at. */
    if (strncasecmp(url, "data:image/", 11) != 0)
        return wrong(e, "unsupported_value", at,
                     "images must be sent inline, as data:image/...;base64 URLs");
    if (!is_known_image(url))
        return wrong(e, "invalid_value", at, "expected a PNG, JPEG, GIF or WebP image in base64");
    api_error_place(at, "%s.image_url.detail", place);
    if (detail != NULL && !json_is_null(detail) && !is(word, "auto") && !is(word, "low") &&
        !is(word, "high") && !is(word, "original"))
        return wrong(e, "invalid_value", at, "expected 'auto', 'low', 'high' or 'original'");
    return true;
}

static bool check_part(const json_t *part, const char *role, const char *place, struct api_error *e)
{
    char at[API_ERROR_PARAM_MAX];
    const char *type = json_str_at(part, "type");
    api_error_place(at, "%s.type", place);
    if (type == NULL)
        return wrong(e, "invalid_type", at, "expected a string");
    bool refusal = is(type, "refusal") && is(role, "assistant");
    if (is(type, "text") || refusal) {
        api_error_place(at, "%s.%s", place, type);
        return json_is_string(json_object_get(part, type)) ||
               wrong(e, "invalid_type", at, "expected a string");
    }
    if (is(type, "image_url") && is(role, "user"))
        return check_image(part, place, e);
    return wrong(e, "unsupported_value", at,
                 is(role, "user") ? "supported are 'text' and 'image_url' parts"
                                  : "a message of this role takes only 'text' parts");
}

static bool check_content(const json_t *message, const char *role, bool optional, const char *place,
                          struct api_error *e)
{
    const json_t *content = json_object_get(message, "content");
    char at[API_ERROR_PARAM_MAX];
    api_error_place(at, "%s.content", place);
    if (json_is_string(content) || (optional && (content == NULL || json_is_null(content))))
        return true;
    if (content == NULL) {
        api_error_bad(e, "missing_required_parameter", at, "Missing required parameter: '%s'.", at);
        return false;
    }
    if (!json_is_array(content) || json_array_size(content) == 0)
        return wrong(e, "invalid_type", at, "expected a string or a non-empty array of parts");
    for (size_t i = 0; i < json_array_size(content); i++) {
        api_error_place(at, "%s.content[%zu]", place, i);
        if (!check_part(json_array_get(content, i), role, at, e))
            return false;
    }
    return true;
}

/* ---- calls ---- */

static bool check_call(const json_t *call, const char *place, struct api_error *e)
{
    char at[API_ERROR_PARAM_MAX];
    const char *id = json_str_at(call, "id");
    const char *type = json_str_at(call, "type");
    const char *name = json_str_at(call, "function.name");
    api_error_place(at, "%s.id", place);
    if (id == NULL || *id == '\0')
        return wrong(e, "invalid_type", at, "expected a non-empty string");
    api_error_place(at, "%s.type", place);
    if (type != NULL && !is(type, "function"))
        return wrong(e, "unsupported_value", at, "only calls of the type 'function' are supported");
    api_error_place(at, "%s.function.name", place);
    if (name == NULL || !toolset_name_ok(name))
        return wrong(e, "invalid_value", at,
                     "expected 1 to 64 characters of a-z, A-Z, 0-9, '_' and '-'");
    api_error_place(at, "%s.function.arguments", place);
    return json_str_at(call, "function.arguments") != NULL ||
           wrong(e, "invalid_type", at, "expected a string");
}

static bool check_calls(const json_t *calls, const char *place, struct api_error *e)
{
    char at[API_ERROR_PARAM_MAX];
    api_error_place(at, "%s.tool_calls", place);
    if (calls == NULL || json_is_null(calls))
        return true;
    if (!json_is_array(calls))
        return wrong(e, "invalid_type", at, "expected an array of objects");
    if (json_array_size(calls) > MESSAGE_CALLS_MAX)
        return wrong(e, "array_above_max_length", at, "expected at most 128 calls");
    for (size_t i = 0; i < json_array_size(calls); i++) {
        api_error_place(at, "%s.tool_calls[%zu]", place, i);
        if (!check_call(json_array_get(calls, i), at, e))
            return false;
        for (size_t j = 0; j < i; j++)
            if (is(json_str_at(json_array_get(calls, i), "id"),
                   json_str_at(json_array_get(calls, j), "id")))
                return wrong(e, "invalid_value", at, "two calls have the same id");
    }
    return true;
}

static bool check_function_call(const json_t *call, const char *place, struct api_error *e)
{
    char at[API_ERROR_PARAM_MAX];
    const char *name = json_str_at(call, "name");
    if (call == NULL || json_is_null(call))
        return true;
    api_error_place(at, "%s.function_call.name", place);
    if (name == NULL || !toolset_name_ok(name))
        return wrong(e, "invalid_value", at,
                     "expected 1 to 64 characters of a-z, A-Z, 0-9, '_' and '-'");
    api_error_place(at, "%s.function_call.arguments", place);
    return json_str_at(call, "arguments") != NULL ||
           wrong(e, "invalid_type", at, "expected a string");
}

/* ---- one message ---- */

static bool check_role(const char *role, const char *place, struct api_error *e)
{
    static const char *const roles[] = { "system",    "developer", "user",
                                         "assistant", "tool",      "function" };
    char at[API_ERROR_PARAM_MAX];
    api_error_place(at, "%s.role", place);
    if (role == NULL)
        return wrong(e, "invalid_type", at, "expected a string");
    for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
        if (is(role, roles[i]))
            return true;
    return wrong(e, "invalid_value", at,
                 "supported are 'system', 'developer', 'user', 'assistant', 'tool' and 'function'");
}

static bool says_nothing(const json_t *message)
{
    return json_array_size(json_object_get(message, "tool_calls")) == 0 &&
           !json_is_object(json_object_get(message, "function_call")) &&
           json_str_at(message, "refusal") == NULL;
}

static bool check_message(const json_t *message, const char *place, struct api_error *e)
{
    const char *role = json_str_at(message, "role");
    char at[API_ERROR_PARAM_MAX];
    if (!json_is_object(message))
        return wrong(e, "invalid_type", place, "expected an object");
    if (!check_role(role, place, e))
        return false;
    if (is(role, "assistant"))
        return check_content(message, role, !says_nothing(message), place, e) &&
               check_calls(json_object_get(message, "tool_calls"), place, e) &&
               check_function_call(json_object_get(message, "function_call"), place, e);
    api_error_place(at, "%s.tool_call_id", place);
    if (is(role, "tool") && json_str_at(message, "tool_call_id") == NULL) {
        api_error_bad(e, "missing_required_parameter", at, "Missing required parameter: '%s'.", at);
        return false;
    }
    return check_content(message, role, is(role, "function"), place, e);
}

/* ---- order ---- */

static bool has_call(const json_t *calls, const char *id)
{
    for (size_t i = 0; i < json_array_size(calls); i++)
        if (is(json_str_at(json_array_get(calls, i), "id"), id))
            return true;
    return false;
}

/* How many of the tool messages right after message `i` answer the call. */
static size_t answers_to(const json_t *messages, size_t i, const char *id)
{
    size_t count = 0;
    for (i++; is(json_str_at(json_array_get(messages, i), "role"), "tool"); i++)
        count += is(json_str_at(json_array_get(messages, i), "tool_call_id"), id);
    return count;
}

static bool check_answers(const json_t *messages, size_t i, struct api_error *e)
{
    const json_t *calls = of_assistant(json_array_get(messages, i), "tool_calls");
    char at[API_ERROR_PARAM_MAX];
    api_error_place(at, "messages.[%zu].role", i + 1);
    for (size_t j = 0; j < json_array_size(calls); j++) {
        if (answers_to(messages, i, json_str_at(json_array_get(calls, j), "id")) == 1)
            continue;
        api_error_bad(e, NULL, at,
                      "An assistant message with 'tool_calls' must be followed by tool messages "
                      "responding to each 'tool_call_id', once each.");
        return false;
    }
    return true;
}

/* The worker would make up the result of a call that has none. */
static bool check_function_answer(const json_t *messages, size_t i, struct api_error *e)
{
    const json_t *call = of_assistant(json_array_get(messages, i), "function_call");
    char at[API_ERROR_PARAM_MAX];
    if (!json_is_object(call) ||
        is(json_str_at(json_array_get(messages, i + 1), "role"), "function"))
        return true;
    api_error_place(at, "messages.[%zu].role", i + 1);
    api_error_bad(
        e, NULL, at,
        "An assistant message with 'function_call' must be followed by a message with role "
        "'function'.");
    return false;
}

/* `calls` are those of the message before the run of tool messages in which `i` stands. */
static bool check_order(const json_t *messages, size_t i, const json_t *calls, struct api_error *e)
{
    const json_t *message = json_array_get(messages, i);
    const char *role = json_str_at(message, "role");
    char at[API_ERROR_PARAM_MAX];
    api_error_place(at, "messages.[%zu].role", i);
    if (is(role, "tool") && !has_call(calls, json_str_at(message, "tool_call_id"))) {
        api_error_bad(e, NULL, at,
                      "messages with role 'tool' must be a response to a preceding message with "
                      "'tool_calls'.");
        return false;
    }
    if (is(role, "function") &&
        (i == 0 ||
         !json_is_object(of_assistant(json_array_get(messages, i - 1), "function_call")))) {
        api_error_bad(e, NULL, at,
                      "messages with role 'function' must be a response to a preceding message "
                      "with 'function_call'.");
        return false;
    }
    return check_answers(messages, i, e) && check_function_answer(messages, i, e);
}

bool messages_check(const json_t *messages, struct api_error *e)
{
    char place[API_ERROR_PARAM_MAX];
    if (!json_is_array(messages))
        return wrong(e, "invalid_type", "messages", "expected an array of objects");
    size_t count = json_array_size(messages);
    if (count == 0)
        return wrong(e, "empty_array", "messages", "expected at least one message");
    if (count > MESSAGES_MAX)
        return wrong(e, "array_above_max_length", "messages", "expected at most 10000 messages");
    for (size_t i = 0; i < count; i++) {
        api_error_place(place, "messages[%zu]", i);
        if (!check_message(json_array_get(messages, i), place, e))
            return false;
    }
    const json_t *calls = NULL;
    for (size_t i = 0; i < count; i++) {
        const json_t *message = json_array_get(messages, i);
        if (!is(json_str_at(message, "role"), "tool"))
            calls = of_assistant(message, "tool_calls");
        if (!check_order(messages, i, calls, e))
            return false;
    }
    return true;
}

bool messages_have_images(const json_t *messages)
{
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const json_t *content = json_object_get(json_array_get(messages, i), "content");
        for (size_t j = 0; j < json_array_size(content); j++)
            if (is(json_str_at(json_array_get(content, j), "type"), "image_url"))
                return true;
    }
    return false;
}

/* ---- items ---- */

static json_t *text_part(const char *type, const json_t *text)
{
    json_t *part = json_pack("{s:s}", "type", type);
    json_object_set(part, "text", (json_t *)(uintptr_t)text);
    return part;
}

static json_t *image_part(const json_t *part)
{
    const char *detail = json_str_at(part, "image_url.detail");
    json_t *item = json_pack("{s:s}", "type", "input_image");
    json_object_set(item, "image_url", json_at(part, "image_url.url"));
    if (detail != NULL)
        json_object_set_new(item, "detail", json_string(detail));
    return item;
}

static void append_parts(json_t *parts, const json_t *content, const char *text_type)
{
    if (json_is_string(content))
        json_array_append_new(parts, text_part(text_type, content));
    for (size_t i = 0; i < json_array_size(content); i++) {
        const json_t *part = json_array_get(content, i);
        const char *type = json_str_at(part, "type");
        json_array_append_new(parts, is(type, "image_url")
                                         ? image_part(part)
                                         : text_part(text_type, json_object_get(part, type)));
    }
}

static void append_message(json_t *items, const json_t *message, const char *role)
{
    const char *text_type = is(role, "assistant") ? "output_text" : "input_text";
    const json_t *refusal = json_object_get(message, "refusal");
    const json_t *content = json_object_get(message, "content");
    json_t *parts = json_array();
    /* An assistant that only called tools said nothing; what anybody else says is said, also if it is empty. */
    if (!is(role, "assistant") || json_string_length(content) != 0 || json_is_array(content))
        append_parts(parts, content, text_type);
    if (json_is_string(refusal) && json_string_length(refusal) != 0)
        json_array_append_new(parts, text_part(text_type, refusal));
    if (json_array_size(parts) != 0)
        json_array_append_new(
            items, json_pack("{s:s, s:s, s:O}", "type", "message", "role", role, "content", parts));
    json_decref(parts);
}

static void append_call(json_t *items, const char *id, const char *client_name,
                        const json_t *arguments)
{
    char name[TOOLSET_NAME_SIZE];
    toolset_worker_name(client_name, name);
    json_t *item =
        json_pack("{s:s, s:s, s:s}", "type", "function_call", "call_id", id, "name", name);
    json_object_set(item, "arguments", (json_t *)(uintptr_t)arguments);
    json_array_append_new(items, item);
}

/* Deprecated calls have no id: they get one from their place, which their answer, right behind them, can derive. */
static void make_id(char ret[MADE_ID_SIZE], size_t place)
{
    snprintf(ret, MADE_ID_SIZE, "call_function_%zu", place);
}

static void append_calls(json_t *items, const json_t *message, size_t place)
{
    const json_t *calls = of_assistant(message, "tool_calls");
    const json_t *function = of_assistant(message, "function_call");
    char id[MADE_ID_SIZE];
    for (size_t i = 0; i < json_array_size(calls); i++) {
        const json_t *call = json_array_get(calls, i);
        append_call(items, json_str_at(call, "id"), json_str_at(call, "function.name"),
                    json_at(call, "function.arguments"));
    }
    make_id(id, place);
    if (json_is_object(function))
        append_call(items, id, json_str_at(function, "name"),
                    json_object_get(function, "arguments"));
}

/* One text stays a string; several parts stay parts. */
static json_t *call_output(const json_t *content)
{
    if (json_is_string(content))
        return json_incref((json_t *)(uintptr_t)content);
    if (!json_is_array(content))
        return json_string("");
    json_t *parts = json_array();
    append_parts(parts, content, "input_text");
    return parts;
}

static void append_output(json_t *items, const char *id, const json_t *content)
{
    json_array_append_new(items, json_pack("{s:s, s:s, s:o}", "type", "function_call_output",
                                           "call_id", id, "output", call_output(content)));
}

void message_append_items(json_t *items, const json_t *message, size_t place)
{
    const char *role = json_str_at(message, "role");
    const json_t *content = json_object_get(message, "content");
    char id[MADE_ID_SIZE];
    if (is(role, "tool")) {
        append_output(items, json_str_at(message, "tool_call_id"), content);
    } else if (is(role, "function")) {
        make_id(id, place - 1);
        append_output(items, id, content);
    } else {
        /* The worker drops items of the role "system" without a word: developer is the one it passes on. */
        append_message(items, message, is(role, "system") ? "developer" : role);
        append_calls(items, message, place);
    }
}

json_t *message_tool_content(const json_t *message)
{
    const json_t *content = json_object_get(message, "content");
    json_t *items = json_array();
    if (json_is_string(content))
        json_array_append_new(items, text_part("inputText", content));
    append_parts(items, json_is_array(content) ? content : NULL, "inputText");
    return items;
}

/* ---- what is kept of a request ---- */

/* False when not all of it has room before `end`. */
static bool append_text(struct buf *out, const char *text, size_t len, size_t end)
{
    size_t room = end - out->len;
    buf_append(out, text, len < room ? len : room);
    return len <= room;
}

static bool append_texts(struct buf *out, const json_t *content, size_t end)
{
    size_t start = out->len;
    if (json_is_string(content))
        return append_text(out, json_string_value(content), json_string_length(content), end);
    for (size_t i = 0; i < json_array_size(content); i++) {
        const json_t *text = json_object_get(json_array_get(content, i), "text");
        if (!json_is_string(text))
            continue;
        if ((out->len != start && !append_text(out, "\n", 1, end)) ||
            !append_text(out, json_string_value(text), json_string_length(text), end))
            return false;
    }
    return true;
}

bool messages_last_user_text(const json_t *messages, struct buf *out, size_t max_bytes)
{
    for (size_t i = json_array_size(messages); i > 0; i--) {
        const json_t *message = json_array_get(messages, i - 1);
        if (is(json_str_at(message, "role"), "user"))
            return append_texts(out, json_object_get(message, "content"), out->len + max_bytes);
    }
    return true;
}
