/* Which answer a request asks for: the demo, a preset or a scenario of its own. */
#include "scenario.h"

#include "stub_step.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX "stub:"
#define EXCERPT_MAX_CODE_POINTS 200
#define DEMO_WORD_MS 15
#define COUNT(table) (sizeof(table) / sizeof(*(table)))

/* ---- the demo ---- */

/* Copies the beginning of `text` on one line. */
static void put_excerpt(struct buf *out, const char *text)
{
    size_t code_points = 0;
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if ((c & 0xc0) != 0x80 && code_points++ == EXCERPT_MAX_CODE_POINTS) {
            buf_puts(out, "…");
            return;
        }
        buf_putc(out, c < 0x20 ? ' ' : *text);
    }
}

static json_t *demo(const char *said)
{
    struct buf text = BUF_INIT;
    buf_puts(&text,
             "Hello! I am the demo model of codex-api, and there is no real model behind me. ");
    if (said != NULL && *said != '\0') {
        buf_puts(&text, "You said: “");
        put_excerpt(&text, said);
        buf_puts(&text, "”. ");
    }
    buf_puts(&text, "To talk to a real one, log in with scripts/login and ask again.");
    json_t *scenario = json_pack("{s:[{s:s%, s:s, s:i}]}", "steps", "text", text.data, text.len,
                                 "cuts", "words", "every_ms", DEMO_WORD_MS);
    buf_free(&text);
    return scenario;
}

/* ---- presets ---- */

static const struct preset {
    const char *name;
    const char *json;
} presets[] = {
    { "unauthorized",
      "{\"status\":401, \"body\":{\"error\":{\"message\":\"Incorrect API key provided\","
      "\"type\":\"invalid_request_error\", \"code\":\"invalid_api_key\"}}}" },
    { "rate_limit", "{\"status\":429, \"headers\":{\"retry-after\":\"1\"}, \"body\":{\"error\":{"
                    "\"message\":\"Rate limit reached\", \"type\":\"tokens\","
                    "\"code\":\"rate_limit_exceeded\"}}}" },
    { "usage_limit", "{\"status\":429, \"body\":{\"error\":{\"type\":\"usage_limit_reached\","
                     "\"message\":\"The usage limit has been reached\", \"plan_type\":\"plus\","
                     "\"resets_at\":4102444800}}}" },
    { "server_error",
      "{\"status\":500, \"body\":{\"error\":{\"message\":\"The server had an error\","
      "\"type\":\"server_error\"}}}" },
    { "overloaded", "{\"status\":503, \"body\":{\"error\":{\"message\":\"Servers are overloaded\","
                    "\"type\":\"server_error\", \"code\":\"server_is_overloaded\"}}}" },
    { "bad_request", "{\"status\":400, \"body\":{\"error\":{\"message\":\"Invalid value: 'stub'\","
                     "\"type\":\"invalid_request_error\", \"param\":\"input\","
                     "\"code\":\"invalid_value\"}}}" },
    { "context_length", "{\"steps\":[{\"fail\":{\"code\":\"context_length_exceeded\", \"message\":"
                        "\"Your input exceeds the context window of this model\"}}]}" },
    { "dropped", "{\"steps\":[{\"text\":\"This sentence has no\"}, {\"drop\":true}]}" },
    { "max_output_tokens", "{\"steps\":[{\"text\":\"This sentence has no\"},"
                           "{\"incomplete\":\"max_output_tokens\"}]}" },
    { "content_filter", "{\"steps\":[{\"text\":\"This sentence has no\"},"
                        "{\"incomplete\":\"content_filter\"}]}" },
    { "hang", "{\"steps\":[{\"text\":\"This sentence has no\"}, {\"hang\":true}]}" },
    { "silent", "{\"steps\":[{\"hang\":true}]}" },
    { "truncated", "{\"steps\":[{\"text\":\"This sentence has no\"}, {\"end\":true}]}" },
    { "reasoning",
      "{\"steps\":[{\"reasoning\":[\"**Looking** at it\", \"**Deciding**\"], \"cuts\":[3]},"
      "{\"text\":\"It is so.\", \"cuts\":\"words\"}]}" },
    { "long", "{\"steps\":[{\"text\":\"The quick brown fox jumps over the lazy dog. \","
              "\"repeat\":2000, \"cuts\":\"words\"}]}" },
};

/* The preset that the scenario names, with the scenario's other members over it. */
static json_t *fill_preset(json_t *scenario, struct buf *why)
{
    const json_t *name = json_object_get(scenario, "preset");
    for (size_t i = 0; i < COUNT(presets) && json_is_string(name); i++) {
        if (strcmp(presets[i].name, json_string_value(name)) != 0)
            continue;
        json_t *filled = json_loads(presets[i].json, 0, NULL);
        json_object_update(filled, scenario);
        json_object_del(filled, "preset");
        return filled;
    }
    buf_puts(why, "there is no such preset");
    return NULL;
}

