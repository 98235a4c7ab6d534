/* The steps of a scenario: their table, and whether a step is well-formed. */
#include "stub_step.h"

#include <string.h>

#define COUNT(table) (sizeof(table) / sizeof(*(table)))

static bool is_string(const json_t *v)
{
    return json_is_string(v);
}

static bool is_true(const json_t *v)
{
    return json_is_true(v);
}

static bool is_integer(const json_t *v)
{
    return json_is_integer(v);
}

bool stub_is_ms(const json_t *v)
{
    return json_is_integer(v) && json_integer_value(v) >= 0 &&
           json_integer_value(v) <= STUB_PAUSE_MAX_MS;
}

static bool is_count(const json_t *v)
{
    return json_is_integer(v) && json_integer_value(v) >= 1;
}

static bool all(const json_t *array, bool (*ok)(const json_t *))
{
    for (size_t i = 0; i < json_array_size(array); i++)
        if (!ok(json_array_get(array, i)))
            return false;
    return json_array_size(array) != 0;
}

static bool is_cuts(const json_t *v)
{
    if (json_is_string(v))
        return strcmp(json_string_value(v), "words") == 0;
    return all(v, is_count);
}

static bool is_reasoning(const json_t *v)
{
    return json_is_string(v) || all(v, is_string);
}

static bool is_message_start(const json_t *v)
{
    const json_t *phase = json_object_get(v, "phase");
    return json_is_object(v) && (phase == NULL || json_is_string(phase) || json_is_null(phase)) &&
           json_object_size(v) == (phase != NULL);
}

static bool is_tool_call(const json_t *v)
{
    const json_t *call_id = json_object_get(v, "call_id");
    return json_str_at(v, "name") != NULL && json_str_at(v, "arguments") != NULL &&
           (call_id == NULL || json_is_string(call_id)) &&
           json_object_size(v) == (call_id != NULL ? 3u : 2u);
}

static bool is_failure(const json_t *v)
{
    return json_str_at(v, "code") != NULL && json_str_at(v, "message") != NULL;
}

bool stub_is_usage(const json_t *v)
{
    return json_is_object(v) || json_is_null(v);
}

static bool is_event(const json_t *v)
{
    return json_str_at(v, "type") != NULL;
}

static const struct option {
    const char *name;
    bool (*ok)(const json_t *);
    const char *expects;
    const char *help;
} options[] = {
    { "cuts", is_cuts, "\"words\" or an array of sizes >= 1",
      "sizes of the deltas in code points, cycling; or \"words\"; else one delta" },
    { "random_cuts", is_integer, "an integer", "a seed: deltas of 1 to 16 code points" },
    { "every_ms", stub_is_ms, "milliseconds", "pause between two deltas" },
    { "repeat", is_count, "a count >= 1", "say the text so many times (64 MiB at most)" },
};

static const struct kind {
    enum stub_step_kind kind;
    const char *name;
    const char *options; /* names of the options that the step takes, each in blanks; "" = none */
    bool (*ok)(const json_t *value);
    const char *expects;
    const char *help;
} kinds[] = {
    { STUB_STEP_TEXT, "text", " cuts random_cuts every_ms repeat ", is_string, "a string",
      "say it in the open message; opens one if none is" },
    { STUB_STEP_ECHO, "echo", " cuts random_cuts every_ms ", is_string, "a string",
      "say the JSON of this member of the request: input, instructions, tools, text, ..." },
    { STUB_STEP_MESSAGE_START, "message_start", "", is_message_start, "{\"phase\"?}",
      "begin another message: phase \"commentary\" or \"final_answer\"" },
    { STUB_STEP_REASONING, "reasoning", " cuts random_cuts every_ms ", is_reasoning,
      "a string or an array of strings", "a reasoning item with these summary parts" },
    { STUB_STEP_TOOL_CALL, "tool_call", "", is_tool_call, "{\"name\", \"arguments\", \"call_id\"?}",
      "a function call, arguments (a string) verbatim; several are parallel" },
    { STUB_STEP_PAUSE, "pause_ms", "", stub_is_ms, "milliseconds", "send nothing for so long" },
    { STUB_STEP_USAGE, "usage", "", stub_is_usage, "an object or null",
      "sent verbatim by completion" },
    { STUB_STEP_EVENT, "event", "", is_event, "an object with a type", "any event, verbatim" },
    { STUB_STEP_FAIL, "fail", "", is_failure, "{\"code\", \"message\"}", "end: response.failed" },
    { STUB_STEP_INCOMPLETE, "incomplete", "", is_string, "a string",
      "end: response.incomplete for this reason: max_output_tokens or content_filter" },
    { STUB_STEP_DROP, "drop", "", is_true, "true", "end: cut the TCP connection" },
    { STUB_STEP_HANG, "hang", "", is_true, "true", "end: never send anything more" },
    { STUB_STEP_END, "end", "", is_true, "true",
      "end: close the stream without response.completed" },
};

