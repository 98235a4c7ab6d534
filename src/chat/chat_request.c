/* A chat completion as a client asks for it: parsed and checked against one table of fields. */
#include "chat_request.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Checks a field that is present and not null. False with the error filled in. */
typedef bool (*field_fn)(struct chat_request *r, const char *name, const json_t *value,
                         struct api_error *e);

struct field {
    const char *name;
    field_fn take;
    bool ignored; /* known and checked, but without effect: named in a header of the answer */
};

/* Where in the body something is, as clients read it: "messages[3].content[0].type". */
__attribute__((format(printf, 2, 3))) static void place_at(char ret[API_ERROR_PARAM_MAX],
                                                           const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(ret, API_ERROR_PARAM_MAX, format, args);
    va_end(args);
}

static bool wrong_type(struct api_error *e, const char *param, const char *wanted)
{
    api_error_bad(e, "invalid_type", param, "Invalid type for '%s': expected %s.", param, wanted);
    return false;
}

static bool unsupported(struct api_error *e, const char *param, const char *what)
{
    api_error_bad(e, "unsupported_parameter", param, "Unsupported parameter: '%s' %s.", param,
                  what);
    return false;
}

/* ---- fields by type ---- */

static bool take_any(struct chat_request *r, const char *name, const json_t *value,
                     struct api_error *e)
{
    (void)r, (void)name, (void)value, (void)e;
    return true;
}

static bool take_string(struct chat_request *r, const char *name, const json_t *value,
                        struct api_error *e)
{
    (void)r;
    return json_is_string(value) || wrong_type(e, name, "a string");
}

static bool take_object(struct chat_request *r, const char *name, const json_t *value,
                        struct api_error *e)
{
    (void)r;
    return json_is_object(value) || wrong_type(e, name, "an object");
}

static bool take_boolean(struct chat_request *r, const char *name, const json_t *value,
                         struct api_error *e)
{
    (void)r;
    return json_is_boolean(value) || wrong_type(e, name, "a boolean");
}

static bool take_integer(struct chat_request *r, const char *name, const json_t *value,
                         struct api_error *e)
{
    (void)r;
    return json_is_integer(value) || wrong_type(e, name, "an integer");
}

static bool take_number_in(const char *name, const json_t *value, double min, double max,
                           struct api_error *e)
{
    if (!json_is_number(value))
        return wrong_type(e, name, "a number");
    double number = json_number_value(value);
    if (number >= min && number <= max)
        return true;
    api_error_bad(e, number < min ? "decimal_below_min_value" : "decimal_above_max_value", name,
                  "Invalid '%s': expected a value from %g to %g.", name, min, max);
    return false;
}

static bool take_temperature(struct chat_request *r, const char *name, const json_t *value,
                             struct api_error *e)
{
    (void)r;
    return take_number_in(name, value, 0, 2, e);
}

static bool take_probability(struct chat_request *r, const char *name, const json_t *value,
                             struct api_error *e)
{
    (void)r;
    return take_number_in(name, value, 0, 1, e);
}

static bool take_penalty(struct chat_request *r, const char *name, const json_t *value,
                         struct api_error *e)
{
    (void)r;
    return take_number_in(name, value, -2, 2, e);
}

static bool take_token_limit(struct chat_request *r, const char *name, const json_t *value,
                             struct api_error *e)
{
    if (!take_integer(r, name, value, e))
        return false;
    if (json_integer_value(value) >= 1)
        return true;
    api_error_bad(e, "integer_below_min_value", name,
                  "Invalid '%s': expected a value of at least 1.", name);
    return false;
}

/* ---- fields with a meaning of their own ---- */

static bool take_model(struct chat_request *r, const char *name, const json_t *value,
                       struct api_error *e)
{
    r->model = json_string_value(value);
    if (r->model == NULL)
        return wrong_type(e, name, "a string");
    if (strlen(r->model) != json_string_length(value)) {
        api_error_bad(e, "invalid_value", name, "Invalid 'model': it contains U+0000.");
        return false;
    }
    return true;
}

static bool take_stream(struct chat_request *r, const char *name, const json_t *value,
                        struct api_error *e)
{
    r->stream = json_is_true(value);
    return take_boolean(r, name, value, e);
}

static bool take_stream_options(struct chat_request *r, const char *name, const json_t *value,
                                struct api_error *e)
{
    if (!take_object(r, name, value, e))
        return false;
    const json_t *include = json_object_get(value, "include_usage");
    if (include != NULL && !json_is_null(include) && !json_is_boolean(include))
        return wrong_type(e, "stream_options.include_usage", "a boolean");
    r->include_usage = json_is_true(include);
    return true;
}

