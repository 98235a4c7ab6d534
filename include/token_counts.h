/* Tokens of a request, as the upstream counted them. */
#ifndef TOKEN_COUNTS_H
#define TOKEN_COUNTS_H

#include "buf.h"

#include <stdint.h>

/* Cached is part of prompt, reasoning of completion. */
struct token_counts {
    int64_t prompt;
    int64_t cached;
    int64_t completion;
    int64_t reasoning;
};

/* Appends them as the member "tokens" of a JSON object. */
void token_counts_put(struct buf *out, const struct token_counts *t);

#endif
