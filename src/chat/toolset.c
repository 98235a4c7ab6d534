/* The function tools of a request. */
#include "toolset.h"

#include "mem.h"

#include <stdio.h>
#include <string.h>

#define SUFFIX "__client"

/* Tools of the worker's own: one of the same name from a client is dropped, or takes part in what is not its business. */
static const char *const reserved[] = {
    "exec_command", "write_stdin", "apply_patch",        "shell",      "local_shell",
    "update_plan",  "web_search",  "request_user_input", "view_image", "exec",
    "wait",         "image_gen",   "tool_search",
};

bool toolset_name_ok(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");
    return len != 0 && name[len] == '\0' && len <= TOOLSET_NAME_MAX;
}

/* The name without any number of our suffixes. */
static size_t stem_len(const char *name)
{
    size_t len = strlen(name);
    size_t suffix = strlen(SUFFIX);
    while (len > suffix && memcmp(name + len - suffix, SUFFIX, suffix) == 0)
        len -= suffix;
    return len;
}

static bool is_reserved(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++)
        if (strlen(reserved[i]) == len && memcmp(reserved[i], name, len) == 0)
            return true;
    return false;
}

void toolset_worker_name(const char *name, char ret[TOOLSET_NAME_SIZE])
{
    bool renamed = is_reserved(name, stem_len(name));
    snprintf(ret, TOOLSET_NAME_SIZE, "%s%s", name, renamed ? SUFFIX : "");
}

void toolset_client_name(const char *name, char ret[TOOLSET_NAME_SIZE])
{
    size_t stem = stem_len(name);
    size_t len = strlen(name);
    if (is_reserved(name, stem) && len > stem)
        len -= strlen(SUFFIX);
    snprintf(ret, TOOLSET_NAME_SIZE, "%.*s", (int)len, name);
}

/* ---- tools ---- */

static bool bad(struct api_error *e, const char *code, const char *param, const char *what)
{
    api_error_bad(e, code, param, "Invalid '%s': %s.", param, what);
    return false;
}

/* One function as both `tools[i].function` and `functions[i]` describe it. */
static bool offer(struct toolset *t, const json_t *function, const char *place, struct api_error *e)
{
    char param[API_ERROR_PARAM_MAX];
    char name[TOOLSET_NAME_SIZE];
    const json_t *parameters = json_object_get(function, "parameters");
    const json_t *description = json_object_get(function, "description");
    const char *given = json_str_at(function, "name");
    api_error_place(param, "%s.name", place);
    if (given == NULL || !toolset_name_ok(given))
        return bad(e, "invalid_value", param,
                   "expected 1 to 64 characters of a-z, A-Z, 0-9, '_' and '-'");
    for (size_t i = 0; i < json_array_size(t->offered); i++) {
        toolset_worker_name(given, name);
        if (strcmp(json_str_at(json_array_get(t->offered, i), "name"), name) == 0)
            return bad(e, "invalid_value", param, "two tools have this name");
    }
    api_error_place(param, "%s.parameters", place);
    if (parameters != NULL && !json_is_null(parameters) && !json_is_object(parameters))
        return bad(e, "invalid_type", param, "expected an object");
    if (json_deeper_than(parameters, TOOLSET_DEPTH_MAX))
        return bad(e, "invalid_value", param, "it is nested too deeply");
    api_error_place(param, "%s.description", place);
    if (description != NULL && !json_is_null(description) && !json_is_string(description))
        return bad(e, "invalid_type", param, "expected a string");
    toolset_worker_name(given, name);
    json_t *tool = json_pack("{s:s, s:s}", "type", "function", "name", name);
    json_object_set_new(tool, "description",
                        json_is_string(description) ? json_deep_copy(description)
                                                    : json_string(""));
    json_object_set_new(tool, "inputSchema",
                        json_is_object(parameters)
                            ? json_deep_copy(parameters)
                            : json_pack("{s:s, s:{}}", "type", "object", "properties"));
    json_array_append_new(t->offered, tool);
    return true;
}