static bool take_effort(struct chat_request *r, const char *name, const json_t *value,
                        struct api_error *e)
{
    static const char *const efforts[] = { "none", "minimal", "low", "medium",
                                           "high", "xhigh",   "max", "ultra" };
    r->effort = json_string_value(value);
    if (r->effort == NULL)
        return wrong_type(e, name, "a string");
    for (size_t i = 0; i < sizeof(efforts) / sizeof(efforts[0]); i++)
        if (strcmp(r->effort, efforts[i]) == 0)
            return true;
    api_error_bad(e, "unsupported_value", name,
                  "Unsupported value for '%s': expected none, minimal, low, medium, high, xhigh, "
                  "max or ultra.",
                  name);
    return false;
}

static bool take_n(struct chat_request *r, const char *name, const json_t *value,
                   struct api_error *e)
{
    if (!take_integer(r, name, value, e))
        return false;
    if (json_integer_value(value) == 1)
        return true;
    api_error_bad(e, "unsupported_value", name, "Unsupported value for 'n': only 1 is supported.");
    return false;
}

static bool take_response_format(struct chat_request *r, const char *name, const json_t *value,
                                 struct api_error *e)
{
    if (!take_object(r, name, value, e))
        return false;
    const char *type = json_str_at(value, "type");
    if (type != NULL && strcmp(type, "text") == 0)
        return true;
    api_error_bad(e, "unsupported_value", "response_format.type",
                  "Unsupported value for 'response_format.type': only 'text' is supported.");
    return false;
}

static bool take_modalities(struct chat_request *r, const char *name, const json_t *value,
                            struct api_error *e)
{
    (void)r;
    const char *only = json_string_value(json_array_get(value, 0));
    if (json_array_size(value) == 1 && only != NULL && strcmp(only, "text") == 0)
        return true;
    api_error_bad(e, "unsupported_value", name,
                  "Unsupported value for 'modalities': only [\"text\"] is supported.");
    return false;
}

/* An empty list and what says "no" are as good as absent. */
static bool take_unsupported(struct chat_request *r, const char *name, const json_t *value,
                             struct api_error *e)
{
    (void)r;
    const char *text = json_string_value(value);
    bool empty = json_is_array(value) && json_array_size(value) == 0;
    bool no = json_is_false(value) || (text != NULL && strcmp(text, "none") == 0);
    return empty || no || unsupported(e, name, "is not supported by this endpoint");
}

/* ---- messages ---- */

static bool is_role(const char *role)
{
    return strcmp(role, "system") == 0 || strcmp(role, "developer") == 0 ||
           strcmp(role, "user") == 0 || strcmp(role, "assistant") == 0;
}

static bool check_part(const json_t *part, const char *param, struct api_error *e)
{
    char place[API_ERROR_PARAM_MAX];
    const char *type = json_str_at(part, "type");
    place_at(place, "%s.type", param);
    if (type == NULL)
        return wrong_type(e, place, "a string");
    if (strcmp(type, "text") != 0) {
        api_error_bad(e, "unsupported_value", place,
                      "Unsupported value for '%s': only 'text' parts are supported.", place);
        return false;
    }
    place_at(place, "%s.text", param);
    return json_is_string(json_object_get(part, "text")) || wrong_type(e, place, "a string");
}

static bool check_content(const json_t *content, const char *param, bool optional,
                          struct api_error *e)
{
    if (json_is_string(content) || (optional && (content == NULL || json_is_null(content))))
        return true;
    if (!json_is_array(content) || json_array_size(content) == 0)
        return wrong_type(e, param, "a string or a non-empty array of content parts");
    for (size_t i = 0; i < json_array_size(content); i++) {
        char place[API_ERROR_PARAM_MAX];
        place_at(place, "%s[%zu]", param, i);
        if (!check_part(json_array_get(content, i), place, e))
            return false;
    }
    return true;
}

static bool check_message(const json_t *message, size_t i, struct api_error *e)
{
    char place[API_ERROR_PARAM_MAX];
    place_at(place, "messages[%zu]", i);
    if (!json_is_object(message))
        return wrong_type(e, place, "an object");
    const char *role = json_str_at(message, "role");
    const json_t *calls = json_object_get(message, "tool_calls");
    place_at(place, "messages[%zu].role", i);
    if (role == NULL)
        return wrong_type(e, place, "a string");
    if (!is_role(role)) {
        api_error_bad(e, "invalid_value", place,
                      "Invalid value for '%s': supported are 'system', 'developer', 'user' and "
                      "'assistant'.",
                      place);
        return false;
    }
    place_at(place, "messages[%zu].tool_calls", i);
    if (json_array_size(calls) != 0)
        return unsupported(e, place, "is not supported by this endpoint");
    place_at(place, "messages[%zu].content", i);
    return check_content(json_object_get(message, "content"), place, strcmp(role, "assistant") == 0,
                         e);
}

