/* Puts what a request used into the metrics: tokens by type, what they cost, or that nobody knows what they cost. */
#ifndef USAGE_ACCOUNT_H
#define USAGE_ACCOUNT_H

#include "prices.h"

/* Once for each chat request that ended. `prices` may be NULL; `model` is the one that served, an alias resolved. In `ret_cost_usd`
 * comes what the tokens cost, or NaN: the model has no price, so its tokens count as unpriced, or no tokens were reported, and
 * nothing counts. */
void usage_account(const struct prices *prices, const char *model,
                   const struct token_counts *tokens, double *ret_cost_usd);

#endif
