/* The models: the worker's list, page by page, as the OpenAI list object. */
#include "log.h"
#include "models.h"
#include "unit.h"
#include "wire.h"

#define RPC_MS 60000

struct bench {
    struct loop loop;
    struct wire wire;
    struct models *models;
    unsigned done;
    bool ok;
};

static void begin_with(struct bench *b, const char *extra, const char *aliases, uint64_t rpc_ms)
{
    *b = (struct bench){ .done = 0 };
    loop_begin(&b->loop);
    wire_begin(&b->wire, b->loop.deadlines, 1);
    b->models = models_new(extra, aliases, rpc_ms);
}

static void begin(struct bench *b, const char *extra, uint64_t rpc_ms)
{
    begin_with(b, extra, NULL, rpc_ms);
}

static void end(struct bench *b)
{
    wire_end(&b->wire);
    models_free(b->models);
    loop_end(&b->loop);
}

static void on_done(void *ctx, bool ok)
{
    struct bench *b = ctx;
    b->done++;
    b->ok = ok;
}

static void refresh(struct bench *b)
{
    b->done = 0;
    models_refresh(b->models, b->wire.rpc, on_done, b);
    assert_int_equal(b->done, 0);
}

/* Answers the page that is asked for, which must be the one at `cursor` (NULL: the first). */
static void give_page(struct bench *b, const char *cursor, const char *result)
{
    json_t *params = NULL;
    json_int_t id = wire_expect(&b->wire, "model/list", &params);
    if (cursor == NULL)
        assert_int_equal(json_object_size(params), 0);
    else
        assert_string_equal(json_str_at(params, "cursor"), cursor);
    json_decref(params);
    wire_answer(&b->wire, id, result);
}

static bool has(const struct models *models, const char *name)
{
    struct model_choice choice;
    if (!models_resolve(models, name, &choice))
        return false;
    assert_string_equal(choice.id, name);
    assert_null(choice.effort);
    return true;
}

/* The ids of the list object, "a b c". */
static void assert_listed(const struct bench *b, const char *wanted)
{
    json_t *list = models_list_object(b->models);
    assert_string_equal(json_str_at(list, "object"), "list");
    struct buf ids = BUF_INIT;
    size_t i = 0;
    const json_t *model = NULL;
    json_array_foreach(json_object_get(list, "data"), i, model)
    {
        const char *id = json_str_at(model, "id");
        buf_printf(&ids, "%s%s", i == 0 ? "" : " ", id);
        assert_true(has(b->models, id));
        json_t *one = models_object(b->models, id);
        assert_true(json_equal(one, model));
        json_decref(one);
    }
    assert_string_equal(buf_str(&ids), wanted);
    buf_free(&ids);
    json_decref(list);
}

static void test_before_the_first_list_there_is_only_the_extra_model(void **state)
{
    (void)state;
    struct bench b;
    begin(&b, NULL, RPC_MS);
    assert_listed(&b, "");
    assert_false(has(b.models, "a"));
    assert_null(models_object(b.models, "a"));
    end(&b);
    begin(&b, "my/model", RPC_MS);
    assert_listed(&b, "my/model");
    end(&b);
}

static void test_all_pages_are_one_list_in_their_order(void **state)
{
    (void)state;
    struct bench b;
    begin(&b, "z", RPC_MS);
    refresh(&b);
    give_page(&b, NULL, "{\"data\":[{\"model\":\"a\"},{\"model\":\"b\"}],\"nextCursor\":\"c1\"}");
    assert_int_equal(b.done, 0);
    assert_listed(&b, "z"); /* not before it is whole */
    give_page(&b, "c1", "{\"data\":[],\"nextCursor\":\"c2\"}");
    give_page(&b, "c2", "{\"data\":[{\"model\":\"c\"}],\"nextCursor\":null}");
    assert_int_equal(b.done, 1);
    assert_true(b.ok);
    assert_listed(&b, "a b c z");
    assert_int_equal(wire_waiting(&b.wire), 0);
    end(&b);
}