static const struct kind *kind_named(const char *name)
{
    for (size_t i = 0; i < COUNT(kinds); i++)
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    return NULL;
}

static const struct kind *kind_of(const json_t *step)
{
    for (size_t i = 0; i < COUNT(kinds); i++)
        if (json_object_get(step, kinds[i].name) != NULL)
            return &kinds[i];
    return NULL;
}

static const struct option *option_of(const struct kind *kind, const char *name)
{
    char word[32];
    snprintf(word, sizeof(word), " %s ", name);
    for (size_t i = 0; i < COUNT(options) && strstr(kind->options, word) != NULL; i++)
        if (strcmp(options[i].name, name) == 0)
            return &options[i];
    return NULL;
}

static bool check_option(const struct kind *kind, const char *name, const json_t *value,
                         struct buf *why)
{
    const struct option *option = option_of(kind, name);
    if (option == NULL) {
        buf_printf(why,
                   kind_named(name) != NULL ? "is two steps in one: \"%s\" and \"%s\""
                                            : "\"%s\" takes no \"%s\"",
                   kind->name, name);
        return false;
    }
    if (!option->ok(value)) {
        buf_printf(why, "\"%s\" expects %s", name, option->expects);
        return false;
    }
    return true;
}

static bool is_too_long(const json_t *step)
{
    json_int_t len = (json_int_t)json_string_length(json_object_get(step, "text"));
    return len != 0 && json_int_at(step, "repeat", 1) > STUB_TEXT_MAX_BYTES / len;
}

enum stub_step_kind stub_step_kind(const json_t *step)
{
    return kind_of(step)->kind;
}

bool stub_step_check(const json_t *step, struct buf *why)
{
    const struct kind *kind = kind_of(step);
    if (kind == NULL) {
        buf_puts(why, "is not a step");
        return false;
    }
    if (!kind->ok(json_object_get(step, kind->name))) {
        buf_printf(why, "\"%s\" expects %s", kind->name, kind->expects);
        return false;
    }
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)step, name,
                        value) if (strcmp(name, kind->name) != 0 &&
                                   !check_option(kind, name, value, why)) return false;
    if (is_too_long(step))
        buf_puts(why, "the text is too long");
    return !is_too_long(step);
}

void stub_step_print_help(FILE *to)
{
    fputs("Steps, each an object with one of these members:\n", to);
    for (size_t i = 0; i < COUNT(kinds); i++) {
        const struct kind *kind = &kinds[i];
        fprintf(to, "  %-14s %s\n  %-14s   %s%s%s\n", kind->name, kind->help, "", kind->expects,
                *kind->options != '\0' ? "; options:" : "", kind->options);
    }
    fputs("\nOptions of the steps that say something:\n", to);
    for (size_t i = 0; i < COUNT(options); i++)
        fprintf(to, "  %-14s %s\n", options[i].name, options[i].help);
}
