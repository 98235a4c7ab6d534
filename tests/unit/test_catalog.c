/* The model catalog: a copy without codex's own tools, made again only when something has changed. */
#include "catalog.h"
#include "file.h"
#include "folder.h"
#include "log.h"
#include "loop.h"
#include "unit.h"

static const char original_text[] =
    "{\"version\":3,\"models\":["
    "{\"slug\":\"gpt-a\",\"display_name\":\"A\",\"visibility\":\"hide\",\"tool_mode\":"
    "\"code_mode_only\",\"use_responses_lite\":true,\"multi_agent_version\":2,"
    "\"apply_patch_tool_type\":\"freeform\",\"experimental_supported_tools\":[\"x\"],"
    "\"supports_search_tool\":true,\"shell_type\":\"shell_command\",\"context_window\":272000},"
    "{\"slug\":\"gpt-b\",\"supported_reasoning_levels\":[{\"effort\":\"low\"}]}]}";

static const char bare_text[] =
    "{\"tool_mode\":null,\"use_responses_lite\":false,\"multi_agent_version\":null,"
    "\"apply_patch_tool_type\":null,\"experimental_supported_tools\":[],"
    "\"supports_search_tool\":false,\"shell_type\":\"disabled\",\"default_verbosity\":null,"
    "\"context_window\":null,\"max_context_window\":null,\"auto_compact_token_limit\":null,"
    "\"comp_hash\":null,\"truncation_policy\":{\"mode\":\"tokens\",\"limit\":1000000000}}";

static json_t *parse(const char *text)
{
    json_t *value = json_parse(text, strlen(text), NULL);
    assert_non_null(value);
    return value;
}

/* The model without what every stripped one has; fails unless it has that. */
static json_t *rest_of(const json_t *model)
{
    json_t *rest = json_deep_copy(model);
    json_t *bare = parse(bare_text);
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(bare, key, value)
    {
        assert_true(json_equal(json_object_get(rest, key), value));
        json_object_del(rest, key);
    }
    json_decref(bare);
    return rest;
}

static void assert_rest_is(const json_t *model, const char *wanted_text)
{
    json_t *rest = rest_of(model);
    json_t *wanted = parse(wanted_text);
    assert_true(json_equal(rest, wanted));
    json_decref(wanted);
    json_decref(rest);
}

static void test_every_model_loses_codexs_own_tools_and_nothing_else(void **state)
{
    (void)state;
    json_t *original = parse(original_text);
    json_t *copy = catalog_strip(original, false, NULL);
    assert_int_equal(json_int_at(copy, "version", 0), 3);
    const json_t *models = json_object_get(copy, "models");
    assert_int_equal(json_array_size(models), 2);
    assert_rest_is(json_array_get(models, 0),
                   "{\"slug\":\"gpt-a\",\"display_name\":\"A\",\"visibility\":\"hide\"}");
    assert_rest_is(json_array_get(models, 1),
                   "{\"slug\":\"gpt-b\",\"supported_reasoning_levels\":[{\"effort\":\"low\"}]}");
    json_decref(copy);
    json_decref(original);
}

static void test_the_original_is_left_as_it_was(void **state)
{
    (void)state;
    json_t *original = parse(original_text);
    json_t *before = json_deep_copy(original);
    json_decref(catalog_strip(original, false, NULL));
    json_decref(catalog_strip(original, true, NULL));
    assert_true(json_equal(original, before));
    json_decref(before);
    json_decref(original);
}

static void test_a_demo_catalog_holds_only_the_demo_model(void **state)
{
    (void)state;
    json_t *original = parse(original_text);
    json_t *copy = catalog_strip(original, true, NULL);
    const json_t *models = json_object_get(copy, "models");
    assert_int_equal(json_array_size(models), 1);
    json_t *rest = rest_of(json_array_get(models, 0));
    assert_string_equal(json_str_at(rest, "slug"), CATALOG_DEMO_MODEL);
    assert_string_equal(json_str_at(rest, "visibility"), "list");
    assert_int_equal(json_array_size(json_object_get(rest, "supported_reasoning_levels")), 0);
    json_decref(rest);
    json_decref(copy);
    json_decref(original);
}