static bool take_messages(struct chat_request *r, const char *name, const json_t *value,
                          struct api_error *e)
{
    if (!json_is_array(value))
        return wrong_type(e, name, "an array of objects");
    size_t count = json_array_size(value);
    if (count == 0 || count > CHAT_MESSAGES_MAX) {
        api_error_bad(e, count == 0 ? "empty_array" : "array_above_max_length", name,
                      "Invalid 'messages': expected 1 to %d messages.", CHAT_MESSAGES_MAX);
        return false;
    }
    for (size_t i = 0; i < count; i++)
        if (!check_message(json_array_get(value, i), i, e))
            return false;
    r->messages = value;
    return true;
}

/* ---- the table ---- */

static const struct field fields[] = {
    { "model", take_model, false },
    { "messages", take_messages, false },
    { "stream", take_stream, false },
    { "stream_options", take_stream_options, false },
    { "reasoning_effort", take_effort, false },
    { "n", take_n, false },
    { "response_format", take_response_format, false },
    { "modalities", take_modalities, false },
    { "temperature", take_temperature, true },
    { "top_p", take_probability, true },
    { "frequency_penalty", take_penalty, true },
    { "presence_penalty", take_penalty, true },
    { "seed", take_integer, true },
    { "logit_bias", take_object, true },
    { "max_tokens", take_token_limit, true },
    { "max_completion_tokens", take_token_limit, true },
    { "metadata", take_object, true },
    { "store", take_boolean, true },
    { "user", take_string, true },
    { "safety_identifier", take_string, true },
    { "prompt_cache_key", take_string, true },
    { "prompt_cache_retention", take_string, true },
    { "prediction", take_object, true },
    { "service_tier", take_string, true },
    { "verbosity", take_string, true },
    { "parallel_tool_calls", take_boolean, true },
    { "top_k", take_any, true },
    { "min_p", take_any, true },
    { "repetition_penalty", take_any, true },
    { "stop", take_unsupported, false },
    { "tools", take_unsupported, false },
    { "tool_choice", take_unsupported, false },
    { "functions", take_unsupported, false },
    { "function_call", take_unsupported, false },
    { "logprobs", take_unsupported, false },
    { "top_logprobs", take_unsupported, false },
    { "audio", take_unsupported, false },
    { "moderation", take_unsupported, false },
    { "web_search_options", take_unsupported, false },
};

static bool take_fields(struct chat_request *r, struct api_error *e)
{
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        const struct field *f = &fields[i];
        const json_t *value = json_object_get(r->root, f->name);
        if (value == NULL || json_is_null(value)) /* null is absent, as OpenAI has it */
            continue;
        if (!f->take(r, f->name, value, e))
            return false;
        if (f->ignored)
            buf_printf(&r->ignored, "%s%s", r->ignored.len != 0 ? ", " : "", f->name);
    }
    return true;
}

static bool require(const void *value, const char *name, struct api_error *e)
{
    if (value != NULL)
        return true;
    api_error_bad(e, "missing_required_parameter", name, "Missing required parameter: '%s'.", name);
    return false;
}

bool chat_request_parse(struct chat_request *ret, const char *body, size_t len, struct api_error *e)
{
    *ret = (struct chat_request){ .root = NULL };
    const char *why = NULL;
    ret->root = json_parse(body, len, &why);
    if (ret->root == NULL) {
        /* The parser's own words may quote the body, so they are not passed on. */
        api_error_bad(e, NULL, NULL, "%s",
                      len == 0 ? "The request has no body: expected a JSON object."
                               : "We could not parse the JSON body of your request: it must be one "
                                 "complete JSON object in UTF-8.");
        return false;
    }
    if (!json_is_object(ret->root)) {
        api_error_bad(e, "invalid_type", NULL, "Invalid body: expected a JSON object.");
        return false;
    }
    if (!take_fields(ret, e) || !require(ret->model, "model", e) ||
        !require(ret->messages, "messages", e))
        return false;
    if (json_is_object(json_object_get(ret->root, "stream_options")) && !ret->stream) {
        api_error_bad(e, "invalid_value", "stream_options",
                      "The 'stream_options' parameter is only allowed when 'stream' is enabled.");
        return false;
    }
    return true;
}

void chat_request_free(struct chat_request *request)
{
    json_decref(request->root);
    buf_free(&request->ignored);
    *request = (struct chat_request){ .root = NULL };
}
