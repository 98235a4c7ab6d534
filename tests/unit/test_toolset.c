/* The tools of a request: names that come back as they went, choices that hold, and refusals with their place. */
#include "toolset.h"
#include "unit.h"

static const char *const reserved[] = {
    "exec_command", "write_stdin", "apply_patch",        "shell",      "local_shell",
    "update_plan",  "web_search",  "request_user_input", "view_image", "exec",
    "wait",         "image_gen",   "tool_search",
};

struct parsed {
    bool ok;
    struct toolset tools;
    struct api_error error;
};

static void parse(struct parsed *p, const char *text)
{
    json_t *request = json_parse(text, strlen(text), NULL);
    if (request == NULL)
        fail_msg("no JSON: %s", text);
    memset(&p->error, 0, sizeof(p->error));
    p->ok = toolset_parse(&p->tools, request, &p->error);
    json_decref(request); /* the toolset outlives it */
    assert_int_equal(p->ok, p->error.status == 0);
}

/* The names that the worker is offered, "a b c"; "" for none. */
static void assert_offered(const struct toolset *tools, const char *wanted)
{
    struct buf names = BUF_INIT;
    for (size_t i = 0; i < json_array_size(tools->offered); i++)
        buf_printf(&names, "%s%s", i == 0 ? "" : " ",
                   json_str_at(json_array_get(tools->offered, i), "name"));
    assert_string_equal(buf_str(&names), wanted);
    assert_int_equal(tools->offered != NULL, names.len != 0); /* an empty list is none */
    buf_free(&names);
}

static void assert_taken(const char *text, enum tool_mode mode, const char *offered)
{
    struct parsed p;
    parse(&p, text);
    if (!p.ok)
        fail_msg("refused: %s: %s", text, p.error.message);
    assert_int_equal(p.tools.mode, mode);
    assert_offered(&p.tools, offered);
    toolset_free(&p.tools);
    toolset_free(&p.tools);
}

static void assert_refused(const char *text, const char *param, const char *code)
{
    struct parsed p;
    parse(&p, text);
    if (p.ok)
        fail_msg("accepted: %s", text);
    assert_int_equal(p.error.status, 400);
    assert_string_equal(p.error.param, param);
    assert_string_equal(p.error.code, code);
    assert_non_null(strstr(p.error.message, param));
    toolset_free(&p.tools);
}

#define TOOL(name) "{\"type\":\"function\",\"function\":{\"name\":\"" name "\"}}"
#define NAMED(name) "{\"type\":\"function\",\"function\":{\"name\":\"" name "\"}}"
#define TWO "\"tools\":[" TOOL("look") "," TOOL("go") "]"
#define TWO_OLD "\"functions\":[{\"name\":\"look\"},{\"name\":\"go\"}]"
#define ALLOWED(mode, tools)                                                                       \
    "{\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\":\"" mode "\",\"tools\":" tools "}}"

/* ---- names ---- */

static void assert_comes_back(const char *name)
{
    char worker[TOOLSET_NAME_SIZE];
    char client[TOOLSET_NAME_SIZE];
    toolset_worker_name(name, worker);
    for (size_t i = 0; i < COUNT_OF(reserved); i++)
        assert_string_not_equal(worker, reserved[i]);
    toolset_client_name(worker, client);
    assert_string_equal(client, name);
}

static void test_every_name_comes_back_as_it_went(void **state)
{
    (void)state;
    static const char *const forms[] = {
        "%s",        "%s__client", "%s__client__client", "%s__client__client__client",
        "%s_client", "%s__clien",  "__client%s",         "_%s",
        "%s_",       "%s__client_"
    };
    char name[128];
    for (size_t f = 0; f < COUNT_OF(forms); f++) {
        for (size_t i = 0; i < COUNT_OF(reserved); i++) {
            const char *at = strstr(forms[f], "%s");
            snprintf(name, sizeof(name), "%.*s%s%s", (int)(at - forms[f]), forms[f], reserved[i],
                     at + 2);
            if (toolset_name_ok(name))
                assert_comes_back(name);
        }
    }
    static const char *const others[] = { "a",    "look", "__client", "__client__client", "Shell",
                                          "EXEC", "-",    "_",        "look__client" };
    for (size_t i = 0; i < COUNT_OF(others); i++)
        assert_comes_back(others[i]);
}

