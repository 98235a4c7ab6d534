/* How the worker is launched: whose credentials it uses, what it is told, and what it may see of our environment. */
#include "config.h"
#include "environment.h"
#include "folder.h"
#include "json.h"
#include "launch.h"
#include "unit.h"

static const char secret[] = "sk-upstream-do-not-show";

static struct config config_with(enum demo_mode demo)
{
    return (struct config){ .codex_bin = "/opt/codex", .demo_mode = demo };
}

static int setup(void **state)
{
    environment_empty();
    return folder_setup(state);
}

/* ---- a launch, seen from the worker ---- */

static size_t count(char *const *items)
{
    size_t n = 0;
    while (items[n] != NULL)
        n++;
    return n;
}

static bool has(char *const *items, const char *text)
{
    for (size_t i = 0; items[i] != NULL; i++)
        if (strcmp(items[i], text) == 0)
            return true;
    return false;
}

static bool mentions(char *const *items, const char *part)
{
    for (size_t i = 0; items[i] != NULL; i++)
        if (strstr(items[i], part) != NULL)
            return true;
    return false;
}

/* Where "-c entry" stands, or -1. */
static int config_at(const struct launch *launch, const char *entry)
{
    for (int i = 2; launch->argv[i] != NULL; i += 2) {
        assert_string_equal(launch->argv[i], "-c");
        assert_non_null(launch->argv[i + 1]);
        if (strcmp(launch->argv[i + 1], entry) == 0)
            return i;
    }
    return -1;
}

static bool configures(const struct launch *launch, const char *entry)
{
    return config_at(launch, entry) >= 0;
}

static struct launch make(const struct config *c, enum launch_source source)
{
    struct launch launch;
    launch_make(&launch, c, "/srv/of codex", source, 4711);
    assert_int_equal(launch.source, source);
    return launch;
}

/* ---- the source ---- */

static void test_without_anything_there_is_no_source(void **state)
{
    const struct folder *f = *state;
    struct config c = config_with(DEMO_OFF);
    assert_int_equal(launch_find_source(&c, f->path), LAUNCH_NONE);
    environment_set("OPENAI_API_KEY", "");
    assert_int_equal(launch_find_source(&c, f->path), LAUNCH_NONE);
}

static void test_demo_steps_in_only_as_far_as_it_may(void **state)
{
    const struct folder *f = *state;
    struct config automatic = config_with(DEMO_AUTO);
    struct config on = config_with(DEMO_ON);
    assert_int_equal(launch_find_source(&automatic, f->path), LAUNCH_DEMO);
    environment_set("OPENAI_API_KEY", secret);
    assert_int_equal(launch_find_source(&automatic, f->path), LAUNCH_API_KEY);
    folder_put(f, "auth.json", LITERAL("{}"));
    assert_int_equal(launch_find_source(&automatic, f->path), LAUNCH_LOGIN);
    folder_put(f, "config.toml", LITERAL("model_provider = \"x\"\n"));
    assert_int_equal(launch_find_source(&automatic, f->path), LAUNCH_PROVIDER);
    assert_int_equal(launch_find_source(&on, f->path), LAUNCH_DEMO);
}

static void test_each_source_is_found_by_itself(void **state)
{
    const struct folder *f = *state;
    struct config c = config_with(DEMO_OFF);
    environment_set("OPENAI_API_KEY", secret);
    assert_int_equal(launch_find_source(&c, f->path), LAUNCH_API_KEY);
    assert_int_equal(unsetenv("OPENAI_API_KEY"), 0);
    c.worker_config = "model_provider=\"mine\"";
    assert_int_equal(launch_find_source(&c, f->path), LAUNCH_PROVIDER);
    c.worker_config = NULL;
    folder_put(f, "auth.json", LITERAL("{}"));
    assert_int_equal(launch_find_source(&c, f->path), LAUNCH_LOGIN);
}

