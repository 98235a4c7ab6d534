/* What tokens cost, by a file of prices that the operator keeps:
 *
 *     { "some-model": { "input": 1.25, "cached_input": 0.125, "output": 10 } }
 *
 * in US dollars for a million tokens. What is read from the cache costs as much as other input when `cached_input` is left out. */
#ifndef PRICES_H
#define PRICES_H

#include "mem.h"
#include "token_counts.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PRICES_MODELS_MAX 1000
#define PRICES_FILE_MAX (1024 * 1024) /* bytes */
#define PRICES_MODEL_MAX 63           /* characters of a model's name */
#define PRICES_MOST 1e6               /* dollars for a million tokens */

struct prices;

/* Reads the file; the caller owns the result. NULL with a message for people in `ret_why` (owned by the caller) when anything in it is
 * not as above. The message names the file, the line and the model, and quotes nothing else of the file; of a file that cannot be read
 * it does not repeat the path, which then may be something else, put into the wrong setting. */
CHECK_RESULT struct prices *prices_load(const char *path, char **ret_why);

/* Safe on NULL. */
void prices_free(struct prices *prices);

size_t prices_count(const struct prices *prices);

/* What the tokens of the model cost. False, and nothing is set, when the model has no price; `prices` may be NULL, which has none. */
CHECK_RESULT bool prices_cost(const struct prices *prices, const char *model,
                              const struct token_counts *tokens, double *ret_usd);

#endif
