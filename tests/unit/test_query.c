/* The query of a URL. */
#include "query.h"
#include "unit.h"

struct asked {
    struct query_param params[2];
    struct api_error error;
    bool ok;
};

static struct asked ask(const char *query)
{
    struct asked a = { .params = { { "date", NULL, 0 }, { "limit", NULL, 0 } } };
    a.ok = query_parse(query, strlen(query), a.params, 2, &a.error);
    return a;
}

static void assert_value(const struct query_param *param, const char *wanted)
{
    assert_non_null(param->value);
    assert_int_equal(param->len, strlen(wanted));
    assert_memory_equal(param->value, wanted, param->len);
}

static void test_known_parameters_are_found(void **state)
{
    (void)state;
    struct asked a = ask("limit=5&date=2026-01-31");
    assert_true(a.ok);
    assert_value(&a.params[0], "2026-01-31");
    assert_value(&a.params[1], "5");
    a = ask("&&date=&");
    assert_true(a.ok);
    assert_value(&a.params[0], "");
    assert_null(a.params[1].value);
    a = ask("date");
    assert_true(a.ok);
    assert_value(&a.params[0], "");
    a = ask("date=a=b");
    assert_value(&a.params[0], "a=b");
    assert_true(query_parse(NULL, 0, a.params, 2, &a.error));
}

static void test_anything_else_is_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *query;
        const char *param;
    } wrong[] = {
        { "x=1", "x" },
        { "date=1&date=2", "date" },
        { "Date=1", "Date" },
        { "=1", "query" },
        { "limit=1&dat", "dat" },
        { "<b>=1", "query" },
        { "\xff\xfe=1", "query" },
        { "a%20b", "query" },
        { "abcdefghijklmnopqrstuvwxyz0123456789=1", "query" },
    };
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        struct asked a = ask(wrong[i].query);
        assert_false(a.ok);
        assert_int_equal(a.error.status, 400);
        assert_string_equal(a.error.param, wrong[i].param);
    }
}

static void test_a_number_has_bounds(void **state)
{
    (void)state;
    static const char *const wrong[] = { "",    "0",          "101",  "-1",
                                         "+1",  "1.0",        " 1",   "x",
                                         "1e1", "1000000000", "0x10", "18446744073709551617" };
    struct api_error error;
    int64_t number = 0;
    struct query_param param = { "limit", NULL, 0 };
    assert_true(query_number(&param, 1, 100, 42, &number, &error));
    assert_int_equal(number, 42);
    param.value = "100&";
    param.len = 3;
    assert_true(query_number(&param, 1, 100, 42, &number, &error));
    assert_int_equal(number, 100);
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        param.value = wrong[i];
        param.len = strlen(wrong[i]);
        assert_false(query_number(&param, 1, 100, 42, &number, &error));
        assert_string_equal(error.param, "limit");
    }
    assert_int_equal(number, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_parameters_are_found),
        cmocka_unit_test(test_anything_else_is_refused_by_name),
        cmocka_unit_test(test_a_number_has_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
