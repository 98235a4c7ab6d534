/* Secrets that are announced by a name: password=..., "api_key": "...", Cookie: ..., --token ..., <secret>...</secret>. */
#ifndef SECRET_NAME_H
#define SECRET_NAME_H

#include "secret_shape.h"

#include <stdbool.h>
#include <stddef.h>

#define SECRET_NAME_MAX 64 /* characters of a name that are looked at: its end */
#define SECRET_WORD_MAX 32 /* of a word of it */

/* The name that was read last, as it comes character by character. Begins as zeroes. */
struct secret_name {
    char letters[SECRET_NAME_MAX]; /* letters and digits, in lower case */
    bool begins[SECRET_NAME_MAX];  /* a word of the name begins with this letter: apiKey, api_key */
    size_t len;
    bool over;        /* blanks or quotes have come behind it */
    bool separated;   /* a separator has come behind it */
    bool part_begins; /* the next letter begins a word */
    bool after_lower;
    bool of_element; /* it stands behind a < */
    unsigned dashes; /* before it */
};

void secret_name_feed(struct secret_name *n, unsigned char c);

/* The same for a word of plain letters and digits. */
void secret_name_feed_word(struct secret_name *n, const char *from, const char *to);

void secret_name_forget(struct secret_name *n);

/* Whether it says that a hash comes: sha256, commit. */
bool secret_name_is_of_hash(const struct secret_name *n);

/* The value of the name, when `c`, which is written as `width` bytes at `at`, stands between the two and the name is one
 * of secrets. */
struct secret_span secret_value(const struct secret_name *n, const char *at, const char *end,
                                unsigned char c, size_t width);

#endif