static void test_hidden_and_nameless_models_are_left_out(void **state)
{
    (void)state;
    struct bench b;
    begin(&b, NULL, RPC_MS);
    refresh(&b);
    give_page(&b, NULL,
              "{\"data\":[{\"model\":\"a\",\"hidden\":true},{\"model\":\"b\",\"hidden\":false},"
              "{\"id\":\"c\"},{\"model\":null},{\"model\":7},7,null,\"d\",{\"model\":\"e\","
              "\"hidden\":null,\"other\":{}}]}");
    assert_true(b.ok);
    assert_listed(&b, "b e");
    assert_false(has(b.models, "a"));
    assert_null(models_object(b.models, "a"));
    end(&b);
}

static void test_a_model_object_is_what_clients_expect(void **state)
{
    (void)state;
    struct bench b;
    begin(&b, NULL, RPC_MS);
    refresh(&b);
    give_page(&b, NULL,
              "{\"data\":[{\"id\":\"other\",\"model\":\"a\",\"displayName\":\"The A\","
              "\"description\":\"d\"},{\"model\":\"b\",\"displayName\":null}]}");
    json_t *a = models_object(b.models, "a");
    assert_int_equal(json_object_size(a), 7);
    assert_true(json_is_null(json_object_get(a, "shutdown_date")));
    assert_string_equal(json_str_at(a, "object"), "model");
    assert_string_equal(json_str_at(a, "owned_by"), "openai");
    assert_string_equal(json_str_at(a, "display_name"), "The A");
    assert_string_equal(json_str_at(a, "description"), "d");
    assert_true(json_int_at(a, "created", 0) > 1700000000);
    json_t *other = models_object(b.models, "b");
    assert_int_equal(json_object_size(other), 5);
    assert_int_equal(json_int_at(other, "created", 0), json_int_at(a, "created", 1));
    json_decref(other);
    json_decref(a);
    end(&b);
}

static void test_an_extra_model_that_is_listed_is_listed_once(void **state)
{
    (void)state;
    struct bench b;
    begin(&b, "a", RPC_MS);
    refresh(&b);
    give_page(&b, NULL,
              "{\"data\":[{\"model\":\"a\",\"displayName\":\"The A\"},{\"model\":\"b\"}]}");
    assert_listed(&b, "a b");
    json_t *a = models_object(b.models, "a");
    assert_string_equal(json_str_at(a, "display_name"), "The A");
    json_decref(a);
    end(&b);
}

static void test_an_extra_model_that_is_hidden_is_served(void **state)
{
    (void)state;
    struct bench b;
    begin(&b, "a", RPC_MS);
    refresh(&b);
    give_page(&b, NULL, "{\"data\":[{\"model\":\"a\",\"hidden\":true},{\"model\":\"b\"}]}");
    assert_listed(&b, "b a");
    end(&b);
}

static void test_a_new_list_replaces_the_old_one(void **state)
{
    (void)state;
    struct bench b;
    begin(&b, NULL, RPC_MS);
    refresh(&b);
    give_page(&b, NULL, "{\"data\":[{\"model\":\"a\"},{\"model\":\"b\"}]}");
    refresh(&b);
    assert_listed(&b, "a b");
    give_page(&b, NULL, "{\"data\":[{\"model\":\"b\"},{\"model\":\"c\"}]}");
    assert_listed(&b, "b c");
    end(&b);
}

static void test_a_refresh_that_fails_keeps_the_old_list(void **state)
{
    (void)state;
    static const char *const bad[] = { "{}", "null", "{\"data\":{}}", "{\"data\":null}", "[]" };
    struct bench b;
    begin(&b, NULL, RPC_MS);
    refresh(&b);
    give_page(&b, NULL, "{\"data\":[{\"model\":\"a\"}]}");
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        refresh(&b);
        give_page(&b, NULL, "{\"data\":[{\"model\":\"b\"}],\"nextCursor\":\"c\"}");
        give_page(&b, "c", bad[i]);
        assert_int_equal(b.done, 1);
        assert_false(b.ok);
        assert_listed(&b, "a");
    }
    refresh(&b);
    wire_answer_error(&b.wire, wire_expect(&b.wire, "model/list", NULL), -32600, "no");
    assert_int_equal(b.done, 1);
    assert_false(b.ok);
    assert_listed(&b, "a");
    end(&b);
}