static bool check_list(const json_t *list, const char *name, struct api_error *e)
{
    if (list == NULL || json_is_null(list))
        return true;
    if (!json_is_array(list))
        return bad(e, "invalid_type", name, "expected an array of objects");
    return json_array_size(list) <= TOOLSET_MAX ||
           bad(e, "array_above_max_length", name, "expected at most 128 tools");
}

static bool take_list(struct toolset *t, const json_t *list, const char *name, struct api_error *e)
{
    char place[API_ERROR_PARAM_MAX];
    if (json_array_size(list) != 0 && t->offered == NULL)
        t->offered = json_array();
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *function = json_array_get(list, i);
        const char *type = json_str_at(function, "type");
        api_error_place(place, "%s[%zu]", name, i);
        if (!t->legacy) {
            char param[API_ERROR_PARAM_MAX];
            api_error_place(param, "%s.type", place);
            if (type == NULL || strcmp(type, "function") != 0)
                return bad(e, type == NULL ? "missing_required_parameter" : "unsupported_value",
                           param, "only tools of the type 'function' are supported");
            function = json_object_get(function, "function");
            api_error_place(place, "%s[%zu].function", name, i);
        }
        if (!json_is_object(function))
            return bad(e, "invalid_type", place, "expected an object");
        if (!offer(t, function, place, e))
            return false;
    }
    return true;
}

/* ---- choice ---- */

static const json_t *find_offered(const struct toolset *t, const char *client_name)
{
    char name[TOOLSET_NAME_SIZE];
    toolset_worker_name(client_name, name);
    for (size_t i = 0; i < json_array_size(t->offered); i++) {
        const json_t *tool = json_array_get(t->offered, i);
        if (strcmp(json_str_at(tool, "name"), name) == 0)
            return tool;
    }
    return NULL;
}

/* Adds the tool of that name to those that stay. */
static bool keep(struct toolset *t, json_t *kept, const char *name, const char *param,
                 struct api_error *e)
{
    const json_t *tool = name != NULL && toolset_name_ok(name) ? find_offered(t, name) : NULL;
    if (tool == NULL)
        return bad(e, "invalid_value", param, "it names a tool that is not among the tools");
    for (size_t i = 0; i < json_array_size(kept); i++)
        if (json_array_get(kept, i) == tool) /* named twice */
            return true;
    json_array_append(kept, (json_t *)(uintptr_t)tool);
    return true;
}

static void replace_offered(struct toolset *t, json_t *kept)
{
    json_decref(t->offered);
    t->offered = kept;
}

static bool take_allowed(struct toolset *t, const json_t *allowed, struct api_error *e)
{
    const json_t *list = json_object_get(allowed, "tools");
    const char *mode = json_str_at(allowed, "mode");
    if (mode == NULL || (strcmp(mode, "auto") != 0 && strcmp(mode, "required") != 0))
        return bad(e, "invalid_value", "tool_choice.allowed_tools.mode",
                   "expected 'auto' or 'required'");
    if (json_array_size(list) == 0)
        return bad(e, "invalid_type", "tool_choice.allowed_tools.tools",
                   "expected a non-empty array of objects");
    json_t *kept = json_array();
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_str_at(json_array_get(list, i), "function.name");
        if (name == NULL)
            name = json_str_at(json_array_get(list, i), "name");
        if (!keep(t, kept, name, "tool_choice.allowed_tools.tools", e)) {
            json_decref(kept);
            return false;
        }
    }
    replace_offered(t, kept);
    t->mode = strcmp(mode, "required") == 0 ? TOOL_REQUIRED : TOOL_AUTO;
    return true;
}

static bool take_named(struct toolset *t, const char *name, const char *param, struct api_error *e)
{
    json_t *kept = json_array();
    if (!keep(t, kept, name, param, e)) {
        json_decref(kept);
        return false;
    }
    replace_offered(t, kept);
    t->mode = TOOL_REQUIRED;
    return true;
}