static void test_only_the_switch_between_providers_names_one(void **state)
{
    const struct folder *f = *state;
    struct config c = config_with(DEMO_OFF);
    static const struct {
        const char *toml;
        enum launch_source wanted;
    } cases[] = {
        { "model_provider=\"x\"", LAUNCH_PROVIDER },
        { "model_provider = \"x\"", LAUNCH_PROVIDER },
        { "\n\n \tmodel_provider\t= \"x\"\n", LAUNCH_PROVIDER },
        { "model = \"y\"\r\nmodel_provider = \"x\"\r\n", LAUNCH_PROVIDER },
        { "", LAUNCH_NONE },
        { "model_provider", LAUNCH_NONE },
        { "model_providers.x = {}", LAUNCH_NONE },
        { "model_provider_id = \"x\"", LAUNCH_NONE },
        { "# model_provider = \"x\"", LAUNCH_NONE },
        { "my_model_provider = \"x\"", LAUNCH_NONE },
        { "model = \"model_provider=\"", LAUNCH_NONE },
        { "[model_providers.x]\nname = \"x\"\n", LAUNCH_NONE },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        c.worker_config = (char *)(uintptr_t)cases[i].toml;
        assert_int_equal(launch_find_source(&c, f->path), cases[i].wanted);
        c.worker_config = NULL;
        folder_put(f, "config.toml", cases[i].toml, strlen(cases[i].toml));
        assert_int_equal(launch_find_source(&c, f->path), cases[i].wanted);
        folder_put(f, "config.toml", "", 0);
    }
}

static void test_every_source_has_a_name(void **state)
{
    (void)state;
    assert_string_equal(launch_source_name(LAUNCH_LOGIN), "login");
    assert_string_equal(launch_source_name(LAUNCH_API_KEY), "api_key");
    assert_string_equal(launch_source_name(LAUNCH_PROVIDER), "provider");
    assert_string_equal(launch_source_name(LAUNCH_NONE), "none");
    assert_string_equal(launch_source_name(LAUNCH_DEMO), "demo");
}

/* ---- the command line ---- */

static void test_the_worker_is_an_app_server_without_tools_of_its_own(void **state)
{
    (void)state;
    struct config c = config_with(DEMO_OFF);
    struct launch launch = make(&c, LAUNCH_LOGIN);
    assert_string_equal(launch.file, "/opt/codex");
    assert_string_equal(launch.argv[0], "/opt/codex");
    assert_string_equal(launch.argv[1], "app-server");
    assert_string_equal(launch.working_dir, "/srv/of codex/workspace");
    static const char *const off[] = { "web_search=\"disabled\"",
                                       "thread_unload_delay_secs=0",
                                       "include_environment_context=false",
                                       "project_doc_max_bytes=0",
                                       "agents.enabled=false",
                                       "features.shell_tool=false",
                                       "features.unified_exec=false",
                                       "features.code_mode_host=false" };
    for (size_t i = 0; i < COUNT_OF(off); i++)
        assert_true(configures(&launch, off[i]));
    assert_false(mentions(launch.argv, "model_provider"));
    launch_free(&launch);
    launch_free(&launch);
}

static void test_the_stripped_catalog_is_named_unless_bundled_is_wanted(void **state)
{
    (void)state;
    struct config c = config_with(DEMO_OFF);
    struct launch launch = make(&c, LAUNCH_LOGIN);
    assert_string_equal(launch.catalog_path, "/srv/of codex/model-catalog.json");
    assert_true(configures(&launch, "model_catalog_json=\"/srv/of codex/model-catalog.json\""));
    launch_free(&launch);
    c.catalog_mode = CATALOG_BUNDLED;
    launch = make(&c, LAUNCH_LOGIN);
    assert_null(launch.catalog_path);
    assert_false(mentions(launch.argv, "model_catalog_json"));
    launch_free(&launch);
    launch = make(&c, LAUNCH_DEMO); /* the demo model is in no bundled catalog */
    assert_non_null(launch.catalog_path);
    launch_free(&launch);
}

static void test_a_path_with_quotes_is_escaped(void **state)
{
    (void)state;
    struct config c = config_with(DEMO_OFF);
    struct launch launch;
    launch_make(&launch, &c, "/a\"b\\c", LAUNCH_LOGIN, 0);
    assert_true(configures(&launch, "model_catalog_json=\"/a\\\"b\\\\c/model-catalog.json\""));
    assert_string_equal(launch.catalog_path, "/a\"b\\c/model-catalog.json");
    launch_free(&launch);
}