static void assert_resolves(const struct bench *b, const char *name, const char *id,
                            const char *effort)
{
    struct model_choice choice;
    assert_true(models_resolve(b->models, name, &choice));
    assert_string_equal(choice.id, id);
    if (effort == NULL)
        assert_null(choice.effort);
    else
        assert_string_equal(choice.effort, effort);
}

static void test_several_extra_models_are_served_without_blanks(void **state)
{
    (void)state;
    struct bench b;
    begin(&b, " my/a,my/b ,,\tmy/c\n,", RPC_MS);
    assert_listed(&b, "my/a my/b my/c");
    assert_false(has(b.models, ""));
    assert_false(has(b.models, "my/a,my/b"));
    end(&b);
}

static void test_an_alias_is_its_model_with_its_effort(void **state)
{
    (void)state;
    struct bench b;
    begin_with(&b, "my:own", "fast=a, deep=a:high ,mine=my:own:low,new=z", RPC_MS);
    struct model_choice choice;
    assert_false(models_resolve(b.models, "fast", &choice)); /* its model is not there yet */
    refresh(&b);
    give_page(&b, NULL, "{\"data\":[{\"model\":\"a\",\"displayName\":\"The A\"}]}");
    assert_resolves(&b, "fast", "a", NULL);
    assert_resolves(&b, "deep", "a", "high");
    assert_resolves(&b, "mine", "my:own", "low"); /* the last colon counts */
    assert_false(models_resolve(b.models, "new", &choice));
    assert_false(models_resolve(b.models, "Fast", &choice));
    json_t *deep = models_object(b.models, "deep");
    assert_string_equal(json_str_at(deep, "id"), "deep");
    assert_string_equal(json_str_at(deep, "display_name"), "The A");
    json_decref(deep);
    json_t *list = models_list_object(b.models);
    assert_int_equal(json_array_size(json_object_get(list, "data")), 5); /* a, my:own, 3 aliases */
    json_decref(list);
    end(&b);
}

static void test_what_is_no_alias_names_nothing(void **state)
{
    (void)state;
    struct bench b;
    begin_with(&b, "a", "=a,b,c:high,", RPC_MS);
    assert_listed(&b, "a");
    struct model_choice choice;
    static const char *const names[] = { "", "b", "c", "c:high", "=a" };
    for (size_t i = 0; i < COUNT_OF(names); i++)
        assert_false(models_resolve(b.models, names[i], &choice));
    end(&b);
}

static void test_a_model_takes_the_efforts_that_it_lists(void **state)
{
    (void)state;
    struct bench b;
    begin(&b, "extra", RPC_MS);
    refresh(&b);
    give_page(&b, NULL,
              "{\"data\":[{\"model\":\"a\",\"supportedReasoningEfforts\":[{\"reasoningEffort\":"
              "\"low\"},{\"reasoningEffort\":\"xhigh\"},7,{}]},{\"model\":\"b\","
              "\"supportedReasoningEfforts\":[]},{\"model\":\"c\"}]}");
    assert_true(models_takes_effort(b.models, "a", "low"));
    assert_true(models_takes_effort(b.models, "a", "xhigh"));
    assert_false(models_takes_effort(b.models, "a", "high"));
    assert_false(models_takes_effort(b.models, "a", ""));
    assert_true(models_takes_effort(b.models, "b", "low"));  /* it lists none */
    assert_true(models_takes_effort(b.models, "c", "high")); /* nothing is known of it */
    assert_true(models_takes_effort(b.models, "extra", "high"));
    end(&b);
}

