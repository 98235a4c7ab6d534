/* Secrets that are known by their shape: keys with well-known beginnings, tokens that look random, e-mail addresses. */
#ifndef SECRET_SHAPE_H
#define SECRET_SHAPE_H

#include <stdbool.h>
#include <stddef.h>

struct secret_name;

/* What to take out: from `from` to `to`. `to` is NULL when there is nothing. */
struct secret_span {
    const char *from;
    const char *to;
};

/* What was found out about text further on, so that no text is looked at more often than a few times. Begins as zeroes and belongs
 * to one text that is read from the left to the right. */
struct shape_memo {
    const char *local_end; /* of what may be the local part of an address */
    const char *address_end;
    const char *run_end;   /* of what tokens and addresses are written with */
    bool run_ends_in_at;   /* an @ stands behind it */
    const char *token_end; /* of what may be a token */
    const char *no_token_before;
    const char *authority_end[8]; /* of URLs, by how their colon is encoded */
    const char *authority_at[8];
};

/* Where the secret that begins at `at` is, if there is one. The character before, `previous`, is no letter and no digit. A hash
 * that says what it is (by the `name` before it) or that is part of a path is none. */
struct secret_span secret_shape(const char *at, const char *end, unsigned char previous,
                                const struct secret_name *name, struct shape_memo *memo);

/* Behind "://", whose colon is written with `colon_width` bytes: the user and password of a URL. */
struct secret_span secret_in_url(const char *at, const char *end, size_t colon_width,
                                 struct shape_memo *memo);

/* Where the body of a PEM block begins whose first line begins at `at`, or NULL. */
const char *secret_pem_begin(const char *at, const char *end);

/* Behind the last line of a PEM block, or NULL when it does not end before `end`. */
const char *secret_pem_end(const char *at, const char *end);

#endif