static void test_no_key_is_on_the_command_line(void **state)
{
    (void)state;
    environment_set("OPENAI_API_KEY", secret);
    environment_set("PROXY_API_KEY", secret);
    struct config c = config_with(DEMO_OFF);
    c.api_key = (char *)(uintptr_t)secret;
    for (enum launch_source source = LAUNCH_LOGIN; source <= LAUNCH_DEMO; source++) {
        struct launch launch = make(&c, source);
        assert_false(mentions(launch.argv, secret));
        launch_free(&launch);
    }
}

static void test_an_api_key_is_used_through_a_provider_that_reads_the_environment(void **state)
{
    (void)state;
    environment_set("OPENAI_API_KEY", secret);
    struct config c = config_with(DEMO_OFF);
    struct launch launch = make(&c, LAUNCH_API_KEY);
    assert_true(configures(&launch, "model_provider=\"openai_api_key\""));
    assert_true(configures(&launch,
                           "model_providers.openai_api_key={name=\"OpenAI\", "
                           "base_url=\"https://api.openai.com/v1\", env_key=\"OPENAI_API_KEY\", "
                           "wire_api=\"responses\"}"));
    launch_free(&launch);
    environment_set("OPENAI_BASE_URL", "http://10.0.0.1:8080/v1");
    launch = make(&c, LAUNCH_API_KEY);
    assert_true(mentions(launch.argv, "base_url=\"http://10.0.0.1:8080/v1\""));
    launch_free(&launch);
}

static void test_a_base_url_cannot_break_out_of_its_quotes(void **state)
{
    (void)state;
    environment_set("OPENAI_BASE_URL", "http://x\", env_key=\"HOME");
    struct config c = config_with(DEMO_OFF);
    struct launch launch = make(&c, LAUNCH_API_KEY);
    assert_true(mentions(launch.argv, "base_url=\"http://x\\\", env_key=\\\"HOME\","));
    launch_free(&launch);
    environment_set("OPENAI_BASE_URL", "http://x\\");
    launch = make(&c, LAUNCH_API_KEY);
    assert_true(mentions(launch.argv, "base_url=\"http://x\\\\\","));
    launch_free(&launch);
}

static void test_the_demo_model_is_reached_on_its_port_of_the_loopback(void **state)
{
    (void)state;
    struct config c = config_with(DEMO_ON);
    struct launch launch = make(&c, LAUNCH_DEMO);
    assert_true(configures(&launch, "model_provider=\"codex_demo\""));
    assert_true(configures(&launch, "model=\"" CATALOG_DEMO_MODEL "\""));
    assert_true(mentions(launch.argv, "base_url=\"http://127.0.0.1:4711/v1\""));
    launch_free(&launch);
}

static void test_lines_of_worker_config_come_after_our_own_without_blanks(void **state)
{
    (void)state;
    struct config c = config_with(DEMO_OFF);
    struct launch bare = make(&c, LAUNCH_API_KEY);
    c.worker_config = "\n  a = 1 \t\r\n\n \t \n\tb={x=\"1, 2\"}\r\n\r\nc=\"d e\"";
    struct launch launch = make(&c, LAUNCH_API_KEY);
    size_t before = count(bare.argv);
    assert_int_equal(count(launch.argv), before + 6);
    for (size_t i = 0; i < before; i++)
        assert_string_equal(launch.argv[i], bare.argv[i]);
    assert_int_equal(config_at(&launch, "a = 1"), before);
    assert_int_equal(config_at(&launch, "b={x=\"1, 2\"}"), before + 2);
    assert_int_equal(config_at(&launch, "c=\"d e\""), before + 4);
    launch_free(&launch);
    launch_free(&bare);
}

static void test_a_worker_config_of_blanks_adds_nothing(void **state)
{
    (void)state;
    static const char *const blanks[] = { "", " ", "\n", "\n\n\n", " \n\t\r\n ", "\r" };
    struct config c = config_with(DEMO_OFF);
    struct launch bare = make(&c, LAUNCH_LOGIN);
    for (size_t i = 0; i < COUNT_OF(blanks); i++) {
        c.worker_config = (char *)(uintptr_t)blanks[i];
        struct launch launch = make(&c, LAUNCH_LOGIN);
        assert_int_equal(count(launch.argv), count(bare.argv));
        launch_free(&launch);
    }
    launch_free(&bare);
}

