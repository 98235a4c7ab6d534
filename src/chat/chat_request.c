/* A chat completion as a client asks for it: parsed and checked against one table of fields. */
#include "chat_request.h"

#include "json_body.h"
#include "message.h"
#include "schema.h"

#include <string.h>

enum treatment { MAPPED, EMULATED, IGNORED, REFUSED };

/* Checks a field that is present and not null. False with the error filled in. */
typedef bool (*field_fn)(struct chat_request *r, const char *name, const json_t *value,
                         struct api_error *e);

struct field {
    const char *name;
    enum treatment treatment;
    field_fn take;
    const char *meaning; /* for people */
};

static bool is(const char *text, const char *word)
{
    return text != NULL && strcmp(text, word) == 0;
}

static bool wrong(struct api_error *e, const char *code, const char *place, const char *what)
{
    api_error_bad(e, code, place, "Invalid '%s': %s.", place, what);
    return false;
}

static bool wrong_type(struct api_error *e, const char *place, const char *wanted)
{
    api_error_bad(e, "invalid_type", place, "Invalid type for '%s': expected %s.", place, wanted);
    return false;
}

static void note(struct buf *names, const char *name)
{
    buf_printf(names, "%s%s", names->len != 0 ? ", " : "", name);
}

static void instruct(struct chat_request *r, const char *text)
{
    buf_printf(&r->instructions, "%s%s", r->instructions.len != 0 ? "\n" : "", text);
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
    return json_integer_value(value) >= 1 ||
           wrong(e, "integer_below_min_value", name, "expected a value of at least 1");
}

/* ---- fields with a meaning of their own ---- */

static bool take_model(struct chat_request *r, const char *name, const json_t *value,
                       struct api_error *e)
{
    r->model = json_string_value(value);
    if (r->model == NULL)
        return wrong_type(e, name, "a string");
    return strlen(r->model) == json_string_length(value) ||
           wrong(e, "invalid_value", name, "it contains U+0000");
}

static bool take_messages(struct chat_request *r, const char *name, const json_t *value,
                          struct api_error *e)
{
    (void)name;
    r->messages = value;
    return messages_check(value, e);
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
    const json_t *include = json_object_get(value, "include_usage");
    if (!take_object(r, name, value, e))
        return false;
    if (include != NULL && !json_is_null(include) && !json_is_boolean(include))
        return wrong_type(e, "stream_options.include_usage", "a boolean");
    r->include_usage = json_is_true(include);
    return json_is_true(json_object_get(r->root, "stream")) ||
           wrong(e, "invalid_value", name, "it is only allowed when 'stream' is enabled");
}

static bool take_effort(struct chat_request *r, const char *name, const json_t *value,
                        struct api_error *e)
{
    r->effort = json_string_value(value); /* the model says which it takes */
    return take_string(r, name, value, e);
}

static bool take_verbosity(struct chat_request *r, const char *name, const json_t *value,
                           struct api_error *e)
{
    r->verbosity = json_string_value(value);
    return is(r->verbosity, "low") || is(r->verbosity, "medium") || is(r->verbosity, "high") ||
           wrong(e, "invalid_value", name, "expected 'low', 'medium' or 'high'");
}

static bool take_service_tier(struct chat_request *r, const char *name, const json_t *value,
                              struct api_error *e)
{
    const char *tier = json_string_value(value);
    if (is(tier, "fast") || is(tier, "priority"))
        r->service_tier = "priority";
    else if (is(tier, "flex"))
        r->service_tier = "flex";
    else if (!is(tier, "auto") && !is(tier, "default") && !is(tier, "scale"))
        return wrong(e, "invalid_value", name,
                     "expected 'auto', 'default', 'flex', 'scale', 'priority' or 'fast'");
    return true;
}

static bool take_n(struct chat_request *r, const char *name, const json_t *value,
                   struct api_error *e)
{
    if (!take_integer(r, name, value, e))
        return false;
    json_int_t n = json_integer_value(value);
    if (n < 1)
        return wrong(e, "integer_below_min_value", name, "expected a value of at least 1");
    if (n > CHAT_CHOICES_MAX)
        return wrong(e, "unsupported_value", name, "at most 8 choices are supported");
    r->choices = (size_t)n;
    if (n > 1)
        note(&r->emulated, name);
    return true;
}

static bool check_stop(const json_t *sequence, const char *name, struct api_error *e)
{
    size_t len = json_string_length(sequence);
    if (!json_is_string(sequence))
        return wrong_type(e, name, "a string or an array of strings");
    return (len >= 1 && len <= STOP_BYTES_MAX) ||
           wrong(e, "invalid_value", name, "expected sequences of 1 to 1024 bytes");
}