static void test_a_model_takes_images_unless_it_lists_others_alone(void **state)
{
    (void)state;
    struct bench b;
    begin(&b, "extra", RPC_MS);
    refresh(&b);
    give_page(&b, NULL,
              "{\"data\":[{\"model\":\"a\",\"inputModalities\":[\"text\",\"image\"]},{\"model\":"
              "\"b\",\"inputModalities\":[\"text\",7]},{\"model\":\"c\"},{\"model\":\"d\","
              "\"inputModalities\":null}]}");
    assert_true(models_takes_images(b.models, "a"));
    assert_false(models_takes_images(b.models, "b"));
    assert_true(models_takes_images(b.models, "c"));
    assert_true(models_takes_images(b.models, "d"));
    assert_true(models_takes_images(b.models, "extra"));
    json_t *object = models_object(b.models, "a");
    assert_int_equal(json_array_size(json_object_get(object, "input_modalities")), 2);
    json_decref(object);
    end(&b);
}

static bool is_done(const void *ctx)
{
    const struct bench *b = ctx;
    return b->done != 0;
}

static void test_a_worker_that_does_not_answer_is_a_failure(void **state)
{
    (void)state;
    struct bench b;
    begin(&b, NULL, 5);
    refresh(&b);
    loop_until(&b.loop, is_done, &b);
    assert_false(b.ok);
    end(&b);
}

static void test_a_list_without_end_is_cut(void **state)
{
    (void)state;
    struct bench b;
    begin(&b, NULL, RPC_MS);
    struct buf page = BUF_INIT;
    buf_puts(&page, "{\"nextCursor\":\"more\",\"data\":[");
    for (int i = 0; i < 100; i++)
        buf_printf(&page, "%s{\"model\":\"m%d\"}", i == 0 ? "" : ",", i);
    buf_puts(&page, "]}");
    refresh(&b);
    unsigned pages = 0;
    for (; b.done == 0 && pages < 100; pages++)
        give_page(&b, pages == 0 ? NULL : "more", buf_str(&page));
    assert_int_equal(pages, 10);
    assert_true(b.ok);
    buf_free(&page);
    end(&b);
}

static void test_a_cancelled_refresh_says_nothing_and_keeps_the_old_list(void **state)
{
    (void)state;
    struct bench b;
    begin(&b, NULL, RPC_MS);
    refresh(&b);
    give_page(&b, NULL, "{\"data\":[{\"model\":\"a\"}]}");
    refresh(&b);
    give_page(&b, NULL, "{\"data\":[{\"model\":\"b\"}],\"nextCursor\":\"c\"}");
    json_int_t id = wire_expect(&b.wire, "model/list", NULL);
    models_cancel(b.models, b.wire.rpc);
    wire_answer(&b.wire, id, "{\"data\":[{\"model\":\"c\"}]}");
    assert_int_equal(b.done, 0);
    assert_listed(&b, "a");
    refresh(&b);
    give_page(&b, NULL, "{\"data\":[{\"model\":\"d\"}]}");
    assert_listed(&b, "d");
    end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_before_the_first_list_there_is_only_the_extra_model),
        cmocka_unit_test(test_all_pages_are_one_list_in_their_order),
        cmocka_unit_test(test_hidden_and_nameless_models_are_left_out),
        cmocka_unit_test(test_a_model_object_is_what_clients_expect),
        cmocka_unit_test(test_an_extra_model_that_is_listed_is_listed_once),
        cmocka_unit_test(test_an_extra_model_that_is_hidden_is_served),
        cmocka_unit_test(test_a_new_list_replaces_the_old_one),
        cmocka_unit_test(test_a_refresh_that_fails_keeps_the_old_list),
        cmocka_unit_test(test_several_extra_models_are_served_without_blanks),
        cmocka_unit_test(test_an_alias_is_its_model_with_its_effort),
        cmocka_unit_test(test_what_is_no_alias_names_nothing),
        cmocka_unit_test(test_a_model_takes_the_efforts_that_it_lists),
        cmocka_unit_test(test_a_model_takes_images_unless_it_lists_others_alone),
        cmocka_unit_test(test_a_worker_that_does_not_answer_is_a_failure),
        cmocka_unit_test(test_a_list_without_end_is_cut),
        cmocka_unit_test(test_a_cancelled_refresh_says_nothing_and_keeps_the_old_list),
    };
    json_setup();
    log_set_level(LOG_SILENCE);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