/* ---- checks ---- */

static bool is_array(const json_t *v)
{
    return json_is_array(v);
}

static bool is_rounds(const json_t *v)
{
    return json_array_size(v) != 0;
}

static bool is_status(const json_t *v)
{
    return json_is_integer(v) && json_integer_value(v) >= 200 && json_integer_value(v) <= 599;
}

static bool is_one_line(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < 0x20)
            return false;
    return true;
}

static bool is_headers(const json_t *v)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)v, name,
                        value) if (!json_is_string(value) || !is_one_line(name) ||
                                   !is_one_line(json_string_value(value))) return false;
    return json_is_object(v);
}

static bool is_anything(const json_t *v)
{
    return v != NULL;
}

static const struct member {
    const char *name;
    bool (*ok)(const json_t *);
    const char *expects;
    const char *help;
} members[] = {
    { "steps", is_array, "an array of steps", "the answer, as a stream; same as rounds [steps]" },
    { "rounds", is_rounds, "an array of arrays of steps",
      "a round is over when all its tool calls are answered; past the last one the outputs are "
      "said" },
    { "usage", stub_is_usage, "an object or null",
      "sent verbatim by completion instead of a count" },
    { "status", is_status, "200 to 599", "an answer that is no stream; not together with steps" },
    { "body", is_anything, "any value", "of such an answer; a string is sent verbatim" },
    { "headers", is_headers, "an object of strings", "lower-case names; added to either answer" },
    { "delay_ms", stub_is_ms, "milliseconds", "wait before the status line" },
};

static const struct member *member_named(const char *name)
{
    for (size_t i = 0; i < COUNT(members); i++)
        if (strcmp(members[i].name, name) == 0)
            return &members[i];
    return NULL;
}

static bool check_members(json_t *scenario, struct buf *why)
{
    const char *name;
    json_t *value;
    json_object_foreach(scenario, name, value)
    {
        const struct member *member = member_named(name);
        if (member == NULL || !member->ok(value)) {
            if (member != NULL)
                buf_printf(why, "\"%s\" expects %s", name, member->expects);
            else
                buf_printf(why, "unknown member \"%s\"", name);
            return false;
        }
    }
    bool stream = json_object_get(scenario, "steps") || json_object_get(scenario, "rounds");
    bool reply = json_object_get(scenario, "status") || json_object_get(scenario, "body");
    bool both = json_object_get(scenario, "steps") && json_object_get(scenario, "rounds");
    if (stream == reply || both)
        buf_puts(why, "expects either steps, or rounds, or status and body");
    return stream != reply && !both;
}

/* An absent array has nothing wrong in it. */
static bool check_steps(const json_t *steps, struct buf *why)
{
    for (size_t i = 0; i < json_array_size(steps); i++) {
        size_t before = why->len;
        buf_printf(why, "step %zu: ", i);
        if (!stub_step_check(json_array_get(steps, i), why))
            return false;
        why->len = before;
    }
    return true;
}

static bool check_rounds(const json_t *rounds, struct buf *why)
{
    for (size_t i = 0; i < json_array_size(rounds); i++) {
        size_t before = why->len;
        buf_printf(why, "round %zu: ", i);
        if (!json_is_array(json_array_get(rounds, i))) {
            buf_puts(why, "expects an array of steps");
            return false;
        }
        if (!check_steps(json_array_get(rounds, i), why))
            return false;
        why->len = before;
    }
    return true;
}

static json_t *parse(const char *text, struct buf *why)
{
    const char *json_why = "not an object";
    json_t *scenario = json_parse(text, strlen(text), &json_why);
    if (!json_is_object(scenario)) {
        buf_puts(why, json_why);
        json_decref(scenario);
        return NULL;
    }
    if (json_object_get(scenario, "preset") != NULL) {
        json_t *filled = fill_preset(scenario, why);
        json_decref(scenario);
        scenario = filled;
    }
    if (scenario == NULL || !check_members(scenario, why) ||
        !check_steps(json_object_get(scenario, "steps"), why) ||
        !check_rounds(json_object_get(scenario, "rounds"), why)) {
        json_decref(scenario);
        return NULL;
    }
    return scenario;
}

/* ---- rounds of tool calls ---- */

static size_t count_calls(const json_t *steps)
{
    size_t calls = 0;
    for (size_t i = 0; i < json_array_size(steps); i++)
        calls += json_object_get(json_array_get(steps, i), "tool_call") != NULL;
    return calls;
}

/* What the tools answered since the message at index `from`: a new array of values. */
static json_t *outputs_since(const json_t *input, size_t from)
{
    json_t *outputs = json_array();
    for (size_t i = from; i < json_array_size(input); i++) {
        const json_t *item = json_array_get(input, i);
        const char *type = json_str_at(item, "type");
        if (type != NULL && strcmp(type, "function_call_output") == 0)
            json_array_append(outputs, json_object_get(item, "output"));
    }
    return outputs;
}