static bool take_stop(struct chat_request *r, const char *name, const json_t *value,
                      struct api_error *e)
{
    size_t count = json_array_size(value);
    if (count > STOP_MAX)
        return wrong(e, "array_above_max_length", name, "expected at most 4 sequences");
    if (json_is_array(value)) {
        for (size_t i = 0; i < count; i++)
            if (!check_stop(json_array_get(value, i), name, e))
                return false;
    } else if (!check_stop(value, name, e)) {
        return false;
    }
    r->stops = value;
    if (count != 0 || json_is_string(value))
        note(&r->emulated, name);
    return true;
}

static bool take_modalities(struct chat_request *r, const char *name, const json_t *value,
                            struct api_error *e)
{
    (void)r;
    return (json_array_size(value) == 1 &&
            is(json_string_value(json_array_get(value, 0)), "text")) ||
           wrong(e, "unsupported_value", name, "only [\"text\"] is supported");
}

static bool take_unsupported(struct chat_request *r, const char *name, const json_t *value,
                             struct api_error *e)
{
    (void)r;
    if (json_is_false(value))
        return true;
    api_error_bad(e, "unsupported_parameter", name,
                  "Unsupported parameter: '%s' is not supported by this endpoint.", name);
    return false;
}

/* ---- structured output ---- */

#define SCHEMA_PLACE "response_format.json_schema"

/* A schema that strict mode cannot take is put to the model in words. */
static void instruct_schema(struct chat_request *r, const json_t *schema)
{
    instruct(r,
             "Answer with one JSON value that is valid against this JSON Schema, and with nothing "
             "before or after it:");
    struct buf text = BUF_INIT;
    json_write(&text, schema);
    instruct(r, buf_str(&text));
    buf_free(&text);
    note(&r->emulated, "response_format");
}

static bool take_json_schema(struct chat_request *r, const json_t *format, struct api_error *e)
{
    const json_t *description = json_object_get(format, "json_schema");
    const json_t *schema = json_object_get(description, "schema");
    const char *name = json_str_at(description, "name");
    if (!json_is_object(description))
        return wrong_type(e, SCHEMA_PLACE, "an object");
    if (name == NULL || !toolset_name_ok(name))
        return wrong(e, "invalid_value", SCHEMA_PLACE ".name",
                     "expected 1 to 64 characters of a-z, A-Z, 0-9, '_' and '-'");
    if (!json_is_object(schema))
        return wrong_type(e, SCHEMA_PLACE ".schema", "an object");
    if (json_deeper_than(schema, TOOLSET_DEPTH_MAX))
        return wrong(e, "invalid_json_schema", SCHEMA_PLACE ".schema", "it is nested too deeply");
    if (json_is_true(json_object_get(description, "strict"))) {
        if (!schema_check_strict(schema, SCHEMA_PLACE ".schema", e))
            return false;
        r->schema = json_incref((json_t *)(uintptr_t)schema);
        return true;
    }
    r->schema = schema_make_strict(schema);
    if (r->schema == NULL)
        instruct_schema(r, schema);
    return true;
}

static bool take_response_format(struct chat_request *r, const char *name, const json_t *value,
                                 struct api_error *e)
{
    const char *type = json_str_at(value, "type");
    if (!take_object(r, name, value, e))
        return false;
    if (is(type, "text"))
        return true;
    if (is(type, "json_schema"))
        return take_json_schema(r, value, e);
    if (!is(type, "json_object"))
        return wrong(e, "invalid_value", "response_format.type",
                     "expected 'text', 'json_object' or 'json_schema'");
    instruct(r, "Answer with one JSON object, and with nothing before or after it.");
    note(&r->emulated, name);
    return true;
}

/* ---- the table ---- */

