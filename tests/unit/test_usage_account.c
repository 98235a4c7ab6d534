/* What a request used, in the metrics. */
#include "folder.h"
#include "json.h"
#include "metrics.h"
#include "unit.h"
#include "usage_account.h"

#include <math.h>

static void assert_usd(double got, double wanted)
{
    if (fabs(got - wanted) > 1e-15)
        fail_msg("%.17g instead of %.17g", got, wanted);
}

static void assert_line(const char *line, bool wanted)
{
    struct buf page = BUF_INIT;
    metrics_write(&page, METRICS_TEXT);
    if ((strstr(buf_str(&page), line) != NULL) != wanted)
        fail_msg("%s\n%s: %s", buf_str(&page), wanted ? "is missing" : "is there", line);
    buf_free(&page);
}

static struct prices *load(const struct folder *f)
{
    char *why = NULL;
    folder_put(f, "prices", LITERAL("{\"a\":{\"input\":2,\"cached_input\":1,\"output\":8}}"));
    char *path = folder_path(f, "prices");
    struct prices *prices = prices_load(path, &why);
    free(path);
    assert_non_null(prices);
    return prices;
}

static void test_tokens_count_by_type_and_cost_by_model(void **state)
{
    double usd = 0;
    const struct token_counts tokens = { 100, 60, 7, 2 };
    struct prices *prices = load(*state);
    metrics_reset();
    usage_account(prices, "a", &tokens, &usd);
    usage_account(prices, "a", &tokens, &usd);
    assert_usd(usd, 196e-6);
    assert_line("codex_tokens_total{model=\"a\",type=\"prompt\"} 200\n", true);
    assert_line("codex_tokens_total{model=\"a\",type=\"cached\"} 120\n", true);
    assert_line("codex_tokens_total{model=\"a\",type=\"completion\"} 14\n", true);
    assert_line("codex_tokens_total{model=\"a\",type=\"reasoning\"} 4\n", true);
    assert_line("codex_estimated_cost_usd_total{model=\"a\"} 0.000392", true);
    assert_line("codex_unpriced_tokens_total{", false);
    prices_free(prices);
}

static void test_a_model_without_a_price_is_never_free(void **state)
{
    double usd = 0;
    const struct token_counts tokens = { 100, 60, 7, 2 };
    struct prices *prices = load(*state);
    metrics_reset();
    usage_account(prices, "b", &tokens, &usd);
    assert_true(isnan(usd));
    usage_account(NULL, "b", &tokens, &usd);
    assert_true(isnan(usd));
    assert_line("codex_tokens_total{model=\"b\",type=\"prompt\"} 200\n", true);
    assert_line("codex_unpriced_tokens_total{model=\"b\"} 214\n", true);
    assert_line("codex_estimated_cost_usd_total{", false);
    prices_free(prices);
}

static void test_no_tokens_are_no_series_and_no_cost(void **state)
{
    double usd = 0;
    const struct token_counts none = { 0, 0, 0, 0 };
    struct prices *prices = load(*state);
    metrics_reset();
    usage_account(prices, "", &none, &usd);
    assert_true(isnan(usd));
    usage_account(prices, "a", &none, &usd);
    assert_true(isnan(usd));
    assert_line("{model=", false);
    prices_free(prices);
}

int main(void)
{
    json_setup();
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(test_tokens_count_by_type_and_cost_by_model),
        FOLDER_TEST(test_a_model_without_a_price_is_never_free),
        FOLDER_TEST(test_no_tokens_are_no_series_and_no_cost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