static void test_no_two_names_become_one(void **state)
{
    (void)state;
    char names[COUNT_OF(reserved) * 4][TOOLSET_NAME_SIZE];
    size_t count = 0;
    for (size_t i = 0; i < COUNT_OF(reserved); i++) {
        const char *const suffixes[] = { "", "__client", "__client__client",
                                         "__client__client__client" };
        for (size_t s = 0; s < COUNT_OF(suffixes); s++) {
            char name[TOOLSET_NAME_SIZE];
            snprintf(name, sizeof(name), "%s%s", reserved[i], suffixes[s]);
            toolset_worker_name(name, names[count++]);
        }
    }
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(names[i], names[j]);
}

static void test_only_the_workers_own_names_are_changed(void **state)
{
    (void)state;
    static const char *const names[] = { "look", "Shell", "shell2", "look__client",
                                         "exec-command" };
    char worker[TOOLSET_NAME_SIZE];
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        toolset_worker_name(names[i], worker);
        assert_string_equal(worker, names[i]);
    }
}

static void test_the_longest_name_that_is_changed_has_room(void **state)
{
    (void)state;
    char name[TOOLSET_NAME_MAX + 1] = "exec";
    while (strlen(name) + strlen("__client") <= TOOLSET_NAME_MAX)
        strcat(name, "__client");
    assert_true(toolset_name_ok(name));
    assert_comes_back(name);
}

static void test_a_name_of_the_workers_of_any_length_is_cut_to_fit(void **state)
{
    (void)state;
    char name[200];
    char client[TOOLSET_NAME_SIZE];
    memset(name, 'n', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    toolset_client_name(name, client);
    assert_int_equal(strlen(client), TOOLSET_NAME_SIZE - 1);
}

static void test_a_name_has_1_to_64_letters_digits_dashes_and_underscores(void **state)
{
    (void)state;
    char name[TOOLSET_NAME_MAX + 2];
    memset(name, 'a', sizeof(name));
    name[TOOLSET_NAME_MAX + 1] = '\0';
    assert_false(toolset_name_ok(name));
    name[TOOLSET_NAME_MAX] = '\0';
    assert_true(toolset_name_ok(name));
    assert_true(toolset_name_ok("Az09_-"));
    assert_false(toolset_name_ok(""));
    for (int c = 1; c < 256; c++) {
        const char one[] = { 'a', (char)c, '\0' };
        bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '_' || c == '-';
        assert_int_equal(toolset_name_ok(one), good);
    }
}

/* ---- tools ---- */

static void test_a_tool_is_offered_with_all_that_describes_it(void **state)
{
    (void)state;
    struct parsed p;
    parse(
        &p,
        "{\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"shell\",\"description\":"
        "\"d\",\"parameters\":{\"type\":\"object\",\"properties\":{\"a\":{}}},"
        "\"strict\":true}},{\"type\":\"function\",\"function\":{\"name\":\"b\",\"parameters\":null,"
        "\"description\":null}}]}");
    assert_true(p.ok);
    static const char wanted_text[] =
        "[{\"type\":\"function\",\"name\":\"shell__client\",\"description\":\"d\",\"inputSchema\":"
        "{\"type\":\"object\",\"properties\":{\"a\":{}}}},{\"type\":\"function\",\"name\":\"b\","
        "\"description\":\"\",\"inputSchema\":{\"type\":\"object\",\"properties\":{}}}]";
    json_t *wanted = json_parse(LITERAL(wanted_text), NULL);
    assert_true(json_equal(p.tools.offered, wanted));
    json_decref(wanted);
    toolset_free(&p.tools);
}

static void test_deprecated_functions_are_tools(void **state)
{
    (void)state;
    struct parsed old;
    struct parsed new;
    parse(&old, "{\"functions\":[{\"name\":\"look\",\"description\":\"d\",\"parameters\":{\"type\":"
                "\"object\"}}]}");
    parse(&new,
          "{\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"look\",\"description\":"
          "\"d\",\"parameters\":{\"type\":\"object\"}}}]}");
    assert_true(old.ok && new.ok);
    assert_true(json_equal(old.tools.offered, new.tools.offered));
    assert_true(old.tools.legacy);
    assert_false(new.tools.legacy);
    assert_false(old.tools.parallel); /* the answer has room for one call */
    assert_true(new.tools.parallel);
    toolset_free(&old.tools);
    toolset_free(&new.tools);
}

static void test_parallel_calls_are_welcome_unless_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool parallel;
    } cases[] = { { "{" TWO "}", true },
                  { "{" TWO ",\"parallel_tool_calls\":null}", true },
                  { "{" TWO ",\"parallel_tool_calls\":true}", true },
                  { "{" TWO ",\"parallel_tool_calls\":false}", false } };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct parsed p;
        parse(&p, cases[i].text);
        assert_true(p.ok);
        assert_int_equal(p.tools.parallel, cases[i].parallel);
        toolset_free(&p.tools);
    }
}