static void test_a_model_of_the_operator_goes_in_beside_the_known_ones_once(void **state)
{
    (void)state;
    json_t *original = parse(original_text);
    json_t *copy = catalog_strip(original, false, "mine");
    const json_t *models = json_object_get(copy, "models");
    assert_int_equal(json_array_size(models), 3);
    json_t *rest = rest_of(json_array_get(models, 2));
    assert_string_equal(json_str_at(rest, "slug"), "mine");
    assert_string_equal(json_str_at(rest, "visibility"), "list");
    assert_int_equal(json_array_size(json_object_get(rest, "input_modalities")), 2);
    json_decref(rest);
    json_decref(copy);
    copy = catalog_strip(original, false, "gpt-b");
    assert_int_equal(json_array_size(json_object_get(copy, "models")), 2);
    json_decref(copy);
    json_decref(original);
}

static void test_what_is_no_catalog_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = { "{}",
                                       "[]",
                                       "null",
                                       "\"models\"",
                                       "{\"models\":[]}",
                                       "{\"models\":{}}",
                                       "{\"models\":null}",
                                       "{\"models\":[\"gpt-a\"]}",
                                       "{\"models\":[null,{}]}" };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        json_t *value = parse(bad[i]);
        assert_null(catalog_strip(value, false, "mine"));
        assert_null(catalog_strip(value, true, NULL));
        json_decref(value);
    }
    assert_null(catalog_strip(NULL, false, NULL));
}

/* ---- the job ---- */

struct bench {
    struct loop loop;
    struct folder folder;
    char *path;  /* owned: of the catalog */
    char *stamp; /* owned: of the file beside it */
    struct catalog_options options;
    struct catalog_job *job;
    bool over;
    bool ok;
};

static char *no_env[] = { NULL };

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof(*b));
    loop_begin(&b->loop);
    folder_make(&b->folder);
    b->path = folder_path(&b->folder, "model-catalog.json");
    b->stamp = folder_path(&b->folder, "model-catalog.json.stamp");
    b->options = (struct catalog_options){ .file = getenv("FAKE_WORKER_BIN"),
                                           .env = no_env,
                                           .path = b->path };
    assert_non_null(b->options.file);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    loop_end(&b->loop);
    folder_remove(&b->folder);
    free(b->path);
    free(b->stamp);
    free(b);
    return 0;
}

static void on_done(void *ctx, bool ok)
{
    struct bench *b = ctx;
    assert_false(b->over);
    b->over = true;
    b->ok = ok;
}

static bool prepare(struct bench *b)
{
    b->over = false;
    return catalog_prepare(&b->loop.uv, &b->options, on_done, b, &b->job);
}

/* Whether the job that prepare starts comes to a good end. */
static bool made(struct bench *b)
{
    assert_false(prepare(b));
    assert_non_null(b->job);
    assert_false(b->over);
    loop_until_true(&b->loop, &b->over);
    return b->ok;
}

static void test_a_catalog_is_made_once_and_then_current(void **state)
{
    struct bench *b = *state;
    assert_true(made(b));
    struct buf text = BUF_INIT;
    assert_true(file_read(b->path, &text, 1024 * 1024));
    json_t *catalog = json_parse(text.data, text.len, NULL);
    const json_t *models = json_object_get(catalog, "models");
    assert_true(json_array_size(models) > 0);
    for (size_t i = 0; i < json_array_size(models); i++)
        json_decref(rest_of(json_array_get(models, i)));
    json_decref(catalog);
    buf_free(&text);
    assert_true(prepare(b));
    assert_null(b->job);
    assert_false(b->over);
}

static void test_another_form_or_a_lost_file_is_made_again(void **state)
{
    struct bench *b = *state;
    assert_true(made(b));
    b->options.demo = true;
    assert_true(made(b));
    assert_true(prepare(b));
    b->options.demo = false;
    assert_true(made(b));
    assert_int_equal(unlink(b->path), 0);
    assert_true(made(b));
    assert_int_equal(unlink(b->stamp), 0);
    assert_true(made(b));
}

static void put_script(struct bench *b, const char *script)
{
    char *path = folder_path(&b->folder, "codex");
    folder_put(&b->folder, "codex", script, strlen(script));
    assert_int_equal(chmod(path, 0700), 0);
    b->options.file = path;
}

