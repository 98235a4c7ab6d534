/* Prices: strict about the file, exact about the cost. */
#include "folder.h"
#include "json.h"
#include "prices.h"
#include "unit.h"

#include <math.h>

static void assert_usd(double got, double wanted)
{
    if (fabs(got - wanted) > 1e-15)
        fail_msg("%.17g instead of %.17g", got, wanted);
}

static struct prices *load(const struct folder *f, const char *text, size_t len, char **ret_why)
{
    folder_put(f, "prices.json", text, len);
    char *path = folder_path(f, "prices.json");
    struct prices *prices = prices_load(path, ret_why);
    free(path);
    return prices;
}

static void assert_refused(const struct folder *f, const char *text, size_t len, const char *what)
{
    char *why = NULL;
    assert_null(load(f, text, len, &why));
    assert_non_null(why);
    if (strstr(why, what) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", why, what);
    free(why);
}

static double cost(const struct prices *prices, const char *model, int64_t prompt, int64_t cached,
                   int64_t completion)
{
    double usd = -1;
    const struct token_counts tokens = { prompt, cached, completion, 0 };
    assert_true(prices_cost(prices, model, &tokens, &usd));
    return usd;
}

static void test_a_cost_is_the_sum_of_what_each_kind_of_token_costs(void **state)
{
    char *why = NULL;
    struct prices *prices =
        load(*state,
             LITERAL("{\"b\":{\"input\":2,\"output\":8},\n \"a/1\":{\"input\":1.25,"
                     "\"cached_input\":0.125,\"output\":10}, \"free\":{\"input\":"
                     "0,\"output\":0}}"),
             &why);
    assert_non_null(prices);
    assert_int_equal(prices_count(prices), 3);
    assert_usd(cost(prices, "a/1", 100, 60, 7), (40 * 1.25 + 60 * 0.125 + 70) / 1e6);
    assert_usd(cost(prices, "b", 100, 60, 7), (200 + 56) / 1e6);
    assert_usd(cost(prices, "free", 100, 60, 7), 0);
    assert_usd(cost(prices, "a/1", 10, 60, 0), 10 * 0.125 / 1e6);
    prices_free(prices);
}

static void test_a_model_that_is_not_there_has_no_price(void **state)
{
    char *why = NULL;
    double usd = 17;
    const struct token_counts tokens = { 1, 0, 1, 0 };
    struct prices *prices = load(*state, LITERAL("{\"a\":{\"input\":1,\"output\":1}}"), &why);
    assert_false(prices_cost(prices, "b", &tokens, &usd));
    assert_false(prices_cost(prices, "", &tokens, &usd));
    assert_false(prices_cost(prices, "A", &tokens, &usd));
    assert_false(prices_cost(NULL, "a", &tokens, &usd));
    assert_usd(usd, 17);
    prices_free(prices);
    prices_free(NULL);
}

static void test_what_is_wrong_is_said_with_line_and_model(void **state)
{
    static const struct {
        const char *text;
        const char *what;
    } wrong[] = {
        { "", "line 1: is not JSON" },
        { "[]", "must be an object" },
        { "{\n\n\"a\": sk-secret}", "line 3: is not JSON" },
        { "{\"a\":{\"input\":1,\"output\":1},\n\"a\":{\"input\":1,\"output\":1}}",
          "line 2: a name is there twice" },
        { "{\"a\":{\"input\":1,\n\"input\":1,\"output\":1}}", "a name is there twice" },
        { "{\"input\":{\"input\":1,\"output\":1},\n\n \"x\\\"}y\":{\"input\":1}}",
          "line 3: model x\"}y: needs the prices input and output" },
        { "{\"a\":{\"output\":1}}", "line 1: model a: needs the prices" },
        { "{\"a\":\n1}", "model a: its prices must be an object" },
        { "{\"a\":{\"input\":1,\"output\":1,\"outptu\":1}}", "model a: only input" },
        { "{\"a\":{\"input\":-0.1,\"output\":1}}", "model a: a price is" },
        { "{\"a\":{\"input\":1000001,\"output\":1}}", "model a: a price is" },
        { "{\"a\":{\"input\":1,\"output\":1e7}}", "model a: a price is" },
        { "{\"a\":{\"input\":\"1\",\"output\":1}}", "model a: a price is" },
        { "{\"a\":{\"input\":null,\"output\":1}}", "model a: a price is" },
        { "{\"a\":{\"input\":true,\"output\":1}}", "model a: a price is" },
        { "{\"a\":{\"input\":NaN,\"output\":1}}", "is not JSON" },
        { "{\"a\":{\"input\":1e999,\"output\":1}}", "is not JSON" },
        { "{\"a\":{\"input\":99999999999999999999,\"output\":1}}", "is not JSON" },
        { "{\"\":{\"input\":1,\"output\":1}}", "line 1: the name of a model is" },
        { "{\"a b\":{\"input\":1,\"output\":1}}", "line 1: the name of a model is" },
        { "{\"a\\u0000\":{\"input\":1,\"output\":1}}", "is not JSON" },
        { "{\"a\":{\"input\":1,\"output\":1}} x", "is not JSON" },
        { "{\"0123456789012345678901234567890123456789012345678901234567890123\":{}}",
          "the name of a model is" },
    };
    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        assert_refused(*state, wrong[i].text, strlen(wrong[i].text), wrong[i].what);
}

/* It may be the wrong file: one of keys. */
static void test_a_refusal_quotes_nothing_of_the_file(void **state)
{
    char *why = NULL;
    assert_null(load(*state, LITERAL("sk-secret-0123456789"), &why));
    assert_null(strstr(why, "sk-"));
    free(why);
    assert_null(load(*state, LITERAL("{\"a\":{\"sk-secret\":1}}"), &why));
    assert_null(strstr(why, "sk-"));
    free(why);
}

static void test_the_file_has_bounds(void **state)
{
    char *why = NULL;
    struct buf text = BUF_INIT;
    buf_puts(&text, "{");
    for (int i = 0; i < PRICES_MODELS_MAX; i++)
        buf_printf(&text, "%s\"m%d\":{\"input\":1,\"output\":%d}", i == 0 ? "" : ",\n", i, i);
    size_t len = text.len;
    buf_puts(&text, "}");
    struct prices *prices = load(*state, text.data, text.len, &why);
    assert_int_equal(prices_count(prices), PRICES_MODELS_MAX);
    for (int i = 0; i < PRICES_MODELS_MAX; i++) {
        char name[16];
        snprintf(name, sizeof(name), "m%d", i);
        assert_usd(cost(prices, name, 0, 0, 1000000), i);
    }
    prices_free(prices);
    text.len = len;
    buf_puts(&text, ",\n\"x\":{\"input\":1,\"output\":1}}");
    assert_refused(*state, text.data, text.len, "line 1001: model x: more than 1000 models");
    buf_clear(&text);
    memset(buf_reserve(&text, PRICES_FILE_MAX + 1), ' ', PRICES_FILE_MAX + 1);
    assert_refused(*state, text.data, PRICES_FILE_MAX + 1, "File too large");
    buf_free(&text);
}

static void test_only_a_file_is_read(void **state)
{
    const struct folder *f = *state;
    char *why = NULL;
    char *path = folder_path(f, "pipe");
    assert_null(prices_load(f->path, &why));
    assert_non_null(strstr(why, "Is a directory"));
    free(why);
    assert_null(prices_load(path, &why));
    assert_non_null(strstr(why, "No such file"));
    free(why);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_null(prices_load(path, &why));
    assert_non_null(strstr(why, "Invalid argument"));
    free(why);
    free(path);
}

int main(void)
{
    json_setup();
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(test_a_cost_is_the_sum_of_what_each_kind_of_token_costs),
        FOLDER_TEST(test_a_model_that_is_not_there_has_no_price),
        FOLDER_TEST(test_what_is_wrong_is_said_with_line_and_model),
        FOLDER_TEST(test_a_refusal_quotes_nothing_of_the_file),
        FOLDER_TEST(test_the_file_has_bounds),
        FOLDER_TEST(test_only_a_file_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