/* ---- the environment ---- */

static void test_the_worker_sees_only_what_is_allowed(void **state)
{
    (void)state;
    static const char *const allowed[] = { "HOME",        "USER",         "LANG",     "LC_ALL",
                                           "TZ",          "TMPDIR",       "RUST_LOG", "HTTPS_PROXY",
                                           "https_proxy", "SSL_CERT_FILE" };
    static const char *const denied[] = { "PROXY_API_KEY",   "PROXY_ADMIN_KEY", "OPENAI_API_KEY",
                                          "OPENAI_BASE_URL", "WORKER_CONFIG",   "AWS_SECRET_KEY",
                                          "LD_PRELOAD",      "CODEX_HOME",      "CODEX_API_KEY",
                                          "HOMEX",           "HTTP_PROXY_" };
    for (size_t i = 0; i < COUNT_OF(allowed); i++)
        environment_set(allowed[i], "seen");
    for (size_t i = 0; i < COUNT_OF(denied); i++)
        environment_set(denied[i], "hidden");
    struct config c = config_with(DEMO_OFF);
    for (enum launch_source source = LAUNCH_LOGIN; source <= LAUNCH_DEMO; source++) {
        if (source == LAUNCH_API_KEY)
            continue;
        struct launch launch = make(&c, source);
        for (size_t i = 0; i < COUNT_OF(allowed); i++) {
            char entry[64];
            snprintf(entry, sizeof(entry), "%s=seen", allowed[i]);
            assert_true(has(launch.env, entry));
        }
        assert_false(mentions(launch.env, "hidden"));
        assert_true(has(launch.env, "CODEX_HOME=/srv/of codex"));
        assert_true(has(launch.env, "NO_COLOR=1"));
        launch_free(&launch);
    }
}

static void test_the_api_key_is_seen_only_by_a_worker_that_uses_it(void **state)
{
    (void)state;
    environment_set("OPENAI_API_KEY", secret);
    struct config c = config_with(DEMO_OFF);
    for (enum launch_source source = LAUNCH_LOGIN; source <= LAUNCH_DEMO; source++) {
        struct launch launch = make(&c, source);
        assert_int_equal(mentions(launch.env, secret), source == LAUNCH_API_KEY);
        launch_free(&launch);
    }
}

static void test_names_in_worker_env_are_let_through(void **state)
{
    (void)state;
    environment_set("MY_PROVIDER_KEY", "k1");
    environment_set("OTHER", "k2 = x");
    environment_set("EMPTY", "");
    environment_set("KEPT_BACK", "hidden");
    environment_set("B C", "odd");
    struct config c = config_with(DEMO_OFF);
    struct launch bare = make(&c, LAUNCH_PROVIDER);
    c.worker_env = " MY_PROVIDER_KEY ,,\tOTHER, EMPTY ,NOT_SET, ,B C\r,";
    struct launch launch = make(&c, LAUNCH_PROVIDER);
    assert_int_equal(count(launch.env), count(bare.env) + 4);
    assert_true(has(launch.env, "MY_PROVIDER_KEY=k1"));
    assert_true(has(launch.env, "OTHER=k2 = x"));
    assert_true(has(launch.env, "EMPTY="));
    assert_true(has(launch.env, "B C=odd"));
    assert_false(mentions(launch.env, "hidden"));
    launch_free(&launch);
    launch_free(&bare);
}

static void test_a_variable_that_is_not_set_is_not_passed_on(void **state)
{
    (void)state;
    struct config c = config_with(DEMO_OFF);
    struct launch launch = make(&c, LAUNCH_LOGIN);
    assert_int_equal(count(launch.env), 3); /* PATH, NO_COLOR, CODEX_HOME */
    launch_free(&launch);
}

static void test_no_proxy_stands_before_the_demo_model(void **state)
{
    (void)state;
    struct config c = config_with(DEMO_ON);
    struct launch launch = make(&c, LAUNCH_DEMO);
    assert_true(has(launch.env, "NO_PROXY=127.0.0.1"));
    launch_free(&launch);
    launch = make(&c, LAUNCH_LOGIN);
    assert_false(mentions(launch.env, "NO_PROXY"));
    launch_free(&launch);
}