static const struct field fields[] = {
    { "model", MAPPED, take_model, "one that /v1/models lists, or an alias" },
    { "messages", MAPPED, take_messages, "the whole history" },
    { "stream", MAPPED, take_stream, "server-sent events" },
    { "stream_options", MAPPED, take_stream_options,
      "include_usage; include_obfuscation is ignored" },
    { "tools", MAPPED, take_any, "functions, natively" },
    { "tool_choice", EMULATED, take_any,
      "none and allowed_tools exactly; required and a named function by offering just those and "
      "telling "
      "the model" },
    { "parallel_tool_calls", EMULATED, take_any,
      "false: only the first call of a batch is returned" },
    { "functions", MAPPED, take_any, "deprecated form of tools" },
    { "function_call", EMULATED, take_any, "deprecated form of tool_choice" },
    { "response_format", MAPPED, take_response_format,
      "json_schema natively, checked against the rules of strict mode; json_object, and a schema "
      "that strict "
      "mode cannot take, by telling the model" },
    { "reasoning_effort", MAPPED, take_effort, "checked against the model's own list" },
    { "verbosity", MAPPED, take_verbosity, "low, medium or high" },
    { "service_tier", MAPPED, take_service_tier, "flex, priority and fast are passed on" },
    { "n", EMULATED, take_n, "up to 8 turns side by side" },
    { "stop", EMULATED, take_stop, "up to 4 sequences; the turn is interrupted at the first" },
    { "modalities", MAPPED, take_modalities, "text alone" },
    { "temperature", IGNORED, take_temperature, "0 to 2" },
    { "top_p", IGNORED, take_probability, "0 to 1" },
    { "frequency_penalty", IGNORED, take_penalty, "-2 to 2" },
    { "presence_penalty", IGNORED, take_penalty, "-2 to 2" },
    { "seed", IGNORED, take_integer, "" },
    { "logit_bias", IGNORED, take_object, "" },
    { "max_tokens", IGNORED, take_token_limit, "the worker has no limit to set" },
    { "max_completion_tokens", IGNORED, take_token_limit, "the worker has no limit to set" },
    { "metadata", IGNORED, take_object, "" },
    { "store", IGNORED, take_boolean, "nothing is ever stored" },
    { "user", IGNORED, take_string, "" },
    { "safety_identifier", IGNORED, take_string, "" },
    { "prompt_cache_key", IGNORED, take_string, "conversations are recognised by their content" },
    { "prompt_cache_options", IGNORED, take_object, "" },
    { "prompt_cache_retention", IGNORED, take_string, "" },
    { "prediction", IGNORED, take_object, "" },
    { "logprobs", REFUSED, take_unsupported, "false is accepted" },
    { "top_logprobs", REFUSED, take_unsupported, "" },
    { "audio", REFUSED, take_unsupported, "" },
    { "moderation", REFUSED, take_unsupported, "" },
    { "web_search_options", REFUSED, take_unsupported, "" },
    /* Not OpenAI's, but sent by clients of other servers. */
    { "top_k", IGNORED, take_any, "of other servers" },
    { "min_p", IGNORED, take_any, "of other servers" },
    { "repetition_penalty", IGNORED, take_any, "of other servers" },
    { "chat_template_kwargs", IGNORED, take_any, "of other servers" },
    { "thinking", IGNORED, take_any, "of other servers" },
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
        if (f->treatment == IGNORED)
            note(&r->ignored, f->name);
    }
    return true;
}

static bool take_tools(struct chat_request *r, struct api_error *e)
{
    if (!toolset_parse(&r->tools, r->root, e))
        return false;
    if (r->tools.mode == TOOL_REQUIRED) {
        instruct(r, "Answer by calling a function. Do not answer with text.");
        note(&r->emulated, r->tools.legacy ? "function_call" : "tool_choice");
    }
    if (!r->tools.parallel && r->tools.offered != NULL)
        note(&r->emulated, r->tools.legacy ? "functions" : "parallel_tool_calls");
    return true;
}

static bool require(const void *value, const char *name, struct api_error *e)
{
    if (value != NULL)
        return true;
    api_error_bad(e, "missing_required_parameter", name, "Missing required parameter: '%s'.", name);
    return false;
}

/* Some clients send the body of the Responses API here. */
static bool require_messages(const struct chat_request *r, struct api_error *e)
{
    if (r->messages == NULL && json_object_get(r->root, "input") != NULL) {
        api_error_bad(
            e, "missing_required_parameter", "messages",
            "Missing required parameter: 'messages'. 'input' belongs to the Responses API, "
            "which this endpoint does not serve: set the client to chat completions.");
        return false;
    }
    return require(r->messages, "messages", e);
}

bool chat_request_parse(struct chat_request *ret, const char *body, size_t len, struct api_error *e)
{
    *ret = (struct chat_request){ .choices = 1 };
    ret->root = json_body_parse(body, len, e);
    if (ret->root == NULL)
        return false;
    return take_fields(ret, e) && require(ret->model, "model", e) && require_messages(ret, e) &&
           take_tools(ret, e);
}

void chat_request_stops(const struct chat_request *request, struct stop *stop)
{
    const json_t *stops = request->stops;
    if (json_is_string(stops))
        stop_add(stop, json_string_value(stops), json_string_length(stops));
    for (size_t i = 0; i < json_array_size(stops); i++)
        stop_add(stop, json_string_value(json_array_get(stops, i)),
                 json_string_length(json_array_get(stops, i)));
}

void chat_request_free(struct chat_request *request)
{
    json_decref(request->root);
    json_decref(request->schema);
    toolset_free(&request->tools);
    buf_free(&request->instructions);
    buf_free(&request->ignored);
    buf_free(&request->emulated);
    *request = (struct chat_request){ .root = NULL };
}

void chat_request_print_fields(FILE *out)
{
    static const char *const names[] = { "mapped", "emulated", "ignored", "refused" };
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        fprintf(out, "%s\t%s\t%s\n", fields[i].name, names[fields[i].treatment], fields[i].meaning);
}