static void test_the_number_of_tools_is_bounded(void **state)
{
    (void)state;
    for (int legacy = 0; legacy < 2; legacy++) {
        for (int count = TOOLSET_MAX; count <= TOOLSET_MAX + 1; count++) {
            struct buf text = BUF_INIT;
            buf_printf(&text, "{\"%s\":[", legacy ? "functions" : "tools");
            for (int i = 0; i < count; i++)
                buf_printf(&text,
                           legacy ? "%s{\"name\":\"f%d\"}"
                                  : "%s{\"type\":\"function\",\"function\":{\"name\":\"f%d\"}}",
                           i == 0 ? "" : ",", i);
            buf_puts(&text, "]}");
            if (count == TOOLSET_MAX) {
                struct parsed p;
                parse(&p, buf_str(&text));
                assert_int_equal(json_array_size(p.tools.offered), TOOLSET_MAX);
                toolset_free(&p.tools);
            } else {
                assert_refused(buf_str(&text), legacy ? "functions" : "tools",
                               "array_above_max_length");
            }
            buf_free(&text);
        }
    }
}

static void test_a_wrong_tool_is_refused_with_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *param;
        const char *code;
    } cases[] = {
        { "{\"tools\":{}}", "tools", "invalid_type" },
        { "{\"tools\":\"look\"}", "tools", "invalid_type" },
        { "{\"tools\":false}", "tools", "invalid_type" },
        { "{\"functions\":5}", "functions", "invalid_type" },
        { "{\"functions\":{}}", "functions", "invalid_type" },
        { "{\"functions\":\"look\"}", "functions", "invalid_type" },
        { "{" TWO ",\"functions\":\"look\"}", "functions", "invalid_type" },
        { "{" TWO "," TWO_OLD "}", "functions", "invalid_value" },
        { "{\"tools\":[7]}", "tools[0].type", "missing_required_parameter" },
        { "{\"tools\":[" TOOL("a") ",null]}", "tools[1].type", "missing_required_parameter" },
        { "{\"tools\":[{\"type\":\"web_search\"}]}", "tools[0].type", "unsupported_value" },
        { "{\"tools\":[{\"type\":\"custom\",\"custom\":{\"name\":\"a\"}}]}", "tools[0].type",
          "unsupported_value" },
        { "{\"tools\":[{\"type\":\"function\"}]}", "tools[0].function", "invalid_type" },
        { "{\"tools\":[{\"type\":\"function\",\"function\":\"a\"}]}", "tools[0].function",
          "invalid_type" },
        { "{\"tools\":[{\"type\":\"function\",\"function\":{}}]}", "tools[0].function.name",
          "invalid_value" },
        { "{\"tools\":[" TOOL("a b") "]}", "tools[0].function.name", "invalid_value" },
        { "{\"tools\":[" TOOL("") "]}", "tools[0].function.name", "invalid_value" },
        { "{\"tools\":[" TOOL("a") "," TOOL("b") "," TOOL("a") "]}", "tools[2].function.name",
          "invalid_value" },
        { "{\"tools\":[" TOOL("exec") "," TOOL("exec") "]}", "tools[1].function.name",
          "invalid_value" },
        { "{\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"a\",\"parameters\":[]}}]}",
          "tools[0].function.parameters", "invalid_type" },
        { "{\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"a\",\"description\":7}}]}",
          "tools[0].function.description", "invalid_type" },
        { "{\"functions\":[\"a\"]}", "functions[0]", "invalid_type" },
        { "{\"functions\":[{\"name\":\"a\"},{\"name\":\"a\"}]}", "functions[1].name",
          "invalid_value" },
        { "{\"functions\":[{\"name\":\"a\",\"parameters\":7}]}", "functions[0].parameters",
          "invalid_type" },
        { "{\"functions\":[{\"type\":\"function\",\"function\":{\"name\":\"a\"}}]}",
          "functions[0].name", "invalid_value" },
        { "{\"parallel_tool_calls\":1}", "parallel_tool_calls", "invalid_type" },
        { "{" TWO ",\"parallel_tool_calls\":\"false\"}", "parallel_tool_calls", "invalid_type" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_refused(cases[i].text, cases[i].param, cases[i].code);
}

static void test_a_reserved_name_and_its_replacement_are_two_tools(void **state)
{
    (void)state;
    assert_taken("{\"tools\":[" TOOL("exec") "," TOOL("exec__client") "," TOOL("look__client") "]}",
                 TOOL_AUTO, "exec__client exec__client__client look__client");
}

/* ---- choices ---- */

static void test_each_choice_offers_what_it_says(void **state)
{
    (void)state;
    assert_taken("{}", TOOL_AUTO, "");
    assert_taken("{\"tools\":null,\"functions\":null,\"tool_choice\":null}", TOOL_AUTO, "");
    assert_taken("{\"tools\":[],\"tool_choice\":\"auto\"}", TOOL_AUTO, "");
    assert_taken("{\"tools\":[],\"tool_choice\":\"none\"}", TOOL_AUTO, "");
    assert_taken("{" TWO "}", TOOL_AUTO, "look go");
    assert_taken("{" TWO ",\"tool_choice\":\"auto\"}", TOOL_AUTO, "look go");
    assert_taken("{" TWO ",\"tool_choice\":\"none\"}", TOOL_NONE, "");
    assert_taken("{" TWO ",\"tool_choice\":\"required\"}", TOOL_REQUIRED, "look go");
    assert_taken("{" TWO ",\"tool_choice\":" NAMED("go") "}", TOOL_REQUIRED, "go");
    assert_taken("{" TWO ",\"function_call\":\"none\"}", TOOL_AUTO, "look go");
    assert_taken("{" TWO_OLD ",\"function_call\":\"auto\"}", TOOL_AUTO, "look go");
    assert_taken("{" TWO_OLD ",\"function_call\":\"none\"}", TOOL_NONE, "");
    assert_taken("{" TWO_OLD ",\"function_call\":{\"name\":\"go\"}}", TOOL_REQUIRED, "go");
    assert_taken("{" TWO_OLD ",\"tool_choice\":\"auto\"}", TOOL_AUTO, "look go");
    assert_taken("{\"tools\":[" TOOL("exec") "," TOOL("a") "],\"tool_choice\":" NAMED("exec") "}",
                 TOOL_REQUIRED, "exec__client");
}

static void test_allowed_tools_are_those_alone(void **state)
{
    (void)state;
    assert_taken("{" TWO ",\"tool_choice\":" ALLOWED("auto", "[" NAMED("go") "]") "}", TOOL_AUTO,
                 "go");
    assert_taken("{" TWO
                 ",\"tool_choice\":" ALLOWED("required", "[" NAMED("go") "," NAMED("look") "]") "}",
                 TOOL_REQUIRED, "go look");
    assert_taken("{" TWO ",\"tool_choice\":" ALLOWED(
                     "auto", "[{\"type\":\"function\",\"name\":\"look\"}]") "}",
                 TOOL_AUTO, "look");
}

static void test_a_wrong_choice_is_refused_with_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *choice;
        const char *param;
        const char *code;
    } cases[] = {
        { "\"always\"", "tool_choice", "invalid_value" },
        { "7", "tool_choice", "invalid_value" },
        { "[]", "tool_choice", "invalid_value" },
        { "true", "tool_choice", "invalid_value" },
        { "{}", "tool_choice", "unsupported_value" },
        { "{\"type\":\"custom\"}", "tool_choice", "unsupported_value" },
        { "{\"type\":\"function\"}", "tool_choice.function.name", "invalid_value" },
        { NAMED("run"), "tool_choice.function.name", "invalid_value" },
        { NAMED("look "), "tool_choice.function.name", "invalid_value" },
        { "{\"type\":\"allowed_tools\"}", "tool_choice.allowed_tools.mode", "invalid_value" },
        { ALLOWED("none", "[" NAMED("go") "]"), "tool_choice.allowed_tools.mode", "invalid_value" },
        { ALLOWED("auto", "[]"), "tool_choice.allowed_tools.tools", "invalid_type" },
        { ALLOWED("auto", "{}"), "tool_choice.allowed_tools.tools", "invalid_type" },
        { ALLOWED("auto", "[7]"), "tool_choice.allowed_tools.tools", "invalid_value" },
        { ALLOWED("auto", "[" NAMED("run") "]"), "tool_choice.allowed_tools.tools",
          "invalid_value" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char *text = NULL;
        assert_true(asprintf(&text, "{" TWO ",\"tool_choice\":%s}", cases[i].choice) > 0);
        assert_refused(text, cases[i].param, cases[i].code);
        free(text);
    }
    assert_refused("{" TWO_OLD ",\"function_call\":\"required\"}", "function_call",
                   "invalid_value");
    assert_refused("{" TWO_OLD ",\"function_call\":{\"name\":\"run\"}}", "function_call.name",
                   "invalid_value");
    assert_refused("{" TWO_OLD ",\"function_call\":{}}", "function_call.name", "invalid_value");
}

