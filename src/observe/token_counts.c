/* Tokens of a request. */
#include "token_counts.h"

#include "json.h"

void token_counts_put(struct buf *out, const struct token_counts *t)
{
    json_put_name(out, "tokens");
    buf_putc(out, '{');
    json_put_int(out, "prompt", t->prompt);
    json_put_int(out, "cached", t->cached);
    json_put_int(out, "completion", t->completion);
    json_put_int(out, "reasoning", t->reasoning);
    buf_putc(out, '}');
}
