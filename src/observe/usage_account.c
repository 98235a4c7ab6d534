/* Puts what a request used into the metrics. */
#include "usage_account.h"

#include "metrics.h"

#include <math.h>

static void count_tokens(const char *model, const char *type, int64_t count)
{
    if (count != 0)
        metric_count(M_TOKENS, (double)count, model, type);
}

void usage_account(const struct prices *prices, const char *model,
                   const struct token_counts *tokens, double *ret_cost_usd)
{
    *ret_cost_usd = NAN;
    if (tokens->prompt == 0 && tokens->completion == 0)
        return;
    count_tokens(model, "prompt", tokens->prompt);
    count_tokens(model, "cached", tokens->cached);
    count_tokens(model, "completion", tokens->completion);
    count_tokens(model, "reasoning", tokens->reasoning);
    if (prices_cost(prices, model, tokens, ret_cost_usd))
        metric_count(M_COST, *ret_cost_usd, model);
    else
        metric_count(M_UNPRICED, (double)tokens->prompt + (double)tokens->completion, model);
}