static json_t *say_outputs(const json_t *outputs)
{
    struct buf text = BUF_INIT;
    buf_puts(&text, "The tools answered: ");
    for (size_t i = 0; i < json_array_size(outputs); i++) {
        const json_t *output = json_array_get(outputs, i);
        buf_puts(&text, i != 0 ? "; " : "");
        if (json_is_string(output))
            buf_append(&text, json_string_value(output), json_string_length(output));
        else
            json_write(&text, output);
    }
    json_t *steps = json_pack("[{s:s%}]", "text", text.data, text.len);
    buf_free(&text);
    return steps;
}

/* The first round with a call that has no output yet, or with no calls at all. Counting outputs and not
 * batches, so that it does not matter how the worker orders the items of parallel calls. */
static json_t *due_round(json_t *rounds, const json_t *outputs)
{
    size_t answered = json_array_size(outputs);
    for (size_t i = 0; i < json_array_size(rounds); i++) {
        json_t *steps = json_array_get(rounds, i);
        size_t calls = count_calls(steps);
        if (calls == 0 || answered < calls)
            return json_incref(steps);
        answered -= calls;
    }
    return say_outputs(outputs);
}

/* Leaves the steps that are due as the scenario's only ones. */
static void choose_round(json_t *scenario, const json_t *input, size_t message_at)
{
    json_t *rounds = json_object_get(scenario, "rounds");
    json_t *steps = json_object_get(scenario, "steps");
    rounds = rounds != NULL ? json_incref(rounds) : json_pack("[O]", steps);
    json_t *outputs = outputs_since(input, message_at);
    json_object_set_new(scenario, "steps", due_round(rounds, outputs));
    json_object_del(scenario, "rounds");
    json_decref(outputs);
    json_decref(rounds);
}

/* ---- the request ---- */

static bool is_scenario(const char *text)
{
    return text != NULL && strncmp(text, PREFIX, strlen(PREFIX)) == 0;
}

/* The last text of a message that is a scenario, else its last text. */
static const char *text_of(const json_t *content)
{
    const char *last = json_string_value(content);
    for (size_t i = 0; i < json_array_size(content); i++) {
        const char *text = json_str_at(json_array_get(content, i), "text");
        if (text != NULL && (is_scenario(text) || !is_scenario(last)))
            last = text;
    }
    return last;
}

/* The text of the last user message and where in the input it is; NULL if there is none. */
static const char *last_user_text(const json_t *input, size_t *ret_at)
{
    for (size_t i = json_array_size(input); i-- > 0;) {
        const json_t *item = json_array_get(input, i);
        const char *role = json_str_at(item, "role");
        if (role == NULL || strcmp(role, "user") != 0)
            continue;
        *ret_at = i;
        return text_of(json_object_get(item, "content"));
    }
    return json_string_value(input);
}

json_t *scenario_for(const json_t *request, struct buf *why)
{
    const json_t *input = json_object_get(request, "input");
    size_t message_at = 0;
    const char *text = last_user_text(input, &message_at);
    if (!is_scenario(text))
        return demo(text);
    json_t *scenario = parse(text + strlen(PREFIX), why);
    if (json_object_get(scenario, "steps") != NULL || json_object_get(scenario, "rounds") != NULL)
        choose_round(scenario, input, message_at);
    return scenario;
}

void scenario_print_help(FILE *to)
{
    fputs(
        "Scenarios\n"
        "When the text of the last user message begins with stub: the rest of it is a JSON object\n"
        "that says what to answer; any other message gets the demo answer. For example\n"
        "  stub:{\"steps\":[{\"text\":\"Hi "
        "there\",\"cuts\":[1,3]},{\"pause_ms\":50},{\"drop\":true}]}\n"
        "  "
        "stub:{\"rounds\":[[{\"tool_call\":{\"name\":\"f\",\"arguments\":\"{}\"}}],[{\"text\":"
        "\"ok\"}]]}\n"
        "A scenario with a mistake is answered with status 400 and the reason.\n\nMembers:\n",
        to);
    for (size_t i = 0; i < COUNT(members); i++)
        fprintf(to, "  %-14s %s\n", members[i].name, members[i].help);
    fprintf(to, "  %-14s %s\n\n", "preset", "one of those below; other members are laid over it");
    stub_step_print_help(to);
    fputs("Steps that run out complete the answer. Usage counts a token for 4 bytes of the input's "
          "JSON,\n"
          "and for 4 bytes of text, reasoning and arguments.\n\nPresets:\n",
          to);
    for (size_t i = 0; i < COUNT(presets); i++)
        fprintf(to, "  %-18s %s\n", presets[i].name, presets[i].json);
}