static void test_another_binary_is_asked_again(void **state)
{
    struct bench *b = *state;
    put_script(b, "#!/bin/sh\necho '{\"models\":[{\"slug\":\"a\"}]}'\n");
    assert_true(made(b));
    assert_true(prepare(b));
    free((char *)(uintptr_t)b->options.file);
    put_script(b, "#!/bin/sh\necho '{\"models\":[{\"slug\":\"other\"}]}'\n");
    assert_true(made(b));
    struct buf text = BUF_INIT;
    assert_true(file_read(b->path, &text, 1024 * 1024));
    assert_non_null(strstr(buf_str(&text), "\"other\""));
    buf_free(&text);
    free((char *)(uintptr_t)b->options.file);
}

static void test_a_binary_that_fails_leaves_the_old_catalog(void **state)
{
    static const char *const scripts[] = {
        "#!/bin/sh\nexit 1\n",
        "#!/bin/sh\necho '{\"models\":[{\"slug\":\"a\"}]}'\nexit 3\n",
        "#!/bin/sh\necho '{\"models\":[{\"slug\":\"a\"}]}'\nkill -9 $$\n",
        "#!/bin/sh\necho '{\"models\":['\n",
        "#!/bin/sh\necho '{\"models\":[]}'\n",
        "#!/bin/sh\n",
    };
    struct bench *b = *state;
    folder_put(&b->folder, "model-catalog.json", LITERAL("old"));
    for (size_t i = 0; i < COUNT_OF(scripts); i++) {
        put_script(b, scripts[i]);
        assert_false(made(b));
        free((char *)(uintptr_t)b->options.file);
        struct buf text = BUF_INIT;
        assert_true(file_read(b->path, &text, 1024));
        assert_string_equal(buf_str(&text), "old");
        buf_free(&text);
        assert_false(file_exists(b->stamp));
    }
}

static void test_a_binary_that_is_not_there_starts_no_job(void **state)
{
    struct bench *b = *state;
    b->options.file = "/no/such/codex";
    b->job = (struct catalog_job *)(void *)b;
    assert_false(prepare(b));
    assert_null(b->job);
    loop_turn(&b->loop);
    assert_false(b->over);
}

static void test_a_catalog_that_cannot_be_written_is_a_failure(void **state)
{
    struct bench *b = *state;
    char *path = folder_path(&b->folder, "no/such/catalog.json");
    b->options.path = path;
    assert_false(made(b));
    b->options.path = b->path;
    free(path);
}

/* Teardown finds no handle left, and done is not called: the job would hang else. */
static void test_a_cancelled_job_is_killed_and_says_nothing(void **state)
{
    struct bench *b = *state;
    put_script(b, "#!/bin/sh\nsleep 600 & wait\n");
    assert_false(prepare(b));
    assert_non_null(b->job);
    catalog_cancel(b->job);
    catalog_cancel(NULL);
    free((char *)(uintptr_t)b->options.file);
    deadlines_free(b->loop.deadlines);
    b->loop.deadlines = NULL;
    uv_unref((uv_handle_t *)&b->loop.guard);
    uv_run(&b->loop.uv, UV_RUN_DEFAULT);
    uv_ref((uv_handle_t *)&b->loop.guard);
    assert_false(b->over);
    assert_false(file_exists(b->path));
}

#define JOB_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_model_loses_codexs_own_tools_and_nothing_else),
        cmocka_unit_test(test_the_original_is_left_as_it_was),
        cmocka_unit_test(test_a_demo_catalog_holds_only_the_demo_model),
        cmocka_unit_test(test_a_model_of_the_operator_goes_in_beside_the_known_ones_once),
        cmocka_unit_test(test_what_is_no_catalog_is_refused),
        JOB_TEST(test_a_catalog_is_made_once_and_then_current),
        JOB_TEST(test_another_form_or_a_lost_file_is_made_again),
        JOB_TEST(test_another_binary_is_asked_again),
        JOB_TEST(test_a_binary_that_fails_leaves_the_old_catalog),
        JOB_TEST(test_a_binary_that_is_not_there_starts_no_job),
        JOB_TEST(test_a_catalog_that_cannot_be_written_is_a_failure),
        JOB_TEST(test_a_cancelled_job_is_killed_and_says_nothing),
    };
    json_setup();
    log_set_level(LOG_SILENCE);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