/* How many entries set the variable. */
static size_t settings_of(char *const *items, const char *name)
{
    size_t len = strlen(name);
    size_t n = 0;
    for (size_t i = 0; items[i] != NULL; i++)
        n += strncmp(items[i], name, len) == 0 && items[i][len] == '=';
    return n;
}

static void test_a_variable_is_passed_on_once_with_our_value(void **state)
{
    (void)state;
    environment_set("NO_PROXY", "corp.example");
    environment_set("no_proxy", "corp.example");
    environment_set("MINE", "x");
    struct config c = config_with(DEMO_ON);
    c.worker_env = "PATH,MINE,NO_PROXY,MINE,CODEX_HOME";
    environment_set("CODEX_HOME", "/not/ours");
    struct launch launch = make(&c, LAUNCH_DEMO);
    static const char *const names[] = { "NO_PROXY", "no_proxy", "PATH", "MINE", "CODEX_HOME" };
    for (size_t i = 0; i < COUNT_OF(names); i++)
        assert_int_equal(settings_of(launch.env, names[i]), 1);
    assert_true(has(launch.env, "NO_PROXY=127.0.0.1"));
    assert_true(has(launch.env, "CODEX_HOME=/srv/of codex"));
    launch_free(&launch);
}

/* So that another binary of the same name is noticed. */
static void test_a_binary_is_known_by_the_file_that_its_name_means(void **state)
{
    const struct folder *f = *state;
    char *file = folder_path(f, "codex");
    char *path = NULL;
    assert_true(asprintf(&path, "/no/such/folder::%s:/usr/bin", f->path) > 0);
    environment_set("PATH", path);
    struct config c = config_with(DEMO_OFF);
    c.codex_bin = "codex";
    folder_put(f, "codex", LITERAL("#!/bin/sh\n"));
    struct launch launch = make(&c, LAUNCH_LOGIN);
    assert_string_equal(launch.file, "codex"); /* it cannot be run */
    launch_free(&launch);
    assert_int_equal(chmod(file, 0700), 0);
    launch = make(&c, LAUNCH_LOGIN);
    assert_string_equal(launch.file, file);
    launch_free(&launch);
    c.codex_bin = "./codex";
    launch = make(&c, LAUNCH_LOGIN);
    assert_string_equal(launch.file, "./codex");
    launch_free(&launch);
    free(path);
    free(file);
}

#define LAUNCH_TEST(test) cmocka_unit_test_setup_teardown(test, setup, folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LAUNCH_TEST(test_without_anything_there_is_no_source),
        LAUNCH_TEST(test_demo_steps_in_only_as_far_as_it_may),
        LAUNCH_TEST(test_each_source_is_found_by_itself),
        LAUNCH_TEST(test_only_the_switch_between_providers_names_one),
        LAUNCH_TEST(test_every_source_has_a_name),
        LAUNCH_TEST(test_the_worker_is_an_app_server_without_tools_of_its_own),
        LAUNCH_TEST(test_the_stripped_catalog_is_named_unless_bundled_is_wanted),
        LAUNCH_TEST(test_a_path_with_quotes_is_escaped),
        LAUNCH_TEST(test_no_key_is_on_the_command_line),
        LAUNCH_TEST(test_an_api_key_is_used_through_a_provider_that_reads_the_environment),
        LAUNCH_TEST(test_a_base_url_cannot_break_out_of_its_quotes),
        LAUNCH_TEST(test_the_demo_model_is_reached_on_its_port_of_the_loopback),
        LAUNCH_TEST(test_lines_of_worker_config_come_after_our_own_without_blanks),
        LAUNCH_TEST(test_a_worker_config_of_blanks_adds_nothing),
        LAUNCH_TEST(test_the_worker_sees_only_what_is_allowed),
        LAUNCH_TEST(test_the_api_key_is_seen_only_by_a_worker_that_uses_it),
        LAUNCH_TEST(test_names_in_worker_env_are_let_through),
        LAUNCH_TEST(test_a_variable_that_is_not_set_is_not_passed_on),
        LAUNCH_TEST(test_no_proxy_stands_before_the_demo_model),
        LAUNCH_TEST(test_a_variable_is_passed_on_once_with_our_value),
        LAUNCH_TEST(test_a_binary_is_known_by_the_file_that_its_name_means),
    };
    json_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