static void test_a_choice_without_tools_must_change_nothing(void **state)
{
    (void)state;
    assert_refused("{\"tool_choice\":\"required\"}", "tool_choice", "invalid_value");
    assert_refused("{\"tools\":[],\"tool_choice\":" NAMED("look") "}", "tool_choice",
                   "invalid_value");
    assert_refused("{\"function_call\":{\"name\":\"look\"}}", "function_call", "invalid_value");
    assert_refused("{\"function_call\":5}", "function_call", "invalid_value");
    assert_refused("{" TWO ",\"function_call\":{\"name\":\"look\"}}", "function_call",
                   "invalid_value");
    assert_refused("{" TWO_OLD ",\"tool_choice\":" NAMED("look") "}", "tool_choice",
                   "invalid_value");
    assert_refused("{" TWO_OLD ",\"tool_choice\":7}", "tool_choice", "invalid_value");
}

static void test_a_tool_that_is_allowed_twice_is_offered_once(void **state)
{
    (void)state;
    assert_taken("{" TWO
                 ",\"tool_choice\":" ALLOWED("auto", "[" NAMED("go") "," NAMED("go") "]") "}",
                 TOOL_AUTO, "go");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_name_comes_back_as_it_went),
        cmocka_unit_test(test_no_two_names_become_one),
        cmocka_unit_test(test_only_the_workers_own_names_are_changed),
        cmocka_unit_test(test_the_longest_name_that_is_changed_has_room),
        cmocka_unit_test(test_a_name_of_the_workers_of_any_length_is_cut_to_fit),
        cmocka_unit_test(test_a_name_has_1_to_64_letters_digits_dashes_and_underscores),
        cmocka_unit_test(test_a_tool_is_offered_with_all_that_describes_it),
        cmocka_unit_test(test_deprecated_functions_are_tools),
        cmocka_unit_test(test_parallel_calls_are_welcome_unless_refused),
        cmocka_unit_test(test_the_number_of_tools_is_bounded),
        cmocka_unit_test(test_a_wrong_tool_is_refused_with_its_place),
        cmocka_unit_test(test_a_reserved_name_and_its_replacement_are_two_tools),
        cmocka_unit_test(test_each_choice_offers_what_it_says),
        cmocka_unit_test(test_allowed_tools_are_those_alone),
        cmocka_unit_test(test_a_tool_that_is_allowed_twice_is_offered_once),
        cmocka_unit_test(test_a_wrong_choice_is_refused_with_its_place),
        cmocka_unit_test(test_a_choice_without_tools_must_change_nothing),
    };
    json_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