static bool take_choice_object(struct toolset *t, const json_t *choice, const char *name,
                               struct api_error *e)
{
    const char *type = json_str_at(choice, "type");
    if (t->legacy)
        return take_named(t, json_str_at(choice, "name"), "function_call.name", e);
    if (type != NULL && strcmp(type, "function") == 0)
        return take_named(t, json_str_at(choice, "function.name"), "tool_choice.function.name", e);
    if (type != NULL && strcmp(type, "allowed_tools") == 0)
        return take_allowed(t, json_object_get(choice, "allowed_tools"), e);
    return bad(e, "unsupported_value", name, "supported are functions and 'allowed_tools'");
}

static bool take_choice(struct toolset *t, const json_t *choice, const char *name,
                        struct api_error *e)
{
    const char *word = json_string_value(choice);
    if (choice == NULL || json_is_null(choice))
        return true;
    if (json_array_size(t->offered) == 0) {
        if (word != NULL && (strcmp(word, "none") == 0 || strcmp(word, "auto") == 0))
            return true;
        return bad(e, "invalid_value", name, "it is only allowed when there are tools");
    }
    if (json_is_object(choice))
        return take_choice_object(t, choice, name, e);
    if (word != NULL && strcmp(word, "auto") == 0)
        t->mode = TOOL_AUTO;
    else if (word != NULL && strcmp(word, "none") == 0)
        t->mode = TOOL_NONE;
    else if (word != NULL && !t->legacy && strcmp(word, "required") == 0)
        t->mode = TOOL_REQUIRED;
    else
        return bad(e, "invalid_value", name, "expected 'none', 'auto', 'required' or an object");
    return true;
}

/* The choice of the other form speaks of tools that are not there: only what changes nothing is let pass. */
static bool refuse_other(const json_t *request, const char *name, struct api_error *e)
{
    const json_t *choice = json_object_get(request, name);
    const char *word = json_string_value(choice);
    if (choice == NULL || json_is_null(choice) ||
        (word != NULL && (strcmp(word, "none") == 0 || strcmp(word, "auto") == 0)))
        return true;
    return bad(e, "invalid_value", name, "it does not go with the tools of the request");
}

bool toolset_parse(struct toolset *ret, const json_t *request, struct api_error *e)
{
    const json_t *parallel = json_object_get(request, "parallel_tool_calls");
    const json_t *functions = json_object_get(request, "functions");
    const json_t *tools = json_object_get(request, "tools");
    *ret = (struct toolset){ .mode = TOOL_AUTO, .parallel = !json_is_false(parallel) };
    if (!check_list(tools, "tools", e) || !check_list(functions, "functions", e))
        return false;
    ret->legacy = json_array_size(functions) != 0;
    if (ret->legacy && json_array_size(tools) != 0)
        return bad(e, "invalid_value", "functions", "it cannot be used together with 'tools'");
    if (parallel != NULL && !json_is_null(parallel) && !json_is_boolean(parallel))
        return bad(e, "invalid_type", "parallel_tool_calls", "expected a boolean");
    const char *list_name = ret->legacy ? "functions" : "tools";
    const char *choice_name = ret->legacy ? "function_call" : "tool_choice";
    if (ret->legacy)
        ret->parallel = false; /* the answer has room for one call */
    if (!take_list(ret, ret->legacy ? functions : tools, list_name, e) ||
        !take_choice(ret, json_object_get(request, choice_name), choice_name, e) ||
        !refuse_other(request, ret->legacy ? "tool_choice" : "function_call", e))
        return false;
    if (ret->mode == TOOL_NONE || json_array_size(ret->offered) == 0)
        replace_offered(ret, NULL);
    return true;
}

void toolset_free(struct toolset *tools)
{
    json_decref(tools->offered);
    *tools = (struct toolset){ .offered = NULL };
}
